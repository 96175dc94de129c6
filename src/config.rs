//! File, environment and flags become one checked configuration.
//!
//! Flags win over the environment, the environment over `lite2pg.toml`, the file over defaults.
//! A file that holds a password or a webhook must not be readable by others.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::alert::{self, Alerts};
use crate::cli::{PaceArgs, SourceArgs, TargetArgs};
use crate::daemon::{self, OnUnmappable};
use crate::overrides::{self, ExistingRows, Mode, Overrides, TableSetting, Written};
use crate::target::conninfo::{self, ConnInfo, Surroundings};
use crate::target::history::HOURS_MAX;
use crate::target::private::{self, PrivateCluster, Tuning};
use crate::verify::parity::Queries;
use crate::verify::{REREAD, invariant::Invariants};

/// Read if it is there and no other is named.
const FILE: &str = "lite2pg.toml";

/// The file that is watched at least this often, whatever events say: the bound on lag where no
/// event arrives.
const POLL_INTERVAL_MS: u64 = 1_000;

/// Two connections keep two cores of a server busy; the third hides the waiting of the others.
const COPY_CONNECTIONS: usize = 3;

/// Thirty seconds are long for a reader to see nothing new and short for PostgreSQL's vacuum; a
/// restart after a crash repeats at most this much.
const TRANSACTION_MAX: Duration = Duration::from_secs(30);

/// A target that is restored from yesterday's backup, or even last week's, finds what it missed.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// About 150 MB of changelog in the application's file.
const RETAINED_CHANGES_MAX: i64 = 5_000_000;

