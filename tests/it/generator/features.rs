//! What the workload must have done, counted by effect.

use std::fmt;

macro_rules! features {
    ($($name:ident: $claim:literal,)*) => {
        /// Something that must have happened with effect before a run counts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Feature { $($name),* }

        impl Feature {
            /// All of them, with the claim that each counter stands for.
            pub const ALL: &[(Feature, &str)] = &[$((Feature::$name, $claim)),*];
        }
    };
}

features! {
    Inserted: "INSERT added a row",
    MultiRow: "INSERT of several VALUES added two rows or more",
    InsertSelect: "INSERT .. SELECT added a row",
    Returning: "RETURNING gave rows",
    InsertReplace: "INSERT OR REPLACE removed another row",
    InsertIgnore: "INSERT OR IGNORE skipped its row",
    InsertFail: "INSERT OR FAIL failed and kept the rows before",
    InsertAbort: "INSERT OR ABORT failed and the transaction went on",
    InsertRollback: "INSERT OR ROLLBACK ended the transaction",
    ReplaceVerb: "REPLACE INTO removed another row",
    SchemaReplace: "plain INSERT removed another row by the schema's ON CONFLICT REPLACE",
    SchemaIgnore: "plain INSERT skipped its row by ON CONFLICT IGNORE",
    SchemaFail: "plain INSERT kept the rows before by ON CONFLICT FAIL",
    SchemaAbort: "plain INSERT failed as a whole by ON CONFLICT ABORT",
    SchemaRollback: "plain INSERT ended the transaction by ON CONFLICT ROLLBACK",
    ThroughCollation: "REPLACE removed another row through an index of other collation",
    ThroughPartial: "REPLACE removed another row through a partial index",
    ThroughExpression: "REPLACE removed another row through an expression index",
    ThroughMulti: "REPLACE removed another row through a multi-column index",
    ThroughDefault: "REPLACE removed another row through NULL that became the default",
    ThroughGenerated: "REPLACE removed another row through a generated column",
    UpdateReplace: "UPDATE OR REPLACE removed another row",
    UpdateIgnore: "UPDATE OR IGNORE skipped its row",
    UpdateFail: "UPDATE OR FAIL failed and kept the rows before",
    UpdateAbort: "UPDATE OR ABORT failed and the transaction went on",
    UpdateRollback: "UPDATE OR ROLLBACK ended the transaction",
    UpdateFrom: "UPDATE .. FROM changed a row",
    UpsertNothing: "upsert DO NOTHING skipped its row",
    UpsertUpdate: "upsert DO UPDATE changed a row",
    UpsertNoTarget: "upsert without target took effect",
    UpsertWhere: "upsert DO UPDATE with a false WHERE skipped its row",
    UpsertUnique: "upsert onto a special unique index changed a row",
    UpsertReplace: "INSERT OR REPLACE with an upsert clause removed another row",
    ExplicitRowid: "INSERT OR REPLACE INTO t(rowid, ..) removed or changed a row",
    RowidChanged: "UPDATE t SET rowid moved a row",
    RowidReplaced: "UPDATE OR REPLACE t SET rowid removed another row",
    KeyChanged: "UPDATE changed a key",
    KeyShifted: "UPDATE shifted several keys at once",
    KeySwapped: "two rows swapped keys within a transaction",
    UniqueSwapped: "two rows swapped unique values within a transaction",
    CaseOnly: "a NOCASE key changed in case alone",
    BlanksOnly: "an RTRIM key changed in trailing blanks alone",
    WithoutRowidKey: "a key of a WITHOUT ROWID table changed",
    BulkUpdate: "UPDATE changed several rows",
    BulkDelete: "DELETE removed several rows",
    DeleteAll: "DELETE without WHERE removed all rows of a table",
    CascadeDelete: "ON DELETE CASCADE removed a child",
    CascadeUpdate: "ON UPDATE CASCADE changed a child",
    DeleteSetNull: "ON DELETE SET NULL changed a child",
    DeleteSetDefault: "ON DELETE SET DEFAULT changed a child",
    UpdateSetNull: "ON UPDATE SET NULL changed a child",
    Restricted: "RESTRICT or NO ACTION refused a change of the parent",
    SelfCascade: "a self reference cascaded",
    DeferredRefused: "COMMIT was refused by a deferred foreign key",
    ForeignKeysOff: "a parent was removed with foreign_keys off",
    TriggerWroteElsewhere: "a user trigger wrote another table",
    TriggerReplaced: "a user trigger wrote with OR REPLACE",
    TriggerSameRow: "a user trigger updated the row just inserted",
    TriggerIgnored: "RAISE(IGNORE) left out a row",
    ViewInsert: "INSERT into a view changed its table",
    ViewUpdate: "UPDATE of a view changed its table",
    ViewDelete: "DELETE from a view changed its table",
    RecursiveOn: "REPLACE removed another row with recursive_triggers on",
    RecursiveOff: "REPLACE removed another row with recursive_triggers off",
    Committed: "a transaction of several statements was committed",
    RolledBack: "a transaction with changes was rolled back",
    SavepointRolledBack: "ROLLBACK TO undid changes",
    SavepointNested: "a nested savepoint was rolled back and its outer one kept",
    SavepointReleased: "a savepoint with changes was released",
    FailedInside: "a transaction was committed after a statement in it had failed",
    SecondConnection: "the second connection committed changes",
    ThirdConnection: "the third connection committed changes",
    Strict: "a STRICT table changed",
    NullKey: "a row with NULL in its PRIMARY KEY was committed",
    Duplicates: "a table without key held two equal rows",
    ShadowedRowid: "a table with a column named like the rowid changed",
    HostileName: "a table with a hostile name changed",
    Infinity: "an infinity was committed",
    Subnormal: "a subnormal was committed",
    Extremes: "the largest and the smallest integer were committed",
    EmptyText: "an empty text was committed",
    EmptyBlob: "an empty blob was committed",
    Emoji: "text beyond the basic plane was committed",
    TrailingBlank: "text with a trailing blank was committed",
    LongValue: "a value of more than 4 kB was committed",
}

