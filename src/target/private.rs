//! The private PostgreSQL that lite2pg makes when no target is named.
//!
//! A trial must not begin with "first set up a server". So lite2pg runs `initdb` and `pg_ctl` from
//! whatever PostgreSQL is installed and keeps the cluster under its own state directory. The one
//! idea: *the cluster can be reached by nobody but us*. It has no TCP port, its socket lives in a
//! directory of mode 0700, and peer authentication maps exactly two operating-system users to its
//! one role, so there is no password to store and no port to collide.
//!
//! Several processes may use one cluster. Each holds a shared lock on the lease file while it
//! does; bring-up and shutdown happen under one exclusive lock; the last clean exit stops the
//! server. After a crash the server is left running and the next process adopts it. Both locks
//! belong to open descriptors, so the kernel frees them however a process ends.
//!
//! It never touches a cluster it did not make, never downloads anything, and never lets `PGDATA`,
//! `PGPORT`, `LC_*` and their kin reach the server programs. It is a trial target on the same
//! machine and not a production database.
//!
//! Longer than most files, and still one idea: programs, user, directories and locks are each used
//! by nothing but the bring-up, and the order in which it uses them is what makes it safe.
//!
//! Begin with [`PrivateCluster::up`].

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Uid, User};
use sha2::{Digest, Sha256};

use super::conninfo::{Remedy, percent_encode};

/// The superuser of a private cluster, and the database that is made in it.
///
/// Not `lite2pg`: `search_path` begins with `"$user"`, so a role of that name would show the tables
/// of our ledger, which lie in the schema `lite2pg`, to whoever opens `psql`, and hide the
/// application's own.
pub const ROLE: &str = "app";

/// Names our line in the access rules.
const IDENT_MAP: &str = "lite2pg";

/// Oldest PostgreSQL that lite2pg works with: the oldest that had support when it was written.
const MAJOR_MIN: u32 = 13;

/// Longest directory that may hold a socket.
///
/// `sun_path` has 104 bytes on macOS and 108 on Linux, its terminator included, and the server
/// appends `/.s.PGSQL.65535` (15 bytes).
const SOCKET_DIR_BYTES_MAX: usize = 88;

/// How long a server may take to answer after it was started or found starting.
///
/// Crash recovery replays at most `max_wal_size` (1 GB by default), which takes tens of seconds.
const ANSWER_SECONDS_MAX: u64 = 120;

/// Pause between two looks at a server that is about to answer or to end.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A server log larger than this is set aside when the server is next started, so that two of
/// them bound what a trial leaves on the disk.
const SERVER_LOG_BYTES_MAX: u64 = 8 << 20;

/// How much of the server's log an error may carry.
const LOG_TAIL_BYTES_MAX: u64 = 4 << 10;

/// What went wrong while making, starting, adopting or stopping the private cluster.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No directory with `initdb`, `pg_ctl` and `postgres` of a supported version was found.
    #[error("no PostgreSQL server programs found (version {MAJOR_MIN} or later)")]
    ProgramsMissing,
    /// The directory that was named holds no usable server programs.
    #[error("{} has no initdb, pg_ctl and postgres of version {MAJOR_MIN} or later", dir.display())]
    ProgramsUnusable {
        /// The directory, as given.
        dir: PathBuf,
    },
    /// The data directory was made by a version whose programs are gone.
    #[error("the cluster in {} needs PostgreSQL {major}, which was not found", data.display())]
    VersionMissing {
        /// The data directory.
        data: PathBuf,
        /// What its `PG_VERSION` says.
        major: u32,
    },
    /// Something is in the way of the data directory, and it is not a cluster.
    #[error("{} exists but is no PostgreSQL data directory", data.display())]
    NotACluster {
        /// The data directory.
        data: PathBuf,
    },
    /// PostgreSQL refuses to run as root and there is no other user to run it as.
    #[error(
        "running as root, and there is no user \"postgres\" or \"nobody\" to run PostgreSQL as"
    )]
    NoServerUser,
    /// The current uid has no name, and PostgreSQL refuses to run without one.
    #[error("user id {uid} has no entry in the user database, which PostgreSQL needs")]
    NamelessUser {
        /// The effective uid.
        uid: u32,
    },
    /// The cluster belongs to somebody else.
    #[error("the private cluster in {} belongs to user id {owner}", data.display())]
    ForeignOwner {
        /// The data directory.
        data: PathBuf,
        /// Who owns it.
        owner: u32,
    },
    /// The user that runs the server cannot get to its directory.
    #[error("user {user} cannot enter {}", dir.display())]
    NotTraversable {
        /// The first directory on the way that it cannot enter.
        dir: PathBuf,
        /// The user that runs the server.
        user: String,
    },
    /// The short directory for the socket exists and is not ours alone.
    #[error("{} is not a private directory of the user that runs the server", dir.display())]
    SocketDirTaken {
        /// The directory.
        dir: PathBuf,
    },
    /// Something answers on the cluster's socket, and it is another server.
    #[error("another server (data in {found}) answers in {}", socket_dir.display())]
    Impostor {
        /// Where the socket is.
        socket_dir: PathBuf,
        /// The data directory that the server named.
        found: String,
    },
    /// A server program failed.
    #[error("{program} failed: {detail}")]
    ProgramFailed {
        /// `initdb` or `pg_ctl`.
        program: &'static str,
        /// What it said, and what the server's log gained meanwhile.
        detail: String,
    },
    /// The server runs but does not let us in.
    #[error("the private cluster in {} does not answer: {detail}", data.display())]
    NoAnswer {
        /// The data directory.
        data: PathBuf,
        /// The last answer, and what the server's log gained meanwhile.
        detail: String,
    },
    /// A statement on the private cluster failed.
    #[error("{context} on the private cluster")]
    Statement {
        /// What was being done.
        context: String,
        /// What PostgreSQL said.
        source: tokio_postgres::Error,
    },
    /// A file operation failed.
    #[error("{context} {}", path.display())]
    Io {
        /// Verb, as in "create directory".
        context: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// What to do next. Only a server that is slow to answer is worth asking again.
    pub fn remedy(&self) -> Remedy {
        let hint = match self {
            Self::NoAnswer { .. } => return Remedy::Retry,
            Self::ProgramsMissing => format!(
                "{}, or name a server with `--target postgresql://...`, or its programs' \
                 directory with `--pg-bin`.",
                install_hint()
            ),
            Self::ProgramsUnusable { .. } => {
                format!(
                    "{}, and give `--pg-bin` the directory that `pg_config --bindir` prints.",
                    install_hint()
                )
            }
            Self::VersionMissing { data, major } => format!(
                "Install PostgreSQL {major} again, or move {} away to begin anew.",
                data.display()
            ),
            Self::NotACluster { data } => {
                format!("Move {} away, or set LITE2PG_STATE.", data.display())
            }
            Self::NoServerUser => {
                "Run lite2pg as another user, or `useradd --system postgres` first.".to_owned()
            }
            Self::NamelessUser { uid } => format!(
                "Add a line for {uid} to /etc/passwd (in a container: `--user` with a known \
                 user), or name a server with `--target`."
            ),
            Self::ForeignOwner { owner, .. } => {
                format!(
                    "Run lite2pg as user id {owner}, or set LITE2PG_STATE to another directory."
                )
            }
            Self::NotTraversable { dir, user } => format!(
                "Set LITE2PG_STATE to a directory that {user} can reach (such as \
                 /var/lib/lite2pg), or `chmod o+x {}`.",
                dir.display()
            ),
            Self::SocketDirTaken { dir } => {
                format!("Remove {}, or set LITE2PG_STATE to a shorter path.", dir.display())
            }
            Self::Impostor { .. } => {
                "Stop that server, or set LITE2PG_STATE to another directory.".to_owned()
            }
            Self::ProgramFailed { .. } => {
                "Read the message above; `server.log` in the state directory has the rest."
                    .to_owned()
            }
            Self::Statement { .. } => {
                "Read the cause; `server.log` in the state directory has the rest.".to_owned()
            }
            Self::Io { path, .. } => format!(
                "Check the rights and the free space at {}, or set LITE2PG_STATE.",
                path.display()
            ),
        };
        Remedy::Stop { hint }
    }
}

