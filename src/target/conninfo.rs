//! Where the target is and how to get in.
//!
//! Users name a PostgreSQL in many ways: a flag, `DATABASE_URL`, libpq's `PG*` variables, the
//! `POSTGRES_*` of container files, service files, `.pgpass`. tokio-postgres reads a part of
//! that, so this module reads all of it and hands over plain values. The one idea: *as libpq
//! does it* (<https://www.postgresql.org/docs/current/libpq-connect.html>), so that what works
//! with `psql` works here; what cannot be honoured is refused by name and never ignored, unless
//! it could change nothing.
//!
//! The environment is an argument, so every rule can be tested. A password is a [`Secret`]: no
//! `Debug`, no error and no log line ever shows it, and errors name parameters, not values.
//!
//! Longer than most files because libpq's surface is: forty parameters, two notations, two kinds of
//! files, one precedence among them, which has to be read in one place to be believed.
//!
//! Begin with [`resolve`]; [`ConnInfo`] is what it yields, [`super::connect`] uses it.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long one host may take to let us in, unless `connect_timeout` says otherwise. libpq waits
/// for ever; a sidecar that waits for ever cannot report that it waits.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Silence after which the system probes a TCP connection, and the pause between its probes.
/// With [`TCP_USER_TIMEOUT`] a dead peer is found within a minute; Linux's own default is two
/// hours.
const KEEPALIVES_IDLE: Duration = Duration::from_secs(30);

/// See [`KEEPALIVES_IDLE`].
const KEEPALIVES_INTERVAL: Duration = Duration::from_secs(10);

/// See [`KEEPALIVES_IDLE`].
const KEEPALIVES_COUNT: u32 = 3;

/// How long sent bytes may stay unacknowledged; Linux alone would try for about 15 minutes.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(60);

/// Directories of the socket when no host is named: Debian's and Red Hat's builds, then (on
/// macOS, where `/tmp` is what the builds use) `/tmp`.
const SOCKET_DIRS: &[&str] =
    if cfg!(target_os = "macos") { &["/tmp"] } else { &["/var/run/postgresql"] };

/// The connection parameters that are honoured, with the variable that supplies each.
const PARAMETERS: &[(&str, Option<&str>)] = &[
    ("host", Some("PGHOST")),
    ("hostaddr", Some("PGHOSTADDR")),
    ("port", Some("PGPORT")),
    ("dbname", Some("PGDATABASE")),
    ("user", Some("PGUSER")),
    ("password", Some("PGPASSWORD")),
    ("passfile", Some("PGPASSFILE")),
    ("service", Some("PGSERVICE")),
    ("options", Some("PGOPTIONS")),
    ("application_name", Some("PGAPPNAME")),
    ("connect_timeout", Some("PGCONNECT_TIMEOUT")),
    ("sslmode", Some("PGSSLMODE")),
    ("sslrootcert", Some("PGSSLROOTCERT")),
    ("sslcert", Some("PGSSLCERT")),
    ("sslkey", Some("PGSSLKEY")),
    ("sslnegotiation", Some("PGSSLNEGOTIATION")),
    ("sslsni", Some("PGSSLSNI")),
    ("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION")),
    ("channel_binding", Some("PGCHANNELBINDING")),
    ("target_session_attrs", Some("PGTARGETSESSIONATTRS")),
    ("load_balance_hosts", Some("PGLOADBALANCEHOSTS")),
    ("keepalives", None),
    ("keepalives_idle", None),
    ("keepalives_interval", None),
    ("keepalives_count", None),
    ("tcp_user_timeout", None),
    // Checked by `refuse_unsupported`.
    ("gssencmode", Some("PGGSSENCMODE")),
    ("require_auth", Some("PGREQUIREAUTH")),
    ("requirepeer", Some("PGREQUIREPEER")),
    ("sslcrl", Some("PGSSLCRL")),
    ("sslcrldir", Some("PGSSLCRLDIR")),
    ("sslpassword", None),
    ("sslcertmode", Some("PGSSLCERTMODE")),
    ("ssl_max_protocol_version", Some("PGSSLMAXPROTOCOLVERSION")),
    ("replication", None),
    // These change nothing for us: we speak UTF8, without compression and without Kerberos.
    ("client_encoding", None),
    ("fallback_application_name", None),
    ("sslcompression", None),
    ("krbsrvname", None),
    ("gsslib", None),
    ("gssdelegation", None),
    ("min_protocol_version", None),
    ("max_protocol_version", None),
];

/// Parameters that pools and ORMs add to a URL for themselves. They say nothing about the
/// connection, so they are set aside and named in [`ConnInfo::set_aside`].
const FOREIGN_PARAMETERS: &[&str] = &[
    "schema",
    "pgbouncer",
    "connection_limit",
    "pool_timeout",
    "socket_timeout",
    "statement_cache_size",
    "conn_max_age",
    "pool_size",
    "max_overflow",
    "prepared_statements",
    "pool",
];

/// The variables of container files, with the parameter that each supplies.
const CONTAINER_VARIABLES: &[(&str, &str)] = &[
    ("POSTGRES_HOST", "host"),
    ("POSTGRES_PORT", "port"),
    ("POSTGRES_USER", "user"),
    ("POSTGRES_PASSWORD", "password"),
    ("POSTGRES_DB", "dbname"),
];

/// What to do about an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// It may pass by itself: try again, with a bounded pause.
    Retry,
    /// It will not pass by itself; `hint` is a sentence that says what would help.
    Stop {
        /// For the operator.
        hint: String,
    },
}

/// Why a target could not be understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The text is neither a URL nor `key=value` pairs.
    #[error("{origin}: {problem}")]
    Malformed {
        /// Where the text came from.
        origin: Origin,
        /// What is wrong with it; never quotes it.
        problem: String,
    },
    /// No such connection parameter.
    #[error("{origin}: unknown connection parameter {name:?}")]
    UnknownParameter {
        /// Where it was given.
        origin: Origin,
        /// Its name.
        name: String,
    },
    /// A parameter's value makes no sense.
    #[error("connection parameter {name}: {problem}")]
    BadValue {
        /// The parameter.
        name: &'static str,
        /// What is wrong; never quotes a secret.
        problem: String,
    },
    /// The parameter asks for something that lite2pg does not do and must not ignore.
    #[error("connection parameter {name} is not supported: {why}")]
    Unsupported {
        /// The parameter.
        name: &'static str,
        /// Why not.
        why: &'static str,
    },
    /// The service is in none of the service files.
    #[error("service {service:?} is not defined in {files}")]
    UnknownService {
        /// Its name.
        service: String,
        /// Where it was looked for.
        files: String,
    },
    /// A service file cannot be understood.
    #[error("service file {} line {line}: {problem}", path.display())]
    BadServiceFile {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong; never quotes the line.
        problem: &'static str,
    },
    /// A file that a parameter names cannot be read.
    #[error("cannot read {} ({kind})", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        kind: io::ErrorKind,
    },
    /// Nothing says who we are.
    #[error("no user named for the target, and the current user has no name")]
    NoUser,
}

