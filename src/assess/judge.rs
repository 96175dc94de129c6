//! Everything that was looked at becomes one assessment: inventory, proposals, findings, verdict.
//!
//! A *blocker* is something that could not arrive on the target, or a file that SQLite itself
//! finds damaged. A *warning* arrives, but differs, or needs the operator's eye. A *note* is good
//! to know. The verdict follows from the worst finding; what was left out is a warning, because
//! "not read" is never "sound".
//!
//! Pure: facts, schema, profiles and the planned DDL in, [`Assessment`] out. Begin with [`judge`].

use std::collections::HashMap;

use super::collide::Collisions;
use super::form::Form;
use super::outcome::{
    Assessment, Classes, ColumnReport, Estimate, Finding, ForeignKeyReport, IndexReport,
    IntegrityReport, LeftOut, ScanReport, Severity, SourceReport, TableReport, TriggerReport,
    Verdict,
};
use super::profile::{INDEX_ENTRY_BYTES_MAX, Profile, Refused};
use super::proposal::{Alternative, Misfits, Proposal, grouped};
use super::propose::{default_misfits, default_type, keep_default, propose};
use super::scan::{Scanned, TableScan, parent_of};
use crate::source::inspect::{Facts, Integrity};
use crate::source::schema::{Catalog, Skipped, SkippedKind};
use crate::table::{Affinity, Column, ForeignKey, Index, IndexOrigin, IndexTerm, Key, Table};
use crate::target::ddl::{Ddl, NoteKind};
use crate::value::{PgType, codec};

/// Rows a second of the first copy: about half of what COPY takes from one file on a server with
/// two cores (450,000 rows of 120 bytes), for the application has the other half.
const COPY_ROWS_PER_SECOND: u64 = 200_000;

/// Bytes a second of the first copy: wide rows are bound by the disk of a small server.
const COPY_BYTES_PER_SECOND: u64 = 40_000_000;

/// Entries a second that PostgreSQL sorts into an index on such a server.
const INDEX_ENTRIES_PER_SECOND: u64 = 1_000_000;

/// Rows a second at which a foreign key is validated: a join by hash.
const VALIDATE_ROWS_PER_SECOND: u64 = 2_000_000;

/// Freeze, drain of a second's changes, sequences, canary, switch.
const CUTOVER_SECONDS_LEAST: u64 = 2;

/// Schema changes beyond which a file is still in the hands of its developers.
const SCHEMA_CHANGES_MANY: i64 = 200;

/// What is judged.
pub struct Evidence<'a> {
    /// The file's path.
    pub path: String,
    /// What it says of itself.
    pub facts: Facts,
    /// The check was the quick one.
    pub is_quick: bool,
    /// Its outcome.
    pub integrity: Integrity,
    /// The schema.
    pub catalog: &'a Catalog,
    /// What the values are like.
    pub scanned: &'a Scanned,
    /// The schema that the target would get.
    pub ddl: &'a Ddl,
    /// Of the unique columns whose proposal could make values equal: what is known.
    pub collisions: &'a HashMap<(String, usize), Collisions>,
    /// Of the columns that speak for another type: their form, or why that type cannot be set.
    pub forms: &'a HashMap<(String, usize), Result<codec::form::Form, String>>,
}

/// Judges.
pub fn judge(evidence: &Evidence<'_>) -> Assessment {
    let mut judge = Judge { evidence, findings: Vec::new() };
    judge.file();
    judge.objects();
    judge.notes_of_ddl();
    judge.names();
    let tables: Vec<TableReport> = evidence
        .catalog
        .tables
        .iter()
        .zip(&evidence.scanned.tables)
        .map(|(table, scan)| judge.table(table, scan))
        .collect();
    let mut findings = judge.findings;
    findings.sort_by_key(|finding| finding.severity);
    let verdict = match findings.first().map(|finding| finding.severity) {
        Some(Severity::Blocker) => Verdict::Blocked,
        Some(Severity::Warning) => Verdict::ReadyWithWarnings,
        _ => Verdict::Ready,
    };
    Assessment {
        verdict,
        source: SourceReport {
            path: evidence.path.clone(),
            facts: evidence.facts.clone(),
            journal_advice: journal_advice(&evidence.facts),
        },
        integrity: integrity_report(evidence),
        findings,
        estimate: estimate(&tables),
        scan: scan_report(evidence.scanned),
        tables,
        views: evidence.catalog.views.iter().map(|view| view.name.clone()).collect(),
        triggers: evidence
            .catalog
            .triggers
            .iter()
            .map(|trigger| TriggerReport {
                name: trigger.name.clone(),
                table: trigger.table.clone(),
            })
            .collect(),
        left_out: evidence
            .catalog
            .skipped
            .iter()
            .map(|skipped| LeftOut {
                name: skipped.name.clone(),
                kind: skipped.kind.as_str(),
                reason: skipped.reason.clone(),
            })
            .collect(),
    }
}

