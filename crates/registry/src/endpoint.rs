//! The choice between HTTP and HTTPS for a registry.

use std::cell::Cell;
use std::sync::Arc;

use reqwest::{StatusCode, Url};

use crate::http::{Failure, Http, HttpRequest};
use crate::lookaside::has_extension;
use crate::{Error, Result};

/// The number of bytes of a response that are searched for the message of a server that expects TLS.
const PROBE_BODY_LIMIT: usize = 256;

/// A registry as a whole.
#[derive(Debug)]
pub(crate) struct Registry(String);

impl Registry {
    /// Docker Hub in references.
    const HUB: &str = "docker.io";
    /// Other names of Docker Hub.
    const HUB_ALIASES: [&str; 3] = ["index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];

    /// Returns the registry with a host and optionally a port.
    pub(crate) fn new(host: &str) -> Self {
        Self(if Self::HUB_ALIASES.contains(&host) { Self::HUB } else { host }.to_owned())
    }

    /// Returns the registry as in references.
    pub(crate) fn domain(&self) -> &str {
        &self.0
    }

    /// Returns the host and port of the registry's API.
    pub(crate) fn host(&self) -> &str {
        if self.0 == Self::HUB { "registry-1.docker.io" } else { &self.0 }
    }
}

/// The base URL of a registry.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Scheme, host and port.
    pub(crate) base: Url,
    /// Whether the result can be remembered. False if the registry did not answer.
    pub(crate) is_certain: bool,
    /// Whether the registry says that it stores signatures, if it was asked.
    pub(crate) stores_signatures: Option<bool>,
}

/// Finds the base URL of a registry: `https`, unless the options request plain HTTP, the registry is on loopback and
/// answers plain HTTP, or it is insecure and answers only plain HTTP. `request` creates a GET request to the registry.
///
/// # Errors
/// - [`Error::Option`]: the host is not valid in a URL.
/// - [`Error::Cancelled`]: the request was cancelled.
pub(crate) fn find(http: &Arc<Http>, host: &str, request: impl Fn(Url) -> HttpRequest) -> Result<Endpoint> {
    let stores_signatures = Cell::new(None);
    let found = |base, is_certain| Ok(Endpoint { base, is_certain, stores_signatures: stores_signatures.get() });
    let certain = |base| found(base, true);
    let (plain, secure) = (base("http", host)?, base("https", host)?);
    if http.options.plain_http {
        return certain(plain);
    }
    let probe = |base| probe(http, &request(join(base, "/v2/")?), &secure, &stores_signatures);
    let settings = request(secure.clone()).settings;
    if settings.insecure {
        // Any answer over TLS counts. A registry that also speaks plain HTTP then still gets an encrypted connection.
        if let Probe::Tls = probe(&secure)? {
            return certain(secure);
        }
        return match probe(&plain)? {
            Probe::Plain => certain(plain),
            _ => found(secure, false),
        };
    }
    if settings.require_tls || !is_loopback(&secure) {
        return certain(secure);
    }
    // Most servers on loopback have no certificate, so plain HTTP is tried first. A TLS server answers that with an
    // error message, or closes the connection.
    match probe(&plain)? {
        Probe::Plain => certain(plain),
        Probe::Tls => certain(secure),
        Probe::NoAnswer => found(plain, false),
        // An overloaded plain registry closes connections as well. So TLS is assumed only if a TLS request is answered.
        Probe::Unclear => match probe(&secure)? {
            Probe::Tls => certain(secure),
            _ => found(plain, false),
        },
    }
}

/// The result of probing a server.
enum Probe {
    Plain,
    Tls,
    /// The connection was closed, or the response is not HTTP.
    Unclear,
    /// The server cannot be reached or sends nothing. The caller's own request will report this.
    NoAnswer,
}

fn probe(
    http: &Arc<Http>,
    request: &HttpRequest,
    secure: &Url,
    stores_signatures: &Cell<Option<bool>>,
) -> Result<Probe> {
    let response = match http.send(request) {
        Ok(response) => response,
        Err(Failure::Final(Error::Cancelled)) => return Err(Error::Cancelled),
        // The certificate is not trusted. The caller's own request will report this.
        Err(Failure::Final(Error::Certificate { .. })) => return Ok(Probe::Tls),
        Err(Failure::Transient(Error::Broken { .. })) => return Ok(Probe::Unclear),
        Err(_) => return Ok(Probe::NoAnswer),
    };
    stores_signatures.set(Some(has_extension(response.headers())));
    if response.is_from(secure) {
        response.discard();
        return Ok(Probe::Tls);
    }
    if response.status() != StatusCode::BAD_REQUEST {
        response.discard();
        return Ok(Probe::Plain);
    }
    let text = String::from_utf8_lossy(&response.read_some(PROBE_BODY_LIMIT)).to_ascii_lowercase();
    Ok(if text.contains("https") || text.contains("tls") { Probe::Tls } else { Probe::Plain })
}

fn base(scheme: &str, host: &str) -> Result<Url> {
    Url::parse(&format!("{scheme}://{host}"))
        .map_err(|error| Error::Option { option: "host", reason: format!("{host:?} is not a valid host: {error}") })
}

/// Joins an escaped absolute path to a base URL.
pub(crate) fn join(base: &Url, path: &str) -> Result<Url> {
    base.join(path)
        .map_err(|error| Error::Option { option: "path", reason: format!("{path:?} is not a valid path: {error}") })
}

/// Returns whether the host of a URL is `localhost` or a loopback address.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            let address = host.trim_start_matches('[').trim_end_matches(']');
            address.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_hosts() {
        for (host, loopback) in [
            ("localhost:5000", true),
            ("127.0.0.1", true),
            ("127.1.2.3:80", true),
            ("[::1]:5000", true),
            ("localhost.example.com", false),
            ("10.0.0.1:5000", false),
            ("registry-1.docker.io", false),
        ] {
            assert_eq!(is_loopback(&base("https", host).unwrap()), loopback, "{host}");
        }
    }
}
