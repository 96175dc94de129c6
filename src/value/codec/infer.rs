//! Finds a column's form from its values.
//!
//! Every value votes for all forms that it would come back from; the form with the most votes is
//! the column's, and the values that did not vote for it are the misfits it would have. Where
//! forms tie, one that holds more wins over one that holds less, because values are still to come;
//! then the plainer one.
//!
//! A count of time fits every unit, so there the plausible years decide, over all values: −999
//! milliseconds among today's moments are no seconds.

use std::collections::HashMap;

use super::Codec;
use super::form::{Digits, Form, Unit, UuidForm, Words};
use super::kind::{Kind, Target};
use super::moment::{self, Clock, Moments, Separator, Suffix, Zone};
use super::number::Number;
use super::policy::Policies;
use super::temporal::DAY_OF_TIMES;
use crate::table::Affinity;
use crate::value::{Misfit, Storage};

/// Most forms followed at once. A column of moments with an offset of its own in each row would
/// make 24 for each offset.
const CANDIDATES_MAX: usize = 512;

/// The years in which a count most likely lies: 1980 to 2099, in microseconds since 1970.
const PLAUSIBLE: std::ops::Range<i128> = 315_532_800_000_000..4_102_444_800_000_000;

/// The Julian day of 1970-01-01.
const JULIAN_EPOCH: i128 = 2_440_588;

/// The form of a column, and how far it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inferred {
    /// The form.
    pub form: Form,
    /// Values that come back from it.
    pub fits: u64,
    /// Values other than NULL that do not.
    pub misfits: u64,
}

/// The votes so far.
#[derive(Clone, Debug)]
pub struct Inference {
    target: Target,
    affinity: Affinity,
    policies: Policies,
    values: u64,
    candidates: Vec<Candidate>,
    by_form: HashMap<Form, Option<usize>>,
}

#[derive(Clone, Debug)]
struct Candidate {
    codec: Codec,
    fits: u64,
    plausible: u64,
}

impl Form {
    /// The form of a column of this type and affinity that holds these values; `None` if none fits
    /// any.
    pub fn infer<'v>(
        values: impl IntoIterator<Item = Storage<'v>>,
        target: &Target,
        affinity: Affinity,
    ) -> Option<Inferred> {
        let mut inference = Inference::new(target.clone(), affinity, &Policies::default());
        values.into_iter().for_each(|value| inference.note(value));
        inference.best()
    }
}

impl Inference {
    /// Begins. Without a zone in the policies, times that name none are taken to be universal;
    /// their form is the same.
    pub fn new(target: Target, affinity: Affinity, policies: &Policies) -> Self {
        let mut policies = policies.clone();
        policies.zone.get_or_insert_with(Zone::universal);
        let (candidates, by_form) = (Vec::new(), HashMap::new());
        Self { target, affinity, policies, values: 0, candidates, by_form }
    }

    /// Takes a value's votes.
    pub fn note(&mut self, value: Storage<'_>) {
        if value == Storage::Null {
            return;
        }
        self.values += 1;
        let mut field = Vec::new();
        for form in proposals(&self.target.kind, value) {
            let Some(candidate) = self.candidate(form) else { continue };
            field.clear();
            let encoded: Result<(), Misfit> = candidate.codec.encode(value, &mut field);
            if encoded.is_ok() {
                candidate.fits += 1;
                candidate.plausible += u64::from(is_plausible(&candidate.codec.form, value));
            }
        }
    }

    fn candidate(&mut self, form: Form) -> Option<&mut Candidate> {
        let at = match self.by_form.get(&form) {
            Some(at) => *at,
            None if CANDIDATES_MAX <= self.candidates.len() => None,
            None => {
                let codec =
                    Codec::new(self.target.clone(), form.clone(), self.policies.clone()).ok();
                let at = codec.map(|codec| {
                    self.candidates.push(Candidate { codec, fits: 0, plausible: 0 });
                    self.candidates.len() - 1
                });
                self.by_form.insert(form, at);
                at
            }
        };
        at.and_then(|at| self.candidates.get_mut(at))
    }

