//! How an error is shown, and what exit code it becomes.
//!
//! Errors inside the crate have kinds; here a kind becomes words for a person: `error:`, `cause:`
//! lines and a `hint:` that names a command. Exit codes: 0 yes, 1 the answer is no, 2 wrong usage
//! or configuration, 3 could not find out or lost a dependency, 4 lineage stop.

use std::fmt::Write as _;

use crate::target::conninfo::Remedy;
use crate::{daemon, source, target, verify};

/// What the program tells its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Yes.
    Yes = 0,
    /// The answer is no: drift, a gate not met, blocked.
    No = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Could not find out, or lost a dependency.
    Unknown = 3,
    /// The file is not the file any more; nothing was applied.
    Lineage = 4,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error on its way to the person.
#[derive(Debug)]
pub struct Report {
    /// What the program exits with.
    pub exit: Exit,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
}

impl Report {
    /// A failure told in one sentence.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), causes: Vec::new(), hint: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What happened and why, in one line.
    pub fn in_one_line(&self) -> String {
        let parts = std::iter::once(&self.message).chain(&self.causes);
        parts.map(String::as_str).collect::<Vec<_>>().join(": ")
    }

    /// What to do about it.
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    pub(crate) fn of(exit: Exit, error: &dyn std::error::Error, hint: Option<String>) -> Self {
        let mut causes = Vec::new();
        let mut cause = error.source();
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        Self { exit, message: error.to_string(), causes, hint }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "error: {}", printable(&self.message))?;
        for cause in &self.causes {
            write!(f, "\ncause: {}", printable(cause))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n\nhint: {}", printable(hint))?;
        }
        Ok(())
    }
}

/// Names may hold anything; a terminal gets no control characters from them.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(
            |character| {
                if character.is_control() && character != '\n' { '\u{fffd}' } else { character }
            },
        )
        .collect()
}

/// An error and its causes in one line, for the log.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(line, ": {error}").expect("writing to a string cannot fail");
        cause = error.source();
    }
    line
}

impl From<verify::Error> for Report {
    fn from(error: verify::Error) -> Self {
        let hint = match error {
            verify::Error::Daemon(error) => return error.into(),
            verify::Error::NothingThere => "`lite2pg run` copies the file and keeps it in step.",
            verify::Error::Copying => "`lite2pg status` says how far it is.",
            verify::Error::NoTable { .. } => "`lite2pg status` lists the tables.",
            verify::Error::NoTargetForm { .. } => "Give it a `target` beside its `source`.",
            verify::Error::Parameters { .. } => {
                "`parameters` and `sample` give one value for each placeholder."
            }
        };
        let exit = match error {
            verify::Error::NoTable { .. }
            | verify::Error::NoTargetForm { .. }
            | verify::Error::Parameters { .. } => Exit::Usage,
            _ => Exit::Unknown,
        };
        Self::new(exit, error.to_string()).hint(hint)
    }
}

impl From<daemon::Error> for Report {
    fn from(error: daemon::Error) -> Self {
        match error {
            daemon::Error::Source(error) => error.into(),
            daemon::Error::Target(error) => error.into(),
            daemon::Error::Overrides(error) => Self::of(
                Exit::Usage,
                &error,
                Some("docs/reference/types.md has the types, forms and policies.".to_owned()),
            ),
            daemon::Error::NotAdoptable { findings } => Self {
                exit: Exit::No,
                message: format!(
                    "{} in the way of adopting the target's tables",
                    match findings.len() {
                        1 => "one thing is".to_owned(),
                        several => format!("{several} things are"),
                    }
                ),
                causes: findings.iter().map(in_the_way).collect(),
                hint: Some(
                    "Nothing was written. `lite2pg schema --adopt` shows every table and column."
                        .to_owned(),
                ),
            },
            daemon::Error::Stopped { .. } => Self::new(Exit::No, error.to_string()).hint(
                "`lite2pg status` says why; `lite2pg schema --adopt` shows every table and column.",
            ),
            daemon::Error::Unproven { .. } => Self::new(Exit::No, error.to_string()).hint(
                "`lite2pg verify` lists them. Somebody else may be writing to the target's tables, \
                 or a trigger of theirs changes what arrives.",
            ),
            daemon::Error::LookAnew => Self::new(Exit::Unknown, error.to_string()),
            daemon::Error::WasAdopted => Self::new(Exit::Usage, error.to_string())
                .hint("Say mode = \"adopt\" in lite2pg.toml, or `--adopt`."),
            daemon::Error::NotInStep { .. } => Self::new(Exit::No, error.to_string())
                .hint("Bring it into step first: `lite2pg run --until-caught-up`."),
            daemon::Error::NothingToDo => Self::new(Exit::Usage, error.to_string()).hint(
                "Is --source the right file? `lite2pg schema --source FILE` shows what it holds.",
            ),
        }
    }
}

