//! The file is not the file any more, or the target is not the target: nothing is applied.
//!
//! Each test does to one side what deployments, restores and people do, before a run or under a
//! live one, and looks at the exit code, at the words, and at a full dump of the target before and
//! after. What is harmless must be taken for harmless: then the judge compares both sides.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lite2pg::change::Place;
use lite2pg::source::Source;
use rusqlite::Connection;

use crate::judge;
use crate::server::Target;
use crate::support::database::TestDatabase;
use crate::support::roles;
use crate::support::sidecar::{Ended, LIMIT, Launch, Sidecar};
use crate::support::workload::{self, Options, Writer};

/// A file and a target that is in step with it.
struct Pair {
    directory: tempfile::TempDir,
    file: PathBuf,
    database: TestDatabase,
    options: Options,
}

impl Pair {
    /// Nothing is replicated yet.
    fn apart(journal: &'static str) -> Self {
        let options = Options { journal, rate: 0, ..Options::new(1) };
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        let file = directory.path().join("source.db");
        workload::create(&file, &options);
        Self { directory, file, database: TestDatabase::create(), options }
    }

    fn in_step(journal: &'static str) -> Self {
        let pair = Self::apart(journal);
        pair.catch_up();
        pair
    }

    fn url(&self) -> &str {
        self.database.url()
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn run(&self) -> Launch {
        Launch::run(&self.file, self.url())
    }

    fn catch_up(&self) {
        Launch::catch_up(&self.file, self.url()).finish().expect_code(0);
    }

    fn write(&self) {
        write(&self.file, &self.options);
    }

    fn source(&self, sql: &str) {
        execute(&self.file, sql);
    }

    fn target(&self) -> Target {
        Target::connect(self.url())
    }

    /// Everything the target holds, ledger included, but for what is told to people.
    fn dump(&self) -> Vec<String> {
        let target = self.target();
        let tables = target.query(
            "select format('%I.%I', schemaname, tablename) from pg_tables
              where schemaname in ('public', 'lite2pg')
                and tablename not in ('position', 'incidents') order by 1",
        );
        // Claiming the target is no change of what it holds.
        let sql = "select to_jsonb(p) - 'epoch' from lite2pg.position p";
        let position = target.try_query(sql).unwrap_or_default();
        let mut lines: Vec<String> = position.iter().map(|row| format!("{row:?}")).collect();
        for table in tables {
            let name = table[0].clone().expect("a table has a name");
            let rows = target.query(&format!("select t::text from {name} t order by 1"));
            lines.extend(rows.into_iter().map(|row| format!("{name} {:?}", row[0])));
        }
        lines
    }

    /// Starts a run and waits until it streams.
    fn stream(&self) -> Sidecar {
        let target = self.target();
        let epoch = target.try_query("select epoch from lite2pg.position").unwrap_or_default();
        let epoch = epoch.into_iter().flatten().flatten().next().unwrap_or("0".to_owned());
        let claimed =
            format!("select phase, consistent from lite2pg.position where epoch > {epoch}");
        let mut sidecar = self.run().start();
        let reached = sidecar.until(|| {
            let rows = target.try_query(&claimed).ok()?;
            let row = rows.first()?;
            (row[0].as_deref() == Some("streaming") && row[1].as_deref() == Some("t")).then_some(())
        });
        assert!(reached.is_some(), "lite2pg ended: {}", sidecar.stderr());
        sidecar
    }

    /// Waits until a live run has applied everything, and compares.
    fn converge(&self, sidecar: &mut Sidecar) {
        let target = self.target();
        let sql = "select applied, consistent, phase from lite2pg.position";
        let mut last = None;
        let reached = sidecar.until(|| {
            let head: Option<i64> = ask(&self.file, "select max(seq) from _lite2pg_changelog");
            let standing = target.try_query(sql).ok().and_then(|rows| rows.into_iter().next());
            let place = (head, standing);
            if last.as_ref() != Some(&place) {
                eprintln!("(head, position): {place:?}");
                last = Some(place.clone());
            }
            let (Some(head), Some(standing)) = place else { return None };
            let goal = [head.to_string(), "t".to_owned(), "streaming".to_owned()].map(Some);
            (standing == goal).then_some(())
        });
        assert!(reached.is_some(), "lite2pg ended: {}", sidecar.stderr());
        self.judge();
    }

    fn judge(&self) {
        if let Err(found) = judge::compare(&self.file, self.url(), "public") {
            panic!("the sides differ: {found}");
        }
    }

    /// A run must stop before it changes anything on the target.
    fn assert_stops(&self, code: i32, parts: &[&str]) -> Ended {
        let before = self.dump();
        let ended = self.run().finish().expect_code(code).expect_error(parts);
        assert_eq!(before, self.dump(), "the target was touched: {ended}");
        ended
    }

    /// `harm` is done under a live run, which must stop without a change on the target.
    fn assert_live_stops(&self, code: i32, parts: &[&str], harm: impl FnOnce()) -> Ended {
        let mut sidecar = self.stream();
        self.converge(&mut sidecar);
        let before = self.dump();
        harm();
        let ended = sidecar.wait(LIMIT).expect_code(code).expect_error(parts);
        assert_eq!(before, self.dump(), "the target was touched: {ended}");
        ended
    }
}

fn write(file: &Path, options: &Options) {
    let writer = Writer::start(file, options);
    writer.await_commits(100);
    writer.stop();
}

fn execute(file: &Path, sql: &str) {
    let connection = Connection::open(file).expect("open the source");
    connection.busy_timeout(LIMIT).expect("set the busy timeout");
    connection.execute_batch(sql).unwrap_or_else(|error| panic!("{error} in {sql}"));
}

fn ask<T: rusqlite::types::FromSql>(file: &Path, sql: &str) -> Option<T> {
    let connection = Connection::open(file).ok()?;
    connection.busy_timeout(LIMIT).ok()?;
    connection.query_row(sql, [], |row| row.get(0)).ok()
}

/// `cp`, of a file that nobody writes to: its -wal is emptied before.
fn copy(from: &Path, to: &Path) {
    if let Ok(connection) = Connection::open(from) {
        let empty = connection.query_row("pragma wal_checkpoint(truncate)", [], |row| row.get(0));
        let busy: i64 = empty.expect("a checkpoint of a quiet file");
        assert_eq!(busy, 0, "somebody still reads the file");
    }
    std::fs::copy(from, to).expect("copy a file");
}

/// As `copy`, where no process has the file open: nothing of the old file stays.
fn put_back(from: &Path, to: &Path) {
    for suffix in ["-wal", "-shm", "-journal"] {
        let left = PathBuf::from(format!("{}{suffix}", to.display()));
        if left.exists() {
            std::fs::remove_file(&left).expect("the directory is ours");
        }
    }
    std::fs::copy(from, to).expect("copy a file");
}

/// Puts the contents of one database over another, page by page, as `.restore` does.
fn restore(from: &Path, to: &Path) {
    let from = Connection::open(from).expect("open the backup");
    let mut to = Connection::open(to).expect("open the source");
    let backup = rusqlite::backup::Backup::new(&from, &mut to).expect("begin the restore");
    backup.run_to_completion(100, Duration::ZERO, None).expect("finish the restore");
}

/// What `.dump | sqlite3` makes: the same rows and the same SQL; rowids only where a column is one.
fn reload(from: &Path, to: &Path) {
    let connection = Connection::open(to).expect("make a database");
    connection.execute("attach ?1 as old", [from.to_str()]).expect("attach the old file");
    let listed = |kinds: &str| -> Vec<(String, String)> {
        let sql = format!(
            "select name, sql from old.sqlite_schema where sql is not null \
            and name not like 'sqlite%' and type in ({kinds}) order by rowid"
        );
        let mut statement = connection.prepare(&sql).expect("the query is valid");
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        rows.expect("the query runs").collect::<Result<_, _>>().expect("text")
    };
    for (name, sql) in listed("'table'") {
        connection.execute_batch(&sql).expect("the SQL of a table");
        let fill = format!("insert into main.\"{name}\" select * from old.\"{name}\"");
        connection.execute_batch(&fill).expect("the rows of a table");
    }
    for (_, sql) in listed("'index', 'trigger', 'view'") {
        connection.execute_batch(&sql).expect("the SQL of an object");
    }
    // As it may happen to be: then the file itself is all that tells of other rowids.
    let version: i64 =
        connection.query_row("pragma old.schema_version", [], |row| row.get(0)).expect("a version");
    connection.execute_batch(&format!("pragma schema_version = {version}")).expect("set it");
}

const CHOICES: &str = "hint: Nothing was applied; PostgreSQL is as it was.";

#[test]
fn an_older_backup_copied_over_the_file_stops_the_run() {
    for journal in ["wal", "delete"] {
        let pair = Pair::in_step(journal);
        let backup = pair.beside("backup");
        copy(&pair.file, &backup);
        pair.write();
        pair.catch_up();
        put_back(&backup, &pair.file);
        pair.assert_stops(4, &["the source went back", "An older copy", CHOICES]);
    }
}

#[test]
fn an_older_backup_that_was_written_to_since_stops_the_run() {
    let pair = Pair::in_step("wal");
    let backup = pair.beside("backup");
    copy(&pair.file, &backup);
    pair.write();
    pair.catch_up();
    put_back(&backup, &pair.file);
    for _ in 0..3 {
        pair.write();
    }
    pair.assert_stops(4, &["was written again", "each hold changes that the other lacks", CHOICES]);
}

#[test]
fn an_older_backup_restored_under_a_live_run_stops_it() {
    for journal in ["wal", "delete"] {
        let pair = Pair::in_step(journal);
        let backup = pair.beside("backup");
        copy(&pair.file, &backup);
        pair.write();
        pair.assert_live_stops(4, &["the source went back", CHOICES], || {
            restore(&backup, &pair.file);
        });
    }
}

/// In WAL mode nothing but the file itself tells: neither `data_version` nor the -wal moves.
#[test]
fn an_older_backup_copied_under_a_live_run_stops_it() {
    for journal in ["wal", "delete"] {
        let pair = Pair::in_step(journal);
        let backup = pair.beside("backup");
        copy(&pair.file, &backup);
        pair.write();
        pair.assert_live_stops(4, &["the source went back", CHOICES], || {
            execute(&pair.file, "pragma wal_checkpoint(truncate)");
            std::fs::copy(&backup, &pair.file).expect("copy over the source");
        });
    }
}

/// As above, at the moment when SQLite believes its pages to be current.
#[test]
fn pages_that_sqlite_keeps_are_not_believed() {
    let pair = Pair::in_step("wal");
    let (backup, newer) = (pair.beside("backup"), pair.beside("newer"));
    copy(&pair.file, &backup);
    pair.write();
    copy(&pair.file, &newer);
    let mut source = Source::open(&pair.file).expect("open the source");
    let place = Place {
        lineage: source.lineage().expect("read the lineage").expect("it is installed"),
        anchor: source.head().expect("find the head").expect("there is one"),
    };
    for _ in 0..2 {
        source.prove(&place).expect("the file is the file");
    }
    std::fs::copy(&backup, &pair.file).expect("copy over the source");
    let error = source.prove(&place).expect_err("the file is an older one");
    assert!(error.to_string().contains("the source went back"), "{error}");
}

/// It lives on as long as somebody has it open. Nothing of it is applied any more, and yet nothing
/// of it is lost, not even what was written after the last look.
#[test]
fn a_file_that_was_replaced_or_deleted_is_kept_while_it_can_be_had() {
    for (journal, deletes) in [("wal", false), ("delete", false), ("wal", true), ("delete", true)] {
        let pair = Pair::in_step(journal);
        let other = pair.beside("other");
        workload::create(&other, &Options { journal: "delete", ..pair.options.clone() });
        let application = Connection::open(&pair.file).expect("the application opens its file");
        application.busy_timeout(LIMIT).expect("set the busy timeout");
        let mut sidecar = pair.stream();
        let early = "insert into counter values ('before the event', 1)";
        application.execute(early, []).expect("the application writes");
        pair.converge(&mut sidecar);
        let before = pair.dump();
        sidecar.signal(nix::sys::signal::Signal::SIGSTOP);
        for suffix in ["-wal", "-shm"] {
            let beside = pair.beside(&format!("source.db{suffix}"));
            if beside.exists() {
                std::fs::remove_file(&beside).expect("the directory is ours");
            }
        }
        match deletes {
            true => std::fs::remove_file(&pair.file).expect("the file is ours"),
            false => std::fs::rename(&other, &pair.file).expect("rename over the source"),
        }
        let late = "insert into counter values ('after the event', 1)";
        let is_late = application.execute(late, []).is_ok();
        sidecar.signal(nix::sys::signal::Signal::SIGCONT);
        let ended = sidecar.wait(LIMIT).expect_code(4);
        assert_eq!(before, pair.dump(), "the target was touched: {ended}");
        let kept = pair.beside("source.db.rescued-1");
        assert!(ended.stderr.contains("source.db.rescued-1"), "{ended}");
        drop(application);
        put_back(&kept, &pair.file);
        let found: i64 = ask(&pair.file, "select count(*) from counter where name like 'after %'")
            .expect("the file is whole");
        assert_eq!(found, i64::from(is_late), "{journal}, {deletes}");
        pair.catch_up();
        pair.judge();
    }
}

#[test]
fn a_deleted_file_stops_a_live_run_and_is_missed_by_the_next() {
    let pair = Pair::in_step("delete");
    pair.assert_live_stops(4, &["the source is gone", "there is no file", CHOICES], || {
        std::fs::remove_file(&pair.file).expect("the file is ours");
    });
    pair.assert_stops(2, &["there is no file", "hint: "]);
}

#[test]
fn another_database_in_its_place_stops_the_run_and_is_not_written_to() {
    let pair = Pair::in_step("wal");
    let other = pair.beside("other");
    workload::create(&other, &Options { journal: "delete", ..pair.options.clone() });
    put_back(&other, &pair.file);
    pair.assert_stops(4, &["the changelog is gone", "empty or older copy", CHOICES]);
    let ours: i64 = ask(&pair.file, "select count(*) from sqlite_schema where name glob '_lite*'")
        .expect("the file is a database");
    assert_eq!(ours, 0, "the other database was written to");

    Launch::new("install").arg("--source").arg(&pair.file).finish().expect_code(0);
    pair.assert_stops(4, &["has lineage", "This is another database", CHOICES]);
}

#[test]
fn another_database_renamed_over_the_file_stops_a_live_run() {
    for journal in ["wal", "delete"] {
        let pair = Pair::in_step(journal);
        let other = pair.beside("other");
        workload::create(&other, &Options { journal: "delete", ..pair.options.clone() });
        pair.assert_live_stops(4, &["the changelog is gone", CHOICES], || {
            let wal = pair.beside("source.db-wal");
            if wal.exists() {
                std::fs::remove_file(&wal).expect("the directory is ours");
            }
            std::fs::rename(&other, &pair.file).expect("rename over the source");
        });
        let ours = "select count(*) from sqlite_schema where name glob '_lite*'";
        let ours: i64 = ask(&pair.file, ours).expect("the file is a database");
        assert_eq!(ours, 0, "the other database was written to");
    }
}

/// The mixture passes SQLite's own checks, and the -wal may hold the whole changelog.
#[test]
fn another_database_under_the_old_wal_stops_a_live_run() {
    let pair = Pair::in_step("wal");
    let other = pair.beside("other");
    workload::create(&other, &Options { journal: "delete", ..pair.options.clone() });
    let parts = ["beside the -wal of the old one", "neither of the two", CHOICES];
    pair.assert_live_stops(4, &parts, || {
        std::fs::rename(&other, &pair.file).expect("rename over the source");
    });
}

#[test]
fn an_empty_file_in_its_place_stops_a_live_run() {
    let pair = Pair::in_step("delete");
    pair.assert_live_stops(4, &["the source is gone", "an empty file", CHOICES], || {
        std::fs::remove_file(&pair.file).expect("the file is ours");
        std::fs::write(&pair.file, "").expect("the directory is ours");
    });
}

/// While `cp` is at work the file looks like anything. What counts is what it looks like after.
#[test]
fn a_copy_that_is_half_done_is_looked_at_once_more() {
    let pair = Pair::in_step("delete");
    let whole = pair.beside("whole");
    let mut sidecar = pair.stream();
    pair.write();
    pair.converge(&mut sidecar);
    copy(&pair.file, &whole);
    let bytes = std::fs::read(&whole).expect("the copy is ours");
    std::fs::write(&pair.file, &bytes[..bytes.len() / 2 / 4096 * 4096]).expect("half of it");
    sidecar.await_line("looking once more", LIMIT);
    std::fs::write(&pair.file, &bytes).expect("all of it");
    pair.write();
    pair.converge(&mut sidecar);
    sidecar.terminate().expect_code(0);
}

#[test]
fn a_copy_that_stays_half_done_stops_the_run() {
    let pair = Pair::in_step("delete");
    let before = pair.dump();
    let bytes = std::fs::read(&pair.file).expect("the file is ours");
    std::fs::write(&pair.file, &bytes[..bytes.len() / 2 / 4096 * 4096]).expect("half of it");
    let ended = pair.run().finish().expect_error(&["hint: "]);
    assert!(matches!(ended.code, Some(3 | 4)), "{ended}");
    assert_eq!(before, pair.dump(), "the target was touched: {ended}");
}

/// Both files have the same tables and the same `schema_version`; only the lineage tells.
#[test]
fn a_file_that_is_replaced_during_the_first_copy_gives_no_row() {
    for by_rename in [true, false] {
        let mut pair = Pair::apart("delete");
        pair.options.ballast_rows = 30_000;
        std::fs::remove_file(&pair.file).expect("the file is ours");
        workload::create(&pair.file, &pair.options);
        let other = pair.beside("other");
        std::fs::copy(&pair.file, &other).expect("copy the file");
        execute(
            &other,
            "update ballast set body = 'foreign'; update account set owner = 'f' || owner",
        );
        Launch::new("install").arg("--source").arg(&other).finish().expect_code(0);
        let mut sidecar = pair.run().args(["--copy-rows-per-second", "10000"]).start();
        let target = pair.target();
        let begun = sidecar.until(|| {
            // Chunks of a table that has more of them to come.
            let sql = "select 1 from lite2pg.copy_progress join lite2pg.tables on id = table_id
                where 0 < rows and not done and name = 'ballast'";
            (!target.try_query(sql).ok()?.is_empty()).then_some(())
        });
        assert!(begun.is_some(), "lite2pg ended: {}", sidecar.stderr());
        let replaced = match by_rename {
            true => std::fs::rename(&other, &pair.file),
            false => std::fs::copy(&other, &pair.file).map(drop),
        };
        replaced.expect("replace the source");
        let parts = ["has lineage", "This is another database", CHOICES];
        sidecar.wait(LIMIT).expect_code(4).expect_error(&parts);
        let foreign = "select 1 from ballast where body = 'foreign' union all
            select 1 from account where owner like 'f%'";
        assert!(target.query(foreign).is_empty(), "rows of the other file were copied");
    }
}

#[test]
fn entries_that_somebody_deleted_stop_the_run() {
    let pair = Pair::in_step("delete");
    pair.write();
    pair.catch_up();
    let intact = pair.beside("intact");
    copy(&pair.file, &intact);
    let harms = [
        ("delete from _lite2pg_changelog", "the source went back"),
        (
            "delete from _lite2pg_changelog where seq = (select max(seq) from _lite2pg_changelog);
             delete from account where id = 1",
            "is not the one that was applied",
        ),
        (
            "update account set balance = balance + 1;
             delete from _lite2pg_changelog
              where seq <= (select max(seq) - 10 from _lite2pg_changelog)",
            "does not hold the applied entry",
        ),
        (
            "update account set balance = balance + 1;
             delete from _lite2pg_changelog
              where seq = (select max(seq) - 10 from _lite2pg_changelog)",
            "though later ones exist",
        ),
        ("drop table _lite2pg_meta", "the changelog is gone"),
    ];
    for (sql, said) in harms {
        put_back(&intact, &pair.file);
        pair.source(sql);
        pair.assert_stops(4, &[said, CHOICES]);
    }
}

#[test]
fn a_gap_under_a_live_run_stops_it() {
    let pair = Pair::in_step("delete");
    let gap = "begin; update account set balance = balance + 1;
        delete from _lite2pg_changelog where seq = (select max(seq) - 10 from _lite2pg_changelog);
        commit";
    pair.assert_live_stops(4, &["though later ones exist", CHOICES], || pair.source(gap));
}

#[test]
fn a_cleared_sqlite_sequence_is_harmless() {
    let pair = Pair::apart("wal");
    pair.source(
        "create table counted (id integer primary key autoincrement, a text);
        insert into counted (a) values ('a'), ('b')",
    );
    let mut sidecar = pair.stream();
    pair.source(
        "delete from sqlite_sequence; delete from counted where id = 2;
        insert into counted (a) values ('c')",
    );
    pair.write();
    pair.converge(&mut sidecar);
    sidecar.terminate().expect_code(0);
}

/// What a migration that rebuilds tables does. It is no stop: tests/it/health.rs has what it is.
#[test]
fn triggers_that_the_application_dropped_are_put_back_and_the_table_proven() {
    let pair = Pair::in_step("wal");
    let mut sidecar = pair.stream();
    pair.source(
        "begin; drop trigger _lite2pg_insert_item; drop trigger _lite2pg_delete_item;
        delete from item; insert into item (sku, slot) values ('unseen', 1); commit",
    );
    pair.write();
    pair.converge(&mut sidecar);
    let sql = "select message from lite2pg.incidents where kind = 'unseen_writes_put_right'";
    let message = pair.target().query(sql)[0][0].clone().expect("a message");
    assert!(message.starts_with("item: ") && message.contains("gone unseen"), "{message}");
    sidecar.terminate().expect_code(0);
}

#[test]
fn vacuum_is_harmless_before_and_under_a_run() {
    for journal in ["wal", "delete"] {
        let pair = Pair::in_step(journal);
        pair.write();
        pair.source("vacuum");
        let mut sidecar = pair.stream();
        pair.write();
        pair.source("vacuum");
        pair.write();
        pair.converge(&mut sidecar);
        sidecar.terminate().expect_code(0);
    }
}

/// The history is the same, so it goes on; only rows that are named by their rowid are read anew.
#[test]
fn a_dump_and_reload_is_harmless_before_and_under_a_run() {
    let pair = Pair::in_step("delete");
    pair.write();
    // Gaps between rowids are what a reload closes.
    let gaps = "insert into event select 1, 'gap' from ballast limit 30;
        delete from event where rowid % 2 = 0";
    pair.source(gaps);
    pair.catch_up();
    let reloaded = pair.beside("reloaded");
    reload(&pair.file, &reloaded);
    std::fs::rename(&reloaded, &pair.file).expect("rename over the source");
    pair.source("update event set line = line || '!' where rowid % 3 = 0");
    let mut sidecar = pair.stream();
    pair.converge(&mut sidecar);
    pair.write();
    pair.source(gaps);
    pair.converge(&mut sidecar);
    reload(&pair.file, &reloaded);
    std::fs::rename(&reloaded, &pair.file).expect("rename over the source");
    pair.source("update event set line = line || '?' where rowid % 3 = 0");
    pair.converge(&mut sidecar);
    sidecar.terminate().expect_code(0);
}

/// The server's own copy of the target, as a restore would bring it back.
struct Snapshot<'a> {
    pair: &'a Pair,
    name: String,
}

