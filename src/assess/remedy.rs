//! Which choice of the configuration would take values that do not fit the type of their column.
//!
//! Tried out, not guessed from the reason: each choice is given to the codec in turn.

use crate::value::Storage;
use crate::value::codec::Codec;
use crate::value::codec::policy::{
    Exactness, Forms, InvalidUtf8, LeapSecond, Nul, OutOfRange, Policies, TooLong, TrailingSpaces,
};

/// Values of one reason that are tried.
const TRIED_MAX: u64 = 100;

/// A choice, and how it changes the policies of a column.
type Choice = (&'static str, fn(&mut Policies));

/// Every choice that loses something for a value that would otherwise be refused, the least first.
const CHOICES: [Choice; 11] = [
    ("forms = \"any\"", |policies| policies.forms = Forms::Any),
    ("leap_second = \"roll\"", |policies| policies.leap_second = LeapSecond::Roll),
    ("trailing_spaces = \"strip\"", |policies| policies.trailing_spaces = TrailingSpaces::Strip),
    ("precision = \"round\"", |policies| policies.precision = Exactness::Round),
    ("empty_as_null = true", |policies| policies.empty_as_null = true),
    ("nul = \"strip\"", |policies| policies.nul = Nul::Strip),
    ("invalid_utf8 = \"replace\"", |policies| policies.invalid_utf8 = InvalidUtf8::Replace),
    ("invalid_utf8 = \"latin1\"", |policies| policies.invalid_utf8 = InvalidUtf8::Latin1),
    ("too_long = \"truncate\"", |policies| policies.too_long = TooLong::Truncate),
    ("out_of_range = \"clamp\"", |policies| policies.out_of_range = OutOfRange::Clamp),
    ("out_of_range = \"null\"", |policies| policies.out_of_range = OutOfRange::Null),
];

/// The choices that would take all values of one reason, as far as they were tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remedies {
    tried: u64,
    choices: Vec<&'static str>,
}

impl Remedies {
    /// Takes note of a value that `codec` refused.
    pub fn note(&mut self, codec: &Codec, value: Storage<'_>) {
        if TRIED_MAX <= self.tried {
            return;
        }
        let is_taken_by = |(_, change): &Choice| {
            let mut policies = codec.policies().clone();
            change(&mut policies);
            let other = Codec::new(codec.target().clone(), codec.form().clone(), policies);
            other.is_ok_and(|other| other.encode(value, &mut Vec::new()).is_ok())
        };
        let is_left = |words| self.tried == 0 || self.choices.contains(words);
        let left = CHOICES.iter().filter(|(words, _)| is_left(words));
        self.choices = left.filter(|one| is_taken_by(one)).map(|(words, _)| *words).collect();
        self.tried += 1;
    }

    /// The remedies of values that follow in the table, added.
    pub fn merge(&mut self, later: &Self) {
        match (self.tried, later.tried) {
            (_, 0) => {}
            (0, _) => self.clone_from(later),
            _ => self.choices.retain(|words| later.choices.contains(words)),
        }
        self.tried = TRIED_MAX.min(self.tried + later.tried);
    }

    /// In the words of the configuration.
    pub fn words(&self) -> &[&'static str] {
        &self.choices
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::codec::form::Form;
    use crate::value::codec::kind::Target;
    use crate::value::codec::moment::{Moments, Zone};

    fn remedies(pg: &str, form: Form, values: &[&str]) -> Vec<&'static str> {
        let policies = Policies { zone: Some(Zone::universal()), ..Policies::default() };
        let codec = Codec::new(Target::parse(pg).expect("a type"), form, policies);
        let codec = codec.expect("the form is taken");
        let mut remedies = Remedies::default();
        for value in values {
            remedies.note(&codec, Storage::Text(value.as_bytes()));
        }
        remedies.words().to_vec()
    }

    #[test]
    fn a_choice_is_named_if_it_takes_every_value() {
        let moment = || Form::Moment(Moments::SQLITE);
        assert_eq!(
            remedies("timestamptz", moment(), &["2024-01-01T10:00:00Z"]),
            ["forms = \"any\""]
        );
        assert_eq!(remedies("timestamptz", moment(), &[""]), ["empty_as_null = true"]);
        assert_eq!(remedies("timestamptz", moment(), &["", "soon"]), [""; 0]);
        assert_eq!(
            remedies("varchar(2)", Form::Text, &["abc", "abcd"]),
            ["too_long = \"truncate\""]
        );
        assert_eq!(remedies("text", Form::Text, &["a\0b"]), ["nul = \"strip\""]);
    }
}
