//! Layers on top of a root: tars and directories.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use vmroot::{
    Addition, Cancel, Compression, Encoder, EncoderOptions, ErrorKind, Limits, Replacement, Top, TopOptions,
    TopProgress, TopWarning,
};
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::layer::{Encoding, Entry, Layer};
use vmroot_testkit::overlay::Overlay;
use vmroot_testkit::sample::noise;
use vmroot_testkit::{arbitrary, skip};

use crate::roots::{listing, options, put, root_of, scratch, show, text};

fn layers<P: AsRef<Path>>(paths: &[P]) -> Top {
    Top { layers: paths.iter().map(|path| path.as_ref().to_owned()).collect(), ..Top::default() }
}

#[test]
fn directories_with_overlayfs_marks_match_overlayfs() {
    if skip::needs_root() {
        return;
    }
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(stack in arbitrary::stack())| {
        let overlay = Overlay::of_layers(&stack).unwrap();
        let (root, _files) = root_of(&[Layer::new([])]);
        let scratch = scratch();
        let on_top = put(&layers(overlay.layers()), root, scratch.path()).unwrap();
        prop_assert_eq!(on_top.omitted().total, 0);
        overlay.listing().unwrap().assert_same(&listing(on_top.root()));
    });
}

#[test]
fn tars_on_top_match_layers_of_an_image() {
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(stack in arbitrary::stack(), at in any::<prop::sample::Index>())| {
        let at = at.index(stack.len()) + 1;
        let scratch = scratch();
        let tars: Vec<_> = stack[at..].iter().enumerate().map(|(number, layer)| {
            let path = scratch.path().join(format!("{number}.tar"));
            fs::write(&path, layer.to_tar(&Encoding::default())).unwrap();
            path
        }).collect();
        let on_top = put(&layers(&tars), root_of(&stack[..at]).0, scratch.path()).unwrap();
        let whole = root_of(&stack).0;
        prop_assert_eq!(describe(on_top.root()), describe(&whole));
    });
}

/// Describes every file of a root, without inode numbers.
fn describe(root: &vmroot::ContainerFs) -> Vec<String> {
    let row = |entry: vmroot::WalkEntry| {
        let stat = vmroot::Stat { ino: vmroot::InodeId::ROOT, ..root.stat(entry.ino) };
        let xattrs: Vec<_> = root.xattrs(entry.ino).collect();
        format!(
            "{entry:?} {stat:?} {xattrs:?} {:?} {:?}",
            root.readlink(entry.ino).ok(),
            root.content_digest(entry.ino)
        )
        .replace(&format!("{:?}", entry.ino), "")
    };
    root.walk().map(row).collect()
}

