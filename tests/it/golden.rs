//! What the product writes for people and into databases, held against files in tests/golden/.
//!
//! A change of any of it is then seen in review, word for word. `LITE2PG_BLESS=1` rewrites the
//! files; the diff is for the eyes of the person who commits it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lite2pg::source::{Source, triggers};
use rusqlite::Connection;

use crate::support::database::TestDatabase;

/// The top of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Holds `text` against a file of the repository, or rewrites the file if asked to.
pub fn assert_same(path: &Path, text: &str) {
    if std::env::var_os("LITE2PG_BLESS").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().expect("a file has a directory"))
            .expect("create the directory");
        return std::fs::write(path, text).expect("rewrite the file");
    }
    let shown = path.strip_prefix(root()).unwrap_or(path).display();
    let wanted = std::fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("{shown}: {error}; LITE2PG_BLESS=1 writes it"));
    if wanted == text {
        return;
    }
    let differs = wanted.lines().zip(text.lines()).position(|(one, other)| one != other);
    let line = differs.unwrap_or(wanted.lines().count().min(text.lines().count()));
    panic!(
        "{shown} differs from line {}:\n  file: {:?}\n  now:  {:?}\nLITE2PG_BLESS=1 rewrites it; \
         then read the diff",
        line + 1,
        wanted.lines().nth(line),
        text.lines().nth(line),
    );
}

fn golden(name: &str) -> PathBuf {
    root().join("tests/golden").join(name)
}

/// The product with nothing of this process's environment, in a directory of its own.
pub fn lite2pg(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lite2pg"))
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .env("HOME", directory)
        .output()
        .expect("run lite2pg")
}

/// What it printed, after it ended with `code`.
pub fn stdout(output: &Output, code: i32) -> String {
    let talk = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{talk}");
    String::from_utf8(output.stdout.clone()).expect("it prints UTF-8")
}

/// Makes a database file in `directory`.
pub fn database(directory: &Path, name: &str, script: &str) -> PathBuf {
    let path = directory.join(name);
    let conn = Connection::open(&path).expect("make a database");
    conn.execute_batch(script).unwrap_or_else(|error| panic!("{error}: {script}"));
    path
}

/// Every way in which a table can name its rows, and every way in which REPLACE can remove one.
const SHAPES: &[(&str, &str)] = &[
    ("rowid_alias", "create table t (id integer primary key, a)"),
    ("text_key", "create table t (a text primary key, b)"),
    (
        "text_key_that_held_null",
        "create table t (a text primary key, b); insert into t values (null, 1)",
    ),
    ("nocase_key", "create table t (a text collate nocase not null primary key, b)"),
    ("composite_key", "create table t (a not null, b not null, c, primary key (b, a))"),
    ("without_rowid", "create table t (a text, b integer, c, primary key (a, b)) without rowid"),
    ("unique_not_null", "create table t (a, b integer not null unique, c)"),
    ("no_key", "create table t (a, b)"),
    ("no_key_and_rowid_shadowed", "create table t (rowid, a)"),
    (
        "unique_beside_the_key",
        "create table t (id integer primary key, a text unique collate nocase)",
    ),
    ("unique_without_rowid", "create table t (a text primary key, b unique) without rowid"),
    (
        "unique_partial",
        "create table t (id integer primary key, a, b);
         create unique index i on t (a) where b is null",
    ),
    (
        "unique_expression",
        "create table t (id integer primary key, a text, b);
         create unique index i on t (lower(a), b desc)",
    ),
    (
        "unique_not_null_default",
        "create table t (id integer primary key, a text not null default 'x', unique (a))",
    ),
    (
        "unique_generated",
        "create table t (id integer primary key, a integer not null default 7, b as (a * 2),
         unique (b))",
    ),
    (
        "odd_names",
        "create table \"a \"\"b\"\" c\" (\"select\" integer primary key, \"it's\" unique)",
    ),
];

#[test]
fn triggers_are_as_reviewed_for_every_shape_of_key() {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, script) in SHAPES {
        let path = database(directory.path(), &format!("{name}.db"), script);
        let mut source = Source::open(&path).expect("open the source");
        let survey = source.survey().expect("survey");
        assert_eq!(survey.catalog.skipped, [], "{name}");
        triggers::install(&mut source, &survey.catalog, None).expect("install");
        let conn = Connection::open(&path).expect("open");
        let stored: Vec<String> = conn
            .prepare(
                "select sql from sqlite_schema where substr(name, 1, 9) = '_lite2pg_'
                  order by type, name",
            )
            .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
            .expect("read what was installed");
        let text = format!("-- {};\n\n{};\n", script.replace('\n', "\n-- "), stored.join(";\n\n"));
        assert_same(&golden(&format!("triggers/{name}.sql")), &text);
    }
    let mut wanted: Vec<String> = SHAPES.iter().map(|(name, _)| format!("{name}.sql")).collect();
    wanted.sort();
    assert_eq!(names_in(&golden("triggers")), wanted, "none is left over");
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("read a directory");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("read an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn schema_prints_what_was_reviewed_for_every_orm() {
    let directory = tempfile::tempdir().expect("a directory");
    let schemas = root().join("tests/schemas");
    for file in names_in(&schemas) {
        let script = std::fs::read_to_string(schemas.join(&file)).expect("read a schema");
        database(directory.path(), &format!("{file}.db"), &script);
        let source = format!("{file}.db");
        let printed = lite2pg(directory.path(), &["schema", "--source", &source, "--log", "warn"]);
        assert_same(&golden(&format!("schema/{file}")), &stdout(&printed, 0));
    }
    assert_eq!(names_in(&golden("schema")), names_in(&schemas), "none is left over");
}

