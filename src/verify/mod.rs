//! Compare both sides row by row while the application writes and replay goes on.
//!
//! The one idea: *what differs at two moments is only a candidate*. A pass over each table holds
//! digests of the source's rows, read in short transactions, against digests that PostgreSQL
//! computes of its own. Rows that seem to differ are read again on both sides with the positions
//! they belong to. A row that nobody touched between those positions must be equal, exactly; one
//! that somebody did is in flight and asked again. So nothing is frozen, no read of the source is
//! long, and there are no false alarms.
//!
//! Digests are made of the encoder's output, so a share of the rows (all of them with
//! [`Scope::is_full`]) is also brought home from PostgreSQL by the inverse and compared with the
//! values that SQLite holds ([`image`]).
//!
//! Begin with [`verify`].

mod alike;
pub mod image;
pub mod invariant;
mod meeting;
pub mod parity;
mod settle;
mod walk;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use self::invariant::{Severity, State};
use crate::batch::key_of_json;
use crate::change::{Lineage, Position};
use crate::daemon::{self, Config, blueprint};
use crate::mapping::Mapping;
use crate::source::Survey;
use crate::source::changelog::Plan;
use crate::source::schema::SkippedKind;
use crate::source::thread::SourceThread;
use crate::target::checks::{self, Check, CheckState};
use crate::target::{self, connect, ledger};

/// Differences that are listed; all are counted.
pub const LISTED_MAX: usize = 100;

/// What is to be compared.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Only this table.
    pub table: Option<String>,
    /// Bring every row home, not a share.
    pub is_full: bool,
    /// Show the values of rows that differ.
    pub shows_values: bool,
    /// List every difference.
    pub lists_all: bool,
    /// Statements that must give the same on both sides.
    pub invariants: invariant::Invariants,
    /// The application's own queries, which must give the same, and fast enough.
    pub queries: parity::Queries,
    /// Read no more rows of the source than so many a second; `None` for no limit.
    pub rows_per_second: Option<NonZeroU32>,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Every row of every table is equal.
    Pass,
    /// Something differs, or the target lacks rows that it cannot hold.
    Fail,
    /// Nothing that was read differs, and not everything could be read.
    Incomplete,
}

/// What was compared, and what came of it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Verdict {
    /// The answer.
    pub verdict: Outcome,
    /// Where the target stood at the end.
    pub position: VerdictPosition,
    /// Per table.
    pub tables: Vec<TableVerdict>,
    /// The rows that differ, the first hundred unless all were asked for.
    pub drift: Vec<Drift>,
    /// How many rows differ.
    pub drift_rows: u64,
    /// Rows that were being written whenever they were looked at.
    pub in_flight: u64,
    /// What came of the statements that must give the same.
    pub invariants: Vec<invariant::Finding>,
    /// What came of the application's own queries.
    pub parity: Vec<parity::Finding>,
    /// What belongs to the tables beside their rows, if it is not as it should be.
    pub checks: Vec<Check>,
    /// What was not compared, and why.
    pub left_out: Vec<LeftOut>,
    /// How long it took.
    pub seconds: f64,
}

/// Whose history, and where.
#[derive(Clone, Debug, serde::Serialize)]
pub struct VerdictPosition {
    /// Whose history.
    pub lineage: Lineage,
    /// The newest entry that was applied.
    pub applied: Position,
}

/// One table.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct TableVerdict {
    /// Its name on the source.
    pub name: String,
    /// Rows read on the source.
    pub rows_source: u64,
    /// Rows read on the target.
    pub rows_target: u64,
    /// Rows of the source that were held against the target's.
    pub rows_compared: u64,
    /// Of those, rows that were brought home and compared value by value.
    pub rows_home: u64,
    /// Bytes of the source's rows, as PostgreSQL would send them.
    pub bytes: u64,
    /// On the source only.
    pub missing: u64,
    /// On the target only.
    pub extra: u64,
    /// On both, and not the same.
    pub mismatched: u64,
    /// Rows that the target cannot hold.
    pub quarantined: u64,
    /// Rows that were being written whenever they were looked at.
    pub in_flight: u64,
    /// The sum of the SHA-256 of the source's rows, modulo 2^256: it does not depend on their
    /// order.
    pub checksum: String,
}

impl TableVerdict {
    /// Rows that differ.
    pub fn drift_rows(&self) -> u64 {
        self.missing + self.extra + self.mismatched
    }

    /// Whether nothing differs.
    pub fn is_equal(&self) -> bool {
        self.drift_rows() + self.quarantined + self.in_flight == 0
    }
}