/// The one line that installs the server programs here.
fn install_hint() -> &'static str {
    let exists = |path: &str| Path::new(path).exists();
    if cfg!(target_os = "macos") {
        "Install PostgreSQL with `brew install postgresql@17`"
    } else if exists("/usr/bin/apt-get") {
        "Install PostgreSQL with `apt-get install -y postgresql`"
    } else if exists("/usr/bin/dnf") {
        "Install PostgreSQL with `dnf install -y postgresql-server`"
    } else if exists("/sbin/apk") {
        "Install PostgreSQL with `apk add postgresql`"
    } else if exists("/usr/bin/pacman") {
        "Install PostgreSQL with `pacman -S postgresql`"
    } else if exists("/usr/bin/zypper") {
        "Install PostgreSQL with `zypper install postgresql-server`"
    } else {
        "Install PostgreSQL's server programs (Debian: `apt-get install -y postgresql`, \
         Fedora: `dnf install -y postgresql-server`, macOS: `brew install postgresql@17`)"
    }
}

/// The cluster, under the state directory.
const DATA: &str = "pg/data";

/// How careful a cluster is with its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Commits survive a power cut. Tests that only kill processes can do without: what the
    /// server has written survives its own death either way.
    pub durable: bool,
}

/// How a server is told to end (<https://www.postgresql.org/docs/current/server-shutdown.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Roll back what is open, write everything out, end.
    Fast,
    /// End now, as a crash would; the next start recovers from the write-ahead log.
    Immediate,
}

/// A running private cluster that this process has a lease on.
///
/// Dropping it only gives the lease up, as a crash would: the server goes on and the next process
/// adopts it. [`PrivateCluster::stop`] is the clean end.
#[derive(Debug)]
pub struct PrivateCluster {
    home: Home,
    programs: Programs,
    account: Account,
    socket_dir: PathBuf,
    port: u16,
    tuning: Tuning,
    is_adopted: bool,
    lease: Option<File>,
}

impl PrivateCluster {
    /// Whether there is a cluster under `state_dir`, running or not. Makes nothing.
    pub fn is_made(state_dir: &Path) -> bool {
        state_dir.join(DATA).is_dir()
    }

    /// Whether there is a cluster under `state_dir` whose server runs. Makes nothing.
    pub fn is_running(state_dir: &Path) -> bool {
        Home { state: state_dir.to_path_buf() }.is_running()
    }

    /// Makes the private cluster under `state_dir` answer, whatever state it was left in.
    ///
    /// Creates what is missing (the directory, the cluster, the database [`ROLE`]), adopts a
    /// server that is running already, starts it otherwise. Blocks for seconds when it has to
    /// run `initdb`. Safe to call from several processes at once and safe to repeat after a
    /// crash at any point: a half-made cluster is called `data.new` and is made again.
    ///
    /// `pg_bin` names the directory of the server programs; without it the usual places are
    /// searched. An adopted server keeps the tuning it was started with.
    pub fn up(state_dir: &Path, pg_bin: Option<&Path>, tuning: Tuning) -> Result<Self, Error> {
        let mut cluster = Self::prepare(state_dir, pg_bin, tuning)?;
        cluster.start()?;
        cluster.ensure_database(ROLE)?;
        Ok(cluster)
    }

