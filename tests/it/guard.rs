//! The redeploy guard, judged against recorded truth: the file as it was before the event
//! (*truth*), the copy that was put in its place (*base*), and what the application made of that
//! copy (*fork*). From the three it follows, row by row, what the file lost and gained, and what a
//! restore must make of it; no part of the product takes part in that.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::generator::dice::Dice;
use crate::random::number_from_env;
use crate::support::pair::Pair;
use crate::support::sidecar::{Ended, LIMIT};

/// All kinds of keys, values of all storage classes, a trigger and foreign keys of the
/// application's own.
const SCHEMA: &str = "
    create table person (
        id integer primary key, name text not null unique, born text, score real, photo blob,
        anything);
    create table word (word text primary key not null, hits integer check (0 <= hits));
    create table nokey (a integer, b text);
    create table purchase (id integer primary key, person_id integer references person (id));
    create table line (
        purchase_id integer not null references purchase (id) on delete cascade,
        number integer not null, what text, primary key (purchase_id, number)) without rowid;
    create table log (id integer primary key autoincrement, said text);
    create trigger says_so after insert on person begin
        insert into log values (new.id, 'person ' || new.id);
    end;
    with recursive n(i) as (select 1 union all select i + 1 from n where i < 200)
    insert into person select i, 'name ' || i, date('1970-01-01', i || ' days'), i / 7.0,
        randomblob(i % 40), case i % 4 when 0 then i when 1 then 'text' when 2 then x'00ff' end
        from n;
    with recursive n(i) as (select 1 union all select i + 1 from n where i < 200)
    insert into word select 'word ' || i, i from n;
    with recursive n(i) as (select 1 union all select i + 1 from n where i < 60)
    insert into nokey select i, 'b' || i from n;
    insert into purchase select id, id from person;
    insert into line select id, 1, 'what ' || id from purchase;
    insert into line select id, 2, 'more ' || id from purchase where id % 2 = 0;";

/// The tables, and what names a row of each.
const TABLES: [(&str, &str); 6] = [
    ("person", "id"),
    ("word", "word"),
    ("nokey", "rowid"),
    ("purchase", "id"),
    ("line", "purchase_id, number"),
    ("log", "id"),
];

/// Every row of every table: by table and key, its values to the last bit.
type Rows = BTreeMap<(String, String), String>;

fn rows_of(file: &Path) -> Rows {
    let connection = Connection::open(file).expect("open the file");
    connection.busy_timeout(LIMIT).expect("set the busy timeout");
    let mut rows = Rows::new();
    for (table, key) in TABLES {
        let columns: Vec<String> = connection
            .prepare(&format!("select 'quote(' || name || ')' from pragma_table_info('{table}')"))
            .and_then(|mut query| query.query_map([], |row| row.get(0))?.collect())
            .expect("the table's columns");
        let key = format!("json_array({key})");
        let sql = format!("select {key}, {} from {table}", columns.join(" || ', ' || "));
        let mut query = connection.prepare(&sql).expect("the query is valid");
        let mut found = query.query([]).expect("the query runs");
        while let Some(row) = found.next().expect("a row") {
            let (key, values) = (row.get(0).expect("a key"), row.get(1).expect("values"));
            rows.insert((table.to_owned(), key), values);
        }
    }
    rows
}

/// What the file lost and gained: every row in which the two differ.
fn expected(truth: &Rows, fork: &Rows) -> BTreeMap<(String, String), &'static str> {
    let lost = truth.iter().filter_map(|(key, row)| match fork.get(key) {
        None => Some((key.clone(), "lost")),
        Some(other) if other != row => Some((key.clone(), "changed")),
        Some(_) => None,
    });
    let gained = fork.keys().filter(|key| !truth.contains_key(*key));
    lost.chain(gained.map(|key| (key.clone(), "gained"))).collect()
}

