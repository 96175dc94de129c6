//! Writes that no trigger saw: the table stays readable, is proven, and what is found is put right.
//!
//! Each test takes the triggers away as migrations and people do, writes past them, and holds what
//! PostgreSQL has afterwards against the file; what it had before must be in the archive. Where a
//! claim is about readers, one counts rows all the while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use lite2pg::failpoint;
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::server::Target;
use crate::support::pair::Pair;
use crate::support::sidecar::{Ended, LIMIT, Launch, Sidecar};

/// A table with `rows` rows, and one beside it.
fn shop(rows: u32) -> Pair {
    Pair::with(&format!(
        "create table item (id integer primary key, name text, price integer default 1);
         create index item_name on item (name);
         create table other (id integer primary key, hits integer);
         insert into other values (1, 0);
         with recursive n(i) as (values (1) union all select i + 1 from n where i < {rows})
         insert into item select i, 'item ' || i, i from n"
    ))
}

fn in_step(rows: u32) -> Pair {
    let pair = shop(rows);
    pair.catch_up("").expect_code(0);
    pair
}

/// What the triggers are called that see a write to `item`.
const BLIND: &str = "
    drop trigger _lite2pg_insert_item; drop trigger _lite2pg_update_item;
    drop trigger _lite2pg_delete_item; drop trigger _lite2pg_rekey_item;";

/// Writes to `item` that nobody sees, in one transaction.
fn unseen(sql: &str) -> String {
    format!("begin; {BLIND} {sql}; commit")
}

/// Kinds of incidents, without those that say that a column came or went.
fn incidents(pair: &Pair) -> Vec<String> {
    pair.ask(
        "select kind from lite2pg.incidents where kind <> 'table_altered'
            and not (kind = 'table_dropped' and message not like 'item:%') order by id",
    )
}

/// The last word on a table.
fn verdict(pair: &Pair) -> String {
    let kind = "unseen_writes_put_right";
    pair.ask(&format!(
        "select message from lite2pg.incidents where kind = '{kind}' order by id desc limit 1"
    ))
    .remove(0)
}

fn assert_proven(pair: &Pair) {
    let dirty = pair.ask("select name from lite2pg.tables where state <> 'streaming'");
    assert_eq!(dirty, [""; 0]);
    pair.assert_equal();
}

/// Rows of the archive in the table's own words, in order of their keys.
fn archived(pair: &Pair) -> Vec<String> {
    pair.ask(
        "select concat_ws(' ', key, r.id, r.name, r.price)
           from lite2pg.archive a, jsonb_populate_record(null::public.item, a.row) r
          order by r.id, a.id",
    )
}

/// Somebody at work on a thread of his own, until asked what came of it.
struct Worker<T> {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<T>,
}

impl<T: Send + 'static> Worker<T> {
    fn start(work: impl FnOnce(&AtomicBool) -> T + Send + 'static) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let theirs = is_over.clone();
        Self { is_over, thread: std::thread::spawn(move || work(&theirs)) }
    }

    fn end(self) -> T {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("it does not fail")
    }
}

/// Reads `item` on PostgreSQL over and over: the least number of rows, and every table it was.
fn reader(pair: &Pair) -> Worker<(i64, Vec<String>)> {
    let url = pair.database.url.clone();
    Worker::start(move |is_over| {
        let target = Target::connect(&url);
        let (mut least, mut tables) = (i64::MAX, Vec::new());
        while !is_over.load(Ordering::Relaxed) {
            let sql = "select count(*), 'public.item'::regclass::oid from public.item";
            let row = target.try_query(sql).ok().and_then(|rows| rows.into_iter().next());
            let Some([Some(count), Some(table)]) = row.as_deref() else { return (0, tables) };
            least = least.min(count.parse().expect("a number"));
            if !tables.contains(table) {
                tables.push(table.clone());
            }
        }
        (least, tables)
    })
}

