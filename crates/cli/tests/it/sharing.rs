//! `--shared-cache`, and a cache that its user may not write to.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::mount::{MountFlags, UnmountFlags, mount_bind, mount_remount, unmount};
use vmroot_testkit::image::{Image, ImageBuilder};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::skip;

use crate::nobody::{NOBODY, Nobody};
use crate::program::{CommandOutput, Program, for_amd64, wait_for, wait_until};
use crate::samples::{image, serve};

/// A cache of root with an image, whose directories everybody may read.
struct Theirs {
    registry: Registry,
    name: String,
    program: Program,
}

impl Theirs {
    fn new() -> Self {
        Self::with(&image("amd64"))
    }

    fn with(image: &Image) -> Self {
        let registry = Registry::start();
        let name = serve(&registry, image, "v1");
        let program = Program::new();
        program.ok(["pull", &name, "--arch=amd64"]);
        registry.clear_requests();
        let theirs = Self { registry, name, program };
        theirs.run(Command::new("chmod").args(["-R", "a+rX"]).arg(theirs.program.path(".")));
        theirs
    }

    fn run(&self, command: &mut Command) {
        assert!(command.status().unwrap().success(), "{command:?}");
    }

    fn directory(&self) -> String {
        self.program.cache().to_str().unwrap().to_owned()
    }

    /// Returns all files of the cache.
    fn files(&self) -> Vec<PathBuf> {
        files(self.program.cache())
    }

    fn contents(&self) -> Vec<PathBuf> {
        self.files().into_iter().filter(|file| file.extension().is_some_and(|it| it == "contents")).collect()
    }

