//! What the documentation says, held against the code.
//!
//! Reference pages equal what the program says of itself, links lead somewhere, command lines
//! parse. `LITE2PG_BLESS=1` rewrites what is generated; prose is for people to write.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, Parser as _};
use lite2pg::alert::{Alert, KINDS, Settings};
use lite2pg::change::{Lineage, Position};
use lite2pg::cli::{Cli, PaceArgs};
use lite2pg::config::File;
use lite2pg::error::Exit;
use lite2pg::table::Affinity;
use lite2pg::value::{Seen, Storage};

use crate::golden::{assert_same, commands, database, lite2pg, root, stdout};
use crate::support::cluster;

/// Written with the figures, by `cargo bench`; links to them may come first.
const LATER: &[&str] = &["docs/measurements.md"];

/// A page of the documentation: its path from the top of the repository, and its text.
pub struct Page {
    path: PathBuf,
    /// All of it.
    pub text: String,
}

impl Page {
    /// Reads it, by its path from the top of the repository.
    pub fn read(path: &str) -> Self {
        let text = std::fs::read_to_string(root().join(path))
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { path: path.into(), text }
    }

    /// The blocks fenced as ```` ```language ````.
    pub fn blocks(&self, language: &str) -> Vec<String> {
        let mut blocks = Vec::new();
        let mut open: Option<(bool, String)> = None;
        for line in self.text.lines() {
            match (&mut open, line.trim_start().strip_prefix("```")) {
                (None, Some(found)) => open = Some((found.trim() == language, String::new())),
                (Some(_), Some(_)) => {
                    let (is_wanted, text) = open.take().expect("it is open");
                    if is_wanted {
                        blocks.push(text);
                    }
                }
                (Some((_, text)), None) => {
                    text.push_str(line);
                    text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{} has a block without an end", self.path.display());
        blocks
    }

    /// The text without its fenced blocks.
    fn prose(&self) -> String {
        let mut is_code = false;
        let mut prose = String::new();
        for line in self.text.lines() {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            } else if !is_code {
                prose.push_str(line);
                prose.push('\n');
            }
        }
        prose
    }

    /// What stands in `backticks`, outside of blocks.
    fn quoted(&self) -> Vec<String> {
        let joined = self.prose().replace('\n', " ");
        joined.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    /// The cells of every table row whose first cell is in `backticks`.
    pub fn rows(&self) -> Vec<Vec<String>> {
        self.prose()
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"))
            .map(|row| format!("`{row}").split(" | ").map(|cell| cell.trim().to_owned()).collect())
            .collect()
    }
}

fn pages() -> Vec<Page> {
    let mut found = vec![Page::read("README.md"), Page::read("triggers/README.md")];
    let mut left = vec![root().join("docs")];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(&directory).expect("read a directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let path = path.strip_prefix(root()).expect("below the top");
                found.push(Page::read(path.to_str().expect("names of pages are UTF-8")));
            }
        }
    }
    found
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut seen = 0;
    for page in pages() {
        let prose = page.prose();
        for (at, _) in prose.match_indices("](") {
            let target = prose[at + 2..].split(')').next().unwrap_or_default();
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            seen += 1;
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let linked = match path {
                "" => page.path.clone(),
                path => normal(&page.path.parent().expect("a page has a directory").join(path)),
            };
            if LATER.iter().any(|later| linked == Path::new(later)) {
                continue;
            }
            let is_there = root().join(&linked).exists();
            assert!(is_there, "{} links to {target}, which is not there", page.path.display());
            if !heading.is_empty() {
                let other = Page::read(linked.to_str().expect("UTF-8"));
                let is_there = headings(&other).any(|found| found == heading);
                assert!(is_there, "{} links to {target}: no such heading", page.path.display());
            }
        }
    }
    assert!(20 < seen, "only {seen} links were found");
}

/// A path without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut parts: Vec<&std::ffi::OsStr> = Vec::new();
    for part in path {
        if part == ".." {
            parts.pop();
        } else if part != "." {
            parts.push(part);
        }
    }
    parts.iter().collect()
}

