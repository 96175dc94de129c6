//! What has become of a table that a migration rebuilt, or that was dropped and made anew, and
//! whether its target can follow while it keeps its rows.
//!
//! The one idea: *its rows are compared afterwards, so the target need not give them what the
//! source gave its own*. A new column begins with what one row of the source holds, which is most
//! often what all of them do; a column that may hold no NULL any more gets its constraint when the
//! rows are proven ([`set_not_null`]). What remains are differences that a comparison cannot put
//! right, or only row by row for all rows: another key, another type, a column that may have been
//! renamed, another expression of a generated column. They begin the table again.
//!
//! [`compare`] is pure.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio_postgres::Client;

use super::Error;
use super::alter::{CHANGED, Change, RENAMED, Step, default_of, travelling};
use super::apply::{is_refusal, raw_array};
use super::ddl::{TableDdl, TargetColumn};
use crate::mapping::{From, Mapping};
use crate::table::Ident;
use crate::value::ColumnType;

/// Holds the shape that a table was made with against the one it is to have, both as
/// [`build::shape`](super::build::shape) writes them.
pub fn compare(stored: &Value, wanted: &Value, mapping: &Mapping, made: &TableDdl) -> Change {
    if stored["key"] != wanted["key"] || stored["primary"] != wanted["primary"] {
        return Change::Again("its key changed");
    }
    let (before, after) = (declared(stored), declared(wanted));
    let missing = |from: &BTreeMap<&str, Declared<'_>>, all: &BTreeMap<&str, Declared<'_>>| {
        all.keys().any(|name| !from.contains_key(name))
    };
    if missing(&before, &after) && missing(&after, &before) {
        return RENAMED;
    }
    let (travelled, travels): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (travelling(stored).collect(), travelling(wanted).collect());
    let is_kept = |name: &&&str| before.contains_key(**name) && after.contains_key(**name);
    if before.keys().filter(is_kept).any(|name| travelled.get(name) != travels.get(name)) {
        return CHANGED;
    }
    let mut steps = Vec::new();
    for target in &made.columns {
        let name = mapping.table.columns[target.source].name.as_str();
        let Some(is) = after.get(name) else { return CHANGED };
        match before.get(name) {
            None if target.computed => return Change::Again("it has a new generated column"),
            None => steps.push(guess(mapping, target)),
            Some(was) if target.computed && was.expr != is.expr => {
                return Change::Again("a generated column is computed otherwise");
            }
            Some(was) => steps.extend(redefined(was, is, mapping, made, target)),
        }
    }
    for name in before.keys().filter(|name| !after.contains_key(**name)) {
        let Some(to) = travelled.get(name).and_then(|column| column["to"].as_str()) else {
            return Change::Again("a generated column is gone");
        };
        steps.push(Step::Drop { column: to.to_owned() });
    }
    if steps.is_empty() { Change::None } else { Change::Alter(steps) }
}

/// What is declared of a column.
struct Declared<'a> {
    not_null: bool,
    default: &'a Value,
    expr: &'a Value,
}

/// The declared columns of a shape by name. The type is seen in how they travel.
fn declared(shape: &Value) -> BTreeMap<&str, Declared<'_>> {
    let columns = shape["declared"].as_array().into_iter().flatten();
    columns
        .filter_map(|column| {
            let (default, expr) = (&column[4]["default"], &column[4]["expr"]);
            let not_null = column[2].as_bool()?;
            Some((column[0].as_str()?, Declared { not_null, default, expr }))
        })
        .collect()
}

fn guess(mapping: &Mapping, target: &TargetColumn) -> Step {
    let collate = if target.pg.is_collated() { " collate \"C\"" } else { "" };
    let definition = format!("{} {}{collate}", Ident::new(&target.name), target.pg.sql());
    // A default that PostgreSQL does not have is left out, which a note says.
    let default = default_of(mapping, target).unwrap_or(None);
    Step::Guess { column: target.name.clone(), definition, value: None, default }
}

