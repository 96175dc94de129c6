//! Comparisons, as SQLite makes them.
//!
//! Affinities are applied to constants here and refused where they depend on the value;
//! collations become functions; integers and doubles meet only where PostgreSQL's rounding
//! cannot show (<https://www.sqlite.org/datatype3.html#comparison_expressions>).

use super::constant::{EXACT_MAX, Looks, Value, numeric_value};
use super::{Class, Refusal, Term, Walk, fold};
use crate::table::{Affinity, Literal};

impl Walk<'_> {
    pub(super) fn compare(
        &mut self,
        comparison: Comparison,
        l: Term,
        r: Term,
    ) -> Result<Term, Refusal> {
        let (l, r) = (l.into_integer(), r.into_integer());
        if l.class == Class::Null || r.class == Class::Null {
            return compare_null(comparison, &l, &r);
        }
        let Operands { left, right, constant } = self.operands(comparison, l, r)?;
        Ok(match constant {
            None => Term::new(format!("{left} {} {right}", comparison.sql()), Class::Bool),
            Some(answer) => {
                let known = format!("{left} is not null and {right} is not null");
                let sql = match comparison {
                    Comparison::Same => format!("{left} is null and {right} is null"),
                    Comparison::NotSame => format!("not ({left} is null and {right} is null)"),
                    _ => {
                        return Ok(Term::atom(
                            format!("case when {known} then {answer} end"),
                            Class::Bool,
                        ));
                    }
                };
                Term::new(sql, Class::Bool)
            }
        })
    }

    /// Makes two terms comparable as SQLite compares them
    /// (<https://www.sqlite.org/datatype3.html#comparison_expressions>).
    pub(super) fn operands(
        &mut self,
        comparison: Comparison,
        l: Term,
        r: Term,
    ) -> Result<Operands, Refusal> {
        let (l, r) = (l.into_integer(), r.into_integer());
        let applied = comparison_affinity(l.affinity, r.affinity);
        if (l.class == Class::Text && l.is_mixed) || (r.class == Class::Text && r.is_mixed) {
            return mixed_operands(comparison, &l, &r);
        }
        let (l, r) = (apply(l, applied)?, apply(r, applied)?);
        if l.class == Class::Text && r.class == Class::Text {
            return self.text_operands(comparison, &l, &r);
        }
        if l.class == Class::Blob && r.class == Class::Blob {
            return Ok(Operands::plain(&l, &r));
        }
        if l.is_number() && r.is_number() {
            return number_operands(&l, &r);
        }
        // Numbers come before text, and text before blobs.
        let rank = |term: &Term| match term.class {
            Class::Text => 1,
            Class::Blob => 2,
            _ => 0,
        };
        let answer = match comparison {
            Comparison::Equal | Comparison::Same => false,
            Comparison::NotEqual | Comparison::NotSame => true,
            Comparison::Less | Comparison::LessOrEqual => rank(&l) < rank(&r),
            Comparison::Greater | Comparison::GreaterOrEqual => rank(&r) < rank(&l),
        };
        let (left, right) = (l.operand(), r.operand());
        Ok(Operands { left, right, constant: Some(answer) })
    }

    pub(super) fn text_operands(
        &self,
        comparison: Comparison,
        l: &Term,
        r: &Term,
    ) -> Result<Operands, Refusal> {
        let reaches_out = |term: &Term| term.has_collate && term.collation_above_column.is_none();
        if reaches_out(l) || reaches_out(r) {
            return Err("a COLLATE inside it reaches outwards".into());
        }
        if comparison.is_order() && !self.scope.utf8 {
            return Err("it orders text, which UTF-16 databases do by other bytes".into());
        }
        let explicit = l.collation_above_column.as_ref().or(r.collation_above_column.as_ref());
        let implicit = l.collation.as_ref().or(r.collation.as_ref());
        let collation = explicit.or(implicit).map_or("BINARY", String::as_str);
        let side = |term: &Term| -> Result<Term, Refusal> {
            if let Some(Value::Text(text)) = &term.value {
                return Ok(Term::constant(Value::Text(match collation {
                    "NOCASE" => text.to_ascii_lowercase(),
                    "RTRIM" => text.trim_end_matches(' ').to_owned(),
                    _ => text.clone(),
                })));
            }
            if collation == "BINARY" {
                return Ok(term.clone());
            }
            Ok(Term::atom(fold(&term.in_c(), collation)?, Class::Text).collated(true))
        };
        fold("", collation)?;
        let (left, right) = (side(l)?, side(r)?);
        if comparison.is_order() && !left.is_collated && !right.is_collated {
            let left = format!("({})", left.in_c());
            return Ok(Operands { left, right: right.operand(), constant: None });
        }
        Ok(Operands::plain(&left, &right))
    }
}

/// Two sides that PostgreSQL may compare; or the answer, if neither is NULL.
pub(super) struct Operands {
    pub(super) left: String,
    pub(super) right: String,
    /// Set if the classes alone decide.
    pub(super) constant: Option<bool>,
}

impl Operands {
    pub(super) fn plain(l: &Term, r: &Term) -> Self {
        Self { left: l.operand(), right: r.operand(), constant: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Same,
    NotSame,
}

impl Comparison {
    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Same => "is not distinct from",
            Self::NotSame => "is distinct from",
        }
    }

