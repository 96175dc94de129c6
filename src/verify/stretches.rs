//! A table whose keys sort alike on both sides: stretch by stretch, one digest for each.
//!
//! While PostgreSQL digests one stretch, SQLite reads the next. Only where digests differ do those
//! of single rows travel, and only rows under whose keys those differ are read again.

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};

use super::Error;
use super::due;
use super::order::{Key, name_of};
use super::sum::RowDigest;
use super::walk::{Images, Range, STRETCH_BYTES, Tally, Walk, append_key, key_of_image};
use crate::mapping::Mapping;
use crate::source::copy::Cursor;
use crate::source::{self, proof as reading};
use crate::target::proof;

/// Digests of single rows that are read at a time.
const PAGE_ROWS: usize = 20_000;

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
    /// Compares a range of keys.
    pub(super) async fn by_stretches(&mut self, mut range: Range) -> Result<(), Error> {
        let sql = self.images.row.sql();
        let cursor = |json: &Option<String>| due::cursor(json.as_deref(), self.mapping());
        let (start, end) = (cursor(&range.after), cursor(&range.until));
        let mut after_image = due::bound_image(range.after.as_deref(), self.mapping());
        let until_image = due::bound_image(range.until.as_deref(), self.mapping());
        let (mut piece, mut walked) = self.piece(start, end.clone()).await?;
        loop {
            let until = match walked.is_last {
                true => range.until.clone(),
                false => Some(name_of(&piece.last)),
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
            let (mut is_equal, looked_at) = self.settle_strange(&mut piece.tally).await?;
            if found.rows != piece.digests.len() as i64 || found.digest != piece.digest() {
                is_equal &= self.settle_differing(&sql, stretch, &piece, &looked_at).await?;
            }
            self.note(&mut range, until.clone(), &piece.tally, is_equal, drift).await?;
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

    /// Compares the rows of a stretch under whose keys the two sides differ, however many rows the
    /// target has too many, but for those that were looked at. Returns whether all are equal.
    async fn settle_differing(
        &mut self,
        sql: &str,
        stretch: proof::Stretch<'_>,
        piece: &Piece,
        looked_at: &HashSet<String>,
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
                    Some(key) if looked_at.contains(&name_of(&key)) => {}
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
        // A key that the inverse does not bring home was looked at, too.
        let keys = on_source.into_keys().filter_map(|key| key_of_image(mapping, key));
        let keys = keys.filter(|key| !looked_at.contains(&name_of(key))).collect();
        Ok(self.settle(keys).await?.is_empty() && is_equal)
    }
}
