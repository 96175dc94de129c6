//! Wait for a reply, as long as the line it has to come by is alive.
//!
//! TCP notices a peer that is gone. It does not notice one that takes every byte and never
//! answers: a stuck pooler or firewall, a tunnel whose far end was cut. A time limit cannot tell
//! such a line from a server that builds an index for an hour. So the one idea: *when a reply is
//! long in coming, ask the server, over another connection, what it is doing for us*. If it has
//! been waiting for us all the while, or has no such session any more, the line is dead. The
//! session is then ended on the server too, so that its locks go.
//!
//! Begin with [`Attendant::attend`].

use std::pin::pin;
use std::time::Duration;

use tokio_postgres::Client;

use super::conninfo::{ConnInfo, Remedy};
use super::{Error, connect};

/// Questions asked within the time that a line may be silent. One alone could meet a healthy
/// session in the instant between two statements.
const QUESTIONS: u32 = 3;

/// Knows which session of the server a client talks to.
#[derive(Clone, Debug)]
pub struct Attendant {
    conninfo: ConnInfo,
    pid: i32,
    /// Process ids are used again; together with this they are not. `None` where the session works
    /// in another role than it logged in as (`alter role … set role`): PostgreSQL hides it from
    /// that role, and only TCP tells that its line is dead.
    started: Option<String>,
    silence_max: Duration,
}

/// What the server said about our session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    /// At work, or there is no way to tell.
    AtWork,
    /// It waits for our next message, or nothing can be reached at all.
    Waiting,
    /// There is no such session.
    Gone,
}

const OWN_SESSION: &str = "
    select pid, backend_start::text from pg_stat_activity where pid = pg_backend_pid()";

const IS_WAITING: &str = "
    select coalesce(wait_event_type = 'Client' and wait_event = 'ClientRead', false)
      from pg_stat_activity where pid = $1 and backend_start::text = $2";

const TERMINATE: &str = "
    select pg_terminate_backend(pid) from pg_stat_activity
     where pid = $1 and backend_start::text = $2";

impl Attendant {
    /// Notes which session `client` has. Silence is borne for as long as `tcp_user_timeout` says,
    /// whose meaning this extends: there the peer's system is silent, here the peer.
    pub async fn of(client: &Client, conninfo: &ConnInfo) -> Result<Self, Error> {
        let row = client
            .query_one(OWN_SESSION, &[])
            .await
            .map_err(Error::query("ask which session this is"))?;
        let silence_max = conninfo.keepalive.user_timeout;
        let conninfo = conninfo.clone();
        Ok(Self { conninfo, pid: row.get(0), started: row.get(1), silence_max })
    }

    /// Waits for `reply`, which must need nothing but the server. Fails with [`Error::Silent`]
    /// once the line is known to be dead; what was sent may or may not have taken effect.
    pub async fn attend<T, E: From<Error>>(
        &self,
        reply: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let mut reply = pin!(reply);
        let mut waiting = 0;
        loop {
            tokio::select! {
                outcome = &mut reply => return outcome,
                () = tokio::time::sleep(self.silence_max / QUESTIONS) => {}
            }
            // While the question is asked the reply may still come.
            let finding = tokio::select! {
                outcome = &mut reply => return outcome,
                finding = self.ask() => finding,
            };
            waiting = match finding {
                Finding::AtWork => 0,
                Finding::Waiting => waiting + 1,
                Finding::Gone => QUESTIONS,
            };
            if QUESTIONS <= waiting {
                // Ending the session may end the line; that is no news.
                tokio::select! {
                    outcome = &mut reply => if outcome.is_ok() { return outcome },
                    () = self.end_elsewhere() => {}
                }
                return Err(Error::Silent { seconds: self.silence_max.as_secs() }.into());
            }
        }
    }

    async fn ask(&self) -> Finding {
        let client = match connect::connect(&self.conninfo, "lite2pg probe").await {
            Ok((client, _)) => client,
            Err(error) if is_out_of_reach(&error) => return Finding::Waiting,
            Err(_) => return Finding::AtWork,
        };
        let Some(started) = &self.started else { return Finding::AtWork };
        match client.query_opt(IS_WAITING, &[&self.pid, started]).await {
            Ok(Some(row)) if row.get(0) => Finding::Waiting,
            Ok(Some(_)) => Finding::AtWork,
            Ok(None) => Finding::Gone,
            Err(_) => Finding::Waiting,
        }
    }

    /// Ends the session on the server, if it is still there and shows itself to us.
    pub async fn end(&self, client: &Client) -> Result<(), Error> {
        let Some(started) = &self.started else { return Ok(()) };
        client
            .query_opt(TERMINATE, &[&self.pid, started])
            .await
            .map(drop)
            .map_err(Error::query("end a session whose line is dead"))
    }

    async fn end_elsewhere(&self) {
        let Ok((client, _)) = connect::connect(&self.conninfo, "lite2pg probe").await else {
            return;
        };
        // The next session ends it too; here it only happens sooner.
        if let Err(error) = self.end(&client).await {
            tracing::debug!(error = %crate::error::chain(&error), "the dead session stays");
        }
    }
}

/// A new connection finds no way either.
fn is_out_of_reach(error: &connect::Error) -> bool {
    let is_full = matches!(error, connect::Error::TooManyConnections { .. });
    error.remedy() == Remedy::Retry && !is_full
}
