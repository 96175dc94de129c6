//! Types that the configuration sets: from the file to the rows, live, and what does not fit.

use rusqlite::Connection;

use crate::server::Target;
use crate::support::pair::Pair;
use crate::support::scene::await_on_target;
use crate::support::sidecar::{LIMIT, Launch, status};

/// What Django leaves in SQLite, by hand.
const TABLES: &str = "
    create table account (
        id integer not null primary key autoincrement,
        is_active bool not null default 1,
        joined datetime not null,
        balance decimal not null,
        token char(32) not null unique,
        born date null,
        settings text null,
        logins smallint unsigned not null default 0);
    create table visit (
        id char(32) not null primary key,
        account_id bigint not null references account(id),
        seconds integer not null);
    insert into account values
        (1, 1, '2026-11-21 09:49:32.123456', 12.5, '550e8400e29b41d4a716446655440000',
         '1999-12-31', '{\"b\": 1, \"a\": [1.50, \"x\"]}', 3),
        (2, 0, '2026-11-21 09:49:32', 7, 'ffffffffffffffffffffffffffffffff', null, null, 0);
    insert into visit values ('00000000000000000000000000000001', 1, 60),
                             ('00000000000000000000000000000002', 2, 5);
";

/// The types that such an application has on PostgreSQL.
const CONFIG: &str = r#"
    [columns."account"."is_active"]
    type = "boolean"
    [columns."account"."joined"]
    type = "timestamptz"
    zone = "UTC"
    [columns."account"."balance"]
    type = "numeric(12,2)"
    [columns."account"."token"]
    type = "uuid"
    [columns."account"."born"]
    type = "date"
    [columns."account"."settings"]
    type = "jsonb"
    accept = ["json_text"]
    [columns."account"."logins"]
    type = "smallint"
    [columns."visit"."id"]
    type = "uuid"
    [types]
    integer = "integer"
"#;

const COLUMN_TYPES: &str = "select c.relname || '.' || a.attname || ' ' ||
            format_type(a.atttypid, a.atttypmod)
       from pg_attribute a join pg_class c on c.oid = a.attrelid
      where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and 0 < a.attnum
      order by c.relname, a.attnum";

#[test]
fn the_target_has_the_types_that_were_set_and_every_value_in_them() {
    let pair = Pair::with(TABLES);
    pair.catch_up(CONFIG).expect_code(0);
    assert_eq!(
        pair.ask(COLUMN_TYPES),
        [
            "account.id integer",
            "account.is_active boolean",
            "account.joined timestamp with time zone",
            "account.balance numeric(12,2)",
            "account.token uuid",
            "account.born date",
            "account.settings jsonb",
            "account.logins smallint",
            "visit.id uuid",
            "visit.account_id bigint",
            "visit.seconds integer",
        ]
    );
    let rows = "select concat_ws('|', id, is_active, joined at time zone 'UTC', balance, token,
                                 born, settings, logins) from public.account order by id";
    assert_eq!(
        pair.ask(rows),
        [
            "1|t|2026-11-21 09:49:32.123456|12.50|550e8400-e29b-41d4-a716-446655440000|\
             1999-12-31|{\"a\": [1.50, \"x\"], \"b\": 1}|3",
            "2|f|2026-11-21 09:49:32|7.00|ffffffff-ffff-ffff-ffff-ffffffffffff|0",
        ]
    );
    assert_eq!(pair.ask("select id from public.visit order by id").len(), 2);
    // Defaults that mean the same came along.
    pair.target().run(
        "insert into public.account (id, joined, balance, token)
         values (9, now(), 1, gen_random_uuid())",
    );
    assert_eq!(
        pair.ask("select is_active || ' ' || logins from public.account where id = 9"),
        ["true 0"]
    );
}

