//! The client: sends requests with authorization, and retries them.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::AUTHORIZATION;
use reqwest::{Method, StatusCode, Url};
use vmroot_errors::with_causes;
use vmroot_model::Reference;

use crate::authorize::{Authorizer, Session, Target};
use crate::backoff::Backoff;
use crate::challenge::Challenge;
use crate::endpoint::{self, Endpoint, Registry};
use crate::error_response::ErrorResponse;
use crate::http::{self, Access, AddressScope, Failure, Http, HttpRequest, HttpResponse};
use crate::lookaside::SignatureExtensions;
use crate::observer::RequestEvent;
use crate::parts::Budget;
use crate::referrers::ReferrerLists;
use crate::{Cancel, ClientOptions, Error, HostOptions, Result, challenge, token};

/// The maximum number of times that one request is sent: without credentials, with a token, with a new token, and with
/// a token of a wider scope.
const ATTEMPTS_LIMIT: usize = 4;

/// The maximum number of retries if a server that has never accepted a connection refuses them. Few, so that a mistyped
/// port is reported soon.
const REFUSED_RETRIES: u32 = 2;

/// The maximum number of retries at a mirror. Few, because the next place may be better.
const MIRROR_RETRIES: u32 = 1;

/// A client for all registries. Clones share connections, tokens and credentials.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    /// Cancels the requests of this clone.
    cancel: Cancel,
    /// Replaces [`HostOptions::insecure`] in the requests of this clone.
    insecure: Option<bool>,
    /// Whether other servers have what the requests of this clone ask for.
    has_alternative: bool,
    /// The failed attempts of the work that the requests of this clone belong to.
    failures: u32,
}

/// The place that a request is for, in the words of references.
#[derive(Clone, Copy)]
struct Place<'a> {
    domain: &'a str,
    /// Empty for the registry as a whole.
    repository: &'a str,
}

struct Shared {
    http: Arc<Http>,
    authorizer: Authorizer,
    /// The base URL of each registry, by its host and settings.
    endpoints: Mutex<HashMap<(String, Arc<HostOptions>), Url>>,
    /// Registries whose `/v2/` was requested for challenges.
    probed: Mutex<HashSet<Url>>,
    /// The repositories that were read without credentials: a document that they lack is missing, and not hidden.
    open: Mutex<HashSet<(Url, String)>>,
    /// The registries that store signatures themselves, and those that do not.
    signature_extensions: SignatureExtensions,
    /// The repositories with a list of referrers, and those without.
    referrer_lists: ReferrerLists,
    /// The limits on connections and memory that all blobs share.
    budget: Arc<Budget>,
}

impl Client {
    /// Creates a client. Sends nothing yet.
    ///
    /// # Errors
    /// - [`Error::Certificates`](crate::Error::Certificates): a file of `ca_files` cannot be read or has no
    ///   certificate.
    /// - [`Error::Option`](crate::Error::Option): a proxy is not a valid URL.
    pub fn new(options: ClientOptions) -> Result<Self> {
        let authorizer = Authorizer::new(Arc::clone(&options.credentials));
        let budget = Budget::new(options.connections);
        let cancel = options.cancel.clone();
        let http = Http::new(options)?;
        let (endpoints, probed, open, signature_extensions, referrer_lists) = Default::default();
        let shared = Shared { http, authorizer, endpoints, probed, open, signature_extensions, referrer_lists, budget };
        Ok(Self { shared: Arc::new(shared), cancel, insecure: None, has_alternative: false, failures: 0 })
    }

    /// Returns a clone whose requests are cancelled by `cancel`, and no longer by
    /// [`ClientOptions::cancel`]. A [child](Cancel::child) of that is cancelled by both.
    pub fn with_cancel(&self, cancel: Cancel) -> Self {
        Self { cancel, ..self.clone() }
    }

    /// Returns a clone whose requests have this value for [`HostOptions::insecure`]. It takes precedence over
    /// [`ClientOptions::hosts`]. The settings of a mirror belong to the registry that it mirrors.
    pub fn with_insecure(&self, insecure: bool) -> Self {
        Self { insecure: Some(insecure), ..self.clone() }
    }

    /// Returns a clone for a mirror, or another place whose content is elsewhere too. A server that does not accept a
    /// connection within 5 seconds or sends nothing for [`ClientOptions::inactivity_timeout`] is not asked again for a
    /// minute. Other failures are retried once, and no `Retry-After` of more than 2 seconds is waited for.
    pub fn with_alternative(&self) -> Self {
        Self { has_alternative: true, ..self.clone() }
    }

