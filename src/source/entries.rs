//! What the changelog tells of the past: single entries, and which rows were touched since one.
//!
//! For whoever finds out where two histories part. No lineage is proven here: it is broken.

use rusqlite::OptionalExtension;

use super::changelog::{Plan, entry_key, head, oldest};
use super::{Error, Source, numbers, strand, triggers};
use crate::change::{Mark, Position, TableId, mark};
use crate::value::Owned;

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What the trail keeps of its token.
    pub mark: Mark,
    /// When it was written, in UTC; `None` where that cannot be read.
    pub at: Option<String>,
}

/// A row that was touched.
#[derive(Clone, Debug, PartialEq)]
pub struct TouchedRow {
    /// Its table's place in the plan.
    pub table: usize,
    /// What names it.
    pub key: Vec<Owned>,
    /// The entry was written for a row that was not there before, under this key.
    pub is_new: bool,
}

/// Where the changelog begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The oldest entry.
    pub tail: Position,
    /// The newest.
    pub head: Position,
}

/// Entries of one read. Where one ends between the two entries of a changed key, the new key counts
/// as one that was there before, which loses nothing.
const PAGE: i64 = 20_000;

impl Source {
    /// Where the changelog begins and ends; `None` where there is none, or it is empty.
    pub fn reach(&mut self) -> Result<Option<Reach>, Error> {
        self.reading(|conn| {
            if !triggers::is_installed(conn)? || !strand::is_whole(conn)? {
                return Ok(None);
            }
            let (Some(tail), Some(head)) = (oldest(conn)?, head(conn)?) else { return Ok(None) };
            Ok(Some(Reach { tail, head: head.position }))
        })
    }

    /// One entry; `None` where there is none.
    pub fn entry(&mut self, at: Position) -> Result<Option<Entry>, Error> {
        self.reading(|conn| {
            conn.prepare_cached(
                "select token, strftime('%Y-%m-%dT%H:%M:%SZ', at)
                   from _lite2pg_changelog where seq = ?1",
            )
            .and_then(|mut statement| {
                let entry = statement.query_row([at.0], |row| {
                    Ok(Entry { mark: mark(row.get(0)?), at: row.get(1)? })
                });
                entry.optional()
            })
            .map_err(Error::sqlite("read an entry of the changelog"))
        })
    }

    /// The numbers that this file gives its tables and gave them before; none where no changelog is
    /// installed.
    pub fn numbers(&mut self) -> Result<Vec<(TableId, String)>, Error> {
        self.reading(|conn| match triggers::is_installed(conn)? {
            true => numbers::all(conn),
            false => Ok(Vec::new()),
        })
    }

    /// The rows that entries after `after` name, as many as one short read yields, and the last
    /// entry that was looked at; `None` for the rows if entries are missing in between. The plan
    /// must be made with the numbers of this file.
    pub fn touched_rows(
        &mut self,
        plan: &Plan,
        after: Position,
    ) -> Result<(Option<Vec<TouchedRow>>, Position), Error> {
        let doing = "read what was touched";
        self.reading(|conn| {
            let (mut rows, mut through) = (Vec::new(), after);
            let mut statement = conn
                .prepare_cached(
                    "select * from _lite2pg_changelog where ?1 < seq order by seq limit ?2",
                )
                .map_err(Error::sqlite(doing))?;
            let mut entries = statement.query((after.0, PAGE)).map_err(Error::sqlite(doing))?;
            // A change of the key is two entries, one after the other: the old key and the new one.
            let mut is_half_of_rekey = false;
            while let Some(entry) = entries.next().map_err(Error::sqlite(doing))? {
                let seq = Position(entry.get(0).map_err(Error::sqlite(doing))?);
                if seq.0 != through.0 + 1 {
                    return Ok((None, through));
                }
                through = seq;
                let number = entry.get(1).map_err(Error::sqlite(doing))?;
                let op: String = entry.get(2).map_err(Error::sqlite(doing))?;
                let is_rekey = op == "rekey";
                let is_new = op == "insert" || is_rekey && is_half_of_rekey;
                is_half_of_rekey = is_rekey && !is_half_of_rekey;
                let Some(table) = plan.numbered(number) else { continue };
                let key = entry_key(entry, plan.mappings[table].key.len())?;
                rows.push(TouchedRow { table, key, is_new });
            }
            Ok((Some(rows), through))
        })
    }
}
