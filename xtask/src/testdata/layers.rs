//! The layers of the demo image: small, with a sample of every case of a merge.
//!
//! Hard links have the mode and owner of their target, as in all tars, because some readers apply them.

use vmroot_testkit::layer::{Entry, Layer};

use super::busybox::Busybox;

/// The default time of entries: 2026-01-01 00:00:00 UTC.
const TIME: i64 = 1_767_225_600;

/// `security.capability` with CAP_NET_RAW permitted and effective, in the kernel's version 2 form.
const CAP_NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

const APPLETS: [&str; 24] = [
    "cat", "chmod", "chown", "cp", "date", "df", "echo", "grep", "hostname", "ln", "ls", "mkdir", "mount", "mv", "ps",
    "pwd", "rm", "sed", "sh", "sleep", "sync", "touch", "uname", "vi",
];

/// Returns the layer of one architecture: busybox, and its applets as symbolic and hard links.
pub fn programs(busybox: &Busybox) -> Layer {
    let mut entries = vec![
        Entry::directory("bin/"),
        Entry::file("bin/busybox", &busybox.program).mode(0o755),
        Entry::directory("sbin/"),
        Entry::hard_link("sbin/init", "bin/busybox").mode(0o755),
    ];
    entries.extend(APPLETS.map(|applet| Entry::symlink(format!("bin/{applet}"), "busybox")));
    layer(entries)
}

/// Returns a layer with files of every kind, including those that the next layer removes.
pub fn base() -> Layer {
    layer([
        Entry::directory("dev/"),
        Entry::char_device("dev/null", 1, 3).mode(0o666),
        Entry::char_device("dev/console", 5, 1).mode(0o600),
        Entry::block_device("dev/loop0", 7, 0).mode(0o660).owner(0, 6),
        Entry::fifo("dev/initctl").mode(0o600),
        Entry::directory("etc/"),
        Entry::file("etc/passwd", PASSWD),
        Entry::file("etc/group", GROUP),
        Entry::file("etc/hostname", "base\n"),
        Entry::file("etc/os-release", "NAME=\"vmroot demo\"\nID=vmroot-demo\nVERSION_ID=1\n"),
        Entry::symlink("etc/mtab", "/proc/self/mounts"),
        Entry::directory("etc/conf.d/"),
        Entry::file("etc/conf.d/old", "hidden by the opaque marker of the layer above\n"),
        Entry::directory("home/"),
        Entry::directory("home/demo/").mode(0o2750).owner(1000, 50),
        Entry::directory("proc/").mode(0o555),
        Entry::directory("sys/").mode(0o555),
        Entry::directory("run/"),
        Entry::directory("tmp/").mode(0o1777),
        Entry::directory("data/").mode(0o700).owner(100_000, 4_000_000),
        Entry::file("data/private", "owned far above 65535\n").mode(0o400).owner(100_000, 4_000_000),
        Entry::directory("usr/"),
        Entry::directory("usr/bin/"),
        Entry::file("usr/bin/ping", "#!/bin/sh\necho no network here\n").mode(0o755),
        Entry::file("usr/bin/su", "#!/bin/sh\nexec sh\n").mode(0o4755),
        Entry::hard_link("usr/bin/sudo", "usr/bin/su").mode(0o4755),
        Entry::directory("usr/lib/"),
        Entry::file("usr/lib/libdemo.so.1", "not really a library\n"),
        Entry::symlink("usr/lib/libdemo.so", "libdemo.so.1"),
        Entry::symlink("lib", "usr/lib"),
        Entry::directory("var/"),
        Entry::directory("var/cache/"),
        Entry::file("var/cache/gone", "deleted by the layer above\n"),
        Entry::directory("var/lib/"),
        Entry::file("var/lib/state", "deleted with its directory, which is then made again\n"),
        Entry::sparse_file("var/lib/disk", 1 << 20, vec![(4096, b"in the middle of a hole".to_vec())]),
        Entry::file("var/becomes-directory", "a file\n"),
        Entry::directory("var/becomes-file/"),
        Entry::file("var/becomes-file/inside", "hidden by the file above\n"),
    ])
}

/// Returns a layer with whiteouts, an opaque directory, replacements, extended attributes and unusual names.
pub fn changes() -> Layer {
    layer([
        Entry::file("etc/hostname", "changed\n"),
        Entry::directory("etc/conf.d/"),
        Entry::file("etc/conf.d/new", "all there is in this directory\n"),
        Entry::opaque("etc/conf.d"),
        Entry::whiteout("var/cache/gone"),
        Entry::whiteout("var/lib"),
        Entry::directory("var/becomes-directory/"),
        Entry::file("var/becomes-directory/inside", "under what was a file\n"),
        Entry::file("var/becomes-file", "what was a directory\n"),
        Entry::file("usr/bin/ping", "#!/bin/sh\necho no network here either\n")
            .mode(0o755)
            .xattr("security.capability", CAP_NET_RAW),
        Entry::directory("odd/").xattr("user.binary", [0, 1, 2, 0xff]),
        Entry::file("odd/with space", "1\n"),
        Entry::file("odd/tab\tand\nnewline", "2\n"),
        Entry::file(b"odd/latin-1 \xe9", "3\n"),
        Entry::file("odd/ü", "4\n"),
        Entry::file(format!("odd/{}", "n".repeat(255)), "5\n"),
        Entry::file(format!("odd/{}/deep", "d".repeat(120)), "its parent is in no layer\n"),
        Entry::file("odd/empty", ""),
        Entry::file("odd/nanoseconds", "6\n").mtime(TIME, 123_456_789),
        Entry::file("odd/before-1970", "7\n").mtime(-1, 0),
    ])
}

/// Returns a layer with a directory that is created again after its deletion, and with links that lead out of it.
pub fn links() -> Layer {
    layer([
        Entry::directory("var/lib/"),
        Entry::file("var/lib/fresh", "the directory's old files stay deleted\n"),
        Entry::symlink("home/demo/loop", "loop").owner(1000, 50),
        Entry::symlink("home/demo/outside", "../../../../etc/hostname").owner(1000, 50),
        Entry::file("home/demo/hello", "hello from vmroot\n").owner(1000, 50),
        Entry::hard_link("home/demo/hello again", "home/demo/hello").owner(1000, 50),
    ])
}

const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
demo:x:1000:1000:Demo,,,:/home/demo:/bin/sh
";

const GROUP: &str = "\
root:x:0:
disk:x:6:
staff:x:50:demo
demo:x:1000:
";

/// Sets the default time on entries without a time of their own.
fn layer(entries: impl IntoIterator<Item = Entry>) -> Layer {
    Layer::new(entries.into_iter().map(|entry| match entry.attributes.mtime.total_nanoseconds() {
        0 => entry.mtime(TIME, 0),
        _ => entry,
    }))
}
