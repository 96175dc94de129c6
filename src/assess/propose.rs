//! The PostgreSQL type that a column's values speak for, with the evidence.
//!
//! Two types are named for each column. The *default* is what create mode takes without any
//! setting: it holds every value that any type can hold, and nothing is interpreted. The *proposal*
//! is what the values and the declaration speak for: `timestamptz` for a column of ISO texts. It
//! says how many values it holds, which it does not, by key, and which policies of the
//! configuration would settle those. A proposal that cannot bring each value back as it was says
//! what is lost.
//!
//! Rules of thumb are kept narrow: a proposal needs [`SHARE`] of the values, and where a value's
//! form could be an accident (0 and 1, a number of ten digits), a hint in name or declaration.
//!
//! The file is long because each type's rule is a few lines beside the others it competes with.
//!
//! Pure. Begin with [`propose`].

use std::collections::BTreeMap;

use super::collide::Collisions;
use super::form::{Form, Stamp, Zone};
use super::profile::{EPOCH_UNITS, EpochUnit, Profile, Refused, SCALE_MONEY_MAX};
use super::proposal::{Alternative, Misfits, Proposal, Setting, grouped};
use crate::table::{Affinity, Column, IndexTerm, Table};
use crate::value::codec::Codec;
use crate::value::codec::policy::Loss;
use crate::value::{PgType, Seen, Storage};

/// A type is proposed if it holds at least this many of a hundred values; the others are listed.
const SHARE: u64 = 95;

/// A column on its way to a proposal.
struct Case<'a> {
    column: &'a Column,
    profile: &'a Profile,
    /// In lower case.
    name: String,
    /// In upper case.
    declared: String,
    /// A CHECK, a DEFAULT or a name speaks for 0 and 1.
    is_checked_boolean: bool,
    /// An index is over it, which `json` has no order for.
    is_indexed: bool,
    uses_django: bool,
}

/// Proposes a type for a column. `collisions` is what is known of a unique column whose proposal
/// [may make values equal](Proposal::may_collide); `uses_django` says that naive times are in UTC.
pub fn propose(
    table: &Table,
    position: usize,
    profile: &Profile,
    collisions: Option<&Collisions>,
    uses_django: bool,
) -> Proposal {
    if let Some(codec) = &profile.codec {
        return as_set(table, position, profile, codec);
    }
    let column = &table.columns[position];
    let default_type = default_type(table, position, profile);
    let case = Case {
        column,
        profile,
        name: column.name.to_lowercase(),
        declared: column.declared.to_ascii_uppercase(),
        is_checked_boolean: is_checked_boolean(table, column),
        is_indexed: is_indexed(table, position),
        uses_django,
    };
    let as_default = |evidence: String| Proposal {
        default_type: default_type.sql().to_owned(),
        pg: default_type.sql().to_owned(),
        values: profile.values(),
        fits: profile.values()
            - default_misfits(default_type, column, profile).iter().map(|m| m.count).sum::<u64>(),
        misfits: default_misfits(default_type, column, profile),
        evidence,
        ..Proposal::default()
    };
    let mut proposal = if table.rowid_alias == Some(position) {
        as_default("the rowid: an identity column with a sequence".to_owned())
    } else if profile.values() == 0 {
        as_default(format!("no values; by its declaration {:?}", column.declared))
    } else {
        match case.narrower() {
            Some(found) if let Some(why) = objection(collisions) => {
                let mut kept = as_default(case.default_evidence(default_type));
                kept.alternatives.push(Alternative { pg: found.pg, why });
                kept
            }
            Some(found) if found.pg != default_type.sql() => {
                Proposal { default_type: default_type.sql().to_owned(), ..found }
            }
            _ => as_default(case.default_evidence(default_type)),
        }
    };
    proposal.alternatives.extend(case.alternatives(&proposal.pg));
    proposal
}

/// What is to be said of a column whose type the configuration sets.
fn as_set(table: &Table, position: usize, profile: &Profile, codec: &Codec) -> Proposal {
    let of = |refused: &Refused| Misfits::of(&refused.misfit.to_string(), &refused.rows);
    let misfits: Vec<Misfits> = profile.refused.iter().filter_map(of).collect();
    let values = profile.values();
    let fits = values - misfits.iter().map(|misfit| misfit.count).sum::<u64>();
    let mut evidence = "set by the configuration; ".to_owned();
    evidence.push_str(&match fits == values {
        true => format!("all {} fit", counted(values)),
        false => format!("{} of {} fit", grouped(fits), counted(values)),
    });
    for misfit in &misfits {
        evidence.push_str(&format!(
            "; {}: {}",
            misfit.what,
            super::proposal::rows(misfit.count, &misfit.keys)
        ));
    }
    let losses: Vec<String> = codec.losses().iter().map(ToString::to_string).collect();
    Proposal {
        default_type: default_type(table, position, profile).sql().to_owned(),
        is_set: true,
        pg: codec.target().name.clone(),
        form: Some(codec.form().clone()),
        values,
        fits,
        misfits,
        lossy: (!losses.is_empty()).then(|| losses.join("; ")),
        evidence,
        ..Proposal::default()
    }
}

