//! Readers of standard output that close the pipe before the end.

use std::io::Read;
use std::process::Stdio;

use vmroot_testkit::image::ImageBuilder;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::sample::noise;

use crate::program::{Program, for_amd64, wait_for};
use crate::samples::serve;

/// The size of the image's file in bytes, larger than any pipe.
const LARGE: usize = 4 << 20;

/// Runs a command whose reader takes one byte and closes the pipe. Returns the exit code and standard error.
fn cut_short(program: &Program, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = program.command(arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0]).unwrap();
    drop(stdout);
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    (wait_for(&mut child).code(), stderr)
}

#[test]
fn closed_pipe_has_a_code_for_archives_and_exports_only() {
    let registry = Registry::start();
    // More names than a pipe holds, and a file that cannot be compressed.
    let names = (0..20_000).map(|number| Entry::file(format!("directory/{number:0100}"), ""));
    let layer = Layer::new(names.chain([Entry::file("large", noise(1, LARGE))]));
    let image = ImageBuilder::new().setting("Labels", serde_json::json!({"x": "y".repeat(LARGE / 4)})).layer(&layer);
    let image = serve(&registry, &image.build(), "v1");
    let program = Program::new();
    program.ok(["pull", &image, "--arch=amd64"]);
    for format in ["tar", "tar.gz", "tar.zst", "cpio", "cpio.gz", "cpio.zst"] {
        for out in ["-", "/dev/stdout"] {
            let format = format!("--format={format}");
            let (code, stderr) = cut_short(&program, &["export", &image, out, &format, "--arch=amd64"]);
            assert_eq!((code, stderr.as_str()), (Some(141), ""), "{format} {out}");
        }
    }
    let upper = program.path("upper");
    std::fs::create_dir(&upper).unwrap();
    std::fs::write(upper.join("large"), noise(2, LARGE)).unwrap();
    let (code, stderr) = cut_short(&program, &["export", "--from-upper", upper.to_str().unwrap(), "-"]);
    assert_eq!((code, stderr.as_str()), (Some(141), ""));
    let to_stdout = ["export", &image, "/dev/null", "--format=tar", "--config-out=/dev/stdout", "--arch=amd64"];
    let (code, stderr) = cut_short(&program, &to_stdout);
    assert_eq!((code, stderr.as_str()), (Some(141), ""));
    let source = format!("{image}:/");
    for verb in [&["save", &image][..], &["cp", &source, "-"], &["--json", "save", &image]] {
        let (code, stderr) = cut_short(&program, verb);
        assert_eq!((code, stderr.as_str()), (Some(141), ""), "{verb:?}");
    }

    let layer = program.file("layer.tar", layer.to_tar(&vmroot_testkit::layer::Encoding::default()));
    let indexed = program.path("indexed");
    let indexed = indexed.to_str().unwrap();
    let diff_id = program.ok(["layer", "index", layer.to_str().unwrap(), "--output", indexed]);
    let index = format!("{indexed}/{}.idx", diff_id.trim().trim_start_matches("sha256:"));
    for verb in [
        &["ls", &image, "directory"][..],
        &["ls", "-R", &image],
        &["ls", "--json", &image, "directory"],
        &["cat", &image, "large"],
        &["inspect", &image],
        &["inspect", "--json", &image],
        &["config", &image],
        &["config", "--raw", &image],
        &["layer", "dump", &index],
        &["completions", "bash"],
        &["--help"],
    ] {
        let (code, stderr) = cut_short(&program, &[verb, for_amd64(verb[0])].concat());
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{verb:?}");
    }
}

/// A closed standard error loses messages, and does not change the exit code.
#[test]
fn closed_standard_error_does_not_change_the_exit_code() {
    let program = Program::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = program.command(["ls", "UPPER/case"]).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(2));
}
