//! The ext4 disks of guests as layers: `export --from-upper DISK` and `commit --from-upper DISK`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use vmroot_testkit::layer::{Encoding, Entry, Layer};
use vmroot_testkit::mounted::run;
use vmroot_testkit::skip;

use crate::program::Program;
use crate::same_tree::load;

const IMAGE: &str = "example.org/stack:v1";

fn image(program: &Program) {
    let layer = Layer::new([
        Entry::file("etc/motd", "base\n"),
        Entry::file("gone", "gone"),
        Entry::file("emptied/old", "old"),
        Entry::hard_link("etc/link", "etc/motd"),
    ]);
    load(program, &[layer], &Encoding::default());
}

fn text(path: impl AsRef<Path>) -> String {
    path.as_ref().to_str().unwrap().to_owned()
}

/// Writes the top directory of a disk with an upper directory.
fn fill(top: &Path) {
    let script = "
        mkdir -p upper/etc upper/emptied work/work upper/links
        echo changed > upper/etc/motd
        mknod upper/gone c 0 0; ln upper/gone upper/links/gone
        setfattr -n trusted.overlay.opaque -v y upper/emptied
        echo new > upper/emptied/new; chmod 4750 upper/emptied/new; chown 70000:8 upper/emptied/new
        ln upper/emptied/new upper/links/new
        ln -s motd upper/etc/short; ln -s $(printf 't%.0s' $(seq 200)) upper/etc/long
        truncate -s 3M upper/sparse; printf end >> upper/sparse
        setfattr -n user.kept -v kept upper/sparse; mkfifo upper/pipe
        find . -exec touch -h -d @1234567890 {} +
    ";
    fs::create_dir(top).unwrap();
    run(Command::new("sh").args(["-euc", script]).current_dir(top));
}

/// Makes a disk of a directory, without a mount.
fn disk_of(program: &Program, top: &Path, name: &str) -> PathBuf {
    let disk = program.file(name, []);
    fs::File::options().write(true).open(&disk).unwrap().set_len(32 << 20).unwrap();
    run(Command::new("mkfs.ext4").args(["-q", "-F", "-d"]).arg(top).arg(&disk));
    disk
}

fn cannot_run() -> bool {
    skip::needs_root() || ["mkfs.ext4", "debugfs", "setfattr"].into_iter().any(skip::needs_program)
}

#[test]
fn a_disk_and_its_upper_directory_are_the_same_layer() {
    if cannot_run() {
        return;
    }
    let program = Program::new();
    let top = program.path("top");
    fill(&top);
    let disk = disk_of(&program, &top, "guest.ext4");
    let export = |from: &str| program.run(["export", "--from-upper", from, "-"]).stdout;
    let of_directory = export(&text(top.join("upper")));
    let has = |name: &str| of_directory.windows(name.len()).any(|bytes| bytes == name.as_bytes());
    assert!(has(".wh.gone") && has("emptied/.wh..wh..opq"));
    assert!(export(&text(&disk)) == of_directory, "the layers differ");
    let sparse = text(program.path("sparse.tar"));
    program.ok(["export", "--sparse", "--from-upper", &text(&disk), &sparse]);
    assert!(fs::metadata(sparse).unwrap().len() < 1 << 20);
}

