//! When each event is due: fixed before the run by a seed, and never moved by what the system does.

/// How arrivals are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    Poisson,
    /// Poisson arrivals of [`BURST`] events at once, at the same mean rate.
    Bursts,
}

pub const BURST: u32 = 10;

/// One event to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// After the run's start.
    pub at_ns: u64,
    pub pair: u32,
    pub by_visitor: bool,
}

/// SplitMix64: the same numbers for a seed in every build.
#[derive(Debug, Clone)]
pub struct Draw(u64);

impl Draw {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Even between 0 and 1, never 0.
    pub fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

/// Arrivals at `rate` per second for `seconds`, over `pairs` conversations, both directions alike.
pub fn schedule(seed: u64, shape: Shape, pairs: u32, rate: f64, seconds: f64) -> Vec<Due> {
    let group = match shape {
        Shape::Poisson => 1,
        Shape::Bursts => BURST,
    };
    let (mut draw, mut at, end) = (Draw::new(seed), 0.0_f64, seconds * 1e9);
    let mut dues = Vec::with_capacity((rate * seconds * 1.1) as usize + 16);
    loop {
        at += -draw.unit().ln() * f64::from(group) / rate * 1e9;
        if at >= end || pairs == 0 {
            return dues;
        }
        for _ in 0..group {
            let pick = draw.next();
            let pair = u32::try_from((pick >> 1) % u64::from(pairs)).expect("less than a u32");
            dues.push(Due { at_ns: at as u64, pair, by_visitor: pick & 1 == 0 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_schedule_for_ever() {
        let one = schedule(7, Shape::Poisson, 10, 1_000.0, 1.0);
        assert_eq!(one, schedule(7, Shape::Poisson, 10, 1_000.0, 1.0));
        assert_ne!(one, schedule(8, Shape::Poisson, 10, 1_000.0, 1.0));
        assert_eq!(Draw::new(0).next(), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn arrivals_have_the_rate_and_spread_of_poisson() {
        let dues = schedule(1, Shape::Poisson, 50, 10_000.0, 10.0);
        assert!((99_000..101_000).contains(&dues.len()), "{}", dues.len());
        assert!(dues.windows(2).all(|two| two[0].at_ns <= two[1].at_ns));
        let gaps: Vec<f64> = dues.windows(2).map(|two| (two[1].at_ns - two[0].at_ns) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        assert!((deviation / mean - 1.0).abs() < 0.03, "exponential gaps deviate by their mean");
        let by_visitor = dues.iter().filter(|due| due.by_visitor).count() as f64 / dues.len() as f64;
        assert!((by_visitor - 0.5).abs() < 0.01);
        assert!((0..50).all(|pair| dues.iter().any(|due| due.pair == pair)));
    }

    #[test]
    fn bursts_keep_the_mean_rate() {
        let dues = schedule(1, Shape::Bursts, 50, 10_000.0, 10.0);
        assert!((95_000..105_000).contains(&dues.len()), "{}", dues.len());
        assert!(dues.chunks(BURST as usize).all(|burst| burst.iter().all(|due| due.at_ns == burst[0].at_ns)));
    }
}
