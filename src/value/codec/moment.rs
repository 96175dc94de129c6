//! Dates and moments: the texts and counts that SQLite columns hold, and PostgreSQL's
//! microseconds since 2000-01-01
//! (<https://www.postgresql.org/docs/current/datatype-datetime.html>).
//!
//! Reading is generous, writing is exact: a text that does not come back as it was is found by
//! writing it again, so no rule about forms has to be stated twice. Days are counted in the
//! proleptic Gregorian calendar, as both databases do.

use std::fmt::Write as _;

use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};

use super::form::{Digits, Unit};

/// Microseconds of a day.
pub(super) const DAY: i128 = 86_400_000_000;

/// Microseconds from 1970-01-01 to 2000-01-01.
const EPOCH: i128 = 10_957 * DAY;

/// Milliseconds from the Julian day 0 (noon, 4714-11-24 BC) to 1970-01-01, as SQLite counts them
/// (<https://www.sqlite.org/lang_datefunc.html>).
const JULIAN_EPOCH_MILLIS: i128 = 210_866_760_000_000;

/// How a column writes dates or moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moments {
    /// `2026-11-21`.
    Date,
    /// `2026-11-21 09:49:32` and its kin.
    DateTime {
        /// Between date and time.
        separator: Separator,
        /// The time.
        clock: Clock,
        /// After the time.
        suffix: Suffix,
    },
    /// A count since 1970-01-01 00:00:00 UTC.
    Count {
        /// What is counted.
        unit: Unit,
        /// How the count is written.
        digits: Digits,
    },
    /// A Julian day, to SQLite's millisecond.
    Julian(Digits),
}

/// Between date and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Separator {
    /// A space.
    Space,
    /// `T`.
    T,
}

/// How a time of day is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct Clock {
    /// Whether seconds stand.
    pub seconds: Seconds,
    /// The digits after the second.
    pub fraction: Fraction,
}

/// Whether seconds stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seconds {
    /// `12:30:00`.
    Always,
    /// `12:30`.
    Never,
    /// Left out where they are zero, as Java's `LocalDateTime` does.
    Optional,
}

/// The digits after the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fraction {
    /// Always so many; those beyond six are zeros.
    Fixed(u8),
    /// So many, or none where they are zero, as Python does.
    Optional(u8),
    /// No zeros at the end, but at least so many digits: Go with 0, Java's `Timestamp` with 1.
    Trimmed(u8),
    /// 0, 3, 6 or 9, the fewest that hold it, as Java's `Instant` does.
    Groups,
}

/// After the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suffix {
    /// Nothing: a wall clock.
    None,
    /// `Z`.
    Z,
    /// ` UTC`.
    Utc,
    /// ` +0000 UTC`, as Go's `time.Time` prints itself.
    Go,
    /// An offset that never changes.
    Offset {
        /// Minutes east of Greenwich.
        minutes: i16,
        /// How it is written.
        style: OffsetStyle,
    },
}

/// How an offset is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OffsetStyle {
    /// `+00:00`
    Colon,
    /// ` +00:00`, as Sequelize does.
    Spaced,
    /// `+0000`
    Compact,
    /// `+00`, with minutes only where there are some, as PostgreSQL does.
    Hours,
}

/// A moment or wall-clock time: microseconds since 2000-01-01, or one of the infinities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Moment {
    Before,
    At(i128),
    After,
}

/// What a text says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reading {
    pub moment: Moment,
    /// Seconds east of Greenwich, where the text says so.
    pub offset: Option<i32>,
    /// Digits beyond the microsecond were rounded away.
    pub is_rounded: bool,
    /// The second was 60.
    pub is_leap: bool,
}

impl Clock {
    /// `HH:MM:SS`, with six more digits where there are microseconds: an application that keeps
    /// those may write the first at any time.
    pub const PLAIN: Self = Self { seconds: Seconds::Always, fraction: Fraction::Optional(6) };

    /// `HH:MM:SS.mmm`.
    pub const MILLIS: Self = Self { seconds: Seconds::Always, fraction: Fraction::Fixed(3) };

