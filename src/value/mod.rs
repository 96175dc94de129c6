//! One SQLite value and one PostgreSQL value: the whole type mapping and its inverse.
//!
//! Table-driven and pure. A [`Storage`] is what SQLite handed over; [`PgType::encode`] writes
//! PostgreSQL's own binary field (length and bytes), the one image that COPY, replay and the
//! checksum all use; [`PgType::decode`] is the inverse. A value that the type cannot hold exactly
//! is a [`Misfit`], never an approximation.
//!
//! Create mode chooses, from the declared type and the values seen, the narrowest type on the
//! ladder that holds every one of them exactly ([`PgType::choose`], docs/decisions/0003).

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

/// A PostgreSQL column type that values are encoded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
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
}

impl PgType {
    /// The type's name in DDL.
    pub fn sql(self) -> &'static str {
        match self {
            Self::Int8 => "bigint",
            Self::Float8 => "double precision",
            Self::Numeric => "numeric",
            Self::Text => "text",
            Self::Bytea => "bytea",
        }
    }
}
