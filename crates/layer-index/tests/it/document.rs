//! Comparison of `docs/formats/idx.md` with `format.rs`: every offset, type, size and constant.

use std::collections::BTreeMap;
use std::mem::offset_of;

use vmroot_layer_index::format::{
    self, ContentsRecord, DirentRecord, Header, InodeRecord, Section, SectionRecord, XattrRecord, XattrSetRecord,
};

const DOCUMENT: &str = include_str!("../../../../docs/formats/idx.md");

/// Returns the cells of the first table after the text `after`, row by row, without the head.
fn table(after: &str) -> Vec<Vec<&'static str>> {
    let start = DOCUMENT.find(after).unwrap_or_else(|| panic!("the document has no {after}"));
    let rows =
        DOCUMENT[start..].lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells =
        |row: &'static str| row.trim_matches('|').split(" | ").map(|cell| cell.trim_matches([' ', '`', '|'])).collect();
    rows.skip(2).map(cells).collect()
}

fn size_of_type(name: &str) -> usize {
    match name {
        "u8" => 1,
        "u16" => 2,
        "u32" => 4,
        "u64" | "i64" => 8,
        _ => {
            let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
            let (element, count) =
                inner.and_then(|inner| inner.split_once("; ")).unwrap_or_else(|| panic!("type {name}"));
            let element = if element == "SectionRecord" { size_of::<SectionRecord>() } else { size_of_type(element) };
            element * count.parse::<usize>().unwrap()
        }
    }
}

/// Compares the table of a record with its struct. Each field must begin where the field before it ends.
#[track_caller]
fn assert_record(name: &str, fields: &[(&str, usize)], size: usize) {
    let rows = table(&format!("### `{name}`"));
    let (end, rows) = rows.split_last().unwrap();
    let mut next = 0;
    let mut documented = Vec::new();
    for row in rows {
        let offset: usize = row[0].parse().unwrap();
        assert_eq!(offset, next, "{name}.{} does not follow the field before it", row[2]);
        next += size_of_type(row[1]);
        documented.push((row[2], offset));
    }
    assert_eq!(documented, fields, "{name}");
    assert_eq!(end[0].parse::<usize>().unwrap(), size, "the size of {name}");
    assert_eq!(next, size, "the fields of {name}");
}

/// Expands to the names and offsets of the fields of a struct.
macro_rules! fields {
    ($record:ty: $($field:ident)*) => {
        &[$((stringify!($field), offset_of!($record, $field))),*]
    };
}

#[test]
fn records_are_documented() {
    assert_record(
        "Header",
        fields!(Header: magic major minor kind file_length checksum alignment identity_algorithm section_count identity
            reserved sections),
        size_of::<Header>(),
    );
    assert_record("SectionRecord", fields!(SectionRecord: offset length stride id), size_of::<SectionRecord>());
    assert_record(
        "InodeRecord",
        fields!(InodeRecord: mode uid gid nlink mtime_seconds mtime_nanoseconds rdev size data count xattrs digest flags),
        size_of::<InodeRecord>(),
    );
    assert_record(
        "DirentRecord",
        fields!(DirentRecord: name_offset inode prefix name_length kind reserved),
        size_of::<DirentRecord>(),
    );
    assert_record("XattrSetRecord", fields!(XattrSetRecord: first count), size_of::<XattrSetRecord>());
    assert_record(
        "XattrRecord",
        fields!(XattrRecord: name_offset name_length value_offset value_length),
        size_of::<XattrRecord>(),
    );
    assert_record(
        "ContentsRecord",
        fields!(ContentsRecord: diff_id algorithm reserved length),
        size_of::<ContentsRecord>(),
    );
}

#[test]
fn constants_are_documented() {
    let mut documented: BTreeMap<&str, &str> =
        table("The bytes between are zero.").iter().map(|row| (row[0], row[1])).collect();
    let magic = format::MAGIC.map(|byte| format!("{byte:02x}")).join(" ");
    assert_eq!(documented.remove("MAGIC"), Some(magic.as_str()));
    let values = [
        ("MAJOR", u64::from(format::MAJOR)),
        ("MINOR", u64::from(format::MINOR)),
        ("ALIGNMENT", format::ALIGNMENT),
        ("SECTION_ALIGNMENT", format::SECTION_ALIGNMENT),
        ("SECTIONS", format::SECTIONS as u64),
        ("KIND_LAYER", u64::from(format::KIND_LAYER)),
        ("KIND_ROOT", u64::from(format::KIND_ROOT)),
        ("SHA256", u64::from(format::SHA256)),
        ("SHA512", u64::from(format::SHA512)),
        ("MAX_NAME", format::MAX_NAME as u64),
        ("MAX_SYMLINK", format::MAX_SYMLINK as u64),
        ("MAX_XATTR_NAME", format::MAX_XATTR_NAME as u64),
        ("MAX_XATTR_VALUE", format::MAX_XATTR_VALUE as u64),
        ("OPAQUE", u64::from(format::OPAQUE)),
        ("IMPLICIT", u64::from(format::IMPLICIT)),
        ("PASSIVE", u64::from(format::PASSIVE)),
        ("NO_INODE", u64::from(format::NO_INODE)),
        ("KIND_WHITEOUT", u64::from(format::KIND_WHITEOUT)),
        ("KIND_LINK", u64::from(format::KIND_LINK)),
    ];
    let documented: BTreeMap<&str, u64> =
        documented.into_iter().map(|(name, value)| (name, value.parse().unwrap())).collect();
    assert_eq!(documented, BTreeMap::from(values));
    assert!(DOCUMENT.contains(&format!("**{}.{}**", format::MAJOR, format::MINOR)));
}

#[test]
fn sections_are_documented() {
    let list = DOCUMENT.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let mut lines = list.lines();
    assert_eq!(lines.next(), Some(&*format!("{:27}{} bytes, at 0", "header", size_of::<Header>())));
    for section in Section::ALL {
        let what = match (section, section.stride()) {
            (_, 1) => "bytes".to_owned(),
            (Section::Digests, stride) => format!("{stride} bytes each"),
            (_, stride) => format!("records of {stride} bytes"),
        };
        assert_eq!(lines.next(), Some(&*format!("{:27}{what}", section.name())));
    }
    assert_eq!(lines.next(), None);
}
