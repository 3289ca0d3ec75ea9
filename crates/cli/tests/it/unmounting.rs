//! `umount` with other mounts on the directory, and detached mounts that outlive their caller.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use rustix::process::{Pid, Signal, getsid, kill_process};
use vmroot_testkit::skip;

use crate::mounted::MountTest;
use crate::program::wait_until;

/// Returns the process that serves the mount.
fn server(test: &MountTest) -> Pid {
    let is_it = |pid: &u32| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let has = |word: &[u8]| command.split(|byte| *byte == 0).any(|argument| argument == word);
        has(b"mount") && has(test.image.as_bytes()) && has(b"--detach")
    };
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let pid = pids.into_iter().find(is_it).expect("a server");
    Pid::from_raw(pid as i32).unwrap()
}

/// Mounts of other programs stay, and the error names them.
#[test]
fn mounts_of_other_programs_stay() {
    let Some(test) = MountTest::as_root("place") else { return };
    let place = &test.place;
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| {
        let path = test.program.path(name);
        fs::create_dir(&path).unwrap();
        path.display().to_string()
    });
    let overlay = std::ffi::CString::new(format!("lowerdir={lower},upperdir={upper},workdir={work}")).unwrap();
    let none = MountFlags::empty();
    let lowest = format!("vmroot:{upper}");
    let foreign: [(&str, &dyn Fn() -> rustix::io::Result<()>); 5] = [
        ("tmpfs", &|| mount("vmroot", place, "tmpfs", none, None)),
        ("overlay", &|| mount("overlay", place, "overlay", none, Some(&*overlay))),
        // With a source like vmroot's, or almost.
        ("overlay", &|| mount("vmroot", place, "overlay", none, Some(&*overlay))),
        ("overlay", &|| mount(&*lowest, place, "overlay", none, Some(&*overlay))),
        ("proc", &|| mount("proc", place, "proc", none, None)),
    ];
    let mut tried = 0;
    for (form, mount) in foreign {
        // Some kernels do not mount an overlay on an overlay.
        if mount().is_err() {
            continue;
        }
        let message = test.program.fails(1, ["umount".as_ref(), place.as_os_str()]);
        assert!(message.contains(form) && message.contains(place.to_str().unwrap()), "{message}");
        unmount(place, UnmountFlags::empty()).expect("it is still there");
        tried += 1;
    }
    assert!(tried >= 2);
    let message = test.program.fails(3, ["umount".as_ref(), place.as_os_str()]);
    assert_eq!(
        message,
        format!(
            "vmroot: {}: nothing is mounted there\nhint: `vmroot mounts` lists the mounts of vmroot\n",
            place.display()
        )
    );
    // A directory below a mountpoint is not a mountpoint.
    test.mount(&["--driver=fuse"]);
    let message = test.program.fails(3, ["umount".as_ref(), place.join("etc").as_os_str()]);
    assert!(message.contains(&format!("; it is a part of vmroot's mount on {}\n", place.display())), "{message}");
    assert!(test.is_mounted());
    // A mount of vmroot is covered by another mount on the same directory. A mount below it stays.
    mount("none", place, "tmpfs", none, None).unwrap();
    let message = test.program.fails(1, ["umount".as_ref(), place.as_os_str()]);
    assert!(message.contains(&format!("of type tmpfs (none), over vmroot's mount of {}", test.image)), "{message}");
    unmount(place, UnmountFlags::empty()).unwrap();
    test.umount();
    mount("none", place, "tmpfs", none, None).unwrap();
    test.mount(&["--force"]);
    test.umount();
    assert!(!test.is_mounted());
    unmount(place, UnmountFlags::empty()).expect("the tmpfs is still there");
}

/// Bind mounts of a mount of vmroot, or of a directory of it, belong to the program that made them.
#[test]
fn bind_mounts_stay() {
    let Some(test) = MountTest::as_root("place") else { return };
    let place = &test.place;
    let bind = test.program.path("bind");
    fs::create_dir(&bind).unwrap();
    for driver in ["--driver=fuse", "--driver=auto"] {
        test.mount(&[driver]);
        for source in [place.clone(), place.join("etc")] {
            mount_bind(&source, &bind).unwrap();
            let message = test.program.fails(1, ["umount".as_ref(), bind.as_os_str()]);
            let expected = format!(
                ": not a mount of vmroot, but a bind mount of vmroot's mount on {}\nhint: `umount ",
                place.display()
            );
            assert!(message.contains(&expected), "{driver}: {message}");
            unmount(&bind, UnmountFlags::empty()).expect("it is still there");
        }
        mount_bind(place.join("etc"), &bind).unwrap();
        test.umount();
        assert!(!test.is_mounted(), "{driver}");
        let message = test.program.fails(1, ["umount".as_ref(), bind.as_os_str()]);
        assert!(message.contains("a bind mount of a directory of vmroot:"), "{driver}: {message}");
        unmount(&bind, UnmountFlags::empty()).expect("it is still there");
    }
}

