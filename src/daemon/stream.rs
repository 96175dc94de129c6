//! Replay: tail, apply, wait for more.
//!
//! Reader and applier overlap by one batch where more is known to come: while PostgreSQL works on
//! one, SQLite reads the next. The reader goes on from what it has read, the applier from what is
//! committed; after any error both begin again at the position the target has stored.
//!
//! File events wake the loop; without them it looks every poll interval, which is enough.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;
use tokio_postgres::Client;

use super::lag::Gatherer;
use super::prepare::Session;
use super::unseen::Prover;
use super::{Ended, Error, OnUnmappable, Run};
use crate::batch::Batch;
use crate::change::{Anchor, TableId};
use crate::failpoint;
use crate::source::changelog::{Budget, Keep, Prunable};
use crate::source::{self, watch};
use crate::target::apply::{Applied, Applier, Limits};
use crate::target::attend::Attendant;
use crate::target::build::Built;
use crate::target::explain::explain;
use crate::target::history::{self, LagMinute};
use crate::target::ledger::{self, KnownTable, Phase};
use crate::target::unseen::Dirty;
use crate::target::{self, build, rebuilt, trail};
use crate::value::PgType;
use crate::verify::unseen::Outcome;

/// What one batch may hold. 20,000 rows of 100 bytes are past the size from which larger batches
/// are no faster, and two of them, with their copies on the way, stay far below 128 MiB.
const BUDGET: Budget = Budget { changes_max: 20_000, bytes_max: 4 * 1024 * 1024 };

/// Changelog entries in one transaction while a backlog is worked off. So many row versions die at
/// most in vain if it is rolled back.
const TRANSACTION_CHANGES_MAX: u64 = 5_000_000;

/// A batch that is larger, which takes a single huge row, is alone in memory.
const READ_AHEAD_BYTES_MAX: usize = 2 * BUDGET.bytes_max;

/// How long a file event may precede the commit it announces.
const SECOND_LOOKS: Duration = Duration::from_millis(50);

/// Even when nothing seems to happen, lineage is proven this often.
const PROOF_INTERVAL: Duration = Duration::from_secs(5);

/// How often to look whether a table that the target cannot take can be taken by now.
const STOPPED_INTERVAL: Duration = Duration::from_secs(30);

/// A table that is missing for so long is gone. A migration that makes one anew has it missing for
/// some milliseconds, if it does not take one transaction for all.
const GONE_FOR: Duration = Duration::from_secs(2);

/// Rounds of pruning before looking for changes again: a tenth of a second, at most.
const PRUNE_ROUNDS_MAX: usize = 20;

/// Pause between two rounds, during which the application has the file to itself.
const PRUNE_PAUSE: Duration = Duration::from_millis(5);

/// How often to forget lag that is older than anybody asks for.
const LAG_PRUNE_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// How often to merge the rows of the trail that are old enough.
const TRAIL_MERGE_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// How often to look for a moment to prune in, once something is to be pruned.
const PRUNE_TRY_INTERVAL: Duration = Duration::from_millis(500);

/// Replays until told to stop, or until in step if that is all that was asked.
pub(crate) async fn stream(run: &mut Run, session: Session) -> Result<Ended, Error> {
    let Session { client, attendant, plan, stopped, lineage, epoch, stored, gone, .. } = session;
    let schema = &run.config.target_schema;
    let limits =
        Limits { open_max: run.config.transaction_max, changes_max: TRANSACTION_CHANGES_MAX };
    let halts = run.config.on_unmappable == OnUnmappable::Halt;
    let applier = Applier::new(client, schema, epoch, stored.standing, limits, halts);
    let applier = attendant.attend(applier).await?;
    tracing::info!(from = stored.standing.applied.position.0, "replaying");
    let bell = Arc::new(Notify::new());
    let watch =
        if run.config.file_events { watch::watch(&run.config.source, bell.clone()) } else { None };
    let mut stream = Stream {
        read: stored.standing.applied,
        plan,
        stopped,
        begun: Instant::now(),
        lineage,
        applier,
        attendant,
        bell,
        phase: stored.phase,
        is_built: false,
        epoch,
        data_version: None,
        proven: Instant::now(),
        pruned: Instant::now(),
        tried_to_prune: Instant::now(),
        lag: Gatherer::new(now_ms()),
        lag_pruned: None,
        trail_merged: None,
        gone,
        prover: None,
        left_told: HashSet::new(),
    };
    let ended = stream.replay(run).await;
    drop(watch);
    match ended {
        Ok(ended) => {
            // What is left of the minute would be lost with each restart.
            let rest = stream.lag.take(now_ms());
            stream.note_lag(rest).await?;
            Ok(ended)
        }
        Err(Error::Source(source::Error::Outgrown { table, column, to })) => {
            stream.outgrow(table, column, to).await?;
            // A new session copies the table again.
            Err(source::Error::SchemaChanged.into())
        }
        error => error,
    }
}

