//! What a span of time came to, for a terminal, a mail and its subject.
//!
//! All forms are made of the same lines, so they cannot disagree: the summary, the facts, the
//! calendar, and a list for each thing that was found. A line knows which of its pieces are
//! somebody else's words; each form shows those in its own way, and none of them can steer it.

use std::fmt::Write as _;

use serde_json::Value;

use super::verify::kind_in_words;
use super::{bytes_in_words, counted, shown};
use crate::assess::proposal::grouped;
use crate::history::{Asked, Failure, History, Hour, HourState, State, TableDifference, Time};
use crate::target::history::HOUR_MS;
use crate::target::ledger::Phase;
use crate::verify::verdict::Outcome;

/// Fits the subject of a mail on one line, after the header's name (RFC 5322, 2.1.1).
const SUBJECT_MAX: usize = 78;

/// Lines of one list that a terminal and a mail show; HTML and JSON have them all.
const LINES_MAX: usize = 25;

/// A piece of a line.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    /// Our own words.
    Ours(String),
    /// From a database or a configuration; may hold anything.
    Theirs(String),
}

/// One line of a list.
pub(super) type Line = Vec<Piece>;

/// What was found, under a heading.
pub(super) struct List {
    /// The heading.
    pub title: &'static str,
    /// Said where there is no line.
    pub nothing: &'static str,
    /// The lines.
    pub lines: Vec<Line>,
}

fn ours(text: impl Into<String>) -> Piece {
    Piece::Ours(text.into())
}

fn theirs(text: impl Into<String>) -> Piece {
    Piece::Theirs(text.into())
}

/// `2026-11-27 14:00 UTC`.
pub(super) fn minute(time: Time) -> String {
    time.format("%Y-%m-%d %H:%M UTC")
}

/// `pass` as it is written on top.
pub(super) fn verdict(history: &History) -> &'static str {
    match history.verdict {
        Outcome::Pass => "PASS",
        Outcome::Fail => "FAIL",
        Outcome::Incomplete => "INCOMPLETE",
    }
}

/// What the verdict rests on, without the verdict; ASCII only, and no name in it.
pub(super) fn summary(history: &History) -> String {
    let last = history.last_run.as_ref().map_or(history.until, |run| run.at);
    match (&history.state, &history.failure) {
        (State::Differs, Some(failure)) => {
            failing(failure, true, &format!(" since {}", minute(failure.since)))
        }
        (State::PutRight, Some(failure)) => {
            let at = failure.at.format(" at %m-%d %H:%M UTC, put right");
            failing(failure, false, &at)
        }
        (State::TooOld, _) => {
            let age = time_in_words(history.until.0 - last.0);
            format!("the newest run is {age} old ({})", minute(last))
        }
        (State::NotAllCompared, _) => {
            format!("not everything could be compared at {}", minute(last))
        }
        (State::NoRun, _) => {
            let hours = history.hours.calendar.len();
            format!("no run of all tables in {}", span_in_words(hours))
        }
        _ => clean(history),
    }
}

/// As much as fits, the most telling first.
fn clean(history: &History) -> String {
    let hours = &history.hours;
    let mut text = format!("{} of {} hours clean", hours.pass, hours.due);
    let lag =
        (0 < history.lag.minutes).then(|| format!("lag p95 {}", time_in_words(history.lag.ms_p95)));
    let rows = history.rows.source.map(|rows| format!("{} rows", in_short(rows)));
    let parts = [
        (0 < hours.none).then(|| format!("{} without a run", hours.none)),
        (0 < hours.incomplete).then(|| format!("{} incomplete", hours.incomplete)),
        rows,
        lag,
    ];
    for part in parts.into_iter().flatten() {
        if "lite2pg PASS: ".len() + text.len() + ", ".len() + part.len() <= SUBJECT_MAX {
            write!(text, ", {part}").expect("a string takes all");
        }
    }
    text
}

