//! One table: which of its chunks are read whole, which of its rows are looked at one by one.
//!
//! Rows that go by their keys are read in stretches of a few megabytes: while PostgreSQL digests
//! one, SQLite reads the next. One digest for each stretch travels. All others go by parts, told
//! apart by the digests of their keys: 32 bytes for each row travel, and a part is as large as
//! memory may hold.
//!
//! Each stretch is noted in the ledger as soon as it is compared, so whoever comes after a crash
//! goes on behind it.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::pin::pin;
use std::sync::Arc;

use futures_util::TryStreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};

use super::due::{self, Due, Touched, Wants};
use super::image::{self, RowImage};
use super::order::{Key, Order, Sorted};
use super::settle::Findings;
use super::sum::{RowDigest, Sum};
use super::verdict::{Drift, TableVerdict};
use super::{Error, Sides};
use crate::batch::{KeyImage, fields, key_json};
use crate::change::Position;
use crate::failpoint;
use crate::mapping::Mapping;
use crate::source::copy::Cursor;
use crate::source::{self, proof as reading};
use crate::target::chunks::{self, Chunk, Content, NewChunk};
use crate::target::{ledger, proof};
use crate::terminal;
use crate::value::Owned;

/// What one stretch holds: some ten thousand rows, for which PostgreSQL needs ten to twenty times
/// as long as for the question itself. It is also what is read of each table at least.
const STRETCH_BYTES: usize = 1 << 20;

/// Digests of single rows that are read at a time.
const PAGE_ROWS: usize = 20_000;

/// Rows of one part, whose digests are held in memory.
const PART_ROWS: u64 = 300_000;

/// Of a table that goes by parts and is not read whole, so much is looked at.
const SAMPLE_BYTES: usize = 128 << 10;

/// The halves of digests by which rows are matched.
type Half = [u8; 16];

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
    let mut due = match (wants, touched) {
        (Some(wants), touched) => due::choose(&chunks, order, touched, wants),
        // Only what was touched was asked for, and nobody can say what was.
        (None, Touched::Unknown) => vec![Due::Whole; chunks.len()],
        (None, Touched::Keys(keys)) => {
            vec![Due::Keys(keys.into_iter().map(|Sorted(key)| key).collect())]
        }
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
        let all = vec![Due::Whole; chunks.len()];
        let chunks = chunks::of_table(&sides.client, mapping.id, &walk.fingerprint).await?;
        walk.read_whole(&chunks, &all[..chunks.len().min(all.len())]).await?;
    }
    walk.finish(wants).await?;
    Ok((std::mem::take(&mut walk.counts), std::mem::take(&mut walk.findings.drift)))
}

/// How the rows of a table are digested, and their keys.
struct Images {
    row: RowImage,
    key: RowImage,
}

impl Images {
    fn of(mapping: &Mapping) -> Self {
        Self { row: RowImage::of(mapping), key: RowImage::of_key(mapping) }
    }
}

struct Walk<'a> {
    sides: &'a Sides,
    table: usize,
    order: Order,
    images: Arc<Images>,
    proven_to: Position,
    fingerprint: String,
    counts: TableVerdict,
    findings: Findings,
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
struct Range {
    after: Option<String>,
    until: Option<String>,
    /// Those that have not been replaced yet.
    chunks: VecDeque<Chunk>,
}

/// Rows of the source that were read, in key order.
#[derive(Default)]
struct Piece {
    digests: Vec<RowDigest>,
    /// Their keys as the target has them, one after the other, and where each ends.
    keys: Vec<u8>,
    ends: Vec<usize>,
    tally: Tally,
    /// The last row that the target can hold; empty if there is none.
    last: Key,
    record: Vec<u8>,
}

/// What was read of the source.
#[derive(Default)]
struct Tally {
    rows: u64,
    bytes: u64,
    sum: Sum,
    /// Rows that need a closer look: the target cannot hold them, or the inverse does not make of
    /// their images what they are.
    strange: Vec<Key>,
}

