//! Query parity: the application's own queries give the same on both sides, and a query that could
//! not be compared is never called kept.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::pair::Pair;
use crate::support::scene::Scene;
use crate::support::sidecar::Ended;

const ORDERS: &str = "
    create table orders (id integer primary key, customer_id integer, status text, total real,
                         is_paid boolean, placed_at datetime);
    insert into orders values (1, 17, 'open', 9.5, 0, '2024-02-29 10:11:12'),
        (2, 17, 'open', 3, 1, '2024-02-29 10:11:12.5'), (3, 42, 'shipped', 0.1, 1, null),
        (4, 42, 'open', 1e15, 0, '2024-03-01 00:00:00'), (5, null, '007', -2.5, null, null);
";

const TYPES: &str = "
    [columns.orders]
    is_paid = 'boolean'
    placed_at = 'timestamp'
    total = 'double precision'
";

fn in_step() -> Pair {
    let pair = Pair::with(ORDERS);
    pair.catch_up(TYPES).expect_code(0);
    pair
}

fn ask(pair: &Pair, query: &str, arguments: &[&str]) -> Ended {
    let config = format!("[queries.'the query']\n{query}\n{TYPES}");
    pair.call("verify", &config).args(arguments).finish()
}

/// The finding, and the verdict's word.
fn finding(pair: &Pair, query: &str, arguments: &[&str]) -> (Value, String) {
    let ended = ask(pair, query, &[&["--json"], arguments].concat());
    let mut verdict: Value =
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended}"));
    let found = verdict["parity"][0].take();
    (found, verdict["verdict"].as_str().expect("a word").to_owned())
}

#[track_caller]
fn assert_kept(pair: &Pair, query: &str, parameters: u64, rows: u64) {
    let (found, verdict) = finding(pair, query, &[]);
    assert_eq!(found["state"], "kept", "{found:#}");
    assert_eq!(found["reason"], Value::Null, "{found:#}");
    assert_eq!((&found["parameters"], &found["rows"]), (&json!(parameters), &json!(rows)));
    assert_eq!(verdict, "pass");
}

#[track_caller]
fn assert_found(pair: &Pair, query: &str, state: &str, reason: &str) {
    let (found, verdict) = finding(pair, query, &[]);
    let told = found["reason"].as_str().unwrap_or_default();
    assert!(found["state"] == state && told.contains(reason), "{found:#}");
    assert_eq!(verdict, if state == "violated" { "fail" } else { "incomplete" });
}

#[test]
fn parity_of_equal_results_is_kept_and_timed_on_both_sides() {
    let pair = in_step();
    let all = "source = 'select * from orders'";
    assert_kept(&pair, all, 1, 5);
    let (found, _) = finding(&pair, all, &[]);
    let position = pair.status()["position"]["applied"].clone();
    assert_eq!((&found["name"], &found["position"]), (&json!("the query"), &position));
    assert_eq!(found["severity"], "fail");
    for side in ["source", "target"] {
        let [p50, p95, p99] =
            ["p50_ms", "p95_ms", "p99_ms"].map(|key| found[side][key].as_f64().expect("a number"));
        assert!(0.0 < p50 && p50 <= p95 && p95 <= p99, "{found:#}");
    }
    assert!(found.get("difference").is_none(), "{found:#}");
    // Aggregates have other types on PostgreSQL, and strings other quotes.
    assert_kept(&pair, "source = 'select status, avg(id), count(*) from orders group by 1'", 1, 3);
    let told = ask(&pair, all, &[]).expect_code(0).stdout;
    assert!(told.contains("query the query: kept: 5 rows (p50/p95/p99 "), "{told}");
    // With a table alone, only its rows are compared.
    let told = ask(&pair, all, &["--table", "orders"]).expect_code(0).stdout;
    assert!(!told.contains("query the query"), "{told}");
}

