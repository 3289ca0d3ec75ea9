//! Requests for tokens (distribution's "Token Authentication Specification" and its OAuth2 form).

use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;

use crate::authorize::basic;
use crate::http::{HttpRequest, HttpResponse, RequestBody, redacted};
use crate::{Credential, Error, Result};

/// The maximum length of a token server's response, in bytes.
pub(crate) const ANSWER_LIMIT: u64 = 1 << 20;

/// The minimum lifetime of a token, and the lifetime if the server states none.
const LIFE: Duration = Duration::from_secs(60);

/// The time before its expiry at which a token is replaced, because requests take time too.
const MARGIN: Duration = Duration::from_secs(5);

/// The `client_id` for OAuth2 requests.
const CLIENT_ID: &str = "vmroot";

/// A token with its expiry.
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

/// A request for a token.
pub(crate) struct TokenRequest<'a> {
    pub(crate) realm: Url,
    pub(crate) service: Option<&'a str>,
    pub(crate) scope: &'a str,
    pub(crate) credential: Option<&'a Credential>,
}

impl TokenRequest<'_> {
    /// Converts the request to HTTP: a GET, or a POST for an identity token.
    pub(crate) fn to_http_request(&self) -> Result<HttpRequest> {
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
        let mut request = HttpRequest::new(Method::GET, url);
        if let Some(Credential::Password { user, password }) = self.credential {
            request.headers.insert(reqwest::header::AUTHORIZATION, basic(user, password)?);
        }
        Ok(request)
    }

    fn post(&self, identity_token: &str) -> HttpRequest {
        let mut request = HttpRequest::new(Method::POST, self.realm.clone());
        // A URL's query has the encoding of a form.
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
        request.body = RequestBody::Form(form.query().unwrap_or_default().to_owned());
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        request
    }
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<f64>,
}

/// Reads the body of a token server's response.
pub(crate) fn read_body(response: HttpResponse) -> Result<Vec<u8>> {
    response.read_all(ANSWER_LIMIT)
}

/// Returns the error for a token server that gives no token.
pub(crate) fn failed(realm: &Url, reason: &str) -> Error {
    Error::Token { realm: redacted(realm), reason: reason.to_owned() }
}

/// Parses the token in a response of `realm`.
pub(crate) fn parse(realm: &Url, body: &[u8]) -> Result<Token> {
    let failed = |reason: &str| failed(realm, reason);
    // Parsing into a map first makes the last of several members with one name count, as in Go. serde's structs refuse
    // them. serde's message is omitted, because it may quote a part of the token.
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
