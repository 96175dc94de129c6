//! Reaching a PostgreSQL: the private cluster, sessions, and lines that break.

use std::path::Path;
use std::sync::Barrier;
use std::time::Duration;

use lite2pg::target::connect::{self, Error};
use lite2pg::target::conninfo::{ConnInfo, Remedy};
use lite2pg::target::private::{self, PrivateCluster, ROLE, Shutdown, Tuning};

use crate::support::cluster::{self, ThrowawayCluster, parse};
use crate::support::database::TestDatabase;
use crate::support::proxy::{Act, Direction, Proxy, Rule, Upstream, When};

/// How long a test waits for what should take milliseconds.
const LIMIT: Duration = Duration::from_secs(20);

async fn refused(conninfo: &ConnInfo) -> Error {
    match connect::connect(conninfo, "test").await {
        Ok(_) => panic!("{conninfo} should have been refused"),
        Err(error) => error,
    }
}

fn assert_stops(error: &Error, word: &str) {
    match error.remedy() {
        Remedy::Retry => panic!("{error} would be retried for ever"),
        Remedy::Stop { hint } => assert!(hint.contains(word), "{error}: {hint}"),
    }
}

#[test]
fn each_test_gets_an_empty_database_and_leaves_none_behind() {
    let (first, second) = (TestDatabase::create(), TestDatabase::create());
    assert_ne!(first.name(), second.name());
    let gone = second.conninfo();
    drop(second);
    let error = cluster::block_on(async move { refused(&gone).await });
    assert!(matches!(error, Error::NoSuchDatabase { .. }), "{error:?}");
    assert_stops(&error, "createdb");
}

/// A role, a database and PGOPTIONS may all say otherwise; the session's settings hold.
#[tokio::test]
async fn session_settings_win_over_those_of_role_database_and_options() {
    let database = TestDatabase::create();
    let admin = database.client().await;
    let name = database.name();
    let sql = format!(
        "alter database {name} set search_path = public; \
         alter database {name} set timezone = 'Asia/Tokyo'; \
         alter database {name} set bytea_output = 'escape'; \
         alter database {name} set statement_timeout = '1s'; \
         alter database {name} set synchronous_commit = off"
    );
    admin.batch_execute(&sql).await.expect("alter database");
    let mut conninfo = database.conninfo();
    conninfo.options = Some("-c datestyle=German -c extra_float_digits=0".to_owned());
    let client = cluster::session(&conninfo).await;
    for (setting, wanted) in [
        ("search_path", "pg_catalog"),
        ("timezone", "UTC"),
        ("bytea_output", "hex"),
        ("statement_timeout", "0"),
        ("synchronous_commit", "on"),
        ("datestyle", "ISO, YMD"),
        ("extra_float_digits", "3"),
    ] {
        let row = client.query_one("select current_setting($1)", &[&setting]).await.expect("ask");
        assert_eq!(row.get::<_, String>(0), wanted, "{setting}");
    }
}

#[tokio::test]
async fn a_database_that_cannot_hold_every_text_is_refused() {
    let database = TestDatabase::create();
    let admin = database.client().await;
    let latin = format!("{}_latin1", database.name());
    let sql = format!(
        "create database {latin} template template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'"
    );
    admin.batch_execute(&sql).await.expect("create a LATIN1 database");
    let error = refused(&database.conninfo().with_dbname(&latin)).await;
    admin.batch_execute(&format!("drop database {latin} with (force)")).await.expect("drop");
    assert!(matches!(&error, Error::NotUtf8 { encoding, .. } if encoding == "LATIN1"), "{error:?}");
    assert_stops(&error, "UTF8");
}

#[tokio::test]
async fn a_read_only_database_is_refused_and_not_overruled() {
    let database = TestDatabase::create();
    let admin = database.client().await;
    let sql = format!("alter database {} set default_transaction_read_only = on", database.name());
    admin.batch_execute(&sql).await.expect("alter database");
    let error = refused(&database.conninfo()).await;
    assert!(matches!(error, Error::ReadOnly { .. }), "{error:?}");
    assert_stops(&error, "default_transaction_read_only");
}

#[test]
fn passwords_are_checked_and_never_shown() {
    let server = ThrowawayCluster::new();
    let url = server.url("db");
    server
        .cluster()
        .execute("create role guest login password 'right one'")
        .expect("create a role");
    let guest = url.replace(&format!("user={ROLE}"), "user=guest");
    let with = |password: &str| parse(&format!("{guest}&password={password}"));
    let (right, wrong, none) = (with("right%20one"), with("hunter2"), parse(&guest));
    cluster::block_on(async {
        cluster::session(&right).await;
        let error = refused(&wrong).await;
        assert!(matches!(error, Error::WrongPassword { .. }), "{error:?}");
        assert!(!format!("{error} {error:?} {wrong:?} {wrong}").contains("hunter2"));
        assert_stops(&error, "guest");
        let error = refused(&none).await;
        assert!(matches!(error, Error::PasswordMissing { .. }), "{error:?}");
        assert_stops(&error, "PGPASSWORD");
    });
}

