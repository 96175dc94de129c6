//! One sidecar per target, whoever starts, dies, sleeps or wakes up when.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rusqlite::Connection;

use crate::generator::dice::Dice;
use crate::random::{SeedOnPanic, number_from_env, schema_seed};
use crate::server::Target;
use crate::support::scene::{Scene, assert_equal, await_on_target, await_step, head};
use crate::support::sidecar::{LIMIT, Sidecar, wait_until};
use crate::support::workload::{self, Options};

/// Ends the sessions of the product on a target, as a cut network would in the end.
const TERMINATE: &str = "select count(pg_terminate_backend(pid)) from pg_stat_activity
    where application_name like 'lite2pg %' and datname = current_database()";

/// Starts two at once, on a fresh or a known target, some thousandths of a second apart.
fn start_two(scene: &Scene, dice: &mut Dice) -> [Sidecar; 2] {
    let one = scene.run(scene.url()).start();
    let pause = Duration::from_micros(dice.below(40_000) as u64);
    let due = Instant::now() + pause;
    while Instant::now() < due {
        std::hint::spin_loop();
    }
    [one, scene.run(scene.url()).start()]
}

/// Which run has the target.
fn epoch(target: &Target) -> i64 {
    let rows = target.query("select epoch from lite2pg.position");
    rows[0][0].as_deref().and_then(|epoch| epoch.parse().ok()).expect("there is an epoch")
}

/// Asks whether another run has claimed it since.
fn claimed_after(epoch: i64) -> String {
    format!("select {epoch} < epoch from lite2pg.position")
}

/// The one that goes on, after the other has ended as it should.
fn winner_of(pair: [Sidecar; 2]) -> Sidecar {
    let deadline = Instant::now() + LIMIT;
    let [mut one, mut other] = pair;
    while one.is_running() && other.is_running() {
        assert!(Instant::now() < deadline, "both go on:\n{}\n{}", one.stderr(), other.stderr());
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let (winner, loser) = if one.is_running() { (one, other) } else { (other, one) };
    let ended = loser.wait(LIMIT).expect_code(1);
    ended.expect_error(&["another lite2pg", "hint: One sidecar per target"]);
    winner
}

#[test]
fn of_two_started_at_once_one_works_and_the_other_says_so() {
    let seed = schema_seed(0);
    let _replay = SeedOnPanic(seed);
    let mut dice = Dice::new(seed);
    let scene = Scene::new(seed);
    let writer = scene.write();
    // The first round is on a target that nobody has ever written to.
    for _ in 0..number_from_env("LITE2PG_STARTS", 3) {
        let mut winner = winner_of(start_two(&scene, &mut dice));
        scene.await_streaming(&mut winner);
        writer.await_commits(20);
        winner.terminate().expect_code(0);
    }
    writer.stop();
    scene.run(scene.url()).arg("--until-caught-up").finish().expect_code(0);
    scene.assert_equal();
}

#[test]
fn a_second_one_takes_over_at_once_when_the_first_is_killed() {
    let scene = Scene::new(2);
    let writer = scene.write();
    let mut sidecar = scene.run(scene.url()).start();
    scene.await_streaming(&mut sidecar);
    for _ in 0..5 {
        writer.await_commits(30);
        assert!(sidecar.kill().was_killed());
        let applied = scene.applied();
        let begun = Instant::now();
        sidecar = scene.run(scene.url()).start();
        let is_further = || (applied < scene.applied()).then_some(());
        sidecar.until(is_further).expect("it takes over");
        assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
    }
    writer.stop();
    scene.end(sidecar);
}

/// The first is killed while the server works for it: it waits for a lock that somebody else
/// holds. The second must not have to wait for that.
#[test]
fn a_second_one_takes_over_from_one_that_was_killed_while_it_waited() {
    let scene = Scene::new(3);
    let mut first = scene.run(scene.url()).start();
    scene.await_streaming(&mut first);
    let other = scene.target();
    other.run("begin; lock table public.account in access exclusive mode");
    let writer = scene.write();
    let watching = scene.target();
    let is_waiting = "select count(*) > 0 from pg_stat_activity where wait_event_type = 'Lock'
        and application_name = 'lite2pg apply' and datname = current_database()";
    await_on_target(&watching, LIMIT, is_waiting);
    let epoch = epoch(&watching);
    assert!(first.kill().was_killed());
    let mut second = scene.run(scene.url()).start();
    await_on_target(&watching, LIMIT, &claimed_after(epoch));
    other.run("commit");
    writer.stop();
    scene.await_step(&mut second);
    scene.end(second);
}

/// Stops the first with work in hand, lets a second take over, wakes the first.
#[test]
fn one_that_slept_while_another_took_over_writes_nothing() {
    let scene = Scene::new(4);
    let writer = scene.write();
    let mut first = scene.run(scene.url()).start();
    scene.await_streaming(&mut first);
    writer.await_commits(50);
    first.signal(Signal::SIGSTOP);
    writer.await_commits(50);
    // While its sessions live the second one does not even try.
    let refused = scene.run(scene.url()).finish().expect_code(1);
    refused.expect_error(&["another lite2pg is at work on this target: server process"]);
    scene.target().run(TERMINATE);
    let target = scene.target();
    let epoch = epoch(&target);
    let mut second = scene.run(scene.url()).start();
    await_on_target(&target, LIMIT, &claimed_after(epoch));
    writer.await_commits(50);
    first.signal(Signal::SIGCONT);
    let ended = first.wait(LIMIT).expect_code(1);
    ended.expect_error(&["another lite2pg"]);
    writer.await_commits(50);
    assert!(second.is_running(), "{}", second.stderr());
    writer.stop();
    scene.end(second);
}

/// The epoch alone keeps it out: no lock, no lost session, nothing but another number.
#[test]
fn one_that_slept_finds_another_epoch_and_writes_nothing() {
    let scene = Scene::new(5);
    let writer = scene.write();
    let mut first = scene.run(scene.url()).start();
    scene.await_streaming(&mut first);
    writer.await_commits(50);
    first.signal(Signal::SIGSTOP);
    writer.await_commits(50);
    let writer = writer.stop();
    assert!(0 < writer.committed);
    let target = scene.target();
    target.run("update lite2pg.position set epoch = epoch + 1");
    let state = "select applied, token, (select md5(string_agg(a::text, ',' order by id)) from
                 public.account a) from lite2pg.position";
    let before = target.query(state);
    // A statement that had been sent before it slept may have arrived; nothing may after.
    first.signal(Signal::SIGCONT);
    first.wait(LIMIT).expect_code(1).expect_error(&["another lite2pg has taken over this target"]);
    assert!(scene.applied() < Some(head(&scene.file)));
    assert_eq!(target.query(state), before);
    scene.run(scene.url()).arg("--until-caught-up").finish().expect_code(0);
    scene.assert_equal();
}

