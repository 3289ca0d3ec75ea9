//! `ls`, `stat`, `cat`, `readlink` and `resolve`.

use vmroot_testkit::registry::Registry;
use vmroot_testkit::sample::noise;

use crate::program::{CommandOutput, Program};
use crate::samples::{image, serve};

fn pulled() -> (Program, String) {
    let registry = Registry::start();
    let reference = serve(&registry, &image("amd64"), "v1");
    let program = Program::new();
    program.ok(["pull", &reference, "--arch=amd64"]);
    (program, reference)
}

#[test]
fn ls_prints_one_name_on_each_line() {
    let (program, image) = pulled();
    let ls = |path: &[&str]| program.ok(["ls", "--arch=amd64", &image].iter().chain(path));
    assert_eq!(ls(&[]), "bin\netc\nloop\nnull\nusr\n");
    assert_eq!(ls(&["/"]), ls(&[]));
    assert_eq!(ls(&["bin"]), "alias\nextra\ntool\n", "links at the end are followed");
    assert_eq!(ls(&["etc/../../bin/"]), ls(&["usr/bin"]), "there is nothing above the root");
    assert_eq!(ls(&["etc/passwd"]), "etc/passwd\n");
    assert_eq!(ls(&["-R", "/usr"]), "bin\nbin/alias\nbin/extra\nbin/tool\n");
    let long = ls(&["-l", "/"]);
    let line = |name: &str| long.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(line("bin").starts_with('l') && line("bin").ends_with("bin -> usr/bin"), "{long}");
    assert!(line("null").starts_with("crw-rw-rw-") && line("null").contains("1, 3"), "{long}");
    assert!(ls(&["-l", "/usr/bin"]).contains("-rwsr-xr-x    2"), "{}", ls(&["-l", "/usr/bin"]));
}

#[test]
fn stat_prints_attributes() {
    let (program, image) = pulled();
    let stat = |path: &str| program.json(["stat", "--json", "--arch=amd64", &image, path]);
    let tool = stat("/bin/tool");
    assert_eq!(tool["path"], "/usr/bin/tool");
    assert_eq!((&tool["type"], &tool["mode"], &tool["nlink"]), (&"file".into(), &"4755".into(), &2.into()));
    assert_eq!(tool["xattrs"]["user.origin"], "base");
    assert_eq!(tool["inode"], stat("/usr/bin/alias")["inode"]);
    let etc = stat("etc");
    assert_eq!(etc["mtime"], "2020-09-13T12:26:40.123456789Z");
    assert_eq!(etc["mtimeSeconds"], 1_600_000_000);
    let motd = stat("etc/motd");
    assert_eq!((&motd["uid"], &motd["gid"], &motd["size"]), (&1000.into(), &1001.into(), &6.into()));
    assert_eq!(stat("null")["device"], "1:3");
    assert_eq!((&stat("bin")["type"], &stat("bin")["target"]), (&"symlink".into(), &"usr/bin".into()));
    assert_eq!(program.json(["stat", "-L", "--json", "--arch=amd64", &image, "bin"])["type"], "directory");
    assert!(program.ok(["stat", "--arch=amd64", &image, "etc/motd"]).contains("owner  1000:1001\n"));
}

#[test]
fn cat_prints_contents() {
    let (program, image) = pulled();
    let cat = |paths: &[&str]| program.run(["cat", "--arch=amd64", &image].iter().chain(paths));
    assert_eq!(cat(&["etc/motd", "/bin/alias"]).ok(), "amd64\n#!/bin/sh\n");
    assert!(cat(&["usr/bin/extra"]).stdout == noise(5, 20_000));
}

/// Files come first, then each directory with a heading, as for ls(1). A missing path does not hide the others.
#[test]
fn several_paths_are_listed_and_printed() {
    let (program, image) = pulled();
    let ls = |arguments: &[&str]| program.ok(["ls", "--arch=amd64", &image].iter().chain(arguments));
    assert_eq!(
        ls(&["/usr", "etc/motd", "null", "/"]),
        "etc/motd\nnull\n\n/usr:\nbin\n\n/:\nbin\netc\nloop\nnull\nusr\n"
    );
    assert_eq!(ls(&["/usr", "/"]), "/usr:\nbin\n\n/:\nbin\netc\nloop\nnull\nusr\n");
    assert_eq!(ls(&["-d", "/usr", "/"]), "/usr\n/\n");
    assert_eq!(ls(&["-d", "/usr"]), "/usr\n");
    assert_eq!(ls(&["-R", "/usr", "null"]), "null\n\n/usr:\nbin\nbin/alias\nbin/extra\nbin/tool\n");
    assert_eq!(ls(&["-la", "/usr", "null"]).lines().filter(|line| line.ends_with(['n', 'l'])).count(), 2);
    let paths = program.json(["ls", "--json", "--arch=amd64", &image, "null", "/usr", "/"]);
    let paths: Vec<_> = paths.as_array().unwrap().iter().map(|row| row["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["null", "/usr/bin", "/bin", "/etc", "/loop", "/null", "/usr"]);

    let answer = program.run(["ls", "--arch=amd64", &image, "/none", "null"]);
    assert_eq!((answer.status.code(), &answer.stdout[..]), (Some(3), &b"null\n"[..]), "{answer}");
    assert!(answer.stderr.contains("\"/none\": no such file"), "{answer}");
    let answer = program.run(["cat", "--arch=amd64", &image, "/none", "etc/motd", "/usr"]);
    assert_eq!((answer.status.code(), &answer.stdout[..]), (Some(1), &b"amd64\n"[..]), "{answer}");
    assert!(answer.stderr.contains("/none") && answer.stderr.contains("\"/usr\": is a directory"), "{answer}");
    assert!(program.fails(1, ["readlink", "--arch=amd64", &image, "/usr"]).contains("\"/usr\": not a symbolic link"));
}

#[test]
fn links_are_read_and_resolved() {
    let (program, image) = pulled();
    assert_eq!(program.ok(["readlink", "--arch=amd64", &image, "/bin"]), "usr/bin\n");
    assert_eq!(program.ok(["resolve", "--arch=amd64", &image, "/bin/../bin/tool"]), "/usr/bin/tool\n");
    assert_eq!(program.ok(["resolve", "--arch=amd64", &image, "../../bin"]), "/usr/bin\n");
    let message = program.fails(1, ["resolve", "--arch=amd64", &image, "/loop/x"]);
    assert!(message.to_lowercase().contains("symbolic link"), "{message}");
}

#[test]
fn reader_that_closes_the_pipe_is_no_error() {
    let (program, image) = pulled();
    let mut child = program.start(["cat", "--arch=amd64", &image, "usr/bin/extra", "usr/bin/extra", "usr/bin/extra"]);
    drop(child.stdout.take());
    let answer = CommandOutput::from(child.wait_with_output().unwrap());
    assert_eq!((answer.status.code(), answer.stderr.as_str()), (Some(0), ""), "{answer}");
}
