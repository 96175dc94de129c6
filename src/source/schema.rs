//! The source's tables as they really are.
//!
//! SQLite is asked, not imitated: names, types, keys, generated columns, indexes and foreign keys
//! come from its PRAGMAs, collations and AUTOINCREMENT from its column metadata. Only what it
//! does not tell (CHECKs, expressions, constraint names, DEFERRABLE) is read from the statement
//! texts by [`crate::grammar`].
//!
//! [`read`] never changes the database, never opens a transaction and never guesses. What cannot
//! be replicated, or not be read, is in [`Catalog::skipped`] with its reason. The cost is linear
//! in the size of the schema, but for one look for NULLs per nullable PRIMARY KEY.
//!
//! It is longer than most files because every PRAGMA has its own way to be odd, and each is met
//! where it is asked. Begin with [`Catalog`], then [`choose_key`].

use std::collections::HashMap;

use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, Row};
use sqlite3_parser::ast::{
    ColumnConstraint, ColumnDefinition, CreateTableBody, DeferSubclause, ForeignKeyClause,
    InitDeferredPred, Name, NamedTableConstraint, Stmt, TableConstraint,
};

use crate::grammar::{self, dequote};
use crate::table::{
    Affinity, Check, Column, ForeignKey, Generated, Ident, Index, IndexColumn, IndexOrigin,
    IndexTerm, Key, OURS, ROWID_NAMES, Table, View,
};

/// What the source holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Catalog {
    /// The tables that can be replicated, in the order in which they were created.
    pub tables: Vec<Table>,
    /// Views, in the same order.
    pub views: Vec<View>,
    /// What is not replicated, or not wholly known, and why.
    pub skipped: Vec<Skipped>,
    /// The application's own triggers. They do their work on the source; the target sees the rows.
    pub triggers: Vec<Trigger>,
    /// The database's text encoding. Text arrives as UTF-8 whatever it is.
    pub encoding: String,
}

/// Something that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The object's name, with replacement characters if it is not UTF-8.
    pub name: String,
    /// What was left out.
    pub kind: SkippedKind,
    /// Why, as a clause for people.
    pub reason: String,
}

/// What was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkippedKind {
    /// A table that cannot be read or whose rows cannot be named.
    Table,
    /// A virtual table: its rows belong to its module.
    VirtualTable,
    /// A table in which a virtual table keeps its data.
    ShadowTable,
    /// A view whose text cannot be read.
    View,
    /// Rows are replicated, but the table's CHECKs, generated expressions and the names and
    /// timing of its foreign keys are unknown.
    Constraints,
    /// An index that enforces nothing and whose text cannot be read.
    Index,
    /// A table that the configuration leaves out.
    Ignored,
}

impl SkippedKind {
    /// The kind in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::VirtualTable => "virtual table",
            Self::ShadowTable => "shadow table",
            Self::View => "view",
            Self::Constraints => "constraints",
            Self::Index => "index",
            Self::Ignored => "ignored table",
        }
    }
}

impl Catalog {
    /// Moves the tables for which there is a reason to those that are skipped.
    pub(super) fn leave_out(&mut self, reason: impl Fn(&str) -> Option<&'static str>) {
        let skipped = &mut self.skipped;
        self.tables.retain(|table| match reason(&table.name) {
            None => true,
            Some(reason) => {
                skipped.push(Skipped {
                    name: table.name.clone(),
                    kind: SkippedKind::Ignored,
                    reason: reason.to_owned(),
                });
                false
            }
        });
    }

    /// The names of the tables that the configuration leaves out.
    pub fn left_out(&self) -> Vec<&str> {
        let ignored = self.skipped.iter().filter(|skipped| skipped.kind == SkippedKind::Ignored);
        ignored.map(|skipped| skipped.name.as_str()).collect()
    }
}

/// A trigger of the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// Its name.
    pub name: String,
    /// The table or view that it hangs on.
    pub table: String,
    /// Its `CREATE TRIGGER` text.
    pub sql: String,
}

/// The catalog could not be read at all.
#[derive(Debug, thiserror::Error)]
#[error("read {what} of the source's schema")]
pub struct Error {
    /// What was being read.
    pub what: String,
    /// What SQLite said.
    #[source]
    pub source: rusqlite::Error,
}

/// Names the failed step; SQLite's message stays the cause.
fn step<T>(what: &str, result: rusqlite::Result<T>) -> Result<T, Error> {
    result.map_err(|source| Error { what: what.to_owned(), source })
}

/// Reads the whole schema of `main`.
///
/// Call it inside a read transaction: the PRAGMAs are separate statements, and only the
/// transaction makes them tell of one moment. Repeatable; it writes nothing. Fails if SQLite
/// itself cannot read the schema (damaged, locked); an odd table does not fail it, it is skipped.
///
/// A PRIMARY KEY of several nullable columns costs a scan for NULLs, which stops at the first.
pub fn read(conn: &Connection) -> Result<Catalog, Error> {
    let encoding = step(
        "encoding",
        conn.query_row("select encoding from pragma_encoding", [], |row| row.get(0)),
    )?;
    let mut catalog = Catalog {
        tables: Vec::new(),
        views: Vec::new(),
        skipped: Vec::new(),
        triggers: Vec::new(),
        encoding,
    };
    let kinds = read_kinds(conn)?;
    let objects = read_objects(conn)?;
    let texts = grammar::on_deep_stack(|| Texts::parse(&objects));
    let mut reader = Reader::new(conn)?;
    for object in &objects {
        match object.kind.as_str() {
            "table" => {
                let kind = kinds.get(&object.name);
                let found = read_object(&mut reader, object, kind, &texts)?;
                catalog.tables.extend(found.table);
                catalog.skipped.extend(found.skipped);
            }
            "view" => match &object.sql {
                Ok(sql) => {
                    catalog.views.push(View { name: object.name.clone(), sql: sql.clone() });
                }
                Err(reason) => catalog.skipped.push(object.skip(SkippedKind::View, reason)),
            },
            "trigger" => catalog.triggers.push(Trigger {
                name: object.name.clone(),
                table: object.table.clone(),
                sql: object.sql.clone().unwrap_or_default(),
            }),
            _ => {}
        }
    }
    Ok(catalog)
}

