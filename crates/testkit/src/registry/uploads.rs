//! Uploads of blobs.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead};
use std::path::PathBuf;

use tempfile::TempDir;
use vmroot_model::{Algorithm, Digest};

use super::content::Content;
use super::fault::Fault;
use super::message::{Received, Request, Response};
use super::{Blob, Shared, State, digest_of};

/// The uploads that are open, and the files of all blobs that were uploaded.
#[derive(Default)]
pub(super) struct Uploads {
    directory: Option<TempDir>,
    count: usize,
    open: HashMap<String, Upload>,
}

struct Upload {
    repository: String,
    path: PathBuf,
    /// The number of bytes that arrived.
    size: u64,
    /// The value of `_state` in the last `Location`.
    state: u64,
    /// The lowest value that is accepted: the one that the client surely received.
    oldest_state: u64,
    /// Whether the last chunk was shorter than the minimum, so that no other may follow.
    has_short_chunk: bool,
    algorithm: Algorithm,
}

impl Uploads {
    /// Returns the number of open uploads.
    pub(super) fn count(&self) -> usize {
        self.open.len()
    }
}

/// The upload that a path names, as repository and identifier. The identifier is empty in the path of a new upload.
pub(super) fn parse_path(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix("/v2/")?.rsplit_once("/blobs/uploads/")
}

/// Starts an upload, or mounts a blob.
pub(super) fn start(
    request: &Request,
    state: &mut State,
    repository: &str,
    base: &str,
    faults: &[Fault],
) -> io::Result<Response> {
    let (mount, from) = (request.query("mount").pop(), request.query("from").pop());
    let may_mount = !faults.iter().any(|fault| matches!(fault, Fault::NoMount));
    if let (Some(digest), Some(from), true) = (mount, from, may_mount)
        && let Some(blob) = state.blobs.get_mut(&digest).filter(|blob| blob.is_in(&from))
    {
        if let Some(repositories) = &mut blob.repositories {
            repositories.insert(repository.to_owned());
        }
        return created(base, repository, &digest);
    }
    let algorithm = match request.query("digest-algorithm").first().map(String::as_str) {
        Some("sha512") => Algorithm::Sha512,
        _ => Algorithm::Sha256,
    };
    let uploads = &mut state.uploads;
    uploads.count += 1;
    let id = format!("upload-{}", uploads.count);
    let directory = match &uploads.directory {
        Some(directory) => directory.path(),
        None => uploads.directory.insert(TempDir::new()?).path(),
    };
    let path = directory.join(&id);
    File::create(&path)?;
    let repository = repository.to_owned();
    let upload = Upload { repository, path, size: 0, state: 0, oldest_state: 0, has_short_chunk: false, algorithm };
    uploads.open.insert(id.clone(), upload);
    let response = progress(state, &id, base, 202)?;
    Ok(match state.features.min_chunk {
        Some(length) => response.with("OCI-Chunk-Min-Length", length.to_string()),
        None => response,
    })
}

/// Answers a request for an open upload. `received` is the part of the body that was appended to it.
pub(super) fn answer(
    request: &Request,
    state: &mut State,
    id: &str,
    base: &str,
    received: Received,
    faults: &[Fault],
) -> io::Result<Response> {
    match request.method.as_str() {
        "PATCH" => {
            let response = progress(state, id, base, 202)?;
            if let Some(upload) = state.uploads.open.get_mut(id).filter(|_| faults.is_empty()) {
                upload.oldest_state = upload.state;
            }
            Ok(response)
        }
        "PUT" => close(request, state, id, base),
        "DELETE" => {
            state.uploads.open.remove(id);
            Response::new(204, Vec::new())
        }
        "GET" => progress(state, id, base, 204),
        _ => Response::error(405, "UNSUPPORTED", &format!("no {} of {} bytes", request.method, received.length)),
    }
}

/// Checks that the bytes of a request can be appended to an upload, and appends them.
pub(super) fn receive(
    request: &Request,
    shared: &Shared,
    id: &str,
    limit: u64,
    reader: &mut impl BufRead,
) -> io::Result<Result<Received, Response>> {
    let mut state = shared.state();
    let min_chunk = state.features.min_chunk.unwrap_or(0);
    let Some(upload) = state.uploads.open.get_mut(id) else {
        return Response::error(404, "BLOB_UPLOAD_UNKNOWN", "no such upload").map(Err);
    };
    let sent_state = request.query("_state").pop().and_then(|state| state.parse().ok());
    if !sent_state.is_some_and(|sent| (upload.oldest_state..=upload.state).contains(&sent)) {
        return Response::error(400, "BLOB_UPLOAD_INVALID", "an old Location, or without its query").map(Err);
    }
    if request.method == "PATCH"
        && let Some(refusal) = check_chunk(request, upload, min_chunk)?
    {
        let range = range_of(upload.size);
        return Ok(Err(refusal.with("Range", range).with("Location", location(base_of(shared), upload, id))));
    }
    let mut file = OpenOptions::new().write(true).open(&upload.path)?;
    io::Seek::seek(&mut file, io::SeekFrom::Start(upload.size))?;
    // Other requests go on while the body arrives.
    drop(state);
    let received = request.read_body(reader, limit, &mut file);
    if let Some(upload) = shared.state().uploads.open.get_mut(id) {
        upload.size += received.length;
        upload.has_short_chunk |= request.method == "PATCH" && received.length < min_chunk;
    }
    Ok(Ok(received))
}

