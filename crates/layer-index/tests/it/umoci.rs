//! Random stacks of files, links, hard links and markers, in any order within a layer, against `umoci unpack`.
//!
//! umoci unpacks each layer onto the ones below. Where it is known to be no judge, layers are made without such entries:
//!
//! - A path through a link, or below a file, of a lower layer. umoci follows the link, or gives up; for overlayfs, and
//!   so for us, a directory takes its place.
//! - A marker in a directory that no layer has, unless a link leads there. umoci makes none, Docker 20 and 28 and
//!   overlayfs do.
//! - A name twice in one layer, or below one that is no directory: what comes last holds.
//! - A hard link to a lower file that its own layer replaces: umoci's source calls its own result incorrect.
//!
//! The tests of the testkit's model have all of these. umoci makes a hard link only where its target is there already, so
//! it gets each layer with the hard links to lower layers first, and all others last. Directories are compared by name
//! alone: which of them has attributes of its own is for overlayfs to judge.

use std::env;
use std::process::Command;

use proptest::prelude::*;
use proptest::sample::{Index as Choice, select};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use vmroot_testkit::image::{ImageBuilder, oci_layout};
use vmroot_testkit::layer::{Encoding, Entry, Kind, Layer, WHITEOUT_PREFIX};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::model::{Node, Tree};
use vmroot_testkit::skip;

use crate::stack::Stack;

/// How many stacks are tried, unless the environment has another number under this name.
const STACKS: u32 = 80;
const MORE: &str = "VMROOT_UMOCI_STACKS";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    File,
    Directory,
    Symlink,
    HardLink,
    Whiteout,
    Opaque,
}

/// An entry, before it is known what its layer lets it name.
#[derive(Debug, Clone)]
struct Draft {
    path: String,
    role: Role,
    /// Which of the possible targets a link has.
    aim: Choice,
}

fn draft() -> impl Strategy<Value = Draft> {
    let path = prop::collection::vec(select(vec!["a", "b", "c", "d"]), 1..=3).prop_map(|names| names.join("/"));
    let role = prop_oneof![
        6 => Just(Role::File),
        2 => Just(Role::Directory),
        2 => Just(Role::Symlink),
        3 => Just(Role::HardLink),
        7 => Just(Role::Whiteout),
        3 => Just(Role::Opaque),
    ];
    (path, role, any::<Choice>()).prop_map(|(path, role, aim)| Draft { path, role, aim })
}

/// The names above a path, the topmost first.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(slash, _)| &path[..slash])
}

/// Whether there is a directory at a path that leads through no links; nothing if there is nothing.
fn is_directory(tree: &Tree, path: &str) -> Option<bool> {
    let parts_are_directories = parents(path)
        .all(|parent| tree.lookup(parent).is_some_and(|id| matches!(tree.inode(id).node, Node::Directory(_))));
    let id = tree.lookup(path).filter(|_| parts_are_directories)?;
    Some(matches!(tree.inode(id).node, Node::Directory(_)))
}

/// A layer in the making over the layers below.
struct Draught<'a> {
    lower: &'a Tree,
    /// What the layer has under which name, whether it has come yet or not.
    own: Vec<&'a Draft>,
    entries: Vec<Entry>,
}

impl<'a> Draught<'a> {
    fn new(lower: &'a Tree, drafts: &'a [Draft]) -> Self {
        let mut own: Vec<&Draft> = Vec::new();
        for draft in drafts.iter().filter(|draft| !matches!(draft.role, Role::Whiteout | Role::Opaque)) {
            let below = |one: &Draft, other: &Draft| {
                one.role != Role::Directory && parents(&other.path).any(|parent| parent == one.path)
            };
            let collides = |other: &&Draft| other.path == draft.path || below(draft, other) || below(other, draft);
            // Below the way to a lower link or file, umoci is no judge.
            let in_directories = parents(&draft.path).all(|parent| is_directory(lower, parent) != Some(false));
            if in_directories && !own.iter().any(collides) {
                own.push(draft);
            }
        }
        let mut draught = Self { lower, own, entries: Vec::new() };
        let aimless = |own: &&Draft| own.role == Role::HardLink && draught.target(own).is_none();
        let kept = draught.own.iter().copied().filter(|own| !aimless(own)).collect();
        draught.own = kept;
        draught
    }

