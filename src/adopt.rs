//! Holds the source's tables against those that the target has already, made by the application's
//! own migrations.
//!
//! Tables and columns are matched by name: the same spelling first, else the one that differs in
//! case alone, because SQLite's names ignore case and PostgreSQL's unquoted ones are lower case.
//! Each matched column takes the type it has on the target; its values are coerced by a codec, as
//! if the configuration had set that type. Whatever keeps a table from being filled exactly is a
//! [`Finding`] with the way out of it, and all of them are found before anything is written.
//!
//! Pure. Begin with [`adopt`].

use std::collections::BTreeSet;

use crate::overrides::{self, ExistingRows, Overrides, is_bookkeeping};
use crate::table::{HIDDEN_ROWID, Ident, Key, Table};
use crate::value::codec::kind::Target;

/// The code of the finding that a table holds rows already.
pub const EXISTING_ROWS: &str = "existing_rows";

/// A table of the target, as its catalog tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Existing {
    /// Its name.
    pub name: String,
    /// Its columns in order.
    pub columns: Vec<ExistingColumn>,
    /// The columns of each unique index that `on conflict` can use: whole, immediate, valid.
    pub unique: Vec<Vec<String>>,
    /// It holds rows.
    pub has_rows: bool,
    /// What this role may not do with it: `select`, `insert`, `update`, `delete`.
    pub forbidden: Vec<String>,
    /// Row-level security would apply to this role.
    pub hides_rows: bool,
    /// This role owns it, so that it may take foreign keys and triggers out of the way.
    pub is_owned: bool,
    /// Foreign keys from it and to it, by name.
    pub foreign_keys: Vec<String>,
    /// Triggers of people that fire on ordinary writes, by name.
    pub triggers: Vec<String>,
    /// Triggers of people that fire in replay too (ENABLE ALWAYS or REPLICA), by name.
    pub always: Vec<String>,
}

/// A column of such a table.
#[derive(Clone, Debug, PartialEq)]
pub struct ExistingColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub target: Target,
    /// NOT NULL.
    pub is_not_null: bool,
    /// It has a default, or is an identity.
    pub has_default: bool,
    /// PostgreSQL computes it: GENERATED ALWAYS AS (…) STORED.
    pub is_computed: bool,
    /// GENERATED ALWAYS AS IDENTITY.
    pub is_identity_always: bool,
}

/// A table of the source and the one that is adopted for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Adopted {
    /// Its name on the source.
    pub source: String,
    /// The target table.
    pub target: String,
    /// The columns that travel: position on the source, name on the target.
    pub columns: Vec<(usize, String)>,
    /// Its rows on the target are deleted before the first copy.
    pub replaces_rows: bool,
}

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// The table cannot be filled so.
    Stop,
    /// Good to know.
    Note,
}

/// Something about a table or a column that a person should know.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Finding {
    /// How much it weighs.
    pub weight: Weight,
    /// A word for programs, which stays the same.
    pub code: &'static str,
    /// The table: the source's name, or the target's where the source has none.
    pub table: String,
    /// The column, if it is about one.
    pub column: Option<String>,
    /// What is the matter, as a clause.
    pub message: String,
    /// What to do about it: a setting or a statement.
    pub advice: Option<String>,
}

/// What came of holding one against the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Adoption {
    /// The tables that are adopted, in the source's order.
    pub tables: Vec<Adopted>,
    /// The tables that lite2pg is to make.
    pub created: Vec<String>,
    /// What was found, in the source's order.
    pub findings: Vec<Finding>,
    /// What the configuration says, and for each adopted column the target's type.
    pub overrides: Overrides,
}

/// What this session may do on the target.
#[derive(Clone, Copy, Debug)]
pub struct Powers {
    /// `session_replication_role` may be set, so that foreign keys and triggers rest by themselves.
    pub is_replica: bool,
}

