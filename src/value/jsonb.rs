//! PostgreSQL's `jsonb` as the home of columns that mix storage classes.
//!
//! An untyped column may hold an integer in one row and a text or a blob in the next. JSON tells
//! them apart: `5` is the integer, `5.0` the real, `"5"` the text, `{"blob": "05"}` the blob, and
//! `{"real": "Infinity"}` a real that JSON has no number for. What is written here is, byte for
//! byte, what PostgreSQL prints, so that the image of a value is the same on the way in and out
//! (<https://www.postgresql.org/docs/current/datatype-json.html>).

use super::{Misfit, Owned, Storage, put};

/// Precedes the text in the binary form: the version of that form.
const VERSION: u8 = 1;

/// Longest string inside a `jsonb`: its length has 28 bits.
const STRING_BYTES_MAX: usize = (1 << 28) - 1;

/// Appends `value` as a binary field; on a misfit nothing is appended.
pub(super) fn put_json(out: &mut Vec<u8>, value: Storage<'_>) -> Result<(), Misfit> {
    let mut json = String::from(char::from(VERSION));
    match value {
        Storage::Null => json.push_str("null"),
        Storage::Integer(integer) => json.push_str(&integer.to_string()),
        Storage::Real(real) => push_real(&mut json, real),
        Storage::Text(text) => {
            let text = std::str::from_utf8(text).map_err(|_| Misfit::InvalidUtf8)?;
            push_string(&mut json, text)?;
        }
        Storage::Blob(bytes) => {
            if STRING_BYTES_MAX / 2 < bytes.len() {
                return Err(Misfit::TooLarge);
            }
            json.push_str("{\"blob\": \"");
            for byte in bytes {
                json.push(hex_digit(byte >> 4));
                json.push(hex_digit(byte & 15));
            }
            json.push_str("\"}");
        }
    }
    put(out, json.as_bytes())
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).expect("a nibble is one digit")
}

/// `numeric` keeps trailing zeros of a fraction, but knows no minus zero and no infinity here.
fn push_real(json: &mut String, real: f64) {
    if !real.is_finite() || real.to_bits() == (-0.0_f64).to_bits() {
        let name = match real {
            f64::INFINITY => "Infinity",
            f64::NEG_INFINITY => "-Infinity",
            _ => "-0.0",
        };
        json.push_str(&format!("{{\"real\": \"{name}\"}}"));
        return;
    }
    let decimal = real.to_string();
    json.push_str(&decimal);
    if !decimal.contains('.') {
        json.push_str(".0");
    }
}

fn push_string(json: &mut String, text: &str) -> Result<(), Misfit> {
    if STRING_BYTES_MAX < text.len() {
        return Err(Misfit::TooLarge);
    }
    json.push('"');
    for character in text.chars() {
        match character {
            '\0' => return Err(Misfit::Nul),
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            control if control < ' ' => {
                json.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            other => json.push(other),
        }
    }
    json.push('"');
    Ok(())
}

/// The inverse: what SQLite held; `None` for bytes that no value encodes to.
pub(super) fn read_json(bytes: &[u8]) -> Option<Owned> {
    let (&VERSION, text) = bytes.split_first()? else { return None };
    let text = std::str::from_utf8(text).ok()?;
    if text.starts_with('"') {
        let text: String = serde_json::from_str(text).ok()?;
        return Some(Owned::Text(text.into_bytes()));
    }
    let named = |name: &str| {
        let open = format!("{{\"{name}\": \"");
        text.strip_prefix(&open)?.strip_suffix("\"}")
    };
    if let Some(digits) = named("blob") {
        let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        return (0..digits.len()).step_by(2).map(byte).collect::<Option<_>>().map(Owned::Blob);
    }
    if let Some(name) = named("real") {
        return name.parse().ok().map(Owned::Real);
    }
    if text.contains('.') {
        return text.parse().ok().map(Owned::Real);
    }
    text.parse().ok().map(Owned::Integer)
}
