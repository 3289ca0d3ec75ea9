//! Which registries have a list of referrers, and which have only the fallback tag.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use reqwest::Url;
use reqwest::header::{ETAG, HeaderMap};
use vmroot_model::{Digest, Reference};

/// A header of distribution, the registry of the CNCF, and of registries that are built on it.
const API_VERSION: &str = "docker-distribution-api-version";

/// Headers of Harbor and of Azure's registry. They have the headers of distribution, too, and a list of referrers.
const WITH_LIST: [&str; 2] = ["x-request-id", "x-ms-correlation-request-id"];

/// Whether a registry has a list of the referrers in a repository, as far as its answers tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReferrerList {
    /// The registry answered with a list.
    Present,
    /// The answers are those of distribution, which has no list.
    Unlikely,
    /// The registry answered that it has no list.
    Missing,
}

/// What is known about the lists of repositories.
#[derive(Debug, Default)]
pub(crate) struct ReferrerLists(Mutex<HashMap<(Url, String), ReferrerList>>);

impl ReferrerLists {
    /// Notes the answer to a request for the list of a repository.
    pub(crate) fn note(&self, base: &Url, reference: &Reference, list: ReferrerList) {
        self.lists().insert(key(base, reference), list);
    }

    /// Notes the headers of a manifest with this digest.
    pub(crate) fn note_manifest(&self, base: &Url, reference: &Reference, headers: &HeaderMap, digest: &Digest) {
        if is_of_distribution(headers, digest) {
            self.lists().entry(key(base, reference)).or_insert(ReferrerList::Unlikely);
        }
    }

    pub(crate) fn get(&self, base: &Url, reference: &Reference) -> Option<ReferrerList> {
        self.lists().get(&key(base, reference)).copied()
    }

    fn lists(&self) -> std::sync::MutexGuard<'_, HashMap<(Url, String), ReferrerList>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(base: &Url, reference: &Reference) -> (Url, String) {
    (base.clone(), reference.path().to_owned())
}

/// Returns whether the headers of a manifest are those of distribution.
fn is_of_distribution(headers: &HeaderMap, digest: &Digest) -> bool {
    let has = |name: &str, value: &str| headers.get(name).is_some_and(|it| it.as_bytes() == value.as_bytes());
    has(API_VERSION, "registry/2.0")
        && has(ETAG.as_str(), &format!("\"{digest}\""))
        && !WITH_LIST.iter().any(|name| headers.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn distribution_is_recognised_by_its_headers() {
        let digest = Digest::of(b"");
        let etag = format!("\"{digest}\"");
        let headers = |named: &[(&'static str, &str)]| {
            let pair = |(name, value): &(&'static str, &str)| {
                (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
            };
            named.iter().map(pair).collect::<HeaderMap>()
        };
        let own = [("docker-distribution-api-version", "registry/2.0"), ("etag", &*etag)];
        assert!(is_of_distribution(&headers(&own), &digest));
        assert!(!is_of_distribution(&headers(&own[..1]), &digest));
        assert!(!is_of_distribution(&headers(&own[1..]), &digest));
        assert!(!is_of_distribution(&headers(&own), &Digest::of(b"other")));
        let harbor = [own[0], own[1], ("x-request-id", "1")];
        assert!(!is_of_distribution(&headers(&harbor), &digest));
    }
}
