//! Carry out DDL: tables first, keys after their rows, indexes and checks once the target is in
//! step, foreign keys and sequences in a step of their own.
//!
//! Everything that is to be built is written into `lite2pg.objects` in the transaction that makes
//! its table, so a restart goes on where it stopped, and running anything here twice changes
//! nothing. What PostgreSQL refuses is marked with its reason; nothing is dropped silently.
//!
//! The file is long because making, building and dropping share that one list of objects.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::alter::Step;
use super::ddl::{Ddl, NamedSql, Note, TableDdl};
use super::unseen::{self, Marked};
use super::{Error, adopted, ledger};
use crate::change::{Anchor, Lineage, Position};
use crate::failpoint;
use crate::mapping::{From, Mapping};
use crate::table::{Ident, Literal, Table};

/// How long to wait for transactions of others that still see rows which were set aside.
const OLD_SNAPSHOTS_WAIT: Duration = Duration::from_secs(60);

/// Where a target table comes from.
#[derive(Clone, Copy)]
pub enum How<'a> {
    /// lite2pg makes it.
    Make(&'a TableDdl),
    /// It is there.
    Adopt {
        /// Rows that it holds before its first copy are deleted, by the operator's choice.
        replaces_rows: bool,
    },
}

/// What is to become of one table.
pub struct Wanted<'a> {
    /// Where it comes from.
    pub how: How<'a>,
    /// How it travels.
    pub mapping: &'a Mapping,
    /// What has to be the same for the target table to be kept over a restart.
    pub shape: serde_json::Value,
    /// It is known already and is to be filled from the beginning.
    pub again: Option<&'a ledger::KnownTable>,
}

/// A table of ours whose target follows without a copy.
pub struct Altered<'a> {
    /// How it travels from now on.
    pub mapping: &'a Mapping,
    /// Its shape from now on.
    pub shape: serde_json::Value,
    /// What is done to it.
    pub steps: Vec<Step>,
}

/// Fails with [`Error::TableExists`] if any of `names` is taken in the target schema.
pub async fn check_free(
    client: &Client,
    target_schema: &str,
    names: &[String],
) -> Result<(), Error> {
    let taken: Option<String> = client
        .query_opt(
            "select format('%I.%I', n.nspname, c.relname)
               from pg_class c join pg_namespace n on n.oid = c.relnamespace
              where n.nspname = $1 and c.relname::text = any($2) limit 1",
            &[&target_schema, &names],
        )
        .await
        .map_err(Error::query("look for tables in the way"))?
        .map(|row| row.get(0));
    taken.map_or(Ok(()), |table| Err(Error::TableExists { table }))
}

/// Fails with [`Error::TableGone`] if a table that was replicated is not there.
pub async fn check_there(
    client: &Client,
    target_schema: &str,
    known: &[&ledger::KnownTable],
) -> Result<(), Error> {
    let names: Vec<&str> = known.iter().map(|known| known.target.as_str()).collect();
    let gone = client
        .query_opt(
            "select format('%I.%I', $1::text, wanted.name), wanted.name
               from unnest($2::text[]) wanted (name)
              where not exists (
                    select 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace
                     where n.nspname = $1 and c.relname::text = wanted.name
                       and c.relkind in ('r', 'p')) limit 1",
            &[&target_schema, &names],
        )
        .await
        .map_err(Error::query("look for the replicated tables"))?;
    gone.map_or(Ok(()), |row| Err(Error::TableGone { table: row.get(0), name: row.get(1) }))
}

/// Fails with [`Error::Privilege`] if this role may not keep its books in the schema `lite2pg` or
/// make temporary tables, or not make tables in the target schema where it is to.
pub async fn check_privileges(
    client: &Client,
    target_schema: &str,
    makes_tables: bool,
) -> Result<(), Error> {
    let row = client
        .query_one(
            "select has_database_privilege(current_database(), 'create'),
                    has_database_privilege(current_database(), 'temporary'),
                    (select has_schema_privilege(oid, 'usage')
                        and has_schema_privilege(oid, 'create')
                       from pg_namespace where nspname = $1),
                    (select has_schema_privilege(oid, 'usage')
                        and has_schema_privilege(oid, 'create')
                       from pg_namespace where nspname = 'lite2pg'),
                    format('%I', current_database()), format('%I', $1::text)",
            &[&target_schema],
        )
        .await
        .map_err(Error::query("ask what this role may do"))?;
    let (may_make_schemas, may_make_temporary): (bool, bool) = (row.get(0), row.get(1));
    let (target, own): (Option<bool>, Option<bool>) = (row.get(2), row.get(3));
    let (database, schema): (String, String) = (row.get(4), row.get(5));
    let role = role(client).await?;
    let missing = |what: String, grant: String| {
        Err(Error::Privilege {
            what: format!("role {role} may not {what}"),
            grant: format!("grant {grant} to {role}"),
        })
    };
    let mut schemas = vec![(own, "lite2pg")];
    if makes_tables {
        schemas.push((target, schema.as_str()));
    }
    for (may, name) in schemas {
        match may {
            None if !may_make_schemas => {
                return missing(
                    format!("create the schema {name} in database {database}"),
                    format!("create on database {database}"),
                );
            }
            Some(false) => {
                return missing(
                    format!("create tables in schema {name}"),
                    format!("usage, create on schema {name}"),
                );
            }
            None | Some(true) => {}
        }
    }
    if !may_make_temporary {
        return missing(
            format!("create temporary tables in database {database}"),
            format!("temporary on database {database}"),
        );
    }
    Ok(())
}

