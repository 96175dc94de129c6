//! The whole way of a schema: SQLite's catalog, the plan, a real PostgreSQL that runs it.
//!
//! Two claims: every statement of a plan runs, whatever an ORM or a person wrote; and what is
//! translated means the same, which random rows try on both sides.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};

use lite2pg::grammar;
use lite2pg::source::schema::{self, Catalog};
use lite2pg::table::{Affinity, Ident, Literal, Table};
use lite2pg::target::ddl::{self, Ddl, NoteKind, Request};
use lite2pg::target::expr::{self, Purpose, Scope, ScopeColumn};
use lite2pg::value::PgType;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// A private PostgreSQL that goes when the last test lets go of it.
struct Server {
    url: String,
    /// Programs and data, of a server that was started here.
    own: Option<(PathBuf, tempfile::TempDir)>,
}

static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());

/// `TEST_POSTGRES_URL`, or a cluster of its own on a Unix socket. Its locale is not C, so that
/// nothing passes by accident.
fn server() -> Arc<Server> {
    let mut shared = SERVER.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let server = Arc::new(match std::env::var("TEST_POSTGRES_URL") {
        Ok(url) => Server { url, own: None },
        Err(_) => start(),
    });
    *shared = Arc::downgrade(&server);
    server
}

fn start() -> Server {
    let programs = std::fs::read_dir("/usr/lib/postgresql")
        .expect("PostgreSQL is not installed: set TEST_POSTGRES_URL")
        .filter_map(|entry| entry.ok().map(|entry| entry.path().join("bin")))
        .find(|path| path.join("initdb").exists())
        .expect("PostgreSQL is not installed: set TEST_POSTGRES_URL");
    let directory = tempfile::Builder::new().prefix("ddl").tempdir_in("/tmp").expect("directory");
    std::os::unix::fs::chown(directory.path(), owner(), owner()).expect("chown");
    let data = directory.path().join("data");
    let data = data.to_str().expect("UTF-8 path");
    let locale = ["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US"];
    run(
        &programs,
        "initdb",
        &[&["-D", data, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8"], &locale[..]].concat(),
    );
    let socket = directory.path().to_str().expect("UTF-8 path");
    let options = format!("-k {socket} -c listen_addresses='' -c fsync=off");
    let log = format!("{socket}/log");
    run(&programs, "pg_ctl", &["-D", data, "-w", "-t", "60", "-l", &log, "-o", &options, "start"]);
    let url = format!("host={socket} user=postgres");
    Server { url, own: Some((programs, directory)) }
}

/// initdb refuses root.
fn owner() -> Option<u32> {
    let nobody = || nix::unistd::User::from_name("nobody").ok().flatten();
    if !nix::unistd::Uid::effective().is_root() {
        return None;
    }
    Some(nobody().expect("a user named nobody").uid.as_raw())
}

fn run(programs: &Path, program: &str, arguments: &[&str]) {
    let mut command = Command::new(programs.join(program));
    if let Some(uid) = owner() {
        command.uid(uid);
    }
    let status = command
        .args(arguments)
        .current_dir("/tmp")
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .status();
    assert!(status.expect(program).success(), "{program} {arguments:?}");
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some((programs, directory)) = &self.own {
            let data = directory.path().join("data");
            let data = data.to_str().expect("UTF-8 path");
            run(programs, "pg_ctl", &["-D", data, "-m", "immediate", "-w", "stop"]);
        }
    }
}

/// A database of its own on the server.
struct Target {
    runtime: Runtime,
    client: Client,
    _server: Arc<Server>,
}

impl Target {
    fn new(name: &str) -> Self {
        let server = server();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("runtime");
        let connect = |url: String| {
            runtime.block_on(async {
                let (client, connection) =
                    tokio_postgres::connect(&url, NoTls).await.expect("connect");
                tokio::spawn(connection);
                client
            })
        };
        let admin = connect(server.url.clone());
        let make = format!("drop database if exists {name}");
        runtime.block_on(admin.batch_execute(&make)).expect("drop database");
        let make = format!("create database {name}");
        runtime.block_on(admin.batch_execute(&make)).expect("create database");
        let client = connect(format!("{} dbname={name}", server.url));
        Self { runtime, client, _server: server }
    }

    fn run(&self, sql: &str) {
        self.try_run(sql).unwrap_or_else(|error| panic!("{error}\n{sql}"));
    }

    fn try_run(&self, sql: &str) -> Result<(), String> {
        self.runtime.block_on(self.client.batch_execute(sql)).map_err(|error| {
            error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string)
        })
    }

    /// The first column of every row, as text.
    fn column(&self, sql: &str) -> Vec<Option<String>> {
        let messages = self
            .runtime
            .block_on(self.client.simple_query(sql))
            .unwrap_or_else(|error| panic!("{:?}\n{sql}", error.as_db_error()));
        messages
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
                _ => None,
            })
            .collect()
    }

    /// Runs a whole plan, and what may run twice twice.
    fn apply(&self, ddl: &Ddl) {
        self.run(&format!("create schema if not exists {}", Ident::new(&ddl.schema)));
        for table in &ddl.tables {
            self.run(&table.create);
            self.run(&table.create);
            self.run(&table.key.sql);
        }
        for table in &ddl.tables {
            for statement in &table.indexes {
                self.run(&statement.sql);
                self.run(&statement.sql);
            }
            for statement in &table.checks {
                self.run(&statement.sql);
                let quoted = (Ident::new(&ddl.schema), Ident::new(&statement.table));
                let name = Ident::new(&statement.name);
                self.run(&format!(
                    "alter table {}.{} validate constraint {name}",
                    quoted.0, quoted.1
                ));
            }
            if let Some(identity) = &table.identity {
                self.run(&ddl::sequence_sql(
                    &ddl.schema,
                    &table.name,
                    &identity.column,
                    Some(41),
                    None,
                ));
            }
        }
        for statement in &ddl.foreign_keys {
            self.run(&statement.sql);
        }
        for statement in &ddl.views {
            self.run(&statement.sql);
            self.run(&statement.sql);
        }
    }
}

