//! Read single rows as they are, and find out which rows were touched, to compare both sides.
//!
//! Each read is one short transaction that proves the lineage first: the rows of another file in
//! the place of this one would be differences that are none.

use super::changelog::{self, Plan};
use super::{Error, Source, storage};
use crate::change::{Place, Position, TableId};
use crate::value::{Answer, Owned, Storage};

/// Rows of one table, read at one moment.
#[derive(Debug)]
pub struct RowsRead {
    /// The head of the changelog at that moment.
    pub read_at: Position,
    /// In the order of the keys: the values of the mapping's columns; `None` for no such row. Of
    /// the first keys only, where the rows are large.
    pub rows: Vec<Option<Vec<Owned>>>,
}

/// No further row is read beyond this many bytes.
const READ_BYTES_MAX: usize = 4 << 20;

impl Source {
    /// Reads the rows that these keys name, with all values as SQLite holds them: at least the
    /// first, and as many as memory should hold.
    ///
    /// Fails with [`Error::SchemaChanged`] if the schema is not the accepted one.
    pub fn rows(
        &mut self,
        plan: &Plan,
        place: &Place,
        table: usize,
        keys: &[Vec<Owned>],
    ) -> Result<RowsRead, Error> {
        let doing = "read rows to compare them";
        self.follow_path()?;
        let accepted = self.schema_version;
        let mapping = &plan.mappings[table];
        self.reading(|conn| {
            let head = changelog::prove(conn, &place.lineage, place.anchor)?;
            if Some(changelog::schema_version(conn)?) != accepted {
                return Err(Error::SchemaChanged);
            }
            let sql = changelog::select_row(mapping, false);
            let mut statement = conn.prepare_cached(&sql).map_err(Error::sqlite(doing))?;
            let mut rows = Vec::with_capacity(keys.len());
            let mut bytes = 0;
            for key in keys {
                if READ_BYTES_MAX < bytes {
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
            Ok(RowsRead { read_at: head.position, rows })
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
        table: TableId,
        key_width: usize,
        after: Position,
        up_to: Position,
    ) -> Result<Option<Vec<Vec<Owned>>>, Error> {
        let doing = "find the rows that were touched";
        let columns: Vec<String> = (1..=key_width).map(|n| format!("k{n}")).collect();
        let sql = format!(
            "select {} from _lite2pg_changelog where ?1 < seq and seq <= ?2 and tbl = ?3",
            columns.join(", ")
        );
        self.reading(|conn| {
            let oldest: Option<i64> = conn
                .query_row("select min(seq) from _lite2pg_changelog", [], |row| row.get(0))
                .map_err(Error::sqlite(doing))?;
            if oldest.is_none_or(|oldest| after.0 + 1 < oldest) && after < up_to {
                return Ok(None);
            }
            let mut statement = conn.prepare_cached(&sql).map_err(Error::sqlite(doing))?;
            let mut entries =
                statement.query((after.0, up_to.0, table.0)).map_err(Error::sqlite(doing))?;
            let mut keys = Vec::new();
            while let Some(entry) = entries.next().map_err(Error::sqlite(doing))? {
                let key: Result<Vec<Owned>, _> = (0..key_width)
                    .map(|at| entry.get_ref(at).map(|value| Owned::from(storage(value))))
                    .collect();
                keys.push(key.map_err(Error::sqlite(doing))?);
            }
            Ok(Some(keys))
        })
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