fn journal_advice(facts: &Facts) -> String {
    match facts.journal_mode.as_str() {
        "wal" => "readers and writers do not wait for each other: nothing to do".to_owned(),
        "memory" | "off" => format!(
            "{}: a crash of the application can damage the file; `pragma journal_mode = wal` is \
             safe and lets the sidecar read beside the application",
            facts.journal_mode
        ),
        mode => format!(
            "{mode}: a reader keeps a writer from committing, so the sidecar reads for a \
             millisecond at a time; with `pragma journal_mode = wal` neither waits. Give the \
             application a busy timeout in either mode"
        ),
    }
}

fn integrity_report(evidence: &Evidence<'_>) -> IntegrityReport {
    let (result, details) = match &evidence.integrity {
        Integrity::Sound => ("sound", Vec::new()),
        Integrity::Damaged(lines) => ("damaged", lines.clone()),
        Integrity::LeftOut(reason) => ("left_out", vec![reason.clone()]),
    };
    let check = if evidence.is_quick { "quick_check" } else { "integrity_check" };
    IntegrityReport { check, result, details }
}

fn scan_report(scanned: &Scanned) -> ScanReport {
    ScanReport {
        rows: scanned.tables.iter().map(|table| table.rows).sum(),
        values: scanned.tables.iter().map(|table| table.rows * table.columns.len() as u64).sum(),
        seconds: scanned.seconds,
        workers: scanned.workers,
        complete: scanned.tables.iter().all(|table| table.failed.is_none()),
    }
}

fn estimate(tables: &[TableReport]) -> Estimate {
    let rows: u64 = tables.iter().map(|table| table.rows).sum();
    let bytes: u64 = tables.iter().map(|table| table.bytes).sum();
    let entries: u64 =
        tables.iter().map(|table| table.rows * table.indexes.len().max(1) as u64).sum();
    let validated: u64 =
        tables.iter().map(|table| table.rows * table.foreign_keys.len() as u64).sum();
    let transfer = rows.div_ceil(COPY_ROWS_PER_SECOND).max(bytes.div_ceil(COPY_BYTES_PER_SECOND));
    Estimate {
        copy_seconds: (transfer + entries / INDEX_ENTRIES_PER_SECOND).max(1),
        cutover_seconds: CUTOVER_SECONDS_LEAST + validated / VALIDATE_ROWS_PER_SECOND,
        assumptions: vec![
            format!(
                "copy: {} rows/s or {} MB/s, whichever is slower, then {} index entries/s",
                grouped(COPY_ROWS_PER_SECOND),
                COPY_BYTES_PER_SECOND / 1_000_000,
                grouped(INDEX_ENTRIES_PER_SECOND)
            ),
            format!(
                "cutover: {CUTOVER_SECONDS_LEAST} s for freeze, drain and switch, and foreign \
                 keys validated at {} rows/s",
                grouped(VALIDATE_ROWS_PER_SECOND)
            ),
            "a server with two cores and a local network; `lite2pg rehearse` measures yours"
                .to_owned(),
        ],
    }
}

struct Judge<'a> {
    evidence: &'a Evidence<'a>,
    findings: Vec<Finding>,
}

/// What a finding is about.
struct About<'a> {
    object: Option<&'a str>,
    column: Option<&'a str>,
}

impl<'a> About<'a> {
    const FILE: Self = Self { object: None, column: None };

    fn object(object: &'a str) -> Self {
        Self { object: Some(object), column: None }
    }

    fn column(table: &'a Table, column: &'a Column) -> Self {
        Self { object: Some(&table.name), column: Some(&column.name) }
    }
}

