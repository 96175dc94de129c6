//! Put rows back into the file, by the operator's decision: the one place that writes to the
//! application's tables.
//!
//! Everything happens in one write transaction on a connection of its own, which holds the lock
//! from before the comparison to the commit: nobody writes in between, and a crash leaves the file
//! as it was. No trigger fires, neither the application's nor ours: the rows that come back are
//! what those triggers had made of them. The file's own NOT NULL, CHECK, UNIQUE and STRICT rules
//! hold for every row, foreign keys for the whole at the end.
//!
//! No stand-in is lent to collations that only the application has: an index that is written to in
//! another order would be broken.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::config::DbConfig;
use rusqlite::{CachedStatement, Connection, ErrorCode, OpenFlags};
use sha2::{Digest, Sha256};

use super::changelog::{self, bind_from, select_row};
use super::schema::Catalog;
use super::{Error, strand, triggers};
use crate::change::{Place, Position, TableId};
use crate::failpoint;
use crate::mapping::{From, Mapping};
use crate::table::Ident;
use crate::value::Owned;

/// How long to wait for the application's own transaction to end.
const LOCK_MAX: Duration = Duration::from_secs(30);

/// Pages of one step of the backup; nobody writes meanwhile, so it is only for memory.
const BACKUP_STEP_PAGES: i32 = 4_096;

/// The file, locked against all other writers.
pub struct Locked {
    conn: Connection,
}

/// A copy of the file as it was.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Kept {
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// The SHA-256 of its bytes.
    pub sha256: String,
}

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is in the file.
    Done,
    /// A row of the file has the same value under one of its unique indexes.
    Collides(String),
    /// The file's own rules refuse it.
    Refused(String),
}

/// A foreign key that a row's value leads nowhere by: table, rowid, parent, number of the key.
pub type Orphan = (String, Option<i64>, String, i64);

impl Locked {
    /// Takes the write lock. Fails with [`Error::Busy`] if the application keeps it.
    pub fn take(path: &Path) -> Result<Self, Error> {
        let doing = "lock the file";
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags).map_err(Error::sqlite(doing))?;
        conn.busy_timeout(LOCK_MAX).map_err(Error::sqlite(doing))?;
        for (setting, value) in [
            (DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true),
            (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
            (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        ] {
            conn.set_db_config(setting, value).map_err(Error::sqlite(doing))?;
        }
        conn.execute_batch(
            "pragma wal_autocheckpoint = 0; pragma synchronous = full; pragma foreign_keys = off;
             pragma recursive_triggers = off; begin immediate",
        )
        .map_err(Error::sqlite(doing))?;
        Ok(Self { conn })
    }

    /// Copies the file as it is, checks the copy and digests it. Fails, with the copy left for a
    /// look, if the copy is not sound.
    pub fn back_up(&self, from: &Path, to: &Path) -> Result<Kept, Error> {
        let doing = "back up the file";
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(from, flags).map_err(Error::sqlite(doing))?;
        reader
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .map_err(Error::sqlite(doing))?;
        let unwritable = |source| Error::Unwritable { path: to.to_path_buf(), source };
        make_like(from, to).map_err(unwritable)?;
        let mut copy = Connection::open(to).map_err(Error::sqlite(doing))?;
        Backup::new(&reader, &mut copy)
            .and_then(|backup| backup.run_to_completion(BACKUP_STEP_PAGES, Duration::ZERO, None))
            .map_err(Error::sqlite(doing))?;
        super::lend_collations(&copy).map_err(Error::sqlite(doing))?;
        let said: String = copy
            .query_row("pragma quick_check(1)", [], |row| row.get(0))
            .map_err(Error::sqlite("check the backup"))?;
        if said != "ok" {
            return Err(Error::BackupUnsound { path: to.to_path_buf(), said });
        }
        // One file, whatever the original has beside it.
        copy.query_row("pragma journal_mode = delete", [], |_| Ok(()))
            .map_err(Error::sqlite(doing))?;
        copy.close().map_err(|(_, error)| Error::sqlite(doing)(error))?;
        let (bytes, sha256) = digest(to).map_err(unwritable)?;
        Ok(Kept { path: to.to_path_buf(), bytes, sha256 })
    }

    /// The rows whose foreign keys lead nowhere; `None` where a foreign key is declared so that
    /// SQLite cannot check it.
    pub fn orphans(&self) -> Result<Option<BTreeSet<Orphan>>, Error> {
        let doing = "check the foreign keys of the file";
        let mut statement =
            self.conn.prepare("pragma foreign_key_check").map_err(Error::sqlite(doing))?;
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .and_then(Iterator::collect);
        match rows {
            Ok(rows) => Ok(Some(rows)),
            Err(error) if error.to_string().contains("foreign key mismatch") => Ok(None),
            Err(error) => Err(Error::sqlite(doing)(error)),
        }
    }

    /// Removes a row, if it is there.
    pub fn remove(&self, mapping: &Mapping, key: &[Owned]) -> Result<(), Error> {
        let doing = "remove a row from the file";
        let select = select_row(mapping, false);
        let (_, condition) = select.split_once(" where ").expect("a row is selected by its key");
        let sql = format!("delete from {} where {condition}", mapping.table.ident());
        let mut statement = self.conn.prepare_cached(&sql).map_err(Error::sqlite(doing))?;
        bind_from(&mut statement, 1, key)?;
        statement.raw_execute().map(drop).map_err(Error::sqlite(doing))
    }

    /// Puts a row into the file, which has none of this key. With `displaces`, rows of the file
    /// that have the same value under a unique index give way.
    pub fn put(&self, mapping: &Mapping, row: &[Owned], displaces: bool) -> Result<Put, Error> {
        let doing = "put a row into the file";
        let settable: Vec<usize> = (0..mapping.columns.len())
            .filter(|at| match mapping.columns[*at].from {
                From::Rowid => true,
                From::Column(index) => mapping.table.columns[index].generated.is_none(),
            })
            .collect();
        let name = |at: &usize| match mapping.columns[*at].from {
            From::Rowid => mapping.table.rowid_name.unwrap_or("rowid").to_owned(),
            From::Column(index) => Ident::new(&mapping.table.columns[index].name).to_string(),
        };
        let names: Vec<String> = settable.iter().map(name).collect();
        let places: Vec<String> = (1..=settable.len()).map(|at| format!("?{at}")).collect();
        let sql = format!(
            "insert {} into {} ({}) values ({})",
            if displaces { "or replace" } else { "or abort" },
            mapping.table.ident(),
            names.join(", "),
            places.join(", ")
        );
        let mut statement = self.conn.prepare_cached(&sql).map_err(Error::sqlite(doing))?;
        let values: Vec<Owned> = settable.iter().map(|at| row[*at].clone()).collect();
        bind_from(&mut statement, 1, &values)?;
        match statement.raw_execute() {
            Ok(_) => Ok(Put::Done),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                Ok(refusal(&error))
            }
            Err(error) => Err(Error::sqlite(doing)(error)),
        }
    }

