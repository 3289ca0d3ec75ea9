//! Entrances for the fuzz targets, which see the public API only.

use std::path::Path;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};

use crate::challenge::{self, Challenge};
use crate::credentials;

/// Parses bytes as `WWW-Authenticate` headers, one a line, and checks where credentials would go.
///
/// # Panics
/// If they would go over plain HTTP, or to another scheme than HTTP has.
pub fn challenges(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|&byte| byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(WWW_AUTHENTICATE, value);
        }
    }
    let registry = Url::parse("https://registry.example/v2/").expect("it is a URL");
    for challenge in challenge::from_headers(&headers) {
        if let Challenge::Bearer(bearer) = challenge
            && let Ok(realm) = bearer.realm_at(&registry)
        {
            assert_eq!(realm.scheme(), "https");
        }
    }
}

/// Reads a file as one of credentials, and looks for those of a repository.
pub fn auth_file(path: &Path) {
    credentials::fuzz_auth_file(path);
}
