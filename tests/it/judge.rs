//! The judge: is PostgreSQL equal to the SQLite file, value by value?
//!
//! It shares nothing with the product. SQLite is read through the C API (storage class and
//! bytes), PostgreSQL through its text protocol, and each value is brought into a [`Form`] that
//! the *PostgreSQL* column's type decides. Two rows are equal when all their forms are; two tables
//! are equal when they hold the same multiset of rows. Keys only serve to name a difference.
//!
//! It never rounds, trims or folds case, and what it cannot compare is a difference. It holds one
//! table of both sides in memory, so it is for tests, not for big files.
//!
//! Begin with [`compare`].

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use crate::server::Target;

/// Most differences that are described; all are counted.
const DESCRIBED_MAX: usize = 20;

/// Most characters of a value that are printed.
const SHOWN_MAX: usize = 120;

/// The hidden column in which the product keeps the rowid of tables without a key.
const HIDDEN_ROWID: &str = "_lite2pg_rowid";

/// PostgreSQL keeps this many bytes of a name.
const NAME_BYTES_MAX: usize = 63;

/// Names that every PostgreSQL table has already.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// What has been read on both sides and found equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Tables.
    pub tables: u64,
    /// Rows of the source; the target has as many.
    pub rows: u64,
    /// Values of the source.
    pub values: u64,
}

/// Everything that is not equal: counted in full, described up to a limit.
#[derive(Debug, Default)]
pub struct Differences {
    /// How many there are.
    pub total: u64,
    /// The first of them.
    pub first: Vec<Difference>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The source's table, or the target's if only that exists.
    pub table: String,
    /// Names the row; empty where the table itself differs.
    pub key: String,
    /// The column; empty where the whole row or table is concerned.
    pub column: String,
    /// What the source has.
    pub source: String,
    /// What the target has.
    pub target: String,
}

impl Differences {
    fn add(&mut self, table: &str, key: &str, column: &str, source: &str, target: &str) {
        self.total += 1;
        if self.first.len() < DESCRIBED_MAX {
            self.first.push(Difference {
                table: table.into(),
                key: key.into(),
                column: column.into(),
                source: source.into(),
                target: target.into(),
            });
        }
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} differences, the first {}:", self.total, self.first.len())?;
        for difference in &self.first {
            let Difference { table, key, column, source, target } = difference;
            writeln!(f, "  table {table:?} key {key} column {column:?}")?;
            writeln!(f, "    source {source}\n    target {target}")?;
        }
        Ok(())
    }
}

/// Compares every table of the SQLite file with its PostgreSQL counterpart in `schema`.
///
/// Each side is read in one transaction. Fails the test if either side cannot be read. Tables named
/// `sqlite_…` and `_lite2pg_…` and virtual tables with their shadows are left out.
pub fn compare(sqlite: &Path, pg_url: &str, schema: &str) -> Result<Compared, Differences> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(sqlite, flags).expect("open the source");
    source.busy_timeout(std::time::Duration::from_secs(30)).expect("set the busy timeout");
    // Without a stand-in, SQLite does not prepare what could use an index by an application's
    // collation; reading whole tables compares nothing.
    source
        .collation_needed(|source, name| source.create_collation(name, |one, other| one.cmp(other)))
        .expect("lend collations");
    source.execute_batch("begin").expect("begin on the source");
    let target = Target::connect(pg_url);
    target.run(
        "set extra_float_digits = 3; set bytea_output = hex; set datestyle = 'ISO, YMD'; \
         set timezone = 'UTC'; set client_encoding = 'UTF8'; set row_security = off; \
         begin isolation level repeatable read read only",
    );

    let mut found = Differences::default();
    let mut compared = Compared::default();
    let source_tables = source_tables(&source);
    let mut target_tables = target_tables(&target, schema);
    for table in &source_tables {
        let Some(at) = counterpart(&table.name, &source_tables, &target_tables) else {
            found.add(&table.name, "", "", "a table", "no such table");
            continue;
        };
        let counterpart = target_tables.swap_remove(at);
        compared.tables += 1;
        if let Some(pairs) = pair_columns(table, &counterpart, &mut found) {
            let rows = source_rows(&source, table, &pairs);
            let target_rows = target_rows(&target, schema, &counterpart, &pairs);
            compared.rows += rows.len() as u64;
            compared.values += (rows.len() * pairs.len()) as u64;
            compare_rows(table, &pairs, rows, target_rows, &mut found);
        }
    }
    for table in &target_tables {
        found.add(&table.name, "", "", "no such table", "a table");
    }
    if found.total == 0 { Ok(compared) } else { Err(found) }
}

