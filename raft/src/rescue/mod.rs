//! Gives a directory a new generation while no node runs on it: `recover` keeps what a survivor has, `restore` starts from
//! a backup.
//!
//! Two clusters that come of one must never take each other's messages. Nodes talk only within one generation, and a new
//! one is not just the next number: two restores of the same backup would both get it. It is counted in the billions, and
//! the rest is drawn by lot.

mod recover;
mod restore;

pub use recover::{Found, Recovered, Survivor, changes};
pub use restore::{Restored, Start, restore};

use std::io;

/// Generations are counted in steps of this; what is below it is drawn by lot.
pub const GENERATION_STEP: u64 = 1_000_000_000;

/// A generation that comes after `old` and that nobody else will draw.
///
/// # Errors
/// When the system has no randomness.
pub fn generation_after(old: u64) -> io::Result<u64> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let lot = u64::from_le_bytes(random) % GENERATION_STEP;
    Ok((old / GENERATION_STEP + 1) * GENERATION_STEP + lot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_rise_and_two_that_come_of_one_differ() {
        let mut old = 1;
        for times in 1..5 {
            let next = generation_after(old).unwrap();
            assert_eq!(next / GENERATION_STEP, times, "{old} became {next}");
            old = next;
        }
        assert_ne!(generation_after(1).unwrap(), generation_after(1).unwrap());
    }
}
