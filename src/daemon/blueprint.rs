//! What the target is to look like: the source as it is, the types of its columns, and the tables
//! that are made or adopted for it.
//!
//! Drawn anew at the beginning of every session, from the schemas of both sides, the configuration
//! and what the target was made with; drawing writes nothing. [`prepare`](super::prepare) carries
//! it out. The same three give the same blueprint, so a restart changes nothing.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use tokio_postgres::Client;

use super::{Config, Error};
use crate::adopt::{self, Adoption, Finding, Powers, Whose};
use crate::change::TableId;
use crate::mapping::Mapping;
use crate::overrides::{self, Choice, Mode, Overrides};
use crate::source::changelog::Plan;
use crate::source::copy::SAMPLE_ROWS;
use crate::source::thread::SourceThread;
use crate::source::{self, Source, Survey};
use crate::table::Table;
use crate::target::ddl::{Ddl, Note, NoteKind, Request, TableDdl};
use crate::target::ledger::{self, KnownTable};
use crate::target::{self, build, catalog};
use crate::value::codec::form::Form;
use crate::value::codec::infer::Inference;
use crate::value::codec::policy::Policies;
use crate::value::{ColumnType, PgType, Seen};

/// The type of every column, by its table's name and its position.
type Types = HashMap<(String, usize), ColumnType>;

/// All that a session is to bring about.
pub(crate) struct Blueprint {
    /// The source.
    pub survey: Survey,
    /// The tables that lite2pg makes.
    pub ddl: Ddl,
    /// The tables that were there, in the mode that adopts them.
    pub adoption: Option<Adoption>,
    types: Types,
}

impl Blueprint {
    /// Draws it for `survey`. Reads both sides.
    pub async fn draw(
        source: &SourceThread,
        client: &Client,
        config: &Config,
        survey: Survey,
        known: &[KnownTable],
    ) -> Result<Self, Error> {
        let overrides = resolve(client, config).await?;
        check_names(&overrides, &survey, known)?;
        let (overrides, adoption) = match overrides.mode() {
            Mode::Create if known.iter().any(|known| known.is_adopted) => {
                return Err(Error::WasAdopted);
            }
            Mode::Create => (overrides, None),
            Mode::Adopt => {
                let found = look_at_tables(client, config, &overrides, &survey, known).await?;
                (found.overrides.clone(), Some(found))
            }
        };
        let typing = Typing { overrides, adoption };
        let (types, adoption) = typing.choose(source, &survey, known).await?;
        let ddl = plan_ddl(&config.target_schema, &survey, &types, adoption.as_ref());
        Ok(Self { survey, ddl, adoption, types })
    }

    /// How a table of the source travels; `None` if it does not.
    pub fn mapping(&self, table: &Table, id: TableId) -> Option<Mapping> {
        if let Some(adoption) = &self.adoption
            && let Some(adopted) = adoption.of(&table.name)
        {
            if !adoption.is_clear(&table.name) {
                return None;
            }
            let pg = |position| self.types[&(table.name.clone(), position)].clone();
            let columns = adopted.columns.iter();
            let travelling = columns.map(|(at, name)| (*at, name.clone(), pg(*at))).collect();
            let mapping = Mapping::new(id, table.clone(), adopted.target.clone(), travelling);
            return Some(Mapping { is_adopted: true, ..mapping });
        }
        let made = self.made(table)?;
        Some(Mapping::new(id, table.clone(), made.name.clone(), made.travelling()))
    }

    /// The DDL of a table that lite2pg makes.
    pub fn made(&self, table: &Table) -> Option<&TableDdl> {
        self.ddl.tables.iter().find(|made| made.source == table.name)
    }

    /// What keeps tables from being filled.
    pub fn stops(&self) -> Vec<&Finding> {
        let findings = self.adoption.iter().flat_map(|adoption| &adoption.findings);
        findings.filter(|finding| finding.weight == adopt::Weight::Stop).collect()
    }

    /// Why a table cannot be filled, in one line; `None` if it can, or does not travel for another
    /// reason.
    pub fn stopped(&self, table: &Table) -> Option<String> {
        let stops: Vec<String> = self
            .adoption
            .as_ref()?
            .stops(&table.name)
            .map(|finding| match &finding.column {
                Some(column) => format!("{column}: {}", finding.message),
                None => finding.message.clone(),
            })
            .collect();
        (!stops.is_empty()).then(|| stops.join("; "))
    }
}

