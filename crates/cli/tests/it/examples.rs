//! Runs the examples at the end of each command's `--help`, which are also in its man page, against Debian's
//! docker-registry and a cache with images.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use vmroot_testkit::image::docker_archive::{self, Layout};
use vmroot_testkit::image::{Image, ImageBuilder, IndexBuilder};
use vmroot_testkit::layer::{Encoding, Entry, Layer};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::skip;

use crate::docker_registry::DockerRegistry;
use crate::mounted::cannot_mount;
use crate::pages::print_line;
use crate::program::Program;
use crate::samples::serve_index;

/// The registries of the examples. The registry of the test takes their place.
const HOSTS: [&str; 4] = ["registry.example", "other.example", "quay.io", "localhost:5000"];

/// The images of the registry, for two platforms each.
const IMAGES: [&str; 6] =
    ["library/alpine:3.20", "library/debian:12", "library/app:1", "library/app:2", "app:1", "podman/stable:v5"];

/// Commands that do not run, by their beginnings, and why.
const NOT_RUN: [(&str, &str); 12] = [
    ("vmroot boot", "needs a kernel; the tests of booting have one"),
    ("vmroot mount --detach --upper web.ext4", "needs the disk of a guest; a test of writable mounts has one"),
    ("vmroot virtiofs", "waits for a VMM; the tests of serving have one"),
    ("vmroot disk ls -l web.ext4", "needs the disk of a guest; the tests of guest disks have one"),
    ("vmroot disk cat", "needs the disk of a guest; the tests of guest disks have one"),
    ("vmroot disk serve", "serves until a signal; the tests of serving disks send one"),
    ("vmroot login registry.example", "asks at a terminal; the tests of cancelling have one"),
    ("vmroot generate-sigstore-key", "asks at a terminal; the tests of signing have a file"),
    ("vmroot standalone-sign", "needs a key of GnuPG; the tests of signing have one"),
    ("vmroot standalone-verify", "needs a key of GnuPG; the tests of signing have one"),
    ("vmroot verity verify", "needs the root hash that another example prints; the tests of hash trees have one"),
    ("zcat layer.tar.gz | vmroot layer index -", "writes the same files as the example before it"),
];

/// Makes a pair of keys with the password of the environment, and a bill of materials. Another example deletes the image.
const KEYS: &str = "echo secret >password; vmroot generate-sigstore-key --output-prefix cosign --passphrase-file password; \
     mv cosign.private cosign.key; echo '{}' >app.spdx.json; \
     vmroot copy oci:build/layout:app docker://registry.example/app:1";

const POLICY: &str = "echo '{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}' >policy.json";

const DISK: &str = "vmroot disk create --force data.ext4 --size 8G";

/// What must be there before a command, by its beginning.
const BEFORE: [(&str, &str); 28] = [
    ("vmroot sign ", KEYS),
    ("vmroot verify-signature", KEYS),
    ("vmroot verify-signature", "vmroot sign --key cosign.key registry.example/app:1"),
    ("vmroot attest ", KEYS),
    ("vmroot attestations", KEYS),
    (
        "vmroot attestations",
        "vmroot attest --key cosign.key --type spdxjson --predicate app.spdx.json registry.example/app:1",
    ),
    ("vmroot provenance --policy", KEYS),
    ("vmroot provenance --policy", POLICY),
    ("vmroot disk grow", DISK),
    ("vmroot disk clone", DISK),
    ("vmroot disk info", DISK),
    ("vmroot disk ls", DISK),
    ("vmroot policy explain --policy", POLICY),
    (
        "vmroot verity format",
        "vmroot export --force alpine:3.20 root.erofs; vmroot export --force alpine:3.20 root.ext4",
    ),
    ("vmroot verity dump", "vmroot export --force alpine:3.20 root.erofs --verity root.erofs.verity"),
    ("vmroot umount", "vmroot mount --detach --force --mkdir alpine:3.20 /mnt"),
    ("vmroot mount --detach", "vmroot umount /mnt 2>/dev/null; true"),
    ("vmroot untag base:1", "vmroot tag alpine:3.20 base:1"),
    ("vmroot untag --arch arm64", "vmroot tag alpine:3.20 base:1"),
    ("vmroot save app:1", "for tag in 1 2; do vmroot pull --arch arm64 app:$tag; done"),
    ("vmroot lease release", "vmroot lease create --id build-7 alpine:3.20"),
    (
        "vmroot layer verify",
        "vmroot layer index layer.tar --output layers; cd layers; mv *.idx 4bcff639.idx; mv *.contents 4bcff639.contents",
    ),
    (
        "vmroot layer dump",
        "test -e layers/4bcff639.idx || { vmroot layer index layer.tar --output layers; mv layers/*.idx layers/4bcff639.idx; }",
    ),
    ("vmroot rm 4bcff63911fc", "vmroot pull alpine:3.20"),
    ("vmroot logout registry.example", "echo secret | vmroot login --username me --password-stdin registry.example"),
    ("vmroot logout --all", "echo secret | vmroot login --username me --password-stdin registry.example"),
    ("vmroot delete oci:", "vmroot copy docker://alpine:3.20 oci:mirror:alpine"),
    ("vmroot completions", "mkdir -p ~/.local/share/bash-completion/completions ~/.config/fish/completions ~/.zfunc"),
];

