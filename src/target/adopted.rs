//! What is done to tables that the application's own migrations made: little, and undone again.
//!
//! An adopted table is never altered for good. Its rows go when it is filled from the beginning;
//! foreign keys and triggers that would act on what is replayed are taken out of the way where
//! nothing gentler is allowed, with their definition in `lite2pg.objects`, from where
//! [`build_waiting`](super::build::build_waiting) puts them back.

use tokio_postgres::Client;

use super::Error;
use crate::mapping::Mapping;
use crate::table::{Ident, Literal};

/// How the statement of a constraint ends that is validated once it is there. PostgreSQL itself
/// writes `NOT VALID` at the end of one that never was.
pub(super) const NOT_VALID_YET: &str = " not valid";

/// Deletes whatever a table holds, in the caller's transaction. Nothing may act on it: neither
/// foreign keys nor triggers.
pub(super) async fn empty(
    client: &Client,
    target_schema: &str,
    mapping: &Mapping,
) -> Result<(), Error> {
    let target = mapping.qualified(target_schema);
    let gone = client
        .execute(&format!("delete from {target}"), &[])
        .await
        .map_err(Error::query("empty an adopted table"))?;
    if 0 < gone {
        tracing::warn!(table = %target, rows = gone, "rows deleted; the source's take their place");
    }
    Ok(())
}

/// The foreign keys from and to adopted tables, with the statement that makes each again. Those of
/// partitions go and come with their parent's.
const FOREIGN_KEYS: &str = "
    select k.conname::text, c.relname::text,
           format('alter table %I.%I add constraint %I %s%s', n.nspname, c.relname, k.conname,
                  pg_get_constraintdef(k.oid), case when k.convalidated then $2 else '' end)
      from pg_constraint k
      join pg_class c on c.oid = k.conrelid
      join pg_namespace n on n.oid = c.relnamespace
     where k.contype = 'f' and k.conparentid = 0 and n.nspname = $1
       and exists (select 1 from lite2pg.tables t
                    where t.adopted and to_regclass(format('%I.%I', $1::text, t.target))
                          in (k.conrelid, k.confrelid))";

/// The triggers of adopted tables that fire on ordinary writes.
const TRIGGERS: &str = "
    select g.tgname::text, c.relname::text,
           format('alter table %I.%I enable trigger %I', n.nspname, c.relname, g.tgname)
      from pg_trigger g
      join pg_class c on c.oid = g.tgrelid
      join pg_namespace n on n.oid = c.relnamespace
      join lite2pg.tables t on t.adopted and t.target = c.relname::text
     where n.nspname = $1 and not g.tgisinternal and g.tgenabled = 'O'";

/// Drops the foreign keys of adopted tables and disables their triggers, in the caller's
/// transaction, together with the note of how each comes back. For sessions that cannot make them
/// rest otherwise.
pub(super) async fn set_aside(client: &Client, target_schema: &str) -> Result<(), Error> {
    let doing = "take an adopted table's constraints out of the way";
    let keys = client
        .query(FOREIGN_KEYS, &[&target_schema, &NOT_VALID_YET])
        .await
        .map_err(Error::query(doing))?;
    let triggers = client.query(TRIGGERS, &[&target_schema]).await.map_err(Error::query(doing))?;
    let named =
        [("foreign_key", "drop constraint", &keys), ("trigger", "disable trigger", &triggers)];
    for (kind, action, rows) in named {
        for row in rows {
            let (name, table, undo): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
            client
                .batch_execute(&format!(
                    "insert into lite2pg.objects (kind, name, belongs_to, sql, state, adopted)
                     values ({}, {}, {}, {}, 'waiting', true)
                     on conflict (kind, name, belongs_to) do update
                        set sql = excluded.sql, state = 'waiting', reason = null;
                     alter table {}.{} {action} {}",
                    Literal(kind),
                    Literal(name),
                    Literal(table),
                    Literal(undo),
                    Ident::new(target_schema),
                    Ident::new(table),
                    Ident::new(name),
                ))
                .await
                .map_err(Error::query(doing))?;
        }
    }
    if !keys.is_empty() || !triggers.is_empty() {
        tracing::warn!(
            foreign_keys = keys.len(),
            triggers = triggers.len(),
            "of adopted tables, taken out of the way while rows are replayed, because this role \
             may not set session_replication_role; `lite2pg schema --finalise` puts them back"
        );
    }
    Ok(())
}
