//! The running checksum in the ledger: what each chunk of each table was when it was last read
//! whole, and the position up to which its changes have been compared.
//!
//! The chunks of a table follow one another: each begins after the key where the one before it
//! ends. A chain that is broken, or was made of other columns, types or another generation, proves
//! nothing and begins anew. Each chunk is noted in one statement, so a crash leaves a whole chain.

use tokio_postgres::{Client, Row};

use super::{Error, in_utc};
use crate::change::{Position, TableId};

/// A pass that was ended is taken up again for so long; after that it begins anew.
const RESUME_HOURS_MAX: i32 = 6;

/// Rows of a table that lie side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// Its number in the ledger.
    pub id: i64,
    /// Keys after this one, as JSON; `None` from the least.
    pub after: Option<String>,
    /// Keys up to this one; `None` to the greatest.
    pub until: Option<String>,
    /// Every change up to here has been compared; `None` if nothing has.
    pub position: Option<Position>,
    /// When it was last read whole.
    pub read: Option<Read>,
    /// What it held then.
    pub content: Content,
    /// Nothing differed.
    pub is_equal: bool,
}

/// When a chunk was last read whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// In UTC.
    pub at: String,
    /// Seconds since then.
    pub age: f64,
    /// Where the target stood.
    pub position: Position,
    /// It was read in the pass that is under way.
    pub is_of_pass: bool,
}

/// What a chunk held.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content {
    /// How many rows.
    pub rows: i64,
    /// Bytes, as they travel.
    pub bytes: i64,
    /// The sum of their digests.
    pub checksum: String,
}

/// A chunk that was read whole just now.
#[derive(Clone, Debug)]
pub struct NewChunk {
    /// As [`Chunk::after`].
    pub after: Option<String>,
    /// As [`Chunk::until`].
    pub until: Option<String>,
    /// Where the target stood before it was read.
    pub position: Position,
    /// What it holds.
    pub content: Content,
    /// Nothing differed.
    pub is_equal: bool,
}

/// Whether this session waits for the disk at each commit. Chunks need not: a server that goes down
/// forgets the newest ones, and they are read again
/// (<https://www.postgresql.org/docs/current/wal-async-commit.html>).
pub async fn commit_soon(client: &Client, is_soon: bool) -> Result<(), Error> {
    let sql = if is_soon { "set synchronous_commit = off" } else { "set synchronous_commit = on" };
    client.batch_execute(sql).await.map_err(Error::query("choose how to commit"))
}

/// The chunks of a table, in order: of one that nobody has read, a single one. What was made with
/// another `image` is forgotten.
pub async fn of_table(client: &Client, table: TableId, image: &str) -> Result<Vec<Chunk>, Error> {
    if let Some(chain) = chained(load(client, table, image).await?) {
        return Ok(chain);
    }
    let doing = "begin the chunks of a table";
    // Another comparison may begin at the very same moment: one makes them, the other finds them.
    client
        .batch_execute(&format!(
            "begin; select from lite2pg.tables where id = {} for update",
            table.0
        ))
        .await
        .map_err(Error::query(doing))?;
    let begun = begin(client, table, image).await;
    let end = if begun.is_ok() { "commit" } else { "rollback" };
    client.batch_execute(end).await.map_err(Error::query(doing))?;
    begun
}

async fn begin(client: &Client, table: TableId, image: &str) -> Result<Vec<Chunk>, Error> {
    let found = load(client, table, image).await?;
    let is_new = found.is_empty();
    if let Some(chain) = chained(found) {
        return Ok(chain);
    }
    if !is_new {
        tracing::warn!("the proofs of a table do not fit together; it is read anew");
    }
    forget(client, table).await?;
    client
        .execute(
            "insert into lite2pg.chunks (table_id, image) values ($1, $2)",
            &[&table.0, &image],
        )
        .await
        .map_err(Error::query("begin the chunks of a table"))?;
    load(client, table, image).await
}

