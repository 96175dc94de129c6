//! What the ledger says of a span of time: one value, computed from its rows, rendered as a
//! report.
//!
//! The one idea: *an hour is clean if both sides were compared in it and nothing differed*. The
//! verdict is that of the whole span. A difference fails it, even one that was put right since,
//! because somebody must know why it came. A missing hour does not: the next comparison proves
//! what it would have proven, so only silence at the end leaves the question open.
//!
//! Pure: the time is among the rows. Begin with [`History::of`].

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize as _;
use serde_json::Value;

use crate::change::Position;
use crate::target::checks::{INTEGRITY, is_daily};
use crate::target::history::{
    Differing, Findings, HOUR_MS, LagMinute, Records, Run, Tally, Window,
};
use crate::target::ledger::Phase;
use crate::verify::verdict::{Drift, Outcome};

/// A moment, in milliseconds since 1970; written in UTC, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

impl Time {
    /// By a pattern of strftime; a moment beyond the calendar is written as a dash.
    pub fn format(self, pattern: &str) -> String {
        let shown = jiff::Timestamp::from_millisecond(self.0);
        shown.map_or_else(|_| "-".to_owned(), |shown| shown.strftime(pattern).to_string())
    }
}

impl serde::Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.format("%Y-%m-%dT%H:%M:%SZ"))
    }
}

/// What a span of time came to.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct History {
    /// The answer.
    pub verdict: Outcome,
    /// What it rests on.
    pub state: State,
    /// When the first hour began.
    pub from: Time,
    /// When the report was made.
    pub until: Time,
    /// How far replication has come; `null` before it began.
    pub phase: Option<Phase>,
    /// The newest change that the target has.
    pub applied: Option<Position>,
    /// Comparisons, by what they came to.
    pub runs: Runs,
    /// The newest comparison of all tables; `null` if there was none.
    pub last_run: Option<RunLine>,
    /// The newest comparison that failed, and what followed; `null` if none did.
    pub failure: Option<Failure>,
    /// Comparisons in a row that passed, up to the newest.
    pub streak: Streak,
    /// Hours, by what they came to.
    pub hours: Hours,
    /// How far behind the target was.
    pub lag: Lag,
    /// How much was compared.
    pub rows: Rows,
    /// Tables in which something differed.
    pub differences: Vec<TableDifference>,
    /// The first rows that differed in the newest comparison that failed; no values.
    pub drift: Vec<Drift>,
    /// Statements that must give the same on both sides.
    pub invariants: Vec<Asked>,
    /// Queries whose answers and times are held against each other.
    pub parity: Vec<Asked>,
    /// What belongs to the tables beside their rows and was not as it should be.
    pub checks: Vec<Asked>,
    /// What the newest comparison did not compare, and why.
    pub left_out: Vec<Value>,
    /// What a person should know.
    pub incidents: Incidents,
    /// Every comparison.
    pub verifications: Vec<RunLine>,
}

/// What the verdict rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing differed, and the newest comparison is young.
    Clean,
    /// Something differs.
    Differs,
    /// Something differed; a comparison of all tables has passed since.
    PutRight,
    /// All tables were never compared.
    NoRun,
    /// The newest comparison of all tables is older than it may be.
    TooOld,
    /// The newest comparison of all tables could not compare everything.
    NotAllCompared,
}

impl State {
    fn outcome(self) -> Outcome {
        match self {
            Self::Clean => Outcome::Pass,
            Self::Differs | Self::PutRight => Outcome::Fail,
            Self::NoRun | Self::TooOld | Self::NotAllCompared => Outcome::Incomplete,
        }
    }
}

/// Comparisons, by what they came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Runs {
    /// All.
    pub count: u64,
    /// Everything was equal.
    pub pass: u64,
    /// Something differed.
    pub fail: u64,
    /// Not everything could be compared.
    pub incomplete: u64,
    /// Of all, those of a single table, or only of what was touched.
    pub of_some: u64,
}

