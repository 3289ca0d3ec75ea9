//! The options for encrypted layers, which have the names and meanings of skopeo's.

use clap::Args;

/// Keys that decrypt layers.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Encrypted layers")]
pub(crate) struct DecryptionArguments {
    /// Decrypt encrypted layers with the private key, certificate or OpenPGP secret keys in this file (repeatable; the
    /// password as PASSWORD, pass=PASSWORD, file=FILE or fd=N)
    #[arg(long, global = true, value_name = "FILE[:PASSWORD]", value_delimiter = ',')]
    pub(crate) decryption_key: Vec<String>,
}

/// The encryption of layers by `copy`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Encrypted layers")]
pub(crate) struct EncryptionArguments {
    /// Encrypt layers for this recipient: jwe:PUBLIC_KEY_FILE, pkcs7:CERTIFICATE_FILE, pgp:NAME_OR_ADDRESS of gpg's
    /// keyring, or pgp:PATH of a file with public keys (repeatable)
    #[arg(long, value_name = "RECIPIENT", value_delimiter = ',', conflicts_with = "decryption_key")]
    pub(crate) encryption_key: Vec<String>,
    /// Encrypt only the layer at this position: 0 is the first one, -1 the last (repeatable) [default: all layers]
    #[arg(long, value_name = "N", value_delimiter = ',', allow_hyphen_values = true, requires = "encryption_key")]
    pub(crate) encrypt_layer: Vec<i64>,
}
