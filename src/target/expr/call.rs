//! SQLite's functions (<https://www.sqlite.org/lang_corefunc.html>,
//! <https://www.sqlite.org/lang_datefunc.html>), each with the reason for which it is exact.
//!
//! A function that is not here is refused by its name. Clocks and dice are for DEFAULTs only,
//! aggregates for views only.

use sqlite3_parser::ast::Expr;

use super::constant::{Looks, Value, looks};
use super::{Class, Purpose, Refusal, Term, Walk, unify, wide};
use crate::table::Literal;
use crate::value::PgType;

/// 244 bits from the server's strong random source, made 32 even bytes.
///
/// A version 4 UUID has 122 random bits in 16 bytes; hashing two spreads them over all 32.
const DICE: &str = "sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))";

/// Text of the present moment in UTC, as the pattern of `to_char` says.
///
/// SQLite keeps one moment per statement (<https://www.sqlite.org/lang_datefunc.html>), so the
/// counterpart is `statement_timestamp`, neither `now` (the transaction's beginning) nor
/// `clock_timestamp` (which moves between the rows of one statement).
pub(super) fn clock(pattern: &str, looks: Looks) -> Term {
    let sql = format!("to_char(statement_timestamp() at time zone 'UTC', {})", Literal(pattern));
    Term { looks, ..Term::atom(sql, Class::Text) }
}

