//! Rows that the target refuses: set aside with their reason, counted, and taken back in.

use std::path::Path;

use serde_json::json;

use crate::judge;
use crate::support::pair::Pair;
use crate::support::scene::await_on_target;
use crate::support::sidecar::LIMIT;

/// More rows than one read of the backlog takes.
const BACKLOG_ROWS: u32 = 45_000;

/// Two names in a table, in step.
fn two_people() -> Pair {
    let pair = Pair::with(
        "create table person(id integer primary key, name text);
         create table filler(id integer primary key, n integer);
         insert into person values (1, 'Ada'), (2, 'Brian')",
    );
    pair.catch_up("").expect_code(0);
    pair
}

fn catch_up(pair: &Pair, arguments: &[&str]) {
    pair.call("run", "").arg("--until-caught-up").args(arguments).finish().expect_code(0);
}

fn quarantined(pair: &Pair) -> i64 {
    pair.status()["quarantined"].as_i64().expect("a number")
}

/// How many rows the target lacks or has otherwise.
fn differences(pair: &Pair) -> u64 {
    match judge::compare(Path::new(&pair.file()), &pair.database.url, "public") {
        Ok(_) => 0,
        Err(found) => found.total,
    }
}

/// Two rows of the same name, with a long backlog between them, and a target that forbids it.
fn refuse_a_second_ada(pair: &Pair) {
    pair.target().run("create unique index one_of_each on public.person(name)");
    pair.write(&format!(
        "update person set name = 'Ada' where id = 2;
         with recursive many(n) as (values (1) union all select n + 1 from many
                                     where n < {BACKLOG_ROWS})
         insert into filler select n, n from many"
    ));
}

#[test]
fn a_row_that_an_index_of_the_target_alone_forbids_is_set_aside_and_the_rest_goes_on() {
    let pair = two_people();
    refuse_a_second_ada(&pair);
    catch_up(&pair, &[]);
    assert_eq!(quarantined(&pair), 1);
    assert_eq!(differences(&pair), 1, "all but the row in quarantine is equal");
}

#[test]
fn a_row_in_the_way_is_not_lost_when_the_backlog_outlasts_a_transaction() {
    let pair = two_people();
    refuse_a_second_ada(&pair);
    catch_up(&pair, &["--transaction-max", "0s"]);
    assert_eq!(quarantined(&pair), 1, "one of the two is missing, and it is counted");
    assert_eq!(differences(&pair), 1, "all but the row in quarantine is equal");
}

#[test]
fn a_row_leaves_quarantine_when_the_source_no_longer_holds_what_was_refused() {
    let pair = two_people();
    refuse_a_second_ada(&pair);
    catch_up(&pair, &[]);
    assert_eq!(quarantined(&pair), 1);
    pair.write("update person set name = 'Brian' where id = 2");
    catch_up(&pair, &[]);
    assert_eq!(quarantined(&pair), 0);
    assert_eq!(differences(&pair), 0);
}

#[test]
fn values_that_change_places_across_the_reads_of_a_backlog_arrive_as_they_are() {
    let pair = two_people();
    pair.write("create unique index one_of_each on person(name)");
    catch_up(&pair, &[]);
    pair.write("update person set name = 'Ada Augusta' where id = 1");
    pair.write(&format!(
        "update person set name = 'swap' where id = 1;
         update person set name = 'Ada' where id = 2;
         with recursive many(n) as (values (1) union all select n + 1 from many
                                     where n < {BACKLOG_ROWS})
         insert into filler select n, n from many;
         update person set name = 'Brian' where id = 1"
    ));
    catch_up(&pair, &["--transaction-max", "0s", "--poll-interval-ms", "10"]);
    assert_eq!(quarantined(&pair), 0);
    assert_eq!(differences(&pair), 0);
}

