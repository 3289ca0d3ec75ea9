//! Files that registries' users have: registries.conf, registries.d, certs.d, and files with credentials.
//!
//! A [`Configuration`] joins them. It is made from [`Locations`], and says for a name which reference it stands for, which
//! mirrors and locations are tried, which certificates are trusted, and which credential is sent. It reads the same files
//! as podman, skopeo and docker, with the same results.

mod aliases;
mod certificates;
mod configuration;
mod error;
mod explanation;
mod locations;
mod login;
mod registries;
mod short_names;
mod signature_storage;
mod signing_parameters;
mod text_file;
mod tls_details;

pub use aliases::Aliases;
pub use certificates::HostCertificates;
pub use configuration::Configuration;
pub use error::{Error, Result};
pub use explanation::{
    CertificatesExplanation, CredentialExplanation, Explanation, MirrorExplanation, ShortNameExplanation,
};
pub use locations::Locations;
pub use login::{StoredIn, check_key};
pub use registries::{Alias, Endpoint, Mirror, MirrorUse, Registries, Registry, Resolution, ShortNameMode};
pub use short_names::{NameOrigin, ResolvedName, is_short};
pub use signature_storage::SignatureStorage;
pub use signing_parameters::SigningParameters;
pub use tls_details::read_tls_details;
