//! The demo's directory: taken, cleared of an earlier demo, and removed at the end.
//!
//! It removes only what a demo makes, and only in a directory that a demo has marked as its own.
//! The mark is a lock as well: two demos never share a directory.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use crate::config;
use crate::error::{Exit, Report};
use crate::target::private::{self, PrivateCluster, Shutdown, Tuning};

/// Says that the directory is a demo's, and is locked while one is at work.
const MARK: &str = "lite2pg-demo";

/// What a demo makes beside its mark: the shop, SQLite's companions, the private PostgreSQL.
const MADE: [&str; 6] = ["shop.db", "shop.db-wal", "shop.db-shm", "pg", "lock", "lease"];

/// A directory that no other demo uses while this lives.
pub(super) struct Home {
    dir: PathBuf,
    pg_bin: Option<PathBuf>,
    _lock: File,
}

impl Home {
    /// Takes `dir`, or the usual place, and ends and removes what an earlier demo left there.
    pub fn take(dir: Option<PathBuf>, pg_bin: Option<PathBuf>) -> Result<Self, Report> {
        let dir = dir.unwrap_or_else(|| private::state_base().join("demo"));
        // The user that runs PostgreSQL must be able to pass through when that is not us.
        let mode = if Uid::effective().is_root() { 0o711 } else { 0o700 };
        DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(&dir)
            .map_err(|error| cannot("make", &dir, &error))?;
        let dir = fs::canonicalize(&dir).map_err(|error| cannot("find", &dir, &error))?;
        let mark = dir.join(MARK);
        let is_empty =
            fs::read_dir(&dir).map_err(|error| cannot("read", &dir, &error))?.next().is_none();
        if !is_empty && !mark.exists() {
            let message = format!("{} is not empty, and no demo made it", dir.display());
            return Err(Report::new(Exit::Usage, message).hint("Give a new directory with --dir."));
        }
        let lock = File::create(&mark).map_err(|error| cannot("mark", &dir, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!("another demo is at work in {}", dir.display());
                return Err(Report::new(Exit::No, message)
                    .hint("Wait for its end, or give this one a place of its own with --dir."));
            }
            Err(TryLockError::Error(error)) => return Err(cannot("lock", &dir, &error)),
        }
        let home = Self { dir, pg_bin, _lock: lock };
        home.clear()?;
        Ok(home)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The SQLite file.
    pub fn shop(&self) -> PathBuf {
        self.dir.join("shop.db")
    }

    /// A private PostgreSQL in this directory, as `run` makes one.
    pub fn cluster(&self) -> Result<PrivateCluster, Report> {
        PrivateCluster::up(&self.dir, self.pg_bin.as_deref(), Tuning { durable: true })
            .map_err(|error| config::Error::from(error).into())
    }

    /// Removes everything, the directory included.
    pub fn remove(self) -> Result<(), Report> {
        self.clear()?;
        let mark = self.dir.join(MARK);
        fs::remove_file(&mark).map_err(|error| cannot("remove", &mark, &error))?;
        match fs::remove_dir(&self.dir) {
            // Somebody else put something there.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            other => other.map_err(|error| cannot("remove", &self.dir, &error)),
        }
    }

    fn clear(&self) -> Result<(), Report> {
        if self.dir.join("pg/data/postmaster.pid").exists() {
            let tuning = Tuning { durable: true };
            PrivateCluster::prepare(&self.dir, self.pg_bin.as_deref(), tuning)
                .and_then(|cluster| cluster.shutdown(Shutdown::Fast))
                .map_err(config::Error::from)?;
        }
        for name in MADE {
            let path = self.dir.join(name);
            let removed =
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(cannot("remove", &path, &error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn cannot(verb: &str, path: &Path, error: &io::Error) -> Report {
    Report::new(Exit::Unknown, format!("cannot {verb} {}: {error}", path.display()))
        .hint("Give another directory with --dir.")
}
