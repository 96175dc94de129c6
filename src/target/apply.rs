//! A batch and its position, in one transaction.
//!
//! The one idea: make the target hold exactly the contents of the batch, and move the position in
//! the same transaction, by a statement that fails unless this very run of the sidecar owns it
//! and the target stands where the batch begins. That is the whole proof of single writing; no
//! clock and no session lock takes part.
//!
//! Three ways to write the rows of a batch, each tried when the one before is refused:
//! 1. set-based deletes and upserts, sorted by key (new rows above every known key go by COPY);
//! 2. *displace*: delete every touched key and whatever stands in the way on a unique index, then
//!    insert. Needed when unique values change places. What was in the way must itself turn up in
//!    the backlog before the transaction may commit; otherwise the target's index forbids what the
//!    source holds, and
//! 3. row by row: what the target refuses goes to quarantine with its reason.
//!
//! A backlog that needs several reads is applied in one transaction as far as [`Limits`] allow, so
//! that readers of the target never see a state the source was never in.
//!
//! The file is long because the three ways share one open transaction, its savepoints and what it
//! owes; what each may leave to the next is only seen side by side.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use futures_util::future::{BoxFuture, FutureExt, join_all};
use postgres_types::{IsNull, Kind, ToSql, Type, to_sql_checked};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Statement};

use super::unseen::{self, Dirty};
use super::{Error, archive, build, trail};
use crate::batch::{
    Batch, Image, KeyImage, Quarantined, Row, TableBatch, fields, key_json, sort_key,
};
use crate::change::{Anchor, Position, TableId};
use crate::failpoint;
use crate::mapping::Mapping;
use crate::table::Ident;
use crate::value::{ColumnType, PgType};

/// How long and how much one transaction may grow while a backlog is worked off. Beyond it the
/// position says `consistent = false` until the backlog is done.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Since the transaction began.
    pub open_max: Duration,
    /// Changelog entries in it.
    pub changes_max: u64,
}

/// Batches up to this many rows are sent in one round trip, BEGIN to COMMIT.
const PIPELINED_ROWS_MAX: usize = 2_000;

/// ... and this many bytes, because all of it is in memory several times on its way.
const PIPELINED_BYTES_MAX: usize = 1024 * 1024;

/// Fewer new rows than this are not worth a COPY of their own,
const COPY_ROWS_MIN: usize = 200;

/// ... unless they are this large: COPY sends them piece by piece.
const COPY_BYTES_MIN: usize = 256 * 1024;

/// Rows of one statement; a larger row goes alone. They are in memory three times meanwhile: as
/// images, as arrays and as the message.
const STATEMENT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Where the target stands, as this run knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Newest applied entry.
    pub applied: Anchor,
    /// The head when contents were last read.
    pub read_through: Position,
}

impl Standing {
    /// Whether the target equals a state of the source.
    pub fn is_consistent(&self) -> bool {
        self.read_through <= self.applied.position
    }
}

/// What [`Applier::apply`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Committed: the target stands here.
    Committed(Standing),
    /// Applied within a transaction that stays open until the backlog is done.
    Pending,
}

/// Applies batches over one connection.
pub struct Applier {
    client: Client,
    schema: Ident,
    epoch: i64,
    limits: Limits,
    standing: Standing,
    open: Option<Group>,
    tables: HashMap<usize, Statements>,
    advance: Statement,
    /// Writes down the tokens of a batch.
    append: Statement,
    /// The tables that have rows in quarantine; while there are none, nobody looks for them.
    quarantined: BTreeMap<TableId, String>,
    /// Keeps the log from a line for each row that is set aside.
    aside: Aside,
    /// Tables that go row by row until the next commit.
    careful: HashSet<TableId>,
    /// A row that cannot be held is an error; it does not go to quarantine.
    halts: bool,
    /// Tables whose writes went unseen: what is there is archived before it changes.
    dirty: HashMap<TableId, Dirty>,
}

/// A transaction that spans several batches.
struct Group {
    begun: Instant,
    changes: u64,
    through: Anchor,
    read_through: Position,
    /// Keys that were removed because they stood in the way. Each must be touched by a later
    /// part, or the target is stricter than the source; until then nothing may be committed.
    owed: HashSet<(TableId, KeyImage)>,
    /// Rows may have come into quarantine or left it.
    moves_quarantine: bool,
}

/// Rows that were set aside, told of once a minute for each table and not one by one.
#[derive(Default)]
struct Aside {
    tables: HashMap<TableId, Told>,
}

/// What is to be told of one table.
struct Told {
    name: String,
    /// Rows since the last line.
    rows: u64,
    /// The newest of them.
    key: String,
    reason: String,
    last: Option<Instant>,
}

/// At most one line for each table in this time.
const ASIDE_INTERVAL: Duration = Duration::from_secs(60);

impl Aside {
    fn note(&mut self, mapping: &Mapping, refused: &Quarantined) {
        let told = self.tables.entry(mapping.id).or_insert_with(|| Told {
            name: mapping.table.name.clone(),
            rows: 0,
            key: String::new(),
            reason: String::new(),
            last: None,
        });
        told.rows += 1;
        if told.rows == 1 {
            told.key = refused.key.to_string();
            told.reason = match &refused.column {
                Some(column) => format!("{column}: {}", refused.reason),
                None => refused.reason.clone(),
            };
        }
    }

    /// What was rolled back is tried again, and noted again then.
    fn forget(&mut self) {
        self.tables.values_mut().for_each(|told| told.rows = 0);
    }

