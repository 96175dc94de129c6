//! DEFAULT clauses.
//!
//! What SQLite would store for an omitted column, in the form that the target stores it: the
//! column's affinity is applied here, and clocks give the very text that SQLite's would
//! (<https://www.sqlite.org/lang_createtable.html#the_default_clause>).

use sqlite3_parser::ast::{Expr, Id, Name};

use super::constant::Value;
use super::{Purpose, Refusal, Scope, Term, Walk, store};
use crate::grammar::{self, dequote};
use crate::table::Affinity;
use crate::value::codec::Codec;
use crate::value::codec::kind::Kind;
use crate::value::codec::moment::Zone;
use crate::value::{ColumnType, PgType, Storage};

/// Translates the DEFAULT of a column; `None` is no default at all, which NULL is.
///
/// Call it on a deep stack ([`grammar::on_deep_stack`]).
pub fn translate(
    text: &str,
    affinity: Affinity,
    pg: &ColumnType,
) -> Result<Option<String>, Refusal> {
    match pg {
        ColumnType::Chosen(pg) => chosen(text, affinity, *pg),
        ColumnType::Set(codec) => set(text, affinity, codec),
    }
}

/// What `CURRENT_TIMESTAMP` becomes in a column of text.
const CLOCK: &str = "to_char(statement_timestamp() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS')";

/// For a type that the configuration set: constants that the codec takes, and the clock.
fn set(text: &str, affinity: Affinity, codec: &Codec) -> Result<Option<String>, Refusal> {
    let name = &codec.target().name;
    let refusal = || format!("it is not translated for {name}, which the configuration set");
    let fits = |value| codec.encode(value, &mut Vec::new()).is_ok();
    let kind = &codec.target().kind;
    if let Some(number) = chosen(text, affinity, PgType::Int8).ok().flatten()
        && let Ok(integer) = number.parse::<i64>()
        && fits(Storage::Integer(integer))
    {
        return match kind {
            Kind::SmallInt | Kind::Integer | Kind::BigInt => Ok(Some(number)),
            Kind::Boolean => Ok(Some((integer == 1).to_string())),
            _ => Err(refusal()),
        };
    }
    let Some(sql) = chosen(text, affinity, PgType::Text)? else { return Ok(None) };
    if sql == CLOCK {
        return match kind {
            Kind::Timestamptz(_) if codec.policies().zone == Some(Zone::universal()) => {
                Ok(Some("date_trunc('second', statement_timestamp())".to_owned()))
            }
            _ => Err(refusal()),
        };
    }
    let literal = sql.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    let is_alike = matches!(
        kind,
        Kind::Text | Kind::Varchar(_) | Kind::Uuid | Kind::Date | Kind::Json | Kind::Jsonb
    );
    match literal.map(|literal| literal.replace("''", "'")) {
        Some(value) if is_alike && fits(Storage::Text(value.as_bytes())) => Ok(Some(sql)),
        _ => Err(refusal()),
    }
}

fn chosen(text: &str, affinity: Affinity, pg: PgType) -> Result<Option<String>, Refusal> {
    grammar::expression(text, |expr| {
        let scope = Scope { columns: Vec::new(), utf8: true, purpose: Purpose::Default };
        let mut walk = Walk::new(&scope);
        let term = match expr {
            // Without parentheses any name is text, quoted or not, but TRUE and FALSE are not.
            Expr::Id(Id(name)) | Expr::Name(Name(name)) => bare(name),
            _ => walk.expr(expr)?.without_collate()?,
        };
        let stored = store(term, affinity, pg)?;
        Ok((stored.class != super::Class::Null).then_some(stored.sql))
    })?
}

