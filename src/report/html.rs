//! The assessment as one HTML file: no script, no font, no picture, no address outside of it.
//!
//! Every text from the database goes through [`escape`]; all markup here is well-formed XML too,
//! which tests check. Light or dark follows the reader's system.

use std::fmt::Write as _;

use super::{
    bytes_in_words, counted, headline, integrity_in_words, seconds_in_words, shown,
    speaks_for_another,
};
use crate::assess::outcome::{Assessment, ColumnReport, Finding, Severity, TableReport, Verdict};
use crate::assess::proposal::grouped;

/// The looks.
pub(super) const STYLE: &str = include_str!("style.css");

/// Units of width that a bar is drawn in.
const BAR_WIDTH: u64 = 1000;

/// A part of a bar is drawn at least this wide: eight odd rows in a million must be seen.
const PART_WIDTH_LEAST: u64 = 8;

/// Tables with more columns than this are folded.
const TABLES_OPEN: usize = 12;

/// Text for an element or an attribute in double quotes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in shown(text).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML has no place for these.
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The whole report.
pub fn html(assessment: &Assessment) -> String {
    let path = escape(&assessment.source.path);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\" />\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\" />\n\
         <meta name=\"robots\" content=\"noindex\" />\n\
         <title>{} · {path}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n",
        assessment.verdict.words()
    );
    add_head(&mut page, assessment);
    add_findings(&mut page, assessment);
    add_overview(&mut page, assessment);
    page.push_str("<h2>Columns</h2>\n");
    add_legend(&mut page);
    for table in &assessment.tables {
        add_table(&mut page, assessment, table);
    }
    add_other_objects(&mut page, assessment);
    add_footer(&mut page, assessment);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn add_head(page: &mut String, assessment: &Assessment) {
    let (facts, scan) = (&assessment.source.facts, &assessment.scan);
    let class = match assessment.verdict {
        Verdict::Ready => "ready",
        Verdict::ReadyWithWarnings => "ready_with_warnings",
        Verdict::Blocked => "blocked",
    };
    add!(
        page,
        "<header class=\"card top\"><div><p class=\"muted\">Can this database move to \
         PostgreSQL?</p><h1>{}</h1></div><div class=\"verdict {class}\">{}</div></header>",
        escape(&assessment.source.path),
        headline(assessment)
    );
    let columns: usize = assessment.tables.iter().map(|table| table.columns.len()).sum();
    let figures = [
        (
            grouped(assessment.tables.len()),
            format!("tables, {}", counted(columns as u64, "column")),
        ),
        (grouped(scan.rows), "rows, every one read".to_owned()),
        (bytes_in_words(facts.bytes), format!("in pages of {}", grouped(facts.page_size))),
        (facts.journal_mode.clone(), format!("journal mode, {}", facts.encoding)),
        (assessment.integrity.result.replace('_', " "), assessment.integrity.check.to_owned()),
        (seconds_in_words(assessment.estimate.copy_seconds), "first copy, estimated".to_owned()),
        (seconds_in_words(assessment.estimate.cutover_seconds), "cutover, estimated".to_owned()),
        (grouped(facts.schema_version), "schema changes so far, about".to_owned()),
    ];
    page.push_str("<div class=\"figures\">\n");
    for (figure, words) in figures {
        let (figure, words) = (escape(&figure), escape(&words));
        add!(page, "<div class=\"figure\"><b>{figure}</b><span>{words}</span></div>");
    }
    page.push_str("</div>\n");
}

fn add_findings(page: &mut String, assessment: &Assessment) {
    page.push_str("<h2>Findings</h2>\n");
    if assessment.findings.is_empty() {
        page.push_str("<div class=\"card\">Nothing stands in the way.</div>\n");
        return;
    }
    let is_note = |finding: &&Finding| finding.severity == Severity::Note;
    let (notes, others): (Vec<_>, Vec<_>) = assessment.findings.iter().partition(is_note);
    if !others.is_empty() {
        page.push_str("<div class=\"card\"><ul class=\"findings\">\n");
        others.iter().for_each(|finding| add_finding(page, finding));
        page.push_str("</ul></div>\n");
    }
    if !notes.is_empty() {
        let open = if others.is_empty() { " open=\"open\"" } else { "" };
        add!(
            page,
            "<details{open}><summary>{}<span class=\"muted\">good to know</span></summary>\
             <div><ul class=\"findings\">",
            counted(notes.len() as u64, "note")
        );
        notes.iter().for_each(|finding| add_finding(page, finding));
        page.push_str("</ul></div></details>\n");
    }
}

