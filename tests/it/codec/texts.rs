//! Random texts for each type: most are written as programs write them, some are damaged.

use crate::generator::dice::Dice;

/// Damages one text in four: a character goes, comes twice or becomes another.
fn damaged(dice: &mut Dice, text: String) -> String {
    if dice.percent(75) {
        return text;
    }
    let mut characters: Vec<char> = text.chars().collect();
    for _ in 0..=dice.below(2) {
        if characters.is_empty() {
            return String::new();
        }
        let at = dice.below(characters.len());
        let other = dice.pick(&[
            '0', '1', '9', '6', '-', ':', '.', '+', ' ', 'T', 'Z', 'e', 'a', '/', '"', '{', ']',
            ',', '\\', 'é', '🚀', '\t',
        ]);
        match dice.below(4) {
            0 => drop(characters.remove(at)),
            1 => characters.insert(at, characters[at]),
            2 => characters.insert(at, other),
            _ => characters[at] = other,
        }
    }
    characters.into_iter().collect()
}

/// A number of any size, and the limits of each.
fn any_integer(dice: &mut Dice) -> i64 {
    let limit = dice.pick(&[1_i64 << 15, 1 << 31, 1 << 53, i64::MAX, 10_000, 100]);
    match dice.below(4) {
        0 => limit.wrapping_add(dice.below(5) as i64 - 2),
        1 => limit.wrapping_neg().wrapping_add(dice.below(5) as i64 - 2),
        _ => (dice.next() as i64) >> dice.below(64),
    }
}

pub fn integer(dice: &mut Dice) -> String {
    any_integer(dice).to_string()
}

pub fn boolean(dice: &mut Dice) -> String {
    dice.pick(&["0", "1", "true", "false", "t", "YES", "off", "2", "", "tru", "null", "-1"]).into()
}

pub fn double(dice: &mut Dice) -> String {
    let real = match dice.below(4) {
        0 => f64::from_bits(dice.next()),
        1 => any_integer(dice) as f64 / 100.0,
        2 => dice.pick(&[0.0, -0.0, f64::MAX, f64::MIN_POSITIVE, 5e-324, f64::INFINITY]),
        _ => f64::from_bits(dice.next() >> 12),
    };
    // PostgreSQL's NaN has no counterpart in SQLite.
    if real.is_nan() { "Infinity".into() } else { format!("{real:?}") }
}

pub fn single(dice: &mut Dice) -> String {
    let single = match dice.below(4) {
        0 => any_integer(dice) as f32 / 100.0,
        1 => dice.pick(&[0.0, -0.0, f32::MAX, f32::MIN_POSITIVE, 1e-45, f32::INFINITY]),
        2 => return double(dice),
        _ => f32::from_bits(dice.next() as u32),
    };
    if single.is_nan() { "1.5".into() } else { format!("{single:?}") }
}

pub fn decimal(dice: &mut Dice) -> String {
    let digits = |dice: &mut Dice, most| -> String {
        (0..dice.below(most)).map(|_| dice.pick(&['0', '0', '1', '4', '5', '9', '9'])).collect()
    };
    let sign = dice.pick(&["", "", "-", "+"]);
    let most = dice.pick(&[4, 9, 14, 40]);
    let whole = digits(dice, most);
    let whole = if dice.percent(90) {
        let trimmed = whole.trim_start_matches('0');
        if trimmed.is_empty() { "0".into() } else { trimmed.to_owned() }
    } else {
        whole
    };
    let text = match dice.below(6) {
        0 => format!("{sign}{whole}"),
        1 => format!("{sign}{whole}.{}e{}", digits(dice, 5), any_integer(dice) % 30),
        2 | 3 => format!("{sign}{whole}.{}", dice.pick(&["00", "50", "25", "5", "005", "995"])),
        _ => format!("{sign}{whole}.{}", digits(dice, 20)),
    };
    damaged(dice, text)
}

pub fn unicode(dice: &mut Dice) -> String {
    let most = dice.pick(&[3, 9, 12]);
    let length = dice.below(most);
    (0..length)
        .map(|_| match dice.below(8) {
            0 => ' ',
            1 => char::from_u32(1 + dice.below(0x1f) as u32).unwrap_or('x'),
            2 => char::from_u32(dice.below(0x11_0000) as u32).filter(|c| *c != '\0').unwrap_or('ß'),
            3 => dice
                .pick(&['é', '日', '🚀', '\u{200b}', '\u{301}', '\\', '\'', '\u{7f}', '\u{ffff}']),
            _ => char::from(b' ' + dice.below(95) as u8),
        })
        .collect()
}