/// The quoted name of the role of this session.
pub(super) async fn role(client: &Client) -> Result<String, Error> {
    client
        .query_one("select format('%I', current_user)", &[])
        .await
        .map(|row| row.get(0))
        .map_err(Error::query("ask for the role"))
}

/// Makes a schema unless it is there: `if not exists` would ask for the privilege all the same.
pub(super) async fn ensure_schema(client: &Client, name: &str) -> Result<(), Error> {
    let doing = "create a schema";
    let is_there: bool = client
        .query_one("select exists (select 1 from pg_namespace where nspname = $1)", &[&name])
        .await
        .map_err(Error::query(doing))?
        .get(0);
    if is_there {
        return Ok(());
    }
    client
        .batch_execute(&format!("create schema {}", Ident::new(name)))
        .await
        .map_err(Error::query(doing))
}

/// What has to be done for the target's tables to be those of a plan.
pub struct Work<'a> {
    /// Filled from the beginning.
    pub wanted: Vec<Wanted<'a>>,
    /// Written unseen, perhaps: they keep their rows and are proven later. With the position up to
    /// which they were in step.
    pub marked: (Vec<Marked>, Position),
    /// Altered in place.
    pub altered: Vec<Altered<'a>>,
    /// Gone from the source.
    pub gone: Vec<&'a ledger::KnownTable>,
    /// More of them, which go later ([`drop_gone_tables`]). Until then they are dirty: the target
    /// holds rows that the source does not have.
    pub later: Vec<&'a ledger::KnownTable>,
    /// The plan of what lite2pg makes.
    pub ddl: &'a Ddl,
    /// The first position, where there is none yet.
    pub first: Option<(&'a Lineage, Anchor)>,
}

/// Brings the target's tables to the plan, in one transaction, and plans anew what is built beside
/// them.
///
/// Safe to repeat. A crash leaves all of it or none.
pub async fn create_tables(
    client: &Client,
    target_schema: &str,
    work: &Work<'_>,
) -> Result<(), Error> {
    let doing = "create the target tables";
    // Asked before the transaction, which a refusal would end.
    let is_replica = be_a_replica(client).await?;
    client.batch_execute("begin").await.map_err(Error::query(doing))?;
    let made = create_in_transaction(client, target_schema, work, is_replica).await;
    failpoint::hit(failpoint::TARGET_BEFORE_COMMIT);
    let end = if made.is_ok() { "commit" } else { "rollback" };
    client.batch_execute(end).await.map_err(Error::query(doing))?;
    made?;
    failpoint::hit(failpoint::TARGET_PREPARED);
    Ok(())
}

async fn create_in_transaction(
    client: &Client,
    target_schema: &str,
    Work { wanted, marked, altered, gone, later, ddl, first }: &Work<'_>,
    is_replica: bool,
) -> Result<(), Error> {
    let doing = "create the target tables";
    ensure_schema(client, target_schema).await?;
    unplan_objects(client, target_schema, ddl).await?;
    for table in gone {
        drop_gone(client, target_schema, table).await?;
    }
    for known in wanted.iter().filter_map(|table| table.again) {
        forget(client, target_schema, known).await?;
    }
    // Numbers that others were known by are free now.
    unseen::mark(client, &marked.0, marked.1).await?;
    for table in altered {
        alter_in_place(client, target_schema, table).await?;
    }
    for table in wanted {
        let mapping = table.mapping;
        match table.how {
            How::Make(ddl) => {
                client.batch_execute(&ddl.create).await.map_err(Error::query(doing))?;
            }
            How::Adopt { .. } => {}
        }
        failpoint::hit(failpoint::TARGET_TABLE_MADE);
        client
            .execute(
                "insert into lite2pg.tables (id, name, target, state, columns, adopted)
                 values ($1, $2, $3, 'copying', $4::text::jsonb, $5)",
                &[
                    &mapping.id.0,
                    &mapping.table.name,
                    &mapping.target,
                    &table.shape.to_string(),
                    &mapping.is_adopted,
                ],
            )
            .await
            .map_err(Error::query(doing))?;
    }
    empty_adopted(client, target_schema, wanted, is_replica).await?;
    for (kind, object) in planned(ddl) {
        client
            .execute(
                "insert into lite2pg.objects (kind, name, belongs_to, sql, state)
                 values ($1, $2, $3, $4, 'waiting') on conflict do nothing",
                &[&kind, &object.name, &object.table, &object.sql],
            )
            .await
            .map_err(Error::query(doing))?;
    }
    note_down(client, &ddl.notes).await?;
    unseen::mark_gone(client, later).await?;
    match first {
        Some((lineage, anchor)) => ledger::begin_at(client, target_schema, lineage, *anchor).await,
        None if wanted.is_empty() => Ok(()),
        None => client
            .batch_execute(
                "update lite2pg.position set consistent = false, phase = 'copying' where id = 1",
            )
            .await
            .map_err(Error::query(doing)),
    }
}

