//! SQLite expressions as PostgreSQL expressions: exactly, or not at all.
//!
//! Every subexpression is given the storage class it has in SQLite, and SQLite's rules
//! (<https://www.sqlite.org/datatype3.html>, <https://www.sqlite.org/lang_expr.html>) are worked
//! out here, so that PostgreSQL is left nothing to decide: affinities are applied, collations
//! become functions, truth values become booleans. What depends on a value's class and cannot be
//! known, or what PostgreSQL does differently, is refused with a reason for people.
//!
//! One difference is let pass, and named in [`Translated::differs`]: where a result leaves the
//! range of its type, SQLite goes on with a REAL or an infinity and PostgreSQL reports an error.
//! The row then shows up as refused by the target; it is never silently another.
//!
//! Text columns are taken to be `collate "C"`, as [`crate::target::ddl`] makes them. Nothing of
//! the application's text reaches PostgreSQL verbatim: literals are decoded and written anew.
//!
//! Begin with [`predicate`], [`scalar`] and [`default::translate`].

use std::collections::BTreeSet;

use sqlite3_parser::ast::{Expr, Id, LikeOperator, Literal as Token, Operator, UnaryOperator};

use crate::grammar::{self, dequote};
use crate::table::{Affinity, Literal};
use crate::value::PgType;

mod call;
pub mod default;
mod pattern;

/// Integers up to here are doubles, too; beyond, comparing the two is not exact.
const EXACT_MAX: i64 = 1 << 53;

/// The reason for which something is not translated, as a clause for people.
pub type Refusal = String;

/// What a name in an expression can mean.
#[derive(Clone, Debug)]
pub struct ScopeColumn {
    /// The name by which SQLite knows it.
    pub name: String,
    /// The table, or its alias, that it may be qualified with.
    pub table: String,
    /// How PostgreSQL is to call it; quoted.
    pub sql: String,
    /// The type it has there.
    pub pg: PgType,
    /// Its affinity on the source.
    pub affinity: Affinity,
    /// Its collation on the source.
    pub collation: String,
    /// It can never be NULL.
    pub not_null: bool,
}

/// The names that an expression may use, and what else bears on its meaning.
#[derive(Clone, Debug)]
pub struct Scope {
    /// In order; [`Translated::columns`] are positions in here.
    pub columns: Vec<ScopeColumn>,
    /// The source's text is UTF-8. In the UTF-16 encodings BINARY orders text by other bytes.
    pub utf8: bool,
    /// What the expression is for.
    pub purpose: Purpose,
}

/// What an expression is for, which limits what it may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A CHECK: any function that gives the same for the same row.
    Check,
    /// An index or a generated column: PostgreSQL wants it IMMUTABLE.
    Stored,
    /// A DEFAULT: no columns, but clocks and dice.
    Default,
    /// A view: aggregates, too.
    View,
}

/// A translated expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Translated {
    /// PostgreSQL's text.
    pub sql: String,
    /// The class of its values.
    pub class: Class,
    /// Positions in [`Scope::columns`] of the columns it reads.
    pub columns: BTreeSet<usize>,
    /// How PostgreSQL's answer can differ: out of range it reports an error.
    pub differs: bool,
    /// It contains an aggregate function.
    pub aggregate: bool,
    /// PostgreSQL derives `collate "C"` for it, because a column of that collation is in it.
    pub is_collated: bool,
}

/// The storage class that an expression's values have in SQLite, if they are not NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// INTEGER, as `bigint`.
    Int,
    /// REAL, as `double precision`.
    Real,
    /// INTEGER or REAL, as `numeric`.
    Numeric,
    /// TEXT, as `text`.
    Text,
    /// BLOB, as `bytea`.
    Blob,
    /// The literal NULL.
    Null,
    /// A truth value: INTEGER 0 or 1 in SQLite, `boolean` in PostgreSQL.
    Bool,
}

/// Translates an expression that is used for its truth: CHECK, WHERE, HAVING.
///
/// Call it on a deep stack ([`grammar::on_deep_stack`]).
pub fn predicate(text: &str, scope: &Scope) -> Result<Translated, Refusal> {
    grammar::expression(text, |expr| predicate_of(expr, scope))?
}

/// As [`predicate`], for an expression that is parsed already.
pub fn predicate_of(expr: &Expr<'_>, scope: &Scope) -> Result<Translated, Refusal> {
    let mut walk = Walk::new(scope);
    let term = walk.expr(expr)?;
    let sql = walk.truth(term)?;
    Ok(walk.finish(Term::new(sql.sql, Class::Bool)))
}

/// Translates an expression that is used for its value, without its storing.
///
/// An explicit COLLATE at its top is left to the caller, who knows what it orders. Call it on a
/// deep stack ([`grammar::on_deep_stack`]).
pub fn scalar(text: &str, scope: &Scope) -> Result<Translated, Refusal> {
    grammar::expression(text, |expr| scalar_of(expr, scope))?
}