#[test]
fn a_standby_is_refused_by_name() {
    let mut server = ThrowawayCluster::new();
    let conninfo = parse(&server.url("db"));
    server.cluster().shutdown(Shutdown::Fast).expect("stop");
    std::fs::write(server.cluster().data_dir().join("standby.signal"), "").expect("demote it");
    server.start();
    let error = cluster::block_on(async { refused(&conninfo).await });
    assert!(matches!(error, Error::Standby { .. }), "{error:?}");
    assert_stops(&error, "primary");
}

#[test]
fn a_server_without_a_free_connection_is_tried_again_later() {
    let server = ThrowawayCluster::new();
    server
        .cluster()
        .execute("create role guest login connection limit 0 password 'x'")
        .expect("ok");
    let url = server.url("db").replace(&format!("user={ROLE}"), "user=guest");
    let conninfo = parse(&format!("{url}&password=x"));
    let error = cluster::block_on(async { refused(&conninfo).await });
    assert!(matches!(error, Error::TooManyConnections { .. }), "{error:?}");
    assert_eq!(error.remedy(), Remedy::Retry);
}

#[tokio::test]
async fn a_place_where_nobody_listens_is_tried_again_later() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    drop(listener);
    let error = refused(&parse(&format!("postgresql://u@{address}/d"))).await;
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert_eq!(error.remedy(), Remedy::Retry);
    let error = refused(&parse("postgresql:///d?host=/nonexistent&user=u")).await;
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn the_next_host_is_tried_when_the_first_is_away() {
    let database = TestDatabase::create();
    let mut conninfo = database.conninfo();
    conninfo.endpoints.insert(0, parse("postgresql://u@127.0.0.1:1/d").endpoints.remove(0));
    cluster::session(&conninfo).await;
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_given_up_in_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    let mut conninfo = parse(&format!("postgresql://u@{address}/d?sslmode=disable"));
    conninfo.connect_timeout = Some(Duration::from_millis(200));
    let error = refused(&conninfo).await;
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    assert_eq!(error.remedy(), Remedy::Retry);
}

/// Four processes' worth of bring-up at the same moment: one starts the server, the others adopt
/// it, and only the last one to leave stops it.
#[test]
fn many_may_bring_up_one_cluster_and_the_last_to_leave_stops_it() {
    let dir = cluster::throwaway_dir(&cluster::usable_base());
    let barrier = Barrier::new(4);
    let clusters: Vec<PrivateCluster> = std::thread::scope(|scope| {
        let up = || {
            barrier.wait();
            bring_up(dir.path()).expect("bring up")
        };
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(up)).collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).collect()
    });
    assert_eq!(clusters.iter().filter(|cluster| !cluster.is_adopted()).count(), 1);
    let conninfo = parse(&clusters[0].url(ROLE));
    let last = clusters.len() - 1;
    for (index, cluster) in clusters.into_iter().enumerate() {
        assert_eq!(cluster.stop().expect("stop"), index == last);
    }
    let error = cluster::block_on(async { refused(&conninfo).await });
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}

/// A crashed sidecar leaves the server running; a crashed server leaves its pid file.
#[test]
fn a_server_that_was_killed_is_started_again_with_all_it_had_committed() {
    let mut server = ThrowawayCluster::new();
    let conninfo = parse(&server.url("db"));
    cluster::block_on(async {
        let client = cluster::session(&conninfo).await;
        let sql = "create table public.t as select 42 as answer";
        client.batch_execute(sql).await.expect("create");
    });
    let pid_file = server.cluster().data_dir().join("postmaster.pid");
    let pid_text = std::fs::read_to_string(&pid_file).expect("read the pid file");
    let pid = pid_text.lines().next().and_then(|pid| pid.parse().ok()).expect("a pid");
    let postmaster = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::kill(postmaster, nix::sys::signal::Signal::SIGKILL).expect("kill it");
    server.start();
    cluster::block_on(async {
        let client = cluster::session(&conninfo).await;
        let row = client.query_one("select answer from public.t", &[]).await.expect("read");
        assert_eq!(row.get::<_, i32>(0), 42);
    });
    let adopted = bring_up(server.state_dir());
    assert!(adopted.expect("adopt").is_adopted());
}