/// The most telling of what failed, and when: `3 rows differ in 2 tables since …`.
fn failing(failure: &Failure, is_now: bool, when: &str) -> String {
    let many = |count: i64, one: &str, several: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{} {several}", in_short(count)),
    };
    let few =
        |count: u64, one, several| many(i64::try_from(count).unwrap_or(i64::MAX), one, several);
    let parts: Vec<String> = [
        (0 < failure.drift_rows).then(|| {
            let verb = match (is_now, failure.drift_rows) {
                (false, _) => "differed",
                (true, 1) => "differs",
                (true, _) => "differ",
            };
            let tables = few(failure.tables, "table", "tables");
            format!("{} {verb} in {tables}", many(failure.drift_rows, "row", "rows"))
        }),
        (0 < failure.quarantined)
            .then(|| format!("{} in quarantine", many(failure.quarantined, "row", "rows"))),
        (0 < failure.invariants)
            .then(|| format!("{} violated", few(failure.invariants, "invariant", "invariants"))),
        (0 < failure.parity)
            .then(|| format!("{} without parity", few(failure.parity, "query", "queries"))),
        (0 < failure.checks).then(|| format!("{} failed", few(failure.checks, "check", "checks"))),
    ]
    .into_iter()
    .flatten()
    .collect();
    let has_more = 1 < parts.len();
    let first = parts.into_iter().next().unwrap_or_else(|| "a comparison failed".to_owned());
    let whole = format!("{first} and more{when}");
    let fits = "lite2pg FAIL: ".len() + whole.len() <= SUBJECT_MAX;
    if has_more && fits { whole } else { format!("{first}{when}") }
}

/// `lite2pg PASS: 168 of 168 hours clean, 1.3 M rows, lag p95 0.2 s`.
pub fn subject(history: &History) -> String {
    format!("{}\n", subject_of(verdict(history), &summary(history)))
}

/// The subject where there is no report: it could not be found out.
pub fn subject_of_failure(error: &crate::error::Report) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    format!("{}\n", subject_of("INCOMPLETE", first))
}

fn subject_of(verdict: &str, summary: &str) -> String {
    let text = format!("lite2pg {verdict}: {summary}");
    let printable = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    text.chars().map(printable).take(SUBJECT_MAX).collect()
}

/// What is known in a few words each: a name and a sentence.
pub(super) fn facts(history: &History) -> Vec<(&'static str, String)> {
    let History { runs, hours, lag, streak, .. } = history;
    let mut facts = vec![(
        "window",
        format!(
            "{} to {}, {}",
            history.from.format("%Y-%m-%d %H:%M"),
            minute(history.until),
            span_in_words(hours.calendar.len())
        ),
    )];
    facts.push((
        "hours",
        format!(
            "{} of {} clean, {} with a difference, {} incomplete, {} without a run",
            hours.pass, hours.due, hours.fail, hours.incomplete, hours.none
        ),
    ));
    let newest = history.last_run.as_ref().map_or_else(
        || "all tables were never compared".to_owned(),
        |run| format!("the newest of all tables {}, {:.1} s", minute(run.at), run.seconds),
    );
    let of_some = match runs.of_some {
        0 => String::new(),
        count => format!(" ({} of a part only)", grouped(count)),
    };
    facts.push((
        "runs",
        format!(
            "{} passed, {} failed, {} incomplete{of_some}; {newest}",
            grouped(runs.pass),
            grouped(runs.fail),
            grouped(runs.incomplete),
        ),
    ));
    let since = streak.since.map_or_else(String::new, |since| format!(", since {}", minute(since)));
    let in_a_row = counted(streak.hours, "hour");
    facts.push(("in a row", format!("{in_a_row} without a difference or a gap{since}")));
    if let Some(rows) = history.rows.source {
        let rows = counted(u64::try_from(rows).unwrap_or(0), "row");
        let compared = grouped(history.rows.compared);
        let bytes = bytes_in_words(u64::try_from(history.rows.bytes).unwrap_or(0));
        facts.push((
            "rows",
            format!("{rows} in the newest run; {compared} compared in all, {bytes}"),
        ));
    }
    facts.push(("lag", lag_in_words(lag)));
    let phase = history.phase.map_or("not begun", Phase::as_str).replace('_', " ");
    let applied = history
        .applied
        .map_or_else(String::new, |applied| format!(", applied {}", grouped(applied)));
    facts.push(("now", format!("{phase}{applied}")));
    facts.extend(next(history).map(|words| ("next", words.to_owned())));
    facts
}

