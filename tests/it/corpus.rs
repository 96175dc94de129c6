//! Hostile files: values, keys and changes that other tools lose without a word, each of them in
//! the first copy and again live. Every row is equal afterwards or in quarantine, never both and
//! never neither, and what the target cannot hold is named by key and column.
//!
//! What else belongs to the corpus stands where its subject is: names (`bad_input.rs`), sessions of
//! the role that are set as badly as can be (`server_faults.rs`), identities, generated columns,
//! triggers and defaults of the target (`adopt.rs`), tables made and remade under a run
//! (`alter.rs`), batches that no reader sees half (`random.rs`), and NULLs in keys, tables without
//! a reachable rowid, virtual tables and keys too long for an index (`tests/scenarios`).
//!
//! `LITE2PG_LARGE_MB` is the size of the large values (32; SQLite as it is built takes 953).
//! Begin with [`Hostile`].

use rusqlite::Connection;
use sha2::{Digest, Sha256};

use crate::generator::dice::Dice;
use crate::random::{SeedOnPanic, number_from_env, schema_seed};
use crate::support::pair::Pair;
use crate::support::scene::is_in_step;
use crate::support::sidecar::{LIMIT, Sidecar};

/// A file and what happens to it.
#[derive(Clone, Copy, Default)]
struct Hostile<'a> {
    /// Makes the file, with rows that are as they should be.
    schema: &'a str,
    /// Brings in the rest.
    rows: &'a str,
    /// The configuration of lite2pg.
    config: &'a str,
    /// The tables of the target, where there are some before.
    target: &'a str,
}

impl Hostile<'_> {
    fn pair(&self) -> Pair {
        let pair = Pair::with(self.schema);
        pair.target().run(self.target);
        pair
    }

    /// All is there when the first copy begins.
    fn copied(&self) -> Pair {
        let pair = self.pair();
        pair.write(self.rows);
        pair.catch_up(self.config).expect_code(0);
        pair.assert_conservation();
        pair
    }

    /// The hostile part arrives while replication streams.
    fn live(&self) -> Pair {
        let pair = self.pair();
        let mut sidecar = self.stream(&pair);
        pair.write(self.rows);
        pair.await_step(&mut sidecar);
        sidecar.terminate().expect_code(0);
        pair.assert_conservation();
        pair
    }

    fn stream(&self, pair: &Pair) -> Sidecar {
        let mut sidecar = pair.call("run", self.config).start();
        pair.await_streaming(&mut sidecar);
        sidecar
    }

    /// Both ways, everything arrives.
    fn arrives(&self) {
        for pair in [self.copied(), self.live()] {
            pair.assert_equal();
        }
    }
}

// ------------------------------------------------------------------------------------------------
// Changes

/// Rows whose unique values change places in a circle, through values that no row keeps.
fn circles(dice: &mut Dice) -> String {
    (2..=50)
        .map(|length: usize| {
            let mut places: Vec<usize> = (1..=length).collect();
            (1..length).rev().for_each(|at| places.swap(at, dice.below(at + 1)));
            let moves: String = places
                .iter()
                .enumerate()
                .map(|(at, place)| {
                    let id = at + 1;
                    format!("update seat set n = {place}, name = 'n{place}' where id = {id};")
                })
                .collect();
            format!(
                "begin; update seat set n = -n, name = 'parked' || id where id <= {length};
                 {moves} commit;"
            )
        })
        .collect()
}

#[test]
fn unique_values_change_places_in_circles_of_any_length() {
    let seed = schema_seed(0);
    let _replay = SeedOnPanic(seed);
    let rows = circles(&mut Dice::new(seed));
    let schema = "create table seat (id integer primary key, n integer unique, name text);
                  create unique index seat_name on seat (name);
                  with recursive s(i) as (values (1) union all select i + 1 from s where i < 50)
                  insert into seat select i, i, 'n' || i from s";
    let made = Hostile { schema, rows: &rows, ..Hostile::default() };
    made.arrives();
    // Not deferrable, and there from the beginning.
    let target = "create table seat (id bigint primary key, n bigint unique, name text unique)";
    Hostile { target, config: "mode = 'adopt'", ..made }.arrives();
}

