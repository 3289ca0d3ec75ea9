//! Places with the signatures of images, outside of the distribution API: lookaside servers and directories, and the
//! signature extension of OpenShift's registry (containers/image, docs/signature-protocols.md).

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde::{Deserialize, Serialize};
use vmroot_model::{Digest, Reference};

use crate::http::{Access, Failure, HttpRequest, RequestBody};
use crate::{Client, Error, Result, endpoint};

/// The response header of a registry with the signature extension.
const SIGNATURE_EXTENSION: &str = "x-registry-supports-signatures";

/// The largest signature in bytes.
pub const SIGNATURE_LIMIT: u64 = 4 << 20;

/// The largest list of signatures of the extension in bytes.
const EXTENSION_LIMIT: u64 = 16 << 20;

/// The form of the extension's signatures (`schemaVersion`), and their kind.
const EXTENSION_VERSION: u32 = 2;
const EXTENSION_KIND: &str = "atomic";

/// The base of a lookaside: a directory or web server with the signatures of many repositories.
///
/// The signature N of a manifest is `BASE/PATH@ALGORITHM=HEX/signature-N`. `PATH` is the repository without its host, and
/// N counts from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookaside {
    /// The address of a server, with `http` or `https` and without a slash at its end. It is only read.
    Server(String),
    /// An absolute path, of a `file` address.
    Directory(PathBuf),
}

impl Lookaside {
    /// Parses an address with the scheme `http`, `https` or `file`.
    ///
    /// # Errors
    /// The reason for which it is no base of a lookaside.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("{text:?} is not an address: {error}"))?;
        match url.scheme() {
            "file" => match url.to_file_path() {
                Ok(path) => Ok(Self::Directory(path)),
                Err(()) => Err(format!("{text:?} is not the address of a directory on this machine")),
            },
            "http" | "https" if url.query().is_some() || url.fragment().is_some() => {
                Err(format!("{text:?} has a query or a fragment"))
            }
            "http" | "https" => Ok(Self::Server(url.as_str().trim_end_matches('/').to_owned())),
            scheme => Err(format!("{text:?} has the scheme {scheme:?}; http, https and file are known")),
        }
    }
}

impl fmt::Display for Lookaside {
    /// Omits a password in the address of a server.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(base) => match Url::parse(base) {
                Ok(url) => f.write_str(crate::http::redacted(&url).trim_end_matches('/')),
                Err(_) => f.write_str(base),
            },
            Self::Directory(path) => write!(f, "file://{}", path.display()),
        }
    }
}

/// The places of the signatures of a repository, as registries.d names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureLocations {
    /// The lookaside to read from.
    pub lookaside: Lookaside,
    /// The lookaside to write to. A server cannot be written.
    pub staging: Lookaside,
    /// Whether signatures are read from and written to sigstore attachments, images with the tag `sha256-HEX.sig`.
    pub attachments: bool,
}

/// A source of the places of signatures.
pub trait SignaturePlaces: Send + Sync + fmt::Debug {
    /// Returns the places of the signatures of an image in a registry.
    ///
    /// # Errors
    /// [`Error::HostSettings`]: the configuration cannot be read.
    fn signature_locations(&self, reference: &Reference) -> Result<SignatureLocations>;
}

/// The same places for all images.
impl SignaturePlaces for SignatureLocations {
    fn signature_locations(&self, _reference: &Reference) -> Result<SignatureLocations> {
        Ok(self.clone())
    }
}

/// Which registries have the signature extension, by the base URLs that were asked.
#[derive(Debug, Default)]
pub(crate) struct SignatureExtensions(Mutex<HashMap<Url, bool>>);

impl SignatureExtensions {
    /// Notes the headers of an answer to `/v2/`.
    pub(crate) fn note(&self, base: &Url, is_supported: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(base.clone(), is_supported);
    }

    fn get(&self, base: &Url) -> Option<bool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(base).copied()
    }
}

/// Returns whether a registry that sent these headers has the signature extension.
pub(crate) fn has_extension(headers: &HeaderMap) -> bool {
    headers.get(SIGNATURE_EXTENSION).is_some_and(|value| value == "1")
}

