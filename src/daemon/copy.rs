//! The first fill: chunks from the source, side by side into the target.
//!
//! A few workers, each with a connection of its own, take lanes from a queue; each reads a chunk
//! on the source's thread and writes it with its progress in one transaction. So while one worker
//! reads, another is being served by PostgreSQL, and memory holds a chunk per worker. After the
//! rows come the keys; other indexes wait until the target is in step, because rows that moved
//! during the copy may stand twice until then.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio_postgres::Client;

use super::prepare::Session;
use super::progress::{Reporter, Tally, Walk};
use super::{Config, Error, OnUnmappable, Run, Stop};
use crate::change::Place;
use crate::failpoint;
use crate::source::changelog::Plan;
use crate::source::copy::{Chunk, ChunkRead, Cursor, Lane, Slice};
use crate::source::thread::SourceThread;
use crate::source::{self, Source};
use crate::table::Ident;
use crate::target::attend::Attendant;
use crate::target::copy::{Arrived, write_chunk};
use crate::target::explain::explain;
use crate::target::ledger::{self, Phase, Progress};
use crate::target::{self, build, connect};

/// Bytes of rows in one chunk: large enough that BEGIN and COMMIT are not felt, small enough that
/// a crash repeats little and a handful of them fit in memory.
const CHUNK_BYTES: usize = 2 * 1024 * 1024;

/// A lane and where it stands.
struct Task {
    lane: Lane,
    cursor: Cursor,
    /// Where it goes by rowid, what lies ahead.
    walk: Option<Walk>,
}

/// What the workers share.
struct Shared {
    plan: Arc<Plan>,
    /// What every chunk proves before it is read.
    place: Place,
    queue: Mutex<VecDeque<Task>>,
    tally: Arc<Tally>,
    rows_limit: Option<DefaultDirectRateLimiter>,
    bytes_limit: Option<DefaultDirectRateLimiter>,
}

/// Copies every table that is not copied yet. Returns false if told to stop before the end.
pub(crate) async fn copy(run: &mut Run, session: &mut Session) -> Result<bool, Error> {
    if session.stored.phase != Phase::Copying {
        return Ok(true);
    }
    let (tasks, to_walk) = lay_out(run, session).await?;
    let shared = Arc::new(Shared {
        plan: session.plan.clone(),
        place: session.place(),
        queue: Mutex::new(tasks),
        tally: Arc::new(Tally::begin(to_walk)),
        rows_limit: limiter(run.config.copy_rows_per_second),
        bytes_limit: limiter(run.config.copy_bytes_per_second),
    });
    let progress = Reporter::begin(shared.tally.clone());
    let outcome = run_workers(run, session, &shared).await;
    progress.end().await;
    if outcome.is_err() && 0 < shared.tally.rows() {
        // Chunks that were committed stay; the next failure is the first again.
        run.got_somewhere();
    }
    match outcome? {
        Turn::Stopped => return Ok(false),
        // The plan's types changed: begin a new session with them.
        Turn::Widened => return Err(source::Error::SchemaChanged.into()),
        Turn::Done => {}
    }
    failpoint::hit(failpoint::COPY_ROWS_DONE);
    tracing::info!(rows = shared.tally.rows(), "rows copied; building keys");
    session.attendant.attend(build_keys(run, session)).await?;
    let place = session.place();
    let head = run.source.run(move |source| source.prove(&place)).await?;
    let told = ledger::copied_with_quarantine(&session.client, head.position);
    session.attendant.attend(told).await?;
    let enter =
        ledger::enter(&session.client, session.epoch, Phase::CatchingUp, Some(head.position));
    session.attendant.attend(enter).await?;
    failpoint::hit(failpoint::COPY_DONE);
    let stored = ledger::position(&session.client).await?;
    session.stored = stored
        .ok_or_else(|| target::Error::Position { what: "the position row is gone".to_owned() })?;
    tracing::info!("copied; catching up with what was written meanwhile");
    run.got_somewhere();
    Ok(true)
}