    /// How many values other than NULL there were.
    pub fn values(&self) -> u64 {
        self.values
    }

    /// The form with the most votes.
    pub fn best(&self) -> Option<Inferred> {
        let best = self.candidates.iter().filter(|candidate| candidate.fits != 0).min_by_key(
            |candidate| {
                let Candidate { codec, fits, plausible } = candidate;
                let is_narrower = is_narrower(&codec.form, &self.target.kind, self.affinity);
                (std::cmp::Reverse((*fits, *plausible)), is_narrower, rank(&codec.form))
            },
        )?;
        Some(Inferred {
            form: best.codec.form.clone(),
            fits: best.fits,
            misfits: self.values - best.fits,
        })
    }
}

/// Whether a count, read in this form, is a year of our days; true for all other forms.
fn is_plausible(form: &Form, value: Storage<'_>) -> bool {
    let unit = match form {
        Form::Moment(Moments::Count { unit, .. }) => Some(*unit),
        Form::Moment(Moments::Julian(_)) => None,
        _ => return true,
    };
    let count = match Number::read(value) {
        Some(Number::Integer(integer)) => i128::from(integer),
        // Saturates; a plausible count is far from the limits.
        #[expect(clippy::cast_possible_truncation)]
        Some(Number::Real(real)) => real as i128,
        Some(Number::Decimal(decimal)) => decimal.whole().parse().unwrap_or(0),
        None => return false,
    };
    let micros = match unit.map(|unit| unit.micros().map(i128::from)) {
        Some(Some(size)) => count.saturating_mul(size),
        Some(None) => count / 1000,
        None => (count - JULIAN_EPOCH).saturating_mul(moment::DAY),
    };
    PLAUSIBLE.contains(&micros)
}

/// Whether a column of this affinity has another form that takes every value this one does, gives
/// it back alike, and takes others besides.
///
/// INTEGER and NUMERIC affinity store a number as an integer where they can, whatever was written
/// (<https://www.sqlite.org/datatype3.html#type_affinity>): there a real with nothing behind its
/// point does not occur, and no text that reads as a number.
fn is_narrower(form: &Form, kind: &Kind, affinity: Affinity) -> bool {
    let makes_integers = matches!(affinity, Affinity::Integer | Affinity::Numeric);
    let is_text =
        matches!(kind.base(), Kind::Text | Kind::Varchar(_) | Kind::Char(_) | Kind::Citext);
    let has_fractions = matches!(kind.base(), Kind::Real | Kind::Double | Kind::Numeric(_));
    match form {
        Form::Number(_) | Form::Text if is_text => makes_integers,
        Form::Number(Digits::Integer) => has_fractions,
        Form::Number(Digits::Real)
        | Form::TextOrNumber(Digits::Real)
        | Form::Elapsed { digits: Digits::Real, .. }
        | Form::Moment(
            Moments::Julian(Digits::Real) | Moments::Count { digits: Digits::Real, .. },
        )
        | Form::Json { numbers: false, .. } => makes_integers,
        _ => false,
    }
}