/// Lets a target follow its source's columns, in the caller's transaction. Its rows stay.
async fn alter_in_place(
    client: &Client,
    target_schema: &str,
    table: &Altered<'_>,
) -> Result<(), Error> {
    let mapping = table.mapping;
    let target = mapping.qualified(target_schema);
    for step in &table.steps {
        let sql = step.sql(&target);
        client.batch_execute(&sql).await.map_err(Error::query("alter a table"))?;
        failpoint::hit(failpoint::TARGET_TABLE_ALTERED);
        let message = format!("{}: {}", mapping.table.name, step.in_words());
        tracing::info!(table = %mapping.table.name, "{}, as on the source", step.in_words());
        ledger::incident(client, "table_altered", None, &message).await?;
    }
    client
        .execute(
            "update lite2pg.tables set columns = $2::text::jsonb where id = $1",
            &[&mapping.id.0, &table.shape.to_string()],
        )
        .await
        .map(drop)
        .map_err(Error::query("note the columns of a table"))
}

/// Empties the adopted tables that are filled from the beginning, once nothing acts on that.
async fn empty_adopted(
    client: &Client,
    target_schema: &str,
    wanted: &[Wanted<'_>],
    is_replica: bool,
) -> Result<(), Error> {
    let is_to_be_empty = |table: &&Wanted<'_>| match table.how {
        How::Make(_) => false,
        How::Adopt { replaces_rows } => table.again.is_some() || replaces_rows,
    };
    let mut to_be_empty = wanted.iter().filter(is_to_be_empty).peekable();
    if !is_replica && to_be_empty.peek().is_some() {
        adopted::set_aside(client, target_schema).await?;
    }
    for table in to_be_empty {
        adopted::empty(client, target_schema, table.mapping).await?;
    }
    Ok(())
}

/// Everything that is built beside the rows, with its kind.
fn planned(ddl: &Ddl) -> impl Iterator<Item = (&'static str, &NamedSql)> {
    let indexes = ddl.tables.iter().flat_map(|table| &table.indexes).map(|one| ("index", one));
    let checks = ddl.tables.iter().flat_map(|table| &table.checks).map(|one| ("check", one));
    let foreign_keys = ddl.foreign_keys.iter().map(|one| ("foreign_key", one));
    let views = ddl.views.iter().map(|one| ("view", one));
    indexes.chain(checks).chain(foreign_keys).chain(views)
}

/// Drops what we built and the plan does not have any more, or has otherwise.
async fn unplan_objects(client: &Client, target_schema: &str, ddl: &Ddl) -> Result<(), Error> {
    let doing = "look at what is built";
    let known = client
        .query(
            "select kind, name, belongs_to, sql, state = 'built' from lite2pg.objects
              where not adopted",
            &[],
        )
        .await
        .map_err(Error::query(doing))?;
    let wanted: HashMap<(&str, &str, &str), &str> = planned(ddl)
        .map(|(kind, one)| ((kind, one.name.as_str(), one.table.as_str()), one.sql.as_str()))
        .collect();
    for row in &known {
        let (kind, name, belongs_to, sql): (&str, &str, &str, &str) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        if wanted.get(&(kind, name, belongs_to)) == Some(&sql) {
            continue;
        }
        if row.get(4) {
            let sql = drop_sql(target_schema, kind, name, belongs_to);
            try_drop(client, &sql, name).await?;
        }
        client
            .execute(
                "delete from lite2pg.objects where kind = $1 and name = $2 and belongs_to = $3",
                &[&kind, &name, &belongs_to],
            )
            .await
            .map_err(Error::query(doing))?;
    }
    Ok(())
}

fn drop_sql(target_schema: &str, kind: &str, name: &str, belongs_to: &str) -> String {
    let (schema, name) = (Ident::new(target_schema), Ident::new(name));
    match kind {
        "index" | "view" => format!("drop {kind} if exists {schema}.{name}"),
        _ => {
            let table = Ident::new(belongs_to);
            format!("alter table if exists {schema}.{table} drop constraint if exists {name}")
        }
    }
}

