//! A person at a shell: completion with TAB, and programs in the background.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use vmroot_testkit::image::docker_archive::{self, Layout};
use vmroot_testkit::registry::{Fault, Registry, Rule};
use vmroot_testkit::skip;

use crate::mounted::cannot_mount;
use crate::program::Program;
use crate::samples::{image, noisy, serve};
use crate::screen::Terminal;

/// The first words of an interactive bash.
const BASH: &str = r"PS1='$ '
bind 'set enable-bracketed-paste off'
bind 'set bell-style none'
bind 'set page-completions off'
bind 'set completion-query-items -1'
set +o history
source <(vmroot completions bash)
";

/// Starts a shell as the owner of a terminal, with the cache of a program.
fn start(program: &Program, words: &[&str]) -> Terminal {
    let programs = program.path("bin");
    fs::create_dir_all(&programs).unwrap();
    symlink(env!("CARGO_BIN_EXE_vmroot"), programs.join("vmroot")).unwrap();
    let mut command = Command::new("setsid");
    command.args(["--ctty", "--wait"]).args(words).env_clear().current_dir(program.path("."));
    command.env("PATH", format!("{}:{}", programs.display(), std::env::var("PATH").unwrap()));
    command.env("HOME", program.path(".")).env("VMROOT_CACHE", program.cache());
    Terminal::start(command, 100, 50)
}

fn bash(program: &Program) -> Terminal {
    let file = program.file("bashrc", BASH);
    let terminal = start(program, &["bash", "--noprofile", "--rcfile", file.to_str().unwrap(), "-i"]);
    wait_for_prompt(&terminal);
    terminal
}

/// Waits until the shell takes a command.
fn wait_for_prompt(terminal: &Terminal) {
    terminal.wait("the prompt", |lines| lines.last().is_some_and(|line| line == "$"));
}

/// Presses TAB after each text, and waits for the whole line.
fn complete(terminal: &Terminal, cases: &[(&str, &str)]) {
    for (typed, expected) in cases {
        terminal.send(&format!("{typed}\t"));
        let expected = format!("$ {expected}");
        terminal.wait(&expected, |lines| lines.last().is_some_and(|line| *line == expected.trim_end()));
        // A blank after a whole word is only seen by the next letter.
        if expected.ends_with(' ') {
            terminal.send("x");
            terminal.wait(&expected, |lines| lines.last().is_some_and(|line| *line == format!("{expected}x")));
        }
        // Removes the line.
        terminal.send("\x05\x15");
        wait_for_prompt(terminal);
    }
}

/// Returns a program whose cache has three images.
fn with_images() -> Program {
    let program = Program::new();
    let image = image("amd64");
    let archive = docker_archive::write(&[(&image, &["demo:v1", "demo:v2", "team/app:1"])], Layout::Docker25);
    let archive = program.file("archive.tar", archive);
    program.ok(["load".as_ref(), archive.as_os_str(), "--arch=amd64".as_ref()]);
    program
}

#[test]
fn tab_completes_commands_images_and_paths() {
    if skip::needs_program("bash") || skip::needs_program("setsid") {
        return;
    }
    let program = with_images();
    let terminal = bash(&program);
    complete(
        &terminal,
        &[
            ("vmroot expo", "vmroot export "),
            ("vmroot lease rel", "vmroot lease release "),
            ("vmroot gc --dang", "vmroot gc --dangling "),
            ("vmroot ls dem", "vmroot ls demo:v"),
            ("vmroot ls tea", "vmroot ls team/app:1 "),
            ("vmroot copy vmroot:tea", "vmroot copy vmroot:team/app:1 "),
            ("vmroot ls team/app:1 /us", "vmroot ls team/app:1 /usr/"),
            ("vmroot cat demo:v1 /etc/mo", "vmroot cat demo:v1 /etc/motd "),
            ("vmroot cp demo:v1:/etc/mo", "vmroot cp demo:v1:/etc/motd "),
            ("vmroot load arch", "vmroot load archive.tar "),
            ("vmroot export --format=tar.g", "vmroot export --format=tar.gz "),
        ],
    );
    // The first TAB completes the beginning. Of two further ones, bash takes the second as a wish for the list.
    terminal.send("vmroot rm demo:\t\t\t");
    let lines = terminal.wait("the list", |lines| {
        lines.iter().any(|line| line.split_whitespace().eq(["v1", "v2"]))
            && lines.last().is_some_and(|line| line == "$ vmroot rm demo:v")
    });
    assert!(!lines.iter().any(|line| line.contains("error")), "{lines:#?}");
    terminal.send("1 --arch=amd64\r");
    terminal.wait("the command", |lines| lines.iter().any(|line| line.ends_with("demo:v1")));
    terminal.send("exit\r");
    assert_eq!(terminal.finish().0, Some(0));
}

