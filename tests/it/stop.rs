//! A signal ends the product in good order and soon, whatever it is doing, and the next run goes
//! on from there.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rusqlite::Connection;

use crate::support::proxy::{Act, Direction, Rule, When};
use crate::support::scene::{Scene, head};
use crate::support::sidecar::{LIMIT, Sidecar};
use crate::support::workload::Options;

/// A stop takes no longer, on a busy machine.
const STOP_MAX: Duration = Duration::from_secs(5);

/// Sends the signal, and fails the test unless the product ends soon and content.
fn stop(sidecar: Sidecar, signal: Signal) {
    let begun = Instant::now();
    sidecar.signal(signal);
    let ended = sidecar.wait(LIMIT).expect_code(0);
    assert!(begun.elapsed() < STOP_MAX, "it took {:?}: {ended}", begun.elapsed());
}

/// Runs to the end, and asks the judge.
fn finish(scene: &Scene) {
    scene.run(scene.url()).arg("--until-caught-up").finish().expect_code(0);
    scene.assert_equal();
}

#[test]
fn a_throttled_copy_stops_at_once() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let scene = Scene::with(Options { ballast_rows: 5_000, ..Options::new(1) });
        for limit in ["--copy-rows-per-second", "--copy-bytes-per-second"] {
            let mut sidecar = scene.run(scene.url()).args([limit, "10"]).start();
            let sql = "select phase = 'copying' from lite2pg.position";
            let copies = || {
                let target = crate::server::Target::try_connect(scene.url()).ok()?;
                let rows = target.try_query(sql).ok()?;
                (rows.first()?.first()?.as_deref() == Some("t")).then_some(())
            };
            sidecar.until(copies).expect("it copies");
            // Long enough for the workers to stand before the limit.
            sidecar.await_line("copying", LIMIT);
            stop(sidecar, signal);
        }
        finish(&scene);
    }
}

#[test]
fn an_idle_one_stops_at_once() {
    let scene = Scene::new(2);
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut sidecar = scene.run(scene.url()).start();
        scene.await_step(&mut sidecar);
        let is_idle = "select count(*) > 0 from pg_stat_activity where state = 'idle'
            and application_name = 'lite2pg apply' and datname = current_database()
            and interval '300 ms' < now() - state_change";
        crate::support::scene::await_on_target(&scene.target(), LIMIT, is_idle);
        assert!(sidecar.is_running(), "{}", sidecar.stderr());
        stop(sidecar, signal);
    }
    finish(&scene);
}

#[test]
fn one_whose_target_is_down_stops_at_once() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let scene = Scene::new(3);
        let (proxy, url) = scene.through_proxy();
        let writer = scene.write();
        let mut sidecar = scene.run(&url).start();
        scene.await_streaming(&mut sidecar);
        proxy.refuse(true);
        proxy.cut_all();
        sidecar.await_line("failures=4", LIMIT);
        stop(sidecar, signal);
        writer.stop();
        finish(&scene);
    }
}

#[test]
fn one_whose_target_says_nothing_stops_at_once() {
    let scene = Scene::new(4);
    let (proxy, url) = scene.through_proxy();
    let writer = scene.write();
    let mut sidecar = scene.run(&url).start();
    scene.await_streaming(&mut sidecar);
    let fired = proxy.counts().fired;
    let when = When::Bytes(1);
    proxy.add(Rule { direction: Direction::ToServer, when, act: Act::Blackhole });
    proxy.cut_all();
    proxy.wait_for(LIMIT, |counts| fired < counts.fired);
    stop(sidecar, Signal::SIGTERM);
    writer.stop();
    finish(&scene);
}

#[test]
fn one_that_waits_for_a_lock_stops_at_once() {
    let scene = Scene::new(5);
    let mut sidecar = scene.run(scene.url()).start();
    scene.await_streaming(&mut sidecar);
    let other = scene.target();
    other.run("begin; lock table public.account in access exclusive mode");
    let writer = scene.write();
    let is_waiting = "select count(*) > 0 from pg_stat_activity where wait_event_type = 'Lock'
        and application_name = 'lite2pg apply' and datname = current_database()";
    crate::support::scene::await_on_target(&scene.target(), LIMIT, is_waiting);
    stop(sidecar, Signal::SIGTERM);
    writer.stop();
    other.run("commit");
    finish(&scene);
}

#[test]
fn one_that_waits_for_the_source_stops_at_once() {
    let scene = Scene::new(6);
    let application = Connection::open(&scene.file).expect("open the source");
    application.execute_batch("begin immediate").expect("nobody else writes");
    let mut sidecar = scene.run(scene.url()).start();
    let session = "select count(*) > 0 from pg_stat_activity
        where application_name = 'lite2pg apply' and datname = current_database()";
    crate::support::scene::await_on_target(&scene.target(), LIMIT, session);
    assert!(sidecar.is_running(), "{}", sidecar.stderr());
    stop(sidecar, Signal::SIGTERM);
    application.execute_batch("rollback").expect("a rollback needs no lock");
    finish(&scene);
}

#[test]
fn one_that_is_catching_up_stops_at_once() {
    let scene = Scene::new(7);
    scene.run(scene.url()).arg("--until-caught-up").finish().expect_code(0);
    let application = Connection::open(&scene.file).expect("open the source");
    application
        .execute_batch(
            "pragma synchronous = off; begin;
             with recursive n(i) as (select 1 union all select i + 1 from n where i < 150000)
             insert into ballast select i + 100000, i, hex(randomblob(50)) from n; commit",
        )
        .expect("the rows fit");
    let applied = scene.applied();
    let mut sidecar = scene.run(scene.url()).start();
    let is_writing = "select count(*) > 0 from pg_stat_activity where state <> 'idle'
        and application_name = 'lite2pg apply' and datname = current_database()
        and (query ilike '%copy%' or query ilike '%insert into%')";
    crate::support::scene::await_on_target(&scene.target(), LIMIT, is_writing);
    assert!(sidecar.is_running(), "{}", sidecar.stderr());
    stop(sidecar, Signal::SIGTERM);
    // What is committed is a place in the changelog, and the rest is still there.
    let now = scene.applied();
    assert!(applied <= now && now <= Some(head(&scene.file)), "{applied:?} {now:?}");
    finish(&scene);
}
