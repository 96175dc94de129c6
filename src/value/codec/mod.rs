//! One column's values on both sides: the type PostgreSQL stores, the form SQLite holds, and what
//! may be lost between them.
//!
//! The one idea: *read generously, then write back and compare*. [`Codec::encode`] reads every way
//! of writing a value that it knows, and then asks its own inverse what the column would hold.
//! Only if that is the value itself, class and bytes (reals by their bits), is the field sent. So
//! decode(encode(v)) = v is not a property of thirty parsers but of one comparison. Only a loss
//! that was chosen by name ([`Policies`]) goes past it, and [`Codec::losses`] says which there are.
//!
//! The field is what PostgreSQL itself would send for the stored value (`type_send`): padded,
//! rescaled and in canonical order, so that COPY, replay and the checksum can all use it.
//!
//! Begin with [`Codec::new`]; the types are in [`kind`], the forms in [`form`], the choices in
//! [`policy`], and [`infer`] finds a column's form from its values.

mod address;
mod array;
mod elapsed;
pub mod form;
pub mod infer;
mod json;
pub mod kind;
pub mod moment;
mod number;
pub mod policy;
mod temporal;
#[cfg(test)]
mod tests;
mod text;

use form::{Digits, Form, Words};
use kind::{Kind, Target};
use moment::Moments;
use policy::{Exactness, Forms, InvalidUtf8, LeapSecond, Loss, Nul, OutOfRange, Policies};
use policy::{TooLong, TrailingSpaces};

use super::{Misfit, Owned, Storage};

/// One column's type, form and policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codec {
    target: Target,
    form: Form,
    policies: Policies,
    losses: Vec<Loss>,
    /// For arrays.
    element: Option<Box<Codec>>,
}

/// How fields of a codec travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// In the binary form of the type with this object id; 0 where only a catalog knows it.
    Binary {
        /// The object id.
        oid: u32,
    },
    /// As text that the server must cast to the column's type.
    Text,
}

/// Why no codec can be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No value of this form could ever come back from this type.
    #[error("{target} does not take values of the form {form:?}")]
    Form {
        /// The type.
        target: String,
        /// The form.
        form: Form,
    },
    /// Wall-clock times are no moments.
    #[error("{target} needs to know the zone of times that name none (zone = \"UTC\")")]
    NoZone {
        /// The type.
        target: String,
    },
    /// Bytes cannot go into this type.
    #[error("nul = \"bytea\" needs a column of type bytea, not {target}")]
    NoBytes {
        /// The type.
        target: String,
    },
    /// An array's elements travel with their object id.
    #[error("the object id of {element} is not known, so no array of it can be sent")]
    NoOid {
        /// The type of the elements.
        element: String,
    },
}

/// What became of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// A field was appended.
    Sent,
    /// It is to be NULL; nothing was appended.
    Null,
}

/// Applies the policies to one value and remembers whether one was needed.
struct Judge<'a> {
    policies: &'a Policies,
    is_lossy: bool,
}

impl Codec {
    /// Builds the codec, or says why there is none for this combination.
    pub fn new(target: Target, form: Form, policies: Policies) -> Result<Self, Refused> {
        let name = || target.name.clone();
        if !takes(&target.kind, &form) {
            return Err(Refused::Form { target: name(), form });
        }
        let kind = target.kind.base();
        if policies.nul == Nul::Bytea && *kind != Kind::Bytea {
            return Err(Refused::NoBytes { target: name() });
        }
        if matches!((kind, &form), (Kind::Timestamptz(_), Form::Moment(moments))
            if moments.offset().is_none() && policies.zone.is_none())
        {
            return Err(Refused::NoZone { target: name() });
        }
        let element = match (kind, &form) {
            (Kind::Array(element), Form::Array { element: form, .. }) => {
                if element.oid == 0 {
                    return Err(Refused::NoOid { element: element.name.clone() });
                }
                let policies = Policies { empty_as_null: false, ..policies.clone() };
                Some(Box::new(Self::new((**element).clone(), (**form).clone(), policies)?))
            }
            _ => None,
        };
        let losses = losses(kind, &form, &policies);
        Ok(Self { target, form, policies, losses, element })
    }

    /// The column's type.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The column's form.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// The column's policies.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// What may not come back as it was; empty if everything does.
    pub fn losses(&self) -> &[Loss] {
        &self.losses
    }

