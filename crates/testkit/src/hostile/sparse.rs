//! Cases of sparse maps that do not match their file.

use super::Case;
use crate::layer::Entry;
use crate::tar_builder::{BLOCK, Field, Header, Magic, PaxRecords, SparseMap, TarBuilder, typeflag};

fn old_gnu(stretches: &[(u64, u64)], real_size: u64, data: &[u8]) -> Vec<u8> {
    let map = SparseMap { stretches: stretches.to_vec(), real_size };
    let header = Header::new(Magic::Gnu, typeflag::GNU_SPARSE).name(b"f").size(data.len() as u64);
    let (header, extensions) = map.old_gnu(header);
    let mut tar = TarBuilder::new();
    tar.header(&header).raw(&extensions).data(data);
    tar.finish()
}

fn pax(records: &PaxRecords, data: &[u8]) -> Vec<u8> {
    let mut tar = TarBuilder::new();
    tar.pax(records).entry(Header::new(Magic::Ustar, typeflag::FILE).name(b"f"), data);
    tar.finish()
}

fn pax_10(map: &[u8], real_size: &str) -> Vec<u8> {
    let records = PaxRecords::new()
        .record("GNU.sparse.major", "1")
        .record("GNU.sparse.minor", "0")
        .record("GNU.sparse.name", "f")
        .record("GNU.sparse.realsize", real_size);
    let mut front = map.to_vec();
    front.resize(map.len().next_multiple_of(BLOCK), 0);
    front.extend_from_slice(&[b'x'; BLOCK]);
    pax(&records, &front)
}

fn pax_01(map: &str, blocks: &str) -> Vec<u8> {
    let records = PaxRecords::new()
        .record("GNU.sparse.size", "4096")
        .record("GNU.sparse.numblocks", blocks)
        .record("GNU.sparse.map", map);
    pax(&records, &[b'x'; BLOCK])
}

pub(super) fn cases() -> Vec<Case> {
    [gnu(), posix()].concat()
}

fn gnu() -> Vec<Case> {
    let x = [b'x'; BLOCK];
    let endless = {
        let header = Header::new(Magic::Gnu, typeflag::GNU_SPARSE).name(b"f").size(0);
        let header = header.field(Field::GNU_IS_EXTENDED, &[1]).number(Field::GNU_REAL_SIZE, 0);
        let mut block = [0; BLOCK];
        block[504] = 1;
        [header.to_block().to_vec(), block.repeat(2000)].concat()
    };
    vec![
        Case::same(
            "a hole of 256 MiB",
            old_gnu(&[(1 << 28, 0)], 1 << 28, b""),
            [Entry::sparse_file("f", 1 << 28, vec![])],
        ),
        Case::refused("stretch behind the end", old_gnu(&[(8192, 512)], 4096, &x)),
        Case::refused("stretch that wraps around", old_gnu(&[(u64::MAX - 511, 1024)], 4096, &x)),
        Case::refused("stretches that overlap", old_gnu(&[(0, 512), (256, 512)], 4096, &[x, x].concat())),
        Case::refused("stretches in the wrong order", old_gnu(&[(2048, 512), (0, 512)], 4096, &[x, x].concat())),
        Case::refused("more in the map than in the data", old_gnu(&[(0, 1024)], 4096, &x)),
        Case::refused("less in the map than in the data", old_gnu(&[(0, 512)], 4096, &[x, x].concat())),
        Case::refused("real size of 16 EiB less one", old_gnu(&[(0, 512)], u64::MAX, &x)),
        Case::refused("extension blocks without end", endless),
    ]
}

fn posix() -> Vec<Case> {
    vec![
        Case::refused("0.1 map with an odd number of numbers", pax_01("0,512,1024", "2")),
        Case::survived("0.1 map with another count", pax_01("0,512", "9")),
        Case::refused("0.1 map that is not a list of numbers", pax_01("a,b", "1")),
        Case::refused("0.1 map with a stretch behind the end", pax_01("8192,512", "1")),
        Case::survived("0.1 map that claims a billion stretches", pax_01("0,512", "1000000000")),
        Case::refused("1.0 map with a trillion stretches", pax_10(b"1000000000000\n0\n512\n", "4096")),
        Case::refused("1.0 map of letters", pax_10(b"one\n0\n512\n", "4096")),
        Case::refused("1.0 map without newlines", pax_10(&[b'1'; BLOCK], "4096")),
        Case::refused("1.0 map with a stretch behind the end", pax_10(b"1\n8192\n512\n", "4096")),
        Case::refused("1.0 real size that is not a number", pax_10(b"1\n0\n512\n", "big")),
        Case::survived("an unknown version", {
            pax(&PaxRecords::new().record("GNU.sparse.major", "7").record("GNU.sparse.minor", "0"), b"abc")
        }),
    ]
}
