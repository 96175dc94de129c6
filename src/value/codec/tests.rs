//! The contract, for every type and form: what is sent comes home, and what the form can hold of
//! the type's values can be sent.

use proptest::prelude::*;

use super::form::{Case, Pair, Unit};
use super::moment::{Clock, Fraction, OffsetStyle, Seconds, Separator, Suffix, Zone};
use super::policy::Policies;
use super::*;
use crate::table::Affinity;

const ALL_DIGITS: [Digits; 5] =
    [Digits::Integer, Digits::Real, Digits::Mixed, Digits::Text, Digits::Trimmed];
const UNITS: [Unit; 5] = [Unit::Days, Unit::Seconds, Unit::Millis, Unit::Micros, Unit::Nanos];

const NAMES: [&str; 37] = [
    "smallint",
    "integer",
    "bigint",
    "real",
    "double precision",
    "numeric",
    "numeric(12,2)",
    "numeric(5,0)",
    "numeric(3,-2)",
    "numeric(2,5)",
    "boolean",
    "text",
    "varchar",
    "varchar(3)",
    "char(3)",
    "bpchar",
    "citext",
    "bytea",
    "date",
    "time",
    "time(2)",
    "timestamp",
    "timestamp(0)",
    "timestamp(3)",
    "timestamptz",
    "timestamptz(3)",
    "interval",
    "interval(0)",
    "uuid",
    "json",
    "jsonb",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "text[]",
    "tsvector",
];

fn moments() -> Vec<Moments> {
    let suffixes = [
        Suffix::None,
        Suffix::Z,
        Suffix::Utc,
        Suffix::Go,
        Suffix::Offset { minutes: 0, style: OffsetStyle::Colon },
        Suffix::Offset { minutes: -570, style: OffsetStyle::Compact },
        Suffix::Offset { minutes: 345, style: OffsetStyle::Hours },
        Suffix::Offset { minutes: 330, style: OffsetStyle::Spaced },
    ];
    let mut all = vec![Moments::Date];
    for clock in Clock::all() {
        for separator in [Separator::Space, Separator::T] {
            all.extend(suffixes.map(|suffix| Moments::DateTime { separator, clock, suffix }));
        }
    }
    for digits in ALL_DIGITS {
        all.extend(UNITS.map(|unit| Moments::Count { unit, digits }));
        all.push(Moments::Julian(digits));
    }
    all
}

/// Every form there is, but for elements of arrays.
fn forms() -> Vec<Form> {
    let mut all = vec![Form::Text, Form::Padded, Form::Blob, Form::Tagged];
    let flags = [(false, false), (false, true), (true, false), (true, true)];
    all.extend(ALL_DIGITS.map(Form::Number));
    all.extend(ALL_DIGITS.map(Form::TextOrNumber));
    all.extend(Words::all().map(Form::Words));
    all.extend(moments().into_iter().map(Form::Moment));
    all.extend(Clock::all().map(Form::Clock));
    all.extend(Clock::all().map(Form::On2000));
    all.extend(Clock::all().map(Form::SinceEpoch));
    for digits in ALL_DIGITS {
        all.extend(UNITS.map(|unit| Form::Elapsed { unit, digits }));
    }
    all.push(Form::Uuid(form::UuidForm::Blob));
    for upper in [false, true] {
        use form::UuidForm::{Braces, Hex, Hyphens};
        all.extend([Hyphens { upper }, Hex { upper }, Braces { upper }].map(Form::Uuid));
    }
    all.extend(flags.map(|(dashes, upper)| Form::Mac { dashes, upper }));
    all.extend(flags.map(|(numbers, bare_strings)| Form::Json { numbers, bare_strings }));
    all
}

