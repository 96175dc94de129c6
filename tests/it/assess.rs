//! `lite2pg assess`: every kind of value is counted and named by key, types are proposed with their
//! evidence, what cannot arrive blocks, and the application does not feel it.
//!
//! The figures of a scan are held against what SQLite itself says of the same table.

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::{Connection, params};
use serde_json::Value;

use crate::golden::{assert_same, database, lite2pg, root, stdout};
use crate::support::workload::{self, Options, Writer};

/// A directory, a database in it, and what `assess` said of it.
struct Assessed {
    directory: tempfile::TempDir,
    path: PathBuf,
}

impl Assessed {
    fn of(script: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = database(directory.path(), "app.db", script);
        Self { directory, path }
    }

    fn conn(&self) -> Connection {
        Connection::open(&self.path).expect("open the database")
    }

    fn run(&self, arguments: &[&str]) -> std::process::Output {
        let path = self.path.to_str().expect("the path is UTF-8");
        lite2pg(self.directory.path(), &[&["assess", "--source", path], arguments].concat())
    }

    /// The report, after it ended with `code`.
    fn json(&self, code: i32) -> Value {
        let printed = stdout(&self.run(&["--json"]), code);
        serde_json::from_str(&printed).expect("it prints JSON")
    }
}

fn table<'a>(report: &'a Value, name: &str) -> &'a Value {
    let tables = report["tables"].as_array().expect("a list of tables");
    tables.iter().find(|table| table["name"] == name).unwrap_or_else(|| panic!("no {name}"))
}

fn column<'a>(report: &'a Value, table_name: &str, name: &str) -> &'a Value {
    let columns = table(report, table_name)["columns"].as_array().expect("a list of columns");
    columns.iter().find(|column| column["name"] == name).unwrap_or_else(|| panic!("no {name}"))
}

/// The findings with this code.
fn findings<'a>(report: &'a Value, code: &str) -> Vec<&'a Value> {
    let findings = report["findings"].as_array().expect("a list of findings");
    findings.iter().filter(|finding| finding["code"] == code).collect()
}

fn only<'a>(report: &'a Value, code: &str) -> &'a Value {
    let found = findings(report, code);
    assert_eq!(found.len(), 1, "{code}: {:#}", report["findings"]);
    found[0]
}

#[test]
fn a_clean_database_is_ready() {
    let assessed = Assessed::of(
        "pragma journal_mode = wal;
         create table t (id integer primary key, name text not null);
         insert into t values (1, 'one'), (2, 'two')",
    );
    let report = assessed.json(0);
    assert_eq!(report["verdict"], "ready", "{:#}", report["findings"]);
    assert_eq!(report["integrity"]["result"], "sound");
    assert_eq!(report["source"]["journal_mode"], "wal");
    assert_eq!(report["scan"]["rows"], 2);
    assert_eq!(report["scan"]["complete"], true);
    let shown = stdout(&assessed.run(&[]), 0);
    assert!(shown.starts_with(&format!("{}: ready\n", assessed.path.display())), "{shown}");
}

#[test]
fn values_that_no_type_can_hold_block_and_are_named_by_key() {
    let assessed = Assessed::of(
        "create table t (id integer primary key, nul text, bad text, mixed text, any, inf numeric)",
    );
    let conn = assessed.conn();
    for id in 1..=20_i64 {
        conn.execute("insert into t values (?1, 'x', 'y', 'z', 'w', 1.5)", [id]).expect("insert");
    }
    conn.execute_batch(
        "update t set nul = 'a' || char(0) || 'b' where id in (3, 9);
         update t set bad = cast(x'ff41' as text) where id = 7;
         update t set mixed = x'00ff' where id in (11, 12, 13, 14, 15, 16, 17);
         update t set any = 5 where id = 2; update t set inf = 9e999 where id = 4",
    )
    .expect("update");
    let report = assessed.json(1);
    assert_eq!(report["verdict"], "blocked");
    let found: Vec<(String, u64, Value)> = findings(&report, "unmappable")
        .iter()
        .map(|finding| {
            assert_eq!(finding["severity"], "blocker");
            assert!(finding["advice"].is_string());
            let column = finding["column"].as_str().expect("a column").to_owned();
            (column, finding["count"].as_u64().expect("a count"), finding["keys"].clone())
        })
        .collect();
    assert_eq!(
        found,
        [
            ("nul".to_owned(), 2, serde_json::json!(["3", "9"])),
            ("bad".to_owned(), 1, serde_json::json!(["7"])),
            ("mixed".to_owned(), 7, serde_json::json!(["11", "12", "13", "14", "15"])),
            ("inf".to_owned(), 1, serde_json::json!(["4"])),
        ]
    );
    assert_eq!(column(&report, "t", "nul")["oddities"]["nul"], 2);
    assert_eq!(column(&report, "t", "bad")["oddities"]["not_utf8"], 1);
    assert_eq!(column(&report, "t", "inf")["oddities"]["infinite"], 1);
    assert_eq!(only(&report, "mixed_classes")["column"], "any");
    assert_eq!(column(&report, "t", "any")["proposal"]["default_type"], "jsonb");
    let shown = stdout(&assessed.run(&[]), 1);
    assert!(shown.contains("blocked by 4 findings"), "{shown}");
    assert!(shown.contains("t.mixed: 7 are blobs — rows 11, 12, 13, 14, 15, …"), "{shown}");
}

