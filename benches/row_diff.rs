//! Comparing both sides, against a public tool that finds differing rows: reladiff, the maintained
//! fork of data-diff, from PyPI.
//!
//! It cannot read SQLite, and no other tool that we found compares SQLite with PostgreSQL. So it
//! gets the easier question: it compares two PostgreSQL tables of one server, both with its
//! checksums by stretches of keys (`hashdiff`, which is how it compares two databases) and with one
//! join inside the server (`joindiff`, which needs both tables in one database). lite2pg compares
//! the SQLite file with the same table. All are asked when nothing differs, and with 100 rows
//! missing, extra or changed.
//!
//! LITE2PG_BENCH_ORDERS, LITE2PG_BENCH_ROUNDS; LITE2PG_BENCH_RELADIFF names the program, which is
//! installed into a temporary folder otherwise: that needs python3 with venv, and PyPI.

mod rig;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use rig::server::{Server, Session};
use rig::{Samples, Table, data, say, sidecar, size, thousands, timed};

/// What `pip` installs, in the versions that were measured.
const PACKAGES: [&str; 2] = ["reladiff==0.6.0", "psycopg2-binary==2.9.13"];

/// Rows that are made to differ; a third of each kind.
const PLANTED: u64 = 100;

/// What is measured; all are held against the first.
const METHODS: [Method; 3] = [
    Method::Lite2pg,
    Method::Reladiff("reladiff, hashdiff", "hashdiff"),
    Method::Reladiff("reladiff, joindiff", "joindiff"),
];

#[derive(Clone, Copy)]
enum Method {
    Lite2pg,
    Reladiff(&'static str, &'static str),
}

fn main() {
    let (orders, rounds) = (size("ORDERS", 100_000, 1_000_000), size("ROUNDS", 3, 5));
    let directory = tempfile::tempdir().expect("a temporary directory");
    println!("## Rows that differ\n\n{}.", rig::machine::describe(directory.path()));
    let Some(reladiff) = reladiff(directory.path()) else {
        println!("reladiff could not be installed: python3 with venv, or PyPI, is missing.\n");
        return;
    };
    let source = directory.path().join("orders.db");
    say("making both sides");
    data::fill(&source, orders, 0);
    let server = Server::start(&[]);
    let url = server.fresh("differing");
    sidecar::execute(&["run", "--until-caught-up", "--target", &url], &source);
    let session = Session::connect(&url);
    // What SQLite holds, for the tool that cannot read it.
    session.run(
        "create table twin (like orders including all); insert into twin select * from orders;
         analyze orders; analyze twin",
    );
    println!("{} rows of one table, {rounds} rounds in turn.\n", thousands(orders as f64));
    let sides = Sides { source, url, reladiff };
    let mut table = Table::new(&[
        "method",
        "compares",
        "differ",
        "found",
        "s, median",
        "min..max",
        "rows/s",
        "ratio",
        "ratios",
    ]);
    for planted in [0, PLANTED] {
        if planted != 0 {
            plant(&session);
        }
        let mut samples = vec![Samples::default(); METHODS.len()];
        let mut found = [0; METHODS.len()];
        for round in 1..=rounds {
            say(&format!("{planted} rows differ: round {round} of {rounds}"));
            for (number, method) in METHODS.iter().enumerate() {
                let (took, count) = timed(|| sides.differing(*method));
                samples[number].push(took.as_secs_f64());
                found[number] = count;
            }
        }
        for ((taken, method), found) in samples.iter().zip(METHODS).zip(found) {
            let (name, compares) = match method {
                Method::Lite2pg => ("lite2pg verify --full", "SQLite, PostgreSQL"),
                Method::Reladiff(name, _) => (name, "PostgreSQL, PostgreSQL"),
            };
            let ratio = taken.ratio(&samples[0]);
            table.row(&[
                name.to_owned(),
                compares.to_owned(),
                planted.to_string(),
                found.to_string(),
                format!("{:.2}", taken.median()),
                taken.spread(2),
                thousands(orders as f64 / taken.median()),
                format!("{:.2}", ratio.median()),
                ratio.spread(2),
            ]);
        }
    }
    table.print();
}

