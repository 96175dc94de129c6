//! Which PostgreSQL type a column gets in create mode.
//!
//! The narrowest type that holds, exactly, everything seen; with nothing seen, what the declared
//! type promises. Nothing is narrowed by guess: dates stay the text they are, 0/1 stay integers
//! (docs/decisions/0003-types-in-create-mode.md).

use super::{Misfit, PgType, Storage};
use crate::table::Affinity;

/// The storage classes met in one column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    integer: bool,
    real: bool,
    text: bool,
    blob: bool,
}

impl Seen {
    /// Takes note of a value.
    pub fn note(&mut self, value: Storage<'_>) {
        match value {
            Storage::Null => {}
            Storage::Integer(_) => self.integer = true,
            Storage::Real(_) => self.real = true,
            Storage::Text(_) => self.text = true,
            Storage::Blob(_) => self.blob = true,
        }
    }

    /// The column's type.
    ///
    /// Where an untyped column mixes classes, `jsonb` tells them apart. Where blobs stand beside
    /// other classes in a column that was declared otherwise, the others win: the blobs are misfits
    /// that the copy reports, and the rest keeps a type that queries can use.
    pub fn choose(self, declared: &str, affinity: Affinity) -> PgType {
        if !(self.integer || self.real || self.text) {
            return if self.blob { PgType::Bytea } else { promised(declared, affinity) };
        }
        match affinity {
            Affinity::Text => PgType::Text,
            Affinity::Real if self.text => PgType::Text,
            Affinity::Real => PgType::Float8,
            Affinity::Integer | Affinity::Numeric => self.number_or_text(declared, affinity),
            Affinity::Blob => self.untyped(),
        }
    }

    fn number_or_text(self, declared: &str, affinity: Affinity) -> PgType {
        let promised = promised(declared, affinity);
        if self.text {
            PgType::Text
        } else if self.real || promised == PgType::Numeric {
            PgType::Numeric
        } else {
            PgType::Int8
        }
    }

    fn untyped(self) -> PgType {
        match (self.integer, self.real, self.text, self.blob) {
            (true, false, false, false) => PgType::Int8,
            (false, true, false, false) => PgType::Float8,
            (true, true, false, false) => PgType::Numeric,
            (false, false, true, false) => PgType::Text,
            _ => PgType::Jsonb,
        }
    }

    /// The type to go to when `misfit` turned up after the choice was made; `None` where none
    /// would hold the value either.
    pub fn widened(
        mut self,
        value: Storage<'_>,
        current: PgType,
        declared: &str,
        affinity: Affinity,
    ) -> Option<PgType> {
        self.note(value);
        match current {
            PgType::Int8 => self.integer = true,
            PgType::Float8 => self.real = true,
            PgType::Numeric => (self.integer, self.real) = (true, true),
            PgType::Text => self.text = true,
            PgType::Bytea => self.blob = true,
            // It holds every class: what it refuses is too large, or no text of PostgreSQL's.
            PgType::Jsonb => return None,
        }
        let holds = |wider: PgType| {
            let encoded: Result<(), Misfit> = wider.encode(affinity, value, &mut Vec::new());
            wider != current && encoded.is_ok()
        };
        let wider = Some(self.choose(declared, affinity)).filter(|wider| holds(*wider));
        let mixed = (affinity == Affinity::Blob).then_some(PgType::Jsonb);
        wider.or(mixed.filter(|mixed| holds(*mixed)))
    }
}