/// Writes to both tables as fast as it can. A migration that does not take one transaction has the
/// table missing, for this application as well.
fn writer(pair: &Pair) -> Worker<i64> {
    let file = pair.file();
    Worker::start(move |is_over| {
        let connection = Connection::open(file).expect("open the source");
        connection.busy_timeout(LIMIT).expect("set the busy timeout");
        let mut n = 0;
        while !is_over.load(Ordering::Relaxed) {
            n += 1;
            let sql = match n % 3 {
                0 => "update item set price = price + 1 where id = 1 + ?1 * 7919 % 1000",
                1 => "update other set hits = hits + ?1",
                _ => "insert into item (name) values ('new ' || ?1)",
            };
            match connection.execute(sql, [n]) {
                Ok(_) => {}
                Err(error) if error.to_string().contains("no such table") => {}
                Err(error) => panic!("the application writes: {error}"),
            }
        }
        n
    })
}

/// How tables are rebuilt for a change that SQLite has no statement for.
const REBUILDS: [(&str, &str); 4] = [
    (
        "Alembic's batch mode, each statement by itself",
        "create table _alembic_tmp_item (
             id integer not null, name text, price integer default 1, primary key (id));
         insert into _alembic_tmp_item (id, name, price) select id, name, price from item;
         drop table item;
         alter table _alembic_tmp_item rename to item;
         create index item_name on item (name);",
    ),
    (
        "Django's _remake_table",
        r#"begin immediate;
         create table "new__item" (
             "id" integer primary key, "name" text, "price" integer default 1);
         insert into "new__item" ("id", "name", "price") select "id", "name", "price" from "item";
         drop table "item";
         alter table "new__item" rename to "item";
         create index "item_name" on "item" ("name");
         commit;"#,
    ),
    (
        "Prisma, each statement by itself",
        r#"pragma defer_foreign_keys = on; pragma foreign_keys = off;
         create table "new_item" ("id" integer primary key, "name" text, "price" integer default 1);
         insert into "new_item" ("id", "name", "price") select "id", "name", "price" from "item";
         drop table "item";
         alter table "new_item" rename to "item";
         create index "item_name" on "item" ("name");
         pragma foreign_keys = on;"#,
    ),
    (
        "Rails' copy and back",
        r#"begin immediate;
         create temporary table "aitem" ("id" integer primary key, "name" text, "price" integer);
         insert into "aitem" select * from "item";
         drop table "item";
         create table "item" ("id" integer primary key, "name" text, "price" integer default 1);
         create index "item_name" on "item" ("name");
         insert into "item" select * from "aitem";
         drop table "aitem";
         commit;"#,
    ),
];

#[test]
fn a_table_that_a_migration_rebuilds_stays_readable_and_is_proven() {
    const ROWS: u32 = 3_000;
    for (whose, sql) in REBUILDS {
        // Django's takes a transaction, in which nobody sees a moment without the table.
        let rows = if whose.starts_with("Django") { 100_000 } else { ROWS };
        let pair = shop(rows);
        let mut sidecar = pair.call("run", "").start();
        pair.await_streaming(&mut sidecar);
        let (reader, writer) = (reader(&pair), writer(&pair));
        pair.write(sql);
        // It is noticed, proven, and nothing else happened to it.
        sidecar.await_line("gone unseen", LIMIT);
        let is_proven = || (incidents(&pair).len() == 2).then_some(());
        sidecar.until(is_proven).unwrap_or_else(|| panic!("{whose}: {}", sidecar.stderr()));
        assert!(100 < writer.end(), "{whose}: the application wrote meanwhile");
        pair.await_step(&mut sidecar);
        let (least, tables) = reader.end();
        assert!(i64::from(rows) <= least, "{whose}: a reader saw {least} rows");
        assert_eq!(tables.len(), 1, "{whose}: it is the same table all along");
        assert_eq!(incidents(&pair), ["unseen_writes", "unseen_writes_put_right"], "{whose}");
        assert_proven(&pair);
        sidecar.terminate().expect_code(0);
    }
}

