//! Tests of the tar formats of old and current writers.

use vmroot_layer_index::{Index, InodeKind, Timestamp};
use vmroot_testkit::layer::{Dialect, Encoding, Entry, Layer, XattrForm};
use vmroot_testkit::tar_builder::{Field, Header, Magic, PaxRecords, SparseForm, TarBuilder, typeflag};

use crate::stack::{Stack, lookup, paths};

struct Root {
    stack: Stack,
    root: Index,
}

impl Root {
    fn of(tar: &[u8]) -> Self {
        let stack = Stack::build(&[tar]).unwrap();
        let root = stack.root().unwrap();
        Self { stack, root }
    }

    fn read(&self, path: &str) -> Vec<u8> {
        self.stack.read(&self.root, path)
    }

    fn paths(&self) -> Vec<String> {
        paths(&self.root).keys().map(|path| path.escape_ascii().to_string()).collect()
    }

    fn mtime(&self, path: &str) -> (i64, u32) {
        let Timestamp { seconds, nanoseconds } = self.root.inode(lookup(&self.root, path).unwrap()).mtime();
        (seconds, nanoseconds)
    }
}

fn file(name: &str) -> Header {
    Header::new(Magic::Ustar, typeflag::FILE).name(name.as_bytes())
}

#[test]
fn every_format_gives_the_same_root() {
    let long = format!("{}/{}", "d".repeat(120), "n".repeat(200));
    let middle = format!("{}/{}", "p".repeat(120), "m".repeat(90));
    let layer = Layer::new([
        Entry::file(&long, "long").owner(70_000, 3_000_000).mtime(-5, 7),
        Entry::file(&middle, "middle").mode(0o6711).mtime(1 << 33, 0),
        Entry::symlink("link", "t".repeat(3000)),
        Entry::hard_link("hard", &long),
        Entry::directory("dir/").mode(0o1777).xattr("user.x", "\0\n="),
        Entry::sparse_file("sparse", 1 << 20, vec![(5000, vec![1; 9000]), (500_000, vec![2; 1])]),
        Entry::sparse_file("runs", 300_000, (0..100).map(|run| (run * 3000 + 1, vec![run as u8; 1000])).collect()),
        Entry::sparse_file("hole", 5_000_001, vec![]),
        Entry::char_device("dev", 4095, 1_048_575).mtime(3, 999_999_999),
        Entry::block_device("disk", 8, 1),
        Entry::fifo("fifo"),
    ]);
    let reference = Stack::build(&[layer.to_tar(&Encoding::default())]).unwrap();
    let expected = reference.listing(&reference.root().unwrap());
    assert_eq!(expected.rows.len(), 13);
    for dialect in Dialect::ALL {
        for sparse in SparseForm::ALL {
            for xattrs in [XattrForm::Schily, XattrForm::Libarchive, XattrForm::Both] {
                let stack = Stack::build(&[layer.to_tar(&Encoding { dialect, sparse, xattrs })]).unwrap();
                expected.assert_same(&stack.listing(&stack.root().unwrap()));
            }
        }
    }
}

#[test]
fn holes_take_no_space() {
    let layer = Layer::new([Entry::sparse_file("hole", 1 << 29, vec![(1 << 28, b"x".to_vec())])]);
    let encoding = Encoding { sparse: SparseForm::Pax10, ..Encoding::default() };
    let stack = Stack::build(&[layer.to_tar(&encoding)]).unwrap();
    let contents = stack.path().join(format!("{}.contents", stack.layers[0].identity().hex()));
    let metadata = std::fs::metadata(contents).unwrap();
    assert_eq!(metadata.len(), 1 << 29);
    assert!(std::os::unix::fs::MetadataExt::blocks(&metadata) <= 128);
}