/// Drops something of ours unless things that are not ours depend on it: those were made by
/// people, on the target, and then it stays. Returns whether it went.
async fn try_drop(client: &Client, sql: &str, name: &str) -> Result<bool, Error> {
    let doing = "drop what the source does not have any more";
    client.batch_execute("savepoint going").await.map_err(Error::query(doing))?;
    let dropped = client.batch_execute(sql).await.map_err(Error::query(doing));
    let end = match &dropped {
        Ok(()) => "release savepoint going",
        Err(error) if error.is(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST) => {
            tracing::warn!(%name, "gone from the source, but something on the target depends on \
                it; it stays as it is");
            "rollback to savepoint going"
        }
        Err(_) => return dropped.map(|()| false),
    };
    client.batch_execute(end).await.map_err(Error::query(doing))?;
    Ok(dropped.is_ok())
}

/// Whether the target of a table that is gone has to go before the plan is carried out, because a
/// name of its is wanted for something else.
pub async fn is_in_the_way(
    client: &Client,
    target_schema: &str,
    known: &ledger::KnownTable,
    ddl: &Ddl,
) -> Result<bool, Error> {
    let target = format!("{}.{}", Ident::new(target_schema), Ident::new(&known.target));
    let names = client
        .query(
            "select c.relname::text from pg_class c
              where c.oid = to_regclass($1)
                 or c.oid in (select indexrelid from pg_index where indrelid = to_regclass($1))
                 or c.oid in (select objid from pg_depend
                               where refobjid = to_regclass($1) and deptype in ('a', 'i')
                                 and classid = 'pg_class'::regclass)",
            &[&target],
        )
        .await
        .map_err(Error::query("look at a table that is gone from the source"))?;
    let mut wanted: HashSet<&str> = planned(ddl).map(|(_, one)| one.name.as_str()).collect();
    for table in &ddl.tables {
        wanted.extend([table.name.as_str(), table.key.name.as_str()]);
        wanted.extend(table.identity.as_ref().map(|identity| identity.sequence.as_str()));
    }
    Ok(names.iter().any(|row| wanted.contains(row.get::<_, &str>(0))))
}

/// Drops the targets of tables that the source does not have any more, in one transaction.
///
/// For later: a migration that makes a table anew has it missing for a moment, and readers of the
/// target should not.
pub async fn drop_gone_tables(
    client: &Client,
    target_schema: &str,
    gone: &[ledger::KnownTable],
) -> Result<(), Error> {
    let doing = "drop what the source does not have any more";
    if gone.is_empty() {
        return Ok(());
    }
    client.batch_execute("begin").await.map_err(Error::query(doing))?;
    let mut dropped = Ok(());
    for known in gone {
        dropped = drop_gone(client, target_schema, known).await;
        if dropped.is_err() {
            break;
        }
    }
    let end = if dropped.is_ok() { "commit" } else { "rollback" };
    client.batch_execute(end).await.map_err(Error::query(doing))?;
    dropped
}

/// Drops the target of a table that the source does not have any more.
///
/// The lineage is proven by now, so this is what the application did and no file swapped.
async fn drop_gone(
    client: &Client,
    target_schema: &str,
    known: &ledger::KnownTable,
) -> Result<(), Error> {
    let target = format!("{}.{}", Ident::new(target_schema), Ident::new(&known.target));
    // What was adopted, or never ours, is not ours to drop.
    let is_dropped = !known.is_adopted
        && !known.is_stopped()
        && try_drop(client, &format!("drop table if exists {target}"), &known.target).await?;
    let outcome = if is_dropped { "and its target with it" } else { "its target stays as it is" };
    ledger::forget(client, known.id).await?;
    let message = format!("{}: dropped on the source, {outcome}", known.name);
    tracing::warn!(table = %known.name, "dropped on the source, {outcome}");
    ledger::incident(client, "table_dropped", None, &message).await
}

