//! Hostile tars. Each gives an error with the name of the entry, and leaves no files.

use vmroot_layer_index::{BuildOptions, Error, build};
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::layer::{Encoding, Entry, Layer};
use vmroot_testkit::tar_builder::{Field, Header, Magic, PaxRecords, SparseForm, TarBuilder, typeflag};

use crate::stack::{Stack, build_error, lookup};

fn file(name: impl AsRef<[u8]>) -> Header {
    Header::new(Magic::Ustar, typeflag::FILE).name(name.as_ref())
}

/// Returns the tar of a harmless file and these entries.
fn tar_with(entries: &[Entry]) -> Vec<u8> {
    let layer = Layer::new([Entry::file("harmless", "x")].into_iter().chain(entries.iter().cloned()));
    layer.to_tar(&Encoding::default())
}

/// Builds a layer that must fail, and returns the error message.
#[track_caller]
fn error_message(tar: impl AsRef<[u8]>) -> String {
    build_error(tar).to_string()
}

#[track_caller]
fn assert_refused(entries: &[Entry], message: &str) {
    assert_eq!(error_message(tar_with(entries)), message);
}

/// Returns the tar of a file with PAX records before its header.
fn with_records(records: PaxRecords) -> Vec<u8> {
    let mut tar = TarBuilder::new();
    tar.pax(&records).entry(file("evil"), b"data");
    tar.finish()
}

#[test]
fn names_that_leave_the_root_are_refused() {
    for name in ["../evil", "a/../../evil", "/../evil", "a/..", ".."] {
        assert_refused(&[Entry::file(name, "x")], &format!("layer entry {name:?}: a path with \"..\" in it"));
        let links = format!("layer entry \"l\": hard link to {name:?}: a path with \"..\" in it");
        assert_refused(&[Entry::hard_link("l", name)], &links);
    }
    let stack =
        Stack::build(&[tar_with(&[Entry::file("///etc/./passwd", "x"), Entry::symlink("s", "/../../etc/shadow")])]);
    let root = stack.unwrap().root().unwrap();
    assert!(lookup(&root, "etc/passwd").is_some(), "an absolute name begins at the root of the layer");
}

#[test]
fn symbolic_links_do_not_leave_the_root() {
    let entries = [
        Entry::symlink("up", "../../../../.."),
        Entry::symlink("abs", "/"),
        Entry::file("up/evil", "1"),
        Entry::file("abs/evil2", "2"),
        Entry::whiteout("up/hidden"),
    ];
    let root = Stack::build(&[tar_with(&entries)]).unwrap().root().unwrap();
    assert!(lookup(&root, "evil").is_some() && lookup(&root, "evil2").is_some());
    let loops = [Entry::symlink("a", "b"), Entry::symlink("b", "a"), Entry::file("a/evil", "x")];
    assert_refused(&loops, "layer entry \"a/evil\": its path leads through more than 40 symbolic links");
    let file = [Entry::file("f", "x"), Entry::file("f/evil", "x")];
    assert_refused(&file, "layer entry \"f/evil\": its parent \"f\" is not a directory");
    let whiteout = [Entry::symlink("w", ".wh.x"), Entry::file("w/evil", "x")];
    assert_refused(&whiteout, "layer entry \"w/evil\": its parent \".wh.x\" is a whiteout");
}

#[test]
fn the_total_length_of_followed_links_is_limited() {
    // The parents alternate between two long chains of links. Without a limit, every entry of 512 bytes takes
    // milliseconds.
    let padding = "./".repeat(2000);
    let mut entries = vec![Entry::directory("d")];
    for name in ["a", "b"] {
        for link in 0..39 {
            entries.push(Entry::symlink(format!("{name}{link}"), format!("{padding}{name}{}", link + 1)));
        }
        entries.push(Entry::symlink(format!("{name}39"), format!("{padding}d")));
    }
    entries.extend((0..2000).map(|number| Entry::file(format!("{}0/f", ["a", "b"][number % 2]), "")));
    let message = error_message(tar_with(&entries));
    assert!(message.ends_with("lead through more than 268435456 bytes of symbolic links"), "{message}");
}

