//! Everything that speaks SQLite.
//!
//! A [`Source`] is one connection to the application's file. The rules it keeps
//! (docs/architecture.md, "What the sidecar may never do to the file"): the database, `-wal`,
//! `-shm` and `-journal` are never opened except by SQLite itself, because closing any descriptor
//! of them drops the locks SQLite holds (<https://www.sqlite.org/howtocorrupt.html>, section
//! 2.2); no checkpoint; no persistent pragma; read transactions as short as [`Pace`] says; nothing
//! waits on the network inside a transaction.
//!
//! All calls block. The daemon keeps a `Source` on a thread of its own ([`thread`]).

pub mod changelog;
pub mod copy;
pub mod entries;
mod error;
pub mod inspect;
mod numbers;
mod pairing;
pub mod parity;
pub mod proof;
mod quiet;
pub mod rescue;
pub mod rewrite;
pub mod schema;
pub mod strand;
pub mod thread;
mod touch;
pub mod triggers;
pub mod watch;

pub use error::{Broken, Error};

use std::cell::Cell;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::unistd::AccessFlags;

use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::change::{Anchor, TableId};
use crate::overrides::Overrides;
use crate::value::Storage;

/// How the application's file keeps its transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journal {
    /// Readers and the writer do not wait for each other.
    Wal,
    /// A reader keeps a writer from committing (DELETE, TRUNCATE, PERSIST, MEMORY, OFF).
    Rollback,
}

/// How long one read transaction may last.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Stop adding rows after this long.
    pub hold_max: Duration,
}

/// A WAL reader keeps the log from being reset, nothing else; far below the promised second.
const WAL_HOLD_MAX: Duration = Duration::from_millis(200);

/// A reader in rollback mode makes a writer's COMMIT wait, or fail where it has no busy timeout.
/// At 1 ms it falls between two commits more often than not (docs/measurements.md has the figures).
const ROLLBACK_HOLD_MAX: Duration = Duration::from_millis(1);

/// In rollback mode, when nobody has written for [`QUIET_SINCE`]: as promised to applications.
const ROLLBACK_QUIET_HOLD_MAX: Duration = Duration::from_millis(15);

/// Rest between two reads in rollback mode while somebody writes. A writer that commits as fast as
/// it can meets every read, so its share of failures is what we leave it: one read in so many
/// commits. The copy still reads a thousand rows in each.
const ROLLBACK_REST: Duration = Duration::from_millis(50);

/// A file that nobody wrote to for this long is likely to stay so for the next 15 ms.
const QUIET_SINCE: Duration = Duration::from_secs(2);

/// How long a read waits for a writer in rollback mode to finish its COMMIT.
const READ_BUSY_MAX: Duration = Duration::from_secs(5);

/// Pause between two tries to read while a writer in rollback mode commits. SQLite's own handler
/// sleeps up to 100 ms, and never meets the moment between two commits of a busy writer; a try
/// against a writer that waits for its commit takes no lock and costs a few microseconds.
const READ_BUSY_PAUSE: Duration = Duration::from_micros(200);

/// Pause between two looks for a commit that an event announced. At 50 µs the look is not felt in
/// the latency, and a look costs 1.5 µs.
const LOOK_PAUSE: Duration = Duration::from_micros(50);

/// How long to look at that rate before slowing down.
const LOOK_EAGERLY: Duration = Duration::from_millis(5);

/// A file's time of modification moves in steps of up to 10 ms.
const STAMP_SETTLES: Duration = Duration::from_millis(20);

/// Statements kept prepared: a few per captured table.
const STATEMENTS_KEPT: usize = 4_096;