/// The mappings that a run which is in step works with, and the schema that they were drawn from;
/// `source` may read by them. Writes nothing.
pub(crate) async fn plan_in_force(
    source: &SourceThread,
    client: &Client,
    config: &Config,
    known: &[KnownTable],
) -> Result<(Plan, Survey), Error> {
    let survey = source
        .run(|source| {
            let survey = source.survey()?;
            source.accept_schema(survey.schema_version);
            Ok::<_, source::Error>(survey)
        })
        .await?;
    let blueprint = Blueprint::draw(source, client, config, survey, known).await?;
    let mappings = blueprint.survey.catalog.tables.iter().filter_map(|table| {
        let known = known.iter().find(|known| known.name == table.name)?;
        blueprint.mapping(table, known.id)
    });
    let plan = Plan::new(mappings.collect(), &blueprint.survey.numbers);
    Ok((plan, blueprint.survey))
}

/// The DDL that a first run would carry out where it makes all tables. Reads the source only.
///
/// Types that only the target's catalog knows are taken on trust.
pub fn ddl_of(
    source: &mut Source,
    target_schema: &str,
    overrides: &Overrides,
) -> Result<Ddl, Error> {
    let survey = source.survey()?;
    check_names(overrides, &survey, &[])?;
    let mut types = Types::new();
    for table in &survey.catalog.tables {
        let found = sample(source, table, overrides)?;
        for (index, found) in found.into_iter().enumerate() {
            let pg = decide(table, index, found, None, overrides)?;
            types.insert((table.name.clone(), index), pg);
        }
    }
    Ok(plan_ddl(target_schema, &survey, &types, None))
}

/// Names in the configuration must be right when replication begins. Later the application may
/// drop what they name, which is no reason to stop.
fn check_names(
    overrides: &Overrides,
    survey: &Survey,
    known: &[KnownTable],
) -> Result<(), overrides::Error> {
    let catalog = &survey.catalog;
    match overrides.check_names(&catalog.tables, &catalog.left_out()) {
        Err(error) if !known.is_empty() => {
            tracing::warn!(error = %crate::error::chain(&error), "a setting is out of date");
            Ok(())
        }
        outcome => outcome,
    }
}

/// Holds the source's tables against those of the target.
async fn look_at_tables(
    client: &Client,
    config: &Config,
    overrides: &Overrides,
    survey: &Survey,
    known: &[KnownTable],
) -> Result<Adoption, Error> {
    let is_replica = build::be_a_replica(client).await?;
    let tables = &survey.catalog.tables;
    let is_wanted = |name: &str| {
        tables.iter().any(|table| {
            let to = overrides.table(&table.name).to;
            to.as_deref().unwrap_or(&table.name).eq_ignore_ascii_case(name)
        })
    };
    let mut existing = catalog::tables(client, &config.target_schema, &is_wanted).await?;
    let ours = || known.iter().filter(|known| !known.is_adopted && !known.is_stopped());
    existing.retain(|existing| ours().all(|known| known.target != existing.name));
    let whose = |name: &str| match known.iter().find(|known| known.name == name) {
        Some(known) if known.is_adopted => Whose::Adopted,
        Some(known) if !known.is_stopped() => Whose::Made,
        Some(_) | None => Whose::Unknown,
    };
    let powers = Powers { is_replica };
    let schema = &config.target_schema;
    Ok(adopt::adopt(tables, &existing, overrides, powers, schema, &whose))
}

/// Asks the target for the types that are not built in. One that it does not have is left as it
/// was written, and [`check_type`] names the column.
async fn resolve(client: &Client, config: &Config) -> Result<Overrides, Error> {
    let overrides = &config.overrides;
    let names = overrides.foreign_types();
    if names.is_empty() {
        return Ok((**overrides).clone());
    }
    Ok(overrides.resolved(&catalog::types(client, &config.target_schema, &names).await?))
}

/// Chooses the types of all columns.
struct Typing {
    overrides: Overrides,
    adoption: Option<Adoption>,
}