/// One comparison.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct RunLine {
    /// When it ended.
    pub at: Time,
    /// `pass`, `fail` or `incomplete`.
    pub verdict: Outcome,
    /// Where the target stood.
    pub position: Position,
    /// The only table that was compared; `null` for all.
    pub table: Option<String>,
    /// Every row was brought home.
    pub is_full: bool,
    /// Only what was touched after this position was compared; `null` for all that was due.
    pub since: Option<Position>,
    /// How long it took.
    pub seconds: f64,
    /// Rows of the source.
    pub rows: i64,
    /// Rows that were compared.
    pub rows_compared: i64,
    /// Bytes that were compared.
    pub bytes: i64,
    /// Rows that differed.
    pub drift_rows: i64,
    /// Rows that were being written whenever they were looked at.
    pub in_flight: i64,
    /// Rows that the target cannot hold.
    pub quarantined: i64,
}

impl RunLine {
    fn of(run: &Run) -> Self {
        Self {
            at: Time(run.at_ms),
            verdict: run.verdict,
            position: run.position,
            table: run.only_table.clone(),
            is_full: run.is_full,
            since: run.since,
            seconds: run.seconds,
            rows: run.rows,
            rows_compared: run.rows_compared,
            bytes: run.bytes,
            drift_rows: run.drift_rows,
            in_flight: run.in_flight,
            quarantined: run.quarantined,
        }
    }
}

/// A comparison that failed, and what followed.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Failure {
    /// When the first of the failures in a row was seen.
    pub since: Time,
    /// When the newest was seen.
    pub at: Time,
    /// When a comparison of all tables next passed; `null` if none has.
    pub put_right: Option<Time>,
    /// Rows that differed, in the newest.
    pub drift_rows: i64,
    /// In so many tables.
    pub tables: u64,
    /// Rows in quarantine.
    pub quarantined: i64,
    /// Invariants that were violated and fail a verdict.
    pub invariants: u64,
    /// Queries without parity that fail a verdict.
    pub parity: u64,
    /// Checks that failed.
    pub checks: u64,
}

/// Comparisons of all tables in a row that passed, up to the newest; followed for 31 days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Streak {
    /// Comparisons.
    pub runs: u64,
    /// Hours in a row, each with such a comparison and nothing else.
    pub hours: u64,
    /// When the first of those hours began; `null` if there is none.
    pub since: Option<Time>,
}

/// Hours, by what they came to.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Hours {
    /// Those since the first comparison.
    pub due: u64,
    /// Clean.
    pub pass: u64,
    /// Something differed.
    pub fail: u64,
    /// Not everything could be compared.
    pub incomplete: u64,
    /// Nothing was compared.
    pub none: u64,
    /// Every hour, the oldest first.
    pub calendar: Vec<Hour>,
}

/// What an hour came to: the worst of its comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HourState {
    /// Before the first comparison.
    Before,
    /// Nothing was compared.
    None,
    /// Clean.
    Pass,
    /// Not everything could be compared.
    Incomplete,
    /// Something differed.
    Fail,
}

/// One hour.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Hour {
    /// When it began.
    pub begins: Time,
    /// What it came to.
    pub state: HourState,
    /// Comparisons in it.
    pub runs: u64,
    /// Rows of the source at the last of all tables; `null` if there was none.
    pub rows: Option<i64>,
    /// How far behind the target was.
    pub lag: Lag,
}

/// How far behind the target was, by the minutes in which something was applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Lag {
    /// Minutes that were written down.
    pub minutes: u64,
    /// Minutes that were not, since the first that was: nobody was streaming.
    pub minutes_missing: u64,
    /// The median of the minutes' medians.
    pub ms_p50: i64,
    /// Nineteen of twenty minutes had a 95th percentile no greater than this.
    pub ms_p95: i64,
    /// The oldest that a change was when it was committed.
    pub ms_max: i64,
    /// The most changes that waited.
    pub changes_max: i64,
    /// Changes that were applied.
    pub applied: i64,
}

