//! A live application: one connection that writes until it is told to stop.
//!
//! Every transaction is drawn from a seed: bank transfers whose sum is constant, upserts,
//! `REPLACE` over unique indexes, swaps of unique values, key changes, cascades, deletes, and
//! transactions of many rows; some are rolled back. [`create`] makes the file, [`Writer`] writes
//! from a thread, [`WriterProcess`] from a process that can be killed.
//!
//! A writer that meets SQLITE_BUSY rolls back, counts it and goes on; any other failure is a
//! mistake and ends the test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use super::sidecar::{LIMIT, wait_until};
use crate::generator::bank;
use crate::generator::dice::Dice;

/// Accounts of the bank.
pub const ACCOUNTS: usize = 40;

/// How a writer behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// All that is written follows from this.
    pub seed: u64,
    /// `wal`, `delete`, `truncate` or `persist`.
    pub journal: &'static str,
    /// How long it waits for a lock; zero is what many applications have.
    pub busy_timeout: Duration,
    /// Transactions per second; 0 is as fast as it can.
    pub rate: u32,
    /// Rows of 200 bytes that are there from the beginning, to give a copy something to do.
    pub ballast_rows: u64,
}

impl Options {
    /// A patient writer in WAL mode, 300 transactions a second, little data.
    pub fn new(seed: u64) -> Self {
        Self { seed, journal: "wal", busy_timeout: LIMIT, rate: 300, ballast_rows: 1_000 }
    }
}

/// What a writer has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Transactions committed.
    pub committed: u64,
    /// Transactions rolled back on purpose.
    pub rolled_back: u64,
    /// Transactions given up because of a lock.
    pub busy: u64,
}

/// Makes the file with its tables and first rows.
pub fn create(file: &Path, options: &Options) {
    let connection = connect(file, options);
    connection
        .execute_batch(&format!(
            "begin; {}; {SCHEMA};
             with recursive n(i) as (select 1 union all select i + 1 from n where i < {})
             insert into ballast select i, i, hex(randomblob(100)) from n where 0 < {}; commit",
            bank::schema(ACCOUNTS),
            options.ballast_rows,
            options.ballast_rows,
        ))
        .expect("the schema is valid");
}

/// All but the bank.
const SCHEMA: &str = "
    create table ballast (id integer primary key, version integer, body text);
    create table item (
        sku text not null primary key, slot integer unique, name text, price real, picture blob);
    create unique index item_name on item (name) where name is not null;
    create table counter (name text collate nocase not null primary key, hits integer not null);
    create table orders (
        id integer primary key, customer text not null, total integer not null default 0,
        placed text default current_timestamp);
    create table order_line (
        order_id integer not null references orders (id) on delete cascade on update cascade,
        line integer not null, sku text, quantity integer check (0 < quantity),
        primary key (order_id, line)) without rowid;
    create index order_line_sku on order_line (sku);
    create table event (at integer, line text);
    create index event_at on event (at);
    create view order_size as
        select order_id, count(*) as lines from order_line group by order_id";

fn connect(file: &Path, options: &Options) -> Connection {
    let connection = Connection::open(file).expect("open the source");
    connection.busy_timeout(LIMIT).expect("set the busy timeout");
    connection
        .execute_batch(&format!(
            "pragma journal_mode = {}; pragma synchronous = off; pragma foreign_keys = on",
            options.journal
        ))
        .expect("set the journal mode");
    connection.busy_timeout(options.busy_timeout).expect("set the busy timeout");
    connection
}