async fn load(client: &Client, table: TableId, image: &str) -> Result<Vec<Chunk>, Error> {
    let rows = client
        .query(
            &format!(
                "select c.id, c.after_key, c.until_key, c.position, c.rows, c.bytes, c.checksum,
                        c.is_equal, {}, extract(epoch from now() - c.read_at)::float8,
                        c.read_position, coalesce(p.begun_at <= c.read_at, false)
                   from lite2pg.chunks c left join lite2pg.passes p using (table_id)
                  where c.table_id = $1 and c.image = $2",
                in_utc("c.read_at")
            ),
            &[&table.0, &image],
        )
        .await
        .map_err(Error::query("read the chunks of a table"))?;
    Ok(rows.iter().map(chunk).collect())
}

fn chunk(row: &Row) -> Chunk {
    let at: Option<String> = row.get(8);
    Chunk {
        id: row.get(0),
        after: row.get(1),
        until: row.get(2),
        position: row.get::<_, Option<i64>>(3).map(Position),
        content: Content { rows: row.get(4), bytes: row.get(5), checksum: row.get(6) },
        is_equal: row.get(7),
        read: at.map(|at| Read {
            at,
            age: row.get::<_, Option<f64>>(9).unwrap_or(f64::INFINITY),
            position: Position(row.get::<_, Option<i64>>(10).unwrap_or(0)),
            is_of_pass: row.get(11),
        }),
    }
}

/// The chunks in order, if they are a chain from the least key to the greatest.
fn chained(chunks: Vec<Chunk>) -> Option<Vec<Chunk>> {
    let count = chunks.len();
    let mut by_start: std::collections::HashMap<Option<String>, Chunk> =
        chunks.into_iter().map(|chunk| (chunk.after.clone(), chunk)).collect();
    if by_start.len() != count {
        return None;
    }
    let mut chain = Vec::with_capacity(count);
    let mut next = None;
    while let Some(chunk) = by_start.remove(&next) {
        next.clone_from(&chunk.until);
        let is_last = chunk.until.is_none();
        chain.push(chunk);
        if is_last {
            break;
        }
    }
    (by_start.is_empty() && chain.last().is_some_and(|last| last.until.is_none())).then_some(chain)
}

/// Puts a chunk that was read in the place of those it covers: `gone`, and the first part of
/// `cut`, which begins after it from now on. Returns its number; `None` if these chunks do not
/// begin where they did, because another comparison is at work, and then nothing was noted.
pub async fn put(
    client: &Client,
    table: TableId,
    image: &str,
    gone: &[Chunk],
    cut: Option<&Chunk>,
    new: &NewChunk,
) -> Result<Option<i64>, Error> {
    let covered: Vec<&Chunk> = gone.iter().chain(cut).collect();
    let ids: Vec<i64> = covered.iter().map(|chunk| chunk.id).collect();
    let starts: Vec<Option<&str>> = covered.iter().map(|chunk| chunk.after.as_deref()).collect();
    let cut = cut.map(|chunk| chunk.id);
    let row = client
        .query_opt(
            "with held as (
                 select count(*) = cardinality($3::bigint[]) as all_there
                   from (select from lite2pg.chunks c
                           join unnest($3::bigint[], $12::text[]) as k (id, start) on c.id = k.id
                            and c.after_key is not distinct from k.start for update of c) locked),
             gone as (delete from lite2pg.chunks
                       where id = any($3) and id is distinct from $4
                         and (select all_there from held)),
             cut as (update lite2pg.chunks set after_key = $6
                      where id = $4 and (select all_there from held))
             insert into lite2pg.chunks (table_id, image, after_key, until_key, position, read_at,
                    read_position, rows, bytes, checksum, is_equal)
             select $1, $2, $5, $6, $7, now(), $7, $8, $9, $10, $11 from held where all_there
             returning id",
            &[
                &table.0,
                &image,
                &ids,
                &cut,
                &new.after,
                &new.until,
                &new.position.0,
                &new.content.rows,
                &new.content.bytes,
                &new.content.checksum,
                &new.is_equal,
                &starts,
            ],
        )
        .await
        .map_err(Error::query("note a chunk"))?;
    Ok(row.map(|row| row.get(0)))
}

