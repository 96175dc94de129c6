//! What belongs to the target's tables beside their rows: is it there, and is it valid?

use tokio_postgres::Client;

use super::{Error, build};
use crate::mapping::{From, MappedColumn, Mapping};
use crate::table::{ForeignKey, Ident};

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
    /// It is not, and was not before lite2pg came, or nobody could look: no failure.
    Noticed,
    /// It is not.
    Failed,
}

/// What the check of the file is called.
pub const INTEGRITY: &str = "integrity of the file";

/// What the names of foreign keys begin with that rows do not keep.
const ORPHANS: &str = "orphans ";

/// Whether this is looked at once a day, and not by every comparison.
pub fn is_daily(name: &str) -> bool {
    name == INTEGRITY || name.starts_with(ORPHANS)
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

/// Rows without their parents, by foreign key of the source; what types make incomparable is left
/// out. Reads whole tables. Writes nothing.
pub async fn orphans(
    client: &Client,
    target_schema: &str,
    mappings: &[Mapping],
) -> Result<Vec<Check>, Error> {
    let mut checks = Vec::new();
    for child in mappings {
        for key in &child.table.foreign_keys {
            let is_parent = |other: &&Mapping| other.table.name.eq_ignore_ascii_case(&key.parent);
            let Some(parent) = mappings.iter().find(is_parent) else { continue };
            let Some(sql) = orphans_sql(target_schema, child, parent, key) else { continue };
            let row = client.query_one(&sql, &[]).await;
            let count: i64 = row.map_err(Error::query("look for orphans"))?.get(0);
            let name = format!("{} ({})", child.target, key.column_names(&child.table));
            let count = u64::try_from(count).unwrap_or(0);
            checks.extend(orphan_check(&name, "PostgreSQL", &key.parent, count));
        }
    }
    Ok(checks)
}

/// What is said of a foreign key on one side; nothing if every row has its parent.
pub fn orphan_check(child: &str, side: &str, parent: &str, count: u64) -> Option<Check> {
    let rows = if count == 1 { "row has" } else { "rows have" };
    let message = format!("{count} {rows} no parent in {parent}");
    let name = format!("{ORPHANS}{child} of {side}");
    (0 < count).then(|| Check::of(name, CheckState::Noticed, Some(message)))
}

fn orphans_sql(
    target_schema: &str,
    child: &Mapping,
    parent: &Mapping,
    key: &ForeignKey,
) -> Option<String> {
    let parent_columns = key.columns_in(&parent.table)?;
    if parent_columns.len() != key.columns.len() {
        return None;
    }
    let mapped = |mapping: &Mapping, at: usize| {
        let of = |column: &&MappedColumn| column.from == From::Column(at);
        mapping.columns.iter().find(of).map(|column| (Ident::new(&column.target), column.pg.oid()))
    };
    let (mut complete, mut equal) = (Vec::new(), Vec::new());
    for (mine, theirs) in key.columns.iter().zip(parent_columns) {
        let ((mine, its_type), (theirs, other)) = (mapped(child, *mine)?, mapped(parent, theirs)?);
        if its_type != other {
            return None;
        }
        complete.push(format!("c.{mine} is not null"));
        equal.push(format!("p.{theirs} = c.{mine}"));
    }
    Some(format!(
        "select count(*) from {} c where {} and not exists (select from {} p where {})",
        child.qualified(target_schema),
        complete.join(" and "),
        parent.qualified(target_schema),
        equal.join(" and "),
    ))
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
