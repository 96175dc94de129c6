//! Does the sidecar make the application's writes fail? A writer without a busy timeout, at several
//! rates, with and without a sidecar on the file; counted are the writes that SQLite turned away
//! with SQLITE_BUSY.
//!
//! In WAL mode readers and the writer do not meet. In rollback mode a reader keeps a writer from
//! committing, so the sidecar reads between two commits and for as short as can be; what cannot be
//! avoided that way is what the table shows.
//!
//! LITE2PG_BENCH_SECONDS (of each case).

mod rig;

use std::path::Path;
use std::time::{Duration, Instant};

use rig::server::Server;
use rig::sidecar::Sidecar;
use rig::{Table, say, size};
use rusqlite::{Connection, ErrorCode};

/// Transactions a second; `None` is as fast as the writer can.
const RATES: [Option<u64>; 4] = [Some(10), Some(100), Some(500), None];

fn main() {
    let during = Duration::from_secs(size("SECONDS", 2, 30));
    let directory = tempfile::tempdir().expect("a temporary directory");
    println!("## Writes turned away\n\n{}.", rig::machine::describe(directory.path()));
    println!("{} s a case, busy timeout 0, synchronous FULL.\n", during.as_secs());
    let server = Server::start(&[]);
    let mut table = Table::new(&[
        "journal",
        "asked /s",
        "committed /s",
        "alone: busy",
        "with sidecar: busy",
        "of",
    ]);
    for journal in ["wal", "delete"] {
        for rate in RATES {
            let asked = rate.map_or("no limit".to_owned(), |rate| rate.to_string());
            say(&format!("{journal}, {asked}"));
            let source = directory.path().join(format!("{journal}-{asked}.db"));
            let conn = create(&source, journal);
            let alone = write(&conn, during, rate);
            let mut sidecar = Sidecar::start(&source, &server.fresh("contention"), &[]);
            sidecar.until("in step");
            let together = write(&conn, during, rate);
            sidecar.stop();
            let committed = together.tried - together.busy;
            table.row(&[
                journal.to_owned(),
                asked,
                format!("{:.0}", committed as f64 / during.as_secs_f64()),
                alone.busy.to_string(),
                together.busy.to_string(),
                together.tried.to_string(),
            ]);
        }
    }
    table.print();
}

fn create(source: &Path, journal: &str) -> Connection {
    let conn = Connection::open(source).expect("open a new file");
    conn.execute_batch(&format!(
        "pragma journal_mode = {journal}; pragma synchronous = full;
         create table t (id integer primary key, note text)"
    ))
    .expect("make the table");
    conn.busy_timeout(Duration::ZERO).expect("switch the busy timeout off");
    conn
}

struct Written {
    tried: u64,
    busy: u64,
}

fn write(conn: &Connection, during: Duration, rate: Option<u64>) -> Written {
    let (begun, mut written) = (Instant::now(), Written { tried: 0, busy: 0 });
    while begun.elapsed() < during {
        written.tried += 1;
        let inserted = conn.execute("insert into t (note) values ('a note')", []);
        match inserted.as_ref().map_err(rusqlite::Error::sqlite_error_code) {
            Ok(_) => {}
            Err(Some(ErrorCode::DatabaseBusy)) => written.busy += 1,
            Err(_) => panic!("the writer failed: {inserted:?}"),
        }
        if let Some(rate) = rate {
            let due = Duration::from_micros(written.tried * 1_000_000 / rate);
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
        }
    }
    written
}
