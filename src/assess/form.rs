//! What a text looks like: date, number, UUID, JSON, … or nothing in particular.
//!
//! [`Form::of`] looks at one text and says the one form that describes it best; which type a
//! column of such texts could have is decided in [`mod@super::judge`]. A form is about the letters
//! only: whether `0001` is a number or a code is for the judge, so it is a form of its own.
//!
//! Pure. Most texts are told from their first byte and their length, so a look costs some tens of
//! nanoseconds; only text that begins like JSON is read to its end.

use std::net::IpAddr;

/// The forms, from which a column's text is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// No characters.
    Empty,
    /// `2024-02-29`, a day that exists.
    Date,
    /// `12:30`, `12:30:15`, `12:30:15.25`.
    Time,
    /// Date and time without a zone.
    Timestamp,
    /// Date and time with a zone.
    TimestampZoned,
    /// Written like one of the above, but there is no such day or time: `0000-00-00`,
    /// `2024-02-30`, a leap second.
    ImpossibleDate,
    /// A date in a form that SQLite itself does not read: `31.12.2024`, `12/31/2024`.
    OtherDate,
    /// An integer that fits 64 bits, written as SQLite would.
    Integer,
    /// Digits that begin with a zero, or have a plus sign: a number would lose them.
    LeadingZeros,
    /// A decimal number with a point and no exponent.
    Decimal,
    /// `true`, `false`, `yes`, `no`, `on`, `off`, `t`, `f`, `y`, `n` in any case.
    BooleanWord,
    /// A UUID of 36 characters in lower case.
    Uuid,
    /// The same with capitals.
    UuidUpper,
    /// 32 hexadecimal digits.
    Hex32,
    /// A JSON object or array.
    Json,
    /// A JSON string, in its quotes.
    JsonString,
    /// An IPv4 or IPv6 address.
    Ip,
    /// A MAC address of six bytes.
    Mac,
    /// Nothing of the above.
    Other,
}

impl Form {
    /// All forms, in the order of their numbers.
    pub const ALL: [Self; 19] = [
        Self::Empty,
        Self::Date,
        Self::Time,
        Self::Timestamp,
        Self::TimestampZoned,
        Self::ImpossibleDate,
        Self::OtherDate,
        Self::Integer,
        Self::LeadingZeros,
        Self::Decimal,
        Self::BooleanWord,
        Self::Uuid,
        Self::UuidUpper,
        Self::Hex32,
        Self::Json,
        Self::JsonString,
        Self::Ip,
        Self::Mac,
        Self::Other,
    ];

    /// The form in words, for a count of rows: "12 are …".
    pub fn words(self) -> &'static str {
        match self {
            Self::Empty => "''",
            Self::Date => "ISO dates",
            Self::Time => "times of day",
            Self::Timestamp => "ISO date and time without zone",
            Self::TimestampZoned => "ISO date and time with zone",
            Self::ImpossibleDate => "dates that do not exist",
            Self::OtherDate => "dates in another form than ISO",
            Self::Integer => "integers as text",
            Self::LeadingZeros => "digits with leading zeros or a plus sign",
            Self::Decimal => "decimal numbers as text",
            Self::BooleanWord => "boolean words",
            Self::Uuid => "UUIDs",
            Self::UuidUpper => "UUIDs with capitals",
            Self::Hex32 => "32 hexadecimal digits",
            Self::Json => "JSON objects or arrays",
            Self::JsonString => "JSON strings",
            Self::Ip => "IP addresses",
            Self::Mac => "MAC addresses",
            Self::Other => "other text",
        }
    }

    /// The form of a text, and more of it where the form has parts.
    pub fn of(text: &str) -> Found {
        let bytes = text.as_bytes();
        let Some(&first) = bytes.first() else { return Found::plain(Self::Empty) };
        let form = match first {
            b'0'..=b'9' | b'-' | b'+' => return of_digits(text, bytes),
            b'{' | b'[' if is_json(text) => Self::Json,
            b'"' if is_json(text) => Self::JsonString,
            b'a'..=b'f' | b'A'..=b'F' => of_letters(text, bytes),
            b':' if is_ip(text) => Self::Ip,
            _ if is_boolean_word(bytes) => Self::BooleanWord,
            _ => Self::Other,
        };
        Found::plain(form)
    }
}

/// A form, and its parts where it has some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The form.
    pub form: Form,
    /// How a time or timestamp is written.
    pub stamp: Option<Stamp>,
    /// Digits before and after the point of a decimal.
    pub digits: Option<(u32, u32)>,
}

impl Found {
    fn plain(form: Form) -> Self {
        Self { form, stamp: None, digits: None }
    }
}

