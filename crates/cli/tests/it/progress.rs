//! Progress: bars at several widths, lines without a terminal, events, and the names of silent registries.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use vmroot_model::Digest;
use vmroot_testkit::image::docker_archive::{self, Layout};
use vmroot_testkit::image::{Image, ImageBuilder};
use vmroot_testkit::layer::{Encoding, Entry, Layer};
use vmroot_testkit::registry::{Auth, Fault, Registry, Rule};
use vmroot_testkit::sample::noise;

use crate::program::Program;
use crate::samples::{image, noisy, serve};
use crate::screen::Terminal;

/// The bytes of a layer.
const SIZE: usize = 1 << 20;
/// The time for which a registry sends nothing. A wait is shown after 2 seconds.
const SILENCE: Duration = Duration::from_secs(6);

/// A registry that sends half of two layers, and nothing for a while.
struct Stalled {
    registry: Registry,
    image: Image,
    reference: String,
    program: Program,
}

impl Stalled {
    fn new() -> Self {
        let registry = Registry::start();
        let image = noisy(3, SIZE);
        let reference = serve(&registry, &image, "v1");
        for layer in &image.layers[..2] {
            let stall = Fault::StallAfter(SIZE as u64 / 2, SILENCE);
            registry.misbehave(Rule::on(&layer.digest.hex()).method("GET").times(1).fault(stall));
        }
        Self { registry, image, reference, program: Program::new() }
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        self.program.command([&["pull", &self.reference, "--arch=amd64"], arguments].concat())
    }

    fn short(&self, layer: usize) -> String {
        self.image.layers[layer].digest.hex()[..12].to_owned()
    }

    /// Returns the lines of a screen that begin with this word.
    fn count(lines: &[String], word: &str) -> usize {
        lines.iter().filter(|line| line.starts_with(word)).count()
    }
}

/// Returns whether a screen names the registry as silent, in one of the forms for several widths.
fn names_silence(lines: &[String]) -> bool {
    lines.iter().any(|line| line.contains("waiting for 127.0.0.1:") || line.contains(" s, try 1"))
}

/// Checks a screen in the middle of a pull: a row for each layer that is fetched, one for the registry, and one for all.
#[track_caller]
fn assert_rows(stalled: &Stalled, lines: &[String], columns: usize) {
    for layer in 0..2 {
        let label = format!("fetching {}", stalled.short(layer));
        assert_eq!(Stalled::count(lines, &label), 1, "{columns}: {lines:#?}");
    }
    assert_eq!(Stalled::count(lines, "fetching"), 2, "{columns}: {lines:#?}");
    assert_eq!(Stalled::count(lines, "total"), 1, "{columns}: {lines:#?}");
    assert!(lines.iter().all(|line| line.chars().count() < columns), "{columns}: {lines:#?}");
    let is_half = |line: &String| (46..=50).any(|percent| line.contains(&format!(" {percent}%")));
    let fetching = lines.iter().filter(|line| line.starts_with("fetching"));
    assert!(fetching.clone().all(is_half), "{columns}: {lines:#?}");
    assert!(lines.last().is_some_and(|line| line.starts_with("total")), "{columns}: {lines:#?}");
}

#[test]
fn screens_have_no_stale_or_repeated_rows() {
    thread::scope(|scope| {
        for columns in [110, 80, 30] {
            scope.spawn(move || {
                let stalled = Stalled::new();
                let terminal = Terminal::start(stalled.command(&[]), columns, 24);
                let lines = terminal.wait("the silent registry", |lines| {
                    names_silence(lines) && Stalled::count(lines, "fetching") == 2
                });
                assert_rows(&stalled, &lines, columns.into());
                assert_eq!(lines.len(), 4, "{columns}: {lines:#?}");
                let (code, lines) = terminal.finish();
                assert_eq!(code, Some(0), "{lines:#?}");
                // Only the id is left, which a narrow terminal wraps.
                assert_eq!(lines.concat(), format!("sha256:{}", Digest::of(&stalled.image.config).hex()), "{columns}");
            });
        }
    });
}

