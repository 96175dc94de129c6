//! Whatever happens to PostgreSQL or to the line that leads there, the target converges.
//!
//! Each test lets an application write, does one bad thing, and ends in the judge. Cuts are made
//! by the proxy at chosen bytes; `LITE2PG_CUTS` adds rounds of random ones (the seed is
//! printed, and `LITE2PG_SEED` replays it).

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use crate::generator::dice::Dice;
use crate::random::{SeedOnPanic, number_from_env, schema_seed};
use crate::server::Target;
use crate::support::cluster::ThrowawayCluster;
use crate::support::proxy::{Act, Direction, Proxy, Rule, When, query};
use crate::support::roles::as_superuser;
use crate::support::scene::{Scene, assert_equal, await_on_target, await_server, await_step, head};
use crate::support::sidecar::{Ended, LIMIT, Launch, Sidecar, wait_until};
use crate::support::workload::Options;

/// Rows that take a throttled copy about two seconds.
const COPY_ROWS: u64 = 24_000;

/// What throttles it; a test that is done with the copy begins without.
const COPY_RATE: [&str; 2] = ["--copy-rows-per-second", "12000"];

/// The words that begin a binary COPY on the line.
const COPY_DATA: &str = "PGCOPY\n";

/// Ends every session of the product on a target.
const TERMINATE: &str = "select count(pg_terminate_backend(pid)) from pg_stat_activity
    where application_name like 'lite2pg %' and datname = current_database()";

fn big(seed: u64) -> Scene {
    Scene::with(Options { rate: 200, ballast_rows: COPY_ROWS, ..Options::new(seed) })
}

/// Warnings and errors in a log.
fn complaints(log: &str) -> usize {
    log.lines().filter(|line| line.contains(" WARN ") || line.contains("ERROR ")).count()
}

/// A server of the test's own, and a file beside it.
struct Crashing {
    cluster: ThrowawayCluster,
    scene: Scene,
    url: String,
}

impl Crashing {
    fn new(seed: u64) -> Self {
        let cluster = ThrowawayCluster::new();
        let url = cluster.url("crashing");
        Self { cluster, scene: big(seed), url }
    }

    fn bounce(&mut self) {
        self.cluster.stop_immediate();
        self.cluster.start();
        await_server(&self.url);
    }

    fn await_sql(&self, sidecar: &mut Sidecar, sql: &str) {
        let target = Target::connect(&self.url);
        let is_so = || {
            let rows = target.try_query(sql).ok()?;
            (rows.first()?.first()?.as_deref() == Some("t")).then_some(())
        };
        sidecar.until(is_so).unwrap_or_else(|| panic!("it ended:\n{}", sidecar.stderr()));
    }

    fn end(&self, mut sidecar: Sidecar) -> Ended {
        await_step(&mut sidecar, &self.scene.file, &self.url);
        let ended = sidecar.terminate().expect_code(0);
        assert_equal(&self.scene.file, &self.url, "public");
        ended
    }
}

#[test]
fn a_server_that_crashes_during_the_copy_is_copied_to_on() {
    let mut crashing = Crashing::new(1);
    let writer = crashing.scene.write();
    let mut sidecar = Launch::run(&crashing.scene.file, &crashing.url).args(COPY_RATE).start();
    crashing.await_sql(
        &mut sidecar,
        "select sum(rows) > 0 and max(phase) = 'copying'
           from lite2pg.copy_progress, lite2pg.position",
    );
    crashing.bounce();
    writer.await_commits(50);
    writer.stop();
    let ended = crashing.end(sidecar);
    assert!(ended.stderr.contains("lost the target"), "{ended}");
}

#[test]
fn a_server_that_crashes_while_it_is_replayed_to_is_caught_up_with() {
    let mut crashing = Crashing::new(2);
    let writer = crashing.scene.write();
    let mut sidecar = Launch::run(&crashing.scene.file, &crashing.url).start();
    for _ in 0..number_from_env("LITE2PG_CUTS", 3) {
        crashing.await_sql(
            &mut sidecar,
            "select phase = 'streaming' and applied > 100 from lite2pg.position",
        );
        writer.await_commits(30);
        crashing.bounce();
        writer.await_commits(30);
    }
    writer.stop();
    crashing.end(sidecar);
}

