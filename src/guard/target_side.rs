//! The other side: is this database the one that the file feeds?

use super::account::{Account, FileAccount, State};
use super::{Error, open};
use crate::change::{Lineage, Position};
use crate::daemon::Config;
use crate::error::chain;
use crate::target::ledger::Stored;
use crate::target::{self, connect, home, ledger};
use crate::verify;

/// What is wrong with the target; `None` if nothing is. With `accepts`, it is the right one from
/// now on: a target that was never fed gets its first copy from the next run.
pub(super) async fn look(config: &Config, accepts: bool) -> Result<Option<Account>, Error> {
    let (client, _) =
        connect::connect(&config.target, "lite2pg guard").await.map_err(target::Error::from)?;
    let stored = match ledger::exists(&client).await? {
        true => {
            ledger::migrate(&client).await?;
            ledger::position(&client).await?
        }
        false => None,
    };
    let Some(source) = open(config).await? else { return Ok(None) };
    let (remembered, lineage) = source
        .run(|source| {
            Ok::<_, crate::source::Error>((source.remembered_target()?, source.lineage()?))
        })
        .await?;
    let Some(stored) = stored else {
        if remembered.is_none() {
            return Err(verify::Error::NothingThere.into());
        }
        let account = account(config, "other_target", &target::Error::OtherTarget, lineage, None);
        if accepts {
            source.run(|source| source.remember_target(None)).await?;
        }
        return Ok(Some(accepted(account, accepts)));
    };
    let at_home = home::check(&client, &stored).await;
    if let Err(error @ target::Error::Elsewhere { .. }) = at_home {
        let account = account(config, "elsewhere", &error, lineage, Some(&stored));
        if accepts {
            home::settle(&client).await?;
            let pairing = stored.pairing.clone();
            source.run(move |source| source.remember_target(Some(&pairing))).await?;
        }
        return Ok(Some(accepted(account, accepts)));
    }
    at_home?;
    if remembered.is_some_and(|remembered| remembered != stored.pairing) {
        let error = target::Error::OtherTarget;
        let account = account(config, "other_target", &error, lineage, Some(&stored));
        if accepts {
            let pairing = stored.pairing.clone();
            source.run(move |source| source.remember_target(Some(&pairing))).await?;
        }
        return Ok(Some(accepted(account, accepts)));
    }
    Ok(None)
}

fn accepted(account: Account, accepts: bool) -> Account {
    Account { state: if accepts { State::Accepted } else { State::Broken }, ..account }
}

fn account(
    config: &Config,
    what: &'static str,
    error: &target::Error,
    lineage: Option<Lineage>,
    stored: Option<&Stored>,
) -> Account {
    Account {
        state: State::Broken,
        what: Some(what),
        message: Some(chain(error)),
        meaning: Some("Nothing was written there. The file is not in question."),
        incident: None,
        lineage: stored.map(|stored| stored.lineage.clone()).or(lineage.clone()),
        applied: stored.map_or(Position(0), |stored| stored.standing.applied.position),
        applied_at: None,
        file: FileAccount { path: config.source.clone(), lineage, ..FileAccount::default() },
        last_common: None,
        tables: Vec::new(),
        rows: Vec::new(),
        rows_differing: 0,
        left_out: Vec::new(),
        blocked_by: Vec::new(),
        done: None,
    }
}
