//! What the configuration says of tables and columns, held against a source's schema.
//!
//! `[columns."table"."column"]` sets the type of one column, `[types]` that of all columns with a
//! declared type, `[defaults]` the policies of both; `[tables."table"]` says which tables travel,
//! and whereto. A [`Choice`] becomes a codec once the column's form is known; what cannot be kept
//! (a loss that was not named, a type under which two keys would be one) is refused here, before
//! anything is written.
//!
//! Pure. Begin with [`Overrides::choice`] and [`Choice::codec`].

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::table::{Affinity, Key, Table};
use crate::value::codec::form::Form;
use crate::value::codec::infer::Inference;
use crate::value::codec::kind::{Kind, Target};
use crate::value::codec::policy::{Loss, Policies};
use crate::value::codec::{Codec, Refused};

/// All that the configuration says of tables and columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    mode: Mode,
    existing_rows: ExistingRows,
    tables: BTreeMap<String, TableSetting>,
    columns: BTreeMap<String, BTreeMap<String, ColumnSetting>>,
    types: BTreeMap<String, Choice>,
    defaults: Untyped,
}

/// Who makes the target's tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// lite2pg does, from the source's schema.
    #[default]
    Create,
    /// The application's own migrations did; lite2pg fills them.
    Adopt,
}

/// What becomes of rows that an adopted table holds before the first copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExistingRows {
    /// Nothing is written: the operator decides.
    #[default]
    Stop,
    /// They are deleted, and the source's rows take their place.
    Replace,
}

/// What the configuration says of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TableSetting {
    /// Left out, or, with `false`, not left out though it keeps the books of migrations.
    pub ignore: Option<bool>,
    /// The name of the target table that is adopted for it.
    pub to: Option<String>,
    /// Made by lite2pg although all others are adopted.
    pub create: bool,
    /// What becomes of rows that are there.
    pub existing_rows: Option<ExistingRows>,
}

/// What the configuration says of one column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnSetting {
    /// Its type and all that belongs to it, if a type was set.
    choice: Option<Choice>,
    /// What was said beside a type, for a column whose type is the target's.
    untyped: Untyped,
    /// The name of the target column that is adopted for it.
    to: Option<String>,
    /// Its values stay behind.
    ignore: bool,
}

/// Form, policies and accepted losses, as written: what is not said here is said elsewhere.
#[derive(Clone, Debug, Default, PartialEq)]
struct Untyped {
    form: Option<Form>,
    policies: toml::Table,
    accept: Vec<Loss>,
}

/// A type's settings as the file has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Written {
    target: Option<Target>,
    untyped: Untyped,
    to: Option<String>,
    ignore: bool,
}

/// What was chosen for one column, or for all of one declared type.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The type.
    pub target: Target,
    /// How the source writes its values; found by a sample where it is not said.
    pub form: Option<Form>,
    /// What may happen to values that do not fit.
    pub policies: Policies,
    /// Losses that lie in the type itself and are accepted by name.
    pub accept: Vec<Loss>,
}

/// What is wrong with the choices.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A column is named, but no type.
    #[error(
        "the configuration names {of} without a type; `to`, `ignore` and policies alone are \
        for mode = \"adopt\""
    )]
    NoType {
        /// The column, or the declared type.
        of: String,
    },
    /// A setting of the other mode.
    #[error("the configuration says of table {table:?} what only mode = \"adopt\" can do")]
    OnlyAdopting {
        /// Its name.
        table: String,
    },
    /// A table that is not there.
    #[error("the configuration names table {table:?}, which is not replicated")]
    UnknownTable {
        /// Its name.
        table: String,
    },
    /// A column that is not there.
    #[error("the configuration sets the type of {table:?}.{column:?}, which does not exist")]
    UnknownColumn {
        /// Its table.
        table: String,
        /// Its name.
        column: String,
    },
    /// A type that the target does not have.
    #[error("{table}.{column}: the target has no type {name:?}")]
    UnknownType {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// What was written.
        name: String,
    },
    /// Type, form and policies do not go together.
    #[error("{table}.{column}: its type cannot be set so")]
    Refused {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Why.
        source: Refused,
    },
    /// A loss that nobody named.
    #[error("{table}.{column}: {loss}; accept = [\"{name}\"] accepts that")]
    NotAccepted {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// What is lost.
        loss: Loss,
        /// How it is accepted.
        name: &'static str,
    },
    /// Two rows could become one.
    #[error("{table}.{column} names rows, and as {target} two of them could become one")]
    Key {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The type.
        target: String,
    },
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut settings = match toml::Value::deserialize(from)? {
            toml::Value::String(name) => toml::Table::from_iter([("type".to_owned(), name.into())]),
            toml::Value::Table(settings) => settings,
            _ => return Err(D::Error::custom("a type is a text, or a table with its settings")),
        };
        let told = |key, error: &dyn std::fmt::Display| D::Error::custom(format!("{key}: {error}"));
        let target = match settings.remove("type") {
            Some(toml::Value::String(name)) => {
                Some(Target::parse(&name).map_err(D::Error::custom)?)
            }
            Some(_) => return Err(D::Error::custom("type: not a text")),
            None => None,
        };
        let form = settings.remove("form").map(Form::deserialize).transpose();
        let form = form.map_err(|error| told("form", &error))?;
        let accept = settings.remove("accept").map(Vec::<Loss>::deserialize).transpose();
        let accept = accept.map_err(|error| told("accept", &error))?.unwrap_or_default();
        let to = settings.remove("to").map(String::deserialize).transpose();
        let to = to.map_err(|error| told("to", &error))?;
        let ignore = settings.remove("ignore").map(bool::deserialize).transpose();
        let ignore = ignore.map_err(|error| told("ignore", &error))?.unwrap_or_default();
        // Read for its errors; what counts is known once the defaults are.
        Policies::deserialize(settings.clone()).map_err(D::Error::custom)?;
        let untyped = Untyped { form, policies: settings, accept };
        Ok(Self { target, untyped, to, ignore })
    }
}

