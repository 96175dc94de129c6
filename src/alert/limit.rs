//! How many alerts of one kind go out, and how many were kept back.
//!
//! Each kind has a rate of its own, so a storm of one hides no other, and the first of a kind
//! always passes. What was kept back is counted, and the next that passes tells how many.
//!
//! The rates are remembered in a small file, because a sidecar that is started again and again by
//! a supervisor would else begin each time with a full measure. The file is a courtesy: where it
//! cannot be read or written, rates begin anew with each run.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder};
use std::num::NonZeroU32;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

/// The file, in the directory that is given.
const FILE: &str = "alerts.json";

/// Decides which alerts pass.
#[derive(Debug)]
pub(super) struct Limiter {
    quota: Quota,
    kinds: BTreeMap<String, Rate>,
    /// The kinds that this process has seen; of the others the file may know more by now.
    seen: BTreeSet<String>,
    /// Where the rates are remembered.
    memory: Option<PathBuf>,
}

/// What is known of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
struct Rate {
    /// The moment that the limiter goes by, in nanoseconds since 1970.
    due_ns: Option<u64>,
    /// How many were kept back since one passed.
    kept_back: u64,
}

/// What became of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// It goes out.
    Passes {
        /// So many of its kind did not since the last one.
        kept_back: u64,
    },
    /// It does not.
    KeptBack {
        /// The last one of its kind did.
        is_first: bool,
    },
}

impl Limiter {
    /// Lets `burst` of a kind pass at once, and `per_hour` an hour in the long run. Reads what
    /// earlier runs left in the directory `memory`.
    pub fn new(
        per_hour: NonZeroU32,
        burst: NonZeroU32,
        memory: Option<PathBuf>,
        now: Duration,
    ) -> Self {
        let quota = Quota::per_hour(per_hour).allow_burst(burst);
        let mut kinds = memory.as_deref().and_then(read).unwrap_or_default();
        // Further ahead than a full measure is only a clock that was set back since, or another
        // configuration.
        let latest = nanos(now).saturating_add(nanos(quota.burst_size_replenished_in()));
        kinds.values_mut().for_each(|rate| rate.due_ns = rate.due_ns.filter(|due| *due <= latest));
        Self { quota, kinds, seen: BTreeSet::new(), memory }
    }

    /// Whether an alert of this kind passes `now`, a time since 1970.
    pub fn pass(&mut self, kind: &str, now: Duration) -> Passage {
        self.seen.insert(kind.to_owned());
        let rate = self.kinds.entry(kind.to_owned()).or_default();
        let moment = Moment(Cell::new(Duration::ZERO));
        let due = Due(Cell::new(rate.due_ns));
        let limiter: RateLimiter<NotKeyed, Due, Moment, NoOpMiddleware<Duration>> =
            RateLimiter::new(self.quota, due, moment);
        limiter.clock().0.set(now);
        let passes = limiter.check().is_ok();
        rate.due_ns = limiter.into_state_store().0.get();
        if passes {
            return Passage::Passes { kept_back: std::mem::take(&mut rate.kept_back) };
        }
        rate.kept_back += 1;
        Passage::KeptBack { is_first: rate.kept_back == 1 }
    }

    /// What is to be written, and where; `None` if nothing is.
    pub fn memory(&self) -> Option<Memory> {
        let directory = self.memory.clone()?;
        let kinds = self.kinds.iter().filter(|(kind, _)| self.seen.contains(*kind));
        let kinds: BTreeMap<_, _> = kinds.map(|(kind, rate)| (kind.clone(), *rate)).collect();
        (!kinds.is_empty()).then_some(Memory { directory, kinds })
    }
}

/// Rates on their way to the file.
#[derive(Debug)]
pub(super) struct Memory {
    directory: PathBuf,
    kinds: BTreeMap<String, Rate>,
}

impl Memory {
    /// Writes them over those that the file has of the same kinds. Blocks. A crash leaves the old
    /// file or the new one; of two processes that write at once, one may be forgotten.
    pub fn write(self) -> std::io::Result<()> {
        let mut kinds = read(&self.directory).unwrap_or_default();
        kinds.extend(self.kinds);
        // As the directory of a private PostgreSQL, which may come to lie here.
        let mode = if nix::unistd::Uid::effective().is_root() { 0o711 } else { 0o700 };
        DirBuilder::new().recursive(true).mode(mode).create(&self.directory)?;
        let path = self.directory.join(FILE);
        let new = self.directory.join(format!("{FILE}.{}", std::process::id()));
        // What a crash left under this name.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        serde_json::to_writer(&file, &kinds)?;
        fs::rename(&new, &path)
    }
}

