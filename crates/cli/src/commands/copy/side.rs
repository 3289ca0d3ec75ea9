//! The options of one side of a copy.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use vmroot::registry::{FixedHostSettings, HostOptions};
use vmroot::{AuthFiles, Credential, FixedCredential, RegistryOptions};

use crate::args::{DestinationSide, SourceArguments};
use crate::context::Context;
use crate::exit::UsageError;

/// The options that both sides have.
struct Side<'a> {
    /// `src` or `dest`, for messages.
    prefix: &'static str,
    creds: Option<&'a str>,
    username: Option<&'a str>,
    password: Option<&'a str>,
    registry_token: Option<&'a str>,
    no_creds: bool,
    authfile: Option<&'a PathBuf>,
    cert_dir: Option<&'a PathBuf>,
    tls_verify: Option<bool>,
}

/// Creates a [`Side`] from the arguments of either side, which are different types.
macro_rules! side {
    ($prefix:literal, $arguments:expr) => {
        Side {
            prefix: $prefix,
            creds: $arguments.creds.as_deref(),
            username: $arguments.username.as_deref(),
            password: $arguments.password.as_deref(),
            registry_token: $arguments.registry_token.as_deref(),
            no_creds: $arguments.no_creds,
            authfile: $arguments.authfile.as_ref(),
            cert_dir: $arguments.cert_dir.as_ref(),
            tls_verify: $arguments.tls_verify,
        }
    };
}

/// Returns the options for the source's registry.
pub(crate) fn source_options(context: &Context, arguments: &SourceArguments) -> anyhow::Result<RegistryOptions> {
    side!("src", arguments).options(context)
}

/// Returns the options for the destination's registry.
pub(crate) fn destination_options(context: &Context, arguments: &DestinationSide) -> anyhow::Result<RegistryOptions> {
    side!("dest", arguments).options(context)
}

impl Side<'_> {
    fn options(&self, context: &Context) -> anyhow::Result<RegistryOptions> {
        let mut options = context.registry_options();
        if let Some(credential) = self.credential()? {
            options.credentials = Arc::new(FixedCredential(credential));
        } else if self.no_creds {
            options.credentials = Arc::new(vmroot::CredentialChain::default());
        } else if let Some(file) = self.authfile {
            let prefix = self.prefix;
            std::fs::metadata(file).with_context(|| format!("--{prefix}-authfile {}", file.display()))?;
            options.credentials = Arc::new(AuthFiles::new(vec![file.clone()]));
        }
        let _ = self.cert_dir;
        if let Some(verify) = self.tls_verify {
            let settings = HostOptions { insecure: !verify, require_tls: verify, ..HostOptions::default() };
            options.hosts = Arc::new(FixedHostSettings(settings));
        }
        Ok(options)
    }

    fn credential(&self) -> anyhow::Result<Option<Credential>> {
        let prefix = self.prefix;
        let given = [self.creds.is_some(), self.username.is_some(), self.registry_token.is_some(), self.no_creds];
        if given.iter().filter(|given| **given).count() > 1 {
            let text = format!(
                "only one of --{prefix}-creds, --{prefix}-username, --{prefix}-registry-token and --{prefix}-no-creds can be used"
            );
            return Err(UsageError(text).into());
        }
        if let Some(token) = self.registry_token {
            return Ok(Some(Credential::RegistryToken(token.to_owned())));
        }
        let (user, password) = match (self.creds, self.username) {
            (Some(creds), _) => creds.split_once(':').unwrap_or((creds, "")),
            (None, Some(user)) => (user, self.password.unwrap_or_default()),
            (None, None) if self.password.is_some() => {
                return Err(UsageError(format!("--{prefix}-password needs --{prefix}-username")).into());
            }
            (None, None) => return Ok(None),
        };
        if user.is_empty() {
            return Err(UsageError(format!("--{prefix}-creds: the user is empty")).into());
        }
        Ok(Some(Credential::Password { user: user.to_owned(), password: password.to_owned() }))
    }
}
