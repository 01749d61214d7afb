//! Numbers with how sure they are: sans I/O, a few additions for each observation.

/// The normal distribution's 97.5 % quantile: intervals hold the truth 95 times of 100.
const Z: f64 = 1.959_964;

/// An estimate with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// How many observations it stands on.
    pub n: u64,
    /// The estimate.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// A running mean.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Mean {
    n: u64,
    mean: f64,
    /// Sum of the squared distances from the mean (Welford 1962), which loses no digits where the spread is small.
    spread: f64,
    /// Observations that were neither 0 nor 1.
    graded: u64,
}

impl Mean {
    pub(crate) fn add(&mut self, value: f64) {
        self.n += 1;
        let before = value - self.mean;
        self.mean += before / self.n as f64;
        self.spread += before * (value - self.mean);
        self.graded += u64::from(value != 0.0 && value != 1.0);
    }

    /// Takes an observation back that was added before.
    pub(crate) fn remove(&mut self, value: f64) {
        if self.n <= 1 {
            *self = Mean::default();
            return;
        }
        self.n -= 1;
        let before = value - self.mean;
        self.mean -= before / self.n as f64;
        self.spread = (self.spread - before * (value - self.mean)).max(0.0);
        self.graded = self.graded.saturating_sub(u64::from(value != 0.0 && value != 1.0));
    }

    /// The mean with its interval: Wilson's where every observation is 0 or 1, else the normal one. `None` before the first.
    pub(crate) fn estimate(&self) -> Option<Estimate> {
        if self.n == 0 {
            return None;
        }
        if self.graded == 0 {
            return Some(share((self.mean * self.n as f64).round() as u64, self.n));
        }
        // Of one observation nothing is known about the spread.
        let half = if self.n < 2 { f64::INFINITY } else { Z * (self.spread / (self.n - 1) as f64 / self.n as f64).sqrt() };
        Some(Estimate { n: self.n, value: self.mean, low: self.mean - half, high: self.mean + half })
    }
}

/// `hits` of `n` with Wilson's score interval (1927), which holds for small numbers and for shares near 0 and 1.
pub(crate) fn share(hits: u64, n: u64) -> Estimate {
    if n == 0 {
        return Estimate { n, value: 0.0, low: 0.0, high: 1.0 };
    }
    let (count, value) = (n as f64, hits as f64 / n as f64);
    let below = 1.0 + Z * Z / count;
    let middle = (value + Z * Z / (2.0 * count)) / below;
    let half = Z * (value * (1.0 - value) / count + Z * Z / (4.0 * count * count)).sqrt() / below;
    Estimate { n, value, low: (middle - half).max(0.0), high: (middle + half).min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 5e-4
    }

    #[test]
    fn shares_have_wilsons_interval() {
        // Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I, method 3.
        for (hits, n, low, high) in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)] {
            let estimate = share(hits, n);
            assert!(near(estimate.low, low) && near(estimate.high, high), "{hits}/{n}: {estimate:?}");
        }
        assert_eq!(share(0, 0).high, 1.0);
    }

    #[test]
    fn means_have_the_normal_interval() {
        let mut mean = Mean::default();
        assert_eq!(mean.estimate(), None);
        for value in [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0] {
            mean.add(value);
        }
        let estimate = mean.estimate().expect("it has observations");
        assert!(near(estimate.value, 5.0) && near(estimate.low, 5.0 - 1.4816) && near(estimate.high, 5.0 + 1.4816), "{estimate:?}");
        let before = mean;
        mean.add(0.25);
        mean.remove(0.25);
        assert!(near(mean.mean, before.mean) && near(mean.spread, before.spread));
    }

    #[test]
    fn thumbs_are_shares() {
        let mut mean = Mean::default();
        for value in [1.0, 0.0, 1.0, 1.0] {
            mean.add(value);
        }
        assert_eq!(mean.estimate(), Some(share(3, 4)));
    }
}
