//! JSON as PostgreSQL reads it: `json` checks the text and keeps it, `jsonb` keeps the value
//! (<https://www.postgresql.org/docs/current/datatype-json.html>).
//!
//! A reader of our own, since no parser for programs keeps what `jsonb` keeps: every digit of a
//! number, the last of several equal keys, and the refusal of `\u0000` and lone surrogates.

use std::fmt::Write as _;

use super::number::Decimal;

/// Deepest nesting that is read. PostgreSQL's own limit depends on its stack; at the default of
/// 2 MB it lies at several thousand.
const DEPTH_MAX: usize = 512;

/// A value as `jsonb` keeps it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(Decimal),
    String(String),
    Array(Vec<Json>),
    /// Sorted as `jsonb` sorts: shorter keys first, then by their bytes; each key once.
    Object(Vec<(String, Json)>),
}

/// Reads a text for `jsonb`; `None` where PostgreSQL would refuse it.
pub(super) fn read(text: &str) -> Option<Json> {
    Reader::read(text, true)
}

/// Whether PostgreSQL takes a text for `json`.
pub(super) fn is_json(text: &str) -> bool {
    Reader::read(text, false).is_some()
}

impl Json {
    /// Whether two values are equal as `jsonb` is: 1.0 is 1.
    pub(super) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => {
                one.clone().trimmed() == other.clone().trimmed()
            }
            (Self::Array(one), Self::Array(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(a, b)| a.same(b))
            }
            (Self::Object(one), Self::Object(other)) => {
                one.len() == other.len()
                    && one.iter().zip(other).all(|((k, a), (l, b))| k == l && a.same(b))
            }
            (one, other) => one == other,
        }
    }

    /// Writes it as PostgreSQL prints `jsonb`.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(number) => out.push_str(&number.text()),
            Self::String(text) => quote(text, false, out),
            Self::Array(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { ", " });
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(pairs) => {
                out.push('{');
                for (at, (key, value)) in pairs.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { ", " });
                    quote(key, false, out);
                    out.push_str(": ");
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

/// Appends a JSON string, escaped no more than needed, or to ASCII.
pub(super) fn quote(text: &str, ascii: bool, out: &mut String) {
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
            c if c < ' ' || ascii && !c.is_ascii() => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Read as `jsonb` does, which understands escapes and numbers; `json` only checks them.
    understands: bool,
}

