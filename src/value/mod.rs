//! One SQLite value and one PostgreSQL value: the whole type mapping and its inverse.
//!
//! A [`Storage`] is what SQLite handed over; [`PgType::encode`] writes PostgreSQL's own binary
//! field (length and bytes), the one image that COPY, replay and the checksum all use;
//! [`PgType::decode`] is the inverse. A value that the type cannot hold *exactly* is a
//! [`Misfit`], never an approximation: decode(encode(v)) has v's storage class and v's bytes.
//!
//! Which type a column gets is decided in [`choose`](Seen::choose), by the declared type and the
//! values seen (docs/decisions/0003-types-in-create-mode.md).
//!
//! No I/O, no clock.

mod choose;
pub mod codec;
mod column;
mod jsonb;
mod numeric;

pub use choose::Seen;
pub use column::ColumnType;

use crate::table::Affinity;

/// A value as SQLite stores it. Text and blobs are bytes: SQLite promises no valid UTF-8.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Storage<'a> {
    /// NULL.
    Null,
    /// A 64-bit integer.
    Integer(i64),
    /// An IEEE double; never NaN, which SQLite stores as NULL.
    Real(f64),
    /// Text in UTF-8, as far as the application kept to it.
    Text(&'a [u8]),
    /// Bytes.
    Blob(&'a [u8]),
}

impl Storage<'_> {
    /// What SQLite's `typeof()` says.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Integer(_) => "integer",
            Self::Real(_) => "real",
            Self::Text(_) => "text",
            Self::Blob(_) => "blob",
        }
    }
}

/// A PostgreSQL column type that values are encoded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PgType {
    /// `bigint`: integers.
    Int8,
    /// `double precision`: reals, bit for bit.
    Float8,
    /// `numeric` without a limit: integers and finite reals side by side, in decimal.
    Numeric,
    /// `text`: text; in a column whose affinity turns numeric text into numbers, numbers too.
    Text,
    /// `bytea`: blobs.
    Bytea,
    /// `jsonb`: values of several storage classes side by side, each told apart.
    Jsonb,
}

/// Why a value cannot be held exactly. Names the reason, never the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// The storage class has no place in the type.
    #[error("{class} does not fit {pg}")]
    Class {
        /// The value's storage class.
        class: &'static str,
        /// The target type.
        pg: &'static str,
    },
    /// PostgreSQL's text cannot hold U+0000.
    #[error("text holds a NUL character")]
    Nul,
    /// PostgreSQL's text must be valid UTF-8.
    #[error("text is not valid UTF-8")]
    InvalidUtf8,
    /// A real that could not be told from an integer or a text on the way back.
    #[error("real cannot be told apart from another value in {pg}")]
    Ambiguous {
        /// The target type.
        pg: &'static str,
    },
    /// PostgreSQL fields end at one gigabyte.
    #[error("value is larger than PostgreSQL's limit of 1 GB")]
    TooLarge,
    /// With the columns before it, the row is more than one message to the server can hold.
    #[error("row is larger than PostgreSQL's limit of 1 GB")]
    RowTooLarge,
    /// The type would hold the value, but not the form it is written in.
    #[error("value is not written in the form of its column")]
    Form,
    /// The value is none of the type's.
    #[error("{class} is no {pg}")]
    Malformed {
        /// The value's storage class.
        class: &'static str,
        /// The target type.
        pg: &'static str,
    },
    /// Beyond the type's limits.
    #[error("value is out of range for {pg}")]
    OutOfRange {
        /// The target type.
        pg: &'static str,
    },
    /// The type keeps fewer digits.
    #[error("{pg} does not keep all digits of the value")]
    Inexact {
        /// The target type.
        pg: &'static str,
    },
    /// More characters than declared.
    #[error("text is longer than {limit} characters")]
    TooLong {
        /// How many the type takes.
        limit: u32,
    },
    /// `char(n)` does not tell spaces at the end from none.
    #[error("text ends in spaces that character(n) does not keep")]
    TrailingSpaces,
    /// No such label.
    #[error("text is no label of the enum")]
    Label,
    /// PostgreSQL turns the second 60 into the next minute.
    #[error("time has a second 60")]
    LeapSecond,
    /// The column's times name no zone, and neither does the configuration.
    #[error("time names no zone")]
    NoZone,
}

/// Largest field PostgreSQL takes; one message must stay below 1 GiB with its neighbours
/// (<https://www.postgresql.org/docs/current/limits.html>).
const FIELD_BYTES_MAX: usize = 1_000_000_000;

