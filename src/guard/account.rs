//! What happened to the file, and what was done about it: one value, which the terminal and JSON
//! show alike.
//!
//! Pure: no I/O.

use std::path::PathBuf;

use super::parting::LastCommon;
use crate::change::{Lineage, Position};
use crate::source::rewrite::Kept;
use crate::target::decisions::{Choice, OpenStop};
use crate::verify::verdict::{LeftOut, Outcome};

/// How things stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The file is the one that PostgreSQL was fed from.
    Sound,
    /// It is not, and somebody must decide.
    Broken,
    /// It was decided, and something is in the way; nothing was changed.
    Blocked,
    /// What the file had lost is in it again.
    Restored,
    /// PostgreSQL follows the file.
    Accepted,
}

/// How a row differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Only PostgreSQL has it.
    Lost,
    /// Only the file has it.
    Gained,
    /// Both have it, and not the same.
    Changed,
}

impl Kind {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Gained => "gained",
            Self::Changed => "changed",
        }
    }

    /// The inverse.
    pub fn parse(word: &str) -> Self {
        let known = [Self::Lost, Self::Gained];
        known.into_iter().find(|known| known.as_str() == word).unwrap_or(Self::Changed)
    }
}

/// Who wrote to a row after the histories parted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Newer {
    /// Only the application of the file that PostgreSQL was fed from.
    Postgresql,
    /// Only the application of the file that is there now.
    File,
    /// Both.
    Both,
    /// Nobody can tell.
    Unknown,
}

impl Newer {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Postgresql => "postgresql",
            Self::File => "file",
            Self::Both => "both",
            Self::Unknown => "unknown",
        }
    }

    /// The inverse.
    pub fn parse(word: &str) -> Self {
        let known = [Self::Postgresql, Self::File, Self::Both];
        known.into_iter().find(|known| known.as_str() == word).unwrap_or(Self::Unknown)
    }
}

/// Rows of one table that differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct TableCounts {
    /// Only PostgreSQL has them.
    pub lost: u64,
    /// Only the file has them.
    pub gained: u64,
    /// Both have them, and not the same.
    pub changed: u64,
    /// PostgreSQL's word is the newer one.
    pub newer_postgresql: u64,
    /// The file's word is.
    pub newer_file: u64,
    /// Both wrote, or nobody can tell.
    pub newer_unclear: u64,
    /// Somebody must say which of the two is right.
    pub conflicts: u64,
}

impl TableCounts {
    /// All of them.
    pub fn differing(&self) -> u64 {
        self.lost + self.gained + self.changed
    }
}

/// One table.
#[derive(Clone, Debug, serde::Serialize)]
pub struct TableAccount {
    /// Its name on the source.
    pub name: String,
    /// Rows in the file.
    pub rows_file: u64,
    /// Rows on PostgreSQL.
    pub rows_postgresql: u64,
    /// Rows that differ.
    #[serde(flatten)]
    pub counts: TableCounts,
}

/// A row that differs.
#[derive(Clone, Debug, serde::Serialize)]
pub struct RowAccount {
    /// Its table.
    pub table: String,
    /// How it differs.
    pub kind: Kind,
    /// What names it.
    pub key: serde_json::Value,
    /// The columns that differ, of a row that both sides have.
    pub columns: Vec<String>,
    /// Whose is the newer one.
    pub newer: Newer,
    /// Somebody must say which of the two is right.
    pub is_conflict: bool,
    /// What else is in its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The file as it is.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct FileAccount {
    /// Where it is.
    pub path: PathBuf,
    /// The lineage that it carries.
    pub lineage: Option<Lineage>,
    /// The oldest entry of its changelog.
    pub tail: Option<Position>,
    /// The newest.
    pub head: Option<Position>,
}

/// What was done.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Done {
    /// What was chosen.
    pub choice: Choice,
    /// Who decided.
    pub decided_by: String,
    /// The file as it was before; none if the file's rows were not touched.
    pub backup: Option<Kept>,
    /// Rows that only PostgreSQL had, and that are in the file now.
    pub put_back: u64,
    /// Rows of the file that PostgreSQL's took the place of.
    pub overwritten: u64,
    /// Rows that were removed from the file, because they had been deleted.
    pub removed: u64,
    /// Rows that stayed as the file has them, and that PostgreSQL follows.
    pub kept: u64,
    /// Rows of PostgreSQL in `lite2pg.archive`, under the incident's number.
    pub archived: u64,
    /// What a comparison of both sides said afterwards.
    pub verified: Option<Outcome>,
}

/// The whole account.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Account {
    /// How things stand.
    pub state: State,
    /// What kind of thing happened; `null` if nothing did.
    pub what: Option<&'static str>,
    /// In words.
    pub message: Option<String>,
    /// What that means.
    pub meaning: Option<&'static str>,
    /// When it was noticed, if a run has noticed it.
    pub incident: Option<OpenStop>,
    /// Whose history PostgreSQL was fed from, and how far; `null` if it was fed from none.
    pub lineage: Option<Lineage>,
    /// The newest entry that was applied.
    pub applied: Position,
    /// When that was, in UTC.
    pub applied_at: Option<String>,
    /// The file as it is.
    pub file: FileAccount,
    /// The newest entry that both have; `null` where nothing proves one.
    pub last_common: Option<LastCommon>,
    /// Every table that can be compared.
    pub tables: Vec<TableAccount>,
    /// Rows that differ, the first hundred unless all were asked for.
    pub rows: Vec<RowAccount>,
    /// How many rows differ.
    pub rows_differing: u64,
    /// What was not compared, and why.
    pub left_out: Vec<LeftOut>,
    /// What is in the way of the choice.
    pub blocked_by: Vec<String>,
    /// What was done.
    pub done: Option<Done>,
}
