//! Finding the word that a user probably meant.

/// Returns those of `candidates` that differ from `word` in few characters, the nearest first.
pub(crate) fn similar(word: &str, candidates: impl IntoIterator<Item = String>) -> Vec<String> {
    let allowed = (word.chars().count() / 4).clamp(1, 3);
    let near = candidates.into_iter().filter_map(|candidate| {
        let distance = distance(word, &candidate);
        (distance <= allowed).then_some((distance, candidate))
    });
    let mut near: Vec<_> = near.collect();
    near.sort();
    near.dedup();
    near.into_iter().map(|(_, candidate)| candidate).collect()
}

/// Returns the number of characters to insert, delete, replace or swap with their neighbour to make `b` of `a` (optimal
/// string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for row in 1..=a.len() {
        let mut current = vec![row];
        for column in 1..=b.len() {
            let replaced = above[column - 1] + usize::from(a[row - 1] != b[column - 1]);
            let mut least = replaced.min(above[column] + 1).min(current[column - 1] + 1);
            if row > 1 && column > 1 && a[row - 1] == b[column - 2] && a[row - 2] == b[column - 1] {
                least = least.min(before[column - 2] + 1);
            }
            current.push(least);
        }
        (before, above) = (above, current);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("kitten", "sitting", 3),
            ("oci", "oci-dir", 4),
            ("ä", "a", 1),
            ("dmeo", "demo", 1),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (expected, expected), "{a} {b}");
        }
    }

    #[test]
    fn nearest_word_comes_first() {
        let words = || ["alpine:3.20", "alpine:3.21", "debian:12"].map(str::to_owned);
        assert_eq!(similar("alpine:3.21", words()), ["alpine:3.21", "alpine:3.20"]);
        assert_eq!(similar("alpin:3.20", words()), ["alpine:3.20", "alpine:3.21"]);
        assert!(similar("busybox", words()).is_empty());
    }
}
