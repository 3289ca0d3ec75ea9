//! `standalone-sign`, `standalone-verify` and `generate-sigstore-key`, as skopeo has them.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;
use vmroot::model::manifest_digest;
use vmroot::openpgp::Keyring;
use vmroot::signing::{SimpleSigner, verify_message};
use vmroot::sigstore::PrivateKey;
use vmroot::{Digest, Reference};

use crate::args::{GenerateKeyArguments, StandaloneSignArguments, StandaloneVerifyArguments};
use crate::context::Context;
use crate::exit::UsageError;
use crate::{environment, keys, output};

/// Signs a manifest in a file, and writes the OpenPGP message.
pub(crate) fn sign(context: &Context, arguments: &StandaloneSignArguments) -> anyhow::Result<()> {
    let manifest = keys::read("", &arguments.manifest)?;
    let digest = manifest_digest(&manifest).unwrap_or_else(|_| Digest::of(&manifest));
    Reference::parse(&arguments.docker_reference).map_err(vmroot::Error::from)?;
    let passphrase = keys::passphrase_of("--passphrase-file", arguments.passphrase_file.as_deref())?;
    let key = keys::openpgp_key(&arguments.key_fingerprint, passphrase.as_deref())?;
    let message = SimpleSigner(key).message(&digest, &arguments.docker_reference).map_err(vmroot::Error::from)?;
    std::fs::write(&arguments.output, message).with_context(|| format!("--output {}", arguments.output.display()))?;
    if context.json() {
        output::print_json(&json!({"digest": digest, "output": arguments.output.display().to_string()}))?;
    }
    Ok(())
}

/// Verifies an OpenPGP message in a file, and prints the signer and the digest.
pub(crate) fn verify(context: &Context, arguments: &StandaloneVerifyArguments) -> anyhow::Result<()> {
    let manifest = keys::read("", &arguments.manifest)?;
    let signature = keys::read("", &arguments.signature)?;
    let keyring = match &arguments.public_key_file {
        Some(path) => Keyring::read(&keys::read("--public-key-file", path)?).map_err(vmroot::Error::from)?,
        None if arguments.key_fingerprints == "any" => {
            return Err(UsageError("any needs --public-key-file".to_owned()).into());
        }
        None => keys::gnupg_home()?.keyring().map_err(vmroot::Error::from)?,
    };
    let fingerprints: Vec<String> = match arguments.key_fingerprints.as_str() {
        "any" => Vec::new(),
        "" => return Err(UsageError("KEY_FINGERPRINTS is empty".to_owned()).into()),
        list => list.split(',').map(|it| it.trim().to_owned()).collect(),
    };
    let verified = verify_message(&signature, &manifest, &arguments.docker_reference, &keyring, &fingerprints)?;
    if context.json() {
        return Ok(output::print_json(&json!({"fingerprint": verified.fingerprint, "digest": verified.digest}))?);
    }
    let text = format!("Signature verified using fingerprint {}, digest {}", verified.fingerprint, verified.digest);
    Ok(output::print_line(text)?)
}

/// Generates a key pair for sigstore signatures.
pub(crate) fn generate_key(context: &Context, arguments: &GenerateKeyArguments) -> anyhow::Result<()> {
    let with_ending = |ending: &str| {
        let mut path: OsString = arguments.output_prefix.clone().into();
        path.push(ending);
        PathBuf::from(path)
    };
    let (private, public) = (with_ending(".private"), with_ending(".pub"));
    for path in [&private, &public] {
        if path.symlink_metadata().is_ok() {
            return Err(UsageError(format!("{} exists; choose another prefix", path.display())).into());
        }
    }
    let of_file = keys::passphrase_of("--passphrase-file", arguments.passphrase_file.as_deref())?;
    let passphrase = match of_file.or_else(environment::cosign_password) {
        Some(passphrase) => passphrase,
        None => keys::new_passphrase(&context.cancel())?,
    };
    let key = PrivateKey::generate();
    write_new(&private, 0o600, key.to_encrypted_pem(&passphrase).as_bytes())?;
    write_new(&public, 0o644, key.public().to_pem().as_bytes())?;
    let (private, public) = (private.display().to_string(), public.display().to_string());
    match context.json() {
        true => Ok(output::print_json(&json!({"privateKey": private, "publicKey": public}))?),
        false => Ok(output::print_line(format!("Key written to {private:?} and {public:?}"))?),
    }
}

/// Writes a file that does not exist yet.
fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> anyhow::Result<()> {
    let context = || path.display().to_string();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).with_context(context)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).with_context(context)
}