/// Declaration, values, the type that is proposed, and what its evidence says.
const PROPOSALS: &[(&str, &str, &str, &str)] = &[
    ("a datetime", "'2024-05-01T10:00:00Z'", "timestamptz", "all 40 values are ISO with zone"),
    ("b datetime", "'2024-05-01 10:00:00.5'", "timestamp", "ISO without zone"),
    (
        "c datetime default current_timestamp",
        "'2024-05-01 10:00:00'",
        "timestamptz",
        "the column's default gives UTC",
    ),
    ("d text", "'2024-05-01'", "date", "ISO dates"),
    ("e time", "'12:30:00'", "time", "times of day"),
    ("f boolean", "n % 2", "boolean", "are 0 or 1"),
    ("is_g integer", "n % 2", "boolean", "are 0 or 1"),
    ("h integer check (h in (0, 1))", "n % 2", "boolean", "a CHECK says so"),
    ("i integer", "n % 2", "bigint", "40 integer"),
    ("j text", "iif(n % 2, 'true', 'false')", "boolean", "boolean words"),
    ("created_at integer", "1795214806 + n", "timestamptz", "seconds since 1970"),
    ("k datetime", "1795214806392 + n", "timestamptz", "milliseconds since 1970"),
    ("l timestamp", "1795214806392000 + n", "timestamptz", "microseconds since 1970"),
    ("m integer", "1795214806 + n", "bigint", "40 integer"),
    ("n char(36)", "'3f208b3d-e711-4053-b0fe-ab766befc5da'", "uuid", "36 characters"),
    ("o char(32)", "'234eba1f0f374d79b3bd51a41d908c5c'", "uuid", "32 hexadecimal digits"),
    ("p varchar(32)", "'234eba1f0f374d79b3bd51a41d908c5c'", "text", "40 text"),
    ("user_uuid blob", "x'019b76daa87b7000802b05e94f6a03e7'", "uuid", "blobs of 16 bytes"),
    ("q blob", "x'019b76daa87b7000802b05e94f6a03e7'", "bytea", "40 blob"),
    ("r text", "'{\"a\": [1]}'", "jsonb", "objects or arrays"),
    ("s json", "iif(n % 3, n, '[1]')", "json", "are JSON"),
    ("t decimal(12,2)", "n + 0.25", "numeric(12,2)", "2 digits after the point"),
    ("unit_price real", "n + 0.5", "numeric(12,2)", "digits after the point"),
    ("u real", "n + 0.5", "double precision", "40 real"),
    ("v text", "'00' || n", "text", "40 text"),
    ("w integer", "5000000000 + n", "bigint", "40 integer"),
    ("x text", "n || ''", "text", "40 text"),
];

