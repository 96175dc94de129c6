//! One table from its first row to its last: which rows need a closer look.
//!
//! Rows that an integer names are in the same order on both sides and go by stretches of keys: one
//! digest for each stretch travels. All others go by parts, told apart by the digests of their
//! keys, because the two sides do not sort texts, blobs and composite keys alike whatever the
//! collation: 32 bytes for each row travel, and a part is as large as memory may hold.

use std::collections::{HashMap, HashSet};
use std::pin::pin;

use futures_util::TryStreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};

use super::image::{RowDigest, RowImage};
use super::settle::{Findings, Key};
use super::{Drift, Error, Sides, TableVerdict};
use crate::batch::{fields, key_of_json};
use crate::mapping::Mapping;
use crate::source::copy::{Chunk, ChunkRead, Cursor, Lane, Slice};
use crate::table::Key as TableKey;
use crate::target::{ledger, proof};
use crate::terminal;
use crate::value::Owned;

/// Of what the source is read in one go.
const CHUNK_BYTES: usize = 1 << 20;

/// Rows of one part, whose digests, and of those to be brought home the keys, are held in memory.
const PART_ROWS: u64 = 300_000;

/// Tables up to so many rows are brought home whole every time.
const SMALL_ROWS: u64 = 10_000;

/// Of larger ones, one row in so many.
const HOME_SHARE: u8 = 64;

/// The halves of digests by which rows are matched.
type Half = [u8; 16];

/// Compares one table.
pub(super) async fn table(
    sides: &Sides,
    table: usize,
) -> Result<(TableVerdict, Vec<Drift>), Error> {
    let mapping = sides.mapping(table);
    let on_target = ledger::count_rows(&sides.client, &sides.schema, &mapping.target).await?;
    let rows = u64::try_from(on_target).unwrap_or(0);
    let mut walk = Walk {
        sides,
        table,
        image: RowImage::of(mapping),
        key_image: RowImage::of_key(mapping),
        share: (SMALL_ROWS < rows && !sides.scope.is_full)
            .then(|| u8::try_from(sides.number.rem_euclid(HOME_SHARE.into())).unwrap_or(0)),
        counts: TableVerdict { name: mapping.table.name.clone(), ..TableVerdict::default() },
        findings: Findings::default(),
        sum: Sum::default(),
        bar: bar(&mapping.table.name, rows),
    };
    let is_in_order = matches!(mapping.table.key, TableKey::RowidAlias(_) | TableKey::HiddenRowid)
        && mapping.columns[mapping.key[0]].pg.is_integer();
    if is_in_order {
        walk.by_stretches().await?;
    } else {
        let parts = u16::try_from(rows.div_ceil(PART_ROWS).clamp(1, 256)).unwrap_or(256);
        walk.by_parts(parts).await?;
    }
    walk.findings.finish(sides, table, &mut walk.counts).await?;
    walk.counts.checksum = walk.sum.to_string();
    Ok((std::mem::take(&mut walk.counts), std::mem::take(&mut walk.findings.drift)))
}

struct Walk<'a> {
    sides: &'a Sides,
    table: usize,
    image: RowImage,
    key_image: RowImage,
    /// Which share of the rows is brought home; `None` for all.
    share: Option<u8>,
    counts: TableVerdict,
    findings: Findings,
    sum: Sum,
    bar: Option<ProgressBar>,
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// How far a table is; a second scan of the source begins it anew.
fn bar(name: &str, rows: u64) -> Option<ProgressBar> {
    terminal::is_interactive().then(|| {
        let bar = terminal::draw(ProgressBar::new(rows));
        let style = "comparing {msg} {wide_bar} {human_pos} rows of {human_len}, {per_sec}";
        bar.set_style(ProgressStyle::with_template(style).expect("the template is valid"));
        bar.set_message(name.to_owned());
        bar
    })
}

