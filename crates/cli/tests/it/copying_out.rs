//! `cp`: files and trees of an image on this machine, compared with `docker cp`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use vmroot_testkit::dockerd::Dockerd;
use vmroot_testkit::image::ImageBuilder;
use vmroot_testkit::image::docker_archive::{self, Layout};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::skip;

use crate::nobody::{NOBODY, Nobody};
use crate::program::Program;

/// A tar of a root with entries of all kinds below `/data`, which Docker does not change in a container.
fn archive() -> Vec<u8> {
    let entries = [
        Entry::directory("data"),
        Entry::file("data/motd", "hi\n").owner(1000, 1001),
        Entry::hard_link("data/hard", "data/motd"),
        Entry::symlink("data/rel", "sub/x"),
        Entry::directory("data/sub").mode(0o750).owner(7, 8),
        Entry::file("data/sub/x", "x\n").mode(0o4755),
        Entry::file("data/sub/deep", "deep\n").mode(0o600),
        Entry::symlink("link", "/data/motd"),
        Entry::symlink("dirlink", "data"),
        Entry::symlink("dangling", "nowhere"),
        Entry::fifo("fifo"),
        Entry::char_device("null", 1, 3),
    ];
    let image = ImageBuilder::new().layer(&Layer::new(entries)).build();
    docker_archive::write(&[(&image, &["copied:1"])], Layout::Docker24)
}

/// Makes the destinations of a case: files, directories, links, and entries that a copy meets in them.
fn make_destinations(directory: &Path) {
    let at = |name: &str| directory.join(name);
    for name in ["dir/data/sub", "hasfile", "hasdir/motd", "haslink", "linked", "deepfile/data", "deepdir/data/sub/x"] {
        fs::create_dir_all(at(name)).unwrap();
    }
    for (name, text) in [
        ("file", "old"),
        ("dir/motd", "old"),
        ("dir/data/keep", "keep"),
        ("dir/data/sub/x", "old"),
        ("hasfile/data", "old"),
        ("deepfile/data/sub", "old"),
    ] {
        fs::write(at(name), text).unwrap();
        File::options().append(true).open(at(name)).unwrap().set_modified(UNIX_EPOCH).unwrap();
    }
    for (target, name) in
        [("dir", "ldir"), ("file", "lfile"), ("none", "ldang"), ("../dir", "haslink/data"), ("../file", "linked/motd")]
    {
        symlink(target, at(name)).unwrap();
    }
}

/// Lists a tree: type, mode, owner, seconds, number of links, and contents or target of each path.
fn listing(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut rows = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let mut row = format!("{:o} {}:{}", metadata.mode(), metadata.uid(), metadata.gid());
            if metadata.is_dir() {
                open.push(path.clone());
            } else {
                write!(row, " {} links", metadata.nlink()).unwrap();
            }
            if metadata.is_file() {
                write!(row, " {} {:?}", metadata.mtime(), fs::read_to_string(&path).unwrap()).unwrap();
            } else if metadata.is_symlink() {
                write!(row, " -> {}", fs::read_link(&path).unwrap().display()).unwrap();
            } else if metadata.file_type().is_char_device() {
                write!(row, " {:x}", metadata.rdev()).unwrap();
            }
            rows.insert(path.strip_prefix(directory).unwrap().to_owned(), row);
        }
    }
    rows
}

/// Source, destination, and whether the link is followed.
const CASES: [(&str, &str, bool); 46] = [
    ("/data/motd", "new", false),
    ("data/motd", "new", false),
    ("/data/motd", "new/", false),
    ("/data/motd", "none/new", false),
    ("/data/motd", "file", false),
    ("/data/motd", "file/", false),
    ("/data/motd", "dir", false),
    ("/data/motd", "dir/", false),
    ("/data/motd", "dir/.", false),
    ("/data/motd", "ldir", false),
    ("/data/motd", "lfile", false),
    ("/data/motd", "ldang", false),
    ("/data/motd", "hasdir", false),
    ("/data/motd", "linked", false),
    ("/data/motd", "linked/motd", false),
    ("/data/motd/", "new", false),
    ("/data/motd/.", "new", false),
    ("/data", "new", false),
    ("/data", "new/", false),
    ("/data", "none/new", false),
    ("/data", "file", false),
    ("/data", "dir", false),
    ("/data/", "dir", false),
    ("/data/.", "dir", false),
    ("/data/.", "new", false),
    ("/data/.", "file", false),
    ("/data", "ldir", false),
    ("/data", "ldang", false),
    ("/data", "hasfile", false),
    ("/data", "haslink", false),
    ("/data", ".", false),
    ("/data/sub/..", "new", false),
    ("/dirlink/motd", "new", false),
    ("/link", "new", false),
    ("/link", "dir", false),
    ("/link", "file", false),
    ("/link", "lfile", false),
    ("/link", "new", true),
    ("/link", "dir", true),
    ("/data/rel", "new", true),
    ("/dirlink", "new", false),
    ("/dirlink", "dir", true),
    ("/dirlink/", "new", false),
    ("/dirlink/.", "dir", false),
    ("/dangling", "new", false),
    ("/dangling", "new", true),
];

