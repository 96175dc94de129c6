//! Hold the rows that a query gives on SQLite against those that it gives on PostgreSQL.
//!
//! PostgreSQL's column says what a cell means: in a column of numbers both cells are numbers,
//! whatever their digits, and `007` in a column of text is not `7`. Decimals are compared digit by
//! digit, and as doubles only where SQLite holds one, or a tolerance is asked for. Rows in any
//! order are compared in an order of their own. Pure; begin with [`difference`].

use std::cmp::Ordering;

use crate::target::parity::{Column, Kind};
use crate::value::{Answer, Owned};

/// In which order rows are held against each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// As the sets that they are; a row that comes twice must come twice.
    #[default]
    Any,
    /// As they came.
    Same,
}

/// Where two results part.
#[derive(Debug, PartialEq)]
pub(super) struct Parting {
    /// In words that hold no value.
    pub what: String,
    /// The row of SQLite's result, if one is concerned.
    pub source: Option<usize>,
    /// The row of PostgreSQL's.
    pub target: Option<usize>,
}

/// The first difference, if there is any.
pub(super) fn difference(
    columns: &[Column],
    order: Order,
    tolerance: f64,
    source: &[Vec<Owned>],
    target: &Answer,
) -> Option<Parting> {
    if let Some(row) = source.first().filter(|row| row.len() != columns.len()) {
        let what = format!("SQLite gives {} columns, PostgreSQL {}", row.len(), columns.len());
        return Some(Parting { what, source: Some(0), target: (!target.is_empty()).then_some(0) });
    }
    let kinds = || columns.iter().map(|column| column.kind);
    let here = source.iter().map(|row| row.iter().zip(kinds()).map(Cell::of_source).collect());
    let there = target.iter().map(|row| row.iter().zip(kinds()).map(Cell::of_target).collect());
    let (mut here, mut there) = (numbered(here), numbered(there));
    if order == Order::Any {
        // Cells that may differ a little decide last, so that near rows stand beside each other.
        let (exact, near): (Vec<_>, Vec<_>) =
            (0..columns.len()).partition(|at| columns[*at].kind != Kind::Number);
        let by: Vec<usize> = exact.into_iter().chain(near).collect();
        here.sort_by(|(_, one), (_, other)| compare(&by, one, other));
        there.sort_by(|(_, one), (_, other)| compare(&by, one, other));
    }
    let is_same = |one: &Row, other: &Row| {
        one.iter().zip(other).all(|(one, other)| one.is_near(other, tolerance))
    };
    let rows = here.len().max(there.len());
    let parted = (0..rows).find(|at| match (here.get(*at), there.get(*at)) {
        (Some((_, one)), Some((_, other))) => !is_same(one, other),
        _ => true,
    })?;
    let (one, other) = (here.get(parted), there.get(parted));
    let what = match (one, other) {
        _ if here.len() != there.len() => {
            format!("SQLite gives {} rows, PostgreSQL {}", here.len(), there.len())
        }
        (Some((_, one)), Some((_, other))) => {
            let names = (0..columns.len()).filter(|at| !one[*at].is_near(&other[*at], tolerance));
            let names: Vec<&str> = names.map(|at| columns[at].name.as_str()).collect();
            match order {
                Order::Same => format!("row {} differs in {}", parted + 1, names.join(", ")),
                Order::Any => format!("a row differs in {}", names.join(", ")),
            }
        }
        _ => unreachable!("of as many rows both have this one"),
    };
    let (source, target) = (one.map(|(at, _)| *at), other.map(|(at, _)| *at));
    Some(Parting { what, source, target })
}

type Row = Vec<Cell>;

fn numbered(rows: impl Iterator<Item = Row>) -> Vec<(usize, Row)> {
    rows.enumerate().collect()
}

fn compare(by: &[usize], one: &Row, other: &Row) -> Ordering {
    let orders = by.iter().map(|at| one[*at].cmp(&other[*at]));
    orders.fold(Ordering::Equal, Ordering::then)
}

/// A cell in the terms of its column.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cell {
    Null,
    /// And whether SQLite holds it as a double, which is no more exact than that.
    Number(Decimal, bool),
    /// Nanoseconds since 1970 UTC; what names no zone is read as UTC.
    Moment(i128),
    Text(Vec<u8>),
}

