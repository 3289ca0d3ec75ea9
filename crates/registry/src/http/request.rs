//! HTTP requests.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Method, Url};
use vmroot_output::Cancel;

use super::AddressScope;
use crate::HostOptions;
use crate::upload::StreamedBody;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct HttpRequest {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: RequestBody,
    /// The base URL of the registry that the request is for. Only requests to its scheme, host and port carry its
    /// credentials.
    pub(crate) base: Option<Url>,
    /// The access to the repository that the request needs.
    pub(crate) access: Access,
    /// The limit on the addresses of the request and its redirects. Set if the URL comes from a manifest.
    pub(crate) address_scope: Option<AddressScope>,
    /// The number of inactivity timeouts to wait for the response. More than one for requests that make the server
    /// read or move a whole blob.
    pub(crate) patience: u32,
    /// Whether another server has the same content, so that one that does not answer is given up soon.
    pub(crate) has_alternative: bool,
    /// The settings of the registry that the request is for.
    pub(crate) settings: Arc<HostOptions>,
    /// Cancels the request.
    pub(crate) cancel: Cancel,
}

impl HttpRequest {
    /// Creates a request without headers or body, which nothing cancels.
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: RequestBody::Empty,
            base: None,
            access: Access::Pull,
            address_scope: None,
            patience: 1,
            has_alternative: false,
            settings: Arc::default(),
            cancel: Cancel::new(),
        }
    }
}

/// The body of a request.
#[derive(Clone, Debug)]
pub(crate) enum RequestBody {
    Empty,
    /// A form with secrets, which is not sent to a redirect's target.
    Form(String),
    /// A short body in memory.
    Bytes(Bytes),
    /// A part of a blob that is read meanwhile.
    Stream(StreamedBody),
}

/// The access that a request needs (distribution's "Token Scope Documentation").
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Pull,
    Push,
    /// Writing to the repository, and reading from another one of the same registry.
    Mount {
        from: String,
    },
    /// Deletion. Registries differ in the name of this action, and all accept `*`.
    Delete,
    /// The list of repositories.
    Catalog,
    /// None, to check credentials.
    Login,
}

impl Access {
    /// Returns the scopes of a token for this access, separated by spaces.
    pub(crate) fn scope(&self, repository: &str) -> String {
        match self {
            Self::Pull => format!("repository:{repository}:pull"),
            Self::Push => format!("repository:{repository}:pull,push"),
            Self::Mount { from } => format!("repository:{repository}:pull,push repository:{from}:pull"),
            Self::Delete => format!("repository:{repository}:*"),
            Self::Catalog => "registry:catalog:*".to_owned(),
            Self::Login => String::new(),
        }
    }
}