fn arrays() -> Vec<Codec> {
    let mut all = Vec::new();
    for element in ["integer", "double precision", "numeric", "boolean", "text", "varchar(2)"]
        .into_iter()
        .chain(["date", "timestamptz", "uuid", "char(2)", "jsonb"])
    {
        for spaced in [false, true] {
            for ascii in [false, true] {
                let target = Target::parse(&format!("{element}[]")).expect("a type");
                let Form::Array { element, .. } = Form::natural(&target.kind, Affinity::Text)
                else {
                    unreachable!("an array's form is that of an array")
                };
                let form = Form::Array { element, spaced, ascii };
                let policies = Policies { zone: Some(Zone::universal()), ..Policies::default() };
                all.push(Codec::new(target, form, policies).expect("natural forms are taken"));
            }
        }
    }
    all
}

/// All codecs of all types and forms that can be built, with a zone of each kind.
fn codecs() -> Vec<Codec> {
    let zones = [None, Some("UTC"), Some("+05:45"), Some("Europe/Paris")]
        .map(|name| name.map(|name| Zone::parse(name).expect("a zone")));
    let mood = Target::labels("mood", 0, 0, vec!["sad".into(), "ok, so".into(), String::new()]);
    let domain = Target::parse("numeric(4,1)").expect("a type").domain("price", 0, 0);
    let targets: Vec<Target> =
        NAMES.iter().map(|name| Target::parse(name).expect(name)).chain([mood, domain]).collect();
    let mut all = arrays();
    for target in &targets {
        // Every zone meets every target, if not every form.
        for (form, zone) in forms().into_iter().zip(zones.iter().cycle()) {
            let policies = Policies { zone: zone.clone(), ..Policies::default() };
            all.extend(Codec::new(target.clone(), form, policies));
        }
    }
    all
}

fn field_of(encoded: &[u8]) -> Option<&[u8]> {
    let length = i32::from_be_bytes(encoded[..4].try_into().expect("four bytes of length"));
    let Ok(length) = usize::try_from(length) else {
        assert_eq!(encoded.len(), 4);
        return None;
    };
    assert_eq!(encoded.len(), 4 + length);
    Some(&encoded[4..])
}

/// Independent of [`Codec::same`], but for what `jsonb` keeps.
fn is_equal(codec: &Codec, one: &Owned, other: &Owned) -> bool {
    match (one, other) {
        (Owned::Real(one), Owned::Real(other)) => one.to_bits() == other.to_bits(),
        (Owned::Text(one), Owned::Text(other))
            if codec.target.kind == Kind::Jsonb && codec.form != Form::Tagged =>
        {
            let value = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).ok();
            match (value(one), value(other)) {
                (Some(one), Some(other)) => is_same_json(&one, &other),
                _ => one == other,
            }
        }
        _ => one == other,
    }
}

/// Numbers as doubles, which will do here: all their digits are compared by the server.
fn is_same_json(one: &serde_json::Value, other: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Number, Object};
    match (one, other) {
        (Number(one), Number(other)) => one.as_f64() == other.as_f64(),
        (Array(one), Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| is_same_json(a, b))
        }
        (Object(one), Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, a)| other.get(key).is_some_and(|b| is_same_json(a, b)))
        }
        _ => one == other,
    }
}

/// Sends a value through a codec and says whether it was taken.
fn comes_back_or_is_refused(codec: &Codec, value: Storage<'_>) -> bool {
    let mut out = b"before".to_vec();
    if codec.encode(value, &mut out).is_err() {
        assert_eq!(out, b"before", "a misfit writes nothing");
        return false;
    }
    let back = codec.decode(field_of(&out[6..])).expect("an encoded value decodes");
    let sent = Owned::from(value);
    assert!(
        is_equal(codec, &back, &sent),
        "{} {:?}: {sent:?} became {back:?}",
        codec.target.name,
        codec.form
    );
    true
}

/// What a column can hold of a field, can be sent again.
fn field_comes_back(codec: &Codec, bytes: &[u8]) {
    let Some(held) = codec.decode(Some(bytes)) else { return };
    let mut out = Vec::new();
    if codec.encode(held.storage(), &mut out).is_err() {
        return;
    }
    let again = codec.decode(field_of(&out)).expect("an encoded value decodes");
    assert!(is_equal(codec, &again, &held), "{:?}: {held:?} became {again:?}", codec.form);
}

