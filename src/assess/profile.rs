//! What the values of one column are like: one value at a time into a bounded set of counters.
//!
//! A [`Profile`] counts storage classes, ranges, lengths and [forms](super::form) of text, and for
//! everything that is rare in a healthy column it keeps the keys of the first few rows that show
//! it, so that a finding can name rows. Profiles of two stretches of a table [merge] into the
//! profile of both. Memory is bounded whatever the table: some kilobytes a column.
//!
//! Pure. No judgement here: what the counts mean is in [`mod@super::judge`].
//!
//! [merge]: Profile::merge

use std::sync::Arc;

use super::form::{Form, Stamp, is_json};
use super::remedy::Remedies;
use crate::value::codec::Codec;
use crate::value::{Misfit, Owned, Storage};

/// Row keys that are kept for each kind of rare thing.
pub const KEYS_KEPT: usize = 5;

/// Bytes of a text or blob that are kept of a key: enough to find the row, bounded in memory.
const KEY_BYTES_KEPT: usize = 64;

/// Ways of writing a timestamp that are told apart. A column of one program has one to three.
const STAMPS_KEPT: usize = 64;

/// Values longer than this may not fit a btree entry
/// (<https://www.postgresql.org/docs/current/btree.html>: 2,704 bytes on pages of 8 KiB).
pub const INDEX_ENTRY_BYTES_MAX: usize = 2_704;

/// Names a row, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct RowKey(Vec<Owned>);

impl RowKey {
    /// From the values that name the row, in key order.
    pub fn new<'a>(values: impl IntoIterator<Item = Storage<'a>>) -> Self {
        let cut = |bytes: &[u8]| bytes[..bytes.len().min(KEY_BYTES_KEPT)].to_vec();
        Self(
            values
                .into_iter()
                .map(|value| match value {
                    Storage::Text(bytes) => Owned::Text(cut(bytes)),
                    Storage::Blob(bytes) => Owned::Blob(cut(bytes)),
                    other => other.into(),
                })
                .collect(),
        )
    }
}

impl std::fmt::Display for RowKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let one = |value: &Owned| match value {
            Owned::Null => "NULL".to_owned(),
            Owned::Integer(integer) => integer.to_string(),
            Owned::Real(real) => format!("{real:?}"),
            Owned::Text(text) => format!("'{}'", String::from_utf8_lossy(text)),
            Owned::Blob(bytes) => {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("x'{hex}'")
            }
        };
        match &self.0[..] {
            [only] => f.write_str(&one(only)),
            many => {
                let parts: Vec<String> = many.iter().map(one).collect();
                write!(f, "({})", parts.join(", "))
            }
        }
    }
}

/// How often something was seen, and in which rows first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rare {
    /// How often.
    pub count: u64,
    /// The first [`KEYS_KEPT`] rows.
    pub first: Vec<RowKey>,
}

impl Rare {
    /// Takes note of one row.
    pub fn note(&mut self, key: impl Fn() -> RowKey) {
        self.count += 1;
        if self.first.len() < KEYS_KEPT {
            self.first.push(key());
        }
    }

    /// Adds what was seen further on in the table.
    pub fn merge(&mut self, later: &Self) {
        self.count += later.count;
        let room = KEYS_KEPT - self.first.len();
        self.first.extend(later.first.iter().take(room).cloned());
    }
}

/// The units in which integers tell times since 1970.
pub const EPOCH_UNITS: [EpochUnit; 4] =
    [EpochUnit::Seconds, EpochUnit::Milliseconds, EpochUnit::Microseconds, EpochUnit::Nanoseconds];

/// A unit of time since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochUnit {
    /// 1.
    Seconds,
    /// 10^-3.
    Milliseconds,
    /// 10^-6.
    Microseconds,
    /// 10^-9.
    Nanoseconds,
}