#[test]
fn a_parent_that_is_replaced_takes_no_child_with_it() {
    let schema = "create table parent (id integer primary key, v text);
                  create table child (id integer primary key,
                      parent_id integer references parent (id) on delete cascade);
                  create table remark (id integer primary key,
                      parent_id integer references parent (id) on delete set null);
                  insert into parent values (1, 'old'), (2, 'old');
                  insert into child values (1, 1), (2, 1), (3, 2);
                  insert into remark values (1, 1), (2, 2)";
    let rows = "pragma foreign_keys = off;
                replace into parent values (1, 'new');
                begin; delete from parent where id = 2; insert into parent values (2, 'again');
                commit";
    let made = Hostile { schema, rows, ..Hostile::default() };
    made.arrives();
    let target = "create table parent (id bigint primary key, v text);
                  create table child (id bigint primary key,
                      parent_id bigint references parent (id) on delete cascade);
                  create table remark (id bigint primary key,
                      parent_id bigint references parent (id) on delete set null)";
    Hostile { target, config: "mode = 'adopt'", ..made }.arrives();
}

#[test]
fn a_row_that_is_written_a_thousand_times_in_one_transaction_arrives_as_it_was_left() {
    let often = "update t set n = n + 1, v = v || 'x' where id = 1;
                 delete from t where id = 2; insert into t values (2, 5, 'back');
                 replace into t values (3, 1, 'first'), (3, 2, 'second');"
        .repeat(1_000);
    Hostile {
        schema: "create table t (id integer primary key, n integer, v text);
                 insert into t values (1, 0, ''), (2, 0, '')",
        rows: &format!("begin; {often} delete from t where id = 3; commit"),
        ..Hostile::default()
    }
    .arrives();
}

/// Foreign keys that SQLite never looked at: a circle, a table that names itself, and orphans.
#[test]
fn orphans_arrive_and_are_named_when_the_foreign_keys_are_built() {
    let hostile = Hostile {
        schema: "create table a (id integer primary key, b_id integer references b (id));
                 create table b (id integer primary key, a_id integer references a (id),
                                 up integer references b (id))",
        rows: "pragma foreign_keys = off;
               begin; insert into a values (1, 1), (2, 77);
               insert into b values (1, 1, 1), (2, 2, 3), (3, 2, 2); commit",
        ..Hostile::default()
    };
    for pair in [hostile.copied(), hostile.live()] {
        pair.assert_equal();
        let ended = pair.call("schema", "").arg("--finalise").finish().expect_code(1);
        assert!(ended.stderr.contains("(b_id)=(77)"), "{}", ended.stderr);
        let built = "select conname from pg_constraint where contype = 'f' and convalidated
                        and connamespace = 'public'::regnamespace";
        assert_eq!(pair.ask(built).len(), 2, "those without orphans");
        pair.write("pragma foreign_keys = off; update a set b_id = null where id = 2");
        pair.catch_up("").expect_code(0);
        pair.call("schema", "").arg("--finalise").finish().expect_code(0);
        assert_eq!(pair.ask(built).len(), 3);
        pair.assert_equal();
    }
}

// ------------------------------------------------------------------------------------------------
// Texts

/// All texts of one byte and of two, valid or not.
const ALL_SHORT_TEXTS: &str = "
    with recursive n (i) as (select 0 union all select i + 1 from n where i < 65791)
    insert into t select i + 1, cast(unhex(case when i < 256 then printf('%02x', i)
                                                else printf('%04x', i - 256) end) as text) from n";