#[test]
fn a_file_of_the_old_type_with_a_trailing_slash_is_a_directory() {
    // If its data was not skipped, it would be read as headers.
    let smuggled = TarBuilder::new().entry(file("smuggled"), b"").clone().finish_unterminated();
    for magic in [Magic::V7, Magic::Ustar, Magic::Gnu] {
        let mut tar = TarBuilder::new();
        tar.entry(Header::new(magic, typeflag::OLD_FILE).name(b"d/"), &smuggled).entry(file("after"), b"x");
        assert_eq!(Root::of(&tar.finish()).paths(), ["after", "d"], "{magic:?}");
    }
}

/// Some writers append a slash to every name. Docker 20 and 28, umoci, buildah and Python's tarfile write the bytes to
/// `f`.
#[test]
fn a_file_of_any_other_type_with_a_trailing_slash_is_a_file() {
    for magic in [Magic::V7, Magic::Ustar, Magic::Gnu] {
        for kind in [typeflag::FILE, typeflag::CONTIGUOUS] {
            let mut tar = TarBuilder::new();
            tar.entry(Header::new(magic, kind).name(b"f/"), b"xyz").entry(file("after"), b"x");
            let root = Root::of(&tar.finish());
            assert_eq!((root.paths(), root.read("f")), (vec!["after".into(), "f".into()], b"xyz".to_vec()));
        }
    }
    let mut tar = TarBuilder::new();
    tar.pax(&PaxRecords::new().record("path", "long/")).entry(file("short"), b"xyz");
    tar.gnu_long_name(b"longer//").entry(Header::new(Magic::Gnu, typeflag::FILE).name(b"short"), b"xyz");
    tar.header(&Header::new(Magic::Ustar, typeflag::SYMLINK).name(b"link/").link_name(b"t"));
    let root = Root::of(&tar.finish());
    assert_eq!(root.paths(), ["link", "long", "longer"]);
    assert_eq!((root.read("long"), root.read("longer")), (b"xyz".to_vec(), b"xyz".to_vec()));
}

/// Maven, Ant and JRuby write other versions than `00` after the POSIX magic. GNU tar, umoci and buildah only check the
/// magic. As a V7 header, the file would be in `/` without its prefix, and the device would be 0:0.
#[test]
fn only_the_magic_counts_and_not_the_version() {
    for version in [&b"00"[..], b"\0\0", b"  ", b" \0", b"01", b"\xff\xff"] {
        let of = |kind| Header::new(Magic::Ustar, kind).field(Field(263, 2), version);
        let mut tar = TarBuilder::new();
        tar.entry(of(typeflag::FILE).prefix(b"usr/lib").name(b"f"), b"xyz");
        tar.header(&of(typeflag::CHAR_DEVICE).name(b"null").device(1, 3));
        tar.header(&of(typeflag::BLOCK_DEVICE).prefix(b"dev").name(b"disk").device(8, 17));
        let root = Root::of(&tar.finish());
        assert_eq!(root.paths(), ["dev", "dev/disk", "null", "usr", "usr/lib", "usr/lib/f"], "{version:?}");
        let device = |path| root.root.inode(lookup(&root.root, path).unwrap()).device().to_string();
        assert_eq!((device("null"), device("dev/disk")), ("1:3".into(), "8:17".into()), "{version:?}");
    }
}

/// V7 and GNU headers have other data in place of the prefix, and star's headers have other data after a shorter
/// prefix.
#[test]
fn other_formats_have_no_prefix_or_a_shorter_one() {
    let mut tar = TarBuilder::new();
    for (magic, name) in
        [(&b""[..], &b"v7"[..]), (b"ustar", b"posix"), (b"ustar 00", b"neither"), (b"Ustar\x0000", b"case")]
    {
        let header = Header::new(Magic::V7, typeflag::CHAR_DEVICE).field(Field::MAGIC, magic);
        tar.header(&header.name(name).prefix(b"prefix").device(1, 3));
    }
    let star = Header::new(Magic::Ustar, typeflag::FILE).name(b"f").prefix(&[b'p'; 131]);
    tar.header(&star.field(Field(476, 12), b"00000000001 ").field(Field(508, 4), b"tar\0"));
    let root = Root::of(&tar.finish());
    let directory = "p".repeat(131);
    let star = format!("{directory}/f");
    assert_eq!(root.paths(), ["case", "neither", directory.as_str(), star.as_str(), "prefix", "prefix/posix", "v7"]);
    let device = |path| root.root.inode(lookup(&root.root, path).unwrap()).device().to_string();
    assert_eq!((device("v7"), device("prefix/posix")), ("0:0".into(), "1:3".into()));
}