struct Stream {
    /// Where the reader is; ahead of the applier by at most one batch.
    read: Anchor,
    plan: Arc<crate::source::changelog::Plan>,
    /// Tables that the target cannot take, and since when that has been believed.
    stopped: Vec<String>,
    begun: Instant,
    lineage: crate::change::Lineage,
    applier: Applier,
    attendant: Attendant,
    bell: Arc<Notify>,
    phase: Phase,
    /// What waits for the target to be in step has been looked for in this session.
    is_built: bool,
    epoch: i64,
    /// SQLite's `data_version` before the last tail that found nothing.
    data_version: Option<i64>,
    proven: Instant,
    /// When there was last nothing to prune.
    pruned: Instant,
    tried_to_prune: Instant,
    /// The minute that is under way.
    lag: Gatherer,
    /// When old lag was last forgotten, in this session.
    lag_pruned: Option<Instant>,
    /// When the trail was last merged, in this session.
    trail_merged: Option<Instant>,
    /// Tables that the source does not have any more; their targets go if they do not come back.
    gone: Vec<KnownTable>,
    /// Proves the tables whose writes may have gone unseen, once in step.
    prover: Option<Prover>,
    /// Tables of which it has been said that rows are left.
    left_told: HashSet<TableId>,
}

impl Stream {
    async fn replay(&mut self, run: &mut Run) -> Result<Ended, Error> {
        let mut next = self.tail(run).await?;
        loop {
            self.note_what_is_proven(run).await?;
            let Some(batch) = next else {
                if let Some(ended) = self.at_head(run).await? {
                    return Ok(ended);
                }
                next = self.tail(run).await?;
                continue;
            };
            failpoint::hit(failpoint::REPLAY_READ);
            let through = batch.through;
            self.read = through;
            let waiting = batch.read_through.0 - self.applier.standing().applied.position.0;
            self.lag.read(batch.oldest_ms, batch.changes, waiting);
            // Before it was in step for the first time, what it lacks is the rest of the copy.
            if self.phase == Phase::Streaming {
                run.tell.unapplied_since(self.lag.oldest_ms());
            }
            next = self.apply(run, batch).await?;
            self.note_lag_if_due().await?;
            self.tell_incidents(run).await?;
            // A stop does not wait for a backlog: what is committed stays, the rest is replayed.
            if run.stop.is_given() {
                if self.applier.is_pending() {
                    self.applier.roll_back().await?;
                    self.lag.rolled_back();
                }
                return Ok(Ended::Stopped);
            }
            // A writer that never rests leaves no moment with nothing to read.
            let standing = self.applier.standing();
            if standing.applied == through
                && standing.is_consistent()
                && !self.applier.is_pending()
                && let Some(ended) = self.at_consistent_state(run).await?
            {
                return Ok(ended);
            }
        }
    }

    /// Notes that a column is to have another type from now on.
    async fn outgrow(&mut self, table: TableId, column: usize, to: PgType) -> Result<(), Error> {
        if self.applier.is_pending() {
            self.applier.roll_back().await?;
        }
        let mapping = self.plan.mappings.iter().find(|mapping| mapping.id == table);
        let mapping = mapping.expect("the reader reads by the plan");
        tracing::info!(table = %mapping.table.name,
            column = %mapping.source_name(&mapping.columns[column]), to = to.sql(),
            "an untyped column got a value that its type does not hold; widened");
        build::outgrow(self.applier.client(), mapping, column, to).await?;
        Ok(())
    }