    /// Returns a clone for work that has failed this many times, so that events count its attempts.
    pub(crate) fn after_failures(&self, failures: u32) -> Self {
        Self { failures, ..self.clone() }
    }

    /// Reports an event to the observer of the options.
    pub fn report(&self, event: &RequestEvent<'_>) {
        if let Some(observer) = &self.options().observer {
            observer.event(event);
        }
    }

    /// Logs and reports that a request to `url` failed and is tried again. `failures` is the number of failures so far.
    pub(crate) fn report_retry(&self, url: &str, error: &Error, failures: u32, pause: Duration, is_requested: bool) {
        let host = Url::parse(url).map_or_else(|_| url.to_owned(), |url| http::host(&url));
        let reason = with_causes(error);
        let (attempt, attempts) = (failures.saturating_add(1), self.retries().saturating_add(1));
        let seconds = pause.as_secs_f64();
        tracing::info!("{reason}; retrying in {seconds:.1} s, try {attempt} of {attempts}");
        let (host, reason) = (&*host, &*reason);
        self.report(&RequestEvent::Retrying { host, reason, attempt, attempts, pause, is_requested });
    }

    /// Returns the number of retries of a failed request.
    pub(crate) fn retries(&self) -> u32 {
        if self.has_alternative { self.options().retries.min(MIRROR_RETRIES) } else { self.options().retries }
    }

    /// Returns the token that cancels the requests of this clone.
    pub(crate) fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Returns the client's options.
    pub fn options(&self) -> &ClientOptions {
        &self.shared.http.options
    }

    /// Creates a request for a repository. `suffix` is the escaped rest of the path after the repository's name.
    pub(crate) fn request(&self, reference: &Reference, method: Method, suffix: &str) -> Result<HttpRequest> {
        let settings = self.host_settings(reference.domain(), reference.path())?;
        let base = self.base_url(reference.registry_host(), &settings)?;
        // Repository names need no escaping, because the grammar of references excludes all other characters.
        let path = format!("/v2/{}/{suffix}", reference.path());
        let request = self.request_url(method, endpoint::join(&base, &path)?);
        Ok(HttpRequest { base: Some(base), settings, ..request })
    }

    /// Creates a request to a registry as a whole. `path` is the escaped path.
    pub(crate) fn registry_request(&self, registry: &Registry, access: Access, path: &str) -> Result<HttpRequest> {
        let settings = self.host_settings(registry.domain(), "")?;
        let base = self.base_url(registry.host(), &settings)?;
        let request = self.request_url(Method::GET, endpoint::join(&base, path)?);
        Ok(HttpRequest { base: Some(base), access, settings, ..request })
    }

    /// Returns the settings for a repository, or for the registry itself if `repository` is empty.
    pub(crate) fn host_settings(&self, domain: &str, repository: &str) -> Result<Arc<HostOptions>> {
        let mut settings = self.options().hosts.get(domain, repository)?;
        settings.insecure = self.insecure.unwrap_or(settings.insecure);
        Ok(Arc::new(settings))
    }

    /// Creates a request that the client cancels.
    pub(crate) fn request_url(&self, method: Method, url: Url) -> HttpRequest {
        let has_alternative = self.has_alternative;
        HttpRequest { cancel: self.cancel.clone(), has_alternative, ..HttpRequest::new(method, url) }
    }

    /// Returns the base URL of the registry at a host, which is determined on the first call.
    /// Returns the base URL of the registry of a reference.
    pub(crate) fn base_of(&self, reference: &Reference) -> Result<Url> {
        let settings = self.host_settings(reference.domain(), reference.path())?;
        self.base_url(reference.registry_host(), &settings)
    }

    fn base_url(&self, host: &str, settings: &Arc<HostOptions>) -> Result<Url> {
        let key = (host.to_owned(), Arc::clone(settings));
        if let Some(base) = self.endpoints().get(&key) {
            return Ok(base.clone());
        }
        let Endpoint { base, is_certain, stores_signatures } = endpoint::find(&self.shared.http, host, |url| {
            HttpRequest { settings: Arc::clone(settings), ..self.request_url(Method::GET, url) }
        })?;
        if is_certain {
            self.endpoints().insert(key, base.clone());
        }
        if let Some(stores_signatures) = stores_signatures {
            self.signature_extensions().note(&base, stores_signatures);
        }
        Ok(base)
    }