/// How much was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Rows {
    /// Rows of the source, at the newest comparison of all tables; `null` if there was none.
    pub source: Option<i64>,
    /// Rows that were compared, by all comparisons together.
    pub compared: i64,
    /// Bytes that were compared.
    pub bytes: i64,
}

/// A table in which something differed: the most of each kind that one comparison saw, because the
/// same row is seen every hour until it is put right.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TableDifference {
    /// Its name on the source.
    pub name: String,
    /// Comparisons that saw it.
    pub runs: u64,
    /// The first of them.
    pub first: Time,
    /// The last of them.
    pub last: Time,
    /// On the source only.
    pub missing: i64,
    /// On the target only.
    pub extra: i64,
    /// On both, and not the same.
    pub mismatched: i64,
    /// Rows that the target cannot hold.
    pub quarantined: i64,
}

/// Something that is asked with each comparison.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Asked {
    /// Its name.
    pub name: String,
    /// What the newest comparison of all tables made of it; `null` if it was not asked.
    pub state: Option<String>,
    /// `fail` or `warn`.
    pub severity: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// What SQLite answered, or how fast.
    pub source: Value,
    /// What PostgreSQL answered, or how fast.
    pub target: Value,
    /// In how many comparisons it came to what.
    pub runs: BTreeMap<String, i64>,
}

/// What a person should know.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Incidents {
    /// How many there were.
    pub count: i64,
    /// The newest hundred, the newest first.
    pub newest: Vec<Incident>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Incident {
    /// When.
    pub at: Time,
    /// What kind.
    pub kind: String,
    /// In words.
    pub message: String,
}

impl History {
    /// Computes it. A newest comparison of all tables that is older than `age_max` proves nothing
    /// about now.
    pub fn of(records: &Records, age_max: Duration) -> Self {
        let window = records.window;
        let runs: Vec<&Run> =
            records.runs.iter().filter(|run| window.from_ms <= run.at_ms).collect();
        let last = runs.iter().rfind(|run| run.is_of_all());
        let failure = failure(records, &runs);
        let state = state(records.now_ms, age_max, last.copied(), failure.as_ref());
        let found = |id: i64| records.findings.iter().find(|found| found.id == id);
        let newest = last.and_then(|run| found(run.id)).cloned().unwrap_or_default();
        let failed =
            runs.iter().rfind(|run| run.verdict == Outcome::Fail).and_then(|run| found(run.id));
        let asked = |kind: &str, answers| asked(kind, answers, &records.tallies);
        Self {
            verdict: state.outcome(),
            state,
            from: Time(window.from_ms),
            until: Time(records.now_ms),
            phase: records.phase,
            applied: records.applied,
            runs: count(&runs),
            last_run: last.map(|run| RunLine::of(run)),
            failure,
            streak: streak(&records.runs),
            hours: hours(records, &runs),
            lag: lag(&records.lag, first_minute(records), expected_until(records)),
            rows: Rows {
                source: last.map(|run| run.rows),
                compared: runs.iter().map(|run| run.rows_compared).sum(),
                bytes: runs.iter().map(|run| run.bytes).sum(),
            },
            differences: differences(&records.differing, &runs),
            drift: failed.map(|found| drift(&found.drift)).unwrap_or_default(),
            invariants: asked("invariant", &newest.invariants),
            parity: asked("parity", &newest.parity),
            checks: checks(records, &newest.checks),
            left_out: newest.left_out.as_array().cloned().unwrap_or_default(),
            incidents: incidents(records),
            verifications: runs.iter().map(|run| RunLine::of(run)).collect(),
        }
    }
}