/// Each kind of key that a row in quarantine can have.
const HOSTILE: &str = "
    create table by_text (k text primary key, v text) without rowid;
    create table by_blob (k blob primary key, v text) without rowid;
    create table by_two (a, b, v text, primary key (a, b)) without rowid;
    create table fine (id integer primary key, v text);
    insert into by_text values ('x''05''', cast(x'ff' as text)), ('b', 'ok'),
                               (cast(x'6100' as text), 'nameless'), (cast(x'fe' as text), 'too');
    insert into by_blob values (x'05', cast(x'00' as text)), (x'06', 'ok'),
                               (x'', cast(x'ff' as text));
    insert into by_two values (1, 'x', cast(x'ff' as text)), (1.5, x'31', cast(x'ff' as text)),
                              (9e999, '1', cast(x'00' as text)), ('1', 1, 'ok');
    insert into fine values (1, 'ok')";

#[test]
fn the_rows_in_quarantine_are_listed_by_table_column_and_reason_with_exact_keys() {
    let pair = Pair::with(HOSTILE);
    pair.catch_up("").expect_code(0);
    pair.assert_conservation();
    let ended = pair.call("quarantine", "").arg("--json").finish().expect_code(1);
    let found: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(found["quarantined"], 8);
    let rows = |table: &str| -> Vec<serde_json::Value> {
        let rows = found["rows"].as_array().expect("a list").iter();
        rows.filter(|row| row["table"] == table).map(|row| row["key"].clone()).collect()
    };
    let sorted = |mut keys: Vec<serde_json::Value>| {
        keys.sort_by_key(ToString::to_string);
        keys
    };
    assert_eq!(
        sorted(rows("by_text")),
        [json!(["x'05'"]), json!([{ "text": "6100" }]), json!([{ "text": "fe" }])]
    );
    assert_eq!(sorted(rows("by_blob")), [json!([{ "blob": "" }]), json!([{ "blob": "05" }])]);
    assert_eq!(
        sorted(rows("by_two")),
        [
            json!([1, "x"]),
            json!([{ "real": "1.5" }, { "blob": "31" }]),
            json!([{ "real": "inf" }, "1"])
        ]
    );
    let groups = found["groups"].as_array().expect("a list");
    assert!(groups.iter().any(|group| {
        group["table"] == "by_two"
            && group["column"] == "v"
            && group["reason"] == "text is not valid UTF-8"
            && group["rows"] == 2
    }));
    let one = pair.call("quarantine", "").args(["--table", "BY_BLOB"]).finish().expect_code(1);
    assert!(one.stdout.contains("2 rows in quarantine"), "{}", one.stdout);
    assert!(one.stdout.contains("by_blob [{\"blob\":\"05\"}] v:"), "{}", one.stdout);
    assert!(!one.stdout.contains("by_two"), "{}", one.stdout);
    pair.call("quarantine", "").args(["--table", "fine"]).finish().expect_code(0);
    let said = pair.status();
    let aside = |name: &str| {
        let tables = said["tables"].as_array().expect("a list").iter();
        tables.filter(|table| table["name"] == name).map(|t| t["quarantined"].clone()).next()
    };
    assert_eq!((aside("by_two"), aside("fine")), (Some(json!(3)), Some(json!(0))));
}

