//! Values of one measurement, in order.

/// Sorted values, of which any share can be asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Quantiles {
    sorted: Vec<f64>,
}

impl Quantiles {
    /// Of these values, in any order and unit.
    pub(crate) fn new(values: impl IntoIterator<Item = f64>) -> Quantiles {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Quantiles { sorted }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The value that a `share` (0 to 1) of all does not exceed, between two values in proportion. `None` where there is no value.
    pub(crate) fn at(&self, share: f64) -> Option<f64> {
        let last = self.sorted.len().checked_sub(1)?;
        let place = share.clamp(0.0, 1.0) * last as f64;
        let (below, above) = (self.sorted[place.floor() as usize], self.sorted[place.ceil() as usize]);
        Some(below + (above - below) * place.fract())
    }

    /// Half and nineteen twentieths of them, with two digits and a unit: `0.36 / 0.50 s (n = 40)`.
    pub(crate) fn seconds(&self) -> String {
        match (self.at(0.5), self.at(0.95)) {
            (Some(half), Some(most)) => format!("{half:.2} / {most:.2} s (n = {})", self.count()),
            _ => "no value".to_owned(),
        }
    }

    /// As [`Quantiles::seconds`], of values in seconds, written in whole milliseconds.
    pub(crate) fn milliseconds(&self) -> String {
        match (self.at(0.5), self.at(0.95)) {
            (Some(half), Some(most)) => format!("{:.0} / {:.0} ms (n = {})", half * 1e3, most * 1e3, self.count()),
            _ => "no value".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_lie_between_the_values() {
        let cases: [(&[f64], f64, Option<f64>); 7] = [
            (&[], 0.5, None),
            (&[3.0], 0.95, Some(3.0)),
            (&[3.0, 1.0, 2.0], 0.5, Some(2.0)),
            (&[1.0, 2.0], 0.5, Some(1.5)),
            (&[4.0, 0.0, 2.0, 3.0, 1.0], 0.95, Some(3.8)),
            (&[1.0, 2.0], 0.0, Some(1.0)),
            (&[1.0, 2.0], 1.0, Some(2.0)),
        ];
        for (values, share, expected) in cases {
            let got = Quantiles::new(values.iter().copied()).at(share);
            assert!(got.zip(expected).map_or(got == expected, |(a, b)| (a - b).abs() < 1e-9), "{values:?} at {share}: {got:?}");
        }
    }

    #[test]
    fn they_are_written_with_their_number() {
        let values = Quantiles::new([0.25, 0.5, 0.75]);
        assert_eq!(values.seconds(), "0.50 / 0.72 s (n = 3)");
        assert_eq!(values.milliseconds(), "500 / 725 ms (n = 3)");
        assert_eq!(Quantiles::default().seconds(), "no value");
    }
}
