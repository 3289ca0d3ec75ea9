//! The options for making and verifying signatures.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::RetryArguments;

/// The options of `copy` and `sync` for signing the copies. They have the names and meanings of skopeo's.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Signature options")]
pub(crate) struct SigningArguments {
    /// Sign the copy with this OpenPGP key of the GnuPG home: a fingerprint, a key id, or a part of a user id
    #[arg(long, value_name = "KEY")]
    pub(crate) sign_by: Option<String>,
    /// Sign the copy as this YAML file says (containers-sigstore-signing-params.yaml(5)); private keys only
    #[arg(long, value_name = "FILE")]
    pub(crate) sign_by_sigstore: Option<PathBuf>,
    /// Sign the copy with the sigstore private key in this file
    #[arg(long, value_name = "FILE")]
    pub(crate) sign_by_sigstore_private_key: Option<PathBuf>,
    /// Read the passphrase of the key from the first line of this file
    #[arg(long, value_name = "FILE")]
    pub(crate) sign_passphrase_file: Option<PathBuf>,
    /// Sign for this name instead of that of the destination
    #[arg(long, value_name = "REFERENCE")]
    pub(crate) sign_identity: Option<String>,
    #[arg(long, hide = true, value_parser = refuse_sequoia)]
    sign_by_sq_fingerprint: Option<String>,
}

fn refuse_sequoia(_: &str) -> Result<String, String> {
    Err("vmroot does not read the keys of Sequoia; --sign-by takes one of GnuPG".to_owned())
}

/// The options of `sign`.
#[derive(Debug, Clone, Args)]
pub(crate) struct SignArguments {
    /// Sign with the private key in this file; COSIGN_PASSWORD has its passphrase, or it is asked for
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Write the signature in this form
    #[arg(long, value_name = "FORM", default_value = "both")]
    pub(crate) form: SignatureForm,
    #[command(flatten)]
    pub(crate) retries: RetryArguments,
}

/// `--form`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SignatureForm {
    /// A bundle that refers to the image, for cosign 3
    Bundle,
    /// An attachment with the tag sha256-HEX.sig, for skopeo, podman and earlier versions of cosign
    Attachment,
    /// Both
    Both,
}

/// The options of `verify-signature` and `attestations`.
#[derive(Debug, Clone, Args)]
pub(crate) struct VerifySignatureArguments {
    /// Accept signatures by the public key in this file (repeatable)
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) key: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) retries: RetryArguments,
}

/// The options of `attest`.
#[derive(Debug, Clone, Args)]
pub(crate) struct AttestArguments {
    /// Sign with the private key in this file; COSIGN_PASSWORD has its passphrase, or it is asked for
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Attest the predicate in this JSON file
    #[arg(long, value_name = "FILE")]
    pub(crate) predicate: PathBuf,
    /// The type of the predicate: slsaprovenance1, spdxjson, cyclonedx, vuln, link, or a URI
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) predicate_type: String,
    #[command(flatten)]
    pub(crate) retries: RetryArguments,
}

/// The options of `standalone-sign`.
#[derive(Debug, Clone, Args)]
pub(crate) struct StandaloneSignArguments {
    /// File with the manifest of the image
    pub(crate) manifest: PathBuf,
    /// Name that the signature is for: HOST/REPOSITORY:TAG
    pub(crate) docker_reference: String,
    /// OpenPGP key of the GnuPG home: a fingerprint, a key id, or a part of a user id
    pub(crate) key_fingerprint: String,
    /// Write the signature to this file
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Read the passphrase of the key from the first line of this file
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// The options of `standalone-verify`.
#[derive(Debug, Clone, Args)]
pub(crate) struct StandaloneVerifyArguments {
    /// File with the manifest of the image
    pub(crate) manifest: PathBuf,
    /// Name that the signature must be for
    pub(crate) docker_reference: String,
    /// Fingerprints of the accepted keys, joined by commas; any accepts each key of --public-key-file
    pub(crate) key_fingerprints: String,
    /// File with the signature
    pub(crate) signature: PathBuf,
    /// Use the keys in this file [default: those of the GnuPG home]
    #[arg(long, value_name = "FILE")]
    pub(crate) public_key_file: Option<PathBuf>,
}

/// The options of `generate-sigstore-key`.
#[derive(Debug, Clone, Args)]
pub(crate) struct GenerateKeyArguments {
    /// Write the keys to PREFIX.private and PREFIX.pub
    #[arg(long, value_name = "PREFIX")]
    pub(crate) output_prefix: PathBuf,
    /// Read the passphrase from the first line of this file; otherwise COSIGN_PASSWORD has it, or it is asked for
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}
