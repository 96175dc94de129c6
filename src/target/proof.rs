//! Digests and rows of the target, each read in one snapshot with the position it belongs to.
//!
//! Only digests travel while both sides are equal. Begin with [`stretch`] and [`Finder`].

use futures_util::{Stream, StreamExt, TryStreamExt};
use postgres_types::{FromSql, Type};
use tokio_postgres::{Client, Row, SimpleQueryMessage, Statement};

use super::Error;
use super::apply::{Named, Raw, Standing, key_arrays, named_rows, raw_key};
use crate::batch::KeyImage;
use crate::change::{Anchor, Position};
use crate::mapping::Mapping;
use crate::table::Ident;
use crate::value::Answer;

/// A stretch of keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stretch<'a> {
    /// Keys above this; `None` for all from the least.
    pub after: Option<&'a KeyImage>,
    /// Keys up to this; `None` for all to the greatest.
    pub until: Option<&'a KeyImage>,
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
    pub standing: Standing,
    /// Those that are there.
    pub rows: Vec<FoundRow>,
}

/// A row of the target.
#[derive(Debug)]
pub struct FoundRow {
    /// What names it.
    pub key: KeyImage,
    /// The mapping's columns as PostgreSQL sends them.
    pub fields: Vec<Option<Vec<u8>>>,
    /// The transaction that wrote it: `xmin`, which wraps around
    /// (<https://www.postgresql.org/docs/current/ddl-system-columns.html>).
    pub xmin: u32,
}

impl Stretch<'_> {
    /// As a condition on the columns of the key, and its parameters: arrays of one element each,
    /// which is the one form in which every type's fields travel.
    fn condition(self, mapping: &Mapping) -> (String, Vec<Raw>) {
        let names = mapping.key_names();
        let types = mapping.key.iter().map(|column| mapping.columns[*column].pg.wire().0);
        let types: Vec<&str> = types.collect();
        let (mut conditions, mut parameters) = (Vec::new(), Vec::new());
        for (bound, comparison) in [(self.after, ">"), (self.until, "<=")] {
            let Some(key) = bound else { continue };
            let first = parameters.len() + 1;
            let values = types.iter().enumerate();
            let values = values.map(|(at, pg)| format!("(${}::{pg}[])[1]", first + at));
            let values = values.collect::<Vec<_>>().join(", ");
            conditions.push(format!("({}) {comparison} ({values})", names.join(", ")));
            parameters.extend(key_arrays(mapping, &[key]));
        }
        let all = "true".to_owned();
        (if conditions.is_empty() { all } else { conditions.join(" and ") }, parameters)
    }
}

fn as_parameters(
    raw: &[Raw],
) -> impl ExactSizeIterator<Item = &(dyn postgres_types::ToSql + Sync)> {
    raw.iter().map(|raw| raw as &(dyn postgres_types::ToSql + Sync))
}

/// For a session that asks for [`stretch`]es and has a [`Finder`]: the index has the rows, and in
/// order. The planner takes bounds on several columns for wider than they are, and a few thousand
/// keys for a reason to read the whole table
/// (<https://www.postgresql.org/docs/current/runtime-config-query.html>).
pub async fn go_by_index(client: &Client) -> Result<(), Error> {
    client
        .batch_execute(
            "set enable_seqscan = off; set enable_bitmapscan = off; set enable_hashjoin = off;
             set enable_mergejoin = off; set jit = off; set work_mem = '32MB'",
        )
        .await
        .map_err(Error::query("prepare to digest rows"))
}

/// The digest of a stretch of keys.
pub async fn stretch(
    client: &Client,
    target_schema: &str,
    mapping: &Mapping,
    row_digest: &str,
    stretch: Stretch<'_>,
) -> Result<StretchDigest, Error> {
    let (condition, parameters) = stretch.condition(mapping);
    // In the order of the rows below, which an aggregate without an order of its own keeps.
    let sql = format!(
        "select count(*), pg_catalog.sha256(coalesce(string_agg(d, ''::bytea), ''))
           from (select {row_digest} as d from {} where {condition} order by {}) s",
        mapping.qualified(target_schema),
        mapping.key_names().join(", "),
    );
    let parameters: Vec<_> = as_parameters(&parameters).collect();
    let row = client.query_one(&sql, &parameters).await.map_err(Error::query("digest rows"))?;
    Ok(StretchDigest { rows: row.get(0), digest: row.get(1) })
}

