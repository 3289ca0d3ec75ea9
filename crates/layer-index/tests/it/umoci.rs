//! Comparison of random stacks with `umoci unpack`: files, links, hard links and markers in any order within a layer.
//!
//! umoci unpacks each layer onto the layers below. It is known to differ for some entries, which the generated layers
//! do not have:
//!
//! - A path through a link of a lower layer, or below a file of one. umoci follows the link, or fails. With overlayfs,
//!   and in this crate, a directory replaces it.
//! - A marker in a directory that no layer has, unless a link leads there. umoci does not create the directory. Docker
//!   20 and 28 and overlayfs do.
//! - A name that occurs twice in one layer, or below a name that is not a directory. The last entry counts.
//! - A hard link to a lower file that its own layer replaces. A comment in umoci's source calls umoci's result
//!   incorrect.
//!
//! The tests of the testkit's model cover all of these. umoci can only create a hard link if the target exists.
//! Therefore it gets each layer with the hard links to lower layers first, and all other hard links last. Directories
//! are compared by name only; their attributes are compared with overlayfs.

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

/// The number of stacks, unless the environment variable [`STACKS_VARIABLE`] has another number.
const STACKS: u32 = 80;
const STACKS_VARIABLE: &str = "VMROOT_UMOCI_STACKS";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlannedKind {
    File,
    Directory,
    Symlink,
    HardLink,
    Whiteout,
    Opaque,
}

/// A random entry, before it is checked against its layer and the layers below.
#[derive(Debug, Clone)]
struct PlannedEntry {
    path: String,
    kind: PlannedKind,
    /// Selects one of the possible targets of a link.
    choice: Choice,
}

fn planned_entry() -> impl Strategy<Value = PlannedEntry> {
    let path = prop::collection::vec(select(vec!["a", "b", "c", "d"]), 1..=3).prop_map(|names| names.join("/"));
    let kind = prop_oneof![
        6 => Just(PlannedKind::File),
        2 => Just(PlannedKind::Directory),
        2 => Just(PlannedKind::Symlink),
        3 => Just(PlannedKind::HardLink),
        7 => Just(PlannedKind::Whiteout),
        3 => Just(PlannedKind::Opaque),
    ];
    (path, kind, any::<Choice>()).prop_map(|(path, kind, choice)| PlannedEntry { path, kind, choice })
}

/// Returns the paths of a path's parents, the topmost first.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(slash, _)| &path[..slash])
}

/// Returns whether the inode at a path is a directory, or `None` if the path does not exist or leads through links.
fn is_directory(tree: &Tree, path: &str) -> Option<bool> {
    let parts_are_directories = parents(path)
        .all(|parent| tree.lookup(parent).is_some_and(|id| matches!(tree.inode(id).node, Node::Directory(_))));
    let id = tree.lookup(path).filter(|_| parts_are_directories)?;
    Some(matches!(tree.inode(id).node, Node::Directory(_)))
}

/// A layer under construction, on top of the layers below.
struct LayerPlan<'a> {
    lower: &'a Tree,
    /// The entries of the layer without markers, including those not added yet.
    own: Vec<&'a PlannedEntry>,
    entries: Vec<Entry>,
}

impl<'a> LayerPlan<'a> {
    fn new(lower: &'a Tree, plans: &'a [PlannedEntry]) -> Self {
        let mut own: Vec<&PlannedEntry> = Vec::new();
        for planned in
            plans.iter().filter(|planned| !matches!(planned.kind, PlannedKind::Whiteout | PlannedKind::Opaque))
        {
            let below = |one: &PlannedEntry, other: &PlannedEntry| {
                one.kind != PlannedKind::Directory && parents(&other.path).any(|parent| parent == one.path)
            };
            let collides =
                |other: &&PlannedEntry| other.path == planned.path || below(planned, other) || below(other, planned);
            // umoci differs for paths through a lower link or file.
            let in_directories = parents(&planned.path).all(|parent| is_directory(lower, parent) != Some(false));
            if in_directories && !own.iter().any(collides) {
                own.push(planned);
            }
        }
        let mut plan = Self { lower, own, entries: Vec::new() };
        let has_no_target = |own: &&PlannedEntry| own.kind == PlannedKind::HardLink && plan.target(own).is_none();
        let kept = plan.own.iter().copied().filter(|own| !has_no_target(own)).collect();
        plan.own = kept;
        plan
    }

