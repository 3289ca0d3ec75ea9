//! Tests of impossible machines: they are rejected before any file is written.

use std::fs;
use std::path::{Path, PathBuf};

use vmroot_boot::{Acceleration, Architecture, Error, Guest, GuestOptions, Kernel, Via, Vmm};
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::layer::{Entry, Layer};

use crate::fixture::Root;

/// Returns a root with this number of layers, each with its own contents.
fn root(layers: usize) -> Root {
    let layer = |number: usize| Layer::new([Entry::file(format!("file{number}"), format!("layer {number}"))]);
    Root::of(&(0..layers).map(layer).collect::<Vec<_>>())
}

fn kernel() -> Kernel {
    // The kernel is never started.
    Kernel { path: "/nowhere/vmlinux".into(), architecture: Architecture::X86_64, version: None, is_elf: true }
}

fn options(kernel: &Kernel) -> GuestOptions<'_> {
    GuestOptions { acceleration: Acceleration::Tcg, ..GuestOptions::new(Via::ErofsMeta, kernel, Vmm::Qemu) }
}

/// Returns the error of `prepare`, and checks that it wrote no files.
fn refused(root: &Root, directory: &Path, options: &GuestOptions<'_>) -> Error {
    fs::create_dir_all(directory).unwrap();
    let error = Guest::prepare(&root.fs, directory, options).unwrap_err();
    let made: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(made.is_empty(), "{error}: {made:?}");
    error
}

/// An image with more layers than the VMM has devices.
#[test]
fn the_error_for_too_many_layers_suggests_another_form() {
    let (kernel, directory) = (kernel(), tempfile::tempdir().unwrap());
    let options = |vmm| GuestOptions { vmm, acceleration: Acceleration::Kvm, ..options(&kernel) };
    for (vmm, limit) in [(Vmm::Firecracker, 19), (Vmm::CloudHypervisor, 30)] {
        // One disk holds the metadata.
        let error = refused(&root(limit), directory.path(), &options(vmm));
        let expected = (vmm, limit + 1, limit);
        assert!(
            matches!(error, Error::TooManyDisks { vmm, disks, limit } if (vmm, disks, limit) == expected),
            "{error}"
        );
        // The maximum number passes this check. The remaining error is about KVM or a missing VMM.
        let fits = Guest::prepare(&root(limit - 1).fs, directory.path(), &options(vmm));
        assert!(!matches!(fits, Err(Error::TooManyDisks { .. })), "{:?}", fits.err());
        let one = GuestOptions { via: Via::Erofs, ..options(vmm) };
        assert!(!matches!(one.check(directory.path()), Err(Error::TooManyDisks { .. })));
    }
    // QEMU joins the layers into one disk.
    assert!(Guest::prepare(&root(31).fs, directory.path(), &self::options(&kernel)).is_ok());
}

#[test]
fn impossible_machines_are_refused_first() {
    let (kernel, root) = (kernel(), root(1));
    let directory = tempfile::tempdir().unwrap();
    let long = "x".repeat(2048);
    let quoted = directory.path().join("a\"b");
    let deep = directory.path().join("d".repeat(120));
    let comma = directory.path().join("a,b");
    let here = directory.path().join("here");
    for (what, directory, options) in [
        ("command line would have", &here, GuestOptions { append: &long, ..options(&kernel) }),
        ("of memory at least", &here, GuestOptions { memory: Some(1 << 20), ..options(&kernel) }),
        ("runs guests of 1 to 255 processors", &here, GuestOptions { cpus: 1024, ..options(&kernel) }),
        ("no vmroot-init for x86_64", &here, GuestOptions { overlay: true, ..options(&kernel) }),
        ("quotes or line breaks", &quoted, options(&kernel)),
        ("may have 107 bytes", &deep, GuestOptions { via: Via::Virtiofs, ..options(&kernel) }),
        (
            "does not support paths with commas",
            &comma,
            GuestOptions { vmm: Vmm::CloudHypervisor, via: Via::Ext4, ..options(&kernel) },
        ),
        ("has no virtio-fs", &here, GuestOptions { vmm: Vmm::Firecracker, via: Via::Virtiofs, ..options(&kernel) }),
        (
            "runs guests only with KVM",
            &here,
            GuestOptions { vmm: Vmm::Firecracker, via: Via::Ext4, ..options(&kernel) },
        ),
    ] {
        let error = refused(&root, directory, &options).to_string();
        assert!(error.contains(what), "{error}");
        // A caller checks the options before it fetches the root.
        assert_eq!(options.check(directory).unwrap_err().full_message(), error);
    }
}

/// Linux refuses such an allocation unless overcommitting is always allowed.
#[test]
fn more_memory_than_the_host_has_is_refused() {
    if fs::read_to_string("/proc/sys/vm/overcommit_memory").is_ok_and(|mode| mode.trim() == "1") {
        return;
    }
    let kernel = kernel();
    let directory = tempfile::tempdir().unwrap();
    let options = GuestOptions { memory: Some(1 << 60), ..options(&kernel) };
    let error = refused(&root(1), directory.path(), &options);
    assert!(matches!(error, Error::HostMemory { requested, .. } if requested == 1 << 60), "{error}");
}
