//! The section `[alerts]` of `lite2pg.toml`.
//!
//! URLs and headers are secrets: they are read by a visitor that never quotes what it was given,
//! so no message about the file can show them.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{SeqAccess, Visitor};

use super::Thresholds;
use super::webhook::Webhook;

/// Of each kind, this many an hour are what a person can look into.
const PER_HOUR: NonZeroU32 = NonZeroU32::new(12).expect("it is not zero");

/// What belongs together comes together: a handful of tables of one migration.
const BURST: NonZeroU32 = NonZeroU32::new(5).expect("it is not zero");

/// A restart of PostgreSQL is over by then.
const TARGET_LOST: Duration = Duration::from_secs(60);

/// Who is told, how often, and of what.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub(super) command: Option<String>,
    #[serde(default)]
    webhook: Secrets,
    #[serde(default)]
    webhook_headers: Secrets,
    per_hour: Option<NonZeroU32>,
    burst: Option<NonZeroU32>,
    #[serde(default, deserialize_with = "crate::config::duration")]
    lag: Option<Duration>,
    #[serde(default, deserialize_with = "crate::config::duration")]
    target_lost: Option<Duration>,
}

impl Settings {
    /// Fails, in words that show no secret, if an alert could not be sent as it is asked for.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.webhook.0.is_empty() && !self.webhook_headers.0.is_empty() {
            return Err("`webhook_headers` needs a `webhook`");
        }
        if self.command.as_ref().is_some_and(|command| command.trim().is_empty()) {
            return Err("`command` is empty");
        }
        self.webhook().map(drop)
    }

    /// Whether it holds what others must not read.
    pub fn is_secret(&self) -> bool {
        !self.webhook.0.is_empty()
    }

    /// How many of a kind an hour, and how many at once.
    pub fn rate(&self) -> (NonZeroU32, NonZeroU32) {
        (self.per_hour.unwrap_or(PER_HOUR), self.burst.unwrap_or(BURST))
    }

    /// From when on what lasts is told.
    pub fn thresholds(&self) -> Thresholds {
        Thresholds { lag: self.lag, target_lost: self.target_lost.unwrap_or(TARGET_LOST) }
    }

    pub(super) fn webhook(&self) -> Result<Option<Webhook>, &'static str> {
        let headers = self.webhook_headers.0.iter().map(String::as_str);
        match &self.webhook.0[..] {
            [] => Ok(None),
            [url] => Webhook::new(url, headers).map(Some),
            _ => Err("`webhook` is one URL"),
        }
    }
}

/// One string or several, which are shown nowhere.
#[derive(Clone, Default)]
struct Secrets(Vec<String>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(SecretsVisitor)
    }
}

struct SecretsVisitor;

impl<'de> Visitor<'de> for SecretsVisitor {
    type Value = Secrets;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, or a list of strings")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Secrets, E> {
        Ok(Secrets(vec![text.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Secrets, A::Error> {
        let mut secrets = Vec::new();
        while let Some(secret) = list.next_element()? {
            secrets.push(secret);
        }
        Ok(Secrets(secrets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        let settings: Settings =
            toml::from_str(text).map_err(|error| error.message().to_owned())?;
        settings.check().map_err(str::to_owned)?;
        Ok(settings)
    }

    #[test]
    fn a_webhook_takes_one_header_or_several() {
        let url = "webhook = \"https://example.org/x\"\n";
        for (text, headers) in [
            ("", 0),
            ("webhook_headers = \"Authorization: Bearer x\"", 1),
            ("webhook_headers = [\"Authorization: Bearer x\", \"X-Team: shop\"]", 2),
        ] {
            let settings = read(&format!("{url}{text}")).expect("it is right");
            assert_eq!(settings.webhook_headers.0.len(), headers);
            assert!(settings.is_secret());
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_what_was_given() {
        for text in [
            "webhook = \"hunter2\"",
            "webhook = [\"https://hunter2.example.org\", \"https://hunter2.example.org\"]",
            "webhook = [[\"hunter2\"]]",
            "webhook = { url = \"hunter2\" }",
            "webhook_headers = \"Authorization: hunter2\"",
            "webhook = \"https://example.org\"\nwebhook_headers = [[\"hunter2\"]]",
            "webhook = \"https://example.org\"\nwebhook_headers = [\"hunter2\"]",
            "webhook = \"https://example.org\"\nwebhook_header = \"hunter2\"",
            "command = \" \"",
            "per_hour = 0",
            "burst = 0",
            "lag = \"5\"",
        ] {
            let error = read(text).expect_err(text);
            assert!(!error.contains("hunter2"), "{error}");
        }
        let settings = read("webhook = \"https://example.org/hunter2\"").expect("it is right");
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
