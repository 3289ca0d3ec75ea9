//! Addresses of engines.

use std::path::PathBuf;

use reqwest::Url;

use crate::{Error, Result};

/// The port for TLS that is registered for Docker.
const TLS_PORT: u16 = 2376;

/// The port without encryption that is registered for Docker.
const PLAIN_PORT: u16 = 2375;

/// The parsed address of an engine.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// The path of a socket.
    Unix(PathBuf),
    /// A URL with TLS. It ends with a slash.
    Tls(Url),
    /// A URL without encryption. It ends with a slash.
    Plain(Url),
}

impl Host {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let invalid = |reason: String| Error::InvalidName { name: text.to_owned(), reason };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| invalid("it has no SCHEME://".to_owned()))?;
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Self::Unix(PathBuf::from(rest))),
            "unix" => Err(invalid("the path of the socket is not absolute".to_owned())),
            "tcp" | "https" => Ok(Self::Tls(url("https", rest, TLS_PORT).map_err(invalid)?)),
            "http" => Ok(Self::Plain(url("http", rest, PLAIN_PORT).map_err(invalid)?)),
            _ => Err(invalid(format!("the scheme {scheme} is not supported"))),
        }
    }

    /// Returns the URL that paths of the API are joined to.
    pub(super) fn base(&self) -> Url {
        match self {
            // The server ignores the host.
            Self::Unix(_) => Url::parse("http://docker/").expect("a valid URL"),
            Self::Tls(url) | Self::Plain(url) => url.clone(),
        }
    }
}

fn url(scheme: &str, rest: &str, default_port: u16) -> std::result::Result<Url, String> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    // A URL does not tell its scheme's default port from a missing one, so the text is examined.
    let has_port = authority.rsplit(':').next().is_some_and(|port| {
        port.len() < authority.len() && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
    });
    let port = if has_port { String::new() } else { format!(":{default_port}") };
    let path = path.trim_matches('/');
    let slash = if path.is_empty() { "" } else { "/" };
    let url = Url::parse(&format!("{scheme}://{authority}{port}/{path}{slash}")).map_err(|error| error.to_string())?;
    let is_bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if is_bare && url.fragment().is_none() {
        Ok(url)
    } else {
        Err("it has more than a host, a port and a path".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_and_urls() {
        let url = |text| Url::parse(text).unwrap();
        for (text, wanted) in [
            ("unix:///var/run/docker.sock", Host::Unix("/var/run/docker.sock".into())),
            ("tcp://example.com", Host::Tls(url("https://example.com:2376/"))),
            ("tcp://example.com:443/", Host::Tls(url("https://example.com:443/"))),
            ("https://[::1]/base/", Host::Tls(url("https://[::1]:2376/base/"))),
            ("https://[::1]:7", Host::Tls(url("https://[::1]:7/"))),
            ("http://10.0.0.1", Host::Plain(url("http://10.0.0.1:2375/"))),
            ("http://host:80/a/b", Host::Plain(url("http://host:80/a/b/"))),
        ] {
            assert_eq!(Host::parse(text).unwrap(), wanted, "{text}");
        }
        assert_eq!(Host::parse("http://host/a").unwrap().base().join("v1/x").unwrap(), url("http://host:2375/a/v1/x"));
    }

    #[test]
    fn other_addresses_are_errors() {
        for text in [
            "",
            "/var/run/docker.sock",
            "unix://docker.sock",
            "npipe:////./pipe/x",
            "ssh://host",
            "tcp://",
            "tcp://user@host",
            "http://host/?x",
            "http://host:99999",
        ] {
            assert!(matches!(Host::parse(text).unwrap_err(), Error::InvalidName { .. }), "{text}");
        }
    }
}
