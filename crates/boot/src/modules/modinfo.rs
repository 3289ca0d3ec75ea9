//! The section `.modinfo` of a module's ELF file.
//!
//! `modules.dep` lists the same dependencies, but exists only after a run of depmod, and not in an unpacked package.

use super::normalised;

/// The relevant fields of a module's `.modinfo`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ModuleInfo {
    /// The kernel's release: the first word of `vermagic`.
    pub(super) version: Option<String>,
    /// The modules whose symbols this one uses.
    pub(super) dependencies: Vec<String>,
    /// The modules to load before this one if they exist: `softdep=pre: …`.
    pub(super) soft_dependencies: Vec<String>,
}

// Offsets in the header and in section headers of a 64-bit little-endian ELF file (elf(5)).
const SECTION_HEADERS: usize = 0x28;
const SECTION_HEADER_SIZE: usize = 0x3a;
const SECTION_COUNT: usize = 0x3c;
const SECTION_NAMES: usize = 0x3e;
const NAME: usize = 0x00;
const OFFSET: usize = 0x18;
const SIZE: usize = 0x20;

impl ModuleInfo {
    pub(super) fn parse(elf: &[u8]) -> std::result::Result<Self, &'static str> {
        if !elf.starts_with(b"\x7fELF\x02\x01") {
            return Err("not an ELF file of 64 bits, little endian");
        }
        let section = modinfo(elf).ok_or("it has no section .modinfo, or is truncated")?;
        let mut info = Self::default();
        for field in section.split(|byte| *byte == 0) {
            let text = String::from_utf8_lossy(field);
            match text.split_once('=') {
                Some(("vermagic", magic)) => info.version = magic.split(' ').next().map(str::to_owned),
                Some(("depends", names)) => {
                    info.dependencies.extend(names.split(',').filter(|name| !name.is_empty()).map(normalised));
                }
                Some(("softdep", text)) => info.soft_dependencies.extend(before(text)),
                _ => {}
            }
        }
        Ok(info)
    }
}

/// Returns the names between `pre:` and `post:`.
fn before(softdep: &str) -> impl Iterator<Item = String> {
    let words = softdep.split_ascii_whitespace().skip_while(|word| *word != "pre:").skip(1);
    words.take_while(|word| *word != "post:").map(normalised)
}

fn modinfo(elf: &[u8]) -> Option<&[u8]> {
    let headers = usize::try_from(u64_at(elf, SECTION_HEADERS)?).ok()?;
    let size = usize::from(u16_at(elf, SECTION_HEADER_SIZE)?);
    let header = |number: u16| elf.get(headers.checked_add(usize::from(number) * size)?..)?.get(..size);
    let names = contents(elf, header(u16_at(elf, SECTION_NAMES)?)?)?;
    (0..u16_at(elf, SECTION_COUNT)?).map_while(header).find_map(|header| {
        let name = names.get(u32_at(header, NAME)? as usize..)?;
        name.starts_with(b".modinfo\0").then(|| contents(elf, header)).flatten()
    })
}

fn contents<'a>(elf: &'a [u8], header: &[u8]) -> Option<&'a [u8]> {
    let offset = usize::try_from(u64_at(header, OFFSET)?).ok()?;
    let size = usize::try_from(u64_at(header, SIZE)?).ok()?;
    elf.get(offset..)?.get(..size)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns a minimal file that the kernel's tools would accept as a module with this `.modinfo`.
    pub(in crate::modules) fn elf(modinfo: &[&str]) -> Vec<u8> {
        let names = b"\0.modinfo\0.shstrtab\0";
        let info: Vec<u8> = modinfo.iter().flat_map(|field| [field.as_bytes(), b"\0"].concat()).collect();
        let mut elf = vec![0; 64];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf.extend_from_slice(names);
        let info_at = elf.len();
        elf.extend_from_slice(&info);
        let headers = elf.len() as u64;
        let mut section = |name: u32, offset: usize, size: usize| {
            let mut header = [0; 64];
            header[..4].copy_from_slice(&name.to_le_bytes());
            header[OFFSET..][..8].copy_from_slice(&(offset as u64).to_le_bytes());
            header[SIZE..][..8].copy_from_slice(&(size as u64).to_le_bytes());
            elf.extend_from_slice(&header);
        };
        section(0, 0, 0);
        section(1, info_at, info.len());
        section(10, 64, names.len());
        elf[SECTION_HEADERS..][..8].copy_from_slice(&headers.to_le_bytes());
        elf[SECTION_HEADER_SIZE..][..6].copy_from_slice(&[64, 0, 3, 0, 2, 0]);
        elf
    }

    #[test]
    fn dependencies_are_read() {
        let bytes = elf(&[
            "license=GPL",
            "softdep=pre: crc32c aes-x86 post: later",
            "depends=jbd2,lib-crc",
            "vermagic=6.1.0-56-cloud-amd64 SMP preempt mod_unload ",
        ]);
        let expected = ModuleInfo {
            version: Some("6.1.0-56-cloud-amd64".into()),
            dependencies: vec!["jbd2".into(), "lib_crc".into()],
            soft_dependencies: vec!["crc32c".into(), "aes_x86".into()],
        };
        assert_eq!(ModuleInfo::parse(&bytes), Ok(expected));
        assert_eq!(ModuleInfo::parse(&elf(&["depends="])), Ok(ModuleInfo::default()));
    }

    #[test]
    fn every_cut_is_an_error_and_no_panic() {
        let bytes = elf(&["depends=a"]);
        for length in 0..bytes.len() {
            let parsed = ModuleInfo::parse(&bytes[..length]);
            // The last section is the one of the names, and ends the file.
            assert!(parsed.is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_damage_makes_it_panic(at in 0_usize..512, byte: u8) {
            let mut bytes = elf(&["depends=a,b", "softdep=pre: c"]);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = ModuleInfo::parse(&bytes);
        }
    }
}
