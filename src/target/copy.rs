//! Chunks in through COPY, each committed together with its progress.
//!
//! A worker has a connection of its own and copies one lane after another. A chunk and the cursor
//! behind it commit together, so a crash anywhere resumes at the next chunk and doubles nothing.
//! Commits need not reach the disk at once: if the server loses the newest ones, it loses rows
//! and progress alike.

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::Error;
use super::apply::{is_refusal, json_of};
use crate::batch::{Quarantined, fields};
use crate::change::TableId;
use crate::failpoint;
use crate::mapping::Mapping;
use crate::table::Ident;

/// COPY BINARY's signature, flags and extension length
/// (<https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format").
pub(super) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// The end of COPY BINARY data.
pub(super) const TRAILER: &[u8] = &[0xff, 0xff];

/// Bytes sent in one CopyData message.
pub(super) const MESSAGE_BYTES: usize = 256 * 1024;

/// A chunk as the target sees it.
#[derive(Debug)]
pub struct Arrived<'a> {
    /// Which lane of the table.
    pub lane: i32,
    /// The lane's end.
    pub until: Option<i64>,
    /// COPY BINARY tuples.
    pub tuples: Bytes,
    /// How many.
    pub rows: u64,
    /// Rows that cannot be held.
    pub quarantined: &'a [Quarantined],
    /// Where to go on, for the progress row.
    pub cursor: serde_json::Value,
    /// The lane ends here.
    pub is_last: bool,
    /// The head when the chunk was read.
    pub read_at: i64,
    /// A row that cannot be held ends the copy.
    pub halts: bool,
}

/// Writes one chunk and its progress in one transaction.
///
/// Fails with [`Error::TakenOver`] if another sidecar has claimed the target meanwhile.
pub async fn write_chunk(
    client: &Client,
    target_schema: &Ident,
    mapping: &Mapping,
    epoch: i64,
    chunk: Arrived<'_>,
) -> Result<(), Error> {
    let doing = "copy a chunk";
    // synchronous_commit off: see the header. `for share` keeps a new owner waiting until this
    // chunk is in, and finds out about an old one.
    let owner = client
        .batch_execute("begin; set local synchronous_commit = off")
        .await
        .map_err(Error::query(doing));
    owner?;
    let found: Option<i64> = client
        .query_opt("select epoch from lite2pg.position where id = 1 for share", &[])
        .await
        .map_err(Error::query(doing))?
        .map(|row| row.get(0));
    if found != Some(epoch) {
        return Err(super::ledger::lost_claim(client, epoch).await?);
    }
    failpoint::hit(failpoint::COPY_BEGUN);
    if chunk.rows != 0 {
        send_what_fits(client, target_schema, mapping, &chunk).await?;
    }
    failpoint::hit(failpoint::COPY_CHUNK_SENT);
    for refused in chunk.quarantined {
        halt(mapping, &chunk, &refused.key.to_string(), &refused.column, &refused.reason)?;
        client
            .execute(
                super::ledger::QUARANTINE,
                &[
                    &mapping.id.0,
                    &refused.key.to_string(),
                    &refused.column,
                    &refused.reason,
                    &chunk.read_at,
                ],
            )
            .await
            .map_err(Error::query(doing))?;
    }
    progress(client, mapping.id, &chunk).await?;
    failpoint::hit(failpoint::COPY_BEFORE_COMMIT);
    client.batch_execute("commit").await.map_err(Error::query(doing))?;
    failpoint::hit(failpoint::COPY_CHUNK_COMMITTED);
    Ok(())
}

/// Sends the tuples of a chunk; those that the server refuses go to quarantine.
///
/// A refused COPY is halved until the rows that are at fault stand alone, so that a handful of
/// them among thousands costs a few dozen tries.
async fn send_what_fits(
    client: &Client,
    target_schema: &Ident,
    mapping: &Mapping,
    chunk: &Arrived<'_>,
) -> Result<(), Error> {
    let doing = "copy a chunk";
    let mut parts = vec![chunk.tuples.clone()];
    while let Some(part) = parts.pop() {
        client.batch_execute("savepoint part").await.map_err(Error::query(doing))?;
        let error = match send(client, target_schema, mapping, &part).await {
            Ok(()) => {
                client
                    .batch_execute("release savepoint part")
                    .await
                    .map_err(Error::query(doing))?;
                continue;
            }
            Err(error) if is_refusal(&error) => error,
            Err(error) => return Err(error),
        };
        client.batch_execute("rollback to savepoint part").await.map_err(Error::query(doing))?;
        let ends = tuple_ends(&part);
        if let [_] = ends[..] {
            let row: Vec<Option<&[u8]>> = fields(&part[TUPLE_HEAD_BYTES..]).collect();
            let mut key = Vec::new();
            for column in &mapping.key {
                let field = row[*column].expect("a key holds no NULL");
                key.extend_from_slice(&(field.len() as u32).to_be_bytes());
                key.extend_from_slice(field);
            }
            let key = json_of(mapping, &key).to_string();
            let (column, reason) = (error.column(), error.reason());
            // The keys of an adopted table are there from the beginning. Rows that were read at
            // different moments may collide on them; what touched one of them since is in the
            // changelog, and replay takes the row back out of quarantine.
            if !(mapping.is_adopted && error.is(&SqlState::UNIQUE_VIOLATION)) {
                halt(mapping, chunk, &key, &column, &reason)?;
            }
            client
                .execute(
                    super::ledger::QUARANTINE,
                    &[&mapping.id.0, &key, &column, &reason, &chunk.read_at],
                )
                .await
                .map_err(Error::query(doing))?;
            continue;
        }
        let middle = ends[ends.len() / 2 - 1];
        parts.push(part.slice(middle..));
        parts.push(part.slice(..middle));
    }
    Ok(())
}

