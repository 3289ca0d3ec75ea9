//! `mount`, `mounts` and `umount` by a user other than root, with `fusermount3`.

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::Command;

use vmroot_testkit::registry::Registry;
use vmroot_testkit::skip;

use crate::mounted::cannot_mount;
use crate::nobody::{NOBODY, Nobody};
use crate::program::CommandOutput;
use crate::samples::{image, serve};

/// Opens `/dev/fuse` to all users in a mount namespace of its own, with a device in the directory `$1`, and runs the
/// script `$2` there. udev gives the device that mode; machines without udev may not have it.
const WITH_FUSE: &str = r#"
    mount -t tmpfs none "$1"
    mknod -m 666 "$1/fuse" c 10 229
    mount --bind "$1/fuse" /dev/fuse
    eval "$2"
"#;

struct UserTest {
    nobody: Nobody,
    image: String,
    place: PathBuf,
}

impl UserTest {
    /// Returns `None` if the test must be skipped.
    fn new() -> Option<Self> {
        let programs = ["unshare", "setpriv", "fusermount3"];
        if cannot_mount() || skip::needs_root() || programs.into_iter().any(skip::needs_program) {
            return None;
        }
        let registry = Registry::start();
        let nobody = Nobody::new();
        let image = serve(&registry, &image("amd64"), "v1");
        let mut pull = nobody.command();
        pull.env("HOME", nobody.program.path(".")).arg(&nobody.executable).args(["pull", &image, "--arch=amd64"]);
        CommandOutput::from(pull.output().unwrap()).ok();
        let place = nobody.program.path("place");
        for directory in [&place, &nobody.program.path("dev")] {
            fs::create_dir(directory).unwrap();
            chown(directory, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        Some(Self { nobody, image, place })
    }

    /// Runs a script. `vmroot` is the program as that user, `inside` also in the directory, `other` as another user, and
    /// `root` as root.
    fn run(&self, script: &str) -> CommandOutput {
        let program = self.nobody.executable.to_str().unwrap();
        let user = |name: &str, id: u32| {
            format!("{name}() {{ setpriv --reuid={id} --regid={id} --clear-groups '{program}' \"$@\"; }}\n")
        };
        let functions = user("vmroot", NOBODY)
            + &user("other", NOBODY - 1)
            + &format!("root() {{ '{program}' \"$@\"; }}\n")
            + &format!(
                "inside() {{ setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups \
                 sh -c 'cd \"$PLACE\" && exec \"$0\" \"$@\"' '{program}' \"$@\"; }}\n"
            );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", WITH_FUSE, "sh"]).arg(self.nobody.program.path("dev"));
        command.arg(format!("{functions}{script}"));
        command.env_remove("XDG_RUNTIME_DIR").env("HOME", self.nobody.program.path("."));
        command.env("VMROOT_CACHE", self.nobody.program.cache()).current_dir(self.nobody.program.path("."));
        command.env("IMAGE", &self.image).env("PLACE", &self.place);
        command.output().unwrap().into()
    }
}

#[test]
fn user_mounts_lists_and_unmounts() {
    let Some(test) = UserTest::new() else { return };
    let script = "set -e
        vmroot mount \"$IMAGE\" \"$PLACE/new\" --mkdir --detach
        findmnt --noheadings --raw --output=SOURCE,FSTYPE \"$PLACE/new\"
        vmroot mounts --json
        vmroot umount --rmdir \"$PLACE/new\"
        ls -a \"$PLACE\" | grep -c .";
    let answer = test.run(script).ok();
    let (first, rest) = answer.split_once('\n').unwrap();
    assert_eq!(first, format!("vmroot:{} fuse.vmroot", test.image));
    let (listed, last) = rest.rsplit_once("]\n").unwrap();
    let listed: serde_json::Value = serde_json::from_str(&format!("{listed}]")).unwrap();
    let listed = listed.as_array().unwrap();
    let mount = listed.iter().find(|mount| mount["directory"] == test.place.join("new").to_str().unwrap()).unwrap();
    assert_eq!((mount["image"].as_str(), mount["driver"].as_str()), (Some(test.image.as_str()), Some("fuse")));
    assert!(mount["platform"] == "linux/amd64" && mount["process"].is_u64(), "{mount}");
    assert_eq!(last, "2\n", "the directory is empty");
}

#[test]
fn mounts_of_other_users_stay() {
    let Some(test) = UserTest::new() else { return };
    let script = "
        vmroot mount \"$IMAGE\" \"$PLACE\" --detach
        mkdir over; root mount \"$IMAGE\" over --detach --driver=auto
        mkdir fuse; root mount \"$IMAGE\" fuse --detach --driver=fuse
        other umount \"$PLACE\"; echo \"$?\"
        vmroot umount over; echo \"$?\"
        vmroot umount fuse; echo \"$?\"
        inside umount \"$PLACE\"; echo \"$?\"
        vmroot umount \"$PLACE/etc\"; echo \"$?\"
        root umount over fuse; echo \"$?\"
        inside umount --lazy \"$PLACE\"; echo \"$?\"
        findmnt \"$PLACE\"; echo \"$?\"";
    let answer = test.run(script);
    let (hints, errors): (Vec<&str>, Vec<&str>) = answer.stderr.lines().partition(|line| line.starts_with("hint: "));
    assert_eq!(hints.len(), errors.len(), "{answer}");
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "1\n1\n1\n1\n3\n0\n0\n1\n", "{answer}");
    let parts = [
        format!("the user with the id {NOBODY} mounted it"),
        "only root may unmount ".to_owned(),
        "the user with the id 0 mounted it".to_owned(),
        "files or working directories of the mount are in use".to_owned(),
        "nothing is mounted there; it is a part of vmroot's mount on ".to_owned(),
    ];
    let is_fuse = errors[1].contains("the user with the id 0 mounted it");
    for (number, (error, part)) in errors.iter().zip(&parts).enumerate() {
        assert!(error.contains(part.as_str()) || number == 1 && is_fuse, "{answer}");
    }
    assert_eq!(errors.len(), parts.len(), "{answer}");
    assert!(!answer.stderr.contains("fusermount"), "{answer}");
}

/// The process that served the mount was killed.
#[test]
fn user_unmounts_a_dead_mount() {
    let Some(test) = UserTest::new() else { return };
    let script = "
        vmroot mount \"$IMAGE\" \"$PLACE\" --detach
        pid=$(vmroot mounts | sed -n \"s|^$PLACE .* ||p\")
        kill -KILL \"$pid\"
        while [ -e \"$PLACE/etc\" ]; do sleep 0.1; done
        vmroot umount \"$PLACE\"; echo \"$?\"
        ls -a \"$PLACE\" | grep -c .";
    assert_eq!(test.run(script).ok(), "0\n2\n");
}

/// The reasons of fusermount3, in the program's own words.
#[test]
fn refusals_of_fusermount_are_explained() {
    let Some(test) = UserTest::new() else { return };
    let script = "
        vmroot mount \"$IMAGE\" /opt --force; echo \"$?\"
        vmroot mount \"$IMAGE\" \"$PLACE\" --allow-other; echo \"$?\"
        vmroot mount \"$IMAGE\" \"$PLACE\" --upper=u --work=w; echo \"$?\"";
    let answer = test.run(script);
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "1\n1\n1\n", "{answer}");
    let errors: Vec<&str> = answer.stderr.lines().filter(|line| !line.starts_with("hint: ")).collect();
    let parts = [
        "cannot mount on /opt: this user may not write to the directory",
        "/etc/fuse.conf does not let users give access to other users",
        "only root may mount overlay",
    ];
    for (error, part) in errors.iter().zip(parts) {
        assert!(error.contains(part), "{answer}");
    }
    assert_eq!(errors.len(), parts.len(), "{answer}");
}
