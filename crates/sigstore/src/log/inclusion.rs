//! Proofs that a tree of hashes has an entry (RFC 9162, 2.1.3.2).

use sha2_of_keys::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// Checks that a tree of `size` entries with this root has the body at `index`.
pub(super) fn verify(body: &[u8], index: u64, size: u64, hashes: &[Vec<u8>], root: &[u8]) -> Result<()> {
    if index >= size {
        return Err(wrong("its index is not in the tree"));
    }
    let mut node: [u8; 32] = Sha256::new().chain_update([0]).chain_update(body).finalize().into();
    let (mut position, mut last) = (index, size - 1);
    for hash in hashes {
        if hash.len() != 32 || last == 0 {
            return Err(wrong("it has a wrong length"));
        }
        let is_right = position & 1 == 1 || position == last;
        node = if is_right { parent(hash, &node) } else { parent(&node, hash) };
        if is_right {
            while position & 1 == 0 && position != 0 {
                position >>= 1;
                last >>= 1;
            }
        }
        position >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(wrong("it is too short"));
    }
    if node != root { Err(wrong("its root is another one")) } else { Ok(()) }
}

fn parent(left: &[u8], right: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

fn wrong(reason: &str) -> Error {
    Error::Log(format!("the proof of inclusion is wrong: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(body: &[u8]) -> Vec<u8> {
        Sha256::new().chain_update([0]).chain_update(body).finalize().to_vec()
    }

    /// Returns the root of a tree, and the proof of one entry, by the recursive definition of RFC 9162, 2.1.
    fn tree(bodies: &[Vec<u8>], index: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
        if bodies.len() == 1 {
            return (leaf(&bodies[0]), Vec::new());
        }
        let split = bodies.len().next_power_of_two() / 2;
        let (left, right) = bodies.split_at(split);
        let inside_left = index < split;
        let (left, mut proof_left) = tree(left, if inside_left { index } else { 0 });
        let (right, mut proof_right) = tree(right, if inside_left { 0 } else { index - split });
        let root = parent(&left, &right).to_vec();
        if inside_left {
            proof_left.push(right);
            (root, proof_left)
        } else {
            proof_right.push(left);
            (root, proof_right)
        }
    }

    #[test]
    fn each_entry_of_small_trees_is_proven_and_no_altered_proof_counts() {
        for size in 1..=17_u64 {
            let bodies: Vec<Vec<u8>> = (0..size).map(|number| vec![number as u8]).collect();
            for index in 0..size {
                let (root, proof) = tree(&bodies, index as usize);
                let body = &bodies[index as usize];
                assert_eq!(verify(body, index, size, &proof, &root), Ok(()), "{index} of {size}");
                assert!(verify(b"other", index, size, &proof, &root).is_err());
                assert!(verify(body, size, size, &proof, &root).is_err());
                assert!(verify(body, index, size, &[proof.clone(), vec![vec![0; 32]]].concat(), &root).is_err());
                for at in 0..proof.len() {
                    let mut altered = proof.clone();
                    altered[at][0] ^= 1;
                    assert!(verify(body, index, size, &altered, &root).is_err());
                    altered.remove(at);
                    assert!(verify(body, index, size, &altered, &root).is_err());
                }
            }
        }
    }
}
