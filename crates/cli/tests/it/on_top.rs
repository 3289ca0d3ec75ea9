//! `--layer` and `--add`: the same root in every format.

use std::fs;
use std::path::{Path, PathBuf};

use vmroot_testkit::layer::{Encoding, Entry, Layer};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::registry::Registry;
use vmroot_testkit::skip;

use crate::program::Program;
use crate::samples::{image, serve};

/// Returns a program with an image, and the options that put layers and files on top of it.
fn prepare(registry: &Registry) -> (Program, String, Vec<String>) {
    let image = serve(registry, &image("amd64"), "v1");
    let program = Program::new();
    let layer = Layer::new([Entry::whiteout("etc/motd"), Entry::file("usr/bin/tool", "the layer's").mode(0o700)]);
    let tar = program.file("layer.tar", layer.to_tar(&Encoding::default()));
    let directory = program.path("directory");
    fs::create_dir_all(directory.join("etc")).unwrap();
    fs::write(directory.join("etc/hostname"), "guest\n").unwrap();
    fs::write(directory.join(".wh.loop"), "").unwrap();
    let file = program.file("a:b", "with a colon");
    let arguments = [
        format!("--layer={}", tar.display()),
        format!("--layer={}", directory.display()),
        format!("--add={}:/bin/", file.display()),
        format!("--add={}:/etc/added:640:7:8", file.display()),
        format!("--add={}:/srv/made/hostname", directory.join("etc/hostname").display()),
        "--arch=amd64".to_owned(),
    ];
    program.ok(["pull", &image, "--arch=amd64"]);
    (program, image, arguments.into())
}

fn run(program: &Program, arguments: &[&str], more: &[String]) -> String {
    program.ok(arguments.iter().copied().chain(more.iter().map(String::as_str)))
}

fn temporary_files(program: &Program) -> Vec<PathBuf> {
    let entries = fs::read_dir(program.cache()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().as_encoded_bytes().starts_with(b".tmp")).collect()
}

#[test]
fn every_format_has_the_same_root() {
    if skip::needs_root() || !Path::new("/dev/fuse").exists() && skip::because("needs /dev/fuse") {
        return;
    }
    let registry = Registry::start();
    let (program, image, top) = prepare(&registry);
    let place = |name: &str| program.path(name).display().to_string();

    run(&program, &["export", &image, &place("dir"), "--format=dir"], &top);
    let expected = Listing::of_directory(program.path("dir")).unwrap();
    let names: Vec<_> = expected.rows.keys().map(|path| String::from_utf8_lossy(path).into_owned()).collect();
    for name in ["usr/bin/a:b", "etc/added", "etc/hostname", "srv/made/hostname"] {
        assert!(names.iter().any(|other| other == name), "{name}: {names:?}");
    }
    assert!(!names.iter().any(|name| name == "etc/motd" || name == "loop"), "{names:?}");
    let row = &expected.rows[&b"etc/added"[..]];
    assert_eq!((row.mode, row.uid, row.gid), (0o640, 7, 8));
    assert_eq!(expected.rows[&b"usr/bin/tool"[..]].mode, 0o700);
    assert_eq!(
        expected.rows[&b"usr/bin/alias"[..]].mode,
        0o4755,
        "the file of the image is no longer a hard link to it"
    );

    fs::create_dir(program.path("mount")).unwrap();
    for driver in ["--driver=fuse", "--driver=auto"] {
        run(&program, &["mount", &image, &place("mount"), "--detach", "--suid-dev", driver], &top);
        expected.assert_same(&Listing::of_directory(program.path("mount")).unwrap());
        // Readers of the root hold its files open.
        assert_eq!(temporary_files(&program), Vec::<PathBuf>::new(), "{driver}");
        program.ok(["umount", &place("mount")]);
    }

    let tar = |name: &str| {
        run(&program, &["export", &image, &place(name), "--format=tar"], &top);
        fs::read(program.path(name)).unwrap()
    };
    let bytes = tar("one.tar");
    assert!(bytes == tar("two.tar"), "the export is reproducible");
    run(&program, &["export", &image, &place("whole"), "--format=prebaked"], &top);
    let prebaked = format!("prebaked:{}", place("whole"));
    run(&program, &["export", &prebaked, &place("three.tar"), "--format=tar"], &[]);
    assert!(fs::read(program.path("three.tar")).unwrap() == bytes);
    let config: serde_json::Value =
        serde_json::from_slice(&fs::read(program.path("whole/config.json")).unwrap()).unwrap();
    assert_eq!(config["layers"].as_array().unwrap().len(), 2 + 3);
    // Without the merged index, the layers give the same root.
    fs::remove_file(program.path("whole/root.idx")).unwrap();
    run(&program, &["export", &prebaked, &place("four.tar"), "--format=tar"], &[]);
    assert!(fs::read(program.path("four.tar")).unwrap() == bytes);

    run(&program, &["export", &image, &place("meta"), "--format=erofs-meta"], &top);
    let devices = fs::read_to_string(program.path("meta.devices")).unwrap();
    let devices: Vec<&Path> = devices.lines().map(Path::new).collect();
    assert!(devices.len() >= 4 && devices.iter().all(|path| path.is_file()), "{devices:?}");
    assert!(
        devices.last().unwrap().starts_with(program.path("")),
        "the contents of the layer on top are not beside the image: {devices:?}"
    );

    // A prebaked directory also accepts layers and files on top.
    let file = program.file("more", "more");
    let more = [format!("--add={}:/", file.display())];
    run(&program, &["export", &prebaked, &place("more.tar"), "--format=tar"], &more);
    assert!(fs::read(program.path("more.tar")).unwrap().windows(4).any(|bytes| bytes == b"more"));
    assert_eq!(temporary_files(&program), Vec::<PathBuf>::new());
}