    /// The part of [`PrivateCluster::up`] before the server runs: directories, programs, lease,
    /// `initdb`. For whoever must set something up between that and [`PrivateCluster::start`].
    pub fn prepare(state_dir: &Path, pg_bin: Option<&Path>, tuning: Tuning) -> Result<Self, Error> {
        let home = Home::create(state_dir)?;
        let _bring_up = home.lock_bring_up()?;
        let account = Account::choose(&home.data())?;
        home.hand_over(&account)?;
        let programs = Programs::find(pg_bin, home.major()?, &home.data())?;
        let lease = home.lease()?;
        // The lease is held before the server is sought, so nobody stops it in between.
        lease.lock_shared().map_err(|source| home.io_error("lock", "lease", source))?;
        let cluster = Self {
            socket_dir: home.socket_dir(&account)?,
            home,
            programs,
            account,
            port: 5432,
            tuning,
            is_adopted: false,
            lease: Some(lease),
        };
        if cluster.home.major()?.is_none() {
            cluster.init()?;
        }
        Ok(cluster)
    }

    /// The URL of a database on this cluster, as `psql` and tokio-postgres both read it.
    ///
    /// It works for the user that made the cluster and for the user that runs the server.
    pub fn url(&self, database: &str) -> String {
        // In a query a slash stands for itself, and people read this.
        let socket_dir = percent_encode(&self.socket_dir.to_string_lossy()).replace("%2F", "/");
        let database = percent_encode(database);
        format!("postgresql:///{database}?host={socket_dir}&port={}&user={ROLE}", self.port)
    }

    /// The line that opens a database in `psql`, to be pasted into a shell.
    pub fn psql(&self, database: &str) -> String {
        // A path with a quote in it is encoded by then.
        format!("psql '{}'", self.url(database))
    }

    /// The directory that holds the socket.
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// The socket itself.
    pub fn socket(&self) -> PathBuf {
        self.socket_dir.join(format!(".s.PGSQL.{}", self.port))
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.home.data()
    }

    /// The file that every process using this cluster holds a shared lock on.
    pub fn lease_path(&self) -> PathBuf {
        self.home.state.join("lease")
    }

    /// The file that bring-up and shutdown lock exclusively.
    pub fn lock_path(&self) -> PathBuf {
        self.home.state.join("lock")
    }

    /// What the server says in `cluster_name`: it tells private clusters apart.
    pub fn cluster_name(&self) -> String {
        self.home.cluster_name()
    }

    /// The server was running before; this process did not start it.
    pub fn is_adopted(&self) -> bool {
        self.is_adopted
    }

    /// The major version of its programs.
    pub fn major(&self) -> u32 {
        self.programs.major
    }