fn state(now_ms: i64, age_max: Duration, last: Option<&Run>, failure: Option<&Failure>) -> State {
    match failure {
        Some(Failure { put_right: None, .. }) => return State::Differs,
        Some(_) => return State::PutRight,
        None => {}
    }
    let Some(last) = last else { return State::NoRun };
    if age_max.as_millis() < u128::from(now_ms.saturating_sub(last.at_ms).max(0).unsigned_abs()) {
        return State::TooOld;
    }
    if last.verdict == Outcome::Pass { State::Clean } else { State::NotAllCompared }
}

fn count(runs: &[&Run]) -> Runs {
    let of = |verdict| runs.iter().filter(|run| run.verdict == verdict).count() as u64;
    Runs {
        count: runs.len() as u64,
        pass: of(Outcome::Pass),
        fail: of(Outcome::Fail),
        incomplete: of(Outcome::Incomplete),
        of_some: runs.iter().filter(|run| !run.is_of_all()).count() as u64,
    }
}

/// A comparison of one table that passes does not end a row of failures, and proves nothing right:
/// what differed may be elsewhere.
fn failure(records: &Records, runs: &[&Run]) -> Option<Failure> {
    let counting: Vec<&Run> = runs.iter().filter(|run| run.counts()).copied().collect();
    let at = counting.iter().rposition(|run| run.verdict == Outcome::Fail)?;
    let newest = counting[at];
    let in_a_row = counting[..=at].iter().rev().take_while(|run| run.verdict == Outcome::Fail);
    let first = in_a_row.last().unwrap_or(&newest);
    let put_right = counting[at + 1..].iter().find(|run| run.verdict == Outcome::Pass);
    let nothing = Findings::default();
    let found = records.findings.iter().find(|found| found.id == newest.id).unwrap_or(&nothing);
    let failing = |answers: &Value, state: &str| {
        let of = |item: &&Value| {
            item["state"] == *state && item["severity"].as_str().unwrap_or("fail") == "fail"
        };
        answers.as_array().map_or(0, |items| items.iter().filter(of).count() as u64)
    };
    let tables = records.differing.iter().filter(|table| table.id == newest.id);
    Some(Failure {
        since: Time(first.at_ms),
        at: Time(newest.at_ms),
        put_right: put_right.map(|run| Time(run.at_ms)),
        drift_rows: newest.drift_rows,
        tables: tables.filter(|it| 0 < it.missing + it.extra + it.mismatched).count() as u64,
        quarantined: newest.quarantined,
        invariants: failing(&found.invariants, "violated"),
        parity: failing(&found.parity, "violated"),
        checks: failing(&found.checks, "failed"),
    })
}

/// Positions of another history say nothing of this one, so a streak ends where that one did.
fn streak(runs: &[Run]) -> Streak {
    let counting: Vec<&Run> = runs.iter().filter(|run| run.counts()).collect();
    let Some(newest) = counting.last() else { return Streak::default() };
    let in_a_row: Vec<&&Run> = counting
        .iter()
        .rev()
        .take_while(|run| run.verdict == Outcome::Pass && run.lineage == newest.lineage)
        .collect();
    let Some(oldest) = in_a_row.last() else { return Streak::default() };
    let mut begun: Vec<i64> = in_a_row.iter().map(|run| hour_of(run.at_ms)).collect();
    begun.dedup();
    // The run before the oldest failed: it spoils the hour that it shares with it.
    let before = counting.iter().rev().nth(in_a_row.len());
    if before.is_some_and(|run| hour_of(run.at_ms) == hour_of(oldest.at_ms)) {
        begun.pop();
    }
    let gap = begun.windows(2).position(|pair| pair[0] - pair[1] != HOUR_MS);
    let hours = gap.map_or(begun.len(), |at| at + 1);
    Streak {
        runs: in_a_row.len() as u64,
        hours: hours as u64,
        since: hours.checked_sub(1).map(|at| Time(begun[at])),
    }
}

