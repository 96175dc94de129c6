//! Bring both sides to where copying and streaming can begin, or find out why not.
//!
//! The order matters. Nothing is written to the source before it is known that the target is
//! free; the triggers are in place before the first position is written; that position is the
//! head at that moment, so every row copied later is at least as new. Each step is safe to repeat
//! after a crash at any point.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use tokio_postgres::Client;

use super::blueprint::{ADOPTED, Blueprint, LOSSY};
use super::{Error, Run, decide};
use crate::change::{Anchor, Lineage, Place, TableId};
use crate::mapping::{From, MappedColumn, Mapping};
use crate::source::changelog::Plan;
use crate::source::{self, Broken, Source, Survey, triggers};
use crate::table::{Ident, Table};
use crate::target::alter::{self, Change, Step};
use crate::target::attend::Attendant;
use crate::target::build::{How, Work};
use crate::target::ddl::{Ddl, Note};
use crate::target::ledger::{self, KnownTable, SourceState, Stored};
use crate::target::unseen::Marked;
use crate::target::{self, build, connect, decisions, home, rebuilt};

/// What the rest of a session works with.
pub(crate) struct Session {
    /// The connection that applies; it holds the courtesy lock.
    pub client: Client,
    /// Knows whether its line is alive.
    pub attendant: Attendant,
    /// The mappings in force.
    pub plan: Arc<Plan>,
    /// The tables that the target cannot take.
    pub stopped: Vec<String>,
    /// The SQL that builds each table's key, by the table's number.
    pub keys: HashMap<TableId, String>,
    /// Whose history is being replayed.
    pub lineage: Lineage,
    /// Our claim.
    pub epoch: i64,
    /// What the target said last.
    pub stored: Stored,
    /// Tables that the source does not have any more; their targets go if they do not come back.
    pub gone: Vec<KnownTable>,
}

impl Session {
    /// What the target held when the session began.
    pub fn place(&self) -> Place {
        Place { lineage: self.lineage.clone(), anchor: self.stored.standing.applied }
    }
}

/// Connects, proves, installs, creates, claims.
pub(crate) async fn prepare(run: &mut Run) -> Result<Session, Error> {
    let (client, _) =
        connect::connect(&run.config.target, "lite2pg apply").await.map_err(target::Error::from)?;
    let attendant = Attendant::of(&client, &run.config.target).await?;
    let (stored, known) = attendant.attend(look_at_target(run, &client)).await?;
    run.former = Some(attendant.clone());
    let stored = match stored {
        Some(stored) => Some(decide::go_on(&run.source, &client, stored).await?),
        None => None,
    };
    let place = stored.as_ref().map(Stored::place);
    if let Some(stored) = &stored {
        home::check(&client, stored).await?;
    }
    if let Some(place) = place.clone() {
        run.tell.stands_at(&place);
        run.source.run(move |source| source.prove(&place)).await?;
    }
    check_pairing(run, stored.as_ref()).await?;
    if let Some(stored) = &stored {
        stored.expect_schema(&run.config.target_schema)?;
    }
    let survey = run.source.run(Source::survey).await?;
    if survey.catalog.tables.is_empty() {
        return Err(Error::NothingToDo);
    }
    let blueprint = Blueprint::draw(&run.source, &client, &run.config, survey, &known).await?;
    if stored.is_none() {
        let findings: Vec<_> = blueprint.stops().into_iter().cloned().collect();
        if !findings.is_empty() {
            return Err(Error::NotAdoptable { findings });
        }
        report_notes(&blueprint.ddl);
    } else {
        report_losses(&blueprint.ddl);
    }
    check_free(run, &client, &blueprint.ddl, &known).await?;
    // Here ends what only looks. Everything that could be found out before writing is known.
    let (installed, anchor, now) = install(run, &blueprint.survey, place).await?;
    attendant.attend(ledger::migrate(&client)).await?;
    let begun = BeginWith { known, stored: stored.as_ref(), installed: &installed, now: &now };
    let made = create(run, &client, &blueprint, begun, anchor);
    let (plan, gone) = attendant.attend(made).await?;
    let plan = Arc::new(plan);
    let (epoch, stored) = attendant.attend(take(run, &client, stored.as_ref(), &now)).await?;
    run.tell.stands_at(&stored.place());
    let keys = key_statements(&plan, &blueprint.ddl);
    let lineage = installed.lineage;
    let stopped = blueprint.survey.catalog.tables.iter();
    let stopped = stopped.filter(|table| blueprint.stopped(table).is_some());
    let stopped = stopped.map(|table| table.name.clone()).collect();
    Ok(Session { client, attendant, plan, stopped, keys, lineage, epoch, stored, gone })
}

