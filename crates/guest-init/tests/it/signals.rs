//! Signals to PID 1, keys at the console, and the end.

use crate::root::{guest, root};
use crate::{exit_code, lines};

#[test]
fn signals_reach_the_command_and_what_it_leaves_behind_ends() {
    let Some((guest, init)) = guest("amd64") else { return };
    let script = r#"
for name in HUP INT QUIT TERM USR1 USR2 WINCH; do
    trap "echo got: $name" $name
done
for name in HUP INT QUIT TERM USR1 USR2 WINCH PWR; do
    kill -$name 1
    sleep 0.2
done
# One that ends with its session; outside of it, one that must be killed, and one that ends when asked to and says so.
sleep 1000 &
setsid sh -c 'trap "" TERM; while true; do sleep 1; done' &
setsid sh -c 'trap "echo asked: to end; exit" TERM; while true; do sleep 0.1; done' &
sleep 0.5
kill -9 $$
"#;
    let config = r#"{"cmd": ["/check"]}"#;
    let said = guest.boot(root(&guest, init, config, script), "rdinit=/sbin/vmroot-init").finish();
    let got: Vec<_> = lines(&said, "got").collect();
    assert_eq!(got, ["HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "WINCH", "TERM"], "{said}");
    assert_eq!(lines(&said, "asked").collect::<Vec<_>>(), ["to end"], "{said}");
    assert_eq!(exit_code(&said), 128 + 9);
}

#[test]
fn ctrl_c_at_the_console_interrupts_the_foreground() {
    let Some((guest, init)) = guest("amd64") else { return };
    let script = r#"
trap 'echo "interrupted: shell"' INT
(sleep 2; echo "asleep: now") &
sleep 1000
echo "slept: $?"
exit 5
"#;
    let config = r#"{"cmd": ["/check"]}"#;
    let mut console = guest.boot(root(&guest, init, config, script), "rdinit=/sbin/vmroot-init vmroot.reboot");
    // Said two seconds late: a key that came before the sleep had begun would not end it.
    console.wait_for("asleep: now", 1);
    console.send("\u{3}");
    // It was to restart, so it begins again.
    let said = console.wait_for("asleep: now", 2);
    // The terminal echoes the key as ^C, before or behind the shell's words.
    assert!(said.contains("interrupted: shell"), "{said}");
    assert_eq!(lines(&said, "slept").collect::<Vec<_>>(), ["130"], "{said}");
    assert_eq!(exit_code(&said), 5);
}
