//! Digests and rows of the target, each read in one snapshot with the position it belongs to.
//!
//! Only digests travel while both sides are equal. Begin with [`stretch`] and [`rows`].

use futures_util::{Stream, StreamExt, TryStreamExt};
use postgres_types::{FromSql, Type};
use tokio_postgres::{Client, Row, SimpleQueryMessage};

use super::Error;
use super::apply::{Named, Raw, key_arrays, named_rows, raw_key};
use super::ledger::{self, Stored};
use crate::batch::KeyImage;
use crate::mapping::Mapping;
use crate::table::Ident;
use crate::value::Answer;

/// Rows of a stretch of integer keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// Keys above this; `None` for all from the least.
    pub after: Option<i64>,
    /// Keys up to this; `None` for all to the greatest.
    pub until: Option<i64>,
}

/// The number of rows and the SHA-256 over their digests in key order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StretchDigest {
    /// How many rows.
    pub rows: i64,
    /// Over their digests; of nothing, if there are none.
    pub digest: Vec<u8>,
}

/// Rows found by their keys, at one position.
#[derive(Debug)]
pub struct RowsFound {
    /// Where the target stood.
    pub stored: Stored,
    /// By key: the fields of the mapping's columns as PostgreSQL sends them.
    pub rows: Vec<(KeyImage, Vec<Option<Vec<u8>>>)>,
}

impl Stretch {
    /// As a condition on the column `key`.
    fn condition(self, key: &str) -> String {
        let after = self.after.map(|after| format!("{after} < {key}"));
        let until = self.until.map(|until| format!("{key} <= {until}"));
        let conditions: Vec<String> = after.into_iter().chain(until).collect();
        if conditions.is_empty() { "true".to_owned() } else { conditions.join(" and ") }
    }
}

/// The digest of a stretch of a table whose rows one integer names.
pub async fn stretch(
    client: &Client,
    target_schema: &str,
    mapping: &Mapping,
    row_digest: &str,
    stretch: Stretch,
) -> Result<StretchDigest, Error> {
    let key = mapping.key_names().join(", ");
    let sql = format!(
        "select count(*), pg_catalog.sha256(coalesce(string_agg(d, ''::bytea order by k), ''))
           from (select {key} as k, {row_digest} as d from {} where {}) s",
        mapping.qualified(target_schema),
        stretch.condition(&key),
    );
    let row = client.query_one(&sql, &[]).await.map_err(Error::query("digest rows"))?;
    Ok(StretchDigest { rows: row.get(0), digest: row.get(1) })
}

