//! The product, as a child process, with what it says.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The binary, with an environment in which nothing names another target.
pub fn command(arguments: &[&str], source: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lite2pg"));
    let inherited = std::env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        name == "DATABASE_URL"
            || name.starts_with("PG")
            || name.starts_with("POSTGRES")
            || name.starts_with("LITE2PG_") && !name.starts_with("LITE2PG_BENCH")
    });
    for name in inherited {
        command.env_remove(name);
    }
    command.args(arguments).arg("--source").arg(source).stdin(Stdio::null());
    command
}

/// Runs a short command to its end.
pub fn execute(arguments: &[&str], source: &Path) {
    let output = command(arguments, source).output().expect("start lite2pg");
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "lite2pg {arguments:?}: {}\n{talk}", output.status);
}

type Lines = Arc<Mutex<Vec<(Instant, String)>>>;

/// `lite2pg run`; ended with this value.
pub struct Sidecar {
    child: Child,
    begun: Instant,
    lines: Lines,
}

impl Sidecar {
    /// Starts it.
    pub fn start(source: &Path, url: &str, more: &[&str]) -> Self {
        let begun = Instant::now();
        let mut command = command(&["run", "--log", "info", "--target", url], source);
        let mut child = command
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start lite2pg");
        let lines = Lines::default();
        let (kept, stderr) = (lines.clone(), child.stderr.take().expect("stderr is a pipe"));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                kept.lock().expect("no holder panics").push((Instant::now(), line));
            }
        });
        Self { child, begun, lines }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it said.
    pub fn talk(&self) -> String {
        let lines = self.lines.lock().expect("no holder panics");
        lines.iter().map(|(_, line)| format!("{line}\n")).collect()
    }

    /// From its start to the line that holds `text`, waiting for it.
    pub fn until(&mut self, text: &str) -> Duration {
        loop {
            let ended = self.child.try_wait().expect("the child is ours");
            let found = self.said(text);
            if let Some(at) = found {
                return at;
            }
            assert!(ended.is_none(), "it ended without {text:?}:\n{}", self.talk());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn said(&self, text: &str) -> Option<Duration> {
        let lines = self.lines.lock().expect("no holder panics");
        lines.iter().find(|(_, line)| line.contains(text)).map(|(at, _)| *at - self.begun)
    }

    /// Waits for its own end; from its start to that.
    pub fn until_end(&mut self) -> Duration {
        let status = self.child.wait().expect("the child is ours");
        let took = self.begun.elapsed();
        assert!(status.success(), "lite2pg ended with {status}\n{}", self.talk());
        took
    }

    /// Asks it to stop and waits.
    pub fn stop(mut self) {
        kill(Pid::from_raw(self.pid().cast_signed()), Signal::SIGTERM).expect("it is running");
        self.until_end();
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // Only after a panic; there is nobody left to tell.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