/// Several mounts of vmroot on one directory are unmounted from the top.
#[test]
fn stacked_mounts_are_unmounted_one_by_one() {
    let Some(test) = MountTest::as_root("place") else { return };
    test.mount(&["--driver=fuse"]);
    test.mount(&["--driver=auto", "--force"]);
    test.mount(&["--driver=fuse", "--force"]);
    for left in [2, 1, 0] {
        test.umount();
        assert_eq!(
            test.program
                .json(["mounts", "--json"])
                .as_array()
                .unwrap()
                .iter()
                .filter(|mount| { mount["directory"] == test.place.to_str().unwrap() })
                .count(),
            left
        );
        assert_eq!(test.is_mounted(), left > 0);
    }
}

#[test]
fn mount_in_use_is_unmounted_only_lazily() {
    let Some(test) = MountTest::as_root("place") else { return };
    for driver in ["--driver=fuse", "--driver=auto"] {
        test.mount(&[driver]);
        let mut file = fs::File::open(test.place.join("etc/motd")).unwrap();
        let message = test.program.fails(1, ["umount".as_ref(), test.place.as_os_str()]);
        assert!(message.contains("--lazy unmounts it now"), "{driver}: {message}");
        assert!(test.is_mounted());
        test.program.ok(["umount".as_ref(), "--lazy".as_ref(), test.place.as_os_str()]);
        assert!(!test.is_mounted());
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "amd64\n", "{driver}");
    }
}

/// A mount in another mount namespace is not in this one. The error says how to reach it.
#[test]
fn mount_of_another_namespace_is_unmounted_there() {
    let Some(test) = MountTest::as_root("place") else { return };
    if skip::needs_program("unshare") || skip::needs_program("nsenter") {
        return;
    }
    let program = env!("CARGO_BIN_EXE_vmroot");
    let place = test.place.to_str().unwrap();
    let mut holder = Command::new("unshare")
        .args(["--mount", "sh", "-c", "\"$@\" && echo ready && exec sleep 1000", "sh", program, "mount", &test.image])
        .args([place, "--detach", "--driver=auto"])
        .env("VMROOT_CACHE", test.program.cache())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    assert!(!test.is_mounted());
    let message = test.program.fails(3, ["umount", place]);
    assert!(message.contains("nothing is mounted there, but in the mount namespace of process "), "{message}");
    let command = message.split('`').nth(1).unwrap().replacen("vmroot", program, 1);
    let status = Command::new("sh").args(["-c", &command]).env("VMROOT_CACHE", test.program.cache()).status().unwrap();
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(status.success(), "{command}");
    let message = test.program.fails(3, ["umount", place]);
    assert!(message.contains("nothing is mounted there\n"), "{message}");
}

/// A namespace that is a copy of this one has a copy of the mount, with another number.
#[test]
fn copy_of_a_mount_is_unmounted_in_its_namespace() {
    let Some(test) = MountTest::as_root("place") else { return };
    if skip::needs_program("unshare") {
        return;
    }
    for driver in ["--driver=fuse", "--driver=auto"] {
        test.mount(&[driver]);
        let script = "set -e; \"$1\" mounts --json; \"$1\" umount \"$2\"; ! [ -e \"$2/etc\" ]";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_vmroot")]).arg(&test.place);
        let output = command.env("VMROOT_CACHE", test.program.cache()).output().unwrap();
        assert!(output.status.success(), "{driver}: {output:?}");
        let listed = String::from_utf8(output.stdout).unwrap();
        assert!(listed.contains("\"platform\": \"linux/amd64\""), "{driver}: {listed}");
        assert!(test.is_mounted(), "{driver}");
        test.umount();
    }
}

/// Paths that the mount table writes in octal, a link, a relative path, a bind mount next to it, and each driver.
#[test]
fn mounts_are_found_by_every_path() {
    for name in ["a b", "line\nbreak", "back\\slash\\040", "tab\t#", "gr\u{fc}n"] {
        let Some(test) = MountTest::as_root(name) else { return };
        for driver in ["--driver=fuse", "--driver=auto"] {
            test.mount(&[driver]);
            test.umount();
            assert!(!test.is_mounted(), "{name:?} {driver}");
        }
        test.mount(&[]);
        let link = test.program.path("link");
        symlink(&test.place, &link).unwrap();
        test.program.ok(["umount".as_ref(), link.as_os_str()]);
        assert!(!test.is_mounted(), "{name:?}");
        test.mount(&[]);
        let mut command = test.program.command(["umount".as_ref(), test.place.file_name().unwrap()]);
        assert!(command.current_dir(test.program.path("")).status().unwrap().success(), "{name:?}");
        assert!(!test.is_mounted(), "{name:?}");
    }
}