impl PgType {
    /// The type's name in DDL.
    pub fn sql(self) -> &'static str {
        match self {
            Self::Int8 => "bigint",
            Self::Float8 => "double precision",
            Self::Numeric => "numeric",
            Self::Text => "text",
            Self::Bytea => "bytea",
            Self::Jsonb => "jsonb",
        }
    }

    /// The type's object id, fixed by PostgreSQL's bootstrap catalog.
    pub fn oid(self) -> u32 {
        match self {
            Self::Int8 => 20,
            Self::Float8 => 701,
            Self::Numeric => 1700,
            Self::Text => 25,
            Self::Bytea => 17,
            Self::Jsonb => 3802,
        }
    }

    /// The object id of the type's array.
    pub fn array_oid(self) -> u32 {
        match self {
            Self::Int8 => 1016,
            Self::Float8 => 1022,
            Self::Numeric => 1231,
            Self::Text => 1009,
            Self::Bytea => 1001,
            Self::Jsonb => 3807,
        }
    }

    /// The type with this object id, if values can be encoded for it.
    pub fn from_oid(oid: u32) -> Option<Self> {
        [Self::Int8, Self::Float8, Self::Numeric, Self::Text, Self::Bytea, Self::Jsonb]
            .into_iter()
            .find(|pg| pg.oid() == oid)
    }

    /// Appends `value` as a binary field: a big-endian length (−1 for NULL) and the bytes.
    ///
    /// On a misfit nothing is appended.
    pub fn encode(
        self,
        affinity: Affinity,
        value: Storage<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Misfit> {
        match (self, value) {
            (_, Storage::Null) => out.extend_from_slice(&(-1_i32).to_be_bytes()),
            (Self::Int8, Storage::Integer(integer)) => put(out, &integer.to_be_bytes())?,
            (Self::Float8, Storage::Real(real)) => put(out, &real.to_bits().to_be_bytes())?,
            (Self::Numeric, Storage::Integer(integer)) => {
                numeric::put_decimal(out, &integer.to_string());
            }
            (Self::Numeric, Storage::Real(real)) => {
                if is_like_integer(real) || !real.is_finite() {
                    return Err(Misfit::Ambiguous { pg: self.sql() });
                }
                numeric::put_decimal(out, &real.to_string());
            }
            (Self::Text, Storage::Text(text)) => {
                check_text(affinity, text)?;
                put(out, text)?;
            }
            (Self::Text, Storage::Integer(integer)) if holds_numbers_as_text(affinity) => {
                put(out, integer.to_string().as_bytes())?;
            }
            (Self::Text, Storage::Real(real)) if holds_numbers_as_text(affinity) => {
                put(out, real_as_text(affinity, real)?.as_bytes())?;
            }
            (Self::Bytea, Storage::Blob(bytes)) => put(out, bytes)?,
            (Self::Jsonb, value) => jsonb::put_json(out, value)?,
            (pg, value) => {
                return Err(Misfit::Class { class: value.class(), pg: pg.sql() });
            }
        }
        Ok(())
    }

    /// The inverse of [`encode`](Self::encode): what SQLite held, from the bytes of a binary
    /// field (`None` for NULL). `None` is returned for bytes that no value encodes to.
    pub fn decode(self, affinity: Affinity, field: Option<&[u8]>) -> Option<Owned> {
        let Some(bytes) = field else { return Some(Owned::Null) };
        Some(match self {
            Self::Int8 => Owned::Integer(i64::from_be_bytes(bytes.try_into().ok()?)),
            Self::Float8 => Owned::Real(f64::from_bits(u64::from_be_bytes(bytes.try_into().ok()?))),
            Self::Bytea => Owned::Blob(bytes.to_vec()),
            Self::Jsonb => jsonb::read_json(bytes)?,
            Self::Numeric => number(Affinity::Numeric, &numeric::to_decimal(bytes)?)?,
            Self::Text => {
                let text = std::str::from_utf8(bytes).ok()?;
                if holds_numbers_as_text(affinity)
                    && let Some(number) = number(affinity, text)
                {
                    number
                } else {
                    Owned::Text(bytes.to_vec())
                }
            }
        })
    }
}

/// A [`Storage`] that owns its bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Owned {
    /// NULL.
    Null,
    /// A 64-bit integer.
    Integer(i64),
    /// An IEEE double.
    Real(f64),
    /// Text.
    Text(Vec<u8>),
    /// Bytes.
    Blob(Vec<u8>),
}

