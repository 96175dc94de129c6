//! Every subcommand and flag, with its help text. No I/O.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Under this heading `--help` lists what every command takes, after what is the command's own.
const GLOBAL: &str = "Options of every command";

/// Keeps a PostgreSQL database in step with a SQLite file that an application keeps writing to.
#[derive(Debug, Parser)]
#[command(name = "lite2pg", version, about, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 yes · 1 the answer is no · 2 wrong usage or configuration · \
    3 could not find out or lost a dependency · 4 lineage stop: the file is not the file any more."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Configuration file; ./lite2pg.toml is read if it is there.
    #[arg(long, global = true, value_name = "FILE", env = "LITE2PG_CONFIG")]
    #[arg(help_heading = GLOBAL)]
    pub config: Option<PathBuf>,
    /// What to log: error, warn, info, debug, or a tracing filter [default: info; demo: warn].
    #[arg(long, global = true, value_name = "FILTER", env = "LITE2PG_LOG", help_heading = GLOBAL)]
    pub log: Option<String>,
    /// How to log, on stderr.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    #[arg(help_heading = GLOBAL)]
    pub log_format: LogFormat,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look at the source and say whether it can move, and what stands in the way; reads only.
    Assess(AssessArgs),
    /// Print the PostgreSQL schema made from the source; touches nothing.
    Schema(SchemaArgs),
    /// Put the changelog and its triggers into the source.
    Install(SourceArgs),
    /// Remove all that lite2pg put into the source.
    Uninstall(UninstallArgs),
    /// Bring the target into step with the source and keep it there.
    Run(RunArgs),
    /// Show how far replication is.
    Status(StatusArgs),
    /// List the rows that the target cannot hold, or try them again.
    Quarantine(QuarantineArgs),
    /// Compare both sides row by row, while the application writes and replay goes on.
    Verify(VerifyArgs),
    /// Find the rows that differ, and have replay make them right.
    Repair(RepairArgs),
    /// Say what the comparisons of the last days came to; asks only the target.
    Report(ReportArgs),
    /// Say what happened to the file, row by row, and put back what it lost, or have PostgreSQL
    /// follow it.
    Guard(GuardArgs),
    /// Watch it work: a small database, a writer, a private PostgreSQL, a comparison at the end.
    Demo(DemoArgs),
    /// The demo's writer.
    #[command(hide = true)]
    DemoWriter(DemoWriterArgs),
}

/// Which file.
#[derive(Clone, Debug, Default, Args)]
pub struct SourceArgs {
    /// The application's SQLite file.
    #[arg(long, value_name = "FILE", env = "LITE2PG_SOURCE")]
    pub source: Option<PathBuf>,
}

/// Which PostgreSQL.
#[derive(Clone, Debug, Default, Args)]
pub struct TargetArgs {
    /// The target: a postgresql:// URL or key=value pairs. Without it DATABASE_URL, PG* or
    /// POSTGRES_* are used; without any, a private PostgreSQL is made beside the state.
    #[arg(long, value_name = "URL")]
    pub target: Option<String>,
    /// The schema that gets the tables [default: public].
    #[arg(long, value_name = "NAME")]
    pub target_schema: Option<String>,
    /// Where the private PostgreSQL is kept [default: /var/lib/lite2pg or ~/.local/state/lite2pg].
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Where PostgreSQL's server programs are, for the private one.
    #[arg(long, value_name = "DIR")]
    pub pg_bin: Option<PathBuf>,
}

/// Arguments of `assess`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 ready, or ready with warnings · 1 blocked · 2 wrong usage · \
    3 could not find out. docs/assess.md explains the report."
)]
pub struct AssessArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub source: SourceArgs,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
    /// Also write the report as one HTML file that needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Also write the proposed types as settings for lite2pg.toml, with their evidence, for review.
    #[arg(long, value_name = "FILE")]
    pub write_overrides: Option<PathBuf>,
    /// List every column with its proposal, not only those that speak for another type.
    #[arg(long)]
    pub all: bool,
    /// Check with SQLite's quick_check, which does not hold indexes against their tables.
    #[arg(long)]
    pub quick: bool,
    /// Check in the file itself, however long that reads, rather than on a temporary copy. In
    /// rollback-journal mode the application cannot commit meanwhile.
    #[arg(long)]
    pub integrity: bool,
    /// Rows to read per second at most [default: no limit].
    #[arg(long, value_name = "N")]
    pub rows_per_second: Option<std::num::NonZeroU32>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub target: TargetArgs,
    /// Judge values by the types of tables that the target has already, which are asked there. As
    /// `mode = "adopt"` in lite2pg.toml.
    #[arg(long)]
    pub adopt: bool,
}

