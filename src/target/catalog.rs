//! What the target's catalog says of types that are not built in (enums, domains, extensions'),
//! and of the tables that somebody else made.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use super::Error;
use crate::adopt::{Existing, ExistingColumn};
use crate::table::Ident;
use crate::value::codec::kind::{Kind, Target};

/// Domains over domains go no deeper than this.
const DEPTH_MAX: usize = 8;

/// Looks up types by the names that a user wrote; those that do not exist are left out. A name
/// without a schema is looked for in the target's and then in `public`, for our sessions have
/// neither in their path.
pub async fn types(
    client: &Client,
    target_schema: &str,
    names: &[&str],
) -> Result<BTreeMap<String, Target>, Error> {
    let mut found = BTreeMap::new();
    for name in names {
        let qualified =
            [target_schema, "public"].map(|schema| format!("{}.{name}", Ident::new(schema)));
        for candidate in std::iter::once((*name).to_owned()).chain(qualified) {
            if let Some(target) = one(client, &candidate, DEPTH_MAX).await? {
                found.insert((*name).to_owned(), target);
                break;
            }
        }
    }
    Ok(found)
}

async fn one(client: &Client, name: &str, depth: usize) -> Result<Option<Target>, Error> {
    let row = client
        .query_opt(
            "select t.oid, t.typarray, t.typtype::text, t.typname::text,
                    case when t.typtype = 'd' then format_type(t.typbasetype, t.typtypmod) end,
                    array(select e.enumlabel::text from pg_catalog.pg_enum e
                           where e.enumtypid = t.oid order by e.enumsortorder),
                    format_type(t.oid, null)
               from pg_catalog.pg_type t
              where t.oid = pg_catalog.to_regtype($1)",
            &[&name],
        )
        .await;
    let row = match row {
        // A name that is no name at all.
        Err(error) if error.code() == Some(&tokio_postgres::error::SqlState::SYNTAX_ERROR) => None,
        row => row.map_err(Error::query("look up a type"))?,
    };
    let Some(row) = row else { return Ok(None) };
    let (oid, array_oid): (u32, u32) = (row.get(0), row.get(1));
    let (class, plain): (String, String) = (row.get(2), row.get(3));
    let printed: String = row.get(6);
    // The parameters of an extension's type are the user's.
    let name = if name.contains('(') { name } else { &printed };
    let base: Option<String> = row.get(4);
    let kind = match (class.as_str(), base) {
        ("e", _) => return Ok(Some(Target::labels(name, oid, array_oid, row.get(5)))),
        ("d", Some(base)) => {
            let known = Target::parse(&base).ok().filter(|base| base.oid != 0);
            let base = match known {
                Some(base) => Some(base),
                None if depth == 0 => None,
                None => Box::pin(one(client, &base, depth - 1)).await?,
            };
            return Ok(base.map(|base| base.domain(name, oid, array_oid)));
        }
        _ if plain == "citext" => Kind::Citext,
        _ => Kind::Other,
    };
    Ok(Some(Target { name: name.to_owned(), oid, array_oid, kind }))
}

/// What a table of the target is like.
const TABLES: &str = "
    select c.oid, c.relname::text,
           array(select p from unnest(array['select', 'insert', 'update', 'delete']) p
                  where not has_table_privilege(c.oid, p)),
           row_security_active(c.oid),
           pg_has_role(c.relowner, 'usage'),
           array(select k.conname::text from pg_constraint k
                  where k.contype = 'f' and (k.conrelid = c.oid or k.confrelid = c.oid)
                  order by 1),
           array(select t.tgname::text from pg_trigger t
                  where t.tgrelid = c.oid and not t.tgisinternal and t.tgenabled = 'O'
                  order by 1),
           array(select t.tgname::text from pg_trigger t
                  where t.tgrelid = c.oid and not t.tgisinternal and t.tgenabled in ('A', 'R')
                  order by 1)
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = $1 and c.relkind in ('r', 'p') and not c.relispartition
     order by c.relname";

