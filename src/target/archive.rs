//! Rows of the target, kept as they were before something that nobody could see removes or
//! overwrites them.
//!
//! One statement for each page of keys, in the caller's transaction if there is one; rows never
//! travel. A crash leaves whole pages or none, and a page that is kept twice is only there twice.

use tokio_postgres::{Client, Statement};

use super::Error;
use super::apply::{Named, Raw, key_arrays, named_rows};
use crate::batch::KeyImage;
use crate::mapping::Mapping;
use crate::table::{Ident, Literal};

/// Keeps rows of one table, prepared once.
pub struct Archiver {
    statement: Statement,
}

impl Archiver {
    /// For the rows of a table; `incident` says why they are kept.
    pub async fn of(
        client: &Client,
        target_schema: &str,
        mapping: &Mapping,
        incident: i64,
    ) -> Result<Self, Error> {
        let Named { list, condition, .. } = named_rows(mapping);
        let key: Vec<String> =
            mapping.key_names().into_iter().map(|name| format!("t.{name}")).collect();
        let sql = format!(
            "insert into lite2pg.archive (incident, table_name, target, key, row)
             select {incident}, {}, {}, jsonb_build_array({}), to_jsonb(t)
               from {} t join {list} on {condition}",
            Literal(&mapping.table.name),
            Literal(&mapping.qualified(target_schema)),
            key.join(", "),
            mapping.qualified(target_schema),
        );
        let doing = "prepare to keep rows";
        let statement = client.prepare(&sql).await.map_err(Error::query(doing))?;
        Ok(Self { statement })
    }

    /// Keeps the rows that these keys name; returns how many there were.
    pub async fn keep(
        &self,
        client: &Client,
        mapping: &Mapping,
        keys: &[&KeyImage],
    ) -> Result<u64, Error> {
        let arrays: Vec<Raw> = key_arrays(mapping, keys);
        let parameters = arrays.iter().map(|raw| raw as &(dyn postgres_types::ToSql + Sync));
        client.execute_raw(&self.statement, parameters).await.map_err(Error::query("keep rows"))
    }
}

/// Keeps every row of a table; returns how many there were.
pub async fn keep_all(
    client: &Client,
    target_schema: &str,
    table: &str,
    target: &str,
    incident: i64,
) -> Result<u64, Error> {
    let qualified = format!("{}.{}", Ident::new(target_schema), Ident::new(target));
    let sql = format!(
        "insert into lite2pg.archive (incident, table_name, target, key, row)
         select {incident}, {}, {}, '[]', to_jsonb(t) from {qualified} t",
        Literal(table),
        Literal(&qualified),
    );
    client.execute(&sql, &[]).await.map_err(Error::query("keep the rows of a table"))
}
