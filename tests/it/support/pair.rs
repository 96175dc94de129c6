//! A file that statements made, and an empty database beside it.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::scene::await_step;
use super::sidecar::{Ended, LIMIT, Launch, Sidecar, status};
use crate::judge;
use crate::server::{Database, Target};

/// Both sides.
pub struct Pair {
    directory: tempfile::TempDir,
    /// The target.
    pub database: Database,
}

impl Pair {
    /// A file in WAL mode on which `sql` has been run.
    pub fn with(sql: &str) -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        let pair = Self { directory, database: Database::create() };
        pair.write(&format!("pragma journal_mode = wal; {sql}"));
        pair
    }

    /// Where the source is, and whatever is of this test.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The source.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("app.db")
    }

    /// The application writes.
    pub fn write(&self, sql: &str) {
        let connection = Connection::open(self.file()).expect("open the source");
        connection.busy_timeout(LIMIT).expect("set the busy timeout");
        connection.execute_batch(sql).expect("the statements are valid");
    }

    /// A call of the product on both sides, with a configuration.
    pub fn call(&self, subcommand: &str, config: &str) -> Launch {
        self.call_as(&self.database.url, subcommand, config)
    }

    /// The same with another URL of the target.
    pub fn call_as(&self, url: &str, subcommand: &str, config: &str) -> Launch {
        let path = self.directory.path().join("lite2pg.toml");
        std::fs::write(&path, config).expect("the directory is ours");
        Launch::new(subcommand)
            .arg("--source")
            .arg(self.file())
            .args(["--target", url])
            .arg("--config")
            .arg(path)
    }

    /// Runs until the target is in step.
    pub fn catch_up(&self, config: &str) -> Ended {
        self.call("run", config).arg("--until-caught-up").finish()
    }

    /// A session on the target.
    pub fn target(&self) -> Target {
        Target::connect(&self.database.url)
    }

    /// The first column of a query's rows.
    pub fn ask(&self, sql: &str) -> Vec<String> {
        let rows = self.target().query(sql);
        rows.into_iter().map(|row| row[0].clone().unwrap_or_else(|| "null".into())).collect()
    }

    /// What stands in quarantine: table, key, column and reason.
    pub fn quarantine(&self) -> Vec<String> {
        self.ask(
            "select concat_ws(' ', t.name, q.key::text, q.column_name || ':', q.reason)
               from lite2pg.quarantine q join lite2pg.tables t on t.id = q.table_id order by 1",
        )
    }

    /// Every row of the source is on the target or in quarantine, and in one of them only.
    pub fn assert_conservation(&self) {
        let source = Connection::open(self.file()).expect("open the source");
        for row in self.target().query("select name, target, id from lite2pg.tables") {
            let [name, target, id] = row.as_slice() else { panic!("three columns: {row:?}") };
            let quoted = |name: &Option<String>| {
                format!("\"{}\"", name.as_deref().expect("a name").replace('"', "\"\""))
            };
            let id = id.as_deref().expect("a number");
            let sql = format!("select count(*) from {}", quoted(name));
            let rows: i64 = source.query_row(&sql, [], |row| row.get(0)).expect("count");
            let counted = self.ask(&format!(
                "select (select count(*) from public.{})
                      + (select count(*) from lite2pg.quarantine where table_id = {id})",
                quoted(target)
            ));
            assert_eq!(counted, [rows.to_string()], "rows of {name:?}");
        }
    }

    /// Every row is equal, but for those in quarantine, which the target does not have.
    pub fn assert_equal_but_quarantined(&self) {
        self.assert_conservation();
        let aside = self.quarantine();
        let Err(found) = judge::compare(&self.file(), &self.database.url, "public") else {
            assert_eq!(aside, [""; 0], "both sides are equal, and yet rows are in quarantine");
            return;
        };
        let all_are_aside = found.first.iter().all(|one| one.target == "no such row");
        assert!(all_are_aside && found.total == aside.len() as u64, "{found}\n{aside:#?}");
    }

    /// What `status --json` says.
    pub fn status(&self) -> serde_json::Value {
        status(&self.file(), &self.database.url)
    }

    /// Waits until replication streams.
    pub fn await_streaming(&self, sidecar: &mut Sidecar) {
        let is_streaming = || {
            let rows = Target::try_connect(&self.database.url).ok()?;
            let rows = rows.try_query("select phase from lite2pg.position").ok()?;
            (rows.first()?.first()?.as_deref() == Some("streaming")).then_some(())
        };
        sidecar.until(is_streaming).unwrap_or_else(|| panic!("it ended:\n{}", sidecar.stderr()));
    }

    /// Waits until everything that is in the file is on the target.
    pub fn await_step(&self, sidecar: &mut Sidecar) {
        await_step(sidecar, &self.file(), &self.database.url);
    }

    /// Asks the judge.
    pub fn assert_equal(&self) {
        judge::compare(&self.file(), &self.database.url, "public")
            .unwrap_or_else(|found| panic!("{found}"));
    }
}
