//! Compare two sides that stand still, where positions mean nothing because one of them is not what
//! it was.
//!
//! The same walk as on live data, without what belongs to motion: no lineage is proven, no row is
//! in flight, nothing is noted in the ledger. Whoever asks sees to it that neither side is written
//! to meanwhile, or takes the answer for what it is. Rows that differ are told one by one, so that
//! a file that has lost everything needs no memory.

use std::sync::Mutex;

use super::verdict::{Drift, TableVerdict};
use super::{Error, Scope, Sides, walk};
use crate::daemon::Config;
use crate::source::Survey;
use crate::source::changelog::Plan;
use crate::source::thread::SourceThread;
use crate::target::{self, connect, ledger, proof};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

/// A row that differs.
#[derive(Clone, Debug)]
pub struct Found {
    /// What differs.
    pub drift: Drift,
    /// The transaction of the target that wrote its row, if it has one: PostgreSQL's `xmin`.
    pub written_by: Option<u32>,
}

/// Who is told of the rows that differ.
pub(super) struct Sink(Mutex<Box<dyn FnMut(Found) + Send>>);

impl Sink {
    pub fn see(&self, found: Found) {
        // Poisoned only by a panic, which ends the comparison as well.
        let mut see = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        see(found);
    }
}

/// Compares every row of every table of `plan`; `see` is told of each that differs, and nothing is
/// written.
pub async fn compare(
    config: &Config,
    source: &SourceThread,
    plan: Arc<Plan>,
    survey: Arc<Survey>,
    rows_per_second: Option<NonZeroU32>,
    see: Box<dyn FnMut(Found) + Send>,
) -> Result<Vec<TableVerdict>, Error> {
    let connect = || connect::connect(&config.target, "lite2pg guard");
    let (client, _) = connect().await.map_err(target::Error::from)?;
    let (by_index, _) = connect().await.map_err(target::Error::from)?;
    proof::go_by_index(&by_index).await?;
    let stored = ledger::position(&client).await?.ok_or(Error::NothingThere)?;
    let sides = Sides {
        source: source.clone(),
        client,
        by_index,
        schema: config.target_schema.clone(),
        lineage: stored.lineage,
        plan,
        survey,
        scope: Scope { is_full: true, rows_per_second, ..Scope::default() },
        since: None,
        begun: Instant::now(),
        rows_read: AtomicU64::new(0),
        number: 0,
        repairs: None,
        still: Some(Sink(Mutex::new(see))),
    };
    let mut tables = Vec::new();
    for table in sides.wanted()? {
        let verdict = walk::still(&sides, table).await?;
        tracing::info!(table = %verdict.name, rows = verdict.rows_compared,
            differ = verdict.drift_rows(), "compared");
        tables.push(verdict);
    }
    Ok(tables)
}
