//! Our own triggers must never fail a write of the application.
//!
//! They write to the changelog. If somebody drops it, puts a view in its place or alters it, every
//! write to a captured table may fail. Then the application comes first: the triggers go, and
//! replication with them, because what is written from then on is not captured.
//!
//! [`check`] finds it out, [`free`] takes them out.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::{Broken, Error, Source};
use crate::failpoint;
use crate::table::{Ident, OURS};

const CHANGELOG: &str = "_lite2pg_changelog";

/// The columns of the changelog before those of the key.
const COLUMNS: [&str; 5] = ["seq", "tbl", "op", "at", "token"];

/// Our other tables, and their columns. No trigger needs them.
const BOOKS: [(&str, &[&str]); 2] = [
    ("_lite2pg_meta", &["id", "format", "source_id", "generation", "key_width", "target"]),
    ("_lite2pg_tables", &["id", "name", "named_by"]),
];

/// How long to wait for the turn to write.
const BUSY_MAX: std::time::Duration = std::time::Duration::from_secs(30);

/// What was taken out, and why.
#[derive(Clone, Debug)]
pub struct Freed {
    /// How many triggers.
    pub triggers: usize,
    /// What is the matter with the changelog.
    pub broken: Broken,
}

impl Source {
    /// Fails with [`Error::Lineage`] if the triggers make the application's writes fail, because
    /// the changelog is gone or is not the table that they need.
    pub fn check_capture(&mut self) -> Result<(), Error> {
        self.follow_path()?;
        self.reading(check)
    }
}

/// Fails with [`Error::Lineage`] if triggers of ours stand whose changelog is gone, or if a table
/// of ours is not what it was.
pub(super) fn check(conn: &Connection) -> Result<(), Error> {
    if let Some(broken) = hindrance(conn)? {
        return Err(broken.into());
    }
    for (table, wanted) in BOOKS {
        let columns = columns(conn, table)?;
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        // An older lite2pg made it without the last column.
        let is_as_it_was = names == wanted || [&names[..], &["target"]].concat() == wanted;
        if !columns.is_empty() && !is_as_it_was {
            let what = format!("the columns of {table} are others");
            return Err(Broken::ChangelogAltered { what }.into());
        }
    }
    Ok(())
}