/// A finding as a line: where, what, and the way out.
fn in_the_way(finding: &crate::adopt::Finding) -> String {
    let mut line = finding.table.clone();
    if let Some(column) = &finding.column {
        line = format!("{line}.{column}");
    }
    line = format!("{line}: {}", finding.message);
    match &finding.advice {
        Some(advice) => format!("{line} ({advice})"),
        None => line,
    }
}

impl From<source::Error> for Report {
    fn from(error: source::Error) -> Self {
        use source::Error::{
            BackupUnsound, Busy, HardLinked, Hidden, Lineage, Missing, NetworkFileSystem,
            NewerFormat, NotADatabase, NotAFile, NotInstalled, Outgrown, ReadOnly, Schema,
            SchemaChanged, Sqlite, TriggerRefused, Unreadable, Unwritable,
        };
        let (exit, hint) = match &error {
            source::Error::NotReadOnly { .. } => {
                (Exit::Usage, "An invariant or a query only reads: `select …`.".to_owned())
            }
            Lineage(broken) => return lineage_stop(broken),
            Missing { .. } | NotAFile { .. } => {
                (Exit::Usage, "Give the application's database file with --source FILE.".to_owned())
            }
            NotADatabase { .. } => (
                Exit::Usage,
                "Check the path. Encrypted files (SQLCipher, SEE) cannot be read.".to_owned(),
            ),
            Hidden { .. } => (
                Exit::Usage,
                "Check the path, and that this user may enter its directories.".to_owned(),
            ),
            ReadOnly { .. } | Unreadable { .. } => (
                Exit::Usage,
                "Run lite2pg as the application's user, or give its group write access to the \
                 file and its directory."
                    .to_owned(),
            ),
            HardLinked { .. } => (
                Exit::Usage,
                "SQLite mistakes two names of one file for two databases. Remove the other name."
                    .to_owned(),
            ),
            NetworkFileSystem { .. } => {
                (Exit::Usage, "Run lite2pg on the host that has the disk.".to_owned())
            }
            Busy { .. } => (
                Exit::Unknown,
                "Another process holds a lock for long. Find it with `fuser FILE` and try again."
                    .to_owned(),
            ),
            NewerFormat { .. } => {
                (Exit::Usage, "Use the newer lite2pg that made the changelog.".to_owned())
            }
            NotInstalled => {
                (Exit::No, "`lite2pg install --source FILE` puts the triggers in.".to_owned())
            }
            TriggerRefused { .. } => (
                Exit::No,
                "Nothing was installed. Please report the table's CREATE statement.".to_owned(),
            ),
            Unwritable { .. } => (
                Exit::Usage,
                "Nothing was changed. Name a directory that can be written with --backup-dir."
                    .to_owned(),
            ),
            BackupUnsound { .. } => (
                Exit::Unknown,
                "Nothing was changed. `sqlite3 FILE 'pragma integrity_check'` tells more about \
                 the file."
                    .to_owned(),
            ),
            SchemaChanged => (
                Exit::Unknown,
                "The application changed its tables, or vacuumed, meanwhile. Run it again."
                    .to_owned(),
            ),
            Schema { .. } | Sqlite { .. } | Outgrown { .. } => (
                Exit::Unknown,
                "`sqlite3 FILE 'pragma integrity_check'` tells whether the file is sound."
                    .to_owned(),
            ),
        };
        Self::of(exit, &error, Some(hint))
    }
}

impl From<crate::guard::Error> for Report {
    fn from(error: crate::guard::Error) -> Self {
        use crate::guard::Error::{Copying, Daemon, Export, NoFile, Spool, Verify};
        let hint = match error {
            Daemon(error) => return error.into(),
            Verify(error) => return error.into(),
            Spool(_) => "Is there room where temporary files go (TMPDIR)?",
            Export { .. } => "Name a file that is not there yet, in a directory you may write to.",
            Copying => {
                "Nothing can be restored from it. Put the right file back, or feed a new, empty \
                 target from this one: `lite2pg uninstall --source FILE`, then `lite2pg run`."
            }
            NoFile { .. } => {
                "Put a copy of the database there, however old, or let the application make an \
                 empty one; then run this again."
            }
        };
        let exit = match error {
            Export { .. } => Exit::Usage,
            NoFile { .. } | Copying => Exit::No,
            _ => Exit::Unknown,
        };
        Self::of(exit, &error, Some(hint.to_owned()))
    }
}