    fn assert_no_requests(&self) {
        assert_eq!(self.registry.requests().len(), 0);
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// Writes into a published file, against the rules.
fn truncate(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    OpenOptions::new().write(true).open(path).unwrap().set_len(0).unwrap();
}

/// A directory that is unmounted in the end.
struct Mountpoint(PathBuf);

impl Mountpoint {
    fn new(path: PathBuf) -> Self {
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn text(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Mountpoint {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

fn cannot_use_fuse() -> bool {
    if OpenOptions::new().read(true).write(true).open("/dev/fuse").is_err() {
        return skip::because("needs /dev/fuse");
    }
    skip::needs_root()
}

/// The verbs that read an image, each with its expected output where that is short.
fn read_all(run: &dyn Fn(&[&str]) -> CommandOutput, name: &str, directory: &Path) {
    let out = |file: &str| directory.join(file).to_str().unwrap().to_owned();
    assert_eq!(run(&["cat", name, "etc/motd"]).ok(), "amd64\n");
    assert_eq!(run(&["ls", name, "/"]).ok(), "bin\netc\nloop\nnull\nusr\n");
    assert!(run(&["stat", name, "etc/motd"]).ok().contains("1000"));
    assert_eq!(run(&["readlink", name, "bin"]).ok(), "usr/bin\n");
    assert_eq!(run(&["resolve", name, "bin/alias"]).ok(), "/usr/bin/alias\n");
    assert!(run(&["inspect", name]).ok().contains("MODE=test"));
    assert!(run(&["config", name]).ok().contains("/usr/bin/tool"));
    assert!(run(&["history", name]).ok().contains("SIZE"));
    assert!(run(&["why", name, "/etc/motd"]).ok().contains("layer"));
    assert_eq!(run(&["diff", name, name]).ok(), "");
    for file in ["a.tar", "a.tar.gz", "a.cpio", "a.erofs", "a.ext4"] {
        run(&["export", name, &out(file)]).ok();
        assert!(fs::metadata(out(file)).unwrap().len() > 1000, "{file}");
    }
    run(&["export", name, &out("prebaked"), "--format=prebaked"]).ok();
    run(&["export", name, &out("tree"), "--format=dir", "--rootless"]).ok();
    assert_eq!(fs::read_to_string(out("tree/etc/motd")).unwrap(), "amd64\n");
    run(&["export", name, &out("meta"), "--format=erofs-meta"]).ok();
    run(&["cp", name, "/etc", &out("copied")]).ok();
    assert_eq!(fs::read_to_string(out("copied/motd")).unwrap(), "amd64\n");
    assert!(run(&["cp", name, "/etc/motd", "-"]).ok().contains("amd64\n"));
    run(&["save", name, "--output", &out("saved.tar")]).ok();
    run(&["copy", &format!("vmroot:{name}"), &format!("oci:{}:x", out("layout"))]).ok();
    let top = out("top.tar");
    fs::write(&top, Layer::new([Entry::file("etc/motd", "other\n")]).to_tar(&Default::default())).unwrap();
    run(&["export", name, &out("with-top"), "--format=dir", "--rootless", "--layer", &top]).ok();
    assert_eq!(fs::read_to_string(out("with-top/etc/motd")).unwrap(), "other\n");
}

/// Runs the program as a user without rights, with the option of a cache of somebody else.
fn run_as_nobody(nobody: &Nobody, arguments: &[&str], cache: [&str; 2]) -> CommandOutput {
    let mut command = nobody.command();
    command.env_remove("XDG_CONFIG_HOME").env("HOME", nobody.program.path("."));
    command.arg(&nobody.executable).args(arguments).args(cache).args(for_amd64(arguments[0]));
    command.output().unwrap().into()
}

/// Reads the image in each way, and returns the directory with the outputs.
fn read_all_as_nobody(nobody: &Nobody, theirs: &Theirs, run: &dyn Fn(&[&str]) -> CommandOutput) -> PathBuf {
    let directory = nobody.program.path("out");
    fs::create_dir(&directory).unwrap();
    chown(&directory, Some(NOBODY), Some(NOBODY)).unwrap();
    read_all(run, &theirs.name, &directory);
    directory
}

#[test]
fn verbs_use_a_shared_cache_in_place() {
    if skip::needs_root() {
        return;
    }
    let theirs = Theirs::new();
    let before = theirs.files();
    let nobody = Nobody::new();
    let run = |arguments: &[&str]| run_as_nobody(&nobody, arguments, ["--shared-cache", &theirs.directory()]);
    let directory = read_all_as_nobody(&nobody, &theirs, &run);
    let listed = run(&["images", "--json"]).ok();
    assert!(listed.contains(&format!("\"sharedCache\": \"{}\"", theirs.directory())), "{listed}");
    assert!(run(&["images"]).ok().contains(&theirs.directory()));
    let note = run(&["df"]).stderr;
    assert!(note.contains(&format!("the shared cache {} is not counted", theirs.directory())), "{note}");
    let note = run(&["df", &theirs.name]).stderr;
    assert!(note.contains(&format!("`vmroot df --cache {} {}`", theirs.directory(), theirs.name)), "{note}");
    let own: Vec<_> = files(nobody.program.cache()).into_iter().filter(|it| it.extension().is_none()).collect();
    assert_eq!(own, [] as [PathBuf; 0], "nothing was copied");
    for verb in ["rm", "untag"] {
        let error = run(&[verb, &theirs.name]).fails(1);
        assert!(error.contains(&format!("the shared cache {}", theirs.directory())), "{verb}: {error}");
    }
    // A pull records the image, and a commit adds a layer.
    run(&["pull", &theirs.name, "--pull=missing"]).ok();
    let own = files(nobody.program.cache());
    assert_eq!(own.iter().filter(|it| it.starts_with(nobody.program.path("cache/images"))).count(), 2, "{own:?}");
    // Blobs and layers that the shared cache has are not written by a copy and a load either.
    run(&["copy", &format!("oci:{}:x", directory.join("layout").display()), "vmroot:copied:1"]).ok();
    run(&["load", directory.join("saved.tar").to_str().unwrap()]).ok();
    assert_eq!(run(&["cat", "copied:1", "etc/motd"]).ok(), "amd64\n");
    let own = files(nobody.program.cache());
    let is_record = |file: &&PathBuf| file.starts_with(nobody.program.path("cache/images"));
    let is_lock = |file: &&PathBuf| file.starts_with(nobody.program.path("cache/locks"));
    let others: Vec<_> = own.iter().filter(|file| !is_record(file) && !is_lock(file)).collect();
    assert!(others.is_empty(), "{others:?}");
    let top = directory.join("top.tar");
    run(&["commit", &theirs.name, top.to_str().unwrap(), "--tag=child:1"]).ok();
    assert_eq!(run(&["cat", "child:1", "etc/motd"]).ok(), "other\n");
    assert_eq!(run(&["cat", "child:1", "etc/passwd"]).ok().lines().count(), 2);
    assert_eq!(theirs.files(), before, "nothing was written there");
    theirs.assert_no_requests();
    // The record stays if it is removed, and the image with it.
    assert!(run(&["rm", &theirs.name]).stderr.contains("is still in the shared cache"));
}

#[test]
fn the_variable_names_several_caches() {
    let (one, two) = (Theirs::new(), Theirs::new());
    let program = Program::new();
    let mut command = program.command(["images", "--json"]);
    command.env("VMROOT_SHARED_CACHE", format!("{}:/missing:{}", one.directory(), two.directory()));
    let answer: CommandOutput = command.output().unwrap().into();
    assert!(answer.stderr.contains("/missing"), "{answer}");
    let listed: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 2);
}

/// What may be done with a cache that belongs to root.
#[test]
fn a_read_only_cache_can_be_read() {
    if skip::needs_root() {
        return;
    }
    let theirs = Theirs::new();
    let before = theirs.files();
    let nobody = Nobody::new();
    let run = |arguments: &[&str]| run_as_nobody(&nobody, arguments, ["--cache", &theirs.directory()]);
    let directory = read_all_as_nobody(&nobody, &theirs, &run);
    assert!(run(&["images"]).ok().contains("v1"));
    assert!(run(&["df"]).ok().contains("layers"));
    run(&["pull", &theirs.name, "--pull=missing"]).ok();
    theirs.assert_no_requests();
    let top = directory.join("top.tar");
    let saved = directory.join("saved.tar");
    let remote = format!("docker://{}", theirs.name);
    let writers: [&[&str]; 6] = [
        &["pull", &theirs.name],
        &["rm", &theirs.name],
        &["gc"],
        &["commit", &theirs.name, top.to_str().unwrap(), "--tag=child:1"],
        &["load", saved.to_str().unwrap()],
        &["copy", &remote, "vmroot:other:1"],
    ];
    for arguments in writers {
        let error = run(arguments).fails(1);
        assert!(error.contains(&theirs.directory()) && error.contains("--shared-cache"), "{arguments:?}: {error}");
    }
    assert_eq!(theirs.files(), before, "nothing was written there");
    // Without the permission to read it, the error says how its owner can give it.
    fs::set_permissions(theirs.program.cache(), Permissions::from_mode(0o700)).unwrap();
    let error = run(&["images"]).fails(1);
    assert!(error.contains("chmod -R a+rX"), "{error}");
}

#[test]
fn a_cache_on_a_read_only_mount_can_be_read_and_mounted() {
    if cannot_use_fuse() {
        return;
    }
    let theirs = Theirs::new();
    let mounted = Mountpoint::new(theirs.program.path("ro"));
    mount_bind(theirs.program.cache(), &mounted.0).unwrap();
    mount_remount(&mounted.0, MountFlags::BIND | MountFlags::RDONLY, "").unwrap();
    let program = Program::new();
    let name = theirs.name.as_str();
    let run = |cache: &[&str], arguments: &[&str]| -> CommandOutput {
        program.run(arguments.iter().chain(cache).chain(for_amd64(arguments[0])))
    };
    for cache in [["--cache", mounted.text()], ["--shared-cache", mounted.text()]] {
        assert_eq!(run(&cache, &["cat", name, "etc/motd"]).ok(), "amd64\n");
        for driver in ["--driver=fuse", "--driver=auto"] {
            let on = Mountpoint::new(program.path(&format!("on{}{driver}", cache[0])));
            run(&cache, &["mount", name, on.text(), "--detach", driver]).ok();
            assert_eq!(fs::read_to_string(on.0.join("etc/motd")).unwrap(), "amd64\n");
            run(&cache, &["umount", on.text()]).ok();
        }
    }
    let error = run(&["--cache", mounted.text()], &["pull", name]).fails(1);
    assert!(error.contains(mounted.text()) && error.contains("--shared-cache"), "{error}");
    // The mount goes away, and the image is fetched.
    unmount(&mounted.0, UnmountFlags::DETACH).unwrap();
    theirs.registry.clear_requests();
    assert_eq!(run(&["--shared-cache", mounted.text()], &["cat", name, "etc/motd"]).ok(), "amd64\n");
    assert!(theirs.registry.count("/blobs/") > 0);
}

fn big() -> Image {
    let noise = vmroot_testkit::sample::noise;
    let layer = Layer::new([Entry::file("big", noise(1, 4 << 20)), Entry::file("etc/motd", "amd64\n")]);
    ImageBuilder::new().platform("linux/amd64").layer(&layer).build()
}

fn start(program: &Program, arguments: &[&str]) -> Child {
    let mut command = program.command(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The process that serves the mount must survive, although the bytes are gone.
#[test]
fn a_mount_survives_a_truncated_shared_cache() {
    if cannot_use_fuse() {
        return;
    }
    let theirs = Theirs::with(&big());
    let program = Program::new();
    let on = Mountpoint::new(program.path("on"));
    let shared = theirs.directory();
    let arguments = ["mount", &theirs.name, on.text(), "--driver=fuse", "--arch=amd64", "--shared-cache", &shared];
    let mut server = start(&program, &arguments);
    wait_until("the mount", || on.0.join("etc/motd").exists());
    theirs
        .files()
        .iter()
        .filter(|file| file.extension().is_some_and(|it| it != "lock"))
        .for_each(|file| truncate(file));
    assert_eq!(fs::read(on.0.join("big")).unwrap_err().raw_os_error(), Some(5));
    assert_eq!(fs::metadata(on.0.join("big")).unwrap().len(), 4 << 20);
    assert_eq!(fs::read_dir(&on.0).unwrap().count(), 2);
    assert!(server.try_wait().unwrap().is_none(), "the server still runs");
    program.ok(["umount", on.text()]);
    assert!(wait_for(&mut server).success());
    // What cannot be read there is fetched.
    let run = |arguments: &[&str]| program.run(arguments.iter().chain(&["--arch=amd64", "--shared-cache", &shared]));
    assert_eq!(run(&["cat", &theirs.name, "etc/motd"]).ok(), "amd64\n");
}

/// The shared cache is in an image that is mounted with FUSE, and the process that serves it is killed.
#[test]
fn a_shared_cache_on_a_dead_file_system_is_left_out() {
    if cannot_use_fuse() {
        return;
    }
    let theirs = Theirs::with(&big());
    let cache = theirs.program.cache();
    let entry = |file: &PathBuf| {
        let name = file.strip_prefix(cache).unwrap().to_str().unwrap().to_owned();
        Entry::file(name, fs::read(file).unwrap()).mode(0o444)
    };
    let of_cache = ImageBuilder::new().platform("linux/amd64").layer(&Layer::new(theirs.files().iter().map(entry)));
    let carrier = Program::new();
    let carried = serve(&theirs.registry, &of_cache.build(), "cache");
    carrier.ok(["pull", &carried, "--arch=amd64"]);
    theirs.registry.clear_requests();
    let shared = Mountpoint::new(carrier.path("shared"));
    let mut server = start(&carrier, &["mount", &carried, shared.text(), "--driver=fuse", "--arch=amd64"]);
    wait_until("the mount", || shared.0.join("images").exists());

    let program = Program::new();
    let options = ["--arch=amd64", "--shared-cache", shared.text()];
    let run = |arguments: &[&str]| program.run(arguments.iter().chain(&options));
    assert_eq!(run(&["cat", &theirs.name, "etc/motd"]).ok(), "amd64\n");
    let saved = program.path("saved.tar");
    run(&["save", &theirs.name, "--output", saved.to_str().unwrap()]).ok();
    theirs.assert_no_requests();
    // The next mount has its files open when their file system dies.
    let on = Mountpoint::new(program.path("on"));
    let arguments: Vec<&str> = ["mount", &theirs.name, on.text(), "--driver=fuse"].into_iter().chain(options).collect();
    let mut second = start(&program, &arguments);
    wait_until("the second mount", || on.0.join("etc/motd").exists());
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(fs::read(on.0.join("big")).is_err());
    assert_eq!(fs::read_dir(&on.0).unwrap().count(), 2);
    assert!(second.try_wait().unwrap().is_none(), "the server still runs");
    program.ok(["umount", on.text()]);
    assert!(wait_for(&mut second).success());
    // The kernel still has the small files of the dead file system in its cache, and not the large one.
    let answer = run(&["cat", &theirs.name, "big"]);
    assert_eq!(answer.status.code(), Some(5), "{answer}");
    assert!(answer.stderr.contains(&format!("of the shared cache {}", shared.text())), "{answer}");
    unmount(&shared.0, UnmountFlags::DETACH).unwrap();
    let answer = run(&["cat", &theirs.name, "etc/motd"]);
    assert!(answer.stderr.contains(shared.text()), "{answer}");
    assert_eq!(answer.ok(), "amd64\n");
    assert!(theirs.registry.count("/blobs/") > 0);
}

/// Exports and copies that read a shared cache while it is truncated fail with an error, and never by a signal.
#[test]
fn work_in_progress_survives_a_shared_cache_that_is_truncated() {
    let big = big();
    for (number, form) in ["tar", "cpio", "erofs", "ext4", "dir", "prebaked", "save", "copy"].into_iter().enumerate() {
        let theirs = Theirs::with(&big);
        let program = Program::new();
        let out = program.path("out");
        let target = out.to_str().unwrap().to_owned();
        let shared = theirs.directory();
        let (format, source, copied) =
            (format!("--format={form}"), format!("vmroot:{}", theirs.name), format!("oci:{target}"));
        let mut arguments = match form {
            "save" => vec!["save", &theirs.name, "--output", &target],
            "copy" => vec!["copy", &source, &copied],
            _ => vec!["export", &theirs.name, &target, &format],
        };
        arguments.extend(["--arch=amd64", "--shared-cache", &shared]);
        arguments.extend((arguments[0] == "export").then_some("--pull=never"));
        let child = program.start(&arguments);
        std::thread::sleep(std::time::Duration::from_millis(4 * number as u64));
        for file in theirs.contents().into_iter().chain(files(&theirs.program.cache().join("blobs"))) {
            truncate(&file);
        }
        let answer: CommandOutput = child.wait_with_output().unwrap().into();
        let code = answer.status.code();
        assert!(code.is_some_and(|code| [0, 1, 3, 5].contains(&code)), "{form}: {answer}");
        assert!(
            code == Some(0) || answer.stderr.contains(&shared) || answer.stderr.contains("sha256:"),
            "{form}: {answer}"
        );
    }
}
