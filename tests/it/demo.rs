//! `lite2pg demo`, as a newcomer runs it: what it promises on the screen, whether its verdict can
//! be trusted in both directions, and what it leaves behind.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::judge;
use crate::server::Target;
use crate::support::cluster;
use crate::support::database::TestDatabase;

/// initdb, the writer's seconds, the drain and the comparison, on a machine that is busy.
const DEMO_MAX: Duration = Duration::from_secs(120);

/// How long a process may take to be gone that was told to end.
const END_MAX: Duration = Duration::from_secs(30);

/// Between two looks at a condition that is waited for.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Every way of writing that the demo promises to show.
const KINDS: [&str; 17] = [
    "new orders",
    "upserts",
    "insert or ignore",
    "insert or replace",
    "update or ignore",
    "update or replace",
    "updates",
    "bulk updates",
    "shipments",
    "transfers",
    "swaps",
    "key changes",
    "deletes",
    "cascading deletes",
    "savepoints",
    "rollbacks",
    "refusals",
];

/// A directory for a demo; whatever a demo left there is ended and removed with this value.
struct Place {
    base: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        // Where root's server, which runs as another user, can get to.
        Self { base: cluster::throwaway_dir(&cluster::usable_base()) }
    }

    fn dir(&self) -> PathBuf {
        self.base.path().join("demo")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lite2pg"));
        command.arg("demo").arg("--dir").arg(self.dir()).args(arguments);
        if let Some(pg_bin) = cluster::pg_bin() {
            command.arg("--pg-bin").arg(pg_bin);
        }
        // Its own group, as a shell gives it one, so that Ctrl-C can be played.
        command.stdin(Stdio::null()).process_group(0);
        // It must not matter what an application's environment says.
        command.env("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing").env("PGPORT", "1");
        command
    }

    fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("the product was built with these tests");
        let stdout = BufReader::new(child.stdout.take().expect("it was just piped"));
        Running { child, stdout, said: String::new() }
    }

    /// Processes that have to do with this place: by their arguments or their directory.
    fn processes(&self) -> Vec<String> {
        let dir = self.dir();
        let text = dir.to_str().expect("a plain path");
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").expect("/proc is mounted").flatten() {
            let Ok(cmdline) = fs::read(entry.path().join("cmdline")) else { continue };
            let cmdline = String::from_utf8_lossy(&cmdline).replace('\0', " ");
            let is_there =
                fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&dir));
            if is_there || cmdline.contains(text) {
                found.push(format!("{} {cmdline}", entry.file_name().to_string_lossy()));
            }
        }
        found
    }

    fn await_no_process(&self) {
        await_that("no process is left", END_MAX, || {
            let found = self.processes();
            if found.is_empty() { Ok(()) } else { Err(found.join("\n")) }
        });
    }

    fn writer(&self) -> Option<String> {
        self.processes().into_iter().find(|process| process.contains("demo-writer"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.dir().exists() {
            return;
        }
        let cleaned = self.command(&["--clean"]).status();
        if !cleaned.as_ref().is_ok_and(|status| status.success()) && !std::thread::panicking() {
            panic!("{} stays behind: {cleaned:?}", self.dir().display());
        }
    }
}

/// A demo that is running.
struct Running {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    said: String,
}

impl Running {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Reads on until a line that holds `part`.
    fn await_line(&mut self, part: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.stdout.read_line(&mut line).expect("its output is text");
            if read == 0 {
                panic!("{part:?} was not said, but:\n{}\n{}", self.said.clone(), self.talk());
            }
            self.said.push_str(&line);
            if line.contains(part) {
                return line;
            }
        }
    }

    fn talk(&mut self) -> String {
        let mut talk = String::new();
        let mut stderr = self.child.stderr.take().expect("asked for once");
        stderr.read_to_string(&mut talk).expect("its messages are text");
        talk
    }

    /// Waits for its end: exit code, stdout, stderr.
    fn finish(mut self) -> (Option<i32>, String, String) {
        await_that("the demo ends", DEMO_MAX, || {
            match self.child.try_wait().expect("the child is ours") {
                Some(_) => Ok(()),
                None => Err(String::new()),
            }
        });
        self.stdout.read_to_string(&mut self.said).expect("its output is text");
        let code = self.child.wait().expect("it has ended").code();
        let talk = self.talk();
        (code, self.said, talk)
    }
}