#[test]
fn parity_names_what_differs_and_shows_values_only_when_asked() {
    let pair = in_step();
    pair.target().run("update orders set status = 'secret' where id = 2");
    let query = "source = 'select id, status, total from orders where customer_id = ?'
                 parameters = [[42], [17]]";
    let (found, verdict) = finding(&pair, query, &[]);
    assert_eq!((&found["state"], &*verdict), (&json!("violated"), "fail"));
    assert_eq!(found["reason"], "parameters 2 of 2: a row differs in status");
    assert_eq!((&found["parameters"], &found["rows"]), (&json!(1), &json!(4)));
    assert!(!found.to_string().contains("secret"), "{found:#}");
    let (found, _) = finding(&pair, query, &["--show-values"]);
    let difference = json!({
        "parameters": ["17"], "source": ["2", "open", "3"], "target": ["2", "secret", "3"],
    });
    assert_eq!(found["difference"], difference);
    let told = ask(&pair, query, &["--show-values"]).expect_code(1).stdout;
    let shown = "    with (17): 2, open, 3 here, 2, secret, 3 there";
    assert!(told.contains(shown) && told.contains("VIOLATED: parameters 2 of 2"), "{told}");
    pair.target().run("delete from orders where id = 2");
    assert_found(&pair, query, "violated", "SQLite gives 2 rows, PostgreSQL 1");
    let warn = format!("{query}\nseverity = 'warn'");
    assert_eq!(finding(&pair, &warn, &[]).0["state"], "violated");
}

#[test]
fn parity_asks_for_the_order_of_rows_only_when_told_to() {
    let pair = in_step();
    let turned = "source = 'select id from orders order by id'
                  target = 'select id from orders order by id desc'";
    assert_kept(&pair, turned, 1, 5);
    let same = "order = 'same'";
    assert_found(&pair, &format!("{turned}\n{same}"), "violated", "row 1 differs in id");
    let query = format!("source = 'select id from orders order by total, id'\n{same}");
    assert_kept(&pair, &query, 1, 5);
    // A row that comes twice is not one that comes once.
    let twice = "source = 'select 1 union all select 1 union all select 2'
                 target = 'select 1 union all select 2 union all select 2'";
    assert_found(&pair, twice, "violated", "a row differs");
}

#[test]
fn parity_takes_numbers_that_are_near_enough() {
    let pair = in_step();
    let near = "source = 'select id, total from orders where id < 4'
                target = 'select id, total * 1.001 as total from orders where id < 4'";
    assert_found(&pair, near, "violated", "a row differs in total");
    assert_kept(&pair, &format!("{near}\ntolerance = 0.01"), 1, 3);
    let large = "source = 'select 9007199254740993'\ntarget = 'select 9007199254740992'";
    assert_found(&pair, large, "violated", "a row differs");
}