/// As [`scalar`], for an expression that is parsed already. A truth value comes as an integer.
pub fn scalar_of(expr: &Expr<'_>, scope: &Scope) -> Result<Translated, Refusal> {
    let mut walk = Walk::new(scope);
    let term = walk.expr(expr)?.as_integer();
    if term.collation_above_column.is_some() && !matches!(strip(expr), Expr::Collate(..)) {
        return Err("a COLLATE inside it reaches outwards".into());
    }
    Ok(walk.finish(term))
}

/// Translates a generated column's expression into what PostgreSQL is to store.
///
/// Call it on a deep stack ([`grammar::on_deep_stack`]).
pub fn generated(
    text: &str,
    scope: &Scope,
    affinity: Affinity,
    pg: PgType,
) -> Result<Translated, Refusal> {
    grammar::expression(text, |expr| {
        let mut walk = Walk::new(scope);
        let term = walk.expr(expr)?;
        let stored = store(term, affinity, pg)?;
        Ok(walk.finish(stored))
    })?
}

/// Wraps text so that PostgreSQL compares and orders it, byte by byte, as `collation` does.
///
/// NOCASE folds the 26 letters of ASCII and nothing else, which is what `lower` does under "C";
/// RTRIM ignores spaces at the end (<https://www.sqlite.org/datatype3.html#collation>).
pub fn fold(sql: &str, collation: &str) -> Result<String, Refusal> {
    match collation {
        "BINARY" => Ok(sql.to_owned()),
        "NOCASE" => Ok(format!("lower({sql})")),
        "RTRIM" => Ok(format!("rtrim({sql}, ' ')")),
        other => Err(format!("only the application knows the collation {other:?}")),
    }
}

/// A constant.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Int(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

/// Whether text can look like a number, which numeric affinities would make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looks {
    /// Like anything.
    Unknown,
    /// Never like a number.
    NeverNumeric,
    /// Always like an integer in decimal digits.
    Digits,
}

/// A translated subexpression with all that its surroundings need to know.
#[derive(Clone, Debug)]
struct Term {
    sql: String,
    /// Nothing next to it can tear it apart.
    atomic: bool,
    class: Class,
    /// SQLite's affinity of the expression; `None` is no affinity, which is not BLOB.
    affinity: Option<Affinity>,
    /// The collation of the column that it is.
    collation: Option<String>,
    /// The collation of a COLLATE operator.
    collation_above_column: Option<String>,
    /// PostgreSQL knows it as `collate "C"`.
    is_collated: bool,
    value: Option<Value>,
    /// A column that holds numbers in the guise of text (numeric affinity, `text`), or doubles
    /// beyond 2^53 as decimals (no affinity, `numeric`).
    is_mixed: bool,
    looks: Looks,
    /// Bounds of an integer.
    range: Option<(i128, i128)>,
    /// Its type in PostgreSQL is `integer` and not `bigint`.
    is_narrow: bool,
}

impl Term {
    fn new(sql: impl Into<String>, class: Class) -> Self {
        Self {
            sql: sql.into(),
            atomic: false,
            class,
            affinity: None,
            collation: None,
            collation_above_column: None,
            is_collated: false,
            value: None,
            is_mixed: false,
            looks: Looks::Unknown,
            range: None,
            is_narrow: false,
        }
    }

    /// A function call, a literal, a name.
    fn atom(sql: impl Into<String>, class: Class) -> Self {
        Self { atomic: true, ..Self::new(sql, class) }
    }

    fn collated(mut self, is_collated: bool) -> Self {
        self.is_collated = is_collated;
        self
    }

    fn narrow(mut self) -> Self {
        self.is_narrow = true;
        self
    }

    fn constant(value: Value) -> Self {
        let (sql, class) = match &value {
            Value::Int(int) => (int.to_string(), Class::Int),
            Value::Real(real) => (real_sql(*real), Class::Real),
            Value::Text(text) => (Literal(text).to_string(), Class::Text),
            Value::Blob(bytes) => (blob_sql(bytes), Class::Blob),
        };
        let mut term = Self::atom(sql, class);
        term.atomic = !term.sql.starts_with('-');
        if let Value::Int(int) = value {
            term.range = Some((int.into(), int.into()));
            term.is_narrow = i32::try_from(int).is_ok();
        }
        if let Value::Text(text) = &value {
            term.looks = looks(text);
        }
        term.value = Some(value);
        term
    }

    /// The text, in parentheses if an operator beside it could tear it apart.
    fn operand(&self) -> String {
        if self.atomic { self.sql.clone() } else { format!("({})", self.sql) }
    }

    /// The text with the type that its class stands for, where PostgreSQL might infer another.
    fn typed(&self) -> String {
        match self.class {
            Class::Int if self.is_narrow => format!("{}::bigint", self.operand()),
            Class::Text if self.value.is_some() => format!("{}::text", self.operand()),
            Class::Real if self.value.is_some() => {
                format!("{}::double precision", self.operand())
            }
            _ => self.sql.clone(),
        }
    }

