//! kill -9 at every failpoint, and of the writer: the target always converges.
//!
//! Every scene has a live writer, and a reader on the target that adds up the bank in every
//! snapshot from the first consistent one on. The sidecar is armed to kill itself at a named point;
//! that SIGKILL ended it proves that the point was passed. Then it is started again, the writer
//! stops, and the judge compares every value of both sides.
//!
//! `LITE2PG_CRASH_ROUNDS` says how many rounds of random double crashes follow, `LITE2PG_SEED`
//! replays them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lite2pg::failpoint;
use rusqlite::Connection;

use crate::generator::bank;
use crate::generator::dice::Dice;
use crate::judge;
use crate::random::{SeedOnPanic, number_from_env, schema_seed};
use crate::server::Target;
use crate::support::cluster::ThrowawayCluster;
use crate::support::database::TestDatabase;
use crate::support::sidecar::{LIMIT, Launch, Sidecar, wait_until};
use crate::support::workload::{self, ACCOUNTS, Options, Writer, WriterProcess};

/// Passed while the triggers are put in and the target's tables are made.
const PREPARE: &[&str] = &[
    failpoint::INSTALL_BEGUN,
    failpoint::INSTALL_TABLES_MADE,
    failpoint::INSTALL_TABLE_DONE,
    failpoint::INSTALL_TRIGGERS_MADE,
    failpoint::INSTALL_BEFORE_COMMIT,
    failpoint::INSTALL_COMMITTED,
    failpoint::TARGET_MIGRATED,
    failpoint::TARGET_TABLE_MADE,
    failpoint::TARGET_BEFORE_COMMIT,
    failpoint::TARGET_PREPARED,
];

/// Passed between the first chunk and the moment when the target is in step.
const COPY: &[&str] = &[
    failpoint::COPY_CHUNK_READ,
    failpoint::COPY_BEGUN,
    failpoint::COPY_CHUNK_SENT,
    failpoint::COPY_BEFORE_COMMIT,
    failpoint::COPY_CHUNK_COMMITTED,
    failpoint::COPY_ROWS_DONE,
    failpoint::COPY_KEY_BUILT,
    failpoint::COPY_DONE,
    failpoint::CAUGHT_UP,
    failpoint::INDEX_BUILT,
    failpoint::INDEXES_DONE,
];

/// Passed by replay, as long as somebody writes.
const REPLAY: &[&str] = &[
    failpoint::REPLAY_READ,
    failpoint::APPLY_BEGUN,
    failpoint::APPLY_DELETED,
    failpoint::APPLY_UPSERTED,
    failpoint::APPLY_DISPLACED,
    failpoint::APPLY_POSITION_MOVED,
    failpoint::APPLY_BEFORE_COMMIT,
    failpoint::APPLY_COMMITTED,
];

/// Passed by a server that keeps what it commits.
const PRUNE: &[&str] =
    &[failpoint::PRUNE_BEGUN, failpoint::PRUNE_DELETED, failpoint::PRUNE_COMMITTED];

/// Passed when the source's columns have changed; tests/it/alter.rs dies there.
const ALTER: &[&str] = &[failpoint::TARGET_TABLE_ALTERED];

/// Passed when writes went unseen; tests/it/health.rs dies there.
const UNSEEN: &[&str] = &[
    failpoint::UNSEEN_MARKED,
    failpoint::UNSEEN_TOUCHED,
    failpoint::UNSEEN_ARCHIVED,
    failpoint::UNSEEN_COMPARED,
    failpoint::UNSEEN_PROVEN,
    failpoint::UNSEEN_BEFORE_COMMIT,
];

/// Passed when the changelog is gone; tests/it/stranded.rs dies there.
const FREE: &[&str] = &[failpoint::FREE_BEFORE_COMMIT];

/// Passed by `uninstall`.
const UNINSTALL: &[&str] = &[failpoint::UNINSTALL_BEFORE_COMMIT];

/// Rounds of random double crashes when the environment does not say.
const ROUNDS: u64 = 12;

/// How long a sidecar that is armed at a random point may live without passing it.
const LIFE_MAX: Duration = Duration::from_millis(1_500);

/// A file, a writer, a target, and a reader who watches it.
struct Scene {
    directory: tempfile::TempDir,
    file: PathBuf,
    url: String,
    /// How the product is run.
    arguments: &'static [&'static str],
    options: Options,
    audit: Audit,
    target: Target,
    _database: Option<TestDatabase>,
}

impl Scene {
    fn new(options: Options) -> Self {
        let database = TestDatabase::create();
        let url = database.url().to_owned();
        Self::on(url, options, Some(database))
    }