fn limiter(per_second: Option<NonZeroU32>) -> Option<DefaultDirectRateLimiter> {
    per_second.map(|limit| RateLimiter::direct(Quota::per_second(limit)))
}

/// Finds the lanes that are not done, laying out those of tables that were not begun; and how many
/// rowids lie ahead.
async fn lay_out(run: &Run, session: &Session) -> Result<(VecDeque<Task>, u64), Error> {
    let known = ledger::tables(&session.client).await?;
    let mut progress = ledger::progress(&session.client).await?;
    let lanes_max = i32::try_from(run.config.copy_connections).unwrap_or(i32::MAX);
    let mut tasks = VecDeque::new();
    let mut to_walk: u64 = 0;
    for (table, mapping) in session.plan.mappings.iter().enumerate() {
        let is_copying =
            known.iter().any(|known| known.id == mapping.id && known.state == "copying");
        if !is_copying {
            continue;
        }
        let lanes = match progress.remove(&mapping.id) {
            Some(lanes) => lanes,
            None => lay_lanes(run, session, table, lanes_max).await?,
        };
        let plan = session.plan.clone();
        let ends = run.source.run(move |source| source.ends(&plan, table)).await?;
        for lane in lanes {
            if lane.done {
                continue;
            }
            let cursor = Cursor::from_json(&lane.cursor).ok_or_else(|| {
                target::Error::Position { what: format!("copy cursor {}", lane.cursor) }
            })?;
            let lane = Lane { table, number: lane.lane, until: lane.until };
            let walk = ends.and_then(|ends| walk(&cursor, lane.until, ends));
            // Keys may span all of 64 bits, in many tables.
            to_walk = to_walk.saturating_add(walk.map_or(0, |walk| walk.ahead()));
            tasks.push_back(Task { lane, cursor, walk });
        }
    }
    Ok((tasks, to_walk))
}

/// What lies ahead of a cursor in a lane of a table whose rowids have these ends.
fn walk(cursor: &Cursor, until: Option<i64>, (least, greatest): (i64, i64)) -> Option<Walk> {
    let behind = match cursor {
        Cursor::Start => least.saturating_sub(1),
        Cursor::Rowid(rowid) => *rowid,
        Cursor::Key(_) => return None,
    };
    Some(Walk::new(behind, until.unwrap_or(greatest)))
}

/// Divides a table into lanes and writes them down, so that a restart finds the same ones.
async fn lay_lanes(
    run: &Run,
    session: &Session,
    table: usize,
    lanes_max: i32,
) -> Result<Vec<Progress>, Error> {
    let plan = session.plan.clone();
    let lanes = run.source.run(move |source| source.lanes(&plan, table, lanes_max)).await?;
    let laid: Vec<Progress> = lanes
        .iter()
        .enumerate()
        .map(|(number, lane)| Progress {
            lane: lane.number,
            until: lane.until,
            cursor: Source::lane_start(&lanes, number).to_json(),
            rows: 0,
            done: false,
        })
        .collect();
    ledger::lay_lanes(&session.client, session.plan.mappings[table].id, &laid).await?;
    Ok(laid)
}

/// How the workers came to an end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Done,
    Stopped,
    Widened,
}

async fn run_workers(run: &Run, session: &Session, shared: &Arc<Shared>) -> Result<Turn, Error> {
    let lanes = shared.queue.lock().unwrap_or_else(PoisonError::into_inner).len();
    let workers = run.config.copy_connections.min(lanes);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..workers {
        let worker = Worker {
            config: run.config.clone(),
            source: run.source.clone(),
            stop: run.stop.clone(),
            epoch: session.epoch,
            shared: shared.clone(),
        };
        tasks.spawn(worker.work());
    }
    let mut turn = Turn::Done;
    while let Some(ended) = tasks.join_next().await {
        // Leaving early drops the set, which ends the other workers at their next await; their
        // open transactions go with their connections.
        match ended.expect("a worker neither panics nor is cancelled")? {
            Turn::Done => {}
            Turn::Widened => return Ok(Turn::Widened),
            Turn::Stopped => turn = Turn::Stopped,
        }
    }
    Ok(turn)
}

