//! Prove lineage, tail from a position, find the head, prune what is safe.
//!
//! The one idea: in ONE read transaction, prove that the file is still the file, and read the
//! newest position together with the current content of every row touched since the applied one.
//! SQLite has one writer, so entries are in commit order and without gaps; a gap, a missing
//! anchor or another token at its place is a broken lineage, and nothing is read then.
//!
//! Begin with [`Source::tail`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use rusqlite::{
    CachedStatement, Connection, OptionalExtension, Row as SqliteRow, TransactionBehavior,
};

use super::{Broken, Error, Journal, Source, storage, strand, triggers};
use crate::batch::{
    Batch, Image, Nameless, Quarantined, Row, TableBatch, encode_key, encode_row, key_json,
};
use crate::change::{Anchor, Lineage, Place, Position, TableId, mark};
use crate::failpoint;
use crate::mapping::{From, Mapping};
use crate::table::{Affinity, Ident, Key};
use crate::value::{Owned, Seen, Storage};

/// How much one batch may hold.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Changelog entries.
    pub changes_max: u64,
    /// Bytes of row images.
    pub bytes_max: usize,
}

/// Columns of the changelog before the key.
const KEY_AT: usize = 5;

/// Entries deleted in one write transaction in WAL mode, where a transaction costs little.
const PRUNE_ROUND_WAL: i64 = 250;

/// The same where a rollback journal has to reach the disk first, so that fewer transactions hold
/// up the application less in all.
const PRUNE_ROUND_ROLLBACK: i64 = 1_000;

/// An application that has not written for so long is unlikely to begin within the next
/// millisecond.
const PRUNE_QUIET: Duration = Duration::from_secs(1);

/// Entries that have been due for a day, or for as long as they were to be kept, do not wait for a
/// quiet moment any more: this application has none.
const PRUNE_OVERDUE_MS: i64 = 24 * 60 * 60 * 1000;

/// Newest entry.
pub(super) fn head(conn: &Connection) -> Result<Option<Anchor>, Error> {
    conn.prepare_cached("select seq, token from _lite2pg_changelog order by seq desc limit 1")
        .and_then(|mut statement| {
            statement
                .query_row([], |row| {
                    Ok(Anchor { position: Position(row.get(0)?), token: row.get(1)? })
                })
                .optional()
        })
        .map_err(Error::sqlite("find the head of the changelog"))
}

/// Oldest entry that has not been pruned.
pub(super) fn oldest(conn: &Connection) -> Result<Option<Position>, Error> {
    conn.query_row("select min(seq) from _lite2pg_changelog", [], |row| row.get(0))
        .map(|seq: Option<i64>| seq.map(Position))
        .map_err(Error::sqlite("find the tail of the changelog"))
}

/// Proves, inside the caller's read transaction, that the file still holds the history up to
/// `anchor`. Returns the head.
pub(super) fn prove(
    conn: &Connection,
    expected: &Lineage,
    anchor: Anchor,
) -> Result<Anchor, Error> {
    let Some(found) = triggers::lineage(conn)? else {
        return Err(Broken::ChangelogGone.into());
    };
    if found != *expected {
        return Err(Broken::OtherLineage { expected: expected.clone(), found }.into());
    }
    let applied = anchor.position;
    let Some(head) = head(conn)? else {
        return Err(Broken::WentBack { head: Position(0), applied }.into());
    };
    if head.position < applied {
        return Err(Broken::WentBack { head: head.position, applied }.into());
    }
    let token: Option<i64> = conn
        .prepare_cached("select token from _lite2pg_changelog where seq = ?1")
        .and_then(|mut statement| statement.query_row([applied.0], |row| row.get(0)).optional())
        .map_err(Error::sqlite("read the anchor"))?;
    match token {
        Some(token) if token == anchor.token => Ok(head),
        Some(_) => Err(Broken::Forked { applied }.into()),
        None => {
            let tail = oldest(conn)?.unwrap_or(Position(0));
            Err(Broken::AnchorGone { applied, tail }.into())
        }
    }
}

