//! What each subcommand does, from arguments to exit code.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::alert::{self, Alert, Alerts};
use crate::assess::outcome::Verdict;
use crate::change::Lineage;
use crate::cli::{
    AssessArgs, Cli, Command, GuardArgs, LogFormat, PaceArgs, QuarantineArgs, RepairArgs,
    ReportArgs, ReportFormat, RunArgs, SchemaArgs, SourceArgs, StatusArgs, TargetArgs,
    UninstallArgs, VerifyArgs,
};
use crate::config::{self, File, Private};
use crate::daemon::{self, Ended, Stop};
use crate::error::{self, Exit, Report};
use crate::history::History;
use crate::overrides::{Mode, Overrides};
use crate::source::thread::SourceThread;
use crate::source::{Source, triggers};
use crate::target::conninfo::{self, ConnInfo};
use crate::target::decisions::Choice;
use crate::target::private::{self, PrivateCluster, ROLE};
use crate::target::{self, connect, ledger};
use crate::{assess, demo, guard, quarantine, report, status, terminal, verify};

/// Connections are closed and the private PostgreSQL stopped before this returns.
pub async fn execute(cli: Cli) -> Result<Exit, Report> {
    start_logging(&cli)?;
    let file = File::read(cli.config.as_deref())?;
    match cli.command {
        Command::Assess(args) => assess(&file, args).await,
        Command::Install(args) => install(&file, &args),
        Command::Uninstall(args) => uninstall(&file, args).await,
        Command::Schema(args) => schema(&file, args).await,
        Command::Run(args) => run(&file, args).await,
        Command::Status(args) => show_status(&file, args).await,
        Command::Quarantine(args) => show_quarantine(&file, args).await,
        Command::Verify(args) => compare(&file, args).await,
        Command::Repair(args) => repair(&file, args).await,
        Command::Report(args) => show_report(&file, args).await,
        Command::Guard(args) => guard(&file, args).await,
        Command::Demo(args) => demo::demo(args).await,
        Command::DemoWriter(args) => demo::writer::write(&args),
    }
}

fn start_logging(cli: &Cli) -> Result<(), Report> {
    let log = cli.log.as_deref().unwrap_or(match cli.command {
        // It says itself what happens.
        Command::Demo(_) => "warn",
        _ => "info",
    });
    let mut filter = tracing_subscriber::EnvFilter::try_new(log)
        .map_err(|error| Report::new(Exit::Usage, format!("--log {log}: {error}")))?;
    // It would show a webhook's URL, which is a secret.
    for silent in ["ureq=off", "ureq_proto=off"] {
        filter = filter.add_directive(silent.parse().expect("a directive"));
    }
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| terminal::LogWriter)
        .with_target(false)
        .with_ansi(terminal::is_interactive() && no_color().is_none());
    match cli.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

fn no_color() -> Option<std::ffi::OsString> {
    std::env::var_os("NO_COLOR").filter(|value| !value.is_empty())
}

/// Prints data. A reader that went away (`| head`) is no error of ours.
pub(crate) fn print(text: &str) -> Result<(), Report> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Report::new(Exit::Unknown, format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), Report> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Report::new(Exit::Unknown, format!("cannot write JSON: {error}")))?;
    print(&format!("{text}\n"))
}

async fn assess(file: &File, args: AssessArgs) -> Result<Exit, Report> {
    let path = file.source(&args.source)?;
    for wanted in args.html.iter().chain(&args.write_overrides) {
        refuse_database(wanted, &path)?;
    }
    let schema = file.target_schema(&args.target);
    let options = assess::Options {
        is_quick: args.quick,
        in_place: args.integrity,
        rows_per_second: args.rows_per_second,
    };
    let mut overrides = file.overrides(args.adopt)?;
    if overrides.mode() == Mode::Adopt {
        let adopted = adoption_of(file, &args.target, path.clone(), overrides);
        overrides = Arc::new(adopted.await?);
    }
    let assess = move || assess::assess(&path, &schema, options, &overrides);
    let assessment =
        tokio::task::spawn_blocking(assess).await.expect("an assessment does not panic")?;
    if let Some(html) = &args.html {
        write_file(html, &report::html(&assessment))?;
    }
    if let Some(overrides) = &args.write_overrides {
        write_file(overrides, &report::overrides(&assessment))?;
    }
    if args.json {
        print_json(&assessment)?;
    } else {
        print(&report::terminal(&assessment, args.all))?;
    }
    Ok(match assessment.verdict {
        Verdict::Blocked => Exit::No,
        Verdict::Ready | Verdict::ReadyWithWarnings => Exit::Yes,
    })
}

