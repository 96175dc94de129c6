//! One pass over every row of every table, in short reads, several stretches at a time.
//!
//! Each worker has a connection of its own and takes stretches of tables from a queue; a slice of
//! a stretch is one read transaction of the length that the source's pace allows. In rollback mode
//! there is one worker only: the reads of two would overlap, and a writer could find no moment
//! between them. Foreign keys are looked up in the same pass.
//!
//! Memory does not grow with the rows. A table that cannot be read says why, and the others go on.
//! Begin with [`scan`].

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use rusqlite::Row;

use super::collide::{Collider, Collisions};
use super::profile::{Profile, Rare, RowKey};
use crate::error::chain;
use crate::source::copy::Cursor;
use crate::source::inspect::{ROW, Slice, Stretch};
use crate::source::schema::Catalog;
use crate::source::{Error, Journal, Source, Survey, storage};
use crate::table::{ForeignKey, Ident, IndexTerm, Key, Table};
use crate::terminal;
use crate::value::Storage;
use crate::value::codec::Codec;

/// The codecs of the columns whose type the configuration sets, by table and position.
pub type Codecs = HashMap<(String, usize), Arc<Codec>>;

/// What was found in a table.
#[derive(Clone, Debug, Default)]
pub struct TableScan {
    /// Rows read.
    pub rows: u64,
    /// One profile a column.
    pub columns: Vec<Profile>,
    /// Rows without a parent, one entry a foreign key.
    pub orphans: Vec<Rare>,
    /// Why the table could not be read to its end.
    pub failed: Option<String>,
}

/// How the scan went.
#[derive(Clone, Debug, Default)]
pub struct Scanned {
    /// In the order of the catalog.
    pub tables: Vec<TableScan>,
    /// How long it took.
    pub seconds: f64,
    /// Connections that read side by side.
    pub workers: usize,
}

/// Side by side in WAL mode, at most. The work is SQLite's and ours in equal parts, so it scales
/// with the cores; more would only take them from the application.
const WORKERS_MAX: usize = 4;

/// A table whose rowids span more than this is read in several stretches.
const STRETCH_ROWIDS_MIN: i64 = 100_000;

/// Stretches a worker, so that none is left with the last long one.
const STRETCHES_PER_WORKER: i64 = 4;

/// Between two lines that say how far it is, where there is no terminal.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// With a rate limit, slices are at most this share of a second's rows.
const SLICES_PER_SECOND: u32 = 20;

/// A stretch that waits for a worker.
struct Job {
    table: usize,
    number: usize,
    after: Cursor,
    until: Option<i64>,
    /// The rowid it begins at and how many there may be in it, for the progress bar.
    low: i64,
    span: u64,
}

/// What the workers share.
struct Shared<'a> {
    survey: &'a Survey,
    codecs: &'a Codecs,
    queue: Mutex<VecDeque<Job>>,
    found: Mutex<Vec<(usize, usize, TableScan)>>,
    rows: AtomicU64,
    is_over: AtomicBool,
    rows_per_second: Option<NonZeroU32>,
    begun: Instant,
    bar: Option<ProgressBar>,
    last_line: Mutex<Instant>,
}

/// Reads every row of every table of `survey`.
///
/// Fails if the file cannot be opened, stays locked, or its schema changes meanwhile. Blocks.
pub fn scan(
    path: &Path,
    survey: &Survey,
    rows_per_second: Option<NonZeroU32>,
    codecs: &Codecs,
) -> Result<Scanned, Error> {
    let mut source = Source::open_to_read(path)?;
    let workers = match source.journal()? {
        Journal::Rollback => 1,
        Journal::Wal => std::thread::available_parallelism().map_or(1, usize::from),
    }
    .min(WORKERS_MAX);
    let jobs = jobs(&mut source, &survey.catalog, workers)?;
    // Rowids may lie anywhere in 64 bits, so the spans of two tables may be more than that.
    let total = jobs.iter().fold(0, |total: u64, job| total.saturating_add(job.span));
    let shared = Shared {
        survey,
        codecs,
        queue: Mutex::new(jobs.into()),
        found: Mutex::new(Vec::new()),
        rows: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
        rows_per_second,
        begun: Instant::now(),
        bar: bar(total),
        last_line: Mutex::new(Instant::now()),
    };
    let outcome = std::thread::scope(|scope| {
        let others: Vec<_> = (1..workers)
            .map(|_| {
                scope.spawn(|| Source::open_to_read(path).and_then(|source| shared.work(source)))
            })
            .collect();
        let mine = shared.work(source);
        others.into_iter().fold(mine, |outcome, other| {
            outcome.and(other.join().expect("a worker does not panic"))
        })
    });
    if let Some(bar) = &shared.bar {
        bar.finish_and_clear();
    }
    outcome?;
    let seconds = shared.begun.elapsed().as_secs_f64();
    let found = shared.found.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Scanned { tables: merge(&survey.catalog, found), seconds, workers })
}

