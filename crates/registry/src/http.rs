//! HTTP requests with redirects and cancellation.
//!
//! A [`BlockingClient`] is a reqwest client on a private single-threaded runtime, which runs only while a thread waits
//! for it. So one thread reads the bytes of a body from the socket, decrypts them and consumes them, and bodies that
//! are read in parallel share no thread. On loopback, this takes half the processor time of `reqwest::blocking`, which
//! passes every chunk from its own thread to the caller's. Only HTTP/1.1 is used, so that each blob has its own
//! connection and window.

mod address_scope;
mod blocking_client;
mod failure;
pub(crate) mod location;
mod redirect;
mod request;
mod request_log;
mod response;
mod warnings;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::AUTHORIZATION;
use reqwest::{Response, Url};
use rustls::ClientConfig;

pub(crate) use address_scope::AddressScope;
use blocking_client::BlockingClient;
pub(crate) use failure::Failure;
pub(crate) use request::{Access, HttpRequest, RequestBody};
use request_log::RequestLog;
pub(crate) use response::HttpResponse;
use warnings::Warnings;

use crate::{ClientOptions, ConnectFailure, Error, HostOptions, Result, endpoint, tls};

/// The maximum number of idle clients that are kept for their open connections.
const IDLE_LIMIT: usize = 8;

/// The time for which a mirror that did not answer is not asked again.
const SILENT_TIME: Duration = Duration::from_secs(60);

/// The idle HTTP clients of a client, and the configuration of new ones.
pub(crate) struct Http {
    pub(crate) options: ClientOptions,
    idle: Mutex<Vec<BlockingClient>>,
    /// The servers that have answered, with the addresses they answered from. Such a server may be away for a moment,
    /// but others may not exist at all.
    known_servers: Mutex<HashMap<String, Option<IpAddr>>>,
    /// The servers that did not answer, by host and port, with the times and the reasons. They are not asked again for
    /// [`SILENT_TIME`] if another server has the same content.
    silent_servers: Mutex<HashMap<String, (Instant, String)>>,
    /// The TLS configurations by the settings they are made from. Made at the first use, because reading the system's
    /// certificates takes time, and plain HTTP needs none.
    tls: Mutex<HashMap<Arc<HostOptions>, ClientConfig>>,
    warnings: Warnings,
}

impl Http {
    /// Creates the clients' configuration, and checks the options as far as possible without the network.
    pub(crate) fn new(options: ClientOptions) -> Result<Arc<Self>> {
        options.proxies.to_reqwest()?;
        let (idle, known_servers, silent_servers, tls, warnings) = Default::default();
        let http = Self { options, idle, known_servers, silent_servers, tls, warnings };
        if !http.options.ca_files.is_empty() {
            http.tls(&Arc::default())?;
        }
        Ok(Arc::new(http))
    }

    /// Sends a request, follows redirects, and returns the first response that is not a redirect.
    ///
    /// A response with an error status is returned like any other.
    pub(crate) fn send(self: &Arc<Self>, request: &HttpRequest) -> Result<HttpResponse, Failure> {
        request.cancel.check().map_err(Error::from)?;
        let mut client = self.acquire_client()?;
        let mut request = request.clone();
        let first = request.url.clone();
        for _ in 0..=redirect::LIMIT {
            let (response, log) = self.send_once(&mut client, &request)?;
            let Some(next) = redirect::target(&request, &response)? else {
                self.warnings.log(&request.url, response.headers());
                let redirected = request.url.origin() != first.origin();
                return Ok(HttpResponse::new(self, client, response, request, redirected, log));
            };
            drop(log);
            client.drain(self, &request, response);
            if next.origin() != request.url.origin() {
                // Header and client certificates stay removed for the rest of this request, even if a later redirect leads back to the
                // first server.
                request.headers.remove(AUTHORIZATION);
                if !request.settings.identities.is_empty() {
                    let settings = HostOptions { identities: Vec::new(), ..HostOptions::clone(&request.settings) };
                    request.settings = Arc::new(settings);
                }
            }
            request.url = next;
            if request.address_scope.is_some() {
                // A user in the URL would be sent as credentials, which a server from a manifest must not get.
                let _ = (request.url.set_username(""), request.url.set_password(None));
            }
        }
        Err(Failure::Final(Error::TooManyRedirects { url: redacted(&first), limit: redirect::LIMIT }))
    }

