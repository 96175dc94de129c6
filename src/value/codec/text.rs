//! Text and what travels as text: strings with limits, enums, JSON, UUIDs
//! (<https://www.postgresql.org/docs/current/datatype-character.html>).

use std::borrow::Cow;

use super::form::{Digits, Form, UuidForm};
use super::json::{self, Json};
use super::kind::Kind;
use super::number::Decimal;
use super::policy::{Forms, InvalidUtf8, Nul, TooLong, TrailingSpaces};
use super::{Fate, Judge};
use crate::table::Affinity;
use crate::value::{Misfit, Owned, Storage, jsonb, number as read_number};

/// The first byte of a binary `jsonb`.
pub(super) const JSONB_VERSION: u8 = 1;

/// Most bytes inside a `jsonb`: lengths and offsets have 28 bits.
const JSONB_BYTES_MAX: usize = (1 << 28) - 1;

impl Judge<'_> {
    /// The value as text that PostgreSQL takes: valid UTF-8 without U+0000. Blobs are texts where
    /// the column's form says so.
    pub(super) fn text<'v>(
        &mut self,
        value: Storage<'v>,
        blobs: bool,
        pg: &'static str,
    ) -> Result<Cow<'v, str>, Misfit> {
        let bytes = match value {
            Storage::Text(bytes) => bytes,
            Storage::Blob(bytes) if blobs || self.policies.forms == Forms::Any => bytes,
            other => return Err(Misfit::Class { class: other.class(), pg }),
        };
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => {
                let read = match self.policies.invalid_utf8 {
                    InvalidUtf8::Reject => return Err(Misfit::InvalidUtf8),
                    InvalidUtf8::Replace => String::from_utf8_lossy(bytes),
                    InvalidUtf8::Latin1 => bytes.iter().copied().map(char::from).collect(),
                };
                self.is_lossy = true;
                read
            }
        };
        if !text.contains('\0') {
            return Ok(text);
        }
        match self.policies.nul {
            Nul::Reject | Nul::Bytea => Err(Misfit::Nul),
            Nul::Strip => {
                self.is_lossy = true;
                Ok(text.replace('\0', "").into())
            }
        }
    }

    /// Cuts a text that is too long, if that was chosen.
    fn limit<'v>(&mut self, text: Cow<'v, str>, limit: u32) -> Result<Cow<'v, str>, Misfit> {
        let characters = usize::try_from(limit).map_err(|_| Misfit::TooLarge)?;
        let Some((end, _)) = text.char_indices().nth(characters) else { return Ok(text) };
        match self.policies.too_long {
            TooLong::Reject => Err(Misfit::TooLong { limit }),
            TooLong::Truncate => {
                self.is_lossy = true;
                Ok(text[..end].to_owned().into())
            }
        }
    }

    /// Takes the spaces off that `char(n)` does not keep.
    fn unpadded<'v>(&mut self, text: Cow<'v, str>) -> Result<Cow<'v, str>, Misfit> {
        if !text.ends_with(' ') {
            return Ok(text);
        }
        match self.policies.trailing_spaces {
            TrailingSpaces::Reject => Err(Misfit::TrailingSpaces),
            TrailingSpaces::Strip => {
                self.is_lossy = true;
                Ok(text.trim_end_matches(' ').to_owned().into())
            }
        }
    }
}

/// Encodes for a type whose binary form is its text.
pub(super) fn put(
    kind: &Kind,
    form: &Form,
    value: Storage<'_>,
    judge: &mut Judge<'_>,
    out: &mut Vec<u8>,
) -> Result<Fate, Misfit> {
    let pg = kind.plain();
    let takes_numbers = matches!(form, Form::Number(_) | Form::TextOrNumber(_));
    let is_number = matches!(value, Storage::Integer(_) | Storage::Real(_));
    let text = if is_number && (takes_numbers || judge.policies.forms == Forms::Any) {
        Cow::Owned(number_as_text(form, value).ok_or(Misfit::Ambiguous { pg })?)
    } else {
        judge.text(value, *form == Form::Blob, pg)?
    };
    let text = match kind {
        Kind::Varchar(Some(limit)) => judge.limit(text, *limit)?,
        Kind::Char(Some(limit)) => {
            let text = match form {
                Form::Padded => text.trim_end_matches(' ').to_owned().into(),
                _ => judge.unpadded(text)?,
            };
            let text = judge.limit(text, *limit)?;
            // A cut may leave spaces at the end, which padding swallows.
            let width = usize::try_from(*limit).map_err(|_| Misfit::TooLarge)?;
            format!("{text:width$}").into()
        }
        Kind::Enum(labels) if !labels.iter().any(|label| *label == text) => {
            return Err(Misfit::Label);
        }
        _ => text,
    };
    judge.put(out, text.as_bytes())
}

/// The inverse of [`put`].
pub(super) fn get(kind: &Kind, form: &Form, bytes: &[u8]) -> Option<Owned> {
    let mut text = std::str::from_utf8(bytes).ok()?;
    if matches!(kind, Kind::Char(Some(_))) && *form != Form::Padded {
        text = text.trim_end_matches(' ');
    }
    match form {
        Form::Number(digits) => {
            Decimal::parse(text)?;
            digits.of_decimal(text)
        }
        Form::TextOrNumber(digits) => {
            let affinity = if *digits == Digits::Real { Affinity::Real } else { Affinity::Numeric };
            Some(read_number(affinity, text).unwrap_or_else(|| Owned::Text(text.into())))
        }
        Form::Blob => Some(Owned::Blob(text.into())),
        Form::Text | Form::Padded => Some(Owned::Text(text.into())),
        _ => None,
    }
}