impl<'a> Snapshot<'a> {
    /// Nobody may be connected to the target meanwhile.
    fn take(pair: &'a Pair) -> Self {
        let name = format!("{}_older", pair.database.name());
        let upkeep = Self { pair, name };
        upkeep.run(&format!("create database {} template {}", upkeep.name, pair.database.name()));
        upkeep
    }

    /// Puts it in the target's place, whoever is connected there.
    fn put_back(self) {
        self.run(&format!("drop database {} with (force)", self.pair.database.name()));
        self.run(&format!("alter database {} rename to {}", self.name, self.pair.database.name()));
    }

    fn run(&self, sql: &str) {
        let url = self.pair.url().replace(self.pair.database.name(), "postgres");
        Target::connect(&url).run(sql);
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.run(&format!("drop database if exists {} with (force)", self.name));
    }
}

#[test]
fn a_target_put_back_to_an_older_state_is_caught_up_by_the_next_run() {
    let pair = Pair::in_step("wal");
    let older = Snapshot::take(&pair);
    pair.write();
    pair.catch_up();
    pair.write();
    older.put_back();
    pair.catch_up();
    pair.judge();
}

/// The older state holds an older epoch: no other sidecar has taken over.
#[test]
fn a_target_put_back_under_a_live_run_is_caught_up_by_it() {
    let pair = Pair::in_step("wal");
    let older = Snapshot::take(&pair);
    pair.write();
    let mut sidecar = pair.stream();
    pair.converge(&mut sidecar);
    let epoch = |pair: &Pair| -> i64 {
        let rows = pair.target().query("select epoch from lite2pg.position");
        rows[0][0].as_ref().and_then(|text| text.parse().ok()).expect("a number")
    };
    let before = epoch(&pair);
    older.put_back();
    pair.write();
    pair.converge(&mut sidecar);
    assert!(before < epoch(&pair), "whoever held the older epoch could still write");
    let incidents = pair.target().query("select kind from lite2pg.incidents");
    assert_eq!(incidents, [[Some("target_put_back".to_owned())]]);
    sidecar.terminate().expect_code(0);
}

