//! The HTTP API of a Docker engine.

use std::io::{self, Read};
use std::panic::resume_unwind;
use std::pin::pin;
use std::thread;
use std::time::Duration;

use bytes::{Buf, Bytes};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::timeout;
use vmroot_output::{CANCEL_LATENCY, Cancel};

use super::host::Host;
use super::upload::PipeBody;
use super::{DaemonOptions, progress, tls};
use crate::{Error, Result};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// The header of a response to `_ping` with the newest version of the API that the engine has.
const API_VERSION: &str = "api-version";

/// The maximum length in bytes of an error's body that is read.
const ERROR_LIMIT: usize = 64 << 10;

/// A connection to an engine.
#[derive(Debug)]
pub(super) struct Engine {
    host: String,
    /// The URL of the API, with its version. Ends with a slash.
    api: Url,
    client: Client,
    /// `None` only while the engine is dropped.
    runtime: Option<Runtime>,
    cancel: Cancel,
}

/// The body of an error.
#[derive(Deserialize)]
struct ErrorBody {
    message: String,
}

impl Engine {
    /// Connects, and learns the version of the API.
    pub(super) fn connect(options: &DaemonOptions) -> Result<Self> {
        let host = Host::parse(&options.host)?;
        let tls = if matches!(host, Host::Tls(_)) { tls::config(options)? } else { tls::unused()? };
        let mut client = Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT_TIMEOUT)
            // A connection may be closed while blobs are written, and an upload cannot be repeated.
            .pool_max_idle_per_host(0)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy();
        if let Host::Unix(path) = &host {
            client = client.unix_socket(path.clone());
        }
        let start = |reason: String| Error::DaemonUnreachable { host: options.host.clone(), reason };
        let client = client.build().map_err(|error| start(reason(&error)))?;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| start(error.to_string()))?;
        let mut engine = Self {
            host: options.host.clone(),
            api: host.base(),
            client,
            runtime: Some(runtime),
            cancel: options.cancel.clone(),
        };
        let ping = engine.api.join("_ping").expect("a relative path");
        let response = engine.send(engine.client.get(ping), "answer")?;
        // An engine without the header has only unversioned paths, or one version.
        if let Some(version) = response.headers().get(API_VERSION).and_then(|version| version.to_str().ok())
            && is_version(version)
        {
            engine.api = engine.api.join(&format!("v{version}/")).expect("a relative path");
        }
        Ok(engine)
    }

    /// Requests the archive of an image.
    pub(super) fn save(&self, name: &str) -> Result<Saved<'_>> {
        // A request for the archive of an image that does not exist has several errors, depending on the version.
        let inspect = self.api.join(&format!("images/{name}/json")).expect("a reference or a digest is a path");
        self.send(self.client.get(inspect), SAVE)?;
        let mut url = self.api.join("images/get").expect("a relative path");
        url.query_pairs_mut().append_pair("names", name);
        let response = self.send(self.client.get(url), SAVE)?;
        Ok(Saved { engine: self, response, chunk: Bytes::new() })
    }

    /// Sends an archive, and waits until the engine has loaded it.
    pub(super) fn load(&self, archive: PipeBody) -> Result<()> {
        let mut url = self.api.join("images/load").expect("a relative path");
        url.query_pairs_mut().append_pair("quiet", "1");
        let request = self.client.post(url).header("content-type", "application/x-tar");
        let response = self.send(request.body(reqwest::Body::wrap(archive)), LOAD)?;
        let body = Saved { engine: self, response, chunk: Bytes::new() };
        match progress::read(body)? {
            Some(reason) => Err(self.refused(LOAD, StatusCode::OK, reason)),
            None => Ok(()),
        }
    }

    /// Sends a request, and waits for the head of a response without an error.
    fn send(&self, request: reqwest::RequestBuilder, action: &'static str) -> Result<Response> {
        let mut response = self.wait(request.send())?.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let mut body = Vec::new();
        while body.len() < ERROR_LIMIT {
            match self.wait(response.chunk())? {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                // The status tells enough.
                Ok(None) | Err(_) => break,
            }
        }
        body.truncate(ERROR_LIMIT);
        let reason = match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(error) => progress::printable(&error.message),
            Err(_) => progress::printable(&String::from_utf8_lossy(&body)),
        };
        Err(self.refused(action, status, reason))
    }

    fn refused(&self, action: &'static str, status: StatusCode, reason: String) -> Error {
        let reason = if reason.trim().is_empty() { status.to_string() } else { reason.trim().to_owned() };
        Error::DaemonRefused { host: self.host.clone(), action, status: status.as_u16(), reason }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        Error::DaemonUnreachable { host: self.host.clone(), reason: reason(error) }
    }

    /// Runs the runtime until `future` completes, and polls for cancellation.
    fn wait<T: Send>(&self, future: impl Future<Output = T> + Send) -> Result<T> {
        let waiting = async {
            let mut future = pin!(future);
            loop {
                if self.cancel.is_cancelled() {
                    return Err(Error::Cancelled);
                }
                if let Ok(output) = timeout(CANCEL_LATENCY, future.as_mut()).await {
                    return Ok(output);
                }
            }
        };
        let runtime = self.runtime.as_ref().expect("the runtime is taken only on drop");
        // tokio panics if a thread that runs a task of another runtime runs this one.
        if Handle::try_current().is_err() {
            return runtime.block_on(waiting);
        }
        thread::scope(|scope| scope.spawn(|| runtime.block_on(waiting)).join())
            .unwrap_or_else(|panic| resume_unwind(panic))
    }
}

/// The action of [`Engine::save`], for errors.
const SAVE: &str = "save the image";

/// The action of [`Engine::load`], for errors.
const LOAD: &str = "load the image";

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Dropping the runtime would wait for a running name lookup.
            runtime.shutdown_background();
        }
    }
}

/// The body of a response. Its errors are [`Error`]s in [`io::Error`]s.
#[derive(Debug)]
pub(super) struct Saved<'e> {
    engine: &'e Engine,
    response: Response,
    chunk: Bytes,
}

impl Read for Saved<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() && !out.is_empty() {
            let chunk = self.engine.wait(self.response.chunk()).map_err(io::Error::other)?;
            match chunk.map_err(|error| io::Error::other(self.engine.unreachable(&error)))? {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(0),
            }
        }
        let read = out.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut out[..read]);
        Ok(read)
    }
}

/// Returns whether the text is a version of the API, such as `1.41`.
fn is_version(text: &str) -> bool {
    let is_number = |text: &str| (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.').is_some_and(|(major, minor)| is_number(major) && is_number(minor))
}

/// Returns the reason of an error, without its URL, whose host says nothing for a socket.
fn reason(error: &reqwest::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    progress::printable(&deepest.to_string())
}
