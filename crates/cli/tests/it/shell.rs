//! Help, completions and man pages, all made of one definition.

use std::fs;

use crate::program::Program;

const VERBS: [&str; 20] = [
    "pull",
    "load",
    "images",
    "inspect",
    "config",
    "rm",
    "gc",
    "df",
    "ls",
    "stat",
    "cat",
    "readlink",
    "resolve",
    "mount",
    "umount",
    "export",
    "layer",
    "verify",
    "completions",
    "man",
];

#[test]
fn help_names_every_verb() {
    let help = Program::new().ok(["--help"]);
    for verb in VERBS {
        assert!(help.lines().any(|line| line.trim_start().starts_with(verb)), "{verb}: {help}");
        Program::new().ok([verb, "--help"]);
    }
    assert!(Program::new().ok(["--version"]).starts_with("vmroot "));
}

#[test]
fn completions_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Program::new().ok(["completions", shell]);
        for verb in VERBS {
            assert!(script.contains(verb), "{shell}: {verb}");
        }
    }
}

#[test]
fn a_man_page_for_every_verb() {
    let program = Program::new();
    let directory = program.path("man");
    program.ok(["man", directory.to_str().unwrap()]);
    for verb in VERBS {
        let page = fs::read_to_string(directory.join(format!("vmroot-{verb}.1"))).unwrap();
        assert!(page.contains(".SH DESCRIPTION"), "{verb}");
    }
    assert!(directory.join("vmroot.1").exists());
}
