//! Look at the whole file without being felt: facts about it, every row, its integrity.
//!
//! Rows are read in slices: one read transaction each, no longer than the pace allows, and the
//! file left to the application in between. So a look at all rows is not a look at one moment;
//! what is counted may be some commits old by the end.
//!
//! SQLite's `integrity_check` is one long read, which in rollback mode would keep the application
//! from committing. It is therefore made on a copy that SQLite's backup API draws in short steps
//! (<https://www.sqlite.org/backup.html>) into a temporary database, which SQLite unlinks as it
//! makes it. A commit of the application makes the backup begin again, so on a busy file it may
//! never end; then the check is left out, and said to be.
//!
//! Nothing here writes to the source.

use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, Row};

use super::changelog::schema_version;
use super::copy::{Cursor, Walk, bind_bounds, cursor_at, walk, walk_sql};
use super::{Error, Source};
use crate::table::{Ident, Table};

/// What the file says of itself.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Facts {
    /// Bytes: pages times page size.
    pub bytes: u64,
    /// Bytes of a page.
    pub page_size: u64,
    /// Pages that hold nothing.
    pub free_pages: u64,
    /// Text encoding.
    pub encoding: String,
    /// `delete`, `truncate`, `persist`, `memory`, `wal` or `off`, as this connection sees it.
    pub journal_mode: String,
    /// Bytes of the write-ahead log.
    pub wal_bytes: u64,
    /// `none`, `full` or `incremental`.
    pub auto_vacuum: &'static str,
    /// The application's own number.
    pub user_version: i64,
    /// The application's own mark.
    pub application_id: i64,
    /// Counts changes of the schema (and VACUUMs) since the file was made.
    pub schema_version: i64,
    /// The changelog of lite2pg is installed.
    pub is_captured: bool,
}

/// What a slice of a table came to.
#[derive(Debug)]
pub struct Slice {
    /// The last row.
    pub cursor: Cursor,
    /// The stretch ends here.
    pub is_last: bool,
    /// Rows in it.
    pub rows: u64,
}

/// A stretch of a table that is read in order, and what is read of each row.
pub struct Stretch<'a> {
    /// The table.
    pub table: &'a Table,
    /// Expressions, ahead of those that the cursor needs; the table's alias is [`ROW`].
    pub expressions: &'a [String],
    /// Rowids above this belong to the next stretch.
    pub until: Option<i64>,
}

/// What the table is called in the expressions of a [`Stretch`].
pub const ROW: &str = "_lite2pg_row";

/// How the integrity check went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Integrity {
    /// SQLite found nothing wrong.
    Sound,
    /// What SQLite found, at most [`PROBLEMS_MAX`] lines.
    Damaged(Vec<String>),
    /// It could not be made, and why.
    LeftOut(String),
}

/// Lines of `integrity_check` that are shown.
pub const PROBLEMS_MAX: u32 = 20;

/// How the check is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntegrityCheck {
    /// On a copy, so that no read lasts; [`CHECK_MAX`] at most.
    OnCopy,
    /// In the file itself, in one read as long as it takes.
    InPlace,
}

/// The longest that copy and check may take together.
const CHECK_MAX: Duration = Duration::from_secs(60);

/// How often the application may make the copy begin again.
const COPY_RESTARTS_MAX: u32 = 20;

/// Pages copied while the file is held, at 1 µs a page: as long as other reads take.
const COPY_STEP_PAGES: [(Duration, i32); 3] = [
    (Duration::from_millis(1), 200),
    (Duration::from_millis(15), 3_000),
    (Duration::from_millis(200), 40_000),
];

/// SQLite's virtual machine steps between two looks at the clock.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;