/// Decides how the rows of `table` are named on both sides; `None` if nothing names them.
///
/// In this order: the rowid alias; the PRIMARY KEY, if it cannot hold NULL or holds none
/// (`primary_key_has_nulls`); the narrowest UNIQUE index over NOT NULL columns; the rowid itself.
/// A key whose collation the sidecar's SQLite lacks (`has_collation`) cannot be compared by it and
/// is passed over where the rowid can stand in; a table without rowids has nothing else, and is
/// read without its help ([`Table::is_key_comparable`]). Generated columns name no row: the target
/// may compute them itself.
pub fn choose_key(
    table: &Table,
    primary_key_has_nulls: bool,
    has_collation: &dyn Fn(&str) -> bool,
) -> Option<Key> {
    if let Some(alias) = table.rowid_alias {
        return Some(Key::RowidAlias(alias));
    }
    let is_known = |position: usize| has_collation(&table.columns[position].collation);
    let primary_is_known = table.primary_key.iter().all(|&position| is_known(position))
        && table
            .indexes
            .iter()
            .filter(|index| index.origin == IndexOrigin::PrimaryKey)
            .all(|index| index.columns.iter().all(|column| has_collation(&column.collation)));
    let holds_no_null = || {
        !primary_key_has_nulls
            || table.primary_key.iter().all(|&position| table.columns[position].not_null)
    };
    if !table.primary_key.is_empty() && primary_is_known && holds_no_null() {
        return Some(Key::Columns(table.primary_key.clone()));
    }
    if table.without_rowid {
        return Some(Key::Columns(table.primary_key.clone()));
    }
    let names_a_row = |index: &Index| -> Option<Vec<usize>> {
        if !index.unique || index.predicate.is_some() {
            return None;
        }
        index
            .columns
            .iter()
            .map(|column| match column.term {
                IndexTerm::Column(position)
                    if table.columns[position].not_null
                        && table.columns[position].generated.is_none()
                        && is_known(position)
                        && has_collation(&column.collation) =>
                {
                    Some(position)
                }
                _ => None,
            })
            .collect()
    };
    let narrowest = table.indexes.iter().filter_map(names_a_row).min_by_key(Vec::len);
    narrowest.map(Key::Columns).or_else(|| table.rowid_name.is_some().then_some(Key::HiddenRowid))
}

/// A row of `sqlite_schema`, its name known to be UTF-8.
struct Object {
    kind: String,
    name: String,
    table: String,
    /// The text, or why it cannot be had.
    sql: Result<String, String>,
    /// Set if the name itself cannot be used; `name` is then for people only.
    unusable: Option<String>,
}

impl Object {
    fn skip(&self, kind: SkippedKind, reason: impl Into<String>) -> Skipped {
        Skipped { name: self.name.clone(), kind, reason: reason.into() }
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (kind, name, table): (String, _, _) = (row.get(0)?, text(row, 1)?, text(row, 2)?);
        let sql = match row.get_ref(3)? {
            ValueRef::Null => Err("it has no text".to_owned()),
            _ => text(row, 3)?.map_err(|_| "its text is not valid UTF-8".to_owned()),
        };
        let unusable = (name.is_err() || table.is_err()).then_some("its name is not valid UTF-8");
        Ok(Self {
            kind,
            name: name.unwrap_or_else(|lossy| lossy),
            table: table.unwrap_or_else(|lossy| lossy),
            sql,
            unusable: unusable.map(str::to_owned),
        })
    }
}

/// Text as it should be, or its legible remains. SQLite itself promises no valid UTF-8.
fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Result<String, String>> {
    let bytes = row.get_ref(column)?.as_bytes()?;
    Ok(std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|_| String::from_utf8_lossy(bytes).into_owned()))
}

/// Everything in `sqlite_schema` but SQLite's own objects and ours, in order of creation.
fn read_objects(conn: &Connection) -> Result<Vec<Object>, Error> {
    let sql = "select type, name, tbl_name, sql from main.sqlite_schema order by rowid";
    let mut statement = step("objects", conn.prepare(sql))?;
    let rows = step("objects", statement.query_map([], Object::read))?;
    let objects: Vec<Object> = step("objects", rows.collect())?;
    let is_foreign = |object: &Object| {
        let name = object.name.to_ascii_lowercase();
        // Autoindexes are SQLite's by name but the application's by meaning.
        !name.starts_with(OURS) && (!name.starts_with("sqlite_") || object.kind == "index")
    };
    Ok(objects.into_iter().filter(is_foreign).collect())
}

/// What `table_list` says of one table.
struct Kind {
    kind: String,
    without_rowid: bool,
    strict: bool,
}

fn read_kinds(conn: &Connection) -> Result<HashMap<String, Kind>, Error> {
    let sql = "select name, type, wr, strict from pragma_table_list where schema = 'main'";
    let mut statement = step("table list", conn.prepare(sql))?;
    let rows = statement.query_map([], |row| {
        let kind = Kind { kind: row.get(1)?, without_rowid: row.get(2)?, strict: row.get(3)? };
        Ok((text(row, 0)?.unwrap_or_else(|lossy| lossy), kind))
    });
    step("table list", step("table list", rows)?.collect())
}

/// Whether a collation is SQLite's own. The sidecar lends a stand-in to every other, or it could
/// not even read the tables that mention one; it must never compare by it.
pub(super) fn is_built_in(collation: &str) -> bool {
    ["BINARY", "NOCASE", "RTRIM"].iter().any(|known| collation.eq_ignore_ascii_case(known))
}

/// One table, or why not.
#[derive(Default)]
struct Found {
    table: Option<Table>,
    skipped: Vec<Skipped>,
}

fn read_object(
    reader: &mut Reader<'_>,
    object: &Object,
    kind: Option<&Kind>,
    texts: &Texts,
) -> Result<Found, Error> {
    let skip =
        |kind, reason: &str| Ok(Found { table: None, skipped: vec![object.skip(kind, reason)] });
    if let Some(reason) = &object.unusable {
        return skip(SkippedKind::Table, reason);
    }
    let Some(kind) = kind else {
        return skip(SkippedKind::Table, "SQLite does not list it among its tables");
    };
    match kind.kind.as_str() {
        "table" => {}
        "virtual" => {
            return skip(
                SkippedKind::VirtualTable,
                "virtual tables are not replicated: their rows belong to their module",
            );
        }
        "shadow" => {
            return skip(SkippedKind::ShadowTable, "it holds the inner data of a virtual table");
        }
        other => return skip(SkippedKind::Table, &format!("its type is {other}")),
    }
    let mut found = Found::default();
    let table = match reader.table(object, kind, texts, &mut found.skipped)? {
        Ok(table) => table,
        Err(reason) => return skip(SkippedKind::Table, &reason),
    };
    let has_nulls = reader.primary_key_has_nulls(&table, &is_built_in)?;
    match choose_key(&table, has_nulls, &is_built_in) {
        Some(key) => found.table = Some(Table { key, ..table }),
        None => {
            return skip(
                SkippedKind::Table,
                "nothing names its rows: no usable key, and columns hide the rowid",
            );
        }
    }
    Ok(found)
}