#[test]
fn a_path_too_long_or_too_odd_for_a_socket_still_gets_a_server() {
    let dir = cluster::throwaway_dir(&cluster::usable_base());
    for name in ["x".repeat(120), "it's, \"$(a)\" 100%".to_owned()] {
        let state = dir.path().join(&name);
        let cluster = bring_up(&state).expect(&name);
        let socket_dir = cluster.socket_dir().to_path_buf();
        let conninfo = parse(&cluster.url("odd \"name\" %/?"));
        cluster.ensure_database(&conninfo.dbname).expect("create");
        cluster::block_on(async { cluster::session(&conninfo).await });
        assert!(cluster.stop().expect("stop"));
        if !socket_dir.starts_with(dir.path()) {
            std::fs::remove_dir_all(socket_dir).expect("remove the short directory");
        }
    }
}

#[test]
fn a_half_made_cluster_is_made_again_and_a_foreign_directory_is_left_alone() {
    let mut server = ThrowawayCluster::new();
    server.cluster().shutdown(Shutdown::Fast).expect("stop");
    let data = server.cluster().data_dir();
    std::fs::rename(&data, data.with_file_name("data.new")).expect("as if initdb was cut off");
    let cluster = bring_up(server.state_dir());
    assert!(!cluster.expect("make it again").is_adopted());
    server.start();
    server.cluster().shutdown(Shutdown::Fast).expect("stop");
    std::fs::remove_file(data.join("PG_VERSION")).expect("no longer a cluster");
    let error = bring_up(server.state_dir());
    let error = error.expect_err("it must not be overwritten");
    assert!(error.to_string().contains("no PostgreSQL data directory"), "{error}");
    assert!(data.join("base").exists());
}

#[test]
fn a_server_that_will_not_start_says_why() {
    let mut server = ThrowawayCluster::new();
    let sql = "alter system set shared_preload_libraries = 'no_such_library'";
    server.cluster().execute(sql).expect("alter");
    server.stop_immediate();
    let error = bring_up(server.state_dir());
    let error = error.expect_err("there is no such library").to_string();
    assert!(error.contains("no_such_library"), "{error}");
    let auto = server.cluster().data_dir().join("postgresql.auto.conf");
    std::fs::write(auto, "").expect("undo it");
    server.start();
}

#[tokio::test]
async fn the_proxy_loses_the_reply_to_a_commit_that_happened() {
    let (database, proxy) = behind_proxy();
    let watching = database.client().await;
    watching.batch_execute("create table public.t (a int)").await.expect("create");
    let mut client = cluster::session(&parse(&proxy.url(ROLE, database.name()))).await;
    proxy.add(Rule::lose_commit_reply());
    let transaction = client.transaction().await.expect("begin");
    transaction.execute("insert into public.t values (1)", &[]).await.expect("insert");
    assert!(transaction.commit().await.is_err(), "the reply must be lost");
    assert_eq!(proxy.wait_for(LIMIT, |counts| counts.fired == 1).connections, 1);
    let row = watching.query_one("select count(*) from public.t", &[]).await.expect("count");
    assert_eq!(row.get::<_, i64>(0), 1);
}

