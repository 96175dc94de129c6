//! The house rules that a machine can see (docs/style.md), checked on the sources themselves.
//!
//! Who may name whom keeps the two sides apart and the pure modules pure; the rest keeps pages
//! readable. Each rule has a test that shows it catches what it forbids.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::golden::root;

/// Longest line, in characters.
const LINE_MAX: usize = 100;

/// Longest file, its tests excluded, that needs no defence.
const FILE_LINES_MAX: usize = 800;

/// A file that the repository tracks, and its text.
struct Tracked {
    path: String,
    text: String,
}

impl Tracked {
    /// The part before the tests that live in the file.
    fn product(&self) -> &str {
        self.text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or(&self.text)
    }

    /// The `//!` lines at its head.
    fn header(&self) -> impl Iterator<Item = &str> {
        self.text.lines().take_while(|line| line.starts_with("//!"))
    }
}

/// All files that git knows; from a tree without git, all files there are but built ones.
fn tracked(extensions: &[&str]) -> Vec<Tracked> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let paths: Vec<PathBuf> = match listed {
        Ok(listed) if listed.status.success() => {
            String::from_utf8_lossy(&listed.stdout).lines().map(PathBuf::from).collect()
        }
        _ => files_under(root()),
    };
    let is_wanted = |path: &Path| {
        path.extension().is_some_and(|found| extensions.iter().any(|wanted| found == *wanted))
    };
    let found: Vec<Tracked> = paths
        .into_iter()
        .filter(|path| is_wanted(path) && root().join(path).exists())
        .map(|path| Tracked {
            text: std::fs::read_to_string(root().join(&path)).expect("a text file is UTF-8"),
            path: path.to_string_lossy().into_owned(),
        })
        .collect();
    assert!(!found.is_empty(), "no file ends in {extensions:?}");
    found
}

fn files_under(top: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![top.to_path_buf()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(&directory).expect("read a directory").flatten() {
            let path = entry.path();
            match path.is_dir() {
                true if path.ends_with("target") || path.ends_with(".git") => {}
                true => left.push(path),
                false => found.push(path.strip_prefix(top).expect("below").to_path_buf()),
            }
        }
    }
    found
}

fn rust() -> Vec<Tracked> {
    tracked(&["rs"])
}

fn product() -> Vec<Tracked> {
    rust().into_iter().filter(|file| file.path.starts_with("src/")).collect()
}

/// The top-level modules of the crate that a text names, in whatever way.
fn modules_named(text: &str) -> Vec<String> {
    let mut named = Vec::new();
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n");
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            // `use crate::{daemon, source, target};`
            Some(group) => {
                let group = group.split('}').next().unwrap_or(group);
                named.extend(group.split(',').map(|part| first_word(part.trim())));
            }
            None => named.push(first_word(rest)),
        }
    }
    named
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// What is wrong with who names whom in one file.
fn misplaced(file: &Tracked) -> Vec<String> {
    // (where, what must not be named there, why)
    const PURE: &[&str] = &["src/change.rs", "src/table.rs", "src/value/", "src/batch.rs"];
    const RULES: &[(&[&str], &[&str], &str)] = &[
        (&["src/source/"], &["target", "daemon", "status", "command"], "source never names target"),
        (&["src/target/"], &["source", "daemon", "status", "command"], "target never names source"),
        (
            &[
                "src/change.rs",
                "src/table.rs",
                "src/value/",
                "src/batch.rs",
                "src/mapping.rs",
                "src/grammar.rs",
            ],
            &["source", "target", "daemon", "status", "command", "config", "error", "failpoint"],
            "pure modules stand below both sides",
        ),
        (&["src/cli.rs"], &["source", "target", "daemon"], "the command line is words only"),
    ];
    let named = modules_named(file.product());
    let mut wrong = Vec::new();
    for (places, forbidden, why) in RULES {
        if !places.iter().any(|place| file.path.starts_with(place)) {
            continue;
        }
        for name in named.iter().filter(|name| forbidden.contains(&name.as_str())) {
            wrong.push(format!("{} names crate::{name}: {why}", file.path));
        }
    }
    const EFFECTS: &[&str] = &[
        "std::fs",
        "std::net",
        "std::process",
        "std::env",
        "std::time",
        "std::thread",
        "tokio",
        "rusqlite",
        "Instant",
        "SystemTime",
        "uuid::",
        "println!",
        "tracing::",
    ];
    if PURE.iter().any(|place| file.path.starts_with(place)) {
        let code = file.product().lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for effect in EFFECTS.iter().filter(|effect| line.contains(**effect)) {
                wrong.push(format!("{} uses {effect}, and it is pure", file.path));
            }
        }
    }
    wrong
}