    /// All the ways to write a time of day.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        use Fraction::{Fixed, Groups, Optional, Trimmed};
        let fractions = (1..=9)
            .map(Fixed)
            .chain([Optional(6), Fixed(0), Optional(3), Optional(9)])
            .chain([Trimmed(0), Trimmed(1), Groups])
            .chain([1, 2, 4, 5, 7, 8].map(Optional));
        fractions
            .map(|fraction| Self { seconds: Seconds::Always, fraction })
            .chain([Self { seconds: Seconds::Never, fraction: Fixed(0) }])
            .chain(
                [Fraction::Groups, Fraction::Fixed(0)]
                    .map(|fraction| Self { seconds: Seconds::Optional, fraction }),
            )
    }

    /// Appends a time of day, at most 24 hours.
    pub(super) fn write(self, micros: i128, text: &mut String) -> Option<()> {
        let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(text, "{hour:02}:{minute:02}").ok()?;
        let is_whole_minute = second == 0 && fraction == 0;
        match self.seconds {
            Seconds::Never if !is_whole_minute => return None,
            Seconds::Never => return Some(()),
            Seconds::Optional if is_whole_minute => return Some(()),
            Seconds::Always | Seconds::Optional => {}
        }
        write!(text, ":{second:02}").ok()?;
        let nanos = format!("{fraction:06}000");
        let needed = nanos.trim_end_matches('0').len();
        let digits = match self.fraction {
            Fraction::Fixed(digits) => usize::from(digits),
            Fraction::Optional(_) if needed == 0 => 0,
            Fraction::Optional(digits) => usize::from(digits),
            Fraction::Trimmed(least) => needed.max(usize::from(least)),
            Fraction::Groups => needed.div_ceil(3) * 3,
        };
        if digits < needed || nanos.len() < digits {
            return None;
        }
        if digits != 0 {
            write!(text, ".{}", &nanos[..digits]).ok()?;
        }
        Some(())
    }
}

impl Suffix {
    /// Seconds east of Greenwich.
    fn offset(self) -> Option<i32> {
        match self {
            Self::None => None,
            Self::Z | Self::Utc | Self::Go => Some(0),
            Self::Offset { minutes, .. } => Some(i32::from(minutes) * 60),
        }
    }

    fn write(self, text: &mut String) {
        match self {
            Self::None => {}
            Self::Z => text.push('Z'),
            Self::Utc => text.push_str(" UTC"),
            Self::Go => text.push_str(" +0000 UTC"),
            Self::Offset { minutes, style } => {
                if style == OffsetStyle::Spaced {
                    text.push(' ');
                }
                text.push(if minutes < 0 { '-' } else { '+' });
                let (hour, minute) = (minutes.unsigned_abs() / 60, minutes.unsigned_abs() % 60);
                text.push_str(&match style {
                    OffsetStyle::Colon | OffsetStyle::Spaced => format!("{hour:02}:{minute:02}"),
                    OffsetStyle::Compact => format!("{hour:02}{minute:02}"),
                    OffsetStyle::Hours if minute == 0 => format!("{hour:02}"),
                    OffsetStyle::Hours => format!("{hour:02}:{minute:02}"),
                });
            }
        }
    }

    /// Reads what stands after a time.
    fn read(text: &str) -> Option<Self> {
        match text {
            "" => return Some(Self::None),
            "Z" => return Some(Self::Z),
            " UTC" => return Some(Self::Utc),
            " +0000 UTC" => return Some(Self::Go),
            _ => {}
        }
        let (text, is_spaced) = match text.strip_prefix(' ') {
            Some(text) => (text, true),
            None => (text, false),
        };
        let (sign, rest) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
            (Some(rest), _) => (1, rest),
            (_, Some(rest)) => (-1, rest),
            _ => return None,
        };
        let (hours, minutes, style) = match rest.len() {
            5 if rest.get(2..3)? == ":" => {
                let style = if is_spaced { OffsetStyle::Spaced } else { OffsetStyle::Colon };
                (rest.get(..2)?, rest.get(3..)?, style)
            }
            _ if is_spaced => return None,
            2 => (rest, "0", OffsetStyle::Hours),
            4 => (rest.get(..2)?, rest.get(2..)?, OffsetStyle::Compact),
            _ => return None,
        };
        let (hours, minutes) = (number(hours)?, number(minutes)?);
        // PostgreSQL takes no offset of 16 hours or more.
        if 15 < hours || 59 < minutes {
            return None;
        }
        let minutes = sign * i16::try_from(hours * 60 + minutes).ok()?;
        Some(Self::Offset { minutes, style })
    }
}

