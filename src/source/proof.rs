//! Read single rows as they are, and find out which rows were touched, to compare both sides.
//!
//! Each read is one short transaction. Those that decide whether a row differs prove the lineage
//! first: the rows of another file in the place of this one would be differences that are none.

use std::time::Instant;

use rusqlite::Row as SqliteRow;

use super::changelog::{self, Plan, encode_columns, select_list};
use super::copy::{Cursor, Walk, bind_bounds, cursor_at, walk, walk_sql};
use super::{Error, Source, storage};
use crate::change::{Place, Position, TableId};
use crate::mapping::Mapping;
use crate::table::{Ident, Key};
use crate::value::{Answer, Owned, Storage};

/// Rows of one table, read at one moment.
#[derive(Debug)]
pub struct RowsRead {
    /// The head of the changelog at that moment; 0 where no lineage was proven.
    pub read_at: Position,
    /// In the order of the keys: the values of the mapping's columns; `None` for no such row. Of
    /// the first keys only, where the rows are large or the time was short.
    pub rows: Vec<Option<Vec<Owned>>>,
}

/// No further row is read beyond this many bytes.
const READ_BYTES_MAX: usize = 4 << 20;

/// A stretch of one table, to be walked.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// Position of the mapping in the plan.
    pub table: usize,
    /// By the columns that name a row, rather than in the order that is fastest.
    pub is_by_key: bool,
    /// Rows after this one.
    pub after: Cursor,
    /// Rows up to this one; [`Cursor::Start`] for all to the last.
    pub until: Cursor,
    /// No further row beyond this many bytes.
    pub bytes_max: usize,
}

/// How far a walk came.
#[derive(Debug)]
pub struct Walked {
    /// Where to go on.
    pub cursor: Cursor,
    /// The stretch ends here; there is nothing to go on with.
    pub is_last: bool,
}

/// A row on the way.
pub struct Visited<'a> {
    mapping: &'a Mapping,
    row: &'a SqliteRow<'a>,
    /// As the target holds it; `None` if it cannot.
    pub image: Option<&'a [u8]>,
}

impl Visited<'_> {
    /// What SQLite holds in a column of the mapping.
    pub fn value(&self, column: usize) -> Storage<'_> {
        self.row.get_ref(column).map_or(Storage::Null, storage)
    }

    /// The values that name the row.
    pub fn key(&self) -> Vec<Owned> {
        let mut key = Vec::new();
        self.key_into(&mut key);
        key
    }

    /// The same in the place of another key, whose memory is used again.
    pub fn key_into(&self, key: &mut Vec<Owned>) {
        key.clear();
        key.extend(self.mapping.key.iter().map(|column| Owned::from(self.value(*column))));
    }
}

/// Entries of the changelog, as keys of the tables that they name.
#[derive(Debug)]
pub struct TouchedPage {
    /// Each with the table's number and its position.
    pub keys: Vec<(TableId, Position, Vec<Owned>)>,
    /// The last entry that was looked at.
    pub through: Position,
    /// Entries at and below this one may be gone.
    pub oldest: Position,
}

impl Source {
    /// Reads the rows that these keys name, with all values as SQLite holds them: at least the
    /// first, and as many as memory should hold and the hold time allows.
    ///
    /// With a `place`, the lineage is proven before. Fails with [`Error::SchemaChanged`] if the
    /// schema is not the accepted one.
    pub fn rows(
        &mut self,
        plan: &Plan,
        place: Option<&Place>,
        table: usize,
        keys: &[Vec<Owned>],
    ) -> Result<RowsRead, Error> {
        let doing = "read rows to compare them";
        self.follow_path()?;
        let accepted = self.schema_version;
        let hold_max = self.pace()?.hold_max;
        let mapping = &plan.mappings[table];
        self.reading(|conn| {
            let begun = Instant::now();
            let read_at = match place {
                Some(place) => changelog::prove(conn, &place.lineage, place.anchor)?.position,
                None => Position::default(),
            };
            if Some(changelog::schema_version(conn)?) != accepted {
                return Err(Error::SchemaChanged);
            }
            let sql = changelog::select_row(mapping, false);
            let mut statement = conn.prepare_cached(&sql).map_err(Error::sqlite(doing))?;
            let mut rows = Vec::with_capacity(keys.len());
            let mut bytes = 0;
            for key in keys {
                let is_late = rows.len() % 16 == 15 && hold_max < begun.elapsed();
                if READ_BYTES_MAX < bytes || is_late {
                    break;
                }
                changelog::bind_from(&mut statement, 1, key)?;
                let mut found = statement.raw_query();
                let row = found.next().map_err(Error::sqlite(doing))?;
                let values = row.map(|row| {
                    (0..mapping.columns.len())
                        .map(|at| row.get_ref(at).map(|value| Owned::from(storage(value))))
                        .collect::<Result<Vec<_>, _>>()
                });
                let values = values.transpose().map_err(Error::sqlite(doing))?;
                bytes += values.iter().flatten().map(size).sum::<usize>();
                rows.push(values);
            }
            Ok(RowsRead { read_at, rows })
        })
    }

