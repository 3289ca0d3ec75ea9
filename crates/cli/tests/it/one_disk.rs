//! The whole disk that `erofs-meta` describes, read by those that start guests with it: QEMU, and imago, libkrun's
//! library, in the last version that takes the offset of an extent for bytes and the first that takes it for sectors.

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

/// An image of several layers with contents, exported, with its parts one behind the other.
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
        // Enough directories that the metadata has blocks of its own.
        let many = Layer::new((0..300).map(|number| Entry::directory(format!("many/{number}")).owner(number, 0)));
        load(&program, &[&layers[..], &[many]].concat(), &Encoding::default());
        let image = program.path("root.erofs");
        program.ok(["export", "example.org/stack:v1", image.to_str().unwrap(), "--format=erofs-meta"]);
        let mut whole = fs::read(image.with_file_name("root.erofs.head")).unwrap();
        let metadata = fs::read(&image).unwrap();
        assert!(
            whole.len() > 4096 && whole[4096..] == metadata[4096..],
            "the head is the image but for its first block"
        );
        for device in fs::read_to_string(image.with_file_name("root.erofs.devices")).unwrap().lines() {
            whole.extend(fs::read(device).unwrap());
            // As it is in every cache: nobody writes what is verified.
            assert_eq!(fs::metadata(device).unwrap().permissions().mode() & 0o777, 0o444);
        }
        Self { program, image, whole }
    }

    fn descriptor(&self, suffix: &str) -> PathBuf {
        self.image.with_file_name(format!("root.erofs{suffix}"))
    }

    /// Lets a user without privileges, who may write none of the files, get at them.
    fn opened_to_all(&self) {
        for directory in [self.program.path("."), self.program.cache().to_owned()] {
            let find = ["-type", "d", "-exec", "chmod", "a+rx", "{}", ";"];
            assert!(Command::new("find").arg(directory).args(find).status().unwrap().success());
        }
    }
}

/// A program of `xtask/readers`, built where users without privileges may run it.
fn reader(name: &str, program: &Program) -> Option<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let target = top.join("target/readers").join(name);
    let mut build = Command::new(env!("CARGO"));
    build
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(top.join("xtask/readers").join(name).join("Cargo.toml"));
    let built = build.arg("--target-dir").arg(&target).status().unwrap().success();
    if !built && skip::because("needs imago from crates.io") {
        return None;
    }
    let executable = program.path(name);
    fs::copy(target.join("debug/reader"), &executable).unwrap();
    Some(executable)
}

#[test]
fn imago_reads_the_whole_disk() {
    if skip::needs_root() || skip::needs_program("setpriv") {
        return;
    }
    let exported = Exported::new();
    exported.opened_to_all();
    for version in ["imago-0.2.5", "imago-0.2.6"] {
        let Some(reader) = reader(version, &exported.program) else { return };
        for user in [0, NOBODY] {
            let output = as_user(user).arg(&reader).arg(exported.descriptor(".rdonly.vmdk")).output().unwrap();
            assert!(output.status.success(), "{version}: {}", String::from_utf8_lossy(&output.stderr));
            assert!(output.stdout == exported.whole, "{version} as {user}: {} bytes", output.stdout.len());
        }
    }
}

#[test]
fn qemu_reads_the_whole_disk() {
    if skip::needs_root() || skip::needs_program("setpriv") || skip::needs_program("qemu-img") {
        return;
    }
    let exported = Exported::new();
    exported.opened_to_all();
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