impl Typing {
    /// The type of every column that travels: as set or as adopted, as stored for tables that are
    /// known, by a sample for the others. An adopted column whose type does not do is a finding.
    async fn choose(
        self,
        source: &SourceThread,
        survey: &Survey,
        known: &[KnownTable],
    ) -> Result<(Types, Option<Adoption>), Error> {
        let Self { overrides, mut adoption } = self;
        let shared = Arc::new(overrides);
        let mut types = Types::new();
        for table in &survey.catalog.tables {
            let positions = match &adoption {
                Some(adoption) if !adoption.created.contains(&table.name) => {
                    let adopted = adoption.of(&table.name);
                    adopted.map_or_else(Vec::new, |one| one.columns.iter().map(|c| c.0).collect())
                }
                _ => (0..table.columns.len()).collect::<Vec<usize>>(),
            };
            let stored = known.iter().find(|known| known.name == table.name);
            let mut stored = stored.map_or_else(HashMap::new, |known| stored_types(known, table));
            let is_known = positions.iter().all(|&position| {
                let choice = shared.choice(table, position);
                let is_alias = table.rowid_alias == Some(position) && choice.is_none();
                let stored = stored.get(&table.columns[position].name);
                is_alias || stored.is_some_and(|stored| stored.is_for(choice))
            });
            let mut found = if is_known || positions.is_empty() {
                table.columns.iter().map(|_| Found::default()).collect()
            } else {
                let (table, overrides) = (table.clone(), shared.clone());
                source.run(move |source| sample(source, &table, &overrides)).await?
            };
            for position in positions {
                let found = std::mem::take(&mut found[position]);
                let name = &table.columns[position].name;
                let stored = stored.remove(name);
                let decided = match shared.choice(table, position) {
                    Some(choice) => check_type(table, position, choice),
                    None => Ok(()),
                };
                let decided =
                    decided.and_then(|()| decide(table, position, found, stored, &shared));
                match (decided, &mut adoption) {
                    (Ok(pg), _) => drop(types.insert((table.name.clone(), position), pg)),
                    (Err(error), Some(adoption)) if adoption.of(&table.name).is_some() => {
                        adoption.findings.push(Finding::of_type(table, name, &error));
                    }
                    (Err(error), _) => return Err(error.into()),
                }
            }
        }
        Ok((types, adoption))
    }
}

/// Every type that is set must be there.
fn check_type(table: &Table, position: usize, choice: &Choice) -> Result<(), overrides::Error> {
    if choice.target.oid != 0 {
        return Ok(());
    }
    Err(overrides::Error::UnknownType {
        table: table.name.clone(),
        column: table.columns[position].name.clone(),
        name: choice.target.name.clone(),
    })
}

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
            let affinity = table.columns[position].affinity;
            Found {
                seen: Seen::default(),
                inference: choice.map(|choice| choice.inference(affinity)),
            }
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
pub(super) const LOSSY: &str = "type";

/// What the kind of a [`Note`] is called that tells of an adopted table.
pub(super) const ADOPTED: &str = "adopted table";