#[test]
fn unpacked_layers_and_compressed_ones() {
    let base = Layer::new([
        Entry::file("gone", "gone"),
        Entry::file("dir/hidden", "hidden"),
        Entry::file("dir/deep/kept", "kept"),
        Entry::symlink("bin", "usr/bin"),
        Entry::file("usr/bin/sh", "sh"),
    ]);
    let scratch = scratch();
    let unpacked = scratch.path().join("unpacked");
    fs::create_dir_all(unpacked.join("dir")).unwrap();
    fs::create_dir_all(unpacked.join("bin")).unwrap();
    fs::set_permissions(&unpacked, PermissionsExt::from_mode(0o700)).unwrap();
    for (name, bytes) in [(".wh.gone", ""), ("dir/.wh..wh..opq", ""), ("dir/new", "new"), ("z", "z")] {
        fs::write(unpacked.join(name), bytes).unwrap();
    }
    fs::create_dir(unpacked.join(".wh..wh.plnk")).unwrap();
    fs::write(unpacked.join(".wh..wh.plnk/1.2"), "AUFS's own").unwrap();
    symlink("../dir/new", unpacked.join("bin/link")).unwrap();
    let socket = UnixListener::bind(unpacked.join("dir/socket")).unwrap();
    fs::hard_link(unpacked.join("z"), unpacked.join("a")).unwrap();

    let tar = scratch.path().join("layer");
    let second = Layer::new([Entry::file("z", "of the tar"), Entry::whiteout("dir/new")]);
    let gzip = EncoderOptions { compression: Compression::Gzip, level: None, threads: 0 };
    let mut encoder = Encoder::new(fs::File::create(&tar).unwrap(), &gzip).unwrap();
    encoder.write_all(&second.to_tar(&Encoding::default())).unwrap();
    encoder.finish().unwrap();

    let top = layers(&[&unpacked, &tar]);
    let on_top = put(&top, root_of(std::slice::from_ref(&base)).0, scratch.path()).unwrap();
    drop(socket);
    let root = on_top.root();
    for path in ["gone", "dir/hidden", "dir/deep", "dir/new", ".wh.gone", ".wh..wh.plnk", "dir/socket"] {
        assert_eq!(show(root, path), "nothing", "{path}");
    }
    assert_eq!((text(root, "a"), text(root, "z")), ("z".to_owned(), "of the tar".to_owned()));
    // A directory replaces a link, as in any layer.
    assert!(show(root, "bin").starts_with("Directory"), "{}", show(root, "bin"));
    assert_eq!(show(root, "/"), "Directory 755 0:0", "the root is the image's");
    assert_eq!(on_top.omitted().lines(9), ["not as in the image: dir/socket: socket (a layer has no type for it)"]);
    let strict = Top { strict: true, ..top.clone() };
    let error = put(&strict, root_of(std::slice::from_ref(&base)).0, scratch.path()).unwrap_err();
    assert!(error.full_message().contains("dir/socket: socket"), "{error}");
    assert_eq!(on_top.layers().len(), 2);

    let again = put(&top, root_of(&[base]).0, scratch.path()).unwrap();
    assert_eq!(again.root().chain_id(), root.chain_id());
    assert!(again.root().index().bytes() == root.index().bytes());
}

#[test]
fn files_of_layers_exist_while_they_are_used() {
    let scratch = scratch();
    let directory = scratch.path().join("layer");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("file"), "bytes").unwrap();
    let at = scratch.path().join("cache");
    fs::create_dir(&at).unwrap();
    let (base, _files) = root_of(&[Layer::new([])]);
    let on_top = put(&layers(&[&directory]), base, &at).unwrap();
    assert!(on_top.root().contents().all(|contents| contents.path.is_file()));
    let (root, files) = on_top.into_parts();
    assert!(root.contents().all(|contents| contents.path.is_file()));
    drop(files);
    assert_eq!(fs::read_dir(&at).unwrap().count(), 0);
    assert_eq!(text(&root, "file"), "bytes");
}

#[test]
fn errors_name_the_layer() {
    let scratch = scratch();
    let path = |name: &str| scratch.path().join(name);
    fs::write(path("text"), "not a tar, but long enough to be one".repeat(99)).unwrap();
    fs::create_dir(path("dir")).unwrap();
    fs::write(path("dir/large"), vec![1; 100_000]).unwrap();
    let at = scratch.path();
    let fails = |name: &str, options: &TopOptions| {
        let error = layers(&[path(name)]).put_on(root_of(&[Layer::new([])]).0, options).unwrap_err();
        let error = vmroot::Error::from(error);
        assert!(error.full_message().contains(&path(name).display().to_string()), "{error}");
        error
    };
    assert_eq!(fails("missing", &options(at)).kind(), ErrorKind::NotFound);
    assert_eq!(fails("text", &options(at)).kind(), ErrorKind::Integrity);
    let mut small = options(at);
    small.build.max_contents = 1000;
    assert_eq!(fails("dir", &small).limit(), Some(vmroot::Limit::MaxContents));
    let tar = Layer::new([Entry::file("zeros", vec![0; 300_000])]).to_tar(&Encoding::default());
    fs::write(path("tar"), tar).unwrap();
    let tight = TopOptions { limits: Limits { max_output: 1000, ..Limits::default() }, ..options(at) };
    assert_eq!(fails("tar", &tight).limit(), Some(vmroot::Limit::MaxOutput));
    for name in ["dir", "tar"] {
        let cancel = Cancel::new();
        cancel.cancel();
        assert_eq!(fails_with_cancel(&path(name), &TopOptions { cancel, ..options(at) }), ErrorKind::Cancelled);
    }
    let left: Vec<_> = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.as_encoded_bytes().starts_with(b".tmp")), "{left:?}");
}

