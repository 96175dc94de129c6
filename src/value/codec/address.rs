//! Network and hardware addresses
//! (<https://www.postgresql.org/docs/current/datatype-net-types.html>).

use core::net::{Ipv4Addr, Ipv6Addr};
use std::fmt::Write as _;

/// PostgreSQL's own number for IPv4; IPv6 is one more on every system.
const FAMILY_4: u8 = 2;
const FAMILY_6: u8 = 3;

/// The binary form of an `inet` or `cidr`; `None` for what is no address.
pub(super) fn read_network(text: &str, is_cidr: bool) -> Option<Vec<u8>> {
    let (address, bits) = match text.split_once('/') {
        None => (text, None),
        Some((address, bits)) => (address, Some(read_bits(bits)?)),
    };
    let (family, bytes) = if address.contains(':') {
        (FAMILY_6, address.parse::<Ipv6Addr>().ok()?.octets().to_vec())
    } else {
        (FAMILY_4, address.parse::<Ipv4Addr>().ok()?.octets().to_vec())
    };
    let most = bytes.len() * 8;
    let bits = bits.map_or(most, usize::from);
    if most < bits || is_cidr && !is_network(&bytes, bits) {
        return None;
    }
    let length = u8::try_from(bytes.len()).ok()?;
    let head = [family, u8::try_from(bits).ok()?, u8::from(is_cidr), length];
    Some([&head[..], &bytes].concat())
}

fn read_bits(text: &str) -> Option<u8> {
    let is_padded = 1 < text.len() && text.starts_with('0');
    let is_number = !is_padded && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

/// Whether all bits right of the mask are zero.
fn is_network(bytes: &[u8], bits: usize) -> bool {
    (bits..bytes.len() * 8).all(|bit| bytes[bit / 8] & (0x80 >> (bit % 8)) == 0)
}

/// The text PostgreSQL prints.
pub(super) fn network(bytes: &[u8]) -> Option<String> {
    let (&[family, bits, cidr, length], address) = bytes.split_first_chunk()?;
    if usize::from(length) != address.len() {
        return None;
    }
    let most = length.checked_mul(8)?;
    let mut text = match family {
        FAMILY_4 => Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?).to_string(),
        FAMILY_6 => ipv6(<[u8; 16]>::try_from(address).ok()?.into())?,
        _ => return None,
    };
    if cidr != 0 || bits != most {
        write!(text, "/{bits}").ok()?;
    }
    Some(text)
}

/// As PostgreSQL writes it: as Rust does, but for `::1.2.3.4`, the old way to put IPv4 into IPv6.
fn ipv6(address: Ipv6Addr) -> Option<String> {
    let groups = address.segments();
    let is_compatible = groups[..6].iter().all(|group| *group == 0) && groups[6] != 0;
    if !is_compatible {
        return Some(address.to_string());
    }
    let octets = address.octets();
    let last = <[u8; 4]>::try_from(&octets[12..]).ok()?;
    Some(format!("::{}", Ipv4Addr::from(last)))
}

/// The bytes of a hardware address with one kind of separator.
pub(super) fn read_mac(text: &str, bytes: usize) -> Option<Vec<u8>> {
    let separator = text.chars().nth(2).filter(|c| matches!(c, ':' | '-'))?;
    let parts: Vec<&str> = text.split(separator).collect();
    let read = |part: &&str| {
        let is_hex = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then(|| u8::from_str_radix(part, 16).ok())?
    };
    (parts.len() == bytes).then(|| parts.iter().map(read).collect())?
}

/// A hardware address in the given form.
pub(super) fn mac(bytes: &[u8], dashes: bool, upper: bool) -> String {
    let parts: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = parts.join(if dashes { "-" } else { ":" });
    if upper { text.to_ascii_uppercase() } else { text }
}
