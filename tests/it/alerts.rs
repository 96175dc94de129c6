//! Alerts: what a person should hear of reaches a command and a webhook, and no channel that hangs,
//! refuses or is flooded holds anything up.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use serde_json::Value;

use crate::server::Target;
use crate::support::pair::Pair;
use crate::support::receiver::{Answer, Receiver};
use crate::support::scene::proxy_to;
use crate::support::sidecar::{Ended, LIMIT, Launch, Sidecar, wait_until};

/// It is in the path of the URL and in a header, and must be seen nowhere.
const SECRET: &str = "hunter2";

/// Rows and a few tables.
const TABLES: &str = "
    create table orders (id integer primary key, note text);
    create table one (id integer primary key);
    create table two (id integer primary key);
    create table three (id integer primary key);
    insert into orders values (1, 'a'), (2, 'b'), (3, 'c');";

/// PostgreSQL's text cannot hold it.
const REFUSED: &str = "insert or replace into orders (id, note) values (7, 'x' || char(0))";

/// A pair whose product tells of what happens.
struct Told {
    pair: Pair,
}

impl Told {
    fn new() -> Self {
        let pair = Pair::with(TABLES);
        // What is written here later keeps these rights.
        let path = pair.directory().join("lite2pg.toml");
        std::fs::write(&path, "").expect("the directory is ours");
        let rights = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, rights).expect("it is ours");
        Self { pair }
    }

    /// In step, without having told anybody anything.
    fn in_step() -> Self {
        let told = Self::new();
        told.pair.catch_up("").expect_code(0);
        told
    }

    /// A section `[alerts]` that posts to a receiver.
    fn webhook(receiver: &Receiver, more: &str) -> String {
        let authority = receiver.authority();
        format!(
            "[alerts]\nwebhook = 'http://{authority}/services/{SECRET}'\n\
             webhook_headers = 'Authorization: Bearer {SECRET}'\n{more}"
        )
    }

    /// A command that appends what it gets, for `[alerts]`.
    fn command(&self) -> String {
        format!("command = 'cat >> {}'\n", self.told_file().display())
    }

    fn told_file(&self) -> PathBuf {
        self.pair.directory().join("told")
    }

    /// What that command got.
    fn by_command(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.told_file()).unwrap_or_default();
        // The last line may be on its way.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn call(&self, subcommand: &str, config: &str) -> Launch {
        self.call_as(&self.pair.database.url, subcommand, config)
    }

    fn call_as(&self, url: &str, subcommand: &str, config: &str) -> Launch {
        let state = self.pair.directory().join("state");
        let call = self.pair.call_as(url, subcommand, config);
        // A proxy of whoever runs the tests knows nothing of this machine's ports.
        call.env("LITE2PG_STATE", state).env("NO_PROXY", "*")
    }

    /// A run that streams.
    fn run(&self, config: &str) -> Sidecar {
        let mut sidecar = self.call("run", config).start();
        sidecar.await_line("replaying", LIMIT);
        sidecar
    }

    /// What a person does who does not know what that means for the target.
    fn uninstall(&self) {
        let call = Launch::new("uninstall").arg("--source").arg(self.pair.file());
        call.finish().expect_code(0);
    }

    /// Makes a row that the target cannot hold, and waits until it is in quarantine.
    fn set_aside(&self, sidecar: &mut Sidecar) {
        self.pair.write(REFUSED);
        self.pair.await_step(sidecar);
        assert_eq!(self.pair.quarantine().len(), 1);
    }

    /// Waits until nobody has to be told of any incident any more.
    fn await_all_told(&self, sidecar: &mut Sidecar) {
        let untold = "select count(*) from lite2pg.incidents where told_at is null";
        let target = self.pair.target();
        let are_told = || (target.query(untold)[0][0].as_deref() == Some("0")).then_some(());
        sidecar.until(are_told).unwrap_or_else(|| panic!("it ended:\n{}", sidecar.stderr()));
    }
}

fn first<'a>(alerts: &'a [Value], kind: &str) -> &'a Value {
    let found = alerts.iter().find(|alert| alert["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} among {alerts:#?}"))
}

