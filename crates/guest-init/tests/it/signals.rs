//! Tests of signals to PID 1, keys at the console, and the shutdown.

use crate::root::{guest, root};
use crate::{exit_code, lines};

#[test]
fn signals_reach_the_command_and_its_leftovers_end() {
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
    let output = guest.boot(root(&guest, init, config, script), "rdinit=/sbin/vmroot-init").finish();
    let got: Vec<_> = lines(&output, "got").collect();
    assert_eq!(got, ["HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "WINCH", "TERM"], "{output}");
    assert_eq!(lines(&output, "asked").collect::<Vec<_>>(), ["to end"], "{output}");
    assert_eq!(exit_code(&output), 128 + 9);
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
    // The message comes two seconds late: a key before the start of the sleep would not end the sleep.
    console.wait_for("asleep: now", 1);
    console.send("\u{3}");
    // `vmroot.reboot` restarts the guest, so it runs a second time.
    let output = console.wait_for("asleep: now", 2);
    // The terminal echoes the key as ^C, before or after the shell's output.
    assert!(output.contains("interrupted: shell"), "{output}");
    assert_eq!(lines(&output, "slept").collect::<Vec<_>>(), ["130"], "{output}");
    assert_eq!(exit_code(&output), 5);
}
