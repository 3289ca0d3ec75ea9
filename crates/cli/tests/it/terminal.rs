//! Escaping on a terminal: names, labels, variables and errors of a hostile image must not control the terminal. Pipes
//! get the bytes of results unchanged. Archives neither come from a terminal nor go to one.

use std::fs::File;
use std::io::Read;
use std::process::Command;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::json;
use vmroot_testkit::image::ImageBuilder;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::registry::{Auth, Registry};

use crate::program::{Program, for_amd64, wait_for};
use crate::samples::serve;

/// A name with an escape sequence that clears the screen, one of C1, an invalid byte, a line break, a tab, a carriage
/// return, DEL, and a change of writing direction.
const NAME: &[u8] = b"evil\x1b[2J \xc2\x9b31m \xff \n-\t-\r-\x7f \xe2\x80\xae.txt";
/// The name as it is printed on a terminal.
const SHOWN: &str = "evil\\x1b[2J \\u{9b}31m \\xff \\n-\\t-\\r-\\x7f \\u{202e}.txt";
/// Text of a config, which is UTF-8, and the same as it is printed on a terminal.
const TEXT: &str = "text\u{1b}]0;owned\u{7}\u{9b}\u{202e}\u{7f}\r\n";
const TEXT_SHOWN: &str = "text\\x1b]0;owned\\x07\\u{9b}\\u{202e}\\x7f\\r\\n";

struct Hostile {
    program: Program,
    image: String,
    /// An image without any files.
    empty: String,
    registry: Registry,
}

impl Hostile {
    fn new() -> Self {
        let registry = Registry::start();
        let layer = Layer::new([
            Entry::directory("d"),
            Entry::file([b"d/", NAME].concat(), "raw \x1b[31m\n").xattr([b"user.", NAME].concat(), NAME),
            Entry::symlink("link", NAME),
        ]);
        let image = ImageBuilder::new()
            .layer(&layer)
            .setting("Env", vec![format!("A={TEXT}")])
            .setting("Labels", json!({ TEXT: TEXT }))
            .setting("Cmd", vec![TEXT])
            .setting("WorkingDir", TEXT)
            .config_member("author", TEXT)
            .config_member("history", json!([{"created": TEXT, "created_by": TEXT, "comment": TEXT}]))
            .build();
        let image = serve(&registry, &image, "v1");
        let empty = serve(&registry, &ImageBuilder::new().layer(&Layer::new([])).build(), "empty");
        let program = Program::new();
        program.ok(["pull", &image, &empty, "--arch=amd64"]);
        Self { program, image, empty, registry }
    }

    fn command(&self, verb: &[&str]) -> Command {
        let arguments = verb.iter().map(|word| match *word {
            "IMAGE" => &self.image,
            "EMPTY" => &self.empty,
            word => word,
        });
        self.program.command(arguments.chain(for_amd64(verb[0]).iter().copied()))
    }
}

/// Runs a command with a terminal as standard output and standard error, and returns the bytes that the terminal got.
fn at_a_terminal(command: Command) -> Vec<u8> {
    with_terminal(command, false)
}

/// Runs a command as [`at_a_terminal`] does, with the terminal as standard input too, if `reads` is set.
fn with_terminal(mut command: Command, reads: bool) -> Vec<u8> {
    let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&near).unwrap();
    unlockpt(&near).unwrap();
    let name = ptsname(&near, Vec::new()).unwrap();
    let far = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    if reads {
        command.stdin(far.try_clone().unwrap());
    }
    command.env("TERM", "xterm").stdout(far.try_clone().unwrap()).stderr(far);
    let mut child = command.spawn().unwrap();
    drop(command);
    let (mut near, mut sent, mut buffer) = (File::from(near), Vec::new(), [0; 4096]);
    // Reading fails once all descriptors of the other side are closed.
    while let Ok(count) = near.read(&mut buffer) {
        sent.extend_from_slice(&buffer[..count]);
    }
    wait_for(&mut child);
    sent
}

