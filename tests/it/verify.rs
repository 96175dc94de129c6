//! `verify` and `repair`: whatever differs is found, by table, key and column; what does not differ
//! is never called different, whoever writes meanwhile; and what was not read is not called equal.

use std::collections::BTreeMap;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use serde_json::{Value, json};

use crate::generator::dice::Dice;
use crate::random::{SeedOnPanic, number_from_env, schema_seed};
use crate::support::pair::Pair;
use crate::support::scene::Scene;
use crate::support::sidecar::{Ended, LIMIT, Launch, wait_until};

/// Every kind of key and most kinds of columns.
const TABLES: &str = "
    create table person (id integer primary key, name text, n integer, r real, b blob);
    create table nokey (a text, b integer);
    create table word (w text primary key, n integer);
    create table pair (a integer, b text, v text, primary key (a, b)) without rowid;
    create table bytes (k blob primary key, v text);
    create table mixed (k primary key, v) without rowid;
    create table typed (id char(36) primary key, price decimal(12,2), flag boolean, at datetime,
                        day date, code char(5), doc text, amount decimal, label varchar(9));
    insert into person values (1, 'Ada', 1, 0.5, x'00'), (2, 'Brian', 2, -0.0, null),
        (3, '', 9223372036854775807, 9e999, x''), (4, null, null, null, zeroblob(3000)),
        (5, 'Ä', -1, 1e300, x'ff');
    insert into nokey values ('a', 1), ('a', 1), (null, null);
    insert into word values ('a', 1), ('A', 2), ('ä', 3), ('', 4);
    insert into pair values (1, 'x', 'one'), (1, 'X', 'two'), (2, 'x', null);
    insert into bytes values (x'', 'empty'), (x'00', 'zero'), (x'ff00', 'more');
    insert into mixed values (1, 'integer'), ('1', 1), (x'31', x'31'), (1.5, 1.5);
    insert into typed values
        ('550e8400-e29b-41d4-a716-446655440000', 1.5, 1, '2024-02-29 10:11:12.5', '2024-02-29',
         'ab', '{\"b\": 1.50, \"a\": [1e2, \"\\u00fc\"]}', 0.1, 'x'),
        ('550e8400-e29b-41d4-a716-446655440001', 3, 0, '2024-02-29 10:11:12', '0001-01-01',
         'abcde', '[]', 7, ''),
        ('550e8400-e29b-41d4-a716-446655440002', null, null, null, null, null, null, null, null);
";

/// The types that an application expects on PostgreSQL.
const CONFIG: &str = "
    [columns.typed]
    id = 'uuid'
    price = 'numeric(12,2)'
    flag = 'boolean'
    at = { type = 'timestamptz', zone = 'UTC' }
    day = 'date'
    code = 'char(5)'
    doc = { type = 'jsonb', accept = ['json_text'] }
    amount = 'numeric'
    label = 'varchar(9)'";

fn in_step() -> Pair {
    let pair = Pair::with(TABLES);
    pair.catch_up(CONFIG).expect_code(0);
    pair
}

fn verify(pair: &Pair, arguments: &[&str]) -> Ended {
    pair.call("verify", CONFIG).args(arguments).finish()
}

/// The verdict as JSON, with the exit code that belongs to it.
fn verdict(pair: &Pair, arguments: &[&str]) -> Value {
    let ended = verify(pair, &[&["--json", "--all"], arguments].concat());
    let verdict = ended.json();
    let code = match verdict["verdict"].as_str() {
        Some("pass") => 0,
        Some("fail") => 1,
        Some("incomplete") => 3,
        _ => panic!("no verdict: {verdict:#}"),
    };
    ended.expect_code(code);
    verdict
}

/// `table key kind columns`, sorted.
pub fn drift(verdict: &Value) -> Vec<String> {
    let rows = verdict["drift"].as_array().expect("a list").iter();
    let mut lines: Vec<String> = rows
        .map(|row| {
            let columns = row["columns"].as_array().expect("a list").iter();
            let columns: Vec<&str> = columns.map(|name| name.as_str().expect("a name")).collect();
            let line = format!(
                "{} {} {} {}",
                row["table"].as_str().expect("a name"),
                row["key"],
                row["kind"].as_str().expect("a word"),
                columns.join(",")
            );
            line.trim_end().to_owned()
        })
        .collect();
    lines.sort_unstable();
    lines
}