/// Once the product claimed the target, a standby in its place may become a primary again.
#[test]
fn a_server_in_recovery_is_waited_for() {
    let mut crashing = Crashing::new(3);
    let writer = crashing.scene.write();
    let mut sidecar = Launch::run(&crashing.scene.file, &crashing.url).start();
    crashing.await_sql(
        &mut sidecar,
        "select phase = 'streaming' and applied > 100 from lite2pg.position",
    );
    crashing.cluster.stop_immediate();
    let signal = crashing.cluster.cluster().data_dir().join("standby.signal");
    std::fs::write(&signal, "").expect("the directory is there");
    let owner = std::fs::metadata(signal.parent().expect("it has one")).expect("it is there");
    std::os::unix::fs::chown(&signal, Some(owner.uid()), Some(owner.gid())).expect("its own");
    crashing.cluster.start();
    sidecar.await_line("is a standby", LIMIT);
    Target::connect(&crashing.url).run("select pg_promote(true)");
    writer.await_commits(30);
    writer.stop();
    crashing.end(sidecar);
}

/// Runs until it streams (or is in mid-copy), adds a rule, and waits until it has acted.
fn cut_once(seed: u64, in_copy: bool, rule: Rule) {
    let scene = if in_copy { big(seed) } else { Scene::new(seed) };
    let (proxy, url) = scene.through_proxy();
    let writer = scene.write();
    let launch = scene.run(&url);
    if matches!(rule.when, When::BytesAfter(..)) {
        // It counts from the first COPY of a connection on.
        proxy.add(rule.clone());
    }
    let mut sidecar = if in_copy { launch.args(COPY_RATE) } else { launch }.start();
    if in_copy {
        scene.await_mid_copy(&mut sidecar);
    } else {
        scene.await_streaming(&mut sidecar);
    }
    if !matches!(rule.when, When::BytesAfter(..)) {
        proxy.add(rule);
    }
    proxy.wait_for(LIMIT, |counts| counts.fired == 1);
    writer.await_commits(50);
    writer.stop();
    scene.end(sidecar);
}

#[test]
fn a_line_cut_in_mid_copy_is_taken_up_again() {
    cut_once(4, true, Rule::cut_in_copy(COPY_DATA, 100_000));
}

#[test]
fn a_commit_of_the_copy_that_never_arrives_is_repeated() {
    cut_once(5, true, Rule::lose_query("commit"));
}

#[test]
fn a_commit_of_the_copy_whose_reply_is_lost_is_not_doubled() {
    cut_once(6, true, Rule::lose_commit_reply());
}

#[test]
fn a_commit_of_a_batch_that_never_arrives_is_repeated() {
    cut_once(7, false, Rule::lose_query("commit"));
}

#[test]
fn a_commit_of_a_batch_whose_reply_is_lost_is_not_doubled() {
    cut_once(8, false, Rule::lose_commit_reply());
}

/// A line that takes everything and answers nothing, as behind a stuck firewall. TCP sees nothing
/// wrong with it.
fn stall_once(seed: u64, in_copy: bool, rule: Rule) {
    let scene = if in_copy { big(seed) } else { Scene::new(seed) };
    let (proxy, url) = scene.through_proxy();
    let url = format!("{url}&tcp_user_timeout=1500&connect_timeout=2");
    let writer = scene.write();
    let launch = scene.run(&url);
    let mut sidecar = if in_copy { launch.args(COPY_RATE) } else { launch }.start();
    if in_copy {
        scene.await_mid_copy(&mut sidecar);
    } else {
        scene.await_streaming(&mut sidecar);
    }
    proxy.add(rule);
    proxy.wait_for(LIMIT, |counts| counts.fired == 1);
    let begun = Instant::now();
    sidecar.await_line("has not answered for 1 s, and is not at work for us", LIMIT);
    assert!(begun.elapsed() < Duration::from_secs(20), "it took {:?}", begun.elapsed());
    writer.await_commits(50);
    writer.stop();
    scene.end(sidecar);
}

fn blackhole(direction: Direction, pattern: Vec<u8>) -> Rule {
    Rule { direction, when: When::Pattern(pattern), act: Act::Blackhole }
}

#[test]
fn a_line_that_goes_dead_before_a_commit_is_given_up() {
    stall_once(9, false, blackhole(Direction::ToServer, query("commit")));
}

