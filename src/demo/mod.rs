//! `lite2pg demo`: the whole of it in half a minute, on a database of its own.
//!
//! A small shop is made ([`shop`]), a process that knows nothing of lite2pg writes to it
//! ([`writer`], [`kinds`]), a private PostgreSQL is brought up, and the daemon that `run` uses
//! replicates while [`observe`] looks on. Once the writer has ended and PostgreSQL has caught up,
//! both sides are compared row by row, and the exit code says whether they are equal.
//!
//! It touches nothing but its own directory ([`home`]) and takes no target from the environment:
//! whoever has `DATABASE_URL` set did not ask for a sample shop in there.

mod dice;
mod home;
mod kinds;
mod observe;
mod screen;
mod shop;
pub mod writer;

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use home::Home;
use observe::{Observer, Seen};
use screen::{Screen, counted, grouped};
use writer::Tally;

use crate::cli::{DemoArgs, PaceArgs};
use crate::command::{print, release, stop_on_signals};
use crate::config::File;
use crate::daemon::{self, Stop};
use crate::error::{Exit, Report};
use crate::source::thread::SourceThread;
use crate::target::conninfo::{self, ConnInfo, Origin, Surroundings};
use crate::target::private::{PrivateCluster, ROLE};
use crate::{terminal, verify};

/// How often both sides are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How long PostgreSQL may go without getting nearer to SQLite's end before that is an answer.
const DRAIN_MAX: Duration = Duration::from_secs(60);

/// Shows it. `Yes` only if both sides are equal at the end.
pub async fn demo(args: DemoArgs) -> Result<Exit, Report> {
    let mut stop = stop_on_signals("stopping")?;
    let (dir, pg_bin) = (args.dir.clone(), args.pg_bin.clone());
    let home = off_the_loop(move || Home::take(dir, pg_bin)).await?;
    if args.clean {
        return off_the_loop(move || home.remove()).await.map(|()| Exit::Yes);
    }
    let seed = args.seed.unwrap_or_else(draw_seed);
    let stage = off_the_loop({
        let target = args.target.clone();
        let screen = Screen::begin(args.seconds, "making a SQLite database and a PostgreSQL");
        move || Stage::build(home, target.as_deref(), seed, screen)
    })
    .await;
    // Ctrl-C reaches initdb as well; then its failure is no news.
    let mut stage = stage.map_err(|report| if stop.is_given() { stopped() } else { report })?;
    let outcome = stage.perform(&args, seed, &mut stop).await;
    stage.screen.end();
    let left = stage.leave(&args).await;
    match outcome {
        Ok(exit) => print(&left?).map(|()| exit),
        Err(report) => {
            match left {
                Ok(text) if args.keep => print(&text)?,
                Ok(_) => {}
                Err(left) => tracing::warn!("something stays behind: {left}"),
            }
            Err(report)
        }
    }
}

/// Runs what blocks for seconds where it holds nobody up.
async fn off_the_loop<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it returns its errors")
}

/// Six digits are enough to tell demos apart and short enough to be typed.
fn draw_seed() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0 % 1_000_000
}

fn stopped() -> Report {
    Report::new(Exit::Unknown, "stopped before both sides were compared")
}

/// Both databases, ready.
struct Stage {
    home: Home,
    target: ConnInfo,
    cluster: Option<PrivateCluster>,
    /// What opens PostgreSQL.
    psql: String,
    screen: Screen,
}

impl Stage {
    /// Blocks. Leaves nothing behind if it fails.
    fn build(home: Home, target: Option<&str>, seed: u64, screen: Screen) -> Result<Self, Report> {
        let built = (|| {
            shop::create(&home.shop(), seed).map_err(|error| {
                Report::new(
                    Exit::Unknown,
                    format!("cannot make {}: {error}", home.shop().display()),
                )
            })?;
            let around = Surroundings::of_process();
            let read = |url: &str| {
                conninfo::from_text(url, Origin::Explicit, &around)
                    .map_err(crate::config::Error::from)
            };
            let Some(named) = target else {
                let cluster = home.cluster()?;
                let psql = cluster.psql(ROLE);
                return Ok((read(&cluster.url(ROLE))?, Some(cluster), psql));
            };
            Ok((read(named)?, None, format!("psql '{}'", conninfo::redact(named))))
        })();
        match built {
            Ok((target, cluster, psql)) => Ok(Self { home, target, cluster, psql, screen }),
            Err(report) => {
                drop(screen);
                // The reason that it failed says more than that something stayed behind.
                let _ = home.remove();
                Err(report)
            }
        }
    }

