//! Tables whose writes may have gone unseen: *dirty* ones.
//!
//! Their triggers were missing for a while. Such a table keeps its rows and stays readable; it is
//! compared whole beside replay, and what differs is touched on the source, so that replay makes it
//! right. Until that is proven the target does not say that it is consistent, and whatever replay
//! removes or overwrites in the table goes to the archive first (`archive`): what looks like a
//! migration may have been a disaster.
//!
//! The state is in the ledger, so a crash at any point leaves the table dirty, and the next run
//! goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_postgres::Client;

use super::Error;
use super::ledger::{self, KnownTable};
use crate::change::{Position, TableId};
use crate::failpoint;

/// The state of a table that is dirty.
pub const DIRTY: &str = "dirty";

/// A known table that is to be marked dirty, under the number that it has now.
#[derive(Clone, Debug)]
pub struct Marked {
    /// The number the target knows it by.
    pub was: TableId,
    /// The number it has.
    pub id: TableId,
    /// Its name on the source.
    pub name: String,
}

/// A dirty table.
#[derive(Clone, Debug)]
pub struct Dirty {
    /// Its number.
    pub id: TableId,
    /// Its name on the source.
    pub name: String,
    /// The incident that says so; rows are archived under it. `None` if somebody else set the
    /// state.
    pub incident: Option<i64>,
    /// It has been compared whole in this session.
    compared: Arc<AtomicBool>,
}

impl Dirty {
    /// It has been compared whole in this session, and what differed has been touched.
    pub fn is_compared(&self) -> bool {
        self.compared.load(Ordering::Relaxed)
    }

    /// Notes that it has.
    pub fn set_compared(&self) {
        self.compared.store(true, Ordering::Relaxed);
    }
}

/// Marks tables dirty and gives them their new numbers wherever the ledger names them, in the
/// caller's transaction. What was proven of them is forgotten. `applied` is the last position at
/// which they were in step.
pub(super) async fn mark(
    client: &Client,
    tables: &[Marked],
    applied: Position,
) -> Result<(), Error> {
    if tables.is_empty() {
        return Ok(());
    }
    let doing = "mark a table dirty";
    // A new number may be one that another of them is known by, so all old ones go first.
    let aside = |id: TableId| -id.0;
    for table in tables {
        renumber(client, table.was.0, aside(table.id)).await?;
    }
    for table in tables {
        renumber(client, aside(table.id), table.id.0).await?;
        let name = &table.name;
        let message = format!(
            "{name}: its triggers were missing or out of date, so writes after entry {applied} may \
             have gone unseen; it stays as it is and readable, and is compared row by row"
        );
        tracing::warn!(table = %name, last_good = %applied, "its triggers were missing or out of \
            date: writes may have gone unseen; it stays readable and is compared row by row");
        client
            .execute(
                "with incident as (
                     insert into lite2pg.incidents (kind, position, message)
                     values ('unseen_writes', $2, $3) returning id)
                 update lite2pg.tables set state = 'dirty', incident = incident.id
                   from incident where tables.id = $1",
                &[&table.id.0, &applied.0, &message],
            )
            .await
            .map_err(Error::query(doing))?;
        failpoint::hit(failpoint::UNSEEN_MARKED);
    }
    be_inconsistent(client).await
}

/// Marks tables dirty that the source does not have at the moment, in the caller's transaction.
pub(super) async fn mark_gone(client: &Client, tables: &[&KnownTable]) -> Result<(), Error> {
    if tables.is_empty() {
        return Ok(());
    }
    for table in tables {
        ledger::set_state(client, table.id, DIRTY).await?;
    }
    be_inconsistent(client).await
}

/// The target does not equal a state of the source until it says so again.
async fn be_inconsistent(client: &Client) -> Result<(), Error> {
    client
        .batch_execute("update lite2pg.position set consistent = false where id = 1 and consistent")
        .await
        .map_err(Error::query("note that the target is not consistent"))
}

/// Gives a table another number. One statement, at whose end every foreign key holds again.
async fn renumber(client: &Client, from: i64, to: i64) -> Result<(), Error> {
    client
        .execute(
            "with progress as (
                 update lite2pg.copy_progress set table_id = $2 where table_id = $1),
             quarantine as (
                 update lite2pg.quarantine set table_id = $2 where table_id = $1),
             chunks as (delete from lite2pg.chunks where table_id = $1),
             passes as (delete from lite2pg.passes where table_id = $1)
             update lite2pg.tables set id = $2 where id = $1",
            &[&from, &to],
        )
        .await
        .map(drop)
        .map_err(Error::query("give a table its new number"))
}

