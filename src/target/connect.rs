//! One checked session on the target.
//!
//! A session that behaves differently from the one before it is how data goes wrong in silence: a
//! `search_path` set for the role, a standby behind a load balancer, a database in LATIN1. So the
//! one idea: *a session is handed out only after everything it will be relied on for has been set
//! and read back*. What PostgreSQL says when it refuses becomes an error with a name and a remedy.
//!
//! It never retries; [`Error::remedy`] tells the caller whether that makes sense. It keeps no
//! pool: lite2pg has few connections and each has one purpose.
//!
//! Begin with [`connect`].

use std::error::Error as _;
use std::io;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, SimpleQueryRow, Socket};

use super::conninfo::{self, ConnInfo, Endpoint, Host, Remedy, SslMode};
use super::tls;

/// Oldest server that is accepted, as `server_version_num`.
const SERVER_VERSION_MIN: u32 = 130_000;

/// What every session is set to, and what it must then say it is set to.
///
/// Text that travels (dates, doubles, bytea) must not depend on the role's or the database's
/// own settings; rows must not be hidden by policies; nothing may wait for ever.
/// <https://www.postgresql.org/docs/current/runtime-config-client.html>
const SETTINGS: &[(&str, &str)] = &[
    ("search_path", "pg_catalog"),
    // "already exists, skipping" is no news to anybody.
    ("client_min_messages", "warning"),
    ("client_encoding", "UTF8"),
    ("standard_conforming_strings", "on"),
    ("DateStyle", "ISO, YMD"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "3"),
    // A policy then raises an error where it would have hidden rows.
    ("row_security", "off"),
    // Long statements are bounded where they are sent; a limit here would also hit the copy.
    ("statement_timeout", "0"),
    // Longer than any healthy lock on the application's tables, shorter than a person's patience.
    ("lock_timeout", "30s"),
    // A sidecar that hangs must not hold the target's locks and its vacuum horizon. Five
    // minutes leaves room for a verification that waits for replay inside its snapshot.
    ("idle_in_transaction_session_timeout", "5min"),
    // Since PostgreSQL 14 and 17; an idle sidecar is at rest, not dead.
    ("idle_session_timeout", "0"),
    ("transaction_timeout", "0"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_deferrable", "off"),
    // A position may be reported as applied only once the target cannot lose it.
    ("synchronous_commit", "on"),
];

/// How the server finds out that we are gone, so that our locks are not there for ever. A server
/// that waits for a lock or for a disk does not look at the line: it is told to look every two
/// seconds (PostgreSQL 14 and later, not on every system). The others find a host that vanished
/// within a minute rather than in hours; on a socket of the same machine they mean nothing. What a
/// server does not have is left out.
const FAREWELL: &str = "
do $$
declare wanted text[] := array[
    'client_connection_check_interval', '2s', 'tcp_keepalives_idle', '30',
    'tcp_keepalives_interval', '10', 'tcp_keepalives_count', '3', 'tcp_user_timeout', '60000'];
begin
    for n in 1 .. pg_catalog.array_length(wanted, 1) by 2 loop
        begin
            perform pg_catalog.set_config(wanted[n], wanted[n + 1], false);
        exception when undefined_object or invalid_parameter_value or feature_not_supported then
            null;
        end;
    end loop;
end $$";

/// What the server says about itself, in one row.
const FACTS: &str = "\
select pg_catalog.current_setting('server_version_num') as version,
       pg_catalog.current_setting('server_version') as version_text,
       pg_catalog.pg_encoding_to_char(d.encoding) as encoding,
       pg_catalog.pg_is_in_recovery() as is_standby,
       pg_catalog.current_setting('default_transaction_read_only') as is_read_only
from pg_catalog.pg_database d
where d.datname = pg_catalog.current_database()";

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection to the place: refused, no route, no such host, no socket.
    #[error("cannot reach the target at {endpoint}")]
    Unreachable {
        /// Where.
        endpoint: String,
        /// What the system said.
        source: tokio_postgres::Error,
    },
    /// The place did not finish letting us in within `connect_timeout`.
    #[error("the target at {endpoint} did not answer within {seconds} s")]
    TimedOut {
        /// Where.
        endpoint: String,
        /// The limit.
        seconds: u64,
    },
    /// The connection broke while it was being set up.
    #[error("lost the connection to {endpoint} while connecting")]
    Lost {
        /// Where.
        endpoint: String,
        /// What happened.
        source: tokio_postgres::Error,
    },
    /// The server is starting up, recovering or shutting down.
    #[error("the target at {endpoint} is not ready")]
    NotReady {
        /// Where.
        endpoint: String,
        /// What PostgreSQL said.
        source: tokio_postgres::Error,
    },
    /// No connection slot is free.
    #[error("the target at {endpoint} has no free connection")]
    TooManyConnections {
        /// Where.
        endpoint: String,
        /// What PostgreSQL said.
        source: tokio_postgres::Error,
    },
    /// The server wants a password and there is none.
    #[error("the target at {endpoint} wants a password for {user}, and none was given")]
    PasswordMissing {
        /// Where.
        endpoint: String,
        /// The role.
        user: String,
    },
    /// The password is wrong (or the role has none).
    #[error("the target at {endpoint} refused the password of {user}")]
    WrongPassword {
        /// Where.
        endpoint: String,
        /// The role.
        user: String,
        /// What PostgreSQL said.
        source: tokio_postgres::Error,
    },
    /// The server's access rules turn this user, host or encryption away, or there is no such
    /// role.
    #[error("the target at {endpoint} does not let {user} in")]
    NotAdmitted {
        /// Where.
        endpoint: String,
        /// The role.
        user: String,
        /// What PostgreSQL said.
        source: tokio_postgres::Error,
    },
    /// The server answers, in a way of logging in that lite2pg cannot follow.
    #[error("cannot log in to the target at {endpoint}")]
    Authentication {
        /// Where.
        endpoint: String,
        /// What went wrong.
        source: tokio_postgres::Error,
    },
    /// There is no such database.
    #[error("the target at {endpoint} has no database {dbname}")]
    NoSuchDatabase {
        /// Where.
        endpoint: String,
        /// Its name.
        dbname: String,
        /// What PostgreSQL said.
        source: tokio_postgres::Error,
    },
    /// Files for TLS are missing or wrong; nothing was sent.
    #[error("cannot prepare TLS")]
    TlsSetup {
        /// What is wrong.
        source: tls::Error,
    },
    /// TLS is required and the server has none.
    #[error("the target at {endpoint} does not offer TLS, and sslmode requires it")]
    TlsNotOffered {
        /// Where.
        endpoint: String,
        /// What was said.
        source: tokio_postgres::Error,
    },
    /// The server's certificate is not to be trusted, or the handshake failed.
    #[error("TLS with the target at {endpoint} failed: {reason}")]
    TlsFailed {
        /// Where.
        endpoint: String,
        /// What rustls said.
        reason: String,
        /// The same, as it arrived.
        source: tokio_postgres::Error,
    },
    /// The server is older than lite2pg supports.
    #[error("the target at {endpoint} is PostgreSQL {version}; 13 or later is needed")]
    TooOld {
        /// Where.
        endpoint: String,
        /// Its version, as it says it.
        version: String,
    },
    /// The database cannot hold every text.
    #[error("database {dbname} is encoded in {encoding}; UTF8 is needed")]
    NotUtf8 {
        /// Its name.
        dbname: String,
        /// Its encoding.
        encoding: String,
    },
    /// The server is a standby.
    #[error("the target at {endpoint} is a standby, which cannot be written to")]
    Standby {
        /// Where.
        endpoint: String,
    },
    /// The role's, the database's or the server's settings make every transaction read-only.
    #[error("database {dbname} is read-only for {user} (default_transaction_read_only)")]
    ReadOnly {
        /// Its name.
        dbname: String,
        /// The role.
        user: String,
    },
    /// A setting did not take, as happens behind some connection poolers.
    #[error("the target did not accept {name} = {wanted} (it says {found})")]
    SettingRefused {
        /// The setting.
        name: &'static str,
        /// What was asked for.
        wanted: &'static str,
        /// What it is.
        found: String,
    },
    /// PostgreSQL refused for another reason.
    #[error("the target at {endpoint} refused the session: {message} ({code})")]
    Refused {
        /// Where.
        endpoint: String,
        /// The SQLSTATE.
        code: String,
        /// PostgreSQL's message.
        message: String,
        /// The same, as it arrived.
        source: tokio_postgres::Error,
    },
}

