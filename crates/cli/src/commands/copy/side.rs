//! The clients for the two sides of a copy.

use vmroot::Client;

use crate::args::{DestinationSide, SourceArguments};
use crate::context::Context;
use crate::registry_access::RegistryAccess;
use crate::transports::Transports;

/// The most bytes of all uploads together that are kept in memory, to continue after interruptions.
const UPLOAD_WINDOWS: u64 = 24 << 20;

/// Creates a [`RegistryAccess`] from the arguments of either side, which are different types.
macro_rules! access {
    ($prefix:literal, $arguments:expr) => {
        RegistryAccess {
            prefix: $prefix,
            creds: $arguments.creds.clone(),
            username: $arguments.username.clone(),
            password: $arguments.password.clone(),
            registry_token: $arguments.registry_token.clone(),
            no_creds: $arguments.no_creds,
            authfile: $arguments.authfile.clone(),
            compat_auth_file: None,
            cert_dir: $arguments.cert_dir.clone(),
            tls_verify: $arguments.tls_verify,
        }
    };
}

/// Creates a [`Transports`] from the arguments of either side.
macro_rules! transports {
    ($arguments:expr) => {
        Transports {
            daemon_host: $arguments.daemon_host.clone(),
            shared_blob_dir: $arguments.shared_blob_dir.clone(),
            cert_dir: $arguments.cert_dir.clone(),
            tls_verify: $arguments.tls_verify,
        }
    };
}

/// Returns the client for the source.
pub(crate) fn source_client(context: &Context, client: &Client, arguments: &SourceArguments) -> anyhow::Result<Client> {
    let client = client.with_transports(transports!(arguments).options());
    with_access(context, &client, access!("src-", arguments), 1)
}

/// Returns the access of the source's options.
pub(crate) fn source_access(arguments: &SourceArguments) -> RegistryAccess {
    access!("src-", arguments)
}

/// Returns the client for the destination, which uploads `parallel` blobs at once.
pub(crate) fn destination_client(
    context: &Context,
    client: &Client,
    arguments: &DestinationSide,
    parallel: u16,
) -> anyhow::Result<Client> {
    let client = client.with_transports(transports!(arguments).options());
    with_access(context, &client, access!("dest-", arguments), parallel)
}

/// Returns a client with the options of one side. Those for all registries apply where the side has none of its own.
pub(crate) fn with_access(
    context: &Context,
    client: &Client,
    side: RegistryAccess,
    parallel: u16,
) -> anyhow::Result<Client> {
    side.check_files()?;
    side.credential()?;
    let access = side.or(RegistryAccess::of(context.registry_arguments()));
    let mut options = context.registry_options();
    options.upload_window = UPLOAD_WINDOWS / u64::from(parallel.max(1));
    let configuration = access.apply(context.registry_arguments(), &mut options)?;
    Ok(client.with_registries(options, Some(configuration))?)
}