/// How a date and time is written. Two texts with equal stamps differ in their digits alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// `T` or a space between date and time; `None` for a time alone.
    pub separator: Option<char>,
    /// Has seconds.
    pub seconds: bool,
    /// Digits after the seconds' point.
    pub fraction: u8,
    /// The zone.
    pub zone: Zone,
}

/// How a zone is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Zone {
    /// None.
    None,
    /// `Z`.
    Z,
    /// ` UTC`.
    Utc,
    /// ` +0000 UTC`, as Go prints.
    Go,
    /// An offset in minutes, with the number of characters it is written in: `+00`, `+0000`,
    /// `+00:00`, ` +00:00`.
    Offset {
        /// East of Greenwich.
        minutes: i16,
        /// 3, 5, 6 or 7.
        width: u8,
    },
}

impl Stamp {
    /// As a pattern for people: `YYYY-MM-DDTHH:MM:SS.fffZ`.
    pub fn pattern(self) -> String {
        let mut pattern = String::new();
        if let Some(separator) = self.separator {
            pattern.push_str("YYYY-MM-DD");
            pattern.push(separator);
        }
        pattern.push_str("HH:MM");
        if self.seconds {
            pattern.push_str(":SS");
        }
        if 0 < self.fraction {
            pattern.push('.');
            pattern.extend(std::iter::repeat_n('f', usize::from(self.fraction)));
        }
        match self.zone {
            Zone::None => {}
            Zone::Z => pattern.push('Z'),
            Zone::Utc => pattern.push_str(" UTC"),
            Zone::Go => pattern.push_str(" +0000 UTC"),
            Zone::Offset { minutes, width } => {
                let sign = if minutes < 0 { '-' } else { '+' };
                let (hours, rest) = (minutes.abs() / 60, minutes.abs() % 60);
                pattern.push_str(&match width {
                    3 => format!("{sign}{hours:02}"),
                    5 => format!("{sign}{hours:02}{rest:02}"),
                    7 => format!(" {sign}{hours:02}:{rest:02}"),
                    _ => format!("{sign}{hours:02}:{rest:02}"),
                });
            }
        }
        pattern
    }
}

/// Text that begins with a letter which is a hexadecimal digit.
fn of_letters(text: &str, bytes: &[u8]) -> Form {
    match bytes.len() {
        36 => uuid(bytes).unwrap_or(Form::Other),
        32 if bytes.iter().all(u8::is_ascii_hexdigit) => Form::Hex32,
        17 if is_mac(bytes) => Form::Mac,
        3..=5 if is_boolean_word(bytes) => Form::BooleanWord,
        1 if matches!(bytes[0], b'f' | b'F') => Form::BooleanWord,
        2..=45 if is_ip(text) => Form::Ip,
        _ => Form::Other,
    }
}

/// Text that begins with a digit or a sign.
fn of_digits(text: &str, bytes: &[u8]) -> Found {
    if 5 <= bytes.len()
        && let Some(found) = of_time(bytes)
    {
        return found;
    }
    let digits_from = usize::from(!bytes[0].is_ascii_digit());
    let digits = bytes[digits_from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = &bytes[digits_from + digits..];
    if rest.is_empty() && 0 < digits {
        if bytes.len() == 32 && digits_from == 0 {
            return Found::plain(Form::Hex32);
        }
        let is_canonical = bytes[0] != b'+' && (digits == 1 || bytes[digits_from] != b'0');
        return Found::plain(match text.parse::<i64>() {
            Ok(_) if is_canonical && text != "-0" => Form::Integer,
            _ if !is_canonical => Form::LeadingZeros,
            _ => Form::Other,
        });
    }
    if 0 < digits && rest[0] == b'.' && 1 < rest.len() && rest[1..].iter().all(u8::is_ascii_digit) {
        let is_canonical = bytes[0] != b'+' && (digits == 1 || bytes[digits_from] != b'0');
        let form = if is_canonical { Form::Decimal } else { Form::LeadingZeros };
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let digits = Some((count(digits), count(rest.len() - 1)));
        return Found { form, stamp: None, digits };
    }
    Found::plain(match bytes.len() {
        36 => uuid(bytes).unwrap_or(Form::Other),
        32 if bytes.iter().all(u8::is_ascii_hexdigit) => Form::Hex32,
        17 if is_mac(bytes) => Form::Mac,
        8..=10 if is_other_date(bytes) => Form::OtherDate,
        2..=45 if is_ip(text) => Form::Ip,
        _ => Form::Other,
    })
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0_u32, |number, byte| {
        byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0'))
    })
}