/// The digests of the first rows of a stretch, no more than `rows_max`, with their keys in order.
pub async fn digests(
    client: &Client,
    target_schema: &str,
    mapping: &Mapping,
    row_digest: &str,
    stretch: Stretch<'_>,
    rows_max: usize,
) -> Result<Vec<(KeyImage, Vec<u8>)>, Error> {
    let (condition, parameters) = stretch.condition(mapping);
    let key = key_as_sent(mapping);
    let sql = format!(
        "select {row_digest}, {key} from {} where {condition} order by {} limit {rows_max}",
        mapping.qualified(target_schema),
        mapping.key_names().join(", "),
    );
    let parameters: Vec<_> = as_parameters(&parameters).collect();
    let rows = client.query(&sql, &parameters).await.map_err(Error::query("digest rows"))?;
    Ok(rows.iter().map(|row| (raw_key(row, 1), row.get(0))).collect())
}

/// The columns of the key as the types that travel: a domain is sent as the type below it.
fn key_as_sent(mapping: &Mapping) -> String {
    let columns = mapping.key.iter().map(|column| &mapping.columns[*column]);
    let columns =
        columns.map(|column| format!("{}::{}", Ident::new(&column.target), column.pg.wire().0));
    columns.collect::<Vec<_>>().join(", ")
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

/// Finds rows of one table by their keys, prepared once.
pub struct Finder {
    statement: Statement,
    width: usize,
}

impl Finder {
    /// For the rows of a table. The position comes with them, in the same statement, which is one
    /// snapshot (<https://www.postgresql.org/docs/current/transaction-iso.html>).
    pub async fn of(
        client: &Client,
        target_schema: &str,
        mapping: &Mapping,
    ) -> Result<Self, Error> {
        let Named { list, condition, names } = named_rows(mapping, None);
        let columns = mapping.columns.iter();
        let columns: Vec<String> =
            columns.map(|column| format!("t.{}", Ident::new(&column.target))).collect();
        let sql = format!(
            "select p.applied, p.token, p.read_through, {} is not null, t.xmin::text::bigint, {}, {}
               from lite2pg.position p
               left join ({} t join {list} on {condition}) on true
              where p.id = 1",
            names[0],
            columns.join(", "),
            names.join(", "),
            mapping.qualified(target_schema),
        );
        let statement = client.prepare(&sql).await.map_err(Error::query(READ))?;
        Ok(Self { statement, width: mapping.columns.len() })
    }

    /// The rows that these keys name, and where the target stood.
    pub async fn rows(
        &self,
        client: &Client,
        mapping: &Mapping,
        keys: &[&KeyImage],
    ) -> Result<RowsFound, Error> {
        const BEFORE: usize = 5;
        let arrays: Vec<Raw> = key_arrays(mapping, keys);
        let found = client.query_raw(&self.statement, as_parameters(&arrays));
        let found = found.await.map_err(Error::query(READ))?;
        let found: Vec<Row> = found.try_collect().await.map_err(Error::query(READ))?;
        let Some(first) = found.first() else {
            return Err(Error::Position { what: "the position row is gone".to_owned() });
        };
        let standing = Standing {
            applied: Anchor { position: Position(first.get(0)), token: first.get(1) },
            read_through: Position(first.get(2)),
        };
        let rows = found.iter().filter(|row| row.get(3)).map(|row| FoundRow {
            key: raw_key(row, BEFORE + self.width),
            fields: (0..self.width).map(|at| row.get::<_, Field>(BEFORE + at).0).collect(),
            xmin: u32::try_from(row.get::<_, i64>(4)).unwrap_or(0),
        });
        Ok(RowsFound { standing, rows: rows.collect() })
    }
}

const READ: &str = "read rows to compare them";

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