impl Tally {
    fn see(&mut self, mapping: &Mapping, row: &reading::Visited<'_>) {
        self.rows += 1;
        let Some(image) = row.image else { return self.strange.push(row.key()) };
        self.bytes += image.len() as u64;
        if !image::is_home(mapping, |column| row.value(column), image) {
            self.strange.push(row.key());
        }
    }
}

impl Piece {
    fn see(&mut self, mapping: &Mapping, images: &Images, row: &reading::Visited<'_>) {
        self.tally.see(mapping, row);
        let Some(image) = row.image else { return };
        let digest = images.row.digest(image, &mut self.record);
        self.tally.sum.add(&digest);
        self.digests.push(digest);
        append_key(mapping, image, &mut self.keys);
        self.ends.push(self.keys.len());
        row.key_into(&mut self.last);
    }

    fn key(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.keys[start..self.ends[at]]
    }

    /// The digest of all, as PostgreSQL computes it.
    fn digest(&self) -> RowDigest {
        let whole = self.digests.iter().fold(Sha256::new(), |whole, one| whole.chain_update(one));
        whole.finalize().into()
    }
}

impl Walk<'_> {
    fn mapping(&self) -> &Mapping {
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
        if chunks.is_empty() {
            // Another comparison has the ledger just now.
            ranges.push(Range { after: None, until: None, chunks: VecDeque::new() });
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

    /// Compares rows that seem to differ exactly, and returns those that are not equal yet.
    async fn settle(&mut self, keys: Vec<Key>) -> Result<Vec<Key>, Error> {
        self.counts.rows_again += keys.len() as u64;
        self.findings.settle(self.sides, self.table, keys, &mut self.counts).await
    }

    /// What was read of the source counts.
    fn count(&mut self, tally: &Tally) {
        self.counts.rows_source += tally.rows;
        self.counts.rows_compared += tally.rows;
        self.counts.bytes += tally.bytes;
    }

    async fn by_stretches(&mut self, mut range: Range) -> Result<(), Error> {
        let sql = self.images.row.sql();
        let cursor = |json: &Option<String>| due::cursor(json.as_deref(), self.mapping());
        let (start, end) = (cursor(&range.after), cursor(&range.until));
        let mut after_image = due::bound_image(range.after.as_deref(), self.mapping());
        let until_image = due::bound_image(range.until.as_deref(), self.mapping());
        let (mut piece, mut walked) = self.piece(start, end.clone()).await?;
        loop {
            let until = match walked.is_last {
                true => range.until.clone(),
                false => Some(key_json(piece.last.iter().map(Owned::storage)).to_string()),
            };
            // A chunk that is read again may be full at its very end.
            let is_last = walked.is_last || until == range.until;
            let piece_until = if is_last {
                until_image.clone()
            } else {
                piece.digests.len().checked_sub(1).map(|last| piece.key(last).to_vec())
            };
            let stretch =
                proof::Stretch { after: after_image.as_ref(), until: piece_until.as_ref() };
            let ahead = async {
                match is_last {
                    true => Ok(None),
                    false => self.piece(walked.cursor.clone(), end.clone()).await.map(Some),
                }
            };
            let (client, schema) = (&self.sides.by_index, self.sides.schema.as_str());
            let found = proof::stretch(client, schema, self.mapping(), &sql, stretch);
            let (found, ahead) = tokio::join!(found, ahead);
            let (found, ahead) = (found?, ahead?);
            self.counts.rows_target += u64::try_from(found.rows).unwrap_or(0);
            self.count(&piece.tally);
            let drift = self.counts.drift_rows();
            let strange = std::mem::take(&mut piece.tally.strange);
            let mut is_equal = self.settle(strange).await?.is_empty();
            if found.rows != piece.digests.len() as i64 || found.digest != piece.digest() {
                is_equal &= self.settle_differing(&sql, stretch, &piece).await?;
            }
            let has_drift = drift < self.counts.drift_rows();
            let noted = self.note(&mut range, until.clone(), &piece.tally, is_equal).await?;
            if !has_drift && !is_equal {
                self.to_judge.extend(noted);
            }
            let Some(next) = ahead else { return Ok(()) };
            (range.after, after_image) = (until, piece_until);
            (piece, walked) = next;
        }
    }

    /// The next rows of the source in key order, over as many read transactions as it takes. Ends
    /// at a row that the target can hold, unless there is none.
    async fn piece(&self, after: Cursor, until: Cursor) -> Result<(Piece, reading::Walked), Error> {
        let mut piece = Piece::default();
        let mut cursor = after;
        loop {
            let (plan, images) = (self.sides.plan.clone(), self.images.clone());
            let stretch = reading::Stretch {
                table: self.table,
                is_by_key: true,
                after: cursor,
                until: until.clone(),
                bytes_max: STRETCH_BYTES,
            };
            let before = piece.tally.rows;
            let (grown, walked) = self
                .sides
                .source
                .run(move |source| {
                    let mapping = &plan.mappings[stretch.table];
                    let mut see = |row: reading::Visited<'_>| piece.see(mapping, &images, &row);
                    let walked = source.visit(&plan, &stretch, &mut see)?;
                    Ok::<_, source::Error>((piece, walked))
                })
                .await?;
            piece = grown;
            self.pass(piece.tally.rows - before).await;
            let is_full = STRETCH_BYTES as u64 <= piece.tally.bytes && !piece.last.is_empty();
            if is_full || walked.is_last {
                return Ok((piece, walked));
            }
            cursor = walked.cursor;
        }
    }

    /// So many rows were read.
    async fn pass(&self, rows: u64) {
        self.sides.keep_to_rate(rows).await;
        if let Some(bar) = &self.bar {
            bar.inc(rows);
        }
    }

    /// Compares the rows of a stretch under whose keys the two sides differ, however many rows the
    /// target has too many. Returns whether all are equal.
    async fn settle_differing(
        &mut self,
        sql: &str,
        stretch: proof::Stretch<'_>,
        piece: &Piece,
    ) -> Result<bool, Error> {
        let sides = self.sides;
        let mapping = sides.mapping(self.table);
        let mut on_source: HashMap<&[u8], &RowDigest> =
            piece.digests.iter().enumerate().map(|(at, digest)| (piece.key(at), digest)).collect();
        let (mut is_equal, mut after) = (true, stretch.after.cloned());
        loop {
            let rest = proof::Stretch { after: after.as_ref(), ..stretch };
            let (client, schema) = (&sides.by_index, &sides.schema);
            let page = proof::digests(client, schema, mapping, sql, rest, PAGE_ROWS).await?;
            let mut keys = Vec::new();
            for (key, digest) in &page {
                let its = on_source.remove(key.as_slice());
                if its.is_some_and(|its| its.as_slice() == digest) {
                    continue;
                }
                match key_of_image(mapping, key) {
                    Some(key) => keys.push(key),
                    // No key of the source is written like that: the row is nobody's.
                    None => {
                        self.findings.nameless(sides, self.table, &mut self.counts);
                        is_equal = false;
                    }
                }
            }
            is_equal &= self.settle(keys).await?.is_empty();
            match page.into_iter().last() {
                Some((last, _)) => after = Some(last),
                None => break,
            }
        }
        // A key that the inverse does not bring home has had its closer look with the strange ones.
        let keys = on_source.into_keys().filter_map(|key| key_of_image(mapping, key)).collect();
        Ok(self.settle(keys).await?.is_empty() && is_equal)
    }

    /// Puts what was read in the place of the chunks that it covers; returns its number.
    async fn note(
        &self,
        range: &mut Range,
        until: Option<String>,
        tally: &Tally,
        is_equal: bool,
    ) -> Result<Option<i64>, Error> {
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
            gone.extend(range.chunks.pop_front().map(|chunk| chunk.id));
        }
        let cut = range.chunks.front().map(|chunk| chunk.id);
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
        let noted = chunks::put(client, id, &self.fingerprint, &gone, cut, &new).await?;
        failpoint::hit(failpoint::VERIFY_CHUNK_NOTED);
        Ok(noted)
    }

    async fn by_parts(&mut self, mut range: Range) -> Result<(), Error> {
        let rows =
            ledger::count_rows(&self.sides.client, &self.sides.schema, &self.mapping().target);
        let rows = u64::try_from(rows.await?).unwrap_or(0);
        let parts = u16::try_from(rows.div_ceil(PART_ROWS).clamp(1, 256)).unwrap_or(256);
        let mut tally = Tally::default();
        let (drift, mut is_equal) = (self.counts.drift_rows(), true);
        for number in 0..parts {
            let rows = self.part(number, parts, &mut tally).await?;
            if number == 0 {
                self.count(&tally);
                let strange = std::mem::take(&mut tally.strange);
                is_equal &= self.settle(strange).await?.is_empty();
            }
            let differing = self.part_differing(rows, (number, parts)).await?;
            is_equal &= self.settle_digests(differing).await?;
        }
        let has_drift = drift < self.counts.drift_rows();
        let noted = self.note(&mut range, None, &tally, is_equal && !has_drift).await?;
        if !has_drift && !is_equal {
            self.to_judge.extend(noted);
        }
        Ok(())
    }

    /// The rows of one part by the digests of their keys; the first part counts all rows.
    async fn part(
        &self,
        number: u16,
        parts: u16,
        tally: &mut Tally,
    ) -> Result<HashMap<Half, Half>, Error> {
        let mut rows: HashMap<Half, Half> = HashMap::new();
        let mut counted = std::mem::take(tally);
        let mut cursor = Cursor::Start;
        loop {
            let (plan, images) = (self.sides.plan.clone(), self.images.clone());
            let stretch = self.in_any_order(cursor);
            let ((grown, counts, seen), walked) = self
                .sides
                .source
                .run(move |source| {
                    let mapping = &plan.mappings[stretch.table];
                    let (mut seen, mut record) = (0, Vec::new());
                    let mut see = |row: reading::Visited<'_>| {
                        seen += 1;
                        if number == 0 {
                            counted.see(mapping, &row);
                        }
                        let Some(image) = row.image else { return };
                        let key = half(&images.key_digest(mapping, image, &mut record));
                        let is_its = u16::from(key[15]) % parts == number;
                        if number != 0 && !is_its {
                            return;
                        }
                        let digest = images.row.digest(image, &mut record);
                        if number == 0 {
                            counted.sum.add(&digest);
                        }
                        if is_its {
                            rows.insert(key, half(&digest));
                        }
                    };
                    let walked = source.visit(&plan, &stretch, &mut see)?;
                    Ok::<_, source::Error>(((rows, counted, seen), walked))
                })
                .await?;
            (rows, counted) = (grown, counts);
            self.pass(seen).await;
            if walked.is_last {
                *tally = counted;
                return Ok(rows);
            }
            cursor = walked.cursor;
        }
    }

    fn in_any_order(&self, after: Cursor) -> reading::Stretch {
        reading::Stretch {
            table: self.table,
            is_by_key: false,
            after,
            until: Cursor::Start,
            bytes_max: STRETCH_BYTES,
        }
    }

    /// The digests of keys under which the two sides differ, within a part.
    async fn part_differing(
        &mut self,
        mut rows: HashMap<Half, Half>,
        part: (u16, u16),
    ) -> Result<HashSet<Half>, Error> {
        let sides = self.sides;
        let (key_sql, row_sql) = (self.images.key.sql(), self.images.row.sql());
        let mapping = sides.mapping(self.table);
        let digests = (key_sql.as_str(), row_sql.as_str());
        let stream = proof::part(&sides.client, &sides.schema, mapping, digests, part).await?;
        let mut stream = pin!(stream);
        let mut differing = HashSet::new();
        while let Some((key, digest)) = stream.try_next().await? {
            self.counts.rows_target += 1;
            if rows.remove(&key) != Some(digest) {
                differing.insert(key);
            }
        }
        differing.extend(rows.into_keys());
        Ok(differing)
    }

    /// Finds the keys that have these digests, on either side, and compares their rows exactly.
    /// Returns whether all are equal.
    async fn settle_digests(&mut self, mut wanted: HashSet<Half>) -> Result<bool, Error> {
        let mut is_equal = true;
        let mut cursor = Cursor::Start;
        while !wanted.is_empty() {
            let (plan, images) = (self.sides.plan.clone(), self.images.clone());
            let stretch = self.in_any_order(cursor);
            let ((left, keys), walked) = self
                .sides
                .source
                .run(move |source| {
                    let mapping = &plan.mappings[stretch.table];
                    let (mut keys, mut record) = (Vec::new(), Vec::new());
                    let mut see = |row: reading::Visited<'_>| {
                        let Some(image) = row.image else { return };
                        let key = half(&images.key_digest(mapping, image, &mut record));
                        if wanted.remove(&key) {
                            keys.push(row.key());
                        }
                    };
                    let walked = source.visit(&plan, &stretch, &mut see)?;
                    Ok::<_, source::Error>(((wanted, keys), walked))
                })
                .await?;
            wanted = left;
            is_equal &= self.settle(keys).await?.is_empty();
            if walked.is_last {
                break;
            }
            cursor = walked.cursor;
        }
        let rest: Vec<Vec<u8>> = wanted.into_iter().map(|key| key.to_vec()).collect();
        for part in rest.chunks(10_000) {
            let mapping = self.mapping();
            let key_sql = self.images.key.sql();
            let (client, schema) = (&self.sides.client, &self.sides.schema);
            let found = proof::keys_of_digests(client, schema, mapping, &key_sql, part).await?;
            let keys: Vec<Key> =
                found.iter().filter_map(|key| key_of_image(mapping, key)).collect();
            // No key of the source is written like that: the row is nobody's.
            for _ in keys.len()..found.len() {
                self.findings.nameless(self.sides, self.table, &mut self.counts);
                is_equal = false;
            }
            is_equal &= self.settle(keys).await?.is_empty();
        }
        Ok(is_equal)
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

impl Images {
    /// The digest of a row's key.
    fn key_digest(&self, mapping: &Mapping, image: &[u8], record: &mut Vec<u8>) -> RowDigest {
        let mut key = KeyImage::new();
        append_key(mapping, image, &mut key);
        self.key.digest(&key, record)
    }
}

/// Appends the fields of a row's image that name it.
fn append_key(mapping: &Mapping, image: &[u8], key: &mut KeyImage) {
    for column in &mapping.key {
        let field = fields(image).nth(*column).flatten().unwrap_or_default();
        let length = i32::try_from(field.len()).expect("a field is below 1 GB");
        key.extend_from_slice(&length.to_be_bytes());
        key.extend_from_slice(field);
    }
}

fn half(digest: &RowDigest) -> Half {
    digest[..16].try_into().expect("a digest has 32 bytes")
}

/// The values that name a row, as SQLite holds them; `None` for a key that it could not have.
fn key_of_image(mapping: &Mapping, image: &[u8]) -> Option<Key> {
    let key = mapping.key.iter().zip(fields(image)).map(|(at, field)| {
        let column = &mapping.columns[*at];
        column.pg.decode(column.affinity, field)
    });
    key.collect()
}
