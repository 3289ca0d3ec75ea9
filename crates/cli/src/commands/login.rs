//! `login` and `logout`.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::os::fd::AsFd as _;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::json;
use vmroot::config_files::{Error as ConfigError, check_key};
use vmroot::{Cancel, Configuration, Credential, FixedCredential, RegistryOptions};

use crate::args::{LoginArguments, LogoutArguments};
use crate::context::Context;
use crate::exit::{Advised, LoginFailed};
use crate::interruptible::CancellableReader;
use crate::registry_access::RegistryAccess;
use crate::{output, prompt};

/// The maximum length of a password from standard input, in bytes. Tokens of cloud registries have some kilobytes.
const PASSWORD_LIMIT: u64 = 1 << 20;

/// Logs in to a registry: checks user and password there, and stores them.
pub(crate) fn login(context: &Context, arguments: &LoginArguments) -> anyhow::Result<()> {
    let access = access(context, arguments.compat_auth_file.clone());
    let configuration = access.configuration(context.registry_arguments());
    let key = key(&arguments.registry)?;
    if arguments.get_login {
        return print_login(context, &configuration, key);
    }
    if access.no_creds || access.creds.is_some() || access.registry_token.is_some() {
        let message = "login stores neither --creds nor --registry-token, and takes no --no-creds";
        return Err(Advised::usage(message, "use --username, and --password-stdin or --password").into());
    }
    if arguments.username.is_none() && arguments.password.is_none() && !arguments.password_stdin {
        // As podman: credentials that are valid already need not be entered again.
        if let Some(credential) = find_credential(context, &configuration, key)?
            && check(context, &configuration, key, credential).is_ok()
        {
            if context.json() {
                return print_login(context, &configuration, key);
            }
            return Ok(output::print_line(format!("Existing credentials are valid. Already logged in to {key}"))?);
        }
    }
    context.cancel_on_interrupt()?;
    let (user, password) = ask(arguments, &context.cancel())?;
    let credential = Credential::Password { user: user.clone(), password: password.clone() };
    check(context, &configuration, key, credential).with_context(|| LoginFailed(key.to_owned()))?;
    let stored = configuration.store_credential(key, &user, &password, &context.cancel());
    let stored = stored.map_err(vmroot::Error::from)?;
    if context.verbose() {
        output::print_note(&format!("stored in {stored}"));
    }
    match context.json() {
        true => output::print_json(&json!({"registry": key, "user": user, "file": stored.to_string()}))?,
        false => output::print_line("Login Succeeded!")?,
    }
    Ok(())
}

/// Removes the credentials of a registry, or all.
pub(crate) fn logout(context: &Context, arguments: &LogoutArguments) -> anyhow::Result<()> {
    let access = access(context, arguments.compat_auth_file.clone());
    let configuration = access.configuration(context.registry_arguments());
    let cancel = context.cancel();
    let Some(registry) = &arguments.registry else {
        configuration.erase_all_credentials(&cancel).map_err(vmroot::Error::from)?;
        return match context.json() {
            true => Ok(output::print_json(&json!({"registry": null}))?),
            false => Ok(output::print_line("Removed login credentials for all registries")?),
        };
    };
    let key = key(registry)?;
    match configuration.erase_credential(key, &cancel) {
        Ok(()) if context.json() => Ok(output::print_json(&json!({"registry": key}))?),
        Ok(()) => Ok(output::print_line(format!("Removed login credentials for {key}"))?),
        Err(error @ ConfigError::NotLoggedIn { .. }) => {
            if let Some(found) = find(context, &configuration, key)? {
                output::print_note(&format!("{} still has credentials for {key}", found.source));
            }
            Err(vmroot::Error::from(error).into())
        }
        Err(error) => Err(vmroot::Error::from(error).into()),
    }
}

fn access(context: &Context, compat_auth_file: Option<std::path::PathBuf>) -> RegistryAccess {
    RegistryAccess { compat_auth_file, ..RegistryAccess::of(context.registry_arguments()) }
}