/// One connection to the application's file.
pub struct Source {
    pub(crate) conn: Connection,
    path: PathBuf,
    /// Where the path leads: symbolic links are resolved, as SQLite resolves them.
    file: PathBuf,
    identity: (u64, u64),
    /// What the main file looked like when it was last looked at.
    traces: Option<Traces>,
    /// The -wal that stood beside it then.
    wal: Option<Traces>,
    /// The `schema_version` under which the triggers were last found whole.
    pub(crate) schema_version: Option<i64>,
    /// The `schema_version` of the newest survey.
    surveyed_version: Option<i64>,
    /// `data_version` when it was last looked at, and since when it has been the same.
    last_commit: Cell<Option<(i64, Instant)>>,
    /// What the file looked like just before the last read.
    stamp_read: Cell<Option<(SystemTime, u64)>>,
    /// When the last read ended.
    last_read: Cell<Instant>,
    writers: quiet::Writers,
    /// Which tables are not replicated.
    overrides: Arc<Overrides>,
    /// The file that was open until another one took its place, until that one is proven.
    former: Option<Connection>,
    /// Nobody can write meanwhile, so that no read is in anybody's way.
    is_locked: bool,
}

impl Source {
    /// Opens the file, which must exist and be a SQLite database.
    ///
    /// Nothing is written. The checks look at the path only by `stat`.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let source = Self::open_to_read(path)?;
        let doing = "configure the connection to the source";
        if source.conn.is_readonly("main").map_err(Error::sqlite(doing))? {
            return Err(Error::ReadOnly { path: source.path });
        }
        Ok(source)
    }

    /// As [`open`](Self::open), but the file need not be writable: for who only reads.
    pub fn open_to_read(path: &Path) -> Result<Self, Error> {
        let (file, identity) = check_path(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn =
            Connection::open_with_flags(path, flags).map_err(Error::sqlite("open the source"))?;
        let mut source = Self {
            conn,
            path: path.to_path_buf(),
            wal: None,
            file,
            identity,
            traces: Traces::of(path),
            schema_version: None,
            surveyed_version: None,
            last_commit: Cell::new(None),
            stamp_read: Cell::new(None),
            last_read: Cell::new(Instant::now()),
            writers: quiet::Writers::default(),
            overrides: Arc::default(),
            former: None,
            is_locked: false,
        };
        source.configure()?;
        Ok(source)
    }

    /// From now on surveys list the tables that the configuration leaves out as skipped.
    pub fn leave_out(&mut self, overrides: Arc<Overrides>) {
        self.overrides = overrides;
    }

    fn configure(&mut self) -> Result<(), Error> {
        let doing = "configure the connection to the source";
        wait_as_reader(&mut self.conn).map_err(Error::sqlite(doing))?;
        let conn = &self.conn;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .map_err(Error::sqlite(doing))?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)
            .map_err(Error::sqlite(doing))?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)
            .map_err(Error::sqlite(doing))?;
        conn.execute_batch(
            "pragma wal_autocheckpoint = 0; pragma mmap_size = 0; pragma cell_size_check = on;
             pragma temp_store = memory; pragma foreign_keys = off;",
        )
        .map_err(Error::sqlite(doing))?;
        conn.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        lend_collations(conn).map_err(Error::sqlite(doing))?;
        // The first read: here a file that is not a database shows itself.
        let first = conn.query_row("select count(*) from sqlite_schema", [], |row| row.get(0));
        match first {
            Ok(count) => {
                let _: i64 = count;
            }
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
                return Err(Error::NotADatabase { path: self.path.clone() });
            }
            Err(error) => return Err(Error::sqlite("read the source for the first time")(error)),
        }
        Ok(())
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How the file keeps its transactions just now. Applications may change it at any time.
    pub fn journal(&self) -> Result<Journal, Error> {
        let mode: String = self
            .conn
            .prepare_cached("pragma journal_mode")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map_err(Error::sqlite("read the journal mode"))?;
        Ok(if mode.eq_ignore_ascii_case("wal") { Journal::Wal } else { Journal::Rollback })
    }

    /// How long the next read transaction may last.
    pub fn pace(&self) -> Result<Pace, Error> {
        Ok(match self.journal()? {
            Journal::Wal => Pace { hold_max: WAL_HOLD_MAX },
            Journal::Rollback if self.is_left_alone() => Pace { hold_max: ROLLBACK_QUIET_HOLD_MAX },
            Journal::Rollback => Pace { hold_max: ROLLBACK_HOLD_MAX },
        })
    }

    /// Whether the path now leads to another file than the one that is open (a rename, a
    /// symlink flip) or to none. Uses `stat` only.
    pub fn has_moved(&self) -> bool {
        match std::fs::metadata(&self.path) {
            Ok(found) => (found.dev(), found.ino()) != self.identity,
            Err(_) => true,
        }
    }

    /// Opens the path anew if it leads to another file, so that the next lineage proof looks at
    /// what the application looks at.
    pub fn follow_path(&mut self) -> Result<(), Error> {
        if self.has_moved() {
            tracing::info!("the path of the source leads to another file now; looking at that one");
            return self.reopen();
        }
        self.wal = Traces::of(&beside(&self.file, "-wal"));
        let traces = Traces::of(&self.path);
        if traces != self.traces {
            self.traces = traces;
            // In WAL mode SQLite keeps pages as long as the -wal says that nothing was committed;
            // a copy put over the file says nothing there. The proof must look at the disk.
            self.conn
                .execute_batch("pragma shrink_memory")
                .map_err(Error::sqlite("drop cached pages"))?;
        }
        Ok(())
    }

    /// Opens the path anew, with nothing remembered of the file that was open.
    ///
    /// Fails with [`Broken::Mixed`], and opens nothing, if another file now stands beside the -wal
    /// of the old one (<https://www.sqlite.org/howtocorrupt.html>, section 1.4).
    pub fn reopen(&mut self) -> Result<(), Error> {
        let has_moved = self.has_moved();
        if has_moved
            && let Some(before) = &self.wal
            && let Ok(file) = self.path.canonicalize()
            && Traces::of(&beside(&file, "-wal"))
                .is_some_and(|now| now.identity == before.identity && 0 < now.bytes)
        {
            return Err(Broken::Mixed.into());
        }
        let opened = Self::open(&self.path).map_err(|error| match error {
            Error::Missing { .. } | Error::NotAFile { .. } | Error::NotADatabase { .. } => {
                Broken::Gone { why: error.to_string() }.into()
            }
            other => other,
        })?;
        let overrides = std::mem::take(&mut self.overrides);
        let former = self.former.take();
        let before = std::mem::replace(self, Self { overrides, ..opened });
        self.former = former.or_else(|| has_moved.then_some(before.conn));
        Ok(())
    }

    /// Names the file itself: device, inode and, because inodes are used again, its birth where
    /// the file system knows it. Another file may hold the same rows under other rowids, as after
    /// a dump and reload.
    pub fn file_id(&self) -> String {
        let born = std::fs::metadata(&self.file).and_then(|found| found.created()).ok();
        let born = born.and_then(|born| born.duration_since(std::time::UNIX_EPOCH).ok());
        format!(
            "{}:{}:{}",
            self.identity.0,
            self.identity.1,
            born.map_or(0, |born| born.as_nanos())
        )
    }

    /// Moves on every commit of another connection
    /// (<https://www.sqlite.org/pragma.html#pragma_data_version>).
    ///
    /// In rollback mode even this takes a lock for a moment, so it waits for a quiet one.
    pub fn data_version(&self) -> Result<i64, Error> {
        self.await_quiet()?;
        let version = self
            .conn
            .prepare_cached("pragma data_version")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map_err(Error::sqlite("read the data version"))?;
        self.note_version(version);
        Ok(version)
    }

    fn note_version(&self, version: i64) {
        if self.last_commit.get().is_none_or(|(seen, _)| seen != version) {
            self.last_commit.set(Some((version, Instant::now())));
        }
    }

    /// The `data_version` of the newest state that was read.
    pub fn version_read(&self) -> Option<i64> {
        self.last_commit.get().map(|(version, _)| version)
    }

    /// From now on somebody of ours holds the write lock ([`rewrite::Locked`]): reads need not keep
    /// out of the way of writers.
    pub fn trust_our_lock(&mut self) {
        self.is_locked = true;
    }

    /// Whether nobody has written for [`QUIET_SINCE`], as far as we have looked.
    fn is_left_alone(&self) -> bool {
        self.is_locked
            || self.last_commit.get().is_some_and(|(_, since)| QUIET_SINCE < since.elapsed())
    }

    /// Waits, for a moment at most, until no writer is about to commit. Only in rollback mode,
    /// where a reader would be in its way.
    fn await_quiet(&self) -> Result<(), Error> {
        if !self.is_locked && self.journal()? == Journal::Rollback {
            let rest = ROLLBACK_REST.checked_sub(self.last_read.get().elapsed());
            if let (Some(rest), false) = (rest, self.is_left_alone()) {
                std::thread::sleep(rest);
            }
            self.writers.await_none(&self.file, self.identity.1);
        }
        Ok(())
    }

    /// Waits up to `max` for a commit of another connection, looking again and again: a file
    /// event arrives before the commit that causes it can be seen. Returns whether one was seen.
    pub fn await_commit(&self, seen: i64, max: Duration) -> Result<bool, Error> {
        let begun = Instant::now();
        // In rollback mode a look takes a lock, and a file that looks as it did holds no news;
        // where the clock is too coarse to tell, the next poll looks for certain.
        if !max.is_zero() && self.journal()? == Journal::Rollback {
            let read = self.stamp_read.get();
            return Ok(read.is_none() || read != stamp(&self.file));
        }
        loop {
            if self.data_version()? != seen {
                return Ok(true);
            }
            let waited = begun.elapsed();
            if max <= waited {
                return Ok(false);
            }
            std::thread::sleep(if waited < LOOK_EAGERLY { LOOK_PAUSE } else { LOOK_PAUSE * 10 });
        }
    }

    /// Runs `body` in one read transaction.
    pub(crate) fn reading<T>(
        &mut self,
        body: impl FnOnce(&Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.await_quiet()?;
        self.stamp_read.set(stamp(&self.file));
        let transaction =
            self.conn.unchecked_transaction().map_err(Error::sqlite("begin a read"))?;
        let outcome = body(&transaction);
        // In the same snapshot, so that it needs no lock of its own.
        let version = transaction
            .prepare_cached("pragma data_version")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)));
        // Nothing was written, so ending it either way only releases the snapshot.
        transaction.rollback().map_err(Error::sqlite("end a read"))?;
        self.note_version(version.map_err(Error::sqlite("read the data version"))?);
        self.last_read.set(Instant::now());
        outcome
    }

    /// Looks at the whole schema, in one read transaction.
    pub fn survey(&mut self) -> Result<Survey, Error> {
        let overrides = self.overrides.clone();
        let survey = self.reading(|conn| {
            let schema_version = changelog::schema_version(conn)?;
            let mut catalog = schema::read(conn).map_err(|source| Error::Schema { source })?;
            catalog.leave_out(|name| overrides.leaves_out(name));
            numbers::keep_keys(conn, &mut catalog)?;
            Ok(Survey { catalog, schema_version, numbers: numbers::all(conn)? })
        })?;
        self.surveyed_version = Some(survey.schema_version);
        Ok(survey)
    }

    /// Whether `error` came about because the application changed its schema after the survey: a
    /// migration drops and renames tables under the eyes of whoever reads them. Each state of the
    /// schema explains one error; what fails again in the same state has another reason.
    pub fn has_schema_moved(&mut self, error: &Error) -> Result<bool, Error> {
        let may_come_of_it = matches!(
            error,
            Error::Sqlite { .. } | Error::Schema { .. } | Error::TriggerRefused { .. }
        );
        let Some(surveyed) = self.surveyed_version.filter(|_| may_come_of_it) else {
            return Ok(false);
        };
        let now = changelog::schema_version(&self.conn)?;
        self.surveyed_version = Some(now);
        Ok(now != surveyed)
    }

    /// The lineage the file carries, if a changelog is installed and can be read.
    pub fn lineage(&self) -> Result<Option<crate::change::Lineage>, Error> {
        if strand::is_whole(&self.conn)? { triggers::lineage(&self.conn) } else { Ok(None) }
    }

    /// Newest entry of the changelog, or `None` where none is installed.
    pub fn head(&self) -> Result<Option<Anchor>, Error> {
        if !triggers::is_installed(&self.conn)? || !strand::is_whole(&self.conn)? {
            return Ok(None);
        }
        changelog::head(&self.conn)
    }
}