/// Trying again touches the keys: a row that the target can hold by now arrives, whatever its key.
#[test]
fn a_retry_brings_in_what_fits_by_now_and_leaves_the_rest() {
    let pair = Pair::with(HOSTILE);
    pair.catch_up("").expect_code(0);
    // Rows that only the server refuses, and no change of the source tells that it would not.
    pair.target().run("alter table fine add constraint short check (length(v) < 5)");
    pair.write("insert into fine values (2, 'too long'), (3, 'too long as well')");
    pair.catch_up("").expect_code(0);
    pair.assert_conservation();
    assert_eq!(quarantined(&pair), 10);
    pair.target().run("alter table fine drop constraint short");
    pair.catch_up("").expect_code(0);
    assert_eq!(quarantined(&pair), 10, "nobody has looked again");
    let retry = |arguments: &[&str]| {
        pair.call("quarantine", "").arg("--retry").args(arguments).finish().expect_code(0).stdout
    };
    assert_eq!(retry(&["--table", "fine"]), "touched 2 rows; replay tries them again\n");
    pair.catch_up("").expect_code(0);
    assert_eq!(quarantined(&pair), 8);
    assert_eq!(pair.ask("select count(*) from fine"), ["3"]);
    let before = pair.quarantine();
    assert_eq!(retry(&[]), "touched 8 rows; replay tries them again\n");
    pair.catch_up("").expect_code(0);
    assert_eq!(pair.quarantine(), before, "the same rows for the same reasons");
    pair.assert_conservation();
    // Beside a running sidecar, and with rows that are gone by then.
    let mut sidecar = pair.call("run", "").start();
    pair.write(
        "delete from by_two; update by_blob set v = 'ok'; delete from by_text where v <> 'ok'",
    );
    retry(&[]);
    pair.await_step(&mut sidecar);
    await_on_target(&pair.target(), LIMIT, "select count(*) = 0 from lite2pg.quarantine");
    sidecar.terminate().expect_code(0);
    pair.assert_equal();
    pair.call("quarantine", "").finish().expect_code(0);
}

#[test]
fn a_table_with_rows_in_quarantine_is_one_incident_and_one_more_when_the_last_has_left() {
    let pair = two_people();
    let kinds = || pair.ask("select kind from lite2pg.incidents order by id");
    for id in 10..15 {
        pair.write(&format!("insert into person values ({id}, cast(x'ff' as text))"));
        let ended = pair.catch_up("").expect_code(0);
        assert_eq!(ended.stderr.matches("set aside").count(), 1, "{}", ended.stderr);
    }
    pair.write("update person set name = cast(x'fe' as text) where id = 10");
    pair.catch_up("").expect_code(0);
    assert_eq!(kinds(), ["quarantine"]);
    pair.write("update person set name = 'fine' where 10 <= id");
    pair.catch_up("").expect_code(0);
    assert_eq!(kinds(), ["quarantine", "quarantine_empty"]);
    pair.assert_equal();
}

/// The position is where it was, and replay goes on once the row or its type is another.
#[test]
fn a_halt_names_the_row_and_goes_on_when_it_is_mended() {
    let halt = "on_unmappable = 'halt'";
    let pair = two_people();
    let applied = || pair.ask("select applied from lite2pg.position");
    let before = applied();
    pair.write(
        "update person set name = 'Ada Augusta' where id = 1;
                insert into person values (3, cast(x'ff' as text))",
    );
    let ended = pair.catch_up(halt).expect_code(1);
    let said = "person [3], column name: text is not valid UTF-8";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    assert_eq!(applied(), before);
    assert_eq!(pair.ask("select name from person where id = 1"), ["Ada"], "nothing of its batch");
    pair.write("update person set name = 'Grace' where id = 3");
    pair.catch_up(halt).expect_code(0);
    pair.assert_equal();
    pair.write("insert into person values (4, cast(x'c3' as text))");
    pair.catch_up(halt).expect_code(1);
    let bytes = format!("{halt}\n[columns.person.name]\ntype = 'bytea'\nform = 'text'");
    pair.catch_up(&bytes).expect_code(0);
    assert_eq!(pair.ask("select name from person where id = 4"), ["\\xc3"]);
    assert_eq!(quarantined(&pair), 0);
}

#[test]
fn rows_in_quarantine_arrive_when_their_column_gets_another_type() {
    let pair = Pair::with(
        "create table t (id integer primary key, v text);
         insert into t values (1, '1'), (2, 'two'), (3, '3')",
    );
    let number = "[columns.t.v]\ntype = 'integer'";
    pair.catch_up(number).expect_code(0);
    pair.write("insert into t values (4, 'four')");
    pair.catch_up(number).expect_code(0);
    assert_eq!(quarantined(&pair), 2);
    pair.assert_conservation();
    pair.catch_up("").expect_code(0);
    assert_eq!(quarantined(&pair), 0);
    pair.assert_equal();
}
