//! What a PostgreSQL column is: its type as `format_type()` prints it, its object ids and the
//! limits its type modifier sets.
//!
//! A [`Target`] is made by hand from a name a user wrote ([`Target::parse`]) or from a server's
//! catalog. Only the built-in types have object ids that are the same everywhere
//! (<https://www.postgresql.org/docs/current/datatype-oid.html>); those of extensions, enums and
//! domains are 0 until a catalog has told them.

use std::fmt;

/// A column's type on the target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// As `format_type()` prints it.
    pub name: String,
    /// The object id; 0 if only a catalog knows it.
    pub oid: u32,
    /// The object id of the array of this type; 0 if unknown or none.
    pub array_oid: u32,
    /// What the codec makes of it.
    pub kind: Kind,
}

/// The types the codec knows, with the limits of their modifiers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 16 bits.
    SmallInt,
    /// 32 bits.
    Integer,
    /// 64 bits.
    BigInt,
    /// IEEE single.
    Real,
    /// IEEE double.
    Double,
    /// Decimal; with a precision, every value has exactly the scale's digits.
    Numeric(Option<Precision>),
    /// True or false.
    Boolean,
    /// Text without a limit.
    Text,
    /// `varchar(n)`: at most so many characters.
    Varchar(Option<u32>),
    /// `char(n)`: padded with spaces that mean nothing; `None` is `bpchar`.
    Char(Option<u32>),
    /// Text that compares without case.
    Citext,
    /// Bytes.
    Bytea,
    /// A day.
    Date,
    /// A time of day with so many fraction digits.
    Time(u8),
    /// A date and time on a wall clock.
    Timestamp(u8),
    /// A moment.
    Timestamptz(u8),
    /// Months, days and microseconds.
    Interval(u8),
    /// 16 bytes.
    Uuid,
    /// JSON, kept as the text it was.
    Json,
    /// JSON, kept as a value.
    Jsonb,
    /// An address with an optional netmask.
    Inet,
    /// A network.
    Cidr,
    /// Six bytes.
    Macaddr,
    /// Eight bytes.
    Macaddr8,
    /// One of these labels.
    Enum(Vec<String>),
    /// Another type under a name of its own, with constraints that only the server knows.
    Domain(Box<Target>),
    /// A one-dimensional array of these.
    Array(Box<Target>),
    /// Anything else: sent as text, for the server to cast.
    Other,
}

/// `numeric(precision, scale)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Precision {
    /// Most significant digits.
    pub digits: u16,
    /// Digits after the point; negative rounds before it (PostgreSQL 15 and later).
    pub scale: i16,
}

/// Why a type's name makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no type: {reason}")]
pub struct BadName {
    name: String,
    reason: &'static str,
}

