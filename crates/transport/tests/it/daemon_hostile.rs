//! Docker engines that misbehave, and engines of other versions. They are played by threads that send fixed answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::json;
use tempfile::TempDir;
use vmroot_errors::ErrorKind;
use vmroot_model::MediaType;
use vmroot_transport::{Error, open_daemon};

use crate::builder::{Image, blob_name, docker_save, entry, file, gzip, oci_layout, tar};
use crate::daemon::{daemon_name, daemon_options, open, open_destination, write};
use crate::pull::assert_same_image;

/// A request: its first line, and its body without the framing of chunks.
type Request = (String, Vec<u8>);

/// A server that answers each request by its path.
struct Engine {
    directory: TempDir,
    requests: Receiver<Request>,
}

/// Returns the answer to a request, or `None` to close the connection.
type Answer = fn(&str, &Image) -> Option<Vec<u8>>;

impl Engine {
    fn start(answer: Answer) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        let (sender, requests) = channel();
        thread::spawn(move || {
            let image = Image::new(1, 2);
            for connection in listener.incoming() {
                let connection = connection.unwrap();
                let request = read_request(&connection);
                let path = request.0.split(' ').nth(1).unwrap_or_default().to_owned();
                // The test ends before the thread.
                if sender.send(request).is_err() {
                    return;
                }
                if let Some(bytes) = answer(&path, &image) {
                    // The client may have closed the connection already.
                    let _ = (&connection).write_all(&bytes);
                }
            }
        });
        Self { directory, requests }
    }

    fn host(&self) -> String {
        format!("unix://{}", self.directory.path().join("socket").display())
    }

    fn open(&self, name: &str) -> Result<Box<dyn vmroot_transport::ImageSource>, Error> {
        open(&self.host(), name, self.directory.path())
    }

    fn load(&self) -> Error {
        let destination = open_destination(&self.host(), "a:1", self.directory.path()).unwrap();
        write(&*destination, &Image::new(1, 2));
        destination.commit().unwrap_err()
    }
}

fn read_request(connection: impl Read) -> Request {
    let mut reader = BufReader::new(connection);
    let mut first = String::new();
    let _ = reader.read_line(&mut first);
    let mut chunked = false;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        chunked |= line.eq_ignore_ascii_case("transfer-encoding: chunked\r\n");
    }
    let mut body = Vec::new();
    if chunked {
        while let Some(chunk) = read_chunk(&mut reader) {
            body.extend_from_slice(&chunk);
        }
    }
    (first.trim().to_owned(), body)
}

/// Reads a chunk of a body. Returns `None` for the last one, which is empty, and for one that is cut off.
fn read_chunk(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut size = String::new();
    reader.read_line(&mut size).ok()?;
    let size = usize::from_str_radix(size.trim(), 16).ok()?;
    let mut chunk = vec![0; size + 2];
    reader.read_exact(&mut chunk).ok()?;
    chunk.truncate(size);
    (size > 0).then_some(chunk)
}

fn respond(status: &str, headers: &str, body: &[u8]) -> Option<Vec<u8>> {
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    Some([head.as_bytes(), body].concat())
}

fn ok(body: &[u8]) -> Option<Vec<u8>> {
    respond("200 OK", "Api-Version: 1.51\r\n", body)
}

#[test]
fn archives_of_all_versions_of_the_engine() {
    // Before Docker 25.
    let old = Engine::start(|path, image| match path {
        "/_ping" => respond("200 OK", "", b"OK"),
        "/images/a:1/json" => ok(b"{}"),
        "/images/get?names=a%3A1" => ok(&tar(&docker_save(&[(image, &["a:1"])]))),
        _ => respond("404 Not Found", "", b""),
    });
    assert_same_image(&*old.open("a:1").unwrap(), &Image::new(1, 2));
    // From Docker 25 on: an OCI layout as well. With the store of containerd, layers are compressed.
    let new = Engine::start(|path, image| {
        let blobs = image.blobs(&MediaType::OCI_LAYER_GZIP, gzip);
        let (manifest, parts) = blobs.split_last().unwrap();
        let mut members = oci_layout(&blobs, &[entry(&MediaType::OCI_MANIFEST, manifest, &json!({}))]);
        let layers: Vec<_> = parts[1..].iter().map(|layer| blob_name(layer)).collect();
        let list = json!([{ "Config": blob_name(&parts[0]), "RepoTags": ["example.com/a:1"], "Layers": layers }]);
        members.push(file("manifest.json", list.to_string()));
        match path {
            "/_ping" => ok(b"OK"),
            "/v1.51/images/example.com/a:1/json" => ok(b"{}"),
            "/v1.51/images/get?names=example.com%2Fa%3A1" => ok(&tar(&members)),
            _ => respond("404 Not Found", "", b""),
        }
    });
    assert_same_image(&*new.open("example.com/a:1").unwrap(), &Image::new(1, 2));
    let requests: Vec<_> = new.requests.try_iter().map(|(line, _)| line).collect();
    assert_eq!(requests.len(), 3, "{requests:?}");
}