    fn endpoints(&self) -> std::sync::MutexGuard<'_, HashMap<(String, Arc<HostOptions>), Url>> {
        self.shared.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request to a registry, with authorization, until it succeeds and `read` returns a result, or the retries
    /// are used up.
    pub(crate) fn send<T>(
        &self,
        reference: &Reference,
        request: &HttpRequest,
        read: impl Fn(HttpResponse) -> Result<T>,
    ) -> Result<T> {
        let place = Place { domain: reference.domain(), repository: reference.path() };
        self.retry(request, || self.send_to(place, request), read)
    }

    /// Sends a request to a registry as a whole like [`Self::send`].
    pub(crate) fn send_to_registry<T>(
        &self,
        registry: &Registry,
        request: &HttpRequest,
        read: impl Fn(HttpResponse) -> Result<T>,
    ) -> Result<T> {
        let place = Place { domain: registry.domain(), repository: "" };
        self.retry(request, || self.send_to(place, request), read)
    }

    /// Sends a request to a registry like [`Self::send`], but without retries.
    pub(crate) fn try_send<T>(
        &self,
        reference: &Reference,
        request: &HttpRequest,
        read: impl Fn(HttpResponse) -> Result<T>,
    ) -> Result<T, Failure> {
        let place = Place { domain: reference.domain(), repository: reference.path() };
        attempt(|| self.send_to(place, request), read, self.options())
    }

    /// Sends a request, with the credentials of its registry if it goes there.
    fn send_to(&self, place: Place<'_>, request: &HttpRequest) -> Result<HttpResponse, Failure> {
        match &request.base {
            Some(base) if base.origin() == request.url.origin() => {
                let (domain, repository) = (place.domain.to_owned(), place.repository.to_owned());
                self.send_authorized(&Target { base: base.clone(), domain, repository }, request)
            }
            // The `Location` of an upload and the link to the next page of a list may lead to another server.
            _ => self.shared.http.send(request),
        }
    }

    /// Sends a request without the registry's authorization: to a token server, or to the URL of a foreign layer.
    /// Retries like [`Self::send`].
    pub(crate) fn send_unchanged<T>(
        &self,
        request: &HttpRequest,
        read: impl Fn(HttpResponse) -> Result<T>,
    ) -> Result<T> {
        self.retry(request, || self.shared.http.send(request), read)
    }

    /// Sends a request once, without credentials.
    pub(crate) fn send_once(&self, request: &HttpRequest) -> Result<HttpResponse, Failure> {
        self.shared.http.send(request)
    }

    /// Returns the registries that are known to store signatures themselves, or not to.
    pub(crate) fn signature_extensions(&self) -> &SignatureExtensions {
        &self.shared.signature_extensions
    }

    /// Returns the repositories that are known to have a list of referrers, or none.
    pub(crate) fn referrer_lists(&self) -> &ReferrerLists {
        &self.shared.referrer_lists
    }