    /// Applies a batch, and reads the next one meanwhile if there is more to come.
    async fn apply(&mut self, run: &mut Run, batch: Batch) -> Result<Option<Batch>, Error> {
        let reads_ahead = !batch.is_consistent() && batch.bytes <= READ_AHEAD_BYTES_MAX;
        let applied = if reads_ahead {
            let ahead = tail(run, self.plan.clone(), self.lineage.clone(), batch.through);
            let applied = self.applier.apply(&self.plan.mappings, &batch);
            let (applied, ahead) = tokio::join!(self.attendant.attend(applied), ahead);
            match applied {
                Ok(applied) => {
                    run.got_somewhere();
                    self.note_commit(run, applied);
                    return ahead;
                }
                refused => refused,
            }
        } else {
            let applied = self.applier.apply(&self.plan.mappings, &batch);
            self.attendant.attend(applied).await
        };
        match applied {
            Ok(applied @ Applied::Committed(standing)) => {
                run.got_somewhere();
                self.note_commit(run, applied);
                tracing::debug!(
                    applied = standing.applied.position.0,
                    changes = batch.changes,
                    rows = batch.rows(),
                    "applied"
                );
                drop(batch);
                self.tail(run).await
            }
            Ok(Applied::Pending) => {
                drop(batch);
                self.tail(run).await
            }
            Err(target::Error::Stricter { table }) => {
                let mapping = self.plan.mappings.iter().find(|mapping| mapping.id == table);
                tracing::warn!(
                    table = mapping.map_or("", |mapping| &mapping.table.name),
                    "a unique index of the target forbids rows that \
                    the source holds; going row by row"
                );
                self.applier.roll_back_and_go_row_by_row(table).await?;
                self.lag.rolled_back();
                self.read = self.applier.standing().applied;
                self.tail(run).await
            }
            Err(error) => {
                let (client, is_open) = (self.applier.client(), self.applier.is_pending());
                let (schema, mappings) = (&run.config.target_schema, &self.plan.mappings);
                Err(explain(client, is_open, schema, mappings, error).await.into())
            }
        }
    }

    async fn tail(&mut self, run: &Run) -> Result<Option<Batch>, Error> {
        self.proven = Instant::now();
        let (plan, lineage, from) = (self.plan.clone(), self.lineage.clone(), self.read);
        let (version, batch) = run
            .source
            .run(move |source| {
                let batch = source.tail(&plan, &lineage, from, BUDGET)?;
                Ok::<_, source::Error>((source.version_read(), batch))
            })
            .await?;
        self.data_version = if batch.is_none() { version } else { None };
        Ok(batch)
    }

    /// Nothing more to read. Ends what is open, builds what waited for this moment, waits.
    async fn at_head(&mut self, run: &mut Run) -> Result<Option<Ended>, Error> {
        if self.applier.standing().is_consistent() {
            run.tell.unapplied_since(None);
            run.tell.target_is_back();
            let was_built = self.is_built;
            let ended = self.at_consistent_state(run).await?;
            if ended.is_some() || !was_built {
                // Changes may have come while indexes were built.
                return Ok(ended);
            }
        }
        if run.stop.is_given() {
            return Ok(Some(Ended::Stopped));
        }
        self.await_change(run).await?;
        Ok(run.stop.is_given().then_some(Ended::Stopped))
    }

    /// The target equals a state that the source had a moment ago, which is all that the steps
    /// below wait for.
    async fn at_consistent_state(&mut self, run: &mut Run) -> Result<Option<Ended>, Error> {
        if !self.is_built {
            self.build(run).await?;
            let client = self.applier.client();
            self.attendant.attend(run.tell.incidents_now(client)).await?;
        } else if self.has_gone_for_good(run) {
            self.drop_gone(run).await?;
        } else if run.config.until_caught_up {
            return self.caught_up();
        } else {
            self.prune_if_due(run).await?;
        }
        Ok(None)
    }

