//! How a source column writes its values: SQLite has no dates, booleans or UUIDs, so each
//! application chose a form of its own, and the way back must restore it.
//!
//! A column has one form. The forms are those that SQLite's own functions
//! (<https://www.sqlite.org/lang_datefunc.html>) and the common drivers and ORMs write.

use super::kind::Kind;
use super::moment::{Clock, Moments};
use crate::table::Affinity;

/// The form of a column.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// A number.
    Number(Digits),
    /// Text as it is.
    Text,
    /// Text beside numbers, in a column whose affinity turns numeric text into numbers
    /// (<https://www.sqlite.org/datatype3.html#type_affinity>).
    TextOrNumber(Digits),
    /// Text filled up with spaces to the type's length.
    Padded,
    /// Bytes as they are.
    Blob,
    /// A boolean as a word.
    Words(Words),
    /// A date or a moment.
    Moment(Moments),
    /// A time of day, `12:30:00`.
    Clock(Clock),
    /// A length of time, or a time of day, counted in a unit.
    Elapsed {
        /// What is counted.
        unit: Unit,
        /// How the count is written.
        digits: Digits,
    },
    /// A length of time as a moment after 1970-01-01 00:00:00.
    SinceEpoch(Clock),
    /// A time of day behind the date 2000-01-01, as Rails writes it.
    On2000(Clock),
    /// A UUID.
    Uuid(UuidForm),
    /// A hardware address.
    Mac {
        /// Between the bytes.
        dashes: bool,
        /// `AA` rather than `aa`.
        upper: bool,
    },
    /// JSON.
    Json {
        /// Numbers are stored as numbers: a column declared JSON has NUMERIC affinity.
        numbers: bool,
        /// Strings stand without their quotes.
        bare_strings: bool,
    },
    /// Any storage class, told apart by JSON: what create mode makes of a column that mixes them.
    Tagged,
    /// An array, as JSON.
    Array {
        /// The form of an element.
        element: Box<Form>,
        /// `[1, 2]` rather than `[1,2]`.
        spaced: bool,
        /// Characters beyond ASCII are escaped.
        ascii: bool,
    },
}

/// How a number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Digits {
    /// Always an integer.
    Integer,
    /// Always a real.
    Real,
    /// An integer where there is no fraction, else a real: what NUMERIC affinity makes.
    Mixed,
    /// Decimal text.
    Text,
    /// Decimal text without zeros at the end of the fraction.
    Trimmed,
}

/// What a count counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// 24 hours.
    Days,
    /// Seconds.
    Seconds,
    /// Thousandths.
    Millis,
    /// Millionths.
    Micros,
    /// Billionths; only those that are whole millionths fit.
    Nanos,
}

/// The two words of a boolean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct Words {
    /// Which pair.
    pub pair: Pair,
    /// How they are written.
    pub case: Case,
}

/// A pair of words for true and false, all of which PostgreSQL reads too
/// (<https://www.postgresql.org/docs/current/datatype-boolean.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pair {
    /// t, f
    TF,
    /// true, false
    TrueFalse,
    /// y, n
    YN,
    /// yes, no
    YesNo,
    /// on, off
    OnOff,
    /// 1, 0 as text
    OneZero,
}

/// Capitals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Case {
    /// true
    Lower,
    /// TRUE
    Upper,
    /// True
    Title,
}

/// How a UUID is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UuidForm {
    /// 16 bytes.
    Blob,
    /// 36 characters.
    Hyphens {
        /// `AA` rather than `aa`.
        upper: bool,
    },
    /// 32 characters.
    Hex {
        /// `AA` rather than `aa`.
        upper: bool,
    },
    /// 38 characters: 36 in braces.
    Braces {
        /// `AA` rather than `aa`.
        upper: bool,
    },
}

