//! `verify --repair`: each kind of source, and damage beside other programs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vmroot_testkit::image::Image;
use vmroot_testkit::image::docker_archive::{self, Layout};
use vmroot_testkit::image::oci_layout::{self, Item};
use vmroot_testkit::registry::{Auth, Fault, Registry, Rule};
use vmroot_testkit::skip;

use crate::full_disk::Disk;
use crate::mounted::cannot_mount;
use crate::program::{Program, wait_for, wait_until};
use crate::samples::{image, noisy, serve};

/// The number of repairs that are killed.
const KILLS: u32 = 40;

fn blob(program: &Program, digest: &vmroot_model::Digest) -> PathBuf {
    program.cache().join("blobs/sha256").join(digest.hex())
}

/// Flips a bit of a read-only file.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Runs `verify --repair`, and returns its report.
fn repair(program: &Program, code: i32, options: &[&str]) -> Value {
    let answer = program.run(["verify", "--repair", "--json"].iter().chain(options));
    assert_eq!(answer.status.code(), Some(code), "{answer}");
    serde_json::from_slice(&answer.stdout).unwrap()
}

fn documents(image: &Image) -> Vec<vmroot_model::Digest> {
    image.layers.iter().map(|layer| layer.digest).chain([image.config_digest]).collect()
}

/// An archive and a layout, named by relative paths, serve the blobs of the images that were loaded from them.
#[test]
fn blobs_come_from_archives_and_layouts() {
    let image = image("amd64");
    for kind in ["docker-archive", "oci-archive", "oci"] {
        let program = Program::new();
        let path = program.path("source");
        match kind {
            "docker-archive" => {
                fs::write(&path, docker_archive::write(&[(&image, &["demo:v1"])], Layout::Docker24)).unwrap();
            }
            "oci-archive" => fs::write(&path, oci_layout::archive(&[(Item::Image(&image), Some("v1"))])).unwrap(),
            _ => oci_layout::write(&path, &[(Item::Image(&image), Some("v1"))]).unwrap(),
        }
        let load = program.command(["load", "source", "--arch=amd64"]).current_dir(program.path(".")).output().unwrap();
        assert!(load.status.success(), "{kind}: {load:?}");
        let inspected = program.json(["inspect", image.config_digest.to_string().as_str(), "--json"]);
        let layer = inspected["layers"][0]["digest"].as_str().unwrap().replace(':', "/");
        let config = blob(&program, &image.config_digest);
        for path in [program.cache().join("blobs").join(layer), config] {
            let whole = fs::read(&path).unwrap();
            damage(&path);
            let report = repair(&program, 0, &["--offline"]);
            assert_eq!((&report["repaired"], &report["lost"]), (&json!(1), &json!(0)), "{kind}: {report}");
            assert!(fs::read(&path).unwrap() == whole, "{kind}");
        }
        // The source is gone, or has become another one.
        let target = program.path("elsewhere");
        fs::rename(&path, &target).unwrap();
        damage(&blob(&program, &image.config_digest));
        let report = repair(&program, 5, &[]);
        assert_eq!(report["findings"][0]["state"], "lost", "{kind}: {report}");
        assert!(report["findings"][0]["advice"].as_str().unwrap().contains("source"), "{kind}: {report}");
        fs::rename(&target, &path).unwrap();
        assert_eq!(repair(&program, 0, &[])["repaired"], 1, "{kind}");
    }
}

#[test]
fn repair_uses_the_credentials_and_options_of_a_pull() {
    let registry = Registry::start();
    registry.require(Auth::basic("user", "secret"));
    let image = image("amd64");
    let reference = serve(&registry, &image, "v1");
    let program = Program::new();
    program.ok(["pull", &reference, "--arch=amd64", "--creds=user:secret"]);
    documents(&image).iter().for_each(|digest| damage(&blob(&program, digest)));
    let refused = repair(&program, 5, &[]);
    assert_eq!((&refused["damaged"], &refused["lost"]), (&json!(3), &json!(0)), "{refused}");
    let report = repair(&program, 0, &["--creds=user:secret"]);
    assert_eq!(report["repaired"], 3, "{report}");
    assert_eq!(program.json(["verify", "--json"])["findings"], json!([]));
}

