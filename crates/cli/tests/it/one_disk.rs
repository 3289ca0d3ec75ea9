//! The disk that `erofs-meta` describes, as read by QEMU and by imago, libkrun's library. Two versions of imago are
//! tested: the last one that takes the offset of an extent in bytes, and the first one that takes it in sectors.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use vmroot_testkit::layer::{Encoding, Entry, Layer};
use vmroot_testkit::sample::noise;
use vmroot_testkit::skip;

use crate::nobody::{NOBODY, as_user};
use crate::program::Program;
use crate::same_tree::load;

/// An exported image of several layers with contents, and the expected bytes of its disk.
struct Exported {
    program: Program,
    image: PathBuf,
    whole: Vec<u8>,
}

impl Exported {
    fn new() -> Self {
        let program = Program::new();
        let layers = [
            Layer::new([Entry::file("lower", noise(1, 50_000)), Entry::file("small", "a few bytes")]),
            Layer::new([Entry::symlink("link", "lower")]),
            Layer::new([
                Entry::file("upper", noise(2, 4096)),
                Entry::sparse_file("holes", 1 << 20, vec![(0, vec![1])]),
            ]),
        ];
        // Enough directories that the metadata has several blocks.
        let many = Layer::new((0..300).map(|number| Entry::directory(format!("many/{number}")).owner(number, 0)));
        load(&program, &[&layers[..], &[many]].concat(), &Encoding::default());
        let image = program.path("root.erofs");
        program.ok(["export", "example.org/stack:v1", image.to_str().unwrap(), "--format=erofs-meta"]);
        let mut whole = fs::read(image.with_file_name("root.erofs.head")).unwrap();
        let metadata = fs::read(&image).unwrap();
        assert!(
            whole.len() > 4096 && whole[4096..] == metadata[4096..],
            "the head and the image differ after the first block"
        );
        for device in fs::read_to_string(image.with_file_name("root.erofs.devices")).unwrap().lines() {
            whole.extend(fs::read(device).unwrap());
            // Read-only, as in every cache.
            assert_eq!(fs::metadata(device).unwrap().permissions().mode() & 0o777, 0o444);
        }
        Self { program, image, whole }
    }

    fn descriptor(&self, suffix: &str) -> PathBuf {
        self.image.with_file_name(format!("root.erofs{suffix}"))
    }

    /// Makes the files accessible, but not writable, for an unprivileged user.
    fn make_accessible(&self) {
        for directory in [self.program.path("."), self.program.cache().to_owned()] {
            let find = ["-type", "d", "-exec", "chmod", "a+rx", "{}", ";"];
            assert!(Command::new("find").arg(directory).args(find).status().unwrap().success());
        }
    }
}

/// Builds a program of `xtask/readers` where unprivileged users may run it.
fn build_reader(name: &str, program: &Program) -> Option<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let target = top.join("target/readers").join(name);
    let mut build = Command::new(env!("CARGO"));
    build
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(top.join("xtask/readers").join(name).join("Cargo.toml"));
    let built = build.arg("--target-dir").arg(&target).status().unwrap().success();
    if !built && skip::because("needs the crate imago") {
        return None;
    }
    let executable = program.path(name);
    fs::copy(target.join("debug/reader"), &executable).unwrap();
    Some(executable)
}

#[test]
fn imago_reads_the_disk() {
    if skip::needs_root() || skip::needs_program("setpriv") {
        return;
    }
    let exported = Exported::new();
    exported.make_accessible();
    for version in ["imago-0.2.5", "imago-0.2.6"] {
        let Some(build_reader) = build_reader(version, &exported.program) else { return };
        for user in [0, NOBODY] {
            let output = as_user(user).arg(&build_reader).arg(exported.descriptor(".rdonly.vmdk")).output().unwrap();
            assert!(output.status.success(), "{version}: {}", String::from_utf8_lossy(&output.stderr));
            assert!(output.stdout == exported.whole, "{version} as {user}: {} bytes", output.stdout.len());
        }
    }
}

#[test]
fn qemu_reads_the_disk() {
    if skip::needs_root() || skip::needs_program("setpriv") || skip::needs_program("qemu-img") {
        return;
    }
    let exported = Exported::new();
    exported.make_accessible();
    for user in [0, NOBODY] {
        let scratch = tempfile::tempdir().unwrap();
        chown(scratch.path(), Some(user), Some(user)).unwrap();
        let raw = scratch.path().join("raw");
        let mut convert = as_user(user);
        convert.arg("qemu-img");
        convert.args(["convert", "-f", "vmdk", "-O", "raw"]).arg(exported.descriptor(".vmdk")).arg(&raw);
        let output = convert.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(fs::read(&raw).unwrap() == exported.whole, "as {user}");
    }
}