/// A restore into the database that is there: the session lives on and finds an older position.
#[test]
fn a_target_put_back_within_a_session_is_caught_up_by_it() {
    let pair = Pair::in_step("wal");
    let target = pair.target();
    target.run(
        "create schema kept;
        create table kept.position as table lite2pg.position;
        create table kept.account as table public.account;
        create table kept.counter as table public.counter",
    );
    let mut sidecar = pair.stream();
    let change = "update account set balance = balance - 1 where id = 1;
        update account set balance = balance + 1 where id = 2;
        insert into counter values ('new', 1) on conflict do update set hits = hits + 1";
    pair.source(change);
    pair.converge(&mut sidecar);
    target.run(
        "begin; set local session_replication_role = replica;
        delete from public.account; insert into public.account table kept.account;
        delete from public.counter; insert into public.counter table kept.counter;
        delete from lite2pg.position; insert into lite2pg.position table kept.position;
        commit; drop schema kept cascade",
    );
    pair.source(change);
    pair.converge(&mut sidecar);
    sidecar.terminate().expect_code(0);
}

#[test]
fn a_target_older_than_the_changelog_reaches_stops_the_run() {
    let pair = Pair::in_step("delete");
    let older = Snapshot::take(&pair);
    pair.write();
    pair.catch_up();
    pair.source(
        "delete from _lite2pg_changelog
        where seq < (select max(seq) from _lite2pg_changelog)",
    );
    older.put_back();
    pair.assert_stops(4, &["does not hold the applied entry", "The target is older", CHOICES]);
    // The file is right; only what differs is touched.
    let accept = Launch::new("guard").arg("--source").arg(&pair.file);
    accept.args(["--target", pair.url(), "--accept", "--yes"]).finish().expect_code(0);
    pair.judge();
    pair.write();
    pair.catch_up();
    pair.judge();
}