/// Log lines, wider than the terminal, stay above the rows.
#[test]
fn log_lines_stay_above_the_rows() {
    thread::scope(|scope| {
        for columns in [110, 30] {
            scope.spawn(move || {
                let stalled = Stalled::new();
                stalled.registry.require(Auth::basic("user", "secret"));
                let terminal = Terminal::start(stalled.command(&["-v", "--creds=user:secret"]), columns, 60);
                let lines = terminal.wait("the silent registry", |lines| {
                    names_silence(lines) && Stalled::count(lines, "fetching") == 2
                });
                let first = lines.iter().position(|line| line.starts_with("fetching")).unwrap();
                assert_rows(&stalled, &lines[first..], columns.into());
                assert!(lines[0].starts_with(" INFO credentials from"), "{lines:#?}");
                let (code, lines) = terminal.finish();
                assert_eq!(code, Some(0), "{lines:#?}");
                // A narrow terminal wraps the lines anywhere.
                let all = lines.concat().replace(' ', "");
                assert!(all.contains("retryingin") && all.contains("try2of6"), "{lines:#?}");
                assert!(!all.contains("fetching") && !all.contains("total"), "{lines:#?}");
            });
        }
    });
}

#[test]
fn a_resized_terminal_has_no_stale_rows() {
    let stalled = Stalled::new();
    let terminal = Terminal::start(stalled.command(&[]), 110, 24);
    terminal.wait("two rows", |lines| Stalled::count(lines, "fetching") == 2 && Stalled::count(lines, "total") == 1);
    terminal.resize(40, 12);
    let lines = terminal
        .wait("narrow rows", |lines| names_silence(lines) && lines.iter().all(|line| line.chars().count() < 40));
    assert_rows(&stalled, &lines, 40);
    terminal.resize(100, 24);
    let lines = terminal.wait("wide rows", |lines| lines.iter().any(|line| line.contains('[')));
    assert_rows(&stalled, &lines, 100);
    let (code, lines) = terminal.finish();
    assert_eq!((code, lines.len()), (Some(0), 1), "{lines:#?}");
}

#[test]
fn errors_and_notes_leave_no_rows() {
    let registry = Registry::start();
    let image = noisy(3, SIZE);
    let reference = serve(&registry, &image, "v1");
    let hex = image.layers[0].digest.hex();
    registry.misbehave(Rule::on(&hex).fault(Fault::Status(404, Vec::new(), String::new())));
    registry.misbehave(Rule::on(&image.layers[1].digest.hex()).fault(Fault::Slow(1000, Duration::from_millis(20))));
    let program = Program::new();
    let command = program.command(["pull", &reference, "--arch=amd64"]);
    let (code, lines) = Terminal::start(command, 80, 24).finish();
    assert_eq!(code, Some(3), "{lines:#?}");
    assert!(lines[0].starts_with("vmroot: "), "{lines:#?}");
    assert!(!lines.concat().contains("fetching ") && !lines.concat().contains("total "), "{lines:#?}");
}

/// The second pull waits for the first, and shows no row for a layer that it does not fetch.
#[test]
fn two_pulls_of_a_layer_show_it_once() {
    let stalled = Stalled::new();
    let first = Terminal::start(stalled.command(&[]), 80, 24);
    first.wait("two rows", |lines| Stalled::count(lines, "fetching") == 2);
    let second = Terminal::start(stalled.command(&[]), 80, 24);
    let lines = second.wait("the note", |lines| Stalled::count(lines, "waiting for another process") > 0);
    assert_eq!(Stalled::count(&lines, "fetching"), 0, "{lines:#?}");
    for terminal in [first, second] {
        let (code, lines) = terminal.finish();
        assert_eq!(code, Some(0), "{lines:#?}");
        assert!(lines.last().unwrap().starts_with("sha256:"), "{lines:#?}");
        assert_eq!(Stalled::count(&lines, "fetching") + Stalled::count(&lines, "total"), 0, "{lines:#?}");
    }
}

