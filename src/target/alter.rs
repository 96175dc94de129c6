//! What has become of a table's columns since its target was made, and whether the target can
//! follow without its rows being copied again.
//!
//! The one idea: *only where both databases do the very same to every row that is there*. SQLite's
//! ADD COLUMN gives each row the default, which is a constant unless the table is empty, and so
//! does PostgreSQL's; DROP COLUMN takes the values away in both. Whatever was written since is in
//! the changelog, and no entry was ever read under another schema than the one the session was
//! planned for. So the target equals the source at the applied position before and after.
//!
//! Everything else (another type, another key, columns that came and went at once and may have been
//! renamed) begins the table again.
//!
//! A table that was dropped and made anew, or rebuilt as the migrations of many frameworks do, has
//! lost its triggers, and with them its number. It does not come here but to `rebuilt`.
//!
//! [`compare`] is pure.

use serde_json::Value;
use tokio_postgres::Client;

use super::Error;
use super::ddl::{TableDdl, TargetColumn};
use super::expr::{Refusal, default};
use crate::grammar;
use crate::mapping::Mapping;
use crate::table::Ident;

/// What is to be done with the target of a known table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// These steps, with which its rows are what they have to be.
    Alter(Vec<Step>),
    /// It is to be made anew, for this reason.
    Again(&'static str),
}

/// What is done to one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A column with its definition.
    Add {
        /// Its name on the target.
        column: String,
        /// Name, type, default and NOT NULL.
        definition: String,
    },
    /// A column whose rows are compared afterwards: what most of them hold is a guess.
    Guess {
        /// Its name on the target.
        column: String,
        /// Name and type.
        definition: String,
        /// What the rows that are there get, as an expression; `None` for NULL.
        value: Option<String>,
        /// What rows to come get.
        default: Option<String>,
    },
    /// A column that is no more.
    Drop {
        /// Its name on the target.
        column: String,
    },
    /// A column that may hold NULL from now on.
    Nullable {
        /// Its name on the target.
        column: String,
    },
    /// Another default for a column; rows that are there keep what they have.
    Default {
        /// Its name on the target.
        column: String,
        /// As an expression of PostgreSQL's; `None` for none.
        to: Option<String>,
    },
}

impl Step {
    /// The statement, for a table's quoted name.
    pub fn sql(&self, table: &str) -> String {
        match self {
            Self::Add { definition, .. } => format!("alter table {table} add column {definition}"),
            Self::Guess { column, definition, value, default } => {
                let value = value.as_ref().map_or_else(String::new, |it| format!(" default {it}"));
                let default = set_default(table, column, default.as_deref());
                format!("alter table {table} add column {definition}{value}; {default}")
            }
            Self::Drop { column } => {
                format!("alter table {table} drop column {}", Ident::new(column))
            }
            Self::Nullable { column } => {
                format!("alter table {table} alter column {} drop not null", Ident::new(column))
            }
            Self::Default { column, to } => set_default(table, column, to.as_deref()),
        }
    }

    /// What it did, as a clause for people.
    pub fn in_words(&self) -> String {
        match self {
            Self::Add { column, .. } | Self::Guess { column, .. } => {
                format!("column {column} added")
            }
            Self::Nullable { column } => format!("column {column} may be NULL"),
            Self::Drop { column } => format!("column {column} dropped"),
            Self::Default { column, .. } => format!("column {column} has another default"),
        }
    }
}

fn set_default(table: &str, column: &str, to: Option<&str>) -> String {
    let action = to.map_or_else(|| "drop default".to_owned(), |to| format!("set default {to}"));
    format!("alter table {table} alter column {} {action}", Ident::new(column))
}

pub(super) const CHANGED: Change = Change::Again("its columns changed");

pub(super) const RENAMED: Change = Change::Again("columns came and went at once, or were renamed");

/// Whether rows travel by both shapes in the same way.
pub fn is_alike(stored: &Value, wanted: &Value) -> bool {
    stored["columns"] == wanted["columns"]
        && stored["key"] == wanted["key"]
        && declared(stored) == declared(wanted)
}

