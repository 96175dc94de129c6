//! `report`: what the comparisons of a week came to, from the ledger alone; and the lag that the
//! ledger is given minute by minute.
//!
//! Histories are written into the ledger as `verify` would have written them, or, for what is held
//! against golden files, made by hand with a clock of their own.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use lite2pg::change::{Lineage, Position};
use lite2pg::history::{History, HourState, State};
use lite2pg::report;
use lite2pg::target::history::{
    Differing, Findings, HOUR_MS, Incident, LagMinute, Records, Run, Tally, Window,
};
use lite2pg::target::ledger::Phase;
use lite2pg::verify::verdict::Outcome;
use serde_json::{Value, json};

use crate::assess::parse;
use crate::docs::{Page, command_line, paths};
use crate::golden::{assert_same, root};
use crate::support::pair::Pair;
use crate::support::roles::as_superuser;
use crate::support::sidecar::{Ended, LIMIT, Launch};

/// 2026-11-27 15:20 UTC.
const NOW: i64 = 1_795_792_800_000;

/// Two hours.
const AGE_MAX: Duration = Duration::from_secs(7_200);

/// A target that was fed once.
fn in_step() -> Pair {
    let pair = Pair::with("create table t (id integer primary key); insert into t values (1), (2)");
    pair.catch_up("").expect_code(0);
    pair
}

/// A comparison of all tables `hours` whole hours ago, seven minutes past.
fn note(pair: &Pair, hours: i64, verdict: &str) {
    note_with(pair, hours, verdict, "null", "[]", "'{}'");
}

fn note_with(pair: &Pair, hours: i64, verdict: &str, only_table: &str, drift: &str, found: &str) {
    let rows = if drift == "[]" { 0 } else { 3 };
    pair.target().run(&format!(
        "insert into lite2pg.verifications
             (at, verdict, source_id, generation, position, only_table, is_full, drift_rows,
              in_flight, quarantined, seconds, tables, left_out, drift, invariants)
         select date_trunc('hour', now()) - interval '{hours} hours' + interval '7 minutes',
                '{verdict}', p.source_id, 1, 7, {only_table}, false, {rows}, 0, 0, 1.5,
                jsonb_build_array(jsonb_build_object('name', 't', 'rows_source', 1000,
                    'rows_compared', 1000, 'bytes', 8000, 'missing', 0, 'extra', 0,
                    'mismatched', {rows}, 'quarantined', 0, 'in_flight', 0)),
                '[]', '{drift}', coalesce({found}::jsonb->'invariants', '[]')
           from lite2pg.position p"
    ));
}

/// The report on the last `since`, asked without a source.
fn ask(pair: &Pair, arguments: &[&str]) -> Ended {
    Launch::new("report").args(["--target", &pair.database.url]).args(arguments).finish()
}

fn report(pair: &Pair, arguments: &[&str], code: i32) -> Value {
    let ended = ask(pair, &[&["--json"], arguments].concat()).expect_code(code);
    ended.json()
}

#[test]
fn a_week_of_clean_runs_is_reported_clean() {
    let pair = in_step();
    (1..=170).for_each(|hours| note(&pair, hours, "pass"));
    // Neither the file nor a sidecar is needed.
    std::fs::remove_file(pair.file()).expect("the file is ours");
    let said = report(&pair, &[], 0);
    assert_eq!((&said["verdict"], &said["state"]), (&json!("pass"), &json!("clean")));
    assert_eq!(said["hours"]["calendar"].as_array().map(Vec::len), Some(168));
    assert_eq!((&said["hours"]["due"], &said["hours"]["pass"]), (&json!(168), &json!(168)));
    // The row of clean hours reaches beyond the window.
    assert_eq!((&said["streak"]["hours"], &said["streak"]["runs"]), (&json!(170), &json!(170)));
    assert_eq!(said["rows"], json!({ "source": 1000, "compared": 168_000, "bytes": 1_344_000 }));
    let subject = ask(&pair, &["--format", "subject"]).expect_code(0).stdout;
    assert!(subject.starts_with("lite2pg PASS: 168 of 168 hours clean, 1,000 rows"), "{subject}");
    let day = report(&pair, &["--since", "24h"], 0);
    assert_eq!((&day["hours"]["due"], &day["runs"]["count"]), (&json!(24), &json!(24)));
    ask(&pair, &["--since", "32d"]).expect_code(2);
    ask(&pair, &["--since", "0h"]).expect_code(2);
}