fn await_that(what: &str, max: Duration, mut look: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + max;
    loop {
        match look() {
            Ok(()) => return,
            Err(found) => assert!(Instant::now() < deadline, "not in {max:?}: {what}\n{found}"),
        }
        std::thread::park_timeout(LOOK_INTERVAL);
    }
}

/// The URL in the line that opens `psql`.
fn url_in(line: &str) -> String {
    let parts: Vec<&str> = line.split('\'').collect();
    assert_eq!((parts.len(), parts[0].trim()), (3, "psql"), "{line}");
    parts[1].to_owned()
}

/// What it says that the writer did: "  1,234  new orders   an order, ...".
fn counts(said: &str) -> HashMap<&'static str, u64> {
    let mut counts = HashMap::new();
    for line in said.lines() {
        let Some((number, rest)) = line.trim_start().split_once("  ") else { continue };
        let Ok(number) = number.replace(',', "").parse() else { continue };
        if let Some(kind) = KINDS.iter().find(|kind| rest.starts_with(&format!("{kind}  "))) {
            counts.insert(*kind, number);
        }
    }
    counts
}

fn assert_no_complaint(talk: &str) {
    let complains = |line: &&str| ["WARN", "ERROR", "error:"].iter().any(|w| line.contains(w));
    let found: Vec<&str> = talk.lines().filter(complains).collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// The demo's own word is checked by the judge, who shares no code with it.
#[test]
fn the_demo_ends_with_both_sides_equal_and_says_where_to_look() {
    let place = Place::new();
    let mut demo = place.start(&["--seconds", "4", "--keep", "--seed", "7"]);
    let url = url_in(&demo.await_line("psql '"));
    // From here on the server ends with this process, even if that is killed.
    let _lease = cluster::adopt(&place.dir());
    let (code, said, talk) = demo.finish();
    assert_eq!(code, Some(0), "{said}\n{talk}");
    assert_no_complaint(&talk);

    assert!(said.contains("--seed 7"), "{said}");
    assert!(said.contains("EQUAL: ") && !said.contains("NOT"), "{said}");
    let file = place.dir().join("shop.db");
    assert!(said.contains(&format!("sqlite3 {}\n", file.display())), "{said}");
    let counts = counts(&said);
    for kind in KINDS {
        assert!(counts.get(kind).is_some_and(|count| 0 < *count), "{kind}: {counts:?}\n{said}");
    }
    let progress = talk.lines().filter(|line| line.contains(" transactions  PostgreSQL ")).count();
    assert!((1..=4).contains(&progress), "a line every few seconds, not:\n{talk}");

    let compared = judge::compare(&file, &url, "public").unwrap_or_else(|found| panic!("{found}"));
    assert_eq!(compared.tables, 11);
    assert!(said.contains(&format!("EQUAL: {} rows in 11", grouped(compared.rows))), "{said}");

    let target = Target::connect(&url);
    let seen = target.query("select current_schema(), to_regclass('orders')::text");
    assert_eq!(seen, [[Some("public".to_owned()), Some("orders".to_owned())]]);
}

fn grouped(rows: u64) -> String {
    assert!((1_000..1_000_000).contains(&rows), "{rows} rows are not a small shop");
    format!("{},{:03}", rows / 1_000, rows % 1_000)
}

/// Runs a demo, and once it is in step does `sabotage` to its target. Returns what it said.
fn sabotaged(sabotage: &[&str]) -> String {
    let place = Place::new();
    let database = TestDatabase::create();
    let demo = place.start(&["--seconds", "4", "--target", database.url()]);
    let target = Target::connect(database.url());
    await_that("the demo is in step", DEMO_MAX, || {
        let streaming = "select 1 from lite2pg.position where phase = 'streaming'";
        match target.try_query(streaming) {
            Ok(rows) if !rows.is_empty() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    sabotage.iter().for_each(|sql| target.run(sql));
    let (code, said, talk) = demo.finish();
    assert_eq!(code, Some(1), "{said}\n{talk}");
    assert_no_complaint(&talk);
    assert!(!place.dir().exists(), "nothing was to be kept");
    place.await_no_process();
    said
}

#[test]
fn rows_that_somebody_altered_make_the_demo_fail_and_name_the_table() {
    let said = sabotaged(&[
        "update public.carriers set name = name || '!' where code = 'dhl'",
        "delete from public.carriers where code = 'ups'",
    ]);
    assert!(said.contains("\nNOT EQUAL: carriers\n"), "{said}");
    assert!(said.contains("NOT EQUAL: 1 row missing, 1 row different"), "{said}");
}

#[test]
fn money_that_does_not_add_up_makes_the_demo_fail() {
    let said = sabotaged(&["insert into public.accounts values (999, 'nobody', 5)"]);
    assert!(said.contains("\nNOT CONSISTENT: the accounts held 2000005 cents"), "{said}");
    assert!(said.contains("NOT EQUAL: 1 row too many"), "{said}");
}

#[test]
fn ctrl_c_ends_writer_and_server_and_leaves_nothing() {
    let place = Place::new();
    let mut demo = place.start(&["--seconds", "600"]);
    demo.await_line("psql '");
    await_that("the writer writes", DEMO_MAX, || {
        place.writer().map(drop).ok_or_else(|| place.processes().join("\n"))
    });
    let second = place.command(&["--seconds", "1"]).output().expect("it was built");
    assert_refused(&second, 1, "another demo is at work");

    killpg(demo.pid(), Signal::SIGINT).expect("it is running");
    let (code, said, talk) = demo.finish();
    assert_eq!(code, Some(3), "{said}\n{talk}");
    assert!(talk.contains("error: stopped before both sides were compared\n"), "{talk}");
    assert!(!place.dir().exists(), "nothing was to be kept");
    place.await_no_process();
}

#[test]
fn a_killed_demo_takes_its_writer_along_and_the_next_one_cleans_up() {
    let place = Place::new();
    let mut demo = place.start(&["--seconds", "600"]);
    demo.await_line("psql '");
    await_that("the writer writes", DEMO_MAX, || {
        place.writer().map(drop).ok_or_else(|| place.processes().join("\n"))
    });
    kill(demo.pid(), Signal::SIGKILL).expect("it is running");
    assert_eq!(demo.finish().0, None, "it was killed");
    await_that("the writer ends by itself", END_MAX, || place.writer().map_or(Ok(()), Err));

    let cleaned = place.command(&["--clean"]).output().expect("it was built");
    assert!(cleaned.status.success(), "{}", String::from_utf8_lossy(&cleaned.stderr));
    assert!(!place.dir().exists());
    place.await_no_process();
}

fn assert_refused(output: &Output, code: i32, part: &str) {
    let talk = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{talk}");
    assert!(talk.starts_with("error: ") && talk.contains(part), "{talk}");
}

#[test]
fn without_server_programs_one_line_says_what_to_install() {
    let place = Place::new();
    let empty = tempfile::tempdir().expect("a temporary directory");
    let output = Command::new(env!("CARGO_BIN_EXE_lite2pg"))
        .arg("demo")
        .arg("--dir")
        .arg(place.dir())
        .arg("--pg-bin")
        .arg(empty.path())
        .env("PATH", "")
        .output()
        .expect("the product was built with these tests");
    assert_refused(&output, 3, "Install PostgreSQL");
    let talk = String::from_utf8_lossy(&output.stderr);
    assert_eq!(talk.trim_end().lines().count(), 1, "{talk}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert!(!place.dir().exists(), "nothing was to be kept");
}

#[test]
fn a_directory_that_no_demo_made_is_left_alone() {
    let place = Place::new();
    let theirs = place.dir().join("shop.db");
    fs::create_dir(place.dir()).expect("the directory is ours");
    fs::write(&theirs, "theirs").expect("the directory is ours");
    for arguments in [&["--seconds", "1"][..], &["--clean"]] {
        let output = place.command(arguments).output().expect("it was built");
        assert_refused(&output, 2, "no demo made it");
    }
    assert_eq!(fs::read_to_string(&theirs).expect("it is still there"), "theirs");
    assert_eq!(fs::read_dir(place.dir()).expect("it is still there").count(), 1);
    fs::remove_file(&theirs).expect("it is still there");
}

#[test]
fn a_given_seed_gives_the_same_shop() {
    let dump = |seed: &str| {
        let place = Place::new();
        let database = TestDatabase::create();
        let demo = place.start(&["--seconds", "1", "--seed", seed, "--target", database.url()]);
        let (code, said, talk) = demo.finish();
        assert_eq!(code, Some(0), "{said}\n{talk}");
        // Nothing but its start changes names and prices.
        let digest = "select md5(string_agg(title || price_cents, ',' order by title, price_cents))
                        from public.products";
        Target::connect(database.url()).query(digest)
    };
    let first = dump("11");
    assert_eq!(first, dump("11"));
    assert_ne!(first, dump("12"));
}