/// Holds the shape that a table was made with against the one it is to have, both as
/// [`build::shape`](super::build::shape) writes them.
pub fn compare(stored: &Value, wanted: &Value, mapping: &Mapping, made: &TableDdl) -> Change {
    if is_alike(stored, wanted) {
        return Change::None;
    }
    if stored["key"] != wanted["key"] {
        return CHANGED;
    }
    let (before, after) = (declared(stored), declared(wanted));
    let added: Vec<&str> = names_missing(&after, &before);
    let dropped: Vec<&str> = names_missing(&before, &after);
    if !added.is_empty() && !dropped.is_empty() {
        return RENAMED;
    }
    let kept = |(name, _): &&(&str, Declared<'_>)| !added.contains(name) && !dropped.contains(name);
    let is_kept_as_it_was = before.iter().filter(kept).eq(after.iter().filter(kept));
    if !is_kept_as_it_was || !travels_as_before(stored, wanted, &added, &dropped) {
        return CHANGED;
    }
    let added: Option<Vec<Step>> = added.iter().map(|name| add(name, mapping, made)).collect();
    let Some(mut steps) = added else {
        return Change::Again("it has a new column that the target cannot fill by itself");
    };
    let gone = travelling(stored).filter(|(from, _)| dropped.contains(from));
    steps.extend(
        gone.filter_map(|(_, column)| {
            Some(Step::Drop { column: column["to"].as_str()?.to_owned() })
        }),
    );
    if steps.is_empty() { CHANGED } else { Change::Alter(steps) }
}

/// What is declared of a column, but for its default and its expression.
type Declared<'a> = &'a [Value];

/// The declared columns of a shape by name.
fn declared(shape: &Value) -> Vec<(&str, Declared<'_>)> {
    const WIDTH: usize = 4;
    let columns = shape["declared"].as_array().into_iter().flatten();
    columns
        .filter_map(|column| Some((column[0].as_str()?, column.as_array()?.get(..WIDTH)?)))
        .collect()
}

fn names_missing<'a>(
    all: &[(&'a str, Declared<'_>)],
    from: &[(&str, Declared<'_>)],
) -> Vec<&'a str> {
    let is_missing = |name: &&str| from.iter().all(|(other, _)| other != name);
    all.iter().map(|(name, _)| *name).filter(is_missing).collect()
}

/// The columns of a shape that travel, by their name on the source; the hidden rowid has none.
pub(super) fn travelling(shape: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let columns = shape["columns"].as_array().into_iter().flatten();
    columns.map(|column| (column["from"].as_str().unwrap_or_default(), column))
}

/// Whether all columns that are in both shapes travel, or do not travel, as they did.
fn travels_as_before(stored: &Value, wanted: &Value, added: &[&str], dropped: &[&str]) -> bool {
    let before = travelling(stored).filter(|(from, _)| !dropped.contains(from));
    let after = travelling(wanted).filter(|(from, _)| !added.contains(from));
    before.eq(after)
}

/// The step for a new column; `None` where the target would not give its rows what the source gave
/// its own.
fn add(name: &str, mapping: &Mapping, made: &TableDdl) -> Option<Step> {
    let position = mapping.table.column_index(name)?;
    let column = &mapping.table.columns[position];
    let target = made.columns.iter().find(|one| one.source == position)?;
    if column.generated.is_some() || target.computed {
        return None;
    }
    let default = default_of(mapping, target).ok()?;
    if default.is_none() && column.not_null {
        return None;
    }
    Some(Step::Add { column: target.name.clone(), definition: target.definition.clone() })
}

/// The default of a column as an expression of PostgreSQL's.
pub(super) fn default_of(
    mapping: &Mapping,
    target: &TargetColumn,
) -> Result<Option<String>, Refusal> {
    let column = &mapping.table.columns[target.source];
    let Some(text) = &column.default else { return Ok(None) };
    grammar::on_deep_stack(|| default::translate(text, column.affinity, &target.pg))
}

/// The views and the like of other people that a step would take with it. Ours are gone by then if
/// they needed the column.
pub async fn in_the_way(
    client: &Client,
    target: &str,
    steps: &[Step],
) -> Result<Vec<String>, Error> {
    let dropped: Vec<&str> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Drop { column } => Some(column.as_str()),
            _ => None,
        })
        .collect();
    let rows = client
        .query(
            "select distinct v.ev_class::regclass::text
               from pg_depend d
               join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
               join pg_rewrite v on v.oid = d.objid and d.classid = 'pg_rewrite'::regclass
              where d.refobjid = to_regclass($1) and a.attname::text = any($2)
                and not exists (select 1 from lite2pg.objects o
                                 where o.kind = 'view' and o.state = 'built'
                                   and v.ev_class = to_regclass(format('%I.%I',
                                       (parse_ident($1))[1], o.name)))",
            &[&target, &dropped],
        )
        .await
        .map_err(Error::query("look for what needs a column"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::TableId;
    use crate::table::plain::{self, column};
    use crate::table::{Affinity, Column, Generated, Key, Table};
    use crate::target::build::shape;
    use crate::target::ddl::{Request, plan};
    use crate::value::PgType;

    fn table(columns: Vec<Column>) -> Table {
        plain::table("t", columns, Key::RowidAlias(0))
    }

    fn plan_of(table: &Table) -> (Mapping, TableDdl) {
        let types = |table: &Table, at: usize| match table.columns[at].affinity {
            Affinity::Integer => PgType::Int8.into(),
            Affinity::Blob => PgType::Jsonb.into(),
            _ => PgType::Text.into(),
        };
        let tables = std::slice::from_ref(table);
        let request = Request { schema: "app", tables, views: &[], utf8: true, types: &types };
        let made = plan(&request).tables.remove(0);
        (Mapping::new(TableId(1), table.clone(), "t".into(), made.travelling()), made)
    }

    fn change(before: Vec<Column>, after: Vec<Column>) -> Change {
        let stored = shape(&plan_of(&table(before)).0);
        let (mapping, made) = plan_of(&table(after));
        compare(&stored, &shape(&mapping), &mapping, &made)
    }

    fn id_and(columns: &[Column]) -> Vec<Column> {
        [&[column("id", "INTEGER")], columns].concat()
    }

    fn with_default(name: &str, declared: &str, default: &str, not_null: bool) -> Column {
        Column { default: Some(default.into()), not_null, ..column(name, declared) }
    }

    #[test]
    fn a_column_that_every_row_has_the_constant_of_is_added_in_place() {
        for (new, definition) in [
            (column("n", "TEXT"), r#""n" text collate "C""#),
            (with_default("n", "TEXT", "NULL", false), r#""n" text collate "C""#),
            (with_default("n", "INT", "-3", true), r#""n" bigint default -3 not null"#),
            (with_default("n", "TEXT", "5", false), r#""n" text collate "C" default '5'"#),
        ] {
            let changed = change(id_and(&[]), id_and(std::slice::from_ref(&new)));
            let step = Step::Add { column: "n".into(), definition: definition.into() };
            assert_eq!(changed, Change::Alter(vec![step]), "{new:?}");
        }
    }

    #[test]
    fn a_column_whose_rows_the_target_could_not_fill_begins_the_table_again() {
        let generated = Some(Generated { expr: Some("id + 1".into()), stored: false });
        for new in [
            Column { generated, ..column("n", "INT") },
            with_default("n", "TEXT", "(no_such_function())", false),
            Column { not_null: true, ..column("n", "INT") },
        ] {
            let changed = change(id_and(&[]), id_and(std::slice::from_ref(&new)));
            assert!(matches!(changed, Change::Again(_)), "{new:?}: {changed:?}");
        }
    }

    #[test]
    fn a_column_that_went_is_dropped_and_one_that_may_have_been_renamed_is_not() {
        let both = id_and(&[column("a", "TEXT"), column("b", "TEXT")]);
        let dropped = Change::Alter(vec![Step::Drop { column: "a".into() }]);
        assert_eq!(change(both.clone(), id_and(&[column("b", "TEXT")])), dropped);
        let renamed = id_and(&[column("c", "TEXT"), column("b", "TEXT")]);
        assert!(matches!(change(both.clone(), renamed), Change::Again(_)));
        assert_eq!(change(both.clone(), both), Change::None);
    }

    #[test]
    fn other_changes_beside_a_new_column_begin_the_table_again() {
        let before = id_and(&[column("a", "TEXT")]);
        for other in [
            column("a", "INT"),
            column("a", "VARCHAR(5)"),
            Column { not_null: true, ..column("a", "TEXT") },
        ] {
            let after = id_and(&[other.clone(), column("n", "TEXT")]);
            let changed = change(before.clone(), after);
            assert!(matches!(changed, Change::Again(_)), "{other:?}: {changed:?}");
        }
    }
}
