//! Names and shape of a table, as the source declares it.
//!
//! These are the words that both sides share: [`source::schema`](crate::source) fills them in,
//! triggers, DDL, batches and digests read them. Pure data: no I/O, no clock. Everything here is
//! *what SQLite says*; which PostgreSQL type a column gets is decided in [`crate::value`].
//!
//! Begin with [`Table`], then [`Key`], which says how a row is named.

use std::fmt;

/// A quoted identifier: `Display` always quotes, so a name that reaches a statement cannot break
/// out of it. SQLite and PostgreSQL quote alike (<https://www.sqlite.org/lang_keywords.html>,
/// <https://www.postgresql.org/docs/current/sql-syntax-lexical.html>).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ident(String);

impl Ident {
    /// Takes a raw name. SQLite cannot hold a NUL in a name, so none can arrive here.
    pub fn new(raw: impl Into<String>) -> Self {
        Self(raw.into())
    }

    /// The name without quotes, for catalogs and for people.
    pub fn raw(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.replace('"', "\"\""))
    }
}

/// A quoted string literal, valid in both dialects (with `standard_conforming_strings = on`,
/// which every one of our connections sets).
#[derive(Clone, Debug)]
pub struct Literal<'a>(pub &'a str);

impl fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0.replace('\'', "''"))
    }
}

/// The names we own on the source all begin with this.
pub const OURS: &str = "_lite2pg_";

/// What a rowid answers to, unless a column has the name
/// (<https://www.sqlite.org/lang_createtable.html#rowid>).
pub const ROWID_NAMES: [&str; 3] = ["rowid", "_rowid_", "oid"];

/// The hidden key column on the target for tables that nothing else can name.
pub const HIDDEN_ROWID: &str = "_lite2pg_rowid";

/// One table of the source.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Its name, exactly as declared.
    pub name: String,
    /// The `CREATE TABLE` text in `sqlite_schema`.
    pub sql: String,
    /// Columns in declaration order, generated ones included.
    pub columns: Vec<Column>,
    /// How its rows are named.
    pub key: Key,
    /// Positions in `columns` of the declared PRIMARY KEY, in key order; empty if none.
    pub primary_key: Vec<usize>,
    /// The column that is an alias of the rowid (`INTEGER PRIMARY KEY`), if any.
    pub rowid_alias: Option<usize>,
    /// A name under which the rowid can be read (`rowid`, `_rowid_` or `oid`); `None` for
    /// WITHOUT ROWID tables and where columns shadow all three.
    pub rowid_name: Option<&'static str>,
    /// Declared WITHOUT ROWID.
    pub without_rowid: bool,
    /// Declared STRICT.
    pub strict: bool,
    /// The rowid alias is AUTOINCREMENT: deleted ids are never given again.
    pub autoincrement: bool,
    /// Every index, those made by PRIMARY KEY and UNIQUE included.
    pub indexes: Vec<Index>,
    /// Foreign keys, composite ones as one entry.
    pub foreign_keys: Vec<ForeignKey>,
    /// CHECK constraints, column and table level, in declaration order.
    pub checks: Vec<Check>,
}

/// One column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name, exactly as declared.
    pub name: String,
    /// The declared type, as written; empty if none.
    pub declared: String,
    /// What SQLite does to values on the way in (<https://www.sqlite.org/datatype3.html>).
    pub affinity: Affinity,
    /// Declared NOT NULL, or part of the key of a WITHOUT ROWID or STRICT table.
    pub not_null: bool,
    /// The DEFAULT expression as written, without the outer parentheses that the grammar wants.
    pub default: Option<String>,
    /// The column's collation: `BINARY`, `NOCASE`, `RTRIM` or one of the application's own.
    pub collation: String,
    /// Set for generated columns.
    pub generated: Option<Generated>,
}

/// A generated column's expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// The expression as written; `None` if it could not be found in the table's text.
    pub expr: Option<String>,
    /// STORED rather than VIRTUAL.
    pub stored: bool,
}

/// A column's type affinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Affinity {
    /// Integers stay integers; numeric text becomes a number.
    Integer,
    /// As `Integer`, except in a CAST.
    Numeric,
    /// Integers become reals; numeric text becomes a real.
    Real,
    /// Numbers become text.
    Text,
    /// Nothing is converted (also called NONE).
    Blob,
}

