//! Which `Authorization` goes with a request: what is known of registries, credentials and tokens.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::HeaderValue;

use crate::challenge::{Bearer, Challenge};
use crate::http::Call;
use crate::token::{self, Token, TokenRequest};
use crate::{Credential, Credentials, Error, Result};

/// The repository that a request is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    /// The host and port that is asked, `registry-1.docker.io`.
    pub(crate) host: String,
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
    realm: String,
    service: Option<String>,
    scope: String,
}

/// Values that are made once by whoever comes first, while the others wait.
type Once<K, V> = Mutex<HashMap<K, Arc<Mutex<Option<V>>>>>;

/// Sends a request to a token server, with retries, and gives the body of its answer.
pub(crate) type Fetch<'a> = &'a dyn Fn(&Call) -> Result<Vec<u8>>;

/// Knows what to put into `Authorization`.
pub(crate) struct Authorizer {
    credentials: Arc<dyn Credentials>,
    known: Mutex<HashMap<Target, Known>>,
    found: Once<Target, Option<Credential>>,
    tokens: Once<TokenKey, Token>,
}

/// An `Authorization`, and what it was made from.
#[derive(Clone)]
pub(crate) struct Authorization {
    pub(crate) header: HeaderValue,
    /// The scope of the token in it, if it is one that can be had anew.
    scope: Option<String>,
}

impl Authorizer {
    pub(crate) fn new(credentials: Arc<dyn Credentials>) -> Self {
        Self { credentials, known: Mutex::default(), found: Mutex::default(), tokens: Mutex::default() }
    }

    /// What to send before the registry asks: nothing, if it never asked.
    pub(crate) fn beforehand(&self, target: &Target, fetch: Fetch<'_>) -> Result<Option<Authorization>> {
        let known = lock(&self.known).get(target).cloned().unwrap_or_default();
        match known.challenge {
            Some(challenge) => self.answer(target, &challenge, known.scope, fetch),
            None => Ok(None),
        }
    }

    /// What to send after the registry asked, and answered 401 to `sent`; `None` if there is nothing better.
    ///
    /// `fresh` says that `sent` was made for this request: then only a wider scope is better.
    pub(crate) fn afterwards(
        &self,
        target: &Target,
        challenges: &[Challenge],
        sent: Option<&Authorization>,
        fresh: bool,
        fetch: Fetch<'_>,
    ) -> Result<Option<Authorization>> {
        for challenge in challenges {
            let wider = match challenge {
                // Some registries do not say what was wrong with a token that they have just been given.
                Challenge::Bearer(bearer) if sent.is_some() && (fresh || bearer.is_insufficient_scope()) => {
                    bearer.scope.clone().filter(|scope| sent.and_then(|sent| sent.scope.as_ref()) != Some(scope))
                }
                _ => None,
            };
            if fresh && wider.is_none() {
                continue;
            }
            if let (Challenge::Bearer(bearer), Some(sent), None) = (challenge, sent, &wider) {
                self.forget(target, bearer, sent);
            }
            let scope = wider.or_else(|| lock(&self.known).get(target).and_then(|known| known.scope.clone()));
            if let Some(authorization) = self.answer(target, challenge, scope.clone(), fetch)? {
                if sent.is_some_and(|sent| sent.header == authorization.header) {
                    continue;
                }
                let known = Known { challenge: Some(challenge.clone()), scope };
                lock(&self.known).insert(target.clone(), known);
                return Ok(Some(authorization));
            }
        }
        Ok(None)
    }

    /// The answer to a challenge; `None` if there is no credential for it.
    fn answer(
        &self,
        target: &Target,
        challenge: &Challenge,
        scope: Option<String>,
        fetch: Fetch<'_>,
    ) -> Result<Option<Authorization>> {
        let credential = self.credential(target)?;
        match (challenge, &credential) {
            (_, Some(Credential::RegistryToken(token))) => {
                Ok(Some(Authorization { header: secret(format!("Bearer {token}"))?, scope: None }))
            }
            (Challenge::Basic, Some(Credential::Password { user, password })) => {
                Ok(Some(Authorization { header: basic(user, password)?, scope: None }))
            }
            (Challenge::Basic, _) => Ok(None),
            (Challenge::Bearer(bearer), _) => {
                let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", target.repository));
                let token = self.token(target, bearer, &scope, credential.as_ref(), fetch)?;
                Ok(Some(Authorization { header: secret(format!("Bearer {}", token.value))?, scope: Some(scope) }))
            }
        }
    }

    fn credential(&self, target: &Target) -> Result<Option<Credential>> {
        let place = place(&self.found, target);
        let mut found = lock(&place);
        if let Some(credential) = &*found {
            return Ok(credential.clone());
        }
        let credential = self.credentials.get(&target.domain, &target.repository)?;
        tracing::debug!(registry = target.domain, ?credential, "looked for credentials");
        Ok(found.insert(credential).clone())
    }

    fn token(
        &self,
        target: &Target,
        bearer: &Bearer,
        scope: &str,
        credential: Option<&Credential>,
        fetch: Fetch<'_>,
    ) -> Result<Token> {
        let place = place(&self.tokens, &token_key(target, bearer, scope));
        // Held while the token is fetched: parallel requests need one token, not one each.
        let mut cached = lock(&place);
        if let Some(token) = cached.as_ref().filter(|token| token.is_fresh()) {
            return Ok(token.clone());
        }
        let realm = Url::parse(&bearer.realm).map_err(|error| Error::Challenge {
            url: target.host.clone(),
            reason: format!("its token server is no URL: {error}"),
        })?;
        if !matches!(realm.scheme(), "http" | "https") {
            let reason = format!("its token server has the scheme {:?}", realm.scheme());
            return Err(Error::Challenge { url: target.host.clone(), reason });
        }
        let request = TokenRequest { realm, service: bearer.service.as_deref(), scope, credential };
        let body = fetch(&request.to_call()?)?;
        let token = token::read(&request.realm, &body)?;
        Ok(cached.insert(token).clone())
    }

    /// Drops the token that was sent, unless another thread has got a new one already.
    fn forget(&self, target: &Target, bearer: &Bearer, sent: &Authorization) {
        let Some(scope) = &sent.scope else { return };
        let place = place(&self.tokens, &token_key(target, bearer, scope));
        let mut cached = lock(&place);
        let is_sent = |token: &Token| sent.header.as_bytes().strip_prefix(b"Bearer ") == Some(token.value.as_bytes());
        if cached.as_ref().is_some_and(is_sent) {
            *cached = None;
        }
    }
}

fn token_key(target: &Target, bearer: &Bearer, scope: &str) -> TokenKey {
    TokenKey {
        target: target.clone(),
        realm: bearer.realm.clone(),
        service: bearer.service.clone(),
        scope: scope.to_owned(),
    }
}

fn place<K: Clone + Eq + Hash, V>(map: &Once<K, V>, key: &K) -> Arc<Mutex<Option<V>>> {
    Arc::clone(lock(map).entry(key.clone()).or_default())
}

/// Nothing in here is left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
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