#[test]
fn equal_sides_pass_and_the_verdict_says_what_was_compared() {
    let pair = in_step();
    let said = verdict(&pair, &[]);
    assert_eq!(said["verdict"], "pass", "{said:#}");
    assert_eq!((&said["drift"], &said["in_flight"]), (&json!([]), &json!(0)));
    let tables = said["tables"].as_array().expect("a list");
    let rows: BTreeMap<&str, [u64; 4]> = tables
        .iter()
        .map(|table| {
            let count = |key: &str| table[key].as_u64().expect("a number");
            let name = table["name"].as_str().expect("a name");
            let counts = ["rows_source", "rows_target", "rows_compared", "rows_proven"].map(count);
            (name, counts)
        })
        .collect();
    let all = |rows: u64| [rows; 4];
    assert_eq!(
        rows,
        BTreeMap::from([
            ("person", all(5)),
            ("nokey", all(3)),
            ("word", all(4)),
            ("pair", all(3)),
            ("bytes", all(3)),
            ("mixed", all(4)),
            ("typed", all(3)),
        ])
    );
    let applied = pair.ask("select applied from lite2pg.position").remove(0);
    assert_eq!(said["position"]["applied"].to_string(), applied);
    let checksum = |said: &Value, at: usize| said["tables"][at]["checksum"].clone();
    assert_eq!(checksum(&verdict(&pair, &[]), 0), checksum(&said, 0), "the same of the same rows");
    pair.write("update person set n = 3 where id = 2");
    pair.catch_up(CONFIG).expect_code(0);
    assert_ne!(checksum(&verdict(&pair, &[]), 0), checksum(&said, 0));
    let one = verdict(&pair, &["--table", "WORD"]);
    assert_eq!(one["tables"].as_array().map(Vec::len), Some(1));
    verify(&pair, &["--table", "nothing"]).expect_code(2);
    let status = pair.status();
    assert_eq!(status["drift_rows"], 0);
    assert!(status["last_verify"].as_str().is_some_and(|at| at.ends_with('Z')), "{status:#}");
    let word = &status["tables"].as_array().expect("a list")[2];
    assert_eq!((&word["name"], &word["proven"]["rows"]), (&json!("word"), &json!(4)), "{word:#}");
    assert_eq!(word["proven"]["is_equal"], true);
    assert_eq!(word["proven"]["checksum"], one["tables"][0]["checksum"]);
    let kept = "select verdict || ' ' || coalesce(only_table, 'all') from lite2pg.verifications";
    assert_eq!(pair.ask(kept), ["pass all", "pass all", "pass all", "pass WORD"]);
    let told = verify(&pair, &[]).expect_code(0).stdout;
    assert!(told.starts_with("PASS: 25 rows in 7 tables are equal at position"), "{told}");
}

#[test]
fn every_key_of_the_verdict_is_explained() {
    let pair = in_step();
    pair.target().run("update person set n = 9 where id = 1");
    let said = verdict(&pair, &["--show-values"]);
    let page = std::fs::read_to_string(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify.md"),
    )
    .expect("the page is there");
    let mut objects = vec![&said, &said["tables"][0], &said["drift"][0], &said["position"]];
    pair.write("create virtual table f using fts5(x)");
    let left_out = verdict(&pair, &[]);
    assert_eq!(left_out["left_out"][0]["name"], "f", "{left_out:#}");
    objects.push(&left_out["left_out"][0]);
    for object in objects {
        for key in object.as_object().unwrap_or_else(|| panic!("{object}")).keys() {
            let names = [format!("`{key}`"), format!(".{key}`"), format!("{key}[]")];
            assert!(names.iter().any(|name| page.contains(name)), "{key} is not explained");
        }
    }
}

/// What is done to the target, and how it must be called.
const MUTATIONS: &[(&str, &str)] = &[
    ("update person set n = n # 1 where id = 1", "person [1] mismatched n"),
    ("update person set name = 'Adb' where id = 1", "person [1] mismatched name"),
    ("update person set name = 'ada' where id = 1", "person [1] mismatched name"),
    ("update person set name = 'Ada ' where id = 1", "person [1] mismatched name"),
    ("update person set name = 'A\u{308}' where id = 5", "person [5] mismatched name"),
    ("update person set name = null where id = 3", "person [3] mismatched name"),
    ("update person set name = '' where id = 4", "person [4] mismatched name"),
    ("update person set r = 0.5000000000000001 where id = 1", "person [1] mismatched r"),
    ("update person set r = '-Infinity' where id = 3", "person [3] mismatched r"),
    ("update person set b = '\\x01' where id = 1", "person [1] mismatched b"),
    ("update person set b = '' where id = 2", "person [2] mismatched b"),
    ("delete from person where id = 5", "person [5] missing"),
    ("insert into person values (6, 'new', null, null, null)", "person [6] extra"),
    ("insert into person values (-6, 'low', null, null, null)", "person [-6] extra"),
    ("update person set id = 7 where id = 5", "person [5] missing|person [7] extra"),
    ("delete from nokey where _lite2pg_rowid = 2", "nokey [2] missing"),
    ("insert into nokey values (9, 'a', 1)", "nokey [9] extra"),
    (
        "update person p set (name, n, r, b) =
             (select name, n, r, b from person q where q.id = 3 - p.id) where id in (1, 2)",
        "person [1] mismatched name,n,r,b|person [2] mismatched name,n,r,b",
    ),
    ("update word set n = 5 where w = 'A'", "word [\"A\"] mismatched n"),
    ("update word set w = 'AA' where w = 'A'", "word [\"A\"] missing|word [\"AA\"] extra"),
    ("update pair set v = 'two' where b = 'x' and a = 1", "pair [1,\"x\"] mismatched v"),
    ("delete from pair where b = 'X'", "pair [1,\"X\"] missing"),
    ("update bytes set v = 'Zero' where k = '\\x00'", "bytes [{\"blob\":\"00\"}] mismatched v"),
    ("delete from bytes where k = ''", "bytes [{\"blob\":\"\"}] missing"),
    ("update mixed set v = '1' where k = '\"1\"'", ""),
    ("update mixed set v = '1.0' where k = '\"1\"'", "mixed [\"1\"] mismatched v"),
    ("update mixed set v = '\"1\"' where k = '\"1\"'", "mixed [\"1\"] mismatched v"),
    (
        "update mixed set v = '{\"blob\": \"32\"}' where k = '{\"blob\": \"31\"}'",
        "mixed [{\"blob\":\"31\"}] mismatched v",
    ),
    ("update typed set price = price + 0.01 where price = 3", "typed 1 mismatched price"),
    ("update typed set flag = not flag where price = 3", "typed 1 mismatched flag"),
    (
        "update typed set at = at + interval '1 microsecond' where price = 3",
        "typed 1 mismatched at",
    ),
    ("update typed set day = day + 1 where price = 3", "typed 1 mismatched day"),
    ("update typed set code = 'abcdf' where price = 3", "typed 1 mismatched code"),
    ("update typed set doc = '[1]' where price = 3", "typed 1 mismatched doc"),
    ("update typed set doc = null where price = 3", "typed 1 mismatched doc"),
    ("update typed set doc = doc || '{\"b\": 1.5}' where price = 1.5", "typed 0 mismatched doc"),
    ("update typed set amount = 7.1 where price = 3", "typed 1 mismatched amount"),
    ("update typed set label = ' ' where price = 3", "typed 1 mismatched label"),
    ("update typed set price = 0 where price is null", "typed 2 mismatched price"),
];

