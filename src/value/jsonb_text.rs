//! The text that PostgreSQL prints for a `jsonb`, from any JSON that means the same.
//!
//! Keys are in the order of their lengths, then of their bytes; of a key that is there twice the
//! last one stands; numbers are written as `numeric` writes them
//! (<https://www.postgresql.org/docs/current/datatype-json.html>).

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Deeper nesting is refused, as by PostgreSQL's own stack limit.
const DEPTH_MAX: usize = 2_000;

/// `numeric` has no number with more digits on either side of its point.
const EXPONENT_MAX: i64 = 131_072;

/// The canonical text; `None` for what is no JSON.
pub fn canonical(json: &str) -> Option<String> {
    let mut reader = Reader { rest: json };
    let text = reader.value(0)?;
    reader.blanks();
    reader.rest.is_empty().then_some(text)
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn takes(&mut self, text: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    fn value(&mut self, depth: usize) -> Option<String> {
        self.blanks();
        if DEPTH_MAX < depth {
            return None;
        }
        match self.rest.bytes().next()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string().map(|text| quoted(&text)),
            b'-' | b'0'..=b'9' => self.number(),
            _ => ["true", "false", "null"]
                .into_iter()
                .find(|word| self.takes(word).is_some())
                .map(str::to_owned),
        }
    }

    fn object(&mut self, depth: usize) -> Option<String> {
        self.takes("{")?;
        let mut members: BTreeMap<(usize, String), String> = BTreeMap::new();
        self.blanks();
        if self.takes("}").is_some() {
            return Some("{}".to_owned());
        }
        loop {
            self.blanks();
            let key = self.string()?;
            self.blanks();
            self.takes(":")?;
            members.insert((key.len(), key), self.value(depth + 1)?);
            self.blanks();
            if self.takes("}").is_some() {
                let members: Vec<String> = members
                    .into_iter()
                    .map(|((_, key), value)| format!("{}: {value}", quoted(&key)))
                    .collect();
                return Some(format!("{{{}}}", members.join(", ")));
            }
            self.takes(",")?;
        }
    }

    fn array(&mut self, depth: usize) -> Option<String> {
        self.takes("[")?;
        let mut elements = Vec::new();
        self.blanks();
        if self.takes("]").is_some() {
            return Some("[]".to_owned());
        }
        loop {
            elements.push(self.value(depth + 1)?);
            self.blanks();
            if self.takes("]").is_some() {
                return Some(format!("[{}]", elements.join(", ")));
            }
            self.takes(",")?;
        }
    }

    /// A string as it is meant.
    fn string(&mut self) -> Option<String> {
        self.takes("\"")?;
        let mut text = String::new();
        loop {
            let end = self.rest.find(['"', '\\'])?;
            text.push_str(&self.rest[..end]);
            let is_end = self.rest.as_bytes()[end] == b'"';
            self.rest = &self.rest[end + 1..];
            if is_end {
                return Some(text);
            }
            let escape = self.rest.chars().next()?;
            self.rest = &self.rest[escape.len_utf8()..];
            text.push(match escape {
                '"' | '\\' | '/' => escape,
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => self.code_point()?,
                _ => return None,
            });
        }
    }

    fn code_point(&mut self) -> Option<char> {
        let high = self.unit()?;
        if !(0xd800..0xdc00).contains(&high) {
            return char::from_u32(high);
        }
        self.takes("\\u")?;
        let low = self.unit()?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
        char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + low)
    }

    fn unit(&mut self) -> Option<u32> {
        let digits = self.rest.get(..4)?;
        self.rest = &self.rest[4..];
        u32::from_str_radix(digits, 16).ok()
    }

    fn number(&mut self) -> Option<String> {
        let end = self
            .rest
            .find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'))
            .unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        numeric(text)
    }
}

/// As `numeric` prints the number: no exponent, no sign before zero, and as many digits after the
/// point as were written, less the exponent.
fn numeric(text: &str) -> Option<String> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            let exponent: i64 = exponent.parse().ok()?;
            (mantissa, Some(exponent).filter(|exponent| exponent.abs() <= EXPONENT_MAX)?)
        }
        None => (text, 0),
    };
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => ("-", mantissa),
        None => ("", mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: Cow<'_, str> = match fraction {
        "" => whole.into(),
        fraction => format!("{whole}{fraction}").into(),
    };
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    // Where the point stands, from the left of the digits.
    let point = i64::try_from(whole.len()).ok()? + exponent;
    let scale = usize::try_from(i64::try_from(fraction.len()).ok()? - exponent).unwrap_or(0);
    let digit = |at: i64| {
        usize::try_from(at)
            .ok()
            .and_then(|at| digits.as_bytes().get(at))
            .map_or('0', |digit| char::from(*digit))
    };
    let before: String = (0..point.max(0)).map(digit).collect();
    let before = before.trim_start_matches('0');
    let after: String = (0..i64::try_from(scale).ok()?).map(|place| digit(point + place)).collect();
    let is_zero = before.is_empty() && after.bytes().all(|digit| digit == b'0');
    let sign = if is_zero { "" } else { sign };
    let before = if before.is_empty() { "0" } else { before };
    Some(match after.is_empty() {
        true => format!("{sign}{before}"),
        false => format!("{sign}{before}.{after}"),
    })
}

/// As PostgreSQL writes a string.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_gets_the_text_that_jsonb_has() {
        for (json, text) in [
            (" { \"b\" : 1 , \"a\" : [ 1.50 , \"x\" ] } ", r#"{"a": [1.50, "x"], "b": 1}"#),
            (r#"{"bb": 1, "a": 2, "bb": 3}"#, r#"{"a": 2, "bb": 3}"#),
            ("1e2", "100"),
            ("1.50e1", "15.0"),
            ("-0", "0"),
            ("-0.00", "0.00"),
            ("1E-3", "0.001"),
            ("-12.5e-1", "-1.25"),
            ("0e5", "0"),
            (r#""\u00fc\ud83d\ude00\/\u0001\u007f""#, "\"ü😀/\\u0001\u{7f}\""),
            ("[]", "[]"),
            ("{}", "{}"),
            ("null", "null"),
        ] {
            assert_eq!(canonical(json).as_deref(), Some(text), "{json}");
        }
        for broken in ["", "{", "[1,]", "{\"a\" 1}", "tru", "\"\\x\"", "1 2", "\"\\ud800\"", "-"] {
            assert_eq!(canonical(broken), None, "{broken}");
        }
    }
}