    /// From the first write to the verdict.
    async fn perform(
        &mut self,
        args: &DemoArgs,
        seed: u64,
        stop: &mut Stop,
    ) -> Result<Exit, Report> {
        if stop.is_given() {
            return Err(stopped());
        }
        let schema = args.target_schema.clone().unwrap_or_else(|| "public".to_owned());
        let source = SourceThread::open(self.home.shop()).await?;
        let mut observer = Observer::new(source, self.target.clone(), schema.clone());
        self.introduce(args, seed, &mut observer).await?;
        let mut writer = Writer::start(args, seed, &self.home)?;
        let file = File::default();
        let pace = PaceArgs::default();
        let (source, target) = (self.home.shop(), self.target.clone());
        let config = file.run(source, target, schema.clone(), Arc::default(), false, &pace);
        let mut replication = Replication::start(config.clone());
        self.screen.start_clock();
        let watched = self.watch(&mut writer, &mut replication, &mut observer, stop).await;
        // Nobody writes while both sides are compared, whatever has happened.
        writer.end().await;
        let ended = replication.end().await;
        watched?;
        ended?;
        self.screen.wait_for("comparing both sides row by row");
        let scope = verify::Scope { is_full: true, ..verify::Scope::default() };
        let verdict = verify::verify(&config, scope).await?;
        self.screen.end();
        self.conclude(&writer.tally, &observer.seen, &verdict)
    }

    /// Says what is where.
    async fn introduce(
        &self,
        args: &DemoArgs,
        seed: u64,
        observer: &mut Observer,
    ) -> Result<(), Report> {
        let doing = crate::target::Error::query("ask for the server's version");
        let version: String = observer
            .client()
            .await?
            .query_one("show server_version", &[])
            .await
            .map_err(doing)?
            .get(0);
        let version = version.split(' ').next().unwrap_or_default();
        let whose = if self.cluster.is_some() { "made for this demo" } else { "yours" };
        let text = format!(
            "lite2pg demo: {} s, {} transactions a second, --seed {seed}\n\n\
             \x20 A small shop's database in SQLite, and an application that writes to it:\n\
             \x20   sqlite3 {}\n\
             \x20 PostgreSQL {version}, {whose}, which lite2pg keeps in step with it:\n\
             \x20   {}\n\
             \x20 Look into either while it runs.\n\n",
            args.seconds,
            args.rate,
            self.home.shop().display(),
            self.psql,
        );
        terminal::above_bars(|| print(&text))
    }

    /// Until the writer has ended and PostgreSQL has all of it.
    async fn watch(
        &mut self,
        writer: &mut Writer,
        replication: &mut Replication,
        observer: &mut Observer,
        stop: &mut Stop,
    ) -> Result<(), Report> {
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut nearest = (i64::MAX, Instant::now());
        loop {
            tokio::select! {
                () = stop.given() => return Err(stopped()),
                () = replication.ended() => return Err(replication.failure().await),
                line = writer.lines.next_line(), if !writer.has_ended => writer.hear(line).await?,
                _ = looks.tick() => {
                    let reading = observer.look().await?;
                    self.screen.show(&writer.tally, reading.as_ref());
                    if !writer.has_ended {
                        nearest.1 = Instant::now();
                        continue;
                    }
                    if reading.as_ref().is_some_and(observe::Reading::is_in_step) {
                        return Ok(());
                    }
                    let lag = reading.map_or(i64::MAX, |reading| reading.lag_changes);
                    if lag < nearest.0 {
                        nearest = (lag, Instant::now());
                    }
                    if DRAIN_MAX < nearest.1.elapsed() {
                        let message = format!("PostgreSQL got no nearer for {DRAIN_MAX:?}");
                        return Err(Report::new(Exit::Unknown, message));
                    }
                }
            }
        }
    }

    fn conclude(
        &self,
        tally: &Tally,
        seen: &Seen,
        verdict: &verify::verdict::Verdict,
    ) -> Result<Exit, Report> {
        let busy = match tally.busy {
            0 => String::new(),
            busy => format!(" ({} gave up, the file was locked)", grouped(busy)),
        };
        print(&format!(
            "  The application ran {} over {} connections{busy}:\n\n{}\n\
             \x20 That touched rows {} times. PostgreSQL was at most\n\
             \x20 {}, and its accounts added up in {} looks.\n\n\
             \x20 Both sides at rest, compared row by row:\n\n{}\n",
            counted(tally.transactions, "transaction"),
            kinds::CLERKS.len(),
            screen::kinds(tally),
            grouped(u64::try_from(seen.changes).unwrap_or(0)),
            screen::behind(seen.lag_changes_max, seen.lag_ms_max),
            match seen.wrong_sum {
                None => format!("all of {}", grouped(seen.sums)),
                Some(_) => format!("NOT ALL of {}", grouped(seen.sums)),
            },
            screen::comparison(verdict),
        ))?;
        if let Some(sum) = seen.wrong_sum {
            print(&format!(
                "NOT CONSISTENT: the accounts held {sum} cents together, not {}.\n",
                shop::MONEY_CENTS
            ))?;
        }
        if verdict.verdict == verify::verdict::Outcome::Pass {
            print(&format!(
                "EQUAL: {} in {} tables are the same on both sides.\n",
                counted(verdict.rows_compared(), "row"),
                verdict.tables.len()
            ))?;
            return Ok(if seen.wrong_sum.is_none() { Exit::Yes } else { Exit::No });
        }
        let different: Vec<&str> = verdict
            .tables
            .iter()
            .filter(|table| !table.is_equal())
            .map(|table| table.name.as_str())
            .collect();
        print(&format!("NOT EQUAL: {}\n", different.join(", ")))?;
        Ok(Exit::No)
    }