#[test]
fn hard_links_to_invalid_targets_are_refused() {
    assert_refused(
        &[Entry::directory("d"), Entry::hard_link("evil", "d")],
        "layer entry \"evil\": hard link to \"d\": the target is a directory",
    );
    assert_refused(
        &[Entry::hard_link("evil", "/")],
        "layer entry \"evil\": hard link to \"/\": the target is a directory",
    );
    // The merge reports this, since the target may be a lower file that the directory replaces.
    let early = Stack::build(&[tar_with(&[Entry::hard_link("x/evil", "./d"), Entry::directory("d")])]).unwrap();
    assert_eq!(
        early.root().unwrap_err().full_message(),
        "hard link \"x/evil\": its target \"d\" is neither in its layer nor in a lower one"
    );
    let circle = "hard link \"evil\": its target \"b\" is neither in its layer nor in a lower one";
    assert_refused(&[Entry::hard_link("evil", "b"), Entry::hard_link("b", "evil")], circle);
    let mut replaced = vec![Entry::hard_link("evil", "evil"), Entry::file("evil", "x")];
    assert!(Stack::build(&[tar_with(&replaced)]).is_ok(), "a replaced circular link is harmless");
    replaced.reverse();
    assert!(Stack::build(&[tar_with(&replaced)]).is_ok(), "a link to the file that it replaces has no effect");
}

#[test]
fn invalid_names_are_refused() {
    let long = "n".repeat(256);
    assert_refused(&[Entry::file(&long, "x")], &format!("layer entry {long:?}: a name of 256 bytes, 255 at most"));
    assert!(Stack::build(&[tar_with(&[Entry::file(&long[1..], "x")])]).is_ok());
    assert_refused(&[Entry::fifo("/")], "layer entry \"/\": the root is not a directory");
    assert_refused(&[Entry::whiteout("d/")], "layer entry \"d/.wh.\": \"\" is not a name");
    assert_refused(&[Entry::whiteout("d/..")], "layer entry \"d/.wh...\": \"..\" is not a name");
    assert_refused(&[Entry::file("d/.wh.x/evil", "x")], "layer entry \"d/.wh.x/evil\": it lies below a whiteout");
    let nul = error_message(with_records(PaxRecords::new().record("path", "e\0vil")));
    assert_eq!(nul, "layer entry \"e\\0vil\": a name with a NUL in it");
    let target = |length| Entry::symlink("evil", "t".repeat(length));
    assert!(Stack::build(&[tar_with(&[target(4095)])]).is_ok());
    let message = "layer entry \"evil\": a symbolic link to 4096 bytes, expected 1 to 4095 without NUL";
    assert_refused(&[target(4096)], message);
    assert!(error_message(tar_with(&[Entry::symlink("evil", "")])).contains("a symbolic link to 0 bytes"));
}

#[test]
fn the_depth_of_directories_is_limited() {
    let deep = |levels| tar_with(&[Entry::file(format!("{}f", "d/".repeat(levels)), "x")]);
    let stack = Stack::build(&[deep(4000), deep(4096)]).unwrap();
    let root = stack.root().unwrap();
    assert_eq!(root.inode_count(), 1 + 1 + 4096 + 2);
    assert_eq!(stack.listing(&root).rows.len(), 4096 + 3);
    assert!(error_message(deep(4097)).ends_with("more than 4096 nested directories"));
    // The target of each link is nested 1100 levels deep.
    let mut entries = vec![];
    for level in 0..4 {
        entries.push(Entry::symlink(format!("{}l", "l/".repeat(level)), "d/".repeat(1100)));
    }
    entries.push(Entry::file("l/l/l/l/evil", "x"));
    assert!(error_message(tar_with(&entries)).ends_with("more than 4096 nested directories"));
}

