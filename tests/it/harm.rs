//! The application is not harmed: what it gets from SQLite with the sidecar is what it gets
//! without.
//!
//! Locks are counted from the side of a writer that has no busy timeout, on two files in the same
//! run. `LITE2PG_BUSY_SECONDS` makes each measurement longer and prints a table for
//! docs/measurements.md.

use std::collections::BTreeMap;
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
use crate::server::{Database, Target};
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
    directory: tempfile::TempDir,
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
        Self { directory, file, connection, written: 0 }
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
        assert!(100 < with.operations || rate == 20);
        assert_eq!((without.busy, with.busy), (0, 0), "of {} operations", with.operations);
    }
}

#[test]
fn a_writer_in_rollback_mode_meets_few_locks() {
    for journal in ["delete", "truncate", "persist"] {
        for rate in [20, 200, 0] {
            let Compared { without, with, .. } = compare(journal, rate, seconds(3));
            assert_eq!(without.busy, 0);
            let allowed = with.operations / 20 + 3;
            assert!(with.busy <= allowed, "{} of {} operations", with.busy, with.operations);
        }
    }
}