#[test]
fn tab_completes_mounts() {
    if skip::needs_program("bash") || skip::needs_program("setsid") || cannot_mount() {
        return;
    }
    let program = with_images();
    for name in ["place-one", "place-two"] {
        fs::create_dir(program.path(name)).unwrap();
    }
    // Of two directories, one is mounted.
    let place = program.path("place-two").display().to_string();
    program.ok(["mount", "demo:v1", &place, "--detach", "--driver=fuse", "--arch=amd64"]);
    let terminal = bash(&program);
    let typed = format!("vmroot umount {}", program.path("pl").display());
    complete(&terminal, &[(&typed, &format!("vmroot umount {place} "))]);
    terminal.send(&format!("{typed}\t\r"));
    terminal.wait("the end of the mount", |_| fs::read_dir(&place).unwrap().next().is_none());
    terminal.send("exit\r");
    terminal.finish();
}

/// The script that zsh or fish sources asks for candidates as [`super::completing`] checks them.
#[test]
fn scripts_of_other_shells_parse() {
    let program = with_images();
    for shell in ["zsh", "fish"] {
        let script = program.file(&format!("script.{shell}"), program.ok(["completions", shell]));
        if !skip::needs_program(shell) {
            let output = Command::new(shell).arg("-n").arg(&script).output().unwrap();
            assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// Returns a registry that sends the first half of a layer, and nothing for a while after that.
fn stalled() -> (Registry, String) {
    let registry = Registry::start();
    let image = noisy(1, 1 << 20);
    let reference = serve(&registry, &image, "v1");
    let stall = Fault::StallAfter(1 << 19, Duration::from_secs(6));
    registry.misbehave(Rule::on(&image.layers[0].digest.hex()).method("GET").times(1).fault(stall));
    (registry, reference)
}

fn has_rows(lines: &[String]) -> bool {
    lines.iter().any(|line| line.starts_with("fetching") || line.starts_with("waiting") || line.starts_with("total"))
}

/// Returns the lines after the last one that begins with this text.
fn after<'a>(lines: &'a [String], text: &str) -> &'a [String] {
    let last = lines.iter().rposition(|line| line.starts_with(text));
    last.map_or(&[], |last| &lines[last + 1..])
}

/// A program in the background leaves the terminal to the shell.
#[test]
fn rows_are_drawn_only_in_the_foreground() {
    if skip::needs_program("bash") || skip::needs_program("setsid") {
        return;
    }
    let (_registry, reference) = stalled();
    let program = Program::new();
    let terminal = bash(&program);
    terminal.send(&format!("vmroot pull {reference} --arch=amd64\r"));
    terminal.wait("rows", has_rows);
    // Ctrl-Z.
    terminal.send("\x1a");
    terminal.wait("the stop", |lines| lines.iter().any(|line| line.contains("Stopped")));
    terminal.send("bg\r");
    terminal.send("echo mark$((1 + 1))\r");
    terminal.wait("the echo", |lines| lines.iter().any(|line| line == "mark2"));
    let lines = terminal.wait("the id", |lines| {
        assert!(!has_rows(after(lines, "mark2")), "{lines:#?}");
        after(lines, "mark2").iter().any(|line| line.contains("sha256:"))
    });
    assert!(!has_rows(after(&lines, "mark2")), "{lines:#?}");
    terminal.send("exit\r");
    terminal.finish();
}

#[test]
fn rows_appear_when_a_program_comes_to_the_foreground() {
    if skip::needs_program("bash") || skip::needs_program("setsid") {
        return;
    }
    let (_registry, reference) = stalled();
    let program = Program::new();
    let terminal = bash(&program);
    terminal.send(&format!("vmroot pull {reference} --arch=amd64 &\r"));
    terminal.wait("the job", |lines| lines.iter().any(|line| line.starts_with("[1]")));
    terminal.send("fg\r");
    terminal.wait("rows", has_rows);
    let lines = terminal.wait("the id", |lines| lines.iter().any(|line| line.starts_with("sha256:")));
    assert!(!has_rows(&lines), "{lines:#?}");
    terminal.send("exit\r");
    terminal.finish();
}
