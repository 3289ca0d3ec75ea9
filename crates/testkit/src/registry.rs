//! An OCI registry in this process, on loopback, with configurable faults.
//!
//! It serves the content that a test adds ([`Registry::put_blob`], [`Registry::put_manifest`]) or a client pushes, can
//! require credentials ([`Registry::require`]), breaks answers according to [`Rule`]s, and records every request.
//!
//! ```
//! use vmroot_testkit::registry::{Fault, Registry, Rule};
//!
//! let registry = Registry::start();
//! let digest = registry.put_blob(vec![7; 1000]);
//! registry.misbehave(Rule::on("/blobs/").times(2).fault(Fault::CutAfter(100)));
//! let url = format!("{}/v2/some/name/blobs/{digest}", registry.url());
//! # let _ = url;
//! assert_eq!(registry.count("/blobs/"), 0);
//! ```

mod auth;
mod connection;
mod content;
mod date;
mod fault;
mod features;
mod layout;
mod lists;
mod manifests;
mod message;
mod routes;
mod uploads;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use vmroot_model::{Algorithm, Digest, Hasher};

pub use auth::{Auth, Bearer, Grant};
pub use connection::PlainAnswer;
pub use content::Content;
pub use date::http_date;
pub use fault::{Fault, Rule};
pub use features::Features;
pub use message::Request;

/// The certificate of the authority that signed the certificate of [`Registry::start_tls`], in PEM format.
pub const CA_PEM: &str = include_str!("registry/tls/ca.pem");

/// A running registry, which stops when dropped.
pub struct Registry {
    address: SocketAddr,
    tls: bool,
    shared: Arc<Shared>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("address", &self.address).field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// The state that all connections share.
struct Shared {
    base: String,
    stopped: AtomicBool,
    accepted: AtomicUsize,
    /// The number of requests that are being answered.
    busy: AtomicUsize,
    max_busy: AtomicUsize,
    state: Mutex<State>,
    /// One end of each open connection by the client's address, for closing it.
    connections: Mutex<HashMap<SocketAddr, TcpStream>>,
}

#[derive(Default)]
struct State {
    blobs: HashMap<String, Blob>,
    uploads: uploads::Uploads,
    features: Features,
    /// The manifests by `repository:tag` and by `repository@digest`.
    manifests: HashMap<String, Manifest>,
    auth: Option<Auth>,
    tokens: auth::Tokens,
    rules: Vec<Rule>,
    requests: Vec<Request>,
    /// The number of requests so far.
    serial: u64,
}

struct Blob {
    content: Content,
    /// The repositories with the blob, or `None` for all of them.
    repositories: Option<HashSet<String>>,
}

impl Blob {
    fn is_in(&self, repository: &str) -> bool {
        self.repositories.as_ref().is_none_or(|repositories| repositories.contains(repository))
    }
}

#[derive(Clone)]
struct Manifest {
    media_type: String,
    digest: Digest,
    bytes: Content,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the state")
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<SocketAddr, TcpStream>> {
        self.connections.lock().expect("no thread panics while it holds the connections")
    }
}

impl Registry {
    /// Starts a registry with plain HTTP on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// If no port is free.
    pub fn start() -> Self {
        Self::at(0).expect("a free port on loopback")
    }

    /// Starts a registry like [`Self::start`] on a given port.
    ///
    /// # Errors
    /// If the port is in use.
    pub fn at(port: u16) -> io::Result<Self> {
        Self::listen(port, None)
    }

    /// Starts a registry with TLS. Its certificate is valid for `localhost`, `127.0.0.1` and `::1`.
    ///
    /// `answer` is sent to clients that use plain HTTP.
    ///
    /// # Panics
    /// If no port is free.
    pub fn start_tls(answer: PlainAnswer) -> Self {
        Self::tls_at(0, answer).expect("a free port on loopback")
    }

    /// Starts a registry like [`Self::start_tls`] on a given port.
    ///
    /// # Errors
    /// If the port is in use.
    pub fn tls_at(port: u16, answer: PlainAnswer) -> io::Result<Self> {
        Self::listen(port, Some(connection::Tls::new(answer)))
    }

    fn listen(port: u16, tls: Option<connection::Tls>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        let address = listener.local_addr()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let shared = Arc::new(Shared {
            base: format!("{scheme}://{address}"),
            stopped: AtomicBool::new(false),
            accepted: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            max_busy: AtomicUsize::new(0),
            state: Mutex::default(),
            connections: Mutex::default(),
        });
        let registry = Self { address, tls: tls.is_some(), shared: Arc::clone(&shared) };
        thread::spawn(move || accept(&listener, &shared, tls));
        Ok(registry)
    }

    /// Returns `127.0.0.1:<port>`, the registry part of a reference.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Returns `http://127.0.0.1:<port>`, or `https://` with TLS.
    pub fn url(&self) -> String {
        self.shared.base.clone()
    }

