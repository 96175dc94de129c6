//! What to do with a value that cannot be held as it is: refuse it, unless the operator has
//! chosen by name what may be lost.
//!
//! Everything defaults to refusing. Each other choice is a [`Loss`] that verdicts print.

use super::moment::Zone;

/// The choices for one column, as the configuration spells them.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policies {
    /// An empty text becomes NULL.
    pub empty_as_null: bool,
    /// U+0000 in a text.
    pub nul: Nul,
    /// Text that is not UTF-8.
    pub invalid_utf8: InvalidUtf8,
    /// A number or date beyond the type's limits.
    pub out_of_range: OutOfRange,
    /// More characters than `varchar(n)` or `char(n)` takes.
    pub too_long: TooLong,
    /// Spaces at the end of a `char(n)`, which PostgreSQL does not tell from none.
    pub trailing_spaces: TrailingSpaces,
    /// More digits than the type keeps: of a number, a second, or a day.
    pub precision: Exactness,
    /// The second 60, which PostgreSQL turns into the next minute.
    pub leap_second: LeapSecond,
    /// Values written otherwise than the rest of the column.
    pub forms: Forms,
    /// The zone of times that name none. Loses nothing.
    pub zone: Option<Zone>,
}

/// U+0000, which PostgreSQL's text cannot hold
/// (<https://www.postgresql.org/docs/current/datatype-character.html>).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Nul {
    /// The row is a misfit.
    #[default]
    Reject,
    /// It is taken out.
    Strip,
    /// The whole column holds the text's bytes: its target must be `bytea`. Loses nothing.
    Bytea,
}

/// Bytes that are no UTF-8, which SQLite keeps and PostgreSQL refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InvalidUtf8 {
    /// The row is a misfit.
    #[default]
    Reject,
    /// Each bad sequence becomes U+FFFD.
    Replace,
    /// The whole text is read as ISO 8859-1.
    Latin1,
}

/// Beyond the type's limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutOfRange {
    /// The row is a misfit.
    #[default]
    Reject,
    /// NULL.
    Null,
    /// The nearest value the type has.
    Clamp,
}

/// More characters than declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TooLong {
    /// The row is a misfit.
    #[default]
    Reject,
    /// The rest is cut off.
    Truncate,
}

/// Spaces at the end of a padded text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrailingSpaces {
    /// The row is a misfit.
    #[default]
    Reject,
    /// They are taken off.
    Strip,
}

/// Digits the type does not keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exactness {
    /// The row is a misfit.
    #[default]
    Reject,
    /// Rounded as PostgreSQL's own cast rounds.
    Round,
}

/// The second 60.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeapSecond {
    /// The row is a misfit.
    #[default]
    Reject,
    /// The first second of the next minute.
    Roll,
}

/// Values written otherwise than the column's form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forms {
    /// The row is a misfit.
    #[default]
    One,
    /// Any form of the type is read; the way back writes the column's form.
    Any,
}

/// Something a codec may not bring back as it was.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, thiserror::Error,
)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// `empty_as_null`.
    #[error("empty texts become NULL (empty_as_null = true)")]
    EmptyAsNull,
    /// `nul = "strip"`.
    #[error("NUL characters are taken out of texts (nul = \"strip\")")]
    NulStripped,
    /// `invalid_utf8 = "replace"`.
    #[error("bytes that are no UTF-8 become U+FFFD (invalid_utf8 = \"replace\")")]
    Utf8Replaced,
    /// `invalid_utf8 = "latin1"`.
    #[error("texts that are no UTF-8 are read as ISO 8859-1 (invalid_utf8 = \"latin1\")")]
    Utf8Guessed,
    /// `out_of_range = "null"`.
    #[error("values out of range become NULL (out_of_range = \"null\")")]
    OutOfRangeNulled,
    /// `out_of_range = "clamp"`.
    #[error("values out of range become the nearest limit (out_of_range = \"clamp\")")]
    OutOfRangeClamped,
    /// `too_long = "truncate"`.
    #[error("texts that are too long are cut (too_long = \"truncate\")")]
    Truncated,
    /// `trailing_spaces = "strip"`.
    #[error("spaces at the end are taken off (trailing_spaces = \"strip\")")]
    SpacesStripped,
    /// `precision = "round"`.
    #[error("digits the type does not keep are rounded (precision = \"round\")")]
    Rounded,
    /// `leap_second = "roll"`.
    #[error("the second 60 becomes the next minute (leap_second = \"roll\")")]
    LeapSecondRolled,
    /// `forms = "any"`.
    #[error("values in other forms do not get their form back (forms = \"any\")")]
    FormLost,
    /// By the nature of the type.
    #[error("jsonb stores the value, not the text")]
    JsonText,
    /// By the nature of the type.
    #[error("the server casts the text to its type and may write it otherwise")]
    ServerCast,
}
