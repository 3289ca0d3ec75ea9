//! Roots with a shell, the init and its config, and what was said in them.

use vmroot_testkit::guest::{Guest, Initramfs};
use vmroot_testkit::skip;

/// What the tests' scripts call.
const APPLETS: [&str; 16] = [
    "busybox", "cat", "grep", "hostname", "id", "kill", "ls", "mkdir", "ps", "rm", "sh", "sleep", "stat", "stty",
    "true", "uname",
];

/// The guest of an architecture and the init for it, or nothing where the test is skipped.
pub(crate) fn guest(architecture: &str) -> Option<(Guest, &'static [u8])> {
    let guest = Guest::of(architecture)?;
    match vmroot_guest::init_for(architecture) {
        Ok(init) => Some((guest, init)),
        Err(error) => {
            skip::because(&error.to_string());
            None
        }
    }
}

/// A root as an initramfs: a shell, the init, a config, and `/check`, a script.
pub(crate) fn root(guest: &Guest, init: &[u8], config: &str, script: &str) -> Initramfs {
    let directories = ["bin", "etc", "etc/vmroot", "root", "sbin"];
    let root = directories.iter().fold(Initramfs::new(), |root, name| root.directory(name, 0o755));
    let root = root.directory("tmp", 0o1777).copy("bin/busybox", 0o755, &guest.busybox());
    let root = APPLETS[1..].iter().fold(root, |root, name| root.symlink(&format!("bin/{name}"), "busybox"));
    root.file("sbin/vmroot-init", 0o755, init)
        .file("etc/vmroot/config.json", 0o644, config.as_bytes())
        .file("etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n")
        .file("etc/group", 0o644, b"root:x:0:\nvideo:x:44:app\napp:x:1001:\naudio:x:29:other,app\n")
        .file("check", 0o755, format!("#!/bin/sh\n{script}").as_bytes())
}

/// What a script said by `echo "NAME: …"`, in a line of its own.
pub(crate) fn line<'a>(said: &'a str, name: &'a str) -> &'a str {
    let mut found = lines(said, name);
    found.next().unwrap_or_else(|| panic!("nothing about {name} in:\n{said}"))
}

/// All that a script said by that name.
pub(crate) fn lines<'a>(said: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    said.lines().filter_map(move |line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The init's last word.
pub(crate) fn exit_code(said: &str) -> i32 {
    let mut codes = said.lines().filter_map(|line| line.strip_prefix("[vmroot-init] exit code "));
    let code = codes.next().and_then(|code| code.parse().ok());
    assert!(codes.next().is_none(), "more than one exit code in:\n{said}");
    code.unwrap_or_else(|| panic!("no exit code in:\n{said}"))
}
