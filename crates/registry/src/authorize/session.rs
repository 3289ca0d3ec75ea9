//! Authorising one request, which may take several tries.

use reqwest::StatusCode;

use super::keyring::Key;
use super::{Authorization, Authorizer, Fetch, Known, Target, TokenKey, basic, lock, place, secret};
use crate::challenge::{Bearer, Challenge};
use crate::token::{self, Token, TokenRequest};
use crate::{Credential, Error, Result};

/// The state of one request: the authorization of its last try, and the steps that are left.
pub(crate) struct Session<'a> {
    authorizer: &'a Authorizer,
    target: &'a Target,
    fetch: Fetch<'a>,
    /// The authorization of the last try.
    sent: Option<Authorization>,
    /// Whether `sent` was made after the registry had refused this very request.
    fresh: bool,
    /// The credential that is used; `None` if none was needed yet.
    key: Option<Key>,
    /// Whether the source of credentials was asked once more, after its answer was refused. A helper may have refreshed
    /// its password meanwhile, also since its very first answer. It is asked again once a request: a source that has
    /// another wrong password each time must not make an endless loop, and accounts get locked for less.
    renewed: bool,
}

impl<'a> Session<'a> {
    pub(super) fn new(authorizer: &'a Authorizer, target: &'a Target, fetch: Fetch<'a>) -> Self {
        Self { authorizer, target, fetch, sent: None, fresh: false, key: None, renewed: false }
    }

    /// Whether the last try was sent with anything.
    pub(crate) fn has_sent(&self) -> bool {
        self.sent.is_some()
    }

    /// The authorization for the first try; none if the registry has never asked for one.
    pub(crate) fn beforehand(&mut self) -> Result<Option<Authorization>> {
        let known = self.authorizer.known(self.target);
        if let Some(challenge) = known.challenge {
            self.sent = self.answer(&challenge, known.scope)?;
        }
        Ok(self.sent.clone())
    }

    /// The authorization for the next try, after `status` for the last one; `None` if there is no better one.
    pub(crate) fn afterwards(
        &mut self,
        status: StatusCode,
        challenges: Vec<Challenge>,
    ) -> Result<Option<Authorization>> {
        let challenges = match status {
            StatusCode::UNAUTHORIZED if !challenges.is_empty() => challenges,
            // Some registries (ECR) refuse a password that has expired with 403, or give no challenge with a 401.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if self.sent.is_some() => {
                self.authorizer.known(self.target).challenge.into_iter().collect()
            }
            _ => return Ok(None),
        };
        let mut unusable = None;
        for challenge in challenges {
            match self.better(&challenge, status) {
                Ok(Some(authorization)) => {
                    self.sent = Some(authorization);
                    self.fresh = true;
                    return Ok(self.sent.clone());
                }
                Ok(None) => {}
                // Another challenge may be one that can be met.
                Err(error @ Error::Challenge { .. }) => _ = unusable.get_or_insert(error),
                Err(error) => return Err(error),
            }
        }
        unusable.map_or(Ok(None), Err)
    }

    /// An answer to one challenge that is better than what was sent.
    fn better(&mut self, challenge: &Challenge, status: StatusCode) -> Result<Option<Authorization>> {
        let wider = if status == StatusCode::UNAUTHORIZED { self.wider_scope(challenge) } else { None };
        let scope = wider.clone().or_else(|| self.authorizer.known(self.target).scope);
        if let Some(sent) = &self.sent
            && wider.is_none()
        {
            // A new token made with the same credential is worth a try, unless that was the last one.
            let sent = sent.clone();
            let has_token = sent.token.is_some() && !self.fresh && status == StatusCode::UNAUTHORIZED;
            if !has_token && !self.renew()? {
                return Ok(None);
            }
            self.authorizer.forget(&sent);
        }
        let Some(authorization) = self.answer(challenge, scope.clone())? else { return Ok(None) };
        if self.sent.as_ref().is_some_and(|sent| sent.header == authorization.header) {
            return Ok(None);
        }
        let known = Known { challenge: Some(challenge.clone()), scope };
        lock(&self.authorizer.known).insert(self.target.clone(), known);
        Ok(Some(authorization))
    }

    /// A scope that the challenge asks for and the last token lacks.
    fn wider_scope(&self, challenge: &Challenge) -> Option<String> {
        let (Challenge::Bearer(bearer), Some(sent)) = (challenge, &self.sent) else { return None };
        // Some registries refuse a new token without giving a reason.
        if !self.fresh && !bearer.is_insufficient_scope() {
            return None;
        }
        bearer.scope.clone().filter(|scope| sent.token.as_ref().map(|token| &token.scope) != Some(scope))
    }

    /// The answer to a challenge; `None` if there is no credential for it.
    fn answer(&mut self, challenge: &Challenge, scope: Option<String>) -> Result<Option<Authorization>> {
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
                    scope: scope.unwrap_or_else(|| format!("repository:{}:pull", self.target.repository)),
                };
                let token = match self.token(&key, bearer, credential.as_ref()) {
                    // The password that the token server refuses may be an old one.
                    Err(error) if is_refusal(&error) && self.renew()? => {
                        let credential = self.credential()?;
                        if matches!(credential, Some(Credential::RegistryToken(_))) {
                            return self.answer(challenge, Some(key.scope));
                        }
                        self.token(&key, bearer, credential.as_ref())?
                    }
                    token => token?,
                };
                Ok(Some(Authorization { header: secret(format!("Bearer {}", token.value))?, token: Some(key) }))
            }
        }
    }

    fn credential(&mut self) -> Result<Option<Credential>> {
        if let Some(key) = &self.key {
            return Ok(key.credential.clone());
        }
        let key = self.authorizer.keyring.get(self.target)?;
        Ok(self.key.insert(key).credential.clone())
    }

    /// Asks for the credential once more; true if there is another one now.
    fn renew(&mut self) -> Result<bool> {
        let Some(refused) = self.key.clone().filter(|key| !self.renewed && key.credential.is_some()) else {
            return Ok(false);
        };
        self.renewed = true;
        let key = self.authorizer.keyring.renew(self.target, &refused)?;
        let changed = key.credential != refused.credential;
        self.key = Some(key);
        Ok(changed)
    }

    fn token(&self, key: &TokenKey, bearer: &Bearer, credential: Option<&Credential>) -> Result<Token> {
        let place = place(&self.authorizer.tokens, key);
        // Held while the token is fetched: parallel requests need one token, not one each.
        let mut cached = lock(&place);
        if let Some(token) = cached.as_ref().filter(|token| token.is_fresh()) {
            return Ok(token.clone());
        }
        let request = TokenRequest {
            realm: key.realm.clone(),
            service: bearer.service.as_deref(),
            scope: &key.scope,
            credential,
        };
        let body = (self.fetch)(&request.to_call()?)?;
        let token = token::read(&request.realm, &body)?;
        Ok(cached.insert(token).clone())
    }
}

/// Whether a token server does not like the credential. OAuth2 has 400 for that (RFC 6749, section 5.2).
fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::Unauthorized { .. } | Error::Status { status: 400, .. })
}