    /// Returns the limits on connections and memory that all blobs share.
    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.shared.budget
    }

    /// Returns the scope of the address of the server at `url`.
    pub(crate) fn scope_of_server(&self, url: &Url) -> AddressScope {
        self.shared.http.scope_of_server(url)
    }

    /// Calls `send` and `read` until they succeed, fail for good, or the retries are used up.
    fn retry<T>(
        &self,
        request: &HttpRequest,
        send: impl Fn() -> Result<HttpResponse, Failure>,
        read: impl Fn(HttpResponse) -> Result<T>,
    ) -> Result<T> {
        let options = self.options();
        let mut backoff = Backoff::default();
        loop {
            let failures = self.failures.saturating_add(backoff.failures());
            request.attempts.set(failures.saturating_add(1), self.retries().saturating_add(1));
            let (error, wait) = match attempt(&send, &read, options) {
                Ok(done) => return Ok(done),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Refused(error)) if backoff.failures() >= REFUSED_RETRIES => return Err(error),
                Err(failure) if request.has_alternative && failure.lasts() => return Err(failure.into_error()),
                Err(Failure::Refused(error) | Failure::Transient(error)) => (error, None),
                Err(Failure::Busy(error, wait)) => (error, wait),
            };
            if !backoff.fail_within(self.retries()) {
                return Err(error);
            }
            let pause = backoff.next_pause(options, wait);
            let failures = self.failures.saturating_add(backoff.failures());
            self.report_retry(request.url.as_str(), &error, failures, pause, wait.is_some());
            request.cancel.sleep(pause)?;
        }
    }

    /// Sends a request with the registry's authorization, and again for each challenge that can be answered.
    fn send_authorized(&self, target: &Target, request: &HttpRequest) -> Result<HttpResponse, Failure> {
        let settings = &request.settings;
        let fetch = |request: HttpRequest| {
            // The token server has the registry's settings: it often has a certificate of the same authority.
            let settings = Arc::clone(settings);
            let (cancel, has_alternative) = (self.cancel.clone(), self.has_alternative);
            let request = HttpRequest { settings, cancel, has_alternative, ..request };
            self.send_unchanged(&request, token::read_body)
        };
        let mut session =
            self.shared.authorizer.session(target, request.access.scope(&target.repository), &fetch, &self.cancel);
        let mut authorization = session.first_authorization()?;
        let mut sent = 0;
        loop {
            let mut request = request.clone();
            if let Some(authorization) = &authorization {
                request.headers.insert(AUTHORIZATION, authorization.header.clone());
            }
            let mut response = self.shared.http.send(&request)?;
            response.has_credentials = session.has_credentials();
            sent += 1;
            // A redirect may end at another server. That server gets no credentials, even if it requests them.
            if !may_need_credentials(response.status()) || response.is_redirected() || sent == ATTEMPTS_LIMIT {
                self.note_open(target, &request, &session, response.status());
                return Ok(response);
            }
            let challenges = challenge::from_headers(response.headers());
            if challenges.is_empty() && response.status() == StatusCode::NOT_FOUND && self.is_open(target, &request) {
                return Ok(response);
            }
            let (status, challenges) = match challenges {
                none if none.is_empty() && !session.has_sent() => {
                    (StatusCode::UNAUTHORIZED, self.challenges_of_registry(&target.base, settings))
                }
                challenges => (response.status(), challenges),
            };
            let Some(better) = session.next_authorization(status, challenges)? else { return Ok(response) };
            response.discard();
            authorization = Some(better);
        }
    }

    /// Notes that a repository was read without credentials.
    fn note_open(&self, target: &Target, request: &HttpRequest, session: &Session<'_>, status: StatusCode) {
        if status.is_success() && matches!(request.access, Access::Pull) && !session.has_sent() {
            self.open().insert((target.base.clone(), target.repository.clone()));
        }
    }

    /// Returns whether a request reads from a repository that was read without credentials before.
    fn is_open(&self, target: &Target, request: &HttpRequest) -> bool {
        matches!(request.access, Access::Pull)
            && self.open().contains(&(target.base.clone(), target.repository.clone()))
    }

    fn open(&self) -> std::sync::MutexGuard<'_, HashSet<(Url, String)>> {
        self.shared.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the challenges of the registry's `/v2/`, and nothing on later calls for the same registry. Docker and
    /// skopeo request `/v2/` first, so some registries send challenges nowhere else and answer 403 or 404 for images
    /// that are not public.
    fn challenges_of_registry(&self, base: &Url, settings: &Arc<HostOptions>) -> Vec<Challenge> {
        if !self.shared.probed.lock().unwrap_or_else(PoisonError::into_inner).insert(base.clone()) {
            return Vec::new();
        }
        let response = endpoint::join(base, "/v2/").map(|url| {
            let settings = Arc::clone(settings);
            self.shared.http.send(&HttpRequest { settings, ..self.request_url(Method::GET, url) })
        });
        let Ok(Ok(response)) = response else {
            if self.cancel.is_cancelled() {
                // Another clone of the client still needs the answer.
                self.shared.probed.lock().unwrap_or_else(PoisonError::into_inner).remove(base);
            }
            return Vec::new();
        };
        let mut challenges = Vec::new();
        if response.status() == StatusCode::UNAUTHORIZED && !response.is_redirected() {
            challenges = challenge::from_headers(response.headers());
        }
        response.discard();
        challenges
    }
}

/// Returns whether other credentials may change the response.
fn may_need_credentials(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND)
}

/// Sends a request once, and reads the response if it is a success.
fn attempt<T>(
    send: impl Fn() -> Result<HttpResponse, Failure>,
    read: impl Fn(HttpResponse) -> Result<T>,
    options: &ClientOptions,
) -> Result<T, Failure> {
    let response = send()?;
    if response.status().is_success() {
        return read(response).map_err(|error| match error {
            error if error.is_broken_connection() => Failure::Transient(error),
            error => Failure::Final(error),
        });
    }
    let error = ErrorResponse::read(response);
    Err(match error.retry(options) {
        Some(retry) => Failure::Busy(error.into_error(), retry.wait),
        None => Failure::Final(error.into_error()),
    })
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("options", self.options()).finish_non_exhaustive()
    }
}
