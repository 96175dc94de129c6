//! Runs units on several connections in turn, and counts what had effect.
//!
//! All rows are read before and after each statement. A statement may fail by constraint or find
//! the file locked; anything else is a mistake in the generator and comes back as an error.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode};

use super::dice::Dice;
use super::features::{Feature, Features};
use super::schema::{Reference, Schema, Shape, TURNED};
use super::snapshot::{Change, Snapshot, cell};
use super::statements::{Author, Effect, Statement, Step, Unit};
use super::values::Kind;

/// Statements that are kept to be shown.
const HISTORY_MAX: usize = 40;

/// Connections of the application.
pub const CONNECTIONS: usize = 3;

/// How long a statement waits for a lock; nobody holds one for longer than a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// Something that a watcher may want to check.
pub enum Event<'a> {
    /// A savepoint was opened.
    Savepoint(&'static str),
    /// A savepoint was rolled back to.
    RolledBackTo(&'static str),
    /// The transaction was rolled back as a whole.
    RolledBack,
    /// What was done is committed, if it was anything.
    Committed {
        /// All rows at the commit before.
        before: &'a Snapshot,
        /// All rows now.
        after: &'a Snapshot,
    },
}

/// Checks an event, seen from the connection where it happened.
pub type Watcher<'a> = dyn FnMut(&Connection, Event<'_>) -> Result<(), String> + 'a;

/// An application at work on one file.
pub struct Session<'a> {
    schema: &'a Schema,
    connections: Vec<Connection>,
    foreign_keys: Vec<bool>,
    recursive: Vec<bool>,
    /// All rows at the last commit.
    committed: Snapshot,
    /// All rows as the connection at work sees them.
    current: Snapshot,
    /// Statements of the open transaction, and whether one of them failed.
    pending: (usize, bool),
    savepoints: Vec<(&'static str, Snapshot)>,
    history: VecDeque<String>,
    /// What happened.
    pub features: Features,
}

impl<'a> Session<'a> {
    /// Makes the file with its schema; `journal` is `wal` or `delete`.
    pub fn create(file: &Path, schema: &'a Schema, journal: &str) -> Result<Self, String> {
        let first = connect(file)?;
        first
            .execute_batch(&format!("PRAGMA journal_mode = {journal}"))
            .map_err(|error| format!("{error}: journal mode"))?;
        for sql in &schema.ddl {
            first.execute_batch(sql).map_err(|error| format!("{error}: {sql}"))?;
        }
        let committed = Snapshot::read(&first, schema).map_err(|error| error.to_string())?;
        let mut connections = vec![first];
        for _ in 1..CONNECTIONS {
            connections.push(connect(file)?);
        }
        let mut foreign_keys = Vec::new();
        for (at, connection) in connections.iter().enumerate() {
            let on = at != 2;
            connection
                .execute_batch(&format!("PRAGMA foreign_keys = {}", u8::from(on)))
                .map_err(|error| error.to_string())?;
            foreign_keys.push(on);
        }
        Ok(Self {
            schema,
            foreign_keys,
            recursive: vec![false; connections.len()],
            connections,
            current: committed.clone(),
            committed,
            pending: (0, false),
            savepoints: Vec::new(),
            history: VecDeque::new(),
            features: Features::default(),
        })
    }

    /// Runs random units until at least `statements` more statements have run.
    pub fn run(
        &mut self,
        statements: u64,
        dice: &mut Dice,
        watcher: &mut Watcher<'_>,
    ) -> Result<(), String> {
        let end = self.features.statements + statements;
        while self.features.statements < end {
            let rows: Vec<usize> = self.current.tables.iter().map(Vec::len).collect();
            let unit = Author::new(self.schema, dice).unit(&rows, self.connections.len());
            self.run_unit(&unit, watcher)?;
        }
        self.count_values();
        self.check_classes()
    }

    /// The last statements, oldest first.
    pub fn history(&self) -> String {
        self.history.iter().map(|line| format!("  {line};\n")).collect()
    }

    /// A connection to ask with; no transaction is open on it between units.
    pub fn connection(&self) -> &Connection {
        &self.connections[0]
    }

    fn run_unit(&mut self, unit: &Unit, watcher: &mut Watcher<'_>) -> Result<(), String> {
        let at = unit.connection;
        if let Some(pragma) = unit.pragma {
            self.execute(at, pragma)?;
            let on = pragma.ends_with('1');
            if pragma.contains("foreign_keys") {
                self.foreign_keys[at] = on;
            } else {
                self.recursive[at] = on;
            }
        }
        self.pending = (0, false);
        self.savepoints.clear();
        for step in &unit.steps {
            self.step(at, step, watcher)?;
        }
        if self.connections[at].is_autocommit() { Ok(()) } else { Err("unit left open".into()) }
    }

