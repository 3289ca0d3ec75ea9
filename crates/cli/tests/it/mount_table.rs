//! `mounts`, and the mounts of vmroot in the kernel's table, as root.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use serde_json::{Value, json};

use crate::erofs;
use crate::mounted::MountTest;

/// Mounts an image in the background, and returns what is printed.
fn mount_image(test: &MountTest, image: &str, more: &[&str]) -> String {
    let arguments = ["mount", image, test.place.to_str().unwrap(), "--detach"];
    test.program.ok(arguments.iter().chain(more))
}

/// Returns the mount on the directory of the test, as another cache sees it too.
fn listed(test: &MountTest) -> Option<Value> {
    let find = |mounts: Value| {
        let mounts = mounts.as_array().unwrap().clone();
        mounts.into_iter().find(|mount| mount["directory"] == test.place.to_str().unwrap())
    };
    let found = find(test.program.json(["mounts", "--json"]));
    let elsewhere = test.program.path("elsewhere");
    let of_other_cache = test.program.json(["mounts", "--json", "--cache", elsewhere.to_str().unwrap()]);
    assert_eq!(find(of_other_cache), found);
    assert!(!elsewhere.exists());
    let line =
        test.program.ok(["mounts"]).lines().find(|line| line.starts_with(test.place.to_str().unwrap())).is_some();
    assert_eq!(line, found.is_some());
    assert_eq!(test.program.ok(["mounts", "--quiet"]).lines().any(|line| Path::new(line) == test.place), line);
    found
}

/// Returns the source and type of the mount, as findmnt(8) prints them.
fn findmnt(test: &MountTest) -> String {
    let mut findmnt = Command::new("findmnt");
    let output = findmnt.args(["--noheadings", "--output=SOURCE,FSTYPE", "--raw"]).arg(&test.place).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn mounts_are_listed_while_they_exist() {
    let Some(test) = MountTest::as_root("the place") else { return };
    let id = test.program.json(["inspect", &test.image, "--json", "--arch=amd64"])["id"].clone();
    let [upper, work] = ["upper", "work"].map(|name| test.program.path(name).display().to_string());
    let view = [format!("--upper={upper}"), format!("--work={work}")];
    let view = [view[0].as_str(), view[1].as_str()];
    let erofs = if erofs::cannot_mount() { &[][..] } else { &["erofs"] };
    for driver in ["fuse"].iter().chain(erofs) {
        for more in [&[][..], &view] {
            let option = format!("--driver={driver}");
            let printed = mount_image(&test, &test.image, &[more, &[&option, "--json"]].concat());
            let mount = listed(&test).unwrap();
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
            assert_eq!(findmnt(&test), format!("vmroot:{} {form}", test.image));
            // By umount(8), which does not know of records.
            if is_view {
                unmount(&test.place, UnmountFlags::empty()).unwrap()
            } else {
                test.umount()
            }
            assert_eq!(listed(&test), None);
            assert!(test.program.ok(["mounts", "--json"]).starts_with('['));
        }
    }
}

/// A directory that is not an image of a cache, and names with slashes and dots, which the kernel opens as paths.
#[test]
fn sources_name_the_image_as_the_command_line_does() {
    let Some(test) = MountTest::as_root("the place") else { return };
    let prebaked = test.program.path("a/../prebaked");
    fs::create_dir(test.program.path("a")).unwrap();
    test.program.ok(["export", &test.image, prebaked.to_str().unwrap(), "--format=prebaked", "--arch=amd64"]);
    let name = format!("prebaked:{}", prebaked.display());
    for driver in ["--driver=fuse", "--driver=auto"] {
        mount_image(&test, &name, &[driver]);
        let mount = listed(&test).unwrap();
        assert_eq!((&mount["image"], &mount["platform"]), (&json!(name), &json!("linux/amd64")), "{mount}");
        assert!(mount["id"].is_null() && mount["cache"].is_null(), "{mount}");
        let source = findmnt(&test);
        let dots = if source.ends_with("erofs") { "_" } else { ".." };
        assert!(source.starts_with(&format!("vmroot:{}", name.replace("..", dots))), "{source}");
        test.umount();
    }
}

/// Mounts of other programs are not listed, nor bind mounts.
#[test]
fn other_mounts_are_not_listed() {
    let Some(test) = MountTest::as_root("the place") else { return };
    mount("vmroot:demo", &test.place, "tmpfs", MountFlags::empty(), None).unwrap();
    assert_eq!(listed(&test), None);
    unmount(&test.place, UnmountFlags::empty()).unwrap();
    let other = test.program.path("other");
    fs::create_dir(&other).unwrap();
    test.program.ok(["mount", &test.image, other.to_str().unwrap(), "--detach"]);
    mount_bind(&other, &test.place).unwrap();
    assert_eq!(listed(&test), None);
    unmount(&test.place, UnmountFlags::empty()).unwrap();
    test.program.ok(["umount", other.to_str().unwrap()]);
}

/// Without its record, a mount is listed with what the table shows.
#[test]
fn mount_without_a_record_is_listed() {
    let Some(test) = MountTest::as_root("the place") else { return };
    mount_image(&test, &test.image, &["--driver=fuse"]);
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
    let mount = listed(&test).unwrap();
    assert_eq!((&mount["image"], &mount["driver"]), (&json!(test.image), &json!("fuse")));
    assert!(mount["platform"].is_null() && mount["since"].is_null() && mount["process"].is_null(), "{mount}");
    test.umount();
    fs::remove_file(&record).unwrap();
}

/// A relative path could lead through the mountpoint, and so to files of the image.
#[test]
fn the_directories_of_a_view_are_listed_without_detours() {
    let Some(test) = MountTest::as_root("the place") else { return };
    let arguments = ["mount", &test.image, ".", "--detach", "--upper=../up/per", "--work=../work", "--arch=amd64"];
    let mut command = test.program.command(arguments);
    crate::program::CommandOutput::from(command.current_dir(&test.place).output().unwrap()).ok();
    let mount = listed(&test).unwrap();
    let of_home = |name: &str| test.program.path("").canonicalize().unwrap().join(name);
    assert_eq!((&mount["upper"], &mount["work"]), (&json!(of_home("up/per")), &json!(of_home("work"))));
    test.program.ok(["umount", test.place.to_str().unwrap()]);
}

/// The kernel serves a mount without a process that could write a log.
#[test]
fn a_log_that_is_not_written_is_noted() {
    let Some(test) = MountTest::as_root("the place") else { return };
    if erofs::cannot_mount() {
        return;
    }
    let log = test.program.path("log");
    let option = format!("--log={}", log.display());
    let place = test.place.to_str().unwrap();
    for (driver, is_written) in [("--driver=erofs", false), ("--driver=fuse", true)] {
        let output = test.program.run(["mount", &test.image, place, "--detach", driver, &option, "--arch=amd64"]);
        assert!(output.status.success(), "{output}");
        assert_eq!(log.exists(), is_written, "{output}");
        assert_eq!(output.stderr.contains("is not written"), !is_written, "{output}");
        test.program.ok(["umount", place]);
    }
}
