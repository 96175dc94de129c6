//! PostgreSQL's dates, times and intervals in binary, and the limits they have
//! (<https://www.postgresql.org/docs/current/datatype-datetime.html>).

use super::form::Form;
use super::kind::Kind;
use super::moment::{self, DAY, Moment, Moments, Zone};
use super::policy::LeapSecond;
use super::{Fate, Judge, elapsed};
use crate::value::{Misfit, Owned, Storage};

/// The first day, 4714-11-24 BC, and the last, 5874897-12-31, of `date`.
const DATE_MIN: i128 = -2_451_545;
const DATE_MAX: i128 = 2_145_031_948;

/// The first microsecond, of the same day, and the last, of the year 294276, of `timestamp`.
const TIMESTAMP_MIN: i128 = -211_813_488_000_000_000;
const TIMESTAMP_MAX: i128 = 9_223_371_331_199_999_999;

/// Encodes for a date, a time, a timestamp or an interval.
pub(super) fn put(
    kind: &Kind,
    form: &Form,
    value: Storage<'_>,
    judge: &mut Judge<'_>,
    out: &mut Vec<u8>,
) -> Result<Fate, Misfit> {
    match kind {
        Kind::Time(digits) => put_time(*digits, form, value, judge, out),
        Kind::Interval(digits) => put_interval(*digits, form, value, judge, out),
        _ => {
            let moment = read_moment(kind, form, value, judge)?;
            put_moment(kind, moment, judge, out)
        }
    }
}

/// The inverse of [`put`].
pub(super) fn get(kind: &Kind, form: &Form, zone: Option<&Zone>, bytes: &[u8]) -> Option<Owned> {
    let word = |bytes: &[u8]| Some(i64::from_be_bytes(bytes.try_into().ok()?));
    let day = |bytes: &[u8]| Some(i32::from_be_bytes(bytes.try_into().ok()?));
    match (kind, form) {
        (Kind::Time(_), Form::Clock(clock)) => {
            let mut text = String::new();
            clock.write(i128::from(word(bytes)?), &mut text)?;
            Some(Owned::Text(text.into()))
        }
        (Kind::Time(_), Form::On2000(clock)) => {
            let mut text = DAY_OF_TIMES.to_owned();
            clock.write(i128::from(word(bytes)?), &mut text)?;
            Some(Owned::Text(text.into()))
        }
        (Kind::Time(_), Form::Elapsed { unit, digits }) => {
            elapsed::of_micros(i128::from(word(bytes)?), *unit, *digits)
        }
        (Kind::Interval(_), form) => {
            let (micros, rest) = bytes.split_at_checked(8)?;
            let (days, months) = rest.split_at_checked(4)?;
            // Months have no length.
            if day(months)? != 0 {
                return None;
            }
            let micros = i128::from(day(days)?) * DAY + i128::from(word(micros)?);
            match form {
                Form::Elapsed { unit, digits } => elapsed::of_micros(micros, *unit, *digits),
                Form::SinceEpoch(clock) => {
                    let moment = Moment::At(moment::from_unix(micros));
                    Some(Owned::Text(since_epoch(*clock).write(moment)?.into()))
                }
                _ => None,
            }
        }
        (Kind::Date, Form::Moment(moments)) => {
            let moment = match day(bytes)? {
                i32::MIN => Moment::Before,
                i32::MAX => Moment::After,
                days => Moment::At(i128::from(days) * DAY),
            };
            get_moment(kind, *moments, zone, moment)
        }
        (_, Form::Moment(moments)) => {
            let moment = match word(bytes)? {
                i64::MIN => Moment::Before,
                i64::MAX => Moment::After,
                micros => Moment::At(i128::from(micros)),
            };
            get_moment(kind, *moments, zone, moment)
        }
        _ => None,
    }
}

/// What Rails puts before times of day.
pub(super) const DAY_OF_TIMES: &str = "2000-01-01 ";

/// Reads a time of day, with or without the date that some put before it.
fn read_time(text: &str) -> Option<moment::ReadClock> {
    moment::read_clock(text.strip_prefix(DAY_OF_TIMES).unwrap_or(text))
}

/// `1970-01-01 00:00:01.518823`.
fn since_epoch(clock: moment::Clock) -> Moments {
    let Moments::DateTime { separator, suffix, .. } = Moments::SQLITE else {
        return Moments::SQLITE;
    };
    Moments::DateTime { separator, clock, suffix }
}

/// Text without any policy: a date has no other letters than its own.
fn plain_text<'v>(value: Storage<'v>, pg: &'static str) -> Result<&'v str, Misfit> {
    match value {
        Storage::Text(text) => {
            std::str::from_utf8(text).map_err(|_| Misfit::Malformed { class: "text", pg })
        }
        other => Err(Misfit::Class { class: other.class(), pg }),
    }
}