fn interesting_integers() -> Vec<i64> {
    let mut all = vec![0, 1, -1, 2, 10_000, 9_999, 1_700_000_000, 1_700_000_000_123];
    for limit in [i64::from(i16::MAX), i64::from(i32::MAX), 1 << 53, i64::MAX - 1, 86_400] {
        all.extend([limit - 1, limit, limit + 1, -limit - 1, -limit, -limit - 2]);
    }
    all.extend([i64::MIN, 1_700_000_000_123_456, 1_700_000_000_123_456_000, 2_461_000]);
    all
}

const REALS: [f64; 27] = [
    0.0,
    -0.0,
    0.1,
    1.5,
    -2.25,
    1.0,
    5e-324,
    2.225_073_858_507_201e-308,
    f64::MIN_POSITIVE,
    f64::MAX,
    f64::MIN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    1e300,
    9.223_372_036_854_776e18,
    -9.223_372_036_854_776e18,
    9_007_199_254_740_993.0,
    3_982.270_000_000_000_4,
    1_767_225_600.123_456,
    1_767_225_600.123_456_7,
    2_461_000.5,
    2_461_365.908_703_703_6,
    3.402_823_466_385_288_6e38,
    1.401_298_464_324_817e-45,
    1e-46,
    0.100_000_001_490_116_12,
    16_777_217.0,
];

const TEXTS: [&str; 78] = [
    "",
    " ",
    "a",
    "a ",
    "abc",
    "abcd",
    "ab ",
    "héé",
    "🚀🚀🚀",
    "é",
    "sad",
    "ok, so",
    "1",
    "-1",
    "0",
    "-0",
    "+1",
    "01",
    "1.0",
    "1.50",
    "12.5",
    "0.1",
    "1e5",
    ".5",
    "5.",
    "Infinity",
    "infinity",
    "-infinity",
    "NaN",
    "inf",
    "true",
    "TRUE",
    "True",
    "f",
    "N",
    "on",
    "2026-11-20",
    "0001-01-01",
    "9999-12-31",
    "12345-06-07",
    "0044-03-15 BC",
    "2024-02-29",
    "2023-02-29",
    "2026-11-20 21:28:35",
    "2026-11-20T21:28:35.675Z",
    "2026-11-20 21:28:35.675782",
    "2026-11-20 21:28:35.675782000+00:00",
    "2026-11-20 21:28:35.6757821",
    "2026-11-20T21:28",
    "2026-11-20 21:28:35.5 +0000 UTC",
    "2016-12-31 23:59:60",
    "2026-11-20 24:00:00",
    "2026-03-29 02:30:00",
    "2026-10-25 02:30:00",
    "0001-01-01 00:00:00 BC",
    "4714-11-24 00:00:00 BC",
    "4714-11-23 00:00:00 BC",
    "294276-12-31 23:59:59.999999",
    "294277-01-01 00:00:00",
    "24:00:00",
    "23:59:60",
    "12:30",
    "12:30:00.25",
    "1970-01-01 00:00:01.518823",
    "1969-12-28 23:59:55",
    "3f208b3d-e711-4053-b0fe-ab766befc5da",
    "3F208B3DE7114053B0FEAB766BEFC5DA",
    "{3f208b3d-e711-4053-b0fe-ab766befc5da}",
    "{\"b\": 1, \"a\": [1.50, null], \"a\": \"\\u00e9\"}",
    "[1,2]",
    "[\"a\", null]",
    "[1, 1.5, \"x\", true]",
    "\"hello\"",
    "\"\\u0000\"",
    "10.1.2.3/8",
    "::ffff:1.2.3.4",
    "08:00:2b:01:02:03",
    "08-00-2B-01-02-03-04-05",
];

