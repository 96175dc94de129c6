//! One file with an application at work on it, one empty database, and the question that every
//! test ends with: do both hold the same?

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use lite2pg::target::conninfo::Host;

use super::cluster::parse;
use super::proxy::{Proxy, Upstream};
use super::sidecar::{LIMIT, Launch, Sidecar, wait_until};
use super::workload::{self, Options, Writer};
use crate::judge;
use crate::server::{Database, Target};

/// A file that [`workload`] made, and a database for it.
pub struct Scene {
    directory: tempfile::TempDir,
    /// The source.
    pub file: PathBuf,
    /// What writes to it.
    pub options: Options,
    /// The target.
    pub database: Database,
}

impl Scene {
    /// A file in WAL mode with little data.
    pub fn new(seed: u64) -> Self {
        Self::with(Options { rate: 200, ..Options::new(seed) })
    }

    /// Any other.
    pub fn with(options: Options) -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        let file = directory.path().join("source.db");
        workload::create(&file, &options);
        Self { directory, file, options, database: Database::create() }
    }

    /// Where the file is, for others to be put beside it.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The target's URL.
    pub fn url(&self) -> &str {
        &self.database.url
    }

    /// The target through a line that can be cut, and the URL of that.
    pub fn through_proxy(&self) -> (Proxy, String) {
        proxy_to(self.url())
    }

    /// The application begins to write.
    pub fn write(&self) -> Writer {
        Writer::start(&self.file, &self.options)
    }

    /// The product, following the file on this URL.
    pub fn run(&self, url: &str) -> Launch {
        Launch::run(&self.file, url)
    }

    /// A session on the target.
    pub fn target(&self) -> Target {
        Target::connect(self.url())
    }

    /// The position that the target has; `None` before there is one.
    pub fn applied(&self) -> Option<i64> {
        applied(self.url()).map(|(applied, _)| applied)
    }

    /// Waits until replication streams.
    pub fn await_streaming(&self, sidecar: &mut Sidecar) {
        let is_streaming = || (phase(self.url())? == "streaming").then_some(());
        sidecar.until(is_streaming).unwrap_or_else(|| panic!("it ended:\n{}", sidecar.stderr()));
    }

    /// Waits until some chunks are copied and some are not.
    pub fn await_mid_copy(&self, sidecar: &mut Sidecar) {
        let sql = "select sum(rows) > 0 and phase = 'copying'
                     from lite2pg.copy_progress, lite2pg.position group by phase";
        let is_there = || {
            let rows = Target::try_connect(self.url()).ok()?.try_query(sql).ok()?;
            (rows.first()?.first()?.as_deref() == Some("t")).then_some(())
        };
        sidecar.until(is_there).unwrap_or_else(|| panic!("it ended:\n{}", sidecar.stderr()));
    }

    /// Waits until everything that is in the file is on the target.
    pub fn await_step(&self, sidecar: &mut Sidecar) {
        await_step(sidecar, &self.file, self.url());
    }

    /// What a comparison of both sides says, with a configuration, while they move.
    pub fn verify(&self, config: &str, arguments: &[&str]) -> serde_json::Value {
        let path = self.directory().join("lite2pg.toml");
        std::fs::write(&path, config).expect("the directory is ours");
        let call = Launch::new("verify").arg("--source").arg(&self.file);
        let call = call.args(["--target", self.url(), "--json", "--config"]).arg(&path);
        call.args(arguments).finish().json()
    }

    /// Waits for the end of what the application wrote, stops the product in good order and asks
    /// the judge.
    pub fn end(&self, mut sidecar: Sidecar) {
        self.await_step(&mut sidecar);
        sidecar.terminate().expect_code(0);
        self.assert_equal();
    }

    /// Asks the judge.
    pub fn assert_equal(&self) {
        assert_equal(&self.file, self.url(), "public");
    }
}

/// A proxy in front of the server of a URL, and the URL that leads through it.
pub fn proxy_to(url: &str) -> (Proxy, String) {
    let conninfo = parse(url);
    let endpoint = &conninfo.endpoints[0];
    let upstream = match &endpoint.host {
        Host::Unix(dir) => Upstream::Unix(dir.join(format!(".s.PGSQL.{}", endpoint.port))),
        Host::Tcp(name) => {
            use std::net::ToSocketAddrs;
            let mut found = (name.as_str(), endpoint.port).to_socket_addrs().expect("resolve");
            Upstream::Tcp(found.next().expect("an address"))
        }
    };
    let proxy = Proxy::start(upstream);
    let url = proxy.url(&conninfo.user, &conninfo.dbname);
    (proxy, url)
}

/// The applied position of a target, and whether it is consistent.
fn applied(url: &str) -> Option<(i64, bool)> {
    let target = Target::try_connect(url).ok()?;
    let rows = target.try_query("select applied, consistent from lite2pg.position").ok()?;
    match rows.first()?.as_slice() {
        [Some(applied), Some(consistent)] => Some((applied.parse().ok()?, consistent == "t")),
        _ => None,
    }
}

fn phase(url: &str) -> Option<String> {
    let target = Target::try_connect(url).ok()?;
    let rows = target.try_query("select phase from lite2pg.position").ok()?;
    rows.into_iter().next()?.into_iter().next()?
}

/// The newest entry of a file's changelog.
pub fn head(file: &Path) -> i64 {
    let source = Connection::open(file).expect("open the source");
    source.busy_timeout(LIMIT).expect("set the busy timeout");
    let sql = "select coalesce(max(seq), 0) from _lite2pg_changelog";
    source.query_row(sql, [], |row| row.get(0)).expect("there is a changelog")
}

/// Whether everything that is in the file is on the target.
pub fn is_in_step(file: &Path, url: &str) -> Option<()> {
    let (applied, is_consistent) = applied(url)?;
    (is_consistent && applied == head(file)).then_some(())
}

/// Waits until everything that is in the file is on the target.
pub fn await_step(sidecar: &mut Sidecar, file: &Path, url: &str) {
    sidecar
        .until(|| is_in_step(file, url))
        .unwrap_or_else(|| panic!("it ended:\n{}", sidecar.stderr()));
}

/// Fails the test with the differences, if the judge finds any.
pub fn assert_equal(file: &Path, url: &str, schema: &str) {
    let compared = judge::compare(file, url, schema).unwrap_or_else(|found| panic!("{found}"));
    assert!(0 < compared.rows, "nothing was compared");
}

/// Waits until the server lets somebody in.
pub fn await_server(url: &str) {
    wait_until(LIMIT, || Target::try_connect(url).ok().map(drop)).expect("the server is back");
}

/// Waits for a condition on the target, asked as SQL that gives one boolean.
pub fn await_on_target(target: &Target, limit: Duration, sql: &str) {
    let is_so = || (target.query(sql).first()?.first()?.as_deref() == Some("t")).then_some(());
    wait_until(limit, is_so).unwrap_or_else(|| panic!("never true in {limit:?}: {sql}"));
}