    /// Where a server program is.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.dir.join(name)
    }

    /// A command that runs `program` (`pg_ctl`, `postgres`, …) as the user that owns the server,
    /// with an empty environment, in the directory above `data`. An absolute path is run as it is.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(self.programs.dir.join(program.as_ref()));
        self.account.clean(&mut command, &self.home.pg());
        command
    }

    /// Creates a database if it is missing. Safe to repeat, and to race with others.
    pub fn ensure_database(&self, name: &str) -> Result<(), Error> {
        let exists = "select 1 from pg_catalog.pg_database where datname = $1";
        let create = format!("create database {}", crate::table::Ident::new(name));
        let context = format!("create database {name}");
        let made = self.with_client("postgres", async |client| {
            if client.query_opt(exists, &[&name]).await?.is_none() {
                client.batch_execute(&create).await?;
            }
            Ok(())
        });
        match made {
            Err(error) if is_duplicate(&error) => Ok(()),
            other => other.map_err(|source| Error::Statement { context, source }),
        }
    }

    /// Drops a database if it exists, throwing out whoever uses it.
    pub fn drop_database(&self, name: &str) -> Result<(), Error> {
        let ident = crate::table::Ident::new(name);
        self.execute(&format!("drop database if exists {ident} with (force)"))
    }

    /// Runs statements in the database `postgres`, each in its own transaction or as the text
    /// says. For upkeep of the cluster, not for the application's data.
    pub fn execute(&self, statements: &str) -> Result<(), Error> {
        self.with_client("postgres", async |client| client.batch_execute(statements).await)
            .map_err(|source| Error::Statement { context: "run upkeep".to_owned(), source })
    }

    /// Starts the server, after [`PrivateCluster::prepare`], [`PrivateCluster::shutdown`] or a
    /// crash; adopts it if it answers already.
    pub fn start(&mut self) -> Result<(), Error> {
        let _bring_up = self.home.lock_bring_up()?;
        self.start_or_adopt()
    }

    /// Ends the server no matter who else uses it. Does nothing if it is not running.
    pub fn shutdown(&self, how: Shutdown) -> Result<(), Error> {
        let _bring_up = self.home.lock_bring_up()?;
        self.shutdown_locked(how)
    }

    /// Gives up this process's lease, and stops the server if that was the last one.
    ///
    /// Returns whether the server was stopped. A crash here leaves the server running and the
    /// next [`PrivateCluster::up`] adopts it.
    pub fn stop(mut self) -> Result<bool, Error> {
        let _bring_up = self.home.lock_bring_up()?;
        drop(self.lease.take());
        let lease = self.home.lease()?;
        match lease.try_lock() {
            Ok(()) => self.shutdown_locked(Shutdown::Fast).map(|()| true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(source)) => Err(self.home.io_error("lock", "lease", source)),
        }
    }

    fn shutdown_locked(&self, how: Shutdown) -> Result<(), Error> {
        if !self.home.is_running() {
            return Ok(());
        }
        let mode = match how {
            Shutdown::Fast => "fast",
            Shutdown::Immediate => "immediate",
        };
        let seconds = ANSWER_SECONDS_MAX.to_string();
        let mut command = self.command("pg_ctl");
        command.args(["stop", "-D", "data", "-w", "-m", mode, "-t", &seconds]);
        let log = LogMark::new(&self.home.server_log());
        let output = self.run("pg_ctl", &mut command)?;
        // A server that died meanwhile is stopped as well.
        let is_gone = !self.home.is_running();
        if output.status.success() || is_gone {
            return Ok(());
        }
        Err(failed("pg_ctl", &output, &log))
    }

    /// Makes the cluster as `data.new` and renames it once it is whole.
    fn init(&self) -> Result<(), Error> {
        let staged = self.home.pg().join("data.new");
        if staged.exists() {
            fs::remove_dir_all(&staged).map_err(|source| io_error("remove", &staged, source))?;
        }
        let mut command = self.command("initdb");
        command.args(["-D", "data.new", "-U", ROLE, "-E", "UTF8", "--locale=C.UTF-8"]);
        command.args(["--data-checksums", "--auth-local=peer", "--auth-host=reject"]);
        if !self.tuning.durable {
            command.arg("--no-sync");
        }
        let mut output = self.run("initdb", &mut command)?;
        if !output.status.success() && mentions(&output, "invalid locale") {
            // musl and macOS have no C.UTF-8; the C locale with UTF-8 sorts alike.
            command.arg("--locale=C");
            output = self.run("initdb", &mut command)?;
        }
        if !output.status.success() {
            return Err(failed("initdb", &output, &LogMark::none()));
        }
        self.write_staged(&staged)?;
        let data = self.home.data();
        fs::rename(&staged, &data).map_err(|source| io_error("rename", &staged, source))?;
        sync_dir(&self.home.pg())
    }

    /// Access rules and the include line, which never change afterwards.
    fn write_staged(&self, staged: &Path) -> Result<(), Error> {
        let hba = format!(
            "# Written by lite2pg. No TCP; {ROLE} by operating-system user, others by password.\n\
             local all {ROLE} peer map={IDENT_MAP}\n\
             local all all scram-sha-256\n\
             host all all all reject\n"
        );
        self.write_as_server(&staged.join("pg_hba.conf"), WriteMode::Replace, &hba)?;
        self.write_as_server(&staged.join("lite2pg.conf"), WriteMode::Replace, "")?;
        let include = "\ninclude 'lite2pg.conf'\n";
        self.write_as_server(&staged.join("postgresql.conf"), WriteMode::Append, include)
    }

    /// What may differ from one start to the next: who we are, where the socket goes, tuning.
    fn write_settings(&self) -> Result<(), Error> {
        let data = self.home.data();
        let mut ident = String::from("# Written by lite2pg at every start.\n");
        for user in [&current_user_name(), &Some(self.account.name.clone())].into_iter().flatten() {
            let quoted = user.replace('"', "\"\"");
            writeln!(ident, "{IDENT_MAP} \"{quoted}\" {ROLE}").expect("a String takes any text");
        }
        self.write_as_server(&data.join("pg_ident.conf"), WriteMode::Replace, &ident)?;

        let socket_dir = self.socket_dir.to_string_lossy().replace('\'', "''");
        let on_off = if self.tuning.durable { "on" } else { "off" };
        let settings = format!(
            "# Written by lite2pg at every start; ALTER SYSTEM wins over it.\n\
             listen_addresses = ''\n\
             unix_socket_directories = '{socket_dir}'\n\
             unix_socket_permissions = 0700\n\
             cluster_name = '{name}'\n\
             password_encryption = 'scram-sha-256'\n\
             timezone = 'UTC'\n\
             log_timezone = 'UTC'\n\
             fsync = {on_off}\n\
             full_page_writes = {on_off}\n",
            name = self.cluster_name(),
        );
        self.write_as_server(&data.join("lite2pg.conf"), WriteMode::Replace, &settings)
    }

    /// Writes a file as the server's user. As root we must not: in a directory that another user
    /// owns, that user could have put a symbolic link to any file of the system in its place.
    fn write_as_server(&self, path: &Path, mode: WriteMode, text: &str) -> Result<(), Error> {
        let script = match mode {
            WriteMode::Replace => "umask 077; cat >\"$1\"",
            WriteMode::Append => "umask 077; cat >>\"$1\"",
        };
        let mut command = self.command("/bin/sh");
        command.args(["-c", script, "sh"]).arg(path);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let bad = |source| io_error("write", path, source);
        let mut child = command.spawn().map_err(bad)?;
        let mut stdin = child.stdin.take().expect("it was just piped");
        // The pipe closes at the end of the statement, and `cat` with it.
        let sent = stdin.write_all(text.as_bytes()).map(|()| drop(stdin));
        let output = child.wait_with_output().map_err(bad)?;
        if output.status.success() {
            return sent.map_err(bad);
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(bad(io::Error::other(said)))
    }

    /// Leaves with a server that answers and is ours.
    ///
    /// Whether it runs is decided by connecting, never by its pid file alone: after a SIGKILL of
    /// the postmaster that file stays, and a zombie makes `pg_ctl status` say "running".
    fn start_or_adopt(&mut self) -> Result<(), Error> {
        let log = LogMark::new(&self.home.server_log());
        let deadline = Instant::now() + Duration::from_secs(ANSWER_SECONDS_MAX);
        self.is_adopted = true;
        loop {
            let postmaster = self.home.postmaster();
            let is_alive = self.home.is_running();
            if !is_alive {
                self.launch(deadline)?;
                self.is_adopted = false;
                continue;
            }
            if let Some((socket_dir, port)) = postmaster.and_then(|found| found.endpoint) {
                (self.socket_dir, self.port) = (socket_dir, port);
                match self.ask_identity() {
                    Ok(found) if self.is_our_data(&found) => return Ok(()),
                    Ok(found) => {
                        return Err(Error::Impostor { socket_dir: self.socket_dir.clone(), found });
                    }
                    Err(error) if deadline <= Instant::now() => {
                        let detail = format!("{}{}", chain(&error), log.gained());
                        return Err(Error::NoAnswer { data: self.home.data(), detail });
                    }
                    Err(_) => {}
                }
            } else if deadline <= Instant::now() {
                let detail = format!("its pid file names no socket{}", log.gained());
                return Err(Error::NoAnswer { data: self.home.data(), detail });
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Runs `pg_ctl start` once, and again while the remains of a dead server are in its way.
    fn launch(&mut self, deadline: Instant) -> Result<(), Error> {
        self.socket_dir = self.home.socket_dir(&self.account)?;
        self.write_settings()?;
        self.home.set_large_log_aside()?;
        loop {
            let log = LogMark::new(&self.home.server_log());
            let seconds = ANSWER_SECONDS_MAX.to_string();
            let mut command = self.command("pg_ctl");
            command.args(["start", "-D", "data", "-l", "server.log", "-w", "-s", "-t", &seconds]);
            let output = self.run("pg_ctl", &mut command)?;
            if output.status.success() {
                return Ok(());
            }
            // Children of a killed postmaster hold its shared memory for a moment longer.
            let gained = log.gained();
            let is_held = gained.contains("is still in use") || gained.contains("lock file");
            if !is_held || deadline <= Instant::now() {
                return Err(failed("pg_ctl", &output, &log));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// The data directory that the answering server names.
    fn ask_identity(&self) -> Result<String, tokio_postgres::Error> {
        self.with_client("postgres", async |client| {
            let row = client.query_one("select current_setting('data_directory')", &[]).await?;
            row.try_get(0)
        })
    }

    fn is_our_data(&self, found: &str) -> bool {
        match (fs::metadata(found), fs::metadata(self.home.data())) {
            (Ok(found), Ok(ours)) => found.dev() == ours.dev() && found.ino() == ours.ino(),
            _ => false,
        }
    }

    fn run(&self, program: &'static str, command: &mut Command) -> Result<Output, Error> {
        let path = self.programs.dir.join(program);
        command.output().map_err(|source| io_error("run", &path, source))
    }

    /// Connects, runs `work` and disconnects, on a thread of its own: this module is blocking,
    /// and a caller may be inside an asynchronous runtime that must not be entered twice.
    fn with_client<T: Send>(
        &self,
        database: &str,
        work: impl AsyncFnOnce(&tokio_postgres::Client) -> Result<T, tokio_postgres::Error> + Send,
    ) -> Result<T, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.socket_dir).port(self.port).user(ROLE).dbname(database);
        config.application_name("lite2pg private cluster").connect_timeout(Duration::from_secs(5));
        std::thread::scope(|scope| {
            let worker = scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime needs only an epoll descriptor");
                runtime.block_on(async move {
                    let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
                    let pump = tokio::spawn(connection);
                    let outcome = work(&client).await;
                    drop(client);
                    // The statement's own error says more than the connection's.
                    let _ended = pump.await;
                    outcome
                })
            });
            worker.join().expect("the worker does not panic")
        })
    }
}

/// What becomes of the text that a file has.
#[derive(Clone, Copy, Debug)]
enum WriteMode {
    Replace,
    Append,
}

/// The directories of one cluster: `state` holds the locks, `state/pg` all that is the server's.
#[derive(Debug)]
struct Home {
    state: PathBuf,
}

impl Home {
    fn create(state_dir: &Path) -> Result<Self, Error> {
        // The server's user must be able to pass through when that is not us.
        let mode = if Uid::effective().is_root() { 0o711 } else { 0o700 };
        DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(state_dir)
            .map_err(|source| io_error("create directory", state_dir, source))?;
        let state = fs::canonicalize(state_dir)
            .map_err(|source| io_error("resolve directory", state_dir, source))?;
        Ok(Self { state })
    }

    fn pg(&self) -> PathBuf {
        self.state.join("pg")
    }

    fn data(&self) -> PathBuf {
        self.state.join(DATA)
    }

    fn server_log(&self) -> PathBuf {
        self.state.join("pg/server.log")
    }

    fn cluster_name(&self) -> String {
        format!("lite2pg-{}", short_hash(self.state.as_os_str()))
    }

    fn io_error(&self, context: &'static str, file: &str, source: io::Error) -> Error {
        io_error(context, &self.state.join(file), source)
    }

    /// Held while a cluster is made, started, adopted or stopped; freed when dropped.
    fn lock_bring_up(&self) -> Result<File, Error> {
        let lock = self.open_lock("lock")?;
        lock.lock().map_err(|source| self.io_error("lock", "lock", source))?;
        Ok(lock)
    }

    fn lease(&self) -> Result<File, Error> {
        self.open_lock("lease")
    }

    /// Locks are taken on descriptors and hold nothing, so anybody who can reach them may read.
    fn open_lock(&self, name: &str) -> Result<File, Error> {
        let path = self.state.join(name);
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| io_error("open", &path, source))
    }

    /// Creates the server's directory and makes sure that its user gets there.
    fn hand_over(&self, account: &Account) -> Result<(), Error> {
        let pg = self.pg();
        match DirBuilder::new().mode(0o700).create(&pg) {
            Ok(()) => account.own(&pg)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(io_error("create directory", &pg, source)),
        }
        let owner = fs::metadata(&pg).map_err(|source| io_error("stat", &pg, source))?.uid();
        if owner != account.uid.as_raw() {
            return Err(Error::ForeignOwner { data: pg, owner });
        }
        account.check_reach(&pg)
    }

    /// The major version that made the data directory; `None` if there is none yet.
    fn major(&self) -> Result<Option<u32>, Error> {
        let data = self.data();
        if !data.exists() {
            return Ok(None);
        }
        let version = fs::read_to_string(data.join("PG_VERSION")).ok();
        match version.and_then(|text| text.trim().parse().ok()) {
            Some(major) => Ok(Some(major)),
            None => Err(Error::NotACluster { data }),
        }
    }

    /// `state/pg` itself if a socket in it can be named; otherwise a short private directory.
    fn socket_dir(&self, account: &Account) -> Result<PathBuf, Error> {
        let pg = self.pg();
        // A comma separates sockets in the server's setting and hosts in a connection string.
        let is_plain = |text: &str| !text.chars().any(|c| c == ',' || c.is_control());
        let fits = pg.as_os_str().len() <= SOCKET_DIR_BYTES_MAX;
        if fits && pg.to_str().is_some_and(is_plain) {
            return Ok(pg);
        }
        let name = format!("lite2pg-{}", short_hash(self.state.as_os_str()));
        let dir = Path::new("/tmp").join(name);
        match DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => account.own(&dir)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(io_error("create directory", &dir, source)),
        }
        // Anybody can write to /tmp, so what was found there is trusted only if it is ours alone.
        let found = fs::symlink_metadata(&dir).map_err(|source| io_error("stat", &dir, source))?;
        let is_private = found.is_dir()
            && found.uid() == account.uid.as_raw()
            && found.permissions().mode() & 0o077 == 0;
        if is_private { Ok(dir) } else { Err(Error::SocketDirTaken { dir }) }
    }

    fn set_large_log_aside(&self) -> Result<(), Error> {
        let log = self.server_log();
        if fs::metadata(&log).is_ok_and(|found| SERVER_LOG_BYTES_MAX < found.len()) {
            let aside = self.pg().join("server.log.1");
            fs::rename(&log, &aside).map_err(|source| io_error("rename", &log, source))?;
        }
        Ok(())
    }

    fn is_running(&self) -> bool {
        self.postmaster().is_some_and(|postmaster| postmaster.is_alive(&self.data()))
    }

    fn postmaster(&self) -> Option<Postmaster> {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        Postmaster::parse(&text)
    }
}

