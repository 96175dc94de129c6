//! What the triggers cost the application: a writer in a tight loop, with and without them.
//!
//! The loop does nothing but write, so this is the worst case; a real application spends most of
//! its time elsewhere. Two files of the same rows, one captured, are written in turn; the ratio is
//! that of neighbours in time.
//!
//! LITE2PG_BENCH_WRITES (rows in one run), LITE2PG_BENCH_COMMITS (transactions in one run that
//! waits for the disk), LITE2PG_BENCH_ROUNDS.

mod rig;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rig::data::Mixer;
use rig::{Samples, Table, say, sidecar, size, timed};
use rusqlite::{Connection, params};

/// Rows in each file before the first run.
const BASE: u64 = 100_000;

#[derive(Clone, Copy)]
enum Kind {
    Insert,
    Update,
}

struct Case {
    journal: &'static str,
    synchronous: &'static str,
    kind: Kind,
    per_transaction: u64,
}

impl Case {
    fn name(&self) -> String {
        let kind = match self.kind {
            Kind::Insert => "insert",
            Kind::Update => "update",
        };
        format!("{} {} {kind} {}", self.journal, self.synchronous, self.per_transaction)
    }

    /// Whether each commit waits for the disk.
    fn waits(&self) -> bool {
        self.synchronous == "full" || self.journal == "delete" && self.synchronous != "off"
    }

    /// What DESIGN promises, where it promises something.
    fn aim(&self) -> &'static str {
        match (self.journal, self.synchronous, self.kind, self.per_transaction) {
            ("wal", "full", _, 1) => "≤ 1.05",
            ("wal", "normal", Kind::Insert, 1) => "≤ 1.75",
            ("wal", "normal", Kind::Update, 1) => "≤ 1.40",
            ("wal", "normal", Kind::Insert, 1_000) => "≤ 1.60",
            ("wal", "normal", Kind::Update, 1_000) => "≤ 1.15",
            _ => "",
        }
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for journal in ["wal", "delete"] {
        for synchronous in ["off", "normal", "full"] {
            for kind in [Kind::Insert, Kind::Update] {
                for per_transaction in [1, 100, 1_000] {
                    cases.push(Case { journal, synchronous, kind, per_transaction });
                }
            }
        }
    }
    cases
}

fn main() {
    let (writes, commits) = (size("WRITES", 10_000, 40_000), size("COMMITS", 100, 1_000));
    let rounds = size("ROUNDS", 3, 9);
    let directory = tempfile::tempdir().expect("a temporary directory");
    println!("## What triggers cost a writer\n\n{}.", rig::machine::describe(directory.path()));
    println!("{rounds} rounds of pairs; a row has 8 columns and about 100 bytes.\n");
    let plain = directory.path().join("plain.db");
    let captured = directory.path().join("captured.db");
    for path in [&plain, &captured] {
        fill(path);
    }
    sidecar::execute(&["install"], &captured);
    let mut table = Table::new(&[
        "journal",
        "synchronous",
        "writes",
        "rows a transaction",
        "µs a row without",
        "µs a row with",
        "ratio",
        "ratios",
        "aim",
    ]);
    for case in cases().iter().filter(|case| rig::is_wanted(&case.name())) {
        say(&case.name());
        let per_run =
            if case.waits() { (commits * case.per_transaction).min(writes) } else { writes };
        let [without, with] = pairs(case, &plain, &captured, per_run, rounds);
        let ratio = with.ratio(&without);
        table.row(&[
            case.journal.to_owned(),
            case.synchronous.to_owned(),
            match case.kind {
                Kind::Insert => "insert".to_owned(),
                Kind::Update => "update".to_owned(),
            },
            case.per_transaction.to_string(),
            format!("{:.1}", without.median()),
            format!("{:.1}", with.median()),
            format!("{:.2}", ratio.median()),
            ratio.spread(2),
            case.aim().to_owned(),
        ]);
    }
    table.print();
}

/// Microseconds a row, without and with triggers; which comes first alternates.
fn pairs(case: &Case, plain: &Path, captured: &Path, rows: u64, rounds: u64) -> [Samples; 2] {
    let mut samples = [Samples::default(), Samples::default()];
    let paths: [PathBuf; 2] = [plain.to_owned(), captured.to_owned()];
    for round in 0..rounds {
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for which in order {
            let took = write(case, &paths[which], rows, round);
            samples[which].push(took.as_secs_f64() * 1e6 / rows as f64);
        }
    }
    samples
}

fn fill(path: &Path) {
    let mut conn = Connection::open(path).expect("open a new file");
    conn.execute_batch(
        "pragma journal_mode = wal; pragma synchronous = off;
         create table t (id integer primary key, customer integer, status text, placed text,
                         total integer, rate real, note text, tag text)",
    )
    .expect("make the table");
    let transaction = conn.transaction().expect("begin");
    let mut mixer = Mixer::new(1);
    for _ in 0..BASE {
        insert(&transaction, &mut mixer);
    }
    transaction.commit().expect("commit");
}

fn insert(conn: &Connection, mixer: &mut Mixer) {
    conn.prepare_cached(
        "insert into t (customer, status, placed, total, rate, note, tag)
         values (?1, 'new', '2024-05-01T10:00:00Z', ?2, ?3, 'a parcel is on the shelf, late', 'x')",
    )
    .and_then(|mut statement| {
        let (customer, total) = (mixer.below(50_000), mixer.below(100_000));
        statement.execute(params![customer, total, f64::from(mixer.next() as u32) / 8.0])
    })
    .expect("insert");
}

/// One run, on a connection of its own.
fn write(case: &Case, path: &Path, rows: u64, seed: u64) -> Duration {
    let conn = Connection::open(path).expect("open the file");
    let Case { journal, synchronous, .. } = case;
    conn.execute_batch(&format!(
        "pragma journal_mode = {journal}; pragma synchronous = {synchronous}"
    ))
    .expect("set the mode");
    let mut mixer = Mixer::new(seed);
    let execute = |sql: &str| conn.prepare_cached(sql).and_then(|mut s| s.execute([]));
    let (took, ()) = timed(|| {
        for n in 0..rows {
            if n % case.per_transaction == 0 {
                execute("begin").expect("begin");
            }
            match case.kind {
                Kind::Insert => insert(&conn, &mut mixer),
                Kind::Update => conn
                    .prepare_cached(
                        "update t set status = 'moved', total = total + 1 where id = ?1",
                    )
                    .and_then(|mut statement| statement.execute([1 + mixer.below(BASE)]))
                    .map(drop)
                    .expect("update"),
            }
            if (n + 1) % case.per_transaction == 0 || n + 1 == rows {
                execute("commit").expect("commit");
            }
        }
    });
    took
}