/// Plainer forms are smaller.
fn rank(form: &Form) -> usize {
    let digits = |digits: Digits| match digits {
        Digits::Integer => 0,
        Digits::Real => 1,
        Digits::Mixed => 2,
        Digits::Text => 3,
        Digits::Trimmed => 4,
    };
    let clock_rank = |clock: Clock| Clock::all().position(|other| other == clock).unwrap_or(99);
    match form {
        Form::Number(written) => digits(*written),
        Form::Text | Form::Blob | Form::Tagged => 0,
        Form::Padded => 6,
        Form::TextOrNumber(written) => 5 + digits(*written),
        Form::Moment(Moments::Count { unit, digits: written }) => {
            10 * unit_rank(*unit) + digits(*written)
        }
        Form::Elapsed { unit, digits: written } => {
            // Of lengths of time, microseconds are the most common.
            10 * (4 - unit_rank(*unit).min(4)) + digits(*written)
        }
        Form::Moment(Moments::Julian(written)) => 60 + digits(*written),
        Form::Moment(Moments::DateTime { clock, suffix, .. }) => {
            let is_long = matches!(suffix, Suffix::Offset { .. });
            2 * clock_rank(*clock) + usize::from(is_long)
        }
        Form::Moment(Moments::Date) => 0,
        Form::Clock(clock) | Form::On2000(clock) | Form::SinceEpoch(clock) => clock_rank(*clock),
        Form::Words(words) => Words::all().position(|other| other == *words).unwrap_or(99),
        Form::Uuid(UuidForm::Blob) => 0,
        Form::Uuid(
            UuidForm::Hyphens { upper } | UuidForm::Hex { upper } | UuidForm::Braces { upper },
        ) => usize::from(*upper),
        Form::Mac { dashes, upper } => usize::from(*dashes) + usize::from(*upper),
        Form::Json { numbers, bare_strings } => {
            usize::from(*numbers) + 2 * usize::from(*bare_strings)
        }
        Form::Array { element, spaced, ascii } => {
            4 * rank(element) + usize::from(*spaced) + 2 * usize::from(*ascii)
        }
    }
}

fn unit_rank(unit: Unit) -> usize {
    match unit {
        Unit::Seconds => 0,
        Unit::Millis => 1,
        Unit::Micros => 4,
        Unit::Nanos => 3,
        Unit::Days => 2,
    }
}

/// All forms that a value might be written in.
fn proposals(kind: &Kind, value: Storage<'_>) -> Vec<Form> {
    let text = match value {
        Storage::Text(text) => std::str::from_utf8(text).ok(),
        _ => None,
    };
    match kind.base() {
        Kind::SmallInt | Kind::Integer | Kind::BigInt | Kind::Real | Kind::Double => {
            written(value).map(Form::Number).collect()
        }
        Kind::Numeric(_) => written(value).map(Form::Number).collect(),
        Kind::Boolean => match text {
            Some(text) => Words::all()
                .filter(|words| words.value(text.as_bytes()).is_some())
                .map(Form::Words)
                .collect(),
            None => written(value).map(Form::Number).collect(),
        },
        Kind::Text | Kind::Varchar(_) | Kind::Char(_) | Kind::Citext | Kind::Other => {
            let mut forms = vec![Form::Text, Form::Blob, Form::Padded];
            forms.extend([Digits::Mixed, Digits::Real].map(Form::TextOrNumber));
            if text.is_none() {
                forms.extend(written(value).map(Form::Number));
            }
            forms
        }
        Kind::Enum(_) | Kind::Inet | Kind::Cidr => vec![Form::Text],
        Kind::Bytea => vec![Form::Blob, Form::Text],
        Kind::Date | Kind::Timestamp(_) | Kind::Timestamptz(_) => moments(value, text),
        Kind::Time(_) => match text {
            Some(text) => match text.strip_prefix(DAY_OF_TIMES) {
                Some(time) => clocks(time).map(Form::On2000).collect(),
                None => clocks(text).map(Form::Clock).collect(),
            },
            None => lengths(value),
        },
        Kind::Interval(_) => match text {
            Some(text) => Moments::of_text(text)
                .into_iter()
                .filter_map(|form| match form {
                    Moments::DateTime {
                        separator: Separator::Space,
                        clock,
                        suffix: Suffix::None,
                    } => Some(Form::SinceEpoch(clock)),
                    _ => None,
                })
                .collect(),
            None => lengths(value),
        },
        Kind::Uuid => uuids(value),
        Kind::Json | Kind::Jsonb => [(false, false), (true, false), (false, true), (true, true)]
            .map(|(numbers, bare_strings)| Form::Json { numbers, bare_strings })
            .to_vec(),
        Kind::Macaddr | Kind::Macaddr8 => {
            [(false, false), (false, true), (true, false), (true, true)]
                .map(|(dashes, upper)| Form::Mac { dashes, upper })
                .to_vec()
        }
        Kind::Array(element) => arrays(&element.kind),
        Kind::Domain(_) => Vec::new(),
    }
}

