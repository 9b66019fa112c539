//! Chance from a seed: SplitMix64, small, and the same everywhere.

#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0, less than `n`.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n.max(1) as u64).unwrap_or(0)
    }

    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from).max(1)
    }

    /// From 1 to `n`.
    pub fn one_of(&mut self, n: u128) -> u128 {
        u128::from(self.next()) % n + 1
    }

    /// So often in a thousand.
    pub fn chance(&mut self, thousandths: u64) -> bool {
        self.next() % 1000 < thousandths
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(self.below(of.len())) }
    }

    /// From 0 to 1.
    pub fn share(&mut self) -> f64 {
        self.below(1001) as f64 / 1000.0
    }
}
