//! Real clients of NBD.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread;

use vmroot_testkit::skip;

use crate::fixture::{Fixture, run};

#[test]
fn qemu_img_finds_the_bytes_of_the_export() {
    if skip::needs_program("qemu-img") {
        return;
    }
    let fixture = Fixture::new();
    let serving = fixture.serve_nbd();
    let expected = fixture.expected_file();
    for uri in [serving.uri(), format!("nbd+unix:///root?socket={}", serving.socket.display())] {
        run("qemu-img", &["compare", "-f", "raw", "-F", "raw", &uri, expected.to_str().unwrap()]);
        let map = run("qemu-img", &["map", "--output=json", "-f", "raw", &uri]);
        assert!(map.contains("\"zero\": true"), "{map}");
        // This client requests ranges that are not whole blocks.
        run("qemu-io", &["-r", "-f", "raw", &uri, "-c", "read 1 700", "-c", "read 4095 2", "-c", "read 511 200001"]);
    }
    let missing = format!("nbd+unix:///other?socket={}", serving.socket.display());
    assert!(!Command::new("qemu-img").args(["info", &missing]).output().unwrap().status.success());
    serving.end();
}

#[test]
fn qemu_nbd_lists_the_export() {
    if skip::needs_program("qemu-nbd") {
        return;
    }
    let fixture = Fixture::new();
    let serving = fixture.serve_nbd();
    let list = run("qemu-nbd", &["--list", "-k", serving.socket.to_str().unwrap()]);
    for part in ["export: 'root'", "readonly", "multi", "base:allocation", &fixture.expected.len().to_string()] {
        assert!(list.contains(part), "{part} is not in {list}");
    }
    serving.end();
}

#[test]
fn nbdinfo_and_nbdcopy_agree() {
    if skip::needs_program("nbdinfo") {
        return;
    }
    let fixture = Fixture::new();
    let serving = fixture.serve_nbd();
    let uri = serving.uri();
    let information = run("nbdinfo", &["--json", &uri]);
    let size = format!("\"export-size\": {}", fixture.expected.len());
    for part in [&size, "\"is_read_only\": true", "\"can_multi_conn\": true", "\"can_df\": true", "base:allocation"] {
        assert!(information.contains(part), "{part} is not in {information}");
    }
    assert!(run("nbdinfo", &["--list", &uri]).contains("root"));
    run("nbdinfo", &["--map", &uri]);
    let copy = fixture.directory().join("copy");
    run("nbdcopy", &["--connections=4", "--requests=16", &uri, copy.to_str().unwrap()]);
    assert!(fs::read(copy).unwrap() == fixture.expected);
    serving.end();
}

#[test]
fn only_the_owner_may_connect() {
    let fixture = Fixture::new();
    let serving = fixture.serve_nbd();
    assert_eq!(fs::metadata(&serving.socket).unwrap().permissions().mode() & 0o777, 0o600);
    serving.end();
}

#[test]
fn programs_at_once_get_the_same_bytes() {
    if skip::needs_program("qemu-img") {
        return;
    }
    let fixture = Fixture::new();
    let serving = fixture.serve_nbd();
    let (uri, expected) = (serving.uri(), fixture.expected_file());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| run("qemu-img", &["compare", "-f", "raw", "-F", "raw", &uri, expected.to_str().unwrap()]));
        }
    });
    serving.end();
}
