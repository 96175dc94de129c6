//! Replay of a prepared backlog, against PostgreSQL's own logical replication of the same changes.
//!
//! Both sides hold the same base rows and are in step. Then the backlog is written: into SQLite
//! while no sidecar runs, into the publisher while the subscription is disabled. What is timed is
//! from the start of `lite2pg run`, or from enabling the subscription, until the last transaction
//! of the backlog can be seen on the target, by the same look at the same table.
//!
//! The subscription has PostgreSQL's defaults, with which it does not wait for the subscriber's
//! disk; lite2pg does. Keys come in an order that visits each row once and jumps about, so that
//! neither side gains by locality, except where a few hot keys are the point.
//!
//! LITE2PG_BENCH_BASE, LITE2PG_BENCH_CHANGES, LITE2PG_BENCH_ROUNDS.

mod rig;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rig::server::{Server, Session};
use rig::sidecar::{self, Sidecar};
use rig::{Samples, Table, say, size, thousands, timed};
use rusqlite::Connection;

/// Looks for the last change; far below the shortest time measured.
const LOOK_PAUSE: Duration = Duration::from_millis(2);

const HOT_KEYS: u64 = 1_000;

/// What the backlog does. In this order each workload leaves the rows that the next one needs,
/// and at the end of a round all is as at its beginning.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Insert,
    Update,
    Hot,
    Delete,
}

const WORKLOADS: [(&str, Kind, u64, &str); 7] = [
    ("insert, 1 row a transaction", Kind::Insert, 1, "2.0"),
    ("update, 1 row a transaction", Kind::Update, 1, "1.8"),
    ("delete, 1 row a transaction", Kind::Delete, 1, "1.2"),
    ("insert, 1000 rows a transaction", Kind::Insert, 1_000, "1.0"),
    ("update, 1000 rows a transaction", Kind::Update, 1_000, "1.1"),
    ("update of 1,000 hot keys, 1 row a transaction", Kind::Hot, 1, "20"),
    ("delete, 1000 rows a transaction", Kind::Delete, 1_000, "0.6"),
];

/// PostgreSQL's spelling of the two tables; SQLite takes it too.
const TABLES: &str = "
    create table t (id bigint primary key, customer bigint, status text, placed text,
                    total bigint, rate double precision, note text, tag text);
    create table marker (id bigint primary key, n bigint);";

struct Bench {
    publisher: Session,
    subscriber: Session,
    /// Of the sidecar.
    target: Session,
    target_url: String,
    source: PathBuf,
    base: u64,
    changes: u64,
    /// Of the last transaction of the last backlog.
    marker: i64,
    _servers: [Server; 2],
}

fn main() {
    let (base, changes) = (size("BASE", 50_000, 1_000_000), size("CHANGES", 50_000, 500_000));
    let rounds = size("ROUNDS", 1, 3);
    let directory = tempfile::tempdir().expect("a temporary directory");
    println!("## Replay\n\n{}.", rig::machine::describe(directory.path()));
    println!(
        "{} rows to begin with, backlogs of {} changes, {rounds} rounds in turn.\n",
        thousands(base as f64),
        thousands(changes as f64)
    );
    let mut bench = Bench::new(directory.path().join("source.db"), base, changes);
    let wanted: Vec<_> = WORKLOADS.into_iter().filter(|(name, ..)| rig::is_wanted(name)).collect();
    let mut samples = vec![[Samples::default(), Samples::default()]; wanted.len()];
    for round in 1..=rounds {
        for (number, (name, kind, per_transaction, _)) in wanted.iter().enumerate() {
            say(&format!("round {round} of {rounds}: {name}"));
            let native = bench.native(*kind, *per_transaction);
            let ours = bench.ours(*kind, *per_transaction);
            samples[number][0].push(native.as_secs_f64());
            samples[number][1].push(ours.as_secs_f64());
        }
    }
    bench.compare();
    print(&wanted, &samples, changes as f64);
}

