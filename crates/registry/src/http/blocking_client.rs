//! A blocking HTTP client: reqwest with its own runtime.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue};
use reqwest::{Client, Method, Response};
use rustls::ClientConfig;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::timeout;
use vmroot_output::CANCEL_LATENCY;

use super::address_scope::ScopedResolver;
use super::{AddressScope, Failure, Http, HttpRequest, RequestBody, failure, host, redacted};
use crate::observer::{FIRST_REPORT, RequestEvent, RequestObserver};
use crate::upload::StreamedBody;
use crate::{Error, HostOptions, Result, tls};

/// The time for which an idle connection is kept. Servers close theirs after about a minute, and the client should
/// close first.
const KEEP_IDLE: Duration = Duration::from_secs(15);

/// The maximum length in bytes of an unwanted body that is read to keep its connection. With a longer one, the
/// connection is dropped.
const DRAIN_LIMIT: u64 = 16 * 1024;

/// The settings of the registry if it is used through TLS, the limit on addresses, and whether another server has the
/// same content.
type ClientKey = (Option<Arc<HostOptions>>, Option<AddressScope>, bool);

/// The maximum time for making a connection to a mirror, TLS handshake included.
const MIRROR_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A reqwest client that blocks the calling thread.
pub(crate) struct BlockingClient {
    /// `None` only while the client is dropped.
    runtime: Option<Runtime>,
    /// The clients, by what they are built from.
    clients: HashMap<ClientKey, Client>,
}

impl BlockingClient {
    pub(crate) fn new() -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
        Ok(Self { runtime: Some(runtime), clients: HashMap::new() })
    }

    /// Sends a request and waits for the head of the response.
    pub(crate) fn send(&mut self, http: &Http, request: &HttpRequest) -> Result<Response, Failure> {
        let client = self.reqwest_client(http, request)?;
        let mut builder = client.request(request.method.clone(), request.url.clone()).headers(request.headers.clone());
        let is_empty = match &request.body {
            RequestBody::Empty => true,
            RequestBody::Bytes(bytes) => bytes.is_empty(),
            _ => false,
        };
        if is_empty && matches!(request.method, Method::POST | Method::PUT | Method::PATCH) {
            // Servers expect a length for these methods (RFC 9110, section 8.6), and some refuse requests without it.
            builder = builder.header(CONTENT_LENGTH, 0);
        }
        let stream = match &request.body {
            RequestBody::Empty => None,
            RequestBody::Form(form) => {
                builder = builder.body(form.clone());
                None
            }
            RequestBody::Bytes(bytes) => {
                builder = builder.body(bytes.clone());
                None
            }
            RequestBody::Stream(stream) => {
                builder = builder.body(stream.start()?);
                Some(stream)
            }
        };
        let limit = http.options.inactivity_timeout.saturating_mul(request.patience);
        let started = Instant::now();
        let idle = || stream.map_or_else(|| started.elapsed(), StreamedBody::idle);
        let sent = self.wait(limit, http, request, idle, builder.send());
        failure::classify(&request.url, sent)
    }

    /// Reads the next chunk of a body. Returns `None` at its end.
    pub(crate) fn chunk(
        &self,
        http: &Http,
        request: &HttpRequest,
        response: &mut Response,
    ) -> Result<Option<bytes::Bytes>> {
        let started = Instant::now();
        let limit = http.options.inactivity_timeout;
        let chunk = self.wait(limit, http, request, || started.elapsed(), response.chunk());
        failure::classify(&request.url, chunk).map_err(Failure::into_error)
    }

    /// Reads the rest of a short body, so that its connection can be reused. Returns whether it can.
    pub(crate) fn drain(&self, http: &Http, request: &HttpRequest, mut response: Response) -> bool {
        if response.content_length().is_none_or(|length| length > DRAIN_LIMIT) {
            return false;
        }
        loop {
            match self.chunk(http, request, &mut response) {
                Ok(Some(_)) => {}
                end => return end.is_ok(),
            }
        }
    }

    /// Runs the runtime briefly, so that it notices connections that were closed while it did not run.
    pub(crate) fn reap_closed_connections(&mut self) {
        // The first turn polls the sockets. The next ones run the tasks that these wake.
        const TURNS: usize = 3;
        self.block_on(async {
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
        });
    }

    /// Waits for `future` until `idle` reaches `limit`, polls for cancellation, and reports a long wait.
    fn wait<T: Send>(
        &self,
        limit: Duration,
        http: &Http,
        request: &HttpRequest,
        idle: impl Fn() -> Duration + Send + Sync,
        future: impl Future<Output = T> + Send,
    ) -> Result<T, WaitError> {
        self.block_on(async {
            let mut future = pin!(future);
            let mut wait = ReportedWait::new(http, request);
            loop {
                if request.cancel.is_cancelled() {
                    return Err(WaitError::Cancelled);
                }
                let left = limit.saturating_sub(idle());
                if let Ok(output) = timeout(left.min(CANCEL_LATENCY), future.as_mut()).await {
                    return Ok(output);
                }
                let idle = idle();
                if idle >= limit {
                    return Err(WaitError::Stalled(limit));
                }
                wait.report(idle);
            }
        })
    }

    /// Runs the runtime until `future` completes.
    ///
    /// tokio panics if a thread that runs a task of another runtime runs this one. On such a thread, a new thread runs
    /// it. That is expensive for many small chunks, but the threads of a pull, which read those, run no task.
    fn block_on<T: Send>(&self, future: impl Future<Output = T> + Send) -> T {
        let runtime = self.runtime.as_ref().expect("the runtime is taken only on drop");
        if Handle::try_current().is_err() {
            return runtime.block_on(future);
        }
        thread::scope(|scope| scope.spawn(|| runtime.block_on(future)).join())
            .unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn reqwest_client(&mut self, http: &Http, request: &HttpRequest) -> Result<Client> {
        let secure = (request.url.scheme() == "https").then(|| Arc::clone(&request.settings));
        let key = (secure, request.address_scope, request.has_alternative);
        if let Some(client) = self.clients.get(&key) {
            return Ok(client.clone());
        }
        let config = match &key.0 {
            Some(settings) => http.tls(settings)?,
            None => tls::without_roots()?,
        };
        let client = build(http, config, request)?;
        self.clients.insert(key, client.clone());
        Ok(client)
    }
}

