//! From a commit on SQLite to the moment another session on PostgreSQL can see it.
//!
//! A writer commits one row at a steady rate and notes when each commit returned; a session on the
//! target looks for the greatest key again and again. Beside it stands what one row's commit takes
//! on that server from a client that does nothing else, because no replication is quicker.
//!
//! With `--no-file-events` the sidecar only polls: half the poll interval is to be expected.
//!
//! LITE2PG_BENCH_SECONDS (of each case), LITE2PG_BENCH_RATE (changes per second).

mod rig;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rig::server::{Server, Session};
use rig::sidecar::Sidecar;
use rig::{Samples, Table, say, size};
use rusqlite::Connection;

/// Between two looks at the target; a look takes about as long.
const LOOK_PAUSE: Duration = Duration::from_micros(100);

/// How long the sidecar gets to be in step before the writer begins, and the last row to arrive.
const ARRIVAL_MAX: Duration = Duration::from_secs(30);

struct Case {
    name: &'static str,
    journal: &'static str,
    synchronous: &'static str,
    flags: &'static [&'static str],
}

const POLL_ALONE: &[&str] = &["--no-file-events", "--poll-interval-ms", "100"];

const CASES: [Case; 5] = [
    Case { name: "file events", journal: "wal", synchronous: "normal", flags: &[] },
    Case { name: "file events", journal: "wal", synchronous: "full", flags: &[] },
    Case { name: "file events", journal: "delete", synchronous: "full", flags: &[] },
    Case { name: "poll every 100 ms", journal: "wal", synchronous: "normal", flags: POLL_ALONE },
    Case { name: "poll every 100 ms", journal: "delete", synchronous: "full", flags: POLL_ALONE },
];

fn main() {
    let (seconds, rate) = (size("SECONDS", 5, 60), size("RATE", 500, 500));
    let directory = tempfile::tempdir().expect("a temporary directory");
    println!("## Latency\n\n{}.", rig::machine::describe(directory.path()));
    println!(
        "{seconds} s of at most {rate} one-row commits a second in each case; milliseconds.\n"
    );
    let server = Server::start(&[]);
    let mut table = Table::new(&[
        "woken by",
        "journal",
        "synchronous",
        "commits",
        "p50",
        "p95",
        "p99",
        "max",
        "server's own p50",
        "p99",
        "p50 ratio",
        "p99 ratio",
    ]);
    for (number, case) in CASES.iter().enumerate() {
        let full_name = format!("{} {} {}", case.name, case.journal, case.synchronous);
        if !rig::is_wanted(&full_name) {
            continue;
        }
        say(&full_name);
        let source = directory.path().join(format!("source{number}.db"));
        let url = server.fresh("latency");
        let commits = one_row_commits(&url, Duration::from_secs(seconds.div_ceil(3)));
        let arrivals = arrivals(case, &source, &url, Duration::from_secs(seconds), rate);
        let ms = |samples: &Samples, share| format!("{:.2}", samples.quantile(share));
        let times = |share| format!("{:.1}", arrivals.quantile(share) / commits.quantile(share));
        table.row(&[
            case.name.to_owned(),
            case.journal.to_owned(),
            case.synchronous.to_owned(),
            arrivals.values().len().to_string(),
            ms(&arrivals, 0.5),
            ms(&arrivals, 0.95),
            ms(&arrivals, 0.99),
            ms(&arrivals, 1.0),
            ms(&commits, 0.5),
            ms(&commits, 0.99),
            times(0.5),
            times(0.99),
        ]);
    }
    table.print();
}

/// What one row takes, from the statement to the reply, each in a transaction of its own.
fn one_row_commits(url: &str, during: Duration) -> Samples {
    let session = Session::connect(url);
    session.run("create schema own; create table own.t (id bigint primary key)");
    let insert = session.prepare("insert into own.t values ($1)");
    let (begun, mut samples) = (Instant::now(), Samples::default());
    let mut id = 0;
    while begun.elapsed() < during {
        let one = Instant::now();
        session.execute(&insert, id);
        samples.push(one.elapsed().as_secs_f64() * 1e3);
        id += 1;
        // As a server is that has other things to do than this.
        std::thread::sleep(Duration::from_millis(1));
    }
    samples
}

fn arrivals(case: &Case, source: &Path, url: &str, during: Duration, rate: u64) -> Samples {
    let conn = Connection::open(source).expect("open a new file");
    let Case { journal, synchronous, .. } = case;
    conn.execute_batch(&format!(
        "pragma journal_mode = {journal}; pragma synchronous = {synchronous};
         create table t (id integer primary key, note text)"
    ))
    .expect("make the table");
    conn.busy_timeout(ARRIVAL_MAX).expect("set the busy timeout");
    let mut sidecar = Sidecar::start(source, url, case.flags);
    sidecar.until("in step");
    let done = AtomicBool::new(false);
    let (committed, seen) = std::thread::scope(|scope| {
        let looking = scope.spawn(|| look(url, &done));
        let committed = write(&conn, during, rate);
        await_arrival(url, committed.len());
        done.store(true, Ordering::Relaxed);
        (committed, looking.join().expect("the looking thread does not panic"))
    });
    sidecar.stop();
    let mut samples = Samples::default();
    let mut looks = seen.iter().peekable();
    for (at, id) in committed.iter().zip(1_i64..) {
        while looks.peek().is_some_and(|(_, greatest)| *greatest < id) {
            looks.next();
        }
        let (seen_at, _) = looks.peek().expect("the last row was seen");
        samples.push(seen_at.saturating_duration_since(*at).as_secs_f64() * 1e3);
    }
    samples
}

/// Commits one row after another; returns when each commit returned.
fn write(conn: &Connection, during: Duration, rate: u64) -> Vec<Instant> {
    let (begun, mut committed) = (Instant::now(), Vec::new());
    let mut insert = conn.prepare("insert into t (note) values ('a note')").expect("prepare");
    while begun.elapsed() < during {
        insert.execute([]).expect("insert");
        committed.push(Instant::now());
        let due = Duration::from_micros(committed.len() as u64 * 1_000_000 / rate);
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
    }
    committed
}

/// Looks at the target all the time; returns when each greater key was first seen.
fn look(url: &str, done: &AtomicBool) -> Vec<(Instant, i64)> {
    let session = Session::connect(url);
    let greatest = session.prepare("select coalesce(max(id), 0) from public.t");
    let mut seen: Vec<(Instant, i64)> = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let found = session.integer(&greatest);
        if seen.last().map_or(0, |(_, id)| *id) < found {
            seen.push((Instant::now(), found));
        }
        std::thread::sleep(LOOK_PAUSE);
    }
    // The last row may have arrived between the last look and the end.
    let found = session.integer(&greatest);
    seen.push((Instant::now(), found));
    seen
}

fn await_arrival(url: &str, rows: usize) {
    let session = Session::connect(url);
    let sql = format!("select count(*) = {rows} from public.t");
    session.await_true(&sql, Duration::from_millis(50), || "the last row".to_owned());
}