/// Its columns.
const COLUMNS: &str = "
    select a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,
           a.atthasdef or a.attidentity <> '', a.attgenerated <> '', a.attidentity = 'a'
      from pg_attribute a
     where a.attrelid = $1 and 0 < a.attnum and not a.attisdropped
     order by a.attnum";

/// The columns of its unique indexes that `on conflict (…)` can use
/// (<https://www.postgresql.org/docs/current/sql-insert.html#SQL-ON-CONFLICT>) and that tell all
/// texts apart: under a nondeterministic collation two rows of the source would become one
/// (<https://www.postgresql.org/docs/current/collation.html#COLLATION-NONDETERMINISTIC>).
const UNIQUE: &str = "
    select array(select a.attname::text from pg_attribute a
                  where a.attrelid = i.indrelid
                    and a.attnum = any((i.indkey::int2[])[0:i.indnkeyatts - 1]))
      from pg_index i
     where i.indrelid = $1 and i.indisunique and i.indisvalid and i.indimmediate
       and i.indpred is null and i.indexprs is null
       and not exists (select from unnest(i.indcollation::oid[]) used
                         join pg_collation l on l.oid = used
                        where not l.collisdeterministic)";

/// The tables of a schema that an application's migrations made. Whether one has rows is asked of
/// those that this role may read and that `is_wanted`.
pub async fn tables(
    client: &Client,
    target_schema: &str,
    is_wanted: &(dyn Fn(&str) -> bool + Sync),
) -> Result<Vec<Existing>, Error> {
    let doing = "read the tables of the target";
    let mut types = BTreeMap::new();
    let mut found = Vec::new();
    for row in client.query(TABLES, &[&target_schema]).await.map_err(Error::query(doing))? {
        let (oid, name): (u32, String) = (row.get(0), row.get(1));
        let forbidden: Vec<String> = row.get(2);
        let mut columns = Vec::new();
        for row in client.query(COLUMNS, &[&oid]).await.map_err(Error::query(doing))? {
            let printed: String = row.get(1);
            if !types.contains_key(&printed) {
                types.insert(printed.clone(), of_column(client, &printed).await?);
            }
            columns.push(ExistingColumn {
                name: row.get(0),
                target: types[&printed].clone(),
                is_not_null: row.get(2),
                has_default: row.get(3),
                is_computed: row.get(4),
                is_identity_always: row.get(5),
            });
        }
        let unique = client.query(UNIQUE, &[&oid]).await.map_err(Error::query(doing))?;
        let hides_rows: bool = row.get(3);
        let may_look =
            is_wanted(&name) && !hides_rows && !forbidden.iter().any(|right| right == "select");
        let has_rows = may_look && has_rows(client, target_schema, &name).await?;
        found.push(Existing {
            name,
            columns,
            unique: unique.iter().map(|row| row.get(0)).collect(),
            has_rows,
            forbidden,
            hides_rows,
            is_owned: row.get(4),
            foreign_keys: row.get(5),
            triggers: row.get(6),
            always: row.get(7),
        });
    }
    Ok(found)
}

async fn has_rows(client: &Client, target_schema: &str, table: &str) -> Result<bool, Error> {
    let table = format!("{}.{}", Ident::new(target_schema), Ident::new(table));
    client
        .query_one(&format!("select exists (select 1 from {table})"), &[])
        .await
        .map(|row| row.get(0))
        .map_err(Error::query("look for rows in a table of the target"))
}

/// The type of a column as `format_type()` prints it, which qualifies what is not in `pg_catalog`.
async fn of_column(client: &Client, printed: &str) -> Result<Target, Error> {
    let Ok(parsed) = Target::parse(printed) else {
        return Ok(Target { name: printed.to_owned(), oid: 0, array_oid: 0, kind: Kind::Other });
    };
    Ok(match &parsed.kind {
        Kind::Array(element) if element.oid == 0 => {
            let element = one(client, &element.name, DEPTH_MAX).await?;
            element.map_or(parsed, Target::array)
        }
        _ if parsed.oid == 0 => one(client, printed, DEPTH_MAX).await?.unwrap_or(parsed),
        _ => parsed,
    })
}
