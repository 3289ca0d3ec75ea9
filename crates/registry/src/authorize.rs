//! The choice of the `Authorization` header, from the challenges, credentials and tokens of each repository.

mod credential_cache;
mod session;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::HeaderValue;

use crate::challenge::Challenge;
use crate::http::HttpRequest;
use crate::token::Token;
use crate::{Cancel, Credentials, Error, Result};
use credential_cache::CredentialCache;
pub(crate) use session::Session;

/// The repository that a request is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    /// Scheme, host and port of requests, such as `https://registry-1.docker.io/`.
    pub(crate) base: Url,
    /// The registry as in references, such as `docker.io`.
    pub(crate) domain: String,
    /// The repository, such as `library/alpine`.
    pub(crate) repository: String,
}

/// The registry's known requirements for a target.
#[derive(Clone, Default)]
struct AuthState {
    /// The challenge of the registry, or `None` if it has sent none.
    challenge: Option<Challenge>,
    /// The scopes that the registry required after the usual ones were refused, by the usual ones.
    scopes: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct TokenKey {
    target: Target,
    realm: Url,
    service: Option<String>,
    scope: String,
}

/// Values by key. The first thread that needs a value creates it, while the others wait.
type OnceMap<K, V> = Mutex<HashMap<K, Arc<Mutex<Option<V>>>>>;

/// Sends a request to a token server, with retries, and returns the body of the response.
pub(crate) type FetchToken<'a> = &'a dyn Fn(HttpRequest) -> Result<Vec<u8>>;

/// Creates `Authorization` headers.
pub(crate) struct Authorizer {
    auth_states: Mutex<HashMap<Target, AuthState>>,
    credential_cache: CredentialCache,
    tokens: OnceMap<TokenKey, Token>,
}

/// An `Authorization` header and its origin.
#[derive(Clone)]
pub(crate) struct Authorization {
    pub(crate) header: HeaderValue,
    /// The key of its token, if the token can be requested again.
    token: Option<TokenKey>,
}

impl Authorizer {
    pub(crate) fn new(credentials: Arc<dyn Credentials>) -> Self {
        Self {
            auth_states: Mutex::default(),
            credential_cache: CredentialCache::new(credentials),
            tokens: Mutex::default(),
        }
    }

    /// Starts the authorization of one request with the usual scope `scope`, which `cancel` ends.
    pub(crate) fn session<'a>(
        &'a self,
        target: &'a Target,
        scope: String,
        fetch: FetchToken<'a>,
        cancel: &'a Cancel,
    ) -> Session<'a> {
        Session::new(self, target, scope, fetch, cancel)
    }

    fn auth_state(&self, target: &Target) -> AuthState {
        lock(&self.auth_states).get(target).cloned().unwrap_or_default()
    }

    /// Removes the token that was sent, unless another thread has replaced it already.
    fn forget_token(&self, sent: &Authorization) {
        let Some(key) = &sent.token else { return };
        let slot = slot(&self.tokens, key);
        let mut cached = lock(&slot);
        let is_sent = |token: &Token| sent.header.as_bytes().strip_prefix(b"Bearer ") == Some(token.value.as_bytes());
        if cached.as_ref().is_some_and(is_sent) {
            *cached = None;
        }
    }
}

/// Returns the place of a key's value.
fn slot<K: Clone + Eq + Hash, V>(map: &OnceMap<K, V>, key: &K) -> Arc<Mutex<Option<V>>> {
    Arc::clone(lock(map).entry(key.clone()).or_default())
}

/// Locks a mutex. Poisoning is ignored, because no panic leaves the values in an invalid state.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns a header for Basic authentication (RFC 7617).
///
/// # Errors
/// [`Error::Option`] if the text is not a header value, which cannot happen for base64.
pub(crate) fn basic(user: &str, password: &str) -> Result<HeaderValue> {
    secret(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

/// Returns a header that is marked as sensitive, so that it is not logged.
///
/// # Errors
/// [`Error::Option`] if the text has characters that no header can hold.
fn secret(text: String) -> Result<HeaderValue> {
    let mut value = HeaderValue::try_from(text).map_err(|_| Error::Option {
        option: "credentials",
        reason: "a token has characters that are not allowed in a header".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}
