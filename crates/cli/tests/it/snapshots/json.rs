//! Errors as JSON: one object on standard error.

use serde_json::Value;
use vmroot_testkit::registry::{Auth, Registry};

use super::Transcript;
use crate::program::Program;
use crate::samples::{image, serve};

/// One error of each kind that is simple to cause.
#[test]
fn errors_as_json() {
    let registry = Registry::start();
    let reference = serve(&registry, &image("amd64"), "v1");
    let program = Program::new();
    program.file("text", "no archive");
    let mut transcript = Transcript::new(&program).replace(registry.host(), "[REGISTRY]");
    transcript.run_all(&[
        "--json run alpine",
        "boot alpine --json",
        "pull --json --arch nonsense alpine",
        "pull Alpine --json",
        "export alpine out.qcow2 --json",
        "ls none --pull never --json",
        "load text --json",
    ]);
    transcript.run(["pull", &reference, "--arch=amd64", "--max-entries=8", "--json"]);
    registry.require(Auth::basic("user", "secret"));
    transcript.run(["pull", &reference, "--json"]);
    transcript.check("errors_as_json");
}

/// Each verb reports a wrong option and a missing cache as one JSON object.
#[test]
fn every_verb_reports_errors_as_json() {
    let program = Program::new();
    for verb in super::help::verbs(&program) {
        let output = program.run([verb.as_str(), "--json", "--no-such-option"]);
        let error: Value = serde_json::from_str(&output.stderr).unwrap_or_else(|_| panic!("{verb}: {output}"));
        assert_eq!(output.status.code(), Some(2), "{verb}: {output}");
        assert_eq!((&error["kind"], &error["exitCode"]), (&"usage".into(), &2.into()), "{verb}: {error}");
        assert!(output.stdout.is_empty() && !error["message"].as_str().unwrap().contains('\n'), "{verb}: {output}");
    }
}
