//! The examples of the README and of the page on QEMU run as they are written, and print what these say.
//!
//! They are its ```` ```console ```` blocks, run in order by one shell. A word after `console` names what a block needs
//! and a machine may lack. Where a command has output under it, that is compared: `…` stands for anything, and for any
//! lines where it is one.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use vmroot_testkit::guest::{GUESTS, Guest};
use vmroot_testkit::registry::{Auth, PlainAnswer, Registry};
use vmroot_testkit::skip;

const DONE: &str = "==== done:";

/// A block of the README.
struct Block {
    needs: String,
    commands: Vec<Example>,
}

/// A command and the lines under it.
struct Example {
    command: String,
    output: Vec<String>,
}

#[test]
fn the_examples_of_the_readme_work() {
    let plain = Registry::start();
    let private = Registry::start_tls(PlainAnswer::BadRequest);
    private.require(Auth::basic("demo", "secret"));
    for registry in [&plain, &private] {
        registry.put_layout(&checkout().join("testdata/demo"), "demo").unwrap();
    }
    let port = |registry: &Registry| registry.host().rsplit_once(':').unwrap().1.to_owned();
    let readme = page("README.md").replace("localhost:5000", &format!("localhost:{}", port(&plain)));
    let readme = readme.replace("localhost:5443", &format!("localhost:{}", port(&private)));
    examples_work(&readme, 20);
}

#[test]
fn the_examples_of_the_page_on_qemu_work() {
    examples_work(&page("docs/hypervisors/qemu.md"), 5);
}

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

fn page(name: &str) -> String {
    fs::read_to_string(checkout().join(name)).unwrap()
}

/// Runs a page's examples, `least` at least where nothing is lacking, in a checkout of their own.
fn examples_work(page: &str, least: usize) {
    let directory = tempfile::tempdir().unwrap();
    make_checkout(directory.path());
    let blocks = blocks(page);
    assert!(blocks.iter().map(|block| block.commands.len()).sum::<usize>() >= least);
    let examples: Vec<Example> =
        blocks.into_iter().filter(|block| !lacks(&block.needs)).flat_map(|block| block.commands).collect();
    let printed = run(&examples, directory.path());
    for (example, (status, printed)) in examples.iter().zip(&printed) {
        assert_eq!(status, "0", "{}\n{printed}", example.command);
        let printed: Vec<&str> = printed.lines().collect();
        let output: Vec<&str> = example.output.iter().map(String::as_str).collect();
        assert!(
            output.is_empty() || lines_match(&output, &printed),
            "{}\n{}\nis said to print\n{}",
            example.command,
            printed.join("\n"),
            output.join("\n")
        );
    }
    assert_eq!(printed.len(), examples.len(), "the shell stopped after {:?}", printed.last());
}

/// What the examples use of a checkout, with the program under test.
fn make_checkout(directory: &Path) {
    for name in ["testdata", "crates", "README.md"] {
        symlink(checkout().join(name), directory.join(name)).unwrap();
    }
    fs::create_dir_all(directory.join("target/release")).unwrap();
    symlink(env!("CARGO_BIN_EXE_vmroot"), directory.join("target/release/vmroot")).unwrap();
    let guests = std::env::var_os(GUESTS).map_or_else(|| checkout().join("target/guest"), PathBuf::from);
    symlink(guests, directory.join("target/guest")).unwrap();
}

fn blocks(readme: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        match (inside, line.strip_prefix("```console")) {
            (false, Some(needs)) => {
                blocks.push(Block { needs: needs.trim().to_owned(), commands: Vec::new() });
                inside = true;
            }
            (true, _) if line == "```" => inside = false,
            (true, _) => {
                let commands = &mut blocks.last_mut().unwrap().commands;
                match line.strip_prefix("$ ") {
                    Some(command) => commands.push(Example { command: command.to_owned(), output: Vec::new() }),
                    None => commands.last_mut().expect("a command first").output.push(line.to_owned()),
                }
            }
            (false, None) => {}
        }
    }
    blocks
}

fn lacks(needs: &str) -> bool {
    match needs {
        "" | "registry" => false,
        "fuse" => {
            let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
            if device.is_err() {
                return skip::because("needs /dev/fuse");
            }
            !rustix::process::geteuid().is_root() && skip::needs_program("fusermount3")
        }
        "guest" => Guest::of("amd64").is_none(),
        other => panic!("nobody knows what {other:?} needs"),
    }
}

/// Runs the commands in one shell, so that what one exports the next one has; gives each one's status and output.
fn run(examples: &[Example], directory: &Path) -> Vec<(String, String)> {
    let mut script = "exec 2>&1\n".to_owned();
    for Example { command, .. } in examples {
        write!(script, "{command}\necho \"{DONE} $?\"\n").unwrap();
    }
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).current_dir(directory).env_remove("VMROOT_CACHE").env_remove("VMROOT_CREDS");
    let output = shell.output().unwrap();
    // A guest's console ends its lines as terminals do.
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

/// Whether lines are as `pattern` has them; `…` alone matches any number of lines.
fn lines_match(pattern: &[&str], lines: &[&str]) -> bool {
    match (pattern, lines) {
        ([], []) => true,
        (["…", rest @ ..], _) => (0..=lines.len()).any(|skipped| lines_match(rest, &lines[skipped..])),
        ([first, rest @ ..], [line, below @ ..]) => line_matches(first, line) && lines_match(rest, below),
        _ => false,
    }
}

/// Whether a line is as `pattern` has it; `…` matches anything in it.
fn line_matches(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut last = None;
    for part in parts {
        last = Some(part);
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    last.map_or(rest.is_empty(), |last| last.is_empty() || line.ends_with(last))
}

#[test]
fn dots_match_anything() {
    assert!(lines_match(&["a", "…", "z"], &["a", "z"]));
    assert!(lines_match(&["a", "…", "z"], &["a", "b", "c", "z"]));
    assert!(!lines_match(&["a", "…", "z"], &["a", "b"]));
    assert!(line_matches("freed … in … files", "freed 3 B in 2 files"));
    assert!(line_matches("freed …", "freed 3 B"));
    assert!(!line_matches("freed … files", "freed 3 files, no more"));
    assert!(line_matches("… 0 damaged", "all of it, 0 damaged"));
    assert!(!line_matches("exact", "exactly"));
}
