//! What lite2pg found, for people: an assessment on a terminal, as one HTML file, as settings to
//! review; verdicts and the history of them ([`mod@history`], [`mod@page`]).
//!
//! Names and keys come from somebody's database and may hold anything. On a terminal control
//! characters become visible; in HTML everything is escaped ([`mod@html`]); in TOML every name is a
//! quoted key. JSON is the assessment itself, written by the caller.

/// Appends; a string takes all.
macro_rules! add {
    ($page:expr, $($part:tt)*) => {
        writeln!($page, $($part)*).expect("a string takes all")
    };
}

mod adoption;
mod guard;
mod history;
mod html;
mod page;
mod quarantine;
mod verify;

use std::fmt::Write as _;

pub use adoption::adoption;
pub use guard::guard;
pub use history::{
    markdown as history_markdown, subject as history_subject, subject_of_failure,
    terminal as history_terminal,
};
pub use html::html;
pub use page::page as history_page;
pub use quarantine::quarantine;
pub use verify::{alert, repaired, verdict};

use crate::assess::outcome::{Assessment, ColumnReport, Finding, Severity, TableReport, Verdict};
use crate::assess::proposal::{Proposal, Setting, grouped};

/// Findings of one severity that a terminal shows.
const FINDINGS_SHOWN: usize = 25;

/// Text without what would steer a terminal or turn the direction of writing.
fn shown(text: &str) -> String {
    let turns = |c: char| {
        matches!(c, '\u{200e}' | '\u{200f}')
            || ('\u{202a}'..='\u{202e}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c)
    };
    let is_steering = |c: char| c.is_control() || turns(c);
    text.chars().map(|c| if is_steering(c) { '\u{fffd}' } else { c }).collect()
}

/// `1.2 MB`.
#[allow(clippy::cast_precision_loss)]
fn bytes_in_words(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "kB", "MB", "GB", "TB"];
    let (mut size, mut unit) = (bytes as f64, 0);
    while 1000.0 <= size && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} bytes") } else { format!("{size:.1} {}", UNITS[unit]) }
}

/// `about 12 s`, `about 3 min`.
fn seconds_in_words(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("about {seconds} s"),
        120..=7199 => format!("about {} min", seconds.div_ceil(60)),
        _ => format!("about {} h", seconds.div_ceil(3600)),
    }
}

/// `3 tables`, `1 table`.
fn counted(count: impl TryInto<u64>, word: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {word}{plural}", grouped(count))
}

/// The verdict, and what it rests on: `blocked by 2 findings`.
fn headline(assessment: &Assessment) -> String {
    let of = |severity| {
        assessment.findings.iter().filter(|finding| finding.severity == severity).count()
    };
    let (blockers, warnings) = (of(Severity::Blocker), of(Severity::Warning));
    match assessment.verdict {
        Verdict::Ready => "ready".to_owned(),
        Verdict::ReadyWithWarnings => format!("ready with {}", counted(warnings as u64, "warning")),
        Verdict::Blocked => format!("blocked by {}", counted(blockers as u64, "finding")),
    }
}

fn speaks_for_another(column: &ColumnReport) -> bool {
    column.proposal.is_another()
}

/// What the integrity check came to, in a few words.
fn integrity_in_words(assessment: &Assessment) -> String {
    let integrity = &assessment.integrity;
    match integrity.result {
        "left_out" => "not checked".to_owned(),
        result => format!("{result} ({})", integrity.check),
    }
}

/// For a terminal. With `all`, every column is listed.
pub fn terminal(assessment: &Assessment, all: bool) -> String {
    let mut text = String::new();
    let mut line = |content: String| writeln!(text, "{content}").expect("a string takes all");
    let (source, scan) = (&assessment.source, &assessment.scan);
    line(format!("{}: {}", shown(&source.path), headline(assessment)));
    line(String::new());
    line(format!(
        "  {}, {}, {} in the file, journal mode {}, {}, integrity {}",
        counted(assessment.tables.len() as u64, "table"),
        counted(scan.rows, "row"),
        bytes_in_words(source.facts.bytes),
        source.facts.journal_mode,
        source.facts.encoding,
        integrity_in_words(assessment),
    ));
    line(format!(
        "  first copy {}, cutover {} (estimates); every row read in {:.1} s",
        seconds_in_words(assessment.estimate.copy_seconds),
        seconds_in_words(assessment.estimate.cutover_seconds),
        scan.seconds
    ));
    for severity in [Severity::Blocker, Severity::Warning, Severity::Note] {
        let findings: Vec<&Finding> =
            assessment.findings.iter().filter(|finding| finding.severity == severity).collect();
        if findings.is_empty() {
            continue;
        }
        line(format!("\n{}", counted(findings.len() as u64, severity.words())));
        for finding in findings.iter().take(FINDINGS_SHOWN) {
            line(format!("  {}", shown(&finding.sentence())));
            if let Some(advice) = &finding.advice {
                line(format!("      {advice}"));
            }
        }
        if let Some(more) = findings.len().checked_sub(FINDINGS_SHOWN + 1) {
            line(format!("  … and {} more: --json and --html have them all", more + 1));
        }
    }
    line(types(assessment, all));
    text
}

