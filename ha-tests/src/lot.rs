//! Random choices that can be repeated: the same seed draws the same lots.

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to draw lots.
#[derive(Clone, Debug)]
pub struct Lot {
    state: u64,
}

impl Lot {
    /// Lots for a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which must not be 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("usize fits");
        usize::try_from(self.bits() % end).expect("below a usize")
    }

    /// One of these, which must not be empty.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_and_all_are_drawn() {
        let (mut one, mut two) = (Lot::new(7), Lot::new(7));
        let mut seen = [false; 5];
        for _ in 0..100 {
            let drawn = one.below(5);
            assert_eq!(drawn, two.below(5));
            seen[drawn] = true;
        }
        assert_eq!(seen, [true; 5]);
        assert_ne!(Lot::new(1).bits(), Lot::new(2).bits());
    }
}
