//! Random schemas: every kind of key, unique index, foreign key and user trigger.
//!
//! Each schema has one table of most [`Shape`]s and a random choice of the rest. Two tables belong
//! to the user triggers alone (`trigger log`, `trigger count`), so that a change there, or in a
//! child table, has one possible cause.

use super::dice::Dice;
use super::features::Feature;
use super::values::{Kind, LONG_NAME};

/// How a table is keyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `INTEGER PRIMARY KEY`.
    Alias,
    /// `INT PRIMARY KEY` or `INTEGER PRIMARY KEY DESC`: no alias.
    Integer,
    /// `TEXT PRIMARY KEY` on a rowid table.
    Text,
    /// Two columns on a rowid table.
    Composite,
    /// WITHOUT ROWID, one column.
    Without,
    /// WITHOUT ROWID, two or three columns of mixed types.
    WithoutComposite,
    /// No key at all.
    Bag,
    /// One or two columns named like the rowid.
    Shadowed,
    /// STRICT.
    Strict,
    /// Written by user triggers only.
    Triggered,
}

/// A schema and the statements that make it.
#[derive(Clone, Debug)]
pub struct Schema {
    /// Tables; the last two belong to the user triggers.
    pub tables: Vec<Table>,
    /// Views with INSTEAD OF triggers.
    pub views: Vec<View>,
    /// Makes everything, in order.
    pub ddl: Vec<String>,
}

/// A view over a table's key and number, with columns `view_key` and `view_number`.
#[derive(Clone, Debug)]
pub struct View {
    /// Its name.
    pub name: String,
    /// The table below.
    pub table: usize,
}

/// One table. Columns are counted from 0.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// How it is keyed.
    pub shape: Shape,
    /// All columns.
    pub columns: Vec<Column>,
    /// The PRIMARY KEY.
    pub key: Vec<usize>,
    /// The column that is the rowid.
    pub alias: Option<usize>,
    /// A name for the rowid, unless WITHOUT ROWID.
    pub rowid: Option<&'static str>,
    /// AUTOINCREMENT.
    pub autoincrement: bool,
    /// Every insert names its rowid, so that it may be the largest.
    pub explicit_only: bool,
    /// Verbs of the schema's ON CONFLICT clauses.
    pub verbs: Vec<&'static str>,
    /// A unique index of a special kind.
    pub unique: Option<Unique>,
    /// A foreign key.
    pub reference: Option<Reference>,
    /// An INTEGER column without constraint but, sometimes, `CHECK (it <> 13)`.
    pub number: usize,
    /// An insert of 7 into `number` is left out by RAISE(IGNORE).
    pub ignores_seven: bool,
    /// An insert of 5 into `number` becomes [`TURNED`] by a trigger.
    pub turns_five: bool,
    /// A trigger writes `trigger log`.
    pub logged: bool,
    /// A trigger writes `trigger count` with OR REPLACE.
    pub counted: bool,
    /// Its name or a column's is hostile.
    pub hostile: bool,
    /// Reads rowid (or NULL) and all columns.
    pub select: String,
}

/// One column.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// What it is for.
    pub role: Role,
    /// May be NULL.
    pub nullable: bool,
    /// `BINARY`, `NOCASE` or `RTRIM`.
    pub collation: &'static str,
    declared: &'static str,
    clauses: String,
}

/// What a column is for, which says what values it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Part of the PRIMARY KEY.
    Key,
    /// Under a unique index or constraint.
    Unique,
    /// NOT NULL with a default and under a unique index.
    Defaulted,
    /// Refers to a parent's key.
    Parent,
    /// Computed.
    Generated,
    /// Anything.
    Payload,
}

/// A unique index that plain reasoning about columns would miss.
#[derive(Clone, Debug)]
pub struct Unique {
    /// What REPLACE through it proves.
    pub feature: Feature,
    /// Its terms and WHERE, as an upsert target.
    pub target: String,
    /// Columns that must be copied from a row to collide with it.
    pub columns: Vec<usize>,
}

/// A foreign key to an earlier table, or to the table itself.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The parent table.
    pub parent: usize,
    /// ON DELETE.
    pub on_delete: &'static str,
    /// ON UPDATE.
    pub on_update: &'static str,
}

/// What a user trigger makes of a 5; no statement writes it.
pub const TURNED: i64 = 600_005;

/// A name, quoted.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