/// Lets every read of this connection wait for a committing writer, up to [`READ_BUSY_MAX`].
pub(crate) fn wait_as_reader(conn: &mut Connection) -> Result<(), rusqlite::Error> {
    let mut begun = Instant::now();
    conn.busy_handler(Some(move |tries| {
        if tries == 0 {
            begun = Instant::now();
        }
        std::thread::sleep(READ_BUSY_PAUSE);
        begun.elapsed() < READ_BUSY_MAX
    }))
}

/// Gives a stand-in to every collation that only the application has. Without it SQLite would not
/// prepare a statement that could use one of their indexes; we neither search nor sort by them.
fn lend_collations(conn: &Connection) -> rusqlite::Result<()> {
    conn.collation_needed(|conn, name| conn.create_collation(name, |one, other| one.cmp(other)))
}

/// The schema at one moment.
#[derive(Clone, Debug)]
pub struct Survey {
    /// What the file holds.
    pub catalog: schema::Catalog,
    /// `PRAGMA schema_version` at that moment.
    pub schema_version: i64,
    /// Every number that a captured table has or had in the changelog, in order, with its name.
    pub numbers: Vec<(TableId, String)>,
}

/// Borrows a column's value in our own terms.
pub(crate) fn storage(value: ValueRef<'_>) -> Storage<'_> {
    match value {
        ValueRef::Null => Storage::Null,
        ValueRef::Integer(integer) => Storage::Integer(integer),
        ValueRef::Real(real) => Storage::Real(real),
        ValueRef::Text(text) => Storage::Text(text),
        ValueRef::Blob(bytes) => Storage::Blob(bytes),
    }
}

/// When the file was last written, and its size; `None` if that was so recently that another write
/// could leave the same stamp.
fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let found = std::fs::metadata(path).ok()?;
    let modified = found.modified().ok()?;
    let is_settled = modified.elapsed().is_ok_and(|age| STAMP_SETTLES < age);
    is_settled.then_some((modified, found.len()))
}

