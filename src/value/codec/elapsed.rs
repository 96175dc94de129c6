//! Counts of time: so many seconds or milliseconds, and the microseconds they are.

use super::Judge;
use super::form::{Digits, Unit};
use super::number::{Decimal, Number, class_or_malformed};
use crate::value::{Misfit, Owned, Storage};

/// Far beyond every limit, and far from the limits of 128 bits.
const COUNT_MAX: f64 = 1e24;

/// Microseconds of a count.
pub(super) fn micros(
    value: Storage<'_>,
    unit: Unit,
    judge: &mut Judge<'_>,
    pg: &'static str,
) -> Result<i128, Misfit> {
    let number = Number::read(value).ok_or(class_or_malformed(value, pg))?;
    match (number, unit.micros()) {
        (Number::Integer(count), Some(size)) => Ok(i128::from(count) * i128::from(size)),
        (Number::Integer(nanos), None) => {
            judge.lose_digits(nanos % 1000 != 0, pg)?;
            Ok(i128::from(nanos).div_euclid(1000))
        }
        (Number::Real(real), _) => {
            if real.is_nan() {
                return Err(Misfit::OutOfRange { pg });
            }
            let micros = micros_of_real(real, unit);
            let back = of_micros(micros, unit, Digits::Real);
            let is_same =
                matches!(back, Some(Owned::Real(back)) if back.to_bits() == real.to_bits());
            // A count beyond all limits is out of range, which the type itself will say.
            judge.lose_digits(!is_same && real.abs() < COUNT_MAX, pg)?;
            Ok(micros)
        }
        (Number::Decimal(decimal), _) => micros_of_decimal(decimal, unit, judge, pg),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
fn micros_of_real(real: f64, unit: Unit) -> i128 {
    let bounded = real.clamp(-COUNT_MAX, COUNT_MAX);
    let (whole, fraction) = (bounded.floor(), bounded - bounded.floor());
    match unit.micros() {
        Some(size) => whole as i128 * i128::from(size) + (fraction * size as f64).round() as i128,
        None => (whole as i128).div_euclid(1000),
    }
}

fn micros_of_decimal(
    mut decimal: Decimal,
    unit: Unit,
    judge: &mut Judge<'_>,
    pg: &'static str,
) -> Result<i128, Misfit> {
    let (scale, size) = match unit {
        Unit::Days => (0, 86_400_000_000),
        Unit::Seconds => (6, 1),
        Unit::Millis => (3, 1),
        Unit::Micros => (0, 1),
        Unit::Nanos => (-3, 1),
    };
    judge.lose_digits(decimal.rescale(scale), pg)?;
    let digits = decimal.text().replace('.', "");
    let digits = if scale < 0 { digits.strip_suffix("000").unwrap_or("0") } else { &digits };
    let count: i64 = digits.parse().map_err(|_| Misfit::OutOfRange { pg })?;
    Ok(i128::from(count) * size)
}

/// How a column holds so many microseconds; `None` if it cannot.
pub(super) fn of_micros(micros: i128, unit: Unit, digits: Digits) -> Option<Owned> {
    let Some(size) = unit.micros().map(i128::from) else {
        return Some(digits.of_integer(i64::try_from(micros * 1000).ok()?));
    };
    if micros % size == 0 {
        return Some(digits.of_integer(i64::try_from(micros / size).ok()?));
    }
    match digits {
        Digits::Integer => None,
        Digits::Real | Digits::Mixed => {
            // Both are exact until the year 2255; beyond it, the comparison finds what is not.
            #[expect(clippy::cast_precision_loss)]
            Some(Owned::Real(micros as f64 / size as f64))
        }
        Digits::Text | Digits::Trimmed => {
            let places = usize::try_from(size.checked_ilog10()?).ok()?;
            if 10_i128.checked_pow(size.checked_ilog10()?) != Some(size) {
                return None;
            }
            let sign = if micros < 0 { "-" } else { "" };
            let (whole, rest) = (micros.abs() / size, micros.abs() % size);
            let fraction = format!("{rest:0places$}");
            let fraction = fraction.trim_end_matches('0');
            Some(Owned::Text(format!("{sign}{whole}.{fraction}").into()))
        }
    }
}
