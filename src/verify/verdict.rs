//! What a comparison came to: one value, which the terminal, JSON and the ledger show alike.
//!
//! Pure: no I/O.

use super::invariant::{self, Severity, State};
use super::parity;
use crate::change::{Lineage, Position};
use crate::target::checks::{Check, CheckState};

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Every row of every table is equal.
    Pass,
    /// Something differs, or the target lacks rows that it cannot hold.
    Fail,
    /// Nothing that was read differs, and not everything could be read.
    Incomplete,
}

impl Outcome {
    /// As it is stored, and as JSON has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Incomplete => "incomplete",
        }
    }

    /// The inverse; an unknown word proves nothing.
    pub fn parse(word: &str) -> Self {
        let known = [Self::Pass, Self::Fail];
        known.into_iter().find(|known| known.as_str() == word).unwrap_or(Self::Incomplete)
    }
}

/// What a verdict is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ScopeWord {
    /// Everything was read whole.
    Full,
    /// What changed, and a share of the rest; what was proven before still stands.
    Changes,
    /// Only what changed since a position.
    Since,
}

/// What was compared, and what came of it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Verdict {
    /// The answer.
    pub verdict: Outcome,
    /// What it is about.
    pub scope: ScopeWord,
    /// Where the target stood at the end.
    pub position: VerdictPosition,
    /// Per table.
    pub tables: Vec<TableVerdict>,
    /// The rows that differ, the first hundred unless all were asked for.
    pub drift: Vec<Drift>,
    /// How many rows differ.
    pub drift_rows: u64,
    /// Rows that were being written whenever they were looked at.
    pub in_flight: u64,
    /// What came of the statements that must give the same.
    pub invariants: Vec<invariant::Finding>,
    /// What came of the application's own queries.
    pub parity: Vec<parity::Finding>,
    /// What belongs to the tables beside their rows, if it is not as it should be.
    pub checks: Vec<Check>,
    /// What was not compared, and why.
    pub left_out: Vec<LeftOut>,
    /// How long it took.
    pub seconds: f64,
}

/// Whose history, and where.
#[derive(Clone, Debug, serde::Serialize)]
pub struct VerdictPosition {
    /// Whose history.
    pub lineage: Lineage,
    /// The newest entry that was applied.
    pub applied: Position,
}

/// One table.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct TableVerdict {
    /// Its name on the source.
    pub name: String,
    /// Rows read on the source.
    pub rows_source: u64,
    /// Rows read on the target.
    pub rows_target: u64,
    /// Rows of the source that were held against the target's.
    pub rows_compared: u64,
    /// Rows that seemed to differ, and were read again on both sides.
    pub rows_again: u64,
    /// Bytes of the source's rows that were read, as PostgreSQL would send them.
    pub bytes: u64,
    /// On the source only.
    pub missing: u64,
    /// On the target only.
    pub extra: u64,
    /// On both, and not the same.
    pub mismatched: u64,
    /// Rows that the target cannot hold.
    pub quarantined: u64,
    /// Rows that were being written whenever they were looked at.
    pub in_flight: u64,
    /// Rows that the proofs in the ledger stand for, each counted when it was last read.
    pub rows_proven: u64,
    /// The sum of the SHA-256 of those rows, modulo 2^256: it does not depend on their order.
    pub checksum: String,
    /// None of them was read whole before this position.
    pub checksum_position: Option<Position>,
    /// Nor before this time, in UTC.
    pub read_at: Option<String>,
}

impl TableVerdict {
    /// Rows that differ.
    pub fn drift_rows(&self) -> u64 {
        self.missing + self.extra + self.mismatched
    }

    /// Whether nothing differs.
    pub fn is_equal(&self) -> bool {
        self.drift_rows() + self.quarantined + self.in_flight == 0
    }
}

/// A row that differs.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Drift {
    /// The table's name on the source.
    pub table: String,
    /// The values that name the row.
    pub key: serde_json::Value,
    /// How it differs.
    pub kind: DriftKind,
    /// The columns that differ, of a row that is on both sides.
    pub columns: Vec<String>,
    /// What each side holds in those columns, if it was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<DriftValue>,
}

impl Drift {
    /// As it is kept in the ledger, which holds no values of the application.
    pub fn without_values(&self) -> Self {
        Self { values: Vec::new(), ..self.clone() }
    }
}

/// What both sides hold in one column.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct DriftValue {
    /// The column.
    pub column: String,
    /// What SQLite holds.
    pub source: serde_json::Value,
    /// What PostgreSQL holds, brought home; `null` where that is not possible, too.
    pub target: serde_json::Value,
}