/// What `stat` tells of the main file: enough to see that somebody wrote to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traces {
    identity: (u64, u64),
    /// Its length.
    pub bytes: u64,
    modified: (i64, i64),
}

impl Traces {
    /// Looks at the path; `None` if it leads nowhere.
    pub fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        Some(Self {
            identity: (found.dev(), found.ino()),
            bytes: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
        })
    }

    /// Whether both are of one file with one length: nobody is copying it.
    pub fn is_at_rest_since(&self, before: &Self) -> bool {
        (self.identity, self.bytes) == (before.identity, before.bytes)
    }
}

/// The name of a file that SQLite keeps beside the main file.
fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Where the path leads, and which file that is. The file is not opened.
fn check_path(path: &Path) -> Result<(PathBuf, (u64, u64)), Error> {
    let not_a_file = |what| Error::NotAFile { path: path.to_path_buf(), what };
    let looked = std::fs::metadata(path).and_then(|found| Ok((found, path.canonicalize()?)));
    let (found, file) = match looked {
        Ok(found) => found,
        Err(error) => {
            use std::io::ErrorKind::{NotADirectory, NotFound};
            let path = path.to_path_buf();
            return Err(match error.kind() {
                NotFound | NotADirectory => Error::Missing { path },
                _ => Error::Hidden { path, source: error },
            });
        }
    };
    let kind = found.file_type();
    if kind.is_dir() {
        return Err(not_a_file("a directory"));
    }
    if kind.is_fifo() || kind.is_socket() || kind.is_char_device() || kind.is_block_device() {
        return Err(not_a_file("a device, pipe or socket"));
    }
    if found.len() == 0 {
        // An empty file beside a -wal is a database whose first page is not checkpointed yet.
        if std::fs::metadata(beside(&file, "-wal")).map_or(true, |wal| wal.len() == 0) {
            return Err(not_a_file("an empty file"));
        }
    }
    if found.nlink() != 1 {
        return Err(Error::HardLinked { path: path.to_path_buf(), links: found.nlink() });
    }
    if let Some(kind) = network_file_system(path) {
        return Err(Error::NetworkFileSystem { path: path.to_path_buf(), kind });
    }
    check_access(&file)?;
    Ok((file, (found.dev(), found.ino())))
}

