//! Help, completions and man pages.

use std::fs;
use std::process::Command;

use vmroot_testkit::skip;

use crate::program::Program;

const COMMANDS: [&str; 25] = [
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
    "cp",
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
fn every_command_has_a_man_page() {
    let program = Program::new();
    let directory = program.path("man");
    program.ok(["man", directory.to_str().unwrap()]);
    let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    for command in COMMANDS {
        let page = read(&format!("vmroot-{command}.1"));
        for section in
            ["SYNOPSIS", "DESCRIPTION", "\"GLOBAL OPTIONS\"", "\"EXIT STATUS\"", "ENVIRONMENT", "\"SEE ALSO\""]
        {
            assert!(page.contains(&format!("\n.SH {section}\n")), "{command} has no {section}");
        }
    }
    assert!(read("vmroot.1").contains("vmroot\\-pull(1)"));
    assert!(read("vmroot-layer-index.1").contains("\\fBvmroot\\-layer\\fR(1)"));
    assert!(read("vmroot-pull.1").contains("containers/auth.json"));
    assert!(read("vmroot-completions.1").contains("\n.SH EXAMPLES\n"));
    assert!(read("vmroot-boot.1").contains("the guest"));
}

/// groff warns about unknown macros, missing arguments and characters that it cannot show.
#[test]
fn man_pages_have_no_faults() {
    if skip::needs_program("groff") {
        return;
    }
    let program = Program::new();
    let directory = program.path("man");
    program.ok(["man", directory.to_str().unwrap()]);
    let mut pages = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let page = entry.unwrap().path();
        let shown = Command::new("groff").args(["-man", "-ww", "-Kutf8", "-Tutf8"]).arg(&page).output().unwrap();
        let warnings = String::from_utf8_lossy(&shown.stderr);
        assert!(shown.status.success() && warnings.is_empty(), "{}: {warnings}", page.display());
        let text = String::from_utf8_lossy(&shown.stdout);
        assert!(text.contains("vmroot"), "{}: {text}", page.display());
        pages += 1;
    }
    assert!(pages > COMMANDS.len());
}