    fn own(&self, path: &str) -> Option<&'a Draft> {
        self.own.iter().copied().find(|draft| draft.path == path)
    }

    /// Whether the layer has something at a path or below it.
    fn needs(&self, path: &str) -> bool {
        self.own.iter().any(|own| own.path == path || parents(&own.path).any(|parent| parent == path))
    }

    fn add(&mut self, draft: &'a Draft, text: &str) {
        let is_own = self.own.iter().any(|own| std::ptr::eq(*own, draft));
        let path = &draft.path;
        let entry = match draft.role {
            Role::File if is_own => Entry::file(path, text),
            Role::Directory if is_own => Entry::directory(path),
            Role::Symlink if is_own => Entry::symlink(path, draft.aim.get(&["/a", "b", "../c", "./d/a", "/"])),
            Role::HardLink if is_own => match self.target(draft) {
                Some(target) => Entry::hard_link(path, target),
                None => return,
            },
            Role::Whiteout if self.can_mark(path.rsplit_once('/').map_or("", |(directory, _)| directory)) => {
                Entry::whiteout(path)
            }
            Role::Opaque if self.can_mark(path) => Entry::opaque(path),
            _ => return,
        };
        self.entries.push(entry);
    }

    /// A file for a hard link: one of the layer, wherever in it, or one of the lower layers that it leaves in place.
    fn target(&self, link: &Draft) -> Option<String> {
        let own = self.own.iter().filter(|own| own.role == Role::File).map(|own| own.path.clone());
        let lower = self.lower.paths().into_iter().filter_map(|(path, id)| {
            let path = String::from_utf8(path).expect("made of letters");
            let is_file = matches!(self.lower.inode(id).node, Node::File(_));
            let replaces = |part| part == link.path || self.own(part).is_some_and(|own| own.role != Role::Directory);
            let replaced = self.needs(&path) || parents(&path).any(replaces);
            (is_file && !replaced).then_some(path)
        });
        let targets: Vec<String> = own.chain(lower).collect();
        (!targets.is_empty()).then(|| link.aim.get(&targets).clone())
    }

    /// Whether umoci is a judge of a marker in this directory.
    fn can_mark(&self, directory: &str) -> bool {
        let mut real: Vec<&str> = Vec::new();
        let mut ahead: Vec<&str> = directory.rsplit('/').collect();
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            match name {
                "" | "." => continue,
                ".." => drop(real.pop()),
                _ => real.push(name),
            }
            let path = real.join("/");
            let here = self.entries.iter().find(|entry| entry.name == path.as_bytes()).map(|entry| &entry.kind);
            // umoci gets them elsewhere in the layer.
            let here = here.filter(|kind| !matches!(kind, Kind::HardLink(_)));
            if let Some(Kind::Symlink(target)) = here {
                links += 1;
                if links > 9 {
                    // umoci gives up.
                    return false;
                }
                real.pop();
                if target.starts_with(b"/") {
                    real.clear();
                }
                ahead.extend(std::str::from_utf8(target).expect("made of letters").rsplit('/'));
                continue;
            }
            let lower = is_directory(self.lower, &path);
            if lower == Some(false) && here.is_none() {
                // Nothing of this layer has taken the place of the lower link or file yet.
                return false;
            }
            match self.own(&path) {
                // There is nothing to hide.
                Some(own) if own.role != Role::Directory && here.is_some() => return true,
                // There will be nothing to hide.
                Some(own) if own.role != Role::Directory => continue,
                _ => {}
            }
            if !path.is_empty() && lower.is_none() && !self.needs(&path) {
                // Through a link, there is nothing to hide.
                return links > 0;
            }
        }
        true
    }

    /// The layer in an order that umoci can unpack.
    fn for_umoci(&self) -> Layer {
        let place = |entry: &&Entry| match &entry.kind {
            Kind::HardLink(target) if self.entries.iter().any(|other| other.name == *target) => 2,
            Kind::HardLink(_) => 0,
            _ => 1,
        };
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by_key(place);
        Layer::new(entries.into_iter().cloned())
    }
}