    /// The lineage that the file carries, and the newest entry of its changelog.
    pub fn head(&self) -> Result<Option<Position>, Error> {
        if !triggers::is_installed(&self.conn)? || !strand::is_whole(&self.conn)? {
            return Ok(None);
        }
        Ok(changelog::head(&self.conn)?.map(|head| head.position))
    }

    /// Begins the changelog anew at `place`: the triggers are as the tables of `catalog` need them,
    /// under the numbers that the target knows them by, and the only entry is the one at `place`.
    pub fn begin_changelog(
        &self,
        catalog: &Catalog,
        known: &[(TableId, String)],
        place: &Place,
    ) -> Result<(), Error> {
        triggers::take_over(&self.conn, catalog, known, &place.lineage)?;
        let doing = "begin the changelog anew";
        self.conn.execute_batch("delete from _lite2pg_changelog").map_err(Error::sqlite(doing))?;
        self.conn
            .execute(
                "insert into _lite2pg_changelog (seq, tbl, op, at, token)
                 values (?1, 0, 'decision', julianday('now'), ?2)",
                (place.anchor.position.0, place.anchor.token),
            )
            .map(drop)
            .map_err(Error::sqlite(doing))
    }

    /// Appends an entry for a key, so that replay makes the target have what the file has.
    pub fn touch(&self, table: TableId, key: &[Owned]) -> Result<(), Error> {
        let doing = "touch a row";
        let mut statement = touching(&self.conn, key.len())?;
        statement.raw_bind_parameter(1, table.0).map_err(Error::sqlite(doing))?;
        bind_from(&mut statement, 2, key)?;
        statement.raw_execute().map(drop).map_err(Error::sqlite(doing))
    }

    /// Makes all of it lasting, and lets the lock go. Before this a crash leaves the file as it
    /// was; after it, all is there.
    pub fn commit(self) -> Result<(), Error> {
        failpoint::hit(failpoint::GUARD_BEFORE_FILE_COMMIT);
        let doing = "commit what was put into the file";
        self.conn.execute_batch("commit").map_err(Error::sqlite(doing))?;
        failpoint::hit(failpoint::GUARD_FILE_COMMITTED);
        Ok(())
    }
}

/// The statement that appends an entry for a key of `width` columns.
pub(super) fn touching(conn: &Connection, width: usize) -> Result<CachedStatement<'_>, Error> {
    let columns: Vec<String> = (1..=width).map(|n| format!("k{n}")).collect();
    let values: Vec<String> = (2..=width + 1).map(|n| format!("?{n}")).collect();
    let sql = format!(
        "insert into _lite2pg_changelog (tbl, op, at, token, {})
         values (?1, 'touch', julianday('now'), random(), {})",
        columns.join(", "),
        values.join(", ")
    );
    conn.prepare_cached(&sql).map_err(Error::sqlite("touch a row"))
}

/// SQLite names the rule and the columns, no values.
fn refusal(error: &rusqlite::Error) -> Put {
    const COLLISIONS: [i32; 3] = [
        rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE,
        rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY,
        rusqlite::ffi::SQLITE_CONSTRAINT_ROWID,
    ];
    let (code, said) = match error {
        rusqlite::Error::SqliteFailure(code, said) => (code.extended_code, said.clone()),
        _ => (0, None),
    };
    let said = said.unwrap_or_else(|| error.to_string());
    if COLLISIONS.contains(&code) { Put::Collides(said) } else { Put::Refused(said) }
}

/// Makes an empty file that the same people may read and write.
fn make_like(from: &Path, to: &Path) -> std::io::Result<()> {
    let permissions = std::fs::metadata(from)?.permissions();
    std::fs::OpenOptions::new().write(true).create_new(true).open(to)?;
    std::fs::set_permissions(to, permissions)
}

fn digest(path: &Path) -> std::io::Result<(u64, String)> {
    let mut file = std::fs::File::open(path)?;
    file.sync_all()?;
    let (mut sha, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        sha.update(&buffer[..read]);
        bytes += read as u64;
    }
    Ok((bytes, sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}
