//! The tokens of the entries that were applied.
//!
//! Every entry of the changelog carries a random token. The position's own token proves that a file
//! holds the history that was applied, or that it does not; the trail tells since when it does not.
//! Rows are written in the transaction that applies the entries, so a trail ends where the target
//! stands, and goes back in time together with it.

use tokio_postgres::Client;

use super::Error;
use crate::change::{Anchor, mark};

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
