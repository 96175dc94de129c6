//! Render, install, inspect and remove the triggers and the changelog.
//!
//! The SQL is in `triggers/*.sql`; here lists of columns are built and placeholders replaced. The
//! one idea: an entry names a row that *may* have changed, so an entry too many is harmless and a
//! missing one never is. Everything is installed in one write transaction, so capture has no gap.
//!
//! It is long because installing, renewing and removing share one notion of what stands in the
//! file. Begin with [`install`].

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::schema::Catalog;
use super::{Error, Source, numbers, pairing, strand};
use crate::change::{Lineage, Place, TableId};
use crate::failpoint;
use crate::table::{Ident, IndexTerm, Key, Literal, OURS, ROWID_NAMES, Table};

/// The layout of our tables; a newer one is refused.
const FORMAT: i64 = 1;

/// How long install, uninstall and prune wait for their turn to write, in one go. Waiting holds
/// no lock that an application would notice.
pub(super) const WRITE_BUSY_MAX: std::time::Duration = std::time::Duration::from_secs(30);

const CHANGELOG: &str = include_str!("../../triggers/changelog.sql");
const INSERT: &str = include_str!("../../triggers/insert.sql");
const UPDATE: &str = include_str!("../../triggers/update.sql");
const REKEY: &str = include_str!("../../triggers/rekey.sql");
const DELETE: &str = include_str!("../../triggers/delete.sql");
const COLLIDE: &str = include_str!("../../triggers/collide.sql");
const COLLIDE_INDEX: &str = include_str!("../../triggers/collide_index.sql");

/// A trigger of ours: its name and its text as SQLite stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// The name.
    pub name: String,
    /// The `CREATE TRIGGER` text, without a final semicolon.
    pub sql: String,
}

/// What [`install`] found and did.
#[derive(Clone, Debug)]
pub struct Installed {
    /// The lineage that positions now belong to.
    pub lineage: Lineage,
    /// The number of each captured table.
    pub tables: HashMap<String, TableId>,
    /// Every number that a table has or had, with its name.
    pub numbers: Vec<(TableId, String)>,
    /// Tables whose triggers were missing or out of date and have been made anew. Where writes may
    /// have gone unseen meanwhile, the table has another number.
    pub renewed: Vec<String>,
    /// Tables that are not captured any more; their triggers were taken out.
    pub left_out: Vec<String>,
    /// Nothing was installed before.
    pub is_first: bool,
}

/// Whether our tables stand in the file.
pub fn is_installed(conn: &Connection) -> Result<bool, Error> {
    conn.prepare_cached(
        "select count(*) = 2 from sqlite_schema where type = 'table'
            and name in ('_lite2pg_meta', '_lite2pg_changelog')",
    )
    .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
    .map_err(Error::sqlite("look for the changelog"))
}

/// The lineage that the file carries; `None` where nothing is installed.
pub fn lineage(conn: &Connection) -> Result<Option<Lineage>, Error> {
    if !is_installed(conn)? {
        return Ok(None);
    }
    let found = conn
        .prepare_cached("select source_id, generation, format from _lite2pg_meta where id = 1")
        .and_then(|mut statement| {
            statement
                .query_row([], |row| {
                    let lineage = Lineage { source_id: row.get(0)?, generation: row.get(1)? };
                    Ok((lineage, row.get::<_, i64>(2)?))
                })
                .optional()
        })
        .map_err(Error::sqlite("read the lineage"))?;
    match found {
        Some((_, format)) if FORMAT < format => {
            Err(Error::NewerFormat { found: format, known: FORMAT })
        }
        Some((lineage, _)) => Ok(Some(lineage)),
        None => Ok(None),
    }
}

/// Installs what is missing, and renews what is out of date, in one write transaction.
///
/// Safe to repeat: where everything stands as it should, nothing is written. A crash leaves
/// either all of it or none. Fails with [`Error::TriggerRefused`], and without a trace, if a
/// trigger would make the application's own writes fail. With `place`, the lineage is proven before
/// anything is written.
pub fn install(
    source: &mut Source,
    catalog: &Catalog,
    place: Option<&Place>,
) -> Result<Installed, Error> {
    source.conn.busy_timeout(WRITE_BUSY_MAX).map_err(Error::sqlite("wait to install"))?;
    let outcome = install_in_one_transaction(&mut source.conn, catalog, place);
    super::wait_as_reader(&mut source.conn).map_err(Error::sqlite("wait to install"))?;
    source.schema_version = None;
    outcome
}

