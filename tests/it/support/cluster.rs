//! A PostgreSQL for tests; `database.rs` makes a database of its own for each.
//!
//! With `TEST_POSTGRES_URL` the server is the one it names. Otherwise all test processes of this
//! checkout (nextest runs every test in a process of its own) share one private cluster under
//! `target/`, made by the product's own [`PrivateCluster`] with fsync off; `TEST_PG_BIN` chooses
//! its version. Tests that crash a server get a [`ThrowawayCluster`].
//!
//! The one idea: *the kernel knows who is still alive*. Every process holds a shared lock on the
//! lease file, and a watchdog that waits for the exclusive lock stops the server. However the
//! tests end, SIGKILL included, no server outlives them by more than a few seconds.
//!
//! Without a server these tests fail with a hint. They never pass silently.

use std::fs::{self, File, TryLockError};
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use lite2pg::target::connect;
use lite2pg::target::conninfo::{self, ConnInfo, Origin, Remedy, Surroundings};
use lite2pg::target::private::{self, PrivateCluster, Shutdown, Tuning};

/// Every database of a test begins with this; what is left of dead processes is swept by it.
pub(super) const PREFIX: &str = "lite2pg_test_";

/// Waits until nobody holds the lease, lingers for the next test process, then stops the server
/// unless one has come. `$1` lock, `$2` lease, `$3` watchdog's own lock, `$4` pg_ctl, `$5` seconds
/// to linger. Its own lock goes before the bring-up lock, so that whoever starts the server next
/// finds no watchdog and starts one. The second try is for a `pg_ctl start` that outlived the
/// killed process that had called it.
const WATCHDOG: &str = r#"
exec 9<"$3"
flock -n 9 || exit 0
while :; do
    exec 7<"$2"
    flock -x 7
    exec 7<&-
    sleep "$5"
    exec 8<"$1"
    flock -x 8
    exec 7<"$2"
    if flock -n -x 7; then
        "$4" stop -D data -m fast -w -s || {
            sleep 2
            "$4" stop -D data -m fast -w -s
        }
        exec 9<&-
        exit 0
    fi
    exec 7<&- 8<&-
done
"#;

/// A server of one test's own, for tests that crash it. Gone when dropped.
pub struct ThrowawayCluster {
    cluster: Option<PrivateCluster>,
    dir: tempfile::TempDir,
}

impl ThrowawayCluster {
    /// With fsync off: it survives its own crash and no power cut.
    pub fn new() -> Self {
        Self::with_tuning(Tuning { durable: false })
    }

    /// As in production.
    pub fn durable() -> Self {
        Self::with_tuning(Tuning { durable: true })
    }

    fn with_tuning(tuning: Tuning) -> Self {
        let mut last = None;
        for base in bases() {
            let dir = throwaway_dir(&base);
            match bring_up_watched(dir.path(), tuning, 0) {
                Ok(cluster) => return Self { cluster: Some(cluster), dir },
                Err(error @ private::Error::NotTraversable { .. }) => last = Some(error),
                Err(error) => fail(&error, error.remedy()),
            }
        }
        let error = last.expect("there is at least one base");
        fail(&error, error.remedy())
    }

    /// The cluster, for its paths and its upkeep.
    pub fn cluster(&self) -> &PrivateCluster {
        self.cluster.as_ref().expect("it is taken only when dropped")
    }

    /// The URL of a database, which is created if it is missing.
    pub fn url(&self, database: &str) -> String {
        let made = self.cluster().ensure_database(database);
        made.unwrap_or_else(|error| fail(&error, error.remedy()));
        self.cluster().url(database)
    }

    /// Ends the server as a crash would: no checkpoint, clients cut off.
    pub fn stop_immediate(&self) {
        let stopped = self.cluster().shutdown(Shutdown::Immediate);
        stopped.unwrap_or_else(|error| fail(&error, error.remedy()));
    }