#[test]
fn one_failed_hour_is_named_with_its_rows() {
    let pair = in_step();
    (4..=30).for_each(|hours| note(&pair, hours, "pass"));
    let drift = r#"[{"table": "t", "key": [5], "kind": "mismatched", "columns": ["n"],
                     "values": [{"column": "n", "source": "secret", "target": "secret"}]}]"#;
    note_with(&pair, 3, "fail", "null", drift, "'{}'");
    let said = report(&pair, &[], 1);
    assert_eq!((&said["state"], &said["failure"]["put_right"]), (&json!("differs"), &Value::Null));
    assert_eq!((&said["failure"]["drift_rows"], &said["hours"]["fail"]), (&json!(3), &json!(1)));
    assert_eq!(said["streak"]["hours"], 0);
    let row = json!({ "table": "t", "key": [5], "kind": "mismatched", "columns": ["n"] });
    assert_eq!(said["drift"], json!([row]), "never the values");
    let subject = ask(&pair, &["--format", "subject"]).expect_code(1).stdout;
    assert!(subject.starts_with("lite2pg FAIL: 3 rows differ in 1 table since 20"), "{subject}");
    // A comparison of that table alone does not prove the others.
    note_with(&pair, 2, "pass", "'t'", "[]", "'{}'");
    assert_eq!(report(&pair, &[], 1)["state"], "differs");
    note(&pair, 1, "pass");
    let said = report(&pair, &[], 1);
    assert_eq!((&said["state"], &said["streak"]["hours"]), (&json!("put_right"), &json!(1)));
    assert_eq!(said["failure"]["put_right"], said["last_run"]["at"]);
    for format in ["terminal", "markdown", "html", "json"] {
        let told = ask(&pair, &["--format", format]).expect_code(1).stdout;
        assert!(!told.contains("secret"), "{told}");
        assert!(told.contains("[5]") || told.contains("5\n"), "{told}");
    }
}

#[test]
fn hours_without_a_run_are_shown_as_gaps_and_only_silence_at_the_end_leaves_it_open() {
    let pair = in_step();
    [1, 2, 5, 6].iter().for_each(|hours| note(&pair, *hours, "pass"));
    let said = report(&pair, &["--since", "12h"], 0);
    let hours = &said["hours"];
    assert_eq!((&hours["due"], &hours["pass"], &hours["none"]), (&json!(6), &json!(4), &json!(2)));
    let states: Vec<&str> = hours["calendar"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|hour| hour["state"].as_str())
        .collect();
    assert_eq!(states[..6], ["before"; 6]);
    assert_eq!(states[6..], ["pass", "pass", "none", "none", "pass", "pass"]);
    assert_eq!(said["streak"]["hours"], 2);
    let subject = ask(&pair, &["--format", "subject"]).expect_code(0).stdout;
    assert!(subject.contains("4 of 6 hours clean, 2 without a run"), "{subject}");
    let said = report(&pair, &["--max-age", "1m"], 3);
    assert_eq!((&said["verdict"], &said["state"]), (&json!("incomplete"), &json!("too_old")));
    note(&pair, 0, "incomplete");
    assert_eq!(report(&pair, &[], 3)["state"], "not_all_compared");
}

#[test]
fn what_cannot_be_found_out_is_said_in_the_subject_too() {
    let pair = in_step();
    assert_eq!(report(&pair, &[], 3)["state"], "no_run");
    let subject = ask(&pair, &["--format", "subject"]).expect_code(3).stdout;
    assert_eq!(subject, "lite2pg INCOMPLETE: no run of all tables in 7 days\n");
    // Nothing listens there.
    let nowhere = "postgresql://nobody@127.0.0.1:1/none";
    let report = Launch::new("report").args(["--target", nowhere, "--format", "subject"]);
    let ended = report.finish().expect_code(3).expect_error(&["hint: "]);
    assert!(ended.stdout.starts_with("lite2pg INCOMPLETE: "), "{ended}");
    assert!(ended.stdout.len() <= 79 && ended.stdout.ends_with('\n'), "{ended}");
    pair.target().run("drop schema lite2pg cascade");
    ask(&pair, &[]).expect_code(3).expect_error(&["nothing has been replicated"]);
    Launch::new("report").finish().expect_code(2).expect_error(&["no source is named"]);
}