/// Whose work the target of a table is, as far as the ledger tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Nobody has looked at it yet: its rows are not ours.
    Unknown,
    /// It was adopted before, and its rows are the source's.
    Adopted,
    /// lite2pg made it, and goes on with it.
    Made,
}

/// Holds `tables` against `existing`; `whose` is asked by a source table's name.
pub fn adopt(
    tables: &[Table],
    existing: &[Existing],
    overrides: &Overrides,
    powers: Powers,
    target_schema: &str,
    whose: &dyn Fn(&str) -> Whose,
) -> Adoption {
    let mut adoption = Adoption { overrides: overrides.clone(), ..Adoption::default() };
    let mut taken = BTreeSet::new();
    for table in tables {
        let setting = overrides.table(&table.name);
        let whose = whose(&table.name);
        if setting.create || whose == Whose::Made {
            adoption.created.push(table.name.clone());
            continue;
        }
        let wanted = setting.to.as_deref().unwrap_or(&table.name);
        let found = match by_name(existing, wanted, |existing| &existing.name) {
            Named::One(found) => found,
            Named::None => {
                adoption.findings.push(missing_table(table, wanted));
                continue;
            }
            Named::Several => {
                adoption.findings.push(ambiguous(table, None, wanted));
                continue;
            }
        };
        if !taken.insert(found.name.clone()) {
            adoption.findings.push(stop(
                "table_taken",
                table,
                None,
                format!("{} is adopted for another table already", found.name),
                Some(format!("name another one: [tables.\"{}\"] to = \"…\"", table.name)),
            ));
            continue;
        }
        let mut pair = Pair { table, found, overrides, target_schema, findings: Vec::new() };
        let columns = pair.columns(&mut adoption.overrides);
        pair.key(&columns);
        pair.rights(powers);
        pair.rows(whose == Whose::Adopted);
        let Pair { findings, .. } = pair;
        adoption.findings.extend(findings);
        adoption.tables.push(Adopted {
            source: table.name.clone(),
            target: found.name.clone(),
            columns,
            replaces_rows: overrides.existing_rows(&table.name) == ExistingRows::Replace,
        });
    }
    let others = existing.iter().filter(|one| !taken.contains(&one.name));
    adoption.findings.extend(others.filter(|one| !is_bookkeeping(&one.name)).map(|one| Finding {
        weight: Weight::Note,
        code: "table_alone",
        table: one.name.clone(),
        column: None,
        message: "the source has no such table; it is left alone".to_owned(),
        advice: None,
    }));
    adoption
}

impl Adoption {
    /// Whether nothing keeps the table from being filled.
    pub fn is_clear(&self, table: &str) -> bool {
        self.stops(table).next().is_none()
    }

    /// What keeps a table from being filled.
    pub fn stops<'a>(&'a self, table: &'a str) -> impl Iterator<Item = &'a Finding> {
        let stops = self.findings.iter().filter(|finding| finding.weight == Weight::Stop);
        stops.filter(move |finding| finding.table == table)
    }

    /// What is adopted for a table of the source.
    pub fn of(&self, table: &str) -> Option<&Adopted> {
        self.tables.iter().find(|adopted| adopted.source == table)
    }
}

impl Finding {
    /// A column whose type the codec does not take as it is.
    pub fn of_type(table: &Table, column: &str, error: &overrides::Error) -> Self {
        let advice = match error {
            overrides::Error::NotAccepted { name, .. } => Some(format!(
                "[columns.\"{}\".\"{column}\"] accept = [\"{name}\"], or for all columns \
                 [defaults] accept = [\"{name}\"]",
                table.name
            )),
            overrides::Error::Refused {
                source: crate::value::codec::Refused::NoZone { .. },
                ..
            } => Some(format!(
                "[columns.\"{}\".\"{column}\"] zone = \"UTC\", or for all columns [defaults] \
                 zone = \"UTC\"",
                table.name
            )),
            _ => Some(format!(
                "[columns.\"{}\".\"{column}\"] ignore = true leaves its values behind",
                table.name
            )),
        };
        let message = match error {
            overrides::Error::Refused { source, .. } => source.to_string(),
            overrides::Error::NotAccepted { loss, .. } => loss.to_string(),
            other => other.to_string(),
        };
        stop("type", table, Some(column), message, advice)
    }
}