impl Error {
    /// What the caller does next. No wildcard: a new error must come with an answer.
    pub fn remedy(&self) -> Remedy {
        let hint = match self {
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Lost { .. }
            | Self::NotReady { .. }
            | Self::TooManyConnections { .. } => return Remedy::Retry,
            Self::Refused { source, .. } if is_transient(source) => return Remedy::Retry,
            Self::PasswordMissing { user, .. } => {
                format!("Set PGPASSWORD, or add {user} to ~/.pgpass (mode 0600).")
            }
            Self::WrongPassword { user, .. } => format!(
                "Check the password of {user} in the URL, PGPASSWORD or ~/.pgpass; a password \
                 inside a URL must be percent-encoded."
            ),
            Self::NotAdmitted { user, .. } => format!(
                "Check that the role {user} exists and that pg_hba.conf admits it from here; \
                 some servers admit it only with sslmode=require."
            ),
            Self::Authentication { .. } => {
                "Use scram-sha-256 or a client certificate in the server's pg_hba.conf.".to_owned()
            }
            Self::NoSuchDatabase { dbname, .. } => {
                format!("Create it with `createdb --encoding UTF8 --template template0 {dbname}`.")
            }
            Self::TlsSetup { .. } => {
                "Correct sslrootcert, sslcert or sslkey, or their files' modes.".to_owned()
            }
            Self::TlsNotOffered { .. } => {
                "Switch `ssl` on at the server, or use sslmode=prefer.".to_owned()
            }
            Self::TlsFailed { .. } => {
                "Give sslrootcert the authority that signed the server's certificate, and for \
                 verify-full use a host name that the certificate lists."
                    .to_owned()
            }
            Self::TooOld { .. } => "Use a server of PostgreSQL 13 or later.".to_owned(),
            Self::NotUtf8 { .. } => {
                "Create the target database with `createdb --encoding UTF8 --template template0`."
                    .to_owned()
            }
            Self::Standby { .. } => {
                "Name the primary, or all hosts with target_session_attrs=read-write.".to_owned()
            }
            Self::ReadOnly { user, .. } => format!(
                "`alter role {user} set default_transaction_read_only = off`, once you know why \
                 it is on (hosted servers set it when the disk is full)."
            ),
            Self::SettingRefused { .. } => {
                "Connect to PostgreSQL itself rather than through a pooler.".to_owned()
            }
            Self::Refused { .. } => {
                "See https://www.postgresql.org/docs/current/errcodes-appendix.html for the code."
                    .to_owned()
            }
        };
        Remedy::Stop { hint }
    }

