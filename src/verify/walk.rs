//! One table: which of its chunks are read whole, which of its rows are looked at one by one.
//!
//! Chunks that are due are read whole: by stretches of keys (`stretches`) where both sides sort
//! them alike, else in parts (`parts`). Each stretch is noted in the ledger as soon as it is
//! compared, so whoever comes after a crash goes on behind it.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};

use super::due::{self, Due, Touched, Wants};
use super::image::{self, RowImage};
use super::order::{Key, Order, Sorted, name_of};
use super::settle::Findings;
use super::sum::Sum;
use super::verdict::{Drift, TableVerdict};
use super::{Error, Sides};
use crate::batch::{KeyImage, fields};
use crate::change::Position;
use crate::failpoint;
use crate::mapping::Mapping;
use crate::source::copy::Cursor;
use crate::source::{self, proof as reading};
use crate::target::chunks::{self, Chunk, Content, NewChunk};
use crate::target::ledger;
use crate::terminal;

/// What one stretch holds: some ten thousand rows, for which PostgreSQL needs ten to twenty times
/// as long as for the question itself. It is also what is read of each table at least.
pub(super) const STRETCH_BYTES: usize = 1 << 20;

/// Of a table that goes by parts and is not read whole, so much is looked at.
const SAMPLE_BYTES: usize = 128 << 10;

/// A table before it is compared.
pub(super) struct Prepared {
    /// Position of the mapping in the plan.
    pub table: usize,
    /// How its rows go.
    order: Order,
    /// What a proof of it must have been made with.
    fingerprint: String,
    chunks: Vec<Chunk>,
}

impl Prepared {
    /// Reads what the ledger knows of a table; a pass over all of it begins or goes on.
    pub async fn of(sides: &Sides, table: usize, wants: Option<Wants>) -> Result<Self, Error> {
        let mapping = sides.mapping(table);
        let fingerprint = image::fingerprint(mapping, sides.lineage.generation);
        if wants == Some(Wants::All) && chunks::begin_pass(&sides.client, mapping.id).await? {
            tracing::info!(table = %mapping.table.name,
                "a comparison of this table was ended before it was done; going on behind it");
        }
        let chunks = chunks::of_table(&sides.client, mapping.id, &fingerprint).await?;
        Ok(Self { table, order: Order::of(mapping), fingerprint, chunks })
    }

    /// The position from which on changes have to be looked at; `None` where nothing is proven.
    pub fn since(&self) -> Option<Position> {
        let proven = self.chunks.iter().filter(|chunk| chunk.is_equal);
        proven.filter_map(|chunk| chunk.position).min()
    }
}

/// Compares one table; `proven_to` is where the target stood before anything was read.
pub(super) async fn table(
    sides: &Sides,
    prepared: Prepared,
    touched: Touched,
    wants: Option<Wants>,
    proven_to: Position,
) -> Result<(TableVerdict, Vec<Drift>), Error> {
    let mapping = sides.mapping(prepared.table);
    let Prepared { table, order, fingerprint, chunks } = prepared;
    let mut due = match wants {
        Some(wants) => due::choose(&chunks, order, touched, wants),
        None => due::of_touched(&chunks, touched),
    };
    let rows = chunks.iter().zip(&due).filter(|(_, due)| **due == Due::Whole);
    let rows = rows.map(|(chunk, _)| chunk.content.rows).sum();
    let mut walk = Walk {
        sides,
        table,
        order,
        images: Arc::new(Images::of(mapping)),
        proven_to,
        fingerprint,
        counts: TableVerdict { name: mapping.table.name.clone(), ..TableVerdict::default() },
        findings: Findings::default(),
        bar: bar(sides, mapping, rows).await?,
        to_judge: Vec::new(),
    };
    walk.read_whole(&chunks, &due).await?;
    walk.read_keys(&chunks, &mut due, wants.is_some()).await?;
    if wants.is_some() && walk.counts.rows_compared == 0 && due.iter().any(|due| *due != Due::Whole)
    {
        // What was due is empty by now. A table of which no row was compared proves nothing.
        let chunks = chunks::of_table(&sides.client, mapping.id, &walk.fingerprint).await?;
        walk.read_whole(&chunks, &vec![Due::Whole; chunks.len()]).await?;
    }
    walk.finish(wants).await?;
    Ok((std::mem::take(&mut walk.counts), std::mem::take(&mut walk.findings.drift)))
}