/// A value, or the reason for which its table is skipped.
type Readable<T> = Result<T, String>;

/// The columns, and the positions of the PRIMARY KEY in key order.
type ColumnsAndKey = (Vec<Column>, Vec<usize>);

/// The statements that every table needs, prepared once.
struct Reader<'conn> {
    conn: &'conn Connection,
    columns: CachedStatement<'conn>,
    indexes: CachedStatement<'conn>,
    index_columns: CachedStatement<'conn>,
    foreign_keys: CachedStatement<'conn>,
}

impl<'conn> Reader<'conn> {
    fn new(conn: &'conn Connection) -> Result<Self, Error> {
        let prepare = |sql: &str| step("PRAGMAs", conn.prepare_cached(sql));
        Ok(Self {
            conn,
            columns: prepare(
                "select name, type, \"notnull\", dflt_value, pk, hidden
                   from pragma_table_xinfo(?1, 'main') order by cid",
            )?,
            // The newest index is listed first.
            indexes: prepare(
                "select name, \"unique\", origin, partial
                   from pragma_index_list(?1, 'main') order by seq desc",
            )?,
            index_columns: prepare(
                "select cid, \"desc\", coll
                   from pragma_index_xinfo(?1, 'main') where key order by seqno",
            )?,
            // So is the newest foreign key.
            foreign_keys: prepare(
                "select id, \"table\", \"from\", \"to\", on_update, on_delete
                   from pragma_foreign_key_list(?1, 'main') order by id desc, seq",
            )?,
        })
    }

    /// One table without its key; the inner error is a reason to skip it.
    fn table(
        &mut self,
        object: &Object,
        kind: &Kind,
        texts: &Texts,
        skipped: &mut Vec<Skipped>,
    ) -> Result<Readable<Table>, Error> {
        let ident = Ident::new(&object.name);
        if let Err(error) = self.conn.prepare(&format!("select * from main.{ident}")) {
            return Ok(Err(format!("it cannot be read here: {error}")));
        }
        let text = texts.tables.get(&object.name);
        if let Some(Err(reason)) = text {
            skipped.push(object.skip(SkippedKind::Constraints, reason));
        }
        let text = text.and_then(|text| text.as_ref().ok());
        let (mut columns, primary_key) = match self.columns(&object.name, kind, text)? {
            Ok(columns) => columns,
            Err(reason) => return Ok(Err(reason)),
        };
        let indexes = match self.indexes(object, texts, skipped)? {
            Ok(indexes) => indexes,
            Err(reason) => return Ok(Err(reason)),
        };
        // A PRIMARY KEY that SQLite made no index for is the rowid itself.
        let alias = match primary_key[..] {
            [only] if !kind.without_rowid => {
                let has_index = indexes.iter().any(|index| index.origin == IndexOrigin::PrimaryKey);
                (!has_index).then_some(only)
            }
            _ => None,
        };
        let mut autoincrement = false;
        if let Some(alias) = alias {
            columns[alias].not_null = true;
            let name = columns[alias].name.clone();
            autoincrement = self.metadata(&object.name, &name)?.1;
        }
        let mut table = Table {
            name: object.name.clone(),
            sql: object.sql.clone().unwrap_or_default(),
            columns,
            key: Key::HiddenRowid,
            primary_key,
            rowid_alias: alias,
            rowid_name: None,
            without_rowid: kind.without_rowid,
            strict: kind.strict,
            autoincrement,
            indexes,
            foreign_keys: Vec::new(),
            checks: text.map(|text| text.checks.clone()).unwrap_or_default(),
        };
        if !kind.without_rowid {
            table.rowid_name =
                ROWID_NAMES.into_iter().find(|name| table.column_index(name).is_none());
        }
        table.foreign_keys = match self.foreign_keys(&table, text)? {
            Ok(foreign_keys) => foreign_keys,
            Err(reason) => return Ok(Err(reason)),
        };
        Ok(Ok(table))
    }

    fn columns(
        &mut self,
        table: &str,
        kind: &Kind,
        text_of_table: Option<&TableText>,
    ) -> Result<Readable<ColumnsAndKey>, Error> {
        let what = format!("columns of {table:?}");
        let mut columns = Vec::new();
        let mut primary_key = Vec::new();
        let mut rows = step(&what, self.columns.query([table]))?;
        while let Some(row) = step(&what, rows.next())? {
            let read = || -> rusqlite::Result<_> {
                let default = match row.get_ref(3)? {
                    ValueRef::Null => None,
                    _ => Some(text(row, 3)?),
                };
                let (not_null, pk, hidden): (bool, i64, i64) =
                    (row.get(2)?, row.get(4)?, row.get(5)?);
                Ok((text(row, 0)?, text(row, 1)?, not_null, default, pk, hidden))
            };
            let (name, declared, not_null, default, pk, hidden) = step(&what, read())?;
            let (Ok(name), Ok(declared), Ok(default)) = (name, declared, default.transpose())
            else {
                return Ok(Err("a column's name, type or default is not valid UTF-8".to_owned()));
            };
            if 0 < pk {
                primary_key.push((pk, columns.len()));
            }
            // hidden: 2 is a VIRTUAL, 3 a STORED generated column (sqlite.org/pragma.html).
            let generated = matches!(hidden, 2 | 3).then(|| Generated {
                expr: text_of_table.and_then(|text| text.generated(&name)),
                stored: hidden == 3,
            });
            columns.push(Column {
                affinity: affinity(&declared, kind.strict),
                name,
                declared,
                not_null,
                default,
                collation: String::new(),
                generated,
            });
        }
        drop(rows);
        for column in &mut columns {
            column.collation = self.metadata(table, &column.name)?.0;
        }
        primary_key.sort_unstable();
        Ok(Ok((columns, primary_key.into_iter().map(|(_, position)| position).collect())))
    }