const VERBS: &[&str] = &["REPLACE", "IGNORE", "FAIL", "ROLLBACK", "ABORT"];

const ACTIONS: &[&str] = &["CASCADE", "SET NULL", "SET DEFAULT", "RESTRICT", "NO ACTION"];

const HOSTILE_TABLES: &[&str] = &[
    "a \"quoted\" name",
    "it's",
    "two\nlines",
    "100%",
    "😀 emoji",
    LONG_NAME,
    "select",
    "Order",
    " leading blank",
    "semi;colon -- comment",
    "back\\slash",
    "{{name}}",
    "$1 ?",
    "user",
    "tab\t",
];

const HOSTILE_COLUMNS: &[&str] = &[
    "\"",
    "'",
    "new\nline",
    "%s",
    "😀",
    LONG_NAME,
    "table",
    "From",
    " ",
    "a;b",
    "\\",
    "{{key}}",
    "$1",
    "current_user",
    "NEW",
    "old",
    "seq",
    "tbl",
];

impl Table {
    /// Places in a snapshot's row that tell rows apart: the rowid, else the key.
    pub fn identity(&self) -> Vec<usize> {
        match self.rowid {
            Some(_) => vec![0],
            None => self.key.iter().map(|at| at + 1).collect(),
        }
    }

    /// Its name, quoted.
    pub fn sql(&self) -> String {
        quoted(&self.name)
    }

    /// A column's name, quoted.
    pub fn column(&self, at: usize) -> String {
        quoted(&self.columns[at].name)
    }

    /// Names of columns, quoted, with commas.
    pub fn list(&self, columns: &[usize]) -> String {
        columns.iter().map(|at| self.column(*at)).collect::<Vec<_>>().join(", ")
    }

    /// Columns that an INSERT may name.
    pub fn insertable(&self) -> Vec<usize> {
        (0..self.columns.len()).filter(|at| self.columns[*at].role != Role::Generated).collect()
    }

    /// What names a row in SQL: the rowid, else the key.
    pub fn row_name(&self) -> String {
        self.rowid.map_or_else(|| self.list(&self.key), String::from)
    }

    /// `WHERE` for the row that a trigger runs for.
    fn same_row(&self, side: &str) -> String {
        match self.rowid {
            Some(rowid) => format!("{rowid} = {side}.{rowid}"),
            None => {
                let equal = |at: &usize| format!("{0} IS {side}.{0}", self.column(*at));
                self.key.iter().map(equal).collect::<Vec<_>>().join(" AND ")
            }
        }
    }

    /// May be a parent: its key holds no NULL and compares bytewise.
    fn can_be_parent(&self) -> bool {
        !self.key.is_empty()
            && self.key.iter().all(|at| {
                let column = &self.columns[*at];
                column.collation == "BINARY"
                    && (!column.nullable || self.alias == Some(*at))
                    && matches!(column.kind, Kind::Integer | Kind::Text)
            })
    }
}

impl Schema {
    /// The schema that belongs to these dice.
    pub fn random(dice: &mut Dice) -> Self {
        let mut shapes = vec![Shape::Alias, Shape::Text, Shape::Bag];
        for shape in [
            Shape::Alias,
            Shape::Integer,
            Shape::Text,
            Shape::Composite,
            Shape::Without,
            Shape::WithoutComposite,
            Shape::Shadowed,
            Shape::Strict,
        ] {
            if dice.percent(55) {
                shapes.push(shape);
            }
        }
        let mut schema = Self { tables: Vec::new(), views: Vec::new(), ddl: Vec::new() };
        for shape in shapes {
            let builder = Builder::new(shape, &schema, dice);
            let (table, ddl) = builder.finish(&schema);
            schema.tables.push(table);
            schema.ddl.extend(ddl);
        }
        schema.add_triggers(dice);
        schema.add_view(dice);
        schema
    }

    /// Tables that statements may name.
    pub fn writable(&self) -> usize {
        self.tables.len() - 2
    }

