//! TLS: each `sslmode` admits what libpq's does, and refuses what it refuses.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use lite2pg::target::connect::{self, Error};
use lite2pg::target::conninfo::{ConnInfo, Remedy};
use lite2pg::target::private::{ROLE, Shutdown};

use crate::support::cluster::{ThrowawayCluster, block_on, parse, session};

/// One file of tests/it/support/tls.
macro_rules! pem {
    ($name:literal) => {
        ($name, include_str!(concat!("support/tls/", $name)))
    };
}

/// Who may come in how. The first line that fits decides.
const ACCESS: &str = "\
local   all  app       peer map=lite2pg
hostssl all  app       127.0.0.1/32  trust
hostssl all  certuser  127.0.0.1/32  cert
hostnossl all  plain   127.0.0.1/32  trust
host    all  all  all  reject
";

/// A server with TLS on a port of the loopback interface.
struct TlsServer {
    server: ThrowawayCluster,
    port: u16,
    files: tempfile::TempDir,
}

impl TlsServer {
    fn start() -> Self {
        let files = tempfile::tempdir().expect("a temporary directory");
        for (name, text) in [
            pem!("ca.crt"),
            pem!("other_ca.crt"),
            pem!("self_signed.crt"),
            pem!("client.crt"),
            pem!("client.key"),
        ] {
            let path = files.path().join(name);
            fs::write(&path, text).expect("write a certificate");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
        }
        let server = ThrowawayCluster::new();
        let data = server.cluster().data_dir();
        give(&data, "server.crt", pem!("server.crt").1);
        give(&data, "server.key", pem!("server.key").1);
        give(&data, "ca.crt", pem!("ca.crt").1);
        give(&data, "pg_hba.conf", ACCESS);
        let port = {
            let free = TcpListener::bind("127.0.0.1:0").expect("bind");
            free.local_addr().expect("address").port()
        };
        for statement in [
            "create role plain login".to_owned(),
            "create role certuser login".to_owned(),
            "alter system set listen_addresses = '127.0.0.1'".to_owned(),
            format!("alter system set port = {port}"),
            "alter system set ssl = on".to_owned(),
            "alter system set ssl_ca_file = 'ca.crt'".to_owned(),
        ] {
            server.cluster().execute(&statement).expect("set TLS up");
        }
        let mut server = server;
        server.cluster().shutdown(Shutdown::Fast).expect("stop");
        server.start();
        Self { server, port, files }
    }

    /// A target on this server; `{d}` in the parameters is the directory of the certificates.
    fn target(&self, host: &str, user: &str, parameters: &str) -> ConnInfo {
        let dir = self.files.path().display().to_string();
        let parameters = parameters.replace("{d}", &dir);
        let port = self.port;
        // The name is not looked up, so that it cannot mean ::1.
        parse(&format!(
            "host={host} hostaddr=127.0.0.1 port={port} user={user} dbname={ROLE} {parameters}"
        ))
    }

    /// The protocol of the session, `None` if it is not encrypted.
    fn admits(&self, host: &str, user: &str, parameters: &str) -> Option<String> {
        let conninfo = self.target(host, user, parameters);
        let sql = "select version from pg_stat_ssl where pid = pg_backend_pid()";
        block_on(async move {
            let client = session(&conninfo).await;
            client.query_one(sql, &[]).await.expect("ask for the protocol").get(0)
        })
    }

    fn refuses(&self, host: &str, user: &str, parameters: &str) -> Error {
        let conninfo = self.target(host, user, parameters);
        let outcome = block_on(async move { connect::connect(&conninfo, "test").await.err() });
        outcome.unwrap_or_else(|| panic!("{parameters} should have been refused for {host}"))
    }
}

/// Writes a file into the data directory, owned by the server's user and closed to others.
fn give(data: &Path, name: &str, text: &str) {
    let path = data.join(name);
    fs::write(&path, text).expect("write into the data directory");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
    let owner = fs::metadata(data).expect("stat the data directory");
    chown(&path, Some(owner.uid()), Some(owner.gid())).expect("chown");
}

fn assert_untrusted(error: &Error) {
    assert!(matches!(error, Error::TlsFailed { .. }), "{error:?}");
    let Remedy::Stop { hint } = error.remedy() else { panic!("{error} is not worth a retry") };
    assert!(hint.contains("sslrootcert"), "{hint}");
}