#[test]
fn writable_view_is_unmounted() {
    let Some(test) = MountTest::as_root("place") else { return };
    let [upper, work] = ["upper", "work"].map(|name| {
        let path = test.program.path(name);
        fs::create_dir(&path).unwrap();
        format!("--{name}={}", path.display())
    });
    test.mount(&[&upper, &work]);
    test.umount();
    assert!(!test.is_mounted());
}

/// Reads and stat(2) then fail with ENOTCONN. The mount must be unmounted all the same.
#[test]
fn mount_of_a_killed_server_is_unmounted() {
    let Some(test) = MountTest::as_root("place") else { return };
    test.mount(&["--driver=fuse"]);
    kill_process(server(&test), Signal::KILL).unwrap();
    wait_until("the end of the connection", || {
        fs::metadata(&test.place).is_err_and(|error| error.raw_os_error() == Some(107))
    });
    test.umount();
    assert!(fs::metadata(&test.place).unwrap().is_dir());
}

/// The end of the caller's session and the removal of its directory do not end the mount.
#[test]
fn detached_mount_is_independent_of_its_caller() {
    let Some(test) = MountTest::as_root("place") else { return };
    let caller = test.program.path("caller");
    fs::create_dir(&caller).unwrap();
    fs::create_dir(caller.join("relative")).unwrap();
    let cache = test.program.cache().strip_prefix(test.program.path("")).unwrap().to_owned();
    let mut command = test.program.command(["mount", &test.image, "../place", "--detach", "--driver=fuse"]);
    command.env("VMROOT_CACHE", Path::new("..").join(cache));
    assert!(command.current_dir(&caller).status().unwrap().success());
    let server = server(&test);
    assert_eq!(getsid(Some(server)).unwrap(), server, "a session of its own");
    let process = PathBuf::from(format!("/proc/{}", server.as_raw_pid()));
    assert_eq!(fs::read_link(process.join("cwd")).unwrap(), Path::new("/"));
    for (descriptor, expected) in [("0", "/dev/null"), ("1", "/dev/null")] {
        assert_eq!(fs::read_link(process.join("fd").join(descriptor)).unwrap(), Path::new(expected));
    }
    let home = test.program.path("caller");
    let open: Vec<PathBuf> = fs::read_dir(process.join("fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .collect();
    assert!(!open.iter().any(|path| path.starts_with(&home)), "{open:?}");
    fs::remove_dir_all(&caller).unwrap();
    assert_eq!(fs::read_to_string(test.place.join("etc/motd")).unwrap(), "amd64\n");
    test.umount();
    wait_until("the end of the server", || !process.exists());
}

/// The disk below a mount fails to read. Readers get an error, and the log names the file, the place and the cause
/// once.
#[test]
fn read_errors_are_in_the_log_of_a_detached_mount() {
    let Some(test) = MountTest::as_root("place") else { return };
    let log = test.program.path("mount.log");
    test.mount(&["--driver=fuse", &format!("--log={}", log.display())]);
    let layers = test.program.cache().join("layers/v1");
    let contents: Vec<PathBuf> = fs::read_dir(layers)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "contents"))
        .collect();
    for path in &contents {
        OpenOptions::new().write(true).open(path).unwrap().set_len(0).unwrap();
    }
    for file in ["usr/bin/extra", "etc/motd", "usr/bin/extra"] {
        let error = fs::read(test.place.join(file)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(5), "{file}: {error}");
    }
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(contents.iter().any(|path| lines[0].contains(path.to_str().unwrap())), "{text}");
    assert!(lines[0].contains("at byte ") && lines[0].contains("failed to fill whole buffer"), "{text}");
    test.umount();
}

/// Without --log, the log is in the runtime directory, and is removed with the mount if it is empty.
#[test]
fn default_log_is_where_the_help_says() {
    let Some(test) = MountTest::as_root("place") else { return };
    let runtime = test.program.path("runtime");
    fs::create_dir(&runtime).unwrap();
    let place = test.place.to_str().unwrap();
    let mut command = test.program.command(["mount", &test.image, place, "--detach", "--driver=fuse"]);
    assert!(command.env("XDG_RUNTIME_DIR", &runtime).status().unwrap().success());
    let log = runtime.join(format!("vmroot/mount-{}.log", server(&test).as_raw_pid()));
    assert!(log.exists());
    test.umount();
    wait_until("the end of the log", || !log.exists());
}
