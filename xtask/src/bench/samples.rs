//! Times of one contender.

use std::fmt;
use std::time::Duration;

/// Times, in the order they were measured.
pub(super) struct Samples(Vec<Duration>);

impl Samples {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// The middle one (the upper middle, of an even number); zero when there is none.
    pub(super) fn median(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }
}

/// `min / median / max` in seconds.
/// Nothing at all where nothing was measured.
impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(least), Some(most)) = (self.0.iter().min(), self.0.iter().max()) else {
            return Ok(());
        };
        let [least, median, most] = [*least, self.median(), *most].map(|time| time.as_secs_f64());
        write!(f, "{least:.3} / {median:.3} / {most:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_numbers_are_least_middle_and_greatest() {
        let mut samples = Samples::new();
        for millis in [30, 10, 20] {
            samples.push(Duration::from_millis(millis));
        }
        assert_eq!(samples.to_string(), "0.010 / 0.020 / 0.030");
        assert_eq!(Samples::new().to_string(), "");
    }
}
