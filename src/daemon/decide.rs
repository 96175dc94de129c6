//! Go on with a decision that a crash left half done, and close what has come right by itself.

use tokio_postgres::Client;

use super::Error;
use crate::source::thread::SourceThread;
use crate::target::decisions;
use crate::target::ledger::{self, Stored};

/// Takes the last step of a decision if the file shows that it was carried out there; otherwise
/// nothing of it happened, and it counts for nothing. Returns where the target stands.
pub(crate) async fn go_on(
    source: &SourceThread,
    client: &Client,
    stored: Stored,
) -> Result<Stored, Error> {
    let Some(decision) = decisions::pending(client).await? else { return Ok(stored) };
    let place = decision.place();
    // Any failure of the proof says that the file is not there; what is wrong with it is found out
    // by the proof that follows.
    if source.run(move |source| source.prove(&place)).await.is_err() {
        return Ok(stored);
    }
    tracing::info!(choice = decision.choice.as_str(), "going on with a decision on the file");
    decisions::finish(client, &decision).await?;
    Ok(ledger::position(client).await?.unwrap_or(stored))
}

/// Who is at the keyboard, for the record.
pub(crate) fn operator() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid());
    let user = user.ok().flatten().map_or_else(|| "someone".to_owned(), |user| user.name);
    format!("{user}@{}", host())
}

/// This machine's name.
pub(crate) fn host() -> String {
    nix::unistd::gethostname()
        .map_or_else(|_| "unknown".to_owned(), |name| name.to_string_lossy().into_owned())
}