impl EpochUnit {
    /// Parts in a second.
    pub fn per_second(self) -> i64 {
        match self {
            Self::Seconds => 1,
            Self::Milliseconds => 1_000,
            Self::Microseconds => 1_000_000,
            Self::Nanoseconds => 1_000_000_000,
        }
    }

    /// Whether `integer` is a time between 1990 and 2100 in this unit. The ranges of two units do
    /// not meet, so a value is plausible in one unit at most.
    pub fn is_plausible(self, integer: i64) -> bool {
        const YEAR_1990: i64 = 631_152_000;
        const YEAR_2100: i64 = 4_102_444_800;
        (YEAR_1990 * self.per_second()..YEAR_2100 * self.per_second()).contains(&integer)
    }
}

/// The integers of a column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Integers {
    /// All of them.
    pub all: Rare,
    /// Least and greatest.
    pub range: Option<(i64, i64)>,
    /// Zeros.
    pub zeros: u64,
    /// Ones.
    pub ones: u64,
    /// Neither zero nor one.
    pub beyond_boolean: Rare,
    /// Outside 32 bits.
    pub beyond_32_bits: Rare,
    /// Plausible as times since 1970, by unit as in [`EPOCH_UNITS`].
    pub epochs: [u64; 4],
    /// Plausible as such a time in no unit.
    pub no_epoch: Rare,
}

/// The reals of a column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reals {
    /// All of them.
    pub all: Rare,
    /// Least and greatest finite one.
    pub range: Option<(f64, f64)>,
    /// Infinities.
    pub infinite: Rare,
    /// −0.0.
    pub negative_zero: Rare,
    /// Integral and within 64 bits, so that decimal digits would read back as an integer.
    pub integral: Rare,
    /// Counts by digits after the point of the shortest decimal form, or of the rounded one where
    /// that form is noise; the last one is "17 or more".
    pub scales: Vec<u64>,
    /// More than [`SCALE_NOISE`] digits after the point, but [`SCALE_MONEY_MAX`] at most when
    /// rounded to 15 significant digits: 3982.2700000000004.
    pub noise: Rare,
    /// Digits before the point, at most.
    pub whole_digits: u32,
    /// Julian days between 1900 and 2100.
    pub julian: u64,
}

/// Beyond this many digits after the point a real is no amount of money.
pub const SCALE_MONEY_MAX: usize = 4;

/// A sum of amounts shows its rounding error from about here on.
const SCALE_NOISE: usize = 9;

/// Digits after the point that are counted apart: a double has 17 significant ones.
const SCALES: usize = 18;

/// The texts of a column.
#[derive(Clone, Debug, PartialEq)]
pub struct Texts {
    /// All of them.
    pub all: Rare,
    /// Shortest and longest, in characters.
    pub characters: Option<(u64, u64)>,
    /// Longest, in bytes.
    pub bytes_max: u64,
    /// UTF-8 with U+0000 in it.
    pub nul: Rare,
    /// Not UTF-8.
    pub bad_utf8: Rare,
    /// By form, as in [`Form::ALL`]; texts that are not UTF-8 are in none.
    pub forms: Vec<Rare>,
    /// Ways in which timestamps and times are written, with their counts.
    pub stamps: Vec<(Stamp, u64)>,
    /// Timestamps in further ways.
    pub other_stamps: u64,
    /// Digits after the point of decimals: fewest and most.
    pub scale: Option<(u32, u32)>,
    /// Digits before the point of decimals: most.
    pub whole_digits: u32,
    /// JSON by its grammar, scalars included.
    pub json: u64,
    /// Not JSON.
    pub not_json: Rare,
    /// JSON that holds `\u0000`, which jsonb refuses.
    pub json_nul: Rare,
    /// Longer than the declared length, which SQLite does not enforce.
    pub too_long: Rare,
}