/// Fails if the file remembers that it feeds another target.
async fn check_pairing(run: &Run, stored: Option<&Stored>) -> Result<(), Error> {
    let remembered = run.source.run(Source::remembered_target).await?;
    let is_other = remembered
        .is_some_and(|remembered| stored.is_none_or(|stored| stored.pairing != remembered));
    if is_other { Err(target::Error::OtherTarget.into()) } else { Ok(()) }
}

/// Claims the target, clears the way for replay, and reads where the target stands under that
/// claim.
async fn take(
    run: &mut Run,
    client: &Client,
    stored: Option<&Stored>,
    now: &SourceState,
) -> Result<(i64, Stored), Error> {
    let epoch = claim(run, client, stored).await?;
    build::keep_out_of_the_way(client, &run.config.target_schema).await?;
    let stored = ledger::position(client).await?.ok_or_else(|| gone("the position row is gone"))?;
    ledger::note_source(client, epoch, now).await?;
    home::settle(client).await?;
    let pairing = stored.pairing.clone();
    run.source.run(move |source| source.remember_target(Some(&pairing))).await?;
    if 0 < decisions::close_stops(client, "the right file is back", "lite2pg").await? {
        tracing::info!("the file is the one that the target was fed from again; going on");
    }
    Ok((epoch, stored))
}

fn gone(what: &str) -> target::Error {
    target::Error::Position { what: what.to_owned() }
}

/// Makes sure that nobody else is at work, and reads what the target says of itself.
async fn look_at_target(
    run: &Run,
    client: &Client,
) -> Result<(Option<Stored>, Vec<KnownTable>), Error> {
    if let Some(former) = &run.former {
        // The server may not have noticed yet that our last session is over.
        former.end(client).await?;
    }
    // A run that was taken over is told so at once, not after waiting for the other.
    look(run, client).await?;
    ledger::be_alone(client).await?;
    // Whoever was at work until now may have moved it.
    let (stored, known) = look(run, client).await?;
    if let Some(stored) = &stored {
        let known: Vec<_> = known.iter().filter(|known| !known.is_stopped()).collect();
        build::check_there(client, &stored.target_schema, &known).await?;
    }
    Ok((stored, known))
}

/// What the target says of itself. Only looks; fails if what it says cannot be relied on.
async fn look(run: &Run, client: &Client) -> Result<(Option<Stored>, Vec<KnownTable>), Error> {
    if !ledger::exists(client).await? {
        if run.epoch.is_some() {
            return Err(gone("the schema lite2pg is gone").into());
        }
        return Ok((None, Vec::new()));
    }
    // An older sidecar cannot be at work meanwhile without losing its claim; what is added does not
    // concern it.
    ledger::migrate(client).await?;
    ledger::check(client).await?;
    let (stored, known) = (ledger::position(client).await?, ledger::tables(client).await?);
    // The first position and the tables commit together, so one without the other was made by
    // somebody else. Beginning anew at the head would skip all that was written meanwhile.
    if stored.is_none() && (run.epoch.is_some() || !known.is_empty()) {
        return Err(gone("the position row is gone").into());
    }
    if let (Some(mine), Some(stored)) = (run.epoch, &stored)
        && mine < stored.epoch
    {
        return Err(target::Error::TakenOver.into());
    }
    Ok((stored, known))
}

/// Makes this run the one that may write. A target that was put back to an older state holds an
/// epoch below ours; whoever held that one may still live, so ours rises above both.
async fn claim(run: &mut Run, client: &Client, stored: Option<&Stored>) -> Result<i64, Error> {
    let epoch = match (run.epoch, stored) {
        (Some(mine), Some(stored)) if stored.epoch == mine => mine,
        (None, _) | (Some(_), None) => ledger::claim(client, 0).await?,
        (Some(mine), Some(stored)) => {
            let position = stored.standing.applied.position;
            let message = "the target was put back to an older state; replay goes on from there";
            tracing::warn!(%position, "{message}");
            ledger::incident(client, "target_put_back", Some(position), message).await?;
            ledger::claim(client, mine).await?
        }
    };
    run.epoch = Some(epoch);
    Ok(epoch)
}