/// Returns whether a terminal would only show these bytes. A terminal ends lines with a carriage return of its own.
fn is_harmless(sent: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(sent) else { return false };
    let text = text.replace("\r\n", "\n");
    !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t') || matches!(c, '\u{202a}'..='\u{202e}'))
}

#[test]
fn no_command_sends_control_characters_to_a_terminal() {
    let hostile = Hostile::new();
    let layer = hostile.program.path("layer.tar");
    let tar = Layer::new([Entry::file(NAME, "")]).to_tar(&vmroot_testkit::layer::Encoding::default());
    std::fs::write(&layer, tar).unwrap();
    let indexed = hostile.program.path("indexed");
    let diff_id = hostile.program.ok([
        "layer".as_ref(),
        "index".as_ref(),
        layer.as_os_str(),
        "--output".as_ref(),
        indexed.as_os_str(),
    ]);
    let index = indexed.join(format!("{}.idx", diff_id.trim().trim_start_matches("sha256:")));
    let path = format!("d/{}", String::from_utf8_lossy(NAME));
    let missing = format!("no/such/{TEXT}");
    for (verb, shown) in [
        (&["ls", "IMAGE", "d"][..], SHOWN),
        (&["ls", "-l", "IMAGE", "/"], SHOWN),
        (&["ls", "-R", "IMAGE"], SHOWN),
        (&["ls", "--json", "IMAGE", "/"], "\\\\x1b[2J"),
        (&["stat", "IMAGE", "link"], SHOWN),
        (&["readlink", "IMAGE", "link"], SHOWN),
        (&["diff", "EMPTY", "IMAGE"], SHOWN),
        (&["diff", "--json", "IMAGE", "EMPTY"], "\\\\x1b[2J"),
        (&["why", "IMAGE", "link"], SHOWN),
        (&["why", "--json", "IMAGE", "link"], "\\u001b]0;owned"),
        (&["history", "IMAGE"], "text\\x1b]0;owned\\x07"),
        (&["history", "--no-trunc", "--format={{.Comment}}", "IMAGE"], "text\\x1b]0;owned\\x07"),
        (&["inspect", "IMAGE"], TEXT_SHOWN),
        (&["inspect", "--json", "IMAGE"], "\\u001b]0;owned\\u0007\\u009b\\u202e\\u007f\\r\\n"),
        (&["config", "IMAGE"], "\\u001b]0;owned\\u0007\\u009b\\u202e\\u007f\\r\\n"),
        (&["config", "--raw", "IMAGE"], "\\u{9b}"),
        (&["images"], "REFERENCE"),
        (&["images", "--json"], "linux/amd64"),
        (&["layer", "dump", index.to_str().unwrap()], "evil\\x1B[2J"),
        (&["cat", "IMAGE", &missing], "no such file"),
        (&["ls", "IMAGE", &path], "no such file"),
        (&["export", "--quiet", "--strict", "IMAGE", TEXT, "--format=cpio"], "(a cpio has none)"),
        (&["pull", TEXT], "invalid image reference"),
    ] {
        let sent = at_a_terminal({
            let mut command = hostile.command(verb);
            command.current_dir(hostile.program.path(""));
            command
        });
        let text = String::from_utf8_lossy(&sent);
        assert!(is_harmless(&sent), "{verb:?}: {text:?}");
        assert!(text.contains(shown), "{verb:?}, {shown:?}: {text:?}");
    }
    // File contents are printed unchanged.
    let resolved = String::from_utf8_lossy(&at_a_terminal(hostile.command(&["cat", "IMAGE", "d/none"]))).into_owned();
    assert!(resolved.contains("no such file"), "{resolved}");
}