/// The default type, where what the values speak for cannot be set; `instead` says why.
pub fn keep_default(
    table: &Table,
    position: usize,
    profile: &Profile,
    instead: Alternative,
) -> Proposal {
    let pg = default_type(table, position, profile);
    let misfits = default_misfits(pg, &table.columns[position], profile);
    Proposal {
        default_type: pg.sql().to_owned(),
        pg: pg.sql().to_owned(),
        values: profile.values(),
        fits: profile.values() - misfits.iter().map(|misfit| misfit.count).sum::<u64>(),
        misfits,
        evidence: format!("{} cannot be set: {}", instead.pg, instead.why),
        alternatives: vec![instead],
        ..Proposal::default()
    }
}

/// The type that create mode chooses once it has seen all values.
pub fn default_type(table: &Table, position: usize, profile: &Profile) -> PgType {
    if table.rowid_alias == Some(position) {
        return PgType::Int8;
    }
    let mut seen = Seen::default();
    for (count, value) in [
        (profile.integers.all.count, Storage::Integer(0)),
        (profile.reals.all.count, Storage::Real(0.5)),
        (profile.texts.all.count, Storage::Text(b"")),
        (profile.blobs.all.count, Storage::Blob(b"")),
    ] {
        if 0 < count {
            seen.note(value);
        }
    }
    let column = &table.columns[position];
    seen.choose(&column.declared, column.affinity)
}

/// The values that the default type cannot hold, which no other type of create mode can either.
pub fn default_misfits(pg: PgType, column: &Column, profile: &Profile) -> Vec<Misfits> {
    let (integers, reals) = (&profile.integers.all, &profile.reals.all);
    let (texts, blobs) = (&profile.texts.all, &profile.blobs.all);
    let is_numeric =
        matches!(column.affinity, Affinity::Integer | Affinity::Numeric | Affinity::Real);
    let infinite = Misfits::of("infinite", &profile.reals.infinite);
    let integral = Misfits::of("whole reals beside integers", &profile.reals.integral);
    let found = match pg {
        PgType::Int8 => vec![
            Misfits::of("reals", reals),
            Misfits::of("texts", texts),
            Misfits::of("blobs", blobs),
        ],
        PgType::Float8 => vec![
            Misfits::of("integers", integers),
            Misfits::of("texts", texts),
            Misfits::of("blobs", blobs),
        ],
        PgType::Numeric => {
            vec![infinite, integral, Misfits::of("texts", texts), Misfits::of("blobs", blobs)]
        }
        PgType::Text => {
            let numbers = if is_numeric {
                let integral = integral.filter(|_| column.affinity != Affinity::Real);
                [infinite, integral]
            } else {
                [Misfits::of("integers", integers), Misfits::of("reals", reals)]
            };
            let [one, other] = numbers;
            let texts = &profile.texts;
            vec![
                Misfits::of("texts with a NUL character", &texts.nul),
                Misfits::of("texts that are not UTF-8", &texts.bad_utf8),
                one,
                other,
                Misfits::of("blobs", blobs),
            ]
        }
        PgType::Jsonb => vec![
            Misfits::of("texts with a NUL character", &profile.texts.nul),
            Misfits::of("texts that are not UTF-8", &profile.texts.bad_utf8),
        ],
        PgType::Bytea => vec![
            Misfits::of("integers", integers),
            Misfits::of("reals", reals),
            Misfits::of("texts", texts),
        ],
    };
    found.into_iter().flatten().collect()
}

/// Why a unique column should not get a type that makes texts equal.
fn objection(collisions: Option<&Collisions>) -> Option<String> {
    match collisions? {
        Collisions::None => None,
        Collisions::Rows(pairs) => {
            let pairs: Vec<String> = pairs
                .iter()
                .map(|(later, earlier)| format!("row {later} would equal row {earlier}"))
                .collect();
            Some(format!("once no two values become one: {}", pairs.join(", ")))
        }
        Collisions::Unknown(why) => Some(format!(
            "if no two values become one: the column is unique and written in several ways, and \
             {why}"
        )),
    }
}