impl Bench {
    fn new(source: PathBuf, base: u64, changes: u64) -> Self {
        say("bringing up two servers");
        let logical = ["wal_level = logical"];
        let servers = [Server::start(&logical), Server::start(&logical)];
        let published = servers[0].url("published");
        let publisher = Session::connect(&published);
        let subscriber = Session::connect(&servers[1].url("subscribed"));
        let target_url = servers[1].url("replayed");
        say("filling both sides with the base rows");
        for session in [&publisher, &subscriber] {
            session.run(TABLES);
            session.run(&fill_sql("generate_series(1, N) as x(i)", base));
            session.run("insert into marker values (1, 0)");
            session.run("vacuum analyze");
        }
        publisher.run("create publication p for table t, marker");
        subscriber.run(&format!(
            "create subscription s connection '{published}' publication p with (copy_data = false)"
        ));
        subscriber.run("alter subscription s disable");
        fill_source(&source, base);
        sidecar::execute(&["run", "--until-caught-up", "--target", &target_url], &source);
        let target = Session::connect(&target_url);
        target.run("vacuum analyze");
        Self {
            publisher,
            subscriber,
            target,
            target_url,
            source,
            base,
            changes,
            marker: 0,
            _servers: servers,
        }
    }

    /// PostgreSQL's own replication of one backlog.
    fn native(&mut self, kind: Kind, per_transaction: u64) -> Duration {
        self.subscriber.run("alter subscription s disable");
        self.publisher.run("set synchronous_commit = off");
        let key = key_sql(kind, self.base, self.changes);
        let change = match kind {
            Kind::Insert => fill_sql("(select k as i from k) as x", 0),
            Kind::Update | Kind::Hot => {
                "update t set status = 'moved', total = total + 1 from k where id = k".to_owned()
            }
            Kind::Delete => "delete from t using k where id = k".to_owned(),
        };
        let (last, step) = (self.changes - 1, per_transaction);
        self.publisher.run(&format!(
            "do $$ declare first bigint := 0; begin
               while first <= {last} loop
                 with k as (select {key} as k from generate_series(first,
                              least(first + {step} - 1, {last})) as s(n)) {change};
                 commit; first := first + {step};
               end loop; end $$"
        ));
        self.publisher.run(&format!("update marker set n = {}", self.marker + 1));
        self.tidy(&[&self.subscriber, &self.publisher]);
        let (took, ()) = timed(|| {
            self.subscriber.run("alter subscription s enable");
            self.await_marker(&self.subscriber, "marker", || "logical replication".to_owned());
        });
        took
    }

    /// lite2pg's replay of the same.
    fn ours(&mut self, kind: Kind, per_transaction: u64) -> Duration {
        write_backlog(&self.source, kind, self.base, self.changes, per_transaction);
        let conn = Connection::open(&self.source).expect("open the source");
        conn.execute("update marker set n = ?1", [self.marker + 1]).expect("update");
        self.tidy(&[&self.target]);
        let mut sidecar = None;
        let (took, ()) = timed(|| {
            let started = sidecar.insert(Sidecar::start(&self.source, &self.target_url, &[]));
            self.await_marker(&self.target, "public.marker", || started.talk());
        });
        sidecar.expect("it was started").stop();
        self.marker += 1;
        took
    }

    fn await_marker(&self, session: &Session, table: &str, what: impl FnMut() -> String) {
        let sql = format!("select n = {} from {table}", self.marker + 1);
        session.await_true(&sql, LOOK_PAUSE, what);
    }

    /// Neither side works on dead rows of an earlier workload or meets a checkpoint.
    fn tidy(&self, sessions: &[&Session]) {
        for session in sessions {
            session.run("vacuum analyze");
            session.run("checkpoint");
        }
    }

    /// All three hold the same rows, or the figures would mean nothing.
    fn compare(&self) {
        let sql =
            "select md5(string_agg(md5(format('%s|%s|%s|%s|%s|%s|%s|%s', id, customer, status,
                          placed, total, rate, note, tag)), '' order by id)) from t";
        let published = self.publisher.text(sql);
        assert_eq!(published, self.subscriber.text(sql), "logical replication lost something");
        let replayed = self.target.text(&sql.replace("from t", "from public.t"));
        assert_eq!(published, replayed, "lite2pg lost something");
        say("all sides hold the same rows");
    }
}

/// The n-th key of a backlog, in SQL; [`key`] is the same in Rust.
fn key_sql(kind: Kind, base: u64, changes: u64) -> String {
    match kind {
        Kind::Insert => format!("{base} + 1 + n"),
        Kind::Update => format!("1 + (n * {}) % {base}", stride(base)),
        Kind::Delete => format!("{base} + 1 + (n * {}) % {changes}", stride(changes)),
        Kind::Hot => format!("1 + (n * {}) % {HOT_KEYS}", stride(HOT_KEYS)),
    }
}

