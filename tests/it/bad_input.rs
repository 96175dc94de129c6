//! Bad input gets one clear sentence, the right exit code, and loses nothing on either side.
//!
//! "Untouched" is looked at, not believed: after each refusal the source holds nothing of ours and
//! nothing beside it, and the target has no schema and no table that was not there before.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use lite2pg::target::private::ROLE;
use rusqlite::Connection;

use crate::judge;
use crate::server::Target;
use crate::support::cluster::ThrowawayCluster;
use crate::support::database::TestDatabase;
use crate::support::sidecar::{LIMIT, Launch, Sidecar};

/// A directory and a target, both empty.
struct Scene {
    directory: tempfile::TempDir,
    database: TestDatabase,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        Self { directory, database: TestDatabase::create() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A small source.
    fn source(&self) -> PathBuf {
        self.source_with(
            "create table t (id integer primary key, a text);
            insert into t (a) values ('a'), ('b')",
        )
    }

    fn source_with(&self, sql: &str) -> PathBuf {
        let file = self.at("source.db");
        execute(&file, sql);
        file
    }

    fn url(&self) -> &str {
        self.database.url()
    }

    fn target(&self) -> Target {
        Target::connect(self.url())
    }

    fn catch_up(&self, file: &Path) {
        Launch::catch_up(file, self.url()).finish().expect_code(0);
        self.judge(file);
    }

    fn judge(&self, file: &Path) -> judge::Compared {
        match judge::compare(file, self.url(), "public") {
            Ok(compared) => compared,
            Err(found) => panic!("the sides differ: {found}"),
        }
    }

    /// A run must end with this code and these words, and leave the target empty.
    fn assert_refused(&self, file: &Path, code: i32, parts: &[&str]) {
        let ended = Launch::run(file, self.url()).finish().expect_code(code).expect_error(parts);
        let sentence = ended.stderr.lines().find(|line| line.starts_with("error: "));
        assert!(sentence.is_some_and(|line| line.len() < 300), "{ended}");
        assert_empty(&self.target(), &ended.to_string());
    }
}

fn execute(file: &Path, sql: &str) {
    let connection = Connection::open(file).expect("open the source");
    connection.busy_timeout(LIMIT).expect("set the busy timeout");
    connection.execute_batch(sql).unwrap_or_else(|error| panic!("{error} in {sql}"));
}

fn assert_empty(target: &Target, after: &str) {
    let found = target.query(
        "select schemaname || '.' || tablename from pg_tables
          where schemaname in ('lite2pg', 'public')",
    );
    assert!(found.is_empty(), "the target was written to: {found:?} after {after}");
}

/// Nothing of ours stands in the file, and nothing stands beside it.
fn assert_untouched(file: &Path) {
    let name = file.file_name().expect("a file").to_string_lossy().into_owned();
    let listed = std::fs::read_dir(file.parent().expect("a directory")).expect("it is readable");
    for entry in listed {
        let found = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        assert!(!found.starts_with(&format!("{name}-")), "{found} was left behind");
    }
    let connection = Connection::open(file).expect("open the source");
    let sql = "select count(*) from sqlite_schema where substr(name, 1, 9) = '_lite2pg_'";
    let ours: i64 = connection.query_row(sql, [], |row| row.get(0)).expect("the file is whole");
    assert_eq!(ours, 0, "the source was written to");
}

#[test]
fn what_is_not_a_sqlite_database_is_refused_by_its_kind() {
    let scene = Scene::new();
    let noise: Vec<u8> =
        (0..16_384_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(scene.at("noise"), &noise).expect("the directory is ours");
    std::fs::write(scene.at("text"), "id,name\n1,a\n".repeat(100)).expect("the directory is ours");
    std::fs::write(scene.at("empty"), "").expect("the directory is ours");
    std::fs::create_dir(scene.at("directory")).expect("the directory is ours");
    symlink(scene.at("nowhere"), scene.at("dangling")).expect("the directory is ours");
    symlink(scene.at("loop"), scene.at("loop")).expect("the directory is ours");
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
    nix::unistd::mkfifo(&scene.at("fifo"), mode).expect("the directory is ours");
    let cases = [
        ("noise", "is not a SQLite database, or it is encrypted"),
        ("text", "is not a SQLite database, or it is encrypted"),
        ("empty", "is an empty file"),
        ("missing", "there is no file"),
        ("directory", "is a directory"),
        ("fifo", "is a device, pipe or socket"),
        ("dangling", "there is no file"),
        ("text/inside", "there is no file"),
        ("loop", "cannot look at"),
    ];
    for (name, said) in cases {
        let file = scene.at(name);
        scene.assert_refused(&file, 2, &[said, "hint: "]);
        for subcommand in ["install", "uninstall", "schema", "status"] {
            let mut launch = Launch::new(subcommand).arg("--source").arg(&file);
            if subcommand == "status" {
                launch = launch.args(["--target", scene.url()]);
            }
            launch.finish().expect_code(2).expect_error(&[said]);
        }
        for suffix in ["-wal", "-shm", "-journal"] {
            assert!(!scene.at(&format!("{name}{suffix}")).exists(), "{name}{suffix} was left");
        }
    }
    assert_eq!(std::fs::read(scene.at("noise")).expect("the file is ours"), noise);
}

/// SQLite itself would open such a file read-only and leave a -wal and a -shm beside it, which the
/// application, as another user, could not write.
#[test]
fn a_file_that_may_not_be_written_is_refused_and_nothing_is_left_beside_it() {
    let scene = Scene::new();
    let program = scene.at("lite2pg");
    std::fs::copy(env!("CARGO_BIN_EXE_lite2pg"), &program).expect("copy the product");
    let mode = |path: &Path, bits: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits)).expect("it is ours");
    };
    mode(scene.directory.path(), 0o755);
    let directory = scene.at("data");
    let cases = [
        (0o644, 0o555, 0o444, "cannot be written"),
        (0o644, 0o777, 0o444, "cannot be written"),
        (0o644, 0o555, 0o666, "cannot be written"),
        (0o644, 0o777, 0o222, "cannot be read"),
        (0o644, 0o644, 0o666, "cannot look at"),
    ];
    for journal in ["wal", "delete"] {
        for (before, of_directory, of_file, said) in cases {
            std::fs::create_dir(&directory).expect("the directory is ours");
            let file = directory.join("source.db");
            execute(
                &file,
                &format!(
                    "pragma journal_mode = {journal};
                create table t (id integer primary key)"
                ),
            );
            mode(&file, before);
            mode(&file, of_file);
            mode(&directory, of_directory);
            let launch = Launch::run(&file, scene.url());
            let launch = match nix::unistd::Uid::effective().is_root() {
                true => launch.by_user(65_534, 65_534, &program),
                false => launch,
            };
            launch.finish().expect_code(2).expect_error(&[said, "hint: "]);
            mode(&directory, 0o755);
            mode(&file, 0o644);
            assert_untouched(&file);
            assert_empty(&scene.target(), said);
            std::fs::remove_dir_all(&directory).expect("the directory is ours");
        }
    }
}