fn add_finding(page: &mut String, finding: &Finding) {
    let severity = finding.severity.words();
    let about: Vec<String> =
        finding.object.iter().chain(&finding.column).map(|name| escape(name)).collect();
    add!(
        page,
        "<li><span class=\"tag {severity}\">{severity}</span><div><span class=\"name\">{}</span> \
         {}",
        about.join("."),
        escape(&finding.message)
    );
    // A message that lists the rows itself does not need them twice.
    if !finding.keys.is_empty() && !finding.message.contains(" — row") {
        add_keys(page, finding.count, &finding.keys);
    }
    if let Some(advice) = &finding.advice {
        add!(page, "<p class=\"advice\">{}</p>", escape(advice));
    }
    page.push_str("</div></li>\n");
}

fn add_keys(page: &mut String, count: u64, keys: &[String]) {
    page.push_str("<div class=\"muted\">rows ");
    for key in keys {
        add!(page, "<span class=\"key mono\">{}</span>", escape(key));
    }
    if (keys.len() as u64) < count {
        add!(page, "and {} more", grouped(count - keys.len() as u64));
    }
    page.push_str("</div>\n");
}

fn add_overview(page: &mut String, assessment: &Assessment) {
    page.push_str(
        "<h2>Tables</h2>\n<div class=\"card scroll\"><table><tr><th>Table</th>\
         <th class=\"num\">Rows</th>\
         <th></th><th class=\"num\">Values</th><th>Key</th><th class=\"num\">Columns</th>\
         <th class=\"num\">Other types</th></tr>\n",
    );
    let most = assessment.tables.iter().map(|table| table.rows).max().unwrap_or(0).max(1);
    for table in &assessment.tables {
        let others = table.columns.iter().filter(|column| speaks_for_another(column)).count();
        let width = share(table.rows, most, 100);
        add!(
            page,
            "<tr><td class=\"name\">{}</td><td class=\"num\">{}</td>\
             <td><svg class=\"share\" width=\"100\" height=\"10\" role=\"img\" \
             aria-label=\"share of rows\">\
             <rect class=\"rows\" width=\"{width}\" height=\"10\" /></svg></td>\
             <td class=\"num\">{}</td><td>{}</td><td class=\"num\">{}</td>\
             <td class=\"num\">{others}</td></tr>",
            escape(&table.name),
            grouped(table.rows),
            bytes_in_words(table.bytes),
            escape(&table.key),
            table.columns.len()
        );
    }
    page.push_str("</table></div>\n");
}

/// `of` parts of `part` in `whole`, rounded down.
fn share(part: u64, whole: u64, of: u64) -> u64 {
    u64::try_from(u128::from(part) * u128::from(of) / u128::from(whole.max(1))).unwrap_or(of)
}

fn add_legend(page: &mut String) {
    page.push_str("<div class=\"legend\">");
    for class in ["null", "integer", "real", "text", "blob"] {
        let words = if class == "null" { "NULL" } else { class };
        add!(page, "<span><i class=\"{class}\"></i>{words}</span>");
    }
    page.push_str(
        "<span>storage classes of the values; slivers are drawn wider than they are\
                   </span></div>\n",
    );
}

fn add_table(page: &mut String, assessment: &Assessment, table: &TableReport) {
    let is_open = assessment.tables.len() <= TABLES_OPEN;
    let open = if is_open { " open=\"open\"" } else { "" };
    let mut words = counted(table.rows, "row");
    for (is_so, word) in [
        (table.without_rowid, "WITHOUT ROWID"),
        (table.strict, "STRICT"),
        (table.autoincrement, "AUTOINCREMENT"),
    ] {
        if is_so {
            write!(words, " · {word}").expect("a string takes all");
        }
    }
    add!(
        page,
        "<details{open}><summary>{}<span class=\"muted\">{words}</span></summary>\
         <div class=\"scroll\"><table class=\"columns\"><tr><th>Column</th><th>Values</th>\
         <th>Type on PostgreSQL, and why</th></tr>",
        escape(&table.name)
    );
    for column in &table.columns {
        add_column(page, table, column);
    }
    page.push_str("</table>\n");
    add_constraints(page, table);
    page.push_str("</div></details>\n");
}

