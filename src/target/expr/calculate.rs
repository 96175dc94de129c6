//! Arithmetic, CAST and concatenation, as far as both sides come to the same.
//!
//! Integers divide and wrap alike but at the ends of their range: there SQLite goes on with a
//! double and PostgreSQL reports an error, which is noted. Division by zero is NULL in SQLite.

use sqlite3_parser::ast::Operator;

use super::constant::{Looks, Value};
use super::{Class, Refusal, Term, Walk};
use crate::table::Affinity;

impl Walk<'_> {
    /// <https://www.sqlite.org/lang_expr.html#castexpr>, as far as it is exact.
    pub(super) fn cast(&mut self, term: Term, declared: &str) -> Result<Term, Refusal> {
        let term = term.into_integer();
        let to = Affinity::of(declared);
        let refused = || Err(format!("CAST to {declared} goes by the look of the value"));
        let collation = term.collation.clone();
        let mut result = match (term.class, to) {
            (Class::Null, _) => return Ok(term),
            (Class::Int, Affinity::Integer | Affinity::Numeric)
            | (Class::Real, Affinity::Real)
            | (Class::Blob, Affinity::Blob) => term,
            (Class::Text, Affinity::Text) if !term.is_mixed => term,
            (Class::Int, Affinity::Real) => {
                Term::atom(format!("{}::double precision", term.operand()), Class::Real)
            }
            (Class::Int, Affinity::Text) => {
                let mut text = Term::atom(format!("{}::text", term.operand()), Class::Text);
                text.looks = Looks::Digits;
                text
            }
            (Class::Real, Affinity::Integer) => {
                // SQLite stops at the ends of the range, PostgreSQL says that they are passed.
                self.differs = true;
                Term::atom(format!("trunc({})::bigint", term.typed()), Class::Int)
            }
            (Class::Text, Affinity::Integer | Affinity::Numeric) if term.looks == Looks::Digits => {
                Term::atom(format!("{}::bigint", term.operand()), Class::Int)
            }
            _ => return refused(),
        };
        result.affinity = Some(to);
        result.collation = collation;
        Ok(result)
    }

    pub(super) fn concat(&mut self, l: Term, r: Term) -> Result<Term, Refusal> {
        let (l, r) = (l.without_collate()?.into_integer(), r.without_collate()?.into_integer());
        if l.class == Class::Null || r.class == Class::Null {
            return Ok(Term::atom("null", Class::Null));
        }
        let looks = match (l.looks, r.looks) {
            (Looks::Digits, Looks::Digits) => Looks::Digits,
            _ => Looks::Unknown,
        };
        let is_collated = l.is_collated || r.is_collated;
        let text = |term: Term| -> Result<String, Refusal> {
            match term.class {
                Class::Text if !term.is_mixed => Ok(term.operand()),
                Class::Int => Ok(format!("{}::text", term.operand())),
                _ => Err("it makes text of a number, which the two sides write differently".into()),
            }
        };
        let sql = format!("{} || {}", text(l)?, text(r)?);
        let mut term = Term::new(sql, Class::Text).collated(is_collated);
        term.looks = looks;
        Ok(term)
    }

    pub(super) fn text_operand(&mut self, term: Term, what: &str) -> Result<Term, Refusal> {
        if term.class != Class::Text || term.is_mixed {
            return Err(format!("it hands {what} a value that may be no text"));
        }
        Ok(term)
    }

    /// An operand of arithmetic.
    pub(super) fn number_operand(&mut self, term: Term) -> Result<Term, Refusal> {
        let term = term.without_collate()?.into_integer();
        match term.class {
            Class::Int | Class::Real => Ok(term),
            Class::Text if term.looks == Looks::Digits => {
                Ok(Term::atom(format!("{}::bigint", term.operand()), Class::Int))
            }
            Class::Numeric => Err("it calculates with integers and doubles side by side".into()),
            Class::Text | Class::Blob => Err("it calculates with text".into()),
            Class::Null | Class::Bool => Err("it calculates with NULL".into()),
        }
    }

    pub(super) fn integer_operand(&mut self, term: Term) -> Result<Term, Refusal> {
        let term = self.number_operand(term)?;
        if term.class == Class::Int { Ok(term) } else { Err("it makes a double an integer".into()) }
    }

    pub(super) fn arithmetic(
        &mut self,
        operator: Operator,
        l: Term,
        r: Term,
    ) -> Result<Term, Refusal> {
        let (l, r) = (self.number_operand(l)?, self.number_operand(r)?);
        let sign = match operator {
            Operator::Add => "+",
            Operator::Subtract => "-",
            _ => "*",
        };
        if l.class == Class::Int && r.class == Class::Int {
            let range = l.range.zip(r.range).map(|((a, b), (c, d))| match operator {
                Operator::Add => (a + c, b + d),
                Operator::Subtract => (a - d, b - c),
                _ => {
                    let all = [a * c, a * d, b * c, b * d];
                    let least = all.iter().min().copied().unwrap_or_default();
                    (least, all.iter().max().copied().unwrap_or_default())
                }
            });
            let fits = range.is_some_and(|(least, most)| {
                i128::from(i64::MIN) <= least && most <= i128::from(i64::MAX)
            });
            let is_constant = range.is_some_and(|(least, most)| least == most);
            if is_constant && !fits {
                return Err("a constant in it is out of range".into());
            }
            self.differs |= !fits;
            // One wide operand makes the operation wide.
            let left = if l.is_narrow && r.is_narrow { wide(&l) } else { l.operand() };
            let mut term = Term::new(format!("{left} {sign} {}", r.operand()), Class::Int);
            term.range = if fits { range } else { None };
            return Ok(term);
        }
        self.differs = true;
        Ok(Term::new(format!("{} {sign} {}", double(&l), double(&r)), Class::Real))
    }

    /// Division by zero is NULL in SQLite (<https://www.sqlite.org/lang_expr.html>).
    pub(super) fn divide(&mut self, operator: Operator, l: Term, r: Term) -> Result<Term, Refusal> {
        let (l, r) = (self.number_operand(l)?, self.number_operand(r)?);
        let is_integer = l.class == Class::Int && r.class == Class::Int;
        if operator == Operator::Modulus && !is_integer {
            return Err("it makes a double an integer".into());
        }
        let is_nonzero = match r.value {
            Some(Value::Int(int)) => int != 0,
            Some(Value::Real(real)) => real != 0.0,
            _ => false,
        };
        let divisor = if is_integer { r.operand() } else { double(&r) };
        let divisor = if is_nonzero { divisor } else { format!("nullif({divisor}, 0)") };
        if !is_integer {
            self.differs = true;
            return Ok(Term::new(format!("{} / {divisor}", double(&l)), Class::Real));
        }
        let dividend = if l.is_narrow && r.is_narrow { wide(&l) } else { l.operand() };
        if operator == Operator::Divide {
            // Only the least integer divided by -1 leaves the range.
            self.differs |= !matches!(r.value, Some(Value::Int(int)) if int != -1);
            return Ok(Term::new(format!("{dividend} / {divisor}"), Class::Int));
        }
        let mut term = Term::new(format!("{dividend} % {divisor}"), Class::Int);
        if let Some(Value::Int(by)) = r.value {
            let most = i128::from(by).abs() - 1;
            let least = if l.range.is_some_and(|(least, _)| 0 <= least) { 0 } else { -most };
            term.range = (0 <= most).then_some((least, most));
        }
        Ok(term)
    }

    pub(super) fn shift(&mut self, operator: Operator, l: Term, r: Term) -> Result<Term, Refusal> {
        let l = self.integer_operand(l)?;
        let Some(Value::Int(count @ 0..=63)) = r.value else {
            return Err("it shifts by something other than a constant from 0 to 63".into());
        };
        let sign = if operator == Operator::LeftShift { "<<" } else { ">>" };
        Ok(Term::new(format!("{} {sign} {count}", wide(&l)), Class::Int))
    }
}

/// An integer operand as `bigint`.
pub(super) fn wide(term: &Term) -> String {
    if term.class == Class::Int && term.is_narrow {
        return format!("{}::bigint", term.operand());
    }
    term.operand()
}

/// A number as `double precision`.
pub(super) fn double(term: &Term) -> String {
    match term.class {
        Class::Real if term.value.is_none() => term.operand(),
        _ => format!("{}::double precision", term.operand()),
    }
}