impl Default for Texts {
    fn default() -> Self {
        Self {
            all: Rare::default(),
            characters: None,
            bytes_max: 0,
            nul: Rare::default(),
            bad_utf8: Rare::default(),
            forms: vec![Rare::default(); Form::ALL.len()],
            stamps: Vec::new(),
            other_stamps: 0,
            scale: None,
            whole_digits: 0,
            json: 0,
            not_json: Rare::default(),
            json_nul: Rare::default(),
            too_long: Rare::default(),
        }
    }
}

impl Texts {
    /// How many have this form.
    pub fn form(&self, form: Form) -> &Rare {
        &self.forms[form as usize]
    }
}

/// The blobs of a column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Blobs {
    /// All of them.
    pub all: Rare,
    /// Shortest and longest.
    pub bytes: Option<(u64, u64)>,
    /// Not 16 bytes long.
    pub not_uuid: Rare,
    /// 16 bytes with a version and variant as RFC 9562 has them.
    pub uuid: u64,
}

/// The values of one column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// The declared length, as in `varchar(20)`.
    pub declared_length: Option<u64>,
    /// NULLs.
    pub nulls: Rare,
    /// Integers.
    pub integers: Integers,
    /// Reals.
    pub reals: Reals,
    /// Texts.
    pub texts: Texts,
    /// Blobs.
    pub blobs: Blobs,
    /// Values longer than an index entry may be.
    pub beyond_index: Rare,
    /// Bytes of all values, as text and blobs are long and numbers eight.
    pub bytes: u64,
    /// Different values.
    pub distinct: Distinct,
    /// The type that the configuration sets, if it does,
    pub codec: Option<Arc<Codec>>,
    /// and the rows whose values do not fit it, by reason.
    pub refused: Vec<Refused>,
}

/// Values of one column that its type does not take, for one reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The reason.
    pub misfit: Misfit,
    /// Their rows.
    pub rows: Rare,
    /// What would take them.
    pub remedies: Remedies,
}

impl Profile {
    /// An empty profile of a column with this declared type.
    pub fn new(declared: &str) -> Self {
        Self { declared_length: declared_length(declared), ..Self::default() }
    }

    /// Takes note of one value; `key` names its row and is asked only when that is kept.
    pub fn note(&mut self, value: Storage<'_>, key: impl Fn() -> RowKey) {
        self.try_codec(value, &key);
        match value {
            Storage::Null => self.nulls.note(key),
            Storage::Integer(integer) => {
                self.bytes += 8;
                self.distinct.note(b'i', &integer.to_be_bytes());
                self.integers.note(integer, &key);
            }
            Storage::Real(real) => {
                self.bytes += 8;
                self.distinct.note(b'r', &real.to_bits().to_be_bytes());
                self.reals.note(real, &key);
            }
            Storage::Text(text) => {
                self.note_length(text.len(), &key);
                self.distinct.note(b't', text);
                self.texts.note(text, self.declared_length, &key);
            }
            Storage::Blob(bytes) => {
                self.note_length(bytes.len(), &key);
                self.distinct.note(b'b', bytes);
                self.blobs.note(bytes, &key);
            }
        }
    }

    fn note_length(&mut self, bytes: usize, key: impl Fn() -> RowKey) {
        self.bytes += bytes as u64;
        if INDEX_ENTRY_BYTES_MAX < bytes {
            self.beyond_index.note(key);
        }
    }

    /// All values, NULLs included.
    pub fn rows(&self) -> u64 {
        self.nulls.count + self.values()
    }

    /// All values but NULLs.
    pub fn values(&self) -> u64 {
        self.integers.all.count + self.reals.all.count + self.texts.all.count + self.blobs.all.count
    }

    fn try_codec(&mut self, value: Storage<'_>, key: impl Fn() -> RowKey) {
        let Some(codec) = self.codec.clone() else { return };
        if let Err(misfit) = codec.encode(value, &mut Vec::new()) {
            let refused = self.refused_as(misfit);
            refused.rows.note(key);
            refused.remedies.note(&codec, value);
        }
    }