fn read(sql: &str) -> Catalog {
    let conn = Connection::open_in_memory().expect("memory database");
    conn.execute_batch(sql).unwrap_or_else(|error| panic!("{error}\n{sql}"));
    schema::read(&conn).expect("catalog")
}

/// A type by the declaration alone, as for a table without rows.
fn declared_type(table: &Table, position: usize) -> PgType {
    let column = &table.columns[position];
    let declared = column.declared.to_ascii_uppercase();
    let has = |words: &[&str]| words.iter().any(|word| declared.contains(word));
    match column.affinity {
        Affinity::Integer => PgType::Int8,
        Affinity::Real => PgType::Float8,
        Affinity::Text => PgType::Text,
        Affinity::Numeric if has(&["BOOL"]) => PgType::Int8,
        Affinity::Numeric if has(&["DATE", "TIME", "JSON", "UUID", "STRING"]) => PgType::Text,
        Affinity::Numeric => PgType::Numeric,
        Affinity::Blob if has(&["BLOB"]) => PgType::Bytea,
        Affinity::Blob => PgType::Text,
    }
}

fn plan(catalog: &Catalog, schema: &str) -> Ddl {
    ddl::plan(&Request {
        schema,
        tables: &catalog.tables,
        views: &catalog.views,
        utf8: catalog.encoding == "UTF-8",
        types: &|table, position| declared_type(table, position).into(),
    })
}

/// What tools and people write. Each is accepted by SQLite; together they have every construct
/// that the translation knows.
const SCHEMAS: &[(&str, &str)] = &[
    ("django", include_str!("../schemas/django.sql")),
    ("rails", include_str!("../schemas/rails.sql")),
    ("alembic", include_str!("../schemas/alembic.sql")),
    ("prisma", include_str!("../schemas/prisma.sql")),
    ("typeorm", include_str!("../schemas/typeorm.sql")),
    ("sequelize", include_str!("../schemas/sequelize.sql")),
    ("ecto", include_str!("../schemas/ecto.sql")),
    ("gorm", include_str!("../schemas/gorm.sql")),
    ("room", include_str!("../schemas/room.sql")),
    ("drizzle", include_str!("../schemas/drizzle.sql")),
    ("laravel", include_str!("../schemas/laravel.sql")),
    ("rowid tricks", include_str!("../schemas/rowid_tricks.sql")),
    ("names", include_str!("../schemas/names.sql")),
    ("expressions", include_str!("../schemas/expressions.sql")),
    ("foreign keys", include_str!("../schemas/foreign_keys.sql")),
    ("defaults", include_str!("../schemas/defaults.sql")),
    ("views", include_str!("../schemas/views.sql")),
    ("fulfilment", include_str!("../schemas/fulfilment.sql")),
];