    /// Whether nothing is left to be done; fails if something is that waiting does not bring.
    fn caught_up(&self) -> Result<Option<Ended>, Error> {
        match self.prover.as_ref().map(Prover::left) {
            Some(None) => return Ok(None),
            Some(Some(tables)) if !tables.is_empty() => return Err(Error::Unproven { tables }),
            Some(Some(_)) | None => {}
        }
        if !self.stopped.is_empty() {
            return Err(Error::Stopped { tables: self.stopped.clone() });
        }
        Ok(Some(Ended::CaughtUp))
    }

    /// Whether tables have been missing for so long that no migration is making them anew.
    fn has_gone_for_good(&self, run: &Run) -> bool {
        let is_long = run.config.until_caught_up || GONE_FOR <= self.begun.elapsed();
        !self.gone.is_empty() && is_long
    }

    async fn drop_gone(&mut self, run: &Run) -> Result<(), Error> {
        let client = self.applier.client();
        let dropped = build::drop_gone_tables(client, &run.config.target_schema, &self.gone);
        self.attendant.attend(dropped).await?;
        self.applier.forget(self.gone.drain(..).map(|known| known.id));
        let consistent = ledger::note_consistency(self.applier.client(), self.epoch);
        Ok(self.attendant.attend(consistent).await?)
    }

    /// Notes what became of tables whose writes may have gone unseen, as soon as no transaction is
    /// open.
    async fn note_what_is_proven(&mut self, run: &Run) -> Result<(), Error> {
        let Some(prover) = &mut self.prover else { return Ok(()) };
        if self.applier.is_pending() || !prover.has_news()? {
            return Ok(());
        }
        let Some((dirty, outcome)) = prover.take() else { return Ok(()) };
        let rows = match outcome {
            Outcome::Proven => {
                let mapping = self.plan.mappings.iter().find(|mapping| mapping.id == dirty.id);
                if let Some(mapping) = mapping.filter(|mapping| !mapping.is_adopted) {
                    let (client, schema) = (self.applier.client(), &run.config.target_schema);
                    let strict = rebuilt::set_not_null(client, schema, mapping);
                    self.attendant.attend(strict).await?;
                }
                let noted = self.applier.note_proven(dirty.id);
                return Ok(self.attendant.attend(noted).await?);
            }
            Outcome::Left { rows } => rows,
        };
        let message = format!(
            "{}: {rows} rows differ although they were replayed again; `lite2pg verify` lists them",
            dirty.name
        );
        tracing::error!("{message}");
        if self.left_told.insert(dirty.id) {
            let applied = self.applier.standing().applied.position;
            let client = self.applier.client();
            let told = ledger::incident(client, "unseen_writes_left", Some(applied), &message);
            self.attendant.attend(told).await?;
        }
        Ok(())
    }

    /// The tables are in step and their indexes stand: what may have gone unseen can be compared.
    async fn begin_to_prove(&mut self, run: &Run) -> Result<(), Error> {
        let consistent = ledger::note_consistency(self.applier.client(), self.epoch);
        self.attendant.attend(consistent).await?;
        let is_gone = |dirty: &&Dirty| self.gone.iter().any(|known| known.id == dirty.id);
        let dirty = self.applier.dirty().filter(|dirty| !is_gone(dirty));
        let mut dirty: Vec<Dirty> = dirty.cloned().collect();
        if !dirty.is_empty() {
            dirty.sort_by(|one, other| one.name.cmp(&other.name));
            self.prover = Some(Prover::begin(&run.config, &self.bell, dirty));
        }
        Ok(())
    }

