//! The rows that differ, kept outside of memory: there may be as many as the file once had.
//!
//! A temporary SQLite database, which SQLite unlinks as it makes it. It also holds the names of the
//! rows that the file's application touched since the histories parted, and from both it says whose
//! row is the newer one.

use rusqlite::{Connection, OptionalExtension, params};

use super::account::{Kind, Newer, RowAccount, TableCounts};
use super::{Error, OnConflict};
use crate::target::decisions::Choice;

/// What is to be done with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// PostgreSQL's row goes into the file.
    Put,
    /// It is removed from the file.
    Remove,
    /// What the file has stays, and PostgreSQL follows.
    Keep,
    /// Somebody must say.
    Conflict,
}

impl Action {
    fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Remove => "remove",
            Self::Keep => "keep",
            Self::Conflict => "conflict",
        }
    }
}

/// A row of the spool.
#[derive(Clone, Debug)]
pub struct Spooled {
    /// Its number.
    pub id: i64,
    /// What differs.
    pub kind: Kind,
    /// What names it, as JSON.
    pub key: serde_json::Value,
}

/// The rows that differ.
pub struct Spool {
    conn: Connection,
}

impl Spool {
    /// An empty one.
    pub fn new() -> Result<Self, Error> {
        let conn = Connection::open("")?;
        conn.execute_batch(
            "pragma journal_mode = off; pragma synchronous = off; pragma cache_size = -16384;
             create table found (
                 id integer primary key, tbl integer, kind text, key text, columns text,
                 is_newer_on_target integer, newer text, action text, note text);
             create table touched (
                 tbl integer, key text, is_new integer, primary key (tbl, key)) without rowid;
             begin",
        )?;
        Ok(Self { conn })
    }

    /// Notes that the file's application touched a row after the histories parted. The first entry
    /// counts: it tells whether the row was there before.
    pub fn touched(&self, table: usize, key: &str, is_new: bool) -> Result<(), Error> {
        self.conn
            .prepare_cached("insert or ignore into touched values (?1, ?2, ?3)")?
            .execute(params![number(table), key, is_new])?;
        Ok(())
    }

    /// Notes a row that differs.
    pub fn found(
        &self,
        table: usize,
        kind: Kind,
        key: &serde_json::Value,
        columns: &[String],
        is_newer_on_target: Option<bool>,
    ) -> Result<(), Error> {
        let columns = serde_json::to_string(columns).expect("names are JSON");
        self.conn
            .prepare_cached(
                "insert into found (tbl, kind, key, columns, is_newer_on_target)
                 values (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                number(table),
                kind.as_str(),
                key.to_string(),
                columns,
                is_newer_on_target
            ])?;
        Ok(())
    }