/// A report must not be written over the database or the files that belong to it: even to open
/// them would drop SQLite's locks.
fn refuse_database(wanted: &Path, source: &Path) -> Result<(), Report> {
    let source = source.canonicalize().unwrap_or_else(|_| source.to_path_buf());
    // The file itself may not be there yet; its directory is.
    let found = wanted.canonicalize().or_else(|_| {
        let directory = wanted.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new(".")).canonicalize()?;
        std::io::Result::Ok(directory.join(wanted.file_name().unwrap_or_default()))
    });
    let wanted = found.unwrap_or_else(|_| wanted.to_path_buf());
    let is_its = ["", "-wal", "-shm", "-journal"].iter().any(|suffix| {
        let mut name = source.as_os_str().to_owned();
        name.push(suffix);
        wanted.as_os_str() == name
    });
    if is_its {
        let message = format!("{} belongs to the source", wanted.display());
        return Err(Report::new(Exit::Usage, message).hint("Name another file for the report."));
    }
    Ok(())
}

fn write_file(path: &Path, text: &str) -> Result<(), Report> {
    std::fs::write(path, text).map_err(|error| {
        Report::new(Exit::Usage, format!("cannot write {}: {error}", path.display()))
    })
}

fn install(file: &File, args: &SourceArgs) -> Result<Exit, Report> {
    let path = file.source(args)?;
    let mut source = Source::open(&path)?;
    source.leave_out(file.overrides(false)?);
    let survey = source.survey()?;
    if survey.catalog.tables.is_empty() {
        return Err(daemon::Error::NothingToDo.into());
    }
    for skipped in &survey.catalog.skipped {
        tracing::warn!(name = %skipped.name, kind = skipped.kind.as_str(), reason = %skipped.reason,
            "not captured");
    }
    let installed = triggers::install(&mut source, &survey.catalog, None)?;
    let captured = survey.catalog.tables.len();
    if !installed.left_out.is_empty() {
        let tables = installed.left_out.join(", ");
        tracing::warn!(%tables, captured, "left out from now on; their triggers are taken out");
    }
    let what = if installed.is_first {
        format!("captures {captured} tables from now on")
    } else if installed.renewed.is_empty() && installed.left_out.is_empty() {
        format!("already captures {captured} tables; nothing changed")
    } else if installed.renewed.is_empty() {
        format!("captures {captured} tables")
    } else {
        format!("renewed the triggers of {} tables", installed.renewed.len())
    };
    print(&format!("lineage {}: {what}\n", installed.lineage))?;
    Ok(Exit::Yes)
}

async fn uninstall(file: &File, args: UninstallArgs) -> Result<Exit, Report> {
    let path = file.source(&args.source)?;
    let mut source = Source::open(&path)?;
    if !args.while_running && is_streamed_from(file, args.target, &source).await? {
        let (triggers, tables) = source.triggers()?;
        let message = format!(
            "a sidecar streams from this file: without the {triggers} triggers on {tables} tables \
             nothing would be captured any more"
        );
        return Err(Report::new(Exit::No, message)
            .hint("Stop it first. With `--while-running` it stops by itself, with exit code 4."));
    }
    let gone = triggers::uninstall(&mut source)?;
    print(&match gone {
        0 => "nothing of lite2pg was installed\n".to_owned(),
        gone => format!("removed {gone} triggers and tables\n"),
    })?;
    Ok(Exit::Yes)
}

