//! Would two values of a unique column become one under the proposed type?
//!
//! `2024-05-01 10:00:00` and `2024-05-01T10:00:00.000` are two texts and one moment. Where a unique
//! column is written in several ways, its values are brought to one form ([`canonical`]) and
//! compared by hash, in a pass of their own over that column. A hash that meets another by chance
//! withdraws a proposal, which does no harm: the default type holds every value as it is.

use std::collections::HashMap;

use super::profile::{KEYS_KEPT, RowKey};
use crate::value::Storage;

/// Rows compared; about 150 bytes each. Beyond, the answer is [`Collisions::Unknown`].
const ROWS_MAX: usize = 500_000;

/// What was found about a unique column.
#[derive(Clone, Debug, PartialEq)]
pub enum Collisions {
    /// No two values become equal.
    None,
    /// The first pairs of rows that do: the later row and the earlier one.
    Rows(Vec<(RowKey, RowKey)>),
    /// It was not looked at, and why.
    Unknown(&'static str),
}

/// Collects the values of one column.
#[derive(Debug, Default)]
pub struct Collider {
    seen: HashMap<u128, RowKey>,
    pairs: Vec<(RowKey, RowKey)>,
    is_over: bool,
}

impl Collider {
    /// Takes note of a value under the type `pg`.
    pub fn note(&mut self, pg: &str, value: Storage<'_>, key: impl Fn() -> RowKey) {
        let Storage::Text(text) = value else { return };
        let Some(canonical) = std::str::from_utf8(text).ok().and_then(|text| canonical(pg, text))
        else {
            return;
        };
        if ROWS_MAX <= self.seen.len() {
            self.is_over = true;
        } else if let Some(earlier) = self.seen.get(&hash(&canonical)) {
            if self.pairs.len() < KEYS_KEPT {
                self.pairs.push((key(), earlier.clone()));
            }
        } else {
            self.seen.insert(hash(&canonical), key());
        }
    }

    /// What was found.
    pub fn outcome(self) -> Collisions {
        if !self.pairs.is_empty() {
            Collisions::Rows(self.pairs)
        } else if self.is_over {
            Collisions::Unknown("it has too many rows to compare")
        } else {
            Collisions::None
        }
    }
}

fn hash(text: &str) -> u128 {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(text.as_bytes());
    u128::from_be_bytes(digest[..16].try_into().expect("a digest has 32 bytes"))
}

/// One text for all texts that are one value of the type; `None` for what the type refuses.
pub fn canonical(pg: &str, text: &str) -> Option<String> {
    match pg {
        "uuid" => Some(text.to_ascii_lowercase()),
        "boolean" => {
            let word = text.to_ascii_lowercase();
            let is_true = matches!(word.as_str(), "true" | "t" | "yes" | "y" | "on" | "1");
            Some(is_true.to_string())
        }
        // Objects come out with their keys in order and without repetitions.
        "jsonb" => {
            serde_json::from_str::<serde_json::Value>(text).ok().map(|value| value.to_string())
        }
        "timestamp" | "timestamptz" | "time" => moment(text),
        _ => None,
    }
}

/// Microseconds on the clock that the zone, if any, is set back from.
fn moment(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        std::str::from_utf8(bytes.get(from..to)?).ok()?.parse().ok()
    };
    let has_date = bytes.get(4) == Some(&b'-');
    let (days, clock) = if has_date {
        (days_from_civil(number(0, 4)?, number(5, 7)?, number(8, 10)?), 11)
    } else {
        (0, 0)
    };
    let minutes = number(clock, clock + 2)? * 60 + number(clock + 3, clock + 5)?;
    let (mut micros, mut at) = (minutes * 60_000_000, clock + 5);
    if bytes.get(at) == Some(&b':') {
        micros += number(at + 1, at + 3)? * 1_000_000;
        at += 3;
    }
    if bytes.get(at) == Some(&b'.') {
        let digits: Vec<u8> =
            bytes[at + 1..].iter().copied().take_while(u8::is_ascii_digit).collect();
        let mut fraction = 0;
        for place in 0..6 {
            let digit = digits.get(place).map_or(0, |digit| i64::from(digit - b'0'));
            fraction = fraction * 10 + digit;
        }
        // PostgreSQL rounds what it cannot keep.
        micros += fraction + i64::from(digits.get(6).is_some_and(|digit| b'5' <= *digit));
        at += 1 + digits.len();
    }
    let zone = text.get(at..)?;
    let offset = match zone.as_bytes() {
        [b'+' | b'-', _, _, rest @ ..] => {
            let hours: i64 = zone[1..3].parse().ok()?;
            let rest = rest.strip_prefix(b":").unwrap_or(rest);
            let minutes: i64 = match rest {
                [] => 0,
                digits => std::str::from_utf8(digits).ok()?.parse().ok()?,
            };
            (hours * 60 + minutes) * if zone.starts_with('-') { -1 } else { 1 }
        }
        _ => 0,
    };
    Some((days * 86_400_000_000 + micros - offset * 60_000_000).to_string())
}

/// Days since 1970-01-01 in the Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Counted from March, so that the leap day is a year's last.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_one_value_have_one_form() {
        for (pg, one, other, is_same) in [
            ("timestamp", "2024-05-01 10:00:00", "2024-05-01T10:00", true),
            ("timestamp", "2024-05-01 10:00:00", "2024-05-01 10:00:00.000001", false),
            ("timestamptz", "2024-05-01T10:00:00Z", "2024-05-01 12:00:00+02:00", true),
            ("timestamptz", "2024-05-01T10:00:00Z", "2024-04-30 22:30:00-1130", true),
            ("timestamptz", "2024-03-01T00:00:00Z", "2024-02-29 23:00:00-01", true),
            ("timestamptz", "2024-05-01T10:00:00Z", "2024-05-01T10:00:00+01", false),
            ("timestamp", "1969-12-31 23:59:59", "1970-01-01 00:00:00", false),
            ("timestamp", "2024-05-01 10:00:00.9999995", "2024-05-01 10:00:01", true),
            ("time", "10:00", "10:00:00.0", true),
            ("uuid", "AB", "ab", true),
            ("boolean", "Yes", "t", true),
            ("jsonb", "{\"b\": 1, \"a\": 2}", "{\"a\":2,\"b\":1}", true),
            ("jsonb", "[1, 2]", "[2, 1]", false),
        ] {
            let (left, right) = (canonical(pg, one), canonical(pg, other));
            assert!(left.is_some() && right.is_some(), "{one} {other}");
            assert_eq!(left == right, is_same, "{pg} {one} {other}: {left:?} {right:?}");
        }
        assert_eq!(days_from_civil(1970, 1, 1), 0);
        assert_eq!(days_from_civil(2000, 2, 29), 11_016);
    }
}