#[test]
fn every_text_of_one_or_two_bytes_arrives_or_is_set_aside() {
    let hostile = Hostile {
        schema: "create table t (id integer primary key, v text)",
        rows: ALL_SHORT_TEXTS,
        ..Hostile::default()
    };
    // Of one byte: 0x01 to 0x7f. Of two: pairs of those, and the characters U+0080 to U+07FF.
    let valid = 127 + 127 * 127 + (0x800 - 0x80);
    for pair in [hostile.copied(), hostile.live()] {
        assert_eq!(pair.ask("select count(*) from t"), [valid.to_string()]);
        pair.assert_equal_but_quarantined();
        let said = pair.ask(
            "select reason || ': ' || count(*) from lite2pg.quarantine group by reason order by 1",
        );
        // NUL before or behind an ASCII character, NUL twice, and NUL alone.
        let (all, nul) = (256 + 65_536, 127 * 2 + 2);
        assert_eq!(
            said,
            [
                format!("text holds a NUL character: {nul}"),
                format!("text is not valid UTF-8: {}", all - valid - nul)
            ]
        );
    }
    // The choices that are offered for such columns.
    let bytes = Hostile { config: "[columns.t.v]\ntype = 'bytea'\nform = 'text'", ..hostile };
    let named = "count(*) filter (where encode(v, 'hex') =
                 case when id <= 256 then lpad(to_hex(id - 1), 2, '0')
                      else lpad(to_hex(id - 257), 4, '0') end)";
    let mended = Hostile {
        config: "[columns.t.v]\ntype = 'text'\nnul = 'strip'\ninvalid_utf8 = 'latin1'",
        ..hostile
    };
    assert_eq!(bytes.live().ask(&format!("select {named} from t")), ["65792"]);
    let mended = mended.copied();
    assert_eq!(mended.ask("select count(*) from t"), ["65792"]);
    assert_eq!(mended.ask("select v from t where id in (1, 234) order by id"), ["", "é"]);
}

#[test]
fn no_text_is_shortened_filled_up_or_taken_for_null() {
    let schema = "create table t (id integer primary key, v varchar(3), c char(3), e text);
                  insert into t values (1, 'abc', 'abc', 'abc')";
    let rows = "insert into t values
                    (2, '', '', ''), (3, null, null, null), (4, 'a  ', 'a', ' '),
                    (5, ' ', '', ' a '),
                    (6, 'abc ', 'a', 'a'), (7, 'abcd', 'a', 'a'), (8, 'a', 'abcd', 'a'),
                    (9, 'a', 'a ', 'a'), (10, 'äöü', '😀😀😀', 'e' || char(0x301)),
                    (11, 'äöüß', 'a', '')";
    Hostile { schema, rows, ..Hostile::default() }.arrives();
    let set = Hostile {
        config: "[columns.t.v]\ntype = 'varchar(3)'\n[columns.t.c]\ntype = 'char(3)'",
        schema,
        rows,
        ..Hostile::default()
    };
    for pair in [set.copied(), set.live()] {
        assert_eq!(
            pair.ask(
                "select format('%s <%s> <%s> <%s>', id, v, rtrim(c), e)
                       || case when v is null then ' null' else '' end from t order by id"
            ),
            [
                "1 <abc> <abc> <abc>",
                "2 <> <> <>",
                "3 <> <> <> null",
                "4 <a  > <a> < >",
                "5 < > <> < a >",
                "10 <äöü> <😀😀😀> <e\u{301}>",
            ]
        );
        let aside = pair.quarantine();
        let keys: Vec<&str> =
            aside.iter().map(|row| row.split(':').next().expect("a key")).collect();
        assert_eq!(keys, ["t [11] v", "t [6] v", "t [7] v", "t [8] c", "t [9] c"]);
    }
}