/// A number's decimal; in a column of reals an integral one keeps its point.
fn number_as_text(form: &Form, value: Storage<'_>) -> Option<String> {
    match value {
        Storage::Integer(integer) => Some(integer.to_string()),
        Storage::Real(real) if !real.is_finite() => None,
        Storage::Real(real) => match form {
            Form::Number(Digits::Real) | Form::TextOrNumber(Digits::Real) => {
                Some(format!("{real:?}"))
            }
            _ => Some(real.to_string()),
        },
        _ => None,
    }
}

/// The bytes of a UUID in any form.
pub(super) fn read_uuid(value: Storage<'_>) -> Result<[u8; 16], Misfit> {
    let pg = Kind::Uuid.plain();
    let read = match value {
        Storage::Blob(bytes) => bytes.try_into().ok(),
        Storage::Text(text) => std::str::from_utf8(text).ok().and_then(uuid_of_text),
        other => return Err(Misfit::Class { class: other.class(), pg }),
    };
    read.ok_or(Misfit::Malformed { class: value.class(), pg })
}

/// Where the hyphens stand among 36 characters.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

fn uuid_of_text(text: &str) -> Option<[u8; 16]> {
    let bare = text.strip_prefix('{').map_or(Some(text), |rest| rest.strip_suffix('}'))?;
    let hex = match bare.len() {
        32 => Cow::Borrowed(bare),
        36 if HYPHENS.iter().all(|at| bare.as_bytes()[*at] == b'-') => bare.replace('-', "").into(),
        _ => return None,
    };
    // A sign would pass as a digit's beginning.
    if hex.len() != 32 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(&hex, 16).ok().map(u128::to_be_bytes)
}

/// A UUID in a form.
pub(super) fn uuid(form: UuidForm, bytes: &[u8]) -> Option<Owned> {
    let hex = format!("{:032x}", u128::from_be_bytes(bytes.try_into().ok()?));
    let hyphened = || {
        let mut text = hex.clone();
        for at in HYPHENS {
            text.insert(at, '-');
        }
        text
    };
    let (text, upper) = match form {
        UuidForm::Blob => return Some(Owned::Blob(bytes.to_vec())),
        UuidForm::Hyphens { upper } => (hyphened(), upper),
        UuidForm::Hex { upper } => (hex, upper),
        UuidForm::Braces { upper } => (format!("{{{}}}", hyphened()), upper),
    };
    Some(Owned::Text(if upper { text.to_ascii_uppercase() } else { text }.into()))
}

/// Encodes any value for `jsonb`, so that its storage class can be told.
pub(super) fn put_tagged(
    value: Storage<'_>,
    judge: &mut Judge<'_>,
    out: &mut Vec<u8>,
) -> Result<Fate, Misfit> {
    match value {
        Storage::Text(_) => {
            let text = judge.text(value, false, Kind::Jsonb.plain())?;
            jsonb::put_json(out, Storage::Text(text.as_bytes()))?;
        }
        other => jsonb::put_json(out, other)?,
    }
    Ok(Fate::Sent)
}

/// Encodes for `json` or `jsonb`.
pub(super) fn put_json(
    kind: &Kind,
    form: &Form,
    value: Storage<'_>,
    judge: &mut Judge<'_>,
    out: &mut Vec<u8>,
) -> Result<Fate, Misfit> {
    let pg = kind.plain();
    let (numbers, bare_strings) = match form {
        Form::Json { numbers, bare_strings } => (*numbers, *bare_strings),
        _ => (false, false),
    };
    let is_number = matches!(value, Storage::Integer(_) | Storage::Real(_));
    let text = if is_number && (numbers || judge.policies.forms == Forms::Any) {
        let digits = Form::TextOrNumber(Digits::Mixed);
        Cow::Owned(number_as_text(&digits, value).ok_or(Misfit::Ambiguous { pg })?)
    } else {
        judge.text(value, false, pg)?
    };
    let is_binary = *kind == Kind::Jsonb;
    let read = if is_binary { json::read(&text) } else { None };
    let is_json = read.is_some() || !is_binary && json::is_json(&text);
    let malformed = Misfit::Malformed { class: value.class(), pg };
    // What reads as JSON for `json` alone is no bare string either.
    if !is_json && (!bare_strings || json::is_json(&text)) {
        return Err(malformed);
    }
    if is_binary {
        let mut stored = String::from(char::from(JSONB_VERSION));
        read.unwrap_or_else(|| Json::String(text.into_owned())).write(&mut stored);
        if JSONB_BYTES_MAX < stored.len() {
            return Err(Misfit::TooLarge);
        }
        return judge.put(out, stored.as_bytes());
    }
    if is_json {
        return judge.put(out, text.as_bytes());
    }
    let mut quoted = String::new();
    json::quote(&text, false, &mut quoted);
    judge.put(out, quoted.as_bytes())
}

/// What a column holds for a JSON text.
pub(super) fn json(text: &str, numbers: bool, bare_strings: bool) -> Option<Owned> {
    if numbers && let Some(number) = read_number(Affinity::Numeric, text) {
        return Some(number);
    }
    if bare_strings
        && let Some(Json::String(bare)) = json::read(text)
        && !json::is_json(&bare)
    {
        return Some(Owned::Text(bare.into()));
    }
    Some(Owned::Text(text.into()))
}