    fn refused_as(&mut self, misfit: Misfit) -> &mut Refused {
        let at = self.refused.iter().position(|known| known.misfit == misfit);
        let at = at.unwrap_or_else(|| {
            let (rows, remedies) = (Rare::default(), Remedies::default());
            self.refused.push(Refused { misfit, rows, remedies });
            self.refused.len() - 1
        });
        &mut self.refused[at]
    }

    /// Adds the profile of what follows in the table. The result is that of both read at once.
    pub fn merge(&mut self, later: &Self) {
        self.nulls.merge(&later.nulls);
        self.integers.merge(&later.integers);
        self.reals.merge(&later.reals);
        self.texts.merge(&later.texts);
        self.blobs.merge(&later.blobs);
        self.beyond_index.merge(&later.beyond_index);
        self.bytes += later.bytes;
        self.distinct.merge(&later.distinct);
        for other in &later.refused {
            let refused = self.refused_as(other.misfit);
            refused.rows.merge(&other.rows);
            refused.remedies.merge(&other.remedies);
        }
    }
}

/// Widens a range by another.
fn widen<T: Copy + PartialOrd>(range: &mut Option<(T, T)>, low: T, high: T) {
    *range = Some(match *range {
        None => (low, high),
        Some((least, greatest)) => {
            (if low < least { low } else { least }, if greatest < high { high } else { greatest })
        }
    });
}

fn widen_by<T: Copy + PartialOrd>(range: &mut Option<(T, T)>, other: Option<(T, T)>) {
    if let Some((low, high)) = other {
        widen(range, low, high);
    }
}

impl Integers {
    fn note(&mut self, integer: i64, key: impl Fn() -> RowKey) {
        self.all.note(&key);
        widen(&mut self.range, integer, integer);
        match integer {
            0 => self.zeros += 1,
            1 => self.ones += 1,
            _ => self.beyond_boolean.note(&key),
        }
        if i32::try_from(integer).is_err() {
            self.beyond_32_bits.note(&key);
        }
        match EPOCH_UNITS.iter().position(|unit| unit.is_plausible(integer)) {
            Some(unit) => self.epochs[unit] += 1,
            None => self.no_epoch.note(&key),
        }
    }

    fn merge(&mut self, later: &Self) {
        self.all.merge(&later.all);
        widen_by(&mut self.range, later.range);
        self.zeros += later.zeros;
        self.ones += later.ones;
        self.beyond_boolean.merge(&later.beyond_boolean);
        self.beyond_32_bits.merge(&later.beyond_32_bits);
        for (mine, theirs) in self.epochs.iter_mut().zip(later.epochs) {
            *mine += theirs;
        }
        self.no_epoch.merge(&later.no_epoch);
    }
}

impl Reals {
    fn note(&mut self, real: f64, key: impl Fn() -> RowKey) {
        self.all.note(&key);
        if !real.is_finite() {
            return self.infinite.note(&key);
        }
        if real == 0.0 && real.is_sign_negative() {
            self.negative_zero.note(&key);
        }
        widen(&mut self.range, real, real);
        if (2_415_020.5..2_488_069.5).contains(&real) {
            self.julian += 1;
        }
        if self.scales.is_empty() {
            self.scales = vec![0; SCALES];
        }
        if real.fract() == 0.0 {
            self.scales[0] += 1;
            self.whole_digits = self.whole_digits.max(digits_before_point(real));
            if is_in_64_bits(real) {
                self.integral.note(&key);
            }
            return;
        }
        let scale = scale_of(&format_exponent(format_args!("{real:e}")));
        self.whole_digits = self.whole_digits.max(digits_before_point(real));
        if SCALE_NOISE < scale {
            let rounded = scale_of(&format_exponent(format_args!("{real:.14e}")));
            if rounded <= SCALE_MONEY_MAX {
                self.scales[rounded] += 1;
                return self.noise.note(&key);
            }
        }
        self.scales[scale.min(SCALES - 1)] += 1;
    }