impl Source {
    /// Proves the lineage without reading anything, and that the changelog is still the table that
    /// it was; returns the head.
    pub fn prove(&mut self, place: &Place) -> Result<Anchor, Error> {
        self.follow_path()?;
        let head = self.reading(|conn| {
            strand::check(conn)?;
            prove(conn, &place.lineage, place.anchor)
        })?;
        self.former = None;
        Ok(head)
    }

    /// Declares the schema, as it is now, to be the one the plan was made from.
    pub fn accept_schema(&mut self, planned_version: i64) {
        self.schema_version = Some(planned_version);
    }

    /// Reads what was touched after `from`, or `None` if nothing was.
    ///
    /// The batch ends at the head unless a budget or the hold time ran out first; then
    /// [`Batch::read_through`] is ahead of its end. Fails with [`Error::Lineage`] if the proof
    /// fails, and with [`Error::SchemaChanged`] if the schema is not the accepted one.
    pub fn tail(
        &mut self,
        plan: &Plan,
        lineage: &Lineage,
        from: Anchor,
        budget: Budget,
    ) -> Result<Option<Batch>, Error> {
        self.follow_path()?;
        let hold_max = self.pace()?.hold_max;
        let accepted = self.schema_version;
        let batch = self.reading(|conn| {
            let begun = Instant::now();
            let head = prove(conn, lineage, from)?;
            if Some(schema_version(conn)?) != accepted {
                return Err(Error::SchemaChanged);
            }
            if head.position == from.position {
                return Ok(None);
            }
            let mut reader = Reader::new(conn, plan, from, head);
            reader.read(budget, || hold_max < begun.elapsed())?;
            Ok(Some(reader.batch))
        })?;
        self.former = None;
        Ok(batch)
    }

    /// The age, in milliseconds, of the oldest entry after `position`; 0 if there is none.
    pub fn lag_ms(&self, position: Position) -> Result<i64, Error> {
        self.conn
            .prepare_cached(
                "select max(0, cast((julianday('now') - at) * 86400000 as integer))
                   from _lite2pg_changelog where seq > ?1 order by seq limit 1",
            )
            .and_then(|mut statement| {
                statement.query_row([position.0], |row| row.get(0)).optional()
            })
            .map(|age: Option<Option<i64>>| age.flatten().unwrap_or(0))
            .map_err(Error::sqlite("read the age of the oldest change"))
    }

    /// Whether there are entries to prune, and whether this is a moment to do it.
    ///
    /// To an application without a busy timeout our write lock is an error, however short. So
    /// pruning waits until nobody has written for [`PRUNE_QUIET`]. Only what has been due for
    /// long, or is too much to keep, goes while the application writes.
    pub fn prunable(&mut self, applied: Position, keep: Keep) -> Result<Prunable, Error> {
        let overdue_ms = keep.age_ms.saturating_add(keep.age_ms.min(PRUNE_OVERDUE_MS));
        let (is_old, is_overdue) = self.reading(|conn| {
            conn.prepare_cached(PRUNABLE)
                .and_then(|mut statement| {
                    let parameters = (applied.0, keep.age_ms, keep.entries_max, overdue_ms);
                    statement.query_row(parameters, |row| Ok((row.get(0)?, row.get(1)?)))
                })
                .map_err(Error::sqlite("look for entries to prune"))
        })?;
        let is_quiet =
            self.last_commit.get().is_some_and(|(_, since)| PRUNE_QUIET <= since.elapsed());
        Ok(match (is_old, is_overdue) {
            (false, _) => Prunable::Nothing,
            (true, true) => Prunable::Now,
            (true, false) if is_quiet => Prunable::Now,
            (true, false) => Prunable::NotNow,
        })
    }