#[test]
fn every_statement_of_every_plan_runs() {
    let target = Target::new("ddl_every_statement");
    let mut creates = 0;
    for (name, sql) in SCHEMAS {
        let catalog = read(sql);
        creates += sql.to_ascii_lowercase().matches("create ").count();
        assert!(catalog.skipped.is_empty(), "{name}: {:?}", catalog.skipped);
        let ddl = plan(&catalog, &format!("S {name}"));
        target.apply(&ddl);
        assert_eq!(ddl, plan(&catalog, &format!("S {name}")), "{name} is planned alike twice");
        for table in &ddl.tables {
            let qualified = format!("{}.{}", Ident::new(&ddl.schema), Ident::new(&table.name));
            let columns: Vec<String> =
                table.key_columns.iter().map(|column| Ident::new(column).to_string()).collect();
            // The key is an arbiter.
            let list = columns.join(", ");
            target.run(&format!(
                "insert into {qualified} ({list}) select {list} from {qualified} where false
                 on conflict ({list}) do nothing"
            ));
            if table.identity.is_some() && table.columns.len() < 3 {
                target.try_run(&format!("insert into {qualified} default values")).ok();
            }
        }
    }
    assert!(60 <= creates, "only {creates} statements");
}

#[test]
fn samples_of_real_applications_are_translated_whole_but_for_sums_of_doubles() {
    let whole = [
        "rails",
        "alembic",
        "prisma",
        "typeorm",
        "sequelize",
        "ecto",
        "gorm",
        "room",
        "drizzle",
        "laravel",
        "fulfilment",
    ];
    for (name, sql) in SCHEMAS {
        if !whole.contains(name) {
            continue;
        }
        let left_out: Vec<_> = plan(&read(sql), "public")
            .notes
            .into_iter()
            .filter(|note| note.kind == NoteKind::LeftOut)
            .collect();
        assert!(left_out.is_empty(), "{name}: {left_out:#?}");
    }
}

/// A row of the differential tests: columns, declarations, and their types on the target.
const COLUMNS: [(&str, &str, PgType); 13] = [
    ("i", "integer", PgType::Int8),
    ("j", "int not null", PgType::Int8),
    ("g", "bigint", PgType::Int8),
    ("v", "", PgType::Int8),
    ("r", "real", PgType::Float8),
    ("s", "double", PgType::Float8),
    ("m", "decimal(10,2)", PgType::Numeric),
    ("t", "text", PgType::Text),
    ("u", "varchar(20)", PgType::Text),
    ("n", "text collate nocase", PgType::Text),
    ("p", "text collate rtrim", PgType::Text),
    ("d", "datetime", PgType::Text),
    ("b", "blob", PgType::Bytea),
];

const INTEGERS: [&str; 9] = ["null", "0", "1", "2", "-1", "-7", "3", "12", "100"];
const LARGE: [&str; 6] =
    ["null", "9007199254740993", "-9007199254740993", "9223372036854775807", "5", "0"];
const REALS: [&str; 8] = ["null", "0.0", "1.0", "-1.5", "0.1", "2.25", "1e10", "-0.001"];
const DECIMALS: [&str; 7] = ["null", "0", "1", "1.5", "-2.25", "0.1", "12"];
const TEXTS: [&str; 22] = [
    "null",
    "''",
    "'a'",
    "'A'",
    "'abc'",
    "'ABC'",
    "'abc '",
    "' abc'",
    "'Éa'",
    "'éa'",
    "'x%y'",
    "'a_b'",
    "'5'",
    "'12'",
    "'日本語'",
    "'a\\b'",
    "'it''s'",
    "'zz9'",
    "'ß'",
    "'a-1'",
    "'[a]'",
    "'admin@x.org'",
];
const DATES: [&str; 5] = ["null", "'2024-01-01'", "'2024-01-01 10:00:00'", "'soon'", "5"];
const BLOBS: [&str; 5] = ["null", "x''", "x'00'", "x'ff41'", "x'616263'"];

/// A seeded generator, so that a failure can be had again.
struct Dice(u64);

impl Dice {
    /// `LITE2PG_TEST_SEED` tries other throws; the default ones are always the same.
    fn new(stream: u64) -> Self {
        let seed = std::env::var("LITE2PG_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed: u64 = seed.unwrap_or(1);
        Self((seed << 8 | stream).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).expect("smaller than sides")
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }

    fn value(&mut self, column: &str) -> &'static str {
        match column {
            "g" => self.pick(&LARGE),
            "j" => self.pick(&INTEGERS[1..]),
            "i" | "v" => self.pick(&INTEGERS),
            "r" | "s" => self.pick(&REALS),
            "m" => self.pick(&DECIMALS),
            "d" => self.pick(&DATES),
            "b" => self.pick(&BLOBS),
            _ => self.pick(&TEXTS),
        }
    }