fn add_column(page: &mut String, table: &TableReport, column: &ColumnReport) {
    let declared = if column.declared.is_empty() { "no type" } else { &column.declared };
    let mut traits = escape(declared);
    for (is_so, word) in [(column.not_null, "not null"), (column.generated, "generated")] {
        if is_so {
            write!(traits, " · {word}").expect("a string takes all");
        }
    }
    if column.collation != "BINARY" {
        write!(traits, " · {}", escape(&column.collation)).expect("a string takes all");
    }
    add!(
        page,
        "<tr><td><span class=\"name\">{}</span><br /><span class=\"muted mono\">{traits}</span>\
         </td><td>",
        escape(&column.name)
    );
    add_bar(page, column);
    add!(page, "<span class=\"muted\">{}</span></td><td>", escape(&range_words(table, column)));
    add_proposal(page, column);
    page.push_str("</td></tr>\n");
}

fn add_bar(page: &mut String, column: &ColumnReport) {
    let classes = &column.classes;
    let parts = [
        ("integer", classes.integer),
        ("real", classes.real),
        ("text", classes.text),
        ("blob", classes.blob),
        ("null", classes.null),
    ];
    let total: u64 = parts.iter().map(|(_, count)| count).sum();
    let words: Vec<String> = parts
        .iter()
        .filter(|(_, count)| 0 < *count)
        .map(|(class, count)| format!("{} {class}", grouped(count)))
        .collect();
    let words = if words.is_empty() { "no rows".to_owned() } else { words.join(", ") };
    add!(
        page,
        "<svg width=\"100%\" height=\"12\" viewBox=\"0 0 {BAR_WIDTH} 12\" role=\"img\" \
         preserveAspectRatio=\"none\" aria-label=\"{words}\"><title>{words}</title>\
         <rect class=\"none\" width=\"{BAR_WIDTH}\" height=\"12\" />"
    );
    let mut at = 0;
    for (class, width) in widths(&parts, total) {
        add!(page, "<rect class=\"{class}\" x=\"{at}\" width=\"{width}\" height=\"12\" />");
        at += width;
    }
    page.push_str("</svg>\n");
}

/// The width of each part: in proportion, but no part that is there is too narrow to see. The
/// widest gives what the narrow ones take.
fn widths<'a>(parts: &[(&'a str, u64)], total: u64) -> Vec<(&'a str, u64)> {
    let mut widths: Vec<(&str, u64)> = parts
        .iter()
        .filter(|(_, count)| 0 < *count)
        .map(|(class, count)| (*class, share(*count, total, BAR_WIDTH).max(PART_WIDTH_LEAST)))
        .collect();
    let sum: u64 = widths.iter().map(|(_, width)| width).sum();
    if let Some((_, widest)) = widths.iter_mut().max_by_key(|(_, width)| *width) {
        *widest = (*widest + BAR_WIDTH).saturating_sub(sum);
    }
    widths
}

fn range_words(table: &TableReport, column: &ColumnReport) -> String {
    let mut words = Vec::new();
    if 0 < column.classes.null {
        words.push(format!("{} NULL", grouped(column.classes.null)));
    }
    if table.rows != column.classes.null {
        let about = if column.distinct_is_exact { "" } else { "about " };
        words.push(format!("{about}{} different", grouped(column.distinct)));
    }
    if let Some((low, high)) = column.integers {
        words.push(format!("{} … {}", grouped(low), grouped(high)));
    }
    if let Some((low, high)) = column.reals {
        words.push(format!("{low:?} … {high:?}"));
    }
    if let Some((short, long)) = column.characters {
        words.push(format!("{} … {} characters", grouped(short), grouped(long)));
    }
    if let Some((short, long)) = column.blob_bytes {
        words.push(format!("{} … {} bytes", grouped(short), grouped(long)));
    }
    words.join(" · ")
}