/// The tool's program: the one that is named, or one of this run's own.
fn reladiff(directory: &Path) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("LITE2PG_BENCH_RELADIFF") {
        return Some(named.into());
    }
    say("installing reladiff");
    let venv = directory.join("venv");
    let succeeds = |command: &mut Command| {
        let output = command.output().ok();
        output.is_some_and(|output| {
            let is_done = output.status.success();
            if !is_done {
                say(&String::from_utf8_lossy(&output.stderr));
            }
            is_done
        })
    };
    let is_there = succeeds(Command::new("python3").args(["-m", "venv"]).arg(&venv))
        && succeeds(Command::new(venv.join("bin/pip")).args(["install", "--quiet"]).args(PACKAGES));
    is_there.then(|| venv.join("bin/reladiff"))
}

/// A third of the rows is missing, a third extra, a third different in one column.
fn plant(session: &Session) {
    let (first, second) = (PLANTED / 3, 2 * PLANTED / 3);
    session.run(&format!(
        "create temporary table chosen as
             select id, row_number() over (order by hashtext(id::text), id) as n from orders
              order by 2 limit {PLANTED};
         delete from orders where id in (select id from chosen where n <= {first});
         insert into orders
             select -o.id, o.customer_id, o.status, o.placed_at, o.total_cents, o.currency,
                    o.discount, o.note
               from orders o join chosen c using (id) where {first} < c.n and c.n <= {second};
         update orders set total_cents = total_cents + 1
          where id in (select id from chosen where {second} < n)"
    ));
}

/// What is compared, and with what.
struct Sides {
    source: PathBuf,
    url: String,
    reladiff: PathBuf,
}

impl Sides {
    /// How many rows the method says differ.
    fn differing(&self, method: Method) -> u64 {
        match method {
            Method::Lite2pg => self.by_lite2pg(),
            Method::Reladiff(_, algorithm) => self.by_reladiff(algorithm),
        }
    }

    fn by_lite2pg(&self) -> u64 {
        let whole = ["verify", "--log", "error", "--json", "--all", "--full", "--table", "orders"];
        let arguments = [&whole[..], &["--target", &self.url]].concat();
        let output = sidecar::command(&arguments, &self.source).output().expect("start lite2pg");
        let talk = String::from_utf8_lossy(&output.stderr);
        let verdict: serde_json::Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}\n{talk}", output.status));
        verdict["drift_rows"].as_u64().expect("a number")
    }

    fn by_reladiff(&self, algorithm: &str) -> u64 {
        // It does not read the rest of such a URL, but what it connects with reads the environment.
        let (url, rest) = self.url.split_once('?').expect("a socket is named behind it");
        let named = rest.split('&').filter_map(|setting| setting.split_once('='));
        let output = Command::new(&self.reladiff)
            .args([url, "orders", url, "twin", "-k", "id", "-c", "%", "--json"])
            .args(["--algorithm", algorithm])
            .envs(named.map(|(name, value)| (format!("PG{}", name.to_uppercase()), value)))
            // It folds lines where it takes the terminal to end.
            .env("COLUMNS", "10000")
            .output()
            .expect("start reladiff");
        let talk = String::from_utf8_lossy(&output.stderr);
        // It ends with zero whatever happens.
        let is_done = output.status.success() && !talk.contains(" ERROR ");
        assert!(is_done, "reladiff: {}\n{talk}", output.status);
        let rows = String::from_utf8_lossy(&output.stdout);
        let rows = rows.lines().filter(|line| !line.trim().is_empty()).map(|line| {
            let row: serde_json::Value = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{error}: {line}\n{talk}"));
            row[1][0].to_string()
        });
        let keys: BTreeSet<String> = rows.collect();
        keys.len() as u64
    }
}
