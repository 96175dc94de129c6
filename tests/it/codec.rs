//! The codec against PostgreSQL's own parsers: for random texts of every type, the field we send
//! is, byte for byte, what the server's `type_send` makes of its own reading of the text, and
//! what comes out of a table we sent it to by COPY BINARY. What the server refuses, we refuse.
//!
//! `LITE2PG_CODEC_VALUES` texts for each type and form (20,000 by default; a million for a long
//! campaign: `LITE2PG_CODEC_VALUES=1000000 cargo nextest run -E 'test(/^codec::/)'`), chosen by
//! `LITE2PG_SEED`, which is printed.

mod texts;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use tokio_postgres::Client;

use lite2pg::table::Affinity;
use lite2pg::value::codec::Codec;
use lite2pg::value::codec::form::{Case as Capitals, Digits, Form, Pair, Unit, UuidForm, Words};
use lite2pg::value::codec::kind::{Kind, Target};
use lite2pg::value::codec::moment::{
    Clock, Fraction, Moments, OffsetStyle, Seconds, Separator, Suffix, Zone,
};
use lite2pg::value::codec::policy::{Exactness, Forms, LeapSecond, Policies, TrailingSpaces};
use lite2pg::value::{Misfit, Owned, Storage};

use crate::generator::dice::Dice;
use crate::random::{SeedOnPanic, number_from_env, schema_seed};
use crate::support::cluster::block_on;
use crate::support::database::TestDatabase;

/// Texts of one statement.
const BATCH: usize = 20_000;

/// One type in one form.
struct Case {
    target: Target,
    form: Form,
    /// The type as DDL has it.
    sql: String,
    /// `type_send`.
    send: &'static str,
    /// What the server makes of the text `t`.
    reading: String,
    generate: fn(&mut Dice) -> String,
    /// What the source holds where the text stands for it.
    held: fn(&str) -> Owned,
    /// Whether the server's reading is also what `forms = "any"` and rounding should give.
    has_lenient: bool,
}

fn text(text: &str) -> Owned {
    Owned::Text(text.into())
}

fn integer(text: &str) -> Owned {
    text.parse().map_or_else(|_| Owned::Text(text.into()), Owned::Integer)
}

fn real(text: &str) -> Owned {
    text.parse().map_or_else(|_| Owned::Text(text.into()), Owned::Real)
}

fn bytes(text: &str) -> Owned {
    let digits = text.strip_prefix("\\x").unwrap_or("");
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    Owned::Blob((0..digits.len()).step_by(2).filter_map(byte).collect())
}

impl Case {
    fn new(name: &str, send: &'static str, form: Form, generate: fn(&mut Dice) -> String) -> Self {
        let target = Target::parse(name).expect("a type");
        let reading = format!("t::{name}");
        let sql = name.to_owned();
        Self { target, form, sql, send, reading, generate, held: text, has_lenient: true }
    }

    fn natural(name: &str, send: &'static str, generate: fn(&mut Dice) -> String) -> Self {
        let kind = Target::parse(name).expect("a type").kind;
        Self::new(name, send, Form::natural(&kind, Affinity::Text), generate)
    }

    fn read_as(mut self, reading: &str) -> Self {
        self.reading = reading.to_owned();
        self
    }

    fn holding(mut self, held: fn(&str) -> Owned) -> Self {
        self.held = held;
        self
    }

    fn strict(mut self) -> Self {
        self.has_lenient = false;
        self
    }

    fn of(mut self, target: Target, sql: &str) -> Self {
        self.target = target;
        self.sql = sql.to_owned();
        self.reading = format!("t::{sql}");
        self
    }

    fn codec(&self, policies: Policies) -> Codec {
        Codec::new(self.target.clone(), self.form.clone(), policies).expect("the form is taken")
    }
}

/// What happened to the texts of a case.
#[derive(Debug, Default)]
struct Counts {
    taken: usize,
    refused_by_server: usize,
}

