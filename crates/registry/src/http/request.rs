//! HTTP requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

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
    /// The attempts to send the request.
    pub(crate) attempts: Attempts,
}

/// The number of a request, and of the attempts to send it. Clones share the number of the present attempt.
#[derive(Clone, Debug)]
pub(crate) struct Attempts {
    /// The number of the request within this process.
    pub(crate) request: u64,
    present: Arc<AtomicU32>,
    limit: Arc<AtomicU32>,
}

impl Attempts {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let request = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { request, present: Arc::new(AtomicU32::new(1)), limit: Arc::new(AtomicU32::new(1)) }
    }

    /// Sets the present attempt, counted from 1, and the number of attempts at most.
    pub(crate) fn set(&self, present: u32, limit: u32) {
        self.present.store(present, Ordering::Relaxed);
        self.limit.store(limit.max(present), Ordering::Relaxed);
    }

    /// Returns the present attempt and the number of attempts at most.
    pub(crate) fn get(&self) -> (u32, u32) {
        (self.present.load(Ordering::Relaxed), self.limit.load(Ordering::Relaxed))
    }
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
            attempts: Attempts::new(),
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