    /// Brings the server back, after crash recovery where that is needed.
    pub fn start(&mut self) {
        let cluster = self.cluster.as_mut().expect("it is taken only when dropped");
        cluster.start().unwrap_or_else(|error| fail(&error, error.remedy()));
    }

    /// Its directory.
    pub fn state_dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for ThrowawayCluster {
    fn drop(&mut self) {
        if let Some(cluster) = self.cluster.take() {
            let stopped = cluster.shutdown(Shutdown::Immediate);
            if let Err(error) = stopped
                && !std::thread::panicking()
            {
                panic!("cannot stop a throw-away cluster: {error}");
            }
        }
    }
}

/// A directory for a cluster of one's own; the server's user must be able to pass through it.
pub fn throwaway_dir(base: &Path) -> tempfile::TempDir {
    fs::create_dir_all(base).expect("create a directory for throw-away clusters");
    let dir = tempfile::Builder::new().prefix("throwaway-").tempdir_in(base);
    let dir = dir.expect("create a directory for a throw-away cluster");
    let mode = fs::Permissions::from_mode(0o711);
    fs::set_permissions(dir.path(), mode).expect("open the directory for the server's user");
    dir
}

/// Where clusters may live: under `target/`, or, where root works in a directory that the
/// server's user cannot enter, in `/tmp`.
pub fn bases() -> Vec<PathBuf> {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let name: String = target
        .to_string_lossy()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let short = name.get(name.len().saturating_sub(40)..).unwrap_or(&name).to_owned();
    vec![target, std::env::temp_dir().join(format!("lite2pg-test{short}"))]
}

/// Runs a future to its end, on a thread of its own, so that fixtures work in tests of any kind.
pub fn block_on<T: Send>(future: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("make a runtime").block_on(future)
        });
        match worker.join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Opens a session or fails the test with the product's own words.
pub async fn session(conninfo: &ConnInfo) -> tokio_postgres::Client {
    match connect::connect(conninfo, "lite2pg test").await {
        Ok((client, _pump)) => client,
        Err(error) => fail(&error, error.remedy()),
    }
}

/// Reads a URL with nothing around it: no variables, no files of the user.
pub fn parse(url: &str) -> ConnInfo {
    let around = Surroundings { env: &|_| None, os_user: None, home: None };
    conninfo::from_text(url, Origin::Explicit, &around).expect("a URL made by a fixture")
}

pub(super) fn fail(error: &dyn std::error::Error, remedy: Remedy) -> ! {
    let mut causes = String::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        causes.push_str(&format!("\ncause: {inner}"));
        cause = inner.source();
    }
    match remedy {
        Remedy::Stop { hint } => panic!("{error}{causes}\nhint: {hint}"),
        Remedy::Retry => panic!("{error}{causes}"),
    }
}

/// The programs that `TEST_PG_BIN` chooses.
pub fn pg_bin() -> Option<PathBuf> {
    std::env::var_os("TEST_PG_BIN").filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

pub(super) fn given_url() -> Option<String> {
    std::env::var("TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty())
}

/// The server of `TEST_POSTGRES_URL`, whose own database is only used to create others.
pub(super) fn given_server() -> Option<&'static ConnInfo> {
    static SERVER: OnceLock<Option<ConnInfo>> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        let url = given_url()?;
        let read = conninfo::from_text(&url, Origin::Explicit, &Surroundings::of_process());
        Some(read.unwrap_or_else(|error| fail(&error, error.remedy())))
    });
    server.as_ref()
}

/// The same URL with another database; `dbname` as a parameter wins over the path.
pub(super) fn with_database(url: &str, database: &str) -> String {
    if !url.contains("://") {
        return format!("{url} dbname={database}");
    }
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}dbname={database}")
}

pub(super) fn upkeep(server: &ConnInfo, sql: &str) {
    let (server, sql) = (server.clone(), sql.to_owned());
    block_on(async move {
        session(&server).await.batch_execute(&sql).await.expect("upkeep of the given server");
    });
}

