//! Make what differs right, in the one way in which rows travel.

use super::order::Key;
use super::verdict::Verdict;
use super::{Error, Scope, settle, verify};
use crate::batch::key_of_json;
use crate::change::Position;
use crate::daemon::{self, Config};
use crate::source::thread::SourceThread;
use crate::target::{self, connect, ledger};

/// What a repair came to.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Repaired {
    /// Rows that differed.
    pub differing: u64,
    /// Rows that were named in the changelog, so that replay makes them right.
    pub touched: u64,
    /// What both sides are like afterwards; of a dry run, what they are like.
    pub after: Verdict,
}

/// Finds what differs and has replay make it right: the keys of those rows are appended to the
/// changelog, and nothing is written to the target past the one way in which rows travel. Then
/// both sides are compared again.
///
/// Where no sidecar is running, replays itself. `is_dry` only compares. A crash leaves some of the
/// keys touched, which is harmless.
pub async fn repair(config: &Config, scope: Scope, is_dry: bool) -> Result<Repaired, Error> {
    let scope = Scope { lists_all: true, is_full: true, ..scope };
    let before = verify(config, scope.clone()).await?;
    if is_dry || before.drift.is_empty() {
        return Ok(Repaired { differing: before.drift_rows, touched: 0, after: before });
    }
    let (client, _) =
        connect::connect(&config.target, "lite2pg repair").await.map_err(target::Error::from)?;
    let source = SourceThread::open(config.source.clone()).await?;
    let stored = ledger::position(&client).await?.ok_or(Error::NothingThere)?;
    let known = ledger::tables(&client).await?;
    let mut touched = 0;
    for table in &known {
        let drift = before.drift.iter().filter(|drift| drift.table == table.name);
        let keys: Vec<Key> = drift.filter_map(|drift| key_of_json(&drift.key)).collect();
        if keys.is_empty() {
            continue;
        }
        touched += keys.len() as u64;
        let (place, id) = (stored.place(), table.id);
        source.run(move |source| source.touch(&place, id, &keys)).await?;
    }
    let head = source.run(|source| source.head()).await?;
    let head = head.map_or(Position(0), |head| head.position);
    if ledger::is_someone_at_work(&client).await? {
        settle::await_applied(&client, head).await?;
    } else {
        let replay = Config { until_caught_up: true, ..config.clone() };
        let (_running, stop) = daemon::Stop::new();
        daemon::run(replay, stop).await?;
    }
    // What differed is read again, and what was touched is compared.
    let after = verify(config, Scope { is_full: false, ..scope }).await?;
    Ok(Repaired { differing: before.drift_rows, touched, after })
}
