//! What an operator is told about an application's database: what stays behind, and what a
//! migration did to the target.

use crate::support::pair::Pair;
use crate::support::sidecar::{Launch, status};

/// A file made by `sql`, and a target in step with it.
fn in_step(sql: &str) -> Pair {
    let pair = Pair::with(sql);
    pair.catch_up("").expect_code(0);
    pair
}

fn incidents(pair: &Pair) -> Vec<String> {
    let said = pair.status();
    let incidents = said["incidents"].as_array().expect("a list");
    incidents.iter().map(|one| one["message"].as_str().expect("text").to_owned()).collect()
}

/// Virtual tables and the application's own triggers do not travel; nobody should learn that from
/// the cutover.
#[test]
fn what_stays_behind_is_named_by_schema_and_status() {
    let pair = in_step(
        "create table docs (id integer primary key, body text);
         create virtual table docs_fts using fts5(body, content='docs', content_rowid='id');
         create trigger docs_ai after insert on docs begin
             insert into docs_fts (rowid, body) values (new.id, new.body); end;
         create view docs_view as select id from docs;
         create trigger docs_view_insert instead of insert on docs_view begin
             insert into docs (id) values (new.id); end;",
    );
    let expected = [
        ("docs_fts", "virtual table"),
        ("docs_fts_data", "shadow table"),
        ("docs_ai", "trigger"),
        ("docs_view_insert", "trigger"),
    ];
    let file = pair.file();
    let schema = |json: &[&str]| {
        Launch::new("schema").arg("--source").arg(&file).args(json).finish().expect_code(0).stdout
    };
    let script = schema(&[]);
    let json: serde_json::Value = serde_json::from_str(&schema(&["--json"])).expect("JSON");
    let said = status(&file, &pair.database.url);
    for (object, what) in expected {
        assert!(script.contains(&format!("-- {what} {object}: left out (")), "{object}\n{script}");
        for (notes, kind) in [(&json["notes"], "left_out"), (&said["notes"], "left out")] {
            let is_told = notes.as_array().expect("a list").iter().any(|note| {
                note["object"] == object && note["what"] == what && note["kind"] == kind
            });
            assert!(is_told, "{object}: {notes:#}");
        }
    }
    let terminal = Launch::new("status")
        .arg("--source")
        .arg(&file)
        .args(["--target", &pair.database.url])
        .finish()
        .expect_code(0)
        .stdout;
    assert!(terminal.contains("left out, trigger: docs_ai, docs_view_insert"), "{terminal}");
    assert!(terminal.contains("left out, virtual table: docs_fts"), "{terminal}");
}

/// Reports that people build on the target while they wait must not vanish without a word.
#[test]
fn a_view_of_somebody_else_that_goes_with_its_table_is_named() {
    let pair = in_step("create table item (id integer primary key, n integer)");
    pair.target()
        .run("create view public.report as select n, count(*) from public.item group by n");
    pair.write("alter table item drop column n");
    pair.catch_up("").expect_code(0);
    let incidents = incidents(&pair);
    assert!(incidents.iter().any(|one| one.contains("report")), "{incidents:?}");
}

/// A table that is gone on the source goes on the target too, but not from under somebody's view.
#[test]
fn a_table_dropped_on_the_source_goes_unless_somebody_else_needs_it() {
    let pair = in_step("create table one (id integer); create table two (id integer)");
    pair.target().run("create view public.report as select id from public.two");
    pair.write("drop table one; drop table two; create table three (id integer)");
    pair.catch_up("").expect_code(0);
    let incidents = incidents(&pair);
    let says = |part: &str| incidents.iter().any(|one| one == part);
    assert!(says("one: dropped on the source, and its target with it"), "{incidents:?}");
    assert!(says("two: dropped on the source, its target stays as it is"), "{incidents:?}");
    pair.target().run("select * from public.report");
    pair.catch_up("").expect_code(0);
}

/// An index that was created on the source while nobody looked arrives with the next run.
#[test]
fn an_index_that_comes_late_is_built_and_one_that_goes_is_dropped() {
    let pair = in_step(
        "create table item (id integer primary key, n integer, m integer);
         create index old_one on item (n)",
    );
    pair.write("drop index old_one; create index new_one on item (m)");
    pair.catch_up("").expect_code(0);
    let names = pair.ask("select indexname from pg_indexes where tablename = 'item' order by 1");
    assert_eq!(names, ["item_pkey", "new_one"]);
}