#[test]
fn errors_name_the_argument() {
    let registry = Registry::start();
    let (program, image, _) = prepare(&registry);
    let out = program.path("out").display().to_string();
    let export =
        |code, option: &str| program.fails(code, ["export", &image, &out, "--format=tar", "--arch=amd64", option]);
    assert!(export(2, "--add=only-a-source").contains("expected SRC:DEST"));
    assert!(export(2, "--add=a:relative").contains("DEST that begins with a slash"));
    assert!(export(3, "--add=/no/such/file:/x").contains("/no/such/file to /x: "));
    assert!(export(3, "--layer=/no/such/layer").contains("/no/such/layer: "));
    let text = program.file("text", "no tar ".repeat(1000));
    assert!(export(5, &format!("--layer={}", text.display())).contains("text: "));
    let large = program.file("large", vec![7; 100_000]);
    let message = program.fails(
        6,
        [
            "export",
            &image,
            &out,
            "--format=tar",
            "--arch=amd64",
            "--max-contents=1K",
            &format!("--add={}:/", large.display()),
        ],
    );
    assert!(message.contains("--max-contents raises the limit"), "{message}");
    assert!(!program.path("out").exists());
    assert_eq!(temporary_files(&program), Vec::<PathBuf>::new());
}

/// Modules of a kernel over a root whose `/lib` is a link. The guest would have no libc, so every command warns.
#[test]
fn directory_that_replaces_a_link_gives_a_warning_with_a_hint() {
    let program = Program::new();
    let root = Layer::new([Entry::symlink("lib", "usr/lib"), Entry::file("usr/lib/libc.so", "libc")]);
    crate::same_tree::load(&program, &[root], &Encoding::default());
    let modules = program.path("modules");
    fs::create_dir_all(modules.join("lib/modules")).unwrap();
    fs::write(modules.join("lib/modules/new"), "new").unwrap();
    let image = "example.org/stack:v1";
    let layer = format!("--layer={}", modules.display());
    let line = format!(
        "warning: {0}: its directory /lib replaces the link /lib -> usr/lib, so /lib/libc.so can no longer be \
         reached; --add {0}/.:/ follows links instead\n",
        modules.display()
    );
    for format in ["tar", "prebaked", "erofs"] {
        let out = program.path(format);
        let answer = program.run(["export", image, out.to_str().unwrap(), "--format", format, &layer]);
        assert!(answer.status.success(), "{answer}");
        assert_eq!(answer.stderr, line, "{format}");
    }
    // The hint works.
    let add = format!("--add={}/.:/", modules.display());
    let out = program.path("added");
    let answer = program.run(["export", image, out.to_str().unwrap(), "--format=prebaked", &add]);
    assert_eq!(answer.stderr, "");
    let added = format!("prebaked:{}", out.display());
    assert_eq!(program.ok(["cat", &added, "/lib/libc.so", "/usr/lib/modules/new"]), "libcnew");
}
