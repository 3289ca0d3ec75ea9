//! The examples of each exposure run.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use vmroot_testkit::skip;

/// Runs an example, which cargo has built beside the tests, in a directory with `testdata`.
fn run(name: &str, arguments: &[&str]) -> Output {
    let tests = std::env::current_exe().unwrap();
    let example = tests.ancestors().nth(2).unwrap().join("examples").join(name);
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let directory = tempfile::tempdir().unwrap();
    symlink(checkout.join("testdata"), directory.path().join("testdata")).unwrap();
    let output = Command::new(&example).args(arguments).current_dir(directory.path()).output();
    output.unwrap_or_else(|error| panic!("{}: {error}; `cargo test --examples` builds it", example.display()))
}

/// Runs an example that must succeed, and returns its output.
fn output(name: &str, arguments: &[&str]) -> String {
    let output = run(name, arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn exports_to_files_and_directories() {
    assert!(output("export", &[]).starts_with("root.tar: "));
    assert!(output("erofs", &[]).contains("beside meta.erofs: try/meta.erofs.head\n"));
    assert!(output("ext4", &[]).starts_with("root.ext4: "));
}

#[test]
fn reading_files() {
    let text = output("read", &[]);
    assert!(text.starts_with("hello from vmroot\n") && text.ends_with("demo has mode 2750\n"), "{text}");
}

#[test]
fn serving_over_virtiofs() {
    assert_eq!(output("virtiofs", &[]), "a VMM can connect to try/fs.sock\n");
}

#[test]
fn mounting_with_fuse() {
    if !Path::new("/dev/fuse").exists() && skip::because("needs /dev/fuse") {
        return;
    }
    assert_eq!(output("fuse", &[]), "hello from vmroot\n");
}

#[test]
fn mounting_with_the_kernel() {
    if skip::needs_root() {
        return;
    }
    let output = run("kernel_mount", &[]);
    if String::from_utf8_lossy(&output.stderr).contains("NoFile") && skip::because("needs EROFS mounts of files") {
        return;
    }
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello from vmroot\n", "{output:?}");
}

#[test]
fn pulling_from_a_registry() {
    let registry = vmroot_testkit::registry::Registry::start();
    let layout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/demo");
    registry.put_layout(&layout, "demo").unwrap();
    assert!(output("pull", &[&format!("{}/demo", registry.host())]).contains("sha256:"));
}

#[test]
fn booting_a_guest() {
    let Some(guest) = vmroot_testkit::guest::Guest::of("amd64") else { return };
    let (kernel, modules) = (guest.kernel(), guest.modules());
    let output = output("boot", &[kernel.to_str().unwrap(), modules.to_str().unwrap()]);
    assert!(output.contains("hello from vmroot"), "{output}");
}