/// The statements of the next transaction.
fn transaction(dice: &mut Dice) -> Vec<String> {
    let (sku, other) = (dice.below(300), dice.below(300));
    let (slot, order) = (dice.below(200), 1 + dice.below(400));
    let number = dice.below(1_000_000);
    match dice.below(20) {
        0..=8 => bank::transfer(ACCOUNTS, dice),
        9 => vec![format!(
            "insert into counter values ('{}', 1) on conflict (name) do update set hits = hits + 1",
            dice.pick(&["a", "A", "b", "B", "home", "Home", "ü"])
        )],
        10 => vec![format!(
            "replace into item values ('sku {sku}', {slot}, 'item {other}', {number} / 7.0, \
             randomblob(20))"
        )],
        11 => vec![format!(
            "insert or ignore into item (sku, slot, name) values ('sku {sku}', {slot}, null) \
             on conflict (sku) do update set price = {number} / 3.0"
        )],
        12 => swap_slots(dice),
        13 => {
            vec![format!("update or ignore item set sku = 'sku {sku}' where sku = 'sku {other}'")]
        }
        14 => vec![format!("delete from item where slot between {slot} and {slot} + 3")],
        15 => new_order(order, dice),
        16 => vec![
            format!("delete from orders where id = {order}"),
            format!("delete from counter where hits > {}", 5 + dice.below(50)),
        ],
        17 => vec![format!("update or ignore orders set id = {} where id = {order}", 1 + sku)],
        18 => vec![
            format!("insert into event values ({number}, 'line {sku}'), ({sku}, null)"),
            "delete from event where rowid <= (select max(rowid) - 500 from event)".to_owned(),
        ],
        _ => vec![
            format!("update ballast set version = {number} where id % 97 = {}", dice.below(97)),
            format!("update item set price = price + 1 where slot % 3 = {}", dice.below(3)),
        ],
    }
}

/// Two items change places: no order of single updates avoids the unique index.
fn swap_slots(dice: &mut Dice) -> Vec<String> {
    let (one, other) = (dice.below(100), 100 + dice.below(100));
    vec![
        format!("update item set slot = -1 - slot where slot in ({one}, {other})"),
        format!(
            "update item set slot = case slot when -1 - {one} then {other} else {one} end \
             where slot < 0"
        ),
    ]
}

fn new_order(order: usize, dice: &mut Dice) -> Vec<String> {
    let mut statements = vec![format!(
        "insert into orders (id, customer) values ({order}, 'customer {}') \
         on conflict do update set total = total + 1",
        dice.below(50)
    )];
    for line in 0..dice.below(8) {
        statements.push(format!(
            "replace into order_line values ({order}, {line}, 'sku {}', {})",
            dice.below(300),
            1 + dice.below(9)
        ));
    }
    statements
}

/// Runs one transaction to its end, whichever it is.
fn write_once(connection: &Connection, dice: &mut Dice, counts: &mut Counts) {
    let statements = transaction(dice).join("; ");
    let (end, counter) = match dice.percent(5) {
        true => ("rollback", &mut counts.rolled_back),
        false => ("commit", &mut counts.committed),
    };
    match connection.execute_batch(&format!("begin immediate; {statements}; {end}")) {
        Ok(()) => *counter += 1,
        Err(error) => {
            let is_busy = error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
            assert!(is_busy, "{error}: {statements}");
            counts.busy += 1;
            if !connection.is_autocommit() {
                connection.execute_batch("rollback").expect("a rollback needs no lock");
            }
        }
    }
}

/// Counts that can be read while the writer goes on.
#[derive(Default)]
struct Shared {
    is_stopped: AtomicBool,
    committed: AtomicU64,
    rolled_back: AtomicU64,
    busy: AtomicU64,
}

impl Shared {
    fn store(&self, counts: Counts) {
        self.committed.store(counts.committed, Ordering::Relaxed);
        self.rolled_back.store(counts.rolled_back, Ordering::Relaxed);
        self.busy.store(counts.busy, Ordering::Relaxed);
    }

    fn counts(&self) -> Counts {
        Counts {
            committed: self.committed.load(Ordering::Relaxed),
            rolled_back: self.rolled_back.load(Ordering::Relaxed),
            busy: self.busy.load(Ordering::Relaxed),
        }
    }
}