/// What the judge needs to know of a source table.
struct SourceTable {
    name: String,
    columns: Vec<SourceColumn>,
    /// The name under which the rowid can be read, if there is one and no column shadows it.
    rowid: Option<&'static str>,
}

struct SourceColumn {
    name: String,
    affinity: Affinity,
    in_key: bool,
}

/// The judge's own reading of <https://www.sqlite.org/datatype3.html>.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Affinity {
    Integer,
    Numeric,
    Real,
    Text,
    Blob,
}

impl Affinity {
    fn of(declared: &str) -> Self {
        let declared = declared.to_ascii_uppercase();
        let any = |words: &[&str]| words.iter().any(|word| declared.contains(word));
        match () {
            () if any(&["INT"]) => Self::Integer,
            () if any(&["CHAR", "CLOB", "TEXT"]) => Self::Text,
            () if any(&["BLOB"]) || declared.is_empty() => Self::Blob,
            () if any(&["REAL", "FLOA", "DOUB"]) => Self::Real,
            () => Self::Numeric,
        }
    }

    /// Text that looks like a number becomes one.
    fn makes_numbers(self) -> bool {
        matches!(self, Self::Integer | Self::Numeric | Self::Real)
    }
}

struct TargetTable {
    name: String,
    columns: Vec<TargetColumn>,
}

struct TargetColumn {
    name: String,
    kind: String,
}

/// A source column beside its target column; `source` is `None` for the hidden rowid.
struct Pair {
    source: Option<usize>,
    name: String,
    source_sql: String,
    target_name: String,
    kind: Kind,
    affinity: Affinity,
    in_key: bool,
}

/// How values of a PostgreSQL type are compared.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Kind {
    Integer,
    Float,
    Numeric,
    Text,
    Bytes,
    Boolean,
    Moment,
    Date,
    /// `jsonb`, in which a value's JSON type tells its storage class.
    Tagged,
    Unknown(String),
}

impl Kind {
    fn of(type_name: &str) -> Self {
        match type_name {
            "smallint" | "integer" | "bigint" => Self::Integer,
            "double precision" => Self::Float,
            "numeric" => Self::Numeric,
            "text" | "character varying" => Self::Text,
            "bytea" => Self::Bytes,
            "boolean" => Self::Boolean,
            "timestamp without time zone" | "timestamp with time zone" => Self::Moment,
            "date" => Self::Date,
            "jsonb" => Self::Tagged,
            other => Self::Unknown(other.into()),
        }
    }
}