/// Whether what is ours in the file is as it was, so that it can be read.
pub(super) fn is_whole(conn: &Connection) -> Result<bool, Error> {
    match check(conn) {
        Ok(()) => Ok(true),
        Err(Error::Lineage(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes our triggers out if the changelog that they write to is gone, or is not the table they
/// need; and the view that bears its name, if that is the matter. Returns what was done; `None` if
/// nothing had to be.
///
/// One transaction: a crash leaves all of it or none. What else is ours stays, for whoever wants
/// to know which file this is.
pub fn free(source: &mut Source) -> Result<Option<Freed>, Error> {
    let doing = "take the triggers out";
    source.conn.busy_timeout(BUSY_MAX).map_err(Error::sqlite(doing))?;
    let outcome = free_in_one_transaction(&mut source.conn);
    super::wait_as_reader(&mut source.conn).map_err(Error::sqlite(doing))?;
    source.schema_version = None;
    outcome
}

fn free_in_one_transaction(conn: &mut Connection) -> Result<Option<Freed>, Error> {
    let doing = "take the triggers out";
    // The usual case, which needs no lock.
    if triggers(conn)?.is_empty() || hindrance(conn)?.is_none() {
        return Ok(None);
    }
    let transaction = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(Error::sqlite(doing))?;
    let Some(broken) = hindrance(&transaction)? else { return Ok(None) };
    let triggers = triggers(&transaction)?;
    for trigger in &triggers {
        transaction
            .execute_batch(&format!("drop trigger {}", Ident::new(trigger)))
            .map_err(Error::sqlite(doing))?;
    }
    if kind(&transaction)?.is_some_and(|(kind, ..)| kind == "view") {
        transaction
            .execute_batch(&format!("drop view {}", Ident::new(CHANGELOG)))
            .map_err(Error::sqlite(doing))?;
    }
    failpoint::hit(failpoint::FREE_BEFORE_COMMIT);
    transaction.commit().map_err(Error::sqlite(doing))?;
    Ok(Some(Freed { triggers: triggers.len(), broken }))
}

/// What may make the triggers fail, if anything does.
fn hindrance(conn: &Connection) -> Result<Option<Broken>, Error> {
    let altered = |what: String| Ok(Some(Broken::ChangelogAltered { what }));
    let Some((kind, is_virtual, sql)) = kind(conn)? else {
        let is_stranded = !triggers(conn)?.is_empty();
        return Ok(is_stranded.then_some(Broken::ChangelogGone));
    };
    if kind != "table" {
        return altered(format!("a {kind} has its name"));
    }
    if is_virtual {
        return altered("a virtual table has its name".to_owned());
    }
    if let Some(what) = wrong_column(conn)? {
        return altered(what);
    }
    if let Some(what) = addition(conn)? {
        return altered(format!("{what} stands on it"));
    }
    // None of our columns is called so.
    match sql.to_ascii_lowercase().contains("check") {
        true => altered("it has a CHECK".to_owned()),
        false => Ok(None),
    }
}

/// What bears the changelog's name: its type, whether it has no pages of its own, its text.
fn kind(conn: &Connection) -> Result<Option<(String, bool, String)>, Error> {
    conn.query_row(
        "select type, rootpage = 0, coalesce(sql, '') from sqlite_schema where name = ?1",
        [CHANGELOG],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )
    .optional()
    .map_err(Error::sqlite("look at the changelog"))
}

struct Column {
    name: String,
    is_key: bool,
    /// It takes no NULL, or no value at all.
    is_strict: bool,
    declared: String,
}

fn columns(conn: &Connection, table: &str) -> Result<Vec<Column>, Error> {
    let doing = "look at the columns of the changelog";
    let mut statement = conn
        .prepare("select name, pk, \"notnull\" or hidden, type from pragma_table_xinfo(?1)")
        .map_err(Error::sqlite(doing))?;
    let column = |row: &rusqlite::Row<'_>| {
        Ok(Column {
            name: row.get(0)?,
            is_key: row.get(1)?,
            is_strict: row.get(2)?,
            declared: row.get(3)?,
        })
    };
    let columns = statement.query_map([table], column).map_err(Error::sqlite(doing))?;
    columns.collect::<Result<_, _>>().map_err(Error::sqlite(doing))
}

/// What is the matter with a column, if anything is.
fn wrong_column(conn: &Connection) -> Result<Option<String>, Error> {
    let found = columns(conn, CHANGELOG)?;
    let width = found.len().saturating_sub(COLUMNS.len()).max(key_width(conn)?);
    let wanted = COLUMNS.map(str::to_owned).into_iter();
    let wanted: Vec<String> = wanted.chain((1..=width).map(|at| format!("k{at}"))).collect();
    for (at, name) in wanted.iter().enumerate() {
        let Some(column) = found.get(at).filter(|column| column.name == *name) else {
            return Ok(Some(format!("it has no column {name} where one was")));
        };
        let is_seq = at == 0;
        let is_rowid = column.is_key && column.declared.eq_ignore_ascii_case("integer");
        if column.is_strict || is_seq != column.is_key || is_seq && !is_rowid {
            return Ok(Some(format!("its column {name} is another")));
        }
    }
    Ok(None)
}

fn key_width(conn: &Connection) -> Result<usize, Error> {
    let has_it = columns(conn, "_lite2pg_meta")?.iter().any(|column| column.name == "key_width");
    if !has_it {
        return Ok(1);
    }
    conn.query_row("select coalesce(max(key_width), 1) from _lite2pg_meta", [], |row| {
        row.get::<_, i64>(0)
    })
    .map(|width| usize::try_from(width).unwrap_or(1))
    .map_err(Error::sqlite("read the width of the changelog"))
}

/// Something that was added to the changelog and may refuse an entry.
fn addition(conn: &Connection) -> Result<Option<String>, Error> {
    conn.query_row(
        "select 'the trigger ' || name from sqlite_schema
          where type = 'trigger' and tbl_name = ?1
         union all
         select 'the unique index ' || name from pragma_index_list(?1) where \"unique\"
         union all
         select 'a foreign key' from pragma_foreign_key_list(?1) limit 1",
        [CHANGELOG],
        |row| row.get(0),
    )
    .optional()
    .map_err(Error::sqlite("look at the changelog"))
}

fn triggers(conn: &Connection) -> Result<Vec<String>, Error> {
    let doing = "look for triggers of ours";
    let mut statement = conn
        .prepare(
            "select name from sqlite_schema where type = 'trigger' and substr(name, 1, 9) = ?1",
        )
        .map_err(Error::sqlite(doing))?;
    let names = statement.query_map([OURS], |row| row.get(0)).map_err(Error::sqlite(doing))?;
    names.collect::<Result<_, _>>().map_err(Error::sqlite(doing))
}
