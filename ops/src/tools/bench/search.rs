//! The highest rate within the bound: doubled until it is broken, then bisected.

/// Bisections after the bound was first broken.
const BISECTIONS: u32 = 4;

/// The bound of `bench.md`: p99 within this, and this share of what was due counted.
pub const P99_MAX_US: u64 = 100_000;
pub const GOODPUT_MIN: f64 = 0.99;

#[derive(Debug)]
pub struct Search {
    good: Option<f64>,
    bad: Option<f64>,
    next: f64,
    bisections: u32,
}

impl Search {
    pub const fn from(rate: f64) -> Self {
        Self { good: None, bad: None, next: rate, bisections: 0 }
    }

    /// The rate to try, unless it is found.
    pub fn next(&self) -> Option<f64> {
        (self.bisections <= BISECTIONS && self.next >= 1.0).then_some(self.next)
    }

    pub fn judged(&mut self, within: bool) {
        let rate = self.next;
        if within {
            self.good = Some(rate);
        } else {
            self.bad = Some(rate);
        }
        self.next = match (self.good, self.bad) {
            (_, None) => rate * 2.0,
            (None, Some(bad)) => bad / 2.0,
            (Some(good), Some(bad)) => {
                self.bisections += 1;
                f64::midpoint(good, bad)
            }
        };
    }

    pub const fn found(&self) -> Option<f64> {
        self.good
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(start: f64, truth: f64) -> (Option<f64>, usize) {
        let (mut search, mut tries) = (Search::from(start), 0);
        while let Some(rate) = search.next() {
            search.judged(rate <= truth);
            tries += 1;
        }
        (search.found(), tries)
    }

    #[test]
    fn it_is_found_from_below_and_from_above() {
        for start in [100.0, 1_000.0, 64_000.0] {
            let (found, tries) = find(start, 7_300.0);
            let found = found.unwrap();
            assert!(found <= 7_300.0 && found > 7_300.0 * 0.9, "{start}: {found}");
            assert!(tries < 16, "{tries}");
        }
        assert_eq!(find(8.0, 0.0).0, None);
    }
}
