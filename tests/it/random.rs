//! The main claim, put to random statements: after every drain, PostgreSQL equals the file.
//!
//! `LITE2PG_SEED` chooses the statements (printed, so that a failure can be replayed) and
//! `LITE2PG_STATEMENTS` how many run in all. The same loop runs with the naive
//! [`reference`](crate::reference) in the product's place, which proves the loop.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rusqlite::Connection;

use crate::generator::bank;
use crate::generator::dice::Dice;
use crate::generator::features::Features;
use crate::generator::schema::Schema;
use crate::generator::session::Session;
use crate::judge::{self, Compared};
use crate::reference;
use crate::server::{Database, Target};

/// Statements in all when the environment does not say.
const STATEMENTS: u64 = 200_000;

/// Statements on one schema, and how often they are interrupted to compare.
const STATEMENTS_PER_SCHEMA: u64 = 2_000;
const BURSTS_PER_SCHEMA: u64 = 4;

/// Schemas at work at the same time: one per core of the smallest machine that runs this.
const WORKERS: u64 = 2;

/// A drain takes milliseconds; the first one also copies.
const DRAIN_MAX: Duration = Duration::from_secs(60);

/// Between two looks at a condition that is waited for.
const LOOK_INTERVAL: Duration = Duration::from_millis(3);

/// A number from the environment.
pub fn number_from_env(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")),
        Err(_) => otherwise,
    }
}

/// The seed of the n-th schema. The first is `LITE2PG_SEED` itself, so that any can be replayed.
pub fn schema_seed(n: u64) -> u64 {
    static FIRST: OnceLock<u64> = OnceLock::new();
    let first = FIRST.get_or_init(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let random = Dice::new(now.expect("the clock is past 1970").as_nanos() as u64).next() >> 1;
        let seed = number_from_env("LITE2PG_SEED", random);
        println!("LITE2PG_SEED={seed}");
        seed
    });
    first.wrapping_add(n.wrapping_mul(0x5851_f42d_4c95_7f2d)) & (u64::MAX >> 1)
}

/// Who is to make PostgreSQL follow the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    /// The product.
    Product,
    /// The stand-in.
    Reference,
    /// The stand-in, with one row too many.
    Careless,
}

/// Whoever makes PostgreSQL follow the file.
enum Follower {
    /// The product, running until it is told to stop.
    Product(Daemon),
    /// The stand-in, which copies when asked to drain, and then runs this.
    Reference(Target, &'static str),
}

impl Follower {
    fn start(who: Who, file: &Path, url: &str, directory: &Path) -> Self {
        match who {
            Who::Product => Self::Product(Daemon::start(file, url, directory)),
            Who::Reference => Self::Reference(Target::connect(url), ""),
            Who::Careless => Self::Reference(
                Target::connect(url),
                "insert into public.\"trigger count\" values ('planted', 1)",
            ),
        }
    }

    /// What the product said, if it is the product.
    fn talk(&self) -> String {
        match self {
            Self::Product(daemon) => daemon.talk(),
            Self::Reference(..) => String::new(),
        }
    }

    /// The judge found both sides equal; the product's own comparison must say the same.
    fn verify(&self, file: &Path, url: &str) -> Result<(), String> {
        let Self::Product(_) = self else { return Ok(()) };
        let ended = Command::new(env!("CARGO_BIN_EXE_lite2pg"))
            .args(["verify", "--json", "--log", "error", "--target", url, "--source"])
            .arg(file)
            .output()
            .expect("the program starts");
        let said: serde_json::Value = serde_json::from_slice(&ended.stdout)
            .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&ended.stderr)))?;
        let is_equal = said["drift_rows"] == 0 && said["in_flight"] == 0;
        if is_equal { Ok(()) } else { Err(format!("verify says: {said:#}")) }
    }

    /// Comes back once everything that is committed in the file is on the target.
    fn drain(&mut self, file: &Path) -> Result<(), String> {
        match self {
            Self::Reference(target, after) => {
                reference::copy_everything(file, target);
                target.run(after);
                Ok(())
            }
            Self::Product(daemon) => daemon.drain(),
        }
    }
}

/// `lite2pg run`, stopped with this value.
pub struct Daemon {
    child: Child,
    log: PathBuf,
    /// Asks for the position, once it can be asked for.
    target: Target,
    source: Connection,
}

impl Daemon {
    /// Starts it; it says what it has to say in a file below `directory`.
    pub fn start(file: &Path, url: &str, directory: &Path) -> Self {
        let log = directory.join("lite2pg.log");
        let stderr = File::create(&log).expect("the temporary directory is writable");
        let child = Command::new(env!("CARGO_BIN_EXE_lite2pg"))
            .arg("run")
            .arg("--source")
            .arg(file)
            .args(["--target", url])
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("the product was built with these tests");
        let source = Connection::open(file).expect("open the source");
        source.busy_timeout(DRAIN_MAX).expect("set the busy timeout");
        Self { child, log, target: Target::connect(url), source }
    }

