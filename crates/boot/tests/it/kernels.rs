//! Tests of all kernel formats, and of files that are not kernels.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use vmroot_boot::{Architecture, Error, Kernel};
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::guest::Guest;

#[test]
fn debian_kernels_are_recognised() {
    for (name, architecture) in [("amd64", Architecture::X86_64), ("arm64", Architecture::Aarch64)] {
        let Some(guest) = Guest::of(name) else { continue };
        let kernel = Kernel::open(&guest.kernel()).unwrap();
        assert_eq!((kernel.architecture, kernel.is_elf), (architecture, false));
        assert_eq!(kernel.version.as_deref(), guest.modules().file_name().unwrap().to_str());
    }
}

/// A directory for generated kernels.
struct KernelFiles(TempDir);

impl KernelFiles {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join("kernel");
        fs::write(&path, bytes).unwrap();
        path
    }

    fn open(&self, bytes: &[u8]) -> Result<(Architecture, Option<String>, bool), Error> {
        Kernel::open(&self.file(bytes)).map(|kernel| (kernel.architecture, kernel.version, kernel.is_elf))
    }
}

/// Returns the text of a kernel, after more bytes than are read at once.
fn body() -> Vec<u8> {
    let mut bytes = vec![0; (1 << 20) - 100];
    bytes.extend_from_slice(b"Linux version %s (%s)\0Linux version 6.9.1-test+ (gcc)\n\0");
    bytes.resize(1_200_000, 0);
    bytes
}

fn image() -> Vec<u8> {
    let mut image = body();
    image[56..60].copy_from_slice(b"ARM\x64");
    image
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zboot(payload: &[u8]) -> Vec<u8> {
    let mut kernel = vec![0; 4096];
    kernel[..2].copy_from_slice(b"MZ");
    kernel[4..8].copy_from_slice(b"zimg");
    kernel[8..12].copy_from_slice(&4096_u32.to_le_bytes());
    kernel.extend_from_slice(payload);
    kernel
}

#[test]
fn every_form_has_its_version() {
    let files = KernelFiles::new();
    let version = Some("6.9.1-test+".to_owned());
    let arm = (Architecture::Aarch64, version.clone(), false);
    assert_eq!(files.open(&image()).unwrap(), arm);
    assert_eq!(files.open(&gzip(&image())).unwrap(), arm);
    assert_eq!(files.open(&zboot(&gzip(&image()))).unwrap(), arm);
    assert_eq!(files.open(&zboot(&zstd::encode_all(&image()[..], 1).unwrap())).unwrap(), arm);
    let mut elf = body();
    elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
    elf[18] = 62;
    assert_eq!(files.open(&elf).unwrap(), (Architecture::X86_64, version.clone(), true));
    elf[18] = 183;
    assert_eq!(files.open(&elf).unwrap(), (Architecture::Aarch64, version, true));
    let mut bzimage = vec![0; 0x1000];
    bzimage[0x202..0x206].copy_from_slice(b"HdrS");
    bzimage[0x20e..0x210].copy_from_slice(&0x300_u16.to_le_bytes());
    bzimage[0x500..0x50c].copy_from_slice(b"5.4.0 (a@b)\0");
    assert_eq!(files.open(&bzimage).unwrap(), (Architecture::X86_64, Some("5.4.0".into()), false));
    bzimage[0x20e..0x210].copy_from_slice(&0xffff_u16.to_le_bytes());
    assert_eq!(files.open(&bzimage).unwrap(), (Architecture::X86_64, None, false));
}

#[test]
fn files_that_are_not_kernels_are_refused() {
    let files = KernelFiles::new();
    let mut riscv = body();
    riscv[..6].copy_from_slice(b"\x7fELF\x02\x01");
    riscv[18] = 243;
    for bytes in [b"".to_vec(), b"#!/bin/sh\n".to_vec(), riscv, gzip(b"no kernel"), zboot(b"")] {
        let refused = files.open(&bytes);
        assert!(matches!(refused, Err(Error::NotAKernel(_))), "{refused:?}");
    }
    let whole = gzip(&image());
    let cut = files.open(&whole[..whole.len() / 2]);
    assert!(matches!(cut, Err(Error::Compressed { .. })), "{cut:?}");
    let missing = Kernel::open(Path::new("/no/kernel"));
    assert!(missing.unwrap_err().full_message().starts_with("cannot open /no/kernel: "));
}
