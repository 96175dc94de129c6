//! Numbers: what SQLite holds as integer, real or decimal text, and PostgreSQL's integers,
//! floats and decimals (<https://www.postgresql.org/docs/current/datatype-numeric.html>).

use super::form::Digits;
use super::kind::{Kind, Precision};
use super::{Fate, Judge};
use crate::value::{Misfit, Owned, Storage, numeric};

/// Most digits a decimal may have on either side of the point. PostgreSQL takes 131,072 before it
/// and 16,383 after it; the fields of its binary form count four digits in 16 signed bits.
const DIGITS_MAX: usize = 16_383;

/// A decimal number of any size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    is_negative: bool,
    /// Without zeros at the front, empty for none.
    whole: String,
    /// As many digits as were written.
    fraction: String,
}

/// A number as read.
pub(super) enum Number {
    Integer(i64),
    Real(f64),
    Decimal(Decimal),
}

impl Decimal {
    /// Reads `-12.50` and all that PostgreSQL reads but spaces: `+1`, `.5`, `5.`, `1.5e3`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (is_negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            None => (unsigned, 0),
            Some((mantissa, exponent)) => (mantissa, read_exponent(exponent)?),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.is_empty() && fraction.is_empty()
            || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit())
        {
            return None;
        }
        let (mut whole, mut fraction) = (whole.to_owned(), fraction.to_owned());
        let shift = exponent.unsigned_abs();
        if DIGITS_MAX < shift.max(whole.len()).max(fraction.len()) {
            return None;
        }
        if 0 < exponent {
            let moved: String = fraction.chars().chain("0".repeat(shift).chars()).collect();
            whole.push_str(&moved[..shift]);
            fraction = fraction.get(shift..).unwrap_or("").to_owned();
        } else if exponent < 0 {
            let padded = format!("{}{whole}", "0".repeat(shift));
            let at = padded.len() - shift;
            fraction.insert_str(0, &padded[at..]);
            whole = padded[..at].to_owned();
        }
        let whole = whole.trim_start_matches('0').to_owned();
        let fits = whole.len() <= DIGITS_MAX && fraction.len() <= DIGITS_MAX;
        fits.then_some(Self { is_negative, whole, fraction })
    }

    /// The decimal of a finite real: the shortest digits that mean it.
    pub(super) fn of_real(real: f64) -> Option<Self> {
        real.is_finite().then(|| Self::parse(&real.to_string()))?
    }

    fn of_integer(integer: i64) -> Self {
        let whole = integer.unsigned_abs().to_string();
        let whole = whole.trim_start_matches('0').to_owned();
        Self { is_negative: integer < 0, whole, fraction: String::new() }
    }

    /// The digits before the point, without the sign; empty for none.
    pub(super) fn whole(&self) -> &str {
        &self.whole
    }

    fn is_zero(&self) -> bool {
        self.whole.is_empty() && self.fraction.bytes().all(|digit| digit == b'0')
    }

    /// As PostgreSQL prints it: zero has no sign.
    pub(super) fn text(&self) -> String {
        let sign = if self.is_negative && !self.is_zero() { "-" } else { "" };
        let whole = if self.whole.is_empty() { "0" } else { &self.whole };
        let point = if self.fraction.is_empty() { "" } else { "." };
        format!("{sign}{whole}{point}{}", self.fraction)
    }

    /// As [`text`](Self::text), without zeros at the end of the fraction.
    pub(super) fn trimmed(mut self) -> String {
        self.fraction.truncate(self.fraction.trim_end_matches('0').len());
        self.text()
    }

    /// Gives it exactly the scale's digits, rounding half away from zero as PostgreSQL does;
    /// says whether digits other than zeros went.
    pub(super) fn rescale(&mut self, scale: i16) -> bool {
        let keep = usize::from(scale.max(0).unsigned_abs());
        if 0 <= scale && self.fraction.len() <= keep {
            self.fraction.push_str(&"0".repeat(keep - self.fraction.len()));
            return false;
        }
        let drop_whole = usize::from(scale.min(0).unsigned_abs());
        let digits = format!("{}{}", self.whole, self.fraction);
        // Where the digits to drop begin, counted from the front; before it for small numbers.
        let padding = drop_whole.saturating_sub(self.whole.len());
        let digits = format!("{}{digits}", "0".repeat(padding));
        let cut = self.whole.len() + padding + keep - drop_whole;
        let (kept, dropped) = digits.split_at(cut);
        let is_lost = dropped.bytes().any(|digit| digit != b'0');
        let mut kept = kept.as_bytes().to_vec();
        if dropped.bytes().next().is_some_and(|digit| b'5' <= digit) {
            increment(&mut kept);
        }
        let kept = String::from_utf8(kept).unwrap_or_default();
        let at = kept.len() - keep;
        self.fraction = kept[at..].to_owned();
        let whole = format!("{}{}", &kept[..at], "0".repeat(drop_whole));
        self.whole = whole.trim_start_matches('0').to_owned();
        is_lost
    }

    fn put(&self, out: &mut Vec<u8>) {
        numeric::put_decimal(out, &self.text());
    }
}

