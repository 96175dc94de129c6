//! What the ledger holds of a span of time: comparisons, lag by the minute, incidents.
//!
//! The daemon writes one row a minute; a report reads. Reading asks for nothing but `select`, and
//! takes apart no column of the comparisons whose layout is another module's: JSON stays JSON.
//! What time it is, the server says: it has put the time to every row.

use serde_json::Value;
use tokio_postgres::{Client, Row};

use super::checks::INTEGRITY;
use super::{Error, ledger};
use crate::change::{Lineage, Position};
use crate::verify::verdict::Outcome;

/// How far behind the target was in one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LagMinute {
    /// When it began, in milliseconds since 1970.
    pub begun_ms: i64,
    /// The most changes that waited.
    pub changes_max: i64,
    /// Half of the commits were no later than this.
    pub ms_p50: i64,
    /// Nineteen of twenty were no later than this.
    pub ms_p95: i64,
    /// None was later than this.
    pub ms_max: i64,
    /// Changes that were committed.
    pub applied: i64,
}

/// One comparison of both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its number.
    pub id: i64,
    /// When it ended, in milliseconds since 1970.
    pub at_ms: i64,
    /// `pass`, `fail` or `incomplete`.
    pub verdict: Outcome,
    /// Whose history.
    pub lineage: Lineage,
    /// Where the target stood.
    pub position: Position,
    /// The only table that was compared; `None` for all.
    pub only_table: Option<String>,
    /// Every row was brought home.
    pub is_full: bool,
    /// Only what was touched after this position was compared.
    pub since: Option<Position>,
    /// Rows that differed.
    pub drift_rows: i64,
    /// Rows that were being written whenever they were looked at.
    pub in_flight: i64,
    /// Rows that the target cannot hold.
    pub quarantined: i64,
    /// How long it took.
    pub seconds: f64,
    /// Rows of the source.
    pub rows: i64,
    /// Rows that were compared.
    pub rows_compared: i64,
    /// Bytes that were compared.
    pub bytes: i64,
}

/// What one comparison found beside equal rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// Its number.
    pub id: i64,
    /// The first rows that differed.
    pub drift: Value,
    /// Statements that must give the same.
    pub invariants: Value,
    /// Queries whose answers and times are held against each other.
    pub parity: Value,
    /// What belongs to the tables beside their rows.
    pub checks: Value,
    /// What was not compared.
    pub left_out: Value,
}

/// A table in which one comparison found something.
#[derive(Clone, Debug, PartialEq)]
pub struct Differing {
    /// The comparison.
    pub id: i64,
    /// The table.
    pub name: String,
    /// On the source only.
    pub missing: i64,
    /// On the target only.
    pub extra: i64,
    /// On both, and not the same.
    pub mismatched: i64,
    /// Rows that the target cannot hold.
    pub quarantined: i64,
}

/// How often something that is asked with each comparison came to a state.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    /// `invariant`, `parity` or `check`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What it came to.
    pub state: String,
    /// In so many comparisons.
    pub runs: i64,
}

/// Something that a person should know.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// What kind.
    pub kind: String,
    /// In words.
    pub message: String,
}

/// Everything that a report is made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Records {
    /// How far replication has come; `None` before it began.
    pub phase: Option<ledger::Phase>,
    /// The newest change that the target has.
    pub applied: Option<Position>,
    /// What time it was, in milliseconds since 1970.
    pub now_ms: i64,
    /// The hours that were asked for; all that follows is of these, but for the runs.
    pub window: Window,
    /// Comparisons, the oldest first, of the last 31 days: a streak may reach beyond the window.
    pub runs: Vec<Run>,
    /// Of the newest that failed, and the newest of all tables.
    pub findings: Vec<Findings>,
    /// Tables of the comparisons that failed, the oldest first.
    pub differing: Vec<Differing>,
    /// What else was asked.
    pub tallies: Vec<Tally>,
    /// Lag, the oldest first.
    pub lag: Vec<LagMinute>,
    /// The newest incidents, the newest first.
    pub incidents: Vec<Incident>,
    /// How many incidents there were.
    pub incidents_count: i64,
}

/// Whole hours, of which the last is the one that is under way if a comparison was made in it, and
/// else the one before: an hour whose turn is still to come is not missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// When the first hour began, in milliseconds since 1970.
    pub from_ms: i64,
    /// How many.
    pub hours: i64,
}

impl Window {
    /// The newest `hours` hours.
    pub fn ending(now_ms: i64, hours: i64, runs: &[Run]) -> Self {
        let this = now_ms - now_ms.rem_euclid(HOUR_MS);
        let has_run = runs.iter().any(|run| this <= run.at_ms && run.counts());
        let end = if has_run { this + HOUR_MS } else { this };
        Self { from_ms: end - hours * HOUR_MS, hours }
    }
}

impl Run {
    /// Whether it was about all tables, and about all that was due in them.
    pub fn is_of_all(&self) -> bool {
        self.only_table.is_none() && self.since.is_none()
    }

