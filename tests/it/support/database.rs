//! A fresh, empty database for a test, with the roles of `deploy/roles.sql`.

use std::sync::atomic::{AtomicU32, Ordering};

use lite2pg::target::conninfo::ConnInfo;

use super::cluster::{
    PREFIX, block_on, fail, given_server, given_url, parse, session, shared_cluster, upkeep,
    with_database,
};
use super::roles;

/// A fresh, empty database, dropped at the end of the test.
pub struct TestDatabase {
    name: String,
    superuser_url: String,
    /// The sidecar's.
    url: String,
}

impl TestDatabase {
    /// Creates it on the shared server.
    pub fn create() -> Self {
        let name = fresh_name();
        let url = match given_server() {
            Some(server) => {
                upkeep(
                    server,
                    &format!("create database {name} template template0 encoding 'UTF8'"),
                );
                with_database(&given_url().expect("a given server has a URL"), &name)
            }
            None => {
                let cluster = shared_cluster();
                cluster.ensure_database(&name).unwrap_or_else(|error| fail(&error, error.remedy()));
                cluster.url(&name)
            }
        };
        let mut database = Self { name, superuser_url: url, url: String::new() };
        database.assert_identity();
        let maintenance = with_database(&database.superuser_url, "postgres");
        database.url = roles::offer(&database.superuser_url, &maintenance);
        database
    }

    /// Its URL, for `--target`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is, as plain values, for the superuser.
    pub fn conninfo(&self) -> ConnInfo {
        parse(&self.superuser_url)
    }

    /// Opens a session, set up as the product sets up its own.
    pub async fn client(&self) -> tokio_postgres::Client {
        session(&self.conninfo()).await
    }

    /// No statement that changes anything may reach a server that was not made for tests.
    fn assert_identity(&self) {
        let sql = "select current_database()::text, current_setting('cluster_name')";
        let conninfo = self.conninfo();
        let (database, cluster_name): (String, String) = block_on(async move {
            let client = session(&conninfo).await;
            let row = client.query_one(sql, &[]).await.expect("ask who the server is");
            (row.get(0), row.get(1))
        });
        assert_eq!(database, self.name);
        if given_server().is_none() {
            assert_eq!(cluster_name, shared_cluster().cluster_name(), "not our own server");
        }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let outcome = match given_server() {
            Some(server) => {
                let sql = format!("drop database if exists {} with (force)", self.name);
                let server = server.clone();
                block_on(async move {
                    let client = session(&server).await;
                    client.batch_execute(&sql).await.map_err(|error| error.to_string())
                })
            }
            None => shared_cluster().drop_database(&self.name).map_err(|error| error.to_string()),
        };
        // A second panic while a failed test unwinds would hide the first.
        if let Err(error) = outcome
            && !std::thread::panicking()
        {
            panic!("cannot drop {}: {error}", self.name);
        }
    }
}

/// Unique on the server: process, then a count within it, then the time for a shared server.
fn fresh_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let micros = since.expect("the clock is past 1970").subsec_micros();
    format!("{PREFIX}{}_{count}_{micros}", std::process::id())
}