#[test]
fn types_are_proposed_with_their_evidence() {
    let columns: Vec<&str> = PROPOSALS.iter().map(|(declared, ..)| *declared).collect();
    let values: Vec<&str> = PROPOSALS.iter().map(|(_, value, ..)| *value).collect();
    let assessed = Assessed::of(&format!(
        "create table t (id integer primary key, {});
         with recursive n(n) as (select 1 union all select n + 1 from n where n < 40)
         insert into t select n, {} from n",
        columns.join(", "),
        values.join(", ")
    ));
    let report = assessed.json(0);
    for (declared, value, pg, evidence) in PROPOSALS {
        let name = declared.split(' ').next().expect("a name");
        let proposal = &column(&report, "t", name)["proposal"];
        assert_eq!(proposal["type"], *pg, "{declared} {value}: {proposal:#}");
        let said = proposal["evidence"].as_str().expect("a sentence");
        assert!(said.contains(evidence), "{declared}: {said}");
        assert_eq!(proposal["fits"], 40, "{declared}: {proposal:#}");
    }
    let alternatives = |name: &str| -> Vec<String> {
        let proposal = &column(&report, "t", name)["proposal"];
        let all = proposal["alternatives"].as_array().expect("a list");
        all.iter().map(|other| other["type"].as_str().expect("a type").to_owned()).collect()
    };
    assert_eq!(alternatives("i"), ["integer", "smallint", "boolean"]);
    assert_eq!(alternatives("m"), ["integer", "timestamptz"]);
    assert_eq!(alternatives("w"), Vec::<String>::new());
    assert_eq!(alternatives("p"), ["varchar(32)", "uuid"]);
    assert_eq!(alternatives("r"), ["json"]);
    assert_eq!(alternatives("s"), ["jsonb"]);
    let lossy = &column(&report, "t", "r")["proposal"]["lossy"];
    assert!(lossy.as_str().expect("jsonb loses").contains("order of keys"), "{lossy}");
}

#[test]
fn a_value_that_does_not_fit_a_proposal_is_listed_with_its_row_and_its_policy() {
    let assessed = Assessed::of(
        "create table t (id integer primary key, at text, qty integer, total decimal(12,2),
                         ms integer);
         with recursive n(n) as (select 1 union all select n + 1 from n where n < 1000)
         insert into t select n, '2024-05-01T10:00:00Z', n, n + 0.5, null from n;
         update t set at = '' where id in (17, 93);
         update t set at = '0000-00-00 00:00:00' where id = 500;
         update t set at = 'soon' where id = 501;
         update t set qty = '' where id in (5, 6, 7);
         update t set total = 3982.2700000000004 where id = 44",
    );
    let report = assessed.json(0);
    let proposal = &column(&report, "t", "at")["proposal"];
    assert_eq!(proposal["type"], "timestamptz");
    assert_eq!(proposal["fits"], 996);
    assert_eq!(proposal["policies"]["empty_as_null"], true);
    let evidence = proposal["evidence"].as_str().expect("a sentence");
    for said in [
        "996 of 1,000 values are ISO with zone",
        "2 are '' — rows 17, 93",
        "1 is dates that do not exist — row 500",
        "1 is other text — row 501",
    ] {
        assert!(evidence.contains(said), "{said}: {evidence}");
    }
    let proposal = &column(&report, "t", "qty")["proposal"];
    assert_eq!((&proposal["type"], &proposal["default_type"]), (&"bigint".into(), &"text".into()));
    let stray = only(&report, "text_in_number");
    assert_eq!(stray["keys"], serde_json::json!(["5", "6", "7"]));
    assert!(stray["message"].as_str().expect("words").contains("3 of them empty"), "{stray}");
    let proposal = &column(&report, "t", "total")["proposal"];
    assert_eq!(proposal["type"], "numeric(12,2)");
    assert_eq!(proposal["policies"]["precision"], "round");
    assert_eq!(proposal["misfits"][0]["keys"], serde_json::json!(["44"]));
    assert_eq!(only(&report, "impossible_date")["keys"], serde_json::json!(["500"]));
}

#[test]
fn a_proposal_that_could_make_unique_values_equal_is_withdrawn() {
    let assessed = Assessed::of(
        "create table t (id integer primary key, at text unique, plain text unique, u text unique);
         insert into t values
             (1, '2024-05-01 10:00:00', '2024-05-01 10:00:00',
              '3f208b3d-e711-4053-b0fe-ab766befc5da'),
             (2, '2024-05-01T10:00:00.000', '2024-05-01 10:00:01',
              '3F208B3D-e711-4053-b0fe-ab766befc5da')",
    );
    let report = assessed.json(0);
    for name in ["at", "u"] {
        let proposal = &column(&report, "t", name)["proposal"];
        assert_eq!(proposal["type"], "text", "{proposal:#}");
        let why = proposal["alternatives"][0]["why"].as_str().expect("a reason");
        assert!(why.contains("row 2 would equal row 1"), "{proposal:#}");
    }
    assert_eq!(column(&report, "t", "plain")["proposal"]["type"], "timestamp");
}

