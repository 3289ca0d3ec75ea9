//! Each changed bit of an image or a tree is found, and the first wrong block is named.

use std::fs;

use vmroot_verity::{Algorithm, Error, Fault, HashType, Parameters};

use crate::tools::{Image, Numbers, needs_veritysetup, veritysetup};

/// The number of changed bits.
const BITS: usize = 1000;
/// One of so many changed bits is also checked by `veritysetup`.
const SAMPLE: usize = 10;

fn fault(error: Error) -> Fault {
    match error {
        Error::Corrupt(fault) => fault,
        other => panic!("{other}"),
    }
}

/// Changes bits of an image and of its tree, and compares the verdicts.
fn flip_bits(parameters: &Parameters, blocks: u64, count: usize, seed: u64) {
    let mut numbers = Numbers(seed);
    let image = Image::random(&mut numbers, blocks, parameters.data_block);
    let formatted = image.format(parameters).unwrap();
    let hash_block = u64::from(parameters.hash_block);
    // The superblock, and the rest of its block, are not authenticated.
    let first = formatted.superblock.hash_start(0).unwrap();
    let tree_bits = (fs::metadata(image.tree()).unwrap().len() - first * hash_block) * 8;
    for number in 0..count {
        let in_tree = number % 4 == 0 && tree_bits > 0;
        let (path, bit) = match in_tree {
            true => (image.tree(), first * hash_block * 8 + numbers.below(tree_bits)),
            false => (image.image(), numbers.below(blocks * u64::from(parameters.data_block) * 8)),
        };
        Image::flip(&path, bit);
        let found = fault(image.verify(&formatted.root_hash).unwrap_err());
        let byte = bit / 8;
        match in_tree {
            false => assert_eq!(found, Fault::DataBlock(byte / u64::from(parameters.data_block))),
            true if byte / hash_block == first => assert_eq!(found, Fault::Root),
            true => assert_eq!(found, Fault::HashBlock(byte / hash_block)),
        }
        if number % SAMPLE == 0 && !needs_veritysetup() {
            let root_hash = formatted.root_hash.to_string();
            let verified = veritysetup().arg("verify").args([image.image(), image.tree()]).arg(root_hash).output();
            assert!(!verified.unwrap().status.success(), "bit {bit}");
        }
        Image::flip(&path, bit);
    }
    image.verify(&formatted.root_hash).unwrap();
}

#[test]
fn each_changed_bit_is_found_and_its_block_is_named() {
    flip_bits(&Parameters::default(), 300, BITS, 11);
}

#[test]
fn changed_bits_of_other_trees_are_found() {
    for algorithm in Algorithm::ALL {
        for hash_type in [HashType::ChromeOs, HashType::Normal] {
            let parameters =
                Parameters { algorithm, hash_type, data_block: 1024, hash_block: 512, ..Default::default() };
            flip_bits(&parameters, 150, 40, 12);
        }
    }
}

#[test]
fn the_first_of_several_wrong_blocks_is_named() {
    let image = Image::random(&mut Numbers(1), 1000, 4096);
    let formatted = image.format(&Parameters::default()).unwrap();
    for block in [999, 640, 130, 129, 3] {
        Image::flip(&image.image(), block * 4096 * 8 + 5);
        assert_eq!(fault(image.verify(&formatted.root_hash).unwrap_err()), Fault::DataBlock(block));
    }
}

#[test]
fn a_single_block_is_its_own_tree() {
    let image = Image::random(&mut Numbers(2), 1, 4096);
    let formatted = image.format(&Parameters::default()).unwrap();
    image.verify(&formatted.root_hash).unwrap();
    Image::flip(&image.image(), 77);
    assert_eq!(fault(image.verify(&formatted.root_hash).unwrap_err()), Fault::DataBlock(0));
}

#[test]
fn other_root_hashes_and_short_images_are_refused() {
    let image = Image::random(&mut Numbers(4), 200, 4096);
    let formatted = image.format(&Parameters::default()).unwrap();
    let zeros = "0".repeat(64).parse().unwrap();
    assert_eq!(fault(image.verify(&zeros).unwrap_err()), Fault::Root);
    let short = "00".parse().unwrap();
    assert!(matches!(image.verify(&short), Err(Error::RootHashLength { length: 1, .. })));
    Image::open(&image.image()).set_len(199 * 4096).unwrap();
    assert!(matches!(image.verify(&formatted.root_hash), Err(Error::ShortImage { .. })));
    Image::open(&image.image()).set_len(200 * 4096).unwrap();
    Image::open(&image.tree()).set_len(2 * 4096).unwrap();
    assert!(matches!(image.verify(&formatted.root_hash), Err(Error::Tree(_))));
}

#[test]
fn images_without_whole_blocks_are_refused() {
    let error = Image::of(&[1; 5000]).format(&Parameters::default()).unwrap_err();
    assert!(matches!(error, Error::PartialBlock { length: 5000, block: 4096 }));
    assert!(matches!(Image::of(b"").format(&Parameters::default()), Err(Error::Empty)));
    let odd = Parameters { data_block: 5000, ..Parameters::default() };
    assert!(matches!(Image::of(&[1; 5000]).format(&odd), Err(Error::BlockSize { size: 5000 })));
    let salted = Parameters { salt: vec![0; 257], ..Parameters::default() };
    assert!(matches!(Image::of_zeros(1).format(&salted), Err(Error::LongSalt { length: 257 })));
}
