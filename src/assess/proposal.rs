//! What is proposed for a column, as data, and how counts and rows are put into words.
//!
//! Filled in by [`super::propose`]; shown by [`crate::report`].

use std::collections::BTreeMap;

use super::profile::Rare;
use crate::overrides::Choice;
use crate::value::codec::form::Form;
use crate::value::codec::kind::{BadName, Target};
use crate::value::codec::policy::{Loss, Policies};

/// What is proposed for a column.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Proposal {
    /// The type that create mode takes without any setting.
    pub default_type: String,
    /// The configuration sets the type already.
    pub is_set: bool,
    /// The type that the values speak for.
    #[serde(rename = "type")]
    pub pg: String,
    /// How the column writes its values, in words, where the type alone does not say it.
    pub written_as: Option<String>,
    /// The same as the configuration says it.
    pub form: Option<Form>,
    /// Settings that the values which do not fit would need.
    pub policies: BTreeMap<&'static str, Setting>,
    /// Losses that lie in the type itself, which the configuration accepts by name.
    pub accept: Vec<Loss>,
    /// Values, NULLs apart.
    pub values: u64,
    /// Values that the proposed type holds without any policy.
    pub fits: u64,
    /// What does not fit, by kind.
    pub misfits: Vec<Misfits>,
    /// What would not come back as it was.
    pub lossy: Option<String>,
    /// Why this type, in a sentence.
    pub evidence: String,
    /// Other types that would do.
    pub alternatives: Vec<Alternative>,
}

/// The value of a policy.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum Setting {
    /// On or off.
    Flag(bool),
    /// A word.
    Word(&'static str),
}

/// Values of one kind that do not fit.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Misfits {
    /// What they are.
    pub what: String,
    /// How many.
    pub count: u64,
    /// The first rows, by key.
    pub keys: Vec<String>,
}

/// A type that would do as well.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Alternative {
    /// Its name.
    #[serde(rename = "type")]
    pub pg: String,
    /// Why it would do.
    pub why: String,
}

impl Misfits {
    /// From what was counted; `None` if there is none.
    pub fn of(what: &str, rare: &Rare) -> Option<Self> {
        (0 < rare.count).then(|| Self {
            what: what.to_owned(),
            count: rare.count,
            keys: rare.first.iter().map(ToString::to_string).collect(),
        })
    }

    /// `8 are '' — rows 17, 93, …`.
    pub fn sentence(&self) -> String {
        let verb = if self.count == 1 { "is" } else { "are" };
        format!("{} {verb} {} — {}", grouped(self.count), self.what, rows(self.count, &self.keys))
    }
}

/// `rows 17, 93, …`.
pub fn rows(count: u64, keys: &[String]) -> String {
    let more = if (keys.len() as u64) < count { ", …" } else { "" };
    let word = if count == 1 { "row" } else { "rows" };
    format!("{word} {}{more}", keys.join(", "))
}

/// `42,000`.
pub fn grouped(number: impl ToString) -> String {
    let digits = number.to_string();
    let (sign, digits) = digits.strip_prefix('-').map_or(("", &*digits), |digits| ("-", digits));
    let mut text = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if 0 < at && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl Proposal {
    /// Whether the values speak for another type than create mode takes by itself.
    pub fn is_another(&self) -> bool {
        self.pg != self.default_type
    }

    /// What the configuration would say, without the form; fails where PostgreSQL has no such type,
    /// say of so many digits.
    pub fn choice(&self) -> Result<Choice, BadName> {
        let target = Target::parse(&self.pg)?;
        let policies = toml::Value::try_from(&self.policies).ok();
        let policies: Option<Policies> = policies.and_then(|policies| policies.try_into().ok());
        Ok(Choice {
            target,
            form: None,
            policies: policies.expect("proposals use the words of the configuration"),
            accept: self.accept.clone(),
        })
    }

    /// Two texts that differ could become one value.
    pub fn may_collide(&self) -> bool {
        self.policies.contains_key("forms")
            || self.policies.contains_key("precision")
            || self.pg == "jsonb"
            || self.written_as.as_deref() == Some("words")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_rows_are_listed() {
        assert_eq!(grouped(-1_234_567), "-1,234,567");
        assert_eq!(grouped(999), "999");
        assert_eq!(rows(1, &["7".to_owned()]), "row 7");
        assert_eq!(rows(9, &["7".to_owned(), "8".to_owned()]), "rows 7, 8, …");
    }
}