fn install_in_one_transaction(
    conn: &mut Connection,
    catalog: &Catalog,
    place: Option<&Place>,
) -> Result<Installed, Error> {
    if let Some(installed) = standing(conn, catalog)?
        && place.is_none_or(|place| place.lineage == installed.lineage)
    {
        return Ok(installed);
    }
    let transaction = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(Error::sqlite("begin to install"))?;
    if let Some(place) = place {
        super::changelog::prove(&transaction, &place.lineage, place.anchor)?;
    }
    failpoint::hit(failpoint::INSTALL_BEGUN);
    let is_first = ensure_tables(&transaction, catalog)?;
    failpoint::hit(failpoint::INSTALL_TABLES_MADE);
    let known = numbers::in_force(&numbers::all(&transaction)?);
    let mut tables = numbers::give(&transaction, catalog)?;
    let left_out = drop_stray(&transaction, catalog)?;
    let renewal = Renewal { conn: &transaction, known: &known, place };
    let renewed = renewal.renew_outdated(catalog, &mut tables)?;
    failpoint::hit(failpoint::INSTALL_TRIGGERS_MADE);
    if is_first {
        // The first anchor: from here on there is always an entry to compare with.
        transaction
            .execute(
                "insert into _lite2pg_changelog (tbl, op, at, token)
                 values (0, 'install', julianday('now'), random())",
                [],
            )
            .map_err(Error::sqlite("write the first anchor"))?;
    }
    let lineage = lineage(&transaction)?.ok_or(Error::NotInstalled)?;
    let numbers = numbers::all(&transaction)?;
    failpoint::hit(failpoint::INSTALL_BEFORE_COMMIT);
    transaction.commit().map_err(Error::sqlite("commit the installation"))?;
    failpoint::hit(failpoint::INSTALL_COMMITTED);
    Ok(Installed { lineage, tables, numbers, renewed, left_out, is_first })
}

impl Source {
    /// Whether every table has its triggers as it should, so that no write goes unseen.
    pub fn is_captured(&mut self, catalog: &Catalog) -> Result<bool, Error> {
        self.reading(|conn| Ok(standing(conn, catalog)?.is_some()))
    }
}

/// What stands already, if it is all that is wanted; looked at without a write lock, because the
/// usual restart has nothing to install.
fn standing(conn: &Connection, catalog: &Catalog) -> Result<Option<Installed>, Error> {
    let Some(lineage) = lineage(conn)? else { return Ok(None) };
    strand::check(conn)?;
    let numbers = numbers::all(conn)?;
    let tables = numbers::in_force(&numbers);
    for table in &catalog.tables {
        let Some(id) = tables.get(&table.name) else { return Ok(None) };
        if installed_on(conn, &table.name)? != render(table, *id)
            || !newer_foreign(conn, &table.name)?.is_empty()
        {
            return Ok(None);
        }
    }
    if key_width(conn)? < widest_key(catalog)
        || !stray(conn, catalog)?.is_empty()
        || !pairing::has_room(conn)?
    {
        return Ok(None);
    }
    let (renewed, left_out) = (Vec::new(), Vec::new());
    Ok(Some(Installed { lineage, tables, numbers, renewed, left_out, is_first: false }))
}

fn widest_key(catalog: &Catalog) -> usize {
    catalog.tables.iter().map(Table::key_width).max().unwrap_or(1)
}

fn key_width(conn: &Connection) -> Result<usize, Error> {
    conn.query_row("select key_width from _lite2pg_meta where id = 1", [], |row| {
        row.get::<_, i64>(0)
    })
    .map(|width| usize::try_from(width).unwrap_or(0))
    .map_err(Error::sqlite("read the width of the changelog"))
}

