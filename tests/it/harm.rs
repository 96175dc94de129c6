//! The application is not harmed: what it gets from SQLite with the sidecar is what it gets
//! without.
//!
//! Locks are counted from the side of a writer that has no busy timeout, on two files in the same
//! run. `LITE2PG_BUSY_SECONDS` makes each measurement longer and prints a table for
//! docs/measurements.md.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rusqlite::{Connection, ErrorCode};

use crate::generator::dice::Dice;
use crate::generator::schema::{Schema, quoted};
use crate::generator::session::CONNECTIONS;
use crate::generator::statements::{Author, Step};
use crate::random::{SeedOnPanic, number_from_env, schema_seed};
use crate::server::Database;
use crate::support::cluster::ThrowawayCluster;
use crate::support::scene::{Scene, await_step, head};
use crate::support::sidecar::{LIMIT, Launch, Sidecar, wait_until};
use crate::support::workload::Options;

/// What a writer without a busy timeout met.
#[derive(Clone, Copy, Debug, Default)]
struct Met {
    operations: u64,
    busy: u64,
}

/// A file with one table, in a journal mode, and who writes to it.
struct Application {
    _directory: tempfile::TempDir,
    file: PathBuf,
    connection: Connection,
    written: i64,
}

impl Application {
    fn new(journal: &str) -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        let file = directory.path().join("source.db");
        let connection = Connection::open(&file).expect("open the source");
        connection
            .execute_batch(&format!(
                "pragma journal_mode = {journal};
                 create table note (id integer primary key, at integer, body text);
                 create index note_at on note (at);
                 insert into note values (0, 0, 'first')"
            ))
            .expect("the schema is valid");
        connection.busy_timeout(Duration::ZERO).expect("set the busy timeout");
        Self { _directory: directory, file, connection, written: 0 }
    }

    /// Writes one small transaction after another, `rate` a second (0 is as fast as it can).
    fn write(&mut self, rate: u32, duration: Duration) -> Met {
        let mut met = Met::default();
        let begun = Instant::now();
        while begun.elapsed() < duration {
            if 0 < rate {
                let due = Duration::from_secs_f64(met.operations as f64 / f64::from(rate));
                if let Some(left) = due.checked_sub(begun.elapsed()) {
                    std::thread::park_timeout(left);
                }
            }
            self.written += 1;
            met.operations += 1;
            let id = self.written;
            let sql = match id % 3 {
                0 => "delete from note where id = ?1 - 500",
                1 => "update note set at = at + 1 where id = ?1 - 200",
                _ => "insert into note values (?1, ?1, hex(randomblob(40)))",
            };
            let done = self.connection.prepare_cached(sql).and_then(|mut it| it.execute([id]));
            match done {
                Ok(_) => {}
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                    met.busy += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        met
    }

    fn patiently(&self, sql: &str) {
        self.connection.busy_timeout(LIMIT).expect("set the busy timeout");
        self.connection.execute_batch(sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
        self.connection.busy_timeout(Duration::ZERO).expect("set the busy timeout");
    }
}

/// One measurement: the same writer on a file that nobody else touches and on one that is followed.
struct Compared {
    journal: &'static str,
    rate: u32,
    without: Met,
    with: Met,
}

impl std::fmt::Display for Compared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { journal, rate, without, with } = self;
        let rate = if *rate == 0 { "max".to_owned() } else { rate.to_string() };
        write!(
            f,
            "| {journal} | {rate} | {} | {} | {} | {} |",
            without.operations, without.busy, with.operations, with.busy
        )
    }
}

/// How long each side of a measurement lasts.
fn seconds(otherwise: u64) -> Duration {
    Duration::from_secs(number_from_env("LITE2PG_BUSY_SECONDS", otherwise))
}

fn compare(journal: &'static str, rate: u32, duration: Duration) -> Compared {
    let without = Application::new(journal).write(rate, duration);
    let mut followed = Application::new(journal);
    let database = Database::create();
    let mut sidecar = Launch::run(&followed.file, &database.url).start();
    await_in_step(&mut sidecar, &followed.file, &database.url);
    let with = followed.write(rate, duration);
    await_step(&mut sidecar, &followed.file, &database.url);
    sidecar.terminate().expect_code(0);
    crate::support::scene::assert_equal(&followed.file, &database.url, "public");
    let compared = Compared { journal, rate, without, with };
    println!("{compared}");
    compared
}

