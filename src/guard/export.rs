//! What a restore would do, as SQL for SQLite that a person can read, change and run.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::account::Kind;
use super::{Case, Error};
use crate::batch::{KeyImage, encode_key, key_of_json};
use crate::daemon::Config;
use crate::mapping::{From, Mapping};
use crate::table::Ident;
use crate::target::proof::{self, Finder};
use crate::target::{self, connect};
use crate::value::{Owned, Storage};

/// Writes the file, readable by its owner alone: it holds the application's values. Fails if it is
/// there already.
pub(super) async fn sql(config: &Config, case: &Case, path: &Path) -> Result<(), Error> {
    let failed = |source| Error::Export { path: path.to_path_buf(), source };
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut out = std::io::BufWriter::new(options.open(path).map_err(failed)?);
    let (client, _) =
        connect::connect(&config.target, "lite2pg guard").await.map_err(target::Error::from)?;
    proof::go_by_index(&client).await?;
    let head = "-- What PostgreSQL has and the file has not, or not so. Rows are written without \
                triggers:\n-- in the sqlite3 shell, `.dbconfig enable_trigger off` first.\n\
                pragma foreign_keys = off;\nbegin immediate;\n";
    out.write_all(head.as_bytes()).map_err(failed)?;
    for (table, mapping) in case.plan.mappings.iter().enumerate() {
        let finder = Finder::of(&client, &config.target_schema, mapping).await?;
        let mut after = 0;
        while let Some(row) = case.spool.next(table, after)? {
            after = row.id;
            let Some(key) = key_of_json(&row.key) else { continue };
            let text = match row.kind {
                Kind::Gained => gained(mapping, &key),
                Kind::Lost | Kind::Changed => {
                    let Ok(image) = encode_key(mapping, |at| key[at].storage()) else { continue };
                    let found = finder.rows(&client, mapping, &[&image as &KeyImage]).await?;
                    let Some(found) = found.rows.first() else { continue };
                    let mut text = String::new();
                    if row.kind == Kind::Changed {
                        text += &format!("-- changed\n{}", delete(mapping, &key));
                    }
                    text + &insert(mapping, &found.fields)
                }
            };
            out.write_all(text.as_bytes()).map_err(failed)?;
        }
    }
    out.write_all(b"commit;\n").and_then(|()| out.flush()).map_err(failed)
}

/// A row that only the file has: the statement that would remove it, for a person to decide on.
fn gained(mapping: &Mapping, key: &[Owned]) -> String {
    format!("-- only in the file: {}", delete(mapping, key))
}

fn delete(mapping: &Mapping, key: &[Owned]) -> String {
    let conditions: Vec<String> = mapping
        .key
        .iter()
        .zip(key)
        .map(|(at, value)| format!("{} is {}", name(mapping, *at), literal(value.storage())))
        .collect();
    format!("delete from {} where {};\n", mapping.table.ident(), conditions.join(" and "))
}

fn insert(mapping: &Mapping, fields: &[Option<Vec<u8>>]) -> String {
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for (at, (column, field)) in mapping.columns.iter().zip(fields).enumerate() {
        if let From::Column(index) = column.from
            && mapping.table.columns[index].generated.is_some()
        {
            continue;
        }
        names.push(name(mapping, at));
        values.push(match column.pg.decode(column.affinity, field.as_deref()) {
            Some(value) => literal(value.storage()),
            None => "/* no form in the file */ null".to_owned(),
        });
    }
    format!(
        "insert into {} ({}) values ({});\n",
        mapping.table.ident(),
        names.join(", "),
        values.join(", ")
    )
}

fn name(mapping: &Mapping, at: usize) -> String {
    match mapping.columns[at].from {
        From::Rowid => mapping.table.rowid_name.unwrap_or("rowid").to_owned(),
        From::Column(index) => Ident::new(&mapping.table.columns[index].name).to_string(),
    }
}

/// A value as SQLite reads it back to the last bit.
fn literal(value: Storage<'_>) -> String {
    match value {
        Storage::Null => "null".to_owned(),
        Storage::Integer(i64::MIN) => "(-9223372036854775807 - 1)".to_owned(),
        Storage::Integer(integer) => integer.to_string(),
        Storage::Real(real) if real.is_infinite() && 0.0 < real => "9e999".to_owned(),
        Storage::Real(real) if real.is_infinite() => "-9e999".to_owned(),
        Storage::Real(real) => format!("{real:?}"),
        Storage::Text(text) => match std::str::from_utf8(text) {
            Ok(text) if !text.contains('\0') => format!("'{}'", text.replace('\'', "''")),
            _ => format!("cast(x'{}' as text)", hex(text)),
        },
        Storage::Blob(bytes) => format!("x'{}'", hex(bytes)),
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SQLite itself is the judge.
    #[test]
    fn literals_come_back_to_the_last_bit() {
        let conn = rusqlite::Connection::open_in_memory().expect("open");
        let values = [
            Owned::Null,
            Owned::Integer(i64::MIN),
            Owned::Integer(i64::MAX),
            Owned::Integer(0),
            Owned::Real(0.1),
            Owned::Real(-1e300),
            Owned::Real(5e-324),
            Owned::Real(3.0),
            Owned::Real(f64::INFINITY),
            Owned::Real(f64::NEG_INFINITY),
            Owned::Text(b"it's".to_vec()),
            Owned::Text(b"a\0b".to_vec()),
            Owned::Text(vec![0xff, 0xfe]),
            Owned::Text(Vec::new()),
            Owned::Blob(vec![0, 39, 255]),
            Owned::Blob(Vec::new()),
        ];
        for value in values {
            let sql = format!("select {}", literal(value.storage()));
            let back = conn
                .query_row(&sql, [], |row| Ok(Owned::from(crate::source::storage(row.get_ref(0)?))))
                .expect("a literal");
            assert_eq!(back, value, "{sql}");
        }
    }
}