#[test]
fn boundaries_come_back_or_are_refused_by_every_codec() {
    let codecs = codecs();
    assert!(1_500 < codecs.len(), "{} codecs", codecs.len());
    for codec in &codecs {
        let mut taken = usize::from(comes_back_or_is_refused(codec, Storage::Null));
        for integer in interesting_integers() {
            taken += usize::from(comes_back_or_is_refused(codec, Storage::Integer(integer)));
        }
        for real in REALS {
            taken += usize::from(comes_back_or_is_refused(codec, Storage::Real(real)));
        }
        for text in TEXTS {
            taken += usize::from(comes_back_or_is_refused(codec, Storage::Text(text.as_bytes())));
            taken += usize::from(comes_back_or_is_refused(codec, Storage::Blob(text.as_bytes())));
        }
        assert_ne!(taken, 0, "not even NULL");
    }
}

#[test]
fn texts_of_one_and_two_bytes_come_back_or_are_refused() {
    let mut codecs: Vec<Codec> = Vec::new();
    for name in NAMES {
        let target = Target::parse(name).expect("a type");
        let mut forms = [Affinity::Text, Affinity::Numeric]
            .map(|affinity| Form::natural(&target.kind, affinity))
            .to_vec();
        forms.dedup();
        codecs.extend(forms.into_iter().map(|form| {
            let policies = Policies { zone: Some(Zone::universal()), ..Policies::default() };
            Codec::new(target.clone(), form, policies).expect("natural forms are taken")
        }));
    }
    for form in [Form::Text, Form::Blob] {
        let bytea = Target::parse("bytea").expect("a type");
        codecs.push(Codec::new(bytea, form, Policies::default()).expect("bytes"));
    }
    for codec in &codecs {
        let mut taken = 0;
        for first in 0..=255 {
            taken += u32::from(comes_back_or_is_refused(codec, Storage::Text(&[first])));
            for second in 0..=255 {
                let both = [first, second];
                taken += u32::from(comes_back_or_is_refused(codec, Storage::Text(&both)));
            }
        }
        // 127 characters but U+0000, their pairs, and the two-byte characters of UTF-8.
        let is_whole_text =
            matches!(codec.target.kind, Kind::Text | Kind::Varchar(_)) && codec.form == Form::Text;
        if is_whole_text {
            assert_eq!(taken, 127 + 127 * 127 + 30 * 64, "{}", codec.target.name);
        }
    }
}

#[test]
fn typical_values_are_taken() {
    let mut seen = 0;
    for (name, texts) in [
        ("timestamp", &["2026-11-20 21:28:35", "0001-01-01 00:00:00", "infinity"][..]),
        ("date", &["2026-11-20", "0044-03-15 BC", "5874897-12-31", "-infinity"]),
        ("time", &["00:00:00", "24:00:00", "23:59:59"]),
        ("uuid", &["3f208b3d-e711-4053-b0fe-ab766befc5da"]),
        ("json", &["{}", " [1]", "\"\\u0000\"", "\"\\ud800\""]),
        ("jsonb", &["{}", "{\"b\":1,\"a\":2}"]),
        ("inet", &["10.0.0.1", "10.0.0.1/8", "2001:db8::1", "::1.2.3.4", "::1", "::/0"]),
        ("cidr", &["10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0"]),
        ("macaddr", &["08:00:2b:01:02:03"]),
        ("text[]", &["[]", "[\"a\",null,\"é\\n\"]"]),
        ("varchar(3)", &["", "ééé"]),
        ("char(3)", &["", "a", "ééé"]),
    ] {
        let target = Target::parse(name).expect("a type");
        let form = Form::natural(&target.kind, Affinity::Text);
        let codec = Codec::new(target, form, Policies::default()).expect("natural");
        for text in texts {
            seen += 1;
            assert!(
                comes_back_or_is_refused(&codec, Storage::Text(text.as_bytes())),
                "{name} does not take {text:?}"
            );
        }
    }
    assert_eq!(seen, 34);
}