    /// Shows the rows of a stretch in one read transaction, each with its image, until the stretch
    /// ends, or enough bytes are read, or the hold time is over; at least one row.
    ///
    /// Fails with [`Error::SchemaChanged`] if the schema is not the accepted one.
    pub fn visit(
        &mut self,
        plan: &Plan,
        stretch: &Stretch,
        see: &mut dyn FnMut(Visited<'_>),
    ) -> Result<Walked, Error> {
        let doing = "read rows to compare them";
        self.follow_path()?;
        let hold_max = self.pace()?.hold_max;
        let accepted = self.schema_version;
        let mapping = &plan.mappings[stretch.table];
        let by = if stretch.is_by_key { by_key(mapping) } else { walk(&mapping.table) };
        self.reading(|conn| {
            if Some(changelog::schema_version(conn)?) != accepted {
                return Err(Error::SchemaChanged);
            }
            let begun = Instant::now();
            let bounds = (&stretch.after, &stretch.until);
            let table = mapping.table.ident().to_string();
            let sql = walk_sql(&select_list(mapping), &table, &by, bounds);
            let mut statement = conn.prepare_cached(&sql).map_err(Error::sqlite(doing))?;
            bind_bounds(&mut statement, bounds)?;
            let mut rows = statement.raw_query();
            let mut walked = Walked { cursor: stretch.after.clone(), is_last: true };
            let (mut image, mut bytes, mut count) = (Vec::new(), 0, 0_u64);
            while let Some(row) = rows.next().map_err(Error::sqlite(doing))? {
                image.clear();
                let is_held = encode_columns(mapping, row, &mut image)?.is_ok();
                see(Visited { mapping, row, image: is_held.then_some(&image) });
                bytes += image.len();
                count += 1;
                let is_late = count.is_multiple_of(16) && hold_max < begun.elapsed();
                if stretch.bytes_max <= bytes || is_late {
                    walked.cursor = cursor_at(&by, row, mapping.columns.len())?;
                    walked.is_last = false;
                    break;
                }
            }
            Ok(walked)
        })
    }

    /// The keys that were touched after `after`, of all tables, entry by entry: as many as one
    /// short read transaction yields.
    pub fn touched_page(&mut self, plan: &Plan, after: Position) -> Result<TouchedPage, Error> {
        let doing = "find the rows that were touched";
        self.follow_path()?;
        let hold_max = self.pace()?.hold_max;
        self.reading(|conn| {
            let begun = Instant::now();
            let oldest = changelog::oldest(conn)?.unwrap_or(Position(i64::MAX));
            let mut page = TouchedPage { keys: Vec::new(), through: after, oldest };
            let mut statement = conn
                .prepare_cached("select * from _lite2pg_changelog where ?1 < seq order by seq")
                .map_err(Error::sqlite(doing))?;
            let mut entries = statement.query([after.0]).map_err(Error::sqlite(doing))?;
            while let Some(entry) = entries.next().map_err(Error::sqlite(doing))? {
                let seq = entry.get(0).map_err(Error::sqlite(doing))?;
                page.through = Position(seq);
                let number = entry.get(1).map_err(Error::sqlite(doing))?;
                if let Some(table) = plan.numbered(number) {
                    let mapping = &plan.mappings[table];
                    let key = changelog::entry_key(entry, mapping.key.len())?;
                    page.keys.push((mapping.id, page.through, key));
                }
                let is_late = page.keys.len().is_multiple_of(64) && hold_max < begun.elapsed();
                if TOUCHED_PAGE_MAX <= page.keys.len() || is_late {
                    break;
                }
            }
            Ok(page)
        })
    }

    /// The newest entry that is older than `age_ms`, 0 if the changelog is younger; `None` if
    /// nobody can tell any more.
    pub fn position_ago(&mut self, age_ms: i64) -> Result<Option<Position>, Error> {
        let doing = "find an entry by its time";
        self.reading(|conn| {
            conn.query_row(
                "select coalesce(
                     (select seq from _lite2pg_changelog
                       where at < julianday('now') - ?1 / 86400000.0 order by seq desc limit 1),
                     (select 0 from _lite2pg_changelog where seq = 1))",
                [age_ms],
                |row| row.get(0),
            )
            .map(|seq: Option<i64>| seq.map(Position))
            .map_err(Error::sqlite(doing))
        })
    }