/// What a broken lineage means, for people.
pub(crate) fn meaning(broken: &source::Broken) -> &'static str {
    use source::Broken::{
        AnchorGone, ChangelogAltered, ChangelogGone, Forked, Gap, Gone, Mixed, OtherLineage,
        WentBack,
    };
    match broken {
        ChangelogGone => "A deployment may have shipped an empty or older copy of the database.",
        ChangelogAltered { .. } => {
            "Somebody changed a table of lite2pg's in the file. Where that made writes of the \
             application fail, the triggers are taken out; what is written without them is not \
             captured."
        }
        Gone { .. } => "The file was removed, or something else was put in its place.",
        Mixed => {
            "SQLite reads the new file through the old -wal, and so does the application: what it \
             shows is neither of the two."
        }
        OtherLineage { .. } => "This is another database than the one the target was fed from.",
        WentBack { .. } => {
            "An older copy of the database was put in its place: changes that the target has are \
             missing from the file."
        }
        Forked { .. } => {
            "An older copy of the database was put in its place and has been written to since: \
             the file and the target each hold changes that the other lacks."
        }
        AnchorGone { .. } => {
            "The target is older than what the changelog still holds, or someone deleted entries."
        }
        Gap { .. } => "Someone deleted entries from the changelog.",
    }
}

/// What happened, and the choices.
fn lineage_stop(broken: &source::Broken) -> Report {
    Report {
        exit: Exit::Lineage,
        message: format!("lineage stop: {broken}"),
        causes: vec![meaning(broken).to_owned()],
        hint: Some(
            "Nothing was applied; PostgreSQL is as it was. `lite2pg guard` shows what the file \
             lost and gained, and the ways on."
                .to_owned(),
        ),
    }
}

impl From<target::Error> for Report {
    fn from(error: target::Error) -> Self {
        use target::Error::{
            Altered, Closed, Connect, Elsewhere, InUse, Moved, NewerFormat, OlderFormat,
            OtherSchema, OtherTarget, Position, Privilege, PutBack, Query, Silent, Stricter,
            TableExists, TableGone, TakenOver, Trigger, Unmappable,
        };
        let (exit, hint) = match &error {
            Connect(connect) => match connect.remedy() {
                Remedy::Retry => (
                    Exit::Unknown,
                    Some("Is PostgreSQL running there? `psql URL` tells more.".to_owned()),
                ),
                Remedy::Stop { hint } => (Exit::Usage, Some(hint.to_string())),
            },
            TakenOver | InUse { .. } => (
                Exit::No,
                Some(
                    "One sidecar per target. `lite2pg status` shows how far the other one is."
                        .to_owned(),
                ),
            ),
            OtherTarget => (
                Exit::Lineage,
                Some(
                    "Nothing was written. Is it the wrong database, or was it emptied? If it is \
                     the one to feed from now on: `lite2pg guard --accept --yes`, then \
                     `lite2pg run` makes the first copy there."
                        .to_owned(),
                ),
            ),
            Elsewhere { .. } => (
                Exit::Lineage,
                Some(
                    "Nothing was written. If it was moved there on purpose, and is the one to \
                     feed from now on: `lite2pg guard --accept --yes`."
                        .to_owned(),
                ),
            ),
            OtherSchema { fed, .. } => (Exit::Usage, Some(format!("Say `--target-schema {fed}`."))),
            TableExists { .. } => (
                Exit::No,
                Some(
                    "Nothing was written. Give an empty database, or another schema with \
                     --target-schema NAME."
                        .to_owned(),
                ),
            ),
            NewerFormat { .. } => {
                (Exit::Usage, Some("Use the newer lite2pg that fed this target.".to_owned()))
            }
            OlderFormat { .. } => {
                (Exit::Unknown, Some("`lite2pg run` brings it up to date.".to_owned()))
            }
            Position { .. } => (
                Exit::Lineage,
                Some(
                    "Nothing was applied. Either restore it from a backup of the target and run \
                     lite2pg again, or feed a new, empty target: `lite2pg run --source FILE \
                     --target URL`."
                        .to_owned(),
                ),
            ),
            Trigger { trigger, table, .. } => (
                Exit::No,
                Some(format!(
                    "`alter table {table} disable trigger {trigger}`, then run lite2pg again: the \
                     application has already done what the trigger refuses."
                )),
            ),
            Altered { table, name, .. } | TableGone { table, name } => (
                Exit::No,
                Some(format!(
                    "Undo the change, if no values went with it. Or have the table copied again: \
                     `drop table if exists {table} cascade; delete from lite2pg.objects where \
                     belongs_to = {name}; delete from lite2pg.tables where target = {name}`, then \
                     run lite2pg again.",
                    name = crate::table::Literal(name)
                )),
            ),
            Privilege { grant, .. } => {
                (Exit::Usage, Some(format!("Nothing was written. As an administrator: `{grant}`.")))
            }
            Query { .. } if error.is_forbidden() => (
                Exit::Usage,
                Some("Grant it, as an administrator; lite2pg goes on where it is.".to_owned()),
            ),
            Unmappable { .. } => (
                Exit::No,
                Some(
                    "Nothing of its batch was applied. Change the row, give its column another \
                     type or a policy (docs/reference/types.md), or set on_unmappable = \
                     \"quarantine\"."
                        .to_owned(),
                ),
            ),
            Query { .. } | Closed | Moved | PutBack | Silent { .. } | Stricter { .. } => {
                (Exit::Unknown, None)
            }
        };
        Self::of(exit, &error, hint)
    }
}