    /// A server that took our writes before may take them again without anybody's doing: a
    /// fail-over ends, a hosted server finds room on its disk.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Standby { .. } | Self::ReadOnly { .. })
    }

    /// Another host of the list may do better. As in libpq, a refused login ends the search.
    fn may_pass_elsewhere(&self) -> bool {
        self.remedy() == Remedy::Retry || self.may_pass()
    }
}

/// True for what a new attempt may get past: a lost connection, a server that restarts, a
/// deadlock, a serialization failure, a lock or resource that was short for a moment.
pub fn is_transient(error: &tokio_postgres::Error) -> bool {
    let Some(code) = error.code() else {
        return error.is_closed() || find_io(error).is_some();
    };
    let listed = [
        &SqlState::ADMIN_SHUTDOWN,
        &SqlState::CRASH_SHUTDOWN,
        &SqlState::CANNOT_CONNECT_NOW,
        &SqlState::LOCK_NOT_AVAILABLE,
        &SqlState::QUERY_CANCELED,
        &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        &SqlState::DISK_FULL,
        // A primary that was demoted under us; a new session finds out more.
        &SqlState::READ_ONLY_SQL_TRANSACTION,
    ];
    // Classes: 08 connection, 40 rollback (deadlock, serialization), 53 resources.
    listed.contains(&code) || ["08", "40", "53"].iter().any(|class| code.code().starts_with(class))
}