/// It streams: triggers are installed, the copy is over.
fn await_in_step(sidecar: &mut Sidecar, file: &Path, url: &str) {
    sidecar.await_line("in step", LIMIT);
    await_step(sidecar, file, url);
}

#[test]
fn a_writer_in_wal_mode_meets_no_more_locks_than_without() {
    for rate in [20, 500, 0] {
        let Compared { without, with, .. } = compare("wal", rate, seconds(4));
        assert_eq!((without.busy, with.busy), (0, 0), "of {} operations", with.operations);
    }
}

/// A reader keeps a commit from happening, and a writer that never pauses leaves no moment to
/// read in: it fails, several times over if it tries again at once, in the millisecond or two (of
/// an unoptimised build) that a read takes, at most every 50 ms.
#[test]
fn a_writer_in_rollback_mode_meets_few_locks() {
    for journal in ["delete", "truncate", "persist"] {
        for rate in [20, 200, 0] {
            let duration = seconds(3);
            let Compared { without, with, .. } = compare(journal, rate, duration);
            assert_eq!(without.busy, 0);
            let allowed = 3 + with.operations / if rate == 0 { 8 } else { 10 };
            assert!(with.busy <= allowed, "{} of {}", with.busy, with.operations);
        }
    }
}

/// Entries that are old enough to go wait for a moment without writes, and go then.
#[test]
fn pruning_leaves_a_busy_writer_alone() {
    let cluster = ThrowawayCluster::durable();
    let url = cluster.url("pruned");
    let mut application = Application::new("wal");
    let mut sidecar = Launch::run(&application.file, &url)
        .args(["--retention", "1h", "--prune-interval", "100ms"])
        .start();
    await_in_step(&mut sidecar, &application.file, &url);
    application.write(0, Duration::from_secs(2));
    await_step(&mut sidecar, &application.file, &url);
    application.patiently("update _lite2pg_changelog set at = at - 1.5 / 24");
    let tail = |application: &Application| -> i64 {
        let sql = "select min(seq) from _lite2pg_changelog";
        application.connection.query_row(sql, [], |row| row.get(0)).expect("there are entries")
    };
    let before = tail(&application);
    let met = application.write(200, seconds(5));
    assert_eq!((met.busy, tail(&application)), (0, before), "of {} operations", met.operations);
    let is_pruned = || (before < tail(&application)).then_some(());
    sidecar.until(is_pruned).expect("a second without writes comes");
    // And it goes on while the application writes now and then.
    let met = application.write(1, seconds(5));
    assert_eq!(met.busy, 0, "of {} operations", met.operations);
    await_step(&mut sidecar, &application.file, &url);
    sidecar.terminate().expect_code(0);
    crate::support::scene::assert_equal(&application.file, &url, "public");
}

/// The log can be reset only while nobody reads from it.
#[test]
fn the_wal_does_not_grow_while_a_table_is_copied_or_followed() {
    let scene = Scene::with(Options { ballast_rows: 40_000, rate: 500, ..Options::new(1) });
    let wal = scene.directory().join("source.db-wal");
    let application = Connection::open(&scene.file).expect("open the source");
    let emptied = application.query_row("pragma wal_checkpoint(truncate)", [], |row| row.get(0));
    assert_eq!(emptied, Ok(0), "nobody reads yet");
    let size = || std::fs::metadata(&wal).map_or(0, |wal| wal.len());
    let mut sidecar = scene.run(scene.url()).args(["--copy-rows-per-second", "20000"]).start();
    scene.await_mid_copy(&mut sidecar);
    let writer = scene.write();
    let mut largest = 0;
    for _ in 0..15 {
        writer.await_commits(100);
        largest = largest.max(size());
    }
    scene.await_streaming(&mut sidecar);
    for _ in 0..15 {
        writer.await_commits(100);
        largest = largest.max(size());
    }
    writer.stop();
    println!("the log reached {} KiB", largest / 1024);
    // One transaction in twenty rewrites 1.7 MB of pages, 100 MB in all; SQLite starts the log anew
    // at the first commit past 4 MB that no reader sees.
    assert!(largest < 48 << 20, "{largest} bytes");
    scene.end(sidecar);
}

