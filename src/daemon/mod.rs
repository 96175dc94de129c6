//! The loop: bring the target into step, keep it there, stop cleanly.
//!
//! A run is a series of *sessions*. Each session connects, proves lineage, prepares both sides
//! ([`prepare`]), copies what is not copied ([`copy`]) and streams ([`stream`]) until told to
//! stop or until something breaks. What a new session may get past (a restarted server, a cut
//! connection, a changed schema) begins a new one, with backoff; everything else ends the run
//! with its position intact. A session begins by reading the position from the target, so an
//! unknown commit outcome needs no thought.
//!
//! Only here do both sides meet.

pub mod blueprint;
pub mod copy;
pub(crate) mod decide;
pub mod finalise;
pub mod lag;
pub mod prepare;
mod progress;
pub mod stream;
mod tell;
mod unseen;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use self::tell::Tell;
use crate::adopt::Finding;
use crate::alert::{Alerts, Thresholds};
use crate::overrides::{self, Overrides};
use crate::source::rescue::Rescue;
use crate::source::thread::SourceThread;
use crate::source::{Source, Traces};
use crate::target::attend::Attendant;
use crate::target::conninfo::ConnInfo;
use crate::target::{connect, decisions, ledger};
use crate::{source, target};

/// What a run is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The application's file.
    pub source: PathBuf,
    /// Where PostgreSQL is.
    pub target: ConnInfo,
    /// The schema that gets the application's tables.
    pub target_schema: String,
    /// The types that the configuration sets.
    pub overrides: std::sync::Arc<Overrides>,
    /// What becomes of a row that the target cannot hold.
    pub on_unmappable: OnUnmappable,
    /// Exit as soon as the target is in step.
    pub until_caught_up: bool,
    /// Look at least this often, whatever file events say.
    pub poll_interval: Duration,
    /// Let file events wake the loop as well.
    pub file_events: bool,
    /// Connections that copy side by side.
    pub copy_connections: usize,
    /// Rows the copy may send per second; `None` is no limit.
    pub copy_rows_per_second: Option<std::num::NonZeroU32>,
    /// Bytes the copy may send per second; `None` is no limit.
    pub copy_bytes_per_second: Option<std::num::NonZeroU32>,
    /// One transaction of the target while a backlog is worked off is no longer than this.
    pub transaction_max: Duration,
    /// Applied changelog entries younger than this stay.
    pub retention: Duration,
    /// More applied entries than this are pruned even if they are young.
    pub retained_changes_max: i64,
    /// How often to look for something to prune.
    pub prune_interval: Duration,
    /// Who is told of what a person should know.
    pub alerts: Alerts,
    /// From when on what lasts is told.
    pub thresholds: Thresholds,
}

/// What becomes of a row that the target cannot hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnmappable {
    /// It is set aside with its key and the reason, and replication goes on.
    #[default]
    Quarantine,
    /// Replication stops before anything of its batch is applied.
    Halt,
}

/// How long a stop lets the work in hand go on before it is left undone. A batch takes less; what
/// may take longer (a target that is down, a lock, an index) is done again by the next run.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// How a run ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// In step, and asked to stop there.
    CaughtUp,
    /// Told to stop.
    Stopped,
}