    /// A column's collation, and whether it is AUTOINCREMENT
    /// (<https://www.sqlite.org/c3ref/table_column_metadata.html>).
    fn metadata(&self, table: &str, column: &str) -> Result<(String, bool), Error> {
        let what = format!("collation of {table:?}.{column:?}");
        let (_, collation, _, _, autoincrement) =
            step(&what, self.conn.column_metadata(Some("main"), table, column))?;
        let collation = collation.map_or_else(|| "BINARY".into(), |name| name.to_string_lossy());
        Ok((canonical_collation(&collation), autoincrement))
    }

    fn indexes(
        &mut self,
        object: &Object,
        texts: &Texts,
        skipped: &mut Vec<Skipped>,
    ) -> Result<Readable<Vec<Index>>, Error> {
        let what = format!("indexes of {:?}", object.name);
        let list = self.indexes.query_map([&object.name], |row| {
            let (unique, origin, partial): (bool, String, bool) =
                (row.get(1)?, row.get(2)?, row.get(3)?);
            Ok((text(row, 0)?, unique, origin, partial))
        });
        let list: Vec<_> = step(&what, step(&what, list)?.collect())?;
        let mut indexes = Vec::new();
        for (name, unique, origin, partial) in list {
            let Ok(name) = name else {
                return Ok(Err("the name of one of its indexes is not valid UTF-8".to_owned()));
            };
            let origin = match origin.as_str() {
                "pk" => IndexOrigin::PrimaryKey,
                "u" => IndexOrigin::Unique,
                _ => IndexOrigin::Create,
            };
            match self.index(&name, unique, origin, partial, texts)? {
                Ok(index) => indexes.push(index),
                // Without its text nobody can say which rows it throws out.
                Err(reason) if unique => {
                    return Ok(Err(format!("its unique index {name:?} cannot be read: {reason}")));
                }
                Err(reason) => {
                    skipped.push(Skipped { name, kind: SkippedKind::Index, reason });
                }
            }
        }
        Ok(Ok(indexes))
    }

    fn index(
        &mut self,
        name: &str,
        unique: bool,
        origin: IndexOrigin,
        partial: bool,
        texts: &Texts,
    ) -> Result<Readable<Index>, Error> {
        let what = format!("columns of index {name:?}");
        let rows = self.index_columns.query_map([name], |row| {
            let (cid, descending, collation): (i64, bool, Option<String>) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok((cid, descending, collation.unwrap_or_else(|| "BINARY".into())))
        });
        let rows: Vec<_> = step(&what, step(&what, rows)?.collect())?;
        let text = texts.indexes.get(name);
        let has_expression = rows.iter().any(|(cid, ..)| *cid == -2);
        let needed = partial || has_expression;
        let parsed = match text {
            Some((_, Ok(parsed))) => Some(parsed),
            Some((_, Err(reason))) if needed => return Ok(Err(reason.clone())),
            None if needed => return Ok(Err("it has no text".to_owned())),
            _ => None,
        };
        let predicate = parsed.and_then(|parsed| parsed.predicate.clone());
        let terms_agree = parsed.is_none_or(|parsed| parsed.terms.len() == rows.len());
        if partial != predicate.is_some() || !terms_agree {
            return Ok(Err("its text and SQLite's description of it disagree".to_owned()));
        }
        let columns = rows
            .into_iter()
            .enumerate()
            .map(|(place, (cid, descending, collation))| IndexColumn {
                // cid: -1 is the rowid, -2 an expression (sqlite.org/pragma.html).
                term: match usize::try_from(cid) {
                    Ok(position) => IndexTerm::Column(position),
                    Err(_) if cid == -1 => IndexTerm::Rowid,
                    Err(_) => IndexTerm::Expr(parsed.map(|parsed| parsed.terms[place].clone())),
                },
                collation: canonical_collation(&collation),
                descending,
            })
            .collect();
        let sql = text.map(|(sql, _)| sql.clone());
        Ok(Ok(Index { name: name.to_owned(), unique, origin, columns, predicate, sql }))
    }

    fn foreign_keys(
        &mut self,
        table: &Table,
        text_of_table: Option<&TableText>,
    ) -> Result<Readable<Vec<ForeignKey>>, Error> {
        let what = format!("foreign keys of {:?}", table.name);
        let positions: HashMap<String, usize> = table
            .columns
            .iter()
            .enumerate()
            .map(|(position, column)| (column.name.to_ascii_lowercase(), position))
            .collect();
        let mut keys: Vec<(i64, ForeignKey)> = Vec::new();
        let mut rows = step(&what, self.foreign_keys.query([&table.name]))?;
        while let Some(row) = step(&what, rows.next())? {
            let read = || -> rusqlite::Result<_> {
                let to = match row.get_ref(3)? {
                    ValueRef::Null => None,
                    _ => Some(text(row, 3)?),
                };
                let (id, on_update, on_delete): (i64, String, String) =
                    (row.get(0)?, row.get(4)?, row.get(5)?);
                Ok((id, text(row, 1)?, text(row, 2)?, to, on_update, on_delete))
            };
            let (id, parent, from, to, on_update, on_delete) = step(&what, read())?;
            let (Ok(parent), Ok(from), Ok(to)) = (parent, from, to.transpose()) else {
                return Ok(Err("a name in a foreign key is not valid UTF-8".to_owned()));
            };
            let Some(&position) = positions.get(&from.to_ascii_lowercase()) else {
                return Ok(Err(format!("a foreign key names the unknown column {from:?}")));
            };
            if keys.last().is_none_or(|(last, _)| *last != id) {
                let key = ForeignKey {
                    name: None,
                    columns: Vec::new(),
                    parent,
                    parent_columns: Vec::new(),
                    on_delete,
                    on_update,
                    deferred: false,
                };
                keys.push((id, key));
            }
            if let Some((_, key)) = keys.last_mut() {
                key.columns.push(position);
                key.parent_columns.extend(to);
            }
        }
        let mut keys: Vec<ForeignKey> = keys.into_iter().map(|(_, key)| key).collect();
        // Both lists are in the order of the text, so they pair up; if they did not, the name
        // and the timing stay unknown rather than wrong.
        let texts = text_of_table.map_or(&[][..], |text| &text.foreign_keys);
        let is_same = |(key, text): (&ForeignKey, &ForeignKeyText)| {
            key.parent.eq_ignore_ascii_case(&text.parent) && key.columns.len() == text.columns
        };
        if keys.len() == texts.len() && keys.iter().zip(texts).all(is_same) {
            for (key, text) in keys.iter_mut().zip(texts) {
                key.name.clone_from(&text.name);
                key.deferred = text.deferred;
            }
        }
        Ok(Ok(keys))
    }