/// What `postmaster.pid` says: pid, data directory, start time, port, socket directory, …
/// (<https://www.postgresql.org/docs/current/storage-file-layout.html>). The port and the socket
/// are written a moment after the pid.
#[derive(Debug, PartialEq)]
struct Postmaster {
    pid: i32,
    endpoint: Option<(PathBuf, u16)>,
}

impl Postmaster {
    fn parse(text: &str) -> Option<Self> {
        let lines: Vec<&str> = text.lines().collect();
        let pid: i32 = lines.first()?.trim().parse().ok()?;
        let endpoint = match (lines.get(3), lines.get(4)) {
            (Some(port), Some(dir)) if !dir.is_empty() => {
                port.trim().parse().ok().map(|port| (PathBuf::from(dir), port))
            }
            _ => None,
        };
        // A negative pid is a stand-alone backend, which nobody can connect to.
        (0 < pid).then_some(Self { pid, endpoint })
    }

    /// A process of that number exists, is no zombie, and works in `data`, as a server does.
    fn is_alive(&self, data: &Path) -> bool {
        if !Path::new("/proc/self/stat").exists() {
            let pid = nix::unistd::Pid::from_raw(self.pid);
            return !matches!(nix::sys::signal::kill(pid, None), Err(nix::errno::Errno::ESRCH));
        }
        match fs::read_link(format!("/proc/{}/cwd", self.pid)) {
            Ok(cwd) => return cwd == data,
            // Root in a container may not look at the directory of another user's process.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(_) => return false,
        }
        let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", self.pid)) else {
            return false;
        };
        // "pid (name) state …"; the name may itself hold parentheses.
        let (Some(open), Some(close)) = (stat.find('('), stat.rfind(')')) else { return false };
        let state = stat[close + 1..].trim_start().chars().next();
        stat[open + 1..close].starts_with("postgres") && !matches!(state, Some('Z' | 'X'))
    }
}