/// The counters of a run.
#[derive(Clone, Debug)]
pub struct Features {
    counts: Vec<u64>,
    /// Statements run, failed ones included.
    pub statements: u64,
    /// Statements that failed by constraint.
    pub refused: u64,
    /// Statements that found the file locked.
    pub busy: u64,
    /// Transactions that changed something.
    pub transactions: u64,
}

impl Default for Features {
    fn default() -> Self {
        let counts = vec![0; Feature::ALL.len()];
        Self { counts, statements: 0, refused: 0, busy: 0, transactions: 0 }
    }
}

impl Features {
    /// It happened once more.
    pub fn count(&mut self, feature: Feature) {
        self.counts[feature as usize] += 1;
    }

    /// Adds the counters of another run.
    pub fn add(&mut self, other: &Self) {
        for (mine, others) in self.counts.iter_mut().zip(&other.counts) {
            *mine += others;
        }
        self.statements += other.statements;
        self.refused += other.refused;
        self.busy += other.busy;
        self.transactions += other.transactions;
    }

    /// Fails the test if anything never happened: a run proves nothing about what it did not do.
    pub fn assert_all_nonzero(&self) {
        let never: Vec<&str> = Feature::ALL
            .iter()
            .filter(|(feature, _)| self.counts[*feature as usize] == 0)
            .map(|(_, claim)| *claim)
            .collect();
        assert!(never.is_empty(), "never happened: {never:#?}\n{self}");
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (feature, claim) in Feature::ALL {
            writeln!(f, "{:>10}  {claim}", self.counts[*feature as usize])?;
        }
        writeln!(f, "{:>10}  statements", self.statements)?;
        writeln!(f, "{:>10}  of them refused by a constraint", self.refused)?;
        writeln!(f, "{:>10}  of them found the file locked", self.busy)?;
        write!(f, "{:>10}  transactions that changed something", self.transactions)
    }
}
