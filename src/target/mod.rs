//! Everything that speaks PostgreSQL.
//!
//! [`conninfo`] says where the target is, [`connect`] opens one checked session to it, and
//! [`private`] makes a PostgreSQL of our own when no target is named; [`attend`] gives up on a line
//! that has gone dead. [`ddl`] turns the source's
//! tables into DDL, [`build`] carries that out; [`copy`] and [`apply`] write rows; [`ledger`] is
//! what we keep there. Nothing here knows that there is a SQLite file.

mod adopted;
pub mod alter;
pub mod apply;
pub mod archive;
pub mod attend;
pub mod build;
pub mod catalog;
pub mod checks;
pub mod chunks;
pub mod connect;
pub mod conninfo;
pub mod copy;
pub mod ddl;
pub mod decisions;
pub mod explain;
pub mod expr;
pub mod history;
pub mod home;
pub mod incidents;
pub mod ledger;
pub mod parity;
pub mod private;
pub mod proof;
pub mod rebuilt;
pub mod tls;
pub mod trail;
pub mod unseen;
pub mod verifications;
mod view;

use tokio_postgres::error::SqlState;

use crate::change::TableId;

/// An expression of PostgreSQL's that shows a `timestamptz` in UTC, to the second.
pub(crate) fn in_utc(moment: &str) -> String {
    format!("to_char({moment} at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')")
}

/// What went wrong on the target. Carries names and positions, never values.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No session could be had.
    #[error(transparent)]
    Connect(#[from] connect::Error),
    /// A statement failed.
    #[error("{doing}")]
    Query {
        /// Verb and object.
        doing: &'static str,
        /// What PostgreSQL said; its own Display says only "db error".
        #[source]
        source: Said,
    },
    /// The session ended while nothing was asked of it.
    #[error("the target closed the connection")]
    Closed,
    /// Another sidecar has claimed the target.
    #[error("another lite2pg has taken over this target")]
    TakenOver,
    /// Another sidecar is at work on the target.
    #[error("another lite2pg is at work on this target: {who}")]
    InUse {
        /// The other one's session.
        who: String,
    },
    /// The target does not stand where this run left it.
    #[error("the target does not stand where this run left it")]
    Moved,
    /// The target was put back to a state from before this run claimed it.
    #[error("the target was put back to an older state")]
    PutBack,
    /// This role may not do what has to be done.
    #[error("{what}")]
    Privilege {
        /// What it may not do.
        what: String,
        /// The statement that would allow it.
        grant: String,
    },
    /// A table that was replicated is not there any more.
    #[error("the target has no {table} any more, which was replicated")]
    TableGone {
        /// Its qualified, quoted name.
        table: String,
        /// The name in the target schema.
        name: String,
    },
    /// The schema `lite2pg` is newer than this program.
    #[error("the target's lite2pg schema has format {found}; this lite2pg knows {known}")]
    NewerFormat {
        /// What the target says.
        found: i32,
        /// What we write.
        known: i32,
    },
    /// The schema `lite2pg` is older than this program, which may only look.
    #[error("the target's lite2pg schema has format {found}, this lite2pg has {known}")]
    OlderFormat {
        /// What the target says.
        found: i32,
        /// What we write.
        known: i32,
    },
    /// The file feeds another target, and this one was never fed from it.
    #[error("the file feeds another target, and nothing was ever replicated to this one")]
    OtherTarget,
    /// The target comes from another server or database: a copy of the one that was fed.
    #[error("what was fed is {fed}; this is {here}, with a copy of it")]
    Elsewhere {
        /// Where the target was fed.
        fed: String,
        /// Where this is.
        here: String,
    },
    /// The target's tables are in another schema.
    #[error("the tables of this target are in schema {fed}, not in {asked}")]
    OtherSchema {
        /// Where they are.
        fed: String,
        /// Where they were looked for.
        asked: String,
    },
    /// A table that we would make is already there.
    #[error("the target already has {table}, which lite2pg did not make")]
    TableExists {
        /// Its qualified name.
        table: String,
    },
    /// A row cannot be held, and the configuration says to stop then.
    #[error("{table} {key}{}: {reason}", .column.as_ref().map(|c| format!(", column {c}"))
        .unwrap_or_default())]
    Unmappable {
        /// The table's name on the source.
        table: String,
        /// The row's key, as JSON.
        key: String,
        /// The column at fault, if one is.
        column: Option<String>,
        /// Why.
        reason: String,
    },
    /// A unique index of the target forbids what the source holds.
    #[error("a unique index of the target forbids rows that the source holds (table {})", table.0)]
    Stricter {
        /// The table's number.
        table: TableId,
    },
    /// The line takes what is sent and brings no reply.
    #[error("the target has not answered for {seconds} s, and is not at work for us")]
    Silent {
        /// How long the silence was borne.
        seconds: u64,
    },
    /// A trigger of the target's owner keeps rows out.
    #[error("trigger {trigger} on {table} does not let the source's rows in")]
    Trigger {
        /// Its quoted name.
        trigger: String,
        /// Its table, qualified and quoted.
        table: String,
        /// What it said.
        #[source]
        source: Said,
    },
    /// A table that lite2pg made is not as it made it.
    #[error("{table} on the target is not as lite2pg made it")]
    Altered {
        /// Its qualified, quoted name.
        table: String,
        /// The name in the target schema.
        name: String,
        /// What PostgreSQL missed.
        #[source]
        source: Said,
    },
    /// The position row is gone or says something that cannot be.
    #[error("the target's position is unreadable: {what}")]
    Position {
        /// What is wrong with it.
        what: String,
    },
}