fn compare_all(cases: Vec<Case>) {
    let seed = schema_seed(0);
    let _replay = SeedOnPanic(seed);
    let values = usize::try_from(number_from_env("LITE2PG_CODEC_VALUES", 20_000));
    let values = values.expect("a number of values");
    let database = TestDatabase::create();
    block_on(async {
        let client = database.client().await;
        prepare(&client).await;
        for (at, mut case) in cases.into_iter().enumerate() {
            resolve(&client, &mut case.target).await;
            let mut dice = Dice::new(seed.wrapping_add(at as u64));
            let mut counts = Counts::default();
            let mut left = values;
            while left != 0 {
                let batch = left.min(BATCH);
                compare(&client, &case, &mut dice, batch, &mut counts).await;
                left -= batch;
            }
            println!("{} {:?}: {counts:?}", case.target.name, case.form);
            assert!(values / 40 <= counts.taken, "too few values taken");
        }
    });
}

async fn prepare(client: &Client) {
    client
        .batch_execute(
            "create extension if not exists citext; \
             create type mood as enum ('sad', 'ok', 'happy é'); \
             create domain price as numeric(6,2);",
        )
        .await
        .expect("prepare the types");
}

/// Asks the catalog for the object ids that are this database's own.
async fn resolve(client: &Client, target: &mut Target) {
    let Kind::Array(element) = &mut target.kind else { return };
    if element.oid == 0 {
        let sql = "select oid, typarray from pg_type where typname = $1";
        let row = client.query_one(sql, &[&element.name]).await.expect("ask the catalog");
        element.oid = row.get(0);
        element.array_oid = row.get(1);
    }
}

/// One batch of texts through both.
async fn compare(client: &Client, case: &Case, dice: &mut Dice, batch: usize, counts: &mut Counts) {
    let texts: Vec<String> = (0..batch).map(|_| (case.generate)(dice)).collect();
    let readings = readings(client, case, &texts).await;
    counts.refused_by_server += readings.iter().filter(|reading| reading.is_none()).count();

    let zone = Some(Zone::universal());
    let strict = case.codec(Policies { zone: zone.clone(), ..Policies::default() });
    let mut sent = Vec::new();
    for (text, reading) in texts.iter().zip(&readings) {
        let held = (case.held)(text);
        let Some(field) = field(&strict, held.storage()) else { continue };
        counts.taken += 1;
        let what = format!("{} {:?} {text:?}", case.target.name, case.form);
        assert_eq!(Some(&field), reading.as_ref(), "{what}");
        let back = strict.decode(Some(&field));
        assert!(back.is_some_and(|back| strict.same(&back, &held)), "{what}");
        sent.push(field);
    }
    assert_eq!(through_a_table(client, case, &sent).await, sent, "{}", case.target.name);

    if !case.has_lenient {
        return;
    }
    let lenient = case.codec(Policies {
        zone,
        precision: Exactness::Round,
        leap_second: LeapSecond::Roll,
        trailing_spaces: TrailingSpaces::Strip,
        forms: Forms::Any,
        ..Policies::default()
    });
    for (text, reading) in texts.iter().zip(&readings) {
        let held = (case.held)(text);
        if let Some(field) = field(&lenient, held.storage()) {
            let what = format!("{} {:?} {text:?}, rounded", case.target.name, case.form);
            assert_eq!(Some(&field), reading.as_ref(), "{what}");
        }
    }
}

/// The field without its length; `None` for a misfit.
fn field(codec: &Codec, value: Storage<'_>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let encoded: Result<(), Misfit> = codec.encode(value, &mut out);
    encoded.ok().map(|()| out.split_off(4))
}

/// What the server makes of the texts; `None` where it raises an error. An assignment, since a
/// cast that is written out cuts a text that is too long.
async fn readings(client: &Client, case: &Case, texts: &[String]) -> Vec<Option<Vec<u8>>> {
    let Case { reading, send, sql, .. } = case;
    client
        .batch_execute(&format!(
            "create or replace function pg_temp.reading(t text) returns bytea language plpgsql as \
             $f$ declare v {sql}; begin v := {reading}; return {send}(v); \
             exception when others then return null; end $f$"
        ))
        .await
        .expect("make the function");
    let rows = client
        .query(
            "select pg_temp.reading(t) from unnest($1::text[]) with ordinality as x (t, n) \
             order by n",
            &[&texts],
        )
        .await
        .expect("read the texts");
    rows.iter().map(|row| row.get(0)).collect()
}