/// `ls | xargs` works with every name.
#[test]
fn pipes_get_bytes_unchanged() {
    let hostile = Hostile::new();
    let run = |verb: &[&str]| hostile.command(verb).output().unwrap().stdout;
    assert_eq!(run(&["ls", "IMAGE", "d"]), [NAME, b"\n"].concat());
    assert_eq!(run(&["readlink", "IMAGE", "link"]), [NAME, b"\n"].concat());
    assert_eq!(run(&["diff", "EMPTY", "IMAGE"]), [b"A /d\nA /d/", NAME, b"\nA /link\n"].concat());
    assert!(run(&["inspect", "IMAGE"]).windows(TEXT.len()).any(|part| part == TEXT.as_bytes()));
    let raw = run(&["config", "--raw", "IMAGE"]);
    assert!(serde_json::from_slice::<serde_json::Value>(&raw).unwrap()["author"] == TEXT);
    let path = [b"d/", NAME].concat();
    let mut cat = hostile.program.command(["cat".as_bytes(), hostile.image.as_bytes(), &path].map(as_os_str_of));
    assert_eq!(cat.arg("--arch=amd64").output().unwrap().stdout, b"raw \x1b[31m\n");
}

/// A message is one line, so that a name cannot forge a line of a log.
#[test]
fn messages_are_one_line_in_pipes_too() {
    let program = Program::new();
    let name = format!("missing{TEXT}vmroot: forged");
    let message = program.fails(3, ["load", &name]);
    assert_eq!(message.lines().count(), 1, "{message:?}");
    assert!(is_harmless(message.as_bytes()) && message.contains("\\nvmroot: forged"), "{message:?}");
}

#[test]
fn archives_neither_come_from_a_terminal_nor_go_to_one() {
    let hostile = Hostile::new();
    for (verb, shown) in [
        (&["load", "-"][..], "standard input is a terminal"),
        (&["pull", "tarball:-"], "standard input is a terminal"),
        (&["pull", "docker-archive:/dev/stdin"], "standard input is a terminal"),
        (&["commit", "IMAGE", "-"], "standard input is a terminal"),
        (&["layer", "index", "-", "--output=index"], "standard input is a terminal"),
        (&["save", "IMAGE"], "does not go to a terminal"),
        (&["save", "IMAGE", "--output=/dev/stdout"], "/dev/stdout is a terminal"),
        (&["export", "IMAGE", "/dev/stdout", "--format=tar"], "/dev/stdout is a terminal"),
        (&["copy", "vmroot:demo", "docker-archive:/dev/stdout"], "/dev/stdout is a terminal"),
    ] {
        let mut command = hostile.command(verb);
        command.current_dir(hostile.program.path(""));
        let sent = with_terminal(command, true);
        let text = String::from_utf8_lossy(&sent);
        assert!(text.contains(shown) && is_harmless(&sent), "{verb:?}: {text:?}");
    }
}

fn as_os_str_of(bytes: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

/// Log lines have colours only on a terminal, and not with `NO_COLOR`.
#[test]
fn log_lines_have_colours_only_on_a_terminal() {
    let hostile = Hostile::new();
    hostile.registry.require(Auth::basic("user", "secret"));
    let host = hostile.registry.host();
    let auth = hostile.program.file("auth.json", json!({"credHelpers": {host: "none"}}).to_string());
    let coloured = |sent: &[u8]| sent.contains(&0x1b);
    let pull = || hostile.command(&["--authfile", auth.to_str().unwrap(), "pull", "IMAGE"]);
    let answer = pull().output().unwrap();
    let log = String::from_utf8(answer.stderr).unwrap();
    assert!(log.starts_with(" WARN continuing without"), "{log:?}");
    assert!(!log.contains("\x1b[33m"), "{log:?}");
    let sent = String::from_utf8(at_a_terminal(pull())).unwrap();
    assert!(sent.starts_with("\x1b[33m WARN\x1b[0m continuing without"), "{sent:?}");
    // The module is only logged with -vv.
    let detailed = hostile.command(&["-vv", "--authfile", auth.to_str().unwrap(), "pull", "IMAGE"]).output().unwrap();
    assert!(String::from_utf8(detailed.stderr).unwrap().contains("DEBUG vmroot_registry::"));
    assert!(!log.contains("::"), "{log:?}");
    let mut without = pull();
    without.env("NO_COLOR", "1");
    let sent = at_a_terminal(without);
    assert!(!coloured(&sent), "{}", String::from_utf8_lossy(&sent));
}
