//! The thread that a [`Source`] lives on.
//!
//! SQLite calls block, so they run on one thread of their own; the daemon sends it closures and
//! awaits their results. One at a time, in order: there is nothing to lock.

use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot};

use super::{Error, Source};

type Job = Box<dyn FnOnce(&mut Source) + Send>;

/// Jobs waiting for the thread. The daemon awaits each one, so more than a few means a mistake.
const JOBS_MAX: usize = 4;

/// A handle on the thread; the thread and its connection end with the last handle.
#[derive(Clone)]
pub struct SourceThread {
    jobs: mpsc::Sender<Job>,
}

impl SourceThread {
    /// Opens the file on a thread of its own.
    pub async fn open(path: PathBuf) -> Result<Self, Error> {
        let (jobs, mut queue) = mpsc::channel::<Job>(JOBS_MAX);
        let (opened, outcome) = oneshot::channel();
        std::thread::Builder::new()
            .name("sqlite".to_owned())
            .spawn(move || {
                let mut source = match Source::open(&path) {
                    Ok(source) => source,
                    Err(error) => return drop(opened.send(Err(error))),
                };
                if opened.send(Ok(())).is_err() {
                    return;
                }
                while let Some(job) = queue.blocking_recv() {
                    job(&mut source);
                }
            })
            .expect("the system starts one thread");
        outcome.await.expect("the thread answers before it ends")?;
        Ok(Self { jobs })
    }

    /// Runs `job` on the thread and returns what it returns.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Source) -> T + Send + 'static,
    ) -> T {
        let (reply, outcome) = oneshot::channel();
        let job: Job = Box::new(move |source| drop(reply.send(job(source))));
        assert!(self.jobs.send(job).await.is_ok(), "the thread outlives its handles");
        outcome.await.expect("a job on the thread does not panic")
    }
}