/// Locks that a process holds on a file, as `/proc/locks` tells.
#[cfg(target_os = "linux")]
fn locks_of(pid: Pid, file: &Path) -> Vec<(String, u64)> {
    use std::os::unix::fs::MetadataExt;
    let inode = std::fs::metadata(file).expect("the file is there").ino().to_string();
    let locks = std::fs::read_to_string("/proc/locks").expect("Linux has one");
    let of = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_ours = *words.get(4)? == pid.to_string()
            && words.get(5)?.rsplit(':').next() == Some(inode.as_str());
        is_ours.then(|| (words[3].to_owned(), words[6].parse().expect("a lock begins somewhere")))
    };
    locks.lines().filter_map(of).collect()
}

/// In WAL mode SQLite holds two locks for as long as a connection is open: on the database and on
/// the -shm. Closing *any* descriptor of these files in the process drops them, and SQLite would
/// never know. So as long as they are there, nobody has opened and closed one.
#[cfg(target_os = "linux")]
#[test]
fn the_locks_of_sqlite_survive_everything_the_sidecar_does() {
    const SHARED_FIRST: u64 = 0x4000_0002;
    const SHM_ALIVE: u64 = 128;
    let scene = Scene::with(Options { ballast_rows: 20_000, rate: 200, ..Options::new(2) });
    let (proxy, url) = scene.through_proxy();
    let mut sidecar = scene.run(&url).args(["--copy-rows-per-second", "10000"]).start();
    let shm = scene.directory().join("source.db-shm");
    // A session that begins anew closes the file and opens it again; a lock that was dropped in one
    // that goes on does not come back.
    let check = |sidecar: &Sidecar, when: &str| {
        let read = |first| ("READ".to_owned(), first);
        let of = |file: &Path| locks_of(sidecar.pid(), file);
        let is_whole = || {
            let is_held = of(&scene.file).contains(&read(SHARED_FIRST))
                && of(&shm).contains(&read(SHM_ALIVE));
            is_held.then_some(())
        };
        wait_until(Duration::from_secs(2), is_whole)
            .unwrap_or_else(|| panic!("{when}: {:?} {:?}", of(&scene.file), of(&shm)));
    };
    scene.await_mid_copy(&mut sidecar);
    check(&sidecar, "in the copy");
    let writer = scene.write();
    scene.await_streaming(&mut sidecar);
    writer.await_commits(100);
    check(&sidecar, "while streaming");
    proxy.cut_all();
    writer.await_commits(100);
    check(&sidecar, "after a cut");
    let application = Connection::open(&scene.file).expect("open the source");
    application.busy_timeout(LIMIT).expect("set the busy timeout");
    application.execute_batch("create table added (id integer primary key)").expect("a table");
    writer.await_commits(100);
    writer.stop();
    scene.await_step(&mut sidecar);
    check(&sidecar, "after a change of the schema");
    scene.end(sidecar);
}