fn hour_of(ms: i64) -> i64 {
    ms - ms.rem_euclid(HOUR_MS)
}

fn hours(records: &Records, runs: &[&Run]) -> Hours {
    let Window { from_ms, hours } = records.window;
    let first = records.runs.iter().find(|run| run.counts()).map(|run| hour_of(run.at_ms));
    let (lag_from, lag_until) = (first_minute(records), expected_until(records));
    let by_hour: BTreeMap<i64, &[LagMinute]> = records
        .lag
        .chunk_by(|one, other| hour_of(one.begun_ms) == hour_of(other.begun_ms))
        .map(|minutes| (hour_of(minutes[0].begun_ms), minutes))
        .collect();
    let mut calendar: Vec<Hour> = (0..hours)
        .map(|at| from_ms + at * HOUR_MS)
        .map(|begins| {
            let is_due = first.is_some_and(|first| first <= begins);
            let state = if is_due { HourState::None } else { HourState::Before };
            let minutes = by_hour.get(&begins).copied().unwrap_or_default();
            let end = lag_until.min(begins + HOUR_MS);
            let lag = lag(minutes, lag_from.max(begins), end);
            Hour { begins: Time(begins), state, runs: 0, rows: None, lag }
        })
        .collect();
    for run in runs {
        let at = usize::try_from((run.at_ms - from_ms) / HOUR_MS).unwrap_or(usize::MAX);
        let Some(hour) = calendar.get_mut(at) else { continue };
        hour.runs += 1;
        if run.is_of_all() {
            hour.rows = Some(run.rows);
        }
        if run.counts() {
            hour.state = hour.state.max(match run.verdict {
                Outcome::Pass => HourState::Pass,
                Outcome::Fail => HourState::Fail,
                Outcome::Incomplete => HourState::Incomplete,
            });
        }
    }
    let of = |state| calendar.iter().filter(|hour| hour.state == state).count() as u64;
    Hours {
        due: calendar.len() as u64 - of(HourState::Before),
        pass: of(HourState::Pass),
        fail: of(HourState::Fail),
        incomplete: of(HourState::Incomplete),
        none: of(HourState::None),
        calendar,
    }
}

/// Length of a minute.
const MINUTE_MS: i64 = 60_000;

/// Before lag was first written down none is missing.
fn first_minute(records: &Records) -> i64 {
    records.lag.first().map_or(i64::MAX, |minute| minute.begun_ms)
}

/// The minute that is under way is not written yet, and the one before may be on its way.
fn expected_until(records: &Records) -> i64 {
    records.now_ms - records.now_ms.rem_euclid(MINUTE_MS) - MINUTE_MS
}

/// Of minutes in order, where those from `from_ms` up to `end_ms` are expected.
fn lag(minutes: &[LagMinute], from_ms: i64, end_ms: i64) -> Lag {
    let expected = end_ms.saturating_sub(from_ms).max(0) / MINUTE_MS;
    let ended = |minute: &&LagMinute| minute.begun_ms + MINUTE_MS <= end_ms;
    let written = minutes.iter().filter(ended).count() as i64;
    let sorted = |of: fn(&LagMinute) -> i64| {
        let busy = minutes.iter().filter(|minute| 0 < minute.applied);
        let mut values: Vec<i64> = busy.map(of).collect();
        values.sort_unstable();
        values
    };
    let most = |of: fn(&LagMinute) -> i64| minutes.iter().map(of).max().unwrap_or(0);
    Lag {
        minutes: minutes.len() as u64,
        minutes_missing: u64::try_from(expected - written).unwrap_or(0),
        ms_p50: percentile(&sorted(|minute| minute.ms_p50), 50),
        ms_p95: percentile(&sorted(|minute| minute.ms_p95), 95),
        ms_max: most(|minute| minute.ms_max),
        changes_max: most(|minute| minute.changes_max),
        applied: minutes.iter().map(|minute| minute.applied).sum(),
    }
}