#[test]
fn the_words_of_a_boolean_keep_their_capitals() {
    for words in Words::all() {
        let target = Target::parse("bool").expect("a type");
        let codec =
            Codec::new(target, Form::Words(words), Policies::default()).expect("words are taken");
        for value in [true, false] {
            let word = words.word(value);
            assert!(comes_back_or_is_refused(&codec, Storage::Text(word.as_bytes())), "{word}");
        }
        let others = Words { pair: Pair::TrueFalse, case: Case::Upper };
        if words != others {
            assert!(!comes_back_or_is_refused(&codec, Storage::Text(b"TRUE")));
        }
    }
}

fn encode(
    name: &str,
    form: Form,
    policies: Policies,
    value: Storage<'_>,
) -> Result<Option<Owned>, Misfit> {
    let target = Target::parse(name).expect("a type");
    let codec = Codec::new(target, form, policies).expect("the form is taken");
    let mut out = Vec::new();
    codec.encode(value, &mut out)?;
    Ok(codec.decode(field_of(&out)))
}

/// A policy by name lets a value through that is refused without it, and the codec says so.
struct Choice {
    name: &'static str,
    form: Form,
    policies: Policies,
    value: Owned,
    misfit: Misfit,
    back: Owned,
    loss: Loss,
}

impl Choice {
    fn check(self) {
        let Self { name, form, policies, value, misfit, back, loss } = self;
        let strict = encode(name, form.clone(), Policies::default(), value.storage());
        assert_eq!(strict, Err(misfit), "{name}");
        let target = Target::parse(name).expect("a type");
        let codec = Codec::new(target, form.clone(), policies.clone()).expect("taken");
        assert_eq!(codec.losses(), [loss]);
        assert!(!codec.is_canonical(value.storage()));
        assert_eq!(encode(name, form, policies, value.storage()), Ok(Some(back)));
    }
}

fn held(text: &str) -> Owned {
    Owned::Text(text.into())
}

#[test]
fn numbers_are_changed_only_by_a_choice_that_is_named() {
    let clamp = || Policies { out_of_range: OutOfRange::Clamp, ..Policies::default() };
    Choice {
        name: "numeric(12,2)",
        form: Form::Number(Digits::Mixed),
        policies: Policies { precision: Exactness::Round, ..Policies::default() },
        value: Owned::Real(3_982.270_000_000_000_4),
        misfit: Misfit::Inexact { pg: "numeric" },
        back: Owned::Real(3_982.27),
        loss: Loss::Rounded,
    }
    .check();
    Choice {
        name: "smallint",
        form: Form::Number(Digits::Integer),
        policies: clamp(),
        value: Owned::Integer(70_000),
        misfit: Misfit::OutOfRange { pg: "smallint" },
        back: Owned::Integer(32_767),
        loss: Loss::OutOfRangeClamped,
    }
    .check();
    Choice {
        name: "numeric(3,1)",
        form: Form::Number(Digits::Mixed),
        policies: clamp(),
        value: Owned::Integer(-1000),
        misfit: Misfit::OutOfRange { pg: "numeric" },
        back: Owned::Real(-99.9),
        loss: Loss::OutOfRangeClamped,
    }
    .check();
    Choice {
        name: "integer",
        form: Form::Number(Digits::Integer),
        policies: Policies { out_of_range: OutOfRange::Null, ..Policies::default() },
        value: Owned::Integer(1 << 40),
        misfit: Misfit::OutOfRange { pg: "integer" },
        back: Owned::Null,
        loss: Loss::OutOfRangeNulled,
    }
    .check();
}