/// Who runs the server.
#[derive(Debug)]
struct Account {
    uid: Uid,
    gid: Gid,
    name: String,
    /// We are root and give the privilege up before we run a server program.
    drops: bool,
}

impl Account {
    /// Ourselves; as root the owner of the cluster, else `postgres`, else `nobody`.
    fn choose(data: &Path) -> Result<Self, Error> {
        let me = Uid::effective();
        let owner = fs::metadata(data).ok().map(|found| Uid::from_raw(found.uid()));
        let by_uid = |uid| User::from_uid(uid).ok().flatten();
        if !me.is_root() {
            if let Some(owner) = owner.filter(|owner| *owner != me) {
                return Err(Error::ForeignOwner { data: data.into(), owner: owner.as_raw() });
            }
            let user = by_uid(me).ok_or(Error::NamelessUser { uid: me.as_raw() })?;
            return Ok(Self::of(user, false));
        }
        let by_name = |name| User::from_name(name).ok().flatten();
        owner
            .filter(|owner| !owner.is_root())
            .and_then(by_uid)
            .or_else(|| by_name("postgres"))
            .or_else(|| by_name("nobody"))
            .map(|user| Self::of(user, true))
            .ok_or(Error::NoServerUser)
    }

    fn of(user: User, drops: bool) -> Self {
        Self { uid: user.uid, gid: user.gid, name: user.name, drops }
    }

    /// Gives a file that root has just made to the server's user.
    fn own(&self, path: &Path) -> Result<(), Error> {
        if !self.drops {
            return Ok(());
        }
        lchown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
            .map_err(|source| io_error("chown", path, source))
    }

    /// Empty environment, own user, own directory, nothing to read.
    ///
    /// `TZ`, `LC_*`, `PGPORT`, `PGDATA`, `PGOPTIONS` and the like would change what the server
    /// programs do; a `PATH` is all they need, for the shell that `pg_ctl` and `initdb` call.
    fn clean(&self, command: &mut Command, dir: &Path) {
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command.current_dir(dir).stdin(Stdio::null());
        if self.drops {
            // This also empties the supplementary groups.
            command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
        }
    }

