//! Rows that seemed to differ, read again on both sides until it is sure that they do.
//!
//! The source is read at position p1, the target in a snapshot at position p2 whose contents were
//! read up to q. A row that has no entry in the changelog between the lesser of p1 and p2 and the
//! greater of p1 and q was the same on the source all that time, so both readings must be equal.
//! One that has an entry there is in flight: it is asked again later.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::order::{Key, name_of};
use super::still::Found;
use super::verdict::{Drift, DriftKind, DriftValue, TableVerdict};
use super::{Error, LISTED_MAX, Sides, image};
use crate::batch::{KeyImage, encode_key, key_json};
use crate::change::Position;
use crate::mapping::Mapping;
use crate::target::apply::Standing;
use crate::target::ledger;
use crate::target::proof::{self, Finder, FoundRow};
use crate::value::{Owned, Storage};

/// Rows that are asked for at a time. The read transaction on the source may end before that.
const KEYS_MAX: usize = 4_000;

/// How long replay may take to pass the position at which rows were read.
const PASS_MAX: Duration = Duration::from_secs(5);

/// How long rows in flight are asked for again.
const SETTLE_MAX: Duration = Duration::from_secs(60);

/// Between two looks at the position.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What differs in one table.
#[derive(Default)]
pub(super) struct Findings {
    /// The first of the rows that differ, or all.
    pub drift: Vec<Drift>,
    in_flight: Vec<Key>,
    finder: Option<Finder>,
}

/// What a round came to for one row.
enum Finding {
    Equal,
    Quarantined,
    InFlight,
    /// And the transaction of the target that wrote its row, if it has one.
    Drift(Box<Drift>, Option<u32>),
}

/// A row of the source, and what can be said of it.
struct Read {
    json: serde_json::Value,
    /// Its name on the target; `None` where the target can have no such row.
    image: Option<KeyImage>,
    values: Option<Vec<Owned>>,
}

impl Findings {
    /// Compares these rows exactly; `counts` is told what came of them. Returns those that are not
    /// equal, or not yet.
    pub async fn settle(
        &mut self,
        sides: &Sides,
        table: usize,
        keys: Vec<Key>,
        counts: &mut TableVerdict,
    ) -> Result<Vec<Key>, Error> {
        let mut unsettled = Vec::new();
        let mut rest = keys.as_slice();
        while !rest.is_empty() {
            let finder = self.finder(sides, table).await?;
            let findings = round(sides, table, finder, &rest[..rest.len().min(KEYS_MAX)]).await?;
            let (settled, after) = rest.split_at(findings.len());
            let kind = |finding: &Finding| match finding {
                Finding::Drift(drift, _) => Some(drift.kind),
                Finding::Equal | Finding::Quarantined | Finding::InFlight => None,
            };
            let differing = settled.iter().zip(&findings);
            let differing = differing.filter(|(_, finding)| kind(finding).is_some());
            let differing: Vec<Key> = differing.map(|(key, _)| key.clone()).collect();
            let is_extra = |finding: &&Finding| kind(finding) == Some(DriftKind::Extra);
            let extra = findings.iter().filter(is_extra).count() as u64;
            sides.put_right(table, differing, extra).await?;
            for (key, finding) in settled.iter().zip(findings) {
                if matches!(finding, Finding::InFlight | Finding::Drift(..)) {
                    unsettled.push(key.clone());
                }
                self.take(sides, key, finding, counts);
            }
            rest = after;
        }
        Ok(unsettled)
    }

    async fn finder(&mut self, sides: &Sides, table: usize) -> Result<&Finder, Error> {
        if self.finder.is_none() {
            let mapping = sides.mapping(table);
            self.finder = Some(Finder::of(&sides.by_index, &sides.schema, mapping).await?);
        }
        Ok(self.finder.as_ref().expect("it was prepared above"))
    }

    /// Counts a row of the target whose key no row of the source could have.
    pub fn nameless(&mut self, sides: &Sides, table: usize, counts: &mut TableVerdict) {
        let drift = Drift {
            table: sides.mapping(table).table.name.clone(),
            key: serde_json::Value::Null,
            kind: DriftKind::Extra,
            columns: Vec::new(),
            values: Vec::new(),
        };
        self.take(sides, &Key::new(), Finding::Drift(Box::new(drift), None), counts);
    }

    fn take(&mut self, sides: &Sides, key: &Key, finding: Finding, counts: &mut TableVerdict) {
        match finding {
            // Quarantine has a count of its own.
            Finding::Equal | Finding::Quarantined => {}
            Finding::InFlight => self.in_flight.push(key.clone()),
            Finding::Drift(drift, written_by) => {
                match drift.kind {
                    DriftKind::Missing => counts.missing += 1,
                    DriftKind::Extra => counts.extra += 1,
                    DriftKind::Mismatched => counts.mismatched += 1,
                }
                if let Some(still) = &sides.still {
                    still.see(Found { drift: *drift, written_by });
                } else if sides.scope.lists_all || self.drift.len() < LISTED_MAX {
                    self.drift.push(*drift);
                }
            }
        }
    }