/// A row that differs.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Drift {
    /// The table's name on the source.
    pub table: String,
    /// The values that name the row.
    pub key: serde_json::Value,
    /// How it differs.
    pub kind: DriftKind,
    /// The columns that differ, of a row that is on both sides.
    pub columns: Vec<String>,
    /// What each side holds in those columns, if it was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<DriftValue>,
}

/// What both sides hold in one column.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct DriftValue {
    /// The column.
    pub column: String,
    /// What SQLite holds.
    pub source: serde_json::Value,
    /// What PostgreSQL holds, brought home; `null` where that is not possible, too.
    pub target: serde_json::Value,
}

/// How a row differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DriftKind {
    /// On the source only.
    Missing,
    /// On the target only.
    Extra,
    /// On both, and not the same.
    Mismatched,
}

/// Something that was not compared.
#[derive(Clone, Debug, serde::Serialize)]
pub struct LeftOut {
    /// A table, or a table and a column.
    pub name: String,
    /// Why.
    pub reason: String,
    /// Whether the verdict is incomplete for it; what never travels does not count.
    pub is_missing: bool,
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Either side, or the plan.
    #[error(transparent)]
    Daemon(#[from] daemon::Error),
    /// Nothing was ever replicated to this target.
    #[error("nothing has been replicated to this target")]
    NothingThere,
    /// No such table travels.
    #[error("no table {name} travels to the target")]
    NoTable {
        /// As it was asked for.
        name: String,
    },
    /// The first copy is under way.
    #[error("the first copy is not finished; there is nothing to compare yet")]
    Copying,
    /// A query whose placeholders PostgreSQL would not understand.
    #[error("query {name} needs a form for PostgreSQL, with placeholders like $1")]
    NoTargetForm {
        /// The query's name.
        name: String,
    },
    /// A query with placeholders for more or fewer values than it is given.
    #[error("query {name} takes {taken} parameters in {form} and is given {given}")]
    Parameters {
        /// The query's name.
        name: String,
        /// Which of its statements.
        form: &'static str,
        /// How many it takes.
        taken: usize,
        /// How many it is given.
        given: usize,
    },
}

impl From<target::Error> for Error {
    fn from(error: target::Error) -> Self {
        Self::Daemon(error.into())
    }
}

impl From<crate::source::Error> for Error {
    fn from(error: crate::source::Error) -> Self {
        Self::Daemon(error.into())
    }
}

/// Both sides of one comparison.
struct Sides {
    source: SourceThread,
    client: Client,
    schema: String,
    plan: Arc<Plan>,
    scope: Scope,
    begun: Instant,
    rows_read: AtomicU64,
    /// Counts the comparisons of this target: each brings another share of the rows home.
    number: i64,
}

impl Sides {
    /// Waits until the rows read so far are no more than the rate allows.
    async fn keep_to_rate(&self, rows: u64) {
        let read = self.rows_read.fetch_add(rows, Ordering::Relaxed) + rows;
        let Some(rate) = self.scope.rows_per_second else { return };
        let due = Duration::from_secs(1).mul_f64(read as f64 / f64::from(rate.get()));
        tokio::time::sleep(due.saturating_sub(self.begun.elapsed())).await;
    }