impl Judge<'_> {
    fn find(&mut self, severity: Severity, code: &'static str, about: &About<'_>, message: String) {
        self.findings.push(Finding {
            severity,
            code,
            object: about.object.map(str::to_owned),
            column: about.column.map(str::to_owned),
            message,
            count: 0,
            keys: Vec::new(),
            advice: None,
        });
    }

    /// Adds to the finding that was made last.
    fn advise(&mut self, advice: impl Into<String>) {
        if let Some(last) = self.findings.last_mut() {
            last.advice = Some(advice.into());
        }
    }

    fn show(&mut self, rare: &super::profile::Rare) {
        if let Some(last) = self.findings.last_mut() {
            last.count = rare.count;
            last.keys = rare.first.iter().map(ToString::to_string).collect();
        }
    }

    fn file(&mut self) {
        let facts = &self.evidence.facts;
        match &self.evidence.integrity {
            Integrity::Sound => {}
            Integrity::Damaged(lines) => {
                let message = format!("SQLite finds the file damaged: {}", lines.join("; "));
                self.find(Severity::Blocker, "integrity", &About::FILE, message);
                self.advise(
                    "Work on a copy: `sqlite3 FILE '.recover'`, or go back to a sound backup.",
                );
            }
            Integrity::LeftOut(reason) => {
                let message = format!("the integrity of the file is not known: {reason}");
                self.find(Severity::Warning, "integrity_left_out", &About::FILE, message);
                self.advise(
                    "Run `lite2pg assess --integrity` when the application rests: it checks the \
                     file in one read, which in rollback mode keeps writers waiting.",
                );
            }
        }
        let (mode, advice) = (facts.journal_mode.clone(), journal_advice(facts));
        let severity = match mode.as_str() {
            "memory" | "off" => Some(Severity::Warning),
            "wal" => None,
            _ => Some(Severity::Note),
        };
        if let Some(severity) = severity {
            let message = format!("the journal mode is {mode}");
            self.find(severity, "journal_mode", &About::FILE, message);
            self.advise(advice);
        }
        if facts.bytes < facts.wal_bytes && (64 << 20) < facts.wal_bytes {
            let message = format!(
                "the write-ahead log has {} bytes: more than the database",
                grouped(facts.wal_bytes)
            );
            self.find(Severity::Warning, "wal_size", &About::FILE, message);
            self.advise("A reader that never ends keeps it from being reset; look for one.");
        }
        if facts.encoding != "UTF-8" {
            let message = format!("text is stored as {}; it arrives as UTF-8", facts.encoding);
            self.find(Severity::Note, "encoding", &About::FILE, message);
        }
        if facts.is_captured {
            let message = "a changelog of lite2pg is installed; it is not counted here".to_owned();
            self.find(Severity::Note, "captured", &About::FILE, message);
        }
        if SCHEMA_CHANGES_MANY < facts.schema_version {
            let message = format!(
                "the schema changed about {} times since the file was made",
                grouped(facts.schema_version)
            );
            self.find(Severity::Note, "schema_changes", &About::FILE, message);
            self.advise(
                "Each migration counts several times, and so does VACUUM. Hold migrations back \
                 during the cutover.",
            );
        }
    }

    /// What is not replicated at all.
    fn objects(&mut self) {
        let is_shadow = |skipped: &&Skipped| skipped.kind == SkippedKind::ShadowTable;
        let (shadows, skipped): (Vec<_>, Vec<_>) =
            self.evidence.catalog.skipped.iter().partition(is_shadow);
        if !shadows.is_empty() {
            let message = format!(
                "{} the inner data of virtual tables, and left out with them",
                plural(shadows.len() as u64, "table is", "tables are")
            );
            self.find(Severity::Note, "shadow_tables", &About::FILE, message);
            if let Some(last) = self.findings.last_mut() {
                last.count = shadows.len() as u64;
            }
        }
        for skipped in skipped {
            let (severity, code) = match skipped.kind {
                SkippedKind::Table => (Severity::Blocker, "table_left_out"),
                SkippedKind::VirtualTable => (Severity::Warning, "virtual_table"),
                SkippedKind::View | SkippedKind::ShadowTable => {
                    (Severity::Warning, "view_left_out")
                }
                SkippedKind::Constraints => (Severity::Warning, "constraints_left_out"),
                SkippedKind::Index => (Severity::Warning, "index_left_out"),
                SkippedKind::Ignored => (Severity::Note, "ignored"),
            };
            let message = format!("the {} is left out: {}", skipped.kind.as_str(), skipped.reason);
            self.find(severity, code, &About::object(&skipped.name), message);
            match skipped.kind {
                SkippedKind::Table => self.advise(
                    "Give it a PRIMARY KEY or a UNIQUE NOT NULL column, or drop it if it is not \
                     needed.",
                ),
                SkippedKind::VirtualTable => self.advise(
                    "Full-text search becomes a tsvector column and a GIN index on PostgreSQL; \
                     the application's queries change with it.",
                ),
                _ => {}
            }
        }
        for trigger in &self.evidence.catalog.triggers {
            let message = format!(
                "the trigger on {} runs on SQLite only: what it writes arrives as rows, but after \
                 the cutover nothing does its work",
                trigger.table
            );
            self.find(Severity::Warning, "trigger", &About::object(&trigger.name), message);
            self.advise("Write it anew for PostgreSQL if the application relies on it.");
        }
    }

    /// What the planned DDL does not bring over as it is.
    fn notes_of_ddl(&mut self) {
        for note in &self.evidence.ddl.notes {
            let (severity, code) = match (note.kind, note.what) {
                (NoteKind::LeftOut, "table") => (Severity::Blocker, "table_left_out"),
                (NoteKind::LeftOut, _) => (Severity::Warning, "ddl_left_out"),
                (NoteKind::Differs, _) => (Severity::Warning, "ddl_differs"),
                (NoteKind::Renamed, _) => (Severity::Warning, "renamed"),
            };
            let message = format!("{} {}: {}", note.what, note.kind.as_str(), note.reason);
            self.find(severity, code, &About::object(&note.object), message);
        }
    }

    fn names(&mut self) {
        let catalog = self.evidence.catalog;
        let tables = catalog.tables.iter().map(|table| table.name.as_str());
        let names: Vec<&str> =
            tables.chain(catalog.views.iter().map(|view| view.name.as_str())).collect();
        self.equal_but_for_case("tables and views", None, &names);
        for table in &catalog.tables {
            let columns: Vec<&str> =
                table.columns.iter().map(|column| column.name.as_str()).collect();
            self.equal_but_for_case("columns", Some(&table.name), &columns);
        }
        let columns = catalog.tables.iter().flat_map(|table| &table.columns);
        let all = names.iter().copied().chain(columns.map(|column| column.name.as_str()));
        let capitals = all.filter(|name| name.chars().any(char::is_uppercase)).count();
        if 0 < capitals {
            let message = format!(
                "{} capitals, which are kept",
                plural(capitals as u64, "name has", "names have")
            );
            self.find(Severity::Note, "capitals", &About::FILE, message);
            self.advise(
                "PostgreSQL folds unquoted names to lower case: the application must quote these.",
            );
        }
    }

    fn equal_but_for_case(&mut self, what: &str, object: Option<&str>, names: &[&str]) {
        let mut seen: HashMap<String, &str> = HashMap::new();
        for name in names {
            if let Some(other) = seen.insert(name.to_lowercase(), name) {
                let message = format!("{what} {other:?} and {name:?} are equal but for case");
                let about = About { object, column: None };
                self.find(Severity::Warning, "equal_but_for_case", &about, message);
                self.advise("Both are kept; tools that fold names cannot tell them apart.");
            }
        }
    }

    fn table(&mut self, table: &Table, scan: &TableScan) -> TableReport {
        let about = About::object(&table.name);
        if let Some(reason) = &scan.failed {
            let message = format!("cannot be read beyond {} rows: {reason}", grouped(scan.rows));
            self.find(Severity::Blocker, "table_unreadable", &about, message);
        }
        self.keys(table, scan);
        for (key, orphans) in table.foreign_keys.iter().zip(&scan.orphans) {
            self.orphans(table, key, orphans);
        }
        let uses_django = uses_django(self.evidence.catalog);
        let columns: Vec<ColumnReport> = table
            .columns
            .iter()
            .zip(&scan.columns)
            .enumerate()
            .map(|(position, (column, profile))| {
                self.column(table, position, profile);
                let place = (table.name.clone(), position);
                let collisions = self.evidence.collisions.get(&place);
                let mut proposal = propose(table, position, profile, collisions, uses_django);
                match self.evidence.forms.get(&place) {
                    Some(Ok(form)) => proposal.form = Some(form.clone()),
                    Some(Err(why)) => {
                        let instead = Alternative { pg: proposal.pg, why: why.clone() };
                        proposal = keep_default(table, position, profile, instead);
                    }
                    None => {}
                }
                self.collisions(table, column, collisions);
                column_report(column, profile, proposal)
            })
            .collect();
        self.index_entries(table, scan);
        TableReport {
            name: table.name.clone(),
            rows: scan.rows,
            bytes: scan.columns.iter().map(|profile| profile.bytes).sum(),
            key: key_words(table),
            without_rowid: table.without_rowid,
            strict: table.strict,
            autoincrement: table.autoincrement,
            columns,
            indexes: table.indexes.iter().map(|index| index_report(table, index)).collect(),
            foreign_keys: table
                .foreign_keys
                .iter()
                .zip(&scan.orphans)
                .map(|(key, orphans)| foreign_key_report(table, key, orphans.count))
                .collect(),
            checks: table.checks.iter().map(|check| check.expr.clone()).collect(),
        }
    }

    fn keys(&mut self, table: &Table, scan: &TableScan) {
        let about = About::object(&table.name);
        if table.without_rowid {
            let message = "WITHOUT ROWID: an ordinary table on PostgreSQL".to_owned();
            self.find(Severity::Note, "without_rowid", &about, message);
        }
        for &position in &table.primary_key {
            let nulls = &scan.columns[position].nulls;
            if 0 < nulls.count && table.rowid_alias != Some(position) {
                let about = About::column(table, &table.columns[position]);
                let message = format!(
                    "{} NULL in the PRIMARY KEY, which PostgreSQL forbids",
                    plural(nulls.count, "row holds", "rows hold")
                );
                self.find(Severity::Warning, "null_in_primary_key", &about, message);
                self.show(nulls);
                self.advise(
                    "The target names these rows by a hidden column and has no PRIMARY KEY here. \
                     Fill the NULLs to get one.",
                );
            }
        }
        if table.key == Key::HiddenRowid {
            let message = "nothing but the rowid names its rows, and VACUUM may renumber them: \
                           the target keeps it in a hidden column, and after a VACUUM the table \
                           is copied again"
                .to_owned();
            self.find(Severity::Warning, "no_key", &about, message);
            self.advise("Give it a PRIMARY KEY.");
        }
    }

    fn orphans(&mut self, table: &Table, key: &ForeignKey, orphans: &super::profile::Rare) {
        if orphans.count == 0 {
            return;
        }
        let names: Vec<&str> =
            key.columns.iter().map(|&at| table.columns[at].name.as_str()).collect();
        let missing = if parent_of(self.evidence.catalog, key).is_none() {
            ", which does not exist"
        } else {
            ""
        };
        let message = format!(
            "{} no parent in {}{missing} ({})",
            plural(orphans.count, "row has", "rows have"),
            key.parent,
            names.join(", ")
        );
        self.find(Severity::Warning, "orphans", &About::object(&table.name), message);
        self.show(orphans);
        self.advise(
            "They arrive as they are, but the foreign key cannot be validated on PostgreSQL. \
             Decide: delete them, set the column NULL, or add the parents.",
        );
    }

    fn column(&mut self, table: &Table, position: usize, profile: &Profile) {
        let column = &table.columns[position];
        let about = About::column(table, column);
        if let Some(codec) = &profile.codec {
            for Refused { misfit, rows, remedies } in &profile.refused {
                if let Some(misfit) = Misfits::of(&misfit.to_string(), rows) {
                    self.misfit(&about, &codec.target().name, &misfit);
                    if !remedies.words().is_empty() {
                        self.advise(format!(
                            "Repair them, or choose under [columns.{:?}.{:?}]: {}. Otherwise these \
                             rows go to quarantine.",
                            table.name,
                            column.name,
                            remedies.words().join(", or ")
                        ));
                    }
                }
            }
            return;
        }
        let pg = default_type(table, position, profile);
        for misfit in default_misfits(pg, column, profile) {
            self.misfit(&about, pg.sql(), &misfit);
        }
        if pg == PgType::Jsonb {
            let message = "an untyped column that mixes storage classes becomes jsonb, which \
                           tells them apart"
                .to_owned();
            self.find(Severity::Warning, "mixed_classes", &about, message);
            self.advise("The application reads another type there; give all values one class.");
        }
        let texts = &profile.texts;
        let is_numeric =
            matches!(column.affinity, Affinity::Integer | Affinity::Numeric | Affinity::Real);
        let numbers = profile.integers.all.count + profile.reals.all.count;
        let is_stray = is_numeric && 0 < numbers && 0 < texts.all.count;
        if is_stray && texts.all.count <= numbers {
            let message = format!(
                "{} of {} values in a column declared {} are text, {} of them empty: the column \
                 becomes {}",
                grouped(texts.all.count),
                grouped(profile.values()),
                column.declared,
                grouped(texts.form(Form::Empty).count),
                pg.sql()
            );
            self.find(Severity::Warning, "text_in_number", &about, message);
            self.show(&texts.all);
            self.advise("Repair them, or let the configuration say what becomes of them.");
        }
        if 0 < texts.form(Form::ImpossibleDate).count {
            let rare = texts.form(Form::ImpossibleDate);
            let message = format!(
                "{} no day or time that exists",
                plural(rare.count, "value is", "values are")
            );
            self.find(Severity::Warning, "impossible_date", &about, message);
            self.show(rare);
            self.advise("They stay as they are in a text column; a date column refuses them.");
        }
        if 0 < texts.too_long.count {
            let rare = &texts.too_long;
            let message = format!(
                "{} longer than the declared {}, which SQLite does not enforce",
                plural(rare.count, "value is", "values are"),
                column.declared
            );
            self.find(Severity::Note, "too_long", &about, message);
            self.show(rare);
            self.advise("text holds them; varchar of that length would not.");
        }
        if column.collation == "NOCASE" && 0 < profile.texts.all.count {
            let message = "compares without case (NOCASE); PostgreSQL's text does not".to_owned();
            self.find(Severity::Note, "nocase", &about, message);
            self.advise(
                "Indexes become indexes on lower(column). Queries must say lower() too, or the \
                 column be citext.",
            );
        }
    }

    fn collisions(&mut self, table: &Table, column: &Column, collisions: Option<&Collisions>) {
        let Some(Collisions::Rows(pairs)) = collisions else { return };
        let message = "unique values that are written differently would be equal under a narrower \
                       type, so none is proposed"
            .to_owned();
        self.find(Severity::Note, "would_collide", &About::column(table, column), message);
        if let Some(last) = self.findings.last_mut() {
            last.count = pairs.len() as u64;
            last.keys =
                pairs.iter().map(|(later, earlier)| format!("{later} = {earlier}")).collect();
        }
    }

    fn misfit(&mut self, about: &About<'_>, pg: &str, misfit: &Misfits) {
        let message = format!(
            "{}: {pg} cannot hold {}",
            misfit.sentence(),
            if misfit.count == 1 { "it" } else { "them" }
        );
        self.find(Severity::Blocker, "unmappable", about, message);
        if let Some(last) = self.findings.last_mut() {
            last.count = misfit.count;
            last.keys.clone_from(&misfit.keys);
        }
        let what = misfit.what.as_str();
        self.advise(if what.contains("NUL") {
            "Repair them, or choose in the configuration: nul = \"strip\", or type = \"bytea\" \
             with nul = \"bytea\". Otherwise these rows go to quarantine."
        } else if what.contains("UTF-8") {
            "Repair them, or choose in the configuration: invalid_utf8 = \"replace\" or \
             \"latin1\". Otherwise these rows go to quarantine."
        } else {
            "Repair them in SQLite. Otherwise these rows go to quarantine, and the cutover waits \
             until it is empty."
        });
    }

    /// PostgreSQL refuses an index entry that does not fit a third of a page.
    fn index_entries(&mut self, table: &Table, scan: &TableScan) {
        for index in &table.indexes {
            for term in &index.columns {
                let IndexTerm::Column(at) = term.term else { continue };
                let long = &scan.columns[at].beyond_index;
                if 0 == long.count {
                    continue;
                }
                let about = About::column(table, &table.columns[at]);
                let message = format!(
                    "{} longer than {} bytes, the most an entry of index {} may have on \
                     PostgreSQL after compression: {}",
                    plural(long.count, "value is", "values are"),
                    grouped(INDEX_ENTRY_BYTES_MAX),
                    index.name,
                    if index.unique { "such a row may be refused" } else { "it may not be built" }
                );
                self.find(Severity::Warning, "index_entry", &about, message);
                self.show(long);
                self.advise("Index a hash of the column, or its beginning.");
            }
        }
    }
}

