//! Capture completeness: every key whose row differs after a commit is in the changelog.
//!
//! SQLite alone. Random statements run on a file with an installed changelog; all rows are
//! compared before and after every committed transaction, and the entries of that transaction
//! must name every row that differs. More entries are allowed, fewer never; what was rolled back
//! leaves none. How the product names the rows of a table is not assumed: of all ways that the
//! contract allows, one must hold from the first transaction to the last.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::Command;

use rusqlite::Connection;

use crate::generator::dice::Dice;
use crate::generator::features::Features;
use crate::generator::schema::Schema;
use crate::generator::session::{Event, Session};
use crate::generator::snapshot::{Cell, Row, Snapshot, cell};
use crate::random::{SeedOnPanic, number_from_env, schema_seed};

/// Statements on one schema.
const STATEMENTS_PER_SCHEMA: u64 = 1_500;

/// The ways in which the rows of one table may be named: places in a snapshot's row.
type Candidates = Vec<Vec<usize>>;

/// The columns of the rows with one key, before and after.
type Sides<'a> = (Vec<&'a [Cell]>, Vec<&'a [Cell]>);

/// Holds the changelog against the rows.
struct Coverage<'a> {
    schema: &'a Schema,
    candidates: Vec<Candidates>,
    /// The newest entry at the last commit.
    newest: i64,
    /// The newest entry when each savepoint was opened.
    savepoints: HashMap<&'static str, i64>,
    /// How many columns k1, k2, … the changelog has.
    key_columns: i64,
    /// Rows that differed and were named.
    covered: u64,
}

impl<'a> Coverage<'a> {
    fn new(schema: &'a Schema, connection: &Connection) -> Result<Self, String> {
        let mut candidates = Vec::new();
        for table in &schema.tables {
            candidates.push(candidates_of(connection, &table.name)?);
        }
        let key_columns = connection
            .query_row(
                "select count(*) from pragma_table_info('_lite2pg_changelog') \
                 where name glob 'k[0-9]*'",
                [],
                |row| row.get(0),
            )
            .map_err(|error| error.to_string())?;
        let newest = newest(connection)?;
        let savepoints = HashMap::new();
        Ok(Self { schema, candidates, newest, savepoints, key_columns, covered: 0 })
    }

    fn check(&mut self, connection: &Connection, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::Savepoint(name) => {
                self.savepoints.insert(name, newest(connection)?);
            }
            Event::RolledBackTo(name) => {
                let now = newest(connection)?;
                if now != self.savepoints[name] {
                    return Err(format!("ROLLBACK TO {name} left entries up to {now}"));
                }
            }
            Event::RolledBack => {
                let now = newest(connection)?;
                if now != self.newest {
                    return Err(format!("a rollback moved the changelog {} to {now}", self.newest));
                }
            }
            Event::Committed { before, after } => {
                if before != after {
                    self.check_commit(connection, before, after)?;
                }
                self.newest = newest(connection)?;
            }
        }
        Ok(())
    }

    fn check_commit(
        &mut self,
        connection: &Connection,
        before: &Snapshot,
        after: &Snapshot,
    ) -> Result<(), String> {
        let entries = self.entries(connection)?;
        for (at, table) in self.schema.tables.iter().enumerate() {
            let (before, after) = (&before.tables[at], &after.tables[at]);
            if before == after {
                continue;
            }
            let none = HashSet::new();
            let named = entries.get(table.name.as_str()).unwrap_or(&none);
            let mut missed = None;
            let mut differing = 0;
            self.candidates[at].retain(|candidate| {
                let keys = differing_keys(candidate, before, after);
                differing = keys.len() as u64;
                match keys.into_iter().find(|key| !is_named(key, named)) {
                    Some(key) => {
                        missed = Some(key);
                        false
                    }
                    None => true,
                }
            });
            self.covered += differing;
            if self.candidates[at].is_empty() {
                return Err(format!(
                    "table {:?}: no entry names the row with key {:?}; entries: {named:?}",
                    table.name,
                    missed.map(|key| shown(&key))
                ));
            }
        }
        Ok(())
    }

    /// The keys named by entries since the last commit, by table.
    fn entries(
        &self,
        connection: &Connection,
    ) -> Result<HashMap<String, HashSet<Vec<Cell>>>, String> {
        let keys: Vec<String> = (1..=self.key_columns).map(|at| format!("k{at}")).collect();
        let sql = format!(
            "select t.name, {} from _lite2pg_changelog c \
             left join _lite2pg_tables t on t.id = c.tbl where ?1 < c.seq",
            keys.join(", ")
        );
        let read = || -> rusqlite::Result<HashMap<String, HashSet<Vec<Cell>>>> {
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([self.newest])?;
            let mut entries: HashMap<String, HashSet<Vec<Cell>>> = HashMap::new();
            while let Some(row) = rows.next()? {
                let name: String = row.get(0)?;
                let mut key = Vec::new();
                for column in &keys {
                    key.push(cell(row.get_ref(column.as_str())?));
                }
                entries.entry(name).or_default().insert(key);
            }
            Ok(entries)
        };
        read().map_err(|error| format!("{error}: {sql}"))
    }
}