    fn mapping(&self, table: usize) -> &Mapping {
        &self.plan.mappings[table]
    }
}

/// Compares both sides, says what differs, and notes the verdict in the ledger. Nothing else is
/// written.
///
/// Works beside a running sidecar, and without one as far as everything has been applied: rows with
/// changes that nobody applies are in flight, and the verdict is incomplete.
pub async fn verify(config: &Config, scope: Scope) -> Result<Verdict, Error> {
    let begun = Instant::now();
    let (client, _) =
        connect::connect(&config.target, "lite2pg verify").await.map_err(target::Error::from)?;
    if !ledger::exists(&client).await? {
        return Err(Error::NothingThere);
    }
    ledger::migrate(&client).await?;
    let stored = ledger::position(&client).await?.ok_or(Error::NothingThere)?;
    stored.expect_schema(&config.target_schema)?;
    if stored.phase == ledger::Phase::Copying {
        return Err(Error::Copying);
    }
    let source = SourceThread::open(config.source.clone()).await?;
    let overrides = config.overrides.clone();
    source.run(move |source| source.leave_out(overrides)).await;
    let place = stored.place();
    source.run(move |source| source.prove(&place)).await?;
    let known = ledger::tables(&client).await?;
    let (plan, survey) = blueprint::plan_in_force(&source, &client, config, &known).await?;
    let plan = Arc::new(plan);
    let mut left_out = not_travelling(&survey, &known, &plan);
    let schema = config.target_schema.clone();
    let rows_read = AtomicU64::new(0);
    let number = ledger::verifications(&client).await?;
    let sides = Sides { source, client, schema, plan, scope, begun, rows_read, number };
    let mut wanted: Vec<usize> = (0..sides.plan.mappings.len()).collect();
    if let Some(name) = &sides.scope.table {
        let is_it = |at: &usize| sides.mapping(*at).table.name.eq_ignore_ascii_case(name);
        wanted.retain(is_it);
        if wanted.is_empty() {
            return Err(Error::NoTable { name: name.clone() });
        }
        left_out.retain(|left_out| left_out.name.eq_ignore_ascii_case(name));
    }
    let (mut tables, mut drift) = (Vec::new(), Vec::new());
    for table in wanted {
        let mapping = sides.mapping(table);
        left_out.extend(image::not_compared(mapping).into_iter().map(|column| LeftOut {
            name: format!("{}.{column}", mapping.table.name),
            reason: "the server casts its values, and what came of them is not compared".into(),
            is_missing: false,
        }));
        let (verdict, differing) = walk::table(&sides, table).await?;
        tracing::info!(table = %verdict.name, rows = verdict.rows_source,
            drift = verdict.drift_rows(), in_flight = verdict.in_flight, "compared");
        tables.push(verdict);
        drift.extend(differing);
    }
    let (mut invariants, mut parity, mut checks) = (Vec::new(), Vec::new(), Vec::new());
    if sides.scope.table.is_none() {
        let mappings = &sides.plan.mappings;
        checks = checks::look(&sides.client, &sides.schema, mappings).await?;
        checks.retain(|check| check.state != CheckState::Ok);
        for (name, invariant) in &sides.scope.invariants {
            invariants.push(invariant::check(&sides, name, invariant).await?);
        }
        for (name, query) in &sides.scope.queries {
            parity.push(parity::check(&sides, name, query).await?);
        }
    }
    let stored = ledger::position(&sides.client).await?.ok_or(Error::NothingThere)?;
    let drift_rows = tables.iter().map(TableVerdict::drift_rows).sum::<u64>();
    if !sides.scope.lists_all {
        drift.truncate(LISTED_MAX);
    }
    let in_flight = tables.iter().map(|table| table.in_flight).sum();
    let position = VerdictPosition {
        lineage: stored.lineage.clone(),
        applied: stored.standing.applied.position,
    };
    let seconds = begun.elapsed().as_secs_f64();
    let mut verdict = Verdict {
        verdict: Outcome::Incomplete,
        position,
        tables,
        drift,
        drift_rows,
        in_flight,
        invariants,
        parity,
        checks,
        left_out,
        seconds,
    };
    verdict.verdict = verdict.outcome();
    note(&sides, &verdict).await?;
    Ok(verdict)
}

/// One row of `lite2pg.verifications`.
async fn note(sides: &Sides, verdict: &Verdict) -> Result<(), target::Error> {
    let json = |value: Result<serde_json::Value, serde_json::Error>| {
        value.expect("counts and names are JSON").to_string()
    };
    let word = json(serde_json::to_value(verdict.verdict)).replace('"', "");
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    sides
        .client
        .execute(
            "insert into lite2pg.verifications
                 (verdict, source_id, generation, position, only_table, is_full, drift_rows,
                  in_flight, quarantined, seconds, tables, left_out)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::jsonb, $12::text::jsonb)",
            &[
                &word,
                &verdict.position.lineage.source_id,
                &verdict.position.lineage.generation,
                &verdict.position.applied.0,
                &sides.scope.table,
                &sides.scope.is_full,
                &count(verdict.drift_rows),
                &count(verdict.in_flight),
                &count(verdict.quarantined()),
                &verdict.seconds,
                &json(serde_json::to_value(&verdict.tables)),
                &json(serde_json::to_value(&verdict.left_out)),
            ],
        )
        .await
        .map(drop)
        .map_err(target::Error::query("note the verdict"))
}