    fn number(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self
                .pick(&[
                    "i",
                    "j",
                    "v",
                    "r",
                    "s",
                    "m",
                    "0",
                    "1",
                    "-3",
                    "2.5",
                    "0.1",
                    "12",
                    "x.i",
                    "\"J\"",
                    "length(t)",
                    "+i",
                    "+m",
                    "+i",
                    "null",
                    "true",
                    "g",
                    "9007199254740992",
                ])
                .to_owned();
        }
        let (a, b) = (self.number(depth - 1), self.number(depth - 1));
        match self.roll(20) {
            0 => format!("{a} + {b}"),
            1 => format!("({a}) - ({b})"),
            2 => format!("({a}) * ({b})"),
            3 => format!("({a}) / ({b})"),
            4 => format!("({a}) % ({b})"),
            5 => format!("-({a})"),
            6 => format!("abs({a})"),
            7 => format!("coalesce({a}, {b})"),
            8 => format!("nullif({a}, {b})"),
            9 => format!("max({a}, {b})"),
            10 => format!("min({a}, {b})"),
            11 => format!("case when {} then {a} else {b} end", self.truth(depth - 1)),
            12 => format!("case {a} when {b} then 1 when 2 then {a} end"),
            13 => format!("length({})", self.text(depth - 1)),
            14 => format!("instr({}, {})", self.text(depth - 1), self.text(0)),
            15 => format!("cast({a} as {})", self.pick(&["integer", "real", "numeric"])),
            16 => format!("({a}) & ({b})"),
            17 => format!("~({a})"),
            18 => format!("iif({}, {a}, {b})", self.truth(depth - 1)),
            _ => format!("({})", self.truth(depth - 1)),
        }
    }

    fn text(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self
                .pick(&[
                    "t",
                    "u",
                    "n",
                    "p",
                    "d",
                    "+d",
                    "+n",
                    "'a'",
                    "'ABC'",
                    "''",
                    "'5'",
                    "\"nosuch\"",
                    "' x '",
                    "t",
                    "n",
                    "'é'",
                ])
                .to_owned();
        }
        let (a, b) = (self.text(depth - 1), self.text(depth - 1));
        match self.roll(14) {
            0 => format!("lower({a})"),
            1 => format!("upper({a})"),
            2 => format!("trim({a})"),
            3 => format!("rtrim({a}, {b})"),
            4 => format!("({a} || {b})"),
            5 => format!("({a} || {})", self.number(0)),
            6 => format!("substr({a}, {}, {})", self.roll(4) + 1, self.roll(4)),
            7 => format!("replace({a}, {b}, 'q')"),
            8 => format!("coalesce({a}, {b})"),
            9 => format!("typeof({})", self.number(depth - 1)),
            10 => format!("case when {} then {a} else {b} end", self.truth(depth - 1)),
            11 => format!("nullif({a}, {b})"),
            12 => format!("cast({} as text)", self.number(depth - 1)),
            _ => format!("hex({})", self.pick(&["b", "t", "x'ab'"])),
        }
    }

    fn leaf(&mut self, operator: &str, not: &str) -> String {
        let column = self.pick(&["i", "j", "r", "t", "n", "p", "d", "m", "v", "b", "u", "g"]);
        match self.roll(7) {
            0 => format!("{column} {operator} {}", self.value(column)),
            1 => format!("{column} is {not}null"),
            2 => format!("{column} {not}in ({}, {})", self.value(column), self.value(column)),
            3 => format!("{column} {not}between {} and {}", self.value(column), self.value(column)),
            4 => format!(
                "t {not}like {}",
                self.pick(&[
                    "'a%'",
                    "'%B%'",
                    "'_bc'",
                    "'%\\%'",
                    "'x%%y'",
                    "'é%'",
                    "'%@%.%'",
                    "'a!_b' escape '!'",
                    "'5'"
                ])
            ),
            5 => format!(
                "u {not}glob {}",
                self.pick(&[
                    "'a*'",
                    "'[A-Z]*'",
                    "'*[^a-z]'",
                    "'?'",
                    "'[]a]*'",
                    "'*[0-9]'",
                    "'a[-_]*'",
                    "'[^[]*'",
                    "'*%*'",
                    "'[日-語]*'"
                ])
            ),
            _ => format!(
                "{column} {operator} {}",
                self.pick(&[
                    "i", "j", "r", "t", "n", "p", "d", "m", "v", "b", "u", "g", "5", "'5'", "'12'",
                    "+d", "1.0", "'x'", "true"
                ])
            ),
        }
    }

    fn truth(&mut self, depth: usize) -> String {
        let operator = self.pick(&["=", "==", "<>", "!=", "<", "<=", ">", ">=", "is", "is not"]);
        let not = self.pick(&["", "not "]);
        if depth == 0 {
            return self.leaf(operator, not);
        }
        match self.roll(9) {
            0 => format!("({} and {})", self.truth(depth - 1), self.truth(depth - 1)),
            1 => format!("({} or {})", self.truth(depth - 1), self.truth(depth - 1)),
            2 => format!("not {}", self.truth(depth - 1)),
            3 => format!("{} {operator} {}", self.number(depth - 1), self.number(depth - 1)),
            4 => format!("{} {operator} {}", self.text(depth - 1), self.text(depth - 1)),
            5 => format!("({}) is {not}true", self.number(depth - 1)),
            6 => format!(
                "{} {operator} {} collate {}",
                self.text(0),
                self.text(0),
                self.pick(&["nocase", "rtrim", "binary"])
            ),
            7 => format!(
                "{} {not}in ({}, {}, null)",
                self.text(depth - 1),
                self.text(0),
                self.text(0)
            ),
            _ => self.number(depth - 1),
        }
    }
}