/// What a person does about it.
fn next(history: &History) -> Option<&'static str> {
    let rows = history.failure.as_ref().map_or(0, |failed| failed.drift_rows + failed.quarantined);
    match history.state {
        State::Clean => None,
        State::Differs if rows == 0 => Some(
            "the rows are equal; what is not is listed below, and lite2pg verify --show-values \
             says more",
        ),
        State::Differs => Some(
            "lite2pg verify lists the rows that differ, lite2pg quarantine those that the target \
             cannot hold; lite2pg repair has replay make right what can be",
        ),
        State::PutRight => Some(
            "find out who it was: rows that differ again were written on the target, or past the \
             triggers",
        ),
        State::NoRun | State::TooOld => {
            Some("lite2pg verify compares now; see why its timer or crontab did not")
        }
        State::NotAllCompared => Some("lite2pg verify says what it could not compare, and why"),
    }
}

fn lag_in_words(lag: &crate::history::Lag) -> String {
    if lag.minutes == 0 {
        return "nothing was written down: no sidecar was streaming".to_owned();
    }
    let missing = match lag.minutes_missing {
        0 => String::new(),
        minutes => format!("; {} without a word of a sidecar", counted(minutes, "minute")),
    };
    format!(
        "p50 {}, p95 {}, at most {}; {} applied, at most {} waited{missing}",
        time_in_words(lag.ms_p50),
        time_in_words(lag.ms_p95),
        time_in_words(lag.ms_max),
        counted(u64::try_from(lag.applied).unwrap_or(0), "change"),
        grouped(lag.changes_max),
    )
}

/// The lists that every form shows.
pub(super) fn lists(history: &History) -> Vec<List> {
    let list = |title, nothing, lines| List { title, nothing, lines };
    let left_out = history.left_out.iter().map(|item| {
        let words = |key: &str| theirs(item[key].as_str().unwrap_or_default());
        vec![words("name"), ours(": "), words("reason")]
    });
    let incidents = history.incidents.newest.iter().map(|incident| {
        let head = format!("{} {}: ", minute(incident.at), incident.kind);
        vec![ours(shown(&head)), theirs(&incident.message)]
    });
    let is_amiss = |check: &&Asked| check.state.as_deref() != Some("ok");
    vec![
        list("Differences", "No row differed.", differences(history)),
        list(
            "Invariants",
            "None is configured.",
            history.invariants.iter().map(asked_line).collect(),
        ),
        list("Parity", "None is configured.", history.parity.iter().map(asked_line).collect()),
        list(
            "Checks",
            "Everything beside the rows is as it should be.",
            history.checks.iter().filter(is_amiss).map(asked_line).collect(),
        ),
        list("Not compared", "Everything was compared.", left_out.collect()),
        list("Incidents", "None.", incidents.collect()),
    ]
}

fn differences(history: &History) -> Vec<Line> {
    let tables = history.differences.iter().map(|table| {
        let seen = if table.runs == 1 {
            format!("in one run, {}", minute(table.last))
        } else {
            let (first, last) = (minute(table.first), minute(table.last));
            format!("in {} runs, {first} to {last}", grouped(table.runs))
        };
        vec![theirs(&table.name), ours(format!(": {}, {seen}", kinds(table)))]
    });
    let rows = history.drift.iter().map(|row| {
        let kind = kind_in_words(row.kind);
        let mut line =
            vec![theirs(format!("{} {}", row.table, row.key)), ours(format!(": {kind}"))];
        if !row.columns.is_empty() {
            line.extend([ours(" in "), theirs(row.columns.join(", "))]);
        }
        line
    });
    tables.chain(rows).collect()
}

/// `2 missing, 1 different`.
pub(super) fn kinds(table: &TableDifference) -> String {
    let kinds: Vec<String> = [
        (table.missing, "missing"),
        (table.extra, "extra"),
        (table.mismatched, "different"),
        (table.quarantined, "in quarantine"),
    ]
    .into_iter()
    .filter(|(count, _)| 0 < *count)
    .map(|(count, what)| format!("{} {what}", grouped(count)))
    .collect();
    kinds.join(", ")
}

fn asked_line(asked: &Asked) -> Line {
    let mut line = vec![theirs(&asked.name), ours(": ")];
    line.extend(answer(asked));
    if asked.severity.as_deref() == Some("warn") {
        line.push(ours("; only mentioned"));
    }
    if let Some(often) = how_often(asked) {
        line.push(ours(format!(" ({often})")));
    }
    line
}

