//! `psql` as the judge: with the same environment and the same words it arrives where we arrive.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use lite2pg::target::conninfo::{self, ConnInfo, Surroundings};
use lite2pg::target::private::ROLE;

use crate::support::cluster::{ThrowawayCluster, block_on, session};

/// What both clients are asked once they are in.
const QUESTION: &str = "select concat_ws('|', session_user, current_database(), \
     current_setting('application_name'), current_setting('geqo'), current_setting('port'))";

/// One way of naming the server.
struct Case {
    claim: &'static str,
    target: Option<String>,
    vars: Vec<(&'static str, String)>,
}

fn case(claim: &'static str, target: Option<String>, vars: &[(&'static str, &str)]) -> Case {
    let vars = vars.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Case { claim, target, vars }
}

#[test]
fn psql_and_lite2pg_arrive_at_the_same_place() {
    let server = ThrowawayCluster::new();
    server.url("my db");
    server.url("guest");
    let create = "create role guest login password 'pass:w\\rd'";
    server.cluster().execute(create).expect("create a role");
    if Command::new("psql").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("psql is not installed here, so there is no judge to compare with");
        return;
    }
    let home = tempfile::tempdir().expect("a temporary directory");
    let dir = server.cluster().socket_dir().display().to_string();
    write_home(home.path(), &dir);
    for case in cases(&dir, &server.cluster().url("my db")) {
        let theirs = ask_psql(&case, home.path());
        let ours = ask_ourselves(&case, home.path());
        assert_eq!(ours, theirs, "{}", case.claim);
    }
}

/// A password file and a service file, as a user would have them.
fn write_home(home: &Path, dir: &str) {
    let pgpass = home.join(".pgpass");
    let text = format!("localhost:*:*:*:wrong\n{dir}:5432:*:guest:pass\\:w\\\\rd\n");
    fs::write(&pgpass, text).expect("write .pgpass");
    fs::set_permissions(&pgpass, fs::Permissions::from_mode(0o600)).expect("chmod");
    let service = format!(
        "# mine\n[other]\nhost=/nowhere\n[svc]\nhost={dir}\nuser={ROLE}\ndbname=my db\n\
         application_name=from service\n"
    );
    fs::write(home.join(".pg_service.conf"), service).expect("write the service file");
}

fn cases(dir: &str, url: &str) -> Vec<Case> {
    let encoded = conninfo::percent_encode(dir);
    let host = ("PGHOST", dir);
    let user = ("PGUSER", ROLE);
    vec![
        case("the private cluster's own URL", Some(url.to_owned()), &[]),
        case("its own URL, whatever PGPORT says", Some(url.to_owned()), &[("PGPORT", "1")]),
        case("variables alone", None, &[host, user, ("PGDATABASE", "my db")]),
        case("the database is the user's name", None, &[host, user]),
        case(
            "options and name from variables",
            None,
            &[host, user, ("PGOPTIONS", "-c geqo=off"), ("PGAPPNAME", "my app")],
        ),
        case(
            "a URL wins over variables",
            Some(format!("postgres://{ROLE}@{encoded}/my%20db?application_name=u")),
            &[("PGHOST", "/nowhere"), ("PGUSER", "nobody"), ("PGAPPNAME", "not this")],
        ),
        case(
            "parameters win over the rest of the URL",
            Some(format!("postgresql://x@y/z?host={encoded}&user={ROLE}&dbname=my%20db")),
            &[],
        ),
        case(
            "pairs with quotes and escapes",
            Some(format!("host={dir} user = {ROLE} dbname='my db' application_name=a\\ \\'b")),
            &[],
        ),
        case(
            "options inside a URL",
            Some(format!(
                "postgresql:///my%20db?host={encoded}&user={ROLE}&options=-c%20geqo%3Doff"
            )),
            &[],
        ),
        case("a service", None, &[("PGSERVICE", "svc")]),
        case("a service and a variable", None, &[("PGSERVICE", "svc"), ("PGAPPNAME", "not this")]),
        case("a service inside pairs", Some("service=svc application_name=pairs".to_owned()), &[]),
        case("the password file", None, &[host, ("PGUSER", "guest")]),
        case(
            "a password in the URL wins over the file",
            Some(format!("postgresql://guest:pass%3Aw%5Crd@{encoded}")),
            &[],
        ),
        case(
            "the second host, when the first is away",
            Some(format!("postgresql://{ROLE}@%2Fnowhere,{encoded}/my%20db")),
            &[],
        ),
    ]
}

fn ask_psql(case: &Case, home: &Path) -> String {
    let mut command = Command::new("psql");
    command.env_clear().env("HOME", home).stdin(Stdio::null());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.envs(case.vars.iter().map(|(name, value)| (*name, value.as_str())));
    command.args(["-X", "-w", "-At", "-c", QUESTION]);
    if let Some(target) = &case.target {
        command.args(["-d", target]);
    }
    let output = command.output().expect("run psql");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: psql: {said}", case.claim);
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

fn ask_ourselves(case: &Case, home: &Path) -> String {
    let conninfo = resolve(case, home);
    block_on(async move {
        // `psql` calls itself so where nothing else is said.
        let name = conninfo.application_name.clone().unwrap_or_else(|| "psql".to_owned());
        let named = ConnInfo { application_name: Some(name), ..conninfo };
        let client = session(&named).await;
        client.query_one(QUESTION, &[]).await.expect("ask").get(0)
    })
}

fn resolve(case: &Case, home: &Path) -> ConnInfo {
    let vars: BTreeMap<&str, &str> =
        case.vars.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let env = |name: &str| vars.get(name).map(|value| (*value).to_owned());
    let around = Surroundings { env: &env, os_user: None, home: Some(home.to_path_buf()) };
    let named = conninfo::resolve(case.target.as_deref(), &around);
    named.expect(case.claim).expect("each case names a target")
}
