//! Alerts: what a person should hear of at once, told by a command or a webhook.
//!
//! One idea: *whoever has something to tell does not wait*. [`Alerts::send`] decides whether the
//! alert passes ([`limit`]) and puts it into a queue for each channel ([`lane`]); tasks of their
//! own hand it to a command ([`command`]) or post it ([`webhook`]). A channel that hangs, refuses
//! or is not there is a line in the log and holds up nothing. Before the process ends,
//! [`Alerts::finish`] waits for what is under way.
//!
//! Without a channel all of this does nothing: the log, the exit code and the ledger have what
//! happened in any case. What an alert says is documented in docs/reference/alerts.md.

mod command;
mod lane;
mod limit;
mod settings;
mod webhook;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;

pub use self::settings::Settings;

use self::lane::{Channel, Lane};
use self::limit::{Limiter, Passage};
use crate::change::{Lineage, Place, Position};
use crate::error::printable;
use crate::history::Time;

/// Every kind of alert, with its severity. The kinds of incidents are among them; one that is not
/// is a warning.
pub const KINDS: &[(&str, Severity)] = &[
    ("lineage_stop", Severity::Critical),
    ("run_ended", Severity::Critical),
    ("drift", Severity::Critical),
    ("verify_failed", Severity::Critical),
    ("table_stopped", Severity::Critical),
    ("capture_ended", Severity::Critical),
    ("unseen_writes_left", Severity::Critical),
    ("unseen_writes", Severity::Warning),
    ("target_lost", Severity::Warning),
    ("lag", Severity::Warning),
    ("quarantine", Severity::Warning),
    ("table_again", Severity::Warning),
    ("target_put_back", Severity::Warning),
    ("views_dropped", Severity::Warning),
    ("index_given_up", Severity::Warning),
    ("target_back", Severity::Info),
    ("lag_over", Severity::Info),
    ("quarantine_empty", Severity::Info),
    ("unseen_writes_put_right", Severity::Info),
    ("table_altered", Severity::Info),
    ("table_dropped", Severity::Info),
];

/// What a message may be long: an environment variable and most chats take it.
const MESSAGE_CHARS_MAX: usize = 4_000;

/// How long the end of a process waits for alerts that are under way: as long as a channel may
/// take over one.
pub const FINISH_MAX: Duration = command::LIMIT;

const _: () = assert!(webhook::LIMIT.as_secs() <= FINISH_MAX.as_secs());

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Somebody has to act: replication has stopped, or the two sides are not equal.
    Critical,
    /// Somebody should look; replication goes on or goes on by itself later.
    Warning,
    /// For the record: nothing is to be done.
    Info,
}

impl Severity {
    /// As JSON and the environment of a command have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }

    /// The severity of a kind.
    pub fn of(kind: &str) -> Self {
        let known = KINDS.iter().find(|(known, _)| *known == kind);
        known.map_or(Self::Warning, |(_, severity)| *severity)
    }
}

/// What is told. Carries names, keys at most, and no other values.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Alert {
    /// What kind of thing happened.
    pub kind: String,
    /// How bad that is.
    pub severity: Severity,
    /// In words.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// What the run ended with, if it ended.
    pub exit_code: Option<u8>,
    /// The newest change that the target is known to have.
    pub position: Option<Position>,
    /// Whose history that is.
    pub lineage: Option<Lineage>,
    /// The application's file.
    pub source: String,
    /// When it happened.
    pub at: Time,
    /// How many of its kind were kept back since the last that was sent.
    pub kept_back: u64,
}

impl Alert {
    /// Something that happened now. Where, [`Alerts::send`] adds.
    pub fn new(kind: &str, message: impl AsRef<str>) -> Self {
        Self {
            kind: kind.to_owned(),
            severity: Severity::of(kind),
            message: bounded(message.as_ref()),
            hint: None,
            exit_code: None,
            position: None,
            lineage: None,
            source: String::new(),
            at: Time(i64::try_from(now().as_millis()).unwrap_or(i64::MAX)),
            kept_back: 0,
        }
    }

    /// One line.
    fn to_json(&self) -> String {
        let json = serde_json::to_string(self).expect("text and numbers are JSON");
        format!("{json}\n")
    }
}

/// Names may hold anything; what is told holds no control character and has an end.
fn bounded(message: &str) -> String {
    let message = printable(message);
    match message.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message,
    }
}

/// From when on what lasts is told.
#[derive(Clone, Copy, Debug)]
pub struct Thresholds {
    /// The oldest change that is not applied is older than this; `None` is never.
    pub lag: Option<Duration>,
    /// The target has been lost for longer than this.
    pub target_lost: Duration,
}