/// Arguments of `uninstall`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 removed · 1 a sidecar streams from this file to the target that \
    is named or configured · 2 wrong usage · 3 could not find out."
)]
pub struct UninstallArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub source: SourceArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub target: TargetArgs,
    /// Also while a sidecar streams from this file, which then stops with exit code 4.
    #[arg(long)]
    pub while_running: bool,
}

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub source: SourceArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub target: TargetArgs,
    /// Build foreign keys and set sequences on the target: the step that cutover takes.
    #[arg(long, conflicts_with = "adopt")]
    pub finalise: bool,
    /// Hold the source against tables that the target has already, and list what matches, what does
    /// not, and what to do about it. As `mode = "adopt"` in lite2pg.toml.
    #[arg(long)]
    pub adopt: bool,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub source: SourceArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub target: TargetArgs,
    /// Exit with 0 as soon as the target is in step.
    #[arg(long)]
    pub until_caught_up: bool,
    /// The target's tables are there already, made by the application's own migrations: fill them,
    /// and never alter them. As `mode = "adopt"` in lite2pg.toml.
    #[arg(long)]
    pub adopt: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub pace: PaceArgs,
}

/// How fast, how often, how much.
#[derive(Clone, Debug, Default, Args)]
pub struct PaceArgs {
    /// Look at least this often, whatever file events say [default: 1000].
    #[arg(long, value_name = "MS")]
    pub poll_interval_ms: Option<u64>,
    /// Do not wait for file events: look every poll interval and at no other time.
    #[arg(long)]
    pub no_file_events: bool,
    /// Connections that copy side by side [default: 3].
    #[arg(long, value_name = "N")]
    pub copy_connections: Option<usize>,
    /// Rows per second that the first copy may send [default: no limit].
    #[arg(long, value_name = "N")]
    pub copy_rows_per_second: Option<std::num::NonZeroU32>,
    /// Bytes per second that the first copy may send [default: no limit].
    #[arg(long, value_name = "N")]
    pub copy_bytes_per_second: Option<std::num::NonZeroU32>,
    /// Apply a backlog in transactions no longer than this [default: 30s]. A backlog that needs
    /// more than one shows the target in states the source was never in, marked as not consistent.
    #[arg(long, value_name = "DURATION", value_parser = crate::config::parse_duration)]
    pub transaction_max: Option<std::time::Duration>,
    /// Keep applied changelog entries this long, for a target that goes back in time: 30s, 12h,
    /// 7d [default: 7d].
    #[arg(long, value_name = "DURATION", value_parser = crate::config::parse_duration)]
    pub retention: Option<std::time::Duration>,
    /// Prune applied entries beyond this many even if they are young [default: 5000000].
    #[arg(long, value_name = "N")]
    pub retained_changes_max: Option<i64>,
    /// How often to look for entries to prune [default: 60s].
    #[arg(long, value_name = "DURATION", value_parser = crate::config::parse_duration)]
    pub prune_interval: Option<std::time::Duration>,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub source: SourceArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub target: TargetArgs,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `quarantine`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 the quarantine is empty, or with --retry: all were touched · 1 it \
    is not · 2 wrong usage · 3 could not find out · 4 lineage stop."
)]
pub struct QuarantineArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub source: SourceArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub target: TargetArgs,
    /// Only rows of this table.
    #[arg(long, value_name = "NAME")]
    pub table: Option<String>,
    /// List every row, not only the first 100.
    #[arg(long)]
    pub all: bool,
    /// Touch every row, so that replay reads it as it is now and tries it again. With a sidecar
    /// running that happens at once, otherwise with the next `lite2pg run`.
    #[arg(long, conflicts_with_all = ["all", "json"])]
    pub retry: bool,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 every row of every table is equal · 1 something differs, or rows \
    are in quarantine · 2 wrong usage · 3 not everything could be compared · 4 lineage stop."
)]
pub struct VerifyArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub source: SourceArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub target: TargetArgs,
    /// Only this table.
    #[arg(long, value_name = "NAME")]
    pub table: Option<String>,
    /// Read everything, whatever was proven before. One that was ended goes on where it was.
    #[arg(long)]
    pub full: bool,
    /// Only compare rows that were touched since then: a time span like 2h, or a position of the
    /// changelog.
    #[arg(long, value_name = "WHEN", conflicts_with = "full")]
    pub since: Option<crate::verify::Since>,
    /// Read no more rows of the source than this in a second.
    #[arg(long, value_name = "N")]
    pub rows_per_second: Option<std::num::NonZeroU32>,
    /// Show what both sides hold in the columns that differ. Values may be personal data.
    #[arg(long)]
    pub show_values: bool,
    /// List every row that differs, not only the first 100.
    #[arg(long)]
    pub all: bool,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `repair`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 both sides are equal now · 1 they are not · 2 wrong usage · 3 not \
    everything could be compared · 4 lineage stop."
)]
pub struct RepairArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub source: SourceArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub target: TargetArgs,
    /// Only this table.
    #[arg(long, value_name = "NAME")]
    pub table: Option<String>,
    /// Only say which rows differ.
    #[arg(long)]
    pub dry_run: bool,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 nothing differed, and the newest comparison is young · 1 something \
    differed, put right since or not · 2 wrong usage · 3 nothing was compared, not everything, or \
    too long ago; or the target cannot be asked. docs/report.md explains the report."
)]
pub struct ReportArgs {
    /// The application's file; it is not read, and only the private PostgreSQL is found by it.
    #[arg(long, value_name = "FILE", env = "LITE2PG_SOURCE")]
    pub source: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub target: TargetArgs,
    /// How far back, in whole hours: 24h, 7d; 31d at most.
    #[arg(long, value_name = "DURATION", default_value = "7d")]
    #[arg(value_parser = crate::config::parse_hours)]
    pub since: i64,
    /// A newest comparison that is older than this proves nothing about now.
    #[arg(long, value_name = "DURATION", default_value = "2h")]
    #[arg(value_parser = crate::config::parse_duration)]
    pub max_age: std::time::Duration,
    /// The form, on standard output.
    #[arg(long, value_enum, default_value_t = ReportFormat::Terminal)]
    pub format: ReportFormat,
    /// As JSON; short for --format json.
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
}

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For a terminal.
    Terminal,
    /// For scripts.
    Json,
    /// For a mail.
    Markdown,
    /// One page that needs nothing else.
    Html,
    /// One line of ASCII for the subject of a mail.
    Subject,
}