#[test]
fn what_went_unseen_is_counted_put_right_and_archived_as_it_was() {
    for is_live in [true, false] {
        let pair = in_step(50);
        let mut sidecar = is_live.then(|| pair.call("run", "").start());
        if let Some(sidecar) = &mut sidecar {
            sidecar.await_line("replaying", LIMIT);
        } else {
            // Seen, and not applied yet: no news later.
            pair.write("update item set price = price + 1000 where id between 30 and 39");
        }
        let last_good = pair.ask("select applied from lite2pg.position");
        let writes = unseen(
            "insert into item values (91, 'late', 1), (92, 'later', 2), (93, 'last', 3);
             update item set name = 'unseen' where id <= 4; delete from item where id > 48
                and id < 90",
        );
        pair.write(&writes);
        match sidecar {
            Some(mut sidecar) => {
                let is_proven = || (incidents(&pair).len() == 2).then_some(());
                sidecar.until(is_proven).unwrap_or_else(|| panic!("{}", sidecar.stderr()));
                sidecar.terminate().expect_code(0);
            }
            None => drop(pair.catch_up("").expect_code(0)),
        }
        assert_proven(&pair);
        let begun = pair.ask(
            "select position || ' ' || message from lite2pg.incidents where kind = 'unseen_writes'",
        );
        let last_good = &last_good[0];
        assert!(begun[0].starts_with(&format!("{last_good} item: ")), "{begun:?}");
        assert!(begun[0].contains(&format!("writes after entry {last_good} may")), "{begun:?}");
        let seen = if is_live { 0 } else { 10 };
        let said = verdict(&pair);
        let counts = "item: 9 rows had gone unseen, 2 were only on PostgreSQL; all put right";
        assert!(said.starts_with(counts), "{said}");
        let kept = 6 + seen;
        assert!(said.contains(&format!("{kept} rows as PostgreSQL had them before")), "{said}");
        let rows = archived(&pair);
        let expected = ["[1] 1 item 1 1", "[2] 2 item 2 2", "[3] 3 item 3 3", "[4] 4 item 4 4"];
        assert_eq!(rows[..4], expected);
        assert_eq!(rows[rows.len() - 2..], ["[49] 49 item 49 49", "[50] 50 item 50 50"]);
        assert_eq!(rows.len(), kept);
    }
}

/// A disaster: the table is there again, and empty. What the application writes then has the keys
/// and the unique values of rows that PostgreSQL still has.
#[test]
fn a_table_that_was_dropped_and_made_anew_leaves_every_row_in_the_archive() {
    const MADE: &str = "create table item (
        id integer primary key, name text unique, price integer default 1)";
    let again = "insert into item (name) values ('item 4000'), ('item 2'), ('new'), ('item 1')";
    for (config, is_seen) in [("", false), ("", true), ("on_unmappable = \"halt\"", true)] {
        let pair = Pair::with(&format!(
            "{MADE};
             with recursive n(i) as (values (1) union all select i + 1 from n where i < 5000)
             insert into item select i, 'item ' || i, i from n"
        ));
        pair.catch_up(config).expect_code(0);
        if is_seen {
            // The triggers stand again before the application writes.
            pair.write(&format!("drop table item; {MADE}"));
            Launch::new("install").arg("--source").arg(pair.file()).finish().expect_code(0);
            pair.write(again);
        }
        let mut sidecar = pair.call("run", config).start();
        if !is_seen {
            sidecar.await_line("replaying", LIMIT);
            pair.write(&format!("drop table item; {MADE}; {again}"));
        }
        let is_proven = || (incidents(&pair).len() == 2).then_some(());
        sidecar.until(is_proven).unwrap_or_else(|| panic!("{}", sidecar.stderr()));
        pair.await_step(&mut sidecar);
        assert_proven(&pair);
        let archived = archived(&pair);
        assert_eq!(archived.len(), 5_000);
        for (row, n) in archived.iter().zip(1..) {
            assert_eq!(*row, format!("[{n}] {n} item {n} {n}"));
        }
        let said = verdict(&pair);
        assert!(said.contains("5000 rows as PostgreSQL had them"), "{said}");
        assert_eq!(
            pair.ask("select count(*) from lite2pg.incidents where kind like 'quar%'"),
            ["0"]
        );
        sidecar.terminate().expect_code(0);
    }
}

