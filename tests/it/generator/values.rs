//! Random values as SQL literals: few different ones for keys, so that they collide, and the
//! awkward ones for everything else.

use super::dice::Dice;

/// What a column is meant to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 64-bit integers.
    Integer,
    /// Doubles, infinities included. (SQLite stores -0.0 as 0.0 in such columns.)
    Real,
    /// Valid UTF-8 without NUL.
    Text,
    /// Bytes.
    Blob,
    /// Integers and finite reals.
    Numeric,
    /// 0 and 1.
    Flag,
}

/// A name of a hundred characters, for tables and columns.
pub const LONG_NAME: &str = "a name of one hundred characters, which is more than PostgreSQL keeps \
of any name that it is given ok";

const TEXT_KEYS: &[&str] = &[
    "a",
    "A",
    "a ",
    "A  ",
    "b",
    "B",
    "b ",
    "c",
    "C",
    "",
    "é",
    "É",
    "😀",
    "it's",
    "100%",
    "two\nlines",
    "\"quoted\"",
    "null",
    "0",
    "ß",
];

const TEXTS: &[&str] = &[
    "",
    " ",
    "plain",
    "Plain",
    "plain ",
    "plain  ",
    "tab\t",
    "two\nlines",
    "back\\slash",
    "\\N",
    "\\.",
    "it's",
    "\"quoted\"",
    "😀👩‍👩‍👧",
    "e\u{301} and é",
    "\u{feff}bom",
    "\u{10ffff}",
    "{}",
    "{\"a\": 1}",
    "NULL",
    "true",
    "1",
    "1.0",
    "1e5",
    "0x10",
    "Infinity",
    "2024-02-30",
    "$1",
    ":name",
    "?",
    "%s",
    "\u{1}",
    "\r\n",
    "{{name}}",
];

const INTEGERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "127",
    "128",
    "32768",
    "-32769",
    "2147483647",
    "2147483648",
    "-2147483649",
    "4294967296",
    "9007199254740991",
    "9007199254740993",
    "9223372036854775806",
    "9223372036854775807",
    "-9223372036854775807",
    "(-9223372036854775807 - 1)",
];

const REALS: &[&str] = &[
    "0.0",
    "-0.0",
    "0.1",
    "0.30000000000000004",
    "1.0",
    "-1.5",
    "123456789.125",
    "1e15",
    "1e16",
    "1e100",
    "1.7976931348623157e308",
    "-1.7976931348623157e308",
    "2.2250738585072014e-308",
    "5e-324",
    "-5e-324",
    "9e999",
    "-9e999",
    "9007199254740993.0",
    "9223372036854775807.0",
    "1e-7",
    "3.141592653589793",
];

const BLOBS: &[&str] = &[
    "x''",
    "x'00'",
    "x'ff'",
    "x'00ff00'",
    "x'61'",
    "x'6162'",
    "x'5c78'",
    "x'c328'",
    "x'0a0d5c2e'",
];

/// A text literal.
pub fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// A value for a column that is to be unique: from a small set, so that it often collides.
pub fn unique(kind: Kind, dice: &mut Dice) -> String {
    match kind {
        Kind::Integer if dice.percent(6) => dice.pick(INTEGERS).into(),
        Kind::Integer => dice.below(12).to_string(),
        Kind::Text => text(dice.pick(TEXT_KEYS)),
        Kind::Real => dice.pick(&["0.0", "0.5", "1.0", "-2.25", "1e308", "5e-324", "9e999"]).into(),
        Kind::Blob => dice.pick(&BLOBS[..6]).into(),
        Kind::Numeric => dice.pick(&["0", "1", "2", "2.5", "-0.5", "1e20"]).into(),
        Kind::Flag => dice.below(2).to_string(),
    }
}

/// A rowid. The largest one is left out where SQLite is to choose the next.
pub fn rowid(explicit_only: bool, dice: &mut Dice) -> String {
    match dice.below(24) {
        0 => "-1".into(),
        1 => "0".into(),
        2 => "4611686018427387904".into(),
        3 if explicit_only => "9223372036854775807".into(),
        4 if explicit_only => "(-9223372036854775807 - 1)".into(),
        _ => (1 + dice.below(12)).to_string(),
    }
}

/// A value for any other column: often an awkward one.
pub fn payload(kind: Kind, dice: &mut Dice) -> String {
    if dice.percent(8) {
        return "NULL".into();
    }
    match kind {
        Kind::Integer if dice.percent(40) => dice.pick(INTEGERS).into(),
        Kind::Integer => dice.below(20).to_string(),
        Kind::Real if dice.percent(60) => dice.pick(REALS).into(),
        Kind::Real => finite(dice),
        Kind::Text if dice.percent(3) => {
            format!("replace(hex(zeroblob({})), '00', 'lång ')", 1 + dice.below(2000))
        }
        Kind::Text => text(dice.pick(TEXTS)),
        Kind::Blob if dice.percent(3) => format!("zeroblob({})", dice.below(20_000)),
        Kind::Blob if dice.percent(30) => format!("x'{:016x}'", dice.next()),
        Kind::Blob => dice.pick(BLOBS).into(),
        Kind::Numeric if dice.percent(50) => dice.pick(INTEGERS).into(),
        Kind::Numeric => finite(dice),
        Kind::Flag => dice.below(2).to_string(),
    }
}

/// Any finite double, every bit pattern alike.
fn finite(dice: &mut Dice) -> String {
    let value = f64::from_bits(dice.next());
    if value.is_finite() { format!("{value:e}") } else { "0.5".into() }
}

/// A value that none of the others is, to park a row at.
pub fn parking(kind: Kind) -> &'static str {
    match kind {
        Kind::Integer | Kind::Numeric | Kind::Flag => "-77",
        Kind::Real => "-77.5",
        Kind::Text => "'parked'",
        Kind::Blob => "x'7061726b'",
    }
}
