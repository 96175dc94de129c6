//! Bring both sides to where copying and streaming can begin, or find out why not.
//!
//! The order matters. Nothing is written to the source before it is known that the target is
//! free; the triggers are in place before the first position is written; that position is the
//! head at that moment, so every row copied later is at least as new. Each step is safe to repeat
//! after a crash at any point.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use tokio_postgres::Client;

use super::{Config, Error, Run};
use crate::change::{Anchor, Lineage, Place, TableId};
use crate::mapping::Mapping;
use crate::overrides::{self, Choice, Overrides};
use crate::source::changelog::Plan;
use crate::source::copy::SAMPLE_ROWS;
use crate::source::thread::SourceThread;
use crate::source::{self, Broken, Source, Survey, triggers};
use crate::table::Table;
use crate::target::attend::Attendant;
use crate::target::ddl::{Ddl, Note, NoteKind, Request, TableDdl};
use crate::target::ledger::{self, KnownTable, SourceState, Stored};
use crate::target::{self, build, catalog, connect};
use crate::value::codec::form::Form;
use crate::value::codec::infer::Inference;
use crate::value::codec::policy::Policies;
use crate::value::{ColumnType, PgType, Seen};

/// What the rest of a session works with.
pub(crate) struct Session {
    /// The connection that applies; it holds the courtesy lock.
    pub client: Client,
    /// Knows whether its line is alive.
    pub attendant: Attendant,
    /// The mappings in force.
    pub plan: Arc<Plan>,
    /// The SQL that builds each table's key, by the table's number.
    pub keys: HashMap<TableId, String>,
    /// Whose history is being replayed.
    pub lineage: Lineage,
    /// Our claim.
    pub epoch: i64,
    /// What the target said last.
    pub stored: Stored,
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
    let place = stored.as_ref().map(Stored::place);
    if let Some(place) = place.clone() {
        run.source.run(move |source| source.prove(&place)).await?;
    }
    if let Some(stored) = &stored {
        stored.expect_schema(&run.config.target_schema)?;
    }
    let survey = run.source.run(Source::survey).await?;
    if survey.catalog.tables.is_empty() {
        return Err(Error::NothingToDo);
    }
    let overrides = resolve(&client, &run.config).await?;
    let types = choose_types(&run.source, &survey, &known, &overrides).await?;
    let ddl = plan_ddl(&run.config.target_schema, &survey, &types);
    if stored.is_none() {
        report_notes(&ddl);
    } else {
        report_losses(&ddl);
    }
    check_free(run, &client, &ddl, &known).await?;
    // Here ends what only looks. Everything that could be found out before writing is known.
    let (installed, anchor, now) = install(run, &survey, place).await?;
    attendant.attend(ledger::migrate(&client)).await?;
    let begun = BeginWith { known, stored: stored.as_ref(), installed: &installed, now: &now };
    let made = create(run, &client, &survey, &ddl, begun, anchor);
    let plan = Arc::new(attendant.attend(made).await?);
    let (epoch, stored) = attendant.attend(take(run, &client, stored.as_ref(), &now)).await?;
    let keys = key_statements(&plan, &ddl);
    let lineage = installed.lineage;
    Ok(Session { client, attendant, plan, keys, lineage, epoch, stored })
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
    Ok((epoch, stored))
}

fn gone(what: &str) -> target::Error {
    target::Error::Position { what: what.to_owned() }
}

/// The mappings that a run which is in step works with; `source` may read by them. Writes nothing.
pub(crate) async fn plan_in_force(
    source: &SourceThread,
    client: &Client,
    config: &Config,
) -> Result<Plan, Error> {
    let survey = source
        .run(|source| {
            let survey = source.survey()?;
            source.accept_schema(survey.schema_version);
            Ok::<_, source::Error>(survey)
        })
        .await?;
    let known = ledger::tables(client).await?;
    let overrides = resolve(client, config).await?;
    let types = choose_types(source, &survey, &known, &overrides).await?;
    let ddl = plan_ddl(&config.target_schema, &survey, &types);
    let mappings = survey.catalog.tables.iter().filter_map(|table| {
        let made = ddl.tables.iter().find(|made| made.source == table.name)?;
        let known = known.iter().find(|known| known.name == table.name)?;
        Some(map(known.id, table, made))
    });
    Ok(Plan::new(mappings.collect()))
}