impl Error {
    /// None of these passes by itself.
    pub fn remedy(&self) -> Remedy {
        let hint = match self {
            Self::Malformed { .. } => {
                "Write it as postgresql://user:password@host:5432/database, with @ / : ? # % in \
                 the password percent-encoded."
                    .to_owned()
            }
            Self::UnknownParameter { name, .. } => format!(
                "Remove {name}, or see \
                 https://www.postgresql.org/docs/current/libpq-connect.html for the names."
            ),
            Self::BadValue { name, .. } => format!("Correct {name} and start again."),
            Self::Unsupported { name, .. } => format!("Remove {name} and start again."),
            Self::UnknownService { files, .. } => format!(
                "Add the service to one of {files}, or set PGSERVICEFILE to the file that has it."
            ),
            Self::BadServiceFile { path, .. } => format!("Correct {}.", path.display()),
            Self::Unreadable { path, .. } => {
                format!("Check that {} exists and that lite2pg may read it.", path.display())
            }
            Self::NoUser => "Set PGUSER, or put the user into the URL.".to_owned(),
        };
        Remedy::Stop { hint }
    }
}

/// A text that must not be shown: `Debug` and `Display` print asterisks.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Who named the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `--target`, or the configuration file's `target`.
    Explicit,
    /// `DATABASE_URL`.
    DatabaseUrl,
    /// `PGHOST` and its kin.
    PgVariables,
    /// `POSTGRES_HOST` and its kin.
    ContainerVariables,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Explicit => "target",
            Self::DatabaseUrl => "DATABASE_URL",
            Self::PgVariables => "PG* variables",
            Self::ContainerVariables => "POSTGRES_* variables",
        })
    }
}

/// One place to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The host name or the socket directory.
    pub host: Host,
    /// The address to connect to instead of looking the name up.
    pub hostaddr: Option<IpAddr>,
    /// The port; for a socket it is part of the file's name.
    pub port: u16,
    /// The password for this place.
    pub password: Option<Secret>,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.hostaddr) {
            (Host::Unix(dir), _) => write!(f, "{}/.s.PGSQL.{}", dir.display(), self.port),
            (Host::Tcp(name), Some(addr)) if *name != addr.to_string() => {
                write!(f, "{name} ({addr}) port {}", self.port)
            }
            (Host::Tcp(name), _) => write!(f, "{name} port {}", self.port),
        }
    }
}

/// A host, as libpq tells them apart: what begins with a slash is a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name or an address.
    Tcp(String),
    /// The directory of a Unix socket.
    Unix(PathBuf),
}

/// How TLS is used (<https://www.postgresql.org/docs/current/libpq-ssl.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// Never.
    Disable,
    /// Only if the server insists.
    Allow,
    /// If the server can.
    Prefer,
    /// Always, without looking at the certificate unless a root certificate was named.
    Require,
    /// Always, and the certificate is signed by a trusted authority.
    VerifyCa,
    /// Always, signed by a trusted authority for that very host.
    VerifyFull,
}

/// Which authorities are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCert {
    /// Those of this file.
    File(PathBuf),
    /// Those of the operating system.
    System,
}

/// TLS parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// `sslmode`.
    pub mode: SslMode,
    /// `sslrootcert`, or `~/.postgresql/root.crt` where that exists.
    pub root_cert: Option<RootCert>,
    /// `sslcert` and `sslkey`, or `~/.postgresql/postgresql.{crt,key}` where both exist.
    pub client_cert: Option<(PathBuf, PathBuf)>,
    /// `sslnegotiation=direct`: no plain-text question first (PostgreSQL 17).
    pub is_direct: bool,
    /// `sslsni`: tell the server's name in the clear.
    pub sends_name: bool,
    /// `ssl_min_protocol_version=TLSv1.3`.
    pub is_13_only: bool,
}

/// `channel_binding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Not used.
    Disable,
    /// Used where it can be.
    Prefer,
    /// Without it the connection is given up.
    Require,
}

/// TCP keepalive and timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Probes are sent at all.
    pub is_on: bool,
    /// Silence before the first probe.
    pub idle: Duration,
    /// Pause between probes.
    pub interval: Duration,
    /// Probes without an answer before the connection counts as dead.
    pub count: u32,
    /// How long sent bytes may stay unacknowledged.
    pub user_timeout: Duration,
}

/// A target, fully said: nothing is left to defaults of a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnInfo {
    /// Who named it.
    pub origin: Origin,
    /// Places to try, in order.
    pub endpoints: Vec<Endpoint>,
    /// The role.
    pub user: String,
    /// The database.
    pub dbname: String,
    /// Command-line options for the session (`PGOPTIONS`).
    pub options: Option<String>,
    /// The name that the session shall show, if the user chose one.
    pub application_name: Option<String>,
    /// Limit for one endpoint; `None` waits for ever (`connect_timeout=0`).
    pub connect_timeout: Option<Duration>,
    /// TLS.
    pub tls: Tls,
    /// `channel_binding`.
    pub channel_binding: ChannelBinding,
    /// TCP keepalive.
    pub keepalive: Keepalive,
    /// Parameters of other programs that were found in the URL and not used.
    pub set_aside: Vec<String>,
    /// What the operator should be told once, such as a `.pgpass` that others can read.
    pub warnings: Vec<String>,
}

impl fmt::Display for ConnInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "database {} as {} at ", self.dbname, self.user)?;
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{endpoint}")?;
        }
        Ok(())
    }
}

impl ConnInfo {
    /// The same target with another database.
    pub fn with_dbname(&self, dbname: &str) -> Self {
        Self { dbname: dbname.to_owned(), ..self.clone() }
    }
}

/// What surrounds the process, injected so that tests can choose it.
pub struct Surroundings<'a> {
    /// Reads an environment variable.
    pub env: &'a (dyn Fn(&str) -> Option<String> + Sync),
    /// The operating-system user, who is the default role.
    pub os_user: Option<String>,
    /// The home directory, for `.pgpass`, `.pg_service.conf` and `.postgresql/`.
    pub home: Option<PathBuf>,
}

impl Surroundings<'_> {
    /// The real ones.
    pub fn of_process() -> Surroundings<'static> {
        let user = nix::unistd::User::from_uid(nix::unistd::Uid::effective()).ok().flatten();
        // libpq asks $HOME first as well.
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        Surroundings {
            env: &|name| std::env::var(name).ok(),
            os_user: user.as_ref().map(|user| user.name.clone()),
            home: home.or_else(|| user.map(|user| user.dir)),
        }
    }

    /// libpq takes an empty variable as unset for all but a few, and so do we.
    fn var(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|value| !value.is_empty())
    }
}

/// Finds out where the target is; `None` if nothing names one.
///
/// Highest first: `explicit` (a URL or `key=value` pairs), `DATABASE_URL`, `PG*`, `POSTGRES_*`.
/// What a URL leaves open is filled in as libpq does: the service, then `PG*`, then defaults. A
/// `DATABASE_URL` that names a SQLite file is the application's own and is passed over.
/// `POSTGRES_*` are read only when neither URL is given, and then `PG*` win over them.
pub fn resolve(
    explicit: Option<&str>,
    around: &Surroundings<'_>,
) -> Result<Option<ConnInfo>, Error> {
    if let Some(text) = explicit {
        return from_text(text, Origin::Explicit, around).map(Some);
    }
    if let Some(text) = around.var("DATABASE_URL").filter(|text| !is_sqlite_url(text)) {
        return from_text(&text, Origin::DatabaseUrl, around).map(Some);
    }
    let names = |list: &[&str]| list.iter().any(|name| around.var(name).is_some());
    let origin = if names(&["PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGSERVICE"]) {
        Origin::PgVariables
    } else if names(&["POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_DB"]) {
        Origin::ContainerVariables
    } else {
        return Ok(None);
    };
    finish(Parameters::new(origin), around).map(Some)
}

