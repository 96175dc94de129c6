//! The numbers by which the changelog names tables.
//!
//! An entry holds a number, so that it stays small. The one idea: *a table that has another number
//! was written unseen, perhaps*. Whoever renews the triggers of a table gives it a number that no
//! table has had, in the same transaction; the target knows the table by the old one, and is told
//! so by nothing but the difference. No crash can lose that word.
//!
//! The numbers that a table had stay listed under its name, the greatest is the one in force:
//! entries from before still name its rows.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension};

use super::Error;
use super::schema::Catalog;
use crate::change::TableId;
use crate::table::{Key, Table};

const TABLES: &str = include_str!("../../triggers/tables.sql");

/// Numbers that are kept for each table: entries under older ones have long been applied.
const KEPT: usize = 16;

/// Makes the list where there is none.
pub(super) fn ensure(conn: &Connection) -> Result<(), Error> {
    conn.execute_batch(TABLES).map_err(Error::sqlite("make the list of captured tables"))
}

fn is_there(conn: &Connection) -> Result<bool, Error> {
    conn.prepare_cached(
        "select count(*) from sqlite_schema where type = 'table' and name = '_lite2pg_tables'",
    )
    .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
    .map_err(Error::sqlite("look for the list of captured tables"))
}

/// All numbers that tables have and had, in their order. Empty where somebody dropped the list.
pub(super) fn all(conn: &Connection) -> Result<Vec<(TableId, String)>, Error> {
    if !is_there(conn)? {
        return Ok(Vec::new());
    }
    let doing = "read the captured tables";
    let mut statement = conn
        .prepare("select id, name from _lite2pg_tables where name is not null order by id")
        .map_err(Error::sqlite(doing))?;
    let rows = statement
        .query_map([], |row| Ok((TableId(row.get(0)?), row.get(1)?)))
        .map_err(Error::sqlite(doing))?;
    rows.collect::<Result<_, _>>().map_err(Error::sqlite(doing))
}

/// The number that each table has.
pub(super) fn in_force(numbers: &[(TableId, String)]) -> HashMap<String, TableId> {
    numbers.iter().map(|(id, name)| (name.clone(), *id)).collect()
}

/// Gives each table of the catalog a number that has none yet, and notes what names its rows.
pub(super) fn give(
    conn: &Connection,
    catalog: &Catalog,
) -> Result<HashMap<String, TableId>, Error> {
    let doing = "number the captured tables";
    let mut numbers = in_force(&all(conn)?);
    if numbers.is_empty() {
        skip_used(conn)?;
    }
    for table in &catalog.tables {
        if numbers.contains_key(&table.name) {
            conn.execute(
                "update _lite2pg_tables set named_by = ?2 where name = ?1 and named_by <> ?2",
                [table.name.as_str(), named_by(table)],
            )
            .map_err(Error::sqlite(doing))?;
        } else {
            conn.execute(
                "insert into _lite2pg_tables (name, named_by) values (?1, ?2)",
                [table.name.as_str(), named_by(table)],
            )
            .map_err(Error::sqlite(doing))?;
            numbers.insert(table.name.clone(), TableId(conn.last_insert_rowid()));
        }
    }
    Ok(numbers)
}

/// Somebody may have emptied the list. The numbers that stand in entries were given, so that those
/// to come begin above them: an entry must not name the rows of another table. The greatest of them
/// keeps its line, without a name.
fn skip_used(conn: &Connection) -> Result<(), Error> {
    conn.execute(
        "insert into _lite2pg_tables (id)
         select max(tbl) from _lite2pg_changelog having 0 < max(tbl)",
        [],
    )
    .map(drop)
    .map_err(Error::sqlite("find the numbers that were given"))
}

/// Gives a table a number that no table has had.
pub(super) fn renew(conn: &Connection, table: &Table) -> Result<TableId, Error> {
    let doing = "number a table anew";
    let id = conn
        .query_row(
            "insert into _lite2pg_tables (id, name, named_by)
             select max(id) + 1, ?1, ?2 from _lite2pg_tables returning id",
            [table.name.as_str(), named_by(table)],
            |row| row.get(0).map(TableId),
        )
        .map_err(Error::sqlite(doing))?;
    conn.execute(
        &format!(
            "delete from _lite2pg_tables where name = ?1 and id <=
                 (select id from _lite2pg_tables where name = ?1
                   order by id desc limit 1 offset {KEPT})"
        ),
        [&table.name],
    )
    .map_err(Error::sqlite(doing))?;
    Ok(id)
}

/// Whether a table's rows are named by columns or by a rowid that is not a column.
fn named_by(table: &Table) -> &'static str {
    if table.key == Key::HiddenRowid { "rowid" } else { "columns" }
}

/// Goes on naming rows by the rowid where that was once necessary.
///
/// SQLite allows NULL in most PRIMARY KEYs. One that holds none names the rows; when a NULL turns
/// up, the rowid does from then on, even after the NULL is gone again.
pub(super) fn keep_keys(conn: &Connection, catalog: &mut Catalog) -> Result<(), Error> {
    if !is_there(conn)? {
        return Ok(());
    }
    let doing = "read how rows are named";
    let mut statement = conn
        .prepare_cached("select named_by = 'rowid' from _lite2pg_tables where name = ?1")
        .map_err(Error::sqlite(doing))?;
    for table in &mut catalog.tables {
        let can_hold_null = table.key == Key::Columns(table.primary_key.clone())
            && table.primary_key.iter().any(|column| !table.columns[*column].not_null);
        if !can_hold_null || table.rowid_name.is_none() {
            continue;
        }
        let by_rowid: Option<bool> = statement
            .query_row([&table.name], |row| row.get(0))
            .optional()
            .map_err(Error::sqlite(doing))?;
        if by_rowid == Some(true) {
            table.key = Key::HiddenRowid;
        }
    }
    Ok(())
}
