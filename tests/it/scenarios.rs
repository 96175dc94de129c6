//! The scenario corpus: schemas as applications and ORMs make them, with writes and migrations
//! while lite2pg runs.
//!
//! A scenario is a directory below `tests/scenarios`, named by its claim, and holds no code:
//! `schema.sql` makes the file, `changes.sql` writes to it in parts that lines of `-- then` divide,
//! and `fails.txt`, if it is there, lists what cannot be carried over, one per line:
//! `table NAME: …` for a table without a counterpart, `row TABLE KEY COLUMN: …` for a row in
//! quarantine, where the reason may be cut short. What it does not list must be equal, and what it
//! lists must have been reported.
//!
//! Each scenario runs twice. *Step by step*: copy, stream, and compare after every part, restart,
//! run once more, finalise, uninstall. *In haste*: all parts follow one another while the first
//! copy is still under way; `not_in_haste.txt` says why a scenario cannot do that.
//! `LITE2PG_SCENARIO` names the only one to run.
//!
//! Begin with [`step_by_step`].

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

use crate::judge;
use crate::random::Daemon;
use crate::server::{Database, Target};

/// Scenarios at work at the same time: one per core of the smallest machine that runs this.
const WORKERS: usize = 2;

/// A scenario as it was read.
struct Scenario {
    name: String,
    schema: String,
    parts: Vec<String>,
    fails: Vec<String>,
    can_haste: bool,
}

impl Scenario {
    fn read(directory: &Path) -> Self {
        let text = |name: &str| std::fs::read_to_string(directory.join(name));
        let name = directory.file_name().expect("it has a name").to_string_lossy().into_owned();
        let schema = text("schema.sql").unwrap_or_else(|error| panic!("{name}: {error}"));
        let changes = text("changes.sql").unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut parts = vec![String::new()];
        for line in changes.lines() {
            if line.starts_with("-- then") {
                parts.push(String::new());
            } else {
                let part = parts.last_mut().expect("there is one from the beginning");
                part.push_str(line);
                part.push('\n');
            }
        }
        let fails = text("fails.txt").unwrap_or_default();
        let fails = fails.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        let can_haste = !directory.join("not_in_haste.txt").exists();
        Self { name, schema, parts, fails, can_haste }
    }

    /// The tables that have no counterpart.
    fn left_out(&self) -> HashSet<&str> {
        let tables = self.fails.iter().filter_map(|line| line.strip_prefix("table "));
        tables.map(|line| line.split(": ").next().expect("there is a first part")).collect()
    }

    /// The rows in quarantine, as [`quarantine`] lists them.
    fn refused(&self) -> Vec<&str> {
        let mut rows: Vec<&str> =
            self.fails.iter().filter_map(|line| line.strip_prefix("row ")).collect();
        rows.sort_unstable();
        rows
    }
}

/// Every scenario there is, or the one that was asked for.
fn scenarios() -> Vec<Scenario> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let only = std::env::var("LITE2PG_SCENARIO").ok();
    let mut directories: Vec<PathBuf> = std::fs::read_dir(&root)
        .expect("the corpus is part of the sources")
        .map(|entry| entry.expect("a directory can be listed").path())
        .filter(|path| path.is_dir())
        .filter(|path| only.as_ref().is_none_or(|only| path.ends_with(only)))
        .collect();
    directories.sort();
    assert!(!directories.is_empty(), "no scenario is named {only:?}");
    directories.iter().map(|directory| Scenario::read(directory)).collect()
}

/// A scenario at work: its file, the application's connection to it, and its database.
struct Stage {
    file: PathBuf,
    app: Connection,
    database: Database,
    directory: tempfile::TempDir,
}