/// What a restore must make of the three; `None` where both sides wrote to a row.
fn merged(base: &Rows, truth: &Rows, fork: &Rows) -> Option<Rows> {
    let mut rows = Rows::new();
    let keys = base.keys().chain(truth.keys()).chain(fork.keys());
    for key in keys {
        let (was, lost, gained) = (base.get(key), truth.get(key), fork.get(key));
        let row = if lost == gained || gained == was {
            lost
        } else if lost == was {
            gained
        } else {
            return None;
        };
        rows.extend(row.map(|row| (key.clone(), row.clone())));
    }
    Some(rows)
}

/// The rows that the account lists, as `expected` has them.
fn listed(account: &Value) -> BTreeMap<(String, String), String> {
    let rows = account["rows"].as_array().expect("a list of rows");
    let rows = rows.iter().map(|row| {
        let text = |name: &str| row[name].as_str().expect("a word").to_owned();
        ((text("table"), row["key"].to_string()), text("kind"))
    });
    rows.collect()
}

fn same(listed: &BTreeMap<(String, String), String>, expected: &BTreeMap<(String, String), &str>) {
    let expected: BTreeMap<_, _> =
        expected.iter().map(|(key, kind)| (key.clone(), (*kind).to_owned())).collect();
    assert_eq!(*listed, expected);
}

/// A file and a target in step with it, and a copy of the file that is older by some writes.
struct Event {
    pair: Pair,
    copy: PathBuf,
    base: Rows,
    truth: Rows,
}

impl Event {
    /// `lost` is written after the copy was made, and is on the target.
    fn after(lost: &str) -> Self {
        let pair = Pair::with(SCHEMA);
        pair.catch_up("").expect_code(0);
        // So that the copy has some history.
        pair.write("update word set hits = hits + 1 where hits % 10 = 0");
        pair.catch_up("").expect_code(0);
        let copy = pair.directory().join("copy.db");
        put_in_place(&pair.file(), &copy);
        let base = rows_of(&copy);
        pair.write(lost);
        pair.catch_up("").expect_code(0);
        let truth = rows_of(&pair.file());
        Self { pair, copy, base, truth }
    }

    /// A deploy ships the copy, and the application goes on with it.
    fn happens(&self, gained: &str) -> Rows {
        put_in_place(&self.copy, &self.pair.file());
        self.pair.write(gained);
        rows_of(&self.pair.file())
    }

    fn guard(&self, arguments: &[&str]) -> Ended {
        self.pair.call("guard", "").args(["--json", "--all"]).args(arguments).finish()
    }

    /// The run must see it first.
    fn stops(&self) {
        self.pair.catch_up("").expect_code(4).expect_error(&["lineage stop", "lite2pg guard"]);
    }

    /// Everything that the target holds of the application.
    fn target(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (table, _) in TABLES {
            lines
                .extend(self.pair.ask(&format!("select t::text from public.{table} t order by 1")));
        }
        lines
    }
}

/// `cp`, of a file whose -wal is emptied before, over one that nobody has open.
fn put_in_place(from: &Path, to: &Path) {
    let connection = Connection::open(from).expect("open the file");
    connection
        .query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()))
        .expect("a checkpoint of a quiet file");
    drop(connection);
    for suffix in ["-wal", "-shm", "-journal"] {
        let left = PathBuf::from(format!("{}{suffix}", to.display()));
        if left.exists() {
            std::fs::remove_file(&left).expect("the directory is ours");
        }
    }
    std::fs::copy(from, to).expect("copy a file");
}

const LOST: &str = "
    insert into person (id, name, score) values (1001, 'lost', 1e300), (1002, 'lost too', 0.1);
    update person set score = -0.0, photo = zeroblob(9) where id in (3, 4);
    delete from purchase where id = 5; delete from person where id = 5;
    insert into word values ('lost word', 1); delete from word where word = 'word 7';
    update word set hits = 0 where word = 'word 8';
    insert into nokey values (1001, 'lost'); delete from nokey where a = 9;
    update nokey set b = null where a = 10;
    insert into purchase values (1001, 1001); insert into line values (1001, 1, 'lost');
    delete from line where purchase_id = 20;";