/// SQLite folds the case of A to Z alone, and RTRIM ignores spaces.
#[test]
fn collations_forbid_on_the_target_what_they_forbid_in_sqlite() {
    let schema = "create table t (id integer primary key, a text collate nocase unique,
                                  b text collate rtrim unique)";
    let rows = "insert into t values (1, 'é', 'x'), (2, 'É', 'X'), (3, 'e', 'x' || char(9)),
                                     (4, 'Straße', ' x'), (5, 'STRASSE', null), (6, null, null);
                begin; update t set a = 'parked' where id = 3; update t set a = 'E' where id = 3;
                update t set b = 'x  ' where id = 1; commit";
    let hostile = Hostile { schema, rows, ..Hostile::default() };
    hostile.arrives();
    let pair = hostile.live();
    let refused = |sql: &str| pair.target().try_query(sql).is_err();
    assert!(refused("insert into t values (7, 'STRAßE', 'new')"));
    assert!(refused("insert into t values (7, 'new', 'x')"));
    assert!(!refused("insert into t values (7, 'ß', 'new')"));
    // A rule of the target that SQLite does not have: the second row waits, whichever it is.
    let target = "create table t (id bigint primary key, a text, b text);
                  create unique index folded on t (replace(a, 'É', 'é'))";
    let adopted = Hostile { target, config: "mode = 'adopt'", ..hostile };
    for pair in [adopted.copied(), adopted.live()] {
        let aside = pair.quarantine();
        let told = aside.len() == 1 && aside[0].contains("folded");
        assert!(told, "{aside:?}");
        pair.assert_equal_but_quarantined();
        pair.write("update t set a = 'other' where a = 'é'");
        pair.call("quarantine", "").arg("--retry").finish().expect_code(0);
        pair.catch_up(adopted.config).expect_code(0);
        pair.assert_equal();
    }
}

// ------------------------------------------------------------------------------------------------
// Numbers, and any class in any column

/// Every declared type that decides an affinity or that applications expect something of.
const DECLARED: &[&str] = &[
    "",
    "integer",
    "int",
    "bigint",
    "boolean",
    "real",
    "double precision",
    "numeric",
    "decimal(10,2)",
    "text",
    "varchar(3)",
    "char(2)",
    "date",
    "datetime",
    "timestamp",
    "json",
    "uuid",
    "blob",
    "any",
];

/// One of each that ends up in the wrong column.
const SOUP: &[&str] = &[
    "null",
    "0",
    "1",
    "2",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "1.5",
    "-0.0",
    "1.0",
    "1e300",
    "5e-324",
    "9e999",
    "-9e999",
    "0.30000000000000004",
    "2451545.5",
    "1704067200",
    "1704067200000",
    "''",
    "' '",
    "'12'",
    "' 12 '",
    "'1e3'",
    "'0x10'",
    "'abc'",
    "'t'",
    "'true'",
    "'0000-00-00'",
    "'2024-02-30'",
    "'2024-02-29'",
    "'2024-02-29 23:59:60'",
    "'{\"a\": 1}'",
    "'{'",
    "x''",
    "x'ff'",
    "x'00'",
    "zeroblob(16)",
    "cast(x'00' as text)",
    "cast(x'c328' as text)",
    "char(0xfeff)",
    "char(0x10ffff)",
];

#[test]
fn any_storage_class_in_a_column_of_any_type_arrives_or_is_set_aside() {
    let table = |at: usize| format!("\"d {}\"", DECLARED[at]);
    let ats = || 0..DECLARED.len();
    let schema: String = ats()
        .map(|at| {
            format!("create table {} (id integer primary key, v {});", table(at), DECLARED[at])
        })
        .collect();
    let rows: String = ats()
        .map(|at| format!("insert into {} (v) values ({});", table(at), SOUP.join("), (")))
        .collect();
    let hostile = Hostile { schema: &schema, rows: &rows, ..Hostile::default() };
    for pair in [hostile.copied(), hostile.live()] {
        pair.assert_equal_but_quarantined();
        let kept = pair.ask("select count(*) from \"d \"");
        assert!(kept[0] != "0", "an untyped column keeps most of it");
    }
}

/// Doubles at every border of the exponent, and as many at random.
fn doubles(dice: &mut Dice) -> Vec<f64> {
    let mantissas = [0, 1, (1 << 52) - 1, 0x8_0000_0000_0000, 0x5_5555_5555_5555];
    let borders = (0..0x7ff_u64).flat_map(|exponent| {
        mantissas.into_iter().flat_map(move |mantissa| {
            [0, 1].map(|sign| f64::from_bits((sign << 63) | (exponent << 52) | mantissa))
        })
    });
    let random = (0..20_000).map(|_| f64::from_bits(dice.next()));
    let whole = (0..64).map(|power| (1_u64 << power) as f64);
    let short = (0..2_000).map(|n| f64::from(n) / 100.0);
    borders
        .chain(random)
        .chain(whole)
        .chain(short)
        .chain([f64::INFINITY, f64::NEG_INFINITY])
        .filter(|value| !value.is_nan())
        .collect()
}

