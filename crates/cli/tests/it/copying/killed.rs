//! Copies that are killed: the destination has the old image or the new one.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use vmroot_model::Digest;
use vmroot_testkit::image::Image;
use vmroot_testkit::image::oci_layout::{self, Item};
use vmroot_testkit::registry::{Fault, Registry, Rule};
use vmroot_testkit::skip;

use super::places::DockerRegistry;
use crate::program::{Program, wait_until};
use crate::samples::{noisy, serve};

/// The number of copies to each destination that are killed, each at another moment.
const KILLS: usize = 50;

/// Random numbers from 0 to 1, the same in each run (xorshift).
struct Moments(u64);

impl Moments {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % 10_000) as f64 / 10_000.0
    }
}

/// Runs a command and kills it at a moment, a part of the time `whole` that it takes. Returns whether it was killed before
/// its end. If it ends earlier, because the machine is less busy than before, `whole` is shortened.
fn kill(program: &Program, arguments: &[String], whole: &mut Duration, moment: f64) -> bool {
    let start = Instant::now();
    let mut child = program.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while start.elapsed() < whole.mul_f64(moment) {
        if child.try_wait().unwrap().is_some() {
            *whole = start.elapsed();
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    !child.wait().unwrap().success()
}

/// Reads an image, which checks the digests of all its blobs. Returns the digest of its config.
fn read(program: &Program, name: &str) -> String {
    let directory = program.path("read");
    program.ok(["copy", "--quiet", name, &format!("dir:{}", directory.display())]);
    let manifest: Value = serde_json::from_slice(&fs::read(directory.join("manifest.json")).unwrap()).unwrap();
    fs::remove_dir_all(directory).unwrap();
    manifest["config"]["digest"].as_str().unwrap().to_owned()
}

/// The names of temporary files in a directory.
fn temporary_files(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".tmp")).collect()
}

fn old_and_new(program: &Program) -> [Image; 2] {
    let images = [noisy(2, 400_000), noisy(3, 600_000)];
    let directory = program.path("source");
    fs::create_dir(&directory).unwrap();
    oci_layout::write(&directory, &[(Item::Image(&images[0]), Some("old")), (Item::Image(&images[1]), Some("new"))])
        .unwrap();
    images
}

/// Kills copies of the new image to `place(number)`, which has the old one.
fn kill_copies(place: impl Fn(&Program, usize) -> String, options: &[&str]) -> Program {
    let program = Program::new();
    let configs = old_and_new(&program).map(|image| image.config_digest.to_string());
    let copy = |image: &str, to: &str| {
        let source = format!("oci:{}:{image}", program.path("source").display());
        let arguments = ["copy", "--quiet"].iter().chain(options).copied().chain([&*source, to]);
        arguments.map(str::to_owned).collect::<Vec<String>>()
    };
    let first = place(&program, KILLS);
    program.ok(copy("old", &first));
    let start = Instant::now();
    program.ok(copy("new", &first));
    let mut whole = start.elapsed();
    let (mut moments, mut killed) = (Moments(7), 0);
    for number in 0..KILLS {
        let to = place(&program, number);
        program.ok(copy("old", &to));
        killed += usize::from(kill(&program, &copy("new", &to), &mut whole, moments.next()));
        let config = read(&program, &to);
        assert!(configs.contains(&config), "{to}: {config}");
        program.ok(copy("new", &to));
        assert_eq!(read(&program, &to), configs[1], "{to}");
    }
    assert!(killed > KILLS / 4, "{first}: only {killed} copies were killed before their end");
    program
}

#[test]
fn a_killed_copy_leaves_a_valid_layout() {
    kill_copies(|program, _| format!("oci:{}:image", program.path("oci").display()), &[]);
}

#[test]
fn a_killed_copy_leaves_a_valid_directory() {
    kill_copies(|program, _| format!("dir:{}", program.path("dir").display()), &[]);
}

#[test]
fn a_killed_copy_leaves_a_valid_archive() {
    let place = |program: &Program, _| {
        let path = program.path("archives");
        fs::create_dir_all(&path).unwrap();
        format!("oci-archive:{}/a.tar:v1", path.display())
    };
    let program = kill_copies(place, &[]);
    assert_eq!(temporary_files(&program.path("archives")), [""; 0]);
}