#[test]
fn changes_of_columns_with_a_set_type_arrive_while_streaming() {
    let pair = Pair::with(TABLES);
    let mut sidecar = pair.call("run", CONFIG).start();
    let is_streaming = || {
        let rows = Target::try_connect(&pair.database.url).ok()?;
        let rows = rows.try_query("select phase from lite2pg.position").ok()?;
        (rows.first()?.first()?.as_deref() == Some("streaming")).then_some(())
    };
    sidecar.until(is_streaming).unwrap_or_else(|| panic!("it ended:\n{}", sidecar.stderr()));
    pair.write(
        "update account set is_active = 0, joined = '2030-01-01 00:00:00.000001', balance = 0.01,
                token = 'eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee', settings = '[null]' where id = 1;
         insert into account values (3, 1, '0001-01-01 00:00:00', -99.99,
                '00000000000000000000000000000000', '9999-12-31', '\"s\"', 32767);
         update visit set id = 'abcdefabcdefabcdefabcdefabcdefab' where seconds = 60;
         delete from visit where seconds = 5",
    );
    pair.await_step(&mut sidecar);
    assert_eq!(
        pair.ask(
            "select concat_ws('|', id, is_active, joined at time zone 'UTC', balance, token, born,
                              settings, logins) from public.account order by id"
        ),
        [
            "1|f|2030-01-01 00:00:00.000001|0.01|eeeeeeee-eeee-eeee-eeee-eeeeeeeeeeee|1999-12-31|\
             [null]|3",
            "2|f|2026-11-21 09:49:32|7.00|ffffffff-ffff-ffff-ffff-ffffffffffff|0",
            "3|t|0001-01-01 00:00:00|-99.99|00000000-0000-0000-0000-000000000000|9999-12-31|\
             \"s\"|32767",
        ]
    );
    assert_eq!(pair.ask("select id from public.visit"), ["abcdefab-cdef-abcd-efab-cdefabcdefab"]);
    // Two values that change places on a unique index of a set type.
    pair.write(
        "begin; update account set token = 'tmp' where id = 1;
         update account set token = 'eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee' where id = 2;
         update account set token = 'ffffffffffffffffffffffffffffffff' where id = 1; commit",
    );
    pair.await_step(&mut sidecar);
    assert_eq!(
        pair.ask("select left(token::text, 8) from public.account order by id"),
        ["ffffffff", "eeeeeeee", "00000000"]
    );
    assert_eq!(pair.quarantine(), [""; 0]);
    sidecar.terminate().expect_code(0);
}

#[test]
fn a_value_that_does_not_fit_a_set_type_is_set_aside_with_its_column_and_heals() {
    let pair = Pair::with(TABLES);
    pair.write("update account set is_active = 2 where id = 2");
    let mut sidecar = pair.call("run", CONFIG).start();
    let target = || Target::try_connect(&pair.database.url).ok();
    let is_aside = || {
        let rows = target()?.try_query("select count(*) from lite2pg.quarantine").ok()?;
        (rows.first()?.first()?.as_deref() == Some("1")).then_some(())
    };
    sidecar.until(is_aside).unwrap_or_else(|| panic!("it ended:\n{}", sidecar.stderr()));
    assert_eq!(pair.quarantine(), ["account [2] is_active: integer is no boolean"]);
    await_on_target(&pair.target(), LIMIT, "select phase = 'streaming' from lite2pg.position");
    assert_eq!(pair.ask("select id from public.account"), ["1"]);
    pair.write(
        "update account set is_active = 1 where id = 2;
                update account set token = 'not a uuid' where id = 1",
    );
    pair.await_step(&mut sidecar);
    assert_eq!(pair.quarantine(), ["account [1] token: text is no uuid"]);
    assert_eq!(pair.ask("select id from public.account"), ["2"]);
    pair.write("update account set token = '0123456789abcdef0123456789abcdef' where id = 1");
    pair.await_step(&mut sidecar);
    assert_eq!(pair.quarantine(), [""; 0]);
    assert_eq!(pair.ask("select id from public.account order by id"), ["1", "2"]);
    sidecar.terminate().expect_code(0);
}

#[test]
fn a_type_that_was_set_is_never_widened() {
    let pair = Pair::with(
        "create table t (id integer primary key, v);
                           insert into t values (1, 7), (2, 'seven'), (3, 0.5)",
    );
    pair.catch_up("[columns.t.v]\ntype = 'bigint'").expect_code(0);
    assert_eq!(
        pair.ask(
            "select format_type(atttypid, null) from pg_attribute
                          where attrelid = 'public.t'::regclass and attname = 'v'"
        ),
        ["bigint"]
    );
    assert_eq!(pair.quarantine().len(), 2);
}