/// Compares all of one table, of which neither side moves; nothing is noted. The sides' sink is
/// told of the rows that differ.
pub(super) async fn still(sides: &Sides, table: usize) -> Result<TableVerdict, Error> {
    let mapping = sides.mapping(table);
    let order = Order::of(mapping);
    let mut walk = Walk {
        sides,
        table,
        order,
        images: Arc::new(Images::of(mapping)),
        proven_to: Position::default(),
        fingerprint: String::new(),
        counts: TableVerdict { name: mapping.table.name.clone(), ..TableVerdict::default() },
        findings: Findings::default(),
        bar: bar(sides, mapping, 0).await?,
        to_judge: Vec::new(),
    };
    let all = Range { after: None, until: None, chunks: VecDeque::new() };
    match order {
        Order::Keys => walk.by_stretches(all).await?,
        Order::Digests => walk.by_parts(all).await?,
    }
    Ok(std::mem::take(&mut walk.counts))
}

/// How the rows of a table are digested, and their keys.
pub(super) struct Images {
    pub row: RowImage,
    pub key: RowImage,
}

impl Images {
    fn of(mapping: &Mapping) -> Self {
        Self { row: RowImage::of(mapping), key: RowImage::of_key(mapping) }
    }
}

pub(super) struct Walk<'a> {
    pub sides: &'a Sides,
    pub table: usize,
    order: Order,
    pub images: Arc<Images>,
    proven_to: Position,
    fingerprint: String,
    pub counts: TableVerdict,
    pub findings: Findings,
    bar: Option<ProgressBar>,
    /// Chunks with rows that were in flight.
    to_judge: Vec<i64>,
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// How far a table is; a second scan of the source begins it anew.
async fn bar(sides: &Sides, mapping: &Mapping, rows: i64) -> Result<Option<ProgressBar>, Error> {
    if !terminal::is_interactive() {
        return Ok(None);
    }
    let rows = match rows {
        0 => ledger::count_rows(&sides.client, &sides.schema, &mapping.target).await?,
        rows => rows,
    };
    let bar = terminal::draw(ProgressBar::new(u64::try_from(rows).unwrap_or(0)));
    let style = "comparing {msg} {wide_bar} {human_pos} rows of {human_len}, {per_sec}";
    bar.set_style(ProgressStyle::with_template(style).expect("the template is valid"));
    bar.set_message(mapping.table.name.clone());
    Ok(Some(bar))
}

/// Chunks side by side that are read in one go.
pub(super) struct Range {
    pub after: Option<String>,
    pub until: Option<String>,
    /// Those that have not been replaced yet.
    chunks: VecDeque<Chunk>,
}

/// What was read of the source.
#[derive(Default)]
pub(super) struct Tally {
    pub rows: u64,
    pub bytes: u64,
    pub sum: Sum,
    /// Rows that need a closer look: the target cannot hold them, or the inverse does not make of
    /// their images what they are.
    strange: Vec<Key>,
}

impl Tally {
    /// Counts a row, and brings its image home; its digest is the caller's.
    pub fn see(&mut self, mapping: &Mapping, row: &reading::Visited<'_>) {
        self.rows += 1;
        let Some(image) = row.image else { return self.strange.push(row.key()) };
        self.bytes += image.len() as u64;
        if !image::is_home(mapping, |column| row.value(column), image) {
            self.strange.push(row.key());
        }
    }
}

