//! Tests of commands and configs that cannot run: each is reported in one line, with an exit code for the kind of
//! fault.

use crate::exit_code;
use crate::root::{guest, root};

/// Commands that cannot run, with their exit codes and messages.
const COMMANDS: [(&str, i32, &str); 8] = [
    ("/none", 127, "/none: no such file"),
    ("none", 127, "none: not found in PATH (/bin:/odd)"),
    ("/odd/text", 126, "/odd/text: neither an ELF program nor a script with #!"),
    ("/odd/plain", 126, "/odd/plain: Permission denied (os error 13)"),
    ("plain", 126, "plain: /odd/plain: Permission denied (os error 13)"),
    ("/bin", 126, "/bin: Is a directory (os error 21)"),
    ("/odd/script", 127, "/odd/script: its interpreter /none/sh is not here"),
    ("/odd/loader", 127, "/odd/loader: its loader (the ELF interpreter that it names) is not here"),
];

/// Invalid configs, and their messages.
const CONFIGS: [(&str, &str); 7] = [
    ("", "/etc/vmroot/config.json: EOF while parsing a value at line 1 column 0"),
    (r#"{"cmd": 3}"#, "/etc/vmroot/config.json: invalid type: integer `3`, expected a sequence at line 1 column 9"),
    (r#"{}"#, "no command: the image has no entrypoint and no cmd, and the kernel's command line has nothing after --"),
    (r#"{"cmd": ["sh"], "user": "nobody"}"#, "no user \"nobody\" in /etc/passwd"),
    (r#"{"cmd": ["sh"], "user": "app:none"}"#, "no group \"none\" in /etc/group"),
    (r#"{"cmd": ["sh"], "workingDir": "/etc/passwd"}"#, "/etc/passwd: Not a directory (os error 20)"),
    (r#"{"cmd": ["sh"], "uid": 4294967295}"#, "/etc/vmroot/config.json: 4294967295 is no user and no group"),
];

/// Returns a program whose loader is missing: an ELF header, and a PT_INTERP.
fn program_without_its_loader() -> Vec<u8> {
    let loader = b"/none/ld.so\0";
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend([2, 0, 62, 0, 1, 0, 0, 0]); // executable, x86-64, version
    for word in [0x0040_0000_u64, 64, 0] {
        bytes.extend(word.to_le_bytes()); // entry, program headers, section headers
    }
    bytes.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]); // flags, sizes and counts
    bytes.extend([3, 0, 0, 0, 4, 0, 0, 0]); // PT_INTERP, readable
    for word in [120_u64, 120, 120, loader.len() as u64, loader.len() as u64, 1] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(loader);
    bytes
}

/// Tests all cases in one guest: PID 1 runs a script that starts the init in the role of PID 1's child, by its
/// `argv[0]`.
#[test]
fn each_fault_has_its_exit_code_and_message() {
    let Some((guest, init)) = guest("amd64") else { return };
    let play = "echo \"case: $( (exec -a vmroot-command /sbin/vmroot-init $1 2>&1); echo $?)\" | tr '\\n' ' '; echo";
    let mut script =
        format!("play() {{ {play}; }}\necho '{{\"env\": [\"PATH=/bin:/odd\"]}}' >/etc/vmroot/config.json\n");
    COMMANDS.iter().for_each(|(command, ..)| script.push_str(&format!("play {command}\n")));
    CONFIGS.iter().for_each(|(config, _)| {
        script.push_str(&format!("echo -n '{config}' >/etc/vmroot/config.json\nplay\n"));
    });
    // A config beyond the size limit.
    script.push_str(
        "(echo '{\"env\": [\"'; cat /dev/zero | head -c 8000000 | tr '\\0' x) >/etc/vmroot/config.json; play\n",
    );
    let root = root(&guest, init, r#"{"cmd": ["/bin/sh", "/check"]}"#, &script)
        .directory("odd", 0o755)
        .file("odd/text", 0o755, b"text\n")
        .file("odd/plain", 0o644, b"#!/bin/sh\n")
        .file("odd/script", 0o755, b"#!/none/sh -e\n")
        .file("odd/loader", 0o755, &program_without_its_loader());
    let output = guest.boot(root, "rdinit=/sbin/vmroot-init").finish();
    let mut cases = output.lines().filter_map(|line| line.strip_prefix("case: "));
    let configs = CONFIGS.iter().map(|(_, text)| (125, *text));
    let huge = (125, "/etc/vmroot/config.json: longer than 4194304 bytes");
    for (code, text) in COMMANDS.iter().map(|(_, code, text)| (*code, *text)).chain(configs).chain([huge]) {
        let case = cases.next().unwrap_or_else(|| panic!("nothing about {text:?} in:\n{output}"));
        assert_eq!(case.trim_end(), format!("[vmroot-init] error: {text} {code}"));
    }
    assert_eq!(exit_code(&output), 0);
}

#[test]
fn errors_of_the_child_are_reported() {
    let Some((guest, init)) = guest("amd64") else { return };
    let root = root(&guest, init, r#"{"cmd": ["/none"], "hostname": "a b"}"#, "");
    let output = guest.boot(root, "rdinit=/sbin/vmroot-init").finish();
    assert!(output.contains("[vmroot-init] error: /none: no such file\n"), "{output}");
    assert_eq!(exit_code(&output), 127);
}