    /// Whether any row holds NULL in a PRIMARY KEY that allows it: SQLite lets ordinary tables
    /// do so (<https://www.sqlite.org/lang_createtable.html#the_primary_key>).
    fn primary_key_has_nulls(
        &self,
        table: &Table,
        has_collation: &dyn Fn(&str) -> bool,
    ) -> Result<bool, Error> {
        let nullable: Vec<String> = table
            .primary_key
            .iter()
            .map(|&position| &table.columns[position])
            .filter(|column| !column.not_null)
            .map(|column| format!("{} is null", Ident::new(&column.name)))
            .collect();
        if nullable.is_empty() || choose_key(table, false, has_collation).is_none() {
            return Ok(false);
        }
        let sql = format!(
            "select exists (select 1 from main.{} where {})",
            table.ident(),
            nullable.join(" or ")
        );
        let what = format!("NULLs in the key of {:?}", table.name);
        step(&what, self.conn.query_row(&sql, [], |row| row.get(0)))
    }
}

/// SQLite matches collation names without regard to case; its own are written in capitals.
fn canonical_collation(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    if matches!(upper.as_str(), "BINARY" | "NOCASE" | "RTRIM") { upper } else { name.to_owned() }
}

/// A column's affinity: the five rules, but ANY in a STRICT table converts nothing
/// (<https://www.sqlite.org/stricttables.html>).
fn affinity(declared: &str, strict: bool) -> Affinity {
    if strict && declared.eq_ignore_ascii_case("ANY") {
        return Affinity::Blob;
    }
    Affinity::of(declared)
}

/// What was found in the statement texts, by name.
struct Texts {
    tables: HashMap<String, Result<TableText, String>>,
    indexes: HashMap<String, (String, Result<IndexText, String>)>,
}

/// What only a table's text tells.
#[derive(Default)]
struct TableText {
    checks: Vec<Check>,
    /// Generated expressions by column name in lower case.
    generated: HashMap<String, String>,
    foreign_keys: Vec<ForeignKeyText>,
}

struct ForeignKeyText {
    name: Option<String>,
    parent: String,
    columns: usize,
    deferred: bool,
}

/// What only an index's text tells.
struct IndexText {
    terms: Vec<String>,
    predicate: Option<String>,
}

impl Texts {
    fn parse(objects: &[Object]) -> Self {
        let mut texts = Self { tables: HashMap::new(), indexes: HashMap::new() };
        for object in objects {
            match (object.kind.as_str(), &object.sql) {
                ("table", Ok(sql)) => {
                    texts.tables.insert(object.name.clone(), TableText::parse(sql));
                }
                ("table", Err(reason)) => {
                    texts.tables.insert(object.name.clone(), Err(reason.clone()));
                }
                ("index", Ok(sql)) => {
                    let parsed = IndexText::parse(sql);
                    texts.indexes.insert(object.name.clone(), (sql.clone(), parsed));
                }
                _ => {}
            }
        }
        texts
    }
}

impl TableText {
    fn parse(sql: &str) -> Result<Self, String> {
        grammar::statement(sql, |statement| match statement {
            Stmt::CreateTable {
                body: CreateTableBody::ColumnsAndConstraints { columns, constraints, .. },
                ..
            } => {
                let mut text = Self::default();
                columns.iter().for_each(|column| text.add_column(column));
                let constraints = constraints.unwrap_or_default();
                constraints.iter().for_each(|constraint| text.add_constraint(constraint));
                Ok(text)
            }
            // A virtual table has nothing of this kind.
            Stmt::CreateVirtualTable { .. } => Ok(Self::default()),
            _ => Err("its text is no CREATE TABLE with columns".to_owned()),
        })?
    }

    fn generated(&self, column: &str) -> Option<String> {
        self.generated.get(&column.to_ascii_lowercase()).cloned()
    }

    fn add_column(&mut self, column: &ColumnDefinition<'_>) {
        for named in column.constraints {
            let name = named.name.as_ref().map(plain);
            match &named.constraint {
                ColumnConstraint::Check(expr) => {
                    self.checks.push(Check { name, expr: expr.to_string() });
                }
                ColumnConstraint::Generated { expr, .. } => {
                    let column = plain(&column.col_name).to_ascii_lowercase();
                    self.generated.insert(column, expr.to_string());
                }
                ColumnConstraint::ForeignKey { clause, defer_clause } => {
                    self.add_foreign_key(name, clause, 1, defer_clause.as_ref());
                }
                // SQLite gives it to the foreign key that came last, whatever column it was on.
                ColumnConstraint::Defer(defer) => {
                    if let Some(last) = self.foreign_keys.last_mut() {
                        last.deferred = is_deferred(defer);
                    }
                }
                _ => {}
            }
        }
    }

    fn add_constraint(&mut self, named: &NamedTableConstraint<'_>) {
        let name = named.name.as_ref().map(plain);
        match &named.constraint {
            TableConstraint::Check(expr, _) => {
                self.checks.push(Check { name, expr: expr.to_string() });
            }
            TableConstraint::ForeignKey { columns, clause, defer_clause } => {
                self.add_foreign_key(name, clause, columns.len(), defer_clause.as_ref());
            }
            TableConstraint::PrimaryKey { .. } | TableConstraint::Unique { .. } => {}
        }
    }

    fn add_foreign_key(
        &mut self,
        name: Option<String>,
        clause: &ForeignKeyClause<'_>,
        columns: usize,
        defer: Option<&DeferSubclause>,
    ) {
        self.foreign_keys.push(ForeignKeyText {
            name,
            parent: plain(&clause.tbl_name),
            columns,
            deferred: defer.is_some_and(is_deferred),
        });
    }
}

