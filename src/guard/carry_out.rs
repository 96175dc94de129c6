//! Carry out what was chosen: put rows into the file, or have PostgreSQL follow it.
//!
//! The file is locked against its application from before the comparison to the commit, so what is
//! decided row by row is still true when it is done. PostgreSQL is asked meanwhile, which is never
//! done otherwise while a lock is held; here it is the operator's choice, and the alternative is
//! worse. The order of the steps and what a crash leaves is told at
//! [`decisions`].

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tokio_postgres::Client;

use super::account::{Account, Done, Kind, State};
use super::spool::{Action, Spooled};
use super::{
    Case, Error, OnConflict, Options, examine, next_position, open, prove, session, sound,
};
use crate::batch::{KeyImage, encode_key, key_of_json};
use crate::change::{Anchor, Lineage, Place};
use crate::daemon::{self, Config, decide};
use crate::failpoint;
use crate::mapping::Mapping;
use crate::source::rewrite::{Locked, Put};
use crate::target::archive;
use crate::target::decisions::{self, Choice, Decision};
use crate::target::proof::{self, Finder, FoundRow};
use crate::target::{self, connect, ledger};
use crate::value::Owned;
use crate::verify::{self, Scope};

/// Rows of PostgreSQL that are asked for at a time, as long as they are small.
const PAGE_ROWS: usize = 1_000;

/// How much of them is held in memory.
const PAGE_BYTES: usize = 8 << 20;

/// Obstacles that are listed.
const LISTED_MAX: usize = 20;

pub(super) async fn carry_out(
    config: &Config,
    options: &Options,
    choice: Choice,
) -> Result<Account, Error> {
    let client = session(config).await?;
    ledger::be_alone(&client).await?;
    let stored = super::stored(config, &client).await?;
    let no_file = || Error::NoFile { path: config.source.clone() };
    let source = open(config).await?.ok_or_else(no_file)?;
    let stored = decide::go_on(&source, &client, stored).await?;
    let locked = Locked::take(&config.source)?;
    source.run(crate::source::Source::trust_our_lock).await;
    let Some(broken) = prove(&source, &stored).await? else {
        return sound(config, &source, &client, &stored).await;
    };
    let epoch = ledger::claim(&client, 0).await?;
    let applied = Some(stored.standing.applied.position);
    let incident =
        decisions::note_stop(&client, broken.kind(), applied, &broken.to_string()).await?;
    let case = examine(config, options, source, &client, stored, broken).await?;
    case.spool.decide(choice, options.on_conflict)?;
    let mut blocked_by = case.in_the_way(choice);
    let conflicts = case.spool.count(Action::Conflict)?;
    if 0 < conflicts {
        blocked_by.push(unclear(conflicts));
    }
    let mut done = Done {
        choice,
        decided_by: decide::operator(),
        backup: None,
        put_back: 0,
        overwritten: 0,
        removed: 0,
        kept: 0,
        archived: 0,
        verified: None,
    };
    if blocked_by.is_empty() && choice == Choice::Restore {
        let to = backup_path(&config.source, options.backup_dir.as_deref(), incident);
        done.backup = Some(locked.back_up(&config.source, &to)?);
        blocked_by = put_back(config, options, &case, &locked, &mut done).await?;
    }
    if !blocked_by.is_empty() {
        // The lock goes, and with it all that was done to the file.
        drop(locked);
        let mut account = case.account(config, options, &client, State::Blocked).await?;
        account.blocked_by = blocked_by;
        return Ok(account);
    }
    keep(config, &case, &client, incident, &mut done).await?;
    let place = new_place(&case, &locked)?;
    let known: Vec<_> = case.known.iter().map(|known| (known.id, known.name.clone())).collect();
    locked.begin_changelog(&case.survey.catalog, &known, &place)?;
    touch_kept(&case, &locked)?;
    let head = locked.head()?.unwrap_or(place.anchor.position);
    let decision = Decision {
        choice,
        incident,
        decided_by: done.decided_by.clone(),
        source_id: place.lineage.source_id.clone(),
        generation: place.lineage.generation,
        position: place.anchor.position.0,
        token: place.anchor.token,
        read_through: head.0,
    };
    // As things are before it, which is what it was decided on.
    let mut account = case.account(config, options, &client, State::Broken).await?;
    decisions::begin(&client, epoch, &decision).await?;
    failpoint::hit(failpoint::GUARD_DECIDED);
    locked.commit()?;
    decisions::finish(&client, &decision).await?;
    failpoint::hit(failpoint::GUARD_FINISHED);
    account.state = match choice {
        Choice::Restore => State::Restored,
        Choice::Accept => State::Accepted,
    };
    drop(client);
    done.verified = Some(resume(config).await?);
    account.done = Some(done);
    Ok(account)
}

fn unclear(conflicts: u64) -> String {
    format!(
        "of {conflicts} rows nobody can say which side is right: both were written to, or their \
         history is not known. Say --on-conflict file or --on-conflict postgresql"
    )
}