    /// The answer to a statement of the operator's, as text, and the head of the changelog at that
    /// moment. Fails with [`Error::NotReadOnly`] for a statement that would write.
    pub fn answer(&mut self, place: &Place, sql: &str) -> Result<(Position, Answer), Error> {
        let doing = "ask what the configuration asks";
        self.follow_path()?;
        self.reading(|conn| {
            let head = changelog::prove(conn, &place.lineage, place.anchor)?;
            let mut statement = conn.prepare(sql).map_err(Error::sqlite(doing))?;
            if !statement.readonly() {
                return Err(Error::NotReadOnly { sql: sql.to_owned() });
            }
            let width = statement.column_count();
            let mut rows = statement.query([]).map_err(Error::sqlite(doing))?;
            let mut answer = Vec::new();
            while let Some(row) = rows.next().map_err(Error::sqlite(doing))? {
                let cells: Result<Vec<_>, _> = (0..width)
                    .map(|at| row.get_ref(at).map(|value| text_of(storage(value))))
                    .collect();
                answer.push(cells.map_err(Error::sqlite(doing))?);
            }
            Ok((head.position, answer))
        })
    }

    /// The keys of a table that were touched after `after`, up to `up_to`; `None` if entries of
    /// that stretch have been pruned.
    pub fn touched(
        &mut self,
        plan: &Plan,
        table: usize,
        after: Position,
        up_to: Position,
    ) -> Result<Option<Vec<Vec<Owned>>>, Error> {
        let doing = "find the rows that were touched";
        let (numbers, key_width) = (plan.numbers_of(table), plan.mappings[table].key.len());
        self.reading(|conn| {
            let oldest = changelog::oldest(conn)?;
            if oldest.is_none_or(|oldest| after.0 + 1 < oldest.0) && after < up_to {
                return Ok(None);
            }
            let mut statement = conn
                .prepare_cached(&format!(
                    "select * from _lite2pg_changelog
                      where ?1 < seq and seq <= ?2 and tbl in ({numbers})"
                ))
                .map_err(Error::sqlite(doing))?;
            let mut entries = statement.query((after.0, up_to.0)).map_err(Error::sqlite(doing))?;
            let mut keys = Vec::new();
            while let Some(entry) = entries.next().map_err(Error::sqlite(doing))? {
                keys.push(changelog::entry_key(entry, key_width)?);
            }
            Ok(Some(keys))
        })
    }
}

/// Entries of one page: a read transaction of a few milliseconds, and little memory.
const TOUCHED_PAGE_MAX: usize = 20_000;

/// By the columns that name a row, which are what an index has.
fn by_key(mapping: &Mapping) -> Walk {
    match &mapping.table.key {
        Key::Columns(columns) => {
            let names = columns.iter().map(|at| Ident::new(&mapping.table.columns[*at].name));
            Walk::Key(names.map(|name| name.to_string()).collect())
        }
        Key::RowidAlias(_) | Key::HiddenRowid => walk(&mapping.table),
    }
}

/// What a value takes, about.
pub(super) fn size(value: &Owned) -> usize {
    match value {
        Owned::Null | Owned::Integer(_) | Owned::Real(_) => 8,
        Owned::Text(bytes) | Owned::Blob(bytes) => bytes.len(),
    }
}

/// As PostgreSQL would print it, as far as that can be said.
fn text_of(value: Storage<'_>) -> Option<String> {
    Some(match value {
        Storage::Null => return None,
        Storage::Integer(integer) => integer.to_string(),
        Storage::Real(real) => real.to_string(),
        Storage::Text(text) => String::from_utf8_lossy(text).into_owned(),
        Storage::Blob(bytes) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("\\x{digits}")
        }
    })
}