#[test]
fn results_are_those_of_docker() {
    if Dockerd::is_missing() {
        return;
    }
    let program = Program::new();
    let saved = program.file("saved.tar", archive());
    let image = program.ok(["load", "--quiet", saved.to_str().unwrap()]).trim().to_owned();
    let engine = Dockerd::start(&["--storage-driver=vfs"]);
    engine.docker(&["load", "-i", saved.to_str().unwrap()]);
    engine.docker(&["create", "--name=container", "copied:1", "/none"]);

    for (number, (source, destination, follow)) in CASES.into_iter().enumerate() {
        let case = format!("cp {}{source} {destination}", if follow { "-L " } else { "" });
        let [docker, own] = ["docker", "own"].map(|name| {
            let directory = program.path(&format!("{name}{number}"));
            fs::create_dir(&directory).unwrap();
            make_destinations(&directory);
            directory
        });
        let flags: &[&str] = if follow { &["-L"] } else { &[] };
        let mut by_docker = Command::new("docker");
        by_docker.arg("-H").arg(engine.host()).arg("cp").args(flags);
        by_docker.args([format!("container:{source}"), destination.to_owned()]).current_dir(&docker);
        let by_docker = by_docker.output().unwrap();
        let by_us = program.command(["cp", &image, source, destination].iter().chain(flags)).current_dir(&own).output();
        let by_us = by_us.unwrap();
        assert_eq!(by_us.status.success(), by_docker.status.success(), "{case}: {by_us:?}\n{by_docker:?}");
        assert_eq!(listing(&own), listing(&docker), "{case}");
    }
}

fn loaded() -> (Program, String) {
    let program = Program::new();
    let saved = program.file("saved.tar", archive());
    let image = program.ok(["load", "--quiet", saved.to_str().unwrap()]).trim().to_owned();
    (program, image)
}

/// Docker reports some conflicts when it has written a part, and others not at all.
#[test]
fn conflicts_are_found_before_anything_is_written() {
    let (program, image) = loaded();
    let here = program.path("here");
    fs::create_dir(&here).unwrap();
    make_destinations(&here);
    let before = listing(&here);
    let fails = |code: i32, source: &str, destination: &str| {
        let at = here.join(destination);
        program.fails(code, ["cp", &image, source, at.to_str().unwrap()])
    };
    let message = fails(1, "/data", "deepfile");
    assert!(message.contains("deepfile/data/sub: is not a directory"), "{message}");
    let message = fails(1, "/data", "deepdir");
    assert!(message.contains("deepdir/data/sub/x: is a directory"), "{message}");
    let message = fails(1, "/data", "haslink");
    assert!(message.contains("haslink/data: is not a directory"), "{message}");
    let message = fails(3, "/data", "none/new");
    assert!(message.contains("none"), "{message}");
    let message = fails(3, "/nothing", "new");
    assert!(message.contains("/nothing"), "{message}");
    let message = program.fails(1, ["cp", &image, "/data/motd", "/dev/null"]);
    assert!(message.contains("/dev/null: is a device"), "{message}");
    assert_eq!(listing(&here), before);
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    let message = program.fails(2, ["cp", &image, "new"]);
    assert!(message.contains("IMAGE:/PATH"), "{message}");
}

/// A copy of another user's program is not setuid, because it would run with the rights of the copying user.
#[test]
fn owners_are_kept_on_request() {
    if skip::needs_root() {
        return;
    }
    let layer = Layer::new([Entry::file("tool", "x").owner(1000, 1001).mode(0o4755)]);
    let image = ImageBuilder::new().layer(&layer).build();
    let program = Program::new();
    let saved = program.file("saved.tar", docker_archive::write(&[(&image, &["tool:1"])], Layout::Docker24));
    program.ok(["load", "--quiet", saved.to_str().unwrap()]);
    let copy = |name: &str, option: &[&str]| {
        let to = program.path(name);
        let answer = program.run(["cp", "tool:1:/tool", to.to_str().unwrap()].iter().chain(option));
        assert!(answer.status.success(), "{answer}");
        let metadata = fs::metadata(to).unwrap();
        (metadata.mode() & 0o7777, metadata.uid(), metadata.gid(), answer.stderr)
    };
    let (mode, uid, gid, note) = copy("plain", &[]);
    assert_eq!((mode, uid, gid), (0o755, 0, 0));
    assert!(note.contains("mode 4755"), "{note}");
    assert_eq!(copy("archive", &["-a"]), (0o4755, 1000, 1001, String::new()));
    program.fails(1, ["cp", "--strict", "tool:1:/tool", program.path("strict").to_str().unwrap()]);
    assert!(!program.path("strict").exists());
}