/// Django keeps its migrations in this table, and stores times in UTC.
pub fn uses_django(catalog: &Catalog) -> bool {
    catalog.tables.iter().any(|table| table.name == "django_migrations")
}

/// The columns that take part in a UNIQUE index or the PRIMARY KEY, and whether one does so alone.
pub fn unique_columns(table: &Table) -> HashMap<usize, bool> {
    let indexed = table.indexes.iter().filter(|index| index.unique).map(|index| {
        let columns = index.columns.iter().filter_map(|term| match term.term {
            IndexTerm::Column(at) => Some(at),
            _ => None,
        });
        let is_alone = index.columns.len() == 1 && index.predicate.is_none();
        (columns.collect::<Vec<_>>(), is_alone)
    });
    let mut unique = HashMap::new();
    for (columns, is_alone) in indexed {
        for column in columns {
            *unique.entry(column).or_insert(false) |= is_alone;
        }
    }
    unique
}

/// `1 row has`, `2,000 rows have`.
fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

fn key_words(table: &Table) -> String {
    let names = |positions: &[usize]| {
        let names: Vec<&str> =
            positions.iter().map(|&at| table.columns[at].name.as_str()).collect();
        names.join(", ")
    };
    match &table.key {
        Key::RowidAlias(at) => format!("{} (rowid)", names(&[*at])),
        Key::Columns(columns) => names(columns),
        Key::HiddenRowid => "none: the rowid".to_owned(),
    }
}

