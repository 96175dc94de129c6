//! Read tables in key-ordered chunks, and a sample of their values before that.
//!
//! Each chunk is one short read transaction; between chunks the application has the file to
//! itself. A chunk may show rows older or newer than its neighbour: replay makes them agree,
//! because the changelog was there before the first chunk was read. Where the copy stands is a
//! [`Cursor`], which the target stores in the transaction that stores the rows.
//!
//! Begin with [`Source::chunk`].

use std::time::Instant;

use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row as SqliteRow};

use super::changelog::{Plan, bind_from, encode_columns, prove, schema_version, select_list};
use super::{Error, Source, storage};
use crate::batch::{Quarantined, encode_row, key_json};
use crate::change::{Place, Position};
use crate::failpoint;
use crate::mapping::Mapping;
use crate::table::{Ident, Key, Table};
use crate::value::{Misfit, Owned, PgType, Seen, Storage};

/// A stretch of one table that is copied in order.
#[derive(Clone, Debug)]
pub struct Lane {
    /// Position of the mapping in the plan.
    pub table: usize,
    /// The lane's number within the table, from 0.
    pub number: i32,
    /// Rowids above this belong to the next lane; `None` for the last lane.
    pub until: Option<i64>,
}

/// The last row that was copied.
#[derive(Clone, Debug, PartialEq)]
pub enum Cursor {
    /// None yet.
    Start,
    /// The row with this rowid.
    Rowid(i64),
    /// The row with this key, in a table without rowids.
    Key(Vec<Owned>),
}

/// Rows at rest, encoded as COPY BINARY tuples.
#[derive(Debug)]
pub struct Chunk {
    /// Where it belongs.
    pub lane: Lane,
    /// The tuples, without COPY's header and trailer.
    pub tuples: Vec<u8>,
    /// How many.
    pub rows: u64,
    /// Rows the target cannot hold.
    pub quarantined: Vec<Quarantined>,
    /// The last row read.
    pub cursor: Cursor,
    /// The lane ends here.
    pub is_last: bool,
    /// The head when it was read.
    pub read_at: Position,
}

/// What reading a chunk came to.
#[derive(Debug)]
pub enum ChunkRead {
    /// Rows.
    Rows(Chunk),
    /// A value that the column's type cannot hold but a wider one can. Nothing was read; the
    /// column is to be widened and the table begun again.
    Widen {
        /// Position of the mapping in the plan.
        table: usize,
        /// Position of the column in the mapping.
        column: usize,
        /// The type that holds both.
        to: PgType,
    },
}

/// What one read of a lane may be.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a> {
    /// Where to go on.
    pub after: &'a Cursor,
    /// Stop adding rows beyond this many bytes.
    pub bytes_max: usize,
    /// A value that does not fit may widen its column.
    pub may_widen: bool,
    /// What the target has: the file must still hold it, or no row is read.
    pub place: Option<&'a Place>,
}

/// Rows looked at, at either end of a table, before its columns get their types and forms. Values
/// further in that do not fit widen the type while the table is copied, where it was not set.
pub const SAMPLE_ROWS: usize = 10_000;

/// A table is split into lanes when its rowids span more than this.
const LANE_ROWIDS_MIN: i64 = 200_000;

/// How the rows of a table are walked.
pub(super) enum Walk {
    /// By rowid, under this name.
    Rowid(String),
    /// By key, through its index.
    Key(Vec<String>),
}

pub(super) fn walk(table: &Table) -> Walk {
    if let Some(column) = table.rowid_alias {
        return Walk::Rowid(Ident::new(&table.columns[column].name).to_string());
    }
    match (table.rowid_name, &table.key) {
        (Some(rowid), _) => Walk::Rowid(rowid.to_owned()),
        (None, Key::Columns(columns)) => Walk::Key(
            columns
                .iter()
                .map(|column| {
                    let name = Ident::new(&table.columns[*column].name);
                    // Sorted anew for each chunk: slow, and right.
                    let by_bytes = if table.is_key_comparable() { "" } else { " collate binary" };
                    format!("{name}{by_bytes}")
                })
                .collect(),
        ),
        (None, _) => Walk::Rowid("rowid".to_owned()),
    }
}