fn image(architecture: &str, name: &str) -> Image {
    let base = Layer::new([
        Entry::directory("bin"),
        Entry::file("bin/busybox", "#!/bin/sh\n").mode(0o755),
        Entry::symlink("bin/sh", "/bin/busybox"),
        Entry::directory("etc"),
        Entry::file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        Entry::file("etc/group", "root:x:0:\n"),
        Entry::symlink("lib64", "usr/lib64"),
        Entry::directory("usr"),
        Entry::directory("usr/bin"),
        Entry::file("usr/bin/python3", "#!/bin/sh\n").mode(0o755),
        Entry::directory("usr/lib64"),
        Entry::directory("usr/share"),
        Entry::file("usr/share/text", "text\n"),
    ]);
    let release = Layer::new([Entry::file("etc/os-release", format!("NAME={name}\nARCH={architecture}\n"))]);
    let platform = format!("linux/{architecture}");
    ImageBuilder::new().platform(&platform).setting("Cmd", vec!["/bin/sh"]).layer(&base).layer(&release).build()
}

/// A registry, a cache and a directory with the files that the examples name.
struct Prepared {
    registry: DockerRegistry,
    program: Program,
    /// The first digits of the id of an image.
    id: String,
}

impl Prepared {
    fn new() -> Self {
        let registry = DockerRegistry::start();
        let source = Registry::start();
        let program = Program::new();
        for name in IMAGES {
            let index = IndexBuilder::new().image(image("amd64", name)).image(image("arm64", name)).build();
            let from = format!("docker://{}", serve_index(&source, &index, "v1"));
            registry.copy(&from, &format!("docker://{}/{name}", registry.host), &["--all"]);
        }
        // For names without a registry.
        let conf = format!("[[registry]]\nprefix = 'docker.io'\nlocation = '{}'\ninsecure = true\n", registry.host);
        program.file("registries.conf", conf);
        let id = image("amd64", "library/alpine:3.20").config_digest.hex()[..12].to_owned();
        let prepared = Self { registry, program, id };
        prepared.write_programs();
        prepared.write_files();
        for pull in ["alpine:3.20 debian:12 app:1 app:2", "--arch arm64 alpine:3.20"] {
            let (status, text) = prepared.run("template", prepared.program.cache(), &format!("vmroot pull {pull}"));
            assert_eq!(status, 0, "{text}");
        }
        prepared
    }

