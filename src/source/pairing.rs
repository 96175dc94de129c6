//! Which target this file feeds, remembered in the file itself.
//!
//! Who starts a sidecar with the address of another database by mistake, or of one that somebody
//! has emptied, must not begin a first copy there: the file knows that it feeds another one.

use rusqlite::{OptionalExtension, TransactionBehavior};

use super::triggers::WRITE_BUSY_MAX;
use super::{Error, Source, triggers};

impl Source {
    /// The name of the target that this file feeds; `None` where no changelog is installed, or it
    /// feeds none yet.
    pub fn remembered_target(&mut self) -> Result<Option<String>, Error> {
        self.reading(|conn| match triggers::is_installed(conn)? && has_room(conn)? {
            true => conn
                .query_row("select target from _lite2pg_meta where id = 1", [], |row| row.get(0))
                .optional()
                .map(Option::flatten)
                .map_err(Error::sqlite("read which target the file feeds")),
            false => Ok(None),
        })
    }

    /// Remembers which target this file feeds, or forgets it. One write transaction, and none where
    /// it is known already.
    pub fn remember_target(&mut self, target: Option<&str>) -> Result<(), Error> {
        let doing = "remember which target the file feeds";
        if self.remembered_target()?.as_deref() == target {
            return Ok(());
        }
        self.conn.busy_timeout(WRITE_BUSY_MAX).map_err(Error::sqlite(doing))?;
        let outcome = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).and_then(
            |transaction| {
                let sql = "update _lite2pg_meta set target = ?1 where id = 1";
                transaction.execute(sql, [target])?;
                transaction.commit()
            },
        );
        super::wait_as_reader(&mut self.conn).map_err(Error::sqlite(doing))?;
        outcome.map_err(Error::sqlite(doing))
    }
}

/// Whether the changelog was made, or widened, by a lite2pg that remembers targets.
pub(super) fn has_room(conn: &rusqlite::Connection) -> Result<bool, Error> {
    conn.query_row(
        "select count(*) from pragma_table_info('_lite2pg_meta') where name = 'target'",
        [],
        |row| row.get::<_, i64>(0),
    )
    .map(|count| count == 1)
    .map_err(Error::sqlite("look at the changelog"))
}
