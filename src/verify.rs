//! Compare both sides while they stand still.
//!
//! Every row of every table: the source's row images against the bytes PostgreSQL sends back for
//! the same columns, matched by key. Exact, and it says what it read. It is for the end of the
//! demo and for tests, where nobody writes; memory grows with the number of rows (48 bytes each).

use std::collections::HashMap;

use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};
use tokio_postgres::Client;

use crate::batch::{KeyImage, fields};
use crate::mapping::Mapping;
use crate::source::changelog::Plan;
use crate::source::copy::{ChunkRead, Cursor, Slice};
use crate::source::thread::SourceThread;
use crate::source::{self, Source};
use crate::table::Ident;
use crate::target;

/// What was compared, and what differed.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Comparison {
    /// Per table.
    pub tables: Vec<TableComparison>,
}

/// One table.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct TableComparison {
    /// Its name on the source.
    pub name: String,
    /// Rows read from the source.
    pub rows_source: u64,
    /// Rows read from the target.
    pub rows_target: u64,
    /// On the source only.
    pub missing: u64,
    /// On the target only.
    pub extra: u64,
    /// On both, with different contents.
    pub mismatched: u64,
    /// Rows that the target cannot hold; they count as missing as well.
    pub quarantined: u64,
    /// SHA-256 over the digests of the source's rows, in the order of the digests.
    pub checksum: String,
}

impl TableComparison {
    /// Whether nothing differs.
    pub fn is_equal(&self) -> bool {
        self.missing == 0 && self.extra == 0 && self.mismatched == 0 && self.quarantined == 0
    }
}

impl Comparison {
    /// Whether nothing differs in any table.
    pub fn is_equal(&self) -> bool {
        self.tables.iter().all(TableComparison::is_equal)
    }

    /// Rows read on the source.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows_source).sum()
    }
}

type Digests = HashMap<KeyImage, [u8; 32]>;

/// Reads all rows of all tables of `plan` on both sides. Nothing may write meanwhile.
pub async fn compare_at_rest(
    source: &SourceThread,
    client: &Client,
    target_schema: &str,
    plan: std::sync::Arc<Plan>,
) -> Result<Comparison, crate::daemon::Error> {
    let mut comparison = Comparison::default();
    for table in 0..plan.mappings.len() {
        let wanted = plan.clone();
        let (mut left, quarantined) =
            source.run(move |source| read_source(source, &wanted, table)).await?;
        let mapping = &plan.mappings[table];
        let mut result = TableComparison {
            name: mapping.table.name.clone(),
            rows_source: left.len() as u64 + quarantined,
            quarantined,
            checksum: checksum(&left),
            ..TableComparison::default()
        };
        compare_target(client, target_schema, mapping, &mut left, &mut result).await?;
        result.missing = left.len() as u64 + quarantined;
        comparison.tables.push(result);
    }
    Ok(comparison)
}

fn checksum(digests: &Digests) -> String {
    let mut sorted: Vec<&[u8; 32]> = digests.values().collect();
    sorted.sort_unstable();
    let mut whole = Sha256::new();
    sorted.into_iter().for_each(|digest| whole.update(digest));
    whole.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_source(
    source: &mut Source,
    plan: &Plan,
    table: usize,
) -> Result<(Digests, u64), source::Error> {
    const SLICE_BYTES: usize = 1 << 20;
    let lane = crate::source::copy::Lane { table, number: 0, until: None };
    let mapping = &plan.mappings[table];
    let mut digests = Digests::new();
    let mut quarantined = 0;
    let mut after = Cursor::Start;
    loop {
        let slice = Slice { after: &after, bytes_max: SLICE_BYTES, may_widen: false, place: None };
        let ChunkRead::Rows(chunk) = source.chunk(plan, &lane, slice)? else {
            unreachable!("widening was not allowed");
        };
        quarantined += chunk.quarantined.len() as u64;
        each_tuple(&chunk.tuples, mapping.columns.len(), |image| {
            digests.insert(key_of(mapping, image), Sha256::digest(image).into());
        });
        if chunk.is_last {
            return Ok((digests, quarantined));
        }
        after = chunk.cursor;
    }
}

async fn compare_target(
    client: &Client,
    target_schema: &str,
    mapping: &Mapping,
    left: &mut Digests,
    result: &mut TableComparison,
) -> Result<(), target::Error> {
    let doing = "read a table back";
    let columns: Vec<String> =
        mapping.columns.iter().map(|column| Ident::new(&column.target).to_string()).collect();
    let sql = format!(
        "copy (select {} from {}.{}) to stdout (format binary)",
        columns.join(", "),
        Ident::new(target_schema),
        Ident::new(&mapping.target)
    );
    let stream = client.copy_out(&sql).await.map_err(target::Error::query(doing))?;
    let mut stream = std::pin::pin!(stream);
    let mut pending: Vec<u8> = Vec::new();
    let mut is_begun = false;
    while let Some(data) = stream.try_next().await.map_err(target::Error::query(doing))? {
        pending.extend_from_slice(&data);
        if !is_begun {
            const HEADER_BYTES: usize = 19;
            if pending.len() < HEADER_BYTES {
                continue;
            }
            pending.drain(..HEADER_BYTES);
            is_begun = true;
        }
        let taken = each_tuple(&pending, mapping.columns.len(), |image| {
            result.rows_target += 1;
            match left.remove(&key_of(mapping, image)) {
                None => result.extra += 1,
                Some(digest) if digest == <[u8; 32]>::from(Sha256::digest(image)) => {}
                Some(_) => result.mismatched += 1,
            }
        });
        pending.drain(..taken);
    }
    Ok(())
}

/// Calls `visit` with the image of each whole tuple; returns how many bytes they took.
fn each_tuple(tuples: &[u8], width: usize, mut visit: impl FnMut(&[u8])) -> usize {
    let mut at = 0;
    'tuples: loop {
        let start = at + 2;
        if tuples.len() < start || tuples[at..start] == [0xff, 0xff] {
            return at;
        }
        let mut end = start;
        for _ in 0..width {
            let Some(length) = tuples.get(end..end + 4) else { break 'tuples at };
            let length = i32::from_be_bytes(length.try_into().expect("four bytes"));
            end += 4 + usize::try_from(length).unwrap_or(0);
            if tuples.len() < end {
                break 'tuples at;
            }
        }
        visit(&tuples[start..end]);
        at = end;
    }
}

/// The key of a row image, as it stands in it.
fn key_of(mapping: &Mapping, image: &[u8]) -> KeyImage {
    let all: Vec<Option<&[u8]>> = fields(image).collect();
    let mut key = KeyImage::new();
    for column in &mapping.key {
        let field = all[*column].unwrap_or_default();
        key.extend_from_slice(&(field.len() as u64).to_be_bytes());
        key.extend_from_slice(field);
    }
    key
}