#[test]
fn every_sslmode_admits_and_refuses_what_libpq_does() {
    let server = TlsServer::start();
    let is_tls = |protocol: Option<String>| protocol.is_some_and(|name| name.starts_with("TLSv1"));
    let full = "sslmode=verify-full sslrootcert={d}/ca.crt";
    assert!(is_tls(server.admits("localhost", ROLE, full)));
    assert_untrusted(&server.refuses("elsewhere", ROLE, full));
    assert_untrusted(&server.refuses("127.0.0.1", ROLE, full));

    let chain = "sslmode=verify-ca sslrootcert={d}/ca.crt";
    assert!(is_tls(server.admits("elsewhere", ROLE, chain)));
    let other = "sslmode=verify-ca sslrootcert={d}/other_ca.crt";
    assert_untrusted(&server.refuses("localhost", ROLE, other));
    let system = "sslmode=verify-full sslrootcert=system";
    let error = server.refuses("localhost", ROLE, system);
    assert!(matches!(error, Error::TlsFailed { .. } | Error::TlsSetup { .. }), "{error:?}");

    assert!(is_tls(server.admits("elsewhere", ROLE, "sslmode=require")));
    let require = "sslmode=require sslrootcert={d}/other_ca.crt";
    assert_untrusted(&server.refuses("localhost", ROLE, require));

    assert!(is_tls(server.admits("localhost", ROLE, "sslmode=prefer")));
    assert!(is_tls(server.admits("localhost", ROLE, "sslmode=allow")), "after a refusal in plain");
    let error = server.refuses("localhost", ROLE, "sslmode=disable");
    assert!(matches!(error, Error::NotAdmitted { .. }), "{error:?}");

    assert_eq!(server.admits("localhost", "plain", "sslmode=prefer"), None, "after a refusal");
    assert_eq!(server.admits("localhost", "plain", "sslmode=allow"), None);
    let error = server.refuses("localhost", "plain", "sslmode=require");
    assert!(matches!(error, Error::NotAdmitted { .. }), "{error:?}");
}

#[test]
fn a_client_certificate_lets_its_role_in_and_must_be_kept_secret() {
    let server = TlsServer::start();
    let with_cert = "sslmode=verify-full sslrootcert={d}/ca.crt sslcert={d}/client.crt \
                     sslkey={d}/client.key";
    assert!(server.admits("localhost", "certuser", with_cert).is_some());
    let without = server.refuses("localhost", "certuser", "sslmode=require");
    assert!(matches!(without, Error::NotAdmitted { .. }), "{without:?}");
    let key = server.files.path().join("client.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("chmod");
    let error = server.refuses("localhost", "certuser", with_cert);
    assert!(matches!(error, Error::TlsSetup { .. }), "{error:?}");
}

/// What PostgreSQL's manual shows: a self-signed certificate that clients take as their root.
#[test]
fn a_self_signed_certificate_is_trusted_once_it_is_named() {
    let server = TlsServer::start();
    let data = server.server.cluster().data_dir();
    give(&data, "server.crt", pem!("self_signed.crt").1);
    give(&data, "server.key", pem!("self_signed.key").1);
    server.server.cluster().shutdown(Shutdown::Fast).expect("stop");
    let mut server = server;
    server.server.start();
    let named = "sslmode=verify-full sslrootcert={d}/self_signed.crt";
    assert!(server.admits("localhost", ROLE, named).is_some());
    assert_untrusted(&server.refuses("elsewhere", ROLE, named));
    let other = "sslmode=verify-ca sslrootcert={d}/ca.crt";
    assert_untrusted(&server.refuses("localhost", ROLE, other));
}

#[test]
fn a_server_without_tls_is_refused_where_tls_is_required() {
    let mut server = TlsServer::start();
    server.server.cluster().execute("alter system set ssl = off").expect("alter");
    server.server.cluster().shutdown(Shutdown::Fast).expect("stop");
    server.server.start();
    let error = server.refuses("localhost", "plain", "sslmode=require");
    assert!(matches!(error, Error::TlsNotOffered { .. }), "{error:?}");
    assert_eq!(server.admits("localhost", "plain", "sslmode=prefer"), None);
}