#[test]
fn errors_of_an_engine_have_its_reason() {
    let missing = Engine::start(|path, _| match path {
        "/_ping" => ok(b"OK"),
        _ => respond("404 Not Found", "", br#"{"message":"No such image: a:1\u001b[0m"}"#),
    });
    let error = missing.open("a:1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().ends_with("did not save the image: No such image: a:1 [0m"), "{error}");
    let forbidden = Engine::start(|_, _| respond("403 Forbidden", "", b"<html>no</html>"));
    let error = forbidden.open("a:1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication);
    assert!(error.to_string().contains("did not answer: <html>no</html>"), "{error}");
    // A redirect is not followed.
    let elsewhere = Engine::start(|_, _| respond("302 Found", "Location: http://127.0.0.1/\r\n", b""));
    assert!(elsewhere.open("a:1").unwrap_err().to_string().contains("302 Found"));
    // A connection that ends early, at each step.
    let closed = Engine::start(|_, _| None);
    assert_eq!(closed.open("a:1").unwrap_err().kind(), ErrorKind::Unreachable);
    let cut_off = Engine::start(|path, image| match path {
        "/_ping" | "/v1.51/images/a:1/json" => ok(b"{}"),
        _ => {
            let whole = ok(&tar(&docker_save(&[(image, &["a:1"])]))).unwrap();
            Some(whole[..whole.len() / 2].to_vec())
        }
    });
    assert_eq!(cut_off.open("a:1").unwrap_err().kind(), ErrorKind::Unreachable);
    let error = open("unix:///nonexistent/socket", "a:1", cut_off.directory.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    // Bytes that are no archive.
    let garbage = Engine::start(|_, _| ok(b"garbage"));
    let error = garbage.open("a:1").unwrap_err();
    assert!(matches!(error, Error::NotAnArchive { .. } | Error::NoManifestJson { .. }), "{error}");
}

#[test]
fn an_image_is_loaded_only_without_an_error() {
    for (answer, reason) in [
        (
            (|_, _| ok(br#"{"stream":"x"}{"errorDetail":{"message":"no space left"},"error":"x"}"#)) as Answer,
            "no space left",
        ),
        (
            |path, _| {
                if path.ends_with("_ping") { ok(b"OK") } else { respond("500 Error", "", br#"{"message":"broken"}"#) }
            },
            "broken",
        ),
        (|path, _| if path.ends_with("_ping") { ok(b"OK") } else { ok(b"Loaded") }, "not JSON"),
        (|path, _| if path.ends_with("_ping") { ok(b"OK") } else { None }, "cannot reach"),
    ] {
        let engine = Engine::start(answer);
        let error = engine.load().to_string();
        assert!(error.contains(reason), "{reason}: {error}");
    }
    let engine = Engine::start(|_, _| ok(br#"{"stream":"Loaded image: a:1\n"}"#));
    let image = Image::new(1, 2);
    let destination = open_destination(&engine.host(), "a:1", engine.directory.path()).unwrap();
    write(&*destination, &image);
    destination.commit().unwrap();
    let (line, body) = engine.requests.try_iter().last().unwrap();
    assert_eq!(line, "POST /v1.51/images/load?quiet=1 HTTP/1.1");
    // The whole archive was sent.
    let mut names = Vec::new();
    for entry in tar::Archive::new(&body[..]).entries().unwrap() {
        names.push(String::from_utf8(entry.unwrap().path_bytes().into_owned()).unwrap());
    }
    assert!(names.contains(&"manifest.json".to_owned()) && names.contains(&format!("{}.json", image.id().hex())));
    assert!(body.ends_with(&[0; 1024]));
    // Without a manifest nothing is sent.
    let destination = open_destination(&engine.host(), "a:1", engine.directory.path()).unwrap();
    assert!(matches!(destination.commit().unwrap_err(), Error::NoManifest { .. }));
    assert!(engine.requests.try_iter().all(|(line, body)| !line.starts_with("POST") || !body.ends_with(&[0; 1024])));
}

#[test]
fn waiting_for_an_engine_can_be_cancelled() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let spool = tempfile::tempdir().unwrap();
    let options = daemon_options(&format!("http://{}", listener.local_addr().unwrap()), spool.path());
    let cancel = options.cancel.clone();
    let waiting = thread::spawn(move || open_daemon(&daemon_name("a:1"), &options).map(drop));
    // The request has arrived, and gets no answer.
    let (mut connection, _) = listener.accept().unwrap();
    assert!(connection.read(&mut [0; 100]).unwrap() > 0);
    cancel.cancel();
    let error = waiting.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
}