/// What a table holds after the fields went into it by COPY BINARY.
async fn through_a_table(client: &Client, case: &Case, fields: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let Case { sql, send, .. } = case;
    client
        .batch_execute(&format!(
            "drop table if exists pg_temp.held; create temp table held (n int, v {sql})"
        ))
        .await
        .expect("create the table");
    let copy = client.copy_in::<_, Bytes>("copy held from stdin binary").await.expect("copy");
    let mut copy = std::pin::pin!(copy);
    let mut data = BytesMut::new();
    data.put_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
    for (n, field) in fields.iter().enumerate() {
        data.put_i16(2);
        data.put_i32(4);
        data.put_i32(i32::try_from(n).expect("a batch is small"));
        data.put_i32(i32::try_from(field.len()).expect("fields are small"));
        data.put_slice(field);
    }
    data.put_i16(-1);
    copy.send(data.freeze()).await.expect("send the fields");
    copy.finish().await.expect("what we accept, the server accepts");
    let rows = client
        .query(&format!("select {send}(v) from held order by n"), &[])
        .await
        .expect("read the fields");
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn numbers_are_sent_as_the_server_reads_them() {
    let number = Form::Number;
    let mut cases = vec![
        Case::new("smallint", "int2send", number(Digits::Integer), texts::integer).holding(integer),
        Case::new("integer", "int4send", number(Digits::Integer), texts::integer).holding(integer),
        Case::new("bigint", "int8send", number(Digits::Integer), texts::integer).holding(integer),
        Case::new("bigint", "int8send", number(Digits::Text), texts::integer),
        Case::new("double precision", "float8send", number(Digits::Real), texts::double)
            .holding(real),
        Case::new("double precision", "float8send", number(Digits::Text), texts::decimal),
        Case::new("real", "float4send", number(Digits::Real), texts::single).holding(real),
        Case::new("real", "float4send", number(Digits::Text), texts::decimal),
        Case::new("numeric", "numeric_send", number(Digits::Text), texts::decimal),
        Case::new("numeric(12,2)", "numeric_send", number(Digits::Text), texts::decimal),
        Case::new("numeric(12,2)", "numeric_send", number(Digits::Trimmed), texts::decimal),
        Case::new("numeric(5,0)", "numeric_send", number(Digits::Text), texts::decimal),
        Case::new(
            "boolean",
            "boolsend",
            Form::natural(&Kind::Boolean, Affinity::Integer),
            texts::boolean,
        )
        .holding(integer),
    ];
    let words = Words { pair: Pair::TrueFalse, case: Capitals::Lower };
    cases.push(Case::new("boolean", "boolsend", Form::Words(words), texts::boolean));
    compare_all(cases);
}

fn mood() -> Target {
    let labels = ["sad", "ok", "happy é"].map(String::from).to_vec();
    Target::labels("mood", 0, 0, labels)
}

fn price() -> Target {
    Target::parse("numeric(6,2)").expect("a type").domain("price", 0, 0)
}

#[test]
fn texts_are_sent_as_the_server_reads_them() {
    compare_all(vec![
        Case::natural("text", "textsend", texts::unicode),
        Case::natural("varchar(8)", "varcharsend", texts::unicode).read_as("t"),
        Case::natural("char(8)", "bpcharsend", texts::unicode).read_as("t"),
        Case::new("char(8)", "bpcharsend", Form::Padded, texts::padded).read_as("t"),
        Case::natural("bpchar", "bpcharsend", texts::unicode),
        Case::natural("citext", "citextsend", texts::unicode),
        Case::natural("bytea", "byteasend", texts::hex).holding(bytes).strict(),
        Case::new("text", "enum_send", Form::Text, texts::label).of(mood(), "mood"),
        Case::new("numeric", "numeric_send", Form::Number(Digits::Text), texts::decimal)
            .of(price(), "price"),
    ]);
}

#[test]
fn dates_and_moments_are_sent_as_the_server_reads_them() {
    let clock = |fraction| Clock { seconds: Seconds::Always, fraction };
    let moment = |separator, fraction, suffix| {
        Form::Moment(Moments::DateTime { separator, clock: clock(fraction), suffix })
    };
    let plain = || moment(Separator::Space, Fraction::Optional(6), Suffix::None);
    let offset = Suffix::Offset { minutes: 330, style: OffsetStyle::Colon };
    let millis = Form::Moment(Moments::Count { unit: Unit::Millis, digits: Digits::Integer });
    let seconds = Form::Moment(Moments::Count { unit: Unit::Seconds, digits: Digits::Real });
    // A text with an offset means a moment; PostgreSQL's `timestamp` would drop the offset.
    let wall = "(t::timestamptz at time zone 'UTC')";
    compare_all(vec![
        Case::natural("date", "date_send", texts::date),
        Case::new("timestamp", "timestamp_send", plain(), texts::moment).read_as(wall),
        Case::new("timestamp(3)", "timestamp_send", plain(), texts::moment).read_as(wall),
        Case::new("timestamp(0)", "timestamp_send", plain(), texts::moment).read_as(wall),
        Case::new("timestamptz", "timestamptz_send", plain(), texts::moment),
        Case::new(
            "timestamptz(3)",
            "timestamptz_send",
            moment(Separator::T, Fraction::Fixed(3), Suffix::Z),
            texts::moment_z,
        ),
        Case::new(
            "timestamptz",
            "timestamptz_send",
            moment(Separator::Space, Fraction::Trimmed(0), offset),
            texts::moment_offset,
        ),
        Case::new(
            "timestamp",
            "timestamp_send",
            moment(Separator::Space, Fraction::Trimmed(0), offset),
            texts::moment_offset,
        )
        .read_as(wall),
        Case::new("timestamp(6)", "timestamp_send", millis, texts::millis)
            .holding(integer)
            .read_as("timestamp 'epoch' + t::bigint * interval '1 millisecond'"),
        Case::new("timestamptz", "timestamptz_send", seconds, texts::seconds)
            .holding(real)
            // to_timestamp() computes in doubles, and is off by a microsecond at times.
            .read_as(
                "timestamptz 'epoch' \
                 + (round(t::numeric * 1000000)::text || ' microseconds')::interval",
            ),
    ]);
}

#[test]
fn times_and_lengths_are_sent_as_the_server_reads_them() {
    let clock = |fraction| Clock { seconds: Seconds::Always, fraction };
    compare_all(vec![
        Case::new("time", "time_send", Form::Clock(clock(Fraction::Optional(6))), texts::clock),
        Case::new("time", "time_send", Form::On2000(clock(Fraction::Optional(6))), texts::on_2000),
        Case::new("time(2)", "time_send", Form::Clock(clock(Fraction::Trimmed(0))), texts::clock),
        Case::new(
            "interval",
            "interval_send",
            Form::Elapsed { unit: Unit::Micros, digits: Digits::Integer },
            texts::integer,
        )
        .holding(integer)
        .read_as(
            "make_interval(days => floor(t::numeric / 86400000000)::int) + \
             (mod(mod(t::numeric, 86400000000) + 86400000000, 86400000000)::text \
              || ' microseconds')::interval",
        )
        .strict(),
        Case::new(
            "interval",
            "interval_send",
            Form::SinceEpoch(clock(Fraction::Optional(6))),
            texts::moment,
        )
        .read_as(
            "make_interval(days => (t::timestamptz at time zone 'UTC')::date \
                 - date '1970-01-01') \
             + (t::timestamptz at time zone 'UTC')::time::interval",
        ),
    ]);
}

#[test]
fn structured_texts_are_sent_as_the_server_reads_them() {
    let elements = "from json_array_elements_text(t::json) with ordinality as x (e, n)";
    let array = |element: &str| {
        format!("coalesce((select array_agg(e::{element} order by n) {elements}), '{{}}')")
    };
    let uuid = |form| Form::Uuid(form);
    let array_of = |element: Target, sql, generate| {
        let target = element.array();
        let form = Form::natural(&target.kind, Affinity::Text);
        Case::new("text[]", "array_send", form, generate).of(target, sql)
    };
    let labels = array_of(mood(), "mood[]", texts::labels);
    let prices = array_of(price(), "price[]", texts::prices);
    compare_all(vec![
        Case::natural("uuid", "uuid_send", texts::uuid),
        Case::new("uuid", "uuid_send", uuid(UuidForm::Hex { upper: true }), texts::uuid),
        Case::natural("inet", "inet_send", texts::inet),
        Case::natural("cidr", "cidr_send", texts::inet),
        Case::natural("macaddr", "macaddr_send", texts::mac),
        Case::natural("macaddr8", "macaddr8_send", texts::mac),
        Case::natural("json", "json_send", texts::json),
        Case::natural("jsonb", "jsonb_send", texts::json),
        Case::natural("citext[]", "array_send", texts::strings).read_as(&array("citext")).strict(),
        labels.read_as(&array("mood")).strict(),
        prices.read_as(&array("price")).strict(),
        Case::natural("int[]", "array_send", texts::integers).read_as(&array("int")).strict(),
        Case::natural("text[]", "array_send", texts::strings).read_as(&array("text")).strict(),
    ]);
}

/// All texts of one and two bytes: PostgreSQL takes exactly those that we take.
#[test]
fn one_and_two_bytes_are_text_for_both_or_for_none() {
    let database = TestDatabase::create();
    let target = Target::parse("text").expect("a type");
    let codec = Codec::new(target, Form::Text, Policies::default()).expect("text is taken");
    let one = (0..=255_u8).map(|byte| vec![byte]);
    let two = (0..=u16::MAX).map(|both| both.to_be_bytes().to_vec());
    let all: Vec<Vec<u8>> = one.chain(two).collect();
    let taken: Vec<bool> = block_on(async {
        let client = database.client().await;
        client
            .batch_execute(
                "create function pg_temp.takes(b bytea) returns boolean language plpgsql as $f$ \
                 begin perform convert_from(b, 'UTF8'); return true; \
                 exception when others then return false; end $f$",
            )
            .await
            .expect("make the function");
        let sql = "select pg_temp.takes(b) from unnest($1::bytea[]) with ordinality as x (b, n) \
                   order by n";
        let rows = client.query(sql, &[&all]).await.expect("ask the server");
        rows.iter().map(|row| row.get(0)).collect()
    });
    for (bytes, taken) in all.iter().zip(taken) {
        assert_eq!(field(&codec, Storage::Text(bytes)).is_some(), taken, "{bytes:?}");
    }
}

/// A Julian day means to us what it means to SQLite.
#[test]
fn julian_days_are_the_moments_sqlite_shows() {
    let seed = schema_seed(0);
    let _replay = SeedOnPanic(seed);
    let mut dice = Dice::new(seed);
    let sqlite = rusqlite::Connection::open_in_memory().expect("open SQLite");
    let mut shown =
        sqlite.prepare("select strftime('%Y-%m-%d %H:%M:%f', ?1)").expect("SQLite knows strftime");
    let target = || Target::parse("timestamp").expect("a type");
    let form = Form::Moment(Moments::Julian(Digits::Real));
    let julian = Codec::new(target(), form, Policies::default()).expect("taken");
    let form = Form::Moment(Moments::DateTime {
        separator: Separator::Space,
        clock: Clock::MILLIS,
        suffix: Suffix::None,
    });
    let as_text = Codec::new(target(), form, Policies::default()).expect("taken");
    for _ in 0..20_000 {
        // From the year 1 to 9999.
        let millis = 148_731_163_200_000 + dice.next() % 315_000_000_000_000;
        let day = millis as f64 / 86_400_000.0;
        let text: String = shown.query_row([day], |row| row.get(0)).expect("SQLite shows it");
        let ours = field(&julian, Storage::Real(day)).expect("a whole millisecond");
        assert_eq!(field(&as_text, Storage::Text(text.as_bytes())), Some(ours), "{day} {text}");
    }
}