fn is_indexed(table: &Table, position: usize) -> bool {
    let terms = table.indexes.iter().flat_map(|index| &index.columns).map(|column| &column.term);
    terms.clone().any(|term| *term == IndexTerm::Column(position))
        || table.key_columns().contains(&position)
}

fn is_checked_boolean(table: &Table, column: &Column) -> bool {
    let name = column.name.to_lowercase();
    table.checks.iter().any(|check| {
        let text: String = check.expr.to_lowercase().split_whitespace().collect();
        let text = text.replace(['"', '`', '[', ']', '(', ')'], "");
        [format!("{name}in0,1"), format!("{name}in1,0"), format!("{name}=0or{name}=1")]
            .contains(&text)
    })
}

/// Words at the beginning of a name that speak for yes or no.
const BOOLEAN_PREFIXES: [&str; 8] =
    ["is_", "has_", "can_", "was_", "should_", "allow_", "enable_", "use_"];

/// Names, or ends of names after an underscore, that speak for yes or no.
const BOOLEAN_WORDS: [&str; 20] = [
    "active",
    "enabled",
    "disabled",
    "deleted",
    "archived",
    "public",
    "private",
    "visible",
    "hidden",
    "verified",
    "confirmed",
    "approved",
    "completed",
    "done",
    "paid",
    "shipped",
    "flag",
    "locked",
    "published",
    "resolved",
];

/// The same for times.
const TIME_WORDS: [&str; 16] = [
    "at",
    "on",
    "time",
    "date",
    "timestamp",
    "ts",
    "created",
    "updated",
    "modified",
    "expires",
    "expiry",
    "epoch",
    "deadline",
    "since",
    "until",
    "seen",
];

/// The same for money and other decimals.
const MONEY_WORDS: [&str; 18] = [
    "price", "amount", "total", "subtotal", "cost", "fee", "tax", "balance", "value", "revenue",
    "discount", "salary", "payment", "paid", "credit", "debit", "budget", "sum",
];