/// An existing archive is not replaced, so each copy has a file of its own: it is whole or does not exist.
#[test]
fn a_killed_copy_leaves_a_whole_docker_archive_or_none() {
    let program = Program::new();
    let [_, new] = old_and_new(&program);
    let directory = program.path("archives");
    fs::create_dir(&directory).unwrap();
    let source = format!("oci:{}:new", program.path("source").display());
    let path = |number: usize| directory.join(format!("{number}.tar"));
    let name = |number: usize| format!("docker-archive:{}:example.com/image:v1", path(number).display());
    let copy = |number: usize| {
        ["copy", "--quiet", "--additional-tag", "example.com/b:two", &source, &name(number)].map(str::to_owned)
    };
    let start = Instant::now();
    program.ok(copy(KILLS));
    let mut whole = start.elapsed();
    let (mut moments, mut missing) = (Moments(13), 0);
    for number in 0..KILLS {
        kill(&program, &copy(number), &mut whole, moments.next());
        assert_eq!(temporary_files(&directory), [""; 0]);
        if !path(number).exists() {
            missing += 1;
            program.ok(copy(number));
        }
        assert_eq!(read(&program, &name(number)), new.config_digest.to_string());
        fs::remove_file(path(number)).unwrap();
    }
    assert!(missing > KILLS / 4, "only {missing} copies were killed before their end");
}

#[test]
fn a_killed_copy_leaves_a_valid_cache() {
    let program = kill_copies(|_, _| "vmroot:example.com/image:v1".to_owned(), &[]);
    assert!(program.ok(["verify"]).ends_with(" 0 damaged\n"));
}

#[test]
fn a_killed_copy_leaves_a_valid_registry() {
    if skip::needs_program("docker-registry") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let registry = DockerRegistry::start(&directory.path().join("registry"));
    // Each copy has a repository of its own, because the registry keeps the blobs of the others.
    kill_copies(|_, number| format!("docker://{}/copies/n{number}:v1", registry.host), &[]);
}

#[test]
fn a_killed_sync_leaves_valid_destinations() {
    if skip::needs_program("docker-registry") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let registry = DockerRegistry::start(&directory.path().join("registry"));
    let source = Registry::start();
    let images = [noisy(1, 200_000), noisy(2, 300_000), noisy(3, 200_000)];
    let references: Vec<String> =
        images.iter().zip(["a", "b", "c"]).map(|(image, tag)| serve(&source, image, tag)).collect();
    let repository = references[0].rsplit_once(':').unwrap().0;
    let name = repository.rsplit_once('/').unwrap().1;
    for kind in ["docker", "dir"] {
        let program = Program::new();
        let place = |number: usize| match kind {
            "docker" => format!("{}/synced/n{number}", registry.host),
            _ => program.path(&format!("synced-{number}")).display().to_string(),
        };
        let sync = |number: usize| {
            ["sync", "--quiet", "--src", "docker", "--dest", kind, repository, &place(number)].map(str::to_owned)
        };
        let read_tag = |number: usize, tag: &str| match kind {
            "docker" => read(&program, &format!("docker://{}/{name}:{tag}", place(number))),
            _ => read(&program, &format!("dir:{}/{name}:{tag}", place(number))),
        };
        let start = Instant::now();
        program.ok(sync(KILLS));
        let mut whole = start.elapsed();
        let mut moments = Moments(11);
        let config = |tag: &str| -> Digest { images[tag.as_bytes()[0] as usize - usize::from(b'a')].config_digest };
        let tags = |number: usize| -> Vec<String> {
            match kind {
                "docker" => {
                    let output = program.run(["list-tags", &format!("docker://{}/{name}", place(number))]);
                    let list: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
                    let tags = list["Tags"].as_array().into_iter().flatten();
                    tags.map(|tag| tag.as_str().unwrap().to_owned()).collect()
                }
                _ => {
                    let entries = fs::read_dir(place(number)).into_iter().flatten();
                    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
                    names.filter_map(|it| it.strip_prefix(&format!("{name}:")).map(str::to_owned)).collect()
                }
            }
        };
        for number in 0..KILLS {
            // How far a sync is after a time depends on the load of the machine. So the last one waits between its images.
            if number == KILLS - 1 {
                let layer = images[2].layers[2].digest.to_string();
                source.misbehave(Rule::on(&layer).fault(Fault::StallAfter(1000, Duration::from_secs(60))));
                let mut child =
                    program.command(sync(number)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                wait_until("the first image", || !tags(number).is_empty());
                child.kill().unwrap();
                child.wait().unwrap();
                source.behave();
                assert!((1..images.len()).contains(&tags(number).len()), "{kind}: {:?}", tags(number));
            } else {
                kill(&program, &sync(number), &mut whole, moments.next());
            }
            for tag in tags(number) {
                assert_eq!(read_tag(number, &tag), config(&tag).to_string(), "{kind} {number} {tag}");
            }
            program.ok(sync(number));
            for tag in ["a", "b", "c"] {
                assert_eq!(read_tag(number, tag), config(tag).to_string(), "{kind} {number} {tag}");
            }
        }
    }
}
