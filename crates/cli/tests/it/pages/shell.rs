//! Running the blocks of a page in order, in one shell.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use vmroot_testkit::guest::{GUESTS, Guest};
use vmroot_testkit::skip;

use super::page::{Block, Kind, checkout};
use super::pattern::lines_match;

const DONE: &str = "==== done:";

/// A stand-in for a VMM. It checks that the files of its command line exist, and waits a moment for sockets. It also
/// checks the files that a configuration file names.
const STAND_IN: &str = r#"#!/bin/sh
check() {
    for name in $(printf '%s\n' "$1" | tr ' ,="' '\n\n\n\n'); do
        case $name in
        *.sock) tries=0; while [ ! -S "$name" ] && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done ;;
        esac
        case $name in
        root.*|try/*|*.json) [ -e "$name" ] || { echo "no $name for $0" >&2; exit 1; } ;;
        esac
        case $name in *.json) check "$(cat "$name")" ;; esac
    done
}
for word; do check "$word" || exit 1; done
"#;

/// A command or a block of commands, and the expected output.
struct Step {
    line: usize,
    script: String,
    output: Vec<String>,
}

/// Runs a page's blocks in a checkout of their own, and returns the number of steps, including skipped ones.
pub(super) fn run_page(name: &str, page: &str) -> usize {
    let directory = tempfile::tempdir().unwrap();
    make_checkout(directory.path());
    let mut steps = Vec::new();
    let mut all = 0;
    for block in Block::all(page) {
        let line = block.line;
        let of_block: Vec<Step> = match &block.kind {
            Kind::Console(_) => {
                let examples = block.examples().into_iter();
                examples.map(|example| Step { line, script: example.command, output: example.output }).collect()
            }
            Kind::StandIn(program) => {
                stand_in(&directory.path().join("stand-ins"), program);
                print_line(&format!("{name}:{line}: a stand-in for {program} takes its command line"));
                // Programs that it leaves in the background end with it.
                let end = "trap 'test -z \"$!\" || kill $! 2>/dev/null; wait' EXIT";
                let path = "PATH=$STAND_INS:$PATH";
                let script = format!("(\nset -e\n{end}\n{path}\n{}\n)", block.lines.join("\n"));
                vec![Step { line, script, output: Vec::new() }]
            }
            Kind::NotRun(reason) => {
                print_line(&format!("{name}:{line}: not run: {reason}"));
                continue;
            }
            Kind::Rust | Kind::Json | Kind::Text => continue,
        };
        all += of_block.len();
        if !matches!(&block.kind, Kind::Console(need) if is_unavailable(need)) {
            steps.extend(of_block);
        }
    }
    check(name, &steps, &run(&steps, directory.path()));
    all
}

/// Prints a line. The test harness shows it for failed tests, and with --nocapture.
pub(crate) fn print_line(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn check(name: &str, steps: &[Step], printed: &[(String, String)]) {
    for (step, (status, printed)) in steps.iter().zip(printed) {
        let place = format!("{name}:{}: {}", step.line, step.script);
        assert_eq!(status, "0", "{place}\n{printed}");
        let lines: Vec<&str> = printed.lines().collect();
        let output: Vec<&str> = step.output.iter().map(String::as_str).collect();
        assert!(
            output.is_empty() || lines_match(&output, &lines),
            "{place}\n{printed}\nis documented to print\n{}",
            output.join("\n")
        );
    }
    assert_eq!(printed.len(), steps.len(), "{name}: the shell stopped after {:?}", printed.last());
}

/// Creates the files of a checkout that the examples use, with the program under test.
fn make_checkout(directory: &Path) {
    for name in ["testdata", "crates", "README.md"] {
        symlink(checkout().join(name), directory.join(name)).unwrap();
    }
    fs::create_dir_all(directory.join("target/release")).unwrap();
    symlink(env!("CARGO_BIN_EXE_vmroot"), directory.join("target/release/vmroot")).unwrap();
    let guests = std::env::var_os(GUESTS).map_or_else(|| checkout().join("target/guest"), PathBuf::from);
    symlink(guests, directory.join("target/guest")).unwrap();
}

fn stand_in(directory: &Path, program: &str) {
    fs::create_dir_all(directory).unwrap();
    let path = directory.join(program);
    fs::write(&path, STAND_IN).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
}

fn is_unavailable(need: &str) -> bool {
    match need {
        "" | "registry" => false,
        "fuse" => {
            let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
            if device.is_err() {
                return skip::because("needs /dev/fuse");
            }
            !rustix::process::geteuid().is_root() && skip::needs_program("fusermount3")
        }
        "view" => skip::needs_root() || is_unavailable("fuse"),
        "guest" => Guest::of("amd64").is_none(),
        other => panic!("unknown need {other:?}"),
    }
}

/// Runs the steps in one shell, so that later steps see the variables of earlier ones. Returns the status and output of
/// each.
fn run(steps: &[Step], directory: &Path) -> Vec<(String, String)> {
    let mut script = "exec 2>&1\n".to_owned();
    for Step { script: step, .. } in steps {
        write!(script, "{step}\necho \"{DONE} $?\"\n").unwrap();
    }
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).current_dir(directory).env_remove("VMROOT_CACHE").env_remove("VMROOT_CREDS");
    shell.env("STAND_INS", directory.join("stand-ins"));
    let temporary = directory.join("tmp");
    fs::create_dir(&temporary).unwrap();
    shell.env("TMPDIR", temporary);
    // The pages show results. A user's terminal has no bars at the end either.
    shell.env("VMROOT_PROGRESS", "none");
    let output = shell.output().unwrap();
    // A guest's console ends its lines with CR LF.
    let text = String::from_utf8(output.stdout).unwrap().replace('\r', "");
    let mut printed = Vec::new();
    let mut lines = String::new();
    for line in text.lines() {
        match line.split_once(DONE) {
            Some((rest, status)) => {
                printed.push((status.trim().to_owned(), std::mem::take(&mut lines) + rest));
            }
            None => lines += &format!("{line}\n"),
        }
    }
    printed
}