/// The digest of every row of a stretch, with its key.
pub async fn digests(
    client: &Client,
    target_schema: &str,
    mapping: &Mapping,
    row_digest: &str,
    stretch: Stretch,
) -> Result<Vec<(i64, Vec<u8>)>, Error> {
    let key = mapping.key_names().join(", ");
    let sql = format!(
        "select {key}::bigint, {row_digest} from {} where {} order by 1",
        mapping.qualified(target_schema),
        stretch.condition(&key),
    );
    let rows = client.query(&sql, &[]).await.map_err(Error::query("digest rows"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// One part in `parts` of all rows, told apart by the digests of their keys: the beginning of the
/// key's digest and that of the row's, 16 bytes each. Streamed: memory does not grow.
pub async fn part<'a>(
    client: &'a Client,
    target_schema: &str,
    mapping: &Mapping,
    digests: (&str, &str),
    part: (u16, u16),
) -> Result<impl Stream<Item = Result<([u8; 16], [u8; 16]), Error>> + use<'a>, Error> {
    let (key_digest, row_digest) = digests;
    let (number, parts) = part;
    let sql = format!(
        "select substring(k for 16), substring(d for 16)
           from (select {key_digest} as k, {row_digest} as d from {}) s
          where get_byte(k, 15) % {parts} = {number}",
        mapping.qualified(target_schema),
    );
    let doing = "digest rows";
    let none: [i32; 0] = [];
    let rows = client.query_raw(&sql, none).await.map_err(Error::query(doing))?;
    Ok(rows.map(move |row| {
        let row = row.map_err(Error::query(doing))?;
        let half = |at: usize| <[u8; 16]>::try_from(row.get::<_, &[u8]>(at)).expect("16 bytes");
        Ok((half(0), half(1)))
    }))
}

/// The keys whose digests begin with one of these.
pub async fn keys_of_digests(
    client: &Client,
    target_schema: &str,
    mapping: &Mapping,
    key_digest: &str,
    wanted: &[Vec<u8>],
) -> Result<Vec<KeyImage>, Error> {
    let sql = format!(
        "select {} from {} where substring({key_digest} for 16) = any($1)",
        mapping.key_names().join(", "),
        mapping.qualified(target_schema),
    );
    let rows = client.query(&sql, &[&wanted]).await.map_err(Error::query("find keys"))?;
    Ok(rows.iter().map(|row| raw_key(row, 0)).collect())
}

/// A field as PostgreSQL sends it.
struct Field(Option<Vec<u8>>);

impl<'a> FromSql<'a> for Field {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(Some(raw.to_vec())))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// The rows that these keys name, and the position they belong to, in one snapshot.
pub async fn rows(
    client: &Client,
    target_schema: &str,
    mapping: &Mapping,
    keys: &[&KeyImage],
) -> Result<RowsFound, Error> {
    let doing = "read rows to compare them";
    let columns: Vec<String> =
        mapping.columns.iter().map(|column| format!("t.{}", Ident::new(&column.target))).collect();
    let Named { list, condition, names } = named_rows(mapping);
    let sql = format!(
        "select {}, {} from {} t join {list} on {condition}",
        columns.join(", "),
        names.join(", "),
        mapping.qualified(target_schema),
    );
    let width = mapping.columns.len();
    in_snapshot(client, async {
        let stored = ledger::position(client)
            .await?
            .ok_or(Error::Position { what: "the position row is gone".to_owned() })?;
        let arrays: Vec<Raw> = key_arrays(mapping, keys);
        let found = client
            .query_raw(&sql, arrays.iter().map(|raw| raw as &(dyn postgres_types::ToSql + Sync)))
            .await
            .map_err(Error::query(doing))?;
        let found: Vec<Row> = found.try_collect().await.map_err(Error::query(doing))?;
        let rows = found.iter().map(|row| {
            let fields = (0..width).map(|at| row.get::<_, Field>(at).0).collect();
            (raw_key(row, width), fields)
        });
        Ok(RowsFound { stored, rows: rows.collect() })
    })
    .await
}

/// The answer to a statement of the operator's, as text, in the snapshot that `client` is in; names
/// are looked for in the target schema first.
pub async fn answer(client: &Client, target_schema: &str, sql: &str) -> Result<Answer, Error> {
    let doing = "ask what the configuration asks";
    let path = format!("set local search_path = {}, public", Ident::new(target_schema));
    client.batch_execute(&path).await.map_err(Error::query(doing))?;
    let messages = client.simple_query(sql).await.map_err(Error::query(doing))?;
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect())
        }
        _ => None,
    });
    Ok(rows.collect())
}

/// Runs `body` in one snapshot, in a transaction that only reads.
pub async fn in_snapshot<T, E: From<Error>>(
    client: &Client,
    body: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let doing = "read a snapshot";
    let begin = "begin isolation level repeatable read read only";
    client.batch_execute(begin).await.map_err(Error::query(doing))?;
    let outcome = body.await;
    // Nothing was written; either way it only lets the snapshot go.
    let ended = client.batch_execute("rollback").await.map_err(Error::query(doing));
    outcome.and_then(|value| ended.map(|()| value).map_err(E::from))
}

/// Those of these keys that are in quarantine.
pub async fn in_quarantine(
    client: &Client,
    mapping: &Mapping,
    keys: &[serde_json::Value],
) -> Result<Vec<serde_json::Value>, Error> {
    let texts: Vec<String> = keys.iter().map(ToString::to_string).collect();
    let rows = client
        .query(
            "select q.key::text from lite2pg.quarantine q
               join unnest($2::text[]) w (key) on q.key = w.key::jsonb
              where q.table_id = $1",
            &[&mapping.id.0, &texts],
        )
        .await
        .map_err(Error::query("look into the quarantine"))?;
    let keys = rows.iter().map(|row| row.get::<_, String>(0));
    Ok(keys.filter_map(|text| serde_json::from_str(&text).ok()).collect())
}