/// What a declared type says about a column that holds nothing yet.
fn promised(declared: &str, affinity: Affinity) -> PgType {
    let upper = declared.to_ascii_uppercase();
    let has = |words: &[&str]| words.iter().any(|word| upper.contains(word));
    match affinity {
        Affinity::Integer => PgType::Int8,
        Affinity::Real => PgType::Float8,
        Affinity::Text => PgType::Text,
        Affinity::Blob if upper.is_empty() || upper == "ANY" => PgType::Text,
        Affinity::Blob => PgType::Bytea,
        Affinity::Numeric if has(&["BOOL", "BIT"]) => PgType::Int8,
        Affinity::Numeric if has(&["NUM", "DEC", "MONEY", "CURRENCY"]) => PgType::Numeric,
        // Dates, JSON, UUID, "STRING": text holds whatever such a column keeps but blobs.
        Affinity::Numeric => PgType::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(declared: &str, values: &[Storage<'_>]) -> PgType {
        let mut seen = Seen::default();
        values.iter().for_each(|value| seen.note(*value));
        seen.choose(declared, Affinity::of(declared))
    }

    #[test]
    fn an_empty_column_gets_what_it_was_declared() {
        for (declared, pg) in [
            ("INTEGER", PgType::Int8),
            ("VARCHAR(20)", PgType::Text),
            ("REAL", PgType::Float8),
            ("BLOB", PgType::Bytea),
            ("BOOLEAN", PgType::Int8),
            ("DECIMAL(10,2)", PgType::Numeric),
            ("TIMESTAMP", PgType::Text),
            ("JSON", PgType::Text),
            ("", PgType::Text),
        ] {
            assert_eq!(chosen(declared, &[]), pg, "{declared}");
        }
    }

    #[test]
    fn every_value_seen_fits_the_type_chosen() {
        let integer = Storage::Integer(7);
        let real = Storage::Real(1.5);
        let text = Storage::Text(b"abc");
        let blob = Storage::Blob(b"\x00");
        for declared in ["INTEGER", "REAL", "TEXT", "BLOB", "", "TIMESTAMP", "DECIMAL", "BOOL"] {
            for mask in 0..16_u8 {
                let values: Vec<_> = [integer, real, text, blob]
                    .into_iter()
                    .enumerate()
                    .filter(|(bit, _)| mask & (1 << bit) != 0)
                    .map(|(_, value)| value)
                    .collect();
                let affinity = Affinity::of(declared);
                let cannot_occur = |value: &Storage<'_>| {
                    matches!(
                        (affinity, value),
                        (Affinity::Text, Storage::Integer(_) | Storage::Real(_))
                            | (Affinity::Real, Storage::Integer(_))
                    )
                };
                let mixes_blob = values.contains(&blob) && 1 < values.len();
                if mixes_blob && affinity != Affinity::Blob || values.iter().any(cannot_occur) {
                    continue;
                }
                let pg = chosen(declared, &values);
                for value in values {
                    let fits = pg.encode(affinity, value, &mut Vec::new());
                    assert_eq!(fits, Ok(()), "{declared:?} {value:?} in {pg:?}");
                }
            }
        }
    }

    #[test]
    fn a_late_misfit_widens_the_type_only_if_that_helps() {
        let none = Seen::default();
        let widened =
            |value, pg, declared: &str| none.widened(value, pg, declared, Affinity::of(declared));
        assert_eq!(widened(Storage::Real(0.5), PgType::Int8, "INTEGER"), Some(PgType::Numeric));
        assert_eq!(widened(Storage::Text(b"x"), PgType::Int8, "INTEGER"), Some(PgType::Text));
        assert_eq!(widened(Storage::Blob(b"x"), PgType::Int8, "INTEGER"), None);
        assert_eq!(widened(Storage::Blob(b"x"), PgType::Text, ""), Some(PgType::Jsonb));
        assert_eq!(widened(Storage::Real(5.0), PgType::Numeric, ""), Some(PgType::Jsonb));
        assert_eq!(widened(Storage::Text(b"a\0"), PgType::Jsonb, ""), None);
        // What jsonb does not hold is too large for it; the classes that it holds would be lost.
        assert_eq!(widened(Storage::Blob(b"x"), PgType::Jsonb, ""), None);
        assert_eq!(widened(Storage::Text(b"a\0"), PgType::Text, "TEXT"), None);
    }
}
