//! A real guest: its kernel sees the same tree as the model.

use std::collections::BTreeMap;
use std::path::Path;

use vmroot_testkit::guest::{Guest, Initramfs};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::listing::{Listing, Row};
use vmroot_testkit::model::Tree;
use vmroot_testkit::sample::access_list;
use vmroot_virtiofs::VirtioFsOptions;

use crate::fixture::{Fixture, test_bytes};

/// The guest's init, up to a mounted root at `/mnt`.
const MOUNT: &str = "#!/bin/sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do insmod $module; done
mount -t virtiofs root /mnt || poweroff -f
cd /mnt
";

/// Prints a line for each file. The name is the last field because it can contain any byte.
const LIST: &str = "
echo; echo BEGIN
find . ! -path . -exec stat -c 'S|%f|%u|%g|%s|%t|%T|%h|%i|%y|%n' {} +
find . -type f -exec sha256sum {} + | sed 's/^/H|/'
find . -type l | while read -r link; do echo \"L|$(readlink \"$link\")|$link\"; done
echo END
";

/// Boots a guest with a root at `/mnt` and runs `script` there. Returns its output.
fn run(fixture: &Fixture, guest: &Guest, options: &VirtioFsOptions, script: &str) -> String {
    let serving = fixture.serve(options);
    let directories = ["bin", "dev", "mnt", "modules", "proc", "sys"];
    let mut initramfs = directories.iter().fold(Initramfs::new(), |files, path| files.directory(path, 0o755));
    initramfs = initramfs.copy("bin/busybox", 0o755, &guest.busybox()).symlink("bin/sh", "busybox");
    for (number, module) in guest.module_files(&["virtio_pci", "virtiofs"]).iter().enumerate() {
        initramfs = initramfs.copy(&format!("modules/{number:02}"), 0o644, module);
    }
    let init = format!("{MOUNT}{script}\npoweroff -f\n");
    let console = guest.boot_with(initramfs.file("init", 0o755, init.as_bytes()), "", &device(&serving.socket));
    let printed = console.finish();
    serving.end().unwrap();
    printed
}

/// Returns QEMU arguments for two processors, memory that the device can map, and the device.
fn device(socket: &Path) -> Vec<String> {
    [
        "-smp".to_owned(),
        "2".to_owned(),
        "-object".to_owned(),
        "memory-backend-memfd,id=memory,size=256M,share=on".to_owned(),
        "-numa".to_owned(),
        "node,memdev=memory".to_owned(),
        "-chardev".to_owned(),
        format!("socket,id=virtiofs,path={}", socket.display()),
        "-device".to_owned(),
        "vhost-user-fs-pci,chardev=virtiofs,tag=root".to_owned(),
    ]
    .into()
}

/// Parses the listing that a guest printed. It has no xattrs, because busybox cannot print them.
fn listing(printed: &str) -> Listing {
    let lines = printed.split("BEGIN\n").nth(1).and_then(|rest| rest.split("END\n").next());
    let lines = lines.unwrap_or_else(|| panic!("no listing in:\n{printed}")).lines();
    let mut rows = BTreeMap::new();
    let mut groups: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    let path = |name: &str| name.strip_prefix("./").unwrap().as_bytes().to_vec();
    for line in lines {
        if let Some(stat) = line.strip_prefix("S|") {
            let fields: Vec<_> = stat.splitn(10, '|').collect();
            let path = path(fields[9]);
            let row = row(&fields);
            if row.kind != 'd' && fields[6] != "1" {
                groups.entry(fields[7].to_owned()).or_default().push(path.clone());
            }
            rows.insert(path, row);
        } else if let Some(hash) = line.strip_prefix("H|") {
            rows.get_mut(&path(&hash[66..])).unwrap().sha256 = Some(hash[..32].to_owned());
        } else if let Some(link) = line.strip_prefix("L|") {
            let (target, name) = link.rsplit_once('|').unwrap();
            rows.get_mut(&path(name)).unwrap().target = Some(target.as_bytes().to_vec());
        }
    }
    for mut paths in groups.into_values() {
        paths.sort();
        for path in &paths {
            rows.get_mut(path).unwrap().link = Some(paths[0].clone());
        }
    }
    Listing { rows }
}

fn row(fields: &[&str]) -> Row {
    let hex = |text: &str| u32::from_str_radix(text, 16).unwrap();
    let mode = hex(fields[0]);
    let kind = match mode >> 12 {
        0o01 => 'p',
        0o02 => 'c',
        0o04 => 'd',
        0o06 => 'b',
        0o10 => 'f',
        _ => 'l',
    };
    Row {
        kind,
        mode: mode & 0o7777,
        uid: fields[1].parse().unwrap(),
        gid: fields[2].parse().unwrap(),
        mtime: nanoseconds(fields[8]),
        size: (kind == 'f').then(|| fields[3].parse().unwrap()),
        device: matches!(kind, 'b' | 'c').then(|| (hex(fields[4]), hex(fields[5]))),
        link: None,
        target: None,
        xattrs: BTreeMap::new(),
        sha256: None,
    }
}

