//! What is in quarantine, for a terminal.

use std::fmt::Write as _;

use super::{counted, shown};
use crate::quarantine::Quarantine;

/// The groups, then the rows.
pub fn quarantine(found: &Quarantine) -> String {
    if found.quarantined == 0 {
        return "the quarantine is empty\n".to_owned();
    }
    let mut text = String::new();
    line(&mut text, &format!("{} in quarantine", counted(found.quarantined, "row")));
    for group in &found.groups {
        let column = group.column.as_ref().map_or_else(String::new, |name| format!(".{name}"));
        let place = shown(&format!("{}{column}", group.table));
        line(&mut text, &format!("{:>9}  {place}: {}", group.rows, shown(&group.reason)));
    }
    line(&mut text, "");
    for row in &found.rows {
        let column = row.column.as_ref().map_or_else(String::new, |name| format!(" {name}:"));
        let place = shown(&format!("{} {}{column}", row.table, row.key));
        line(&mut text, &format!("{place} {} ({})", shown(&row.reason), row.since));
    }
    let more = found.quarantined - i64::try_from(found.rows.len()).unwrap_or(i64::MAX);
    if 0 < more {
        line(&mut text, &format!("and {}; --all lists them", counted(more, "more row")));
    }
    text.push_str(
        "\nChange the rows, or give their columns other types or policies \
         (docs/reference/types.md); what\nfits then arrives by itself. `lite2pg quarantine \
         --retry` tries all of them again.\n",
    );
    text
}

fn line(text: &mut String, one: &str) {
    writeln!(text, "{one}").expect("writing to a string cannot fail");
}