impl Walk<'_> {
    fn mapping(&self) -> &Mapping {
        self.sides.mapping(self.table)
    }

    /// Whether this row is brought home this time.
    fn is_in_share(&self, digest: &RowDigest) -> bool {
        self.share.is_none_or(|share| digest[31] % HOME_SHARE == share)
    }

    /// The next rows of the source after `after`.
    async fn chunk(&self, after: Cursor) -> Result<Chunk, Error> {
        let (plan, table) = (self.sides.plan.clone(), self.table);
        let read = self
            .sides
            .source
            .run(move |source| {
                let lane = Lane { table, number: 0, until: None };
                let bytes_max = CHUNK_BYTES;
                let slice = Slice { after: &after, bytes_max, may_widen: false, place: None };
                source.chunk(&plan, &lane, slice)
            })
            .await?;
        match read {
            ChunkRead::Rows(chunk) => {
                self.sides.keep_to_rate(chunk.rows).await;
                if let Some(bar) = &self.bar {
                    bar.inc(chunk.rows);
                }
                Ok(chunk)
            }
            ChunkRead::Widen { .. } => unreachable!("widening was not allowed"),
        }
    }

    /// The rows of a chunk, each with its digest.
    fn rows(&self, chunk: &Chunk) -> Vec<(Vec<u8>, RowDigest)> {
        let mut rows = Vec::new();
        each_tuple(&chunk.tuples, self.mapping().columns.len(), |tuple| {
            rows.push((tuple.to_vec(), self.image.digest(tuple)));
        });
        rows
    }

    /// Counts the rows of a chunk; the keys of those that the target cannot hold, which must be in
    /// quarantine.
    fn count(&mut self, chunk: &Chunk, rows: &[(Vec<u8>, RowDigest)]) -> Vec<Key> {
        for (tuple, digest) in rows {
            self.counts.bytes += tuple.len() as u64;
            self.sum.add(digest);
        }
        self.counts.rows_source += (rows.len() + chunk.quarantined.len()) as u64;
        chunk.quarantined.iter().filter_map(|aside| key_of_json(&aside.key)).collect()
    }

    async fn by_stretches(&mut self) -> Result<(), Error> {
        let sql = self.image.sql();
        let mut cursor = Cursor::Start;
        loop {
            let after = match &cursor {
                Cursor::Rowid(rowid) => Some(*rowid),
                _ => None,
            };
            let chunk = self.chunk(cursor).await?;
            let until = match &chunk.cursor {
                Cursor::Rowid(rowid) if !chunk.is_last => Some(*rowid),
                _ => None,
            };
            let rows = self.rows(&chunk);
            let mut candidates = self.count(&chunk, &rows);
            let stretch = proof::Stretch { after, until };
            let rows: Vec<(i64, RowDigest)> = rows
                .into_iter()
                .map(|(tuple, digest)| (integer_key(self.mapping(), &tuple), digest))
                .collect();
            let mut whole = Sha256::new();
            rows.iter().for_each(|(_, digest)| whole.update(digest));
            let whole: RowDigest = whole.finalize().into();
            let found = proof::stretch(
                &self.sides.client,
                &self.sides.schema,
                self.mapping(),
                &sql,
                stretch,
            )
            .await?;
            self.counts.rows_target += u64::try_from(found.rows).unwrap_or(0);
            let is_equal = found.rows == rows.len() as i64 && found.digest == whole;
            if !is_equal {
                candidates.extend(self.differing(&sql, stretch, &rows).await?);
            }
            self.counts.rows_compared += rows.len() as u64;
            let known: HashSet<i64> = candidates
                .iter()
                .filter_map(|key| match key[..] {
                    [Owned::Integer(key)] => Some(key),
                    _ => None,
                })
                .collect();
            let home = rows
                .iter()
                .filter(|(key, digest)| !known.contains(key) && self.is_in_share(digest));
            candidates.extend(home.map(|(key, _)| vec![Owned::Integer(*key)]));
            self.findings.settle(self.sides, self.table, candidates, &mut self.counts).await?;
            if chunk.is_last {
                return Ok(());
            }
            cursor = chunk.cursor;
        }
    }

    /// The keys of a stretch under which the two sides differ.
    async fn differing(
        &self,
        sql: &str,
        stretch: proof::Stretch,
        rows: &[(i64, RowDigest)],
    ) -> Result<Vec<Key>, Error> {
        let (client, schema) = (&self.sides.client, &self.sides.schema);
        let found = proof::digests(client, schema, self.mapping(), sql, stretch).await?;
        let mut on_target: HashMap<i64, Vec<u8>> = found.into_iter().collect();
        let mut keys: Vec<i64> = rows
            .iter()
            .filter(|(key, digest)| {
                on_target.remove(key).is_none_or(|found| found != digest.as_slice())
            })
            .map(|(key, _)| *key)
            .collect();
        keys.extend(on_target.into_keys());
        Ok(keys.into_iter().map(|key| vec![Owned::Integer(key)]).collect())
    }

    async fn by_parts(&mut self, parts: u16) -> Result<(), Error> {
        for number in 0..parts {
            let mut rows: HashMap<Half, Half> = HashMap::new();
            let mut home: Vec<(Half, Key)> = Vec::new();
            let mut cursor = Cursor::Start;
            loop {
                let chunk = self.chunk(cursor).await?;
                let tuples = self.rows(&chunk);
                if number == 0 {
                    let aside = self.count(&chunk, &tuples);
                    self.findings.settle(self.sides, self.table, aside, &mut self.counts).await?;
                }
                for (tuple, digest) in tuples {
                    let key = half(&self.key_digest(&tuple));
                    if u16::from(key[15]) % parts == number {
                        rows.insert(key, half(&digest));
                        self.counts.rows_compared += 1;
                        if self.is_in_share(&digest) {
                            home.extend(key_of_tuple(self.mapping(), &tuple).map(|row| (key, row)));
                        }
                    }
                }
                if chunk.is_last {
                    break;
                }
                cursor = chunk.cursor;
            }
            let differing = self.part_differing(rows, (number, parts)).await?;
            home.retain(|(key, _)| !differing.contains(key));
            let home = home.into_iter().map(|(_, row)| row).collect();
            self.findings.settle(self.sides, self.table, home, &mut self.counts).await?;
            self.settle_digests(differing).await?;
        }
        Ok(())
    }

    /// The digests of keys under which the two sides differ, within a part.
    async fn part_differing(
        &mut self,
        mut rows: HashMap<Half, Half>,
        part: (u16, u16),
    ) -> Result<HashSet<Half>, Error> {
        let sides = self.sides;
        let (key_sql, row_sql) = (self.key_image.sql(), self.image.sql());
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
    async fn settle_digests(&mut self, mut wanted: HashSet<Half>) -> Result<(), Error> {
        if wanted.is_empty() {
            return Ok(());
        }
        let mut cursor = Cursor::Start;
        loop {
            let chunk = self.chunk(cursor).await?;
            let mut keys = Vec::new();
            for (tuple, _) in self.rows(&chunk) {
                if wanted.remove(&half(&self.key_digest(&tuple))) {
                    keys.extend(key_of_tuple(self.mapping(), &tuple));
                }
            }
            self.findings.settle(self.sides, self.table, keys, &mut self.counts).await?;
            if chunk.is_last || wanted.is_empty() {
                break;
            }
            cursor = chunk.cursor;
        }
        let rest: Vec<Vec<u8>> = wanted.into_iter().map(|key| key.to_vec()).collect();
        for part in rest.chunks(10_000) {
            let mapping = self.sides.mapping(self.table);
            let key_sql = self.key_image.sql();
            let (client, schema) = (&self.sides.client, &self.sides.schema);
            let found = proof::keys_of_digests(client, schema, mapping, &key_sql, part).await?;
            let keys: Vec<Key> =
                found.iter().filter_map(|key| key_of_image(mapping, key)).collect();
            // No key of the source is written like that: the row is nobody's.
            for _ in keys.len()..found.len() {
                self.findings.nameless(self.sides, self.table, &mut self.counts);
            }
            self.findings.settle(self.sides, self.table, keys, &mut self.counts).await?;
        }
        Ok(())
    }

    fn key_digest(&self, tuple: &[u8]) -> RowDigest {
        let all: Vec<Option<&[u8]>> = fields(tuple).collect();
        let mut key = Vec::new();
        for column in &self.mapping().key {
            let field = all[*column].unwrap_or_default();
            let length = i32::try_from(field.len()).expect("a field is below 1 GB");
            key.extend_from_slice(&length.to_be_bytes());
            key.extend_from_slice(field);
        }
        self.key_image.digest(&key)
    }
}

