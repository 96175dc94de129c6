//! Run the application's own queries on both sides: the same results, and fast enough.
//!
//! Results are compared at one position of the changelog, parameters by parameters ([`meet`]), so
//! that an application that writes causes no false alarm ([`alike`] says what is
//! alike). Then each query is timed, prepared, on both sides in turn, and the percentiles are held
//! against budgets. What could not be compared is `unknown`, never kept: a query that ran out of
//! its time, a result too large to hold, no row at all.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::error::SqlState;

use super::alike::{self, Order};
use super::invariant::{Severity, State};
use super::meeting::meet;
use super::{Error, Sides};
use crate::change::{Place, Position};
use crate::history::percentile;
use crate::source::parity::Asked;
use crate::target::ledger;
use crate::target::parity::{self as target, Prepared};
use crate::value::{Gathered, Owned};

/// Queries by their names, as the configuration has them.
pub type Queries = BTreeMap<String, Query>;

/// A query for each side.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// For SQLite.
    pub source: String,
    /// For PostgreSQL; the same with `$1` for `?` if it is not said.
    pub target: Option<String>,
    /// Sets of parameters.
    #[serde(default)]
    pub parameters: Vec<Vec<Parameter>>,
    /// A statement for SQLite whose rows are further sets of parameters.
    pub sample: Option<String>,
    /// Whether the order of the rows counts.
    #[serde(default)]
    pub order: Order,
    /// Numbers may differ by so much.
    #[serde(default)]
    pub tolerance: f64,
    /// Fewest rows of all results together that prove anything.
    #[serde(default = "rows_min")]
    pub rows_min: u64,
    /// How often each set of parameters is timed on each side.
    #[serde(default = "runs")]
    pub runs: NonZeroU32,
    /// What PostgreSQL may take.
    pub p95_ms_max: Option<f64>,
    /// What PostgreSQL may take, as a multiple of what SQLite takes.
    pub p95_factor_max: Option<f64>,
    /// A run is ended after this, on either side.
    #[serde(default = "timeout", deserialize_with = "crate::config::required_duration")]
    pub timeout: Duration,
    /// What a violation means for the verdict.
    #[serde(default)]
    pub severity: Severity,
}

fn rows_min() -> u64 {
    1
}

/// With twenty sets of parameters, a hundred timings: enough for a 95th percentile.
fn runs() -> NonZeroU32 {
    NonZeroU32::new(5).expect("five is not zero")
}

/// Far above what anybody waits for, and a read of the source should not last longer.
fn timeout() -> Duration {
    Duration::from_secs(10)
}

/// A value that stands in the configuration.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(untagged)]
pub enum Parameter {
    /// 1 and 0 to SQLite.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// A real.
    Real(f64),
    /// Text.
    Text(String),
}

/// What came of one query.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Finding {
    /// Its name.
    pub name: String,
    /// What a violation means.
    pub severity: Severity,
    /// `kept`, `violated`, or `unknown`: it could not be compared.
    pub state: State,
    /// Where both sides stood when they were compared last.
    pub position: Option<Position>,
    /// Sets of parameters whose results were the same.
    pub parameters: u64,
    /// Rows of SQLite's results that were compared.
    pub rows: u64,
    /// Why it is not kept, without any value.
    pub reason: Option<String>,
    /// What SQLite took, if it was timed.
    pub source: Option<Latency>,
    /// What PostgreSQL took.
    pub target: Option<Latency>,
    /// The first rows that are not the same, if values were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<Difference>,
}

impl Finding {
    /// As it is kept in the ledger.
    pub fn without_values(&self) -> Self {
        Self { difference: None, ..self.clone() }
    }
}

/// Where two results part.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Difference {
    /// The set of parameters.
    pub parameters: Vec<Option<String>>,
    /// SQLite's row; `None` for none.
    pub source: Option<Vec<Option<String>>>,
    /// PostgreSQL's.
    pub target: Option<Vec<Option<String>>>,
}

/// Milliseconds that half, 95 and 99 of a hundred runs stayed within.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Latency {
    /// The median.
    pub p50_ms: f64,
    /// The 95th percentile.
    pub p95_ms: f64,
    /// The 99th percentile.
    pub p99_ms: f64,
}

/// PostgreSQL may take this long whatever SQLite takes: SQLite answers from the memory of its own
/// process in microseconds, and no server does over a connection.
const FACTOR_FLOOR_MS: f64 = 5.0;

/// Sets of parameters of one query. More prove nothing more, and each costs a read of the source.
const SETS_MAX: usize = 1_000;

