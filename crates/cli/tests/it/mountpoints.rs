//! The mountpoint of `mount`: `--mkdir`, `--force`, and `umount --rmdir`.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use crate::mounted::{MountTest, cannot_mount};
use crate::program::wait_until;

/// Returns the arguments of a mount in the background.
fn arguments<'a>(test: &'a MountTest, more: &[&'a str]) -> Vec<&'a str> {
    test.arguments(&[&["--detach", "--driver=fuse"], more].concat())
}

#[test]
fn missing_mountpoint_is_made_on_request() {
    if cannot_mount() {
        return;
    }
    let test = MountTest::without_place("new/place");
    let message = test.program.fails(3, arguments(&test, &[]));
    assert!(
        message.contains(&test.place.display().to_string()) && message.contains("--mkdir creates the directory"),
        "{message}"
    );
    assert!(!test.place.parent().unwrap().exists());
    test.program.ok(arguments(&test, &["--mkdir"]));
    assert_eq!(test.motd(), "amd64\n");
    test.umount();
    // As with mount(8), the directory stays. It may exist the next time.
    assert!(test.place.is_dir());
    test.program.ok(arguments(&test, &["--mkdir"]));
    test.umount_with(&["--rmdir"]);
    assert!(!test.place.exists() && test.place.parent().unwrap().is_dir());
}

/// After the mount, `.` is the directory below it.
#[test]
fn the_working_directory_can_be_the_mountpoint() {
    if cannot_mount() {
        return;
    }
    let test = MountTest::without_place("place");
    fs::create_dir_all(test.place.join("sub")).unwrap();
    for (name, driver) in [(".", "fuse"), ("sub/..", "fuse"), (".", "auto")] {
        let driver_option = format!("--driver={driver}");
        let arguments = ["mount", &test.image, name, "--detach", "--force", "--json", &driver_option];
        let mut command = test.program.command(arguments);
        let output = command.current_dir(&test.place).output().unwrap();
        let about = format!("{name} {driver}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{about}");
        let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(printed["directory"], test.place.canonicalize().unwrap().to_str().unwrap(), "{about}");
        let mounts = test.program.json(["mounts", "--json"]);
        let own = |mount: &&serde_json::Value| mount["directory"] == printed["directory"];
        let listed = mounts.as_array().unwrap().iter().find(own).unwrap_or_else(|| panic!("{about}: {mounts}"));
        assert_eq!(listed["platform"], "linux/amd64", "{about}");
        test.umount();
    }
    // No record of a use is left.
    test.program.ok(["rm", &test.image]);
}

/// The time of the command ends a mount in the foreground. A mount in the background outlives its command.
#[test]
fn the_time_of_the_command_is_over_in_the_foreground_only() {
    if cannot_mount() {
        return;
    }
    let test = MountTest::without_place("place");
    fs::create_dir_all(&test.place).unwrap();
    let place = test.place.to_str().unwrap();
    let message = test.program.fails(124, ["--command-timeout=1s", "mount", &test.image, place, "--driver=fuse"]);
    assert!(message.contains("--command-timeout"), "{message}");
    test.program.ok(["--command-timeout=5s", "mount", &test.image, place, "--driver=fuse", "--detach"]);
    std::thread::sleep(std::time::Duration::from_secs(6));
    assert_eq!(test.motd(), "amd64\n");
    test.umount();
}

/// A mount that fails leaves no directory that it has made.
#[test]
fn failed_mount_removes_its_new_mountpoint() {
    if cannot_mount() {
        return;
    }
    let test = MountTest::without_place("new/place");
    for (code, arguments) in [
        (3, ["mount", "localhost:1/none", "--pull=never"]),
        (3, ["mount", &test.image, "--layer=/no/layer"]),
        (3, ["mount", &test.image, "--add=/no/file:/x"]),
    ] {
        test.program.fails(code, arguments.iter().chain(&[test.place.to_str().unwrap(), "--mkdir"]));
        assert!(!test.program.path("new").exists(), "{arguments:?}");
    }
    // The parent is a file.
    test.program.file("new", "");
    let message = test.program.fails(1, arguments(&test, &["--mkdir"]));
    assert!(message.contains(test.place.to_str().unwrap()), "{message}");
}

#[test]
fn files_and_mounts_are_hidden_only_with_force() {
    if cannot_mount() {
        return;
    }
    let test = MountTest::without_place("new/place");
    let place = test.place.display();
    fs::create_dir_all(&test.place).unwrap();
    fs::write(test.place.join("precious"), "x").unwrap();
    let message = test.program.fails(1, arguments(&test, &[]));
    assert!(message.contains(&format!("{place}: not empty\nhint: --force mounts over it")), "{message}");
    test.program.ok(arguments(&test, &["--force"]));
    assert_eq!(test.motd(), "amd64\n");
    let message = test.program.fails(1, arguments(&test, &[]));
    let expected = format!("{place}: vmroot's mount of {} is mounted there\nhint: --force mounts over it", test.image);
    assert!(message.contains(&expected), "{message}");
    test.program.ok(arguments(&test, &["-f"]));
    test.umount();
    assert_eq!(test.motd(), "amd64\n");
    test.umount();
    assert_eq!(fs::read_to_string(test.place.join("precious")).unwrap(), "x");
    // The directory is not empty, so it stays, and the mount is gone all the same.
    test.program.ok(arguments(&test, &["--force"]));
    let message = test.program.fails(1, ["umount", "--rmdir", test.place.to_str().unwrap()]);
    assert!(message.contains("unmounted, but not removed: Directory not empty"), "{message}");
    assert!(test.place.join("precious").exists());
}

/// The server of a mount is killed. The directory cannot be read, and a new mount says why.
#[test]
fn dead_mount_is_named() {
    if cannot_mount() {
        return;
    }
    let test = MountTest::without_place("new/place");
    test.program.ok(arguments(&test, &["--mkdir"]));
    let mounts = test.program.json(["mounts", "--json"]);
    let ours = |mounts: &serde_json::Value| {
        mounts.as_array().unwrap().iter().find(|mount| mount["directory"] == test.place.to_str().unwrap()).cloned()
    };
    let mount = ours(&mounts).unwrap();
    assert_eq!(mount["served"], true);
    let pid = mount["process"].as_i64().unwrap();
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
    wait_until("the end of the connection", || fs::metadata(&test.place).is_err());
    let mount = ours(&test.program.json(["mounts", "--json"])).unwrap();
    assert!(mount["served"] == false && mount["process"].is_null(), "{mount}");
    assert!(test.program.ok(["mounts"]).contains(&format!("{pid} (ended)")));
    let message = test.program.fails(1, arguments(&test, &[]));
    assert!(message.contains("is mounted there\nhint: --force mounts over it"), "{message}");
    test.program.ok(arguments(&test, &["--force"]));
    assert_eq!(test.motd(), "amd64\n");
    test.umount();
    test.umount();
    assert!(ours(&test.program.json(["mounts", "--json"])).is_none());
}