impl Source {
    /// The least and the greatest rowid of a table that is copied by rowid, unless it is empty.
    pub fn ends(&mut self, plan: &Plan, table: usize) -> Result<Option<(i64, i64)>, Error> {
        let mapping = &plan.mappings[table];
        let Walk::Rowid(rowid) = walk(&mapping.table) else { return Ok(None) };
        let sql = format!(
            "select min({rowid}) from {name} union all select max({rowid}) from {name}",
            name = mapping.table.ident()
        );
        let ends: Vec<Option<i64>> = self
            .conn
            .prepare(&sql)
            .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
            .map_err(Error::sqlite("find the ends of a table"))?;
        Ok(match ends[..] {
            [Some(least), Some(greatest)] => Some((least, greatest)),
            _ => None,
        })
    }

    /// Divides a table into lanes that can be copied side by side.
    pub fn lanes(&mut self, plan: &Plan, table: usize, lanes_max: i32) -> Result<Vec<Lane>, Error> {
        let whole = vec![Lane { table, number: 0, until: None }];
        let Some((low, high)) = self.ends(plan, table)? else { return Ok(whole) };
        let Some(span) = high.checked_sub(low) else { return Ok(whole) };
        if span < LANE_ROWIDS_MIN || lanes_max < 2 {
            return Ok(whole);
        }
        let step = span / i64::from(lanes_max);
        Ok((0..lanes_max)
            .map(|number| {
                let is_last = number + 1 == lanes_max;
                let until = (!is_last).then(|| low + step * (i64::from(number) + 1));
                Lane { table, number, until }
            })
            .collect())
    }

    /// The rowid after which a lane begins; lanes follow one another.
    pub fn lane_start(lanes: &[Lane], number: usize) -> Cursor {
        match number.checked_sub(1).and_then(|before| lanes.get(before)).and_then(|lane| lane.until)
        {
            Some(until) => Cursor::Rowid(until),
            None => Cursor::Start,
        }
    }

    /// Reads the next rows of a lane in one read transaction.
    ///
    /// Ends after [`Slice::bytes_max`] or when the hold time is over, whichever comes first; at
    /// least one row is read. The lineage is proven in the same transaction: a file that was put in
    /// the place of the one that is being copied gives no row. Fails with
    /// [`Error::SchemaChanged`] if the schema is not the accepted one: VACUUM may have renumbered
    /// rowids under the cursor.
    pub fn chunk(
        &mut self,
        plan: &Plan,
        lane: &Lane,
        slice: Slice<'_>,
    ) -> Result<ChunkRead, Error> {
        self.follow_path()?;
        let hold_max = self.pace()?.hold_max;
        let accepted = self.schema_version;
        let mapping = &plan.mappings[lane.table];
        let read = self.reading(|conn| {
            if let Some(place) = slice.place {
                prove(conn, &place.lineage, place.anchor)?;
            }
            if Some(schema_version(conn)?) != accepted {
                return Err(Error::SchemaChanged);
            }
            let begun = Instant::now();
            let is_late = || hold_max < begun.elapsed();
            read_chunk(conn, mapping, lane, slice, is_late)
        })?;
        failpoint::hit(failpoint::COPY_CHUNK_READ);
        Ok(read)
    }

    /// Notes the storage classes in the first and last rows of a table, `rows_max` of each.
    pub fn sample(&mut self, table: &Table, rows_max: usize) -> Result<Vec<Seen>, Error> {
        let mut seen = vec![Seen::default(); table.columns.len()];
        self.look_at(table, rows_max, &mut |position, value| seen[position].note(value))?;
        Ok(seen)
    }