    /// Deletes one round of entries that are below `durable`, older than `keep` says, and neither
    /// the anchor nor the newest. Returns how many went.
    ///
    /// Gives up at once, with 0, if somebody else is writing: the application comes first.
    pub fn prune(&mut self, lineage: &Lineage, durable: Anchor, keep: Keep) -> Result<u64, Error> {
        let doing = "prune the changelog";
        failpoint::hit(failpoint::PRUNE_BEGUN);
        if self.prunable(durable.position, keep)? != Prunable::Now {
            return Ok(0);
        }
        let journal = self.journal()?;
        let round = match journal {
            Journal::Wal => PRUNE_ROUND_WAL,
            Journal::Rollback => PRUNE_ROUND_ROLLBACK,
        };
        let end = self.reading(|conn| {
            prove(conn, lineage, durable)?;
            round_end(conn, durable.position, keep, round)
        })?;
        // In WAL mode the wait for the disk would be most of the time that the lock is held, and a
        // round that a power cut undoes is pruned again. Where there is a rollback journal, the
        // wait keeps the file whole.
        if journal == Journal::Wal {
            self.conn.execute_batch("pragma synchronous = normal").map_err(Error::sqlite(doing))?;
        }
        self.conn.busy_timeout(std::time::Duration::ZERO).map_err(Error::sqlite(doing))?;
        let outcome = prune_round(&mut self.conn, lineage, durable, end);
        super::wait_as_reader(&mut self.conn).map_err(Error::sqlite(doing))?;
        self.conn.execute_batch("pragma synchronous = full").map_err(Error::sqlite(doing))?;
        match outcome {
            Err(Error::Busy { .. }) => Ok(0),
            outcome => outcome,
        }
    }
}

/// Which applied entries stay.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Those that are younger than this.
    pub age_ms: i64,
    /// But no more than so many.
    pub entries_max: i64,
}

/// What [`Source::prunable`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prunable {
    /// Nothing is to be pruned.
    Nothing,
    /// The application is writing.
    NotNow,
    /// Prune.
    Now,
}

/// Whether the oldest entry may go (it is old, or there are too many), and whether it must.
const PRUNABLE: &str = "
    select count(*) > 0 and (at < julianday('now') - ?2 / 86400000.0 or seq < ?1 - ?3),
           count(*) > 0 and (at < julianday('now') - ?4 / 86400000.0 or seq < ?1 - ?3)
      from (select seq, at from _lite2pg_changelog order by seq limit 1) where seq < ?1";

/// Where a round ends, which is its first entry that stays. Found before the write lock is taken.
///
/// Rounds go from the oldest entry on without leaving a gap: a young entry ends one.
fn round_end(
    conn: &Connection,
    durable: Position,
    keep: Keep,
    round: i64,
) -> Result<Position, Error> {
    conn.prepare_cached(
        "with here (oldest, past) as (
             select min(seq), min(min(seq) + ?4, ?1) from _lite2pg_changelog)
         select coalesce(
                    (select seq from _lite2pg_changelog
                      where seq >= max(here.oldest, ?1 - ?3) and seq < here.past
                        and at >= julianday('now') - ?2 / 86400000.0
                      order by seq limit 1), here.past)
           from here",
    )
    .and_then(|mut statement| {
        let parameters = (durable.0, keep.age_ms, keep.entries_max, round);
        statement.query_row(parameters, |row| row.get(0).map(Position))
    })
    .map_err(Error::sqlite("find the end of a round of pruning"))
}

fn prune_round(
    conn: &mut Connection,
    lineage: &Lineage,
    durable: Anchor,
    end: Position,
) -> Result<u64, Error> {
    let doing = "prune the changelog";
    let transaction = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(Error::sqlite(doing))?;
    prove(&transaction, lineage, durable)?;
    let deleted = transaction
        .prepare_cached("delete from _lite2pg_changelog where seq < min(?1, ?2)")
        .and_then(|mut statement| statement.execute((end.0, durable.position.0)))
        .map_err(Error::sqlite(doing))?;
    failpoint::hit(failpoint::PRUNE_DELETED);
    transaction.commit().map_err(Error::sqlite(doing))?;
    failpoint::hit(failpoint::PRUNE_COMMITTED);
    Ok(deleted as u64)
}

