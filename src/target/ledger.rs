//! Position, table states, progress, quarantine, incidents: the schema `lite2pg` on the target.
//!
//! What is here is the truth about how far replication has come; files beside the sidecar are
//! never asked. Rows and the position they reach commit together, so reading this after any crash
//! tells exactly what happened.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_postgres::{Client, Row};

use super::Error;
use super::apply::Standing;
use super::{chunks, trail};
use crate::change::{Anchor, Lineage, Place, Position, TableId};
use crate::failpoint;

/// The layout of the schema `lite2pg` that this program writes: the number of migrations.
const FORMAT: i32 = MIGRATIONS.len() as i32;

/// What makes each format out of the one before. None is ever changed once it was released.
const MIGRATIONS: [&str; 5] = [
    include_str!("schema/0001.sql"),
    include_str!("schema/0002_adopted_tables.sql"),
    include_str!("schema/0003_verifications.sql"),
    include_str!("schema/0004_running_checksum.sql"),
    include_str!("schema/0005_guard.sql"),
];

/// Puts a row into quarantine; the newest reason wins.
pub(super) const QUARANTINE: &str = "
    insert into lite2pg.quarantine (table_id, key, column_name, reason, position)
    values ($1, $2::text::jsonb, $3, $4, $5)
    on conflict (table_id, md5(key::text)) do update
       set column_name = excluded.column_name, reason = excluded.reason,
           position = excluded.position";

/// The session lock that lets a second sidecar see the first. A courtesy: the proof of single
/// writing is the epoch.
const COURTESY_LOCK: i64 = 0x6c69_7465_3270_6721;

/// How long to wait for the session of a sidecar that was killed to be noticed by the server.
const COURTESY_WAIT: Duration = Duration::from_secs(8);

/// How far replication has come as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Tables are being copied. A restart goes on at the next chunk of each lane.
    Copying,
    /// Copied; applying what was written meanwhile. A restart goes on from the position.
    CatchingUp,
    /// In step. A restart goes on from the position.
    Streaming,
}

impl Phase {
    /// As stored and as shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Copying => "copying",
            Self::CatchingUp => "catching_up",
            Self::Streaming => "streaming",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Copying, Self::CatchingUp, Self::Streaming]
            .into_iter()
            .find(|phase| phase.as_str() == text)
    }
}

/// The position row.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Whose history it belongs to.
    pub lineage: Lineage,
    /// Where the target stands.
    pub standing: Standing,
    /// What it says of itself: the tables equal one state of the source.
    pub is_consistent: bool,
    /// Which run may move it.
    pub epoch: i64,
    /// The schema that holds the application's tables.
    pub target_schema: String,
    /// How far replication has come.
    pub phase: Phase,
    /// The source when its tables were last looked at.
    pub source: SourceState,
    /// Names this target; the source remembers it, too.
    pub pairing: String,
    /// The server and the database in which it was last fed; `None` before that was written down.
    pub home: Option<String>,
}

impl Stored {
    /// What the target holds.
    pub fn place(&self) -> Place {
        Place { lineage: self.lineage.clone(), anchor: self.standing.applied }
    }

    /// Fails if the application's tables are in another schema than `asked`.
    pub fn expect_schema(&self, asked: &str) -> Result<(), Error> {
        if self.target_schema == asked {
            return Ok(());
        }
        Err(Error::OtherSchema { fed: self.target_schema.clone(), asked: asked.to_owned() })
    }
}

/// What must be the same for rowids to be the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceState {
    /// SQLite's `schema_version`, which VACUUM moves as well.
    pub schema_version: Option<i64>,
    /// Names the file.
    pub file: Option<String>,
}

/// A captured table as the target knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownTable {
    /// Its number.
    pub id: TableId,
    /// Its name on the source.
    pub name: String,
    /// Its name in the target schema.
    pub target: String,
    /// `copying`, `copied`, `streaming`, `dirty` or `stopped`.
    pub state: String,
    /// The columns that travel.
    pub columns: Value,
    /// Its target was there before lite2pg came.
    pub is_adopted: bool,
    /// Why it is stopped.
    pub reason: Option<String>,
}

impl KnownTable {
    /// It is not replicated until something has been done about it.
    pub fn is_stopped(&self) -> bool {
        self.state == STOPPED
    }

