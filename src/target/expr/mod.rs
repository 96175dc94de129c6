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
//! The file is long because the walk over an expression is one recursion with one state.
//!
//! Begin with [`predicate`], [`scalar`] and [`default::translate`].

use std::collections::BTreeSet;

use sqlite3_parser::ast::{Expr, Id, LikeOperator, Literal as Token, Operator, UnaryOperator};

use crate::grammar::{self, dequote};
use crate::table::{Affinity, Literal};
use crate::value::codec::form::{Digits, Form};
use crate::value::codec::kind::Kind;
use crate::value::{ColumnType, PgType};

mod calculate;
mod call;
mod compare;
mod constant;
pub mod default;
mod pattern;
mod store;

use calculate::{double, wide};
use compare::{Comparison, Operands};
use constant::{Looks, Value, blob_sql, looks, number, real_sql};
use store::store;

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
    pub pg: ColumnType,
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
    let term = walk.expr(expr)?.into_integer();
    if term.has_collate && scope.purpose == Purpose::View {
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
        let mut stored = store(term, affinity, pg)?;
        if affinity == Affinity::Real && stored.class == Class::Real {
            // SQLite keeps a REAL without a fraction as an integer, which has no negative zero.
            stored = Term::new(format!("{} + 0::double precision", stored.operand()), Class::Real);
        }
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

/// The class of a column's values on the target. Of the types that the configuration sets, only
/// those that hold the very same integers or texts are let through.
fn class_of(name: &str, pg: &ColumnType) -> Result<Class, Refusal> {
    Ok(match pg {
        ColumnType::Chosen(PgType::Int8) => Class::Int,
        ColumnType::Chosen(PgType::Float8) => Class::Real,
        ColumnType::Chosen(PgType::Numeric) => Class::Numeric,
        ColumnType::Chosen(PgType::Text) => Class::Text,
        ColumnType::Chosen(PgType::Bytea) => Class::Blob,
        ColumnType::Chosen(PgType::Jsonb) => return Err(format!("{name:?} mixes storage classes")),
        ColumnType::Set(codec) => match (&codec.target().kind, codec.form()) {
            (Kind::SmallInt | Kind::Integer | Kind::BigInt, Form::Number(Digits::Integer))
                if codec.losses().is_empty() =>
            {
                Class::Int
            }
            (Kind::Text | Kind::Varchar(_), Form::Text) if codec.losses().is_empty() => Class::Text,
            _ => return Err(format!("{name:?} is {} by the configuration", pg.sql())),
        },
    })
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
    /// A COLLATE operator is in it, however deep: SQLite lets it decide comparisons further out.
    has_collate: bool,
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
            has_collate: false,
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
        if value == Value::Int(i64::MIN) {
            // PostgreSQL reads the digits first, which no bigint holds.
            term.sql = format!("({})::bigint", i64::MIN);
        }
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
    fn into_integer(self) -> Self {
        if self.class != Class::Bool {
            return self;
        }
        let mut term = Self::atom(format!("{}::integer", self.operand()), Class::Int).narrow();
        term.range = Some((0, 1));
        term.has_collate = self.has_collate;
        term.collation_above_column = self.collation_above_column;
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

    /// An operand that is no comparison's own: a COLLATE on it would act further out.
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
    /// How many COLLATE operators were met.
    collates: usize,
}

impl<'scope> Walk<'scope> {
    fn new(scope: &'scope Scope) -> Self {
        Self { scope, columns: BTreeSet::new(), differs: false, aggregate: false, collates: 0 }
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
        let before = self.collates;
        let mut term = self.any_expr(expr)?;
        term.has_collate = before < self.collates;
        Ok(term)
    }

    fn any_expr(&mut self, expr: &Expr<'_>) -> Result<Term, Refusal> {
        match expr {
            Expr::Parenthesized(inner) => match &inner[..] {
                [one] => self.expr(one),
                _ => Err("it uses row values".into()),
            },
            Expr::Literal(token) => constant::literal(token, self.scope.purpose),
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
                if term.has_collate {
                    return Err("a COLLATE inside it reaches outwards".into());
                }
                self.collates += 1;
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
        let class = class_of(name, &column.pg)?;
        let makes_numbers = compare::is_numeric(column.affinity);
        let sql = match column.pg {
            ColumnType::Set(_) if class == Class::Int => format!("({}::bigint)", column.sql),
            _ => column.sql.clone(),
        };
        let mut term = Term::atom(sql, class).collated(class == Class::Text);
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
        match strip(right) {
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
            Expr::Collate(inner, _) if matches!(strip(inner), Expr::Id(_)) => {
                Err("it may be a truth test in disguise".into())
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
}

/// Results of CASE, coalesce and the like must have one class, or PostgreSQL would convert them.
///
/// Returns their texts and a term that stands for any of them.
fn unify(terms: Vec<Term>) -> Result<(Vec<String>, Term), Refusal> {
    let terms: Vec<Term> = terms
        .into_iter()
        .map(|term| term.into_integer().without_collate())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        let columns = [
            ("i", "integer", PgType::Int8, "BINARY"),
            ("r", "real", PgType::Float8, "BINARY"),
            ("m", "decimal", PgType::Numeric, "BINARY"),
            ("t", "text", PgType::Text, "BINARY"),
            ("n", "text", PgType::Text, "NOCASE"),
            ("p", "text", PgType::Text, "RTRIM"),
            ("c", "text", PgType::Text, "mine"),
            ("d", "date", PgType::Text, "BINARY"),
            ("b", "blob", PgType::Bytea, "BINARY"),
        ];
        let column = |(name, declared, pg, collation): (&str, &str, PgType, &str)| ScopeColumn {
            name: name.into(),
            table: "x".into(),
            sql: format!("\"{name}\""),
            pg: pg.into(),
            affinity: Affinity::of(declared),
            collation: collation.into(),
            not_null: false,
        };
        Scope {
            columns: columns.into_iter().map(column).collect(),
            utf8: true,
            purpose: Purpose::Check,
        }
    }

    fn condition(text: &str) -> Result<String, Refusal> {
        grammar::on_deep_stack(|| predicate(text, &scope())).map(|translated| translated.sql)
    }

    #[test]
    fn conditions_are_spelled_out_for_postgresql() {
        for (text, expected) in [
            ("i", r#""i" <> 0"#),
            ("i = '5'", r#""i" = 5"#),
            ("t = 5", r#""t" = '5'"#),
            ("t <> \"nosuch\"", r#""t" <> 'nosuch'"#),
            ("i IN (0, 1)", r#""i" in (0, 1)"#),
            ("i IN ()", "false"),
            ("r BETWEEN 0 AND 1", r#"("r" >= 0) and ("r" <= 1)"#),
            ("n = 'ABC'", r#"lower("n") = 'abc'"#),
            ("t = 'ABC ' COLLATE RTRIM", r#"rtrim("t", ' ') = 'ABC'"#),
            ("p > t", r#"rtrim("p", ' ') > rtrim("t", ' ')"#),
            ("i IS NOT 3", r#""i" is distinct from 3"#),
            ("i IS (TRUE)", r#"("i" <> 0) is true"#),
            ("t LIKE 'A!_%' ESCAPE '!'", r#"lower("t") like 'a\_%'"#),
            ("t NOT LIKE '%@%'", r#""t" not like '%@%'"#),
            ("i < 'x'", r#"case when "i" is not null and 'x' is not null then true end"#),
            ("i / 2 % 3", r#"(("i" / 2) % 3) <> 0"#),
            ("length(t) > 3 AND NOT i", r#"(length("t") > 3) and (not ("i" <> 0))"#),
            ("typeof(i) = 'integer'", {
                r#"case when "i" is null then 'null' else 'integer' end = 'integer'"#
            }),
            ("'b' > 'a'", r#"('b' collate "C") > 'a'"#),
        ] {
            assert_eq!(condition(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_exact_is_refused_with_a_reason() {
        for (text, reason) in [
            ("t", "truth value"),
            ("t > i", "whether the text looks like one"),
            ("d > '2020-01-01'", "numbers among its texts"),
            ("+d = '5'", "numbers among its texts"),
            ("'5' IN (t, d)", "numbers among its texts"),
            ("r > i", "rounds first"),
            ("m + 1 > 0", "side by side"),
            ("c = 'x'", "only the application knows"),
            ("json_valid(t)", "json_valid"),
            ("date(t) IS NOT NULL", "dates"),
            ("round(r) = 1", "round"),
            ("i > (SELECT 1)", "query"),
            ("t REGEXP 'x'", "application's own"),
            ("random() > 0", "another value each time"),
            ("CURRENT_DATE > t", "clock"),
            ("sum(i) > 1", "aggregate"),
            ("nosuch = 1", "nothing is called"),
            ("0.12345678901234567 < r", "more digits"),
            ("i > 9223372036854775807 + 1", "out of range"),
            ("substr(t, i) = 'x'", "before the first"),
            // A COLLATE deep inside decides the comparison outside.
            ("CASE WHEN t = 'x' COLLATE NOCASE THEN t END = 'y'", "reaches outwards"),
            ("lower(t COLLATE NOCASE) = 'y'", "reaches outwards"),
            ("i IS TRUE COLLATE NOCASE", "in disguise"),
        ] {
            let refusal = condition(text).expect_err(text);
            assert!(refusal.contains(reason), "{text}: {refusal}");
        }
    }

    #[test]
    fn utf16_databases_order_text_by_other_bytes() {
        let scope = Scope { utf8: false, ..scope() };
        let condition = |text| grammar::on_deep_stack(|| predicate(text, &scope)).is_ok();
        assert!(condition("t = 'x'"));
        assert!(!condition("t > 'x'"));
    }
}