/// The DDL that a first run would carry out. Reads the source only.
///
/// Types that only the target's catalog knows are taken on trust.
pub fn ddl_of(
    source: &mut Source,
    target_schema: &str,
    overrides: &Overrides,
) -> Result<Ddl, Error> {
    let survey = source.survey()?;
    overrides.check_names(&survey.catalog.tables)?;
    let mut types = Types::new();
    for table in &survey.catalog.tables {
        let found = sample(source, table, overrides)?;
        for (index, found) in found.into_iter().enumerate() {
            let pg = decide(table, index, found, None, overrides)?;
            types.insert((table.name.clone(), index), pg);
        }
    }
    Ok(plan_ddl(target_schema, &survey, &types))
}

/// The type of every column, by its table's name and its position.
type Types = HashMap<(String, usize), ColumnType>;

/// What a sample of a column's values says.
#[derive(Default)]
struct Found {
    seen: Seen,
    /// Where a type is set and no form.
    inference: Option<Inference>,
}

/// What the columns of a table hold. Nobody asks of a table too wide for PostgreSQL, and SQLite
/// could not select all its columns and the rowid at once.
fn sample(
    source: &mut Source,
    table: &Table,
    overrides: &Overrides,
) -> Result<Vec<Found>, source::Error> {
    let mut found: Vec<Found> = (0..table.columns.len())
        .map(|position| {
            let choice = overrides.choice(table, position).filter(|choice| choice.form.is_none());
            Found { seen: Seen::default(), inference: choice.map(Choice::inference) }
        })
        .collect();
    if table.columns.len() <= target::ddl::COLUMNS_MAX {
        source.look_at(table, SAMPLE_ROWS, &mut |position, value| {
            let Found { seen, inference } = &mut found[position];
            match inference {
                Some(inference) => inference.note(value),
                None => seen.note(value),
            }
        })?;
    }
    Ok(found)
}

/// A column's type, from what was set, stored and found.
fn decide(
    table: &Table,
    position: usize,
    found: Found,
    stored: Option<StoredType>,
    overrides: &Overrides,
) -> Result<ColumnType, overrides::Error> {
    let column = &table.columns[position];
    if let Some(choice) = overrides.choice(table, position) {
        let kept = stored.and_then(|stored| stored.form_for(choice));
        let inferred = found.inference.and_then(|inference| inference.best());
        let form = kept.or(inferred.map(|inferred| inferred.form));
        return Ok(ColumnType::Set(choice.codec(table, position, form)?));
    }
    Ok(ColumnType::Chosen(match stored {
        Some(StoredType::Chosen(pg)) => pg,
        _ if table.rowid_alias == Some(position) => PgType::Int8,
        _ => found.seen.choose(&column.declared, column.affinity),
    }))
}

/// What a known table was made with.
#[derive(Clone)]
enum StoredType {
    Chosen(PgType),
    Set { name: String, form: Form, policies: Policies },
}

impl StoredType {
    /// The form that was found when the table was made, if the same was asked for then.
    fn form_for(&self, choice: &Choice) -> Option<Form> {
        match self {
            Self::Set { name, form, policies }
                if *name == choice.target.name && *policies == choice.policies =>
            {
                Some(form.clone())
            }
            _ => None,
        }
    }

    fn is_for(&self, choice: Option<&Choice>) -> bool {
        match (self, choice) {
            (Self::Chosen(_), None) => true,
            (stored, Some(choice)) => choice.form.is_some() || stored.form_for(choice).is_some(),
            (Self::Set { .. }, None) => false,
        }
    }
}

/// Asks the target for the types that are not built in. One that it does not have is left as it
/// was written, and [`check_types`] names the column.
async fn resolve(client: &Client, config: &Config) -> Result<Overrides, Error> {
    let overrides = &config.overrides;
    let names = overrides.foreign_types();
    if names.is_empty() {
        return Ok((**overrides).clone());
    }
    Ok(overrides.resolved(&catalog::types(client, &config.target_schema, &names).await?))
}

