//! Rows that the target refuses: set aside with their reason, counted, and taken back in.

use std::path::Path;

use rusqlite::Connection;

use crate::judge;
use crate::support::cluster::{TestDatabase, block_on};
use crate::support::sidecar::{Launch, status};

/// More rows than one read of the backlog takes.
const BACKLOG_ROWS: u32 = 45_000;

struct Pair {
    directory: tempfile::TempDir,
    target: TestDatabase,
}

impl Pair {
    /// Two names in a table, in step.
    fn in_step() -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        let pair = Self { directory, target: TestDatabase::create() };
        pair.write(
            "create table person(id integer primary key, name text);
             create table filler(id integer primary key, n integer);
             insert into person values (1, 'Ada'), (2, 'Brian')",
        );
        pair.catch_up(&[]);
        pair
    }

    fn file(&self) -> std::path::PathBuf {
        self.directory.path().join("app.db")
    }

    fn write(&self, sql: &str) {
        Connection::open(self.file())
            .and_then(|connection| connection.execute_batch(sql))
            .expect("the statements are valid");
    }

    fn on_target(&self, sql: &str) {
        block_on(async { self.target.client().await.batch_execute(sql).await })
            .expect("the statement is valid");
    }

    fn catch_up(&self, arguments: &[&str]) {
        Launch::catch_up(&self.file(), self.target.url()).args(arguments).finish().expect_code(0);
    }

    fn quarantined(&self) -> i64 {
        status(&self.file(), self.target.url())["quarantined"].as_i64().expect("a number")
    }

    /// How many rows the target lacks or has otherwise.
    fn differences(&self) -> u64 {
        match judge::compare(Path::new(&self.file()), self.target.url(), "public") {
            Ok(_) => 0,
            Err(found) => found.total,
        }
    }

    /// Two rows of the same name, with a long backlog between them, and a target that forbids it.
    fn refuse_a_second_ada(&self) {
        self.on_target("create unique index one_of_each on public.person(name)");
        self.write(&format!(
            "update person set name = 'Ada' where id = 2;
             with recursive many(n) as (values (1) union all select n + 1 from many
                                         where n < {BACKLOG_ROWS})
             insert into filler select n, n from many"
        ));
    }
}

#[test]
fn a_row_that_an_index_of_the_target_alone_forbids_is_set_aside_and_the_rest_goes_on() {
    let pair = Pair::in_step();
    pair.refuse_a_second_ada();
    pair.catch_up(&[]);
    assert_eq!(pair.quarantined(), 1);
    assert_eq!(pair.differences(), 1, "all but the row in quarantine is equal");
}

#[test]
fn a_row_in_the_way_is_not_lost_when_the_backlog_outlasts_a_transaction() {
    let pair = Pair::in_step();
    pair.refuse_a_second_ada();
    pair.catch_up(&["--transaction-max", "0s"]);
    assert_eq!(pair.quarantined(), 1, "one of the two is missing, and it is counted");
    assert_eq!(pair.differences(), 1, "all but the row in quarantine is equal");
}

#[test]
fn a_row_leaves_quarantine_when_the_source_no_longer_holds_what_was_refused() {
    let pair = Pair::in_step();
    pair.refuse_a_second_ada();
    pair.catch_up(&[]);
    assert_eq!(pair.quarantined(), 1);
    pair.write("update person set name = 'Brian' where id = 2");
    pair.catch_up(&[]);
    assert_eq!(pair.quarantined(), 0);
    assert_eq!(pair.differences(), 0);
}

#[test]
fn values_that_change_places_across_the_reads_of_a_backlog_arrive_as_they_are() {
    let pair = Pair::in_step();
    pair.write("create unique index one_of_each on person(name)");
    pair.catch_up(&[]);
    pair.write("update person set name = 'Ada Augusta' where id = 1");
    pair.write(&format!(
        "update person set name = 'swap' where id = 1;
         update person set name = 'Ada' where id = 2;
         with recursive many(n) as (values (1) union all select n + 1 from many
                                     where n < {BACKLOG_ROWS})
         insert into filler select n, n from many;
         update person set name = 'Brian' where id = 1"
    ));
    pair.catch_up(&["--transaction-max", "0s", "--poll-interval-ms", "10"]);
    assert_eq!(pair.quarantined(), 0);
    assert_eq!(pair.differences(), 0);
}