/// Whether a sidecar streams from this file to the target that is named or configured. Where that
/// cannot be found out, nobody is known to.
async fn is_streamed_from(file: &File, args: TargetArgs, source: &Source) -> Result<bool, Report> {
    let Some(lineage) = source.lineage()? else { return Ok(false) };
    let (file, path) = (file.clone(), source.path().to_path_buf());
    let find = move || file.target(&args, &path, Private::MustRun);
    let found = tokio::task::spawn_blocking(find).await.expect("finding a target does not panic");
    let (target, cluster) = match found {
        Ok(found) => found,
        Err(config::Error::NothingThere { .. }) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let asked = is_fed_now(&target, &lineage).await;
    release(cluster).await?;
    asked.or_else(|error| {
        tracing::warn!(error = %error::chain(&error),
            "the target does not say whether a sidecar is at work");
        Ok(false)
    })
}

async fn is_fed_now(target: &ConnInfo, lineage: &Lineage) -> Result<bool, target::Error> {
    let (client, _) = connect::connect(target, "lite2pg uninstall").await?;
    if !ledger::exists(&client).await? || !ledger::is_someone_at_work(&client).await? {
        return Ok(false);
    }
    let stored = ledger::position(&client).await?;
    Ok(stored.is_some_and(|stored| stored.lineage == *lineage))
}

/// The target that is named, or a private PostgreSQL; brought up off the async threads.
pub(crate) async fn target_of(
    file: File,
    args: crate::cli::TargetArgs,
    source: PathBuf,
    private: Private,
) -> Result<(ConnInfo, Option<PrivateCluster>), Report> {
    tokio::task::spawn_blocking(move || file.target(&args, &source, private))
        .await
        .expect("bringing up a target does not panic")
        .map_err(Report::from)
}

/// Stops the private PostgreSQL, unless another process still uses it.
pub(crate) async fn release(cluster: Option<PrivateCluster>) -> Result<(), Report> {
    let Some(cluster) = cluster else { return Ok(()) };
    tokio::task::spawn_blocking(move || cluster.stop())
        .await
        .expect("stopping a server does not panic")
        .map(drop)
        .map_err(|error| config::Error::from(error).into())
}

/// How long a run that was told to stop waits for alerts that are under way.
const STOP_ALERTS_MAX: Duration = Duration::from_secs(5);

async fn run(file: &File, args: RunArgs) -> Result<Exit, Report> {
    let path = file.source(&args.source)?;
    let until_caught_up = args.until_caught_up;
    let alerts = file.alerts(&args.target, &path);
    let outcome = replicate(file, args, path, &alerts).await;
    match &outcome {
        Ok(_) => alerts.finish(STOP_ALERTS_MAX).await,
        Err(report) => {
            alerts.send(alert_of(report));
            alerts.finish(alert::FINISH_MAX).await;
        }
    }
    match outcome? {
        Ended::CaughtUp => Ok(Exit::Yes),
        Ended::Stopped if until_caught_up => {
            Err(Report::new(Exit::Unknown, "stopped before the target was in step")
                .hint("Run it again: it goes on where it stopped."))
        }
        Ended::Stopped => Ok(Exit::Yes),
    }
}

/// The end of a run with an error.
fn alert_of(report: &Report) -> Alert {
    let kind = if report.exit == Exit::Lineage { "lineage_stop" } else { "run_ended" };
    let hint = report.advice().map(str::to_owned);
    Alert { hint, exit_code: Some(report.exit as u8), ..Alert::new(kind, report.in_one_line()) }
}

async fn replicate(
    file: &File,
    args: RunArgs,
    path: PathBuf,
    alerts: &Alerts,
) -> Result<Ended, Report> {
    // Before a PostgreSQL is made for it: is there a database at all?
    drop(Source::open(&path)?);
    let schema = file.target_schema(&args.target);
    let (target, cluster) =
        target_of(file.clone(), args.target.clone(), path.clone(), Private::Make).await?;
    if let Some(cluster) = &cluster {
        // A private PostgreSQL has no password that this could show.
        let psql = cluster.psql(ROLE);
        tracing::info!(
            "no target is named, so a private PostgreSQL is used; while this runs: {psql}"
        );
    }
    say_about(args.target.target.as_deref(), &target);
    let overrides = file.overrides(args.adopt)?;
    let config = file.run(path, target, schema, overrides, args.until_caught_up, &args.pace);
    let outcome = run_until_told(daemon::Config { alerts: alerts.clone(), ..config }).await;
    release(cluster).await?;
    outcome
}

/// What an operator should know about how the target was named, once.
fn say_about(flag: Option<&str>, target: &ConnInfo) {
    if flag.is_some_and(|flag| conninfo::redact(flag) != flag) {
        tracing::warn!(
            "every user of this machine can read the password in --target; DATABASE_URL, \
             PGPASSWORD and ~/.pgpass are not shown to others"
        );
    }
    for warning in &target.warnings {
        tracing::warn!("{warning}");
    }
    if !target.set_aside.is_empty() {
        let parameters = target.set_aside.join(", ");
        tracing::info!(parameters, "these parameters of the URL are another program's; not used");
    }
}

/// Runs until SIGTERM or SIGINT.
pub(crate) async fn run_until_told(config: daemon::Config) -> Result<Ended, Report> {
    let stop = stop_on_signals("stopping after the batch in hand; a second signal stops at once")?;
    Ok(daemon::run(config, stop).await?)
}

/// Given by SIGTERM or SIGINT; a second signal ends the process at once, which is as safe.
pub(crate) fn stop_on_signals(say: &'static str) -> Result<Stop, Report> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| {
        signal(kind).map_err(|error| {
            Report::new(Exit::Unknown, format!("cannot wait for signals: {error}"))
        })
    };
    let (mut terminate, mut interrupt) =
        (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let (switch, stop) = Stop::new();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::info!("{say}");
        // Fails only if nobody waits any more.
        let _ = switch.send(true);
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        std::process::exit(i32::from(Exit::Unknown as u8));
    });
    Ok(stop)
}