/// `PRAGMA schema_version`: moves with every change of the schema, and with VACUUM and ANALYZE
/// (<https://www.sqlite.org/pragma.html#pragma_schema_version>).
pub(super) fn schema_version(conn: &Connection) -> Result<i64, Error> {
    conn.prepare_cached("pragma schema_version")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(Error::sqlite("read the schema version"))
}

/// The mappings in force, found by their number in the changelog.
#[derive(Debug, Default)]
pub struct Plan {
    /// The mappings.
    pub mappings: Vec<Mapping>,
    by_id: HashMap<i64, usize>,
    select: Vec<String>,
}

impl Plan {
    /// Whether a table of this name travels.
    pub fn has(&self, table: &str) -> bool {
        self.mappings.iter().any(|mapping| mapping.table.name == table)
    }

    /// Prepares the statements that read a row by its key. `numbers` are those that tables have or
    /// had: entries under an older one name rows of the same table.
    pub fn new(mappings: Vec<Mapping>, numbers: &[(TableId, String)]) -> Self {
        let place: HashMap<&str, usize> = mappings
            .iter()
            .enumerate()
            .map(|(index, mapping)| (mapping.table.name.as_str(), index))
            .collect();
        let mut by_id: HashMap<i64, usize> = numbers
            .iter()
            .filter_map(|(id, name)| Some((id.0, *place.get(name.as_str())?)))
            .collect();
        by_id.extend(mappings.iter().enumerate().map(|(index, mapping)| (mapping.id.0, index)));
        let select = mappings.iter().map(|mapping| select_row(mapping, false)).collect();
        Self { mappings, by_id, select }
    }

    /// The table that a number in the changelog stands for: its place among the mappings.
    pub(super) fn numbered(&self, number: i64) -> Option<usize> {
        self.by_id.get(&number).copied()
    }

    /// All numbers that stand for the table at this place, as a list in SQL.
    pub(super) fn numbers_of(&self, table: usize) -> String {
        let numbers = self.by_id.iter().filter(|(_, place)| **place == table);
        let mut numbers: Vec<i64> = numbers.map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
    }
}

/// The columns of a mapping as a select list.
pub(super) fn select_list(mapping: &Mapping) -> String {
    mapping
        .columns
        .iter()
        .map(|column| match column.from {
            From::Column(index) => Ident::new(&mapping.table.columns[index].name).to_string(),
            From::Rowid => mapping.table.rowid_name.unwrap_or("rowid").to_owned(),
        })
        .collect::<Vec<_>>()
        .join(", ")
}

/// Reads one row by its key. The first comparison finds it through the index, whatever its
/// collation; the second is bytewise, because 'a' and 'A' are two keys to us. Where the index is
/// in an order that only the application knows, all rows are looked at.
pub(super) fn select_row(mapping: &Mapping, null_safe: bool) -> String {
    let conditions: Vec<String> = match &mapping.table.key {
        Key::HiddenRowid => vec![format!("{} = ?1", mapping.table.rowid_name.unwrap_or("rowid"))],
        Key::RowidAlias(column) => {
            vec![format!("{} = ?1", Ident::new(&mapping.table.columns[*column].name))]
        }
        Key::Columns(columns) => columns
            .iter()
            .enumerate()
            .map(|(number, column)| {
                let name = Ident::new(&mapping.table.columns[*column].name);
                let parameter = number + 1;
                if null_safe {
                    format!("{name} is ?{parameter} collate binary")
                } else if !mapping.table.is_key_comparable() {
                    format!("{name} collate binary = ?{parameter}")
                } else {
                    format!("{name} = ?{parameter} and {name} collate binary = ?{parameter}")
                }
            })
            .collect(),
    };
    format!(
        "select {} from {} where {}",
        select_list(mapping),
        mapping.table.ident(),
        conditions.join(" and ")
    )
}

