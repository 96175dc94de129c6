//! The redeploy guard: what happened to the file, and the two ways on.
//!
//! A deployment has put an old copy of the database over the application's, and replication has
//! stopped before anything of it reached PostgreSQL. Here both sides are held against each other,
//! row by row, and each row is judged by who wrote to it after the histories parted ([`parting`],
//! [`spool`]). Nothing is changed until somebody chooses: *restore* puts what PostgreSQL has and
//! the file has lost into the file, *accept* has PostgreSQL follow the file ([`carry_out`]).
//!
//! Begin with [`guard`].

pub mod account;
mod carry_out;
mod export;
pub mod parting;
pub mod spool;
mod target_side;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_postgres::Client;

use self::account::{Account, FileAccount, Kind, State, TableAccount};
use self::parting::Parting;
use self::spool::Spool;
use crate::change::{Lineage, Position};
use crate::daemon::{self, Config, blueprint, decide};
use crate::source::changelog::Plan;
use crate::source::thread::SourceThread;
use crate::source::{self, Broken, Survey};
use crate::target::decisions::{self, Choice};
use crate::target::ledger::{KnownTable, Stored};
use crate::target::{self, build, connect, ledger, trail};
use crate::verify::still::{self, Found};
use crate::verify::verdict::{DriftKind, LeftOut, TableVerdict};
use crate::verify::{self};

/// Rows that are listed; all are counted.
pub const LISTED_MAX: usize = 100;

/// Which of two rows is right where both were written to, or nobody can tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OnConflict {
    /// Neither: nothing is changed, and the rows are listed.
    #[default]
    Stop,
    /// The file's.
    File,
    /// PostgreSQL's.
    Postgresql,
}

impl OnConflict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::File => "file",
            Self::Postgresql => "postgresql",
        }
    }
}

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What is to be done; `None` only looks.
    pub choice: Option<Choice>,
    /// Without this word nothing is done.
    pub is_sure: bool,
    /// Which of two rows is right where that is not known.
    pub on_conflict: OnConflict,
    /// Where the backup goes; beside the file if not said.
    pub backup_dir: Option<PathBuf>,
    /// List every row that differs.
    pub lists_all: bool,
    /// Write what PostgreSQL has and the file has lost as SQL for SQLite, with all values.
    pub sql: Option<PathBuf>,
    /// Read no more rows of the file than so many a second.
    pub rows_per_second: Option<NonZeroU32>,
}