/// Arguments of `guard`.
#[derive(Debug, Args)]
#[command(after_help = "Without --yes nothing is changed. Exit codes: 0 the file is the one that \
    PostgreSQL was fed from, or what was chosen is done and both sides are equal · 1 something is \
    in the way, and nothing was changed · 2 wrong usage · 3 could not find out · 4 the file is not \
    the file any more, and somebody must choose. docs/guard.md explains it.")]
pub struct GuardArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub source: SourceArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub target: TargetArgs,
    /// Put what PostgreSQL has and the file has lost into the file, after a backup of the file.
    /// Better with the application stopped: nobody else can write to the file meanwhile.
    #[arg(long, conflicts_with = "accept")]
    pub restore: bool,
    /// The file is right: PostgreSQL follows it. What PostgreSQL loses is kept in lite2pg.archive.
    #[arg(long)]
    pub accept: bool,
    /// Do it.
    #[arg(long)]
    pub yes: bool,
    /// Which row is right where both sides were written to, or nobody can tell.
    #[arg(long, value_enum, default_value_t = crate::guard::OnConflict::Stop)]
    pub on_conflict: crate::guard::OnConflict,
    /// Where the backup of the file goes [default: beside it].
    #[arg(long, value_name = "DIR")]
    pub backup_dir: Option<PathBuf>,
    /// Also write what differs as SQL for SQLite, to read, change and run. It holds the
    /// application's values.
    #[arg(long, value_name = "FILE")]
    pub sql: Option<PathBuf>,
    /// Read no more rows of the file than this in a second.
    #[arg(long, value_name = "N")]
    pub rows_per_second: Option<std::num::NonZeroU32>,
    /// List every row that differs, not only the first 100.
    #[arg(long)]
    pub all: bool,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How long the writer goes on.
    #[arg(long, value_name = "N", default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Transactions per second that the writer aims at.
    #[arg(long, value_name = "N", default_value_t = 200,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: u32,
    /// The seed of the data and of what the writer does; drawn and printed if not given.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Where the database and the private PostgreSQL are made; what an earlier demo left there is
    /// removed [default: /var/lib/lite2pg/demo or ~/.local/state/lite2pg/demo].
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Leave both databases in place at the end, PostgreSQL running.
    #[arg(long)]
    pub keep: bool,
    /// End and remove what --keep left, and do nothing else.
    #[arg(long, conflicts_with_all = ["keep", "seconds", "rate", "seed", "target"])]
    pub clean: bool,
    /// A PostgreSQL to use in place of a private one: a database that nothing else is in. The
    /// environment (DATABASE_URL, PG*) is not asked.
    #[arg(long, value_name = "URL")]
    pub target: Option<String>,
    /// The schema that gets the tables [default: public].
    #[arg(long, value_name = "NAME")]
    pub target_schema: Option<String>,
    /// Where PostgreSQL's server programs are.
    #[arg(long, value_name = "DIR")]
    pub pg_bin: Option<PathBuf>,
}

/// Arguments of the demo's writer.
#[derive(Debug, Args)]
pub struct DemoWriterArgs {
    /// The file to write to.
    #[arg(long)]
    pub source: PathBuf,
    /// How long.
    #[arg(long)]
    pub seconds: u64,
    /// Transactions per second.
    #[arg(long)]
    pub rate: u32,
    /// Seed.
    #[arg(long)]
    pub seed: u64,
}
