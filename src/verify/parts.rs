//! A table whose keys do not sort alike on both sides: rows are matched by the digests of their
//! keys.
//!
//! 32 bytes for each row travel, half of the digest of its key and half of its own. Rows are told
//! apart into parts by their keys, and one part is as large as memory may hold; for each, both
//! sides are read from one end to the other.

use std::collections::{HashMap, HashSet};
use std::pin::pin;

use futures_util::TryStreamExt;

use super::Error;
use super::order::{Key, name_of};
use super::sum::RowDigest;
use super::walk::{Images, Range, STRETCH_BYTES, Tally, Walk, append_key, key_of_image};
use crate::batch::KeyImage;
use crate::mapping::Mapping;
use crate::source::copy::Cursor;
use crate::source::{self, proof as reading};
use crate::target::{ledger, proof};

/// Rows of one part, whose digests are held in memory.
const PART_ROWS: u64 = 300_000;

/// The halves of digests by which rows are matched.
type Half = [u8; 16];

impl Walk<'_> {
    /// Compares the whole table.
    pub(super) async fn by_parts(&mut self, mut range: Range) -> Result<(), Error> {
        let rows =
            ledger::count_rows(&self.sides.client, &self.sides.schema, &self.mapping().target);
        let rows = u64::try_from(rows.await?).unwrap_or(0);
        let parts = u16::try_from(rows.div_ceil(PART_ROWS).clamp(1, 256)).unwrap_or(256);
        let mut tally = Tally::default();
        let (drift, mut is_equal) = (self.counts.drift_rows(), true);
        let mut looked_at = HashSet::new();
        for number in 0..parts {
            let rows = self.part(number, parts, &mut tally).await?;
            if number == 0 {
                self.count(&tally);
                (is_equal, looked_at) = self.settle_strange(&mut tally).await?;
            }
            let differing = self.part_differing(rows, (number, parts)).await?;
            is_equal &= self.settle_digests(differing, &looked_at).await?;
        }
        self.note(&mut range, None, &tally, is_equal, drift).await
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

    /// Finds the keys that have these digests, on either side, and compares their rows exactly, but
    /// for those that were looked at. Returns whether all are equal.
    async fn settle_digests(
        &mut self,
        mut wanted: HashSet<Half>,
        looked_at: &HashSet<String>,
    ) -> Result<bool, Error> {
        let is_new = |key: &Key| !looked_at.contains(&name_of(key));
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
            let keys = keys.into_iter().filter(is_new).collect();
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
            let keys = keys.into_iter().filter(is_new).collect();
            is_equal &= self.settle(keys).await?.is_empty();
        }
        Ok(is_equal)
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

fn half(digest: &RowDigest) -> Half {
    digest[..16].try_into().expect("a digest has 32 bytes")
}