/// A migration that takes no transaction has the table missing for a moment, and lite2pg may look
/// just then.
#[test]
fn a_table_that_is_missing_for_a_moment_stays_on_the_target() {
    let pair = in_step(100);
    let before = pair.ask("select 'public.item'::regclass::oid");
    let mut sidecar = pair.call("run", "").start();
    sidecar.await_line("replaying", LIMIT);
    pair.write("create table kept as select * from item; drop table item");
    sidecar
        .until(|| {
            (pair.ask("select count(*) from lite2pg.tables where name = 'kept'") == ["1"])
                .then_some(())
        })
        .expect("the schema is looked at");
    assert_eq!(pair.ask("select count(*) from item"), ["100"]);
    pair.write(
        "create table item (id integer primary key, name text, price integer default 1);
         insert into item select * from kept where id <> 5; drop table kept",
    );
    let is_proven = || (incidents(&pair).len() == 2).then_some(());
    sidecar.until(is_proven).unwrap_or_else(|| panic!("{}", sidecar.stderr()));
    assert_eq!(pair.ask("select 'public.item'::regclass::oid"), before);
    // The other one is gone, in a while.
    pair.await_step(&mut sidecar);
    assert_proven(&pair);
    sidecar.terminate().expect_code(0);
}

/// Killed anywhere, it goes on; nothing is lost, and nothing is archived twice.
#[test]
fn a_crash_while_a_table_is_proven_loses_nothing() {
    for (point, passing) in [
        (failpoint::INSTALL_COMMITTED, 1),
        (failpoint::UNSEEN_MARKED, 1),
        (failpoint::TARGET_BEFORE_COMMIT, 1),
        (failpoint::TARGET_PREPARED, 1),
        (failpoint::CAUGHT_UP, 1),
        (failpoint::UNSEEN_TOUCHED, 1),
        (failpoint::UNSEEN_TOUCHED, 2),
        (failpoint::VERIFY_CHUNK_NOTED, 1),
        (failpoint::UNSEEN_COMPARED, 1),
        (failpoint::UNSEEN_ARCHIVED, 1),
        (failpoint::UNSEEN_ARCHIVED, 2),
        (failpoint::APPLY_BEFORE_COMMIT, 1),
        (failpoint::APPLY_COMMITTED, 1),
        (failpoint::UNSEEN_PROVEN, 1),
        (failpoint::UNSEEN_BEFORE_COMMIT, 1),
    ] {
        let pair = in_step(9_000);
        pair.write(&unseen(
            "insert into item values (9999, 'late', 1); update item set name = 'u' where id < 5;
             delete from item where id between 1000 and 6999",
        ));
        let ended = pair.call("run", "").arg("--until-caught-up").dying_at(point, passing).finish();
        assert!(ended.was_killed(), "{point}: {ended}");
        pair.catch_up("").expect_code(0);
        assert_proven(&pair);
        let said = verdict(&pair);
        assert!(said.contains("6004 rows as PostgreSQL had them"), "{point}: {said}");
        let twice = "select count(*) - count(distinct key) from lite2pg.archive";
        assert_eq!(pair.ask(twice), ["0"], "{point}");
        assert_eq!(incidents(&pair), ["unseen_writes", "unseen_writes_put_right"], "{point}");
    }
}

/// Dies with the table dirty.
fn dirty() -> Pair {
    let pair = in_step(100);
    pair.write(&unseen("update item set name = 'unseen' where id = 1"));
    let run = pair.call("run", "").arg("--until-caught-up");
    let ended = run.dying_at(failpoint::UNSEEN_COMPARED, 1).finish();
    assert!(ended.was_killed(), "{ended}");
    pair
}

#[test]
fn nobody_is_told_that_a_dirty_table_is_in_step() {
    let pair = dirty();
    // What was touched waits; apart from that all is applied.
    assert_eq!(pair.ask("select consistent from lite2pg.position"), ["f"]);
    let status = pair.status();
    assert_eq!((&status["consistent"], &status["phase"]), (&false.into(), &"streaming".into()));
    let tables = status["tables"].as_array().expect("a list");
    let item = tables.iter().find(|table| table["name"] == "item").expect("it is listed");
    assert_eq!((&item["state"], &item["rows"]), (&"dirty".into(), &100.into()));
    assert_eq!(status["waiting_for"], "no lite2pg is running for this target");
    let shown = Launch::new("status").arg("--source").arg(pair.file());
    let shown = shown.args(["--target", &pair.database.url]).finish().expect_code(0).stdout;
    assert!(shown.contains("not in step") && shown.contains("dirty"), "{shown}");
    let finalised = pair.call("schema", "").arg("--finalise").finish().expect_code(1);
    finalised.expect_error(&["not in step", "not proven yet"]);
    pair.catch_up("").expect_code(0);
    assert_proven(&pair);
    assert_eq!(pair.status()["waiting_for"], serde_json::Value::Null);
    assert_eq!(pair.status()["consistent"], true);
}