impl Case<'_> {
    fn name_ends_in(&self, words: &[&str]) -> bool {
        let last = self.name.rsplit('_').next().unwrap_or(&self.name);
        // createdAt, dueDate: the last word of a name in camel case.
        let humps = self.column.name.rfind(|c: char| c.is_ascii_uppercase());
        let hump = humps.map_or_else(String::new, |at| self.column.name[at..].to_lowercase());
        words.iter().any(|word| last == *word || hump == *word)
    }

    fn speaks_of_time(&self) -> bool {
        self.declared.contains("DATE")
            || self.declared.contains("TIME")
            || self.name_ends_in(&TIME_WORDS)
    }

    fn is_most(count: u64, of: u64) -> bool {
        0 < count && of * SHARE <= count * 100
    }

    /// The first of the narrower types that the values speak for.
    fn narrower(&self) -> Option<Proposal> {
        self.moments()
            .or_else(|| self.uuid())
            .or_else(|| self.boolean())
            .or_else(|| self.json())
            .or_else(|| self.epoch())
            .or_else(|| self.decimal())
            .or_else(|| self.number_beside_text())
    }

    /// Counts what fits, lists what does not, and adds the policies that would settle it.
    fn found(&self, pg: &str, fits: u64, rest: Vec<Option<Misfits>>, what: &str) -> Proposal {
        let values = self.profile.values();
        let misfits: Vec<Misfits> = rest.into_iter().flatten().collect();
        let mut policies = BTreeMap::new();
        if misfits.iter().any(|misfit| misfit.what == Form::Empty.words()) {
            policies.insert("empty_as_null", Setting::Flag(true));
        }
        let mut evidence = if fits == values {
            format!("all {} {what}", counted(values))
        } else {
            format!("{} of {} {what}", grouped(fits), counted(values))
        };
        for misfit in &misfits {
            evidence.push_str("; ");
            evidence.push_str(&misfit.sentence());
        }
        let lossy = policies
            .contains_key("empty_as_null")
            .then(|| "empty texts become NULL and stay it on the way back".to_owned());
        let pg = pg.to_owned();
        Proposal { pg, policies, values, fits, misfits, lossy, evidence, ..Proposal::default() }
    }

    /// Texts in none of these forms, and the faulty ones.
    fn texts_but(&self, forms: &[Form]) -> Vec<Option<Misfits>> {
        let texts = &self.profile.texts;
        Form::ALL
            .iter()
            .filter(|form| !forms.contains(form))
            .map(|form| Misfits::of(form.words(), texts.form(*form)))
            .chain([Misfits::of("texts that are not UTF-8", &texts.bad_utf8)])
            .collect()
    }

    fn classes_but_text(&self) -> [Option<Misfits>; 3] {
        let profile = self.profile;
        [
            Misfits::of("integers", &profile.integers.all),
            Misfits::of("reals", &profile.reals.all),
            Misfits::of("blobs", &profile.blobs.all),
        ]
    }

    fn only_texts(&self, pg: &str, forms: &[Form], what: &str) -> Proposal {
        let fits = forms.iter().map(|form| self.profile.texts.form(*form).count).sum();
        let mut rest = self.texts_but(forms);
        rest.extend(self.classes_but_text());
        self.found(pg, fits, rest, what)
    }

    fn not_empty(&self) -> u64 {
        self.profile.values() - self.profile.texts.form(Form::Empty).count
    }

    fn moments(&self) -> Option<Proposal> {
        let count = |form| self.profile.texts.form(form).count;
        let (dates, times) = (count(Form::Date), count(Form::Time));
        let (naive, zoned) = (count(Form::Timestamp), count(Form::TimestampZoned));
        let of = self.not_empty();
        if Self::is_most(dates, of) {
            let mut found = self.only_texts("date", &[Form::Date], "are ISO dates");
            found.written_as = Some("YYYY-MM-DD".to_owned());
            return Some(found);
        }
        if Self::is_most(times, of) {
            let mut found = self.only_texts("time", &[Form::Time], "are times of day");
            self.add_stamps(&mut found);
            return Some(found);
        }
        if !Self::is_most(naive + zoned, of) {
            return None;
        }
        let mut found = if naive < zoned {
            let forms = [Form::TimestampZoned];
            self.only_texts("timestamptz", &forms, "are ISO with zone")
        } else if let Some(why) = self.is_utc() {
            let forms = [Form::Timestamp];
            let mut found = self.only_texts("timestamptz", &forms, "are ISO without zone");
            found.policies.insert("zone", Setting::Word("UTC"));
            found.evidence.push_str(&format!("; taken as UTC because {why}"));
            found
        } else {
            self.only_texts("timestamp", &[Form::Timestamp], "are ISO without zone")
        };
        self.add_stamps(&mut found);
        Some(found)
    }

    /// Why times without zone are in UTC, if that can be told.
    fn is_utc(&self) -> Option<&'static str> {
        let default = self.column.default.as_deref().unwrap_or_default().to_lowercase();
        if default.contains("localtime") {
            return None;
        }
        if ["current_timestamp", "datetime(", "strftime("].iter().any(|made| default.contains(made))
        {
            return Some("the column's default gives UTC");
        }
        self.uses_django.then_some("Django's migrations are in the file, and it stores UTC")
    }

    /// How the times are written, and what that means for the way back.
    fn add_stamps(&self, found: &mut Proposal) {
        let texts = &self.profile.texts;
        let mut stamps = texts.stamps.clone();
        stamps.sort_by_key(|(stamp, count)| (std::cmp::Reverse(*count), *stamp));
        let Some((main, _)) = stamps.first() else { return };
        found.written_as = Some(main.pattern());
        let ways = stamps.len() + usize::from(0 < texts.other_stamps);
        if 9 < main.fraction || stamps.iter().any(|(stamp, _)| 6 < stamp.fraction) {
            found.policies.insert("precision", Setting::Word("round"));
            add_loss(found, "digits beyond microseconds are rounded");
        }
        let has_other_offset = |(stamp, _): &(Stamp, u64)| match stamp.zone {
            Zone::Offset { minutes, .. } => minutes != 0,
            _ => false,
        };
        if 1 < ways && stamps.iter().any(has_other_offset) {
            add_loss(found, "the moment is kept, the offset it was written in is not");
        }
        if 1 < ways && !is_optional_fraction(&stamps) {
            found.policies.insert("forms", Setting::Word("any"));
            found
                .evidence
                .push_str(&format!("; written in {ways} ways, most as {}", main.pattern()));
            add_loss(found, "values written otherwise come back in the column's main form");
        }
    }

    fn uuid(&self) -> Option<Proposal> {
        let texts = &self.profile.texts;
        let (lower, upper) = (texts.form(Form::Uuid).count, texts.form(Form::UuidUpper).count);
        let hint =
            ["UUID", "GUID", "UNIQUEIDENTIFIER"].iter().any(|word| self.declared.contains(word))
                || self.name.contains("uuid")
                || self.name.contains("guid");
        let of = self.not_empty();
        if Self::is_most(lower + upper, of) {
            let (form, forms) = if upper == 0 || lower == 0 {
                ("36 characters", vec![if upper == 0 { Form::Uuid } else { Form::UuidUpper }])
            } else {
                ("36 characters", vec![Form::Uuid, Form::UuidUpper])
            };
            let mut found = self.only_texts("uuid", &forms, "are UUIDs of 36 characters");
            found.written_as = Some(form.to_owned());
            if 1 < forms.len() {
                found.policies.insert("forms", Setting::Word("any"));
                add_loss(&mut found, "some have capitals, which uuid does not keep");
            }
            return Some(found);
        }
        let is_char_32 = self.declared.replace(' ', "") == "CHAR(32)";
        if Self::is_most(texts.form(Form::Hex32).count, of) && (hint || is_char_32) {
            let mut found = self.only_texts("uuid", &[Form::Hex32], "are 32 hexadecimal digits");
            found.written_as = Some("32 digits".to_owned());
            return Some(found);
        }
        let blobs = &self.profile.blobs;
        let sixteen = blobs.all.count - blobs.not_uuid.count;
        if Self::is_most(sixteen, of) && hint {
            let mut rest = self.texts_but(&[]);
            rest.extend([
                Misfits::of("blobs of another length", &blobs.not_uuid),
                Misfits::of("integers", &self.profile.integers.all),
                Misfits::of("reals", &self.profile.reals.all),
            ]);
            let mut found = self.found("uuid", sixteen, rest, "are blobs of 16 bytes");
            found.written_as = Some("16 bytes".to_owned());
            return Some(found);
        }
        None
    }

    fn boolean(&self) -> Option<Proposal> {
        let (profile, of) = (self.profile, self.not_empty());
        let is_declared = self.declared.contains("BOOL")
            || self.declared == "BIT"
            || self.declared.replace(' ', "") == "TINYINT(1)";
        let integers = &profile.integers;
        let both = integers.zeros + integers.ones;
        let by_name = BOOLEAN_PREFIXES.iter().any(|prefix| self.name.starts_with(prefix))
            || self.name_ends_in(&BOOLEAN_WORDS);
        let hint = is_declared || self.is_checked_boolean || by_name;
        // A count that has been 0 or 1 so far is no boolean unless something says so.
        if Self::is_most(both, of) && hint && (is_declared || integers.beyond_boolean.count == 0) {
            let mut rest = self.texts_but(&[]);
            rest.extend([
                Misfits::of("integers other than 0 and 1", &integers.beyond_boolean),
                Misfits::of("reals", &profile.reals.all),
                Misfits::of("blobs", &profile.blobs.all),
            ]);
            let mut found = self.found("boolean", both, rest, "are 0 or 1");
            found.written_as = Some("0 and 1".to_owned());
            if self.is_checked_boolean {
                found.evidence.push_str("; a CHECK says so");
            }
            return Some(found);
        }
        let words = profile.texts.form(Form::BooleanWord).count;
        if Self::is_most(words, of) && profile.distinct.estimate() <= 3 {
            let mut found = self.only_texts("boolean", &[Form::BooleanWord], "are boolean words");
            found.written_as = Some("words".to_owned());
            return Some(found);
        }
        None
    }

    fn json(&self) -> Option<Proposal> {
        let (profile, of) = (self.profile, self.not_empty());
        let texts = &profile.texts;
        let is_declared = self.declared.contains("JSON");
        let containers = texts.form(Form::Json).count;
        let numbers = profile.integers.all.count + profile.reals.all.count;
        let (fits, what) = if is_declared && Self::is_most(texts.json + numbers, of) {
            (texts.json + numbers, "are JSON")
        } else if Self::is_most(containers, of) {
            (texts.json, "are JSON, nearly all objects or arrays")
        } else {
            return None;
        };
        let mut rest = vec![
            Misfits::of("not JSON", &texts.not_json),
            Misfits::of("texts that are not UTF-8", &texts.bad_utf8),
            Misfits::of("blobs", &profile.blobs.all),
        ];
        if !is_declared {
            rest.push(Misfits::of("integers", &profile.integers.all));
            rest.push(Misfits::of("reals", &profile.reals.all));
        }
        // Where JSON was declared, the application expects the type, and `json` loses nothing.
        if is_declared && !self.is_indexed {
            let mut found = self.found("json", fits, rest, what);
            let why =
                "has operators and indexes that json has not; with accept = [\"json_text\"], \
                       for it keeps the value and not the text"
                    .to_owned();
            found.alternatives.push(Alternative { pg: "jsonb".to_owned(), why });
            return Some(found);
        }
        let mut found = self.found("jsonb", fits, rest, what);
        found.accept.push(Loss::JsonText);
        if let Some(nul) = Misfits::of("JSON with \\u0000, which jsonb refuses", &texts.json_nul) {
            found.evidence.push_str(&format!("; {}", nul.sentence()));
            found.fits = found.fits.saturating_sub(nul.count);
            found.misfits.push(nul);
        }
        add_loss(
            &mut found,
            "jsonb keeps the value, not the text: white space, the order of keys, \
                              repeated keys and the spelling of numbers",
        );
        found
            .alternatives
            .push(Alternative { pg: "json".to_owned(), why: "keeps the text as it is".to_owned() });
        Some(found)
    }

    fn epoch(&self) -> Option<Proposal> {
        let integers = &self.profile.integers;
        let unit = self.epoch_unit().filter(|_| self.speaks_of_time())?;
        let mut rest = self.texts_but(&[]);
        rest.extend([
            Misfits::of("reals", &self.profile.reals.all),
            Misfits::of("blobs", &self.profile.blobs.all),
        ]);
        let what = format!("are integers, {} since 1970", unit_words(unit));
        let mut found = self.found("timestamptz", integers.all.count, rest, &what);
        found.written_as = Some(unit_form(unit).to_owned());
        if let Some(odd) = Misfits::of("integers before 1990 or after 2100", &integers.no_epoch) {
            found.evidence.push_str(&format!("; look at them: {}", odd.sentence()));
        }
        if unit == EpochUnit::Nanoseconds {
            found.policies.insert("precision", Setting::Word("round"));
            add_loss(&mut found, "nanoseconds are rounded to microseconds");
        }
        Some(found)
    }

    /// The unit in which nearly all integers are plausible times: one for the whole column.
    fn epoch_unit(&self) -> Option<EpochUnit> {
        let integers = &self.profile.integers;
        let of = self.not_empty() - integers.zeros;
        EPOCH_UNITS
            .into_iter()
            .zip(integers.epochs)
            .find(|(_, count)| Self::is_most(*count, of))
            .map(|(unit, _)| unit)
    }

    fn decimal(&self) -> Option<Proposal> {
        let profile = self.profile;
        let reals = &profile.reals;
        let is_declared =
            ["DEC", "NUMERIC", "MONEY", "CURRENCY"].iter().any(|word| self.declared.contains(word));
        let by_name = 0 < reals.all.count && self.name_ends_in(&MONEY_WORDS);
        let numbers = profile.integers.all.count + reals.all.count - reals.infinite.count;
        if !(is_declared || by_name) || !Self::is_most(numbers, self.not_empty()) {
            return None;
        }
        let scale = reals.scale().unwrap_or(0);
        let declared = declared_precision(&self.declared);
        if is_declared && declared.is_none() {
            // numeric without limits is the default, and holds them all.
            return None;
        }
        if !is_declared && SCALE_MONEY_MAX < scale || declared.is_none() && 9 < scale {
            return None;
        }
        let whole = reals.whole_digits.max(profile.integers.range.map_or(0, |(low, high)| {
            let digits =
                |integer: i64| integer.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1);
            digits(low).max(digits(high))
        }));
        let needed = u32::try_from(scale).unwrap_or(u32::MAX).max(if is_declared { 0 } else { 2 });
        let (precision, scale) = match declared {
            Some((precision, scale))
                if scale >= needed && precision - scale.min(precision) >= whole =>
            {
                (precision, scale)
            }
            // Room for amounts a thousand times as large.
            _ => ((whole + 3 + needed).max(12), needed),
        };
        let mut rest = self.texts_but(&[]);
        rest.extend([
            Misfits::of("infinite", &reals.infinite),
            Misfits::of("blobs", &profile.blobs.all),
        ]);
        let what = format!("are numbers with at most {scale} digits after the point");
        let pg = format!("numeric({precision},{scale})");
        let mut found = self.found(&pg, numbers - reals.noise.count, rest, &what);
        if let Some(noise) = Misfits::of("a sum's rounding error away from it", &reals.noise) {
            found.evidence.push_str(&format!("; {}", noise.sentence()));
            found.misfits.push(noise);
            found.policies.insert("precision", Setting::Word("round"));
            add_loss(&mut found, "rounding errors of doubles are rounded away");
        }
        Some(found)
    }

    /// Numbers with a few texts among them, for which the default widens the column to text.
    fn number_beside_text(&self) -> Option<Proposal> {
        let profile = self.profile;
        let (integers, reals) = (profile.integers.all.count, profile.reals.all.count);
        let texts = profile.texts.all.count + profile.blobs.all.count;
        if texts == 0 || !Self::is_most(integers + reals, self.not_empty()) {
            return None;
        }
        let mut rest = self.texts_but(&[]);
        rest.push(Misfits::of("blobs", &profile.blobs.all));
        let found = match (self.column.affinity, integers, reals) {
            (_, _, 0) => self.found("bigint", integers, rest, "are integers"),
            (_, 0, _) => self.found("double precision", reals, rest, "are reals"),
            _ => {
                rest.push(Misfits::of("infinite", &profile.reals.infinite));
                let fits = integers + reals - profile.reals.infinite.count;
                self.found("numeric", fits, rest, "are integers or reals")
            }
        };
        Some(found)
    }

    fn default_evidence(&self, pg: PgType) -> String {
        let profile = self.profile;
        let classes: Vec<String> = [
            (profile.integers.all.count, "integer"),
            (profile.reals.all.count, "real"),
            (profile.texts.all.count, "text"),
            (profile.blobs.all.count, "blob"),
        ]
        .into_iter()
        .filter(|(count, _)| 0 < *count)
        .map(|(count, class)| format!("{} {class}", grouped(count)))
        .collect();
        let mut evidence = match &classes[..] {
            [only] => format!("all values: {only}"),
            _ => classes.join(", "),
        };
        for misfit in default_misfits(pg, self.column, profile) {
            evidence.push_str(&format!("; {}", misfit.sentence()));
        }
        evidence
    }

    /// Other types that all values would fit, each one setting away.
    fn alternatives(&self, chosen: &str) -> Vec<Alternative> {
        let profile = self.profile;
        let values = profile.values();
        let mut found = Vec::new();
        let mut offer = |pg: &str, why: String| {
            if pg != chosen {
                found.push(Alternative { pg: pg.to_owned(), why });
            }
        };
        let integers = &profile.integers;
        if let Some((low, high)) = integers.range.filter(|_| integers.all.count == values) {
            let range = format!("every value fits: {} … {}", grouped(low), grouped(high));
            if integers.beyond_32_bits.count == 0 && chosen == "bigint" {
                offer("integer", range.clone());
                if i16::try_from(low).is_ok() && i16::try_from(high).is_ok() {
                    offer("smallint", range);
                }
            }
            if chosen == "bigint" && 0 < integers.zeros && integers.beyond_boolean.count == 0 {
                offer("boolean", "every value is 0 or 1".to_owned());
            }
        }
        if let Some(unit) = self.epoch_unit().filter(|_| chosen == "bigint") {
            let why = format!("if these are times: {} since 1970", unit_words(unit));
            offer("timestamptz", why);
        }
        if 0 < profile.reals.julian && profile.reals.julian == values {
            offer("timestamptz", "if these are Julian days; rounded to milliseconds".to_owned());
        }
        let texts = &profile.texts;
        let all_texts = 0 < values && texts.all.count == values;
        if all_texts && chosen == "text" {
            self.text_alternatives(&mut offer);
        }
        let blobs = &profile.blobs;
        if 0 < values && blobs.uuid == values {
            offer("uuid", "every blob has 16 bytes with a UUID's version and variant".to_owned());
        }
        found
    }

    fn text_alternatives(&self, offer: &mut impl FnMut(&str, String)) {
        let profile = self.profile;
        let (values, texts) = (profile.values(), &profile.texts);
        let longest = texts.characters.map_or(0, |(_, longest)| longest);
        if let Some(length) =
            profile.declared_length.filter(|length| longest <= *length && 0 < *length)
        {
            let word =
                if self.declared.trim_start().starts_with("CHAR(") { "char" } else { "varchar" };
            offer(
                &format!("{word}({length})"),
                format!("no value is longer than {longest} characters"),
            );
        }
        if self.column.collation == "NOCASE" {
            offer("citext", "compares without case, as NOCASE does for ASCII".to_owned());
        }
        for (form, pg, why) in [
            (Form::Hex32, "uuid", "every value has 32 hexadecimal digits"),
            (Form::Ip, "inet", "every value is an IP address"),
            (Form::Mac, "macaddr", "every value is a MAC address"),
        ] {
            if texts.form(form).count == values {
                offer(pg, why.to_owned());
            }
        }
        let fixed = texts.scale.filter(|(least, most)| least == most);
        if let Some((_, scale)) = fixed.filter(|_| texts.form(Form::Decimal).count == values) {
            let pg = format!("numeric({},{scale})", (texts.whole_digits + 3 + scale).max(12));
            offer(&pg, format!("every value is a decimal with {scale} digits after the point"));
        }
    }
}