    /// Returns whether it uses TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Adds a blob to every repository and returns its SHA-256 digest.
    ///
    /// # Panics
    /// If the content is a file that cannot be read.
    pub fn put_blob(&self, content: impl Into<Content>) -> Digest {
        let content = content.into();
        let digest = digest_of(&content, Algorithm::Sha256).expect("the content can be read");
        self.put_blob_as(&digest, content);
        digest
    }

    /// Adds a blob under any digest, even a wrong one.
    pub fn put_blob_as(&self, digest: &Digest, content: impl Into<Content>) {
        let blob = Blob { content: content.into(), repositories: None };
        self.shared.state().blobs.insert(digest.to_string(), blob);
    }

    /// Returns a blob of a repository.
    pub fn blob(&self, repository: &str, digest: &Digest) -> Option<Content> {
        let state = self.shared.state();
        let blob = state.blobs.get(&digest.to_string()).filter(|blob| blob.is_in(repository))?;
        Some(blob.content.clone())
    }

    /// Returns the media type and the bytes of a manifest, by its tag or digest.
    pub fn manifest(&self, repository: &str, name: &str) -> Option<(String, Vec<u8>)> {
        let manifest = self.shared.state().manifests.get(&manifests::key(repository, name))?.clone();
        let Content::Memory(bytes) = manifest.bytes else { return None };
        Some((manifest.media_type, bytes.to_vec()))
    }

    /// Returns the number of uploads that are neither closed nor deleted.
    pub fn open_uploads(&self) -> usize {
        self.shared.state().uploads.count()
    }

    /// Returns the tokens that were issued, in order.
    pub fn grants(&self) -> Vec<Grant> {
        self.shared.state().tokens.grants.clone()
    }

    /// Changes the features from now on.
    pub fn configure(&self, features: Features) {
        self.shared.state().features = features;
    }

    /// Removes a blob.
    pub fn remove_blob(&self, digest: &Digest) {
        self.shared.state().blobs.remove(&digest.to_string());
    }

    /// Adds a manifest or an index under its SHA-256 digest and, if given, a tag. Returns the digest.
    pub fn put_manifest(&self, repository: &str, tag: Option<&str>, media_type: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.put_manifest_as(&digest, repository, tag, media_type, bytes);
        digest
    }

    /// Adds a manifest under any digest, even a wrong one.
    pub fn put_manifest_as(
        &self,
        digest: &Digest,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        bytes: &[u8],
    ) {
        let manifest = Manifest { media_type: media_type.to_owned(), digest: *digest, bytes: bytes.to_vec().into() };
        let mut state = self.shared.state();
        state.manifests.insert(format!("{repository}@{digest}"), manifest.clone());
        if let Some(tag) = tag {
            state.manifests.insert(format!("{repository}:{tag}"), manifest);
        }
    }

    /// Requires credentials from now on.
    pub fn require(&self, auth: Auth) {
        self.shared.state().auth = Some(auth);
    }

    /// Revokes all tokens: requests with them are answered with 401.
    pub fn revoke_tokens(&self) {
        self.shared.state().tokens.revoke();
    }

    /// Adds a rule. All rules that match a request are applied to its answer.
    pub fn misbehave(&self, rule: Rule) {
        self.shared.state().rules.push(rule);
    }

    /// Removes all rules.
    pub fn behave(&self) {
        self.shared.state().rules.clear();
    }

    /// Returns the requests so far, in the order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    /// Returns the number of requests so far with `part` in their path or query.
    pub fn count(&self, part: &str) -> usize {
        self.shared.state().requests.iter().filter(|request| request.path.contains(part)).count()
    }

    /// Returns the number of connections so far.
    pub fn connections(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Returns the maximum number of requests that were answered at the same time.
    pub fn max_concurrent_requests(&self) -> usize {
        self.shared.max_busy.load(Ordering::SeqCst)
    }

    /// Clears the list of requests.
    pub fn clear_requests(&self) {
        self.shared.state().requests.clear();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then checks the flag.
        drop(TcpStream::connect(self.address));
        for (_, stream) in self.shared.connections().drain() {
            // Errors are ignored: the connection may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, tls: Option<connection::Tls>) {
    for stream in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        // The client may have closed the connection already.
        let (Ok(client), Ok(end)) = (stream.peer_addr(), stream.try_clone()) else { continue };
        shared.connections().insert(client, end);
        let (shared, tls) = (Arc::clone(shared), tls.clone());
        thread::spawn(move || {
            // Errors are ignored: a client that disconnects causes one.
            drop(connection::serve(stream, &shared, tls.as_ref()));
            // Drops the last handle, which closes the connection.
            shared.connections().remove(&client);
        });
    }
}

fn digest_of(content: &Content, algorithm: Algorithm) -> io::Result<Digest> {
    let mut hasher = Hasher::new(algorithm);
    let mut reader = content.reader(0)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match io::Read::read(&mut reader, &mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}