fn judge_reading(
    is_leap: bool,
    is_rounded: bool,
    judge: &mut Judge<'_>,
    pg: &'static str,
) -> Result<(), Misfit> {
    if is_leap {
        match judge.policies.leap_second {
            LeapSecond::Reject => return Err(Misfit::LeapSecond),
            LeapSecond::Roll => judge.is_lossy = true,
        }
    }
    judge.lose_digits(is_rounded, pg)
}

/// Rounds to so many digits of a second, half away from zero, as PostgreSQL does.
fn round(micros: i128, digits: u8) -> i128 {
    let unit = 10_i128.pow(6 - u32::from(digits.min(6)));
    let magnitude = (micros.abs() + unit / 2) / unit * unit;
    if micros < 0 { -magnitude } else { magnitude }
}

fn put_time(
    digits: u8,
    form: &Form,
    value: Storage<'_>,
    judge: &mut Judge<'_>,
    out: &mut Vec<u8>,
) -> Result<Fate, Misfit> {
    let pg = Kind::Time(6).plain();
    let text = plain_text(value, pg);
    let micros = match (text.map(read_time), form) {
        (Ok(Some(clock)), _) => {
            judge_reading(clock.is_leap, clock.is_rounded, judge, pg)?;
            clock.micros
        }
        (_, Form::Elapsed { unit, .. }) => elapsed::micros(value, *unit, judge, pg)?,
        (Ok(None), _) => return Err(Misfit::Malformed { class: "text", pg }),
        (Err(misfit), _) => return Err(misfit),
    };
    let rounded = round(micros, digits);
    judge.lose_digits(rounded != micros, pg)?;
    let Some(micros) = judge.within(rounded, 0, DAY, pg)? else { return Ok(Fate::Null) };
    judge.put(out, &narrow(micros, pg)?.to_be_bytes())
}

fn narrow(wide: i128, pg: &'static str) -> Result<i64, Misfit> {
    i64::try_from(wide).map_err(|_| Misfit::OutOfRange { pg })
}

fn put_interval(
    digits: u8,
    form: &Form,
    value: Storage<'_>,
    judge: &mut Judge<'_>,
    out: &mut Vec<u8>,
) -> Result<Fate, Misfit> {
    let pg = Kind::Interval(6).plain();
    let micros = match form {
        Form::Elapsed { unit, .. } => elapsed::micros(value, *unit, judge, pg)?,
        _ => {
            let reading = moment::read(plain_text(value, pg)?);
            let reading = reading.ok_or(Misfit::Malformed { class: "text", pg })?;
            judge_reading(reading.is_leap, reading.is_rounded, judge, pg)?;
            match reading.moment {
                Moment::At(micros) if (TIMESTAMP_MIN..=TIMESTAMP_MAX).contains(&micros) => {
                    moment::to_unix(micros - seconds(reading.offset.unwrap_or(0)))
                }
                Moment::At(_) => return Err(Misfit::OutOfRange { pg }),
                // An interval without end exists in PostgreSQL 17 only.
                Moment::Before | Moment::After => return Err(Misfit::OutOfRange { pg }),
            }
        }
    };
    let rounded = round(micros, digits);
    judge.lose_digits(rounded != micros, pg)?;
    // As drivers split a length of time: whole days downwards, and what is left of the last.
    let (low, high) = (i128::from(i32::MIN) * DAY, i128::from(i32::MAX) * DAY + DAY - 1);
    let Some(micros) = judge.within(rounded, low, high, pg)? else { return Ok(Fate::Null) };
    let days = i32::try_from(micros.div_euclid(DAY)).map_err(|_| Misfit::OutOfRange { pg })?;
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&narrow(micros.rem_euclid(DAY), pg)?.to_be_bytes());
    bytes[8..12].copy_from_slice(&days.to_be_bytes());
    judge.put(out, &bytes)
}