fn stop(
    code: &'static str,
    table: &Table,
    column: Option<&str>,
    message: String,
    advice: Option<String>,
) -> Finding {
    let (table, column) = (table.name.clone(), column.map(str::to_owned));
    Finding { weight: Weight::Stop, code, table, column, message, advice }
}

fn missing_table(table: &Table, wanted: &str) -> Finding {
    let name = &table.name;
    stop(
        "table_missing",
        table,
        None,
        format!("the target has no table {wanted}"),
        Some(format!(
            "[tables.\"{name}\"] ignore = true leaves it out, create = true makes it, to = \"…\" \
             names another one"
        )),
    )
}

fn ambiguous(table: &Table, column: Option<&str>, wanted: &str) -> Finding {
    let advice = match column {
        None => format!("[tables.\"{}\"] to = \"…\" names one", table.name),
        Some(column) => format!("[columns.\"{}\".\"{column}\"] to = \"…\" names one", table.name),
    };
    let message = format!("several names of the target differ from {wanted} in case alone");
    stop("ambiguous", table, column, message, Some(advice))
}

/// What a name stands for.
enum Named<'a, T> {
    One(&'a T),
    None,
    Several,
}

/// The very name, or the only one that differs in ASCII case alone.
fn by_name<'a, T>(all: &'a [T], wanted: &str, name: impl Fn(&T) -> &str) -> Named<'a, T> {
    if let Some(exact) = all.iter().find(|one| name(one) == wanted) {
        return Named::One(exact);
    }
    let mut alike = all.iter().filter(|one| name(one).eq_ignore_ascii_case(wanted));
    match (alike.next(), alike.next()) {
        (None, _) => Named::None,
        (Some(one), None) => Named::One(one),
        (Some(_), Some(_)) => Named::Several,
    }
}

/// A table of the source and the one that was found for it.
struct Pair<'a> {
    table: &'a Table,
    found: &'a Existing,
    overrides: &'a Overrides,
    target_schema: &'a str,
    findings: Vec<Finding>,
}

