//! Comparing both sides, against what PostgreSQL alone needs for the digests of the same rows.
//!
//! LITE2PG_BENCH_ORDERS (twice as many items), LITE2PG_BENCH_DOCS, LITE2PG_BENCH_ROUNDS.

mod rig;

use rig::data::{self, TABLES};
use rig::server::{Server, Session};
use rig::{Samples, Table, say, sidecar, size, thousands, timed};

/// What is measured; all are held against the first.
const METHODS: [&str; 6] = [
    "PostgreSQL alone: a digest of every row",
    "lite2pg verify --full, nothing proven",
    "lite2pg verify --full",
    "lite2pg verify, nothing changed",
    "lite2pg verify, 1 % changed, scattered",
    "lite2pg verify, 1 % changed, side by side",
];

fn main() {
    let (orders, docs) = (size("ORDERS", 100_000, 700_000), size("DOCS", 2_000, 20_000));
    let rounds = size("ROUNDS", 3, 5);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let source = directory.path().join("orders.db");
    println!("## Verify\n\n{}.", rig::machine::describe(directory.path()));
    say("making both sides");
    data::fill(&source, orders, docs);
    let rows = (3 * orders + docs) as f64;
    let server = Server::start(&[]);
    let url = server.fresh("proven");
    let catch_up = || sidecar::execute(&["run", "--until-caught-up", "--target", &url], &source);
    catch_up();
    println!("{} rows, {rounds} rounds in turn.\n", thousands(rows));
    let session = Session::connect(&url);
    let mut samples = vec![Samples::default(); METHODS.len()];
    let verify = |more: &[&str]| {
        let arguments = [&["verify", "--log", "error", "--target", &url], more].concat();
        timed(|| sidecar::execute(&arguments, &source)).0.as_secs_f64()
    };
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
        session.text(
            "with gone as (delete from lite2pg.chunks returning 1) select count(*)::text from gone",
        );
        samples[1].push(verify(&["--full"]));
        samples[2].push(verify(&["--full"]));
        samples[3].push(verify(&[]));
        touch(&source, |id| format!("{id} % 100 = {}", round % 100));
        catch_up();
        samples[4].push(verify(&[]));
        let first = round * orders / 20;
        touch(&source, |id| format!("{id} between {first} and {}", first + orders / 100));
        catch_up();
        samples[5].push(verify(&[]));
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

/// Changes the orders that `condition` names by their numbers, and their items.
fn touch(source: &std::path::Path, condition: impl Fn(&str) -> String) {
    let conn = rusqlite::Connection::open(source).expect("open the source");
    conn.execute_batch(&format!(
        "begin; update orders set total_cents = total_cents + 1 where {};
         update items set quantity = quantity + 1 where {}; commit",
        condition("id"),
        condition("order_id"),
    ))
    .expect("the statements are valid");
}