/// Something of each kind that does not simply move.
const TROUBLE: &str = "
    pragma foreign_keys = off;
    create table parent (id integer primary key, code text unique collate nocase);
    create table child (
        id integer primary key, parent integer references parent on delete cascade,
        code text references parent (code), gone integer references nowhere (id));
    insert into parent values (1, 'Abc'), (2, 'x');
    insert into child values (10, 1, 'ABC', null), (11, 7, 'x', null), (12, null, 'y', null),
        (13, 2, null, 5);
    create table pair (a text, b integer, primary key (a, b));
    insert into pair values ('k', 1), (null, 2), ('k', null);
    create table pair_child (x text, y integer, foreign key (x, y) references pair (a, b));
    insert into pair_child values ('k', 1), ('k', 9), (null, 9);
    create table log (at text, line text);
    insert into log values ('2024-05-01', 'a');
    create table \"Mixed Case\" (id integer primary key, \"É\" text, \"é\" text);
    create table a_name_that_is_longer_than_postgresql_allows_for_any_identifier_there_is (
        id integer primary key);
    create table code (k text primary key, v varchar(3), big text) without rowid;
    insert into code values ('a', 'abcd', null), ('b', 'abc', hex(zeroblob(2000)));
    create index code_big on code (big);
    create virtual table search using fts5 (body);
    insert into search values ('some text');
    create trigger on_parent after insert on parent begin insert into log values ('', ''); end;
    create view sums as select group_concat(code) as codes from parent;
    create table hidden (rowid text, _rowid_ text, oid text);
    create table dated (
        id integer primary key, at text default (strftime('%J', 'now')), day text,
        double integer generated always as (id * 2) virtual);
    insert into dated (at, day) values ('2460370.5', '2024-02-30')";

#[test]
fn what_does_not_simply_move_is_found_and_named() {
    let assessed = Assessed::of(TROUBLE);
    let report = assessed.json(1);
    let orphans: Vec<(&str, &Value, bool)> = findings(&report, "orphans")
        .iter()
        .map(|finding| {
            let message = finding["message"].as_str().expect("words");
            let object = finding["object"].as_str().expect("a table");
            (object, &finding["keys"], message.contains("does not exist"))
        })
        .collect();
    let keys = |keys: &[&str]| serde_json::json!(keys);
    assert_eq!(
        orphans,
        [
            ("child", &keys(&["11"]), false),
            ("child", &keys(&["12"]), false),
            ("child", &keys(&["13"]), true),
            ("pair_child", &keys(&["2"]), false),
        ]
    );
    let nulls: Vec<(&Value, &Value)> = findings(&report, "null_in_primary_key")
        .iter()
        .map(|finding| (&finding["column"], &finding["keys"]))
        .collect();
    assert_eq!(
        nulls,
        [(&"a".into(), &keys(&["2"])), (&"b".into(), &keys(&["3"]))],
        "{:#}",
        report["findings"]
    );
    let objects = |code: &str| -> Vec<&str> {
        let mut objects: Vec<&str> = findings(&report, code)
            .iter()
            .filter_map(|finding| finding["object"].as_str())
            .collect();
        objects.sort_unstable();
        objects
    };
    assert_eq!(objects("no_key"), ["log", "pair", "pair_child"]);
    assert_eq!(objects("virtual_table"), ["search"]);
    assert_eq!(only(&report, "shadow_tables")["count"], 5);
    assert_eq!(objects("trigger"), ["on_parent"]);
    assert_eq!(objects("table_left_out"), ["hidden"]);
    assert_eq!(objects("equal_but_for_case"), ["Mixed Case"]);
    assert_eq!(objects("without_rowid"), ["code"]);
    assert_eq!(objects("impossible_date"), ["dated"]);
    assert!(objects("renamed").iter().any(|name| name.starts_with("a_name_that")));
    assert!(objects("ddl_left_out").contains(&"sums"), "{:?}", objects("ddl_left_out"));
    assert!(objects("ddl_left_out").contains(&"dated.at"), "{:?}", objects("ddl_left_out"));
    assert_eq!(only(&report, "index_entry")["keys"], keys(&["'b'"]));
    assert_eq!(only(&report, "too_long")["keys"], keys(&["'a'"]));
    assert_eq!(only(&report, "nocase")["column"], "code");
    assert_eq!(only(&report, "capitals")["severity"], "note");
    assert_eq!(column(&report, "dated", "double")["generated"], true);
    assert_eq!(table(&report, "child")["foreign_keys"][0]["orphans"], 1);
    assert_eq!(report["verdict"], "blocked", "a table that nothing names is left out");
}

