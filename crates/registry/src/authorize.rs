//! Which `Authorization` goes with a request: what is known of registries, credentials and tokens.

mod keyring;
mod session;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::HeaderValue;

use crate::challenge::Challenge;
use crate::http::Call;
use crate::token::Token;
use crate::{Credentials, Error, Result};

use keyring::Keyring;
pub(crate) use session::Session;

/// The repository that a request is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    /// Scheme, host and port that are asked, `https://registry-1.docker.io/`.
    pub(crate) base: Url,
    /// The registry as references have it, `docker.io`.
    pub(crate) domain: String,
    /// The repository, `library/alpine`.
    pub(crate) repository: String,
}

/// What is known of a target.
#[derive(Clone, Default)]
struct Known {
    /// How its registry asks for credentials; `None` if it has not asked.
    challenge: Option<Challenge>,
    /// A scope that it asked for after the usual one was not enough.
    scope: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct TokenKey {
    target: Target,
    realm: Url,
    service: Option<String>,
    scope: String,
}

/// Values that are made once by whoever comes first, while the others wait.
type Once<K, V> = Mutex<HashMap<K, Arc<Mutex<Option<V>>>>>;

/// Sends a request to a token server, with retries, and gives the body of its answer.
pub(crate) type Fetch<'a> = &'a dyn Fn(&Call) -> Result<Vec<u8>>;

/// Knows what to put into `Authorization`.
pub(crate) struct Authorizer {
    known: Mutex<HashMap<Target, Known>>,
    keyring: Keyring,
    tokens: Once<TokenKey, Token>,
}

/// An `Authorization`, and what it was made from.
#[derive(Clone)]
pub(crate) struct Authorization {
    pub(crate) header: HeaderValue,
    /// The token in it, if it is one that can be had anew.
    token: Option<TokenKey>,
}

impl Authorizer {
    pub(crate) fn new(credentials: Arc<dyn Credentials>) -> Self {
        Self { known: Mutex::default(), keyring: Keyring::new(credentials), tokens: Mutex::default() }
    }

    /// Begins to authorise one request.
    pub(crate) fn session<'a>(&'a self, target: &'a Target, fetch: Fetch<'a>) -> Session<'a> {
        Session::new(self, target, fetch)
    }

    fn known(&self, target: &Target) -> Known {
        lock(&self.known).get(target).cloned().unwrap_or_default()
    }

    /// Drops the token that was sent, unless another thread has got a new one already.
    fn forget(&self, sent: &Authorization) {
        let Some(key) = &sent.token else { return };
        let place = place(&self.tokens, key);
        let mut cached = lock(&place);
        let is_sent = |token: &Token| sent.header.as_bytes().strip_prefix(b"Bearer ") == Some(token.value.as_bytes());
        if cached.as_ref().is_some_and(is_sent) {
            *cached = None;
        }
    }
}

fn place<K: Clone + Eq + Hash, V>(map: &Once<K, V>, key: &K) -> Arc<Mutex<Option<V>>> {
    Arc::clone(lock(map).entry(key.clone()).or_default())
}

/// Nothing in here is left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A header of Basic authentication (RFC 7617).
///
/// # Errors
/// [`Error::Option`] never for base64, but the type asks for it.
pub(crate) fn basic(user: &str, password: &str) -> Result<HeaderValue> {
    secret(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

/// A header that is not to be shown.
fn secret(text: String) -> Result<HeaderValue> {
    let mut value = HeaderValue::try_from(text).map_err(|_| Error::Option {
        option: "credentials",
        reason: "a token has characters that cannot stand in a header".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}