    /// Says what was committed, as far as it is time to.
    fn tell(&mut self) {
        for told in self.tables.values_mut().filter(|told| 0 < told.rows) {
            if told.last.is_some_and(|last| last.elapsed() < ASIDE_INTERVAL) {
                continue;
            }
            let Told { name, rows, key, reason, .. } = told;
            tracing::warn!(table = %name, rows, %key, %reason, "set aside: the target cannot hold \
                it; `lite2pg quarantine` lists all");
            (told.rows, told.last) = (0, Some(Instant::now()));
        }
    }
}

/// What one table's statements are.
struct Statements {
    upsert: Upsert,
    delete: Statement,
    copy: String,
    /// No row of the target has a greater key, where keys are single integers.
    greatest_key: Option<i64>,
}

/// How rows are written.
enum Upsert {
    /// From arrays.
    Prepared(Statement),
    /// By way of a staging table: some values need a cast or are arrays themselves.
    Staged,
}

/// The rows of one table, sorted by key and divided by what is to be done.
struct Work<'a> {
    mapping: &'a Mapping,
    index: usize,
    /// To be deleted only.
    absent: Vec<&'a KeyImage>,
    /// To be written.
    present: Vec<(&'a KeyImage, &'a Image)>,
    /// To be written, and known to be new: they go by COPY.
    appended: Vec<(&'a KeyImage, &'a Image)>,
    refused: Vec<&'a Quarantined>,
    /// Keys in quarantine, perhaps, that no row has any more.
    gone: &'a [serde_json::Value],
}

/// A parameter that is already in binary form.
#[derive(Debug)]
pub(super) struct Raw(Bytes);

impl ToSql for Raw {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn trail_parameters(batch: &Batch) -> [Box<dyn ToSql + Sync + Send>; 3] {
    [
        Box::new(batch.from.position.0 + 1),
        Box::new(batch.through.position.0),
        Box::new(batch.tokens.clone()),
    ]
}

impl Applier {
    /// Takes over a connection whose epoch has been claimed.
    pub async fn new(
        client: Client,
        target_schema: &str,
        epoch: i64,
        standing: Standing,
        limits: Limits,
        halts: bool,
    ) -> Result<Self, Error> {
        let advance = client
            .prepare("select lite2pg.advance($1, $2, $3, $4, $5, $6, $7)")
            .await
            .map_err(Error::query("prepare to move the position"))?;
        let append = client
            .prepare(trail::APPEND)
            .await
            .map_err(Error::query("prepare to write the trail"))?;
        let quarantined = super::ledger::tables_in_quarantine(&client).await?;
        let dirty = unseen::dirty(&client).await?;
        Ok(Self {
            client,
            schema: Ident::new(target_schema),
            epoch,
            limits,
            standing,
            open: None,
            tables: HashMap::new(),
            advance,
            append,
            quarantined,
            aside: Aside::default(),
            careful: HashSet::new(),
            halts,
            dirty: dirty.into_iter().map(|dirty| (dirty.id, dirty)).collect(),
        })
    }

    /// The tables whose writes went unseen and that are not proven yet.
    pub fn dirty(&self) -> impl Iterator<Item = &Dirty> {
        self.dirty.values()
    }

    /// These tables are no more.
    pub fn forget(&mut self, tables: impl Iterator<Item = TableId>) {
        for table in tables {
            self.dirty.remove(&table);
        }
    }

    /// A dirty table is proven: notes it, and says again that the target is consistent if it is.
    /// No transaction may be open.
    pub async fn note_proven(&mut self, table: TableId) -> Result<(), Error> {
        assert!(self.open.is_none(), "a transaction is open");
        unseen::note_proven(&self.client, self.epoch, table).await?;
        self.dirty.remove(&table);
        Ok(())
    }

    /// The connection, for work between batches.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Where the target stands.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Whether a transaction is open that has not been committed.
    pub fn is_pending(&self) -> bool {
        self.open.is_some()
    }

    /// Writes `batch` to the target and moves the position, in one transaction.
    ///
    /// `batch` must begin where the last one ended. If more is to come before the target equals a
    /// state of the source, the transaction stays open ([`Applied::Pending`]) as far as the limits
    /// allow. After any error the transaction is gone, and the caller must read the position anew
    /// before anything else: the commit may have happened.
    pub async fn apply(&mut self, mappings: &[Mapping], batch: &Batch) -> Result<Applied, Error> {
        let expected = self.open.as_ref().map_or(self.standing.applied, |group| group.through);
        assert_eq!(batch.from, expected, "a batch begins where the last one ended");
        let work = divide(mappings, batch);
        if self.halts
            && let Some((mapping, refused)) =
                work.iter().find_map(|item| Some((item.mapping, *item.refused.first()?)))
        {
            return Err(unmappable(mapping, refused));
        }
        for item in &work {
            self.prepare(item.mapping, item.index).await?;
        }
        let work = self.by_copy(work);
        let read_through = self.standing.read_through.max(batch.read_through);
        let is_simple = self.open.is_none()
            && self.careful.is_empty()
            && read_through <= batch.through.position
            && batch.rows() <= PIPELINED_ROWS_MAX
            && batch.bytes <= PIPELINED_BYTES_MAX
            && self.quarantined.is_empty()
            && work.iter().all(|item| {
                !self.dirty.contains_key(&item.mapping.id)
                    && item.appended.is_empty()
                    && item.refused.is_empty()
                    && (item.present.is_empty() || !item.mapping.needs_stage())
            });
        if is_simple {
            match self.in_one_trip(&work, batch).await {
                Ok(()) => {
                    failpoint::hit(failpoint::APPLY_COMMITTED);
                    for item in &work {
                        self.raise_greatest_key(item);
                    }
                    return Ok(self.arrived(batch.through, read_through));
                }
                Err(error) if !is_refusal(&error) => return Err(error),
                // The transaction was rolled back as a whole; take the longer way.
                Err(_) => {}
            }
        }
        self.in_group(&work, batch).await
    }