#[test]
fn orphans_are_those_that_sqlite_finds() {
    let assessed = Assessed::of(TROUBLE);
    let report = assessed.json(1);
    let conn = assessed.conn();
    for name in ["child", "pair_child"] {
        // A parent that does not exist makes the PRAGMA list the row as well.
        let found: i64 = conn
            .query_row("select count(*) from pragma_foreign_key_check(?1)", [name], |row| {
                row.get(0)
            })
            .expect("check foreign keys");
        let keys = table(&report, name)["foreign_keys"].as_array().expect("a list");
        let ours: i64 = keys.iter().filter_map(|key| key["orphans"].as_i64()).sum();
        assert_eq!(ours, found, "{name}");
    }
}

/// What SQLite says of a table, in the order of [`from_report`].
fn from_sqlite(conn: &Connection, table: &str, column: &str) -> Vec<Option<i64>> {
    let sql = format!(
        "select count(*), sum(typeof({column}) = 'integer'), sum(typeof({column}) = 'real'),
                sum(typeof({column}) = 'text'), sum(typeof({column}) = 'blob'),
                sum({column} is null),
                min({column}) filter (where typeof({column}) = 'integer'),
                max({column}) filter (where typeof({column}) = 'integer'),
                max(length({column})) filter (where typeof({column}) = 'text')
           from {table}"
    );
    conn.query_row(&sql, [], |row| (0..9).map(|at| row.get(at)).collect()).expect("count")
}

fn from_report(report: &Value, table_name: &str, name: &str) -> Vec<Option<i64>> {
    let column = column(report, table_name, name);
    let classes = &column["classes"];
    vec![
        table(report, table_name)["rows"].as_i64(),
        classes["integer"].as_i64(),
        classes["real"].as_i64(),
        classes["text"].as_i64(),
        classes["blob"].as_i64(),
        classes["null"].as_i64(),
        column["integers"][0].as_i64(),
        column["integers"][1].as_i64(),
        column["characters"][1].as_i64(),
    ]
}

#[test]
fn every_row_is_read_once_in_stretches_in_slices_and_across_gaps() {
    for journal in ["wal", "delete"] {
        let assessed = Assessed::of(&format!(
            "pragma journal_mode = {journal}; pragma synchronous = off;
             create table wide (id integer primary key, v);
             with recursive n(n) as (select -1000 union all select n + 1 from n where n < 11000)
             insert into wide select n * 37 - (n % 2) * 5000000, case n % 5 when 0 then n
                 when 1 then n / 4.0 when 2 then 'text ' || n when 3 then x'0102' end from n;
             create table ends (id integer primary key, v);
             insert into ends values (-9223372036854775808, 'first'), (0, 1),
                 (9223372036854775807, 'last');
             create table keyed (a text collate nocase, b integer, v, primary key (a, b))
                 without rowid;
             with recursive n(n) as (select 1 union all select n + 1 from n where n < 9000)
             insert into keyed select 'Key' || (n % 700), n, iif(n % 3, n, 'é' || n) from n;
             create table empty (id integer primary key, v)"
        ));
        let report = assessed.json(0);
        for name in ["wide", "ends", "keyed", "empty"] {
            let mut expected = from_sqlite(&assessed.conn(), name, "v");
            if name == "empty" {
                // sum() of nothing is NULL.
                expected[1..6].fill(Some(0));
            }
            assert_eq!(from_report(&report, name, "v"), expected, "{journal} {name}");
        }
    }
}

#[test]
fn reading_leaves_the_file_as_it_was() {
    for journal in ["wal", "delete", "persist"] {
        let assessed = Assessed::of(&format!("pragma journal_mode = {journal}; {TROUBLE}"));
        let before = std::fs::read(&assessed.path).expect("read the file");
        assessed.json(1);
        let after = std::fs::read(&assessed.path).expect("read the file");
        assert!(before == after, "{journal}");
        let names: Vec<_> = std::fs::read_dir(assessed.directory.path())
            .expect("list the directory")
            .map(|entry| entry.expect("an entry").file_name())
            .filter(|name| !name.to_string_lossy().starts_with("app.db"))
            .collect();
        assert_eq!(names, Vec::<std::ffi::OsString>::new(), "nothing is left behind");
    }
}