fn fails_with_cancel(path: &Path, options: &TopOptions) -> ErrorKind {
    vmroot::Error::from(layers(&[path]).put_on(root_of(&[Layer::new([])]).0, options).unwrap_err()).kind()
}

#[test]
fn overlayfs_features_that_refer_elsewhere_are_errors_with_a_hint() {
    if skip::needs_root() || skip::needs_program("setfattr") {
        return;
    }
    let scratch = scratch();
    let directory = scratch.path().join("upper");
    let error_message = |name: &str, xattr: &str| {
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).unwrap();
        match name {
            "file" => fs::write(directory.join(name), "").unwrap(),
            _ => fs::create_dir(directory.join(name)).unwrap(),
        }
        let status = Command::new("setfattr").args(["-n", xattr, "-v", "/x"]).arg(directory.join(name)).status();
        assert!(status.unwrap().success());
        let top = layers(&[&directory]);
        let error = put(&top, root_of(&[Layer::new([])]).0, scratch.path()).unwrap_err();
        // The remedy is in a field, for the program's hint.
        format!("{}: {error:?}", error.full_message())
    };
    let message = error_message("file", "trusted.overlay.metacopy");
    assert!(message.contains("upper/file: has attributes only") && message.contains("metacopy=off"), "{message}");
    let message = error_message("dir", "user.overlay.redirect");
    assert!(message.contains("upper/dir: was renamed") && message.contains("redirect_dir=off"), "{message}");
    let message = error_message("file", "trusted.overlay.nlink");
    assert!(message.contains("upper/file: has several names") && message.contains("index=off"), "{message}");
}

/// Builds a root with a merged `/usr`, as of current distributions: `/lib` is a link to `/usr/lib`.
fn merged_usr() -> Layer {
    Layer::new([
        Entry::symlink("lib", "usr/lib"),
        Entry::symlink("sbin", "/usr/sbin"),
        Entry::symlink("dangling", "nowhere"),
        Entry::file("usr/lib/ld.so", "loader"),
        Entry::file("usr/lib/libc.so", "libc"),
        Entry::file("usr/lib/modules/old", "module"),
        Entry::file("usr/sbin/init", "init"),
        Entry::file("etc/file", "file"),
    ])
}

/// Puts the modules of a kernel at `/lib/modules`, where the kernel's build installs them, as a directory or a tar.
#[test]
fn directory_that_replaces_a_link_gives_a_warning() {
    let scratch = scratch();
    let directory = scratch.path().join("modules");
    fs::create_dir_all(directory.join("lib/modules")).unwrap();
    fs::write(directory.join("lib/modules/new"), "new").unwrap();
    fs::create_dir_all(directory.join("etc/file/inside")).unwrap();
    fs::create_dir_all(directory.join("dangling")).unwrap();
    let tar = scratch.path().join("tar");
    let entries = ["lib/", "lib/modules/", "dangling/", "etc/", "etc/file/", "etc/file/inside/"].map(Entry::directory);
    fs::write(&tar, Layer::new(entries).to_tar(&Encoding::default())).unwrap();
    for layer in [directory, tar] {
        let on_top = put(&layers(&[&layer]), root_of(&[merged_usr()]).0, scratch.path()).unwrap();
        assert!(show(on_top.root(), "lib").starts_with("Directory"), "the link is replaced all the same");
        let mut replaced: Vec<_> = on_top
            .warnings()
            .iter()
            .map(|warning| match warning {
                TopWarning::Replaced(replaced) => replaced.clone(),
                other => panic!("{other}"),
            })
            .collect();
        replaced.sort_by(|a, b| a.path.cmp(&b.path));
        let replacement = |path: &str, target: Option<&str>, names: &[&str]| Replacement {
            layer: layer.clone(),
            path: path.into(),
            target: target.map(Into::into),
            unreachable: names.len(),
            names: names.iter().map(|name| (*name).into()).collect(),
        };
        let expected = [
            replacement("dangling", Some("nowhere"), &[]),
            replacement("etc/file", None, &[]),
            replacement("lib", Some("usr/lib"), &["ld.so", "libc.so"]),
        ];
        assert_eq!(replaced, expected);
        let text = replaced[2].to_string();
        for part in ["/lib -> usr/lib", "/lib/ld.so, /lib/libc.so can no longer be reached", "--add "] {
            assert!(text.contains(part), "{text}");
        }
    }
}

