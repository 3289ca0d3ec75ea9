//! Routes requests to answers (OCI distribution specification).

use std::io::{self, BufRead};

use super::content::Content;
use super::fault::{self, Fault};
use super::message::{Received, Request, Response};
use super::{Blob, Shared, State, auth, lists, manifests, uploads};

/// The longest body that is read into memory, in bytes.
const BODY_LIMIT: u64 = 64 << 20;

/// Answers a request according to the rules, and records it. Reads its body from `reader`.
pub(super) fn answer(mut request: Request, reader: &mut impl BufRead, shared: &Shared) -> io::Result<Response> {
    let faults = record(&mut request, shared);
    let mut response = match receive_and_route(&mut request, reader, shared, &faults)? {
        Some(response) => response,
        None => return Err(io::Error::other("the rule cuts the request")),
    };
    for fault in &faults {
        fault::apply(fault, &request, &mut response)?;
    }
    Ok(response)
}

/// Records a request before its body arrives, and returns its faults.
fn record(request: &mut Request, shared: &Shared) -> Vec<Fault> {
    let mut state = shared.state();
    state.serial += 1;
    request.serial = state.serial;
    state.requests.push(request.clone());
    let faults: Vec<Fault> = state.rules.iter_mut().flat_map(|rule| rule.take(request)).collect();
    for fault in &faults {
        match (fault, uploads::parse_path(request.path_only())) {
            (Fault::RevokeTokens, _) => state.tokens.revoke(),
            (Fault::ForgetUpload, Some((_, id))) => uploads::forget(&mut state, id),
            _ => {}
        }
    }
    faults
}

/// Reads the body of a request and routes it. Returns `None` if the connection must be closed without an answer.
fn receive_and_route(
    request: &mut Request,
    reader: &mut impl BufRead,
    shared: &Shared,
    faults: &[Fault],
) -> io::Result<Option<Response>> {
    let cut = faults.iter().find_map(|fault| if let Fault::CutRequest(length) = fault { Some(*length) } else { None });
    let path = request.path_only().to_owned();
    let upload = uploads::parse_path(&path).map(|(_, id)| id).filter(|id| !id.is_empty());
    let refusal = authorize(request, &mut shared.state(), &shared.base)?;
    let (received, response) = if faults.iter().any(|fault| matches!(fault, Fault::AnswerEarly)) {
        (Received { length: 0, is_whole: true }, refusal)
    } else if let (Some(id), None) = (upload, &refusal) {
        match uploads::receive(request, shared, id, cut.unwrap_or(u64::MAX), reader)? {
            Ok(received) => (received, None),
            Err(response) => (request.read_body(reader, u64::MAX, &mut io::sink()), Some(response)),
        }
    } else {
        let mut body = Vec::new();
        let received = request.read_body(reader, cut.unwrap_or(BODY_LIMIT), &mut body);
        request.body = body;
        (received, refusal)
    };
    request.body_length = received.length;
    let mut state = shared.state();
    if let Some(recorded) = state.requests.iter_mut().rev().find(|recorded| recorded.serial == request.serial) {
        recorded.clone_from(request);
    }
    for fault in faults {
        if let (Fault::ShortenUpload(size), Some(id)) = (fault, upload) {
            uploads::shorten(&mut state, id, *size)?;
        }
    }
    if cut.is_some() || !received.is_whole {
        return Ok(None);
    }
    match (response, upload) {
        (Some(response), _) => Ok(Some(response)),
        (None, Some(id)) => uploads::answer(request, &mut state, id, &shared.base, received, faults).map(Some),
        (None, None) => route(request, &mut state, &shared.base, faults).map(Some),
    }
}

/// Returns the answer to an unauthorised request.
fn authorize(request: &Request, state: &mut State, base: &str) -> io::Result<Option<Response>> {
    let State { auth, tokens, .. } = state;
    match auth {
        Some(auth) if request.path_only() != "/token" => auth.refuse(request, tokens, base),
        _ => Ok(None),
    }
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
    if path == "/v2/" {
        return Ok(Response::new(200, b"{}".as_slice())?.with("Docker-Distribution-API-Version", "registry/2.0"));
    }
    let name_and = path.strip_prefix("/v2/").unwrap_or_default();
    if name_and == "_catalog" {
        return lists::catalog(request, state);
    }
    if let Some((repository, "")) = uploads::parse_path(path) {
        return uploads::start(request, state, repository, base, faults);
    }
    if let Some((repository, reference)) = name_and.rsplit_once("/manifests/") {
        return manifests::answer(request, state, repository, reference);
    }
    if let Some(repository) = name_and.strip_suffix("/tags/list") {
        return lists::tags(request, state, repository);
    }
    if let Some((repository, subject)) = name_and.rsplit_once("/referrers/") {
        return lists::referrers(request, state, repository, subject);
    }
    // A path outside of /v2/ that ends with a digest is also a blob: the target of a redirect.
    let repository = name_and.rsplit_once("/blobs/").map(|(repository, _)| repository);
    let is_there = |blob: &&Blob| repository.is_none_or(|repository| blob.is_in(repository));
    match path.rsplit('/').next().and_then(|digest| Some((digest, state.blobs.get(digest).filter(is_there)?))) {
        Some((digest, found)) => blob(request, digest, &found.content, faults),
        None => Response::error(404, "BLOB_UNKNOWN", "blob unknown to registry"),
    }
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