#[test]
fn a_file_that_cannot_be_written_can_be_assessed() {
    use std::os::unix::fs::PermissionsExt;
    let assessed = Assessed::of("create table t (id integer primary key)");
    let read_only = std::fs::Permissions::from_mode(0o444);
    std::fs::set_permissions(&assessed.path, read_only).expect("make it read-only");
    assert_eq!(assessed.json(0)["scan"]["complete"], true);
}

/// Runs `assess` beside a writer without busy timeout: transactions that met a lock, of hundred.
fn busy_share(journal: &'static str) -> f64 {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("live.db");
    let options = Options {
        journal,
        busy_timeout: Duration::ZERO,
        rate: 500,
        ballast_rows: 30_000,
        ..Options::new(7)
    };
    workload::create(&path, &options);
    let writer = Writer::start(&path, &options);
    writer.await_commits(50);
    let before = writer.counts();
    let source = path.to_str().expect("the path is UTF-8");
    let printed = lite2pg(directory.path(), &["assess", "--source", source, "--json"]);
    let after = writer.counts();
    writer.stop();
    let report: Value = serde_json::from_str(&stdout(&printed, 0)).expect("it prints JSON");
    assert_eq!(report["scan"]["complete"], true);
    assert_eq!(table(&report, "ballast")["rows"], 30_000);
    let committed = after.committed - before.committed;
    assert!(0 < committed, "the writer wrote meanwhile");
    let busy = after.busy - before.busy;
    println!("{journal}: {committed} committed, {busy} busy while assess ran");
    busy as f64 * 100.0 / (committed + busy) as f64
}

#[test]
fn a_writer_without_busy_timeout_does_not_feel_it_in_wal_mode() {
    assert!(busy_share("wal") == 0.0);
}

#[test]
fn a_writer_without_busy_timeout_hardly_feels_it_in_rollback_mode() {
    // A reader that is put off the processor keeps its lock meanwhile, so on a busy machine one
    // round says more of the machine than of the product. A read that lasts spoils every round.
    let mut shares = Vec::new();
    while shares.last().is_none_or(|share| 5.0 <= *share) {
        assert!(shares.len() < 6, "{shares:?}");
        shares.push(busy_share("delete"));
    }
}

#[test]
fn the_rate_limit_holds() {
    let assessed = Assessed::of(
        "pragma journal_mode = wal; create table t (id integer primary key);
         with recursive n(n) as (select 1 union all select n + 1 from n where n < 600)
         insert into t select n from n",
    );
    let printed = stdout(&assessed.run(&["--json", "--rows-per-second", "1000"]), 0);
    let report: Value = serde_json::from_str(&printed).expect("it prints JSON");
    // The last slice, a twentieth of a second's rows, is not waited for.
    let seconds = report["scan"]["seconds"].as_f64().expect("seconds");
    assert!(0.5 <= seconds, "{seconds}");
}

#[test]
fn a_damaged_file_is_blocked_by_sqlites_own_words() {
    let assessed = Assessed::of(
        "create table t (id integer primary key, v text); create index t_v on t (v);
         with recursive n(n) as (select 1 union all select n + 1 from n where n < 5000)
         insert into t select n, 'value ' || n from n",
    );
    let page: i64 = assessed
        .conn()
        .query_row("select rootpage from sqlite_schema where name = 't_v'", [], |row| row.get(0))
        .expect("find the index");
    let mut bytes = std::fs::read(&assessed.path).expect("read the file");
    let at = usize::try_from(page - 1).expect("a page") * 4096;
    // Entries that are not in the table: only the full check holds them against it.
    let text = b"value ";
    for place in at..at + 4096 - text.len() {
        if &bytes[place..place + text.len()] == text {
            bytes[place] = b'V';
        }
    }
    std::fs::write(&assessed.path, &bytes).expect("damage the file");
    for arguments in [&["--json"][..], &["--json", "--integrity"]] {
        let printed = stdout(&assessed.run(arguments), 1);
        let report: Value = serde_json::from_str(&printed).expect("it prints JSON");
        assert_eq!(report["integrity"]["result"], "damaged");
        assert_eq!(report["integrity"]["check"], "integrity_check");
        let message = only(&report, "integrity")["message"].as_str().expect("words");
        assert!(message.contains("t_v"), "{message}");
    }
    let printed = stdout(&assessed.run(&["--json", "--quick"]), 0);
    let report: Value = serde_json::from_str(&printed).expect("it prints JSON");
    assert_eq!(report["integrity"]["check"], "quick_check");
    assert_eq!(report["integrity"]["result"], "sound");
}