    fn on(url: String, options: Options, database: Option<TestDatabase>) -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        let file = directory.path().join("source.db");
        workload::create(&file, &options);
        let (audit, target) = (Audit::start(&url), Target::connect(&url));
        let arguments = &[];
        Self { directory, file, url, arguments, options, audit, target, _database: database }
    }

    /// The target's tables are there already, with their keys, indexes and foreign keys.
    fn adopting(options: Options) -> Self {
        let scene = Self::new(options);
        let schema = Launch::new("schema").arg("--source").arg(&scene.file).finish();
        scene.target.run(&schema.expect_code(0).stdout);
        Self { arguments: &["--adopt"], ..scene }
    }

    fn run(&self) -> Launch {
        Launch::run(&self.file, &self.url).args(self.arguments)
    }

    fn write(&self) -> Writer {
        Writer::start(&self.file, &self.options)
    }

    /// Runs until the sidecar has killed itself at the point.
    fn die_at(&self, name: &str, passing: u32, arguments: &[&str]) {
        let ended = self.run().args(arguments).dying_at(name, passing).finish();
        assert!(ended.was_killed(), "{name} was not passed {passing} times: {ended}");
    }

    /// What the ledger says: applied position, and whether the target is consistent.
    fn standing(&self) -> Option<(i64, bool, String)> {
        let rows = self
            .target
            .try_query("select applied, consistent, phase from lite2pg.position")
            .ok()?;
        match rows.first()?.as_slice() {
            [Some(applied), Some(consistent), Some(phase)] => {
                Some((applied.parse().ok()?, consistent == "t", phase.clone()))
            }
            _ => None,
        }
    }

    fn await_in_step(&self, sidecar: &mut Sidecar) {
        let reached = sidecar.until(|| {
            self.standing()
                .filter(|(_, is_consistent, phase)| *is_consistent && phase == "streaming")
        });
        assert!(reached.is_some(), "lite2pg ended: {}", sidecar.stderr());
    }

    /// Waits until everything committed is applied, and has both sides compared.
    fn converge(&self, sidecar: &mut Sidecar) {
        let source = Connection::open(&self.file).expect("open the source");
        source.busy_timeout(LIMIT).expect("set the busy timeout");
        let drained = sidecar.until(|| {
            let head: i64 = source
                .query_row("select max(seq) from _lite2pg_changelog", [], |row| row.get(0))
                .ok()?;
            self.standing().filter(|(applied, is_consistent, phase)| {
                *is_consistent && head == *applied && phase == "streaming"
            })
        });
        assert!(drained.is_some(), "lite2pg ended: {}", sidecar.stderr());
        self.judge();
    }

    fn judge(&self) {
        if let Err(found) = judge::compare(&self.file, &self.url, "public") {
            panic!("the sides differ: {found}");
        }
        self.audit.check();
    }

    /// The usual end: start again while the writer goes on, stop the writer, compare, stop.
    fn recover(&self, writer: Writer) {
        let mut sidecar = self.run().start();
        self.await_in_step(&mut sidecar);
        writer.await_commits(20);
        writer.stop();
        self.converge(&mut sidecar);
        sidecar.terminate().expect_code(0);
    }
}

/// Adds up the bank on the target, in one snapshot after the other.
struct Audit {
    shared: Arc<Audited>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Audited {
    is_over: AtomicBool,
    /// Consistent snapshots seen.
    snapshots: AtomicU64,
    /// A snapshot with another sum was seen.
    is_wrong: AtomicBool,
}

impl Audit {
    fn start(url: &str) -> Self {
        let shared = Arc::new(Audited::default());
        let (url, theirs) = (url.to_owned(), shared.clone());
        let thread = std::thread::spawn(move || {
            let target = Target::connect(&url);
            while !theirs.is_over.load(Ordering::Relaxed) {
                look_at_bank(&target, &theirs);
                std::thread::park_timeout(Duration::from_millis(1));
            }
        });
        Self { shared, thread: Some(thread) }
    }

    fn check(&self) {
        assert!(!self.shared.is_wrong.load(Ordering::Relaxed), "half a transaction was seen");
    }