/// Makes our tables, or widens the changelog for a longer key. Says whether they were new.
///
/// Fails with [`Broken::ChangelogAltered`](super::Broken) if the changelog is there and is not the
/// table that the triggers need. Where no lineage stands, whatever is left of ours goes first.
fn ensure_tables(conn: &Connection, catalog: &Catalog) -> Result<bool, Error> {
    let wanted = widest_key(catalog);
    if lineage(conn)?.is_some() {
        strand::check(conn)?;
        numbers::ensure(conn)?;
        let doing = "widen the changelog";
        if !pairing::has_room(conn)? {
            conn.execute_batch("alter table _lite2pg_meta add column target")
                .map_err(Error::sqlite(doing))?;
        }
        let have = key_width(conn)?;
        for column in have + 1..=wanted {
            let widen = format!("alter table _lite2pg_changelog add column k{column}");
            conn.execute_batch(&widen).map_err(Error::sqlite(doing))?;
        }
        if have < wanted {
            let width = i64::try_from(wanted).expect("a table has at most 32,767 columns");
            conn.execute("update _lite2pg_meta set key_width = ?1", [width])
                .map_err(Error::sqlite(doing))?;
        }
        return Ok(false);
    }
    let doing = "create the changelog";
    drop_all(conn, doing)?;
    let sql = fill(CHANGELOG, &[("key_columns", &key_names(wanted))]);
    conn.execute_batch(&sql).map_err(Error::sqlite(doing))?;
    numbers::ensure(conn)?;
    conn.execute(
        "insert into _lite2pg_meta (id, format, source_id, generation, key_width)
         values (1, ?1, ?2, 1, ?3)",
        rusqlite::params![
            FORMAT,
            uuid::Uuid::new_v4().to_string(),
            i64::try_from(wanted).expect("a table has at most 32,767 columns"),
        ],
    )
    .map_err(Error::sqlite(doing))?;
    Ok(true)
}

/// Installs what is missing under the numbers that the target knows the tables by, and gives the
/// file this lineage, within the caller's transaction. No table counts as unseen afterwards: the
/// caller has compared every row under the same lock.
pub(super) fn take_over(
    conn: &Connection,
    catalog: &Catalog,
    known: &[(TableId, String)],
    lineage: &Lineage,
) -> Result<(), Error> {
    let doing = "take over the changelog";
    if !strand::is_whole(conn)? {
        drop_all(conn, doing)?;
    }
    ensure_tables(conn, catalog)?;
    conn.execute_batch("delete from _lite2pg_tables").map_err(Error::sqlite(doing))?;
    for (id, name) in known {
        let sql = "insert into _lite2pg_tables (id, name, named_by) values (?1, ?2, 'columns')";
        conn.execute(sql, (id.0, name)).map_err(Error::sqlite(doing))?;
    }
    let mut tables = numbers::give(conn, catalog)?;
    drop_stray(conn, catalog)?;
    Renewal { conn, known: &HashMap::new(), place: None }.renew_outdated(catalog, &mut tables)?;
    conn.execute(
        "update _lite2pg_meta set source_id = ?1, generation = ?2 where id = 1",
        (&lineage.source_id, lineage.generation),
    )
    .map(drop)
    .map_err(Error::sqlite(doing))
}

/// Our triggers on one table as they stand, by name.
fn installed_on(conn: &Connection, table: &str) -> Result<Vec<Trigger>, Error> {
    let doing = "read the triggers";
    let mut statement = conn
        .prepare_cached(
            "select name, sql from sqlite_schema
              where type = 'trigger' and tbl_name = ?1 and substr(name, 1, 9) = ?2 order by name",
        )
        .map_err(Error::sqlite(doing))?;
    let rows = statement
        .query_map([table, OURS], |row| Ok(Trigger { name: row.get(0)?, sql: row.get(1)? }))
        .map_err(Error::sqlite(doing))?;
    rows.collect::<Result<_, _>>().map_err(Error::sqlite(doing))
}

/// The texts of the application's triggers that were created after one of ours.
///
/// SQLite fires the newest first. One that says RAISE(IGNORE) keeps those after it from firing
/// while the row stays written (<https://www.sqlite.org/lang_createtrigger.html>), so ours must
/// be the newest.
fn newer_foreign(conn: &Connection, table: &str) -> Result<Vec<String>, Error> {
    let doing = "read the order of triggers";
    let mut statement = conn
        .prepare_cached(
            "select sql from sqlite_schema
              where type = 'trigger' and tbl_name = ?1 and substr(name, 1, 9) <> ?2
                and rowid > (select min(rowid) from sqlite_schema
                              where type = 'trigger' and tbl_name = ?1
                                and substr(name, 1, 9) = ?2)",
        )
        .map_err(Error::sqlite(doing))?;
    let rows =
        statement.query_map([table, OURS], |row| row.get(0)).map_err(Error::sqlite(doing))?;
    rows.collect::<Result<_, _>>().map_err(Error::sqlite(doing))
}