/// Asks the system, for the effective user, before SQLite tries: SQLite would open a file that it
/// may not write read-only, and leave -wal and -shm files that the application cannot use.
fn check_access(file: &Path) -> Result<(), Error> {
    let may = |path: &Path, how| {
        nix::unistd::faccessat(nix::fcntl::AT_FDCWD, path, how, AtFlags::AT_EACCESS)
    };
    let hidden = |path: &Path, error: Errno| Error::Hidden {
        path: path.to_path_buf(),
        source: error.into(),
    };
    let path = file.to_path_buf();
    match may(file, AccessFlags::R_OK) {
        Err(Errno::EACCES | Errno::EPERM) => return Err(Error::Unreadable { path }),
        other => other.map_err(|error| hidden(file, error))?,
    }
    // A journal is made beside the file, so its directory matters as much.
    let directory = file.parent().unwrap_or(Path::new("/"));
    for (path, how) in
        [(file, AccessFlags::W_OK), (directory, AccessFlags::W_OK | AccessFlags::X_OK)]
    {
        match may(path, how) {
            Err(Errno::EACCES | Errno::EPERM | Errno::EROFS) => {
                return Err(Error::ReadOnly { path: path.to_path_buf() });
            }
            other => other.map_err(|error| hidden(path, error))?,
        }
    }
    Ok(())
}