    fn snapshots(&self) -> u64 {
        self.shared.snapshots.load(Ordering::Relaxed)
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(std::thread::JoinHandle::join);
        if matches!(ended, Some(Err(_))) && !std::thread::panicking() {
            panic!("the reader of the bank failed");
        }
    }
}

/// One statement is one snapshot: what the ledger says and what the bank holds belong together.
fn look_at_bank(target: &Target, audited: &Audited) {
    let sql = "select (select consistent from lite2pg.position), count(*), sum(balance) \
               from public.account";
    let rows = match target.try_query(sql) {
        Ok(rows) => rows,
        // Before the tables are there, and between two of them while they are made anew.
        Err(error) => {
            let code = error.code().map(|code| code.code().to_owned());
            assert_eq!(code.as_deref(), Some("42P01"), "the bank cannot be read: {error:?}");
            return;
        }
    };
    let [consistent, count, sum] = rows[0].as_slice() else { panic!("three columns: {rows:?}") };
    if consistent.as_deref() == Some("t") {
        audited.snapshots.fetch_add(1, Ordering::Relaxed);
        let expected = (ACCOUNTS.to_string(), bank::sum(ACCOUNTS).to_string());
        let found = (count.clone().unwrap_or_default(), sum.clone().unwrap_or_default());
        if found != expected && !audited.is_wrong.swap(true, Ordering::Relaxed) {
            eprintln!("half a transaction: count {count:?}, sum {sum:?}");
        }
    }
}

#[test]
fn every_failpoint_belongs_to_a_test() {
    // Comparisons die in checksum.rs, decisions on the file in guard.rs.
    let elsewhere = &[
        failpoint::VERIFY_CHUNK_NOTED,
        failpoint::GUARD_DECIDED,
        failpoint::GUARD_BEFORE_FILE_COMMIT,
        failpoint::GUARD_FILE_COMMITTED,
        failpoint::GUARD_FINISHED,
    ];
    let mut here: Vec<&str> =
        [PREPARE, COPY, REPLAY, PRUNE, ALTER, UNSEEN, FREE, UNINSTALL, elsewhere].concat();
    let mut all = failpoint::ALL.to_vec();
    here.sort_unstable();
    all.sort_unstable();
    assert_eq!(here, all);
}

/// The journal mode of the n-th scene: both occur.
fn options(n: usize) -> Options {
    let journal = ["wal", "delete"][n % 2];
    Options { journal, ..Options::new(n as u64) }
}

fn die_in_a_first_run(names: &[&str], later: &[&str]) {
    die_in_a_first_run_of(Scene::new, names, later);
}

fn die_in_a_first_run_of(scene: impl Fn(Options) -> Scene, names: &[&str], later: &[&str]) {
    for (n, name) in names.iter().enumerate() {
        let scene = scene(options(n));
        let writer = scene.write();
        scene.die_at(name, if later.contains(name) { 3 } else { 1 }, &[]);
        scene.recover(writer);
        assert!(0 < scene.audit.snapshots(), "{name}: no consistent snapshot was seen");
    }
}

#[test]
fn a_crash_at_every_point_of_preparing_is_made_good_by_a_restart() {
    die_in_a_first_run(PREPARE, &[failpoint::INSTALL_TABLE_DONE, failpoint::TARGET_TABLE_MADE]);
}

#[test]
fn a_crash_at_every_point_of_the_first_copy_is_made_good_by_a_restart() {
    die_in_a_first_run(COPY, &COPY[..5]);
}

/// The target has its keys and indexes from the beginning, and rows wander while they are copied.
#[test]
fn a_crash_while_adopted_tables_are_filled_is_made_good_by_a_restart() {
    let has_counterpart = |name: &&&str| {
        ![failpoint::COPY_KEY_BUILT, failpoint::INDEX_BUILT].contains(name)
            && PREPARE[6..].iter().chain(COPY).any(|one| one == *name)
    };
    let names: Vec<&str> = PREPARE.iter().chain(COPY).filter(has_counterpart).copied().collect();
    die_in_a_first_run_of(Scene::adopting, &names, &COPY[..5]);
}

#[test]
fn a_crash_at_every_point_of_replay_is_made_good_by_a_restart() {
    for scene in [Scene::new, Scene::adopting] {
        die_in_replay(&scene);
    }
}

fn die_in_replay(scene: &dyn Fn(Options) -> Scene) {
    for journal in ["wal", "delete"] {
        let scene = scene(Options { journal, ..Options::new(3) });
        let writer = scene.write();
        scene.run().arg("--until-caught-up").finish().expect_code(0);
        for (n, name) in REPLAY.iter().enumerate() {
            scene.die_at(name, 1 + n as u32 % 3, &[]);
            let mut sidecar = scene.run().start();
            let before = scene.standing().expect("it was in step").0;
            let moved = sidecar.until(|| {
                scene
                    .standing()
                    .filter(|(applied, is_consistent, _)| before + 100 < *applied && *is_consistent)
            });
            assert!(moved.is_some(), "after {name}: {}", sidecar.stderr());
            sidecar.kill();
        }
        scene.recover(writer);
        assert!(100 < scene.audit.snapshots());
    }
}

#[test]
fn a_crash_at_every_point_of_pruning_is_made_good_by_a_restart() {
    // Only where commits are on the disk is anything pruned.
    let cluster = ThrowawayCluster::durable();
    let scene = Scene::on(cluster.url("pruned"), Options::new(4), None);
    let writer = scene.write();
    let eagerly = ["--retention", "1s", "--prune-interval", "1s"];
    for name in PRUNE {
        scene.die_at(name, 1, &eagerly);
    }
    let tail = || -> i64 {
        let source = Connection::open(&scene.file).expect("open the source");
        source.busy_timeout(LIMIT).expect("set the busy timeout");
        let sql = "select min(seq) from _lite2pg_changelog";
        source.query_row(sql, [], |row| row.get(0)).expect("the changelog is there")
    };
    let before = tail();
    assert!(1 < before, "the last crash came after a round was committed");
    let mut sidecar = scene.run().args(eagerly).start();
    let pruned = sidecar.until(|| (before < tail()).then_some(()));
    assert!(pruned.is_some(), "nothing was pruned: {}", sidecar.stderr());
    sidecar.kill();
    scene.recover(writer);
}

#[test]
fn a_crash_of_uninstall_leaves_all_of_it_or_none() {
    let scene = Scene::new(Options { journal: "delete", ..Options::new(5) });
    let writer = scene.write();
    scene.run().arg("--until-caught-up").finish().expect_code(0);
    let uninstall = || Launch::new("uninstall").arg("--source").arg(&scene.file);
    let ended = uninstall().dying_at(UNINSTALL[0], 1).finish();
    assert!(ended.was_killed(), "{ended}");
    writer.await_commits(20);
    scene.recover(writer);
    let writer = scene.write();
    uninstall().finish().expect_code(0);
    writer.await_commits(20);
    writer.stop();
    let source = Connection::open(&scene.file).expect("open the source");
    let sql = "select count(*) from sqlite_schema where substr(name, 1, 9) = '_lite2pg_'";
    let left: i64 = source.query_row(sql, [], |row| row.get(0)).expect("the file is whole");
    assert_eq!(left, 0);
}

#[test]
fn random_double_crashes_converge() {
    let rounds = number_from_env("LITE2PG_CRASH_ROUNDS", ROUNDS);
    let seed = schema_seed(0);
    let _replay = SeedOnPanic(seed);
    let mut dice = Dice::new(seed);
    let points = [PREPARE, COPY, REPLAY].concat();
    let mut scene: Option<Scene> = None;
    let (mut by_itself, mut points_hit) = (0_u64, std::collections::BTreeSet::new());
    for round in 0..rounds {
        if scene.is_none() || dice.percent(30) {
            let journal = dice.pick(&["wal", "delete", "truncate", "persist"]);
            scene = Some(Scene::new(Options { journal, ..Options::new(dice.next() >> 1) }));
        }
        let scene = scene.as_ref().expect("made above");
        let writer =
            Writer::start(&scene.file, &Options { seed: dice.next(), ..scene.options.clone() });
        for _ in 0..2 {
            let (name, passing) = (dice.pick(&points), 1 + dice.below(20) as u32);
            let mut sidecar = scene.run().dying_at(name, passing).start();
            let ended = wait_until(LIFE_MAX, || (!sidecar.is_running()).then_some(()));
            // What is not passed in time is killed wherever it is.
            let ended = match ended {
                Some(()) => {
                    by_itself += 1;
                    points_hit.insert(name);
                    sidecar.wait(LIMIT)
                }
                None => sidecar.kill(),
            };
            assert!(ended.was_killed(), "round {round}, {name} x {passing}: {ended}");
        }
        scene.recover(writer);
    }
    println!(
        "{} crashes in {rounds} rounds, {by_itself} of them at {} different points",
        2 * rounds,
        points_hit.len()
    );
    assert!(rounds < 4 || 0 < by_itself);
}

/// A writer that is killed inside a transaction leaves pages of it in the file or in the -wal;
/// none of them may reach the target, and the sidecar lives on.
#[test]
fn a_writer_killed_in_mid_transaction_does_no_harm() {
    for journal in ["wal", "delete", "truncate", "persist"] {
        let scene = Scene::new(Options { journal, ballast_rows: 20_000, ..Options::new(6) });
        let mut sidecar = scene.run().start();
        scene.await_in_step(&mut sidecar);
        for seed in 0..3 {
            let options = Options { seed, ..scene.options.clone() };
            let torn = WriterProcess::start_torn(&scene.file, &options);
            torn.await_torn();
            let suffix = if journal == "wal" { "wal" } else { "journal" };
            let log = scene.directory.path().join(format!("source.db-{suffix}"));
            let bytes = std::fs::metadata(&log).map_or(0, |log| log.len());
            assert!(1_000_000 < bytes, "the torn transaction left {bytes} bytes in its {suffix}");
            torn.kill();
            let writer = Writer::start(&scene.file, &Options { seed: 100 + seed, ..options });
            writer.await_commits(30);
            writer.stop();
            scene.converge(&mut sidecar);
        }
        sidecar.terminate().expect_code(0);
    }
}