#[test]
fn a_symbolic_link_is_followed_and_the_journal_stays_with_the_file() {
    for journal in ["wal", "delete"] {
        let scene = Scene::new();
        for name in ["data", "links"] {
            std::fs::create_dir(scene.at(name)).expect("the directory is ours");
        }
        let (file, link) = (scene.at("data/source.db"), scene.at("links/app.db"));
        symlink("../data/source.db", &link).expect("the directory is ours");
        execute(
            &file,
            &format!(
                "pragma journal_mode = {journal};
            create table t (id integer primary key, a text)"
            ),
        );
        let mut sidecar = Launch::run(&link, scene.url()).start();
        await_phase(&scene.target(), &mut sidecar);
        execute(&file, "insert into t (a) values ('a'), ('b')");
        let target = scene.target();
        let arrived = sidecar.until(|| {
            let rows = target.try_query("select count(*) from public.t").ok()?;
            (rows[0][0].as_deref() == Some("2")).then_some(())
        });
        assert!(arrived.is_some(), "{}", sidecar.stderr());
        sidecar.terminate().expect_code(0);
        scene.judge(&file);
        let beside = std::fs::read_dir(scene.at("links")).expect("the directory is ours").count();
        assert_eq!(beside, 1, "something was left beside the link");
    }
}