    /// In step for the first time in this session: unique indexes hold now, so what waits can be
    /// built, be it after the first copy or after the source's schema changed.
    async fn build(&mut self, run: &mut Run) -> Result<(), Error> {
        failpoint::hit(failpoint::CAUGHT_UP);
        let client = self.applier.client();
        if run.config.on_unmappable == OnUnmappable::Halt {
            // What the copy set aside because rows moved meanwhile has come right by now.
            let left = ledger::check_quarantine_empty(client);
            self.attendant.attend(left).await?;
        }
        if self.phase == Phase::Streaming {
            let built = build_what_waits(client, &run.config.target_schema);
            let Built { built, refused } = self.attendant.attend(built).await?;
            if built + refused != 0 {
                tracing::info!(built, refused, "built what was waiting");
            }
            self.is_built = true;
            return self.begin_to_prove(run).await;
        }
        let built = build_the_rest(client, &run.config.target_schema, self.epoch);
        let refused = self.attendant.attend(built).await?;
        self.is_built = true;
        self.phase = Phase::Streaming;
        run.got_somewhere();
        let applied = self.applier.standing().applied.position;
        tracing::info!(position = applied.0, refused, "in step");
        self.begin_to_prove(run).await
    }

    /// Returns when there may be something to read, or when it is time to look anyway.
    async fn await_change(&mut self, run: &mut Run) -> Result<(), Error> {
        let mut stop = run.stop.clone();
        loop {
            let look_at = tokio::time::Instant::now() + run.config.poll_interval;
            let rang = loop {
                let minute_ends = Duration::from_millis(self.lag.left_ms(now_ms()));
                tokio::select! {
                    () = stop.given() => return Ok(()),
                    () = self.bell.notified() => break true,
                    () = tokio::time::sleep_until(look_at) => break false,
                    () = tokio::time::sleep(minute_ends), if !self.applier.is_pending() => {
                        self.note_lag_if_due().await?;
                        self.tell_incidents(run).await?;
                    }
                }
            };
            self.note_lag_if_due().await?;
            self.tell_incidents(run).await?;
            if let Some(prover) = &mut self.prover
                && prover.has_news()?
            {
                return Ok(());
            }
            if self.has_gone_for_good(run) {
                return Ok(());
            }
            // A comparison would begin again with the session.
            let is_proving = self.prover.as_ref().is_some_and(Prover::is_at_work);
            let is_over = STOPPED_INTERVAL <= self.begun.elapsed() && !is_proving;
            if !self.stopped.is_empty() && is_over {
                return Err(Error::LookAnew);
            }
            // With nothing to apply nothing would be asked of it, and nobody would know.
            if self.applier.client().is_closed() {
                return Err(target::Error::Closed.into());
            }
            let seen = self.data_version;
            let looks = if rang { SECOND_LOOKS } else { Duration::ZERO };
            let changed = run
                .source
                .run(move |source| match seen {
                    Some(seen) => Ok(source.has_moved() || source.await_commit(seen, looks)?),
                    None => Ok::<_, source::Error>(true),
                })
                .await?;
            if changed || PROOF_INTERVAL <= self.proven.elapsed() {
                return Ok(());
            }
            self.prune_if_due(run).await?;
        }
    }

    fn note_commit(&mut self, run: &mut Run, applied: Applied) {
        if let Applied::Committed(standing) = applied {
            self.lag.committed(now_ms());
            run.tell.moved_to(standing.applied.position);
        }
    }

    /// Tells what has been written down, if it is time to look.
    async fn tell_incidents(&mut self, run: &mut Run) -> Result<(), Error> {
        if self.applier.is_pending() {
            return Ok(());
        }
        let client = self.applier.client();
        Ok(self.attendant.attend(run.tell.incidents(client)).await?)
    }

    /// Once a minute, and never within a transaction that is open for a backlog.
    async fn note_lag_if_due(&mut self) -> Result<(), Error> {
        if self.applier.is_pending() {
            return Ok(());
        }
        match self.lag.take_if_over(now_ms()) {
            Some(minute) => self.note_lag(minute).await,
            None => Ok(()),
        }
    }

    async fn note_lag(&mut self, minute: LagMinute) -> Result<(), Error> {
        let client = self.applier.client();
        self.attendant.attend(history::note_lag(client, self.epoch, &minute)).await?;
        if self.lag_pruned.is_none_or(|pruned| LAG_PRUNE_INTERVAL <= pruned.elapsed()) {
            self.attendant.attend(history::forget_old_lag(client)).await?;
            self.lag_pruned = Some(Instant::now());
        }
        if self.trail_merged.is_none_or(|merged| TRAIL_MERGE_INTERVAL <= merged.elapsed()) {
            self.attendant.attend(trail::compact(client)).await?;
            self.trail_merged = Some(Instant::now());
        }
        Ok(())
    }