    fn arrived(&mut self, applied: Anchor, read_through: Position) -> Applied {
        self.open = None;
        self.careful.clear();
        self.standing = Standing { applied, read_through };
        Applied::Committed(self.standing)
    }

    /// BEGIN, all statements, the position and COMMIT, sent without waiting for replies. If any
    /// statement fails the server turns COMMIT into ROLLBACK, and the first error is returned.
    async fn in_one_trip(&self, work: &[Work<'_>], batch: &Batch) -> Result<(), Error> {
        failpoint::hit(failpoint::APPLY_BEGUN);
        let mut prepared: Vec<(&Statement, Vec<Raw>)> = Vec::new();
        for item in work {
            let statements = &self.tables[&item.index];
            if !item.absent.is_empty() {
                prepared.push((&statements.delete, key_arrays(item.mapping, &item.absent)));
            }
            if let Upsert::Prepared(upsert) = &statements.upsert
                && !item.present.is_empty()
            {
                let images = item.present.iter().map(|(_, image)| image.as_slice());
                prepared.push((upsert, row_arrays(item.mapping, images)));
            }
        }
        let through = batch.through;
        let position = self.advance_parameters(
            through,
            self.standing.read_through.max(batch.read_through),
            batch.newest_ms,
        );
        let trail = trail_parameters(batch);
        let mut steps: Vec<BoxFuture<'_, Result<(), tokio_postgres::Error>>> = Vec::new();
        steps.push(self.client.batch_execute("begin").boxed());
        for (statement, parameters) in &prepared {
            let parameters = parameters.iter().map(|raw| raw as &(dyn ToSql + Sync));
            steps.push(
                self.client.execute_raw(*statement, parameters).map(|done| done.map(drop)).boxed(),
            );
        }
        steps.push(
            self.client
                .execute_raw(
                    &self.append,
                    trail.iter().map(|value| value.as_ref() as &(dyn ToSql + Sync)),
                )
                .map(|done| done.map(drop))
                .boxed(),
        );
        steps.push(
            self.client
                .execute_raw(
                    &self.advance,
                    position.iter().map(|value| value.as_ref() as &(dyn ToSql + Sync)),
                )
                .map(|done| done.map(drop))
                .boxed(),
        );
        failpoint::hit(failpoint::APPLY_BEFORE_COMMIT);
        steps.push(self.client.batch_execute("commit").boxed());
        let outcomes = join_all(steps).await;
        let failed = outcomes.into_iter().find_map(Result::err);
        failed.map_or(Ok(()), |error| Err(Error::query("apply a batch")(error)))
    }

    fn advance_parameters(
        &self,
        through: Anchor,
        read_through: Position,
        newest_ms: i64,
    ) -> [Box<dyn ToSql + Sync + Send>; 7] {
        [
            Box::new(self.epoch),
            Box::new(self.standing.applied.position.0),
            Box::new(through.position.0),
            Box::new(through.token),
            Box::new(read_through.0),
            Box::new(read_through <= through.position && self.dirty.is_empty()),
            Box::new(newest_ms),
        ]
    }

    async fn in_group(&mut self, work: &[Work<'_>], batch: &Batch) -> Result<Applied, Error> {
        if self.open.is_none() {
            self.execute("begin").await?;
            failpoint::hit(failpoint::APPLY_BEGUN);
            self.open = Some(Group {
                begun: Instant::now(),
                changes: 0,
                through: batch.from,
                read_through: self.standing.read_through,
                owed: HashSet::new(),
                moves_quarantine: false,
            });
        }
        for item in work {
            self.write_table(item, batch.through.position).await?;
        }
        let trail = trail_parameters(batch);
        let trail = trail.iter().map(|value| value.as_ref() as &(dyn ToSql + Sync));
        let appended = self.client.execute_raw(&self.append, trail).await;
        appended.map_err(Error::query("write the trail"))?;
        let limits = self.limits;
        let group = self.open.as_mut().expect("the group was opened above");
        group.changes += batch.changes;
        group.through = batch.through;
        group.read_through = group.read_through.max(batch.read_through);
        let is_whole = group.read_through <= group.through.position;
        let is_over =
            limits.open_max < group.begun.elapsed() || limits.changes_max <= group.changes;
        // A row that is owed would be missing from the target for good if the rest were lost.
        if !is_whole && (!is_over || !group.owed.is_empty()) {
            return Ok(Applied::Pending);
        }
        if let Some((table, _)) = group.owed.iter().next() {
            return Err(Error::Stricter { table: *table });
        }
        let (through, read_through) = (group.through, group.read_through);
        let quarantined = match group.moves_quarantine {
            false => None,
            true => Some(self.look_at_quarantine(through.position).await?),
        };
        let parameters = self.advance_parameters(through, read_through, batch.newest_ms);
        self.client
            .execute_raw(
                &self.advance,
                parameters.iter().map(|value| value.as_ref() as &(dyn ToSql + Sync)),
            )
            .await
            .map_err(Error::query("move the position"))?;
        failpoint::hit(failpoint::APPLY_POSITION_MOVED);
        failpoint::hit(failpoint::APPLY_BEFORE_COMMIT);
        self.execute("commit").await?;
        failpoint::hit(failpoint::APPLY_COMMITTED);
        if let Some(now) = quarantined {
            self.quarantined = now;
        }
        self.aside.tell();
        Ok(self.arrived(through, read_through))
    }

    /// Writes down which tables got rows into quarantine in this transaction and which have none
    /// left; returns those that have some.
    async fn look_at_quarantine(
        &self,
        position: Position,
    ) -> Result<BTreeMap<TableId, String>, Error> {
        let now = super::ledger::tables_in_quarantine(&self.client).await?;
        super::ledger::quarantine_incidents(&self.client, &self.quarantined, &now, position)
            .await?;
        Ok(now)
    }

    /// Gives up an open transaction, so that its connection can be used again.
    pub async fn roll_back(&mut self) -> Result<(), Error> {
        self.open = None;
        self.aside.forget();
        self.execute("rollback").await
    }

    /// Gives up an open transaction and writes `table` row by row until the next commit: what is
    /// refused then goes to quarantine. For the rare case of [`Error::Stricter`].
    pub async fn roll_back_and_go_row_by_row(&mut self, table: TableId) -> Result<(), Error> {
        self.careful.insert(table);
        self.roll_back().await
    }

    /// Writes the rows of one table by the first way that is not refused.
    async fn write_table(&mut self, item: &Work<'_>, position: Position) -> Result<(), Error> {
        if let Some(group) = &mut self.open
            && !group.owed.is_empty()
        {
            let touched = item.absent.iter().copied();
            let written = item.present.iter().chain(&item.appended).map(|(key, _)| *key);
            for key in touched.chain(written) {
                group.owed.remove(&(item.mapping.id, key.clone()));
            }
        }
        if let Some(dirty) = self.dirty.get(&item.mapping.id) {
            let written = item.present.iter().map(|(key, _)| *key);
            let touched: Vec<&KeyImage> = item.absent.iter().copied().chain(written).collect();
            self.archive(item.mapping, dirty, &touched).await?;
        }
        if self.careful.contains(&item.mapping.id) {
            return self.row_by_row(item, position).await;
        }
        self.execute("savepoint part").await?;
        match self.set_based(item, position).await {
            Err(error) if error.is(&SqlState::UNIQUE_VIOLATION) && !item.mapping.needs_stage() => {
                self.execute("rollback to savepoint part").await?;
                match self.displace(item, position).await {
                    Err(error) if is_refusal(&error) => {}
                    outcome => {
                        outcome?;
                        return self.execute("release savepoint part").await;
                    }
                }
            }
            Err(error) if is_refusal(&error) => {}
            outcome => {
                outcome?;
                return self.execute("release savepoint part").await;
            }
        }
        self.execute("rollback to savepoint part").await?;
        self.row_by_row(item, position).await?;
        self.execute("release savepoint part").await
    }

    async fn set_based(&mut self, item: &Work<'_>, position: Position) -> Result<(), Error> {
        self.delete(item.index, item.mapping, &item.absent).await?;
        failpoint::hit(failpoint::APPLY_DELETED);
        let mut rest = item.present.as_slice();
        while !rest.is_empty() {
            let (part, after) = rest.split_at(rows_of_one_statement(rest));
            rest = after;
            self.upsert(item, part.iter().map(|(_, image)| *image)).await?;
        }
        if !item.appended.is_empty() {
            let copy = self.tables[&item.index].copy.clone();
            self.copy_in(&copy, item.mapping, item.appended.iter().map(|(_, image)| *image))
                .await?;
        }
        failpoint::hit(failpoint::APPLY_UPSERTED);
        self.raise_greatest_key(item);
        self.note_quarantine(item, position).await
    }

    /// Inserts rows or updates those that are there.
    async fn upsert<'a>(
        &self,
        item: &Work<'_>,
        images: impl Iterator<Item = &'a Image>,
    ) -> Result<(), Error> {
        let (doing, mapping) = ("write rows", item.mapping);
        if let Upsert::Prepared(upsert) = &self.tables[&item.index].upsert {
            let arrays = row_arrays(mapping, images.map(Vec::as_slice));
            return self
                .client
                .execute_raw(upsert, arrays.iter().map(|raw| raw as &(dyn ToSql + Sync)))
                .await
                .map(drop)
                .map_err(Error::query(doing));
        }
        let stage = super::copy::Stage::of(mapping);
        self.execute(&stage.create).await?;
        let columns = column_list(mapping);
        let copy = format!("copy {} ({columns}) from stdin (format binary)", stage.name);
        self.copy_in(&copy, mapping, images).await?;
        let sql = upsert_sql(mapping, &self.qualified(mapping), &stage.select);
        self.execute(&format!("{sql}; drop table {}", stage.name)).await
    }

    /// Deletes every touched key, removes what is in the way on a unique index, inserts.
    async fn displace(&mut self, item: &Work<'_>, position: Position) -> Result<(), Error> {
        let mapping = item.mapping;
        let written = || item.present.iter().chain(&item.appended);
        let touched: Vec<&KeyImage> =
            item.absent.iter().copied().chain(written().map(|(key, _)| *key)).collect();
        self.delete(item.index, mapping, &touched).await?;
        let target = self.qualified(mapping);
        let stage = super::copy::stage_name(mapping);
        let columns = column_list(mapping);
        self.execute(&format!(
            "drop table if exists {stage};
             create temporary table {stage} (like {target} including generated
                    including defaults including identity) on commit drop"
        ))
        .await?;
        let copy = format!("copy {stage} ({columns}) from stdin (format binary)");
        self.copy_in(&copy, mapping, written().map(|(_, image)| *image)).await?;
        for (find, remove) in self.displacing(mapping, &target, &stage).await? {
            let doing = "make room on a unique index";
            let dirty = self.dirty.get(&mapping.id);
            if let Some(dirty) = dirty {
                let found = self.client.query(&find, &[]).await.map_err(Error::query(doing))?;
                let found: Vec<KeyImage> = found.iter().map(|row| raw_key(row, 0)).collect();
                self.archive(mapping, dirty, &found.iter().collect::<Vec<_>>()).await?;
            }
            let removed = self.client.query(&remove, &[]).await.map_err(Error::query(doing))?;
            // A row that nobody saw go will not be touched, and the comparison to come finds what
            // is missing. After that it is as ever: a target that is really stricter than the
            // source would have two rows take turns.
            if dirty.is_some_and(|dirty| !dirty.is_compared()) {
                continue;
            }
            let group = self.open.as_mut().expect("displacing happens inside a group");
            for row in removed {
                group.owed.insert((mapping.id, raw_key(&row, 0)));
            }
        }
        failpoint::hit(failpoint::APPLY_DISPLACED);
        self.execute(&format!(
            "insert into {target} ({columns}) overriding system value select {columns} from {stage};
             drop table {stage}"
        ))
        .await?;
        self.raise_greatest_key(item);
        self.note_quarantine(item, position).await
    }

    /// Archives rows of a dirty table that are about to change.
    async fn archive(
        &self,
        mapping: &Mapping,
        dirty: &Dirty,
        keys: &[&KeyImage],
    ) -> Result<(), Error> {
        let target = self.qualified(mapping);
        archive::keep(&self.client, &target, mapping, dirty.incident, keys).await?;
        failpoint::hit(failpoint::UNSEEN_ARCHIVED);
        Ok(())
    }

    /// Two statements per unique index, for the rows of other keys that collide with the stage: one
    /// names them, one deletes and names them.
    async fn displacing(
        &self,
        mapping: &Mapping,
        target: &str,
        stage: &str,
    ) -> Result<Vec<(String, String)>, Error> {
        let indexes = self
            .client
            .query(
                "select pg_catalog.pg_get_expr(i.indpred, i.indrelid),
                        array(select pg_catalog.pg_get_indexdef(i.indexrelid, n, true)
                                from pg_catalog.generate_series(1, i.indnkeyatts) n)
                   from pg_catalog.pg_index i
                  where i.indrelid = ($1::text)::pg_catalog.regclass and i.indisunique",
                &[&target],
            )
            .await
            .map_err(Error::query("read the unique indexes"))?;
        let key = mapping.key_names();
        let key_list = key.join(", ");
        Ok(indexes
            .iter()
            .map(|index| {
                let predicate: Option<String> = index.get(0);
                let terms: Vec<String> = index.get(1);
                let condition =
                    predicate.map_or_else(String::new, |predicate| format!(" where {predicate}"));
                let named: Vec<String> = terms
                    .iter()
                    .enumerate()
                    .map(|(n, term)| format!("({term}) as lite2pg_x{n}"))
                    .collect();
                let named = named.join(", ");
                let equal: Vec<String> = (0..terms.len())
                    .map(|n| format!("old.lite2pg_x{n} = new.lite2pg_x{n}"))
                    .collect();
                let other: Vec<String> = key
                    .iter()
                    .map(|column| format!("old.{column} is distinct from new.{column}"))
                    .collect();
                let those = format!(
                    "from {target} where ctid in (
                       select old.lite2pg_ctid
                         from (select ctid as lite2pg_ctid, {key_list}, {named}
                                 from {target}{condition}) old
                         join (select {key_list}, {named} from {stage}{condition}) new on {}
                        where {})",
                    equal.join(" and "),
                    other.join(" or "),
                );
                let find = format!("select {key_list} {those}");
                (find, format!("delete {those} returning {key_list}"))
            })
            .collect())
    }