/// Forgets all that is known about a table, to fill it from the beginning; one of ours is dropped.
async fn forget(
    client: &Client,
    target_schema: &str,
    known: &ledger::KnownTable,
) -> Result<(), Error> {
    let doing = "drop a table to make it anew";
    ledger::forget(client, known.id).await?;
    if known.is_adopted || known.is_stopped() {
        return Ok(());
    }
    let target = format!("{}.{}", Ident::new(target_schema), Ident::new(&known.target));
    // Views of ours go first, so that those left are other people's.
    let ours = client
        .query("select name from lite2pg.objects where kind = 'view' and state = 'built'", &[])
        .await
        .map_err(Error::query(doing))?;
    for view in &ours {
        let sql = drop_sql(target_schema, "view", view.get(0), "");
        try_drop(client, &sql, view.get(0)).await?;
    }
    let dependent: Vec<String> = client
        .query(
            "select distinct r.ev_class::regclass::text
               from pg_depend d join pg_rewrite r on r.oid = d.objid
              where d.classid = 'pg_rewrite'::regclass and d.refobjid = to_regclass($1)
                and r.ev_class <> d.refobjid",
            &[&target],
        )
        .await
        .map_err(Error::query(doing))?
        .iter()
        .map(|row| row.get(0))
        .collect();
    // Foreign keys of other tables go with it; they are made again when asked for.
    client
        .batch_execute(&format!(
            "delete from lite2pg.objects where belongs_to = {};
             drop table if exists {target} cascade;
             update lite2pg.objects set state = 'waiting', reason = null
              where kind in ('foreign_key', 'view') and state = 'built'",
            Literal(&known.target),
        ))
        .await
        .map_err(Error::query(doing))?;
    if dependent.is_empty() {
        return Ok(());
    }
    let views = dependent.join(", ");
    tracing::warn!(table = %known.name, %views, "views that were made on the target went \
        with the table that is made anew; make them again");
    let message = format!("{}: made anew, and with it went {views}", known.name);
    ledger::incident(client, "views_dropped", None, &message).await
}

/// Replaces the notes of what is not as on the source; they follow from the source's schema.
async fn note_down(client: &Client, notes: &[Note]) -> Result<(), Error> {
    let doing = "note what is not carried over";
    client.batch_execute("delete from lite2pg.notes").await.map_err(Error::query(doing))?;
    for note in notes {
        client
            .execute(
                "insert into lite2pg.notes (object, what, kind, reason)
                 values ($1, $2, $3, $4) on conflict do nothing",
                &[&note.object, &note.what, &note.kind.as_str(), &note.reason],
            )
            .await
            .map_err(Error::query(doing))?;
    }
    Ok(())
}

/// Builds the key of a copied table and moves it to `copied`, in one transaction.
///
/// Rows that moved while they were copied may be there twice; the newest copy of each stays, and
/// replay makes it right, because a row that moved is in the changelog.
pub async fn build_key(
    client: &Client,
    target_schema: &str,
    mapping: &Mapping,
    key_sql: &str,
) -> Result<(), Error> {
    let doing = "build the key of a table";
    let target = mapping.qualified(target_schema);
    let equal: Vec<String> = mapping
        .key
        .iter()
        .map(|column| {
            let name = Ident::new(&mapping.columns[*column].target);
            format!("older.{name} = newer.{name}")
        })
        .collect();
    let without_doubles = format!(
        "delete from {target} older using {target} newer
          where older.ctid < newer.ctid and {};",
        equal.join(" and ")
    );
    let (mut first, mut set_aside): (&str, Option<Instant>) = ("", None);
    loop {
        let built = client
            .batch_execute(&format!(
                "begin; {first} {key_sql};
                 update lite2pg.tables set state = 'copied' where id = {}; commit",
                mapping.id.0
            ))
            .await
            .map_err(Error::query(doing));
        let Err(error) = built else { break };
        client.batch_execute("rollback").await.map_err(Error::query(doing))?;
        if error.is(&SqlState::UNIQUE_VIOLATION) && first.is_empty() {
            first = &without_doubles;
            continue;
        }
        if !error.is(&SqlState::PROGRAM_LIMIT_EXCEEDED) {
            return Err(error);
        }
        match set_aside {
            None => {
                set_long_keys_aside(client, mapping, &target).await?;
                set_aside = Some(Instant::now());
            }
            // An index holds deleted rows as well while an older transaction may look at them.
            Some(since) if since.elapsed() < OLD_SNAPSHOTS_WAIT => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Some(_) => return Err(error),
        }
    }
    failpoint::hit(failpoint::COPY_KEY_BUILT);
    Ok(())
}

