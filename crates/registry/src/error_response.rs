//! Responses with an error status: their messages, and whether to retry.

use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use serde::Deserialize;

use crate::http::HttpResponse;
use crate::{ClientOptions, Error, retry_after};

/// The maximum length of an error's body that is read, in bytes.
const BODY_LIMIT: usize = 64 * 1024;

/// The maximum length of the message, in characters.
const MESSAGE_LIMIT: usize = 400;

/// A response with an error status.
pub(crate) struct ErrorResponse {
    url: String,
    status: StatusCode,
    message: String,
    has_credentials: bool,
    retry_after: Option<Duration>,
    /// Whether the body states that the object does not exist.
    is_unknown: bool,
}

impl ErrorResponse {
    /// Reads the status, the message and `Retry-After` of a response.
    pub(crate) fn read(response: HttpResponse) -> Self {
        let url = response.redacted_url();
        let (status, has_credentials) = (response.status(), response.has_credentials);
        let retry_after = response.header(RETRY_AFTER).and_then(|value| retry_after::parse(value, SystemTime::now()));
        let body = response.read_some(BODY_LIMIT);
        let (message, is_unknown) = (message(&body, status), states_unknown(&body));
        Self { url, status, message, has_credentials, retry_after, is_unknown }
    }

    /// Returns how to retry, or `None` if a retry is useless, or the server requires a longer wait than the options
    /// allow.
    pub(crate) fn retry(&self, options: &ClientOptions) -> Option<Retry> {
        const PERMANENT: [StatusCode; 2] = [StatusCode::NOT_IMPLEMENTED, StatusCode::HTTP_VERSION_NOT_SUPPORTED];
        let transient = self.status.is_server_error() && !PERMANENT.contains(&self.status)
            || self.status == StatusCode::REQUEST_TIMEOUT
            || self.status == StatusCode::TOO_MANY_REQUESTS;
        let acceptable = self.retry_after.is_none_or(|wait| wait <= options.retry_after_limit);
        (transient && acceptable).then_some(Retry { wait: self.retry_after })
    }

    /// Converts the response to an error.
    pub(crate) fn into_error(self) -> Error {
        let Self { url, status, message, has_credentials, retry_after, is_unknown } = self;
        match status {
            StatusCode::NOT_FOUND => Error::NotFound { url, message },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Error::Unauthorized { url, status: status.as_u16(), has_credentials, message }
            }
            StatusCode::TOO_MANY_REQUESTS => Error::RateLimited { url, wait: retry_after, message },
            // Some registries send another status for this.
            _ if is_unknown && status.is_client_error() => Error::NotFound { url, message },
            _ => Error::Status { url, status: status.as_u16(), message },
        }
    }
}

/// A retry that may succeed.
pub(crate) struct Retry {
    /// The server's `Retry-After`.
    pub(crate) wait: Option<Duration>,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// Returns whether a body states that a manifest, blob or repository does not exist. registry.redhat.io sends the code
/// UNKNOWN with the message "Not Found", and Harbor the code NOT_FOUND.
fn states_unknown(body: &[u8]) -> bool {
    let Ok(Errors { errors }) = serde_json::from_slice(body) else { return false };
    errors.iter().any(|Entry { code, message }| match code.as_str() {
        "MANIFEST_UNKNOWN" | "BLOB_UNKNOWN" | "NAME_UNKNOWN" | "BLOB_UPLOAD_UNKNOWN" | "NOT_FOUND" => true,
        "UNKNOWN" => message.eq_ignore_ascii_case("not found"),
        _ => false,
    })
}

/// Returns the message of a body: the codes and messages of the distribution specification, or its text, or the reason
/// phrase of the status.
fn message(body: &[u8], status: StatusCode) -> String {
    let text = match serde_json::from_slice::<Errors>(body) {
        Ok(Errors { errors }) if !errors.is_empty() => {
            let texts = errors.iter().map(|Entry { code, message }| match (code.as_str(), message.as_str()) {
                (code, "") => code.to_owned(),
                ("", message) => message.to_owned(),
                (code, message) => format!("{code}: {message}"),
            });
            texts.collect::<Vec<_>>().join("; ")
        }
        _ => String::from_utf8_lossy(body).into_owned(),
    };
    let clean = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let clean: String = clean.chars().filter(|char| !char.is_control()).collect();
    match clean.char_indices().nth(MESSAGE_LIMIT) {
        _ if clean.is_empty() => status.canonical_reason().unwrap_or("no reason is given").to_owned(),
        Some((end, _)) => format!("{}...", &clean[..end]),
        None => clean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> String {
        message(body.as_bytes(), StatusCode::NOT_FOUND)
    }

    #[test]
    fn errors_of_the_specification() {
        let body = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}},
            {"code":"DENIED"},{"message":"no"}]}"#;
        assert_eq!(of(body), "MANIFEST_UNKNOWN: manifest unknown; DENIED; no");
    }

    #[test]
    fn anything_else_is_shown_briefly() {
        assert_eq!(of("<html>\n  gone\u{1b}[31m\n</html>"), "<html> gone[31m </html>");
        assert_eq!(of(""), "Not Found");
        assert_eq!(of(r#"{"errors":[]}"#), r#"{"errors":[]}"#);
        assert_eq!(of(&"ä".repeat(1000)), format!("{}...", "ä".repeat(400)));
        assert_eq!(message(&[0xff, b'x'], StatusCode::OK), "\u{fffd}x");
    }
}