impl Affinity {
    /// The affinity of a declared type, by SQLite's five rules
    /// (<https://www.sqlite.org/datatype3.html#determination_of_column_affinity>).
    pub fn of(declared: &str) -> Self {
        let upper = declared.to_ascii_uppercase();
        let has = |word: &str| upper.contains(word);
        if has("INT") {
            Self::Integer
        } else if has("CHAR") || has("CLOB") || has("TEXT") {
            Self::Text
        } else if has("BLOB") || upper.is_empty() {
            Self::Blob
        } else if has("REAL") || has("FLOA") || has("DOUB") {
            Self::Real
        } else {
            Self::Numeric
        }
    }
}

/// How the rows of a table are named, on both sides and in the changelog.
#[derive(Clone, Debug, PartialEq)]
pub enum Key {
    /// The `INTEGER PRIMARY KEY` column.
    RowidAlias(usize),
    /// A declared PRIMARY KEY, or a UNIQUE index over NOT NULL columns: positions in `columns`.
    Columns(Vec<usize>),
    /// The rowid itself, kept on the target as [`HIDDEN_ROWID`]. VACUUM may renumber it.
    HiddenRowid,
}

/// One index.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    /// Its name; `sqlite_autoindex_…` for those made by constraints.
    pub name: String,
    /// Rejects (or replaces) duplicates.
    pub unique: bool,
    /// Where it comes from.
    pub origin: IndexOrigin,
    /// What is indexed, in order.
    pub columns: Vec<IndexColumn>,
    /// The WHERE of a partial index, as written.
    pub predicate: Option<String>,
    /// Its own `CREATE INDEX` text, if it has one.
    pub sql: Option<String>,
}

/// What made an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexOrigin {
    /// `CREATE INDEX`.
    Create,
    /// A UNIQUE constraint.
    Unique,
    /// The PRIMARY KEY.
    PrimaryKey,
}

/// One term of an index.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexColumn {
    /// The column, or the expression, that is indexed.
    pub term: IndexTerm,
    /// The collation used to compare it.
    pub collation: String,
    /// Sorted downwards.
    pub descending: bool,
}

/// What an index term is made of.
#[derive(Clone, Debug, PartialEq)]
pub enum IndexTerm {
    /// Position in [`Table::columns`].
    Column(usize),
    /// The rowid itself.
    Rowid,
    /// An expression as written; `None` if it could not be found in the index's text.
    Expr(Option<String>),
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignKey {
    /// The constraint's name, if it has one.
    pub name: Option<String>,
    /// Positions in the child's `columns`.
    pub columns: Vec<usize>,
    /// The parent table's name, as written.
    pub parent: String,
    /// The parent's column names; empty means its primary key.
    pub parent_columns: Vec<String>,
    /// `NO ACTION`, `RESTRICT`, `SET NULL`, `SET DEFAULT` or `CASCADE`.
    pub on_delete: String,
    /// The same for updates.
    pub on_update: String,
    /// DEFERRABLE INITIALLY DEFERRED.
    pub deferred: bool,
}

impl ForeignKey {
    /// Positions of the columns that it refers to; `None` if the parent lacks one that is named.
    pub fn columns_in(&self, parent: &Table) -> Option<Vec<usize>> {
        if self.parent_columns.is_empty() {
            return Some(parent.primary_key.clone());
        }
        self.parent_columns.iter().map(|name| parent.column_index(name)).collect()
    }

    /// The names of its own columns, in a table that has it.
    pub fn column_names(&self, child: &Table) -> String {
        let names = self.columns.iter().map(|at| child.columns[*at].name.as_str());
        names.collect::<Vec<_>>().join(", ")
    }
}

/// A CHECK constraint.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The constraint's name, if it has one.
    pub name: Option<String>,
    /// The expression as written.
    pub expr: String,
}

/// A view of the source.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Its name.
    pub name: String,
    /// Its `CREATE VIEW` text.
    pub sql: String,
}