impl Moments {
    /// `2026-11-21`.
    pub const ISO_DATE: Self = Self::Date;

    /// `2026-11-21 09:49:32`, as SQLite's `datetime()` writes, and microseconds where there are
    /// some.
    pub const SQLITE: Self =
        Self::DateTime { separator: Separator::Space, clock: Clock::PLAIN, suffix: Suffix::None };

    /// Seconds east of Greenwich of the clock that the form shows; `None` for any wall clock.
    pub(super) fn offset(self) -> Option<i32> {
        match self {
            Self::Date => None,
            Self::DateTime { suffix, .. } => suffix.offset(),
            Self::Count { .. } | Self::Julian(_) => Some(0),
        }
    }

    /// The text forms whose skeleton a text has: all fractions that it may stand for.
    pub(super) fn of_text(text: &str) -> Vec<Self> {
        let plain = text.strip_suffix(" BC").unwrap_or(text);
        let Some((_, rest)) = split_date(plain) else { return Vec::new() };
        let mut rest = rest.chars();
        let separator = match rest.next() {
            None => return vec![Self::Date],
            Some(' ') => Separator::Space,
            Some('T') => Separator::T,
            Some(_) => return Vec::new(),
        };
        let Some((_, suffix)) = split_clock(rest.as_str()) else { return Vec::new() };
        let Some(suffix) = Suffix::read(suffix) else { return Vec::new() };
        let mut suffixes = vec![suffix];
        if let Suffix::Offset { minutes, style: OffsetStyle::Colon } = suffix
            && minutes % 60 != 0
        {
            suffixes.push(Suffix::Offset { minutes, style: OffsetStyle::Hours });
        }
        suffixes
            .into_iter()
            .flat_map(|suffix| {
                Clock::all().map(move |clock| Self::DateTime { separator, clock, suffix })
            })
            .collect()
    }

    /// Whether two forms differ in no more than how they write the time of day.
    pub(super) fn has_frame_of(self, other: Self) -> bool {
        match (self, other) {
            (
                Self::DateTime { separator, suffix, .. },
                Self::DateTime { separator: other, suffix: end, .. },
            ) => separator == other && suffix == end,
            (one, other) => one == other,
        }
    }

    /// Writes a wall-clock time as text; `None` where the form has no place for it.
    pub(super) fn write(self, moment: Moment) -> Option<String> {
        let micros = match moment {
            Moment::After => return Some("infinity".to_owned()),
            Moment::Before => return Some("-infinity".to_owned()),
            Moment::At(micros) => micros,
        };
        let (days, time) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
        let (year, month, day) = civil_from_days(i64::try_from(days).ok()?);
        let (shown, is_bc) = if year <= 0 { (1 - year, true) } else { (year, false) };
        let mut text = String::with_capacity(32);
        write!(text, "{shown:04}-{month:02}-{day:02}").ok()?;
        match self {
            Self::Date if time == 0 => {}
            Self::DateTime { separator, clock, suffix } => {
                text.push(if separator == Separator::T { 'T' } else { ' ' });
                clock.write(time, &mut text)?;
                suffix.write(&mut text);
            }
            _ => return None,
        }
        if is_bc {
            text.push_str(" BC");
        }
        Some(text)
    }
}

