//! A writer that never rests: there is no moment at which nothing is left to read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::support::cluster::block_on;
use crate::support::database::TestDatabase;
use crate::support::sidecar::{Launch, status};

/// The sidecar needs a second; without an answer to restlessness it never ends.
const CATCH_UP_MAX: Duration = Duration::from_secs(40);

/// Ends the writer, also when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The sidecar is made to pause between reading and applying, so that there is always more to read
/// once it has applied.
#[test]
fn a_writer_that_never_rests_does_not_keep_the_target_from_being_in_step() {
    let directory = tempfile::tempdir().expect("the temporary directory is writable");
    let file = directory.path().join("app.db");
    let target = TestDatabase::create();
    let connection = Connection::open(&file).expect("open the source");
    connection
        .execute_batch(
            "pragma journal_mode = wal; pragma synchronous = off;
             create table counter(id integer primary key, n integer not null);
             create index by_n on counter(n);
             insert into counter values (1, 0), (2, 0)",
        )
        .expect("the statements are valid");
    connection.busy_timeout(CATCH_UP_MAX).expect("set the busy timeout");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ends = Ends(&is_over);
        let is_over = &is_over;
        let writer = scope.spawn(move || {
            let mut written = 0_u64;
            while !is_over.load(Ordering::Relaxed) {
                let sql = "update counter set n = n + 1 where id = 1";
                connection.execute(sql, []).expect("the file is not locked for long");
                written += 1;
            }
            written
        });
        let begun = Instant::now();
        Launch::catch_up(&file, target.url())
            .env("FAILPOINTS", "replay-read=sleep(100)")
            .start()
            .wait(CATCH_UP_MAX)
            .expect_code(0);
        println!("in step after {:?}", begun.elapsed());
        drop(ends);
        let written = writer.join().expect("the writer does not panic");
        assert!(1_000 <= written, "{written} transactions are a writer at rest");
    });
    assert_eq!(status(&file, target.url())["phase"], "streaming");
    let built = "select count(*) from pg_indexes where tablename = 'counter'";
    let indexes: i64 =
        block_on(async { target.client().await.query_one(built, &[]).await.expect("ask").get(0) });
    assert_eq!(indexes, 2, "what waited for this moment is built");
}
