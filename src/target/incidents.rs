//! Incidents that nobody has been told of yet.
//!
//! Whoever writes an incident down ([`ledger::incident`](super::ledger::incident)) does so in the
//! transaction that it belongs to; telling of it begins here, from what was committed. So none is
//! told that did not happen, and none is forgotten by a crash: the next run tells it.

use tokio_postgres::Client;

use super::Error;
use crate::change::Position;

/// Incidents that are read at once; the rest follow.
const READ_MAX: i64 = 100;

/// An incident that was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Its number.
    pub id: i64,
    /// When it was written down, in milliseconds since 1970.
    pub at_ms: i64,
    /// What kind.
    pub kind: String,
    /// Where the target stood.
    pub position: Option<Position>,
    /// In words.
    pub message: String,
}

/// The incidents of the last day that nobody was told of, the oldest first. What is older was
/// written while nobody wanted to be told. Those that need a decision end the run, and are told
/// with its end.
pub async fn untold(client: &Client) -> Result<Vec<Incident>, Error> {
    let rows = client
        .query(
            "select id, (extract(epoch from at) * 1000)::bigint, kind, position, message
               from lite2pg.incidents
              where told_at is null and not needs_decision and now() - interval '1 day' < at
              order by id limit $1",
            &[&READ_MAX],
        )
        .await
        .map_err(Error::query("read the incidents"))?;
    let incident = |row: &tokio_postgres::Row| Incident {
        id: row.get(0),
        at_ms: row.get(1),
        kind: row.get(2),
        position: row.get::<_, Option<i64>>(3).map(Position),
        message: row.get(4),
    };
    Ok(rows.iter().map(incident).collect())
}

/// Notes that these have been told.
pub async fn note_told(client: &Client, told: &[Incident]) -> Result<(), Error> {
    let ids: Vec<i64> = told.iter().map(|incident| incident.id).collect();
    client
        .execute("update lite2pg.incidents set told_at = now() where id = any($1)", &[&ids])
        .await
        .map(drop)
        .map_err(Error::query("note that incidents were told"))
}