/// Calls `visit` with the image of each tuple of a chunk.
fn each_tuple(tuples: &[u8], width: usize, mut visit: impl FnMut(&[u8])) {
    const HEAD_BYTES: usize = 2;
    let mut rest = tuples;
    while !rest.is_empty() {
        let mut end = HEAD_BYTES;
        for _ in 0..width {
            let length = rest[end..end + 4].try_into().expect("four bytes");
            end += 4 + usize::try_from(i32::from_be_bytes(length)).unwrap_or(0);
        }
        visit(&rest[HEAD_BYTES..end]);
        rest = &rest[end..];
    }
}

fn half(digest: &RowDigest) -> Half {
    digest[..16].try_into().expect("a digest has 32 bytes")
}

/// The integer that names a row.
fn integer_key(mapping: &Mapping, tuple: &[u8]) -> i64 {
    let field = fields(tuple).nth(mapping.key[0]).flatten().expect("a key is not NULL");
    let sign = if field[0] & 0x80 == 0 { 0 } else { 0xff };
    let mut wide = [sign; 8];
    wide[8 - field.len()..].copy_from_slice(field);
    i64::from_be_bytes(wide)
}

/// The values that name a row, as SQLite holds them.
fn key_of_tuple(mapping: &Mapping, tuple: &[u8]) -> Option<Key> {
    let all: Vec<Option<&[u8]>> = fields(tuple).collect();
    let key = mapping.key.iter().map(|at| {
        let column = &mapping.columns[*at];
        column.pg.decode(column.affinity, all[*at])
    });
    key.collect()
}

fn key_of_image(mapping: &Mapping, image: &[u8]) -> Option<Key> {
    let key = mapping.key.iter().zip(fields(image)).map(|(at, field)| {
        let column = &mapping.columns[*at];
        column.pg.decode(column.affinity, field)
    });
    key.collect()
}

/// A sum of digests modulo 2^256.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum([u64; 4]);

impl Sum {
    fn add(&mut self, digest: &RowDigest) {
        let mut carry = false;
        for (word, bytes) in self.0.iter_mut().zip(digest.chunks_exact(8)) {
            let more = u64::from_be_bytes(bytes.try_into().expect("eight bytes"));
            let (sum, one) = word.overflowing_add(more);
            let (sum, two) = sum.overflowing_add(u64::from(carry));
            (*word, carry) = (sum, one || two);
        }
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|word| write!(f, "{word:016x}"))
    }
}
