//! The running checksum: what was proven stays proven until somebody touches it, an hourly run
//! costs what changed, and whatever is not read now has its turn.

use std::collections::BTreeSet;

use lite2pg::failpoint;
use serde_json::{Value, json};

use crate::generator::dice::Dice;
use crate::random::{SeedOnPanic, number_from_env, schema_seed};
use crate::support::pair::Pair;
use crate::verify::{drift, write_past_the_triggers};

/// Rows of each table; with half a kilobyte each they make some six chunks.
const ROWS: u64 = 24_000;

/// A table for each order in which rows are compared: by an integer, by a text, by both, and in
/// none that both sides share.
fn tables(rows: u64) -> String {
    format!(
        "create table by_number (id integer primary key, n integer, v text);
         create table by_text (id text primary key, n integer, v text);
         create table by_pair (a integer, b text, n integer, v text, primary key (a, b))
             without rowid;
         create table by_digest (id text collate nocase primary key, n integer, v text);
         with recursive i (i) as (select 1 union all select i + 1 from i where i < {rows})
         insert into by_number select i, i, hex(zeroblob(250)) || i from i;
         insert into by_text select printf('key %06d', id), n, v from by_number;
         insert into by_pair select id / 7, 'b' || id, n, v from by_number;
         insert into by_digest select id, n, v from by_text"
    )
}

const TABLES: [&str; 4] = ["by_number", "by_text", "by_pair", "by_digest"];

fn in_step() -> Pair {
    let pair = Pair::with(&tables(ROWS));
    pair.catch_up("").expect_code(0);
    pair
}

fn verify(pair: &Pair, config: &str, arguments: &[&str]) -> Value {
    let ended = pair.call("verify", config).args(["--json", "--all"]).args(arguments).finish();
    ended.json()
}

/// A number of each table, in their order.
fn each(said: &Value, key: &str) -> Vec<u64> {
    let tables = said["tables"].as_array().expect("a list").iter();
    tables.map(|table| table[key].as_u64().unwrap_or_else(|| panic!("{table:#}"))).collect()
}

fn checksums(said: &Value) -> Vec<String> {
    let tables = said["tables"].as_array().expect("a list").iter();
    tables.map(|table| table["checksum"].as_str().expect("a text").to_owned()).collect()
}

#[test]
fn an_hourly_run_reads_what_changed_and_a_share_of_the_rest() {
    let pair = in_step();
    let first = verify(&pair, "", &[]);
    assert_eq!(each(&first, "rows_compared"), [ROWS; 4], "nothing was proven before");
    assert_eq!(first["scope"], "changes");
    pair.write(
        "update by_number set n = -1 where id % 4000 = 5;
         update by_text set n = -1 where n % 4000 = 5; delete from by_text where n = 7;
         update by_pair set n = -1 where n % 4000 = 5;
         update by_digest set n = -1 where n % 4000 = 5;
         insert into by_number values (-5, 0, 'new')",
    );
    pair.catch_up("").expect_code(0);
    let second = verify(&pair, "", &[]);
    assert_eq!(second["verdict"], "pass", "{second:#}");
    for (table, compared) in TABLES.iter().zip(each(&second, "rows_compared")) {
        assert!((7..ROWS / 2).contains(&compared), "{table}: {compared} of {ROWS}");
    }
    assert_eq!(each(&second, "rows_proven").iter().sum::<u64>(), 4 * ROWS, "as they were read");
    let told = pair.call("verify", "").finish().expect_code(0).stdout;
    assert!(told.starts_with("PASS: 96,000 rows in 4 tables are equal at position"), "{told}");
    assert!(told.contains(" rows read now, the rest since 20"), "{told}");
    // A full one says the same of rows and checksums as one that knows nothing.
    let full = verify(&pair, "", &["--full"]);
    assert_eq!(each(&full, "rows_compared"), [ROWS + 1, ROWS - 1, ROWS, ROWS]);
    assert_eq!(each(&full, "rows_proven"), each(&full, "rows_compared"));
    pair.target().run("delete from lite2pg.chunks");
    assert_eq!(checksums(&verify(&pair, "", &[])), checksums(&full));
    assert_ne!(checksums(&first), checksums(&full));
}