#[test]
fn parity_binds_given_and_sampled_parameters_of_every_kind() {
    let pair = in_step();
    let by = |condition: &str, more: &str| {
        format!(
            "source = '''select id, is_paid, placed_at from orders where {condition}'''\n{more}"
        )
    };
    assert_kept(&pair, &by("customer_id = ?", "parameters = [[17], [42]]"), 2, 4);
    assert_kept(&pair, &by("id = ?2 and status = ?1", "parameters = [['open', 4]]"), 1, 1);
    assert_kept(&pair, &by("id = $2 and status = $1", "parameters = [['open', 4]]"), 1, 1);
    assert_kept(&pair, &by("is_paid = ?", "parameters = [[true], [false]]"), 2, 4);
    assert_kept(&pair, &by("total < ?", "parameters = [[0.5]]"), 1, 2);
    // A column of text knows '007', and no 7.
    assert_kept(&pair, &by("status = ?", "parameters = [['007']]"), 1, 1);
    assert_kept(&pair, &by("placed_at = ?", "parameters = [['2024-02-29 10:11:12']]"), 1, 1);
    let sample = "sample = 'select distinct customer_id, status from orders'";
    let same = "customer_id is ? and status = ?";
    let target = "target = '''select id, is_paid, placed_at from orders
                    where customer_id is not distinct from $1 and status = $2'''";
    assert_kept(&pair, &by(same, &format!("{sample}\n{target}")), 4, 5);
    let both = format!("{sample}\n{target}\nparameters = [[17, 'open']]");
    assert_kept(&pair, &by(same, &both), 5, 7);
    let bytes = "source = 'select ?, ?, typeof(?)'\nsample = \"select x'00ff', null, 'blob'\"
                 target = 'select $1::bytea, $2::integer, $3::text'";
    assert_found(&pair, bytes, "violated", "a row differs in text");
    let bytes = bytes.replace("typeof(?)", "?");
    assert_kept(&pair, &bytes, 1, 1);
}

#[test]
fn parity_refuses_parameters_and_placeholders_that_do_not_go_together() {
    let pair = in_step();
    let select = "source = 'select id from orders where id = ?'";
    for (query, message) in [
        (select.to_owned(), "takes 1 parameters in its source and is given 0"),
        (format!("{select}\nparameters = [[1, 2]]"), "in its source and is given 2"),
        (
            format!("{select}\ntarget = 'select id from orders'\nparameters = [[1]]"),
            "takes 0 parameters in its target and is given 1",
        ),
        (format!("{select}\nsample = 'select ?'"), "takes 1 parameters in its sample"),
        (
            "source = 'select id from orders where id = :id'\nparameters = [[1]]".to_owned(),
            "query the query needs a form for PostgreSQL",
        ),
    ] {
        ask(&pair, &query, &[]).expect_code(2).expect_error(&[message]);
    }
}

#[test]
fn parity_is_violated_beyond_either_budget() {
    let pair = in_step();
    let slow = "source = 'select id from orders'
                target = 'select id from orders, (select pg_sleep(0.02)) as slow'
                runs = 2";
    assert_kept(&pair, slow, 1, 5);
    assert_kept(&pair, &format!("{slow}\np95_ms_max = 60000\np95_factor_max = 1e9"), 1, 5);
    let (found, verdict) = finding(&pair, &format!("{slow}\np95_ms_max = 19"), &[]);
    let reason = found["reason"].as_str().expect("it says why");
    assert!(found["state"] == "violated" && reason.contains("more than 19 ms"), "{found:#}");
    assert!(20.0 <= found["target"]["p50_ms"].as_f64().expect("a number"), "{found:#}");
    assert_eq!(verdict, "fail");
    assert_found(&pair, &format!("{slow}\np95_factor_max = 2"), "violated", "2 times SQLite's");
    // Faster than a round trip is no aim.
    let fast = "source = 'select 1'\np95_factor_max = 0.000001";
    let (found, _) = finding(&pair, fast, &[]);
    let took = found["target"]["p95_ms"].as_f64().expect("a number");
    assert_eq!(found["state"] == "kept", took <= 5.0, "{found:#}");
}

#[test]
fn parity_is_unknown_where_nothing_was_compared() {
    let pair = in_step();
    let none = "source = 'select id from orders where id = ?'\nparameters = [[98], [99]]";
    assert_found(&pair, none, "unknown", "no row came back, which proves nothing");
    assert_kept(&pair, &format!("{none}\nrows_min = 0"), 2, 0);
    let few = "source = 'select id from orders'\nrows_min = 6";
    assert_found(&pair, few, "unknown", "5 rows came back, fewer than 6");
    let empty = "source = 'select ?'\nsample = 'select id from orders where id = 99'";
    assert_found(&pair, empty, "unknown", "the sample gave no parameters");
    let counted = "with recursive n (i) as (select 1 union all select i + 1 from n
                   where i < 100001) select i from n";
    let large = format!("source = '''{counted}'''");
    assert_found(&pair, &large, "unknown", "SQLite gives more than 100,000 rows");
    let large = format!("source = 'select 1'\ntarget = '''{counted}'''");
    assert_found(&pair, &large, "unknown", "PostgreSQL gives more than 100,000 rows");
    let sets = format!("source = 'select ?'\nsample = '''{counted} limit 1001'''");
    assert_found(&pair, &sets, "unknown", "more than 1000 sets of parameters");
    pair.write("insert into orders (id) values (6)");
    let all = "source = 'select id from orders'";
    let (found, verdict) = finding(&pair, all, &[]);
    assert_eq!(found["reason"], "both sides were never at the same position", "nobody replays");
    assert_eq!((&found["state"], &*verdict), (&json!("unknown"), "incomplete"));
}

#[test]
fn parity_ends_a_query_that_runs_away_on_either_side() {
    let pair = in_step();
    let endless = "with recursive n (i) as (select 1 union all select i + 1 from n) \
                   select count(*) from n";
    let query = format!("source = '{endless}'\ntarget = 'select 1'\ntimeout = '200ms'");
    assert_found(&pair, &query, "unknown", "SQLite did not end within 200ms");
    let query = "source = 'select 1'\ntarget = 'select 1 from (select pg_sleep(60)) as slow'
                 timeout = '200ms'";
    let begun = Instant::now();
    assert_found(&pair, query, "unknown", "PostgreSQL did not end within 200ms");
    assert!(begun.elapsed() < Duration::from_secs(20), "it was ended in time, not far later");
    let query = format!("source = 'select ?'\nsample = '{endless}'\ntimeout = '200ms'");
    assert_found(&pair, &query, "unknown", "the sample did not end within 200ms");
    // It holds no lock of the application's afterwards, and nothing of ours is left behind.
    pair.write("insert into orders (id) values (6)");
    pair.catch_up(TYPES).expect_code(0);
    assert_kept(&pair, "source = 'select id from orders'\ntimeout = '1m'", 1, 6);
}

#[test]
fn parity_writes_nothing_on_either_side() {
    let pair = in_step();
    for bad in ["delete from orders returning id", "pragma user_version = 7", "attach '' as other"]
    {
        let query = format!("source = \"{bad}\"\ntarget = 'select 1'");
        ask(&pair, &query, &[]).expect_code(2).expect_error(&["would write to the source"]);
        let query = format!("source = 'select ?'\nsample = \"{bad}\"");
        ask(&pair, &query, &[]).expect_code(2).expect_error(&["would write to the source"]);
    }
    for bad in ["delete from orders returning id", "select nextval(''orders_id_seq'')"] {
        let bad = bad.replace("''", "'");
        let query = format!("source = 'select 1'\ntarget = \"{bad}\"");
        assert_found(&pair, &query, "violated", "PostgreSQL does not take it: ");
    }
    pair.assert_equal();
}

#[test]
fn parity_is_violated_by_what_postgresql_does_not_take_without_quoting_values() {
    let pair = in_step();
    let query = "source = 'select ifnull(customer_id, 0) from orders'";
    assert_found(&pair, query, "violated", "function ifnull(bigint, integer) does not exist");
    let query = "source = 'select id from orders where id = ?'\nparameters = [['secret']]";
    let (found, _) = finding(&pair, query, &[]);
    assert_eq!(
        found["reason"], "PostgreSQL does not take it: refused with SQLSTATE 22P02",
        "{found:#}"
    );
    assert_eq!(found["state"], "violated");
}

#[test]
fn parity_is_kept_under_a_writer() {
    let scene = Scene::new(94);
    let mut sidecar = scene.run(scene.url()).start();
    scene.await_streaming(&mut sidecar);
    let writer = scene.write();
    let queries = "
        [queries.money]
        source = 'select sum(balance) from account'
        [queries.accounts]
        source = 'select * from account order by id'
        order = 'same'";
    let mut kept = 0;
    for _ in 0..3 {
        let said = scene.verify(queries, &[]);
        for found in said["parity"].as_array().expect("a list") {
            assert_ne!(found["state"], "violated", "{said:#}");
            kept += u32::from(found["state"] == "kept");
        }
        assert_ne!(said["verdict"], "fail", "{said:#}");
    }
    assert_ne!(kept, 0, "the two sides meet although somebody writes");
    writer.stop();
    scene.await_step(&mut sidecar);
    scene.end(sidecar);
}