#[test]
fn the_size_of_entries_without_data_is_ignored() {
    let mut tar = TarBuilder::new();
    for (kind, name) in [(typeflag::DIRECTORY, "d"), (typeflag::SYMLINK, "s"), (typeflag::FIFO, "p")] {
        tar.header(&Header::new(Magic::Ustar, kind).name(name.as_bytes()).link_name(b"t").size(4096));
    }
    tar.entry(file("f"), b"x")
        .header(&Header::new(Magic::Ustar, typeflag::HARD_LINK).name(b"h").link_name(b"f").size(1));
    assert_eq!(Root::of(&tar.finish()).paths(), ["d", "f", "h", "p", "s"]);
}

#[test]
fn the_end_may_be_two_blocks_a_record_one_block_or_nothing() {
    let tar = TarBuilder::new().entry(file("a"), b"a").clone();
    let one_block = [tar.as_bytes(), &[0; 512]].concat();
    let with_garbage = [tar.clone().finish(), b"what follows the end".repeat(100)].concat();
    for bytes in [tar.clone().finish(), tar.clone().finish_record(), tar.finish_unterminated(), one_block, with_garbage]
    {
        assert_eq!(Root::of(&bytes).paths(), ["a"]);
    }
    assert!(Root::of(&[]).paths().is_empty());
    assert!(Root::of(&[0; 1024]).paths().is_empty());
}

#[test]
fn checksums_of_signed_bytes_are_accepted() {
    let mut tar = TarBuilder::new();
    tar.raw(&file("\u{fc}\u{fc}").to_block_signed());
    assert_eq!(Root::of(&tar.finish()).paths(), ["\\xc3\\xbc\\xc3\\xbc"]);
}

#[test]
fn pax_records_override_global_records_and_headers() {
    let mut tar = TarBuilder::new();
    tar.global_pax(&PaxRecords::new().record("comment", "of git").record("mtime", "7.5").record("uid", "9"));
    tar.entry(file("a"), b"");
    tar.pax(&PaxRecords::new().record("mtime", "8").record("path", "b").record("size", "3"));
    tar.header(&file("not b").mtime(1)).data(b"xyz");
    tar.pax(&PaxRecords::new().record("mtime", "1").record("mtime", "").record("gid", "5"));
    tar.entry(file("c").mtime(3), b"");
    let root = Root::of(&tar.finish());
    assert_eq!(root.paths(), ["a", "b", "c"]);
    assert_eq!((root.mtime("a"), root.mtime("b"), root.mtime("c")), ((7, 500_000_000), (8, 0), (3, 0)));
    assert_eq!(root.read("b"), b"xyz");
    let owner = |path| {
        (
            root.root.inode(lookup(&root.root, path).unwrap()).uid(),
            root.root.inode(lookup(&root.root, path).unwrap()).gid(),
        )
    };
    assert_eq!((owner("a"), owner("c")), ((9, 0), (9, 5)));
}

#[test]
fn gnu_long_names_volumes_and_contiguous_files_are_read() {
    let mut tar = TarBuilder::new();
    tar.header(&Header::new(Magic::Gnu, b'V').name(b"a label"));
    tar.gnu_long_link(&b"t".repeat(300)).gnu_long_name(&b"s".repeat(150));
    tar.header(&Header::new(Magic::Gnu, typeflag::SYMLINK).name(b"short").link_name(b"short"));
    tar.entry(Header::new(Magic::Gnu, typeflag::CONTIGUOUS).name(b"c"), b"xyz");
    let root = Root::of(&tar.finish());
    assert_eq!(root.paths(), ["c".to_owned(), "s".repeat(150)]);
    assert_eq!(root.read("c"), b"xyz");
    let link = root.root.inode(lookup(&root.root, &"s".repeat(150)).unwrap());
    assert_eq!((link.kind(), link.link_target()), (InodeKind::Symlink, &b"t".repeat(300)[..]));
}