#[tokio::test]
async fn the_proxy_cuts_a_commit_before_it_arrives() {
    let (database, proxy) = behind_proxy();
    let watching = database.client().await;
    watching.batch_execute("create table public.t (a int)").await.expect("create");
    let mut client = cluster::session(&parse(&proxy.url(ROLE, database.name()))).await;
    proxy.add(Rule::lose_query("COMMIT"));
    let transaction = client.transaction().await.expect("begin");
    transaction.execute("insert into public.t values (1)", &[]).await.expect("insert");
    let error = transaction.commit().await.expect_err("the line is cut");
    assert!(connect::is_transient(&error), "{error:?}");
    proxy.wait_for(LIMIT, |counts| counts.fired == 1);
    // The lock goes once the server has seen the cut and rolled back.
    watching.batch_execute("lock table public.t").await.expect_err("outside a transaction");
    watching.batch_execute("begin; lock table public.t; commit").await.expect("lock");
    let row = watching.query_one("select count(*) from public.t", &[]).await.expect("count");
    assert_eq!(row.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn the_proxy_cuts_in_the_middle_of_a_copy() {
    use futures_util::SinkExt;
    let (database, proxy) = behind_proxy();
    let watching = database.client().await;
    watching.batch_execute("create table public.t (a text)").await.expect("create");
    let client = cluster::session(&parse(&proxy.url(ROLE, database.name()))).await;
    proxy.add(Rule::cut_in_copy("copy public.t", 100_000));
    let copying = client.copy_in("copy public.t from stdin").await.expect("begin the copy");
    let mut copying = std::pin::pin!(copying);
    let line = bytes::Bytes::from(format!("{}\n", "x".repeat(999)));
    let mut failure = None;
    for _ in 0..10_000 {
        if let Err(error) = copying.send(line.clone()).await {
            failure = Some(error);
            break;
        }
    }
    if failure.is_none() {
        failure = copying.as_mut().finish().await.err();
    }
    assert!(failure.is_some(), "ten megabytes cannot pass a cut at 100 kB");
    let counts = proxy.wait_for(LIMIT, |counts| counts.fired == 1);
    assert!((100_000..110_000).contains(&counts.to_server), "{counts:?}");
    let row = watching.query_one("select count(*) from public.t", &[]).await.expect("count");
    assert_eq!(row.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn the_proxy_delays_swallows_refuses_and_cuts_all() {
    let (database, proxy) = behind_proxy();
    let conninfo = parse(&proxy.url(ROLE, database.name()));
    let client = cluster::session(&conninfo).await;

    let pause = Duration::from_millis(150);
    let when = When::Pattern(b"select 'slow'".to_vec());
    proxy.add(Rule { direction: Direction::ToServer, when, act: Act::Delay(pause) });
    let begun = std::time::Instant::now();
    client.batch_execute("select 'slow'").await.expect("slow but sure");
    assert!(pause <= begun.elapsed());

    let when = When::Pattern(b"select 'gone'".to_vec());
    proxy.add(Rule { direction: Direction::ToServer, when, act: Act::Blackhole });
    let waiting = client.batch_execute("select 'gone'");
    let waited = tokio::time::timeout(Duration::from_millis(200), waiting).await;
    assert!(waited.is_err(), "nothing comes back, and nothing is closed");

    proxy.cut_all();
    let error = client.batch_execute("select 1").await.expect_err("cut");
    assert!(connect::is_transient(&error), "{error:?}");

    proxy.refuse(true);
    let error = refused(&conninfo).await;
    assert_eq!(error.remedy(), Remedy::Retry, "{error:?}");
    proxy.refuse(false);
    cluster::session(&conninfo).await;
    assert_eq!(proxy.counts().fired, 2);
}

#[tokio::test]
async fn the_proxy_counts_bytes_and_cuts_after_them() {
    let (database, proxy) = behind_proxy();
    let conninfo = parse(&proxy.url(ROLE, database.name()));
    let when = When::Bytes(50);
    proxy.add(Rule { direction: Direction::ToClient, when, act: Act::CutAfter });
    let error = refused(&conninfo).await;
    assert_eq!(error.remedy(), Remedy::Retry, "{error:?}");
    assert_eq!(proxy.wait_for(LIMIT, |counts| counts.fired == 1).to_client, 50);
}

fn bring_up(state_dir: &Path) -> Result<PrivateCluster, private::Error> {
    PrivateCluster::up(state_dir, cluster::pg_bin().as_deref(), Tuning { durable: false })
}

/// The database, and a proxy in front of its server.
fn behind_proxy() -> (TestDatabase, Proxy) {
    use lite2pg::target::conninfo::Host;
    let database = TestDatabase::create();
    let endpoint = database.conninfo().endpoints.remove(0);
    let upstream = match endpoint.host {
        Host::Unix(dir) => Upstream::Unix(dir.join(format!(".s.PGSQL.{}", endpoint.port))),
        Host::Tcp(name) => {
            use std::net::ToSocketAddrs;
            let mut found = (name.as_str(), endpoint.port).to_socket_addrs().expect("resolve");
            Upstream::Tcp(found.next().expect("an address"))
        }
    };
    (database, Proxy::start(upstream))
}

#[tokio::test]
async fn a_statement_can_be_cancelled() {
    let database = TestDatabase::create();
    let conninfo = database.conninfo();
    let (working, watching) = (database.client().await, database.client().await);
    let sleeping = working.batch_execute("select pg_sleep(600)");
    let cancelling = async {
        let running = "select 1 from pg_stat_activity \
                       where state = 'active' and query = 'select pg_sleep(600)'";
        let deadline = std::time::Instant::now() + LIMIT;
        while watching.query_opt(running, &[]).await.expect("look").is_none() {
            assert!(std::time::Instant::now() < deadline, "the statement never began");
        }
        connect::cancel(&conninfo, &working).await.expect("cancel");
    };
    let (outcome, ()) = tokio::join!(sleeping, cancelling);
    let error = outcome.expect_err("it was cancelled");
    assert_eq!(error.code(), Some(&tokio_postgres::error::SqlState::QUERY_CANCELED));
}