    fn merge(&mut self, later: &Self) {
        self.all.merge(&later.all);
        widen_by(&mut self.range, later.range);
        self.infinite.merge(&later.infinite);
        self.negative_zero.merge(&later.negative_zero);
        self.integral.merge(&later.integral);
        if self.scales.is_empty() {
            self.scales.clone_from(&later.scales);
        } else {
            for (mine, theirs) in self.scales.iter_mut().zip(&later.scales) {
                *mine += theirs;
            }
        }
        self.noise.merge(&later.noise);
        self.whole_digits = self.whole_digits.max(later.whole_digits);
        self.julian += later.julian;
    }

    /// The most digits after the point, noise apart; `None` without finite reals.
    pub fn scale(&self) -> Option<usize> {
        self.scales.iter().rposition(|count| 0 < *count)
    }
}

/// The text of a number in a buffer of its own: no allocation for each real.
struct Digits {
    bytes: [u8; 40],
    length: usize,
}

impl std::fmt::Write for Digits {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        self.bytes
            .get_mut(self.length..end)
            .ok_or(std::fmt::Error)?
            .copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

fn format_exponent(number: std::fmt::Arguments<'_>) -> Digits {
    let mut digits = Digits { bytes: [0; 40], length: 0 };
    std::fmt::Write::write_fmt(&mut digits, number).expect("a double has 25 characters at most");
    digits
}

/// Digits after the point, from `-1.25e-3`.
fn scale_of(digits: &Digits) -> usize {
    let text = &digits.bytes[..digits.length];
    let at = text.iter().position(|byte| *byte == b'e').unwrap_or(text.len());
    let mantissa = &text[..at];
    let exponent: i32 = std::str::from_utf8(text.get(at + 1..).unwrap_or(b"0"))
        .ok()
        .and_then(|exponent| exponent.parse().ok())
        .unwrap_or(0);
    let point = mantissa.iter().position(|byte| *byte == b'.').map_or(mantissa.len(), |at| at + 1);
    let zeros = mantissa[point..].iter().rev().take_while(|byte| **byte == b'0').count();
    let after = i32::try_from(mantissa.len() - point - zeros).unwrap_or(0);
    usize::try_from(after - exponent).unwrap_or(0)
}

fn digits_before_point(real: f64) -> u32 {
    let mut whole = real.abs();
    let mut digits = 0;
    while 1.0 <= whole && digits < 400 {
        whole /= 10.0;
        digits += 1;
    }
    digits
}

fn is_in_64_bits(real: f64) -> bool {
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    (-TWO_TO_63..TWO_TO_63).contains(&real)
}

impl Texts {
    fn note(&mut self, bytes: &[u8], declared_length: Option<u64>, key: impl Fn() -> RowKey) {
        self.all.note(&key);
        self.bytes_max = self.bytes_max.max(bytes.len() as u64);
        let Ok(text) = std::str::from_utf8(bytes) else {
            return self.bad_utf8.note(&key);
        };
        if bytes.contains(&0) {
            self.nul.note(&key);
        }
        let characters = text.chars().count() as u64;
        widen(&mut self.characters, characters, characters);
        if declared_length.is_some_and(|length| length < characters) {
            self.too_long.note(&key);
        }
        let found = Form::of(text);
        self.forms[found.form as usize].note(&key);
        if let Some(stamp) = found.stamp.filter(|_| found.form != Form::ImpossibleDate) {
            self.note_stamp(stamp, 1);
        }
        if let Some((whole, scale)) = found.digits {
            widen(&mut self.scale, scale, scale);
            self.whole_digits = self.whole_digits.max(whole);
        }
        self.note_json(text, found.form, &key);
    }

    fn note_stamp(&mut self, stamp: Stamp, count: u64) {
        if let Some((_, known)) = self.stamps.iter_mut().find(|(known, _)| *known == stamp) {
            *known += count;
        } else if self.stamps.len() < STAMPS_KEPT {
            self.stamps.push((stamp, count));
        } else {
            self.other_stamps += count;
        }
    }