/// Whoever may read the tables may read the report.
#[test]
fn a_role_that_only_reads_can_ask_for_it() {
    let pair = in_step();
    pair.call("verify", "").finish().expect_code(0);
    pair.target().run(
        "do $$ begin create role it_report_reader;
             exception when duplicate_object or unique_violation then null; end $$;
         grant usage on schema lite2pg to it_report_reader;
         grant select on all tables in schema lite2pg to it_report_reader",
    );
    let url = as_superuser(&pair.database.url);
    let joint = if url.contains('?') { '&' } else { '?' };
    let url = format!("{url}{joint}options=-c%20role%3Dit_report_reader");
    let asked = || Launch::new("report").args(["--target", &url]).finish();
    let told = asked().expect_code(0).stdout;
    assert!(told.starts_with("PASS: 1 of 1 hours clean, 2 rows"), "{told}");
    pair.target().run("revoke select on lite2pg.lag from it_report_reader");
    asked().expect_code(2).expect_error(&["lag", "permission denied"]);
}

#[test]
fn lag_is_written_by_the_minute() {
    let pair = in_step();
    let written = |sql: &str| pair.ask(sql).remove(0);
    // The run that caught up has ended its minute early.
    assert_eq!(written("select count(*) between 1 and 2 from lite2pg.lag"), "t");
    pair.target().run("truncate lite2pg.lag");
    // It looks at the file once in ten minutes and at no other time.
    let rare = ["--poll-interval-ms", "600000", "--no-file-events"];
    let mut sidecar = pair.call("run", "").args(rare).start();
    pair.await_streaming(&mut sidecar);
    let target = pair.target();
    let is_written = || (!target.query("select from lite2pg.lag").is_empty()).then_some(());
    sidecar.until_within(2 * LIMIT, is_written).expect("a minute ends while it is idle");
    assert_eq!(written("select sum(applied + ms_max + changes_max) from lite2pg.lag"), "0");
    sidecar.kill();
    pair.target().run("truncate lite2pg.lag");
    // Several runs within a minute add up.
    for id in 10..13 {
        pair.write(&format!("insert into t values ({id}), ({id}0)"));
        pair.catch_up("").expect_code(0);
    }
    let all =
        "select concat_ws(' ', sum(applied), max(changes_max), max(ms_max) between 1 and 59999,
                      bool_and(ms_p50 <= ms_p95 and ms_p95 <= ms_max),
                      bool_and(minute = date_trunc('minute', minute))) from lite2pg.lag";
    assert_eq!(written(all), "6 2 t t t");
    pair.target().run(
        "insert into lite2pg.lag values (now() - interval '101 days', 0, 0, 0, 0, 0),
                                        (now() - interval '99 days', 0, 0, 0, 0, 0)",
    );
    pair.catch_up("").expect_code(0);
    assert_eq!(
        written("select count(*) from lite2pg.lag where minute < now() - '98 days'::interval"),
        "1"
    );
    let said = report(&pair, &[], 3);
    assert_eq!((&said["lag"]["applied"], &said["lag"]["changes_max"]), (&json!(6), &json!(2)));
}

/// The file is checked once a day, and an index that came back is not amiss any more.
#[test]
fn what_is_looked_at_once_a_day_is_reported_all_day() {
    let pair = Pair::with(
        "pragma foreign_keys = off; create table p (id integer primary key, v text);
         create table c (id integer primary key, p references p); create index by_v on p (v);
         insert into c values (1, 7)",
    );
    pair.catch_up("").expect_code(0);
    let verify = |code| pair.call("verify", "").finish().expect_code(code);
    verify(0);
    pair.target().run("drop index by_v");
    verify(1);
    pair.target().run("create index by_v on p (v)");
    verify(0);
    let said = report(&pair, &[], 1);
    let checks: BTreeMap<&str, &str> = said["checks"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|check| ["name", "state"].map(|key| check[key].as_str().expect("a word")))
        .map(|[name, state]| (name, state))
        .filter(|(_, state)| *state != "waiting")
        .collect();
    let expected = [
        ("index by_v of p", "ok"),
        ("integrity of the file", "ok"),
        ("orphans c (p) of PostgreSQL", "noticed"),
        ("orphans c (p) of SQLite", "noticed"),
    ];
    assert_eq!(checks, BTreeMap::from(expected), "{said:#}");
    let told = ask(&pair, &[]).stdout;
    assert!(told.contains("orphans c (p) of SQLite: noticed: 1 row has no parent in p"), "{told}");
}

