//! Guests that verify their root by dm-verity.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::json;
use vmroot_boot::{
    Acceleration, Console, Error, Guest, GuestExit, GuestOptions, InitMessages, Kernel, ModuleTree, Result, Via, Vmm,
};
use vmroot_testkit::guest::Guest as Debian;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::sample::noise;

use crate::fixture::{Root, guest_layer, init, needs_guests};

/// The forms of a root on a disk.
const DISKS: [Via; 5] = [Via::ErofsMeta, Via::Disk, Via::Erofs, Via::Ext4, Via::Squashfs];
/// A change of the files in a directory.
type Change<'a> = &'a dyn Fn(&Path);

/// The file that the damaged guests read.
const FILE: &str = "data/noise";

/// Returns a root of several layers, whose command is a script.
fn root(script: &str) -> Root {
    let data = Layer::new([Entry::directory("data"), Entry::file(FILE, noise(3, 300_000))]);
    let config = json!({ "entrypoint": ["/bin/sh", "-c"], "cmd": [script], "tty": false });
    Root::of(&[data, guest_layer(&config)])
}

/// Boots a guest, after `change` was called with the directory of its files.
fn boot(root: &Root, via: Via, overlay: bool, change: impl FnOnce(&Path)) -> (Result<GuestExit>, String) {
    let debian = Debian::of("amd64").unwrap();
    let kernel = Kernel::open(&debian.kernel()).unwrap();
    let modules = ModuleTree::open(&debian.modules(), kernel.version.as_deref()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let options = GuestOptions {
        modules: Some(&modules),
        acceleration: Acceleration::Tcg,
        init: Some("/sbin/vmroot-init"),
        init_messages: InitMessages::Everything,
        stage_one: Some(init()),
        overlay,
        verity: true,
        timeout: Some(std::time::Duration::from_secs(90)),
        ..GuestOptions::new(via, &kernel, Vmm::Qemu)
    };
    let guest = Guest::prepare(&root.fs, directory.path(), &options).unwrap();
    change(directory.path());
    let mut output = Vec::new();
    let ended = guest.run(Console { input: None, interactive: false, output: &mut output });
    (ended, String::from_utf8_lossy(&output).into_owned())
}

/// Returns the file of the root's disk with the most of its bytes.
fn image(directory: &Path) -> File {
    File::options().read(true).write(true).open(directory.join("root.img")).unwrap()
}

/// Changes a bit in the contents of [`FILE`] in an image. Returns the number of its block.
fn damage(image: &File) -> u64 {
    let sample = &noise(3, 300_000)[200_000..200_064];
    let bytes = {
        let mut bytes = vec![0; image.metadata().unwrap().len() as usize];
        image.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    let at = bytes.windows(sample.len()).position(|window| window == sample).expect("the image has the file");
    image.write_all_at(&[bytes[at] ^ 4], at as u64).unwrap();
    at as u64 / 4096
}

#[test]
fn each_form_on_a_disk_is_verified_by_the_guest() {
    if needs_guests() {
        return;
    }
    let script = "grep -o 'vmroot.verity=[0-9a-f]*' /proc/cmdline | wc -c; cat /data/noise | wc -c; \
                  grep ' / ' /proc/mounts | cut -d ' ' -f 1,3; (echo x >/new) 2>/dev/null && cat /new; exit 7";
    let script = script.replace("grep", "busybox grep").replace("wc", "busybox wc").replace("cut", "busybox cut");
    let root = root(&script.replace("cat ", "busybox cat "));
    for via in DISKS {
        let fstype = if matches!(via, Via::ErofsMeta | Via::Disk) { "erofs".to_owned() } else { via.to_string() };
        for overlay in [false, true] {
            let (ended, output) = boot(&root, via, overlay, |_| {});
            let mounted = if overlay { "overlay overlay".to_owned() } else { format!("/dev/dm-0 {fstype}") };
            let written = if overlay { "x\n" } else { "" };
            assert_eq!(output, format!("79\n300000\n{mounted}\n{written}"), "{via}: {ended:?}");
            assert_eq!(ended.unwrap().code, Some(7), "{via}");
        }
    }
}

#[test]
fn a_wrong_block_ends_the_guest_and_is_named() {
    if needs_guests() {
        return;
    }
    let root = root("busybox echo first; busybox cat /data/noise | busybox wc -c; busybox sleep 60; busybox echo last");
    for via in [Via::Erofs, Via::Ext4] {
        let mut block = 0;
        let (ended, output) = boot(&root, via, false, |directory| block = damage(&image(directory)));
        let ended = ended.unwrap_or_else(|error| panic!("{error}\n{output}"));
        let expected = format!("block {block} of the root's disk does not match its hash: ");
        assert!(ended.error.as_ref().is_some_and(|error| error.starts_with(&expected)), "{block}: {ended:?}\n{output}");
        assert_eq!(ended.code, Some(125));
        assert!(output.starts_with("first\n") && !output.contains("last"), "{output}");
    }
}

#[test]
fn a_wrong_block_of_the_file_system_or_of_the_init_is_named() {
    if needs_guests() {
        return;
    }
    let root = root("busybox true");
    let superblock = |directory: &Path| image(directory).write_all_at(&[1], 1040).unwrap();
    let program = |directory: &Path| {
        let (image, sample) = (image(directory), &init()[100_000..100_064]);
        let mut bytes = vec![0; image.metadata().unwrap().len() as usize];
        image.read_exact_at(&mut bytes, 0).unwrap();
        let at = bytes.windows(sample.len()).position(|window| window == sample).unwrap();
        image.write_all_at(&[!bytes[at]], at as u64).unwrap();
    };
    let hash_tree = |directory: &Path| {
        let image = image(directory);
        // The last hash block has the digests of the last blocks of the image.
        let length = image.metadata().unwrap().len();
        image.write_all_at(&[0xa5; 64], length - 4096).unwrap();
    };
    let changes: [(&str, Change<'_>); 3] =
        [("block 0", &superblock), ("block ", &program), ("hash block ", &hash_tree)];
    for (name, change) in changes {
        let (ended, output) = boot(&root, Via::Erofs, false, change);
        // The last blocks may be read only if the guest needs them.
        let ended = ended.unwrap_or_else(|error| panic!("{name}: {error}\n{output}"));
        if name == "hash block " && ended.code == Some(0) {
            continue;
        }
        assert!(ended.error.as_ref().is_some_and(|error| error.starts_with(name)), "{name}: {ended:?}\n{output}");
        assert_eq!(ended.code, Some(125), "{name}");
    }
}

/// A sample of changed bits, each in a guest that reads its whole disk.
#[test]
fn changed_bits_anywhere_are_found() {
    if needs_guests() {
        return;
    }
    let root = root("busybox cat /dev/dm-0 >/dev/null; busybox sleep 60");
    let mut number = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..4 {
        let mut block = 0;
        let (ended, output) = boot(&root, Via::Ext4, false, |directory| {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let image = image(directory);
            // The tree has less than a hundredth of the bytes.
            let length = image.metadata().unwrap().len() * 98 / 100;
            let (byte, mut value) = (number % length, [0]);
            image.read_exact_at(&mut value, byte).unwrap();
            image.write_all_at(&[value[0] ^ 1 << (number >> 60 & 7)], byte).unwrap();
            block = byte / 4096;
        });
        let ended = ended.unwrap_or_else(|error| panic!("block {block}: {error}\n{output}"));
        let expected = format!("block {block} of the root's disk");
        assert!(ended.error.as_ref().is_some_and(|error| error.starts_with(&expected)), "{block}: {ended:?}\n{output}");
    }
}

#[test]
fn forms_without_a_disk_are_refused() {
    let kernel = Kernel {
        path: "/nowhere/vmlinux".into(),
        architecture: vmroot_boot::Architecture::X86_64,
        version: None,
        is_elf: true,
    };
    for via in [Via::Cpio, Via::Virtiofs] {
        let options = GuestOptions {
            acceleration: Acceleration::Tcg,
            verity: true,
            ..GuestOptions::new(via, &kernel, Vmm::Qemu)
        };
        let error = options.check(Path::new("/tmp/x")).unwrap_err();
        assert!(matches!(error, Error::NoDisk { form } if form == via), "{error}");
    }
    // A disk needs stage one, which opens it.
    let options = GuestOptions { verity: true, ..GuestOptions::new(Via::Erofs, &kernel, Vmm::Qemu) };
    assert!(matches!(options.check(Path::new("/tmp/x")), Err(Error::NoStageOne { .. })));
    assert!(!fs::exists("/tmp/x").unwrap());
}