#[test]
fn a_line_that_goes_dead_before_the_reply_to_a_commit_is_given_up() {
    let reply = crate::support::proxy::COMMIT_REPLY.to_vec();
    stall_once(10, false, blackhole(Direction::ToClient, reply));
}

#[test]
fn a_line_that_goes_dead_in_mid_copy_is_given_up() {
    stall_once(11, true, blackhole(Direction::ToServer, COPY_DATA.into()));
}

/// The server works; only its reply is long in coming. That is no dead line.
#[test]
fn a_server_that_is_at_work_for_long_is_not_given_up() {
    let scene = Scene::new(12);
    let (_proxy, url) = scene.through_proxy();
    let url = format!("{url}&tcp_user_timeout=600");
    let mut sidecar = scene.run(&url).start();
    scene.await_streaming(&mut sidecar);
    let other = scene.target();
    other.run("begin; lock table public.account, public.item, public.ballast");
    let writer = scene.write();
    writer.await_commits(700);
    other.run("commit");
    writer.stop();
    scene.await_step(&mut sidecar);
    let ended = sidecar.terminate().expect_code(0);
    assert_eq!(complaints(&ended.stderr), 0, "{ended}");
    scene.assert_equal();
}

/// New connections are accepted and never answered.
#[test]
fn a_server_that_accepts_and_says_nothing_is_asked_again() {
    let scene = Scene::new(13);
    let (proxy, url) = scene.through_proxy();
    let url = format!("{url}&connect_timeout=2");
    let writer = scene.write();
    let mut sidecar = scene.run(&url).start();
    scene.await_streaming(&mut sidecar);
    let when = When::Bytes(1);
    proxy.add(Rule { direction: Direction::ToServer, when, act: Act::Blackhole });
    proxy.cut_all();
    sidecar.await_line("did not answer within 2 s", LIMIT);
    writer.stop();
    scene.end(sidecar);
}

#[test]
fn an_outage_of_ten_seconds_is_a_handful_of_lines_in_the_log() {
    let scene = Scene::new(14);
    let (proxy, url) = scene.through_proxy();
    let writer = scene.write();
    let mut sidecar = scene.run(&url).start();
    scene.await_streaming(&mut sidecar);
    let before = sidecar.stderr().lines().count();
    proxy.refuse(true);
    proxy.cut_all();
    let attempts = proxy.counts().connections;
    // The outage is measured in what the application does meanwhile.
    writer.await_commits(2_000);
    assert!(sidecar.is_running());
    let log = sidecar.stderr();
    let said: Vec<&str> = log.lines().skip(before).collect();
    assert!((1..=6).contains(&said.len()), "{said:#?}");
    let attempts = proxy.counts().connections - attempts;
    assert!((3..=12).contains(&attempts), "{attempts} attempts in ten seconds");
    proxy.refuse(false);
    sidecar.await_line("the target is back", LIMIT);
    writer.stop();
    scene.end(sidecar);
}

#[test]
fn terminated_sessions_are_opened_again() {
    let scene = big(15);
    let writer = scene.write();
    let mut sidecar = scene.run(scene.url()).args(COPY_RATE).start();
    let target = scene.target();
    scene.await_mid_copy(&mut sidecar);
    target.run(TERMINATE);
    scene.await_streaming(&mut sidecar);
    for _ in 0..5 {
        let pids = "select coalesce(array_agg(pid order by pid), '{}')::text from pg_stat_activity
                     where application_name = 'lite2pg apply' and datname = current_database()";
        let before = target.query(pids);
        target.run(TERMINATE);
        writer.await_commits(20);
        let is_new = || {
            let now = target.query(pids);
            (now != before && now[0][0].as_deref() != Some("{}")).then_some(())
        };
        sidecar.until(is_new).expect("a new session");
    }
    writer.stop();
    scene.end(sidecar);
}