fn scope(purpose: Purpose) -> Scope {
    let columns = COLUMNS
        .iter()
        .map(|(name, declared, pg)| ScopeColumn {
            name: (*name).to_owned(),
            table: "x".to_owned(),
            sql: Ident::new(*name).to_string(),
            pg: (*pg).into(),
            affinity: Affinity::of(declared.split(" collate").next().unwrap_or_default()),
            collation: match *name {
                "n" => "NOCASE",
                "p" => "RTRIM",
                _ => "BINARY",
            }
            .to_owned(),
            not_null: *name == "j",
        })
        .collect();
    Scope { columns, utf8: true, purpose }
}

/// The same rows on both sides.
fn twin_rows(target: &Target, dice: &mut Dice, rows: usize) -> Connection {
    let source = Connection::open_in_memory().expect("memory database");
    let declared: Vec<String> =
        COLUMNS.iter().map(|(name, declared, _)| format!("{name} {declared}")).collect();
    source
        .execute_batch(&format!("create table x (id integer primary key, {})", declared.join(", ")))
        .expect("create");
    let collate = |pg| if pg == PgType::Text { " collate \"C\"" } else { "" };
    let typed: Vec<String> = COLUMNS
        .iter()
        .map(|(name, _, pg)| format!("{name} {}{}", pg.sql(), collate(*pg)))
        .collect();
    target.run(&format!("create table x (id bigint primary key, {})", typed.join(", ")));
    for id in 0..rows {
        let values: Vec<&str> = COLUMNS.iter().map(|(name, ..)| dice.value(name)).collect();
        let values = values.join(", ");
        source.execute_batch(&format!("insert into x values ({id}, {values})")).expect("insert");
        let values = values.replace("x'", "'\\x");
        target.run(&format!("insert into x values ({id}, {values})"));
    }
    source
}

/// A value as both sides can be brought to print it.
fn canonical(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(int) => Some(int.to_string()),
        ValueRef::Real(real) => Some(format!("{real:?}")),
        ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(blob) => Some(blob.iter().map(|byte| format!("{byte:02x}")).collect()),
    }
}

fn source_column(source: &Connection, sql: &str) -> Result<Vec<Option<String>>, rusqlite::Error> {
    let mut statement = source.prepare(sql)?;
    let rows = statement.query_map([], |row| Ok(canonical(row.get_ref(0)?)))?;
    rows.collect()
}

/// Doubles print alike once both are read as doubles.
fn as_double(texts: Vec<Option<String>>) -> Vec<Option<String>> {
    let print = |text: String| format!("{:?}", text.parse::<f64>().expect("a number"));
    texts.into_iter().map(|text| text.map(print)).collect()
}

/// Random conditions, tried on random rows.
#[test]
fn conditions_mean_the_same_on_both_sides() {
    let target = Target::new("ddl_conditions");
    let mut dice = Dice::new(1);
    let source = twin_rows(&target, &mut dice, 80);
    let scope = scope(Purpose::Check);
    let (mut tried, mut translated) = (0, 0);
    while tried < 4_000 {
        tried += 1;
        let depth = dice.roll(4);
        let text = dice.truth(depth);
        let three = |sql: &str| {
            format!(
                "select case when {sql} then 't' when not ({sql}) then 'f' end from x order by id"
            )
        };
        let Ok(expected) = source_column(&source, &three(&format!("({text})"))) else { continue };
        let Ok(condition) = grammar::on_deep_stack(|| expr::predicate(&text, &scope)) else {
            continue;
        };
        translated += 1;
        let sql = three(&format!("({})", condition.sql));
        if condition.differs && target.try_run(&sql).is_err() {
            continue;
        }
        assert_eq!(target.column(&sql), expected, "{text}\n{}", condition.sql);
    }
    assert!(1_000 < translated, "only {translated} of {tried} were translated");
}

