//! Look at the source before anything is touched, and say in one verdict whether it can move.
//!
//! ```text
//!   source::inspect ──rows in short reads──▶ scan ──values──▶ profile (form)
//!                                                                │
//!   source::schema ─────────┬──▶ target::ddl::plan ──notes──▶  judge (propose) ──▶ crate::report
//!                           └────────────────────────────────────┘
//! ```
//!
//! Reads only: the file's bytes are the same afterwards. Needs no target. Values are not shown,
//! only counted; the keys of rows are.

pub mod collide;
pub mod form;
pub mod judge;
pub mod outcome;
pub mod profile;
pub mod proposal;
pub mod propose;
pub mod remedy;
pub mod scan;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use collide::Collisions;
use judge::{Evidence, judge};
use outcome::Assessment;
use scan::{Codecs, Scanned};

use crate::overrides::{Choice, Overrides};
use crate::source::copy::SAMPLE_ROWS;
use crate::source::inspect::IntegrityCheck;
use crate::source::{Error, Source, Survey};
use crate::table::Table;
use crate::target::ddl::{self, Request};
use crate::value::ColumnType;
use crate::value::codec::form::Form;
use crate::value::codec::infer::Inference;

/// What to look at, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// `quick_check` in place of `integrity_check`.
    pub is_quick: bool,
    /// The integrity check is made in the file itself.
    pub in_place: bool,
    /// Rows to read a second, at most.
    pub rows_per_second: Option<NonZeroU32>,
}

/// Looks at everything. Blocks; takes as long as reading the file does.
///
/// Columns whose type the configuration sets are judged by that type.
///
/// Fails if a type cannot be set so, or the file cannot be opened, stays locked, or its schema
/// changes while it is read.
pub fn assess(
    path: &Path,
    target_schema: &str,
    options: Options,
    overrides: &Arc<Overrides>,
) -> Result<Assessment, crate::daemon::Error> {
    let mut source = Source::open_to_read(path)?;
    source.leave_out(overrides.clone());
    let facts = source.facts()?;
    let survey = source.survey()?;
    let how = if options.in_place { IntegrityCheck::InPlace } else { IntegrityCheck::OnCopy };
    let integrity = source.check_integrity(how, options.is_quick)?;
    drop(source);
    overrides.check_names(&survey.catalog.tables, &survey.catalog.left_out())?;
    let codecs = codecs(path, &survey, overrides)?;
    let mut scanned = scan::scan(path, &survey, options.rows_per_second, &codecs)?;
    for (table, scan) in survey.catalog.tables.iter().zip(&mut scanned.tables) {
        for (position, profile) in scan.columns.iter_mut().enumerate() {
            profile.codec = codecs.get(&(table.name.clone(), position)).cloned();
        }
    }
    let collisions = collisions(path, &survey, &scanned)?;
    let forms = forms(path, &survey, &scanned, &collisions)?;
    let catalog = &survey.catalog;
    let position = |table: &Table| catalog.tables.iter().position(|other| other.name == table.name);
    let ddl = ddl::plan(&Request {
        schema: target_schema,
        tables: &catalog.tables,
        views: &catalog.views,
        utf8: catalog.encoding == "UTF-8",
        types: &|table: &Table, column| {
            let at = position(table).expect("the plan asks for the tables it was given");
            let profile = &scanned.tables[at].columns[column];
            match &profile.codec {
                Some(codec) => ColumnType::Set(codec.clone()),
                None => propose::default_type(table, column, profile).into(),
            }
        },
    });
    Ok(judge(&Evidence {
        path: path.display().to_string(),
        facts,
        is_quick: options.is_quick,
        integrity,
        catalog,
        scanned: &scanned,
        ddl: &ddl,
        collisions: &collisions,
        forms: &forms,
    }))
}