    fn add_triggers(&mut self, dice: &mut Dice) {
        let (log, count) = ("\"trigger log\"", "\"trigger count\"");
        self.ddl
            .push(format!("CREATE TABLE {log} (id INTEGER PRIMARY KEY, what TEXT, note INTEGER)"));
        self.ddl.push(format!("CREATE TABLE {count} (name TEXT NOT NULL PRIMARY KEY, n INTEGER)"));
        for (at, table) in self.tables.iter_mut().enumerate() {
            let (name, number) = (table.sql(), table.column(table.number));
            table.logged = dice.percent(40);
            table.counted = dice.percent(30);
            table.ignores_seven = dice.percent(25);
            table.turns_five = dice.percent(30);
            if table.logged {
                let (event, side) =
                    dice.pick(&[("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")]);
                self.ddl.push(format!(
                    "CREATE TRIGGER user_log_{at} AFTER {event} ON {name} BEGIN \
                     INSERT INTO {log}(what, note) VALUES ('{event} {at}', {side}.{number}); \
                     DELETE FROM {log} WHERE id <= (SELECT max(id) FROM {log}) - 8; END"
                ));
            }
            if table.counted {
                let event = dice.pick(&["BEFORE INSERT", "AFTER UPDATE", "BEFORE DELETE"]);
                self.ddl.push(format!(
                    "CREATE TRIGGER user_count_{at} {event} ON {name} BEGIN \
                     INSERT OR REPLACE INTO {count}(name, n) VALUES ('{at}', \
                     1 + coalesce((SELECT n FROM {count} WHERE name = '{at}'), 0)); END"
                ));
            }
            if table.ignores_seven {
                self.ddl.push(format!(
                    "CREATE TRIGGER user_ignore_{at} BEFORE INSERT ON {name} \
                     WHEN NEW.{number} = 7 BEGIN SELECT RAISE(IGNORE); END"
                ));
            }
            if table.turns_five {
                self.ddl.push(format!(
                    "CREATE TRIGGER user_turn_{at} AFTER INSERT ON {name} \
                     WHEN NEW.{number} = 5 \
                     BEGIN UPDATE {name} SET {number} = {TURNED} WHERE {}; END",
                    table.same_row("NEW")
                ));
            }
        }
        self.tables.push(triggered("trigger log", &["id", "what", "note"], Some(0)));
        self.tables.push(triggered("trigger count", &["name", "n"], None));
    }

    fn add_view(&mut self, dice: &mut Dice) {
        let candidates: Vec<usize> =
            (0..self.writable()).filter(|at| self.tables[*at].key.len() == 1).collect();
        let at = dice.pick(&candidates);
        let table = &self.tables[at];
        let (name, key) = (table.sql(), table.column(table.key[0]));
        let number = table.column(table.number);
        self.ddl.push(format!(
            "CREATE VIEW \"a view\" (view_key, view_number) AS SELECT {key}, {number} FROM {name}"
        ));
        self.ddl.push(format!(
            "CREATE TRIGGER user_view_insert INSTEAD OF INSERT ON \"a view\" BEGIN \
             INSERT OR REPLACE INTO {name}({key}, {number}) \
             VALUES (NEW.view_key, NEW.view_number); END"
        ));
        self.ddl.push(format!(
            "CREATE TRIGGER user_view_update INSTEAD OF UPDATE ON \"a view\" BEGIN \
             UPDATE {name} SET {number} = NEW.view_number WHERE {key} IS OLD.view_key; END"
        ));
        self.ddl.push(format!(
            "CREATE TRIGGER user_view_delete INSTEAD OF DELETE ON \"a view\" BEGIN \
             DELETE FROM {name} WHERE {key} IS OLD.view_key; END"
        ));
        self.views.push(View { name: "a view".into(), table: at });
    }
}

/// A table that user triggers write.
fn triggered(name: &str, columns: &[&str], alias: Option<usize>) -> Table {
    let columns: Vec<Column> = columns
        .iter()
        .enumerate()
        .map(|(at, name)| Column {
            name: (*name).into(),
            kind: if *name == "what" || *name == "name" { Kind::Text } else { Kind::Integer },
            role: if at == 0 { Role::Key } else { Role::Payload },
            nullable: at != 0,
            collation: "BINARY",
            declared: "",
            clauses: String::new(),
        })
        .collect();
    let mut table = empty_table(name.into(), Shape::Triggered);
    table.columns = columns;
    table.key = vec![0];
    table.alias = alias;
    table.select = select(&table);
    table
}

fn empty_table(name: String, shape: Shape) -> Table {
    Table {
        name,
        shape,
        columns: Vec::new(),
        key: Vec::new(),
        alias: None,
        rowid: Some("rowid"),
        autoincrement: false,
        explicit_only: false,
        verbs: Vec::new(),
        unique: None,
        reference: None,
        number: 1,
        ignores_seven: false,
        turns_five: false,
        logged: false,
        counted: false,
        hostile: false,
        select: String::new(),
    }
}

