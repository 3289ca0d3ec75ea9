//! Tokens from a token server (distribution's "Token Authentication Specification" and its OAuth2 form).

use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;

use crate::authorize::basic;
use crate::http::{Call, Exchange, shown};
use crate::{Credential, Error, Result};

/// The longest answer of a token server that is read, in bytes.
pub(crate) const ANSWER_LIMIT: u64 = 1 << 20;

/// How long a token is good at least, and if the server does not say.
const LIFE: Duration = Duration::from_secs(60);

/// How long before its end a token is not used any more, because requests take time too.
const MARGIN: Duration = Duration::from_secs(5);

/// The name that this client has for token servers.
const CLIENT_ID: &str = "vmroot";

/// A token, and how long it is good.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) value: String,
    expires: Instant,
}

impl Token {
    pub(crate) fn is_fresh(&self) -> bool {
        Instant::now() + MARGIN < self.expires
    }
}

/// What to ask a token server for.
pub(crate) struct TokenRequest<'a> {
    pub(crate) realm: Url,
    pub(crate) service: Option<&'a str>,
    pub(crate) scope: &'a str,
    pub(crate) credential: Option<&'a Credential>,
}

impl TokenRequest<'_> {
    /// The request in HTTP: a GET, or a POST for an identity token.
    pub(crate) fn to_call(&self) -> Result<Call> {
        if let Some(Credential::IdentityToken(token)) = self.credential {
            return Ok(self.post(token));
        }
        let mut url = self.realm.clone();
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = self.service {
                query.append_pair("service", service);
            }
            for scope in self.scope.split(' ').filter(|scope| !scope.is_empty()) {
                query.append_pair("scope", scope);
            }
            if let Some(Credential::Password { user, .. }) = self.credential {
                query.append_pair("account", user);
            }
        }
        let mut call = Call::new(Method::GET, url);
        if let Some(Credential::Password { user, password }) = self.credential {
            call.headers.insert(reqwest::header::AUTHORIZATION, basic(user, password)?);
        }
        Ok(call)
    }

    fn post(&self, identity_token: &str) -> Call {
        let mut call = Call::new(Method::POST, self.realm.clone());
        // A URL's query has the form of a form.
        let mut form = self.realm.clone();
        form.set_query(None);
        {
            let mut fields = form.query_pairs_mut();
            fields.append_pair("grant_type", "refresh_token");
            fields.append_pair("client_id", CLIENT_ID);
            fields.append_pair("refresh_token", identity_token);
            if let Some(service) = self.service {
                fields.append_pair("service", service);
            }
            if !self.scope.is_empty() {
                fields.append_pair("scope", self.scope);
            }
        }
        call.form = form.query().map(str::to_owned);
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        call
    }
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<f64>,
}

/// The body of a token server's answer.
pub(crate) fn body(exchange: Exchange) -> Result<Vec<u8>> {
    exchange.read_all(ANSWER_LIMIT)
}

/// Reads a token from the body of an answer of `realm`.
pub(crate) fn read(realm: &Url, body: &[u8]) -> Result<Token> {
    let failed = |reason: &str| Error::Token { realm: shown(realm), reason: reason.to_owned() };
    // By way of a map, in which the last of several members of one name counts, as in Go's programs; serde's structs refuse
    // them. Not serde's message, which may have a part of the token in it.
    let answer: Answer = serde_json::from_slice(body)
        .and_then(serde_json::from_value::<Answer>)
        .map_err(|_| failed("its answer is not the JSON of a token"))?;
    let given = |token: Option<String>| token.filter(|token| !token.is_empty());
    let value = given(answer.token).or_else(|| given(answer.access_token));
    let value = value.ok_or_else(|| failed("its answer has neither token nor access_token"))?;
    let seconds = answer.expires_in.unwrap_or(0.0);
    let life = Duration::try_from_secs_f64(seconds).unwrap_or(LIFE).clamp(LIFE, Duration::from_secs(86_400));
    Ok(Token { value, expires: Instant::now() + life })
}
