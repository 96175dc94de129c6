//! Find out who stood in the way of a statement.
//!
//! PostgreSQL says what went wrong, not whose doing it was. Where a person has to act, two causes
//! are worth a name: a trigger that the target's owner put on one of our tables, and a table that
//! was altered behind our back. Everything else is returned as it came.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Oid;

use super::{Error, Said};
use crate::mapping::Mapping;
use crate::table::Ident;

/// Triggers of others that fire in this session, with what their function is called in an error's
/// context.
const TRIGGERS: &str = "
    select format('%I', t.tgname), format('%I.%I', n.nspname, c.relname),
           'function ' || t.tgfoid::regprocedure || ' '
      from pg_trigger t
      join pg_class c on c.oid = t.tgrelid
      join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = $1 and not t.tgisinternal
       and (t.tgenabled = 'A'
            or t.tgenabled = case current_setting('session_replication_role')
                                  when 'replica' then 'R'::\"char\" else 'O'::\"char\" end)
     order by t.tgname";

/// How many of the columns that we write are there, and of the type that we write.
const COLUMNS: &str = "
    select count(*)
      from pg_attribute a
      join unnest($2::text[], $3::oid[]) as ours (name, type) on a.attname = ours.name
     where a.attrelid = to_regclass($1) and not a.attisdropped and a.atttypid = ours.type";

/// Names who was behind `error`, if it is a trigger or an altered table.
///
/// Rolls back whatever transaction is open: the failed statement has ended it already.
pub async fn explain(
    client: &Client,
    target_schema: &str,
    mappings: &[Mapping],
    error: Error,
) -> Error {
    if error.is_transient() {
        return error;
    }
    let Error::Query { doing, source } = error else { return error };
    let found = match look(client, target_schema, mappings, &source).await {
        Ok(found) => found,
        // The first error is the one to tell.
        Err(error) => {
            tracing::debug!(%error, "cannot find out who was in the way");
            None
        }
    };
    match found {
        None => Error::Query { doing, source },
        Some(Found::Trigger { trigger, table }) => Error::Trigger { trigger, table, source },
        Some(Found::Altered { table, name }) => Error::Altered { table, name, source },
    }
}

enum Found {
    Trigger { trigger: String, table: String },
    Altered { table: String, name: String },
}

async fn look(
    client: &Client,
    target_schema: &str,
    mappings: &[Mapping],
    said: &Said,
) -> Result<Option<Found>, tokio_postgres::Error> {
    let Some(error) = said.0.as_db_error() else { return Ok(None) };
    if let Some(context) = error.where_() {
        client.batch_execute("rollback").await?;
        for row in client.query(TRIGGERS, &[&target_schema]).await? {
            let function: String = row.get(2);
            if context.contains(&function) {
                return Ok(Some(Found::Trigger { trigger: row.get(0), table: row.get(1) }));
            }
        }
    }
    let is_about_shape = [
        &SqlState::UNDEFINED_TABLE,
        &SqlState::UNDEFINED_COLUMN,
        &SqlState::DATATYPE_MISMATCH,
        &SqlState::INVALID_COLUMN_REFERENCE,
    ]
    .contains(&error.code());
    if !is_about_shape {
        return Ok(None);
    }
    client.batch_execute("rollback").await?;
    for mapping in mappings {
        let table = format!("{}.{}", Ident::new(target_schema), Ident::new(&mapping.target));
        let names: Vec<&str> =
            mapping.columns.iter().map(|column| column.target.as_str()).collect();
        let types: Vec<Oid> = mapping.columns.iter().map(|column| column.pg.oid()).collect();
        let whole = i64::try_from(names.len()).expect("a table has at most 1,600 columns");
        let there: i64 = client.query_one(COLUMNS, &[&table, &names, &types]).await?.get(0);
        if there < whole {
            return Ok(Some(Found::Altered { table, name: mapping.target.clone() }));
        }
    }
    Ok(None)
}