#[test]
fn numbers_out_of_range_are_refused() {
    let header = |field, value| {
        let mut tar = TarBuilder::new();
        tar.header(&file("evil").base_256(field, value));
        error_message(tar.finish())
    };
    let at = "invalid tar header at byte 0, entry \"evil\": ";
    assert_eq!(header(Field::SIZE, -1), format!("{at}a size of -1"));
    assert_eq!(
        header(Field::SIZE, i128::from(i64::MAX)),
        "layer entry \"evil\": more than 2199023255552 bytes of files (the limit max_expanded)"
    );
    assert_eq!(header(Field::UID, 1 << 32), format!("{at}a uid of 4294967296"));
    assert_eq!(header(Field::GID, -1), format!("{at}a gid of -1"));
    assert_eq!(header(Field::SIZE, 1 << 80), "invalid tar header at byte 0: the size field is not a number");
    assert_eq!(header(Field::MTIME, -(1 << 80)), "invalid tar header at byte 0: the mtime field is not a number");
    let mut tar = TarBuilder::new();
    tar.header(&file("evil").field(Field::MODE, b"rwxr-xr-x"));
    assert_eq!(error_message(tar.finish()), "invalid tar header at byte 0: the mode field is not a number");
    for (major, minor) in [(4096, 0), (0, 1 << 20)] {
        let mut tar = TarBuilder::new();
        tar.header(&Header::new(Magic::Ustar, typeflag::CHAR_DEVICE).name(b"evil").device(major, minor));
        assert_eq!(
            error_message(tar.finish()),
            format!("{at}device number {major}:{minor} is out of the kernel's range")
        );
    }
    for (key, value) in [
        ("size", "-1"),
        ("size", "18446744073709551616"),
        ("size", "0x10"),
        ("uid", "4294967296"),
        ("gid", " 1"),
        ("mtime", "1e9"),
        ("mtime", "9223372036854775808"),
        ("GNU.sparse.major", "one"),
    ] {
        let message = error_message(with_records(PaxRecords::new().record(key, value)));
        assert!(message.ends_with(&format!("the PAX record {key}={value} has an invalid value")), "{message}");
    }
    let huge = error_message(with_records(PaxRecords::new().record("size", u64::MAX.to_string())));
    assert!(huge.contains("evil"), "{huge}");
}

#[test]
fn ambiguous_headers_are_refused() {
    let mut tar = TarBuilder::new();
    tar.pax(&PaxRecords::new().record("path", "good")).gnu_long_name(b"evil").entry(file("x"), b"");
    assert!(error_message(tar.finish()).ends_with("entry \"x\": its PAX and GNU long names differ"));
    for (key, value) in [("path", "evil"), ("linkpath", "evil"), ("size", "0"), ("GNU.sparse.name", "evil")] {
        let mut tar = TarBuilder::new();
        tar.global_pax(&PaxRecords::new().record(key, value)).entry(file("x"), b"");
        let message = error_message(tar.finish());
        assert!(message.contains("a global PAX header sets"), "{message}");
    }
    let sparse_name = error_message(with_records(PaxRecords::new().record("GNU.sparse.name", "other")));
    assert!(sparse_name.ends_with("entry \"evil\": GNU.sparse.name on an entry that is not sparse"));
    let mut tar = TarBuilder::new();
    tar.pax(&PaxRecords::new().record("path", "x")).global_pax(&PaxRecords::new().record("uid", "1"));
    assert!(error_message(tar.finish()).ends_with("an extended header belongs to no entry"));
    let mut tar = TarBuilder::new();
    tar.gnu_long_name(b"x");
    assert!(error_message(tar.finish()).ends_with("the tar ends after an extended header"));
    let mut tar = TarBuilder::new();
    tar.entry(Header::new(Magic::Ustar, b'M').name(b"evil"), b"");
    assert!(error_message(tar.finish()).ends_with("entry \"evil\": an entry of the unknown type 'M'"));
}

#[test]
fn malformed_pax_records_are_refused() {
    for records in
        ["", "5 a\n", "99 path=x\n", "x path=y\n", "9 path=x ", "0 a=b\n", "18446744073709551615 a=b\n", "6 =xy\n"]
    {
        let message = error_message(with_records(PaxRecords::new().raw(records.as_bytes()).raw(b"\0\0\0")));
        assert!(message.contains("a PAX record is malformed"), "{message}");
    }
}