/// Name as `format_type()` prints it, other names, object id, object id of the array.
type Known = (&'static str, &'static [&'static str], u32, u32, Kind);

/// The built-in types without a modifier.
const KNOWN: &[Known] = &[
    ("smallint", &["int2", "smallserial", "serial2"], 21, 1005, Kind::SmallInt),
    ("integer", &["int", "int4", "serial", "serial4"], 23, 1007, Kind::Integer),
    ("bigint", &["int8", "bigserial", "serial8"], 20, 1016, Kind::BigInt),
    ("real", &["float4"], 700, 1021, Kind::Real),
    ("double precision", &["float8", "float"], 701, 1022, Kind::Double),
    ("numeric", &["decimal", "dec"], 1700, 1231, Kind::Numeric(None)),
    ("boolean", &["bool"], 16, 1000, Kind::Boolean),
    ("text", &[], 25, 1009, Kind::Text),
    ("character varying", &["varchar", "char varying"], 1043, 1015, Kind::Varchar(None)),
    ("character", &["char"], 1042, 1014, Kind::Char(Some(1))),
    ("bpchar", &[], 1042, 1014, Kind::Char(None)),
    ("citext", &["public.citext"], 0, 0, Kind::Citext),
    ("bytea", &[], 17, 1001, Kind::Bytea),
    ("date", &[], 1082, 1182, Kind::Date),
    ("time without time zone", &["time"], 1083, 1183, Kind::Time(6)),
    ("timestamp without time zone", &["timestamp"], 1114, 1115, Kind::Timestamp(6)),
    ("timestamp with time zone", &["timestamptz"], 1184, 1185, Kind::Timestamptz(6)),
    ("interval", &[], 1186, 1187, Kind::Interval(6)),
    ("uuid", &[], 2950, 2951, Kind::Uuid),
    ("json", &[], 114, 199, Kind::Json),
    ("jsonb", &[], 3802, 3807, Kind::Jsonb),
    ("inet", &[], 869, 1041, Kind::Inet),
    ("cidr", &[], 650, 651, Kind::Cidr),
    ("macaddr", &[], 829, 1040, Kind::Macaddr),
    ("macaddr8", &[], 774, 775, Kind::Macaddr8),
];

/// Longest `varchar(n)` and `char(n)` PostgreSQL declares
/// (<https://www.postgresql.org/docs/current/datatype-character.html>).
const CHARACTERS_MAX: u32 = 10_485_760;

/// Most digits of a declared precision
/// (<https://www.postgresql.org/docs/current/datatype-numeric.html>).
const PRECISION_MAX: u16 = 1000;

impl Target {
    /// Reads a type's name as a user or `format_type()` writes it; a name that is none of the
    /// built-in ones is [`Kind::Other`].
    pub fn parse(name: &str) -> Result<Self, BadName> {
        let bad = |reason| BadName { name: name.to_owned(), reason };
        let trimmed = name.trim();
        if trimmed.is_empty() {
            return Err(bad("it is empty"));
        }
        if let Some(element) = element_name(trimmed) {
            return Ok(Self::parse(element)?.array());
        }
        let (plain, parameters) = split(trimmed).map_err(bad)?;
        let known = KNOWN
            .iter()
            .find(|(name, others, ..)| *name == plain || others.contains(&plain.as_str()));
        let Some((_, _, oid, array_oid, kind)) = known else {
            let kind = Kind::Other;
            return Ok(Self { name: trimmed.to_owned(), oid: 0, array_oid: 0, kind });
        };
        // `float(24)` is a single, `float(25)` a double.
        if plain == "float" && !parameters.is_empty() {
            return match parameters[..] {
                [1..=24] => Self::parse("real"),
                [25..=53] => Self::parse("double precision"),
                _ => Err(bad("a float has 1 to 53 bits")),
            };
        }
        let kind = with_parameters(kind.clone(), &parameters).map_err(bad)?;
        Ok(Self { name: kind.to_string(), oid: *oid, array_oid: *array_oid, kind })
    }

    /// A built-in type with the ids of the bootstrap catalog; without ids for the others.
    pub fn of(kind: Kind) -> Self {
        if let Kind::Array(element) = kind {
            return element.array();
        }
        let plain = kind.plain();
        let known = KNOWN.iter().find(|(name, ..)| *name == plain);
        let (oid, array_oid) = known.map_or((0, 0), |(_, _, oid, array, _)| (*oid, *array));
        Self { name: kind.to_string(), oid, array_oid, kind }
    }

    /// The array of this type.
    pub fn array(self) -> Self {
        let name = format!("{}[]", self.name);
        let oid = self.array_oid;
        Self { name, oid, array_oid: 0, kind: Kind::Array(Box::new(self)) }
    }

    /// An enum with its labels.
    pub fn labels(name: &str, oid: u32, array_oid: u32, labels: Vec<String>) -> Self {
        Self { name: name.to_owned(), oid, array_oid, kind: Kind::Enum(labels) }
    }

    /// A domain over this type.
    pub fn domain(self, name: &str, oid: u32, array_oid: u32) -> Self {
        Self { name: name.to_owned(), oid, array_oid, kind: Kind::Domain(Box::new(self)) }
    }

    /// Whether both are one type, as far as their names tell: a type that only a catalog knows may
    /// be written with its schema or without.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let plain = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
        let is_from_catalog = self.oid == 0 || other.oid == 0;
        self.name == other.name || is_from_catalog && plain(&self.name) == plain(&other.name)
    }

    /// The type below all domains.
    pub fn base(&self) -> &Self {
        match &self.kind {
            Kind::Domain(base) => base.base(),
            _ => self,
        }
    }
}

/// The name of the elements if this is the name of an array.
fn element_name(name: &str) -> Option<&str> {
    let inner = name.strip_suffix(']')?;
    let open = inner.rfind('[')?;
    inner[open + 1..].bytes().all(|byte| byte.is_ascii_digit()).then(|| inner[..open].trim_end())
}

/// Takes `timestamp(3) with time zone` apart into `timestamp with time zone` and `[3]`.
fn split(name: &str) -> Result<(String, Vec<i32>), &'static str> {
    let lower = name.to_ascii_lowercase();
    let (outside, parameters) = match lower.split_once('(') {
        None => (lower.clone(), Vec::new()),
        Some((before, rest)) => {
            let (inside, after) = rest.split_once(')').ok_or("a parenthesis is not closed")?;
            let parameters: Result<Vec<i32>, _> =
                inside.split(',').map(|parameter| parameter.trim().parse()).collect();
            match parameters {
                Ok(parameters) => (format!("{before} {after}"), parameters),
                // Parameters that are no numbers: a type of an extension.
                Err(_) => (lower.clone(), Vec::new()),
            }
        }
    };
    let plain = outside.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok((plain.strip_prefix("pg_catalog.").unwrap_or(&plain).to_owned(), parameters))
}