const GAINED: &str = "
    insert into person (id, name) values (2001, 'gained');
    update person set name = 'changed by the file' where id = 100;
    insert into word values ('gained word', 1); delete from word where word = 'word 107';
    insert into purchase values (2001, 2001); insert into line values (2001, 1, 'gained');
    update line set what = 'changed by the file' where purchase_id = 120;";

#[test]
fn a_file_that_is_the_file_needs_no_decision() {
    let event = Event::after(LOST);
    for arguments in [&[][..], &["--restore", "--yes"], &["--accept", "--yes"]] {
        let said = event.guard(arguments).expect_code(0).json();
        assert_eq!((&said["state"], &said["rows_differing"]), (&json!("sound"), &json!(0)));
    }
    assert_eq!(rows_of(&event.pair.file()), event.truth);
    event.pair.catch_up("").expect_code(0);
}

#[test]
fn an_older_copy_is_explained_row_by_row_and_restored_to_the_last_bit() {
    let event = Event::after(LOST);
    let fork = event.happens("");
    event.stops();
    let before = event.target();
    let said = event.guard(&[]).expect_code(4).json();
    assert_eq!((&said["state"], &said["what"]), (&json!("broken"), &json!("went_back")));
    same(&listed(&said), &expected(&event.truth, &fork));
    let rows = said["rows"].as_array().expect("a list");
    assert!(rows.iter().all(|row| row["newer"] == "postgresql"), "{said:#}");
    // The last common entry is the newest one of the copy.
    assert_eq!(said["last_common"]["position"], said["file"]["head"]);
    assert!(said["last_common"]["written_at"].is_string(), "{said:#}");
    assert_eq!(said["incident"]["kind"], "went_back");
    assert_eq!((event.target(), rows_of(&event.pair.file())), (before.clone(), fork));

    let said = event.guard(&["--restore", "--yes"]).expect_code(0).json();
    assert_eq!((&said["state"], &said["done"]["verified"]), (&json!("restored"), &json!("pass")));
    assert_eq!(rows_of(&event.pair.file()), event.truth);
    assert_eq!(event.target(), before, "PostgreSQL was right, and has stayed as it was");
    event.pair.assert_equal();
    // Replication goes on, and the incident says who decided.
    event.pair.write("insert into word values ('after', 1)");
    event.pair.catch_up("").expect_code(0);
    event.pair.assert_equal();
    let decided = event.pair.ask(
        "select concat_ws(' ', kind, decision, decided_by ~ '.@.', decided_at is not null)
           from lite2pg.incidents where needs_decision",
    );
    assert_eq!(decided, ["went_back restore t t"]);
}

#[test]
fn what_the_file_has_gained_since_stays_when_what_it_lost_comes_back() {
    let event = Event::after(LOST);
    let fork = event.happens(GAINED);
    event.stops();
    let said = event.guard(&[]).expect_code(4).json();
    assert_eq!(said["what"], "went_back");
    same(&listed(&said), &expected(&event.truth, &fork));
    let said = event.guard(&["--restore", "--yes"]).expect_code(0).json();
    assert_eq!(said["done"]["verified"], "pass");
    let merged = merged(&event.base, &event.truth, &fork).expect("nobody wrote to the same row");
    // The application's trigger did not fire again; its own rows were restored like all others.
    assert_eq!(rows_of(&event.pair.file()), merged);
    event.pair.assert_equal();
    // What PostgreSQL had and the file has deleted or changed since is kept there.
    let kept = event.pair.ask(
        "select concat_ws(' ', table_name, key, row ->> 'name', row ->> 'what')
           from lite2pg.archive order by 1",
    );
    assert_eq!(kept.len(), 4, "{kept:?}");
    assert!(kept.contains(&"person [100] name 100".to_owned()), "{kept:?}");
    assert!(kept.contains(&"word [\"word 107\"]".to_owned()), "{kept:?}");
}

