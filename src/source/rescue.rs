//! The file that was there before: when another one is put in its place, or it is deleted, it lives
//! on as long as somebody has it open, and we do.
//!
//! It holds the whole history, with what had not been applied yet. So before a run ends over it, it
//! is copied to a place where people find it: put back, it is the right file. It is only read.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::Backup;

use super::{Error, Source, changelog};
use crate::change::{Place, Position};

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rescue {
    /// It is kept.
    Kept {
        /// Where.
        path: PathBuf,
        /// The newest entry of its changelog.
        head: Position,
    },
    /// There is no room beside it for a copy.
    NoRoom {
        /// How large it is.
        bytes: u64,
    },
}

/// So much room must be left beside the copy.
const ROOM_LEFT_MIN: u64 = 64 << 20;

impl Source {
    /// Copies the file that was open before another one took its place; `None` if there is none, or
    /// it does not hold the history up to `place` either. A crash leaves a file that ends in
    /// `.partial`.
    pub fn rescue(&mut self, place: &Place) -> Result<Option<Rescue>, Error> {
        let doing = "copy the file that was there before";
        let former = match &self.former {
            Some(former) => former,
            None if self.has_moved() => &self.conn,
            None => return Ok(None),
        };
        let read = former.unchecked_transaction().map_err(Error::sqlite(doing))?;
        let head = match changelog::prove(&read, &place.lineage, place.anchor) {
            Ok(head) => head.position,
            Err(Error::Lineage(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let bytes = size(&read)?;
        read.rollback().map_err(Error::sqlite(doing))?;
        let unwritable = |path: &Path| {
            let path = path.to_path_buf();
            move |source: std::io::Error| Error::Unwritable { path, source }
        };
        let room = room_beside(&self.file).map_err(unwritable(&self.file))?;
        if room < bytes + ROOM_LEFT_MIN {
            return Ok(Some(Rescue::NoRoom { bytes }));
        }
        let path = free_name(&self.file);
        let partial = path.with_extension("partial");
        let mut options = std::fs::OpenOptions::new();
        let made = options.write(true).create(true).truncate(true).mode(0o600).open(&partial);
        made.map(drop).map_err(unwritable(&partial))?;
        let mut copy = Connection::open(&partial).map_err(Error::sqlite(doing))?;
        Backup::new(former, &mut copy)
            .and_then(|backup| backup.run_to_completion(i32::MAX, Duration::ZERO, None))
            .map_err(Error::sqlite(doing))?;
        copy.query_row("pragma journal_mode = delete", [], |_| Ok(()))
            .map_err(Error::sqlite(doing))?;
        let head = changelog::head(&copy)?.map_or(head, |head| head.position);
        copy.close().map_err(|(_, error)| Error::sqlite(doing)(error))?;
        if let Ok(like) = std::fs::metadata(&self.file) {
            let _ = std::fs::set_permissions(&partial, like.permissions());
        }
        std::fs::rename(&partial, &path).map_err(unwritable(&path))?;
        Ok(Some(Rescue::Kept { path, head }))
    }
}

fn size(conn: &Connection) -> Result<u64, Error> {
    conn.query_row(
        "select page_count * page_size from pragma_page_count, pragma_page_size",
        [],
        |row| row.get::<_, i64>(0),
    )
    .map(|bytes| u64::try_from(bytes).unwrap_or(0))
    .map_err(Error::sqlite("ask how large the file is"))
}

fn room_beside(file: &Path) -> std::io::Result<u64> {
    let directory = file.parent().unwrap_or(Path::new("/"));
    let found = nix::sys::statvfs::statvfs(directory)?;
    Ok(found.blocks_available() * found.fragment_size())
}

/// `app.db.rescued-1`, or the next number.
fn free_name(file: &Path) -> PathBuf {
    let named = |number: u32| {
        let mut name = file.as_os_str().to_owned();
        name.push(format!(".rescued-{number}"));
        PathBuf::from(name)
    };
    (1..).map(named).find(|path| !path.exists()).expect("some number is free")
}