/// The anchors that a page's headings get.
fn headings(page: &Page) -> impl Iterator<Item = String> {
    let prose = page.prose();
    let lines: Vec<String> = prose.lines().map(str::to_owned).collect();
    lines.into_iter().filter(|line| line.starts_with('#')).map(|line| {
        let kept = line.trim_start_matches('#').trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

#[test]
fn every_page_is_reached_from_the_readme() {
    let mut reached: BTreeSet<PathBuf> = BTreeSet::new();
    let mut left = vec![PathBuf::from("README.md")];
    while let Some(path) = left.pop() {
        if !reached.insert(path.clone()) || LATER.iter().any(|later| path == Path::new(later)) {
            continue;
        }
        let page = Page::read(path.to_str().expect("UTF-8"));
        let prose = page.prose();
        for (at, _) in prose.match_indices("](") {
            let target = prose[at + 2..].split([')', '#']).next().unwrap_or_default();
            if target.ends_with(".md") && !target.contains("://") {
                left.push(normal(&path.parent().expect("a directory").join(target)));
            }
        }
    }
    for page in pages() {
        assert!(reached.contains(&page.path), "nothing links to {}", page.path.display());
    }
}

/// Splits a command line as a shell does, as far as the pages need it.
pub fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ') => words.push(String::new()),
            (_, c) => words.last_mut().expect("there is one").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The `lite2pg …` in a line of shell, without what the shell itself takes.
pub fn command_line(line: &str) -> Option<Vec<String>> {
    let line = line.strip_prefix("$ ").unwrap_or(line);
    let mut words = words(line);
    while words.first().is_some_and(|word| word.starts_with("LITE2PG_") && word.contains('=')) {
        words.remove(0);
    }
    let end = words.iter().position(|word| ["&", "|", ">", "2>", "#", "&&"].contains(&&**word));
    words.truncate(end.unwrap_or(words.len()));
    let is_ours = words.first().is_some_and(|word| word == "lite2pg" || word.ends_with("/lite2pg"));
    (is_ours && 1 < words.len()).then_some(words)
}

/// A command line in a page or in a hint must be one that the program takes. So nothing can be
/// promised that is not there.
#[test]
fn every_command_line_that_is_shown_parses() {
    let mut shown: Vec<(String, String)> = Vec::new();
    for page in pages() {
        let path = page.path.display().to_string();
        for language in ["console", "sh", "text"] {
            for block in page.blocks(language) {
                shown.extend(block.lines().map(|line| (path.clone(), line.to_owned())));
            }
        }
        shown.extend(page.quoted().into_iter().map(|quoted| (path.clone(), quoted)));
    }
    for file in ["src/error.rs", "src/command.rs", "src/status.rs", "src/target/private.rs"] {
        let joined = Page::read(file).text.replace("\\\n", "");
        shown.extend(
            joined.split('`').map(|part| {
                (file.to_owned(), part.split_whitespace().collect::<Vec<_>>().join(" "))
            }),
        );
    }
    let mut parsed = 0;
    for (place, line) in shown {
        let Some(words) = command_line(&line) else { continue };
        if words.iter().any(|word| word.starts_with('…') || word.starts_with('<')) {
            continue;
        }
        if let Err(error) = Cli::try_parse_from(&words) {
            let is_help =
                [clap::error::ErrorKind::DisplayHelp, clap::error::ErrorKind::DisplayVersion];
            assert!(is_help.contains(&error.kind()), "{place}: {line}\n{error}");
        }
        parsed += 1;
    }
    assert!(25 < parsed, "only {parsed} command lines were found");
}

#[test]
fn the_readme_gives_a_newcomer_exactly_two_commands() {
    let readme = Page::read("README.md");
    let first = readme.blocks("sh").into_iter().next().expect("the README has a block of commands");
    let commands: Vec<&str> =
        first.lines().map(|line| line.split('#').next().unwrap_or(line).trim()).collect();
    assert_eq!(commands, ["make demo", "make test"]);
    let makefile = Page::read("Makefile").text;
    for target in ["\ndemo:", "\ntest:"] {
        assert!(makefile.contains(target), "the Makefile lacks {target:?}");
    }
    assert!(readme.text.lines().count() < 90, "a README is short");
}

#[test]
fn the_command_line_page_is_what_the_program_prints() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut page = String::from(
        "# Command line\n\nWritten by the program itself (`LITE2PG_BLESS=1`), not by hand.\n\n\
         What a flag does not say, the environment or [`lite2pg.toml`](config.md) says;\n\
         [errors.md](errors.md) has the exit codes.\n",
    );
    for command in commands() {
        let arguments: Vec<&str> = command.split(' ').filter(|word| !word.is_empty()).collect();
        let printed = lite2pg(directory.path(), &[&arguments[..], &["--help"]].concat());
        let title = format!("lite2pg {command}");
        page.push_str(&format!("\n## {}\n\n```text\n", title.trim_end()));
        for line in stdout(&printed, 0).lines() {
            page.push_str(line.trim_end());
            page.push('\n');
        }
        page.push_str("```\n");
    }
    assert_same(&root().join("docs/reference/cli.md"), &page);
}

/// Tables of `lite2pg.toml` whose keys are names of the application's.
const NAMED_BY_THE_USER: [&str; 6] =
    ["columns", "defaults", "tables", "types", "invariants", "queries"];

/// The keys of `lite2pg.toml`, asked of the parser: it lists them when it meets one that it does
/// not know.
fn known_keys() -> BTreeSet<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("lite2pg.toml");
    let mut keys = BTreeSet::new();
    let mut tables = vec![String::new()];
    while let Some(table) = tables.pop() {
        let head = if table.is_empty() { String::new() } else { format!("[{table}]\n") };
        std::fs::write(&path, format!("{head}no_such_key = 1\n")).expect("write");
        let error = File::read(Some(&path)).expect_err("the key is unknown").to_string();
        let listed = error.split_once("expected").expect("it lists what it knows").1;
        for key in listed.split('`').skip(1).step_by(2) {
            let whole = if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") };
            std::fs::write(&path, format!("[{whole}]\n")).expect("write");
            let is_table = File::read(Some(&path)).is_ok();
            if is_table && !NAMED_BY_THE_USER.contains(&whole.as_str()) {
                tables.push(whole);
            } else {
                keys.insert(whole);
            }
        }
    }
    keys
}

#[test]
fn the_configuration_page_has_every_key_and_its_default() {
    let page = Page::read("docs/reference/config.md");
    let rows = page.rows();
    let keys: BTreeSet<String> =
        rows.iter().filter(|row| 3 < row.len()).map(|row| row[0].replace('`', "")).collect();
    assert_eq!(keys, known_keys());
    let target = cluster::parse("postgresql://u@h/d");
    let config = File::default().run(
        "app.db".into(),
        target,
        "public".to_owned(),
        std::sync::Arc::default(),
        false,
        &PaceArgs::default(),
    );
    assert_eq!((config.copy_rows_per_second, config.copy_bytes_per_second), (None, None));
    let days = |duration: std::time::Duration| format!("`\"{}d\"`", duration.as_secs() / 86_400);
    for (key, default) in [
        ("`poll_interval_ms`", format!("`{}`", config.poll_interval.as_millis())),
        ("`file_events`", format!("`{}`", config.file_events)),
        ("`copy.connections`", format!("`{}`", config.copy_connections)),
        ("`copy.rows_per_second`", "no limit".to_owned()),
        ("`copy.bytes_per_second`", "no limit".to_owned()),
        ("`replay.transaction_max`", format!("`\"{}s\"`", config.transaction_max.as_secs())),
        ("`changelog.retention`", days(config.retention)),
        ("`verify.reread`", format!("`\"{}h\"`", File::default().reread().as_secs() / 3_600)),
        ("`changelog.retained_changes_max`", format!("`{}`", config.retained_changes_max)),
        ("`changelog.prune_interval`", format!("`\"{}s\"`", config.prune_interval.as_secs())),
        ("`alerts.per_hour`", format!("`{}`", Settings::default().rate().0)),
        ("`alerts.burst`", format!("`{}`", Settings::default().rate().1)),
        ("`alerts.target_lost`", format!("`\"{}s\"`", config.thresholds.target_lost.as_secs())),
    ] {
        let row = rows.iter().find(|row| row[0] == key).expect("the keys were compared above");
        assert_eq!(row[2], default, "default of {key}");
    }
    assert_eq!(variables_in_code(), variables_in(&page));
}

/// `LITE2PG_…` as the product's own sources name them; those of the tests are not the user's.
fn variables_in_code() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in ["src/cli.rs", "src/config.rs", "src/target/private.rs", "src/command.rs"] {
        found.extend(variables_in(&Page::read(file)));
    }
    found
}