/// The file's application went past the position that PostgreSQL has.
#[test]
fn a_copy_that_has_raced_past_the_old_position_is_restored_alike() {
    let event = Event::after(LOST);
    let racing = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 300)
        insert into word select 'racing ' || i, i from n";
    let fork = event.happens(&format!("{GAINED} {racing}"));
    event.stops();
    let said = event.guard(&[]).expect_code(4).json();
    assert_eq!(said["what"], "forked");
    same(&listed(&said), &expected(&event.truth, &fork));
    event.guard(&["--restore", "--yes"]).expect_code(0);
    let merged = merged(&event.base, &event.truth, &fork).expect("nobody wrote to the same row");
    assert_eq!(rows_of(&event.pair.file()), merged);
    event.pair.assert_equal();
}

#[test]
fn nothing_happens_without_yes() {
    let event = Event::after(LOST);
    let fork = event.happens(GAINED);
    let before = event.target();
    for choice in ["--restore", "--accept"] {
        let said = event.guard(&[choice]).expect_code(4).json();
        assert_eq!((&said["state"], &said["done"]), (&json!("broken"), &Value::Null));
    }
    assert_eq!((rows_of(&event.pair.file()), event.target()), (fork, before));
    event.stops();
}

const BOTH: &str = "update person set name = 'of both ' || id || ' {}' where id in (3, 50);
    update word set hits = hits + {} where word = 'word 8'";

#[test]
fn rows_that_both_wrote_to_are_decided_on_by_the_policy_that_is_named() {
    for policy in ["file", "postgresql"] {
        let event = Event::after(&format!("{LOST} {};", BOTH.replace("{}", "1")));
        let fork = event.happens(&BOTH.replace("{}", "2"));
        let before = event.target();
        let said = event.guard(&["--restore", "--yes"]).expect_code(1).json();
        assert_eq!((&said["state"], &said["done"]), (&json!("blocked"), &Value::Null));
        let conflicts = said["rows"].as_array().expect("a list");
        let conflicts: Vec<_> = conflicts
            .iter()
            .filter(|row| row["is_conflict"] == true)
            .map(|row| &row["key"])
            .collect();
        assert_eq!(conflicts, [&json!([3]), &json!([50]), &json!(["word 8"])]);
        assert_eq!((rows_of(&event.pair.file()), event.target()), (fork.clone(), before.clone()));

        let said = event.guard(&["--restore", "--yes", "--on-conflict", policy]).expect_code(0);
        assert_eq!(said.json()["done"]["verified"], "pass");
        let restored = rows_of(&event.pair.file());
        let winner = if policy == "file" { &fork } else { &event.truth };
        for key in [("person", "[3]"), ("person", "[50]"), ("word", "[\"word 8\"]")] {
            let key = (key.0.to_owned(), key.1.to_owned());
            assert_eq!(restored[&key], winner[&key], "{policy}");
        }
        // Whatever was not decided against is there.
        let person = ("person".to_owned(), "[1001]".to_owned());
        assert_eq!(restored[&person], event.truth[&person]);
        event.pair.assert_equal();
        let archived = event.pair.ask("select count(*) from lite2pg.archive");
        assert_eq!(archived, [if policy == "file" { "3" } else { "0" }]);
    }
}

/// Two rows with other keys and one unique value cannot both be in the file.
#[test]
fn a_unique_value_that_both_gave_away_is_a_conflict_like_any_other() {
    for policy in ["file", "postgresql"] {
        let event = Event::after("insert into person (id, name) values (1001, 'taken')");
        let fork = event.happens("insert into person (id, name) values (2001, 'taken')");
        let said = event.guard(&["--restore", "--yes"]).expect_code(1).json();
        let blocked = said["blocked_by"][0].as_str().expect("a reason");
        assert!(blocked.contains("person") && blocked.contains("UNIQUE"), "{blocked}");
        assert_eq!(rows_of(&event.pair.file()), fork, "nothing was changed");
        event.guard(&["--restore", "--yes", "--on-conflict", policy]).expect_code(0);
        let (winner, loser) = if policy == "file" { (2001, 1001) } else { (1001, 2001) };
        let restored = rows_of(&event.pair.file());
        let key = |id: i32| ("person".to_owned(), format!("[{id}]"));
        assert!(restored.contains_key(&key(winner)) && !restored.contains_key(&key(loser)));
        event.pair.assert_equal();
    }
}