/// The keys under which the rows differ.
fn differing_keys(candidate: &[usize], before: &[Row], after: &[Row]) -> Vec<Vec<Cell>> {
    let mut rows: HashMap<Vec<&Cell>, Sides<'_>> = HashMap::new();
    for row in before {
        rows.entry(candidate.iter().map(|at| &row[*at]).collect()).or_default().0.push(&row[1..]);
    }
    for row in after {
        rows.entry(candidate.iter().map(|at| &row[*at]).collect()).or_default().1.push(&row[1..]);
    }
    rows.into_iter()
        .filter(|(_, (before, after))| before != after)
        .map(|(key, _)| key.into_iter().cloned().collect())
        .collect()
}

/// An entry names a key if its first columns are the key, bytewise, and the rest is NULL.
fn is_named(key: &[Cell], named: &HashSet<Vec<Cell>>) -> bool {
    named.iter().any(|entry| {
        entry.len() >= key.len()
            && entry[..key.len()] == *key
            && entry[key.len()..].iter().all(|cell| *cell == b"n")
    })
}

fn shown(key: &[Cell]) -> Vec<String> {
    key.iter()
        .map(|cell| match <[u8; 8]>::try_from(&cell[1..]) {
            Ok(bytes) if cell[0] == b'i' => i64::from_be_bytes(bytes).to_string(),
            _ => format!("{:?}", String::from_utf8_lossy(cell)),
        })
        .collect()
}

fn newest(connection: &Connection) -> Result<i64, String> {
    connection
        .query_row("select coalesce(max(seq), 0) from _lite2pg_changelog", [], |row| row.get(0))
        .map_err(|error| error.to_string())
}

/// Every way in which the contract lets the rows of a table be named: the rowid or its alias, and
/// each full unique index over columns that can hold no NULL, and the PRIMARY KEY even if it can:
/// an entry with NULL in it makes the sidecar name the table's rows by rowid from then on.
fn candidates_of(connection: &Connection, table: &str) -> Result<Candidates, String> {
    let read = || -> rusqlite::Result<Candidates> {
        let mut candidates = Vec::new();
        let without: bool = connection.query_row(
            "select wr from pragma_table_list where schema = 'main' and name = ?1",
            [table],
            |row| row.get(0),
        )?;
        if !without {
            candidates.push(vec![0]);
        }
        // Columns count from 0 and follow the rowid in a snapshot's row.
        let mut indexes = connection.prepare(
            "select group_concat(x.cid + 1) from pragma_index_list(?1) l, \
             pragma_index_xinfo(l.name) x where l.\"unique\" and not l.partial and x.key \
             group by l.name \
             having min(x.cid) >= 0 and min(exists (select 1 from pragma_table_xinfo(?1) c \
             where c.cid = x.cid and (c.\"notnull\" or ?2 or l.origin = 'pk')))",
        )?;
        let mut rows = indexes.query(rusqlite::params![table, without])?;
        while let Some(row) = rows.next()? {
            let list: String = row.get(0)?;
            candidates.push(
                list.split(',').map(|at| at.parse().expect("SQLite wrote a number")).collect(),
            );
        }
        Ok(candidates)
    };
    read().map_err(|error| format!("{error}: keys of {table}"))
}

/// Runs random statements on one schema, after `install` has done its part.
fn check_schema(
    seed: u64,
    statements: u64,
    install: &dyn Fn(&Path, &Schema) -> Result<(), String>,
) -> Result<(Features, u64), String> {
    let _replay = SeedOnPanic(seed);
    let directory = tempfile::tempdir().expect("the temporary directory is writable");
    let file = directory.path().join("source.db");
    let mut dice = Dice::new(seed);
    let schema = Schema::random(&mut dice);
    let journal = dice.pick(&["wal", "delete"]);
    let mut session = Session::create(&file, &schema, journal)?;
    session.run(statements / 10, &mut dice, &mut |_, _| Ok(()))?;
    let report = |what: String, history: String| {
        format!(
            "{what}\nseed {seed}, schema:\n{};\nlast statements:\n{history}\nreplay: \
             LITE2PG_SEED={seed} LITE2PG_CAPTURE_STATEMENTS={statements} \
             cargo test --test it every_changed_row -- --nocapture",
            schema.ddl.join(";\n")
        )
    };
    install(&file, &schema).map_err(|error| report(error, String::new()))?;
    let mut coverage = Coverage::new(&schema, session.connection())?;
    session
        .run(statements, &mut dice, &mut |connection, event| coverage.check(connection, event))
        .map_err(|error| report(error, session.history()))?;
    Ok((session.features, coverage.covered))
}

