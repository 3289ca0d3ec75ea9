//! `boot` and `virtiofs` with an image of a cache that belongs to another user.

use std::fs;
use std::process::{Command, Stdio};

use vmroot_testkit::guest::Guest;
use vmroot_testkit::skip;

use crate::nobody::Nobody;
use crate::program::{CommandOutput, Program};

/// The image of the README, with a busybox, a user and an entrypoint.
const IMAGE: &str = concat!("oci:", env!("CARGO_MANIFEST_DIR"), "/../../testdata/demo:demo");

/// A cache of root with the image, and a user who may read it.
struct ShareTest {
    theirs: Program,
    nobody: Nobody,
}

impl ShareTest {
    /// Returns `None` if the test has to be skipped.
    fn new() -> Option<Self> {
        let guest = Guest::of("amd64")?;
        if skip::needs_root() || skip::needs_program("setpriv") {
            return None;
        }
        let (theirs, nobody) = (Program::new(), Nobody::new());
        theirs.ok(["pull", IMAGE, "--arch=amd64"]);
        assert!(Command::new("chmod").args(["-R", "a+rX"]).arg(theirs.path(".")).status().unwrap().success());
        // The directory of the build may be readable only by root. The modules are beside the kernel.
        let copied = Command::new("cp")
            .arg("-r")
            .arg(guest.kernel().ancestors().nth(2).unwrap())
            .arg(nobody.program.path("guest"))
            .status();
        assert!(copied.unwrap().success());
        assert!(
            Command::new("chmod").args(["-R", "a+rX"]).arg(nobody.program.path("guest")).status().unwrap().success()
        );
        Some(Self { theirs, nobody })
    }

    /// Boots the image as that user.
    fn boot(&self, more: &[&str]) -> CommandOutput {
        let boot = self.nobody.program.path("guest/boot");
        let mut files = fs::read_dir(boot).unwrap().map(|entry| entry.unwrap().path());
        let kernel = files.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("vmlinuz-")).unwrap();
        let mut command = self.nobody.command();
        command
            .arg(&self.nobody.executable)
            .args(["boot", "demo", "--pull=never", "--accel=tcg", "--kernel"])
            .arg(kernel);
        let temporary = self.nobody.program.path(".");
        command.env("HOME", &temporary).env("TMPDIR", &temporary).stdin(Stdio::null());
        command.args(more).output().unwrap().into()
    }
}

#[test]
fn guest_boots_from_a_read_only_cache() {
    let Some(test) = ShareTest::new() else { return };
    let cache = test.theirs.cache().to_str().unwrap();
    assert_eq!(test.boot(&["--cache", cache, "--", "id -u; exit 5"]).fails_with_output(5), "1000\n");
}

/// The disk refers to the files of the shared cache, in place.
#[test]
fn guest_boots_from_a_shared_cache() {
    let Some(test) = ShareTest::new() else { return };
    let cache = test.theirs.cache().to_str().unwrap();
    assert_eq!(test.boot(&["--shared-cache", cache, "--", "id -u; exit 5"]).fails_with_output(5), "1000\n");
    let layers = test.nobody.program.path("cache/layers/v1");
    assert_eq!(fs::read_dir(layers).map_or(0, Iterator::count), 0, "nothing was copied");
}

/// `vmroot virtiofs` serves the image of a shared cache. The printed line has the option for it.
#[test]
fn share_of_a_shared_cache_boots() {
    let Some(test) = ShareTest::new() else { return };
    let cache = test.theirs.cache().to_str().unwrap();
    let lines = test.boot(&["--shared-cache", cache, "--print", "--via=virtiofs", "--", "id -u"]).ok();
    assert!(lines.contains(&format!("--shared-cache {cache}")), "{lines}");
    let script = format!("vmroot() {{ '{}' \"$@\"; }}\n{lines}", test.nobody.executable.display());
    let mut command = test.nobody.command();
    command.args(["sh", "-c", &script]).stdin(Stdio::null());
    let output = command.env("HOME", test.nobody.program.path(".")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1000\r\n\r\n[vmroot-init] exit code 0"), "{output:?}");
}

impl CommandOutput {
    /// Returns the output of a guest whose command fails.
    #[track_caller]
    fn fails_with_output(self, code: i32) -> String {
        assert_eq!(self.status.code(), Some(code), "{self}");
        String::from_utf8(self.stdout).unwrap()
    }
}