/// The same for the source, written past the triggers. What is changed stays so.
const MUTATIONS_OF_SOURCE: &[(&str, &str)] = &[
    ("update person set n = n + 4 where id = 1", "person [1] mismatched n"),
    ("update person set name = 'Adb' where id = 1", "person [1] mismatched name"),
    ("update person set name = 'adb' where id = 1", "person [1] mismatched name"),
    ("update person set name = 'adb ' where id = 1", "person [1] mismatched name"),
    ("update person set name = 'A\u{308}' where id = 5", "person [5] mismatched name"),
    ("update person set name = null where id = 3", "person [3] mismatched name"),
    ("update person set r = 0.5000000000000001 where id = 1", "person [1] mismatched r"),
    ("update person set r = 5e-324 where id = 2", "person [2] mismatched r"),
    ("update person set b = x'01' where id = 1", "person [1] mismatched b"),
    ("update person set b = x'' where id = 2", "person [2] mismatched b"),
    ("delete from person where id = 4", "person [4] extra"),
    ("insert into person values (6, 'new', null, null, null)", "person [6] missing"),
    (
        "create temp table s as select * from person;
         update person set (name, n) = (select name, n from s where s.id = 3 - person.id)
          where id in (1, 2)",
        "person [1] mismatched name,n|person [2] mismatched name,n",
    ),
    ("insert into nokey values ('a', 1)", "nokey [4] missing"),
    ("delete from nokey where rowid = 2", "nokey [2] extra"),
    ("update word set w = 'AA' where w = 'A'", "word [\"A\"] extra|word [\"AA\"] missing"),
    ("update pair set b = 'Y' where b = 'X'", "pair [1,\"X\"] extra|pair [1,\"Y\"] missing"),
    ("update bytes set v = 'Zero' where k = x'00'", "bytes [{\"blob\":\"00\"}] mismatched v"),
    ("update mixed set v = 7 where k = 1", "mixed [1] mismatched v"),
    ("update mixed set v = '7' where k = 1", "mixed [1] mismatched v"),
    ("update mixed set v = x'37' where k = 1", "mixed [1] mismatched v"),
    ("update mixed set v = 1.0 where k = '1'", "mixed [\"1\"] mismatched v"),
    ("update typed set price = 3.01 where price = 3", "typed 1 mismatched price"),
    ("update typed set flag = 1 where price = 3.01", "typed 1 mismatched flag"),
    (
        "update typed set at = '2024-02-29 10:11:12.000001' where price = 3.01",
        "typed 1 mismatched at",
    ),
    ("update typed set day = '0001-01-02' where price = 3.01", "typed 1 mismatched day"),
    ("update typed set doc = '[1]' where price = 3.01", "typed 1 mismatched doc"),
    ("update typed set label = ' ' where price = 3.01", "typed 1 mismatched label"),
    // The last, because the target cannot hold it.
    ("update person set n = 'seven' where id = 3", "person [3] mismatched n"),
];

/// One difference a line; `typed 1` stands for a longer key.
fn expected_drift(lines: &str) -> Vec<String> {
    let whole = |line: &str| match line.strip_prefix("typed ") {
        Some(rest) => {
            let (last, rest) = rest.split_at(1);
            format!("typed [\"550e8400-e29b-41d4-a716-44665544000{last}\"]{rest}")
        }
        None => line.to_owned(),
    };
    lines.split('|').filter(|line| !line.is_empty()).map(whole).collect()
}

#[test]
fn every_difference_planted_in_the_source_is_found_by_table_key_and_column() {
    let pair = in_step();
    for (sql, expected) in MUTATIONS_OF_SOURCE {
        write_past_the_triggers(&pair, sql);
        let said = verdict(&pair, &[]);
        assert_eq!(drift(&said), expected_drift(expected), "{sql}");
        let ended = pair.call("repair", CONFIG).finish();
        let aside = pair.quarantine().len();
        ended.expect_code(i32::from(aside != 0));
        assert_eq!(verdict(&pair, &["--full"])["drift_rows"], 0, "after the repair of {sql}");
    }
    assert_eq!(pair.quarantine(), ["person [3] n: text does not fit bigint"]);
}

/// It differs for two reasons: the target cannot hold it, and holds what it was.
#[test]
fn a_row_that_the_target_cannot_hold_any_more_counts_once() {
    let pair = Pair::with(
        "create table by_number (id integer primary key, n integer);
         create table by_digest (id text collate nocase primary key, n integer);
         insert into by_number values (1, 1), (2, 2); insert into by_digest values ('a', 1)",
    );
    pair.catch_up("").expect_code(0);
    write_past_the_triggers(&pair, "update by_number set n = 'one' where id = 1");
    write_past_the_triggers(&pair, "update by_digest set n = 'one'");
    let ended = pair.call("verify", "").arg("--json").finish().expect_code(1);
    let said = ended.json();
    let expected = ["by_digest [\"a\"] mismatched n", "by_number [1] mismatched n"];
    assert_eq!((drift(&said), &said["drift_rows"]), (expected.map(String::from).into(), &json!(2)));
}