impl Walk<'_> {
    pub(super) fn call(&mut self, name: &str, args: &[Expr<'_>]) -> Result<Term, Refusal> {
        let name = name.to_ascii_lowercase();
        if let Some(term) = self.clock_call(&name, args)? {
            return Ok(term);
        }
        if let Some(term) = self.aggregate_call(&name, args)? {
            return Ok(term);
        }
        let mut terms = Vec::with_capacity(args.len());
        for arg in args {
            terms.push(self.expr(arg)?);
        }
        if name == "typeof" {
            return typeof_call(self, &terms);
        }
        let terms = terms
            .into_iter()
            .map(|term| term.into_integer().without_collate())
            .collect::<Result<Vec<_>, _>>();
        if matches!(name.as_str(), "iif" | "if") {
            // The first argument is a truth value, which integers no longer are.
            return self.iif(args);
        }
        let terms = terms?;
        match name.as_str() {
            "length" | "upper" | "lower" | "trim" | "ltrim" | "rtrim" | "instr" | "substr"
            | "substring" | "replace" | "hex" => self.text_call(&name, &terms),
            "abs" => self.abs(&terms),
            "coalesce" | "ifnull" => {
                let (texts, template) = unify(terms)?;
                if texts.len() < 2 {
                    return Err(format!("{name}() has too few arguments"));
                }
                Ok(Term {
                    sql: format!("coalesce({})", texts.join(", ")),
                    atomic: true,
                    ..template
                })
            }
            "nullif" => self.nullif(terms),
            "min" | "max" if 2 <= terms.len() => self.least_or_greatest(&name, terms),
            "random" | "randomblob" => self.dice(&name, &terms),
            _ => Err(format!("{name}() has no exact counterpart")),
        }
    }

    /// `count(*)`.
    pub(super) fn call_star(&mut self, name: &str) -> Result<Term, Refusal> {
        if !name.eq_ignore_ascii_case("count") || self.scope.purpose != Purpose::View {
            return Err(format!("{name}(*) has no exact counterpart"));
        }
        self.aggregate = true;
        Ok(Term::atom("count(*)", Class::Int))
    }

    /// Text functions; SQLite without ICU knows the case of ASCII letters only, which is what
    /// the "C" collation makes PostgreSQL do.
    fn text_call(&mut self, name: &str, terms: &[Term]) -> Result<Term, Refusal> {
        let text = |at: usize| -> Result<&Term, Refusal> {
            match terms.get(at) {
                Some(term) if term.class == Class::Text && !term.is_mixed => Ok(term),
                _ => Err(format!("it hands {name}() a value that may be no text")),
            }
        };
        match (name, terms) {
            ("length", [term]) if term.class == Class::Blob => {
                Ok(Term::atom(format!("octet_length({})", term.sql), Class::Int).narrow())
            }
            ("length", [term]) if term.class == Class::Int => {
                Ok(Term::atom(format!("length({}::text)", term.operand()), Class::Int).narrow())
            }
            ("length", [_]) => {
                let sql = format!("length({})", text(0)?.sql);
                Ok(Term { range: Some((0, i128::from(i32::MAX))), ..Term::atom(sql, Class::Int) }
                    .narrow())
            }
            ("upper" | "lower", [_]) => {
                Ok(Term::atom(format!("{name}({})", text(0)?.in_c()), Class::Text).collated(true))
            }
            ("trim" | "ltrim" | "rtrim", [_] | [_, _]) => {
                let function = if name == "trim" { "btrim" } else { name };
                let term = text(0)?;
                let set = if terms.len() == 2 { text(1)?.sql.clone() } else { "' '".to_owned() };
                let sql = format!("{function}({}, {set})", term.sql);
                Ok(Term::atom(sql, Class::Text).collated(term.is_collated))
            }
            ("instr", [_, _]) => {
                let sql = format!("strpos({}, {})", text(0)?.sql, text(1)?.sql);
                Ok(Term::atom(sql, Class::Int).narrow())
            }
            ("replace", [_, _, _]) => {
                let sql = format!("replace({}, {}, {})", text(0)?.sql, text(1)?.sql, text(2)?.sql);
                Ok(Term::atom(sql, Class::Text).collated(text(0)?.is_collated))
            }
            ("substr" | "substring", [_, start, ..]) if terms.len() <= 3 => {
                substr(text(0)?, start, terms.get(2))
            }
            ("hex", [term]) if term.class == Class::Blob => {
                let sql = format!("coalesce(upper(encode({}, 'hex')), '')", term.sql);
                Ok(Term::atom(sql, Class::Text))
            }
            _ => Err(format!("{name}() of these arguments has no exact counterpart")),
        }
    }

    fn abs(&mut self, terms: &[Term]) -> Result<Term, Refusal> {
        let [term] = terms else { return Err("abs() has one argument".into()) };
        if !term.is_number() {
            return Err("it hands abs() a value that may be no number".into());
        }
        if term.class == Class::Real {
            // Negative zero is not less than zero, and SQLite leaves it as it is.
            let x = term.operand();
            let sql = format!("case when {x} < 0 then - {x} else {x} end");
            return Ok(Term::atom(sql, Class::Real));
        }
        let mut result = Term::atom(format!("abs({})", term.sql), term.class);
        if term.class == Class::Int {
            result.sql = format!("abs({})", wide(term));
            result.range = Some((0, i128::from(i64::MAX)));
        }
        result.is_mixed = term.is_mixed;
        Ok(result)
    }

    fn iif(&mut self, args: &[Expr<'_>]) -> Result<Term, Refusal> {
        let [condition, then, otherwise @ ..] = args else {
            return Err("iif() has too few arguments".into());
        };
        if 1 < otherwise.len() {
            return Err("iif() has more than three arguments".into());
        }
        let condition = self.expr(condition)?.without_collate()?;
        let condition = self.truth(condition)?;
        let mut results = vec![self.expr(then)?];
        for arg in otherwise {
            results.push(self.expr(arg)?);
        }
        let (texts, template) = unify(results)?;
        let tail = texts.get(1).map(|text| format!(" else {text}")).unwrap_or_default();
        let sql = format!("case when {} then {}{tail} end", condition.sql, texts[0]);
        Ok(Term { sql, atomic: true, ..template })
    }

    /// Compares without affinities, by the collation of the first argument that has one.
    fn nullif(&mut self, terms: Vec<Term>) -> Result<Term, Refusal> {
        if terms.len() != 2 || has_collation(&terms) {
            return Err("nullif() compares by a collation of its own".into());
        }
        if terms.iter().any(|term| term.class == Class::Numeric && term.is_mixed) {
            return Err("nullif() compares integers with doubles".into());
        }
        let (texts, template) = unify(terms)?;
        Ok(Term { sql: format!("nullif({})", texts.join(", ")), atomic: true, ..template })
    }

    /// NULL among the arguments makes NULL; PostgreSQL's functions would pass over it.
    fn least_or_greatest(&mut self, name: &str, mut terms: Vec<Term>) -> Result<Term, Refusal> {
        if name == "min" {
            // Of the two zeros, which are equal, SQLite takes the last and PostgreSQL the first.
            terms.reverse();
        }
        if has_collation(&terms) {
            return Err(format!("{name}() compares by a collation of its own"));
        }
        let (texts, template) = unify(terms)?;
        if template.is_mixed {
            return Err(format!("{name}() compares integers with doubles"));
        }
        if template.class == Class::Text && !(template.is_collated && self.scope.utf8) {
            return Err(format!("{name}() orders text"));
        }
        let function = if name == "min" { "least" } else { "greatest" };
        let known: Vec<String> = texts.iter().map(|text| format!("({text}) is not null")).collect();
        let sql =
            format!("case when {} then {function}({}) end", known.join(" and "), texts.join(", "));
        Ok(Term { sql, atomic: true, ..template })
    }

    /// Aggregates of views. Only those whose result PostgreSQL computes to the last bit: sums of
    /// doubles depend on the order and on how errors are carried.
    fn aggregate_call(&mut self, name: &str, args: &[Expr<'_>]) -> Result<Option<Term>, Refusal> {
        let is_aggregate = match name {
            "count" | "sum" | "total" | "avg" | "group_concat" | "string_agg" => true,
            "min" | "max" => args.len() == 1,
            _ => false,
        };
        if !is_aggregate {
            return Ok(None);
        }
        let [arg] = args else {
            return Err(format!("{name}() has no exact counterpart"));
        };
        if self.scope.purpose != Purpose::View {
            return Err(format!("{name}() is an aggregate"));
        }
        // What an aggregate reads is not read of any one row.
        let outside = self.columns.clone();
        let term = self.expr(arg)?.without_collate()?.into_integer();
        self.columns = outside;
        self.aggregate = true;
        let mut result = match (name, term.class) {
            ("count", _) => Term::atom(format!("count({})", term.sql), Class::Int),
            ("sum", Class::Int) => {
                // Both sides report an error if the sum leaves the range.
                Term::atom(format!("sum({})::bigint", term.sql), Class::Int)
            }
            ("sum" | "total" | "avg", Class::Real | Class::Numeric | Class::Int) => {
                return Err(format!(
                    "{name}() adds doubles, which the two sides round differently"
                ));
            }
            ("min" | "max", Class::Int | Class::Real) => {
                Term::atom(format!("{name}({})", term.sql), term.class)
            }
            ("min" | "max", Class::Text)
                if !term.is_mixed
                    && term.is_collated
                    && self.scope.utf8
                    && !has_collation(std::slice::from_ref(&term)) =>
            {
                Term::atom(format!("{name}({})", term.sql), Class::Text).collated(true)
            }
            _ => return Err(format!("{name}() of this argument has no exact counterpart")),
        };
        result.collation = term.collation;
        Ok(Some(result))
    }

    fn dice(&mut self, name: &str, terms: &[Term]) -> Result<Term, Refusal> {
        if self.scope.purpose != Purpose::Default {
            return Err(format!("{name}() gives another value each time"));
        }
        match (name, terms) {
            ("random", []) => {
                let sql = format!("('x' || encode(substr({DICE}, 1, 8), 'hex'))::bit(64)::bigint");
                Ok(Term::atom(sql, Class::Int))
            }
            ("randomblob", [term]) => match term.value {
                Some(Value::Int(bytes @ 1..=32)) => {
                    Ok(Term::atom(format!("substr({DICE}, 1, {bytes})"), Class::Blob))
                }
                _ => Err("randomblob() of more than 32 bytes has no counterpart".into()),
            },
            _ => Err(format!("{name}() has no exact counterpart")),
        }
    }

    /// The functions of date and time, of the present moment only.
    fn clock_call(&mut self, name: &str, args: &[Expr<'_>]) -> Result<Option<Term>, Refusal> {
        let is_clock =
            matches!(name, "datetime" | "date" | "time" | "strftime" | "unixepoch" | "julianday");
        if !is_clock {
            return Ok(None);
        }
        if self.scope.purpose != Purpose::Default {
            return Err(format!("{name}() reads dates in more forms than the target"));
        }
        let mut texts = Vec::new();
        for arg in args {
            match self.expr(arg)? {
                Term { value: Some(Value::Text(text)), .. } => texts.push(text),
                // A time given as CURRENT_TIMESTAMP is the present in whole seconds.
                term if term.sql.contains("statement_timestamp") && name != "strftime" => {
                    texts.push("now".into());
                }
                _ => return Err(format!("{name}() of these arguments has no counterpart")),
            }
        }
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (format, moment) = match (name, &texts[..]) {
            ("strftime", [format, moment @ ..]) => (Some(*format), moment),
            (_, moment) => (None, moment),
        };
        let subsecond = match moment {
            [] => false,
            [now] if now.eq_ignore_ascii_case("now") => false,
            [now, modifier]
                if now.eq_ignore_ascii_case("now")
                    && ["subsec", "subsecond"]
                        .iter()
                        .any(|word| modifier.eq_ignore_ascii_case(word)) =>
            {
                true
            }
            _ => {
                let local = moment.iter().any(|word| word.eq_ignore_ascii_case("localtime"));
                let why = if local {
                    "depends on the time zone of the application's machine"
                } else {
                    "moves the time in a way that has no counterpart"
                };
                return Err(format!("{name}() {why}"));
            }
        };
        present(name, format, subsecond).map(Some)
    }
}

/// The present moment in the form of one of the functions.
fn present(name: &str, format: Option<&str>, subsecond: bool) -> Result<Term, Refusal> {
    let never = Looks::NeverNumeric;
    let epoch = "extract(epoch from statement_timestamp())";
    Ok(match (name, subsecond) {
        ("datetime", false) => clock("YYYY-MM-DD HH24:MI:SS", never),
        ("datetime", true) => clock("YYYY-MM-DD HH24:MI:SS.MS", never),
        ("date", false) => clock("YYYY-MM-DD", never),
        ("time", false) => clock("HH24:MI:SS", never),
        ("time", true) => clock("HH24:MI:SS.MS", never),
        ("unixepoch", false) => Term::atom(format!("floor({epoch})::bigint"), Class::Int),
        ("julianday", false) => {
            Term::atom(format!("({epoch} / 86400.0 + 2440587.5)::double precision"), Class::Real)
        }
        ("strftime", false) => return strftime(format.unwrap_or_default()),
        _ => return Err(format!("{name}() with fractions has no counterpart")),
    })
}

/// `strftime` of the present (<https://www.postgresql.org/docs/current/functions-formatting.html>).
fn strftime(format: &str) -> Result<Term, Refusal> {
    if format == "%s" {
        let sql = "floor(extract(epoch from statement_timestamp()))::bigint::text";
        return Ok(Term { looks: Looks::Digits, ..Term::atom(sql, Class::Text) });
    }
    let mut pattern = String::new();
    let mut quoted = String::new();
    // How the text looks is judged by one that it could be.
    let mut sample = String::new();
    let mut chars = format.chars();
    let flush = |pattern: &mut String, quoted: &mut String| {
        if !quoted.is_empty() {
            pattern.push_str(&format!("\"{quoted}\""));
            quoted.clear();
        }
    };
    while let Some(c) = chars.next() {
        let field = match c {
            '%' => chars.next().ok_or("its format ends in the middle of a field")?,
            _ => {
                sample.push(c);
                if quoted.is_empty() && matches!(c, '-' | ':' | '/' | ' ' | '.') {
                    pattern.push(c);
                    continue;
                }
                if matches!(c, '"' | '\\') {
                    quoted.push('\\');
                }
                quoted.push(c);
                continue;
            }
        };
        let (code, example) = match field {
            'Y' => ("YYYY", "2024"),
            'm' => ("MM", "11"),
            'd' => ("DD", "21"),
            'H' => ("HH24", "15"),
            'M' => ("MI", "36"),
            'S' => ("SS", "47"),
            'f' => ("SS.MS", "47.123"),
            'j' => ("DDD", "326"),
            'F' => ("YYYY-MM-DD", "2024-11-21"),
            'T' => ("HH24:MI:SS", "15:36:47"),
            'R' => ("HH24:MI", "15:36"),
            '%' => {
                sample.push('%');
                quoted.push('%');
                continue;
            }
            other => return Err(format!("strftime() with %{other} has no exact counterpart")),
        };
        flush(&mut pattern, &mut quoted);
        pattern.push_str(code);
        sample.push_str(example);
    }
    flush(&mut pattern, &mut quoted);
    Ok(clock(&pattern, looks(&sample)))
}

/// The class of a value, known from its column's type on the target.
fn typeof_call(walk: &mut Walk<'_>, terms: &[Term]) -> Result<Term, Refusal> {
    let [term] = terms else { return Err("typeof() has one argument".into()) };
    let class = match term.class {
        Class::Int | Class::Bool => "integer",
        Class::Real => "real",
        Class::Text if !term.is_mixed => "text",
        Class::Blob => "blob",
        Class::Null => return Ok(Term::constant(Value::Text("null".into()))),
        Class::Text | Class::Numeric => {
            return Err(format!(
                "typeof() tells apart what is one type ({}) on the target",
                if term.class == Class::Text { PgType::Text } else { PgType::Numeric }.sql()
            ));
        }
    };
    let is_never_null = walk.columns.iter().any(|&position| {
        let column = &walk.scope.columns[position];
        column.not_null && column.sql == term.sql
    });
    if is_never_null {
        return Ok(Term::constant(Value::Text(class.into())));
    }
    let sql = format!("case when {} is null then 'null' else '{class}' end", term.operand());
    Ok(Term { looks: Looks::NeverNumeric, ..Term::atom(sql, Class::Text) })
}

/// Characters from a place that is certainly 1 or more; before the first SQLite counts otherwise.
fn substr(text: &Term, start: &Term, length: Option<&Term>) -> Result<Term, Refusal> {
    let fits = |term: &Term, least: i128| {
        term.range.is_some_and(|(from, to)| least <= from && to <= i128::from(i32::MAX))
    };
    if !fits(start, 1) || !length.is_none_or(|length| fits(length, 0)) {
        return Err("substr() counts from a place that may be before the first".into());
    }
    let integer = |term: &Term| {
        if term.is_narrow && term.value.is_some() {
            term.sql.clone()
        } else {
            format!("{}::integer", term.operand())
        }
    };
    let mut sql = format!("substr({}, {}", text.sql, integer(start));
    if let Some(length) = length {
        sql.push_str(&format!(", {}", integer(length)));
    }
    sql.push(')');
    Ok(Term::atom(sql, Class::Text).collated(text.is_collated))
}

fn has_collation(terms: &[Term]) -> bool {
    terms.iter().any(|term| {
        term.class == Class::Text
            && (term.has_collate
                || term.collation.as_deref().is_some_and(|collation| collation != "BINARY"))
    })
}