/// Reads one URL or one list of `key=value` pairs, and fills in what it leaves open.
pub fn from_text(text: &str, origin: Origin, around: &Surroundings<'_>) -> Result<ConnInfo, Error> {
    let mut parameters = Parameters::new(origin);
    let text = text.trim();
    if let Some(rest) = strip_scheme(text) {
        parse_url(rest, &mut parameters)?;
    } else if text.contains("://") {
        return Err(parameters.malformed("its scheme is not postgresql"));
    } else if text.contains('=') {
        parse_pairs(text, &mut parameters)?;
    } else {
        return Err(parameters.malformed("neither a postgresql:// URL nor key=value pairs"));
    }
    finish(parameters, around)
}

/// The text with every password replaced, fit for logs: `postgres://user:***@host/db`,
/// `host=db password=***`. Rather hides too much of a malformed text than too little.
pub fn redact(text: &str) -> String {
    let mut shown = text.to_owned();
    if let Some(scheme) = text.find("://") {
        let from = scheme + 3;
        // The last `@`, because passwords are often written without encoding theirs.
        if let Some(at) = text.rfind('@').filter(|at| from <= *at)
            && let Some(colon) = text[from..at].find(':')
        {
            shown.replace_range(from + colon + 1..at, "***");
        }
    }
    for name in ["password", "passwd", "pwd", "sslpassword", "pass"] {
        shown = redact_parameter(&shown, name);
    }
    shown
}

/// Replaces the value after every `name =`, up to the end of the quotes or of the word.
fn redact_parameter(text: &str, name: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut shown = String::with_capacity(text.len());
    let mut done = 0;
    while let Some(found) = lower[done..].find(name) {
        let start = done + found;
        let after = start + name.len();
        let rest = text[after..].trim_start();
        let is_word = !lower[..start].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        if !is_word || !rest.starts_with('=') {
            shown.push_str(&text[done..after]);
            done = after;
            continue;
        }
        let value = rest[1..].trim_start();
        shown.push_str(&text[done..text.len() - value.len()]);
        shown.push_str("***");
        let is_url = text.contains("://");
        done = text.len() - value.len() + value_length(value, is_url);
    }
    shown.push_str(&text[done..]);
    shown
}

/// How many bytes of `value` are the value: to `&` in a URL, else as [`parse_pairs`] reads it.
fn value_length(value: &str, is_url: bool) -> usize {
    if is_url {
        return value.find(['&', '#', ' ']).unwrap_or(value.len());
    }
    let is_quoted = value.starts_with('\'');
    let mut is_escaped = false;
    for (index, c) in value.char_indices().skip(usize::from(is_quoted)) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '\'' if is_quoted => return index + 1,
            c if !is_quoted && c.is_whitespace() => return index,
            _ => {}
        }
    }
    value.len()
}

/// Encodes all but the characters that are plain everywhere in a URL.
pub fn percent_encode(text: &str) -> String {
    use fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a String takes any text");
        }
        encoded
    })
}

/// Parameters as they were given, before defaults.
struct Parameters {
    origin: Origin,
    values: BTreeMap<&'static str, String>,
    set_aside: Vec<String>,
    warnings: Vec<String>,
}

impl Parameters {
    fn new(origin: Origin) -> Self {
        Self { origin, values: BTreeMap::new(), set_aside: Vec::new(), warnings: Vec::new() }
    }

    fn malformed(&self, problem: impl Into<String>) -> Error {
        Error::Malformed { origin: self.origin, problem: problem.into() }
    }

    /// A later value wins, as in libpq.
    fn set(&mut self, name: &str, value: String) -> Result<(), Error> {
        if let Some((known, _)) = PARAMETERS.iter().find(|(known, _)| *known == name) {
            self.values.insert(known, value);
        } else if FOREIGN_PARAMETERS.contains(&name) {
            self.set_aside.push(name.to_owned());
        } else {
            return Err(Error::UnknownParameter { origin: self.origin, name: name.to_owned() });
        }
        Ok(())
    }

    fn fill(&mut self, name: &'static str, value: String) {
        self.values.entry(name).or_insert(value);
    }

    /// A value that says something: libpq takes an empty one as "use the default".
    fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

fn is_sqlite_url(text: &str) -> bool {
    let scheme = text.split(':').next().unwrap_or_default().to_ascii_lowercase();
    scheme.starts_with("sqlite") || scheme == "file"
}

/// What follows `postgresql://`, its short form, or either with a driver's name as SQLAlchemy
/// (`postgresql+psycopg2://`) and JDBC (`jdbc:postgresql://`) write it.
fn strip_scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once("://")?;
    let scheme = scheme.strip_prefix("jdbc:").unwrap_or(scheme);
    let dialect = scheme.split('+').next().unwrap_or_default();
    let is_ours = ["postgresql", "postgres"].iter().any(|ours| dialect.eq_ignore_ascii_case(ours));
    is_ours.then_some(rest)
}

/// `[user[:password]@][host[:port][,…]][/dbname][?name=value[&…]]`
fn parse_url(text: &str, parameters: &mut Parameters) -> Result<(), Error> {
    let (place, query) = match text.split_once('?') {
        Some((place, query)) => (place, Some(query)),
        None => (text, None),
    };
    let (authority, dbname) = match place.split_once('/') {
        Some((authority, dbname)) => (authority, Some(dbname)),
        None => (place, None),
    };
    let hosts = match authority.split_once('@') {
        Some((login, hosts)) => {
            let (user, password) = match login.split_once(':') {
                Some((user, password)) => (user, Some(password)),
                None => (login, None),
            };
            set_decoded(parameters, "user", user)?;
            if let Some(password) = password {
                set_decoded(parameters, "password", password)?;
            }
            hosts
        }
        None => authority,
    };
    if place.matches('@').count() > 1 {
        return Err(parameters.malformed("more than one @ before the database: encode it as %40"));
    }
    parse_hosts(hosts, parameters)?;
    if let Some(dbname) = dbname.filter(|dbname| !dbname.is_empty()) {
        set_decoded(parameters, "dbname", dbname)?;
    }
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(parameters.malformed("a query parameter has no value"));
        };
        let name = percent_decode(name, parameters)?;
        let value = percent_decode(value, parameters)?;
        // libpq knows `ssl=true`; node and asyncpg write a mode after it.
        match (name.as_str(), value.as_str()) {
            ("ssl", "true" | "1" | "on") => parameters.set("sslmode", "require".to_owned())?,
            ("ssl", "false" | "0" | "off") => parameters.set("sslmode", "disable".to_owned())?,
            ("ssl", _) => parameters.set("sslmode", value)?,
            _ => parameters.set(&name, value)?,
        }
    }
    Ok(())
}

/// `host:port,[::1]:port,…` becomes the lists that `host` and `port` hold.
fn parse_hosts(text: &str, parameters: &mut Parameters) -> Result<(), Error> {
    if text.is_empty() {
        return Ok(());
    }
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for part in text.split(',') {
        let (host, port) = if let Some(inner) = part.strip_prefix('[') {
            let Some((host, rest)) = inner.split_once(']') else {
                return Err(parameters.malformed("an IPv6 address lacks its closing bracket"));
            };
            match rest.strip_prefix(':') {
                Some(port) => (host, port),
                None if rest.is_empty() => (host, ""),
                None => return Err(parameters.malformed("text after an IPv6 address")),
            }
        } else {
            part.split_once(':').unwrap_or((part, ""))
        };
        if port.contains(':') {
            return Err(parameters.malformed("an IPv6 address must stand in brackets"));
        }
        hosts.push(percent_decode(host, parameters)?);
        ports.push(percent_decode(port, parameters)?);
    }
    if hosts.iter().any(|host| !host.is_empty()) {
        parameters.set("host", hosts.join(","))?;
    }
    if ports.iter().any(|port| !port.is_empty()) {
        parameters.set("port", ports.join(","))?;
    }
    Ok(())
}

