//! A PostgreSQL of the bench's own, as durable as in production, and plain sessions on it.

use std::future::Future;
use std::time::{Duration, Instant};

use lite2pg::target::private::Shutdown;
use tokio_postgres::{Client, NoTls, Row};

use super::cluster::ThrowawayCluster;

/// A server; gone when dropped.
pub struct Server {
    cluster: ThrowawayCluster,
}

impl Server {
    /// With PostgreSQL's own defaults, but for these settings, and no autovacuum in the middle of
    /// a measurement.
    pub fn start(settings: &[&str]) -> Self {
        let mut cluster = ThrowawayCluster::durable();
        for setting in settings.iter().chain(&["autovacuum = off", "max_wal_size = '4GB'"]) {
            let set = cluster.cluster().execute(&format!("alter system set {setting}"));
            set.expect("the setting is one of PostgreSQL's");
        }
        cluster.cluster().shutdown(Shutdown::Fast).expect("stop the server to restart it");
        cluster.start();
        Self { cluster }
    }

    /// The URL of a database, made if it is missing.
    pub fn url(&self, database: &str) -> String {
        self.cluster.url(database)
    }

    /// An empty database, whatever was in it before.
    pub fn fresh(&self, database: &str) -> String {
        self.cluster.cluster().drop_database(database).expect("nobody is connected any more");
        self.url(database)
    }

    /// A directory that the server may write to.
    pub fn data_dir(&self) -> std::path::PathBuf {
        self.cluster.cluster().data_dir()
    }

    /// So that no checkpoint of earlier work falls into what is measured next.
    pub fn checkpoint(&self) {
        self.cluster.cluster().execute("checkpoint").expect("a superuser may checkpoint");
    }
}

/// A session that blocks.
pub struct Session {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Session {
    /// Connects with the server's own defaults.
    pub fn connect(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("make a runtime");
        let client = runtime.block_on(async {
            let (client, connection) =
                tokio_postgres::connect(url, NoTls).await.expect("reach the bench's own server");
            tokio::spawn(connection);
            client
        });
        Self { runtime, client }
    }

    fn block<T>(&self, future: impl Future<Output = Result<T, tokio_postgres::Error>>) -> T {
        match self.runtime.block_on(future) {
            Ok(value) => value,
            Err(error) => panic!("{error}: {:?}", error.as_db_error()),
        }
    }

    pub fn run(&self, sql: &str) {
        self.block(self.client.batch_execute(sql));
    }

    pub fn row(&self, sql: &str) -> Row {
        self.block(self.client.query_one(sql, &[]))
    }

    pub fn text(&self, sql: &str) -> String {
        self.row(sql).get(0)
    }

    pub fn prepare(&self, sql: &str) -> tokio_postgres::Statement {
        self.block(self.client.prepare(sql))
    }

    pub fn integer(&self, statement: &tokio_postgres::Statement) -> i64 {
        self.block(self.client.query_one(statement, &[])).get(0)
    }

    pub fn execute(&self, statement: &tokio_postgres::Statement, value: i64) {
        self.block(self.client.execute(statement, &[&value]));
    }

    /// Looks until `sql` yields true; panics with `what` after ten minutes.
    pub fn await_true(&self, sql: &str, pause: Duration, mut what: impl FnMut() -> String) {
        let statement = self.prepare(sql);
        let deadline = Instant::now() + Duration::from_secs(600);
        while !self.block(self.client.query_one(&statement, &[])).get::<_, bool>(0) {
            assert!(Instant::now() < deadline, "still not {sql}: {}", what());
            std::thread::sleep(pause);
        }
    }
}
