//! The resolution of URLs in responses that later requests are sent to.

use reqwest::Url;

use super::redacted;
use crate::{Error, Result};

/// Resolves a `Location` or a link in the response from `from`. `base` is the base URL of the registry.
///
/// A URL of the registry's own host with plain HTTP becomes HTTPS if the registry has that: registries behind a proxy
/// that terminates TLS write such URLs if the proxy does not name its scheme.
///
/// # Errors
/// [`Error::Redirect`] if it is not an HTTP URL, or is plain HTTP on another host although the registry has TLS.
pub(crate) fn resolve(base: &Url, from: &Url, text: &str) -> Result<Url> {
    let refused = |reason: String| Error::Redirect { url: redacted(from), reason };
    let mut url = from.join(text).map_err(|error| refused(format!("its target is not a URL: {error}")))?;
    url.set_fragment(None);
    // A user in the URL would be sent as credentials. These fail for URLs without a host, which are refused below.
    let _ = (url.set_username(""), url.set_password(None));
    match (base.scheme(), url.scheme()) {
        ("http", "http" | "https") | ("https", "https") => Ok(url),
        ("https", "http")
            if url.host_str() == base.host_str() && (url.port().is_none() || url.port() == base.port()) =>
        {
            let _ = (url.set_scheme("https"), url.set_port(base.port()));
            Ok(url)
        }
        ("https", "http") => Err(refused(format!("it leads from https to {}", redacted(&url)))),
        (_, scheme) => Err(refused(format!("it leads to the scheme {scheme:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(base: &str, text: &str) -> Result<String, String> {
        let base = Url::parse(base).unwrap();
        let from = base.join("/v2/a/blobs/uploads/?x=y").unwrap();
        resolve(&base, &from, text).map(String::from).map_err(|error| error.to_string())
    }

    #[test]
    fn locations() {
        let secure = "https://r.test:5000";
        for (text, expected) in [
            ("/v2/a/blobs/uploads/1?_state=%2Fx%3D#f", "https://r.test:5000/v2/a/blobs/uploads/1?_state=%2Fx%3D"),
            ("1?s=a", "https://r.test:5000/v2/a/blobs/uploads/1?s=a"),
            ("?s=a", "https://r.test:5000/v2/a/blobs/uploads/?s=a"),
            ("//other.test/x", "https://other.test/x"),
            ("https://ann:secret@other.test/x", "https://other.test/x"),
            ("http://r.test:5000/x", "https://r.test:5000/x"),
            ("http://r.test/x", "https://r.test:5000/x"),
        ] {
            assert_eq!(at(secure, text).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(at("http://r.test", "https://r.test/x").unwrap(), "https://r.test/x");
        for text in ["http://other.test/x", "http://r.test:5001/x", "ftp://r.test/x", "file:///x", "https://"] {
            assert!(at(secure, text).unwrap_err().contains("r.test:5000"), "{text}");
        }
    }
}
