//! Statistics of the values of several rounds. Pure.

use std::fmt;

use serde::Serialize;

/// The median and the quartiles of some values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The lower quartile; with fewer than five values, the minimum.
    pub low: f64,
    /// The upper quartile; with fewer than five values, the maximum.
    pub high: f64,
}

impl Spread {
    /// `None` without values.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let quartile = if values.len() < 5 { 0.0 } else { 0.25 };
        Some(Self { median: at(&values, 0.5), low: at(&values, quartile), high: at(&values, 1.0 - quartile) })
            .filter(|_| values[0].is_finite() && values[last].is_finite())
    }
}

/// Fractions are written as ratios.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2}–{:.2})", self.median, self.low, self.high)
    }
}

/// The median; NaN without values.
#[must_use]
pub fn median(values: Vec<f64>) -> f64 {
    Spread::of(values).map_or(f64::NAN, |spread| spread.median)
}

/// The value at this fraction of the way from minimum to maximum.
fn at(sorted: &[f64], part: f64) -> f64 {
    let place = part * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_values_spread_between_their_quartiles_and_few_between_the_least_and_the_most() {
        let many = Spread::of([5.0, 1.0, 2.0, 4.0, 3.0]).expect("there are values");
        assert_eq!((many.median, many.low, many.high), (3.0, 2.0, 4.0));
        let few = Spread::of([4.0, 1.0]).expect("there are values");
        assert_eq!((few.median, few.low, few.high), (2.5, 1.0, 4.0));
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([1.0, f64::NAN]), None);
    }
}
