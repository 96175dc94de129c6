//! Views, where the same query means the same on both sides.
//!
//! One SELECT over replicated tables: columns, joins with ON, WHERE, GROUP BY and HAVING, and the
//! aggregates that [`super::expr`] knows to be exact. Everything else (subqueries, other views,
//! DISTINCT or GROUP BY under NOCASE, ORDER BY, compound selects) is refused: a view can be
//! written by hand at leisure, but a wrong one is believed.

use std::collections::{BTreeMap, BTreeSet};

use sqlite3_parser::ast::{
    As, Distinctness, Expr, FromClause, Id, JoinConstraint, JoinOperator, JoinType, Name,
    OneSelect, ResultColumn, SelectTable, Stmt,
};

use super::ddl::Layout;
use super::expr::{self, Class, Purpose, Refusal, Scope, ScopeColumn};
use crate::grammar::{self, dequote};
use crate::table::{Ident, View};

/// A view for PostgreSQL.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TranslatedView {
    /// The names of its columns, unquoted.
    pub columns: Vec<String>,
    /// Its query.
    pub sql: String,
}

/// Translates a view over `tables`, which are found by their names in lower case.
pub(super) fn translate(
    view: &View,
    tables: &BTreeMap<String, &Layout<'_>>,
    schema: &str,
    utf8: bool,
) -> Result<TranslatedView, Refusal> {
    grammar::statement(&view.sql, |statement| {
        let Stmt::CreateView { columns: names, select, .. } = statement else {
            return Err("its text is no CREATE VIEW".to_owned());
        };
        if select.with.is_some() || select.body.compounds.is_some() {
            return Err("it is made of several queries".into());
        }
        if select.order_by.is_some() || select.limit.is_some() {
            return Err("it orders or limits its rows".into());
        }
        let mut query = Query {
            tables,
            schema,
            scope: Scope { columns: Vec::new(), utf8, purpose: Purpose::View },
            from: String::new(),
            names_given: names.is_some(),
        };
        let mut translated = query.select(&select.body.select)?;
        if let Some(names) = names {
            translated.columns = names.iter().map(|name| dequote(name.col_name.0)).collect();
        }
        let distinct: BTreeSet<String> =
            translated.columns.iter().map(|name| name.to_ascii_lowercase()).collect();
        if distinct.len() != translated.columns.len() {
            return Err("two of its columns have one name".into());
        }
        if translated.columns.iter().any(|name| name.is_empty() || 63 < name.len()) {
            return Err("the name of one of its columns is too long for PostgreSQL".into());
        }
        Ok(translated)
    })?
}

struct Query<'a> {
    tables: &'a BTreeMap<String, &'a Layout<'a>>,
    schema: &'a str,
    scope: Scope,
    from: String,
    /// The view lists its columns' names itself.
    names_given: bool,
}