    /// Deletes every touched key, then inserts one row at a time; what is refused goes to
    /// quarantine.
    async fn row_by_row(&mut self, item: &Work<'_>, position: Position) -> Result<(), Error> {
        let mapping = item.mapping;
        let written: Vec<_> = item.present.iter().chain(&item.appended).copied().collect();
        let touched: Vec<&KeyImage> =
            item.absent.iter().copied().chain(written.iter().map(|(key, _)| *key)).collect();
        self.delete(item.index, mapping, &touched).await?;
        self.note_quarantine(item, position).await?;
        for (key, image) in written {
            while let Err(error) = self.one_row(item, image).await? {
                if build::give_up_index(&self.client, self.schema.raw(), &error).await? {
                    // Without that index the row may fit.
                    continue;
                }
                let refused = Quarantined {
                    key: json_of(mapping, key),
                    column: error.column(),
                    reason: error.reason(),
                };
                if self.halts {
                    return Err(unmappable(mapping, &refused));
                }
                self.quarantine(mapping, &refused, position).await?;
                break;
            }
        }
        self.raise_greatest_key(item);
        Ok(())
    }

    /// Writes one row; the inner error is what the target said when it refused it.
    async fn one_row(&self, item: &Work<'_>, image: &Image) -> Result<Result<(), Error>, Error> {
        self.execute("savepoint one_row").await?;
        match self.upsert(item, std::iter::once(image)).await {
            Ok(()) => {
                self.execute("release savepoint one_row").await?;
                Ok(Ok(()))
            }
            Err(error) if is_refusal(&error) => {
                self.execute("rollback to savepoint one_row").await?;
                Ok(Err(error))
            }
            Err(error) => Err(error),
        }
    }