#[test]
fn texts_are_changed_only_by_a_choice_that_is_named() {
    let bad = || Owned::Text(b"a\xff".to_vec());
    let none = Policies::default;
    let strip = Policies { nul: Nul::Strip, ..none() };
    let replace = Policies { invalid_utf8: InvalidUtf8::Replace, ..none() };
    let latin1 = Policies { invalid_utf8: InvalidUtf8::Latin1, ..none() };
    let cut = Policies { too_long: TooLong::Truncate, ..none() };
    let unpad = Policies { trailing_spaces: TrailingSpaces::Strip, ..none() };
    let long = Misfit::TooLong { limit: 2 };
    for (name, policies, value, misfit, back, loss) in [
        ("text", strip, held("a\0b"), Misfit::Nul, "ab", Loss::NulStripped),
        ("text", replace, bad(), Misfit::InvalidUtf8, "a\u{fffd}", Loss::Utf8Replaced),
        ("text", latin1, bad(), Misfit::InvalidUtf8, "aÿ", Loss::Utf8Guessed),
        ("varchar(2)", cut, held("éaz"), long, "éa", Loss::Truncated),
        ("char(3)", unpad, held("a "), Misfit::TrailingSpaces, "a", Loss::SpacesStripped),
    ] {
        let (form, back) = (Form::Text, held(back));
        Choice { name, form, policies, value, misfit, back, loss }.check();
    }
}

#[test]
fn times_are_changed_only_by_a_choice_that_is_named() {
    let none = Policies::default;
    let roll = Policies { leap_second: LeapSecond::Roll, ..none() };
    let any = Policies { forms: Forms::Any, ..none() };
    let to_null = Policies { empty_as_null: true, ..none() };
    let leap = (held("2016-12-31 23:59:60"), held("2017-01-01 00:00:00"));
    let other = (held("2026-11-20T10:00:00"), held("2026-11-20 10:00:00"));
    let empty = (held(""), Owned::Null);
    let no_time = Misfit::Malformed { class: "text", pg: "timestamp without time zone" };
    for (policies, (value, back), misfit, loss) in [
        (roll, leap, Misfit::LeapSecond, Loss::LeapSecondRolled),
        (any, other, Misfit::Form, Loss::FormLost),
        (to_null, empty, no_time, Loss::EmptyAsNull),
    ] {
        let (name, form) = ("timestamp", Form::Moment(Moments::SQLITE));
        Choice { name, form, policies, value, misfit, back, loss }.check();
    }
}

#[test]
fn a_loss_of_one_kind_is_no_licence_for_another() {
    let round = || Policies { precision: Exactness::Round, ..Policies::default() };
    let moment = Form::Moment(Moments::SQLITE);
    for text in ["2026-11-20T10:00:00.1234567", "2026-11-20 10:00:00.1234567Z"] {
        let sent = encode("timestamp", moment.clone(), round(), Storage::Text(text.as_bytes()));
        assert_eq!(sent, Err(Misfit::Form), "{text}");
    }
    let numbers = Form::Number(Digits::Mixed);
    let sent = encode("numeric(12,2)", numbers, round(), Storage::Text(b"1.005"));
    assert_eq!(sent, Err(Misfit::Form));
}

#[test]
fn what_can_never_be_exact_is_refused_when_the_codec_is_built() {
    let build = |name: &str, form, policies| {
        Codec::new(Target::parse(name).expect("a type"), form, policies).map(drop)
    };
    let none = Policies::default;
    assert!(matches!(build("bigint", Form::Blob, none()), Err(Refused::Form { .. })));
    assert!(matches!(build("date", Form::Text, none()), Err(Refused::Form { .. })));
    assert!(matches!(
        build("timestamptz", Form::Moment(Moments::SQLITE), none()),
        Err(Refused::NoZone { .. })
    ));
    let bytes = Policies { nul: Nul::Bytea, ..none() };
    assert!(matches!(build("text", Form::Text, bytes.clone()), Err(Refused::NoBytes { .. })));
    assert_eq!(build("bytea", Form::Text, bytes), Ok(()));
    let array = Form::natural(&Target::parse("citext[]").expect("a type").kind, Affinity::Text);
    assert!(matches!(build("citext[]", array, none()), Err(Refused::NoOid { .. })));
}

