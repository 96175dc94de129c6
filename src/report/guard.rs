//! What happened to the file, for a terminal.

use std::fmt::Write as _;

use super::{bytes_in_words, counted, shown};
use crate::guard::account::{Account, Done, Kind, Newer, State};
use crate::target::decisions::Choice;
use crate::verify::verdict::Outcome;

/// What happened and when, then the tables, the rows, and the ways on.
pub fn guard(account: &Account) -> String {
    let mut text = String::new();
    let parts = [
        what_happened(account),
        places(account),
        tables(account),
        rows(account),
        left_out(account),
        done(account),
        ways_on(account),
    ];
    for (at, part) in parts.iter().filter(|part| !part.is_empty()).enumerate() {
        if 0 < at {
            add!(text, "");
        }
        for line in part {
            add!(text, "{line}");
        }
    }
    text
}

fn what_happened(account: &Account) -> Vec<String> {
    let Some(message) = &account.message else {
        return vec!["The file is the one that PostgreSQL was fed from; nothing to decide.".into()];
    };
    let mut lines = vec![sentence(message)];
    lines.extend(account.meaning.map(str::to_owned));
    if let Some(stop) = &account.incident {
        let again = match stop.times {
            1 => String::new(),
            times => format!(", and {times} times in all, the last at {}", stop.last_at),
        };
        lines.push(format!("Noticed at {}{again} (incident {}).", stop.at, stop.id));
        // What only the run could see, such as the file that it has kept.
        if let Some((_, more)) = stop.message.split_once("; ") {
            lines.push(sentence(more));
        }
    }
    lines
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
    shown(&format!("{first}{}.", chars.as_str()))
}

/// Whether the target is in question, and not the file.
fn is_of_target(account: &Account) -> bool {
    matches!(account.what, Some("other_target" | "elsewhere"))
}

fn places(account: &Account) -> Vec<String> {
    if account.state == State::Sound {
        let of = account.lineage.as_ref().map_or_else(String::new, |one| format!(" of {one}"));
        return vec![format!("PostgreSQL stands at change {}{of}.", account.applied)];
    }
    if is_of_target(account) {
        return Vec::new();
    }
    let mut lines = Vec::new();
    lines.push(match &account.last_common {
        Some(common) => {
            let written = common.written_at.as_deref().unwrap_or("an unknown time");
            format!("Both have    change {}, written at {written}", common.position)
        }
        None => "Both have    nothing that can be proven".to_owned(),
    });
    let at = account.applied_at.as_deref().unwrap_or("an unknown time");
    lines.push(format!("PostgreSQL   change {}, applied at {at}", account.applied));
    let file = &account.file;
    lines.push(match (&file.lineage, file.head) {
        (Some(lineage), Some(head)) if Some(lineage) == account.lineage.as_ref() => {
            format!("the file     change {head}")
        }
        (Some(lineage), Some(head)) => format!("the file     change {head} of {lineage}"),
        _ => "the file     no changelog".to_owned(),
    });
    lines
}

fn tables(account: &Account) -> Vec<String> {
    if account.tables.is_empty() {
        return Vec::new();
    }
    let width = account.tables.iter().map(|table| table.name.chars().count()).max().unwrap_or(0);
    let width = width.max("table".len());
    let head = format!(
        "  {:<width$}  {:>10}  {:>10}  {:>8}  {:>8}  {:>8}",
        "table", "the file", "PostgreSQL", "lost", "gained", "changed"
    );
    let rows = account.tables.iter().map(|table| {
        let counts = table.counts;
        let conflicts = match counts.conflicts {
            0 => String::new(),
            conflicts => format!("  {conflicts} to decide on"),
        };
        format!(
            "  {:<width$}  {:>10}  {:>10}  {:>8}  {:>8}  {:>8}{conflicts}",
            shown(&table.name),
            table.rows_file,
            table.rows_postgresql,
            counts.lost,
            counts.gained,
            counts.changed
        )
    });
    std::iter::once(head).chain(rows).collect()
}