/// The least value that `percent` of the values, in order, do not exceed, which is always one of
/// them; nothing of none.
pub fn percentile<T: Copy + Default>(sorted: &[T], percent: usize) -> T {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

fn differences(differing: &[Differing], runs: &[&Run]) -> Vec<TableDifference> {
    let mut tables: BTreeMap<&str, TableDifference> = BTreeMap::new();
    for seen in differing {
        let Some(run) = runs.iter().find(|run| run.id == seen.id) else { continue };
        let at = Time(run.at_ms);
        let table = tables.entry(&seen.name).or_insert_with(|| TableDifference {
            name: seen.name.clone(),
            runs: 0,
            first: at,
            last: at,
            missing: 0,
            extra: 0,
            mismatched: 0,
            quarantined: 0,
        });
        table.runs += 1;
        table.last = at;
        table.missing = table.missing.max(seen.missing);
        table.extra = table.extra.max(seen.extra);
        table.mismatched = table.mismatched.max(seen.mismatched);
        table.quarantined = table.quarantined.max(seen.quarantined);
    }
    tables.into_values().collect()
}

fn drift(rows: &Value) -> Vec<Drift> {
    let rows = rows.as_array().into_iter().flatten();
    rows.filter_map(|row| Some(Drift::deserialize(row).ok()?.without_values())).collect()
}

/// What was asked the last time, then what was only asked earlier.
fn asked(kind: &str, answers: &Value, tallies: &[Tally]) -> Vec<Asked> {
    let word = |value: &Value| value.as_str().map(str::to_owned);
    let unasked = |name: &str| Asked {
        name: name.to_owned(),
        state: None,
        severity: None,
        reason: None,
        source: Value::Null,
        target: Value::Null,
        runs: BTreeMap::new(),
    };
    let mut asked: Vec<Asked> = answers
        .as_array()
        .into_iter()
        .flatten()
        .map(|item| Asked {
            state: word(&item["state"]),
            severity: word(&item["severity"]),
            reason: word(&item["reason"]).or_else(|| word(&item["message"])),
            source: item["source"].clone(),
            target: item["target"].clone(),
            ..unasked(item["name"].as_str().unwrap_or_default())
        })
        .collect();
    for tally in tallies.iter().filter(|tally| tally.kind == kind) {
        let at = asked.iter().position(|item| item.name == tally.name).unwrap_or_else(|| {
            asked.push(unasked(&tally.name));
            asked.len() - 1
        });
        asked[at].runs.insert(tally.state.clone(), tally.runs);
    }
    asked
}

/// What is the matter now: what the newest comparison says, and of what is looked at once a day
/// what was said last. A check that is not among them found nothing the matter.
fn checks(records: &Records, newest: &Value) -> Vec<Asked> {
    let items = |checks: &Value| checks.as_array().cloned().unwrap_or_default();
    let has_looked = |checks: &Value| items(checks).iter().any(|item| item["name"] == INTEGRITY);
    let mut all = items(newest);
    if !has_looked(newest) {
        let looked = records.findings.iter().filter(|found| has_looked(&found.checks));
        let last = looked.max_by_key(|found| found.id).map(|found| items(&found.checks));
        let is_daily = |item: &Value| item["name"].as_str().is_some_and(is_daily);
        all.extend(last.unwrap_or_default().into_iter().filter(is_daily));
    }
    let mut checks = asked("check", &Value::Array(all), &records.tallies);
    for check in &mut checks {
        check.state.get_or_insert_with(|| "ok".to_owned());
    }
    checks
}

fn incidents(records: &Records) -> Incidents {
    let line = |incident: &crate::target::history::Incident| Incident {
        at: Time(incident.at_ms),
        kind: incident.kind.clone(),
        message: incident.message.clone(),
    };
    let newest = records.incidents.iter().map(line).collect();
    Incidents { count: records.incidents_count, newest }
}