/// The dirty tables, by name.
pub async fn dirty(client: &Client) -> Result<Vec<Dirty>, Error> {
    let rows = client
        .query(
            "select id, name, incident from lite2pg.tables where state = 'dirty' order by name",
            &[],
        )
        .await
        .map_err(Error::query("look for tables whose writes went unseen"))?;
    let dirty = rows.iter().map(|row| Dirty {
        id: TableId(row.get(0)),
        name: row.get(1),
        incident: row.get(2),
        compared: Arc::default(),
    });
    Ok(dirty.collect())
}

/// Counts rows that were found to differ, and those of them that the source does not have.
pub async fn count(
    client: &Client,
    table: TableId,
    differing: u64,
    extra: u64,
) -> Result<(), Error> {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    client
        .execute(
            "update lite2pg.tables set unseen = unseen + $2, unseen_extra = unseen_extra + $3
              where id = $1",
            &[&table.0, &number(differing), &number(extra)],
        )
        .await
        .map(drop)
        .map_err(Error::query("count the rows that went unseen"))
}

/// Notes that a dirty table is proven: what went unseen is right now. Says again that the target
/// is consistent, if it is.
///
/// One transaction, which only the run of this epoch can commit. Safe to repeat.
pub(super) async fn note_proven(client: &Client, epoch: i64, table: TableId) -> Result<(), Error> {
    let doing = "note that a table is proven";
    client.batch_execute("begin").await.map_err(Error::query(doing))?;
    let noted = note_in_transaction(client, epoch, table).await;
    failpoint::hit(failpoint::UNSEEN_BEFORE_COMMIT);
    let end = if noted.is_ok() { "commit" } else { "rollback" };
    client.batch_execute(end).await.map_err(Error::query(doing))?;
    if let Some(message) = noted? {
        tracing::info!("{message}");
    }
    Ok(())
}

async fn note_in_transaction(
    client: &Client,
    epoch: i64,
    table: TableId,
) -> Result<Option<String>, Error> {
    let doing = "note that a table is proven";
    let mine = client
        .query_opt("select applied from lite2pg.position where epoch = $1 for update", &[&epoch])
        .await
        .map_err(Error::query(doing))?;
    let Some(position) = mine else { return Err(ledger::lost_claim(client, epoch).await?) };
    let found = client
        .query_opt(
            "select t.name, t.unseen, t.unseen_extra, t.incident,
                    (select count(*) from lite2pg.archive a where a.incident = t.incident)
               from lite2pg.tables t where t.id = $1 and t.state = 'dirty'",
            &[&table.0],
        )
        .await
        .map_err(Error::query(doing))?;
    let Some(found) = found else { return Ok(None) };
    let (name, incident): (String, Option<i64>) = (found.get(0), found.get(3));
    let message = in_words(&name, found.get(1), found.get(2), found.get(4), incident);
    client
        .execute(
            "update lite2pg.tables
                set state = 'streaming', incident = null, unseen = 0, unseen_extra = 0
              where id = $1",
            &[&table.0],
        )
        .await
        .map_err(Error::query(doing))?;
    let applied = Position(position.get(0));
    ledger::incident(client, "unseen_writes_put_right", Some(applied), &message).await?;
    ledger::note_consistency(client, epoch).await?;
    Ok(Some(message))
}

/// What came of it, for people.
fn in_words(name: &str, unseen: i64, extra: i64, archived: i64, incident: Option<i64>) -> String {
    let rows = |count: i64| match count {
        1 => "1 row".to_owned(),
        count => format!("{count} rows"),
    };
    if unseen == 0 {
        return format!("{name}: no write had gone unseen; every row is equal");
    }
    let was = if extra == 1 { "was" } else { "were" };
    let mut message = format!(
        "{name}: {} had gone unseen, {extra} {was} only on PostgreSQL; all put right",
        rows(unseen)
    );
    if let (1.., Some(incident)) = (archived, incident) {
        message.push_str(&format!(
            "; {} as PostgreSQL had them before: select * from lite2pg.archive where incident = \
             {incident}",
            rows(archived)
        ));
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_it_is_said_in_words() {
        assert_eq!(
            in_words("item", 0, 0, 0, Some(7)),
            "item: no write had gone unseen; every row is equal"
        );
        assert_eq!(
            in_words("item", 1, 0, 0, Some(7)),
            "item: 1 row had gone unseen, 0 were only on PostgreSQL; all put right"
        );
        assert_eq!(
            in_words("item", 12, 3, 10, Some(7)),
            "item: 12 rows had gone unseen, 3 were only on PostgreSQL; all put right; 10 rows as \
             PostgreSQL had them before: select * from lite2pg.archive where incident = 7"
        );
    }
}
