//! Which redirects are followed.

use reqwest::header::LOCATION;
use reqwest::{Method, Response, StatusCode, Url};

use super::{Call, shown};
use crate::{Error, Result};

/// How many redirects in a row are followed.
pub(crate) const LIMIT: usize = 10;

/// Where an answer sends us; `None` if it is no redirect.
///
/// # Errors
/// [`Error::Redirect`] if it leads from TLS to plain text, or nowhere.
pub(crate) fn target(call: &Call, response: &Response) -> Result<Option<Url>> {
    const REDIRECTS: [StatusCode; 5] = [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::FOUND,
        StatusCode::SEE_OTHER,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::PERMANENT_REDIRECT,
    ];
    // A POST carries a secret, which no other server shall see.
    let safe = call.method == Method::GET || call.method == Method::HEAD;
    if !safe || !REDIRECTS.contains(&response.status()) {
        return Ok(None);
    }
    let refused = |reason: String| Error::Redirect { url: shown(&call.url), reason };
    let location = response.headers().get(LOCATION).ok_or_else(|| refused("it says no location".to_owned()))?;
    let location = location.to_str().map_err(|_| refused("its location is no text".to_owned()))?;
    let next = call.url.join(location).map_err(|error| refused(format!("its location is no URL: {error}")))?;
    match (call.url.scheme(), next.scheme()) {
        ("http", "http" | "https") | ("https", "https") => Ok(Some(next)),
        ("https", "http") => Err(refused(format!("it leads from https to {}", shown(&next)))),
        (_, scheme) => Err(refused(format!("it leads to the scheme {scheme:?}"))),
    }
}