/// The table goes while it is dirty, or is left out: what is left is consistent.
#[test]
fn a_dirty_table_that_is_no_more_holds_nothing_up() {
    let pair = dirty();
    pair.write("drop table item");
    pair.catch_up("").expect_code(0);
    assert_eq!(pair.ask("select consistent from lite2pg.position"), ["t"]);
    pair.assert_equal();
    let pair = dirty();
    let config = "[tables.item]\nignore = true";
    pair.catch_up(config).expect_code(0);
    assert_eq!(pair.ask("select consistent from lite2pg.position"), ["t"]);
    // Captured again, it is proven again.
    pair.catch_up("").expect_code(0);
    assert_proven(&pair);
}

/// Somebody's trigger on the target undoes what arrives. It is said, and the rest goes on.
#[test]
fn a_table_that_cannot_be_proven_is_told_of() {
    let pair = in_step(100);
    pair.target().run(
        "create function public.spoil() returns trigger language plpgsql as
             $$ begin new.name := 'spoiled'; return new; end $$;
         create trigger spoil before insert or update on public.item
             for each row execute function public.spoil();
         alter table public.item enable always trigger spoil",
    );
    pair.write(&unseen("update item set name = 'unseen' where id <= 3"));
    let parts = ["in step, but rows of item differ", "`lite2pg verify` lists them"];
    pair.catch_up("").expect_code(1).expect_error(&parts);
    let mut sidecar = pair.call("run", "").start();
    sidecar.await_line("3 rows differ although they were replayed again", LIMIT);
    pair.write("update other set hits = 7");
    let arrived = || (pair.ask("select hits from other") == ["7"]).then_some(());
    sidecar.until(arrived).expect("other tables are not held up");
    let waits = pair.status()["waiting_for"].to_string();
    assert!(waits.contains("table item is dirty"), "{waits}");
    sidecar.terminate().expect_code(0);
    let left = pair.ask("select count(*) from lite2pg.incidents where kind = 'unseen_writes_left'");
    assert_eq!(left, ["2"], "once for each run");
    pair.target().run("drop trigger spoil on public.item");
    pair.catch_up("").expect_code(0);
    assert_proven(&pair);
}

#[test]
fn rows_in_quarantine_are_tried_again_and_struck_out() {
    let pair = Pair::with(
        "create table item (id integer primary key, name text, price integer);
         insert into item values (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)",
    );
    pair.catch_up("").expect_code(0);
    pair.write("update item set price = 'many' where id <= 2");
    pair.catch_up("").expect_code(0);
    assert_eq!(pair.quarantine().len(), 2);
    // One is gone unseen, one has become right unseen.
    pair.write(&unseen("delete from item where id = 1; update item set price = 5 where id = 2"));
    pair.catch_up("").expect_code(0);
    assert_eq!(pair.quarantine(), [""; 0]);
    assert_proven(&pair);
}

/// What migrations do by rebuilding: columns that PostgreSQL could not fill by itself, others that
/// may or may not be NULL from now on, defaults, declarations.
#[test]
fn a_rebuilt_table_follows_its_columns_in_place() {
    let pair = Pair::with(
        "create table item (id integer primary key, name varchar(20) not null, price integer,
                note text default 'n');
         with recursive n(i) as (values (1) union all select i + 1 from n where i < 1000)
         insert into item select i, 'item ' || i, nullif(i, 7), null from n",
    );
    pair.catch_up("").expect_code(0);
    let before = pair.ask("select 'public.item'::regclass::oid");
    pair.write(
        "begin;
         create table new_item (id integer primary key, stock integer not null, label text,
                name varchar(30), price integer not null, note text default 'none');
         insert into new_item select id, case id when 9 then 1 else 5 end, null, name,
                coalesce(price, 0), note from item;
         drop table item; alter table new_item rename to item;
         commit; update item set name = null where id = 8",
    );
    pair.catch_up("").expect_code(0);
    assert_eq!(pair.ask("select 'public.item'::regclass::oid"), before);
    assert_proven(&pair);
    let said = verdict(&pair);
    assert!(said.starts_with("item: 3 rows had gone unseen"), "the rest was guessed: {said}");
    let strict = "select string_agg(attname, ' ' order by attname) from pg_attribute
        where attrelid = 'public.item'::regclass and 0 < attnum and attnotnull";
    assert_eq!(pair.ask(strict), ["id price stock"]);
    let inserted = "insert into item (id, stock, price) values (9999, 1, 1)
        returning concat_ws('|', coalesce(label, 'null'), note)";
    assert_eq!(pair.ask(inserted), ["null|none"]);
    pair.target().run("delete from item where id = 9999");
    // Another key or another type is not followed in place.
    pair.write(
        "begin; create table new_item (id text primary key, name text, price integer);
         insert into new_item select id, name, price from item;
         drop table item; alter table new_item rename to item; commit",
    );
    pair.catch_up("").expect_code(0);
    assert_ne!(pair.ask("select 'public.item'::regclass::oid"), before);
    assert_proven(&pair);
}

