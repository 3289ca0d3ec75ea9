//! The authorization of one request, which may take several attempts.

use reqwest::StatusCode;

use super::credential_cache::CachedCredential;
use super::{Authorization, Authorizer, FetchToken, Target, TokenKey, basic, lock, secret, slot};
use crate::challenge::{Bearer, Challenge};
use crate::token::{self, Token, TokenRequest};
use crate::{Cancel, Credential, Error, Result};

/// The state of one request: the authorization of the last attempt, and the steps that are left.
pub(crate) struct Session<'a> {
    authorizer: &'a Authorizer,
    target: &'a Target,
    /// The usual scope of tokens for the request.
    usual_scope: String,
    fetch: FetchToken<'a>,
    cancel: &'a Cancel,
    /// The authorization of the last attempt.
    sent: Option<Authorization>,
    /// Whether `sent` was created after the registry refused this request.
    is_fresh: bool,
    /// The credential in use, or `None` if none was needed yet.
    cached: Option<CachedCredential>,
    /// Whether the source of credentials was consulted again, after its credential was refused. A helper may have
    /// refreshed its password meanwhile, even since its first answer. This happens once for each request: otherwise, a
    /// source that returns a different wrong password each time would cause an endless loop, and could lock the
    /// account.
    has_renewed: bool,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        authorizer: &'a Authorizer,
        target: &'a Target,
        usual_scope: String,
        fetch: FetchToken<'a>,
        cancel: &'a Cancel,
    ) -> Self {
        let (sent, cached) = (None, None);
        Self { authorizer, target, usual_scope, fetch, cancel, sent, is_fresh: false, cached, has_renewed: false }
    }

    /// Returns whether the last attempt had an authorization.
    pub(crate) fn has_sent(&self) -> bool {
        self.sent.is_some()
    }

    /// Returns whether the caller has credentials for the target, and they were needed.
    pub(crate) fn has_credentials(&self) -> bool {
        self.cached.as_ref().is_some_and(|cached| cached.credential.is_some())
    }

    /// Returns the authorization for the first attempt, or `None` if the registry has never required one.
    pub(crate) fn first_authorization(&mut self) -> Result<Option<Authorization>> {
        let state = self.authorizer.auth_state(self.target);
        if let Some(challenge) = state.challenge {
            let scope = state.scopes.get(&self.usual_scope).cloned();
            self.sent = self.answer_challenge(&challenge, scope)?;
        }
        Ok(self.sent.clone())
    }

    /// Returns the authorization for the next attempt, after `status` for the last one. Returns `None` if there is no
    /// better one.
    pub(crate) fn next_authorization(
        &mut self,
        status: StatusCode,
        challenges: Vec<Challenge>,
    ) -> Result<Option<Authorization>> {
        let challenges = match status {
            StatusCode::UNAUTHORIZED if !challenges.is_empty() => challenges,
            // Some registries (ECR) refuse an expired password with 403, or send a 401 without a challenge.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if self.sent.is_some() => {
                self.authorizer.auth_state(self.target).challenge.into_iter().collect()
            }
            _ => return Ok(None),
        };
        let mut unusable = None;
        for challenge in challenges {
            match self.improve(&challenge, status) {
                Ok(Some(authorization)) => {
                    self.sent = Some(authorization);
                    self.is_fresh = true;
                    return Ok(self.sent.clone());
                }
                Ok(None) => {}
                // Another challenge may be usable.
                Err(error @ Error::Challenge { .. }) => _ = unusable.get_or_insert(error),
                Err(error) => return Err(error),
            }
        }
        unusable.map_or(Ok(None), Err)
    }

    /// Returns an authorization for one challenge that differs from the one sent, or `None` if there is none.
    fn improve(&mut self, challenge: &Challenge, status: StatusCode) -> Result<Option<Authorization>> {
        let wider = if status == StatusCode::UNAUTHORIZED { self.wider_scope(challenge) } else { None };
        let scope =
            wider.clone().or_else(|| self.authorizer.auth_state(self.target).scopes.get(&self.usual_scope).cloned());
        if let Some(sent) = &self.sent
            && wider.is_none()
        {
            // A new token for the same credential may be accepted, unless the refused token was new.
            let sent = sent.clone();
            let has_token = sent.token.is_some() && !self.is_fresh && status == StatusCode::UNAUTHORIZED;
            if !has_token && !self.renew()? {
                return Ok(None);
            }
            self.authorizer.forget_token(&sent);
        }
        let Some(authorization) = self.answer_challenge(challenge, scope.clone())? else { return Ok(None) };
        if self.sent.as_ref().is_some_and(|sent| sent.header == authorization.header) {
            return Ok(None);
        }
        let mut states = lock(&self.authorizer.auth_states);
        let state = states.entry(self.target.clone()).or_default();
        state.challenge = Some(challenge.clone());
        if let Some(scope) = scope {
            state.scopes.insert(self.usual_scope.clone(), scope);
        }
        drop(states);
        Ok(Some(authorization))
    }

    /// Returns the scope of the challenge if the last token lacks it.
    fn wider_scope(&self, challenge: &Challenge) -> Option<String> {
        let (Challenge::Bearer(bearer), Some(sent)) = (challenge, &self.sent) else { return None };
        // Some registries refuse a new token without stating an error.
        if !self.is_fresh && !bearer.is_insufficient_scope() {
            return None;
        }
        bearer.scope.clone().filter(|scope| sent.token.as_ref().map(|token| &token.scope) != Some(scope))
    }

    /// Returns the authorization for a challenge, or `None` if there is no credential for it.
    fn answer_challenge(&mut self, challenge: &Challenge, scope: Option<String>) -> Result<Option<Authorization>> {
        let credential = self.credential()?;
        match (challenge, &credential) {
            (_, Some(Credential::RegistryToken(token))) => {
                Ok(Some(Authorization { header: secret(format!("Bearer {token}"))?, token: None }))
            }
            (Challenge::Basic, Some(Credential::Password { user, password })) => {
                Ok(Some(Authorization { header: basic(user, password)?, token: None }))
            }
            (Challenge::Basic, _) => Ok(None),
            (Challenge::Bearer(bearer), _) => {
                let key = TokenKey {
                    target: self.target.clone(),
                    realm: bearer.realm_at(&self.target.base)?,
                    service: bearer.service.clone(),
                    scope: scope.unwrap_or_else(|| self.usual_scope.clone()),
                };
                let token = match self.token(&key, bearer, credential.as_ref()) {
                    // The refused password may have expired.
                    Err(error) if is_bad_credential(&error) && self.renew()? => {
                        let credential = self.credential()?;
                        if matches!(credential, Some(Credential::RegistryToken(_))) {
                            return self.answer_challenge(challenge, Some(key.scope));
                        }
                        self.token(&key, bearer, credential.as_ref())?
                    }
                    token => token?,
                };
                Ok(Some(Authorization { header: secret(format!("Bearer {}", token.value))?, token: Some(key) }))
            }
        }
    }

    /// Returns the credential, looked up on the first call.
    fn credential(&mut self) -> Result<Option<Credential>> {
        if let Some(cached) = &self.cached {
            return Ok(cached.credential.clone());
        }
        let cached = self.authorizer.credential_cache.get(self.target, self.cancel)?;
        Ok(self.cached.insert(cached).credential.clone())
    }

    /// Consults the source of credentials again, at most once for each request. Returns whether the credential has
    /// changed.
    fn renew(&mut self) -> Result<bool> {
        let Some(refused) = self.cached.clone().filter(|cached| !self.has_renewed && cached.credential.is_some())
        else {
            return Ok(false);
        };
        self.has_renewed = true;
        let renewed = self.authorizer.credential_cache.renew(self.target, &refused, self.cancel)?;
        let changed = renewed.credential != refused.credential;
        self.cached = Some(renewed);
        Ok(changed)
    }

    /// Returns a cached token, or requests one.
    fn token(&self, key: &TokenKey, bearer: &Bearer, credential: Option<&Credential>) -> Result<Token> {
        let slot = slot(&self.authorizer.tokens, key);
        // The lock is held while the token is fetched, so that parallel requests share one token.
        let mut cached = lock(&slot);
        if let Some(token) = cached.as_ref().filter(|token| token.is_fresh()) {
            return Ok(token.clone());
        }
        let request = TokenRequest {
            realm: key.realm.clone(),
            service: bearer.service.as_deref(),
            scope: &key.scope,
            credential,
        };
        let body = (self.fetch)(request.to_http_request()?).map_err(|error| match error {
            // Otherwise the image would be taken for missing.
            Error::NotFound { message, .. } => token::failed(&request.realm, &format!("not found: {message}")),
            Error::Unauthorized { url, status, message, .. } => {
                Error::Unauthorized { url, status, has_credentials: credential.is_some(), message }
            }
            error => error,
        })?;
        let token = token::parse(&request.realm, &body)?;
        Ok(cached.insert(token).clone())
    }
}

/// Returns whether a token server refused the credential. OAuth2 uses status 400 for that (RFC 6749, section 5.2).
fn is_bad_credential(error: &Error) -> bool {
    matches!(error, Error::Unauthorized { .. } | Error::Status { status: 400, .. })
}
