//! The PostgreSQL server that tests use, and a small blocking connection to it.
//!
//! One server per test process: the one `TEST_POSTGRES_URL` names, or a private cluster that is
//! made on first use and goes away with the process, even if the process is killed. Every test
//! takes its own [`Database`]. Without a server and without server programs a test fails with a
//! hint; it never passes silently.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::support::roles;

/// One database of its own, dropped with this value.
pub struct Database {
    name: String,
    /// Where it is, for `--target`.
    pub url: String,
}

impl Database {
    /// Makes an empty UTF-8 database on the test server.
    pub fn create() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("it_{}_{count}", std::process::id());
        let server = server();
        Target::connect(&url_of(server, "postgres")).run(&format!(
            "create database {name} template template0 encoding 'UTF8' \
             lc_collate 'C' lc_ctype 'C'"
        ));
        let url = url_of(server, &name);
        Self { url: roles::offer(&url, &url_of(server, "postgres")), name }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("drop database if exists {} with (force)", self.name);
        if let Err(error) = Target::connect(&url_of(server(), "postgres")).try_query(&drop) {
            eprintln!("database {} stays behind: {error}", self.name);
        }
    }
}

/// A blocking connection that speaks text only: what comes back is PostgreSQL's own text form.
pub struct Target {
    runtime: tokio::runtime::Runtime,
    client: tokio_postgres::Client,
}

impl Target {
    /// Connects as the superuser, or fails the test.
    pub fn connect(url: &str) -> Self {
        Self::try_connect(url).unwrap_or_else(|error| {
            panic!("cannot connect to {url}: {error:?}; set TEST_POSTGRES_URL")
        })
    }

    /// Connects, if somebody is there.
    pub fn try_connect(url: &str) -> Result<Self, tokio_postgres::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime needs no more than a descriptor");
        let url = roles::as_superuser(url);
        let (client, connection) = runtime.block_on(tokio_postgres::connect(&url, NoTls))?;
        runtime.spawn(connection);
        Ok(Self { runtime, client })
    }

    /// The rows of the last statement that gave any, in text form.
    pub fn try_query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, tokio_postgres::Error> {
        let messages = self.runtime.block_on(self.client.simple_query(sql))?;
        let mut rows = Vec::new();
        for message in messages {
            if let SimpleQueryMessage::Row(row) = message {
                rows.push((0..row.len()).map(|at| row.get(at).map(String::from)).collect());
            }
        }
        Ok(rows)
    }

    /// The same, where failure fails the test.
    pub fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.try_query(sql).unwrap_or_else(|error| {
            let shown = &sql[..sql.floor_char_boundary(2_000)];
            panic!("{error:?}\nin {shown}")
        })
    }

    /// Runs statements that give nothing back.
    pub fn run(&self, sql: &str) {
        self.query(sql);
    }
}

/// The URL of the test server; its database part is to be replaced, see [`url_of`].
fn server() -> &'static str {
    static SERVER: OnceLock<String> = OnceLock::new();
    SERVER.get_or_init(|| match std::env::var("TEST_POSTGRES_URL") {
        Ok(url) => url,
        Err(_) => start_private_cluster(),
    })
}

/// `url` with another database.
fn url_of(url: &str, database: &str) -> String {
    let (head, options) = match url.split_once('?') {
        Some((head, options)) => (head, format!("?{options}")),
        None => (url, String::new()),
    };
    let authority = head.find("://").map_or(0, |at| at + 3);
    let path = head[authority..].find('/').map_or(head.len(), |at| authority + at);
    format!("{}/{database}{options}", &head[..path])
}

/// Waits for the end of its input, then stops the server and removes its directory.
const KEEPER_SCRIPT: &str = "trap '' INT TERM HUP; read -r line; \
    \"$0\" -D \"$1\" -m immediate -s stop; cd /; rm -rf \"$2\"";

/// Makes and starts a cluster below the temporary directory; a shell that waits for our end of a
/// pipe to close stops and removes it.
fn start_private_cluster() -> String {
    static KEEPER: OnceLock<Child> = OnceLock::new();
    let programs = programs();
    let directory = tempfile::Builder::new()
        .prefix("lite2pg-it-")
        .tempdir()
        .expect("the temporary directory is writable")
        .keep();
    let owner = owner();
    if let Some((uid, gid)) = owner {
        std::os::unix::fs::chown(&directory, Some(uid), Some(gid)).expect("root may chown");
    }
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700))
        .expect("the directory is ours");
    let data = directory.join("data");
    run(as_owner(&programs.join("initdb"), owner, &directory).arg("-D").arg(&data).args([
        "-U",
        "postgres",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
    ]));
    let settings = format!(
        "-k {} -c listen_addresses='' -c fsync=off -c full_page_writes=off -c max_connections=200",
        directory.display()
    );
    run(as_owner(&programs.join("pg_ctl"), owner, &directory)
        .arg("-D")
        .arg(&data)
        .args(["-w", "-s", "-o", &settings, "-l"])
        .arg(directory.join("log"))
        .arg("start"));
    let keeper = as_owner(Path::new("/bin/sh"), owner, &directory)
        .arg("-c")
        .arg(KEEPER_SCRIPT)
        .arg(programs.join("pg_ctl"))
        .arg(&data)
        .arg(&directory)
        .stdin(Stdio::piped())
        .spawn()
        .expect("/bin/sh exists");
    assert!(KEEPER.set(keeper).is_ok(), "the cluster is started once");
    let host = directory.display().to_string().replace('/', "%2F");
    format!("postgresql://postgres@{host}/postgres")
}

/// Where PostgreSQL's server programs are.
fn programs() -> PathBuf {
    let mut found: Vec<PathBuf> = Vec::new();
    for parent in ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"] {
        let Ok(entries) = std::fs::read_dir(parent) else { continue };
        found.extend(entries.flatten().map(|entry| entry.path().join("bin")));
    }
    found.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    found.extend(std::env::split_paths(&path));
    found
        .into_iter()
        .rev()
        .find(|directory| directory.join("initdb").exists() && directory.join("pg_ctl").exists())
        .expect("set TEST_POSTGRES_URL, or install PostgreSQL's server programs (initdb, pg_ctl)")
}

/// The user to run the server as: initdb refuses root.
fn owner() -> Option<(u32, u32)> {
    if !nix::unistd::Uid::effective().is_root() {
        return None;
    }
    let user =
        nix::unistd::User::from_name("postgres").expect("the user table can be read").expect(
            "initdb refuses root, so a user named postgres is needed; or set TEST_POSTGRES_URL",
        );
    Some((user.uid.as_raw(), user.gid.as_raw()))
}

fn as_owner(program: &Path, owner: Option<(u32, u32)>, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).stdin(Stdio::null()).stdout(Stdio::null());
    if let Some((uid, gid)) = owner {
        command.gid(gid).uid(uid);
    }
    command
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?} ended with {status}");
}