impl Pair<'_> {
    fn stop(
        &mut self,
        code: &'static str,
        column: Option<&str>,
        message: String,
        advice: Option<String>,
    ) {
        self.findings.push(stop(code, self.table, column, message, advice));
    }

    fn note(&mut self, code: &'static str, column: Option<&str>, message: String) {
        let finding = stop(code, self.table, column, message, None);
        self.findings.push(Finding { weight: Weight::Note, ..finding });
    }

    fn target(&self) -> String {
        format!("{}.{}", Ident::new(self.target_schema), Ident::new(&self.found.name))
    }

    /// Matches columns, and sets the type of each in `chosen`. What PostgreSQL computes by itself
    /// is not written.
    fn columns(&mut self, chosen: &mut Overrides) -> Vec<(usize, String)> {
        let table = self.table;
        let mut travelling = Vec::new();
        let mut met = BTreeSet::new();
        for (position, column) in table.columns.iter().enumerate() {
            let name = column.name.as_str();
            if self.overrides.ignores_column(table, position) {
                self.note("column_ignored", Some(name), "its values stay behind, by choice".into());
                continue;
            }
            let wanted = self.overrides.column_to(table, position).unwrap_or(name);
            let found = match by_name(&self.found.columns, wanted, |column| &column.name) {
                Named::One(found) => found,
                Named::Several => {
                    self.findings.push(ambiguous(table, Some(name), wanted));
                    continue;
                }
                Named::None if column.generated.is_some() => {
                    let message = "SQLite computes it and the target has no such column";
                    self.note("column_computed", Some(name), message.into());
                    continue;
                }
                Named::None => {
                    self.missing_column(position, wanted);
                    continue;
                }
            };
            met.insert(found.name.clone());
            if found.is_computed {
                self.note("column_computed", Some(name), "PostgreSQL computes it by itself".into());
                continue;
            }
            self.identity(position, found);
            self.may_be_null(position, found);
            let choice = self.choice(position, found);
            chosen.choose(table, position, choice);
            travelling.push((position, found.name.clone()));
        }
        self.extra_columns(&met);
        travelling
    }

    /// The type of a column is the target's; a configuration that says another one is mistaken.
    fn choice(&mut self, position: usize, found: &ExistingColumn) -> overrides::Choice {
        let table = self.table;
        let set = self.overrides.choice_by_name(table, position);
        if let Some(set) = set.filter(|set| !set.target.is_same_as(&found.target)) {
            let message = format!(
                "the configuration says {}, the target's column is {}",
                set.target.name, found.target.name
            );
            let advice =
                "an adopted column has the type of the target: leave `type` out".to_owned();
            let name = &table.columns[position].name;
            self.stop("type_differs", Some(name), message, Some(advice));
        }
        self.overrides.choice_of_type(table, position, found.target.clone())
    }

    fn missing_column(&mut self, position: usize, wanted: &str) {
        let name = &self.table.columns[position].name;
        let message = format!("{} has no column {wanted}", self.found.name);
        let advice = format!(
            "[columns.\"{}\".\"{name}\"] to = \"…\" names another one, ignore = true leaves its \
             values behind",
            self.table.name
        );
        self.stop("column_missing", Some(name), message, Some(advice));
    }

    /// An identity that is no key would have to be updated, which PostgreSQL refuses.
    fn identity(&mut self, position: usize, found: &ExistingColumn) {
        if !found.is_identity_always || self.table.key_columns().contains(&position) {
            return;
        }
        let column = Ident::new(&found.name);
        let advice =
            format!("alter table {} alter column {column} set generated by default", self.target());
        let message = "it is generated always as identity and does not name the rows".to_owned();
        let name = &self.table.columns[position].name;
        self.stop("identity", Some(name), message, Some(advice));
    }

    fn may_be_null(&mut self, position: usize, found: &ExistingColumn) {
        let column = &self.table.columns[position];
        let is_alias = self.table.rowid_alias == Some(position);
        if found.is_not_null && !column.not_null && !is_alias {
            let message = "the target says NOT NULL and the source does not: rows with NULL go to \
                           quarantine";
            self.note("not_null", Some(&column.name), message.into());
        }
    }

    fn extra_columns(&mut self, met: &BTreeSet<String>) {
        let is_hidden_key = |column: &ExistingColumn| {
            self.table.key == Key::HiddenRowid && column.name == HIDDEN_ROWID
        };
        let extra: Vec<&ExistingColumn> = self
            .found
            .columns
            .iter()
            .filter(|column| !met.contains(&column.name) && !is_hidden_key(column))
            .collect();
        for column in extra {
            let name = column.name.as_str();
            if column.is_computed {
                continue;
            }
            if column.is_not_null && !column.has_default {
                let advice = format!(
                    "alter table {} alter column {} set default …, or [tables.\"{}\"] ignore = \
                     true leaves the table out",
                    self.target(),
                    Ident::new(name),
                    self.table.name
                );
                let message = "the source has no such column, and it takes neither NULL nor a \
                               default"
                    .to_owned();
                self.stop("column_without_default", Some(name), message, Some(advice));
            } else {
                let what = if column.has_default { "its default" } else { "NULL" };
                let message = format!("the source has no such column; new rows get {what}");
                self.note("column_alone", Some(name), message);
            }
        }
    }

    /// `on conflict` needs a unique index over the very columns that name a row.
    fn key(&mut self, columns: &[(usize, String)]) {
        let wanted: Option<BTreeSet<&str>> = match &self.table.key {
            Key::HiddenRowid => {
                let has_it = self.found.columns.iter().any(|column| column.name == HIDDEN_ROWID);
                has_it.then(|| BTreeSet::from([HIDDEN_ROWID]))
            }
            _ => self
                .table
                .key_columns()
                .iter()
                .map(|key| {
                    let found = columns.iter().find(|(position, _)| position == key);
                    found.map(|(_, name)| name.as_str())
                })
                .collect(),
        };
        let target = self.target();
        let Some(wanted) = wanted else {
            let (message, advice) = if self.table.key == Key::HiddenRowid {
                let column = Ident::new(HIDDEN_ROWID);
                let message = "nothing but the rowid names its rows, and the target has no column \
                               for that";
                let advice = format!(
                    "alter table {target} add column {column} bigint generated by default as \
                     identity unique"
                );
                (message, advice)
            } else {
                let message = "a column that names its rows does not reach the target";
                (message, "give that column a counterpart".to_owned())
            };
            return self.stop("no_key", None, message.to_owned(), Some(advice));
        };
        let is_unique = self.found.unique.iter().any(|index| {
            index.len() == wanted.len() && index.iter().all(|name| wanted.contains(name.as_str()))
        });
        if !is_unique {
            let list: Vec<String> =
                wanted.iter().map(|name| Ident::new(*name).to_string()).collect();
            let list = list.join(", ");
            let message =
                format!("no unique index of the target is over {list}, which name its rows");
            let advice = format!("create unique index on {target} ({list})");
            self.stop("no_key", None, message, Some(advice));
        }
    }

    fn rights(&mut self, powers: Powers) {
        let target = self.target();
        if !self.found.forbidden.is_empty() {
            let rights = self.found.forbidden.join(", ");
            let message = format!("this role may not {rights}");
            let advice = format!("grant {rights} on {target} to the role of lite2pg");
            self.stop("privilege", None, message, Some(advice));
        }
        if self.found.hides_rows {
            let message = "row-level security hides rows of it from this role".to_owned();
            let advice = "give the role of lite2pg the attribute BYPASSRLS".to_owned();
            self.stop("row_security", None, message, Some(advice));
        }
        if !self.found.always.is_empty() {
            let message = format!(
                "{} fires on what is replayed, too, and may change rows",
                self.found.always.join(", ")
            );
            self.note("trigger", None, message);
        }
        let disturbing: Vec<&str> = self
            .found
            .foreign_keys
            .iter()
            .chain(&self.found.triggers)
            .map(String::as_str)
            .collect();
        if !powers.is_replica && !self.found.is_owned && !disturbing.is_empty() {
            let message = format!(
                "{} would act on what is replayed, and this role may neither set \
                 session_replication_role nor alter the table",
                disturbing.join(", ")
            );
            let advice = "as a superuser: grant set on parameter session_replication_role to the \
                          role of lite2pg (PostgreSQL 15 and later), or grant it the table's owner"
                .to_owned();
            self.stop("in_the_way", None, message, Some(advice));
        }
    }

    fn rows(&mut self, is_known: bool) {
        if is_known || !self.found.has_rows {
            return;
        }
        match self.overrides.existing_rows(&self.table.name) {
            ExistingRows::Replace => {
                let message = "its rows on the target are deleted before the first copy, by choice";
                self.note("rows_replaced", None, message.to_owned());
            }
            ExistingRows::Stop => {
                let message = format!("{} holds rows that lite2pg did not write", self.found.name);
                let advice = format!(
                    "existing_rows = \"replace\" puts the source's in their place, for all tables \
                     or under [tables.\"{}\"]",
                    self.table.name
                );
                self.stop(EXISTING_ROWS, None, message, Some(advice));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::plain;
    use crate::value::codec::kind::Kind;

    fn table(name: &str, columns: &[&str]) -> Table {
        let columns = columns.iter().map(|name| plain::column(name, "TEXT")).collect();
        plain::table(name, columns, Key::Columns(vec![0]))
    }

    fn existing(name: &str, columns: &[&str]) -> Existing {
        let column = |name: &&str| ExistingColumn {
            name: (*name).into(),
            target: Target::of(Kind::Text),
            is_not_null: false,
            has_default: false,
            is_computed: false,
            is_identity_always: false,
        };
        Existing {
            name: name.into(),
            columns: columns.iter().map(column).collect(),
            unique: vec![vec![columns[0].into()]],
            has_rows: false,
            forbidden: Vec::new(),
            hides_rows: false,
            is_owned: false,
            foreign_keys: Vec::new(),
            triggers: Vec::new(),
            always: Vec::new(),
        }
    }

    fn codes(existing: &[Existing], is_replica: bool) -> Vec<&'static str> {
        let tables = [table("Item", &["id", "Name"])];
        let overrides = Overrides::default();
        let powers = Powers { is_replica };
        let adoption = adopt(&tables, existing, &overrides, powers, "app", &|_| Whose::Unknown);
        let stops = adoption.findings.iter().filter(|one| one.weight == Weight::Stop);
        stops.map(|one| one.code).collect()
    }

    #[test]
    fn the_same_spelling_wins_and_otherwise_a_single_other_one_does() {
        let both = [existing("item", &["id", "Name", "name"]), existing("Item", &["ID", "nAME"])];
        let tables = [table("Item", &["id", "Name"])];
        let adopt = |existing: &[Existing]| {
            let powers = Powers { is_replica: true };
            adopt(&tables, existing, &Overrides::default(), powers, "app", &|_| Whose::Unknown)
        };
        let adopted = adopt(&both);
        assert_eq!(adopted.tables[0].target, "Item");
        assert_eq!(adopted.tables[0].columns, [(0, "ID".to_owned()), (1, "nAME".to_owned())]);
        let adopted = adopt(&both[..1]);
        assert_eq!(adopted.tables[0].target, "item");
        assert_eq!(adopted.tables[0].columns, [(0, "id".to_owned()), (1, "Name".to_owned())]);
        assert_eq!(
            codes(&[existing("ITEM", &["id", "name"]), existing("item", &["id"])], true),
            ["ambiguous"]
        );
        assert_eq!(codes(&[existing("items", &["id"])], true), ["table_missing"]);
    }

    #[test]
    fn a_key_needs_a_whole_unique_index_over_its_very_columns() {
        let mut wider = existing("item", &["id", "name"]);
        wider.unique = vec![vec!["id".into(), "name".into()], vec!["name".into()]];
        assert_eq!(codes(&[wider], true), ["no_key"]);
    }

    #[test]
    fn what_would_act_on_replay_needs_one_of_two_powers() {
        let mut guarded = existing("item", &["id", "name"]);
        guarded.foreign_keys = vec!["item_fkey".into()];
        assert_eq!(codes(&[guarded.clone()], false), ["in_the_way"]);
        assert!(codes(&[guarded.clone()], true).is_empty());
        guarded.is_owned = true;
        assert!(codes(&[guarded], false).is_empty());
    }

    #[test]
    fn a_column_of_the_target_alone_must_be_able_to_do_without_the_source() {
        for (is_not_null, has_default, expected) in [
            (true, false, ["column_without_default"].as_slice()),
            (true, true, &[]),
            (false, false, &[]),
        ] {
            let mut wider = existing("item", &["id", "name", "extra"]);
            wider.columns[2].is_not_null = is_not_null;
            wider.columns[2].has_default = has_default;
            assert_eq!(codes(&[wider], true), expected, "{is_not_null} {has_default}");
        }
    }
}