#[test]
fn every_planted_difference_is_found_by_table_key_and_column() {
    let pair = in_step();
    for (sql, expected) in MUTATIONS {
        pair.target().run(sql);
        let expected = expected_drift(expected);
        let said = verdict(&pair, &[]);
        assert_eq!(drift(&said), expected, "{sql}");
        assert_eq!(said["drift_rows"], expected.len(), "{sql}");
        let ended = pair.call("repair", CONFIG).finish().expect_code(0);
        let touched = format!(
            "{} touched",
            match expected.len() {
                1 => "1 row".to_owned(),
                rows => format!("{rows} rows"),
            }
        );
        assert!(ended.stdout.contains(&touched), "{sql}: {}", ended.stdout);
        assert_eq!(verdict(&pair, &["--full"])["verdict"], "pass", "after the repair of {sql}");
    }
}

#[test]
fn values_are_shown_only_when_they_are_asked_for() {
    let pair = in_step();
    pair.target().run("update person set name = 'secret' where id = 1");
    let quiet = verify(&pair, &[]).expect_code(1);
    assert!(quiet.stdout.contains("person [1]: different in name"), "{}", quiet.stdout);
    assert!(!quiet.stdout.contains("secret") && !quiet.stderr.contains("secret"), "{quiet}");
    let shown = verify(&pair, &["--show-values"]).expect_code(1);
    assert!(shown.stdout.contains("name: \"Ada\" here, \"secret\" there"), "{}", shown.stdout);
}

/// Where a difference is planted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// Past the triggers.
    Source,
    Target,
}

#[test]
fn ten_thousand_random_mutations_are_found_and_nothing_else() {
    plant_at_random(0, Side::Target);
}

#[test]
fn ten_thousand_random_mutations_of_the_source_are_found_and_nothing_else() {
    plant_at_random(1, Side::Source);
}

/// Rows of many kinds, some of which somebody else has changed.
fn plant_at_random(n: u64, side: Side) {
    let seed = schema_seed(n);
    let _replay = SeedOnPanic(seed);
    let dice = &mut Dice::new(seed);
    let mutations = usize::try_from(number_from_env("LITE2PG_MUTATIONS", 10_000)).expect("fits");
    let rows = 20_000;
    let pair = Pair::with(&format!(
        "create table t (id integer primary key, a text, b integer, c real, d blob);
         create table k (w text primary key, a text, b integer, c real, d blob);
         with recursive n (i) as (select 1 union all select i + 1 from n where i < {rows})
         insert into t select i, 'text ' || i, i * 7, i / 8.0, randomblob(9) from n;
         insert into k select 'key ' || id, a, b, c, d from t"
    ));
    pair.catch_up("").expect_code(0);
    let mut expected = BTreeMap::new();
    let mut script = String::from("begin;");
    while expected.len() < mutations {
        let (table, id) = (dice.pick(&["t", "k"]), 1 + dice.below(rows));
        let (key, named) = match table {
            "t" => (format!("id = {id}"), format!("[{id}]")),
            _ => (format!("w = 'key {id}'"), format!("[\"key {id}\"]")),
        };
        let (sql, kind) = match (dice.below(7), side) {
            (0, Side::Source) => (format!("delete from {table} where {key}"), "extra"),
            (3, Side::Source) => {
                (format!("update {table} set b = (b | 1) - (b & 1) where {key}"), "mismatched b")
            }
            (5, Side::Source) => {
                (format!("update {table} set d = zeroblob(9) where {key}"), "mismatched d")
            }
            (0, _) => (format!("delete from {table} where {key}"), "missing"),
            (1, _) => (format!("update {table} set a = null where {key}"), "mismatched a"),
            (2, _) => (format!("update {table} set a = a || ' ' where {key}"), "mismatched a"),
            (3, _) => (format!("update {table} set b = b # 1 where {key}"), "mismatched b"),
            (4, _) => {
                (format!("update {table} set c = c + c * 2.3e-16 where {key}"), "mismatched c")
            }
            (5, _) => (
                format!(
                    "update {table} set d = set_bit(d, {}, 1 - get_bit(d, {0})) where {key}",
                    dice.below(72)
                ),
                "mismatched d",
            ),
            _ => (format!("update {table} set b = null, c = null where {key}"), "mismatched b,c"),
        };
        let line = format!("{table} {named} {kind}");
        if let std::collections::btree_map::Entry::Vacant(vacant) =
            expected.entry(format!("{table} {named}"))
        {
            vacant.insert(line);
            script.push_str(&sql);
            script.push(';');
        }
    }
    match side {
        Side::Source => write_past_the_triggers(&pair, &format!("{script} commit")),
        Side::Target => pair.target().run(&format!("{script} commit")),
    }
    let mut expected: Vec<String> = expected.into_values().collect();
    expected.sort_unstable();
    let ended = pair.call("verify", "").args(["--json", "--all"]).finish().expect_code(1);
    let said = ended.json();
    let found = drift(&said);
    let missed: Vec<_> = expected.iter().filter(|line| !found.contains(line)).take(5).collect();
    assert_eq!((found.len(), missed), (expected.len(), vec![]), "seed {seed}");
    // All are counted, though only some are listed.
    let ended = pair.call("verify", "").arg("--json").finish().expect_code(1);
    let said = ended.json();
    assert_eq!(said["drift_rows"], expected.len());
    assert_eq!(said["drift"].as_array().map(Vec::len), Some(expected.len().min(100)));
    pair.call("repair", "").finish().expect_code(0);
    pair.assert_equal();
}

