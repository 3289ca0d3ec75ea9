//! The name hash of indexed directories: half MD4 over unsigned characters (kernel, `fs/ext4/hash.c`).

/// The hash of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NameHash {
    /// The hash in the index. Its lowest bit is 0, because the index uses that bit as a flag.
    pub(super) major: u32,
    /// Orders names with the same major hash when the kernel lists them.
    pub(super) minor: u32,
}

/// Hashes names with the seed of a file system.
pub(super) struct NameHasher {
    seed: [u32; 4],
}

/// Bytes of a name for each round.
const CHUNK: usize = 32;
/// The kernel's mark for the end of a directory. No name may have this hash.
const END_OF_DIRECTORY: u32 = 0x7fff_ffff << 1;

impl NameHasher {
    /// Creates a hasher. The seed must not be all zeros, because the kernel replaces such a seed.
    pub(super) fn new(seed: [u32; 4]) -> Self {
        Self { seed }
    }

    pub(super) fn hash(&self, name: &[u8]) -> NameHash {
        let mut state = self.seed;
        for start in (0..name.len()).step_by(CHUNK) {
            half_md4(&mut state, &words(&name[start..]));
        }
        let major = state[1] & !1;
        NameHash { major: if major == END_OF_DIRECTORY { END_OF_DIRECTORY - 2 } else { major }, minor: state[2] }
    }
}

/// Returns the next bytes as eight words, padded with the length of the rest.
fn words(rest: &[u8]) -> [u32; 8] {
    let length = rest.len() as u32;
    let padding = length.wrapping_mul(0x0101_0101);
    let rest = &rest[..rest.len().min(CHUNK)];
    let mut words = [padding; 8];
    for (word, bytes) in words.iter_mut().zip(rest.chunks(4)) {
        *word = bytes.iter().fold(padding, |word, &byte| (word << 8).wrapping_add(byte.into()));
    }
    words
}

fn half_md4(state: &mut [u32; 4], words: &[u32; 8]) {
    type Step = fn(u32, u32, u32) -> u32;
    let select: Step = |x, y, z| z ^ (x & (y ^ z));
    let majority: Step = |x, y, z| (x & y).wrapping_add((x ^ y) & z);
    let parity: Step = |x, y, z| x ^ y ^ z;
    let rounds: [(Step, u32, [usize; 8], [u32; 4]); 3] = [
        (select, 0, [0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19]),
        (majority, 0x5a82_7999, [1, 3, 5, 7, 0, 2, 4, 6], [3, 5, 9, 13]),
        (parity, 0x6ed9_eba1, [3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15]),
    ];
    let [mut a, mut b, mut c, mut d] = *state;
    for (step, constant, order, shifts) in rounds {
        for (position, word) in order.into_iter().enumerate() {
            let sum = a.wrapping_add(step(b, c, d)).wrapping_add(words[word]).wrapping_add(constant);
            (a, b, c, d) = (d, sum.rotate_left(shifts[position % 4]), b, c);
        }
    }
    for (word, sum) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(sum);
    }
}