#[test]
fn a_restore_that_would_leave_a_row_without_its_parent_is_refused() {
    let event = Event::after("delete from line; delete from purchase; delete from person");
    let fork = event.happens("insert into purchase values (3001, 7)");
    let said = event.guard(&["--restore", "--yes"]).expect_code(1).json();
    let blocked = said["blocked_by"][0].as_str().expect("a reason");
    assert!(blocked.contains("purchase") && blocked.contains("person"), "{blocked}");
    assert_eq!(rows_of(&event.pair.file()), fork);
}

#[test]
fn accepting_the_file_keeps_every_row_that_postgresql_loses() {
    let event = Event::after(LOST);
    let fork = event.happens(GAINED);
    event.stops();
    let said = event.guard(&["--accept", "--yes"]).expect_code(0).json();
    assert_eq!((&said["state"], &said["done"]["verified"]), (&json!("accepted"), &json!("pass")));
    assert_eq!(rows_of(&event.pair.file()), fork, "the file is right, and stays as it is");
    event.pair.assert_equal();
    let differing = expected(&event.truth, &fork);
    let of_target = differing.values().filter(|kind| **kind != "gained").count();
    let archived = event.pair.ask("select count(*) from lite2pg.archive");
    assert_eq!(archived, [of_target.to_string()]);
    let lost = event.pair.ask(
        "select (jsonb_populate_record(null::public.person, row)).score from lite2pg.archive
          where table_name = 'person' and key = '[1001]'",
    );
    assert_eq!(lost, ["1e+300"], "a row can be made of it again");
    event.pair.write("insert into word values ('after', 1)");
    event.pair.catch_up("").expect_code(0);
    event.pair.assert_equal();
}

/// A volume came up empty, and the application made its tables. No changelog is there, and nobody
/// can tell what the few new rows are to the old ones.
#[test]
fn an_empty_file_gets_everything_back() {
    let event = Event::after(LOST);
    let file = event.pair.file();
    let empty = event.pair.directory().join("empty.db");
    let schema = SCHEMA.split("with recursive").next().expect("the tables");
    Connection::open(&empty).and_then(|empty| empty.execute_batch(schema)).expect("make it");
    put_in_place(&empty, &file);
    event.pair.write("insert into word values ('new here', 1)");
    let fork = rows_of(&file);
    event.stops();
    let said = event.guard(&[]).expect_code(4).json();
    assert_eq!((&said["what"], &said["last_common"]), (&json!("changelog_gone"), &Value::Null));
    same(&listed(&said), &expected(&event.truth, &fork));
    let said = event.guard(&["--restore", "--yes"]).expect_code(0).json();
    assert_eq!(said["done"]["verified"], "pass");
    let mut all = event.truth.clone();
    all.extend(fork);
    assert_eq!(rows_of(&file), all);
    event.pair.assert_equal();
    event.pair.write("insert into word values ('after', 1)");
    event.pair.catch_up("").expect_code(0);
    event.pair.assert_equal();
}

#[test]
fn a_file_without_its_tables_is_not_filled_and_a_missing_one_is_told_of() {
    let event = Event::after(LOST);
    let file = event.pair.file();
    let other = event.pair.directory().join("other.db");
    Connection::open(&other)
        .and_then(|other| other.execute_batch("create table word (word text primary key, hits)"))
        .expect("make it");
    put_in_place(&other, &file);
    let said = event.guard(&["--restore", "--yes"]).expect_code(1).json();
    assert!(said["blocked_by"].to_string().contains("no table person"), "{said:#}");
    std::fs::remove_file(&file).expect("the file is ours");
    let said = event.guard(&[]).expect_code(4).json();
    assert_eq!(said["what"], "gone");
    let lost = said["tables"].as_array().expect("a list").iter();
    let lost: u64 = lost.map(|table| table["lost"].as_u64().expect("a count")).sum();
    assert_eq!(lost, event.truth.len() as u64);
    event.guard(&["--restore", "--yes"]).expect_code(1).expect_error(&["no database at"]);
    assert!(!file.exists());
}