    /// Writes to it may have gone unseen.
    pub fn is_dirty(&self) -> bool {
        self.state == super::unseen::DIRTY
    }

    /// Its rows have not all arrived yet.
    pub fn is_copying(&self) -> bool {
        self.state == "copying"
    }
}

/// The state of a table that is not replicated until something has been done about it. A restart
/// looks whether it has been.
pub const STOPPED: &str = "stopped";

/// How far one lane is copied.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Its number within the table.
    pub lane: i32,
    /// Its end.
    pub until: Option<i64>,
    /// Where to go on.
    pub cursor: Value,
    /// Rows copied.
    pub rows: i64,
    /// It is copied to its end.
    pub done: bool,
}

/// Makes the schema `lite2pg` if it is not there, and brings an older one up to date. Safe to
/// repeat and to run from two places. One transaction: a crash leaves all of it or none.
pub async fn migrate(client: &Client) -> Result<(), Error> {
    let doing = "create the schema lite2pg";
    client
        .batch_execute(&format!("begin; select pg_advisory_xact_lock({COURTESY_LOCK} + 1)"))
        .await
        .map_err(Error::query(doing))?;
    let outcome = make(client).await;
    let end = if outcome.is_ok() { "commit" } else { "rollback" };
    client.batch_execute(end).await.map_err(Error::query(doing))?;
    outcome?;
    failpoint::hit(failpoint::TARGET_MIGRATED);
    Ok(())
}

/// The schema itself may have been made by an administrator, for a role that may not make any.
async fn make(client: &Client) -> Result<(), Error> {
    let doing = "create the schema lite2pg";
    let found = if exists(client).await? {
        check_whole(client).await?;
        format(client).await?
    } else {
        super::build::ensure_schema(client, "lite2pg").await?;
        0
    };
    let missing = MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0));
    for migration in missing {
        client.batch_execute(migration).await.map_err(Error::query(doing))?;
    }
    Ok(())
}

/// Whether anything of ours stands in the schema `lite2pg`.
///
/// Asks the catalog, which answers every role; looking a name up would be an error for a role that
/// may not use the schema.
pub async fn exists(client: &Client) -> Result<bool, Error> {
    Ok(!standing(client).await?.is_empty())
}

/// The names of our tables that are there.
pub(super) async fn standing(client: &Client) -> Result<Vec<String>, Error> {
    client
        .query_one(
            "select coalesce(array_agg(c.relname::text), '{}')
               from pg_class c join pg_namespace n on n.oid = c.relnamespace
              where n.nspname = 'lite2pg' and c.relkind = 'r'",
            &[],
        )
        .await
        .map(|row| row.get(0))
        .map_err(Error::query("look for the schema lite2pg"))
}

/// Our tables; the layout of format 1.
const TABLES: [&str; 8] = [
    "format",
    "position",
    "tables",
    "copy_progress",
    "quarantine",
    "objects",
    "notes",
    "incidents",
];

/// Fails unless the schema `lite2pg` is whole, of this program's format, and open to this role.
pub async fn check(client: &Client) -> Result<(), Error> {
    check_whole(client).await?;
    check_format(client).await
}

async fn check_format(client: &Client) -> Result<(), Error> {
    let found = format(client).await?;
    if found < FORMAT { Err(Error::OlderFormat { found, known: FORMAT }) } else { Ok(()) }
}

/// Whether there is a ledger to read. Fails if it is of another format than this program's.
pub async fn is_readable(client: &Client) -> Result<bool, Error> {
    let is_there = exists(client).await?;
    if is_there {
        check_format(client).await?;
    }
    Ok(is_there)
}

/// Fails unless the schema `lite2pg` is whole, of a format that is known, and open to this role.
async fn check_whole(client: &Client) -> Result<(), Error> {
    let standing = standing(client).await?;
    if let Some(gone) = TABLES.iter().find(|name| !standing.iter().any(|found| found == *name)) {
        return Err(Error::Position { what: format!("table lite2pg.{gone} is gone") });
    }
    let is_open: bool = client
        .query_one(
            "select has_schema_privilege(n.oid, 'usage') and not exists (
                    select 1 from pg_class c where c.relnamespace = n.oid and c.relkind = 'r'
                       and not (has_table_privilege(c.oid, 'select')
                        and has_table_privilege(c.oid, 'insert')
                        and has_table_privilege(c.oid, 'update')
                        and has_table_privilege(c.oid, 'delete')))
               from pg_namespace n where n.nspname = 'lite2pg'",
            &[],
        )
        .await
        .map_err(Error::query("ask what this role may do"))?
        .get(0);
    if !is_open {
        let role = super::build::role(client).await?;
        return Err(Error::Privilege {
            what: format!("role {role} may not use the schema lite2pg"),
            grant: format!("grant the role that fed this target to {role}"),
        });
    }
    Ok(())
}