/// A wait for a server, which is reported while it is long.
struct ReportedWait<'a> {
    observer: Option<&'a dyn RequestObserver>,
    request: &'a HttpRequest,
    /// The whole seconds of the last report, or 0 before the first one.
    reported: u64,
}

impl<'a> ReportedWait<'a> {
    fn new(http: &'a Http, request: &'a HttpRequest) -> Self {
        Self { observer: http.options.observer.as_deref(), request, reported: 0 }
    }

    fn report(&mut self, silent_for: Duration) {
        let Some(observer) = self.observer else { return };
        if silent_for < FIRST_REPORT || silent_for.as_secs() == self.reported {
            return;
        }
        self.reported = silent_for.as_secs();
        let (attempt, attempts) = self.request.attempts.get();
        let (request, host) = (self.request.attempts.request, &host(&self.request.url));
        observer.event(&RequestEvent::Waiting { request, host, silent_for, attempt, attempts });
    }
}

impl Drop for ReportedWait<'_> {
    fn drop(&mut self) {
        if let Some(observer) = self.observer.filter(|_| self.reported > 0) {
            let (request, host) = (self.request.attempts.request, &host(&self.request.url));
            observer.event(&RequestEvent::Answered { request, host });
        }
    }
}

fn build(http: &Http, tls: ClientConfig, request: &HttpRequest) -> Result<Client> {
    let options = &http.options;
    let limit = if request.has_alternative { MIRROR_CONNECT_TIMEOUT } else { Duration::MAX };
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(&options.user_agent)
        // Digests are of the registry's own bytes, so bodies must not be compressed (RFC 9110, section 12.5.3).
        .default_headers(HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]))
        .connect_timeout(options.connect_timeout.min(limit))
        .pool_idle_timeout(KEEP_IDLE)
        .http1_only()
        .referer(false)
        // The module `redirect` follows redirects, and the module `client` counts retries.
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        // The environment's proxies are ignored. The caller passes the proxies.
        .no_proxy();
    if let Some(address_scope) = request.address_scope {
        builder = builder.dns_resolver(ScopedResolver::new(address_scope, &options.proxies));
    }
    for proxy in options.proxies.to_reqwest()? {
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(|error| Error::Option { option: "user_agent", reason: failure::reason(&error) })
}

impl Drop for BlockingClient {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Dropping the runtime would wait for a running name lookup.
            runtime.shutdown_background();
        }
    }
}

/// The reason for which waiting ended early.
#[derive(Debug)]
pub(crate) enum WaitError {
    Cancelled,
    Stalled(Duration),
}

impl WaitError {
    pub(crate) fn into_error(self, url: &reqwest::Url) -> Error {
        match self {
            Self::Cancelled => Error::Cancelled,
            Self::Stalled(after) => Error::Stalled { url: redacted(url), after },
        }
    }
}
