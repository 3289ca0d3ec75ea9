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

use crate::program::Program;
use crate::samples::{base, image, noisy, serve, top};

/// A program with an image, and a place to mount on.
struct Prepared {
    program: Program,
    image: String,
    place: PathBuf,
}

impl Prepared {
    fn new(image: &vmroot_testkit::image::Image) -> Self {
        let registry = Registry::start();
        let program = Program::new();
        let image = serve(&registry, image, "v1");
        program.ok(["pull", &image, "--platform=linux/amd64"]);
        let place = program.path("place, with a comma");
        fs::create_dir(&place).unwrap();
        Self { program, image, place }
    }

    fn mount<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let arguments = ["mount", &self.image, self.place.to_str().unwrap(), "--detach", "--suid-dev"];
        arguments.into_iter().chain(more.iter().copied()).collect()
    }

    fn umount(&self) {
        self.program.ok(["umount".as_ref(), self.place.as_os_str()]);
    }

    /// What the FUSE mount shows.
    fn expected(&self) -> Listing {
        self.program.ok(self.mount(&["--driver=fuse"]));
        let listing = Listing::of_directory(&self.place).unwrap();
        self.umount();
        listing
    }

    fn export(&self, format: &str, more: &[&str]) -> PathBuf {
        let out = self.program.path(format);
        let arguments = ["export", &self.image, out.to_str().unwrap(), "--format", format];
        self.program.ok(arguments.iter().chain(more));
        out
    }

    /// What the kernel reads from an image.
    fn listing(&self, image: &Path, devices: &[&str]) -> Listing {
        let context = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
        fsconfig_set_flag(&context, "ro").unwrap();
        fsconfig_set_string(&context, "source", image).unwrap();
        for device in devices {
            fsconfig_set_string(&context, "device", *device).unwrap();
        }
        fsconfig_create(&context).unwrap();
        let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY).unwrap();
        move_mount(&mount, "", CWD, &self.place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).unwrap();
        let listing = Listing::of_directory(&self.place);
        unmount(&self.place, UnmountFlags::DETACH).unwrap();
        listing.unwrap()
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // After a test that failed: the directory could not be removed.
        let _ = unmount(&self.place, UnmountFlags::DETACH);
    }
}

/// Whether this kernel does not mount EROFS from files, or not for this user.
pub(crate) fn cannot_mount() -> bool {
    if skip::needs_root() || !Path::new("/dev/fuse").exists() && skip::because("needs /dev/fuse") {
        return true;
    }
    let prepared = Prepared::new(&image("amd64"));
    let mounted = prepared.program.run(prepared.mount(&["--driver=erofs"])).status.success();
    !mounted && skip::because("needs EROFS mounts of files, from Linux 6.12 on")
}

#[test]
fn the_kernel_s_mount_is_that_by_fuse_without_a_process() {
    if cannot_mount() {
        return;
    }
    let prepared = Prepared::new(&image("amd64"));
    let program = &prepared.program;
    let expected = prepared.expected();
    let answer = program.run(prepared.mount(&["--driver=auto", "-v"]));
    assert!(answer.status.success() && answer.stderr.contains("mounted by the kernel"), "{answer}");
    expected.assert_same(&Listing::of_directory(&prepared.place).unwrap());
    // Nobody holds the cache, and nothing is in it that was not there.
    program.ok(["rm", &prepared.image]);
    program.ok(["gc"]);
    expected.assert_same(&Listing::of_directory(&prepared.place).unwrap());
    prepared.umount();
    assert_eq!(fs::read_dir(&prepared.place).unwrap().count(), 0);
}