/// Turns entries into a batch, inside one read transaction.
struct Reader<'a> {
    conn: &'a Connection,
    plan: &'a Plan,
    batch: Batch,
    /// Position in `batch.tables` by position in the plan.
    slots: HashMap<usize, usize>,
    statements: HashMap<usize, CachedStatement<'a>>,
}

impl<'a> Reader<'a> {
    fn new(conn: &'a Connection, plan: &'a Plan, from: Anchor, head: Anchor) -> Self {
        let batch = Batch {
            from,
            through: from,
            read_through: head.position,
            newest_ms: 0,
            oldest_ms: 0,
            tables: Vec::new(),
            changes: 0,
            tokens: Vec::new(),
            bytes: 0,
        };
        Self { conn, plan, batch, slots: HashMap::new(), statements: HashMap::new() }
    }

    /// Reads entries in order, and for each new key the row as it is now, until the head or until
    /// a limit is reached. At least one entry is read.
    fn read(&mut self, budget: Budget, is_late: impl Fn() -> bool) -> Result<(), Error> {
        let doing = "read the changelog";
        let mut statement = self
            .conn
            .prepare_cached("select * from _lite2pg_changelog where seq > ?1 order by seq")
            .map_err(Error::sqlite(doing))?;
        let mut rows =
            statement.query([self.batch.from.position.0]).map_err(Error::sqlite(doing))?;
        while let Some(row) = rows.next().map_err(Error::sqlite(doing))? {
            self.take(row)?;
            let is_full =
                budget.changes_max <= self.batch.changes || budget.bytes_max <= self.batch.bytes;
            if is_full || self.batch.changes.is_multiple_of(16) && is_late() {
                break;
            }
        }
        Ok(())
    }

    fn take(&mut self, row: &SqliteRow<'_>) -> Result<(), Error> {
        let doing = "read a changelog entry";
        let seq: i64 = row.get(0).map_err(Error::sqlite(doing))?;
        let missing = Position(self.batch.through.position.0 + 1);
        if seq != missing.0 {
            return Err(Broken::Gap { missing }.into());
        }
        let id: i64 = row.get(1).map_err(Error::sqlite(doing))?;
        let is_insert = row.get_ref(2).map_err(Error::sqlite(doing))? == "insert".into();
        let token: i64 = row.get(4).map_err(Error::sqlite(doing))?;
        if let Some(table) = self.plan.numbered(id) {
            self.touch(table, is_insert, row)?;
        }
        // Entries of no table: the install marker, and tables that have been dropped since.
        self.batch.tokens.extend(mark(token));
        let is_first = self.batch.changes == 0;
        self.batch.changes += 1;
        self.batch.through = Anchor { position: Position(seq), token };
        let is_last = self.batch.through.position == self.batch.read_through;
        if is_first || is_last {
            let at: f64 = row.get(3).map_err(Error::sqlite(doing))?;
            let at = unix_ms(at);
            self.batch.oldest_ms = if is_first { at } else { self.batch.oldest_ms };
            self.batch.newest_ms = if is_last { at } else { self.batch.newest_ms };
        }
        Ok(())
    }