impl Untyped {
    /// What is said here, and where nothing is, what `defaults` say.
    fn over(mut self, defaults: &Self) -> Self {
        for (key, value) in &defaults.policies {
            self.policies.entry(key.clone()).or_insert_with(|| value.clone());
        }
        for loss in &defaults.accept {
            if !self.accept.contains(loss) {
                self.accept.push(*loss);
            }
        }
        self
    }

    fn choice(self, target: Target) -> Choice {
        let policies = Policies::deserialize(self.policies);
        Choice {
            target,
            form: self.form,
            policies: policies.expect("both parts were read when the file was"),
            accept: self.accept,
        }
    }
}

impl Overrides {
    /// From what the configuration says. Fails where it says of a type nothing but its policies,
    /// and where a setting belongs to the other mode.
    pub fn new(
        mode: Mode,
        existing_rows: ExistingRows,
        tables: BTreeMap<String, TableSetting>,
        columns: BTreeMap<String, BTreeMap<String, Written>>,
        types: BTreeMap<String, Written>,
        defaults: Written,
    ) -> Result<Self, Error> {
        let defaults = defaults.untyped;
        let mut by_type = BTreeMap::new();
        for (name, written) in types {
            let target = written.target.ok_or_else(|| Error::NoType { of: name.clone() })?;
            by_type.insert(declared(&name), written.untyped.over(&defaults).choice(target));
        }
        let mut by_column: BTreeMap<String, BTreeMap<String, ColumnSetting>> = BTreeMap::new();
        for (table, columns) in columns {
            for (column, Written { target, untyped, to, ignore }) in columns {
                if mode == Mode::Create && (target.is_none() || to.is_some() || ignore) {
                    return Err(Error::NoType { of: format!("{table}.{column}") });
                }
                let choice = target.map(|target| untyped.clone().over(&defaults).choice(target));
                let setting = ColumnSetting { choice, untyped, to, ignore };
                by_column.entry(table.clone()).or_default().insert(column, setting);
            }
        }
        let of_adopting = |setting: &TableSetting| {
            setting.to.is_some() || setting.create || setting.existing_rows.is_some()
        };
        if mode == Mode::Create
            && let Some((table, _)) = tables.iter().find(|(_, setting)| of_adopting(setting))
        {
            return Err(Error::OnlyAdopting { table: table.clone() });
        }
        Ok(Self { mode, existing_rows, tables, columns: by_column, types: by_type, defaults })
    }

