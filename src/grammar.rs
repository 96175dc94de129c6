//! SQLite's own grammar, kept at arm's length.
//!
//! PRAGMAs are the truth about names, types and keys. What they do not say (CHECK constraints,
//! generated expressions, the WHERE of a partial index, view bodies) is read from the statement
//! text with a port of SQLite's grammar. That text is the application's, so it is treated as
//! hostile: it must be UTF-8, it must be of bearable length, a panic in the parser is an answer
//! like any other, and trees are walked on a thread with a deep stack ([`on_deep_stack`]).
//!
//! This module parses and unquotes. It never guesses: where a text cannot be read, the caller is
//! told so and leaves the object out, with its reason. It never prints whole statements, because
//! the parser's printer loses commas there; expressions print faithfully (the tests of
//! [`crate::source::schema`] have SQLite prepare them again).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use sqlite3_parser::ast::{Cmd, Expr, OneSelect, ResultColumn, Stmt};
use sqlite3_parser::lexer::sql::Parser;
use sqlite3_parser::{Bump, FallibleIterator};

/// Stack of the thread that parses and walks trees.
///
/// SQLite refuses expressions deeper than 1,000 levels
/// (<https://www.sqlite.org/limits.html#max_expr_depth>); a level of the widest walk here needs
/// well under 8 KiB without optimisation, so twice that is ample.
const STACK_BYTES: usize = 16 << 20;

/// Longest statement that is parsed. A schema text beyond it (SQLite's own limit is a gigabyte)
/// is no constraint that a person wrote.
const STATEMENT_BYTES_MAX: usize = 16 << 20;

/// Runs `work` on a thread whose stack is deep enough for any tree that SQLite accepts.
///
/// A panic inside `work` goes on in the caller. Costs one thread; wrap many parses in one call.
pub fn on_deep_stack<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("grammar".into())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .expect("a process that cannot start a thread cannot replicate either");
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Parses exactly one statement and hands its tree to `read`.
///
/// Fails with a reason for people if the text is no single statement of SQLite's grammar. Call
/// it inside [`on_deep_stack`].
pub fn statement<R>(sql: &str, read: impl FnOnce(&Stmt<'_>) -> R) -> Result<R, String> {
    if STATEMENT_BYTES_MAX < sql.len() {
        return Err(format!("its text is longer than {STATEMENT_BYTES_MAX} bytes"));
    }
    // The parser is known to panic on bytes that are not UTF-8, which a `str` cannot hold; the
    // guard is for what nobody has found yet. Nothing outlives the arena, so nothing is left
    // half-changed by an unwound parse.
    let parse = AssertUnwindSafe(|| {
        let arena = Bump::new();
        let mut parser = Parser::new(&arena, sql.as_bytes());
        let command = parser.next().map_err(|error| error.to_string())?;
        let Some(Cmd::Stmt(statement)) = command else {
            return Err("its text is no statement".to_owned());
        };
        if !matches!(parser.next(), Ok(None)) {
            return Err("its text is more than one statement".to_owned());
        }
        Ok(read(&statement))
    });
    catch_unwind(parse).unwrap_or_else(|_| Err("the parser gave up on its text".to_owned()))
}

/// Parses one expression, such as a DEFAULT or a CHECK, and hands its tree to `read`.
///
/// Call it inside [`on_deep_stack`].
pub fn expression<R>(text: &str, read: impl FnOnce(&Expr<'_>) -> R) -> Result<R, String> {
    // The line break ends a comment that the text may end with.
    statement(&format!("SELECT (\n{text}\n)"), |statement| {
        let refused = || Err("its text is no single expression".to_owned());
        let Stmt::Select(select) = statement else { return refused() };
        let simple = select.with.is_none()
            && select.order_by.is_none()
            && select.limit.is_none()
            && select.body.compounds.is_none();
        let OneSelect::Select { columns, from: None, where_clause: None, .. } = &select.body.select
        else {
            return refused();
        };
        match columns {
            [ResultColumn::Expr(Expr::Parenthesized(inner), None)] if simple => match &inner[..] {
                [expr] => Ok(read(expr)),
                _ => refused(),
            },
            _ => refused(),
        }
    })?
}

/// Whether a name or string was written in quotes of any of SQLite's four styles.
pub fn is_quoted(text: &str) -> bool {
    text.starts_with(['"', '`', '\'', '['])
}

/// Takes the quotes off a name or string as SQLite does: `"x"`, `` `x` ``, `'x'` and `[x]`, with
/// doubled closing quotes made single (brackets have no doubling).
pub fn dequote(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some('[') => chars.as_str().strip_suffix(']').unwrap_or(chars.as_str()).to_owned(),
        Some(quote @ ('"' | '`' | '\'')) => {
            let inner = chars.as_str().strip_suffix(quote).unwrap_or(chars.as_str());
            let doubled: String = [quote, quote].iter().collect();
            inner.replace(&doubled, quote.encode_utf8(&mut [0; 4]))
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_four_quoting_styles_come_off() {
        for (quoted, raw) in [
            (r#""a""b""#, "a\"b"),
            ("`a``b`", "a`b"),
            ("'it''s'", "it's"),
            ("[a\"b]", "a\"b"),
            ("plain", "plain"),
            (r#""""#, ""),
            ("\"\"\"\"", "\""),
        ] {
            assert_eq!(dequote(quoted), raw, "{quoted}");
        }
    }

    #[test]
    fn an_expression_cannot_smuggle_in_anything_else() {
        on_deep_stack(|| {
            for text in ["1, 2", "1) from t where (1", "1); drop table t; select (1", "", "1 as x"]
            {
                assert!(expression(text, |_| ()).is_err(), "{text}");
            }
            assert_eq!(expression("a + 1 -- why", |expr| expr.to_string()), Ok("a + 1".to_owned()));
        });
    }

    #[test]
    fn a_thousand_levels_are_no_trouble() {
        let text = format!("{}1{}", "(".repeat(1_000), ")".repeat(1_000));
        let printed = on_deep_stack(|| expression(&text, |expr| expr.to_string()));
        assert_eq!(printed.as_deref(), Ok(text.as_str()));
    }
}
