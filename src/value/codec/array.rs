//! One-dimensional arrays, which SQLite columns hold as JSON
//! (<https://www.postgresql.org/docs/current/arrays.html>).

use super::form::{Digits, Form};
use super::json::{self, Json};
use super::kind::Kind;
use super::{Codec, Fate, Judge};
use crate::value::{Misfit, Owned, Storage};

/// How the JSON is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub spaced: bool,
    pub ascii: bool,
}

/// Encodes a JSON array: dimensions, a flag for NULLs, the element's type, length, first index,
/// and the elements as fields.
pub(super) fn put(
    element: &Codec,
    value: Storage<'_>,
    judge: &mut Judge<'_>,
    out: &mut Vec<u8>,
) -> Result<Fate, Misfit> {
    let pg = "array";
    let malformed = Misfit::Malformed { class: value.class(), pg };
    let text = judge.text(value, false, pg)?;
    let Some(Json::Array(items)) = json::read(&text) else { return Err(malformed) };
    let mut fields = Vec::new();
    let mut has_null = false;
    for item in &items {
        has_null |= put_item(element, item, judge, &mut fields)? == Fate::Null;
    }
    // Of a domain, its own: the server compares it with the column.
    let oid = element.target.oid;
    let mut bytes = Vec::with_capacity(20 + fields.len());
    bytes.extend_from_slice(&i32::from(!items.is_empty()).to_be_bytes());
    bytes.extend_from_slice(&i32::from(has_null).to_be_bytes());
    bytes.extend_from_slice(&oid.to_be_bytes());
    if !items.is_empty() {
        let length = i32::try_from(items.len()).map_err(|_| Misfit::TooLarge)?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&1_i32.to_be_bytes());
    }
    bytes.extend_from_slice(&fields);
    judge.put(out, &bytes)
}

fn put_item(
    element: &Codec,
    item: &Json,
    judge: &mut Judge<'_>,
    fields: &mut Vec<u8>,
) -> Result<Fate, Misfit> {
    let nested = Misfit::Malformed { class: "text", pg: element.target.kind.plain() };
    let owned = match item {
        Json::Null => Owned::Null,
        Json::Bool(value) => Owned::Text(value.to_string().into()),
        Json::String(text) => Owned::Text(text.as_bytes().to_vec()),
        Json::Number(number) => {
            let text = number.text();
            match element.form {
                Form::Number(Digits::Text | Digits::Trimmed) => Owned::Text(text.into()),
                _ => Digits::Mixed.of_decimal(&text).ok_or(nested)?,
            }
        }
        Json::Array(_) | Json::Object(_) => return Err(nested),
    };
    element.put_field(owned.storage(), judge, fields)
}

/// The inverse of [`put`].
pub(super) fn get(element: &Codec, style: Style, bytes: &[u8]) -> Option<Owned> {
    let word = |at: usize| Some(i32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let dimensions = word(0)?;
    if dimensions == 0 {
        return (bytes.len() == 12).then(|| Owned::Text(b"[]".to_vec()));
    }
    // A JSON array has no other first index than PostgreSQL's usual one.
    if dimensions != 1 || word(16)? != 1 {
        return None;
    }
    let mut text = String::from("[");
    let mut at = 20;
    for index in 0..word(12)? {
        if index != 0 {
            text.push_str(if style.spaced { ", " } else { "," });
        }
        let length = word(at)?;
        at += 4;
        let field = match usize::try_from(length) {
            Ok(length) => {
                at += length;
                Some(bytes.get(at - length..at)?)
            }
            Err(_) => None,
        };
        write_item(element, &element.decode(field)?, style, &mut text)?;
    }
    text.push(']');
    (at == bytes.len()).then(|| Owned::Text(text.into()))
}

fn write_item(element: &Codec, item: &Owned, style: Style, out: &mut String) -> Option<()> {
    match item {
        Owned::Null => out.push_str("null"),
        Owned::Integer(integer) => out.push_str(&integer.to_string()),
        Owned::Real(real) if !real.is_finite() => return None,
        Owned::Real(real) => match element.form {
            Form::Number(Digits::Real) => out.push_str(&format!("{real:?}")),
            _ => out.push_str(&real.to_string()),
        },
        Owned::Text(text) => {
            let text = std::str::from_utf8(text).ok()?;
            match element.target.kind.base() {
                Kind::Boolean | Kind::Numeric(_) => out.push_str(text),
                _ => json::quote(text, style.ascii, out),
            }
        }
        Owned::Blob(_) => return None,
    }
    Some(())
}
