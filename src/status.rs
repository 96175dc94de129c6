//! How far replication is: one value, read at one moment, rendered for a terminal or as JSON.
//!
//! It asks both sides themselves, not the daemon, so it is right whether or not one is running.

use std::fmt::Write as _;

use tokio_postgres::Client;

use crate::change::{Lineage, Position};
use crate::source::thread::SourceThread;
use crate::target::ledger::{self, KnownTable, Phase, STOPPED};
use crate::target::unseen::DIRTY;
use crate::target::verifications;
use crate::{source, target};

/// One reading.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Status {
    /// How far replication has come; `null` before it began.
    pub phase: Option<Phase>,
    /// The target's tables equal one state of the source, and none is dirty.
    pub consistent: bool,
    /// Places in the changelog.
    pub position: Positions,
    /// Head minus applied.
    pub lag_changes: i64,
    /// Age of the oldest change that is not applied.
    pub lag_ms: i64,
    /// The captured tables.
    pub tables: Vec<TableStatus>,
    /// Rows that the target cannot hold.
    pub quarantined: i64,
    /// Rows that differed at the last verification; `null` if there has been none.
    pub drift_rows: Option<i64>,
    /// When both sides were last compared; `null` if never.
    pub last_verify: Option<String>,
    /// Why the next step is not being taken.
    pub waiting_for: Option<String>,
    /// The way back after cutover.
    pub fallback: Fallback,
    /// Things that a person should know, newest first.
    pub incidents: Vec<Incident>,
    /// Objects of the source that are not carried over, or not yet, by state.
    pub objects: Vec<ObjectCount>,
    /// What is not on the target as it is on the source, and why.
    pub notes: Vec<NoteStatus>,
    /// Why the file is not the one that the target was fed from; then the positions do not compare.
    #[serde(skip)]
    broken: Option<String>,
}

/// Something that is not on the target as it is on the source.
#[derive(Clone, Debug, serde::Serialize)]
pub struct NoteStatus {
    /// The object's name.
    pub object: String,
    /// What it is: `virtual table`, `trigger`, `check`, …
    pub what: String,
    /// `left out`, `differs` or `renamed`.
    pub kind: String,
    /// Why.
    pub reason: String,
}

/// Places in the changelog.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Positions {
    /// Whose history they belong to.
    pub lineage: Option<Lineage>,
    /// Newest entry applied.
    pub applied: Option<Position>,
    /// Newest entry written.
    pub head: Option<Position>,
}

/// One captured table.
#[derive(Clone, Debug, serde::Serialize)]
pub struct TableStatus {
    /// Its name on the source.
    pub name: String,
    /// `copying`, `copied`, `streaming`, `dirty` or `stopped`.
    pub state: String,
    /// Rows on the target.
    pub rows: i64,
    /// Rows that the target cannot hold.
    pub quarantined: i64,
    /// Why it is stopped.
    pub reason: Option<String>,
    /// When it was last compared, and what came of it; `null` if never.
    pub proven: Option<verifications::Proof>,
}

/// The way back.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Fallback {
    /// `OPEN` or `CLOSED`.
    pub state: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// Something that happened.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Incident {
    /// When.
    pub at: String,
    /// What kind.
    pub kind: String,
    /// In words.
    pub message: String,
    /// The last good position.
    pub position: Option<Position>,
    /// When it was seen last, and how often.
    pub last_at: String,
    /// How often it was seen.
    pub times: i64,
    /// Nothing goes on before somebody has decided on it.
    pub needs_decision: bool,
    /// What was decided.
    pub decision: Option<String>,
    /// By whom.
    pub decided_by: Option<String>,
    /// When.
    pub decided_at: Option<String>,
}

impl Incident {
    fn render(&self) -> String {
        let message = crate::error::printable(&self.message).replace('\n', "\u{fffd}");
        let more = match (&self.decision, &self.decided_by, &self.decided_at) {
            (Some(decision), Some(by), Some(at)) => format!("; {decision}, by {by} at {at}"),
            _ if self.needs_decision => "; nobody has decided on it yet".to_owned(),
            _ => String::new(),
        };
        format!("  incident {}: {message}{more}", self.at)
    }
}

/// How many objects are in a state.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ObjectCount {
    /// `index`, `check`, `foreign_key` or `view`.
    pub kind: String,
    /// `waiting`, `built` or `refused`.
    pub state: String,
    /// How many.
    pub count: i64,
}