fn select(table: &Table) -> String {
    let all: Vec<usize> = (0..table.columns.len()).collect();
    format!("SELECT {}, {} FROM {}", table.rowid.unwrap_or("NULL"), table.list(&all), table.sql())
}

/// Puts one table together.
struct Builder<'a> {
    table: Table,
    dice: &'a mut Dice,
    /// Names for the next columns that must not have others.
    forced: Vec<&'static str>,
    constraints: Vec<String>,
    after: Vec<String>,
}

impl<'a> Builder<'a> {
    fn new(shape: Shape, schema: &Schema, dice: &'a mut Dice) -> Self {
        let at = schema.tables.len();
        let mut name = format!("t{at}");
        let hostile = dice.percent(20);
        if hostile {
            let candidate = dice.pick(HOSTILE_TABLES);
            if !schema.tables.iter().any(|table| table.name == candidate) {
                name = candidate.into();
            }
        }
        let mut table = empty_table(name, shape);
        table.hostile = hostile;
        Self { table, dice, forced: Vec::new(), constraints: Vec::new(), after: Vec::new() }
    }

    fn finish(mut self, schema: &Schema) -> (Table, Vec<String>) {
        self.add_key();
        self.table.number = self.table.columns.len();
        let number = self.push("i", Kind::Integer, Role::Payload, true, "");
        if self.dice.percent(25) {
            let clauses = format!("CHECK ({} <> 13)", self.table.column(number));
            self.table.columns[number].clauses = clauses;
        }
        for (name, kind) in [
            ("r", Kind::Real),
            ("t", Kind::Text),
            ("b", Kind::Blob),
            ("n", Kind::Numeric),
            ("f", Kind::Flag),
        ] {
            let possible = self.table.shape != Shape::Strict || !matches!(name, "n" | "f");
            if possible && self.dice.percent(50) {
                self.push(name, kind, Role::Payload, true, "");
            }
        }
        if self.dice.percent(30) {
            let verb = self.dice.pick(VERBS);
            self.table.verbs.push(verb);
            self.push(
                "p",
                Kind::Integer,
                Role::Unique,
                true,
                &format!("UNIQUE ON CONFLICT {verb}"),
            );
        }
        if self.dice.percent(65) {
            self.add_unique(schema.tables.len());
        }
        if self.dice.percent(60) {
            self.add_reference(schema);
        }
        self.table.select = select(&self.table);
        let definitions: Vec<String> = self
            .table
            .columns
            .iter()
            .map(|column| {
                format!("{} {} {}", quoted(&column.name), column.declared, column.clauses)
            })
            .chain(self.constraints)
            .collect();
        let suffix = match self.table.shape {
            Shape::Without | Shape::WithoutComposite => " WITHOUT ROWID",
            Shape::Strict => " STRICT",
            _ => "",
        };
        let create =
            format!("CREATE TABLE {} ({}){suffix}", self.table.sql(), definitions.join(", "));
        let mut ddl = vec![create];
        ddl.extend(self.after);
        (self.table, ddl)
    }

    /// Adds a column and returns its place.
    fn push(&mut self, name: &str, kind: Kind, role: Role, nullable: bool, clauses: &str) -> usize {
        let mut name = self.forced.pop().unwrap_or(name).to_string();
        if self.table.hostile && self.dice.percent(40) {
            let candidate = self.dice.pick(HOSTILE_COLUMNS);
            let taken = |column: &Column| column.name.eq_ignore_ascii_case(candidate);
            if !self.table.columns.iter().any(taken) {
                name = candidate.into();
            }
        }
        let declared = self.declared(kind);
        self.table.columns.push(Column {
            name,
            kind,
            role,
            nullable,
            collation: "BINARY",
            declared,
            clauses: clauses.into(),
        });
        self.table.columns.len() - 1
    }

