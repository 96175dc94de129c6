//! The command: parse, execute, print the error, choose the exit code.

use std::process::ExitCode;

use clap::Parser as _;
use lite2pg::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("the system gives threads and timers");
    // Failpoints are read from the environment; in a build without them this is nothing.
    let _failpoints = lite2pg::failpoint::scenario();
    let exit = match runtime.block_on(lite2pg::command::execute(cli)) {
        Ok(exit) => exit,
        Err(report) => {
            eprintln!("{report}");
            report.exit
        }
    };
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    exit.into()
}