/// Writes at the asked rate until stopped; the moment of each transaction is fixed beforehand, so
/// that a slow one does not lower the rate.
fn write(file: &Path, options: &Options, shared: &Shared) {
    let connection = connect(file, options);
    let mut dice = Dice::new(options.seed);
    let mut counts = Counts::default();
    let begun = Instant::now();
    for n in 0.. {
        if 0 < options.rate {
            let due = begun + Duration::from_secs_f64(f64::from(n) / f64::from(options.rate));
            let left = due.saturating_duration_since(Instant::now());
            if !left.is_zero() && !shared.is_stopped.load(Ordering::Relaxed) {
                std::thread::park_timeout(left);
            }
        }
        if shared.is_stopped.load(Ordering::Relaxed) {
            return;
        }
        write_once(&connection, &mut dice, &mut counts);
        shared.store(counts);
    }
}

/// A writer on a thread of this process; stopped when dropped.
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Begins to write to a file that [`create`] made.
    pub fn start(file: &Path, options: &Options) -> Self {
        let shared = Arc::new(Shared::default());
        let (file, options, theirs) = (file.to_path_buf(), options.clone(), shared.clone());
        let thread = std::thread::spawn(move || write(&file, &options, &theirs));
        Self { shared, thread: Some(thread) }
    }

    /// What it has done so far.
    pub fn counts(&self) -> Counts {
        self.shared.counts()
    }

    /// Waits until it has committed `more` transactions from now on.
    pub fn await_commits(&self, more: u64) {
        let goal = self.counts().committed + more;
        let reached = wait_until(LIMIT, || {
            let is_over = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
            (is_over || goal <= self.counts().committed).then_some(())
        });
        assert!(reached.is_some() && goal <= self.counts().committed, "the writer got stuck");
    }

    /// Ends it and says what it has done.
    pub fn stop(mut self) -> Counts {
        self.end().expect("the writer fails only by a mistake, which it has printed");
        self.counts()
    }

    fn end(&mut self) -> std::thread::Result<()> {
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        match self.thread.take() {
            Some(thread) => {
                thread.thread().unpark();
                thread.join()
            }
            None => Ok(()),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.end().is_err() && !std::thread::panicking() {
            panic!("the writer failed");
        }
    }
}

/// Tells the test below to be a writer: seed, journal mode, rate, end and file, one per line.
const ROLE: &str = "LITE2PG_TEST_WRITER";

/// A writer in a process of its own, which is this program once more; killed when dropped.
pub struct WriterProcess {
    child: Child,
    /// Exists once the process is inside its last transaction.
    torn: PathBuf,
}

impl WriterProcess {
    /// Begins to write to a file that [`create`] made; `busy_timeout` is not passed on.
    pub fn start(file: &Path, options: &Options) -> Self {
        Self::spawn(file, options, "steady")
    }

    /// Writes a little and then stays for ever inside a transaction, too large for its cache, that
    /// has taken money from the bank.
    pub fn start_torn(file: &Path, options: &Options) -> Self {
        Self::spawn(file, options, "torn")
    }

    fn spawn(file: &Path, options: &Options, end: &str) -> Self {
        let torn = file.with_file_name("torn");
        if torn.exists() {
            std::fs::remove_file(&torn).expect("the directory is ours");
        }
        let role = format!(
            "{}\n{}\n{}\n{end}\n{}",
            options.seed,
            options.journal,
            options.rate,
            file.to_str().expect("a path of a fixture")
        );
        let child = Command::new(std::env::current_exe().expect("this program has a path"))
            .args(["--exact", "support::workload::tests::the_writer_keeps_the_sum_of_the_bank"])
            .env(ROLE, role)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("this program can be started once more");
        Self { child, torn }
    }

    /// Waits until it stays inside a transaction.
    pub fn await_torn(&self) {
        let is_torn = wait_until(LIMIT, || self.torn.exists().then_some(()));
        assert!(is_torn.is_some(), "the writer never came to its last transaction");
    }