#[test]
fn unprivileged_user_copies_trees() {
    if skip::needs_root() {
        return;
    }
    let nobody = Nobody::new();
    let saved = nobody.program.file("saved.tar", archive());
    let run = |arguments: &[&str]| {
        let mut command = nobody.command();
        command.env("HOME", nobody.program.path(".")).arg(&nobody.executable).args(arguments).output().unwrap()
    };
    assert!(run(&["load", "--quiet", saved.to_str().unwrap()]).status.success());
    let output = run(&["cp", "copied:1:/", "tree"]);
    let notes = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && notes.contains("null: device"), "{output:?}");
    let tree = nobody.program.path("tree");
    assert_eq!(fs::read_to_string(tree.join("data/motd")).unwrap(), "hi\n");
    assert_eq!(fs::metadata(tree.join("data/motd")).unwrap().uid(), NOBODY);
    assert_eq!(fs::metadata(tree.join("data/motd")).unwrap().nlink(), 2);
    assert!(fs::symlink_metadata(tree.join("fifo")).unwrap().file_type().is_fifo());
    // A device alone is not left out.
    let output = run(&["cp", "copied:1:/null", "null"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(!nobody.program.path("null").exists());
}

#[test]
fn a_tar_has_the_paths_that_docker_writes() {
    let (program, _) = loaded();
    let names = |source: &str, option: &[&str]| {
        let tar = program.run(["cp", source, "-"].iter().chain(option));
        assert!(tar.status.success(), "{tar}");
        let mut archive = tar::Archive::new(&tar.stdout[..]);
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let link = entry.link_name_bytes().map(|link| format!(" {}", link.escape_ascii()));
            format!("{}{}", entry.path_bytes().escape_ascii(), link.unwrap_or_default())
        });
        entries.collect::<Vec<_>>().join("\n")
    };
    let data = "data/\ndata/hard\ndata/motd data/hard\ndata/rel sub/x\ndata/sub/\ndata/sub/deep\ndata/sub/x";
    assert_eq!(names("copied:1:/data", &[]), data);
    assert_eq!(names("copied:1:/data/", &[]), data);
    assert_eq!(names("copied:1:/dirlink", &["-L"]), data);
    assert_eq!(names("copied:1:/dirlink/", &[]), data.replace("data/", "dirlink/"));
    assert_eq!(names("copied:1:/data/sub/.", &[]), "./\ndeep\nx");
    assert_eq!(names("copied:1:/data/motd", &[]), "motd");
    assert_eq!(names("copied:1:/link", &[]), "link /data/motd");
    assert_eq!(names("copied:1:/link", &["-L"]), "motd");
    assert!(names("copied:1:/", &[]).starts_with("./\ndangling nowhere\ndata/\n"));
}

#[test]
fn names_holes_and_xattrs_are_kept() {
    let odd: &[u8] = b"data/\xff\xfe odd";
    let entries = [
        Entry::directory("data"),
        Entry::file(odd, "odd").xattr("user.origin", "base"),
        Entry::file("data/zeros", vec![0; 8 << 20]),
    ];
    let image = ImageBuilder::new().layer(&Layer::new(entries)).build();
    let program = Program::new();
    let saved = program.file("saved.tar", docker_archive::write(&[(&image, &["odd:1"])], Layout::Docker24));
    program.ok(["load", "--quiet", saved.to_str().unwrap()]);
    let to = program.path("to");
    program.ok(["cp", "odd:1:/data", to.to_str().unwrap()]);
    let odd = to.join(OsStr::from_bytes(b"\xff\xfe odd"));
    assert_eq!(fs::read_to_string(&odd).unwrap(), "odd");
    let mut value = [0; 8];
    if let Ok(length) = rustix::fs::getxattr(&odd, "user.origin", &mut value) {
        assert_eq!(&value[..length], b"base");
    }
    let zeros = fs::metadata(to.join("zeros")).unwrap();
    assert!(zeros.len() == 8 << 20 && zeros.blocks() < 64, "{} blocks", zeros.blocks());
    // An existing file is replaced by a new one: a reader that has it open sees the old bytes.
    let file = program.file("held", "old");
    let held = File::open(&file).unwrap();
    let source = [&b"odd:1:/"[..], b"data/\xff\xfe odd"].concat();
    program.ok([OsStr::new("cp"), OsStr::from_bytes(&source), file.as_os_str()]);
    let mut bytes = [0; 3];
    held.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!((&bytes, fs::read_to_string(&file).unwrap()), (b"old", "odd".to_owned()));
}

#[test]
fn images_of_directories_and_archives_are_copied_from() {
    let (program, image) = loaded();
    let [prebaked, to] = ["web", "to"].map(|name| program.path(name).display().to_string());
    program.ok(["export", &image, &prebaked, "--format=prebaked"]);
    for name in [format!("prebaked:{prebaked}"), format!("docker-archive:{}", program.path("saved.tar").display())] {
        program.ok(["cp", &format!("{name}:/data/motd"), &to]);
        assert_eq!(fs::read_to_string(&to).unwrap(), "hi\n");
        fs::remove_file(&to).unwrap();
    }
    let report = program.json(["cp", "--json", "copied:1:/data/.", &to]);
    assert_eq!((&report["bytes"], &report["total"]), (&10.into(), &0.into()), "{report}");
}
