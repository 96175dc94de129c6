//! Who is told what while a run goes on.
//!
//! Three things are told from here. *Incidents*: whatever was written into the ledger, by whomever,
//! is read back once it is committed, so no part of the program has to think of alerts. *A lost
//! target* and *lag*: something that has lasted for too long, and once more when it is over; a
//! ticker looks every second, also while the run waits for the target. The end of a run is told by
//! the command.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;
use tokio_postgres::Client;

use super::stream::now_ms;
use crate::alert::{Alert, Alerts, Thresholds};
use crate::change::{Place, Position};
use crate::history::Time;
use crate::target::{self, incidents};

/// How often to look whether something has lasted for too long.
const TICK: Duration = Duration::from_secs(1);

/// Between two looks for incidents while batches are applied: a look is a question to the target.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The same while there is nothing to apply: other processes write incidents, too.
const IDLE_LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// Tells. Ends its ticker when it is dropped.
pub(crate) struct Tell {
    alerts: Alerts,
    lasting: Arc<Mutex<Lasting>>,
    ticker: Option<AbortHandle>,
    /// When the ledger was last asked for incidents.
    looked: Option<Instant>,
    /// Something was committed since.
    is_news: bool,
}

/// The conditions that are told when they last.
struct Lasting {
    target_lost: Condition,
    /// What was said when the target was lost.
    error: String,
    lag: Condition,
}

impl Tell {
    /// Begins to tell.
    pub fn begin(alerts: Alerts, thresholds: Thresholds) -> Self {
        let lasting = Lasting {
            target_lost: Condition::new(Some(thresholds.target_lost)),
            error: String::new(),
            lag: Condition::new(thresholds.lag),
        };
        let lasting = Arc::new(Mutex::new(lasting));
        let ticker = (alerts.is_on() || thresholds.lag.is_some()).then(|| {
            let (alerts, lasting) = (alerts.clone(), lasting.clone());
            tokio::spawn(tick(alerts, lasting)).abort_handle()
        });
        Self { alerts, lasting, ticker, looked: None, is_news: true }
    }

    /// Where the target stands.
    pub fn stands_at(&self, place: &Place) {
        self.alerts.stands_at(place);
    }

    /// A batch was committed.
    pub fn moved_to(&mut self, position: Position) {
        self.alerts.moved_to(position);
        self.is_news = true;
    }

    /// Tells the incidents that the ledger holds and that nobody was told of, if it is time to
    /// look. Must not be called within a transaction. A crash between telling and noting it tells
    /// an incident twice.
    pub async fn incidents(&mut self, client: &Client) -> Result<(), target::Error> {
        let interval = if self.is_news { LOOK_INTERVAL } else { IDLE_LOOK_INTERVAL };
        let is_due = self.looked.is_none_or(|looked| interval <= looked.elapsed());
        if is_due { self.incidents_now(client).await } else { Ok(()) }
    }

    /// The same at once: something has just been done that writes incidents.
    pub async fn incidents_now(&mut self, client: &Client) -> Result<(), target::Error> {
        if !self.alerts.is_on() {
            return Ok(());
        }
        (self.looked, self.is_news) = (Some(Instant::now()), false);
        let untold = incidents::untold(client).await?;
        if untold.is_empty() {
            return Ok(());
        }
        for incident in &untold {
            let alert = Alert::new(&incident.kind, &incident.message);
            let at = Time(incident.at_ms);
            self.alerts.send(Alert { position: incident.position, at, ..alert });
        }
        // There may be more than are read at once.
        self.is_news = true;
        incidents::note_told(client, &untold).await
    }

    /// The target does not answer, or not as it should.
    pub fn target_is_lost(&self, error: String) {
        let mut lasting = lock(&self.lasting);
        lasting.error = error;
        let since = lasting.target_lost.since_ms.unwrap_or_else(now_ms);
        lasting.target_lost.since_ms = Some(since);
    }

    /// It answers again, and got further or had nothing to do.
    pub fn target_is_back(&self) {
        lock(&self.lasting).target_lost.since_ms = None;
    }

    /// The oldest change that is read and not applied was written at `since_ms`; `None` if all are
    /// applied.
    pub fn unapplied_since(&self, since_ms: Option<i64>) {
        lock(&self.lasting).lag.since_ms = since_ms;
    }
}

impl Drop for Tell {
    fn drop(&mut self) {
        if let Some(ticker) = &self.ticker {
            ticker.abort();
        }
    }
}

fn lock(lasting: &Mutex<Lasting>) -> MutexGuard<'_, Lasting> {
    lasting.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn tick(alerts: Alerts, lasting: Arc<Mutex<Lasting>>) {
    loop {
        tokio::time::sleep(TICK).await;
        look(&alerts, &mut lock(&lasting), now_ms());
    }
}