/// The same while it copies: workers have sessions of their own.
#[test]
fn one_that_slept_during_its_copy_writes_nothing_after_another_took_over() {
    let scene = Scene::with(Options { ballast_rows: 20_000, ..Options::new(6) });
    let mut first = scene.run(scene.url()).args(["--copy-rows-per-second", "8000"]).start();
    scene.await_mid_copy(&mut first);
    let target = scene.target();
    target.run("set lock_timeout = '100ms'");
    // Asleep inside a transaction it would keep the row locked, and nobody could take over.
    let is_taken = || {
        first.signal(Signal::SIGSTOP);
        let taken = target.try_query("update lite2pg.position set epoch = epoch + 1");
        if taken.is_err() {
            first.signal(Signal::SIGCONT);
        }
        taken.ok()
    };
    wait_until(LIMIT, is_taken).expect("it sleeps between two transactions at last");
    let state = "select sum(rows) from lite2pg.copy_progress";
    let before = target.query(state);
    first.signal(Signal::SIGCONT);
    first.wait(LIMIT).expect_code(1).expect_error(&["another lite2pg has taken over this target"]);
    assert_eq!(target.query(state), before);
    scene.run(scene.url()).arg("--until-caught-up").finish().expect_code(0);
    scene.assert_equal();
}

/// Another source for a target that is in use, or was: refused, with nothing written to either.
#[test]
fn another_source_is_refused_and_stays_as_it_was() {
    let scene = Scene::new(7);
    let other = scene.directory().join("other.db");
    workload::create(&other, &Options::new(8));
    let schema = || -> Vec<String> {
        let source = Connection::open(&other).expect("open the other source");
        let mut statement = source.prepare("select name from sqlite_schema").expect("a query");
        let names = statement.query_map([], |row| row.get(0)).expect("a query");
        names.collect::<Result<_, _>>().expect("names")
    };
    let before = schema();
    let writer = scene.write();
    let mut sidecar = scene.run(scene.url()).start();
    scene.await_streaming(&mut sidecar);
    let run_other = |schema: &str| {
        crate::support::sidecar::Launch::run(&other, scene.url())
            .args(["--target-schema", schema])
            .finish()
    };
    for schema in ["public", "elsewhere"] {
        run_other(schema).expect_code(1).expect_error(&["another lite2pg is at work"]);
    }
    writer.stop();
    await_step(&mut sidecar, &scene.file, scene.url());
    sidecar.terminate().expect_code(0);
    for schema in ["public", "elsewhere"] {
        let ended = run_other(schema).expect_code(4);
        ended.expect_error(&["lineage stop", "lite2pg guard"]);
    }
    assert_eq!(schema(), before, "something was put into the source that was refused");
    assert_equal(&scene.file, scene.url(), "public");
}