async fn show_status(file: &File, args: StatusArgs) -> Result<Exit, Report> {
    let path = file.source(&args.source)?;
    let source = SourceThread::open(path.clone()).await?;
    let (target, cluster) =
        target_of(file.clone(), args.target.clone(), path, Private::MustExist).await?;
    let (client, _) =
        connect::connect(&target, "lite2pg status").await.map_err(target::Error::from)?;
    let status = status::read(&source, &client).await?;
    drop(client);
    release(cluster).await?;
    if args.json {
        print_json(&status)?;
    } else {
        print(&status.render())?;
    }
    Ok(Exit::Yes)
}

async fn show_quarantine(file: &File, args: QuarantineArgs) -> Result<Exit, Report> {
    let path = file.source(&args.source)?;
    let source = SourceThread::open(path.clone()).await?;
    let (target, cluster) =
        target_of(file.clone(), args.target.clone(), path, Private::MustExist).await?;
    let (client, _) =
        connect::connect(&target, "lite2pg quarantine").await.map_err(target::Error::from)?;
    let table = args.table.as_deref();
    if args.retry {
        let touched = quarantine::retry(&source, &client, table).await;
        drop(client);
        release(cluster).await?;
        print(&format!("touched {} rows; replay tries them again\n", touched?))?;
        return Ok(Exit::Yes);
    }
    let rows_max = (!args.all).then_some(quarantine::LISTED_MAX);
    let found = quarantine::read(&client, table, rows_max).await;
    drop(client);
    release(cluster).await?;
    let found = found?;
    if args.json {
        print_json(&found)?;
    } else {
        print(&report::quarantine(&found))?;
    }
    Ok(if found.quarantined == 0 { Exit::Yes } else { Exit::No })
}

async fn compare(file: &File, args: VerifyArgs) -> Result<Exit, Report> {
    let path = file.source(&args.source)?;
    let alerts = file.alerts(&args.target, &path);
    let is_json = args.json;
    let outcome = verdict_on(file, args, path).await;
    let alert = match &outcome {
        Ok(verdict) => report::alert(verdict),
        Err(report) => (report.exit == Exit::Lineage).then(|| alert_of(report)),
    };
    if let Some(alert) = alert {
        alerts.send(alert);
    }
    let exit = outcome.and_then(|verdict| {
        if is_json {
            print_json(&verdict)?;
        } else {
            print(&report::verdict(&verdict))?;
        }
        Ok(exit_of(verdict.verdict))
    });
    alerts.finish(alert::FINISH_MAX).await;
    exit
}

async fn verdict_on(
    file: &File,
    args: VerifyArgs,
    path: PathBuf,
) -> Result<verify::verdict::Verdict, Report> {
    let overrides = file.overrides(false)?;
    let (config, cluster) = existing(file, &args.target, path, overrides).await?;
    let scope = verify::Scope {
        is_full: args.full,
        since: args.since,
        shows_values: args.show_values,
        lists_all: args.all,
        rows_per_second: args.rows_per_second,
        ..scope_of(file, args.table)
    };
    let outcome = verify::verify(&config, scope).await;
    release(cluster).await?;
    Ok(outcome?)
}

async fn repair(file: &File, args: RepairArgs) -> Result<Exit, Report> {
    let path = file.source(&args.source)?;
    let overrides = file.overrides(false)?;
    let (config, cluster) = existing(file, &args.target, path, overrides).await?;
    let outcome = verify::repair::repair(&config, scope_of(file, args.table), args.dry_run).await;
    release(cluster).await?;
    let repaired = outcome?;
    if args.json {
        print_json(&repaired)?;
    } else {
        print(&report::repaired(&repaired))?;
    }
    Ok(exit_of(repaired.after.verdict))
}