/// Parses a time such as `2023-11-14 22:13:20.123456789 +0000`.
fn nanoseconds(text: &str) -> i128 {
    let text = text.strip_suffix(" +0000").unwrap();
    let numbers: Vec<i128> = text.split(['-', ' ', ':', '.']).map(|number| number.parse().unwrap()).collect();
    let [year, month, day, hour, minute, second, nanosecond] = numbers[..] else { panic!("{text} is not a time") };
    // Converts a date to days. Years begin in March, so that the leap day comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000_000 + nanosecond
}

fn layers() -> [Layer; 2] {
    let small = (0..300).map(|number| Entry::file(format!("many/{number}"), test_bytes(number, number as usize * 37)));
    let lower = [
        Entry::directory("bin").mode(0o1777).owner(1, 2).mtime(1_700_000_000, 123_456_789),
        Entry::file("bin/su", "#!/bin/sh\n").mode(0o4755).owner(70_000, 4_000_000_000).mtime(1, 999_999_999),
        Entry::file("empty", "").mode(0),
        Entry::hard_link("second name", "bin/su"),
        Entry::symlink("to/nowhere", "../../../etc/passwd"),
        Entry::symlink("long link", "x".repeat(4095)),
        Entry::char_device("null", 1, 3),
        Entry::block_device("disk", 259, 0x12345),
        Entry::fifo("pipe").mode(0o600),
        Entry::directory("acl").mode(0o750).xattr("system.posix_acl_access", access_list(1000)),
        Entry::file("acl/readable", "by one").mode(0o644),
        Entry::file("n".repeat(255), "x"),
        Entry::file("large", test_bytes(7, (9 << 20) + 1)),
        Entry::sparse_file("sparse", 5 << 20, vec![(1 << 20, vec![7; 5000]), (4 << 20, vec![8; 1])]),
        Entry::file("gone", "x"),
    ];
    let upper = [Entry::whiteout("gone"), Entry::hard_link("third name", "bin/su")];
    [Layer::new(lower.into_iter().chain(small)), Layer::new(upper)]
}

#[test]
fn a_guest_sees_the_tree_of_the_model() {
    let Some(guest) = Guest::of("amd64") else { return };
    let layers = layers();
    let printed = run(&Fixture::of_layers(&layers), &guest, &VirtioFsOptions::default(), LIST);
    let mut expected = Listing::of_tree(&Tree::of_layers(&layers).unwrap());
    expected.rows.values_mut().for_each(|row| row.xattrs.clear());
    expected.assert_same(&listing(&printed));
}

/// The guest's kernel checks permissions, with the attributes from the device. No user can change the root.
#[test]
fn a_guest_checks_permissions_and_cannot_change_files() {
    let Some(guest) = Guest::of("amd64") else { return };
    let script = r#"
adduser() { echo "$1:x:$2:$2::/:/bin/sh" >> /etc/passwd; echo "$1:x:$2:" >> /etc/group; }
mkdir -p /etc; adduser root 0; adduser one 1000; adduser other 1001
su one -c 'cat /mnt/acl/readable' && echo; echo "one: $?"
su other -c 'cat /mnt/acl/readable' 2>&1; echo "other: $?"
for change in 'echo x > new' 'echo x > bin/su' 'rm empty' 'mkdir d' 'ln -s x y' 'ln empty e' 'mv empty e' \
    'chmod 777 empty' 'chown 5 empty' 'touch empty' 'mknod f p' 'rmdir many'; do
    sh -c "$change" 2>&1 | grep -q 'Read-only file system' && echo "refused: $change"
done
cat /mnt/many/200 | wc -c; df -B1 /mnt | tail -1
"#;
    let printed = run(&Fixture::of_layers(&layers()), &guest, &VirtioFsOptions { queues: 1, threads: 0 }, script);
    assert!(printed.contains("by one\none: 0"), "{printed}");
    assert!(printed.contains("Permission denied\nother: 1"), "{printed}");
    assert_eq!(printed.matches("refused: ").count(), 12, "{printed}");
    assert!(printed.contains("\n7400\n") && printed.contains("100% /mnt"), "{printed}");
}

/// Concurrent readers of files that are not in the guest's cache each get the right bytes.
#[test]
fn concurrent_readers_get_the_right_bytes() {
    let Some(guest) = Guest::of("amd64") else { return };
    let script = "
sum() { find . -type f -exec sha256sum {} + | sort | sha256sum; }
sum > /first
for round in 1 2 3; do
    echo 3 > /proc/sys/vm/drop_caches
    for reader in 1 2 3 4; do sum > /sum-$reader & done
    wait
    for reader in 1 2 3 4; do cmp /first /sum-$reader && echo same; done
done
";
    let printed = run(&Fixture::of_layers(&layers()), &guest, &VirtioFsOptions { queues: 2, threads: 3 }, script);
    assert_eq!(printed.matches("same").count(), 12, "{printed}");
}
