//! What has been acknowledged, against what is there.

use std::collections::BTreeMap;

use crate::child::{SLOTS, WRITERS};

/// The highest acknowledged number of each writer; a writer writes one after the other.
#[derive(Debug, Default, Clone)]
pub(crate) struct Ledger {
    acknowledged: BTreeMap<u64, u64>,
    /// How many acknowledgements there were.
    pub(crate) acks: u64,
    /// How often a complete account of the state was compared.
    pub(crate) compared: u64,
    have: BTreeMap<(u64, u64), u64>,
}

impl Ledger {
    /// Takes in the lines of a child; answers what is wrong with them.
    pub(crate) fn hear(&mut self, lines: &[String]) -> Result<(), String> {
        // A new child begins with an account of its own, which may have been cut short before.
        for line in lines {
            let mut words = line.split(' ');
            match words.next() {
                Some("HAVE") => {
                    let [writer, slot, number] = numbers(words);
                    self.have.insert((writer, slot), number);
                }
                Some("READY") => self.compare()?,
                Some("ACK") => {
                    let [writer, number] = numbers(words);
                    let before = self.acknowledged.insert(writer, number);
                    self.acks += 1;
                    if before.is_some_and(|before| before >= number) {
                        return Err(format!(
                            "writer {writer} went back from {before:?} to {number}: it lost what it wrote"
                        ));
                    }
                }
                Some("BROKEN" | "FATAL") => return Err(line.clone()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Every acknowledged number must be in its slot, or a later one of the same slot.
    fn compare(&mut self) -> Result<(), String> {
        let have = std::mem::take(&mut self.have);
        self.compared += 1;
        for writer in 0..WRITERS {
            let Some(&last) = self.acknowledged.get(&writer) else { continue };
            for number in last.saturating_sub(SLOTS - 1)..=last {
                let found = have.get(&(writer, number % SLOTS)).copied();
                if found.is_none_or(|found| found < number || found % SLOTS != number % SLOTS) {
                    return Err(format!("writer {writer}: {number} was acknowledged, its slot holds {found:?}"));
                }
            }
        }
        Ok(())
    }

    /// Forgets an account that was cut short.
    pub(crate) fn new_child(&mut self) {
        self.have.clear();
    }
}

fn numbers<const N: usize>(words: std::str::Split<'_, char>) -> [u64; N] {
    let numbers: Vec<u64> = words.map(|word| word.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

/// Numbers that look random; the seed is printed when a test fails.
#[derive(Debug, Clone)]
pub(crate) struct Dice {
    pub(crate) seed: u64,
    state: u64,
}

impl Dice {
    pub(crate) fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = u64::try_from(now.as_nanos() & u128::from(u64::MAX)).unwrap() | 1;
        Self { seed, state: seed }
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % end
    }
}
