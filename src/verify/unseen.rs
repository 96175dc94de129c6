//! Prove a table whose writes may have gone unseen, and put right what differs.
//!
//! The table is compared whole, as `verify --full` does, while replay goes on. Rows that differ are
//! touched on the source as they are found, page by page, so that memory is bounded whatever was
//! lost; replay reads them as they are now, archives what it removes or overwrites, and converges.
//! What was touched is compared again until nothing differs.
//!
//! What has been proven is in the ledger chunk by chunk, so whoever is killed here, or meets a
//! changed schema, goes on behind that.

use std::time::Duration;

use super::order::Key;
use super::{Error, Scope, Sides, both_sides, compare_tables, settle};
use crate::change::Position;
use crate::daemon::Config;
use crate::failpoint;
use crate::quarantine;
use crate::target::ledger;
use crate::target::unseen::{self, Dirty};

/// Rounds in which something differed. Rows that replay has made right do not differ again; those
/// that do will not be right after one more round either.
const ROUNDS_MAX: u32 = 4;

/// Between two looks at the position.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Every row is equal.
    Proven,
    /// Rows differ although they have been replayed again: somebody else changes them on the
    /// target, or no row of the source could have their key.
    Left {
        /// How many.
        rows: u64,
    },
}

/// A comparison that has replay put right what differs.
pub(super) struct Repairs {
    /// What differs now is counted; later it has been counted before.
    counts: bool,
}

/// Compares a dirty table until it is proven, beside a run that replays.
pub(crate) async fn prove(config: &Config, dirty: &Dirty) -> Result<Outcome, Error> {
    let scope = Scope { table: Some(dirty.name.clone()), is_full: true, ..Scope::default() };
    let (mut sides, ..) = both_sides(config, scope).await?;
    sides.repairs = Some(Repairs { counts: true });
    let mut rounds = 0;
    loop {
        // A row that had no room may have it by now; one that is gone must not stay there.
        quarantine::retry(&sides.source, &sides.client, Some(&dirty.name)).await?;
        let applied = sides.await_head().await?;
        let (tables, _) = compare_tables(&sides, applied).await?;
        let differing: u64 = tables.iter().map(|table| table.drift_rows()).sum();
        let in_flight: u64 = tables.iter().map(|table| table.in_flight).sum();
        failpoint::hit(failpoint::UNSEEN_COMPARED);
        sides.await_head().await?;
        dirty.set_compared();
        if differing == 0 && in_flight == 0 {
            failpoint::hit(failpoint::UNSEEN_PROVEN);
            return Ok(Outcome::Proven);
        }
        rounds += u32::from(0 < differing);
        if ROUNDS_MAX <= rounds {
            return Ok(Outcome::Left { rows: differing });
        }
        sides.scope.is_full = false;
        sides.repairs = Some(Repairs { counts: false });
    }
}

impl Sides {
    /// Waits until everything is applied that is in the changelog now; returns where the target
    /// stands then. Only for who knows that somebody replays.
    async fn await_head(&self) -> Result<Position, Error> {
        let head = self.source.run(|source| source.head()).await?;
        let head = head.map_or(Position(0), |head| head.position);
        loop {
            let stored = ledger::position(&self.client).await?.ok_or(Error::NothingThere)?;
            if head <= stored.standing.applied.position {
                return Ok(stored.standing.applied.position);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Has replay put these rows right, of which the source does not have `extra`, if that is what
    /// this comparison is for. Waits for replay for a while: what the application writes comes
    /// after them.
    pub(super) async fn put_right(
        &self,
        table: usize,
        keys: Vec<Key>,
        extra: u64,
    ) -> Result<(), Error> {
        let Some(repairs) = self.repairs.as_ref().filter(|_| !keys.is_empty()) else {
            return Ok(());
        };
        let (id, differing) = (self.mapping(table).id, keys.len() as u64);
        let stored = ledger::position(&self.client).await?.ok_or(Error::NothingThere)?;
        let head = self
            .source
            .run(move |source| {
                source.touch(&stored.place(), id, &keys)?;
                source.head()
            })
            .await?;
        failpoint::hit(failpoint::UNSEEN_TOUCHED);
        if repairs.counts {
            unseen::count(&self.client, id, differing, extra).await?;
        }
        settle::await_applied(&self.client, head.map_or(Position(0), |head| head.position)).await
    }
}
