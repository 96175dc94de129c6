//! Run the application's own queries on the source, to hold them against PostgreSQL's.
//!
//! A query reads as long as it takes, so it is the one read whose length lite2pg does not choose:
//! it is interrupted after its time, and what it gives is not held beyond a limit. Each run is one
//! read transaction that proves the lineage first. Nothing is ever written.

use std::ffi::c_int;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{CachedStatement, Connection, ErrorCode};

use super::changelog;
use super::proof::size;
use super::{Error, Source, storage};
use crate::change::{Place, Position};
use crate::value::{BYTES_MAX, Gathered, Owned, ROWS_MAX};

/// A statement with its parameters.
#[derive(Clone, Debug)]
pub struct Asked {
    /// As the configuration has it.
    pub sql: Arc<str>,
    /// In the order in which they are numbered.
    pub parameters: Vec<Owned>,
    /// It is interrupted after this.
    pub timeout: Duration,
}

/// SQLite's steps between two looks at the clock: some ten microseconds, of which a look takes
/// a hundredth (<https://www.sqlite.org/c3ref/progress_handler.html>).
const STEPS_BETWEEN_LOOKS: c_int = 1_000;

const DOING: &str = "ask what the configuration asks";

impl Source {
    /// How many parameters the statement takes. Fails with [`Error::NotReadOnly`] for one that
    /// would write.
    pub fn parameters_taken(&mut self, sql: &str) -> Result<usize, Error> {
        self.reading(|conn| {
            let statement = read_only(conn, sql)?;
            let places = (1..=statement.parameter_count()).map(|n| place_of(&statement, n));
            Ok(places.max().unwrap_or(0))
        })
    }

    /// The rows that it gives; `None` if `at` is named and is not the head of the changelog.
    pub fn gather(
        &mut self,
        place: &Place,
        at: Option<Position>,
        asked: &Asked,
    ) -> Result<Option<Gathered<Vec<Vec<Owned>>>>, Error> {
        self.asking(place, at, asked, |statement| {
            let width = statement.column_count();
            let (mut found, mut bytes) = (Vec::new(), 0);
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next()? {
                let cells = (0..width)
                    .map(|at| row.get_ref(at).map(|value| Owned::from(storage(value))))
                    .collect::<Result<Vec<_>, _>>()?;
                bytes += cells.iter().map(size).sum::<usize>();
                found.push(cells);
                if ROWS_MAX < found.len() || BYTES_MAX < bytes {
                    return Ok(Gathered::TooLarge);
                }
            }
            Ok(Gathered::Whole(found))
        })
    }

    /// How long it takes from the first step to the last row, prepared, with every cell looked at.
    pub fn time(&mut self, place: &Place, asked: &Asked) -> Result<Gathered<Duration>, Error> {
        let timed = self.asking(place, None, asked, |statement| {
            let width = statement.column_count();
            let begun = Instant::now();
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next()? {
                for at in 0..width {
                    std::hint::black_box(row.get_ref(at)?);
                }
            }
            Ok(Gathered::Whole(begun.elapsed()))
        })?;
        Ok(timed.expect("it is asked wherever the head is"))
    }

    fn asking<T>(
        &mut self,
        place: &Place,
        at: Option<Position>,
        asked: &Asked,
        body: impl FnOnce(&mut CachedStatement<'_>) -> rusqlite::Result<Gathered<T>>,
    ) -> Result<Option<Gathered<T>>, Error> {
        self.follow_path()?;
        let is_asking = Arc::new(AtomicBool::new(false));
        let (is_armed, deadline) = (is_asking.clone(), Instant::now() + asked.timeout);
        let is_late = move || is_armed.load(Ordering::Relaxed) && deadline < Instant::now();
        self.conn
            .progress_handler(STEPS_BETWEEN_LOOKS, Some(is_late))
            .map_err(Error::sqlite(DOING))?;
        let outcome = self.reading(|conn| {
            let head = changelog::prove(conn, &place.lineage, place.anchor)?;
            if at.is_some_and(|at| at != head.position) {
                return Ok(None);
            }
            let mut statement = read_only(conn, &asked.sql)?;
            for number in 1..=statement.parameter_count() {
                let value = &asked.parameters[place_of(&statement, number) - 1];
                changelog::bind_from(&mut statement, number, slice::from_ref(value))?;
            }
            is_asking.store(true, Ordering::Relaxed);
            let gathered = body(&mut statement);
            is_asking.store(false, Ordering::Relaxed);
            match gathered {
                Err(error)
                    if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) =>
                {
                    Ok(Some(Gathered::TooSlow))
                }
                gathered => gathered.map(Some).map_err(Error::sqlite(DOING)),
            }
        });
        let never: Option<fn() -> bool> = None;
        self.conn.progress_handler(0, never).map_err(Error::sqlite(DOING))?;
        outcome
    }
}

/// Prepares a statement that only reads, and that gives rows: `attach` would pass for reading.
fn read_only<'a>(conn: &'a Connection, sql: &str) -> Result<CachedStatement<'a>, Error> {
    let statement = conn.prepare_cached(sql).map_err(Error::sqlite(DOING))?;
    if !statement.readonly() || statement.column_count() == 0 {
        return Err(Error::NotReadOnly { sql: sql.to_owned() });
    }
    Ok(statement)
}

/// Which value parameter `number` takes, from 1 on. To SQLite `$2` is only a name, numbered as it
/// comes; written for both sides it means what it means to PostgreSQL.
fn place_of(statement: &CachedStatement<'_>, number: usize) -> usize {
    let name = statement.parameter_name(number).and_then(|name| name.strip_prefix('$'));
    name.and_then(|digits| digits.parse().ok()).filter(|place| 0 < *place).unwrap_or(number)
}