    /// Truth values are integers to SQLite.
    fn as_integer(self) -> Self {
        if self.class != Class::Bool {
            return self;
        }
        let mut term = Self::atom(format!("{}::integer", self.operand()), Class::Int).narrow();
        term.range = Some((0, 1));
        term
    }

    /// Text under "C", whatever it is made of.
    fn in_c(&self) -> String {
        if self.is_collated {
            self.sql.clone()
        } else {
            format!("{} collate \"C\"", self.operand())
        }
    }

    fn is_number(&self) -> bool {
        matches!(self.class, Class::Int | Class::Real | Class::Numeric)
    }

    /// A column's value may be compared by collation only where it is plain.
    fn without_collate(self) -> Result<Self, Refusal> {
        match self.collation_above_column {
            Some(_) => Err("a COLLATE inside it reaches outwards".into()),
            None => Ok(self),
        }
    }
}

/// One translation under way.
struct Walk<'scope> {
    scope: &'scope Scope,
    columns: BTreeSet<usize>,
    differs: bool,
    aggregate: bool,
}

impl<'scope> Walk<'scope> {
    fn new(scope: &'scope Scope) -> Self {
        Self { scope, columns: BTreeSet::new(), differs: false, aggregate: false }
    }

    fn finish(self, term: Term) -> Translated {
        Translated {
            sql: term.typed(),
            class: term.class,
            columns: self.columns,
            differs: self.differs,
            aggregate: self.aggregate,
            is_collated: term.is_collated,
        }
    }

    fn expr(&mut self, expr: &Expr<'_>) -> Result<Term, Refusal> {
        match expr {
            Expr::Parenthesized(inner) => match &inner[..] {
                [one] => self.expr(one),
                _ => Err("it uses row values".into()),
            },
            Expr::Literal(token) => literal(token, self.scope.purpose),
            Expr::Id(Id(name)) => self.name(name),
            Expr::Name(name) => self.name(name.0),
            Expr::Qualified(table, column) => {
                self.column(Some(&dequote(table.0)), &dequote(column.0))
            }
            Expr::DoublyQualified(_, table, column) => {
                self.column(Some(&dequote(table.0)), &dequote(column.0))
            }
            Expr::Unary(operator, inner) => self.unary(*operator, inner),
            Expr::Binary(left, operator, right) => self.binary(left, *operator, right),
            Expr::IsNull(inner) => self.null_test(inner, "is null"),
            Expr::NotNull(inner) => self.null_test(inner, "is not null"),
            Expr::Between { lhs, not, start, end } => self.between(lhs, *not, start, end),
            Expr::InList { lhs, not, rhs } => self.in_list(lhs, *not, rhs.unwrap_or_default()),
            Expr::Like { lhs, not, op, rhs, escape } => {
                self.like(lhs, *not, *op, rhs, escape.as_deref())
            }
            Expr::Case { base, when_then_pairs, else_expr } => {
                self.case(base.as_deref(), when_then_pairs, else_expr.as_deref())
            }
            Expr::Cast { expr, type_name } => {
                let term = self.expr(expr)?;
                let declared = type_name.as_ref().map_or("", |declared| declared.name);
                self.cast(term, &dequote(declared))
            }
            Expr::Collate(inner, collation) => {
                let mut term = self.expr(inner)?;
                term.collation_above_column = Some(dequote(collation).to_ascii_uppercase());
                Ok(term)
            }
            Expr::FunctionCall {
                name,
                distinctness: None,
                args,
                order_by: None,
                filter_over: None,
            } => self.call(&dequote(name.0), args.unwrap_or_default()),
            Expr::FunctionCallStar { name, filter_over: None } => self.call_star(&dequote(name.0)),
            Expr::FunctionCall { name, .. } | Expr::FunctionCallStar { name, .. } => {
                Err(format!("{}() has more than arguments", dequote(name.0)))
            }
            Expr::InSelect { .. } | Expr::InTable { .. } | Expr::Exists(_) | Expr::Subquery(_) => {
                Err("it contains a query".into())
            }
            Expr::Raise(..) => Err("it uses RAISE".into()),
            Expr::Variable(_) => Err("it has a parameter".into()),
        }
    }

    /// A bare name: a column, TRUE or FALSE, or text in the wrong quotes.
    fn name(&mut self, written: &str) -> Result<Term, Refusal> {
        let name = dequote(written);
        let is_known =
            self.scope.columns.iter().any(|column| column.name.eq_ignore_ascii_case(&name));
        if is_known {
            return self.column(None, &name);
        }
        if !grammar::is_quoted(written) {
            if name.eq_ignore_ascii_case("true") {
                return Ok(Term::constant(Value::Int(1)));
            }
            if name.eq_ignore_ascii_case("false") {
                return Ok(Term::constant(Value::Int(0)));
            }
        }
        // https://www.sqlite.org/quirks.html#double_quoted_string_literals_are_accepted
        if written.starts_with('"') {
            return Ok(Term::constant(Value::Text(name)));
        }
        Err(format!("nothing is called {name:?}"))
    }

