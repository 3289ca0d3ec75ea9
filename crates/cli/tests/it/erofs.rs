//! `mount --driver erofs|auto`, and exports that the kernel mounts.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, move_mount, unmount,
};
use vmroot_testkit::image::ImageBuilder;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::registry::Registry;
use vmroot_testkit::skip;

use crate::program::{Program, wait_until};
use crate::samples::{base, image, noisy, serve, top};

/// A program with an image and a mountpoint.
struct MountTest {
    program: Program,
    image: String,
    mountpoint: PathBuf,
}

impl MountTest {
    fn new(image: &vmroot_testkit::image::Image) -> Self {
        let registry = Registry::start();
        let program = Program::new();
        let image = serve(&registry, image, "v1");
        program.ok(["pull", &image, "--platform=linux/amd64"]);
        let mountpoint = program.path("mountpoint, with a comma");
        fs::create_dir(&mountpoint).unwrap();
        Self { program, image, mountpoint }
    }

    fn mount<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let arguments = ["mount", &self.image, self.mountpoint.to_str().unwrap(), "--detach", "--suid-dev"];
        arguments.into_iter().chain(more.iter().copied()).collect()
    }

    fn umount(&self) {
        self.program.ok(["umount".as_ref(), self.mountpoint.as_os_str()]);
    }

    /// Lists the FUSE mount.
    fn expected(&self) -> Listing {
        self.program.ok(self.mount(&["--driver=fuse"]));
        let listing = Listing::of_directory(&self.mountpoint).unwrap();
        self.umount();
        listing
    }

    fn export(&self, format: &str, more: &[&str]) -> PathBuf {
        let out = self.program.path(format);
        let arguments = ["export", "--force", &self.image, out.to_str().unwrap(), "--format", format];
        self.program.ok(arguments.iter().chain(more));
        out
    }

    /// Lists an image as the kernel reads it.
    fn listing(&self, image: &Path, devices: &[&str]) -> Listing {
        let context = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
        fsconfig_set_flag(&context, "ro").unwrap();
        fsconfig_set_string(&context, "source", image).unwrap();
        for device in devices {
            fsconfig_set_string(&context, "device", *device).unwrap();
        }
        fsconfig_create(&context).unwrap();
        let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY).unwrap();
        move_mount(&mount, "", CWD, &self.mountpoint, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).unwrap();
        let listing = Listing::of_directory(&self.mountpoint);
        unmount(&self.mountpoint, UnmountFlags::DETACH).unwrap();
        listing.unwrap()
    }
}

impl Drop for MountTest {
    fn drop(&mut self) {
        // After a failed test: the directory could not be removed while it is mounted.
        let _ = unmount(&self.mountpoint, UnmountFlags::DETACH);
    }
}

/// Returns whether this kernel cannot mount EROFS from files, or not for this user.
pub(crate) fn cannot_mount() -> bool {
    if skip::needs_root() || !Path::new("/dev/fuse").exists() && skip::because("needs /dev/fuse") {
        return true;
    }
    let test = MountTest::new(&image("amd64"));
    let mounted = test.program.run(test.mount(&["--driver=erofs"])).status.success();
    !mounted && skip::because("needs EROFS mounts of files, from Linux 6.12 on")
}

#[test]
fn kernel_mount_matches_fuse_without_a_process() {
    if cannot_mount() {
        return;
    }
    let test = MountTest::new(&image("amd64"));
    let program = &test.program;
    let expected = test.expected();
    let answer = program.run(test.mount(&["--driver=auto", "-v"]));
    assert!(answer.status.success() && answer.stderr.contains("mounted by the kernel"), "{answer}");
    expected.assert_same(&Listing::of_directory(&test.mountpoint).unwrap());
    // The mount has no process, but holds the image.
    let message = program.fails(1, ["rm", &test.image]);
    assert!(message.contains(&format!("the mount at {}", test.mountpoint.display())), "{message}");
    program.ok(["rm", "--force", &test.image]);
    assert_eq!(program.json(["gc", "--json"])["files"], serde_json::json!([]));
    expected.assert_same(&Listing::of_directory(&test.mountpoint).unwrap());
    test.umount();
    // The process of the first mount, by FUSE, may end a moment after that is unmounted.
    let file_count = || program.json(["gc", "--json"])["files"].as_array().unwrap().len();
    wait_until("the end of the first mount", || file_count() > 0);
    assert_eq!(fs::read_dir(&test.mountpoint).unwrap().count(), 0);
}

#[test]
fn auto_uses_fuse_if_erofs_cannot_hold_everything() {
    if cannot_mount() {
        return;
    }
    let odd = Layer::new([Entry::file("odd", "x").xattr("system.odd", "value")]);
    let test = MountTest::new(&ImageBuilder::new().layer(&odd).build());
    let answer = test.program.run(test.mount(&["--driver=erofs"]));
    assert!(answer.status.success() && answer.stderr.contains("odd: xattr \"system.odd\" ("), "{answer}");
    test.umount();
    let answer = test.program.run(test.mount(&["-v"]));
    assert!(answer.status.success(), "{answer}");
    assert!(answer.stderr.contains("mounting by FUSE") && answer.stderr.contains("system.odd"), "{answer}");
    assert_eq!(fs::read(test.mountpoint.join("odd")).unwrap(), b"x");
    test.umount();
}