/// Somebody emptied the changelog or dropped it: the file is right, and almost nothing differs.
#[test]
fn a_changelog_that_is_lost_is_begun_anew_by_accepting_the_file() {
    for harm in [
        "delete from _lite2pg_changelog",
        "drop table _lite2pg_meta",
        "drop table _lite2pg_changelog; drop table _lite2pg_meta; drop table _lite2pg_tables",
        "alter table _lite2pg_changelog rename column token to mark",
        "alter table _lite2pg_meta rename column source_id to id_of_source",
        "drop table _lite2pg_changelog; create view _lite2pg_changelog as select 1 as seq",
    ] {
        let event = Event::after(LOST);
        let connection = Connection::open(event.pair.file()).expect("open the file");
        connection
            .set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)
            .expect("switch triggers off");
        let unseen = "insert into word values ('unseen', 1); delete from word where hits = 33;";
        connection.execute_batch(&format!("{harm}; {unseen}")).expect("the harm is valid");
        drop(connection);
        let truth = rows_of(&event.pair.file());
        event.stops();
        let said = event.guard(&["--accept", "--yes"]).expect_code(0).json();
        assert_eq!(said["rows_differing"], 2, "{harm}: {said:#}");
        assert_eq!(rows_of(&event.pair.file()), truth);
        event.pair.assert_equal();
        event.pair.write("insert into word values ('after', 1)");
        event.pair.catch_up("").expect_code(0);
        event.pair.assert_equal();
    }
}

/// Killed at any step, nothing is half done: the next call does it all, or finds it done.
#[cfg(feature = "failpoints")]
#[test]
fn a_decision_that_is_interrupted_happens_wholly_or_not_at_all() {
    use lite2pg::failpoint;
    let steps = [
        failpoint::GUARD_DECIDED,
        failpoint::GUARD_BEFORE_FILE_COMMIT,
        failpoint::GUARD_FILE_COMMITTED,
        failpoint::GUARD_FINISHED,
    ];
    for choice in ["--restore", "--accept"] {
        for (at, step) in steps.into_iter().enumerate() {
            let event = Event::after(LOST);
            let fork = event.happens(GAINED);
            event.stops();
            let call = event.pair.call("guard", "").args(["--json", choice, "--yes"]);
            let ended = call.dying_at(step, 1).finish();
            assert!(ended.was_killed(), "{step}: {ended}");
            let goal = match choice {
                "--restore" => merged(&event.base, &event.truth, &fork).expect("no conflict"),
                _ => fork.clone(),
            };
            let is_done = 2 <= at;
            assert_eq!(rows_of(&event.pair.file()), if is_done { goal.clone() } else { fork });
            if is_done {
                // A run goes on by itself.
                event.pair.catch_up("").expect_code(0);
            } else {
                event.stops();
                event.guard(&[choice, "--yes"]).expect_code(0);
            }
            assert_eq!(rows_of(&event.pair.file()), goal, "{choice} {step}");
            event.pair.assert_equal();
            event.guard(&[]).expect_code(0);
        }
    }
}

/// Nobody can write between the comparison and the commit, and nobody loses a write.
#[test]
fn an_application_that_goes_on_writing_waits_and_loses_nothing() {
    let event = Event::after(LOST);
    event.happens(GAINED);
    event.stops();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let connection = Connection::open(event.pair.file()).expect("open the file");
            connection.busy_timeout(LIMIT).expect("set the busy timeout");
            let mut acknowledged = 0_i64;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let sql = "insert into word values ('live ' || ?1, ?1)";
                connection.execute(sql, [acknowledged + 1]).expect("it waits for its turn");
                acknowledged += 1;
            }
            acknowledged
        });
        // The comparison afterwards is one of a file that is being written to.
        let ended = event.guard(&["--restore", "--yes"]);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let acknowledged: i64 = writer.join().expect("the writer does not panic");
        assert!(matches!(ended.code, Some(0 | 3)), "{ended}");
        event.pair.catch_up("").expect_code(0);
        event.pair.assert_equal();
        let live = event.pair.ask("select count(*) from word where word like 'live %'");
        assert_eq!(live, [acknowledged.to_string()]);
        let rows = rows_of(&event.pair.file());
        assert!(rows.contains_key(&("person".to_owned(), "[1001]".to_owned())));
    });
}