    fn step(&mut self, at: usize, step: &Step, watcher: &mut Watcher<'_>) -> Result<(), String> {
        let open = !self.connections[at].is_autocommit();
        let known = |name: &str| self.savepoints.iter().rposition(|(each, _)| *each == name);
        match step {
            Step::Begin(kind) => {
                self.execute(at, &format!("BEGIN {kind}"))?;
            }
            Step::Run(statement) => self.run_statement(at, statement, watcher)?,
            Step::Savepoint(_) if !open => {}
            Step::Savepoint(name) => {
                self.execute(at, &format!("SAVEPOINT {name}"))?;
                self.savepoints.push((name, self.current.clone()));
                watcher(&self.connections[at], Event::Savepoint(name))?;
            }
            Step::RollbackTo(name) => {
                let Some(place) = known(name) else { return Ok(()) };
                self.execute(at, &format!("ROLLBACK TO {name}"))?;
                let now = self.read(at)?;
                let before = std::mem::replace(&mut self.current, now);
                if before != self.current {
                    self.features.count(Feature::SavepointRolledBack);
                    if 0 < place {
                        self.features.count(Feature::SavepointNested);
                    }
                }
                if self.current != self.savepoints[place].1 {
                    return Err(format!("ROLLBACK TO {name} did not restore the rows"));
                }
                self.savepoints.truncate(place + 1);
                watcher(&self.connections[at], Event::RolledBackTo(name))?;
            }
            Step::Release(name) => {
                let Some(place) = known(name) else { return Ok(()) };
                self.execute(at, &format!("RELEASE {name}"))?;
                if self.savepoints[place].1 != self.current {
                    self.features.count(Feature::SavepointReleased);
                }
                self.savepoints.truncate(place);
            }
            Step::Commit if open => self.commit(at, watcher)?,
            Step::Rollback if open => {
                self.roll_back(at, watcher)?;
            }
            Step::Commit | Step::Rollback => {}
        }
        Ok(())
    }

    fn commit(&mut self, at: usize, watcher: &mut Watcher<'_>) -> Result<(), String> {
        if !self.execute(at, "COMMIT")? {
            self.features.count(Feature::DeferredRefused);
            return self.roll_back(at, watcher);
        }
        if self.current != self.committed {
            if 1 < self.pending.0 {
                self.features.count(Feature::Committed);
            }
            if self.pending.1 {
                self.features.count(Feature::FailedInside);
            }
        }
        self.at_rest(at, watcher)
    }

    fn roll_back(&mut self, at: usize, watcher: &mut Watcher<'_>) -> Result<(), String> {
        self.execute(at, "ROLLBACK")?;
        if self.current != self.committed {
            self.features.count(Feature::RolledBack);
        }
        self.rolled_back(at, watcher)
    }

    fn rolled_back(&mut self, at: usize, watcher: &mut Watcher<'_>) -> Result<(), String> {
        self.savepoints.clear();
        self.current = self.read(at)?;
        if self.current != self.committed {
            return Err("a rollback did not restore the rows".into());
        }
        watcher(&self.connections[at], Event::RolledBack)
    }

    /// No transaction is open: what is there now is committed.
    fn at_rest(&mut self, at: usize, watcher: &mut Watcher<'_>) -> Result<(), String> {
        let event = Event::Committed { before: &self.committed, after: &self.current };
        watcher(&self.connections[at], event)?;
        if self.committed != self.current {
            self.features.transactions += 1;
            match at {
                1 => self.features.count(Feature::SecondConnection),
                2 => self.features.count(Feature::ThirdConnection),
                _ => {}
            }
            let changes = self.current.changes_since(&self.committed, self.schema);
            for (table, change) in self.schema.tables.iter().zip(changes) {
                if 0 < change.total() {
                    match table.shape {
                        Shape::Strict => self.features.count(Feature::Strict),
                        Shape::Shadowed => self.features.count(Feature::ShadowedRowid),
                        _ => {}
                    }
                    if table.hostile {
                        self.features.count(Feature::HostileName);
                    }
                }
            }
            self.committed.clone_from(&self.current);
        }
        self.pending = (0, false);
        self.savepoints.clear();
        Ok(())
    }

