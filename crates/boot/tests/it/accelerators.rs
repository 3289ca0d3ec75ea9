//! Tests of the choice between KVM and TCG.

use std::fs;

use vmroot_boot::{Acceleration, Error, Via};

use crate::fixture::{Boot, needs_guests, script};

fn has_kvm() -> bool {
    fs::File::options().read(true).write(true).open("/dev/kvm").is_ok()
}

/// A guest boots with or without a working `/dev/kvm`, and the result of the trial is recorded.
#[test]
fn a_guest_boots_with_or_without_kvm() {
    if needs_guests() {
        return;
    }
    let root = script("echo hello");
    let directory = tempfile::tempdir().unwrap();
    let record = directory.path().join("made/kvm");
    let boot = Boot { acceleration: Acceleration::Auto, kvm_record: Some(record.clone()), ..Boot::via(Via::Erofs) };
    assert_eq!(boot.output(&root), "hello\n");
    assert!(has_kvm() || !record.exists());
    if record.exists() {
        let kept = fs::read(&record).unwrap();
        boot.prepare(&root, |guest| drop(guest.unwrap()));
        assert_eq!(fs::read(&record).unwrap(), kept);
    }
}

#[test]
fn requiring_kvm_without_it_is_an_error() {
    if needs_guests() || has_kvm() {
        return;
    }
    let boot = Boot { acceleration: Acceleration::Kvm, ..Boot::via(Via::Erofs) };
    let error = boot.prepare(&script("true"), |guest| guest.unwrap_err());
    assert!(matches!(error, Error::NoKvm(_)), "{error}");
}