/// The state, and what both sides answered.
pub(super) fn answer(asked: &Asked) -> Line {
    let state = asked.state.as_deref().unwrap_or("not asked any more");
    let state =
        if ["violated", "failed"].contains(&state) { state.to_uppercase() } else { shown(state) };
    let mut line = vec![ours(state)];
    for (value, side) in [(&asked.source, "SQLite"), (&asked.target, "PostgreSQL")] {
        let words = answer_in_words(value);
        if !words.is_empty() {
            line.extend([ours(format!(", {side} ")), theirs(words)]);
        }
    }
    if let Some(reason) = &asked.reason {
        line.extend([ours(": "), theirs(reason)]);
    }
    line
}

/// In how many runs it was not as it should be; `None` if it always was.
pub(super) fn how_often(asked: &Asked) -> Option<String> {
    let bad: Vec<String> = ["violated", "failed", "unknown"]
        .iter()
        .filter_map(|state| Some((state, asked.runs.get(*state)?)))
        .map(|(state, runs)| format!("{state} in {} of", grouped(runs)))
        .collect();
    let all: i64 = asked.runs.values().sum();
    (!bad.is_empty()).then(|| {
        format!("{} {}", bad.join(" and "), counted(u64::try_from(all).unwrap_or(0), "run"))
    })
}

