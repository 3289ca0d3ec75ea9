//! Roots with a shell, the init and its config, and the parsing of their output.

use vmroot_testkit::guest::{Guest, Initramfs};
use vmroot_testkit::skip;

/// The applets that the tests' scripts call.
const APPLETS: [&str; 16] = [
    "busybox", "cat", "grep", "hostname", "id", "kill", "ls", "mkdir", "ps", "rm", "sh", "sleep", "stat", "stty",
    "true", "uname",
];

/// Returns the guest and the init for an architecture, or `None` if the test is skipped.
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

/// Returns a root as an initramfs: a shell, the init, a config, and the script `/check`.
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

/// Returns the text that a script printed with `echo "NAME: …"`.
pub(crate) fn line<'a>(output: &'a str, name: &'a str) -> &'a str {
    let mut found = lines(output, name);
    found.next().unwrap_or_else(|| panic!("nothing about {name} in:\n{output}"))
}

/// Returns all texts that a script printed with this name.
pub(crate) fn lines<'a>(output: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    output.lines().filter_map(move |line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Returns the exit code that the init reported.
pub(crate) fn exit_code(output: &str) -> i32 {
    let mut codes = output.lines().filter_map(|line| line.strip_prefix("[vmroot-init] exit code "));
    let code = codes.next().and_then(|code| code.parse().ok());
    assert!(codes.next().is_none(), "more than one exit code in:\n{output}");
    code.unwrap_or_else(|| panic!("no exit code in:\n{output}"))
}