impl IndexText {
    fn parse(sql: &str) -> Result<Self, String> {
        grammar::statement(sql, |statement| match statement {
            Stmt::CreateIndex { columns, where_clause, .. } => Ok(Self {
                terms: columns.iter().map(|column| column.expr.to_string()).collect(),
                predicate: where_clause.as_ref().map(ToString::to_string),
            }),
            _ => Err("its text is no CREATE INDEX".to_owned()),
        })?
    }
}

fn plain(name: &Name<'_>) -> String {
    dequote(name.0)
}

/// Only `DEFERRABLE INITIALLY DEFERRED` defers (<https://www.sqlite.org/foreignkeys.html>, 4.2).
fn is_deferred(defer: &DeferSubclause) -> bool {
    defer.deferrable && defer.init_deferred == Some(InitDeferredPred::InitiallyDeferred)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(sql: &str) -> Connection {
        let conn = Connection::open_in_memory().expect("memory database");
        conn.execute_batch(sql).expect(sql);
        conn
    }

    fn catalog(sql: &str) -> Catalog {
        read(&open(sql)).expect("read")
    }

    fn table(sql: &str) -> Table {
        let mut catalog = catalog(sql);
        assert_eq!(catalog.skipped, [], "{sql}");
        catalog.tables.pop().expect("one table")
    }

    #[test]
    fn the_rowid_alias_is_what_sqlite_says_it_is() {
        for (sql, alias) in [
            ("create table t (a integer primary key)", true),
            ("create table t (a INTEGER PRIMARY KEY ASC)", true),
            ("create table t (a INTEGER PRIMARY KEY DESC)", false),
            ("create table t (a integer, primary key (a))", true),
            ("create table t (a integer, primary key (a desc))", true),
            ("create table t (a int primary key)", false),
            ("create table t (a bigint primary key)", false),
            ("create table t (a \"INTEGER\" primary key)", true),
            ("create table t (a integer unique primary key)", true),
            ("create table t (a integer primary key) without rowid", false),
            ("create table t (a integer, b integer, primary key (a, b))", false),
            ("create table t (a integer primary key) strict", true),
        ] {
            let table = table(sql);
            assert_eq!(table.rowid_alias, alias.then_some(0), "{sql}");
            // SQLite itself agrees: only an alias reads as the rowid.
            if !table.without_rowid {
                let conn = open(sql);
                conn.execute_batch("insert into t (rowid, a) values (7, 8)").ok();
                let same: Option<bool> =
                    conn.query_row("select rowid = a from t", [], |row| row.get(0)).ok();
                assert_eq!(same.unwrap_or(table.columns.len() == 1 && alias), alias, "{sql}");
            }
        }
    }

    #[test]
    fn keys_are_chosen_in_the_documented_order() {
        for (sql, key) in [
            ("create table t (a integer primary key)", Key::RowidAlias(0)),
            ("create table t (x, a text primary key)", Key::Columns(vec![1])),
            ("create table t (a text primary key); insert into t values (null)", Key::HiddenRowid),
            (
                "create table t (a text primary key, b text not null unique);
                 insert into t values (null, 'x')",
                Key::Columns(vec![1]),
            ),
            ("create table t (a, b, primary key (b, a)) without rowid", Key::Columns(vec![1, 0])),
            ("create table t (a, b)", Key::HiddenRowid),
            ("create table t (a unique)", Key::HiddenRowid),
            (
                "create table t (a not null, b not null, c not null, unique (a, b), unique (c))",
                Key::Columns(vec![2]),
            ),
            (
                "create table t (a not null, b); create unique index i on t (a) where b",
                Key::HiddenRowid,
            ),
            (
                "create table t (a not null, b); create unique index i on t (lower(a))",
                Key::HiddenRowid,
            ),
            ("create table t (a, g not null as (a + 1), unique (g))", Key::HiddenRowid),
        ] {
            assert_eq!(table(sql).key, key, "{sql}");
        }
    }

    #[test]
    fn the_rowid_is_found_behind_columns_that_hide_it() {
        assert_eq!(table("create table t (a)").rowid_name, Some("rowid"));
        assert_eq!(table("create table t (RowId)").rowid_name, Some("_rowid_"));
        assert_eq!(table("create table t (rowid, _rowid_)").rowid_name, Some("oid"));
        let catalog = catalog("create table t (rowid, _rowid_, oid)");
        assert_eq!(catalog.tables, []);
        assert_eq!(catalog.skipped[0].kind, SkippedKind::Table);
        assert!(catalog.skipped[0].reason.contains("hide the rowid"), "{:?}", catalog.skipped);
    }

    #[test]
    fn not_null_is_implied_where_sqlite_implies_it() {
        let not_null = |sql: &str| -> Vec<bool> {
            table(sql).columns.iter().map(|column| column.not_null).collect()
        };
        assert_eq!(not_null("create table t (a text primary key, b not null)"), [false, true]);
        assert_eq!(not_null("create table t (a text primary key) without rowid"), [true]);
        assert_eq!(not_null("create table t (a text primary key) strict"), [true]);
        assert_eq!(not_null("create table t (a integer primary key)"), [true]);
    }

    #[test]
    fn collations_are_known_without_any_index() {
        let table = table(
            "create table t (a text collate nocase, b collate \"rtrim\", c, d text collate nocase
             collate binary)",
        );
        let collations: Vec<&str> =
            table.columns.iter().map(|column| column.collation.as_str()).collect();
        assert_eq!(collations, ["NOCASE", "RTRIM", "BINARY", "BINARY"]);
    }

    #[test]
    fn what_pragmas_do_not_say_is_read_from_the_text() {
        let table = table(
            "create table t (
                id integer primary key autoincrement,
                a int constraint positive check (a > 0) check (a < 10),
                b as (a + 1) stored, c text generated always as (a || 'x'),
                p int constraint parent references p (id) on delete cascade
                    deferrable initially deferred,
                q int references q not deferrable initially deferred,
                constraint pair foreign key (a, p) references r (x, y) on update set null
                    deferrable initially deferred,
                constraint [last one] check (a <> \"p\" or a in (1, 2))
            )",
        );
        assert!(table.autoincrement);
        let check = |name: Option<&str>, expr: &str| Check {
            name: name.map(str::to_owned),
            expr: expr.to_owned(),
        };
        assert_eq!(
            table.checks,
            [
                check(Some("positive"), "a > 0"),
                check(None, "a < 10"),
                check(Some("last one"), "a <> \"p\" OR a IN (1, 2)"),
            ]
        );
        let generated =
            |expr: &str, stored| Some(Generated { expr: Some(expr.to_owned()), stored });
        assert_eq!(table.columns[2].generated, generated("a + 1", true));
        assert_eq!(table.columns[3].generated, generated("a || 'x'", false));
        assert_eq!(table.columns[3].declared.to_ascii_lowercase(), "text");
        let keys: Vec<_> = table
            .foreign_keys
            .iter()
            .map(|key| (key.name.as_deref(), key.parent.as_str(), key.deferred))
            .collect();
        assert_eq!(
            keys,
            [(Some("parent"), "p", true), (None, "q", false), (Some("pair"), "r", true)]
        );
        assert_eq!(table.foreign_keys[2].columns, [1, 4]);
        assert_eq!(table.foreign_keys[2].parent_columns, ["x", "y"]);
        assert_eq!(table.foreign_keys[2].on_update, "SET NULL");
        assert_eq!(table.foreign_keys[0].on_delete, "CASCADE");
        assert!(table.foreign_keys[1].parent_columns.is_empty());
    }

    #[test]
    fn indexes_carry_terms_order_collation_and_predicate() {
        let table = table(
            "create table t (a text, b text, unique (b collate nocase, a desc));
             create index i on t (lower(a) collate nocase desc, b collate rtrim)
                 where b is not null /* and so on */ -- to the end
             ;
             create unique index j on t (a) where a > 'x'",
        );
        let names: Vec<&str> = table.indexes.iter().map(|index| index.name.as_str()).collect();
        assert_eq!(names, ["sqlite_autoindex_t_1", "i", "j"]);
        let i = &table.indexes[1];
        assert_eq!(i.predicate.as_deref(), Some("b IS NOT NULL"));
        assert_eq!(
            i.columns,
            [
                IndexColumn {
                    term: IndexTerm::Expr(Some("lower (a) COLLATE nocase".into())),
                    collation: "NOCASE".into(),
                    descending: true,
                },
                IndexColumn {
                    term: IndexTerm::Column(1),
                    collation: "RTRIM".into(),
                    descending: false,
                },
            ]
        );
        assert_eq!(table.indexes[0].origin, IndexOrigin::Unique);
        assert_eq!(table.indexes[0].columns[0].collation, "NOCASE");
        assert!(table.indexes[0].columns[1].descending);
        assert!(table.indexes[2].unique);
    }

    /// What is printed must mean the same to SQLite: it prepares every printed text.
    #[test]
    fn printed_expressions_prepare_again_and_mean_the_same() {
        let conn = open("create table t (a, b, \"c d\", [e\"f], `g``h`, \"select\")");
        conn.execute_batch(
            "insert into t values (1, 'x', null, 2.5, x'00', -3), (0, 'Y%', 1, 0, '', 9)",
        )
        .expect("insert");
        for expr in [
            "a+1",
            "-a",
            "- -a",
            "+a",
            "~a",
            "not a",
            "a - -1",
            "a--1\n+2",
            "\"c d\" is null",
            "[e\"f] notnull",
            "`g``h` = x'00'",
            "\"select\" not between 1 and 2 and a",
            "case a when 1 then 'x' else \"nope\" end",
            "case when a then 1 end",
            "a in (1,2,'it''s')",
            "a not in ()",
            "b like 'x\\%' escape '\\'",
            "b not glob 'x*'",
            "cast(a as varchar(10))",
            "coalesce(a, b) || 'x' || `g``h`",
            "(a, b) = (1, 'x')",
            "a is not distinct from 1",
            "a is distinct from b",
            "a isnull or b not null",
            "a /* , */ + 1 -- end",
            "exists (select 1)",
            "a in (select 2 union all select 1)",
            "(select max(a) from t as z where z.b > t.b)",
            "1e3 + 0x1F + .5 + 1.",
            "t.a = main.t.a",
            "count(*) filter (where a > 0) over (partition by b order by a desc)",
            "a == b",
            "b collate nocase = 'X'",
            "current_timestamp > 'a'",
            "a <> b != a",
            "a << 2 | 1 & ~3",
            "a % 2 = 0 and not (b or a)",
            "a->'$.x'",
            "a->>'$.x'",
            "iif(a, 1, 2)",
            "true is not false",
        ] {
            let printed =
                grammar::on_deep_stack(|| grammar::expression(expr, |expr| expr.to_string()))
                    .expect(expr);
            let both = format!("select quote({printed}), quote({expr}\n) from t");
            let mut statement = conn.prepare(&both).unwrap_or_else(|e| panic!("{printed}: {e}"));
            let mut rows = statement.query([]).expect("query");
            loop {
                let (printed, written): (String, String) = match rows.next() {
                    Ok(Some(row)) => (row.get(0).expect("text"), row.get(1).expect("text")),
                    Ok(None) => break,
                    // Both sides fail alike, as `->` does on text that is no JSON.
                    Err(_) => break,
                };
                assert_eq!(printed, written, "{expr}");
            }
        }
    }

    #[test]
    fn virtual_shadow_own_and_system_tables_stay_out() {
        let catalog = catalog(
            "create virtual table docs using fts5(body);
             create table _lite2pg_changelog (seq integer primary key);
             create table t (id integer primary key autoincrement);
             create trigger _lite2pg_t_insert after insert on t begin select 1; end;
             create trigger own after insert on t begin select 1; end;
             create view v as select 1; analyze",
        );
        let names: Vec<&str> = catalog.tables.iter().map(|table| table.name.as_str()).collect();
        assert_eq!(names, ["t"]);
        assert_eq!(catalog.triggers.len(), 1);
        assert_eq!(catalog.triggers[0].table, "t");
        assert_eq!(catalog.views[0].name, "v");
        let kinds = |kind| catalog.skipped.iter().filter(|skipped| skipped.kind == kind).count();
        assert_eq!(kinds(SkippedKind::VirtualTable), 1);
        assert!(4 <= kinds(SkippedKind::ShadowTable), "{:?}", catalog.skipped);
    }

    #[test]
    fn a_collation_that_only_the_application_has_is_worked_around() {
        let path = tempfile::tempdir().expect("directory");
        let file = path.path().join("a.db");
        let conn = Connection::open(&file).expect("open");
        conn.create_collation("mine", |a: &str, b: &str| a.cmp(b)).expect("collation");
        conn.execute_batch(
            "create table alias (id integer primary key, a text collate mine unique);
             create table keyed (a text collate mine primary key, b);
             create table other (a text collate mine primary key, b not null unique);
             create table stored (a text collate mine primary key) without rowid;",
        )
        .expect("schema");
        drop(conn);
        let conn = Connection::open(&file).expect("open");
        crate::source::lend_collations(&conn).expect("lend");
        let catalog = read(&conn).expect("read");
        let keys: Vec<_> =
            catalog.tables.iter().map(|table| (table.name.as_str(), table.key.clone())).collect();
        assert_eq!(
            keys,
            [
                ("alias", Key::RowidAlias(0)),
                ("keyed", Key::HiddenRowid),
                ("other", Key::Columns(vec![1])),
                ("stored", Key::Columns(vec![0])),
            ]
        );
        assert_eq!(catalog.tables[1].columns[0].collation, "mine");
        assert_eq!(catalog.skipped, []);
        let comparable: Vec<bool> = catalog.tables.iter().map(Table::is_key_comparable).collect();
        assert_eq!(comparable, [true, true, true, false]);
    }

    #[test]
    fn a_table_that_cannot_be_prepared_is_skipped_with_the_reason() {
        let path = tempfile::tempdir().expect("directory");
        let file = path.path().join("a.db");
        let conn = Connection::open(&file).expect("open");
        let flags = rusqlite::functions::FunctionFlags::SQLITE_DETERMINISTIC
            | rusqlite::functions::FunctionFlags::SQLITE_UTF8
            | rusqlite::functions::FunctionFlags::SQLITE_INNOCUOUS;
        conn.create_scalar_function("own", 1, flags, |_| Ok(1)).expect("function");
        conn.execute_batch("create table t (a, b as (own(a))); create table u (a)")
            .expect("schema");
        drop(conn);
        let catalog = read(&Connection::open(&file).expect("open")).expect("read");
        assert_eq!(catalog.tables.len(), 1);
        assert!(catalog.skipped[0].reason.contains("own"), "{:?}", catalog.skipped);
    }

    #[test]
    fn hostile_names_survive() {
        let long = "x".repeat(130);
        let names =
            ["a\"b", "it's", "100%", "two\nlines", "sélect \u{1F600}", "order", "a;b--", &long];
        let conn = Connection::open_in_memory().expect("memory database");
        for name in names {
            let quoted = Ident::new(name);
            conn.execute_batch(&format!(
                "create table {quoted} ({quoted} integer primary key,
                     b text check (length({quoted}) > 0) references {quoted});
                 create index {} on {quoted} (b, {quoted}) where {quoted} > 0",
                Ident::new(format!("{name}_index"))
            ))
            .expect(name);
        }
        let catalog = read(&conn).expect("read");
        assert_eq!(catalog.skipped, []);
        for (table, name) in catalog.tables.iter().zip(names) {
            assert_eq!(table.name, name);
            assert_eq!(table.columns[0].name, name);
            assert_eq!(table.rowid_alias, Some(0));
            assert_eq!(table.checks.len(), 1);
            assert_eq!(table.indexes.len(), 1);
            assert!(table.indexes[0].predicate.is_some());
            assert_eq!(table.foreign_keys[0].parent, name);
        }
    }

    #[test]
    fn names_that_are_not_utf8_are_skipped_not_fatal() {
        let conn = open("create table good (a); create table bad (a); create table worse (b)");
        conn.execute_batch("pragma writable_schema = on").expect("pragma");
        for sql in [
            "update sqlite_schema set name = cast(x'62ff' as text),
                 tbl_name = cast(x'62ff' as text),
                 sql = cast(x'637265617465207461626c652022' || x'62ff' || x'2220286129' as text)
                 where name = 'bad'",
            "update sqlite_schema set
                 sql = cast(x'637265617465207461626c6520776f727365202822'
                     || x'ff' || x'2229' as text)
                 where name = 'worse'",
        ] {
            conn.execute_batch(sql).expect("update");
        }
        conn.execute_batch("pragma writable_schema = reset").expect("pragma");
        let catalog = read(&conn).expect("read");
        assert_eq!(catalog.tables.len(), 1, "{catalog:?}");
        assert_eq!(catalog.tables[0].name, "good");
        assert_eq!(catalog.skipped.len(), 2, "{:?}", catalog.skipped);
    }

    #[test]
    fn a_utf16_database_reads_like_any_other() {
        let catalog = catalog(
            "pragma encoding = 'UTF-16le';
             create table \"é\" (\"ü\" text default 'ö' check (ü > 'ä'))",
        );
        assert_eq!(catalog.encoding, "UTF-16le");
        let table = &catalog.tables[0];
        assert_eq!((table.name.as_str(), table.columns[0].name.as_str()), ("é", "ü"));
        assert_eq!(table.columns[0].default.as_deref(), Some("'ö'"));
        assert_eq!(table.checks[0].expr, "ü > 'ä'");
    }

    #[test]
    fn two_thousand_columns_and_two_thousand_tables_are_read_quickly() {
        let conn = Connection::open_in_memory().expect("memory database");
        let columns: Vec<String> = (0..2_000).map(|n| format!("c{n} text")).collect();
        conn.execute_batch(&format!("create table wide ({})", columns.join(", "))).expect("wide");
        let many: String =
            (0..2_000).map(|n| format!("create table t{n} (a primary key, b unique);")).collect();
        conn.execute_batch(&format!("begin; {many} commit")).expect("many");
        let began = std::time::Instant::now();
        let catalog = read(&conn).expect("read");
        assert_eq!(catalog.tables.len(), 2_001);
        assert_eq!(catalog.tables[0].columns.len(), 2_000);
        // Far above what it takes, far below what a quadratic scan would.
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    }

    #[test]
    fn columns_added_later_and_created_by_select_are_seen() {
        let catalog = catalog(
            "create table t (a integer primary key, constraint c check (a > 0));
             alter table t add column b text default 'x' check (b <> '') references t;
             create table u as select a, b, a + 1.5 as c from t",
        );
        let t = &catalog.tables[0];
        assert_eq!(t.checks.len(), 2);
        assert_eq!(t.foreign_keys.len(), 1);
        let u = &catalog.tables[1];
        assert_eq!(u.columns.len(), 3);
        assert_eq!(u.key, Key::HiddenRowid);
        assert_eq!(catalog.skipped, []);
    }
}
