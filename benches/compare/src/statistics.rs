//! Median, minimum, maximum.

/// What several readings come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub count: usize,
}

impl Summary {
    /// `None` of nothing.
    pub fn of(readings: &[f64]) -> Option<Summary> {
        let mut sorted = readings.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Some(Summary { median, min, max, count: sorted.len() })
    }
}

/// The value below which `per_mille` thousandths of the sorted readings lie.
pub fn quantile(sorted: &[u64], per_mille: usize) -> f64 {
    if sorted.is_empty() {
        return f64::NAN;
    }
    sorted[(sorted.len() * per_mille / 1000).min(sorted.len() - 1)] as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_names_the_middle_and_the_ends() {
        assert_eq!(Summary::of(&[3.0, 1.0, 9.0]), Some(Summary { median: 3.0, min: 1.0, max: 9.0, count: 3 }));
        assert_eq!(Summary::of(&[4.0, 1.0, 2.0, 9.0]), Some(Summary { median: 3.0, min: 1.0, max: 9.0, count: 4 }));
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn quantiles_are_values_that_were_read() {
        let readings: Vec<u64> = (0..1_000).collect();
        assert_eq!([500, 990, 999, 1000].map(|at| quantile(&readings, at)), [500.0, 990.0, 999.0, 999.0]);
    }
}