/// Reads both sides.
pub async fn read(source: &SourceThread, client: &Client) -> Result<Status, crate::daemon::Error> {
    let has_ledger = ledger::is_readable(client).await?;
    let stored = if has_ledger { ledger::position(client).await? } else { None };
    let applied = stored.as_ref().map(|stored| stored.standing.applied.position);
    let (head, lineage, lag_ms) = source
        .run(move |source| {
            let head = source.head()?.map(|head| head.position);
            let lineage = source.lineage()?;
            let lag_ms = match (head, applied) {
                (Some(_), Some(applied)) => source.lag_ms(applied)?,
                _ => 0,
            };
            Ok::<_, source::Error>((head, lineage, lag_ms))
        })
        .await?;
    let broken = match stored.as_ref().map(ledger::Stored::place) {
        Some(place) => match source.run(move |source| source.prove(&place)).await {
            Ok(_) => None,
            Err(source::Error::Lineage(broken)) => Some(broken),
            Err(error) => return Err(error.into()),
        },
        None => None,
    };
    let mut status = Status {
        phase: stored.as_ref().map(|stored| stored.phase),
        consistent: stored.as_ref().is_some_and(|stored| stored.is_consistent),
        position: Positions { lineage: lineage.clone(), applied, head },
        lag_changes: lag_changes(head, applied),
        lag_ms,
        tables: Vec::new(),
        quarantined: 0,
        drift_rows: None,
        last_verify: None,
        waiting_for: None,
        fallback: Fallback { state: "CLOSED", reason: "not cut over" },
        incidents: Vec::new(),
        objects: Vec::new(),
        broken: broken.map(|broken| broken.to_string()),
        notes: Vec::new(),
    };
    if let Some(stored) = &stored {
        read_target(client, &stored.target_schema, &mut status).await?;
        status.consistent &= !status.has_dirty_table();
    }
    let is_alone = has_ledger && !ledger::is_someone_at_work(client).await?;
    status.waiting_for = waiting_for(&status, is_alone);
    Ok(status)
}

fn lag_changes(head: Option<Position>, applied: Option<Position>) -> i64 {
    match (head, applied) {
        (Some(head), Some(applied)) => (head.0 - applied.0).max(0),
        (Some(head), None) => head.0,
        _ => 0,
    }
}

async fn read_target(
    client: &Client,
    target_schema: &str,
    status: &mut Status,
) -> Result<(), target::Error> {
    let doing = "read the state of the target";
    let quarantined = ledger::quarantined(client).await?;
    let mut last = verifications::last(client).await?;
    (status.last_verify, status.drift_rows) = (last.at.take(), last.drift_rows);
    for table in ledger::tables(client).await? {
        let rows = ledger::count_rows(client, target_schema, &table.target).await?;
        let KnownTable { id, name, state, reason, .. } = table;
        let quarantined = quarantined.get(&id).copied().unwrap_or(0);
        let proven = last.tables.remove(&name);
        status.tables.push(TableStatus { name, state, rows, quarantined, reason, proven });
    }
    status.quarantined = quarantined.values().sum();
    let incidents = client
        .query(
            &format!(
                "select {}, kind, message, position, {}, times, needs_decision, decision,
                        decided_by, {}
                   from lite2pg.incidents order by id desc limit 20",
                target::in_utc("at"),
                target::in_utc("last_at"),
                target::in_utc("decided_at")
            ),
            &[],
        )
        .await
        .map_err(target::Error::query(doing))?;
    status.incidents = incidents
        .iter()
        .map(|row| Incident {
            at: row.get(0),
            kind: row.get(1),
            message: row.get(2),
            position: row.get::<_, Option<i64>>(3).map(Position),
            last_at: row.get(4),
            times: row.get(5),
            needs_decision: row.get(6),
            decision: row.get(7),
            decided_by: row.get(8),
            decided_at: row.get(9),
        })
        .collect();
    let objects = client
        .query(
            "select kind, state, count(*) from lite2pg.objects group by kind, state
              order by kind, state",
            &[],
        )
        .await
        .map_err(target::Error::query(doing))?;
    status.objects = objects
        .iter()
        .map(|row| ObjectCount { kind: row.get(0), state: row.get(1), count: row.get(2) })
        .collect();
    let notes = client
        .query(
            "select object, what, kind, reason from lite2pg.notes
              order by kind, what, object, reason",
            &[],
        )
        .await
        .map_err(target::Error::query(doing))?;
    status.notes = notes
        .iter()
        .map(|row| NoteStatus {
            object: row.get(0),
            what: row.get(1),
            kind: row.get(2),
            reason: row.get(3),
        })
        .collect();
    Ok(())
}

fn waiting_for(status: &Status, is_alone: bool) -> Option<String> {
    let Some(phase) = status.phase else {
        return Some("replication has not begun: `lite2pg run` begins it".to_owned());
    };
    if let Some(broken) = &status.broken {
        return Some(format!("a decision: {broken}; `lite2pg guard` says more"));
    }
    let is_unfinished = phase != Phase::Streaming || status.has_dirty_table();
    if is_alone && (0 < status.lag_changes || is_unfinished) {
        return Some("no lite2pg is running for this target".to_owned());
    }
    match phase {
        Phase::Copying => Some("the first copy".to_owned()),
        Phase::CatchingUp => Some("catching up after the copy".to_owned()),
        Phase::Streaming => {
            let stopped = status.tables.iter().find_map(TableStatus::waits_for);
            stopped.or_else(|| status.tables.iter().find_map(TableStatus::waits_to_be_proven))
        }
    }
}