#[test]
fn rows_that_were_touched_are_compared_even_if_their_chunks_are_not_read() {
    let pair = in_step();
    verify(&pair, "", &[]);
    pair.write("update by_number set n = -1 where id in (77, 12345, 23999)");
    pair.write("delete from by_number where id = 50");
    pair.write(
        "update by_text set n = -1 where n = 12345; update by_pair set n = -1 where n = 777",
    );
    pair.write("update by_digest set n = -1 where n = 4711");
    pair.catch_up("").expect_code(0);
    pair.target().run(
        "update by_number set v = 'lost' where id = 12345; delete from by_number where id = 77;
         insert into by_number values (50, 50, 'back again');
         update by_text set v = 'lost' where n = -1; update by_pair set v = 'lost' where n = -1;
         delete from by_digest where n = -1",
    );
    let expected = [
        "by_digest [\"key 004711\"] missing",
        "by_number [12345] mismatched v",
        "by_number [50] extra",
        "by_number [77] missing",
        "by_pair [111,\"b777\"] mismatched v",
        "by_text [\"key 012345\"] mismatched v",
    ];
    assert_eq!(drift(&verify(&pair, "", &[])), expected);
    // It is said again until it is put right, and then not any more.
    assert_eq!(drift(&verify(&pair, "", &[])), expected);
    pair.call("repair", "").finish().expect_code(0);
    assert_eq!(drift(&verify(&pair, "", &[])), [""; 0]);
    pair.assert_equal();
}

#[test]
fn what_nobody_has_written_down_is_found_when_its_turn_comes() {
    let pair = in_step();
    verify(&pair, "", &[]);
    let most = "select max(n) from (select count(*) as n from lite2pg.chunks group by table_id) c";
    let chunks: u64 = pair.ask(most).remove(0).parse().expect("a number");
    assert!((8..40).contains(&chunks), "{chunks} chunks");
    pair.target().run("update by_number set n = n + 1 where id = 20000");
    write_past_the_triggers(&pair, "delete from by_text where n = 3");
    // Every run reads the oldest chunk of each table, whatever else there is to do.
    let mut found = BTreeSet::new();
    for _ in 0..chunks {
        for table in TABLES {
            pair.write(&format!("update {table} set n = n where n = 1"));
        }
        pair.catch_up("").expect_code(0);
        found.extend(drift(&verify(&pair, "", &[])));
    }
    let expected = ["by_number [20000] mismatched n", "by_text [\"key 000003\"] extra"];
    assert_eq!(found.iter().collect::<Vec<_>>(), expected);
    // ... and at once, if all of it is to be read again, or was to be by now.
    pair.call("repair", "").finish().expect_code(0);
    for (config, arguments) in [("", &["--full"][..]), ("verify.reread = '0s'", &[])] {
        pair.target().run("update by_pair set n = n + 1 where n = 20000");
        pair.target().run("delete from by_digest where n = 20000");
        let expected =
            ["by_digest [\"key 020000\"] missing", "by_pair [2857,\"b20000\"] mismatched n"];
        assert_eq!(drift(&verify(&pair, config, arguments)), expected, "{config}");
        pair.call("repair", "").finish().expect_code(0);
    }
    // A table in no order is read whole when it is a day old.
    pair.target().run("update by_digest set n = n + 1 where n = 20000");
    let age = "update lite2pg.chunks set read_at = read_at - interval '25 hours'";
    pair.target().run(age);
    assert_eq!(drift(&verify(&pair, "", &[])), ["by_digest [\"key 020000\"] mismatched n"]);
}

#[test]
fn a_comparison_that_was_killed_goes_on_where_it_was() {
    let pair = in_step();
    let dying = |passing| {
        let call = pair.call("verify", "").arg("--full");
        let ended = call.dying_at(failpoint::VERIFY_CHUNK_NOTED, passing).finish();
        assert!(ended.was_killed(), "{ended}");
    };
    dying(2);
    dying(3);
    pair.write("update by_number set n = -1 where id = 3");
    pair.catch_up("").expect_code(0);
    pair.target().run("update by_number set v = 'x' where id = 3");
    let ended = pair.call("verify", "").args(["--json", "--full"]).finish().expect_code(1);
    assert!(ended.stderr.contains("going on behind it"), "{ended}");
    let said = ended.json();
    let compared = each(&said, "rows_compared");
    assert!((1_000..ROWS - 5_000).contains(&compared[0]), "five chunks were done: {compared:?}");
    assert_eq!(compared[1..], [ROWS; 3]);
    assert_eq!(drift(&said), ["by_number [3] mismatched v"], "touched since");
    pair.call("repair", "").finish().expect_code(0);
    // The next one is a pass of its own.
    let said = verify(&pair, "", &["--full"]);
    assert_eq!((each(&said, "rows_compared"), &said["verdict"]), (vec![ROWS; 4], &json!("pass")));
}