impl Stage {
    fn set(scenario: &Scenario) -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        let file = directory.path().join("app.db");
        let app = Connection::open(&file).expect("open the source");
        app.busy_timeout(std::time::Duration::from_secs(30)).expect("set the busy timeout");
        lend_functions(&app);
        // As SQLite itself has it, not as the library that the tests use is built.
        app.pragma_update(None, "foreign_keys", false).expect("set foreign_keys");
        app.execute_batch(&scenario.schema)
            .unwrap_or_else(|error| panic!("{}: schema.sql: {error}", scenario.name));
        Self { file, app, database: Database::create(), directory }
    }

    fn change(&self, part: &str) -> Result<(), String> {
        self.app.execute_batch(part).map_err(|error| format!("{error}\nin {part}"))
    }

    fn daemon(&self) -> Daemon {
        Daemon::start(&self.file, &self.database.url, self.directory.path())
    }

    /// Runs a command that has to say yes.
    fn lite2pg(&self, arguments: &[&str], wants_target: bool) -> Result<String, String> {
        let (code, data, said) = self.ask(arguments, wants_target);
        if code == Some(0) {
            return Ok(data);
        }
        Err(format!("lite2pg {arguments:?}: exit code {code:?}\n{said}"))
    }

    /// The exit code, the data and the talk of a command.
    fn ask(&self, arguments: &[&str], wants_target: bool) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lite2pg"));
        command.args(arguments).arg("--source").arg(&self.file).current_dir(&self.directory);
        if wants_target {
            command.args(["--target", &self.database.url]);
        }
        let output = command.output().expect("the product was built with these tests");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    /// Holds both sides against each other; what the scenario lists may differ, and only that.
    fn judge(&self, scenario: &Scenario, at_the_end: bool) -> Result<(), String> {
        let quarantined = quarantine(&Target::connect(&self.database.url));
        let refused = scenario.refused();
        // The numbers at the end of a reason are the server's.
        let is_expected = quarantined.len() == refused.len()
            && quarantined.iter().zip(&refused).all(|(found, listed)| found.starts_with(listed));
        if at_the_end && !is_expected {
            return Err(format!("in quarantine: {quarantined:#?}, not {:#?}", scenario.refused()));
        }
        let Err(found) = judge::compare(&self.file, &self.database.url, "public") else {
            return match (scenario.left_out().len(), quarantined.len()) {
                (0, 0) => Ok(()),
                _ => Err("both sides are equal, though not all was to be carried over".into()),
            };
        };
        let left_out = scenario.left_out();
        let is_known = |difference: &judge::Difference| match difference.target.as_str() {
            "no such table" => left_out.contains(difference.table.as_str()),
            "no such row" => !quarantined.is_empty(),
            _ => false,
        };
        let expected = left_out.len() + quarantined.len();
        if found.total == expected as u64 && found.first.iter().all(is_known) {
            return Ok(());
        }
        Err(format!("{found}\nin quarantine: {quarantined:#?}"))
    }
}

/// The rows in quarantine, one line each, long keys cut.
fn quarantine(target: &Target) -> Vec<String> {
    let mut rows: Vec<String> = target
        .query(
            "select t.name || ' ' || left(q.key::text, 60) || ' ' \
             || coalesce(q.column_name, '-') \
             || ': ' || q.reason
               from lite2pg.quarantine q join lite2pg.tables t on t.id = q.table_id",
        )
        .into_iter()
        .map(|mut row| row.remove(0).expect("no part is NULL"))
        .collect();
    rows.sort_unstable();
    rows
}

/// What applications bring along and their schemas mention: Calibre's functions, Anki's collation.
fn lend_functions(app: &Connection) {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    app.create_scalar_function("title_sort", 1, flags, |context| {
        let title: String = context.get(0)?;
        let sorted = title.strip_prefix("The ").map(|rest| format!("{rest}, The"));
        Ok(sorted.unwrap_or(title))
    })
    .expect("lend a function");
    app.create_scalar_function("uuid4", 0, FunctionFlags::SQLITE_UTF8, |_| {
        Ok(uuid::Uuid::new_v4().to_string())
    })
    .expect("lend a function");
    app.create_collation("unicase", |one: &str, other: &str| {
        one.to_lowercase().cmp(&other.to_lowercase())
    })
    .expect("lend a collation");
}

/// The application's own schema, without what lite2pg put there.
fn schema_text(app: &Connection) -> Vec<String> {
    let mut statement = app
        .prepare(
            "select type || ' ' || name || ': ' || coalesce(sql, '') from sqlite_schema \
             where name not like '\\_lite2pg\\_%' escape '\\' order by 1",
        )
        .expect("the schema can be read");
    let rows = statement.query_map([], |row| row.get(0)).expect("the schema can be read");
    rows.collect::<Result<_, _>>().expect("the schema can be read")
}