impl Owned {
    /// Borrows it.
    pub fn storage(&self) -> Storage<'_> {
        match self {
            Self::Null => Storage::Null,
            Self::Integer(integer) => Storage::Integer(*integer),
            Self::Real(real) => Storage::Real(*real),
            Self::Text(text) => Storage::Text(text),
            Self::Blob(bytes) => Storage::Blob(bytes),
        }
    }

    /// In the words in which PostgreSQL reads and writes such a value.
    pub fn shown(&self) -> String {
        match self {
            Self::Null => "NULL".to_owned(),
            Self::Integer(integer) => integer.to_string(),
            Self::Real(real) if real.is_infinite() => {
                if *real < 0.0 { "-Infinity" } else { "Infinity" }.to_owned()
            }
            Self::Real(real) => real.to_string(),
            Self::Text(text) => String::from_utf8_lossy(text).into_owned(),
            Self::Blob(bytes) => {
                let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("\\x{digits}")
            }
        }
    }
}

/// Rows of values as text, as either side prints them; `None` is NULL.
pub type Answer = Vec<Vec<Option<String>>>;

/// What came of a query of the operator's that has its limits.
#[derive(Clone, Debug, PartialEq)]
pub enum Gathered<T> {
    /// All of it.
    Whole(T),
    /// More than [`ROWS_MAX`] or [`BYTES_MAX`].
    TooLarge,
    /// It was ended after its time.
    TooSlow,
}

/// Rows of one result that are held to compare them. Both sides' are held at once, as they came
/// and as they are compared.
pub const ROWS_MAX: usize = 100_000;

/// The same in bytes of values: with both sides, a few hundred megabytes at the very most.
pub const BYTES_MAX: usize = 64 << 20;

