//! Random statements, each with the effects that it aims at.

use super::dice::Dice;
use super::features::Feature;
use super::schema::{Reference, Role, Schema, Table, quoted};
use super::values::{self, Kind};

/// One statement and what would prove it useful.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Its text, complete.
    pub sql: String,
    /// The table that it writes.
    pub table: usize,
    /// What it is for, and how that shows.
    pub aims: Vec<(Feature, Effect)>,
}

/// How an aim shows in the rows before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Succeeded, and at least so many rows are new.
    Added(usize),
    /// Succeeded, and at least so many rows are gone.
    Removed(usize),
    /// Succeeded, and at least so many rows are new, gone or different.
    Touched(usize),
    /// Succeeded, and at least so many rows are different under the same name.
    Changed(usize),
    /// Succeeded, and rows are gone while none was asked to go, and none is new.
    Shrunk,
    /// Succeeded, and nothing is different.
    Skipped,
    /// Succeeded, and all rows are gone; there were some.
    Emptied,
    /// Gave rows back.
    Returned,
    /// Failed, and kept a part of its work.
    KeptPart,
    /// Failed, changed nothing, and its transaction went on.
    Refused,
    /// Failed, and its transaction ended.
    Ended,
    /// Failed by foreign key.
    RefusedByReference,
    /// Succeeded, and rows of this other table are gone.
    RemovedFrom(usize),
    /// Succeeded, and rows of this other table are different.
    ChangedIn(usize),
    /// Succeeded, and rows of this other table are new, gone or different.
    TouchedIn(usize),
    /// Succeeded, and one more row holds [`schema::TURNED`](super::schema::TURNED).
    TurnedFive,
}

/// What happens between two moments without a transaction open.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Which connection does it.
    pub connection: usize,
    /// A pragma to set before, outside any transaction.
    pub pragma: Option<&'static str>,
    /// What is done.
    pub steps: Vec<Step>,
}