/// Opaque directories, as overlayfs creates them after a link was deleted, directories over directories, and a layer
/// above another that has already replaced the link give no warning.
#[test]
fn intended_replacements_give_no_warning() {
    let scratch = scratch();
    let tar = |name: &str, entries: Vec<Entry>| {
        let path = scratch.path().join(name);
        fs::write(&path, Layer::new(entries).to_tar(&Encoding::default())).unwrap();
        path
    };
    let warnings = |tars: &[std::path::PathBuf]| {
        put(&layers(tars), root_of(&[merged_usr()]).0, scratch.path()).unwrap().warnings().len()
    };
    let opaque = tar("opaque", vec![Entry::directory("lib"), Entry::opaque("lib"), Entry::file("lib/new", "x")]);
    let beside =
        tar("beside", vec![Entry::directory("usr/lib"), Entry::directory("new"), Entry::file("usr/lib/x", "x")]);
    let first = tar("first", vec![Entry::directory("sbin"), Entry::file("sbin/a", "a")]);
    let second = tar("second", vec![Entry::directory("sbin"), Entry::file("sbin/b", "b")]);
    assert_eq!(warnings(&[opaque, beside]), 0);
    assert_eq!(warnings(&[first, second]), 1);
}

/// Tars and files have a total, which is reached. A directory makes it unknown.
#[test]
fn progress_ends_at_the_total() {
    let scratch = scratch();
    let tar = Layer::new([Entry::file("large", noise(1, 5 << 20))]).to_tar(&Encoding::default());
    let (path, source) = (scratch.path().join("layer.tar"), scratch.path().join("file"));
    fs::write(&path, &tar).unwrap();
    fs::write(&source, noise(2, 3 << 20)).unwrap();
    let copy = |source: &Path| Addition::Copy {
        source: source.to_owned(),
        destination: b"/added".to_vec(),
        mode: None,
        owner: None,
    };
    let top = Top { additions: vec![copy(&source)], ..layers(&[&path]) };
    let events = |top: &Top| {
        let events = Arc::new(Mutex::new(Vec::new()));
        let receiver = Arc::clone(&events);
        let report = Arc::new(move |progress| receiver.lock().unwrap().push(progress));
        let root = root_of(&[Layer::new([])]).0;
        top.put_on_with_progress(root, &options(scratch.path()), report).unwrap();
        let events: Vec<TopProgress> = events.lock().unwrap().clone();
        events
    };
    let total = tar.len() as u64 + (3 << 20);
    let found = events(&top);
    assert!(found.len() >= 6, "{found:?}");
    assert!(found.is_sorted_by_key(|event| event.bytes), "{found:?}");
    assert!(found.iter().all(|event| event.total_bytes == Some(total)), "{found:?}");
    assert_eq!(found.last().unwrap().bytes, total);
    let directory = scratch.path().join("directory");
    fs::create_dir(&directory).unwrap();
    fs::rename(&source, directory.join("file")).unwrap();
    let found = events(&Top { additions: vec![copy(&directory)], ..Top::default() });
    assert!(found.iter().all(|event| event.total_bytes.is_none()), "{found:?}");
    assert!(found.last().unwrap().bytes >= 3 << 20, "{found:?}");
}
