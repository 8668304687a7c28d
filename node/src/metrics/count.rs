//! What things are counted with: relaxed atomics, one instruction each, so that a packet's way gets no longer.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug)]
pub struct Counter(AtomicU64);

impl Default for Counter {
    fn default() -> Self {
        Self::new()
    }
}

impl Counter {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// One more.
    pub fn one(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that comes and goes.
#[derive(Debug)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Zero.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// One more, until the answer is dropped.
    #[must_use]
    pub fn enter(&'static self) -> Inside {
        self.0.fetch_add(1, Ordering::Relaxed);
        Inside(self)
    }

    /// This many.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// At least this many.
    pub fn raise(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }

    /// How many.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Default for Gauge {
    fn default() -> Self {
        Self::new()
    }
}

/// One of those a gauge counts.
#[derive(Debug)]
pub struct Inside(&'static Gauge);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A counter for each of a few words. The words are known when this is compiled, so that nobody on the network can make up
/// more of them.
#[derive(Debug)]
pub struct Counts<const N: usize> {
    words: [&'static str; N],
    counts: [Counter; N],
}

impl<const N: usize> Counts<N> {
    /// Nothing yet. The last word stands for all that are not among them.
    #[must_use]
    pub const fn new(words: [&'static str; N]) -> Self {
        Self { words, counts: [const { Counter::new() }; N] }
    }

    /// One more.
    pub fn one(&self, word: &str) {
        let at = self.words.iter().position(|known| *known == word).unwrap_or(N - 1);
        self.counts[at].one();
    }

    /// Every word with its count.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.words.iter().copied().zip(self.counts.iter().map(Counter::get))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_not_known_counts_as_the_last_one() {
        let counts = Counts::new(["a", "b", "other"]);
        for word in ["a", "b", "b", "surprise"] {
            counts.one(word);
        }
        assert_eq!(counts.all().collect::<Vec<_>>(), [("a", 1), ("b", 2), ("other", 1)]);
    }

    #[test]
    fn what_is_inside_is_counted_until_it_is_gone() {
        static INSIDE: Gauge = Gauge::new();
        let (one, two) = (INSIDE.enter(), INSIDE.enter());
        assert_eq!(INSIDE.get(), 2);
        drop((one, two));
        assert_eq!(INSIDE.get(), 0);
    }
}
