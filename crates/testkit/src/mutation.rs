//! Changed inputs: bytes that are good but for some changes, the same ones in each run.
//!
//! Parsers of signed and encrypted data are tested with many of them: none passes that should not, and none panics.

/// Bytes that have a meaning in JSON, base64 or binary numbers. Random bytes hit them rarely.
const MEANINGFUL: &[u8] = b"\"{}[],: 0Aa=+/-_\\\0\x01\x7f\x80\xff\n";

/// The most changes of one input.
const CHANGES: usize = 3;

/// Makes changed inputs from good ones (xorshift64*; Vigna, "An experimental exploration of Marsaglia's xorshift
/// generators, scrambled").
#[derive(Debug, Clone)]
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// Starts a sequence. Equal seeds give equal sequences.
    pub fn new(seed: u64) -> Self {
        // The state must not be 0. An odd factor gives near seeds states that are far apart.
        Self { state: (seed.wrapping_add(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    /// Returns a number below `limit`, or 0 if that is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let number = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap_or_default() % limit.max(1)
    }

    /// Returns bytes with one to three changes: a flipped bit, a byte or several ones replaced, removed, inserted or
    /// repeated, two parts exchanged, or the end cut off. The result can equal `good`.
    pub fn mutate(&mut self, good: &[u8]) -> Vec<u8> {
        let mut bytes = good.to_vec();
        for _ in 0..=self.below(CHANGES) {
            self.change(&mut bytes);
        }
        bytes
    }

    /// Returns a text with changes, as [`Self::mutate`]. Bytes that are not UTF-8 are replaced.
    pub fn mutate_text(&mut self, good: &str) -> String {
        String::from_utf8_lossy(&self.mutate(good.as_bytes())).into_owned()
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let start = self.below(bytes.len());
        if bytes.is_empty() {
            return bytes.push(self.byte());
        }
        let end = (start + 1 + self.below(20)).min(bytes.len());
        match self.below(10) {
            0..=2 => bytes[start] ^= 1 << self.below(8),
            3 => bytes[start] = self.byte(),
            4 => drop(bytes.remove(start)),
            5 => bytes.insert(start, self.byte()),
            6 => drop(bytes.drain(start..end)),
            7 => drop(bytes.splice(start..start, bytes[start..end].to_vec())),
            8 => {
                let byte = self.byte();
                bytes[start..end].fill(byte);
            }
            // Few inputs survive a cut, so it is rare.
            _ if self.below(4) == 0 => bytes.truncate(start),
            _ => {
                let other = self.below(bytes.len());
                bytes.swap(start, other);
            }
        }
    }

    fn byte(&mut self) -> u8 {
        match self.below(2) {
            0 => MEANINGFUL[self.below(MEANINGFUL.len())],
            _ => u8::try_from(self.below(256)).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn sequences_depend_on_the_seed_only() {
        let run = |seed: u64| {
            let mut mutator = Mutator::new(seed);
            (0..100).map(|_| mutator.mutate(b"some good bytes")).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        assert_ne!(run(0), run(1));
    }

    #[test]
    fn the_changes_are_many_and_of_each_length() {
        let good = b"some good bytes of an input";
        let mut mutator = Mutator::new(3);
        let changed: HashSet<Vec<u8>> = (0..1000).map(|_| mutator.mutate(good)).collect();
        assert!(changed.len() > 900, "{}", changed.len());
        for wanted in [std::cmp::Ordering::Less, std::cmp::Ordering::Equal, std::cmp::Ordering::Greater] {
            assert!(changed.iter().any(|bytes| bytes.len().cmp(&good.len()) == wanted && bytes != good), "{wanted:?}");
        }
    }

    #[test]
    fn short_inputs_are_changed_too() {
        let mut mutator = Mutator::new(4);
        for _ in 0..1000 {
            assert!(mutator.mutate(b"").len() < 64);
            let _ = mutator.mutate(b"a");
        }
        assert_eq!(mutator.below(0), 0);
        assert!((0..1000).all(|_| mutator.below(7) < 7));
    }
}