/// How a row differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DriftKind {
    /// On the source only.
    Missing,
    /// On the target only.
    Extra,
    /// On both, and not the same.
    Mismatched,
}

/// Something that was not compared.
#[derive(Clone, Debug, serde::Serialize)]
pub struct LeftOut {
    /// A table, or a table and a column.
    pub name: String,
    /// Why.
    pub reason: String,
    /// Whether the verdict is incomplete for it; what never travels does not count.
    pub is_missing: bool,
}

impl Verdict {
    /// Rows that were compared.
    pub fn rows_compared(&self) -> u64 {
        self.tables.iter().map(|table| table.rows_compared).sum()
    }

    /// Rows that the proofs stand for.
    pub fn rows_proven(&self) -> u64 {
        self.tables.iter().map(|table| table.rows_proven).sum()
    }

    /// Rows that the target cannot hold.
    pub fn quarantined(&self) -> u64 {
        self.tables.iter().map(|table| table.quarantined).sum()
    }

    /// What all that was found comes to.
    pub(super) fn outcome(&self) -> Outcome {
        let is_any = |state| {
            let invariants = self.invariants.iter().map(|found| (found.severity, found.state));
            let parity = self.parity.iter().map(|found| (found.severity, found.state));
            invariants.chain(parity).any(|found| found == (Severity::Fail, state))
        };
        // A proof of which nothing was looked at is none.
        let is_unread = |table: &TableVerdict| table.rows_compared == 0 && 0 < table.rows_proven;
        let differs = 0 < self.drift_rows + self.quarantined()
            || self.scope != ScopeWord::Since && self.tables.iter().any(is_unread)
            || is_any(State::Violated)
            || self.checks.iter().any(|check| check.state == CheckState::Failed);
        let is_whole = self.in_flight == 0
            && !self.tables.is_empty()
            && self.left_out.iter().all(|left_out| !left_out.is_missing)
            && !is_any(State::Unknown);
        match (differs, is_whole) {
            (true, _) => Outcome::Fail,
            (false, true) => Outcome::Pass,
            (false, false) => Outcome::Incomplete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(scope: ScopeWord, table: TableVerdict) -> Verdict {
        let lineage = Lineage { source_id: String::new(), generation: 1 };
        Verdict {
            verdict: Outcome::Incomplete,
            scope,
            position: VerdictPosition { lineage, applied: Position(1) },
            drift: Vec::new(),
            drift_rows: table.drift_rows(),
            in_flight: table.in_flight,
            tables: vec![table],
            invariants: Vec::new(),
            parity: Vec::new(),
            checks: Vec::new(),
            left_out: Vec::new(),
            seconds: 0.0,
        }
    }

    #[test]
    fn a_proof_of_which_nothing_was_looked_at_is_none() {
        let read = TableVerdict { rows_compared: 1, rows_proven: 5, ..TableVerdict::default() };
        let unread = TableVerdict { rows_compared: 0, ..read.clone() };
        for (scope, table, expected) in [
            (ScopeWord::Changes, &read, Outcome::Pass),
            (ScopeWord::Changes, &unread, Outcome::Fail),
            (ScopeWord::Full, &unread, Outcome::Fail),
            // Nothing was touched, and nothing else was asked.
            (ScopeWord::Since, &unread, Outcome::Pass),
            (ScopeWord::Full, &TableVerdict::default(), Outcome::Pass),
        ] {
            assert_eq!(verdict(scope, table.clone()).outcome(), expected, "{scope:?} {table:?}");
        }
    }

    #[test]
    fn what_was_not_read_is_incomplete_and_what_differs_is_worse() {
        let read = TableVerdict { rows_compared: 1, rows_proven: 1, ..TableVerdict::default() };
        let whole = verdict(ScopeWord::Full, read.clone());
        let none = Verdict { tables: Vec::new(), ..whole.clone() };
        assert_eq!(none.outcome(), Outcome::Incomplete, "no table is no proof");
        let in_flight = TableVerdict { in_flight: 1, ..read };
        assert_eq!(verdict(ScopeWord::Full, in_flight.clone()).outcome(), Outcome::Incomplete);
        let aside = TableVerdict { quarantined: 1, ..in_flight };
        assert_eq!(verdict(ScopeWord::Full, aside).outcome(), Outcome::Fail);
        for (is_missing, expected) in [(false, Outcome::Pass), (true, Outcome::Incomplete)] {
            let (name, reason) = ("t".to_owned(), String::new());
            let left_out = vec![LeftOut { name, reason, is_missing }];
            assert_eq!(Verdict { left_out, ..whole.clone() }.outcome(), expected);
        }
    }
}