    fn column(&mut self, table: Option<&str>, name: &str) -> Result<Term, Refusal> {
        let mut matches = self.scope.columns.iter().enumerate().filter(|(_, column)| {
            column.name.eq_ignore_ascii_case(name)
                && table.is_none_or(|table| column.table.eq_ignore_ascii_case(table))
        });
        let Some((position, column)) = matches.next() else {
            return Err(format!("nothing is called {name:?}"));
        };
        if matches.next().is_some() {
            return Err(format!("{name:?} can be several columns"));
        }
        self.columns.insert(position);
        let class = match column.pg {
            PgType::Int8 => Class::Int,
            PgType::Float8 => Class::Real,
            PgType::Numeric => Class::Numeric,
            PgType::Text => Class::Text,
            PgType::Bytea => Class::Blob,
        };
        let makes_numbers = is_numeric(column.affinity);
        let mut term = Term::atom(&column.sql, class).collated(class == Class::Text);
        term.affinity = Some(column.affinity);
        term.collation = Some(column.collation.clone());
        // With a numeric affinity, text that looks like a number is one already, and a double
        // without a fraction that fits is an integer: what is left compares exactly.
        term.is_mixed = match class {
            Class::Text => makes_numbers,
            Class::Numeric => !makes_numbers,
            _ => false,
        };
        Ok(term)
    }

    fn null_test(&mut self, inner: &Expr<'_>, test: &str) -> Result<Term, Refusal> {
        let term = self.expr(inner)?;
        let operand = if term.class == Class::Null { "null::text".into() } else { term.operand() };
        Ok(Term::new(format!("{operand} {test}"), Class::Bool))
    }

    /// A term as a truth value: zero is false, NULL is unknown.
    fn truth(&mut self, term: Term) -> Result<Term, Refusal> {
        match term.class {
            Class::Bool => Ok(term),
            Class::Null => Ok(Term::atom("null::boolean", Class::Bool)),
            Class::Int | Class::Real | Class::Numeric => Ok(match term.value {
                Some(Value::Int(int)) => {
                    Term::atom(if int == 0 { "false" } else { "true" }, Class::Bool)
                }
                _ => Term::new(format!("{} <> 0", term.operand()), Class::Bool),
            }),
            Class::Text | Class::Blob => {
                Err("it takes text for a truth value, by the number at its beginning".into())
            }
        }
    }

    fn unary(&mut self, operator: UnaryOperator, inner: &Expr<'_>) -> Result<Term, Refusal> {
        if operator == UnaryOperator::Negative
            && let Expr::Literal(Token::Numeric(digits)) = strip(inner)
        {
            return Ok(Term::constant(number(digits, true)?));
        }
        let term = self.expr(inner)?;
        match operator {
            UnaryOperator::Positive => Ok(Term { affinity: None, ..term }),
            UnaryOperator::Not => {
                let term = self.truth(term.without_collate()?)?;
                Ok(Term::new(format!("not {}", term.operand()), Class::Bool))
            }
            UnaryOperator::Negative => {
                let term = self.number_operand(term)?;
                if term.class == Class::Real {
                    // SQLite computes 0 - x, which makes no negative zero.
                    let sql = format!("0::double precision - {}", double(&term));
                    return Ok(Term::new(sql, Class::Real));
                }
                self.differs = true;
                Ok(Term::new(format!("- {}", wide(&term)), Class::Int))
            }
            UnaryOperator::BitwiseNot => {
                let term = self.integer_operand(term)?;
                Ok(Term::new(format!("~ {}", wide(&term)), Class::Int))
            }
        }
    }

    fn binary(
        &mut self,
        left: &Expr<'_>,
        operator: Operator,
        right: &Expr<'_>,
    ) -> Result<Term, Refusal> {
        if matches!(operator, Operator::Is | Operator::IsNot)
            && let Some(term) = self.is_special(left, operator == Operator::IsNot, right)?
        {
            return Ok(term);
        }
        let (l, r) = (self.expr(left)?, self.expr(right)?);
        match operator {
            Operator::And | Operator::Or => {
                let word = if operator == Operator::And { "and" } else { "or" };
                let (l, r) = (self.truth(l.without_collate()?)?, self.truth(r.without_collate()?)?);
                Ok(Term::new(format!("{} {word} {}", l.operand(), r.operand()), Class::Bool))
            }
            Operator::Equals => self.compare(Comparison::Equal, l, r),
            Operator::NotEquals => self.compare(Comparison::NotEqual, l, r),
            Operator::Less => self.compare(Comparison::Less, l, r),
            Operator::LessEquals => self.compare(Comparison::LessOrEqual, l, r),
            Operator::Greater => self.compare(Comparison::Greater, l, r),
            Operator::GreaterEquals => self.compare(Comparison::GreaterOrEqual, l, r),
            Operator::Is => self.compare(Comparison::Same, l, r),
            Operator::IsNot => self.compare(Comparison::NotSame, l, r),
            Operator::Add | Operator::Subtract | Operator::Multiply => {
                self.arithmetic(operator, l, r)
            }
            Operator::Divide | Operator::Modulus => self.divide(operator, l, r),
            Operator::BitwiseAnd | Operator::BitwiseOr => {
                let (l, r) = (self.integer_operand(l)?, self.integer_operand(r)?);
                let sign = if operator == Operator::BitwiseAnd { "&" } else { "|" };
                Ok(Term::new(format!("{} {sign} {}", wide(&l), wide(&r)), Class::Int))
            }
            Operator::LeftShift | Operator::RightShift => self.shift(operator, l, r),
            Operator::Concat => self.concat(l, r),
            Operator::ArrowRight | Operator::ArrowRightShift => {
                Err("it takes JSON apart, which the two sides write differently".into())
            }
        }
    }