fn variables_in(page: &Page) -> BTreeSet<String> {
    let names = page.text.match_indices("LITE2PG_").map(|(at, _)| {
        let is_name = |c: &char| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_';
        page.text[at..].chars().take_while(is_name).collect()
    });
    names.collect()
}

#[test]
fn the_sample_configuration_is_accepted_and_shows_every_key() {
    let sample = Page::read("deploy/lite2pg.toml").text;
    File::read(Some(&root().join("deploy/lite2pg.toml"))).expect("the sample as it is");
    // With every commented setting switched on, it must still be understood.
    let all: String = sample
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => format!("{setting}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("lite2pg.toml");
    std::fs::write(&path, &all).expect("write");
    // It has a webhook.
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("it is ours");
    File::read(Some(&path)).unwrap_or_else(|error| panic!("{error}\n{all}"));
    let shown: toml::Table = all.parse().expect("it was just read");
    let mut keys = BTreeSet::new();
    for (name, value) in &shown {
        match value.as_table() {
            Some(_) if NAMED_BY_THE_USER.contains(&name.as_str()) => _ = keys.insert(name.clone()),
            Some(table) => keys.extend(table.keys().map(|key| format!("{name}.{key}"))),
            None => _ = keys.insert(name.clone()),
        }
    }
    assert_eq!(keys, known_keys());
}

#[test]
fn the_exit_codes_are_those_of_the_program() {
    let page = Page::read("docs/reference/errors.md");
    let documented: Vec<(String, String)> = page
        .rows()
        .into_iter()
        .filter(|row| row[0].len() == 3)
        .map(|row| (row[0].replace('`', ""), row[1].clone()))
        .collect();
    let help = Cli::command().get_after_help().expect("the help lists them").to_string();
    let listed = help.strip_prefix("Exit codes: ").expect("it begins so").trim_end_matches('.');
    let printed: Vec<(String, String)> = listed
        .split(" · ")
        .map(|code| code.split_once(' ').expect("a number and what it means"))
        .map(|(code, meaning)| (code.to_owned(), meaning.to_owned()))
        .collect();
    assert_eq!(documented, printed);
    let all = [Exit::Yes, Exit::No, Exit::Usage, Exit::Unknown, Exit::Lineage];
    let codes: Vec<String> = all.iter().map(|exit| (*exit as u8).to_string()).collect();
    assert_eq!(codes, printed.iter().map(|(code, _)| code.clone()).collect::<Vec<_>>());
}

/// The messages of all errors, with `…` for what varies, from the attributes that write them.
fn messages() -> BTreeSet<String> {
    const FILES: &[&str] = &[
        "src/config.rs",
        "src/daemon/mod.rs",
        "src/overrides.rs",
        "src/guard/mod.rs",
        "src/source/error.rs",
        "src/source/schema.rs",
        "src/target/mod.rs",
        "src/target/connect.rs",
        "src/target/conninfo.rs",
        "src/target/private.rs",
        "src/target/tls.rs",
        "src/value/codec/mod.rs",
        "src/value/mod.rs",
        "src/verify/mod.rs",
    ];
    let mut found = BTreeSet::new();
    for file in FILES {
        let text = Page::read(file).text;
        for attribute in text.split("#[error(").skip(1) {
            let Some(literal) = attribute.trim_start().strip_prefix('"') else { continue };
            found.insert(template(literal));
        }
    }
    // Only the step that failed; the cause below it is PostgreSQL's or SQLite's.
    found.retain(|message| !message.chars().all(|c| c == '…' || c == ':' || c == ' '));
    found
}

/// The text of a literal up to its closing quote, with `…` in place of each `{…}`.
fn template(literal: &str) -> String {
    let mut message = String::new();
    let mut chars = literal.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' if chars.peek() == Some(&'\n') => {
                while chars.peek().is_some_and(|c| c.is_whitespace()) {
                    chars.next();
                }
            }
            '\\' => message.extend(chars.next()),
            '{' => {
                while chars.next().is_some_and(|c| c != '}') {}
                message.push('…');
            }
            c => message.push(c),
        }
    }
    message
}

