//! Lists of tags, repositories and referrers.

use std::collections::BTreeSet;
use std::io;

use serde_json::{Value, json};

use super::State;
use super::content::Content;
use super::message::{Request, Response};

/// Answers with the tags of a repository.
pub(super) fn tags(request: &Request, state: &State, repository: &str) -> io::Result<Response> {
    let prefix = format!("{repository}:");
    let tags: BTreeSet<&str> = state.manifests.keys().filter_map(|key| key.strip_prefix(&prefix)).collect();
    if tags.is_empty() && !repositories(state).contains(repository) {
        return Response::error(404, "NAME_UNKNOWN", "repository name not known to registry");
    }
    let (page, link) = page(request, state, &tags);
    respond(&json!({"name": repository, "tags": page}), link)
}

/// Answers with the repositories.
pub(super) fn catalog(request: &Request, state: &State) -> io::Result<Response> {
    let repositories = repositories(state);
    let (page, link) = page(request, state, &repositories.iter().map(String::as_str).collect());
    respond(&json!({"repositories": page}), link)
}

fn repositories(state: &State) -> BTreeSet<String> {
    let of_key = |key: &String| Some(key.rsplit_once('@').or_else(|| key.rsplit_once(':'))?.0.to_owned());
    let of_manifests = state.manifests.keys().filter_map(of_key);
    let of_blobs = state.blobs.values().flat_map(|blob| blob.repositories.iter().flatten().cloned());
    of_manifests.chain(of_blobs).collect()
}

/// Returns the page of a request, and the link to the next one.
fn page<'n>(request: &Request, state: &State, names: &BTreeSet<&'n str>) -> (Vec<&'n str>, Option<String>) {
    let last = request.query("last").pop().unwrap_or_default();
    let asked = request.query("n").pop().and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
    let size = state.features.page_size.min(asked);
    let mut rest = names.iter().copied().filter(|name| *name > last.as_str());
    let page: Vec<&str> = rest.by_ref().take(size).collect();
    let link = match (page.last(), rest.next()) {
        (Some(last), Some(_)) => Some(format!("<{}?n={size}&last={last}>; rel=\"next\"", request.path_only())),
        _ => None,
    };
    (page, link)
}

fn respond(document: &Value, link: Option<String>) -> io::Result<Response> {
    let response = Response::new(200, document.to_string().into_bytes())?.with("Content-Type", "application/json");
    Ok(link.into_iter().fold(response, |response, link| response.with("Link", link)))
}

/// Answers with the manifests of a repository whose subject has a digest.
pub(super) fn referrers(request: &Request, state: &State, repository: &str, subject: &str) -> io::Result<Response> {
    if !state.features.referrers {
        return Ok(Response::new(404, b"404 page not found\n".as_slice())?.with("Content-Type", "text/plain"));
    }
    let prefix = format!("{repository}@");
    let wanted = request.query("artifactType").pop().filter(|_| state.features.filters);
    let mut found = Vec::new();
    for (key, manifest) in &state.manifests {
        let (Some(digest), Content::Memory(bytes)) = (key.strip_prefix(&prefix), &manifest.bytes) else { continue };
        let document: Value = serde_json::from_slice(bytes).unwrap_or_default();
        if document["subject"]["digest"] != subject {
            continue;
        }
        let artifact_type = document["artifactType"].as_str().or(document["config"]["mediaType"].as_str());
        if wanted.as_deref().is_some_and(|wanted| artifact_type != Some(wanted)) {
            continue;
        }
        let mut entry = json!({"mediaType": manifest.media_type, "digest": digest, "size": bytes.len()});
        entry["artifactType"] = artifact_type.into();
        if document["annotations"].is_object() {
            entry["annotations"] = document["annotations"].clone();
        }
        found.push((digest.to_owned(), entry));
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    let names = found.iter().map(|(digest, _)| digest.as_str()).collect();
    let (page, link) = page(request, state, &names);
    let entries: Vec<&Value> =
        found.iter().filter(|(digest, _)| page.contains(&digest.as_str())).map(|(_, entry)| entry).collect();
    let media_type = "application/vnd.oci.image.index.v1+json";
    let mut response = respond(&json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries}), link)?;
    response.set("Content-Type", Some(media_type));
    Ok(if wanted.is_some() { response.with("OCI-Filters-Applied", "artifactType") } else { response })
}