#[test]
fn source_and_target_never_meet_and_pure_modules_do_no_io() {
    let files = product();
    for needed in ["src/source/mod.rs", "src/target/mod.rs", "src/batch.rs", "src/table.rs"] {
        assert!(files.iter().any(|file| file.path == needed), "{needed} is looked at");
    }
    let wrong: Vec<String> = files.iter().flat_map(misplaced).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_check_of_who_names_whom_sees_every_spelling() {
    let file = |path: &str, text: &str| {
        misplaced(&Tracked { path: path.to_owned(), text: text.to_owned() }).len()
    };
    assert_eq!(file("src/source/copy.rs", "use crate::target::apply;"), 1);
    assert_eq!(file("src/target/copy.rs", "use crate::{batch, source, value};"), 1);
    assert_eq!(file("src/target/copy.rs", "fn f() { crate::source::open() }"), 1);
    assert_eq!(file("src/target/copy.rs", "//! See [`crate::source`].\nuse crate::batch;"), 0);
    assert_eq!(file("src/batch.rs", "use std::time::Instant;"), 2);
    assert_eq!(file("src/value/mod.rs", "#[cfg(test)]\nmod tests { use std::fs; }"), 1);
    assert_eq!(file("src/value/mod.rs", "fn f() {}\n#[cfg(test)]\nmod tests { use std::fs; }"), 0);
}

/// Only `status`, `error`, `command` and the demo speak to people on the standard streams.
#[test]
fn only_the_edge_prints() {
    let may_print = ["src/main.rs", "src/command.rs", "src/demo/"];
    for file in product() {
        if may_print.iter().any(|place| file.path.starts_with(place)) {
            continue;
        }
        for word in ["println!", "print!(", "dbg!", "todo!", "unimplemented!"] {
            assert!(!file.product().contains(word), "{} uses {word}", file.path);
        }
    }
}

/// Names that are never right (docs/glossary.md), as whole parts of an identifier.
fn wrong_words(text: &str) -> Vec<String> {
    const NEVER: &[&str] = &["src", "dst", "outbox", "sink", "utils", "helpers"];
    let mut found = Vec::new();
    for line in text.lines() {
        // A path in a string that began on another line is no name.
        let code = without_strings(line.split("//").next().unwrap_or(line)).replace("src/", "");
        let identifiers = code.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        for identifier in identifiers {
            let parts: Vec<&str> = identifier.split('_').collect();
            if parts.iter().any(|part| NEVER.contains(part)) {
                found.push(identifier.to_owned());
            }
        }
    }
    found
}

fn without_strings(line: &str) -> String {
    line.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
}

#[test]
fn names_are_those_of_the_glossary() {
    assert_eq!(wrong_words("let src_path = 1; // src\nlet x = \"src\";"), ["src_path"]);
    for file in rust() {
        if file.path == "tests/it/tidy.rs" {
            continue;
        }
        assert_eq!(wrong_words(&file.text), [""; 0], "{}", file.path);
        let stem = Path::new(&file.path).file_stem().expect("a file has a name");
        for never in ["utils", "helpers", "common", "types", "misc", "manager"] {
            assert_ne!(stem, never, "{}", file.path);
        }
    }
}

#[test]
fn lines_are_at_most_a_hundred_characters() {
    let mut wrong = Vec::new();
    for file in tracked(&["rs", "sql", "sh"]) {
        // Third-party schemas are as they came; goldens are what the product prints.
        if file.path.starts_with("tests/schemas/") || file.path.starts_with("tests/golden/") {
            continue;
        }
        for (number, line) in file.text.lines().enumerate() {
            if LINE_MAX < line.chars().count() {
                wrong.push(format!("{}:{}", file.path, number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn long_files_say_in_their_header_why_they_are_long() {
    for file in product() {
        let lines = file.product().lines().count();
        let is_argued = file.header().any(|line| line.to_lowercase().contains("long"));
        assert!(lines <= FILE_LINES_MAX || is_argued, "{} has {lines} lines", file.path);
    }
}

#[test]
fn every_file_begins_by_saying_what_it_is_for() {
    for file in rust() {
        assert!(file.text.starts_with("//!"), "{} has no header", file.path);
        let lines = file.header().count();
        let is_bearable = if file.path.ends_with("lib.rs") { 40 } else { 26 };
        assert!(lines <= is_bearable, "the header of {} has {lines} lines", file.path);
    }
    for file in tracked(&["sql"]) {
        if file.path.starts_with("triggers/") || file.path.starts_with("deploy/") {
            assert!(file.text.starts_with("-- "), "{} has no header", file.path);
        }
    }
}

/// What is left to do belongs in an issue, what was once so belongs in the history.
#[test]
fn nothing_is_left_to_do_and_nothing_is_switched_off() {
    for file in rust() {
        if file.path == "tests/it/tidy.rs" {
            continue;
        }
        for word in
            ["TODO", "FIXME", "XXX", "HACK", "#[ignore", "thread::sleep(Duration::from_secs"]
        {
            assert!(!file.text.contains(word), "{} holds {word}", file.path);
        }
        for (number, line) in file.text.lines().enumerate() {
            let is_comment = line.trim_start().starts_with("//");
            let is_code = line.trim_end().ends_with(';') && !line.contains("`");
            assert!(
                !(is_comment && is_code && line.contains(" = ")),
                "{}:{} looks like code in a comment",
                file.path,
                number + 1
            );
        }
    }
}

/// A page or a test that code points at must be there.
#[test]
fn pages_and_files_that_the_code_names_exist() {
    // Written with the figures, by `cargo bench`.
    const LATER: &[&str] = &["docs/measurements.md"];
    for file in tracked(&["rs", "sql", "sh", "toml"]) {
        for at in file.text.match_indices("docs/").map(|(at, _)| at) {
            let before = file.text[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_')) {
                continue;
            }
            let path: String = file.text[at..]
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_'))
                .collect();
            let path = path.trim_end_matches(['.', '/']);
            let is_there = root().join(path).exists() || LATER.contains(&path);
            assert!(is_there, "{} names {path}, which is not there", file.path);
        }
    }
}

/// Integration-test files that no module line names would silently not run.
#[test]
fn every_test_file_is_a_module_of_the_one_test_binary() {
    let main = std::fs::read_to_string(root().join("tests/it/main.rs")).expect("read main.rs");
    for file in rust() {
        let Some(name) = file.path.strip_prefix("tests/it/") else { continue };
        let module = name.trim_end_matches(".rs").split('/').next().unwrap_or(name);
        if module != "main" {
            assert!(main.contains(&format!("mod {module};")), "{} is not in main.rs", file.path);
        }
    }
}

/// The package on crates.io must build: what `include_str!` reads has to be in it.
#[test]
fn nothing_that_the_build_reads_is_left_out_of_the_package() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("read Cargo.toml");
    assert!(!manifest.contains("\nexclude"), "then check here what it leaves out");
    assert!(!manifest.contains("\ninclude"), "then check here what it takes in");
    for file in product() {
        let directory = root().join(&file.path);
        let directory = directory.parent().expect("a file has a directory");
        for named in file.text.split("include_str!(\"").skip(1) {
            let named = named.split('"').next().unwrap_or(named);
            assert!(directory.join(named).is_file(), "{} includes {named}", file.path);
        }
    }
    for named in ["README.md", "LICENSE"] {
        assert!(root().join(named).is_file(), "{named} is missing");
    }
}