impl Cell {
    fn of_source((value, kind): (&Owned, Kind)) -> Self {
        match (value, kind) {
            (Owned::Null, _) => Self::Null,
            (Owned::Text(text), kind) => Self::read(text, kind),
            // A whole real in a column of text keeps its point, as SQLite writes it.
            (Owned::Real(real), Kind::Text) if real.is_finite() => {
                Self::Text(format!("{real:?}").into_bytes())
            }
            (Owned::Real(_), Kind::Integer | Kind::Number) => {
                match Self::read(value.shown().as_bytes(), kind) {
                    Self::Number(decimal, _) => Self::Number(decimal, true),
                    other => other,
                }
            }
            (Owned::Blob(_), _) => Self::Text(value.shown().into_bytes()),
            (_, kind) => Self::read(value.shown().as_bytes(), kind),
        }
    }

    fn of_target((cell, kind): (&Option<String>, Kind)) -> Self {
        cell.as_ref().map_or(Self::Null, |text| Self::read(text.as_bytes(), kind))
    }

    fn read(text: &[u8], kind: Kind) -> Self {
        let as_text = || Self::Text(text.to_vec());
        let Ok(words) = str::from_utf8(text) else { return as_text() };
        match kind {
            Kind::Integer | Kind::Number => {
                Decimal::read(words).map_or_else(as_text, |decimal| Self::Number(decimal, false))
            }
            Kind::Moment => moment(words).map_or_else(as_text, Self::Moment),
            Kind::Uuid => Self::Text(words.to_ascii_lowercase().into_bytes()),
            Kind::Text => as_text(),
        }
    }

    /// The same, or numbers that are no further apart than that.
    fn is_near(&self, other: &Self, tolerance: f64) -> bool {
        match (self, other) {
            (Self::Number(one, is_double), Self::Number(other, _)) => {
                let (about_one, about_other) = (one.about(), other.about());
                one == other
                    || *is_double && about_one == about_other
                    || 0.0 < tolerance && (about_one - about_other).abs() <= tolerance
            }
            _ => self == other,
        }
    }
}

fn moment(text: &str) -> Option<i128> {
    let with_zone = text.parse::<jiff::Timestamp>().ok();
    let without = || text.parse::<jiff::civil::DateTime>().ok()?.in_tz("UTC").ok();
    let moment = with_zone.or_else(|| without().map(|zoned| zoned.timestamp()))?;
    Some(moment.as_nanosecond())
}

/// A number as its digits: exact, however long.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Decimal {
    is_negative: bool,
    /// Of the first digit, as a power of ten.
    weight: i64,
    /// From the first to the last that is not zero; none for zero.
    digits: String,
}