impl Table {
    /// Position of a column by name; SQLite compares names without regard to ASCII case.
    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// The columns that name a row; empty for [`Key::HiddenRowid`].
    pub fn key_columns(&self) -> Vec<usize> {
        match &self.key {
            Key::RowidAlias(column) => vec![*column],
            Key::Columns(columns) => columns.clone(),
            Key::HiddenRowid => Vec::new(),
        }
    }

    /// Whether SQLite's own collations decide the order and the equality of the key. Where one of
    /// the application's does, only the application can search by it.
    pub fn is_key_comparable(&self) -> bool {
        let is_built_in = |name: &str| {
            ["BINARY", "NOCASE", "RTRIM"].iter().any(|known| name.eq_ignore_ascii_case(known))
        };
        let by_index = self
            .indexes
            .iter()
            .filter(|index| self.without_rowid && index.origin == IndexOrigin::PrimaryKey)
            .flat_map(|index| index.columns.iter().map(|column| column.collation.as_str()));
        let by_column = self.key_columns();
        let by_column = by_column.iter().map(|&position| self.columns[position].collation.as_str());
        by_index.chain(by_column).all(is_built_in)
    }

    /// Whether an index has the key's columns in their order, upwards and by bytes: rows can be
    /// walked by key.
    pub fn is_key_ascending(&self) -> bool {
        let key = self.key_columns();
        self.indexes.iter().any(|index| {
            let is_its = |(column, at): (&IndexColumn, &usize)| {
                column.term == IndexTerm::Column(*at)
                    && !column.descending
                    && column.collation.eq_ignore_ascii_case("BINARY")
            };
            index.unique
                && index.predicate.is_none()
                && index.columns.len() == key.len()
                && index.columns.iter().zip(&key).all(is_its)
        })
    }

    /// How many values name a row: at least one.
    pub fn key_width(&self) -> usize {
        match &self.key {
            Key::RowidAlias(_) | Key::HiddenRowid => 1,
            Key::Columns(columns) => columns.len(),
        }
    }

    /// The table's name, quoted.
    pub fn ident(&self) -> Ident {
        Ident::new(&self.name)
    }
}

/// Plain ones for tests, to be changed where a test needs it.
#[cfg(test)]
pub mod plain {
    use super::{Affinity, Column, Key, Table};

    /// A column that may hold anything.
    pub fn column(name: &str, declared: &str) -> Column {
        Column {
            name: name.into(),
            declared: declared.into(),
            affinity: Affinity::of(declared),
            not_null: false,
            default: None,
            collation: "BINARY".into(),
            generated: None,
        }
    }

    /// A rowid table without indexes and constraints but its key.
    pub fn table(name: &str, columns: Vec<Column>, key: Key) -> Table {
        let (rowid_alias, primary_key) = match &key {
            Key::RowidAlias(column) => (Some(*column), vec![*column]),
            Key::Columns(columns) => (None, columns.clone()),
            Key::HiddenRowid => (None, Vec::new()),
        };
        Table {
            name: name.into(),
            sql: String::new(),
            columns,
            key,
            primary_key,
            rowid_alias,
            rowid_name: Some("rowid"),
            without_rowid: false,
            strict: false,
            autoincrement: false,
            indexes: Vec::new(),
            foreign_keys: Vec::new(),
            checks: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn affinity_follows_the_five_rules_in_their_order() {
        for (declared, affinity) in [
            ("INTEGER", Affinity::Integer),
            ("CHARINT", Affinity::Integer),
            ("FLOATING POINT", Affinity::Integer),
            ("VARCHAR(10)", Affinity::Text),
            ("", Affinity::Blob),
            ("BLOB", Affinity::Blob),
            ("DOUBLE PRECISION", Affinity::Real),
            ("DECIMAL(10,2)", Affinity::Numeric),
            ("TIMESTAMP", Affinity::Numeric),
            ("STRING", Affinity::Numeric),
        ] {
            assert_eq!(Affinity::of(declared), affinity, "{declared}");
        }
    }

    #[test]
    fn a_quoted_name_cannot_break_out() {
        assert_eq!(Ident::new(r#"a"; drop table x; --"#).to_string(), r#""a""; drop table x; --""#);
        assert_eq!(Literal("it's").to_string(), "'it''s'");
    }
}
