//! The tokens of the entries that were applied.
//!
//! Every entry of the changelog carries a random token. The position's own token proves that a file
//! holds the history that was applied, or that it does not; the trail tells since when it does not.
//! Rows are written in the transaction that applies the entries, so a trail ends where the target
//! stands, and goes back in time together with it.

use tokio_postgres::Client;

use super::Error;
use crate::change::{Anchor, Mark, Position, mark};

/// Appends the tokens of entries $1 to $2. If they are there another sidecar has applied them, and
/// the position will not move.
pub(super) const APPEND: &str = "
    insert into lite2pg.trail (first, last, tokens) values ($1, $2, $3) on conflict do nothing";

/// Rows that are younger stay as they are: what was applied when is known to the transaction.
const YOUNG: &str = "10 minutes";

/// Older rows are merged, those of so long a time into one.
const MERGED: &str = "10 seconds";

/// Rows beyond this have been merged before.
const LOOKED_AT: &str = "1 day";

/// Entries that the trail reaches back, 64 MiB.
const ENTRIES_MAX: i64 = 16 << 20;

/// Begins a trail at the first position, within the caller's transaction.
pub(super) async fn begin_at(client: &Client, anchor: Anchor) -> Result<(), Error> {
    let doing = "begin the trail";
    client.batch_execute("delete from lite2pg.trail").await.map_err(Error::query(doing))?;
    let (position, token) = (anchor.position.0, mark(anchor.token).to_vec());
    client
        .execute(APPEND, &[&position, &position, &token])
        .await
        .map(drop)
        .map_err(Error::query(doing))
}

/// Merges rows that are not young any more, and drops what nobody will ask for.
pub async fn compact(client: &Client) -> Result<(), Error> {
    let bucket =
        format!("floor(extract(epoch from applied_at) / extract(epoch from interval '{MERGED}'))");
    let is_old = format!(
        "applied_at < now() - interval '{YOUNG}' - interval '{MERGED}'
             and now() - interval '{LOOKED_AT}' < applied_at"
    );
    client
        .batch_execute(&format!(
            "with full_buckets as (
                 select {bucket} as number from lite2pg.trail where {is_old}
                  group by 1 having 1 < count(*)),
             old as (
                 delete from lite2pg.trail
                  where {is_old} and {bucket} in (select number from full_buckets)
                 returning *)
             insert into lite2pg.trail (first, last, tokens, xid, applied_at)
             select min(first), max(last), string_agg(tokens, '' order by first), min(xid),
                    min(applied_at)
               from old group by {bucket};
             delete from lite2pg.trail
              where last < (select max(last) - {ENTRIES_MAX} from lite2pg.trail)"
        ))
        .await
        .map_err(Error::query("merge the trail"))
}

/// How far back the trail reaches, and to where; `None` if there is none.
pub async fn span(client: &Client) -> Result<Option<(Position, Position)>, Error> {
    client
        .query_one("select min(first), max(last) from lite2pg.trail", &[])
        .await
        .map(|row| Some((Position(row.get::<_, Option<i64>>(0)?), Position(row.get(1)))))
        .map_err(Error::query("look at the trail"))
}

/// The mark of an entry; `None` where the trail has none.
pub async fn mark_of(client: &Client, position: Position) -> Result<Option<Mark>, Error> {
    let row = client
        .query_opt(
            "select substring(tokens from 1 + 4 * ($1 - first)::integer for 4)
               from (select * from lite2pg.trail where first <= $1 order by first desc limit 1) t
              where $1 <= last",
            &[&position.0],
        )
        .await
        .map_err(Error::query("read the trail"))?;
    Ok(row.and_then(|row| row.get::<_, &[u8]>(0).try_into().ok()))
}

/// Which transaction of the target applied an entry, and when.
#[derive(Clone, Debug)]
pub struct AppliedBy {
    /// Its number; of merged rows the least, so that what it says is newer may be a little older.
    /// `None` for a number that this server has not given yet: the target comes from another one.
    pub xid: Option<u32>,
    /// When, in UTC.
    pub at: String,
}

/// Who applied the entry at `position`; `None` where the trail does not reach.
pub async fn applied_by(client: &Client, position: Position) -> Result<Option<AppliedBy>, Error> {
    let row = client
        .query_opt(
            &format!(
                "select xid & x'ffffffff'::bigint, {},
                        xid < txid_snapshot_xmax(txid_current_snapshot())
                   from (select * from lite2pg.trail
                          where first <= $1 order by first desc limit 1) t
                  where $1 <= last",
                super::in_utc("applied_at")
            ),
            &[&position.0],
        )
        .await
        .map_err(Error::query("read the trail"))?;
    Ok(row.map(|row| AppliedBy {
        xid: row.get::<_, bool>(2).then(|| u32::try_from(row.get::<_, i64>(0)).unwrap_or(0)),
        at: row.get(1),
    }))
}