    /// Kills it wherever it is, and waits until its locks are gone. Fails if it had ended.
    pub fn kill(mut self) {
        let ended = self.child.try_wait().expect("the child is ours");
        assert!(ended.is_none(), "the writer ended by itself: {ended:?}");
        self.child.kill().and_then(|()| self.child.wait()).expect("the child is ours");
    }
}

impl Drop for WriterProcess {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("writer {} could not be ended: {error}", self.child.id());
        }
    }
}

mod tests {
    use super::*;

    /// Serves [`WriterProcess`] if the environment says so; such a process is always killed.
    fn play_the_role(role: &str) {
        let parts: Vec<&str> = role.splitn(5, '\n').collect();
        let [seed, journal, rate, end, file] = parts[..] else { panic!("{ROLE} has five lines") };
        let journals = ["wal", "delete", "truncate", "persist"];
        let options = Options {
            journal: journals.into_iter().find(|known| *known == journal).expect("a known mode"),
            rate: rate.parse().expect("a rate"),
            ..Options::new(seed.parse().expect("a seed"))
        };
        match end {
            "torn" => tear(Path::new(file), &options),
            _ => write(Path::new(file), &options, &Shared::default()),
        }
    }

    fn tear(file: &Path, options: &Options) {
        let connection = connect(file, options);
        let (mut dice, mut counts) = (Dice::new(options.seed), Counts::default());
        for _ in 0..20 {
            write_once(&connection, &mut dice, &mut counts);
        }
        connection
            .execute_batch(
                "pragma cache_size = 10; begin immediate;
                 update account set balance = balance - 500 where id = 1;
                 update ballast set body = hex(randomblob(100))",
            )
            .expect("the statements are valid");
        std::fs::write(file.with_file_name("torn"), "").expect("the directory is ours");
        loop {
            std::thread::park();
        }
    }

    #[test]
    fn the_writer_keeps_the_sum_of_the_bank() {
        if let Ok(role) = std::env::var(ROLE) {
            return play_the_role(&role);
        }
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        let file = directory.path().join("source.db");
        for journal in ["wal", "delete"] {
            let options = Options { journal, rate: 0, ..Options::new(7) };
            if journal == "wal" {
                create(&file, &options);
            }
            let writer = Writer::start(&file, &options);
            writer.await_commits(3_000);
            let counts = writer.stop();
            assert!(0 < counts.rolled_back && counts.busy == 0, "{counts:?}");
        }
        let connection = Connection::open(&file).expect("open the source");
        let ask = |sql: &str| -> i64 {
            connection.query_row(sql, [], |row| row.get(0)).expect("the query is valid")
        };
        assert_eq!(ask("select sum(balance) from account"), bank::sum(ACCOUNTS));
        for table in ["account", "ballast", "item", "counter", "orders", "order_line", "event"] {
            assert!(0 < ask(&format!("select count(*) from {table}")), "{table} is empty");
        }
        assert!(ask("select count(*) from item") < 400);
    }

    #[test]
    fn a_killed_writer_leaves_a_file_that_recovers() {
        for journal in ["wal", "delete"] {
            let directory = tempfile::tempdir().expect("the temporary directory is writable");
            let file = directory.path().join("source.db");
            let options = Options { journal, rate: 0, ..Options::new(8) };
            create(&file, &options);
            let connection = Connection::open(&file).expect("open the source");
            connection.busy_timeout(LIMIT).expect("set the busy timeout");
            let version = || -> i64 {
                let ask = connection.query_row("pragma data_version", [], |row| row.get(0));
                ask.expect("a version")
            };
            let before = version();
            let writer = WriterProcess::start(&file, &options);
            wait_until(LIMIT, || (before < version()).then_some(())).expect("it writes");
            writer.kill();
            let sum: i64 = connection
                .query_row("select sum(balance) from account", [], |row| row.get(0))
                .expect("the file recovers");
            assert_eq!(sum, bank::sum(ACCOUNTS));
        }
    }
}