/// What happens to every file sooner or later, and hides nothing.
#[test]
fn ordinary_upkeep_makes_no_table_dirty() {
    let pair = in_step(200);
    let upkeep = [
        "vacuum",
        "analyze",
        "reindex",
        "create index item_price on item (price)",
        "drop index item_name",
        "alter table item add column stars integer default 3",
        "alter table item add column label text",
        "create unique index item_label on item (label)",
        "drop index item_label",
        "create trigger bump after update of name on item begin
             update other set hits = hits + 1; end",
        "drop trigger bump",
        "create view cheap as select * from item where price < 10",
        "pragma wal_checkpoint(truncate)",
        "pragma journal_mode = delete",
        "pragma journal_mode = wal",
    ];
    for is_live in [false, true] {
        let mut sidecar = None;
        // SQLite lets nobody change the journal's mode while somebody reads.
        for sql in upkeep.iter().filter(|sql| !is_live || !sql.contains("journal")) {
            if is_live && sidecar.is_none() {
                let mut started = pair.call("run", "").start();
                started.await_line("replaying", LIMIT);
                sidecar = Some(started);
            }
            // What is written while a unique index comes or goes is in doubt, so it is applied
            // before.
            for sql in ["update item set price = price + 1 where id % 7 = 0", sql] {
                pair.write(&format!("drop view if exists cheap; {sql}"));
                match &mut sidecar {
                    Some(sidecar) => await_schema(&pair, sidecar),
                    None => drop(pair.catch_up("").expect_code(0)),
                }
            }
            assert_eq!(incidents(&pair), [""; 0], "{sql}");
        }
        if let Some(mut sidecar) = sidecar {
            pair.await_step(&mut sidecar);
            sidecar.terminate().expect_code(0);
        }
        pair.write(
            "alter table item drop column label; alter table item drop column stars;
            drop index item_price; create index item_name on item (name)",
        );
        pair.catch_up("").expect_code(0);
    }
    assert_eq!(incidents(&pair), [""; 0]);
    pair.assert_equal();
}

/// Waits until a live run has looked at the schema as it is.
fn await_schema(pair: &Pair, sidecar: &mut Sidecar) {
    let looked = || {
        let source = Connection::open(pair.file()).expect("open the source");
        source.busy_timeout(LIMIT).expect("set the busy timeout");
        let ask = source.query_row("pragma schema_version", [], |row| row.get::<_, i64>(0));
        let now = ask.expect("a version").to_string();
        (pair.ask("select schema_version from lite2pg.position") == [now]).then_some(())
    };
    sidecar.until(looked).unwrap_or_else(|| panic!("{}", sidecar.stderr()));
    pair.await_step(sidecar);
}

