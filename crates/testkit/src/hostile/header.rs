//! Cases of headers and sizes.

use super::Case;
use crate::layer::Entry;
use crate::tar_builder::{BLOCK, Field, Header, Magic, TarBuilder, typeflag};

fn file() -> Header {
    Header::new(Magic::Ustar, typeflag::FILE).name(b"f")
}

/// Returns a tar with this header and this data, both unchanged.
fn one(header: &Header, data: &[u8]) -> Vec<u8> {
    let mut tar = TarBuilder::new();
    tar.header(header).data(data);
    tar.finish()
}

fn raw(blocks: &[&[u8]]) -> Vec<u8> {
    blocks.concat()
}

pub(super) fn cases() -> Vec<Case> {
    [checksums(), ends(), sizes(), numbers(), types()].concat()
}

fn checksums() -> Vec<Case> {
    let high = file().name(b"f\xff\xfe");
    vec![
        Case::refused("wrong checksum", raw(&[&file().to_block_corrupt(), &[0; 2 * BLOCK]])),
        Case::refused("no header at all", vec![0x5a; 4 * BLOCK]),
        Case::same(
            "checksum of signed bytes",
            raw(&[&high.to_block_signed(), &[0; 2 * BLOCK]]),
            [Entry::file(b"f\xff\xfe", "")],
        ),
    ]
}

fn ends() -> Vec<Case> {
    let whole = one(&file().size(600), &[b'x'; 600]);
    let entry = || [Entry::file("f", [b'x'; 600])];
    vec![
        Case::same("nothing but the end", vec![0; 2 * BLOCK], []),
        Case::survived("no bytes", Vec::new()),
        Case::refused("ends inside a header", whole[..300].to_vec()),
        Case::refused("ends inside data", whole[..BLOCK + 100].to_vec()),
        Case::survived("ends inside padding", whole[..BLOCK + 700].to_vec()),
        Case::same("no closing blocks", whole[..3 * BLOCK].to_vec(), entry()),
        Case::survived("one closing block", whole[..4 * BLOCK].to_vec()),
        Case::same("padded to a record", [whole.clone(), vec![0; 20 * BLOCK]].concat(), entry()),
        Case::same("rubbish behind the end", [whole.clone(), vec![b'!'; 5 * BLOCK]].concat(), entry()),
        Case::survived("one block of zeros between entries", raw(&[&whole[..3 * BLOCK], &[0; BLOCK], &whole])),
    ]
}

fn sizes() -> Vec<Case> {
    let sized = |value: i128| one(&file().base_256(Field::SIZE, value), b"");
    vec![
        Case::refused("negative size", sized(-1)),
        Case::refused("size of 8 EiB less one", sized(i128::from(i64::MAX))),
        Case::refused("size of 16 EiB less one", sized(i128::from(u64::MAX))),
        Case::refused("size of more than 64 bits", sized(i128::from(u64::MAX) + 2)),
        Case::refused("size of 8 GiB less one and no data", one(&file().number(Field::SIZE, 0o77_777_777_777), b"")),
        Case::refused("size of digits that are not octal", one(&file().field(Field::SIZE, b"00000000009\0"), b"")),
        Case::refused("size of letters", one(&file().field(Field::SIZE, b"size\0"), b"")),
        Case::same("size of blanks", one(&file().field(Field::SIZE, b"           \0"), b""), [Entry::file("f", "")]),
        Case::same(
            "size with blanks around it",
            one(&file().field(Field::SIZE, b"      3 \0"), b"abc"),
            [Entry::file("f", "abc")],
        ),
        Case::same(
            "size without terminator",
            one(&file().field(Field::SIZE, b"000000000003"), b"abc"),
            [Entry::file("f", "abc")],
        ),
        Case::refused(
            "long name of a terabyte",
            one(&Header::new(Magic::Gnu, typeflag::GNU_LONG_NAME).size(1 << 40), b"x"),
        ),
        Case::refused("PAX header of a terabyte", one(&Header::new(Magic::Ustar, typeflag::PAX).size(1 << 40), b"x")),
    ]
}

fn numbers() -> Vec<Case> {
    vec![
        Case::refused("owner of more than 32 bits", one(&file().uid(1 << 40), b"")),
        Case::refused("negative owner", one(&file().base_256(Field::UID, -1), b"")),
        Case::survived("mtime of more than 64 bits", one(&file().base_256(Field::MTIME, 1 << 70), b"")),
        Case::same("mode with the type's bits", one(&file().mode(0o100_755), b""), [Entry::file("f", "").mode(0o755)]),
        Case::survived("device numbers of 32 bits", {
            one(&Header::new(Magic::Gnu, typeflag::CHAR_DEVICE).name(b"d").device(u32::MAX, u32::MAX), b"")
        }),
    ]
}

fn types() -> Vec<Case> {
    let with = |kind: u8, data: &[u8]| {
        let mut tar = TarBuilder::new();
        tar.entry(Header::new(Magic::Ustar, kind).name(b"f"), data);
        tar.entry(file().name(b"after"), b"x");
        tar.finish()
    };
    let after = || Entry::file("after", "x");
    vec![
        Case::same("contiguous file", with(typeflag::CONTIGUOUS, b"abc"), [Entry::file("f", "abc"), after()]),
        Case::same("file of type NUL", with(typeflag::OLD_FILE, b"abc"), [Entry::file("f", "abc"), after()]),
        Case::survived("unknown type", with(b'Z', b"abc")),
        Case::survived("directory with data", with(typeflag::DIRECTORY, b"abc")),
        Case::survived("volume label", with(b'V', b"")),
        Case::survived("continued from another volume", with(b'M', b"abc")),
        Case::survived("symbolic link with data and no target", with(typeflag::SYMLINK, b"abc")),
        Case::refused("hard link without a target", with(typeflag::HARD_LINK, b"")),
    ]
}