    fn run_statement(
        &mut self,
        at: usize,
        statement: &Statement,
        watcher: &mut Watcher<'_>,
    ) -> Result<(), String> {
        let open = !self.connections[at].is_autocommit();
        self.remember(at, &statement.sql);
        self.features.statements += 1;
        let outcome = Outcome::of(&self.connections[at], &statement.sql)?;
        let ended = open && self.connections[at].is_autocommit();
        match outcome {
            Outcome::Done(_) => self.pending.0 += 1,
            Outcome::Refused { .. } => {
                self.pending.1 = true;
                self.features.refused += 1;
                self.remember(at, "-- ^ refused");
            }
            Outcome::Busy => {
                self.features.busy += 1;
                self.remember(at, "-- ^ busy");
            }
        }
        if ended {
            for (feature, effect) in &statement.aims {
                if *effect == Effect::Ended {
                    self.features.count(*feature);
                }
            }
            self.pending = (0, false);
            return self.rolled_back(at, watcher);
        }
        let now = self.read(at)?;
        let before = std::mem::replace(&mut self.current, now);
        let changes = self.current.changes_since(&before, self.schema);
        let seen = Seen { outcome: &outcome, changes: &changes, before: &before, open };
        for (feature, effect) in &statement.aims {
            if seen.shows(*effect, statement, &self.current, self.schema) {
                self.features.count(*feature);
                if is_replace(*feature) {
                    let recursive = self.recursive[at];
                    let on_off = [Feature::RecursiveOff, Feature::RecursiveOn];
                    self.features.count(on_off[usize::from(recursive)]);
                }
            }
        }
        let is_parent = |reference: &Reference| reference.parent == statement.table;
        let has_child =
            self.schema.tables.iter().any(|table| table.reference.as_ref().is_some_and(is_parent));
        if !self.foreign_keys[at] && has_child && 0 < changes[statement.table].removed {
            self.features.count(Feature::ForeignKeysOff);
        }
        if open { Ok(()) } else { self.at_rest(at, watcher) }
    }

    /// Runs something that is no aim of its own. False if it was refused by a constraint.
    fn execute(&mut self, at: usize, sql: &str) -> Result<bool, String> {
        self.remember(at, sql);
        match Outcome::of(&self.connections[at], sql)? {
            Outcome::Done(_) => Ok(true),
            Outcome::Refused { .. } => Ok(false),
            Outcome::Busy => Err(format!("locked for {BUSY_TIMEOUT:?}: {sql}")),
        }
    }

    fn read(&self, at: usize) -> Result<Snapshot, String> {
        Snapshot::read(&self.connections[at], self.schema).map_err(|error| error.to_string())
    }

    fn remember(&mut self, at: usize, sql: &str) {
        if self.history.len() == HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(format!("/* {at} */ {sql}"));
    }

    /// The workload promises to keep values in their column's storage class.
    fn check_classes(&self) -> Result<(), String> {
        for (table, rows) in self.schema.tables.iter().zip(&self.committed.tables) {
            for (at, column) in table.columns.iter().enumerate() {
                let classes: &[u8] = match column.kind {
                    Kind::Integer | Kind::Flag => b"ni",
                    Kind::Real => b"nr",
                    Kind::Text => b"nt",
                    Kind::Blob => b"nb",
                    Kind::Numeric => b"nir",
                };
                if rows.iter().any(|row| !classes.contains(&row[at + 1][0])) {
                    let (table, column) = (&table.name, &column.name);
                    return Err(format!("{table:?}.{column:?} holds another storage class"));
                }
            }
        }
        Ok(())
    }

    /// Counts the awkward values that are there now.
    fn count_values(&mut self) {
        for (table, rows) in self.schema.tables.iter().zip(&self.committed.tables) {
            for row in rows {
                let alias = table.alias.is_some();
                if !alias && table.key.iter().any(|at| row[at + 1] == b"n") {
                    self.features.count(Feature::NullKey);
                }
                for cell in row {
                    for feature in features_of(cell) {
                        self.features.count(feature);
                    }
                }
            }
            if table.shape == Shape::Bag {
                let mut contents: Vec<_> = rows.iter().map(|row| &row[1..]).collect();
                contents.sort();
                if contents.windows(2).any(|pair| pair[0] == pair[1]) {
                    self.features.count(Feature::Duplicates);
                }
            }
        }
    }
}

fn connect(file: &Path) -> Result<Connection, String> {
    let connection = Connection::open(file).map_err(|error| error.to_string())?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(|error| error.to_string())?;
    connection.set_prepared_statement_cache_capacity(64);
    // Power does not fail in these tests.
    connection.execute_batch("PRAGMA synchronous = OFF").map_err(|error| error.to_string())?;
    Ok(connection)
}