/// A value in the form in which the two sides can be compared; equal forms are equal values.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Form {
    Null,
    Integer(i64),
    /// The bits of a double.
    Real(u64),
    Text(Vec<u8>),
    Bytes(Vec<u8>),
    Boolean(bool),
    /// Microseconds since 1970 in UTC.
    Moment(i64),
    /// A source value that the column's type should not hold. Equals nothing on the target.
    SourceMisfit(String),
    /// A target value that no source value stands for. Equals nothing on the source.
    TargetMisfit(String),
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = match self {
            Self::Null => "NULL".into(),
            Self::Integer(value) => format!("integer {value}"),
            Self::Real(bits) => format!("real {:?} (bits {bits:016x})", f64::from_bits(*bits)),
            Self::Text(bytes) => {
                format!("text {:?} ({} bytes)", String::from_utf8_lossy(bytes), bytes.len())
            }
            Self::Bytes(bytes) => format!("blob of {} bytes {}", bytes.len(), hex(bytes)),
            Self::Boolean(value) => format!("boolean {value}"),
            Self::Moment(micros) => format!("moment {micros} µs"),
            Self::SourceMisfit(what) | Self::TargetMisfit(what) => what.clone(),
        };
        match shown.char_indices().nth(SHOWN_MAX) {
            Some((at, _)) => write!(f, "{}…", &shown[..at]),
            None => f.write_str(&shown),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(SHOWN_MAX).map(|byte| format!("{byte:02x}")).collect()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn source_tables(source: &Connection) -> Vec<SourceTable> {
    let mut list = source
        .prepare(
            "select name, wr from pragma_table_list where schema = 'main' and type = 'table' \
             and name not like 'sqlite\\_%' escape '\\' \
             and name not like '\\_lite2pg\\_%' escape '\\' order by name",
        )
        .expect("list the source's tables");
    let names: Vec<(String, bool)> = list
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("list the source's tables")
        .collect::<Result<_, _>>()
        .expect("list the source's tables");
    names.into_iter().map(|(name, wr)| source_table(source, name, wr)).collect()
}

fn source_table(source: &Connection, name: String, without_rowid: bool) -> SourceTable {
    let mut list = source
        .prepare("select name, type, pk, hidden from pragma_table_xinfo(?1) order by cid")
        .expect("list columns");
    let columns: Vec<SourceColumn> = list
        .query_map([&name], |row| {
            let declared: String = row.get(1)?;
            Ok(SourceColumn {
                name: row.get(0)?,
                affinity: Affinity::of(&declared),
                in_key: row.get::<_, i64>(2)? > 0,
            })
        })
        .expect("list columns")
        .collect::<Result<_, _>>()
        .expect("list columns");
    let rowid = ["rowid", "_rowid_", "oid"].into_iter().find(|rowid| {
        !without_rowid && !columns.iter().any(|column| column.name.eq_ignore_ascii_case(rowid))
    });
    SourceTable { name, columns, rowid }
}

fn target_tables(target: &Target, schema: &str) -> Vec<TargetTable> {
    let rows = target.query(&format!(
        "select c.relname, a.attname, format_type(a.atttypid, null) \
         from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped \
         where n.nspname = '{}' and c.relkind in ('r', 'p') \
         and c.relname not like '\\_lite2pg\\_%' order by c.oid, a.attnum",
        schema.replace('\'', "''")
    ));
    let mut tables: Vec<TargetTable> = Vec::new();
    for row in rows {
        let [Some(table), column, kind] = <[_; 3]>::try_from(row).expect("three columns") else {
            panic!("a table without a name")
        };
        if tables.last().is_none_or(|last| last.name != table) {
            tables.push(TargetTable { name: table, columns: Vec::new() });
        }
        if let (Some(name), Some(kind)) = (column, kind) {
            let last = tables.last_mut().expect("pushed above");
            last.columns.push(TargetColumn { name, kind });
        }
    }
    tables
}

/// The target table of a source table: the same name, or for names that PostgreSQL cannot hold the
/// one table with the longest common beginning that is nobody else's.
fn counterpart(name: &str, sources: &[SourceTable], targets: &[TargetTable]) -> Option<usize> {
    if name.len() <= NAME_BYTES_MAX {
        return targets.iter().position(|table| table.name == name);
    }
    let taken: HashSet<&str> = sources.iter().map(|table| table.name.as_str()).collect();
    let common = |table: &TargetTable| {
        table.name.bytes().zip(name.bytes()).take_while(|(one, other)| one == other).count()
    };
    (0..targets.len())
        .filter(|at| !taken.contains(targets[*at].name.as_str()))
        .filter(|at| NAME_BYTES_MAX / 2 <= common(&targets[*at]))
        .max_by_key(|at| common(&targets[*at]))
}

/// Pairs the columns, by name and, where PostgreSQL cannot have a name, by place. `None` if
/// they do not pair; the reason has then been added.
fn pair_columns(
    source: &SourceTable,
    target: &TargetTable,
    found: &mut Differences,
) -> Option<Vec<Pair>> {
    let hidden = target.columns.iter().find(|column| column.name == HIDDEN_ROWID);
    let visible: Vec<&TargetColumn> =
        target.columns.iter().filter(|column| column.name != HIDDEN_ROWID).collect();
    let before = found.total;
    let mut used = HashSet::new();
    let mut pairs = Vec::new();
    for (at, column) in source.columns.iter().enumerate() {
        let is_taken = SYSTEM_COLUMNS.contains(&column.name.as_str());
        let partner = if column.name.len() <= NAME_BYTES_MAX && !is_taken {
            visible.iter().position(|candidate| candidate.name == column.name)
        } else {
            (at < visible.len()).then_some(at)
        };
        let Some(partner) = partner.filter(|partner| used.insert(*partner)) else {
            found.add(&source.name, "", &column.name, "a column", "no such column");
            continue;
        };
        pairs.push(Pair {
            source: Some(at),
            name: column.name.clone(),
            source_sql: quoted(&column.name),
            target_name: visible[partner].name.clone(),
            kind: Kind::of(&visible[partner].kind),
            affinity: column.affinity,
            in_key: column.in_key,
        });
    }
    for (at, column) in visible.iter().enumerate() {
        if !used.contains(&at) {
            found.add(&source.name, "", &column.name, "no such column", "a column");
        }
    }
    match (hidden, source.rowid) {
        (Some(column), Some(rowid)) => pairs.push(Pair {
            source: None,
            name: rowid.into(),
            source_sql: rowid.into(),
            target_name: column.name.clone(),
            kind: Kind::of(&column.kind),
            affinity: Affinity::Integer,
            in_key: !source.columns.iter().any(|column| column.in_key),
        }),
        (Some(_), None) => found.add(&source.name, "", HIDDEN_ROWID, "no rowid", "a column"),
        (None, _) => {}
    }
    (found.total == before).then_some(pairs)
}

fn source_rows(source: &Connection, table: &SourceTable, pairs: &[Pair]) -> Vec<Vec<Form>> {
    let columns: Vec<&str> = pairs.iter().map(|pair| pair.source_sql.as_str()).collect();
    let sql = format!("select {} from {}", columns.join(", "), quoted(&table.name));
    let mut statement = source.prepare(&sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
    let mut rows = statement.query([]).unwrap_or_else(|error| panic!("{error}: {sql}"));
    let mut forms = Vec::new();
    while let Some(row) = rows.next().unwrap_or_else(|error| panic!("{error}: {sql}")) {
        forms.push(
            pairs
                .iter()
                .enumerate()
                .map(|(at, pair)| source_form(row.get_ref(at).expect("selected"), pair))
                .collect(),
        );
    }
    forms
}

fn target_rows(
    target: &Target,
    schema: &str,
    table: &TargetTable,
    pairs: &[Pair],
) -> Vec<Vec<Form>> {
    let columns: Vec<String> = pairs.iter().map(|pair| quoted(&pair.target_name)).collect();
    let rows = target.query(&format!(
        "select {} from {}.{}",
        columns.join(", "),
        quoted(schema),
        quoted(&table.name)
    ));
    rows.iter()
        .map(|row| {
            pairs.iter().zip(row).map(|(pair, text)| target_form(text.as_deref(), pair)).collect()
        })
        .collect()
}

/// What SQLite holds, in the form that the target's type asks for.
fn source_form(value: ValueRef<'_>, pair: &Pair) -> Form {
    let numbers = pair.affinity.makes_numbers();
    match (&pair.kind, value) {
        (Kind::Unknown(kind), _) => {
            Form::SourceMisfit(format!("a value that the judge cannot compare with {kind}"))
        }
        (_, ValueRef::Null) => Form::Null,
        (Kind::Integer | Kind::Numeric, ValueRef::Integer(value)) => Form::Integer(value),
        (Kind::Float, ValueRef::Real(value)) => Form::Real(value.to_bits()),
        (Kind::Numeric, ValueRef::Real(value)) => real_as_numeric(value),
        (Kind::Text, ValueRef::Text(bytes)) => Form::Text(bytes.to_vec()),
        (Kind::Text, ValueRef::Integer(value)) if pair.affinity == Affinity::Real => {
            Form::SourceMisfit(format!("INTEGER {value} in a column of REAL affinity"))
        }
        (Kind::Text, ValueRef::Integer(value)) if numbers => {
            Form::Text(value.to_string().into_bytes())
        }
        (Kind::Text, ValueRef::Real(value)) if numbers && value.is_infinite() => {
            Form::Text(if 0.0 < value { b"Inf".to_vec() } else { b"-Inf".to_vec() })
        }
        (Kind::Text, ValueRef::Real(value)) if numbers => Form::Real(value.to_bits()),
        (Kind::Bytes, ValueRef::Blob(bytes)) => Form::Bytes(bytes.to_vec()),
        (Kind::Tagged, ValueRef::Integer(value)) => Form::Integer(value),
        (Kind::Tagged, ValueRef::Real(value)) => Form::Real(value.to_bits()),
        (Kind::Tagged, ValueRef::Text(bytes)) => Form::Text(bytes.to_vec()),
        (Kind::Tagged, ValueRef::Blob(bytes)) => Form::Bytes(bytes.to_vec()),
        (Kind::Boolean, ValueRef::Integer(0)) => Form::Boolean(false),
        (Kind::Boolean, ValueRef::Integer(1)) => Form::Boolean(true),
        (Kind::Moment, ValueRef::Text(bytes)) => moment(bytes).map_or_else(
            || Form::SourceMisfit(format!("TEXT {:?}", String::from_utf8_lossy(bytes))),
            Form::Moment,
        ),
        (Kind::Date, ValueRef::Text(bytes)) => {
            moment(bytes).filter(|micros| micros % DAY_MICROS == 0).map_or_else(
                || Form::SourceMisfit(format!("TEXT {:?}", String::from_utf8_lossy(bytes))),
                Form::Moment,
            )
        }
        (kind, other) => Form::SourceMisfit(format!("{other:?} for a {kind:?} column")),
    }
}

/// What PostgreSQL prints, in the same form.
fn target_form(text: Option<&str>, pair: &Pair) -> Form {
    let Some(text) = text else {
        return match &pair.kind {
            Kind::Unknown(kind) => Form::TargetMisfit(format!("a {kind}")),
            _ => Form::Null,
        };
    };
    let misfit = || Form::TargetMisfit(format!("{:?} value {text:?}", pair.kind));
    match &pair.kind {
        Kind::Unknown(_) => misfit(),
        Kind::Integer => text.parse().map_or_else(|_| misfit(), Form::Integer),
        Kind::Float => match text.parse::<f64>() {
            Ok(value) if !value.is_nan() => Form::Real(value.to_bits()),
            _ => misfit(),
        },
        Kind::Numeric => numeric(text).unwrap_or_else(misfit),
        Kind::Text if pair.affinity.makes_numbers() && looks_real(text, pair.affinity) => {
            decimal_as_real(text).unwrap_or_else(misfit)
        }
        Kind::Text => Form::Text(text.as_bytes().to_vec()),
        Kind::Bytes => unhex(text).map_or_else(misfit, Form::Bytes),
        Kind::Boolean => match text {
            "t" => Form::Boolean(true),
            "f" => Form::Boolean(false),
            _ => misfit(),
        },
        Kind::Tagged => tagged(text).unwrap_or_else(misfit),
        Kind::Moment | Kind::Date => moment(text.as_bytes()).map_or_else(misfit, Form::Moment),
    }
}

/// A real beside `numeric`: whole numbers compare as integers, the rest by their bits. Minus zero
/// has no decimal, so it keeps its bits and equals nothing.
fn real_as_numeric(value: f64) -> Form {
    /// 2^63, the first whole number that is no `i64`.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    let whole = value.fract() == 0.0 && (-LIMIT..LIMIT).contains(&value);
    if whole && value.to_bits() != (-0.0_f64).to_bits() {
        #[expect(clippy::cast_possible_truncation, reason = "whole and in range")]
        return Form::Integer(value as i64);
    }
    Form::Real(value.to_bits())
}

/// PostgreSQL's `numeric` text.
fn numeric(text: &str) -> Option<Form> {
    let whole = match text.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|byte| byte == b'0') => whole,
        Some(_) => return decimal_as_real(text),
        None => text,
    };
    match whole.parse() {
        Ok(value) => Some(Form::Integer(value)),
        Err(_) if text == "Infinity" => Some(Form::Real(f64::INFINITY.to_bits())),
        Err(_) if text == "-Infinity" => Some(Form::Real(f64::NEG_INFINITY.to_bits())),
        Err(_) => decimal_as_real(text),
    }
}