/// The ways in which a deployment puts a copy in the file's place.
#[derive(Clone, Copy, Debug)]
enum Way {
    InPlace,
    Renamed,
    Restored,
}

fn ship(copy: &Path, file: &Path, way: Way) {
    match way {
        Way::InPlace => {
            let connection = Connection::open(file).expect("open the file");
            connection.busy_timeout(LIMIT).expect("set the busy timeout");
            connection
                .query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()))
                .expect("a checkpoint of a file that nobody writes to");
            std::fs::copy(copy, file).expect("copy over the file");
        }
        Way::Renamed => {
            for suffix in ["-wal", "-shm"] {
                let beside = PathBuf::from(format!("{}{suffix}", file.display()));
                if beside.exists() {
                    std::fs::remove_file(&beside).expect("the directory is ours");
                }
            }
            let new = copy.with_extension("new");
            std::fs::copy(copy, &new).expect("copy a file");
            std::fs::rename(&new, file).expect("rename over the file");
        }
        Way::Restored => {
            let from = Connection::open(copy).expect("open the copy");
            let mut to = Connection::open(file).expect("open the file");
            let backup = rusqlite::backup::Backup::new(&from, &mut to).expect("begin to restore");
            backup
                .run_to_completion(100, std::time::Duration::ZERO, None)
                .expect("restore the copy");
        }
    }
}

/// The application writes before the event, goes on with the copy as fast as it can, and never
/// hears of any of it. Every row that it was told of as written is on both sides in the end.
#[test]
fn every_acknowledged_row_is_there_after_an_event_under_a_live_run_and_a_writer() {
    let cases = [("wal", Way::InPlace), ("wal", Way::Renamed), ("delete", Way::Restored)];
    for (journal, way) in cases {
        let pair = Pair::with(&format!("{SCHEMA} pragma journal_mode = {journal};"));
        // Without events there is time between two looks for the application to race ahead.
        let slow = ["--no-file-events", "--poll-interval-ms", "700"];
        let mut sidecar = pair.call("run", "").args(slow).start();
        pair.await_streaming(&mut sidecar);
        pair.await_step(&mut sidecar);
        let copy = pair.directory().join("copy.db");
        Connection::open(pair.file())
            .and_then(|file| {
                file.busy_timeout(LIMIT)?;
                file.execute("vacuum into ?1", [copy.to_str().expect("the path is text")])
            })
            .expect("copy the file");
        let write = |name: &str, count: usize| {
            let file = Connection::open(pair.file()).expect("open the file");
            file.busy_timeout(LIMIT).expect("set the busy timeout");
            file.execute_batch("pragma synchronous = off").expect("set it");
            for number in 0..count {
                let sql = "insert into word values (?1 || ' ' || ?2, 1)";
                file.execute(sql, (name, number as i64)).expect("the application writes");
            }
        };
        write("before", 50);
        pair.await_step(&mut sidecar);
        ship(&copy, &pair.file(), way);
        write("after", 200);
        write("later", 20);
        sidecar.wait(LIMIT).expect_code(4);
        let before = pair.ask("select count(*) from word where word like 'after %'");
        assert_eq!(before, ["0"], "something was applied: {way:?}");
        let said = pair.call("guard", "").args(["--json", "--restore", "--yes"]).finish();
        assert_eq!(said.expect_code(0).json()["done"]["verified"], "pass");
        let file = Connection::open(pair.file()).expect("open the file");
        for (name, count) in [("before", 50), ("after", 200), ("later", 20)] {
            let sql = format!("select count(*) from word where word like '{name} %'");
            let found: i64 = file.query_row(&sql, [], |row| row.get(0)).expect("count");
            assert_eq!(found, count, "{name} {journal} {way:?}");
        }
        drop(file);
        pair.assert_equal();
    }
}