fn read(directory: &Path) -> Option<BTreeMap<String, Rate>> {
    let text = fs::read(directory.join(FILE)).ok()?;
    serde_json::from_slice(&text).ok()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A clock that says what it was told.
struct Moment(Cell<Duration>);

impl Clock for Moment {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.get()
    }
}

/// Where the limiter keeps its state.
struct Due(Cell<Option<u64>>);

impl StateStore for Due {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (outcome, due) = decide(self.0.get().map(Nanos::from))?;
        self.0.set(Some(due.as_u64()));
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Duration = Duration::from_secs(1_800_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    fn limiter(memory: Option<&Path>, now: Duration) -> Limiter {
        let number = |number| NonZeroU32::new(number).expect("not zero");
        Limiter::new(number(12), number(3), memory.map(Path::to_path_buf), now)
    }

    const PASSES: Passage = Passage::Passes { kept_back: 0 };

    #[test]
    fn a_burst_passes_and_then_one_every_so_often_that_tells_of_the_others() {
        let mut limiter = limiter(None, NOON);
        for _ in 0..3 {
            assert_eq!(limiter.pass("lag", NOON), PASSES);
        }
        assert_eq!(limiter.pass("lag", NOON), Passage::KeptBack { is_first: true });
        assert_eq!(limiter.pass("lag", NOON + MINUTE), Passage::KeptBack { is_first: false });
        assert_eq!(limiter.pass("drift", NOON + MINUTE), PASSES, "another kind");
        assert_eq!(limiter.pass("lag", NOON + 5 * MINUTE), Passage::Passes { kept_back: 2 });
        assert_eq!(limiter.pass("lag", NOON + 5 * MINUTE), Passage::KeptBack { is_first: true });
        let hour_later = NOON + 65 * MINUTE;
        assert_eq!(limiter.pass("lag", hour_later), Passage::Passes { kept_back: 1 });
    }

    #[test]
    fn what_an_earlier_run_sent_counts_and_so_does_what_it_kept_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = directory.path().join("made/when/needed");
        let mut passed = 0;
        for restart in 0..10 {
            let mut limiter = limiter(Some(&state), NOON + restart * Duration::from_secs(5));
            let outcome = limiter.pass("run_ended", NOON + restart * Duration::from_secs(5));
            passed += u32::from(outcome == PASSES);
            limiter.memory().expect("there is something").write().expect("write");
        }
        assert_eq!(passed, 3);
        let mut later = limiter(Some(&state), NOON + 10 * MINUTE);
        let outcome = later.pass("run_ended", NOON + 10 * MINUTE);
        assert_eq!(outcome, Passage::Passes { kept_back: 7 });
        let left: Vec<_> = fs::read_dir(&state).expect("list").flatten().collect();
        assert_eq!(left.len(), 1, "nothing but the file: {left:?}");
    }

    #[test]
    fn two_processes_do_not_forget_each_others_kinds() {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut run, mut verify) =
            (limiter(Some(directory.path()), NOON), limiter(Some(directory.path()), NOON));
        for _ in 0..3 {
            run.pass("lag", NOON);
            verify.pass("drift", NOON);
        }
        for memory in [run.memory(), verify.memory()] {
            memory.expect("there is something").write().expect("write");
        }
        let mut next = limiter(Some(directory.path()), NOON);
        for kind in ["lag", "drift"] {
            assert_eq!(next.pass(kind, NOON), Passage::KeptBack { is_first: true }, "{kind}");
        }
    }

    #[test]
    fn a_clock_that_was_set_back_and_a_file_that_is_none_hold_nothing_up() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut early = limiter(Some(directory.path()), NOON);
        for _ in 0..4 {
            early.pass("lag", NOON);
        }
        early.memory().expect("there is something").write().expect("write");
        let before = NOON - 600 * MINUTE;
        let mut back = limiter(Some(directory.path()), before);
        assert_eq!(back.pass("lag", before), Passage::Passes { kept_back: 1 });
        fs::write(directory.path().join(FILE), "{\"lag\":").expect("write");
        assert_eq!(limiter(Some(directory.path()), NOON).pass("lag", NOON), PASSES);
    }
}
