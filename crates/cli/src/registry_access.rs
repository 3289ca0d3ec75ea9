//! The access to registries: the options of the command line, joined with the user's configuration.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use vmroot::config_files::CredentialExplanation;
use vmroot::{
    Configuration, Credential, CredentialChain, Credentials, FixedCredential, RegistryConfiguration, RegistryOptions,
};

use crate::args::RegistryArguments;
use crate::environment;
use crate::exit::UsageError;

/// The options of the command line for the access to registries, of all registries or of one side of a copy.
#[derive(Debug, Clone, Default)]
pub(crate) struct RegistryAccess {
    /// The beginning of the options' names, for messages: empty, `src-` or `dest-`.
    pub(crate) prefix: &'static str,
    pub(crate) creds: Option<String>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) registry_token: Option<String>,
    pub(crate) no_creds: bool,
    pub(crate) authfile: Option<PathBuf>,
    pub(crate) compat_auth_file: Option<PathBuf>,
    pub(crate) cert_dir: Option<PathBuf>,
    pub(crate) tls_verify: Option<bool>,
}

impl RegistryAccess {
    /// Returns the options for all registries.
    pub(crate) fn of(arguments: &RegistryArguments) -> Self {
        Self {
            prefix: "",
            creds: arguments.creds.clone(),
            username: arguments.username.clone(),
            password: arguments.password.clone(),
            registry_token: arguments.registry_token.clone(),
            no_creds: arguments.no_creds,
            authfile: arguments.files.authfile.clone(),
            compat_auth_file: None,
            cert_dir: arguments.cert_dir.clone(),
            tls_verify: arguments.tls_verify,
        }
    }

    /// Returns these options, and `others` where they have none. Credentials are taken from one of the two as a whole.
    pub(crate) fn or(self, others: Self) -> Self {
        let chosen = if self.has_credential() { self.clone() } else { others.clone() };
        let has_file = self.authfile.is_some() || self.compat_auth_file.is_some();
        let files = if has_file { self.clone() } else { others.clone() };
        Self {
            authfile: files.authfile,
            compat_auth_file: files.compat_auth_file,
            cert_dir: self.cert_dir.or(others.cert_dir),
            tls_verify: self.tls_verify.or(others.tls_verify),
            ..chosen
        }
    }

    fn has_credential(&self) -> bool {
        self.no_creds
            || [&self.creds, &self.username, &self.password, &self.registry_token].iter().any(|it| it.is_some())
    }

    /// Returns whether there is a user without a password, or the reverse. `login` asks for the rest.
    fn is_incomplete(&self) -> bool {
        self.username.is_some() != self.password.is_some()
    }

