//! The product as users run it: a child process with arguments and environment of its own.
//!
//! What it says goes to files, so that nothing is lost when it is killed and no pipe can fill.
//! Every wait has a deadline and ends the test with what the child said. The child is killed and
//! reaped when its [`Sidecar`] is dropped, also while a failed test unwinds.
//!
//! Begin with [`Launch::run`].

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Long enough for anything that is not stuck, on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Between two looks at a condition that is waited for.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Waits until `is_reached` gives something; `None` once `limit` has passed.
pub fn wait_until<T>(limit: Duration, mut is_reached: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = is_reached() {
            return Some(value);
        }
        if deadline < Instant::now() {
            return None;
        }
        std::thread::park_timeout(LOOK_INTERVAL);
    }
}

/// A call of the product that is being put together.
///
/// The child's environment holds nothing that names a source, a target or a failpoint, unless
/// [`Launch::env`] says so.
pub struct Launch(Command);

impl Launch {
    /// Any subcommand.
    pub fn new(subcommand: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lite2pg"));
        for (name, _) in std::env::vars_os() {
            let shown = name.to_string_lossy();
            let steers = ["PG", "POSTGRES_", "LITE2PG_", "DATABASE_URL", "FAILPOINTS"];
            if steers.iter().any(|prefix| shown.starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        command.arg(subcommand);
        Self(command)
    }

    /// `lite2pg run --source FILE --target URL`.
    pub fn run(source: &Path, url: &str) -> Self {
        Self::new("run").arg("--source").arg(source).args(["--target", url])
    }

    /// `lite2pg run … --until-caught-up`.
    pub fn catch_up(source: &Path, url: &str) -> Self {
        Self::run(source, url).arg("--until-caught-up")
    }

    /// One more argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.0.arg(argument);
        self
    }

    /// More arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.0.args(arguments);
        self
    }

    /// A variable of the environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Dies by SIGKILL at a failpoint, on its passing number `passing`, counted from 1.
    pub fn dying_at(self, failpoint: &str, passing: u32) -> Self {
        let armed = match passing {
            0 | 1 => format!("{failpoint}=1*return"),
            many => format!("{failpoint}={}*off->1*return", many - 1),
        };
        self.env("FAILPOINTS", armed)
    }

    /// Runs `program`, a copy of the product that this user can reach, as another user. Only root
    /// can.
    pub fn by_user(self, uid: u32, gid: u32, program: &Path) -> Self {
        let mut command = Command::new(program);
        command.args(self.0.get_args()).gid(gid).uid(uid);
        for (name, value) in self.0.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Self(command)
    }

    /// Starts it.
    pub fn start(mut self) -> Sidecar {
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        let file = |name| File::create(directory.path().join(name)).expect("the directory is ours");
        let child = self
            .0
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .current_dir("/")
            .spawn()
            .expect("the product was built with these tests");
        Sidecar { child, directory, ended: None }
    }

    /// Starts it and waits for its end, [`LIMIT`] at most.
    pub fn finish(self) -> Ended {
        self.start().wait(LIMIT)
    }
}

/// The product, running or ended; gone when dropped.
pub struct Sidecar {
    child: Child,
    directory: tempfile::TempDir,
    ended: Option<ExitStatus>,
}

/// How the product ended and what it said.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it logged.
    pub stderr: String,
}

impl Sidecar {
    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// What it has logged so far.
    pub fn stderr(&self) -> String {
        self.said("stderr")
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        self.said("stdout")
    }

    fn said(&self, stream: &str) -> String {
        let bytes = std::fs::read(self.directory.path().join(stream)).expect("the file is ours");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether it is still there.
    pub fn is_running(&mut self) -> bool {
        self.look().is_none()
    }

    fn look(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("the child is ours");
        }
        self.ended
    }

    /// Waits until it has logged a line that contains `part`, and returns that line. Fails the
    /// test if it ends or `limit` passes without one.
    pub fn await_line(&mut self, part: &str, limit: Duration) -> String {
        let line = wait_until(limit, || {
            // Looked at before the log: what a process logs before its end is then seen.
            let is_running = self.is_running();
            let log = self.stderr();
            let found = log.lines().find(|line| line.contains(part));
            match found {
                Some(line) => Some(Some(line.to_owned())),
                None if is_running => None,
                None => Some(None),
            }
        });
        line.flatten().unwrap_or_else(|| {
            panic!("lite2pg never said {part:?} (ended: {:?}):\n{}", self.ended, self.stderr())
        })
    }