    /// Says of every row whose is the newer one: who of the two wrote to it after the histories
    /// parted.
    ///
    /// Of a row that only the file has, PostgreSQL keeps no trace. If the file's application made
    /// it after the parting it is the file's own; if it was there before, PostgreSQL has deleted it
    /// since. And of a row that nobody has written to since, nobody knows why it differs.
    pub fn judge(&self, is_history_known: bool, target_went_on: bool) -> Result<(), Error> {
        if !is_history_known {
            let unknown = Newer::Unknown.as_str();
            self.conn.execute("update found set newer = ?1", [unknown])?;
            return Ok(());
        }
        self.conn.execute(
            "update found set newer = (
                 select case
                     when kind = 'gained' then case
                         when t.key is null and ?1 then 'postgresql'
                         when t.key is null then 'unknown'
                         when t.is_new or not ?1 then 'file'
                         else 'both' end
                     when t.key is null and found.is_newer_on_target is 0 then 'unknown'
                     when t.key is null then 'postgresql'
                     when found.is_newer_on_target is 0 then 'file'
                     else 'both' end
                   from (select 1) one
                   left join touched t on t.tbl = found.tbl and t.key = found.key)",
            [target_went_on],
        )?;
        Ok(())
    }

    /// Says what is to be done with every row.
    ///
    /// To restore is to lose nothing: a row that only PostgreSQL has goes into the file, and a row
    /// that only the file has stays, unless it is known that the other side's word is newer.
    pub fn decide(&self, choice: Choice, on_conflict: OnConflict) -> Result<(), Error> {
        let (put, remove) = (Action::Put.as_str(), Action::Remove.as_str());
        let keep = Action::Keep.as_str();
        if choice == Choice::Accept {
            self.conn.execute("update found set action = ?1", [keep])?;
            return Ok(());
        }
        let conflict = Action::Conflict.as_str();
        self.conn.execute(
            "update found set action = case
                 when newer = 'file' then ?1
                 when newer = 'postgresql' and kind = 'gained' then ?2
                 when newer = 'postgresql' then ?3
                 when newer = 'unknown' and kind = 'gained' then ?1
                 when newer = 'unknown' and kind = 'lost' then ?3
                 when ?5 = 'file' then ?1
                 when ?5 = 'postgresql' and kind = 'gained' then ?2
                 when ?5 = 'postgresql' then ?3
                 else ?4 end",
            params![keep, remove, put, conflict, on_conflict.as_str()],
        )?;
        Ok(())
    }

    /// Rows of a table that something is to be done with, after `after`, in the order in which they
    /// were found.
    pub fn page(
        &self,
        table: usize,
        action: Action,
        after: i64,
        rows_max: usize,
    ) -> Result<Vec<Spooled>, Error> {
        let mut statement = self.conn.prepare_cached(
            "select id, kind, key from found
              where tbl = ?1 and action = ?2 and ?3 < id order by id limit ?4",
        )?;
        let rows = statement
            .query_map(params![number(table), action.as_str(), after, number(rows_max)], |row| {
                Ok((row.get(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
            })?;
        rows.map(|row| {
            let (id, kind, key) = row?;
            Ok(Spooled { id, kind: Kind::parse(&kind), key: json(&key) })
        })
        .collect()
    }

    /// Changes what is to be done with a row, and notes why.
    pub fn redirect(&self, id: i64, action: Action, note: &str) -> Result<(), Error> {
        self.conn
            .prepare_cached("update found set action = ?2, note = ?3 where id = ?1")?
            .execute(params![id, action.as_str(), note])?;
        Ok(())
    }

    /// How many rows are to be dealt with like this.
    pub fn count(&self, action: Action) -> Result<u64, Error> {
        Ok(self.conn.query_row(
            "select count(*) from found where action = ?1",
            [action.as_str()],
            |row| count(row, 0),
        )?)
    }

    /// The counts of a table.
    pub fn counts(&self, table: usize) -> Result<TableCounts, Error> {
        Ok(self.conn.query_row(
            "select count(*) filter (where kind = 'lost'),
                    count(*) filter (where kind = 'gained'),
                    count(*) filter (where kind = 'changed'),
                    count(*) filter (where newer = 'postgresql'),
                    count(*) filter (where newer = 'file'),
                    count(*) filter (where newer not in ('postgresql', 'file')),
                    count(*) filter (where action = 'conflict')
               from found where tbl = ?1",
            [number(table)],
            |row| {
                Ok(TableCounts {
                    lost: count(row, 0)?,
                    gained: count(row, 1)?,
                    changed: count(row, 2)?,
                    newer_postgresql: count(row, 3)?,
                    newer_file: count(row, 4)?,
                    newer_unclear: count(row, 5)?,
                    conflicts: count(row, 6)?,
                })
            },
        )?)
    }

    /// How many rows differ.
    pub fn total(&self) -> Result<u64, Error> {
        Ok(self.conn.query_row("select count(*) from found", [], |row| count(row, 0))?)
    }

    /// The rows that differ, those somebody must decide on first.
    pub fn list(&self, names: &[String], rows_max: usize) -> Result<Vec<RowAccount>, Error> {
        let mut statement = self.conn.prepare_cached(
            "select tbl, kind, key, columns, newer, action, note from found
              order by action is 'conflict' desc, id limit ?1",
        )?;
        let mut rows = statement.query([i64::try_from(rows_max).unwrap_or(i64::MAX)])?;
        let mut list = Vec::new();
        while let Some(row) = rows.next()? {
            let table: usize = usize::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
            let columns: String = row.get(3)?;
            let action: Option<String> = row.get(5)?;
            list.push(RowAccount {
                table: names[table].clone(),
                kind: Kind::parse(&row.get::<_, String>(1)?),
                key: json(&row.get::<_, String>(2)?),
                columns: serde_json::from_str(&columns).unwrap_or_default(),
                newer: Newer::parse(&row.get::<_, Option<String>>(4)?.unwrap_or_default()),
                is_conflict: action.as_deref() == Some(Action::Conflict.as_str()),
                note: row.get(6)?,
            });
        }
        Ok(list)
    }

    /// The first row after `after` in the order in which they were found; for an export.
    pub fn next(&self, table: usize, after: i64) -> Result<Option<Spooled>, Error> {
        let mut statement = self.conn.prepare_cached(
            "select id, kind, key from found where tbl = ?1 and ?2 < id order by id limit 1",
        )?;
        let row = statement
            .query_row(params![number(table), after], |row| {
                Ok((row.get(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
            })
            .optional()?;
        Ok(row.map(|(id, kind, key)| Spooled { id, kind: Kind::parse(&kind), key: json(&key) }))
    }
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("it was written as JSON")
}

fn count(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(at)?).unwrap_or(0))
}

fn number(index: usize) -> i64 {
    i64::try_from(index).expect("an index is far below 2^63")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every combination of what the file's history and PostgreSQL's rows can tell, and what a
    /// restore makes of it.
    #[test]
    fn whose_row_is_newer_follows_from_who_wrote_after_the_parting() {
        use Kind::{Changed, Gained, Lost};
        let (no, inserted, updated) = (None, Some(true), Some(false));
        let cases = [
            (Lost, no, Some(true), "postgresql", "put"),
            (Lost, no, None, "postgresql", "put"),
            (Lost, no, Some(false), "unknown", "put"),
            (Lost, updated, Some(false), "file", "keep"),
            (Lost, updated, Some(true), "both", "conflict"),
            (Lost, updated, None, "both", "conflict"),
            (Gained, no, None, "postgresql", "remove"),
            (Gained, inserted, None, "file", "keep"),
            (Gained, updated, None, "both", "conflict"),
            (Changed, no, Some(true), "postgresql", "put"),
            (Changed, no, Some(false), "unknown", "conflict"),
            (Changed, updated, Some(false), "file", "keep"),
            (Changed, updated, Some(true), "both", "conflict"),
        ];
        for (at, (kind, touched, is_newer, newer, action)) in cases.into_iter().enumerate() {
            let spool = Spool::new().expect("a temporary database");
            let key = serde_json::json!([at]);
            if let Some(is_new) = touched {
                spool.touched(0, &key.to_string(), is_new).expect("note");
            }
            spool.found(0, kind, &key, &[], is_newer).expect("note");
            spool.judge(true, true).expect("judge");
            spool.decide(Choice::Restore, OnConflict::Stop).expect("decide");
            let said: (String, String) = spool
                .conn
                .query_row("select newer, action from found", [], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .expect("one row");
            assert_eq!(said, (newer.to_owned(), action.to_owned()), "{kind:?} {touched:?}");
        }
    }

    #[test]
    fn the_first_entry_tells_whether_a_row_was_there_before() {
        let spool = Spool::new().expect("a temporary database");
        spool.touched(0, "[1]", true).expect("note");
        spool.touched(0, "[1]", false).expect("note");
        spool.found(0, Kind::Gained, &serde_json::json!([1]), &[], None).expect("note");
        spool.judge(true, true).expect("judge");
        assert_eq!(spool.counts(0).expect("count").newer_file, 1);
    }
}
