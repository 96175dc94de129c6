//! Decisions that a seed repeats.

/// SplitMix64 (Steele, Lea, Flood 2014): the same seed gives the same numbers on every machine.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// Each `stream` of one seed gives other numbers.
    pub fn new(seed: u64, stream: u64) -> Self {
        Self(seed ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = (high - low).unsigned_abs() + 1;
        low.wrapping_add_unsigned(self.next() % span)
    }

    pub fn percent(&mut self, share: i64) -> bool {
        self.between(1, 100) <= share
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let last = i64::try_from(from.len()).expect("a list in memory") - 1;
        &from[usize::try_from(self.between(0, last)).expect("not negative")]
    }

    /// Puts a list into a new order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for at in (1..list.len()).rev() {
            let bound = u64::try_from(at).expect("a list in memory") + 1;
            let other = usize::try_from(self.next() % bound).expect("not past `at`");
            list.swap(at, other);
        }
    }
}