/// A staging system gets a copy of production's database, and somebody takes its address.
#[test]
fn a_copy_of_the_target_in_another_database_is_not_written_to_unless_it_is_accepted() {
    let pair = Pair::in_step("wal");
    let copy = Snapshot::take(&pair);
    let url = pair.url().replace(pair.database.name(), &copy.name);
    pair.write();
    let rows = || Target::connect(&url).query("select applied, epoch from lite2pg.position");
    let before = rows();
    let run = Launch::catch_up(&pair.file, &url).finish().expect_code(4);
    run.expect_error(&["this is database", "with a copy of it", "guard --accept --yes"]);
    let guard = |url: &str, arguments: &[&str]| {
        let guard = Launch::new("guard").arg("--source").arg(&pair.file);
        guard.args(["--target", url]).args(arguments).finish()
    };
    guard(&url, &["--restore", "--yes"]).expect_code(4);
    assert_eq!(rows(), before);
    // The right one goes on as if nothing had been.
    pair.catch_up();
    pair.judge();
    guard(&url, &["--accept", "--yes"]).expect_code(0);
    Launch::catch_up(&pair.file, &url).finish().expect_code(0);
    if let Err(found) = judge::compare(&pair.file, &url, "public") {
        panic!("the sides differ: {found}");
    }
}

