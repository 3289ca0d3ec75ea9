//! Changes of a writable view as a layer: `mount --upper`, `export --from-upper`, `--layer`.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flate2::read::GzDecoder;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tempfile::TempDir;
use vmroot_testkit::layer::{Encoding, Entry, Kind, Layer};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::{arbitrary, skip};

use crate::program::Program;
use crate::same_tree::{cannot_compare, load};

const IMAGE: &str = "example.org/stack:v1";

/// A writable view of an image, and its upper directory.
struct View {
    program: Program,
    place: PathBuf,
    /// A directory in memory: an upper directory may not be on another overlay.
    changes: TempDir,
}

impl View {
    fn of(layers: &[Layer], driver: &str) -> Self {
        let program = Program::new();
        load(&program, layers, &Encoding::default());
        let changes = tempfile::tempdir_in("/dev/shm").unwrap();
        for name in ["upper", "work"] {
            fs::create_dir(changes.path().join(name)).unwrap();
        }
        let place = program.path("view");
        fs::create_dir(&place).unwrap();
        let view = Self { program, place, changes };
        let (upper, work) = (view.upper(), view.changes.path().join("work").display().to_string());
        let place = view.place.display().to_string();
        let options = ["--upper", &upper, "--work", &work, "--driver", driver, "--detach", "--suid-dev"];
        view.program.ok(["mount", IMAGE, &place].iter().chain(&options));
        view
    }

    fn upper(&self) -> String {
        self.changes.path().join("upper").display().to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.join(name)
    }

    /// Returns the files that the view shows, and unmounts it.
    fn close(&self) -> Listing {
        let listing = Listing::of_directory(&self.place).unwrap();
        self.program.ok(["umount".as_ref(), self.place.as_os_str()]);
        listing
    }

    /// Returns the files of the image with a layer on top.
    fn with_layer(&self, layer: &str) -> Listing {
        let directory = self.program.path("exported");
        let _ = fs::remove_dir_all(&directory);
        let place = directory.display().to_string();
        let answer = self.program.run(["export", IMAGE, &place, "--format=dir", "--layer", layer]);
        assert!(answer.status.success(), "{answer}");
        Listing::of_directory(&directory).unwrap()
    }

    fn exported(&self, name: &str) -> String {
        let place = self.program.path(name).display().to_string();
        self.program.ok(["export", "--from-upper", &self.upper(), &place]);
        place
    }
}

fn shell(directory: &Path, script: &str) {
    let status = Command::new("sh").args(["-euc", script]).current_dir(directory).status().unwrap();
    assert!(status.success());
}

fn image() -> Layer {
    Layer::new([
        Entry::directory("usr/lib").mode(0o1755).owner(70_000, 8).mtime(1_234_567_890, 987_654_321),
        Entry::file("usr/lib/a", "a").mode(0o4755).xattr("user.kept", b"kept"),
        Entry::hard_link("usr/lib/b", "usr/lib/a"),
        Entry::hard_link("usr/lib/c", "usr/lib/a"),
        Entry::symlink("lib", "usr/lib"),
        Entry::file("gone", "gone"),
        Entry::directory("emptied"),
        Entry::file("emptied/old", "old"),
        Entry::file("tree/deep/deeper/file", "deep"),
        Entry::file("to-directory", "file"),
        Entry::file("to-file/inside", "inside"),
        Entry::file("renamed", "renamed"),
        Entry::file("mode", "mode"),
        Entry::file("owner", "owner").mode(0o2755),
        Entry::file("touched", "touched"),
        Entry::file("appended", "first "),
        Entry::sparse_file("sparse", 10 << 20, vec![(4096, b"middle".to_vec())]),
        Entry::char_device("null", 1, 3),
        Entry::fifo("pipe"),
    ])
}