#[test]
fn another_choice_copies_the_table_again_and_only_that_one() {
    let pair = Pair::with(TABLES);
    pair.catch_up("").expect_code(0);
    let oids = || {
        pair.ask(
            "select oid from pg_class where oid in
                             ('public.account'::regclass, 'public.visit'::regclass)
                             order by relname",
        )
    };
    let kept = || pair.ask("select count(*) from lite2pg.incidents where kind = 'table_again'");
    let before = oids();
    let boolean = "[columns.account.is_active]\ntype = 'boolean'\n";
    pair.catch_up(boolean).expect_code(0);
    assert_eq!(kept(), ["1"]);
    assert_ne!(oids()[0], before[0], "the table was made anew");
    assert_eq!(oids()[1], before[1], "the other one was left alone");
    pair.catch_up(boolean).expect_code(0);
    assert_eq!(kept(), ["1"], "the same choice changes nothing");
    for (again, config) in [
        ("another policy", format!("{boolean}out_of_range = 'null'\n")),
        (
            "another form",
            "[columns.account.is_active]\ntype = 'boolean'\n\
                          form = { number = 'mixed' }\n"
                .to_owned(),
        ),
        ("no choice", String::new()),
    ] {
        let before = oids();
        pair.catch_up(&config).expect_code(0);
        assert_ne!(oids()[0], before[0], "{again}");
    }
    pair.assert_equal();
}

#[test]
fn a_choice_that_cannot_be_is_refused_before_anything_is_written() {
    let pair = Pair::with(TABLES);
    for (config, said) in [
        ("[columns.nobody.x]\ntype = 'text'", "nobody"),
        ("[columns.account.x]\ntype = 'text'", "\"account\".\"x\""),
        ("[columns.account.born]\ntype = 'dote'", "no type \"dote\""),
        ("[columns.account.born]\ntype = 'date'\nform = 'whatever'", "whatever"),
        ("[columns.account.born]\ntype = 'date'\nout_of_rage = 'null'", "out_of_rage"),
        ("[columns.account.born]\ntype = 'numeric(0)'", "numeric(0)"),
        ("[columns.account.joined]\ntype = 'timestamptz'", "its type cannot be set so"),
        ("[columns.account.settings]\ntype = 'jsonb'", "json_text"),
        ("[columns.account.born]\ntype = 'tsvector'", "server_cast"),
        ("[columns.visit.id]\ntype = 'varchar(9)'\ntoo_long = 'truncate'", "names rows"),
        ("[columns.account.id]\ntype = 'text'", "names rows"),
    ] {
        pair.catch_up(config).expect_code(2).expect_error(&[said]);
    }
    let tables = pair.ask(
        "select count(*) from pg_class where relnamespace =
                            'public'::regnamespace",
    );
    assert_eq!(tables, ["0"]);
    let source = Connection::open(pair.file()).expect("open the source");
    let ours: i64 = source
        .query_row(
            "select count(*) from sqlite_schema where name like '\\_lite2pg%' escape '\\'",
            [],
            |row| row.get(0),
        )
        .expect("count");
    assert_eq!(ours, 0, "nothing was installed");
}

#[test]
fn a_loss_that_was_chosen_is_told_at_every_start_and_in_status() {
    let pair = Pair::with(TABLES);
    let said = "jsonb stores the value, not the text";
    let first = pair.catch_up(CONFIG).expect_code(0);
    assert!(first.stderr.contains(said), "{}", first.stderr);
    let second = pair.catch_up(CONFIG).expect_code(0);
    assert!(second.stderr.contains(said), "{}", second.stderr);
    let told = status(&pair.file(), &pair.database.url).to_string();
    assert!(told.contains(said), "{told}");
    let path = pair.directory().join("lite2pg.toml");
    let schema = Launch::new("schema").arg("--source").arg(pair.file()).arg("--config").arg(path);
    let schema = schema.finish().expect_code(0);
    assert!(schema.stdout.contains(said), "{}", schema.stdout);
    assert!(schema.stdout.contains("\"token\" uuid not null"), "{}", schema.stdout);
}

#[test]
fn halt_stops_with_the_row_and_leaves_its_batch_unapplied() {
    let pair = Pair::with(TABLES);
    let halting = format!("on_unmappable = 'halt'\n{CONFIG}");
    pair.catch_up(&halting).expect_code(0);
    pair.write(
        "begin; update account set logins = 40000 where id = 1;
                update account set logins = 5 where id = 2; commit",
    );
    let ended = pair.catch_up(&halting).expect_code(1);
    ended.expect_error(&["account [1]", "logins", "out of range"]);
    assert_eq!(pair.ask("select logins from public.account order by id"), ["3", "0"]);
    assert_eq!(pair.quarantine(), [""; 0]);
    pair.write("update account set logins = 6 where id = 1");
    pair.catch_up(&halting).expect_code(0);
    assert_eq!(pair.ask("select logins from public.account order by id"), ["6", "5"]);
    // In the copy as well.
    let fresh = Pair::with(TABLES);
    fresh.write("update account set logins = 40000 where id = 1");
    fresh.catch_up(&halting).expect_code(1).expect_error(&["account [1]", "logins"]);
}