async fn guard(file: &File, args: GuardArgs) -> Result<Exit, Report> {
    let path = file.source(&args.source)?;
    if let Some(wanted) = &args.sql {
        refuse_database(wanted, &path)?;
    }
    let overrides = file.overrides(false)?;
    let (config, cluster) = existing(file, &args.target, path, overrides).await?;
    let choice = match (args.restore, args.accept) {
        (true, _) => Some(Choice::Restore),
        (_, true) => Some(Choice::Accept),
        _ => None,
    };
    let options = guard::Options {
        choice,
        is_sure: args.yes,
        on_conflict: args.on_conflict,
        backup_dir: args.backup_dir,
        lists_all: args.all,
        sql: args.sql,
        rows_per_second: args.rows_per_second,
    };
    let outcome = guard::guard(&config, &options).await;
    release(cluster).await?;
    let account = outcome?;
    if args.json {
        print_json(&account)?;
    } else {
        print(&report::guard(&account))?;
    }
    use guard::account::State;
    Ok(match account.state {
        State::Sound => Exit::Yes,
        State::Broken => Exit::Lineage,
        State::Blocked => Exit::No,
        State::Restored | State::Accepted => {
            let verified = account.done.map(|done| done.verified);
            // Where only the target was in question, nothing is left to be compared.
            verified.map_or(Exit::Yes, |verified| verified.map_or(Exit::Unknown, exit_of))
        }
    })
}

/// The subject of a mail has its line even where there is nothing to report on: whoever gets no
/// word at all learns nothing.
async fn show_report(file: &File, args: ReportArgs) -> Result<Exit, Report> {
    let format = if args.json { ReportFormat::Json } else { args.format };
    let outcome = history(file, args).await;
    if let (Err(error), ReportFormat::Subject) = (&outcome, format) {
        print(&report::subject_of_failure(error))?;
    }
    let history = outcome?;
    match format {
        ReportFormat::Terminal => print(&report::history_terminal(&history))?,
        ReportFormat::Json => print_json(&history)?,
        ReportFormat::Markdown => print(&report::history_markdown(&history))?,
        ReportFormat::Html => print(&report::history_page(&history))?,
        ReportFormat::Subject => print(&report::history_subject(&history))?,
    }
    Ok(exit_of(history.verdict))
}

/// What the ledger says. The source is not asked: it may be out of reach, and so may the sidecar.
async fn history(file: &File, args: ReportArgs) -> Result<History, Report> {
    let path = match file.source(&SourceArgs { source: args.source }) {
        Ok(path) => path,
        Err(_) if file.names_target(&args.target)? => PathBuf::new(),
        Err(error) => return Err(error.into()),
    };
    let (target, cluster) = target_of(file.clone(), args.target, path, Private::MustExist).await?;
    let records = records(&target, args.since).await;
    release(cluster).await?;
    Ok(History::of(&records?, args.max_age))
}

async fn records(target: &ConnInfo, hours: i64) -> Result<target::history::Records, Report> {
    let (client, _) =
        connect::connect(target, "lite2pg report").await.map_err(target::Error::from)?;
    if !ledger::is_readable(&client).await? {
        return Err(verify::Error::NothingThere.into());
    }
    Ok(target::history::read(&client, hours).await?)
}

/// What the configuration says of comparisons.
fn scope_of(file: &File, table: Option<String>) -> verify::Scope {
    verify::Scope {
        table,
        reread: file.reread(),
        invariants: file.invariants(),
        queries: file.queries(),
        ..verify::Scope::default()
    }
}

fn exit_of(verdict: verify::verdict::Outcome) -> Exit {
    match verdict {
        verify::verdict::Outcome::Pass => Exit::Yes,
        verify::verdict::Outcome::Fail => Exit::No,
        verify::verdict::Outcome::Incomplete => Exit::Unknown,
    }
}