fn await_phase(target: &Target, sidecar: &mut Sidecar) {
    let reached = sidecar.until(|| {
        let sql = "select 1 from lite2pg.position where phase = 'streaming' and consistent";
        (!target.try_query(sql).ok()?.is_empty()).then_some(())
    });
    assert!(reached.is_some(), "lite2pg ended: {}", sidecar.stderr());
}

#[test]
fn a_server_that_cannot_be_used_is_named_and_the_source_left_alone() {
    let scene = Scene::new();
    let file = scene.source();
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let closed = nobody.local_addr().expect("an address");
    drop(nobody);
    let old = fake_server(Fake::Version12);
    let strict = fake_server(Fake::WrongPassword);
    let cases = [
        (
            format!("postgresql://u@{closed}/d?sslmode=disable"),
            3,
            "cannot reach the target",
            "psql",
        ),
        (
            format!("postgresql://u@{old}/d?sslmode=disable"),
            2,
            "is PostgreSQL 12.22; 13 or later is needed",
            "13 or later",
        ),
        (
            format!("postgresql://u:secret@{strict}/d?sslmode=disable"),
            2,
            "refused the password of u",
            "Check the password",
        ),
        ("postgresql://u@[::1/d".to_owned(), 2, "", ""),
        ("nonsense".to_owned(), 2, "", ""),
    ];
    for (url, code, said, hint) in cases {
        let ended = Launch::run(&file, &url).finish().expect_code(code);
        let ended = ended.expect_error(&[said, "hint: ", hint]);
        assert!(!ended.stderr.contains("secret"), "{ended}");
        assert_untouched(&file);
    }
}

/// How a server that is none behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fake {
    Version12,
    WrongPassword,
}

/// Speaks as much of the protocol as one refusal takes; answers one connection and ends.
fn fake_server(fake: Fake) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("somebody connects");
        serve(stream, fake).expect("the conversation is short");
    });
    address
}

fn serve(mut stream: TcpStream, fake: Fake) -> std::io::Result<()> {
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    let mut startup = vec![0; u32::from_be_bytes(head) as usize - 4];
    stream.read_exact(&mut startup)?;
    if fake == Fake::WrongPassword {
        stream.write_all(&message(b'R', &3_u32.to_be_bytes()))?;
        read_message(&mut stream)?;
        let said = b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed\0\0";
        return stream.write_all(&message(b'E', said));
    }
    stream.write_all(&message(b'R', &0_u32.to_be_bytes()))?;
    stream.write_all(&message(b'Z', b"I"))?;
    read_message(&mut stream)?;
    let row = [
        ("version", "120022"),
        ("version_text", "12.22"),
        ("encoding", "UTF8"),
        ("is_standby", "f"),
        ("is_read_only", "off"),
    ];
    let count = (row.len() as u16).to_be_bytes();
    let (mut names, mut values) = (count.to_vec(), count.to_vec());
    for (name, value) in row {
        names.extend(name.as_bytes());
        names.push(0);
        names.extend([0; 6]);
        names.extend(25_u32.to_be_bytes());
        names.extend([0xff; 2]);
        names.extend([0; 6]);
        values.extend((value.len() as u32).to_be_bytes());
        values.extend(value.as_bytes());
    }
    stream.write_all(&message(b'T', &names))?;
    stream.write_all(&message(b'D', &values))?;
    stream.write_all(&message(b'C', b"SELECT 1\0"))?;
    stream.write_all(&message(b'Z', b"I"))
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut whole = vec![kind];
    whole.extend((body.len() as u32 + 4).to_be_bytes());
    whole.extend(body);
    whole
}

fn read_message(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
    stream.read_exact(&mut vec![0; length])
}

#[test]
fn a_database_that_is_not_utf8_is_refused_by_its_encoding() {
    let cluster = ThrowawayCluster::new();
    let scene = Scene::new();
    let file = scene.source();
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = encoding.to_lowercase();
        cluster
            .cluster()
            .execute(&format!(
                "create database {name} template template0 encoding '{encoding}' \
                 lc_collate 'C' lc_ctype 'C'"
            ))
            .expect("create a database");
        let url = cluster.url("db").replace("/db", &format!("/{name}"));
        let said = format!("database {name} is encoded in {encoding}; UTF8 is needed");
        Launch::run(&file, &url).finish().expect_code(2).expect_error(&[&said, "createdb"]);
        assert_untouched(&file);
        assert_empty(&Target::connect(&url), &said);
    }
}