    fn own(&self, path: &str) -> Option<&'a PlannedEntry> {
        self.own.iter().copied().find(|planned| planned.path == path)
    }

    /// Returns whether the layer has an entry at a path or below it.
    fn has_entry_at_or_below(&self, path: &str) -> bool {
        self.own.iter().any(|own| own.path == path || parents(&own.path).any(|parent| parent == path))
    }

    fn add(&mut self, planned: &'a PlannedEntry, text: &str) {
        let is_own = self.own.iter().any(|own| std::ptr::eq(*own, planned));
        let path = &planned.path;
        let entry = match planned.kind {
            PlannedKind::File if is_own => Entry::file(path, text),
            PlannedKind::Directory if is_own => Entry::directory(path),
            PlannedKind::Symlink if is_own => {
                Entry::symlink(path, planned.choice.get(&["/a", "b", "../c", "./d/a", "/"]))
            }
            PlannedKind::HardLink if is_own => match self.target(planned) {
                Some(target) => Entry::hard_link(path, target),
                None => return,
            },
            PlannedKind::Whiteout
                if self.allows_marker_in(path.rsplit_once('/').map_or("", |(directory, _)| directory)) =>
            {
                Entry::whiteout(path)
            }
            PlannedKind::Opaque if self.allows_marker_in(path) => Entry::opaque(path),
            _ => return,
        };
        self.entries.push(entry);
    }

    /// Selects the target of a hard link: a file of this layer, or a file of a lower layer that this layer does not
    /// replace.
    fn target(&self, link: &PlannedEntry) -> Option<String> {
        let own = self.own.iter().filter(|own| own.kind == PlannedKind::File).map(|own| own.path.clone());
        let lower = self.lower.paths().into_iter().filter_map(|(path, id)| {
            let path = String::from_utf8(path).expect("paths are ASCII");
            let is_file = matches!(self.lower.inode(id).node, Node::File(_));
            let replaces =
                |part| part == link.path || self.own(part).is_some_and(|own| own.kind != PlannedKind::Directory);
            let replaced = self.has_entry_at_or_below(&path) || parents(&path).any(replaces);
            (is_file && !replaced).then_some(path)
        });
        let targets: Vec<String> = own.chain(lower).collect();
        (!targets.is_empty()).then(|| link.choice.get(&targets).clone())
    }

    /// Returns whether umoci applies a marker in this directory correctly.
    fn allows_marker_in(&self, directory: &str) -> bool {
        let mut real: Vec<&str> = Vec::new();
        let mut remaining: Vec<&str> = directory.rsplit('/').collect();
        let mut links = 0;
        while let Some(name) = remaining.pop() {
            match name {
                "" | "." => continue,
                ".." => drop(real.pop()),
                _ => real.push(name),
            }
            let path = real.join("/");
            let here = self.entries.iter().find(|entry| entry.name == path.as_bytes()).map(|entry| &entry.kind);
            // umoci gets hard links at another position in the layer.
            let here = here.filter(|kind| !matches!(kind, Kind::HardLink(_)));
            if let Some(Kind::Symlink(target)) = here {
                links += 1;
                if links > 9 {
                    // umoci fails at this limit.
                    return false;
                }
                real.pop();
                if target.starts_with(b"/") {
                    real.clear();
                }
                remaining.extend(std::str::from_utf8(target).expect("targets are ASCII").rsplit('/'));
                continue;
            }
            let lower = is_directory(self.lower, &path);
            if lower == Some(false) && here.is_none() {
                // This layer has not replaced the lower link or file yet.
                return false;
            }
            match self.own(&path) {
                // A file has nothing to hide.
                Some(own) if own.kind != PlannedKind::Directory && here.is_some() => return true,
                // A later entry makes it a file, which has nothing to hide.
                Some(own) if own.kind != PlannedKind::Directory => continue,
                _ => {}
            }
            if !path.is_empty() && lower.is_none() && !self.has_entry_at_or_below(&path) {
                // The directory does not exist. umoci only ignores the marker correctly if a link leads there.
                return links > 0;
            }
        }
        true
    }

    /// Returns the layer in an order that umoci can unpack.
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

/// Returns the layers in the random order, and in the order for umoci.
fn layers_of(plans: &[Vec<PlannedEntry>]) -> (Vec<Layer>, Vec<Layer>) {
    let (mut layers, mut reordered) = (Vec::new(), Vec::new());
    let mut lower = Tree::new();
    for (number, plans) in plans.iter().enumerate() {
        let mut plan = LayerPlan::new(&lower, plans);
        for (place, planned) in plans.iter().enumerate() {
            plan.add(planned, &format!("{number}.{place}"));
        }
        let layer = Layer::new(plan.entries.iter().cloned());
        reordered.push(plan.for_umoci());
        lower.apply(&layer).expect("the layer is valid");
        layers.push(layer);
    }
    (layers, reordered)
}

/// Unpacks the layers with umoci, and lists the result.
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
fn random_stacks_equal_the_result_of_umoci() {
    if skip::needs_root() || skip::needs_program("umoci") {
        return;
    }
    let stacks = env::var(STACKS_VARIABLE).map_or(STACKS, |number| number.parse().expect("a number of stacks"));
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    let strategy = prop::collection::vec(prop::collection::vec(planned_entry(), 1..12), 2..=4);
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