#[test]
fn exported_images_can_be_mounted() {
    if cannot_mount() {
        return;
    }
    let test = MountTest::new(&image("amd64"));
    let expected = test.expected();
    expected.assert_same(&test.listing(&test.export("erofs", &[]), &[]));
    let meta = test.export("erofs-meta", &[]);
    let devices = fs::read_to_string(meta.with_file_name("erofs-meta.devices")).unwrap();
    expected.assert_same(&test.listing(&meta, &devices.lines().collect::<Vec<_>>()));
    let length = fs::metadata(&meta).unwrap().len();
    assert_eq!(fs::metadata(meta.with_file_name("erofs-meta.head")).unwrap().len(), length);
    for (name, access) in [("erofs-meta.vmdk", "RW"), ("erofs-meta.rdonly.vmdk", "RDONLY")] {
        let descriptor = fs::read_to_string(meta.with_file_name(name)).unwrap();
        let head = format!("{access} {} FLAT \"erofs-meta.head\" 0\n", length / 512);
        assert!(descriptor.contains(&head), "{descriptor}");
        let extents = descriptor.lines().filter(|line| line.starts_with(&format!("{access} ")));
        assert!(extents.clone().all(|extent| extent.ends_with("\" 0")), "{descriptor}");
        assert_eq!(extents.count(), 1 + devices.lines().count(), "{descriptor}");
    }
}

/// The contents of a layer on top are temporary, so the export copies them.
#[test]
fn metadata_export_copies_contents_of_layers_on_top() {
    if cannot_mount() {
        return;
    }
    let test = MountTest::new(&image("amd64"));
    let added = test.program.file("added", vec![7; 10_000]);
    let add = format!("--add={}:/added", added.display());
    let meta = test.export("erofs-meta", &[&add]);
    let devices = fs::read_to_string(meta.with_file_name("erofs-meta.devices")).unwrap();
    let beside = meta.with_file_name("erofs-meta.").display().to_string();
    assert_eq!(devices.lines().filter(|device| device.starts_with(&beside)).count(), 1, "{devices}");
    test.program.ok(test.mount(&["--driver=fuse", &add]));
    let expected = Listing::of_directory(&test.mountpoint).unwrap();
    test.umount();
    expected.assert_same(&test.listing(&meta, &devices.lines().collect::<Vec<_>>()));
}

#[test]
fn exports_are_reproducible() {
    let test = MountTest::new(&ImageBuilder::new().layer(&base()).layer(&top("x")).build());
    for format in ["erofs", "erofs-meta"] {
        let bytes = || fs::read(test.export(format, &[])).unwrap();
        assert!(bytes() == bytes(), "{format}");
    }
}

#[test]
fn full_disk_leaves_no_file() {
    if skip::needs_root() {
        return;
    }
    let test = MountTest::new(&noisy(2, 3_000_000));
    let disk = test.program.path("disk");
    fs::create_dir(&disk).unwrap();
    mount("none", &disk, "tmpfs", MountFlags::empty(), Some(c"size=2m")).unwrap();
    let out = disk.join("out");
    let message = test.program.fails(1, ["export", &test.image, out.to_str().unwrap(), "--format=erofs"]);
    let left = fs::read_dir(&disk).unwrap().count();
    unmount(&disk, UnmountFlags::DETACH).unwrap();
    assert!(message.contains("No space left"), "{message}");
    assert_eq!(left, 0);
}

#[test]
fn full_disk_leaves_no_part_of_a_metadata_export() {
    if skip::needs_root() {
        return;
    }
    let test = MountTest::new(&noisy(2, 3_000));
    let disk = test.program.path("disk");
    fs::create_dir(&disk).unwrap();
    let out = disk.join("out");
    // Space for no file, for the image, for one more file, and so on.
    for pages in 1.. {
        let size = std::ffi::CString::new(format!("size={}", pages * 4096)).unwrap();
        mount("none", &disk, "tmpfs", MountFlags::empty(), Some(size.as_c_str())).unwrap();
        let arguments = ["export", &test.image, out.to_str().unwrap(), "--format=erofs-meta"];
        let output = test.program.command(arguments).output().unwrap();
        let left = fs::read_dir(&disk).unwrap().count();
        unmount(&disk, UnmountFlags::DETACH).unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        if output.status.success() {
            assert!(pages > 4 && left == 5, "{left} files in {pages} pages");
            break;
        }
        assert!(message.contains("disk/out") && message.contains("No space left"), "{message}");
        assert_eq!(left, 0, "{pages} pages");
    }
}