#[test]
fn a_target_that_becomes_read_only_is_waited_for() {
    let scene = Scene::new(16);
    let name = scene.target().query("select current_database()").remove(0).remove(0);
    let name = name.expect("a database has a name");
    let read_only = format!("alter database {name} set default_transaction_read_only = on");
    let target = scene.target();
    target.run(&read_only);
    // Nobody relies on us yet: say it and end.
    let ended = scene.run(scene.url()).finish().expect_code(2);
    ended.expect_error(&["is read-only", "default_transaction_read_only", "hint: "]);
    let reset = "set default_transaction_read_only = off";
    target.run(&format!("{reset}; alter database {name} reset default_transaction_read_only"));

    let writer = scene.write();
    let mut sidecar = scene.run(scene.url()).start();
    scene.await_streaming(&mut sidecar);
    target.run(&format!("{read_only}; {TERMINATE}"));
    sidecar.await_line("is read-only for", LIMIT);
    target.run(&format!("{reset}; alter database {name} reset default_transaction_read_only"));
    writer.await_commits(20);
    writer.stop();
    scene.end(sidecar);
}

/// A trigger that fires for replicas too and says what a full disk says.
fn plant_trigger(target: &Target, code: &str) {
    target.run(&format!(
        "create function public.\"guard it\"() returns trigger language plpgsql as $$
         begin raise exception 'no more room' using errcode = '{code}'; end $$;
         create trigger \"keep out\" before insert or update on public.item
             for each row execute function public.\"guard it\"();
         alter table public.item enable always trigger \"keep out\""
    ));
}

#[test]
fn a_full_disk_is_waited_out() {
    let scene = Scene::new(17);
    let mut sidecar = scene.run(scene.url()).start();
    scene.await_streaming(&mut sidecar);
    let target = scene.target();
    plant_trigger(&target, "53100");
    let writer = scene.write();
    sidecar.await_line("no more room (SQLSTATE 53100)", LIMIT);
    let stuck = scene.applied();
    writer.await_commits(100);
    assert!(stuck < Some(head(&scene.file)) && sidecar.is_running());
    target.run("drop trigger \"keep out\" on public.item");
    writer.stop();
    scene.end(sidecar);
}

#[test]
fn a_trigger_that_keeps_rows_out_is_named() {
    let scene = Scene::new(18);
    let mut sidecar = scene.run(scene.url()).start();
    scene.await_streaming(&mut sidecar);
    let target = scene.target();
    plant_trigger(&target, "P0001");
    let writer = scene.write();
    let ended = sidecar.wait(LIMIT).expect_code(1);
    writer.stop();
    let stop = "alter table public.item disable trigger \"keep out\"";
    ended.expect_error(&["trigger \"keep out\" on public.item", "no more room", "hint: ", stop]);
    target.run(stop);
    scene.run(scene.url()).arg("--until-caught-up").finish().expect_code(0);
    scene.assert_equal();
}

#[test]
fn a_lock_on_a_target_table_is_waited_out() {
    let scene = Scene::new(19);
    let mut sidecar = scene.run(scene.url()).start();
    scene.await_streaming(&mut sidecar);
    let writer = scene.write();
    writer.await_commits(50);
    let other = scene.target();
    other.run("begin; lock table public.account in access exclusive mode");
    writer.await_commits(600);
    let stuck = scene.applied().expect("there is a position");
    assert!(stuck < head(&scene.file), "a lock on a table that every transfer writes was no lock");
    other.run("commit");
    writer.stop();
    scene.await_step(&mut sidecar);
    let ended = sidecar.terminate().expect_code(0);
    assert_eq!(complaints(&ended.stderr), 0, "{ended}");
    scene.assert_equal();
}

/// A role that owns its database and nothing else; gone when dropped.
struct Role {
    name: String,
    url: String,
    admin: String,
}

impl Role {
    fn owning(scene: &Scene) -> Self {
        let admin = as_superuser(scene.url());
        let target = scene.target();
        let database = target.query("select current_database()").remove(0).remove(0);
        let database = database.expect("a database has a name");
        let name = format!("role_{database}");
        target.run(&format!(
            "drop schema if exists lite2pg;
             create role {name} login password 'none'; alter database {database} owner to {name};
             alter schema public owner to {name}"
        ));
        let at = admin.find("://").expect("a URL has a scheme") + 3;
        let host = admin[at..].find('@').expect("the fixture names a user") + at;
        let url = format!("{}{name}:none{}", &admin[..at], &admin[host..]);
        Self { name, url, admin }
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let Self { name, admin, .. } = self;
        let gone = Target::try_connect(admin).and_then(|target| {
            target.try_query(&format!(
                "reassign owned by {name} to current_user; drop owned by {name}; drop role {name}"
            ))
        });
        if let Err(error) = gone {
            eprintln!("role {name} stays behind: {error}");
        }
    }
}

