//! The demo's writer: an application that knows nothing of lite2pg.
//!
//! It is a process of its own, as a real application would be, and writes over several connections
//! at once. What each connection decides follows from the seed alone; how their transactions
//! interleave is up to SQLite. It ends after its time, on SIGTERM, or when the process that
//! started it is gone, and says on stdout, one JSON line at a time, what it has done so far.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::signal::unix::{SignalKind, signal};

use super::dice::Dice;
use super::kinds::{CLERKS, Clerk, KINDS, Kind};
use crate::cli::DemoWriterArgs;
use crate::error::{Exit, Report};

/// How long a connection waits for the others, as an application's would.
pub(super) const BUSY_MAX: Duration = Duration::from_secs(5);

/// How often it says what it has done, and looks whether it should go on.
const TELL_INTERVAL: Duration = Duration::from_millis(100);

/// Scripts come and go: a connection is opened anew after this many transactions.
const CONNECTION_TRANSACTIONS: u64 = 60;

/// What has been done so far.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Tally {
    /// Transactions, those included that ended in a rollback or a refusal.
    pub transactions: u64,
    /// Times that SQLite said "busy" for longer than [`BUSY_MAX`].
    pub busy: u64,
    /// Transactions by kind.
    pub kinds: BTreeMap<String, u64>,
}

/// Writes until it is time to end. Blocks.
pub fn write(args: &DemoWriterArgs) -> Result<Exit, Report> {
    let ends = Arc::new(AtomicBool::new(false));
    end_on_signals(&ends)?;
    let parent = std::os::unix::process::parent_id();
    let until = Instant::now() + Duration::from_secs(args.seconds);
    let tally = Mutex::new(Tally::default());
    let outcome = std::thread::scope(|scope| {
        let (ends, tally) = (&ends, &tally);
        let clerks: Vec<_> =
            CLERKS.iter().map(|clerk| scope.spawn(|| work(args, *clerk, tally, ends))).collect();
        while clerks.iter().any(|clerk| !clerk.is_finished()) {
            std::thread::sleep(TELL_INTERVAL);
            let is_orphan = std::os::unix::process::parent_id() != parent;
            if until <= Instant::now() || is_orphan || tell(tally).is_err() {
                ends.store(true, Ordering::Relaxed);
            }
        }
        let join = |clerk: std::thread::ScopedJoinHandle<'_, _>| {
            clerk.join().expect("a clerk returns its errors")
        };
        clerks.into_iter().try_for_each(join)
    });
    outcome.map_err(|error: rusqlite::Error| {
        Report::new(Exit::Unknown, format!("the demo's writer cannot write: {error}"))
    })?;
    tell(&tally).map_err(|error| {
        Report::new(Exit::Unknown, format!("the demo's writer cannot report: {error}"))
    })?;
    Ok(Exit::Yes)
}

fn end_on_signals(ends: &Arc<AtomicBool>) -> Result<(), Report> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind).map_err(|error| {
            Report::new(Exit::Unknown, format!("cannot wait for signals: {error}"))
        })?;
        let ends = ends.clone();
        tokio::spawn(async move {
            signals.recv().await;
            ends.store(true, Ordering::Relaxed);
        });
    }
    Ok(())
}

fn tell(tally: &Mutex<Tally>) -> std::io::Result<()> {
    let mut line = {
        let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        serde_json::to_vec(&*tally)?
    };
    line.push(b'\n');
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}

/// One clerk's day: every round does each of its kinds as often as it has a share, in an order
/// that the dice give.
fn work(
    args: &DemoWriterArgs,
    clerk: Clerk,
    tally: &Mutex<Tally>,
    ends: &AtomicBool,
) -> rusqlite::Result<()> {
    let outcome = work_until(args, clerk, tally, ends);
    // When one cannot go on, none shall.
    if outcome.is_err() {
        ends.store(true, Ordering::Relaxed);
    }
    outcome
}

fn work_until(
    args: &DemoWriterArgs,
    clerk: Clerk,
    tally: &Mutex<Tally>,
    ends: &AtomicBool,
) -> rusqlite::Result<()> {
    let dice = &mut Dice::new(args.seed, 1 + clerk as u64);
    let interval =
        Duration::from_secs(1) * u32::try_from(CLERKS.len()).unwrap_or(1) / args.rate.max(1);
    let mut round: Vec<&Kind> = Vec::new();
    let mut conn = connect(&args.source, clerk)?;
    let mut due = Instant::now();
    for number in 1.. {
        if number % CONNECTION_TRANSACTIONS == 0 {
            drop(conn);
            conn = connect(&args.source, clerk)?;
        }
        let kind = round.pop().unwrap_or_else(|| {
            round = KINDS
                .iter()
                .filter(|kind| kind.by == clerk)
                .flat_map(|kind| std::iter::repeat_n(kind, kind.share))
                .collect();
            dice.shuffle(&mut round);
            round.pop().expect("every clerk has something to do")
        });
        let is_busy = match (kind.act)(&conn, dice) {
            Ok(()) => false,
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => true,
            Err(error) => return Err(error),
        };
        {
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            if is_busy {
                tally.busy += 1;
            } else {
                tally.transactions += 1;
                *tally.kinds.entry(kind.name.to_owned()).or_default() += 1;
            }
        }
        // Between half and one and a half of the interval, so that clerks meet.
        due = (due + interval * u32::try_from(dice.between(50, 150)).unwrap_or(100) / 100)
            .max(Instant::now());
        while !ends.load(Ordering::Relaxed) {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(TELL_INTERVAL));
        }
        if ends.load(Ordering::Relaxed) {
            return Ok(());
        }
    }
    Ok(())
}

fn connect(path: &Path, clerk: Clerk) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY_MAX)?;
    conn.pragma_update(None, "foreign_keys", "on")?;
    conn.pragma_update(None, "synchronous", "normal")?;
    // Applications differ in this too: whether what REPLACE deletes fires delete triggers.
    conn.pragma_update(None, "recursive_triggers", clerk == Clerk::Office)?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(conn)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One round of each clerk, one after the other, on a shop of its own.
    fn one_round(seed: u64) -> String {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("shop.db");
        crate::demo::shop::create(&path, seed).expect("the shop is made");
        for clerk in CLERKS {
            let conn = connect(&path, clerk).expect("the shop opens");
            let dice = &mut Dice::new(seed, 1 + clerk as u64);
            for kind in KINDS.iter().filter(|kind| kind.by == clerk) {
                for _ in 0..kind.share {
                    (kind.act)(&conn, dice)
                        .unwrap_or_else(|error| panic!("{}: {error}", kind.name));
                }
            }
        }
        let conn = connect(&path, Clerk::Web).expect("the shop opens");
        let sum = |sql: &str| -> i64 { conn.query_row(sql, [], |row| row.get(0)).expect(sql) };
        assert_eq!(sum("select sum(balance_cents) from accounts"), crate::demo::shop::MONEY_CENTS);
        assert_eq!(sum("select count(*) from customers where note = 'must never arrive'"), 0);
        let mut rows = conn
            .prepare("select group_concat(id || number || customer_id || total_cents) from orders")
            .expect("the shop has orders");
        rows.query_row([], |row| row.get(0)).expect("the shop has orders")
    }

    #[test]
    fn a_seed_repeats_its_decisions_and_another_makes_others() {
        assert_eq!(one_round(7), one_round(7));
        assert_ne!(one_round(7), one_round(8));
    }
}