#[test]
fn doubles_arrive_bit_by_bit() {
    let seed = schema_seed(0);
    let _replay = SeedOnPanic(seed);
    let values = doubles(&mut Dice::new(seed));
    let fill = |pair: &Pair| {
        let mut app = Connection::open(pair.file()).expect("open the source");
        app.busy_timeout(LIMIT).expect("set the busy timeout");
        let all = app.transaction().expect("begin");
        let mut insert = all.prepare("insert into d (r, u) values (?1, ?1)").expect("prepare");
        for value in &values {
            insert.execute([value]).expect("insert");
        }
        drop(insert);
        all.commit().expect("commit");
    };
    // A column without a type keeps -0.0, which one of type REAL does not.
    let hostile = Hostile {
        schema: "create table d (id integer primary key, r real, u);
                 insert into d values (0, 1.5, 1.5)",
        ..Hostile::default()
    };
    let pair = hostile.pair();
    fill(&pair);
    pair.catch_up("").expect_code(0);
    pair.assert_equal();
    assert_eq!(pair.quarantine(), [""; 0]);
    let live = hostile.pair();
    let mut sidecar = hostile.stream(&live);
    fill(&live);
    live.await_step(&mut sidecar);
    sidecar.terminate().expect_code(0);
    live.assert_equal();
    let bits = "select encode(float8send(u), 'hex') from d where id between 1 and 10 order by id";
    let expected: Vec<String> =
        values[..10].iter().map(|value| format!("{:016x}", value.to_bits())).collect();
    assert_eq!(live.ask(bits), expected, "as the server itself prints them");
}

#[test]
fn integers_arrive_whole_and_none_is_wrapped_to_fit() {
    let powers: String = (0..63)
        .flat_map(|power: u32| [-1_i128, 0, 1].map(|by| (1_i128 << power) + by))
        .flat_map(|value| [value, -value])
        .map(|value| format!("insert into t (a, b) values ({value}, {value});"))
        .collect();
    let rows = format!("begin; {powers} insert into t (a) values (-9223372036854775808); commit;");
    let hostile = Hostile {
        schema: "create table t (id integer primary key, a integer, b bigint)",
        rows: &rows,
        ..Hostile::default()
    };
    hostile.arrives();
    let narrow = Hostile { config: "[columns.t.b]\ntype = 'integer'", ..hostile };
    for pair in [narrow.copied(), narrow.live()] {
        pair.assert_equal_but_quarantined();
        let aside = pair.quarantine();
        assert!(!aside.is_empty() && aside.iter().all(|row| row.contains(" b: ")), "{aside:#?}");
        assert_eq!(pair.ask("select min(b), max(b) from t"), ["-2147483648"]);
        assert_eq!(pair.ask("select max(b) from t"), ["2147483647"]);
    }
}

// ------------------------------------------------------------------------------------------------
// Times and truth

