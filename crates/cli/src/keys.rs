//! The keys for signatures, and their passphrases.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use vmroot::Cancel;
use vmroot::openpgp::{GnupgHome, SigningKey};
use vmroot::sigstore::{Error as KeyError, PrivateKey, PublicKey};

use crate::environment;
use crate::exit::{TooLong, UsageError};
use crate::prompt;

/// The largest file of a key, a predicate or a signature in bytes.
const FILE_LIMIT: u64 = 16 << 20;

/// Reads a file of at most [`FILE_LIMIT`] bytes. `option` is its place on the command line.
pub(crate) fn read(option: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    let context = || format!("{option} {}", path.display()).trim_start().to_owned();
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(context)?;
    file.take(FILE_LIMIT + 1).read_to_end(&mut bytes).with_context(context)?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(anyhow::Error::from(TooLong { limit: FILE_LIMIT }).context(context()));
    }
    Ok(bytes)
}

/// Returns the passphrase in the first line of a file.
pub(crate) fn passphrase_of(option: &str, path: Option<&Path>) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(path) = path else { return Ok(None) };
    let bytes = read(option, path)?;
    Ok(Some(bytes.split(|byte| *byte == b'\n').next().unwrap_or_default().to_owned()))
}

/// Returns a new passphrase, which is asked for twice.
pub(crate) fn new_passphrase(cancel: &Cancel) -> anyhow::Result<Vec<u8>> {
    if !io::stdin().is_terminal() {
        let message = "--passphrase-file or COSIGN_PASSWORD is needed: standard input is no terminal";
        return Err(UsageError(message.to_owned()).into());
    }
    let first = prompt::ask_hidden("Passphrase for the new key: ", cancel)?.unwrap_or_default();
    let second = prompt::ask_hidden("The same passphrase again: ", cancel)?.unwrap_or_default();
    match first == second {
        true => Ok(first.into_bytes()),
        false => Err(UsageError("the passphrases differ".to_owned()).into()),
    }
}

/// Reads a private key for sigstore. Without a passphrase, it is asked for on a terminal.
pub(crate) fn private_key(
    option: &str,
    path: &Path,
    passphrase: Option<Vec<u8>>,
    cancel: &Cancel,
) -> anyhow::Result<PrivateKey> {
    let text = read(option, path)?;
    let context = || format!("{option} {}", path.display());
    match PrivateKey::read(&text, passphrase.as_deref()) {
        Err(KeyError::PassphraseMissing) if io::stdin().is_terminal() => {
            let question = format!("Passphrase for {}: ", path.display());
            let passphrase = prompt::ask_hidden(&question, cancel)?.unwrap_or_default();
            PrivateKey::read(&text, Some(passphrase.as_bytes())).map_err(vmroot::Error::from).with_context(context)
        }
        key => key.map_err(vmroot::Error::from).with_context(context),
    }
}

/// Reads public keys for sigstore.
pub(crate) fn public_keys(paths: &[PathBuf]) -> anyhow::Result<Vec<PublicKey>> {
    let read = |path: &PathBuf| {
        let key = PublicKey::from_pem(&read("--key", path)?).map_err(vmroot::Error::from);
        key.with_context(|| format!("--key {}", path.display()))
    };
    paths.iter().map(read).collect()
}

/// Reads the keys of the GnuPG home: that of `GNUPGHOME`, or `~/.gnupg`.
pub(crate) fn gnupg_home() -> anyhow::Result<GnupgHome> {
    let directory = environment::gnupg_home().ok_or_else(|| UsageError("HOME is not set".to_owned()))?;
    Ok(GnupgHome::read(&directory).map_err(vmroot::Error::from)?)
}

/// Returns a key of the GnuPG home.
pub(crate) fn openpgp_key(user: &str, passphrase: Option<&[u8]>) -> anyhow::Result<SigningKey> {
    let key = SigningKey::from_gnupg(&gnupg_home()?, user, passphrase, SystemTime::now());
    Ok(key.map_err(vmroot::Error::from)?)
}