#[test]
fn what_erofs_cannot_hold_is_mounted_by_fuse_unless_erofs_is_asked_for() {
    if cannot_mount() {
        return;
    }
    let odd = Layer::new([Entry::file("odd", "x").xattr("system.odd", "value")]);
    let prepared = Prepared::new(&ImageBuilder::new().layer(&odd).build());
    let answer = prepared.program.run(prepared.mount(&["--driver=erofs"]));
    assert!(answer.status.success() && answer.stderr.contains("odd: xattr \"system.odd\" ("), "{answer}");
    prepared.umount();
    let answer = prepared.program.run(prepared.mount(&["-v"]));
    assert!(answer.status.success(), "{answer}");
    assert!(answer.stderr.contains("mounting by FUSE") && answer.stderr.contains("system.odd"), "{answer}");
    assert_eq!(fs::read(prepared.place.join("odd")).unwrap(), b"x");
    prepared.umount();
}

#[test]
fn an_image_and_its_metadata_are_mounted_as_they_are() {
    if cannot_mount() {
        return;
    }
    let prepared = Prepared::new(&image("amd64"));
    let expected = prepared.expected();
    expected.assert_same(&prepared.listing(&prepared.export("erofs", &[]), &[]));
    let meta = prepared.export("erofs-meta", &[]);
    let devices = fs::read_to_string(meta.with_file_name("erofs-meta.devices")).unwrap();
    expected.assert_same(&prepared.listing(&meta, &devices.lines().collect::<Vec<_>>()));
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

/// Its contents are not in the cache, and would be gone with the command.
#[test]
fn metadata_of_what_is_on_top_has_contents_beside_it() {
    if cannot_mount() {
        return;
    }
    let prepared = Prepared::new(&image("amd64"));
    let added = prepared.program.file("added", vec![7; 10_000]);
    let add = format!("--add={}:/added", added.display());
    let meta = prepared.export("erofs-meta", &[&add]);
    let devices = fs::read_to_string(meta.with_file_name("erofs-meta.devices")).unwrap();
    let beside = meta.with_file_name("erofs-meta.").display().to_string();
    assert_eq!(devices.lines().filter(|device| device.starts_with(&beside)).count(), 1, "{devices}");
    prepared.program.ok(prepared.mount(&["--driver=fuse", &add]));
    let expected = Listing::of_directory(&prepared.place).unwrap();
    prepared.umount();
    expected.assert_same(&prepared.listing(&meta, &devices.lines().collect::<Vec<_>>()));
}

#[test]
fn the_same_bytes_every_time() {
    let prepared = Prepared::new(&ImageBuilder::new().layer(&base()).layer(&top("x")).build());
    for format in ["erofs", "erofs-meta"] {
        let bytes = || fs::read(prepared.export(format, &[])).unwrap();
        assert!(bytes() == bytes(), "{format}");
    }
}

#[test]
fn a_full_disk_leaves_nothing_under_the_name() {
    if skip::needs_root() {
        return;
    }
    let prepared = Prepared::new(&noisy(2, 3_000_000));
    let disk = prepared.program.path("disk");
    fs::create_dir(&disk).unwrap();
    mount("none", &disk, "tmpfs", MountFlags::empty(), Some(c"size=2m")).unwrap();
    let out = disk.join("out");
    let message = prepared.program.fails(1, ["export", &prepared.image, out.to_str().unwrap(), "--format=erofs"]);
    let left = fs::read_dir(&disk).unwrap().count();
    unmount(&disk, UnmountFlags::DETACH).unwrap();
    assert!(message.contains("No space left"), "{message}");
    assert_eq!(left, 0);
}

#[test]
fn what_is_beside_the_metadata_comes_with_it_or_not_at_all() {
    if skip::needs_root() {
        return;
    }
    let prepared = Prepared::new(&noisy(2, 3_000));
    let disk = prepared.program.path("disk");
    fs::create_dir(&disk).unwrap();
    let out = disk.join("out");
    // Room for nothing, for the image, for one file more, and so on.
    for pages in 1.. {
        let size = std::ffi::CString::new(format!("size={}", pages * 4096)).unwrap();
        mount("none", &disk, "tmpfs", MountFlags::empty(), Some(size.as_c_str())).unwrap();
        let arguments = ["export", &prepared.image, out.to_str().unwrap(), "--format=erofs-meta"];
        let output = prepared.program.command(arguments).output().unwrap();
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