#[test]
fn types_that_only_the_target_knows_arrive_by_their_catalog_or_its_cast() {
    let pair = Pair::with(
        "create table t (id integer primary key, mood text, tags text, words text, price real);
         insert into t values (1, 'happy', '[1,2]', 'fat cats', 2.5), (2, 'sad', '[]', 'a rat', 1),
                              (3, 'angry', '[3]', 'none', 9.0)",
    );
    pair.target().run(
        "create type public.mood as enum ('happy', 'sad');
         create domain public.price as double precision check (0 < value)",
    );
    let config = "
        [columns.t]
        mood = 'mood'
        tags = 'integer[]'
        price = 'price'
        words = { type = 'tsvector', accept = ['server_cast'] }";
    pair.catch_up(config).expect_code(0);
    let rows = "select concat_ws('|', id, mood, tags, words, price) from public.t order by id";
    assert_eq!(pair.ask(rows), ["1|happy|{1,2}|'cats' 'fat'|2.5", "2|sad|{}|'a' 'rat'|1"]);
    assert_eq!(pair.quarantine(), ["t [3] mood: text is no label of the enum"]);
    pair.write(
        "update t set mood = 'sad', tags = '[7]' where id = 3; delete from t where id = 1;
                update t set price = -1, words = 'x' where id = 2; 
                insert into t values (4, 'sad', '[1]', 'w', 3)",
    );
    pair.catch_up(config).expect_code(0);
    assert_eq!(pair.ask(rows), ["3|sad|{7}|'none'|9", "4|sad|{1}|'w'|3"]);
    let aside = pair.ask("select key::text || ' ' || reason from lite2pg.quarantine");
    assert_eq!(aside, ["[2] violates price_check (SQLSTATE 23514)"]);
}

#[test]
fn what_assess_writes_is_taken_and_every_value_arrives_in_those_types() {
    let pair = Pair::with(
        "create table django_migrations (id integer primary key, app text, name text,
                                         applied datetime);
         create table author (
             id integer not null primary key autoincrement,
             uid char(32) not null unique,
             is_staff bool not null,
             joined datetime not null,
             born date null,
             rating real null,
             fee decimal(10,2) not null,
             profile text not null check (json_valid(profile)),
             created integer not null,
             name varchar(40) not null);
         with recursive n(i) as (values (1) union all select i + 1 from n where i < 3000)
         insert into author
         select i, lower(hex(randomblob(16))), i % 2,
                datetime(1600000000 + i * 7919, 'unixepoch') ||
                    case when i % 10 = 0 then '' else printf('.%06d', i * 331) end,
                case when i % 3 then date(i * 86400, 'unixepoch') end,
                i / 8.0, i * 0.25, json_object('n', i, 'tags', json_array('a', i)),
                1600000000 + i, 'name ' || i
           from n",
    );
    let written = pair.directory().join("types.toml");
    Launch::new("assess")
        .arg("--source")
        .arg(pair.file())
        .arg("--write-overrides")
        .arg(&written)
        .finish()
        .expect_code(0);
    let settings = std::fs::read_to_string(&written).expect("it was written");
    // What loses something is off until it is chosen: here by taking the # away.
    let uncommented = |block: &str| -> String {
        let is_setting = |line: &str| {
            ["[columns", "type = \"jsonb\"", "form = ", "accept = "]
                .iter()
                .any(|setting| line.starts_with(setting))
        };
        block
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|rest| is_setting(rest)).unwrap_or(line))
            .flat_map(|line| [line, "\n"])
            .collect()
    };
    let chosen: String = settings
        .split_inclusive("\n\n")
        .map(|block| match block.contains("\n# type = \"jsonb\"\n") {
            true => uncommented(block),
            false => block.to_owned(),
        })
        .collect();
    assert_ne!(chosen, settings, "jsonb loses something, so it is off");
    pair.catch_up(&settings).expect_code(0);
    pair.catch_up(&chosen).expect_code(0);
    let types = pair.ask(COLUMN_TYPES);
    for wanted in [
        "author.uid uuid",
        "author.is_staff boolean",
        "author.joined timestamp with time zone",
        "author.born date",
        "author.fee numeric(10,2)",
        "author.profile jsonb",
        "author.created timestamp with time zone",
        "author.name text",
    ] {
        assert!(types.iter().any(|found| found == wanted), "{wanted}: {types:#?}\n{settings}");
    }
    assert_eq!(pair.quarantine(), [""; 0]);
    let source = Connection::open(pair.file()).expect("open the source");
    let rows = |sql: &str| -> Vec<String> {
        let mut statement = source.prepare(sql).expect("it is valid");
        let rows = statement.query_map([], |row| row.get(0)).expect("it runs");
        rows.collect::<Result<_, _>>().expect("texts")
    };
    let left = rows(
        "select concat_ws('|', id, uid, is_staff, joined, born, fee * 100, created,
                          profile ->> 'n', profile ->> '$.tags[1]') from author order by id",
    );
    let right = pair.ask(
        "select concat_ws('|', id, replace(uid::text, '-', ''), is_staff::int,
                          joined at time zone 'UTC', born, (fee * 100)::float8,
                          extract(epoch from created)::bigint, profile ->> 'n',
                          profile -> 'tags' ->> 1) from public.author order by id",
    );
    assert_eq!(left.len(), right.len());
    for (left, right) in left.iter().zip(&right) {
        let trimmed = |row: &String| -> Vec<String> {
            let is_fraction = |part: &str| part.contains(':') && part.contains('.');
            row.split('|')
                .map(|part| if is_fraction(part) { part.trim_end_matches('0') } else { part })
                .map(|part| part.trim_end_matches(".0").to_owned())
                .collect()
        };
        assert_eq!(trimmed(left), trimmed(right));
    }
}