const SCRIPT: &str = "
rm gone pipe
rm -r emptied; mkdir emptied; echo new > emptied/new
rm to-directory; mkdir to-directory; echo now > to-directory/now
rm -r to-file; echo now > to-file
mv renamed elsewhere
mv tree/deep moved
mkdir tree/deep
chmod 6711 mode
chown 1:2 owner
touch -d 2001-02-03T04:05:06.789 touched
echo second >> appended
ln usr/lib/a linked
echo changed > usr/lib/b
rm usr/lib/c
ln -sfn /tmp lib
mknod zero c 1 5; mknod disk b 8 1; mkfifo -m 600 pipe
truncate -s 20M sparse
setfattr -n user.new -v value usr/lib
setfattr -x user.kept usr/lib/a
setfattr -n trusted.own -v value appended
mkdir -p \"$(printf 'odd \\\\ name')/sub\"
chmod 0700 .
";

#[test]
fn every_kind_of_change_is_exported() {
    if cannot_compare() || skip::needs_program("setfattr") {
        return;
    }
    for driver in ["fuse", "auto"] {
        let view = View::of(&[image()], driver);
        shell(&view.place, SCRIPT);
        let expected = view.close();
        for layer in ["changes.tar", "changes.tar.gz", "changes.tar.zst"] {
            expected.assert_same(&view.with_layer(&view.exported(layer)));
        }
        expected.assert_same(&view.with_layer(&view.upper()));

        let plain = fs::read(view.program.path("changes.tar")).unwrap();
        let stdout = view.program.run(["export", "--from-upper", &view.upper(), "-"]).stdout;
        assert!(stdout == plain, "the export is reproducible");
        let mut unpacked = Vec::new();
        let gzip = fs::File::open(view.program.path("changes.tar.gz")).unwrap();
        GzDecoder::new(gzip).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == plain);
        let list = Command::new("tar").args(["-tf"]).arg(view.program.path("changes.tar")).output().unwrap();
        let list = String::from_utf8(list.stdout).unwrap();
        let names: Vec<&str> = list.lines().collect();
        assert_eq!(names[0], "./", "the mode of the root was changed");
        for name in [".wh.gone", "emptied/.wh..wh..opq", "usr/lib/.wh.c", "tree/deep/.wh..wh..opq"] {
            assert!(names.contains(&name), "{name}: {list}");
        }
        assert!(!list.contains("deeper/.wh."), "{list}");
        assert!(!plain.windows(16).any(|bytes| bytes == b"trusted.overlay."), "xattrs of overlayfs are not exported");
    }
}

#[test]
fn random_changes_are_exported() {
    if cannot_compare() {
        return;
    }
    let config = Config { cases: 15, max_shrink_iters: 50, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&arbitrary::stack(), |mut layers| {
            let last = layers.pop().unwrap_or_else(|| Layer::new([]));
            let layers = if layers.is_empty() { vec![Layer::new([])] } else { layers };
            let view = View::of(&layers, "auto");
            change(&view, &last);
            let expected = view.close();
            for layer in [view.exported("changes.tar"), view.upper()] {
                if let Some(difference) = expected.difference(&view.with_layer(&layer)) {
                    return Err(TestCaseError::fail(format!("{layer}: {difference}")));
                }
            }
            Ok(())
        })
        .unwrap();
}