    async fn delete(
        &self,
        index: usize,
        mapping: &Mapping,
        keys: &[&KeyImage],
    ) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        let arrays = key_arrays(mapping, keys);
        self.client
            .execute_raw(
                &self.tables[&index].delete,
                arrays.iter().map(|raw| raw as &(dyn ToSql + Sync)),
            )
            .await
            .map(drop)
            .map_err(Error::query("delete rows"))
    }

    async fn copy_in<'a>(
        &self,
        sql: &str,
        mapping: &Mapping,
        images: impl Iterator<Item = &'a Image>,
    ) -> Result<(), Error> {
        let doing = "copy rows";
        let copying = self.client.copy_in::<_, Bytes>(sql).await.map_err(Error::query(doing))?;
        let mut copying = std::pin::pin!(copying);
        let head = i16::try_from(mapping.columns.len())
            .expect("a table has at most 1,600 columns")
            .to_be_bytes();
        let mut data = BytesMut::with_capacity(1 << 16);
        data.put_slice(super::copy::HEADER);
        for image in images {
            data.put_slice(&head);
            data.put_slice(image);
            if super::copy::MESSAGE_BYTES <= data.len() {
                copying.send(data.split().freeze()).await.map_err(Error::query(doing))?;
            }
        }
        data.put_slice(super::copy::TRAILER);
        copying.send(data.freeze()).await.map_err(Error::query(doing))?;
        copying.finish().await.map(drop).map_err(Error::query(doing))
    }

    async fn execute(&self, sql: &str) -> Result<(), Error> {
        self.client.batch_execute(sql).await.map_err(Error::query("apply a batch"))
    }

    fn qualified(&self, mapping: &Mapping) -> String {
        mapping.qualified(self.schema.raw())
    }

    /// Prepares a table's statements, once per connection.
    async fn prepare(&mut self, mapping: &Mapping, index: usize) -> Result<(), Error> {
        if self.tables.contains_key(&index) {
            return Ok(());
        }
        let doing = "prepare to write a table";
        let target = self.qualified(mapping);
        let upsert = if mapping.needs_stage() {
            Upsert::Staged
        } else {
            let types: Vec<Type> =
                mapping.columns.iter().map(|column| array_type(&column.pg)).collect();
            let sql = upsert_sql(mapping, &target, &rows_of_arrays(mapping));
            let prepared = self.client.prepare_typed(&sql, &types).await;
            Upsert::Prepared(prepared.map_err(Error::query(doing))?)
        };
        let key_types: Vec<Type> =
            mapping.key.iter().map(|column| array_type(&mapping.columns[*column].pg)).collect();
        let delete = self
            .client
            .prepare_typed(&delete_sql(mapping, &target), &key_types)
            .await
            .map_err(Error::query(doing))?;
        let copy = format!("copy {target} ({}) from stdin (format binary)", column_list(mapping));
        let greatest_key = match single_integer_key(mapping) {
            None => None,
            Some(key) => {
                let sql =
                    format!("select coalesce(max({key})::bigint, {}) from {target}", i64::MIN);
                Some(self.client.query_one(&sql, &[]).await.map_err(Error::query(doing))?.get(0))
            }
        };
        self.tables.insert(index, Statements { upsert, delete, copy, greatest_key });
        Ok(())
    }

    /// Moves rows that can only be new from the upserts to a COPY.
    fn by_copy<'a>(&self, mut work: Vec<Work<'a>>) -> Vec<Work<'a>> {
        for item in &mut work {
            let Statements { greatest_key: Some(greatest), upsert: Upsert::Prepared(_), .. } =
                self.tables[&item.index]
            else {
                continue;
            };
            // Rows are sorted by key, so the new ones are at the end.
            let first_new =
                item.present.partition_point(|(key, _)| integer_key(key) <= Some(greatest));
            let new = &item.present[first_new..];
            let bytes: usize = new.iter().map(|(_, image)| image.len()).sum();
            if COPY_ROWS_MIN <= new.len() || COPY_BYTES_MIN <= bytes {
                item.appended = item.present.split_off(first_new);
            }
        }
        work
    }

    fn raise_greatest_key(&mut self, item: &Work<'_>) {
        let greatest =
            item.present.iter().chain(&item.appended).filter_map(|(key, _)| integer_key(key)).max();
        if let Some(statements) = self.tables.get_mut(&item.index)
            && let Some(known) = &mut statements.greatest_key
        {
            *known = greatest.map_or(*known, |greatest| greatest.max(*known));
        }
    }

    async fn note_quarantine(&mut self, item: &Work<'_>, position: Position) -> Result<(), Error> {
        for refused in &item.refused {
            self.set_aside(item.mapping, refused);
        }
        self.write_quarantine(item, position).await.map_err(Error::query("write the quarantine"))
    }

    /// Notes that a row goes to quarantine in the open transaction.
    fn set_aside(&mut self, mapping: &Mapping, refused: &Quarantined) {
        if let Some(group) = &mut self.open {
            group.moves_quarantine = true;
        }
        self.aside.note(mapping, refused);
    }

    /// Whether rows in quarantine may have to be struck out.
    fn has_quarantine(&self) -> bool {
        let is_moving = self.open.as_ref().is_some_and(|group| group.moves_quarantine);
        is_moving || !self.quarantined.is_empty()
    }

    /// Notes the rows of `item` that the target cannot hold, and strikes out those it now holds.
    async fn write_quarantine(
        &mut self,
        item: &Work<'_>,
        position: Position,
    ) -> Result<(), tokio_postgres::Error> {
        if self.has_quarantine() {
            let healed: Vec<serde_json::Value> = item
                .absent
                .iter()
                .copied()
                .chain(item.present.iter().chain(&item.appended).map(|(key, _)| *key))
                .map(|key| json_of(item.mapping, key))
                .chain(item.gone.iter().cloned())
                .collect();
            self.client
                .execute(
                    "delete from lite2pg.quarantine
                      where table_id = $1 and md5(key::text) in
                            (select md5(k::text)
                               from pg_catalog.jsonb_array_elements($2::text::jsonb) k)",
                    &[&item.mapping.id.0, &serde_json::Value::from(healed).to_string()],
                )
                .await?;
            if let Some(group) = &mut self.open {
                group.moves_quarantine = true;
            }
        }
        for refused in &item.refused {
            self.insert_quarantine(item.mapping.id, refused, position).await?;
        }
        Ok(())
    }

    async fn insert_quarantine(
        &self,
        table: TableId,
        refused: &Quarantined,
        position: Position,
    ) -> Result<(), tokio_postgres::Error> {
        self.client
            .execute(
                super::ledger::QUARANTINE,
                &[
                    &table.0,
                    &refused.key.to_string(),
                    &refused.column,
                    &refused.reason,
                    &position.0,
                ],
            )
            .await
            .map(drop)
    }

    async fn quarantine(
        &mut self,
        mapping: &Mapping,
        refused: &Quarantined,
        position: Position,
    ) -> Result<(), Error> {
        self.set_aside(mapping, refused);
        self.insert_quarantine(mapping.id, refused, position)
            .await
            .map_err(Error::query("write the quarantine"))
    }
}