    pub(super) fn is_order(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual)
    }
}

pub(super) fn is_numeric(affinity: Affinity) -> bool {
    matches!(affinity, Affinity::Integer | Affinity::Numeric | Affinity::Real)
}

/// The affinity that a comparison applies to both its sides.
pub(super) fn comparison_affinity(l: Option<Affinity>, r: Option<Affinity>) -> Affinity {
    let numeric_or = |affinity: Affinity| {
        if is_numeric(affinity) { Affinity::Numeric } else { affinity }
    };
    match (l, r) {
        (Some(l), Some(r)) if is_numeric(l) || is_numeric(r) => Affinity::Numeric,
        (Some(_), Some(_)) | (None, None) => Affinity::Blob,
        (Some(one), None) | (None, Some(one)) => numeric_or(one),
    }
}

/// A term after an affinity was applied to it for a comparison.
pub(super) fn apply(term: Term, affinity: Affinity) -> Result<Term, Refusal> {
    match (affinity, term.class) {
        (Affinity::Text, Class::Int) => {
            let mut text = match term.value {
                Some(Value::Int(int)) => Term::constant(Value::Text(int.to_string())),
                _ => Term::atom(format!("{}::text", term.operand()), Class::Text),
            };
            text.collation_above_column = term.collation_above_column;
            text.has_collate = term.has_collate;
            Ok(text)
        }
        (Affinity::Text, Class::Real | Class::Numeric) => {
            Err("it makes text of a double, which the two sides write differently".into())
        }
        (Affinity::Numeric | Affinity::Integer | Affinity::Real, Class::Text) => {
            if let Some(Value::Text(text)) = &term.value {
                return Ok(match numeric_value(text)? {
                    Some(number) => Term::constant(number),
                    None => term,
                });
            }
            match term.looks {
                Looks::NeverNumeric => Ok(term),
                Looks::Digits => Ok(Term::atom(format!("{}::bigint", term.operand()), Class::Int)),
                Looks::Unknown => {
                    Err("it compares text with numbers, by whether the text looks like one".into())
                }
            }
        }
        _ => Ok(term),
    }
}

/// A `text` column that also holds numbers: only equality with a constant is certain.
pub(super) fn mixed_operands(
    comparison: Comparison,
    l: &Term,
    r: &Term,
) -> Result<Operands, Refusal> {
    let refused = || {
        Err("its column can hold numbers among its texts, which sort and compare apart".to_owned())
    };
    let (column, other, column_is_left) =
        if l.is_mixed && l.class == Class::Text { (l, r, true) } else { (r, l, false) };
    if comparison.is_order()
        || !matches!(column.affinity, Some(Affinity::Integer | Affinity::Numeric))
    {
        return refused();
    }
    let explicit = l.has_collate || r.has_collate;
    if explicit || column.collation.as_deref().is_some_and(|name| name != "BINARY") {
        return refused();
    }
    let text = match &other.value {
        Some(Value::Text(text)) => match numeric_value(text)? {
            None => text.clone(),
            Some(Value::Int(int)) => int.to_string(),
            Some(_) => return refused(),
        },
        Some(Value::Int(int)) => int.to_string(),
        _ => return refused(),
    };
    let (column, other) = (column.operand(), Literal(&text).to_string());
    let (left, right) = if column_is_left { (column, other) } else { (other, column) };
    Ok(Operands { left, right, constant: None })
}

/// SQLite compares integers and doubles by their exact values; PostgreSQL would round first.
pub(super) fn number_operands(l: &Term, r: &Term) -> Result<Operands, Refusal> {
    let is_small = |term: &Term| match term.value {
        Some(Value::Int(int)) => (-EXACT_MAX..=EXACT_MAX).contains(&int),
        Some(Value::Real(real)) => real.abs() < EXACT_MAX as f64,
        _ => false,
    };
    let is_exact = match (l.class, r.class) {
        (Class::Int, Class::Int) | (Class::Real, Class::Real) => true,
        (Class::Int, Class::Real) | (Class::Real, Class::Int) => is_small(l) || is_small(r),
        (Class::Numeric, Class::Numeric) => !l.is_mixed && !r.is_mixed,
        (Class::Numeric, Class::Int) => !l.is_mixed || is_small(r),
        (Class::Int, Class::Numeric) => !r.is_mixed || is_small(l),
        (Class::Numeric, Class::Real) => is_small(r),
        (Class::Real, Class::Numeric) => is_small(l),
        _ => false,
    };
    if !is_exact {
        return Err("it compares integers with doubles, which PostgreSQL rounds first".into());
    }
    Ok(Operands::plain(l, r))
}

/// A comparison with the literal NULL.
pub(super) fn compare_null(comparison: Comparison, l: &Term, r: &Term) -> Result<Term, Refusal> {
    let other = if l.class == Class::Null { r } else { l };
    let other = if other.class == Class::Null { "null::text".into() } else { other.operand() };
    Ok(match comparison {
        Comparison::Same => Term::new(format!("{other} is null"), Class::Bool),
        Comparison::NotSame => Term::new(format!("{other} is not null"), Class::Bool),
        _ => Term::atom("null::boolean", Class::Bool),
    })
}
