//! What the demo shows: a bar on a terminal, a line every few seconds elsewhere, tables at the end.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::kinds::KINDS;
use super::observe::Reading;
use super::writer::Tally;
use crate::target::ledger::Phase;
use crate::terminal;
use crate::verify::verdict::{TableVerdict, Verdict};

/// How often a line tells of progress where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// How often the bar is drawn: slow enough to be read.
const DRAW_INTERVAL: Duration = Duration::from_millis(250);

/// The live part.
pub(super) struct Screen {
    bar: Option<ProgressBar>,
    seconds: u64,
    /// When the writer began.
    begun: Instant,
    told: Option<Instant>,
}

impl Screen {
    /// Says what is being waited for, before there is anything to measure.
    pub fn begin(seconds: u64, waiting_for: &'static str) -> Self {
        let bar = terminal::is_interactive().then(|| {
            let bar = terminal::draw(ProgressBar::new_spinner());
            let style = ProgressStyle::with_template("  {spinner} {msg}");
            bar.set_style(style.expect("the template is well-formed"));
            bar.set_message(waiting_for);
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { bar, seconds, begun: Instant::now(), told: None }
    }

    /// From now on the writer's time runs.
    pub fn start_clock(&mut self) {
        self.begun = Instant::now();
        if let Some(bar) = &self.bar {
            let style = ProgressStyle::with_template("  {bar:10.cyan}  {wide_msg}");
            bar.set_style(style.expect("the template is well-formed"));
            bar.set_length(self.seconds * 1_000);
        }
    }

    /// Shows how far it is.
    pub fn show(&mut self, tally: &Tally, reading: Option<&Reading>) {
        let interval = if self.bar.is_some() { DRAW_INTERVAL } else { LINE_INTERVAL };
        if self.told.is_some_and(|told| told.elapsed() < interval) {
            return;
        }
        self.told = Some(Instant::now());
        let elapsed = self.begun.elapsed();
        let line = format!(
            "{:>2} s  {:>6} transactions  PostgreSQL {}",
            elapsed.as_secs().min(self.seconds),
            grouped(tally.transactions),
            reading.map_or_else(|| "away".to_owned(), standing),
        );
        if let Some(bar) = &self.bar {
            bar.set_position(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
            bar.set_message(line);
        } else {
            eprintln!("  {line}");
        }
    }

    /// Says what is being waited for, after the writer's end.
    pub fn wait_for(&self, what: &'static str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what);
        }
    }

    /// Takes the live part off the screen.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.end();
    }
}

fn standing(reading: &Reading) -> String {
    match reading.phase {
        None => "getting ready".to_owned(),
        Some(Phase::Copying) => "first copy".to_owned(),
        Some(Phase::CatchingUp | Phase::Streaming) if reading.lag_changes == 0 => {
            "in step".to_owned()
        }
        Some(Phase::CatchingUp | Phase::Streaming) => behind(reading.lag_changes, reading.lag_ms),
    }
}

/// "3 changes, 12 ms behind".
pub(super) fn behind(changes: i64, ms: i64) -> String {
    let changes = u64::try_from(changes).unwrap_or(0);
    format!("{}, {} behind", counted(changes, "change"), duration(ms))
}

/// "12 ms" or "1.2 s".
pub(super) fn duration(ms: i64) -> String {
    match ms {
        ..1_000 => format!("{ms} ms"),
        _ => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
    }
}

/// "1 row", "2,000 rows".
pub(super) fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// 1234567 as "1,234,567".
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at != 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// What the writer did, by kind.
pub(super) fn kinds(tally: &Tally) -> String {
    let mut text = String::new();
    for kind in &KINDS {
        let count = tally.kinds.get(kind.name).copied().unwrap_or(0);
        writeln!(text, "  {:>8}  {:<18} {}", grouped(count), kind.name, kind.what)
            .expect("writing to a string cannot fail");
    }
    text
}

/// Both sides, table by table.
pub(super) fn comparison(comparison: &Verdict) -> String {
    let width = comparison.tables.iter().map(|table| table.name.chars().count()).max().unwrap_or(0);
    let mut text = format!("  {:<width$}  {:>10}  {:>10}\n", "table", "SQLite", "PostgreSQL");
    for table in &comparison.tables {
        let TableVerdict { name, rows_source, rows_target, .. } = table;
        writeln!(
            text,
            "  {name:<width$}  {:>10}  {:>10}  {}",
            grouped(*rows_source),
            grouped(*rows_target),
            verdict(table),
        )
        .expect("writing to a string cannot fail");
    }
    text
}

fn verdict(table: &TableVerdict) -> String {
    let TableVerdict { missing, extra, mismatched, .. } = *table;
    let found: Vec<String> = [(missing, "missing"), (extra, "too many"), (mismatched, "different")]
        .into_iter()
        .filter(|(count, _)| *count != 0)
        .map(|(count, what)| format!("{} {what}", counted(count, "row")))
        .collect();
    if found.is_empty() { "equal".to_owned() } else { format!("NOT EQUAL: {}", found.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let shown = [0, 7, 999, 1_000, 12_345, 1_234_567].map(grouped);
        assert_eq!(shown, ["0", "7", "999", "1,000", "12,345", "1,234,567"]);
        assert_eq!(
            (counted(1, "row"), counted(2_000, "row")),
            ("1 row".into(), "2,000 rows".into())
        );
        assert_eq!([duration(0), duration(999), duration(1_250)], ["0 ms", "999 ms", "1.2 s"]);
    }

    #[test]
    fn a_table_that_differs_says_how() {
        let table = TableVerdict { missing: 1, mismatched: 20, ..TableVerdict::default() };
        assert_eq!(verdict(&table), "NOT EQUAL: 1 row missing, 20 rows different");
        assert_eq!(verdict(&TableVerdict::default()), "equal");
    }
}