/// Every type that is set must be there.
fn check_types(table: &Table, position: usize, choice: &Choice) -> Result<(), overrides::Error> {
    if choice.target.oid != 0 {
        return Ok(());
    }
    Err(overrides::Error::UnknownType {
        table: table.name.clone(),
        column: table.columns[position].name.clone(),
        name: choice.target.name.clone(),
    })
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

/// The type of every column: as set, as stored for tables that are known, by a sample for the
/// others.
async fn choose_types(
    source: &SourceThread,
    survey: &Survey,
    known: &[KnownTable],
    overrides: &Overrides,
) -> Result<Types, Error> {
    overrides.check_names(&survey.catalog.tables)?;
    let shared = Arc::new(overrides.clone());
    let mut types = Types::new();
    for table in &survey.catalog.tables {
        let stored = known.iter().find(|known| known.name == table.name);
        let mut stored = stored.map_or_else(HashMap::new, |known| stored_types(known, table));
        let is_known = table.columns.iter().enumerate().all(|(position, column)| {
            let choice = overrides.choice(table, position);
            let is_alias = table.rowid_alias == Some(position) && choice.is_none();
            is_alias || stored.get(&column.name).is_some_and(|stored| stored.is_for(choice))
        });
        let found = if is_known {
            table.columns.iter().map(|_| Found::default()).collect()
        } else {
            let (table, overrides) = (table.clone(), shared.clone());
            source.run(move |source| sample(source, &table, &overrides)).await?
        };
        for (position, found) in found.into_iter().enumerate() {
            if let Some(choice) = overrides.choice(table, position) {
                check_types(table, position, choice)?;
            }
            let stored = stored.remove(&table.columns[position].name);
            let pg = decide(table, position, found, stored, overrides)?;
            types.insert((table.name.clone(), position), pg);
        }
    }
    Ok(types)
}

/// The types that a known table was made with, by column name. A column that is declared otherwise
/// now is looked at anew.
fn stored_types(known: &KnownTable, table: &Table) -> HashMap<String, StoredType> {
    let Some(columns) = known.columns["columns"].as_array() else { return HashMap::new() };
    let declared: HashMap<&str, &str> = known.columns["declared"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|column| Some((column[0].as_str()?, column[1].as_str()?)))
        .collect();
    let is_the_same = |name: &str| {
        table
            .columns
            .iter()
            .any(|now| now.name == name && declared.get(name) == Some(&now.declared.as_str()))
    };
    columns
        .iter()
        .filter_map(|column| {
            let name = column["from"].as_str().filter(|name| is_the_same(name))?;
            Some((name.to_owned(), stored_type(column)?))
        })
        .collect()
}

/// One column as [`build::shape`] writes it.
fn stored_type(column: &Value) -> Option<StoredType> {
    let Some(name) = column["type"].as_str() else {
        return serde_json::from_value(column["pg"].clone()).ok().map(StoredType::Chosen);
    };
    let form = serde_json::from_value(column["form"].clone()).ok()?;
    let policies = serde_json::from_value(column["policies"].clone()).ok()?;
    Some(StoredType::Set { name: name.to_owned(), form, policies })
}

/// What the kind of a [`Note`] is called that tells of a lossy type.
const LOSSY: &str = "type";

/// The losses that were chosen by name; every verdict tells of them.
fn losses(survey: &Survey, types: &Types) -> Vec<Note> {
    let mut notes = Vec::new();
    for table in &survey.catalog.tables {
        for (position, column) in table.columns.iter().enumerate() {
            let pg = &types[&(table.name.clone(), position)];
            let lost = pg.set().map(|codec| codec.losses()).unwrap_or_default();
            notes.extend(lost.iter().map(|loss| Note {
                object: format!("{}.{}", table.name, column.name),
                what: LOSSY,
                kind: NoteKind::Differs,
                reason: format!("{}: {loss}", pg.sql()),
            }));
        }
    }
    notes
}

fn plan_ddl(target_schema: &str, survey: &Survey, types: &Types) -> Ddl {
    let catalog = &survey.catalog;
    let mut ddl = target::ddl::plan(&Request {
        schema: target_schema,
        tables: &catalog.tables,
        views: &catalog.views,
        utf8: catalog.encoding == "UTF-8",
        types: &|table: &Table, column| types[&(table.name.clone(), column)].clone(),
    });
    let left_out = |object: &str, what, reason: &str| Note {
        object: object.to_owned(),
        what,
        kind: NoteKind::LeftOut,
        reason: reason.to_owned(),
    };
    let skipped = catalog.skipped.iter();
    ddl.notes.splice(
        0..0,
        skipped.map(|skipped| left_out(&skipped.name, skipped.kind.as_str(), &skipped.reason)),
    );
    ddl.notes.extend(losses(survey, types));
    ddl.notes.extend(
        catalog
            .triggers
            .iter()
            .map(|trigger| left_out(&trigger.name, "trigger", &reason_for_trigger(&trigger.table))),
    );
    ddl
}

fn reason_for_trigger(table: &str) -> String {
    format!(
        "on {table}: it goes on working on the source, and its effects arrive as rows; write it \
         anew for PostgreSQL before the application moves there"
    )
}

/// What stays behind in any case, whatever the schema says, is told of without raising the voice.
fn report_notes(ddl: &Ddl) {
    for Note { object, what, kind, reason } in &ddl.notes {
        let kind = kind.as_str();
        if matches!(*what, "trigger" | "shadow table") {
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
/// allowed to make it.
async fn check_free(
    run: &Run,
    client: &Client,
    ddl: &Ddl,
    known: &[KnownTable],
) -> Result<(), Error> {
    let ours: Vec<&str> = known.iter().map(|known| known.target.as_str()).collect();
    let names: Vec<String> = ddl
        .tables
        .iter()
        .map(|table| table.name.clone())
        .filter(|name| !ours.contains(&name.as_str()))
        .collect();
    build::check_free(client, &run.config.target_schema, &names).await?;
    if !names.is_empty() {
        build::check_privileges(client, &run.config.target_schema).await?;
    }
    Ok(())
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

/// Makes the target tables that are not there, and makes anew those whose source changed shape or
/// may have been written unseen. Returns the mappings in force.
async fn create(
    run: &Run,
    client: &Client,
    survey: &Survey,
    ddl: &Ddl,
    begun: BeginWith<'_>,
    head: Anchor,
) -> Result<Plan, Error> {
    let mut mappings = Vec::new();
    let mut wanted = Vec::new();
    let rowids_may_have_moved = begun.stored.is_some_and(|stored| stored.source != *begun.now);
    for table in &survey.catalog.tables {
        let Some(made) = ddl.tables.iter().find(|made| made.source == table.name) else { continue };
        let id = begun.installed.tables[&table.name];
        let mapping = map(id, table, made);
        let shape = build::shape(&mapping);
        let known = begun.known.iter().find(|known| known.id == id);
        let again = known.and_then(|known| {
            reason_to_begin_again(known, &shape, table, begun.installed, rowids_may_have_moved)
        });
        if let (Some(reason), Some(stored)) = (again, begun.stored) {
            tracing::warn!(table = %table.name, reason, "the table is copied again");
            let message = format!("{}: {reason}; the table is copied again", table.name);
            let applied = stored.standing.applied.position;
            ledger::incident(client, "table_again", Some(applied), &message).await?;
        }
        if known.is_none() || again.is_some() {
            wanted.push((mappings.len(), made, shape, again.is_some()));
        }
        mappings.push(mapping);
    }
    let gone = dropped(&begun.known, &mappings, survey);
    let wanted: Vec<build::Wanted<'_>> = wanted
        .into_iter()
        .map(|(index, ddl, shape, is_again)| build::Wanted {
            ddl,
            mapping: &mappings[index],
            shape,
            is_again,
        })
        .collect();
    let lineage = &begun.installed.lineage;
    let first = begun.stored.is_none().then_some((lineage, head));
    // Also where no table is wanted: an index may have come or gone, a type may have been widened.
    let schema = &run.config.target_schema;
    build::create_tables(client, schema, &wanted, &gone, ddl, first).await?;
    Ok(Plan::new(mappings))
}

/// The known tables that are no more. One that is there but cannot be replicated any more keeps
/// its target.
fn dropped<'a>(
    known: &'a [KnownTable],
    mappings: &[Mapping],
    survey: &Survey,
) -> Vec<&'a KnownTable> {
    let without_mapping =
        known.iter().filter(|known| mappings.iter().all(|mapping| mapping.id != known.id));
    let (gone, still_there): (Vec<_>, Vec<_>) = without_mapping.partition(|known| {
        let is_skipped = survey.catalog.skipped.iter().any(|skipped| skipped.name == known.name);
        let is_there = survey.catalog.tables.iter().any(|table| table.name == known.name);
        !is_skipped && !is_there
    });
    for known in still_there {
        tracing::warn!(table = %known.name,
            "cannot be replicated any more; its target is left as it is");
    }
    gone
}

/// Why the target table of a known table cannot be kept, if it cannot.
fn reason_to_begin_again(
    known: &KnownTable,
    shape: &Value,
    table: &Table,
    installed: &triggers::Installed,
    rowids_may_have_moved: bool,
) -> Option<&'static str> {
    if build::is_outgrown(&known.columns) {
        return Some("an untyped column got values that its type on the target does not hold");
    }
    if known.columns != *shape {
        return Some("its columns changed");
    }
    if installed.renewed.contains(&table.name) && !installed.is_first {
        return Some("its triggers were missing or out of date, writes may have gone unseen");
    }
    if table.key == crate::table::Key::HiddenRowid && rowids_may_have_moved {
        return Some("it has no key, and VACUUM or a reload may have renumbered its rows");
    }
    None
}

fn map(id: TableId, table: &Table, made: &TableDdl) -> Mapping {
    let travelling = made
        .columns
        .iter()
        .filter(|column| !column.computed)
        .map(|column| (column.source, column.name.clone(), column.pg.clone()))
        .collect();
    Mapping::new(id, table.clone(), made.name.clone(), travelling)
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
