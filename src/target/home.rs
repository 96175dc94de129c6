//! Is this the database that was fed, or another one that looks like it?
//!
//! A dump of the target, restored elsewhere for a test, carries everything that the target says of
//! itself. So the target also notes where it is: the server's own identifier, which no dump takes
//! along (<https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-CONTROL>), and
//! the name of the database. A database that is restored in its old place has both.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::Error;
use super::ledger::Stored;

/// Names this server and database; `None` where the server does not tell this role.
pub async fn here(client: &Client) -> Result<Option<String>, Error> {
    let asked = client
        .query_one(
            "select format('database %s of server %s', current_database(), system_identifier)
               from pg_control_system()",
            &[],
        )
        .await;
    match asked {
        Ok(row) => Ok(Some(row.get(0))),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(None),
        Err(error) => Err(Error::query("ask the server for its identifier")(error)),
    }
}

/// Fails with [`Error::Elsewhere`] if this is another database than the one that was fed.
pub async fn check(client: &Client, stored: &Stored) -> Result<(), Error> {
    match (&stored.home, here(client).await?) {
        (Some(fed), Some(here)) if *fed != here => Err(Error::Elsewhere { fed: fed.clone(), here }),
        _ => Ok(()),
    }
}

/// Notes that this is the database that is fed from now on.
pub async fn settle(client: &Client) -> Result<(), Error> {
    let Some(here) = here(client).await? else { return Ok(()) };
    client
        .execute(
            "update lite2pg.position set home = $1 where id = 1 and home is distinct from $1",
            &[&here],
        )
        .await
        .map(drop)
        .map_err(Error::query("note where the target is"))
}
