//! Kept digests give the same tree, and wrong files of them are not used.

use std::fs;
use std::os::unix::fs::FileExt;

use vmroot_verity::{Algorithm, Data, Error, KnownRange, Leaves, Options, Parameters, Part, format};

use crate::tools::{Image, Numbers};

const PAGE: &str = include_str!("../../../../docs/formats/leaves.md");

fn leaves(image: &Image, parameters: &Parameters) -> Leaves {
    let (from, to) = (Image::open(&image.image()), Image::open(&image.directory.path().join("leaves")));
    let length = from.metadata().unwrap().len();
    Leaves::create(&from, length, to, parameters, &Options::default()).unwrap()
}

fn root_hash(parts: Vec<Part<'_>>, parameters: &Parameters) -> String {
    let tree = tempfile::tempfile().unwrap();
    format(&Data::new(parts), &tree, 0, parameters, None, &Options::default()).unwrap().root_hash.to_string()
}

#[test]
fn a_tree_of_kept_digests_is_the_same() {
    let mut numbers = Numbers(21);
    for algorithm in Algorithm::ALL {
        let parameters = Parameters { algorithm, ..Parameters::default() };
        for blocks in [1, 2, 128, 200] {
            let (head, base) = (Image::random(&mut numbers, 3, 4096), Image::random(&mut numbers, blocks, 4096));
            let kept = leaves(&base, &parameters);
            assert_eq!(kept.count(), blocks);
            let (head, base) = (Image::open(&head.image()), Image::open(&base.image()));
            let part = |file, blocks, leaves| Part { file, offset: 0, length: blocks * 4096, leaves };
            let parts = |leaves| vec![part(&head, 3, None), part(&base, blocks, leaves), part(&head, 3, None)];
            assert_eq!(root_hash(parts(Some(&kept)), &parameters), root_hash(parts(None), &parameters));
        }
    }
}

/// Ranges of an image in any order, which begin and end inside of the kept digests.
#[test]
fn a_tree_of_known_ranges_is_the_same() {
    let mut numbers = Numbers(26);
    let (image, base) = (Image::random(&mut numbers, 400, 4096), Image::random(&mut numbers, 300, 4096));
    let kept = leaves(&base, &Parameters::default());
    let bytes = fs::read(base.image()).unwrap();
    let file = Image::open(&image.image());
    let mut known = Vec::new();
    for (start, first, blocks) in [(390, 299, 1), (0, 7, 3), (3, 100, 130), (200, 0, 50), (250, 290, 10)] {
        let part = &bytes[first * 4096..(first + blocks) * 4096];
        file.write_all_at(part, start * 4096).unwrap();
        let range = KnownRange { start: start * 4096, length: part.len() as u64, leaves: &kept, first: first as u64 };
        known.push(range);
    }
    let expected = image.format(&Parameters::default()).unwrap().root_hash;
    // Blocks with known digests are not read.
    for range in &known {
        file.write_all_at(&vec![0x55; range.length as usize], range.start).unwrap();
    }
    let (tree, data) = (tempfile::tempfile().unwrap(), Data::of_file(&file, 400 * 4096).with_known(known));
    let formatted = format(&data, &tree, 0, &Parameters::default(), None, &Options::default()).unwrap();
    assert_eq!(formatted.root_hash, expected);
    assert!(vmroot_verity::verify(&data, &tree, 0, &expected, &Options::default()).is_err(), "all blocks are verified");
}

#[test]
fn kept_digests_are_used_and_those_of_another_salt_are_not() {
    let image = Image::random(&mut Numbers(22), 50, 4096);
    let kept = leaves(&image, &Parameters::default());
    // With another file than the hashed one, the tree shows which digests were used.
    let other = Image::of_zeros(50);
    let (image, other) = (Image::open(&image.image()), Image::open(&other.image()));
    let part = |file, leaves| vec![Part { file, offset: 0, length: 50 * 4096, leaves }];
    let parameters = Parameters::default();
    assert_eq!(root_hash(part(&other, Some(&kept)), &parameters), root_hash(part(&image, None), &parameters));
    let salted = Parameters { salt: vec![1], ..Parameters::default() };
    assert_eq!(root_hash(part(&other, Some(&kept)), &salted), root_hash(part(&other, None), &salted));
}

#[test]
fn a_file_of_digests_is_verified_against_its_file() {
    let image = Image::random(&mut Numbers(23), 150, 4096);
    let kept = leaves(&image, &Parameters::default());
    let file = Image::open(&image.image());
    assert!(kept.verify(&file, 150 * 4096, &Options::default()).unwrap());
    assert!(!kept.verify(&file, 149 * 4096, &Options::default()).unwrap());
    Image::flip(&image.image(), 140 * 4096 * 8);
    assert!(!kept.verify(&file, 150 * 4096, &Options::default()).unwrap());
}

#[test]
fn each_changed_byte_of_a_file_of_digests_is_found() {
    let image = Image::random(&mut Numbers(24), 3, 4096);
    drop(leaves(&image, &Parameters::default()));
    let path = image.directory.path().join("leaves");
    let length = fs::metadata(&path).unwrap().len();
    assert_eq!(length, 512 + 3 * 32 + 32);
    Leaves::open(Image::open(&path)).unwrap();
    for byte in 0..length {
        Image::flip(&path, byte * 8 + byte % 8);
        assert!(matches!(Leaves::open(Image::open(&path)), Err(Error::NotLeaves)), "byte {byte}");
        Image::flip(&path, byte * 8 + byte % 8);
    }
    let bytes = fs::read(&path).unwrap();
    for length in [0, 8, 511, 512, 600, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        assert!(matches!(Leaves::open(Image::open(&path)), Err(Error::NotLeaves)), "{length} bytes");
    }
}

#[test]
fn the_page_has_the_offsets_of_the_header() {
    let parameters = Parameters { salt: vec![0xaa; 3], ..Parameters::default() };
    let image = Image::random(&mut Numbers(25), 9, 4096);
    drop(leaves(&image, &parameters));
    let bytes = fs::read(image.directory.path().join("leaves")).unwrap();
    let expected: [(&str, &[u8]); 10] = [
        ("magic", b"vmrleaf1"),
        ("version", &[1, 0, 0, 0]),
        ("hash type", &[1, 0, 0, 0]),
        ("zeros", &[0; 16]),
        ("algorithm", b"sha256\0"),
        ("block size", &[0, 16, 0, 0]),
        ("unused", &[0, 16, 0, 0]),
        ("blocks", &[9, 0, 0, 0, 0, 0, 0, 0]),
        ("salt length", &[3, 0]),
        ("salt", &[0xaa, 0xaa, 0xaa, 0]),
    ];
    let rows: Vec<Vec<&str>> = PAGE
        .lines()
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .filter(|cells: &Vec<&str>| cells.first().is_some_and(|cell| cell.parse::<usize>().is_ok()))
        .collect();
    let listed: Vec<&str> = rows.iter().map(|cells| cells[2]).collect();
    for (name, value) in expected {
        let row = rows.iter().find(|cells| cells[2] == name).unwrap_or_else(|| panic!("{name} in {listed:?}"));
        let at: usize = row[0].parse().unwrap();
        assert_eq!(&bytes[at..at + value.len()], value, "{name}");
    }
    assert_eq!(rows.len(), expected.len() + 1, "{listed:?}");
    assert_eq!(rows.last().unwrap()[..3], ["512", "blocks × digest", "digests"]);
}