    fn note_json(&mut self, text: &str, form: Form, key: impl Fn() -> RowKey) {
        let is_container = matches!(form, Form::Json | Form::JsonString);
        let is_valid = match form {
            Form::Json | Form::JsonString | Form::Integer | Form::Decimal => true,
            Form::BooleanWord => matches!(text, "true" | "false"),
            // Numbers with an exponent, `null`, and what has space around it.
            Form::Other => {
                matches!(
                    text.as_bytes()[0],
                    b'0'..=b'9' | b'-' | b'n' | b' ' | b'\n' | b'\r' | b'\t'
                ) && is_json(text)
            }
            _ => false,
        };
        if is_valid {
            self.json += 1;
        } else {
            self.not_json.note(&key);
        }
        if is_container && text.contains("\\u0000") {
            self.json_nul.note(&key);
        }
    }

    fn merge(&mut self, later: &Self) {
        self.all.merge(&later.all);
        widen_by(&mut self.characters, later.characters);
        self.bytes_max = self.bytes_max.max(later.bytes_max);
        self.nul.merge(&later.nul);
        self.bad_utf8.merge(&later.bad_utf8);
        for (mine, theirs) in self.forms.iter_mut().zip(&later.forms) {
            mine.merge(theirs);
        }
        for (stamp, count) in &later.stamps {
            self.note_stamp(*stamp, *count);
        }
        self.other_stamps += later.other_stamps;
        widen_by(&mut self.scale, later.scale);
        self.whole_digits = self.whole_digits.max(later.whole_digits);
        self.json += later.json;
        self.not_json.merge(&later.not_json);
        self.json_nul.merge(&later.json_nul);
        self.too_long.merge(&later.too_long);
    }
}

impl Blobs {
    fn note(&mut self, bytes: &[u8], key: impl Fn() -> RowKey) {
        self.all.note(&key);
        widen(&mut self.bytes, bytes.len() as u64, bytes.len() as u64);
        if bytes.len() != 16 {
            return self.not_uuid.note(&key);
        }
        // RFC 9562, sections 4.1 and 4.2.
        self.uuid += u64::from((1..=8).contains(&(bytes[6] >> 4)) && bytes[8] >> 6 == 0b10);
    }

    fn merge(&mut self, later: &Self) {
        self.all.merge(&later.all);
        widen_by(&mut self.bytes, later.bytes);
        self.not_uuid.merge(&later.not_uuid);
        self.uuid += later.uuid;
    }
}

/// The first number in the parentheses of a declared type, if the type is one of characters.
fn declared_length(declared: &str) -> Option<u64> {
    if !declared.to_ascii_uppercase().contains("CHAR") {
        return None;
    }
    let (_, inner) = declared.split_once('(')?;
    let (length, _) = inner.split_once(')')?;
    length.trim().parse().ok()
}

/// Registers of [`Distinct`]: 2^10 of them give an error of 3 %.
const REGISTERS: usize = 1 << 10;

/// Different values that are counted one by one; beyond, they are estimated.
const EXACT_MAX: usize = 256;

/// How many different values there are: exact for a few, then HyperLogLog (Flajolet and others,
/// 2007). Three kilobytes, whatever it has seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distinct {
    /// Hashes in order, as long as there are no more than [`EXACT_MAX`].
    few: Vec<u64>,
    registers: Vec<u8>,
}

impl Distinct {
    fn note(&mut self, class: u8, bytes: &[u8]) {
        self.note_hash(hash(class, bytes));
    }

    fn note_hash(&mut self, hash: u64) {
        if self.registers.is_empty() {
            let Err(place) = self.few.binary_search(&hash) else { return };
            self.few.insert(place, hash);
            if self.few.len() <= EXACT_MAX {
                return;
            }
            self.registers = vec![0; REGISTERS];
            for hash in std::mem::take(&mut self.few) {
                self.note_in_register(hash);
            }
        } else {
            self.note_in_register(hash);
        }
    }