/// Reads a date or a date and a time. `None` for what PostgreSQL would refuse, and for much that
/// no program writes.
pub(super) fn read(text: &str) -> Option<Reading> {
    let plain = |moment| Reading { moment, offset: None, is_rounded: false, is_leap: false };
    match text {
        "infinity" => return Some(plain(Moment::After)),
        "-infinity" => return Some(plain(Moment::Before)),
        _ => {}
    }
    let (text, is_bc) = match text.strip_suffix(" BC") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (days, rest) = split_date(text)?;
    let days = i128::from(if is_bc { days.bc()? } else { days.ad()? });
    if rest.is_empty() {
        return Some(plain(Moment::At(days * DAY)));
    }
    let rest = rest.strip_prefix([' ', 'T'])?;
    let (time, suffix) = split_clock(rest)?;
    let suffix = Suffix::read(suffix)?;
    Some(Reading {
        moment: Moment::At(days * DAY + time.micros),
        offset: suffix.offset(),
        is_rounded: time.is_rounded,
        is_leap: time.is_leap,
    })
}

/// Reads a time of day.
pub(super) fn read_clock(text: &str) -> Option<ReadClock> {
    split_clock(text).filter(|(_, rest)| rest.is_empty()).map(|(time, _)| time)
}

/// A date as written.
#[derive(Clone, Copy)]
struct Date {
    year: i64,
    month: u32,
    day: u32,
}

impl Date {
    fn ad(self) -> Option<i64> {
        days_from_civil(self.year, self.month, self.day)
    }

    fn bc(self) -> Option<i64> {
        days_from_civil(1 - self.year, self.month, self.day)
    }
}

/// Takes `YYYY-MM-DD` off the front.
fn split_date(text: &str) -> Option<(Date, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let rest = &text[digits..];
    // A fifth digit is for years after 9999, and no year is 0.
    if !(4..=7).contains(&digits) || 4 < digits && text.starts_with('0') {
        return None;
    }
    let (month, day) = (rest.get(1..3)?, rest.get(4..6)?);
    if rest.get(..1)? != "-" || rest.get(3..4)? != "-" {
        return None;
    }
    let year = i64::from(number(&text[..digits])?);
    if year == 0 {
        return None;
    }
    Some((Date { year, month: number(month)?, day: number(day)? }, &rest[6..]))
}

/// A time of day as read.
pub(super) struct ReadClock {
    pub micros: i128,
    pub is_rounded: bool,
    pub is_leap: bool,
}

/// Takes `HH:MM[:SS[.fraction]]` off the front.
fn split_clock(text: &str) -> Option<(ReadClock, &str)> {
    let hour = number(text.get(..2)?)?;
    let minute = number(text.get(3..5)?)?;
    if text.get(2..3)? != ":" {
        return None;
    }
    let mut rest = &text[5..];
    let (mut second, mut fraction, mut is_rounded) = (0, 0, false);
    if let Some(after) = rest.strip_prefix(':') {
        second = number(after.get(..2)?)?;
        rest = &after[2..];
        if let Some(after) = rest.strip_prefix('.') {
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            (fraction, is_rounded) = read_fraction(&after[..digits])?;
            rest = &after[digits..];
        }
    }
    let seconds = i128::from(hour * 3600 + minute * 60 + second);
    let micros = seconds * 1_000_000 + i128::from(fraction);
    if 59 < minute || 60 < second || DAY < micros || 24 < hour {
        return None;
    }
    // 24:00:00 is the end of the day; nothing comes after it.
    if hour == 24 && micros != DAY {
        return None;
    }
    Some((ReadClock { micros, is_rounded, is_leap: second == 60 }, rest))
}

/// Microseconds of a fraction's digits, and whether digits were rounded away.
fn read_fraction(digits: &str) -> Option<(u32, bool)> {
    if digits.is_empty() {
        return None;
    }
    if 6 < digits.len() && digits.as_bytes()[6..].iter().any(|digit| *digit != b'0') {
        // As PostgreSQL rounds: through a double.
        let fraction: f64 = format!("0.{digits}").parse().ok()?;
        let micros = (fraction * 1e6).round_ties_even();
        // At most 1,000,000, as the fraction is at most 1.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        return Some((micros as u32, true));
    }
    let micros: String = digits.chars().chain("000000".chars()).take(6).collect();
    Some((number(&micros)?, false))
}