#[test]
fn invalid_sparse_maps_are_refused() {
    let sparse = |records: PaxRecords, stored: &[u8]| {
        let mut tar = TarBuilder::new();
        tar.pax(&records).entry(file("evil"), stored);
        error_message(tar.finish())
    };
    let map = |map: &str| PaxRecords::new().record("GNU.sparse.size", "100").record("GNU.sparse.map", map);
    let order = "the map of the sparse file is not in order, or leaves the file";
    for bad in ["50,10,40,10", "95,10", "18446744073709551615,1", "0,10,5,10"] {
        let message = sparse(map(bad), &[0; 20]);
        assert!(message.ends_with(order), "{bad}: {message}");
    }
    assert!(sparse(map("0,10"), &[0; 20]).ends_with("has 10 bytes of data, the archive 20"));
    assert!(sparse(map("0,10,20"), &[0; 10]).ends_with("is not in pairs"));
    assert!(sparse(PaxRecords::new().record("GNU.sparse.map", "0,10"), &[0; 10]).ends_with("without its real size"));
    assert!(sparse(map("0,10").record("GNU.sparse.major", "2"), &[0; 10]).ends_with("of an unknown PAX form"));

    let version_1 = || {
        let records = PaxRecords::new().record("GNU.sparse.major", "1").record("GNU.sparse.minor", "0");
        records.record("GNU.sparse.realsize", "100").record("GNU.sparse.name", "evil")
    };
    for bad in ["1\n", "99999999\n", "x\n", "1\n0\n-1\n", &"1".repeat(512)] {
        let message = sparse(version_1(), &[bad.as_bytes(), &[0; 512][bad.len()..]].concat());
        assert!(message.contains("entry \"evil\": the map of the sparse file"), "{bad}: {message}");
    }
    assert!(sparse(version_1(), &[b'1'; 100]).ends_with("ends early"));

    let old = |header: Header| {
        let mut tar = TarBuilder::new();
        tar.header(&header);
        error_message(tar.finish_unterminated())
    };
    let header = Header::new(Magic::Gnu, typeflag::GNU_SPARSE).name(b"evil");
    assert!(old(header.clone().base_256(Field::GNU_REAL_SIZE, -1)).ends_with("has invalid numbers"));
    assert!(old(header.clone().field(Field::GNU_IS_EXTENDED, &[1])).contains("the tar ends inside the entry"));
    assert!(old(Header::new(Magic::Ustar, typeflag::GNU_SPARSE).name(b"evil")).ends_with("without a GNU header"));
}