/// The format of the schema. Fails if it is newer than this program.
async fn format(client: &Client) -> Result<i32, Error> {
    let found: i32 = client
        .query_one("select max(version) from lite2pg.format", &[])
        .await
        .map_err(Error::query("read the format of the schema lite2pg"))?
        .get(0);
    if FORMAT < found { Err(Error::NewerFormat { found, known: FORMAT }) } else { Ok(found) }
}

/// Waits a little for the courtesy lock. Fails with [`Error::InUse`] while another sidecar's
/// session lives.
pub async fn be_alone(client: &Client) -> Result<(), Error> {
    let doing = "look for another lite2pg";
    let begun = Instant::now();
    loop {
        let is_alone: bool = client
            .query_one("select pg_try_advisory_lock($1)", &[&COURTESY_LOCK])
            .await
            .map_err(Error::query(doing))?
            .get(0);
        if is_alone {
            return Ok(());
        }
        if COURTESY_WAIT < begun.elapsed() {
            return Err(Error::InUse { who: other_session(client).await? });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn other_session(client: &Client) -> Result<String, Error> {
    let row = client
        .query_opt(
            "select format('server process %s, connected since %s',
                    a.pid, to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS TZ'))
               from pg_locks l join pg_stat_activity a using (pid)
              where l.locktype = 'advisory' and l.granted and l.objsubid = 1
                and (l.classid::bigint << 32 | l.objid::bigint) = $1
                and l.database = (select oid from pg_database where datname = current_database())
              limit 1",
            &[&COURTESY_LOCK],
        )
        .await
        .map_err(Error::query("look for another lite2pg"))?;
    Ok(row.map_or_else(|| "it just ended".to_owned(), |row| row.get(0)))
}

/// The position row; `None` if the target was never fed.
pub async fn position(client: &Client) -> Result<Option<Stored>, Error> {
    let row = client
        .query_opt(
            "select source_id, generation, applied, token, read_through, consistent, epoch, phase,
                    schema_version, source_file, target_schema, pairing, home
               from lite2pg.position where id = 1",
            &[],
        )
        .await
        .map_err(Error::query("read the position"))?;
    row.map(|row| stored(&row)).transpose()
}

fn stored(row: &Row) -> Result<Stored, Error> {
    let phase: String = row.get(7);
    let phase =
        Phase::parse(&phase).ok_or_else(|| Error::Position { what: format!("phase {phase:?}") })?;
    Ok(Stored {
        lineage: Lineage { source_id: row.get(0), generation: row.get(1) },
        standing: Standing {
            applied: Anchor { position: Position(row.get(2)), token: row.get(3) },
            read_through: Position(row.get(4)),
        },
        is_consistent: row.get(5),
        epoch: row.get(6),
        phase,
        source: SourceState { schema_version: row.get(8), file: row.get(9) },
        target_schema: row.get(10),
        pairing: row.get(11),
        home: row.get(12),
    })
}

/// Claims the target for this run: whoever held it before, or held an epoch up to `above`, can
/// commit nothing from here on.
pub async fn claim(client: &Client, above: i64) -> Result<i64, Error> {
    client
        .query_one(
            "update lite2pg.position set epoch = greatest(epoch, $1) + 1 where id = 1
             returning epoch",
            &[&above],
        )
        .await
        .map(|row| row.get(0))
        .map_err(Error::query("claim the target"))
}

/// Writes the first position, within the caller's transaction.
pub async fn begin_at(
    client: &Client,
    target_schema: &str,
    lineage: &Lineage,
    anchor: Anchor,
) -> Result<(), Error> {
    client
        .execute(
            "insert into lite2pg.position (source_id, generation, applied, token, read_through,
                    consistent, epoch, target_schema, phase)
             values ($1, $2, $3, $4, $3, false, 1, $5, 'copying')",
            &[
                &lineage.source_id,
                &lineage.generation,
                &anchor.position.0,
                &anchor.token,
                &target_schema,
            ],
        )
        .await
        .map_err(Error::query("write the first position"))?;
    trail::begin_at(client, anchor).await
}

/// Writes down which tables the copy left rows of in quarantine.
pub async fn copied_with_quarantine(client: &Client, position: Position) -> Result<(), Error> {
    let (before, now) = (BTreeMap::new(), tables_in_quarantine(client).await?);
    for table in now.values() {
        tracing::warn!(%table, "the target cannot hold every row; `lite2pg quarantine` lists those \
            set aside");
    }
    quarantine_incidents(client, &before, &now, position).await
}

/// Moves the phase. `read_through` is given when contents were read outside replay, by the copy.
pub async fn enter(
    client: &Client,
    epoch: i64,
    phase: Phase,
    read_through: Option<Position>,
) -> Result<(), Error> {
    let read_through = read_through.map(|position| position.0);
    let moved = client
        .execute(
            "update lite2pg.position
                set phase = $2, read_through = greatest(read_through, $3),
                    consistent = $2 <> 'copying' and greatest(read_through, $3) <= applied
                             and not exists (select from lite2pg.tables where state = 'dirty')
              where id = 1 and epoch = $1",
            &[&epoch, &phase.as_str(), &read_through],
        )
        .await
        .map_err(Error::query("move the phase"))?;
    if moved == 1 { Ok(()) } else { Err(lost_claim(client, epoch).await?) }
}

/// Says whether the tables equal one state of the source, as far as the ledger knows.
pub async fn note_consistency(client: &Client, epoch: i64) -> Result<(), Error> {
    client
        .execute(
            "update lite2pg.position p set consistent = now.consistent
               from (select phase <> 'copying' and read_through <= applied and not exists
                            (select from lite2pg.tables where state = 'dirty') as consistent
                       from lite2pg.position where id = 1) now
              where p.id = 1 and p.epoch = $1 and p.consistent <> now.consistent",
            &[&epoch],
        )
        .await
        .map(drop)
        .map_err(Error::query("note whether the target is consistent"))
}

/// Why this run's epoch does not stand in the position row.
pub(super) async fn lost_claim(client: &Client, mine: i64) -> Result<Error, Error> {
    Ok(match position(client).await? {
        Some(stored) if mine < stored.epoch => Error::TakenOver,
        Some(_) => Error::PutBack,
        None => Error::Position { what: "the position row is gone".to_owned() },
    })
}

/// The captured tables, as the target knows them.
pub async fn tables(client: &Client) -> Result<Vec<KnownTable>, Error> {
    let rows = client
        .query(
            "select id, name, target, state, columns::text, adopted, reason
               from lite2pg.tables order by id",
            &[],
        )
        .await
        .map_err(Error::query("read the captured tables"))?;
    rows.iter()
        .map(|row| {
            let columns: String = row.get(4);
            Ok(KnownTable {
                id: TableId(row.get(0)),
                name: row.get(1),
                target: row.get(2),
                state: row.get(3),
                columns: serde_json::from_str(&columns)
                    .map_err(|error| Error::Position { what: error.to_string() })?,
                is_adopted: row.get(5),
                reason: row.get(6),
            })
        })
        .collect()
}

/// Notes that a table is not replicated any more, and why. Returns whether that is news.
pub async fn stop_table(
    client: &Client,
    id: TableId,
    name: &str,
    reason: &str,
) -> Result<bool, Error> {
    let doing = "stop a table";
    // Its number may be another than the target knows it by.
    for sql in [
        "delete from lite2pg.copy_progress where table_id in
             (select id from lite2pg.tables where name = $2 and id <> $1)",
        "delete from lite2pg.quarantine where table_id in
             (select id from lite2pg.tables where name = $2 and id <> $1)",
        "delete from lite2pg.chunks where table_id in
             (select id from lite2pg.tables where name = $2 or id = $1)",
        "delete from lite2pg.passes where table_id in
             (select id from lite2pg.tables where name = $2 or id = $1)",
        "update lite2pg.tables set id = $1 where name = $2 and id <> $1",
    ] {
        client.execute(sql, &[&id.0, &name]).await.map_err(Error::query(doing))?;
    }
    let changed = client
        .execute(
            "insert into lite2pg.tables (id, name, target, state, columns, reason)
             values ($1, $2, $2, 'stopped', '{}', $3)
             on conflict (id) do update set state = 'stopped', reason = $3
              where (lite2pg.tables.state, lite2pg.tables.reason) is distinct from ('stopped', $3)",
            &[&id.0, &name, &reason],
        )
        .await
        .map_err(Error::query(doing))?;
    Ok(changed == 1)
}

/// Forgets a table, how far it was copied and what of it is in quarantine, in the caller's
/// transaction. Said one by one, because no foreign key cascades in a session that replays.
pub(super) async fn forget(client: &Client, table: TableId) -> Result<(), Error> {
    chunks::forget(client, table).await?;
    client
        .batch_execute(&format!(
            "delete from lite2pg.copy_progress where table_id = {table};
             delete from lite2pg.quarantine where table_id = {table};
             delete from lite2pg.tables where id = {table}",
            table = table.0
        ))
        .await
        .map_err(Error::query("forget a table"))
}

/// Moves tables to a state.
pub async fn set_states(client: &Client, from: &str, to: &str) -> Result<(), Error> {
    client
        .execute("update lite2pg.tables set state = $2 where state = $1", &[&from, &to])
        .await
        .map(drop)
        .map_err(Error::query("move the state of tables"))
}

/// Moves one table to a state.
pub async fn set_state(client: &Client, table: TableId, to: &str) -> Result<(), Error> {
    client
        .execute("update lite2pg.tables set state = $2 where id = $1", &[&table.0, &to])
        .await
        .map(drop)
        .map_err(Error::query("move the state of a table"))
}

/// How far the copy is, per table.
pub async fn progress(client: &Client) -> Result<HashMap<TableId, Vec<Progress>>, Error> {
    let rows = client
        .query(
            "select table_id, lane, until, cursor::text, rows, done
               from lite2pg.copy_progress order by table_id, lane",
            &[],
        )
        .await
        .map_err(Error::query("read the progress of the copy"))?;
    let mut progress: HashMap<TableId, Vec<Progress>> = HashMap::new();
    for row in rows {
        let cursor: String = row.get(3);
        progress.entry(TableId(row.get(0))).or_default().push(Progress {
            lane: row.get(1),
            until: row.get(2),
            cursor: serde_json::from_str(&cursor)
                .map_err(|error| Error::Position { what: error.to_string() })?,
            rows: row.get(4),
            done: row.get(5),
        });
    }
    Ok(progress)
}

/// Lays out the lanes of a table before its first chunk, so that a restart finds the same ones.
pub async fn lay_lanes(client: &Client, table: TableId, lanes: &[Progress]) -> Result<(), Error> {
    let rows: Vec<Value> = lanes
        .iter()
        .map(|lane| {
            serde_json::json!({ "lane": lane.lane, "until": lane.until, "cursor": lane.cursor })
        })
        .collect();
    chunks::forget(client, table).await?;
    client
        .execute(
            "insert into lite2pg.copy_progress (table_id, lane, until, cursor, rows, done)
             select $1, (l->>'lane')::integer, (l->>'until')::bigint, l->'cursor', 0, false
               from jsonb_array_elements($2::text::jsonb) l on conflict do nothing",
            &[&table.0, &Value::from(rows).to_string()],
        )
        .await
        .map(drop)
        .map_err(Error::query("lay out the copy"))
}

/// Writes down something that a person should know.
pub async fn incident(
    client: &Client,
    kind: &str,
    position: Option<Position>,
    message: &str,
) -> Result<(), Error> {
    client
        .execute(
            "insert into lite2pg.incidents (kind, position, message) values ($1, $2, $3)",
            &[&kind, &position.map(|position| position.0), &message],
        )
        .await
        .map(drop)
        .map_err(Error::query("write down an incident"))
}

/// How many rows of each table are in quarantine; tables without any are left out.
pub async fn quarantined(client: &Client) -> Result<HashMap<TableId, i64>, Error> {
    let rows = client
        .query("select table_id, count(*) from lite2pg.quarantine group by table_id", &[])
        .await
        .map_err(Error::query("count the quarantine"))?;
    Ok(rows.iter().map(|row| (TableId(row.get(0)), row.get(1))).collect())
}

/// The tables that have rows in quarantine. Costs one look per table, however many rows there are.
pub(super) async fn tables_in_quarantine(
    client: &Client,
) -> Result<BTreeMap<TableId, String>, Error> {
    let rows = client
        .query(
            "select t.id, t.name from lite2pg.tables t
              where exists (select 1 from lite2pg.quarantine q where q.table_id = t.id)",
            &[],
        )
        .await
        .map_err(Error::query("look for tables with rows in quarantine"))?;
    Ok(rows.iter().map(|row| (TableId(row.get(0)), row.get(1))).collect())
}

/// Writes down which tables got rows into quarantine, and which have none there any more, in the
/// caller's transaction.
pub(super) async fn quarantine_incidents(
    client: &Client,
    before: &BTreeMap<TableId, String>,
    now: &BTreeMap<TableId, String>,
    position: Position,
) -> Result<(), Error> {
    for table in now.iter().filter(|(id, _)| !before.contains_key(*id)).map(|(_, name)| name) {
        let message = format!(
            "{table}: the target cannot hold every row; `lite2pg quarantine` lists those set aside"
        );
        incident(client, "quarantine", Some(position), &message).await?;
    }
    for table in before.iter().filter(|(id, _)| !now.contains_key(*id)).map(|(_, name)| name) {
        let message = format!("{table}: the last row has left quarantine");
        incident(client, "quarantine_empty", Some(position), &message).await?;
    }
    Ok(())
}

/// Fails with [`Error::Unmappable`] if a row is in quarantine.
pub async fn check_quarantine_empty(client: &Client) -> Result<(), Error> {
    let row = client
        .query_opt(
            "select t.name, q.key::text, q.column_name, q.reason
               from lite2pg.quarantine q join lite2pg.tables t on t.id = q.table_id
              order by t.name, q.key limit 1",
            &[],
        )
        .await
        .map_err(Error::query("look for rows in quarantine"))?;
    row.map_or(Ok(()), |row| {
        Err(Error::Unmappable {
            table: row.get(0),
            key: row.get(1),
            column: row.get(2),
            reason: row.get(3),
        })
    })
}

/// Notes which state of the source the plan was made from.
pub async fn note_source(client: &Client, epoch: i64, now: &SourceState) -> Result<(), Error> {
    client
        .execute(
            "update lite2pg.position set schema_version = $2, source_file = $3
              where id = 1 and epoch = $1
                and (schema_version, source_file) is distinct from ($2, $3)",
            &[&epoch, &now.schema_version, &now.file],
        )
        .await
        .map(drop)
        .map_err(Error::query("note the state of the source"))
}

/// Whether a commit on this server is on its disk when it returns: `fsync` is on, and this
/// session commits synchronously.
pub async fn is_durable(client: &Client) -> Result<bool, Error> {
    client
        .query_one(
            "select current_setting('fsync') = 'on'
                and current_setting('synchronous_commit') <> 'off'",
            &[],
        )
        .await
        .map(|row| row.get(0))
        .map_err(Error::query("ask whether commits are durable"))
}

/// Whether a sidecar's session holds the courtesy lock.
pub async fn is_someone_at_work(client: &Client) -> Result<bool, Error> {
    client
        .query_one(
            "select exists (select 1 from pg_locks
                     where locktype = 'advisory' and granted and objsubid = 1
                       and (classid::bigint << 32 | objid::bigint) = $1 and database =
                           (select oid from pg_database where datname = current_database()))",
            &[&COURTESY_LOCK],
        )
        .await
        .map(|row| row.get(0))
        .map_err(Error::query("look for a running lite2pg"))
}

/// Counts the rows of a target table; 0 if it is not there.
pub async fn count_rows(client: &Client, target_schema: &str, target: &str) -> Result<i64, Error> {
    let doing = "count the rows of a table";
    let name =
        format!("{}.{}", crate::table::Ident::new(target_schema), crate::table::Ident::new(target));
    let is_there: bool = client
        .query_one("select to_regclass($1) is not null", &[&name])
        .await
        .map_err(Error::query(doing))?
        .get(0);
    if !is_there {
        return Ok(0);
    }
    client
        .query_one(&format!("select count(*) from {name}"), &[])
        .await
        .map(|row| row.get(0))
        .map_err(Error::query(doing))
}