/// A number of ASCII digits and nothing else.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn is_leap_year(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days from 2000-01-01 to a date of the proleptic Gregorian calendar; year 0 is 1 BC.
fn days_from_civil(year: i64, month: u32, day: u32) -> Option<i64> {
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap_year(year) => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=last).contains(&day) {
        return None;
    }
    // Years begin in March here, so that the leap day is the last of its year.
    let march_year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (march_year.div_euclid(400), march_year.rem_euclid(400));
    let day_of_year = i64::from((153 * ((month + 9) % 12) + 2) / 5 + day - 1);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 730_425)
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 730_425;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// Microseconds since 2000 of microseconds since 1970.
pub(super) fn from_unix(micros: i128) -> i128 {
    micros - EPOCH
}

/// Microseconds since 1970 of microseconds since 2000.
pub(super) fn to_unix(micros: i128) -> i128 {
    micros + EPOCH
}

/// The moment SQLite sees in a Julian day: the nearest millisecond.
pub(super) fn from_julian(day: f64) -> Option<i128> {
    // SQLite's own limits: the years 0 to 9999.
    if !(0.0..=5_373_484.5).contains(&day) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation)]
    let millis = (day * 86_400_000.0 + 0.5) as i64;
    Some(from_unix((i128::from(millis) - JULIAN_EPOCH_MILLIS) * 1000))
}

/// The Julian day SQLite's `julianday()` gives; `None` for what is no whole millisecond.
pub(super) fn to_julian(micros: i128) -> Option<f64> {
    let unix = to_unix(micros);
    if unix % 1000 != 0 {
        return None;
    }
    let millis = i64::try_from(unix / 1000 + JULIAN_EPOCH_MILLIS).ok()?;
    // Below 2^53 for all of SQLite's years.
    #[expect(clippy::cast_precision_loss)]
    Some(millis as f64 / 86_400_000.0)
}

/// A zone that times without one are in: a fixed offset or a name of the IANA database, of which
/// the binary carries its own copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    name: String,
    zone: ZoneKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ZoneKind {
    Fixed(i32),
    Named(TimeZone),
}

/// A zone nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time zone; write UTC, an offset like +02:00, or a name like Europe/Paris")]
pub struct UnknownZone(String);

impl Zone {
    /// Coordinated universal time.
    pub fn universal() -> Self {
        Self { name: "UTC".to_owned(), zone: ZoneKind::Fixed(0) }
    }

    /// Reads `UTC`, `+02:00` or `Europe/Paris`.
    pub fn parse(name: &str) -> Result<Self, UnknownZone> {
        let unknown = || UnknownZone(name.to_owned());
        let zone = match Suffix::read(name) {
            _ if name.eq_ignore_ascii_case("utc") => ZoneKind::Fixed(0),
            Some(suffix) => ZoneKind::Fixed(suffix.offset().ok_or_else(unknown)?),
            None => {
                let zone = TimeZoneDatabase::bundled().get(name).map_err(|_| unknown())?;
                ZoneKind::Named(zone)
            }
        };
        Ok(Self { name: name.to_owned(), zone })
    }

    /// The wall clock at a moment; `None` beyond the years the zone is known for.
    pub(super) fn wall(&self, utc: i128) -> Option<i128> {
        let offset = match &self.zone {
            ZoneKind::Fixed(offset) => *offset,
            ZoneKind::Named(zone) => {
                let micros = i64::try_from(to_unix(utc)).ok()?;
                zone.to_offset(jiff::Timestamp::from_microsecond(micros).ok()?).seconds()
            }
        };
        Some(utc + i128::from(offset) * 1_000_000)
    }

