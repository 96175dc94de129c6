//! How a captured table maps onto its target table: which columns travel, as which types, and
//! what names a row.
//!
//! The one value that both sides are handed by the daemon: the source encodes by it, the target
//! builds its statements from it. Pure data.

use crate::change::TableId;
use crate::table::{Affinity, HIDDEN_ROWID, Ident, Key, Table};
use crate::value::{ColumnType, PgType};

/// A captured table and its target.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// Its number in the changelog.
    pub id: TableId,
    /// What the source says.
    pub table: Table,
    /// The target table's name, within the target schema.
    pub target: String,
    /// The columns that travel, in the target's order; the hidden rowid comes first.
    pub columns: Vec<MappedColumn>,
    /// Positions in `columns` of what names a row, in key order.
    pub key: Vec<usize>,
    /// The target table was there: its keys, indexes and defaults are the application's own.
    pub is_adopted: bool,
}

/// A column that travels.
#[derive(Clone, Debug, PartialEq)]
pub struct MappedColumn {
    /// Where its values come from.
    pub from: From,
    /// Its name on the target.
    pub target: String,
    /// What it is encoded as.
    pub pg: ColumnType,
    /// What SQLite does to values on the way in.
    pub affinity: Affinity,
}

/// Where the values of a mapped column come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// A column: position in [`Table::columns`].
    Column(usize),
    /// The rowid.
    Rowid,
}

impl Mapping {
    /// Maps `table` onto `target` with these columns; the hidden rowid is added here where the
    /// table needs one.
    pub fn new(
        id: TableId,
        table: Table,
        target: String,
        travelling: Vec<(usize, String, ColumnType)>,
    ) -> Self {
        let mut columns = Vec::with_capacity(travelling.len() + 1);
        if table.key == Key::HiddenRowid {
            columns.push(MappedColumn {
                from: From::Rowid,
                target: HIDDEN_ROWID.to_owned(),
                pg: PgType::Int8.into(),
                affinity: Affinity::Integer,
            });
        }
        for (index, name, pg) in travelling {
            let affinity = table.columns[index].affinity;
            columns.push(MappedColumn { from: From::Column(index), target: name, pg, affinity });
        }
        let place = |wanted: From| {
            columns
                .iter()
                .position(|column| column.from == wanted)
                .expect("the columns of a key always travel")
        };
        let key = match &table.key {
            Key::HiddenRowid => vec![place(From::Rowid)],
            key => {
                let named = match key {
                    Key::RowidAlias(column) => vec![*column],
                    Key::Columns(columns) => columns.clone(),
                    Key::HiddenRowid => Vec::new(),
                };
                named.into_iter().map(|column| place(From::Column(column))).collect()
            }
        };
        Self { id, table, target, columns, key, is_adopted: false }
    }

    /// The target table, quoted, in its schema.
    pub fn qualified(&self, target_schema: &str) -> String {
        format!("{}.{}", Ident::new(target_schema), Ident::new(&self.target))
    }

    /// The quoted names of the target's columns that name a row, in key order.
    pub fn key_names(&self) -> Vec<String> {
        let columns = self.key.iter().map(|column| &self.columns[*column].target);
        columns.map(|name| Ident::new(name).to_string()).collect()
    }

    /// Whether rows can only be written by way of a staging table.
    pub fn needs_stage(&self) -> bool {
        self.columns.iter().any(|column| column.pg.needs_stage())
    }

    /// The column's name for people: the source's, or `rowid`.
    pub fn source_name(&self, column: &MappedColumn) -> &str {
        match column.from {
            From::Column(index) => &self.table.columns[index].name,
            From::Rowid => "rowid",
        }
    }
}
