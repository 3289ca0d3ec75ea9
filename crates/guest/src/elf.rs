//! Checks the architecture of a program in its ELF header.

use crate::{Error, Result};

/// Architectures by their names in images, with their `e_machine` and whether addresses have 64 bits.
const MACHINES: [(&str, u16, bool); 7] = [
    ("386", 3, false),
    ("amd64", 62, true),
    ("arm", 40, false),
    ("arm64", 183, true),
    ("ppc64le", 21, true),
    ("riscv64", 243, true),
    ("s390x", 22, true),
];

/// `ET_EXEC`, and `ET_DYN` for position-independent programs.
const PROGRAMS: [u16; 2] = [2, 3];

/// Checks that a program is for guests of `architecture`. For an architecture that is unknown here, any program passes.
///
/// # Errors
/// - [`Error::NotAProgram`] if it is not an ELF program.
/// - [`Error::OtherArchitecture`] if it is for another architecture.
pub fn check_program(bytes: &[u8], architecture: &str) -> Result<()> {
    let header = Header::parse(bytes).ok_or(Error::NotAProgram)?;
    let Some((_, machine, wide)) = MACHINES.iter().find(|(name, _, _)| *name == architecture) else {
        return Ok(());
    };
    if (header.machine, header.wide) == (*machine, *wide) {
        return Ok(());
    }
    let known = MACHINES.iter().find(|(_, machine, wide)| (*machine, *wide) == (header.machine, header.wide));
    let actual = known.map_or_else(|| format!("ELF machine {}", header.machine), |(name, ..)| (*name).to_owned());
    Err(Error::OtherArchitecture { actual, architecture: architecture.to_owned() })
}

struct Header {
    wide: bool,
    machine: u16,
}

impl Header {
    /// Parses the fields of `e_ident`, `e_type` and `e_machine`. Returns `None` if it is not a program.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let wide = *bytes.strip_prefix(b"\x7fELF")?.first()? == 2;
        let little = *bytes.get(5)? == 1;
        let number = |at: usize| {
            let bytes = [*bytes.get(at)?, *bytes.get(at + 1)?];
            Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
        };
        PROGRAMS.contains(&number(16)?).then_some(Self { wide, machine: number(18)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(class: u8, data: u8, machine: [u8; 2]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, data]);
        bytes[16..18].copy_from_slice(&if data == 1 { [2, 0] } else { [0, 2] });
        bytes[18..20].copy_from_slice(&machine);
        bytes
    }

    #[test]
    fn a_program_is_for_one_architecture() {
        let amd64 = elf(2, 1, [62, 0]);
        assert_eq!(check_program(&amd64, "amd64"), Ok(()));
        assert_eq!(check_program(&amd64, "loong64"), Ok(()));
        let error = check_program(&amd64, "arm64").unwrap_err();
        assert_eq!(error.to_string(), "a program for amd64, and the image is for arm64");
        assert_eq!(check_program(&elf(2, 2, [0, 22]), "s390x"), Ok(()));
        let x32 = check_program(&elf(1, 1, [62, 0]), "amd64").unwrap_err();
        assert_eq!(x32.to_string(), "a program for ELF machine 62, and the image is for amd64");
    }

    #[test]
    fn files_that_are_not_programs_are_refused() {
        let mut object = elf(2, 1, [62, 0]);
        object[16] = 1;
        let cut = &elf(2, 1, [62, 0])[..19];
        for bytes in [&b""[..], b"#!/bin/sh", &object, cut] {
            assert_eq!(check_program(bytes, "amd64"), Err(Error::NotAProgram));
        }
    }
}