pub fn padded(dice: &mut Dice) -> String {
    let text = unicode(dice);
    if dice.percent(20) { text } else { format!("{text:8}") }
}

pub fn hex(dice: &mut Dice) -> String {
    let bytes = (0..dice.below(20)).map(|_| format!("{:02x}", dice.next() as u8));
    format!("\\x{}", bytes.collect::<String>())
}

pub fn label(dice: &mut Dice) -> String {
    dice.pick(&["sad", "ok", "happy é", "", "SAD", "ok ", "happy"]).into()
}

pub fn date(dice: &mut Dice) -> String {
    let year = match dice.below(8) {
        0 => dice.below(6_000_000),
        1 => dice.pick(&[0, 1, 4, 9999, 10_000, 4713, 4714, 4715, 5_874_897, 5_874_898, 294_276]),
        _ => 1 + dice.below(9999),
    };
    let era = if dice.percent(10) { " BC" } else { "" };
    let text = match dice.below(40) {
        0 => "infinity".into(),
        1 => "-infinity".into(),
        2 => format!("{year:04}-02-29{era}"),
        _ => format!("{year:04}-{:02}-{:02}{era}", dice.below(13), dice.below(32)),
    };
    damaged(dice, text)
}

fn time(dice: &mut Dice) -> String {
    let fraction = match dice.below(5) {
        0 => String::new(),
        1 => format!(".{:03}", dice.below(1000)),
        2 => format!(".{:09}", dice.below(1_000_000_000)),
        3 => format!(".{}", dice.pick(&["5", "9999995", "0000005", "999999", "000001", "1234565"])),
        _ => format!(".{:06}", dice.below(1_000_000)),
    };
    let (hour, minute, second) = match dice.below(20) {
        0 => (24, 0, 0),
        1 => (23, 59, 60),
        2 => (dice.below(26), dice.below(62), dice.below(63)),
        _ => (dice.below(24), dice.below(60), dice.below(60)),
    };
    format!("{hour:02}:{minute:02}:{second:02}{fraction}")
}

pub fn clock(dice: &mut Dice) -> String {
    let text = time(dice);
    damaged(dice, text)
}

pub fn on_2000(dice: &mut Dice) -> String {
    format!("2000-01-01 {}", clock(dice))
}

fn stamped(dice: &mut Dice, separator: char, suffix: &str) -> String {
    let date = if dice.percent(80) {
        let (year, month) = (1 + dice.below(3000), 1 + dice.below(12));
        format!("{year:04}-{month:02}-{:02}", 1 + dice.below(28))
    } else {
        date(dice)
    };
    let text = match date.strip_suffix(" BC") {
        Some(date) => format!("{date}{separator}{}{suffix} BC", time(dice)),
        None => format!("{date}{separator}{}{suffix}", time(dice)),
    };
    damaged(dice, text)
}

pub fn moment(dice: &mut Dice) -> String {
    if dice.percent(2) { "-infinity".into() } else { stamped(dice, ' ', "") }
}

pub fn moment_z(dice: &mut Dice) -> String {
    stamped(dice, 'T', "Z")
}

pub fn moment_offset(dice: &mut Dice) -> String {
    let suffix = dice.pick(&["+05:30", "+05:30", " +05:30", "-15:59", "+00", "Z", ""]);
    stamped(dice, ' ', suffix)
}

pub fn millis(dice: &mut Dice) -> String {
    (dice.next() as i64 % 8_000_000_000_000).to_string()
}

pub fn seconds(dice: &mut Dice) -> String {
    let micros = dice.next() as i64 % 4_000_000_000_000_000;
    format!("{:?}", micros as f64 / 1e6)
}

pub fn uuid(dice: &mut Dice) -> String {
    let id = uuid::Uuid::from_u64_pair(dice.next(), dice.next());
    let text = match dice.below(8) {
        0 => id.braced().to_string(),
        1 => id.urn().to_string(),
        2..5 => id.simple().to_string().to_uppercase(),
        _ => id.hyphenated().to_string(),
    };
    damaged(dice, text)
}

