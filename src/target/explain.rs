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

/// How many of the columns that we write are there, and of the type that we write; and how the
/// table is written.
const COLUMNS: &str = "
    select count(a.attname), format('%I.%I', $1::text, $2::text)
      from unnest($3::text[], $4::oid[]) as ours (name, type)
      left join pg_attribute a
             on a.attname = ours.name and a.atttypid = ours.type and not a.attisdropped
            and a.attrelid = to_regclass(format('%I.%I', $1::text, $2::text))";

/// Names who was behind `error`, if it is a trigger or an altered table.
///
/// With `is_open` the statement failed inside a transaction, which is rolled back first.
pub async fn explain(
    client: &Client,
    is_open: bool,
    target_schema: &str,
    mappings: &[Mapping],
    error: Error,
) -> Error {
    if error.is_transient() {
        return error;
    }
    let Error::Query { doing, source } = error else { return error };
    let found = match look(client, is_open, target_schema, mappings, &source).await {
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
    is_open: bool,
    target_schema: &str,
    mappings: &[Mapping],
    said: &Said,
) -> Result<Option<Found>, tokio_postgres::Error> {
    let Some(error) = said.0.as_db_error() else { return Ok(None) };
    if is_open {
        client.batch_execute("rollback").await?;
    }
    if let Some(context) = error.where_() {
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
    for mapping in mappings {
        let names: Vec<&str> =
            mapping.columns.iter().map(|column| column.target.as_str()).collect();
        let types: Vec<Oid> = mapping.columns.iter().map(|column| column.pg.oid()).collect();
        let whole = i64::try_from(names.len()).expect("a table has at most 1,600 columns");
        let row =
            client.query_one(COLUMNS, &[&target_schema, &mapping.target, &names, &types]).await?;
        if row.get::<_, i64>(0) < whole {
            let (table, name) = (row.get(1), mapping.target.clone());
            return Ok(Some(Found::Altered { table, name }));
        }
    }
    Ok(None)
}