fn add_proposal(page: &mut String, column: &ColumnReport) {
    let proposal = &column.proposal;
    let other = if speaks_for_another(column) { " other" } else { "" };
    add!(
        page,
        "<span class=\"type mono{other}\">{}</span> {}",
        escape(&proposal.pg),
        escape(&proposal.evidence)
    );
    if speaks_for_another(column) {
        let settings: Vec<String> =
            super::settings(proposal).iter().map(|line| escape(line)).collect();
        add!(page, "<br /><code class=\"muted\">{}</code>", settings.join(" · "));
    }
    if let Some(lossy) = &proposal.lossy {
        add!(page, "<br /><span class=\"lossy\">lossy: {}</span>", escape(lossy));
    }
    for alternative in &proposal.alternatives {
        add!(
            page,
            "<br /><span class=\"muted\">or <code>{}</code>: {}</span>",
            escape(&alternative.pg),
            escape(&alternative.why)
        );
    }
}

fn add_constraints(page: &mut String, table: &TableReport) {
    if !table.indexes.is_empty() {
        page.push_str("<h3>Indexes</h3>\n");
        for index in &table.indexes {
            let unique = if index.unique { "unique " } else { "" };
            let partial = if index.partial { ", partial" } else { "" };
            add!(
                page,
                "<p><code>{}</code> <span class=\"muted\">{unique}({}){partial}</span></p>",
                escape(&index.name),
                escape(&index.terms.join(", "))
            );
        }
    }
    if !table.foreign_keys.is_empty() {
        page.push_str("<h3>Foreign keys</h3>\n");
        for key in &table.foreign_keys {
            add!(
                page,
                "<p><code>{} → {}</code> <span class=\"muted\">on delete {}, on update {}; {}\
                 </span></p>",
                escape(&key.columns.join(", ")),
                escape(&key.parent),
                escape(&key.on_delete.to_lowercase()),
                escape(&key.on_update.to_lowercase()),
                counted(key.orphans, "orphan")
            );
        }
    }
    if !table.checks.is_empty() {
        page.push_str("<h3>Checks</h3>\n");
        for check in &table.checks {
            add!(page, "<p><code>{}</code></p>", escape(check));
        }
    }
}

fn add_other_objects(page: &mut String, assessment: &Assessment) {
    let triggers = assessment
        .triggers
        .iter()
        .map(|trigger| (&trigger.name, "trigger", format!("on {}", trigger.table)));
    let views = assessment.views.iter().map(|view| (view, "view", String::new()));
    let left_out =
        assessment.left_out.iter().map(|object| (&object.name, object.kind, object.reason.clone()));
    let objects: Vec<_> = views.chain(triggers).chain(left_out).collect();
    if objects.is_empty() {
        return;
    }
    page.push_str("<h2>Other objects</h2>\n<div class=\"card scroll\"><table>\n");
    for (name, kind, words) in objects {
        add!(
            page,
            "<tr><td class=\"name\">{}</td><td>{kind}</td><td class=\"muted\">{}</td></tr>",
            escape(name),
            escape(&words)
        );
    }
    page.push_str("</table></div>\n");
}

fn add_footer(page: &mut String, assessment: &Assessment) {
    let scan = &assessment.scan;
    page.push_str("<footer>\n");
    add!(
        page,
        "<p>{} read in {:.1} s in short reads beside the application, so counts may be some \
         commits apart. Integrity: {}. Journal mode {}.</p>",
        counted(scan.values, "value"),
        scan.seconds,
        escape(&integrity_in_words(assessment)),
        escape(&assessment.source.journal_advice)
    );
    for assumption in &assessment.estimate.assumptions {
        add!(page, "<p>Estimate, {}.</p>", escape(assumption));
    }
    add!(page, "<p>lite2pg {}</p>", env!("CARGO_PKG_VERSION"));
    page.push_str("</footer>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_become_markup() {
        assert_eq!(
            escape("<script>\"a\" & 'b'\u{0}\u{ffff}</script>"),
            "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;\u{fffd}\u{fffd}&lt;/script&gt;"
        );
    }

    #[test]
    fn eight_rows_in_a_million_can_be_seen() {
        let widths = widths(&[("integer", 1_000_000), ("text", 8), ("null", 0)], 1_000_008);
        assert_eq!(widths, [("integer", 992), ("text", 8)]);
        assert_eq!(super::widths(&[("integer", 0)], 0), []);
    }
}