    /// The first moment at which the wall clock shows this; where the clock was put forward over
    /// it, a moment that shows another time.
    pub(super) fn utc(&self, wall: i128) -> Option<i128> {
        let offset = match &self.zone {
            ZoneKind::Fixed(offset) => *offset,
            ZoneKind::Named(zone) => {
                let micros = i64::try_from(to_unix(wall)).ok()?;
                let shown = jiff::Timestamp::from_microsecond(micros).ok()?;
                let civil = jiff::tz::Offset::UTC.to_datetime(shown);
                match zone.to_ambiguous_timestamp(civil).offset() {
                    AmbiguousOffset::Unambiguous { offset } => offset,
                    AmbiguousOffset::Gap { before, .. } | AmbiguousOffset::Fold { before, .. } => {
                        before
                    }
                }
                .seconds()
            }
        };
        Some(wall - i128::from(offset) * 1_000_000)
    }
}

impl serde::Serialize for Zone {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

impl<'de> serde::Deserialize<'de> for Zone {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::parse(&name).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_calendar_counts_every_day_once() {
        // Ten thousand years around the epoch, one day after the other.
        let mut expected = (-4799, 1, 1);
        let first = days_from_civil(-4799, 1, 1).expect("a date");
        for days in first..first + 3_652_500 {
            assert_eq!(civil_from_days(days), expected);
            let (year, month, day) = expected;
            let (month, day) = (u32::try_from(month), u32::try_from(day));
            let (month, day) = (month.expect("small"), day.expect("small"));
            assert_eq!(days_from_civil(year, month, day), Some(days));
            expected = if days_from_civil(year, month, day + 1).is_some() {
                (year, i64::from(month), i64::from(day) + 1)
            } else if month < 12 {
                (year, i64::from(month) + 1, 1)
            } else {
                (year + 1, 1, 1)
            };
        }
        assert_eq!(days_from_civil(2000, 1, 1), Some(0));
    }

    #[test]
    fn dates_that_are_none_are_refused() {
        for text in [
            "2023-02-29",
            "1900-02-29",
            "2024-02-30",
            "2024-13-01",
            "2024-00-01",
            "2024-01-00",
            "0000-01-01",
            "2024-1-1",
            "24-01-01",
            "02024-01-01",
            "2024-01-01 24:00:01",
            "2024-01-01 12:60:00",
            "2024-01-01 12:00:61",
            "2024-01-01 25:00:00",
            "2024-01-01 12:00:00.",
            "2024-01-01 12:00:00+16:00",
            "2024-01-01x",
            "2024-01-01 ",
            "",
            "é024-01-01",
            "2024-01-é",
            "2024-01-01 é2:00:00",
            "2024-01-01 12:00:00+é0:00",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
        for text in ["2024-02-29", "2000-02-29", "0001-01-01", "0001-02-29 BC", "12345-06-07"] {
            assert!(read(text).is_some(), "{text:?}");
        }
    }

    #[test]
    fn named_zones_follow_their_clocks() {
        let paris = Zone::parse("Europe/Paris").expect("a zone");
        let at = |text| match read(text).expect("a moment").moment {
            Moment::At(micros) => micros,
            _ => unreachable!("it is finite"),
        };
        assert_eq!(paris.utc(at("2026-07-01 12:00:00")), Some(at("2026-07-01 10:00:00")));
        assert_eq!(paris.wall(at("2026-01-01 11:00:00")), Some(at("2026-01-01 12:00:00")));
        // The hour that comes twice, and the one that never comes.
        assert_eq!(paris.utc(at("2026-10-25 02:30:00")), Some(at("2026-10-25 00:30:00")));
        let gap = paris.utc(at("2026-03-29 02:30:00")).expect("in range");
        assert_ne!(paris.wall(gap), Some(at("2026-03-29 02:30:00")));
        assert!(Zone::parse("Europe/Nowhere").is_err());
        assert_eq!(Zone::parse("-05:30").expect("an offset").wall(0), Some(-330 * 60_000_000));
    }

    proptest! {
        #[test]
        fn julian_days_are_as_exact_as_sqlite(millis in 0_i64..464_269_060_799_999) {
            #[expect(clippy::cast_precision_loss)]
            let day = millis as f64 / 86_400_000.0;
            let micros = from_julian(day).expect("in range");
            prop_assert_eq!(to_julian(micros).map(f64::to_bits), Some(day.to_bits()));
        }
    }
}