/// Fails for a row that would go to quarantine, if the configuration says to stop.
fn halt(
    mapping: &Mapping,
    chunk: &Arrived<'_>,
    key: &str,
    column: &Option<String>,
    reason: &str,
) -> Result<(), Error> {
    if !chunk.halts {
        return Ok(());
    }
    Err(Error::Unmappable {
        table: mapping.table.name.clone(),
        key: key.to_owned(),
        column: column.clone(),
        reason: reason.to_owned(),
    })
}

/// A tuple begins with the number of its fields.
const TUPLE_HEAD_BYTES: usize = 2;

/// Where each tuple ends.
fn tuple_ends(tuples: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    while let Some(head) = tuples[at..].first_chunk::<TUPLE_HEAD_BYTES>() {
        at += TUPLE_HEAD_BYTES;
        for _ in 0..i16::from_be_bytes(*head) {
            let length = tuples[at..].first_chunk().expect("a tuple is whole");
            at += size_of::<i32>() + usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        }
        ends.push(at);
    }
    ends
}

async fn send(
    client: &Client,
    target_schema: &Ident,
    mapping: &Mapping,
    tuples: &Bytes,
) -> Result<(), Error> {
    let doing = "copy a chunk";
    let columns: Vec<String> =
        mapping.columns.iter().map(|column| Ident::new(&column.target).to_string()).collect();
    let (target, columns) =
        (format!("{target_schema}.{}", Ident::new(&mapping.target)), columns.join(", "));
    let stage = mapping.needs_stage().then(|| Stage::of(mapping));
    if let Some(stage) = &stage {
        client.batch_execute(&stage.create).await.map_err(Error::query(doing))?;
    }
    let into = stage.as_ref().map_or(&target, |stage| &stage.name);
    let sql = format!("copy {into} ({columns}) from stdin (format binary)");
    let copying = client.copy_in::<_, Bytes>(&sql).await.map_err(Error::query(doing))?;
    let mut copying = std::pin::pin!(copying);
    let mut head = BytesMut::new();
    head.put_slice(HEADER);
    copying.feed(head.freeze()).await.map_err(Error::query(doing))?;
    let mut at = 0;
    while at < tuples.len() {
        let end = tuples.len().min(at + MESSAGE_BYTES);
        copying.feed(tuples.slice(at..end)).await.map_err(Error::query(doing))?;
        at = end;
    }
    copying.feed(Bytes::from_static(TRAILER)).await.map_err(Error::query(doing))?;
    copying.finish().await.map_err(Error::query(doing))?;
    let Some(Stage { name, select, .. }) = stage else { return Ok(()) };
    client
        .batch_execute(&format!(
            "insert into {target} ({columns}) overriding system value {select}; drop table {name}"
        ))
        .await
        .map_err(Error::query(doing))
}

/// The qualified name of a table's staging table, which lives within one transaction.
pub(super) fn stage_name(mapping: &Mapping) -> String {
    format!("pg_temp.\"lite2pg_stage_{}\"", mapping.id.0)
}

/// A temporary table for rows that hold what cannot be sent as the column's type: text that the
/// server has to cast.
pub(super) struct Stage {
    /// Its qualified name.
    pub name: String,
    /// The statements that make it, empty, in the open transaction.
    pub create: String,
    /// All its rows, as the target's types.
    pub select: String,
}

impl Stage {
    pub(super) fn of(mapping: &Mapping) -> Self {
        let name = stage_name(mapping);
        let (mut made, mut cast) = (Vec::new(), Vec::new());
        for column in &mapping.columns {
            let ident = Ident::new(&column.target);
            made.push(format!("{ident} {}", column.pg.stage_sql()));
            cast.push(format!("{ident}::{}", column.pg.sql()));
        }
        Self {
            create: format!(
                "drop table if exists {name}; create temporary table {name} ({}) on commit drop",
                made.join(", ")
            ),
            select: format!("select {} from {name}", cast.join(", ")),
            name,
        }
    }
}

/// Stores where the lane stands, and that contents were read at a newer position than before.
async fn progress(client: &Client, table: TableId, chunk: &Arrived<'_>) -> Result<(), Error> {
    let doing = "store the progress of the copy";
    client
        .execute(
            "insert into lite2pg.copy_progress (table_id, lane, until, cursor, rows, done)
             values ($1, $2, $3, $4::text::jsonb, $5, $6)
             on conflict (table_id, lane) do update
                set cursor = excluded.cursor, done = excluded.done,
                    rows = lite2pg.copy_progress.rows + excluded.rows",
            &[
                &table.0,
                &chunk.lane,
                &chunk.until,
                &chunk.cursor.to_string(),
                &i64::try_from(chunk.rows).expect("a chunk is small"),
                &chunk.is_last,
            ],
        )
        .await
        .map(drop)
        .map_err(Error::query(doing))
}