fn redefined(
    was: &Declared<'_>,
    is: &Declared<'_>,
    mapping: &Mapping,
    made: &TableDdl,
    target: &TargetColumn,
) -> Vec<Step> {
    let column = || target.name.clone();
    let mut steps = Vec::new();
    // The columns of a key are not NULL, whatever is declared.
    if was.not_null && !is.not_null && !made.key_columns.contains(&target.name) {
        steps.push(Step::Nullable { column: column() });
    }
    let is_identity = made.identity.as_ref().is_some_and(|one| one.column == target.name);
    if was.default != is.default && !target.computed && !is_identity {
        let to = default_of(mapping, target).unwrap_or(None);
        steps.push(Step::Default { column: column(), to });
    }
    steps
}

/// A value that is encoded already, as an expression for the column's type; `None` where the server
/// does not take it back from its own text.
pub async fn literal(
    client: &Client,
    pg: &ColumnType,
    field: &[u8],
) -> Result<Option<String>, Error> {
    let doing = "write a value as SQL";
    let (wire, sql) = (pg.wire().0, pg.sql());
    let text = format!("(($1::{wire}[])[1])::text");
    let asked = format!("select quote_literal({text}), {text}::{sql} is not null");
    let array = raw_array(pg, field);
    let row = client.query_one(&asked, &[&array]).await.map_err(Error::query(doing));
    match row {
        Ok(row) => Ok(row.get::<_, Option<String>>(0).map(|text| format!("{text}::{sql}"))),
        Err(error) if is_refusal(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Gives the columns of a proven table the NOT NULL that they have on the source and lack here.
///
/// The rows are looked at beside readers and writers
/// (<https://www.postgresql.org/docs/current/sql-altertable.html>, SET NOT NULL). Safe to repeat,
/// and after a crash. A column that somebody has put NULL into on the target stays as it is.
pub async fn set_not_null(
    client: &Client,
    target_schema: &str,
    mapping: &Mapping,
) -> Result<(), Error> {
    let doing = "give a column its NOT NULL";
    let target = mapping.qualified(target_schema);
    let strict: Vec<&str> = mapping
        .columns
        .iter()
        .filter(|column| match column.from {
            From::Column(at) => mapping.table.columns[at].not_null,
            From::Rowid => false,
        })
        .map(|column| column.target.as_str())
        .collect();
    let lacking = client
        .query(
            "select attname::text from pg_attribute
              where attrelid = to_regclass($1) and attname::text = any($2) and not attnotnull",
            &[&target, &strict],
        )
        .await
        .map_err(Error::query(doing))?;
    for row in lacking {
        let name: String = row.get(0);
        let (column, check) = (Ident::new(&name), Ident::new("lite2pg_not_null"));
        let made = client
            .batch_execute(&format!(
                "begin; alter table {target} drop constraint if exists {check},
                     add constraint {check} check ({column} is not null) not valid; commit;
                 alter table {target} validate constraint {check};
                 alter table {target} alter column {column} set not null, drop constraint {check}"
            ))
            .await
            .map_err(Error::query(doing));
        match made {
            Ok(()) => {}
            Err(error) if is_refusal(&error) => {
                tracing::warn!(table = %mapping.table.name, column = %name,
                    "holds NULL on the target, and may go on doing so");
                client.batch_execute("rollback").await.map_err(Error::query(doing))?;
                let undo = format!("alter table {target} drop constraint if exists {check}");
                client.batch_execute(&undo).await.map_err(Error::query(doing))?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
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

    fn plan_of(table: &Table) -> (Mapping, TableDdl) {
        let types = |table: &Table, at: usize| match table.columns[at].affinity {
            Affinity::Integer => PgType::Int8.into(),
            _ => PgType::Text.into(),
        };
        let tables = std::slice::from_ref(table);
        let request = Request { schema: "app", tables, views: &[], utf8: true, types: &types };
        let made = plan(&request).tables.remove(0);
        (Mapping::new(TableId(1), table.clone(), "t".into(), made.travelling()), made)
    }

    fn change(before: &[Column], after: &[Column]) -> Change {
        let table = |columns: &[Column]| {
            let id = [column("id", "INTEGER")];
            plain::table("t", [id.as_slice(), columns].concat(), Key::RowidAlias(0))
        };
        let stored = shape(&plan_of(&table(before)).0);
        let (mapping, made) = plan_of(&table(after));
        compare(&stored, &shape(&mapping), &mapping, &made)
    }

    fn strict(column: Column) -> Column {
        Column { not_null: true, ..column }
    }

    #[test]
    fn a_rebuilt_table_gets_any_plain_column_in_place() {
        let text = column("a", "TEXT");
        for (new, default) in [
            (column("n", "INT"), None),
            (strict(column("n", "INT")), None),
            (Column { default: Some("7".into()), ..column("n", "INT") }, Some("7")),
            (Column { default: Some("(no_such_function())".into()), ..column("n", "INT") }, None),
        ] {
            let step = Step::Guess {
                column: "n".into(),
                definition: "\"n\" bigint".into(),
                value: None,
                default: default.map(str::to_owned),
            };
            let changed = change(std::slice::from_ref(&text), &[new.clone(), text.clone()]);
            assert_eq!(changed, Change::Alter(vec![step]), "{new:?}, and in any order");
        }
    }

    #[test]
    fn what_a_migration_says_of_a_column_is_followed_in_place() {
        let (a, b) = (column("a", "VARCHAR(200)"), column("b", "INT"));
        let pair = |a: &Column, b: &Column| [a.clone(), b.clone()];
        assert_eq!(change(&pair(&a, &b), &pair(&a, &b)), Change::None);
        assert_eq!(change(&pair(&a, &b), &pair(&b, &a)), Change::None, "the order does not matter");
        let longer = column("a", "VARCHAR(300)");
        assert_eq!(change(&pair(&a, &b), &pair(&longer, &b)), Change::None);
        let step = Change::Alter(vec![Step::Nullable { column: "b".into() }]);
        assert_eq!(change(&pair(&a, &strict(b.clone())), &pair(&a, &b)), step);
        assert_eq!(change(&pair(&a, &b), &pair(&a, &strict(b.clone()))), Change::None, "later");
        let five = Column { default: Some("5".into()), ..b.clone() };
        let step = |to: Option<&str>| {
            let to = to.map(str::to_owned);
            Change::Alter(vec![Step::Default { column: "b".into(), to }])
        };
        assert_eq!(change(&pair(&a, &b), &pair(&a, &five)), step(Some("5")));
        assert_eq!(change(&pair(&a, &five), &pair(&a, &b)), step(None));
        let dropped = Change::Alter(vec![Step::Drop { column: "a".into() }]);
        assert_eq!(change(&pair(&a, &b), std::slice::from_ref(&b)), dropped);
    }

    #[test]
    fn what_no_comparison_puts_right_begins_the_table_again() {
        let generated = |expr: &str| {
            let generated = Some(Generated { expr: Some(expr.into()), stored: true });
            Column { generated, ..column("g", "INT") }
        };
        let a = column("a", "TEXT");
        for (before, after) in [
            (vec![a.clone()], vec![column("b", "TEXT")]),
            (vec![a.clone()], vec![column("a", "INT")]),
            (vec![a.clone()], vec![a.clone(), generated("id + 1")]),
            (vec![a.clone(), generated("id + 1")], vec![a.clone()]),
            (vec![generated("id + 1")], vec![generated("id + 2")]),
            (vec![generated("id + 1")], vec![column("g", "INT")]),
        ] {
            let changed = change(&before, &after);
            assert!(matches!(changed, Change::Again(_)), "{after:?}: {changed:?}");
        }
    }
}