fn unmappable(mapping: &Mapping, refused: &Quarantined) -> Error {
    Error::Unmappable {
        table: mapping.table.name.clone(),
        key: refused.key.to_string(),
        column: refused.column.clone(),
        reason: refused.reason.clone(),
    }
}

/// Whether the server refused the data, so that another way of writing it may succeed.
pub(super) fn is_refusal(error: &Error) -> bool {
    // Data exception, integrity constraint violation, program limit exceeded
    // (https://www.postgresql.org/docs/current/errcodes-appendix.html).
    error.sql_state().is_some_and(|state| ["22", "23", "54"].contains(&&state.code()[..2]))
}

/// Sorts the rows of a batch by table and key, and divides them.
fn divide<'a>(mappings: &'a [Mapping], batch: &'a Batch) -> Vec<Work<'a>> {
    let mut work: Vec<Work<'a>> =
        batch.tables.iter().map(|table| divide_table(&mappings[table.table], table)).collect();
    work.sort_by_key(|item| item.index);
    work
}

fn divide_table<'a>(mapping: &'a Mapping, table: &'a TableBatch) -> Work<'a> {
    let mut sorted: Vec<(Vec<u8>, &KeyImage, &Row)> =
        table.rows.iter().map(|(key, row)| (sort_key(mapping, key), key, row)).collect();
    sorted.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    let mut work = Work {
        mapping,
        index: table.table,
        absent: Vec::new(),
        present: Vec::new(),
        appended: Vec::new(),
        refused: table.nameless.iter().collect(),
        gone: &table.nameless_gone,
    };
    for (_, key, row) in sorted {
        match row {
            Row::Present { image, .. } => work.present.push((key, image)),
            Row::Absent => work.absent.push(key),
            Row::Refused(refused) => {
                work.absent.push(key);
                work.refused.push(refused);
            }
        }
    }
    work
}