fn add_loss(found: &mut Proposal, what: &str) {
    found.lossy = Some(match found.lossy.take() {
        Some(known) => format!("{known}; {what}"),
        None => what.to_owned(),
    });
}

/// Python and others leave the fraction out where it is zero: then the value tells the form.
fn is_optional_fraction(stamps: &[(Stamp, u64)]) -> bool {
    let [(one, _), (other, _)] = stamps else { return false };
    let without = |stamp: &Stamp| Stamp { fraction: 0, ..*stamp };
    without(one) == without(other) && (one.fraction == 0) != (other.fraction == 0)
}

fn counted(rows: u64) -> String {
    format!("{} {}", grouped(rows), if rows == 1 { "value" } else { "values" })
}

fn unit_words(unit: EpochUnit) -> &'static str {
    match unit {
        EpochUnit::Seconds => "seconds",
        EpochUnit::Milliseconds => "milliseconds",
        EpochUnit::Microseconds => "microseconds",
        EpochUnit::Nanoseconds => "nanoseconds",
    }
}

fn unit_form(unit: EpochUnit) -> &'static str {
    match unit {
        EpochUnit::Seconds => "unix_seconds",
        EpochUnit::Milliseconds => "unix_milliseconds",
        EpochUnit::Microseconds => "unix_microseconds",
        EpochUnit::Nanoseconds => "unix_nanoseconds",
    }
}