pub fn inet(dice: &mut Dice) -> String {
    let zeros = dice.next();
    let address = if dice.percent(50) {
        let masked = dice.next() as u32 & (u32::MAX << dice.below(32));
        std::net::Ipv4Addr::from(masked).to_string()
    } else {
        let groups: [u16; 8] = std::array::from_fn(|at| {
            if zeros >> at & 1 == 0 { 0 } else { dice.next() as u16 >> dice.below(16) }
        });
        let address = std::net::Ipv6Addr::from(groups);
        if dice.percent(20) {
            dice.pick(&["::", "::1", "::1.2.3.4", "::ffff:10.0.0.1", "1::", "::2:0", "fe80::1%lo"])
                .into()
        } else {
            address.to_string()
        }
    };
    let text = match dice.below(3) {
        0 => address,
        1 => format!("{address}/{}", dice.pick(&[32, 128, 16, 24, 64])),
        _ => format!("{address}/{}", dice.below(130)),
    };
    damaged(dice, text)
}

pub fn mac(dice: &mut Dice) -> String {
    let length = dice.pick(&[6, 6, 8, 8, 7]);
    let separator = dice.pick(&[":", ":", ":", "-"]);
    let bytes: Vec<String> = (0..length).map(|_| format!("{:02x}", dice.next() as u8)).collect();
    let text = bytes.join(separator);
    damaged(dice, text)
}

pub fn json(dice: &mut Dice) -> String {
    let text = json_value(dice, 3);
    damaged(dice, text)
}

fn json_value(dice: &mut Dice, depth: usize) -> String {
    let kinds = if depth == 0 { 5 } else { 7 };
    let space = |dice: &mut Dice| dice.pick(&["", " ", "\n", ""]);
    match dice.below(kinds) {
        0 => dice.pick(&["null", "true", "false"]).into(),
        1 => any_integer(dice).to_string(),
        2 => dice
            .pick(&[
                "0", "-0", "-0.0", "1.50", "1e5", "1E-7", "1.5e400", "0e0", "01", "1.", "12e-3",
            ])
            .into(),
        3 | 4 => json_string(dice),
        5 => {
            let items: Vec<String> = (0..dice.below(4))
                .map(|_| format!("{}{}", space(dice), json_value(dice, depth - 1)))
                .collect();
            format!("[{}]", items.join(","))
        }
        _ => {
            let pairs: Vec<String> = (0..dice.below(5))
                .map(|_| {
                    let key = if dice.percent(50) {
                        dice.pick(&["\"a\"", "\"b\"", "\"aa\"", "\"é\"", "\"\""]).to_owned()
                    } else {
                        json_string(dice)
                    };
                    format!("{key}{}:{}", space(dice), json_value(dice, depth - 1))
                })
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

fn json_string(dice: &mut Dice) -> String {
    let parts = (0..dice.below(5)).map(|_| {
        dice.pick(&[
            "a",
            "é",
            "🚀",
            "\\n",
            "\\\"",
            "\\\\",
            "\\/",
            "\\u00e9",
            "\\ud83d\\ude80",
            "\\u0001",
            "\\b\\f",
            "\u{7f}",
            "\\u0000",
            "\\ud800",
            "\\udc00x",
            "\\x",
            " ",
            "zz",
        ])
    });
    format!("\"{}\"", parts.collect::<String>())
}

pub fn integers(dice: &mut Dice) -> String {
    let items: Vec<String> =
        (0..dice.below(5))
            .map(|_| {
                if dice.percent(10) {
                    "null".into()
                } else {
                    (any_integer(dice) as i32).to_string()
                }
            })
            .collect();
    let text = format!("[{}]", items.join(","));
    damaged(dice, text)
}

pub fn strings(dice: &mut Dice) -> String {
    let items: Vec<String> = (0..dice.below(5))
        .map(|_| if dice.percent(10) { "null".into() } else { json_string(dice) })
        .collect();
    let text = format!("[{}]", items.join(","));
    damaged(dice, text)
}

pub fn labels(dice: &mut Dice) -> String {
    let items: Vec<String> = (0..dice.below(3))
        .map(|_| if dice.percent(10) { "null".into() } else { format!("\"{}\"", label(dice)) })
        .collect();
    format!("[{}]", items.join(","))
}

pub fn prices(dice: &mut Dice) -> String {
    let items: Vec<String> = (0..dice.below(4))
        .map(|_| format!("{}.{:02}", dice.below(20_000), dice.below(100)))
        .collect();
    let text = format!("[{}]", items.join(","));
    damaged(dice, text)
}