/// Replays what was touched, and proves that both sides are equal.
async fn resume(config: &Config) -> Result<verify::verdict::Outcome, Error> {
    let replay = Config { until_caught_up: true, ..config.clone() };
    let (_running, stop) = daemon::Stop::new();
    daemon::run(replay, stop).await?;
    let verdict = verify::verify(config, Scope { is_full: true, ..Scope::default() }).await?;
    Ok(verdict.verdict)
}

/// Beside the file, under a name that says what it is and that no other backup has.
fn backup_path(file: &Path, directory: Option<&Path>, incident: i64) -> PathBuf {
    let file = file.canonicalize().unwrap_or_else(|_| file.to_path_buf());
    let stem = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let directory = directory.or(file.parent()).unwrap_or(Path::new("."));
    let name = |number: u32| directory.join(format!("{stem}.before-restore-{incident}.{number}"));
    (1..).map(name).find(|path| !path.exists()).expect("some number is free")
}

/// A generation of the history that PostgreSQL knows, and an entry beyond all that either side has.
fn new_place(case: &Case, locked: &Locked) -> Result<Place, Error> {
    let lineage = &case.stored.lineage;
    let of_file =
        case.file_lineage.as_ref().filter(|of_file| of_file.source_id == lineage.source_id);
    let generation = lineage.generation.max(of_file.map_or(0, |of_file| of_file.generation)) + 1;
    let bytes = uuid::Uuid::new_v4().into_bytes();
    let token = i64::from_le_bytes(bytes[..8].try_into().expect("eight bytes of sixteen"));
    let position = next_position(&case.stored, locked.head()?);
    Ok(Place {
        lineage: Lineage { source_id: lineage.source_id.clone(), generation },
        anchor: Anchor { position, token },
    })
}

/// Carries what is to be done with each row into the file. Returns what is in the way.
async fn put_back(
    config: &Config,
    options: &Options,
    case: &Case,
    locked: &Locked,
    done: &mut Done,
) -> Result<Vec<String>, Error> {
    let orphans_before = locked.orphans()?;
    let (by_index, _) =
        connect::connect(&config.target, "lite2pg guard").await.map_err(target::Error::from)?;
    proof::go_by_index(&by_index).await?;
    let mut in_the_way = Vec::new();
    for table in 0..case.plan.mappings.len() {
        remove(case, locked, table, done)?;
        let finder =
            Finder::of(&by_index, &config.target_schema, &case.plan.mappings[table]).await?;
        let to = Destination { case, locked, table, on_conflict: options.on_conflict };
        to.put(&by_index, &finder, done, &mut in_the_way).await?;
    }
    if let (Some(before), Some(after)) = (orphans_before, locked.orphans()?) {
        let mut fresh: HashMap<(&str, &str), u64> = HashMap::new();
        for (table, _, parent, _) in after.difference(&before) {
            *fresh.entry((table, parent)).or_default() += 1;
        }
        in_the_way.extend(fresh.into_iter().map(|((table, parent), rows)| {
            format!(
                "{rows} rows of table {table} would refer to rows of {parent} that are not there: \
                 the file gained them, or removed their parents; put that right in the file first"
            )
        }));
    }
    Ok(in_the_way)
}

/// What names a row, as the file has it; `None` for a key that no row of the file could have.
fn key_of(row: &Spooled) -> Option<Vec<Owned>> {
    key_of_json(&row.key).filter(|key| !key.is_empty())
}

/// Shows every row of a table that is to be dealt with like this.
fn each(
    case: &Case,
    table: usize,
    action: Action,
    mut see: impl FnMut(Spooled) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut after = 0;
    loop {
        let page = case.spool.page(table, action, after, PAGE_ROWS)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.id;
        page.into_iter().try_for_each(&mut see)?;
    }
}