fn rows(account: &Account) -> Vec<String> {
    let mut lines: Vec<String> = account
        .rows
        .iter()
        .map(|row| {
            let kind = match row.kind {
                Kind::Lost => "lost",
                Kind::Gained => "gained",
                Kind::Changed => "changed",
            };
            let columns = match row.columns.as_slice() {
                [] => String::new(),
                columns => format!(" in {}", columns.join(", ")),
            };
            let newer = match row.newer {
                Newer::Postgresql => "PostgreSQL is newer",
                Newer::File => "the file is newer",
                Newer::Both => "both were written to",
                Newer::Unknown => "nobody can tell which is newer",
            };
            let note = row.note.as_ref().map_or_else(String::new, |note| format!("; {note}"));
            shown(&format!("{} {}: {kind}{columns}, {newer}{note}", row.table, row.key))
        })
        .collect();
    let more = account.rows_differing.saturating_sub(account.rows.len() as u64);
    if 0 < more && !account.rows.is_empty() {
        lines.push(format!("and {more} more; --all lists them"));
    }
    lines
}

fn left_out(account: &Account) -> Vec<String> {
    let lines = account.left_out.iter();
    lines.map(|one| shown(&format!("not compared: {}: {}", one.name, one.reason))).collect()
}

fn done(account: &Account) -> Vec<String> {
    let Some(done) = &account.done else { return Vec::new() };
    let Done {
        choice,
        decided_by,
        backup,
        put_back,
        overwritten,
        removed,
        kept,
        archived,
        verified,
    } = done;
    let mut lines = vec![match choice {
        Choice::Restore => format!(
            "Restored, decided by {decided_by}: {put_back} rows put back into the file, \
             {overwritten} brought up to date, {removed} removed that had been deleted."
        ),
        Choice::Accept => {
            format!("Accepted, decided by {decided_by}: PostgreSQL follows the file.")
        }
    }];
    if 0 < *kept {
        lines.push(format!("As the file has them: {}.", counted(*kept, "row")));
    }
    if 0 < *archived {
        let incident = account.incident.as_ref().map_or(0, |stop| stop.id);
        lines.push(format!(
            "Kept in lite2pg.archive, of what PostgreSQL had: {} (incident {incident}).",
            counted(*archived, "row")
        ));
    }
    if let Some(backup) = backup {
        let (path, bytes) = (backup.path.display(), bytes_in_words(backup.bytes));
        lines.push(format!("The file as it was: {path}, {bytes}, SHA-256 {}", backup.sha256));
    }
    lines.push(match verified {
        Some(Outcome::Pass) => "Both sides are equal, row by row.".to_owned(),
        Some(Outcome::Fail) => "Both sides differ still; `lite2pg verify` says where.".to_owned(),
        Some(Outcome::Incomplete) | None => {
            "Not every row could be compared afterwards; `lite2pg verify` says why.".to_owned()
        }
    });
    lines
}

fn ways_on(account: &Account) -> Vec<String> {
    let mut lines: Vec<String> =
        account.blocked_by.iter().map(|one| shown(&format!("in the way: {one}"))).collect();
    if account.state == State::Blocked {
        lines.push("Nothing was changed.".to_owned());
    }
    if is_of_target(account) {
        return vec![match account.state {
            State::Accepted => "It is the one to feed from now on: `lite2pg run`.".to_owned(),
            _ => "If it is the one to feed from now on: `lite2pg guard --accept --yes`.".to_owned(),
        }];
    }
    if account.state != State::Broken {
        return lines;
    }
    lines.push("Nothing was changed. The ways on:".to_owned());
    lines.push("  put the right file back, and `lite2pg run` goes on".to_owned());
    lines.push(
        "  lite2pg guard --restore --yes   what PostgreSQL has and the file lost goes into the file"
            .to_owned(),
    );
    lines.push(
        "  lite2pg guard --accept --yes    the file is right: PostgreSQL follows it, and keeps \
         what it loses"
            .to_owned(),
    );
    lines
}
