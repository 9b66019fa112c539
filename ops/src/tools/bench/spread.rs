//! Latencies: histograms from 1 µs to 60 s with 3 digits, shown as quantiles, never as means.

use hdrhistogram::Histogram;
use serde::Serialize;

const LOWEST_US: u64 = 1;
const HIGHEST_US: u64 = 60_000_000;
const DIGITS: u8 = 3;

pub struct Spread(Histogram<u64>);

/// Microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Quantiles {
    pub count: u64,
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub p999_us: u64,
    pub max_us: u64,
}

impl Spread {
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(LOWEST_US, HIGHEST_US, DIGITS).expect("the bounds are valid"))
    }

    pub fn record_ns(&mut self, ns: u64) {
        self.0.saturating_record((ns / 1_000).clamp(LOWEST_US, HIGHEST_US));
    }

    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all spreads have the same bounds");
    }

    pub fn quantiles(&self) -> Quantiles {
        let at = |quantile| self.0.value_at_quantile(quantile);
        Quantiles {
            count: self.0.len(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: self.0.max(),
        }
    }
}

impl Quantiles {
    pub fn text(&self) -> String {
        let ms = |us: u64| format!("{:.3}", us as f64 / 1e3);
        format!(
            "p50 {}  p90 {}  p99 {}  p99.9 {}  max {} ms",
            ms(self.p50_us),
            ms(self.p90_us),
            ms(self.p99_us),
            ms(self.p999_us),
            ms(self.max_us)
        )
    }
}

/// Median, least and most of the runs of a pair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Median {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Median {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Some(Self { median, min, max })
    }

    pub fn text(&self) -> String {
        format!("{:.3} ({:.3}..{:.3})", self.median, self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_microseconds() {
        let mut spread = Spread::new();
        for us in 1..=1_000_u64 {
            spread.record_ns(us * 1_000);
        }
        let quantiles = spread.quantiles();
        assert_eq!((quantiles.count, quantiles.p50_us, quantiles.p99_us), (1_000, 500, 990));
        spread.record_ns(u64::MAX);
        assert!(spread.quantiles().max_us >= HIGHEST_US);
    }

    #[test]
    fn a_ratio_is_the_median_of_the_pairs() {
        let median = Median::of([3.0, 1.0, 2.0, f64::NAN]).unwrap();
        assert_eq!((median.median, median.min, median.max), (2.0, 1.0, 3.0));
        assert_eq!(Median::of([1.0, 2.0]).unwrap().median, 1.5);
        assert_eq!(Median::of([]), None);
    }
}