impl Source {
    /// What the file says of itself, in one short read.
    pub fn facts(&mut self) -> Result<Facts, Error> {
        let mut wal = self.path().as_os_str().to_owned();
        wal.push("-wal");
        let wal_bytes = std::fs::metadata(wal).map_or(0, |wal| wal.len());
        let is_captured = super::triggers::is_installed(&self.conn)?;
        self.reading(|conn| {
            let doing = "read facts about the source";
            let number = |pragma: &str| -> Result<i64, Error> {
                conn.query_row(&format!("pragma {pragma}"), [], |row| row.get(0))
                    .map_err(Error::sqlite(doing))
            };
            let text = |pragma: &str| -> Result<String, Error> {
                conn.query_row(&format!("pragma {pragma}"), [], |row| row.get(0))
                    .map_err(Error::sqlite(doing))
            };
            let page_size = number("page_size")?.unsigned_abs();
            Ok(Facts {
                bytes: page_size * number("page_count")?.unsigned_abs(),
                page_size,
                free_pages: number("freelist_count")?.unsigned_abs(),
                encoding: text("encoding")?,
                journal_mode: text("journal_mode")?,
                wal_bytes,
                auto_vacuum: match number("auto_vacuum")? {
                    0 => "none",
                    1 => "full",
                    _ => "incremental",
                },
                user_version: number("user_version")?,
                application_id: number("application_id")?,
                schema_version: schema_version(conn)?,
                is_captured,
            })
        })
    }

    /// The least and the greatest rowid; `None` for an empty table and one without rowids.
    pub fn rowid_ends(&mut self, table: &Table) -> Result<Option<(i64, i64)>, Error> {
        let Walk::Rowid(rowid) = walk(table) else { return Ok(None) };
        let name = table.ident();
        let sql =
            format!("select (select min({rowid}) from {name}), (select max({rowid}) from {name})");
        let ends: (Option<i64>, Option<i64>) = self.reading(|conn| {
            conn.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
                .map_err(Error::sqlite("find the ends of a table"))
        })?;
        Ok(ends.0.zip(ends.1))
    }

    /// Reads the next rows of a stretch, `rows_max` at most, in one read transaction of the length
    /// that the pace allows; at least one row is read if there is one. `visit` sees the values of
    /// the stretch's expressions.
    ///
    /// Fails with [`Error::SchemaChanged`] if the schema is not the one of `schema`: VACUUM may
    /// have renumbered rowids under the cursor.
    pub fn slice(
        &mut self,
        stretch: &Stretch<'_>,
        schema: i64,
        after: &Cursor,
        rows_max: u64,
        mut visit: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
    ) -> Result<Slice, Error> {
        let doing = "read rows";
        let hold_max = self.pace()?.hold_max;
        let by = qualified_walk(stretch.table);
        let bounds = (after, &stretch.until.map_or(Cursor::Start, Cursor::Rowid));
        let table = format!("{} as {}", stretch.table.ident(), Ident::new(ROW));
        let sql = walk_sql(&stretch.expressions.join(", "), &table, &by, bounds);
        self.reading(|conn| {
            if schema_version(conn)? != schema {
                return Err(Error::SchemaChanged);
            }
            let begun = Instant::now();
            let mut statement = conn.prepare_cached(&sql).map_err(Error::sqlite(doing))?;
            bind_bounds(&mut statement, bounds)?;
            let mut rows = statement.raw_query();
            let mut slice = Slice { cursor: after.clone(), is_last: true, rows: 0 };
            while let Some(row) = rows.next().map_err(Error::sqlite(doing))? {
                visit(row).map_err(Error::sqlite(doing))?;
                slice.rows += 1;
                let is_time = slice.rows.is_multiple_of(8) && hold_max < begun.elapsed();
                if is_time || rows_max <= slice.rows {
                    slice.cursor = cursor_at(&by, row, stretch.expressions.len())?;
                    slice.is_last = false;
                    break;
                }
            }
            Ok(slice)
        })
    }