/// The ways a number of this storage class may be meant.
fn written(value: Storage<'_>) -> impl Iterator<Item = Digits> {
    let digits: &[Digits] = match value {
        Storage::Integer(_) => &[Digits::Integer, Digits::Mixed],
        Storage::Real(_) => &[Digits::Real, Digits::Mixed],
        Storage::Text(_) => &[Digits::Text, Digits::Trimmed],
        Storage::Null | Storage::Blob(_) => &[],
    };
    digits.iter().copied()
}

fn moments(value: Storage<'_>, text: Option<&str>) -> Vec<Form> {
    if let Some(text) = text
        && let Some(reading) = moment::read(text)
    {
        // What the text says on its own clock decides which of its forms it has.
        return Moments::of_text(text)
            .into_iter()
            .filter(|form| form.write(reading.moment).as_deref() == Some(text))
            .map(Form::Moment)
            .collect();
    }
    let units = [Unit::Seconds, Unit::Millis, Unit::Micros, Unit::Nanos, Unit::Days];
    written(value)
        .flat_map(|digits| {
            let counts = units.map(|unit| Form::Moment(Moments::Count { unit, digits }));
            counts.into_iter().chain([Form::Moment(Moments::Julian(digits))])
        })
        .collect()
}

fn clocks(text: &str) -> impl Iterator<Item = Clock> {
    let micros = moment::read_clock(text).map(|clock| clock.micros);
    Clock::all().filter(move |clock| {
        let mut written = String::new();
        let is_written = micros.and_then(|micros| clock.write(micros, &mut written));
        is_written.is_some() && written == text
    })
}

fn lengths(value: Storage<'_>) -> Vec<Form> {
    let units = [Unit::Seconds, Unit::Millis, Unit::Micros, Unit::Nanos, Unit::Days];
    written(value).flat_map(|digits| units.map(|unit| Form::Elapsed { unit, digits })).collect()
}

fn uuids(value: Storage<'_>) -> Vec<Form> {
    let cases = [false, true];
    match value {
        Storage::Blob(_) => vec![Form::Uuid(UuidForm::Blob)],
        _ => cases
            .into_iter()
            .flat_map(|upper| {
                [UuidForm::Hyphens { upper }, UuidForm::Hex { upper }, UuidForm::Braces { upper }]
            })
            .map(Form::Uuid)
            .collect(),
    }
}

