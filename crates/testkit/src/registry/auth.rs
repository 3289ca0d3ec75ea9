//! Access control: Basic credentials, or bearer tokens from a token endpoint on the same port.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::message::{Request, Response};

/// The credentials that a registry requires.
#[derive(Clone, Debug)]
pub enum Auth {
    /// A user name and a password with every request.
    Basic {
        /// The user's name.
        user: String,
        /// The password.
        password: String,
        /// The values of the `WWW-Authenticate` headers.
        challenges: Vec<String>,
    },
    /// A bearer token with every request.
    Bearer(Bearer),
}

/// The token endpoint `/token`, and the challenges that refer to it.
#[derive(Clone, Debug)]
pub struct Bearer {
    /// The user name and password that the endpoint requires. If `None`, every client gets a token.
    pub user: Option<(String, String)>,
    /// The identity token that the endpoint requires instead, in a POST request.
    pub identity_token: Option<String>,
    /// The field of the answer with the token: `token` or `access_token`.
    pub field: &'static str,
    /// The advertised lifetime of a token in seconds.
    pub expires_in: Option<u64>,
    /// The actual number of requests for which a token is valid.
    pub uses: Option<usize>,
    /// The actual lifetime of a token.
    pub life: Option<Duration>,
    /// A scope that tokens must have. If a token lacks it, the answer is `insufficient_scope` with a challenge for this
    /// scope.
    pub insufficient: Option<String>,
    /// The values of the `WWW-Authenticate` headers. `{realm}` is replaced by the URL of the endpoint, and `{scope}` by
    /// the scope of the request.
    pub challenges: Vec<String>,
    /// The URL of the endpoint, if it is not on this registry.
    pub realm: Option<String>,
    /// Whether a token must have the scope that its request needs, and be for the service `registry.test`. If it lacks
    /// the scope, the answer is `insufficient_scope`.
    pub checks_scopes: bool,
    /// The actions that are removed from all scopes before a token is issued.
    pub denied: Vec<&'static str>,
}

/// A token that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The services of the request, usually one.
    pub services: Vec<String>,
    /// The granted scopes.
    pub scopes: Vec<String>,
    /// The token.
    pub token: String,
}

