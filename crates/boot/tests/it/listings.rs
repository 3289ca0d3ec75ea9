//! Tests that a guest's kernel shows the same root as a FUSE mount.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::test_runner::{Config, TestRunner};
use vmroot_boot::Via;
use vmroot_fuse_mount::{Mount, MountOptions};
use vmroot_testkit::arbitrary;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::skip;

use crate::fixture::{Boot, Root, guest_layer, needs_guests};
use crate::lister;

/// The number of random layer stacks for each form. `PROPTEST_CASES` overrides it.
const STACKS: u32 = 1;

/// The fields of a listing that a form keeps.
#[derive(Clone, Copy)]
struct KeptFields {
    nanoseconds: bool,
    xattrs: bool,
    links_of_links: bool,
}

const ALL: KeptFields = KeptFields { nanoseconds: true, xattrs: true, links_of_links: true };
const OF_SQUASHFS: KeptFields = KeptFields { nanoseconds: false, ..ALL };
const OF_CPIO: KeptFields = KeptFields { nanoseconds: false, xattrs: false, links_of_links: false };

#[test]
fn via_erofs() {
    check(Via::Erofs, ALL);
}

#[test]
fn via_erofs_meta() {
    check(Via::ErofsMeta, ALL);
}

#[test]
fn via_disk() {
    check(Via::Disk, ALL);
}

#[test]
fn via_ext4() {
    check(Via::Ext4, ALL);
}

#[test]
fn via_squashfs() {
    if skip::needs_program("sqfstar") {
        return;
    }
    check(Via::Squashfs, OF_SQUASHFS);
}

#[test]
fn via_cpio() {
    check(Via::Cpio, OF_CPIO);
}

#[test]
fn via_virtiofs() {
    check(Via::Virtiofs, ALL);
}

#[test]
fn via_erofs_under_an_overlay() {
    if needs_guests() {
        return;
    }
    let boot = Boot { overlay: true, ..Boot::via(Via::Erofs) };
    let root = crate::fixture::script("echo new > /etc/new && rm /sbin/vmroot-init && cat /etc/new && ls /sbin");
    assert_eq!(boot.output(&root), "new\n");
}

#[test]
fn via_ext4_writes_are_visible() {
    if needs_guests() {
        return;
    }
    let text = "dd if=/dev/zero of=/new bs=1M count=8 2>/dev/null && sync && wc -c < /new && df -k / | grep -c vda";
    assert_eq!(Boot::via(Via::Ext4).output(&crate::fixture::script(text)), "8388608\n1\n");
}