/// An error of PostgreSQL with all it said in one line.
#[derive(Debug)]
pub struct Said(pub tokio_postgres::Error);

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_db_error() {
            Some(said) => write!(f, "{} (SQLSTATE {})", said.message(), said.code().code()),
            None => {
                write!(f, "{}", self.0)?;
                let mut cause = std::error::Error::source(&self.0);
                while let Some(error) = cause {
                    write!(f, ": {error}")?;
                    cause = error.source();
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Said {}

impl Error {
    /// Names the step that failed; recognises the refusals of `lite2pg.advance`.
    pub(crate) fn query(doing: &'static str) -> impl FnOnce(tokio_postgres::Error) -> Self {
        move |source| match source.code().map(SqlState::code) {
            Some("L2001") => Self::TakenOver,
            Some("L2002") => Self::Moved,
            Some("L2003") => Self::PutBack,
            Some("L2004") => Self::Position { what: "the position row is gone".to_owned() },
            _ => Self::Query { doing, source: Said(source) },
        }
    }

    fn db_error(&self) -> Option<&tokio_postgres::error::DbError> {
        match self {
            Self::Query { source, .. } => source.0.as_db_error(),
            _ => None,
        }
    }

    /// PostgreSQL's error code, if it is an answer of the server.
    pub fn sql_state(&self) -> Option<&SqlState> {
        self.db_error().map(tokio_postgres::error::DbError::code)
    }

    /// Whether the server answered with this code.
    pub(crate) fn is(&self, state: &SqlState) -> bool {
        self.sql_state() == Some(state)
    }

    /// The column the server found fault with, if it named one.
    pub(crate) fn column(&self) -> Option<String> {
        self.db_error().and_then(|error| error.column().map(str::to_owned))
    }

    /// The constraint or index the server found fault with, if it named one.
    pub(crate) fn constraint(&self) -> Option<String> {
        self.db_error().and_then(|error| error.constraint().map(str::to_owned))
    }

    /// Why the server refused a row, in words that hold no value of it.
    pub(crate) fn reason(&self) -> String {
        let Some(said) = self.db_error() else { return self.to_string() };
        let code = said.code().code();
        // Limits are told by sizes and names; the other messages quote a value, if they show one.
        let tells_no_value =
            code.starts_with("54") || code.starts_with("22") && !said.message().contains('"');
        match said.constraint() {
            _ if tells_no_value => format!("{} (SQLSTATE {code})", said.message()),
            Some(constraint) => format!("violates {constraint} (SQLSTATE {code})"),
            None => format!("refused with SQLSTATE {code}"),
        }
    }

    /// All that the server said, which may quote a value.
    pub(crate) fn said(&self) -> String {
        match self {
            Self::Query { source, .. } => source.to_string(),
            other => other.to_string(),
        }
    }

    /// The key that no row has, where a foreign key was refused for that.
    pub(crate) fn missing_key(&self) -> Option<&str> {
        let said = self.db_error().filter(|_| self.is(&SqlState::FOREIGN_KEY_VIOLATION))?;
        said.detail()
    }

    /// Whether a new session may get past it.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect(error) => error.remedy() == conninfo::Remedy::Retry || error.may_pass(),
            Self::Query { source, .. } => connect::is_transient(&source.0),
            // The position is read anew at the beginning of a session.
            Self::Closed | Self::Moved | Self::PutBack | Self::Silent { .. } => true,
            _ => false,
        }
    }

    /// Whether the server refused it for want of a privilege.
    pub fn is_forbidden(&self) -> bool {
        self.is(&SqlState::INSUFFICIENT_PRIVILEGE)
    }

    /// Whether the server misses something that was there: a look at the whole target tells what.
    pub fn misses_something(&self) -> bool {
        let gone = [
            SqlState::UNDEFINED_TABLE,
            SqlState::UNDEFINED_FUNCTION,
            SqlState::UNDEFINED_OBJECT,
            SqlState::INVALID_SCHEMA_NAME,
        ];
        self.sql_state().is_some_and(|state| gone.contains(state))
    }
}