/// Runs the product, which must succeed.
fn lite2pg(arguments: &[&str], file: &Path) -> Result<(), String> {
    let output = Command::new(env!("CARGO_BIN_EXE_lite2pg"))
        .args(arguments)
        .arg("--source")
        .arg(file)
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let talk = String::from_utf8_lossy(&output.stderr);
    Err(format!("lite2pg {arguments:?} ended with {}: {talk}", output.status))
}

/// Invariant: for each committed transaction, the changelog names every row that differs.
#[test]
fn every_changed_row_is_named_in_the_changelog() {
    let statements = number_from_env("LITE2PG_CAPTURE_STATEMENTS", 60_000);
    let install = |file: &Path, _: &Schema| lite2pg(&["install"], file);
    let mut features = Features::default();
    let mut covered = 0;
    let mut at = 0;
    while features.statements < statements {
        let some = STATEMENTS_PER_SCHEMA.min(statements);
        let (more, rows) = check_schema(schema_seed(at), some, &install)
            .unwrap_or_else(|failure| panic!("{failure}"));
        features.add(&more);
        covered += rows;
        at += 1;
    }
    println!("{features}\n{covered:>10}  changed rows, every one named, on {at} schemas");
    if 60_000 <= statements {
        features.assert_all_nonzero();
    }
}

/// REPLACE may remove the row that has the new key, and a cascade from there the very row that is
/// being updated: then no AFTER trigger fires, and still both keys must be named.
#[test]
fn a_row_removed_by_the_cascade_of_its_own_update_is_named() {
    let directory = tempfile::tempdir().expect("the temporary directory is writable");
    let file = directory.path().join("source.db");
    let connection = Connection::open(&file).expect("the directory is writable");
    connection
        .execute_batch(
            "pragma foreign_keys = on;
             create table t (id integer primary key, parent references t (id) on delete cascade);
             insert into t values (6, null), (2, 6);",
        )
        .expect("the schema is valid");
    lite2pg(&["install"], &file).unwrap_or_else(|error| panic!("{error}"));
    connection.execute_batch("update or replace t set id = 6 where id = 2").expect("it is valid");
    let rows: i64 = connection
        .query_row("select count(*) from t", [], |row| row.get(0))
        .expect("the table is there");
    assert_eq!(rows, 0, "the cascade took both rows");
    let named: String = connection
        .query_row(
            "select group_concat(k1) from (select distinct k1 from _lite2pg_changelog
              where tbl <> 0 order by k1)",
            [],
            |row| row.get(0),
        )
        .expect("there are entries");
    assert_eq!(named, "2,6");
}

/// Schema with two rows of `t`, an update, the keys of `t` that it moves or removes.
const WAYS_TO_NAME_A_COLUMN: &[(&str, &str, &str)] = &[
    (PLAIN, "update t set ID = 9 where id = 2", "2,9"),
    (PLAIN, "update t set rowid = 9 where id = 2", "2,9"),
    (PLAIN, "update t set \"OID\" = 9 where id = 2", "2,9"),
    (PLAIN, "update t set _rowid_ = 9 where id = 2", "2,9"),
    (PLAIN, "update t set (a, id) = (0, 9) where id = 2", "2,9"),
    (PLAIN, "update t set a = x.n, id = x.n from (select 9 n) x where id = 2", "2,9"),
    (PLAIN, "insert into t values (2, 0) on conflict (id) do update set rowid = 9", "2,9"),
    (PLAIN, "update or replace t set oid = 1 where id = 2", "1,2"),
    (
        "create table t (a); insert into t values (1), (2)",
        "update t set oid = 9 where a = 2",
        "2,9",
    ),
    (
        "create table t (oid primary key not null, a); insert into t values (1, 1), (2, 2)",
        "update t set oid = 9 where a = 2",
        "2,9",
    ),
    (
        "create table t (k text primary key not null, a); insert into t values ('1', 1), ('2', 2)",
        "update or replace t set rowid = 1 where a = 2",
        "1,2",
    ),
    (
        "pragma foreign_keys = on; create table p (id integer primary key);
         create table t (k primary key not null references p on update cascade);
         insert into p values (1), (2); insert into t values (1), (2)",
        "update p set rowid = 9 where id = 2",
        "2,9",
    ),
    (
        "create table t (a, k int as (a + 0) stored not null unique);
         insert into t values (1), (2)",
        "update t set a = 9 where a = 2",
        "2",
    ),
    (UNIQUE, "update or replace t set U = 'a' where id = 2", "1,2"),
    (UNIQUE, "update or replace t set u = null where id = 2", "1,2"),
    (
        "create table t (id integer primary key, u, a); insert into t values (1, 0, 1), (2, 0, 0);
         create unique index x on t (u) where a > 0",
        "update or replace t set a = 1 where id = 2",
        "1,2",
    ),
    (
        "create table t (id integer primary key, a); insert into t values (1, 1), (2, 2);
         create unique index x on t (abs(a))",
        "update or replace t set a = -1 where id = 2",
        "1,2",
    ),
    (
        "create table t (id integer primary key, a, g as (a / 2) unique);
         insert into t values (1, 1), (2, 2)",
        "update or replace t set a = 0 where id = 2",
        "1,2",
    ),
    (
        "create table t (a, b, u unique, primary key (a, b)) without rowid;
         insert into t values (1, 1, 1), (2, 1, 2)",
        "update or replace t set u = 1 where a = 2",
        "1,2",
    ),
];

