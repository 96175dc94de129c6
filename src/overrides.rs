//! What the configuration says of the types of columns, held against a source's schema.
//!
//! `[columns."table"."column"]` sets the type of one column, `[types]` that of all columns with a
//! declared type. A [`Choice`] becomes a codec once the column's form is known; what cannot be
//! kept (a loss that was not named, a type under which two keys would be one) is refused here,
//! before anything is written.
//!
//! Pure. Begin with [`Overrides::choice`] and [`Choice::codec`].

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::table::{Key, Table};
use crate::value::codec::form::Form;
use crate::value::codec::infer::Inference;
use crate::value::codec::kind::{Kind, Target};
use crate::value::codec::policy::{Loss, Policies};
use crate::value::codec::{Codec, Refused};

/// All that the configuration says of types.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    columns: BTreeMap<String, BTreeMap<String, Choice>>,
    types: BTreeMap<String, Choice>,
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
    /// A table that is not there.
    #[error("the configuration sets a type in table {table:?}, which is not replicated")]
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

impl<'de> Deserialize<'de> for Choice {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut settings = match toml::Value::deserialize(from)? {
            toml::Value::String(name) => toml::Table::from_iter([("type".to_owned(), name.into())]),
            toml::Value::Table(settings) => settings,
            _ => return Err(D::Error::custom("a column needs type = \"…\"")),
        };
        let name = match settings.remove("type") {
            Some(toml::Value::String(name)) => name,
            _ => return Err(D::Error::custom("a column needs type = \"…\"")),
        };
        let target = Target::parse(&name).map_err(D::Error::custom)?;
        let form = settings.remove("form").map(Form::deserialize);
        let form = form.transpose().map_err(|error| D::Error::custom(format!("form: {error}")))?;
        let accept = settings.remove("accept").map(Vec::<Loss>::deserialize).transpose();
        let accept = accept.map_err(|error| D::Error::custom(format!("accept: {error}")))?;
        let policies = Policies::deserialize(settings).map_err(D::Error::custom)?;
        Ok(Self { target, form, policies, accept: accept.unwrap_or_default() })
    }
}

impl Overrides {
    /// From the tables `columns` and `types` of the configuration.
    pub fn new(
        columns: BTreeMap<String, BTreeMap<String, Choice>>,
        types: BTreeMap<String, Choice>,
    ) -> Self {
        let types = types.into_iter().map(|(name, choice)| (declared(&name), choice)).collect();
        Self { columns, types }
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty() && self.types.is_empty()
    }

    /// Every name that the configuration uses must be there.
    pub fn check_names(&self, tables: &[Table]) -> Result<(), Error> {
        for (name, columns) in &self.columns {
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
        let column = &table.columns[position];
        let by_name = self
            .columns
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(&table.name))
            .and_then(|(_, columns)| {
                columns.iter().find(|(name, _)| name.eq_ignore_ascii_case(&column.name))
            })
            .map(|(_, choice)| choice);
        let whole = declared(&column.declared);
        let plain = whole.split('(').next().unwrap_or_default().trim_end();
        by_name.or_else(|| self.types.get(&whole)).or_else(|| self.types.get(plain))
    }

    /// The names of types that only the target's catalog knows.
    pub fn foreign_types(&self) -> Vec<&str> {
        let columns = self.columns.values().flat_map(BTreeMap::values);
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

/// A declared type as it is compared: upper case, single spaces.
fn declared(name: &str) -> String {
    name.to_ascii_uppercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Choice {
    /// Begins to find the form of a column from its values.
    pub fn inference(&self) -> Inference {
        Inference::new(self.target.clone(), &self.policies)
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
                matches!(self.target.kind, Kind::SmallInt | Kind::Integer | Kind::BigInt);
            return is_integer && codec.losses().is_empty();
        }
        let tells_apart = matches!(
            self.target.kind,
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
        );
        !table.key_columns().contains(&position) || tells_apart && codec.losses().is_empty()
    }
}
