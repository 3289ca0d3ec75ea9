//! Mounts and exports show the same files as the kernel's overlayfs does for the same layers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::test_runner::{Config, TestCaseError, TestCaseResult, TestRunner};
use vmroot_testkit::arbitrary;
use vmroot_testkit::image::oci_layout::{self, Item};
use vmroot_testkit::image::{Compression, ImageBuilder};
use vmroot_testkit::layer::{Encoding, Entry, Layer};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::overlay::Overlay;
use vmroot_testkit::skip;

use crate::program::Program;

/// The number of random stacks of layers. `PROPTEST_CASES` overrides it.
const STACKS: u32 = 20;

#[test]
fn random_stacks_of_layers() {
    if cannot_compare() {
        return;
    }
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(STACKS);
    // Each case runs a dozen processes, so a large counterexample is better than a long search for a small one.
    let config = Config { cases, max_shrink_iters: 100, failure_persistence: None, ..Config::default() };
    let stacks = (arbitrary::stack(), arbitrary::encoding());
    TestRunner::new(config).run(&stacks, |(layers, encoding)| check(&layers, &encoding)).unwrap();
}

#[test]
fn typical_layers() {
    if cannot_compare() {
        return;
    }
    check(&layers_of_every_kind(), &Encoding::default()).unwrap();
}

/// Returns two layers with files of every kind.
pub(crate) fn layers_of_every_kind() -> [Layer; 2] {
    let lower = Layer::new([
        Entry::directory("usr"),
        Entry::directory("usr/lib").mode(0o1777).owner(70_000, 80_000),
        Entry::file("usr/lib/a", "a").mode(0o4755).mtime(1_234_567_890, 987_654_321).xattr("user.nul", b"a\0b"),
        Entry::hard_link("usr/lib/b", "usr/lib/a"),
        Entry::hard_link("usr/lib/c", "usr/lib/a"),
        Entry::sparse_file("sparse", 10 << 20, vec![(4096, b"middle".to_vec()), (9 << 20, vec![1; 5000])]),
        Entry::symlink("lib", "usr/lib"),
        Entry::char_device("null", 1, 3),
        Entry::block_device("disk", 8, 1).owner(0, 6),
        Entry::fifo("pipe").mode(0o600),
        Entry::file("gone", "gone"),
        Entry::directory("emptied"),
        Entry::file("emptied/old", "old"),
        Entry::directory("replaced"),
        Entry::file("replaced/below", "below"),
        Entry::file(b"odd \xff\n\tname", "odd"),
        Entry::file([b'n'; 255], "long"),
    ]);
    let upper = Layer::new([
        Entry::whiteout("gone"),
        Entry::opaque("emptied"),
        Entry::file("emptied/new", "new"),
        Entry::file("replaced", "a file now"),
        Entry::hard_link("linked-across", "usr/lib/b"),
        Entry::file("lib/through-the-link", "in usr/lib"),
        Entry::file("usr/lib/c", "no link any more"),
    ]);
    [lower, upper]
}

pub(crate) fn cannot_compare() -> bool {
    skip::needs_root() || !Path::new("/dev/fuse").exists() && skip::because("needs /dev/fuse")
}

fn check(layers: &[Layer], encoding: &Encoding) -> TestCaseResult {
    let judge = Overlay::of_layers(layers).unwrap();
    let expected = judge.listing().unwrap();
    let program = Program::new();
    load(&program, layers, encoding);
    for (what, directory) in [("mount", mount(&program)), ("dir", export(&program)), ("tar", untar(&program))] {
        let listing = Listing::of_directory(&directory).unwrap();
        if what == "mount" {
            program.ok(["umount".as_ref(), directory.as_os_str()]);
        }
        if let Some(difference) = expected.difference(&listing) {
            return Err(TestCaseError::fail(format!("{what}: {difference}")));
        }
    }
    Ok(())
}

pub(crate) fn load(program: &Program, layers: &[Layer], encoding: &Encoding) {
    let compressions = [Compression::Gzip, Compression::Zstd, Compression::None];
    let image =
        layers.iter().zip(compressions.iter().cycle()).fold(ImageBuilder::new(), |image, (layer, compression)| {
            image.compression(*compression).layer_tar(layer.to_tar(encoding))
        });
    let layout = program.path("layout");
    fs::create_dir(&layout).unwrap();
    oci_layout::write(&layout, &[(Item::Image(&image.build()), Some("example.org/stack:v1"))]).unwrap();
    program.ok(["load".as_ref(), layout.as_os_str(), "--arch=amd64".as_ref()]);
}

fn mount(program: &Program) -> PathBuf {
    let directory = program.path("mount");
    fs::create_dir(&directory).unwrap();
    program.ok(["mount", "example.org/stack:v1", directory.to_str().unwrap(), "--detach", "--suid-dev"]);
    directory
}

fn export(program: &Program) -> PathBuf {
    let directory = program.path("exported");
    let answer = program.run(["export", "example.org/stack:v1", directory.to_str().unwrap(), "--format=dir"]);
    assert_eq!(answer.stderr, "");
    answer.ok();
    directory
}

fn untar(program: &Program) -> PathBuf {
    let directory = program.path("untarred");
    fs::create_dir(&directory).unwrap();
    let mut export = program.command(["export", "example.org/stack:v1", "-", "--format=tar"]);
    let mut export = export.stdout(Stdio::piped()).spawn().unwrap();
    let mut tar = Command::new("tar");
    tar.args(["-x", "-p", "--same-owner", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-C"]).arg(&directory);
    // The time of the root is not compared. GNU tar warns about files in the future.
    let status = tar.arg("--warning=no-timestamp").stdin(export.stdout.take().unwrap()).status().unwrap();
    assert!(export.wait().unwrap().success() && status.success());
    directory
}