/// What it takes to renew triggers, in one write transaction.
struct Renewal<'a> {
    conn: &'a Connection,
    /// The numbers that tables had before.
    known: &'a HashMap<String, TableId>,
    /// What the target holds, if there is one.
    place: Option<&'a Place>,
}

impl Renewal<'_> {
    /// Makes the triggers anew of every table that does not have them as it should, and gives such
    /// a table another number if writes may have gone unseen.
    ///
    /// All outdated triggers go before the first new one comes: a trigger moves along with a table
    /// that is renamed, and keeps the name that another table's trigger is to have.
    fn renew_outdated(
        &self,
        catalog: &Catalog,
        tables: &mut HashMap<String, TableId>,
    ) -> Result<Vec<String>, Error> {
        let conn = self.conn;
        let mut outdated = Vec::new();
        for table in &catalog.tables {
            let mut id = tables[&table.name];
            let standing = installed_on(conn, &table.name)?;
            let foreign = newer_foreign(conn, &table.name)?;
            if standing == render(table, id) && foreign.is_empty() {
                continue;
            }
            if self.known.contains_key(&table.name)
                && !self.is_seamless(table, id, &standing, &foreign)?
            {
                id = numbers::renew(conn, table)?;
                tables.insert(table.name.clone(), id);
            }
            outdated.push((table, render(table, id), standing));
        }
        let compiled: Vec<bool> =
            outdated.iter().map(|(table, ..)| compiles(conn, table).is_ok()).collect();
        for old in outdated.iter().flat_map(|(.., standing)| standing) {
            conn.execute_batch(&format!("drop trigger {}", Ident::new(&old.name)))
                .map_err(Error::sqlite("drop an outdated trigger"))?;
        }
        for ((table, wanted, _), compiled_before) in outdated.iter().zip(compiled) {
            for trigger in wanted {
                conn.execute_batch(&trigger.sql).map_err(|source| Error::TriggerRefused {
                    table: table.name.clone(),
                    source,
                })?;
            }
            failpoint::hit(failpoint::INSTALL_TABLE_DONE);
            // A trigger is only resolved when a statement fires it, which would be the
            // application's.
            if let (true, Err(source)) = (compiled_before, compiles(conn, table)) {
                return Err(Error::TriggerRefused { table: table.name.clone(), source });
            }
        }
        Ok(outdated.into_iter().map(|(table, ..)| table.name.clone()).collect())
    }

    /// Whether nothing can have gone unseen although the triggers are not as they should be.
    ///
    /// Two things happen all the time. The application makes a trigger of its own: only one that
    /// ignores writes can have hidden any. And it makes or drops a unique index: the triggers that
    /// name rows which `REPLACE` removes are out of date then, but a `REPLACE` writes a row, too,
    /// and the other triggers have named that one.
    fn is_seamless(
        &self,
        table: &Table,
        id: TableId,
        standing: &[Trigger],
        foreign: &[String],
    ) -> Result<bool, Error> {
        if foreign.iter().any(|sql| sql.to_ascii_lowercase().contains("ignore")) {
            return Ok(false);
        }
        let wanted = render(table, id);
        if standing == wanted {
            return Ok(true);
        }
        let is_basic = |trigger: &&Trigger| !trigger.name[OURS.len()..].starts_with("collide_");
        if !standing.iter().filter(is_basic).eq(wanted.iter().filter(is_basic)) {
            return Ok(false);
        }
        let Some(place) = self.place else { return Ok(false) };
        self.conn
            .query_row(
                "select not exists (select 1 from _lite2pg_changelog where ?1 < seq and tbl = ?2)",
                (place.anchor.position.0, id.0),
                |row| row.get(0),
            )
            .map_err(Error::sqlite("look for what was written since"))
    }
}

