//! Statements that must give the same on both sides: sums, counts, whatever the business lives by.
//!
//! Both are asked at the very same position ([`meet`]): the source in one read transaction at the
//! head of its changelog, the target in a snapshot that stands exactly there.

use std::collections::BTreeMap;

use super::meeting::meet;
use super::{Error, Sides};
use crate::change::{Place, Position};
use crate::target::proof;
use crate::value::Answer;

/// Statements by their names, as the configuration has them.
pub type Invariants = BTreeMap<String, Invariant>;

/// A statement for each side.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invariant {
    /// For SQLite.
    pub source: String,
    /// For PostgreSQL; the same if it is not said.
    pub target: Option<String>,
    /// Numbers may differ by so much.
    #[serde(default)]
    pub tolerance: f64,
    /// The only answer that is right, for statements of one row and one column.
    pub expect: Option<String>,
    /// What a violation means for the verdict.
    #[serde(default)]
    pub severity: Severity,
}

/// What a violation means for the verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It fails.
    #[default]
    Fail,
    /// It is only mentioned.
    Warn,
}

/// What came of one of them.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Finding {
    /// Its name.
    pub name: String,
    /// What a violation means.
    pub severity: Severity,
    /// `kept`, `violated` or `unknown`: both sides were never at the same position.
    pub state: State,
    /// Where both sides stood.
    pub position: Option<Position>,
    /// What SQLite answered: the first row that is not the same, or the first.
    pub source: Option<Vec<Option<String>>>,
    /// What PostgreSQL answered.
    pub target: Option<Vec<Option<String>>>,
}

/// Whether it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Both sides answered the same, and what was expected.
    Kept,
    /// They did not.
    Violated,
    /// Both sides were never at the same position.
    Unknown,
}

/// Asks both sides. Fails if either statement does, or if that for SQLite would write.
pub(super) async fn check(
    sides: &Sides,
    name: &str,
    invariant: &Invariant,
) -> Result<Finding, Error> {
    let on_target = invariant.target.as_ref().unwrap_or(&invariant.source);
    let source = async |place: Place, at: Position| {
        let sql = invariant.source.clone();
        let (read_at, answer) = sides.source.run(move |source| source.answer(&place, &sql)).await?;
        Ok::<_, Error>((read_at == at).then_some(answer))
    };
    let target = async || Ok(proof::answer(&sides.client, &sides.schema, on_target).await?);
    let met = meet(sides, source, target).await?;
    let (state, position, pair) = match met {
        Some((position, source, target)) => {
            let (state, pair) = compare(invariant, &source, &target);
            (state, Some(position), Some(pair))
        }
        None => (State::Unknown, None, None),
    };
    let (source, target) = pair.unzip();
    let name = name.to_owned();
    Ok(Finding { name, severity: invariant.severity, state, position, source, target })
}

type Cells = Vec<Option<String>>;

/// Holds the answers against each other, row by row in an order of their own.
fn compare(invariant: &Invariant, source: &Answer, target: &Answer) -> (State, (Cells, Cells)) {
    let sorted = |answer: &Answer| {
        let mut rows = answer.clone();
        rows.sort();
        rows
    };
    let (source, target) = (sorted(source), sorted(target));
    let rows = source.len().max(target.len());
    let nothing = Cells::new();
    for at in 0..rows {
        let one = source.get(at).unwrap_or(&nothing);
        let other = target.get(at).unwrap_or(&nothing);
        let is_same = one.len() == other.len()
            && one.iter().zip(other).all(|(one, other)| is_near(one, other, invariant.tolerance));
        if !is_same {
            return (State::Violated, (one.clone(), other.clone()));
        }
    }
    let first = |rows: &Answer| rows.first().cloned().unwrap_or_default();
    let pair = (first(&source), first(&target));
    let is_expected = invariant.expect.as_ref().is_none_or(|expected| {
        let wanted = Some(expected.clone());
        source.len() == 1
            && matches!(&source[0][..], [only] if is_near(only, &wanted, invariant.tolerance))
    });
    (if is_expected { State::Kept } else { State::Violated }, pair)
}

/// The same, or numbers that are near enough.
fn is_near(one: &Option<String>, other: &Option<String>, tolerance: f64) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return one == other };
    if one == other {
        return true;
    }
    let is_integer = |text: &str| text.parse::<i64>().is_ok();
    if tolerance == 0.0 && is_integer(one) && is_integer(other) {
        return false;
    }
    match (one.parse::<f64>(), other.parse::<f64>()) {
        (Ok(one), Ok(other)) => (one - other).abs() <= tolerance,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invariant(tolerance: f64, expect: Option<&str>) -> Invariant {
        let source = String::new();
        let expect = expect.map(str::to_owned);
        Invariant { source, target: None, tolerance, expect, severity: Severity::Fail }
    }

    fn answer(rows: &[&[&str]]) -> Answer {
        let cell = |text: &&str| (*text != "null").then(|| (*text).to_owned());
        rows.iter().map(|row| row.iter().map(cell).collect()).collect()
    }

    #[test]
    fn answers_are_the_same_in_any_order_and_within_the_tolerance() {
        for (tolerance, source, target, state) in [
            (0.0, &[&["12.5"][..]][..], &[&["12.50"][..]][..], State::Kept),
            (0.0, &[&["12.5"]], &[&["12.51"]], State::Violated),
            (0.02, &[&["12.5"]], &[&["12.51"]], State::Kept),
            (0.0, &[&["9007199254740993"]], &[&["9007199254740992"]], State::Violated),
            (0.0, &[&["a", "1"], &["b", "2"]], &[&["b", "2"], &["a", "1"]], State::Kept),
            (0.0, &[&["a", "1"]], &[&["a", "1"], &["b", "2"]], State::Violated),
            (9.0, &[&["null"]], &[&["0"]], State::Violated),
            (9.0, &[&["x"]], &[&["y"]], State::Violated),
            (0.0, &[], &[], State::Kept),
        ] {
            let (found, _) = compare(&invariant(tolerance, None), &answer(source), &answer(target));
            assert_eq!(found, state, "{source:?} {target:?}");
        }
        let zero = answer(&[&["0"]]);
        assert_eq!(compare(&invariant(0.0, Some("0")), &zero, &zero).0, State::Kept);
        assert_eq!(compare(&invariant(0.0, Some("1")), &zero, &zero).0, State::Violated);
    }
}