#[test]
fn times_and_truths_stay_as_they_are_unless_a_type_was_chosen() {
    let schema = "create table t (id integer primary key, at datetime, day date, ok boolean);
                  insert into t values (1, '2024-01-01 10:00:00', '2024-01-01', 1)";
    let rows = "insert into t values
                    (2, '0000-00-00 00:00:00', '0000-00-00', 0),
                    (3, '2024-02-30 10:00:00', '2024-02-30', 2),
                    (4, 1704067200, 20240101, 't'),
                    (5, 2460310.5, 2460310.5, 'true'),
                    (6, '', '', ''),
                    (7, '2024-01-01T10:00:00+02:00', '2024-01-01', null),
                    (8, '2024-02-29 23:59:59.123456', '2024-02-29', 1),
                    (9, '2024-01-01 10:00:00.1234567', '2024-01-01', 1),
                    (10, '9999-12-31 23:59:59', '0001-01-01', 0),
                    (11, null, null, null)";
    let plain = Hostile { schema, rows, ..Hostile::default() };
    for pair in [plain.copied(), plain.live()] {
        pair.assert_equal_but_quarantined();
    }
    let typed = Hostile {
        config: "[columns.t]
                 at = { type = 'timestamptz', zone = 'UTC' }
                 day = { type = 'date' }
                 ok = { type = 'boolean' }",
        ..plain
    };
    for pair in [typed.copied(), typed.live()] {
        let aside = pair.quarantine();
        let keys: Vec<&str> =
            aside.iter().map(|row| row.split(": ").next().expect("a key")).collect();
        assert_eq!(
            keys,
            ["t [2] at", "t [3] at", "t [4] at", "t [5] at", "t [6] at", "t [7] at", "t [9] at"],
            "{aside:#?}"
        );
        pair.assert_equal_but_quarantined();
    }
}

// ------------------------------------------------------------------------------------------------
// Keys

#[test]
fn keys_that_only_differ_in_their_class_name_different_rows() {
    let schema = "create table k (k primary key, v text) without rowid;
                  create table n (k primary key, v text) without rowid;
                  create table r (k real primary key, v text);
                  create table b (k blob primary key, v text);
                  insert into k values (0, 'zero'), ('zero', 'text');
                  insert into n values (0, 'zero'), (0.5, 'half');
                  insert into r values (0.5, 'half')";
    let rows = "insert into k values (1, 'integer'), ('1', 'text'), (x'31', 'blob'), (1.5, 'real'),
                    ('1.5', 'text'), (x'', 'blob'), ('', 'text'), ('{\"blob\": \"31\"}', 'json'),
                    (9e999, 'infinite'), ('Infinity', 'text'), (9007199254740993, 'integer');
                replace into k values (1.0, 'the row of 1');
                insert into n values (1, 'integer'), (2.0, 'real'), (1e15, 'large'), (9e999, 'inf');
                replace into n values (1.0, 'now real'), (2, 'now integer');
                insert into r values (0.0, 'zero'), (1, 'one'), (9e999, 'inf'), (-9e999, 'inf');
                replace into r values (-0.0, 'zero still'), (1.0, 'one still');
                insert into b values (x'', '0'), (x'00', '1'), (x'0000', '2'), (x'61', 'a'),
                                     (x'6100', 'a0');
                update k set v = v || '!' where k = '1';
                delete from k where k = x'31';
                update b set v = v || '!' where k = x'00'; delete from b where k = x'6100'";
    Hostile { schema, rows, ..Hostile::default() }.arrives();
}

/// A key that compresses may be longer than one that does not.
#[test]
fn a_key_that_no_index_can_hold_is_set_aside_when_it_arrives() {
    let schema = "create table k (k text primary key, n integer); insert into k values ('a', 1)";
    let rows = "insert into k values (printf('%.*c', 9000, 'a'), 2);
                insert into k select hex(randomblob(4500)), 3;
                insert into k values ('b', 4);
                update k set n = 5";
    let made = Hostile { schema, rows, ..Hostile::default() };
    let target = "create table k (k text primary key, n integer)";
    for hostile in [made, Hostile { target, config: "mode = 'adopt'", ..made }] {
        for pair in [hostile.copied(), hostile.live()] {
            let aside = pair.quarantine();
            let told = aside.len() == 1 && aside[0].contains(" index");
            assert!(told, "{aside:?}");
            pair.assert_equal_but_quarantined();
        }
    }
}

// ------------------------------------------------------------------------------------------------
// Size

/// A transaction with more values than a statement can have parameters.
#[test]
fn many_wide_rows_in_one_transaction_arrive() {
    let columns =
        |what: &dyn Fn(usize) -> String| (0..900).map(what).collect::<Vec<_>>().join(", ");
    let schema = format!(
        "create table wide (id integer primary key, {})",
        columns(&|n| format!("c{n} integer"))
    );
    let rows = format!(
        "with recursive n (i) as (select 1 union all select i + 1 from n where i < 200)
         insert into wide select i, {} from n",
        columns(&|n| format!("i * {n}"))
    );
    Hostile { schema: &schema, rows: &rows, ..Hostile::default() }.arrives();
}