/// Puts into quarantine the rows whose key is too long for an entry of an index.
///
/// How long that is depends on how well the key compresses, so an index is asked. One transaction.
async fn set_long_keys_aside(
    client: &Client,
    mapping: &Mapping,
    target: &str,
) -> Result<(), Error> {
    let doing = "set rows with long keys aside";
    let key = mapping.key_names();
    let columns = key.join(", ");
    // A third of a page, less what surrounds the entry: shorter ones fit however they compress.
    const ENTRY_BYTES_SURE: i32 = 2_600;
    let size: Vec<String> = key.iter().map(|name| format!("octet_length({name}::text)")).collect();
    client
        .batch_execute(&format!(
            "begin;
             create temporary table lite2pg_probe on commit drop as
                 select {columns} from {target} limit 0;
             create index on lite2pg_probe ({columns})"
        ))
        .await
        .map_err(Error::query(doing))?;
    let long = format!(
        "select ctid::text, {columns} from {target} where {ENTRY_BYTES_SURE} < {}",
        size.join(" + ")
    );
    for row in client.query(&long, &[]).await.map_err(Error::query(doing))? {
        let place: String = row.get(0);
        let there = format!("from {target} where ctid = {}::tid", Literal(&place));
        client.batch_execute("savepoint probe").await.map_err(Error::query(doing))?;
        let probed = client
            .batch_execute(&format!("insert into lite2pg_probe select {columns} {there}"))
            .await
            .map_err(Error::query(doing));
        let Err(error) = probed else { continue };
        if !error.is(&SqlState::PROGRAM_LIMIT_EXCEEDED) {
            return Err(error);
        }
        client.batch_execute("rollback to savepoint probe").await.map_err(Error::query(doing))?;
        let image = super::apply::raw_key(&row, 1);
        let sql = format!("with gone as (delete {there}) {}", ledger::QUARANTINE);
        let key = super::apply::json_of(mapping, &image).to_string();
        let applied: i64 = client
            .query_one("select applied from lite2pg.position where id = 1", &[])
            .await
            .map_err(Error::query(doing))?
            .get(0);
        let reason = "its key is too long for an index of PostgreSQL";
        client
            .execute(&sql, &[&mapping.id.0, &key, &None::<String>, &reason, &applied])
            .await
            .map_err(Error::query(doing))?;
    }
    client.batch_execute("commit").await.map_err(Error::query(doing))
}

/// Drops the index that had no room for an entry of a row, if `error` is of that kind and the index
/// is one that we built beside the key: a row is worth more than an index. Returns whether it did.
///
/// Within the caller's transaction. The index is `refused` from then on, with the reason.
pub(super) async fn give_up_index(
    client: &Client,
    target_schema: &str,
    error: &Error,
) -> Result<bool, Error> {
    let doing = "give up an index";
    if !error.is(&SqlState::PROGRAM_LIMIT_EXCEEDED) {
        return Ok(false);
    }
    let Some(name) = error.constraint() else { return Ok(false) };
    let reason = error.reason();
    let given_up = client
        .execute(
            "update lite2pg.objects set state = 'refused', reason = $2
              where kind = 'index' and name = $1 and state = 'built'",
            &[&name, &reason],
        )
        .await
        .map_err(Error::query(doing))?;
    if given_up == 0 {
        return Ok(false);
    }
    let sql = drop_sql(target_schema, "index", &name, "");
    client.batch_execute(&sql).await.map_err(Error::query(doing))?;
    tracing::warn!(index = %name, "dropped: a value is too long for an entry of it");
    let message = format!("index {name} was dropped: a value is too long for an entry of it");
    ledger::incident(client, "index_given_up", None, &message).await?;
    Ok(true)
}

/// Lets what PostgreSQL refused be tried once more.
pub async fn wait_again(client: &Client, kind: &str) -> Result<(), Error> {
    client
        .execute(
            "update lite2pg.objects set state = 'waiting', reason = null
              where kind = $1 and state = 'refused'",
            &[&kind],
        )
        .await
        .map(drop)
        .map_err(Error::query("try again what was refused"))
}

/// What [`build_waiting`] came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Built {
    /// Now there.
    pub built: usize,
    /// Refused by PostgreSQL; the reason is in `lite2pg.objects`.
    pub refused: usize,
}

/// Builds what is waiting of one kind, each in a transaction of its own. Constraints are validated
/// as well: one that the rows do not keep is refused, not half there.
pub async fn build_waiting(
    client: &Client,
    target_schema: &str,
    kind: &str,
) -> Result<Built, Error> {
    let doing = "build what is waiting";
    let waiting = client
        .query(
            "select name, belongs_to, sql from lite2pg.objects
              where kind = $1 and state = 'waiting' order by belongs_to, name",
            &[&kind],
        )
        .await
        .map_err(Error::query(doing))?;
    let mut outcome = Built::default();
    for row in waiting {
        let (name, belongs_to, sql): (String, String, String) =
            (row.get(0), row.get(1), row.get(2));
        let done = format!(
            "update lite2pg.objects set state = 'built', reason = null
              where kind = {} and name = {} and belongs_to = {}",
            Literal(kind),
            Literal(&name),
            Literal(&belongs_to)
        );
        let is_valid_when_built = sql.ends_with(adopted::NOT_VALID_YET);
        let validate = match kind {
            "check" | "foreign_key" if is_valid_when_built => format!(
                "alter table {}.{} validate constraint {};",
                Ident::new(target_schema),
                Ident::new(&belongs_to),
                Ident::new(&name)
            ),
            _ => String::new(),
        };
        let attempt =
            client.batch_execute(&format!("begin; {sql}; {validate} {done}; commit")).await;
        let Err(error) = attempt.map_err(Error::query(doing)) else {
            outcome.built += 1;
            failpoint::hit(failpoint::INDEX_BUILT);
            continue;
        };
        if error.sql_state().is_none() || error.is_transient() {
            return Err(error);
        }
        client.batch_execute("rollback").await.map_err(Error::query(doing))?;
        outcome.refused += 1;
        let mut reason = crate::error::chain(&error);
        if let Some(missing) = error.missing_key() {
            reason.push_str(": ");
            reason.push_str(missing);
        }
        tracing::warn!(%kind, %name, table = %belongs_to, %reason, "PostgreSQL refused it");
        client
            .execute(
                "update lite2pg.objects set state = 'refused', reason = $4
                  where kind = $1 and name = $2 and belongs_to = $3",
                &[&kind, &name, &belongs_to, &reason],
            )
            .await
            .map_err(Error::query(doing))?;
    }
    Ok(outcome)
}