/// Adds one to the last place of ASCII digits.
fn increment(digits: &mut Vec<u8>) {
    for digit in digits.iter_mut().rev() {
        if *digit != b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
    digits.insert(0, b'1');
}

fn read_exponent(text: &str) -> Option<isize> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

impl Number {
    /// Reads any storage class that may be a number; what the column's form is, is asked later.
    pub(super) fn read(value: Storage<'_>) -> Option<Self> {
        match value {
            Storage::Integer(integer) => Some(Self::Integer(integer)),
            Storage::Real(real) => Some(Self::Real(real)),
            Storage::Text(text) => {
                Decimal::parse(std::str::from_utf8(text).ok()?).map(Self::Decimal)
            }
            Storage::Null | Storage::Blob(_) => None,
        }
    }
}

impl Digits {
    /// How a column of this form holds a decimal; `None` if it cannot.
    pub(super) fn of_decimal(self, decimal: &str) -> Option<Owned> {
        match self {
            Self::Text => Some(Owned::Text(decimal.into())),
            Self::Trimmed => Some(Owned::Text(Decimal::parse(decimal)?.trimmed().into())),
            Self::Integer => integer_of(decimal).map(Owned::Integer),
            Self::Mixed => match integer_of(decimal) {
                Some(integer) => Some(Owned::Integer(integer)),
                None => decimal.parse().ok().map(Owned::Real),
            },
            Self::Real => decimal.parse().ok().map(Owned::Real),
        }
    }

    /// How a column of this form holds an integer.
    pub(super) fn of_integer(self, integer: i64) -> Owned {
        match self {
            Self::Integer | Self::Mixed => Owned::Integer(integer),
            // Nearest; what is not exact is found when it is compared.
            #[expect(clippy::cast_precision_loss)]
            Self::Real => Owned::Real(integer as f64),
            Self::Text | Self::Trimmed => Owned::Text(integer.to_string().into()),
        }
    }

    /// How a column of this form holds a real.
    pub(super) fn of_real(self, real: f64) -> Option<Owned> {
        let integer = integer_of_real(real);
        match self {
            Self::Integer => integer.map(Owned::Integer),
            Self::Mixed => Some(integer.map_or(Owned::Real(real), Owned::Integer)),
            Self::Real => Some(Owned::Real(real)),
            Self::Text | Self::Trimmed if real.is_finite() => {
                Some(Owned::Text(real.to_string().into()))
            }
            Self::Text | Self::Trimmed => None,
        }
    }
}

/// The integer a decimal is, if it is one of 64 bits.
fn integer_of(decimal: &str) -> Option<i64> {
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
    fraction.bytes().all(|digit| digit == b'0').then(|| whole.parse().ok())?
}

/// The integer a real is, if it is one of 64 bits. −0.0 is none.
pub(super) fn integer_of_real(real: f64) -> Option<i64> {
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    let is_integer = real.fract() == 0.0
        && (-TWO_TO_63..TWO_TO_63).contains(&real)
        && !(real == 0.0 && real.is_sign_negative());
    // Exact within these limits.
    #[expect(clippy::cast_possible_truncation)]
    is_integer.then_some(real as i64)
}

/// Encodes a number for an integer type of so many bytes.
pub(super) fn put_integer(
    kind: &Kind,
    value: Storage<'_>,
    judge: &mut Judge<'_>,
    out: &mut Vec<u8>,
) -> Result<Fate, Misfit> {
    let pg = kind.plain();
    let number = Number::read(value).ok_or(class_or_malformed(value, pg))?;
    let wide: i128 = match number {
        Number::Integer(integer) => i128::from(integer),
        Number::Real(real) => {
            if real.is_nan() {
                return Err(Misfit::Class { class: "real", pg });
            }
            let rounded = real.round_ties_even();
            judge.lose_digits(rounded.to_bits() != real.to_bits() && rounded != real, pg)?;
            // Saturates; 128 bits are beyond any limit.
            #[expect(clippy::cast_possible_truncation)]
            let wide = rounded as i128;
            wide
        }
        Number::Decimal(decimal) => {
            // PostgreSQL reads no point and no exponent into an integer.
            if !decimal.fraction.is_empty() {
                return Err(Misfit::Malformed { class: value.class(), pg });
            }
            decimal.text().parse().map_err(|_| Misfit::OutOfRange { pg })?
        }
    };
    let (low, high) = match kind {
        Kind::SmallInt => (i64::from(i16::MIN), i64::from(i16::MAX)),
        Kind::Integer => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    };
    let Some(integer) = judge.within(wide, i128::from(low), i128::from(high), pg)? else {
        return Ok(Fate::Null);
    };
    let bytes = i64::try_from(integer).map_err(|_| Misfit::OutOfRange { pg })?.to_be_bytes();
    let skip = match kind {
        Kind::SmallInt => 6,
        Kind::Integer => 4,
        _ => 0,
    };
    judge.put(out, &bytes[skip..])
}

/// The inverse of [`put_integer`].
pub(super) fn integer(bytes: &[u8]) -> Option<i64> {
    match *bytes {
        [a, b] => Some(i64::from(i16::from_be_bytes([a, b]))),
        [a, b, c, d] => Some(i64::from(i32::from_be_bytes([a, b, c, d]))),
        _ => Some(i64::from_be_bytes(bytes.try_into().ok()?)),
    }
}

/// Encodes a number for `double precision`.
pub(super) fn put_double(
    value: Storage<'_>,
    judge: &mut Judge<'_>,
    out: &mut Vec<u8>,
) -> Result<Fate, Misfit> {
    let pg = Kind::Double.plain();
    let real = match Number::read(value).ok_or(class_or_malformed(value, pg))? {
        Number::Real(real) => real,
        Number::Integer(integer) => {
            #[expect(clippy::cast_precision_loss)]
            let real = integer as f64;
            judge.lose_digits(Decimal::of_real(real) != Some(Decimal::of_integer(integer)), pg)?;
            real
        }
        Number::Decimal(decimal) => {
            let real: f64 = decimal.text().parse().map_err(|_| Misfit::OutOfRange { pg })?;
            let is_lost =
                Decimal::of_real(real).map(Decimal::trimmed) != Some(decimal.clone().trimmed());
            if !real.is_finite() || real == 0.0 && !decimal.is_zero() {
                let Some(clamped) = judge.beyond(real.clamp(f64::MIN, f64::MAX), pg)? else {
                    return Ok(Fate::Null);
                };
                clamped
            } else {
                judge.lose_digits(is_lost, pg)?;
                // PostgreSQL keeps the sign of a zero.
                if decimal.is_zero() && decimal.is_negative { -0.0 } else { real }
            }
        }
    };
    judge.put(out, &real.to_bits().to_be_bytes())
}

/// Encodes a number for `real`: the single whose shortest decimal is the number.
pub(super) fn put_single(
    value: Storage<'_>,
    judge: &mut Judge<'_>,
    out: &mut Vec<u8>,
) -> Result<Fate, Misfit> {
    let pg = Kind::Real.plain();
    let decimal = match Number::read(value).ok_or(class_or_malformed(value, pg))? {
        Number::Real(real) if !real.is_finite() || real == 0.0 => {
            // Infinities and the zeros are their own.
            #[expect(clippy::cast_possible_truncation)]
            return judge.put(out, &(real as f32).to_bits().to_be_bytes());
        }
        Number::Real(real) => Decimal::of_real(real).ok_or(Misfit::OutOfRange { pg })?,
        Number::Integer(integer) => Decimal::of_integer(integer),
        Number::Decimal(decimal) => decimal,
    };
    let single: f32 = decimal.text().parse().map_err(|_| Misfit::OutOfRange { pg })?;
    let single = if !single.is_finite() || single == 0.0 && !decimal.is_zero() {
        match judge.beyond(single.clamp(f32::MIN, f32::MAX), pg)? {
            Some(clamped) => clamped,
            None => return Ok(Fate::Null),
        }
    } else {
        let shortest = Decimal::parse(&single.to_string()).map(Decimal::trimmed);
        judge.lose_digits(shortest != Some(decimal.clone().trimmed()), pg)?;
        if decimal.is_zero() && decimal.is_negative { -0.0 } else { single }
    };
    judge.put(out, &single.to_bits().to_be_bytes())
}

/// What a column of this form held for a `real` or `double precision`.
pub(super) fn float(digits: Digits, bytes: &[u8]) -> Option<Owned> {
    let real = match *bytes {
        [a, b, c, d] => {
            let single = f32::from_be_bytes([a, b, c, d]);
            // Through its shortest decimal, as drivers do: 0.1 is 0.1 and not 0.10000000149.
            single.to_string().parse().ok()?
        }
        _ => f64::from_be_bytes(bytes.try_into().ok()?),
    };
    // SQLite has no NaN.
    if real.is_nan() { None } else { digits.of_real(real) }
}

/// Encodes a number for `numeric`.
pub(super) fn put_numeric(
    precision: Option<Precision>,
    value: Storage<'_>,
    judge: &mut Judge<'_>,
    out: &mut Vec<u8>,
) -> Result<Fate, Misfit> {
    let pg = "numeric";
    let mut decimal = match Number::read(value).ok_or(class_or_malformed(value, pg))? {
        Number::Integer(integer) => Decimal::of_integer(integer),
        Number::Real(real) => Decimal::of_real(real).ok_or(Misfit::OutOfRange { pg })?,
        Number::Decimal(decimal) => decimal,
    };
    let Some(Precision { digits, scale }) = precision else {
        decimal.put(out);
        return Ok(Fate::Sent);
    };
    let is_lost = decimal.rescale(scale);
    // How many digits may stand before the point; fewer than none where the scale is larger.
    let whole_max = i32::from(digits) - i32::from(scale);
    let leading = match (decimal.whole.len(), decimal.fraction.find(|digit| digit != '0')) {
        (0, None) => i32::MIN,
        (0, Some(zeros)) => -i32::try_from(zeros).unwrap_or(i32::MAX),
        (whole, _) => i32::try_from(whole).unwrap_or(i32::MAX),
    };
    if whole_max < leading {
        let largest = largest(digits, scale, decimal.is_negative);
        let Some(largest) = judge.beyond(largest, pg)? else { return Ok(Fate::Null) };
        decimal = largest;
    } else {
        judge.lose_digits(is_lost, pg)?;
    }
    decimal.put(out);
    Ok(Fate::Sent)
}

/// The number farthest from zero that `numeric(digits, scale)` holds.
fn largest(digits: u16, scale: i16, is_negative: bool) -> Decimal {
    let nines = format!(
        "{}{}e{}",
        if is_negative { "-" } else { "" },
        "9".repeat(usize::from(digits)),
        -i32::from(scale)
    );
    let mut decimal = Decimal::parse(&nines).unwrap_or_else(|| Decimal::of_integer(0));
    decimal.rescale(scale);
    decimal
}

/// The reason why a value is no number.
pub(super) fn class_or_malformed(value: Storage<'_>, pg: &'static str) -> Misfit {
    match value {
        Storage::Text(_) => Misfit::Malformed { class: "text", pg },
        other => Misfit::Class { class: other.class(), pg },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_as_postgresql_reads_them() {
        for (written, text) in [
            ("1", "1"),
            ("+1", "1"),
            ("-0", "0"),
            ("-0.00", "0.00"),
            ("007", "7"),
            (".5", "0.5"),
            ("5.", "5"),
            ("1.50e1", "15.0"),
            ("1e2", "100"),
            ("1.5e-3", "0.0015"),
            ("0.0e5", "0"),
            ("-12.345E+2", "-1234.5"),
            ("0e0", "0"),
        ] {
            assert_eq!(Decimal::parse(written).expect(written).text(), text, "{written}");
        }
        for written in ["", "-", ".", "e5", "1e", "1e+", "1 ", " 1", "0x1", "1_0", "inf", "1e99999"]
        {
            assert_eq!(Decimal::parse(written), None, "{written:?}");
        }
    }

    #[test]
    fn rescaling_rounds_half_away_from_zero() {
        for (written, scale, text, is_lost) in [
            ("3982.2700000000004", 2, "3982.27", true),
            ("1.5", 2, "1.50", false),
            ("1.500", 2, "1.50", false),
            ("1.005", 2, "1.01", true),
            ("-1.005", 2, "-1.01", true),
            ("9.999", 2, "10.00", true),
            ("0.004", 2, "0.00", true),
            ("1250", -2, "1300", true),
            ("1200", -2, "1200", false),
            ("49", -2, "0", true),
            ("50", -2, "100", true),
            ("5", -2, "0", true),
            ("12.5", 0, "13", true),
            ("0", -3, "0", false),
        ] {
            let mut decimal = Decimal::parse(written).expect(written);
            assert_eq!(decimal.rescale(scale), is_lost, "{written}");
            assert_eq!(decimal.text(), text, "{written}");
        }
    }
}