    /// Whether it says something of the target as a whole: one of a single table, or only of what
    /// was touched, does so when it fails.
    pub fn counts(&self) -> bool {
        self.is_of_all() || self.verdict == Outcome::Fail
    }
}

/// Length of an hour.
pub const HOUR_MS: i64 = 3_600_000;

/// The most hours that may be asked for, and how far back a streak is followed.
pub const HOURS_MAX: i64 = 31 * 24;

/// Incidents that are read; all are counted.
const INCIDENTS_MAX: i64 = 100;

/// Lines of differing tables that are read: a hundred tables that differ for a week.
const DIFFERING_MAX: i64 = 20_000;

/// Older than any report asks for.
const FORGET: &str = "delete from lite2pg.lag where minute < now() - interval '100 days'";

/// Of a minute that was begun by a run before this one, the worse is kept. A run that has lost its
/// target writes nothing.
const NOTE: &str = "
    insert into lite2pg.lag (minute, changes_max, ms_p50, ms_p95, ms_max, applied)
    select to_timestamp($2::bigint / 1000), $3, $4, $5, $6, $7
      from lite2pg.position where id = 1 and epoch = $1
    on conflict (minute) do update
       set changes_max = greatest(lag.changes_max, excluded.changes_max),
           ms_p50 = greatest(lag.ms_p50, excluded.ms_p50),
           ms_p95 = greatest(lag.ms_p95, excluded.ms_p95),
           ms_max = greatest(lag.ms_max, excluded.ms_max),
           applied = lag.applied + excluded.applied";

const NOW: &str = "select (extract(epoch from now()) * 1000)::bigint";

const RUNS: &str = "
    select v.id, (extract(epoch from v.at) * 1000)::bigint, v.verdict, v.source_id, v.generation,
           v.position, v.only_table, v.is_full, v.since, v.drift_rows, v.in_flight, v.quarantined,
           v.seconds, t.rows, greatest(v.rows_compared, t.compared), greatest(v.bytes, t.bytes)
      from lite2pg.verifications v
     cross join lateral (
           select coalesce(sum(coalesce(rows_proven, rows_source)), 0)::bigint as rows,
                  coalesce(sum(rows_compared), 0)::bigint as compared,
                  coalesce(sum(bytes), 0)::bigint as bytes
             from jsonb_to_recordset(v.tables)
               as (rows_source bigint, rows_proven bigint, rows_compared bigint, bytes bigint)) t
     where v.at >= to_timestamp($1::bigint / 1000)
     order by v.at, v.id";

const FINDINGS: &str = "
    select id, drift::text, invariants::text, parity::text, checks::text, left_out::text
      from lite2pg.verifications
     where id in (
           (select max(id) from lite2pg.verifications
             where verdict = 'fail' and at >= to_timestamp($1::bigint / 1000)),
           (select max(id) from lite2pg.verifications
             where only_table is null and since is null
               and at >= to_timestamp($1::bigint / 1000)),
           (select max(v.id) from lite2pg.verifications v, jsonb_array_elements(v.checks) c
             where c->>'name' = $2 and v.at >= to_timestamp($1::bigint / 1000)))";

const DIFFERING: &str = "
    select * from (
        select v.id, t.name, coalesce(t.missing, 0), coalesce(t.extra, 0),
               coalesce(t.mismatched, 0), coalesce(t.quarantined, 0)
          from lite2pg.verifications v,
               jsonb_to_recordset(v.tables) as t (
                   name text, missing bigint, extra bigint, mismatched bigint, quarantined bigint)
         where v.verdict = 'fail' and v.at >= to_timestamp($1::bigint / 1000)
           and 0 < coalesce(t.missing, 0) + coalesce(t.extra, 0) + coalesce(t.mismatched, 0)
                 + coalesce(t.quarantined, 0)
         order by v.id desc, t.name limit $2) newest
     order by id, name";

/// A path in lax mode takes a column that is no list for a list of one.
const TALLIES: &str = "
    select a.kind, a.item->>'name', coalesce(a.item->>'state', 'unknown'), count(*)
      from lite2pg.verifications v
     cross join lateral (
           select 'invariant', jsonb_path_query(v.invariants, 'lax $[*]')
           union all select 'parity', jsonb_path_query(v.parity, 'lax $[*]')
           union all select 'check', jsonb_path_query(v.checks, 'lax $[*]')) as a (kind, item)
     where v.at >= to_timestamp($1::bigint / 1000) and a.item->>'name' is not null
     group by 1, 2, 3 order by 1, 2, 3";

const LAG: &str = "
    select (extract(epoch from minute) * 1000)::bigint, changes_max, ms_p50, ms_p95, ms_max, applied
      from lite2pg.lag where minute >= to_timestamp($1::bigint / 1000) order by minute";

const INCIDENTS: &str = "
    select (extract(epoch from at) * 1000)::bigint, kind, message, count(*) over ()
      from lite2pg.incidents where at >= to_timestamp($1::bigint / 1000)
     order by id desc limit $2";

