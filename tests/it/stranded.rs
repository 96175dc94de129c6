//! The application comes first: triggers without the changelog they need are taken out, and nobody
//! takes them out by mistake.
//!
//! Each harm makes every write of the application fail; that it does is shown first.

use rusqlite::Connection;

use crate::golden::root;
use crate::support::pair::Pair;
use crate::support::scene::{await_on_target, proxy_to};
use crate::support::sidecar::{LIMIT, Launch, wait_until};

fn in_step() -> Pair {
    let pair = Pair::with(
        "create table item (id integer primary key, name text);
         create table pair (a integer, b integer, primary key (a, b)) without rowid;
         insert into item values (1, 'a'), (2, 'b'); insert into pair values (1, 1)",
    );
    pair.catch_up("").expect_code(0);
    pair
}

/// What the application gets when it writes.
fn write(pair: &Pair) -> Result<(), String> {
    let connection = Connection::open(pair.file()).expect("open the source");
    connection.busy_timeout(LIMIT).expect("set the busy timeout");
    let written = connection.execute_batch(
        "insert into item (name) values ('c'); update pair set b = b + 1; \
         delete from item where id = 2",
    );
    written.map_err(|error| error.to_string())
}

/// Everything of ours in the file.
fn ours(pair: &Pair, kind: &str) -> Vec<String> {
    let connection = Connection::open(pair.file()).expect("open the source");
    let mut statement = connection
        .prepare(
            "select name from sqlite_schema
              where type = ?1 and substr(name, 1, 9) = '_lite2pg_' order by 1",
        )
        .expect("the query is valid");
    let names = statement.query_map([kind], |row| row.get(0)).expect("the query runs");
    names.collect::<Result<_, _>>().expect("text")
}

/// Ways to have the application's writes fail, and what is said of them.
const HARMS: [(&str, &str); 7] = [
    ("drop table _lite2pg_changelog", "the changelog is gone"),
    (
        "drop table _lite2pg_changelog;
         create view _lite2pg_changelog as select 1 as seq",
        "a view has its name",
    ),
    (
        "pragma legacy_alter_table = on; alter table _lite2pg_changelog rename to log",
        "the changelog is gone",
    ),
    (
        // As tools do that edit tables.
        "create table edited (seq integer primary key, tbl, op, at, mark, k1, k2);
         insert into edited select * from _lite2pg_changelog;
         drop table _lite2pg_changelog;
         pragma legacy_alter_table = on; alter table edited rename to _lite2pg_changelog",
        "no column token",
    ),
    (
        "create table edited (seq integer primary key, tbl, op, at, token, k1, k2 not null);
         insert into edited select seq, tbl, op, at, token, k1, coalesce(k2, 0)
           from _lite2pg_changelog;
         drop table _lite2pg_changelog;
         pragma legacy_alter_table = on; alter table edited rename to _lite2pg_changelog",
        "its column k2 is another",
    ),
    (
        "begin; update item set name = name || '!';
         delete from _lite2pg_changelog
          where seq not in (select max(seq) from _lite2pg_changelog group by tbl);
         create unique index one_of_each on _lite2pg_changelog (tbl); commit",
        "the unique index one_of_each stands on it",
    ),
    (
        "create trigger no_more before insert on _lite2pg_changelog begin
             select raise(abort, 'no more'); end",
        "the trigger no_more stands on it",
    ),
];

#[test]
fn a_changelog_that_fails_the_application_goes_with_its_triggers() {
    for (harm, said) in HARMS {
        for is_live in [false, true] {
            let pair = in_step();
            let applied = pair.ask("select applied from lite2pg.position").remove(0);
            let sidecar = is_live.then(|| {
                let mut sidecar = pair.call("run", "").start();
                sidecar.await_line("replaying", LIMIT);
                sidecar
            });
            pair.write(harm);
            let stopped = match sidecar {
                Some(sidecar) => sidecar.wait(LIMIT),
                None => {
                    let refused = write(&pair).expect_err("the triggers miss their changelog");
                    assert!(!refused.contains("locked"), "{harm}: {refused}");
                    pair.catch_up("")
                }
            };
            let stopped = stopped.expect_code(4).expect_error(&["lineage stop", said, "hint: "]);
            assert!(stopped.stderr.contains("so the triggers are taken out"), "{stopped}");
            assert_eq!(write(&pair), Ok(()), "{harm}");
            assert_eq!((ours(&pair, "trigger"), ours(&pair, "view")), (vec![], vec![]), "{harm}");
            let told = pair.ask(
                "select position || ' ' || message from lite2pg.incidents
                  where kind = 'capture_ended'",
            );
            assert_eq!(told.len(), 1, "{harm}");
            assert!(told[0].starts_with(&applied), "the last good position: {told:?}");
            assert!(told[0].contains("is not captured"), "{told:?}");
            // What was written since is not captured, so nothing just goes on.
            pair.catch_up("").expect_code(4);
            assert_eq!(write(&pair), Ok(()), "{harm}");
            // The way out that the hint names.
            Launch::new("uninstall").arg("--source").arg(pair.file()).finish().expect_code(0);
            assert_eq!(ours(&pair, "table"), [""; 0], "{harm}");
        }
    }
}

/// PostgreSQL need not be there for that.
#[test]
fn the_application_is_set_free_while_the_target_is_away() {
    let pair = in_step();
    let (proxy, url) = proxy_to(&pair.database.url);
    let mut sidecar = pair.call_as(&url, "run", "").start();
    sidecar.await_line("replaying", LIMIT);
    drop(proxy);
    sidecar.await_line("lost the target", LIMIT);
    pair.write("drop table _lite2pg_changelog");
    let free = wait_until(LIMIT, || write(&pair).ok());
    assert!(free.is_some(), "{}", sidecar.stderr());
    let stopped = sidecar.wait(LIMIT).expect_code(4).expect_error(&["the changelog is gone"]);
    assert!(stopped.stderr.contains("the incident is not in the ledger"), "{stopped}");
}