    /// Ends the server and removes the directory, or says where to look.
    async fn leave(self, args: &DemoArgs) -> Result<String, Report> {
        let program = std::env::args().next().unwrap_or_else(|| "lite2pg".to_owned());
        let again = match &args.dir {
            Some(_) => format!("{program} demo --dir {}", self.home.dir().display()),
            None => format!("{program} demo"),
        };
        if args.keep {
            return Ok(format!(
                "\nKept, to look into:\n\
                 \x20 {}\n\
                 \x20 sqlite3 {}\n\
                 To end and remove it: {again} --clean\n",
                self.psql,
                self.home.shop().display(),
            ));
        }
        let is_private = self.cluster.is_some();
        release(self.cluster).await?;
        off_the_loop(move || self.home.remove()).await?;
        Ok(if is_private {
            format!("\nNothing is kept. `{program} demo --keep` leaves both to look into.\n")
        } else {
            "\nThe tables and the schema lite2pg stay in your PostgreSQL.\n".to_owned()
        })
    }
}

/// The daemon, as `run` runs it.
struct Replication {
    switch: watch::Sender<bool>,
    task: Option<JoinHandle<Result<daemon::Ended, daemon::Error>>>,
}

impl Replication {
    fn start(config: daemon::Config) -> Self {
        let (switch, stop) = Stop::new();
        let runtime = tokio::runtime::Handle::current();
        // On a thread of its own, as in `run`: it must not wait for what is drawn here.
        let run = move || runtime.block_on(daemon::run(config, stop));
        Self { switch, task: Some(tokio::task::spawn_blocking(run)) }
    }

    /// Returns when the daemon ends by itself, which it should not.
    async fn ended(&mut self) {
        while self.task.as_ref().is_some_and(|task| !task.is_finished()) {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Why it ended.
    async fn failure(&mut self) -> Report {
        let unasked = || Report::new(Exit::Unknown, "replication ended unasked");
        match self.task.take() {
            None => unasked(),
            Some(task) => match task.await.expect("the daemon returns its errors") {
                Ok(_) => unasked(),
                Err(error) => error.into(),
            },
        }
    }

    /// Tells it to stop, and waits for that.
    async fn end(mut self) -> Result<(), Report> {
        self.switch.send_replace(true);
        match self.task.take() {
            None => Ok(()),
            Some(task) => {
                task.await.expect("the daemon returns its errors")?;
                Ok(())
            }
        }
    }
}

/// The process that writes.
struct Writer {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    has_ended: bool,
    tally: Tally,
}

impl Writer {
    fn start(args: &DemoArgs, seed: u64, home: &Home) -> Result<Self, Report> {
        let cannot = |error: std::io::Error| {
            Report::new(Exit::Unknown, format!("cannot start the demo's writer: {error}"))
        };
        let program = std::env::current_exe().map_err(cannot)?;
        let mut child = Command::new(program)
            .arg("demo-writer")
            .arg("--source")
            .arg(home.shop())
            .args(["--seconds", &args.seconds.to_string()])
            .args(["--rate", &args.rate.to_string()])
            .args(["--seed", &seed.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for the demo alone, which then ends its writer.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(cannot)?;
        let stdout = child.stdout.take().expect("it was just piped");
        let lines = BufReader::new(stdout).lines();
        Ok(Self { child, lines, has_ended: false, tally: Tally::default() })
    }

    /// Takes in what it said. Nothing more to say means that it has ended: was it well?
    async fn hear(&mut self, line: std::io::Result<Option<String>>) -> Result<(), Report> {
        let failed = |what: String| {
            Report::new(Exit::Unknown, format!("the demo's writer failed: {}", what.trim()))
        };
        if let Some(line) = line.map_err(|error| failed(error.to_string()))? {
            self.tally = serde_json::from_str(&line).map_err(|error| failed(error.to_string()))?;
            return Ok(());
        }
        self.has_ended = true;
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut said).await.map_err(|error| failed(error.to_string()))?;
        }
        let status = self.child.wait().await.map_err(|error| failed(error.to_string()))?;
        if status.success() { Ok(()) } else { Err(failed(said)) }
    }

    /// Ends it if it has not ended.
    async fn end(&mut self) {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // Fails only if it is gone already.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let _ = tokio::time::timeout(writer::BUSY_MAX, self.child.wait()).await;
    }
}