/// Reads a value of any moment form, on the clock the type shows.
fn read_moment(
    kind: &Kind,
    form: &Form,
    value: Storage<'_>,
    judge: &mut Judge<'_>,
) -> Result<Moment, Misfit> {
    let pg = kind.plain();
    let reading = match value {
        Storage::Text(_) => moment::read(plain_text(value, pg)?),
        _ => None,
    };
    let (moment, offset) = match (reading, form) {
        (Some(reading), _) => {
            judge_reading(reading.is_leap, reading.is_rounded, judge, pg)?;
            (reading.moment, reading.offset)
        }
        (None, Form::Moment(Moments::Count { unit, .. })) => {
            let micros = elapsed::micros(value, *unit, judge, pg)?;
            (Moment::At(moment::from_unix(micros)), Some(0))
        }
        (None, Form::Moment(Moments::Julian(_))) => {
            (Moment::At(read_julian(value, judge, pg)?), Some(0))
        }
        (None, _) if matches!(value, Storage::Text(_)) => {
            return Err(Misfit::Malformed { class: "text", pg });
        }
        (None, _) => return Err(Misfit::Class { class: value.class(), pg }),
    };
    let Moment::At(micros) = moment else { return Ok(moment) };
    let is_moment = matches!(kind, Kind::Timestamptz(_));
    let out_of_range = Misfit::OutOfRange { pg };
    let zone = judge.policies.zone.as_ref();
    let shown = match (is_moment, offset) {
        (true, Some(offset)) => micros - seconds(offset),
        (true, None) => zone.ok_or(Misfit::NoZone)?.utc(micros).ok_or(out_of_range)?,
        (false, Some(offset)) => {
            let utc = micros - seconds(offset);
            zone.map_or(Some(utc), |zone| zone.wall(utc)).ok_or(out_of_range)?
        }
        (false, None) => micros,
    };
    Ok(Moment::At(shown))
}

fn seconds(seconds: i32) -> i128 {
    i128::from(seconds) * 1_000_000
}

fn read_julian(
    value: Storage<'_>,
    judge: &mut Judge<'_>,
    pg: &'static str,
) -> Result<i128, Misfit> {
    let day = match value {
        Storage::Real(real) => real,
        // Julian days are seven digits long.
        #[expect(clippy::cast_precision_loss)]
        Storage::Integer(integer) => integer as f64,
        Storage::Text(_) => return Err(Misfit::Malformed { class: "text", pg }),
        other => return Err(Misfit::Class { class: other.class(), pg }),
    };
    let micros = moment::from_julian(day).ok_or(Misfit::OutOfRange { pg })?;
    let is_same = moment::to_julian(micros).is_some_and(|back| back.to_bits() == day.to_bits());
    judge.lose_digits(!is_same, pg)?;
    Ok(micros)
}

fn put_moment(
    kind: &Kind,
    moment: Moment,
    judge: &mut Judge<'_>,
    out: &mut Vec<u8>,
) -> Result<Fate, Misfit> {
    let pg = kind.plain();
    match (kind, moment) {
        (Kind::Date, Moment::Before) => judge.put(out, &i32::MIN.to_be_bytes()),
        (Kind::Date, Moment::After) => judge.put(out, &i32::MAX.to_be_bytes()),
        (Kind::Date, Moment::At(micros)) => {
            judge.lose_digits(micros.rem_euclid(DAY) != 0, pg)?;
            let days = micros.div_euclid(DAY);
            let Some(days) = judge.within(days, DATE_MIN, DATE_MAX, pg)? else {
                return Ok(Fate::Null);
            };
            let days = i32::try_from(days).map_err(|_| Misfit::OutOfRange { pg })?;
            judge.put(out, &days.to_be_bytes())
        }
        (_, Moment::Before) => judge.put(out, &i64::MIN.to_be_bytes()),
        (_, Moment::After) => judge.put(out, &i64::MAX.to_be_bytes()),
        (Kind::Timestamp(digits) | Kind::Timestamptz(digits), Moment::At(micros)) => {
            let rounded = round(micros, *digits);
            judge.lose_digits(rounded != micros, pg)?;
            let kept = judge.within(rounded, TIMESTAMP_MIN, TIMESTAMP_MAX, pg)?;
            let Some(kept) = kept else { return Ok(Fate::Null) };
            judge.put(out, &narrow(kept, pg)?.to_be_bytes())
        }
        (_, Moment::At(_)) => Err(Misfit::Form),
    }
}

fn get_moment(kind: &Kind, moments: Moments, zone: Option<&Zone>, moment: Moment) -> Option<Owned> {
    let is_moment = matches!(kind, Kind::Timestamptz(_));
    let shown = match (moment, is_moment, moments.offset()) {
        (Moment::At(micros), true, Some(offset)) => Moment::At(micros + seconds(offset)),
        (Moment::At(micros), true, None) => Moment::At(zone?.wall(micros)?),
        (Moment::At(micros), false, Some(offset)) => {
            let utc = zone.map_or(Some(micros), |zone| zone.utc(micros))?;
            Moment::At(utc + seconds(offset))
        }
        (moment, ..) => moment,
    };
    match (moments, shown) {
        (Moments::Count { unit, digits }, Moment::At(micros)) => {
            elapsed::of_micros(moment::to_unix(micros), unit, digits)
        }
        (Moments::Julian(digits), Moment::At(micros)) => digits.of_real(moment::to_julian(micros)?),
        (Moments::Count { .. } | Moments::Julian(_), _) => None,
        (moments, moment) => Some(Owned::Text(moments.write(moment)?.into())),
    }
}