impl Query<'_> {
    fn select(&mut self, select: &OneSelect<'_>) -> Result<TranslatedView, Refusal> {
        let OneSelect::Select {
            distinctness,
            columns,
            from: Some(from),
            where_clause,
            group_by,
            having,
            window_clause: None,
        } = select
        else {
            return Err("it has no tables, or windows over them".into());
        };
        self.add_from(from)?;
        let mut names = Vec::new();
        let mut results = Vec::new();
        for column in *columns {
            self.add_result(column, &mut names, &mut results)?;
        }
        let is_distinct = matches!(distinctness, Some(Distinctness::Distinct));
        let groups = group_by.unwrap_or_default();
        let grouped = self.groups(groups)?;
        self.check_grouping(&results, !groups.is_empty(), &grouped, is_distinct)?;
        let list: Vec<&str> = results.iter().map(|result| result.sql.as_str()).collect();
        let distinct = if is_distinct { "distinct " } else { "" };
        let mut sql = format!("select {distinct}{}\nfrom {}", list.join(", "), self.from);
        if let Some(condition) = where_clause {
            let condition = expr::predicate_of(condition, &self.scope)?;
            if condition.aggregate {
                return Err("its WHERE contains an aggregate".into());
            }
            sql.push_str(&format!("\nwhere {}", condition.sql));
        }
        if !grouped.is_empty() {
            let list: Vec<&str> =
                grouped.iter().map(|&at| self.scope.columns[at].sql.as_str()).collect();
            sql.push_str(&format!("\ngroup by {}", list.join(", ")));
        }
        if let Some(condition) = having {
            let condition = expr::predicate_of(condition, &self.scope)?;
            if !condition.aggregate || !condition.columns.is_subset(&grouped) {
                return Err("its HAVING uses more than aggregates and groups".into());
            }
            sql.push_str(&format!("\nhaving {}", condition.sql));
        }
        Ok(TranslatedView { columns: names, sql })
    }

    fn add_from(&mut self, from: &FromClause<'_>) -> Result<(), Refusal> {
        let Some(first) = from.select else { return Err("it has no tables".into()) };
        self.from = self.add_table(first)?;
        for join in from.joins.iter().flatten() {
            let word = match join.operator {
                // A comma binds less than JOIN in PostgreSQL; CROSS JOIN does not.
                JoinOperator::Comma | JoinOperator::TypedJoin(None) => "inner",
                JoinOperator::TypedJoin(Some(kind)) => {
                    if kind == JoinType::LEFT | JoinType::OUTER {
                        "left"
                    } else if kind == JoinType::INNER || kind == JoinType::INNER | JoinType::CROSS {
                        "inner"
                    } else {
                        return Err("its kind of join is not translated".into());
                    }
                }
            };
            let table = self.add_table(&join.table)?;
            let condition = match &join.constraint {
                None => "true".to_owned(),
                Some(JoinConstraint::On(condition)) => {
                    expr::predicate_of(condition, &self.scope)?.sql
                }
                Some(JoinConstraint::Using(_)) => return Err("it joins with USING".into()),
            };
            self.from.push_str(&format!("\n    {word} join {table} on {condition}"));
            if word == "left" {
                // Every column of the right side can be NULL now.
                self.scope.columns.iter_mut().for_each(|column| column.not_null = false);
            }
        }
        Ok(())
    }

    fn add_table(&mut self, table: &SelectTable<'_>) -> Result<String, Refusal> {
        let SelectTable::Table(name, alias, None) = table else {
            return Err("it reads from a query or a function".into());
        };
        let source = dequote(name.name.0);
        let Some(layout) = self.tables.get(&source.to_ascii_lowercase()) else {
            return Err(format!("{source:?} is no table of the target"));
        };
        let alias = match alias {
            Some(As::As(name) | As::Elided(name)) => dequote(name.0),
            None => source,
        };
        if alias.is_empty() || 63 < alias.len() {
            return Err("an alias is too long for PostgreSQL".into());
        }
        let is_known = |column: &ScopeColumn| column.table.eq_ignore_ascii_case(&alias);
        if self.scope.columns.iter().any(is_known) {
            return Err("it names a table twice".into());
        }
        for (at, column) in layout.table.columns.iter().enumerate() {
            self.scope.columns.push(ScopeColumn {
                name: column.name.clone(),
                table: alias.clone(),
                sql: format!("{}.{}", Ident::new(&alias), Ident::new(&layout.columns[at])),
                pg: layout.types[at].clone(),
                affinity: column.affinity,
                collation: column.collation.clone(),
                not_null: column.not_null,
            });
        }
        let target = format!("{}.{}", Ident::new(self.schema), Ident::new(&layout.name));
        Ok(format!("{target} as {}", Ident::new(alias)))
    }

    fn add_result(
        &self,
        column: &ResultColumn<'_>,
        names: &mut Vec<String>,
        results: &mut Vec<expr::Translated>,
    ) -> Result<(), Refusal> {
        let (expr, alias) = match column {
            ResultColumn::Star => return self.add_star(None, names, results),
            ResultColumn::TableStar(Name(table)) => {
                return self.add_star(Some(&dequote(table)), names, results);
            }
            ResultColumn::Expr(expr, alias) => (expr, alias),
        };
        let mut result = expr::scalar_of(expr, &self.scope)?;
        if result.class == Class::Null {
            result.sql = "null::text".into();
        }
        names.push(match (alias, expr) {
            (Some(As::As(name) | As::Elided(name)), _) => dequote(name.0),
            (None, Expr::Id(Id(name)) | Expr::Qualified(_, Name(name))) => dequote(name),
            (None, Expr::Name(Name(name))) => dequote(name),
            _ if self.names_given => String::new(),
            // SQLite names it by its text, in a way that it reserves to change.
            _ => return Err("one of its columns has no name".into()),
        });
        results.push(result);
        Ok(())
    }

    fn add_star(
        &self,
        table: Option<&str>,
        names: &mut Vec<String>,
        results: &mut Vec<expr::Translated>,
    ) -> Result<(), Refusal> {
        let mut is_empty = true;
        for (at, column) in self.scope.columns.iter().enumerate() {
            if table.is_some_and(|table| !column.table.eq_ignore_ascii_case(table)) {
                continue;
            }
            is_empty = false;
            names.push(column.name.clone());
            results.push(expr::Translated {
                sql: column.sql.clone(),
                class: Class::Null,
                columns: BTreeSet::from([at]),
                differs: false,
                aggregate: false,
                is_collated: column.pg.is_collated(),
            });
        }
        if is_empty { Err("a star in it stands for nothing".into()) } else { Ok(()) }
    }

    /// The positions of the columns that it groups by.
    fn groups(&self, groups: &[Expr<'_>]) -> Result<BTreeSet<usize>, Refusal> {
        let mut grouped = BTreeSet::new();
        for group in groups {
            if !matches!(group, Expr::Id(_) | Expr::Name(_) | Expr::Qualified(..)) {
                return Err("it groups by more than columns".into());
            }
            let column = expr::scalar_of(group, &self.scope)?;
            let [position] = column.columns.iter().copied().collect::<Vec<_>>()[..] else {
                return Err("it groups by more than columns".into());
            };
            self.check_bytewise(position)?;
            grouped.insert(position);
        }
        Ok(grouped)
    }

    /// SQLite takes any row's value for a column that is not grouped; PostgreSQL refuses.
    fn check_grouping(
        &self,
        results: &[expr::Translated],
        has_groups: bool,
        grouped: &BTreeSet<usize>,
        is_distinct: bool,
    ) -> Result<(), Refusal> {
        let is_aggregate = has_groups || results.iter().any(|result| result.aggregate);
        for result in results {
            if is_aggregate && !result.columns.is_subset(grouped) {
                return Err("it shows a column of any one row of a group".into());
            }
            if is_distinct {
                result.columns.iter().try_for_each(|&position| self.check_bytewise(position))?;
            }
        }
        Ok(())
    }

    fn check_bytewise(&self, position: usize) -> Result<(), Refusal> {
        let column = &self.scope.columns[position];
        if column.pg.is_collated() && column.collation != "BINARY" {
            return Err(format!("it tells rows apart by the collation {}", column.collation));
        }
        Ok(())
    }
}