#[test]
fn sparse_bombs_are_refused() {
    let bomb = |size: u64, form| {
        let layer = Layer::new([Entry::sparse_file("evil", size, vec![])]);
        layer.to_tar(&Encoding { sparse: form, ..Encoding::default() })
    };
    for form in [SparseForm::OldGnu, SparseForm::Pax00, SparseForm::Pax01, SparseForm::Pax10] {
        for size in [(2 << 40) + 1, 1 << 62, i64::MAX as u64] {
            match build_error(bomb(size, form)) {
                Error::Limit { entry, name: "max_expanded", limit: 2_199_023_255_552, .. } => assert_eq!(entry, "evil"),
                other => panic!("{other}"),
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let options = BuildOptions { max_expanded: u64::MAX, ..BuildOptions::default() };
        let error = build(bomb(u64::MAX >> 1, form).as_slice(), directory.path(), &options).unwrap_err();
        assert!(matches!(error, Error::Limit { name: "max_expanded", .. }), "{error}");
    }
    // The limit is for the total of all files.
    let halves = Layer::new((0..3).map(|number| Entry::sparse_file(format!("half-{number}"), 1 << 20, vec![])));
    let options = BuildOptions { max_expanded: 2 << 20, ..BuildOptions::default() };
    let directory = tempfile::tempdir().unwrap();
    let tar = halves.to_tar(&Encoding { sparse: SparseForm::Pax10, ..Encoding::default() });
    let error = build(tar.as_slice(), directory.path(), &options).unwrap_err();
    assert!(error.full_message().starts_with("layer entry \"half-2\": more than 2097152 bytes"), "{error}");
}

/// Only blocks that are not zero count, for every tar format and buffer size.
#[test]
fn max_contents_limits_the_stored_blocks() {
    const BLOCK: usize = 4096;
    let mixed = [vec![0; 5 * BLOCK], vec![1; 3 * BLOCK], vec![0; 700 * BLOCK], b"end".to_vec()].concat();
    let layer = Layer::new([
        Entry::file("mixed", &mixed),
        Entry::sparse_file("sparse", 1 << 30, vec![(BLOCK as u64, vec![0; BLOCK]), (1 << 29, vec![2; 2 * BLOCK])]),
        Entry::file("small", "1"),
        Entry::file("empty", ""),
    ]);
    let stored = (3 + 1 + 2 + 1) * BLOCK as u64;
    let tar = layer.to_tar(&Encoding { sparse: SparseForm::Pax10, ..Encoding::default() });
    let directory = tempfile::tempdir().unwrap();
    for capacity in [100, BLOCK, 5000, 1 << 20] {
        let built = |max_contents| {
            let options = BuildOptions { max_contents, ..BuildOptions::default() };
            build(std::io::BufReader::with_capacity(capacity, tar.as_slice()), directory.path(), &options)
        };
        built(stored).unwrap();
        let error = built(stored - 1).unwrap_err();
        assert!(matches!(&error, Error::Limit { entry, name: "max_contents", .. } if entry == "small"), "{error}");
        let error = built(4 * BLOCK as u64).unwrap_err();
        assert!(matches!(&error, Error::Limit { entry, name: "max_contents", .. } if entry == "sparse"), "{error}");
    }
}

/// Directories that markers create cost as much as entries.
#[test]
fn directories_that_only_markers_name_are_counted() {
    let deep = "d/".repeat(100);
    let layer = Layer::new((0..50).map(|number| Entry::whiteout(format!("{number}/{deep}x"))));
    let options = BuildOptions { max_entries: 1000, ..BuildOptions::default() };
    let directory = tempfile::tempdir().unwrap();
    let error = build(layer.to_tar(&Encoding::default()).as_slice(), directory.path(), &options).unwrap_err();
    assert!(matches!(&error, Error::Limit { name: "max_entries", limit: 1000, .. }), "{error}");
}

#[test]
fn damaged_archives_are_refused() {
    let mut tar = TarBuilder::new();
    tar.entry(file("good"), b"x").raw(&file("evil").to_block_corrupt());
    assert_eq!(error_message(tar.finish()), "invalid tar header at byte 1024: the checksum is wrong");
    let mut tar = TarBuilder::new();
    tar.entry(file("good"), b"x").raw(&[0; 512]).entry(file("evil"), b"x");
    assert_eq!(error_message(tar.finish()), "invalid tar header at byte 1024: a lone zero block");
    let mut tar = TarBuilder::new();
    tar.raw(&[b'x'; 512]);
    assert_eq!(error_message(tar.finish()), "not a tar; it seems to be text");
}

#[test]
fn truncated_archives_are_refused() {
    let layer = Layer::new([
        Entry::file("n".repeat(200), vec![b'x'; 1500]).xattr("user.a", "b"),
        Entry::sparse_file("sparse", 900_000, (0..30).map(|run| (run * 30_000, vec![1; 700])).collect()),
        Entry::directory("d"),
        Entry::hard_link("h", "sparse"),
    ]);
    for sparse in SparseForm::ALL {
        let tar = layer.to_tar(&Encoding { sparse, ..Encoding::default() });
        // Cuts at each block boundary, and one byte before and after it.
        let cuts = (0..tar.len() - 1024).step_by(512).flat_map(|cut| [cut.saturating_sub(1), cut, cut + 1]);
        for cut in cuts {
            let directory = tempfile::tempdir().unwrap();
            match build(&tar[..cut], directory.path(), &BuildOptions::default()) {
                // An archive may end where an entry could begin. Only its diff id shows that it is truncated.
                Ok(built) => assert!(cut % 512 == 0 && built.tar_length == cut as u64, "cut at {cut}"),
                Err(Error::InvalidTar { reason, .. }) => assert!(reason.starts_with("the tar ends"), "{reason}"),
                Err(Error::NotATar { .. }) => assert!(cut < 512, "cut at {cut}"),
                Err(other) => panic!("cut at {cut}: {other}"),
            }
        }
    }
}

#[test]
fn metadata_is_limited() {
    let long = |length: usize| with_records(PaxRecords::new().record("comment", "c".repeat(length)));
    assert!(Stack::build(&[long((1 << 20) - 100)]).is_ok());
    let message = error_message(long(1 << 20));
    assert!(message.ends_with("more than 1048576 bytes of extended headers (the limit max_metadata)"), "{message}");
    let mut tar = TarBuilder::new();
    for _ in 0..3 {
        tar.pax(&PaxRecords::new().record("comment", "c".repeat(400_000)));
    }
    assert!(error_message(tar.entry(file("evil"), b"").clone().finish()).contains("the limit max_metadata"));
    // The size in a header may be larger than memory.
    let mut tar = TarBuilder::new();
    tar.header(&Header::new(Magic::Gnu, typeflag::GNU_LONG_NAME).name(b"evil").size(1 << 62));
    assert!(error_message(tar.finish()).contains("the limit max_metadata"));

    let xattr = |name: &str, length: usize| tar_of(Entry::file("evil", "").xattr(name, vec![7; length]));
    assert!(Stack::build(&[xattr("user.a", 65_536)]).is_ok());
    assert!(error_message(xattr("user.a", 65_537)).contains("invalid xattr \"user.a\" of 65537 bytes"));
    assert!(error_message(xattr(&"n".repeat(256), 1)).contains("invalid xattr"));
    assert!(error_message(with_records(PaxRecords::new().schily_xattr(b"", b"x"))).contains("invalid xattr"));
    assert!(error_message(with_records(PaxRecords::new().schily_xattr(b"a\0b", b"x"))).contains("invalid xattr"));

    let few = BuildOptions { max_entries: 10, max_names: 1000, ..BuildOptions::default() };
    let built = |entries: Vec<Entry>| {
        let directory = tempfile::tempdir().unwrap();
        build(tar_with(&entries).as_slice(), directory.path(), &few).map(drop).map_err(|error| error.full_message())
    };
    let files = |count| (1..count).map(|number| Entry::file(format!("f{number}"), "")).collect();
    assert_eq!(built(files(10)), Ok(()));
    assert_eq!(built(files(11)).unwrap_err(), "layer entry \"f10\": more than 10 entries (the limit max_entries)");
    // Directories that only paths imply count as well.
    let implied = vec![Entry::file("a/b/c/d/e/f/g/h/i/j/k", ""), Entry::file("evil", "")];
    assert_eq!(built(implied).unwrap_err(), "layer entry \"evil\": more than 10 entries (the limit max_entries)");
    let names = vec![Entry::symlink("s", "t".repeat(1000)), Entry::file("evil", "")];
    let message = "layer entry \"evil\": more than 1000 bytes of names, links and xattrs (the limit max_names)";
    assert_eq!(built(names).unwrap_err(), message);
}

fn tar_of(entry: Entry) -> Vec<u8> {
    Layer::new([entry]).to_tar(&Encoding::default())
}

#[test]
fn random_changes_do_not_panic() {
    // Changed bytes in valid headers. Any result is accepted except a panic.
    use proptest::prelude::*;
    let blocks = proptest::collection::vec((0..512_usize, any::<u8>(), 0..8_usize), 0..6);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) };
    let directory = tempfile::tempdir().unwrap();
    let encoding = vmroot_testkit::arbitrary::encoding();
    proptest::test_runner::TestRunner::new(config)
        .run(&(vmroot_testkit::arbitrary::layer(), encoding, blocks), |(layer, encoding, changes)| {
            let mut tar = layer.to_tar(&encoding);
            for (at, value, block) in changes {
                let start = block * 512 % tar.len();
                tar[start + at] = value;
                // With a correct checksum, the other fields are reached.
                tar[start + 148..start + 156].fill(b' ');
                let sum: u32 = tar[start..start + 512].iter().map(|&byte| u32::from(byte)).sum();
                tar[start + 148..start + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
            let options = BuildOptions { max_expanded: 1 << 24, ..BuildOptions::default() };
            if let Ok(built) = build(tar.as_slice(), directory.path(), &options) {
                let index = vmroot_layer_index::Index::open(&built.publish().unwrap()).unwrap();
                let _ = crate::stack::merged(None, &[&index]);
            }
            Ok(())
        })
        .unwrap();
}