const PLAIN: &str =
    "create table t (id integer primary key, a); insert into t values (1, 1), (2, 2)";
const UNIQUE: &str = "create table t (id integer primary key, u not null default 'a' unique);
                      insert into t values (1, 'a'), (2, 'b')";

/// The BEFORE triggers look at an update only if it says that it sets a column that matters, and
/// there are many ways to say so.
#[test]
fn an_update_is_seen_under_whatever_name_it_sets_a_key_or_a_unique_column() {
    for (schema, update, keys) in WAYS_TO_NAME_A_COLUMN {
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        let file = directory.path().join("source.db");
        let connection = Connection::open(&file).expect("the directory is writable");
        connection.execute_batch(schema).expect("the schema is valid");
        lite2pg(&["install"], &file).unwrap_or_else(|error| panic!("{error}"));
        connection.execute_batch(update).expect("the update is valid");
        let named: String = connection
            .query_row(
                "select group_concat(k1) from (select distinct k1 from _lite2pg_changelog
                  where tbl = (select id from _lite2pg_tables where name = 't') order by k1)",
                [],
                |row| row.get(0),
            )
            .expect("there are entries");
        assert_eq!(named, *keys, "{schema}; {update}");
    }
}

/// A renamed column is renamed in our triggers too, so that they stay what is wanted.
#[test]
fn a_renamed_column_of_the_key_is_still_seen() {
    let directory = tempfile::tempdir().expect("the temporary directory is writable");
    let file = directory.path().join("source.db");
    let connection = Connection::open(&file).expect("the directory is writable");
    connection
        .execute_batch(
            "create table t (k int primary key not null, u unique);
             insert into t values (1, 'a'), (2, 'b')",
        )
        .expect("the schema is valid");
    lite2pg(&["install"], &file).unwrap_or_else(|error| panic!("{error}"));
    connection
        .execute_batch(
            "alter table t rename column k to name; alter table t rename column u to v;
             alter table t add column w; alter table t drop column w",
        )
        .expect("our triggers are in nobody's way");
    let renamed = catalog(&connection);
    lite2pg(&["install"], &file).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(catalog(&connection), renamed, "nothing was to be made anew");
    connection
        .execute_batch("update or replace t set v = 'a', name = 9 where name = 2")
        .expect("the update is valid");
    let named: String = connection
        .query_row(
            "select group_concat(k1) from (select distinct k1 from _lite2pg_changelog
              where tbl <> 0 order by k1)",
            [],
            |row| row.get(0),
        )
        .expect("there are entries");
    assert_eq!(named, "1,2,9");
}

/// What `install` adds, `uninstall` takes away again, to the last byte of the schema.
#[test]
fn uninstall_leaves_the_schema_as_it_was() {
    for at in 0..20 {
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        let file = directory.path().join("source.db");
        let seed = schema_seed(at);
        let mut dice = Dice::new(seed);
        let schema = Schema::random(&mut dice);
        let mut session = Session::create(&file, &schema, "wal").expect("the schema is valid");
        session.run(50, &mut dice, &mut |_, _| Ok(())).expect("statements are valid");
        let before = catalog(session.connection());
        lite2pg(&["install"], &file).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        session.run(50, &mut dice, &mut |_, _| Ok(())).expect("statements are still valid");
        assert_ne!(catalog(session.connection()), before, "seed {seed}: nothing was installed");
        lite2pg(&["uninstall"], &file).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(catalog(session.connection()), before, "seed {seed}");
        session.run(50, &mut dice, &mut |_, _| Ok(())).expect("statements go on");
    }
}

