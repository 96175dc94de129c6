//! What a column makes of a value: its affinity on the source, its type on the target.

use super::compare::is_numeric;
use super::constant::{Looks, Value, numeric_value, whole};
use super::{Class, Refusal, Term};
use crate::table::Affinity;
use crate::value::PgType;

/// What becomes of a value when it is stored in a column
/// (<https://www.sqlite.org/datatype3.html#type_affinity>), and whether the target's type holds it.
pub(super) fn store(term: Term, affinity: Affinity, pg: PgType) -> Result<Term, Refusal> {
    let term = term.into_integer();
    if term.class == Class::Null {
        return Ok(Term::atom("null", Class::Null));
    }
    if let Some(value) = &term.value {
        return store_value(value, affinity, pg);
    }
    let numeric = is_numeric(affinity);
    let stored = match (term.class, affinity) {
        (Class::Int, Affinity::Real) => {
            Term::atom(format!("{}::double precision", term.operand()), Class::Real)
        }
        (Class::Int, Affinity::Text) => {
            Term::atom(format!("{}::text", term.operand()), Class::Text)
        }
        (Class::Real, Affinity::Integer | Affinity::Numeric) => {
            return Err("a double without a fraction would be stored as an integer".into());
        }
        (Class::Real | Class::Numeric, Affinity::Text) => {
            return Err("a double would be stored as text".into());
        }
        (Class::Text, _) if numeric && term.looks == Looks::Digits => {
            Term::atom(format!("{}::bigint", term.operand()), Class::Int)
        }
        (Class::Text, _) if numeric && term.looks != Looks::NeverNumeric => {
            return Err("text that looks like a number would be stored as one".into());
        }
        _ => term,
    };
    match (stored.class, pg) {
        (Class::Int, PgType::Int8)
        | (Class::Real, PgType::Float8)
        | (Class::Text, PgType::Text)
        | (Class::Numeric, PgType::Numeric)
        | (Class::Blob, PgType::Bytea) => Ok(stored),
        (Class::Int, PgType::Numeric) => {
            Ok(Term::atom(format!("{}::numeric", stored.operand()), Class::Numeric))
        }
        (Class::Int, PgType::Text) if numeric => {
            Ok(Term::atom(format!("{}::text", stored.operand()), Class::Text))
        }
        (class, pg) => Err(misfit(class, pg)),
    }
}

pub(super) fn misfit(class: Class, pg: PgType) -> Refusal {
    let what = match class {
        Class::Int => "an integer",
        Class::Real => "a double",
        Class::Numeric => "a number",
        Class::Text => "text",
        Class::Blob => "a blob",
        Class::Null | Class::Bool => "a truth value",
    };
    format!("it gives {what}, and the column is {} on the target", pg.sql())
}

/// As [`store`], for a constant.
pub(super) fn store_value(value: &Value, affinity: Affinity, pg: PgType) -> Result<Term, Refusal> {
    let stored = match (value, affinity) {
        (Value::Int(int), Affinity::Real) => Value::Real(*int as f64),
        (Value::Int(int), Affinity::Text) => Value::Text(int.to_string()),
        (Value::Real(_), Affinity::Text) => {
            return Err("a double would be stored as text".into());
        }
        (Value::Real(real), Affinity::Integer | Affinity::Numeric) => whole(*real),
        (Value::Text(text), Affinity::Integer | Affinity::Numeric) => {
            numeric_value(text)?.unwrap_or_else(|| value.clone())
        }
        (Value::Text(text), Affinity::Real) => match numeric_value(text)? {
            Some(Value::Int(int)) => Value::Real(int as f64),
            Some(number) => number,
            None => value.clone(),
        },
        _ => value.clone(),
    };
    match (&stored, pg) {
        (Value::Int(_), PgType::Int8 | PgType::Numeric)
        | (Value::Real(_), PgType::Float8 | PgType::Numeric)
        | (Value::Text(_), PgType::Text)
        | (Value::Blob(_), PgType::Bytea) => Ok(Term::constant(stored)),
        (Value::Int(int), PgType::Text) if is_numeric(affinity) => {
            Ok(Term::constant(Value::Text(int.to_string())))
        }
        _ => Err(misfit(Term::constant(stored).class, pg)),
    }
}