    /// Proves that the server's user can write to `dir`, by trying, because access-control lists
    /// decide as well as mode bits.
    fn check_reach(&self, dir: &Path) -> Result<(), Error> {
        if !self.drops {
            return Ok(());
        }
        let enters = |dir: &Path, wish: &str| {
            let mut command = Command::new("/bin/sh");
            self.clean(&mut command, Path::new("/"));
            command.args(["-c", "test \"$1\" \"$2\"", "sh", wish]).arg(dir);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        if enters(dir, "-w") {
            return Ok(());
        }
        let mut ancestors: Vec<&Path> = dir.ancestors().collect();
        ancestors.reverse();
        let barred = ancestors.into_iter().find(|ancestor| !enters(ancestor, "-x"));
        let dir = barred.unwrap_or(dir).to_path_buf();
        Err(Error::NotTraversable { dir, user: self.name.clone() })
    }
}

/// One installed PostgreSQL.
#[derive(Clone, Debug, PartialEq)]
struct Programs {
    dir: PathBuf,
    major: u32,
}

impl Programs {
    /// The programs of version `wanted`, or the newest there are.
    fn find(pg_bin: Option<&Path>, wanted: Option<u32>, data: &Path) -> Result<Self, Error> {
        let found: Vec<Self> = match pg_bin {
            Some(dir) => {
                let programs = Self::in_dir(dir)
                    .ok_or_else(|| Error::ProgramsUnusable { dir: dir.to_path_buf() })?;
                vec![programs]
            }
            None => candidate_dirs().iter().filter_map(|dir| Self::in_dir(dir)).collect(),
        };
        if found.is_empty() {
            return Err(Error::ProgramsMissing);
        }
        match wanted {
            Some(major) => found
                .into_iter()
                .find(|programs| programs.major == major)
                .ok_or_else(|| Error::VersionMissing { data: data.to_path_buf(), major }),
            // The first of equals: candidates are listed in order of preference.
            None => found
                .into_iter()
                .reduce(|best, next| if best.major < next.major { next } else { best })
                .ok_or(Error::ProgramsMissing),
        }
    }

    /// All three programs together, beside the *real* `postgres`: a directory of symbolic links
    /// lacks the libraries and the `share` directory that the server looks for next to itself.
    fn in_dir(dir: &Path) -> Option<Self> {
        let postgres = fs::canonicalize(dir.join("postgres")).ok()?;
        let dir = postgres.parent()?.to_path_buf();
        let has_all = ["initdb", "pg_ctl"].iter().all(|name| dir.join(name).is_file());
        if !has_all {
            return None;
        }
        let output = Command::new(&postgres)
            .arg("--version")
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .ok()?;
        let major = parse_major(&String::from_utf8_lossy(&output.stdout))?;
        (MAJOR_MIN <= major).then_some(Self { dir, major })
    }
}

/// `postgres (PostgreSQL) 15.20 (Debian 15.20-0)` is 15; `18beta1` is 18.
fn parse_major(version: &str) -> Option<u32> {
    let number = version.split_once(") ")?.1;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Where server programs are usually found, in order of preference.
fn candidate_dirs() -> Vec<PathBuf> {
    let mut dirs = vec![state_base().join("pgbin/bin")];
    let configured = Command::new("pg_config").arg("--bindir").stdin(Stdio::null()).output();
    if let Ok(output) = configured {
        dirs.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    if let Some(path) = std::env::var_os("PATH") {
        dirs.extend(std::env::split_paths(&path));
    }
    for (parent, prefix, bin) in [
        ("/usr/lib/postgresql", "", "bin"),
        ("/usr/libexec", "postgresql", ""),
        ("/usr", "pgsql-", "bin"),
        ("/usr/local/opt", "postgresql", "bin"),
        ("/opt/homebrew/opt", "postgresql", "bin"),
        ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
    ] {
        let Ok(entries) = fs::read_dir(parent) else { continue };
        let mut names: Vec<OsString> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.file_name()))
            .filter(|name| name.to_string_lossy().starts_with(prefix))
            .collect();
        names.sort();
        dirs.extend(names.into_iter().map(|name| Path::new(parent).join(name).join(bin)));
    }
    dirs.push(PathBuf::from("/usr/local/pgsql/bin"));
    dirs
}

/// Where lite2pg keeps what is its own: `$LITE2PG_STATE`, else `/var/lib/lite2pg` for root, else
/// `$XDG_STATE_HOME/lite2pg`, else `~/.local/state/lite2pg`.
///
/// Root's home is no place for it: the server runs as another user, who cannot get there.
pub fn state_base() -> PathBuf {
    let home = || User::from_uid(Uid::effective()).ok().flatten().map(|user| user.dir);
    state_base_from(&|name| std::env::var_os(name), Uid::effective().is_root(), &home)
}

fn state_base_from(
    env: &dyn Fn(&str) -> Option<OsString>,
    is_root: bool,
    home: &dyn Fn() -> Option<PathBuf>,
) -> PathBuf {
    let set = |name| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(named) = set("LITE2PG_STATE") {
        return named;
    }
    if is_root {
        return PathBuf::from("/var/lib/lite2pg");
    }
    // The XDG rules say that a relative path is to be ignored.
    if let Some(base) = set("XDG_STATE_HOME").filter(|base| base.is_absolute()) {
        return base.join("lite2pg");
    }
    let home = set("HOME").or_else(home).unwrap_or_else(|| PathBuf::from("/var/tmp"));
    home.join(".local/state/lite2pg")
}

/// The state directory of one source file: its stem, so that people recognise it, and a short
/// hash of its real path, so that two files never share a cluster.
///
/// Does not open the file: closing it again would drop SQLite's locks.
pub fn state_dir_for(source: &Path) -> PathBuf {
    state_base().join(state_name(source))
}

fn state_name(source: &Path) -> String {
    let real = fs::canonicalize(source).or_else(|_| {
        let absolute = std::path::absolute(source)?;
        match (absolute.parent(), absolute.file_name()) {
            (Some(parent), Some(name)) => Ok(fs::canonicalize(parent)?.join(name)),
            _ => Ok(absolute),
        }
    });
    let real = real.unwrap_or_else(|_: io::Error| source.to_path_buf());
    let stem: String = real
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .take(24)
        .collect();
    let stem = if stem.is_empty() { "source" } else { &stem };
    format!("{stem}-{}", short_hash(real.as_os_str()))
}

/// Eight hexadecimal digits: enough to tell the files of one machine apart.
fn short_hash(text: &OsStr) -> String {
    let digest = Sha256::digest(text.as_encoded_bytes());
    digest.iter().take(4).fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String takes any text");
        hex
    })
}

