//! Name rows in the changelog as a trigger would, so that replay reads them again.
//!
//! The one idea: whatever is to be made right on the target is made right by replay. A row that is
//! touched is read as it is now, or found gone, and the target converges on that; nothing is
//! written past the one way in which rows travel.

use std::time::{Duration, Instant};

use rusqlite::TransactionBehavior;

use super::{Error, Source, changelog, rewrite};
use crate::change::{Place, TableId};
use crate::value::Owned;

/// The write lock is not held longer in one go.
const HOLD_MAX: Duration = Duration::from_millis(20);

/// How long to wait for the lock.
const BUSY_MAX: Duration = Duration::from_secs(30);

/// Between two rounds the application has the file to itself.
const PAUSE: Duration = Duration::from_millis(5);

impl Source {
    /// Appends an entry for each key of a table, in key order of its columns. Proves the lineage
    /// first. Several short transactions: a crash leaves some of the keys touched, and touching
    /// them again is harmless.
    pub fn touch(
        &mut self,
        place: &Place,
        table: TableId,
        keys: &[Vec<Owned>],
    ) -> Result<(), Error> {
        let doing = "wait to touch rows";
        self.conn.busy_timeout(BUSY_MAX).map_err(Error::sqlite(doing))?;
        let outcome = self.touch_in_rounds(place, table, keys);
        super::wait_as_reader(&mut self.conn).map_err(Error::sqlite(doing))?;
        outcome
    }

    fn touch_in_rounds(
        &mut self,
        place: &Place,
        table: TableId,
        keys: &[Vec<Owned>],
    ) -> Result<(), Error> {
        let doing = "touch rows";
        let mut rest = keys;
        while !rest.is_empty() {
            let transaction = self
                .conn
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(Error::sqlite(doing))?;
            let begun = Instant::now();
            changelog::prove(&transaction, &place.lineage, place.anchor)?;
            while let Some((key, after)) = rest.split_first() {
                let mut statement = rewrite::touching(&transaction, key.len())?;
                statement.raw_bind_parameter(1, table.0).map_err(Error::sqlite(doing))?;
                changelog::bind_from(&mut statement, 2, key)?;
                statement.raw_execute().map_err(Error::sqlite(doing))?;
                rest = after;
                if HOLD_MAX <= begun.elapsed() {
                    break;
                }
            }
            transaction.commit().map_err(Error::sqlite(doing))?;
            if !rest.is_empty() {
                std::thread::park_timeout(PAUSE);
            }
        }
        Ok(())
    }
}
