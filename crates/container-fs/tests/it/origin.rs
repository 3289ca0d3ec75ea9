//! The origin of paths, compared with roots of the lower layers alone.

use std::collections::BTreeSet;

use proptest::prelude::*;
use vmroot_container_fs::{ContainerFs, FollowedLink, HidingCause, InodeKind, Located, Origin};
use vmroot_layer_index::Index;
use vmroot_testkit::arbitrary;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::model::Tree;

use crate::stack::{Stack, root_of};

/// Layers, their indexes, and their root.
struct Layered {
    layers: Vec<Layer>,
    indexes: Vec<Index>,
    root: ContainerFs,
    _stack: Stack,
}

impl Layered {
    fn new(layers: Vec<Layer>) -> Self {
        let stack = Stack::new();
        let indexes = layers.iter().map(|layer| Index::open(&stack.layer(layer).index).unwrap()).collect();
        Self { indexes, root: stack.root(&layers), layers, _stack: stack }
    }

    fn origin(&self, path: &str) -> Origin {
        Origin::of(&self.indexes, path.as_bytes())
    }

    /// Returns the paths of the root of each number of lower layers, from 0 on.
    fn paths_of_lower_roots(&self) -> Vec<BTreeSet<Vec<u8>>> {
        let paths = |count: usize| {
            let tree = Tree::of_layers(&self.layers[..count]).unwrap();
            Listing::of_tree(&tree).rows.into_keys().collect()
        };
        (0..=self.layers.len()).map(paths).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn random_stacks(layers in arbitrary::stack()) {
        let layered = Layered::new(layers);
        let lower = layered.paths_of_lower_roots();
        for path in lower.iter().flatten().collect::<BTreeSet<_>>() {
            let origin = Origin::of(&layered.indexes, path);
            let ino = layered.root.resolve_path(b"/").unwrap().ino;
            let ino = path.split(|byte| *byte == b'/').try_fold(ino, |ino, name| layered.root.lookup(ino, name));
            match ino {
                Ok(ino) => check_present(&layered, path, ino, &origin)?,
                Err(_) => check_absent(&lower, path, &origin)?,
            }
        }
    }
}

/// Checks that a layer has the attributes and the bytes that the root shows.
fn check_present(
    layered: &Layered,
    path: &[u8],
    ino: vmroot_container_fs::InodeId,
    origin: &Origin,
) -> Result<(), TestCaseError> {
    let at = || path.escape_ascii().to_string();
    let root = &layered.root;
    let highest = origin.versions.last().unwrap_or_else(|| panic!("{}: no versions", at()));
    prop_assert!(origin.versions.windows(2).all(|two| two[0].layer < two[1].layer), "{}", at());
    prop_assert_eq!(origin.deleted_by(), None, "{}", at());
    let layer = origin.attributes.unwrap_or_else(|| panic!("{}: no attributes", at()));
    let names = path.split(|byte| *byte == b'/');
    let index = &layered.indexes[layer];
    let found = names.fold(vmroot_container_fs::InodeId::ROOT, |directory, name| {
        match index.child(directory, name).unwrap().target {
            vmroot_layer_index::Target::Inode(ino) => ino,
            vmroot_layer_index::Target::Whiteout => panic!("{}: the layer deletes it", at()),
        }
    });
    let (inode, stat) = (index.inode(found), root.stat(ino));
    if inode.kind() == InodeKind::Link {
        prop_assert!(stat.kind != InodeKind::Directory, "{}", at());
        return Ok(());
    }
    prop_assert_eq!((inode.mode(), inode.uid(), inode.gid()), (stat.mode, stat.uid, stat.gid), "{}", at());
    prop_assert_eq!(inode.mtime(), stat.mtime, "{}", at());
    prop_assert!(inode.xattrs().eq(root.xattrs(ino)), "{}", at());
    prop_assert_eq!(inode.content_digest(), root.content_digest(ino), "{}", at());
    prop_assert_eq!(inode.link_target(), root.readlink(ino).unwrap_or_default(), "{}", at());
    if stat.kind != InodeKind::Directory {
        prop_assert_eq!((origin.versions.len(), highest.layer), (1, layer), "{}", at());
    }
    if let Some(extent) = root.extent(ino) {
        prop_assert_eq!(extent.file as usize, layer, "{}", at());
    }
    Ok(())
}

/// Checks that the path is in the root of the layers below the one that deleted it, and in no later root.
fn check_absent(lower: &[BTreeSet<Vec<u8>>], path: &[u8], origin: &Origin) -> Result<(), TestCaseError> {
    let at = || path.escape_ascii().to_string();
    let by = origin.deleted_by().unwrap_or_else(|| panic!("{}: not deleted", at()));
    let last = lower.iter().rposition(|paths| paths.contains(path));
    prop_assert_eq!(Some(by.layer), last, "{}: {:?}", at(), origin);
    let whole = [b"/", path].concat();
    let is_prefix = whole == by.path || whole.starts_with(&[&by.path[..], b"/"].concat()) || by.path == b"/";
    prop_assert!(is_prefix, "{}: {:?}", at(), by);
    Ok(())
}

fn layers() -> Vec<Layer> {
    vec![
        Layer::new([
            Entry::directory("usr").mode(0o700),
            Entry::file("usr/replaced", "0"),
            Entry::file("usr/deleted", "0"),
            Entry::file("etc/conf.d/old", "0"),
            Entry::file("tree/deep/file", "0"),
            Entry::file("file", "0"),
            Entry::file("twice", "0"),
        ]),
        Layer::new([
            Entry::file("usr/replaced", "1"),
            Entry::whiteout("usr/deleted"),
            Entry::opaque("etc/conf.d"),
            Entry::file("etc/conf.d/new", "1"),
            Entry::whiteout("tree"),
            Entry::directory("file"),
            Entry::whiteout("twice"),
        ]),
        Layer::new([
            Entry::file("usr/replaced", "2"),
            Entry::directory("usr").mode(0o755),
            Entry::file("tree", "a file"),
            Entry::hard_link("usr/linked", "etc/conf.d/new"),
            Entry::whiteout("twice"),
        ]),
    ]
}

#[test]
fn causes_are_named() {
    let layered = Layered::new(layers());
    let replaced = layered.origin("/usr/replaced");
    assert_eq!((replaced.layer(), replaced.attributes), (Some(2), Some(2)));
    let hidden: Vec<_> = replaced.hidden.iter().map(|it| (it.version.layer, it.by.layer, it.by.cause)).collect();
    assert_eq!(hidden, [(0, 1, HidingCause::Replaced), (1, 2, HidingCause::Replaced)]);
    for (path, layer, cause, by) in [
        ("/usr/deleted", 1, HidingCause::Whiteout, "/usr/deleted"),
        ("/etc/conf.d/old", 1, HidingCause::Opaque, "/etc/conf.d"),
        ("/tree/deep/file", 1, HidingCause::Whiteout, "/tree"),
        ("/twice", 1, HidingCause::Whiteout, "/twice"),
    ] {
        let origin = layered.origin(path);
        assert_eq!(origin.layer(), None, "{path}");
        let found = origin.deleted_by().unwrap();
        assert_eq!((found.layer, found.cause, &found.path[..]), (layer, cause, by.as_bytes()), "{path}");
    }
    let usr = layered.origin("/usr/");
    assert_eq!(usr.versions.iter().map(|version| version.layer).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!((usr.attributes, usr.versions[1].is_implicit), (Some(2), true));
    let file = layered.origin("/file");
    assert_eq!((file.layer(), file.hidden[0].version.kind), (Some(1), InodeKind::Regular));
    assert_eq!(layered.origin("/usr/linked").versions[0].kind, InodeKind::Link);
    assert_eq!(layered.origin("/").versions.len(), 3);
    assert_eq!(layered.origin("/never"), Origin::default());
}

#[test]
fn links_on_the_way_are_reported() {
    let (_stack, root) = root_of([
        Entry::file("usr/lib/x", "x"),
        Entry::symlink("lib", "usr/lib"),
        Entry::symlink("usr/abs", "/lib"),
        Entry::symlink("loop", "loop"),
    ]);
    let link = |path: &str, target: &str| FollowedLink { path: path.into(), target: target.into() };
    let located = |path: &str| root.locate(path.as_bytes()).unwrap();
    let x = Some(root.resolve_path(b"/usr/lib/x").unwrap().ino);
    let expected = Located {
        path: b"/usr/lib/x".to_vec(),
        links: vec![link("/usr/abs", "/lib"), link("/lib", "usr/lib")],
        ino: x,
    };
    assert_eq!(located("usr/abs/x"), expected);
    let gone = located("/lib/gone/../gone/./y");
    assert_eq!((&gone.path[..], gone.links.len(), gone.ino), (&b"/usr/lib/gone/y"[..], 1, None));
    assert_eq!(&located("/usr/lib/x/below").path[..], b"/usr/lib/x/below");
    assert_eq!(&located("lib").path[..], b"/lib");
    assert_eq!(&located("lib/").path[..], b"/usr/lib");
    assert_eq!((&located("..").path[..], located("..").ino.is_some()), (&b"/"[..], true));
    assert!(matches!(root.locate(b"loop/x"), Err(vmroot_container_fs::Error::TooManyLinks(_))));
}