/// Copies, streams part after part, restarts, runs again, finalises, uninstalls.
fn step_by_step(scenario: &Scenario) -> Result<(), String> {
    let stage = Stage::set(scenario);
    let shown = stage.lite2pg(&["schema"], false)?;
    for line in scenario.fails.iter().filter_map(|line| line.strip_prefix("table ")) {
        if !shown.contains(&format!("table {line}")) {
            return Err(format!("`schema` does not say {line:?}:\n{shown}"));
        }
    }
    stage.lite2pg(&["run", "--until-caught-up"], true)?;
    let is_last = scenario.parts.is_empty();
    stage.judge(scenario, is_last).map_err(|what| format!("after the first copy: {what}"))?;
    let mut daemon = stage.daemon();
    for (at, part) in scenario.parts.iter().enumerate() {
        let talk =
            |what: String, daemon: &Daemon| format!("part {}: {what}\n{}", at + 1, daemon.talk());
        stage.change(part).map_err(|what| talk(what, &daemon))?;
        daemon.settle().map_err(|what| talk(what, &daemon))?;
        let is_last = at + 1 == scenario.parts.len();
        stage.judge(scenario, is_last).map_err(|what| talk(what, &daemon))?;
    }
    drop(daemon);
    for _ in 0..2 {
        stage.lite2pg(&["run", "--until-caught-up"], true)?;
        stage.judge(scenario, true).map_err(|what| format!("after a restart: {what}"))?;
    }
    // No is an answer too: orphans, of which SQLite takes no notice, keep a foreign key out.
    let (code, _, said) = stage.ask(&["schema", "--finalise"], true);
    if !matches!(code, Some(0 | 1)) {
        return Err(format!("finalising ended with {code:?}\n{said}"));
    }
    stage.judge(scenario, true).map_err(|what| format!("after finalising: {what}"))?;
    let before = schema_text(&stage.app);
    stage.lite2pg(&["uninstall"], false)?;
    let ours: i64 = stage
        .app
        .query_row("select count(*) from sqlite_schema where name like '%lite2pg%'", [], |row| {
            row.get(0)
        })
        .expect("the schema can be read");
    if ours != 0 || before != schema_text(&stage.app) {
        return Err(format!("uninstall left {ours} objects, or changed the application's own"));
    }
    Ok(())
}

/// All parts follow one another while lite2pg is still beginning.
fn in_haste(scenario: &Scenario) -> Result<(), String> {
    if !scenario.can_haste {
        return Ok(());
    }
    let stage = Stage::set(scenario);
    let mut daemon = stage.daemon();
    let talk = |what: String, daemon: &Daemon| format!("in haste: {what}\n{}", daemon.talk());
    for part in &scenario.parts {
        stage.change(part).map_err(|what| talk(what, &daemon))?;
    }
    daemon.settle().map_err(|what| talk(what, &daemon))?;
    // Which rows fit depends on the rows that were there when types were chosen.
    let outcome = match scenario.refused().is_empty() {
        true => stage.judge(scenario, true),
        false => Ok(()),
    };
    outcome.map_err(|what| talk(what, &daemon))
}

/// Runs all scenarios on [`WORKERS`] threads and tells of every one that failed.
fn run_all(run: fn(&Scenario) -> Result<(), String>) {
    let scenarios = scenarios();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let begun = std::time::Instant::now();
                    let outcome = run(scenario);
                    println!("{:>6.1?} {}", begun.elapsed(), scenario.name);
                    if let Err(what) = outcome {
                        let failure = format!("scenario {}\n{what}\n", scenario.name);
                        failures.lock().expect("nobody panics with it").push(failure);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("nobody panics with it");
    let count = scenarios.len();
    assert!(failures.is_empty(), "{} of {count} failed\n{}", failures.len(), failures.join("\n"));
    println!("{count} scenarios");
}

/// What applications do to their files, migrations and all, arrives; the rest is reported.
#[test]
fn every_scenario_arrives_step_by_step() {
    run_all(step_by_step);
}

/// The same while the first copy is under way.
#[test]
fn every_scenario_arrives_in_haste() {
    run_all(in_haste);
}
