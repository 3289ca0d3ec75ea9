//! Reading the files with keys and certificates that a policy names.

use std::io::Read as _;
use std::path::Path;

use vmroot_sigstore::PublicKey;

use crate::DataSource;

/// The largest file with keys or certificates in bytes.
const KEY_FILE_LIMIT: u64 = 64 << 20;

/// The contents of files, with their names for messages.
pub(super) fn contents(source: &DataSource) -> Result<Vec<(String, Vec<u8>)>, String> {
    match source {
        DataSource::Paths(paths) => paths.iter().map(|path| Ok((path.display().to_string(), read(path)?))).collect(),
        DataSource::Data(data) => {
            let numbered = data.iter().enumerate();
            Ok(numbered.map(|(number, data)| (format!("the policy's data {}", number + 1), data.clone())).collect())
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error| format!("cannot read {}: {error}", path.display());
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(KEY_FILE_LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > KEY_FILE_LIMIT {
        return Err(format!("{} has more than {KEY_FILE_LIMIT} bytes", path.display()));
    }
    Ok(bytes)
}

/// Returns public keys, one of each file. A key that cannot be read is an error, even if another one would do: else the
/// fault would be found only when the other one is replaced.
pub(super) fn public_keys(source: &DataSource) -> Result<Vec<PublicKey>, String> {
    let keys = contents(source)?;
    keys.iter().map(|(name, text)| PublicKey::from_pem(text).map_err(|error| format!("{name}: {error}"))).collect()
}