/// A running session: the client, and the task that moves its bytes. The task ends when the
/// client is dropped or the connection breaks, and then says how.
pub type Session = (Client, JoinHandle<Result<(), tokio_postgres::Error>>);

/// Opens a session on the first of the target's endpoints that admits us, sets it up and checks
/// it.
///
/// Takes at most `connect_timeout` for each endpoint. Nothing on the server is changed, so it is
/// safe to repeat.
pub async fn connect(conninfo: &ConnInfo, application_name: &str) -> Result<Session, Error> {
    let mut kept: Option<Error> = None;
    for endpoint in &conninfo.endpoints {
        let attempt = connect_endpoint(conninfo, endpoint, application_name);
        let outcome = match conninfo.connect_timeout {
            None => attempt.await,
            Some(limit) => tokio::time::timeout(limit, attempt).await.unwrap_or_else(|_| {
                let endpoint = endpoint.to_string();
                Err(Error::TimedOut { endpoint, seconds: limit.as_secs() })
            }),
        };
        match outcome {
            Ok(session) => return Ok(session),
            Err(error) if error.may_pass_elsewhere() => {
                // What a server said is worth more than that another one was not there.
                let says_more = !matches!(error, Error::Unreachable { .. });
                if kept.is_none() || says_more {
                    kept = Some(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Err(kept.expect("a target has at least one endpoint"))
}

/// Asks the server to cancel what `client` is doing. A dropped or timed-out future does not stop
/// its statement, and the next one would wait behind it.
pub async fn cancel(conninfo: &ConnInfo, client: &Client) -> Result<(), Error> {
    let connector = tls::connector(&conninfo.tls).map_err(|source| Error::TlsSetup { source })?;
    let endpoint = conninfo.endpoints.first().expect("a target has at least one endpoint");
    let cancelled = client.cancel_token().cancel_query(connector).await;
    cancelled.map_err(|source| classify(source, conninfo, endpoint))
}

/// How one attempt treats TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    Plain,
    TlsIfOffered,
    Tls,
}

/// The attempts that `sslmode` stands for, in order. Sockets of the same machine have no TLS.
fn attempts(mode: SslMode, host: &Host) -> &'static [Attempt] {
    match (host, mode) {
        (Host::Unix(_), _) | (_, SslMode::Disable) => &[Attempt::Plain],
        (_, SslMode::Allow) => &[Attempt::Plain, Attempt::Tls],
        (_, SslMode::Prefer) => &[Attempt::TlsIfOffered, Attempt::Plain],
        (_, SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull) => &[Attempt::Tls],
    }
}

async fn connect_endpoint(
    conninfo: &ConnInfo,
    endpoint: &Endpoint,
    application_name: &str,
) -> Result<Session, Error> {
    let mut refused = None;
    for attempt in attempts(conninfo.tls.mode, &endpoint.host) {
        let outcome = connect_once(conninfo, endpoint, *attempt, application_name).await;
        match outcome {
            Ok((client, pump)) => {
                if let Err(error) = check(&client, conninfo, endpoint).await {
                    pump.abort();
                    return Err(error);
                }
                return Ok((client, pump));
            }
            // `allow` and `prefer` try the other way when the line was the trouble, or when the
            // access rules turned it away.
            Err(error @ (Error::NotAdmitted { .. } | Error::TlsFailed { .. })) => {
                refused = refused.or(Some(error));
            }
            Err(error) => return Err(refused.unwrap_or(error)),
        }
    }
    Err(refused.expect("there is at least one attempt, and it was refused"))
}

async fn connect_once(
    conninfo: &ConnInfo,
    endpoint: &Endpoint,
    attempt: Attempt,
    application_name: &str,
) -> Result<Session, Error> {
    let mut config = config_for(conninfo, endpoint, application_name);
    if attempt == Attempt::Plain {
        config.ssl_mode(tokio_postgres::config::SslMode::Disable);
        return open(&config, NoTls, conninfo, endpoint).await;
    }
    let connector = tls::connector(&conninfo.tls).map_err(|source| Error::TlsSetup { source })?;
    config.ssl_mode(match attempt {
        Attempt::TlsIfOffered => tokio_postgres::config::SslMode::Prefer,
        Attempt::Plain | Attempt::Tls => tokio_postgres::config::SslMode::Require,
    });
    if conninfo.tls.is_direct {
        config.ssl_negotiation(tokio_postgres::config::SslNegotiation::Direct);
    }
    open(&config, connector, conninfo, endpoint).await
}

async fn open<T>(
    config: &Config,
    tls: T,
    conninfo: &ConnInfo,
    endpoint: &Endpoint,
) -> Result<Session, Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) =
        config.connect(tls).await.map_err(|source| classify(source, conninfo, endpoint))?;
    Ok((client, tokio::spawn(connection)))
}

fn config_for(conninfo: &ConnInfo, endpoint: &Endpoint, application_name: &str) -> Config {
    let mut config = Config::new();
    match &endpoint.host {
        Host::Unix(dir) => config.host_path(dir),
        Host::Tcp(name) => config.host(name),
    };
    if let Some(addr) = endpoint.hostaddr {
        config.hostaddr(addr);
    }
    config.port(endpoint.port).user(&conninfo.user).dbname(&conninfo.dbname);
    if let Some(password) = &endpoint.password {
        config.password(password.expose());
    }
    if let Some(options) = &conninfo.options {
        config.options(options);
    }
    config.application_name(conninfo.application_name.as_deref().unwrap_or(application_name));
    if let Some(limit) = conninfo.connect_timeout {
        config.connect_timeout(limit);
    }
    config.channel_binding(match conninfo.channel_binding {
        conninfo::ChannelBinding::Disable => tokio_postgres::config::ChannelBinding::Disable,
        conninfo::ChannelBinding::Prefer => tokio_postgres::config::ChannelBinding::Prefer,
        conninfo::ChannelBinding::Require => tokio_postgres::config::ChannelBinding::Require,
    });
    let keepalive = conninfo.keepalive;
    config
        .keepalives(keepalive.is_on)
        .keepalives_idle(keepalive.idle)
        .keepalives_interval(keepalive.interval)
        .keepalives_retries(keepalive.count)
        .tcp_user_timeout(keepalive.user_timeout);
    config
}

/// Refuses a server that must not be written to, then sets every setting and reads it back.
async fn check(client: &Client, conninfo: &ConnInfo, endpoint: &Endpoint) -> Result<(), Error> {
    let failed = |source| classify(source, conninfo, endpoint);
    let facts = rows(client.simple_query(FACTS).await.map_err(failed)?);
    let fact = |name: &str| -> String {
        facts.first().and_then(|row| row.get(name)).unwrap_or_default().to_owned()
    };
    if fact("version").parse::<u32>().unwrap_or(0) < SERVER_VERSION_MIN {
        let version = fact("version_text");
        return Err(Error::TooOld { endpoint: endpoint.to_string(), version });
    }
    if fact("encoding") != "UTF8" {
        let dbname = conninfo.dbname.clone();
        return Err(Error::NotUtf8 { dbname, encoding: fact("encoding") });
    }
    if fact("is_standby") != "f" {
        return Err(Error::Standby { endpoint: endpoint.to_string() });
    }
    if fact("is_read_only") != "off" {
        let (dbname, user) = (conninfo.dbname.clone(), conninfo.user.clone());
        return Err(Error::ReadOnly { dbname, user });
    }
    let set = rows(client.simple_query(&settings_sql()).await.map_err(failed)?);
    for (name, wanted) in SETTINGS {
        let found = set.iter().find(|row| row.get(0) == Some(name)).and_then(|row| row.get(1));
        match found {
            Some(found) if found == *wanted => {}
            // Settings that this version does not have yet.
            None if matches!(*name, "idle_session_timeout" | "transaction_timeout") => {}
            found => {
                let found = found.unwrap_or("nothing").to_owned();
                return Err(Error::SettingRefused { name, wanted, found });
            }
        }
    }
    client.batch_execute(FAREWELL).await.map_err(failed)
}

/// One statement that sets what this server knows of [`SETTINGS`] and returns what became of it.
fn settings_sql() -> String {
    let values: Vec<String> = SETTINGS
        .iter()
        .map(|(name, value)| {
            format!("({}, {})", crate::table::Literal(name), crate::table::Literal(value))
        })
        .collect();
    format!(
        "select s.name, pg_catalog.set_config(s.name, s.value, false) \
         from (values {}) as s(name, value) \
         where pg_catalog.current_setting(s.name, true) is not null",
        values.join(", ")
    )
}

fn rows(messages: Vec<SimpleQueryMessage>) -> Vec<SimpleQueryRow> {
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    };
    messages.into_iter().filter_map(row).collect()
}