    fn drain(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + DRAIN_MAX;
        loop {
            let place = match (self.head(), self.applied()) {
                (Some(head), Some((applied, true))) if head == applied => return Ok(()),
                other => format!("{other:?}"),
            };
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                return Err(format!("lite2pg ended with {status}\n{}", self.talk()));
            }
            if deadline < Instant::now() {
                let talk = self.talk();
                return Err(format!(
                    "not drained in {DRAIN_MAX:?}: (head, applied) {place}\n{talk}"
                ));
            }
            std::thread::park_timeout(LOOK_INTERVAL);
        }
    }

    /// Comes back once the target is in step with the schema and the rows of the file.
    pub fn settle(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + DRAIN_MAX;
        loop {
            let place = (self.place_of_source(), self.place_of_target());
            if place.0.is_some() && place.0 == place.1 {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                return Err(format!("lite2pg ended with {status}"));
            }
            if deadline < Instant::now() {
                return Err(format!("not in step in {DRAIN_MAX:?}: {place:?}"));
            }
            std::thread::park_timeout(LOOK_INTERVAL);
        }
    }

    /// The newest change and the schema's version; `None` before the changelog is installed.
    fn place_of_source(&self) -> Option<(String, String)> {
        let sql = "select (select max(seq) from _lite2pg_changelog), schema_version \
                   from pragma_schema_version";
        let text = |value: i64| value.to_string();
        self.source.query_row(sql, [], |row| Ok((text(row.get(0)?), text(row.get(1)?)))).ok()
    }

    /// The same as the target has it, once it is in step and nothing waits to be built.
    fn place_of_target(&self) -> Option<(String, String)> {
        let sql = "select applied, schema_version from lite2pg.position \
                   where consistent and phase = 'streaming' and not exists \
                       (select from lite2pg.objects where state = 'waiting' \
                                                      and kind <> 'foreign_key')";
        let rows = self.target.try_query(sql).ok()?;
        match rows.first()?.as_slice() {
            [Some(applied), Some(version)] => Some((applied.clone(), version.clone())),
            _ => None,
        }
    }

    /// The newest change; `None` before the changelog is installed.
    fn head(&self) -> Option<i64> {
        let sql = "select coalesce(max(seq), 0) from _lite2pg_changelog";
        self.source.query_row(sql, [], |row| row.get(0)).ok()
    }

    /// The applied position and whether the target is consistent; `None` before there is one.
    fn applied(&self) -> Option<(i64, bool)> {
        let rows =
            self.target.try_query("select applied, consistent from lite2pg.position").ok()?;
        match rows.first()?.as_slice() {
            [Some(applied), Some(consistent)] => Some((applied.parse().ok()?, consistent == "t")),
            _ => None,
        }
    }

    /// The end of what the product said.
    pub fn talk(&self) -> String {
        let talk = std::fs::read(&self.log).unwrap_or_default();
        let from = talk.len().saturating_sub(4_000);
        format!("lite2pg said:\n{}", String::from_utf8_lossy(&talk[from..]))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        if kill(pid, Signal::SIGTERM).is_err() {
            return;
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::park_timeout(LOOK_INTERVAL);
        }
        eprintln!("lite2pg did not stop on SIGTERM\n{}", self.talk());
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("lite2pg could not be killed: {error}");
        }
    }
}

/// Says how to replay a schema when a test panics over it.
pub struct SeedOnPanic(pub u64);

impl Drop for SeedOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with LITE2PG_SEED={}", self.0);
        }
    }
}

