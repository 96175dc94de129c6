//! Rows of the target as they were, before something removes or overwrites them that nobody could
//! see.
//!
//! The server writes them out of the table itself, in the transaction that changes them: no row
//! travels, memory holds keys alone, and after a crash a row is in its table or in the archive.
//! Each is kept once for each incident, as it was first.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use postgres_types::ToSql;
use tokio_postgres::{Client, Statement};

use super::Error;
use super::apply::{Named, is_refusal, key_arrays, named_rows};
use crate::batch::{KeyImage, fields, key_json};
use crate::mapping::Mapping;
use crate::table::{Ident, Literal};

/// Keys of one statement.
const KEYS_MAX: usize = 4_000;

const DOING: &str = "archive rows";

/// Archives the rows that these keys name, as far as they are there and are not in the archive, in
/// the caller's transaction. `target` is the table's qualified, quoted name.
///
/// What the archive cannot hold (`jsonb` ends at 256 MB) is told of and left out: replication does
/// not stop for it.
pub async fn keep(
    client: &Client,
    target: &str,
    mapping: &Mapping,
    incident: Option<i64>,
    keys: &[&KeyImage],
) -> Result<(), Error> {
    if keys.is_empty() {
        return Ok(());
    }
    let keeping = client.prepare(&statement(mapping, target, incident)).await;
    let keeping = keeping.map_err(Error::query(DOING))?;
    for some in keys.chunks(KEYS_MAX) {
        keep_some(client, &keeping, mapping, some).await?;
    }
    Ok(())
}

/// Archives every row of a table, in one statement.
pub async fn keep_all(
    client: &Client,
    target_schema: &str,
    table: &str,
    target: &str,
    incident: i64,
) -> Result<(), Error> {
    let qualified = format!("{}.{}", Ident::new(target_schema), Ident::new(target));
    let sql = format!(
        "insert into lite2pg.archive (incident, table_name, target, key, row)
         select {incident}, {}, {}, '[]', to_jsonb(t) from {qualified} t",
        Literal(table),
        Literal(target),
    );
    client.execute(&sql, &[]).await.map(drop).map_err(Error::query(DOING))
}

/// How many rows the archive has of an incident.
pub async fn count(client: &Client, incident: i64) -> Result<u64, Error> {
    client
        .query_one("select count(*) from lite2pg.archive where incident = $1", &[&incident])
        .await
        .map(|row| u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
        .map_err(Error::query(DOING))
}

/// What is in the archive already is looked up row by row: as an anti-join it would be read whole
/// for every statement, by a planner that knows nothing of a table that is just being filled.
fn statement(mapping: &Mapping, target: &str, incident: Option<i64>) -> String {
    let incident = incident.map_or_else(|| "null".to_owned(), |incident| incident.to_string());
    let Named { list, condition, .. } = named_rows(mapping, Some("name"));
    format!(
        "insert into lite2pg.archive (incident, table_name, target, key, row)
         select {incident}, {}, {}, named.name::jsonb, to_jsonb(t)
           from {target} t join {list} on {condition}
          where (select a.id from lite2pg.archive a
                  where a.incident = {incident} and a.target = {1}
                    and md5(a.key::text) = md5(named.name::jsonb::text)
                    and a.key = named.name::jsonb limit 1) is null",
        Literal(&mapping.table.name),
        Literal(&mapping.target),
    )
}

/// Halves what is refused until the row is found that the archive cannot hold.
fn keep_some<'a>(
    client: &'a Client,
    keeping: &'a Statement,
    mapping: &'a Mapping,
    keys: &'a [&'a KeyImage],
) -> BoxFuture<'a, Result<(), Error>> {
    async move {
        let arrays = key_arrays(mapping, keys);
        let names: Vec<String> = keys.iter().map(|key| name_of(mapping, key).to_string()).collect();
        let mut parameters: Vec<&(dyn ToSql + Sync)> = Vec::new();
        parameters.extend(arrays.iter().map(|array| array as &(dyn ToSql + Sync)));
        parameters.push(&names);
        execute(client, "savepoint keep").await?;
        let kept = client.execute_raw(keeping, parameters).await.map_err(Error::query(DOING));
        let error = match kept {
            Ok(_) => return execute(client, "release savepoint keep").await,
            Err(error) if is_refusal(&error) => error,
            Err(error) => return Err(error),
        };
        execute(client, "rollback to savepoint keep; release savepoint keep").await?;
        if let [_] = keys {
            tracing::warn!(table = %mapping.table.name, key = %names[0],
                error = %crate::error::chain(&error),
                "the archive cannot hold the row as it was; it is overwritten all the same");
            return Ok(());
        }
        let (first, rest) = keys.split_at(keys.len() / 2);
        keep_some(client, keeping, mapping, first).await?;
        keep_some(client, keeping, mapping, rest).await
    }
    .boxed()
}

/// The key as JSON. Someone may have written a key on the target that the source cannot have.
fn name_of(mapping: &Mapping, key: &[u8]) -> serde_json::Value {
    let values = mapping.key.iter().zip(fields(key)).map(|(at, field)| {
        let column = &mapping.columns[*at];
        match column.pg.decode(column.affinity, field) {
            Some(value) => match key_json(std::iter::once(value.storage())) {
                serde_json::Value::Array(mut only) => only.pop().unwrap_or_default(),
                other => other,
            },
            None => {
                let bytes = field.unwrap_or_default();
                let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                serde_json::json!({ "image": digits })
            }
        }
    });
    values.collect()
}

async fn execute(client: &Client, sql: &str) -> Result<(), Error> {
    client.batch_execute(sql).await.map_err(Error::query(DOING))
}
