//! A client for OCI registries (OCI distribution-spec 1.1): pulls and pushes manifests and blobs, lists and deletes them.
//!
//! A [`Client`] answers authentication challenges, retries failed requests, and continues interrupted downloads and
//! uploads of blobs. It is created from [`ClientOptions`], is cheap to clone, and can be used from many threads.
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
//! A repository is written in the opposite order: first the blobs, then the manifest that refers to them.
//!
//! ```no_run
//! # use vmroot_model::{MediaType, Reference};
//! # use vmroot_registry::{Client, UploadBody};
//! # fn push(client: &Client, layer: &mut dyn UploadBody, config: &mut dyn UploadBody, manifest: &[u8])
//! # -> Result<(), Box<dyn std::error::Error>> {
//! let target = Reference::parse("registry.example/team/app:v1")?;
//! client.upload_blob(&target, layer)?;
//! client.upload_blob(&target, config)?;
//! client.put_manifest(&target, "v1", manifest, &MediaType::OCI_MANIFEST)?;
//! assert!(client.tags(&target)?.tags.contains(&"v1".to_owned()));
//! # Ok(())
//! # }
//! ```
//!
//! Bytes are returned as the registry sends them: nothing is decompressed. Manifests are checked against their digests.
//! Blobs are checked against their sizes only, because the caller hashes them while reading.
//!
//! Functions of this crate block. Call them from async code only on threads where blocking is allowed.

mod authorize;
mod backoff;
mod blob;
mod challenge;
mod client;
mod credentials;
mod delete;
mod endpoint;
mod error;
mod error_response;
#[cfg(fuzzing)]
pub mod fuzzing;
mod hosts;
mod http;
mod link;
mod listing;
mod lookaside;
mod manifest;
mod observer;
mod options;
mod parts;
mod proxy;
mod push;
mod referrers;
mod resume;
mod retry_after;
mod speed_monitor;
pub mod tls;
mod token;
mod upload;

pub use blob::BlobBody;
pub use client::Client;
pub use credentials::{
    AuthFileEditor, AuthFiles, AuthPlace, AuthVariable, Credential, CredentialChain, CredentialHelper,
    CredentialSource, Credentials, FixedCredential, FoundCredential,
};
pub use error::{CertificateFault, ConnectFailure, Error, Result};
pub use hosts::{FixedHostSettings, HostOptions, HostSettings};
pub use listing::{ListedInstance, TagList};
pub use lookaside::{Lookaside, SIGNATURE_LIMIT, SignatureLocations, SignaturePlaces};
pub use manifest::{FetchedManifest, MANIFEST_LIMIT, ManifestHead};
pub use observer::{RequestEvent, RequestObserver};
pub use options::ClientOptions;
pub use proxy::Proxies;
pub use push::PushedManifest;
pub use referrers::ReferrerChange;
pub use resume::ResumingBlob;
pub use upload::UploadBody;
pub use vmroot_output::Cancel;