    /// How the fields travel.
    pub fn wire(&self) -> Wire {
        match self.target.kind.base() {
            Kind::Other => Wire::Text,
            _ => Wire::Binary { oid: self.target.base().oid },
        }
    }

    /// Appends `value` as a field: a big-endian length (−1 for NULL) and the bytes.
    ///
    /// On a misfit nothing is appended.
    pub fn encode(&self, value: Storage<'_>, out: &mut Vec<u8>) -> Result<(), Misfit> {
        let start = out.len();
        let mut judge = Judge { policies: &self.policies, is_lossy: false };
        let encoded = self.put_field(value, &mut judge, out).and_then(|fate| {
            let field = (fate == Fate::Sent).then(|| &out[start + 4..]);
            self.compare(value, field, judge.is_lossy)
        });
        if encoded.is_err() {
            out.truncate(start);
        }
        encoded
    }

    /// The inverse of [`encode`](Self::encode): what SQLite held, from the bytes of a field
    /// (`None` for NULL). `None` is returned for what the column's form cannot hold.
    pub fn decode(&self, field: Option<&[u8]>) -> Option<Owned> {
        let Some(bytes) = field else { return Some(Owned::Null) };
        match (self.target.kind.base(), &self.form) {
            (Kind::SmallInt | Kind::Integer | Kind::BigInt, Form::Number(digits)) => {
                Some(digits.of_integer(number::integer(bytes)?))
            }
            (Kind::Real | Kind::Double, Form::Number(digits)) => number::float(*digits, bytes),
            (Kind::Numeric(_), Form::Number(digits)) => {
                digits.of_decimal(&super::numeric::to_decimal(bytes)?)
            }
            (Kind::Boolean, form) => boolean(form, bytes),
            (Kind::Bytea, Form::Text) => Some(Owned::Text(bytes.to_vec())),
            (Kind::Bytea, _) => Some(Owned::Blob(bytes.to_vec())),
            (Kind::Uuid, Form::Uuid(form)) => text::uuid(*form, bytes),
            (Kind::Json, Form::Json { numbers, bare_strings }) => {
                text::json(std::str::from_utf8(bytes).ok()?, *numbers, *bare_strings)
            }
            (Kind::Jsonb, Form::Json { numbers, bare_strings }) => {
                let text = bytes.strip_prefix(&[text::JSONB_VERSION])?;
                text::json(std::str::from_utf8(text).ok()?, *numbers, *bare_strings)
            }
            (Kind::Jsonb, Form::Tagged) => super::jsonb::read_json(bytes),
            (Kind::Inet | Kind::Cidr, _) => Some(Owned::Text(address::network(bytes)?.into())),
            (Kind::Macaddr | Kind::Macaddr8, Form::Mac { dashes, upper }) => {
                Some(Owned::Text(address::mac(bytes, *dashes, *upper).into()))
            }
            (Kind::Array(_), Form::Array { spaced, ascii, .. }) => {
                let style = array::Style { spaced: *spaced, ascii: *ascii };
                array::get(self.element.as_ref()?, style, bytes)
            }
            (
                kind @ (Kind::Date
                | Kind::Time(_)
                | Kind::Timestamp(_)
                | Kind::Timestamptz(_)
                | Kind::Interval(_)),
                form,
            ) => temporal::get(kind, form, self.policies.zone.as_ref(), bytes),
            (kind, form) => text::get(kind, form, bytes),
        }
    }

    /// Whether two values of the source are one under this codec: the same class and bytes, or,
    /// in a `jsonb` column, the same JSON value.
    pub fn same(&self, one: &Owned, other: &Owned) -> bool {
        match (one, other) {
            (Owned::Real(one), Owned::Real(other)) => one.to_bits() == other.to_bits(),
            (Owned::Text(one), Owned::Text(other)) if one != other => {
                *self.target.kind.base() == Kind::Jsonb
                    && self.form != Form::Tagged
                    && same_json(one, other)
            }
            _ => one == other,
        }
    }