#[test]
fn a_writer_at_full_speed_raises_no_alarm() {
    let scene = Scene::new(91);
    let mut sidecar = scene.run(scene.url()).start();
    scene.await_streaming(&mut sidecar);
    let writer = scene.write();
    for run in 0..number_from_env("LITE2PG_VERIFY_RUNS", 10) {
        let whole = if run % 2 == 0 { &["--full"][..] } else { &[] };
        let said = scene.verify("", whole);
        assert_eq!(said["drift"], json!([]), "{said:#}");
        assert_eq!(said["verdict"], "pass", "{said:#}");
        writer.await_commits(100);
    }
    writer.stop();
    scene.end(sidecar);
}

/// The application's connection, with its triggers switched off as a careless tool might.
pub fn write_past_the_triggers(pair: &Pair, sql: &str) {
    let careless = Connection::open(pair.file()).expect("open the source");
    careless
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)
        .expect("switch triggers off");
    careless.execute_batch(sql).expect("the statements are valid");
}

#[test]
fn what_was_written_past_the_triggers_is_found_and_repaired_beside_a_running_sidecar() {
    let pair = in_step();
    let mut sidecar = pair.call("run", CONFIG).start();
    pair.await_streaming(&mut sidecar);
    write_past_the_triggers(
        &pair,
        "update person set name = 'unseen' where id = 1; delete from person where id = 2;
         insert into word values ('unseen', 1); delete from nokey where rowid = 3",
    );
    let said = verdict(&pair, &[]);
    assert_eq!(
        drift(&said),
        [
            "nokey [3] extra",
            "person [1] mismatched name",
            "person [2] extra",
            "word [\"unseen\"] missing"
        ]
    );
    let dry = pair.call("repair", CONFIG).arg("--dry-run").finish().expect_code(1);
    assert!(dry.stdout.contains("4 rows differed, 0 rows touched"), "{}", dry.stdout);
    let ended = pair.call("repair", CONFIG).args(["--table", "person"]).finish().expect_code(0);
    assert!(ended.stdout.contains("2 rows differed, 2 rows touched"), "{}", ended.stdout);
    assert_eq!(verdict(&pair, &[])["drift_rows"], 2, "the other tables are as they were");
    pair.call("repair", CONFIG).finish().expect_code(0);
    sidecar.terminate().expect_code(0);
    assert_eq!(verdict(&pair, &["--full"])["verdict"], "pass");
}

#[test]
fn what_was_not_read_is_not_called_equal() {
    let pair = Pair::with(
        "create table t (id integer primary key, v text); insert into t values (1, 'a')",
    );
    let call = || pair.call("verify", "").finish();
    call().expect_code(3).expect_error(&["nothing has been replicated"]);
    pair.catch_up("").expect_code(0);
    call().expect_code(0);
    // Nobody applies this one.
    pair.write("insert into t values (2, 'b')");
    let ended = call().expect_code(3);
    assert!(ended.stdout.starts_with("INCOMPLETE: "), "{}", ended.stdout);
    assert!(ended.stdout.contains("1 in flight"), "{}", ended.stdout);
    // A difference elsewhere is one all the same.
    pair.target().run("update t set v = 'x' where id = 1");
    let ended = call().expect_code(1);
    assert!(ended.stdout.contains("t [1]: different in v"), "{}", ended.stdout);
    pair.call("repair", "").finish().expect_code(0);
    // A row that the target cannot hold is missing there, and no secret.
    pair.write("insert into t values (3, cast(x'ff' as text))");
    pair.catch_up("").expect_code(0);
    let ended = call().expect_code(1);
    assert!(ended.stdout.contains("1 in quarantine"), "{}", ended.stdout);
    // ... but one that is neither there nor in quarantine was lost.
    pair.target().run("delete from lite2pg.quarantine");
    let ended = call().expect_code(1);
    assert!(ended.stdout.contains("t [3]: missing on PostgreSQL"), "{}", ended.stdout);
}

#[test]
fn a_table_that_nobody_has_taken_in_yet_makes_the_verdict_incomplete() {
    let pair = Pair::with("create table t (id integer primary key); insert into t values (1)");
    pair.catch_up("").expect_code(0);
    pair.write("create table new (id integer primary key); insert into new values (1)");
    let ended = pair.call("verify", "").finish().expect_code(3);
    assert!(ended.stdout.contains("not compared: new ("), "{}", ended.stdout);
    pair.catch_up("").expect_code(0);
    pair.call("verify", "").finish().expect_code(0);
    // ... and one whose counterpart somebody has dropped.
    pair.target().run("drop table public.new");
    let ended = pair.call("verify", "").finish();
    assert_ne!(ended.code, Some(0), "{ended}");
}

#[test]
fn a_table_that_is_stopped_makes_the_verdict_incomplete() {
    let pair = Pair::with(
        "create table t (id integer primary key, v text); insert into t values (1, 'a');
         create table u (id integer primary key); insert into u values (1)",
    );
    pair.target().run(
        "create table t (id bigint primary key, v text); create table u (id bigint primary key)",
    );
    let config = "mode = 'adopt'";
    pair.catch_up(config).expect_code(0);
    pair.call("verify", config).finish().expect_code(0);
    pair.write("alter table t add column w text; update t set w = 'x'");
    pair.catch_up(config).expect_code(1);
    let ended = pair.call("verify", config).finish().expect_code(3);
    assert!(ended.stdout.contains("not compared: t (w: t has no column w)"), "{}", ended.stdout);
}