/// Writes a minute, unless this run has lost the target.
pub async fn note_lag(client: &Client, epoch: i64, minute: &LagMinute) -> Result<(), Error> {
    client
        .execute(
            NOTE,
            &[
                &epoch,
                &minute.begun_ms,
                &minute.changes_max,
                &minute.ms_p50,
                &minute.ms_p95,
                &minute.ms_max,
                &minute.applied,
            ],
        )
        .await
        .map(drop)
        .map_err(Error::query("note the lag of a minute"))
}

/// Deletes minutes that no report asks for any more.
pub async fn forget_old_lag(client: &Client) -> Result<(), Error> {
    client.execute(FORGET, &[]).await.map(drop).map_err(Error::query("forget old lag"))
}

/// Reads what happened in the last `hours` hours. One snapshot, so that no run is counted and not
/// found.
pub async fn read(client: &Client, hours: i64) -> Result<Records, Error> {
    let doing = "begin to read the ledger";
    client
        .batch_execute("begin isolation level repeatable read read only")
        .await
        .map_err(Error::query(doing))?;
    let now = rows(client, NOW, &[], "ask what time it is").await?;
    let now_ms: i64 = now.first().map_or(0, |row| row.get(0));
    let stored = ledger::position(client).await?;
    let streak_from = now_ms - (HOURS_MAX + 1) * HOUR_MS;
    let runs = rows(client, RUNS, &[&streak_from], "read the verifications").await?;
    let runs: Vec<Run> = runs.iter().map(run).collect();
    let window = Window::ending(now_ms, hours, &runs);
    let from = window.from_ms;
    let found =
        rows(client, FINDINGS, &[&from, &INTEGRITY], "read what verifications found").await?;
    let doing = "read which tables differed";
    let differing = rows(client, DIFFERING, &[&from, &DIFFERING_MAX], doing).await?;
    let tallies = rows(client, TALLIES, &[&from], "count what verifications asked").await?;
    let lag = rows(client, LAG, &[&from], "read the lag").await?;
    let incidents = rows(client, INCIDENTS, &[&from, &INCIDENTS_MAX], "read the incidents").await?;
    client.batch_execute("commit").await.map_err(Error::query("end reading the ledger"))?;
    Ok(Records {
        now_ms,
        window,
        phase: stored.as_ref().map(|stored| stored.phase),
        applied: stored.as_ref().map(|stored| stored.standing.applied.position),
        runs,
        findings: found.iter().map(findings).collect::<Result<_, _>>()?,
        differing: differing.iter().map(differing_table).collect(),
        tallies: tallies.iter().map(tally).collect(),
        lag: lag.iter().map(lag_minute).collect(),
        incidents_count: incidents.first().map_or(0, |row| row.get(3)),
        incidents: incidents
            .iter()
            .map(|row| Incident { at_ms: row.get(0), kind: row.get(1), message: row.get(2) })
            .collect(),
    })
}

async fn rows(
    client: &Client,
    sql: &str,
    parameters: &[&(dyn postgres_types::ToSql + Sync)],
    doing: &'static str,
) -> Result<Vec<Row>, Error> {
    client.query(sql, parameters).await.map_err(Error::query(doing))
}

fn run(row: &Row) -> Run {
    Run {
        id: row.get(0),
        at_ms: row.get(1),
        verdict: Outcome::parse(row.get(2)),
        lineage: Lineage { source_id: row.get(3), generation: row.get(4) },
        position: Position(row.get(5)),
        only_table: row.get(6),
        is_full: row.get(7),
        since: row.get::<_, Option<i64>>(8).map(Position),
        drift_rows: row.get(9),
        in_flight: row.get(10),
        quarantined: row.get(11),
        seconds: row.get(12),
        rows: row.get(13),
        rows_compared: row.get(14),
        bytes: row.get(15),
    }
}

fn findings(row: &Row) -> Result<Findings, Error> {
    let json = |at: usize| {
        let text: String = row.get(at);
        let parsed = serde_json::from_str(&text);
        parsed.map_err(|error| Error::Position { what: format!("a verification: {error}") })
    };
    Ok(Findings {
        id: row.get(0),
        drift: json(1)?,
        invariants: json(2)?,
        parity: json(3)?,
        checks: json(4)?,
        left_out: json(5)?,
    })
}

fn differing_table(row: &Row) -> Differing {
    Differing {
        id: row.get(0),
        name: row.get::<_, Option<String>>(1).unwrap_or_default(),
        missing: row.get(2),
        extra: row.get(3),
        mismatched: row.get(4),
        quarantined: row.get(5),
    }
}

fn tally(row: &Row) -> Tally {
    Tally { kind: row.get(0), name: row.get(1), state: row.get(2), runs: row.get(3) }
}

fn lag_minute(row: &Row) -> LagMinute {
    LagMinute {
        begun_ms: row.get(0),
        changes_max: row.get(1),
        ms_p50: row.get(2),
        ms_p95: row.get(3),
        ms_max: row.get(4),
        applied: row.get(5),
    }
}