fn column_report(column: &Column, profile: &Profile, proposal: Proposal) -> ColumnReport {
    let texts = &profile.texts;
    let oddities = [
        ("infinite", profile.reals.infinite.count),
        ("negative_zero", profile.reals.negative_zero.count),
        ("rounding_error", profile.reals.noise.count),
        ("nul", texts.nul.count),
        ("not_utf8", texts.bad_utf8.count),
        ("beyond_32_bits", profile.integers.beyond_32_bits.count),
        ("julian_days", profile.reals.julian),
        ("unix_seconds", profile.integers.epochs[0]),
        ("unix_milliseconds", profile.integers.epochs[1]),
        ("unix_microseconds", profile.integers.epochs[2]),
        ("unix_nanoseconds", profile.integers.epochs[3]),
        ("zero_or_one", profile.integers.zeros + profile.integers.ones),
        ("json", texts.json),
    ];
    ColumnReport {
        name: column.name.clone(),
        declared: column.declared.clone(),
        not_null: column.not_null,
        default: column.default.clone(),
        collation: column.collation.clone(),
        generated: column.generated.is_some(),
        classes: Classes {
            null: profile.nulls.count,
            integer: profile.integers.all.count,
            real: profile.reals.all.count,
            text: texts.all.count,
            blob: profile.blobs.all.count,
        },
        distinct: profile.distinct.estimate().min(profile.values()),
        distinct_is_exact: profile.distinct.is_exact(),
        integers: profile.integers.range,
        reals: profile.reals.range,
        characters: texts.characters,
        text_bytes_max: texts.bytes_max,
        blob_bytes: profile.blobs.bytes,
        forms: Form::ALL
            .into_iter()
            .map(|form| (form, texts.form(form).count))
            .filter(|(_, count)| 0 < *count)
            .collect(),
        oddities: oddities.into_iter().filter(|(_, count)| 0 < *count).collect(),
        proposal,
    }
}