impl Default for Bearer {
    fn default() -> Self {
        Self {
            user: None,
            identity_token: None,
            field: "token",
            expires_in: None,
            uses: None,
            life: None,
            insufficient: None,
            challenges: vec![r#"Bearer realm="{realm}",service="registry.test",scope="{scope}""#.to_owned()],
            realm: None,
            checks_scopes: false,
            denied: Vec::new(),
        }
    }
}

/// The issued tokens.
#[derive(Default)]
pub(super) struct Tokens {
    count: usize,
    given: HashMap<String, Token>,
    pub(super) grants: Vec<Grant>,
}

impl Tokens {
    /// Revokes all tokens. Their names are not used again.
    pub(super) fn revoke(&mut self) {
        self.given.clear();
    }
}

struct Token {
    scopes: Vec<String>,
    uses: usize,
    expires: Option<Instant>,
}

impl Auth {
    /// Returns Basic credentials with the usual challenge.
    pub fn basic(user: &str, password: &str) -> Self {
        let challenges = vec![r#"Basic realm="test registry""#.to_owned()];
        Self::Basic { user: user.to_owned(), password: password.to_owned(), challenges }
    }

    /// Returns the answer to an unauthorised request, or `None` if the request is authorised.
    pub(super) fn refuse(&self, request: &Request, tokens: &mut Tokens, base: &str) -> io::Result<Option<Response>> {
        match self {
            Self::Basic { user, password, challenges } => {
                let expected = basic(user, password);
                if request.header("authorization") == Some(&expected) {
                    return Ok(None);
                }
                let mut response = Response::error(401, "UNAUTHORIZED", "authentication required")?;
                for challenge in challenges {
                    response = response.with("WWW-Authenticate", challenge.as_str());
                }
                Ok(Some(response))
            }
            Self::Bearer(bearer) => bearer.refuse(request, tokens, base),
        }
    }
}

impl Bearer {
    fn refuse(&self, request: &Request, tokens: &mut Tokens, base: &str) -> io::Result<Option<Response>> {
        let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let known = token.and_then(|token| tokens.given.get_mut(token));
        let valid =
            known.filter(|token| token.uses > 0 && token.expires.is_none_or(|expires| Instant::now() < expires));
        let scope = needed_scope(request);
        let Some(token) = valid else {
            return self.challenge(base, &scope, "").map(Some);
        };
        if self.checks_scopes && !token.allows(&scope) {
            return self.challenge(base, &scope, r#",error="insufficient_scope""#).map(Some);
        }
        if let Some(wanted) = self.insufficient.as_ref().filter(|wanted| !token.scopes.contains(wanted)) {
            return self.challenge(base, wanted, r#",error="insufficient_scope""#).map(Some);
        }
        token.uses -= 1;
        Ok(None)
    }

    fn challenge(&self, base: &str, scope: &str, more: &str) -> io::Result<Response> {
        let realm = self.realm.clone().unwrap_or_else(|| format!("{base}/token"));
        let mut response = Response::error(401, "UNAUTHORIZED", "authentication required")?;
        for challenge in &self.challenges {
            let value = challenge.replace("{realm}", &realm).replace("{scope}", scope);
            response = response.with("WWW-Authenticate", format!("{value}{more}"));
        }
        Ok(response)
    }

    /// Returns the answer of the token endpoint.
    pub(super) fn token(&self, request: &Request, tokens: &mut Tokens) -> io::Result<Response> {
        let post = request.method == "POST";
        let allowed = match (&self.identity_token, &self.user) {
            (Some(identity), _) => post && request.form("refresh_token").contains(identity),
            (None, Some((user, password))) => request.header("authorization") == Some(&basic(user, password)),
            (None, None) => true,
        };
        if !allowed {
            return Response::error(401, "UNAUTHORIZED", "wrong user or password");
        }
        tokens.count += 1;
        let token = format!("token-{}", tokens.count);
        let texts = if post { request.form("scope") } else { request.query("scope") };
        // A form has its scopes in one field, separated by spaces. A query may have several fields.
        let split = texts.iter().flat_map(|text| text.split(' ')).map(str::to_owned);
        let scopes: Vec<String> = split.chain(texts.iter().cloned()).map(|scope| self.without_denied(&scope)).collect();
        let services = if post { request.form("service") } else { request.query("service") };
        if self.checks_scopes && services != ["registry.test"] {
            return Response::error(400, "UNKNOWN", "no such service");
        }
        let mut granted = scopes.clone();
        granted.sort();
        granted.dedup();
        tokens.grants.push(Grant { services, scopes: granted, token: token.clone() });
        let expires = self.life.map(|life| Instant::now() + life);
        tokens.given.insert(token.clone(), Token { scopes, uses: self.uses.unwrap_or(usize::MAX), expires });
        let expires_in = self.expires_in.map_or(String::new(), |seconds| format!(r#","expires_in":{seconds}"#));
        let body = format!(r#"{{"{}":"{token}"{expires_in}}}"#, self.field);
        Ok(Response::new(200, body.into_bytes())?.with("Content-Type", "application/json"))
    }
}

impl Bearer {
    fn without_denied(&self, scope: &str) -> String {
        let Some((resource, actions)) = scope.rsplit_once(':') else { return scope.to_owned() };
        let left: Vec<_> = actions.split(',').filter(|action| !self.denied.contains(action)).collect();
        format!("{resource}:{}", left.join(","))
    }
}

impl Token {
    /// Returns whether the token has all actions of a scope.
    fn allows(&self, needed: &str) -> bool {
        let Some((resource, actions)) = needed.rsplit_once(':') else { return true };
        let granted = self.scopes.iter().filter_map(|scope| scope.rsplit_once(':'));
        let granted: Vec<&str> =
            granted.filter(|(granted, _)| *granted == resource).flat_map(|(_, actions)| actions.split(',')).collect();
        granted.contains(&"*") || actions.split(',').all(|action| granted.contains(&action))
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Returns the scope that a request needs, which is empty for `/v2/`.
fn needed_scope(request: &Request) -> String {
    let name_and = request.path_only().strip_prefix("/v2/").unwrap_or_default();
    if name_and == "_catalog" {
        return "registry:catalog:*".to_owned();
    }
    let actions = match request.method.as_str() {
        "GET" | "HEAD" => "pull",
        "DELETE" if !name_and.contains("/blobs/uploads/") => "delete",
        _ => "pull,push",
    };
    let parts = ["/manifests/", "/blobs/", "/tags/", "/referrers/"];
    let name = parts.iter().find_map(|part| name_and.rsplit_once(part));
    name.map_or(String::new(), |(name, _)| format!("repository:{name}:{actions}"))
}
