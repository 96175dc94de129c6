//! Changes of the source's schema while it is replicated: followed in place where both databases do
//! the same to every row, or where the rows are compared afterwards; by a new copy otherwise, and
//! never silently wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lite2pg::failpoint;
use rusqlite::Connection;

use crate::server::Target;
use crate::support::pair::Pair;
use crate::support::scene::await_on_target;
use crate::support::sidecar::{LIMIT, Launch};

const ITEMS: &str = "
    create table item (id integer primary key, name text, note text);
    create index item_name on item (name);
    create table other (id integer primary key);
    insert into item values (1, 'a', 'x'), (2, 'b', 'y'), (3, 'c', 'z')";

fn in_step(sql: &str) -> Pair {
    let pair = Pair::with(sql);
    pair.catch_up("").expect_code(0);
    pair
}

/// Which table that is: another one if it was made anew.
fn identity(pair: &Pair) -> Vec<String> {
    pair.ask("select 'public.item'::regclass::oid")
}

fn incidents(pair: &Pair) -> Vec<String> {
    pair.ask("select message from lite2pg.incidents order by id")
}

#[test]
fn columns_that_come_are_added_in_place_with_the_default_that_every_row_has() {
    let pair = in_step(ITEMS);
    let before = identity(&pair);
    pair.write(
        "update item set note = 'before' where id = 1;
         alter table item add column stars integer not null default 3;
         alter table item add column label text;
         alter table item add column price real default 1;
         alter table item add column raw blob default x'00ff';
         alter table item add column any_of default 'it''s';
         alter table item add column checked integer default 1 check (checked < 9);
         update item set stars = 5, any_of = 'seven' where id = 2;
         insert into item (id, name) values (4, 'd');
         delete from item where id = 3",
    );
    pair.catch_up("").expect_code(0);
    assert_eq!(identity(&pair), before, "the table is the same");
    pair.assert_equal();
    let said = incidents(&pair);
    assert_eq!(said.len(), 6, "{said:?}");
    assert_eq!(said[0], "item: column stars added");
    // Rows to come get it from the target itself, once it is the application's.
    let inserted =
        "insert into item (id) values (9) returning concat_ws('|', stars, price, any_of)";
    assert_eq!(pair.ask(inserted), ["3|1|it's"]);
}

#[test]
fn a_column_that_goes_is_dropped_in_place_unless_somebody_needs_it() {
    let pair = in_step(ITEMS);
    let before = identity(&pair);
    pair.write("alter table item drop column note; update item set name = 'A' where id = 1");
    pair.catch_up("").expect_code(0);
    assert_eq!(identity(&pair), before);
    pair.assert_equal();
    assert_eq!(incidents(&pair), ["item: column note dropped"]);
    pair.target().run("create view public.report as select name from public.item");
    pair.write("drop index item_name; alter table item drop column name");
    pair.catch_up("").expect_code(0);
    assert_ne!(identity(&pair), before, "made anew, and the view that stood on it is named");
    pair.assert_equal();
    let said = incidents(&pair);
    assert!(said.iter().any(|one| one.contains("report")), "{said:?}");
}

#[test]
fn a_column_that_may_have_been_renamed_is_copied() {
    let pair = in_step(ITEMS);
    pair.write("alter table item rename column note to remark");
    pair.catch_up("").expect_code(0);
    pair.assert_equal();
    pair.write(
        "alter table item drop column remark; alter table item add column remarks text;
                update item set remarks = 'new' where id = 1",
    );
    pair.catch_up("").expect_code(0);
    pair.assert_equal();
}

/// What Django, Rails, Alembic and Prisma do for a change that SQLite has no statement for. The
/// table then has one column more, like after ADD COLUMN, but nobody has seen what was written:
/// tests/it/health.rs has more of that.
const REBUILD: &str = "
    begin;
    create table new_item (id integer primary key, name text, note text, stars integer default 3);
    insert into new_item (id, name, note) select id, name, note from item;
    drop table item;
    alter table new_item rename to item;
    create index item_name on item (name);
    commit;
    update item set name = 'unseen', stars = 9 where id = 2;
    delete from item where id = 3";

#[test]
fn a_rebuilt_table_is_more_than_one_that_got_a_column() {
    let pair = in_step(ITEMS);
    let before = identity(&pair);
    pair.write(REBUILD);
    pair.catch_up("").expect_code(0);
    assert_eq!(identity(&pair), before, "readers kept what they had");
    pair.assert_equal();
    let said = incidents(&pair);
    assert!(said.iter().any(|one| one.contains("2 rows had gone unseen, 1 was only")), "{said:?}");
}