fn arrays(element: &Kind) -> Vec<Form> {
    let natural =
        match Form::natural(&Kind::Array(Box::new(Target::of(element.clone()))), Affinity::Text) {
            Form::Array { element, .. } => *element,
            other => other,
        };
    let mut elements = vec![natural];
    match element.base() {
        Kind::Real | Kind::Double => elements.push(Form::Number(Digits::Real)),
        Kind::Timestamp(_) | Kind::Timestamptz(_) => {
            let iso = [Suffix::None, Suffix::Z].into_iter().flat_map(|suffix| {
                [Clock::PLAIN, Clock::MILLIS].map(|clock| {
                    Form::Moment(Moments::DateTime { separator: Separator::T, clock, suffix })
                })
            });
            elements.extend(iso);
        }
        _ => {}
    }
    elements
        .into_iter()
        .flat_map(|element| {
            [(false, false), (true, false), (false, true), (true, true)].map(|(spaced, ascii)| {
                Form::Array { element: Box::new(element.clone()), spaced, ascii }
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::form::{Case, Pair};
    use super::super::moment::{Fraction, OffsetStyle, Seconds};
    use super::*;

    fn infer(target: &str, texts: &[&str]) -> Option<Inferred> {
        let target = Target::parse(target).expect("a type");
        let values = texts.iter().map(|text| Storage::Text(text.as_bytes()));
        Form::infer(values, &target, Affinity::Text)
    }

    fn infer_integers(target: &str, integers: &[i64]) -> Option<Form> {
        let target = Target::parse(target).expect("a type");
        let values = integers.iter().map(|integer| Storage::Integer(*integer));
        Form::infer(values, &target, Affinity::Integer).map(|inferred| inferred.form)
    }

    #[test]
    fn each_framework_is_known_by_its_hand() {
        let space =
            |clock, suffix| Moments::DateTime { separator: Separator::Space, clock, suffix };
        let t = |clock, suffix| Moments::DateTime { separator: Separator::T, clock, suffix };
        let clock = |fraction| Clock { seconds: Seconds::Always, fraction };
        let offset = |minutes, style| Suffix::Offset { minutes, style };
        for (whose, texts, form) in [
            (
                "Django, SQLAlchemy",
                &["2026-11-20 21:28:35.675782", "2038-01-19 03:14:08"][..],
                space(clock(Fraction::Optional(6)), Suffix::None),
            ),
            (
                "Rails",
                &["2026-11-20 21:28:35.675780", "2026-11-20 21:28:35.000000"],
                space(clock(Fraction::Fixed(6)), Suffix::None),
            ),
            (
                "Prisma, JavaScript",
                &["2026-11-20T21:45:01.592Z", "2026-11-20T21:45:01.000Z"],
                t(clock(Fraction::Fixed(3)), Suffix::Z),
            ),
            (
                "Go",
                &["2026-11-20 21:45:01.123456+00:00", "2026-11-20 21:45:01.5+00:00"],
                space(clock(Fraction::Trimmed(0)), offset(0, OffsetStyle::Colon)),
            ),
            (
                "Sequelize",
                &["2026-11-20 21:45:01.000 +00:00", "2026-11-20 21:45:01.592 +00:00"],
                space(clock(Fraction::Fixed(3)), offset(0, OffsetStyle::Spaced)),
            ),
            (
                "Go's own print",
                &["2026-11-20 21:45:01.12 +0000 UTC", "2026-11-20 21:45:01 +0000 UTC"],
                space(clock(Fraction::Trimmed(0)), Suffix::Go),
            ),
            (
                "Java's Timestamp",
                &["2026-11-20 21:45:01.0", "2026-11-20 21:45:01.25"],
                space(clock(Fraction::Trimmed(1)), Suffix::None),
            ),
            (
                "Java's Instant",
                &[
                    "2026-11-20T21:45:01Z",
                    "2026-11-20T21:45:01.250Z",
                    "2026-11-20T21:45:01.250001Z",
                ],
                t(clock(Fraction::Groups), Suffix::Z),
            ),
            ("SQLite", &["2026-11-20 21:45:01"], Moments::SQLITE),
            ("dates", &["2026-11-20", "1999-12-31"], Moments::Date),
        ] {
            for target in ["timestamp", "timestamptz"] {
                let inferred = infer(target, texts).expect(whose);
                assert_eq!(inferred.form, Form::Moment(form), "{whose} in {target}");
                assert_eq!(inferred.misfits, 0, "{whose}");
            }
        }
    }

    #[test]
    fn the_unit_of_a_count_is_decided_over_all_values() {
        let count = |unit| Form::Moment(Moments::Count { unit, digits: Digits::Integer });
        for (integers, unit) in [
            (&[1_795_214_806_392, 1_772_323_199_999, -999, 0][..], Unit::Millis),
            (&[1_795_214_806, 0, -1], Unit::Seconds),
            (&[1_795_214_806_392_001], Unit::Micros),
            (&[1_795_214_806_392_001_000], Unit::Nanos),
        ] {
            assert_eq!(infer_integers("timestamp", integers), Some(count(unit)), "{integers:?}");
        }
        assert_eq!(infer_integers("date", &[20_000, 20_001]), Some(count(Unit::Days)));
    }

    #[test]
    fn values_outside_the_form_are_counted() {
        let inferred = infer("timestamptz", &["2026-11-20 21:45:01", "", "soon"]).expect("a form");
        assert_eq!((inferred.fits, inferred.misfits), (1, 2));
        assert_eq!(infer("uuid", &["x"]), None);
    }

    #[test]
    fn other_types_are_known_by_their_values() {
        let form = |target, texts: &[&str]| infer(target, texts).expect("a form").form;
        let uuid = "3f208b3d-e711-4053-b0fe-ab766befc5da";
        assert_eq!(form("uuid", &[uuid]), Form::Uuid(UuidForm::Hyphens { upper: false }));
        assert_eq!(
            form("uuid", &[&uuid.replace('-', "").to_uppercase()]),
            Form::Uuid(UuidForm::Hex { upper: true })
        );
        assert_eq!(
            form("boolean", &["Yes", "No"]),
            Form::Words(Words { pair: Pair::YesNo, case: Case::Title })
        );
        assert_eq!(form("numeric(12,2)", &["1.5", "2"]), Form::Number(Digits::Trimmed));
        assert_eq!(form("numeric(12,2)", &["1.50", "2.00"]), Form::Number(Digits::Text));
        assert_eq!(form("time", &["12:30:00"]), Form::Clock(Clock::PLAIN));
        assert_eq!(form("time", &["2000-01-01 12:30:00"]), Form::On2000(Clock::PLAIN));
        assert_eq!(
            form("interval", &["1970-01-01 00:00:01.518823"]),
            Form::SinceEpoch(Clock { seconds: Seconds::Always, fraction: Fraction::Fixed(6) })
        );
        assert_eq!(
            form("json", &["{}", "hello"]),
            Form::Json { numbers: false, bare_strings: true }
        );
        assert_eq!(
            form("int[]", &["[1, 2]", "[]"]),
            Form::Array {
                element: Box::new(Form::Number(Digits::Integer)),
                spaced: true,
                ascii: false
            }
        );
        assert_eq!(infer_integers("boolean", &[0, 1]), Some(Form::Number(Digits::Integer)));
    }

    /// What the first rows happen to hold does not keep out what the column may hold.
    #[test]
    fn of_forms_that_all_values_have_the_one_that_holds_more_wins() {
        use Affinity::{Blob, Integer, Numeric, Real, Text};
        let number = |digits| Form::Number(digits);
        let json = |numbers| Form::Json { numbers, bare_strings: false };
        let (one, half, text) =
            (Storage::Integer(1), Storage::Real(0.5), Storage::Text(b"{\"a\": 1}"));
        for (target, affinity, values, form) in [
            ("numeric(12,2)", Numeric, &[one, half][..], number(Digits::Mixed)),
            ("numeric(12,2)", Numeric, &[one], number(Digits::Mixed)),
            ("numeric(12,2)", Numeric, &[half], number(Digits::Mixed)),
            ("numeric(12,2)", Real, &[half], number(Digits::Real)),
            ("double precision", Integer, &[one], number(Digits::Mixed)),
            ("double precision", Blob, &[half], number(Digits::Real)),
            ("bigint", Integer, &[one], number(Digits::Integer)),
            ("text", Numeric, &[text], Form::TextOrNumber(Digits::Mixed)),
            ("text", Integer, &[one], Form::TextOrNumber(Digits::Mixed)),
            ("text", Text, &[text], Form::Text),
            ("jsonb", Numeric, &[one, text], json(true)),
            ("jsonb", Numeric, &[text], json(true)),
            ("jsonb", Text, &[text], json(false)),
        ] {
            let target = Target::parse(target).expect("a type");
            let inferred = Form::infer(values.iter().copied(), &target, affinity);
            let inferred = inferred.map(|inferred| inferred.form);
            assert_eq!(inferred, Some(form), "{} {affinity:?} {values:?}", target.name);
        }
    }
}