    /// Who makes the target's tables.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether no type is set.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty() && self.types.is_empty()
    }

    /// What is said of a table.
    pub fn table(&self, name: &str) -> TableSetting {
        named(&self.tables, name).cloned().unwrap_or_default()
    }

    /// What becomes of the rows that the target table of `name` holds.
    pub fn existing_rows(&self, name: &str) -> ExistingRows {
        self.table(name).existing_rows.unwrap_or(self.existing_rows)
    }

    /// Why a table is left out, if it is.
    pub fn leaves_out(&self, name: &str) -> Option<&'static str> {
        let is_book = self.mode == Mode::Adopt && is_bookkeeping(name);
        match self.table(name).ignore {
            Some(true) => Some("the configuration leaves it out"),
            None if is_book => {
                Some("it keeps the books of migrations, which each side has its own")
            }
            Some(false) | None => None,
        }
    }

    /// The name of the target column that is meant for a column, if one was named.
    pub fn column_to(&self, table: &Table, position: usize) -> Option<&str> {
        self.setting(table, position)?.to.as_deref()
    }

    /// Whether a column's values stay behind.
    pub fn ignores_column(&self, table: &Table, position: usize) -> bool {
        self.setting(table, position).is_some_and(|setting| setting.ignore)
    }

    /// The choice for a column whose type is what the target has: the form, policies and losses
    /// that were written for it. Of the defaults a column that names rows takes only the zone, for
    /// nothing may be lost there.
    pub fn choice_of_type(&self, table: &Table, position: usize, target: Target) -> Choice {
        let own = self.setting(table, position).map(|setting| setting.untyped.clone());
        let mut defaults = self.defaults.clone();
        if table.key_columns().contains(&position) {
            defaults.accept.clear();
            defaults.policies.retain(|policy, _| policy == "zone");
        }
        own.unwrap_or_default().over(&defaults).choice(target)
    }

    /// What was chosen for a column by its name, if a type was.
    pub fn choice_by_name(&self, table: &Table, position: usize) -> Option<&Choice> {
        self.setting(table, position)?.choice.as_ref()
    }

    /// Sets the type of one column.
    pub fn choose(&mut self, table: &Table, position: usize, choice: Choice) {
        let (table, column) = (table.name.clone(), table.columns[position].name.clone());
        // Names are compared without case: what is there under another spelling goes.
        if let Some(columns) = named_mut(&mut self.columns, &table) {
            match named_mut(columns, &column) {
                Some(setting) => setting.choice = Some(choice),
                None => {
                    let setting =
                        ColumnSetting { choice: Some(choice), ..ColumnSetting::default() };
                    columns.insert(column, setting);
                }
            }
            return;
        }
        let setting = ColumnSetting { choice: Some(choice), ..ColumnSetting::default() };
        self.columns.insert(table, BTreeMap::from([(column, setting)]));
    }

    fn setting(&self, table: &Table, position: usize) -> Option<&ColumnSetting> {
        named(named(&self.columns, &table.name)?, &table.columns[position].name)
    }

    /// Every name that the configuration uses must be there.
    pub fn check_names(&self, tables: &[Table], left_out: &[&str]) -> Result<(), Error> {
        let is_left_out = |name: &str| left_out.iter().any(|out| out.eq_ignore_ascii_case(name));
        let is_there =
            |name: &str| tables.iter().any(|table| table.name.eq_ignore_ascii_case(name));
        if let Some(name) = self.tables.keys().find(|name| !is_there(name) && !is_left_out(name)) {
            return Err(Error::UnknownTable { table: name.clone() });
        }
        for (name, columns) in &self.columns {
            if is_left_out(name) {
                continue;
            }
            let found = tables.iter().find(|table| table.name.eq_ignore_ascii_case(name));
            let table = found.ok_or_else(|| Error::UnknownTable { table: name.clone() })?;
            if let Some(column) = columns.keys().find(|column| table.column_index(column).is_none())
            {
                let (table, column) = (name.clone(), column.clone());
                return Err(Error::UnknownColumn { table, column });
            }
        }
        Ok(())
    }

    /// What was chosen for a column, if anything: by its name, or else by its declared type, with
    /// its parameters or without.
    pub fn choice(&self, table: &Table, position: usize) -> Option<&Choice> {
        let by_name = self.choice_by_name(table, position);
        let whole = declared(&table.columns[position].declared);
        let plain = whole.split('(').next().unwrap_or_default().trim_end();
        by_name.or_else(|| self.types.get(&whole)).or_else(|| self.types.get(plain))
    }

    /// The names of types that only the target's catalog knows.
    pub fn foreign_types(&self) -> Vec<&str> {
        let columns = self.columns.values().flat_map(BTreeMap::values);
        let columns = columns.filter_map(|setting| setting.choice.as_ref());
        let mut names: Vec<&str> = columns
            .chain(self.types.values())
            .map(|choice| innermost(&choice.target))
            .filter(|target| target.oid == 0)
            .map(|target| target.name.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Puts the types that the target's catalog described in the place of their names.
    #[must_use]
    pub fn resolved(&self, found: &BTreeMap<String, Target>) -> Self {
        let mut resolved = self.clone();
        let columns = resolved.columns.values_mut().flat_map(BTreeMap::values_mut);
        let columns = columns.filter_map(|setting| setting.choice.as_mut());
        for choice in columns.chain(resolved.types.values_mut()) {
            if let Some(target) = found.get(&innermost(&choice.target).name) {
                choice.target = match choice.target.kind {
                    Kind::Array(_) => target.clone().array(),
                    _ => target.clone(),
                };
            }
        }
        resolved
    }
}

/// What an array consists of; any other type itself.
fn innermost(target: &Target) -> &Target {
    match &target.kind {
        Kind::Array(element) => innermost(element),
        _ => target,
    }
}

/// Looks a name up as SQLite does, without regard to ASCII case.
fn named<'a, T>(all: &'a BTreeMap<String, T>, name: &str) -> Option<&'a T> {
    all.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn named_mut<'a, T>(all: &'a mut BTreeMap<String, T>, name: &str) -> Option<&'a mut T> {
    all.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// The tables in which migration tools keep their books, in lower case. Each side has been
