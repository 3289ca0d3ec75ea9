//! Comparison with `buildah run --user`: the ids of a process that it starts.
//!
//! Some cases are missing, because buildah 1.28 differs from the C library and other engines. It stops at the first
//! invalid line, does not support comments and NIS lines, takes 4294967295 for root, and finds supplementary groups by
//! the first name of an id. The tables in `rule.rs` have these cases.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use vmroot_testkit::skip;
use vmroot_users::{User, UserSpec};

/// Writes the ids and the home directory of the process to a file, since buildah loses the output of pipes under load.
const SCRIPT: &str = "{ /bin/busybox grep -E '^(Uid|Gid|Groups):' /proc/self/status; echo Home: $HOME; } >/out/user";

/// Common entries, and entries whose names are numbers other than their ids.
const PASSWD: [&str; 7] = [
    "root:x:0:0:root:/root:/bin/sh",
    "1000:x:0:0::/root:/bin/sh",
    "demo:x:1000:50::/home/demo:/bin/sh",
    "50:x:1001:51::/fifty:/bin/sh",
    "0:x:33:34::/zero:/bin/sh",
    "demo:x:2000:60::/other:/bin/sh",
    "far:x:4000000000:4000000001::/far:/bin/sh",
];
const GROUP: [&str; 7] = [
    "root:x:0:root",
    "1000:x:9:demo",
    "staff:x:50:",
    "50:x:99:demo,far",
    "video:x:44:root,demo,50",
    "demo:x:77:",
    "staff:x:78:0",
];

/// A buildah container. Dropping it removes it.
struct Container {
    storage: TempDir,
    name: String,
    root: PathBuf,
}

impl Container {
    fn new() -> Self {
        let mut container = Self { storage: tempfile::tempdir().unwrap(), name: String::new(), root: PathBuf::new() };
        container.name = container.output(&["from", "scratch"]);
        container.root = container.output(&["mount", &container.name]).into();
        for directory in ["etc", "bin", "out"] {
            fs::create_dir_all(container.root.join(directory)).unwrap();
        }
        // Processes of all users write to this directory.
        fs::set_permissions(container.root.join("out"), Permissions::from_mode(0o777)).unwrap();
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
        fs::copy(busybox.unwrap(), container.root.join("bin/busybox")).unwrap();
        container
    }

    /// Runs buildah.
    ///
    /// buildah executes a sealed copy of itself in memory. The kernel refuses the seal while pages of the copy are
    /// being written (`EBUSY` of `F_ADD_SEALS`). Such a failure is retried.
    fn buildah(&self, arguments: &[&str]) -> Output {
        const TRIES: u32 = 50;
        let path = |name: &str| self.storage.path().join(name);
        let mut buildah = Command::new("buildah");
        buildah.arg("--root").arg(path("storage")).arg("--runroot").arg(path("run")).args(["--storage-driver", "vfs"]);
        buildah.args(arguments);
        for _ in 0..TRIES {
            let output = buildah.output().unwrap();
            if output.status.success() || !String::from_utf8_lossy(&output.stderr).contains("sealing memfd copy") {
                return output;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("buildah cannot be started: its copy in memory stays busy");
    }

    /// Runs buildah successfully, and returns its output.
    fn output(&self, arguments: &[&str]) -> String {
        let output = self.buildah(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Writes a file of `/etc`, or removes it if `text` is `None`.
    fn set(&self, name: &str, text: Option<&str>) {
        let path = self.root.join("etc").join(name);
        match text {
            Some(text) => fs::write(path, text).unwrap(),
            None => match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{error}"),
                _ => {}
            },
        }
    }

    /// Runs a process as a user, and returns its ids and home directory, or `None` if buildah does not find the user.
    fn user(&self, spec: &str) -> Option<ProcessUser> {
        let user = format!("--user={spec}");
        let command = ["run", "--isolation=chroot", &user, &self.name, "--", "/bin/busybox", "sh", "-c", SCRIPT];
        let output = self.buildah(&command);
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            assert!(message.contains("unknown"), "{spec:?}: {message}");
            return None;
        }
        let file = self.root.join("out/user");
        let text = fs::read_to_string(&file).unwrap();
        fs::remove_file(&file).unwrap();
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
        let numbers =
            |name: &str| field(name).split_whitespace().map(|word| word.parse().unwrap()).collect::<Vec<u32>>();
        Some(ProcessUser {
            uid: numbers("Uid:")[0],
            gid: numbers("Gid:")[0],
            groups: numbers("Groups:").into_iter().collect(),
            home: field("Home:").to_owned(),
        })
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // The storage of the container may be mounted.
        self.buildah(&["rm", &self.name]);
    }
}

/// The user of a process: `groups` includes the primary group, and a user without a home directory has `/`.
#[derive(Debug, PartialEq, Eq)]
struct ProcessUser {
    uid: u32,
    gid: u32,
    groups: BTreeSet<u32>,
    home: String,
}

impl From<User> for ProcessUser {
    fn from(user: User) -> Self {
        let groups = user.groups.into_iter().chain([user.gid]).collect();
        Self { uid: user.uid, gid: user.gid, groups, home: user.home.unwrap_or_else(|| "/".to_owned()) }
    }
}

/// Returns a file with some of the entries in some order. The selection and the order depend only on `number`.
fn shuffled_file(mut number: usize, entries: &[&str]) -> String {
    let mut rest = entries.to_vec();
    let mut text = String::new();
    while !rest.is_empty() {
        let entry = rest.remove(number % rest.len());
        number /= 2;
        if number % 4 != 3 {
            text += entry;
            text.push('\n');
        }
    }
    text
}

#[test]
fn users_equal_the_result_of_buildah() {
    if skip::needs_root() || skip::needs_program("buildah") || skip::needs_program("busybox") {
        return;
    }
    let container = Container::new();
    let compare = |passwd: Option<&str>, group: Option<&str>, specs: &[&str]| {
        container.set("passwd", passwd);
        container.set("group", group);
        for spec in specs {
            let ours = UserSpec::parse(spec)
                .resolve(passwd.unwrap_or_default().as_bytes(), group.unwrap_or_default().as_bytes());
            assert_eq!(ours.ok().map(ProcessUser::from), container.user(spec), "{spec:?} in\n{passwd:?}\n{group:?}");
        }
    };
    let (passwd, group) = (PASSWD.join("\n") + "\n", GROUP.join("\n") + "\n");
    // Common users. Entries whose names are numbers come before and after the matching entries.
    let specs =
        ["1000", "demo", "1000:1000", "demo:1000", "demo:50", "50", "50:staff", "0", "", ":staff", "0001000:demo"];
    compare(Some(&passwd), Some(&group), &specs);
    compare(
        Some(&passwd),
        Some(&group),
        &["+5", "-1", " 1000", "no", "demo:+5", "demo:no", "4711", "4294967294", "far"],
    );
    compare(None, None, &["", "7", "7:8", "root", "7:root"]);
    compare(Some(&passwd), None, &["demo:50", "demo:staff"]);
    // Some of the entries, in any order.
    let specs = ["1000", "demo", "50:50", "0:1000", "demo:staff", "2000", "far:50"];
    for number in 0..8_usize {
        let number = number.wrapping_mul(0x9e37_79b9) % 1_000_003;
        let spec = [specs[number % 7], specs[number / 7 % 7]];
        compare(Some(&shuffled_file(number, &PASSWD)), Some(&shuffled_file(number / 3, &GROUP)), &spec);
    }
}