    /// Whether PostgreSQL gives this value back byte for byte: no policy changes it, and neither
    /// does the type (`jsonb` reorders, a server's cast may rewrite).
    pub fn is_canonical(&self, value: Storage<'_>) -> bool {
        let mut field = Vec::new();
        if self.wire() == Wire::Text || self.encode(value, &mut field).is_err() {
            return false;
        }
        let bytes = (field[..4] != [255; 4]).then(|| &field[4..]);
        match (self.decode(bytes), Owned::from(value)) {
            (Some(Owned::Real(one)), Owned::Real(other)) => one.to_bits() == other.to_bits(),
            (back, sent) => back == Some(sent),
        }
    }

    /// Compares what would come back with what is sent.
    fn compare(
        &self,
        value: Storage<'_>,
        field: Option<&[u8]>,
        is_lossy: bool,
    ) -> Result<(), Misfit> {
        if self.policies.forms == Forms::Any || self.is_plain(value) {
            return Ok(());
        }
        let back = self.decode(field).ok_or(Misfit::Form)?;
        let fits = if is_lossy {
            self.has_form(value, &back)
        } else {
            self.same(&back, &Owned::from(value))
        };
        if fits { Ok(()) } else { Err(Misfit::Form) }
    }

    /// Whether a value that a policy changed is at least written as the column is.
    fn has_form(&self, value: Storage<'_>, back: &Owned) -> bool {
        match (&self.form, value) {
            _ if *back == Owned::Null => true,
            (Form::Moment(moments @ (Moments::Date | Moments::DateTime { .. })), value) => {
                let Storage::Text(text) = value else { return false };
                std::str::from_utf8(text).is_ok_and(|text| {
                    Moments::of_text(text).iter().any(|form| form.has_frame_of(*moments))
                })
            }
            // Rounding may well make an integer of a real.
            (Form::Number(Digits::Mixed), _) => {
                matches!(value, Storage::Integer(_) | Storage::Real(_))
            }
            _ => back.storage().class() == value.class(),
        }
    }

    /// Values whose way there and back is the same bits.
    fn is_plain(&self, value: Storage<'_>) -> bool {
        matches!(
            (self.target.kind.base(), &self.form, value),
            (_, _, Storage::Null)
                | (
                    Kind::SmallInt | Kind::Integer | Kind::BigInt,
                    Form::Number(Digits::Integer | Digits::Mixed),
                    Storage::Integer(_),
                )
                | (Kind::Double, Form::Number(Digits::Real), Storage::Real(_))
                | (Kind::Bytea, Form::Blob, Storage::Blob(_))
                | (
                    Kind::Text | Kind::Varchar(_) | Kind::Citext | Kind::Bytea | Kind::Enum(_),
                    Form::Text,
                    Storage::Text(_),
                )
        )
    }