/// Returns the key for credentials. A scheme, which docker accepts, is removed, together with the path after it.
fn key(registry: &str) -> anyhow::Result<&str> {
    let without_scheme = registry.strip_prefix("https://").or_else(|| registry.strip_prefix("http://"));
    let key = match without_scheme {
        Some(rest) => rest.split('/').next().unwrap_or(rest),
        None => registry.trim_end_matches('/'),
    };
    let key = if key == "index.docker.io" || key == "registry-1.docker.io" { "docker.io" } else { key };
    check_key(key).map_err(vmroot::Error::from)?;
    Ok(key)
}

fn split(key: &str) -> (&str, &str) {
    key.split_once('/').unwrap_or((key, ""))
}

fn find(
    context: &Context,
    configuration: &Configuration,
    key: &str,
) -> anyhow::Result<Option<vmroot::registry::FoundCredential>> {
    let (domain, repository) = split(key);
    Ok(configuration.find_credential(domain, repository, &context.cancel()).map_err(vmroot::Error::from)?)
}

fn find_credential(context: &Context, configuration: &Configuration, key: &str) -> anyhow::Result<Option<Credential>> {
    Ok(find(context, configuration, key)?.map(|found| found.credential))
}

fn print_login(context: &Context, configuration: &Configuration, key: &str) -> anyhow::Result<()> {
    let user = match find(context, configuration, key)? {
        Some(found) => found.user.unwrap_or_else(|| "<token>".to_owned()),
        None => return Err(vmroot::Error::from(ConfigError::NotLoggedIn { key: key.to_owned() }).into()),
    };
    match context.json() {
        true => output::print_json(&json!({"registry": key, "user": user}))?,
        false => output::print_line(user)?,
    }
    Ok(())
}

/// Checks a credential at its registry.
fn check(context: &Context, configuration: &Configuration, key: &str, credential: Credential) -> anyhow::Result<()> {
    let hosts =
        Configuration::new(configuration.locations().clone()).with_tls_verify(context.registry_arguments().tls_verify);
    let options = RegistryOptions {
        credentials: Arc::new(FixedCredential(credential)),
        hosts: Arc::new(hosts),
        ..context.registry_options()
    };
    let client = vmroot::registry::Client::new(options).map_err(vmroot::Error::from)?;
    Ok(client.check_login(split(key).0).map_err(vmroot::Error::from)?)
}

/// Returns the user and the password of the options, or asks for them.
fn ask(arguments: &LoginArguments, cancel: &Cancel) -> anyhow::Result<(String, String)> {
    let needs_terminal = arguments.username.is_none() || arguments.password.is_none() && !arguments.password_stdin;
    if arguments.password_stdin && arguments.username.is_none() {
        return Err(Advised::usage("--password-stdin requires --username", "add --username USER").into());
    }
    if needs_terminal && !io::stdin().is_terminal() {
        let message = "standard input is no terminal, so the user and the password cannot be asked for";
        return Err(Advised::usage(message, "use --username, and --password-stdin or --password").into());
    }
    let user = match &arguments.username {
        Some(user) => user.clone(),
        None => prompt::ask("Username: ", cancel)?.unwrap_or_default(),
    };
    if user.is_empty() {
        return Err(empty());
    }
    let password = match &arguments.password {
        Some(password) => password.clone(),
        None if arguments.password_stdin => {
            let mut text = String::new();
            let source: File = io::stdin().as_fd().try_clone_to_owned()?.into();
            CancellableReader { source, cancel: cancel.clone() }.take(PASSWORD_LIMIT).read_to_string(&mut text)?;
            // As docker and podman: one line break at the end is not part of the password.
            let line = text.strip_suffix('\n').unwrap_or(&text);
            line.strip_suffix('\r').unwrap_or(line).to_owned()
        }
        None => prompt::ask_hidden("Password: ", cancel)?.unwrap_or_default(),
    };
    if password.is_empty() {
        return Err(empty());
    }
    Ok((user, password))
}

fn empty() -> anyhow::Error {
    let hint = "credentials of a registry have both; `vmroot logout REGISTRY` removes stored ones";
    Advised::usage("the user or the password is empty", hint).into()
}
