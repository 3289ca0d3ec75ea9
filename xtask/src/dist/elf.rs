//! Whether a program is static.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};

/// The type of the program header that names a loader (`PT_INTERP` in elf(5)).
const INTERPRETER: u32 = 3;

/// Returns whether a 64-bit little-endian ELF program needs no loader, and so no shared library.
pub fn is_static(program: &Path) -> Result<bool> {
    let name = || program.display().to_string();
    let file = fs::read(program).with_context(name)?;
    has_no_interpreter(&file).with_context(|| format!("{}: not a program", name()))
}

fn has_no_interpreter(file: &[u8]) -> Result<bool> {
    ensure!(file.starts_with(b"\x7fELF\x02\x01"), "no 64-bit little-endian ELF");
    let number = |at: usize, length: usize| -> Option<usize> {
        let bytes = file.get(at..at.checked_add(length)?)?;
        Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    };
    let (start, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    let (start, size, count) = start.zip(size).zip(count).map(|((a, b), c)| (a, b, c)).context("its header is cut")?;
    for header in 0..count {
        let at = start.checked_add(header * size).context("its program headers are outside")?;
        if number(at, 4).context("its program headers are cut")? == INTERPRETER as usize {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of an ELF file whose one program header has a type.
    fn elf(kind: u32) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (file[32], file[54], file[56]) = (64, 56, 1);
        file.extend(kind.to_le_bytes());
        file.resize(120, 0);
        file
    }

    #[test]
    fn a_program_with_a_loader_is_not_static() {
        assert!(has_no_interpreter(&elf(1)).unwrap());
        assert!(!has_no_interpreter(&elf(INTERPRETER)).unwrap());
        assert!(has_no_interpreter(&elf(1)[..64]).is_err());
        assert!(has_no_interpreter(b"#!/bin/sh").is_err());
        // This test is linked with the host's C library.
        #[cfg(not(target_feature = "crt-static"))]
        assert!(!is_static(&std::env::current_exe().unwrap()).unwrap());
    }
}