/// The digest of a row that the encoder got wrong is wrong on both sides alike.
#[test]
fn a_mistake_of_the_encoder_is_found_by_bringing_values_home() {
    let pair = Pair::with(
        "create table t (id integer primary key, n integer, r real, s text);
         insert into t values (1, 41, 0.5, 'a'), (2, 42, 0.5, 'a'), (3, 43, 0.25, 'bent')",
    );
    let bent = |subcommand: &str| pair.call(subcommand, "").env("LITE2PG_BEND", "42");
    bent("run").arg("--until-caught-up").finish().expect_code(0);
    assert_eq!(pair.ask("select n from t where id = 2"), ["43"], "the encoder is bent");
    let ended = bent("verify").args(["--json"]).finish().expect_code(1);
    let said = ended.json();
    assert_eq!(drift(&said), ["t [2] mismatched n"]);
}

#[test]
fn a_verify_that_begins_during_the_first_copy_says_so() {
    let scene = Scene::new(92);
    let mut sidecar = scene.run(scene.url()).args(["--copy-rows-per-second", "300"]).start();
    scene.await_mid_copy(&mut sidecar);
    let ended = Launch::new("verify")
        .arg("--source")
        .arg(&scene.file)
        .args(["--target", scene.url()])
        .finish()
        .expect_code(3);
    ended.expect_error(&["the first copy is not finished"]);
    sidecar.kill();
}