/// Every setting of a session that changes how values are read or written, or how long anything
/// may take, as badly as a role can have them.
const BAD_SETTINGS: &[(&str, &str)] = &[
    ("statement_timeout", "'5ms'"),
    ("lock_timeout", "'5ms'"),
    ("idle_in_transaction_session_timeout", "'5ms'"),
    ("idle_session_timeout", "'20ms'"),
    ("bytea_output", "escape"),
    ("\"DateStyle\"", "'German, DMY'"),
    ("\"IntervalStyle\"", "sql_standard"),
    ("\"TimeZone\"", "'Asia/Kathmandu'"),
    ("standard_conforming_strings", "off"),
    ("backslash_quote", "on"),
    ("client_encoding", "latin1"),
    ("search_path", "nowhere"),
    ("synchronous_commit", "off"),
    ("extra_float_digits", "-15"),
    ("default_transaction_isolation", "serializable"),
    ("array_nulls", "off"),
    ("transform_null_equals", "on"),
    ("quote_all_identifiers", "on"),
    ("check_function_bodies", "off"),
    ("default_toast_compression", "pglz"),
];

#[test]
fn settings_of_the_role_change_nothing() {
    let scene = big(20);
    let role = Role::owning(&scene);
    let target = scene.target();
    for (name, value) in BAD_SETTINGS {
        target.run(&format!("alter role {} set {name} = {value}", role.name));
    }
    let mut sidecar = scene.run(&role.url).args(COPY_RATE).start();
    let writer = scene.write();
    scene.await_mid_copy(&mut sidecar);
    scene.await_streaming(&mut sidecar);
    target.run("begin; lock table public.account in access exclusive mode");
    writer.await_commits(200);
    target.run("commit");
    writer.stop();
    scene.await_step(&mut sidecar);
    let ended = sidecar.terminate().expect_code(0);
    assert!(!ended.stderr.contains("lost the target"), "{ended}");
    scene.assert_equal();
}

/// Where `session_replication_role` may not be set, the owner's triggers do fire.
#[test]
fn a_trigger_is_named_to_a_role_without_privileges_too() {
    let scene = Scene::new(21);
    let role = Role::owning(&scene);
    let mut sidecar = scene.run(&role.url).start();
    scene.await_streaming(&mut sidecar);
    let target = Target::connect(&role.url);
    plant_trigger(&target, "P0001");
    target.run("alter table public.item enable trigger \"keep out\"");
    let writer = scene.write();
    let ended = sidecar.wait(LIMIT).expect_code(1);
    writer.stop();
    ended.expect_error(&["trigger \"keep out\" on public.item"]);
    target.run("drop trigger \"keep out\" on public.item");
    scene.run(&role.url).arg("--until-caught-up").finish().expect_code(0);
    scene.assert_equal();
}

/// The SQL that a hint gives, between backquotes.
fn advice(ended: &Ended) -> String {
    let hint = ended.stderr.split("hint: ").nth(1).expect("there is a hint");
    hint.split('`').nth(1).expect("the hint holds a command").to_owned()
}

/// What is said of a table that somebody altered.
const ALTERED: &str = "is not as lite2pg made it";

fn alter_and_follow_the_hint(seed: u64, alteration: &str, said_at_start: &str) {
    let scene = Scene::new(seed);
    let mut sidecar = scene.run(scene.url()).start();
    scene.await_streaming(&mut sidecar);
    let target = scene.target();
    target.run(alteration);
    let writer = scene.write();
    let ended = sidecar.wait(LIMIT).expect_code(1);
    writer.await_commits(20);
    let ended = ended.expect_error(&["public.item", ALTERED, "hint: "]);
    // Starting again changes nothing.
    let again = scene.run(scene.url()).finish().expect_code(1);
    again.expect_error(&[said_at_start]);
    target.run(&advice(&ended));
    writer.stop();
    scene.run(scene.url()).arg("--until-caught-up").finish().expect_code(0);
    scene.assert_equal();
    let unbuilt = "select name from lite2pg.objects
                    where belongs_to = 'item' and kind = 'index' and state <> 'built'";
    assert_eq!(target.query(unbuilt), Vec::<Vec<Option<String>>>::new());
}

