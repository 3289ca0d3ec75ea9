//! Cases of extended headers that are wrong, and of ones that override wrong headers.

use super::Case;
use crate::layer::Entry;
use crate::tar_builder::{Header, Magic, PaxRecords, TarBuilder, typeflag};

fn file(name: &[u8]) -> Header {
    Header::new(Magic::Ustar, typeflag::FILE).name(name)
}

/// Returns a tar with a file `f` after these records.
fn behind(records: &PaxRecords) -> Vec<u8> {
    let mut tar = TarBuilder::new();
    tar.pax(records).entry(file(b"f"), b"abc");
    tar.finish()
}

fn raw(records: &[u8]) -> Vec<u8> {
    behind(&PaxRecords::new().raw(records))
}

pub(super) fn cases() -> Vec<Case> {
    [smuggling(), records(), values(), order()].concat()
}

fn smuggling() -> Vec<Case> {
    let inner = file(b"smuggled").to_block();
    let mut larger = TarBuilder::new();
    larger.pax(&PaxRecords::new().record("size", "512")).header(&file(b"f").size(0)).data(&inner);
    let mut smaller = TarBuilder::new();
    smaller.pax(&PaxRecords::new().record("size", "0")).header(&file(b"f").size(512)).raw(&inner);
    let mut link = TarBuilder::new();
    link.pax(&PaxRecords::new().record("linkpath", "../../outside").record("path", "../outside"));
    link.header(&Header::new(Magic::Ustar, typeflag::SYMLINK).name(b"s").link_name(b"t"));
    vec![
        Case::same("header hidden by the size record", larger.finish(), [Entry::file("f", inner)]),
        Case::same(
            "header shown by the size record",
            smaller.finish(),
            [Entry::file("f", ""), Entry::file("smuggled", "")],
        ),
        Case::refused("size record of 8 EiB less one", behind(&PaxRecords::new().record("size", i64::MAX.to_string()))),
        Case::refused("size record of 20 digits", behind(&PaxRecords::new().record("size", "9".repeat(20)))),
        Case::refused("negative size record", behind(&PaxRecords::new().record("size", "-1"))),
        Case::refused("size record that is not a number", behind(&PaxRecords::new().record("size", "0x10"))),
        Case::refused("path record that climbs out", link.finish()),
    ]
}

fn records() -> Vec<Case> {
    vec![
        Case::refused("record longer than the header", raw(b"99 path=x\n")),
        Case::refused("record of length 0", raw(b"0 path=x\n")),
        Case::refused("record shorter than its own length", raw(b"3 path=x\n")),
        Case::refused("record without a length", raw(b"path=x\n")),
        Case::refused("record of a negative length", raw(b"-9 path=x\n")),
        Case::refused("record of a length of 30 digits", raw(format!("{} path=x\n", "9".repeat(30)).as_bytes())),
        Case::refused("record without an equals sign", raw(b"10 pathxx\n")),
        Case::refused("record without a newline", raw(b"10 path=xx")),
        Case::same("no records", raw(b""), [Entry::file("f", "abc")]),
        Case::same(
            "value with newline and equals sign",
            behind(&PaxRecords::new().record("path", "a\n9 b=c\n=").record("comment", "x")),
            [Entry::file("a\n9 b=c\n=", "abc")],
        ),
    ]
}

fn values() -> Vec<Case> {
    let with = |keyword: &str, value: &[u8]| behind(&PaxRecords::new().record(keyword, value));
    vec![
        Case::refused("path with a NUL", with("path", b"a\0b")),
        Case::survived("empty path", with("path", b"")),
        Case::refused("owner record of more than 32 bits", with("uid", b"4294967296")),
        Case::refused("owner that is not a number", with("uid", b"root")),
        Case::refused("time that is not a number", with("mtime", b"now")),
        Case::survived("time of 30 digits", with("mtime", "9".repeat(30).as_bytes())),
        Case::same(
            "time of more than nine decimals",
            with("mtime", b"1.1234567899999"),
            [Entry::file("f", "abc").mtime(1, 123_456_789)],
        ),
        Case::same("time before 1970", with("mtime", b"-1.5"), [Entry::file("f", "abc").mtime(-2, 500_000_000)]),
        Case::survived("xattr without a name", with("SCHILY.xattr.", b"x")),
        Case::survived("xattr with a NUL in its name", with("SCHILY.xattr.user.a\0b", b"x")),
        Case::survived("xattr with a name of 300 bytes", with(&format!("SCHILY.xattr.user.{}", "x".repeat(300)), b"x")),
        Case::survived("libarchive xattr that is not base64", with("LIBARCHIVE.xattr.user.a", b"!!!")),
        Case::same("unknown keyword", with("VENDOR.thing", b"\0\xff"), [Entry::file("f", "abc")]),
        Case::same(
            "the same keyword twice",
            behind(&PaxRecords::new().record("path", "first").record("path", "second")),
            [Entry::file("second", "abc")],
        ),
    ]
}

fn order() -> Vec<Case> {
    let mut global = TarBuilder::new();
    global.global_pax(&PaxRecords::new().record("comment", "0123456789abcdef")).entry(file(b"f"), b"abc");
    let mut global_owner = TarBuilder::new();
    global_owner.global_pax(&PaxRecords::new().record("uid", "7")).entry(file(b"f"), b"");
    let mut last = TarBuilder::new();
    last.entry(file(b"f"), b"abc").pax(&PaxRecords::new().record("path", "x"));
    let mut twice = TarBuilder::new();
    twice.pax(&PaxRecords::new().record("path", "x")).pax(&PaxRecords::new().record("uid", "7")).entry(file(b"f"), b"");
    let mut long = TarBuilder::new();
    long.gnu_long_name(b"long").pax(&PaxRecords::new().record("path", "pax")).entry(file(b"f"), b"");
    let mut reset = TarBuilder::new();
    reset.pax(&PaxRecords::new().record("path", "x").record("uid", "7")).entry(file(b"f"), b"").entry(file(b"g"), b"");
    vec![
        Case::same("global header with a comment, as git writes", global.finish(), [Entry::file("f", "abc")]),
        Case::survived("global header with an owner", global_owner.finish()),
        Case::survived("records with no entry behind them", last.finish()),
        Case::survived("two extended headers in a row", twice.finish()),
        Case::survived("long name and path record", long.finish()),
        Case::same(
            "records hold for one entry",
            reset.finish(),
            [Entry::file("x", "").owner(7, 0), Entry::file("g", "")],
        ),
    ]
}
