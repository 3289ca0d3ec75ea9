//! Copies that are killed: the destination has the old image or the new one.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use vmroot_testkit::image::oci_layout::{self, Item};

use crate::program::Program;
use crate::samples::noisy;

/// The number of copies to each destination that are killed, each at another moment.
const KILLS: u32 = 12;

#[test]
fn a_killed_copy_leaves_a_valid_destination() {
    let program = Program::new();
    let (old, new) = (noisy(2, 400_000), noisy(3, 600_000));
    let digests = [&old, &new].map(|image| image.manifest.digest.to_string());
    fs::create_dir(program.path("source")).unwrap();
    oci_layout::write(&program.path("source"), &[(Item::Image(&old), Some("old")), (Item::Image(&new), Some("new"))])
        .unwrap();
    let source = |name: &str| format!("oci:{}:{name}", program.path("source").display());
    for transport in ["oci", "dir", "oci-archive"] {
        let path = program.path(transport);
        let name = format!("{transport}:{}{}", path.display(), if transport == "dir" { "" } else { ":image" });
        let copy = |image: &str| ["copy".to_owned(), "--json".to_owned(), source(image), name.clone()];
        let remove = || match path.is_dir() {
            true => fs::remove_dir_all(&path).unwrap(),
            false => fs::remove_file(&path).unwrap(),
        };
        program.json(copy("old"));
        let start = Instant::now();
        program.json(copy("new"));
        let whole = start.elapsed();
        let mut killed = 0;
        for number in 0..KILLS {
            remove();
            program.json(copy("old"));
            let mut child = program.command(copy("new")).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            thread::sleep(whole * number / KILLS + Duration::from_micros(u64::from(number) * 97));
            child.kill().unwrap();
            killed += u32::from(!child.wait().unwrap().success());
            let check = |expected: &[String]| {
                let read = format!("dir:{}", program.path("read").display());
                // Reading checks the digests of all blobs.
                let report = program.json(["copy", "--json", &name, &read]);
                fs::remove_dir_all(program.path("read")).unwrap();
                let digest = report["sourceDigest"].as_str().unwrap();
                assert!(expected.iter().any(|it| it == digest), "{transport}, {number}: {digest}");
            };
            check(&digests);
            program.json(copy("new"));
            check(&digests[1..]);
        }
        assert!(killed > 0, "{transport}: all copies ended before they were killed");
        remove();
    }
}