/// They are looked at in pages, however many there are.
#[test]
fn rows_that_are_too_many_are_all_counted() {
    let pair = Pair::with(&tables(2_000));
    pair.catch_up("").expect_code(0);
    verify(&pair, "", &[]);
    pair.target().run(
        "insert into by_number select i, i, 'x' from generate_series(1500000, 1545000) i;
         insert into by_digest select 'x ' || i, i, 'x' from generate_series(1, 25000) i;
         delete from by_number where id = 77; update by_number set v = 'x' where id = 78",
    );
    let ended = pair.call("verify", "").arg("--json").finish().expect_code(1);
    let said = ended.json();
    assert_eq!(each(&said, "extra"), [45_001, 0, 0, 25_000]);
    assert_eq!((each(&said, "missing")[0], each(&said, "mismatched")[0]), (1, 1));
    assert_eq!(said["drift"].as_array().map(Vec::len), Some(100));
}

#[test]
fn changes_since_a_position_or_a_time_are_compared_and_nothing_else() {
    let pair = in_step();
    let before = pair.ask("select applied from lite2pg.position").remove(0);
    pair.write("update by_number set n = -1 where id <= 3; delete from by_pair where n = 5");
    pair.catch_up("").expect_code(0);
    pair.target().run("update by_number set v = 'x' where id in (2, 4)");
    let said = verify(&pair, "", &["--since", &before]);
    assert_eq!(each(&said, "rows_compared"), [3, 0, 1, 0]);
    assert_eq!(
        (drift(&said), &said["scope"]),
        (vec!["by_number [2] mismatched v".into()], &json!("since"))
    );
    let all = verify(&pair, "", &["--since", "1h"]);
    assert_eq!(drift(&all), ["by_number [2] mismatched v"]);
    let none = verify(&pair, "", &["--since", "0s"]);
    assert_eq!((each(&none, "rows_compared"), &none["verdict"]), (vec![0; 4], &json!("pass")));
    let kept =
        "select is_full::text || ' ' || (since is not null) from lite2pg.verifications order by id";
    assert_eq!(pair.ask(kept), ["false true"; 3]);
    pair.call("verify", "").args(["--since", "yesterday"]).finish().expect_code(2);
}

#[test]
fn what_was_pruned_from_the_changelog_is_read_whole() {
    let pair = in_step();
    verify(&pair, "", &[]);
    pair.write("update by_number set n = -1 where id in (9, 10)");
    pair.catch_up("").expect_code(0);
    pair.target().run("update by_number set v = 'lost' where id = 9");
    pair.write(
        "delete from _lite2pg_changelog where seq < (select max(seq) from _lite2pg_changelog)",
    );
    let said = verify(&pair, "", &[]);
    assert_eq!(drift(&said), ["by_number [9] mismatched v"]);
    assert_eq!(each(&said, "rows_compared")[0], ROWS);
}

#[test]
fn a_table_that_is_copied_again_has_nothing_proven() {
    let pair = in_step();
    verify(&pair, "", &[]);
    let proven = "select t.name from lite2pg.tables t
                   where exists (select from lite2pg.chunks c where c.table_id = t.id) order by 1";
    assert_eq!(pair.ask(proven).len(), 4);
    pair.write("create table copy as select * from by_text; drop table by_text");
    pair.write("alter table copy rename to by_text");
    pair.catch_up("").expect_code(0);
    assert_eq!(pair.ask(proven), ["by_digest", "by_number", "by_pair"]);
    let said = verify(&pair, "", &[]);
    let table = said["tables"].as_array().expect("a list").iter();
    let compared: u64 = table
        .filter(|table| table["name"] == "by_text")
        .map(|table| table["rows_compared"].as_u64().expect("a number"))
        .sum();
    assert_eq!(compared, ROWS);
}