    /// Sends a request once, and records the address that answers.
    fn send_once(&self, client: &mut BlockingClient, request: &HttpRequest) -> Result<(Response, RequestLog), Failure> {
        if let Some(address_scope) = request.address_scope {
            address_scope.check(&request.url)?;
        }
        let origin = request.url.origin().ascii_serialization();
        if request.has_alternative {
            self.check_silence(&request.url)?;
        }
        let started = Instant::now();
        let log_failure = |error: &Error| {
            let (method, url, seconds) = (&request.method, redacted(&request.url), started.elapsed().as_secs_f64());
            tracing::debug!(error = vmroot_errors::with_causes(error), "{method} {url}: no answer in {seconds:.3} s");
        };
        match client.send(self, request) {
            Ok(response) => {
                let log = RequestLog::new(&request.method, &request.url, response.status(), started);
                self.known_servers().insert(origin, response.remote_addr().map(|address| address.ip()));
                Ok((response, log))
            }
            Err(Failure::Refused(error)) if self.known_servers().contains_key(&origin) => {
                log_failure(&error);
                Err(Failure::Transient(error))
            }
            Err(failure) => {
                log_failure(failure.error());
                if let Failure::Transient(error @ (Error::Unreachable { .. } | Error::Stalled { .. })) = &failure {
                    let silence = (Instant::now(), error.to_string());
                    self.silent_servers().insert(address(&request.url), silence);
                }
                Err(failure)
            }
        }
    }

    /// Fails if a server did not answer lately.
    fn check_silence(&self, url: &Url) -> Result<(), Failure> {
        match self.silent_servers().get(&address(url)) {
            Some((since, reason)) if since.elapsed() < SILENT_TIME => Err(Failure::Transient(Error::Unreachable {
                url: redacted(url),
                cause: ConnectFailure::NoAnswer,
                reason: format!(
                    "it did not answer {} ago: {reason}",
                    vmroot_errors::counted(since.elapsed().as_secs(), "second")
                ),
            })),
            _ => Ok(()),
        }
    }

    fn silent_servers(&self) -> MutexGuard<'_, HashMap<String, (Instant, String)>> {
        self.silent_servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the scope of the server at `url`, by the address that answered. Its name is not resolved again, because
    /// the name server may be malicious.
    pub(crate) fn scope_of_server(&self, url: &Url) -> AddressScope {
        let origin = url.origin().ascii_serialization();
        match self.known_servers().get(&origin) {
            // The address may be the proxy's. Loopback addresses are never reached through a proxy.
            _ if self.options.proxies.is_some() && !endpoint::is_loopback(url) => AddressScope::Public,
            Some(Some(address)) => AddressScope::of(*address),
            _ => AddressScope::Public,
        }
    }

    fn known_servers(&self) -> MutexGuard<'_, HashMap<String, Option<IpAddr>>> {
        self.known_servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns an idle client, or a new one.
    fn acquire_client(&self) -> Result<BlockingClient> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(mut client) => {
                client.reap_closed_connections();
                Ok(client)
            }
            None => BlockingClient::new(),
        }
    }

    /// Keeps a client for later requests, unless enough are idle.
    fn release(&self, client: BlockingClient) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_LIMIT {
            idle.push(client);
        }
    }

    /// Returns the TLS configuration for a registry's settings, made on the first call.
    fn tls(&self, settings: &Arc<HostOptions>) -> Result<ClientConfig> {
        let mut cached = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = cached.get(settings) {
            return Ok(config.clone());
        }
        let config = tls::config(&self.options.ca_files, &self.options.tls, settings)?;
        Ok(cached.entry(Arc::clone(settings)).or_insert(config).clone())
    }
}

/// Returns the host and port of a URL.
fn address(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}

/// Returns the host of a URL for messages, with the port unless that is the scheme's.
pub(crate) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Returns a URL for messages, without query and user, which may contain secrets.
pub(crate) fn redacted(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // These fail for URLs without a host, which have no user either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}