/// The private cluster that all test processes of this checkout share.
pub(super) fn shared_cluster() -> &'static PrivateCluster {
    static CLUSTER: OnceLock<PrivateCluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let name = match pg_bin() {
            None => format!("postgres-{}", private::ROLE),
            Some(dir) => {
                let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
                format!(
                    "postgres-{}{}",
                    private::ROLE,
                    dir.to_string_lossy().chars().map(plain).collect::<String>()
                )
            }
        };
        let tuning = Tuning { durable: false };
        let mut last = None;
        for base in bases() {
            match bring_up_watched(&base.join(&name), tuning, 3) {
                Ok(cluster) => {
                    if !cluster.is_adopted() {
                        sweep(&cluster);
                    }
                    return cluster;
                }
                Err(error @ private::Error::NotTraversable { .. }) => last = Some(error),
                Err(error) => fail(&error, error.remedy()),
            }
        }
        let error = last.expect("there is at least one base");
        fail(&error, error.remedy())
    })
}

/// As [`PrivateCluster::up`], with the watchdog there before the server is.
fn bring_up_watched(
    state_dir: &Path,
    tuning: Tuning,
    linger_seconds: u32,
) -> Result<PrivateCluster, private::Error> {
    let mut cluster = PrivateCluster::prepare(state_dir, pg_bin().as_deref(), tuning)?;
    watch(&cluster, linger_seconds);
    cluster.start()?;
    cluster.ensure_database(private::ROLE)?;
    Ok(cluster)
}

/// A lease on a cluster that the product has made under `state_dir`. Its server ends with this
/// process, however that ends.
pub fn adopt(state_dir: &Path) -> PrivateCluster {
    let tuning = Tuning { durable: true };
    let cluster = PrivateCluster::prepare(state_dir, pg_bin().as_deref(), tuning);
    let cluster = cluster.unwrap_or_else(|error| fail(&error, error.remedy()));
    watch(&cluster, 0);
    cluster
}

/// A base that the server's user can get to.
pub fn usable_base() -> PathBuf {
    let probe = ThrowawayCluster::new();
    probe.state_dir().parent().expect("it lies in a base").to_path_buf()
}

/// Starts the watchdog unless one is there.
fn watch(cluster: &PrivateCluster, linger_seconds: u32) {
    let own = cluster.lease_path().with_file_name("watchdog");
    let file = File::create(&own).expect("create the watchdog's lock");
    match file.try_lock() {
        // Freed at once: only the watchdog itself keeps it.
        Ok(()) => drop(file),
        Err(TryLockError::WouldBlock) => return,
        Err(TryLockError::Error(error)) => panic!("cannot lock {}: {error}", own.display()),
    }
    let mut command = cluster.command("/bin/sh");
    command.args(["-c", WATCHDOG, "lite2pg-test-watchdog"]);
    command.arg(cluster.lock_path()).arg(cluster.lease_path()).arg(own);
    command.arg(cluster.program("pg_ctl")).arg(linger_seconds.to_string());
    // Its own process group, so that Ctrl-C in the terminal ends the tests and not the watchdog.
    command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
    let mut watchdog = command.spawn().expect("start the watchdog (sh and flock are needed)");
    // It outlives us by design; should it end before us, this thread takes its remains away.
    std::thread::spawn(move || watchdog.wait());
}

/// Drops the databases of test processes that no longer exist.
fn sweep(cluster: &PrivateCluster) {
    let conninfo = parse(&cluster.url(private::ROLE));
    let names: Vec<String> = block_on(async move {
        let client = session(&conninfo).await;
        let sql = "select datname::text from pg_database where starts_with(datname, $1)";
        let rows = client.query(sql, &[&PREFIX]).await.expect("list databases");
        rows.iter().map(|row| row.get(0)).collect()
    });
    for name in names {
        let pid = name[PREFIX.len()..].split('_').next().and_then(|pid| pid.parse().ok());
        let is_dead = pid.is_some_and(|pid| {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_err()
        });
        if is_dead {
            cluster.drop_database(&name).unwrap_or_else(|error| fail(&error, error.remedy()));
        }
    }
}