fn bar(total: u64) -> Option<ProgressBar> {
    terminal::is_interactive().then(|| {
        let bar = terminal::draw(ProgressBar::new(total));
        let template = "reading {bar:30} {percent:>3} %  {msg}  [{elapsed}, {eta} left]";
        bar.set_style(ProgressStyle::with_template(template).expect("the template is well-formed"));
        bar
    })
}

fn jobs(source: &mut Source, catalog: &Catalog, workers: usize) -> Result<Vec<Job>, Error> {
    let mut jobs = Vec::new();
    let parts = i64::try_from(workers).expect("a few workers") * STRETCHES_PER_WORKER;
    for (table, shape) in catalog.tables.iter().enumerate() {
        let span = |low: i64, high: i64| high.abs_diff(low).saturating_add(1);
        let ends = source.rowid_ends(shape)?;
        let (low, high) = match ends {
            Some((low, high))
                if 1 < workers
                    && high.checked_sub(low).is_some_and(|span| STRETCH_ROWIDS_MIN < span) =>
            {
                (low, high)
            }
            _ => {
                let (low, span) = ends.map_or((0, 0), |(low, high)| (low, span(low, high)));
                jobs.push(Job { table, number: 0, after: Cursor::Start, until: None, low, span });
                continue;
            }
        };
        let step = (high - low) / parts;
        for part in 0..parts {
            let from = low + step * part;
            let is_last = part + 1 == parts;
            jobs.push(Job {
                table,
                number: usize::try_from(part).expect("parts are few"),
                after: if part == 0 { Cursor::Start } else { Cursor::Rowid(from) },
                until: (!is_last).then_some(from + step),
                low: from,
                span: span(from, if is_last { high } else { from + step }),
            });
        }
    }
    Ok(jobs)
}

/// Puts the stretches of each table together, in their order.
fn merge(catalog: &Catalog, mut found: Vec<(usize, usize, TableScan)>) -> Vec<TableScan> {
    found.sort_by_key(|(table, number, _)| (*table, *number));
    let mut tables: Vec<TableScan> = catalog.tables.iter().map(empty).collect();
    for (table, _, part) in found {
        let whole = &mut tables[table];
        whole.rows += part.rows;
        for (mine, theirs) in whole.columns.iter_mut().zip(&part.columns) {
            mine.merge(theirs);
        }
        for (mine, theirs) in whole.orphans.iter_mut().zip(&part.orphans) {
            mine.merge(theirs);
        }
        whole.failed = whole.failed.take().or(part.failed);
    }
    tables
}

fn empty(table: &Table) -> TableScan {
    TableScan {
        rows: 0,
        columns: table.columns.iter().map(|column| Profile::new(&column.declared)).collect(),
        orphans: vec![Rare::default(); table.foreign_keys.len()],
        failed: None,
    }
}