/// Changes the type of a column in a table that is still being copied, and begins the table
/// again, in one transaction.
pub async fn widen(
    client: &Client,
    target_schema: &str,
    mapping: &Mapping,
    column: usize,
    to: crate::value::PgType,
    shape: &serde_json::Value,
) -> Result<(), Error> {
    let doing = "widen a column";
    let collate = if to == crate::value::PgType::Text { " collate \"C\"" } else { "" };
    let name = Ident::new(&mapping.columns[column].target);
    let target = mapping.qualified(target_schema);
    // The default was written for the old type; the source gives every value while we replicate.
    client
        .batch_execute(&format!(
            "begin; truncate {target};
             alter table {target} alter column {name} drop default,
                   alter column {name} type {}{collate} using null;
             delete from lite2pg.copy_progress where table_id = {id};
             delete from lite2pg.quarantine where table_id = {id};
             update lite2pg.tables set columns = {}::jsonb where id = {id};
             insert into lite2pg.notes (object, what, kind, reason)
             values ({}, 'default', 'left out',
                     'the column holds values its declared type would not')
             on conflict do nothing;
             commit",
            to.sql(),
            Literal(&shape.to_string()),
            Literal(&format!("{}.{}", mapping.table.name, mapping.columns[column].target)),
            id = mapping.id.0,
        ))
        .await
        .map_err(Error::query(doing))
}

/// What marks the shape of a table that is to be made anew with the types it names.
const OUTGROWN: &str = "outgrown";

/// Notes another type for a column of a table that is copied already; the next session makes the
/// table anew with it.
pub async fn outgrow(
    client: &Client,
    mapping: &Mapping,
    column: usize,
    to: crate::value::PgType,
) -> Result<(), Error> {
    let mut wider = mapping.clone();
    wider.columns[column].pg = to.into();
    let mut shape = shape(&wider);
    shape[OUTGROWN] = wider.columns[column].target.as_str().into();
    client
        .execute(
            "update lite2pg.tables set columns = $2::text::jsonb where id = $1",
            &[&mapping.id.0, &shape.to_string()],
        )
        .await
        .map(drop)
        .map_err(Error::query("widen a column"))
}

/// Whether a stored shape waits to be made anew by [`outgrow`].
pub fn is_outgrown(shape: &serde_json::Value) -> bool {
    !shape[OUTGROWN].is_null()
}

/// What a stored table must still look like for its target to be kept: the columns that travel,
/// with the type, form and policies of those that were given one; of every column its declared
/// type, default and expression; the key.
pub fn shape(mapping: &Mapping) -> serde_json::Value {
    let name = |index: usize| mapping.table.columns[index].name.as_str();
    let columns: Vec<serde_json::Value> = mapping
        .columns
        .iter()
        .map(|column| {
            let from = match column.from {
                From::Column(index) => Some(name(index)),
                From::Rowid => None,
            };
            let to = &column.target;
            match column.pg.set() {
                None => serde_json::json!({ "from": from, "to": to, "pg": column.pg }),
                Some(codec) => serde_json::json!({
                    "from": from,
                    "to": to,
                    "type": codec.target().name,
                    "form": codec.form(),
                    "policies": codec.policies(),
                }),
            }
        })
        .collect();
    let declared: Vec<serde_json::Value> = mapping
        .table
        .columns
        .iter()
        .map(|column| {
            let (is_generated, is_strict) = (column.generated.is_some(), column.not_null);
            let expr = column.generated.as_ref().and_then(|generated| generated.expr.as_ref());
            let extra = serde_json::json!({ "default": column.default, "expr": expr });
            serde_json::json!([column.name, column.declared, is_strict, is_generated, extra])
        })
        .collect();
    let key: Vec<&str> = mapping.table.key_columns().into_iter().map(name).collect();
    let is_primary = mapping.table.key_columns() == mapping.table.primary_key;
    serde_json::json!({
        "columns": columns, "declared": declared, "key": key, "primary": is_primary
    })
}