#[test]
fn jsonb_declares_itself_and_the_rest_is_sent_as_text() {
    let build = |name: &str| {
        let target = Target::parse(name).expect("a type");
        let form = Form::natural(&target.kind, Affinity::Text);
        Codec::new(target, form, Policies::default()).expect("natural")
    };
    let jsonb = build("jsonb");
    assert_eq!(jsonb.losses(), [Loss::JsonText]);
    assert!(jsonb.is_canonical(Storage::Text(b"{\"a\": 1}")));
    assert!(!jsonb.is_canonical(Storage::Text(b"{\"a\":1}")));
    let text = |text: &str| Owned::Text(text.into());
    assert!(jsonb.same(&text("{\"a\":1.0,\"b\":2}"), &text("{\"b\":2,\"a\":1}")));
    assert!(!jsonb.same(&text("{\"a\":1}"), &text("{\"a\":2}")));
    let other = build("tsvector");
    assert_eq!((other.wire(), other.losses()), (Wire::Text, &[Loss::ServerCast][..]));
    assert!(!other.is_canonical(Storage::Text(b"a")));
    assert_eq!(build("numeric(12,2)").wire(), Wire::Binary { oid: 1700 });
    assert_eq!(build("int[]").wire(), Wire::Binary { oid: 1007 });
}

/// The types of create mode, in the forms a column of each affinity has by itself.
#[test]
fn the_types_of_create_mode_are_sent_as_before() {
    use crate::value::PgType;
    let possible = |pg: PgType, affinity: Affinity| match pg {
        PgType::Int8 | PgType::Numeric => !matches!(affinity, Affinity::Text | Affinity::Real),
        PgType::Float8 => matches!(affinity, Affinity::Real | Affinity::Blob),
        PgType::Text | PgType::Bytea | PgType::Jsonb => true,
    };
    let integers = interesting_integers().into_iter().map(Owned::Integer);
    let texts = TEXTS.iter().map(|text| Owned::Text((*text).into()));
    let blobs = TEXTS.iter().map(|text| Owned::Blob((*text).into()));
    let values: Vec<Owned> =
        integers.chain(REALS.map(Owned::Real)).chain(texts).chain(blobs).collect();
    let mut compared = 0;
    let numbers = [PgType::Int8, PgType::Float8, PgType::Numeric];
    for pg in numbers.into_iter().chain([PgType::Text, PgType::Bytea, PgType::Jsonb]) {
        for affinity in
            [Affinity::Integer, Affinity::Numeric, Affinity::Real, Affinity::Text, Affinity::Blob]
        {
            if !possible(pg, affinity) {
                continue;
            }
            let target = Target::parse(pg.sql()).expect("a type");
            let form = match pg {
                PgType::Jsonb => Form::Tagged,
                _ => Form::natural(&target.kind, affinity),
            };
            let codec = Codec::new(target, form, Policies::default()).expect("natural");
            for value in &values {
                // SQLite makes a real of every integer in a REAL column.
                if matches!((affinity, value), (Affinity::Real, Owned::Integer(_))) {
                    continue;
                }
                let (mut before, mut now) = (Vec::new(), Vec::new());
                if pg.encode(affinity, value.storage(), &mut before).is_ok() {
                    compared += 1;
                    assert_eq!(codec.encode(value.storage(), &mut now), Ok(()), "{pg:?} {value:?}");
                    assert_eq!(now, before, "{pg:?} {affinity:?} {value:?}");
                }
            }
        }
    }
    assert!(500 < compared, "{compared}");
}

