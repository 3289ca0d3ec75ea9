//! `copy` writes what skopeo writes: every pair of transports, with images, lists and artifacts.

mod images;
mod killed;
mod mistakes;
mod places;
mod reading;

use std::fmt::Write as _;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use vmroot_testkit::skip;

use self::images::{Sample, samples};
use self::places::{DockerRegistry, Place, Places};
use self::reading::Copied;
use crate::program::Program;

/// The number of cases that run at once. Most of the time is the start of processes.
const AT_ONCE: usize = 4;

/// The options of both programs. Several are tried with each sample.
const OPTIONS: [&[&str]; 12] = [
    &[],
    &["--all"],
    &["--format", "oci"],
    &["--format", "v2s2"],
    &["--all", "--format", "v2s2"],
    &["--preserve-digests"],
    &["--all", "--preserve-digests"],
    &["--dest-compress-format", "zstd"],
    &["--preserve-digests", "--dest-compress-format", "zstd"],
    &["--dest-compress-format", "gzip"],
    &["--all", "--format", "oci"],
    &["--dest-decompress"],
];

/// Reasons for which skopeo refuses a copy that vmroot makes.
const BETTER: [&str; 5] = [
    // vmroot recompresses the layers with gzip.
    "zstd compression is not supported for docker images",
    // An OCI layout can hold the lists of Docker; newer versions of skopeo read them.
    "Manifest list must be converted to type",
    // vmroot copies nested lists.
    "received a manifest list instead of a manifest for a single image",
    // vmroot ignores the compression if digests are preserved; skopeo does so for some destinations.
    "compression using zstd required but the destination only supports",
    // vmroot leaves attestations out of a list of Docker.
    r#"Unknown media type during manifest conversion: \"application/vnd.in-toto+json\""#,
];

/// One copy to compare.
struct Case<'a> {
    number: usize,
    sample: &'a Sample,
    source: &'a Place,
    destination: &'static str,
    options: &'static [&'static str],
}

impl Case<'_> {
    fn name(&self) -> String {
        format!(
            "{} from {} to {} {}",
            self.sample.name,
            self.source.transport,
            self.destination,
            self.options.join(" ")
        )
    }

    /// Returns whether vmroot refuses a copy that skopeo makes. Before 1.18, it ignores zstd for archives.
    fn may_refuse(&self) -> bool {
        self.destination == "docker-archive" && self.options.contains(&"zstd")
    }

    /// Returns whether versions of skopeo write different formats: since 1.18, zstd makes an OCI manifest of an image
    /// in a directory, too, whose layers keep their compression.
    fn depends_on_version(&self) -> bool {
        self.destination == "dir" && self.options.contains(&"zstd") && !self.options.contains(&"--preserve-digests")
    }
}

/// Runs skopeo without a policy of the machine and without its memory of blobs of earlier copies, which changes the
/// result of later ones.
fn skopeo(arguments: &[&str]) -> Output {
    let forget = "mkdir -p /var/lib/containers/cache && mount -t tmpfs none /var/lib/containers/cache && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", forget, "sh", "skopeo", "--insecure-policy"]).args(arguments);
    command.stdin(Stdio::null()).output().unwrap()
}

fn error_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

#[test]
fn copies_equal_those_of_skopeo() {
    if skip::needs_root() || ["skopeo", "docker-registry", "tar", "unshare"].into_iter().any(skip::needs_program) {
        return;
    }
    let program = Program::new();
    let registry = DockerRegistry::start(&program.path("registry"));
    let places = Places::new(&program, &registry);
    let samples = samples();
    let sources: Vec<Vec<Place>> = samples.iter().map(|sample| places.write(sample)).collect();
    let mut cases = Vec::new();
    for (rank, (sample, sources)) in samples.iter().zip(&sources).enumerate() {
        for (number, options) in OPTIONS.into_iter().enumerate() {
            for (position, destination) in Places::DESTINATIONS.into_iter().enumerate() {
                // A common sample goes from each source to each destination, and with each option to each destination.
                // A third of these cases is enough for the others.
                if !sample.is_common && (rank + number + position) % 3 != 0 {
                    continue;
                }
                let all = if sample.is_common && number == usize::from(sample.is_list) { sources.len() } else { 1 };
                for turn in 0..all {
                    let source = &sources[(number + position + turn) % sources.len()];
                    cases.push(Case { number: cases.len(), sample, source, destination, options });
                }
            }
        }
    }
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(String::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(reason) = compare(&program, &places, case) {
                        writeln!(failures.lock().unwrap(), "{}: {reason}", case.name()).unwrap();
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} cases:\n{failures}", cases.len());
}

fn compare(program: &Program, places: &Places<'_>, case: &Case<'_>) -> Result<(), String> {
    let (theirs, ours) = (places.new_place(case, "skopeo"), places.new_place(case, "vmroot"));
    let insecure = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    let arguments = |place: &Place| -> Vec<String> {
        let names = [case.source.name.clone(), place.name.clone()];
        let options = case.options.iter().chain(&insecure).map(|it| (*it).to_owned());
        ["copy".to_owned(), "--quiet".to_owned()].into_iter().chain(options).chain(names).collect()
    };
    let their_arguments = arguments(&theirs);
    let by_skopeo = skopeo(&their_arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let by_vmroot = program.run(arguments(&ours));
    match (by_skopeo.status.success(), by_vmroot.status.success()) {
        (false, false) => Ok(()),
        (false, true) if BETTER.iter().any(|reason| error_of(&by_skopeo).contains(reason)) => Ok(()),
        (false, true) => Err(format!("only skopeo refuses: {}", error_of(&by_skopeo))),
        (true, false) if case.may_refuse() => Ok(()),
        (true, false) => Err(format!("only vmroot refuses: {}", by_vmroot.stderr)),
        (true, true) if case.depends_on_version() => Ok(()),
        (true, true) => Copied::read(&theirs, places, case)?.compare(&Copied::read(&ours, places, case)?, case),
    }
}