/// Asks PostgreSQL to fire no ordinary triggers in this session, foreign keys' included. Returns
/// whether this role may ask for that.
pub async fn be_a_replica(client: &Client) -> Result<bool, Error> {
    let set = client.batch_execute("set session_replication_role = replica").await;
    match set.map_err(Error::query("set session_replication_role")) {
        Ok(()) => Ok(true),
        Err(error) if error.is(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Keeps foreign keys and triggers of the target from acting on what this session replays.
///
/// `session_replication_role` does it where this role may set it (superusers; from PostgreSQL 15 on
/// whoever was granted it). Otherwise foreign keys are dropped and triggers disabled, and wait for
/// the next `schema --finalise`: those that we built, and those of adopted tables, whose definition
/// is noted in the same transaction. Safe to repeat.
pub async fn keep_out_of_the_way(client: &Client, target_schema: &str) -> Result<(), Error> {
    let doing = "keep foreign keys out of the way of replay";
    if be_a_replica(client).await? {
        return Ok(());
    }
    let built = client
        .query(
            "select name, belongs_to from lite2pg.objects
              where kind = 'foreign_key' and state = 'built' and not adopted",
            &[],
        )
        .await
        .map_err(Error::query(doing))?;
    for row in &built {
        let (name, belongs_to): (String, String) = (row.get(0), row.get(1));
        client
            .batch_execute(&format!(
                "begin; alter table {}.{} drop constraint if exists {};
                 update lite2pg.objects set state = 'waiting'
                  where kind = 'foreign_key' and name = {} and belongs_to = {}; commit",
                Ident::new(target_schema),
                Ident::new(&belongs_to),
                Ident::new(&name),
                Literal(&name),
                Literal(&belongs_to)
            ))
            .await
            .map_err(Error::query(doing))?;
    }
    client.batch_execute("begin").await.map_err(Error::query(doing))?;
    let adopted = adopted::set_aside(client, target_schema).await;
    let end = if adopted.is_ok() { "commit" } else { "rollback" };
    client.batch_execute(end).await.map_err(Error::query(doing))?;
    adopted?;
    if !built.is_empty() {
        tracing::warn!(
            foreign_keys = built.len(),
            "dropped while rows are replayed: this role may not set session_replication_role"
        );
    }
    Ok(())
}

/// The sequences that give a table's columns their values: those that a column owns, and those
/// that its default asks.
pub(super) const SEQUENCES: &str = "
    select distinct a.attname::text, s.oid::regclass::text
      from pg_attribute a
      join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = a.attrelid
                      and d.refobjsubid = a.attnum and d.classid = 'pg_class'::regclass
                      and d.deptype in ('a', 'i')
      join pg_class s on s.oid = d.objid and s.relkind = 'S'
     where a.attrelid = to_regclass($1)
    union
    select a.attname::text, s.oid::regclass::text
      from pg_attrdef f
      join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = f.oid
                      and d.refclassid = 'pg_class'::regclass
      join pg_class s on s.oid = d.refobjid and s.relkind = 'S'
      join pg_attribute a on a.attrelid = f.adrelid and a.attnum = f.adnum
     where f.adrelid = to_regclass($1)
     order by 1, 2";

/// Sets the sequence of every column that has one past the greatest value there is and past
/// `counters`, which AUTOINCREMENT promised never to give again. A sequence that is further
/// already stays. Returns how many there are.
pub async fn set_sequences(
    client: &Client,
    target_schema: &str,
    tables: &[Table],
    known: &[ledger::KnownTable],
    counters: &HashMap<String, i64>,
) -> Result<usize, Error> {
    let doing = "set the sequences";
    let mut set = 0;
    for table in tables {
        let Some(known) = known.iter().find(|known| known.name == table.name) else { continue };
        if known.is_stopped() {
            continue;
        }
        let alias = table.rowid_alias.map(|alias| table.columns[alias].name.as_str());
        let travelling = known.columns["columns"].as_array().into_iter().flatten();
        let alias = travelling
            .filter(|column| alias.is_some() && column["from"].as_str() == alias)
            .find_map(|column| column["to"].as_str());
        let target = format!("{}.{}", Ident::new(target_schema), Ident::new(&known.target));
        for row in client.query(SEQUENCES, &[&target]).await.map_err(Error::query(doing))? {
            let (column, sequence): (String, String) = (row.get(0), row.get(1));
            let counter = match counters.get(&table.name) {
                Some(counter) if alias == Some(&column) => *counter,
                _ => 0,
            };
            let sql = format!(
                "select setval({}::regclass, greatest(given, 1), 0 < given)
                   from (select greatest((select max({})::bigint from {target}), $1, 0,
                                case when is_called then last_value else 0 end) as given
                           from {sequence}) s",
                Literal(&sequence),
                Ident::new(&column)
            );
            client.query(&sql, &[&counter]).await.map_err(Error::query(doing))?;
            set += 1;
        }
    }
    Ok(set)
}