/// Removes what is to go, and what is to be written anew: then no two rows are in each other's way.
fn remove(case: &Case, locked: &Locked, table: usize, done: &mut Done) -> Result<(), Error> {
    let mapping = &case.plan.mappings[table];
    for action in [Action::Remove, Action::Put] {
        each(case, table, action, |row| {
            if row.kind == Kind::Lost {
                return Ok(());
            }
            if let Some(key) = key_of(&row) {
                locked.remove(mapping, &key)?;
                done.removed += u64::from(action == Action::Remove);
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Where rows are put.
struct Destination<'a> {
    case: &'a Case,
    locked: &'a Locked,
    table: usize,
    on_conflict: OnConflict,
}

impl Destination<'_> {
    fn mapping(&self) -> &Mapping {
        &self.case.plan.mappings[self.table]
    }

    /// Puts PostgreSQL's rows into the file, page by page: as many as memory should hold.
    async fn put(
        &self,
        client: &Client,
        finder: &Finder,
        done: &mut Done,
        in_the_way: &mut Vec<String>,
    ) -> Result<(), Error> {
        let (mut after, mut rows_max) = (0, 16);
        loop {
            let page = self.case.spool.page(self.table, Action::Put, after, rows_max)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id;
            let rows = self.fetch(client, finder, &page).await?;
            let largest = rows.values().map(size).max().unwrap_or(1).max(1);
            rows_max = (PAGE_BYTES / largest).clamp(1, PAGE_ROWS).min(rows_max * 4);
            for row in &page {
                let said = match rows.get(&row.id) {
                    Some(found) => self.put_row(row, found)?,
                    None => Some("PostgreSQL's key is none that the file could have".to_owned()),
                };
                match said {
                    None if row.kind == Kind::Lost => done.put_back += 1,
                    None => done.overwritten += 1,
                    Some(said) if self.on_conflict == OnConflict::File => {
                        self.case.spool.redirect(row.id, Action::Keep, &said)?;
                    }
                    Some(said) => {
                        self.case.spool.redirect(row.id, Action::Conflict, &said)?;
                        if in_the_way.len() < LISTED_MAX {
                            let table = &self.mapping().table.name;
                            in_the_way.push(format!("table {table}, row {}: {said}", row.key));
                        }
                    }
                }
            }
        }
    }

    /// PostgreSQL's rows, by their numbers in the spool.
    async fn fetch(
        &self,
        client: &Client,
        finder: &Finder,
        page: &[Spooled],
    ) -> Result<HashMap<i64, FoundRow>, Error> {
        let named: Vec<(i64, KeyImage)> =
            page.iter().filter_map(|row| Some((row.id, image(self.mapping(), row)?))).collect();
        let images: Vec<&KeyImage> = named.iter().map(|(_, image)| image).collect();
        let found = finder.rows(client, self.mapping(), &images).await?;
        let by_key: HashMap<&KeyImage, i64> = named.iter().map(|(id, key)| (key, *id)).collect();
        let rows = found.rows.into_iter();
        Ok(rows.filter_map(|row| Some((*by_key.get(&row.key)?, row))).collect())
    }

    /// Puts one row into the file; says what is in its way.
    fn put_row(&self, row: &Spooled, found: &FoundRow) -> Result<Option<String>, Error> {
        let mapping = self.mapping();
        let mut home = Vec::with_capacity(mapping.columns.len());
        for (column, field) in mapping.columns.iter().zip(&found.fields) {
            match column.pg.decode(column.affinity, field.as_deref()) {
                Some(value) => home.push(value),
                None => {
                    let name = mapping.source_name(column);
                    let said = format!("{name}: PostgreSQL's value has no form in the file");
                    return Ok(Some(said));
                }
            }
        }
        let displaces = self.on_conflict == OnConflict::Postgresql;
        let said = match self.locked.put(mapping, &home, displaces)? {
            Put::Done => return Ok(None),
            Put::Collides(said) | Put::Refused(said) => said,
        };
        // What had to give way for it is still in the backup and in the account.
        tracing::warn!(table = %mapping.table.name, key = %row.key, %said, "not put back");
        Ok(Some(said))
    }
}

fn size(row: &FoundRow) -> usize {
    row.fields.iter().flatten().map(Vec::len).sum()
}

/// What names a row on the target.
fn image(mapping: &Mapping, row: &Spooled) -> Option<KeyImage> {
    let key = key_of(row)?;
    encode_key(mapping, |at| key[at].storage()).ok()
}

/// Keeps what PostgreSQL is about to lose: rows that follow the file, and tables that it does not
/// have or that are going to be made anew.
async fn keep(
    config: &Config,
    case: &Case,
    client: &Client,
    incident: i64,
    done: &mut Done,
) -> Result<(), Error> {
    let schema = &config.target_schema;
    let whole = case.known.iter().filter(|known| {
        case.other_shape.contains(&known.name)
            || case.missing.iter().any(|(missing, _)| missing.name == known.name)
    });
    for known in whole {
        archive::keep_all(client, schema, &known.name, &known.target, incident).await?;
    }
    for (table, mapping) in case.plan.mappings.iter().enumerate() {
        done.kept += case.spool.counts(table)?.differing();
        if case.other_shape.contains(&mapping.table.name) {
            continue;
        }
        let target = mapping.qualified(schema);
        let mut after = 0;
        loop {
            let page = case.spool.page(table, Action::Keep, after, PAGE_ROWS)?;
            let Some(last) = page.last() else { break };
            after = last.id;
            let rows = page.iter().filter(|row| row.kind != Kind::Gained);
            let images: Vec<KeyImage> = rows.filter_map(|row| image(mapping, row)).collect();
            let images: Vec<&KeyImage> = images.iter().collect();
            let doing = "keep rows in the archive";
            client.batch_execute("begin").await.map_err(target::Error::query(doing))?;
            archive::keep(client, &target, mapping, Some(incident), &images).await?;
            client.batch_execute("commit").await.map_err(target::Error::query(doing))?;
        }
    }
    done.archived = archive::count(client, incident).await?;
    done.kept -= done.put_back + done.overwritten + done.removed;
    Ok(())
}

/// Names the rows that PostgreSQL is to take from the file.
fn touch_kept(case: &Case, locked: &Locked) -> Result<(), Error> {
    for (table, mapping) in case.plan.mappings.iter().enumerate() {
        each(case, table, Action::Keep, |row| {
            if let Some(key) = key_of(&row) {
                locked.touch(mapping.id, &key)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}