    fn touch(&mut self, table: usize, is_insert: bool, row: &SqliteRow<'_>) -> Result<(), Error> {
        let mapping = &self.plan.mappings[table];
        let key = entry_key(row, mapping.key.len())?;
        let slot = *self.slots.entry(table).or_insert_with(|| {
            self.batch.tables.push(TableBatch { table, ..TableBatch::default() });
            self.batch.tables.len() - 1
        });
        match encode_key(mapping, |position| key[position].storage()) {
            Ok(image) => {
                if let Entry::Vacant(vacant) = self.batch.tables[slot].rows.entry(image) {
                    let statement = statement(
                        &mut self.statements,
                        self.conn,
                        table,
                        &self.plan.select[table],
                    )?;
                    let found = fetch(statement, mapping, &key, is_insert)?;
                    self.batch.bytes += vacant.key().len() + size(&found);
                    vacant.insert(found);
                }
            }
            Err(nameless) => {
                let found = self.nameless(mapping, &key, nameless)?;
                let table = &mut self.batch.tables[slot];
                match found {
                    Some(quarantined) => table.nameless.push(quarantined),
                    None => table.nameless_gone.push(key_json(key.iter().map(Owned::storage))),
                }
            }
        }
        Ok(())
    }

    /// A key that no target row can have. The row may be gone by now; then nothing is amiss.
    fn nameless(
        &self,
        mapping: &Mapping,
        key: &[Owned],
        nameless: Nameless,
    ) -> Result<Option<Quarantined>, Error> {
        let doing = "look for a row that has no key on the target";
        let mut statement =
            self.conn.prepare_cached(&select_row(mapping, true)).map_err(Error::sqlite(doing))?;
        bind(&mut statement, key)?;
        let exists = statement.raw_query().next().map_err(Error::sqlite(doing))?.is_some();
        let (position, misfit) = match nameless {
            // From now on the rowid names the rows of this table: plan again.
            Nameless::Null if exists => return Err(Error::SchemaChanged),
            Nameless::Null => return Ok(None),
            Nameless::Misfit(position, misfit) => (position, misfit),
        };
        if exists {
            check_outgrown(mapping, mapping.key[position], key[position].storage())?;
        }
        let column = &mapping.columns[mapping.key[position]];
        Ok(exists.then(|| Quarantined {
            key: key_json(key.iter().map(Owned::storage)),
            column: Some(mapping.source_name(column).to_owned()),
            reason: misfit.to_string(),
        }))
    }
}

/// The key that an entry names, `width` values, of an entry that was selected whole.
pub(super) fn entry_key(entry: &SqliteRow<'_>, width: usize) -> Result<Vec<Owned>, Error> {
    let values = (0..width).map(|at| entry.get_ref(KEY_AT + at).map(storage).map(Owned::from));
    values.collect::<Result<_, _>>().map_err(Error::sqlite("read the key of a changelog entry"))
}

/// The statement that reads a row of this table, prepared once per batch.
fn statement<'s, 'a>(
    statements: &'s mut HashMap<usize, CachedStatement<'a>>,
    conn: &'a Connection,
    table: usize,
    sql: &str,
) -> Result<&'s mut CachedStatement<'a>, Error> {
    match statements.entry(table) {
        Entry::Occupied(known) => Ok(known.into_mut()),
        Entry::Vacant(vacant) => {
            let prepared =
                conn.prepare_cached(sql).map_err(Error::sqlite("prepare to read a row"))?;
            Ok(vacant.insert(prepared))
        }
    }
}

fn size(row: &Row) -> usize {
    match row {
        Row::Present { image, .. } => image.len(),
        Row::Absent | Row::Refused(_) => 0,
    }
}

fn bind(statement: &mut CachedStatement<'_>, key: &[Owned]) -> Result<(), Error> {
    bind_from(statement, 1, key)
}

/// Binds the values of a key to the parameters from number `first` on.
pub(super) fn bind_from(
    statement: &mut CachedStatement<'_>,
    first: usize,
    key: &[Owned],
) -> Result<(), Error> {
    let doing = "name a row";
    for (position, value) in key.iter().enumerate() {
        let parameter = position + first;
        match value {
            Owned::Null => statement.raw_bind_parameter(parameter, rusqlite::types::Null),
            Owned::Integer(integer) => statement.raw_bind_parameter(parameter, integer),
            Owned::Real(real) => statement.raw_bind_parameter(parameter, real),
            Owned::Text(text) => {
                let text =
                    rusqlite::types::ToSqlOutput::Borrowed(rusqlite::types::ValueRef::Text(text));
                statement.raw_bind_parameter(parameter, text)
            }
            Owned::Blob(bytes) => statement.raw_bind_parameter(parameter, bytes),
        }
        .map_err(Error::sqlite(doing))?;
    }
    Ok(())
}

