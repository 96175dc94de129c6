//! What the sidecar takes from the machine: memory at its peak, a core at rest.
//!
//! Memory is the kernel's own high-water mark (VmHWM) of the real process: during the first copy,
//! during the replay of one huge transaction, during a backlog of one-row transactions. CPU at rest
//! is the time that all its threads have run, while the file is open elsewhere and nobody writes.
//!
//! LITE2PG_BENCH_ORDERS, LITE2PG_BENCH_DOCS, LITE2PG_BENCH_CHANGES, LITE2PG_BENCH_IDLE_SECONDS.

mod rig;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rig::server::{Server, Session};
use rig::sidecar::Sidecar;
use rig::{Table, data, machine, say, size, thousands};
use rusqlite::Connection;

/// Between two looks for the end of a backlog.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

struct Bench {
    source: PathBuf,
    url: String,
    table: Table,
    _server: Server,
}

fn main() {
    let (orders, docs) = (size("ORDERS", 100_000, 1_000_000), size("DOCS", 2_000, 20_000));
    let changes = size("CHANGES", 200_000, 10_000_000);
    let idle = Duration::from_secs(size("IDLE_SECONDS", 20, 60));
    let directory = tempfile::tempdir().expect("a temporary directory");
    println!("## Footprint\n\n{}.\n", machine::describe(directory.path()));
    let source = directory.path().join("orders.db");
    say("making the source");
    data::fill(&source, orders, docs);
    let server = Server::start(&[]);
    let url = server.fresh("footprint");
    let table = Table::new(&["what", "reached", "aim"]);
    let mut bench = Bench { source, url, table, _server: server };
    let rows = thousands((3 * orders + docs) as f64);
    bench.peak(&format!("peak memory, first copy of {rows} rows"), |_| {});
    let inserts = thousands(changes as f64);
    bench.peak(&format!("peak memory, one transaction of {inserts} inserts"), |source| {
        write(source, changes, changes);
    });
    bench.peak(&format!("peak memory, {inserts} transactions of one insert"), |source| {
        write(source, changes, 1);
    });
    bench.peak("peak memory, 20 documents of 16 MiB in one transaction", big_documents);
    bench.idle(idle);
    bench.table.print();
}

impl Bench {
    /// The peak from the start of a process until it has dealt with what `work` left in the file.
    fn peak(&mut self, what: &str, work: impl FnOnce(&Path)) {
        say(what);
        work(&self.source);
        let sidecar = self.start_and_catch_up();
        let mib = machine::peak_rss(sidecar.pid()) as f64 / (1024.0 * 1024.0);
        sidecar.stop();
        self.table.row(&[what.to_owned(), format!("{mib:.0} MiB"), "≤ 128 MiB".to_owned()]);
    }

    fn start_and_catch_up(&self) -> Sidecar {
        let mut sidecar = Sidecar::start(&self.source, &self.url, &[]);
        sidecar.until("replaying");
        let conn = Connection::open(&self.source).expect("open the source");
        let head: i64 = conn
            .query_row("select max(seq) from _lite2pg_changelog", [], |row| row.get(0))
            .expect("triggers are installed");
        let session = Session::connect(&self.url);
        let sql = format!(
            "select applied = {head} and consistent and phase = 'streaming' from lite2pg.position"
        );
        session.await_true(&sql, LOOK_PAUSE, || sidecar.talk());
        sidecar
    }

    fn idle(&mut self, during: Duration) {
        say(&format!("{} s of nothing", during.as_secs()));
        let sidecar = self.start_and_catch_up();
        // As in life: the application has the file open, so there is a -wal.
        let conn = Connection::open(&self.source).expect("open the source");
        conn.query_row("select count(*) from sqlite_schema", [], |_| Ok(())).expect("read");
        std::thread::sleep(Duration::from_secs(2));
        let before = machine::cpu_time(sidecar.pid());
        std::thread::sleep(during);
        let used = machine::cpu_time(sidecar.pid()) - before;
        let percent = 100.0 * used.as_secs_f64() / during.as_secs_f64();
        drop(conn);
        sidecar.stop();
        let what = format!("CPU at rest, over {} s", during.as_secs());
        self.table.row(&[what, format!("{percent:.3} % of a core"), "≤ 0.2 %".to_owned()]);
    }
}

/// Inserts orders, so many to a transaction.
fn write(source: &Path, rows: u64, per_transaction: u64) {
    let conn = Connection::open(source).expect("open the source");
    conn.execute_batch("pragma synchronous = off").expect("set up");
    let execute = |sql: &str| conn.prepare_cached(sql).and_then(|mut s| s.execute([]));
    for n in 0..rows {
        if n % per_transaction == 0 {
            execute("begin").expect("begin");
        }
        execute(
            "insert into orders (customer_id, status, placed_at, total_cents, currency, note)
             values (7, 'new', '2024-05-01T10:00:00Z', 995, 'EUR', 'left at the door, signed')",
        )
        .expect("insert");
        if (n + 1) % per_transaction == 0 || n + 1 == rows {
            execute("commit").expect("commit");
        }
    }
}

fn big_documents(source: &Path) {
    let conn = Connection::open(source).expect("open the source");
    conn.execute_batch(
        "pragma synchronous = off;
         insert into docs (title, body, attachment)
           with recursive n (i) as (select 1 union all select i + 1 from n where i < 20)
           select 'scan ' || i, '', randomblob(16 * 1024 * 1024) from n",
    )
    .expect("insert");
}