/// Pruning is not urgent, and each round asks the application for its write lock.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60);

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The file is not as it should be. The line itself is not shown: it may hold a password.
    #[error("{}, line {line}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where, counted from 1.
        line: usize,
        /// What.
        problem: String,
    },
    /// A secret that others can read.
    #[error("{} holds a {what} and can be read by others", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// `password` or `webhook`.
        what: &'static str,
    },
    /// Alerts could not be sent as they are asked for. Shows no URL and no header.
    #[error("{}, [alerts]: {problem}", path.display())]
    Alerts {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// No source.
    #[error("no source is named")]
    NoSource,
    /// The target is not understood.
    #[error(transparent)]
    Target(#[from] conninfo::Error),
    /// A question about a private PostgreSQL that was never made.
    #[error("no target is named, and there is no private PostgreSQL in {}", state.display())]
    NothingThere {
        /// Where it would be.
        state: PathBuf,
    },
    /// What it says of tables and columns contradicts itself.
    #[error(transparent)]
    Overrides(#[from] overrides::Error),
    /// The private PostgreSQL cannot be had.
    #[error(transparent)]
    Private(#[from] private::Error),
}

/// What to do where no target is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Private {
    /// Make a private PostgreSQL, unless there is one.
    Make,
    /// Use the private PostgreSQL that is there: a question makes none.
    MustExist,
    /// Use the private PostgreSQL that is running: who asks whether it is in use starts none.
    MustRun,
}

/// `lite2pg.toml`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    source: Option<PathBuf>,
    target: Option<String>,
    target_schema: Option<String>,
    state_dir: Option<PathBuf>,
    pg_bin: Option<PathBuf>,
    poll_interval_ms: Option<u64>,
    file_events: Option<bool>,
    on_unmappable: Option<OnUnmappable>,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    existing_rows: ExistingRows,
    #[serde(default)]
    tables: BTreeMap<String, TableSetting>,
    #[serde(default)]
    columns: BTreeMap<String, BTreeMap<String, Written>>,
    #[serde(default)]
    types: BTreeMap<String, Written>,
    #[serde(default)]
    defaults: Written,
    #[serde(default)]
    invariants: Invariants,
    #[serde(default)]
    queries: Queries,
    #[serde(default)]
    verify: VerifyTable,
    #[serde(default)]
    copy: CopyTable,
    #[serde(default)]
    replay: ReplayTable,
    #[serde(default)]
    changelog: ChangelogTable,
    #[serde(default)]
    alerts: alert::Settings,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CopyTable {
    connections: Option<usize>,
    rows_per_second: Option<NonZeroU32>,
    bytes_per_second: Option<NonZeroU32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplayTable {
    #[serde(default, deserialize_with = "duration")]
    transaction_max: Option<Duration>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct VerifyTable {
    #[serde(default, deserialize_with = "duration")]
    reread: Option<Duration>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangelogTable {
    #[serde(default, deserialize_with = "duration")]
    retention: Option<Duration>,
    retained_changes_max: Option<i64>,
    #[serde(default, deserialize_with = "duration")]
    prune_interval: Option<Duration>,
}

/// Reads a duration for serde; a key that is missing has none.
pub(crate) fn duration<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<Duration>, D::Error> {
    required_duration(from).map(Some)
}

/// Reads a duration for serde; a key that is missing gets its default there.
pub(crate) fn required_duration<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    parse_duration(&text).map_err(serde::de::Error::custom)
}

/// Reads `250ms`, `30s`, `5m`, `12h`, `7d`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.chars().take_while(char::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let malformed = || format!("{text:?} is not a duration like 30s, 12h or 7d");
    let number: u64 = number.parse().map_err(|_| malformed())?;
    let seconds =
        |factor: u64| number.checked_mul(factor).map(Duration::from_secs).ok_or_else(malformed);
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(60 * 60),
        "d" => seconds(24 * 60 * 60),
        _ => Err(malformed()),
    }
}

/// Reads a duration of whole hours that the ledger can be asked for: `24h`, `7d`.
pub fn parse_hours(text: &str) -> Result<i64, String> {
    const HOUR_S: u64 = 60 * 60;
    let duration = parse_duration(text)?;
    let hours = i64::try_from(duration.as_secs().div_ceil(HOUR_S)).unwrap_or(i64::MAX);
    if duration.subsec_nanos() == 0 && (1..=HOURS_MAX).contains(&hours) {
        return Ok(hours);
    }
    Err(format!("{text} is not between 1h and {}d", HOURS_MAX / 24))
}

/// What is wrong with a key, without the text that it was given, which serde quotes.
fn without_value(problem: &str) -> String {
    let quoted = ["invalid type: string \"", "invalid value: string \""];
    let begun = quoted.iter().find_map(|begun| Some((*begun, problem.strip_prefix(begun)?)));
    match begun.and_then(|(begun, rest)| Some((begun, rest.rsplit_once("\", expected ")?.1))) {
        Some((begun, expected)) => format!("{begun}…\", expected {expected}"),
        None => problem.to_owned(),
    }
}

impl File {
    /// The statements that must give the same on both sides.
    pub fn invariants(&self) -> Invariants {
        self.invariants.clone()
    }

    /// Within which time everything is to be read again, proven or not.
    pub fn reread(&self) -> Duration {
        self.verify.reread.unwrap_or(REREAD)
    }

    /// The application's own queries, which must give the same on both sides.
    pub fn queries(&self) -> Queries {
        self.queries.clone()
    }

    /// Reads the named file, or `lite2pg.toml` if it is there, or nothing.
    pub fn read(named: Option<&Path>) -> Result<Self, Error> {
        let path = named.unwrap_or(Path::new(FILE));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(source) => return Err(Error::Read { path: path.to_path_buf(), source }),
        };
        let file: Self = toml::from_str(&text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            Error::Malformed {
                path: path.to_path_buf(),
                line: 1 + before.matches('\n').count(),
                problem: without_value(error.message()),
            }
        })?;
        let has_password =
            file.target.as_ref().is_some_and(|target| conninfo::redact(target) != *target);
        let secret = match (has_password, file.alerts.is_secret()) {
            (true, _) => Some("password"),
            (false, true) => Some("webhook"),
            (false, false) => None,
        };
        let alerts = file.alerts.check();
        alerts.map_err(|problem| Error::Alerts { path: path.to_path_buf(), problem })?;
        let mode = std::fs::metadata(path)
            .map_err(|source| Error::Read { path: path.to_path_buf(), source })?
            .permissions()
            .mode();
        if let Some(what) = secret.filter(|_| mode & 0o077 != 0) {
            return Err(Error::Exposed { path: path.to_path_buf(), what });
        }
        Ok(file)
    }

    /// The source, from flag, environment or file.
    pub fn source(&self, args: &SourceArgs) -> Result<PathBuf, Error> {
        args.source.clone().or_else(|| self.source.clone()).ok_or(Error::NoSource)
    }

    /// The target schema's name.
    pub fn target_schema(&self, args: &TargetArgs) -> String {
        let named = args.target_schema.clone().or_else(|| self.target_schema.clone());
        named.unwrap_or_else(|| "public".to_owned())
    }

    /// What it says of tables and columns; `adopts` is the flag's word for its mode.
    pub fn overrides(&self, adopts: bool) -> Result<Arc<Overrides>, Error> {
        let mode = if adopts { Mode::Adopt } else { self.mode };
        let overrides = Overrides::new(
            mode,
            self.existing_rows,
            self.tables.clone(),
            self.columns.clone(),
            self.types.clone(),
            self.defaults.clone(),
        );
        Ok(Arc::new(overrides?))
    }

    /// Whether a target can be found without knowing the source.
    pub fn names_target(&self, args: &TargetArgs) -> Result<bool, Error> {
        let is_named =
            self.target.is_some() || self.state_dir.is_some() || args.state_dir.is_some();
        let around = Surroundings::of_process();
        Ok(is_named || conninfo::resolve(args.target.as_deref(), &around)?.is_some())
    }

    /// Where PostgreSQL is. Without any name for it, a private cluster is brought up, and made
    /// first if `private` says so; blocks while that takes.
    pub fn target(
        &self,
        args: &TargetArgs,
        source: &Path,
        private: Private,
    ) -> Result<(ConnInfo, Option<PrivateCluster>), Error> {
        let around = Surroundings::of_process();
        if let Some(named) = conninfo::resolve(args.target.as_deref(), &around)? {
            return Ok((named, None));
        }
        if let Some(in_file) = &self.target {
            let parsed = conninfo::from_text(in_file, conninfo::Origin::Explicit, &around)?;
            return Ok((parsed, None));
        }
        let state = self.state_dir(args, source);
        let is_there = match private {
            Private::Make => true,
            Private::MustExist => PrivateCluster::is_made(&state),
            Private::MustRun => PrivateCluster::is_running(&state),
        };
        if !is_there {
            return Err(Error::NothingThere { state });
        }
        let pg_bin = args.pg_bin.clone().or_else(|| self.pg_bin.clone());
        let cluster = PrivateCluster::up(&state, pg_bin.as_deref(), Tuning { durable: true })?;
        let url = cluster.url(private::ROLE);
        let conninfo = conninfo::from_text(&url, conninfo::Origin::Explicit, &around)?;
        Ok((conninfo, Some(cluster)))
    }

    fn state_dir(&self, args: &TargetArgs, source: &Path) -> PathBuf {
        let named = args.state_dir.clone().or_else(|| self.state_dir.clone());
        named.unwrap_or_else(|| private::state_dir_for(source))
    }

    /// Opens the channels for alerts about `source`, on the runtime that this is called on.
    pub fn alerts(&self, args: &TargetArgs, source: &Path) -> Alerts {
        Alerts::begin(&self.alerts, source, self.state_dir(args, source))
    }

    /// What a run is told. It alerts nobody until it is given [`File::alerts`].
    pub fn run(
        &self,
        source: PathBuf,
        target: ConnInfo,
        target_schema: String,
        overrides: Arc<Overrides>,
        until_caught_up: bool,
        pace: &PaceArgs,
    ) -> daemon::Config {
        let poll_interval_ms =
            pace.poll_interval_ms.or(self.poll_interval_ms).unwrap_or(POLL_INTERVAL_MS);
        daemon::Config {
            source,
            target,
            target_schema,
            overrides,
            on_unmappable: self.on_unmappable.unwrap_or_default(),
            until_caught_up,
            poll_interval: Duration::from_millis(poll_interval_ms.max(1)),
            file_events: !pace.no_file_events && self.file_events.unwrap_or(true),
            copy_connections: pace
                .copy_connections
                .or(self.copy.connections)
                .unwrap_or(COPY_CONNECTIONS)
                .max(1),
            copy_rows_per_second: pace.copy_rows_per_second.or(self.copy.rows_per_second),
            copy_bytes_per_second: pace.copy_bytes_per_second.or(self.copy.bytes_per_second),
            transaction_max: pace
                .transaction_max
                .or(self.replay.transaction_max)
                .unwrap_or(TRANSACTION_MAX),
            retention: pace.retention.or(self.changelog.retention).unwrap_or(RETENTION),
            retained_changes_max: pace
                .retained_changes_max
                .or(self.changelog.retained_changes_max)
                .unwrap_or(RETAINED_CHANGES_MAX),
            prune_interval: pace
                .prune_interval
                .or(self.changelog.prune_interval)
                .unwrap_or(PRUNE_INTERVAL),
            alerts: Alerts::none(),
            thresholds: self.alerts.thresholds(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("7d"), Ok(RETENTION));
        for bad in ["", "7", "d", "-1s", "1 s", "99999999999999999999d", "18446744073709551615d"] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_unknown_key_in_the_file_is_an_error_with_its_place() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("lite2pg.toml");
        std::fs::write(&path, "source = 'a.db'\npol_interval_ms = 5\n").expect("write");
        let error = File::read(Some(&path)).expect_err("the key is unknown").to_string();
        assert!(error.contains("line 2: "), "{error}");
        assert!(error.contains("pol_interval_ms"), "{error}");
    }

    #[test]
    fn a_mistake_in_the_file_is_told_without_what_stands_in_its_line() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("lite2pg.toml");
        for text in [
            "source = 'a.db'\ntarget = 'postgresql://u:hunter2@h/d",
            "source = 'a.db'\ntarget = 'postgresql://u:hunter2@h/d' x",
            "source = 'a.db'\ntarget = postgresql://u:hunter2@h/d",
            "source = 'a.db'\ncopy = 'postgresql://u:hunter2@h/d\", expected'",
            "source = 'a.db'\npasword = 'hunter2'",
            "source = 'a.db'\npoll_interval_ms = 'hunter2'",
        ] {
            std::fs::write(&path, text).expect("write");
            let error = File::read(Some(&path)).expect_err(text);
            let shown = crate::error::Report::from(error).to_string();
            assert!(shown.contains("line 2: "), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