fn bare(written: &str) -> Term {
    let is_word = |word: &str| written.eq_ignore_ascii_case(word);
    Term::constant(match () {
        () if is_word("true") => Value::Int(1),
        () if is_word("false") => Value::Int(0),
        () => Value::Text(dequote(written)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default(text: &str, declared: &str, pg: PgType) -> Result<Option<String>, Refusal> {
        grammar::on_deep_stack(|| translate(text, Affinity::of(declared), &pg.into()))
    }

    #[test]
    fn constants_are_what_sqlite_would_store() {
        for (text, declared, pg, expected) in [
            ("5", "INTEGER", PgType::Int8, "5"),
            ("'5'", "INTEGER", PgType::Int8, "5"),
            ("' +5.0e1 '", "INTEGER", PgType::Int8, "50"),
            ("+5", "INT", PgType::Int8, "5"),
            ("-9223372036854775808", "INT", PgType::Int8, "(-9223372036854775808)::bigint"),
            ("0xFF", "INT", PgType::Int8, "255"),
            ("1", "TEXT", PgType::Text, "'1'"),
            ("-1", "TEXT", PgType::Text, "'-1'"),
            ("TRUE", "BOOLEAN", PgType::Int8, "1"),
            ("(false)", "BOOLEAN", PgType::Int8, "0"),
            ("'0'", "BOOLEAN", PgType::Int8, "0"),
            ("\"it's\"", "TEXT", PgType::Text, "'it''s'"),
            ("draft", "TEXT", PgType::Text, "'draft'"),
            ("'draft'", "VARCHAR(9)", PgType::Text, "'draft'"),
            ("x'00fF'", "BLOB", PgType::Bytea, "'\\x00ff'::bytea"),
            ("0", "REAL", PgType::Float8, "0.0"),
            ("0.1", "REAL", PgType::Float8, "0.1"),
            ("1.0", "DECIMAL(5,2)", PgType::Numeric, "1"),
            ("1.50", "DECIMAL(5,2)", PgType::Numeric, "1.5"),
            ("7", "DATETIME", PgType::Text, "'7'"),
            ("'2024-01-01'", "DATE", PgType::Text, "'2024-01-01'"),
        ] {
            assert_eq!(
                default(text, declared, pg).as_ref().map(Option::as_deref),
                Ok(Some(expected)),
                "{text} {declared}"
            );
        }
        assert_eq!(default("NULL", "TEXT", PgType::Text), Ok(None));
    }

    #[test]
    fn clocks_give_the_text_that_sqlite_gives() {
        let clock = |pattern: &str| {
            Ok(Some(format!("to_char(statement_timestamp() at time zone 'UTC', '{pattern}')")))
        };
        for (text, pattern) in [
            ("CURRENT_TIMESTAMP", "YYYY-MM-DD HH24:MI:SS"),
            ("current_date", "YYYY-MM-DD"),
            ("CURRENT_TIME", "HH24:MI:SS"),
            ("datetime('now')", "YYYY-MM-DD HH24:MI:SS"),
            ("(date('NOW'))", "YYYY-MM-DD"),
            ("datetime('now', 'subsec')", "YYYY-MM-DD HH24:MI:SS.MS"),
            ("strftime('%Y-%m-%d %H:%M:%f', 'now')", "YYYY-MM-DD HH24:MI:SS.MS"),
            ("strftime('%Y-%m-%dT%H:%M:%SZ', 'now')", "YYYY-MM-DD\"T\"HH24:MI:SS\"Z\""),
        ] {
            assert_eq!(default(text, "DATETIME", PgType::Text), clock(pattern), "{text}");
        }
    }

    #[test]
    fn what_is_not_exact_is_refused() {
        for (text, declared, pg) in [
            ("datetime('now', 'localtime')", "TEXT", PgType::Text),
            ("strftime('%W', 'now')", "TEXT", PgType::Text),
            ("'x'", "INTEGER", PgType::Int8),
            ("''", "BOOLEAN", PgType::Int8),
            ("1.5", "TEXT", PgType::Text),
            ("0.12345678901234567", "REAL", PgType::Float8),
            ("CURRENT_TIMESTAMP", "INTEGER", PgType::Int8),
            ("own_function()", "TEXT", PgType::Text),
            ("json_array()", "JSON", PgType::Text),
            ("5", "", PgType::Text),
        ] {
            assert!(default(text, declared, pg).is_err(), "{text} {declared}");
        }
    }
}