fn set_decoded(parameters: &mut Parameters, name: &str, text: &str) -> Result<(), Error> {
    let value = percent_decode(text, parameters)?;
    parameters.set(name, value)
}

fn percent_decode(text: &str, parameters: &Parameters) -> Result<String, Error> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = tail;
            continue;
        }
        let hex = |byte: u8| char::from(byte).to_digit(16);
        let byte = match tail {
            [high, low, ..] => hex(*high).zip(hex(*low)).map(|(high, low)| high * 16 + low),
            _ => None,
        };
        match byte.and_then(|byte| u8::try_from(byte).ok()) {
            Some(0) => return Err(parameters.malformed("%00 is not allowed")),
            Some(byte) => bytes.push(byte),
            None => {
                let problem = "a % is not followed by two hexadecimal digits: encode it as %25";
                return Err(parameters.malformed(problem));
            }
        }
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| parameters.malformed("not UTF-8"))
}

/// `name = value name='quoted \' value'`, as libpq's `conninfo_parse` reads it.
fn parse_pairs(text: &str, parameters: &mut Parameters) -> Result<(), Error> {
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(());
        }
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !c.is_whitespace()) {
            name.push(c);
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.next() != Some('=') {
            // The word may be a piece of a password that was not quoted, so it is not shown.
            return Err(parameters.malformed("a word without = (quote values that hold spaces)"));
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let is_quoted = chars.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        loop {
            match chars.next() {
                None if is_quoted => return Err(parameters.malformed("a quote is not closed")),
                None => break,
                Some('\\') => value.extend(chars.next()),
                Some('\'') if is_quoted => break,
                Some(c) if !is_quoted && c.is_whitespace() => break,
                Some(c) => value.push(c),
            }
        }
        parameters.set(&name, value)?;
    }
}

/// Fills in the service, the variables and the defaults, and checks every value.
fn finish(mut parameters: Parameters, around: &Surroundings<'_>) -> Result<ConnInfo, Error> {
    if let Some(service) = parameters.get("service").map(str::to_owned).or(around.var("PGSERVICE"))
    {
        apply_service(&service, &mut parameters, around)?;
    }
    for (name, variable) in PARAMETERS {
        if let Some(value) = variable.and_then(|variable| around.var(variable)) {
            parameters.fill(name, value);
        }
    }
    if matches!(parameters.origin, Origin::PgVariables | Origin::ContainerVariables) {
        for (variable, name) in CONTAINER_VARIABLES {
            if let Some(value) = around.var(variable) {
                parameters.fill(name, value);
            }
        }
    }
    refuse_unsupported(&parameters)?;

    let user = parameters.get("user").map(str::to_owned).or_else(|| around.os_user.clone());
    let user = user.ok_or(Error::NoUser)?;
    let dbname = parameters.get("dbname").unwrap_or(&user).to_owned();
    let mut endpoints = endpoints(&parameters)?;
    add_passwords(&mut endpoints, &dbname, &user, &mut parameters, around);
    let tls = tls(&parameters, around)?;
    let is_remote = endpoints.iter().any(|endpoint| matches!(endpoint.host, Host::Tcp(_)));
    if is_remote && tls.mode == SslMode::Require && tls.root_cert.is_none() {
        let warning = "sslmode=require encrypts but does not verify the server; use verify-full";
        parameters.warnings.push(warning.to_owned());
    }
    Ok(ConnInfo {
        origin: parameters.origin,
        endpoints,
        options: parameters.get("options").map(str::to_owned),
        application_name: parameters.get("application_name").map(str::to_owned),
        connect_timeout: connect_timeout(&parameters)?,
        tls,
        channel_binding: channel_binding(&parameters)?,
        keepalive: keepalive(&parameters)?,
        user,
        dbname,
        set_aside: parameters.set_aside,
        warnings: parameters.warnings,
    })
}

/// What would weaken the connection if it were passed over in silence.
fn refuse_unsupported(parameters: &Parameters) -> Result<(), Error> {
    let refuse = |name, why| Err(Error::Unsupported { name, why });
    match parameters.get("gssencmode") {
        None | Some("disable" | "prefer") => {}
        Some(_) => return refuse("gssencmode", "lite2pg does not speak Kerberos"),
    }
    for (name, why) in [
        ("require_auth", "use channel_binding=require or sslmode=verify-full instead"),
        ("requirepeer", "use a socket directory that only the server can write to"),
        ("sslcrl", "revocation lists are not read"),
        ("sslcrldir", "revocation lists are not read"),
        ("sslpassword", "decrypt the key file and protect it by its mode"),
        ("replication", "lite2pg needs an ordinary session"),
    ] {
        if parameters.get(name).is_some() {
            return refuse(name, why);
        }
    }
    match parameters.get("ssl_max_protocol_version") {
        None | Some("TLSv1.3") => {}
        Some(_) => return refuse("ssl_max_protocol_version", "TLS 1.3 is not switched off"),
    }
    match parameters.get("sslcertmode") {
        None | Some("allow" | "disable") => {}
        Some(_) => return refuse("sslcertmode", "only allow and disable are"),
    }
    match parameters.get("target_session_attrs") {
        None | Some("any" | "read-write" | "primary" | "prefer-standby") => Ok(()),
        Some(_) => refuse("target_session_attrs", "lite2pg writes, so it needs the primary"),
    }
}

/// The hosts, their addresses and ports, matched up as libpq does.
fn endpoints(parameters: &Parameters) -> Result<Vec<Endpoint>, Error> {
    let list = |name| -> Vec<&str> {
        parameters.get(name).map(|text| text.split(',').collect()).unwrap_or_default()
    };
    let (hosts, addrs, ports) = (list("host"), list("hostaddr"), list("port"));
    let bad = |name, problem: &str| Err(Error::BadValue { name, problem: problem.to_owned() });
    if !hosts.is_empty() && !addrs.is_empty() && hosts.len() != addrs.len() {
        return bad("hostaddr", "needs as many entries as host");
    }
    let count = hosts.len().max(addrs.len()).max(1);
    if 1 < ports.len() && ports.len() != count {
        return bad("port", "needs one entry, or as many as host");
    }
    let mut endpoints = Vec::new();
    for index in 0..count {
        let port = match ports.get(if ports.len() == 1 { 0 } else { index }) {
            None | Some(&"") => 5432,
            Some(text) => match text.trim().parse() {
                Ok(0) | Err(_) => return bad("port", "not a number from 1 to 65535"),
                Ok(port) => port,
            },
        };
        let hostaddr = match addrs.get(index).filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => match text.parse::<IpAddr>() {
                Ok(addr) => Some(addr),
                Err(_) => return bad("hostaddr", "not a numeric address"),
            },
        };
        let host = hosts.get(index).filter(|text| !text.is_empty());
        let mut push = |host| endpoints.push(Endpoint { host, hostaddr, port, password: None });
        match (host, hostaddr) {
            (Some(dir), None) if dir.starts_with('/') => push(Host::Unix(PathBuf::from(dir))),
            (Some(name), None) if name.starts_with('@') => {
                return bad("host", "abstract sockets are not supported");
            }
            (Some(name), _) => push(Host::Tcp((*name).to_owned())),
            (None, Some(addr)) => push(Host::Tcp(addr.to_string())),
            (None, None) => {
                SOCKET_DIRS.iter().for_each(|dir| push(Host::Unix(PathBuf::from(dir))));
                push(Host::Tcp("localhost".to_owned()));
            }
        }
    }
    match parameters.get("load_balance_hosts") {
        None | Some("disable") => {}
        // Any order will do, and the given one is as random as any for a single session.
        Some("random") => {}
        Some(_) => return bad("load_balance_hosts", "neither disable nor random"),
    }
    Ok(endpoints)
}

