//! Comparison of random stacks of layers with the naive model: the same root, or an error if the model has one.

use proptest::prelude::*;
use vmroot_layer_index::{Index, InodeId, Result};
use vmroot_testkit::arbitrary;
use vmroot_testkit::error::{Error, Reason};
use vmroot_testkit::layer::{Encoding, Entry, Layer, WHITEOUT_PREFIX};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::model::Tree;

use crate::stack::Stack;

fn build_and_merge(layers: &[Layer], encoding: &Encoding) -> Result<(Stack, Index)> {
    let tars: Vec<_> = layers.iter().map(|layer| layer.to_tar(encoding)).collect();
    let stack = Stack::build(&tars)?;
    let root = stack.root()?;
    Ok((stack, root))
}

/// Compares a whole root with the model.
#[track_caller]
fn assert_same_root(tree: &Tree, stack: &Stack, root: &Index) {
    Listing::of_tree(tree).assert_same(&stack.listing(root));
    // The listing does not include the root directory.
    let (expected, inode) = (tree.inode(tree.root()).attributes, root.inode(InodeId::ROOT));
    assert_eq!(
        (inode.mode() & 0o7777, inode.uid(), inode.gid(), inode.mtime().seconds, inode.mtime().nanoseconds),
        (expected.mode, expected.uid, expected.gid, expected.mtime.seconds, expected.mtime.nanoseconds)
    );
    let xattrs = inode.xattrs().map(|(name, value)| (name.to_vec(), value.to_vec()));
    assert_eq!(xattrs.collect::<std::collections::BTreeMap<_, _>>(), expected.xattrs);
}

fn is_whiteout(entry: &Entry) -> bool {
    entry.name.rsplit(|&byte| byte == b'/').next().is_some_and(|name| name.starts_with(WHITEOUT_PREFIX))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn merged_roots_equal_the_model(layers in arbitrary::stack(), encoding in arbitrary::encoding()) {
        let tree = Tree::of_layers(&layers).expect("stack() has no errors");
        let (stack, root) = build_and_merge(&layers, &encoding).expect("the model has no error");
        assert_same_root(&tree, &stack, &root);
        }

        #[test]
        fn errors_equal_the_model(layers in arbitrary::any_stack(), encoding in arbitrary::encoding()) {
        match (Tree::of_layers(&layers), build_and_merge(&layers, &encoding)) {
            (Ok(tree), Ok((stack, root))) => assert_same_root(&tree, &stack, &root),
            (Err(_), Err(_)) => {}
            // A whiteout of the longest name has a name longer than a file can have, which the model refuses.
            (Err(Error::Entry { entry, reason: Reason::NameTooLong, .. }), Ok(_)) if is_whiteout(&entry) => {}
            (Ok(_), Err(error)) => panic!("the model has no error: {error}"),
            (Err(error), Ok(_)) => panic!("only the model has an error: {error}"),
        }
    }
}