/// The name under which the system knows us; peer authentication compares exactly this.
fn current_user_name() -> Option<String> {
    User::from_uid(Uid::effective()).ok().flatten().map(|user| user.name)
}

/// Where the server's log ended when an attempt began.
struct LogMark {
    path: Option<PathBuf>,
    len: u64,
}

impl LogMark {
    fn new(path: &Path) -> Self {
        let len = fs::metadata(path).map(|found| found.len()).unwrap_or(0);
        Self { path: Some(path.to_path_buf()), len }
    }

    fn none() -> Self {
        Self { path: None, len: 0 }
    }

    /// What the log has gained since, at most its last 4 KiB, beginning with a line break.
    /// `pg_ctl` itself says no more than "could not start server".
    fn gained(&self) -> String {
        let read = || -> io::Result<String> {
            let Some(path) = &self.path else { return Ok(String::new()) };
            let mut file = File::open(path)?;
            let len = file.metadata()?.len();
            // A log that was set aside meanwhile begins anew.
            let from = if len < self.len { 0 } else { self.len };
            file.seek(SeekFrom::Start(from.max(len.saturating_sub(LOG_TAIL_BYTES_MAX))))?;
            let mut bytes = Vec::new();
            file.take(LOG_TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
        };
        match read() {
            Ok(text) if !text.is_empty() => format!("\n{text}"),
            _ => String::new(),
        }
    }
}

fn failed(program: &'static str, output: &Output, log: &LogMark) -> Error {
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let said = if said.is_empty() { output.status.to_string() } else { said };
    Error::ProgramFailed { program, detail: format!("{said}{}", log.gained()) }
}

fn mentions(output: &Output, words: &str) -> bool {
    String::from_utf8_lossy(&output.stderr).contains(words)
}

fn io_error(context: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io { context, path: path.to_path_buf(), source }
}

/// Makes a rename in `dir` survive a power cut.
fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|source| io_error("sync", dir, source))
}

/// `create database` raced with another process: 42P04, or 23505 from the catalog's own index.
fn is_duplicate(error: &tokio_postgres::Error) -> bool {
    use tokio_postgres::error::SqlState;
    let codes = [&SqlState::DUPLICATE_DATABASE, &SqlState::UNIQUE_VIOLATION];
    error.code().is_some_and(|code| codes.contains(&code))
}

/// An error with all its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        write!(text, ": {inner}").expect("a String takes any text");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(vars: &[(&str, &str)], is_root: bool) -> PathBuf {
        let env = |name: &str| {
            vars.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        state_base_from(&env, is_root, &|| Some(PathBuf::from("/passwd/home")))
    }

    #[test]
    fn the_state_directory_is_never_in_roots_home() {
        let vars = [("HOME", "/root"), ("XDG_STATE_HOME", "/root/.local/state")];
        assert_eq!(base(&vars, true), Path::new("/var/lib/lite2pg"));
        assert_eq!(base(&vars, false), Path::new("/root/.local/state/lite2pg"));
        assert_eq!(base(&[("LITE2PG_STATE", "/x")], true), Path::new("/x"));
        assert_eq!(base(&[], false), Path::new("/passwd/home/.local/state/lite2pg"));
        let relative = [("XDG_STATE_HOME", "here"), ("HOME", "/home/me")];
        assert_eq!(base(&relative, false), Path::new("/home/me/.local/state/lite2pg"));
    }

    #[test]
    fn two_files_of_one_name_get_two_directories() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::create_dir_all(&a).expect("create");
        fs::create_dir_all(&b).expect("create");
        let first = state_name(&a.join("app.db"));
        assert_ne!(first, state_name(&b.join("app.db")));
        assert!(first.starts_with("app-"), "{first}");
        std::os::unix::fs::symlink(&a, dir.path().join("link")).expect("link");
        assert_eq!(first, state_name(&dir.path().join("link/app.db")));
        File::create(a.join("app.db")).expect("create");
        assert_eq!(first, state_name(&a.join("app.db")), "the same before and after it exists");
    }

    #[test]
    fn odd_file_names_make_plain_directory_names() {
        assert!(state_name(Path::new("/nowhere/my 'shop', $(x).db")).starts_with("myshopx-"));
        assert!(state_name(Path::new("/nowhere/данные.db")).starts_with("source-"));
    }

    #[test]
    fn versions_are_read_from_what_postgres_prints() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(parse_major("something else"), None);
    }

    #[test]
    fn a_pid_file_that_is_being_written_names_no_socket_yet() {
        let whole = "123\n/d\n1700000000\n5433\n/s/pg\n\n  1 2\nready\n";
        let endpoint = Some((PathBuf::from("/s/pg"), 5433));
        assert_eq!(Postmaster::parse(whole), Some(Postmaster { pid: 123, endpoint }));
        let early = Postmaster::parse("123\n/d\n1700000000\n");
        assert_eq!(early, Some(Postmaster { pid: 123, endpoint: None }));
        assert_eq!(Postmaster::parse(""), None);
        assert_eq!(Postmaster::parse("-5\n/d\n"), None);
    }

    #[test]
    fn a_process_that_is_not_postgres_is_no_running_server() {
        let pid = i32::try_from(std::process::id()).expect("a pid fits");
        assert!(!Postmaster { pid, endpoint: None }.is_alive(Path::new("/nowhere")));
    }

    #[test]
    fn every_error_says_what_to_do() {
        let error = Error::ProgramsMissing;
        let Remedy::Stop { hint } = error.remedy() else { panic!("{error} is not worth a retry") };
        assert!(hint.contains("install") && hint.contains("--target"), "{hint}");
        let dir = PathBuf::from("/root");
        let error = Error::NotTraversable { dir, user: "postgres".to_owned() };
        let Remedy::Stop { hint } = error.remedy() else { panic!("{error} is not worth a retry") };
        assert!(hint.contains("LITE2PG_STATE"), "{hint}");
    }
}