/// The losses that were chosen by name; every verdict tells of them.
fn losses(survey: &Survey, types: &Types) -> Vec<Note> {
    let mut notes = Vec::new();
    for table in &survey.catalog.tables {
        for (position, column) in table.columns.iter().enumerate() {
            let Some(pg) = types.get(&(table.name.clone(), position)) else { continue };
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

fn plan_ddl(
    target_schema: &str,
    survey: &Survey,
    types: &Types,
    adoption: Option<&Adoption>,
) -> Ddl {
    let catalog = &survey.catalog;
    let mut tables = catalog.tables.clone();
    if let Some(adoption) = adoption {
        tables.retain(|table| adoption.created.contains(&table.name));
    }
    let mut ddl = target::ddl::plan(&Request {
        schema: target_schema,
        tables: &tables,
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
    ddl.notes.extend(adoption.into_iter().flat_map(adopted_notes));
    ddl.notes.extend(
        catalog
            .triggers
            .iter()
            .map(|trigger| left_out(&trigger.name, "trigger", &reason_for_trigger(&trigger.table))),
    );
    ddl
}

/// What is otherwise on an adopted table, for the ledger.
fn adopted_notes(adoption: &Adoption) -> impl Iterator<Item = Note> {
    adoption.findings.iter().map(|finding| Note {
        object: match &finding.column {
            Some(column) => format!("{}.{column}", finding.table),
            None => finding.table.clone(),
        },
        what: ADOPTED,
        kind: NoteKind::Differs,
        reason: finding.message.clone(),
    })
}

fn reason_for_trigger(table: &str) -> String {
    format!(
        "on {table}: it goes on working on the source, and its effects arrive as rows; write it \
         anew for PostgreSQL before the application moves there"
    )
}

/// What would be adopted, for people and programs.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Shown {
    /// Nothing is in the way.
    pub is_clear: bool,
    /// The tables that would be filled, in the source's order.
    pub tables: Vec<ShownTable>,
    /// The tables that lite2pg would make.
    pub created: Vec<String>,
    /// The tables of the source that stay behind, with the reason.
    pub left_out: Vec<ShownLeftOut>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// A table and its target.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ShownTable {
    /// Its name on the source.
    pub source: String,
    /// Its name on the target.
    pub target: String,
    /// Its columns that travel.
    pub columns: Vec<ShownColumn>,
}

/// A column and its target.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ShownColumn {
    /// Its name on the source.
    pub source: String,
    /// How it is declared there.
    pub declared: String,
    /// Its name on the target.
    pub target: String,
    /// Its type there.
    pub r#type: String,
    /// How the source writes its values; `null` where nothing the type takes was found.
    pub form: Option<Form>,
    /// What may not come back as it was, by choice.
    pub losses: Vec<String>,
}

/// A table that stays behind.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ShownLeftOut {
    /// Its name.
    pub source: String,
    /// Why.
    pub reason: String,
}

/// Draws the blueprint of a run with this configuration, for who only looks.
async fn draw_to_look(config: &Config) -> Result<Blueprint, Error> {
    let (client, _) = crate::target::connect::connect(&config.target, "lite2pg schema")
        .await
        .map_err(target::Error::from)?;
    let source = SourceThread::open(config.source.clone()).await?;
    let overrides = config.overrides.clone();
    source.run(move |source| source.leave_out(overrides)).await;
    let survey = source.run(Source::survey).await?;
    if survey.catalog.tables.is_empty() {
        return Err(Error::NothingToDo);
    }
    let known = match ledger::exists(&client).await? {
        true => ledger::tables(&client).await?,
        false => Vec::new(),
    };
    Blueprint::draw(&source, &client, config, survey, &known).await
}

/// What the configuration says, and for each adopted column the target's type. Fails with
/// [`Error::NotAdoptable`] if something is in the way but rows that are there. Writes nothing.
pub async fn types_of_target(config: &Config) -> Result<Overrides, Error> {
    let blueprint = draw_to_look(config).await?;
    let mut findings: Vec<Finding> = blueprint.stops().into_iter().cloned().collect();
    findings.retain(|finding| finding.code != adopt::EXISTING_ROWS);
    if !findings.is_empty() {
        return Err(Error::NotAdoptable { findings });
    }
    let adoption = blueprint.adoption.expect("the mode that adopts has looked at the tables");
    Ok(adoption.overrides)
}

/// What a run with this configuration would adopt. Writes nothing.
pub async fn show(config: &Config) -> Result<Shown, Error> {
    let blueprint = draw_to_look(config).await?;
    let adoption = blueprint.adoption.as_ref();
    let adoption = adoption.expect("the mode that adopts has looked at the tables");
    let catalog = &blueprint.survey.catalog;
    let table = |name: &str| catalog.tables.iter().find(|table| table.name == name);
    let tables = adoption.tables.iter().filter_map(|adopted| {
        let table = table(&adopted.source)?;
        let columns = adopted.columns.iter().map(|(at, name)| blueprint.shown(table, *at, name));
        Some(ShownTable {
            source: adopted.source.clone(),
            target: adopted.target.clone(),
            columns: columns.collect(),
        })
    });
    Ok(Shown {
        is_clear: blueprint.stops().is_empty(),
        tables: tables.collect(),
        created: adoption.created.clone(),
        left_out: catalog
            .skipped
            .iter()
            .map(|skipped| ShownLeftOut {
                source: skipped.name.clone(),
                reason: skipped.reason.clone(),
            })
            .collect(),
        findings: adoption.findings.clone(),
    })
}

impl Blueprint {
    fn shown(&self, table: &Table, position: usize, target: &str) -> ShownColumn {
        let column = &table.columns[position];
        let pg = self.types.get(&(table.name.clone(), position));
        let codec = pg.and_then(ColumnType::set);
        let chosen = self.adoption.as_ref().and_then(|one| one.overrides.choice(table, position));
        ShownColumn {
            source: column.name.clone(),
            declared: column.declared.clone(),
            target: target.to_owned(),
            r#type: chosen.map_or_else(String::new, |choice| choice.target.name.clone()),
            form: codec.map(|codec| codec.form().clone()),
            losses: codec
                .map(|codec| codec.losses().iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
        }
    }
}