/// Random values, tried on random rows.
#[test]
fn values_are_the_same_on_both_sides() {
    let target = Target::new("ddl_values");
    let mut dice = Dice::new(2);
    let source = twin_rows(&target, &mut dice, 80);
    let scope = scope(Purpose::Stored);
    let (mut tried, mut translated) = (0, 0);
    while tried < 4_000 {
        tried += 1;
        let depth = dice.roll(3) + 1;
        let text = if dice.roll(2) == 0 { dice.number(depth) } else { dice.text(depth) };
        let query = format!("select ({text}) from x order by id");
        let Ok(expected) = source_column(&source, &query) else { continue };
        let Ok(value) = grammar::on_deep_stack(|| expr::scalar(&text, &scope)) else { continue };
        translated += 1;
        let shown = match value.class {
            expr::Class::Blob => format!("encode({}, 'hex')", value.sql),
            _ => format!("({})::text", value.sql),
        };
        let sql = format!("select {shown} from x order by id");
        if value.differs && target.try_run(&sql).is_err() {
            continue;
        }
        let (got, expected) = match value.class {
            expr::Class::Real | expr::Class::Numeric => {
                (as_double(target.column(&sql)), as_double(expected))
            }
            _ => (target.column(&sql), expected),
        };
        assert_eq!(got, expected, "{text}\n{}", value.sql);
    }
    assert!(1_000 < translated, "only {translated} of {tried} were translated");
}

/// The text of an expression and its translation can each be an index.
#[test]
fn stored_expressions_are_immutable_to_postgresql() {
    let target = Target::new("ddl_immutable");
    let mut dice = Dice::new(3);
    // A row could run out of range, which would say nothing of immutability.
    twin_rows(&target, &mut dice, 0);
    let scope = scope(Purpose::Stored);
    for _ in 0..1_500 {
        let depth = dice.roll(3) + 1;
        let (value, condition) = (dice.text(depth), dice.truth(depth));
        let translated = grammar::on_deep_stack(|| {
            (expr::scalar(&value, &scope), expr::predicate(&condition, &scope))
        });
        if let (Ok(value), Ok(condition)) = translated
            && value.class != expr::Class::Null
        {
            let sql = format!("create index i on x (({})) where {}", value.sql, condition.sql);
            if let Err(error) = target.try_run(&format!("{sql}; drop index i")) {
                panic!("{error}\n{sql}");
            }
        }
    }
}

const DEFAULTS: &[&str] = &[
    "0",
    "1",
    "-1",
    "+7",
    "'5'",
    "' 5 '",
    "'5.0'",
    "'5.5'",
    "'1e2'",
    "'-0x1'",
    "'0x10'",
    "1.5",
    "-2.0",
    "1e3",
    "0x7F",
    "true",
    "FALSE",
    "(true)",
    "bare",
    "\"quoted\"",
    "'it''s'",
    "''",
    "'+'",
    "'.'",
    "'.5'",
    "'5.'",
    "'1e'",
    "'1 2'",
    "x'00ff'",
    "(1 + 2)",
    "(7 / 2)",
    "(-7 / 2)",
    "(7 % -3)",
    "('a' || 'b')",
    "('1' || '2')",
    "(coalesce(null, 4))",
    "(cast('12' as int))",
    "(abs(-3))",
    "(upper('é'))",
    "(1 < 2)",
    "(not 1)",
    "(case when 1 then 'x' else 'y' end)",
    "(length('日本'))",
    "(substr('abcdef', 2, 3))",
    "(hex(x'0aff'))",
    "9223372036854775807",
    "-9223372036854775808",
    "(max(1, 2))",
    "(iif(0, 'a', 'b'))",
    "(1 << 4 | 1)",
    "(~5)",
    "(typeof(1))",
    "(nullif(1, 1))",
    "(replace('aXa', 'X', '-'))",
    "(1 / 0)",
    "(2 * 3.5)",
];
const TYPES: &[&str] = &["int", "text", "real", "numeric", "", "boolean", "datetime", "blob"];