/// A comparison, made by hand.
fn run(hours: i64, verdict: &str) -> Run {
    Run {
        id: 1_000 - hours,
        at_ms: NOW - 20 * 60_000 - hours * HOUR_MS + 7 * 60_000,
        verdict: Outcome::parse(verdict),
        lineage: Lineage { source_id: "one".to_owned(), generation: 1 },
        position: Position(48_211 - 200 * hours),
        only_table: None,
        is_full: hours % 24 == 0,
        since: None,
        drift_rows: 0,
        in_flight: 0,
        quarantined: 0,
        seconds: 3.1,
        rows: 1_300_000 - 1_200 * hours,
        rows_compared: 20_000,
        bytes: 2_000_000,
    }
}

/// A history of so many hours in which nothing differed. Its lag has a day and a night, an hour is
/// missing, and for two hours no sidecar was streaming.
fn records(hours: i64) -> Records {
    let runs: Vec<Run> =
        (1..=hours).rev().filter(|at| *at != 30).map(|at| run(at, "pass")).collect();
    let window = Window::ending(NOW, hours, &runs);
    let minutes = (0..hours * 60).map(|at| (at, window.from_ms + at * 60_000));
    let lag = minutes
        .filter(|(at, _)| !(600..720).contains(at))
        .map(|(at, begun_ms)| {
            let busy = (at / 60 + 6) % 24;
            let ms = 20 + 15 * (12 - (busy - 12).abs()) + at % 7;
            let ms_max = if at == 1_500 { 41_000 } else { 5 * ms };
            let applied = 30 * busy;
            LagMinute { begun_ms, changes_max: busy, ms_p50: ms, ms_p95: 2 * ms, ms_max, applied }
        })
        .collect();
    let tally = |kind: &str, name: &str, state: &str, runs| Tally {
        kind: kind.to_owned(),
        name: name.to_owned(),
        state: state.to_owned(),
        runs,
    };
    Records {
        now_ms: NOW,
        window,
        phase: Some(Phase::Streaming),
        applied: Some(Position(48_219)),
        runs,
        findings: vec![Findings {
            id: 999,
            drift: json!([]),
            invariants: json!([{ "name": "open orders", "severity": "fail", "state": "kept",
                "position": 48_211, "source": ["paid", "7"], "target": ["paid", "7"] }]),
            parity: json!([{ "name": "search", "severity": "warn", "state": "kept",
                "source": { "p50_ms": 1.2, "p95_ms": 3.0, "p99_ms": 4.4 },
                "target": { "p50_ms": 0.9, "p95_ms": 2.2, "p99_ms": 3.9 }, "reason": null }]),
            checks: json!([]),
            left_out: json!([{ "name": "search_index", "is_missing": false,
                "reason": "virtual tables have no counterpart" }]),
        }],
        tallies: vec![
            tally("invariant", "open orders", "kept", hours - 1),
            tally("parity", "search", "kept", hours - 2),
            tally("parity", "search", "violated", 1),
        ],
        lag,
        incidents: vec![Incident {
            at_ms: NOW - 40 * HOUR_MS,
            kind: "table_altered".to_owned(),
            message: "orders: column note came".to_owned(),
        }],
        incidents_count: 1,
        ..Records::default()
    }
}