fn catalog(connection: &Connection) -> Vec<Vec<Cell>> {
    let mut statement =
        connection.prepare("select * from sqlite_master").expect("every file has a schema");
    let width = statement.column_count();
    let mut rows = statement.query([]).expect("every file has a schema");
    let mut catalog = Vec::new();
    while let Some(row) = rows.next().expect("the schema can be read") {
        catalog.push((0..width).map(|at| cell(row.get_ref(at).expect("selected"))).collect());
    }
    catalog
}

mod tests {
    use super::*;
    use crate::generator::schema::quoted;

    const CHANGELOG: &str = "
        create table _lite2pg_changelog (seq integer primary key, tbl, op, at, token, k1, k2, k3);
        create table _lite2pg_tables (id integer primary key, name);";

    /// A changelog by brute force: each trigger logs every key of its table. It cannot miss.
    fn install_everything(file: &Path, schema: &Schema) -> Result<(), String> {
        let mut script = CHANGELOG.to_string();
        for (at, table) in schema.tables.iter().enumerate() {
            let name = table.sql();
            let (key, count) = match table.rowid {
                Some(rowid) => (rowid.to_string(), 1),
                None => (table.list(&table.key), table.key.len()),
            };
            let into: Vec<String> = (1..=count).map(|at| format!("k{at}")).collect();
            let into = into.join(", ");
            let literal = table.name.replace('\'', "''");
            script.push_str(&format!("insert into _lite2pg_tables values ({at}, '{literal}');\n"));
            for (timing, when) in [("before", "BEFORE"), ("after", "AFTER")] {
                for event in ["INSERT", "UPDATE", "DELETE"] {
                    script.push_str(&format!(
                        "create trigger _lite2pg_{timing}_{event}_{at} {when} {event} on {name} \
                         begin insert into _lite2pg_changelog(tbl, {into}) \
                         select {at}, {key} from {name}; end;\n"
                    ));
                }
            }
        }
        apply(file, &script)
    }

    /// The obvious triggers, which do not see what REPLACE removes.
    fn install_after_triggers_only(file: &Path, schema: &Schema) -> Result<(), String> {
        let mut script = CHANGELOG.to_string();
        for (at, table) in schema.tables.iter().enumerate() {
            let literal = table.name.replace('\'', "''");
            script.push_str(&format!("insert into _lite2pg_tables values ({at}, '{literal}');\n"));
            let keys: Vec<String> = match table.rowid {
                Some(rowid) => vec![rowid.to_string()],
                None => table.key.iter().map(|at| table.column(*at)).collect(),
            };
            let into: Vec<String> = (1..=keys.len()).map(|at| format!("k{at}")).collect();
            for (event, sides) in
                [("INSERT", &["NEW"][..]), ("UPDATE", &["OLD", "NEW"]), ("DELETE", &["OLD"])]
            {
                script.push_str(&format!(
                    "create trigger _lite2pg_{event}_{at} after {event} on {} begin ",
                    quoted(&table.name)
                ));
                for side in sides {
                    let values: Vec<String> =
                        keys.iter().map(|key| format!("{side}.{key}")).collect();
                    script.push_str(&format!(
                        "insert into _lite2pg_changelog(tbl, {}) values ({at}, {}); ",
                        into.join(", "),
                        values.join(", ")
                    ));
                }
                script.push_str("end;\n");
            }
        }
        apply(file, &script)
    }

    fn apply(file: &Path, script: &str) -> Result<(), String> {
        Connection::open(file)
            .and_then(|connection| connection.execute_batch(script))
            .map_err(|error| format!("{error}: {script}"))
    }

    #[test]
    fn a_changelog_that_cannot_miss_passes() {
        for at in 0..6 {
            let (_, covered) = check_schema(schema_seed(at), 600, &install_everything)
                .unwrap_or_else(|failure| panic!("{failure}"));
            assert!(100 < covered, "only {covered} rows changed");
        }
    }

    #[test]
    fn what_replace_removes_unseen_is_found() {
        let found = (0..6).filter(|at| {
            let result = check_schema(schema_seed(*at), 1_000, &install_after_triggers_only);
            result.is_err_and(|failure| failure.contains("no entry names the row"))
        });
        assert_eq!(found.count(), 6, "a changelog with holes passed");
    }
}