/// A new target needs no history: whatever is left of an old installation goes first.
#[test]
fn what_is_left_of_an_installation_is_not_in_the_way_of_a_new_one() {
    for (harm, _) in &HARMS[..3] {
        let pair = in_step();
        pair.write(harm);
        Launch::new("install").arg("--source").arg(pair.file()).finish().expect_code(0);
        assert_eq!(write(&pair), Ok(()), "{harm}");
        assert_eq!(ours(&pair, "view"), [""; 0]);
        // It is another lineage, and this target has the old one.
        pair.catch_up("").expect_code(4).expect_error(&["has lineage"]);
    }
    let pair = in_step();
    pair.write(HARMS[3].0);
    let install = Launch::new("install").arg("--source").arg(pair.file()).finish();
    install.expect_code(4).expect_error(&["is not what it was", "lite2pg guard"]);
}

/// With no lite2pg at hand, the statement of triggers/README.md does it.
#[test]
fn the_statement_for_a_file_without_a_sidecar_takes_everything_out() {
    let text = std::fs::read_to_string(root().join("triggers/README.md")).expect("it is there");
    let sql = text.split("```sql").nth(1).and_then(|rest| rest.split("```").next());
    let sql = sql.expect("a block of SQL");
    for (harm, _) in HARMS {
        let pair = in_step();
        pair.write(&format!("create table \"odd \"\" name\" (id integer primary key); {harm}"));
        let connection = Connection::open(pair.file()).expect("open the source");
        let mut statement = connection.prepare(sql).expect("it is one statement");
        let printed: Vec<String> = statement
            .query_map([], |row| row.get(0))
            .and_then(Iterator::collect)
            .expect("it prints statements");
        drop(statement);
        connection.execute_batch(&printed.join("\n")).expect("they run");
        assert_eq!(write(&pair), Ok(()), "{harm}");
        let left = ["trigger", "view", "table"].map(|kind| ours(&pair, kind).len());
        assert_eq!(left, [0; 3], "{harm}");
    }
}

#[test]
fn uninstall_refuses_while_a_sidecar_streams_from_the_file() {
    let pair = in_step();
    let mut sidecar = pair.call("run", "").start();
    sidecar.await_line("replaying", LIMIT);
    let parts = ["a sidecar streams from this file", "8 triggers on 2 tables", "--while-running"];
    pair.call("uninstall", "").finish().expect_code(1).expect_error(&parts);
    assert_eq!(ours(&pair, "trigger").len(), 8);
    // Named in the configuration.
    let config = pair.directory().join("target.toml");
    let named = format!("target = \"{}\"", pair.database.url);
    std::fs::write(&config, named).expect("the directory is ours");
    let uninstall = || Launch::new("uninstall").arg("--source").arg(pair.file());
    uninstall().arg("--config").arg(&config).finish().expect_code(1).expect_error(&parts);
    // A sidecar of another file is none of this one's.
    let other = in_step();
    let ended = other.call_as(&pair.database.url, "uninstall", "").finish().expect_code(0);
    assert!(ended.stdout.contains("removed 11 triggers and tables"), "{}", ended.stdout);
    pair.call("uninstall", "").arg("--while-running").finish().expect_code(0);
    assert_eq!(ours(&pair, "trigger"), [""; 0]);
    sidecar.wait(LIMIT).expect_code(4).expect_error(&["the changelog is gone"]);
    assert_eq!(write(&pair), Ok(()));
    uninstall().arg("--config").arg(&config).finish().expect_code(0);
}

#[test]
fn a_target_that_cannot_be_asked_does_not_keep_the_triggers_in() {
    let pair = in_step();
    let nowhere = "postgresql:///none?host=/nowhere&port=1&user=nobody";
    let ended = pair.call_as(nowhere, "uninstall", "").finish().expect_code(0);
    assert!(ended.stderr.contains("does not say whether a sidecar is at work"), "{ended}");
    assert_eq!(ours(&pair, "table"), [""; 0]);
}

/// A configuration that was read half, or not at all, is not taken for an order.
#[test]
fn leaving_tables_out_says_what_stays_and_never_leaves_out_all() {
    let pair = in_step();
    let mut sidecar = pair.call("run", "[tables.pair]\nignore = true").start();
    let line = sidecar.await_line("left out from now on", LIMIT);
    assert!(line.contains("tables=pair") && line.contains("captured=1"), "{line}");
    pair.write("insert into item (name) values ('seen')");
    await_on_target(&pair.target(), LIMIT, "select count(*) = 3 from item");
    sidecar.terminate().expect_code(0);
    let before = ours(&pair, "trigger");
    let all = "[tables.pair]\nignore = true\n[tables.item]\nignore = true";
    pair.call("run", all).finish().expect_code(2).expect_error(&["no table"]);
    assert_eq!(ours(&pair, "trigger"), before);
    pair.catch_up("").expect_code(0);
    pair.assert_equal();
}

#[test]
fn a_crash_while_the_triggers_go_leaves_all_of_them_or_none() {
    let pair = in_step();
    let before = ours(&pair, "trigger");
    pair.write(HARMS[1].0);
    let run = pair.call("run", "").dying_at(lite2pg::failpoint::FREE_BEFORE_COMMIT, 1);
    assert!(run.finish().was_killed());
    assert_eq!(ours(&pair, "trigger"), before);
    pair.catch_up("").expect_code(4);
    assert_eq!(ours(&pair, "trigger"), [""; 0]);
    assert_eq!(write(&pair), Ok(()));
}