/// Dates and times as ISO 8601 and SQLite write them; `None` for what is not written so.
fn of_time(bytes: &[u8]) -> Option<Found> {
    if bytes.get(2) == Some(&b':') {
        let (stamp, exists) = time(bytes, None)?;
        if stamp.zone != Zone::None {
            return None;
        }
        let form = if exists { Form::Time } else { Form::ImpossibleDate };
        return Some(Found { form, stamp: Some(stamp), digits: None });
    }
    if bytes.len() < 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let (year, month, day) = (number(&bytes[..4])?, number(&bytes[5..7])?, number(&bytes[8..10])?);
    let day_exists = year != 0 && (1..=12).contains(&month) && 1 <= day && day <= days(year, month);
    if bytes.len() == 10 {
        let form = if day_exists { Form::Date } else { Form::ImpossibleDate };
        return Some(Found::plain(form));
    }
    let separator = match bytes[10] {
        b' ' => ' ',
        b'T' => 'T',
        _ => return None,
    };
    let (stamp, time_exists) = time(&bytes[11..], Some(separator))?;
    let form = match stamp.zone {
        _ if !day_exists || !time_exists => Form::ImpossibleDate,
        Zone::None => Form::Timestamp,
        _ => Form::TimestampZoned,
    };
    Some(Found { form, stamp: Some(stamp), digits: None })
}

fn days(year: u32, month: u32) -> u32 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// `HH:MM[:SS[.f…]][zone]`, and whether a clock shows such a time.
fn time(bytes: &[u8], separator: Option<char>) -> Option<(Stamp, bool)> {
    if bytes.len() < 5 || bytes[2] != b':' {
        return None;
    }
    let (hour, minute) = (number(&bytes[..2])?, number(&bytes[3..5])?);
    let mut rest = &bytes[5..];
    let mut stamp = Stamp { separator, seconds: false, fraction: 0, zone: Zone::None };
    let mut second = 0;
    if rest.len() >= 3 && rest[0] == b':' {
        second = number(&rest[1..3])?;
        stamp.seconds = true;
        rest = &rest[3..];
        if rest.first() == Some(&b'.') {
            let digits = rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return None;
            }
            stamp.fraction = u8::try_from(digits).unwrap_or(u8::MAX);
            rest = &rest[1 + digits..];
        }
    }
    stamp.zone = zone(rest)?;
    Some((stamp, hour < 24 && minute < 60 && second < 60))
}

fn zone(rest: &[u8]) -> Option<Zone> {
    let offset = match rest {
        [b' ', offset @ ..] if rest.len() == 7 => offset,
        offset => offset,
    };
    let sign = match offset {
        [] => return Some(Zone::None),
        b"Z" => return Some(Zone::Z),
        b" UTC" => return Some(Zone::Utc),
        b" +0000 UTC" => return Some(Zone::Go),
        [b'+', ..] => 1,
        [b'-', ..] => -1,
        _ => return None,
    };
    let (hours, minutes) = match offset.len() {
        3 => (number(&offset[1..3])?, 0),
        5 => (number(&offset[1..3])?, number(&offset[3..5])?),
        6 if offset[3] == b':' => (number(&offset[1..3])?, number(&offset[4..6])?),
        _ => return None,
    };
    // PostgreSQL takes offsets up to 15:59.
    if 15 < hours || 59 < minutes {
        return None;
    }
    let minutes = sign * i16::try_from(hours * 60 + minutes).ok()?;
    Some(Zone::Offset { minutes, width: u8::try_from(rest.len()).ok()? })
}

/// `31.12.2024`, `12/31/2024`, `2024/12/31`, `20241231` is a number.
fn is_other_date(bytes: &[u8]) -> bool {
    let mut parts = bytes.split(|byte| matches!(byte, b'.' | b'/' | b'-'));
    let (Some(one), Some(two), Some(three), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let all_digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let lengths = (one.len(), two.len(), three.len());
    all_digits(one)
        && all_digits(two)
        && all_digits(three)
        && matches!(lengths, (1 | 2, 1 | 2, 4) | (4, 1 | 2, 1 | 2))
}

fn is_boolean_word(bytes: &[u8]) -> bool {
    const WORDS: [&[u8]; 10] =
        [b"true", b"false", b"yes", b"no", b"on", b"off", b"t", b"f", b"y", b"n"];
    bytes.len() <= 5 && WORDS.iter().any(|word| bytes.eq_ignore_ascii_case(word))
}

fn uuid(bytes: &[u8]) -> Option<Form> {
    let is_uuid = bytes.iter().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    });
    let has_capitals = bytes.iter().any(u8::is_ascii_uppercase);
    is_uuid.then_some(if has_capitals { Form::UuidUpper } else { Form::Uuid })
}

fn is_mac(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().all(|(at, byte)| match at % 3 {
        2 => *byte == b':',
        _ => byte.is_ascii_hexdigit(),
    })
}

