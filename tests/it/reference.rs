//! A naive stand-in for the product: copies every row of every table, each time anew.
//!
//! It proves that the judge and the workload run end to end, and gives the planted-difference
//! tests two equal sides to start from. Values travel as text literals, one type per affinity. It
//! keeps no position, follows no changes and makes no keys, so it says nothing about the product.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use crate::server::Target;

/// Makes `public` on the target hold exactly the tables of the file, in one transaction.
pub fn copy_everything(sqlite: &Path, target: &Target) {
    let source = Connection::open(sqlite).expect("open the source");
    source.busy_timeout(std::time::Duration::from_secs(30)).expect("set the busy timeout");
    source.execute_batch("begin").expect("begin on the source");
    let mut script = String::from(
        "begin; set client_min_messages = warning; drop schema if exists public cascade; \
         create schema public;\n",
    );
    for name in column(
        &source,
        "select name from sqlite_schema where type = 'table' \
         and name not like 'sqlite\\_%' escape '\\' and name not like '\\_lite2pg\\_%' escape '\\'",
        &[],
    ) {
        script_table(&source, &name, &mut script);
    }
    script.push_str("commit");
    target.run(&script);
}

fn script_table(source: &Connection, name: &str, script: &mut String) {
    let columns = column(source, "select name from pragma_table_xinfo(?1)", &[name]);
    let declared = column(source, "select type from pragma_table_xinfo(?1)", &[name]);
    let target_name = quoted(&short(name));
    let definitions: Vec<String> = columns
        .iter()
        .zip(&declared)
        .map(|(column, declared)| format!("{} {}", quoted(&short(column)), kind(declared)))
        .collect();
    script.push_str(&format!("create table public.{target_name} ({});\n", definitions.join(", ")));
    let selected: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
    let sql = format!("select {} from {}", selected.join(", "), quoted(name));
    let mut statement = source.prepare(&sql).expect("the table was just listed");
    let mut rows = statement.query([]).expect("the table was just listed");
    let mut lines = Vec::new();
    while let Some(row) = rows.next().expect("read a row") {
        let values: Vec<String> =
            (0..columns.len()).map(|at| literal(row.get_ref(at).expect("selected"))).collect();
        lines.push(format!("({})", values.join(", ")));
    }
    if !lines.is_empty() {
        let all = lines.join(",\n");
        script.push_str(&format!("insert into public.{target_name} values {all};\n"));
    }
}

fn column(source: &Connection, sql: &str, parameters: &[&str]) -> Vec<String> {
    source
        .prepare(sql)
        .and_then(|mut statement| {
            statement.query_map(rusqlite::params_from_iter(parameters), |row| row.get(0))?.collect()
        })
        .unwrap_or_else(|error| panic!("{error}: {sql}"))
}

/// The target type for a declared type.
fn kind(declared: &str) -> &'static str {
    let declared = declared.to_ascii_uppercase();
    let has = |word: &str| declared.contains(word);
    if has("INT") {
        "bigint"
    } else if has("CHAR") || has("CLOB") || has("TEXT") {
        "text"
    } else if has("BLOB") {
        "bytea"
    } else if has("REAL") || has("FLOA") || has("DOUB") {
        "double precision"
    } else {
        "numeric"
    }
}

fn literal(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "null".into(),
        ValueRef::Integer(value) => format!("'{value}'"),
        ValueRef::Real(value) if value.is_infinite() => {
            format!("'{}Infinity'", if value < 0.0 { "-" } else { "" })
        }
        ValueRef::Real(value) => format!("'{value:e}'"),
        ValueRef::Text(bytes) => {
            let text = std::str::from_utf8(bytes).expect("the generator writes UTF-8");
            format!("'{}'", text.replace('\'', "''"))
        }
        ValueRef::Blob(bytes) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("'\\x{digits}'")
        }
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A name that PostgreSQL can hold: a long one keeps its beginning and gets a suffix.
fn short(name: &str) -> String {
    if name.len() <= 63 {
        return name.into();
    }
    let hash = name.bytes().fold(5381_u32, |hash, byte| hash.wrapping_mul(33) ^ u32::from(byte));
    format!("{}_{hash:08x}", &name[..name.floor_char_boundary(54)])
}