/// What stays behind in any case, whatever the schema says, is told of without raising the voice.
fn report_notes(ddl: &Ddl) {
    for Note { object, what, kind, reason } in &ddl.notes {
        let kind = kind.as_str();
        if matches!(*what, "trigger" | "shadow table" | "ignored table" | ADOPTED) {
            tracing::info!(%object, %what, kind, %reason, "not as on the source");
        } else {
            tracing::warn!(%object, %what, kind, %reason, "not as on the source");
        }
    }
}

/// What was chosen to be lost is told of at every start.
fn report_losses(ddl: &Ddl) {
    for Note { object, reason, .. } in ddl.notes.iter().filter(|note| note.what == LOSSY) {
        tracing::warn!(%object, %reason, "values may not come back as they were");
    }
}

/// No table that we are about to make may be there already, unless we made it; and we must be
/// allowed to do all that is to be done.
async fn check_free(
    run: &Run,
    client: &Client,
    ddl: &Ddl,
    known: &[KnownTable],
) -> Result<(), Error> {
    let ours: Vec<&str> = known
        .iter()
        .filter(|known| !known.is_adopted && !known.is_stopped())
        .map(|known| known.target.as_str())
        .collect();
    let names: Vec<String> = ddl
        .tables
        .iter()
        .map(|table| table.name.clone())
        .filter(|name| !ours.contains(&name.as_str()))
        .collect();
    build::check_free(client, &run.config.target_schema, &names).await?;
    Ok(build::check_privileges(client, &run.config.target_schema, !names.is_empty()).await?)
}

/// Installs triggers, then makes sure that the schema is still the one that was surveyed.
async fn install(
    run: &Run,
    survey: &Survey,
    place: Option<Place>,
) -> Result<(triggers::Installed, Anchor, SourceState), Error> {
    let wanted = survey.catalog.clone();
    let done = run
        .source
        .run(move |source| {
            let installed = triggers::install(source, &wanted, place.as_ref())?;
            let survey = source.survey()?;
            if survey.catalog.tables != wanted.tables || survey.catalog.views != wanted.views {
                return Err(source::Error::SchemaChanged);
            }
            source.accept_schema(survey.schema_version);
            let head = source.head()?.ok_or(Broken::ChangelogGone)?;
            let now = SourceState {
                schema_version: Some(survey.schema_version),
                file: Some(source.file_id()),
            };
            Ok((installed, head, now))
        })
        .await?;
    if !done.0.left_out.is_empty() {
        let tables = done.0.left_out.join(", ");
        tracing::warn!(%tables, captured = survey.catalog.tables.len(),
            "left out from now on; their triggers are taken out");
    }
    if done.0.is_first {
        let tables = done.0.tables.len();
        tracing::info!(lineage = %done.0.lineage, tables, "triggers installed");
    }
    Ok(done)
}

struct BeginWith<'a> {
    known: Vec<KnownTable>,
    stored: Option<&'a Stored>,
    installed: &'a triggers::Installed,
    now: &'a SourceState,
}