    fn note_in_register(&mut self, hash: u64) {
        let register = usize::try_from(hash >> 54).expect("ten bits are left");
        let rank = u8::try_from((hash << 10 | 1 << 9).leading_zeros() + 1).expect("64 at most");
        let known = &mut self.registers[register];
        *known = (*known).max(rank);
    }

    fn merge(&mut self, later: &Self) {
        later.few.iter().for_each(|hash| self.note_hash(*hash));
        if later.registers.is_empty() {
            return;
        }
        if self.registers.is_empty() {
            self.registers = vec![0; REGISTERS];
            for hash in std::mem::take(&mut self.few) {
                self.note_in_register(hash);
            }
        }
        for (mine, theirs) in self.registers.iter_mut().zip(&later.registers) {
            *mine = (*mine).max(*theirs);
        }
    }

    /// Whether [`estimate`](Self::estimate) is exact.
    pub fn is_exact(&self) -> bool {
        self.registers.is_empty()
    }

    /// The number, within some percent if it is large.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    pub fn estimate(&self) -> u64 {
        if self.is_exact() {
            return self.few.len() as u64;
        }
        let registers = REGISTERS as f64;
        let sum: f64 = self.registers.iter().map(|rank| 2.0_f64.powi(-i32::from(*rank))).sum();
        let raw = 0.7213 / (1.0 + 1.079 / registers) * registers * registers / sum;
        let empty = self.registers.iter().filter(|rank| **rank == 0).count();
        let estimate = if raw <= 2.5 * registers && 0 < empty {
            registers * (registers / empty as f64).ln()
        } else {
            raw
        };
        (estimate.round() as u64).max(EXACT_MAX as u64)
    }
}

