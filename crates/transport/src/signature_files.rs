//! Signatures in numbered files of a directory: those of a `dir:` image, and those of a lookaside.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use vmroot_output::write_atomically;
use vmroot_signatures::{SIGNATURE_LIMIT, SIGNATURES_LIMIT, Signature};

use crate::blob_file::READABLE;
use crate::regular::open_regular;
use crate::{Error, Result};

/// Returns the path of a signature, counted from 1: `PREFIXsignature-N` in a directory.
fn path_of(directory: &Path, prefix: &str, number: usize) -> PathBuf {
    directory.join(format!("{prefix}signature-{number}"))
}

/// Reads the signatures of a directory whose names begin with `prefix`, up to the first number that is missing.
pub(crate) fn read(directory: &Path, prefix: &str) -> Result<Vec<Signature>> {
    let mut signatures = Vec::new();
    loop {
        let path = path_of(directory, prefix, signatures.len() + 1);
        let file = match open_regular(&path) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(signatures);
            }
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        if signatures.len() == SIGNATURES_LIMIT {
            return Err(Error::TooManySignatures { place: directory.display().to_string(), limit: SIGNATURES_LIMIT });
        }
        let mut bytes = Vec::new();
        // One byte more, so that a file that is too long is recognised as such.
        file.take(SIGNATURE_LIMIT as u64 + 1).read_to_end(&mut bytes).map_err(Error::io("read", &path))?;
        signatures.push(Signature::from_stored(&bytes));
    }
}

/// Writes signatures into a directory that exists, and removes those with higher numbers.
pub(crate) fn write(directory: &Path, prefix: &str, signatures: &[Signature]) -> Result<()> {
    for (index, signature) in signatures.iter().enumerate() {
        write_atomically(&path_of(directory, prefix, index + 1), READABLE, &signature.to_stored())?;
    }
    for number in signatures.len() + 1.. {
        let path = path_of(directory, prefix, number);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(Error::io("remove", &path)(error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_files_are_written_and_read() {
        let directory = tempfile::tempdir().unwrap();
        let signature = |byte: u8| Signature::Simple(vec![0xa3, byte]);
        let signatures = [signature(1), signature(2), signature(3)];
        write(directory.path(), "", &signatures).unwrap();
        assert_eq!(read(directory.path(), "").unwrap(), signatures);
        write(directory.path(), "", &signatures[..1]).unwrap();
        assert_eq!(read(directory.path(), "").unwrap(), signatures[..1]);
        assert_eq!(read(directory.path(), "00.").unwrap(), []);
        assert_eq!(read(&directory.path().join("missing"), "").unwrap(), []);
    }

    #[test]
    fn the_number_and_the_length_are_limited() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("signature-1"), vec![0xa3; SIGNATURE_LIMIT + 1]).unwrap();
        assert!(matches!(read(directory.path(), "").unwrap()[..], [Signature::Unreadable { .. }]));
        for number in 1..=SIGNATURES_LIMIT + 1 {
            fs::write(directory.path().join(format!("signature-{number}")), [0xa3]).unwrap();
        }
        assert!(matches!(read(directory.path(), ""), Err(Error::TooManySignatures { .. })));
    }
}