/// Why a query is not kept.
enum Stop {
    /// Something else went wrong.
    Failed(Error),
    /// It is violated, or could not be compared.
    Found(State, String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<crate::target::Error> for Stop {
    fn from(error: crate::target::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<crate::source::Error> for Stop {
    fn from(error: crate::source::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl Stop {
    fn unknown(reason: impl Into<String>) -> Self {
        Self::Found(State::Unknown, reason.into())
    }

    /// A query that PostgreSQL does not take is a finding; its own words may quote a value.
    fn refused(error: crate::target::Error) -> Self {
        let would_write = error.sql_state() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION);
        match error.sql_state().map(|state| state.code().to_owned()) {
            Some(code) if would_write || !error.is_transient() => {
                let said = if code.starts_with("42") { error.said() } else { error.reason() };
                Self::Found(State::Violated, format!("PostgreSQL does not take it: {said}"))
            }
            _ => error.into(),
        }
    }
}

/// Runs one query on both sides. Fails if that for SQLite does, or would write, and if parameters
/// and placeholders do not go together.
pub(super) async fn check(sides: &Sides, name: &str, query: &Query) -> Result<Finding, Error> {
    let mut finding = Finding {
        name: name.to_owned(),
        severity: query.severity,
        state: State::Kept,
        position: None,
        parameters: 0,
        rows: 0,
        reason: None,
        source: None,
        target: None,
        difference: None,
    };
    match weigh(sides, query, &mut finding).await {
        Ok(()) => {}
        Err(Stop::Found(state, reason)) => (finding.state, finding.reason) = (state, Some(reason)),
        Err(Stop::Failed(error)) => return Err(error),
    }
    Ok(finding)
}

async fn weigh(sides: &Sides, query: &Query, finding: &mut Finding) -> Result<(), Stop> {
    let on_target = match &query.target {
        Some(sql) => sql.clone(),
        None => for_postgresql(&query.source)
            .ok_or_else(|| Error::NoTargetForm { name: finding.name.clone() })?,
    };
    let sql: Arc<str> = query.source.as_str().into();
    let (asked, timeout) = (sql.clone(), query.timeout);
    let taken = sides.source.run(move |source| source.parameters_taken(&asked)).await?;
    let prepared = target::prepare(&sides.client, &sides.schema, &on_target, timeout)
        .await
        .map_err(Stop::refused)?;
    let mut sets = Vec::new();
    for parameters in parameter_sets(sides, &finding.name, query).await? {
        expect_parameters(&finding.name, "its source", taken, parameters.len())?;
        let taken = prepared.parameters_taken();
        expect_parameters(&finding.name, "its target", taken, parameters.len())?;
        sets.push(Asked { sql: sql.clone(), parameters, timeout });
    }
    let several = 1 < sets.len();
    for (number, asked) in sets.iter().enumerate() {
        let compared = compare(sides, query, &prepared, asked, finding).await;
        compared.map_err(|stop| match stop {
            Stop::Found(state, reason) if several => {
                Stop::Found(state, format!("parameters {} of {}: {reason}", number + 1, sets.len()))
            }
            stop => stop,
        })?;
    }
    if finding.rows < query.rows_min {
        let reason = match finding.rows {
            0 => "no row came back, which proves nothing".to_owned(),
            rows => format!("{rows} rows came back, fewer than {}", query.rows_min),
        };
        return Err(Stop::unknown(reason));
    }
    let (source, target) = time(sides, query, &prepared, &sets).await?;
    (finding.source, finding.target) = (Some(source), Some(target));
    match over_budget(query, source, target) {
        Some(reason) => Err(Stop::Found(State::Violated, reason)),
        None => Ok(()),
    }
}

/// Those of the configuration, then those that are sampled; one empty set if there is neither.
async fn parameter_sets(sides: &Sides, name: &str, query: &Query) -> Result<Vec<Vec<Owned>>, Stop> {
    let given = query.parameters.iter().map(|set| set.iter().map(Owned::from).collect());
    let mut sets: Vec<Vec<Owned>> = given.collect();
    match &query.sample {
        Some(sample) => {
            let sql: Arc<str> = sample.as_str().into();
            let asked = Asked { sql, parameters: Vec::new(), timeout: query.timeout };
            let sql = asked.sql.clone();
            let taken = sides.source.run(move |source| source.parameters_taken(&sql)).await?;
            expect_parameters(name, "its sample", taken, 0)?;
            let place = place(sides).await?;
            let sampled = sides.source.run(move |source| source.gather(&place, None, &asked));
            let sampled = sampled.await?;
            let sampled = sampled.expect("it is asked wherever the head is");
            sets.extend(whole(sampled, "the sample", query.timeout)?);
            if sets.is_empty() {
                return Err(Stop::unknown("the sample gave no parameters"));
            }
        }
        None if sets.is_empty() => sets.push(Vec::new()),
        None => {}
    }
    if SETS_MAX < sets.len() {
        return Err(Stop::unknown(format!("there are more than {SETS_MAX} sets of parameters")));
    }
    Ok(sets)
}

fn expect_parameters(
    name: &str,
    form: &'static str,
    taken: usize,
    given: usize,
) -> Result<(), Error> {
    if taken == given {
        return Ok(());
    }
    Err(Error::Parameters { name: name.to_owned(), form, taken, given })
}

async fn place(sides: &Sides) -> Result<Place, Error> {
    let stored = ledger::position(&sides.client).await?.ok_or(Error::NothingThere)?;
    Ok(stored.place())
}

fn whole<T>(gathered: Gathered<T>, who: &str, timeout: Duration) -> Result<T, Stop> {
    match gathered {
        Gathered::Whole(all) => Ok(all),
        Gathered::TooLarge => {
            Err(Stop::unknown(format!("{who} gives more than 100,000 rows or 64 MiB")))
        }
        Gathered::TooSlow => Err(Stop::unknown(format!("{who} did not end within {timeout:?}"))),
    }
}

/// Compares the results for one set of parameters.
async fn compare(
    sides: &Sides,
    query: &Query,
    prepared: &Prepared,
    asked: &Asked,
    finding: &mut Finding,
) -> Result<(), Stop> {
    let source = async |place: Place, at: Position| {
        let asked = asked.clone();
        let gathered = sides.source.run(move |source| source.gather(&place, Some(at), &asked));
        let gathered = gathered.await?;
        gathered.map(|rows| whole(rows, "SQLite", query.timeout)).transpose()
    };
    let target = async || {
        let gathered = prepared.gather(&sides.client, &asked.parameters).await;
        whole(gathered.map_err(Stop::refused)?, "PostgreSQL", query.timeout)
    };
    let Some((position, source, target)) = meet(sides, source, target).await? else {
        return Err(Stop::unknown("both sides were never at the same position"));
    };
    finding.position = Some(position);
    finding.rows += source.len() as u64;
    let columns = &prepared.columns;
    let Some(parting) = alike::difference(columns, query.order, query.tolerance, &source, &target)
    else {
        finding.parameters += 1;
        return Ok(());
    };
    if sides.scope.shows_values {
        finding.difference = Some(Difference {
            parameters: shown(&asked.parameters),
            source: parting.source.map(|at| shown(&source[at])),
            target: parting.target.map(|at| target[at].clone()),
        });
    }
    Err(Stop::Found(State::Violated, parting.what))
}

fn shown(values: &[Owned]) -> Vec<Option<String>> {
    values.iter().map(|value| (*value != Owned::Null).then(|| value.shown())).collect()
}

/// Times every set of parameters on both sides in turn. A first round warms both and is not told.
async fn time(
    sides: &Sides,
    query: &Query,
    prepared: &Prepared,
    sets: &[Asked],
) -> Result<(Latency, Latency), Stop> {
    let (mut here, mut there) = (Vec::new(), Vec::new());
    for _ in 0..=query.runs.get() {
        for asked in sets {
            let place = place(sides).await?;
            let on_source = asked.clone();
            let timed = sides.source.run(move |source| source.time(&place, &on_source)).await?;
            here.push(whole(timed, "SQLite", query.timeout)?);
            let timed = prepared.time(&sides.client, &asked.parameters).await;
            there.push(whole(timed.map_err(Stop::refused)?, "PostgreSQL", query.timeout)?);
        }
    }
    here.drain(..sets.len());
    there.drain(..sets.len());
    Ok((Latency::of(here), Latency::of(there)))
}

impl Latency {
    /// Of at least one run. The nearest rank: always a time that was measured.
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let ms = |percent| (percentile(&times, percent).as_secs_f64() * 1e6).round() / 1e3;
        Self { p50_ms: ms(50), p95_ms: ms(95), p99_ms: ms(99) }
    }
}

fn over_budget(query: &Query, source: Latency, target: Latency) -> Option<String> {
    let mut reason = String::new();
    let took = target.p95_ms;
    if let Some(max) = query.p95_ms_max.filter(|max| *max < took) {
        write!(reason, "the p95 is {took} ms, more than {max} ms").expect("a string takes it");
    }
    let factor = query.p95_factor_max.filter(|factor| (factor * source.p95_ms) < took);
    if let Some(factor) = factor.filter(|_| FACTOR_FLOOR_MS < took) {
        let and = if reason.is_empty() { "" } else { "; " };
        let base = source.p95_ms;
        write!(reason, "{and}the p95 is {took} ms, more than {factor} times SQLite's {base} ms")
            .expect("a string takes it");
    }
    (!reason.is_empty()).then_some(reason)
}

impl From<&Parameter> for Owned {
    fn from(parameter: &Parameter) -> Self {
        match parameter {
            Parameter::Boolean(boolean) => Self::Integer(i64::from(*boolean)),
            Parameter::Integer(integer) => Self::Integer(*integer),
            Parameter::Real(real) => Self::Real(*real),
            Parameter::Text(text) => Self::Text(text.clone().into_bytes()),
        }
    }
}

/// The statement with `$N` for `?` and `?N`, outside of strings, names and comments; `None` if it
/// has placeholders with names, which SQLite numbers by their first use, or mixes `$N` with `?`.
fn for_postgresql(sql: &str) -> Option<String> {
    let mut written = String::with_capacity(sql.len() + 8);
    let (mut highest, mut has_marks, mut has_dollars) = (0_u32, false, false);
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' | '"' | '`' => quoted(rest, first),
            '[' => rest.find(']').map_or(rest.len(), |end| end + 1),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest[2..].find("*/").map_or(rest.len(), |end| end + 4),
            '?' | '$' => {
                let digits = rest[1..].bytes().take_while(u8::is_ascii_digit).count();
                let number = match (first, &rest[1..=digits]) {
                    ('?', "") => highest + 1,
                    (_, digits) => digits.parse().ok()?,
                };
                (has_marks, has_dollars) = (has_marks || first == '?', has_dollars || first == '$');
                highest = highest.max(number);
                write!(written, "${number}").expect("a string takes it");
                rest = &rest[1 + digits..];
                continue;
            }
            ':' | '@' | '#' => return None,
            c if c.is_alphabetic() || c == '_' => {
                // A `$` within a name is part of it.
                let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
                rest.find(|c| !is_part(c)).unwrap_or(rest.len())
            }
            c => c.len_utf8(),
        };
        written.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    (!(has_marks && has_dollars)).then_some(written)
}

/// The length of the quoted text that `rest` begins with; a doubled quote stands for one.
fn quoted(rest: &str, quote: char) -> usize {
    let mut from = 1;
    while let Some(end) = rest[from..].find(quote) {
        from += end + 1;
        if !rest[from..].starts_with(quote) {
            return from;
        }
        from += 1;
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_translated_where_they_are_placeholders() {
        for (sql, translated) in [
            ("select 1", Some("select 1")),
            ("select ?, ? + ?", Some("select $1, $2 + $3")),
            ("select ?2, ?, ?1", Some("select $2, $3, $1")),
            ("select $2, $1", Some("select $2, $1")),
            ("select '?', \"a?\"\"?\", `?`, [?], ?", Some("select '?', \"a?\"\"?\", `?`, [?], $1")),
            (
                "select 'it''s ?', ? -- ?\n, ? /* ? */",
                Some("select 'it''s ?', $1 -- ?\n, $2 /* ? */"),
            ),
            ("select a$1 from t where é = ?", Some("select a$1 from t where é = $1")),
            ("select '?", Some("select '?")),
            ("select ':a', ?", Some("select ':a', $1")),
            ("select :a", None),
            ("select @a", None),
            ("select $a", None),
            ("select ?, $1", None),
        ] {
            assert_eq!(for_postgresql(sql).as_deref(), translated, "{sql}");
        }
    }

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let of = |milliseconds: std::ops::RangeInclusive<u64>| {
            let latency = Latency::of(milliseconds.rev().map(Duration::from_millis).collect());
            (latency.p50_ms, latency.p95_ms, latency.p99_ms)
        };
        assert_eq!(of(1..=100), (50.0, 95.0, 99.0));
        assert_eq!(of(1..=20), (10.0, 19.0, 20.0));
        assert_eq!(of(7..=7), (7.0, 7.0, 7.0));
    }

    #[test]
    fn a_budget_is_a_limit_or_a_factor_above_the_noise() {
        let latency = |p95_ms| Latency { p50_ms: 0.0, p95_ms, p99_ms: 0.0 };
        let over = |ms: Option<f64>, factor: Option<f64>, source, target| {
            let mut query: Query = toml::from_str("source = 'select 1'").expect("a query");
            (query.p95_ms_max, query.p95_factor_max) = (ms, factor);
            over_budget(&query, latency(source), latency(target)).is_some()
        };
        assert!(!over(None, None, 0.1, 9_000.0));
        assert!(over(Some(200.0), None, 150.0, 200.1));
        assert!(!over(Some(200.0), None, 0.1, 200.0));
        assert!(over(None, Some(2.0), 10.0, 20.1));
        assert!(!over(None, Some(2.0), 10.0, 20.0));
        assert!(!over(None, Some(2.0), 0.01, 4.9), "a round trip is no regression");
        assert!(over(Some(200.0), Some(2.0), 10.0, 21.0), "either budget");
    }
}