/// `5` is an integer, `5.0` a real, `"5"` a text; an object names what JSON has no type for.
fn tagged(json: &str) -> Option<Form> {
    if json.starts_with(['"', '{']) {
        return match serde_json::from_str(json).ok()? {
            serde_json::Value::String(text) => Some(Form::Text(text.into_bytes())),
            serde_json::Value::Object(only) if only.len() == 1 => {
                let (name, value) = only.iter().next()?;
                match (name.as_str(), value.as_str()?) {
                    ("blob", hex) => unhex(&format!("\\x{hex}")).map(Form::Bytes),
                    ("real", "-0.0") => Some(Form::Real((-0.0_f64).to_bits())),
                    ("real", "Infinity") => Some(Form::Real(f64::INFINITY.to_bits())),
                    ("real", "-Infinity") => Some(Form::Real(f64::NEG_INFINITY.to_bits())),
                    _ => None,
                }
            }
            _ => None,
        };
    }
    match json.contains('.') {
        true => decimal_as_real(json),
        false => json.parse().ok().map(Form::Integer),
    }
}

/// A finite decimal as the nearest double; `None` if it is none, or overflows, or vanishes.
fn decimal_as_real(text: &str) -> Option<Form> {
    let value: f64 = text.parse().ok()?;
    let mantissa = text.split(['e', 'E']).next()?;
    let is_zero = !mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    (value.is_finite() && (value == 0.0) == is_zero).then_some(Form::Real(value.to_bits()))
}