#[test]
fn policies_are_read_as_the_configuration_spells_them() {
    let policies: Policies = toml::from_str(
        "empty_as_null = true\nnul = \"strip\"\ninvalid_utf8 = \"latin1\"\n\
         out_of_range = \"clamp\"\nzone = \"Europe/Paris\"\nforms = \"any\"",
    )
    .expect("a configuration");
    assert!(policies.empty_as_null && policies.nul == Nul::Strip);
    assert_eq!(policies.zone, Some(Zone::parse("Europe/Paris").expect("a zone")));
    assert!(toml::from_str::<Policies>("nul = \"ignore\"").is_err());
    assert!(toml::from_str::<Policies>("nulls = \"strip\"").is_err());
    let form = Form::Moment(Moments::DateTime {
        separator: Separator::T,
        clock: Clock { seconds: Seconds::Optional, fraction: Fraction::Trimmed(1) },
        suffix: Suffix::Offset { minutes: 345, style: OffsetStyle::Colon },
    });
    let written = serde_json::to_string(&form).expect("a form is data");
    assert_eq!(serde_json::from_str::<Form>(&written).expect("and back"), form);
}

fn all_codecs() -> &'static [Codec] {
    static CODECS: std::sync::OnceLock<Vec<Codec>> = std::sync::OnceLock::new();
    CODECS.get_or_init(codecs)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn integers_come_back_or_are_refused(value: i64, shift in 0_u32..64) {
        for codec in all_codecs() {
            comes_back_or_is_refused(codec, Storage::Integer(value >> shift));
        }
    }

    #[test]
    fn reals_come_back_or_are_refused(bits: u64, near in -1e10..1e10) {
        let real = f64::from_bits(bits);
        for codec in all_codecs() {
            comes_back_or_is_refused(codec, Storage::Real(near));
            comes_back_or_is_refused(codec, Storage::Real((near * 1e6).round() / 1e6));
            if !real.is_nan() {
                comes_back_or_is_refused(codec, Storage::Real(real));
            }
        }
    }

    #[test]
    fn texts_come_back_or_are_refused(
        date in "[0-9]{4,5}-[01][0-9]-[0-3][0-9]",
        time in "[ T][0-2][0-9]:[0-5][0-9](:[0-6][0-9](\\.[0-9]{1,9})?)?",
        suffix in "(|Z| UTC|[+-][01][0-9]:[0-5][0-9])( BC)?",
        other in "[-+.eE0-9 a-f:/{}\"\\[\\],\\\\é🚀]{0,12}",
    ) {
        let moment = format!("{date}{time}{suffix}");
        for codec in all_codecs() {
            for text in [&date, &moment, &time[1..].to_owned(), &other] {
                comes_back_or_is_refused(codec, Storage::Text(text.as_bytes()));
            }
        }
    }

    #[test]
    fn bytes_come_back_or_are_refused(bytes: Vec<u8>, uuid: [u8; 16]) {
        for codec in all_codecs() {
            comes_back_or_is_refused(codec, Storage::Text(&bytes));
            comes_back_or_is_refused(codec, Storage::Blob(&bytes));
            comes_back_or_is_refused(codec, Storage::Blob(&uuid));
        }
    }

    #[test]
    fn fields_come_back_or_are_refused(bytes: Vec<u8>, word: i64, day: i32, short: i16) {
        for codec in all_codecs() {
            field_comes_back(codec, &bytes);
            field_comes_back(codec, &word.to_be_bytes());
            field_comes_back(codec, &day.to_be_bytes());
            field_comes_back(codec, &short.to_be_bytes());
        }
    }

    /// Whatever clock a column of moments shows, the moments of two thousand years come home.
    #[test]
    fn whole_seconds_of_our_era_fit_every_form(seconds in -60_000_000_000_i64..4_000_000_000) {
        // Of each day, a second that all forms can show: the first.
        let micros = seconds.div_euclid(86_400) * 86_400_000_000;
        for codec in all_codecs() {
            let is_timestamp = matches!(codec.target.kind, Kind::Timestamp(_));
            let Form::Moment(moments) = codec.form else { continue };
            let is_shifted = codec.policies.zone != Some(Zone::universal())
                || moments.offset().is_some_and(|offset| offset != 0);
            if !is_timestamp || is_shifted {
                continue;
            }
            let Some(held) = codec.decode(Some(&micros.to_be_bytes())) else {
                continue;
            };
            prop_assert!(comes_back_or_is_refused(codec, held.storage()), "{:?}", codec.form);
        }
    }
}