#[test]
fn the_errors_page_has_every_message() {
    let page = Page::read("docs/reference/errors.md");
    let documented: BTreeSet<String> = page
        .rows()
        .iter()
        .filter(|row| 3 < row[0].len())
        .map(|row| row[0].trim_matches('`').to_owned())
        .collect();
    let wanted = messages();
    let missing: Vec<&String> = wanted.difference(&documented).collect();
    let gone: Vec<&String> = documented.difference(&wanted).collect();
    assert!(missing.is_empty() && gone.is_empty(), "missing: {missing:#?}\ngone: {gone:#?}");
}

/// The table of column types, computed by the code that chooses them.
fn type_table() -> String {
    const INTEGER: Storage<'_> = Storage::Integer(1);
    const REAL: Storage<'_> = Storage::Real(0.5);
    const TEXT: Storage<'_> = Storage::Text(b"x");
    const BLOB: Storage<'_> = Storage::Blob(b"x");
    let seen: [(&str, &[Storage<'_>]); 6] = [
        ("nothing", &[]),
        ("integers", &[INTEGER]),
        ("reals", &[REAL]),
        ("integers and reals", &[INTEGER, REAL]),
        ("text, numbers", &[TEXT, INTEGER]),
        ("blobs", &[BLOB]),
    ];
    let mut table = String::from("| declared as |");
    seen.iter().for_each(|(name, _)| table.push_str(&format!(" {name} |")));
    table.push_str(&format!("\n|{}\n", " --- |".repeat(seen.len() + 1)));
    for declared in [
        "INTEGER",
        "BIGINT",
        "BOOLEAN",
        "REAL",
        "DOUBLE PRECISION",
        "NUMERIC",
        "DECIMAL(10,2)",
        "TEXT",
        "VARCHAR(80)",
        "DATE",
        "DATETIME",
        "TIMESTAMP",
        "JSON",
        "UUID",
        "BLOB",
        "",
    ] {
        let affinity = Affinity::of(declared);
        let name = if declared.is_empty() { "(nothing)" } else { declared };
        table.push_str(&format!("| `{name}` |"));
        for (_, values) in &seen {
            let mut noted = Seen::default();
            for value in *values {
                // Stored as the affinity turns them.
                match (affinity, value) {
                    (Affinity::Text, Storage::Integer(_) | Storage::Real(_)) => noted.note(TEXT),
                    (Affinity::Real, Storage::Integer(_)) => noted.note(REAL),
                    (_, value) => noted.note(*value),
                }
            }
            table.push_str(&format!(" {} |", noted.choose(declared, affinity).sql()));
        }
        table.push('\n');
    }
    table
}

#[test]
fn the_types_page_is_what_the_code_chooses() {
    let page = Page::read("docs/reference/types.md");
    let (begin, end) = ("<!-- generated: types -->\n", "<!-- end of generated -->\n");
    let (before, rest) = page.text.split_once(begin).expect("the page marks its table");
    let (_, after) = rest.split_once(end).expect("the page marks the end of its table");
    let whole = format!("{before}{begin}\n{}\n{end}{after}", type_table());
    assert_same(&root().join(&page.path), &whole);
}

/// Every key of a JSON value, as `a.b` and `a[].b`.
pub fn paths(value: &serde_json::Value, prefix: &str, found: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                let path =
                    if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                found.insert(path.clone());
                paths(value, &path, found);
            }
        }
        serde_json::Value::Array(items) => {
            items.iter().for_each(|item| paths(item, &format!("{prefix}[]"), found));
        }
        _ => {}
    }
}