/// Reads the row that `key` names, as it is in this snapshot.
fn fetch(
    statement: &mut CachedStatement<'_>,
    mapping: &Mapping,
    key: &[Owned],
    is_insert: bool,
) -> Result<Row, Error> {
    let doing = "read a row";
    bind(statement, key)?;
    let mut rows = statement.raw_query();
    let Some(row) = rows.next().map_err(Error::sqlite(doing))? else {
        return Ok(Row::Absent);
    };
    let mut image = Image::new();
    Ok(match encode_columns(mapping, row, &mut image)? {
        Ok(()) => Row::Present { image, is_new: is_insert },
        Err((column, reason)) => {
            for position in 0..mapping.columns.len() {
                let value = row.get_ref(position).map_err(Error::sqlite(doing))?;
                check_outgrown(mapping, position, storage(value))?;
            }
            Row::Refused(Quarantined {
                key: key_json(key.iter().map(Owned::storage)),
                column: Some(column),
                reason,
            })
        }
    })
}

/// Fails with [`Error::Outgrown`] if an untyped column holds a value that another type would hold.
///
/// Only untyped columns: SQLite promises nothing of them, so neither does their type on the target.
/// In a column that was declared to be a number, a text is a row to look at.
fn check_outgrown(mapping: &Mapping, position: usize, value: Storage<'_>) -> Result<(), Error> {
    let column = &mapping.columns[position];
    let (From::Column(index), Affinity::Blob) = (column.from, column.affinity) else {
        return Ok(());
    };
    if column.pg.encode(column.affinity, value, &mut Vec::new()).is_ok() {
        return Ok(());
    }
    let declared = &mapping.table.columns[index].declared;
    let Some(chosen) = column.pg.chosen() else { return Ok(()) };
    match Seen::default().widened(value, chosen, declared, column.affinity) {
        Some(to) => Err(Error::Outgrown { table: mapping.id, column: position, to }),
        None => Ok(()),
    }
}

/// Encodes a row that was selected by [`select_list`]; the inner error names the column and the
/// reason why the target cannot hold it.
pub(super) fn encode_columns(
    mapping: &Mapping,
    row: &SqliteRow<'_>,
    out: &mut Vec<u8>,
) -> Result<Result<(), (String, String)>, Error> {
    let mut failure = None;
    let encoded = encode_row(
        mapping,
        |position| match row.get_ref(position) {
            Ok(rusqlite::types::ValueRef::Integer(integer)) => {
                Storage::Integer(failpoint::bent(integer))
            }
            Ok(value) => storage(value),
            Err(error) => {
                failure.get_or_insert(error);
                Storage::Null
            }
        },
        out,
    );
    if let Some(error) = failure {
        return Err(Error::sqlite("read a column")(error));
    }
    Ok(encoded.map_err(|(position, misfit)| {
        let column = &mapping.columns[position];
        (mapping.source_name(column).to_owned(), misfit.to_string())
    }))
}

/// Milliseconds since 1970 of a Julian day.
fn unix_ms(julian_day: f64) -> i64 {
    const JULIAN_DAY_OF_1970: f64 = 2_440_587.5;
    const MS_PER_DAY: f64 = 86_400_000.0;
    #[expect(clippy::cast_possible_truncation, reason = "saturates; it is a time for people")]
    let ms = ((julian_day - JULIAN_DAY_OF_1970) * MS_PER_DAY) as i64;
    ms
}
