//! Tests of the command's environment.

use vmroot_testkit::guest::Guest;

use crate::root::{guest, root};
use crate::{exit_code, line, lines};

const CONFIG: &str = r#"{"layers": [], "env": ["GREETING=hello  world", "EMPTY=", "PATH=/bin:/nowhere"],
    "entrypoint": ["sh", "/check"], "cmd": ["one", "two words"], "workingDir": "/made/for/it", "user": "app",
    "hostname": "demo", "labels": {"ignored": "yes"}, "architecture": "amd64"}"#;

const SCRIPT: &str = r#"
echo "arguments: $# $1 $2"
echo "id: $(id -u) $(id -g) $(id -G)"
echo "directory: $(pwd) $(stat -c '%u %a' .)"
echo "environment: $GREETING|$EMPTY|$HOME|$HOSTNAME|$PATH|$TERM"
echo "name: $(hostname)"
echo "loopback: $(cat /sys/class/net/lo/flags) $(grep -c 127.0.0.1 /proc/net/fib_trie)"
for place in /proc /sys /dev /dev/pts /dev/shm /run /tmp /sys/fs/cgroup; do
    echo "mount: $(grep " $place " /proc/mounts | cut -d ' ' -f 2,3)"
done
echo "stdout: as a file" >/dev/stdout
echo "terminal: $(tty) $(ps -o pid,sid,pgid | grep -c "^ *$$ *$$ *$$")" && echo "controlling: yes" >/dev/tty
echo "modes: $(stat -c '%a' /tmp /run /dev/shm /dev/console | tr '\n' ' ')"
echo "console owner: $(stat -c '%u' /dev/console)"
for n in 1 2 3 4 5; do (sh -c 'exit 3' &); done
sleep 1
echo "zombies: $(cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z ')"
echo "limits: $(umask) $(cat /proc/self/status | grep SigIgn)"
exit 42
"#;

#[test]
fn a_command_runs_according_to_the_config() {
    let Some((guest, init)) = guest("amd64") else { return };
    let output = guest.boot(root(&guest, init, CONFIG, SCRIPT), "rdinit=/sbin/vmroot-init stray vmroot.trace").finish();
    assert_eq!(line(&output, "arguments"), "2 one two words");
    assert_eq!(line(&output, "id"), "1000 1001 1001 29 44");
    assert_eq!(line(&output, "directory"), "/made/for/it 0 755");
    assert_eq!(line(&output, "environment"), "hello  world||/home/app|demo|/bin:/nowhere|xterm");
    assert_eq!(line(&output, "name"), "demo");
    assert_eq!(line(&output, "loopback").split_once(' ').unwrap().0, "0x9");
    assert_ne!(line(&output, "loopback").split_once(' ').unwrap().1, "0");
    let expected = [
        "/proc proc",
        "/sys sysfs",
        "/dev devtmpfs",
        "/dev/pts devpts",
        "/dev/shm tmpfs",
        "/run tmpfs",
        "/tmp tmpfs",
        "/sys/fs/cgroup cgroup2",
    ];
    assert_eq!(lines(&output, "mount").collect::<Vec<_>>(), expected);
    assert_eq!(line(&output, "stdout"), "as a file");
    assert_eq!(line(&output, "terminal"), "/dev/console 1");
    assert_eq!(line(&output, "controlling"), "yes");
    assert_eq!(line(&output, "modes"), "1777 755 1777 600 ");
    assert_eq!(line(&output, "console owner"), "1000");
    assert_eq!(line(&output, "zombies"), "0");
    let (mask, ignored) = line(&output, "limits").split_once(" SigIgn:\t").unwrap();
    // A static glibc leaves its own signals 32 and 33 ignored in child processes.
    let ignored = u64::from_str_radix(ignored, 16).unwrap() & !(0b11 << 31);
    assert_eq!((mask, ignored), ("0022", 0));
    assert_eq!(exit_code(&output), 42);
    let moment = |name: &str| -> u64 {
        let mut moments = output.lines().filter_map(|line| line.strip_prefix("[vmroot-init] ")?.strip_prefix(name));
        moments.next().unwrap().trim().parse().unwrap()
    };
    assert!(moment("start") < moment("exec"));
}

#[test]
fn words_after_the_dashes_replace_the_arguments() {
    let Some((guest, init)) = guest("amd64") else { return };
    let script = "echo \"arguments: $# $1 $2\"\necho \"home: $HOME $(id -u)\"\nstty -a\nexit 300";
    let config = r#"{"entrypoint": ["/check"], "cmd": ["unused"], "tty": false}"#;
    let arguments = r#"rdinit=/sbin/vmroot-init stray -- one "two words""#;
    let output = guest.boot(root(&guest, init, config, script), arguments).finish();
    assert_eq!(line(&output, "arguments"), "2 one two words");
    assert_eq!(line(&output, "home"), "/root 0");
    // In byte mode, the terminal does not change the bytes.
    assert!(output.contains(" -echo ") && output.contains("-opost") && output.contains("-isig"), "{output}");
    assert_eq!(exit_code(&output), 300 % 256);
}

#[test]
fn a_guest_of_another_architecture() {
    let Some(guest) = Guest::of("arm64") else { return };
    let init = match vmroot_guest::init_for("arm64") {
        Ok(init) => init,
        // The toolchain has no target for it. The error must report that. The tests of `boot` have such a guest.
        Err(error) => {
            return assert!(error.to_string().contains("has no aarch64-unknown-linux-musl"), "{error}");
        }
    };
    let config = r#"{"cmd": ["/check"], "user": "app:44"}"#;
    let script = "echo \"machine: $(uname -m) $(id -u) $(id -g)\"\nexit 7";
    let output = guest.boot(root(&guest, init, config, script), "rdinit=/sbin/vmroot-init").finish();
    assert_eq!(line(&output, "machine"), "aarch64 1000 44");
    assert_eq!(exit_code(&output), 7);
}