impl TableStatus {
    fn is_dirty(&self) -> bool {
        self.state == DIRTY
    }

    /// What is being done about a dirty table.
    fn waits_to_be_proven(&self) -> Option<String> {
        self.is_dirty().then(|| {
            format!(
                "table {} is dirty: writes to it may have gone unseen; it is compared row by row \
                 and stays readable meanwhile",
                self.name
            )
        })
    }

    /// What a stopped table needs.
    fn waits_for(&self) -> Option<String> {
        let reason = self.reason.as_ref().filter(|_| self.state == STOPPED)?;
        Some(format!(
            "table {} is stopped: {reason}; `lite2pg schema --adopt` says more",
            self.name
        ))
    }
}

impl Status {
    fn has_dirty_table(&self) -> bool {
        self.tables.iter().any(TableStatus::is_dirty)
    }

    /// For a terminal.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let number = |position: Option<Position>| {
            position.map_or_else(|| "-".to_owned(), |position| position.to_string())
        };
        let phase = self.phase.map_or("not begun", Phase::as_str);
        let is_in_step = self.broken.is_none() && self.consistent && self.lag_changes == 0;
        let in_step = if is_in_step { "in step" } else { "not in step" };
        writeln!(
            text,
            "{phase}, {in_step}: applied {} of {}, lag {} changes, {:.1} s, {} rows in quarantine",
            number(self.position.applied),
            number(self.position.head),
            self.lag_changes,
            seconds(self.lag_ms),
            self.quarantined,
        )
        .expect("writing to a string cannot fail");
        if let Some(reason) = &self.waiting_for {
            writeln!(text, "waiting for: {reason}").expect("writing to a string cannot fail");
        }
        let width = self.tables.iter().map(|table| table.name.chars().count()).max().unwrap_or(0);
        for table in &self.tables {
            let name = crate::error::printable(&table.name).replace('\n', "\u{fffd}");
            let aside = match table.quarantined {
                0 => String::new(),
                rows => format!(", {rows} in quarantine"),
            };
            let proven = table.proven.as_ref().map_or_else(String::new, in_words);
            writeln!(
                text,
                "  {name:<width$}  {:<9}  {:>12} rows{aside}{proven}",
                table.state, table.rows
            )
            .expect("writing to a string cannot fail");
        }
        if let (Some(at), Some(rows)) = (&self.last_verify, self.drift_rows) {
            let rows = if rows == 0 { "no row".to_owned() } else { format!("{rows} rows") };
            writeln!(text, "  both sides were compared at {at}: {rows} differed")
                .expect("writing to a string cannot fail");
        }
        if 0 < self.quarantined {
            text.push_str("  `lite2pg quarantine` lists the rows that the target cannot hold\n");
        }
        for object in self.objects.iter().filter(|object| object.state != "built") {
            writeln!(
                text,
                "  {} {}: {}",
                object.count,
                object.kind,
                object.state.replace('_', " ")
            )
            .expect("writing to a string cannot fail");
        }
        text.push_str(&self.render_left_out());
        for incident in self.incidents.iter().take(5) {
            writeln!(text, "{}", incident.render()).expect("writing to a string cannot fail");
        }
        text
    }
}

/// What the newest comparison of a table came to, and how old the oldest of its proofs is.
fn in_words(proof: &verifications::Proof) -> String {
    let what = if proof.is_equal { "equal" } else { "DIFFERENT" };
    let checksum = proof.checksum.get(..12).unwrap_or_default();
    let since = proof.read_at.as_ref().map_or_else(String::new, |at| format!(", read since {at}"));
    format!(", {what} at {}, checksum {checksum}{since}", proof.position)
}

/// Objects of one kind that are named one by one in the terminal.
const NAMED_MAX: usize = 5;

impl Status {
    /// What has no counterpart, one line for each kind of it.
    fn render_left_out(&self) -> String {
        let mut by_what: std::collections::BTreeMap<&str, Vec<String>> = Default::default();
        for note in self.notes.iter().filter(|note| note.kind == "left out") {
            let name = crate::error::printable(&note.object).replace('\n', "\u{fffd}");
            by_what.entry(&note.what).or_default().push(name);
        }
        let mut text = String::new();
        for (what, names) in by_what {
            let named = names.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>();
            let more = names.len().saturating_sub(NAMED_MAX);
            let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
            writeln!(text, "  left out, {what}: {}{rest}", named.join(", "))
                .expect("writing to a string cannot fail");
        }
        if !text.is_empty() {
            text.push_str("  `lite2pg schema` tells why\n");
        }
        text
    }
}

fn seconds(ms: i64) -> f64 {
    std::time::Duration::from_millis(u64::try_from(ms).unwrap_or(0)).as_secs_f64()
}