#[test]
fn assess_judges_by_the_types_that_the_configuration_sets() {
    let pair = Pair::with(TABLES);
    pair.write("update account set is_active = 2 where id = 2");
    let path = pair.directory().join("lite2pg.toml");
    std::fs::write(&path, CONFIG).expect("the directory is ours");
    let assess = || {
        let launch = Launch::new("assess").arg("--source").arg(pair.file());
        launch.arg("--config").arg(&path)
    };
    let report: serde_json::Value =
        serde_json::from_str(&assess().arg("--json").finish().stdout).expect("it is JSON");
    let columns = &report["tables"][0]["columns"];
    let active = &columns[1]["proposal"];
    assert_eq!((&active["type"], &active["is_set"]), (&"boolean".into(), &true.into()));
    assert_eq!((&active["values"], &active["fits"]), (&2.into(), &1.into()), "{active}");
    assert_eq!(active["misfits"][0]["what"], "integer is no boolean");
    assert_eq!(active["misfits"][0]["keys"][0], "2");
    assert_eq!(columns[6]["proposal"]["lossy"], "jsonb stores the value, not the text");
    let written = pair.directory().join("types.toml");
    assess().arg("--write-overrides").arg(&written).finish();
    let settings = std::fs::read_to_string(&written).expect("it was written");
    assert!(!settings.contains("is_active"), "what is set is not written again: {settings}");
    std::fs::write(&path, "[columns.account.joined]\ntype = 'timestamptz'").expect("ours");
    assess().finish().expect_code(2);
}

#[test]
fn a_crash_in_the_copy_of_set_types_loses_and_doubles_nothing() {
    let pair = Pair::with(
        "create table big (id char(32) primary key, at datetime, flag bool);
         with recursive n(i) as (values (1) union all select i + 1 from n where i < 150000)
         insert into big select printf('%032x', i * 7919), 1700000000 + i, i % 2 from n",
    );
    let config = "
        [columns.big]
        id = 'uuid'
        at = 'timestamptz'
        flag = 'boolean'";
    for passing in [1, 2] {
        let launch = pair.call("run", config).arg("--until-caught-up");
        let ended = launch.dying_at("copy-chunk-committed", passing).finish();
        assert!(ended.was_killed(), "{}", ended.stderr);
    }
    pair.catch_up(config).expect_code(0);
    let told = pair.ask(
        "select concat_ws(' ', count(*), count(distinct id), sum(extract(epoch from at)::bigint),
                          count(*) filter (where flag)) from public.big",
    );
    let seconds: i64 = (1..=150_000).map(|i| 1_700_000_000 + i).sum();
    assert_eq!(told, [format!("150000 150000 {seconds} 75000")]);
}