/// No row is read twice: for no type do the digests differ by form, and all come home.
#[test]
fn digests_agree_for_every_type_without_a_second_look() {
    let columns: &[(&'static str, &'static str, &'static str)] = &[
        ("smallint", "integer", "i % 32768 - 9"),
        ("integer", "integer", "i * 7 - 5000"),
        ("bigint", "integer", "i * 9007199254740"),
        ("real", "real", "i / 4.0"),
        ("double precision", "real", "i / 7.0"),
        ("numeric", "decimal", "i / 8.0"),
        ("numeric(12,2)", "decimal", "i / 4.0"),
        ("numeric(9,4)", "text", "printf('%.4f', i / 16.0)"),
        ("boolean", "boolean", "i % 2"),
        ("text", "text", "'text ' || i"),
        ("varchar(9)", "text", "'v' || i"),
        ("char(9)", "text", "'c' || i"),
        ("bytea", "blob", "randomblob(5)"),
        ("date", "text", "date('2024-01-01', '+' || i % 999 || ' days')"),
        ("time", "text", "time(i * 7, 'unixepoch')"),
        ("timestamp", "text", "datetime(1700000000 + i, 'unixepoch')"),
        ("timestamp(3)", "text", "datetime(1700000000 + i, 'unixepoch')"),
        ("timestamptz", "integer", "1700000000 + i"),
        ("interval", "integer", "i * 1000003 - 77"),
        ("uuid", "text", "printf('550e8400-e29b-41d4-a716-%012x', i)"),
        ("json", "text", "printf('{\"b\":  %d}', i)"),
        ("jsonb", "text", "printf('{\"b\":  %d.50, \"a\": [1e%d, \"\\u00fc\"]}', i, i % 9)"),
        ("inet", "text", "printf('10.0.%d.%d', i / 256 % 256, i % 256)"),
        ("macaddr", "text", "printf('08:00:2b:01:%02x:%02x', i / 256 % 256, i % 256)"),
        ("integer[]", "text", "printf('[%d,%d]', i, i + 1)"),
        ("text[]", "text", "printf('[\"%d\",null]', i)"),
        ("mood", "text", "iif(i % 3, 'happy', 'sad')"),
        ("price", "decimal", "i / 4.0"),
    ];
    type Column = (&'static str, &'static str, &'static str);
    let list = |of: &dyn Fn(usize, &Column) -> String, joint: &str| {
        let columns: Vec<String> =
            columns.iter().enumerate().map(|(at, column)| of(at, column)).collect();
        columns.join(joint)
    };
    let rows = 10_500;
    let pair = Pair::with(&format!(
        "create table by_number (id integer primary key, {});
         create table by_text (id text primary key, {});
         create table mixed (id integer primary key, v);
         with recursive n (i) as (select 1 union all select i + 1 from n where i < {rows})
         insert into by_number select i, {} from n;
         insert into by_text select 'k' || id, {} from by_number;
         insert into mixed select id, case id % 6 when 0 then id when 1 then id / 8.0
             when 2 then char(1, 9, 34, 92, 252, 127) || id when 3 then cast(id as blob)
             when 4 then 1e300 else -id end from by_number",
        list(&|at, (_, declared, _)| format!("c{at} {declared}"), ", "),
        list(&|at, (_, declared, _)| format!("c{at} {declared}"), ", "),
        list(&|_, (_, _, value)| (*value).to_owned(), ", "),
        list(&|at, _| format!("c{at}"), ", "),
    ));
    pair.target().run(
        "create type mood as enum ('happy', 'sad');
         create domain price as numeric(8, 2) check (0 <= value)",
    );
    let mut config = String::new();
    for table in ["by_number", "by_text"] {
        config.push_str(&format!("[columns.{table}]\n"));
        config.push_str(&list(
            &|at, (pg, ..)| {
                format!("c{at} = {{ type = '{pg}', zone = 'UTC', accept = ['json_text'] }}")
            },
            "\n",
        ));
        config.push('\n');
    }
    pair.catch_up(&config).expect_code(0);
    assert_eq!(pair.quarantine(), [""; 0]);
    let ended = pair.call("verify", &config).arg("--json").finish().expect_code(0);
    let said = ended.json();
    for table in said["tables"].as_array().expect("a list") {
        assert_eq!((&table["rows_again"], &table["rows_compared"]), (&json!(0), &json!(rows)));
    }
}

const SUMS: &str = "
    [invariants.'sum of n']
    source = 'select sum(n) from word'
    [invariants.'by word']
    source = 'select w, n from word'
    target = 'select w, n from word order by n desc'
    [invariants.'about as much']
    source = 'select sum(n) * 1.001 from word'
    target = 'select sum(n) from word'
    tolerance = 0.1
    [invariants.'no negative ones']
    source = 'select count(*) from word where n < 0'
    expect = '0'
    [invariants.'nice to have']
    source = 'select 1'
    target = 'select 2'
    severity = 'warn'
";

#[test]
fn invariants_are_asked_on_both_sides_at_one_position() {
    let pair = Pair::with(
        "create table word (w text primary key, n integer);
         insert into word values ('a', 1), ('b', 2)",
    );
    pair.catch_up(SUMS).expect_code(0);
    let states = || {
        let ended = pair.call("verify", SUMS).arg("--json").finish();
        let said = ended.json();
        let found = said["invariants"].as_array().expect("a list").iter();
        let states: BTreeMap<String, String> = found
            .map(|one| {
                [&one["name"], &one["state"]].map(|text| text.as_str().expect("a word").into())
            })
            .map(|[name, state]| (name, state))
            .collect();
        (said["verdict"].as_str().expect("a word").to_owned(), states)
    };
    let of = |sum: &str, by_word: &str, about: &str, negative: &str| {
        BTreeMap::from(
            [
                ("sum of n", sum),
                ("by word", by_word),
                ("about as much", about),
                ("no negative ones", negative),
                ("nice to have", "violated"),
            ]
            .map(|(name, state)| (name.to_owned(), state.to_owned())),
        )
    };
    assert_eq!(states(), ("pass".into(), of("kept", "kept", "kept", "kept")));
    pair.write("insert into word values ('c', -1)");
    assert_eq!(
        states(),
        (
            "incomplete".into(),
            BTreeMap::from(
                [
                    ("sum of n", "unknown"),
                    ("by word", "unknown"),
                    ("about as much", "unknown"),
                    ("no negative ones", "unknown"),
                    ("nice to have", "unknown"),
                ]
                .map(|(name, state)| (name.to_owned(), state.to_owned()))
            )
        ),
        "nobody replays"
    );
    pair.catch_up(SUMS).expect_code(0);
    assert_eq!(states(), ("fail".into(), of("kept", "kept", "kept", "violated")));
    let told = pair.call("verify", SUMS).finish().expect_code(1).stdout;
    assert!(told.contains("and something else is not"), "{told}");
    assert!(told.contains("invariant no negative ones: VIOLATED: 1 on SQLite, 1 on"), "{told}");
    pair.target().run("update word set n = 5 where w = 'a'");
    assert_eq!(states(), ("fail".into(), of("violated", "violated", "violated", "violated")));
    // A statement that would write is refused, and nothing happens.
    let writes = "[invariants.bad]\nsource = 'delete from word returning n'\ntarget = 'select 1'";
    pair.call("verify", writes)
        .finish()
        .expect_code(2)
        .expect_error(&["would write to the source"]);
    let writes = "[invariants.bad]\nsource = 'select 1'\ntarget = 'delete from word'";
    pair.call("verify", writes).finish().expect_code(3).expect_error(&["read-only transaction"]);
}

#[test]
fn invariants_are_kept_under_a_writer() {
    let scene = Scene::new(93);
    let mut sidecar = scene.run(scene.url()).start();
    scene.await_streaming(&mut sidecar);
    let writer = scene.write();
    let sums = "[invariants.money]\nsource = 'select sum(balance) from account'";
    for _ in 0..3 {
        let said = scene.verify(sums, &[]);
        assert_ne!(said["invariants"][0]["state"], "violated", "{said:#}");
        assert_ne!(said["verdict"], "fail", "{said:#}");
    }
    writer.stop();
    scene.await_step(&mut sidecar);
    scene.end(sidecar);
}

#[test]
fn what_belongs_to_the_tables_beside_their_rows_is_looked_at() {
    let pair = Pair::with(
        "create table p (id integer primary key, n integer check (n < 100));
         create table c (id integer primary key, p integer references p (id));
         create index by_n on p (n); create view small as select id from p where n < 5;
         insert into p values (1, 1), (2, 2); insert into c values (1, 1)",
    );
    pair.catch_up("").expect_code(0);
    let checks = |code: i32| -> Vec<String> {
        let ended = pair.call("verify", "").arg("--json").finish().expect_code(code);
        let said = ended.json();
        let checks = said["checks"].as_array().expect("a list").iter();
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let mut lines: Vec<String> = checks
            .filter(|check| check["state"] != "ok")
            .map(|check| format!("{} {}", text(&check["state"]), text(&check["name"])))
            .collect();
        lines.sort_unstable();
        lines
    };
    // Foreign keys and sequences are the last step's.
    assert_eq!(
        checks(0),
        [
            "waiting foreign key c_p_fkey of c",
            "waiting sequence public.c_id_seq",
            "waiting sequence public.p_id_seq"
        ]
    );
    pair.call("schema", "").arg("--finalise").finish().expect_code(0);
    assert_eq!(checks(0), [""; 0]);
    pair.target().run(
        "drop index by_n; drop view small; alter table c drop constraint c_p_fkey;
         alter table p drop constraint p_pkey; select setval('p_id_seq', 1)",
    );
    assert_eq!(
        checks(1),
        [
            "failed foreign key c_p_fkey of c",
            "failed index by_n of p",
            "failed key of p",
            "failed view small of small",
            "waiting sequence public.p_id_seq"
        ]
    );
}

/// `state name: message` of what was looked at in either side alone.
fn soundness(pair: &Pair, arguments: &[&str]) -> (Value, Vec<String>) {
    let ended = pair.call("verify", "").arg("--json").args(arguments).finish();
    let said = ended.json();
    let checks = said["checks"].as_array().expect("a list").iter();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let lines = checks
        .filter(|check| check["state"] != "waiting")
        .map(|check| ["state", "name", "message"].map(|key| text(&check[key])).join(" "))
        .collect();
    (said["verdict"].clone(), lines)
}

#[test]
fn orphans_are_noticed_on_both_sides_and_fail_nothing() {
    let pair = Pair::with(
        "pragma foreign_keys = off; create table p (id integer primary key, code text unique);
         create table c (id integer primary key, p integer references p,
                         code text references p (code));
         insert into p values (1, 'a');
         insert into c values (1, 1, 'a'), (2, null, null), (3, 7, 'a'), (4, 8, 'x')",
    );
    pair.catch_up("").expect_code(0);
    let sound = "ok integrity of the file -";
    let orphans = [
        sound,
        "noticed orphans c (p) of SQLite 2 rows have no parent in p",
        "noticed orphans c (code) of SQLite 1 row has no parent in p",
        "noticed orphans c (p) of PostgreSQL 2 rows have no parent in p",
        "noticed orphans c (code) of PostgreSQL 1 row has no parent in p",
    ];
    let all: Vec<String> = orphans.iter().map(|line| (*line).to_owned()).collect();
    assert_eq!(soundness(&pair, &[]), (json!("pass"), all.clone()));
    // It costs more than to compare, so it is not done again for a day, unless all is asked for.
    assert_eq!(soundness(&pair, &[]), (json!("pass"), vec![]));
    assert_eq!(soundness(&pair, &["--full"]), (json!("pass"), all));
    pair.target().run("update lite2pg.verifications set at = at - interval '25 hours'");
    assert_eq!(soundness(&pair, &[]).1.len(), 5);
}

#[test]
fn a_damaged_file_fails_the_verdict_although_its_rows_are_equal() {
    let pair = Pair::with(
        "create table t (id integer primary key, v text, w text); create index by_v on t (v);
         insert into t values (1, 'a', 'x'), (2, 'b', 'y')",
    );
    pair.catch_up("").expect_code(0);
    assert_eq!(soundness(&pair, &["--full"]).0, "pass");
    // An index that says it is of another column than it is.
    pair.write(
        "pragma writable_schema = on;
         update sqlite_schema set sql = 'create index by_v on t (w)' where name = 'by_v';
         pragma writable_schema = reset",
    );
    let (verdict, checks) = soundness(&pair, &["--full"]);
    assert_eq!(verdict, "fail", "{checks:?}");
    let damage = "failed integrity of the file row 1 missing from index by_v";
    assert!(checks.iter().any(|line| line.starts_with(damage)), "{checks:?}");
}

/// A row is read as a whole, and no more than a few megabytes of them at a time.
#[test]
fn large_rows_are_compared_in_little_memory() {
    let pair = Pair::with(
        "create table doc (name text primary key, body blob);
         with recursive n (i) as (select 1 union all select i + 1 from n where i < 60)
         insert into doc select 'doc ' || i, randomblob(2097152) from n",
    );
    pair.catch_up("").expect_code(0);
    pair.target().run(
        "update doc set body = set_byte(body, 2097151, 255 - get_byte(body, 2097151))
                        where name = 'doc 60'",
    );
    let mut process = pair.call("verify", "").args(["--full", "--json"]).start();
    let mut peak = 0;
    let ended = wait_until(LIMIT, || {
        peak = process.peak_mib().map_or(peak, |now| peak.max(now));
        (!process.is_running()).then_some(())
    });
    ended.expect("it ends");
    let ended = process.wait(LIMIT).expect_code(1);
    assert!((10..100).contains(&peak), "{peak} MiB for 120 MiB of rows");
    let said = ended.json();
    assert_eq!(drift(&said), ["doc [\"doc 60\"] mismatched body"]);
    let table = &said["tables"][0];
    assert_eq!((&table["rows_again"], &table["mismatched"]), (&json!(1), &json!(1)), "{table:#}");
}

#[test]
fn a_row_whose_key_no_row_of_the_source_can_have_is_one_too_many() {
    let pair = in_step();
    pair.target().run("insert into mixed values ('{\"foo\": 1}', '1'), ('[1]', '2')");
    let said = verdict(&pair, &[]);
    assert_eq!(drift(&said), ["mixed null extra", "mixed null extra"]);
    // Nobody can touch it in the changelog, and the repair says so.
    let ended = pair.call("repair", CONFIG).finish().expect_code(1);
    assert!(ended.stdout.contains("2 rows differed, 0 rows touched"), "{}", ended.stdout);
}

#[test]
fn the_rate_limit_of_a_comparison_holds() {
    let pair = Pair::with(
        "create table t (id integer primary key, v text);
         with recursive n (i) as (select 1 union all select i + 1 from n where i < 3000)
         insert into t select i, 'v' from n",
    );
    pair.catch_up("").expect_code(0);
    let ended = pair.call("verify", "").args(["--rows-per-second", "1500", "--json"]).finish();
    let said = ended.expect_code(0).json();
    let seconds = said["seconds"].as_f64().expect("a number");
    assert!((2.0..30.0).contains(&seconds), "3,000 rows at 1,500 a second took {seconds} s");
}