/// What a DEFAULT stores, for every pair of a text and a declared type that SQLite takes.
#[test]
fn defaults_store_the_same_on_both_sides() {
    let target = Target::new("ddl_defaults");
    let source = Connection::open_in_memory().expect("memory database");
    let mut compared = 0;
    for text in DEFAULTS {
        for declared in TYPES {
            source.execute_batch("drop table if exists d").expect("drop");
            let create = format!("create table d (c {declared} default {text})");
            if source.execute_batch(&create).is_err() {
                continue;
            }
            source.execute_batch("insert into d default values").expect("insert");
            let stored: Option<String> =
                source_column(&source, "select c from d").expect("select").remove(0);
            let class =
                source_column(&source, "select typeof(c) from d").expect("typeof").remove(0);
            let pg = match class.as_deref() {
                Some("integer") => PgType::Int8,
                Some("real") => PgType::Float8,
                Some("blob") => PgType::Bytea,
                _ => PgType::Text,
            };
            let catalog = schema::read(&source).expect("catalog");
            let ddl = ddl::plan(&Request {
                schema: "public",
                tables: &catalog.tables,
                views: &[],
                utf8: true,
                types: &|_, _| pg.into(),
            });
            if ddl.notes.iter().any(|note| note.what == "default") {
                continue;
            }
            target.run("drop table if exists d");
            target.run(&ddl.tables[0].create);
            target.run("insert into d default values");
            let shown = if pg == PgType::Bytea { "encode(c, 'hex')" } else { "c::text" };
            let got = target.column(&format!("select {shown} from d")).remove(0);
            let (got, stored) = match pg {
                PgType::Float8 => (as_double(vec![got]).remove(0), stored),
                _ => (got, stored),
            };
            assert_eq!(got, stored, "{create}\n{}", ddl.tables[0].create);
            compared += 1;
        }
    }
    assert!(200 < compared, "only {compared} were compared");
}

/// Clocks and dice cannot be equal, but they must look alike and tell the same time.
#[test]
fn clocks_and_dice_have_the_same_form_on_both_sides() {
    let columns = [
        "a text default current_timestamp",
        "b text default current_date",
        "c text default current_time",
        "d text default (datetime('now'))",
        "e text default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))",
        "f text default (strftime('%d/%m/%Y at %H:%M \"q\" \\ %%', 'now'))",
        "g text default (strftime('%s', 'now'))",
        "h int default (unixepoch())",
        "i int default (strftime('%s', 'now'))",
        "j text default (lower(hex(randomblob(16))))",
        "k text default (hex(randomblob(4)) || '-' || substr('89ab', abs(random()) % 4 + 1, 1))",
        "l int default (cast((julianday('now') - 2440587.5) * 86400.0 as integer))",
        "m text default (date('now', 'subsec'))",
        "n text default (datetime('now', 'subsec'))",
        "o int default (strftime('%Y', 'now'))",
        "p text default (strftime('%j', 'now'))",
    ];
    let target = Target::new("ddl_clocks");
    let sql = format!("create table c (id integer primary key, {})", columns.join(", "));
    let source = Connection::open_in_memory().expect("memory database");
    source.execute_batch(&sql).expect("create");
    let catalog = schema::read(&source).expect("catalog");
    let ddl = plan(&catalog, "public");
    let refused: Vec<_> = ddl.notes.iter().filter(|note| note.kind == NoteKind::LeftOut).collect();
    assert!(refused.iter().all(|note| note.object == "c.m"), "{refused:?}");
    target.apply(&ddl);
    source.execute_batch("insert into c default values").expect("insert");
    target.run("insert into c default values");
    let form = |text: &str| -> String {
        text.chars().map(|c| if c.is_ascii_hexdigit() { '#' } else { c }).collect()
    };
    for column in &catalog.tables[0].columns[1..] {
        if column.name == "m" {
            continue;
        }
        let name = &column.name;
        let ours = target.column(&format!("select {name}::text from c")).remove(0).expect("value");
        let theirs =
            source_column(&source, &format!("select {name} from c")).expect("select").remove(0);
        let theirs = theirs.expect("value");
        assert_eq!(form(&ours), form(&theirs), "{name}: {ours} {theirs}");
        if let (Ok(ours), Ok(theirs)) = (ours.parse::<i64>(), theirs.parse::<i64>()) {
            assert!((ours - theirs).abs() < 120 || name == "j", "{name}: {ours} {theirs}");
        }
    }
    let last = target.column("select id::text from c").remove(0);
    assert_eq!(last.as_deref(), Some("42"), "the sequence goes on after 41");
}