/// Tells. A handle: clones share queues, rates and channels.
#[derive(Clone, Debug, Default)]
pub struct Alerts(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    source: String,
    place: Mutex<Option<(Lineage, Position)>>,
    limiter: Mutex<Limiter>,
    lanes: Vec<Arc<Lane>>,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

impl Alerts {
    /// Nobody is told anything.
    pub fn none() -> Self {
        Self(None)
    }

    /// Opens the channels of `settings`, which have been checked, for alerts about `source`. Rates
    /// are remembered in the directory `memory`. Must be called on the runtime that is to do the
    /// work.
    pub fn begin(settings: &Settings, source: &Path, memory: PathBuf) -> Self {
        let command = settings.command.clone().map(Channel::Command);
        let webhook = settings.webhook().expect("it was checked").map(Channel::Webhook);
        let channels = command.into_iter().chain(webhook);
        let lanes: Vec<Arc<Lane>> = channels.map(Lane::new).map(Arc::new).collect();
        if lanes.is_empty() {
            return Self::none();
        }
        let workers = lanes.iter().cloned();
        let workers = workers.map(|lane| tokio::spawn(async move { lane.work().await }));
        let (per_hour, burst) = settings.rate();
        let source = std::path::absolute(source).unwrap_or_else(|_| source.to_path_buf());
        Self(Some(Arc::new(Shared {
            source: source.to_string_lossy().into_owned(),
            place: Mutex::new(None),
            limiter: Mutex::new(Limiter::new(per_hour, burst, Some(memory), now())),
            workers: Mutex::new(workers.collect()),
            lanes,
        })))
    }

    /// Whether there is anybody to tell.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Where the target stands, for alerts that do not say it themselves.
    pub fn stands_at(&self, place: &Place) {
        if let Some(shared) = &self.0 {
            *lock(&shared.place) = Some((place.lineage.clone(), place.anchor.position));
        }
    }

    /// The target stands further on in the same history.
    pub fn moved_to(&self, position: Position) {
        if let Some(shared) = &self.0
            && let Some((_, known)) = &mut *lock(&shared.place)
        {
            *known = position;
        }
    }

    /// Tells, unless too many of this kind were told of late. Returns at once, and whether it is on
    /// its way.
    pub fn send(&self, mut alert: Alert) -> bool {
        let Some(shared) = &self.0 else { return false };
        let passage = lock(&shared.limiter).pass(&alert.kind, now());
        match passage {
            Passage::Passes { kept_back } => alert.kept_back = kept_back,
            Passage::KeptBack { is_first } => {
                if is_first {
                    tracing::warn!(
                        kind = alert.kind,
                        "too many alerts of one kind; the next one \
                        that is sent says how many were kept back"
                    );
                }
                return false;
            }
        }
        shared.hand_out(alert);
        true
    }

    /// Tells the end of something whose beginning was told: as many pass as of those.
    pub fn send_end(&self, alert: Alert) {
        if let Some(shared) = &self.0 {
            shared.hand_out(alert);
        }
    }

    /// Waits until all that was sent is delivered, `within` this time; nothing is told any more
    /// afterwards. What is left then is a line in the log.
    pub async fn finish(&self, within: Duration) {
        let Some(shared) = &self.0 else { return };
        let deadline = tokio::time::Instant::now() + within;
        shared.lanes.iter().for_each(|lane| lane.close());
        let workers = std::mem::take(&mut *lock(&shared.workers));
        for mut worker in workers {
            if tokio::time::timeout_at(deadline, &mut worker).await.is_err() {
                worker.abort();
            }
        }
        for lane in shared.lanes.iter().filter(|lane| 0 < lane.left()) {
            tracing::warn!(
                channel = lane.shown(),
                left = lane.left(),
                "not all alerts could be \
                delivered in time"
            );
        }
        let memory = lock(&shared.limiter).memory();
        let Some(memory) = memory else { return };
        let written = tokio::task::spawn_blocking(move || memory.write()).await;
        if let Err(error) = written.expect("writing returns its errors") {
            tracing::debug!(%error, "the rates of alerts are not remembered for the next run");
        }
    }
}

impl Shared {
    fn hand_out(&self, mut alert: Alert) {
        alert.source = self.source.clone();
        if let Some((lineage, position)) = &*lock(&self.place) {
            alert.lineage.get_or_insert_with(|| lineage.clone());
            alert.position.get_or_insert(*position);
        }
        self.lanes.iter().for_each(|lane| lane.push(alert.clone()));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
