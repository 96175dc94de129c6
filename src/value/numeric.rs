//! PostgreSQL's binary `numeric`: base-10000 digits with a weight, a sign and a display scale.
//!
//! Layout as `numeric_send` writes it: four 16-bit words (digit count, weight of the first digit,
//! sign, display scale) and the digits, all big-endian
//! (<https://www.postgresql.org/docs/current/datatype-numeric.html>).

const NEGATIVE: u16 = 0x4000;

/// Appends a plain decimal (`-12.5`, `1000`, no exponent) as a binary field.
pub(super) fn put_decimal(out: &mut Vec<u8>, decimal: &str) {
    let (sign, unsigned) = match decimal.strip_prefix('-') {
        Some(rest) => (NEGATIVE, rest),
        None => (0, decimal),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    // Pad both halves to whole base-10000 digits around the decimal point.
    let whole_digits = whole.len().div_ceil(4);
    let padded: Vec<u8> = std::iter::repeat_n(b'0', whole_digits * 4 - whole.len())
        .chain(whole.bytes())
        .chain(fraction.bytes())
        .chain(std::iter::repeat_n(b'0', fraction.len().div_ceil(4) * 4 - fraction.len()))
        .collect();
    let digits: Vec<u16> = padded
        .chunks_exact(4)
        .map(|four| four.iter().fold(0, |digit, byte| digit * 10 + u16::from(byte - b'0')))
        .collect();
    let leading = digits.iter().take_while(|digit| **digit == 0).count();
    let trailing = digits[leading..].iter().rev().take_while(|digit| **digit == 0).count();
    let significant = &digits[leading..digits.len() - trailing];
    let is_zero = significant.is_empty();
    let weight = if is_zero { 0 } else { to_i16(whole_digits) - 1 - to_i16(leading) };

    let length = i32::try_from(8 + 2 * significant.len()).expect("a decimal of a double is short");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&to_i16(significant.len()).to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&(if is_zero { 0 } else { sign }).to_be_bytes());
    out.extend_from_slice(&to_i16(fraction.len()).to_be_bytes());
    for digit in significant {
        out.extend_from_slice(&digit.to_be_bytes());
    }
}

fn to_i16(count: usize) -> i16 {
    i16::try_from(count).expect("a decimal of a double has at most 1,100 digits")
}

/// The plain decimal of a binary `numeric`; `None` for NaN, infinities and malformed bytes.
pub(super) fn to_decimal(bytes: &[u8]) -> Option<String> {
    let word = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let count = usize::from(word(0)?);
    let weight = i32::from(word(2)?.cast_signed());
    let sign = word(4)?;
    let scale = usize::from(word(6)?);
    if bytes.len() != 8 + 2 * count || !matches!(sign, 0 | NEGATIVE) {
        return None;
    }
    let digit = |place: i32| {
        let index = usize::try_from(weight - place).ok().filter(|index| *index < count);
        index.and_then(|index| word(8 + 2 * index)).unwrap_or(0)
    };
    let mut decimal = String::from(if sign == NEGATIVE { "-" } else { "" });
    let mut whole = String::new();
    for place in (0..=weight.max(0)).rev() {
        whole.push_str(&format!("{:04}", digit(place)));
    }
    let trimmed = whole.trim_start_matches('0');
    decimal.push_str(if trimmed.is_empty() { "0" } else { trimmed });
    if scale != 0 {
        let mut fraction = String::new();
        let mut place = -1;
        while fraction.len() < scale {
            fraction.push_str(&format!("{:04}", digit(place)));
            place -= 1;
        }
        decimal.push('.');
        decimal.push_str(&fraction[..scale]);
    }
    Some(decimal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_survive_the_binary_form() {
        for decimal in [
            "0",
            "1",
            "-1",
            "9999",
            "10000",
            "100000000",
            "0.1",
            "0.0001",
            "0.00001",
            "12345.6789",
            "-12345678.000012",
            "9223372036854775807",
            "-9223372036854775808",
            "0.50",
        ] {
            let mut field = Vec::new();
            put_decimal(&mut field, decimal);
            assert_eq!(to_decimal(&field[4..]).as_deref(), Some(decimal));
        }
    }
}