/// A resumed pull counts the bytes of the first attempt as done, but not for the rate.
#[test]
fn a_resumed_pull_has_no_absurd_rate() {
    let registry = Registry::start();
    let image = noisy(1, 32 << 20);
    let reference = serve(&registry, &image, "v1");
    let half = Fault::StallAfter(16 << 20, Duration::from_secs(100));
    registry.misbehave(Rule::on(&image.layers[0].digest.hex()).times(1).fault(half));
    let program = Program::new();
    let arguments = ["pull", &reference, "--arch=amd64"];
    let mut first = Terminal::start(program.command(arguments), 110, 24);
    first.wait("half of the layer", |lines| lines.iter().any(|line| line.contains("16.00 MiB/")));
    first.child.kill().unwrap();
    first.finish();
    // 20 kB a second, and 16 MiB are here.
    registry.misbehave(Rule::on(&image.layers[0].digest.hex()).fault(Fault::Slow(2000, Duration::from_millis(100))));
    let second = Terminal::start(program.command(arguments), 110, 24);
    let lines = second.wait("a rate", |lines| lines.iter().any(|line| line.contains("iB/s")));
    // The last bytes of the killed pull may be lost.
    assert!(lines.iter().all(|line| line.contains(" 15.") || line.contains(" 16.")), "{lines:#?}");
    for line in lines.iter().filter(|line| line.contains("iB/s")) {
        assert!(line.contains(" KiB/s"), "{lines:#?}");
        let rate: f64 = line.split(" KiB/s").next().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        assert!(rate < 100.0, "{lines:#?}");
    }
    let mut child = second.child;
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Without a terminal: a line as each layer starts, one as it ends, and one for a silent registry.
#[test]
fn lines_without_a_terminal() {
    let stalled = Stalled::new();
    let output = stalled.command(&[]).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for layer in 0..3 {
        let name = stalled.short(layer);
        let of_layer: Vec<_> = lines.iter().filter(|line| line.contains(&name)).collect();
        let [start, end] = of_layer[..] else { panic!("{text}") };
        assert!(start.starts_with(&format!("fetching {name} (1.0")), "{text}");
        assert!(end.starts_with(&format!("fetched {name} (1.0")) && end.ends_with(" s)"), "{text}");
    }
    let silent = format!("waiting for {} (5 s), try 1 of 6", stalled.registry.host());
    assert!(lines.contains(&&*silent), "{text}");
    assert!(lines.iter().all(|line| line.starts_with("fetch") || line.starts_with("waiting for ")), "{text}");
    assert!(!text.contains(['\r', '\u{1b}']), "{text:?}");
}

/// Without a cursor that moves there are lines, also on a terminal.
#[test]
fn a_dumb_terminal_gets_lines() {
    let registry = Registry::start();
    let reference = serve(&registry, &noisy(2, 1000), "v1");
    let program = Program::new();
    let command =
        program.command_after("TERM=dumb exec \"$@\"", ["pull", &reference, "--arch=amd64", "--progress=bar"]);
    let (code, lines) = Terminal::start(command, 80, 24).finish();
    assert_eq!((code, lines.len()), (Some(0), 5), "{lines:#?}");
    assert_eq!(Stalled::count(&lines, "fetching"), 2, "{lines:#?}");
    assert_eq!(Stalled::count(&lines, "fetched"), 2, "{lines:#?}");
}

#[test]
fn a_closed_standard_error_changes_no_result() {
    let registry = Registry::start();
    let reference = serve(&registry, &noisy(2, 1000), "v1");
    let program = Program::new();
    for form in ["bar", "plain", "json"] {
        let form = format!("--progress={form}");
        let command = program.command_after("exec \"$@\" 2>&-", ["pull", &reference, "--arch=amd64", &form]);
        let (code, lines) = Terminal::start(command, 80, 24).finish();
        assert_eq!((code, lines.len()), (Some(0), 1), "{lines:#?}");
        assert!(lines[0].starts_with("sha256:"), "{lines:#?}");
    }
}

/// More layers than lines, some of them without files.
#[test]
fn many_layers_fit_a_small_window() {
    let registry = Registry::start();
    let layer = |number: u64| match number % 10 {
        0 => Layer::new([]),
        _ => Layer::new([Entry::file(format!("{number}"), noise(number, 3000))]),
    };
    let image = (0..120).fold(ImageBuilder::new(), |image, number| image.layer(&layer(number))).build();
    let reference = serve(&registry, &image, "v1");
    registry.misbehave(Rule::on("/blobs/").method("GET").fault(Fault::Slow(1000, Duration::from_millis(200))));
    let program = Program::new();
    let command = program.command(["pull", &reference, "--arch=amd64", "--parallel=30"]);
    let terminal = Terminal::start(command, 30, 8);
    let lines = terminal.wait("more rows than lines", |lines| Stalled::count(lines, "and ") == 1);
    assert!(lines.len() <= 7 && lines.last().unwrap().starts_with("total"), "{lines:#?}");
    terminal.resize(30, 4);
    terminal.wait("few rows", |lines| lines.len() == 3 && Stalled::count(lines, "and ") == 1);
    let (code, lines) = terminal.finish();
    assert_eq!(code, Some(0), "{lines:#?}");
    assert_eq!(lines.concat(), format!("sha256:{}", Digest::of(&image.config).hex()));
}

/// Layers on top that take long: a pipe is read until its writer ends.
#[test]
fn layers_on_top_show_their_progress() {
    let program = Program::new();
    let archive = docker_archive::write(&[(&noisy(1, 1000), &["demo:v1"])], Layout::Docker25);
    let archive = program.file("demo.tar", archive);
    program.ok(["load".as_ref(), archive.as_os_str(), "--arch=amd64".as_ref()]);
    let fifo = program.path("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let layer = format!("--layer={}", fifo.display());
    let tar = Layer::new([Entry::file("large", noise(1, 3 << 20))]).to_tar(&Encoding::default());
    for verb in [&["export", "demo:v1", "out.cpio"][..], &["export", "demo:v1", "baked", "--format=prebaked"]] {
        let mut command = program.command(verb.iter().chain(&["--arch=amd64", &layer]));
        command.current_dir(program.path("."));
        let terminal = Terminal::start(command, 80, 24);
        let mut writer = std::fs::File::options().write(true).open(&fifo).unwrap();
        std::io::Write::write_all(&mut writer, &tar[..2 << 20]).unwrap();
        let lines = terminal.wait("the progress", |lines| Stalled::count(lines, "preparing the layers on top") == 1);
        assert!(lines.len() == 1, "{lines:#?}");
        std::io::Write::write_all(&mut writer, &tar[2 << 20..]).unwrap();
        drop(writer);
        let (code, lines) = terminal.finish();
        assert_eq!((code, lines.concat()), (Some(0), String::new()), "{verb:?}");
    }
}

#[test]
fn quiet_and_none_show_nothing() {
    let registry = Registry::start();
    for options in [&["--progress=none"][..], &["--quiet"], &["--quiet", "--progress=json"]] {
        let reference = serve(&registry, &noisy(2, 1000), "v1");
        let program = Program::new();
        let output = program.run([&["pull", &reference, "--arch=amd64"], options].concat());
        assert!(output.status.success() && output.stderr.is_empty(), "{options:?}: {output}");
        let command = program.command([&["pull", &reference, "--arch=amd64"], options].concat());
        let (_, lines) = Terminal::start(command, 80, 24).finish();
        assert_eq!(lines.len(), 1, "{options:?}: {lines:#?}");
    }
    let reference = serve(&registry, &noisy(2, 1000), "v1");
    let command = Program::new();
    let command = command.command(["pull", &reference, "--arch=amd64", "--progress=plain"]);
    let (_, lines) = Terminal::start(command, 80, 24).finish();
    assert_eq!(lines.iter().filter(|line| line.starts_with("fetch")).count(), 4, "{lines:#?}");
}

/// Work that is over within a second shows no progress.
#[test]
fn short_work_shows_no_progress() {
    let registry = Registry::start();
    let image = serve(&registry, &noisy(2, 10_000), "v1");
    let program = Program::new();
    program.ok(["pull", &image, "--arch=amd64"]);
    let (archive, layout) = (program.path("archive.tar"), format!("oci:{}:v1", program.path("layout").display()));
    let (archive, disk) = (archive.to_str().unwrap(), program.path("disk"));
    for arguments in [
        &["verify"][..],
        &["gc"],
        &["save", &image, "-o", archive],
        &["load", archive],
        &["export", &image, disk.to_str().unwrap(), "--format=erofs"],
        &["copy", &format!("vmroot:{image}"), &layout],
    ] {
        let output = program.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output}");
        let progress = ["saving", "loading", "exporting", "copying", "verifying", "removing", "saved", "loaded "];
        assert!(!progress.iter().any(|word| output.stderr.contains(word)), "{arguments:?}: {output}");
    }
}

/// Returns the members of each event on the page about progress.
fn events_on_page() -> BTreeMap<String, BTreeSet<String>> {
    let page = include_str!("../../../../docs/progress.md");
    let code = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let rows = rows.map(|row| row.trim_matches('|').split('|').map(code).collect::<Vec<_>>());
    let events = rows.filter(|cells| cells.len() == 3 && !cells[1].is_empty());
    events.map(|cells| (cells[0][0].clone(), cells[1].iter().cloned().collect())).collect()
}

#[test]
fn events_are_those_of_the_page() {
    let stalled = Stalled::new();
    // Two attempts that are not answered in time, and a mirror that lacks the image.
    stalled.registry.misbehave(Rule::on("/manifests/").times(2).fault(Fault::Delay(Duration::from_secs(4))));
    stalled.registry.misbehave(
        Rule::on(&stalled.image.layers[2].digest.hex()).fault(Fault::Slow(50_000, Duration::from_millis(100))),
    );
    let mirror = Registry::start();
    let host = stalled.registry.host();
    let conf = format!(
        "[[registry]]\nlocation = \"{host}\"\ninsecure = true\n[[registry.mirror]]\nlocation = \"{}\"\ninsecure = true\n",
        mirror.host()
    );
    let conf = format!("--registries-conf={}", stalled.program.file("registries.conf", conf).display());
    let options = ["-v", "--progress=json", "--inactivity-timeout=3", &conf];
    let mut outputs = vec![stalled.command(&options).output().unwrap()];
    assert!(outputs[0].status.success(), "{}", String::from_utf8_lossy(&outputs[0].stderr));
    // A note, and an error with a hint.
    outputs.push(stalled.program.command(["rm", &stalled.reference, "--progress=json"]).output().unwrap());
    stalled.registry.require(Auth::basic("user", "secret"));
    outputs.push(stalled.command(&["--progress=json"]).output().unwrap());
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut waits = Vec::new();
    for output in &outputs {
        for line in std::str::from_utf8(&output.stderr).unwrap().lines() {
            let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            let members = event.as_object().unwrap().keys().filter(|key| *key != "event").cloned().collect();
            let name = event["event"].as_str().unwrap().to_owned();
            assert!(
                seen.insert(name, members).is_none_or(|before| before.len() == event.as_object().unwrap().len() - 1)
            );
            if event["event"] == "wait" {
                waits.push(event.clone());
            }
            if event["event"] == "end" {
                assert_eq!((&event["outcome"], &event["total"]), (&json!("done"), &event["current"]), "{event}");
            }
        }
    }
    assert_eq!(seen, events_on_page());
    let second = |wait: &Value| wait["host"] == host && wait["try"] == 2 && wait["tries"] == 6;
    assert!(waits.iter().any(second), "{waits:#?}");
}

/// `-v` says where things come from, and `-vv` has a line for each request. Neither has secrets.
#[test]
fn logs_name_sources_and_requests_without_secrets() {
    let registry = Registry::start();
    let image = noisy(2, 10_000);
    let reference = serve(&registry, &image, "v1");
    let store = Registry::start();
    serve(&store, &image, "v1");
    registry.require(Auth::Bearer(vmroot_testkit::registry::Bearer {
        user: Some(("ann".to_owned(), "s3cret-w0rd".to_owned())),
        ..Default::default()
    }));
    // As registries that keep their blobs in a cloud.
    let signed = |hex: &str| format!("{}/v2/test/image/blobs/sha256:{hex}?X-Amz-Signature=s1gnature", store.url());
    for layer in &image.layers {
        let hex = layer.digest.hex();
        registry.misbehave(Rule::on(&hex).method("GET").fault(Fault::Redirect(307, signed(&hex))));
    }
    registry.misbehave(Rule::on("/manifests/").times(1).fault(Fault::Status(503, Vec::new(), String::new())));
    let program = Program::new();
    let auth = json!({"auths": {registry.host(): {"auth": "YW5uOnMzY3JldC13MHJk"}}}).to_string();
    let auth = program.file("auth.json", auth);
    let authfile = format!("--authfile={}", auth.display());
    let run = |options: &[&str]| {
        let arguments = [&["pull", &reference, "--arch=amd64", &authfile, "--progress=none"], options].concat();
        let output = program.run(arguments);
        assert!(output.status.success(), "{output}");
        for secret in ["s3cret-w0rd", "YW5uOnMzY3JldC13MHJk", "s1gnature", "Bearer ", "token-"] {
            assert!(!output.stderr.contains(secret), "{secret}: {output}");
        }
        output.stderr
    };
    let log = run(&["-vv"]);
    let host = registry.host();
    assert!(log.contains(&format!(" INFO {host}: credentials of ann from {}\n", auth.display())), "{log}");
    assert!(log.contains("retrying in") && log.contains("try 2 of 6"), "{log}");
    let requests: Vec<&str> =
        log.lines().filter(|line| line.contains("DEBUG vmroot_registry::http::request_log: ")).collect();
    let of = |part: &str| requests.iter().filter(|line| line.contains(part)).count();
    assert_eq!(requests.len(), registry.requests().len() + store.requests().len(), "{log}");
    for layer in &image.layers {
        let hex = layer.digest.hex();
        let redirected = format!("GET http://{host}/v2/test/image/blobs/sha256:{hex}: 307, 0 bytes in ");
        let served =
            format!("GET {}/v2/test/image/blobs/sha256:{hex}: 200, {} bytes in ", store.url(), layer.bytes.len());
        assert_eq!((of(&redirected), of(&served)), (1, 1), "{log}");
    }
    assert!(of("/manifests/v1: 503, 0 bytes in ") == 1 && of("/manifests/v1: 200, ") == 1, "{log}");
    let log = run(&["-v"]);
    let here = |layer: &vmroot_testkit::image::LayerBlob| format!("layer {}: in the cache already", layer.digest);
    assert!(image.layers.iter().all(|layer| log.contains(&here(layer))), "{log}");
    assert!(!log.contains("DEBUG"), "{log}");
}

/// `NO_COLOR`, `CLICOLOR` and `CLICOLOR_FORCE`, for log lines and for help.
#[test]
fn variables_choose_colours() {
    let program = Program::new();
    let help = ["images", "--help"];
    let log = ["digest", "127.0.0.1:1/a", "--retries=0", "--creds=me:word", "-v"];
    for arguments in [&help[..], &log] {
        for (variables, piped, terminal) in [
            (&[][..], false, true),
            (&["NO_COLOR=1"], false, false),
            (&["CLICOLOR_FORCE=1"], true, true),
            (&["CLICOLOR_FORCE=0"], false, true),
            (&["CLICOLOR=0"], false, false),
            (&["NO_COLOR=1", "CLICOLOR_FORCE=1"], false, false),
        ] {
            let command = || {
                let mut command = program.command(arguments);
                command.env("TERM", "xterm");
                command.envs(variables.iter().map(|variable: &&str| variable.split_once('=').unwrap()));
                command
            };
            let about = format!("{arguments:?} {variables:?}");
            let output = command().output().unwrap();
            let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert_eq!(text.contains('\u{1b}'), piped, "{about}: {text}");
            let shown = Terminal::start(command(), 110, 60);
            let has_colour = shown.finish_with_colours();
            assert_eq!(has_colour, terminal, "{about}");
        }
    }
}

/// An archive from a pipe is read as a whole first. Its bytes are shown as they arrive.
#[test]
fn an_archive_from_a_pipe_shows_its_bytes() {
    let program = Program::new();
    let archive = docker_archive::write(&[(&image("amd64"), &["demo:1"])], Layout::Docker25);
    let mut command = program.command(["load", "-", "--progress=json"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut events = BufReader::new(child.stderr.take().unwrap()).lines().map(|line| {
        let line = line.unwrap();
        serde_json::from_str::<Value>(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    });
    stdin.write_all(&archive[..1000]).unwrap();
    // The work is shown once it takes long.
    let advanced = events.find(|event| event["current"] == 1000).expect("the first bytes are shown");
    assert_eq!((&advanced["name"], &advanced["total"]), (&json!("standard input"), &Value::Null), "{advanced}");
    stdin.write_all(&archive[1000..]).unwrap();
    drop(stdin);
    let end = events.find(|event| event["event"] == "end").expect("its end is shown");
    assert_eq!((&end["current"], &end["total"]), (&json!(archive.len()), &json!(archive.len())), "{end}");
    assert_eq!((&end["action"], &end["outcome"]), (&json!("load"), &json!("done")), "{end}");
    assert!(events.count() > 0, "a note names the image");
    assert!(child.wait().unwrap().success());
}
