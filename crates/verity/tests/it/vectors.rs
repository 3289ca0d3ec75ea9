//! Root hashes and lengths of trees over zeros, as `veritysetup` 2.8.8 writes them.

use std::fs;

use vmroot_verity::Parameters;

use crate::tools::Image;

/// Blocks, root hash, length of the tree with its superblock.
const VECTORS: [(u64, &str, u64); 5] = [
    (1, "2e534ef0107d592d1706ac38ad58596b85ef3375d360a6d669f974792df5cb5a", 4096),
    (128, "f66c183e247d6f5fff0f2e9250cd1a05a4bb083fbdad91767d9e396540ff8c13", 8192),
    (129, "35d7502c55320932d5e1f52c7d38699f8ba2df3409bb52d5b4ad5b6dce18d18c", 16_384),
    (16_384, "3235b5f780a614ac5bbf401ef92e63f2df6f5510d9832872eee24e48c397bda4", 532_480),
    (16_385, "594a4099b1262bc096c6354b2479b8ea70eb9a905588900787f181579ad65a16", 544_768),
];

#[test]
fn trees_over_zeros() {
    for (blocks, root_hash, length) in VECTORS {
        let image = Image::of_zeros(blocks);
        let formatted = image.format(&Parameters::default()).unwrap();
        assert_eq!(formatted.root_hash.to_string(), root_hash, "{blocks} blocks");
        assert_eq!(fs::metadata(image.tree()).unwrap().len(), length, "{blocks} blocks");
        assert_eq!(formatted.end, length);
        assert_eq!(image.verify(&formatted.root_hash).unwrap(), formatted.superblock);
    }
}

#[test]
fn a_tree_without_a_salt() {
    let parameters = Parameters { salt: Vec::new(), ..Parameters::default() };
    let formatted = Image::of_zeros(256).format(&parameters).unwrap();
    assert_eq!(formatted.root_hash.to_string(), "5d98121f8aeff2a38a3fffee013f85980078507a0ffbd99e5a8d616ecfe7db6a");
    assert_eq!(formatted.end, 16_384);
}
