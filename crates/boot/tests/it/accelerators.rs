//! KVM where it works, and the translator where not.

use std::fs;

use vmroot_boot::{Acceleration, Error, Via};

use crate::fixture::{Boot, needs_guests, script};

fn has_kvm() -> bool {
    fs::File::options().read(true).write(true).open("/dev/kvm").is_ok()
}

/// Whatever `/dev/kvm` is like here: the guest boots, and what was found is remembered.
#[test]
fn a_guest_boots_whatever_kvm_is_like() {
    if needs_guests() {
        return;
    }
    let root = script("echo hello");
    let directory = tempfile::tempdir().unwrap();
    let verdict = directory.path().join("made/kvm");
    let boot = Boot { acceleration: Acceleration::Auto, kvm_verdict: Some(verdict.clone()), ..Boot::via(Via::Erofs) };
    assert_eq!(boot.output(&root), "hello\n");
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(fs::read_to_string(&verdict).is_ok_and(|text| text.starts_with(&boot_id)), has_kvm());
}

#[test]
fn a_verdict_is_believed_until_the_host_boots_anew() {
    if needs_guests() || !has_kvm() {
        return;
    }
    let root = script("true");
    let file = tempfile::NamedTempFile::new().unwrap();
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(file.path(), format!("{boot_id}it is broken\n")).unwrap();
    let boot =
        Boot { acceleration: Acceleration::Auto, kvm_verdict: Some(file.path().to_owned()), ..Boot::via(Via::Erofs) };
    assert_eq!(boot.prepare(&root, |guest| guest.unwrap().note().map(str::to_owned)), Some("it is broken".to_owned()));
}

#[test]
fn kvm_is_insisted_on() {
    if needs_guests() || has_kvm() {
        return;
    }
    let boot = Boot { acceleration: Acceleration::Kvm, ..Boot::via(Via::Erofs) };
    let error = boot.prepare(&script("true"), |guest| guest.unwrap_err());
    assert!(matches!(error, Error::NoKvm(_)), "{error}");
}