impl Shared<'_> {
    /// Takes stretches until none is left or another worker failed.
    fn work(&self, mut source: Source) -> Result<(), Error> {
        while !self.is_over.load(Ordering::Relaxed) {
            let job = self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(job) = job else { return Ok(()) };
            match self.stretch(&mut source, &job) {
                Ok(scan) => self
                    .found
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((job.table, job.number, scan)),
                Err(error) => {
                    self.is_over.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn stretch(&self, source: &mut Source, job: &Job) -> Result<TableScan, Error> {
        let catalog = &self.survey.catalog;
        let table = &catalog.tables[job.table];
        let looks: Vec<(usize, String)> = table
            .foreign_keys
            .iter()
            .enumerate()
            .filter_map(|(at, key)| Some((at, orphan_expression(catalog, table, key)?)))
            .collect();
        let mut expressions: Vec<String> =
            table.columns.iter().map(|column| qualified(ROW, &column.name)).collect();
        expressions.extend(looks.iter().map(|(_, expression)| expression.clone()));
        let reader = RowReader {
            key: match &table.key {
                Key::HiddenRowid => vec![expressions.len()],
                _ => table.key_columns(),
            },
            looks: looks.iter().map(|(at, _)| *at).collect(),
        };
        let stretch = Stretch { table, expressions: &expressions, until: job.until };
        let rows_max = self
            .rows_per_second
            .map_or(u64::MAX, |rate| u64::from((rate.get() / SLICES_PER_SECOND).max(1)));
        let mut scan = empty(table);
        for (position, profile) in scan.columns.iter_mut().enumerate() {
            profile.codec = self.codecs.get(&(table.name.clone(), position)).cloned();
        }
        let (mut after, mut passed) = (job.after.clone(), 0);
        loop {
            let version = self.survey.schema_version;
            let slice = source
                .slice(&stretch, version, &after, rows_max, |row| reader.note(row, &mut scan));
            let slice = match slice {
                Ok(slice) => slice,
                Err(error @ Error::Sqlite { .. }) => {
                    scan.failed = Some(chain(&error));
                    return Ok(scan);
                }
                Err(error) => return Err(error),
            };
            passed = self.progress(table, job, &slice, passed);
            if slice.is_last || self.is_over.load(Ordering::Relaxed) {
                return Ok(scan);
            }
            after = slice.cursor;
            self.keep_to_rate();
        }
    }

    /// Sleeps until the rows read so far are no more than the rate allows.
    fn keep_to_rate(&self) {
        let Some(rate) = self.rows_per_second else { return };
        #[allow(clippy::cast_precision_loss)]
        let due = self.rows.load(Ordering::Relaxed) as f64 / f64::from(rate.get());
        let ahead = Duration::from_secs_f64(due).saturating_sub(self.begun.elapsed());
        std::thread::sleep(ahead);
    }

    /// Shows how far it is; `passed` and the result are the rowids of the stretch left behind.
    fn progress(&self, table: &Table, job: &Job, slice: &Slice, passed: u64) -> u64 {
        let rows = self.rows.fetch_add(slice.rows, Ordering::Relaxed) + slice.rows;
        let per_second = u128::from(rows) * 1000 / self.begun.elapsed().as_millis().max(1);
        let now = match slice.cursor {
            _ if slice.is_last => job.span,
            Cursor::Rowid(rowid) => rowid.abs_diff(job.low).min(job.span),
            Cursor::Start | Cursor::Key(_) => passed,
        };
        if let Some(bar) = &self.bar {
            bar.inc(now.saturating_sub(passed));
            bar.set_message(format!("{rows} rows, {per_second} rows/s"));
        } else {
            let mut last = self.last_line.lock().unwrap_or_else(PoisonError::into_inner);
            if PROGRESS_INTERVAL < last.elapsed() {
                *last = Instant::now();
                tracing::info!(table = %table.name, rows, %per_second, "reading");
            }
        }
        now
    }
}

/// Whether values of a unique column would become equal under the type `pg`.
pub fn collisions(
    path: &Path,
    survey: &Survey,
    table: &Table,
    position: usize,
    pg: &str,
) -> Result<Collisions, Error> {
    let mut source = Source::open_to_read(path)?;
    let named = match &table.key {
        Key::HiddenRowid => Vec::new(),
        _ => table.key_columns(),
    };
    let expressions: Vec<String> = [position]
        .iter()
        .chain(&named)
        .map(|&at| qualified(ROW, &table.columns[at].name))
        .collect();
    let key_at = 1..=table.key_width();
    let stretch = Stretch { table, expressions: &expressions, until: None };
    let (mut collider, mut after) = (Collider::default(), Cursor::Start);
    loop {
        let slice = source.slice(&stretch, survey.schema_version, &after, u64::MAX, |row| {
            let key = || {
                let value = |at| row.get_ref(at).map_or(Storage::Null, storage);
                RowKey::new(key_at.clone().map(value))
            };
            collider.note(pg, storage(row.get_ref(0)?), key);
            Ok(())
        })?;
        if slice.is_last {
            return Ok(collider.outcome());
        }
        after = slice.cursor;
    }
}

/// Where the parts of a row are.
struct RowReader {
    /// The values that name the row.
    key: Vec<usize>,
    /// The foreign keys that are looked up, behind the columns.
    looks: Vec<usize>,
}

impl RowReader {
    fn note(&self, row: &Row<'_>, scan: &mut TableScan) -> rusqlite::Result<()> {
        let key = || {
            let value = |at: &usize| row.get_ref(*at).map_or(Storage::Null, storage);
            RowKey::new(self.key.iter().map(value))
        };
        let width = scan.columns.len();
        for (at, profile) in scan.columns.iter_mut().enumerate() {
            profile.note(storage(row.get_ref(at)?), key);
        }
        for (place, at) in self.looks.iter().enumerate() {
            if row.get::<_, bool>(width + place)? {
                scan.orphans[*at].note(key);
            }
        }
        scan.rows += 1;
        Ok(())
    }
}

fn qualified(alias: &str, column: &str) -> String {
    format!("{}.{}", Ident::new(alias), Ident::new(column))
}

/// What the parent is called in the look-up.
const PARENT: &str = "_lite2pg_parent";

/// An expression that is true where a row has no parent, by SQLite's own rules: a key with a NULL
/// needs none, and values are compared with the parent's affinity and collation
/// (<https://www.sqlite.org/foreignkeys.html>, section 3). `None` where SQLite could not look it
/// up by an index either: it then refuses every write, and the DDL has a note of it.
pub fn orphan_expression(catalog: &Catalog, table: &Table, key: &ForeignKey) -> Option<String> {
    let children: Vec<String> =
        key.columns.iter().map(|&at| qualified(ROW, &table.columns[at].name)).collect();
    let complete: Vec<String> =
        children.iter().map(|child| format!("{child} is not null")).collect();
    let complete = complete.join(" and ");
    let Some(parent) = parent_of(catalog, key) else { return Some(complete) };
    let columns = key.columns_in(parent)?;
    if columns.len() != children.len() || !is_unique(parent, &columns) {
        return None;
    }
    // A unary plus takes the child's affinity away, and the left side's collation is used.
    let equal: Vec<String> = columns
        .iter()
        .zip(&children)
        .map(|(&at, child)| format!("{} = +{child}", qualified(PARENT, &parent.columns[at].name)))
        .collect();
    Some(format!(
        "{complete} and not exists (select 1 from {} as {} where {})",
        parent.ident(),
        Ident::new(PARENT),
        equal.join(" and ")
    ))
}

/// The parent table, if there is one that can be read.
pub fn parent_of<'a>(catalog: &'a Catalog, key: &ForeignKey) -> Option<&'a Table> {
    catalog.tables.iter().find(|table| table.name.eq_ignore_ascii_case(&key.parent))
}

/// Whether a unique index over just these columns, in their own collations, names one row.
fn is_unique(parent: &Table, columns: &[usize]) -> bool {
    if let (Some(alias), [only]) = (parent.rowid_alias, columns)
        && alias == *only
    {
        return true;
    }
    parent.indexes.iter().any(|index| {
        index.unique
            && index.predicate.is_none()
            && index.columns.len() == columns.len()
            && index.columns.iter().all(|term| match term.term {
                IndexTerm::Column(at) => {
                    columns.contains(&at) && term.collation == parent.columns[at].collation
                }
                _ => false,
            })
    })
}