/// A worker's connection, and who knows whether it is alive.
struct Line {
    client: Client,
    attendant: Attendant,
}

struct Worker {
    config: Config,
    source: SourceThread,
    stop: Stop,
    epoch: i64,
    shared: Arc<Shared>,
}

impl Worker {
    async fn work(self) -> Result<Turn, Error> {
        let (client, _) = connect::connect(&self.config.target, "lite2pg copy")
            .await
            .map_err(target::Error::from)?;
        build::be_a_replica(&client).await?;
        let attendant = Attendant::of(&client, &self.config.target).await?;
        let line = Line { client, attendant };
        while let Some(task) = self.next_task() {
            match self.copy_lane(&line, task).await? {
                Turn::Done => {}
                turn => return Ok(turn),
            }
        }
        Ok(Turn::Done)
    }

    fn next_task(&self) -> Option<Task> {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    async fn copy_lane(&self, line: &Line, task: Task) -> Result<Turn, Error> {
        let Task { lane, mut cursor, mut walk } = task;
        loop {
            if self.stop.is_given() {
                return Ok(Turn::Stopped);
            }
            let (shared, wanted, after) = (self.shared.clone(), lane.clone(), cursor.clone());
            let read =
                self.source.run(move |source| gather(source, &shared, &wanted, after)).await?;
            match read {
                ChunkRead::Rows(chunk) => {
                    cursor = chunk.cursor.clone();
                    let is_last = chunk.is_last;
                    let (rows, bytes) = (chunk.rows, chunk.tuples.len() as u64);
                    if self.write(line, chunk).await? == Turn::Stopped {
                        return Ok(Turn::Stopped);
                    }
                    let walked = walk.as_mut().map_or(0, |walk| match cursor {
                        Cursor::Rowid(rowid) if !is_last => walk.go_on(rowid),
                        _ => walk.go_on(i64::MAX),
                    });
                    self.shared.tally.add(rows, bytes, walked);
                    if is_last {
                        return Ok(Turn::Done);
                    }
                }
                ChunkRead::Widen { table, column, to } => {
                    self.widen(line, table, column, to).await?;
                    return Ok(Turn::Widened);
                }
            }
        }
    }

    /// Writes a chunk once the limits allow it. A stop that comes first leaves it unwritten: the
    /// next run reads it again.
    async fn write(&self, line: &Line, chunk: Chunk) -> Result<Turn, Error> {
        let bytes = chunk.tuples.len();
        let mut stop = self.stop.clone();
        tokio::select! {
            () = self.await_permits(chunk.rows, bytes as u64) => {}
            () = stop.given() => return Ok(Turn::Stopped),
        }
        let mapping = &self.shared.plan.mappings[chunk.lane.table];
        let rows = chunk.rows;
        let arrived = Arrived {
            lane: chunk.lane.number,
            until: chunk.lane.until,
            tuples: chunk.tuples.into(),
            rows,
            quarantined: &chunk.quarantined,
            cursor: chunk.cursor.to_json(),
            is_last: chunk.is_last,
            read_at: chunk.read_at.0,
            halts: self.config.on_unmappable == OnUnmappable::Halt,
        };
        let schema = Ident::new(&self.config.target_schema);
        let written = write_chunk(&line.client, &schema, mapping, self.epoch, arrived);
        if let Err(error) = line.attendant.attend(written).await {
            let mappings = &self.shared.plan.mappings;
            let schema = &self.config.target_schema;
            return Err(explain(&line.client, true, schema, mappings, error).await.into());
        }
        Ok(Turn::Done)
    }

    async fn await_permits(&self, rows: u64, bytes: u64) {
        let (config, shared) = (&self.config, &self.shared);
        wait_for(shared.rows_limit.as_ref(), config.copy_rows_per_second, rows).await;
        wait_for(shared.bytes_limit.as_ref(), config.copy_bytes_per_second, bytes).await;
    }

    async fn widen(
        &self,
        line: &Line,
        table: usize,
        column: usize,
        to: crate::value::PgType,
    ) -> Result<(), Error> {
        let mut mapping = self.shared.plan.mappings[table].clone();
        let name = mapping.source_name(&mapping.columns[column]).to_owned();
        tracing::info!(table = %mapping.table.name, column = %name, to = to.sql(),
            "a value does not fit the column's type; widened, the table begins again");
        mapping.columns[column].pg = to.into();
        let shape = build::shape(&mapping);
        let schema = &self.config.target_schema;
        let widened = build::widen(&line.client, schema, &mapping, column, to, &shape);
        line.attendant.attend(widened).await?;
        Ok(())
    }
}

/// Reads slices until a chunk is full. Each slice is a read transaction of its own, so that in
/// rollback mode, where slices are short, chunks still have a size worth sending.
fn gather(
    source: &mut Source,
    shared: &Shared,
    lane: &Lane,
    after: Cursor,
) -> Result<ChunkRead, source::Error> {
    let mut whole: Option<Chunk> = None;
    let mut after = after;
    loop {
        let have = whole.as_ref().map_or(0, |chunk| chunk.tuples.len());
        let slice = Slice {
            after: &after,
            bytes_max: CHUNK_BYTES - have,
            may_widen: true,
            place: Some(&shared.place),
        };
        match source.chunk(&shared.plan, lane, slice)? {
            widen @ ChunkRead::Widen { .. } => return Ok(widen),
            ChunkRead::Rows(slice) => {
                after = slice.cursor.clone();
                let chunk = match whole {
                    None => slice,
                    Some(mut chunk) => {
                        chunk.tuples.extend_from_slice(&slice.tuples);
                        chunk.quarantined.extend(slice.quarantined);
                        chunk.rows += slice.rows;
                        Chunk {
                            cursor: slice.cursor,
                            is_last: slice.is_last,
                            read_at: slice.read_at,
                            ..chunk
                        }
                    }
                };
                if chunk.is_last || CHUNK_BYTES <= chunk.tuples.len() {
                    return Ok(ChunkRead::Rows(chunk));
                }
                whole = Some(chunk);
            }
        }
    }
}

/// Waits for `amount` permits; a limiter gives at most its burst at once.
async fn wait_for(
    limiter: Option<&DefaultDirectRateLimiter>,
    burst: Option<NonZeroU32>,
    amount: u64,
) {
    let (Some(limiter), Some(burst)) = (limiter, burst) else { return };
    let mut left = amount;
    while let Some(part) =
        NonZeroU32::new(u32::try_from(left.min(u64::from(burst.get()))).unwrap_or(u32::MAX))
    {
        limiter.until_n_ready(part).await.expect("a part is no larger than the burst");
        left -= u64::from(part.get());
    }
}

async fn build_keys(run: &Run, session: &Session) -> Result<(), Error> {
    let known: HashMap<_, _> = ledger::tables(&session.client)
        .await?
        .into_iter()
        .map(|known| (known.id, known.state))
        .collect();
    for mapping in &session.plan.mappings {
        if known.get(&mapping.id).is_some_and(|state| state == "copying") {
            let schema = &run.config.target_schema;
            match session.keys.get(&mapping.id) {
                Some(key) => build::build_key(&session.client, schema, mapping, key).await?,
                // An adopted table has had its key all along.
                None => ledger::set_state(&session.client, mapping.id, "copied").await?,
            }
        }
    }
    Ok(())
}
