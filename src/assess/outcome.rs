//! What `assess` says: the whole report as data, as `--json` prints it.
//!
//! The keys are stable and documented in docs/assess.md. No judgement here: [`mod@super::judge`]
//! fills it in, [`crate::report`] shows it.

use std::collections::BTreeMap;

use super::form::Form;
use super::proposal::{Proposal, rows};
use crate::source::inspect::Facts;

/// What `assess` found.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Assessment {
    /// The answer.
    pub verdict: Verdict,
    /// The file.
    pub source: SourceReport,
    /// SQLite's own check of it.
    pub integrity: IntegrityReport,
    /// What speaks for the verdict, worst first.
    pub findings: Vec<Finding>,
    /// How long it would take.
    pub estimate: Estimate,
    /// Tables that can be replicated.
    pub tables: Vec<TableReport>,
    /// Views, by name.
    pub views: Vec<String>,
    /// The application's triggers.
    pub triggers: Vec<TriggerReport>,
    /// What is not replicated.
    pub left_out: Vec<LeftOut>,
    /// How the look at the rows went.
    pub scan: ScanReport,
}

/// One verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is in the way.
    Ready,
    /// Everything arrives; some things want a look.
    ReadyWithWarnings,
    /// Something could not arrive.
    Blocked,
}

impl Verdict {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::ReadyWithWarnings => "ready with warnings",
            Self::Blocked => "blocked",
        }
    }
}

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It stands in the way.
    Blocker,
    /// It arrives, but look at it.
    Warning,
    /// Good to know.
    Note,
}

impl Severity {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Blocker => "blocker",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Finding {
    /// How much it weighs.
    pub severity: Severity,
    /// What kind of finding: a word that does not change between versions.
    pub code: &'static str,
    /// The table, view, index or trigger, if it is about one.
    pub object: Option<String>,
    /// The column, if it is about one.
    pub column: Option<String>,
    /// One sentence.
    pub message: String,
    /// How many rows or values.
    pub count: u64,
    /// The first of them, by key.
    pub keys: Vec<String>,
    /// What to do.
    pub advice: Option<String>,
}

/// The file.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct SourceReport {
    /// As it was given.
    pub path: String,
    /// What it says of itself.
    #[serde(flatten)]
    pub facts: Facts,
    /// What the journal mode means for the sidecar and the application.
    pub journal_advice: String,
}

/// How the integrity check went.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct IntegrityReport {
    /// `integrity_check` or `quick_check`.
    pub check: &'static str,
    /// `sound`, `damaged` or `left_out`.
    pub result: &'static str,
    /// What SQLite found, or why it was left out.
    pub details: Vec<String>,
}

/// One table.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TableReport {
    /// Its name.
    pub name: String,
    /// Rows read.
    pub rows: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// What names its rows, in words.
    pub key: String,
    /// WITHOUT ROWID.
    pub without_rowid: bool,
    /// STRICT.
    pub strict: bool,
    /// AUTOINCREMENT.
    pub autoincrement: bool,
    /// Columns in order.
    pub columns: Vec<ColumnReport>,
    /// Indexes.
    pub indexes: Vec<IndexReport>,
    /// Foreign keys.
    pub foreign_keys: Vec<ForeignKeyReport>,
    /// CHECK constraints, as written.
    pub checks: Vec<String>,
}

/// One column.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ColumnReport {
    /// Its name.
    pub name: String,
    /// Its declared type.
    pub declared: String,
    /// Declared or implied.
    pub not_null: bool,
    /// As written.
    pub default: Option<String>,
    /// BINARY, NOCASE, RTRIM or the application's own.
    pub collation: String,
    /// Computed by SQLite.
    pub generated: bool,
    /// Values by storage class.
    pub classes: Classes,
    /// Different values.
    pub distinct: u64,
    /// `distinct` is exact, not estimated within some percent.
    pub distinct_is_exact: bool,
    /// Least and greatest integer.
    pub integers: Option<(i64, i64)>,
    /// Least and greatest finite real.
    pub reals: Option<(f64, f64)>,
    /// Shortest and longest text, in characters.
    pub characters: Option<(u64, u64)>,
    /// Longest text, in bytes.
    pub text_bytes_max: u64,
    /// Shortest and longest blob, in bytes.
    pub blob_bytes: Option<(u64, u64)>,
    /// Texts by form.
    pub forms: BTreeMap<Form, u64>,
    /// Rare things: infinities, NULs, …
    pub oddities: BTreeMap<&'static str, u64>,
    /// The type it speaks for.
    pub proposal: Proposal,
}

/// Values by storage class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Classes {
    /// NULL.
    pub null: u64,
    /// INTEGER.
    pub integer: u64,
    /// REAL.
    pub real: u64,
    /// TEXT.
    pub text: u64,
    /// BLOB.
    pub blob: u64,
}

/// One index.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct IndexReport {
    /// Its name.
    pub name: String,
    /// Rejects duplicates.
    pub unique: bool,
    /// `create`, `unique` or `primary key`.
    pub origin: &'static str,
    /// Its terms in words.
    pub terms: Vec<String>,
    /// Has a WHERE.
    pub partial: bool,
}

/// One foreign key.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ForeignKeyReport {
    /// The child's columns.
    pub columns: Vec<String>,
    /// The parent.
    pub parent: String,
    /// Its columns; empty means its primary key.
    pub parent_columns: Vec<String>,
    /// ON DELETE.
    pub on_delete: String,
    /// ON UPDATE.
    pub on_update: String,
    /// Rows without a parent.
    pub orphans: u64,
}

/// One trigger of the application.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TriggerReport {
    /// Its name.
    pub name: String,
    /// The table or view it hangs on.
    pub table: String,
}

/// Something that is not replicated.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: &'static str,
    /// Why.
    pub reason: String,
}

/// How the look at the rows went.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ScanReport {
    /// Rows read.
    pub rows: u64,
    /// Values read.
    pub values: u64,
    /// How long it took.
    pub seconds: f64,
    /// Connections side by side.
    pub workers: usize,
    /// All rows of all tables were read to their end.
    pub complete: bool,
}

/// How long it would take.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Estimate {
    /// The first copy, indexes included.
    pub copy_seconds: u64,
    /// From freeze to open.
    pub cutover_seconds: u64,
    /// What the figures rest on.
    pub assumptions: Vec<String>,
}

impl Finding {
    /// `orders.created_at: 8 … — rows 17, 93, …`.
    pub fn sentence(&self) -> String {
        let mut text = String::new();
        for (part, joint) in [(&self.object, ""), (&self.column, ".")] {
            if let Some(name) = part {
                text.push_str(&format!("{joint}{name}"));
            }
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&self.message);
        // A message that lists the rows itself does not need them twice.
        if !self.keys.is_empty() && !self.message.contains(" — row") {
            text.push_str(&format!(" — {}", rows(self.count, &self.keys)));
        }
        text
    }
}