/// Makes the target tables that are not there, makes anew those whose source changed shape, and
/// marks those that may have been written unseen. Returns the mappings in force, and the tables
/// that are gone from the source but not yet from the target.
async fn create(
    run: &Run,
    client: &Client,
    blueprint: &Blueprint,
    begun: BeginWith<'_>,
    head: Anchor,
) -> Result<(Plan, Vec<KnownTable>), Error> {
    let mut mappings = Vec::new();
    let (mut wanted, mut altered, mut marked) = (Vec::new(), Vec::new(), Vec::new());
    let survey = &blueprint.survey;
    let rowids_may_have_moved = begun.stored.is_some_and(|stored| stored.source != *begun.now);
    for table in &survey.catalog.tables {
        let id = begun.installed.tables[&table.name];
        if let Some(reason) = blueprint.stopped(table) {
            stop(client, &begun, id, table, &reason).await?;
        }
        let Some(mapping) = blueprint.mapping(table, id) else { continue };
        let shape = build::shape(&mapping);
        let known = begun.known.iter().find(|known| known.name == table.name);
        let change = match known {
            None => Change::None,
            Some(known) => {
                let change = change_of(known, &mapping, &shape, blueprint, rowids_may_have_moved);
                let change = guess(run, client, &mapping, change).await?;
                spare_views(client, &run.config.target_schema, known, change).await?
            }
        };
        let again = match &change {
            Change::Again(reason) => Some(*reason),
            Change::None | Change::Alter(_) => None,
        };
        if let (Some(reason), Some(stored)) = (again, begun.stored) {
            tracing::warn!(table = %table.name, reason, "the table is copied again");
            let message = format!("{}: {reason}; the table is copied again", table.name);
            let applied = stored.standing.applied.position;
            ledger::incident(client, "table_again", Some(applied), &message).await?;
        }
        if known.is_none() || again.is_some() {
            let how = match blueprint.adoption.as_ref().and_then(|one| one.of(&table.name)) {
                Some(adopted) => How::Adopt { replaces_rows: adopted.replaces_rows },
                None => How::Make(blueprint.made(table).expect("what is mapped is made")),
            };
            wanted.push((mappings.len(), how, shape, again.and(known)));
        } else if let Some(known) = known {
            // The number changes with the triggers.
            if known.id != id {
                marked.push(Marked { was: known.id, id, name: known.name.clone() });
            }
            let steps = if let Change::Alter(steps) = change { steps } else { Vec::new() };
            if known.columns != shape {
                altered.push((mappings.len(), shape, steps));
            }
        }
        mappings.push(mapping);
    }
    let (mut gone, mut later) = (Vec::new(), Vec::new());
    let (dropped, left_out) = without_mapping(&begun.known, &mappings, blueprint);
    for known in left_out.into_iter().filter(|known| known.is_dirty()) {
        // Nothing of it is replayed. Should it be captured again, it will have another number.
        ledger::set_state(client, known.id, "streaming").await?;
    }
    for known in dropped {
        let has_its_target = |mapping: &Mapping| mapping.target == known.target;
        let schema = &run.config.target_schema;
        let is_in_the_way = known.is_copying()
            || mappings.iter().any(has_its_target)
            || build::is_in_the_way(client, schema, known, &blueprint.ddl).await?;
        if is_in_the_way { gone.push(known) } else { later.push(known) }
    }
    let altered = altered.into_iter().map(|(index, shape, steps)| build::Altered {
        mapping: &mappings[index],
        shape,
        steps,
    });
    let wanted = wanted.into_iter().map(|(index, how, shape, again)| build::Wanted {
        how,
        mapping: &mappings[index],
        shape,
        again,
    });
    let lineage = &begun.installed.lineage;
    let first = begun.stored.is_none().then_some((lineage, head));
    // Also where no table is wanted: an index may have come or gone, a type may have been widened.
    let schema = &run.config.target_schema;
    let ddl = &blueprint.ddl;
    let (wanted, altered) = (wanted.collect(), altered.collect());
    let applied = begun.stored.map(|stored| stored.standing.applied.position);
    let marked = (marked, applied.unwrap_or_default());
    let gone_later = later.iter().map(|known| (*known).clone()).collect();
    let work = Work { wanted, marked, altered, gone, later, ddl, first };
    build::create_tables(client, schema, &work).await?;
    Ok((Plan::new(mappings, &begun.installed.numbers), gone_later))
}

/// A table that cannot be filled stops by itself, with the reason; the others go on.
async fn stop(
    client: &Client,
    begun: &BeginWith<'_>,
    id: TableId,
    table: &Table,
    reason: &str,
) -> Result<(), Error> {
    if ledger::stop_table(client, id, &table.name, reason).await? {
        tracing::error!(table = %table.name, reason, "stopped: the target cannot take its rows");
        let message = format!("{}: stopped, the target cannot take its rows: {reason}", table.name);
        let applied = begun.stored.map(|stored| stored.standing.applied.position);
        ledger::incident(client, "table_stopped", applied, &message).await?;
    }
    Ok(())
}

