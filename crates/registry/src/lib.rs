//! An OCI distribution client for reading: manifests and blobs of a registry, however it asks for credentials and
//! however often the connection breaks (OCI distribution-spec 1.1, "Pull").
//!
//! [`Client`] is made once from [`ClientOptions`], is cheap to clone and may be used by many threads.
//!
//! ```no_run
//! use std::io::Read;
//! use vmroot_model::{Descriptor, Reference};
//! use vmroot_registry::{Client, ClientOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new(ClientOptions::default())?;
//! let alpine = Reference::parse("alpine:3.20")?;
//! let manifest = client.manifest(&alpine)?;
//! println!("{} bytes of {:?}", manifest.bytes.len(), manifest.media_type);
//! # let layer: Descriptor = unimplemented!();
//! let mut bytes = Vec::new();
//! client.resuming_blob(&alpine, &layer, 0).read_to_end(&mut bytes)?;
//! # Ok(())
//! # }
//! ```
//!
//! What goes over the wire is given to the caller as it is: nothing is decompressed. Manifests are checked against
//! their digest; blobs are checked against their size only, because who reads them hashes them anyway.
//!
//! Functions of this crate block and must not be called from within an async runtime.

mod authorize;
mod backoff;
mod blob;
mod challenge;
mod client;
mod credentials;
mod endpoint;
mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
mod http;
mod manifest;
mod options;
mod parts;
mod proxy;
mod refusal;
mod resume;
mod retry_after;
mod tls;
mod token;
mod watch;

pub use blob::BlobBody;
pub use client::Client;
pub use credentials::{AuthFiles, Chain, Credential, Credentials, Explicit};
pub use error::{Error, Result};
pub use manifest::{Fetched, MANIFEST_LIMIT, ManifestHead};
pub use options::ClientOptions;
pub use proxy::Proxies;
pub use resume::ResumingBlob;
pub use vmroot_output::Cancel;