/// `(12, 2)` of `DECIMAL(12,2)`.
fn declared_precision(declared: &str) -> Option<(u32, u32)> {
    let (_, inner) = declared.split_once('(')?;
    let (inner, _) = inner.split_once(')')?;
    let (precision, scale) = inner.split_once(',').unwrap_or((inner, "0"));
    Some((precision.trim().parse().ok()?, scale.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assess::profile::RowKey;
    use crate::table::{Key, plain};
    use crate::value::Owned;
    use proptest::prelude::*;

    fn table(declared: &str) -> Table {
        plain::table("t", vec![plain::column("c", declared)], Key::HiddenRowid)
    }

    fn value() -> impl Strategy<Value = Owned> {
        prop_oneof![
            Just(Owned::Null),
            any::<i64>().prop_map(Owned::Integer),
            prop_oneof![Just(0.5), Just(-0.0), Just(7.0), Just(1e300), Just(f64::INFINITY)]
                .prop_map(Owned::Real),
            // Numeric text would be a number in a column of numbers, so it is left out.
            "[a-z]{0,3}".prop_map(|text| Owned::Text(text.into_bytes())),
            prop_oneof![Just(b"a\0".to_vec()), Just(b"\xff".to_vec()), Just(b"\xff\0".to_vec())]
                .prop_map(Owned::Text),
            Just(Owned::Blob(vec![0])),
        ]
    }

    proptest! {
        #[test]
        fn what_does_not_fit_the_default_is_what_the_codec_refuses(
            values in prop::collection::vec(value(), 0..12),
            declared in prop::sample::select(vec![
                "INTEGER", "TEXT", "BLOB", "", "REAL", "NUMERIC", "DATETIME", "VARCHAR(2)",
            ]),
        ) {
            let table = table(declared);
            let mut profile = Profile::new(declared);
            for (number, value) in values.iter().enumerate() {
                profile.note(value.storage(), || RowKey::new([Storage::Integer(number as i64)]));
            }
            let pg = default_type(&table, 0, &profile);
            let refused = values
                .iter()
                .filter(|value| {
                    pg.encode(table.columns[0].affinity, value.storage(), &mut Vec::new()).is_err()
                })
                .count() as u64;
            let misfits = default_misfits(pg, &table.columns[0], &profile);
            let listed: u64 = misfits.iter().map(|misfit| misfit.count).sum();
            prop_assert_eq!(listed, refused, "{:?} {:?}", pg, misfits);
            let proposal = propose(&table, 0, &profile, None, false);
            prop_assert!(proposal.fits <= proposal.values);
        }
    }

    #[test]
    fn a_declared_precision_is_read() {
        assert_eq!(declared_precision("DECIMAL(12,2)"), Some((12, 2)));
        assert_eq!(declared_precision("NUMERIC( 7 )"), Some((7, 0)));
        assert_eq!(declared_precision("NUMERIC"), None);
    }
}