#[test]
fn large_values_arrive_and_memory_follows_the_largest_row() {
    let mib = number_from_env("LITE2PG_LARGE_MB", 32);
    let bytes = mib << 20;
    let schema = "create table f (id integer primary key, b blob, t text);
                  insert into f values (1, x'01', 'small')";
    // Eight rows, so that keeping a few of them would be seen.
    let rows: String = (2..10)
        .map(|id| {
            let (b, t) = match id % 2 {
                0 => (format!("randomblob({bytes})"), "null".to_owned()),
                _ => ("null".to_owned(), format!("printf('%.*c', {}, 'ä')", bytes / 2)),
            };
            format!("insert into f values ({id}, {b}, {t});")
        })
        .collect();
    let hostile = Hostile { schema, rows: &rows, ..Hostile::default() };
    let digests = |pair: &Pair| {
        let app = Connection::open(pair.file()).expect("open the source");
        let mut all = app.prepare("select coalesce(b, t) from f order by id").expect("prepare");
        let mut rows = all.query([]).expect("query");
        let mut digests = Vec::new();
        while let Some(row) = rows.next().expect("a row") {
            let bytes = row.get_ref(0).expect("selected").as_bytes().expect("text or blob");
            let digest = Sha256::digest(bytes);
            digests.push(digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        }
        digests
    };
    let on_target = "select encode(sha256(coalesce(b, convert_to(t, 'UTF8'))), 'hex')
                       from f order by id";
    for is_live in [false, true] {
        let pair = hostile.pair();
        let mut sidecar;
        if is_live {
            sidecar = hostile.stream(&pair);
            pair.write(&rows);
        } else {
            pair.write(&rows);
            sidecar = pair.call("run", "").start();
        }
        let limit = LIMIT * (1 + u32::try_from(mib / 64).expect("a size"));
        let in_step = sidecar.until_within(limit, || is_in_step(&pair.file(), &pair.database.url));
        assert_eq!(in_step, Some(()), "it ended: {}", sidecar.stderr());
        let peak = sidecar.peak_mib().expect("it is running");
        sidecar.terminate().expect_code(0);
        println!("values of {mib} MiB, live {is_live}: {peak} MiB at most");
        assert_eq!(pair.ask(on_target), digests(&pair));
        pair.assert_conservation();
        assert_eq!(pair.quarantine(), [""; 0]);
        // A row is in memory up to four times on its way, and its buffer grows ahead of it.
        assert!(peak < 100 + 5 * mib, "{peak} MiB for values of {mib} MiB");
    }
}

/// In `jsonb` a blob is written in hexadecimal: five of them, none longer than PostgreSQL takes,
/// are together more than a message to the server may be.
#[test]
fn a_row_that_no_message_can_hold_is_set_aside() {
    let bytes = (number_from_env("LITE2PG_LARGE_MB", 32) << 20) / 5;
    let pair = Pair::with(
        "create table m (id integer primary key, a, b, c, d, e);
         insert into m values (1, 'x', 'x', 'x', 'x', 'x'), (2, 1.5, 1.5, 1.5, 1.5, 1.5)",
    );
    pair.catch_up("").expect_code(0);
    let blobs = vec![format!("zeroblob({bytes})"); 5].join(", ");
    pair.write(&format!("insert into m values (4, {blobs}), (5, 'y', 'y', 'y', 'y', 'y')"));
    pair.catch_up("").expect_code(0);
    let is_too_large = 1 << 30 < 10 * bytes;
    let expected: &[&str] = match is_too_large {
        true => &["m [4] e: row is larger than PostgreSQL's limit of 1 GB"],
        false => &[],
    };
    assert_eq!(pair.quarantine(), expected);
    pair.assert_conservation();
    assert_eq!(pair.ask("select b #>> '{}' from m where id = 5"), ["y"]);
}