    /// `IS NULL` and `IS TRUE` in their forms with an operator.
    fn is_special(
        &mut self,
        left: &Expr<'_>,
        not: bool,
        right: &Expr<'_>,
    ) -> Result<Option<Term>, Refusal> {
        match right {
            Expr::Literal(Token::Null) => {
                let test = if not { "is not null" } else { "is null" };
                self.null_test(left, test).map(Some)
            }
            Expr::Id(Id(word)) if self.is_truth_word(word) => {
                let term = self.expr(left)?.without_collate()?;
                let term = self.truth(term)?;
                let word = word.to_ascii_lowercase();
                let not = if not { "not " } else { "" };
                Ok(Some(Term::new(format!("{} is {not}{word}", term.operand()), Class::Bool)))
            }
            _ => Ok(None),
        }
    }

    fn is_truth_word(&self, word: &str) -> bool {
        let is_word = word.eq_ignore_ascii_case("true") || word.eq_ignore_ascii_case("false");
        is_word && !self.scope.columns.iter().any(|column| column.name.eq_ignore_ascii_case(word))
    }

    fn between(
        &mut self,
        lhs: &Expr<'_>,
        not: bool,
        start: &Expr<'_>,
        end: &Expr<'_>,
    ) -> Result<Term, Refusal> {
        let (term, start, end) = (self.expr(lhs)?, self.expr(start)?, self.expr(end)?);
        let from = self.compare(Comparison::GreaterOrEqual, term.clone(), start)?;
        let to = self.compare(Comparison::LessOrEqual, term, end)?;
        let both = format!("{} and {}", from.operand(), to.operand());
        Ok(Term::new(if not { format!("not ({both})") } else { both }, Class::Bool))
    }