impl Walk<'_> {
    pub fn mapping(&self) -> &Mapping {
        self.sides.mapping(self.table)
    }

    /// Reads the chunks that are due, those side by side in one go.
    async fn read_whole(&mut self, chunks: &[Chunk], due: &[Due]) -> Result<(), Error> {
        let mut ranges: Vec<Range> = Vec::new();
        let mut is_beside = false;
        for (chunk, due) in chunks.iter().zip(due) {
            let is_whole = *due == Due::Whole;
            if is_whole && !is_beside {
                let (after, until) = (chunk.after.clone(), chunk.until.clone());
                ranges.push(Range { after, until, chunks: VecDeque::new() });
            }
            if is_whole && let Some(range) = ranges.last_mut() {
                range.until.clone_from(&chunk.until);
                range.chunks.push_back(chunk.clone());
            }
            is_beside = is_whole;
        }
        for range in ranges {
            match self.order {
                Order::Keys => self.by_stretches(range).await?,
                Order::Digests => self.by_parts(range).await?,
            }
        }
        Ok(())
    }

    /// Looks at the rows that are due one by one.
    async fn read_keys(
        &mut self,
        chunks: &[Chunk],
        due: &mut [Due],
        is_noted: bool,
    ) -> Result<(), Error> {
        let mut keys: Vec<Key> = Vec::new();
        for due in due.iter_mut() {
            if let Due::Keys(some) = due {
                keys.append(some);
            }
        }
        let is_sampled =
            is_noted && self.order == Order::Digests && due.iter().all(|due| *due != Due::Whole);
        if is_sampled {
            keys.extend(self.sample().await?);
        }
        let before = self.counts.drift_rows();
        self.counts.rows_source += keys.len() as u64;
        self.counts.rows_target += keys.len() as u64;
        self.counts.rows_compared += keys.len() as u64;
        let unsettled =
            self.findings.settle(self.sides, self.table, keys, &mut self.counts).await?;
        if !is_noted {
            return Ok(());
        }
        let has_drift = before < self.counts.drift_rows();
        let unsettled: BTreeSet<Sorted> = unsettled.into_iter().map(Sorted).collect();
        let (mut proven, mut doubtful) = (Vec::new(), Vec::new());
        for (chunk, _) in chunks.iter().zip(due).filter(|(_, due)| **due != Due::Whole) {
            match due::has_any(chunk, &unsettled) {
                true => doubtful.push(chunk.id),
                false => proven.push(chunk.id),
            }
        }
        chunks::advance(&self.sides.client, &proven, self.proven_to).await?;
        if has_drift {
            chunks::judge(&self.sides.client, &doubtful, false).await?;
        }
        Ok(())
    }

    /// Some rows of a table that is not read whole, others each time.
    async fn sample(&self) -> Result<Vec<Key>, Error> {
        let (plan, table, number) = (self.sides.plan.clone(), self.table, self.sides.number);
        let keys = self.sides.source.run(move |source| {
            // Steps of the golden ratio come near every place in turn.
            const STEP: i128 = 618_033_989;
            let turn = i128::from(number) * STEP % 1_000_000_000;
            let start = match source.ends(&plan, table)? {
                Some((low, high)) => {
                    let span = i128::from(high) - i128::from(low);
                    let at = i128::from(low) + span * turn / 1_000_000_000 - 1;
                    i64::try_from(at).map_or(Cursor::Start, Cursor::Rowid)
                }
                None => Cursor::Start,
            };
            let mut keys = Vec::new();
            let stretch = reading::Stretch {
                table,
                is_by_key: false,
                after: start,
                until: Cursor::Start,
                bytes_max: SAMPLE_BYTES,
            };
            source.visit(&plan, &stretch, &mut |row| keys.push(row.key()))?;
            Ok::<_, source::Error>(keys)
        });
        Ok(keys.await?)
    }

    /// Compares the rows that need a closer look whatever their digests. Returns whether all are
    /// equal, and their names: no other reason to look at them counts again.
    pub async fn settle_strange(
        &mut self,
        tally: &mut Tally,
    ) -> Result<(bool, HashSet<String>), Error> {
        let strange = std::mem::take(&mut tally.strange);
        let names = strange.iter().map(|key| name_of(key)).collect();
        Ok((self.settle(strange).await?.is_empty(), names))
    }

    /// Compares rows that seem to differ exactly, and returns those that are not equal yet.
    pub async fn settle(&mut self, keys: Vec<Key>) -> Result<Vec<Key>, Error> {
        self.counts.rows_again += keys.len() as u64;
        self.findings.settle(self.sides, self.table, keys, &mut self.counts).await
    }

    /// What was read of the source counts.
    pub fn count(&mut self, tally: &Tally) {
        self.counts.rows_source += tally.rows;
        self.counts.rows_compared += tally.rows;
        self.counts.bytes += tally.bytes;
    }

    /// So many rows were read.
    pub async fn pass(&self, rows: u64) {
        self.sides.keep_to_rate(rows).await;
        if let Some(bar) = &self.bar {
            bar.inc(rows);
        }
    }

    /// Puts what was read in the place of the chunks that it covers. What is not equal although no
    /// more than `drift_before` rows differ was in flight, and is judged at the end.
    pub async fn note(
        &mut self,
        range: &mut Range,
        until: Option<String>,
        tally: &Tally,
        is_equal: bool,
        drift_before: u64,
    ) -> Result<(), Error> {
        if self.sides.still.is_some() {
            return Ok(());
        }
        let end = due::bound(until.as_deref());
        let is_behind = |bound: Option<&str>| match (&end, due::bound(bound)) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(end), Some(bound)) => bound <= *end,
        };
        let mut gone = Vec::new();
        while let Some(first) = range.chunks.front() {
            if first.until != until && !is_behind(first.until.as_deref()) {
                break;
            }
            gone.extend(range.chunks.pop_front());
        }
        let new = NewChunk {
            after: range.after.clone(),
            until,
            position: self.proven_to,
            content: Content {
                rows: i64::try_from(tally.rows).unwrap_or(i64::MAX),
                bytes: i64::try_from(tally.bytes).unwrap_or(i64::MAX),
                checksum: tally.sum.to_string(),
            },
            is_equal,
        };
        let (client, id) = (&self.sides.client, self.mapping().id);
        let cut = range.chunks.front();
        let noted = chunks::put(client, id, &self.fingerprint, &gone, cut, &new).await?;
        if let Some(cut) = range.chunks.front_mut() {
            cut.after.clone_from(&new.until);
        }
        failpoint::hit(failpoint::VERIFY_CHUNK_NOTED);
        if !is_equal && self.counts.drift_rows() == drift_before {
            self.to_judge.extend(noted);
        }
        Ok(())
    }

    /// Waits for rows in flight, and says what is proven of the table as a whole.
    async fn finish(&mut self, wants: Option<Wants>) -> Result<(), Error> {
        let drift = self.counts.drift_rows();
        self.findings.finish(self.sides, self.table, &mut self.counts).await?;
        if drift == self.counts.drift_rows() && self.counts.in_flight == 0 {
            chunks::judge(&self.sides.client, &self.to_judge, true).await?;
        }
        let (client, id) = (&self.sides.client, self.mapping().id);
        if wants == Some(Wants::All) {
            chunks::end_pass(client, id).await?;
        }
        let chunks = chunks::of_table(client, id, &self.fingerprint).await?;
        let mut sum = Sum::default();
        for chunk in &chunks {
            sum.join(Sum::parse(&chunk.content.checksum).unwrap_or_default());
        }
        let rows: i64 = chunks.iter().map(|chunk| chunk.content.rows).sum();
        let oldest = chunks.iter().filter_map(|chunk| chunk.read.as_ref());
        let oldest = oldest.max_by(|one, other| one.age.total_cmp(&other.age));
        self.counts.rows_proven = u64::try_from(rows).unwrap_or(0);
        self.counts.checksum = sum.to_string();
        self.counts.checksum_position = oldest.map(|read| read.position);
        self.counts.read_at = oldest.map(|read| read.at.clone());
        Ok(())
    }
}

/// Appends the fields of a row's image that name it.
pub(super) fn append_key(mapping: &Mapping, image: &[u8], key: &mut KeyImage) {
    for column in &mapping.key {
        let field = fields(image).nth(*column).flatten().unwrap_or_default();
        let length = i32::try_from(field.len()).expect("a field is below 1 GB");
        key.extend_from_slice(&length.to_be_bytes());
        key.extend_from_slice(field);
    }
}

/// The values that name a row, as SQLite holds them; `None` for a key that it could not have.
pub(super) fn key_of_image(mapping: &Mapping, image: &[u8]) -> Option<Key> {
    let key = mapping.key.iter().zip(fields(image)).map(|(at, field)| {
        let column = &mapping.columns[*at];
        column.pg.decode(column.affinity, field)
    });
    key.collect()
}
