//! Tests with guests of another architecture, which QEMU emulates.

use std::process::Command;

use serde_json::json;
use vmroot_boot::{InitMessages, Via};
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::guest::Guest;
use vmroot_testkit::skip;

use crate::fixture::{Boot, Root, guest_layer_for};
use crate::listings::{odd, on_mount};

/// Lists the attributes and contents of all paths below the current directory, except the guest's mount points.
const LIST: &str = r#"
besides="! -path ./proc ! -path ./sys ! -path ./dev ! -path ./dev/* ! -path ./run ! -path ./tmp"
set -f
find . -xdev $besides ! -type d -exec stat -c '%n %f %u %g %Y %h %t:%T %s' {} + | sort
find . -xdev $besides -type d -exec stat -c '%n %f %u %g %Y' {} + | sort
find . -xdev $besides -type f -exec sha256sum {} + | sort
find . -xdev $besides -type l -exec readlink {} ';' | sort
"#;

/// A guest without `vmroot-init`: the image's shell runs a script, which writes the same message about its exit code.
#[test]
fn an_archive_boots_with_the_images_own_shell() {
    let Some(_) = Guest::of("arm64") else { return };
    if skip::needs_root() {
        return;
    }
    let init = format!(
        "#!/bin/busybox sh\ncd /\n/bin/busybox mount -t proc proc proc\n{LIST}\n\
         echo '[vmroot-init] exit code 3'\necho 0 >/proc/sys/kernel/printk\nexec poweroff -f\n"
    );
    let mut layer = guest_layer_for("arm64", init.as_bytes(), &json!({}));
    layer.entries.extend(APPLETS.map(|name| vmroot_testkit::layer::Entry::symlink(format!("bin/{name}"), "busybox")));
    let root = Root::of(&[odd(), layer]);
    let boot = Boot {
        architecture: "arm64",
        stage_one: None,
        init_messages: InitMessages::ExitCode,
        append: "TERM=dumb",
        ..Boot::via(Via::Cpio)
    };
    let (ended, output) = boot.run(&root);
    assert_eq!(ended.unwrap().code, Some(3), "{}", String::from_utf8_lossy(&output));
    let expected = on_mount(&root, |place| {
        let shell = Guest::of("amd64").map(|guest| guest.busybox()).unwrap_or_else(|| "/bin/busybox".into());
        let listed = Command::new(shell).args(["sh", "-c", LIST]).current_dir(place).output().unwrap();
        listed.stdout
    });
    let lines = |bytes: &[u8]| -> Vec<String> {
        let text = bytes.escape_ascii().to_string().replace("\\r\\n", "\n").replace("\\n", "\n");
        text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    };
    let (expected, found) = (lines(&expected), lines(&output));
    assert!(expected.len() > 500, "{} lines", expected.len());
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|line| !those.contains(line)).cloned().collect()
    };
    assert_eq!(only(&expected, &found), [] as [&str; 0]);
    assert_eq!(only(&found, &expected), [] as [&str; 0]);
}

/// The names of busybox's applets.
const APPLETS: [&str; 6] = ["find", "stat", "sort", "sha256sum", "readlink", "poweroff"];

/// A guest with `vmroot-init`, if it could be built for this architecture.
#[test]
fn a_disk_is_mounted_by_stage_one() {
    let Some(_) = Guest::of("arm64") else { return };
    let init = match vmroot_guest::init_for("arm64") {
        Ok(init) => init,
        // The toolchain has no target for it. The error must report that, and the test above covers the architecture.
        Err(error) => {
            return assert!(error.full_message().contains("has no aarch64-unknown-linux-musl"), "{error}");
        }
    };
    let config = json!({ "entrypoint": ["/bin/sh", "-c"], "cmd": ["uname -m; exit 7"], "tty": false });
    let root = Root::of(&[guest_layer_for("arm64", init, &config)]);
    let (ended, output) = Boot { architecture: "arm64", stage_one: Some(init), ..Boot::via(Via::ErofsMeta) }.run(&root);
    assert_eq!((ended.unwrap().code, output.as_slice()), (Some(7), &b"aarch64\n"[..]));
}