    /// Makes the programs of the examples that are not part of vmroot.
    fn write_programs(&self) {
        let programs = self.program.path("bin");
        fs::create_dir(&programs).unwrap();
        symlink(env!("CARGO_BIN_EXE_vmroot"), programs.join("vmroot")).unwrap();
        for (name, script) in [("docker", "#!/bin/sh\ncat images.tar\n"), ("less", "#!/bin/sh\ncat\n")] {
            fs::write(programs.join(name), script).unwrap();
            fs::set_permissions(programs.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    fn write_files(&self) {
        let work = self.program.path("template");
        for directory in ["upper/etc", "work", "mnt", "build", "roots"] {
            fs::create_dir_all(work.join(directory)).unwrap();
        }
        let (first, second) = (image("amd64", "first"), image("amd64", "second"));
        let archive = docker_archive::write(&[(&first, &["app:1"]), (&second, &["other:1"])], Layout::Docker25);
        let one = docker_archive::write(&[(&first, &["app:1"])], Layout::Docker25);
        let layer = Layer::new([Entry::file("new", "new\n")]);
        let yaml = format!("'{}':\n  images:\n    app: ['1']\n", self.registry.host);
        let files: [(&str, &[u8]); 9] = [
            ("images.tar", &archive),
            ("image.tar", &one),
            ("layer.tar", &layer.to_tar(&Encoding::default())),
            ("layer.tar.gz", &first.layers[0].bytes),
            ("upper/etc/new", b"new\n"),
            ("app", b"#!/bin/sh\n"),
            ("token", b"secret\n"),
            ("manifest.json", &first.manifest.bytes),
            ("images.yaml", yaml.as_bytes()),
        ];
        for (name, bytes) in files {
            fs::write(work.join(name), bytes).unwrap();
        }
        let layout = "vmroot copy docker://alpine:3.20 oci:build/layout:app";
        let (status, text) = self.run("template", &self.program.path("other-cache"), layout);
        assert_eq!(status, 0, "{text}");
    }

    /// Runs a line in a directory, and returns its exit code and its output.
    fn run(&self, directory: &str, cache: &Path, line: &str) -> (i32, String) {
        let work = self.program.path(directory);
        let line = line.replace("/mnt", work.join("mnt").to_str().unwrap());
        let mut line = line.replace("4bcff63911fc", &self.id);
        for host in HOSTS {
            line = line.replace(host, &self.registry.host);
        }
        // These commands ask the registry of a name itself.
        if ["vmroot tags", "vmroot list-tags", "vmroot digest"].iter().any(|verb| line.starts_with(verb)) {
            line = line.replace("docker://alpine", "docker://docker.io/library/alpine");
            line = line.replace(" alpine", " docker.io/library/alpine");
        }
        let line = line.replace("docker.io/", &format!("{}/", self.registry.host));
        let mut command = Command::new("bash");
        command.args(["-o", "pipefail", "-c", &format!("exec 2>&1\n{line}")]).env_clear().current_dir(&work);
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.program.path("bin").display())).env("MANPAGER", "cat");
        command
            .env("HOME", &work)
            .env("VMROOT_CACHE", cache)
            .env("VMROOT_PROGRESS", "none")
            .env("COSIGN_PASSWORD", "secret");
        command.env("CONTAINERS_REGISTRIES_CONF", self.program.path("registries.conf"));
        command.env("XDG_RUNTIME_DIR", &work).stdin(std::process::Stdio::null());
        let output = command.output().unwrap();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Copies a directory.
    fn copy(&self, from: &Path, to: &str) -> PathBuf {
        let to = self.program.path(to);
        assert!(Command::new("cp").arg("-a").args([from, &to]).status().unwrap().success());
        to
    }
}

/// Returns the names of all commands, and the lines of their examples.
fn examples(program: &Program) -> Vec<(String, Vec<String>)> {
    let help = program.ok(["--help"]);
    let listed = help.lines().take_while(|line| *line != "Global options:");
    let names = listed.filter_map(|line| line.strip_prefix("  ")?.split("  ").next().map(str::to_owned));
    let of_command = |name: String| {
        let help = program.ok(name.split(' ').chain(["--help"]));
        let (_, section) = help.split_once("Examples:\n").unwrap_or_else(|| panic!("{name} has no examples"));
        let lines = section.lines().map(|line| line.trim_start().to_owned());
        (name, lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect())
    };
    names.map(of_command).collect()
}

/// Returns why a command does not run here.
fn reason(line: &str) -> Option<String> {
    let not_run = NOT_RUN.iter().find(|(beginning, _)| line.starts_with(beginning));
    let is_root = rustix::process::geteuid().is_root();
    match line {
        _ if not_run.is_some() => not_run.map(|(_, reason)| (*reason).to_owned()),
        _ if line.starts_with("vmroot mount") || line.starts_with("vmroot umount") => {
            (cannot_mount() || !is_root).then(|| "needs root and /dev/fuse".to_owned())
        }
        _ if line.contains("cp --archive") => (!is_root).then(|| "needs root".to_owned()),
        _ if line.starts_with("man ") => skip::needs_program("man").then(|| "needs man".to_owned()),
        _ => None,
    }
}

#[test]
fn examples_of_help_work() {
    if skip::needs_program("docker-registry") || skip::needs_program("skopeo") || !cfg!(target_arch = "x86_64") {
        return;
    }
    let prepared = Prepared::new();
    let (mut run, mut failed) = (0, Vec::new());
    for (number, (name, lines)) in examples(&prepared.program).into_iter().enumerate() {
        // Each command begins with the same cache and the same files.
        let work = format!("work-{number}");
        let cache = prepared.copy(prepared.program.cache(), &format!("cache-{number}"));
        prepared.copy(&prepared.program.path("template"), &work);
        for line in lines {
            if let Some(reason) = reason(&line) {
                print_line(&format!("{line}: not run: {reason}"));
                continue;
            }
            let before = BEFORE.iter().filter(|(beginning, _)| line.starts_with(beginning));
            for (_, before) in before {
                prepared.run(&work, &cache, before);
            }
            // The images differ.
            let expected = i32::from(line.contains("diff --exit-code"));
            let (status, text) = prepared.run(&work, &cache, &line);
            run += 1;
            if status != expected {
                failed.push(format!("{name}: `{line}` ends with {status}\n{text}"));
            }
        }
        if matches!(&*name, "mount" | "umount") && reason("vmroot umount").is_none() {
            prepared.run(&work, &cache, "while vmroot umount --lazy /mnt; do :; done");
        }
    }
    assert!(failed.is_empty(), "{} of {run} examples failed:\n{}", failed.len(), failed.join("\n"));
    assert!(run > 80, "{run}");
}

/// The man pages have the examples of `--help`.
#[test]
fn man_pages_have_the_examples_of_help() {
    let program = Program::new();
    let pages = program.path("pages");
    program.ok(["man", pages.to_str().unwrap()]);
    for (name, lines) in examples(&program) {
        let page = fs::read_to_string(pages.join(format!("vmroot-{}.1", name.replace(' ', "-")))).unwrap();
        let page = page.replace("\\-", "-").replace("\\&", "").replace("\\*(Aq", "'").replace("\\(aq", "'");
        for line in lines {
            assert!(page.contains(&line), "{name}: {line}\n{page}");
        }
    }
}