async fn schema(file: &File, args: SchemaArgs) -> Result<Exit, Report> {
    let path = file.source(&args.source)?;
    let schema = file.target_schema(&args.target);
    if args.finalise {
        let source = SourceThread::open(path.clone()).await?;
        let overrides = file.overrides(false)?;
        source.run(move |source| source.leave_out(overrides)).await;
        let (target, cluster) =
            target_of(file.clone(), args.target.clone(), path, Private::MustExist).await?;
        let (client, _) =
            connect::connect(&target, "lite2pg schema").await.map_err(target::Error::from)?;
        let outcome = daemon::finalise::finalise(&source, &client, &schema).await?;
        drop(client);
        release(cluster).await?;
        print_json(&outcome)?;
        return Ok(if outcome.refused == 0 { Exit::Yes } else { Exit::No });
    }
    let overrides = file.overrides(args.adopt)?;
    if overrides.mode() == Mode::Adopt {
        return show_adoption(file, args, path, overrides).await;
    }
    let mut source = Source::open(&path)?;
    source.leave_out(overrides.clone());
    let ddl = daemon::blueprint::ddl_of(&mut source, &schema, &overrides)?;
    if args.json {
        print_json(&ddl)?;
    } else {
        print(&ddl.render())?;
    }
    Ok(Exit::Yes)
}

/// What a run of this configuration would work with, for a target that is there already; the
/// private PostgreSQL, if it is that, is to be released.
async fn existing(
    file: &File,
    args: &TargetArgs,
    path: PathBuf,
    overrides: Arc<Overrides>,
) -> Result<(daemon::Config, Option<PrivateCluster>), Report> {
    let schema = file.target_schema(args);
    let (target, cluster) =
        target_of(file.clone(), args.clone(), path.clone(), Private::MustExist).await?;
    let pace = PaceArgs::default();
    Ok((file.run(path, target, schema, overrides, false, &pace), cluster))
}

/// What the configuration says, with the types of the tables that would be adopted.
async fn adoption_of(
    file: &File,
    args: &TargetArgs,
    path: PathBuf,
    overrides: Arc<Overrides>,
) -> Result<Overrides, Report> {
    let (config, cluster) = existing(file, args, path, overrides).await?;
    let outcome = daemon::blueprint::types_of_target(&config).await;
    release(cluster).await?;
    Ok(outcome?)
}

/// Shows what would be adopted. The answer is no where something is in the way.
async fn show_adoption(
    file: &File,
    args: SchemaArgs,
    path: PathBuf,
    overrides: Arc<Overrides>,
) -> Result<Exit, Report> {
    let (config, cluster) = existing(file, &args.target, path, overrides).await?;
    say_about(args.target.target.as_deref(), &config.target);
    let outcome = daemon::blueprint::show(&config).await;
    release(cluster).await?;
    let shown = outcome?;
    if args.json {
        print_json(&shown)?;
    } else {
        print(&report::adoption(&shown))?;
    }
    Ok(if shown.is_clear { Exit::Yes } else { Exit::No })
}

impl From<config::Error> for Report {
    fn from(error: config::Error) -> Self {
        use crate::target::conninfo::Remedy;
        use private::Error::{ProgramsMissing, ProgramsUnusable};
        if let config::Error::Private(missing @ (ProgramsMissing | ProgramsUnusable { .. })) =
            &error
            && let Remedy::Stop { hint } = missing.remedy()
        {
            // What to install is all there is to say, so it is said in one line.
            return Report::new(Exit::Unknown, format!("{error}. {hint}"));
        }
        let hint = match &error {
            config::Error::NoSource => {
                "Name the application's file: --source FILE, LITE2PG_SOURCE, or `source` in \
                 lite2pg.toml."
                    .to_owned()
            }
            config::Error::Exposed { .. } => "`chmod 600` it.".to_owned(),
            config::Error::Read { .. }
            | config::Error::Malformed { .. }
            | config::Error::Alerts { .. } => {
                "docs/reference/config.md lists every key.".to_owned()
            }
            config::Error::Target(error) => match error.remedy() {
                Remedy::Stop { hint } => hint.clone(),
                Remedy::Retry => "Try again.".to_owned(),
            },
            config::Error::NothingThere { .. } => {
                "`lite2pg run` makes one. Or name the target: --target URL.".to_owned()
            }
            config::Error::Overrides(_) => {
                "docs/reference/config.md lists what each mode takes.".to_owned()
            }
            config::Error::Private(error) => match error.remedy() {
                Remedy::Stop { hint } => hint.clone(),
                Remedy::Retry => "Try again.".to_owned(),
            },
        };
        let exit = match error {
            config::Error::Private(_) | config::Error::NothingThere { .. } => Exit::Unknown,
            _ => Exit::Usage,
        };
        Report::of(exit, &error, Some(hint))
    }
}
