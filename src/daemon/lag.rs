//! How far behind the target was, gathered minute by minute.
//!
//! One sample for each commit: how old the oldest change in it was by then. A minute without any
//! change is written too, as zeros, so that a minute that is missing means what it seems to mean:
//! nobody was streaming, or nothing could be committed. The next commit then tells how long.
//!
//! Pure: whoever calls says what time it is, in milliseconds since 1970. The source's changes carry
//! the clock of the machine that both it and the sidecar run on.

use crate::history::percentile;
use crate::target::history::LagMinute;

/// Length of a minute.
const MINUTE_MS: i64 = 60_000;

/// Commits of one minute whose ages are kept one by one: one each millisecond, which no server
/// commits, in half a megabyte. Beyond, only the greatest counts.
const SAMPLES_MAX: usize = 60_000;

/// The minute that is under way, and the transaction that is open.
#[derive(Debug)]
pub struct Gatherer {
    begun_ms: i64,
    changes_max: i64,
    applied: i64,
    ages: Vec<i64>,
    /// The greatest of those that are not kept.
    age_max: i64,
    open: Open,
}

/// What has been sent and not committed.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    oldest_ms: Option<i64>,
    changes: i64,
}

impl Gatherer {
    /// Begins in the minute that holds `now_ms`.
    pub fn new(now_ms: i64) -> Self {
        Self {
            begun_ms: minute_of(now_ms),
            changes_max: 0,
            applied: 0,
            ages: Vec::new(),
            age_max: 0,
            open: Open::default(),
        }
    }

    /// A batch was read: `changes` entries, the oldest written at `oldest_ms`, while `waiting`
    /// were not applied.
    pub fn read(&mut self, oldest_ms: i64, changes: u64, waiting: i64) {
        let oldest_ms = self.open.oldest_ms.map_or(oldest_ms, |open| open.min(oldest_ms));
        self.open.oldest_ms = Some(oldest_ms);
        self.open.changes += i64::try_from(changes).unwrap_or(i64::MAX);
        self.changes_max = self.changes_max.max(waiting);
    }

    /// All that was read is committed.
    pub fn committed(&mut self, now_ms: i64) {
        let open = std::mem::take(&mut self.open);
        self.applied += open.changes;
        // A clock that was set back makes no age.
        let age = open.oldest_ms.map(|oldest_ms| (now_ms - oldest_ms).max(0));
        match age {
            Some(age) if self.ages.len() < SAMPLES_MAX => self.ages.push(age),
            age => self.age_max = self.age_max.max(age.unwrap_or(0)),
        }
    }

    /// When the oldest change was written that was read and is not committed.
    pub fn oldest_ms(&self) -> Option<i64> {
        self.open.oldest_ms
    }

    /// What was read is taken back; it will be read again.
    pub fn rolled_back(&mut self) {
        self.open = Open::default();
    }

    /// Milliseconds until the minute is over.
    pub fn left_ms(&self, now_ms: i64) -> u64 {
        let left = self.begun_ms + MINUTE_MS - now_ms;
        // Also where the clock was set back by hours.
        u64::try_from(left.clamp(0, MINUTE_MS)).unwrap_or(0)
    }

    /// The minute, once it is over; the one that holds `now_ms` begins then.
    pub fn take_if_over(&mut self, now_ms: i64) -> Option<LagMinute> {
        (minute_of(now_ms) != self.begun_ms).then(|| self.take(now_ms))
    }

    /// The minute as far as it has come; what the rest of it brings is another row's, or added.
    pub fn take(&mut self, now_ms: i64) -> LagMinute {
        let open = self.open;
        let done = std::mem::replace(self, Self { open, ..Self::new(now_ms) });
        let mut ages = done.ages;
        ages.sort_unstable();
        let max = ages.last().copied().unwrap_or(0).max(done.age_max);
        LagMinute {
            begun_ms: done.begun_ms,
            changes_max: done.changes_max,
            ms_p50: percentile(&ages, 50),
            ms_p95: percentile(&ages, 95),
            ms_max: max,
            applied: done.applied,
        }
    }
}

fn minute_of(ms: i64) -> i64 {
    ms - ms.rem_euclid(MINUTE_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_700_006_400_000 - 1_700_006_400_000 % MINUTE_MS;

    #[test]
    fn a_minute_without_changes_is_told_as_zeros() {
        let mut lag = Gatherer::new(NOON + 59_999);
        assert_eq!(lag.left_ms(NOON + 59_999), 1);
        assert_eq!(lag.take_if_over(NOON + 59_999), None);
        let minute = lag.take_if_over(NOON + 60_000).expect("it is over");
        let nothing = LagMinute {
            begun_ms: NOON,
            changes_max: 0,
            ms_p50: 0,
            ms_p95: 0,
            ms_max: 0,
            applied: 0,
        };
        assert_eq!(minute, nothing);
        assert_eq!(lag.take_if_over(NOON + 60_001), None, "the next has begun");
    }

    #[test]
    fn the_age_of_a_commit_is_that_of_its_oldest_change() {
        let mut lag = Gatherer::new(NOON);
        lag.read(NOON - 900, 10, 25);
        lag.read(NOON - 100, 15, 15);
        lag.committed(NOON + 100);
        for _ in 0..9 {
            lag.read(NOON + 200, 1, 1);
            lag.committed(NOON + 300);
        }
        let minute = lag.take(NOON + 400);
        assert_eq!((minute.changes_max, minute.applied), (25, 34));
        assert_eq!((minute.ms_p50, minute.ms_p95, minute.ms_max), (100, 1_000, 1_000));
    }

    #[test]
    fn what_was_rolled_back_counts_when_it_is_committed() {
        let mut lag = Gatherer::new(NOON);
        lag.read(NOON, 10, 10);
        lag.rolled_back();
        lag.read(NOON, 10, 10);
        // The minute ends while the transaction is open: its changes belong to the next one.
        assert_eq!(lag.take_if_over(NOON + 61_000).map(|minute| minute.applied), Some(0));
        lag.committed(NOON + 62_000);
        let next = lag.take(NOON + 62_000);
        assert_eq!((next.begun_ms, next.applied, next.ms_max), (NOON + 60_000, 10, 62_000));
    }

    #[test]
    fn a_clock_that_is_set_back_ends_the_minute_and_makes_no_age() {
        let mut lag = Gatherer::new(NOON);
        lag.read(NOON, 1, 1);
        lag.committed(NOON - 3_600_000);
        assert_eq!(lag.left_ms(NOON - 3_600_000), 60_000);
        let minute = lag.take_if_over(NOON - 3_600_000).expect("another minute");
        assert_eq!((minute.ms_max, minute.applied), (0, 1));
    }

    #[test]
    fn the_worst_of_a_minute_is_never_left_out() {
        let mut lag = Gatherer::new(NOON);
        for _ in 0..SAMPLES_MAX {
            lag.read(NOON, 1, 1);
            lag.committed(NOON + 5);
        }
        lag.read(NOON, 1, 1);
        lag.committed(NOON + 5_000);
        let minute = lag.take(NOON + 5_000);
        assert_eq!((minute.ms_p95, minute.ms_max), (5, 5_000));
    }
}
