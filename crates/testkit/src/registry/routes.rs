//! Routes requests to answers: the reading part of the OCI distribution specification.

use std::io;

use super::content::Content;
use super::fault::{self, Fault};
use super::message::{Request, Response};
use super::{Shared, State, auth};

/// Answers a request according to the rules, and records it.
pub(super) fn answer(request: &Request, shared: &Shared) -> io::Result<Response> {
    let mut state = shared.state();
    state.requests.push(request.clone());
    let faults: Vec<Fault> = state.rules.iter_mut().flat_map(|rule| rule.take(request)).collect();
    let mut response = route(request, &mut state, &shared.base, &faults)?;
    drop(state);
    for fault in &faults {
        fault::apply(fault, request, &mut response)?;
    }
    Ok(response)
}

fn route(request: &Request, state: &mut State, base: &str, faults: &[Fault]) -> io::Result<Response> {
    let path = request.path_only();
    let State { auth, tokens, .. } = state;
    if path == "/token" {
        return match auth {
            Some(auth::Auth::Bearer(bearer)) => bearer.token(request, tokens),
            _ => Response::error(404, "UNKNOWN", "no tokens here"),
        };
    }
    if let Some(refusal) = auth.as_ref().and_then(|auth| auth.refuse(request, tokens, base).transpose()) {
        return refusal;
    }
    if path == "/v2/" {
        return Ok(Response::new(200, b"{}".as_slice())?.with("Docker-Distribution-API-Version", "registry/2.0"));
    }
    let name_and = path.strip_prefix("/v2/").unwrap_or_default();
    if let Some((repository, reference)) = name_and.rsplit_once("/manifests/") {
        return manifest(state, repository, reference);
    }
    // A path outside of /v2/ that ends with a digest is also a blob: the target of a redirect.
    match path.rsplit('/').next().and_then(|digest| state.blobs.get(digest).map(|blob| (digest, blob))) {
        Some((digest, content)) => blob(request, digest, content, faults),
        None => Response::error(404, "BLOB_UNKNOWN", "blob unknown to registry"),
    }
}

fn manifest(state: &State, repository: &str, reference: &str) -> io::Result<Response> {
    let separator = if reference.contains(':') { '@' } else { ':' };
    let Some(manifest) = state.manifests.get(&format!("{repository}{separator}{reference}")) else {
        return Response::error(404, "MANIFEST_UNKNOWN", "manifest unknown");
    };
    Ok(Response::new(200, manifest.bytes.clone())?
        .with("Content-Type", manifest.media_type.as_str())
        .with("Docker-Content-Digest", manifest.digest.to_string()))
}

fn blob(request: &Request, digest: &str, content: &Content, faults: &[Fault]) -> io::Result<Response> {
    let size = content.size()?;
    let mut response = Response::new(200, content.clone())?
        .with("Content-Type", "application/octet-stream")
        .with("Docker-Content-Digest", digest);
    let ignored = faults.iter().any(|fault| matches!(fault, Fault::IgnoreRange));
    let Some(range) = request.header("range").filter(|_| !ignored) else { return Ok(response) };
    let Some((first, last)) = parse_range(range, size) else {
        let refusal = Response::error(416, "RANGE_INVALID", "range not satisfiable")?;
        return Ok(refusal.with("Content-Range", format!("bytes */{size}")));
    };
    response.status = 206;
    response.range = (first, last - first + 1);
    Ok(response.with("Content-Range", format!("bytes {first}-{last}/{size}")))
}

/// Returns the first and last byte of `bytes=a-b` or `bytes=a-`, if part of the range exists.
fn parse_range(header: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    let first: u64 = first.parse().ok()?;
    let end = size.checked_sub(1)?;
    let last = if last.is_empty() { end } else { last.parse::<u64>().ok()?.min(end) };
    (first <= last).then_some((first, last))
}