/// The codecs of the columns whose type the configuration sets, with the form that a run would
/// find.
fn codecs(
    path: &Path,
    survey: &Survey,
    overrides: &Overrides,
) -> Result<Codecs, crate::daemon::Error> {
    let mut source = Source::open_to_read(path)?;
    let mut codecs = Codecs::new();
    for table in &survey.catalog.tables {
        let mut set: HashMap<usize, (&Choice, Inference)> = (0..table.columns.len())
            .filter_map(|at| Some((at, overrides.choice(table, at)?)))
            .map(|(at, choice)| (at, (choice, choice.inference(table.columns[at].affinity))))
            .collect();
        if set.is_empty() || ddl::COLUMNS_MAX < table.columns.len() {
            continue;
        }
        source.look_at(table, SAMPLE_ROWS, &mut |position, value| {
            if let Some((_, inference)) = set.get_mut(&position) {
                inference.note(value);
            }
        })?;
        for (position, (choice, inference)) in set {
            let form = inference.best().map(|inferred| inferred.form);
            codecs.insert((table.name.clone(), position), choice.codec(table, position, form)?);
        }
    }
    Ok(codecs)
}

/// By column: its form as the configuration says it, or why its type cannot be set.
type Forms = HashMap<(String, usize), Result<Form, String>>;

/// Finds the form of the columns that speak for another type, as a run would, and whether that type
/// can be set at all.
fn forms(
    path: &Path,
    survey: &Survey,
    scanned: &Scanned,
    collisions: &HashMap<(String, usize), Collisions>,
) -> Result<Forms, Error> {
    let mut source = Source::open_to_read(path)?;
    let uses_django = judge::uses_django(&survey.catalog);
    let mut found = Forms::new();
    for (table, scan) in survey.catalog.tables.iter().zip(&scanned.tables) {
        if scan.failed.is_some() || ddl::COLUMNS_MAX < table.columns.len() {
            continue;
        }
        let mut wanted: HashMap<usize, (Choice, Inference)> = HashMap::new();
        for (position, profile) in scan.columns.iter().enumerate() {
            let collisions = collisions.get(&(table.name.clone(), position));
            let proposal = propose::propose(table, position, profile, collisions, uses_django);
            if proposal.is_another() && !proposal.is_set {
                match proposal.choice() {
                    Ok(choice) => {
                        let inference = choice.inference(table.columns[position].affinity);
                        wanted.insert(position, (choice, inference));
                    }
                    Err(error) => {
                        let place = (table.name.clone(), position);
                        found.insert(place, Err(error.to_string()));
                    }
                }
            }
        }
        if wanted.is_empty() {
            continue;
        }
        source.look_at(table, SAMPLE_ROWS, &mut |position, value| {
            if let Some((_, inference)) = wanted.get_mut(&position) {
                inference.note(value);
            }
        })?;
        for (position, (choice, inference)) in wanted {
            let form = inference.best().map(|inferred| inferred.form);
            let codec = choice.codec(table, position, form);
            let outcome = codec.map(|codec| codec.form().clone());
            let outcome = outcome.map_err(|error| crate::error::chain(&error));
            found.insert((table.name.clone(), position), outcome);
        }
    }
    Ok(found)
}

/// Looks again at the unique columns whose proposed type could make values equal.
fn collisions(
    path: &Path,
    survey: &Survey,
    scanned: &Scanned,
) -> Result<HashMap<(String, usize), Collisions>, Error> {
    let mut found = HashMap::new();
    let uses_django = judge::uses_django(&survey.catalog);
    for (table, scan) in survey.catalog.tables.iter().zip(&scanned.tables) {
        if scan.failed.is_some() {
            continue;
        }
        for (position, is_alone) in judge::unique_columns(table) {
            let profile = &scan.columns[position];
            let proposal = propose::propose(table, position, profile, None, uses_django);
            if proposal.is_set || !proposal.may_collide() {
                continue;
            }
            let outcome = if is_alone {
                scan::collisions(path, survey, table, position, &proposal.pg)?
            } else {
                Collisions::Unknown("it is unique together with others")
            };
            found.insert((table.name.clone(), position), outcome);
        }
    }
    Ok(found)
}