/// Why a run ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source's side.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// The target's side.
    #[error(transparent)]
    Target(#[from] target::Error),
    /// The types that the configuration sets do not go with the source or the target.
    #[error(transparent)]
    Overrides(#[from] overrides::Error),
    /// Asked for before the target is in step.
    #[error("the target is not in step with the source: {phase}")]
    NotInStep {
        /// How far replication is.
        phase: &'static str,
    },
    /// The target's tables are not such that the source's rows could go there.
    #[error("{} things are in the way of adopting the target's tables", findings.len())]
    NotAdoptable {
        /// What is in the way.
        findings: Vec<Finding>,
    },
    /// In step but for these, which the target cannot take.
    #[error("in step, but for {}", tables.join(", "))]
    Stopped {
        /// The names of the tables on the source.
        tables: Vec<String>,
    },
    /// In step but for these, whose rows differ although they were replayed again.
    #[error("in step, but rows of {} differ although they were replayed again", tables.join(", "))]
    Unproven {
        /// The names of the tables on the source.
        tables: Vec<String>,
    },
    /// What had stopped a table may be gone; a new session looks. Never leaves a run.
    #[error("a stopped table may be able to go on")]
    LookAnew,
    /// The mode would make tables anew that the application's migrations made.
    #[error("the tables of this target were adopted, and mode = \"create\" would make them anew")]
    WasAdopted,
    /// The source has nothing that could be replicated.
    #[error("the source has no table that can be replicated")]
    NothingToDo,
}

/// Tells all tasks of a run to come to an end.
#[derive(Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// A stop signal and the switch that gives it.
    pub fn new() -> (watch::Sender<bool>, Self) {
        let (switch, stop) = watch::channel(false);
        (switch, Self(stop))
    }

    /// Whether it has been given.
    pub fn is_given(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once it was given and [`STOP_GRACE`] has passed.
    async fn outstayed(&mut self) {
        self.given().await;
        tokio::time::sleep(STOP_GRACE).await;
    }

    /// Returns once it is given.
    pub async fn given(&mut self) {
        // An error means the switch is gone, and nobody could stop us any other way.
        let _ = self.0.wait_for(|given| *given).await;
    }
}

/// What outlives a session.
pub(crate) struct Run {
    pub config: Config,
    pub source: SourceThread,
    pub stop: Stop,
    /// This run's claim on the target, once it has one.
    pub epoch: Option<i64>,
    /// Knows the last session on the target, which the server may still keep.
    pub(crate) former: Option<Attendant>,
    /// Tells of what a person should know.
    pub(crate) tell: Tell,
    /// Sessions that failed since the last one that got somewhere.
    failures: u32,
    /// When a session last ended because one side was not what it should be.
    doubted: Option<Instant>,
}

/// A second doubt within this time is a certainty.
const DOUBT_MAX: Duration = Duration::from_secs(60);

/// A file whose length has been the same for this long is not being copied any more.
const REST: Duration = Duration::from_secs(1);

/// How long to wait for that.
const REST_WAIT_MAX: Duration = Duration::from_secs(30);

/// How often to look at it.
const REST_POLL: Duration = Duration::from_millis(100);

/// Replicates until the target is in step or `stop` is given, whichever the config asks for.
///
/// Any number of crashes and restarts, of this process or of the server, lead to the same end.
pub async fn run(config: Config, stop: Stop) -> Result<Ended, Error> {
    let source = SourceThread::open(config.source.clone()).await?;
    let overrides = config.overrides.clone();
    source.run(move |source| source.leave_out(overrides)).await;
    let tell = Tell::begin(config.alerts.clone(), config.thresholds);
    let mut run =
        Run { config, source, stop, epoch: None, former: None, tell, failures: 0, doubted: None };
    loop {
        let mut stop = run.stop.clone();
        let outcome = tokio::select! {
            outcome = session(&mut run) => outcome,
            // Whatever is still open goes with its connection, as in a crash.
            () = stop.outstayed() => return Ok(Ended::Stopped),
        };
        let outcome = match outcome {
            Err(Error::Source(error)) => Err(run.explain(error).await?),
            Err(error) if run.may_retry(&error) => {
                let harm = run.source.run(Source::check_capture).await;
                Err(harm.err().map_or(error, Error::from))
            }
            outcome => outcome,
        };
        let pause = match outcome {
            Ok(ended) => return Ok(ended),
            Err(Error::Source(source::Error::SchemaChanged)) => {
                tracing::info!("the schema of the source changed; looking at it anew");
                Duration::ZERO
            }
            Err(Error::LookAnew) => Duration::ZERO,
            Err(error) if run.may_retry(&error) => {
                run.failures += 1;
                if let Error::Target(error) = &error {
                    run.tell.target_is_lost(crate::error::chain(error));
                }
                let pause = target::connect::retry_pause(run.failures);
                if run.failures.is_power_of_two() {
                    let what = match error {
                        Error::Source(_) => "the source stays locked",
                        _ => "lost the target; capture goes on, nothing is lost",
                    };
                    tracing::warn!(
                        error = %crate::error::chain(&error),
                        failures = run.failures,
                        retry_in_ms = pause.as_millis(),
                        "{what}"
                    );
                }
                pause
            }
            Err(error) if run.may_look_again(&error) => {
                tracing::warn!(
                    error = %crate::error::chain(&error),
                    "stopped applying; looking once more when the file has come to rest"
                );
                run.look_again().await?;
                Duration::ZERO
            }
            Err(error) => {
                if let Error::Source(source::Error::Lineage(_)) = error {
                    run.free_application().await;
                }
                if let Error::Source(source::Error::Lineage(broken)) = &error {
                    run.account_for(broken).await;
                }
                return Err(error);
            }
        };
        tokio::select! {
            () = stop.given() => return Ok(Ended::Stopped),
            () = run.pause(pause) => {}
        }
    }
}

impl Run {
    /// Before the first claim nobody relies on us yet: a target that cannot be reached then is
    /// said at once instead of being waited for.
    fn may_retry(&self, error: &Error) -> bool {
        match error {
            Error::Target(error) => self.epoch.is_some() && error.is_transient(),
            Error::Source(source::Error::Busy { .. }) => true,
            Error::Source(_)
            | Error::Overrides(_)
            | Error::NotInStep { .. }
            | Error::NotAdoptable { .. }
            | Error::Stopped { .. }
            | Error::Unproven { .. }
            | Error::LookAnew
            | Error::WasAdopted
            | Error::NothingToDo => false,
        }
    }

    /// Waits before the next session. While the target is away nobody else looks whether the
    /// application can write, so what keeps it from that ends the pause.
    async fn pause(&self, pause: Duration) {
        let until = tokio::time::Instant::now() + pause;
        let mut seen = None;
        while tokio::time::Instant::now() < until {
            let next = tokio::time::Instant::now() + self.config.poll_interval;
            tokio::time::sleep_until(next.min(until)).await;
            let looked = self.source.run(move |source| {
                let version = source.data_version()?;
                if seen != Some(version) {
                    source.check_capture()?;
                }
                Ok::<_, source::Error>(version)
            });
            match looked.await {
                Ok(version) => seen = Some(version),
                Err(source::Error::Lineage(_)) => return,
                // The next session says what it is.
                Err(_) => {}
            }
        }
    }

    /// A copy that somebody is just putting over the file looks like anything, and so does a
    /// restore of the target while it lasts. Twice in a row is believed.
    fn may_look_again(&mut self, error: &Error) -> bool {
        use target::connect::Error::NoSuchDatabase;
        let is_doubtful = match error {
            Error::Source(error) => error.is_doubtful(),
            // A database that is dropped to be restored is gone for a moment.
            Error::Target(target::Error::Connect(NoSuchDatabase { .. })) => self.epoch.is_some(),
            Error::Target(error) => error.misses_something(),
            Error::Overrides(_)
            | Error::NotInStep { .. }
            | Error::NotAdoptable { .. }
            | Error::Stopped { .. }
            | Error::Unproven { .. }
            | Error::LookAnew
            | Error::WasAdopted
            | Error::NothingToDo => false,
        };
        let is_first = self.doubted.is_none_or(|doubted| DOUBT_MAX < doubted.elapsed());
        if is_doubtful {
            self.doubted = Some(Instant::now());
        }
        is_doubtful && is_first
    }

    /// Waits until nobody seems to be copying the file, and opens it anew: no page that was read
    /// before may take part in the next proof.
    async fn look_again(&mut self) -> Result<(), Error> {
        let begun = Instant::now();
        let mut rest = (Traces::of(&self.config.source), Instant::now());
        while !self.stop.is_given() && rest.1.elapsed() < REST && begun.elapsed() < REST_WAIT_MAX {
            tokio::time::sleep(REST_POLL).await;
            let now = Traces::of(&self.config.source);
            let is_at_rest = match (&rest.0, &now) {
                (Some(before), Some(now)) => now.is_at_rest_since(before),
                (before, now) => before.is_none() && now.is_none(),
            };
            if !is_at_rest {
                rest = (now, Instant::now());
            }
        }
        match self.source.run(Source::reopen).await {
            // The proof that follows says so, too.
            Err(error) if error.is_doubtful() => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    /// A failure that a migration of the application caused is a change of the schema. Where even
    /// that cannot be found out, the failure stays what it was.
    async fn explain(&self, error: source::Error) -> Result<Error, Error> {
        let explained = self
            .source
            .run(move |source| {
                Ok::<_, source::Error>(match source.has_schema_moved(&error) {
                    Ok(true) => source::Error::SchemaChanged,
                    Ok(false) | Err(_) => error,
                })
            })
            .await?;
        Ok(explained.into())
    }

    /// Somebody dropped the changelog, or made something else of it: the application comes first.
    /// Asked only once the file has come to rest, so that nothing is written into one that is just
    /// being replaced.
    async fn free_application(&self) {
        let freed = match self.source.run(source::strand::free).await {
            Ok(None) => return,
            Ok(Some(freed)) => freed,
            Err(error) => {
                tracing::error!(
                    error = %crate::error::chain(&error),
                    "triggers without their changelog may be left; writes of the application then \
                     fail"
                );
                return;
            }
        };
        let what = match &freed.broken {
            source::Broken::ChangelogGone => "the changelog was dropped".to_owned(),
            other => other.to_string(),
        };
        let message = format!(
            "{what}; every write of the application would fail, so the triggers are taken out, {} \
             of them; what is written from now on is not captured",
            freed.triggers
        );
        tracing::error!("{message}");
        if let Err(error) = self.note_freed(&message).await {
            let error = crate::error::chain(&error);
            tracing::warn!(%error, "the incident is not in the ledger");
        }
    }

    /// Keeps the file that was there before, if it can be had, and writes the stop down where
    /// `status` and `guard` find it. The run ends for its own reason, whether or not that can be
    /// done.
    async fn account_for(&self, broken: &source::Broken) {
        let noted = async {
            let connected = connect::connect(&self.config.target, "lite2pg guard").await;
            let (client, _) = connected.map_err(target::Error::from)?;
            let Some(stored) = ledger::position(&client).await? else { return Ok(()) };
            let place = stored.place();
            let mut message = broken.to_string();
            let rescue = match self.source.run(move |source| source.rescue(&place)).await {
                Ok(rescue) => rescue.as_ref().map(in_words),
                Err(error) => Some(format!(
                    "the file that was there before could not be kept: {}",
                    crate::error::chain(&error)
                )),
            };
            if let Some(rescue) = rescue {
                tracing::error!("{rescue}");
                message = format!("{message}; {rescue}");
            }
            let position = Some(stored.standing.applied.position);
            decisions::note_stop(&client, broken.kind(), position, &message).await?;
            Ok::<_, Error>(())
        };
        if let Err(error) = noted.await {
            tracing::warn!(error = %crate::error::chain(&error),
                "the stop could not be written down on the target");
        }
    }

    /// The session is over, so this takes a connection of its own.
    async fn note_freed(&self, message: &str) -> Result<(), target::Error> {
        let (client, _) = target::connect::connect(&self.config.target, "lite2pg apply").await?;
        if !ledger::is_readable(&client).await? {
            return Ok(());
        }
        let applied = ledger::position(&client).await?;
        let applied = applied.map(|stored| stored.standing.applied.position);
        ledger::incident(&client, "capture_ended", applied, message).await
    }

    /// A session got somewhere; the next failure is the first again.
    pub(crate) fn got_somewhere(&mut self) {
        if self.failures != 0 {
            tracing::info!(after_failures = self.failures, "the target is back");
        }
        self.failures = 0;
        self.tell.target_is_back();
    }
}

fn in_words(rescue: &Rescue) -> String {
    match rescue {
        Rescue::Kept { path, head } => format!(
            "the file that was there before, up to change {head}, is kept as {}: put back, it is \
             the right file",
            path.display()
        ),
        Rescue::NoRoom { bytes } => {
            format!("there is no room to keep the file that was there before, of {bytes} bytes")
        }
    }
}

async fn session(run: &mut Run) -> Result<Ended, Error> {
    let mut session = prepare::prepare(run).await?;
    session.attendant.attend(run.tell.incidents_now(&session.client)).await?;
    if run.stop.is_given() {
        return Ok(Ended::Stopped);
    }
    if !copy::copy(run, &mut session).await? {
        return Ok(Ended::Stopped);
    }
    stream::stream(run, session).await
}