/// Forgets an upload.
pub(super) fn forget(state: &mut State, id: &str) {
    state.uploads.open.remove(id);
}

/// Shortens an upload to `size` bytes.
pub(super) fn shorten(state: &mut State, id: &str, size: u64) -> io::Result<()> {
    if let Some(upload) = state.uploads.open.get_mut(id) {
        upload.size = size;
        OpenOptions::new().write(true).open(&upload.path)?.set_len(size)?;
    }
    Ok(())
}

/// Returns the refusal of a chunk, if its range or length is wrong.
fn check_chunk(request: &Request, upload: &Upload, min_chunk: u64) -> io::Result<Option<Response>> {
    if min_chunk > 0 && upload.has_short_chunk {
        return Response::error(400, "SIZE_INVALID", "the chunk before was too short").map(Some);
    }
    let Some(range) = request.header("content-range") else { return Ok(None) };
    let parsed = range.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    let (first, last): (u64, u64) = parsed.ok_or_else(|| io::Error::other("a Content-Range is FIRST-LAST"))?;
    let length: Option<u64> = request.header("content-length").and_then(|length| length.parse().ok());
    if length != Some(last - first + 1) {
        return Response::error(400, "SIZE_INVALID", "Content-Range and Content-Length differ").map(Some);
    }
    if first != upload.size {
        return Response::error(416, "BLOB_UPLOAD_INVALID", "the chunk is out of order").map(Some);
    }
    Ok(None)
}

fn close(request: &Request, state: &mut State, id: &str, base: &str) -> io::Result<Response> {
    let Some(upload) = state.uploads.open.get(id) else {
        return Response::error(404, "BLOB_UPLOAD_UNKNOWN", "no such upload");
    };
    let Some(digest) = request.query("digest").pop().and_then(|digest| Digest::parse(&digest).ok()) else {
        return Response::error(400, "DIGEST_INVALID", "no digest");
    };
    if digest.algorithm() != upload.algorithm {
        return Response::error(400, "DIGEST_INVALID", "another algorithm than at the start");
    }
    let content = Content::File(upload.path.clone());
    let actual = digest_of(&content, digest.algorithm())?;
    if actual != digest {
        return Response::error(400, "DIGEST_INVALID", &format!("the bytes have the digest {actual}"));
    }
    let repository = upload.repository.clone();
    state.uploads.open.remove(id);
    let blob = state.blobs.entry(digest.to_string());
    let blob = blob.or_insert_with(|| Blob { content, repositories: Some(std::collections::HashSet::new()) });
    if let Some(repositories) = &mut blob.repositories {
        repositories.insert(repository.clone());
    }
    created(base, &repository, &digest.to_string())
}

fn created(base: &str, repository: &str, digest: &str) -> io::Result<Response> {
    let response = Response::new(201, Vec::new())?.with("Docker-Content-Digest", digest);
    Ok(response.with("Location", format!("{base}/v2/{repository}/blobs/{digest}")))
}

/// Returns an answer with the upload's location and number of bytes.
fn progress(state: &mut State, id: &str, base: &str, status: u16) -> io::Result<Response> {
    let Some(upload) = state.uploads.open.get_mut(id) else {
        return Response::error(404, "BLOB_UPLOAD_UNKNOWN", "no such upload");
    };
    upload.state += 1;
    Ok(Response::new(status, Vec::new())?
        .with("Range", range_of(upload.size))
        .with("Docker-Upload-UUID", id)
        .with("Location", location(base, upload, id)))
}

/// Returns the `Range` of an upload. As in Docker's registry, no bytes look like one.
fn range_of(size: u64) -> String {
    format!("0-{}", size.saturating_sub(1))
}

fn location(base: &str, upload: &Upload, id: &str) -> String {
    format!("{base}/v2/{}/blobs/uploads/{id}?_state={}", upload.repository, upload.state)
}

fn base_of(shared: &Shared) -> &str {
    &shared.base
}
