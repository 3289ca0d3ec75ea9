//! Whether a registry speaks TLS.

use std::sync::Arc;

use reqwest::{Method, StatusCode, Url};

use crate::http::{Call, Failure, Http};
use crate::{Error, Result};

/// How much of an answer is looked at for the words of a server that expects TLS, in bytes.
const WORDS: usize = 256;

/// Where a registry is.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Scheme, host and port.
    pub(crate) base: Url,
    /// Whether it will stay so; otherwise the registry was not there to be asked.
    pub(crate) certain: bool,
}

/// The base URL of a registry: `https`, except where the options or a registry on loopback have it otherwise.
///
/// # Errors
/// [`Error::Option`] if the host makes no URL, [`Error::Cancelled`].
pub(crate) fn find(http: &Arc<Http>, host: &str) -> Result<Endpoint> {
    let certain = |base| Ok(Endpoint { base, certain: true });
    let (plain, secure) = (base("http", host)?, base("https", host)?);
    if http.options.plain_http {
        return certain(plain);
    }
    if !is_loopback(&secure) {
        return certain(secure);
    }
    // What listens on this machine mostly has no certificate. A server that has one says in plain HTTP that it wants
    // TLS, or hangs up.
    match ask(http, &plain, &secure)? {
        Speaks::Plain => certain(plain),
        Speaks::Tls => certain(secure),
        Speaks::Nothing => Ok(Endpoint { base: plain, certain: false }),
        // A plain registry in trouble hangs up as well, so it takes an answer to believe in TLS.
        Speaks::Otherwise => match ask(http, &secure, &secure)? {
            Speaks::Tls => certain(secure),
            _ => Ok(Endpoint { base: plain, certain: false }),
        },
    }
}

/// What a server turned out to speak.
enum Speaks {
    Plain,
    Tls,
    /// Not what it was asked in.
    Otherwise,
    /// It is not there, or says nothing; the request to come will tell.
    Nothing,
}

fn ask(http: &Arc<Http>, base: &Url, secure: &Url) -> Result<Speaks> {
    let answer = match http.send(&Call::new(Method::GET, join(base, "/v2/")?)) {
        Ok(answer) => answer,
        Err(Failure::Final(Error::Cancelled)) => return Err(Error::Cancelled),
        // A certificate that is not trusted; the request to come will say so.
        Err(Failure::Final(Error::Unreachable { .. })) => return Ok(Speaks::Tls),
        Err(Failure::Transient(Error::Broken { .. })) => return Ok(Speaks::Otherwise),
        Err(_) => return Ok(Speaks::Nothing),
    };
    if answer.is_from(secure) {
        answer.discard();
        return Ok(Speaks::Tls);
    }
    if answer.status() != StatusCode::BAD_REQUEST {
        answer.discard();
        return Ok(Speaks::Plain);
    }
    let words = String::from_utf8_lossy(&answer.read_some(WORDS)).to_ascii_lowercase();
    Ok(if words.contains("https") || words.contains("tls") { Speaks::Tls } else { Speaks::Plain })
}

fn base(scheme: &str, host: &str) -> Result<Url> {
    Url::parse(&format!("{scheme}://{host}"))
        .map_err(|error| Error::Option { option: "host", reason: format!("{host:?} makes no URL: {error}") })
}

/// An absolute path of a registry, already escaped.
pub(crate) fn join(base: &Url, path: &str) -> Result<Url> {
    base.join(path).map_err(|error| Error::Option { option: "path", reason: format!("{path:?} makes no URL: {error}") })
}

/// Whether a URL's host is this machine by its very name.
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