#[test]
fn tables_that_are_in_the_way_are_left_as_they_are() {
    let scene = Scene::new();
    let file = scene.source();
    let target = scene.target();
    for kind in ["table", "view", "materialized view", "sequence"] {
        let definition = match kind {
            "table" => "create table public.t as select 7 as theirs",
            "sequence" => "create sequence public.t",
            view => &format!("create {view} public.t as select 7 as theirs"),
        };
        target.run(definition);
        let ended = Launch::run(&file, scene.url()).finish().expect_code(1);
        let ended = ended.expect_error(&["already has public.t", "Nothing was written"]);
        assert_untouched(&file);
        let ledger = target.query("select 1 from pg_tables where schemaname = 'lite2pg'");
        assert!(ledger.is_empty(), "{ended}");
        if kind != "sequence" {
            let theirs = target.query("select theirs from public.t");
            assert_eq!(theirs, [[Some("7".to_owned())]], "{kind}");
        }
        target.run(&format!("drop {kind} public.t"));
    }
    scene.catch_up(&file);
}

/// A role that lacks something is told which statement gives it, before a trigger is installed.
#[test]
fn a_missing_privilege_is_named_before_anything_is_written() {
    let cluster = ThrowawayCluster::new();
    let admin_url = cluster.url("db");
    let admin = Target::connect(&admin_url);
    admin.run(
        "create role \"Guest\" login password 'guest'; revoke all on schema public from public;
        revoke all on database db from public; grant connect on database db to \"Guest\"",
    );
    let url =
        format!("{}&password=guest", admin_url.replace(&format!("user={ROLE}"), "user=Guest"));
    let scene = Scene::new();
    let file = scene.source();
    let steps = [
        ("may not create the schema lite2pg", "grant create on database db to \"Guest\""),
        (
            "may not create tables in schema public",
            "grant usage, create on schema public to \"Guest\"",
        ),
        (
            "may not create temporary tables in database db",
            "grant temporary on database db to \"Guest\"",
        ),
    ];
    for (said, grant) in steps {
        let ended = Launch::run(&file, &url).finish().expect_code(2);
        ended.expect_error(&[said, "hint: Nothing was written", grant]);
        assert_untouched(&file);
        assert_empty(&admin, said);
        admin.run(grant);
    }
    Launch::catch_up(&file, &url).finish().expect_code(0);

    // Another role finds the ledger closed to it, and is told so instead of a syntax error.
    admin.run("create role other login password 'other'; grant connect on database db to other");
    let other = url.replace("user=Guest", "user=other").replace("=guest", "=other");
    let ended = Launch::run(&file, &other).finish().expect_code(2);
    ended.expect_error(&["role other may not use the schema lite2pg", "grant"]);
}

/// Where roles may not make schemas, an administrator makes this one.
#[test]
fn a_schema_that_an_administrator_made_is_used() {
    let cluster = ThrowawayCluster::new();
    let admin_url = cluster.url("db");
    let admin = Target::connect(&admin_url);
    admin.run(
        "create role guest login password 'guest'; create schema lite2pg authorization guest;
        create schema app authorization guest",
    );
    let url =
        format!("{}&password=guest", admin_url.replace(&format!("user={ROLE}"), "user=guest"));
    let scene = Scene::new();
    let file = scene.source();
    Launch::catch_up(&file, &url).args(["--target-schema", "app"]).finish().expect_code(0);
    if let Err(found) = judge::compare(&file, &admin_url, "app") {
        panic!("the sides differ: {found}");
    }
}

