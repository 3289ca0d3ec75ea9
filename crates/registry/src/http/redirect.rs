//! The choice of the redirects to follow.

use reqwest::header::LOCATION;
use reqwest::{Method, Response, StatusCode, Url};

use super::{HttpRequest, RequestBody, redacted};
use crate::{Error, Result};

/// The maximum number of consecutive redirects.
pub(crate) const LIMIT: usize = 10;

/// Returns the target of a redirect, or `None` if the response is not one.
///
/// # Errors
/// [`Error::Redirect`] if the target is missing, is not an HTTP URL, or is plain HTTP after TLS.
pub(crate) fn target(request: &HttpRequest, response: &Response) -> Result<Option<Url>> {
    const REDIRECTS: [StatusCode; 5] = [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::FOUND,
        StatusCode::SEE_OTHER,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::PERMANENT_REDIRECT,
    ];
    // A form carries a secret, which must not reach another server.
    if matches!(request.body, RequestBody::Form(_)) || !REDIRECTS.contains(&response.status()) {
        return Ok(None);
    }
    let refused = |reason: String| Error::Redirect { url: redacted(&request.url), reason };
    let is_read = request.method == Method::GET || request.method == Method::HEAD;
    let keeps_method = matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    if !is_read && !keeps_method {
        return Err(refused(format!("its status {} does not keep the method {}", response.status(), request.method)));
    }
    let location = response.headers().get(LOCATION).ok_or_else(|| refused("it has no Location".to_owned()))?;
    let location = location.to_str().map_err(|_| refused("its Location is not ASCII text".to_owned()))?;
    let next = request.url.join(location).map_err(|error| refused(format!("its Location is not a URL: {error}")))?;
    match (request.url.scheme(), next.scheme()) {
        ("http", "http" | "https") | ("https", "https") => Ok(Some(next)),
        ("https", "http") => Err(refused(format!("it leads from https to {}", redacted(&next)))),
        (_, scheme) => Err(refused(format!("it leads to the scheme {scheme:?}"))),
    }
}