/// The word that writes may have gone unseen is in the file from the moment the triggers are
/// renewed, whoever renews them.
#[test]
fn a_table_whose_triggers_somebody_else_renewed_is_proven_all_the_same() {
    let pair = in_step(ITEMS);
    pair.write(REBUILD);
    Launch::new("install").arg("--source").arg(pair.file()).finish().expect_code(0);
    pair.catch_up("").expect_code(0);
    pair.assert_equal();
    // The same with nothing but a trigger lost.
    pair.write("drop trigger _lite2pg_update_item; update item set note = 'unseen' where id = 1");
    Launch::new("install").arg("--source").arg(pair.file()).finish().expect_code(0);
    pair.catch_up("").expect_code(0);
    pair.assert_equal();
}

#[test]
fn a_crash_after_triggers_were_renewed_does_not_lose_what_went_unseen() {
    for point in [
        failpoint::INSTALL_COMMITTED,
        failpoint::TARGET_MIGRATED,
        failpoint::UNSEEN_MARKED,
        failpoint::TARGET_BEFORE_COMMIT,
        failpoint::TARGET_PREPARED,
    ] {
        let pair = in_step(ITEMS);
        pair.write("drop trigger _lite2pg_update_item; update item set note = 'unseen'");
        let ended = pair.call("run", "").arg("--until-caught-up").dying_at(point, 1).finish();
        // The ledger is migrated when it is looked at, before anything is installed.
        assert!(ended.was_killed(), "{point}: {ended}");
        pair.catch_up("").expect_code(0);
        pair.assert_equal();
    }
}

#[test]
fn a_crash_in_mid_alter_leaves_the_table_as_it_was_or_as_it_will_be() {
    for (point, passing) in [
        (failpoint::TARGET_TABLE_ALTERED, 1),
        (failpoint::TARGET_TABLE_ALTERED, 2),
        (failpoint::TARGET_BEFORE_COMMIT, 1),
        (failpoint::TARGET_PREPARED, 1),
    ] {
        let pair = in_step(ITEMS);
        let before = identity(&pair);
        pair.write(
            "alter table item add column a integer default 1;
                    alter table item add column b text default 'b';
                    update item set a = 2 where id = 1",
        );
        let ended = pair.call("run", "").arg("--until-caught-up").dying_at(point, passing).finish();
        assert!(ended.was_killed(), "{point}: {ended}");
        pair.catch_up("").expect_code(0);
        assert_eq!(identity(&pair), before);
        pair.assert_equal();
    }
}

/// A large table gets a column while the application writes at full speed: at no moment does a
/// reader of the target miss a row.
#[test]
fn a_large_table_stays_whole_while_it_gets_a_column() {
    const ROWS: i64 = 100_000;
    let pair = Pair::with(&format!(
        "create table item (id integer primary key, name text);
         with recursive many(n) as (values (1) union all select n + 1 from many where n < {ROWS})
         insert into item select n, 'item ' || n from many"
    ));
    let mut sidecar = pair.call("run", "").start();
    pair.await_streaming(&mut sidecar);
    let before = identity(&pair);
    let is_over = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (file, is_over) = (pair.file(), is_over.clone());
        move || {
            let connection = Connection::open(file).expect("open the source");
            connection.busy_timeout(LIMIT).expect("set the busy timeout");
            let mut n = 0;
            while !is_over.load(Ordering::Relaxed) {
                n += 1;
                let sql = "update item set name = name || '.' where id = 1 + ?1 % 100000";
                connection.execute(sql, [n * 7919]).expect("the application writes");
            }
            n
        }
    });
    let reader = std::thread::spawn({
        let (url, is_over) = (pair.database.url.clone(), is_over.clone());
        move || {
            let target = Target::connect(&url);
            let mut least = i64::MAX;
            while !is_over.load(Ordering::Relaxed) {
                let rows = target.query("select count(*) from public.item");
                let count = rows[0][0].as_deref().and_then(|count| count.parse().ok());
                least = least.min(count.expect("a number"));
            }
            least
        }
    });
    pair.write("alter table item add column stars integer not null default 3");
    let has_it = "select exists (select 1 from pg_attribute
                                  where attrelid = 'public.item'::regclass and attname = 'stars')";
    await_on_target(&pair.target(), LIMIT, has_it);
    pair.write("update item set stars = 4 where id % 1000 = 0");
    await_on_target(&pair.target(), LIMIT, "select count(*) = 100 from item where stars = 4");
    is_over.store(true, Ordering::Relaxed);
    assert!(100 < writer.join().expect("the writer"), "it wrote meanwhile");
    assert_eq!(reader.join().expect("the reader"), ROWS);
    pair.await_step(&mut sidecar);
    assert_eq!(identity(&pair), before);
    pair.assert_equal();
    sidecar.terminate().expect_code(0);
}