/// migrated by itself; the source's books say nothing of the target.
const BOOKKEEPING: &[&str] = &[
    "__diesel_schema_migrations",
    "__drizzle_migrations",
    "__efmigrationshistory",
    "_prisma_migrations",
    "_sqlx_migrations",
    "aerich",
    "alembic_version",
    "ar_internal_metadata",
    "atlas_schema_revisions",
    "databasechangelog",
    "databasechangeloglock",
    "django_migrations",
    "doctrine_migration_versions",
    "flyway_schema_history",
    "goose_db_version",
    "gorp_migrations",
    "knex_migrations",
    "knex_migrations_lock",
    "kysely_migration",
    "kysely_migration_lock",
    "migrations",
    "migrations_lock",
    "mikro_orm_migrations",
    "phinxlog",
    "piccolo_migration",
    "refinery_schema_history",
    "schema_migrations",
    "sequelizemeta",
    "typeorm_metadata",
];

/// Whether a table keeps the books of a migration tool.
pub fn is_bookkeeping(name: &str) -> bool {
    BOOKKEEPING.contains(&name.to_ascii_lowercase().as_str())
}

/// A declared type as it is compared: upper case, single spaces.
fn declared(name: &str) -> String {
    name.to_ascii_uppercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Choice {
    /// Begins to find the form of a column of this affinity from its values.
    pub fn inference(&self, affinity: Affinity) -> Inference {
        Inference::new(self.target.clone(), affinity, &self.policies)
    }

    /// The codec of a column whose values have this form, or the column's natural form.
    ///
    /// Fails if a loss was not named, or if rows that are two could become one.
    pub fn codec(
        &self,
        table: &Table,
        position: usize,
        form: Option<Form>,
    ) -> Result<Arc<Codec>, Error> {
        let column = &table.columns[position];
        let names = || (table.name.clone(), column.name.clone());
        let form = self.form.clone().or(form);
        let form = form.unwrap_or_else(|| Form::natural(&self.target.kind, column.affinity));
        let codec = Codec::new(self.target.clone(), form, self.policies.clone());
        let codec = codec.map_err(|source| {
            let (table, column) = names();
            Error::Refused { table, column, source }
        })?;
        for loss in codec.losses() {
            let name = match loss {
                Loss::JsonText => "json_text",
                // Only the target's catalog tells whether a cast is needed.
                Loss::ServerCast if self.target.oid != 0 => "server_cast",
                // The policy itself is the name.
                _ => continue,
            };
            if !self.accept.contains(loss) {
                let (table, column) = names();
                return Err(Error::NotAccepted { table, column, loss: *loss, name });
            }
        }
        if !self.may_name_rows(table, position, &codec) {
            let ((table, column), target) = (names(), self.target.name.clone());
            return Err(Error::Key { table, column, target });
        }
        Ok(Arc::new(codec))
    }

    /// Whether rows that are told apart by this column's values still are on the target.
    fn may_name_rows(&self, table: &Table, position: usize, codec: &Codec) -> bool {
        if table.key == Key::RowidAlias(position) {
            let is_integer =
                matches!(self.target.base().kind, Kind::SmallInt | Kind::Integer | Kind::BigInt);
            return is_integer && codec.losses().is_empty();
        }
        let tells_apart = matches!(
            self.target.base().kind,
            Kind::SmallInt
                | Kind::Integer
                | Kind::BigInt
                | Kind::Uuid
                | Kind::Text
                | Kind::Varchar(_)
                | Kind::Bytea
                | Kind::Boolean
                | Kind::Date
                | Kind::Timestamp(_)
                | Kind::Timestamptz(_)
                | Kind::Enum(_)
        );
        !table.key_columns().contains(&position) || tells_apart && codec.losses().is_empty()
    }
}