impl Words {
    /// All forms of boolean words.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        use Pair::{OnOff, OneZero, TF, TrueFalse, YN, YesNo};
        let cased = [TF, TrueFalse, YN, YesNo, OnOff].into_iter().flat_map(|pair| {
            [Case::Lower, Case::Upper, Case::Title].map(|case| Self { pair, case })
        });
        // A single letter has no third case.
        cased
            .filter(|words| !(matches!(words.pair, TF | YN) && words.case == Case::Title))
            .chain([Self { pair: OneZero, case: Case::Lower }])
    }

    /// The word for a value.
    pub(super) fn word(self, value: bool) -> String {
        let (yes, no) = match self.pair {
            Pair::TF => ("t", "f"),
            Pair::TrueFalse => ("true", "false"),
            Pair::YN => ("y", "n"),
            Pair::YesNo => ("yes", "no"),
            Pair::OnOff => ("on", "off"),
            Pair::OneZero => ("1", "0"),
        };
        let word = if value { yes } else { no };
        match self.case {
            Case::Lower => word.to_owned(),
            Case::Upper => word.to_ascii_uppercase(),
            Case::Title => format!("{}{}", word[..1].to_ascii_uppercase(), &word[1..]),
        }
    }

    /// The value of a word.
    pub(super) fn value(self, word: &[u8]) -> Option<bool> {
        [true, false].into_iter().find(|value| self.word(*value).as_bytes() == word)
    }
}

impl Unit {
    /// How many microseconds one is; `None` for less than one.
    pub(super) fn micros(self) -> Option<i64> {
        match self {
            Self::Days => Some(86_400_000_000),
            Self::Seconds => Some(1_000_000),
            Self::Millis => Some(1_000),
            Self::Micros => Some(1),
            Self::Nanos => None,
        }
    }
}

impl Form {
    /// The form a column of this affinity has where the type's own values are stored as they
    /// are; what there is to begin with before any value has been seen.
    pub fn natural(kind: &Kind, affinity: Affinity) -> Self {
        let number = match affinity {
            Affinity::Real => Digits::Real,
            Affinity::Text => Digits::Text,
            Affinity::Integer | Affinity::Numeric | Affinity::Blob => Digits::Mixed,
        };
        match kind {
            Kind::SmallInt | Kind::Integer | Kind::BigInt => match affinity {
                Affinity::Real | Affinity::Text => Self::Number(number),
                _ => Self::Number(Digits::Integer),
            },
            Kind::Real | Kind::Double if affinity == Affinity::Blob => Self::Number(Digits::Real),
            Kind::Real | Kind::Double | Kind::Numeric(_) => Self::Number(number),
            Kind::Boolean => Self::Number(Digits::Integer),
            Kind::Text | Kind::Varchar(_) | Kind::Char(_) | Kind::Citext | Kind::Other => {
                match affinity {
                    Affinity::Integer | Affinity::Numeric => Self::TextOrNumber(Digits::Mixed),
                    Affinity::Real => Self::TextOrNumber(Digits::Real),
                    Affinity::Text | Affinity::Blob => Self::Text,
                }
            }
            Kind::Enum(_) | Kind::Inet | Kind::Cidr => Self::Text,
            Kind::Bytea => Self::Blob,
            Kind::Date => Self::Moment(Moments::ISO_DATE),
            Kind::Time(_) => Self::Clock(Clock::PLAIN),
            Kind::Timestamp(_) | Kind::Timestamptz(_) => Self::Moment(Moments::SQLITE),
            Kind::Interval(_) => Self::Elapsed { unit: Unit::Micros, digits: Digits::Integer },
            Kind::Uuid => Self::Uuid(UuidForm::Hyphens { upper: false }),
            Kind::Json | Kind::Jsonb => {
                let numbers = matches!(affinity, Affinity::Integer | Affinity::Numeric);
                Self::Json { numbers, bare_strings: false }
            }
            Kind::Macaddr | Kind::Macaddr8 => Self::Mac { dashes: false, upper: false },
            Kind::Domain(base) => Self::natural(&base.kind, affinity),
            Kind::Array(element) => Self::Array {
                element: Box::new(Self::of_element(&element.kind)),
                spaced: false,
                ascii: false,
            },
        }
    }

    /// The form of an element of a JSON array.
    fn of_element(kind: &Kind) -> Self {
        match kind.base() {
            Kind::Boolean => Self::Words(Words { pair: Pair::TrueFalse, case: Case::Lower }),
            Kind::Real | Kind::Double => Self::Number(Digits::Mixed),
            Kind::Numeric(_) => Self::Number(Digits::Text),
            kind => Self::natural(kind, Affinity::Blob),
        }
    }
}

impl Kind {
    /// Below all domains.
    pub(super) fn base(&self) -> &Self {
        match self {
            Self::Domain(base) => base.kind.base(),
            kind => kind,
        }
    }
}
