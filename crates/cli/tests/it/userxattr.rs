//! `export --from-upper` by users who cannot see `trusted.*` xattrs: an error, unless the overlay uses `user.*` xattrs.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, mknodat};
use vmroot_testkit::layer::{Encoding, Entry, Layer};
use vmroot_testkit::skip;

use crate::nobody::{NOBODY, Nobody};
use crate::program::CommandOutput;
use crate::same_tree::load;

impl Nobody {
    fn run(&self, words: &[&str]) -> CommandOutput {
        self.command().args(words).output().unwrap().into()
    }

    /// Exports `upper` to `name`, with the program started by the words in `before`.
    fn export(&self, before: &[&str], name: &str, options: &[&str]) -> CommandOutput {
        let executable = self.executable.to_str().unwrap();
        self.run(&[before, &[executable, "export", "--from-upper", "upper", name], options].concat())
    }

    /// Lists an exported layer with GNU tar.
    fn listed(&self, name: &str) -> Vec<String> {
        let output = Command::new("tar").arg("-tf").arg(self.program.path(name)).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

/// Creates an opaque directory and a deleted file as root's overlay does, for example docker's overlay2.
fn upper_of_root(nobody: &Nobody, opaque: &str) {
    let upper = nobody.program.path("upper");
    fs::create_dir_all(upper.join("dir")).unwrap();
    fs::write(upper.join("dir/new"), "new").unwrap();
    lsetxattr(upper.join("dir"), opaque, b"y", XattrFlags::empty()).unwrap();
    mknodat(CWD, upper.join("gone"), FileType::CharacterDevice, Mode::from(0o644), 0).unwrap();
}

const LISTED: [&str; 5] = ["./", "dir/", "dir/.wh..wh..opq", "dir/new", ".wh.gone"];

#[test]
fn invisible_marks_are_an_error_for_other_users() {
    if skip::needs_root() || skip::needs_program("setpriv") || skip::needs_program("unshare") {
        return;
    }
    let nobody = Nobody::new();
    upper_of_root(&nobody, "trusted.overlay.opaque");
    // Root of a user namespace cannot see them either.
    for before in [&[][..], &["unshare", "--user", "--map-root-user"]] {
        let message = nobody.export(before, "out.tar", &[]).fails(1);
        assert!(message.contains("upper: ") && message.contains("only root can read"), "{message}");
        assert!(!nobody.program.path("out.tar").exists());
        let stream = nobody.export(before, "-", &["--format=tar"]);
        assert!(stream.stdout.is_empty(), "nothing was written");
        stream.fails(1);
    }
    let upper = nobody.program.path("upper");
    nobody.program.ok([
        "export",
        "--from-upper",
        upper.to_str().unwrap(),
        nobody.program.path("root.tar").to_str().unwrap(),
    ]);
    assert_eq!(nobody.listed("root.tar"), LISTED);
}

#[test]
fn marks_in_user_xattrs_are_read_by_every_user() {
    if skip::needs_root() || skip::needs_program("setpriv") {
        return;
    }
    let nobody = Nobody::new();
    upper_of_root(&nobody, "user.overlay.opaque");
    nobody.export(&[], "out.tar", &[]).ok();
    assert_eq!(nobody.listed("out.tar"), LISTED);
}

#[test]
fn userxattr_option_accepts_an_overlay_without_marks() {
    if skip::needs_root() || skip::needs_program("setpriv") {
        return;
    }
    let nobody = Nobody::new();
    nobody.run(&["sh", "-c", "mkdir upper && echo new > upper/new"]).ok();
    nobody.export(&[], "out.tar", &[]).fails(1);
    nobody.export(&[], "out.tar", &["--userxattr"]).ok();
    assert_eq!(nobody.listed("out.tar"), ["./", "new"]);
}

/// Changes an overlay in a user namespace, as rootless containers mount it, and exports its upper directory there.
const IN_NAMESPACE: &str = r#"
mkdir lower upper work view
mkdir -p lower/emptied lower/kept && touch lower/emptied/old lower/kept/old lower/gone lower/renamed
mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work,userxattr view
rm -r view/emptied view/gone && mkdir view/emptied && touch view/emptied/new view/kept/new
mv view/renamed view/kept/moved
umount view
"$@"
"#;

#[test]
fn overlay_in_a_user_namespace() {
    if skip::needs_root() || skip::needs_program("setpriv") || skip::needs_program("unshare") {
        return;
    }
    let nobody = Nobody::new();
    let scratch = tempfile::tempdir_in("/dev/shm").unwrap();
    chown(scratch.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let executable = nobody.executable.to_str().unwrap();
    let export = [executable, "export", "--from-upper", "upper"];
    let words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-euc", IN_NAMESPACE, "sh"];
    let output =
        nobody.command().args([&words[..], &export, &["inside.tar"]].concat()).current_dir(&scratch).output().unwrap();
    let answer = CommandOutput::from(output);
    if answer.stderr.contains("mount") && skip::because("needs overlays in user namespaces") {
        return;
    }
    answer.ok();
    CommandOutput::from(
        nobody.command().args([&export[..], &["outside.tar"]].concat()).current_dir(&scratch).output().unwrap(),
    )
    .ok();
    let expected = [
        "./",
        ".wh.gone",
        ".wh.renamed",
        "emptied/",
        "emptied/.wh..wh..opq",
        "emptied/new",
        "kept/",
        "kept/moved",
        "kept/new",
    ];
    for name in ["inside.tar", "outside.tar"] {
        let mut listed = nobody.listed(scratch.path().join(name).to_str().unwrap());
        listed.sort();
        assert_eq!(listed, expected, "{name}");
    }
    assert_eq!(fs::metadata(scratch.path().join("upper")).unwrap().uid(), NOBODY);
}

/// A directory of `--layer` need not be an overlay's. If it looks like one, a warning is printed.
#[test]
fn layer_that_may_have_invisible_marks_gives_a_warning() {
    if skip::needs_root() || skip::needs_program("setpriv") {
        return;
    }
    let nobody = Nobody::new();
    load(&nobody.program, &[Layer::new([Entry::file("gone", "x")])], &Encoding::default());
    let cache = nobody.program.cache();
    assert!(Command::new("chown").args(["-R", "65534:65534"]).arg(cache).status().unwrap().success());
    upper_of_root(&nobody, "trusted.overlay.opaque");
    let executable = nobody.executable.to_str().unwrap();
    let export = ["export", "--force", "example.org/stack:v1", "out.tar", "--format=tar", "--layer=upper"];
    let answer = nobody.run(&[&[executable], &export[..]].concat());
    assert!(answer.stderr.contains("warning: upper: has an overlay's whiteouts"), "{answer}");
    answer.ok();
    let by_root = nobody.program.command(export).current_dir(nobody.program.path(".")).output().unwrap();
    assert_eq!(String::from_utf8(by_root.stderr).unwrap(), "");
}