#[test]
fn a_commit_takes_the_disk_of_its_own_image() {
    if cannot_run() {
        return;
    }
    let program = Program::new();
    image(&program);
    let id = program.json(["inspect", "--json", IMAGE])["id"].as_str().unwrap().to_owned();
    let top = program.path("top");
    fill(&top);
    let record = |image: &str| format!(r#"{{"version": 1, "image": "{image}", "name": "stack"}}"#);
    fs::write(top.join("vmroot.json"), record(&format!("sha256:{}", "0".repeat(64)))).unwrap();
    let disk = text(disk_of(&program, &top, "other.ext4"));
    let message = program.fails(1, ["commit", IMAGE, "--from-upper", &disk, "-t", "changed"]);
    assert!(message.contains("the changes to another image, sha256:0000"), "{message}");
    fs::write(top.join("vmroot.json"), record(&id)).unwrap();
    let disk = text(disk_of(&program, &top, "own.ext4"));
    program.ok(["commit", IMAGE, "--from-upper", &disk, "-t", "changed"]);
    assert_eq!(program.ok(["cat", "changed", "/etc/motd"]), "changed\n");
    assert_eq!(program.ok(["ls", "changed", "/emptied"]).trim(), "new");
    program.fails(3, ["stat", "changed", "/gone"]);
}

#[test]
fn a_disk_with_a_whole_root_is_compared_with_its_image() {
    if cannot_run() {
        return;
    }
    let program = Program::new();
    image(&program);
    let disk = text(program.path("root.ext4"));
    program.ok(["export", IMAGE, &disk, "--free=8M"]);
    let out = text(program.path("changes.tar"));
    let message = program.fails(1, ["export", "--from-upper", &disk, &out]);
    assert!(message.contains("--base IMAGE"), "{message}");
    program.ok(["export", "--from-upper", &disk, "--base", IMAGE, &out]);
    assert_eq!(fs::read(&out).unwrap(), [0; 1024], "an unchanged root has changes");
    let file = text(program.file("file", "written by a guest"));
    for request in ["rm gone", &format!("write {file} new"), "set_inode_field etc/motd mode 0100600"] {
        run(Command::new("debugfs").args(["-w", "-R", request, &disk]));
    }
    program.ok(["export", "--force", "--from-upper", &disk, "--base", IMAGE, &out]);
    let names = run(Command::new("tar").args(["-tf", &out]));
    let mut names: Vec<&str> = names.lines().filter(|name| !matches!(*name, "./" | "/")).collect();
    names.sort_unstable();
    assert_eq!(names, [".wh.gone", "etc/link", "etc/motd", "new"]);
    program.ok(["commit", IMAGE, "--from-upper", &disk, "-t", "changed"]);
    assert_eq!(program.ok(["cat", "changed", "/new"]), "written by a guest");
    program.fails(3, ["stat", "changed", "/gone"]);
    let upper = text(program.path("directory"));
    fs::create_dir(&upper).unwrap();
    program.fails(2, ["export", "--force", "--from-upper", &upper, "--base", IMAGE, &out]);
}

#[test]
fn files_of_a_disk_are_listed_and_printed() {
    if cannot_run() {
        return;
    }
    let program = Program::new();
    let top = program.path("top");
    fill(&top);
    let disk = text(disk_of(&program, &top, "guest.ext4"));
    assert_eq!(program.ok(["disk", "ls", &disk]), "lost+found\nupper\nwork\n");
    assert_eq!(program.ok(["disk", "ls", &disk, "upper/emptied/new"]), "upper/emptied/new\n");
    assert_eq!(program.ok(["disk", "ls", "-d", &disk, "/upper"]), "/upper\n");
    let long = program.ok(["disk", "ls", "-l", &disk, "/upper/emptied"]);
    assert!(
        long.starts_with("-rwxr-x---    2 70000     8          4 2009-02-13") && long.ends_with(" new\n"),
        "{long}"
    );
    let long = program.ok(["disk", "ls", "-l", &disk, "/upper/etc"]);
    assert!(long.contains(&format!(" long -> {}\n", "t".repeat(200))) && long.contains(" short -> motd\n"), "{long}");
    let entries = program.json(["disk", "ls", "--json", &disk, "/upper"]);
    let of = |name: &str| entries.as_array().unwrap().iter().find(|entry| entry["path"] == name).unwrap().clone();
    assert_eq!((&of("gone")["type"], &of("gone")["device"]), (&"character device".into(), &"0:0".into()));
    assert_eq!(of("sparse")["xattrs"]["user.kept"], "kept");
    assert_eq!(of("pipe")["type"], "fifo");
    // A guest that runs has locked its disk.
    let guest = fs::File::options().write(true).open(&disk).unwrap();
    guest.lock().unwrap();
    let layer = text(program.path("layer.tar"));
    for verb in [&["disk", "ls", &disk][..], &["export", "--from-upper", &disk, &layer]] {
        let message = program.fails(1, verb);
        assert!(message.contains("in use by a guest") && message.contains("hint: "), "{message}");
    }
    drop(guest);
    // A link is followed.
    assert_eq!(program.ok(["disk", "cat", &disk, "/upper/etc/motd", "/upper/etc/short"]), "changed\nchanged\n");
    let sparse = program.run(["disk", "cat", &disk, "/upper/sparse"]).stdout;
    assert!(sparse == fs::read(top.join("upper/sparse")).unwrap(), "{} bytes", sparse.len());
    let missing = program.fails(3, ["disk", "cat", &disk, "/upper/none"]);
    assert!(missing.contains("/upper/none"), "{missing}");
    let directory = program.fails(1, ["disk", "cat", &disk, "/upper"]);
    assert!(directory.contains("it is a directory"), "{directory}");
    let partly = program.run(["disk", "cat", &disk, "/none", "/upper/etc/motd"]);
    assert_eq!((partly.status.code(), &partly.stdout[..]), (Some(3), &b"changed\n"[..]));
}

#[test]
fn other_files_are_not_disks() {
    let program = Program::new();
    let file = text(program.file("file", vec![1; 8192]));
    let out = text(program.path("out.tar"));
    let message = program.fails(1, ["export", "--from-upper", &file, &out]);
    assert!(message.contains("not an ext4 file system"), "{message}");
    let message = program.fails(1, ["disk", "ls", &file]);
    assert!(message.contains("not an ext4 file system"), "{message}");
}