    /// Checks the options for commands that use them as they are.
    ///
    /// # Errors
    /// The file of `--authfile` does not exist or is a directory, the directory of `--cert-dir` cannot be read, or
    /// `--username` has no password.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        self.credential()?;
        self.check_files()
    }

    /// Checks the files and directories that options name.
    pub(crate) fn check_files(&self) -> anyhow::Result<()> {
        if let Some(directory) = &self.cert_dir {
            let option = || format!("--{}cert-dir {}", self.prefix, directory.display());
            std::fs::read_dir(directory).with_context(option)?;
        }
        self.check_authfile()
    }

    /// Checks that the file of `--authfile` exists and is no directory. The files that the environment names need not, and `login` creates
    /// its file.
    pub(crate) fn check_authfile(&self) -> anyhow::Result<()> {
        let Some(file) = &self.authfile else { return Ok(()) };
        let option = || format!("--{}authfile {}", self.prefix, file.display());
        match std::fs::metadata(file).with_context(option)?.is_dir() {
            true => Err(std::io::Error::from(std::io::ErrorKind::IsADirectory)).with_context(option),
            false => Ok(()),
        }
    }

    /// Returns the user's configuration, with the files that these options name.
    pub(crate) fn configuration(&self, arguments: &RegistryArguments) -> Configuration {
        let mut locations = environment::locations(arguments);
        if self.authfile.is_some() || self.compat_auth_file.is_some() {
            locations.auth_file.clone_from(&self.authfile);
            locations.compat_auth_file.clone_from(&self.compat_auth_file);
        }
        locations.cert_dir.clone_from(&self.cert_dir);
        Configuration::new(locations).with_tls_verify(self.tls_verify)
    }

    /// Puts the credentials into the options of a client, and returns the configuration for it.
    ///
    /// A credential of the command line is for the named registry. Mirrors on other hosts get those of the files.
    pub(crate) fn apply(
        &self,
        arguments: &RegistryArguments,
        options: &mut RegistryOptions,
    ) -> anyhow::Result<RegistryConfiguration> {
        let files = Arc::new(self.configuration(arguments));
        let mut configuration = RegistryConfiguration::new(Arc::clone(&files));
        let credential = if self.is_incomplete() { None } else { self.credential()? };
        options.credentials = match credential {
            Some((credential, option)) => {
                tracing::info!("credentials from {option}");
                Arc::new(FixedCredential(credential))
            }
            None if self.no_creds => {
                let none: Arc<dyn Credentials> = Arc::new(CredentialChain::default());
                configuration.mirror_credentials = Arc::clone(&none);
                none
            }
            None => files,
        };
        Ok(configuration)
    }

    /// Returns the credential of the command line, and the option that has it. As in skopeo, a token takes precedence over
    /// `--creds`, in which a user needs no password.
    ///
    /// # Errors
    /// Options exclude each other, a part is missing, or the user is empty.
    pub(crate) fn credential(&self) -> anyhow::Result<Option<(Credential, String)>> {
        let prefix = self.prefix;
        let usage = |text: String| anyhow::Error::from(UsageError(text));
        let has_username = self.username.is_some() || self.password.is_some();
        if [self.creds.is_some(), has_username, self.no_creds].iter().filter(|given| **given).count() > 1 {
            return Err(usage(format!(
                "only one of --{prefix}creds, --{prefix}username and --{prefix}no-creds can be used"
            )));
        }
        if has_username && self.registry_token.is_some() {
            let text = format!("--{prefix}registry-token does not go with --{prefix}username and --{prefix}password");
            return Err(usage(text));
        }
        let (user, password, option) = match (&self.creds, &self.username, &self.password) {
            (Some(creds), ..) => {
                let (user, password) = creds.split_once(':').unwrap_or((creds, ""));
                (user, password, format!("--{prefix}creds"))
            }
            (None, Some(user), Some(password)) => (user.as_str(), password.as_str(), format!("--{prefix}username")),
            (None, Some(_), None) => return Err(usage(format!("--{prefix}username requires --{prefix}password"))),
            (None, None, Some(_)) => return Err(usage(format!("--{prefix}password requires --{prefix}username"))),
            (None, None, None) => {
                return Ok(self.registry_token.as_ref().map(|token| self.of_token(token)));
            }
        };
        if user.is_empty() {
            return Err(usage(format!("{option}: the user is empty")));
        }
        if let Some(token) = &self.registry_token {
            return Ok(Some(self.of_token(token)));
        }
        Ok(Some((Credential::Password { user: user.to_owned(), password: password.to_owned() }, option)))
    }

    fn of_token(&self, token: &str) -> (Credential, String) {
        (Credential::RegistryToken(token.to_owned()), format!("--{}registry-token", self.prefix))
    }

    /// Returns the description of the credential that the command line puts in place of the files', if it does.
    pub(crate) fn explained_credential(&self) -> anyhow::Result<Option<Option<CredentialExplanation>>> {
        let credential = self.credential()?;
        let explained = credential.map(|(credential, option)| CredentialExplanation::of(&credential, option));
        Ok(explained.map(Some).or(self.no_creds.then_some(None)))
    }
}