/// Rows are tried one at a time: both sides take them, or neither.
#[test]
fn constraints_and_unique_indexes_turn_away_the_same_rows() {
    let sql = "
        create table k (
            id integer primary key, a text collate nocase, b text collate rtrim, c int, d text,
            e text as (lower(d) || coalesce(c, 0)) stored, f int as (c * 2 + length(d)),
            g real as (c * -0.5), h real as (c) stored, i text as (c * 3),
            check (c <> 100), check (d not like 'x%' or c > 1), check (length(a) < 6 or b is null),
            unique (a, b)
        );
        create unique index k1 on k (d) where c > 0;
        create unique index k2 on k (lower(d) collate rtrim, c) where a is not null;
        create unique index k3 on k (e, f desc) where f > 5;";
    let target = Target::new("ddl_constraints");
    let source = Connection::open_in_memory().expect("memory database");
    source.execute_batch(sql).expect("create");
    let ddl = plan(&schema::read(&source).expect("catalog"), "public");
    let left_out: Vec<_> = ddl.notes.iter().filter(|note| note.kind == NoteKind::LeftOut).collect();
    assert!(left_out.is_empty(), "{left_out:?}");
    target.apply(&ddl);
    let mut dice = Dice::new(4);
    let (mut taken, mut turned_away) = (0, 0);
    for id in 0..600 {
        let values =
            [dice.value("n"), dice.value("p"), dice.value("i"), dice.value("t")].join(", ");
        let insert = format!("insert into k (id, a, b, c, d) values ({id}, {values})");
        let ours = target.try_run(&insert);
        let theirs = source.execute_batch(&insert);
        assert_eq!(ours.is_ok(), theirs.is_ok(), "{insert}\n{ours:?}\n{theirs:?}");
        if ours.is_ok() { taken += 1 } else { turned_away += 1 }
    }
    assert!(50 < taken && 50 < turned_away, "{taken} {turned_away}");
    for column in ["e", "f", "g", "h", "i"] {
        let ours = target.column(&format!("select {column}::text from k order by id"));
        let theirs = source_column(&source, &format!("select {column} from k order by id"));
        let is_double = matches!(column, "g" | "h");
        let ours = if is_double { as_double(ours) } else { ours };
        assert_eq!(ours, theirs.expect("select"), "{column}");
    }
    assert!(ddl.tables[0].columns[5..].iter().all(|column| column.computed));
}

/// Views, over the same rows.
#[test]
fn views_show_the_same_rows_on_both_sides() {
    let (_, sql) = SCHEMAS.iter().find(|(name, _)| *name == "views").expect("views");
    let target = Target::new("ddl_views");
    let source = Connection::open_in_memory().expect("memory database");
    source.execute_batch(sql).expect("create");
    let ddl = plan(&schema::read(&source).expect("catalog"), "public");
    target.apply(&ddl);
    let mut dice = Dice::new(5);
    for id in 0..40 {
        let crm = format!(
            "insert into crm values ('c{id}', {}, {}, {}, {})",
            dice.pick(&["'gold'", "'Gold'", "null"]),
            dice.value("r"),
            dice.value("i"),
            dice.value("n")
        );
        let deal = format!(
            "insert into deal values ({id}, 'c{}', {}, {})",
            dice.roll(40),
            dice.value("i"),
            dice.pick(&["'won'", "'lost'", "null"])
        );
        source.execute_batch(&crm).expect("insert");
        target.run(&crm);
        source.execute_batch("pragma foreign_keys = off").expect("pragma");
        source.execute_batch(&deal).expect("insert");
        target.run("set session_replication_role = replica");
        target.run(&deal);
    }
    let names: Vec<&str> = ddl.views.iter().map(|view| view.name.as_str()).collect();
    assert_eq!(names, ["v1", "v2", "v4", "v5", "v12", "v13"], "{:#?}", ddl.notes);
    for name in names {
        let columns: Vec<String> = source
            .prepare(&format!("select * from {name}"))
            .expect("prepare")
            .column_names()
            .map(str::to_owned)
            .collect();
        let row = |column: &str| format!("coalesce(cast({} as text), '-')", Ident::new(column));
        // Doubles print differently; they are plain columns here.
        let list: Vec<String> =
            columns.iter().filter(|name| *name != "value").map(|name| row(name)).collect();
        let query = format!("select {} from {name}", list.join(" || '|' || "));
        let mut ours = target.column(&query);
        let mut theirs = source_column(&source, &query).expect("select");
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs, "{name}");
    }
}

/// A name that SQLite holds and PostgreSQL does not gets another, the same each time.
#[test]
fn literals_and_names_cannot_break_out() {
    let target = Target::new("ddl_names");
    target.run("create table canary (x int); insert into canary values (1)");
    let evil = "x\"; drop table canary; --'; drop table canary; --\\";
    let (name, text) = (Ident::new(evil), Literal(evil));
    let index = Ident::new(evil.repeat(3));
    let catalog = read(&format!(
        "create table {name} ({name} text default {text} check ({name} <> {text}
             and {name} like {text}), b text);
         create index {index} on {name} (b) where b <> {text}"
    ));
    let ddl = plan(&catalog, evil);
    target.apply(&ddl);
    assert_eq!(target.column("select x::text from canary"), [Some("1".to_owned())]);
    assert_eq!(ddl.tables[0].name, evil);
    assert!(ddl.tables[0].indexes[0].name.len() <= 63);
}