    /// Waits for its end; fails the test if `limit` passes.
    pub fn wait(mut self, limit: Duration) -> Ended {
        match wait_until(limit, || self.look()) {
            Some(status) => Ended {
                code: status.code(),
                signal: status.signal(),
                stdout: self.stdout(),
                stderr: self.stderr(),
            },
            None => panic!("lite2pg did not end in {limit:?}:\n{}", self.stderr()),
        }
    }

    /// The most memory that it has had, in MiB; `None` once it has ended.
    pub fn peak_mib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
    }

    /// Waits until it ended or `is_reached` gives something; fails the test after [`LIMIT`].
    /// `None` means that it ended.
    pub fn until<T>(&mut self, is_reached: impl FnMut() -> Option<T>) -> Option<T> {
        self.until_within(LIMIT, is_reached)
    }

    /// The same with a limit of its own.
    pub fn until_within<T>(
        &mut self,
        limit: Duration,
        mut is_reached: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let outcome = wait_until(limit, || {
            let is_running = self.is_running();
            match is_reached() {
                Some(value) => Some(Some(value)),
                None if is_running => None,
                None => Some(None),
            }
        });
        outcome.unwrap_or_else(|| panic!("nothing happened in {limit:?}:\n{}", self.stderr()))
    }

    /// Asks it to stop, as an operator would, and waits for its end.
    pub fn terminate(self) -> Ended {
        self.signal(Signal::SIGTERM);
        self.wait(LIMIT)
    }

    /// Kills it: no code of its own runs any more.
    pub fn kill(self) -> Ended {
        self.signal(Signal::SIGKILL);
        self.wait(LIMIT)
    }

    /// Sends a signal, if it is still there.
    pub fn signal(&self, signal: Signal) {
        if self.ended.is_none() {
            kill(self.pid(), signal).expect("a child that was not reaped can be signalled");
        }
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        if self.look().is_none()
            && let Err(error) = self.child.kill().and_then(|()| self.child.wait())
        {
            eprintln!("lite2pg {} could not be ended: {error}", self.pid());
        }
    }
}

impl Ended {
    /// Fails the test unless it ended with `code`.
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "lite2pg ended otherwise: {self}");
        self
    }

    /// Fails the test unless the last thing it said is an error that contains all `parts`.
    pub fn expect_error(self, parts: &[&str]) -> Self {
        let at = self.stderr.rfind("error: ");
        let error = at.map(|at| &self.stderr[at..]).unwrap_or_default();
        for part in parts {
            assert!(error.contains(part), "{part:?} is not in the error of {self}");
        }
        self
    }

    /// What it printed, which must be JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// Whether SIGKILL ended it: no way of ending of its own.
    pub fn was_killed(&self) -> bool {
        self.signal == Some(Signal::SIGKILL as i32)
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "code {:?}, signal {:?}\n{}", self.code, self.signal, self.stderr)
    }
}

/// What `lite2pg status --json` says.
pub fn status(source: &Path, url: &str) -> serde_json::Value {
    let ended = Launch::new("status")
        .arg("--source")
        .arg(source)
        .args(["--target", url, "--json"])
        .finish()
        .expect_code(0);
    serde_json::from_str(&ended.stdout)
        .unwrap_or_else(|error| panic!("{error} in {}", ended.stdout))
}

mod tests {
    use super::*;

    #[test]
    fn a_child_that_ends_before_it_says_the_line_fails_the_wait() {
        let file = std::env::temp_dir().join("there is no such directory").join("source.db");
        let mut sidecar = Launch::new("install").arg("--source").arg(&file).start();
        let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            sidecar.await_line("never said", LIMIT)
        }));
        assert!(waited.is_err());
        let line = sidecar.await_line("there is no file", LIMIT);
        assert!(line.starts_with("error: "), "{line}");
        sidecar.wait(LIMIT).expect_code(2).expect_error(&["there is no file", "hint: "]);
    }
}
