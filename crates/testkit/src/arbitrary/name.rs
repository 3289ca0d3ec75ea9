//! Strategies for names from a small alphabet, with unusual ones among them.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Generates one component.
pub(super) fn component() -> impl Strategy<Value = Vec<u8>> {
    let odd: Vec<Vec<u8>> = vec![
        b"\xff\xfe".to_vec(),
        b"tab\tname".to_vec(),
        b"new\nline".to_vec(),
        b" ".to_vec(),
        b"...".to_vec(),
        b"back\\slash".to_vec(),
        b"a.wh.b".to_vec(),
        b".w".to_vec(),
        "ü=%*".as_bytes().to_vec(),
        vec![b'x'; 255],
        vec![b'y'; 100],
    ];
    let usual: Vec<Vec<u8>> = [b"a", b"b", b"c", b"d"].iter().map(|name| name.to_vec()).collect();
    prop_oneof![14 => select(usual), 1 => select(odd)]
}

/// Generates one to three components joined by slashes.
pub(super) fn path() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => vec(component(), 1..=1),
        4 => vec(component(), 2..=2),
        2 => vec(component(), 3..=3),
    ]
    .prop_map(|parts| parts.join(&b'/'))
}

/// Generates a path in one of the spellings found in tars, without a slash at the end.
pub(super) fn decorated() -> impl Strategy<Value = Vec<u8>> {
    let front: Vec<&[u8]> = vec![b"", b"", b"", b"./", b"./", b"/", b".//", b"/./"];
    (select(front), path()).prop_map(|(front, path)| [front, &path].concat())
}

/// Generates the target of a symbolic link.
pub(super) fn link_target() -> impl Strategy<Value = Vec<u8>> {
    let front: Vec<&[u8]> = vec![b"", b"", b"", b"/", b"../", b"../../", b"./"];
    prop_oneof![
        10 => (select(front), path()).prop_map(|(front, path)| [front, &path].concat()),
        1 => Just(b"/".to_vec()),
        1 => Just(b"..".to_vec()),
        1 => Just(b"a/../b".to_vec()),
        1 => Just(vec![b'z'; 120]),
    ]
}