fn key(kind: Kind, base: u64, changes: u64, n: u64) -> u64 {
    match kind {
        Kind::Insert => base + 1 + n,
        Kind::Update => 1 + (n * stride(base)) % base,
        Kind::Delete => base + 1 + (n * stride(changes)) % changes,
        Kind::Hot => 1 + (n * stride(HOT_KEYS)) % HOT_KEYS,
    }
}

/// A step that has no divisor in common with `count`, so that it visits every row once.
fn stride(count: u64) -> u64 {
    fn gcd(one: u64, other: u64) -> u64 {
        if other == 0 { one } else { gcd(other, one % other) }
    }
    (count * 618 / 1000..).find(|step| gcd(*step, count) == 1).expect("a prime is coming")
}

/// Rows in PostgreSQL; `%1$s`-free, so that both sides compute the same text from the key.
fn fill_sql(from: &str, count: u64) -> String {
    format!(
        "insert into t select i, (i * 7919) % 50000, 'new', '2024-05-01T' || (i % 86400),
                (i * 31) % 100000, (i % 1000) / 8.0, 'parcel ' || i || ' is on the shelf', 'tag'
           from {}",
        from.replace('N', &count.to_string())
    )
}

fn fill_source(path: &Path, base: u64) {
    let mut conn = open(path);
    conn.execute_batch(&TABLES.replace("double precision", "real").replace("bigint", "integer"))
        .expect("make the tables");
    let transaction = conn.transaction().expect("begin");
    for id in 1..=base {
        insert(&transaction, id);
    }
    transaction.execute("insert into marker values (1, 0)", []).expect("insert");
    transaction.commit().expect("commit");
}

fn open(path: &Path) -> Connection {
    let conn = Connection::open(path).expect("open the source");
    conn.execute_batch("pragma journal_mode = wal; pragma synchronous = off").expect("set up");
    conn
}

fn insert(conn: &Connection, id: u64) {
    let id = i64::try_from(id).expect("keys are small");
    conn.prepare_cached(
        "insert into t values (?1, (?1 * 7919) % 50000, 'new', '2024-05-01T' || (?1 % 86400),
            (?1 * 31) % 100000, (?1 % 1000) / 8.0, 'parcel ' || ?1 || ' is on the shelf', 'tag')",
    )
    .and_then(|mut statement| statement.execute([id]))
    .expect("insert");
}

fn write_backlog(path: &Path, kind: Kind, base: u64, changes: u64, per_transaction: u64) {
    let conn = open(path);
    let execute = |sql: &str| conn.prepare_cached(sql).and_then(|mut s| s.execute([]));
    for n in 0..changes {
        if n % per_transaction == 0 {
            execute("begin").expect("begin");
        }
        let key = key(kind, base, changes, n);
        let bound = i64::try_from(key).expect("keys are small");
        match kind {
            Kind::Insert => insert(&conn, key),
            Kind::Update | Kind::Hot => conn
                .prepare_cached("update t set status = 'moved', total = total + 1 where id = ?1")
                .and_then(|mut statement| statement.execute([bound]))
                .map(drop)
                .expect("update"),
            Kind::Delete => conn
                .prepare_cached("delete from t where id = ?1")
                .and_then(|mut statement| statement.execute([bound]))
                .map(drop)
                .expect("delete"),
        }
        if (n + 1) % per_transaction == 0 || n + 1 == changes {
            execute("commit").expect("commit");
        }
    }
}

fn print(wanted: &[(&str, Kind, u64, &str)], samples: &[[Samples; 2]], changes: f64) {
    println!("Ratio: changes per second of lite2pg divided by those of logical replication, in");
    println!("the same round. What a process needs to start is in both.\n");
    let mut table = Table::new(&[
        "backlog",
        "native s",
        "lite2pg s",
        "native /s",
        "lite2pg /s",
        "ratio",
        "ratios",
        "aim",
    ]);
    for ((name, .., aim), [native, ours]) in wanted.iter().zip(samples) {
        let ratio = native.ratio(ours);
        table.row(&[
            (*name).to_owned(),
            format!("{:.2}", native.median()),
            format!("{:.2}", ours.median()),
            thousands(changes / native.median()),
            thousands(changes / ours.median()),
            format!("{:.2}", ratio.median()),
            ratio.spread(2),
            format!("≥ {aim}"),
        ]);
    }
    table.print();
}