fn is_ip(text: &str) -> bool {
    text.contains([':', '.']) && text.parse::<IpAddr>().is_ok()
}

/// Whether a text is JSON by its grammar (nested up to 127 levels, as deep as is read here).
pub fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_has_the_form_that_describes_it_best() {
        for (text, form) in [
            ("", Form::Empty),
            ("2024-02-29", Form::Date),
            ("2023-02-29", Form::ImpossibleDate),
            ("0000-00-00", Form::ImpossibleDate),
            ("1900-02-29", Form::ImpossibleDate),
            ("2000-02-29", Form::Date),
            ("9999-12-31", Form::Date),
            ("2024-1-5", Form::OtherDate),
            ("31.12.2024", Form::OtherDate),
            ("12/31/2024", Form::OtherDate),
            ("3.8.8", Form::Other),
            ("12:30", Form::Time),
            ("12:30:15.123456", Form::Time),
            ("24:00", Form::ImpossibleDate),
            ("2024-02-29 12:30", Form::Timestamp),
            ("2024-02-29T12:30:15", Form::Timestamp),
            ("2024-02-29 23:59:60", Form::ImpossibleDate),
            ("2024-02-29 12:30:15.5Z", Form::TimestampZoned),
            ("2024-02-29T12:30:15+05:30", Form::TimestampZoned),
            ("2024-02-29T12:30:15-08", Form::TimestampZoned),
            ("2024-02-29 12:30:15.123 +00:00", Form::TimestampZoned),
            ("2024-02-29 12:30:15 +0000", Form::Other),
            ("2024-02-29 12:30:15 +0000 UTC", Form::TimestampZoned),
            ("2024-02-29T12:30:15+2360", Form::Other),
            ("2024-02-29x12:30", Form::Other),
            ("2024-02-29 12:30:15.", Form::Other),
            ("17", Form::Integer),
            ("-9223372036854775808", Form::Integer),
            ("9223372036854775808", Form::Other),
            ("0", Form::Integer),
            ("-0", Form::Other),
            ("0017", Form::LeadingZeros),
            ("+17", Form::LeadingZeros),
            ("1.50", Form::Decimal),
            ("-0.5", Form::Decimal),
            ("00.5", Form::LeadingZeros),
            ("1e5", Form::Other),
            ("1.", Form::Other),
            ("-", Form::Other),
            ("True", Form::BooleanWord),
            ("n", Form::BooleanWord),
            ("f", Form::BooleanWord),
            ("on", Form::BooleanWord),
            ("nothing", Form::Other),
            ("3f208b3d-e711-4053-b0fe-ab766befc5da", Form::Uuid),
            ("BF208B3D-e711-4053-b0fe-ab766befc5da", Form::UuidUpper),
            ("zf208b3d-e711-4053-b0fe-ab766befc5da", Form::Other),
            ("234eba1f0f374d79b3bd51a41d908c5c", Form::Hex32),
            ("12345678901234567890123456789012", Form::Hex32),
            ("{\"a\": [1, 2]}", Form::Json),
            ("[]", Form::Json),
            ("{a}", Form::Other),
            ("\"x\"", Form::JsonString),
            ("10.0.0.1", Form::Ip),
            ("::1", Form::Ip),
            ("fe80::1", Form::Ip),
            ("00:1b:63:84:45:e6", Form::Mac),
            ("aa:bb:cc:dd:ee:ff", Form::Mac),
            ("Größe", Form::Other),
            ("日本語", Form::Other),
        ] {
            assert_eq!(Form::of(text).form, form, "{text:?}");
        }
    }

    #[test]
    fn the_number_of_a_form_is_its_place_in_the_list() {
        for (place, form) in Form::ALL.into_iter().enumerate() {
            assert_eq!(form as usize, place);
        }
    }

    #[test]
    fn a_stamp_says_how_a_time_is_written() {
        for (text, pattern) in [
            ("2024-02-29 12:30", "YYYY-MM-DD HH:MM"),
            ("2024-02-29T12:30:15.123Z", "YYYY-MM-DDTHH:MM:SS.fffZ"),
            ("2024-02-29 12:30:15+00:00", "YYYY-MM-DD HH:MM:SS+00:00"),
            ("2024-02-29 12:30:15-0730", "YYYY-MM-DD HH:MM:SS-0730"),
        ] {
            let stamp = Form::of(text).stamp.expect("it is a timestamp");
            assert_eq!(stamp.pattern(), pattern, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_odd(text in "\\PC{0,40}|[0-9:T. +Z-]{0,40}") {
            let found = Form::of(&text);
            if found.form == Form::Integer {
                let number: i64 = text.parse().expect("an integer");
                proptest::prop_assert_eq!(number.to_string(), text);
            }
        }
    }
}