/// Two systems, and the addresses of their databases changed over.
#[test]
fn targets_that_are_swapped_stop_both_runs() {
    let (one, other) = (Pair::in_step("wal"), Pair::in_step("wal"));
    for (pair, target) in [(&one, &other), (&other, &one)] {
        let before = target.dump();
        let run = Launch::catch_up(&pair.file, target.url()).finish().expect_code(4);
        run.expect_error(&["has lineage", CHOICES]);
        assert_eq!(before, target.dump());
    }
    let empty = TestDatabase::create();
    let run = Launch::catch_up(&one.file, empty.url()).finish().expect_code(4);
    run.expect_error(&["nothing was ever replicated to this one"]);
    let made = "select 1 from pg_tables where schemaname in ('lite2pg', 'public')";
    assert!(Target::connect(empty.url()).query(made).is_empty(), "something was written");
}

const RESTORE: &str = "hint: Nothing was applied. Either restore it from a backup of the target";

const COPY_AGAIN: &str = "have the table copied again: `drop table if exists public.";

#[test]
fn a_target_that_was_dropped_and_made_anew_stops_every_run_until_it_is_accepted() {
    let pair = Pair::in_step("wal");
    let upkeep = Snapshot { pair: &pair, name: "none".to_owned() };
    let name = pair.database.name();
    let mut sidecar = pair.stream();
    pair.converge(&mut sidecar);
    upkeep.run(&format!("drop database {name} with (force)"));
    upkeep.run(&format!("create database {name} template template0 encoding 'UTF8'"));
    sidecar.wait(LIMIT).expect_code(4).expect_error(&["the schema lite2pg is gone", RESTORE]);
    assert!(pair.dump().is_empty(), "something was written");
    let url = roles::as_superuser(pair.url());
    roles::offer(&url, &url.replace(name, "postgres"));
    // The file remembers that it feeds a target, and this one was never fed.
    pair.assert_stops(4, &["nothing was ever replicated to this one", "guard --accept --yes"]);
    let accept = Launch::new("guard").arg("--source").arg(&pair.file);
    accept.args(["--target", pair.url(), "--accept", "--yes"]).finish().expect_code(0);
    pair.catch_up();
    pair.judge();
}

