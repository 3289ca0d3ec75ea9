//! `mounts`, and the mounts of vmroot in the kernel's table, as root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use serde_json::{Value, json};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::skip;

use crate::erofs;
use crate::program::Program;
use crate::samples::{image, serve};

struct TableTest {
    program: Program,
    image: String,
    place: PathBuf,
}

impl TableTest {
    /// Returns `None` if this user cannot mount.
    fn new() -> Option<Self> {
        if skip::needs_root() || !Path::new("/dev/fuse").exists() && skip::because("needs /dev/fuse") {
            return None;
        }
        let registry = Registry::start();
        let program = Program::new();
        let image = serve(&registry, &image("amd64"), "v1");
        program.ok(["pull", &image, "--arch=amd64"]);
        let place = program.path("the place");
        fs::create_dir(&place).unwrap();
        Some(Self { program, image, place })
    }

    fn mount(&self, image: &str, more: &[&str]) -> String {
        let arguments = ["mount", image, self.place.to_str().unwrap(), "--detach"];
        self.program.ok(arguments.iter().chain(more))
    }

    fn umount(&self) {
        self.program.ok(["umount", self.place.to_str().unwrap()]);
    }

    /// Returns the mount on the directory of the test, as another cache sees it too.
    fn listed(&self) -> Option<Value> {
        let find = |mounts: Value| {
            let mounts = mounts.as_array().unwrap().clone();
            mounts.into_iter().find(|mount| mount["directory"] == self.place.to_str().unwrap())
        };
        let found = find(self.program.json(["mounts", "--json"]));
        let elsewhere = self.program.path("elsewhere");
        let of_other_cache = self.program.json(["mounts", "--json", "--cache", elsewhere.to_str().unwrap()]);
        assert_eq!(find(of_other_cache), found);
        assert!(!elsewhere.exists());
        let line =
            self.program.ok(["mounts"]).lines().find(|line| line.starts_with(self.place.to_str().unwrap())).is_some();
        assert_eq!(line, found.is_some());
        assert_eq!(self.program.ok(["mounts", "--quiet"]).lines().any(|line| Path::new(line) == self.place), line);
        found
    }

    /// Returns the source and type of the mount, as findmnt(8) prints them.
    fn findmnt(&self) -> String {
        let mut findmnt = Command::new("findmnt");
        let output =
            findmnt.args(["--noheadings", "--output=SOURCE,FSTYPE", "--raw"]).arg(&self.place).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for TableTest {
    fn drop(&mut self) {
        // After a failed test: the directory could not be removed while it is mounted.
        while unmount(&self.place, UnmountFlags::DETACH).is_ok() {}
    }
}

#[test]
fn mounts_are_listed_while_they_exist() {
    let Some(test) = TableTest::new() else { return };
    let id = test.program.json(["inspect", &test.image, "--json", "--arch=amd64"])["id"].clone();
    let [upper, work] = ["upper", "work"].map(|name| test.program.path(name).display().to_string());
    let view = [format!("--upper={upper}"), format!("--work={work}")];
    let view = [view[0].as_str(), view[1].as_str()];
    let erofs = if erofs::cannot_mount() { &[][..] } else { &["erofs"] };
    for driver in ["fuse"].iter().chain(erofs) {
        for more in [&[][..], &view] {
            let option = format!("--driver={driver}");
            let printed = test.mount(&test.image, &[more, &[&option, "--json"]].concat());
            let mount = test.listed().unwrap();
            assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), mount, "{driver} {more:?}");
            let is_view = !more.is_empty();
            let expected = json!({
                "directory": test.place,
                "image": test.image,
                "id": id,
                "platform": "linux/amd64",
                "driver": driver,
                "upper": is_view.then_some(&upper),
                "work": is_view.then_some(&work),
                "since": mount["since"],
                "process": mount["process"],
                "served": true,
                "source": format!("vmroot:{}", test.image),
                "cache": test.program.cache(),
            });
            assert_eq!(mount, expected);
            assert!(mount["since"].as_str().unwrap().ends_with('Z'), "{mount}");
            assert_eq!(mount["process"].is_u64(), *driver == "fuse", "{mount}");
            let form = if is_view {
                "overlay"
            } else if *driver == "fuse" {
                "fuse.vmroot"
            } else {
                "erofs"
            };
            assert_eq!(test.findmnt(), format!("vmroot:{} {form}", test.image));
            // By umount(8), which does not know of records.
            if is_view {
                unmount(&test.place, UnmountFlags::empty()).unwrap()
            } else {
                test.umount()
            }
            assert_eq!(test.listed(), None);
            assert!(test.program.ok(["mounts", "--json"]).starts_with('['));
        }
    }
}

/// A directory that is not an image of a cache, and names with slashes and dots, which the kernel opens as paths.
#[test]
fn sources_name_the_image_as_the_command_line_does() {
    let Some(test) = TableTest::new() else { return };
    let prebaked = test.program.path("a/../prebaked");
    fs::create_dir(test.program.path("a")).unwrap();
    test.program.ok(["export", &test.image, prebaked.to_str().unwrap(), "--format=prebaked", "--arch=amd64"]);
    let name = format!("prebaked:{}", prebaked.display());
    for driver in ["--driver=fuse", "--driver=auto"] {
        test.mount(&name, &[driver]);
        let mount = test.listed().unwrap();
        assert_eq!((&mount["image"], &mount["platform"]), (&json!(name), &json!("linux/amd64")), "{mount}");
        assert!(mount["id"].is_null() && mount["cache"].is_null(), "{mount}");
        let source = test.findmnt();
        let dots = if source.ends_with("erofs") { "_" } else { ".." };
        assert!(source.starts_with(&format!("vmroot:{}", name.replace("..", dots))), "{source}");
        test.umount();
    }
}

/// Mounts of other programs are not listed, nor bind mounts.
#[test]
fn other_mounts_are_not_listed() {
    let Some(test) = TableTest::new() else { return };
    mount("vmroot:demo", &test.place, "tmpfs", MountFlags::empty(), None).unwrap();
    assert_eq!(test.listed(), None);
    unmount(&test.place, UnmountFlags::empty()).unwrap();
    let other = test.program.path("other");
    fs::create_dir(&other).unwrap();
    test.program.ok(["mount", &test.image, other.to_str().unwrap(), "--detach"]);
    mount_bind(&other, &test.place).unwrap();
    assert_eq!(test.listed(), None);
    unmount(&test.place, UnmountFlags::empty()).unwrap();
    test.program.ok(["umount", other.to_str().unwrap()]);
}

/// Without its record, a mount is listed with what the table shows.
#[test]
fn mount_without_a_record_is_listed() {
    let Some(test) = TableTest::new() else { return };
    test.mount(&test.image, &["--driver=fuse"]);
    let device = {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let place = test.place.to_str().unwrap().replace(' ', "\\040");
        let line = table.lines().find(|line| line.split(' ').nth(4) == Some(&place)).unwrap();
        line.split(' ').nth(2).unwrap().replace(':', "-")
    };
    let records = fs::read_dir("/run/vmroot/mounts").unwrap().map(|entry| entry.unwrap().path());
    let suffix = format!("-{device}.json");
    let record = records.into_iter().find(|path| path.to_str().unwrap().ends_with(&suffix)).unwrap();
    fs::write(&record, "{}").unwrap();
    let mount = test.listed().unwrap();
    assert_eq!((&mount["image"], &mount["driver"]), (&json!(test.image), &json!("fuse")));
    assert!(mount["platform"].is_null() && mount["since"].is_null() && mount["process"].is_null(), "{mount}");
    test.umount();
    fs::remove_file(&record).unwrap();
}