#[test]
fn a_column_dropped_on_the_target_is_named_and_the_hint_mends_it() {
    alter_and_follow_the_hint(22, "alter table public.item drop column price", ALTERED);
}

#[test]
fn a_column_of_another_type_on_the_target_is_named_and_the_hint_mends_it() {
    alter_and_follow_the_hint(
        23,
        "alter table public.item alter column price type date using null",
        ALTERED,
    );
}

#[test]
fn a_table_dropped_on_the_target_is_named_and_the_hint_mends_it() {
    let said = "which was replicated";
    alter_and_follow_the_hint(24, "drop table public.item cascade", said);
}

#[test]
fn a_column_added_on_the_target_is_left_alone() {
    let scene = Scene::new(25);
    let writer = scene.write();
    let mut sidecar = scene.run(scene.url()).start();
    scene.await_streaming(&mut sidecar);
    let target = scene.target();
    target.run("alter table public.item add column note text default 'mine'");
    writer.await_commits(200);
    writer.stop();
    scene.await_step(&mut sidecar);
    sidecar.terminate().expect_code(0);
    let ours = target.query("select count(*) > 0 from public.item where note = 'mine'");
    assert_eq!(ours[0][0].as_deref(), Some("t"));
    target.run("alter table public.item drop column note");
    scene.assert_equal();
}

/// One fault, drawn from the dice, and the wait until it has happened.
fn random_fault(proxy: &Proxy, target: &Target, dice: &mut Dice) -> String {
    let fired = proxy.counts().fired;
    let bytes = dice.below(20_000) as u64;
    let directions = [Direction::ToServer, Direction::ToClient];
    let rule = match dice.below(8) {
        0 => Rule::lose_commit_reply(),
        1 => Rule::lose_query("commit"),
        2 => {
            let when = When::Pattern(query("commit"));
            Rule { direction: Direction::ToServer, when, act: Act::CutAfter }
        }
        3 => {
            let when = When::BytesAfter(query("begin"), bytes % 400);
            Rule { direction: Direction::ToServer, when, act: Act::CutBefore }
        }
        4 => {
            let (direction, when) = (dice.pick(&directions), When::Bytes(bytes));
            proxy.cut_all();
            Rule { direction, when, act: dice.pick(&[Act::CutBefore, Act::CutAfter]) }
        }
        5 => {
            target.run(TERMINATE);
            return "terminated".to_owned();
        }
        6 => {
            proxy.cut_all();
            return "cut all".to_owned();
        }
        _ => {
            let when = When::Pattern(query("commit"));
            let act = Act::Delay(Duration::from_millis(50 + bytes / 40));
            Rule { direction: Direction::ToServer, when, act }
        }
    };
    proxy.add(rule.clone());
    let has_fired = || (fired < proxy.counts().fired).then_some(());
    if wait_until(Duration::from_secs(5), has_fired).is_none() {
        // So many bytes did not come by; the next round draws again.
        proxy.clear();
    }
    format!("{rule:?}")
}

/// `LITE2PG_CUTS` rounds, of which some hit the copy.
#[test]
fn random_cuts_leave_both_sides_equal() {
    let seed = schema_seed(0);
    let _replay = SeedOnPanic(seed);
    let mut dice = Dice::new(seed);
    let scene = big(seed);
    let (proxy, url) = scene.through_proxy();
    let url = format!("{url}&tcp_user_timeout=2000&connect_timeout=2");
    let writer = scene.write();
    let mut sidecar = scene.run(&url).args(COPY_RATE).start();
    let target = scene.target();
    scene.await_mid_copy(&mut sidecar);
    for round in 0..number_from_env("LITE2PG_CUTS", 12) {
        let fault = random_fault(&proxy, &target, &mut dice);
        println!("{round}: {fault}");
        assert!(sidecar.is_running(), "seed {seed}, {fault}:\n{}", sidecar.stderr());
        writer.await_commits(20);
    }
    proxy.clear();
    writer.stop();
    await_on_target(&target, LIMIT, "select phase = 'streaming' from lite2pg.position");
    scene.end(sidecar);
}