fn with_parameters(kind: Kind, parameters: &[i32]) -> Result<Kind, &'static str> {
    let length = |length: i32| {
        let length = u32::try_from(length).ok().filter(|n| (1..=CHARACTERS_MAX).contains(n));
        length.ok_or("a length is between 1 and 10485760")
    };
    let fraction = |digits: i32| {
        let digits = u8::try_from(digits).ok().filter(|digits| *digits <= 6);
        digits.ok_or("seconds have 0 to 6 fraction digits")
    };
    Ok(match (kind, parameters) {
        (kind, []) => kind,
        (Kind::Numeric(_), [digits]) => Kind::Numeric(Some(precision(*digits, 0)?)),
        (Kind::Numeric(_), [digits, scale]) => Kind::Numeric(Some(precision(*digits, *scale)?)),
        (Kind::Varchar(_), [n]) => Kind::Varchar(Some(length(*n)?)),
        (Kind::Char(_), [n]) => Kind::Char(Some(length(*n)?)),
        (Kind::Time(_), [digits]) => Kind::Time(fraction(*digits)?),
        (Kind::Timestamp(_), [digits]) => Kind::Timestamp(fraction(*digits)?),
        (Kind::Timestamptz(_), [digits]) => Kind::Timestamptz(fraction(*digits)?),
        (Kind::Interval(_), [digits]) => Kind::Interval(fraction(*digits)?),
        _ => return Err("it takes no such parameters"),
    })
}

fn precision(digits: i32, scale: i32) -> Result<Precision, &'static str> {
    let digits = u16::try_from(digits).ok().filter(|digits| (1..=PRECISION_MAX).contains(digits));
    let scale = i16::try_from(scale).ok().filter(|scale| (-1000..=1000).contains(scale));
    match (digits, scale) {
        (Some(digits), Some(scale)) => Ok(Precision { digits, scale }),
        _ => Err("a precision is between 1 and 1000, a scale between -1000 and 1000"),
    }
}

impl Kind {
    /// The type's plain name, for messages.
    pub fn plain(&self) -> &'static str {
        match self {
            Self::Enum(_) => "enum",
            Self::Domain(base) => base.kind.plain(),
            Self::Array(_) => "array",
            Self::Other => "another type",
            Self::Char(_) => "character",
            known => KNOWN
                .iter()
                .find(|(.., kind)| std::mem::discriminant(kind) == std::mem::discriminant(known))
                .map_or("another type", |(name, ..)| name),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numeric(Some(Precision { digits, scale })) => {
                write!(f, "numeric({digits},{scale})")
            }
            Self::Varchar(Some(n)) => write!(f, "character varying({n})"),
            Self::Char(Some(n)) => write!(f, "character({n})"),
            Self::Char(None) => f.write_str("bpchar"),
            Self::Time(digits @ 0..6) => write!(f, "time({digits}) without time zone"),
            Self::Timestamp(digits @ 0..6) => write!(f, "timestamp({digits}) without time zone"),
            Self::Timestamptz(digits @ 0..6) => write!(f, "timestamp({digits}) with time zone"),
            Self::Interval(digits @ 0..6) => write!(f, "interval({digits})"),
            kind => f.write_str(kind.plain()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_users_write_them() {
        for (written, name, oid) in [
            ("int", "integer", 23),
            ("INT8", "bigint", 20),
            ("bool", "boolean", 16),
            ("double  precision", "double precision", 701),
            ("float(24)", "real", 700),
            ("Numeric ( 12 , 2 )", "numeric(12,2)", 1700),
            ("decimal(5)", "numeric(5,0)", 1700),
            ("numeric(3,-2)", "numeric(3,-2)", 1700),
            ("varchar(20)", "character varying(20)", 1043),
            ("char", "character(1)", 1042),
            ("timestamp(3) with time zone", "timestamp(3) with time zone", 1184),
            ("timestamptz(0)", "timestamp(0) with time zone", 1184),
            ("timestamp(6)", "timestamp without time zone", 1114),
            ("time", "time without time zone", 1083),
            ("text[]", "text[]", 1009),
            ("numeric(12,2)[]", "numeric(12,2)[]", 1231),
            ("pg_catalog.int4", "integer", 23),
            ("tsvector", "tsvector", 0),
            ("geometry(Point,4326)", "geometry(Point,4326)", 0),
            ("time with time zone", "time with time zone", 0),
            ("\"char\"", "\"char\"", 0),
        ] {
            let target = Target::parse(written).expect(written);
            assert_eq!((target.name.as_str(), target.oid), (name, oid), "{written}");
        }
    }

    #[test]
    fn what_a_type_cannot_take_is_an_error() {
        for written in
            ["", "numeric(0)", "numeric(1001)", "varchar(0)", "timestamp(7)", "int(11)", "text(3"]
        {
            assert!(Target::parse(written).is_err(), "{written:?}");
        }
    }
}