fn look(alerts: &Alerts, lasting: &mut Lasting, now_ms: i64) {
    let Lasting { target_lost, error, lag } = lasting;
    match target_lost.turn(now_ms) {
        Some(Turn::Lasts { seconds }) => {
            let message = format!(
                "the target has been lost for {seconds} s; capture goes on, no change is lost: \
                 {error}"
            );
            target_lost.was_told = alerts.send(Alert::new("target_lost", message));
        }
        Some(Turn::Over { was_told: true }) => {
            alerts.send_end(Alert::new("target_back", "the target is back"));
        }
        Some(Turn::Over { was_told: false }) | None => {}
    }
    match lag.turn(now_ms) {
        Some(Turn::Lasts { seconds }) => {
            let message = format!("the oldest change that the target lacks is {seconds} s old");
            tracing::warn!(lag_s = seconds, "the lag is beyond its limit");
            lag.was_told = alerts.send(Alert::new("lag", message));
        }
        Some(Turn::Over { was_told }) => {
            tracing::info!("the lag is within its limit again");
            if was_told {
                alerts.send_end(Alert::new("lag_over", "the lag is within its limit again"));
            }
        }
        None => {}
    }
}

/// Something that may go on for a while, and is no news until it has gone on for too long.
///
/// It is over when it ends, or when it has begun anew not even half as long ago: what goes up and
/// down about the limit is told once.
#[derive(Debug)]
struct Condition {
    /// How long it may last; `None` is for ever.
    patience_ms: Option<i64>,
    /// Since when it has; `None` if all is well.
    since_ms: Option<i64>,
    /// It has lasted for too long, and that was seen.
    is_known: bool,
    /// Somebody was told.
    was_told: bool,
}

/// What has become of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// It has lasted for too long.
    Lasts {
        /// For how long.
        seconds: i64,
    },
    /// It is over.
    Over {
        /// Somebody was told that it lasted.
        was_told: bool,
    },
}

impl Condition {
    fn new(patience: Option<Duration>) -> Self {
        let patience_ms = patience.map(|one| i64::try_from(one.as_millis()).unwrap_or(i64::MAX));
        Self { patience_ms, since_ms: None, is_known: false, was_told: false }
    }

    fn turn(&mut self, now_ms: i64) -> Option<Turn> {
        let patience_ms = self.patience_ms?;
        let lasted_ms = self.since_ms.map(|since_ms| now_ms - since_ms);
        if !self.is_known {
            let lasted_ms = lasted_ms.filter(|lasted_ms| patience_ms < *lasted_ms)?;
            self.is_known = true;
            return Some(Turn::Lasts { seconds: lasted_ms / 1_000 });
        }
        if lasted_ms.is_some_and(|lasted_ms| patience_ms / 2 <= lasted_ms) {
            return None;
        }
        let was_told = std::mem::take(&mut self.was_told);
        self.is_known = false;
        Some(Turn::Over { was_told })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_soon_is_no_news_and_what_lasts_is_told_once() {
        let mut lost = Condition::new(Some(Duration::from_secs(60)));
        assert_eq!(lost.turn(0), None);
        lost.since_ms = Some(0);
        assert_eq!(lost.turn(60_000), None);
        lost.since_ms = None;
        assert_eq!(lost.turn(61_000), None);
        lost.since_ms = Some(100_000);
        assert_eq!(lost.turn(170_000), Some(Turn::Lasts { seconds: 70 }));
        lost.was_told = true;
        assert_eq!(lost.turn(999_000), None);
        lost.since_ms = None;
        assert_eq!(lost.turn(999_001), Some(Turn::Over { was_told: true }));
        assert_eq!(lost.turn(999_002), None);
    }

    #[test]
    fn what_goes_up_and_down_about_the_limit_is_told_once() {
        let mut lag = Condition::new(Some(Duration::from_secs(10)));
        lag.since_ms = Some(0);
        assert_eq!(lag.turn(11_000), Some(Turn::Lasts { seconds: 11 }));
        for (since_ms, now_ms) in [(3_000, 12_000), (2_000, 13_000), (9_000, 14_000)] {
            lag.since_ms = Some(since_ms);
            assert_eq!(lag.turn(now_ms), None);
        }
        lag.since_ms = Some(14_000);
        assert_eq!(lag.turn(15_000), Some(Turn::Over { was_told: false }), "nobody was told");
    }

    #[test]
    fn without_a_limit_nothing_is_told() {
        let mut lag = Condition::new(None);
        lag.since_ms = Some(0);
        assert_eq!(lag.turn(i64::MAX), None);
    }
}
