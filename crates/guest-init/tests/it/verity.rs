//! Tests of a root behind dm-verity, with a tree of `veritysetup`: several disks that are joined, and wrong hashes.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use vmroot_testkit::guest::{Guest, Initramfs};
use vmroot_testkit::skip;

use crate::root::guest;
use crate::stage::{MODULES, disk};
use crate::{exit_code, line};

/// The modules of dm-verity, in the order of loading.
const VERITY: [&str; 4] =
    ["drivers/md/dm-mod.ko", "drivers/md/dm-bufio.ko", "lib/reed_solomon/reed_solomon.ko", "drivers/md/dm-verity.ko"];
/// The size of the root's blocks in bytes: that of mke2fs for a small file system. The device has sectors of this size, and
/// ext4 does not take larger ones than its blocks.
const BLOCK: u64 = 1024;
/// The bytes of the root on the first disk.
const FIRST: u64 = 5 << 20;

/// Disks of a root and of its tree.
struct Disks {
    files: [PathBuf; 3],
    blocks: [u64; 2],
    root_hash: String,
}

impl Disks {
    /// Returns `None` if the test is skipped.
    fn new(directory: &Path, guest: &Guest, init: &[u8]) -> Option<Self> {
        let program = Path::new("/usr/sbin/veritysetup");
        if !program.exists() && skip::needs_program("veritysetup") {
            return None;
        }
        let image = disk(directory, guest, init)?;
        let files = ["first", "second", "hashes"].map(|name| directory.join(name));
        let mut veritysetup = Command::new(if program.exists() { program } else { Path::new("veritysetup") });
        let output = veritysetup
            .args(["format", "--salt=0102", &format!("--data-block-size={BLOCK}")])
            .args([&image, &files[2]])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let root_hash = text.lines().find_map(|line| line.strip_prefix("Root hash:")).unwrap().trim().to_owned();
        let bytes = fs::read(image).unwrap();
        let (first, second) = bytes.split_at(FIRST as usize);
        fs::write(&files[0], first).unwrap();
        fs::write(&files[1], second).unwrap();
        let blocks = [first, second].map(|part| part.len() as u64 / BLOCK);
        Some(Self { files, blocks, root_hash })
    }

    fn boot(&self, guest: &Guest, init: &[u8], arguments: &str) -> String {
        let kernel = guest.modules().join("kernel");
        let modules: Vec<&str> = MODULES.iter().chain(&VERITY).copied().collect();
        let name = |module: &str| format!("/vmroot/modules/{}", module.rsplit('/').next().unwrap());
        let list: Vec<_> = modules.iter().map(|module| format!("{:?}", name(module))).collect();
        let [first, second] = self.blocks;
        let stage = format!(
            r#"{{"modules": [{}], "root": {{"fstype": "ext4", "source": "/dev/vda"}}, "verity": {{
                "data": [{{"device": "/dev/vda", "blocks": {first}}}, {{"device": "/dev/vdb", "blocks": {second}}}],
                "tree": "/dev/vdc", "hashStart": 1, "dataBlocks": {}, "dataBlockSize": {BLOCK}, "hashBlockSize": 4096,
                "algorithm": "sha256", "hashType": 1, "salt": "0102"}}}}"#,
            list.join(", "),
            first + second
        );
        let archive = Initramfs::new().directory("vmroot", 0o755).directory("vmroot/modules", 0o755);
        let archive = archive.file("init", 0o755, init).file("vmroot/stage.json", 0o644, stage.as_bytes());
        let archive =
            modules.iter().fold(archive, |archive, module| archive.copy(&name(module), 0o644, &kernel.join(module)));
        let drive =
            |file: &PathBuf| ["-drive".to_owned(), format!("file={},format=raw,if=virtio,readonly=on", file.display())];
        let drives: Vec<String> = self.files.iter().flat_map(drive).collect();
        guest.boot_with(archive, arguments, &drives).finish()
    }
}

#[test]
fn disks_are_joined_and_verified_with_a_tree_of_veritysetup() {
    let Some((guest, init)) = guest("amd64") else { return };
    let directory = tempfile::tempdir().unwrap();
    let Some(disks) = Disks::new(directory.path(), &guest, init) else { return };
    let verity = format!("vmroot.verity={}", disks.root_hash);
    let output = disks.boot(&guest, init, &verity);
    assert_eq!(line(&output, "root"), "ext4 ro");
    assert_eq!(exit_code(&output), 3, "{output}");
    // Another root hash, and none.
    let digit = if disks.root_hash.starts_with('0') { "1" } else { "0" };
    let output = disks.boot(&guest, init, &format!("vmroot.verity={digit}{}", &disks.root_hash[1..]));
    assert!(output.contains("[vmroot-init] error: hash block 1 of the root's disk does not match"), "{output}");
    assert_eq!(exit_code(&output), 125);
    let output = disks.boot(&guest, init, "");
    assert!(output.contains("error: the root cannot be verified: vmroot.verity= is missing"), "{output}");
    // A wrong block of the second disk: the inode tables and the superblock's copies are on the first.
    let second = File::options().read(true).write(true).open(&disks.files[1]).unwrap();
    let length = second.metadata().unwrap().len();
    let mut bytes = vec![0; length as usize];
    second.read_exact_at(&mut bytes, 0).unwrap();
    bytes.iter_mut().for_each(|byte| *byte ^= 1);
    second.write_all_at(&bytes, 0).unwrap();
    let output = disks.boot(&guest, init, &verity);
    let error = output.lines().find(|line| line.starts_with("[vmroot-init] error: block ")).unwrap_or_default();
    let block: u64 = error.split(' ').nth(3).and_then(|number| number.parse().ok()).unwrap_or_default();
    assert!(block >= disks.blocks[0], "{output}");
    assert_eq!(exit_code(&output), 125);
}