    /// Asks again for the rows that were being written, as long as somebody replays.
    pub async fn finish(
        &mut self,
        sides: &Sides,
        table: usize,
        counts: &mut TableVerdict,
    ) -> Result<(), Error> {
        let begun = Instant::now();
        while !self.in_flight.is_empty() && begun.elapsed() < SETTLE_MAX {
            let keys = std::mem::take(&mut self.in_flight);
            let before = keys.len();
            let head = sides.source.run(|source| source.head()).await?;
            await_applied(&sides.client, head.map_or(Position(0), |head| head.position)).await?;
            self.settle(sides, table, keys, counts).await?;
            if self.in_flight.len() == before {
                if !ledger::is_someone_at_work(&sides.client).await? {
                    break;
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        }
        counts.in_flight = self.in_flight.len() as u64;
        Ok(())
    }
}

/// One look at the first of these rows, at least one.
async fn round(
    sides: &Sides,
    table: usize,
    finder: &Finder,
    keys: &[Key],
) -> Result<Vec<Finding>, Error> {
    let mapping = sides.mapping(table);
    let stored = ledger::position(&sides.client).await?.ok_or(Error::NothingThere)?;
    let (plan, wanted) = (sides.plan.clone(), keys.to_vec());
    let place = sides.still.is_none().then(|| stored.place());
    let read =
        sides.source.run(move |source| source.rows(&plan, place.as_ref(), table, &wanted)).await?;
    let rows: Vec<Read> = keys
        .iter()
        .zip(read.rows)
        .map(|(key, values)| Read {
            json: key_json(key.iter().map(Owned::storage)),
            image: encode_key(mapping, |at| key[at].storage()).ok(),
            values,
        })
        .collect();
    let images: Vec<&KeyImage> = rows.iter().filter_map(|row| row.image.as_ref()).collect();
    let found = finder.rows(&sides.by_index, mapping, &images).await?;
    let on_target: HashMap<&KeyImage, &FoundRow> =
        found.rows.iter().map(|row| (&row.key, row)).collect();

    let touched = match &sides.still {
        Some(_) => Some(HashSet::new()),
        None => touched_between(sides, table, read.read_at, found.standing).await?,
    };
    let on_target = |row: &Read| row.image.as_ref().and_then(|image| on_target.get(image).copied());
    let missing = rows.iter().filter(|row| row.values.is_some() && on_target(row).is_none());
    let missing: Vec<serde_json::Value> = missing.map(|row| row.json.clone()).collect();
    let aside: HashSet<String> = match missing.as_slice() {
        [] => HashSet::new(),
        missing => proof::in_quarantine(&sides.client, mapping, missing)
            .await?
            .iter()
            .map(ToString::to_string)
            .collect(),
    };

    let findings = rows.iter().map(|row| {
        let key = row.json.to_string();
        // Without the entries nobody can tell: the next round is nearer to the head.
        if touched.as_ref().is_none_or(|touched| touched.contains(&key)) {
            return Finding::InFlight;
        }
        compare(sides, table, row, on_target(row), aside.contains(&key))
    });
    Ok(findings.collect())
}

/// The names of the rows that may have changed between the two readings; `None` if nobody can tell.
async fn touched_between(
    sides: &Sides,
    table: usize,
    read_at: Position,
    standing: Standing,
) -> Result<Option<HashSet<String>>, Error> {
    let (applied, read_through) = (standing.applied.position, standing.read_through);
    let (after, up_to) = (read_at.min(applied), read_at.max(read_through));
    let plan = sides.plan.clone();
    let touched =
        sides.source.run(move |source| source.touched(&plan, table, after, up_to)).await?;
    Ok(touched.map(|keys| keys.iter().map(|key| name_of(key)).collect()))
}

/// Waits until replay has passed `position`, for as long as somebody replays; not for long.
pub(super) async fn await_applied(client: &Client, position: Position) -> Result<(), Error> {
    let begun = Instant::now();
    loop {
        let stored = ledger::position(client).await?.ok_or(Error::NothingThere)?;
        if position <= stored.standing.applied.position || PASS_MAX < begun.elapsed() {
            return Ok(());
        }
        if !ledger::is_someone_at_work(client).await? {
            return Ok(());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

fn compare(
    sides: &Sides,
    table: usize,
    row: &Read,
    target: Option<&FoundRow>,
    is_aside: bool,
) -> Finding {
    let mapping = sides.mapping(table);
    let drift = |kind, columns: Vec<usize>| {
        let names = columns.iter().map(|at| mapping.source_name(&mapping.columns[*at]).to_owned());
        let values = match (sides.scope.shows_values, &row.values, target) {
            (true, Some(held), Some(found)) => {
                columns.iter().map(|at| shown(mapping, *at, held, &found.fields)).collect()
            }
            _ => Vec::new(),
        };
        let drift = Drift {
            table: mapping.table.name.clone(),
            key: row.json.clone(),
            kind,
            columns: names.collect(),
            values,
        };
        Finding::Drift(Box::new(drift), target.map(|found| found.xmin))
    };
    match (&row.values, target) {
        (None, None) => Finding::Equal,
        (None, Some(_)) => drift(DriftKind::Extra, Vec::new()),
        (Some(_), None) if is_aside => Finding::Quarantined,
        // What cannot be held and is not set aside was lost without a word.
        (Some(_), None) => drift(DriftKind::Missing, Vec::new()),
        (Some(values), Some(found)) => {
            let columns = image::differing(mapping, values, &found.fields);
            match columns.is_empty() {
                true => Finding::Equal,
                false => drift(DriftKind::Mismatched, columns),
            }
        }
    }
}

fn shown(mapping: &Mapping, at: usize, held: &[Owned], fields: &[Option<Vec<u8>>]) -> DriftValue {
    let column = &mapping.columns[at];
    let home = column.pg.decode(column.affinity, fields[at].as_deref());
    let json = |value: Storage<'_>| match key_json(std::iter::once(value)) {
        serde_json::Value::Array(mut only) => only.pop().unwrap_or_default(),
        other => other,
    };
    DriftValue {
        column: mapping.source_name(column).to_owned(),
        source: json(held[at].storage()),
        target: home.map_or(serde_json::Value::Null, |value| json(value.storage())),
    }
}