    /// The affinity and the collation of the left side alone decide
    /// (<https://www.sqlite.org/datatype3.html#comparison_expressions>).
    fn in_list(&mut self, lhs: &Expr<'_>, not: bool, list: &[Expr<'_>]) -> Result<Term, Refusal> {
        let left = self.expr(lhs)?;
        if list.is_empty() {
            return Ok(Term::atom(if not { "true" } else { "false" }, Class::Bool));
        }
        let mut folded = None;
        let mut items = Vec::new();
        for item in list {
            let mut item = self.expr(item)?.without_collate()?;
            if item.class == Class::Text && item.is_mixed {
                return Err("its list reads a column that can hold numbers among its texts".into());
            }
            item.affinity = None;
            item.collation = None;
            if item.class == Class::Null {
                items.push("null".to_owned());
                continue;
            }
            let Operands { left, right, constant } =
                self.operands(Comparison::Equal, left.clone(), item)?;
            if constant.is_some() {
                return Err("its list compares values of different classes".into());
            }
            if *folded.get_or_insert_with(|| left.clone()) != left {
                return Err("its list compares values of different classes".into());
            }
            items.push(right);
        }
        let left = match folded {
            Some(left) => left,
            // Nothing but NULLs: never true, and never false.
            None => return Ok(Term::atom("null::boolean", Class::Bool)),
        };
        let word = if not { "not in" } else { "in" };
        Ok(Term::new(format!("{left} {word} ({})", items.join(", ")), Class::Bool))
    }

    fn like(
        &mut self,
        lhs: &Expr<'_>,
        not: bool,
        operator: LikeOperator,
        rhs: &Expr<'_>,
        escape: Option<&Expr<'_>>,
    ) -> Result<Term, Refusal> {
        let term = self.expr(lhs)?.without_collate()?;
        let term = self.text_operand(term, "LIKE")?;
        let Some(Value::Text(written)) = self.expr(rhs)?.value else {
            return Err("the pattern it compares with is no text constant".into());
        };
        let escape = match escape.map(|escape| self.expr(escape)).transpose()?.map(|t| t.value) {
            None => None,
            Some(Some(Value::Text(escape))) if escape.chars().count() == 1 => escape.chars().next(),
            Some(_) => return Err("its ESCAPE is no single character".into()),
        };
        let matcher = match operator {
            LikeOperator::Like => pattern::like(&written, escape)?,
            LikeOperator::Glob if escape.is_none() => pattern::glob(&written)?,
            LikeOperator::Glob | LikeOperator::Match | LikeOperator::Regexp => {
                return Err("its operator is the application's own".into());
            }
        };
        let subject = match (matcher.folds, term.is_collated) {
            (true, _) => format!("lower({})", term.in_c()),
            (false, _) => term.operand(),
        };
        let not = if not { "not " } else { "" };
        let sql = match matcher.kind {
            pattern::Kind::Like => format!("{subject} {not}like {}", Literal(&matcher.text)),
            pattern::Kind::Regex => {
                let operator = if not.is_empty() { "~" } else { "!~" };
                let subject = Term { sql: subject, ..term }.in_c();
                format!("({subject}) {operator} {}", Literal(&matcher.text))
            }
        };
        Ok(Term::new(sql, Class::Bool))
    }

    fn case(
        &mut self,
        base: Option<&Expr<'_>>,
        pairs: &[(Expr<'_>, Expr<'_>)],
        otherwise: Option<&Expr<'_>>,
    ) -> Result<Term, Refusal> {
        let base = base.map(|base| self.expr(base)).transpose()?;
        let mut conditions = Vec::new();
        let mut results = Vec::new();
        for (when, then) in pairs {
            let when = self.expr(when)?;
            let condition = match &base {
                Some(base) => self.compare(Comparison::Equal, base.clone(), when)?,
                None => self.truth(when.without_collate()?)?,
            };
            conditions.push(condition.sql);
            results.push(self.expr(then)?);
        }
        let has_else = otherwise.is_some();
        results.extend(otherwise.map(|otherwise| self.expr(otherwise)).transpose()?);
        let (results, template) = unify(results)?;
        let mut sql = "case".to_owned();
        for (condition, result) in conditions.iter().zip(&results) {
            sql.push_str(&format!(" when {condition} then {result}"));
        }
        if has_else && let Some(result) = results.last() {
            sql.push_str(&format!(" else {result}"));
        }
        sql.push_str(" end");
        Ok(Term { sql, atomic: true, ..template })
    }

    /// <https://www.sqlite.org/lang_expr.html#castexpr>, as far as it is exact.
    fn cast(&mut self, term: Term, declared: &str) -> Result<Term, Refusal> {
        let term = term.as_integer();
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

    fn concat(&mut self, l: Term, r: Term) -> Result<Term, Refusal> {
        let (l, r) = (l.without_collate()?.as_integer(), r.without_collate()?.as_integer());
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

    fn text_operand(&mut self, term: Term, what: &str) -> Result<Term, Refusal> {
        if term.class != Class::Text || term.is_mixed {
            return Err(format!("it hands {what} a value that may be no text"));
        }
        Ok(term)
    }

    /// An operand of arithmetic.
    fn number_operand(&mut self, term: Term) -> Result<Term, Refusal> {
        let term = term.without_collate()?.as_integer();
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

    fn integer_operand(&mut self, term: Term) -> Result<Term, Refusal> {
        let term = self.number_operand(term)?;
        if term.class == Class::Int { Ok(term) } else { Err("it makes a double an integer".into()) }
    }

    fn arithmetic(&mut self, operator: Operator, l: Term, r: Term) -> Result<Term, Refusal> {
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
    fn divide(&mut self, operator: Operator, l: Term, r: Term) -> Result<Term, Refusal> {
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

    fn shift(&mut self, operator: Operator, l: Term, r: Term) -> Result<Term, Refusal> {
        let l = self.integer_operand(l)?;
        let Some(Value::Int(count @ 0..=63)) = r.value else {
            return Err("it shifts by something other than a constant from 0 to 63".into());
        };
        let sign = if operator == Operator::LeftShift { "<<" } else { ">>" };
        Ok(Term::new(format!("{} {sign} {count}", wide(&l)), Class::Int))
    }

    fn compare(&mut self, comparison: Comparison, l: Term, r: Term) -> Result<Term, Refusal> {
        let (l, r) = (l.as_integer(), r.as_integer());
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
    fn operands(&mut self, comparison: Comparison, l: Term, r: Term) -> Result<Operands, Refusal> {
        let (l, r) = (l.as_integer(), r.as_integer());
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

    fn text_operands(
        &self,
        comparison: Comparison,
        l: &Term,
        r: &Term,
    ) -> Result<Operands, Refusal> {
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
struct Operands {
    left: String,
    right: String,
    constant: Option<bool>,
}

impl Operands {
    fn plain(l: &Term, r: &Term) -> Self {
        Self { left: l.operand(), right: r.operand(), constant: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
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
    fn sql(self) -> &'static str {
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

    fn is_order(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual)
    }
}

fn is_numeric(affinity: Affinity) -> bool {
    matches!(affinity, Affinity::Integer | Affinity::Numeric | Affinity::Real)
}

/// The affinity that a comparison applies to both its sides.
fn comparison_affinity(l: Option<Affinity>, r: Option<Affinity>) -> Affinity {
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
fn apply(term: Term, affinity: Affinity) -> Result<Term, Refusal> {
    match (affinity, term.class) {
        (Affinity::Text, Class::Int) => {
            let mut text = match term.value {
                Some(Value::Int(int)) => Term::constant(Value::Text(int.to_string())),
                _ => Term::atom(format!("{}::text", term.operand()), Class::Text),
            };
            text.collation_above_column = term.collation_above_column;
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
fn mixed_operands(comparison: Comparison, l: &Term, r: &Term) -> Result<Operands, Refusal> {
    let refused = || {
        Err("its column can hold numbers among its texts, which sort and compare apart".to_owned())
    };
    let (column, other, column_is_left) =
        if l.is_mixed && l.class == Class::Text { (l, r, true) } else { (r, l, false) };
    if comparison.is_order() || column.affinity == Some(Affinity::Real) {
        return refused();
    }
    let explicit = l.collation_above_column.is_some() || r.collation_above_column.is_some();
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
fn number_operands(l: &Term, r: &Term) -> Result<Operands, Refusal> {
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
fn compare_null(comparison: Comparison, l: &Term, r: &Term) -> Result<Term, Refusal> {
    let other = if l.class == Class::Null { r } else { l };
    let other = if other.class == Class::Null { "null::text".into() } else { other.operand() };
    Ok(match comparison {
        Comparison::Same => Term::new(format!("{other} is null"), Class::Bool),
        Comparison::NotSame => Term::new(format!("{other} is not null"), Class::Bool),
        _ => Term::atom("null::boolean", Class::Bool),
    })
}

/// Results of CASE, coalesce and the like must have one class, or PostgreSQL would convert them.
///
/// Returns their texts and a term that stands for any of them.
fn unify(terms: Vec<Term>) -> Result<(Vec<String>, Term), Refusal> {
    let terms: Vec<Term> = terms
        .into_iter()
        .map(|term| term.as_integer().without_collate())
        .collect::<Result<_, _>>()?;
    let mut template: Option<Term> = None;
    for term in terms.iter().filter(|term| term.class != Class::Null) {
        match &mut template {
            None => {
                let mut first = Term::new("", term.class);
                first.is_mixed = term.is_mixed;
                first.is_collated = term.is_collated;
                first.is_narrow = term.is_narrow;
                template = Some(first);
            }
            Some(template) if template.class == term.class => {
                template.is_mixed |= term.is_mixed;
                template.is_collated |= term.is_collated;
                template.is_narrow &= term.is_narrow;
            }
            Some(_) => return Err("its results are of different classes".into()),
        }
    }
    let Some(template) = template else {
        return Err("all its results are NULL".into());
    };
    if template.class == Class::Text && template.is_mixed {
        return Err("its column can hold numbers among its texts".into());
    }
    let texts = terms
        .iter()
        .map(|term| match (term.class, template.class) {
            (Class::Real, _) if term.value.is_some() => term.typed(),
            _ => term.sql.clone(),
        })
        .collect();
    Ok((texts, template))
}

/// What becomes of a value when it is stored in a column
/// (<https://www.sqlite.org/datatype3.html#type_affinity>), and whether the target's type holds it.
fn store(term: Term, affinity: Affinity, pg: PgType) -> Result<Term, Refusal> {
    let term = term.as_integer();
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

fn misfit(class: Class, pg: PgType) -> Refusal {
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
fn store_value(value: &Value, affinity: Affinity, pg: PgType) -> Result<Term, Refusal> {
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

/// A literal. Its text is decoded; nothing of it is passed on as it is.
fn literal(token: &Token<'_>, purpose: Purpose) -> Result<Term, Refusal> {
    match token {
        Token::Numeric(digits) => number(digits, false).map(Term::constant),
        Token::String(quoted) => Ok(Term::constant(Value::Text(dequote(quoted)))),
        Token::Blob(text) => blob(text).map(|bytes| Term::constant(Value::Blob(bytes))),
        Token::Null => Ok(Term::atom("null", Class::Null)),
        Token::CurrentTimestamp if purpose == Purpose::Default => {
            Ok(call::clock("YYYY-MM-DD HH24:MI:SS", Looks::NeverNumeric))
        }
        Token::CurrentDate if purpose == Purpose::Default => {
            Ok(call::clock("YYYY-MM-DD", Looks::NeverNumeric))
        }
        Token::CurrentTime if purpose == Purpose::Default => {
            Ok(call::clock("HH24:MI:SS", Looks::NeverNumeric))
        }
        Token::Keyword(word) => Err(format!("{word} is no constant")),
        Token::CurrentDate | Token::CurrentTime | Token::CurrentTimestamp => {
            Err("it reads the clock".into())
        }
    }
}

/// A numeric literal (<https://www.sqlite.org/lang_expr.html#literal_values_constants_>).
fn number(digits: &str, negative: bool) -> Result<Value, Refusal> {
    let digits = digits.replace('_', "");
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        // Sixteen digits are the bits of a signed integer.
        let bits = u64::from_str_radix(hex, 16).map_err(|_| "a hexadecimal number is too long")?;
        let int = i64::from_ne_bytes(bits.to_ne_bytes());
        let int = if negative { int.checked_neg() } else { Some(int) };
        return int.map(Value::Int).ok_or_else(|| "a hexadecimal number is too long".into());
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(int) = digits.parse::<i128>()
        && let Ok(int) = i64::try_from(if negative { -int } else { int })
    {
        return Ok(Value::Int(int));
    }
    let real = real(&digits)?;
    Ok(Value::Real(if negative { -real } else { real }))
}

/// A decimal as a double, if every way to convert it comes to the same.
///
/// Up to 15 digits and powers of ten up to 22 are exact in doubles, so one multiplication or
/// division rounds once; beyond that SQLite's versions disagree in the last bit.
fn real(digits: &str) -> Result<f64, Refusal> {
    let refused = || format!("the number {digits} has more digits than a double keeps");
    let (mantissa, exponent) = match digits.find(['e', 'E']) {
        Some(at) => (&digits[..at], digits[at + 1..].parse::<i32>().map_err(|_| refused())?),
        None => (digits, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let significant = format!("{whole}{fraction}");
    let significant = significant.trim_start_matches(['-', '+', '0']);
    let scale = exponent - i32::try_from(fraction.len()).map_err(|_| refused())?;
    if 15 < significant.trim_end_matches('0').len() || 22 < scale.abs() || 30 < significant.len() {
        return Err(refused());
    }
    digits.parse().map_err(|_| refused())
}

/// The number that a numeric affinity makes of text; `None` if it stays text.
fn numeric_value(text: &str) -> Result<Option<Value>, Refusal> {
    let trimmed = text.trim_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let (negative, digits) = match trimmed.as_bytes().first() {
        Some(b'-') => (true, &trimmed[1..]),
        Some(b'+') => (false, &trimmed[1..]),
        _ => (false, trimmed),
    };
    if !is_number(digits) {
        return Ok(None);
    }
    Ok(Some(match number(digits, negative)? {
        Value::Real(real) => whole(real),
        int => int,
    }))
}

/// Digits with at most one point, then perhaps an exponent.
fn is_number(digits: &str) -> bool {
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = match digits.find(['e', 'E']) {
        Some(at) => (&digits[..at], Some(&digits[at + 1..])),
        None => (digits, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_is_good = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && is_digits(exponent)
    });
    !(whole.is_empty() && fraction.is_empty())
        && is_digits(whole)
        && is_digits(fraction)
        && exponent_is_good
}

/// Integer and numeric affinity turn a double without a fraction into an integer.
fn whole(real: f64) -> Value {
    if real.fract() == 0.0 && real.abs() <= EXACT_MAX as f64 {
        Value::Int(real as i64)
    } else {
        Value::Real(real)
    }
}

fn looks(text: &str) -> Looks {
    match numeric_value(text) {
        Ok(None) => Looks::NeverNumeric,
        Ok(Some(Value::Int(_))) if text.bytes().all(|byte| byte.is_ascii_digit()) => Looks::Digits,
        _ => Looks::Unknown,
    }
}

fn blob(text: &str) -> Result<Vec<u8>, Refusal> {
    let hex = text.trim_start_matches(['x', 'X']).trim_matches('\'');
    let byte = |at: usize| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..hex.len())
        .step_by(2)
        .map(byte)
        .collect::<Option<Vec<u8>>>()
        .ok_or_else(|| "a blob literal is malformed".into())
}

fn blob_sql(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("'\\x{hex}'::bytea")
}

/// A double whose shortest decimal PostgreSQL reads back as the same double.
fn real_sql(real: f64) -> String {
    let text = format!("{real}");
    if text.contains('.') { text } else { format!("{text}.0") }
}

/// An integer operand as `bigint`.
fn wide(term: &Term) -> String {
    if term.class == Class::Int && term.is_narrow {
        return format!("{}::bigint", term.operand());
    }
    term.operand()
}

/// A number as `double precision`.
fn double(term: &Term) -> String {
    match term.class {
        Class::Real if term.value.is_none() => term.operand(),
        _ => format!("{}::double precision", term.operand()),
    }
}

/// An expression without the parentheses around it.
fn strip<'a, 'bump>(expr: &'a Expr<'bump>) -> &'a Expr<'bump> {
    match expr {
        Expr::Parenthesized(inner) => match &inner[..] {
            [one] => strip(one),
            _ => expr,
        },
        _ => expr,
    }
}
