//! The rows that the target cannot hold: which they are, and how they are tried again.
//!
//! A row is set aside in the transaction that brings its neighbours, with its key and the reason,
//! and struck out when it arrives. Trying again is touching its key: replay reads the row as it is
//! now, under the types that are in force now, and either it fits or it is set aside anew.
//!
//! Begin with [`read`] and [`retry`].

use std::collections::BTreeMap;

use serde_json::Value;
use tokio_postgres::Client;

use crate::batch::key_of_json;
use crate::change::TableId;
use crate::source::thread::SourceThread;
use crate::target::ledger;
use crate::{daemon, target};

/// Rows that are listed when not all are asked for.
pub const LISTED_MAX: i64 = 100;

/// Keys that are touched at a time, so that memory stays bounded.
const KEYS_MAX: i64 = 10_000;

/// What is in quarantine.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Quarantine {
    /// How many rows.
    pub quarantined: i64,
    /// The same by table, column and reason, the most first.
    pub groups: Vec<Group>,
    /// The rows, by table and key; the first hundred unless all were asked for.
    pub rows: Vec<Row>,
}

/// Rows of one table that are there for one reason.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Group {
    /// The table's name on the source.
    pub table: String,
    /// The column at fault, if one is.
    pub column: Option<String>,
    /// Why.
    pub reason: String,
    /// How many.
    pub rows: i64,
}

/// One row. Its key is shown, its values never are.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Row {
    /// The table's name on the source.
    pub table: String,
    /// The values that name it, in key order.
    pub key: Value,
    /// The column at fault, if one is.
    pub column: Option<String>,
    /// Why.
    pub reason: String,
    /// The place in the changelog at which it was last tried.
    pub position: i64,
    /// Since when, in UTC.
    pub since: String,
}

/// What is in quarantine, of all tables or of one. `rows_max` bounds the list of rows, not the
/// counts. Empty if nothing was ever replicated to this target.
pub async fn read(
    client: &Client,
    table: Option<&str>,
    rows_max: Option<i64>,
) -> Result<Quarantine, daemon::Error> {
    let doing = "read the quarantine";
    if !ledger::exists(client).await? {
        return Ok(Quarantine::default());
    }
    ledger::check(client).await?;
    let groups = client
        .query(
            "select t.name, q.column_name, q.reason, count(*)
               from lite2pg.quarantine q join lite2pg.tables t on t.id = q.table_id
              where $1::text is null or lower(t.name) = lower($1)
              group by 1, 2, 3 order by 4 desc, 1, 2, 3",
            &[&table],
        )
        .await
        .map_err(target::Error::query(doing))?;
    let groups: Vec<Group> = groups
        .iter()
        .map(|row| Group {
            table: row.get(0),
            column: row.get(1),
            reason: row.get(2),
            rows: row.get(3),
        })
        .collect();
    let rows = client
        .query(
            &format!(
                "select t.name, q.key::text, q.column_name, q.reason, q.position, {}
                   from lite2pg.quarantine q join lite2pg.tables t on t.id = q.table_id
                  where $1::text is null or lower(t.name) = lower($1)
                  order by t.name, q.key limit $2",
                target::in_utc("q.since")
            ),
            &[&table, &rows_max],
        )
        .await
        .map_err(target::Error::query(doing))?;
    let rows = rows.iter().map(|row| {
        Ok(Row {
            table: row.get(0),
            key: json(row.get(1))?,
            column: row.get(2),
            reason: row.get(3),
            position: row.get(4),
            since: row.get(5),
        })
    });
    Ok(Quarantine {
        quarantined: groups.iter().map(|group| group.rows).sum(),
        groups,
        rows: rows.collect::<Result<_, target::Error>>()?,
    })
}

fn json(text: &str) -> Result<Value, target::Error> {
    serde_json::from_str(text)
        .map_err(|error| target::Error::Position { what: format!("a key in quarantine: {error}") })
}

/// Touches every row in quarantine, of all tables or of one, so that replay tries it again.
/// Returns how many.
///
/// Works beside a running sidecar and without one. Fails with a lineage stop if the file is not
/// the one that feeds the target. Safe to repeat, and after a crash.
pub async fn retry(
    source: &SourceThread,
    client: &Client,
    table: Option<&str>,
) -> Result<usize, daemon::Error> {
    if !ledger::exists(client).await? {
        return Ok(0);
    }
    ledger::check(client).await?;
    let Some(stored) = ledger::position(client).await? else { return Ok(0) };
    let (mut touched, mut after) = (0, String::new());
    loop {
        let keys = some_keys(client, table, &after).await?;
        let Some((last, ..)) = keys.last() else { return Ok(touched) };
        after = last.clone();
        let mut by_table: BTreeMap<TableId, Vec<_>> = BTreeMap::new();
        for (_, id, text) in &keys {
            let key = key_of_json(&json(text)?).ok_or_else(|| target::Error::Position {
                what: format!("a key in quarantine: {text}"),
            })?;
            by_table.entry(TableId(*id)).or_default().push(key);
        }
        touched += keys.len();
        for (id, keys) in by_table {
            let place = stored.place();
            source.run(move |source| source.touch(&place, id, &keys)).await?;
        }
    }
}

/// The next keys in the order of their hashes, by which they can be gone through while rows come
/// and go: hash, table and key.
async fn some_keys(
    client: &Client,
    table: Option<&str>,
    after: &str,
) -> Result<Vec<(String, i64, String)>, target::Error> {
    let rows = client
        .query(
            "select place, id, key from (
                 select (t.id || ':' || md5(q.key::text)) collate \"C\" as place, t.id,
                        q.key::text
                   from lite2pg.quarantine q join lite2pg.tables t on t.id = q.table_id
                  where ($1::text is null or lower(t.name) = lower($1)) and t.state <> 'stopped'
             ) aside where place > $2 order by place limit $3",
            &[&table, &after, &KEYS_MAX],
        )
        .await
        .map_err(target::Error::query("read the keys in quarantine"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}