#[test]
fn a_target_that_was_dropped_stops_a_live_run() {
    let pair = Pair::in_step("wal");
    let upkeep = Snapshot { pair: &pair, name: "none".to_owned() };
    let name = pair.database.name();
    let sidecar = pair.stream();
    upkeep.run(&format!("drop database {name} with (force)"));
    sidecar.wait(LIMIT).expect_code(2).expect_error(&["has no database", "hint: Create it"]);
    upkeep.run(&format!("create database {name} template template0 encoding 'UTF8'"));
}

#[test]
fn a_ledger_that_lost_something_stops_the_run() {
    let harms = [
        ("delete from lite2pg.position", 4, "the position row is gone", RESTORE),
        ("drop table lite2pg.position", 4, "table lite2pg.position is gone", RESTORE),
        ("drop table lite2pg.tables cascade", 4, "table lite2pg.tables is gone", RESTORE),
        ("drop table lite2pg.quarantine", 4, "table lite2pg.quarantine is gone", RESTORE),
        ("drop table public.item", 1, "no public.item any more", COPY_AGAIN),
        ("alter table public.item rename to thing", 1, "no public.item any more", COPY_AGAIN),
        ("drop schema lite2pg cascade", 4, "nothing was ever replicated", "Nothing was written"),
        ("insert into lite2pg.format values (99)", 2, "has format 99", "newer lite2pg"),
    ];
    for (sql, code, said, hint) in harms {
        let pair = Pair::in_step("wal");
        pair.write();
        pair.target().run(sql);
        pair.assert_stops(code, &[said, hint]);
    }
}