/// The same with two hours in which rows differed, in tables whose names would break a page.
fn broken(hours: i64) -> Records {
    let mut records = records(hours);
    for run in records.runs.iter_mut().filter(|run| [993, 994].contains(&run.id)) {
        run.verdict = Outcome::Fail;
        (run.drift_rows, run.quarantined) = (3, 1);
        let differing = |name: &str, missing, mismatched, quarantined| Differing {
            id: run.id,
            name: name.to_owned(),
            missing,
            extra: 0,
            mismatched,
            quarantined,
        };
        records.differing.push(differing("orders", 0, 2, 0));
        records.differing.push(differing(HOSTILE, 1, 0, 1));
    }
    records.findings.insert(
        0,
        Findings {
            id: 994,
            drift: json!([
                { "table": "orders", "key": [17], "kind": "mismatched", "columns": ["total"] },
                { "table": "orders", "key": [{ "blob": "00ff" }], "kind": "mismatched",
                  "columns": ["total", "note"] },
                { "table": HOSTILE, "key": [HOSTILE], "kind": "missing", "columns": [HOSTILE] },
            ]),
            invariants: json!([{ "name": HOSTILE, "severity": "fail", "state": "violated",
                "source": [HOSTILE, null], "target": ["8", "2"] }]),
            ..Findings::default()
        },
    );
    records.findings[1].left_out[0]["reason"] = HOSTILE.into();
    records.findings[1].invariants[0]["source"] = json!([HOSTILE]);
    records.findings[1].parity[0]["reason"] = HOSTILE.into();
    records.incidents[0].message = HOSTILE.to_owned();
    records
}

/// Breaks out of HTML, of Markdown and of lines, if it is let.
const HOSTILE: &str =
    "\"'></td><script>alert(1)</script>\n# x `a` ``b`` [y](http://z) \u{202e}\x1b[31m|";

#[test]
fn a_report_reads_the_same_in_every_form() {
    for (name, records) in [("clean", records(48)), ("broken", broken(48))] {
        let history = History::of(&records, AGE_MAX);
        let golden = |form: &str| root().join(format!("tests/golden/report/{name}.{form}"));
        assert_same(&golden("txt"), &report::history_terminal(&history));
        assert_same(&golden("md"), &report::history_markdown(&history));
        assert_same(&golden("html"), &report::history_page(&history));
        assert_same(&golden("subject"), &report::history_subject(&history));
        let json = serde_json::to_string_pretty(&history).expect("it is JSON");
        assert_same(&golden("json"), &format!("{json}\n"));
    }
}

#[test]
fn nothing_in_a_name_reaches_the_page_unescaped() {
    /// All that the page needs; none of them loads or runs anything.
    const ATTRIBUTES: &[&str] = &[
        "lang",
        "charset",
        "name",
        "content",
        "class",
        "width",
        "height",
        "viewBox",
        "role",
        "x",
        "y",
        "d",
        "preserveAspectRatio",
        "aria-label",
        "aria-hidden",
        "open",
        "scope",
        "title",
    ];
    for records in [broken(168), records(168), records(1), Records::default()] {
        let history = History::of(&records, AGE_MAX);
        let page = report::history_page(&history);
        let (elements, attributes) = parse(&page);
        for banned in ["script", "img", "link", "iframe", "a", "object", "base", "form"] {
            assert!(!elements.iter().any(|name| name == banned), "{banned}");
        }
        for (name, value) in &attributes {
            assert!(ATTRIBUTES.contains(&name.as_str()), "{name}={value}");
        }
        assert!(!page.contains("NaN") && !page.contains("inf"), "every number is one");
        let is_bad = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        for told in [report::history_terminal(&history), report::history_markdown(&history)] {
            assert!(!told.contains(is_bad), "{told}");
            assert!(!told.contains("\n# x"), "a name begins no heading: {told}");
        }
        let subject = report::history_subject(&history);
        assert!(subject.is_ascii() && subject.len() <= 79, "{subject}");
        assert_eq!(subject.matches('\n').count(), 1);
    }
}

/// With `LITE2PG_PAGES=DIR`, the pages are left there to be looked at.
#[test]
fn a_page_stays_small() {
    for (name, records) in
        [("clean", records(168)), ("broken", broken(168)), ("month", records(744))]
    {
        let page = report::history_page(&History::of(&records, AGE_MAX));
        assert!(page.len() < 640 * 1024, "{name}: {} bytes", page.len());
        if let Some(directory) = std::env::var_os("LITE2PG_PAGES") {
            let path = std::path::Path::new(&directory).join(format!("{name}.html"));
            std::fs::write(path, page).expect("the directory can be written");
        }
    }
}