/// How many of the first rows go into one statement; at least one.
fn rows_of_one_statement(rows: &[(&KeyImage, &Image)]) -> usize {
    let mut bytes = 0;
    let fits = rows.iter().take_while(|(_, image)| {
        bytes += image.len();
        bytes <= STATEMENT_BYTES_MAX
    });
    fits.count().max(1)
}

fn array_type(pg: &ColumnType) -> Type {
    let (name, oid, array_oid) = pg.wire();
    Type::from_oid(array_oid).unwrap_or_else(|| {
        // Only the number is sent.
        let element = Type::new(name.to_owned(), oid, Kind::Simple, String::new());
        Type::new(format!("{name}[]"), array_oid, Kind::Array(element), String::new())
    })
}

fn column_list(mapping: &Mapping) -> String {
    mapping
        .columns
        .iter()
        .map(|column| Ident::new(&column.target).to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

/// All rows of the parameters: an array for each column.
fn rows_of_arrays(mapping: &Mapping) -> String {
    let arrays: Vec<String> = mapping
        .columns
        .iter()
        .enumerate()
        .map(|(number, column)| format!("${}::{}[]", number + 1, column.pg.wire().0))
        .collect();
    format!("select * from unnest({})", arrays.join(", "))
}

fn upsert_sql(mapping: &Mapping, target: &str, rows: &str) -> String {
    let columns = column_list(mapping);
    let set: Vec<String> = (0..mapping.columns.len())
        .filter(|column| !mapping.key.contains(column) || has_equal_forms(mapping, *column))
        .map(|column| {
            let name = Ident::new(&mapping.columns[column].target);
            format!("{name} = excluded.{name}")
        })
        .collect();
    let action = if set.is_empty() {
        "nothing".to_owned()
    } else {
        format!("update set {}", set.join(", "))
    };
    format!(
        "insert into {target} ({columns}) overriding system value
         {rows} on conflict ({}) do {action}",
        mapping.key_names().join(", "),
    )
}

/// Whether PostgreSQL calls values of the column equal that the source tells apart, as it does
/// `1` and `1.0`: a key that is there already may have to be written anew.
fn has_equal_forms(mapping: &Mapping, column: usize) -> bool {
    let chosen = mapping.columns[column].pg.chosen();
    matches!(chosen, Some(PgType::Float8 | PgType::Numeric | PgType::Jsonb))
}

fn delete_sql(mapping: &Mapping, target: &str) -> String {
    if let ([column], [name]) = (&mapping.key[..], &mapping.key_names()[..]) {
        let pg = mapping.columns[*column].pg.wire().0;
        return format!("delete from {target} where {name} = any($1::{pg}[])");
    }
    let Named { list, condition, .. } = named_rows(mapping, None);
    format!("delete from {target} t using {list} where {condition}")
}

/// The rows of a table that parameters name: an array for each column of the key.
pub(super) struct Named {
    /// What the table, as `t`, is joined with: `unnest($1::bigint[], …) as named (k0, …)`.
    pub list: String,
    /// The condition of the join.
    pub condition: String,
    /// The names as they were given.
    pub names: Vec<String>,
}

/// For statements whose parameters are [`key_arrays`]; `text` is the name of a column of texts, one
/// for each row, whose array is the last parameter.
pub(super) fn named_rows(mapping: &Mapping, text: Option<&str>) -> Named {
    let types = mapping.key.iter().map(|column| mapping.columns[*column].pg.wire().0);
    let types = types.chain(text.map(|_| "text"));
    let arrays: Vec<String> =
        types.enumerate().map(|(number, pg)| format!("${}::{pg}[]", number + 1)).collect();
    let names: Vec<String> = (0..mapping.key.len()).map(|number| format!("k{number}")).collect();
    let key_names = mapping.key_names();
    let equal: Vec<String> = key_names
        .iter()
        .zip(&names)
        .map(|(column, name)| format!("t.{column} = named.{name}"))
        .collect();
    let columns: Vec<&str> = names.iter().map(String::as_str).chain(text).collect();
    Named {
        list: format!("unnest({}) as named ({})", arrays.join(", "), columns.join(", ")),
        condition: equal.join(" and "),
        names: names.iter().map(|name| format!("named.{name}")).collect(),
    }
}

/// The quoted name of the key, where keys are single integers.
fn single_integer_key(mapping: &Mapping) -> Option<Ident> {
    match mapping.key[..] {
        [column] if mapping.columns[column].pg.is_integer() => {
            Some(Ident::new(&mapping.columns[column].target))
        }
        _ => None,
    }
}

fn integer_key(key: &KeyImage) -> Option<i64> {
    let field = fields(key).next().flatten()?;
    match *field {
        [a, b] => Some(i64::from(i16::from_be_bytes([a, b]))),
        [a, b, c, d] => Some(i64::from(i32::from_be_bytes([a, b, c, d]))),
        _ => field.try_into().ok().map(i64::from_be_bytes),
    }
}

/// One array per key column.
pub(super) fn key_arrays(mapping: &Mapping, keys: &[&KeyImage]) -> Vec<Raw> {
    let types: Vec<u32> =
        mapping.key.iter().map(|column| mapping.columns[*column].pg.wire().1).collect();
    arrays(&types, keys.iter().map(|key| key.as_slice()))
}

/// One array per column.
fn row_arrays<'a>(mapping: &Mapping, images: impl Iterator<Item = &'a [u8]>) -> Vec<Raw> {
    let types: Vec<u32> = mapping.columns.iter().map(|column| column.pg.wire().1).collect();
    arrays(&types, images)
}

/// One field as an array of one element.
pub(super) fn raw_array(pg: &ColumnType, field: &[u8]) -> Raw {
    arrays(&[pg.wire().1], std::iter::once(field)).remove(0)
}

/// Turns rows of fields into columns of fields. An array's elements have the very form that the
/// fields have, so the bytes are only moved.
fn arrays<'a>(types: &[u32], rows: impl Iterator<Item = &'a [u8]>) -> Vec<Raw> {
    const HEADER_BYTES: usize = 20;
    let mut columns: Vec<BytesMut> = types.iter().map(|_| BytesMut::zeroed(HEADER_BYTES)).collect();
    let mut has_null = vec![false; types.len()];
    let mut count: i32 = 0;
    for row in rows {
        for ((column, has_null), field) in columns.iter_mut().zip(&mut has_null).zip(fields(row)) {
            match field {
                None => {
                    *has_null = true;
                    column.put_i32(-1);
                }
                Some(bytes) => {
                    column.put_i32(i32::try_from(bytes.len()).expect("a field is below 1 GB"));
                    column.put_slice(bytes);
                }
            }
        }
        count += 1;
    }
    for ((column, has_null), oid) in columns.iter_mut().zip(has_null).zip(types) {
        let mut header = &mut column[..HEADER_BYTES];
        header.put_i32(1); // dimensions
        header.put_i32(i32::from(has_null));
        header.put_u32(*oid);
        header.put_i32(count);
        header.put_i32(1); // lower bound
    }
    columns.into_iter().map(|column| Raw(column.freeze())).collect()
}

/// The key of a returned row, in the form of a [`KeyImage`]; it begins at column `from`.
pub(super) fn raw_key(row: &tokio_postgres::Row, from: usize) -> KeyImage {
    struct Field<'a>(&'a [u8]);
    impl<'a> postgres_types::FromSql<'a> for Field<'a> {
        fn from_sql(
            _: &Type,
            raw: &'a [u8],
        ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
            Ok(Self(raw))
        }

        fn accepts(_: &Type) -> bool {
            true
        }
    }
    let mut key = KeyImage::new();
    for column in from..row.len() {
        let Field(bytes) = row.get(column);
        let length = i32::try_from(bytes.len()).expect("a field is below 1 GB");
        key.extend_from_slice(&length.to_be_bytes());
        key.extend_from_slice(bytes);
    }
    key
}

pub(super) fn json_of(mapping: &Mapping, key: &[u8]) -> serde_json::Value {
    let values: Vec<crate::value::Owned> = mapping
        .key
        .iter()
        .zip(fields(key))
        .map(|(column, field)| {
            let column = &mapping.columns[*column];
            column.pg.decode(column.affinity, field).expect("a key image was encoded by us")
        })
        .collect();
    key_json(values.iter().map(crate::value::Owned::storage))
}