/// Until our triggers know of a new unique index, REPLACE removes rows that nobody names.
#[test]
fn rows_that_replace_removed_by_a_new_index_are_missed() {
    let pair = in_step(20);
    pair.write(
        "create unique index item_unique on item (name);
         insert or replace into item values (50, 'item 3', 1)",
    );
    pair.catch_up("").expect_code(0);
    let said = verdict(&pair);
    assert!(said.starts_with("item: 1 row had gone unseen, 1 was only on PostgreSQL"), "{said}");
    assert_proven(&pair);
    // The same through a trigger of the application's that hides the write from ours.
    pair.write(
        "create trigger hide after insert on item when new.price = 77 begin
             select raise(ignore); end;
         insert into item values (60, 'hidden', 77)",
    );
    pair.catch_up("").expect_code(0);
    let said = verdict(&pair);
    assert!(said.starts_with("item: 1 row had gone unseen, 0 were only"), "{said}");
    assert_proven(&pair);
}

/// Triggers can be off for a connection: nothing says so but a comparison.
#[test]
fn writes_of_a_connection_without_triggers_are_found_and_repaired() {
    let pair = in_step(100);
    let blind = Connection::open(pair.file()).expect("open the source");
    blind.busy_timeout(LIMIT).expect("set the busy timeout");
    blind.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).expect("disable triggers");
    blind
        .execute_batch(
            "insert into item values (900, 'blind', 1); update item set name = 'b' where id = 2;
             delete from item where id = 3",
        )
        .expect("the application writes");
    pair.catch_up("").expect_code(0);
    let verify = || pair.call("verify", "").args(["--json"]).finish();
    let found = verify().expect_code(1).json();
    assert_eq!(found["drift_rows"], 3, "{found:#}");
    pair.call("repair", "").finish().expect_code(0);
    verify().expect_code(0);
    pair.assert_equal();
}

/// Our own books in the file: without them numbers are given anew, and everything is proven.
#[test]
fn a_list_of_tables_that_is_lost_is_made_anew_and_every_table_proven() {
    for (harm, tables) in [
        ("drop table _lite2pg_tables", 3),
        ("delete from _lite2pg_tables", 3),
        // The numbers of the two others change places.
        ("delete from _lite2pg_tables where name <> 'other'", 2),
    ] {
        for is_live in [true, false] {
            let pair = in_step(100);
            pair.write("create table third (id integer primary key); insert into third values (1)");
            pair.catch_up("").expect_code(0);
            // A number that is no number of order any more.
            pair.write(&unseen("update item set name = 'unseen' where id = 1"));
            pair.catch_up("").expect_code(0);
            let mut sidecar = is_live.then(|| pair.call("run", "").start());
            if let Some(sidecar) = &mut sidecar {
                sidecar.await_line("replaying", LIMIT);
            }
            pair.write(&format!(
                "{harm}; update item set price = 0 where id = 5; update other set hits = 5;
                 alter table item add column note text"
            ));
            if let Some(mut sidecar) = sidecar {
                await_schema(&pair, &mut sidecar);
                sidecar.terminate().expect_code(0);
            }
            pair.catch_up("").expect_code(0);
            assert_proven(&pair);
            let proven = pair.ask(
                "select count(*) from lite2pg.incidents where kind = 'unseen_writes_put_right'",
            );
            assert_eq!(proven, [(1 + tables).to_string()], "{harm}: one before, and then these");
        }
    }
}

/// A lineage stop that does no harm to the application leaves the triggers where they are.
#[test]
fn a_lineage_that_is_lost_stops_the_run_and_not_the_application() {
    let said = "the changelog is gone";
    for (harm, said) in [
        ("drop table _lite2pg_meta", said),
        ("delete from _lite2pg_meta", said),
        ("alter table _lite2pg_meta rename column source_id to id_of_source", "is not what it was"),
        ("alter table _lite2pg_tables add column more", "is not what it was"),
    ] {
        for is_live in [true, false] {
            let pair = in_step(10);
            let stopped: Ended = if is_live {
                let mut sidecar = pair.call("run", "").start();
                sidecar.await_line("replaying", LIMIT);
                pair.write(harm);
                sidecar.wait(LIMIT)
            } else {
                pair.write(harm);
                pair.catch_up("")
            };
            stopped.expect_code(4).expect_error(&["lineage stop", said, "hint: "]);
            let source = Connection::open(pair.file()).expect("open the source");
            let count = "select count(*) from sqlite_schema where type = 'trigger'";
            let triggers: i64 = source.query_row(count, [], |row| row.get(0)).expect("a count");
            assert_eq!(triggers, 8, "{harm}");
            pair.write("update item set price = 7");
        }
    }
}