#[test]
fn a_prefix_in_a_gnu_header_of_old_go_is_used() {
    let old_go = Header::new(Magic::Gnu, typeflag::FILE).name(b"name").uid(3_000_000);
    let mut tar = TarBuilder::new();
    tar.header(&old_go.clone().field(Field::PREFIX, b"usr/share/doc"));
    // The access and change times of GNU.
    tar.header(&old_go.name(b"other").field(Field(345, 24), b"00000000001\x0000000000002\0"));
    assert_eq!(Root::of(&tar.finish()).paths(), ["other", "usr", "usr/share", "usr/share/doc", "usr/share/doc/name"]);
}

#[test]
fn xattr_names_are_unescaped_and_the_last_of_two_counts() {
    let mut tar = TarBuilder::new();
    tar.pax(
        &PaxRecords::new()
            .schily_xattr(b"user.a%3Db%25", b"gnu")
            .libarchive_xattr(b"user.twice=%", b"first")
            .schily_xattr(b"user.twice%3D%25", b"last")
            .record("SCHILY.fflags", "ignored")
            .record("LIBARCHIVE.creationtime", "1"),
    );
    tar.entry(file("f"), b"");
    let root = Root::of(&tar.finish());
    let xattrs: Vec<_> = root.root.inode(lookup(&root.root, "f").unwrap()).xattrs().collect();
    assert_eq!(xattrs, [(&b"user.a=b%"[..], &b"gnu"[..]), (b"user.twice=%", b"last")]);
}

#[test]
fn hard_links_to_files_of_aufs_are_resolved() {
    let mut tar = TarBuilder::new();
    tar.entry(file(".wh..wh.aufs"), b"").header(&Header::new(Magic::Ustar, typeflag::DIRECTORY).name(b".wh..wh.plnk/"));
    tar.entry(file(".wh..wh.plnk/123.456"), b"linked").entry(file(".wh..wh.plnk/7.8"), b"not linked");
    tar.header(&Header::new(Magic::Ustar, typeflag::DIRECTORY).name(b".wh..wh.orph/"));
    for name in [&b"a"[..], b"d/b"] {
        tar.header(&Header::new(Magic::Ustar, typeflag::HARD_LINK).name(name).link_name(b"./.wh..wh.plnk/123.456"));
    }
    let root = Root::of(&tar.finish());
    assert_eq!(root.paths(), ["a", "d", "d/b"]);
    assert_eq!((root.read("a"), lookup(&root.root, "a")), (b"linked".to_vec(), lookup(&root.root, "d/b")));
}

#[test]
fn chains_of_links_before_their_targets_are_resolved() {
    let layer = [
        Entry::hard_link("c", "b"),
        Entry::hard_link("b", "s/a"),
        Entry::symlink("s", "d"),
        Entry::hard_link("e", "lower"),
        Entry::hard_link("f", "e"),
        Entry::file("d/a", "x"),
    ];
    let tars =
        [Layer::new([Entry::file("lower", "y")]), Layer::new(layer)].map(|layer| layer.to_tar(&Encoding::default()));
    let stack = Stack::build(&tars).unwrap();
    let root = stack.root().unwrap();
    let inode = |path| lookup(&root, path).unwrap();
    assert!(inode("c") == inode("d/a") && inode("b") == inode("d/a"));
    assert!(inode("e") == inode("lower") && inode("f") == inode("lower"));
    assert_eq!((root.inode(inode("c")).nlink(), root.inode(inode("f")).nlink()), (3, 3));
}
