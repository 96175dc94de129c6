//! Foreign keys and sequences: the step that cutover takes.
//!
//! Until then foreign keys would only be in the way of replay, and sequences would be behind
//! again with the next row. Running it twice changes nothing but sequences that have to go on.

use std::collections::HashMap;

use tokio_postgres::Client;

use crate::source::copy::autoincrement_counter;
use crate::source::thread::SourceThread;
use crate::source::{self, Source};
use crate::target::ledger::{self, Phase};
use crate::target::{build, unseen};

/// What was done.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Finalised {
    /// Foreign keys that now stand, validated.
    pub foreign_keys: usize,
    /// Triggers of adopted tables that fire again.
    pub triggers: usize,
    /// Foreign keys and triggers that PostgreSQL refused; `lite2pg.objects` says why.
    pub refused: usize,
    /// Sequences set past every key.
    pub sequences: usize,
}

/// Builds and validates foreign keys, sets sequences past every key ever given.
pub async fn finalise(
    source: &SourceThread,
    client: &Client,
    target_schema: &str,
) -> Result<Finalised, super::Error> {
    let stored = match ledger::exists(client).await? {
        true => ledger::position(client).await?,
        false => None,
    };
    let stored = stored.ok_or(super::Error::NotInStep { phase: "not begun" })?;
    stored.expect_schema(target_schema)?;
    let place = stored.place();
    source.run(move |source| source.prove(&place)).await?;
    if stored.phase != Phase::Streaming {
        return Err(super::Error::NotInStep { phase: stored.phase.as_str() });
    }
    if !unseen::dirty(client).await?.is_empty() {
        let phase = "writes to a table may have gone unseen, and it is not proven yet";
        return Err(super::Error::NotInStep { phase });
    }
    let (catalog, counters) = source
        .run(|source: &mut Source| {
            let catalog = source.survey()?.catalog;
            let mut counters = HashMap::new();
            for table in &catalog.tables {
                if let Some(counter) = autoincrement_counter(&source.conn, &table.name)? {
                    counters.insert(table.name.clone(), counter);
                }
            }
            Ok::<_, source::Error>((catalog, counters))
        })
        .await?;
    // What was refused may be possible by now.
    build::wait_again(client, "foreign_key").await?;
    let foreign_keys = build::build_waiting(client, target_schema, "foreign_key").await?;
    let triggers = build::build_waiting(client, target_schema, "trigger").await?;
    let known = ledger::tables(client).await?;
    let sequences =
        build::set_sequences(client, target_schema, &catalog.tables, &known, &counters).await?;
    Ok(Finalised {
        foreign_keys: foreign_keys.built,
        triggers: triggers.built,
        refused: foreign_keys.refused + triggers.refused,
        sequences,
    })
}
