//! The way of alerts to one channel: a queue, and who works it off.
//!
//! Each channel has a lane of its own, so one that hangs does not hold up the other. What is
//! critical goes first. The queue is bounded: beyond that an older alert gives way to a newer one
//! of its kind, which tells of it; the first of a kind is always taken, and kinds are few.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::webhook::Webhook;
use super::{Alert, Severity, command};

/// Alerts that wait for a channel. More are not of more use: by then it has been dead for an hour.
const WAITING_MAX: usize = 64;

/// Where alerts go.
#[derive(Clone, Debug)]
pub(super) enum Channel {
    /// To a command, which the shell runs.
    Command(String),
    /// To a web server.
    Webhook(Webhook),
}

impl Channel {
    /// What may be shown of it.
    fn shown(&self) -> String {
        match self {
            Self::Command(_) => "command".to_owned(),
            Self::Webhook(webhook) => webhook.origin(),
        }
    }

    async fn deliver(&self, alert: &Alert) -> Result<(), String> {
        match self {
            Self::Command(command) => command::run(command, alert).await,
            Self::Webhook(webhook) => webhook.post(&Arc::new(alert.to_json())).await,
        }
    }
}

/// One channel and what waits for it.
#[derive(Debug)]
pub(super) struct Lane {
    channel: Channel,
    queue: Mutex<Queue>,
    rang: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Alert>,
    /// One is being delivered.
    is_busy: bool,
    /// Nothing more will come.
    is_closed: bool,
}

/// What there is to do.
enum Next {
    Deliver(Alert),
    Wait,
    End,
}

impl Lane {
    /// An empty one.
    pub fn new(channel: Channel) -> Self {
        Self { channel, queue: Mutex::default(), rang: Notify::new() }
    }

    /// Lets an alert wait for its turn.
    pub fn push(&self, alert: Alert) {
        self.queue().push(alert);
        self.rang.notify_one();
    }

    /// Lets the work end once nothing waits any more.
    pub fn close(&self) {
        self.queue().is_closed = true;
        self.rang.notify_one();
    }

    /// Alerts that are not delivered.
    pub fn left(&self) -> usize {
        let queue = self.queue();
        queue.waiting.len() + usize::from(queue.is_busy)
    }

    /// What may be shown of the channel.
    pub fn shown(&self) -> String {
        self.channel.shown()
    }

    /// Delivers what comes, one at a time, until the lane is closed and empty. What cannot be
    /// delivered is a line in the log.
    pub async fn work(&self) {
        loop {
            match self.next() {
                Next::Deliver(alert) => {
                    let outcome = self.channel.deliver(&alert).await;
                    self.queue().is_busy = false;
                    let (kind, channel) = (&alert.kind, self.channel.shown());
                    match outcome {
                        Ok(()) => tracing::debug!(kind, channel, "alert sent"),
                        Err(problem) => {
                            tracing::warn!(kind, channel, problem, "an alert was not delivered");
                        }
                    }
                }
                Next::Wait => self.rang.notified().await,
                Next::End => return,
            }
        }
    }

    fn next(&self) -> Next {
        let mut queue = self.queue();
        match queue.pop() {
            Some(alert) => {
                queue.is_busy = true;
                Next::Deliver(alert)
            }
            None if queue.is_closed => Next::End,
            None => Next::Wait,
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn push(&mut self, mut alert: Alert) {
        if WAITING_MAX <= self.waiting.len()
            && let Some(at) = self.waiting.iter().position(|older| older.kind == alert.kind)
            && let Some(older) = self.waiting.remove(at)
        {
            alert.kept_back += older.kept_back + 1;
        }
        self.waiting.push_back(alert);
    }

    fn pop(&mut self) -> Option<Alert> {
        let is_critical = |alert: &Alert| alert.severity == Severity::Critical;
        let at = self.waiting.iter().position(is_critical).unwrap_or(0);
        self.waiting.remove(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_critical_goes_first_and_the_rest_in_order() {
        let mut queue = Queue::default();
        for kind in ["lag", "quarantine", "table_stopped", "lag_over", "lineage_stop"] {
            queue.push(Alert::new(kind, String::new()));
        }
        let order: Vec<String> =
            std::iter::from_fn(|| queue.pop()).map(|alert| alert.kind).collect();
        assert_eq!(order, ["table_stopped", "lineage_stop", "lag", "quarantine", "lag_over"]);
    }

    #[test]
    fn a_full_queue_takes_the_first_of_a_kind_and_counts_what_gave_way() {
        let mut queue = Queue::default();
        for number in 0..100 {
            queue.push(Alert { kept_back: 1, ..Alert::new("lag", number.to_string()) });
        }
        queue.push(Alert::new("lineage_stop", String::new()));
        assert_eq!(queue.waiting.len(), WAITING_MAX + 1);
        assert_eq!(queue.pop().map(|alert| alert.kind).as_deref(), Some("lineage_stop"));
        let left: Vec<Alert> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(left.last().map(|alert| alert.message.as_str()), Some("99"));
        let counted: u64 = left.iter().map(|alert| alert.kept_back + 1).sum();
        assert_eq!(counted, 200, "each is there or told of");
    }
}