fn check(via: Via, kept: KeptFields) {
    if needs_guests() || skip::needs_root() {
        return;
    }
    compare(&[odd(), odder()], via, kept);
    // Failures are not shrunk: each step of that would boot another guest.
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(STACKS);
    let config = Config { cases, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
    let compare = |layers: Vec<Layer>| {
        compare(&layers, via, kept);
        Ok(())
    };
    TestRunner::new(config).run(&arbitrary::stack(), compare).unwrap();
}

fn compare(layers: &[Layer], via: Via, kept: KeptFields) {
    let mut layers = layers.to_vec();
    layers.extend([guest_layer(&lister::config()), lister::layer()]);
    let root = Root::of(&layers);
    let expected = mounted(&root);
    let found = lister::listing_in(&Boot::via(via).output(&root));
    assert_same(&expected, &found, kept);
}

/// Returns the listing of a FUSE mount.
fn mounted(root: &Root) -> Listing {
    on_mount(root, |place| Listing::of_directory(place).unwrap())
}

/// Passes a FUSE mount of the root to `look`.
pub(crate) fn on_mount<T>(root: &Root, look: impl FnOnce(&Path) -> T) -> T {
    let place = tempfile::tempdir().unwrap();
    let mount = Mount::new(root.fs.clone(), place.path(), &MountOptions { suid_dev: true, ..MountOptions::default() });
    let mount = mount.unwrap();
    let seen = look(place.path());
    mount.unmounter().unmount().unwrap();
    mount.wait().unwrap();
    seen
}

/// Compares two listings line by line, without the fields that the form does not keep.
#[track_caller]
fn assert_same(expected: &Listing, found: &str, kept: KeptFields) {
    let expected = expected.to_string();
    let lines = |text: &str| -> BTreeMap<String, String> {
        let line = |line: &str| {
            let mut fields: Vec<String> = line.split(' ').map(str::to_owned).collect();
            // Path, kind, mode, owner, group, time, size, device, link, target, xattrs, digest.
            if fields.len() == 12 {
                if !kept.nanoseconds {
                    let time: i128 = fields[5].parse().unwrap();
                    fields[5] = time.div_euclid(1_000_000_000).clamp(0, u32::MAX.into()).to_string();
                }
                if !kept.xattrs {
                    fields[10] = String::new();
                }
                if !kept.links_of_links && fields[1] == "l" {
                    fields[8] = String::new();
                }
            }
            (fields.remove(0), fields.join(" "))
        };
        text.lines().map(line).collect()
    };
    let (expected, found) = (lines(&expected), lines(found));
    assert!(expected.len() > 10, "{} paths", expected.len());
    let mut differences = Vec::new();
    for path in expected.keys().chain(found.keys()) {
        let (expected, found) = (expected.get(path), found.get(path));
        if expected != found {
            differences.push(format!("{path}\n- {expected:?}\n+ {found:?}"));
        }
    }
    differences.dedup();
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// Returns a layer with all unusual kinds of entries.
pub(crate) fn odd() -> Layer {
    let link = |number: u32| Entry::hard_link(format!("links/{number:03}"), "links/000");
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let entries = [
        Entry::directory("usr").mode(0o1777).owner(70_000, 80_000).mtime(1, 1),
        Entry::file("usr/setuid", "s").mode(0o4755).mtime(1_234_567_890, 987_654_321),
        Entry::file("usr/setgid", "g").mode(0o2711).mtime(1 << 31, 999_999_999),
        Entry::file("usr/capable", "c").mode(0o755).xattr("security.capability", capability),
        Entry::file("usr/none", "").mode(0),
        Entry::file("usr/owned", "o").owner(u32::MAX - 1, 65_536),
        Entry::file("usr/xattrs", "x").xattr("user.a", "").xattr("user.nul", b"a\0b").xattr("trusted.t", vec![7; 600]),
        Entry::directory("usr/with").xattr("user.of.a.directory", "d").xattr("security.testkit", "s"),
        Entry::file("sparse", ""),
        Entry::sparse_file("usr/sparse", 10 << 20, vec![(4096, b"middle".to_vec()), (9 << 20, vec![1; 5000])]),
        Entry::sparse_file("usr/hole", 1 << 20, vec![]),
        Entry::symlink("usr/short", "x"),
        Entry::symlink("usr/sixty", "y".repeat(60)),
        Entry::symlink("usr/long", "z/".repeat(150)),
        Entry::symlink("usr/longest", "l".repeat(4095)),
        Entry::char_device("null", 1, 3).mode(0o666),
        Entry::char_device("large", 4095, 1_048_575),
        Entry::block_device("disk", 8, 1).owner(0, 6),
        Entry::fifo("pipe").mode(0o600),
        Entry::file(b"odd \xff\n\tname", "odd"),
        Entry::file([b'n'; 255], "long"),
        Entry::file("\u{fc}=%*\\", "utf-8"),
        Entry::directory("empty"),
        Entry::directory("gone"),
        Entry::file("gone/file", "gone"),
        Entry::directory("many"),
        Entry::directory("links"),
        Entry::file("links/000", "l"),
    ];
    let many = (0..300).map(|number| Entry::file(format!("many/{number}"), vec![b'#'; number * 37]));
    Layer::new(entries.into_iter().chain((1..100).map(link)).chain(many))
}

/// Returns a layer to stack on [`odd`].
fn odder() -> Layer {
    Layer::new([
        Entry::whiteout("gone"),
        Entry::hard_link("linked-across", "usr/setuid"),
        Entry::file("links/050", "no link any more"),
        Entry::file("blocks", vec![b'#'; 4096]),
        Entry::file("blocks-and-a-byte", vec![b'#'; 3 * 4096 + 1]),
    ])
}