#[test]
fn the_export_is_sql_that_makes_the_file_what_postgresql_has() {
    let event = Event::after(LOST);
    event.happens("");
    let sql = event.pair.directory().join("restore.sql");
    event.guard(&["--sql", sql.to_str().expect("the path is text")]).expect_code(4);
    let text = std::fs::read_to_string(&sql).expect("it was written");
    let connection = Connection::open(event.pair.file()).expect("open the file");
    connection
        .set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)
        .expect("switch triggers off");
    let text = text.replace("-- only in the file: ", "");
    connection.execute_batch(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
    drop(connection);
    assert_eq!(rows_of(&event.pair.file()), event.truth);
    event
        .guard(&["--sql", sql.to_str().expect("text")])
        .expect_code(2)
        .expect_error(&["cannot write"]);
}

/// A statement that touches rows of one half of the keys only, so that two applications with a half
/// each never write to the same row.
fn statement(dice: &mut Dice, half: usize) -> String {
    let mut id = || 2 * dice.below(110) + half;
    let (one, other) = (id(), id());
    let fresh = 10_000 + 2 * dice.below(100_000) + half;
    match dice.below(12) {
        0 => format!("insert or ignore into person (id, name) values ({fresh}, 'fresh {fresh}')"),
        1 => format!(
            "update person set score = {other} / 3.0, anything = x'0{half}' where id = {one}"
        ),
        2 => format!("update or ignore person set name = 'renamed {one}' where id = {one}"),
        3 => format!("delete from line where purchase_id = {one}"),
        4 => format!("replace into word values ('word {one}', {fresh})"),
        5 => format!("delete from word where word = 'word {one}'"),
        6 => format!("insert or ignore into word values ('fresh {fresh}', {one})"),
        7 => format!("update nokey set b = 'touched {fresh}' where a = {one}"),
        8 => format!("delete from nokey where a = {one}"),
        9 => format!("insert or ignore into purchase values ({fresh}, {})", 1 + one % 200),
        10 => format!("update line set what = 'changed {fresh}' where purchase_id = {one}"),
        _ => format!("update or ignore word set word = 'moved {fresh}' where word = 'word {one}'"),
    }
}

fn statements(dice: &mut Dice, half: usize) -> String {
    let count = 1 + dice.below(60);
    // Keys that are drawn by SQLite would be the same on both sides.
    let mut sql = "drop trigger if exists says_so;".to_owned();
    for _ in 0..count {
        sql += &statement(dice, half);
        sql += ";";
    }
    sql
}

/// What was lost and gained is told exactly, and both are there afterwards, whatever it was.
#[test]
fn random_histories_are_told_apart_row_by_row_and_joined() {
    let seed = number_from_env("LITE2PG_SEED", u64::from(std::process::id()));
    for round in 0..number_from_env("LITE2PG_GUARD_ROUNDS", 4) {
        let seed = seed.wrapping_add(round);
        println!("LITE2PG_SEED={seed} LITE2PG_GUARD_ROUNDS=1");
        let mut dice = Dice::new(seed);
        let event = Event::after(&statements(&mut dice, 0));
        let fork = event.happens(&statements(&mut dice, 1));
        event.stops();
        let said = event.guard(&[]).expect_code(4).json();
        same(&listed(&said), &expected(&event.truth, &fork));
        let merged = merged(&event.base, &event.truth, &fork).expect("each has its own rows");
        let said = event.guard(&["--restore", "--yes"]).json();
        assert_eq!(said["done"]["verified"], "pass", "{said:#}");
        assert_eq!(rows_of(&event.pair.file()), merged);
        event.pair.assert_equal();
    }
}
