//! Trees are those of `veritysetup format`, byte for byte, and `veritysetup verify` accepts them.

use std::fs;

use vmroot_verity::{Algorithm, Data, HashType, Options, Parameters, find_appended, format, parse_salt, verify};

use crate::tools::{Image, Numbers, needs_veritysetup, succeeded, veritysetup, veritysetup_format};

/// Numbers of blocks at which a level begins or ends, for 128 and 64 digests in a hash block.
const EDGES: [u64; 14] = [1, 2, 3, 63, 64, 65, 127, 128, 129, 255, 4096, 4097, 16_384, 16_385];
/// The number of images with random parameters.
const RANDOM: usize = 60;

fn compare(image: &Image, parameters: &Parameters) {
    let formatted = image.format(parameters).unwrap();
    let other = image.directory.path().join("other");
    let root_hash = veritysetup_format(&image.image(), &other, &formatted);
    assert_eq!(formatted.root_hash.to_string(), root_hash, "{parameters:?}");
    assert!(fs::read(image.tree()).unwrap() == fs::read(&other).unwrap(), "{parameters:?}");
    let verified = veritysetup().arg("verify").args([image.image(), image.tree()]).arg(&root_hash).output().unwrap();
    succeeded(verified);
    image.verify(&formatted.root_hash).unwrap();
    fs::remove_file(other).unwrap();
}

#[test]
fn trees_of_sizes_at_the_edges_of_levels() {
    if needs_veritysetup() {
        return;
    }
    let mut numbers = Numbers(7);
    for blocks in EDGES {
        compare(&Image::random(&mut numbers, blocks, 4096), &Parameters::default());
    }
}

#[test]
fn trees_with_random_parameters() {
    if needs_veritysetup() {
        return;
    }
    let mut numbers = Numbers(42);
    for _ in 0..RANDOM {
        let mut one_of = |values: &[u32]| values[numbers.below(values.len() as u64) as usize];
        let parameters = Parameters {
            algorithm: Algorithm::ALL[one_of(&[0, 1, 2]) as usize],
            hash_type: HashType::of_number(one_of(&[0, 1])).unwrap(),
            data_block: one_of(&[512, 1024, 4096, 8192]),
            hash_block: one_of(&[512, 1024, 4096, 8192]),
            salt: vec![0; one_of(&[0, 1, 16, 32, 256]) as usize],
        };
        let salt = numbers.bytes(parameters.salt.len());
        let (parameters, blocks) = (Parameters { salt, ..parameters }, 1 + numbers.below(700));
        compare(&Image::random(&mut numbers, blocks, parameters.data_block), &parameters);
    }
}

#[test]
fn a_tree_after_its_image() {
    if needs_veritysetup() {
        return;
    }
    let mut numbers = Numbers(5);
    for blocks in [1, 5, 128, 129, 1000] {
        let image = Image::random(&mut numbers, blocks, 4096);
        let copy = image.directory.path().join("copy");
        fs::copy(image.image(), &copy).unwrap();
        let file = Image::open(&image.image());
        let length = blocks * 4096;
        let data = Data::of_file(&file, length);
        let formatted = format(&data, &file, length, &Parameters::default(), None, &Options::default()).unwrap();
        assert_eq!(formatted.superblock.hash_start(length).unwrap(), blocks + 1);
        assert_eq!(veritysetup_format(&copy, &copy, &formatted), formatted.root_hash.to_string());
        assert!(fs::read(&copy).unwrap() == fs::read(image.image()).unwrap(), "{blocks} blocks");
        assert_eq!(find_appended(&file, formatted.end).unwrap(), Some(length));
        assert_eq!(find_appended(&file, length).unwrap(), None);
        let long = Data::of_file(&file, formatted.end);
        verify(&long, &file, length, &formatted.root_hash, &Options::default()).unwrap();
        let output = veritysetup()
            .args(["verify", &format!("--hash-offset={length}")])
            .args([image.image(), image.image()])
            .arg(formatted.root_hash.to_string())
            .output();
        succeeded(output.unwrap());
    }
}

#[test]
fn trees_of_veritysetup_with_a_random_salt_are_verified() {
    if needs_veritysetup() {
        return;
    }
    let image = Image::random(&mut Numbers(9), 300, 4096);
    let output = veritysetup().arg("format").args([image.image(), image.tree()]).output().unwrap();
    let text = succeeded(output);
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    let superblock = image.verify(&field("Root hash:").parse().unwrap()).unwrap();
    assert_eq!(superblock.uuid.to_string(), field("UUID:"));
    assert_eq!(superblock.parameters.salt, parse_salt(&field("Salt:")).unwrap());
    assert_eq!(superblock.data_blocks, 300);
}

#[test]
fn images_of_joined_files_have_the_tree_of_one_file() {
    let mut numbers = Numbers(3);
    let whole = Image::random(&mut numbers, 500, 4096);
    let expected = whole.format(&Parameters::default()).unwrap();
    let file = Image::open(&whole.image());
    let mut parts = Vec::new();
    let mut offset = 0;
    while offset < 500 * 4096 {
        // Also parts that are no whole number of blocks, and empty ones.
        let length = (numbers.below(300) * 1024).min(500 * 4096 - offset);
        parts.push(vmroot_verity::Part { file: &file, offset, length, leaves: None });
        offset += length;
    }
    let tree = tempfile::tempfile().unwrap();
    let joined = format(&Data::new(parts), &tree, 0, &Parameters::default(), None, &Options::default()).unwrap();
    assert_eq!(joined, expected);
}
