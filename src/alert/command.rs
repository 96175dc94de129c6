//! An alert handed to a command of the operator's.
//!
//! The shell runs it in a process group of its own, so that what it starts can be ended with it
//! and a Ctrl-C in a terminal does not reach it. The alert is on its standard input as one line of
//! JSON, the main fields are in its environment; what it prints is not looked at, what it says on
//! standard error is logged if it fails.

use std::io;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::Alert;
use crate::error::printable;

/// A command that takes longer is killed: long enough for a mail server that thinks, short enough
/// for the alerts behind it.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// What is logged of its standard error: a few lines.
const SAID_BYTES_MAX: usize = 600;

/// How long to listen once the command has ended: something that it left running may keep the
/// line open.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// Runs `command` for one alert. Fails, in words, if it cannot be started, fails, or outlasts
/// [`LIMIT`]. Dropped on the way, it kills what it started.
pub(super) async fn run(command: &str, alert: &Alert) -> Result<(), String> {
    run_within(command, alert, LIMIT).await
}

async fn run_within(command: &str, alert: &Alert, limit: Duration) -> Result<(), String> {
    let position = alert.position.map_or_else(String::new, |position| position.to_string());
    let mut child = Command::new("sh")
        .args(["-c", command])
        .env("LITE2PG_ALERT_KIND", &alert.kind)
        .env("LITE2PG_ALERT_SEVERITY", alert.severity.as_str())
        .env("LITE2PG_ALERT_MESSAGE", &alert.message)
        .env("LITE2PG_ALERT_POSITION", position)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("cannot be started: {error}"))?;
    let group = Group::of(&child);
    let outcome = tokio::time::timeout(limit, attend(&mut child, &alert.to_json())).await;
    let (status, said) = match outcome {
        Ok(ended) => ended.map_err(|error| format!("cannot be attended to: {error}"))?,
        Err(_) => {
            drop(group);
            // What was killed is reaped at once.
            child.wait().await.map_err(|error| format!("cannot be waited for: {error}"))?;
            return Err(format!("did not end within {} s and was killed", limit.as_secs()));
        }
    };
    group.let_go();
    if status.success() {
        return Ok(());
    }
    let said = printable(String::from_utf8_lossy(&said).trim());
    Err(if said.is_empty() { status.to_string() } else { format!("{status}: {said}") })
}

/// Feeds it and waits for its end; returns the beginning of what it said on standard error.
async fn attend(child: &mut Child, input: &str) -> io::Result<(ExitStatus, Vec<u8>)> {
    let mut stdin = child.stdin.take().expect("it was asked for");
    let mut stderr = child.stderr.take().expect("it was asked for");
    let work = async {
        let feed = async {
            // A command that does not read what it is given is none the worse for it.
            if let Err(error) = stdin.write_all(input.as_bytes()).await {
                tracing::debug!(%error, "the alert command did not read the alert");
            }
            drop(stdin);
        };
        tokio::join!(feed, child.wait()).1
    };
    let mut work = pin!(work);
    let (mut said, mut buffer, mut is_open) = (Vec::new(), [0; SAID_BYTES_MAX], true);
    let status = loop {
        tokio::select! {
            status = &mut work => break status?,
            read = stderr.read(&mut buffer), if is_open => {
                let read = read?;
                is_open = 0 < read;
                keep(&mut said, &buffer[..read]);
            }
        }
    };
    if is_open && let Ok(read) = tokio::time::timeout(LAST_WORDS, stderr.read(&mut buffer)).await {
        keep(&mut said, &buffer[..read?]);
    }
    Ok((status, said))
}

fn keep(said: &mut Vec<u8>, more: &[u8]) {
    let room = SAID_BYTES_MAX.saturating_sub(said.len());
    said.extend(&more[..more.len().min(room)]);
}

/// The process group of a command that was not reaped; killed when dropped.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        Self(pid.map(Pid::from_raw))
    }

    /// The command has ended; what it left running is its own affair.
    fn let_go(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0
            && let Err(error) = killpg(pid, Signal::SIGKILL)
        {
            tracing::debug!(%error, "the alert command cannot be killed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a command in a directory of its own, for a second at most.
    async fn tell(directory: &tempfile::TempDir, command: &str) -> Result<(), String> {
        let alert = Alert {
            position: Some(crate::change::Position(7)),
            ..Alert::new("table_stopped", "orders: it's \"3\" rows\u{1b}[2J")
        };
        let command = format!("cd {}; {command}", directory.path().display());
        run_within(&command, &alert, Duration::from_secs(1)).await
    }

    fn said(directory: &tempfile::TempDir, name: &str) -> String {
        std::fs::read_to_string(directory.path().join(name)).expect("the command wrote it")
    }

    #[tokio::test]
    async fn it_gets_the_alert_as_json_and_in_its_environment() {
        let directory = tempfile::tempdir().expect("a directory");
        let command = "cat > json; printf '%s\\n' \"$LITE2PG_ALERT_KIND\" \
            \"$LITE2PG_ALERT_SEVERITY\" \"$LITE2PG_ALERT_POSITION\" \
            \"$LITE2PG_ALERT_MESSAGE\" > env";
        assert_eq!(tell(&directory, command).await, Ok(()));
        let json = said(&directory, "json");
        assert_eq!(json.matches('\n').count(), 1, "one line: {json}");
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!((&json["kind"], &json["position"]), (&"table_stopped".into(), &7.into()));
        let message = "orders: it's \"3\" rows\u{fffd}[2J";
        assert_eq!(json["message"], message);
        assert_eq!(said(&directory, "env"), format!("table_stopped\ncritical\n7\n{message}\n"));
    }

    #[tokio::test]
    async fn one_that_fails_is_told_with_what_it_said_and_one_that_does_not_read_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(tell(&directory, "true").await, Ok(()));
        let failed = tell(&directory, "echo no such mailbox >&2; exit 3").await;
        assert_eq!(failed, Err("exit status: 3: no such mailbox".to_owned()));
        let endless = tell(&directory, "yes >&2 & sleep 0.1; kill $!; exit 1").await;
        let endless = endless.expect_err("it fails");
        assert!(endless.len() < SAID_BYTES_MAX + 40, "{endless}");
    }

    #[tokio::test]
    async fn one_that_never_ends_is_killed_with_all_that_it_started() {
        let directory = tempfile::tempdir().expect("a directory");
        let begun = std::time::Instant::now();
        let command = "sleep 600 & echo $! > child; echo $$ > self; wait";
        let outcome = tell(&directory, command).await;
        assert_eq!(outcome, Err("did not end within 1 s and was killed".to_owned()));
        assert!(begun.elapsed() < Duration::from_secs(20));
        for name in ["child", "self"] {
            let pid = Pid::from_raw(said(&directory, name).trim().parse().expect("a number"));
            // Its parent may not have reaped it yet.
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            assert!(state.is_empty() || state.contains(") Z "), "{name} lives on: {state}");
        }
    }

    #[tokio::test]
    async fn what_a_command_left_running_is_not_waited_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let command = "sleep 600 & echo $! > child";
        assert_eq!(tell(&directory, command).await, Ok(()));
        let pid = Pid::from_raw(said(&directory, "child").trim().parse().expect("a number"));
        nix::sys::signal::kill(pid, Signal::SIGKILL).expect("it is still there");
    }
}
