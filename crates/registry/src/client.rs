//! The client: requests with authorization, and again when they fail in passing.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::header::AUTHORIZATION;
use reqwest::{Method, StatusCode, Url};
use vmroot_errors::with_causes;
use vmroot_model::Reference;

use crate::authorize::{Authorizer, Target};
use crate::backoff::Backoff;
use crate::challenge::Challenge;
use crate::endpoint::{self, Endpoint};
use crate::http::{Call, Exchange, Failure, Http, Reach};
use crate::parts::Budget;
use crate::refusal::Refusal;
use crate::{ClientOptions, Result, challenge, token};

/// How often one request is sent: without credentials, with a token, with a fresh one, with one for a wider scope.
const AUTHORIZATIONS: usize = 4;

/// How often a request is repeated to a server that refuses connections and never took one: nobody listens, and who
/// mistyped a port shall know at once.
const REFUSED_RETRIES: u32 = 2;

/// A client for all registries. Clones share connections, tokens and everything else.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    http: Arc<Http>,
    authorizer: Authorizer,
    /// The base URL of each registry that was used.
    endpoints: Mutex<HashMap<String, Url>>,
    /// Registries that were asked for challenges apart from any image.
    asked: Mutex<HashSet<Url>>,
    /// Connections and memory that all blobs share.
    budget: Arc<Budget>,
}

impl Client {
    /// A client with these options. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Certificates`](crate::Error::Certificates) and [`Error::Option`](crate::Error::Option) for options that
    /// make no sense.
    pub fn new(options: ClientOptions) -> Result<Self> {
        let authorizer = Authorizer::new(Arc::clone(&options.credentials));
        let budget = Budget::new(options.connections);
        let http = Http::new(options)?;
        let (endpoints, asked) = Default::default();
        Ok(Self { shared: Arc::new(Shared { http, authorizer, endpoints, asked, budget }) })
    }

    /// What the client was made with.
    pub fn options(&self) -> &ClientOptions {
        &self.shared.http.options
    }

    /// A request for something of a repository: `what` is the part of the path after its name, already escaped.
    pub(crate) fn call(&self, reference: &Reference, method: Method, what: &str) -> Result<Call> {
        let base = self.base(reference.registry_host())?;
        // Names are made of characters that need no escaping: the grammar of references has no others.
        let path = format!("/v2/{}/{what}", reference.path());
        Ok(Call::new(method, endpoint::join(&base, &path)?))
    }

    fn base(&self, host: &str) -> Result<Url> {
        if let Some(base) = self.endpoints().get(host) {
            return Ok(base.clone());
        }
        let Endpoint { base, certain } = endpoint::find(&self.shared.http, host)?;
        if certain {
            self.endpoints().insert(host.to_owned(), base.clone());
        }
        Ok(base)
    }

    fn endpoints(&self) -> std::sync::MutexGuard<'_, HashMap<String, Url>> {
        self.shared.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request until it succeeds and `read` has what it wants of the answer, or the retries are used up.
    pub(crate) fn send<T>(
        &self,
        reference: &Reference,
        call: &Call,
        read: impl Fn(Exchange) -> Result<T>,
    ) -> Result<T> {
        let target = Target {
            base: endpoint::join(&call.url, "/")?,
            domain: reference.domain().to_owned(),
            repository: reference.path().to_owned(),
        };
        self.retry(call, || self.authorized(&target, call), read)
    }

    /// The same for requests that are not for a registry: token servers, and other places of foreign layers.
    pub(crate) fn send_elsewhere<T>(&self, call: &Call, read: impl Fn(Exchange) -> Result<T>) -> Result<T> {
        self.retry(call, || self.shared.http.send(call), read)
    }

    /// Connections and memory that all blobs share.
    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.shared.budget
    }

    /// How far away the server at `url` is.
    pub(crate) fn reach_of(&self, url: &Url) -> Reach {
        self.shared.http.reach_of(url)
    }

    fn retry<T>(
        &self,
        call: &Call,
        send: impl Fn() -> Result<Exchange, Failure>,
        read: impl Fn(Exchange) -> Result<T>,
    ) -> Result<T> {
        let options = self.options();
        let mut backoff = Backoff::default();
        loop {
            let (error, wait) = match attempt(&send, &read, options) {
                Ok(done) => return Ok(done),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Refused(error)) if backoff.failures() >= REFUSED_RETRIES => return Err(error),
                Err(Failure::Refused(error) | Failure::Transient(error)) => (error, None),
                Err(Failure::Busy(error, wait)) => (error, wait),
            };
            if !backoff.fail(options) {
                return Err(error);
            }
            tracing::info!(error = with_causes(&error), "trying again");
            backoff.pause(options, self.shared.http.cancel_of(call), wait)?;
        }
    }

    /// Sends a request with what the registry wants for it, and once more for each challenge that can be met.
    fn authorized(&self, target: &Target, call: &Call) -> Result<Exchange, Failure> {
        let fetch = |call: &Call| self.send_elsewhere(call, token::body);
        let mut session = self.shared.authorizer.session(target, &fetch);
        let mut authorization = session.beforehand()?;
        let mut sent = 0;
        loop {
            let mut call = call.clone();
            if let Some(authorization) = &authorization {
                call.headers.insert(AUTHORIZATION, authorization.header.clone());
            }
            let exchange = self.shared.http.send(&call)?;
            sent += 1;
            // Another server than the registry, at the end of a redirect, gets no credentials, whatever it asks for.
            if !is_refusal(exchange.status()) || exchange.moved() || sent == AUTHORIZATIONS {
                return Ok(exchange);
            }
            let (status, challenges) = match challenge::of(exchange.headers()) {
                none if none.is_empty() && !session.has_sent() => {
                    (StatusCode::UNAUTHORIZED, self.challenges_of_registry(&target.base))
                }
                challenges => (exchange.status(), challenges),
            };
            let Some(better) = session.afterwards(status, challenges)? else { return Ok(exchange) };
            exchange.discard();
            authorization = Some(better);
        }
    }

    /// The challenges of the registry's own page, once: Docker and skopeo ask there first, so some registries give
    /// challenges nowhere else, and answer 403 or 404 to requests for images that are not public.
    fn challenges_of_registry(&self, base: &Url) -> Vec<Challenge> {
        if !self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(base.clone()) {
            return Vec::new();
        }
        let answer = endpoint::join(base, "/v2/").map(|url| self.shared.http.send(&Call::new(Method::GET, url)));
        let Ok(Ok(answer)) = answer else { return Vec::new() };
        let mut challenges = Vec::new();
        if answer.status() == StatusCode::UNAUTHORIZED && !answer.moved() {
            challenges = challenge::of(answer.headers());
        }
        answer.discard();
        challenges
    }
}

/// Whether other credentials may lead to another answer.
fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND)
}

/// Sends a request once, and reads the answer if it is a success.
fn attempt<T>(
    send: impl Fn() -> Result<Exchange, Failure>,
    read: impl Fn(Exchange) -> Result<T>,
    options: &ClientOptions,
) -> Result<T, Failure> {
    let exchange = send()?;
    if exchange.status().is_success() {
        return read(exchange).map_err(|error| match error {
            error if error.is_broken_connection() => Failure::Transient(error),
            error => Failure::Final(error),
        });
    }
    let refusal = Refusal::read(exchange);
    Err(match refusal.retry(options) {
        Some(retry) => Failure::Busy(refusal.into_error(), retry.wait),
        None => Failure::Final(refusal.into_error()),
    })
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("options", self.options()).finish_non_exhaustive()
    }
}
