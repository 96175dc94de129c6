//! What the target's catalog says of types that are not built in: enums, domains, extensions'.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use super::Error;
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
