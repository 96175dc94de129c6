//! Compare both sides row by row while the application writes and replay goes on.
//!
//! Two ideas. *What differs at two moments is only a candidate*: a pass over a table holds digests
//! of the source's rows, read in short transactions, against digests that PostgreSQL computes of
//! its own. Rows that seem to differ are read again on both sides with the positions they belong
//! to ([`settle`]). A row that nobody touched between those positions must be equal, exactly; one
//! that somebody did is in flight and asked again. So nothing is frozen, no read of the source is
//! long, and there are no false alarms.
//!
//! *What was proven stays proven until somebody touches it*: chunks are kept in the ledger with
//! the position they were proven at, and the changelog names every row that was touched since. So
//! a comparison costs what the changes cost, and a share of the rest is read anew each time for
//! what nobody has written down ([`due`]).
//!
//! Begin with [`verify`].

mod alike;
mod due;
pub mod image;
pub mod invariant;
mod meeting;
mod order;
pub mod parity;
mod parts;
pub mod repair;
mod settle;
pub mod soundness;
pub mod still;
mod stretches;
mod sum;
mod touched;
pub(crate) mod unseen;
pub mod verdict;
mod walk;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::Client;

pub(crate) use self::order::name_of;

use self::due::{Touched, Wants};
use self::verdict::{Drift, LeftOut, Outcome, ScopeWord, TableVerdict, Verdict, VerdictPosition};
use self::walk::Prepared;
use crate::change::{Lineage, Position};
use crate::daemon::{self, Config, blueprint};
use crate::mapping::Mapping;
use crate::source::Survey;
use crate::source::changelog::Plan;
use crate::source::schema::SkippedKind;
use crate::source::thread::SourceThread;
use crate::target::checks::{self, CheckState};
use crate::target::{self, chunks, connect, ledger, proof, verifications};

/// Differences that are listed; all are counted.
pub const LISTED_MAX: usize = 100;

/// Everything is read again within a day, a twenty-fourth of it in every hourly run.
pub const REREAD: Duration = Duration::from_secs(24 * 60 * 60);

/// What is to be compared.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Only this table.
    pub table: Option<String>,
    /// Read everything, whatever was proven before.
    pub is_full: bool,
    /// Compare what was touched since then, and nothing else.
    pub since: Option<Since>,
    /// Everything is to be read again within this time.
    pub reread: Duration,
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

impl Default for Scope {
    fn default() -> Self {
        Self {
            table: None,
            is_full: false,
            since: None,
            reread: REREAD,
            shows_values: false,
            lists_all: false,
            invariants: invariant::Invariants::new(),
            queries: parity::Queries::new(),
            rows_per_second: None,
        }
    }
}

/// From where on changes are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// After this entry of the changelog.
    Position(Position),
    /// Not older than this.
    Ago(Duration),
}

impl std::str::FromStr for Since {
    type Err = String;

    /// Reads a position, `4711`, or a time span, `2h`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(position) => Ok(Self::Position(Position(position))),
            Err(_) => crate::config::parse_duration(text).map(Self::Ago),
        }
    }
}

impl Scope {
    fn word(&self) -> ScopeWord {
        match (self.since, self.is_full) {
            (Some(_), _) => ScopeWord::Since,
            (None, true) => ScopeWord::Full,
            (None, false) => ScopeWord::Changes,
        }
    }

    /// What is due; `None` if only what was touched is asked for.
    fn wants(&self) -> Option<Wants> {
        match self.word() {
            ScopeWord::Since => None,
            ScopeWord::Full => Some(Wants::All),
            ScopeWord::Changes => Some(Wants::Share { reread: self.reread }),
        }
    }
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
    /// A second session for digests of stretches and for rows by their keys, whose plans are not
    /// left to chance.
    by_index: Client,
    schema: String,
    lineage: Lineage,
    plan: Arc<Plan>,
    survey: Arc<Survey>,
    scope: Scope,
    /// After which entry changes are looked at, if that was asked for.
    since: Option<Position>,
    begun: Instant,
    rows_read: AtomicU64,
    /// Counts the comparisons of this target: samples are others each time.
    number: i64,
    /// Set where neither side moves and their positions do not compare.
    still: Option<still::Sink>,
    /// What differs is put right, too.
    repairs: Option<unseen::Repairs>,
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