#[test]
fn every_key_of_status_is_explained() {
    let shown = Page::read("tests/golden/status/behind.json").text;
    let shown = shown.replace("(milliseconds)", "1");
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("the golden file is JSON");
    let mut keys = BTreeSet::new();
    paths(&shown, "", &mut keys);
    let page = Page::read("docs/understanding-status.md");
    let explained: BTreeSet<String> =
        page.rows().iter().map(|row| row[0].replace('`', "")).collect();
    assert_eq!(explained, keys);
}

/// The kinds of incidents that the sources write down.
fn incidents_in_code() -> BTreeSet<String> {
    let mut left = vec![root().join("src")];
    let mut found = BTreeSet::new();
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(&directory).expect("read a directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("sources are UTF-8");
                for call in text.split("incident(").skip(1) {
                    let kind = call.split('"').nth(1).unwrap_or_default();
                    let is_kind = |c: char| c.is_ascii_lowercase() || c == '_';
                    if !kind.is_empty() && kind.chars().all(is_kind) {
                        found.insert(kind.to_owned());
                    }
                }
            }
        }
    }
    found
}

#[test]
fn every_kind_of_alert_has_its_severity_and_what_to_do() {
    let page = Page::read("docs/reference/alerts.md");
    let rows = page.rows().into_iter().filter(|row| row.len() == 4);
    let documented: Vec<(String, String)> =
        rows.map(|row| (row[0].replace('`', ""), row[1].clone())).collect();
    let known = KINDS.iter().map(|(kind, severity)| (*kind, severity.as_str()));
    let known: Vec<(String, String)> =
        known.map(|(kind, severity)| (kind.to_owned(), severity.to_owned())).collect();
    assert_eq!(documented, known);
    let incidents = incidents_in_code();
    assert!(incidents.contains("table_again") && 7 < incidents.len(), "{incidents:?}");
    let kinds: BTreeSet<String> = known.into_iter().map(|(kind, _)| kind).collect();
    let unheard_of: Vec<&String> = incidents.difference(&kinds).collect();
    assert!(unheard_of.is_empty(), "give these a severity in `KINDS`: {unheard_of:?}");
}