/// A hash whose every bit depends on every byte; stable, so that reports can be compared.
fn hash(class: u8, bytes: &[u8]) -> u64 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut hash = u64::from(class).wrapping_mul(ODD) ^ bytes.len() as u64;
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
        hash = (hash ^ word).wrapping_mul(ODD).rotate_left(29);
    }
    let mut last = [0; 8];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(ODD);
    hash = (hash ^ hash >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    hash ^ hash >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(number: i64) -> RowKey {
        RowKey::new([Storage::Integer(number)])
    }

    fn profile(values: &[Owned]) -> Profile {
        let mut profile = Profile::new("varchar(3)");
        for (number, value) in values.iter().enumerate() {
            profile.note(value.storage(), || key(number as i64));
        }
        profile
    }

    #[test]
    fn rare_things_keep_their_first_rows() {
        let mut values = vec![Owned::Text(b"x".to_vec()); 100];
        for at in [10, 20, 30, 40, 50, 60, 70] {
            values[at] = Owned::Text(b"a\0".to_vec());
        }
        values[99] = Owned::Text(b"\xff".to_vec());
        let profile = profile(&values);
        assert_eq!(profile.texts.nul.count, 7);
        assert_eq!(profile.texts.nul.first, [10, 20, 30, 40, 50].map(key));
        assert_eq!(profile.texts.bad_utf8.first, [key(99)]);
    }

    #[test]
    fn reals_show_their_digits_and_their_noise() {
        let reals = [0.1, 2.25, 3_982.270_000_000_000_4, -0.0, 5.0, f64::INFINITY, 1.0 / 3.0];
        let reals = profile(&reals.map(Owned::Real)).reals;
        assert_eq!(reals.infinite.count, 1);
        assert_eq!(reals.negative_zero.count, 1);
        assert_eq!(reals.integral.count, 2);
        assert_eq!(reals.noise.first, [key(2)]);
        assert_eq!((reals.scales[0], reals.scales[1], reals.scales[2]), (2, 1, 2));
        assert_eq!(reals.whole_digits, 4);
        let money = profile(&[10.5, 3_982.270_000_000_000_4, 7.25].map(Owned::Real)).reals;
        assert_eq!(money.scale(), Some(2));
        assert_eq!(reals.scale(), Some(16));
    }

    #[test]
    fn a_time_since_1970_is_plausible_in_one_unit_only() {
        for (integer, unit) in [
            (1_795_214_806, Some(EpochUnit::Seconds)),
            (1_795_214_806_392, Some(EpochUnit::Milliseconds)),
            (1_795_214_806_392_000, Some(EpochUnit::Microseconds)),
            (1_795_214_806_392_000_000, Some(EpochUnit::Nanoseconds)),
            (0, None),
            (i64::MAX, None),
            (i64::MIN, None),
        ] {
            let plausible: Vec<_> =
                EPOCH_UNITS.into_iter().filter(|unit| unit.is_plausible(integer)).collect();
            assert_eq!(plausible, unit.into_iter().collect::<Vec<_>>(), "{integer}");
        }
    }

    #[test]
    fn the_number_of_different_values_is_told_within_a_tenth() {
        for count in [1_u64, 2, 10, 256, 257, 1_000, 3_000, 10_000, 1_000_000] {
            let mut distinct = Distinct::default();
            for number in 0..count {
                distinct.note(b'i', &number.to_be_bytes());
                distinct.note(b'i', &number.to_be_bytes());
            }
            let error = distinct.estimate().abs_diff(count);
            assert!(error * 10 <= count, "{count}: {}", distinct.estimate());
            assert!(!distinct.is_exact() || error == 0, "{count}");
        }
    }

    #[test]
    fn a_declared_length_is_that_of_a_type_of_characters() {
        for (declared, length) in [
            ("VARCHAR(20)", Some(20)),
            ("nvarchar ( 7 )", Some(7)),
            ("CHARACTER VARYING(3, x)", None),
            ("DECIMAL(10,2)", None),
            ("TEXT", None),
            ("CHAR(", None),
        ] {
            assert_eq!(declared_length(declared), length, "{declared}");
        }
    }

    fn value() -> impl Strategy<Value = Owned> {
        prop_oneof![
            Just(Owned::Null),
            any::<i64>().prop_map(Owned::Integer),
            (0_i64..3).prop_map(Owned::Integer),
            any::<f64>()
                .prop_filter("SQLite has no NaN", |real| !real.is_nan())
                .prop_map(Owned::Real),
            (-1000_i32..1000).prop_map(|cents| Owned::Real(f64::from(cents) / 100.0)),
            "\\PC{0,8}".prop_map(|text| Owned::Text(text.into_bytes())),
            "20[0-9]{2}-[01][0-9]-[0-3][0-9]( [012][0-9]:[0-6][0-9]Z?)?"
                .prop_map(|text| Owned::Text(text.into_bytes())),
            prop::collection::vec(any::<u8>(), 0..20).prop_map(Owned::Text),
            prop::collection::vec(any::<u8>(), 0..20).prop_map(Owned::Blob),
        ]
    }

    proptest! {
        #[test]
        fn two_halves_merge_into_the_whole(
            values in prop::collection::vec(value(), 0..60),
            cut in 0_usize..60,
        ) {
            let whole = profile(&values);
            let cut = cut.min(values.len());
            let mut merged = profile(&values[..cut]);
            let mut later = Profile::new("varchar(3)");
            for (number, value) in values.iter().enumerate().skip(cut) {
                later.note(value.storage(), || key(number as i64));
            }
            merged.merge(&later);
            // −0.0 and 0.0 are equal ends of a range.
            prop_assert_eq!(&merged, &whole);
            prop_assert_eq!(whole.rows(), values.len() as u64);
            let forms: u64 = whole.texts.forms.iter().map(|form| form.count).sum();
            prop_assert_eq!(forms + whole.texts.bad_utf8.count, whole.texts.all.count);
            prop_assert_eq!(whole.texts.json + whole.texts.not_json.count, forms);
        }
    }
}