/// The signatures of a manifest in the extension.
#[derive(Deserialize)]
struct ExtensionList {
    #[serde(default)]
    signatures: Option<Vec<ExtensionSignature>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExtensionSignature {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    name: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    content: String,
}

impl Client {
    /// Fetches a signature from the address `url` of a lookaside server. Returns `None` if the server does not have it.
    ///
    /// The server gets no credentials of registries. Certificates are those for its own host.
    ///
    /// # Errors
    /// - [`Error::Option`]: the address is malformed.
    /// - [`Error::TooLarge`]: it is longer than [`SIGNATURE_LIMIT`].
    /// - Any other variant for a failure of the connection or the server.
    pub fn lookaside_signature(&self, url: &str) -> Result<Option<Vec<u8>>> {
        let invalid = |error| Error::Option { option: "lookaside", reason: format!("{url:?}: {error}") };
        let url = Url::parse(url).map_err(invalid)?;
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let settings = self.host_settings(&host, "")?;
        let request = HttpRequest { settings, ..self.request_url(Method::GET, url) };
        match self.send_unchanged(&request, |response| response.read_all(SIGNATURE_LIMIT)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns whether the registry of a reference stores signatures itself (`X-Registry-Supports-Signatures`).
    ///
    /// A registry is asked once. Most loopback registries were asked when the choice between HTTP and HTTPS was made.
    ///
    /// # Errors
    /// The registry cannot be reached.
    pub fn has_signature_extension(&self, reference: &Reference) -> Result<bool> {
        let mut request = self.request(reference, Method::GET, "")?;
        let Some(base) = request.base.clone() else { return Ok(false) };
        if let Some(known) = self.signature_extensions().get(&base) {
            return Ok(known);
        }
        request.url = endpoint::join(&base, "/v2/")?;
        // An answer without credentials has the header, too.
        let response = self.send_once(&request).map_err(Failure::into_error)?;
        let is_supported = has_extension(response.headers()) && !response.is_redirected();
        response.discard();
        self.signature_extensions().note(&base, is_supported);
        Ok(is_supported)
    }

    /// Fetches the signatures of a manifest from the signature extension, as OpenPGP messages. Signatures of other kinds
    /// are left out.
    ///
    /// # Errors
    /// - [`Error::Malformed`]: the answer is not a list of signatures.
    /// - [`Error::TooLarge`]: the list is too long.
    /// - Any other variant for a failure of the connection, the registry, its token server, or the credentials.
    pub fn extension_signatures(&self, reference: &Reference, manifest: &Digest) -> Result<Vec<Vec<u8>>> {
        use base64::Engine as _;

        let request = self.extension_request(reference, manifest, Method::GET)?;
        let (url, bytes) = self.send(reference, &request, |response| {
            let url = response.redacted_url();
            Ok((url, response.read_all(EXTENSION_LIMIT)?))
        })?;
        let malformed =
            |reason: String| Error::Malformed { url: url.clone(), expected: "a list of signatures", reason };
        let list: ExtensionList = serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        let known = list.signatures.unwrap_or_default().into_iter();
        let known = known.filter(|it| it.schema_version == EXTENSION_VERSION && it.kind == EXTENSION_KIND);
        let decode = |it: ExtensionSignature| {
            base64::engine::general_purpose::STANDARD.decode(it.content).map_err(|error| malformed(error.to_string()))
        };
        known.map(decode).collect()
    }

    /// Adds an OpenPGP message to the signatures of a manifest in the signature extension. `name` must be unique for the
    /// manifest.
    ///
    /// # Errors
    /// Any variant for a failure of the connection, the registry, its token server, or the credentials.
    pub fn put_extension_signature(
        &self,
        reference: &Reference,
        manifest: &Digest,
        name: &str,
        message: &[u8],
    ) -> Result<()> {
        use base64::Engine as _;

        let signature = ExtensionSignature {
            schema_version: EXTENSION_VERSION,
            name: format!("{manifest}@{name}"),
            kind: EXTENSION_KIND.to_owned(),
            content: base64::engine::general_purpose::STANDARD.encode(message),
        };
        let body = serde_json::to_vec(&signature).expect("a signature has no keys but strings");
        let mut request = self.extension_request(reference, manifest, Method::PUT)?;
        request.access = Access::Push;
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request.body = RequestBody::Bytes(body.into());
        self.send(reference, &request, |response| {
            response.discard();
            Ok(())
        })
    }

    fn extension_request(&self, reference: &Reference, manifest: &Digest, method: Method) -> Result<HttpRequest> {
        let mut request = self.request(reference, method, "")?;
        let base = request.base.clone().unwrap_or_else(|| request.url.clone());
        let path = format!("/extensions/v2/{}/signatures/{manifest}", reference.path());
        request.url = endpoint::join(&base, &path)?;
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_are_servers_or_directories() {
        let server = |text: &str| Ok(Lookaside::Server(text.to_owned()));
        assert_eq!(Lookaside::parse("https://sigs.example.com/a/"), server("https://sigs.example.com/a"));
        assert_eq!(Lookaside::parse("http://sigs.example.com:8080"), server("http://sigs.example.com:8080"));
        assert_eq!(Lookaside::parse("file:///var/a%20b"), Ok(Lookaside::Directory("/var/a b".into())));
        for text in ["", "/var/lib", "ftp://x/", "file://host/x", "https://x/?q=1", "sftp://x"] {
            assert!(Lookaside::parse(text).is_err(), "{text}");
        }
        let secret = Lookaside::parse("https://user:secret@sigs.example.com/a").unwrap();
        assert!(!secret.to_string().contains("secret"), "{secret}");
    }
}