    /// Shows the values in the first and last rows of a table, `rows_max` of each, with the
    /// positions of their columns.
    pub fn look_at(
        &mut self,
        table: &Table,
        rows_max: usize,
        see: &mut dyn FnMut(usize, Storage<'_>),
    ) -> Result<(), Error> {
        match walk(table) {
            Walk::Rowid(rowid) => {
                for direction in ["asc", "desc"] {
                    self.sample_by_rowid(table, &rowid, direction, rows_max, see)?;
                }
            }
            Walk::Key(_) => {
                // One slice: values further in that do not fit widen the type during the copy.
                let sql = format!(
                    "select {} from {} limit {rows_max}",
                    all_columns(table),
                    table.ident()
                );
                self.sample_by(&sql, table.columns.len(), see)?;
            }
        }
        Ok(())
    }

    /// In slices, so that no read transaction is longer than the pace allows.
    fn sample_by_rowid(
        &mut self,
        table: &Table,
        rowid: &str,
        direction: &str,
        rows_max: usize,
        see: &mut dyn FnMut(usize, Storage<'_>),
    ) -> Result<(), Error> {
        let compare = if direction == "asc" { ">" } else { "<" };
        let mut after: Option<i64> = None;
        let mut left = rows_max;
        while 0 < left {
            let condition = match after {
                Some(rowid_after) => format!("where {rowid} {compare} {rowid_after}"),
                None => String::new(),
            };
            let sql = format!(
                "select {}, {rowid} from {} {condition} order by {rowid} {direction} limit {left}",
                all_columns(table),
                table.ident()
            );
            let (rows, last) = self.sample_by(&sql, table.columns.len(), see)?;
            let Some(last) = last.filter(|_| rows != 0) else { return Ok(()) };
            after = Some(last);
            left = left.saturating_sub(rows);
        }
        Ok(())
    }

    fn sample_by(
        &mut self,
        sql: &str,
        width: usize,
        see: &mut dyn FnMut(usize, Storage<'_>),
    ) -> Result<(usize, Option<i64>), Error> {
        let doing = "sample a table";
        let hold_max = self.pace()?.hold_max;
        self.reading(|conn| {
            let begun = Instant::now();
            let mut statement = conn.prepare_cached(sql).map_err(Error::sqlite(doing))?;
            let mut rows = statement.query([]).map_err(Error::sqlite(doing))?;
            let (mut count, mut last) = (0, None);
            while let Some(row) = rows.next().map_err(Error::sqlite(doing))? {
                for position in 0..width {
                    see(position, storage(row.get_ref(position).map_err(Error::sqlite(doing))?));
                }
                last = row.get(width).ok();
                count += 1;
                if hold_max < begun.elapsed() {
                    break;
                }
            }
            Ok((count, last))
        })
    }
}

fn all_columns(table: &Table) -> String {
    table
        .columns
        .iter()
        .map(|column| Ident::new(&column.name).to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

/// Rows of `table` after one cursor and up to another, in the order of a walk whose columns stand
/// behind those `selected`; [`Cursor::Start`] is no bound. The parameters are [`bind_bounds`]'s.
pub(super) fn walk_sql(
    selected: &str,
    table: &str,
    by: &Walk,
    (after, until): (&Cursor, &Cursor),
) -> String {
    let names = match by {
        Walk::Rowid(rowid) => std::slice::from_ref(rowid),
        Walk::Key(names) => names.as_slice(),
    };
    let list = names.join(", ");
    let mut bound_already = 0;
    let mut condition = |bound: &Cursor, comparison: &str| {
        (*bound != Cursor::Start).then(|| {
            let numbers = (1..=names.len()).map(|number| format!("?{}", bound_already + number));
            let numbers = numbers.collect::<Vec<_>>().join(", ");
            bound_already += names.len();
            format!("({list}) {comparison} ({numbers})")
        })
    };
    let conditions: Vec<String> =
        [condition(after, ">"), condition(until, "<=")].into_iter().flatten().collect();
    let condition = match conditions.as_slice() {
        [] => String::new(),
        conditions => format!("where {}", conditions.join(" and ")),
    };
    format!("select {selected}, {list} from {table} {condition} order by {list}")
}

/// Binds the cursors that a statement of [`walk_sql`] was made with.
pub(super) fn bind_bounds(
    statement: &mut CachedStatement<'_>,
    (after, until): (&Cursor, &Cursor),
) -> Result<(), Error> {
    let mut parameter = 1;
    for bound in [after, until] {
        let rowid;
        let values: &[Owned] = match bound {
            Cursor::Start => &[],
            Cursor::Rowid(number) => {
                rowid = [Owned::Integer(*number)];
                &rowid
            }
            Cursor::Key(key) => key,
        };
        bind_from(statement, parameter, values)?;
        parameter += values.len();
    }
    Ok(())
}

fn read_chunk(
    conn: &Connection,
    mapping: &Mapping,
    lane: &Lane,
    slice: Slice<'_>,
    is_late: impl Fn() -> bool,
) -> Result<ChunkRead, Error> {
    let doing = "read a chunk";
    let Slice { after, bytes_max, may_widen, .. } = slice;
    let read_at = super::changelog::head(conn)?.map_or(Position(0), |head| head.position);
    let mut chunk = Chunk {
        lane: lane.clone(),
        tuples: Vec::with_capacity(bytes_max + bytes_max / 8),
        rows: 0,
        quarantined: Vec::new(),
        cursor: after.clone(),
        is_last: true,
        read_at,
    };
    let by = walk(&mapping.table);
    let bounds = (after, &lane.until.map_or(Cursor::Start, Cursor::Rowid));
    let sql = walk_sql(&select_list(mapping), &mapping.table.ident().to_string(), &by, bounds);
    let mut statement = conn.prepare_cached(&sql).map_err(Error::sqlite(doing))?;
    bind_bounds(&mut statement, bounds)?;
    let mut rows = statement.raw_query();
    let width = mapping.columns.len();
    let tuple_head = i16::try_from(width).expect("a table has at most 1,600 columns").to_be_bytes();
    let mut count: u64 = 0;
    while let Some(row) = rows.next().map_err(Error::sqlite(doing))? {
        if let Some(widen) = add_row(mapping, row, tuple_head, may_widen, &mut chunk)? {
            return Ok(widen);
        }
        chunk.cursor = cursor_at(&by, row, width)?;
        count += 1;
        if bytes_max <= chunk.tuples.len() || count.is_multiple_of(16) && is_late() {
            chunk.is_last = false;
            break;
        }
    }
    Ok(ChunkRead::Rows(chunk))
}

/// Appends one row to the chunk, or says that a column must be widened first.
fn add_row(
    mapping: &Mapping,
    row: &SqliteRow<'_>,
    tuple_head: [u8; 2],
    may_widen: bool,
    chunk: &mut Chunk,
) -> Result<Option<ChunkRead>, Error> {
    let doing = "read a chunk";
    let before = chunk.tuples.len();
    chunk.tuples.extend_from_slice(&tuple_head);
    refuse_null_in_key(mapping, row)?;
    let Err((column, reason)) = encode_columns(mapping, row, &mut chunk.tuples)? else {
        chunk.rows += 1;
        return Ok(None);
    };
    chunk.tuples.truncate(before);
    if may_widen && let Some(widen) = widening(mapping, row, chunk.lane.table)? {
        return Ok(Some(widen));
    }
    let key: Vec<Owned> = mapping
        .key
        .iter()
        .map(|position| row.get_ref(*position).map(|value| Owned::from(storage(value))))
        .collect::<Result<_, _>>()
        .map_err(Error::sqlite(doing))?;
    chunk.quarantined.push(Quarantined {
        key: key_json(key.iter().map(Owned::storage)),
        column: Some(column),
        reason,
    });
    Ok(None)
}

/// A NULL in a PRIMARY KEY: from now on the rowid names the rows of this table; plan again.
fn refuse_null_in_key(mapping: &Mapping, row: &SqliteRow<'_>) -> Result<(), Error> {
    for position in &mapping.key {
        let value = row.get_ref(*position).map_err(Error::sqlite("read a chunk"))?;
        if value == ValueRef::Null {
            return Err(Error::SchemaChanged);
        }
    }
    Ok(())
}

/// The first column of a refused row that a wider type would hold.
fn widening(
    mapping: &Mapping,
    row: &SqliteRow<'_>,
    table: usize,
) -> Result<Option<ChunkRead>, Error> {
    let mut scratch = Vec::new();
    let refused = encode_row(
        mapping,
        |position| row.get_ref(position).map_or(crate::value::Storage::Null, storage),
        &mut scratch,
    );
    let Err((position, misfit)) = refused else { return Ok(None) };
    if misfit == Misfit::RowTooLarge {
        return Ok(None);
    }
    let column = &mapping.columns[position];
    let crate::mapping::From::Column(index) = column.from else { return Ok(None) };
    let value = storage(row.get_ref(position).map_err(Error::sqlite("read a chunk"))?);
    let declared = &mapping.table.columns[index].declared;
    let Some(chosen) = column.pg.chosen() else { return Ok(None) };
    let wider = Seen::default().widened(value, chosen, declared, column.affinity);
    Ok(wider.map(|to| ChunkRead::Widen { table, column: position, to }))
}

/// The cursor at `row`, whose values for it stand behind `width` others.
pub(super) fn cursor_at(by: &Walk, row: &SqliteRow<'_>, width: usize) -> Result<Cursor, Error> {
    let doing = "read a chunk";
    match by {
        Walk::Rowid(_) => Ok(Cursor::Rowid(row.get(width).map_err(Error::sqlite(doing))?)),
        Walk::Key(key) => (0..key.len())
            .map(|position| row.get_ref(width + position).map(|value| storage(value).into()))
            .collect::<Result<_, _>>()
            .map(Cursor::Key)
            .map_err(Error::sqlite(doing)),
    }
}

impl Cursor {
    /// As JSON, for the target's progress row; [`from_json`](Self::from_json) is the inverse.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::json;
        match self {
            Self::Start => serde_json::Value::Null,
            Self::Rowid(rowid) => json!(rowid),
            Self::Key(key) => key
                .iter()
                .map(|value| match value {
                    Owned::Null => json!(null),
                    Owned::Integer(integer) => json!({ "i": integer }),
                    Owned::Real(real) => json!({ "r": real.to_bits() }),
                    Owned::Text(text) => json!({ "t": text }),
                    Owned::Blob(bytes) => json!({ "b": bytes }),
                })
                .collect(),
        }
    }

    /// Reads back what [`to_json`](Self::to_json) wrote; `None` for anything else.
    pub fn from_json(json: &serde_json::Value) -> Option<Self> {
        use serde_json::Value;
        let bytes = |value: &Value| serde_json::from_value::<Vec<u8>>(value.clone()).ok();
        Some(match json {
            Value::Null => Self::Start,
            Value::Number(rowid) => Self::Rowid(rowid.as_i64()?),
            Value::Array(key) => Self::Key(
                key.iter()
                    .map(|value| {
                        let Value::Object(tagged) = value else {
                            return value.is_null().then_some(Owned::Null);
                        };
                        let (tag, value) = tagged.iter().next()?;
                        Some(match tag.as_str() {
                            "i" => Owned::Integer(value.as_i64()?),
                            "r" => Owned::Real(f64::from_bits(value.as_u64()?)),
                            "t" => Owned::Text(bytes(value)?),
                            "b" => Owned::Blob(bytes(value)?),
                            _ => return None,
                        })
                    })
                    .collect::<Option<_>>()?,
            ),
            _ => return None,
        })
    }
}

/// What AUTOINCREMENT remembers for a table, if anything: ids up to it are never given again.
pub fn autoincrement_counter(conn: &Connection, table: &str) -> Result<Option<i64>, Error> {
    let doing = "read the AUTOINCREMENT counters";
    let has_counters: bool = conn
        .query_row("select count(*) from sqlite_schema where name = 'sqlite_sequence'", [], |row| {
            row.get(0)
        })
        .map_err(Error::sqlite(doing))?;
    if !has_counters {
        return Ok(None);
    }
    conn.query_row("select seq from sqlite_sequence where name = ?1", [table], |row| row.get(0))
        .optional()
        .map_err(Error::sqlite(doing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_the_progress_row() {
        for cursor in [
            Cursor::Start,
            Cursor::Rowid(i64::MIN),
            Cursor::Key(vec![
                Owned::Integer(7),
                Owned::Real(-0.0),
                Owned::Text(b"a\xff\0".to_vec()),
                Owned::Blob(vec![]),
                Owned::Null,
            ]),
        ] {
            assert_eq!(Cursor::from_json(&cursor.to_json()), Some(cursor));
        }
    }
}