#[test]
fn a_ledger_that_is_lost_under_a_live_run_stops_it() {
    let harms = [
        ("delete from lite2pg.position", 4, "the position row is gone", RESTORE),
        ("drop table lite2pg.position", 4, "table lite2pg.position is gone", RESTORE),
        ("drop schema lite2pg cascade", 4, "the schema lite2pg is gone", RESTORE),
        ("drop table public.account", 1, "public.account", COPY_AGAIN),
    ];
    for (sql, code, said, hint) in harms {
        let pair = Pair::in_step("wal");
        let mut sidecar = pair.stream();
        pair.converge(&mut sidecar);
        pair.target().run(sql);
        let before = pair.dump();
        pair.source("update account set balance = balance + 1");
        let ended = sidecar.wait(LIMIT).expect_code(code).expect_error(&[said, hint]);
        assert_eq!(before, pair.dump(), "the target was touched: {ended}");
    }
}

/// Triggers without their changelog would fail every write of the application.
#[test]
fn a_changelog_dropped_under_a_live_run_stops_it_and_sets_the_application_free() {
    let pair = Pair::in_step("wal");
    let ended = pair.assert_live_stops(4, &["the changelog is gone", CHOICES], || {
        pair.source("drop table _lite2pg_changelog");
    });
    assert!(ended.stderr.contains("the triggers are taken out"), "{ended}");
    let left: Option<i64> = ask(
        &pair.file,
        "select count(*) from sqlite_schema where type = 'trigger' and name glob '_lite2pg_*'",
    );
    assert_eq!(left, Some(0));
    pair.write();
    // What is written from then on is not captured, so replication does not just go on.
    pair.assert_stops(4, &["the changelog is gone", CHOICES]);
}