    async fn prune_if_due(&mut self, run: &Run) -> Result<(), Error> {
        let interval = run.config.prune_interval;
        let is_due = interval <= self.pruned.elapsed()
            && PRUNE_TRY_INTERVAL.min(interval) <= self.tried_to_prune.elapsed();
        if is_due { self.prune(run).await } else { Ok(()) }
    }

    /// Deletes changelog entries that are applied, on the target's disk, and old enough, at a
    /// moment when the application is not in the middle of writing.
    async fn prune(&mut self, run: &Run) -> Result<(), Error> {
        self.tried_to_prune = Instant::now();
        let keep = Keep {
            age_ms: i64::try_from(run.config.retention.as_millis()).unwrap_or(i64::MAX),
            entries_max: run.config.retained_changes_max,
        };
        let applied = self.applier.standing().applied.position;
        match run.source.run(move |source| source.prunable(applied, keep)).await? {
            Prunable::Now => {}
            Prunable::NotNow => return Ok(()),
            Prunable::Nothing => {
                self.pruned = Instant::now();
                return Ok(());
            }
        }
        // Read back what the target says it has; the commit's reply alone proves less.
        let durable = durable(self.applier.client(), self.epoch);
        let Some(durable) = self.attendant.attend(durable).await? else {
            self.pruned = Instant::now();
            return Ok(());
        };
        for _ in 0..PRUNE_ROUNDS_MAX {
            let lineage = self.lineage.clone();
            let gone = run.source.run(move |source| source.prune(&lineage, durable, keep)).await?;
            if gone == 0 || run.stop.is_given() {
                break;
            }
            tracing::debug!(entries = gone, "pruned");
            tokio::time::sleep(PRUNE_PAUSE).await;
        }
        Ok(())
    }
}

/// The clock that the source's changes carry, too.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Builds the indexes, checks and views that wait for the rows to be there.
async fn build_what_waits(client: &Client, target_schema: &str) -> Result<Built, target::Error> {
    let mut outcome = Built::default();
    for kind in ["index", "check", "view"] {
        let done = build::build_waiting(client, target_schema, kind).await?;
        outcome.built += done.built;
        outcome.refused += done.refused;
    }
    Ok(outcome)
}

/// Builds indexes, checks and views, and says that the target is in step. Returns how many of them
/// PostgreSQL refused.
async fn build_the_rest(
    client: &Client,
    target_schema: &str,
    epoch: i64,
) -> Result<usize, target::Error> {
    let refused = build_what_waits(client, target_schema).await?.refused;
    ledger::set_states(client, "copied", "streaming").await?;
    client
        .batch_execute("analyze lite2pg.position")
        .await
        .map_err(target::Error::query("analyze"))?;
    failpoint::hit(failpoint::INDEXES_DONE);
    ledger::enter(client, epoch, Phase::Streaming, None).await?;
    Ok(refused)
}

/// The position that the target would still have after a power cut; `None` if it is not ours any
/// more, or if nothing there is certain to stay.
async fn durable(client: &Client, epoch: i64) -> Result<Option<Anchor>, target::Error> {
    let stored = ledger::position(client).await?.filter(|stored| stored.epoch == epoch);
    let Some(stored) = stored else { return Ok(None) };
    if !ledger::is_durable(client).await? {
        tracing::warn!("the server runs with fsync = off: the changelog is not pruned");
        return Ok(None);
    }
    Ok(Some(stored.standing.applied))
}

async fn tail(
    run: &Run,
    plan: Arc<crate::source::changelog::Plan>,
    lineage: crate::change::Lineage,
    from: Anchor,
) -> Result<Option<Batch>, Error> {
    Ok(run.source.run(move |source| source.tail(&plan, &lineage, from, BUDGET)).await?)
}