    fn declared(&mut self, kind: Kind) -> &'static str {
        let strict = self.table.shape == Shape::Strict;
        let choices: &[&str] = match kind {
            Kind::Integer => &["INTEGER", "INT", "BIGINT", "SMALLINT"],
            Kind::Real => &["REAL", "DOUBLE PRECISION", "FLOAT"],
            Kind::Text => &["TEXT", "VARCHAR(20)", "CHAR(2)", "CLOB"],
            Kind::Blob => &["BLOB"],
            Kind::Numeric => &["NUMERIC", "DECIMAL(10,2)"],
            Kind::Flag => &["BOOLEAN"],
        };
        if strict { choices[0] } else { self.dice.pick(choices) }
    }

    /// A schema-level conflict clause, sometimes.
    fn verb(&mut self) -> String {
        if self.dice.percent(30) {
            let verb = self.dice.pick(VERBS);
            self.table.verbs.push(verb);
            format!(" ON CONFLICT {verb}")
        } else {
            String::new()
        }
    }

    fn add_key(&mut self) {
        match self.table.shape {
            Shape::Alias | Shape::Strict => self.add_alias(),
            Shape::Integer => {
                let (declared, order) = self.dice.pick(&[("INT", ""), ("INTEGER", " DESC")]);
                let nullable = self.dice.percent(50);
                let verb = self.verb();
                let not_null = if nullable { "" } else { "NOT NULL " };
                let clauses = format!("{not_null}PRIMARY KEY{order}{verb}");
                let at = self.push("id", Kind::Integer, Role::Key, nullable, &clauses);
                self.table.columns[at].declared = declared;
                self.table.key = vec![at];
            }
            Shape::Text => self.add_text_key(),
            Shape::Composite => self.add_composite_key(&[Kind::Text, Kind::Integer], true),
            Shape::Without => {
                let kind = self.dice.pick(&[Kind::Text, Kind::Integer, Kind::Blob, Kind::Real]);
                self.table.rowid = None;
                self.add_composite_key(&[kind], false);
            }
            Shape::WithoutComposite => {
                self.table.rowid = None;
                let kinds: &[Kind] = self.dice.pick(&[
                    &[Kind::Integer, Kind::Text][..],
                    &[Kind::Text, Kind::Blob, Kind::Integer],
                    &[Kind::Real, Kind::Text],
                    &[Kind::Numeric, Kind::Integer],
                ]);
                self.add_composite_key(kinds, false);
            }
            Shape::Shadowed => self.add_shadowed(),
            Shape::Bag | Shape::Triggered => {}
        }
    }

    fn add_alias(&mut self) {
        self.table.autoincrement = self.dice.percent(40);
        self.table.explicit_only = !self.table.autoincrement && self.dice.percent(40);
        let clauses = if self.table.autoincrement {
            "PRIMARY KEY AUTOINCREMENT".into()
        } else {
            format!("PRIMARY KEY{}", self.verb())
        };
        let at = self.push("id", Kind::Integer, Role::Key, true, &clauses);
        self.table.columns[at].declared = "INTEGER";
        self.table.key = vec![at];
        self.table.alias = Some(at);
    }

    fn add_text_key(&mut self) {
        let collation = self.dice.pick(&["BINARY", "BINARY", "NOCASE", "RTRIM"]);
        let nullable = self.dice.percent(50);
        let not_null = if nullable { "" } else { "NOT NULL " };
        let verb = self.verb();
        let clauses = format!("COLLATE {collation} {not_null}PRIMARY KEY{verb}");
        let at = self.push("k", Kind::Text, Role::Key, nullable, &clauses);
        self.table.columns[at].collation = collation;
        self.table.key = vec![at];
    }

    fn add_composite_key(&mut self, kinds: &[Kind], may_be_null: bool) {
        let nullable = may_be_null && self.dice.percent(40);
        let verb = self.verb();
        for (at, kind) in kinds.iter().enumerate() {
            let collation = match kind {
                Kind::Text => self.dice.pick(&["BINARY", "NOCASE", "RTRIM"]),
                _ => "BINARY",
            };
            let mut clauses = format!("COLLATE {collation}");
            if may_be_null && !nullable {
                clauses.push_str(" NOT NULL");
            }
            let name = ["k", "l", "m"][at];
            let at = self.push(name, *kind, Role::Key, nullable, &clauses);
            self.table.columns[at].collation = collation;
            self.table.key.push(at);
        }
        let list = self.table.list(&self.table.key);
        self.constraints.push(format!("PRIMARY KEY ({list}){verb}"));
    }

    fn add_shadowed(&mut self) {
        let mut names = vec!["rowid", "_rowid_", "oid"];
        let free = names.remove(self.dice.below(3));
        if self.dice.percent(50) {
            names.remove(self.dice.below(2));
        }
        self.table.rowid = Some(free);
        self.table.hostile = false;
        match self.dice.below(3) {
            0 => {
                self.add_text_key();
                self.forced = names;
            }
            1 => {
                self.forced = names;
                self.add_alias();
            }
            _ => self.forced = names,
        }
        while !self.forced.is_empty() {
            let kind = self.dice.pick(&[Kind::Integer, Kind::Text]);
            self.push("shadow", kind, Role::Payload, true, "");
        }
    }

    fn add_unique(&mut self, at: usize) {
        let kind = self.dice.below(6);
        let (number, default) = (self.table.number, 3);
        let u = if kind == 4 {
            let clauses = format!("NOT NULL DEFAULT {default}");
            self.push("u", Kind::Integer, Role::Defaulted, false, &clauses)
        } else {
            self.push("u", Kind::Integer, Role::Unique, true, "")
        };
        let needs_text = matches!(kind, 0 | 2 | 3);
        let text = needs_text.then(|| self.push("w", Kind::Text, Role::Unique, true, ""));
        let u_sql = self.table.column(u);
        let text_sql = text.map_or_else(String::new, |text| self.table.column(text));
        let number_sql = self.table.column(number);
        let mut columns = vec![u];
        let (feature, terms, predicate) = match kind {
            0 => {
                columns = text.into_iter().collect();
                let collation = self.dice.pick(&["NOCASE", "RTRIM"]);
                let terms = format!("{text_sql} COLLATE {collation}");
                (Feature::ThroughCollation, terms, String::new())
            }
            1 => {
                columns.push(number);
                let predicate = format!(" WHERE {number_sql} BETWEEN 1 AND 900");
                (Feature::ThroughPartial, u_sql, predicate)
            }
            2 if self.dice.percent(50) => {
                columns = text.into_iter().collect();
                (Feature::ThroughExpression, format!("lower({text_sql})"), String::new())
            }
            2 => (Feature::ThroughExpression, format!("{u_sql} % 7"), String::new()),
            3 => {
                columns.extend(text);
                (Feature::ThroughMulti, format!("{text_sql}, {u_sql}"), String::new())
            }
            4 => (Feature::ThroughDefault, u_sql, String::new()),
            _ => {
                let stored = self.dice.pick(&["STORED", "VIRTUAL"]);
                let clauses = format!("GENERATED ALWAYS AS ({u_sql} % 7) {stored}");
                let g = self.push("g", Kind::Integer, Role::Generated, true, &clauses);
                (Feature::ThroughGenerated, self.table.column(g), String::new())
            }
        };
        self.after.push(format!(
            "CREATE UNIQUE INDEX special_{at} ON {} ({terms}){predicate}",
            self.table.sql()
        ));
        let target = format!("({terms}){predicate}");
        self.table.unique = Some(Unique { feature, target, columns });
    }

    fn add_reference(&mut self, schema: &Schema) {
        let mut parents: Vec<usize> =
            (0..schema.tables.len()).filter(|at| schema.tables[*at].can_be_parent()).collect();
        let own = schema.tables.len();
        if self.table.can_be_parent() && self.table.key.len() == 1 && self.dice.percent(50) {
            parents = vec![own];
        }
        if parents.is_empty() {
            return;
        }
        let parent = self.dice.pick(&parents);
        let parent_table =
            if parent == own { self.table.clone() } else { schema.tables[parent].clone() };
        let mut columns = Vec::new();
        for (at, key) in parent_table.key.iter().enumerate() {
            let kind = parent_table.columns[*key].kind;
            let default = if kind == Kind::Text { "DEFAULT 'a'" } else { "DEFAULT 1" };
            columns.push(self.push(["parent", "parent2"][at], kind, Role::Parent, true, default));
        }
        let (on_delete, on_update) = (self.dice.pick(ACTIONS), self.dice.pick(ACTIONS));
        let deferred = if self.dice.percent(30) { " DEFERRABLE INITIALLY DEFERRED" } else { "" };
        self.constraints.push(format!(
            "FOREIGN KEY ({}) REFERENCES {} ({}) ON DELETE {on_delete} \
             ON UPDATE {on_update}{deferred}",
            self.table.list(&columns),
            parent_table.sql(),
            parent_table.list(&parent_table.key),
        ));
        self.table.reference = Some(Reference { parent, on_delete, on_update });
    }
}
