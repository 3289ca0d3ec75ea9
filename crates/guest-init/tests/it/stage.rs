//! Tests of stage one: from an initramfs to a root on a disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use vmroot_testkit::guest::{Guest, Initramfs};
use vmroot_testkit::skip;

use crate::root::guest;
use crate::{exit_code, line};

/// The modules for a disk on PCI, in the order of loading.
pub(crate) const MODULES: [&str; 6] = [
    "drivers/virtio/virtio_ring.ko",
    "drivers/virtio/virtio.ko",
    "drivers/virtio/virtio_pci_legacy_dev.ko",
    "drivers/virtio/virtio_pci_modern_dev.ko",
    "drivers/virtio/virtio_pci.ko",
    "drivers/block/virtio_blk.ko",
];

const SCRIPT: &str = r#"#!/bin/busybox sh
echo "root: $(busybox grep ' / ' /proc/mounts | busybox cut -d ' ' -f 3,4 | busybox cut -d , -f 1)"
echo "top: $(busybox stat -c '%a %u %g %Y' /)"
echo "write: $( (echo x >/written) 2>/dev/null && busybox cat /written)"
echo "run: $(busybox stat -c '%a %u' /run/daemon) $(busybox cat /run/daemon/file) $(echo y >/run/new && busybox cat /run/new)"
echo "tmp: $(echo z >/tmp/new && busybox cat /tmp/new)"
echo "program: $1 $(busybox tr '\0' ' ' </proc/1/cmdline)"
echo "modules: $(busybox ls -d /sys/module/virtio_blk)"
exit 3
"#;

/// Returns an ext4 image, made by e2fsprogs from a directory, or `None` if the test is skipped.
pub(crate) fn disk(directory: &Path, guest: &Guest, init: &[u8]) -> Option<std::path::PathBuf> {
    if skip::needs_program("mke2fs") {
        return None;
    }
    let tree = directory.join("tree");
    for name in ["bin", "sbin", "etc/vmroot", "run/daemon", "tmp", "proc", "sys", "dev"] {
        fs::create_dir_all(tree.join(name)).unwrap();
    }
    fs::copy(guest.busybox(), tree.join("bin/busybox")).unwrap();
    fs::write(tree.join("sbin/vmroot-init"), init).unwrap();
    fs::write(tree.join("check"), SCRIPT).unwrap();
    fs::write(tree.join("run/daemon/file"), "kept\n").unwrap();
    fs::write(tree.join("etc/vmroot/config.json"), r#"{"cmd": ["/check", "unused"], "entrypoint": ["/check"]}"#)
        .unwrap();
    for (name, mode) in [("bin/busybox", 0o755), ("sbin/vmroot-init", 0o755), ("check", 0o755), ("run/daemon", 0o750)] {
        fs::set_permissions(tree.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let image = directory.join("image");
    let mut mke2fs = Command::new("mke2fs");
    mke2fs.args(["-q", "-t", "ext4", "-E", "root_owner=0:5", "-d"]).arg(&tree).arg(&image).arg("32M");
    assert!(mke2fs.status().unwrap().success());
    Some(image)
}

/// Returns QEMU's arguments for the read-only disk.
fn drive(disk: &Path) -> [String; 2] {
    ["-drive".to_owned(), format!("file={},format=raw,if=virtio,readonly=on", disk.display())]
}

fn stage_one(guest: &Guest, init: &[u8], overlay: bool) -> Initramfs {
    let kernel = guest.modules().join("kernel");
    let mut modules = MODULES.to_vec();
    if overlay {
        modules.push("fs/overlayfs/overlay.ko");
    }
    let name = |module: &str| format!("/vmroot/modules/{}", module.rsplit('/').next().unwrap());
    // The first module is listed twice: a loaded module is not an error.
    let list: Vec<_> = modules.iter().chain(&modules[..1]).map(|module| format!("{:?}", name(module))).collect();
    let stage = format!(
        r#"{{"modules": [{}], "root": {{"fstype": "ext4", "source": "/dev/vda", "readOnly": true}}, "overlay": {overlay}}}"#,
        list.join(", ")
    );
    let archive = Initramfs::new().directory("vmroot", 0o755).directory("vmroot/modules", 0o755);
    let archive = archive.file("init", 0o755, init).file("vmroot/stage.json", 0o644, stage.as_bytes());
    modules.iter().fold(archive, |archive, module| archive.copy(&name(module), 0o644, &kernel.join(module)))
}

#[test]
fn a_read_only_root_has_a_writable_run_and_tmp() {
    let Some((guest, init)) = guest("amd64") else { return };
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = disk(directory.path(), &guest, init) else { return };
    let output = guest.boot_with(stage_one(&guest, init, false), "-- argument", &drive(&disk)).finish();
    assert_eq!(line(&output, "root"), "ext4 ro");
    assert_eq!(line(&output, "write"), "");
    assert_eq!(line(&output, "run"), "750 0 kept y");
    assert_eq!(line(&output, "tmp"), "z");
    assert_eq!(line(&output, "program"), "argument /sbin/vmroot-init argument ");
    assert_eq!(line(&output, "modules"), "/sys/module/virtio_blk");
    assert_eq!(exit_code(&output), 3);
}

#[test]
fn a_writable_view_of_a_read_only_root() {
    let Some((guest, init)) = guest("amd64") else { return };
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = disk(directory.path(), &guest, init) else { return };
    let before = fs::read(&disk).unwrap();
    let output = guest.boot_with(stage_one(&guest, init, true), "", &drive(&disk)).finish();
    assert_eq!(line(&output, "root"), "overlay rw");
    assert_eq!(line(&output, "write"), "x");
    assert!(line(&output, "top").starts_with("755 0 5 "), "{output}");
    assert_eq!(exit_code(&output), 3);
    assert!(fs::read(&disk).unwrap() == before, "the read-only disk was changed");
}

#[test]
fn an_impossible_stage_is_reported() {
    let Some((guest, init)) = guest("amd64") else { return };
    let boot = |stage: &str| {
        let archive = Initramfs::new().directory("vmroot", 0o755).file("init", 0o755, init);
        guest.boot(archive.file("vmroot/stage.json", 0o644, stage.as_bytes()), "").finish()
    };
    let output = boot(r#"{"modules": ["/vmroot/none.ko"], "root": {"fstype": "ext4", "source": "/dev/vda"}}"#);
    assert!(
        output.contains("[vmroot-init] error: /vmroot/none.ko: No such file or directory (os error 2)\n"),
        "{output}"
    );
    assert_eq!(exit_code(&output), 125);
    let output = boot(r#"{"root": {"fstype": "none", "source": "x"}}"#);
    let expected =
        "error: cannot mount none x at /root: No such device (os error 19) (the kernel has no such file system; ";
    assert!(output.contains(expected), "{output}");
}
