//! Where the file's history parts from the one that PostgreSQL was fed from.
//!
//! Entries that both have in common carry the same random tokens, and beyond the place where they
//! part none does. So that place is found by halving: a few dozen entries are looked at, however
//! long the histories are.

use tokio_postgres::Client;

use super::Error;
use crate::change::Position;
use crate::source::entries::Reach;
use crate::source::thread::SourceThread;
use crate::target::ledger::Stored;
use crate::target::trail;

/// The newest entry that both sides have.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LastCommon {
    /// Its place in the changelog.
    pub position: Position,
    /// When the application wrote it, in UTC.
    pub written_at: Option<String>,
    /// When PostgreSQL got it, in UTC; of old entries to some seconds.
    pub applied_at: Option<String>,
}

/// What is known of the two histories.
#[derive(Clone, Debug, Default)]
pub struct Parting {
    /// `None` where nothing proves that both ever had anything in common.
    pub last_common: Option<LastCommon>,
    /// PostgreSQL has entries beyond it.
    pub target_went_on: bool,
    /// The first transaction of PostgreSQL beyond it: rows with a greater number were written after
    /// the histories parted. `None` where that cannot be told.
    pub first_xid_after: Option<u32>,
}

impl Parting {
    /// Whether PostgreSQL wrote a row after the histories parted; `None` where nobody can tell.
    /// `xmin` wraps around; of two numbers the one that is up to 2^31 ahead is the later one
    /// (<https://www.postgresql.org/docs/current/routine-vacuuming.html#VACUUM-FOR-WRAPAROUND>).
    pub fn is_newer_on_target(&self, xmin: u32) -> Option<bool> {
        const FIRST_NORMAL_XID: u32 = 3;
        self.last_common.as_ref()?;
        if !self.target_went_on {
            return Some(false);
        }
        let first = self.first_xid_after?;
        Some(FIRST_NORMAL_XID <= xmin && xmin.wrapping_sub(first) < 1 << 31)
    }
}

/// Finds where the histories part.
pub async fn find(
    source: &SourceThread,
    client: &Client,
    stored: &Stored,
) -> Result<Parting, Error> {
    let (lineage, reach) = source
        .run(|source| Ok::<_, crate::source::Error>((source.lineage()?, source.reach()?)))
        .await?;
    let span = trail::span(client).await?;
    let (Some(Reach { tail, head }), Some((first, last))) = (reach, span) else {
        return Ok(Parting::default());
    };
    if lineage.as_ref() != Some(&stored.lineage) {
        return Ok(Parting::default());
    }
    // The greatest entry below `apart` that is known to be common is at or above `common`.
    let (mut common, mut apart) = (tail.max(first), head.min(last).0 + 1);
    if apart <= common.0 || !is_common(source, client, common).await? {
        return Ok(Parting::default());
    }
    while 1 < apart - common.0 {
        let middle = Position(common.0 + (apart - common.0) / 2);
        match is_common(source, client, middle).await? {
            true => common = middle,
            false => apart = middle.0,
        }
    }
    let entry = source.run(move |source| source.entry(common)).await?;
    let applied = trail::applied_by(client, common).await?;
    let after = trail::applied_by(client, Position(common.0 + 1)).await?;
    Ok(Parting {
        last_common: Some(LastCommon {
            position: common,
            written_at: entry.and_then(|entry| entry.at),
            applied_at: applied.map(|applied| applied.at),
        }),
        target_went_on: common < last,
        first_xid_after: after.and_then(|after| after.xid),
    })
}

async fn is_common(
    source: &SourceThread,
    client: &Client,
    position: Position,
) -> Result<bool, Error> {
    let entry = source.run(move |source| source.entry(position)).await?;
    let applied = trail::mark_of(client, position).await?;
    Ok(entry.is_some_and(|entry| Some(entry.mark) == applied))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_are_compared_across_the_wrap() {
        let common = LastCommon { position: Position(7), written_at: None, applied_at: None };
        let parting = |first| Parting {
            last_common: Some(common.clone()),
            target_went_on: true,
            first_xid_after: first,
        };
        assert_eq!(parting(Some(100)).is_newer_on_target(99), Some(false));
        assert_eq!(parting(Some(100)).is_newer_on_target(100), Some(true));
        assert_eq!(parting(Some(u32::MAX - 1)).is_newer_on_target(5), Some(true));
        assert_eq!(parting(Some(5)).is_newer_on_target(u32::MAX - 1), Some(false));
        assert_eq!(parting(Some(5)).is_newer_on_target(2), Some(false), "frozen long ago");
        assert_eq!(parting(None).is_newer_on_target(100), None);
        assert_eq!(Parting::default().is_newer_on_target(100), None);
        let behind = Parting { target_went_on: false, ..parting(Some(1)) };
        assert_eq!(behind.is_newer_on_target(100), Some(false));
    }
}
