//! The product works as the role that `deploy/roles.sql` makes; the tests look and meddle as the
//! server's superuser.
//!
//! [`offer`] makes the roles for a database and returns the sidecar's URL; [`as_superuser`] goes
//! the way back. `LITE2PG_TEST_ROLE=superuser` lets
//! the product be a superuser, too.

use std::path::Path;
use std::sync::OnceLock;

use lite2pg::target::private;

use super::sidecar::{LIMIT, wait_until};
use crate::server::Target;

/// Names that no role of a server which is lent to the tests will have. The tests make tables of
/// the target as the superuser, who is their owner then.
const NAMES: &str = "select set_config('lite2pg.owner', current_user, false);
    set lite2pg.sidecar = 'it_sidecar';
    set lite2pg.writer = 'it_writer';
    set lite2pg.reader = 'it_reader'";

/// The sidecar in a URL that names the user before the host, and as a parameter.
const AS_SIDECAR: [&str; 2] = ["://it_sidecar@", "user=it_sidecar"];

/// The same two places for the superuser.
static AS_SUPERUSER: OnceLock<[String; 2]> = OnceLock::new();

/// Roles belong to the server and not to a database: one process changes some at a time.
const TURN: &str = "select pg_advisory_lock(hashtext('lite2pg roles'))";

fn is_wanted() -> bool {
    static CHOSEN: OnceLock<bool> = OnceLock::new();
    *CHOSEN.get_or_init(|| match std::env::var("LITE2PG_TEST_ROLE").as_deref() {
        Ok("superuser") => false,
        Ok("sidecar") | Err(_) => true,
        Ok(other) => panic!("LITE2PG_TEST_ROLE={other}: superuser or sidecar"),
    })
}

/// Makes the roles for the database of `url`, for both modes; `maintenance` is another database of
/// the server, and both URLs are the superuser's. Returns the URL of the sidecar.
pub fn offer(url: &str, maintenance: &str) -> String {
    if !is_wanted() {
        return url.to_owned();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/roles.sql");
    let script = std::fs::read_to_string(script).expect("deploy/roles.sql is part of the sources");
    // In a thread of its own, because tests that are asynchronous themselves begin with this, too.
    std::thread::scope(|scope| {
        let made = scope.spawn(|| make(url, maintenance, &script)).join();
        made.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let superuser = AS_SUPERUSER.get_or_init(|| {
        let rest = url.split_once("://").map_or("", |(_, rest)| rest);
        let before_host = rest.split_once('@').map_or("", |(user, _)| user);
        [format!("://{before_host}@"), format!("user={}", private::ROLE)]
    });
    let style = usize::from(!url.contains('@'));
    url.replacen(&superuser[style], AS_SIDECAR[style], 1)
}

fn make(url: &str, maintenance: &str, script: &str) {
    let turn = Target::connect(maintenance);
    turn.run(TURN);
    let target = Target::connect(url);
    target.run(NAMES);
    for mode in ["create", "adopt"] {
        target.run(&format!("set lite2pg.mode = '{mode}'"));
        target.run(script);
    }
    if url.contains("user=") {
        admit(&target);
    }
}

/// Lets the sidecar into a private server of the product's, which asks everybody but its own role
/// for a password.
fn admit(target: &Target) {
    const RULE: &str = "local all it_sidecar trust";
    let is_in = || {
        let rules = "select from pg_hba_file_rules where 'it_sidecar' = any(user_name)";
        !target.query(rules).is_empty()
    };
    if is_in() {
        return;
    }
    let file = target.query("select current_setting('hba_file')").remove(0).remove(0);
    let file = file.expect("the server has access rules");
    let rules = std::fs::read_to_string(&file).expect("the server is the tests' own");
    // In place, so that it stays its owner's.
    std::fs::write(&file, format!("{RULE}\n{rules}")).expect("the server is the tests' own");
    target.run("select pg_reload_conf()");
    wait_until(LIMIT, || is_in().then_some(())).expect("the server reads its rules anew");
}

/// The URL by which the superuser goes where the sidecar does.
pub fn as_superuser(url: &str) -> String {
    let Some(superuser) = AS_SUPERUSER.get() else { return url.to_owned() };
    let both = AS_SIDECAR.iter().zip(superuser);
    both.fold(url.to_owned(), |url, (sidecar, superuser)| url.replacen(sidecar, superuser, 1))
}
