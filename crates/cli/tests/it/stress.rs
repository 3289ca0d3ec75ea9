//! Processes that pull, mount, read, unmount, remove and collect at the same time.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::mount::{UnmountFlags, unmount};
use serde_json::json;
use vmroot_testkit::image::{Image, ImageBuilder};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::sample::noise;
use vmroot_testkit::skip;

use crate::program::Program;
use crate::samples::serve;

const PROCESSES: u64 = 8;
const IMAGES: u64 = 5;
/// The seconds that the test takes, unless `VMROOT_STRESS_SECONDS` is set.
const SECONDS: u64 = 10;
/// The length of the files of an image.
const LENGTH: usize = 40_000;

/// An image that shares one layer with all others and one with half of them.
fn shared(number: u64) -> Image {
    let layer = |name: &str, seed: u64| Layer::new([Entry::file(name, noise(seed, LENGTH))]);
    let own = Layer::new([Entry::file("number", number.to_string()), Entry::file("own", noise(10 + number, LENGTH))]);
    ImageBuilder::new().layer(&layer("all", 1)).layer(&layer("half", 2 + number % 2)).layer(&own).build()
}

/// Checks every file of a mounted image.
fn check(mountpoint: &Path) {
    let number: u64 = fs::read_to_string(mountpoint.join("number")).unwrap().parse().unwrap();
    for (path, seed) in [("all", 1), ("half", 2 + number % 2), ("own", 10 + number)] {
        assert!(fs::read(mountpoint.join(path)).unwrap() == noise(seed, LENGTH), "{path} of {number}");
    }
}

/// Returns the next number of a pseudo-random sequence (xorshift).
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// The numbers of successful operations.
#[derive(Debug, Default)]
struct Done {
    mounts: AtomicUsize,
    removals: AtomicUsize,
    removed_files: AtomicUsize,
}

/// Mounts an image, reads it while others remove it, and unmounts it.
fn mount(program: &Program, reference: &str, mountpoint: &Path, pause: Duration, done: &Done) {
    fs::create_dir_all(mountpoint).unwrap();
    let mounted = mountpoint.to_str().unwrap();
    program.ok(["mount", reference, mounted, "--detach", "--driver=fuse", "--arch=amd64"]);
    check(mountpoint);
    thread::sleep(pause);
    check(mountpoint);
    program.ok(["umount", mounted]);
    done.mounts.fetch_add(1, Ordering::Relaxed);
}

fn run_random_operations(program: &Program, references: &[String], number: u64, end: Instant, done: &Done) {
    let mut state = number + 1;
    let mountpoint = program.path(&format!("mounted-{number}"));
    while Instant::now() < end {
        let reference = &references[usize::try_from(random(&mut state) % IMAGES).unwrap()];
        match random(&mut state) % 8 {
            0..=2 => mount(program, reference, &mountpoint, Duration::from_millis(random(&mut state) % 300), done),
            3 => drop(program.ok(["pull", reference, "--arch=amd64"])),
            4 | 5 => {
                // Without --force, an image in use is refused. Another process may have removed it.
                let option = if random(&mut state).is_multiple_of(2) { "--force" } else { "--quiet" };
                let removed = program.run(["rm", reference, option]);
                let is_expected = matches!(removed.status.code(), Some(0 | 1 | 3));
                assert!(is_expected && !removed.stderr.contains("panicked"), "{removed}");
                done.removals.fetch_add(usize::from(removed.status.success()), Ordering::Relaxed);
            }
            6 => drop(program.ok(["gc", "--max-size=300K"])),
            _ => {
                let collected = program.json(["gc", "--json"]);
                done.removed_files.fetch_add(collected["files"].as_array().unwrap().len(), Ordering::Relaxed);
            }
        }
    }
}

#[test]
fn processes_that_mount_remove_and_collect_lose_nothing() {
    if skip::needs_root() || !Path::new("/dev/fuse").exists() && skip::because("needs /dev/fuse") {
        return;
    }
    let seconds = std::env::var("VMROOT_STRESS_SECONDS").map_or(SECONDS, |text| text.parse().unwrap());
    let registry = Registry::start();
    let references: Vec<_> = (0..IMAGES).map(|it| serve(&registry, &shared(it), &format!("v{it}"))).collect();
    let program = Program::new();
    let (done, end) = (Done::default(), Instant::now() + Duration::from_secs(seconds));
    // One image is mounted all the time.
    let through = program.path("through");
    fs::create_dir(&through).unwrap();
    program.ok(["mount", &references[0], through.to_str().unwrap(), "--detach", "--driver=fuse", "--arch=amd64"]);
    let failure = Mutex::new(None);
    thread::scope(|scope| {
        for number in 0..PROCESSES {
            let (program, references, done, failure) = (&program, &references, &done, &failure);
            scope.spawn(move || {
                let run = || run_random_operations(program, references, number, end, done);
                if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
                    *failure.lock().unwrap() = Some(panic);
                }
            });
        }
    });
    let checked = std::panic::catch_unwind(|| check(&through));
    // After a failure too: the directories could not be removed while they are mounted.
    for name in (0..PROCESSES).map(|number| format!("mounted-{number}")).chain(["through".to_owned()]) {
        let _ = unmount(program.path(&name), UnmountFlags::DETACH);
    }
    if let Some(panic) = failure.into_inner().unwrap().or(checked.err()) {
        std::panic::resume_unwind(panic);
    }
    assert!(done.mounts.into_inner() > 0 && done.removals.into_inner() > 0 && done.removed_files.into_inner() > 0);
    assert_eq!(program.json(["verify", "--json"])["findings"], json!([]));
    for image in program.json(["images", "--json"]).as_array().unwrap() {
        program.ok(["cat", image["reference"].as_str().unwrap(), "number", "--pull=never", "--arch=amd64"]);
    }
    crate::program::wait_until("the end of all mounts", || {
        program.ok(["gc", "--unused"]);
        program.json(["df", "--json"])["blobs"]["files"] == 0
    });
}
