//! Ask both sides something at the very same position of the changelog.
//!
//! The target is asked where it stands, in a snapshot that is kept; the source is asked only if
//! that is the head of its changelog. So both sides must stand at one position for a moment, and
//! not for as long as their answers take, and nothing is asked in vain. While somebody writes, the
//! two rarely meet at once; they are tried again until they do, for a while.

use std::time::{Duration, Instant};

use super::{Error, Sides};
use crate::change::{Place, Position};
use crate::target::{ledger, proof};

/// How long both sides are tried until they meet.
const MEET_MAX: Duration = Duration::from_secs(30);

/// Between two tries.
const LOOK_INTERVAL: Duration = Duration::from_millis(15);

/// Asks the source, then the target in the same snapshot; `source` says `None` if its head is not
/// at the position that it is given.
///
/// Returns the position and both answers, or `None` if they never met, or nobody replays who could
/// bring them together.
pub(super) async fn meet<S, T, E: From<Error> + From<crate::target::Error>>(
    sides: &Sides,
    source: impl AsyncFn(Place, Position) -> Result<Option<S>, E>,
    target: impl AsyncFn() -> Result<T, E>,
) -> Result<Option<(Position, S, T)>, E> {
    let begun = Instant::now();
    loop {
        let met = proof::in_snapshot(&sides.client, async {
            let stored = ledger::position(&sides.client).await?.ok_or(Error::NothingThere)?;
            if !stored.standing.is_consistent() {
                return Ok(None);
            }
            let at = stored.standing.applied.position;
            let Some(asked) = source(stored.place(), at).await? else { return Ok(None) };
            Ok::<_, E>(Some((at, asked, target().await?)))
        });
        if let Some(met) = met.await? {
            return Ok(Some(met));
        }
        let is_moving = ledger::is_someone_at_work(&sides.client).await?;
        if MEET_MAX < begun.elapsed() || !is_moving {
            return Ok(None);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
