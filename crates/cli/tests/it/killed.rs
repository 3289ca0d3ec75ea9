//! Processes that are killed during their work.

use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use vmroot_testkit::registry::{Fault, Registry, Rule};

use crate::program::Program;
use crate::samples::{noisy, serve};

/// The number of pulls that are killed with SIGKILL, each at another moment.
const KILLS: usize = 100;
/// The number of pulls that run at once.
const AT_ONCE: usize = 4;
/// The number of attempts for one moment, if the pull is done before it.
const ATTEMPTS: usize = 20;

/// The moments are spread over the duration of a pull: each is random within its own part.
#[test]
fn pull_can_be_killed_at_any_moment() {
    let registry = Registry::start();
    let image = noisy(3, 200_000);
    let reference = serve(&registry, &image, "v1");
    registry.misbehave(Rule::on("/blobs/").fault(Fault::Slow(10_000, Duration::from_millis(2))));
    let pull = ["pull", &reference, "--arch=amd64"];
    let whole = Mutex::new((0..3).map(|_| measure(|| drop(Program::new().ok(pull)))).max().unwrap());

    let (next, killed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let kill_at = |moment: f64| {
        let program = Program::new();
        let mut child = program.command(pull).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let whole_now = *whole.lock().unwrap();
        thread::sleep(whole_now.mul_f64(moment));
        child.kill().unwrap();
        (program, !child.wait().unwrap().success())
    };
    let failures = Mutex::new(Vec::new());
    let round = |number: usize| {
        let moment = (number as f64 + random()) / KILLS as f64;
        let mut attempt = kill_at(moment);
        // Pulls have become faster since they were timed, as the machine has less other work: the moments are moved
        // forward.
        for _ in 0..ATTEMPTS {
            if attempt.1 {
                break;
            }
            let mut whole = whole.lock().unwrap();
            *whole = whole.mul_f64(0.9);
            drop(whole);
            attempt = kill_at(moment);
        }
        killed.fetch_add(usize::from(attempt.1), Ordering::Relaxed);
        let program = attempt.0;
        let steps = [
            findings(&program),
            program.run(pull).ok().trim().into(),
            findings(&program),
            program.run(["cat", &reference, "0-0", "--arch=amd64", "--pull=never"]).stdout.len().into(),
            // The temporary files of the killed process, and no needed files.
            json!(program.ok(["gc", "--json"]).contains(&image.layers[0].digest.hex())),
            findings(&program),
        ];
        let sound =
            [json!([]), image.config_digest.to_string().into(), json!([]), 25_000.into(), false.into(), json!([])];
        if steps != sound {
            failures.lock().unwrap().push((number, steps));
        }
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let number @ 0..KILLS = next.fetch_add(1, Ordering::Relaxed) {
                    round(number);
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(killed.into_inner(), KILLS, "not all pulls were killed before they were done");
}

fn findings(program: &Program) -> Value {
    let result = program.run(["verify", "--json"]);
    // The pull was killed before it made the cache.
    if result.status.code() == Some(3) && result.stderr.contains("there is no cache") {
        return json!([]);
    }
    serde_json::from_str::<Value>(result.ok().trim()).unwrap()["findings"].clone()
}

fn measure(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Returns a random number from 0 to 1.
fn random() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    f64::from(now.subsec_nanos() % 1_000_003) / 1_000_003.0
}