#[test]
fn what_is_no_database_cannot_be_assessed() {
    let assessed = Assessed::of("create table t (id integer primary key)");
    let directory = assessed.directory.path();
    let run = |source: &str| lite2pg(directory, &["assess", "--source", source]);
    assert_eq!(run("/nowhere/none.db").status.code(), Some(2));
    std::fs::write(directory.join("noise.db"), [7_u8; 8192]).expect("write");
    let noise = directory.join("noise.db");
    assert_eq!(run(noise.to_str().expect("UTF-8")).status.code(), Some(2));
}

#[test]
fn a_report_is_never_written_over_the_database() {
    let assessed = Assessed::of("create table t (id integer primary key)");
    let before = std::fs::read(&assessed.path).expect("read the file");
    std::os::unix::fs::symlink(&assessed.path, assessed.directory.path().join("link"))
        .expect("make a link");
    for name in ["app.db", "link", "app.db-wal", "./app.db-journal"] {
        for option in ["--html", "--write-overrides"] {
            let output = assessed.run(&[option, name]);
            let talk = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{option} {name}: {talk}");
            assert!(talk.contains("belongs to the source"), "{talk}");
        }
    }
    assert_eq!(std::fs::read(&assessed.path).expect("read the file"), before);
}

/// Names and values that try to be markup, TOML, or terminal commands.
const HOSTILE: &str = "
    create table \"<script>alert(1)</script>\" (
        \"a\"\"b' & <b>\" text primary key, \"line\nbreak\" text, \"]]>\" datetime,
        \"x\" integer check (x < 5 and '<' <> '&'));
    insert into \"<script>alert(1)</script>\" values
        ('<img onerror=alert(1)>', 'v' || char(0), '2024-05-01 10:00:00', 1),
        (char(27) || '[31m' || char(8238), 'w', '2024-05-01 10:00:00', 2),
        ('http://example.org/', 'w', '2024-05-01 10:00:00', 2),
        ('https://example.org/', cast(x'ff' as text), '2024-05-01 10:00:00', 2);
    create table \"\u{1F980} = [\\\" (\"--\" uuid, \"'); drop table t; --\" json);
    insert into \"\u{1F980} = [\\\" values
        ('3f208b3d-e711-4053-b0fe-ab766befc5da', '{\"a\": \"</style><script>\"}');
    create view \"v</title>\" as select 1;
    create trigger \"t<i>\" after insert on \"\u{1F980} = [\\\" begin select 1; end";

/// Checks that `text` is well-formed, and returns the names of its elements and its attributes
/// with their values. Knows what XML allows and the doctype, nothing else.
pub fn parse(text: &str) -> (Vec<String>, Vec<(String, String)>) {
    let body = text.strip_prefix("<!DOCTYPE html>\n").expect("it is HTML 5");
    let (mut open, mut elements, mut attributes) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = body;
    while let Some(at) = rest.find('<') {
        check_text(&rest[..at]);
        let tag_end = rest[at..].find('>').expect("a tag ends") + at;
        let tag = &rest[at + 1..tag_end];
        rest = &rest[tag_end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "tags close in order");
            continue;
        }
        let (tag, is_empty) =
            tag.strip_suffix('/').map_or((tag, false), |tag| (tag.trim_end(), true));
        let (name, mut more) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{name:?}");
        while !more.is_empty() {
            let (attribute, after) = more.split_once("=\"").expect("attributes have values");
            let (value, after) = after.split_once('"').expect("values end");
            check_text(value);
            attributes.push((attribute.to_owned(), value.to_owned()));
            more = after.trim_start();
        }
        elements.push(name.to_owned());
        if !is_empty {
            open.push(name.to_owned());
        }
        if name == "style" {
            let end = rest.find("</style>").expect("the style ends");
            assert!(!rest[..end].contains("url(") && !rest[..end].contains("@import"));
            rest = &rest[end..];
        }
    }
    assert_eq!(rest.trim(), "");
    assert_eq!(open, Vec::<String>::new());
    (elements, attributes)
}

fn check_text(text: &str) {
    assert!(!text.contains('>'), "{text:?}");
    for part in text.split('&').skip(1) {
        let (entity, _) = part.split_once(';').expect("a reference ends");
        assert!(["amp", "lt", "gt", "quot", "#39"].contains(&entity), "{entity:?}");
    }
    let is_allowed = |c: char| matches!(c, '\n') || !c.is_control() && c != '\u{202e}';
    assert!(text.chars().all(is_allowed), "{text:?}");
}