/// One schema from its first row to its last comparison.
fn run_schema(seed: u64, statements: u64, who: Who) -> Result<(Features, u64), String> {
    let _replay = SeedOnPanic(seed);
    let directory = tempfile::tempdir().expect("the temporary directory is writable");
    let file = directory.path().join("source.db");
    let database = Database::create();
    let mut dice = Dice::new(seed);
    let schema = Schema::random(&mut dice);
    let journal = dice.pick(&["wal", "delete"]);
    let mut session = Session::create(&file, &schema, journal)?;
    // Some rows are there before the product is, and some are written while it starts.
    session.run(statements / 20, &mut dice, &mut |_, _| Ok(()))?;
    let mut follower = Follower::start(who, &file, &database.url, directory.path());
    let mut values = 0;
    let mut outcome = Ok(());
    for burst in 1..=BURSTS_PER_SCHEMA {
        outcome = session
            .run(statements / BURSTS_PER_SCHEMA, &mut dice, &mut |_, _| Ok(()))
            .and_then(|()| follower.drain(&file))
            .and_then(|()| {
                let Compared { values: more, .. } = judge::compare(&file, &database.url, "public")
                    .map_err(|differences| differences.to_string())?;
                values += more;
                if burst == BURSTS_PER_SCHEMA {
                    follower.verify(&file, &database.url)
                } else {
                    Ok(())
                }
            });
        if outcome.is_err() {
            break;
        }
    }
    outcome.map_err(|what| {
        let talk = follower.talk();
        format!(
            "{what}\nseed {seed}, journal {journal}, schema:\n{};\nlast statements:\n{}\n{talk}\n\
             replay: LITE2PG_SEED={seed} LITE2PG_STATEMENTS={statements} \
             cargo test --test it random_statements -- --nocapture",
            schema.ddl.join(";\n"),
            session.history(),
        )
    })?;
    Ok((session.features, values))
}

/// Runs schema after schema on [`WORKERS`] threads until the statements are spent.
fn run_schemas(statements: u64, who: Who) -> Features {
    let per_schema = STATEMENTS_PER_SCHEMA.min(statements);
    let schemas = statements.div_ceil(per_schema);
    let next = AtomicU64::new(0);
    let total = Mutex::new((Features::default(), 0));
    let failure: Mutex<Option<String>> = Mutex::new(None);
    let failed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS.min(schemas) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if schemas <= n || failed.load(Ordering::Relaxed) {
                        return;
                    }
                    match run_schema(schema_seed(n), per_schema, who) {
                        Ok((features, values)) => {
                            let mut total = total.lock().expect("nobody panics with it");
                            total.0.add(&features);
                            total.1 += values;
                        }
                        Err(what) => {
                            failed.store(true, Ordering::Relaxed);
                            *failure.lock().expect("nobody panics with it") = Some(what);
                        }
                    }
                }
            });
        }
    });
    if let Some(what) = failure.into_inner().expect("nobody panics with it") {
        panic!("{what}");
    }
    let (features, values) = total.into_inner().expect("nobody panics with it");
    println!("{features}\n{values:>10}  values compared, on {schemas} schemas");
    features
}

/// After every burst of random statements, and a drain, both sides hold the same rows.
#[test]
fn random_statements_leave_both_sides_equal() {
    let statements = number_from_env("LITE2PG_STATEMENTS", STATEMENTS);
    let features = run_schemas(statements, Who::Product);
    assert!(statements <= features.statements, "only {} ran", features.statements);
    if STATEMENTS <= statements {
        features.assert_all_nonzero();
    }
}

/// What a reader of the bank saw.
struct Audit {
    snapshots: u64,
    /// Snapshots that differed from the one before.
    fresh: u64,
}

/// Lets the reader of the bank end, also when the writer fails.
struct EndsReader<'a>(&'a AtomicBool);

impl Drop for EndsReader<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Moves money with `transfers` transactions while a reader on the target checks, in every
/// snapshot, that no money is lost between accounts.
fn run_bank(seed: u64, transfers: u64, who: Who) -> Result<Audit, String> {
    const ACCOUNTS: usize = 40;
    let directory = tempfile::tempdir().expect("the temporary directory is writable");
    let file = directory.path().join("bank.db");
    let database = Database::create();
    let source = Connection::open(&file).expect("open the source");
    source.busy_timeout(DRAIN_MAX).expect("set the busy timeout");
    source
        .execute_batch(&format!(
            "pragma journal_mode = wal; pragma synchronous = off; {}",
            bank::schema(ACCOUNTS)
        ))
        .expect("the schema is valid");
    let mut follower = Follower::start(who, &file, &database.url, directory.path());
    follower.drain(&file)?;
    let done = AtomicBool::new(false);
    let audit = std::thread::scope(|scope| {
        let ends = EndsReader(&done);
        let reader = scope.spawn(|| read_bank(&database.url, ACCOUNTS, &done, who));
        let mut dice = Dice::new(seed);
        for n in 0..transfers {
            let statements = bank::transfer(ACCOUNTS, &mut dice).join("; ");
            let end = if dice.percent(10) { "rollback" } else { "commit" };
            source
                .execute_batch(&format!("begin immediate; {statements}; {end}"))
                .unwrap_or_else(|error| panic!("{error}: {statements}"));
            if let (Follower::Reference(..), 0) = (&follower, n % 20) {
                follower.drain(&file)?;
            }
        }
        let drained = follower.drain(&file);
        drop(ends);
        let audit = reader.join().expect("the reader does not panic");
        drained.and(audit)
    })?;
    judge::compare(&file, &database.url, "public").map_err(|found| found.to_string())?;
    Ok(audit)
}