/// Applies a layer to a view, as far as rm and GNU tar can. Neither follows links, which could lead out of the view.
fn change(view: &View, layer: &Layer) {
    let mut plain: Vec<Entry> = Vec::new();
    for entry in &layer.entries {
        let through_own_link = |path: &[u8]| {
            plain.iter().any(|other| {
                matches!(other.kind, Kind::Symlink(_) | Kind::HardLink(_)) && is_below(path, &normalise(&other.name))
            })
        };
        let name = normalise(&entry.name);
        if leads_out(view, &name) || through_own_link(&name) {
            continue;
        }
        let last = name.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        let parent = &name[..name.len() - last.len()];
        match last.strip_prefix(b".wh.") {
            Some(hidden) if !hidden.starts_with(b".wh.") => remove(&view.place, &[parent, hidden].concat()),
            Some(_) => empty(&view.place, parent),
            None if matches!(entry.kind, Kind::CharDevice { major: 0, minor: 0 }) => {}
            None => plain.push(entry.clone()),
        }
    }
    let tar = view.program.file("last.tar", Layer::new(plain).to_tar(&Encoding::default()));
    let mut command = Command::new("tar");
    command.args(["-x", "-p", "--same-owner", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-f"]).arg(tar);
    // Hard links to missing files, and taken names, are errors that change nothing.
    let _ = command.arg("-C").arg(&view.place).stderr(Stdio::null()).status().unwrap();
}

/// Removes empty names and `.` from a path, and leading slashes, as GNU tar does.
fn normalise(path: &[u8]) -> Vec<u8> {
    let names = path.split(|&byte| byte == b'/').filter(|name| !matches!(name, [] | [b'.']));
    names.collect::<Vec<_>>().join(&b'/')
}

fn is_below(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with(b"/"))
}

fn leads_out(view: &View, path: &[u8]) -> bool {
    let mut names: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
    names.pop();
    let mut place = view.place.clone();
    names.contains(&&b".."[..])
        || names.iter().any(|name| {
            place.push(OsStr::from_bytes(name));
            fs::symlink_metadata(&place).is_ok_and(|metadata| !metadata.is_dir())
        })
}

fn remove(view: &Path, path: &[u8]) {
    assert!(!path.starts_with(b"/"));
    if path.split(|&byte| byte == b'/').any(|name| matches!(name, b"" | b"." | b"..")) {
        return;
    }
    let path = view.join(OsStr::from_bytes(path));
    let Ok(metadata) = fs::symlink_metadata(&path) else { return };
    if metadata.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
}

fn empty(view: &Path, directory: &[u8]) {
    let Ok(entries) = fs::read_dir(view.join(OsStr::from_bytes(directory))) else { return };
    for entry in entries {
        remove(view, &[directory, entry.unwrap().file_name().as_bytes()].concat());
    }
}

#[test]
fn sockets_are_reported_as_omissions() {
    if cannot_compare() {
        return;
    }
    let view = View::of(&[image()], "auto");
    drop(UnixListener::bind(view.path("socket")).unwrap());
    let mut expected = view.close();
    let place = view.program.path("changes.tar").display().to_string();
    let answer = view.program.run(["export", "--from-upper", &view.upper(), &place]);
    assert_eq!(answer.stderr, "not as in the image: socket: socket (a layer has no type for it)\n");
    expected.rows.remove(&b"socket"[..]).unwrap();
    expected.assert_same(&view.with_layer(&place));
}

#[test]
fn wrong_upper_directories_are_errors() {
    let program = Program::new();
    let upper = program.path("upper");
    fs::create_dir(&upper).unwrap();
    let (upper, out) = (upper.display().to_string(), program.path("out.tar").display().to_string());
    fs::write(format!("{upper}/.wh.file"), "").unwrap();
    let message = program.fails(1, ["export", "--from-upper", &upper, &out]);
    assert!(message.contains("upper/.wh.file: a name that begins with .wh. means a deletion"), "{message}");
    let unnamed = program.path("out").display().to_string();
    for arguments in [
        &["export", "--from-upper", &upper][..],
        &["export", "--from-upper", &upper, &unnamed],
        &["export", "--from-upper", &upper, &out, "--format=cpio"],
        &["export", "--from-upper", &upper, &out, "--level=3"],
        &["export", "--from-upper", &upper, &out, "--layer", &upper],
        &["export", "--from-upper", &upper, "image", &out],
        &["export", "image", &unnamed],
        &["export", "image", "--format=tar"],
    ] {
        program.fails(2, arguments);
    }
    program.fails(3, ["export", "--from-upper", &format!("{upper}/missing"), &out]);
    assert!(!program.path("out.tar").exists());
}
