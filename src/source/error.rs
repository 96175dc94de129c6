//! What can go wrong on the source, and how a lineage can be broken.

use std::path::PathBuf;

use rusqlite::ErrorCode;

use super::schema;
use crate::change::{Lineage, Position};

/// What went wrong on the source. Carries names and positions, never values.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A statement of the operator's would write to the source.
    #[error("the statement would write to the source: {sql}")]
    NotReadOnly {
        /// As the configuration has it.
        sql: String,
    },
    /// No such file.
    #[error("there is no file {}", path.display())]
    Missing {
        /// The path as given.
        path: PathBuf,
    },
    /// The path cannot be followed.
    #[error("cannot look at {}", path.display())]
    Hidden {
        /// The path as given.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A path that cannot be a database.
    #[error("{} is {what}, not a SQLite database", path.display())]
    NotAFile {
        /// The path as given.
        path: PathBuf,
        /// "a directory", "an empty file", …
        what: &'static str,
    },
    /// The first page is not SQLite's.
    #[error("{} is not a SQLite database, or it is encrypted", path.display())]
    NotADatabase {
        /// The path as given.
        path: PathBuf,
    },
    /// The file, or its directory, cannot be written by this user.
    #[error("{} cannot be written by this user", path.display())]
    ReadOnly {
        /// The file, or its directory if that is the reason.
        path: PathBuf,
    },
    /// The file cannot be read by this user.
    #[error("{} cannot be read by this user", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
    },
    /// The file has several names.
    #[error("{} has {links} hard links", path.display())]
    HardLinked {
        /// The path as given.
        path: PathBuf,
        /// How many names it has.
        links: u64,
    },
    /// WAL needs memory shared by all processes, which network file systems do not give.
    #[error("{} lies on {kind}, where SQLite's locks cannot be trusted", path.display())]
    NetworkFileSystem {
        /// The path as given.
        path: PathBuf,
        /// The file system's name.
        kind: &'static str,
    },
    /// Someone else held a lock for longer than we wait.
    #[error("{doing}: the database stayed locked")]
    Busy {
        /// Verb and object.
        doing: &'static str,
    },
    /// A file of ours cannot be written.
    #[error("cannot write {}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The backup that was made before anything is written is not sound.
    #[error("the backup {} is not sound: {said}", path.display())]
    BackupUnsound {
        /// The backup.
        path: PathBuf,
        /// SQLite's words.
        said: String,
    },
    /// Any other failure of SQLite.
    #[error("{doing}")]
    Sqlite {
        /// Verb and object.
        doing: &'static str,
        /// SQLite's words.
        source: rusqlite::Error,
    },
    /// The schema could not be read.
    #[error("read the schema of the source")]
    Schema {
        /// The reason.
        #[source]
        source: schema::Error,
    },
    /// No changelog is installed.
    #[error("no changelog is installed in the source")]
    NotInstalled,
    /// The changelog was made by a newer lite2pg.
    #[error("the changelog has format {found}; this lite2pg knows {known}")]
    NewerFormat {
        /// What the file says.
        found: i64,
        /// What we write.
        known: i64,
    },
    /// Our trigger does not compile against the application's table.
    #[error("the triggers for {table} do not compile")]
    TriggerRefused {
        /// The table.
        table: String,
        /// SQLite's words.
        source: rusqlite::Error,
    },
    /// The file is not the file any more.
    #[error(transparent)]
    Lineage(#[from] Broken),
    /// The schema is not what the plan was made from; plan again.
    #[error("the schema of the source changed")]
    SchemaChanged,
    /// An untyped column got a value of another storage class than its type on the target holds.
    /// A wider one holds both: copy the table again with that.
    #[error("a column of table {} needs the type {} on the target", table.0, to.sql())]
    Outgrown {
        /// The table.
        table: crate::change::TableId,
        /// Position of the column in the mapping.
        column: usize,
        /// The type that holds both.
        to: crate::value::PgType,
    },
}

/// How the lineage proof failed. Nothing may be applied after one of these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The tables of lite2pg are gone: an empty or foreign file stands in the source's place.
    #[error("the changelog is gone from the source: another or an empty file stands in its place")]
    ChangelogGone,
    /// The file carries a changelog of another installation.
    #[error("the source has lineage {found}, the target was fed from {expected}")]
    OtherLineage {
        /// What the target was fed from.
        expected: Lineage,
        /// What the file says.
        found: Lineage,
    },
    /// The file ends before the applied position.
    #[error("the source went back: its changelog ends at {head}, {applied} was applied")]
    WentBack {
        /// Newest entry in the file.
        head: Position,
        /// What the target has.
        applied: Position,
    },
    /// What belongs to lite2pg in the file is not what it was, so that the application's writes
    /// may fail.
    #[error("the changelog is not what it was: {what}")]
    ChangelogAltered {
        /// What is the matter with it, as a clause.
        what: String,
    },
    /// The entry at the applied position is another one.
    #[error(
        "the source went back and was written again: \
         entry {applied} is not the one that was applied"
    )]
    Forked {
        /// What the target has.
        applied: Position,
    },
    /// The entry at the applied position is missing though later ones exist.
    #[error(
        "the changelog does not hold the applied entry {applied} any more; it begins at {tail}"
    )]
    AnchorGone {
        /// What the target has.
        applied: Position,
        /// Oldest entry in the file.
        tail: Position,
    },
    /// The path does not lead to a database any more.
    #[error("the source is gone: {why}")]
    Gone {
        /// What is there instead.
        why: String,
    },
    /// The main file was replaced, its -wal was not: SQLite would read one through the other.
    #[error("another file was put in its place, beside the -wal of the old one")]
    Mixed,
    /// Entries are missing in the middle.
    #[error("the changelog has no entry {missing}, though later ones exist")]
    Gap {
        /// The first missing one.
        missing: Position,
    },
}

impl Broken {
    /// A stable word for it, in the ledger and in JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ChangelogGone => "changelog_gone",
            Self::ChangelogAltered { .. } => "changelog_altered",
            Self::OtherLineage { .. } => "other_lineage",
            Self::WentBack { .. } => "went_back",
            Self::Forked { .. } => "forked",
            Self::AnchorGone { .. } => "anchor_gone",
            Self::Gone { .. } => "gone",
            Self::Mixed => "mixed",
            Self::Gap { .. } => "gap",
        }
    }
}

impl Error {
    /// Whether a file that is just being written by somebody's `cp` could look like this.
    pub(crate) fn is_doubtful(&self) -> bool {
        let torn = [
            ErrorCode::DatabaseCorrupt,
            ErrorCode::NotADatabase,
            ErrorCode::SystemIoFailure,
            ErrorCode::CannotOpen,
        ];
        match self {
            Self::Lineage(_) | Self::NotADatabase { .. } => true,
            Self::Sqlite { source, .. } => {
                source.sqlite_error_code().is_some_and(|code| torn.contains(&code))
            }
            Self::Schema { .. } => true,
            _ => false,
        }
    }

    /// Whether there is no database at the path at all.
    pub(crate) fn is_no_database(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::NotAFile { .. } | Self::NotADatabase { .. })
    }

    pub(crate) fn sqlite(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { doing },
            _ => Self::Sqlite { doing, source },
        }
    }
}