    /// SQLite's own check of the file: `integrity_check`, or the faster `quick_check` that does
    /// not hold indexes against their tables.
    pub fn check_integrity(
        &mut self,
        how: IntegrityCheck,
        is_quick: bool,
    ) -> Result<Integrity, Error> {
        match how {
            IntegrityCheck::InPlace => self.reading(|conn| check(conn, is_quick)).map(|found| {
                found.unwrap_or_else(|| Integrity::LeftOut("it was interrupted".to_owned()))
            }),
            IntegrityCheck::OnCopy => {
                let deadline = Instant::now() + CHECK_MAX;
                let copy = match self.copy_for_check(deadline)? {
                    Ok(copy) => copy,
                    Err(reason) => return Ok(Integrity::LeftOut(reason)),
                };
                Ok(check(&copy, is_quick)?.unwrap_or_else(|| {
                    Integrity::LeftOut(format!("it takes longer than {} s", CHECK_MAX.as_secs()))
                }))
            }
        }
    }

    /// Copies the file into a temporary database whose statements end at the deadline, or says why
    /// that cannot be.
    fn copy_for_check(&mut self, deadline: Instant) -> Result<Result<Connection, String>, Error> {
        let doing = "copy the source for its check";
        // An empty name is a temporary database, on disk and unlinked at once.
        let mut copy = Connection::open("").map_err(Error::sqlite(doing))?;
        let (mut restarts, mut least_left) = (0, i32::MAX);
        let backup = Backup::new(&self.conn, &mut copy).map_err(Error::sqlite(doing))?;
        loop {
            // Waits for a moment without writers, and notes whether the application commits.
            self.data_version()?;
            let hold_max = self.pace()?.hold_max;
            let steps = COPY_STEP_PAGES.iter().find(|(hold, _)| hold_max <= *hold);
            let pages = steps.map_or(COPY_STEP_PAGES[2].1, |(_, pages)| *pages);
            let stepped = backup.step(pages);
            self.last_read.set(Instant::now());
            match stepped {
                Ok(StepResult::Done) => break,
                Ok(_) => {}
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                    return Ok(Err("there is no room for the copy that it is made on".to_owned()));
                }
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
                    return Ok(Err("the file cannot be copied: it is damaged".to_owned()));
                }
                Err(error) => return Err(Error::sqlite(doing)(error)),
            }
            let left = backup.progress().remaining;
            restarts += u32::from(least_left < left);
            least_left = left;
            if COPY_RESTARTS_MAX < restarts || deadline < Instant::now() {
                return Ok(Err("the application writes more often than a copy takes".to_owned()));
            }
        }
        drop(backup);
        copy.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || deadline < Instant::now()))
            .map_err(Error::sqlite(doing))?;
        Ok(Ok(copy))
    }
}

/// Runs the check; `None` if it was interrupted.
fn check(conn: &Connection, is_quick: bool) -> Result<Option<Integrity>, Error> {
    let doing = "check the integrity of the source";
    let pragma = if is_quick { "quick_check" } else { "integrity_check" };
    let lines: Result<Vec<String>, _> = conn
        .prepare(&format!("pragma {pragma}({PROBLEMS_MAX})"))
        .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect());
    match lines {
        Ok(lines) if lines == ["ok"] => Ok(Some(Integrity::Sound)),
        Ok(lines) => Ok(Some(Integrity::Damaged(lines))),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            Ok(None)
        }
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
            Ok(Some(Integrity::Damaged(vec![error.to_string()])))
        }
        Err(error) => Err(Error::sqlite(doing)(error)),
    }
}

/// As [`walk`], with names that are told apart from those of the expressions.
fn qualified_walk(table: &Table) -> Walk {
    let qualified = |name: String| format!("{}.{name}", Ident::new(ROW));
    match walk(table) {
        Walk::Rowid(rowid) => Walk::Rowid(qualified(rowid)),
        Walk::Key(key) => Walk::Key(key.into_iter().map(qualified).collect()),
    }
}