/// Gives a name to what went wrong, by SQLSTATE where the server spoke and by cause where not.
/// tokio-postgres keeps its own kinds to itself, so those are told apart by their words; the tests
/// in tests/it/reach.rs would notice if these changed, and an unknown one counts as a lost line.
fn classify(source: tokio_postgres::Error, conninfo: &ConnInfo, at: &Endpoint) -> Error {
    let endpoint = at.to_string();
    let (user, dbname) = (conninfo.user.clone(), conninfo.dbname.clone());
    if let Some(db) = source.as_db_error() {
        let code = db.code().clone();
        return match code {
            SqlState::INVALID_PASSWORD => Error::WrongPassword { endpoint, user, source },
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                Error::NotAdmitted { endpoint, user, source }
            }
            SqlState::INVALID_CATALOG_NAME => Error::NoSuchDatabase { endpoint, dbname, source },
            SqlState::TOO_MANY_CONNECTIONS => Error::TooManyConnections { endpoint, source },
            SqlState::CANNOT_CONNECT_NOW | SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN => {
                Error::NotReady { endpoint, source }
            }
            code => Error::Refused {
                endpoint,
                code: code.code().to_owned(),
                message: db.message().to_owned(),
                source,
            },
        };
    }
    if let Some(reason) = find_tls(&source) {
        return Error::TlsFailed { endpoint, reason, source };
    }
    let cause = source.source().map(ToString::to_string).unwrap_or_default();
    match source.to_string().as_str() {
        "error performing TLS handshake" if cause.contains("does not support TLS") => {
            Error::TlsNotOffered { endpoint, source }
        }
        "error performing TLS handshake" => Error::TlsFailed { endpoint, reason: cause, source },
        "invalid configuration" if cause.contains("password") => {
            Error::PasswordMissing { endpoint, user }
        }
        "authentication error" | "invalid configuration" => {
            Error::Authentication { endpoint, source }
        }
        "error connecting to server" => Error::Unreachable { endpoint, source },
        _ => Error::Lost { endpoint, source },
    }
}

/// The first I/O error among the causes.
fn find_io(error: &tokio_postgres::Error) -> Option<&io::Error> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return Some(io);
        }
        cause = inner.source();
    }
    None
}

/// What rustls said, which travels inside an I/O error.
fn find_tls(error: &tokio_postgres::Error) -> Option<String> {
    let inner = find_io(error)?.get_ref()?;
    inner.downcast_ref::<rustls::Error>().map(ToString::to_string)
}

/// The pause before attempt number `attempt` (from 0): doubles from 0.2 s up to 30 s. A server
/// that restarts is back within seconds; one that is away for hours is asked twice a minute.
pub fn retry_pause(attempt: u32) -> Duration {
    Duration::from_millis(200 << attempt.min(8)).min(Duration::from_secs(30))
}