    /// Appends a field, or decides on NULL and appends that.
    fn put_field(
        &self,
        value: Storage<'_>,
        judge: &mut Judge<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Fate, Misfit> {
        let is_empty = matches!(value, Storage::Text(b""));
        let fate = if value == Storage::Null {
            Fate::Null
        } else if is_empty && judge.policies.empty_as_null {
            judge.is_lossy = true;
            Fate::Null
        } else {
            self.put(value, judge, out)?
        };
        if fate == Fate::Null {
            out.extend_from_slice(&(-1_i32).to_be_bytes());
        }
        Ok(fate)
    }

    fn put(
        &self,
        value: Storage<'_>,
        judge: &mut Judge<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Fate, Misfit> {
        let kind = self.target.kind.base();
        let pg = kind.plain();
        match kind {
            Kind::SmallInt | Kind::Integer | Kind::BigInt => {
                number::put_integer(kind, value, judge, out)
            }
            Kind::Real => number::put_single(value, judge, out),
            Kind::Double => number::put_double(value, judge, out),
            Kind::Numeric(precision) => number::put_numeric(*precision, value, judge, out),
            Kind::Boolean => judge.put(out, &[u8::from(read_boolean(value)?)]),
            Kind::Bytea => match value {
                Storage::Blob(bytes) | Storage::Text(bytes) => judge.put(out, bytes),
                other => Err(Misfit::Class { class: other.class(), pg }),
            },
            Kind::Uuid => judge.put(out, &text::read_uuid(value)?),
            Kind::Jsonb if self.form == Form::Tagged => text::put_tagged(value, judge, out),
            Kind::Json | Kind::Jsonb => text::put_json(kind, &self.form, value, judge, out),
            Kind::Inet | Kind::Cidr => {
                let text = judge.text(value, false, pg)?;
                let malformed = Misfit::Malformed { class: value.class(), pg };
                let bytes = address::read_network(&text, *kind == Kind::Cidr);
                judge.put(out, &bytes.ok_or(malformed)?)
            }
            Kind::Macaddr | Kind::Macaddr8 => {
                let text = judge.text(value, false, pg)?;
                let malformed = Misfit::Malformed { class: value.class(), pg };
                let length = if *kind == Kind::Macaddr { 6 } else { 8 };
                judge.put(out, &address::read_mac(&text, length).ok_or(malformed)?)
            }
            Kind::Array(_) => match &self.element {
                Some(element) => array::put(element, value, judge, out),
                None => Err(Misfit::Form),
            },
            Kind::Date
            | Kind::Time(_)
            | Kind::Timestamp(_)
            | Kind::Timestamptz(_)
            | Kind::Interval(_) => temporal::put(kind, &self.form, value, judge, out),
            Kind::Text
            | Kind::Varchar(_)
            | Kind::Char(_)
            | Kind::Citext
            | Kind::Enum(_)
            | Kind::Other
            | Kind::Domain(_) => text::put(kind, &self.form, value, judge, out),
        }
    }
}

fn same_json(one: &[u8], other: &[u8]) -> bool {
    let read = |text| json::read(std::str::from_utf8(text).ok()?);
    matches!((read(one), read(other)), (Some(one), Some(other)) if one.same(&other))
}

/// Any word or number that is a boolean.
fn read_boolean(value: Storage<'_>) -> Result<bool, Misfit> {
    let pg = Kind::Boolean.plain();
    let found = match value {
        Storage::Integer(0) => Some(false),
        Storage::Integer(1) => Some(true),
        Storage::Text(word) => Words::all().find_map(|words| words.value(word)),
        Storage::Real(real) if real == 0.0 || real == 1.0 => Some(real == 1.0),
        Storage::Blob(_) => return Err(Misfit::Class { class: value.class(), pg }),
        _ => None,
    };
    found.ok_or(Misfit::Malformed { class: value.class(), pg })
}

fn boolean(form: &Form, bytes: &[u8]) -> Option<Owned> {
    let value = match bytes {
        [0] => false,
        [1] => true,
        _ => return None,
    };
    match form {
        Form::Words(words) => Some(Owned::Text(words.word(value).into())),
        Form::Number(digits) => Some(digits.of_integer(i64::from(value))),
        _ => None,
    }
}

/// Whether a type takes values of a form.
fn takes(kind: &Kind, form: &Form) -> bool {
    match (kind.base(), form) {
        (
            Kind::SmallInt | Kind::Integer | Kind::BigInt | Kind::Real | Kind::Double,
            Form::Number(digits),
        ) => *digits != Digits::Trimmed,
        (Kind::Numeric(_), Form::Number(_)) => true,
        (Kind::Boolean, Form::Number(digits)) => *digits != Digits::Trimmed,
        (Kind::Boolean, Form::Words(_)) => true,
        (
            Kind::Text | Kind::Varchar(_) | Kind::Char(_) | Kind::Citext | Kind::Other,
            Form::Number(Digits::Integer | Digits::Mixed | Digits::Real)
            | Form::TextOrNumber(Digits::Mixed | Digits::Real)
            | Form::Text
            | Form::Blob,
        )
        | (Kind::Enum(_) | Kind::Inet | Kind::Cidr, Form::Text)
        | (Kind::Char(Some(_)), Form::Padded)
        | (Kind::Bytea, Form::Text | Form::Blob)
        | (Kind::Uuid, Form::Uuid(_))
        | (Kind::Json | Kind::Jsonb, Form::Json { .. })
        | (Kind::Jsonb, Form::Tagged)
        | (Kind::Macaddr | Kind::Macaddr8, Form::Mac { .. })
        | (Kind::Time(_), Form::Clock(_) | Form::On2000(_) | Form::Elapsed { .. })
        | (Kind::Interval(_), Form::SinceEpoch(_) | Form::Elapsed { .. }) => true,
        (Kind::Date | Kind::Timestamp(_) | Kind::Timestamptz(_), Form::Moment(moments)) => {
            !matches!(moments, Moments::Julian(Digits::Text | Digits::Trimmed))
        }
        (Kind::Array(of), Form::Array { element, .. }) => {
            let is_scalar = !matches!(of.kind.base(), Kind::Array(_) | Kind::Other);
            is_scalar && takes(&of.kind, element)
        }
        _ => false,
    }
}

/// What the policies may change in a column of this type.
fn losses(kind: &Kind, form: &Form, policies: &Policies) -> Vec<Loss> {
    let kind = match kind {
        Kind::Array(element) => element.kind.base(),
        kind => kind,
    };
    let is_text = matches!(
        kind,
        Kind::Text | Kind::Varchar(_) | Kind::Char(_) | Kind::Citext | Kind::Enum(_)
    ) || matches!(kind, Kind::Json | Kind::Jsonb | Kind::Other);
    let is_limited = matches!(kind, Kind::Varchar(Some(_)) | Kind::Char(Some(_)));
    let is_whole = matches!(kind, Kind::SmallInt | Kind::Integer | Kind::BigInt);
    let is_time =
        matches!(kind, Kind::Date | Kind::Time(_) | Kind::Timestamp(_) | Kind::Timestamptz(_))
            || matches!(kind, Kind::Interval(_));
    let is_float = matches!(kind, Kind::Real | Kind::Double | Kind::Numeric(_));
    let has_range = is_whole || is_time || is_float;
    let Policies { nul, invalid_utf8, out_of_range, .. } = *policies;
    let padded = matches!(kind, Kind::Char(Some(_)));
    [
        (policies.empty_as_null, Loss::EmptyAsNull),
        (is_text && nul == Nul::Strip, Loss::NulStripped),
        (is_text && invalid_utf8 == InvalidUtf8::Replace, Loss::Utf8Replaced),
        (is_text && invalid_utf8 == InvalidUtf8::Latin1, Loss::Utf8Guessed),
        (has_range && out_of_range == OutOfRange::Null, Loss::OutOfRangeNulled),
        (has_range && out_of_range == OutOfRange::Clamp, Loss::OutOfRangeClamped),
        (is_limited && policies.too_long == TooLong::Truncate, Loss::Truncated),
        (padded && policies.trailing_spaces == TrailingSpaces::Strip, Loss::SpacesStripped),
        (has_range && policies.precision == Exactness::Round, Loss::Rounded),
        (is_time && policies.leap_second == LeapSecond::Roll, Loss::LeapSecondRolled),
        (policies.forms == Forms::Any, Loss::FormLost),
        (*kind == Kind::Jsonb && *form != Form::Tagged, Loss::JsonText),
        (*kind == Kind::Other, Loss::ServerCast),
    ]
    .into_iter()
    .filter_map(|(is_chosen, loss)| is_chosen.then_some(loss))
    .collect()
}

impl Judge<'_> {
    /// Appends a field.
    fn put(&self, out: &mut Vec<u8>, bytes: &[u8]) -> Result<Fate, Misfit> {
        super::put(out, bytes).map(|()| Fate::Sent)
    }

    /// Digits that the type does not keep.
    fn lose_digits(&mut self, are_lost: bool, pg: &'static str) -> Result<(), Misfit> {
        match self.policies.precision {
            _ if !are_lost => {}
            Exactness::Round => self.is_lossy = true,
            Exactness::Reject => return Err(Misfit::Inexact { pg }),
        }
        Ok(())
    }

    /// A value beyond the type's limits, the nearest of which is `nearest`; `None` is NULL.
    fn beyond<T>(&mut self, nearest: T, pg: &'static str) -> Result<Option<T>, Misfit> {
        match self.policies.out_of_range {
            OutOfRange::Reject => Err(Misfit::OutOfRange { pg }),
            OutOfRange::Null => {
                self.is_lossy = true;
                Ok(None)
            }
            OutOfRange::Clamp => {
                self.is_lossy = true;
                Ok(Some(nearest))
            }
        }
    }

    /// The value if it lies between the limits, both of which the type has.
    fn within(
        &mut self,
        value: i128,
        low: i128,
        high: i128,
        pg: &'static str,
    ) -> Result<Option<i128>, Misfit> {
        if (low..=high).contains(&value) {
            return Ok(Some(value));
        }
        self.beyond(value.clamp(low, high), pg)
    }
}