#[test]
fn two_comparisons_at_once_do_not_confuse_the_proofs() {
    let pair = in_step();
    for arguments in [&[][..], &["--full"]] {
        let both: Vec<_> = (0..2)
            .map(|_| pair.call("verify", "").args(["--json"]).args(arguments).start())
            .collect();
        for process in both {
            let ended = process.wait(crate::support::sidecar::LIMIT).expect_code(0);
            assert!(!ended.stderr.contains("do not fit together"), "{ended}");
        }
    }
    // What one of them has proven is proven.
    let said = verify(&pair, "", &[]);
    assert!(each(&said, "rows_compared")[..3].iter().all(|rows| *rows < ROWS / 2), "{said:#}");
    assert_eq!((&said["verdict"], &said["drift"]), (&json!("pass"), &json!([])));
    let full = verify(&pair, "", &["--full"]);
    assert_eq!(each(&full, "rows_proven"), [ROWS; 4]);
    assert_eq!(checksums(&full), checksums(&verify(&pair, "", &[])));
}

/// Changes of the application, changes of others, comparisons and repairs, at random.
#[test]
fn whatever_happens_in_between_nothing_is_missed_and_nothing_is_invented() {
    let seed = schema_seed(7);
    let _replay = SeedOnPanic(seed);
    let dice = &mut Dice::new(seed);
    let rounds = number_from_env("LITE2PG_CHECKSUM_ROUNDS", 6);
    let pair = Pair::with(&tables(8_000 + dice.below(9_000) as u64));
    pair.catch_up("").expect_code(0);
    assert_eq!(drift(&verify(&pair, "", &[])), [""; 0], "seed {seed}");
    for round in 0..rounds {
        let mut planted = BTreeSet::new();
        for (at, table) in TABLES.iter().enumerate() {
            change(&pair, dice, table);
            // A row of its own for each: touched by both, so that no turn has to be awaited.
            let n = 1_000 + 10 * round + at as u64;
            pair.write(&format!("update {table} set n = {n} where n = {n}"));
            planted.insert((*table, n));
        }
        pair.catch_up("").expect_code(0);
        for (table, n) in &planted {
            let harm = dice.pick(&["delete from", "update"]);
            let set = if harm == "update" { "set v = v || ' '" } else { "" };
            pair.target().run(&format!("{harm} {table} {set} where n = {n}"));
        }
        let said = verify(&pair, "", &[]);
        let alive: Vec<&str> = planted
            .iter()
            .filter(|(table, n)| holds(&pair, table, *n))
            .map(|(table, _)| *table)
            .collect();
        let found: Vec<String> = drift(&said)
            .iter()
            .map(|line| line.split(' ').next().expect("a table").to_owned())
            .collect();
        let mut expected: Vec<String> = alive.iter().map(|table| (*table).to_owned()).collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "seed {seed}, round {round}: {said:#}");
        if dice.below(2) == 0 {
            assert_eq!(drift(&verify(&pair, "", &["--full"])).len(), expected.len(), "seed {seed}");
        }
        pair.call("repair", "").finish().expect_code(0);
        assert_eq!(drift(&verify(&pair, "", &[])), [""; 0], "seed {seed}, round {round}");
    }
    pair.assert_equal();
}

/// Whether the source has this row, which the application may have deleted.
fn holds(pair: &Pair, table: &str, n: u64) -> bool {
    let source = rusqlite::Connection::open(pair.file()).expect("open the source");
    let sql = format!("select exists (select 1 from {table} where n = {n})");
    source.query_row(&sql, [], |row| row.get(0)).expect("it answers")
}

/// What an application does to a table: single rows, stretches of them, and many here and there.
fn change(pair: &Pair, dice: &mut Dice, table: &str) {
    let low = dice.below(15_000);
    let sql = match dice.below(5) {
        0 => format!("update {table} set n = n + 100000 where n between {low} and {}", low + 4_000),
        1 => format!("delete from {table} where n % 997 = {}", dice.below(997)),
        2 => format!("update {table} set v = v || 'x' where n % 11 = {}", dice.below(11)),
        3 => format!("delete from {table} where n between {low} and {}", low + 2_500),
        _ => {
            let (columns, values) = match table {
                "by_number" => ("n, v", "i + 500000, 'new'"),
                "by_pair" => ("a, b, n, v", "i, 'new' || i, i + 500000, 'new'"),
                _ => ("id, n, v", "'new ' || i, i + 500000, 'new'"),
            };
            format!(
                "with recursive i (i) as (select {low} union all select i + 1 from i
                                           where i < {})
                 insert or ignore into {table} ({columns}) select {values} from i",
                low + dice.below(9_000)
            )
        }
    };
    pair.write(&sql);
}
