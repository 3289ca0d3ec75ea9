//! The signers of `copy` and `sync`.

use std::sync::Arc;

use vmroot::config_files::SigningParameters;
use vmroot::copy::ImageSigner;
use vmroot::signing::{SigstoreSigner, SimpleSigner};
use vmroot::{CopyOptions, Reference};

use crate::args::SigningArguments;
use crate::context::Context;
use crate::exit::UsageError;
use crate::keys;

/// Puts the signers of the command line into the options of a copy.
pub(super) fn add(context: &Context, arguments: &SigningArguments, options: &mut CopyOptions) -> anyhow::Result<()> {
    let passphrase = keys::passphrase_of("--sign-passphrase-file", arguments.sign_passphrase_file.as_deref())?;
    let mut signers: Vec<Arc<dyn ImageSigner>> = Vec::new();
    if let Some(user) = &arguments.sign_by {
        signers.push(Arc::new(SimpleSigner(keys::openpgp_key(user, passphrase.as_deref())?)));
    }
    if let Some(path) = &arguments.sign_by_sigstore_private_key {
        let option = "--sign-by-sigstore-private-key";
        signers.push(Arc::new(SigstoreSigner(keys::private_key(option, path, passphrase, &context.cancel())?)));
    }
    if let Some(path) = &arguments.sign_by_sigstore {
        let parameters = SigningParameters::read(path).map_err(vmroot::Error::from)?;
        let passphrase = keys::passphrase_of("privateKeyPassphraseFile", parameters.passphrase_file.as_deref())?;
        let key = keys::private_key("privateKeyFile", &parameters.private_key_file, passphrase, &context.cancel())?;
        signers.push(Arc::new(SigstoreSigner(key)));
    }
    options.signers = signers;
    if let Some(name) = &arguments.sign_identity {
        let reference = Reference::parse(name).map_err(vmroot::Error::from)?;
        // As in skopeo, a name without a tag and a digest is one of many images.
        if reference.tag().is_none() && reference.digest().is_none() {
            return Err(UsageError(format!("--sign-identity {name}: a tag or a digest is missing")).into());
        }
        options.sign_identity = Some(reference);
    }
    Ok(())
}
