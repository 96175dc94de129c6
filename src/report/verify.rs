//! What a comparison of both sides came to, for a terminal.

use std::fmt::Write as _;

use super::{counted, shown};
use crate::alert::Alert;
use crate::target::checks::CheckState;
use crate::verify::invariant::{Severity, State};
use crate::verify::parity;
use crate::verify::repair::Repaired;
use crate::verify::verdict::{DriftKind, LeftOut, Outcome, ScopeWord, Verdict};

/// The verdict, then the tables, then what differs and what was left out.
pub fn verdict(verdict: &Verdict) -> String {
    let mut text = String::new();
    line(&mut text, &summary(verdict));
    let parts = [tables(verdict), drift(verdict), beside(verdict), left_out(verdict)];
    for part in parts.iter().filter(|part| !part.is_empty()) {
        line(&mut text, "");
        part.iter().for_each(|one| line(&mut text, one));
    }
    text
}

/// Tables that an alert names; the verdict has all.
const TABLES_TOLD: usize = 20;

/// What is told of a verdict at once: that it fails. Rows in quarantine alone are no news: that was
/// told when they were set aside.
pub fn alert(verdict: &Verdict) -> Option<Alert> {
    if verdict.verdict != Outcome::Fail {
        return None;
    }
    let differing = verdict.tables.iter().filter(|table| 0 < table.drift_rows());
    let differing = differing.map(|table| format!("{} {}", table.name, table.drift_rows()));
    let mut found: Vec<String> = differing.take(TABLES_TOLD).collect();
    let invariants = verdict.invariants.iter().map(|one| (&one.name, one.severity, one.state));
    let queries = verdict.parity.iter().map(|one| (&one.name, one.severity, one.state));
    let invariants = invariants.map(|one| ("invariant", one));
    for (what, (name, severity, state)) in invariants.chain(queries.map(|one| ("query", one))) {
        if (severity, state) == (Severity::Fail, State::Violated) {
            found.push(format!("{what} {name}"));
        }
    }
    let failed = verdict.checks.iter().filter(|check| check.state == CheckState::Failed);
    found.extend(failed.map(|check| check.name.clone()));
    if found.is_empty() && 0 < verdict.quarantined() {
        return None;
    }
    let kind = if 0 < verdict.drift_rows { "drift" } else { "verify_failed" };
    let message = match found.as_slice() {
        [] => summary(verdict),
        found => format!("{}: {}", summary(verdict), found.join(", ")),
    };
    let position = Some(verdict.position.applied);
    let lineage = Some(verdict.position.lineage.clone());
    let hint = Some("`lite2pg verify` names the rows; `lite2pg repair` makes them right.");
    let hint = hint.filter(|_| kind == "drift").map(str::to_owned);
    Some(Alert { position, lineage, hint, ..Alert::new(kind, message) })
}

fn tables(verdict: &Verdict) -> Vec<String> {
    let width = verdict.tables.iter().map(|table| table.name.chars().count()).max().unwrap_or(0);
    let width = width.max("table".len());
    // Of what was proven before only a part is read again.
    let is_part = verdict.scope == ScopeWord::Changes;
    let proven = |text: String| if is_part { format!("  {text:>10}") } else { String::new() };
    let (here, there) =
        if is_part { ("now SQLite", "PostgreSQL") } else { ("SQLite", "PostgreSQL") };
    let head = proven("proven".to_owned());
    let head = format!("  {:<width$}{head}  {here:>10}  {there:>10}  checksum", "table");
    let rows = verdict.tables.iter().map(|table| {
        let found: Vec<String> = [
            (table.missing, "missing"),
            (table.extra, "extra"),
            (table.mismatched, "different"),
            (table.quarantined, "in quarantine"),
            (table.in_flight, "in flight"),
        ]
        .into_iter()
        .filter(|(count, _)| 0 < *count)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
        format!(
            "  {:<width$}{}  {:>10}  {:>10}  {}  {}",
            shown(&table.name),
            proven(table.rows_proven.to_string()),
            table.rows_source,
            table.rows_target,
            table.checksum.get(..12).unwrap_or_default(),
            found.join(", ")
        )
    });
    std::iter::once(head).chain(rows).collect()
}

/// How a row differs.
pub(super) fn kind_in_words(kind: DriftKind) -> &'static str {
    match kind {
        DriftKind::Missing => "missing on PostgreSQL",
        DriftKind::Extra => "on PostgreSQL only",
        DriftKind::Mismatched => "different",
    }
}

fn drift(verdict: &Verdict) -> Vec<String> {
    let mut lines = Vec::new();
    for drift in &verdict.drift {
        let kind = kind_in_words(drift.kind);
        let columns = match drift.columns.as_slice() {
            [] => String::new(),
            columns => format!(" in {}", columns.join(", ")),
        };
        let place = format!("{} {}", drift.table, drift.key);
        lines.push(format!("{}: {kind}{}", shown(&place), shown(&columns)));
        for value in &drift.values {
            let both = format!("{}: {} here, {} there", value.column, value.source, value.target);
            lines.push(format!("    {}", shown(&both)));
        }
    }
    let more = verdict.drift_rows - verdict.drift.len() as u64;
    if 0 < more {
        lines.push(format!("and {more} more; --all lists them"));
    }
    lines
}