#[test]
fn a_lineage_stop_is_told_by_both_channels_before_the_process_ends() {
    let told = Told::in_step();
    // It takes two tries to get through.
    let receiver =
        Receiver::answering(|number| Answer::Status(if number == 0 { 503 } else { 200 }));
    let config = Told::webhook(&receiver, &told.command());
    let sidecar = told.run(&config);
    let applied = told.pair.ask("select applied from lite2pg.position");
    told.uninstall();
    let ended = sidecar.wait(LIMIT).expect_code(4);
    // No waiting from here on: the process has ended.
    assert_eq!(receiver.kinds(), ["critical lineage_stop"; 2], "{ended}");
    let by_command = told.by_command();
    for alert in [&receiver.came()[1].body, first(&by_command, "lineage_stop")] {
        assert_eq!(alert["exit_code"], 4);
        assert_eq!(alert["position"].to_string(), applied[0]);
        assert_eq!(alert["lineage"]["generation"], 1);
        assert_eq!(alert["source"], told.pair.file().to_str().expect("UTF-8"));
        assert_eq!(alert["kept_back"], 0);
        let message = alert["message"].as_str().expect("text");
        assert!(message.starts_with("lineage stop: the changelog is gone"), "{message}");
        assert!(alert["hint"].as_str().expect("text").contains("PostgreSQL is as it was"));
        let at = alert["at"].as_str().expect("text");
        assert!(at.starts_with("20") && at.ends_with('Z'), "{at}");
    }
    let head = receiver.came()[1].head.to_lowercase();
    assert!(head.starts_with(&format!("post /services/{SECRET} http/1.1")), "{head}");
    assert!(head.contains(&format!("authorization: bearer {SECRET}")), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
}

#[test]
fn an_incident_is_told_by_whatever_part_of_the_program_it_was_written() {
    let told = Told::in_step();
    let receiver = Receiver::start();
    let mut sidecar = told.run(&Told::webhook(&receiver, ""));
    told.set_aside(&mut sidecar);
    let alert = receiver.await_kind("quarantine");
    assert!(alert["message"].as_str().expect("text").starts_with("orders: "), "{alert}");
    assert_eq!(alert["severity"], "warning");
    assert!(alert["position"].is_number() && alert["lineage"].is_object(), "{alert}");
    told.pair.write("alter table one add column more text");
    receiver.await_kind("table_altered");
    told.pair.write("delete from orders where id = 7");
    receiver.await_kind("quarantine_empty");
    // As another process would, while nothing is to be applied.
    told.await_all_told(&mut sidecar);
    told.pair
        .target()
        .run("insert into lite2pg.incidents (kind, message) values ('unheard_of', 'by somebody')");
    told.pair.write("insert into one (id) values (1)");
    assert_eq!(receiver.await_kind("unheard_of")["severity"], "warning");
    sidecar.terminate().expect_code(0);
    let kinds = receiver.kinds();
    let expected =
        ["warning quarantine", "info table_altered", "info quarantine_empty", "warning unheard_of"];
    assert_eq!(kinds, expected, "each once");
}

#[test]
fn what_a_crash_kept_from_being_told_is_told_by_the_next_run() {
    let told = Told::in_step();
    let receiver = Receiver::start();
    let config = Told::webhook(&receiver, "");
    told.pair.write(REFUSED);
    let crashed = told.call("run", &config).dying_at("apply-committed", 1).start().wait(LIMIT);
    assert!(crashed.was_killed(), "{crashed}");
    assert_eq!(receiver.kinds(), [""; 0]);
    let sidecar = told.call("run", &config).start();
    receiver.await_kind("quarantine");
    sidecar.terminate().expect_code(0);
    told.run(&config).terminate().expect_code(0);
    assert_eq!(receiver.kinds(), ["warning quarantine"], "once");
}

#[test]
fn a_webhook_that_hangs_holds_up_neither_replication_nor_the_command_nor_a_stop() {
    let told = Told::in_step();
    let receiver = Receiver::answering(|_| Answer::Never);
    let config = Told::webhook(&receiver, &told.command());
    let mut sidecar = told.run(&config);
    told.set_aside(&mut sidecar);
    receiver.await_kind("quarantine");
    told.pair.write("alter table one add column more text; insert into one values (1, 'x')");
    told.pair.await_step(&mut sidecar);
    let altered = || told.by_command().into_iter().find(|alert| alert["kind"] == "table_altered");
    wait_until(LIMIT, altered).expect("the command is not held up");
    assert_eq!(receiver.kinds(), ["warning quarantine"], "the second waits for the first");
    let begun = Instant::now();
    let ended = sidecar.terminate().expect_code(0);
    assert!(begun.elapsed() < Duration::from_secs(20), "{ended}");
    let line = ended.stderr.lines().find(|line| line.contains("not all alerts could be delivered"));
    assert!(line.is_some(), "{ended}");
    told.pair.assert_equal_but_quarantined();
}

#[test]
fn a_webhook_that_refuses_or_sends_elsewhere_is_a_line_in_the_log() {
    let told = Told::in_step();
    let elsewhere = Receiver::start();
    let url = format!("http://{}/", elsewhere.authority());
    let redirecting = Receiver::answering(move |_| Answer::Elsewhere(url.clone()));
    let closed = Receiver::start().authority();
    let config = Told::webhook(&redirecting, "");
    let mut sidecar = told.run(&config);
    told.set_aside(&mut sidecar);
    let line = sidecar.await_line("an alert was not delivered", LIMIT);
    assert!(line.contains("answered 302") && line.contains("kind=\"quarantine\""), "{line}");
    assert_eq!(redirecting.kinds(), ["warning quarantine"; 3], "one try and two more");
    assert_eq!(elsewhere.kinds(), [""; 0]);
    sidecar.terminate().expect_code(0);
    let config = format!("[alerts]\nwebhook = 'http://{closed}/'");
    let mut sidecar = told.run(&config);
    told.pair.write("delete from orders where id = 7");
    let line = sidecar.await_line("an alert was not delivered", LIMIT);
    assert!(line.contains("refused") && line.contains(&closed), "{line}");
    sidecar.terminate().expect_code(0);
    told.pair.assert_equal();
}

#[test]
fn a_storm_of_one_kind_is_limited_and_those_kept_back_are_counted() {
    let told = Told::in_step();
    let receiver = Receiver::start();
    // One a second.
    let config = Told::webhook(&receiver, "burst = 1\nper_hour = 3600");
    let mut sidecar = told.run(&config);
    told.pair.write(
        "begin; alter table orders add column c0 text; alter table one add column c0 text;
         alter table two add column c0 text; alter table three add column c0 text; commit",
    );
    sidecar.await_line("too many alerts of one kind", LIMIT);
    told.await_all_told(&mut sidecar);
    let mut incidents = 4;
    let second = loop {
        told.pair.write(&format!("alter table one add column c{incidents} text"));
        incidents += 1;
        let noted = format!(
            "select count(*) = {incidents} and count(told_at) = {incidents}
               from lite2pg.incidents where kind = 'table_altered'"
        );
        let target = told.pair.target();
        let is_told = || (target.query(&noted)[0][0].as_deref() == Some("t")).then_some(());
        sidecar.until(is_told).expect("it runs");
        let sent = wait_until(Duration::from_millis(200), || receiver.came().into_iter().nth(1));
        if let Some(second) = sent {
            break second.body;
        }
        assert!(incidents < 100, "nothing passes any more");
    };
    assert_eq!(second["kept_back"], incidents - 2, "all but the first and this one");
    // Another kind is not concerned.
    told.set_aside(&mut sidecar);
    assert_eq!(receiver.await_kind("quarantine")["kept_back"], 0);
    sidecar.terminate().expect_code(0);
}

#[test]
fn a_run_that_is_started_again_and_again_does_not_begin_with_a_full_measure() {
    let told = Told::in_step();
    let receiver = Receiver::start();
    let config = Told::webhook(&receiver, "burst = 2\nper_hour = 1");
    let nobody = "postgresql://nobody@127.0.0.1:1/none";
    for _ in 0..4 {
        told.call_as(nobody, "run", &config).finish().expect_code(3);
    }
    assert_eq!(receiver.kinds(), ["critical run_ended"; 2]);
    let alert = &receiver.came()[0].body;
    assert_eq!((&alert["exit_code"], &alert["position"]), (&3.into(), &Value::Null));
    let message = alert["message"].as_str().expect("text");
    assert!(message.contains("cannot reach the target"), "{message}");
    // The first of another kind passes.
    told.uninstall();
    told.call("run", &config).finish().expect_code(4);
    assert_eq!(receiver.kinds().last().map(String::as_str), Some("critical lineage_stop"));
}

#[test]
fn the_secrets_of_a_webhook_are_shown_nowhere() {
    let told = Told::in_step();
    let receiver = Receiver::answering(|_| Answer::Status(403));
    let url = format!("http://me:{SECRET}@{}/{SECRET}?t={SECRET}", receiver.authority());
    let config = format!(
        "[alerts]\nwebhook = '{url}'\nwebhook_headers = ['X-Token: {SECRET}']\n{}",
        told.command()
    );
    let mut sidecar = told.call("run", &config).args(["--log", "trace,ureq=trace"]).start();
    sidecar.await_line("replaying", LIMIT);
    told.set_aside(&mut sidecar);
    sidecar.await_line("an alert was not delivered", LIMIT);
    let mut said = vec![sidecar.terminate().expect_code(0)];
    assert!(receiver.came()[0].head.contains(&format!("/{SECRET}?t={SECRET}")));
    assert!(receiver.came()[0].head.to_lowercase().contains("authorization: basic "));
    for arguments in [&["status", "--json"][..], &["verify", "--json"], &["report", "--json"]] {
        said.push(told.call(arguments[0], &config).args(&arguments[1..]).finish());
    }
    told.uninstall();
    said.push(told.call("run", &config).args(["--log", "trace"]).finish().expect_code(4));
    let path = told.pair.directory().join("lite2pg.toml");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("it is ours");
    let exposed = told.call("status", &config).finish().expect_code(2);
    said.push(exposed.expect_error(&["holds a webhook and can be read by others", "chmod 600"]));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    for wrong in [
        "webhook = 'hunter2'".to_owned(),
        format!("webhook = '{url}'\nwebhook_headers = 'hunter2'"),
        format!("webhook = '{url}' hunter2"),
        format!("webhook = {{ url = '{url}' }}"),
    ] {
        said.push(told.call("status", &format!("[alerts]\n{wrong}")).finish().expect_code(2));
    }
    for ended in &said {
        assert!(!ended.stderr.contains(SECRET) && !ended.stdout.contains(SECRET), "{ended}");
    }
    let by_command = std::fs::read_to_string(told.told_file()).expect("something was told");
    assert!(!by_command.contains(SECRET), "{by_command}");
    for table in ["incidents", "position", "verifications", "notes"] {
        let found = told.pair.ask(&format!("select t::text from lite2pg.{table} t"));
        assert!(found.iter().all(|row| !row.contains(SECRET)), "{table}: {found:?}");
    }
}

#[test]
fn a_command_that_never_ends_does_not_outlive_the_run() {
    let told = Told::in_step();
    let pids = told.pair.directory().join("pids");
    let config = format!("[alerts]\ncommand = 'sleep 600 & echo $! $$ > {}; wait'", pids.display());
    let mut sidecar = told.run(&config);
    told.set_aside(&mut sidecar);
    let both = sidecar.until(|| {
        let text = std::fs::read_to_string(&pids).ok()?;
        text.ends_with('\n').then_some(text)
    });
    let ended = sidecar.terminate().expect_code(0);
    assert!(ended.stderr.contains("not all alerts could be delivered"), "{ended}");
    for pid in both.expect("it runs").split_whitespace() {
        let pid = Pid::from_raw(pid.parse().expect("a number"));
        wait_until(LIMIT, || nix::sys::signal::kill(pid, None).is_err().then_some(()))
            .unwrap_or_else(|| panic!("{pid} lives on"));
    }
}

#[test]
fn a_command_that_fails_is_a_line_in_the_log_with_what_it_said() {
    let told = Told::in_step();
    let config = "[alerts]\ncommand = 'echo no such mailbox >&2; exit 67'";
    let mut sidecar = told.run(config);
    told.set_aside(&mut sidecar);
    let line = sidecar.await_line("an alert was not delivered", LIMIT);
    assert!(line.contains("exit status: 67: no such mailbox"), "{line}");
    sidecar.terminate().expect_code(0);
}

#[test]
fn drift_that_verify_finds_is_told_and_equality_is_not() {
    let told = Told::in_step();
    let receiver = Receiver::start();
    let config = Told::webhook(&receiver, &told.command());
    told.call("verify", &config).arg("--full").finish().expect_code(0);
    assert_eq!(receiver.kinds(), [""; 0]);
    told.pair.target().run("update public.orders set note = 'z' where id < 3");
    told.call("verify", &config).arg("--full").finish().expect_code(1);
    let by_command = told.by_command();
    for alert in [&receiver.came()[0].body, first(&by_command, "drift")] {
        assert_eq!((&alert["kind"], &alert["severity"]), (&"drift".into(), &"critical".into()));
        let message = alert["message"].as_str().expect("text");
        assert!(message.contains("2 of 3 rows") && message.contains("orders 2"), "{message}");
        assert!(alert["position"].is_number() && alert["lineage"].is_object(), "{alert}");
    }
    told.pair.target().run("update public.orders set note = chr(96 + id::int)");
    let broken = format!("{config}\n[invariants.broken]\nsource = 'select 1'\ntarget = 'select 2'");
    told.call("verify", &broken).arg("--full").finish().expect_code(1);
    let alert = receiver.await_kind("verify_failed");
    assert!(alert["message"].as_str().expect("text").ends_with("invariant broken"), "{alert}");
    // That a row cannot be held was told when it was set aside.
    told.pair.write(REFUSED);
    told.pair.catch_up("").expect_code(0);
    told.call("verify", &config).arg("--full").finish().expect_code(1);
    told.uninstall();
    told.call("verify", &config).finish().expect_code(4);
    let expected = ["critical drift", "critical verify_failed", "critical lineage_stop"];
    assert_eq!(receiver.kinds(), expected);
}

#[test]
fn a_lost_target_is_told_after_a_while_and_so_is_its_return() {
    let told = Told::in_step();
    let receiver = Receiver::start();
    let (proxy, url) = proxy_to(&told.pair.database.url);
    let config = Told::webhook(&receiver, "target_lost = '1s'");
    let mut sidecar = told.call_as(&url, "run", &config).start();
    sidecar.await_line("replaying", LIMIT);
    proxy.refuse(true);
    proxy.cut_all();
    let alert = receiver.await_kind("target_lost");
    assert_eq!(alert["severity"], "warning");
    let message = alert["message"].as_str().expect("text");
    assert!(message.contains("no change is lost"), "{message}");
    proxy.refuse(false);
    // Also where nothing has been written meanwhile.
    receiver.await_kind("target_back");
    told.pair.write("insert into one values (1)");
    told.pair.await_step(&mut sidecar);
    sidecar.terminate().expect_code(0);
    assert_eq!(receiver.kinds(), ["warning target_lost", "info target_back"]);
}

#[test]
fn lag_beyond_its_limit_is_told_and_so_is_its_end() {
    let told = Told::in_step();
    let receiver = Receiver::start();
    let mut sidecar = told.run(&Told::webhook(&receiver, "lag = '1s'"));
    let blocker = Target::connect(&told.pair.database.url);
    blocker.run("begin; lock table public.orders");
    told.pair.write("insert into orders values (4, 'd')");
    let alert = receiver.await_kind("lag");
    assert_eq!(alert["severity"], "warning");
    blocker.run("rollback");
    receiver.await_kind("lag_over");
    told.pair.await_step(&mut sidecar);
    let ended = sidecar.terminate().expect_code(0);
    assert_eq!(receiver.kinds(), ["warning lag", "info lag_over"], "{ended}");
    assert!(ended.stderr.contains("the lag is beyond its limit"), "{ended}");
}

#[test]
fn an_https_webhook_is_trusted_by_the_systems_authorities_and_by_nothing_else() {
    let told = Told::in_step();
    let (secure, plain) = (Receiver::with_tls(), Receiver::start());
    let authority = told.pair.directory().join("ca.crt");
    std::fs::write(&authority, include_str!("support/tls/ca.crt")).expect("write");
    let other = told.pair.directory().join("other.crt");
    std::fs::write(&other, include_str!("support/tls/other_ca.crt")).expect("write");
    let run = |receiver: &Receiver, trusted: &PathBuf| {
        let config = format!("[alerts]\nwebhook = 'https://{}/'", receiver.authority());
        let url = "postgresql://nobody@127.0.0.1:1/none";
        told.call_as(url, "run", &config).env("SSL_CERT_FILE", trusted).finish().expect_code(3)
    };
    let ended = run(&secure, &authority);
    assert_eq!(secure.kinds(), ["critical run_ended"], "{ended}");
    let line = |ended: &Ended| {
        let found = ended.stderr.lines().find(|line| line.contains("was not delivered"));
        found.unwrap_or_else(|| panic!("no such line: {ended}")).to_owned()
    };
    let untrusted = line(&run(&secure, &other));
    assert!(untrusted.contains("UnknownIssuer"), "{untrusted}");
    let no_tls = line(&run(&plain, &authority));
    assert!(no_tls.contains("https://localhost"), "{no_tls}");
    assert_eq!((secure.kinds().len(), plain.kinds().len()), (1, 0));
}