/// All that the report needs; none of them loads or runs anything.
const ATTRIBUTES: &[&str] = &[
    "lang",
    "charset",
    "name",
    "content",
    "class",
    "width",
    "height",
    "viewBox",
    "role",
    "x",
    "preserveAspectRatio",
    "aria-label",
    "open",
];

#[test]
fn the_html_report_is_well_formed_and_needs_nothing_else() {
    for script in [HOSTILE, TROUBLE, "create table t (a)"] {
        let assessed = Assessed::of(script);
        let output = assessed.run(&["--html", "report.html"]);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
        let page = std::fs::read_to_string(assessed.directory.path().join("report.html"))
            .expect("it is there");
        let (elements, attributes) = parse(&page);
        for banned in ["script", "img", "link", "iframe", "a", "object", "base", "form"] {
            assert!(!elements.iter().any(|name| name == banned), "{banned}");
        }
        for (name, value) in &attributes {
            assert!(ATTRIBUTES.contains(&name.as_str()), "{name}={value}");
        }
        assert!(elements.iter().any(|name| name == "svg"), "bars are drawn");
    }
}

#[test]
fn hostile_names_reach_no_terminal_and_no_toml_unquoted() {
    let assessed = Assessed::of(HOSTILE);
    let shown = stdout(&assessed.run(&["--all", "--write-overrides", "types.toml"]), 1);
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{shown:?}");
    let text =
        std::fs::read_to_string(assessed.directory.path().join("types.toml")).expect("it is there");
    let settings: toml::Table = toml::from_str(&text).expect("it is TOML");
    let columns = settings["columns"].as_table().expect("a table");
    assert_eq!(columns["<script>alert(1)</script>"]["]]>"]["type"].as_str(), Some("timestamp"));
    assert_eq!(columns["\u{1F980} = [\\"]["--"]["type"].as_str(), Some("uuid"));
    // Taking every # from the settings that were left off gives settings too.
    let on: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.starts_with('[') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let settings: toml::Table = toml::from_str(&on).expect("it is TOML");
    let columns = settings["columns"].as_table().expect("a table");
    assert!(columns["\u{1F980} = [\\"].get("'); drop table t; --").is_some(), "{on}");
}

#[test]
fn the_json_report_keeps_its_keys() {
    let assessed = Assessed::of(TROUBLE);
    let mut report = assessed.json(1);
    report["source"]["path"] = "app.db".into();
    report["scan"]["seconds"] = 0.0.into();
    report["scan"]["workers"] = 1.into();
    let text = serde_json::to_string_pretty(&report).expect("it is JSON");
    assert_same(&root().join("tests/golden/assess.json"), &format!("{text}\n"));
}

#[test]
fn schemas_of_many_frameworks_are_assessed() {
    let mut count = 0;
    for entry in std::fs::read_dir(root().join("tests/schemas")).expect("list the schemas") {
        let path = entry.expect("an entry").path();
        let script = std::fs::read_to_string(&path).expect("read a schema");
        let assessed = Assessed::of(&script);
        let output = assessed.run(&["--json", "--html", "report.html"]);
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{}: {talk}", path.display());
        let page = std::fs::read_to_string(assessed.directory.path().join("report.html"))
            .expect("it is there");
        parse(&page);
        count += 1;
    }
    assert!(10 <= count, "{count} schemas");
}

#[test]
fn rows_that_change_meanwhile_do_not_stop_it_but_a_changed_schema_says_so() {
    let assessed = Assessed::of(
        "pragma journal_mode = wal; create table t (id integer primary key, v text);
         with recursive n(n) as (select 1 union all select n + 1 from n where n < 3000)
         insert into t select n, 'x' from n",
    );
    let conn = assessed.conn();
    let path = assessed.path.to_str().expect("UTF-8").to_owned();
    let directory = assessed.directory.path().to_path_buf();
    let run = std::thread::spawn(move || {
        lite2pg(&directory, &["assess", "--source", &path, "--rows-per-second", "1500"])
    });
    let mut number = 0;
    while !run.is_finished() {
        number += 1;
        conn.execute(&format!("create table made_{number} (a)"), params![]).expect("create");
    }
    let output = run.join().expect("it ran");
    let talk = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{talk}");
    assert!(talk.contains("schema of the source changed") && talk.contains("again"), "{talk}");
}
