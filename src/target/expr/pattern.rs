//! LIKE and GLOB patterns as patterns of PostgreSQL.
//!
//! A pattern is taken apart and written anew, so that neither side's escape character survives by
//! accident (<https://www.sqlite.org/lang_expr.html#like>,
//! <https://www.postgresql.org/docs/current/functions-matching.html>).

use super::Refusal;

/// A pattern for PostgreSQL.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pattern {
    pub kind: Kind,
    /// The text, not quoted.
    pub text: String,
    /// The subject must be in lower case, as the pattern is.
    pub folds: bool,
}

/// The operator that a pattern is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `like`, with the backslash as escape character.
    Like,
    /// `~`.
    Regex,
}

/// LIKE. SQLite's ignores the case of ASCII letters; without such letters nothing is folded, so
/// that PostgreSQL sees the column as it is.
pub(super) fn like(pattern: &str, escape: Option<char>) -> Result<Pattern, Refusal> {
    let folds = pattern.chars().any(|c| c.is_ascii_alphabetic());
    let mut text = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let literal = if Some(c) == escape {
            chars.next().ok_or("its pattern ends in the escape character")?
        } else if matches!(c, '%' | '_') {
            text.push(c);
            continue;
        } else {
            c
        };
        push_like_literal(&mut text, literal.to_ascii_lowercase());
    }
    Ok(Pattern { kind: Kind::Like, text, folds })
}

fn push_like_literal(text: &mut String, literal: char) {
    if matches!(literal, '%' | '_' | '\\') {
        text.push('\\');
    }
    text.push(literal);
}

/// GLOB, which minds the case. Without character sets it is a LIKE, otherwise a regular
/// expression.
pub(super) fn glob(pattern: &str) -> Result<Pattern, Refusal> {
    if pattern.contains('[') {
        return glob_regex(pattern);
    }
    let mut text = String::new();
    for c in pattern.chars() {
        match c {
            '*' => text.push('%'),
            '?' => text.push('_'),
            literal => push_like_literal(&mut text, literal),
        }
    }
    Ok(Pattern { kind: Kind::Like, text, folds: false })
}

fn glob_regex(pattern: &str) -> Result<Pattern, Refusal> {
    let mut text = String::from("^");
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' => text.push_str(".*"),
            '?' => text.push('.'),
            '[' => text.push_str(&set(&mut chars)?),
            literal => push_regex_literal(&mut text, literal),
        }
    }
    text.push('$');
    Ok(Pattern { kind: Kind::Regex, text, folds: false })
}

/// The inside of a `[…]`, as `patternCompare` in SQLite's func.c reads it.
fn set(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, Refusal> {
    let unfinished = || Refusal::from("a character set in its pattern has no end");
    let mut text = String::from("[");
    let mut is_empty = true;
    if chars.next_if_eq(&'^').is_some() {
        text.push('^');
    }
    if chars.next_if_eq(&']').is_some() {
        push_regex_literal(&mut text, ']');
        is_empty = false;
    }
    let mut prior: Option<char> = None;
    loop {
        let c = chars.next().ok_or_else(unfinished)?;
        match (c, prior) {
            (']', _) => break,
            ('-', Some(from)) if !matches!(chars.peek(), Some(']') | None) => {
                let to = chars.next().ok_or_else(unfinished)?;
                if to < from {
                    // Nothing lies between them; the first alone was put in already.
                    prior = None;
                    continue;
                }
                text.push('-');
                push_regex_literal(&mut text, to);
                prior = None;
            }
            _ => {
                push_regex_literal(&mut text, c);
                prior = Some(c);
            }
        }
        is_empty = false;
    }
    if is_empty {
        return Err("a character set in its pattern is empty".into());
    }
    text.push(']');
    Ok(text)
}

/// Letters and digits stand for themselves, everything else by its number.
fn push_regex_literal(text: &mut String, literal: char) {
    if literal.is_ascii_alphanumeric() || matches!(literal, ' ' | '_' | '@') {
        text.push(literal);
    } else {
        text.push_str(&format!("\\U{:08x}", u32::from(literal)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_keeps_its_wildcards_and_nothing_else() {
        let text = |pattern, escape| like(pattern, escape).map(|pattern| pattern.text);
        assert_eq!(text("%@%.%", None).as_deref(), Ok("%@%.%"));
        assert_eq!(text(r"a\%B", None).as_deref(), Ok(r"a\\%b"));
        assert_eq!(text("50!%!_!!%", Some('!')).as_deref(), Ok(r"50\%\_!%"));
        assert!(text("x!", Some('!')).is_err());
        assert_eq!(like("____-__", None).map(|pattern| pattern.folds), Ok(false));
    }

    #[test]
    fn glob_sets_become_regular_expressions() {
        let text = |pattern| glob(pattern).map(|pattern| pattern.text);
        assert_eq!(text("a*?%").as_deref(), Ok(r"a%_\%"));
        assert_eq!(text("[0-9][^a-z]*").as_deref(), Ok("^[0-9][^a-z].*$"));
        assert_eq!(text("[]a-]").as_deref(), Ok(r"^[\U0000005da\U0000002d]$"));
        assert_eq!(text("[z-a]").as_deref(), Ok("^[z]$"));
        assert!(text("[abc").is_err());
        assert!(text("[]").is_err());
    }
}