#[test]
fn every_key_of_an_alert_and_every_variable_of_its_command_is_explained() {
    let lineage = Lineage { source_id: String::new(), generation: 1 };
    let alert = Alert { lineage: Some(lineage), ..Alert::new("drift", "") };
    let alert = Alert { position: Some(Position(1)), ..alert };
    let mut keys = BTreeSet::new();
    paths(&serde_json::to_value(alert).expect("an alert is JSON"), "", &mut keys);
    let page = Page::read("docs/reference/alerts.md");
    let rows = page.rows().into_iter().filter(|row| row.len() == 2);
    let explained: BTreeSet<String> = rows.map(|row| row[0].replace('`', "")).collect();
    assert_eq!(explained, keys);
    let code = Page::read("src/alert/command.rs");
    let product = code.text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
    let code = Page { text: product, ..code };
    let mut named = variables_in(&page);
    named.retain(|name| name.starts_with("LITE2PG_ALERT_"));
    assert_eq!(named, variables_in(&code));
}

/// Decisions are numbered without gaps and say four things.
#[test]
fn decisions_have_their_four_parts() {
    let mut decisions: Vec<Page> =
        pages().into_iter().filter(|page| page.path.starts_with("docs/decisions")).collect();
    decisions.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(!decisions.is_empty());
    for (number, page) in decisions.iter().enumerate() {
        let name = page.path.file_name().expect("a file").to_string_lossy();
        assert!(name.starts_with(&format!("{:04}-", number + 1)), "{name} is out of order");
        for part in ["Question", "Answer", "Why", "What would change our mind"] {
            assert!(page.text.contains(&format!("\n## {part}\n")), "{name} lacks {part}");
        }
    }
}

/// What triggers/README.md tells the owner of a file whose sidecar is gone.
#[test]
fn the_statement_for_removing_triggers_by_hand_removes_all_there_is() {
    let schema = "select type || name || coalesce(sql, '') from sqlite_schema order by name";
    let directory = tempfile::tempdir().expect("a directory");
    let script = "create table t (id integer primary key, a unique)";
    let path = database(directory.path(), "app.db", script);
    let conn = rusqlite::Connection::open(&path).expect("open");
    let column = |sql: &str| -> Vec<String> {
        let mut statement = conn.prepare(sql).expect("a statement of the page");
        let rows = statement.query_map([], |row| row.get(0)).expect("run it");
        rows.map(|row| row.expect("text")).collect()
    };
    let before = column(schema);
    stdout(&lite2pg(directory.path(), &["install", "--source", "app.db"]), 0);
    assert_ne!(column(schema), before);
    let page = Page::read("triggers/README.md");
    let printed = column(page.blocks("sql")[0].trim_end().trim_end_matches(';'));
    // First what happens when only the changelog is dropped.
    conn.execute_batch("savepoint s; drop table _lite2pg_changelog").expect("drop the changelog");
    let refused = conn.execute_batch("insert into t values (1, 2)").expect_err("a trigger fails");
    let message = "no such table: main._lite2pg_changelog";
    assert!(refused.to_string().contains(message), "{refused}");
    assert!(page.text.contains(message));
    conn.execute_batch("rollback to s; release s").expect("go back");
    conn.execute_batch(&printed.concat()).expect("run what was printed");
    assert_eq!(column(schema), before);
}