/// The known tables that are no more, and those that are there but are not replicated any more,
/// which keep their targets.
fn without_mapping<'a>(
    known: &'a [KnownTable],
    mappings: &[Mapping],
    blueprint: &Blueprint,
) -> (Vec<&'a KnownTable>, Vec<&'a KnownTable>) {
    let survey = &blueprint.survey;
    let without_mapping =
        known.iter().filter(|known| mappings.iter().all(|one| one.table.name != known.name));
    let (gone, mut still_there): (Vec<_>, Vec<_>) = without_mapping.partition(|known| {
        let is_skipped = survey.catalog.skipped.iter().any(|skipped| skipped.name == known.name);
        let is_there = survey.catalog.tables.iter().any(|table| table.name == known.name);
        !is_skipped && !is_there
    });
    let is_stopped = |known: &KnownTable| {
        let table = survey.catalog.tables.iter().find(|table| table.name == known.name);
        table.is_some_and(|table| blueprint.stopped(table).is_some())
    };
    still_there.retain(|known| !is_stopped(known));
    for known in &still_there {
        tracing::warn!(table = %known.name,
            "cannot be replicated any more; its target is left as it is");
    }
    (gone, still_there)
}

/// What has to be done for the target of a known table to be what it should.
fn change_of(
    known: &KnownTable,
    mapping: &Mapping,
    shape: &Value,
    blueprint: &Blueprint,
    rowids_may_have_moved: bool,
) -> Change {
    if known.is_stopped() {
        return Change::Again("what had stopped it is gone");
    }
    if build::is_outgrown(&known.columns) {
        return Change::Again(
            "an untyped column got values that its type on the target does not hold",
        );
    }
    let is_unseen = known.id != mapping.id;
    if is_unseen && known.is_copying() {
        return Change::Again("its triggers were missing or out of date while it was copied");
    }
    if mapping.table.key == crate::table::Key::HiddenRowid && rowids_may_have_moved {
        return Change::Again("it has no key, and VACUUM or a reload may have renumbered its rows");
    }
    let made = match blueprint.made(&mapping.table) {
        Some(made) if !known.is_adopted => made,
        _ if alter::is_alike(&known.columns, shape) => return Change::None,
        _ => return Change::Again("its columns changed"),
    };
    match is_unseen {
        true => rebuilt::compare(&known.columns, shape, mapping, made),
        false => alter::compare(&known.columns, shape, mapping, made),
    }
}

/// Rows at either end of a table by which a new column is guessed.
const GUESS_ROWS: usize = 50;

/// Guesses what new columns of a rebuilt table hold: what most of some rows of the source do. A
/// migration gives all rows the same, as a rule.
async fn guess(
    run: &Run,
    client: &Client,
    mapping: &Mapping,
    mut change: Change,
) -> Result<Change, Error> {
    let Change::Alter(steps) = &mut change else { return Ok(change) };
    for step in steps {
        let Step::Guess { column, value, .. } = step else { continue };
        let mapped = mapping.columns.iter().find(|mapped| mapped.target == *column);
        let Some(MappedColumn { from: From::Column(at), pg, affinity, .. }) = mapped else {
            continue;
        };
        let (table, at) = (mapping.table.clone(), *at);
        let (codec, affinity) = (pg.clone(), *affinity);
        let counts = run
            .source
            .run(move |source| {
                let mut counts: HashMap<Vec<u8>, usize> = HashMap::new();
                source.look_at(&table, GUESS_ROWS, &mut |position, value| {
                    let mut field = Vec::new();
                    if position == at && codec.encode(affinity, value, &mut field).is_ok() {
                        *counts.entry(field).or_default() += 1;
                    }
                })?;
                Ok::<_, source::Error>(counts)
            })
            .await?;
        let most = counts.into_iter().max_by_key(|(field, count)| (*count, Reverse(field.clone())));
        if let Some((field, _)) = most {
            *value = rebuilt::literal(client, pg, &field).await?;
        }
    }
    Ok(change)
}

/// A column that somebody's view needs is not dropped from under it without a word: making the
/// table anew tells which views went.
async fn spare_views(
    client: &Client,
    target_schema: &str,
    known: &KnownTable,
    change: Change,
) -> Result<Change, Error> {
    let Change::Alter(steps) = &change else { return Ok(change) };
    let target = format!("{}.{}", Ident::new(target_schema), Ident::new(&known.target));
    let views = alter::in_the_way(client, &target, steps).await?;
    Ok(if views.is_empty() { change } else { Change::Again("views stand on a column that went") })
}

fn key_statements(plan: &Plan, ddl: &Ddl) -> HashMap<TableId, String> {
    plan.mappings
        .iter()
        .filter_map(|mapping| {
            let made = ddl.tables.iter().find(|made| made.source == mapping.table.name)?;
            Some((mapping.id, made.key.sql.clone()))
        })
        .collect()
}