/// The file systems whose locks or shared memory do not reach every process that may write
/// (<https://www.sqlite.org/wal.html>, "WAL does not work over a network filesystem").
fn network_file_system(path: &Path) -> Option<&'static str> {
    const KINDS: [(i64, &str); 5] = [
        (0x6969, "NFS"),
        (0xFE53_4D42, "SMB"),
        (0xFF53_4D42, "CIFS"),
        (0x517B, "SMB"),
        (0x0102_1997, "9p"),
    ];
    let found = nix::sys::statfs::statfs(path).ok()?;
    KINDS.iter().find(|(magic, _)| found.filesystem_type().0 == *magic).map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_database_is_refused_by_its_kind() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| directory.path().join(name);
        assert!(matches!(Source::open(&at("none.db")), Err(Error::Missing { .. })));
        assert!(matches!(
            Source::open(directory.path()),
            Err(Error::NotAFile { what: "a directory", .. })
        ));
        std::fs::write(at("empty.db"), b"").expect("write");
        assert!(matches!(
            Source::open(&at("empty.db")),
            Err(Error::NotAFile { what: "an empty file", .. })
        ));
        std::fs::write(at("noise.db"), [7_u8; 8192]).expect("write");
        assert!(matches!(Source::open(&at("noise.db")), Err(Error::NotADatabase { .. })));
    }

    #[test]
    fn a_changed_schema_explains_one_error_and_not_the_next() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("one.db");
        let app = Connection::open(&path).expect("open");
        app.execute_batch("create table t (a)").expect("create");
        let mut source = Source::open(&path).expect("open the source");
        source.survey().expect("a survey");
        let error = Error::sqlite("look")(rusqlite::Error::InvalidQuery);
        let mut has_moved = || source.has_schema_moved(&error).expect("look at the version");
        assert!(!has_moved());
        app.execute_batch("alter table t rename to u").expect("rename");
        assert!(has_moved());
        assert!(!has_moved(), "the same state of the schema again");
        app.execute_batch("create table v (a)").expect("create");
        assert!(has_moved());
    }

    #[test]
    fn a_file_renamed_over_the_source_is_noticed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (one, other) = (directory.path().join("one.db"), directory.path().join("other.db"));
        for path in [&one, &other] {
            let conn = Connection::open(path).expect("open");
            conn.execute_batch("create table t (a)").expect("create");
        }
        let source = Source::open(&one).expect("open the source");
        assert!(!source.has_moved());
        std::fs::rename(&other, &one).expect("rename");
        assert!(source.has_moved());
    }
}
