//! Looks at both sides while they move, as an outsider: how far is PostgreSQL behind, and does
//! what it shows add up?

use tokio_postgres::Client;

use super::shop::MONEY_CENTS;
use crate::source::thread::SourceThread;
use crate::source::{self, Source};
use crate::table::Ident;
use crate::target::conninfo::ConnInfo;
use crate::target::ledger::{self, Phase, Stored};
use crate::target::{self, connect};

/// One look.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// `None` before PostgreSQL has a position.
    pub phase: Option<Phase>,
    pub is_consistent: bool,
    /// Changes that were in SQLite and not yet in PostgreSQL.
    pub lag_changes: i64,
    /// The age of the oldest of them.
    pub lag_ms: i64,
}

impl Reading {
    /// Everything that SQLite held at this look is in PostgreSQL.
    pub fn is_in_step(&self) -> bool {
        self.phase == Some(Phase::Streaming) && self.is_consistent && self.lag_changes == 0
    }
}

/// What all looks together have shown since the first copy.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub lag_changes_max: i64,
    pub lag_ms_max: i64,
    /// The newest entry of the changelog.
    pub changes: i64,
    /// How often the accounts on PostgreSQL were added up.
    pub sums: u64,
    /// The first sum that was not [`MONEY_CENTS`].
    pub wrong_sum: Option<i64>,
}

/// Connections of its own to both sides.
pub(super) struct Observer {
    pub source: SourceThread,
    pub seen: Seen,
    target: ConnInfo,
    schema: String,
    client: Option<Client>,
}

impl Observer {
    pub fn new(source: SourceThread, target: ConnInfo, schema: String) -> Self {
        Self { source, seen: Seen::default(), target, schema, client: None }
    }

    /// Looks once. `None` while PostgreSQL cannot be reached: the replication says why.
    pub async fn look(&mut self) -> Result<Option<Reading>, source::Error> {
        let Ok(stored) = self.look_at_target().await else {
            self.client = None;
            return Ok(None);
        };
        let applied = stored.as_ref().map(|stored| stored.standing.applied.position);
        // SQLite is read after PostgreSQL: lag may seem larger than it is, never smaller.
        let (head, lag_ms) = self
            .source
            .run(move |source: &mut Source| {
                let head = source.head()?.map_or(0, |head| head.position.0);
                let lag_ms = applied.map_or(Ok(0), |applied| source.lag_ms(applied))?;
                Ok::<_, source::Error>((head, lag_ms))
            })
            .await?;
        let lag_changes = applied.map_or(head, |applied| head - applied.0).max(0);
        let reading = Reading {
            phase: stored.as_ref().map(|stored| stored.phase),
            is_consistent: stored.as_ref().is_some_and(|stored| stored.is_consistent),
            lag_changes,
            lag_ms,
        };
        self.seen.changes = head;
        if reading.phase == Some(Phase::Streaming) {
            self.seen.lag_changes_max = self.seen.lag_changes_max.max(lag_changes);
            self.seen.lag_ms_max = self.seen.lag_ms_max.max(lag_ms);
        }
        Ok(Some(reading))
    }

    /// A connection to the target, made when there is none.
    pub async fn client(&mut self) -> Result<&Client, target::Error> {
        if self.client.is_none() {
            let (client, _) = connect::connect(&self.target, "lite2pg demo").await?;
            self.client = Some(client);
        }
        Ok(self.client.as_ref().expect("it was just made"))
    }

    async fn look_at_target(&mut self) -> Result<Option<Stored>, target::Error> {
        let sum = format!(
            "select consistent, (select sum(balance_cents)::int8 from {}.accounts)
               from lite2pg.position",
            Ident::new(&self.schema)
        );
        let client = self.client().await?;
        if !ledger::exists(client).await? {
            return Ok(None);
        }
        let stored = ledger::position(client).await?;
        if stored.as_ref().is_some_and(|stored| stored.phase == Phase::Streaming) {
            // One statement sees one state: what it adds up is what PostgreSQL had at one moment.
            let row = client
                .query_one(&sum, &[])
                .await
                .map_err(target::Error::query("add up the accounts"))?;
            if let (true, found) = (row.get(0), row.get::<_, Option<i64>>(1).unwrap_or(0)) {
                self.seen.sums += 1;
                if found != MONEY_CENTS {
                    self.seen.wrong_sum.get_or_insert(found);
                }
            }
        }
        Ok(stored)
    }
}