/// Every change of these chunks up to `position` has been compared, and nothing differed.
pub async fn advance(client: &Client, chunks: &[i64], position: Position) -> Result<(), Error> {
    client
        .execute(
            "update lite2pg.chunks set position = $2 where id = any($1) and position < $2",
            &[&chunks, &position.0],
        )
        .await
        .map(drop)
        .map_err(Error::query("move the position of chunks"))
}

/// Whether these chunks were equal, after a closer look.
pub async fn judge(client: &Client, chunks: &[i64], is_equal: bool) -> Result<(), Error> {
    if chunks.is_empty() {
        return Ok(());
    }
    client
        .execute(
            "update lite2pg.chunks set is_equal = $2 where id = any($1)",
            &[&chunks, &is_equal],
        )
        .await
        .map(drop)
        .map_err(Error::query("note what chunks came to"))
}

/// Begins a pass over a whole table, or goes on with one that was ended not long ago; returns
/// whether it does.
pub async fn begin_pass(client: &Client, table: TableId) -> Result<bool, Error> {
    let row = client
        .query_one(
            "insert into lite2pg.passes as p (table_id) values ($1)
             on conflict (table_id) do update
                set begun_at = case when p.begun_at < now() - make_interval(hours => $2)
                                    then now() else p.begun_at end
             returning begun_at < now()",
            &[&table.0, &RESUME_HOURS_MAX],
        )
        .await
        .map_err(Error::query("begin a pass"))?;
    Ok(row.get(0))
}

/// The pass over a table is done.
pub async fn end_pass(client: &Client, table: TableId) -> Result<(), Error> {
    client
        .execute("delete from lite2pg.passes where table_id = $1", &[&table.0])
        .await
        .map(drop)
        .map_err(Error::query("end a pass"))
}

/// Forgets what has been proven of a table: its rows are about to be others.
pub async fn forget(client: &Client, table: TableId) -> Result<(), Error> {
    client
        .batch_execute(&format!(
            "delete from lite2pg.chunks where table_id = {table};
             delete from lite2pg.passes where table_id = {table}",
            table = table.0
        ))
        .await
        .map_err(Error::query("forget the chunks of a table"))
}

/// Forgets the chunks of all tables.
pub async fn forget_all(client: &Client) -> Result<(), Error> {
    client
        .batch_execute("delete from lite2pg.chunks; delete from lite2pg.passes")
        .await
        .map_err(Error::query("forget the chunks of all tables"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(id: i64, after: Option<&str>, until: Option<&str>) -> Chunk {
        Chunk {
            id,
            after: after.map(str::to_owned),
            until: until.map(str::to_owned),
            position: None,
            read: None,
            content: Content::default(),
            is_equal: true,
        }
    }

    #[test]
    fn only_a_whole_chain_is_a_proof() {
        let ids = |chunks: Vec<Chunk>| {
            chained(chunks).map(|chain| chain.iter().map(|chunk| chunk.id).collect::<Vec<_>>())
        };
        assert_eq!(ids(vec![part(1, None, None)]), Some(vec![1]));
        let (a, b) = (Some("[1]"), Some("[2]"));
        let three = vec![part(1, b, None), part(2, None, a), part(3, a, b)];
        assert_eq!(ids(three.clone()), Some(vec![2, 3, 1]));
        for missing in 0..3 {
            let mut broken = three.clone();
            broken.remove(missing);
            assert_eq!(ids(broken), None, "without {missing}");
        }
        let twice = [three.clone(), vec![part(4, a, b)]].concat();
        assert_eq!(ids(twice), None);
        let aside = [three, vec![part(4, Some("[9]"), Some("[9]"))]].concat();
        assert_eq!(ids(aside), None);
        assert_eq!(ids(vec![]), None);
    }
}