/// One thing that a connection does.
#[derive(Clone, Debug)]
pub enum Step {
    /// `BEGIN` and its kind.
    Begin(&'static str),
    /// A statement.
    Run(Statement),
    /// `SAVEPOINT`.
    Savepoint(&'static str),
    /// `ROLLBACK TO`.
    RollbackTo(&'static str),
    /// `RELEASE`.
    Release(&'static str),
    /// `COMMIT`, if a transaction is still open.
    Commit,
    /// `ROLLBACK`, if a transaction is still open.
    Rollback,
}

/// Rows at which a table is cut down, so that looking at all of them stays cheap.
const ROWS_MAX: usize = 24;

/// Writes the workload for one schema.
pub struct Author<'a> {
    schema: &'a Schema,
    dice: &'a mut Dice,
}

impl<'a> Author<'a> {
    /// For `schema`, from these dice.
    pub fn new(schema: &'a Schema, dice: &'a mut Dice) -> Self {
        Self { schema, dice }
    }

    /// The next unit; `rows` says how many rows each table has now.
    pub fn unit(&mut self, rows: &[usize], connections: usize) -> Unit {
        let connection = self.dice.below(connections);
        let pragma = self.dice.percent(8).then(|| {
            self.dice.pick(&[
                "PRAGMA recursive_triggers = 1",
                "PRAGMA recursive_triggers = 0",
                "PRAGMA foreign_keys = 1",
                "PRAGMA foreign_keys = 1",
                "PRAGMA foreign_keys = 0",
            ])
        });
        let steps = match self.dice.below(10) {
            0..5 => vec![Step::Run(self.statement(rows))],
            5 => self.swap(),
            _ => self.transaction(rows),
        };
        Unit { connection, pragma, steps }
    }

    fn transaction(&mut self, rows: &[usize]) -> Vec<Step> {
        let mut steps = vec![Step::Begin(self.dice.pick(&["IMMEDIATE", "DEFERRED", "EXCLUSIVE"]))];
        let mut open: Vec<&'static str> = Vec::new();
        for _ in 0..2 + self.dice.below(6) {
            match self.dice.below(8) {
                0 if open.len() < 3 => {
                    let name = ["one", "two", "three"][open.len()];
                    open.push(name);
                    steps.push(Step::Savepoint(name));
                }
                1 if !open.is_empty() => {
                    let keep = self.dice.below(open.len());
                    open.truncate(keep + 1);
                    steps.push(Step::RollbackTo(open[keep]));
                }
                2 if !open.is_empty() => {
                    let keep = self.dice.below(open.len());
                    steps.push(Step::Release(open[keep]));
                    open.truncate(keep);
                }
                _ => {}
            }
            steps.push(Step::Run(self.statement(rows)));
        }
        steps.push(if self.dice.percent(75) { Step::Commit } else { Step::Rollback });
        steps
    }

    /// Two rows swap keys or unique values, by way of a value that nobody else has. Begins only
    /// if both rows are there, so that the last step proves a swap.
    fn swap(&mut self) -> Vec<Step> {
        let at = self.dice.below(self.schema.writable());
        let table = &self.schema.tables[at];
        let unique = (0..table.columns.len()).find(|at| table.columns[*at].role == Role::Unique);
        let (column, feature) = match (unique, table.key.as_slice()) {
            (None, [key]) => (*key, Feature::KeySwapped),
            (Some(_), [key]) if self.dice.percent(50) => (*key, Feature::KeySwapped),
            (Some(unique), _) => (unique, Feature::UniqueSwapped),
            (None, _) => (table.number, Feature::BulkUpdate),
        };
        let parked = values::parking(table.columns[column].kind);
        let (name, sql) = (table.sql(), table.column(column));
        let (one, other) = (self.value(table, column), self.value(table, column));
        let aims = match feature {
            Feature::BulkUpdate => Vec::new(),
            feature => vec![(feature, Effect::Touched(1))],
        };
        let step = |value: &str, condition: String, aims| {
            let sql = format!("UPDATE {name} SET {sql} = {value} WHERE {condition}");
            Step::Run(Statement { sql, table: at, aims })
        };
        vec![
            Step::Begin("IMMEDIATE"),
            step(
                parked,
                format!(
                    "{sql} = {one} AND {one} <> {other} \
                     AND EXISTS (SELECT 1 FROM {name} WHERE {sql} = {other})"
                ),
                Vec::new(),
            ),
            step(&one, format!("{sql} = {other}"), Vec::new()),
            step(&other, format!("{sql} = {parked}"), aims),
            Step::Commit,
        ]
    }

    /// One statement.
    pub fn statement(&mut self, rows: &[usize]) -> Statement {
        let at = self.dice.below(self.schema.writable());
        if ROWS_MAX < rows[at] {
            return self.bulk_delete(at);
        }
        match self.dice.below(100) {
            0..18 => self.insert(at),
            18..24 => self.replace(at),
            24..32 => self.replace_through_unique(at),
            32..37 => self.insert_select(at),
            37..49 => self.upsert(at),
            49..60 => self.update(at),
            60..66 => self.update_key(at),
            66..69 => self.shift_keys(at),
            69..73 => self.collated_key(at),
            73..78 => self.explicit_rowid(at),
            78..82 => self.update_rowid(at),
            82..85 => self.update_from(at),
            85..87 => self.bulk_update(at),
            87..94 => self.delete(at),
            94..96 => self.bulk_delete(at),
            96..97 => self.delete_all(at),
            _ => self.through_view(),
        }
    }

    /// A value for a column of any role.
    fn value(&mut self, table: &Table, column: usize) -> String {
        let Table { columns, alias, .. } = table;
        let kind = columns[column].kind;
        match columns[column].role {
            Role::Key if *alias == Some(column) => values::rowid(table.explicit_only, self.dice),
            Role::Key => values::unique(kind, self.dice),
            Role::Unique | Role::Parent if self.dice.percent(15) => "NULL".into(),
            Role::Parent if self.dice.percent(75) => self.parent_key(table, column),
            Role::Unique | Role::Parent | Role::Defaulted => values::unique(kind, self.dice),
            Role::Payload | Role::Generated if column == table.number => {
                // Small numbers meet triggers, checks and partial indexes.
                if table.ignores_seven && self.dice.percent(15) {
                    "7".into()
                } else if self.dice.percent(80) {
                    self.dice.below(16).to_string()
                } else {
                    values::payload(kind, self.dice)
                }
            }
            Role::Payload | Role::Generated => values::payload(kind, self.dice),
        }
    }

    /// The key of a parent that is there, or NULL.
    fn parent_key(&mut self, table: &Table, column: usize) -> String {
        let reference = table.reference.as_ref().expect("only references have parent columns");
        let parent = &self.schema.tables[reference.parent];
        let first = table.columns.iter().position(|column| column.role == Role::Parent);
        let place = column - first.expect("this column is one");
        let (key, all) = (parent.column(parent.key[place]), parent.list(&parent.key));
        let offset = self.dice.below(4);
        format!("(SELECT {key} FROM {} ORDER BY {all} LIMIT 1 OFFSET {offset})", parent.sql())
    }

    /// A value for an INSERT, where NULL may also mean "choose one".
    fn new_value(&mut self, table: &Table, column: usize) -> String {
        let shape = &table.columns[column];
        let chosen = table.alias == Some(column) && !table.explicit_only;
        let null = match shape.role {
            Role::Key if chosen => 40,
            Role::Key if shape.nullable && table.rowid.is_some() && table.alias.is_none() => 8,
            Role::Defaulted => 30,
            _ => 0,
        };
        if self.dice.percent(null) { "NULL".into() } else { self.value(table, column) }
    }

    fn new_row(&mut self, table: &Table) -> String {
        let values: Vec<String> =
            table.insertable().into_iter().map(|column| self.new_value(table, column)).collect();
        format!("({})", values.join(", "))
    }

    /// `WHERE` for up to `limit` rows; which ones depends on the dice and the keys alone.
    fn some_rows(&mut self, table: &Table, limit: usize) -> String {
        let (name, row) = (table.sql(), table.row_name());
        let left = if table.rowid.is_none() && 1 < table.key.len() {
            format!("({row})")
        } else {
            row.clone()
        };
        let offset = self.dice.below(8);
        format!("{left} IN (SELECT {row} FROM {name} ORDER BY {row} LIMIT {limit} OFFSET {offset})")
    }

    fn schema_aims(table: &Table) -> Vec<(Feature, Effect)> {
        let mut aims = Vec::new();
        for verb in &table.verbs {
            aims.push(match *verb {
                "REPLACE" => (Feature::SchemaReplace, Effect::Removed(1)),
                "IGNORE" if table.ignores_seven => continue,
                "IGNORE" => (Feature::SchemaIgnore, Effect::Skipped),
                "FAIL" => (Feature::SchemaFail, Effect::KeptPart),
                "ROLLBACK" => (Feature::SchemaRollback, Effect::Ended),
                _ => (Feature::SchemaAbort, Effect::Refused),
            });
        }
        aims
    }

    fn insert(&mut self, at: usize) -> Statement {
        let table = &self.schema.tables[at];
        let verb = self.dice.pick(&["", "", "", "REPLACE", "IGNORE", "FAIL", "ABORT", "ROLLBACK"]);
        let many = 1 + self.dice.below(4);
        let rows: Vec<String> = (0..many).map(|_| self.new_row(table)).collect();
        let mut aims = vec![(Feature::Inserted, Effect::Added(1))];
        match verb {
            "" => aims.extend(Self::schema_aims(table)),
            "REPLACE" => aims.push((Feature::InsertReplace, Effect::Removed(1))),
            "IGNORE" if table.ignores_seven => {}
            "IGNORE" => aims.push((Feature::InsertIgnore, Effect::Skipped)),
            "FAIL" => aims.push((Feature::InsertFail, Effect::KeptPart)),
            "ABORT" => aims.push((Feature::InsertAbort, Effect::Refused)),
            _ => aims.push((Feature::InsertRollback, Effect::Ended)),
        }
        if 1 < many {
            aims.push((Feature::MultiRow, Effect::Added(2)));
        }
        if table.turns_five && verb.is_empty() {
            aims.push((Feature::TriggerSameRow, Effect::TurnedFive));
        }
        if table.ignores_seven && verb.is_empty() && table.verbs.is_empty() {
            aims.push((Feature::TriggerIgnored, Effect::Skipped));
        }
        self.trigger_aims(at, &mut aims);
        let returning = if self.dice.percent(20) {
            aims.push((Feature::Returning, Effect::Returned));
            " RETURNING *"
        } else {
            ""
        };
        let verb = if verb.is_empty() { String::new() } else { format!(" OR {verb}") };
        let columns = table.list(&table.insertable());
        let sql = format!(
            "INSERT{verb} INTO {} ({columns}) VALUES {}{returning}",
            table.sql(),
            rows.join(", ")
        );
        Statement { sql, table: at, aims }
    }

    fn trigger_aims(&self, at: usize, aims: &mut Vec<(Feature, Effect)>) {
        let log = self.schema.writable();
        let table = &self.schema.tables[at];
        if table.logged {
            aims.push((Feature::TriggerWroteElsewhere, Effect::TouchedIn(log)));
        }
        if table.counted {
            aims.push((Feature::TriggerReplaced, Effect::TouchedIn(log + 1)));
        }
    }

    fn replace(&mut self, at: usize) -> Statement {
        let table = &self.schema.tables[at];
        let columns = table.list(&table.insertable());
        let sql =
            format!("REPLACE INTO {} ({columns}) VALUES {}", table.sql(), self.new_row(table));
        Statement { sql, table: at, aims: vec![(Feature::ReplaceVerb, Effect::Removed(1))] }
    }

    /// Copies from a row what its special unique index covers, and makes all else new.
    fn replace_through_unique(&mut self, at: usize) -> Statement {
        let table = &self.schema.tables[at];
        let Some(unique) = &table.unique else { return self.insert(at) };
        let columns = table.insertable();
        let defaulted = unique.feature == Feature::ThroughDefault;
        let terms: Vec<String> = columns
            .iter()
            .map(|column| {
                let (role, name) = (table.columns[*column].role, table.column(*column));
                let case_alone = unique.feature == Feature::ThroughCollation;
                match role {
                    Role::Defaulted if defaulted => "NULL".into(),
                    _ if unique.columns.contains(column) && case_alone => {
                        format!(
                            "CASE WHEN upper({name}) <> {name} THEN upper({name}) \
                             ELSE {name} || ' ' END"
                        )
                    }
                    _ if unique.columns.contains(column) => name,
                    Role::Unique | Role::Parent => "NULL".into(),
                    Role::Key => fresh(table.columns[*column].kind, self.dice),
                    _ => self.value(table, *column),
                }
            })
            .collect();
        let name = table.sql();
        let condition = if defaulted {
            let defaulted = table.column(unique.columns[0]);
            format!("{defaulted} = 3")
        } else {
            self.some_rows(table, 1)
        };
        let (list, terms) = (table.list(&columns), terms.join(", "));
        let sql = format!(
            "INSERT OR REPLACE INTO {name} ({list}) SELECT {terms} FROM {name} WHERE {condition}"
        );
        Statement { sql, table: at, aims: vec![(unique.feature, Effect::Removed(1))] }
    }

    fn insert_select(&mut self, at: usize) -> Statement {
        let table = &self.schema.tables[at];
        let columns = table.insertable();
        let terms: Vec<String> = columns
            .iter()
            .map(|column| match table.columns[*column].role {
                Role::Key => self.new_value(table, *column),
                Role::Payload | Role::Parent => table.column(*column),
                _ => self.value(table, *column),
            })
            .collect();
        let verb = self.dice.pick(&["", " OR REPLACE", " OR IGNORE", " OR FAIL"]);
        let sql = format!(
            "INSERT{verb} INTO {0} ({1}) SELECT {2} FROM {0} WHERE {3}",
            table.sql(),
            table.list(&columns),
            terms.join(", "),
            self.some_rows(table, 2)
        );
        Statement { sql, table: at, aims: vec![(Feature::InsertSelect, Effect::Added(1))] }
    }

    fn upsert(&mut self, at: usize) -> Statement {
        let table = &self.schema.tables[at];
        let on_unique = table.unique.as_ref().filter(|_| self.dice.percent(50));
        let target = match on_unique {
            Some(unique) => unique.target.clone(),
            None if table.key.is_empty() => String::new(),
            None => format!("({})", table.list(&table.key)),
        };
        let number = table.column(table.number);
        let mut set = format!("{number} = excluded.{number}");
        let movable = (0..table.columns.len())
            .filter(|at| matches!(table.columns[*at].role, Role::Key | Role::Unique | Role::Parent))
            .filter(|at| table.columns[*at].role != Role::Key || on_unique.is_some());
        for column in movable.collect::<Vec<_>>() {
            if self.dice.percent(40) {
                set.push_str(&format!(", {0} = excluded.{0}", table.column(column)));
            }
        }
        let no_seven = !table.ignores_seven;
        let (clause, feature, effect) = match self.dice.below(6) {
            0 if no_seven => (
                format!("ON CONFLICT {target} DO NOTHING"),
                Feature::UpsertNothing,
                Effect::Skipped,
            ),
            1 if no_seven => {
                ("ON CONFLICT DO NOTHING".into(), Feature::UpsertNoTarget, Effect::Skipped)
            }
            2 => {
                let clause = format!("ON CONFLICT DO UPDATE SET {set}");
                (clause, Feature::UpsertNoTarget, Effect::Touched(1))
            }
            3 if no_seven && !target.is_empty() => {
                let clause = format!("ON CONFLICT {target} DO UPDATE SET {set} WHERE 1 = 0");
                (clause, Feature::UpsertWhere, Effect::Skipped)
            }
            _ => {
                let clause = format!("ON CONFLICT {target} DO UPDATE SET {set} WHERE 1 = 1");
                let feature = match on_unique {
                    Some(_) => Feature::UpsertUnique,
                    None => Feature::UpsertUpdate,
                };
                (clause, feature, Effect::Changed(1))
            }
        };
        let mut aims = vec![(feature, effect)];
        let verb = if self.dice.percent(20) {
            aims = vec![(Feature::UpsertReplace, Effect::Removed(1))];
            " OR REPLACE"
        } else {
            ""
        };
        let columns = table.list(&table.insertable());
        let (name, row) = (table.sql(), self.new_row(table));
        let sql = format!("INSERT{verb} INTO {name} ({columns}) VALUES {row} {clause}");
        Statement { sql, table: at, aims }
    }

    fn update(&mut self, at: usize) -> Statement {
        let table = &self.schema.tables[at];
        let verb =
            self.dice.pick(&["", "REPLACE", "REPLACE", "IGNORE", "FAIL", "ABORT", "ROLLBACK"]);
        let candidates: Vec<usize> = (0..table.columns.len())
            .filter(|at| !matches!(table.columns[*at].role, Role::Key | Role::Generated))
            .collect();
        let mut set = Vec::new();
        for column in candidates {
            let unique = table.columns[column].role != Role::Payload;
            if self.dice.percent(if unique { 60 } else { 30 }) {
                set.push(format!("{} = {}", table.column(column), self.value(table, column)));
            }
        }
        if set.is_empty() {
            let value = self.value(table, table.number);
            set.push(format!("{} = {value}", table.column(table.number)));
        }
        let aims = verb_aims(verb);
        let limit = 1 + self.dice.below(4);
        let condition = self.some_rows(table, limit);
        let verb = if verb.is_empty() { String::new() } else { format!(" OR {verb}") };
        let sql = format!("UPDATE{verb} {} SET {} WHERE {condition}", table.sql(), set.join(", "));
        Statement { sql, table: at, aims }
    }

    fn update_key(&mut self, at: usize) -> Statement {
        let table = &self.schema.tables[at];
        if table.key.is_empty() {
            return self.update(at);
        }
        let column = self.dice.pick(&table.key);
        let verb = self.dice.pick(&["", "", "REPLACE", "IGNORE", "FAIL", "ROLLBACK"]);
        let mut aims = verb_aims(verb);
        aims.push((Feature::KeyChanged, Effect::Touched(1)));
        if table.rowid.is_none() {
            aims.push((Feature::WithoutRowidKey, Effect::Added(1)));
        }
        self.reference_aims(at, true, &mut aims);
        let value = self.value(table, column);
        let condition = self.some_rows(table, 1);
        let verb = if verb.is_empty() { String::new() } else { format!(" OR {verb}") };
        let key = table.column(column);
        let sql = format!("UPDATE{verb} {} SET {key} = {value} WHERE {condition}", table.sql());
        Statement { sql, table: at, aims }
    }

    fn shift_keys(&mut self, at: usize) -> Statement {
        let table = &self.schema.tables[at];
        let Some(column) =
            table.key.iter().copied().find(|at| table.columns[*at].kind == Kind::Integer)
        else {
            return self.bulk_update(at);
        };
        let (name, key) = (table.sql(), table.column(column));
        let verb = self.dice.pick(&["", " OR REPLACE", " OR IGNORE", " OR FAIL"]);
        let by = self.dice.pick(&["1", "-1", "20", "-20"]);
        let sql =
            format!("UPDATE{verb} {name} SET {key} = {key} + {by} WHERE {key} BETWEEN 1 AND 60");
        Statement { sql, table: at, aims: vec![(Feature::KeyShifted, Effect::Touched(3))] }
    }

    /// Changes a key in what its collation does not see.
    fn collated_key(&mut self, at: usize) -> Statement {
        let table = &self.schema.tables[at];
        let collated =
            table.key.iter().copied().find(|at| table.columns[*at].collation != "BINARY");
        let Some(column) = collated else { return self.update_key(at) };
        let (name, key) = (table.sql(), table.column(column));
        let condition = self.some_rows(table, 1);
        let (value, feature) = if table.columns[column].collation == "NOCASE" {
            let upper = format!("upper({key}) COLLATE BINARY");
            (
                format!("CASE {upper} WHEN {key} THEN lower({key}) ELSE upper({key}) END"),
                Feature::CaseOnly,
            )
        } else {
            let value =
                format!("CASE WHEN 6 < length({key}) THEN rtrim({key}) ELSE {key} || ' ' END");
            (value, Feature::BlanksOnly)
        };
        let sql = format!("UPDATE {name} SET {key} = {value} WHERE {condition}");
        Statement { sql, table: at, aims: vec![(feature, Effect::Touched(1))] }
    }

    fn explicit_rowid(&mut self, at: usize) -> Statement {
        let table = &self.schema.tables[at];
        let Some(rowid) = table.rowid.filter(|_| table.alias.is_none()) else {
            return self.replace(at);
        };
        let columns = table.list(&table.insertable());
        let verb = self.dice.pick(&["OR REPLACE ", "OR REPLACE ", "", "OR IGNORE "]);
        let row = self.new_row(table);
        let value = 1 + self.dice.below(12);
        let sql = format!(
            "INSERT {verb}INTO {} ({rowid}, {columns}) VALUES ({value}, {}",
            table.sql(),
            &row[1..]
        );
        let effect = if self.dice.percent(50) { Effect::Changed(1) } else { Effect::Removed(1) };
        Statement { sql, table: at, aims: vec![(Feature::ExplicitRowid, effect)] }
    }

    fn update_rowid(&mut self, at: usize) -> Statement {
        let table = &self.schema.tables[at];
        let Some(rowid) = table.rowid else { return self.update_key(at) };
        let verb = self.dice.pick(&["", " OR REPLACE", " OR REPLACE", " OR IGNORE"]);
        let condition = self.some_rows(table, 1);
        let value = 1 + self.dice.below(14);
        let sql = format!("UPDATE{verb} {} SET {rowid} = {value} WHERE {condition}", table.sql());
        let mut aims = vec![(Feature::RowidChanged, Effect::Added(1))];
        if verb == " OR REPLACE" {
            aims.push((Feature::RowidReplaced, Effect::Shrunk));
        }
        if table.alias.is_some() {
            self.reference_aims(at, true, &mut aims);
        }
        Statement { sql, table: at, aims }
    }

    fn update_from(&mut self, at: usize) -> Statement {
        let table = &self.schema.tables[at];
        let (name, number) = (table.sql(), table.column(table.number));
        let unique = (0..table.columns.len())
            .find(|at| matches!(table.columns[*at].role, Role::Unique | Role::Defaulted))
            .filter(|at| table.columns[*at].kind == Kind::Integer);
        let set = table.column(unique.unwrap_or(table.number));
        let keys: Vec<String> = match table.rowid {
            Some(rowid) => vec![rowid.into()],
            None => table.key.iter().map(|at| table.column(*at)).collect(),
        };
        let named = |(at, key): (usize, &String)| format!("{key} AS k{at}");
        let named: Vec<String> = keys.iter().enumerate().map(named).collect();
        let equal = |(at, key): (usize, &String)| format!("{name}.{key} = s.k{at}");
        let equal: Vec<String> = keys.iter().enumerate().map(equal).collect();
        let verb = self.dice.pick(&["", " OR REPLACE", " OR IGNORE"]);
        let sql = format!(
            "UPDATE{verb} {name} SET {set} = s.n FROM \
             (SELECT {}, ({number} & 7) + 1 AS n FROM {name} ORDER BY {} LIMIT 4) AS s WHERE {}",
            named.join(", "),
            keys.join(", "),
            equal.join(" AND ")
        );
        Statement { sql, table: at, aims: vec![(Feature::UpdateFrom, Effect::Touched(1))] }
    }

    fn bulk_update(&mut self, at: usize) -> Statement {
        let table = &self.schema.tables[at];
        let number = table.column(table.number);
        let sql = format!("UPDATE {} SET {number} = ({number} & 1023) + 14", table.sql());
        Statement { sql, table: at, aims: vec![(Feature::BulkUpdate, Effect::Touched(3))] }
    }

    fn delete(&mut self, at: usize) -> Statement {
        let table = &self.schema.tables[at];
        let limit = 1 + self.dice.below(2);
        let condition = self.some_rows(table, limit);
        let mut aims = Vec::new();
        self.reference_aims(at, false, &mut aims);
        let cascades = table.reference.as_ref();
        if limit == 1
            && cascades.is_some_and(|each| each.parent == at && each.on_delete == "CASCADE")
        {
            aims.push((Feature::SelfCascade, Effect::Removed(2)));
        }
        self.trigger_aims(at, &mut aims);
        let sql = format!("DELETE FROM {} WHERE {condition}", table.sql());
        Statement { sql, table: at, aims }
    }

    fn bulk_delete(&mut self, at: usize) -> Statement {
        let table = &self.schema.tables[at];
        let condition = self.some_rows(table, ROWS_MAX / 2);
        let mut aims = vec![(Feature::BulkDelete, Effect::Removed(3))];
        self.reference_aims(at, false, &mut aims);
        let sql = format!("DELETE FROM {} WHERE {condition}", table.sql());
        Statement { sql, table: at, aims }
    }

    fn delete_all(&mut self, at: usize) -> Statement {
        let table = &self.schema.tables[at];
        let sql = format!("DELETE FROM {}", table.sql());
        Statement { sql, table: at, aims: vec![(Feature::DeleteAll, Effect::Emptied)] }
    }

    /// What foreign keys to this table would do.
    fn reference_aims(&self, at: usize, update: bool, aims: &mut Vec<(Feature, Effect)>) {
        for (child, table) in self.schema.tables.iter().enumerate() {
            let Some(reference) = &table.reference else { continue };
            let Reference { parent, on_delete, on_update } = reference;
            if *parent != at || child == at {
                continue;
            }
            let action = if update { on_update } else { on_delete };
            aims.push(match (*action, update) {
                ("CASCADE", false) => (Feature::CascadeDelete, Effect::RemovedFrom(child)),
                ("CASCADE", true) => (Feature::CascadeUpdate, Effect::ChangedIn(child)),
                ("SET NULL", false) => (Feature::DeleteSetNull, Effect::ChangedIn(child)),
                ("SET NULL", true) => (Feature::UpdateSetNull, Effect::ChangedIn(child)),
                ("SET DEFAULT", false) => (Feature::DeleteSetDefault, Effect::ChangedIn(child)),
                ("SET DEFAULT", true) => continue,
                _ => (Feature::Restricted, Effect::RefusedByReference),
            });
        }
    }

    fn through_view(&mut self) -> Statement {
        let view = &self.schema.views[0];
        let table = &self.schema.tables[view.table];
        let name = quoted(&view.name);
        let key = self.value(table, table.key[0]);
        let number = 1 + self.dice.below(12);
        let same = format!(
            "view_key IN (SELECT view_key FROM {name} ORDER BY view_key LIMIT 1 \
                            OFFSET {})",
            self.dice.below(6)
        );
        let (sql, feature) = match self.dice.below(3) {
            0 => {
                let insert = format!("INSERT INTO {name} VALUES ({key}, {number})");
                (insert, Feature::ViewInsert)
            }
            1 => {
                let update = format!("UPDATE {name} SET view_number = {number} WHERE {same}");
                (update, Feature::ViewUpdate)
            }
            _ => (format!("DELETE FROM {name} WHERE {same}"), Feature::ViewDelete),
        };
        Statement { sql, table: view.table, aims: vec![(feature, Effect::Touched(1))] }
    }
}

fn verb_aims(verb: &str) -> Vec<(Feature, Effect)> {
    match verb {
        "REPLACE" => vec![(Feature::UpdateReplace, Effect::Shrunk)],
        "IGNORE" => vec![(Feature::UpdateIgnore, Effect::Skipped)],
        "FAIL" => vec![(Feature::UpdateFail, Effect::KeptPart)],
        "ABORT" => vec![(Feature::UpdateAbort, Effect::Refused)],
        "ROLLBACK" => vec![(Feature::UpdateRollback, Effect::Ended)],
        _ => Vec::new(),
    }
}

/// A key that is hardly taken.
fn fresh(kind: Kind, dice: &mut Dice) -> String {
    let number = 1_000 + dice.below(1_000_000);
    match kind {
        Kind::Text => format!("'fresh {number}'"),
        Kind::Blob => format!("x'{number:08x}'"),
        Kind::Real => format!("{number}.5"),
        Kind::Integer | Kind::Numeric | Kind::Flag => number.to_string(),
    }
}
