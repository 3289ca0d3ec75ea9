//! A real guest: QEMU mounts the disk through each door, and reads every byte of it.

use std::path::Path;
use std::sync::Arc;

use vmroot_disk_serve::mount_file;
use vmroot_fuse_mount::MountOptions;
use vmroot_testkit::guest::{Guest, Initramfs};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::sample::noise;

use crate::fixture::{Fixture, run};

/// The guest's init. Four readers at once use all queues.
const INIT: &str = "#!/bin/sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do insmod $module; done
echo; echo BEGIN
for reader in 1 2 3 4; do sha256sum /dev/vda > /sum-$reader & done; wait
sort -u /sum-*
echo \"queues $(ls /sys/block/vda/mq | wc -l) ro $(cat /sys/block/vda/ro) serial $(cat /sys/block/vda/serial)\"
mount -t erofs /dev/vda /mnt && ls /mnt | wc -l && cat /mnt/* | sha256sum
dd if=/dev/zero of=/dev/vda count=1 2>/dev/null || echo refused
echo END
poweroff -f
";

/// 125 layers, each with a file.
fn fixture() -> Fixture {
    let layer = |number: u64| Layer::new([Entry::file(format!("file{number:03}"), noise(number, 20_000))]);
    Fixture::of_layers(&(0..125).map(layer).collect::<Vec<_>>())
}

/// Boots a guest with the disk and checks everything that it sees.
fn check(fixture: &Fixture, guest: &Guest, devices: &[String]) -> String {
    let directories = ["bin", "dev", "mnt", "modules", "proc", "sys"];
    let mut initramfs = directories.iter().fold(Initramfs::new(), |files, path| files.directory(path, 0o755));
    initramfs = initramfs.copy("bin/busybox", 0o755, &guest.busybox()).symlink("bin/sh", "busybox");
    for (number, module) in guest.module_files(&["virtio_pci", "virtio_blk", "erofs"]).iter().enumerate() {
        initramfs = initramfs.copy(&format!("modules/{number:02}"), 0o644, module);
    }
    let printed = guest.boot_with(initramfs.file("init", 0o755, INIT.as_bytes()), "", devices).finish();
    let expected = fixture.expected_file();
    let sum = run("sha256sum", &[expected.to_str().unwrap()]);
    assert_eq!(printed.matches(&format!("{}  /dev/vda", &sum[..64])).count(), 1, "{printed}");
    let files: Vec<u8> = (0..125).flat_map(|number| noise(number, 20_000)).collect();
    let path = fixture.directory().join("files");
    std::fs::write(&path, files).unwrap();
    let sum = run("sha256sum", &[path.to_str().unwrap()]);
    assert!(printed.contains(&sum[..64]) && printed.contains("\n125\n"), "{printed}");
    assert!(printed.contains("ro 1") && printed.contains("refused"), "{printed}");
    printed
}

fn vhost_user(socket: &Path, queues: usize) -> Vec<String> {
    [
        "-smp".to_owned(),
        "2".to_owned(),
        "-object".to_owned(),
        "memory-backend-memfd,id=memory,size=256M,share=on".to_owned(),
        "-numa".to_owned(),
        "node,memdev=memory".to_owned(),
        "-chardev".to_owned(),
        format!("socket,id=disk,path={}", socket.display()),
        "-device".to_owned(),
        format!("vhost-user-blk-pci,chardev=disk,num-queues={queues}"),
    ]
    .into()
}

fn drive(text: String) -> Vec<String> {
    ["-drive".to_owned(), format!("if=none,id=disk,format=raw,read-only=on,{text}"), "-device".to_owned()]
        .into_iter()
        .chain(["virtio-blk-pci,drive=disk".to_owned()])
        .collect()
}

#[test]
fn over_vhost_user() {
    let Some(guest) = Guest::of("amd64") else { return };
    let fixture = fixture();
    let serving = fixture.serve_vhost_user(2);
    let printed = check(&fixture, &guest, &vhost_user(&serving.socket, 2));
    let serial = &fixture.device.identity().hex()[..20];
    assert!(printed.contains(&format!("queues 2 ro 1 serial {serial}")), "{printed}");
    serving.end();
}

#[test]
fn over_nbd() {
    let Some(guest) = Guest::of("amd64") else { return };
    let fixture = fixture();
    let serving = fixture.serve_nbd();
    check(&fixture, &guest, &drive(format!("file={}", serving.uri())));
    serving.end();
}

#[test]
fn as_a_file() {
    let Some(guest) = Guest::of("amd64") else { return };
    if !Path::new("/dev/fuse").exists() {
        return;
    }
    let fixture = fixture();
    let place = fixture.directory().join("mount");
    std::fs::create_dir(&place).unwrap();
    let mount = mount_file(Arc::clone(&fixture.device), &place, &MountOptions::default()).unwrap();
    check(&fixture, &guest, &drive(format!("cache=none,file={}/root.img", place.display())));
    mount.unmount().unwrap();
    mount.wait().unwrap();
}