impl From<Storage<'_>> for Owned {
    fn from(value: Storage<'_>) -> Self {
        match value {
            Storage::Null => Self::Null,
            Storage::Integer(integer) => Self::Integer(integer),
            Storage::Real(real) => Self::Real(real),
            Storage::Text(text) => Self::Text(text.to_vec()),
            Storage::Blob(bytes) => Self::Blob(bytes.to_vec()),
        }
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Misfit> {
    if FIELD_BYTES_MAX < bytes.len() {
        return Err(Misfit::TooLarge);
    }
    let length = i32::try_from(bytes.len()).map_err(|_| Misfit::TooLarge)?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// In such a column SQLite turns numeric text into numbers as it stores it, so a number written
/// as text can only mean the number (<https://www.sqlite.org/datatype3.html#type_affinity>).
fn holds_numbers_as_text(affinity: Affinity) -> bool {
    matches!(affinity, Affinity::Integer | Affinity::Numeric | Affinity::Real)
}

/// Whether a real's decimal digits would be read back as a 64-bit integer.
fn is_like_integer(real: f64) -> bool {
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    real.fract() == 0.0 && (-TWO_TO_63..TWO_TO_63).contains(&real)
}

fn real_as_text(affinity: Affinity, real: f64) -> Result<String, Misfit> {
    let ambiguous = Misfit::Ambiguous { pg: PgType::Text.sql() };
    if !real.is_finite() {
        return Err(ambiguous);
    }
    match affinity {
        // Every number in a REAL column is a real, so an integral one is no riddle.
        Affinity::Real => Ok(format!("{real:?}")),
        _ if is_like_integer(real) => Err(ambiguous),
        _ => Ok(real.to_string()),
    }
}

fn check_text(affinity: Affinity, text: &[u8]) -> Result<(), Misfit> {
    let Ok(text) = std::str::from_utf8(text) else {
        return Err(Misfit::InvalidUtf8);
    };
    if text.as_bytes().contains(&0) {
        return Err(Misfit::Nul);
    }
    if holds_numbers_as_text(affinity) && number(affinity, text).is_some() {
        return Err(Misfit::Ambiguous { pg: PgType::Text.sql() });
    }
    Ok(())
}

/// Reads a decimal number as the affinity would.
fn number(affinity: Affinity, text: &str) -> Option<Owned> {
    let digits_only =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
    if text.is_empty() || !text.bytes().all(digits_only) {
        return None;
    }
    if affinity != Affinity::Real
        && let Ok(integer) = text.parse::<i64>()
    {
        return Some(Owned::Integer(integer));
    }
    text.parse::<f64>().ok().filter(|real| real.is_finite()).map(Owned::Real)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(pg: PgType, affinity: Affinity, value: Storage<'_>) -> Result<Owned, Misfit> {
        let mut field = Vec::new();
        pg.encode(affinity, value, &mut field)?;
        let length = i32::from_be_bytes(field[..4].try_into().expect("four bytes of length"));
        let bytes = usize::try_from(length).ok().map(|length| {
            assert_eq!(field.len(), 4 + length);
            &field[4..]
        });
        Ok(pg.decode(affinity, bytes).expect("an encoded value decodes"))
    }

    const TYPES: [PgType; 6] =
        [PgType::Int8, PgType::Float8, PgType::Numeric, PgType::Text, PgType::Bytea, PgType::Jsonb];
    const AFFINITIES: [Affinity; 5] =
        [Affinity::Integer, Affinity::Numeric, Affinity::Real, Affinity::Text, Affinity::Blob];

    /// Same class and same bytes: reals by their bits, so that -0.0 is not 0.0.
    fn same(one: &Owned, other: &Owned) -> bool {
        match (one, other) {
            (Owned::Real(one), Owned::Real(other)) => one.to_bits() == other.to_bits(),
            _ => one == other,
        }
    }

    fn comes_back_or_is_refused(value: Storage<'_>) {
        for pg in TYPES {
            for affinity in AFFINITIES {
                // A REAL column never holds an integer, an INTEGER or NUMERIC one never a real
                // without a fraction: SQLite converts both as it stores them.
                let cannot_occur = match value {
                    Storage::Integer(_) => matches!(affinity, Affinity::Real | Affinity::Text),
                    Storage::Real(real) => match affinity {
                        Affinity::Text => true,
                        Affinity::Integer | Affinity::Numeric => is_like_integer(real),
                        Affinity::Real | Affinity::Blob => false,
                    },
                    _ => false,
                };
                if cannot_occur {
                    continue;
                }
                if let Ok(back) = round_trip(pg, affinity, value) {
                    let sent = Owned::from(value);
                    assert!(same(&back, &sent), "{pg:?} {affinity:?}: {sent:?} became {back:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn integers_come_back_or_are_refused(value: i64) {
            comes_back_or_is_refused(Storage::Integer(value));
        }

        #[test]
        fn reals_come_back_or_are_refused(bits: u64) {
            let real = f64::from_bits(bits);
            if !real.is_nan() {
                comes_back_or_is_refused(Storage::Real(real));
            }
        }

        #[test]
        fn texts_come_back_or_are_refused(text in "[-+.eE0-9 a-c\\u{0}é🚀]{0,8}") {
            comes_back_or_is_refused(Storage::Text(text.as_bytes()));
        }

        #[test]
        fn bytes_come_back_or_are_refused(bytes: Vec<u8>) {
            comes_back_or_is_refused(Storage::Text(&bytes));
            comes_back_or_is_refused(Storage::Blob(&bytes));
        }
    }

    #[test]
    fn boundaries_come_back_or_are_refused() {
        for integer in [0, 1, -1, i64::MAX, i64::MIN, 10_000, 9_999, 100_000_000, -10_000] {
            comes_back_or_is_refused(Storage::Integer(integer));
        }
        for real in [
            0.0,
            -0.0,
            0.1,
            1.5,
            -2.25,
            1e300,
            -1e300,
            5e-324,
            f64::MAX,
            f64::MIN_POSITIVE,
            f64::INFINITY,
            f64::NEG_INFINITY,
            9.223_372_036_854_776e18,
            -9.223_372_036_854_776e18,
            1e15,
            12_345.678_9,
            0.000_1,
            0.000_01,
            1e-7,
        ] {
            comes_back_or_is_refused(Storage::Real(real));
        }
        for text in ["", "1", "1.0", "-", "1e5", "Infinity", "inf", "nan", "0x10", " 1", "a\0b"] {
            comes_back_or_is_refused(Storage::Text(text.as_bytes()));
        }
    }

    #[test]
    fn what_a_type_cannot_hold_is_refused_by_name() {
        let mut out = Vec::new();
        assert_eq!(
            PgType::Int8.encode(Affinity::Integer, Storage::Text(b"abc"), &mut out),
            Err(Misfit::Class { class: "text", pg: "bigint" })
        );
        assert_eq!(
            PgType::Text.encode(Affinity::Text, Storage::Text(b"a\0b"), &mut out),
            Err(Misfit::Nul)
        );
        assert_eq!(
            PgType::Text.encode(Affinity::Text, Storage::Text(b"\xff"), &mut out),
            Err(Misfit::InvalidUtf8)
        );
        assert!(out.is_empty(), "a misfit writes nothing");
    }
}
