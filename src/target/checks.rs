//! What belongs to the target's tables beside their rows: is it there, and is it valid?

use tokio_postgres::Client;

use super::{Error, build};
use crate::mapping::Mapping;
use crate::table::Ident;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Check {
    /// `index`, `constraint`, `view`, `primary key`, `foreign key` or `sequence`, and its name.
    pub name: String,
    /// Whether it is as it should be.
    pub state: CheckState,
    /// What is the matter; `null` if nothing is.
    pub message: Option<String>,
}

/// Whether something is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    /// It is.
    Ok,
    /// It is left to `lite2pg schema --finalise`.
    Waiting,
    /// It is not.
    Failed,
}

impl Check {
    fn of(name: String, state: CheckState, message: Option<String>) -> Self {
        Self { name, state, message }
    }
}

/// Objects that lite2pg built or was refused, and how the catalog has them now. The names that
/// PostgreSQL gave are those that were asked for, which it keeps up to 63 bytes.
const OBJECTS: &str = "
    select o.kind, o.name, o.belongs_to, o.state, o.reason,
           case o.kind
               when 'index' then (
                   select i.indisvalid from pg_index i join pg_class c on c.oid = i.indexrelid
                    where c.relnamespace = n.oid and c.relname = o.name)
               when 'view' then (
                   select true from pg_class c
                    where c.relnamespace = n.oid and c.relname = o.name and c.relkind = 'v')
               else (
                   select k.convalidated from pg_constraint k join pg_class c on c.oid = k.conrelid
                    where c.relnamespace = n.oid and c.relname = o.belongs_to
                      and k.conname = o.name)
           end
      from lite2pg.objects o, pg_namespace n
     where n.nspname = $1 and not o.adopted
     order by o.kind, o.belongs_to, o.name";

/// Looks at everything that belongs to these tables. Writes nothing.
pub async fn look(
    client: &Client,
    target_schema: &str,
    mappings: &[Mapping],
) -> Result<Vec<Check>, Error> {
    let mut checks = objects(client, target_schema).await?;
    for mapping in mappings {
        checks.push(key(client, target_schema, mapping).await?);
        checks.extend(sequences(client, target_schema, mapping).await?);
    }
    Ok(checks)
}

async fn objects(client: &Client, target_schema: &str) -> Result<Vec<Check>, Error> {
    let rows = client
        .query(OBJECTS, &[&target_schema])
        .await
        .map_err(Error::query("look at indexes and constraints"))?;
    let checks = rows.iter().map(|row| {
        let (kind, name, table): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let (state, reason): (String, Option<String>) = (row.get(3), row.get(4));
        let is_valid: Option<bool> = row.get(5);
        let name = format!("{} {name} of {table}", kind.replace('_', " "));
        let (state, message) = match (state.as_str(), is_valid) {
            ("built", Some(true)) => (CheckState::Ok, None),
            ("built", Some(false)) => (CheckState::Failed, Some("it is not valid".to_owned())),
            ("built", None) => (CheckState::Failed, Some("it is gone".to_owned())),
            ("refused", _) => (CheckState::Failed, reason),
            _ => (CheckState::Waiting, Some("`lite2pg schema --finalise` builds it".to_owned())),
        };
        Check::of(name, state, message)
    });
    Ok(checks.collect())
}

/// The index that names rows; an adopted table has been looked at when its session began.
async fn key(client: &Client, target_schema: &str, mapping: &Mapping) -> Result<Check, Error> {
    let table = mapping.qualified(target_schema);
    let is_there: bool = client
        .query_one(
            "select exists (select from pg_index where indrelid = to_regclass($1) and indisunique
                               and indisvalid and indpred is null)",
            &[&table],
        )
        .await
        .map_err(Error::query("look at a key"))?
        .get(0);
    let name = format!("key of {}", mapping.target);
    Ok(match is_there {
        true => Check::of(name, CheckState::Ok, None),
        false => Check::of(name, CheckState::Failed, Some("no unique index is left".to_owned())),
    })
}

/// Sequences must be past the data before the application draws from them.
async fn sequences(
    client: &Client,
    target_schema: &str,
    mapping: &Mapping,
) -> Result<Vec<Check>, Error> {
    let doing = "look at the sequences";
    let table = mapping.qualified(target_schema);
    let mut checks = Vec::new();
    for row in client.query(build::SEQUENCES, &[&table]).await.map_err(Error::query(doing))? {
        let (column, sequence): (String, String) = (row.get(0), row.get(1));
        let sql = format!(
            "select coalesce((select max({})::bigint from {table}), 0)
                    <= case when is_called then last_value else last_value - 1 end
               from {sequence}",
            Ident::new(&column)
        );
        let is_past: bool = client.query_one(&sql, &[]).await.map_err(Error::query(doing))?.get(0);
        let (state, message) = match is_past {
            true => (CheckState::Ok, None),
            false => {
                let message = "it is behind the data; `lite2pg schema --finalise` sets it";
                (CheckState::Waiting, Some(message.to_owned()))
            }
        };
        checks.push(Check::of(format!("sequence {sequence}"), state, message));
    }
    Ok(checks)
}
