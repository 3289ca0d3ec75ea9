//! Help, completions and man pages.

use std::fs;

use crate::program::Program;

const COMMANDS: [&str; 24] = [
    "pull",
    "load",
    "images",
    "inspect",
    "config",
    "rm",
    "gc",
    "lease",
    "df",
    "ls",
    "stat",
    "cat",
    "readlink",
    "resolve",
    "diff",
    "why",
    "history",
    "mount",
    "umount",
    "export",
    "layer",
    "verify",
    "completions",
    "man",
];

#[test]
fn help_lists_every_command() {
    let help = Program::new().ok(["--help"]);
    for command in COMMANDS {
        assert!(help.lines().any(|line| line.trim_start().starts_with(command)), "{command}: {help}");
        Program::new().ok([command, "--help"]);
    }
    assert!(Program::new().ok(["--version"]).starts_with("vmroot "));
}

#[test]
fn completions_name_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Program::new().ok(["completions", shell]);
        for command in COMMANDS {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
}

#[test]
fn every_command_has_a_man_page() {
    let program = Program::new();
    let directory = program.path("man");
    program.ok(["man", directory.to_str().unwrap()]);
    for command in COMMANDS {
        let page = fs::read_to_string(directory.join(format!("vmroot-{command}.1"))).unwrap();
        assert!(page.contains(".SH DESCRIPTION"), "{command}");
    }
    assert!(directory.join("vmroot.1").exists());
}
