//! Questions put to the wrong place or too early are answered, not acted upon.

use rusqlite::Connection;

use crate::support::database::TestDatabase;
use crate::support::sidecar::Launch;

fn source_with_a_row() -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().expect("the temporary directory is writable");
    let file = directory.path().join("app.db");
    Connection::open(&file)
        .and_then(|connection| {
            connection.execute_batch(
                "create table parent(id integer primary key);
                 create table child(id integer primary key, parent references parent);
                 insert into parent values (1); insert into child values (1, 1)",
            )
        })
        .expect("the statements are valid");
    (directory, file)
}

#[test]
fn a_target_fed_into_one_schema_is_not_looked_for_in_another() {
    let (_directory, file) = source_with_a_row();
    let target = TestDatabase::create();
    Launch::catch_up(&file, target.url()).finish().expect_code(0);
    Launch::catch_up(&file, target.url())
        .args(["--target-schema", "other"])
        .finish()
        .expect_code(2)
        .expect_error(&["schema public, not in other", "--target-schema public"]);
}

#[test]
fn finalising_before_replication_is_refused_with_what_to_do_first() {
    let (_directory, file) = source_with_a_row();
    let target = TestDatabase::create();
    let finalise = || {
        Launch::new("schema")
            .arg("--finalise")
            .arg("--source")
            .arg(&file)
            .args(["--target", target.url()])
    };
    finalise().finish().expect_code(1).expect_error(&["not begun", "--until-caught-up"]);
    Launch::catch_up(&file, target.url()).finish().expect_code(0);
    let done = finalise().finish().expect_code(0);
    let said: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON is printed");
    assert_eq!(said["foreign_keys"], 1, "{said}");
}

#[test]
fn finalising_with_another_file_is_a_lineage_stop() {
    let (_directory, file) = source_with_a_row();
    let (_other_directory, other) = source_with_a_row();
    let target = TestDatabase::create();
    Launch::catch_up(&file, target.url()).finish().expect_code(0);
    Launch::new("schema")
        .arg("--finalise")
        .arg("--source")
        .arg(&other)
        .args(["--target", target.url()])
        .finish()
        .expect_code(4);
}

#[test]
fn a_question_about_a_private_server_that_was_never_made_makes_none() {
    let (directory, file) = source_with_a_row();
    let state = directory.path().join("state");
    for command in [&["status"][..], &["schema", "--finalise"]] {
        let asked = Launch::new(command[0]).args(&command[1..]).arg("--source").arg(&file);
        asked
            .arg("--state-dir")
            .arg(&state)
            .finish()
            .expect_code(3)
            .expect_error(&["there is no private PostgreSQL in", "lite2pg run"]);
    }
    assert!(!state.exists(), "nothing was made");
}

#[test]
fn how_the_target_was_named_is_remarked_upon_once() {
    let (_directory, file) = source_with_a_row();
    let target = TestDatabase::create();
    let joint = if target.url().contains('?') { '&' } else { '?' };
    let url = format!("{}{joint}password=s3cret&schema=shop", target.url());
    let said = Launch::catch_up(&file, &url).finish().expect_code(0).stderr;
    let count = |part: &str| said.matches(part).count();
    assert_eq!(count("can read the password in --target"), 1, "{said}");
    assert_eq!(count("parameters=\"schema\""), 1, "{said}");
    assert_eq!(count("s3cret"), 0, "{said}");
    let quiet = Launch::catch_up(&file, target.url()).finish().expect_code(0).stderr;
    assert!(!quiet.contains("WARN"), "{quiet}");
}