/// Reads the bank until `done`, once at least.
fn read_bank(url: &str, accounts: usize, done: &AtomicBool, who: Who) -> Result<Audit, String> {
    let target = Target::connect(url);
    let consistent =
        if who == Who::Product { "(select consistent from lite2pg.position)" } else { "true" };
    let sql = format!(
        "select {consistent}, count(*), sum(balance), \
         md5(string_agg(id || ' ' || balance, ',' order by id)) from public.account"
    );
    let expected = (accounts.to_string(), bank::sum(accounts).to_string());
    let mut audit = Audit { snapshots: 0, fresh: 0 };
    let mut last = None;
    loop {
        let ends = done.load(Ordering::Relaxed);
        let rows = target.query(&sql);
        let [Some(consistent), count, sum, digest] = rows[0].as_slice() else {
            return Err(format!("the bank cannot be read: {rows:?}"));
        };
        if consistent == "t" {
            audit.snapshots += 1;
            let seen = (count.clone().unwrap_or_default(), sum.clone().unwrap_or_default());
            if seen != expected {
                return Err(format!("half a transaction was seen: {seen:?}, not {expected:?}"));
            }
            if last.as_ref() != Some(digest) {
                audit.fresh += 1;
                last = Some(digest.clone());
            }
        }
        if ends {
            return Ok(audit);
        }
    }
}

/// A reader on PostgreSQL sees whole transactions only.
#[test]
fn every_snapshot_of_the_bank_has_the_same_sum() {
    let seed = schema_seed(0);
    let audit =
        run_bank(seed, 40_000, Who::Product).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    println!("{} snapshots, {} of them fresh", audit.snapshots, audit.fresh);
    assert!(10 <= audit.fresh, "the reader saw only {} different states", audit.fresh);
}

mod tests {
    use super::*;

    #[test]
    fn the_loop_runs_with_the_reference_in_the_products_place() {
        let features =
            run_schemas(number_from_env("LITE2PG_SELFTEST_STATEMENTS", 8_000), Who::Reference);
        assert!(8_000 <= features.statements);
    }

    #[test]
    fn the_loop_finds_one_row_too_many_and_says_how_to_replay() {
        let report = run_schema(11, 200, Who::Careless).map(|(_, values)| values);
        let report = report.expect_err("a row was planted");
        for part in ["planted", "LITE2PG_SEED=11", "CREATE TABLE", "last statements"] {
            assert!(report.contains(part), "{part} is not in {report}");
        }
    }

    #[test]
    fn the_workload_does_everything_it_is_for() {
        let mut features = Features::default();
        for n in 0..40 {
            let directory = tempfile::tempdir().expect("the temporary directory is writable");
            let mut dice = Dice::new(n);
            let schema = Schema::random(&mut dice);
            let file = directory.path().join("source.db");
            let mut session = Session::create(&file, &schema, "wal")
                .unwrap_or_else(|error| panic!("seed {n}: {error}"));
            session.run(800, &mut dice, &mut |_, _| Ok(())).unwrap_or_else(|error| {
                panic!("seed {n}: {error}\n{}\n{}", schema.ddl.join(";\n"), session.history())
            });
            features.add(&session.features);
        }
        println!("{features}");
        features.assert_all_nonzero();
    }

    #[test]
    fn the_same_seed_gives_the_same_rows() {
        let run = || {
            let directory = tempfile::tempdir().expect("the temporary directory is writable");
            let mut dice = Dice::new(7);
            let schema = Schema::random(&mut dice);
            let file = directory.path().join("source.db");
            let mut session = Session::create(&file, &schema, "wal").expect("the schema is valid");
            session.run(500, &mut dice, &mut |_, _| Ok(())).expect("the statements are valid");
            session.history()
        };
        assert_eq!(run(), run());
    }

    #[test]
    fn the_bank_adds_up_with_the_reference() {
        let audit = run_bank(1, 400, Who::Reference).unwrap_or_else(|what| panic!("{what}"));
        assert!(5 <= audit.fresh, "the reader saw only {} different states", audit.fresh);
    }

    #[test]
    fn half_a_transfer_is_seen() {
        let database = Database::create();
        let target = Target::connect(&database.url);
        target.run("create table account (id bigint, balance bigint)");
        target.run("insert into account select i, 1000 from generate_series(1, 40) i");
        let done = AtomicBool::new(true);
        assert!(read_bank(&database.url, 40, &done, Who::Reference).is_ok());
        target.run("update account set balance = balance - 1 where id = 7");
        assert!(read_bank(&database.url, 40, &done, Who::Reference).is_err());
    }
}