#[test]
fn help_texts_are_as_reviewed() {
    let directory = tempfile::tempdir().expect("a directory");
    for command in commands() {
        let arguments: Vec<&str> = command.split(' ').filter(|word| !word.is_empty()).collect();
        let printed = lite2pg(directory.path(), &[&arguments[..], &["--help"]].concat());
        let name = if command.is_empty() { "lite2pg" } else { &command };
        let text: String =
            stdout(&printed, 0).lines().map(|line| format!("{}\n", line.trim_end())).collect();
        assert_same(&golden(&format!("help/{name}.txt")), &text);
    }
}

/// The subcommands that people see; the first is the program itself.
pub fn commands() -> Vec<String> {
    use clap::CommandFactory as _;
    let program = lite2pg::cli::Cli::command();
    let visible = program.get_subcommands().filter(|command| !command.is_hide_set());
    std::iter::once(String::new())
        .chain(visible.map(|command| command.get_name().to_owned()))
        .collect()
}

/// A small shop, with something in each list that `status` shows.
const SHOP: &str = "
    create table customers (id integer primary key, email text unique);
    create table orders (id integer primary key, customer integer references customers, note text);
    create index orders_by_customer on orders (customer);
    create view notes as select note from orders;
    create view newest as select id from orders order by id desc limit 1;
    create trigger orders_keep before delete on orders begin select raise(abort, 'kept'); end;
    insert into customers values (1, 'ann@example.org');
    insert into orders values (1, 1, 'fits'), (2, 1, cast(x'610062' as text));
";

#[test]
fn status_has_the_shape_that_is_documented() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    let target = TestDatabase::create();
    let path = database(directory, "shop.db", SHOP);
    let call = |words: &[&str]| {
        let named = ["--source", "shop.db", "--target", target.url(), "--log", "error"];
        lite2pg(directory, &[words, &named[..]].concat())
    };
    let begun = redacted(&stdout(&call(&["status", "--json"]), 0));
    assert_same(&golden("status/not_begun.json"), &begun);
    stdout(&call(&["run", "--until-caught-up"]), 0);
    // A column that is added on the target is an incident.
    let conn = Connection::open(&path).expect("open");
    conn.execute_batch("alter table customers add column name text").expect("alter");
    stdout(&call(&["run", "--until-caught-up"]), 0);
    // A row is in quarantine, so the two sides are not equal.
    stdout(&call(&["verify"]), 1);
    conn.execute_batch("insert into customers (id) values (2)").expect("insert");
    let read = redacted(&stdout(&call(&["status", "--json"]), 0));
    assert_same(&golden("status/behind.json"), &read);
    let read = redacted(&stdout(&call(&["status"]), 0));
    assert_same(&golden("status/behind.txt"), &read);
    stdout(&call(&["run", "--until-caught-up"]), 0);
    let read = redacted(&stdout(&call(&["status"]), 0));
    assert_same(&golden("status/in_step.txt"), &read);
    conn.execute_batch("delete from _lite2pg_changelog").expect("empty the changelog");
    let read = redacted(&stdout(&call(&["status"]), 0));
    assert_same(&golden("status/went_back.txt"), &read);
    stdout(&lite2pg(directory, &["uninstall", "--source", "shop.db"]), 0);
    let read = redacted(&stdout(&call(&["status"]), 0));
    assert_same(&golden("status/uninstalled.txt"), &read);
}

/// Replaces what differs from run to run: identity, times and durations.
fn redacted(text: &str) -> String {
    let replaced = text.lines().map(|line| {
        let line = match line.split_once("\"source_id\": ") {
            Some((before, _)) => format!("{before}\"source_id\": \"(a UUID)\","),
            None => line.to_owned(),
        };
        let line = match line.split_once("\"lag_ms\": ") {
            Some((before, number)) if number != "0," => {
                format!("{before}\"lag_ms\": (milliseconds),")
            }
            _ => line,
        };
        let line = match line.split_once("were compared at ") {
            Some((before, after)) => {
                let after = after.split_once(": ").map_or(after, |(_, after)| after);
                format!("{before}were compared at (a time): {after}")
            }
            None => line,
        };
        let line = match line.split_once("\"last_verify\": \"") {
            Some((before, _)) => format!("{before}\"last_verify\": \"(a time)\","),
            None => line,
        };
        let line = match line.split_once(", read since ") {
            Some((before, _)) => format!("{before}, read since (a time)"),
            None => line,
        };
        let line = match line.split_once("\"read_at\": \"") {
            Some((before, _)) => format!("{before}\"read_at\": \"(a time)\""),
            None => line,
        };
        let line = match line.split_once("\"at\": ") {
            Some((before, _)) => format!("{before}\"at\": \"(a time)\","),
            None => line,
        };
        let line = match line.split_once("\"last_at\": ") {
            Some((before, _)) => format!("{before}\"last_at\": \"(a time)\","),
            None => line,
        };
        match (line.split_once("changes, "), line.split_once("incident ")) {
            (Some((before, after)), _) => {
                let after = after.split_once(" s, ").map_or(after, |(_, after)| after);
                format!("{before}changes, (seconds) s, {after}")
            }
            (None, Some((before, after))) => {
                let after = after.split_once(": ").map_or(after, |(_, after)| after);
                format!("{before}incident (a time): {after}")
            }
            (None, None) => line,
        }
    });
    replaced.map(|line| format!("{line}\n")).collect()
}