/// Our triggers on tables that are not captured any more, each with its table.
fn stray(conn: &Connection, catalog: &Catalog) -> Result<Vec<(String, String)>, Error> {
    let doing = "look for triggers on tables that are left out";
    let mut statement = conn
        .prepare_cached(
            "select name, tbl_name from sqlite_schema
              where type = 'trigger' and substr(name, 1, 9) = ?1 order by tbl_name, name",
        )
        .map_err(Error::sqlite(doing))?;
    let rows = statement
        .query_map([OURS], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(Error::sqlite(doing))?;
    let standing: Vec<(String, String)> =
        rows.collect::<Result<_, _>>().map_err(Error::sqlite(doing))?;
    let is_captured = |name: &str| catalog.tables.iter().any(|table| table.name == name);
    Ok(standing.into_iter().filter(|(_, table)| !is_captured(table)).collect())
}

/// Takes those out; returns the names of their tables.
fn drop_stray(conn: &Connection, catalog: &Catalog) -> Result<Vec<String>, Error> {
    let mut left_out = Vec::new();
    for (trigger, table) in stray(conn, catalog)? {
        conn.execute_batch(&format!("drop trigger {}", Ident::new(&trigger)))
            .map_err(Error::sqlite("drop a trigger on a table that is left out"))?;
        left_out.push(table);
    }
    left_out.dedup();
    Ok(left_out)
}

/// Compiles, without running them, the statements that fire the triggers of a table. The update
/// sets everything that can be set, so that it fires those as well that wait for a column.
fn compiles(conn: &Connection, table: &Table) -> Result<(), rusqlite::Error> {
    let name = table.ident();
    conn.prepare(&format!("insert into {name} default values"))?;
    conn.prepare(&format!("delete from {name}"))?;
    let settable = (0..table.columns.len())
        .filter(|column| table.columns[*column].generated.is_none())
        .map(|column| column_name(table, column));
    let assignments: Vec<String> = settable
        .chain(table.rowid_name.map(str::to_owned))
        .map(|column| format!("{column} = {column}"))
        .collect();
    conn.prepare(&format!("update {name} set {}", assignments.join(", ")))?;
    Ok(())
}

/// Removes every trigger and table of ours; `sqlite_schema` is then as it was before.
///
/// Returns how many objects went. A crash leaves all of it or none.
pub fn uninstall(source: &mut Source) -> Result<usize, Error> {
    let doing = "uninstall";
    source.conn.busy_timeout(WRITE_BUSY_MAX).map_err(Error::sqlite(doing))?;
    let outcome = uninstall_in_one_transaction(&mut source.conn);
    super::wait_as_reader(&mut source.conn).map_err(Error::sqlite(doing))?;
    source.schema_version = None;
    outcome
}

fn uninstall_in_one_transaction(conn: &mut Connection) -> Result<usize, Error> {
    let doing = "uninstall";
    let transaction = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(Error::sqlite(doing))?;
    let gone = drop_all(&transaction, doing)?;
    failpoint::hit(failpoint::UNINSTALL_BEFORE_COMMIT);
    transaction.commit().map_err(Error::sqlite(doing))?;
    Ok(gone)
}

/// Drops whatever bears our name: triggers first, so that none is left without its changelog.
fn drop_all(conn: &Connection, doing: &'static str) -> Result<usize, Error> {
    let ours: Vec<(String, String)> = conn
        .prepare(
            "select type, name from sqlite_schema
              where type in ('trigger', 'view', 'table') and substr(name, 1, 9) = ?1
              order by type = 'table', type, name",
        )
        .and_then(|mut statement| {
            statement.query_map([OURS], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
        .map_err(Error::sqlite(doing))?;
    for (kind, name) in &ours {
        conn.execute_batch(&format!("drop {kind} {}", Ident::new(name)))
            .map_err(Error::sqlite(doing))?;
    }
    Ok(ours.len())
}

impl Source {
    /// How many triggers of ours stand, and on how many tables.
    pub fn triggers(&self) -> Result<(i64, i64), Error> {
        let sql = "select count(*), count(distinct tbl_name) from sqlite_schema
                    where type = 'trigger' and substr(name, 1, 9) = ?1";
        let counts = self.conn.query_row(sql, [OURS], |row| Ok((row.get(0)?, row.get(1)?)));
        counts.map_err(Error::sqlite("count the triggers"))
    }
}

/// The triggers of one table, sorted by name.
pub fn render(table: &Table, id: TableId) -> Vec<Trigger> {
    let names = key_names(table.key_width());
    let ident = table.ident().to_string();
    let id = id.0.to_string();
    let (new_key, old_key) = (key_exprs(table, "new."), key_exprs(table, "old."));
    let common = [
        ("table", ident.as_str()),
        ("table_id", id.as_str()),
        ("key_columns", names.as_str()),
        ("new_key", new_key.as_str()),
        ("old_key", old_key.as_str()),
    ];
    let make = |template: &str, action: &str, more: &[(&str, &str)]| {
        // The action first: `a` and `a_collide` are two tables, and no two names may be one.
        let name = format!("{OURS}{action}_{}", table.name);
        let trigger = Ident::new(&name).to_string();
        let mut values = vec![("trigger", trigger.as_str())];
        values.extend_from_slice(&common);
        values.extend_from_slice(more);
        // SQLite stores the two first words in capitals, whatever was written.
        let sql = fill(template, &values).replacen("create trigger", "CREATE TRIGGER", 1);
        Trigger { name, sql }
    };
    let mut triggers = vec![
        make(DELETE, "delete", &[]),
        make(INSERT, "insert", &[]),
        make(
            REKEY,
            "rekey",
            &[
                ("event", &update_of(table, key_columns(table))),
                ("key_changed", &key_changed(table)),
                ("incoming_key", &incoming_key(table)),
            ],
        ),
        make(UPDATE, "update", &[]),
    ];
    for (action, event) in
        [("insert", "insert".to_owned()), ("update", update_of(table, colliding_columns(table)))]
    {
        let statements = collisions(table, action, &common);
        if !statements.is_empty() {
            let action = format!("collide_{action}");
            triggers.push(make(
                COLLIDE,
                &action,
                &[("event", &event), ("statements", &statements)],
            ));
        }
    }
    triggers.sort_by(|one, other| one.name.cmp(&other.name));
    triggers
}

/// Replaces `{{name}}`s in one pass, so that a value is never searched for placeholders, and
/// leaves out the header comment and the final semicolon, as SQLite does.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let body: Vec<&str> =
        template.lines().skip_while(|line| line.starts_with("--") || line.is_empty()).collect();
    let mut rest = body.join("\n");
    let mut filled = String::with_capacity(rest.len() * 2);
    while let Some(start) = rest.find("{{") {
        let end = rest[start..].find("}}").expect("a placeholder is closed") + start;
        let name = &rest[start + 2..end];
        let value = values
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| *value)
            .expect("a template names placeholders that the renderer knows");
        filled.push_str(&rest[..start]);
        filled.push_str(value);
        rest = rest.split_off(end + 2);
    }
    filled.push_str(&rest);
    let trimmed = filled.trim_end();
    if template == COLLIDE_INDEX {
        return trimmed.to_owned();
    }
    trimmed.strip_suffix(';').unwrap_or(trimmed).to_owned()
}

fn key_names(width: usize) -> String {
    (1..=width).map(|column| format!("k{column}")).collect::<Vec<_>>().join(", ")
}

/// The names under which the values of a key can be read, in key order.
fn key_terms(table: &Table) -> Vec<String> {
    match &table.key {
        Key::RowidAlias(column) => vec![column_name(table, *column)],
        Key::Columns(columns) => columns.iter().map(|column| column_name(table, *column)).collect(),
        Key::HiddenRowid => vec![table.rowid_name.unwrap_or("rowid").to_owned()],
    }
}

fn column_name(table: &Table, column: usize) -> String {
    Ident::new(&table.columns[column].name).to_string()
}

fn key_exprs(table: &Table, prefix: &str) -> String {
    key_terms(table).iter().map(|term| format!("{prefix}{term}")).collect::<Vec<_>>().join(", ")
}

/// The event of a trigger that is of use only to an update that says it sets one of `columns`, or
/// the rowid; for most updates SQLite then does not even compile it. Every update where `columns`
/// is `None`.
///
/// The list is compared with the names that the update uses, so the rowid is in it under each of
/// its names: `set rowid = 1` does not name the column that is its alias. An upsert and a cascade
/// name their columns as well.
fn update_of(table: &Table, columns: Option<BTreeSet<usize>>) -> String {
    let Some(columns) = columns else { return "update".to_owned() };
    let mut names: Vec<String> =
        columns.into_iter().map(|column| column_name(table, column)).collect();
    if !table.without_rowid {
        let is_free = |name: &&str| table.column_index(name).is_none();
        names.extend(ROWID_NAMES.into_iter().filter(is_free).map(str::to_owned));
    }
    if names.is_empty() {
        return "update".to_owned();
    }
    format!("update of {}", names.join(", "))
}

/// The columns without which no update moves a row to another key; `None` if others do too.
fn key_columns(table: &Table) -> Option<BTreeSet<usize>> {
    let columns: BTreeSet<usize> = table.key_columns().into_iter().collect();
    columns.iter().all(|column| table.columns[*column].generated.is_none()).then_some(columns)
}

/// The columns without which no update collides with another row; `None` if others do too, because
/// an expression decides what collides: an indexed one, a partial index, a generated column.
fn colliding_columns(table: &Table) -> Option<BTreeSet<usize>> {
    let mut columns: BTreeSet<usize> = table.rowid_alias.into_iter().collect();
    for index in table.indexes.iter().filter(|index| index.unique) {
        if index.predicate.is_some() {
            return None;
        }
        for column in &index.columns {
            match column.term {
                IndexTerm::Column(position) if table.columns[position].generated.is_none() => {
                    columns.insert(position);
                }
                IndexTerm::Rowid => {}
                IndexTerm::Column(_) | IndexTerm::Expr(_) => return None,
            }
        }
    }
    Some(columns)
}

/// The key that a row will have once it is stored.
fn incoming_key(table: &Table) -> String {
    let terms: Vec<String> = match &table.key {
        Key::Columns(columns) => {
            columns.iter().map(|column| incoming_column(table, *column)).collect()
        }
        _ => return key_exprs(table, "new."),
    };
    terms.join(", ")
}

/// Bytewise, so that a change of case under NOCASE counts.
fn key_changed(table: &Table) -> String {
    key_terms(table)
        .iter()
        .map(|term| format!("old.{term} is not new.{term} collate binary"))
        .collect::<Vec<_>>()
        .join(" or ")
}

/// One statement per unique index through which REPLACE could remove a row of another key.
fn collisions(table: &Table, event: &str, common: &[(&str, &str)]) -> String {
    let mut conditions = Vec::new();
    // A rowid given by hand can throw out the row that has it, whatever names the rows.
    if let (Key::Columns(_), Some(rowid), None) = (&table.key, table.rowid_name, table.rowid_alias)
    {
        conditions.push(format!("{rowid} = new.{rowid}"));
    }
    if let (Key::Columns(_), Some(alias)) = (&table.key, table.rowid_alias) {
        let alias = column_name(table, alias);
        conditions.push(format!("{alias} = new.{alias}"));
    }
    for index in table.indexes.iter().filter(|index| index.unique) {
        let names_the_row = index.predicate.is_none()
            && index.columns.iter().all(|column| column.collation.eq_ignore_ascii_case("binary"))
            && index_is_key(table, index);
        if !names_the_row && let Some(condition) = collides(table, index) {
            conditions.push(condition);
        }
    }
    let row_key = key_terms(table).join(", ");
    let mut statements = String::new();
    for condition in conditions {
        let condition = match event {
            "update" => format!("{condition} and {}", not_itself(table)),
            _ => condition,
        };
        let mut values = common.to_vec();
        values.push(("row_key", &row_key));
        values.push(("collides", &condition));
        if !statements.is_empty() {
            statements.push('\n');
        }
        statements.push_str(&fill(COLLIDE_INDEX, &values));
    }
    statements
}

fn index_is_key(table: &Table, index: &crate::table::Index) -> bool {
    let terms: Vec<usize> = index
        .columns
        .iter()
        .filter_map(|column| match column.term {
            IndexTerm::Column(position) => Some(position),
            _ => None,
        })
        .collect();
    terms.len() == index.columns.len() && table.key == Key::Columns(terms)
}

/// True for every row but the one being updated.
fn not_itself(table: &Table) -> String {
    if let Some(rowid) = table.rowid_name {
        return format!("{rowid} <> old.{rowid}");
    }
    let same: Vec<_> = key_terms(table)
        .iter()
        .map(|term| format!("{term} is old.{term} collate binary"))
        .collect();
    format!("not ({})", same.join(" and "))
}

/// The condition under which another row stands in the way on one unique index; `None` where the
/// index's text could not be read (the installer then finds no such index in the plan, and the
/// catalog has listed the table as not captured).
fn collides(table: &Table, index: &crate::table::Index) -> Option<String> {
    let mut condition = String::new();
    for column in &index.columns {
        let (own, new) = match &column.term {
            IndexTerm::Column(position) => {
                (column_name(table, *position), incoming_column(table, *position))
            }
            IndexTerm::Rowid => {
                let rowid = table.rowid_name?;
                (rowid.to_owned(), format!("new.{rowid}"))
            }
            IndexTerm::Expr(expr) => {
                let expr = expr.as_deref()?;
                (format!("({expr})"), incoming_expr(table, expr))
            }
        };
        if !condition.is_empty() {
            condition.push_str(" and ");
        }
        write!(condition, "{own} collate {} = {new}", Ident::new(&column.collation))
            .expect("writing to a string cannot fail");
    }
    if let Some(predicate) = &index.predicate {
        // What the new row says does not matter: too many entries are harmless.
        write!(condition, " and ({predicate})").expect("writing to a string cannot fail");
    }
    Some(condition)
}

/// What a column will hold once the row is stored. REPLACE puts the default in place of a NULL
/// that NOT NULL forbids, after the BEFORE triggers ran.
fn incoming_column(table: &Table, position: usize) -> String {
    let column = &table.columns[position];
    let name = Ident::new(&column.name);
    if let Some(expr) = column.generated.as_ref().and_then(|generated| generated.expr.as_deref())
        && mentioned(table, expr).iter().any(|position| replaced_null(table, *position).is_some())
    {
        return incoming_expr(table, expr);
    }
    match replaced_null(table, position) {
        Some(default) => format!("coalesce(new.{name}, {default})"),
        None => format!("new.{name}"),
    }
}

/// An expression over the incoming row: its columns are offered under their own names by a
/// one-row subquery, so the expression stands as it was written.
fn incoming_expr(table: &Table, expr: &str) -> String {
    let columns: Vec<String> = mentioned(table, expr)
        .into_iter()
        .map(|position| {
            format!("{} as {}", incoming_column(table, position), column_name(table, position))
        })
        .collect();
    if columns.is_empty() {
        return format!("({expr})");
    }
    format!("(select {expr} from (select {}) as {})", columns.join(", "), table.ident())
}

/// The columns whose names occur in an expression. One too many is harmless.
fn mentioned(table: &Table, expr: &str) -> Vec<usize> {
    let lower = expr.to_lowercase();
    let is_word =
        |character: char| character.is_alphanumeric() || character == '_' || character == '$';
    let occurs = |name: &str| {
        lower.match_indices(name).any(|(start, found)| {
            let before = lower[..start].chars().next_back();
            let after = lower[start + found.len()..].chars().next();
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        })
    };
    (0..table.columns.len())
        .filter(|position| {
            let name = table.columns[*position].name.to_lowercase();
            occurs(&name) || occurs(&name.replace('"', "\"\""))
        })
        .collect()
}

/// The default that stands in for NULL under REPLACE, as an expression, if the column has one.
fn replaced_null(table: &Table, position: usize) -> Option<String> {
    let column = &table.columns[position];
    if !column.not_null {
        return None;
    }
    let default = column.default.as_deref()?.trim();
    if let Some(quoted) = default.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        return Some(Literal(&quoted.replace("\"\"", "\"")).to_string());
    }
    // A bare word is a string to DEFAULT and a column to any other expression.
    const WORDS: [&str; 6] =
        ["null", "true", "false", "current_timestamp", "current_date", "current_time"];
    let is_bare = default.starts_with(|first: char| first.is_alphabetic() || first == '_')
        && default.chars().all(|character| character.is_alphanumeric() || character == '_');
    if is_bare && !WORDS.contains(&default.to_ascii_lowercase().as_str()) {
        return Some(Literal(default).to_string());
    }
    Some(format!("({default})"))
}
