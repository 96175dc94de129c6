//! What comparisons of both sides came to, as the ledger has it, for those who only ask.
//!
//! They are written by [`verify`](crate::verify); a span of them is read by
//! [`history`](super::history).

use std::collections::HashMap;
use std::time::Duration;

use tokio_postgres::Client;

use super::ledger::standing;
use super::{Error, in_utc};
use crate::change::Position;

/// The number of the newest comparison; 0 if there has been none.
pub async fn newest(client: &Client) -> Result<i64, Error> {
    let row = client.query_one("select coalesce(max(id), 0) from lite2pg.verifications", &[]);
    row.await.map(|row| row.get(0)).map_err(Error::query("read the verifications"))
}

/// Whether a comparison of the last time has this check among its checks.
pub async fn was_checked(client: &Client, name: &str, within: Duration) -> Result<bool, Error> {
    client
        .query_one(
            "select exists (select from lite2pg.verifications v, jsonb_array_elements(v.checks) c
                             where v.at > now() - make_interval(secs => $2) and c->>'name' = $1)",
            &[&name, &within.as_secs_f64()],
        )
        .await
        .map(|row| row.get(0))
        .map_err(Error::query("read the verifications"))
}

/// The newest proof of one table.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Proof {
    /// When, in UTC.
    pub at: String,
    /// Where the target stood.
    pub position: Position,
    /// Whether both sides were equal.
    pub is_equal: bool,
    /// Rows that were proven, each chunk as it was when it was last read whole.
    pub rows: i64,
    /// The sum of their digests.
    pub checksum: String,
    /// Since when no chunk was read whole, in UTC.
    pub read_at: Option<String>,
}

/// What the newest comparisons came to.
#[derive(Clone, Debug, Default)]
pub struct LastVerified {
    /// When all tables were last compared, in UTC.
    pub at: Option<String>,
    /// Rows that differed then.
    pub drift_rows: Option<i64>,
    /// The newest proof of each table, by name.
    pub tables: HashMap<String, Proof>,
}

/// The newest comparisons; empty where the ledger is of a format that has none.
pub async fn last(client: &Client) -> Result<LastVerified, Error> {
    let at = in_utc("at");
    let doing = "read the verifications";
    if !standing(client).await?.iter().any(|name| name == "chunks") {
        return Ok(LastVerified::default());
    }
    let last = client
        .query_opt(
            &format!(
                "select {at}, drift_rows from lite2pg.verifications
                  where only_table is null and since is null order by id desc limit 1"
            ),
            &[],
        )
        .await
        .map_err(Error::query(doing))?;
    let tables = client
        .query(
            &format!(
                "select distinct on (t.name) t.name, {at}, v.position,
                        t.missing + t.extra + t.mismatched + t.quarantined + t.in_flight = 0,
                        coalesce(t.rows_proven, t.rows_source), t.checksum, t.read_at
                   from (select * from lite2pg.verifications where since is null
                          order by id desc limit 1000) v,
                        jsonb_to_recordset(v.tables) as t (
                            name text, rows_source bigint, rows_proven bigint, checksum text,
                            read_at text, missing bigint,
                            extra bigint, mismatched bigint, quarantined bigint, in_flight bigint)
                  order by t.name, v.id desc"
            ),
            &[],
        )
        .await
        .map_err(Error::query(doing))?;
    let tables = tables.iter().map(|row| {
        let proof = Proof {
            at: row.get(1),
            position: Position(row.get(2)),
            is_equal: row.get(3),
            rows: row.get(4),
            checksum: row.get(5),
            read_at: row.get(6),
        };
        (row.get(0), proof)
    });
    Ok(LastVerified {
        at: last.as_ref().map(|row| row.get(0)),
        drift_rows: last.as_ref().map(|row| row.get(1)),
        tables: tables.collect(),
    })
}