fn is_replace(feature: Feature) -> bool {
    matches!(
        feature,
        Feature::InsertReplace
            | Feature::ReplaceVerb
            | Feature::SchemaReplace
            | Feature::ThroughCollation
            | Feature::ThroughPartial
            | Feature::ThroughExpression
            | Feature::ThroughMulti
            | Feature::ThroughDefault
            | Feature::ThroughGenerated
            | Feature::UpdateReplace
            | Feature::RowidReplaced
    )
}

fn features_of(cell: &[u8]) -> Vec<Feature> {
    let mut features = Vec::new();
    let Some((tag, bytes)) = cell.split_first() else { return features };
    if 4096 < bytes.len() {
        features.push(Feature::LongValue);
    }
    let number = <[u8; 8]>::try_from(bytes);
    match (tag, number) {
        (b'i', Ok(bytes)) if [i64::MAX, i64::MIN].contains(&i64::from_be_bytes(bytes)) => {
            features.push(Feature::Extremes);
        }
        (b'r', Ok(bytes)) => {
            let value = f64::from_be_bytes(bytes);
            if value.is_infinite() {
                features.push(Feature::Infinity);
            }
            if value.is_subnormal() {
                features.push(Feature::Subnormal);
            }
        }
        (b't', _) if bytes.is_empty() => features.push(Feature::EmptyText),
        (b't', _) => {
            if bytes.ends_with(b" ") {
                features.push(Feature::TrailingBlank);
            }
            if bytes.iter().any(|byte| 0xf0 <= *byte) {
                features.push(Feature::Emoji);
            }
        }
        (b'b', _) if bytes.is_empty() => features.push(Feature::EmptyBlob),
        _ => {}
    }
    features
}

/// How a statement ended.
enum Outcome {
    /// Well, with so many rows returned.
    Done(usize),
    /// By a constraint.
    Refused { by_reference: bool },
    /// It found the file locked.
    Busy,
}

impl Outcome {
    fn of(connection: &Connection, sql: &str) -> Result<Self, String> {
        let run = || -> rusqlite::Result<usize> {
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.query([])?;
            let mut count = 0;
            while rows.next()?.is_some() {
                count += 1;
            }
            Ok(count)
        };
        match run() {
            Ok(rows) => Ok(Self::Done(rows)),
            Err(rusqlite::Error::SqliteFailure(error, message)) => match error.code {
                ErrorCode::ConstraintViolation => {
                    let message = message.unwrap_or_default();
                    Ok(Self::Refused { by_reference: message.contains("FOREIGN KEY") })
                }
                ErrorCode::DatabaseBusy => Ok(Self::Busy),
                _ => Err(format!("{error} {message:?}: {sql}")),
            },
            Err(error) => Err(format!("{error}: {sql}")),
        }
    }
}

/// What a statement was seen to do.
struct Seen<'a> {
    outcome: &'a Outcome,
    changes: &'a [Change],
    before: &'a Snapshot,
    /// Within a transaction that went on.
    open: bool,
}

impl Seen<'_> {
    fn shows(
        &self,
        effect: Effect,
        statement: &Statement,
        after: &Snapshot,
        schema: &Schema,
    ) -> bool {
        let own = self.changes[statement.table];
        let done = matches!(self.outcome, Outcome::Done(_));
        let refused = matches!(self.outcome, Outcome::Refused { .. });
        let nothing = self.changes.iter().all(|change| change.total() == 0);
        match effect {
            Effect::Added(rows) => done && rows <= own.added,
            Effect::Removed(rows) => done && rows <= own.removed,
            Effect::Touched(rows) => done && rows <= own.total(),
            Effect::Changed(rows) => done && rows <= own.changed,
            Effect::Shrunk => done && own.added < own.removed,
            Effect::Skipped => done && nothing && !self.before.tables[statement.table].is_empty(),
            Effect::Emptied => done && 1 < own.removed && after.tables[statement.table].is_empty(),
            Effect::Returned => matches!(self.outcome, Outcome::Done(1..)),
            Effect::KeptPart => refused && 0 < own.total(),
            Effect::Refused => refused && nothing && self.open,
            Effect::Ended => false,
            Effect::RefusedByReference => {
                matches!(self.outcome, Outcome::Refused { by_reference: true })
            }
            Effect::RemovedFrom(table) => done && 0 < self.changes[table].removed,
            Effect::ChangedIn(table) => done && 0 < self.changes[table].changed,
            Effect::TouchedIn(table) => done && 0 < self.changes[table].total(),
            Effect::TurnedFive => {
                let number = schema.tables[statement.table].number + 1;
                let turned = cell(ValueRef::Integer(TURNED));
                let count = |rows: &Snapshot| {
                    let rows = &rows.tables[statement.table];
                    rows.iter().filter(|row| row[number] == turned).count()
                };
                done && count(self.before) < count(after)
            }
        }
    }
}
