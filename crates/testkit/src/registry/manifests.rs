//! Reading, writing and deleting manifests.

use std::io;

use serde_json::Value;
use vmroot_model::{Digest, Hasher};

use super::message::{Request, Response};
use super::{Manifest, State};

/// Returns the key of a manifest by its tag or digest.
pub(super) fn key(repository: &str, name: &str) -> String {
    let separator = if name.contains(':') { '@' } else { ':' };
    format!("{repository}{separator}{name}")
}

pub(super) fn answer(request: &Request, state: &mut State, repository: &str, name: &str) -> io::Result<Response> {
    match request.method.as_str() {
        "PUT" => put(request, state, repository, name),
        "DELETE" => delete(state, repository, name),
        _ => get(state, repository, name),
    }
}

fn get(state: &State, repository: &str, name: &str) -> io::Result<Response> {
    let Some(manifest) = state.manifests.get(&key(repository, name)) else {
        return Response::error(404, "MANIFEST_UNKNOWN", "manifest unknown");
    };
    let response = Response::new(200, manifest.bytes.clone())?
        .with("Content-Type", manifest.media_type.as_str())
        .with("Docker-Content-Digest", manifest.digest.to_string());
    let response = match state.features.distribution {
        true => response.with("Docker-Distribution-Api-Version", "registry/2.0"),
        false => response,
    };
    Ok(if state.features.etags { response.with("ETag", etag(manifest)) } else { response })
}

fn etag(manifest: &Manifest) -> String {
    format!("\"{}\"", manifest.digest)
}

fn put(request: &Request, state: &mut State, repository: &str, name: &str) -> io::Result<Response> {
    if request.body.len() as u64 > state.features.manifest_limit {
        return Response::error(413, "SIZE_INVALID", "the manifest is too large");
    }
    let mut digest = Digest::of(&request.body);
    if let Ok(expected) = Digest::parse(name) {
        let mut hasher = Hasher::new(expected.algorithm());
        hasher.update(&request.body);
        digest = hasher.finish();
        if digest != expected {
            return Response::error(400, "DIGEST_INVALID", "the manifest has another digest");
        }
    }
    let Ok(document) = serde_json::from_slice::<Value>(&request.body) else {
        return Response::error(400, "MANIFEST_INVALID", "the manifest is not JSON");
    };
    let media_type = request.header("content-type").unwrap_or_default().to_owned();
    if document["mediaType"].as_str().is_some_and(|inner| inner != media_type) {
        return Response::error(400, "MANIFEST_INVALID", "the Content-Type is not the mediaType");
    }
    if let Some(missing) = missing_part(state, repository, &document) {
        return Response::error(404, "MANIFEST_BLOB_UNKNOWN", &format!("unknown: {missing}"));
    }
    let current = state.manifests.get(&key(repository, name)).map(etag);
    let is_stale = match (request.header("if-match"), request.header("if-none-match")) {
        _ if !state.features.etags => false,
        (Some(expected), _) => current.as_deref() != Some(expected),
        (None, Some("*")) => current.is_some(),
        _ => false,
    };
    if is_stale {
        return Response::error(412, "DENIED", "the manifest has changed");
    }
    let manifest = Manifest { media_type, digest, bytes: request.body.clone().into() };
    let mut tags = if state.features.multi_tag { request.query("tag") } else { Vec::new() };
    let mut response = Response::new(201, Vec::new())?
        .with("Location", format!("/v2/{repository}/manifests/{digest}"))
        .with("Docker-Content-Digest", digest.to_string());
    for tag in &tags {
        response = response.with("OCI-Tag", tag.as_str());
    }
    if let Some(subject) = document["subject"]["digest"].as_str().filter(|_| state.features.referrers) {
        response = response.with("OCI-Subject", subject);
    }
    tags.extend([name.to_owned(), digest.to_string()]);
    for name in tags {
        state.manifests.insert(key(repository, &name), manifest.clone());
    }
    Ok(response)
}

/// Returns the digest of a blob or manifest that a pushed document refers to and the repository lacks.
fn missing_part<'d>(state: &State, repository: &str, document: &'d Value) -> Option<&'d str> {
    let digest = |descriptor: &'d Value| descriptor["digest"].as_str();
    let layers = document["layers"].as_array().into_iter().flatten();
    let blobs = layers.chain([&document["config"]]).filter(|blob| blob["urls"].is_null()).filter_map(digest);
    let is_blob = |digest: &&str| state.blobs.get(*digest).is_some_and(|blob| blob.is_in(repository));
    let manifests = document["manifests"].as_array().into_iter().flatten().filter_map(digest);
    let is_manifest = |digest: &&str| state.manifests.contains_key(&key(repository, digest));
    let mut missing = blobs.filter(|digest| !is_blob(digest)).chain(manifests.filter(|digest| !is_manifest(digest)));
    missing.next()
}

fn delete(state: &mut State, repository: &str, name: &str) -> io::Result<Response> {
    if !state.features.delete {
        return Response::error(405, "UNSUPPORTED", "the operation is unsupported");
    }
    let Some(deleted) = state.manifests.remove(&key(repository, name)) else {
        return Response::error(404, "MANIFEST_UNKNOWN", "manifest unknown");
    };
    if name.contains(':') {
        let tags = format!("{repository}:");
        state.manifests.retain(|key, manifest| !(key.starts_with(&tags) && manifest.digest == deleted.digest));
    }
    Response::new(202, Vec::new())
}
