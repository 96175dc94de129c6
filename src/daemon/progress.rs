//! How far the first copy is: a bar on a terminal, a log line every few seconds elsewhere.
//!
//! Rows are not counted beforehand: that would read the whole file once more. The share that is
//! done is told from rowids, which the copy walks in order: the part of their span that lies
//! behind it. Tables without rowids have no such measure and are left out of the share and of the
//! time left, so both are about.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::terminal;

/// How often a line tells of progress where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// How often the bar moves.
const BAR_INTERVAL: Duration = Duration::from_millis(250);

/// Below this share nothing is said about the time left: it would be a guess.
const SHARE_MIN: f64 = 0.01;

/// The rowids of a lane that lie ahead of the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Walk {
    behind: i64,
    end: i64,
}

impl Walk {
    /// From after `behind` to `end`.
    pub fn new(behind: i64, end: i64) -> Self {
        Self { behind, end }
    }

    /// How many are ahead; keys need not be dense, so rows may be fewer.
    pub fn ahead(&self) -> u64 {
        u64::try_from(self.end.saturating_sub(self.behind)).unwrap_or(0)
    }

    /// Goes on to `rowid`; returns how many were passed. Rows written meanwhile may lie beyond
    /// the end.
    pub fn go_on(&mut self, rowid: i64) -> u64 {
        let ahead = self.ahead();
        self.behind = self.behind.max(rowid.min(self.end));
        ahead - self.ahead()
    }
}

/// What the workers of a copy have done; they add to it as chunks are committed.
#[derive(Debug, Default)]
pub(super) struct Tally {
    rows: AtomicU64,
    bytes: AtomicU64,
    /// Rowids that were to be walked when this run began.
    to_walk: u64,
    /// Rowids of those that lie behind the copy.
    walked: AtomicU64,
}

impl Tally {
    /// Nothing done yet, `to_walk` rowids ahead.
    pub fn begin(to_walk: u64) -> Self {
        Self { to_walk, ..Self::default() }
    }

    /// A chunk is committed: its rows, its bytes and the rowids it moved past.
    pub fn add(&self, rows: u64, bytes: u64, walked: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // Keys may span all of 64 bits, in many tables.
        let sum = |sum: u64| Some(sum.saturating_add(walked));
        self.walked
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum)
            .expect("the sum is always given");
    }

    /// Rows committed in this run.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// The share that is done, from 0 to 1; `None` where nothing can be said.
    fn share(&self) -> Option<f64> {
        if self.to_walk == 0 {
            return None;
        }
        let walked = self.walked.load(Ordering::Relaxed).min(self.to_walk);
        // Exact to 53 bits, and it is about.
        #[allow(clippy::cast_precision_loss)]
        Some(walked as f64 / self.to_walk as f64)
    }
}

/// About how long the rest takes if it goes on as before.
fn time_left(share: f64, elapsed: Duration) -> Option<Duration> {
    (SHARE_MIN <= share).then(|| elapsed.mul_f64((1.0 - share) / share))
}

/// Shows progress until it is ended.
pub(super) struct Reporter {
    task: tokio::task::JoinHandle<()>,
    bar: Option<ProgressBar>,
}

impl Reporter {
    /// Begins to show `tally`.
    pub fn begin(tally: Arc<Tally>) -> Self {
        let bar = terminal::is_interactive().then(|| {
            let bar = terminal::draw(ProgressBar::new(1_000));
            let style = ProgressStyle::with_template("copying {bar:24} {percent:>3} %  {msg}");
            bar.set_style(style.expect("the template is well-formed"));
            bar
        });
        let task = tokio::spawn(report(tally, bar.clone()));
        Self { task, bar }
    }

    /// Stops and takes the bar off the screen.
    pub async fn end(self) {
        self.task.abort();
        // The only error is the cancellation just asked for.
        let _ = self.task.await;
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

async fn report(tally: Arc<Tally>, bar: Option<ProgressBar>) {
    let begun = Instant::now();
    let interval = if bar.is_some() { BAR_INTERVAL } else { LINE_INTERVAL };
    loop {
        tokio::time::sleep(interval).await;
        let elapsed = begun.elapsed();
        let rows = tally.rows();
        let mib = tally.bytes.load(Ordering::Relaxed) / (1024 * 1024);
        let per_second = u128::from(rows) * 1000 / elapsed.as_millis().max(1);
        let share = tally.share();
        let left = share.and_then(|share| time_left(share, elapsed));
        match &bar {
            Some(bar) => {
                let left = left.map_or_else(String::new, |left| {
                    format!(", about {} left", indicatif::HumanDuration(left))
                });
                bar.set_position(per_mille(share.unwrap_or(0.0)));
                bar.set_message(format!("{rows} rows, {mib} MiB, {per_second} rows/s{left}"));
            }
            None => tracing::info!(
                rows,
                mib,
                %per_second,
                percent = share.map(|share| per_mille(share) / 10),
                seconds_left = left.map(|left| left.as_secs()),
                "copying"
            ),
        }
    }
}

fn per_mille(share: f64) -> u64 {
    // A share is between 0 and 1.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let per_mille = (share * 1_000.0) as u64;
    per_mille
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_passes_each_rowid_once() {
        let mut walk = Walk::new(9, 100);
        assert_eq!(walk.ahead(), 91);
        assert_eq!(walk.go_on(50), 41);
        assert_eq!(walk.go_on(50), 0);
        assert_eq!(walk.go_on(1_000), 50, "what was written meanwhile is not counted");
        assert_eq!(Walk::new(5, 1).ahead(), 0);
        assert_eq!(Walk::new(i64::MIN, i64::MAX).ahead(), i64::MAX.cast_unsigned());
    }

    #[test]
    fn the_time_left_follows_the_share_that_is_done() {
        let tally = Tally::begin(1_000);
        let minute = Duration::from_secs(60);
        let left = |tally: &Tally| tally.share().and_then(|share| time_left(share, minute));
        assert_eq!(left(&tally), None, "nothing is done: nothing is said");
        tally.add(10, 100, 250);
        assert_eq!(left(&tally), Some(Duration::from_secs(180)));
        tally.add(10, 100, u64::MAX);
        assert_eq!(left(&tally), Some(Duration::ZERO), "never below zero");
        assert_eq!(Tally::begin(0).share(), None);
    }
}