fn types(assessment: &Assessment, all: bool) -> String {
    let columns = || assessment.tables.iter().flat_map(|table| &table.columns);
    let others = columns().filter(|column| speaks_for_another(column)).count();
    let mut text = format!(
        "\ntypes: {} of {} speak for another type than the default, which holds every value as \
         it is",
        grouped(others),
        counted(columns().count() as u64, "column")
    );
    if 0 < others {
        text.push_str("; --write-overrides FILE writes them as settings");
    }
    text.push('\n');
    for table in &assessment.tables {
        let listed: Vec<&ColumnReport> =
            table.columns.iter().filter(|column| all || speaks_for_another(column)).collect();
        if listed.is_empty() {
            continue;
        }
        writeln!(text, "  {} ({})", shown(&table.name), counted(table.rows, "row"))
            .expect("a string takes all");
        for column in listed {
            write_type(&mut text, column);
        }
    }
    text.truncate(text.trim_end().len());
    text
}

fn write_type(text: &mut String, column: &ColumnReport) {
    let proposal = &column.proposal;
    let lossy = proposal.lossy.as_ref().map_or(String::new(), |loss| format!("; lossy: {loss}"));
    writeln!(
        text,
        "    {}: {}: {}{lossy}",
        shown(&column.name),
        proposal.pg,
        shown(&proposal.evidence)
    )
    .expect("a string takes all");
}

/// The proposals as a fragment of `lite2pg.toml`, each with its evidence as a comment.
///
/// What would lose something is commented out: the operator opts in by name. Other types that
/// would do stand beside it as comments.
pub fn overrides(assessment: &Assessment) -> String {
    let mut text = format!(
        "# Types that the values of {} speak for, written by `lite2pg assess`.\n\
         # Review each, keep what you want, and put it into lite2pg.toml. Columns that are not\n\
         # named keep their default type, which holds every value as it is. A setting that loses\n\
         # something is commented out: take the # away to choose it.\n",
        shown(&assessment.source.path)
    );
    for table in &assessment.tables {
        for column in &table.columns {
            write_override(&mut text, table, column);
        }
    }
    text
}

fn write_override(text: &mut String, table: &TableReport, column: &ColumnReport) {
    let proposal = &column.proposal;
    if proposal.is_set || !speaks_for_another(column) && proposal.alternatives.is_empty() {
        return;
    }
    let off = if speaks_for_another(column) && proposal.lossy.is_none() { "" } else { "# " };
    let mut line = |content: String| writeln!(text, "{content}").expect("a string takes all");
    line(String::new());
    line(format!("# {}.{}", shown(&table.name), shown(&column.name)));
    line(format!("# {}: {}", proposal.pg, shown(&proposal.evidence)));
    if let Some(lossy) = &proposal.lossy {
        line(format!("# lossy: {lossy}"));
    }
    line(format!("{off}[columns.{}.{}]", toml_key(&table.name), toml_key(&column.name)));
    if speaks_for_another(column) {
        for setting in settings(proposal) {
            line(format!("{off}{setting}"));
        }
    }
    for alternative in &proposal.alternatives {
        line(format!("# type = {}  # {}", toml_text(&alternative.pg), shown(&alternative.why)));
    }
}

/// The lines that set a proposal.
pub fn settings(proposal: &Proposal) -> Vec<String> {
    let mut lines = vec![format!("type = {}", toml_text(&proposal.pg))];
    let form = proposal.form.as_ref().and_then(|form| toml::Value::try_from(form).ok());
    lines.extend(form.map(|form| format!("form = {form}")));
    if !proposal.accept.is_empty()
        && let Ok(accept) = toml::Value::try_from(&proposal.accept)
    {
        lines.push(format!("accept = {accept}"));
    }
    lines.extend(proposal.policies.iter().map(|(name, setting)| match setting {
        Setting::Flag(flag) => format!("{name} = {flag}"),
        Setting::Word(word) => format!("{name} = {}", toml_text(word)),
    }));
    lines
}

fn toml_key(name: &str) -> String {
    toml_text(name)
}

/// A basic string of TOML, on one line whatever it holds (<https://toml.io/en/v1.0.0#string>).
fn toml_text(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                write!(quoted, "\\u{:04X}", u32::from(control)).expect("a string takes all");
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_name_comes_back_from_a_toml_key(name in ".{1,20}|[\\x00-\\x7f]{1,20}") {
            let text = format!("[columns.{}.\"a\"]\nx = 1", toml_key(&name));
            let parsed: toml::Table = toml::from_str(&text).expect("it is TOML");
            let columns = parsed["columns"].as_table().expect("a table");
            proptest::prop_assert_eq!(columns.keys().next(), Some(&name));
        }
    }

    #[test]
    fn sizes_and_times_read_well() {
        assert_eq!(bytes_in_words(999), "999 bytes");
        assert_eq!(bytes_in_words(1_234_567), "1.2 MB");
        assert_eq!(seconds_in_words(90), "about 90 s");
        assert_eq!(seconds_in_words(7_000), "about 117 min");
        assert_eq!(counted(1_u64, "row"), "1 row");
        assert_eq!(counted(2_000_u64, "row"), "2,000 rows");
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(shown("a\x1b[31mb\n\u{202e}c"), "a\u{fffd}[31mb\u{fffd}\u{fffd}c");
    }
}