/// The text of a report says where the files are, and what to do.
#[test]
fn lost_files_are_in_quarantine_until_it_is_emptied() {
    let registry = Registry::start();
    let image = image("amd64");
    let reference = serve(&registry, &image, "v1");
    let program = Program::new();
    program.ok(["pull", &reference, "--arch=amd64"]);
    registry.remove_blob(&image.layers[1].digest);
    let path = blob(&program, &image.layers[1].digest);
    damage(&path);
    let damaged = fs::read(&path).unwrap();
    let stray = program.cache().join("layers/v1/stray");
    fs::write(&stray, "x").unwrap();

    let checked = program.run(["verify"]);
    assert_eq!(checked.status.code(), Some(5), "{checked}");
    assert!(String::from_utf8_lossy(&checked.stdout).ends_with(" 2 damaged\n"), "{checked}");
    assert!(path.exists() && stray.exists());
    let repaired = program.run(["verify", "--repair"]);
    assert_eq!(repaired.status.code(), Some(5), "{repaired}");
    let text = String::from_utf8_lossy(&repaired.stdout).into_owned();
    assert!(text.ends_with("2 damaged: 0 repaired, 1 quarantined, 1 lost, 0 not repaired\n"), "{text}");
    for part in [path.to_str().unwrap(), stray.to_str().unwrap(), &reference, "can be used, but not saved or copied"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(repaired.stderr.contains("--empty-quarantine"), "{repaired}");

    let quarantine = program.cache().join("quarantine");
    let names: Vec<PathBuf> = fs::read_dir(&quarantine).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    let kept = names.iter().find(|name| name.to_str().unwrap().ends_with(&path.file_name().unwrap().to_str().unwrap()));
    assert!(fs::read(kept.unwrap()).unwrap() == damaged);
    let about: Value =
        serde_json::from_slice(&fs::read(format!("{}.quarantine.json", kept.unwrap().display())).unwrap()).unwrap();
    assert_eq!(about["path"], path.strip_prefix(program.cache()).unwrap().to_str().unwrap());
    assert_eq!(about["digest"], image.layers[1].digest.to_string());
    assert_eq!(program.json(["df", "--json"])["quarantine"]["files"], 4);
    assert!(program.ok(["df"]).contains("quarantine"));
    // The image can be used, and `gc` keeps the quarantine.
    assert_eq!(program.ok(["cat", &reference, "etc/motd", "--arch=amd64", "--pull=never"]), "amd64\n");
    program.ok(["gc"]);
    assert_eq!(fs::read_dir(&quarantine).unwrap().count(), 4);
    assert_eq!(program.ok(["verify", "--empty-quarantine"]).lines().count(), 2);
    assert_eq!(fs::read_dir(&quarantine).unwrap().count(), 0);
}

/// A killed repair loses nothing: the next one completes it.
#[test]
fn repair_can_be_killed_at_any_moment() {
    let registry = Registry::start();
    let image = noisy(3, 200_000);
    let reference = serve(&registry, &image, "v1");
    let program = Program::new();
    program.ok(["pull", &reference, "--arch=amd64"]);
    registry.misbehave(Rule::on("/blobs/").fault(Fault::Slow(20_000, Duration::from_millis(2))));
    let root = fs::read_dir(program.cache().join("roots/v1")).unwrap().next().unwrap().unwrap().path();
    let record = program.cache().join("images");
    let record = fs::read_dir(record)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().unwrap() == "json");
    let mut paths: Vec<PathBuf> = documents(&image).iter().map(|digest| blob(&program, digest)).collect();
    paths.extend(
        ["idx", "contents"]
            .map(|extension| program.cache().join(format!("layers/v1/{}.{extension}", image.layers[0].diff_id.hex()))),
    );
    paths.extend([root, record.unwrap()]);
    let whole: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    let damage_all = || paths.iter().filter(|path| path.exists()).for_each(|path| damage(path));
    damage_all();
    let began = Instant::now();
    repair(&program, 0, &[]);
    let duration = began.elapsed();
    let mut killed = 0;
    for number in 0..KILLS {
        damage_all();
        let mut child =
            program.command(["verify", "--repair"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(duration * number / KILLS);
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        let report = repair(&program, 0, &[]);
        assert_eq!((&report["lost"], &report["damaged"]), (&json!(0), &json!(0)), "{number}: {report}");
        assert_eq!(program.json(["verify", "--json"])["findings"], json!([]), "{number}");
        for (path, whole) in paths.iter().zip(&whole) {
            assert!(fs::read(path).unwrap() == *whole, "{number}: {}", path.display());
        }
    }
    assert!(killed > KILLS / 4, "{killed}");
    program.ok(["gc"]);
    assert_eq!(program.run(["cat", &reference, "1-0", "--arch=amd64", "--pull=never"]).stdout.len(), 25_000);
}

#[test]
fn full_disk_is_reported_and_a_later_repair_succeeds() {
    if skip::needs_root() {
        return;
    }
    let registry = Registry::start();
    let image = noisy(2, 300_000);
    let reference = serve(&registry, &image, "v1");
    let mut failures = 0;
    for left in [0, 4096, 20_000, 100_000, 350_000, 700_000] {
        let program = Program::new();
        let place = program.path("disk");
        let disk = Disk::new(place.clone());
        let program = program.with_cache(place.join("cache"));
        program.ok(["pull", &reference, "--arch=amd64"]);
        let layer = program.cache().join(format!("layers/v1/{}.contents", image.layers[1].diff_id.hex()));
        damage(&blob(&program, &image.layers[0].digest));
        damage(&blob(&program, &image.config_digest));
        damage(&layer);
        disk.fill(left);
        let answer = program.run(["verify", "--repair"]);
        if !answer.status.success() {
            failures += 1;
            let text = String::from_utf8_lossy(&answer.stdout).into_owned() + &answer.stderr;
            assert!(text.contains("No space left on device"), "{left}: {answer}");
        }
        disk.free();
        let report = repair(&program, 0, &[]);
        assert_eq!(report["lost"], 0, "{left}: {report}");
        assert_eq!(program.json(["verify", "--json"])["findings"], json!([]), "{left}");
        assert_eq!(program.run(["cat", &reference, "1-0", "--arch=amd64"]).stdout.len(), 37_500);
    }
    assert!(failures > 2, "{failures}");
}

/// Several repairs at once, while a mount reads the image.
#[test]
fn repairs_beside_each_other_and_a_mount() {
    if cannot_mount() {
        return;
    }
    let registry = Registry::start();
    let image = image("amd64");
    let reference = serve(&registry, &image, "v1");
    let program = Program::new();
    program.ok(["pull", &reference, "--arch=amd64"]);
    let mountpoint = program.path("mounted");
    fs::create_dir(&mountpoint).unwrap();
    program.ok(["mount", &reference, mountpoint.to_str().unwrap(), "--arch=amd64", "--driver=fuse", "--detach"]);
    wait_until("the mount", || mountpoint.join("etc/motd").exists());
    let extra = fs::read(mountpoint.join("usr/bin/extra")).unwrap();
    let layer = |number: usize, extension: &str| {
        program.cache().join(format!("layers/v1/{}.{extension}", image.layers[number].diff_id.hex()))
    };
    let root = fs::read_dir(program.cache().join("roots/v1")).unwrap().next().unwrap().unwrap().path();
    for round in 0..5 {
        for path in [blob(&program, &image.layers[1].digest), layer(0, "idx"), layer(1, "contents"), root.clone()] {
            damage(&path);
        }
        let repairs: Vec<_> = (0..3).map(|_| program.start(["verify", "--repair", "--json"])).collect();
        for mut child in repairs {
            assert!(fs::read(mountpoint.join("usr/bin/extra")).unwrap() == extra, "{round}");
            let status = wait_for(&mut child);
            assert!(status.success(), "{round}: {}", std::io::read_to_string(child.stdout.take().unwrap()).unwrap());
        }
        assert_eq!(program.json(["verify", "--json"])["findings"], json!([]), "{round}");
    }
    assert_eq!(fs::read_to_string(mountpoint.join("etc/motd")).unwrap(), "amd64\n");
    program.ok(["umount", mountpoint.to_str().unwrap()]);
}

#[test]
fn permissions_are_corrected() {
    let registry = Registry::start();
    let image = image("amd64");
    let reference = serve(&registry, &image, "v1");
    let program = Program::new();
    program.ok(["pull", &reference, "--arch=amd64"]);
    let path = blob(&program, &image.config_digest);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    assert_eq!(program.run(["verify"]).status.code(), Some(5));
    let report = repair(&program, 0, &[]);
    assert_eq!((&report["repaired"], &report["findings"][0]["kind"]), (&json!(1), &json!("blob")), "{report}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o444);
    assert_eq!(program.json(["verify", "--json"])["findings"], json!([]));
}
