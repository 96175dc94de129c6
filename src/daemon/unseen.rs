//! Prove tables whose writes may have gone unseen, beside replay.
//!
//! One task at a time compares one table, on connections of its own ([`verify::unseen`]), and ends
//! with the session. A table that is proven is noted by whoever replays, between two batches. A
//! comparison that is cut off (a lost connection, a locked file) is tried again, and replay does
//! not notice; what would end replay as well ends the session.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::{Config, Error};
use crate::target::unseen::Dirty;
use crate::verify::unseen::{Outcome, prove};
use crate::{source, target, verify};

/// When rows that differ although they were replayed again are looked at once more.
const LEFT_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// The tables that are to be proven.
pub(super) struct Prover {
    config: Config,
    /// Rung when a table is done.
    bell: Arc<Notify>,
    waiting: VecDeque<Waiting>,
    at_work: JoinSet<(Dirty, Result<Outcome, verify::Error>)>,
    ended: Option<(Dirty, Outcome)>,
    failures: u32,
}

/// A table that is not being compared.
struct Waiting {
    dirty: Dirty,
    /// It is not begun before this.
    from: Instant,
    /// Rows of it differ although they were replayed again.
    is_left: bool,
}

impl Prover {
    /// Begins with the first of these tables.
    pub fn begin(config: &Config, bell: &Arc<Notify>, dirty: Vec<Dirty>) -> Self {
        let from = Instant::now();
        let waiting = dirty.into_iter().map(|dirty| Waiting { dirty, from, is_left: false });
        let mut prover = Self {
            config: config.clone(),
            bell: bell.clone(),
            waiting: waiting.collect(),
            at_work: JoinSet::new(),
            ended: None,
            failures: 0,
        };
        prover.go_on();
        prover
    }

    /// Whether a table is being compared.
    pub fn is_at_work(&self) -> bool {
        !self.at_work.is_empty()
    }

    /// The tables that are not proven although everything has been done that could be; `None` while
    /// something is still to come.
    pub fn left(&self) -> Option<Vec<String>> {
        let is_done = !self.is_at_work() && self.ended.is_none();
        let is_done = is_done && self.waiting.iter().all(|waiting| waiting.is_left);
        is_done.then(|| self.waiting.iter().map(|waiting| waiting.dirty.name.clone()).collect())
    }

    /// Whether [`take`](Self::take) has something to give. Begins the next table if it is time.
    pub fn has_news(&mut self) -> Result<bool, Error> {
        if self.ended.is_some() {
            return Ok(true);
        }
        if let Some(joined) = self.at_work.try_join_next() {
            let (dirty, outcome) = joined.expect("a comparison does not panic");
            match outcome.map_err(of_session) {
                Ok(outcome) => {
                    self.failures = 0;
                    self.ended = Some((dirty, outcome));
                }
                Err(error) if may_pass(&error) => {
                    self.failures += 1;
                    let pause = target::connect::retry_pause(self.failures);
                    if self.failures.is_power_of_two() {
                        tracing::warn!(
                            table = %dirty.name,
                            error = %crate::error::chain(&error),
                            failures = self.failures,
                            retry_in_ms = pause.as_millis(),
                            "the comparison of a table whose writes went unseen was cut off"
                        );
                    }
                    let from = Instant::now() + pause;
                    self.waiting.push_front(Waiting { dirty, from, is_left: false });
                }
                Err(error) => return Err(error),
            }
        }
        self.go_on();
        Ok(self.ended.is_some())
    }

    /// What came of a table that is done. One of which rows are left waits for its next turn.
    pub fn take(&mut self) -> Option<(Dirty, Outcome)> {
        let (dirty, outcome) = self.ended.take()?;
        if let Outcome::Left { .. } = outcome {
            let from = Instant::now() + LEFT_INTERVAL;
            self.waiting.push_back(Waiting { dirty: dirty.clone(), from, is_left: true });
        }
        Some((dirty, outcome))
    }

    fn go_on(&mut self) {
        let is_due = |waiting: &Waiting| waiting.from <= Instant::now();
        let next = self.waiting.iter().position(is_due).filter(|_| !self.is_at_work());
        let Some(Waiting { dirty, .. }) = next.and_then(|at| self.waiting.remove(at)) else {
            return;
        };
        let (config, bell) = (self.config.clone(), self.bell.clone());
        self.at_work.spawn(async move {
            let outcome = prove(&config, &dirty).await;
            bell.notify_one();
            (dirty, outcome)
        });
    }
}

/// Whether it is worth trying again.
fn may_pass(error: &Error) -> bool {
    match error {
        Error::Target(error) => error.is_transient(),
        Error::Source(source::Error::Busy { .. }) => true,
        _ => false,
    }
}

/// What a failure of the comparison is to a session.
fn of_session(error: verify::Error) -> Error {
    match error {
        verify::Error::Daemon(error) => error,
        // Somebody else has begun the table again.
        verify::Error::NoTable { .. } | verify::Error::Copying => {
            source::Error::SchemaChanged.into()
        }
        other => target::Error::Position { what: other.to_string() }.into(),
    }
}
