//! A sample of rows, by their places alone: a row has a random number that its place gives it, and is
//! in the sample while that is not above a bound. The bound is halved whenever more rows than
//! [`MOST`] are in, so that the rows that stay follow from how many there are, not from how they came.

use crate::offline::selection::draw;

/// The most rows in a sample; where there are more than that many, at least half as many.
const MOST: usize = 1 << 14;

/// The numbers are those of a generator that starts from here: others than those of a sample that
/// is asked for.
const SEED: u64 = 0x756e_736b_6577;

/// A row of a batch that is in the sample, and its number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Picked {
    pub(super) row: usize,
    pub(super) number: u64,
}

/// Which rows are in the sample.
#[derive(Debug)]
pub(super) struct Sampler {
    rows: u64,
    numbers: Vec<u64>,
    bound: u64,
}

impl Default for Sampler {
    fn default() -> Self {
        Self { rows: 0, numbers: Vec::new(), bound: u64::MAX }
    }
}

impl Sampler {
    /// The rows of the next batch that are in the sample.
    pub(super) fn pick(&mut self, rows: usize) -> Vec<Picked> {
        let first = self.rows;
        self.rows += rows as u64;
        let numbered = (0..rows).map(|row| Picked { row, number: draw(SEED, first + row as u64) });
        let picked: Vec<Picked> = numbered.filter(|picked| picked.number <= self.bound).collect();
        self.numbers.extend(picked.iter().map(|picked| picked.number));
        picked
    }

    /// Takes rows out where there are too many; says whether it did.
    pub(super) fn thin(&mut self) -> bool {
        let before = self.bound;
        while self.numbers.len() > MOST {
            self.bound /= 2;
            self.numbers.retain(|number| *number <= self.bound);
        }
        self.bound < before
    }

    /// Whether a row of this number is in the sample still.
    pub(super) fn keeps(&self, number: u64) -> bool {
        number <= self.bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampled(rows: usize, cut: usize) -> Vec<u64> {
        let mut sampler = Sampler::default();
        let mut left = rows;
        while left > 0 {
            sampler.pick(cut.min(left));
            sampler.thin();
            left -= cut.min(left);
        }
        sampler.numbers
    }

    #[test]
    fn the_sample_follows_from_the_number_of_rows() {
        for rows in [0, 1, MOST, MOST + 1, 5 * MOST + 3] {
            let whole = sampled(rows, rows.max(1));
            assert_eq!(sampled(rows, 777), whole);
            assert!(whole.len() <= MOST && whole.len() >= rows.min(MOST * 4 / 10), "{rows}");
        }
        assert_eq!(sampled(MOST, 1_000).len(), MOST, "all rows, as long as they fit");
    }
}