#[test]
fn hostile_names_travel_unharmed() {
    let scene = Scene::new();
    let long = "n".repeat(100);
    let mut names = vec![
        "a\"b".to_owned(),
        "it's".to_owned(),
        "two\nlines".to_owned(),
        "tab\there".to_owned(),
        "100%".to_owned(),
        "%s %n $1 ?1 :a @b".to_owned(),
        "😀".to_owned(),
        "é".to_owned(),
        "É".to_owned(),
        "Case".to_owned(),
        "select".to_owned(),
        "user".to_owned(),
        "table".to_owned(),
        "x; drop table y; --".to_owned(),
        "back\\slash".to_owned(),
        " lead and trail ".to_owned(),
        ".".to_owned(),
        "pg_class".to_owned(),
        "lite2pg".to_owned(),
        "{{table}}".to_owned(),
    ];
    // Equal in the 63 bytes that PostgreSQL keeps; one of them cuts a character in two.
    names.extend([format!("{long}1"), format!("{long}2"), format!("{}é1", "n".repeat(62))]);
    let mut sql = String::new();
    for (n, name) in names.iter().enumerate() {
        let table = name.replace('"', "\"\"");
        let other = names[(n + 1) % names.len()].replace('"', "\"\"");
        sql.push_str(&format!(
            "create table \"{table}\" (\"{other}\" text not null primary key, \"c{table}\" real, \
             \"d{table}\" integer unique); insert into \"{table}\" values ('a', {n}.5, {n}); \
             create index \"i{table}\" on \"{table}\" (\"c{table}\");"
        ));
    }
    let file = scene.source_with(&sql);
    scene.catch_up(&file);
    let changes: String = names
        .iter()
        .zip(names.iter().cycle().skip(1))
        .map(|(name, other)| {
            let (table, key) = (name.replace('"', "\"\""), other.replace('"', "\"\""));
            format!(
                "replace into \"{table}\" values ('b', 1, -1), ('c', 2, -1); \
                 update \"{table}\" set \"{key}\" = 'z' where \"{key}\" = 'a';"
            )
        })
        .collect();
    execute(&file, &changes);
    scene.catch_up(&file);
    let compared = scene.judge(&file);
    assert_eq!((compared.tables, compared.rows), (names.len() as u64, 2 * names.len() as u64));
}

#[test]
fn a_table_that_is_too_wide_is_left_out_with_its_reason_and_the_others_replicate() {
    let scene = Scene::new();
    let columns: Vec<String> = (0..2_000).map(|n| format!("c{n} integer")).collect();
    let file = scene.source_with(&format!(
        "create table wide ({}); insert into wide (c0) values (1);
         create table narrow (id integer primary key); insert into narrow values (1)",
        columns.join(", ")
    ));
    let ended = Launch::catch_up(&file, scene.url()).finish().expect_code(0);
    let told = ended.stderr.lines().any(|line| line.contains("wide") && line.contains("1600"));
    assert!(told, "{ended}");
    let rows = scene.target().query("select count(*) from public.narrow");
    assert_eq!(rows, [[Some("1".to_owned())]]);
}

#[test]
fn five_hundred_tables_are_replicated() {
    let scene = Scene::new();
    let sql: String = (0..500)
        .map(|n| {
            format!(
                "create table t{n} (id integer primary key, a text unique); \
                 insert into t{n} (a) values ('a'), ('b');"
            )
        })
        .collect();
    let file = scene.source_with(&format!("begin; {sql} commit"));
    scene.catch_up(&file);
    execute(&file, "begin; update t0 set a = 'c' where id = 1; delete from t499; commit");
    scene.catch_up(&file);
    assert_eq!(scene.judge(&file).tables, 500);
}

#[test]
fn a_file_without_tables_is_said_to_have_none() {
    let scene = Scene::new();
    let file = scene.source_with("create table t (a); drop table t");
    scene.assert_refused(&file, 2, &["no table that can be replicated", "hint: "]);
    assert_untouched(&file);
    let ended = Launch::new("install").arg("--source").arg(&file).finish().expect_code(2);
    ended.expect_error(&["no table that can be replicated"]);
    assert_untouched(&file);
}

#[test]
fn a_table_with_nothing_but_a_rowid_keeps_equal_rows_apart() {
    let scene = Scene::new();
    let file =
        scene.source_with("create table t (a); insert into t values (1), (1), (null), (null)");
    scene.catch_up(&file);
    execute(&file, "delete from t where rowid in (1, 3); insert into t values (1), (null)");
    scene.catch_up(&file);
    assert_eq!(scene.judge(&file).rows, 4);
}