/// What does not travel at all, and tables that should but do not at the moment: stopped ones, and
/// ones that are new and that nobody has taken in yet.
fn not_travelling(survey: &Survey, known: &[ledger::KnownTable], plan: &Plan) -> Vec<LeftOut> {
    let stopped = |name: &str| known.iter().find(|known| known.name == name && known.is_stopped());
    let tables = survey.catalog.tables.iter().map(|table| table.name.as_str());
    let gone = known.iter().map(|known| known.name.as_str());
    let mut missing: Vec<&str> = tables.chain(gone).filter(|name| !plan.has(name)).collect();
    missing.sort_unstable();
    missing.dedup();
    let missing = missing.into_iter().map(|name| LeftOut {
        name: name.to_owned(),
        reason: match stopped(name) {
            Some(known) => known.reason.clone().unwrap_or_default(),
            None => "the sidecar has not looked at the schema since it changed".to_owned(),
        },
        is_missing: true,
    });
    use SkippedKind::{Ignored, ShadowTable, Table, VirtualTable};
    let rows = |kind| matches!(kind, Table | VirtualTable | ShadowTable | Ignored);
    let never = survey.catalog.skipped.iter().filter(|skipped| rows(skipped.kind));
    let never = never.map(|skipped| LeftOut {
        name: skipped.name.clone(),
        reason: skipped.reason.clone(),
        // The rows of an ordinary table are the application's, whether or not they can travel.
        is_missing: skipped.kind == Table,
    });
    missing.chain(never).collect()
}

impl Verdict {
    /// Rows read on the source.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows_source).sum()
    }

    /// Rows that the target cannot hold.
    pub fn quarantined(&self) -> u64 {
        self.tables.iter().map(|table| table.quarantined).sum()
    }

    /// What all that was found comes to.
    fn outcome(&self) -> Outcome {
        let is_any = |state| {
            let invariants = self.invariants.iter().map(|found| (found.severity, found.state));
            let parity = self.parity.iter().map(|found| (found.severity, found.state));
            invariants.chain(parity).any(|found| found == (Severity::Fail, state))
        };
        let differs = 0 < self.drift_rows + self.quarantined()
            || is_any(State::Violated)
            || self.checks.iter().any(|check| check.state == CheckState::Failed);
        let is_whole = self.in_flight == 0
            && !self.tables.is_empty()
            && self.left_out.iter().all(|left_out| !left_out.is_missing)
            && !is_any(State::Unknown);
        match (differs, is_whole) {
            (true, _) => Outcome::Fail,
            (false, true) => Outcome::Pass,
            (false, false) => Outcome::Incomplete,
        }
    }
}

/// What a repair came to.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Repaired {
    /// Rows that differed.
    pub differing: u64,
    /// Rows that were named in the changelog, so that replay makes them right.
    pub touched: u64,
    /// What both sides are like afterwards; of a dry run, what they are like.
    pub after: Verdict,
}

/// Finds what differs and has replay make it right: the keys of those rows are appended to the
/// changelog, and nothing is written to the target past the one way in which rows travel. Then
/// both sides are compared again.
///
/// Where no sidecar is running, replays itself. `is_dry` only compares. A crash leaves some of the
/// keys touched, which is harmless.
pub async fn repair(config: &Config, scope: Scope, is_dry: bool) -> Result<Repaired, Error> {
    let scope = Scope { lists_all: true, ..scope };
    let before = verify(config, scope.clone()).await?;
    if is_dry || before.drift.is_empty() {
        return Ok(Repaired { differing: before.drift_rows, touched: 0, after: before });
    }
    let (client, _) =
        connect::connect(&config.target, "lite2pg repair").await.map_err(target::Error::from)?;
    let source = SourceThread::open(config.source.clone()).await?;
    let stored = ledger::position(&client).await?.ok_or(Error::NothingThere)?;
    let known = ledger::tables(&client).await?;
    let mut touched = 0;
    for table in &known {
        let drift = before.drift.iter().filter(|drift| drift.table == table.name);
        let keys: Vec<settle::Key> = drift.filter_map(|drift| key_of_json(&drift.key)).collect();
        if keys.is_empty() {
            continue;
        }
        touched += keys.len() as u64;
        let (place, id) = (stored.place(), table.id);
        source.run(move |source| source.touch(&place, id, &keys)).await?;
    }
    let head = source.run(|source| source.head()).await?;
    let head = head.map_or(Position(0), |head| head.position);
    if ledger::is_someone_at_work(&client).await? {
        settle::await_applied(&client, head).await?;
    } else {
        let replay = Config { until_caught_up: true, ..config.clone() };
        let (_running, stop) = daemon::Stop::new();
        daemon::run(replay, stop).await?;
    }
    let after = verify(config, scope).await?;
    Ok(Repaired { differing: before.drift_rows, touched, after })
}