#[test]
fn every_key_of_the_report_is_explained() {
    let mut keys = BTreeSet::new();
    let history = History::of(&broken(48), AGE_MAX);
    let mut shown = serde_json::to_value(&history).expect("it is JSON");
    // What both sides answered is the user's, and so are the states.
    for list in ["invariants", "parity", "checks"] {
        for item in shown[list].as_array_mut().into_iter().flatten() {
            (item["source"], item["target"], item["runs"]) = Default::default();
        }
    }
    paths(&shown, "", &mut keys);
    // An hour's lag has the keys of the whole, a check those of an invariant, a run those of the
    // newest; a key holds what it holds.
    keys.retain(|key| {
        let is_said = ["hours.calendar[].lag.", "parity[].", "verifications[].", "drift[].key[]."];
        !is_said.iter().any(|prefix| key.starts_with(prefix))
    });
    let page = Page::read("docs/report.md");
    let explained: BTreeSet<String> = page
        .rows()
        .iter()
        .map(|row| row[0].replace('`', ""))
        .filter(|key| key.len() != 1)
        .collect();
    assert_eq!(explained, keys);
}

#[test]
fn the_verdict_weighs_what_happened() {
    let with = |verdicts: &[(i64, &str)]| {
        let runs = verdicts.iter().map(|(hours, verdict)| run(*hours, verdict)).collect::<Vec<_>>();
        let window = Window::ending(NOW, 24, &runs);
        History::of(&Records { now_ms: NOW, window, runs, ..Records::default() }, AGE_MAX)
    };
    assert_eq!(with(&[]).state, State::NoRun);
    assert_eq!(with(&[(3, "incomplete"), (1, "pass")]).state, State::Clean);
    assert_eq!(with(&[(2, "pass"), (1, "incomplete")]).state, State::NotAllCompared);
    assert_eq!(with(&[(5, "pass")]).state, State::TooOld);
    assert_eq!(with(&[(5, "fail")]).state, State::Differs, "whatever its age");
    assert_eq!(with(&[(5, "fail"), (4, "incomplete")]).state, State::Differs);
    let right = with(&[(5, "fail"), (4, "fail"), (1, "pass")]);
    assert_eq!(right.state, State::PutRight);
    let failure = right.failure.expect("it failed");
    assert_eq!((failure.since.0, failure.at.0), (run(5, "").at_ms, run(4, "").at_ms));
    // The hour that is under way is shown once there was a run in it, and is not missing before.
    assert_eq!((with(&[(1, "pass")]).hours.due, with(&[(1, "pass")]).hours.none), (1, 0));
    let last = with(&[(1, "pass"), (0, "pass")]).hours.calendar.last().copied();
    assert_eq!(
        last.map(|hour| (hour.begins.0, hour.state)),
        Some((NOW - 1_200_000, HourState::Pass))
    );
    // Two runs in one hour: the worse counts.
    let hours = with(&[(1, "fail"), (1, "pass")]).hours;
    assert_eq!((hours.pass, hours.fail), (0, 1));
    let streak = with(&[(4, "fail"), (3, "pass"), (2, "pass"), (1, "pass")]).streak;
    assert_eq!((streak.hours, streak.runs), (3, 3));
}

/// Command lines in units and crontabs are ones that the program takes.
#[test]
fn what_is_scheduled_parses() {
    use clap::Parser as _;
    let mut parsed = 0;
    for name in ["lite2pg-verify.service", "lite2pg-report.service", "crontab"] {
        let text = Page::read(&format!("deploy/{name}")).text;
        for line in text.lines().filter(|line| !line.starts_with("# ")) {
            let line = line.replace("2>&1", "").replace("2>/dev/null", "");
            for part in line.split("lite2pg ").skip(1) {
                let part = part.split([')', '|', ';', '"', '\'', '>']).next().unwrap_or(part);
                let Some(words) = command_line(&format!("lite2pg {part}")) else { continue };
                if !words.iter().any(|word| ["verify", "report"].contains(&&**word)) {
                    continue;
                }
                lite2pg::cli::Cli::try_parse_from(&words)
                    .unwrap_or_else(|error| panic!("{name}: {line}\n{error}"));
                parsed += 1;
            }
        }
    }
    assert!(5 < parsed, "only {parsed} command lines were found");
}
