//! A sum of digests modulo 2^256: the checksum of rows, in whatever order they come, and of chunks
//! out of the checksums of their parts.

use std::fmt;

/// SHA-256 of a row.
pub type RowDigest = [u8; 32];

/// The sum; of nothing, zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum([u64; 4]);

impl Sum {
    /// One row more.
    pub fn add(&mut self, digest: &RowDigest) {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(digest.chunks_exact(8)) {
            *word = u64::from_be_bytes(bytes.try_into().expect("eight bytes"));
        }
        self.join(Self(words));
    }

    /// The rows of another chunk.
    pub fn join(&mut self, other: Self) {
        let mut carry = false;
        for (word, more) in self.0.iter_mut().zip(other.0) {
            let (sum, one) = word.overflowing_add(more);
            let (sum, two) = sum.overflowing_add(u64::from(carry));
            (*word, carry) = (sum, one || two);
        }
    }

    /// The inverse of `Display`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = [0; 4];
        for (at, word) in words.iter_mut().enumerate() {
            *word = u64::from_str_radix(text.get(16 * at..16 * (at + 1))?, 16).ok()?;
        }
        (text.len() == 64).then_some(Self(words))
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|word| write!(f, "{word:016x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_chunks_is_the_sum_of_their_rows_in_any_order() {
        let digests: Vec<RowDigest> = (0..50_u8).map(|n| [n.wrapping_mul(37) | 0x80; 32]).collect();
        let sum = |digests: &mut dyn Iterator<Item = &RowDigest>| {
            digests.fold(Sum::default(), |mut sum, digest| {
                sum.add(digest);
                sum
            })
        };
        let whole = sum(&mut digests.iter());
        assert_eq!(sum(&mut digests.iter().rev()), whole);
        let mut joined = sum(&mut digests[..20].iter());
        joined.join(sum(&mut digests[20..].iter()));
        assert_eq!(joined, whole);
        assert_ne!(sum(&mut digests[1..].iter()), whole);
        assert_eq!(Sum::parse(&whole.to_string()), Some(whole));
        assert_eq!(Sum::parse("12"), None);
    }
}
