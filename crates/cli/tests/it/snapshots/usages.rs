//! Wrong usages, as people type them who know docker, podman, skopeo or crane.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use super::Transcript;
use crate::program::Program;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/demo");

/// Verbs of other tools.
#[test]
fn commands_of_other_tools() {
    let program = Program::new();
    let mut transcript = Transcript::new(&program);
    transcript.run::<&str>([]);
    transcript.run_all(&[
        "run alpine",
        "rmi alpine",
        "ps",
        "image ls",
        "push alpine registry.example/alpine",
        "build .",
        "search nginx",
        "exec guest sh",
        "create alpine",
        "version",
        "info",
        "system prune",
        "unmount /mnt",
        "import root.tar",
        "manifest inspect alpine",
        "pul alpine",
        "exprot alpine out.tar",
        "xyzzy",
        "lease",
        "lease rm job",
        "layer show x",
        "registries list",
    ]);
    transcript.check("commands_of_other_tools");
}

/// Options and arguments of existing verbs.
#[test]
fn options_and_arguments() {
    let program = Program::new();
    let mut transcript = Transcript::new(&program);
    transcript.run_all(&[
        "pull",
        "pull alpine --platfrom linux/amd64",
        "pull alpine --arch mips7",
        "pull alpine --arch pdp11/70/x",
        "pull alpine --platform linux",
        "pull alpine --platform linux/amd64 --arch amd64",
        "pull alpine --pull sometimes",
        "pull alpine --retries many",
        "pull alpine --no-such-option",
        "images extra arguments --no-such",
        "images --filter colour=red",
        "images --json --format {{.ID}}",
        "images --format {{.Nonsense}}",
        "images --format {{.ID.Nonsense}}",
        "images --format {{nonsense}}",
        "inspect --raw --format {{.Digest}} alpine",
        "images --format {{",
        "save",
        "load",
        "load --image @x file.tar",
        "tag alpine",
        "untag",
        "rm",
        "gc --older-than yesterday",
        "gc --max-size huge",
        "lease create",
        "lease create --expire never alpine",
        "config",
        "inspect",
        "ls",
        "cat alpine",
        "stat alpine",
        "readlink alpine",
        "resolve alpine",
        "diff alpine",
        "why alpine",
        "history",
        "history a b",
        "df --images alpine",
        "mount alpine",
        "mount alpine / ",
        "umount",
        "virtiofs alpine",
        "boot alpine",
        "boot alpine --kernel",
        "boot alpine --kernel /etc/hostname --cpus 0",
        "boot alpine --kernel /etc/hostname --via floppy",
        "boot alpine --kernel /etc/hostname --memory lots",
        "export alpine",
        "export alpine out",
        "export alpine out.qcow2",
        "export alpine out --format qcow2",
        "export alpine out.tar --compress gzip",
        "export alpine out --format dir --level 3",
        "export alpine - --format dir",
        "export alpine out.erofs --compress zstd --level 0",
        "export alpine out.tar --add file",
        "export alpine out.tar --add file:/x:999",
        "commit",
        "commit alpine --change FROM=x",
        "commit alpine",
        "copy alpine oci:x",
        "copy docker:alpine oci:x",
        "copy oci-archve:x.tar oci:y",
        "copy docker://alpine",
        "copy vmroot:alpine docker-archive:-",
        "copy vmroot:alpine oci:-",
        "copy docker://alpine oci:x --dest-compress-level 9 --dest-compress-format bzip2",
        "sync a b",
        "sync --src docker --dest nowhere a b",
        "sync --src dir --dest dir a b",
        "delete vmroot:alpine",
        "delete docker-archive:x.tar",
        "repos registry.example/team",
        "repos https://registry.example",
        "repos registry!example",
        "tags https://registry.example/team/app",
        "digest",
        "manifest-digest",
        "login",
        "login registry.example",
        "login registry.example --password-stdin",
        "login registry.example --creds a:b",
        "pull alpine --username me",
        "pull alpine --creds :secret",
        "pull alpine --username me --password secret --registry-token token",
        "registries explain oci:dir",
        "completions tcsh",
        "completions",
        "man",
        "verify alpine",
        "layer index",
    ]);
    transcript.check("options_and_arguments");
}

/// Names of images.
#[test]
fn names() {
    let program = Program::new();
    program.file("alpine.tar", "");
    let mut transcript = Transcript::new(&program);
    transcript.run([OsStr::new("pull"), OsStr::new("")]);
    for words in [&["repos", ""][..], &["copy", "", ""], &["cp", "", "x"], &["save", ""], &["pull", "a\u{1b}[31m\nb"]] {
        transcript.run(words);
    }
    transcript.run([OsStr::new("pull"), OsStr::from_bytes(b"oci:n\xffm")]);
    transcript.run([OsStr::new("load"), OsStr::from_bytes(b"a\x1b[31m\nb\xff")]);
    transcript.run_all(&[
        "pull https://docker.io/library/alpine",
        "pull dockr://alpine",
        "pull Alpine",
        "pull docker.io/Library/Alpine:3",
        "pull ./alpine.tar",
        "pull /tmp/alpine.tar",
        "pull alpine.tar:",
        "pull alpine:",
        "pull alpine:3.20:1",
        "pull alpine@sha256:beef",
        "pull alpine@md5:d41d8cd98f00b204e9800998ecf8427e",
        "pull docker-archve:/tmp/alpine.tar",
        "pull oci-dir:/images/alpine",
        "ls docker://Alpine",
        "pull oci:",
        "pull vmroot:",
        "ls prebaked:",
        "untag Foo",
        "untag sha256:beef",
        "commit alpine layer.tar --tag UPPER",
        "registries explain ???",
    ]);
    transcript.check("names");
}

/// Images that are not in the cache, without a registry.
#[test]
fn images_of_the_cache() {
    let program = Program::new();
    program.ok(["load", DEMO, "--all-platforms"]);
    program.ok(["tag", "demo", "alpha:1", "--arch=amd64"]);
    program.ok(["tag", "demo", "alpha:2", "--arch=amd64"]);
    let mut transcript = Transcript::new(&program);
    transcript.run_all(&[
        "ls demo --platform linux/s390x --pull never",
        "ls dmeo --pull never",
        "ls alpha:3 --pull never",
        "ls nothing-like-it --pull never",
        "rm demo:old",
        "rm sha256:0000",
        "ls ffffffffffff",
        "untag none",
        "save none",
        "df none",
        "lease create none",
        "lease release none",
        "lease release ../x",
        "lease create demo --id ../x --arch amd64",
        "images none",
        "ls demo /nope --arch amd64",
        "ls demo /etc/passwd/x --arch amd64",
        "stat demo /etc/passwd/ --arch amd64",
        "cat demo /etc --arch amd64",
        "readlink demo /etc --arch amd64",
        "stat demo nope --arch amd64",
        "resolve demo nope --arch amd64",
        "why demo nope --arch amd64",
    ]);
    transcript.check("images_of_the_cache");
}
