//! Comparing both sides, against what PostgreSQL alone needs for the digests of the same rows.
//!
//! LITE2PG_BENCH_ORDERS (twice as many items), LITE2PG_BENCH_DOCS, LITE2PG_BENCH_ROUNDS.

mod rig;

use rig::data::{self, TABLES};
use rig::server::{Server, Session};
use rig::{Samples, Table, say, sidecar, size, thousands, timed};

/// What is measured; all are held against the first.
const METHODS: [&str; 3] =
    ["PostgreSQL alone: a digest of every row", "lite2pg verify", "lite2pg verify --full"];

fn main() {
    let (orders, docs) = (size("ORDERS", 100_000, 1_000_000), size("DOCS", 2_000, 20_000));
    let rounds = size("ROUNDS", 3, 7);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let source = directory.path().join("orders.db");
    println!("## Verify\n\n{}.", rig::machine::describe(directory.path()));
    say("making both sides");
    data::fill(&source, orders, docs);
    let rows = (3 * orders + docs) as f64;
    let server = Server::start(&[]);
    let url = server.fresh("proven");
    sidecar::execute(&["run", "--until-caught-up", "--target", &url], &source);
    println!("{} rows, {rounds} rounds in turn.\n", thousands(rows));
    let session = Session::connect(&url);
    let mut samples = vec![Samples::default(); METHODS.len()];
    for round in 1..=rounds {
        say(&format!("round {round} of {rounds}"));
        let (alone, ()) = timed(|| {
            for table in TABLES {
                session.text(&format!(
                    "select encode(sha256(string_agg(sha256(record_send(t)), '')), 'hex')
                       from public.{table} t"
                ));
            }
        });
        samples[0].push(alone.as_secs_f64());
        for (number, more) in [(1, &[][..]), (2, &["--full"][..])] {
            let arguments = [&["verify", "--log", "error", "--target", &url], more].concat();
            let (took, ()) = timed(|| sidecar::execute(&arguments, &source));
            samples[number].push(took.as_secs_f64());
        }
    }
    let mut table = Table::new(&["method", "s, median", "min..max", "rows/s", "ratio", "ratios"]);
    for (taken, name) in samples.iter().zip(METHODS) {
        let ratio = taken.ratio(&samples[0]);
        table.row(&[
            name.to_owned(),
            format!("{:.2}", taken.median()),
            taken.spread(2),
            thousands(rows / taken.median()),
            format!("{:.2}", ratio.median()),
            ratio.spread(2),
        ]);
    }
    table.print();
}