/// Text that can only stand for a REAL in a column that turns numeric text into numbers.
fn looks_real(text: &str, affinity: Affinity) -> bool {
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let well_formed = !(whole.is_empty() && fraction.is_empty())
        && digits(whole)
        && digits(fraction)
        && exponent.is_none_or(|exponent| {
            let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            !exponent.is_empty() && digits(exponent)
        });
    well_formed && (affinity == Affinity::Real || text.parse::<i64>().is_err())
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?;
    (digits.len() % 2 == 0).then_some(())?;
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
        .collect()
}

const DAY_MICROS: i64 = 86_400_000_000;

/// `YYYY-MM-DD[( |T)HH:MM[:SS[.fraction]][Z|±HH[:MM]]]` as microseconds since 1970, UTC.
fn moment(bytes: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let number = |from: usize, to: usize| {
        let part = text.get(from..to)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
        part.parse::<i64>().ok()
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let dashes = text.get(4..5) == Some("-") && text.get(7..8) == Some("-");
    if !dashes || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days_since_1970(year, month, day);
    let rest = &text[10..];
    if rest.is_empty() {
        return Some(days * DAY_MICROS);
    }
    if !rest.starts_with([' ', 'T']) || text.get(13..14) != Some(":") {
        return None;
    }
    let (hours, minutes) = (number(11, 13)?, number(14, 16)?);
    let mut micros = (hours * 60 + minutes) * 60_000_000;
    let mut rest = &text[16..];
    if let Some(seconds) = rest.strip_prefix(':') {
        let end = seconds.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(seconds.len());
        micros += seconds_as_micros(&seconds[..end])?;
        rest = &seconds[end..];
    }
    Some(days * DAY_MICROS + micros - zone_micros(rest)?)
}

fn seconds_as_micros(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.len() != 2 || 6 < fraction.len() {
        return None;
    }
    Some(whole.parse::<i64>().ok()? * 1_000_000 + format!("{fraction:0<6}").parse::<i64>().ok()?)
}

fn zone_micros(text: &str) -> Option<i64> {
    if text.is_empty() || text == "Z" {
        return Some(0);
    }
    let sign = match text.as_bytes()[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text[1..].split_once(':').unwrap_or((&text[1..], "0"));
    Some(sign * (hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?) * 60_000_000)
}

/// Days from civil, proleptic Gregorian.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Takes away what both sides have; what is left over differs, and is paired by key to be named.
fn compare_rows(
    table: &SourceTable,
    pairs: &[Pair],
    source: Vec<Vec<Form>>,
    target: Vec<Vec<Form>>,
    found: &mut Differences,
) {
    let mut counts: HashMap<Vec<Form>, i64> = HashMap::with_capacity(source.len());
    for row in source {
        *counts.entry(row).or_default() += 1;
    }
    for row in target {
        *counts.entry(row).or_default() -= 1;
    }
    counts.retain(|_, count| *count != 0);
    if counts.is_empty() {
        return;
    }
    let key: Vec<usize> = (0..pairs.len()).filter(|at| pairs[*at].in_key).collect();
    let key_of = |row: &[Form]| -> Vec<Form> {
        if key.is_empty() { row.to_vec() } else { key.iter().map(|at| row[*at].clone()).collect() }
    };
    let mut missing: Vec<Vec<Form>> = Vec::new();
    let mut extra: HashMap<Vec<Form>, Vec<Vec<Form>>> = HashMap::new();
    for (row, count) in counts {
        for _ in 0..count.abs() {
            if 0 < count {
                missing.push(row.clone());
            } else {
                extra.entry(key_of(&row)).or_default().push(row.clone());
            }
        }
    }
    missing.sort_by_cached_key(|row| shown(row));
    for row in missing {
        match extra.get_mut(&key_of(&row)).and_then(Vec::pop) {
            Some(other) => describe_mismatch(table, pairs, &key_of(&row), &row, &other, found),
            None => found.add(&table.name, &shown(&key_of(&row)), "", &shown(&row), "no such row"),
        }
    }
    let mut extra: Vec<Vec<Form>> = extra.into_values().flatten().collect();
    extra.sort_by_cached_key(|row| shown(row));
    for row in extra {
        found.add(&table.name, &shown(&key_of(&row)), "", "no such row", &shown(&row));
    }
}

fn describe_mismatch(
    table: &SourceTable,
    pairs: &[Pair],
    key: &[Form],
    source: &[Form],
    target: &[Form],
    found: &mut Differences,
) {
    for (at, pair) in pairs.iter().enumerate() {
        if source[at] != target[at] {
            let column = if pair.source.is_some() { &pair.name } else { HIDDEN_ROWID };
            let (one, other) = (source[at].to_string(), target[at].to_string());
            found.add(&table.name, &shown(key), column, &one, &other);
        }
    }
}

fn shown(row: &[Form]) -> String {
    let forms: Vec<String> = row.iter().map(Form::to_string).collect();
    format!("({})", forms.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::copy_everything;
    use crate::server::Database;

    const SCHEMA: &str = "
        create table item (id integer primary key, i integer, r real, t text, b blob, n numeric);
        insert into item values
            (1, 9223372036854775807, 0.1, 'plain', x'00ff', 12),
            (2, -9223372036854775808, -0.0, 'blank ', x'', 0.1),
            (3, null, 9e999, '', null, 1e300),
            (4, 0, 5e-324, 'it''s 😀', x'61', -7);
        create table bag (t text, i integer);
        insert into bag values ('x', 1), ('x', 1), ('y', null), (null, null);
        create table \"a \"\"b\"\"\n%\"
            (\"select\" text primary key, \"100 %\" integer) without rowid;
        insert into \"a \"\"b\"\"\n%\" values ('a', 1), ('A', 2), ('a ', 3);
    ";

    /// Two equal sides, the target then changed by `change`.
    fn judged(change: &str) -> Result<Compared, Differences> {
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        let file = directory.path().join("source.db");
        Connection::open(&file)
            .and_then(|source| source.execute_batch(SCHEMA))
            .expect("the schema is valid");
        let database = Database::create();
        let target = Target::connect(&database.url);
        copy_everything(&file, &target);
        target.run(change);
        compare(&file, &database.url, "public")
    }

    #[test]
    fn equal_sides_are_equal() {
        let compared = judged("").unwrap_or_else(|found| panic!("{found}"));
        assert_eq!(compared, Compared { tables: 3, rows: 11, values: 4 * 6 + 4 * 2 + 3 * 2 });
    }

    /// Each change alone must be found, and named.
    #[test]
    fn every_planted_difference_is_found() {
        for (change, table, column) in [
            ("update item set r = 0.10000000000000002 where id = 1", "item", "r"),
            // SQLite stores -0.0 in a REAL column as the integer 0 and reads it back as 0.0.
            ("update item set r = '-0' where id = 2", "item", "r"),
            ("update item set r = '-Infinity' where id = 3", "item", "r"),
            ("update item set r = 0 where id = 4", "item", "r"),
            ("update item set r = 'NaN' where id = 4", "item", "r"),
            ("update item set i = 9223372036854775806 where id = 1", "item", "i"),
            ("update item set i = 0 where id = 3", "item", "i"),
            ("update item set i = null where id = 4", "item", "i"),
            ("update item set t = 'blank' where id = 2", "item", "t"),
            ("update item set t = 'Plain' where id = 1", "item", "t"),
            ("update item set t = null where id = 3", "item", "t"),
            ("update item set t = 'it''s ?' where id = 4", "item", "t"),
            ("update item set b = '' where id = 3", "item", "b"),
            ("update item set b = null where id = 2", "item", "b"),
            ("update item set b = '\\x00fe' where id = 1", "item", "b"),
            ("update item set n = 0.10000000000000002 where id = 2", "item", "n"),
            ("update item set n = 12.5 where id = 1", "item", "n"),
            ("update item set n = 1e300::numeric + 1e285 where id = 3", "item", "n"),
            ("delete from item where id = 2", "item", ""),
            ("insert into item (id) values (5)", "item", ""),
            ("update item set id = 7 where id = 4", "item", ""),
            ("delete from bag where t = 'x'; insert into bag values ('x', 1)", "bag", ""),
            ("insert into bag values ('x', 1)", "bag", ""),
            ("insert into bag values (null, null)", "bag", ""),
            ("update bag set t = '' where t is null", "bag", ""),
            ("drop table bag", "bag", ""),
            ("create table other (i bigint)", "other", ""),
            ("alter table bag add column extra text", "bag", "extra"),
            ("alter table bag drop column i", "bag", "i"),
            ("alter table bag rename column t to \"T\"", "bag", "t"),
            ("alter table item alter column i type text", "", ""),
            ("alter table item alter column r type numeric using null", "item", "r"),
            ("alter table item alter column t type uuid using null", "item", "t"),
            (
                "update \"a \"\"b\"\"\n%\" set \"100 %\" = 3 - \"100 %\" where \"100 %\" < 3",
                "a \"b\"\n%",
                "100 %",
            ),
            (
                "update \"a \"\"b\"\"\n%\" set \"select\" = 'a  ' where \"select\" = 'a '",
                "a \"b\"\n%",
                "",
            ),
        ] {
            let result = judged(change);
            if table.is_empty() {
                // Text may hold the numbers of a column whose affinity makes numbers.
                result.unwrap_or_else(|found| panic!("{change}\n{found}"));
                continue;
            }
            let found = result.expect_err(change);
            assert!(0 < found.total && !found.first.is_empty(), "{change}");
            for difference in &found.first {
                assert_eq!(difference.table, table, "{change}\n{found}");
            }
            assert!(found.first.iter().any(|each| each.column == column), "{change}\n{found}");
        }
    }

    #[test]
    fn the_report_is_bounded_and_the_count_is_not() {
        let found =
            judged("insert into bag select repeat('z', 1000000), i from generate_series(1, 50) i")
                .expect_err("fifty rows too many");
        assert_eq!((found.total, found.first.len()), (50, DESCRIBED_MAX));
        assert!(found.to_string().len() < 20_000);
    }

    /// The hidden rowid is no extra column, but a wrong one is a difference.
    #[test]
    fn the_hidden_rowid_is_compared() {
        let fill = "alter table bag add _lite2pg_rowid bigint; delete from bag; \
                    insert into bag values ('x', 1, 1), ('x', 1, 2), ('y', null, 3)";
        judged(&format!("{fill}, (null, null, 4)")).unwrap_or_else(|found| panic!("{found}"));
        let found = judged(&format!("{fill}, (null, null, 5)")).expect_err("5 is not 4");
        assert_eq!(found.total, 2, "{found}");
    }

    #[test]
    fn moments_are_compared_by_what_they_mean() {
        let base = moment(b"2024-02-29").expect("a leap day");
        assert_eq!(base, 1_709_164_800_000_000);
        for (text, micros) in [
            ("2024-02-29 12:30", 45_000_000_000),
            ("2024-02-29T12:30:01.5Z", 45_001_500_000),
            ("2024-02-29 12:30:01.500000+00", 45_001_500_000),
            ("2024-02-29 14:30:00+02:00", 45_000_000_000),
        ] {
            assert_eq!(moment(text.as_bytes()), Some(base + micros), "{text}");
        }
        assert_eq!(moment(b"1969-12-31 23:59:59.999999"), Some(-1));
        for text in ["", "2024", "2024-13-01", "2024-01-01 ", "2024-01-01 1:00", "24-01-01 x"] {
            assert_eq!(moment(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn numbers_in_text_columns_compare_only_as_the_affinity_allows() {
        let pair = |affinity| Pair {
            source: Some(0),
            name: String::new(),
            source_sql: String::new(),
            target_name: String::new(),
            kind: Kind::Text,
            affinity,
            in_key: false,
        };
        let equal = |affinity, value: ValueRef<'_>, text: &str| {
            source_form(value, &pair(affinity)) == target_form(Some(text), &pair(affinity))
        };
        for affinity in [Affinity::Integer, Affinity::Numeric] {
            assert!(equal(affinity, ValueRef::Integer(5), "5"));
            assert!(!equal(affinity, ValueRef::Integer(5), "5.0"));
            assert!(!equal(affinity, ValueRef::Integer(5), " 5"));
            assert!(equal(affinity, ValueRef::Real(0.1), "0.1"));
            assert!(equal(affinity, ValueRef::Real(1e300), "1e+300"));
            assert!(!equal(affinity, ValueRef::Real(0.1), "0.10000000000000002"));
            assert!(equal(affinity, ValueRef::Text(b"five"), "five"));
        }
        for affinity in [Affinity::Text, Affinity::Blob] {
            assert!(!equal(affinity, ValueRef::Integer(5), "5"));
            assert!(!equal(affinity, ValueRef::Real(0.5), "0.5"));
            assert!(equal(affinity, ValueRef::Text(b"0.5"), "0.5"));
        }
    }
}
