//! The guide, carried out: every command of docs/guide.md in turn, on a real
//! SQLite file and a real PostgreSQL, prints what the page shows.

use std::path::Path;

use crate::docs::{Page, words};
use crate::support::cluster;

/// Lines that a program in the background has printed so far.
struct Background {
    child: std::process::Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Background {
    /// Long enough for `initdb` and a first copy on a busy machine.
    const WAIT: std::time::Duration = std::time::Duration::from_secs(60);

    fn next_line(&self) -> String {
        self.lines.recv_timeout(Self::WAIT).expect("the line that the guide shows")
    }

    /// Ends it as Ctrl-C does; returns what else it printed.
    fn interrupt(mut self) -> Vec<String> {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("it runs");
        let status = self.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(0));
        self.lines.iter().collect()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Only after a failure; it stops its PostgreSQL by itself once it is told to end.
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
            let _ = self.child.wait();
        }
    }
}

/// Someone who follows the guide.
struct Reader {
    directory: tempfile::TempDir,
    state: tempfile::TempDir,
    script: String,
    background: Option<Background>,
    /// The private PostgreSQL, as the log gave it.
    url: String,
}

impl Reader {
    fn command(&self) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lite2pg"));
        command.current_dir(self.directory.path()).env_clear();
        command.env("HOME", self.directory.path()).env("LITE2PG_STATE", self.state.path());
        command.stdin(std::process::Stdio::null());
        command
    }

    /// Does what a line says; returns what it prints, as far as `expected` reaches.
    fn follow(&mut self, line: &str, expected: usize) -> Vec<String> {
        let words = words(line);
        let file = self.directory.path().join("app.db");
        let arguments: Vec<&str> = words.iter().map(String::as_str).collect();
        match arguments[..] {
            ["sqlite3", "app.db", "<", "shop.sql"] => {
                write(&file, &self.script);
                Vec::new()
            }
            ["sqlite3", "app.db", sql] => {
                write(&file, sql);
                Vec::new()
            }
            ["psql", _, "-At", "-c", sql] => rows(&self.url, sql),
            ["lite2pg", "run", "--source", "app.db"] => self.start(&arguments[1..], expected),
            ["lite2pg", "status", ..] => self.in_time(&arguments[1..]),
            ["lite2pg", ..] => self.printed(&arguments[1..]),
            ["^C"] => self.background.take().expect("it was started").interrupt(),
            _ => panic!("nobody knows how to follow {line:?}"),
        }
    }

    fn printed(&self, arguments: &[&str]) -> Vec<String> {
        let output = self.command().args(arguments).output().expect("run lite2pg");
        let both = [output.stdout, output.stderr].concat();
        String::from_utf8(both).expect("it prints UTF-8").lines().map(str::to_owned).collect()
    }

    /// A person reads status a moment after the write; a machine has to wait for that moment.
    fn in_time(&self, arguments: &[&str]) -> Vec<String> {
        let begun = std::time::Instant::now();
        loop {
            let lines = self.printed(arguments);
            let is_there = self.background.is_none()
                || lines.first().is_some_and(|line| line.contains(", in step"));
            if is_there || Background::WAIT < begun.elapsed() {
                return lines;
            }
        }
    }

    fn start(&mut self, arguments: &[&str], expected: usize) -> Vec<String> {
        use std::io::BufRead as _;
        let mut command = self.command();
        command.args(arguments).stderr(std::process::Stdio::piped());
        command.stdout(std::process::Stdio::null());
        let mut child = command.spawn().expect("start lite2pg");
        let talk = std::io::BufReader::new(child.stderr.take().expect("it is piped"));
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            talk.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let background = self.background.insert(Background { child, lines });
        let printed: Vec<String> = (0..expected).map(|_| background.next_line()).collect();
        // The log's first line shows the URL as an argument of psql.
        if let Some(url) = printed.first().and_then(|line| line.split('\'').nth(1)) {
            self.url = url.to_owned();
        }
        printed
    }
}

fn write(file: &Path, sql: &str) {
    let conn = rusqlite::Connection::open(file).expect("open the database");
    conn.busy_timeout(std::time::Duration::from_secs(10)).expect("set the timeout");
    // As the shell does, unless it is told otherwise.
    conn.execute_batch("pragma foreign_keys = off").expect("switch foreign keys off");
    conn.execute_batch(sql).expect("write to the database");
}

/// What `psql -At` prints.
fn rows(url: &str, sql: &str) -> Vec<String> {
    let sql = format!("set search_path to public; {sql}");
    let conninfo = cluster::parse(url);
    let messages = cluster::block_on(async move {
        cluster::session(&conninfo).await.simple_query(&sql).await.expect("a query of the guide")
    });
    messages
        .iter()
        .filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => {
                let cells = (0..row.len()).map(|cell| row.get(cell).unwrap_or_default());
                Some(cells.collect::<Vec<_>>().join("|"))
            }
            _ => None,
        })
        .collect()
}

/// A line without what differs from run to run: times, process ids, random ids, places.
fn settled(line: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in line.split(' ') {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let is_time = 8 <= word.len()
            && word.bytes().all(|b| b.is_ascii_digit() || b"-:.TZ".contains(&b))
            && word.contains(['-', ':']);
        words.push(match word.split_once('=') {
            _ if is_time => "(time)".to_owned(),
            _ if word.starts_with("'postgresql://") => "(url)".to_owned(),
            Some(("lineage", _)) => "lineage=(lineage)".to_owned(),
            _ => match words.last().map(String::as_str) {
                Some("changes,") => "(seconds)".to_owned(),
                Some("process") if is_number(word.trim_end_matches(',')) => "(pid),".to_owned(),
                _ => word.to_owned(),
            },
        });
    }
    words.join(" ")
}

/// The guide is true: each command is carried out in turn and prints what the page shows.
#[test]
fn the_guide_can_be_followed_from_its_first_line_to_its_last() {
    let guide = Page::read("docs/guide.md");
    let base = cluster::bases().pop().expect("there is a place that every user can enter");
    let mut reader = Reader {
        directory: tempfile::tempdir().expect("a directory"),
        state: cluster::throwaway_dir(&base),
        script: guide.blocks("sql").concat(),
        background: None,
        url: String::new(),
    };
    let mut followed = 0;
    for block in guide.blocks("console") {
        let mut lines = block.lines().peekable();
        while let Some(line) = lines.next() {
            let command = line.strip_prefix("$ ").unwrap_or(line);
            let mut shown = Vec::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
                shown.push(settled(line));
            }
            let printed: Vec<String> =
                reader.follow(command, shown.len()).iter().map(|line| settled(line)).collect();
            assert_eq!(printed, shown, "after {command}");
            followed += 1;
        }
    }
    assert!(10 < followed, "only {followed} commands were found");
}
