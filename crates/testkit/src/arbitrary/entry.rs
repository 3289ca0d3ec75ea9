//! Strategies for entries of all kinds.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::attributes::attributes;
use super::name::{decorated, link_target, path};
use crate::layer::{Content, Entry, Kind, OPAQUE_MARKER, WHITEOUT_PREFIX};

/// An entry, and a random choice of the existing name that its hard link or whiteout refers to.
#[derive(Debug, Clone)]
pub(super) struct TargetedEntry {
    pub(super) entry: Entry,
    choice: Option<Index>,
}

impl TargetedEntry {
    /// Returns the entry with its reference set: whiteouts to a name of lower layers, hard links to any name so far.
    pub(super) fn resolve(self, lower_names: &[Vec<u8>], names: &[Vec<u8>]) -> Entry {
        let Some(choice) = self.choice else { return self.entry };
        match &self.entry.kind {
            Kind::HardLink(_) if !names.is_empty() => Entry::hard_link(&self.entry.name, choice.get(names)),
            Kind::File(_) if is_plain_whiteout(&self.entry.name) && !lower_names.is_empty() => {
                let hidden = choice.get(lower_names);
                let end = hidden.iter().rposition(|byte| *byte != b'/' && *byte != b'.').map_or(0, |last| last + 1);
                if end == 0 { self.entry } else { Entry::whiteout(&hidden[..end]) }
            }
            _ => self.entry,
        }
    }
}

fn is_plain_whiteout(name: &[u8]) -> bool {
    let last = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    last.starts_with(WHITEOUT_PREFIX) && last != OPAQUE_MARKER
}

/// Generates any entry.
pub(super) fn entry() -> impl Strategy<Value = TargetedEntry> {
    (untargeted(), proptest::option::weighted(0.7, any::<Index>()))
        .prop_map(|(entry, choice)| TargetedEntry { entry, choice })
}

fn untargeted() -> impl Strategy<Value = Entry> {
    let hard_link = (decorated(), decorated()).prop_map(|(name, target)| Entry::hard_link(name, target));
    prop_oneof![
        24 => with_attributes(file(), true),
        20 => directory(),
        3 => file_with_slash(),
        3 => root(),
        12 => with_attributes(link_target().prop_map(Kind::Symlink).boxed(), false),
        16 => hard_link,
        9 => with_attributes(special(), false),
        15 => decorated().prop_map(Entry::whiteout),
        6 => path().prop_map(Entry::opaque),
        1 => Just(Entry::opaque("")),
    ]
}

fn with_attributes(kind: BoxedStrategy<Kind>, user_xattrs: bool) -> impl Strategy<Value = Entry> {
    (decorated(), kind, attributes(user_xattrs)).prop_map(|(name, kind, attributes)| Entry { name, attributes, kind })
}

fn directory() -> impl Strategy<Value = Entry> {
    (decorated(), select(vec!["", "/", "//"]), attributes(true)).prop_map(|(name, end, attributes)| Entry {
        name: [&name, end.as_bytes()].concat(),
        attributes,
        kind: Kind::Directory,
    })
}

/// Generates a regular file whose name ends with a slash. It must stay a file.
fn file_with_slash() -> impl Strategy<Value = Entry> {
    with_attributes(file(), true).prop_map(|entry| Entry { name: [&entry.name, &b"/"[..]].concat(), ..entry })
}

fn root() -> impl Strategy<Value = Entry> {
    (select(vec![".", "./", "/"]), attributes(true)).prop_map(|(name, attributes)| Entry {
        name: name.into(),
        attributes,
        kind: Kind::Directory,
    })
}

fn file() -> BoxedStrategy<Kind> {
    let small = vec(any::<u8>(), 0..40).prop_map(|bytes| Content::from_bytes(&bytes));
    let blocks = select(vec![511_usize, 512, 513, 4096, 5000]).prop_map(|size| Content::from_bytes(&vec![b'#'; size]));
    prop_oneof![6 => small, 2 => blocks, 2 => sparse()].prop_map(Kind::File).boxed()
}

/// Generates separate runs of data, with or without a hole at either end.
fn sparse() -> impl Strategy<Value = Content> {
    let steps = vec((1_u64..20_000, 1_usize..3000, any::<u8>()), 0..30);
    (steps, any::<bool>(), 0_u64..10_000).prop_map(|(steps, from_the_start, tail)| {
        let mut runs = Vec::new();
        let mut at = 0;
        for (number, (hole, length, byte)) in steps.into_iter().enumerate() {
            if number > 0 || !from_the_start {
                at += hole;
            }
            runs.push((at, vec![byte; length]));
            at += length as u64;
        }
        Content::sparse(at + tail, runs)
    })
}

fn special() -> BoxedStrategy<Kind> {
    // Without 0:0, which is a whiteout of overlayfs.
    let numbers = select(vec![(1, 3), (5, 1), (259, 65_536), (4095, 1_048_575), (0, 1)]);
    prop_oneof![
        Just(Kind::Fifo),
        numbers.clone().prop_map(|(major, minor)| Kind::CharDevice { major, minor }),
        numbers.prop_map(|(major, minor)| Kind::BlockDevice { major, minor }),
    ]
    .boxed()
}