    /// Positions in the plan of the tables that were asked for.
    fn wanted(&self) -> Result<Vec<usize>, Error> {
        let mut wanted: Vec<usize> = (0..self.plan.mappings.len()).collect();
        if let Some(name) = &self.scope.table {
            wanted.retain(|at| self.mapping(*at).table.name.eq_ignore_ascii_case(name));
            if wanted.is_empty() {
                return Err(Error::NoTable { name: name.clone() });
            }
        }
        Ok(wanted)
    }
}

/// Compares both sides, says what differs, and notes what was proven and the verdict in the
/// ledger. Nothing else is written.
///
/// Works beside a running sidecar, and without one as far as everything has been applied: rows with
/// changes that nobody applies are in flight, and the verdict is incomplete. After a crash what
/// was proven stays so, and the next comparison of the same kind goes on behind it.
pub async fn verify(config: &Config, scope: Scope) -> Result<Verdict, Error> {
    let (sides, stored, mut left_out) = both_sides(config, scope).await?;
    if let Some(name) = &sides.scope.table {
        left_out.retain(|left_out| left_out.name.eq_ignore_ascii_case(name));
    }
    let proven_to = stored.standing.applied.position;
    let (compared, sound) =
        tokio::join!(compare_tables(&sides, proven_to), soundness::check(&sides, &config.source));
    let ((tables, mut drift), sound) = (compared?, sound?);
    for table in sides.wanted()? {
        let mapping = sides.mapping(table);
        left_out.extend(image::not_compared(mapping).into_iter().map(|column| LeftOut {
            name: format!("{}.{column}", mapping.table.name),
            reason: "the server casts its values, and what came of them is not compared".into(),
            is_missing: false,
        }));
    }
    let (mut invariants, mut parity, mut checks) = (Vec::new(), Vec::new(), Vec::new());
    if sides.scope.table.is_none() {
        let mappings = &sides.plan.mappings;
        checks = checks::look(&sides.client, &sides.schema, mappings).await?;
        checks.retain(|check| check.state != CheckState::Ok);
        checks.extend(sound);
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
    let mut verdict = Verdict {
        verdict: Outcome::Incomplete,
        scope: sides.scope.word(),
        position,
        tables,
        drift,
        drift_rows,
        in_flight,
        invariants,
        parity,
        checks,
        left_out,
        seconds: sides.begun.elapsed().as_secs_f64(),
    };
    verdict.verdict = verdict.outcome();
    chunks::commit_soon(&sides.client, false).await?;
    note(&sides, &verdict).await?;
    Ok(verdict)
}

/// Both sides, where the target stands, and what does not travel.
async fn both_sides(
    config: &Config,
    scope: Scope,
) -> Result<(Sides, ledger::Stored, Vec<LeftOut>), Error> {
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
    let left_out = not_travelling(&survey, &known, &plan);
    let (by_index, _) =
        connect::connect(&config.target, "lite2pg verify").await.map_err(target::Error::from)?;
    proof::go_by_index(&by_index).await?;
    chunks::commit_soon(&client, true).await?;
    let number = verifications::newest(&client).await?;
    let since = match scope.since {
        None => None,
        Some(Since::Position(position)) => Some(position),
        Some(Since::Ago(ago)) => {
            let age_ms = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
            let found = source.run(move |source| source.position_ago(age_ms)).await?;
            // Where nobody can tell, all entries are asked for, and some of those are gone: the
            // tables are read whole.
            Some(found.unwrap_or(Position(0)))
        }
    };
    let sides = Sides {
        source,
        client,
        by_index,
        schema: config.target_schema.clone(),
        lineage: stored.lineage.clone(),
        plan,
        survey: Arc::new(survey),
        scope,
        since,
        begun,
        rows_read: AtomicU64::new(0),
        number,
        still: None,
        repairs: None,
    };
    Ok((sides, stored, left_out))
}

/// Compares the rows of all tables that were asked for; changes up to `proven_to` are on the target
/// already.
async fn compare_tables(
    sides: &Sides,
    proven_to: Position,
) -> Result<(Vec<TableVerdict>, Vec<Drift>), Error> {
    let wants = sides.scope.wants();
    let mut prepared = Vec::new();
    for table in sides.wanted()? {
        prepared.push(Prepared::of(sides, table, wants).await?);
    }
    let since = |prepared: &Prepared| sides.since.or_else(|| prepared.since());
    let positions: HashMap<_, _> = prepared
        .iter()
        .filter_map(|prepared| Some((sides.mapping(prepared.table).id, since(prepared)?)))
        .collect();
    let mut touched = touched::since(sides, &positions).await?;
    let quarantined = ledger::quarantined(&sides.client).await?;
    let (mut tables, mut drift) = (Vec::new(), Vec::new());
    for prepared in prepared {
        let id = sides.mapping(prepared.table).id;
        let touched = touched.remove(&id).unwrap_or(Touched::Unknown);
        let (mut verdict, differing) =
            walk::table(sides, prepared, touched, wants, proven_to).await?;
        let aside = quarantined.get(&id).copied().unwrap_or(0);
        verdict.quarantined = u64::try_from(aside).unwrap_or(0);
        tracing::info!(table = %verdict.name, rows = verdict.rows_compared,
            drift = verdict.drift_rows(), in_flight = verdict.in_flight, "compared");
        tables.push(verdict);
        drift.extend(differing);
    }
    Ok((tables, drift))
}

/// One row of `lite2pg.verifications`.
async fn note(sides: &Sides, verdict: &Verdict) -> Result<(), Error> {
    let applied = verdict.position.applied;
    let (head, lag_ms) = sides
        .source
        .run(move |source| {
            let head = source.head()?.map_or(applied, |head| head.position);
            Ok::<_, crate::source::Error>((head, source.lag_ms(applied)?))
        })
        .await?;
    let json = |value: Result<serde_json::Value, serde_json::Error>| {
        value.expect("counts and names are JSON").to_string()
    };
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let drift: Vec<Drift> =
        verdict.drift.iter().take(LISTED_MAX).map(Drift::without_values).collect();
    let parity: Vec<_> = verdict.parity.iter().map(parity::Finding::without_values).collect();
    let (rows, bytes) = verdict
        .tables
        .iter()
        .fold((0, 0), |(rows, bytes), table| (rows + table.rows_compared, bytes + table.bytes));
    sides
        .client
        .execute(
            "insert into lite2pg.verifications
                 (verdict, source_id, generation, position, only_table, is_full, drift_rows,
                  in_flight, quarantined, seconds, tables, left_out, since, rows_compared, bytes,
                  lag_changes, lag_ms, drift, invariants, parity, checks)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::jsonb, $12::text::jsonb,
                     $13, $14, $15, $16, $17, $18::text::jsonb, $19::text::jsonb,
                     $20::text::jsonb, $21::text::jsonb)",
            &[
                &verdict.verdict.as_str(),
                &verdict.position.lineage.source_id,
                &verdict.position.lineage.generation,
                &applied.0,
                &sides.scope.table,
                &sides.scope.is_full,
                &count(verdict.drift_rows),
                &count(verdict.in_flight),
                &count(verdict.quarantined()),
                &verdict.seconds,
                &json(serde_json::to_value(&verdict.tables)),
                &json(serde_json::to_value(&verdict.left_out)),
                &sides.since.map(|position| position.0),
                &count(rows),
                &count(bytes),
                &(head.0 - applied.0).max(0),
                &lag_ms,
                &json(serde_json::to_value(&drift)),
                &json(serde_json::to_value(&verdict.invariants)),
                &json(serde_json::to_value(&parity)),
                &json(serde_json::to_value(&verdict.checks)),
            ],
        )
        .await
        .map(drop)
        .map_err(|error| target::Error::query("note the verdict")(error).into())
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
