//! What would be adopted, for a terminal: every table and column with its type on the target, and
//! under it what is in the way.

use std::fmt::Write as _;

use super::{counted, shown};
use crate::adopt::{Finding, Weight};
use crate::daemon::blueprint::{Shown, ShownTable};

/// The list.
pub fn adoption(all: &Shown) -> String {
    let mut text = String::new();
    let stops = all.findings.iter().filter(|finding| finding.weight == Weight::Stop).count();
    let headline = match stops {
        0 => "nothing is in the way: `lite2pg run` with the same configuration fills these tables",
        _ => "these tables cannot be filled yet",
    };
    line(&mut text, headline);
    for table in &all.tables {
        put_table(&mut text, table, &all.findings);
    }
    let is_shown = |finding: &&Finding| all.tables.iter().all(|one| one.source != finding.table);
    let (missing, alone): (Vec<&Finding>, Vec<&Finding>) =
        all.findings.iter().filter(is_shown).partition(|one| one.weight == Weight::Stop);
    for finding in missing {
        line(&mut text, &format!("\n{}", shown(&finding.table)));
        put_finding(&mut text, finding);
    }
    put_names(&mut text, "made by lite2pg", all.created.iter().map(String::as_str));
    for left_out in &all.left_out {
        let (name, reason) = (shown(&left_out.source), shown(&left_out.reason));
        line(&mut text, &format!("\n{name}: left out, {reason}"));
    }
    put_names(&mut text, "on the target alone", alone.iter().map(|one| one.table.as_str()));
    let tables = counted(all.tables.len() as u64, "table");
    let notes = all.findings.len() - stops;
    let outcome = format!(
        "\n{tables}, {} in the way, {}",
        counted(stops as u64, "thing"),
        counted(notes as u64, "note")
    );
    line(&mut text, &outcome);
    text
}

fn put_table(text: &mut String, table: &ShownTable, findings: &[Finding]) {
    let (source, target) = (shown(&table.source), shown(&table.target));
    let arrow = if source == target { String::new() } else { format!(" -> {target}") };
    line(text, &format!("\n{source}{arrow}"));
    let width = |of: &dyn Fn(&crate::daemon::blueprint::ShownColumn) -> usize| {
        table.columns.iter().map(of).max().unwrap_or(0)
    };
    let names = width(&|column| shown(&column.source).chars().count());
    let declared = width(&|column| shown(&column.declared).chars().count());
    for column in &table.columns {
        let name = shown(&column.source);
        let other = if column.source == column.target {
            String::new()
        } else {
            format!(" as {}", shown(&column.target))
        };
        let said = shown(&column.declared);
        let pg = shown(&column.r#type);
        line(text, &format!("  {name:<names$}  {said:<declared$}  {pg}{other}"));
        for loss in &column.losses {
            line(text, &format!("      by choice: {}", shown(loss)));
        }
    }
    for finding in findings.iter().filter(|finding| finding.table == table.source) {
        put_finding(text, finding);
    }
}

fn put_finding(text: &mut String, finding: &Finding) {
    let mark = match finding.weight {
        Weight::Stop => "! ",
        Weight::Note => "- ",
    };
    let column = finding.column.as_ref().map_or_else(String::new, |name| format!("{name}: "));
    line(text, &format!("  {mark}{}{}", shown(&column), shown(&finding.message)));
    if let Some(advice) = &finding.advice {
        line(text, &format!("      {}", shown(advice)));
    }
}

fn put_names<'a>(text: &mut String, what: &str, names: impl Iterator<Item = &'a str>) {
    let names: Vec<String> = names.map(shown).collect();
    if !names.is_empty() {
        line(text, &format!("\n{what}: {}", names.join(", ")));
    }
}

fn line(text: &mut String, one: &str) {
    writeln!(text, "{one}").expect("writing to a string cannot fail");
}