fn index_report(table: &Table, index: &Index) -> IndexReport {
    let term = |term: &crate::table::IndexColumn| {
        let mut words = match &term.term {
            IndexTerm::Column(at) => table.columns[*at].name.clone(),
            IndexTerm::Rowid => "rowid".to_owned(),
            IndexTerm::Expr(expr) => expr.clone().unwrap_or_else(|| "an expression".to_owned()),
        };
        if term.collation != "BINARY" {
            words.push_str(&format!(" collate {}", term.collation));
        }
        if term.descending {
            words.push_str(" desc");
        }
        words
    };
    IndexReport {
        name: index.name.clone(),
        unique: index.unique,
        origin: match index.origin {
            IndexOrigin::Create => "create",
            IndexOrigin::Unique => "unique",
            IndexOrigin::PrimaryKey => "primary key",
        },
        terms: index.columns.iter().map(term).collect(),
        partial: index.predicate.is_some(),
    }
}

fn foreign_key_report(table: &Table, key: &ForeignKey, orphans: u64) -> ForeignKeyReport {
    ForeignKeyReport {
        columns: key.columns.iter().map(|&at| table.columns[at].name.clone()).collect(),
        parent: key.parent.clone(),
        parent_columns: key.parent_columns.clone(),
        on_delete: key.on_delete.clone(),
        on_update: key.on_update.clone(),
        orphans,
    }
}
