//! Several processes that pull the same image.

use std::time::Duration;

use serde_json::json;
use vmroot_testkit::registry::{Fault, Registry, Rule};

use crate::program::{CommandOutput, Program, wait_until};
use crate::samples::{noisy, serve};

/// The number of processes that pull one image at the same time.
const PROCESSES: usize = 8;

#[test]
fn processes_that_pull_one_image_do_the_work_once() {
    let registry = Registry::start();
    let image = noisy(3, 400_000);
    let reference = serve(&registry, &image, "v1");
    registry.misbehave(Rule::on("/blobs/").fault(Fault::Slow(20_000, Duration::from_millis(5))));
    let program = Program::new();
    let children: Vec<_> = (0..PROCESSES).map(|_| program.start(["pull", &reference, "--arch=amd64"])).collect();
    for child in children {
        let printed = CommandOutput::from(child.wait_with_output().unwrap()).ok();
        assert_eq!(printed.trim(), image.config_digest.to_string());
    }
    for layer in &image.layers {
        assert_eq!(registry.count(&layer.digest.to_string()), 1);
    }
    assert_eq!(program.json(["verify", "--json"])["findings"], json!([]));
    assert_eq!(program.json(["gc", "--json"])["files"], json!([]));
}

/// One process is killed, and another resumes its download.
#[test]
fn waiting_process_resumes_the_pull_of_a_killed_one() {
    let registry = Registry::start();
    let image = noisy(1, 3 << 20);
    let reference = serve(&registry, &image, "v1");
    let layer = image.layers[0].digest;
    let stall = Fault::StallAfter(5 << 19, Duration::from_secs(60));
    registry.misbehave(Rule::on(&layer.to_string()).times(1).fault(stall));
    let program = Program::new();
    let partial = program.cache().join(format!("blobs/sha256/{}.partial", layer.hex()));
    let mut first = program.start(["pull", &reference, "--arch=amd64"]);
    let length = || partial.metadata().map_or(0, |metadata| metadata.len());
    wait_until("most of the layer", || length() >= 2 << 20);
    let second = program.start(["pull", &reference, "--arch=amd64"]);
    wait_until("the second to ask", || registry.count("/manifests/") == 2);
    first.kill().unwrap();
    first.wait().unwrap();
    let kept = length();
    CommandOutput::from(second.wait_with_output().unwrap()).ok();
    let requests = registry.requests();
    let ranges = requests.iter().filter(|request| request.path.contains(&layer.to_string()));
    let ranges: Vec<_> = ranges.map(|request| request.header("range")).collect();
    assert_eq!(ranges, [None, Some(format!("bytes={kept}-").as_str())]);
    assert_eq!(program.json(["verify", "--json"])["findings"], json!([]));
}
