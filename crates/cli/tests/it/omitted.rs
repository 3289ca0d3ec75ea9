//! Omissions: every format reports properties that it cannot hold. `--strict` makes them an error.

use std::fs;

use serde_json::Value;
use vmroot_testkit::layer::{Encoding, Entry, Layer};
use vmroot_testkit::skip;

use crate::erofs::cannot_mount;
use crate::program::Program;
use crate::same_tree::load;

/// Xattrs that tar writes on macOS, and on servers with NFS or ZFS. No Linux file system accepts them.
const FOREIGN: [&str; 2] = ["com.apple.quarantine", "system.nfs4_acl"];

fn program() -> Program {
    let program = Program::new();
    let file = FOREIGN.iter().fold(Entry::file("file", "bytes"), |file, name| file.xattr(*name, "foreign"));
    load(&program, &[Layer::new([file.xattr("user.ok", "kept").mtime(1, 0)])], &Encoding::default());
    program
}

const IMAGE: &str = "example.org/stack:v1";

/// Returns every format with the xattrs that it omits.
fn forms() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut forms = vec![
        ("erofs", FOREIGN.to_vec()),
        ("erofs-meta", FOREIGN.to_vec()),
        ("ext4", FOREIGN.to_vec()),
        ("tar", vec![]),
        ("cpio", [&FOREIGN[..], &["user.ok"]].concat()),
        ("prebaked", vec![]),
    ];
    if !skip::needs_program("sqfstar") {
        forms.push(("squashfs", FOREIGN.to_vec()));
    }
    if !skip::needs_root() {
        forms.push(("dir", FOREIGN.to_vec()));
    }
    forms
}

#[test]
fn every_format_reports_omissions() {
    let program = program();
    for (form, lost) in forms() {
        let out = program.path(form);
        let place = out.to_str().unwrap();
        let answer = program.run(["export", IMAGE, place, "--format", form, "--json"]);
        assert!(answer.status.success() && out.exists(), "{form}: {answer}");
        let is_reported =
            |name: &&str| answer.stderr.contains(&format!("not as in the image: file: xattr \"{name}\" ("));
        assert!(lost.iter().all(is_reported), "{form}: {answer}");
        assert_eq!(answer.stderr.matches("not as in the image").count(), lost.len(), "{form}: {answer}");

        let json: Value = serde_json::from_slice(&answer.stdout).unwrap();
        let listed = json["omissions"].as_array().unwrap();
        let names: Vec<_> = listed.iter().map(|one| one["xattr"].as_str().unwrap()).collect();
        assert_eq!((names, json["total"].as_u64()), (lost.clone(), Some(lost.len() as u64)), "{form}");
        assert!(listed.iter().all(|one| one["path"] == "file" && one["why"] != ""), "{json}");
    }
}

/// `--quiet` silences notes: omissions, warnings about replaced links, and the note about another platform. Errors of
/// `--strict` are printed.
#[test]
fn quiet_prints_only_errors() {
    let program = program();
    let (directory, out) = (program.path("layer"), program.path("quiet"));
    fs::create_dir_all(directory.join("link/below")).unwrap();
    let link = program.path("link.tar");
    fs::write(&link, Layer::new([Entry::symlink("link", "file")]).to_tar(&Encoding::default())).unwrap();
    let [directory, link] = [directory, link].map(|path| format!("--layer={}", path.display()));
    for (form, lost) in forms() {
        if out.is_dir() {
            fs::remove_dir_all(&out).unwrap();
        }
        let place = out.to_str().unwrap();
        let arguments = ["export", "--force", IMAGE, place, &link, &directory, "--format", form];
        let answer = program.run(arguments.iter().chain(&["--quiet"]));
        assert!(answer.status.success() && answer.stderr.is_empty() && answer.stdout.is_empty(), "{form}: {answer}");
        fs::remove_file(&out).or_else(|_| fs::remove_dir_all(&out)).unwrap();
        let loud = program.run(arguments);
        assert!(loud.status.success() && loud.stderr.contains("warning: "), "{form}: {loud}");
        if !lost.is_empty() {
            fs::remove_file(&out).or_else(|_| fs::remove_dir_all(&out)).unwrap();
            let message = program.run(arguments.iter().chain(&["--quiet", "--strict"])).fails(1);
            assert!(message.contains("xattr"), "{form}: {message}");
        }
        let _ = fs::remove_file(&out);
    }
    let foreign = if std::env::consts::ARCH == "aarch64" { "amd64" } else { "arm64" };
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/demo");
    program.ok(["load", demo, "--arch", foreign, "--quiet"]);
    assert_eq!(program.run(["ls", "demo", "--quiet"]).stderr, "");
    assert!(program.run(["ls", "demo"]).stderr.contains(foreign));
    assert!(!program.run(["ls", "no/such:image", "--pull=never", "--quiet"]).fails(3).is_empty());
}

#[test]
fn strict_makes_omissions_errors_without_output() {
    let program = program();
    for (form, lost) in forms() {
        let out = program.path(&format!("strict-{form}"));
        let answer = program.run(["export", IMAGE, out.to_str().unwrap(), "--strict", "--format", form]);
        if lost.is_empty() {
            assert!(answer.status.success(), "{form}: {answer}");
            continue;
        }
        let message = answer.fails(1);
        assert!(message.contains(&format!("file: xattr \"{}\"", lost[0])), "{form}: {message}");
        // A directory is written in place; all other outputs get their name once they are complete.
        assert!(form == "dir" || !out.exists(), "{form}");
        let left = fs::read_dir(out.parent().unwrap()).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert!(form == "dir" || !left.iter().any(|name| name.contains(&format!("strict-{form}."))), "{left:?}");
    }
    let stream = program.run(["export", IMAGE, "-", "--strict", "--format=cpio"]);
    assert!(stream.stdout.is_empty(), "nothing was written");
    stream.fails(1);
}

#[test]
fn kernel_mount_reports_omissions() {
    if cannot_mount() {
        return;
    }
    let program = program();
    let place = program.path("place");
    fs::create_dir(&place).unwrap();
    let answer = program.run(["mount", IMAGE, place.to_str().unwrap(), "--detach", "--driver=erofs"]);
    let bytes = fs::read(place.join("file"));
    program.ok(["umount".as_ref(), place.as_os_str()]);
    assert!(answer.status.success(), "{answer}");
    assert_eq!(bytes.unwrap(), b"bytes");
    assert!(FOREIGN.iter().all(|name| answer.stderr.contains(&format!("file: xattr \"{name}\" ("))), "{answer}");
}