/// The layers as they were drawn, and as umoci gets them.
fn layers_of(drafts: &[Vec<Draft>]) -> (Vec<Layer>, Vec<Layer>) {
    let (mut layers, mut reordered) = (Vec::new(), Vec::new());
    let mut lower = Tree::new();
    for (number, drafts) in drafts.iter().enumerate() {
        let mut draught = Draught::new(&lower, drafts);
        for (place, draft) in drafts.iter().enumerate() {
            draught.add(draft, &format!("{number}.{place}"));
        }
        let layer = Layer::new(draught.entries.iter().cloned());
        reordered.push(draught.for_umoci());
        lower.apply(&layer).expect("nothing in it is without a meaning");
        layers.push(layer);
    }
    (layers, reordered)
}

/// What umoci unpacks.
fn unpacked(layers: &[Layer]) -> Listing {
    let directory = tempfile::tempdir().unwrap();
    let image = layers.iter().fold(ImageBuilder::new(), |image, layer| image.layer(layer)).build();
    let layout = directory.path().join("layout");
    std::fs::create_dir(&layout).unwrap();
    oci_layout::write(&layout, &[(oci_layout::Item::Image(&image), Some("v"))]).unwrap();
    let bundle = directory.path().join("bundle");
    let mut umoci = Command::new("umoci");
    let output =
        umoci.args(["unpack", "--image"]).arg(format!("{}:v", layout.display())).arg(&bundle).output().unwrap();
    assert!(output.status.success(), "{layers:#?}: {}", String::from_utf8_lossy(&output.stderr));
    without_attributes(Listing::of_directory(bundle.join("rootfs")).unwrap())
}

fn without_attributes(mut listing: Listing) -> Listing {
    for row in listing.rows.values_mut().filter(|row| row.kind == 'd') {
        (row.mode, row.uid, row.gid, row.mtime) = (0o755, 0, 0, 0);
    }
    listing
}

#[test]
fn random_stacks_are_what_umoci_unpacks() {
    if skip::needs_root() || skip::needs_program("umoci") {
        return;
    }
    let stacks = env::var(MORE).map_or(STACKS, |number| number.parse().expect("a number of stacks"));
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    let strategy = prop::collection::vec(prop::collection::vec(draft(), 1..12), 2..=4);
    let (mut markers, mut links) = (0, 0);
    for stack in 0..stacks {
        let (layers, reordered) = layers_of(&strategy.new_tree(&mut runner).unwrap().current());
        for entry in layers.iter().flat_map(|layer| &layer.entries) {
            let last = entry.name.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            markers += u32::from(last.starts_with(WHITEOUT_PREFIX));
            links += u32::from(matches!(entry.kind, Kind::HardLink(_)));
        }
        let tars: Vec<_> = layers.iter().map(|layer| layer.to_tar(&Encoding::default())).collect();
        let ours = Stack::build(&tars).and_then(|ours| Ok(ours.listing(&ours.root()?)));
        let ours = ours.unwrap_or_else(|error| panic!("stack {stack}: {error}: {layers:#?}"));
        if let Some(difference) = unpacked(&reordered).difference(&without_attributes(ours)) {
            panic!("stack {stack}: {difference}\n{layers:#?}");
        }
    }
    assert!(markers > 3 * stacks && links > stacks / 2, "{markers} markers and {links} hard links are too few");
}
