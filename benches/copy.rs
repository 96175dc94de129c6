//! The first copy of a whole file, against what the server itself needs for the same rows: COPY
//! BINARY from files that lie prepared on the server's own disk.
//!
//! Both end with the same tables, keys and indexes. The limit is taken in several ways, because
//! lite2pg builds keys after the rows and uses several connections, and it is no merit of its own
//! that this is faster than one COPY into tables whose keys are there.
//!
//! LITE2PG_BENCH_ORDERS (twice as many items), LITE2PG_BENCH_DOCS, LITE2PG_BENCH_ROUNDS.

mod rig;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rig::data::{self, INDEXES, KEYS, TABLES};
use rig::server::{Server, Session};
use rig::sidecar::{self, Sidecar};
use rig::{Samples, Table, say, size, thousands, timed};

/// What is measured: its name, and whether keys and indexes are part of it.
const METHODS: [(&str, bool); 7] = [
    ("COPY, keys and indexes there before", true),
    ("COPY, keys and indexes built after", true),
    ("the same, three tables side by side", true),
    ("lite2pg, to the last index", true),
    ("lite2pg, the whole process", true),
    ("COPY, no keys", false),
    ("lite2pg, rows alone", false),
];

/// Where the limits of the two groups stand in [`METHODS`].
const LIMIT_WITH_KEYS: usize = 0;
const LIMIT_WITHOUT: usize = 5;

struct Bench {
    server: Server,
    source: PathBuf,
    rows: f64,
}

fn main() {
    let (orders, docs) = (size("ORDERS", 100_000, 1_000_000), size("DOCS", 2_000, 20_000));
    let rounds = size("ROUNDS", 3, 7);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let source = directory.path().join("orders.db");
    println!("## First copy\n\n{}.", rig::machine::describe(directory.path()));
    say("making the source");
    data::fill(&source, orders, docs);
    let rows = (3 * orders + docs) as f64;
    let bytes = std::fs::metadata(&source).expect("the file is there").len() / (1024 * 1024);
    println!("{} rows, {bytes} MiB of SQLite, {rounds} rounds in turn.\n", thousands(rows));
    let bench = Bench { server: Server::start(&[]), source, rows };
    bench.prepare();
    let mut samples = vec![Samples::default(); METHODS.len()];
    for round in 1..=rounds {
        say(&format!("round {round} of {rounds}"));
        bench.round(&mut samples);
    }
    bench.print(&samples);
}

impl Bench {
    /// Lets lite2pg make the tables once, and writes the prepared files from them.
    fn prepare(&self) {
        say("preparing the files on the server");
        let url = self.server.fresh("made");
        sidecar::execute(&["run", "--until-caught-up", "--target", &url], &self.source);
        let session = Session::connect(&url);
        for table in TABLES {
            let file = self.file(table);
            session.run(&format!("copy public.{table} to '{file}' (format binary)"));
        }
        drop(session);
    }

    fn file(&self, table: &str) -> String {
        let file = self.server.data_dir().join(format!("bench_{table}.bin"));
        file.to_str().expect("temporary paths are text").replace('\'', "''")
    }

    fn round(&self, samples: &mut [Samples]) {
        for (number, limit) in
            [Limit::KeysBefore, Limit::KeysAfter, Limit::SideBySide].into_iter().enumerate()
        {
            samples[number].push(self.limit(limit).as_secs_f64());
        }
        let phases = self.product();
        samples[3].push(phases.indexes.as_secs_f64());
        samples[4].push(phases.process.as_secs_f64());
        samples[6].push(phases.rows.as_secs_f64());
        samples[5].push(self.limit(Limit::NoKeys).as_secs_f64());
    }

    /// COPY from the prepared files, in one of the ways.
    fn limit(&self, how: Limit) -> Duration {
        let url = self.server.fresh("limit");
        let session = Session::connect(&url);
        for (table, definition) in TABLES.iter().zip(self.definitions()) {
            session.run(&format!("create table {table} ({definition})"));
        }
        let keys = || KEYS.iter().chain(&INDEXES).for_each(|sql| session.run(sql));
        if how == Limit::KeysBefore {
            keys();
        }
        self.server.checkpoint();
        let copy = |session: &Session, table: &str| {
            session.run(&format!("copy {table} from '{}' (format binary)", self.file(table)));
        };
        let (took, ()) = timed(|| match how {
            Limit::KeysBefore | Limit::NoKeys => {
                TABLES.iter().for_each(|table| copy(&session, table));
            }
            Limit::KeysAfter => {
                TABLES.iter().for_each(|table| copy(&session, table));
                keys();
            }
            Limit::SideBySide => {
                std::thread::scope(|scope| {
                    for table in TABLES {
                        let url = &url;
                        scope.spawn(move || copy(&Session::connect(url), table));
                    }
                });
                keys();
            }
        });
        took
    }

    /// The columns as lite2pg makes them.
    fn definitions(&self) -> Vec<String> {
        let session = Session::connect(&self.server.url("made"));
        let of = |table| {
            session.text(&format!(
                "select string_agg(format('%I %s%s%s', a.attname, format_type(atttypid, atttypmod),
                        case when attcollation = 950 then ' collate \"C\"' else '' end,
                        case when attnotnull then ' not null' else '' end), ', ' order by attnum)
                   from pg_attribute a
                  where attrelid = 'public.{table}'::regclass and 0 < attnum and not attisdropped"
            ))
        };
        TABLES.into_iter().map(of).collect()
    }

    fn product(&self) -> Phases {
        sidecar::execute(&["uninstall"], &self.source);
        settle(&self.source);
        let url = self.server.fresh("product");
        self.server.checkpoint();
        let mut sidecar = Sidecar::start(&self.source, &url, &["--until-caught-up"]);
        let begun = sidecar.until("triggers installed");
        let rows = sidecar.until("rows copied") - begun;
        let indexes = sidecar.until("in step");
        let process = sidecar.until_end();
        Phases { rows, indexes, process }
    }

    fn print(&self, samples: &[Samples]) {
        let limits = [LIMIT_WITH_KEYS, LIMIT_WITHOUT].map(|limit| METHODS[limit].0);
        println!("Ratios: wall time divided by that of the first line of each group, in the same");
        println!("round ({:?} and {:?}).\n", limits[0], limits[1]);
        let mut table =
            Table::new(&["method", "s, median", "min..max", "rows/s", "ratio", "ratios"]);
        for (number, (name, with_keys)) in METHODS.into_iter().enumerate() {
            let limit = if with_keys { LIMIT_WITH_KEYS } else { LIMIT_WITHOUT };
            let (taken, ratio) = (&samples[number], samples[number].ratio(&samples[limit]));
            table.row(&[
                name.to_owned(),
                format!("{:.2}", taken.median()),
                taken.spread(2),
                thousands(self.rows / taken.median()),
                format!("{:.2}", ratio.median()),
                ratio.spread(2),
            ]);
        }
        table.print();
    }
}

/// Ways to find out what the server itself needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Limit {
    KeysBefore,
    KeysAfter,
    SideBySide,
    NoKeys,
}

/// How long lite2pg took.
struct Phases {
    /// From the installed triggers to the last row.
    rows: Duration,
    /// From the start of the process to the last index.
    indexes: Duration,
    /// From the start of the process to its end.
    process: Duration,
}

/// Moves what uninstalling wrote into the file, so that every round begins alike.
fn settle(source: &Path) {
    let conn = rusqlite::Connection::open(source).expect("open the source");
    conn.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(())).expect("checkpoint");
}