impl Decimal {
    /// Reads `-12.50` and `1.5e-7`.
    fn read(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let unsigned = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let all = [whole, fraction].concat();
        if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let significant = all.trim_start_matches('0');
        let leading = i64::try_from(all.len() - significant.len()).ok()?;
        let digits = significant.trim_end_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Self { is_negative: false, weight: 0, digits });
        }
        let weight = i64::try_from(whole.len()).ok()? - leading - 1 + i64::from(exponent);
        Some(Self { is_negative: mantissa.starts_with('-'), weight, digits })
    }

    fn about(&self) -> f64 {
        let sign = if self.is_negative { "-" } else { "" };
        let (first, rest) = self.digits.split_at(self.digits.len().min(1));
        let text =
            format!("{sign}{}.{rest}e{}", if first.is_empty() { "0" } else { first }, self.weight);
        text.parse().expect("digits are a number")
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |one: &Self| match (one.digits.is_empty(), one.is_negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let size = (self.weight, &self.digits).cmp(&(other.weight, &other.digits));
        let size = if self.is_negative { size.reverse() } else { size };
        sign(self).cmp(&sign(other)).then(size)
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Owned {
        Owned::Text(text.into())
    }

    #[test]
    fn a_cell_means_what_its_column_on_postgresql_says() {
        use Kind::{Integer, Moment, Number, Text, Uuid};
        use Owned::{Blob, Integer as Int, Real};
        for (kind, source, target, is_same) in [
            (Number, Real(12.5), "12.5000", true),
            (Number, Int(3), "3.00", true),
            (Number, text("1.50"), "1.5", true),
            (Number, Real(1e300), "1e+300", true),
            (Number, Real(f64::INFINITY), "Infinity", true),
            (Number, Real(-0.0), "0", true),
            (Number, Real(7.0 / 3.0), "2.3333333333333333", true),
            (Number, Real(0.1), "0.1000000000000001", false),
            (Number, Int(9_007_199_254_740_993), "9007199254740992", false),
            (Number, text("0.10000000000000000001"), "0.1", false),
            (Number, text("x"), "0", false),
            (Integer, Int(1), "1", true),
            (Integer, Int(-1), "1", false),
            (Text, text("007"), "7", false),
            (Text, text("1.0"), "1.00", false),
            (Text, Int(7), "7", true),
            (Text, Real(1.0), "1.0", true),
            (Text, Blob(vec![0, 255]), "\\x00ff", true),
            (Uuid, text("AB"), "ab", true),
            (Moment, text("2024-02-29T10:11:12Z"), "2024-02-29 10:11:12+00", true),
            (Moment, text("2024-02-29 12:11:12+02:00"), "2024-02-29 10:11:12+00", true),
            (Moment, text("2024-02-29 10:11:12.500"), "2024-02-29 10:11:12.5", true),
            (Moment, text("2024-02-29 10:11:13"), "2024-02-29 10:11:12", false),
            (Moment, text("2024-02-29"), "2024-02-29 00:00:00", true),
            (Moment, text("infinity"), "infinity", true),
            (Moment, Int(0), "1970-01-01 00:00:00", false),
        ] {
            let one = Cell::of_source((&source, kind));
            let other = Cell::of_target((&Some(target.to_owned()), kind));
            let found = one.is_near(&other, 0.0);
            assert_eq!(found, is_same, "{kind:?} {source:?} {target}: {one:?} {other:?}");
        }
    }

    #[test]
    fn decimals_sort_by_what_they_are_worth() {
        let sorted = ["-1e3", "-12.5", "-12", "-0.5", "0", "0.05", "0.5", "1", "9", "10", "1e2"];
        let decimals = sorted.map(|text| Decimal::read(text).expect("a number"));
        assert!(decimals.is_sorted(), "{decimals:?}");
        let worth: Vec<f64> = decimals.iter().map(Decimal::about).collect();
        assert_eq!(worth, sorted.map(|text| text.parse::<f64>().expect("a number")));
        for none in ["", ".", "-", "1.2.3", "1e", "e5", "0x1", " 1", "NaN"] {
            assert_eq!(Decimal::read(none), None, "{none:?}");
        }
    }

    #[test]
    fn near_rows_stand_beside_each_other_whatever_their_order() {
        let column = |name: &str, kind| Column { name: name.to_owned(), kind };
        let columns = [column("sum", Kind::Number), column("who", Kind::Text)];
        let source: Vec<Vec<Owned>> = [(1.001, "b"), (1.0, "a"), (1.0, "a")]
            .map(|(sum, who)| vec![Owned::Real(sum), text(who)])
            .into();
        let target: Answer = [("1.002", "a"), ("1.0", "b"), ("1.0", "a")]
            .map(|(sum, who)| vec![Some(sum.to_owned()), Some(who.to_owned())])
            .into();
        let parted = |order, tolerance, source: &[Vec<Owned>]| {
            difference(&columns, order, tolerance, source, &target).map(|parting| parting.what)
        };
        assert_eq!(parted(Order::Any, 0.01, &source), None);
        assert_eq!(parted(Order::Any, 0.0, &source).as_deref(), Some("a row differs in sum"));
        assert_eq!(parted(Order::Same, 0.01, &source).as_deref(), Some("row 1 differs in who"),);
        assert_eq!(
            parted(Order::Any, 0.01, &source[1..]).as_deref(),
            Some("SQLite gives 2 rows, PostgreSQL 3")
        );
    }
}