/// Runs the product under strace until in step, lets an application write, and returns what was
/// traced: system calls that name or write a file, each with the stack it came from.
#[cfg(target_os = "linux")]
fn trace(scene: &Scene) -> String {
    let log = scene.directory().join("trace");
    let mut strace = Command::new("strace")
        .args(["-f", "-k", "-y", "-e", "trace=openat,open,creat,pwrite64,ftruncate", "-o"])
        .arg(&log)
        .arg(env!("CARGO_BIN_EXE_lite2pg"))
        .args(["run", "--target", scene.url(), "--source"])
        .arg(&scene.file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("strace is installed (deploy/setup.sh does that)");
    let children = format!("/proc/{0}/task/{0}/children", strace.id());
    let child = wait_until(LIMIT, || {
        // strace has short-lived children of its own, by which it finds out what the kernel can do.
        let listed = std::fs::read_to_string(&children).ok()?;
        let is_ours = |pid: &&str| {
            std::fs::read_link(format!("/proc/{pid}/exe"))
                .is_ok_and(|exe| exe == Path::new(env!("CARGO_BIN_EXE_lite2pg")))
        };
        listed.split_ascii_whitespace().find(is_ours)?.parse().ok().map(Pid::from_raw)
    });
    let child = child.expect("strace starts the product");
    let target = scene.target();
    let streams = "select to_regclass('lite2pg.position') is not null";
    crate::support::scene::await_on_target(&target, LIMIT, streams);
    let streams = "select coalesce((select phase = 'streaming' from lite2pg.position), false)";
    crate::support::scene::await_on_target(&target, LIMIT, streams);
    let writer = scene.write();
    writer.await_commits(100);
    writer.stop();
    let applied = || (scene.applied() == Some(head(&scene.file))).then_some(());
    wait_until(LIMIT, applied).expect("it gets in step");
    kill(child, Signal::SIGTERM).expect("it runs");
    let ended = strace.wait().expect("strace is ours");
    assert!(ended.success(), "{ended}");
    std::fs::read_to_string(&log).expect("strace writes where it is told")
}

/// Every open of the database, its -wal, -shm or -journal comes out of SQLite's own `robust_open`;
/// in WAL mode nothing is ever written to the database itself, which only a checkpoint would do.
#[cfg(target_os = "linux")]
#[test]
fn only_sqlite_opens_the_database_files_and_nobody_checkpoints() {
    for journal in ["wal", "delete"] {
        let scene = Scene::with(Options { journal, ..Options::new(3) });
        let trace = trace(&scene);
        let file = scene.file.to_str().expect("a path of a fixture");
        let lines: Vec<&str> = trace.lines().collect();
        let mut opened = 0;
        for (at, line) in lines.iter().enumerate() {
            let stack = lines[at + 1..].iter().take_while(|line| line.starts_with(" > "));
            if line.contains("open") && line.contains(&format!("\"{file}")) {
                opened += 1;
                let is_sqlite = stack.clone().any(|frame| frame.contains("robust_open"));
                assert!(is_sqlite, "{line}\n{}", stack.copied().collect::<Vec<_>>().join("\n"));
            }
            let writes = line.contains("pwrite64") || line.contains("ftruncate");
            if journal == "wal" && writes {
                assert!(!line.contains(&format!("<{file}>")), "a checkpoint: {line}");
            }
        }
        assert!(2 <= opened, "{opened} opens seen in {} lines", lines.len());
        scene.assert_equal();
    }
}

/// What an application can learn from a statement.
#[derive(Debug, PartialEq)]
struct Learned {
    rows: Vec<String>,
    error: Option<String>,
    changes: u64,
    last_insert_rowid: i64,
    is_in_transaction: bool,
}

fn learn(connection: &Connection, sql: &str) -> Learned {
    let run = || -> rusqlite::Result<Vec<String>> {
        let mut statement = connection.prepare(sql)?;
        let width = statement.column_count();
        let mut rows = statement.query([])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            let values: Result<Vec<_>, _> =
                (0..width).map(|at| row.get_ref(at).map(|value| format!("{value:?}"))).collect();
            all.push(values?.join(", "));
        }
        Ok(all)
    };
    let (rows, error) = match run() {
        Ok(rows) => (rows, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    Learned {
        rows,
        error,
        changes: connection.changes(),
        last_insert_rowid: connection.last_insert_rowid(),
        is_in_transaction: !connection.is_autocommit(),
    }
}

fn text_of(step: &Step) -> String {
    match step {
        Step::Begin(kind) => format!("begin {kind}"),
        Step::Run(statement) => statement.sql.clone(),
        Step::Savepoint(name) => format!("savepoint {name}"),
        Step::RollbackTo(name) => format!("rollback to {name}"),
        Step::Release(name) => format!("release {name}"),
        Step::Commit => "commit".to_owned(),
        Step::Rollback => "rollback".to_owned(),
    }
}

/// One file without triggers and one with, each with connections as an application has them.
fn two_files(directory: &Path, schema: &Schema) -> [Vec<Connection>; 2] {
    ["bare.db", "captured.db"].map(|name| {
        let file = directory.join(name);
        let connections: Vec<Connection> = (0..CONNECTIONS)
            .map(|at| {
                let connection = Connection::open(&file).expect("open");
                let foreign_keys = u8::from(at != 2);
                connection
                    .execute_batch(&format!(
                        "pragma synchronous = off; pragma foreign_keys = {foreign_keys}"
                    ))
                    .expect("set pragmas");
                connection
            })
            .collect();
        for sql in &schema.ddl {
            connections[0].execute_batch(sql).expect("the schema is valid");
        }
        if name == "captured.db" {
            Launch::new("install").arg("--source").arg(&file).finish().expect_code(0);
        }
        connections
    })
}

/// SQLite does not always find, on a table without triggers, that REPLACE leaves a row whose parent
/// does not exist; on one that has a trigger it does, and refuses the statement: because of the
/// foreign key, or because the row that is being updated would go by its own cascade
/// (`SQLITE_CONSTRAINT_PINNED`, which has no words of its own).
fn is_missed_reference(bare: &Connection, without: &Learned, with: &Learned) -> bool {
    let refusals = ["FOREIGN KEY constraint failed", "constraint failed"];
    let is_refused = with.error.as_deref().is_some_and(|error| refusals.contains(&error));
    is_refused
        && without.error.is_none()
        && !learn(bare, "pragma foreign_key_check").rows.is_empty()
}

/// Rows, errors, `changes()`, `last_insert_rowid()`, RETURNING and the state of the transaction are
/// the same with our triggers as without. (`total_changes()` counts the work of triggers, ours
/// included. And where a trigger of any kind is there, an INSERT that a foreign key refuses is
/// refused after the row was tried, so `last_insert_rowid()` may name that row until the next
/// INSERT; it is compared again from there on.)
#[test]
fn statements_tell_the_application_the_same_with_triggers_as_without() {
    'schemas: for n in 0..number_from_env("LITE2PG_SCHEMAS", 12) {
        let seed = schema_seed(n);
        let _replay = SeedOnPanic(seed);
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        let mut dice = Dice::new(seed);
        let schema = Schema::random(&mut dice);
        let [bare, captured] = two_files(directory.path(), &schema);
        let mut statements = 0;
        let mut is_stale = [false; CONNECTIONS];
        while statements < 600 {
            let count = |table: &crate::generator::schema::Table| -> usize {
                let sql = format!("select count(*) from {}", quoted(&table.name));
                let count: i64 = bare[0].query_row(&sql, [], |row| row.get(0)).expect("a count");
                usize::try_from(count).expect("few rows")
            };
            let rows: Vec<usize> = schema.tables.iter().map(count).collect();
            let unit = Author::new(&schema, &mut dice).unit(&rows, CONNECTIONS);
            let texts = unit.pragma.iter().map(|pragma| (*pragma).to_owned());
            for sql in texts.chain(unit.steps.iter().map(text_of)) {
                let at = unit.connection;
                let (without, mut with) = (learn(&bare[at], &sql), learn(&captured[at], &sql));
                if without.error.is_some() {
                    is_stale[at] = true;
                } else if without.last_insert_rowid == with.last_insert_rowid {
                    is_stale[at] = false;
                }
                if is_stale[at] {
                    with.last_insert_rowid = without.last_insert_rowid;
                }
                if is_missed_reference(&bare[at], &without, &with) {
                    // From here on the two files differ by SQLite's own mistake.
                    continue 'schemas;
                }
                assert_eq!(without, with, "seed {seed}: {sql}\n{}", schema.ddl.join(";\n"));
                statements += 1;
            }
            // A COMMIT that a deferred reference refused leaves its transaction open.
            for connection in [&bare[unit.connection], &captured[unit.connection]] {
                if !connection.is_autocommit() {
                    connection.execute_batch("rollback").expect("a rollback needs no lock");
                }
            }
        }
    }
}

/// What triggers/README.md says about a changelog that somebody dropped.
#[test]
fn without_its_changelog_a_write_fails_by_name_and_the_readme_mends_it() {
    let application = Application::new("wal");
    Launch::new("install").arg("--source").arg(&application.file).finish().expect_code(0);
    application.patiently("drop table _lite2pg_changelog");
    let told = learn(&application.connection, "insert into note values (-1, 0, 'x')");
    let missing = "no such table: main._lite2pg_changelog";
    assert!(told.error.as_ref().is_some_and(|error| error.contains(missing)), "{told:?}");
    let readme = include_str!("../../triggers/README.md");
    let sql = readme.split("```sql").nth(1).and_then(|sql| sql.split("```").next());
    let drops = learn(&application.connection, sql.expect("the README holds it")).rows;
    assert!(!drops.is_empty());
    for drop in drops {
        let drop = drop.trim_start_matches("Text(").trim_end_matches(')');
        let bytes: Vec<u8> = drop
            .trim_matches(['[', ']'])
            .split(", ")
            .map(|byte| byte.parse().expect("text is shown as its bytes"))
            .collect();
        application.patiently(std::str::from_utf8(&bytes).expect("names are text"));
    }
    assert_eq!(learn(&application.connection, "insert into note values (-1, 0, 'x')").error, None);
}
