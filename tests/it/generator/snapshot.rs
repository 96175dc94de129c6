//! All rows of all tables at one moment, and what differs between two moments.

use std::collections::HashMap;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::schema::Schema;

/// A value with its storage class: a tag and its bytes. Equal means bytewise equal.
pub type Cell = Vec<u8>;

/// One row: the rowid first (NULL for WITHOUT ROWID tables), then every column.
pub type Row = Vec<Cell>;

/// The content of all tables, in the order of [`Schema::tables`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Rows by table.
    pub tables: Vec<Vec<Row>>,
}

/// How often each kind of change happened to one table; rows are told apart by rowid or key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Rows that are gone.
    pub removed: usize,
    /// Rows that are new.
    pub added: usize,
    /// Rows whose values differ.
    pub changed: usize,
}

impl Change {
    /// Rows concerned.
    pub fn total(self) -> usize {
        self.removed + self.added + self.changed
    }
}

/// A value as a [`Cell`].
pub fn cell(value: ValueRef<'_>) -> Cell {
    let (tag, bytes): (u8, &[u8]) = match value {
        ValueRef::Null => (b'n', &[]),
        ValueRef::Integer(value) => return tagged(b'i', &value.to_be_bytes()),
        ValueRef::Real(value) => return tagged(b'r', &value.to_bits().to_be_bytes()),
        ValueRef::Text(bytes) => (b't', bytes),
        ValueRef::Blob(bytes) => (b'b', bytes),
    };
    tagged(tag, bytes)
}

fn tagged(tag: u8, bytes: &[u8]) -> Cell {
    let mut cell = Vec::with_capacity(bytes.len() + 1);
    cell.push(tag);
    cell.extend_from_slice(bytes);
    cell
}

impl Snapshot {
    /// Reads all tables as this connection sees them.
    pub fn read(connection: &Connection, schema: &Schema) -> rusqlite::Result<Self> {
        let mut tables = Vec::with_capacity(schema.tables.len());
        for table in &schema.tables {
            let mut statement = connection.prepare_cached(&table.select)?;
            let width = table.columns.len() + 1;
            let mut rows = statement.query([])?;
            let mut content = Vec::new();
            while let Some(row) = rows.next()? {
                let mut cells = Vec::with_capacity(width);
                for at in 0..width {
                    cells.push(cell(row.get_ref(at)?));
                }
                content.push(cells);
            }
            tables.push(content);
        }
        Ok(Self { tables })
    }

    /// What became of each table since `before`.
    pub fn changes_since(&self, before: &Self, schema: &Schema) -> Vec<Change> {
        schema
            .tables
            .iter()
            .zip(before.tables.iter().zip(&self.tables))
            .map(|(table, (before, after))| change(&table.identity(), before, after))
            .collect()
    }
}

fn change(identity: &[usize], before: &[Row], after: &[Row]) -> Change {
    let mut change = Change::default();
    if before == after {
        return change;
    }
    let name = |row: &'_ Row| -> Vec<Cell> { identity.iter().map(|at| row[*at].clone()).collect() };
    let mut old: HashMap<Vec<Cell>, &Row> = before.iter().map(|row| (name(row), row)).collect();
    for row in after {
        match old.remove(&name(row)) {
            None => change.added += 1,
            Some(same) if same == row => {}
            Some(_) => change.changed += 1,
        }
    }
    change.removed = old.len();
    change
}