/// Why there is no account.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Either side.
    #[error(transparent)]
    Daemon(#[from] daemon::Error),
    /// The comparison.
    #[error(transparent)]
    Verify(#[from] verify::Error),
    /// The temporary database in which differing rows are kept.
    #[error("keep the rows that differ in a temporary file")]
    Spool(#[from] rusqlite::Error),
    /// The file that was asked for.
    #[error("cannot write {}", path.display())]
    Export {
        /// Its name.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The first copy is under way; there is nothing that could be restored from it.
    #[error("the first copy was not finished: PostgreSQL does not have everything")]
    Copying,
    /// There is no file that rows could be put into.
    #[error("there is no database at {}", path.display())]
    NoFile {
        /// The path as given.
        path: PathBuf,
    },
}

impl From<target::Error> for Error {
    fn from(error: target::Error) -> Self {
        Self::Daemon(error.into())
    }
}

impl From<source::Error> for Error {
    fn from(error: source::Error) -> Self {
        Self::Daemon(error.into())
    }
}

/// Says what happened to the file, and does what is chosen about it.
///
/// Without a choice, or without [`Options::is_sure`], nothing is written to either side but what a
/// former decision left half done. After a crash the next call, or the next run, takes the step
/// that is left: see [`decisions`].
pub async fn guard(config: &Config, options: &Options) -> Result<Account, Error> {
    let accepts = options.is_sure && options.choice == Some(Choice::Accept);
    if let Some(account) = target_side::look(config, accepts).await? {
        return Ok(account);
    }
    match options.choice {
        Some(choice) if options.is_sure => carry_out::carry_out(config, options, choice).await,
        _ => look(config, options).await,
    }
}

async fn look(config: &Config, options: &Options) -> Result<Account, Error> {
    let client = session(config).await?;
    let stored = stored(config, &client).await?;
    let Some(source) = open(config).await? else {
        return gone(config, &client, &stored).await;
    };
    let stored = decide::go_on(&source, &client, stored).await?;
    let Some(broken) = prove(&source, &stored).await? else {
        return sound(config, &source, &client, &stored).await;
    };
    let case = examine(config, options, source, &client, stored, broken).await?;
    case.spool.decide(options.choice.unwrap_or(Choice::Restore), options.on_conflict)?;
    if let Some(path) = &options.sql {
        export::sql(config, &case, path).await?;
    }
    let mut account = case.account(config, options, &client, State::Broken).await?;
    account.blocked_by = options.choice.map_or_else(Vec::new, |choice| case.in_the_way(choice));
    Ok(account)
}

async fn session(config: &Config) -> Result<Client, Error> {
    let (client, _) =
        connect::connect(&config.target, "lite2pg guard").await.map_err(target::Error::from)?;
    if !ledger::exists(&client).await? {
        return Err(verify::Error::NothingThere.into());
    }
    ledger::migrate(&client).await?;
    Ok(client)
}

async fn stored(config: &Config, client: &Client) -> Result<Stored, Error> {
    let stored = ledger::position(client).await?.ok_or(verify::Error::NothingThere)?;
    stored.expect_schema(&config.target_schema)?;
    Ok(stored)
}

/// Opens the file; `None` if there is none, or none that is a database.
async fn open(config: &Config) -> Result<Option<SourceThread>, Error> {
    match SourceThread::open(config.source.clone()).await {
        Ok(source) => {
            let overrides = config.overrides.clone();
            source.run(move |source| source.leave_out(overrides)).await;
            Ok(Some(source))
        }
        Err(error) if error.is_no_database() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// How the lineage is broken; `None` if it is whole.
async fn prove(source: &SourceThread, stored: &Stored) -> Result<Option<Broken>, Error> {
    let place = stored.place();
    match source.run(move |source| source.prove(&place)).await {
        Ok(_) => Ok(None),
        Err(source::Error::Lineage(broken)) => Ok(Some(broken)),
        Err(error) => Err(error.into()),
    }
}

/// Both sides, held against each other.
struct Case {
    source: SourceThread,
    stored: Stored,
    broken: Broken,
    parting: Parting,
    file_lineage: Option<Lineage>,
    plan: Arc<Plan>,
    survey: Arc<Survey>,
    known: Vec<KnownTable>,
    spool: Spool,
    tables: Vec<TableVerdict>,
    left_out: Vec<LeftOut>,
    /// Tables of PostgreSQL that the file does not have, with their rows.
    missing: Vec<(KnownTable, i64)>,
    /// Tables whose columns are not those that PostgreSQL has.
    other_shape: Vec<String>,
}

/// Holds the file against PostgreSQL. Writes nothing.
async fn examine(
    config: &Config,
    options: &Options,
    source: SourceThread,
    client: &Client,
    stored: Stored,
    broken: Broken,
) -> Result<Case, Error> {
    if stored.phase == ledger::Phase::Copying {
        return Err(Error::Copying);
    }
    let parting = parting::find(&source, client, &stored).await?;
    let known = ledger::tables(client).await?;
    let (plan, survey) = blueprint::plan_in_force(&source, client, config, &known).await?;
    let (plan, survey) = (Arc::new(plan), Arc::new(survey));
    let spool = Spool::new()?;
    let is_history_known = note_touched(&source, &plan, &survey, &parting, &spool).await?;
    let (spool, tables) =
        compare(config, options, &source, (&plan, &survey), &parting, spool).await?;
    spool.judge(is_history_known, parting.target_went_on)?;
    let (mut missing, mut other_shape) = (Vec::new(), Vec::new());
    for table in &known {
        match plan.mappings.iter().find(|mapping| mapping.table.name == table.name) {
            None => {
                let rows = ledger::count_rows(client, &config.target_schema, &table.target).await?;
                missing.push((table.clone(), rows));
            }
            Some(mapping) if !table.is_stopped() && build::shape(mapping) != table.columns => {
                other_shape.push(table.name.clone());
            }
            Some(_) => {}
        }
    }
    let left_out = not_compared(&survey, &plan, &missing);
    let file_lineage = source.run(|source| source.lineage()).await?;
    Ok(Case {
        source,
        stored,
        broken,
        parting,
        file_lineage,
        plan,
        survey,
        known,
        spool,
        tables,
        left_out,
        missing,
        other_shape,
    })
}

/// Notes which rows the file's application has touched since the histories parted. Returns whether
/// that is all of them.
async fn note_touched(
    source: &SourceThread,
    plan: &Plan,
    survey: &Survey,
    parting: &Parting,
    spool: &Spool,
) -> Result<bool, Error> {
    let Some(common) = &parting.last_common else { return Ok(false) };
    let catalog = survey.catalog.clone();
    if !source.run(move |source| source.is_captured(&catalog)).await? {
        return Ok(false);
    }
    // The file may have given its tables other numbers than the target knows them by.
    let numbers = source.run(source::Source::numbers).await?;
    let mut mappings = plan.mappings.clone();
    for mapping in &mut mappings {
        // The last one is in force.
        let number = numbers.iter().rfind(|(_, name)| *name == mapping.table.name);
        let Some((number, _)) = number else { return Ok(false) };
        mapping.id = *number;
    }
    let plan = Arc::new(Plan::new(mappings, &numbers));
    let mut after = common.position;
    loop {
        let (plan_of_file, from) = (plan.clone(), after);
        let (rows, through) =
            source.run(move |source| source.touched_rows(&plan_of_file, from)).await?;
        let Some(rows) = rows else { return Ok(false) };
        for row in rows {
            spool.touched(row.table, &verify::name_of(&row.key), row.is_new)?;
        }
        if through == after {
            return Ok(true);
        }
        after = through;
    }
}

/// Compares every row, and spools those that differ.
async fn compare(
    config: &Config,
    options: &Options,
    source: &SourceThread,
    (plan, survey): (&Arc<Plan>, &Arc<Survey>),
    parting: &Parting,
    spool: Spool,
) -> Result<(Spool, Vec<TableVerdict>), Error> {
    let spool = Arc::new(Mutex::new((spool, None)));
    let (into, parting) = (spool.clone(), parting.clone());
    let names: Vec<String> =
        plan.mappings.iter().map(|mapping| mapping.table.name.clone()).collect();
    let see = move |found: Found| {
        let Found { drift, written_by } = found;
        let kind = match drift.kind {
            DriftKind::Missing => Kind::Gained,
            DriftKind::Extra => Kind::Lost,
            DriftKind::Mismatched => Kind::Changed,
        };
        let table = names.iter().position(|name| *name == drift.table);
        let table = table.expect("only tables of the plan are compared");
        let is_newer = written_by.and_then(|xmin| parting.is_newer_on_target(xmin));
        let mut spool = into.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = spool.0.found(table, kind, &drift.key, &drift.columns, is_newer);
        if let (Err(error), None) = (noted, &spool.1) {
            spool.1 = Some(error);
        }
    };
    let tables = still::compare(
        config,
        source,
        plan.clone(),
        survey.clone(),
        options.rows_per_second,
        Box::new(see),
    )
    .await?;
    let spool = Arc::into_inner(spool).expect("the comparison is over");
    let (spool, failure) = spool.into_inner().unwrap_or_else(PoisonError::into_inner);
    failure.map_or(Ok((spool, tables)), Err)
}

/// What the account says nothing of, row by row.
fn not_compared(survey: &Survey, plan: &Plan, missing: &[(KnownTable, i64)]) -> Vec<LeftOut> {
    let missing_tables = missing.iter().map(|(table, rows)| LeftOut {
        name: table.name.clone(),
        reason: format!("the file has no such table; PostgreSQL has {rows} rows of it"),
        is_missing: true,
    });
    let new = survey.catalog.tables.iter().filter(|table| !plan.has(&table.name));
    let new = new.filter(|table| missing.iter().all(|(known, _)| known.name != table.name));
    let new = new.map(|table| LeftOut {
        name: table.name.clone(),
        reason: "PostgreSQL was never fed with it".to_owned(),
        is_missing: false,
    });
    let skipped = survey.catalog.skipped.iter().map(|skipped| LeftOut {
        name: skipped.name.clone(),
        reason: skipped.reason.clone(),
        is_missing: false,
    });
    missing_tables.chain(new).chain(skipped).collect()
}

impl Case {
    fn names(&self) -> Vec<String> {
        self.plan.mappings.iter().map(|mapping| mapping.table.name.clone()).collect()
    }

    /// What keeps a choice from being carried out.
    fn in_the_way(&self, choice: Choice) -> Vec<String> {
        if choice == Choice::Accept {
            return Vec::new();
        }
        let missing = self.missing.iter().filter(|(_, rows)| 0 < *rows).map(|(table, rows)| {
            format!(
                "the file has no table {}, of which PostgreSQL has {rows} rows: let the \
                 application or its migrations create it",
                table.name
            )
        });
        let other = self.other_shape.iter().map(|table| {
            format!(
                "table {table} has other columns in the file than PostgreSQL was fed with: let \
                 the application's migrations bring it up to date"
            )
        });
        missing.chain(other).collect()
    }

    async fn account(
        &self,
        config: &Config,
        options: &Options,
        client: &Client,
        state: State,
    ) -> Result<Account, Error> {
        let mut account = begin(config, Some(&self.source), client, &self.stored, state).await?;
        account.what = Some(self.broken.kind());
        account.message = Some(self.broken.to_string());
        account.last_common.clone_from(&self.parting.last_common);
        let common = account.last_common.as_ref().map(|common| common.position);
        account.meaning = Some(match &self.broken {
            // It did not get as far as the position, and yet it went its own way.
            Broken::WentBack { applied, .. } if common.is_some() && common < account.file.head => {
                crate::error::meaning(&Broken::Forked { applied: *applied })
            }
            broken => crate::error::meaning(broken),
        });
        for (at, table) in self.tables.iter().enumerate() {
            account.tables.push(TableAccount {
                name: table.name.clone(),
                rows_file: table.rows_source,
                rows_postgresql: table.rows_target,
                counts: self.spool.counts(at)?,
            });
        }
        let rows_max = if options.lists_all { usize::MAX } else { LISTED_MAX };
        account.rows = self.spool.list(&self.names(), rows_max)?;
        account.rows_differing = self.spool.total()?;
        account.left_out.clone_from(&self.left_out);
        Ok(account)
    }
}

/// What can be said without a comparison.
async fn begin(
    config: &Config,
    source: Option<&SourceThread>,
    client: &Client,
    stored: &Stored,
    state: State,
) -> Result<Account, Error> {
    let mut file = FileAccount { path: config.source.clone(), ..FileAccount::default() };
    if let Some(source) = source {
        let (lineage, reach) = source
            .run(|source| Ok::<_, source::Error>((source.lineage()?, source.reach()?)))
            .await?;
        file.lineage = lineage;
        (file.tail, file.head) = (reach.map(|reach| reach.tail), reach.map(|reach| reach.head));
    }
    let applied = stored.standing.applied.position;
    let applied_by = trail::applied_by(client, applied).await?;
    Ok(Account {
        state,
        what: None,
        message: None,
        meaning: None,
        incident: decisions::open_stop(client).await?,
        lineage: Some(stored.lineage.clone()),
        applied,
        applied_at: applied_by.map(|applied_by| applied_by.at),
        file,
        last_common: None,
        tables: Vec::new(),
        rows: Vec::new(),
        rows_differing: 0,
        left_out: Vec::new(),
        blocked_by: Vec::new(),
        done: None,
    })
}

async fn sound(
    config: &Config,
    source: &SourceThread,
    client: &Client,
    stored: &Stored,
) -> Result<Account, Error> {
    begin(config, Some(source), client, stored, State::Sound).await
}

/// There is no file, or none that is a database.
async fn gone(config: &Config, client: &Client, stored: &Stored) -> Result<Account, Error> {
    let mut account = begin(config, None, client, stored, State::Broken).await?;
    let broken = Broken::Gone { why: format!("no database at {}", config.source.display()) };
    account.what = Some(broken.kind());
    account.message = Some(broken.to_string());
    account.meaning = Some(crate::error::meaning(&broken));
    for table in ledger::tables(client).await? {
        let rows = ledger::count_rows(client, &config.target_schema, &table.target).await?;
        let rows = u64::try_from(rows).unwrap_or(0);
        account.tables.push(TableAccount {
            name: table.name,
            rows_file: 0,
            rows_postgresql: rows,
            counts: account::TableCounts {
                lost: rows,
                newer_postgresql: rows,
                ..account::TableCounts::default()
            },
        });
        account.rows_differing += rows;
    }
    Ok(account)
}

/// The entry at which a file begins that both sides agree on anew.
fn next_position(stored: &Stored, head: Option<Position>) -> Position {
    Position(stored.standing.applied.position.0.max(head.map_or(0, |head| head.0)) + 1)
}