/// One password for all, or what the password file says for each endpoint.
fn add_passwords(
    endpoints: &mut [Endpoint],
    dbname: &str,
    user: &str,
    parameters: &mut Parameters,
    around: &Surroundings<'_>,
) {
    if let Some(password) = parameters.get("password") {
        let password = Secret::new(password);
        endpoints.iter_mut().for_each(|endpoint| endpoint.password = Some(password.clone()));
        return;
    }
    let named = parameters.get("passfile").map(PathBuf::from);
    let default = || around.home.as_ref().map(|home| home.join(".pgpass"));
    let Some(path) = named.or_else(default) else { return };
    let Ok(found) = std::fs::metadata(&path) else { return };
    let problem = if !found.is_file() {
        Some("it is not a plain file")
    } else if found.mode() & 0o077 != 0 {
        Some("others can read it; chmod 0600 it")
    } else {
        None
    };
    if let Some(problem) = problem {
        let warning = format!("password file {} was passed over: {problem}", path.display());
        parameters.warnings.push(warning);
        return;
    }
    let Ok(bytes) = std::fs::read(&path) else {
        let warning = format!("password file {} cannot be read", path.display());
        parameters.warnings.push(warning);
        return;
    };
    let text = String::from_utf8_lossy(&bytes);
    for endpoint in endpoints {
        endpoint.password = password_for(endpoint, dbname, user, &text);
    }
}

/// The first line of a password file that matches
/// (<https://www.postgresql.org/docs/current/libpq-pgpass.html>).
fn password_for(endpoint: &Endpoint, dbname: &str, user: &str, text: &str) -> Option<Secret> {
    let host = match &endpoint.host {
        Host::Unix(dir) if SOCKET_DIRS.iter().any(|known| dir == Path::new(known)) => "localhost",
        Host::Unix(dir) => dir.to_str()?,
        Host::Tcp(name) => name,
    };
    let port = endpoint.port.to_string();
    let wanted = [host, port.as_str(), dbname, user];
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = split_pgpass(line);
        let is_match = fields.len() == 5
            && wanted
                .iter()
                .zip(&fields)
                .all(|(wanted, (raw, value))| raw == "*" || value == wanted);
        is_match.then(|| Secret::new(&fields[4].1))
    })
}

/// Five fields, each as written and with its escapes undone; the password runs to the end.
fn split_pgpass(line: &str) -> Vec<(String, String)> {
    let mut fields = vec![(String::new(), String::new())];
    let mut chars = line.trim_end_matches('\r').chars();
    while let Some(c) = chars.next() {
        let count = fields.len();
        let (raw, value) = &mut fields[count - 1];
        match c {
            ':' if count < 5 => fields.push((String::new(), String::new())),
            '\\' => {
                raw.push('\\');
                value.extend(chars.next());
            }
            c => {
                raw.push(c);
                value.push(c);
            }
        }
    }
    fields
}

/// Takes from the service file what the text left open. Once a file defines the service, later
/// files are not asked (<https://www.postgresql.org/docs/current/libpq-pgservice.html>).
fn apply_service(
    service: &str,
    parameters: &mut Parameters,
    around: &Surroundings<'_>,
) -> Result<(), Error> {
    let own = around.var("PGSERVICEFILE").map(PathBuf::from);
    let own = own.or_else(|| around.home.as_ref().map(|home| home.join(".pg_service.conf")));
    let system = around.var("PGSYSCONFDIR").map(PathBuf::from);
    let system = system.unwrap_or_else(|| PathBuf::from("/etc/postgresql-common"));
    let files: Vec<PathBuf> = own.into_iter().chain([system.join("pg_service.conf")]).collect();
    for path in &files {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(Error::Unreadable { path: path.clone(), kind: error.kind() });
            }
        };
        if read_service(service, &text, path, parameters)? {
            return Ok(());
        }
    }
    let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    Err(Error::UnknownService { service: service.to_owned(), files: files.join(" and ") })
}

/// Returns whether the file defines the service.
fn read_service(
    service: &str,
    text: &str,
    path: &Path,
    parameters: &mut Parameters,
) -> Result<bool, Error> {
    let mut is_found = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        let bad =
            |problem| Error::BadServiceFile { path: path.to_path_buf(), line: index + 1, problem };
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            if is_found {
                break;
            }
            is_found = name.strip_suffix(']').unwrap_or(name) == service;
            continue;
        }
        if !is_found {
            continue;
        }
        let (name, value) = line.split_once('=').ok_or_else(|| bad("not name=value"))?;
        if name == "service" {
            return Err(bad("a service inside a service"));
        }
        let known = PARAMETERS.iter().find(|(known, _)| *known == name.trim());
        let (known, _) = known.ok_or_else(|| bad("unknown connection parameter"))?;
        parameters.fill(known, value.trim_start().to_owned());
    }
    Ok(is_found)
}

fn tls(parameters: &Parameters, around: &Surroundings<'_>) -> Result<Tls, Error> {
    let mode = match parameters.get("sslmode") {
        None => None,
        Some("disable") => Some(SslMode::Disable),
        Some("allow") => Some(SslMode::Allow),
        Some("prefer") => Some(SslMode::Prefer),
        Some("require") => Some(SslMode::Require),
        Some("verify-ca") => Some(SslMode::VerifyCa),
        Some("verify-full") => Some(SslMode::VerifyFull),
        // `no-verify` is node's word for what libpq calls `require`.
        Some("no-verify") => Some(SslMode::Require),
        Some(_) => {
            let problem = "not one of disable, allow, prefer, require, verify-ca, verify-full";
            return Err(Error::BadValue { name: "sslmode", problem: problem.to_owned() });
        }
    };
    let in_home = |name: &str| {
        let path = around.home.as_ref()?.join(".postgresql").join(name);
        path.exists().then_some(path)
    };
    let root_cert = match parameters.get("sslrootcert") {
        Some("system") => Some(RootCert::System),
        Some(path) => Some(RootCert::File(PathBuf::from(path))),
        None => in_home("root.crt").map(RootCert::File),
    };
    let mode = match (mode, &root_cert) {
        // With the system's many authorities any of which could sign, the name must count.
        (None | Some(SslMode::VerifyFull), Some(RootCert::System)) => SslMode::VerifyFull,
        (Some(_), Some(RootCert::System)) => {
            let problem = "sslrootcert=system needs sslmode=verify-full".to_owned();
            return Err(Error::BadValue { name: "sslmode", problem });
        }
        (mode, _) => mode.unwrap_or(SslMode::Prefer),
    };
    let cert = parameters.get("sslcert").map(PathBuf::from).or_else(|| in_home("postgresql.crt"));
    let key = parameters.get("sslkey").map(PathBuf::from).or_else(|| in_home("postgresql.key"));
    let wants_cert = parameters.get("sslcertmode") != Some("disable");
    let is_13_only = match parameters.get("ssl_min_protocol_version") {
        None | Some("TLSv1" | "TLSv1.1" | "TLSv1.2") => false,
        Some("TLSv1.3") => true,
        Some(_) => {
            let problem = "not one of TLSv1, TLSv1.1, TLSv1.2, TLSv1.3".to_owned();
            return Err(Error::BadValue { name: "ssl_min_protocol_version", problem });
        }
    };
    let is_direct = match parameters.get("sslnegotiation") {
        None | Some("postgres") => false,
        Some("direct") => true,
        Some(_) => {
            let problem = "neither postgres nor direct".to_owned();
            return Err(Error::BadValue { name: "sslnegotiation", problem });
        }
    };
    if is_direct && matches!(mode, SslMode::Disable | SslMode::Allow | SslMode::Prefer) {
        let problem = "direct needs sslmode=require or stronger".to_owned();
        return Err(Error::BadValue { name: "sslnegotiation", problem });
    }
    Ok(Tls {
        mode,
        root_cert,
        client_cert: cert.zip(key).filter(|_| wants_cert),
        is_direct,
        sends_name: parameters.get("sslsni") != Some("0"),
        is_13_only,
    })
}