/// Invariants, queries, and what belongs to the tables beside their rows.
fn beside(verdict: &Verdict) -> Vec<String> {
    let invariants = verdict.invariants.iter().map(|finding| {
        let (source, target) = (cells(&finding.source), cells(&finding.target));
        let said = match finding.state {
            State::Kept => format!("kept: {source}"),
            State::Violated => format!("VIOLATED: {source} on SQLite, {target} on PostgreSQL"),
            State::Unknown => "unknown: both sides were never at the same position".to_owned(),
        };
        format!("invariant {}: {}", shown(&finding.name), shown(&said))
    });
    let parity = verdict.parity.iter().flat_map(query);
    let said = verdict.checks.iter().filter(|check| check.state != CheckState::Ok);
    let checks = said.map(|check| {
        let word = match check.state {
            CheckState::Ok => "as it should be",
            CheckState::Waiting => "waiting",
            CheckState::Noticed => "noticed",
            CheckState::Failed => "FAILED",
        };
        let message = check.message.as_ref().map_or_else(String::new, |text| format!(": {text}"));
        format!("{}: {word}{}", shown(&check.name), shown(&message))
    });
    invariants.chain(parity).chain(checks).collect()
}

/// One of the application's queries, with its latencies and, if they are shown, the rows that are
/// not the same.
fn query(finding: &parity::Finding) -> Vec<String> {
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let rows = counted(count(finding.rows), "row");
    let reason = finding.reason.clone().unwrap_or_default();
    let mut said = match finding.state {
        State::Kept => format!("kept: {rows}"),
        State::Violated => format!("VIOLATED: {reason}"),
        State::Unknown => format!("unknown: {reason}"),
    };
    if let (Some(source), Some(target)) = (finding.source, finding.target) {
        let times = |latency: parity::Latency| {
            format!("{}/{}/{} ms", latency.p50_ms, latency.p95_ms, latency.p99_ms)
        };
        let (source, target) = (times(source), times(target));
        said.push_str(&format!(" (p50/p95/p99 {source} on SQLite, {target} on PostgreSQL)"));
    }
    let mut lines = vec![format!("query {}: {}", shown(&finding.name), shown(&said))];
    if let Some(difference) = &finding.difference {
        let parameters = cells(&Some(difference.parameters.clone()));
        let source = cells(&difference.source);
        let target = cells(&difference.target);
        let both = format!("with ({parameters}): {source} here, {target} there");
        lines.push(format!("    {}", shown(&both)));
    }
    lines
}

/// A row, or that there is none.
fn cells(row: &Option<Vec<Option<String>>>) -> String {
    let Some(row) = row else { return "no row".to_owned() };
    let cells = row.iter().map(|cell| cell.as_deref().unwrap_or("NULL"));
    cells.collect::<Vec<_>>().join(", ")
}

fn left_out(verdict: &Verdict) -> Vec<String> {
    let line = |left_out: &LeftOut| {
        format!("not compared: {} ({})", shown(&left_out.name), shown(&left_out.reason))
    };
    verdict.left_out.iter().map(line).collect()
}

/// One line: what it comes to, of how many rows, and how many of those were looked at this time.
fn summary(verdict: &Verdict) -> String {
    let tables = counted(verdict.tables.len() as u64, "table");
    let (compared, proven) = (verdict.rows_compared(), verdict.rows_proven());
    let rows = match verdict.scope {
        ScopeWord::Full => counted(compared, "row"),
        ScopeWord::Changes => counted(proven.max(compared), "row"),
        ScopeWord::Since => format!("{} that were touched", counted(compared, "row")),
    };
    let at = verdict.position.applied;
    let quarantined = verdict.quarantined();
    let said = match verdict.verdict {
        Outcome::Pass => format!("PASS: {rows} in {tables} are equal at position {at}"),
        Outcome::Fail if verdict.drift_rows + quarantined == 0 => format!(
            "FAIL: {rows} in {tables} are equal at position {at}, and something else is not"
        ),
        Outcome::Fail => format!(
            "FAIL: {} of {rows} in {tables} differ at position {at}, {quarantined} are in \
             quarantine",
            verdict.drift_rows
        ),
        Outcome::Incomplete => format!(
            "INCOMPLETE: of {rows} in {tables} none differs at position {at}, and {} could not be \
             compared",
            match verdict.in_flight {
                0 => "something".to_owned(),
                rows => counted(rows, "row"),
            }
        ),
    };
    format!("{said}{}", read_now(verdict))
}

/// How much of it was read this time, and how old the oldest of the rest is.
fn read_now(verdict: &Verdict) -> String {
    let seconds = verdict.seconds;
    let (compared, proven) = (verdict.rows_compared(), verdict.rows_proven());
    let oldest = verdict.tables.iter().filter_map(|table| table.read_at.as_deref()).min();
    match (verdict.scope, oldest) {
        (ScopeWord::Changes, Some(oldest)) if compared < proven => {
            let compared = counted(compared, "row");
            format!(" ({compared} read now, the rest since {oldest}; {seconds:.1} s)")
        }
        _ => format!(" ({seconds:.1} s)"),
    }
}

/// What was touched, then how both sides are afterwards.
pub fn repaired(repaired: &Repaired) -> String {
    let rows = |count: u64| counted(count, "row");
    format!(
        "{} differed, {} touched\n\n{}",
        rows(repaired.differing),
        rows(repaired.touched),
        verdict(&repaired.after)
    )
}

fn line(text: &mut String, one: &str) {
    writeln!(text, "{}", one.trim_end()).expect("writing to a string cannot fail");
}