/// Cells of an answer, or times of a query: `p50 1.2 ms, p95 3 ms`.
fn answer_in_words(value: &Value) -> String {
    let cell = |value: &Value| match value {
        Value::Null => "NULL".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match value {
        Value::Null => String::new(),
        Value::Array(cells) => cells.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Object(figures) => {
            let words = figures.iter().filter(|(_, value)| !value.is_null()).map(
                |(name, value)| match name.strip_suffix("_ms") {
                    Some(name) => format!("{name} {} ms", cell(value)),
                    None => format!("{name} {}", cell(value)),
                },
            );
            words.collect::<Vec<_>>().join(", ")
        }
        other => cell(other),
    }
}

/// One line for each day, one character for each hour; a space before the first and after the last.
fn calendar(history: &History) -> Vec<String> {
    let mut lines = vec!["UTC         00    06    12    18".to_owned()];
    for (day, hours) in days(&history.hours.calendar) {
        let cells: String = hours.iter().map(|hour| hour.map_or(' ', mark)).collect();
        lines.push(format!("{day}  {cells}").trim_end().to_owned());
    }
    lines.push(String::new());
    lines.push("+ clean   X differs   ? incomplete   - no run   . before the first run".to_owned());
    lines
}

fn mark(hour: &Hour) -> char {
    match hour.state {
        HourState::Before => '.',
        HourState::None => '-',
        HourState::Pass => '+',
        HourState::Incomplete => '?',
        HourState::Fail => 'X',
    }
}

/// The hours by their days in UTC, 24 places for each.
pub(super) fn days(hours: &[Hour]) -> Vec<(String, [Option<&Hour>; 24])> {
    let mut days: Vec<(String, [Option<&Hour>; 24])> = Vec::new();
    for hour in hours {
        let day = hour.begins.format("%Y-%m-%d");
        if days.last().is_none_or(|(last, _)| *last != day) {
            days.push((day, [None; 24]));
        }
        let at = usize::try_from((hour.begins.0 / HOUR_MS).rem_euclid(24)).unwrap_or(0);
        if let Some((_, places)) = days.last_mut() {
            places[at] = Some(hour);
        }
    }
    days
}

/// For a terminal.
pub fn terminal(history: &History) -> String {
    let mut text = format!("{}: {}\n\n", verdict(history), summary(history));
    let mut line = |content: &str| writeln!(text, "{content}").expect("a string takes all");
    for (name, words) in facts(history) {
        line(&format!("  {name:<8}  {words}"));
    }
    line("");
    calendar(history).iter().for_each(|one| line(format!("  {one}").trim_end()));
    for list in lists(history).iter().filter(|list| !list.lines.is_empty()) {
        line(&format!("\n{}", list.title.to_lowercase()));
        for pieces in list.lines.iter().take(LINES_MAX) {
            let words = pieces.iter().map(|piece| match piece {
                Piece::Ours(text) => text.clone(),
                Piece::Theirs(text) => shown(text),
            });
            line(&format!("  {}", words.collect::<String>()));
        }
        if let Some(more) = more(list) {
            line(&format!("  {more}"));
        }
    }
    text
}

/// For a mail: Markdown that reads well as it is.
pub fn markdown(history: &History) -> String {
    let mut text = format!("# lite2pg {}\n\n{}.\n\n", verdict(history), summary(history));
    let mut line = |content: &str| writeln!(text, "{content}").expect("a string takes all");
    for (name, words) in facts(history) {
        line(&format!("- {name}: {words}"));
    }
    line("\n## Hours\n\n```text");
    calendar(history).iter().for_each(|one| line(one));
    line("```");
    for list in lists(history) {
        line(&format!("\n## {}\n", list.title));
        if list.lines.is_empty() {
            line(list.nothing);
        }
        for pieces in list.lines.iter().take(LINES_MAX) {
            let words = pieces.iter().map(|piece| match piece {
                Piece::Ours(text) => text.clone(),
                Piece::Theirs(text) => code_span(text),
            });
            line(&format!("- {}", words.collect::<String>()));
        }
        if let Some(more) = more(&list) {
            line(&format!("- {more}"));
        }
    }
    text
}

fn more(list: &List) -> Option<String> {
    let more = list.lines.len().checked_sub(LINES_MAX + 1)? + 1;
    Some(format!("and {} more: --format html and json have them all", grouped(more)))
}

/// Text that Markdown takes as it is: between more backticks than it holds in a row
/// (<https://spec.commonmark.org/0.31.2/#code-spans>).
fn code_span(text: &str) -> String {
    let text = shown(text);
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let touches = |c: Option<char>| c.is_none_or(|c| c == '`' || c == ' ');
    let pad = if touches(text.chars().next()) || touches(text.chars().last()) { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// `40 ms`, `0.2 s`, `3 min`, `14 h`.
#[allow(clippy::cast_precision_loss)]
pub(super) fn time_in_words(ms: i64) -> String {
    match ms {
        ..100 => format!("{ms} ms"),
        100..10_000 => format!("{:.1} s", ms as f64 / 1_000.0),
        10_000..120_000 => format!("{} s", ms / 1_000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / HOUR_MS),
    }
}

/// `7 days`, `12 hours`.
fn span_in_words(hours: usize) -> String {
    if 24 < hours && hours.is_multiple_of(24) {
        counted(hours as u64 / 24, "day")
    } else {
        counted(hours as u64, "hour")
    }
}

/// `9,999`, `12 k`, `1.3 M`.
#[allow(clippy::cast_precision_loss)]
pub(super) fn in_short(count: i64) -> String {
    match count {
        ..10_000 => grouped(count),
        10_000..1_000_000 => format!("{} k", count / 1_000),
        1_000_000..1_000_000_000 => format!("{:.1} M", count as f64 / 1e6),
        _ => format!("{:.1} G", count as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_leaves_its_code_span() {
        assert_eq!(code_span("orders"), "`orders`");
        assert_eq!(code_span("a`b``c"), "```a`b``c```");
        assert_eq!(code_span("`x"), "`` `x ``");
        assert_eq!(code_span("a\n# b"), "`a\u{fffd}# b`");
        assert_eq!(code_span(""), "`  `");
    }

    #[test]
    fn a_subject_is_one_line_of_ascii_that_is_not_too_long() {
        let subject = subject_of("FAIL", &format!("\u{1F980}\r\nBcc: x{}", "y".repeat(100)));
        assert_eq!(subject.len(), SUBJECT_MAX);
        assert!(subject.starts_with("lite2pg FAIL: ???Bcc: xyy"), "{subject}");
    }

    #[test]
    fn times_and_counts_are_short() {
        assert_eq!(
            [40, 200, 119_999, 150_000, 50_400_000].map(time_in_words),
            ["40 ms", "0.2 s", "119 s", "2 min", "14 h"]
        );
        assert_eq!(
            [9_999, 12_345, 1_300_000, 2_000_000_000].map(in_short),
            ["9,999", "12 k", "1.3 M", "2.0 G"]
        );
        assert_eq!(
            [1, 24, 36, 168].map(span_in_words),
            ["1 hour", "24 hours", "36 hours", "7 days"]
        );
    }
}
