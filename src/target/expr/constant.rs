//! Constants: what a literal's text is worth, and which text is worth a number.
//!
//! Literals are decoded to values and written anew, so that PostgreSQL reads what SQLite read
//! and nothing of the application's text is passed on. A decimal is taken only if every way of
//! rounding it comes to the same double.

use sqlite3_parser::ast::Literal as Token;

use super::{Class, Purpose, Refusal, Term, call};
use crate::grammar::dequote;

/// Integers up to here are doubles, too; beyond, comparing the two is not exact.
pub(super) const EXACT_MAX: i64 = 1 << 53;

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Int(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

/// Whether text can look like a number, which numeric affinities would make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looks {
    /// Like anything.
    Unknown,
    /// Never like a number.
    NeverNumeric,
    /// Always like an integer in decimal digits.
    Digits,
}

/// A literal. Its text is decoded; nothing of it is passed on as it is.
pub(super) fn literal(token: &Token<'_>, purpose: Purpose) -> Result<Term, Refusal> {
    match token {
        Token::Numeric(digits) => number(digits, false).map(Term::constant),
        Token::String(quoted) => Ok(Term::constant(Value::Text(dequote(quoted)))),
        Token::Blob(text) => blob(text).map(|bytes| Term::constant(Value::Blob(bytes))),
        Token::Null => Ok(Term::atom("null", Class::Null)),
        Token::CurrentTimestamp if purpose == Purpose::Default => {
            Ok(call::clock("YYYY-MM-DD HH24:MI:SS", Looks::NeverNumeric))
        }
        Token::CurrentDate if purpose == Purpose::Default => {
            Ok(call::clock("YYYY-MM-DD", Looks::NeverNumeric))
        }
        Token::CurrentTime if purpose == Purpose::Default => {
            Ok(call::clock("HH24:MI:SS", Looks::NeverNumeric))
        }
        Token::Keyword(word) => Err(format!("{word} is no constant")),
        Token::CurrentDate | Token::CurrentTime | Token::CurrentTimestamp => {
            Err("it reads the clock".into())
        }
    }
}

/// A numeric literal (<https://www.sqlite.org/lang_expr.html#literal_values_constants_>).
pub(super) fn number(digits: &str, negative: bool) -> Result<Value, Refusal> {
    let digits = digits.replace('_', "");
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        // Sixteen digits are the bits of a signed integer.
        let bits = u64::from_str_radix(hex, 16).map_err(|_| "a hexadecimal number is too long")?;
        let int = i64::from_ne_bytes(bits.to_ne_bytes());
        let int = if negative { int.checked_neg() } else { Some(int) };
        return int.map(Value::Int).ok_or_else(|| "a hexadecimal number is too long".into());
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(int) = digits.parse::<i128>()
        && let Ok(int) = i64::try_from(if negative { -int } else { int })
    {
        return Ok(Value::Int(int));
    }
    let real = real(&digits)?;
    Ok(Value::Real(if negative { -real } else { real }))
}

/// A decimal as a double, if every way to convert it comes to the same.
///
/// Up to 15 digits and powers of ten up to 22 are exact in doubles, so one multiplication or
/// division rounds once; beyond that SQLite's versions disagree in the last bit.
pub(super) fn real(digits: &str) -> Result<f64, Refusal> {
    let refused = || format!("the number {digits} has more digits than a double keeps");
    let (mantissa, exponent) = match digits.find(['e', 'E']) {
        Some(at) => (&digits[..at], digits[at + 1..].parse::<i32>().map_err(|_| refused())?),
        None => (digits, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let significant = format!("{whole}{fraction}");
    let significant = significant.trim_start_matches(['-', '+', '0']);
    let scale = exponent - i32::try_from(fraction.len()).map_err(|_| refused())?;
    if 15 < significant.trim_end_matches('0').len() || 22 < scale.abs() || 30 < significant.len() {
        return Err(refused());
    }
    digits.parse().map_err(|_| refused())
}

/// The number that a numeric affinity makes of text; `None` if it stays text.
pub(super) fn numeric_value(text: &str) -> Result<Option<Value>, Refusal> {
    let trimmed = text.trim_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let (negative, digits) = match trimmed.as_bytes().first() {
        Some(b'-') => (true, &trimmed[1..]),
        Some(b'+') => (false, &trimmed[1..]),
        _ => (false, trimmed),
    };
    if !is_number(digits) {
        return Ok(None);
    }
    Ok(Some(match number(digits, negative)? {
        Value::Real(real) => whole(real),
        int => int,
    }))
}

/// Digits with at most one point, then perhaps an exponent.
pub(super) fn is_number(digits: &str) -> bool {
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = match digits.find(['e', 'E']) {
        Some(at) => (&digits[..at], Some(&digits[at + 1..])),
        None => (digits, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_is_good = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && is_digits(exponent)
    });
    !(whole.is_empty() && fraction.is_empty())
        && is_digits(whole)
        && is_digits(fraction)
        && exponent_is_good
}

/// Integer and numeric affinity turn a double without a fraction into an integer.
pub(super) fn whole(real: f64) -> Value {
    if real.fract() == 0.0 && real.abs() <= EXACT_MAX as f64 {
        Value::Int(real as i64)
    } else {
        Value::Real(real)
    }
}

pub(super) fn looks(text: &str) -> Looks {
    match numeric_value(text) {
        Ok(None) => Looks::NeverNumeric,
        Ok(Some(Value::Int(_))) if text.bytes().all(|byte| byte.is_ascii_digit()) => Looks::Digits,
        _ => Looks::Unknown,
    }
}

pub(super) fn blob(text: &str) -> Result<Vec<u8>, Refusal> {
    let hex = text.trim_start_matches(['x', 'X']).trim_matches('\'');
    let byte = |at: usize| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..hex.len())
        .step_by(2)
        .map(byte)
        .collect::<Option<Vec<u8>>>()
        .ok_or_else(|| "a blob literal is malformed".into())
}

pub(super) fn blob_sql(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("'\\x{hex}'::bytea")
}

/// A double whose shortest decimal PostgreSQL reads back as the same double.
pub(super) fn real_sql(real: f64) -> String {
    let text = format!("{real}");
    if text.contains('.') { text } else { format!("{text}.0") }
}