impl<'a> Reader<'a> {
    fn read(text: &'a str, understands: bool) -> Option<Json> {
        let mut reader = Self { text, at: 0, understands };
        let value = reader.value(0)?;
        reader.skip_spaces();
        (reader.at == text.len()).then_some(value)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_spaces(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes the next token if it is this one.
    fn take(&mut self, token: &str) -> Option<()> {
        self.skip_spaces();
        self.text.as_bytes()[self.at..].starts_with(token.as_bytes()).then(|| {
            self.at += token.len();
        })
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        self.skip_spaces();
        if DEPTH_MAX < depth {
            return None;
        }
        match self.peek()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string().map(Json::String),
            b'-' | b'0'..=b'9' => self.number().map(Json::Number),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            b'n' => self.word("null", Json::Null),
            _ => None,
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Option<Json> {
        self.take(word)?;
        self.ends_token().then_some(value)
    }

    /// Words and numbers may not run into further letters.
    fn ends_token(&self) -> bool {
        !self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || 127 < byte)
    }

    fn array(&mut self, depth: usize) -> Option<Json> {
        self.take("[")?;
        let mut items = Vec::new();
        if self.take("]").is_some() {
            return Some(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.take("]").is_some() {
                return Some(Json::Array(items));
            }
            self.take(",")?;
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        self.take("{")?;
        let mut pairs: Vec<(String, Json)> = Vec::new();
        if self.take("}").is_some() {
            return Some(Json::Object(pairs));
        }
        loop {
            self.skip_spaces();
            let key = self.string()?;
            self.take(":")?;
            pairs.push((key, self.value(depth + 1)?));
            if self.take("}").is_some() {
                break;
            }
            self.take(",")?;
        }
        // Stable, so that of equal keys the last one stands last.
        pairs.sort_by(|(one, _), (other, _)| {
            (one.len(), one.as_bytes()).cmp(&(other.len(), other.as_bytes()))
        });
        let mut last: Vec<(String, Json)> = Vec::with_capacity(pairs.len());
        for pair in pairs {
            match last.last_mut() {
                Some(before) if before.0 == pair.0 => *before = pair,
                _ => last.push(pair),
            }
        }
        Some(Json::Object(last))
    }

    fn number(&mut self) -> Option<Decimal> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        let whole = self.digits();
        let leading_zero = 1 < whole && self.text.as_bytes()[self.at - whole] == b'0';
        if whole == 0 || leading_zero {
            return None;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return None;
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            if self.digits() == 0 {
                return None;
            }
        }
        if !self.ends_token() {
            return None;
        }
        if self.understands {
            Decimal::parse(&self.text[start..self.at])
        } else {
            Decimal::parse("0")
        }
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn string(&mut self) -> Option<String> {
        if self.peek() != Some(b'"') {
            return None;
        }
        self.at += 1;
        let mut string = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.find(|c| matches!(c, '"' | '\\') || c < ' ')?;
            string.push_str(&rest[..plain]);
            self.at += plain + 1;
            match rest.as_bytes()[plain] {
                b'"' => return Some(string),
                b'\\' => string.push(self.escape()?),
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let escape = self.peek()?;
        self.at += 1;
        Some(match escape {
            b'"' | b'\\' | b'/' => char::from(escape),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' if self.understands => self.character()?,
            b'u' => self.unit().map(|_| ' ')?,
            _ => return None,
        })
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Option<u16> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then(|| u16::from_str_radix(digits, 16).ok())?
    }

    /// A character of one escape or, beyond the basic plane, of two.
    fn character(&mut self) -> Option<char> {
        let first = self.unit()?;
        let units = if (0xd800..0xdc00).contains(&first) {
            if !self.text.as_bytes()[self.at..].starts_with(b"\\u") {
                return None;
            }
            self.at += 2;
            vec![first, self.unit()?]
        } else {
            vec![first]
        };
        let text = String::from_utf16(&units).ok()?;
        // PostgreSQL's text cannot hold U+0000.
        text.chars().next().filter(|c| *c != '\0')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> Option<String> {
        let mut out = String::new();
        read(text)?.write(&mut out);
        Some(out)
    }

    #[test]
    fn jsonb_is_printed_as_postgresql_prints_it() {
        for (text, printed) in [
            (r#"{"bb":1,"a":[1,2.50,-0,1e2],"a":null}"#, r#"{"a": null, "bb": 1}"#),
            (" [ ] ", "[]"),
            ("{}", "{}"),
            (r#""\u00e9\ud83d\ude80\/\u0001""#, "\"é🚀/\\u0001\""),
            ("-0.0", "0.0"),
            ("1.50e1", "15.0"),
            (" { \"b\" : 1 , \"a\" : [ 1.50 , \"x\" ] } ", r#"{"a": [1.50, "x"], "b": 1}"#),
            (r#"{"bb": 1, "a": 2, "bb": 3}"#, r#"{"a": 2, "bb": 3}"#),
            ("1e2", "100"),
            ("-0", "0"),
            ("-0.00", "0.00"),
            ("1E-3", "0.001"),
            ("-12.5e-1", "-1.25"),
            ("0e5", "0"),
            (r#""\u00fc\ud83d\ude00\/\u0001\u007f""#, "\"ü😀/\\u0001\u{7f}\""),
            ("[]", "[]"),
            ("null", "null"),
        ] {
            assert_eq!(canonical(text).as_deref(), Some(printed), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            "{",
            "[1,]",
            "{,}",
            "{\"a\" 1}",
            "01",
            "1.",
            ".5",
            "+1",
            "tru",
            "truex",
            "nulls",
            "'a'",
            "[1 2]",
            "{\"a\"}",
            "{a:1}",
            "\"\t\"",
            "\"\\x\"",
            "\"\\u12\"",
            "1 2",
            "-",
            "1e",
            "\"a",
            "NaN",
        ] {
            assert_eq!(read(text), None, "{text:?}");
            assert!(!is_json(text), "{text:?}");
        }
        for text in ["\"\\u0000\"", "\"\\ud800\"", "\"\\udc00\"", "1e99999"] {
            assert_eq!(read(text), None, "{text:?}");
            assert!(is_json(text), "{text:?}: json only checks the text");
        }
    }
}
