//! The keys of `--decryption-key` and `--encryption-key`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::Context as _;
use vmroot::copy::Encryption;
use vmroot::encryption::{DecryptionKeys, KEY_FILE_LIMIT, KEY_RING_LIMIT, Recipients};

use crate::args::EncryptionArguments;
use crate::exit::UsageError;

/// The forms of keys of other tools that are not supported.
const OTHER_TOOLS: &str = "keys of PKCS #11 tokens and of key providers are not supported";

/// Reads the keys of `--decryption-key`, in the notation of skopeo: `FILE`, `FILE:PASSWORD`, `FILE:pass=PASSWORD`,
/// `FILE:file=FILE` or `FILE:fd=N`.
pub(crate) fn decryption_keys(options: &[String]) -> anyhow::Result<Arc<DecryptionKeys>> {
    let mut keys = DecryptionKeys::new();
    for option in options {
        let (file, password) = match option.split_once(':') {
            Some(("provider", _)) => return Err(usage("--decryption-key", option, OTHER_TOOLS).into()),
            Some((file, password)) => (file, Some(read_password(password)?)),
            None => (option.as_str(), None),
        };
        let bytes = read(file, KEY_RING_LIMIT).context("--decryption-key")?;
        keys.add(&bytes, password.as_deref())
            .map_err(vmroot::Error::from)
            .with_context(|| format!("--decryption-key {file}"))?;
    }
    Ok(Arc::new(keys))
}

fn read_password(text: &str) -> anyhow::Result<Vec<u8>> {
    let path = match text.split_once('=') {
        Some(("pass", password)) => return Ok(password.as_bytes().to_vec()),
        Some(("file", path)) => path.to_owned(),
        Some(("fd", number)) => {
            let number: u32 =
                number.parse().map_err(|_| UsageError(format!("--decryption-key: {text} is no number")))?;
            format!("/dev/fd/{number}")
        }
        _ => return Ok(text.as_bytes().to_vec()),
    };
    let mut password = read(&path, KEY_FILE_LIMIT).context("the password of --decryption-key")?;
    // An editor ends the file with a line break, which is no part of the password.
    let length = password.trim_ascii_end().len();
    if password[length..].iter().all(|byte| [b'\n', b'\r'].contains(byte)) {
        password.truncate(length);
    }
    Ok(password)
}

/// Returns the encryption of `--encryption-key` and `--encrypt-layer`; `None` without these.
pub(crate) fn encryption(arguments: &EncryptionArguments) -> anyhow::Result<Option<Encryption>> {
    if arguments.encryption_key.is_empty() {
        return Ok(None);
    }
    let mut recipients = Recipients::new();
    for option in &arguments.encryption_key {
        add_recipient(&mut recipients, option).with_context(|| format!("--encryption-key {option}"))?;
    }
    Ok(Some(Encryption { recipients: Arc::new(recipients), layers: arguments.encrypt_layer.clone() }))
}

fn add_recipient(recipients: &mut Recipients, option: &str) -> anyhow::Result<()> {
    let added = match option.split_once(':') {
        Some(("jwe", file)) => recipients.add_jwe(&read(file, KEY_FILE_LIMIT)?),
        Some(("pkcs7", file)) => recipients.add_pkcs7(&read(file, KEY_FILE_LIMIT)?),
        // Names and addresses of people have no slash.
        Some(("pgp", file)) if file.contains('/') => recipients.add_pgp(&read(file, KEY_RING_LIMIT)?, None),
        Some(("pgp", name)) => recipients.add_pgp(&gpg_keyring()?, Some(name)),
        Some(("pkcs11" | "provider", _)) => return Err(UsageError(OTHER_TOOLS.to_owned()).into()),
        _ => {
            let forms = "expected jwe:FILE, pkcs7:FILE, pgp:NAME or pgp:PATH";
            return Err(UsageError(forms.to_owned()).into());
        }
    };
    Ok(added.map_err(vmroot::Error::from)?)
}

/// Returns all public keys that gpg has, as skopeo asks for them.
fn gpg_keyring() -> anyhow::Result<Vec<u8>> {
    let export = |program: &str| {
        Command::new(program).args(["--batch", "--export"]).stdin(Stdio::null()).stderr(Stdio::inherit()).output()
    };
    let output = export("gpg2").or_else(|_| export("gpg"));
    let output = output.context("gpg cannot be started; pgp:PATH takes a file with public keys instead")?;
    anyhow::ensure!(output.status.success(), "gpg --export failed: {}", output.status);
    Ok(output.stdout)
}

/// Reads a file, and one byte more than the limit, so that its reader notices.
fn read(path: impl AsRef<Path>, limit: usize) -> anyhow::Result<Vec<u8>> {
    use std::io::Read as _;
    let path = path.as_ref();
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path);
    let read = opened.and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes));
    read.with_context(|| path.display().to_string())?;
    Ok(bytes)
}

fn usage(option: &str, value: &str, reason: &str) -> UsageError {
    UsageError(format!("{option} {value}: {reason}"))
}