fn channel_binding(parameters: &Parameters) -> Result<ChannelBinding, Error> {
    match parameters.get("channel_binding") {
        None | Some("prefer") => Ok(ChannelBinding::Prefer),
        Some("disable") => Ok(ChannelBinding::Disable),
        Some("require") => Ok(ChannelBinding::Require),
        Some(_) => {
            let problem = "not one of disable, prefer, require".to_owned();
            Err(Error::BadValue { name: "channel_binding", problem })
        }
    }
}

fn integer(parameters: &Parameters, name: &'static str) -> Result<Option<i64>, Error> {
    let Some(text) = parameters.get(name) else { return Ok(None) };
    match text.trim().parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(Error::BadValue { name, problem: "not a whole number".to_owned() }),
    }
}

/// libpq: zero and less mean "for ever", one is taken as two.
fn connect_timeout(parameters: &Parameters) -> Result<Option<Duration>, Error> {
    Ok(match integer(parameters, "connect_timeout")? {
        None => Some(CONNECT_TIMEOUT),
        Some(seconds) if seconds <= 0 => None,
        Some(seconds) => Some(Duration::from_secs(seconds.max(2).unsigned_abs())),
    })
}

/// libpq: zero means "as the system does", which is what we mean to improve on; so it means our
/// own default.
fn keepalive(parameters: &Parameters) -> Result<Keepalive, Error> {
    let positive = |name| -> Result<Option<u64>, Error> {
        Ok(integer(parameters, name)?.filter(|number| 0 < *number).map(i64::unsigned_abs))
    };
    let seconds = |name, default| -> Result<Duration, Error> {
        Ok(positive(name)?.map_or(default, Duration::from_secs))
    };
    let count = positive("keepalives_count")?.and_then(|count| u32::try_from(count).ok());
    Ok(Keepalive {
        is_on: integer(parameters, "keepalives")? != Some(0),
        idle: seconds("keepalives_idle", KEEPALIVES_IDLE)?,
        interval: seconds("keepalives_interval", KEEPALIVES_INTERVAL)?,
        count: count.unwrap_or(KEEPALIVES_COUNT),
        user_timeout: positive("tcp_user_timeout")?.map_or(TCP_USER_TIMEOUT, Duration::from_millis),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;

    /// Resolves with the given variables; the user is `me`, and home is empty unless given.
    fn resolve_with(
        explicit: Option<&str>,
        vars: &[(&str, &str)],
        home: Option<&Path>,
    ) -> Result<Option<ConnInfo>, Error> {
        let env = |name: &str| {
            vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        let around = Surroundings {
            env: &env,
            os_user: Some("me".to_owned()),
            home: home.map(Path::to_path_buf),
        };
        resolve(explicit, &around)
    }

    fn target(text: &str) -> ConnInfo {
        resolve_with(Some(text), &[], None).expect(text).expect("a target was named")
    }

    fn error(text: &str) -> Error {
        resolve_with(Some(text), &[], None).expect_err(text)
    }

    fn from_env(vars: &[(&str, &str)]) -> Option<ConnInfo> {
        resolve_with(None, vars, None).expect("the variables make sense")
    }

    fn places(conninfo: &ConnInfo) -> Vec<String> {
        conninfo.endpoints.iter().map(ToString::to_string).collect()
    }

    fn password(conninfo: &ConnInfo) -> Option<&str> {
        conninfo.endpoints[0].password.as_ref().map(Secret::expose)
    }

    #[test]
    fn urls_are_read_as_libpq_reads_them() {
        for (url, user, dbname, place) in [
            ("postgresql://", "me", "me", "/var/run/postgresql/.s.PGSQL.5432"),
            ("postgresql://h", "me", "me", "h port 5432"),
            ("postgresql://h:5433", "me", "me", "h port 5433"),
            ("postgresql://h/d", "me", "d", "h port 5432"),
            ("postgres://u@h", "u", "u", "h port 5432"),
            ("postgresql://u:p@h/d?connect_timeout=7&application_name=x", "u", "d", "h port 5432"),
            ("postgresql://other@h/otherdb?user=u&dbname=d", "u", "d", "h port 5432"),
            ("postgresql:///d?host=h&port=5433", "me", "d", "h port 5433"),
            ("postgresql://[2001:db8::1234]/d", "me", "d", "2001:db8::1234 port 5432"),
            ("postgresql://[::1]:7/d", "me", "d", "::1 port 7"),
            ("postgresql:///d?host=/s/pg", "me", "d", "/s/pg/.s.PGSQL.5432"),
            ("postgresql://%2Fs%2Fpg:6/d", "me", "d", "/s/pg/.s.PGSQL.6"),
            ("postgresql+psycopg2://u:p@h/d", "u", "d", "h port 5432"),
            ("postgresql+asyncpg://u@h/d?ssl=require", "u", "d", "h port 5432"),
            ("jdbc:postgresql://h/d?user=u", "u", "d", "h port 5432"),
            ("POSTGRES://h/d", "me", "d", "h port 5432"),
            ("postgresql://u%40corp:a%3Ab@h/a%2Fb", "u@corp", "a/b", "h port 5432"),
            (" postgresql://h/d\n", "me", "d", "h port 5432"),
        ] {
            if cfg!(target_os = "macos") && place.starts_with("/var/run") {
                continue;
            }
            let found = target(url);
            assert_eq!((found.user.as_str(), found.dbname.as_str()), (user, dbname), "{url}");
            assert_eq!(places(&found)[0], place, "{url}");
        }
    }

    #[test]
    fn pairs_are_read_as_libpq_reads_them() {
        let found = target(r"host = h  dbname='a \'b\\' user=u password=x\ y port=''");
        assert_eq!((found.user.as_str(), found.dbname.as_str()), ("u", r"a 'b\"));
        assert_eq!(password(&found), Some("x y"));
        assert_eq!(places(&found), ["h port 5432"]);
        assert_eq!(target("host=a host=b").endpoints[0].host, Host::Tcp("b".to_owned()));
    }

    #[test]
    fn several_hosts_share_or_match_their_ports() {
        let found = target("postgresql://a:1,b,[::1]:3/d?target_session_attrs=read-write");
        assert_eq!(places(&found), ["a port 1", "b port 5432", "::1 port 3"]);
        let found = target("host=a,b port=7");
        assert_eq!(places(&found), ["a port 7", "b port 7"]);
        let found = target("host=a,b hostaddr=10.0.0.1,10.0.0.2 port=7,8");
        assert_eq!(places(&found), ["a (10.0.0.1) port 7", "b (10.0.0.2) port 8"]);
        assert_eq!(places(&target("hostaddr=10.0.0.1")), ["10.0.0.1 port 5432"]);
        let names = |text, name| match error(text) {
            Error::BadValue { name: found, .. } => found == name,
            _ => false,
        };
        assert!(names("host=a,b,c port=1,2", "port"));
        assert!(names("host=a,b hostaddr=10.0.0.1", "hostaddr"));
        assert!(names("host=a port=0", "port"));
        assert!(names("host=a port=65536", "port"));
        assert!(names("hostaddr=localhost", "hostaddr"));
    }

    #[test]
    fn without_a_host_the_socket_comes_first_and_then_localhost() {
        let found = target("dbname=d");
        let last = found.endpoints.last().expect("there is one");
        assert!(matches!(found.endpoints[0].host, Host::Unix(_)));
        assert_eq!(last.host, Host::Tcp("localhost".to_owned()));
    }

    #[test]
    fn the_flag_beats_database_url_beats_pg_beats_postgres() {
        let all = [
            ("DATABASE_URL", "postgres://b/b"),
            ("PGHOST", "c"),
            ("POSTGRES_HOST", "d"),
            ("POSTGRES_DB", "d"),
        ];
        let origin = |explicit, vars: &[(&str, &str)]| {
            let found = resolve_with(explicit, vars, None).expect("it makes sense");
            found.map(|found| (found.origin, places(&found).remove(0)))
        };
        let place = |name: &str| format!("{name} port 5432");
        assert_eq!(origin(Some("host=a"), &all), Some((Origin::Explicit, place("a"))));
        assert_eq!(origin(None, &all), Some((Origin::DatabaseUrl, place("b"))));
        assert_eq!(origin(None, &all[1..]), Some((Origin::PgVariables, place("c"))));
        assert_eq!(origin(None, &all[2..]), Some((Origin::ContainerVariables, place("d"))));
        assert_eq!(origin(None, &[]), None);
    }

    #[test]
    fn a_password_or_a_user_alone_names_no_target() {
        assert_eq!(from_env(&[("PGPASSWORD", "x"), ("PGUSER", "u"), ("PGSSLMODE", "x")]), None);
        assert_eq!(from_env(&[("POSTGRES_PASSWORD", "x"), ("POSTGRES_USER", "u")]), None);
        assert_eq!(from_env(&[("PGHOST", ""), ("DATABASE_URL", "")]), None);
    }

    #[test]
    fn the_applications_own_sqlite_url_is_passed_over() {
        for url in ["sqlite:///app.db", "sqlite3:app.db", "sqlite+aiosqlite:///x", "file:./dev.db"]
        {
            assert_eq!(from_env(&[("DATABASE_URL", url)]), None, "{url}");
            let found = from_env(&[("DATABASE_URL", url), ("PGHOST", "h")]).expect("PGHOST");
            assert_eq!(found.origin, Origin::PgVariables);
        }
        let other = resolve_with(None, &[("DATABASE_URL", "mysql://u:hunter2@h/d")], None);
        let other = other.expect_err("not PostgreSQL");
        assert!(matches!(other, Error::Malformed { origin: Origin::DatabaseUrl, .. }));
        assert!(!format!("{other} {other:?}").contains("hunter2"));
    }

    #[test]
    fn variables_fill_what_a_url_leaves_open() {
        let vars = [
            ("PGUSER", "envuser"),
            ("PGPASSWORD", "envpass"),
            ("PGPORT", "7"),
            ("PGSSLMODE", "require"),
            ("PGOPTIONS", "-c geqo=off"),
            ("PGAPPNAME", "app"),
            ("PGCONNECT_TIMEOUT", "3"),
            ("POSTGRES_DB", "not this one"),
            ("POSTGRES_PASSWORD", "nor this"),
        ];
        let found = resolve_with(Some("postgres://u@h:6/d"), &vars, None).expect("fine");
        let found = found.expect("named");
        assert_eq!((found.user.as_str(), found.dbname.as_str()), ("u", "d"));
        assert_eq!((password(&found), places(&found)[0].as_str()), (Some("envpass"), "h port 6"));
        assert_eq!(found.tls.mode, SslMode::Require);
        assert_eq!(found.options.as_deref(), Some("-c geqo=off"));
        assert_eq!(found.application_name.as_deref(), Some("app"));
        assert_eq!(found.connect_timeout, Some(Duration::from_secs(3)));
        let found = resolve_with(Some("postgres://h"), &vars, None).expect("fine").expect("named");
        assert_eq!((found.user.as_str(), found.dbname.as_str()), ("envuser", "envuser"));
    }

    #[test]
    fn container_variables_make_a_whole_target() {
        let found = from_env(&[
            ("POSTGRES_HOST", "db"),
            ("POSTGRES_PORT", "5544"),
            ("POSTGRES_USER", "app"),
            ("POSTGRES_PASSWORD", "s3cret"),
            ("POSTGRES_DB", "shop"),
        ]);
        let found = found.expect("named");
        assert_eq!((found.user.as_str(), found.dbname.as_str()), ("app", "shop"));
        assert_eq!(
            (password(&found), places(&found)[0].as_str()),
            (Some("s3cret"), "db port 5544")
        );
    }

    #[test]
    fn nonsense_is_refused_by_name_and_never_quoted() {
        for text in [
            "hunter2",
            "mysql://u:hunter2@h/d",
            "postgres://u:hunter2@x@h/d",
            "postgres://u:hunter2%zz@h/d",
            "postgres://u:hunter2%00@h/d",
            "postgres://[::1/hunter2",
            "postgres://::1/hunter2",
            "postgres://h/d?hunter2",
            "host=h password='hunter2",
            "host=h password=a hunter2",
            "host=h sslmode=hunter2",
            "host=h port=hunter2",
            "host=h keepalives=hunter2",
            "host=h channel_binding=hunter2",
        ] {
            let error = error(text);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{text}: {error}");
            assert!(matches!(error.remedy(), Remedy::Stop { .. }));
        }
        let unknown = error("host=h nosuch=1");
        assert!(matches!(unknown, Error::UnknownParameter { name, .. } if name == "nosuch"));
    }

    #[test]
    fn what_would_weaken_the_connection_is_never_ignored() {
        for text in [
            "gssencmode=require",
            "require_auth=scram-sha-256",
            "requirepeer=postgres",
            "sslcrl=/x",
            "sslpassword=x",
            "replication=database",
            "ssl_max_protocol_version=TLSv1.2",
            "target_session_attrs=standby",
            "sslcertmode=require",
        ] {
            let wanted = text.split('=').next().expect("a name");
            let error = error(&format!("host=h {text}"));
            assert!(matches!(error, Error::Unsupported { name, .. } if name == wanted), "{text}");
        }
        target("host=h gssencmode=prefer krbsrvname=x client_encoding=LATIN1 sslcompression=1");
    }

    #[test]
    fn parameters_of_orms_are_set_aside_and_named() {
        let found = target("postgresql://h/d?schema=public&pgbouncer=true&sslmode=require");
        assert_eq!(found.set_aside, ["schema", "pgbouncer"]);
        assert_eq!(found.tls.mode, SslMode::Require);
    }

    #[test]
    fn tls_modes_follow_libpq() {
        let mode = |text: &str| target(&format!("host=h {text}")).tls.mode;
        assert_eq!(mode(""), SslMode::Prefer);
        assert_eq!(mode("sslmode=allow"), SslMode::Allow);
        assert!(target("host=h sslmode=require").warnings[0].contains("verify-full"));
        assert!(target("host=/s sslmode=require").warnings.is_empty());
        assert!(target("host=h sslmode=require sslrootcert=/ca").warnings.is_empty());
        assert_eq!(mode("sslmode=verify-ca"), SslMode::VerifyCa);
        assert_eq!(mode("sslmode=verify-full"), SslMode::VerifyFull);
        assert_eq!(mode("sslrootcert=system"), SslMode::VerifyFull);
        assert_eq!(target("postgres://h?ssl=true").tls.mode, SslMode::Require);
        assert_eq!(target("postgres://h?ssl=verify-ca").tls.mode, SslMode::VerifyCa);
        error("host=h sslrootcert=system sslmode=require");
        error("host=h sslnegotiation=direct");
        assert!(target("host=h sslnegotiation=direct sslmode=require").tls.is_direct);
        let found = target("host=h sslrootcert=/ca sslcert=/c sslkey=/k");
        assert_eq!(found.tls.root_cert, Some(RootCert::File(PathBuf::from("/ca"))));
        let pair = (PathBuf::from("/c"), PathBuf::from("/k"));
        assert_eq!(found.tls.client_cert, Some(pair));
    }

    #[test]
    fn certificates_in_the_home_directory_are_found() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let dir = home.path().join(".postgresql");
        std::fs::create_dir(&dir).expect("create");
        for name in ["root.crt", "postgresql.crt", "postgresql.key"] {
            std::fs::write(dir.join(name), "").expect("write");
        }
        let found = resolve_with(Some("host=h"), &[], Some(home.path())).expect("fine");
        let tls = found.expect("named").tls;
        assert_eq!(tls.root_cert, Some(RootCert::File(dir.join("root.crt"))));
        assert_eq!(tls.client_cert, Some((dir.join("postgresql.crt"), dir.join("postgresql.key"))));
    }

    #[test]
    fn timeouts_are_bounded_unless_told_otherwise() {
        let limit = |text: &str| target(text).connect_timeout;
        assert_eq!(limit("host=h"), Some(Duration::from_secs(10)));
        assert_eq!(limit("host=h connect_timeout=1"), Some(Duration::from_secs(2)));
        assert_eq!(limit("host=h connect_timeout=0"), None);
        let keepalive = target("host=h keepalives=0 keepalives_idle=5 tcp_user_timeout=700");
        assert!(!keepalive.keepalive.is_on);
        assert_eq!(keepalive.keepalive.idle, Duration::from_secs(5));
        assert_eq!(keepalive.keepalive.user_timeout, Duration::from_millis(700));
    }

    #[test]
    fn the_password_file_gives_each_host_its_own() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let file = home.path().join(".pgpass");
        let text = "# comment\n\
                    short:line\n\
                    a:*:d:u:for a\n\
                    b:7:*:u:for\\:b\\\\:x\n\
                    localhost:*:*:*:local\n\
                    \\*:*:*:*:a literal star\n";
        std::fs::write(&file, text).expect("write");
        let mode = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&file, mode).expect("chmod");
        };
        let found = |text: &str| {
            let found = resolve_with(Some(text), &[], Some(home.path())).expect(text);
            found.expect("named")
        };
        mode(0o600);
        let many = found("host=a,b,c port=7 user=u dbname=d");
        let passwords: Vec<Option<&str>> = many
            .endpoints
            .iter()
            .map(|endpoint| endpoint.password.as_ref().map(Secret::expose))
            .collect();
        assert_eq!(passwords, [Some("for a"), Some("for:b\\:x"), None]);
        assert_eq!(password(&found("dbname=d")), Some("local"), "the default socket");
        assert_eq!(password(&found("host=a dbname=d user=u password=own")), Some("own"));
        mode(0o640);
        let open = found("host=a user=u dbname=d");
        assert_eq!(password(&open), None);
        assert!(open.warnings[0].contains("0600"), "{:?}", open.warnings);
    }

    #[test]
    fn a_service_fills_what_is_open_and_beats_the_variables() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let file = home.path().join(".pg_service.conf");
        let text = "# comment\n[other]\nhost=wrong\n\n[mine]\n  host=svc\nport=6\nuser=svcuser\n";
        std::fs::write(&file, text).expect("write");
        let vars = [("PGUSER", "envuser"), ("PGDATABASE", "envdb"), ("PGSERVICE", "mine")];
        let found = resolve_with(None, &vars, Some(home.path())).expect("fine").expect("named");
        assert_eq!((found.user.as_str(), found.dbname.as_str()), ("svcuser", "envdb"));
        assert_eq!(places(&found), ["svc port 6"]);
        let url = Some("postgresql://h?service=mine");
        let found = resolve_with(url, &[], Some(home.path())).expect("fine").expect("named");
        assert_eq!(places(&found), ["h port 6"]);

        let none = home.path().join("no such directory").display().to_string();
        let vars = [("PGSERVICE", "nosuch"), ("PGSYSCONFDIR", none.as_str())];
        let error = resolve_with(None, &vars, Some(home.path())).expect_err("not defined");
        assert!(matches!(error, Error::UnknownService { .. }), "{error}");
        std::fs::write(&file, "[mine]\nhost=a\nhunter2\n").expect("write");
        let vars = [("PGSERVICE", "mine")];
        let error = resolve_with(None, &vars, Some(home.path())).expect_err("malformed");
        assert!(matches!(error, Error::BadServiceFile { line: 3, .. }), "{error}");
    }

    #[test]
    fn secrets_are_not_shown() {
        let found = target("postgres://u:hunter2@h/d");
        assert_eq!(password(&found), Some("hunter2"));
        assert!(!format!("{found:?} {found}").contains("hunter2"));
        assert_eq!(found.to_string(), "database d as u at h port 5432");
    }

    #[test]
    fn redacting_hides_the_password_and_leaves_the_rest() {
        for (text, shown) in [
            ("postgres://u:hunter2@h:5/d", "postgres://u:***@h:5/d"),
            ("postgres://u:hun@ter2@h/d", "postgres://u:***@h/d"),
            ("postgres://u@h:5/d", "postgres://u@h:5/d"),
            ("postgres://h/d?password=hunter2&x=1", "postgres://h/d?password=***&x=1"),
            ("postgres://h/d?a=b&PASSWORD=hunter2", "postgres://h/d?a=b&PASSWORD=***"),
            ("host=h password=hunter2 user=u", "host=h password=*** user=u"),
            ("host=h password = 'hun \\' ter2' user=u", "host=h password = *** user=u"),
            ("password=hunter2", "password=***"),
            ("sslpassword=hunter2 x=1", "sslpassword=*** x=1"),
            ("host=h user=password", "host=h user=password"),
        ] {
            assert_eq!(redact(text), shown);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,60}") {
            for prefix in ["", "postgresql://", "host=h password=", "postgres://u:p@h/d?"] {
                let text = format!("{prefix}{text}");
                let _any = resolve_with(Some(&text), &[], None);
                let _any = redact(&text);
            }
        }

        #[test]
        fn whatever_is_encoded_comes_back(password in ".{1,20}", dbname in "[^\0]{1,20}") {
            prop_assume!(!password.contains('\0'));
            let url = format!(
                "postgresql://u:{}@h/{}", percent_encode(&password), percent_encode(&dbname)
            );
            let found = target(&url);
            prop_assert_eq!(found.endpoints[0].password.as_ref().map(Secret::expose),
                Some(password.as_str()));
            prop_assert_eq!(&found.dbname, &dbname);
        }

        #[test]
        fn redacting_hides_any_password(password in "[a-z0-9@:/?#&='% ]{6,20}") {
            let url = format!("postgresql://u:{}@h/d", percent_encode(&password));
            prop_assert!(!redact(&url).contains(&percent_encode(&password)));
            // Even one that should have been encoded and was not.
            let raw = format!("postgresql://u:{password}@h/d");
            prop_assert!(!redact(&raw).contains(&password));
        }
    }
}
