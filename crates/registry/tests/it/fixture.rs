//! A repository in a registry that misbehaves on order, and a client that loses its patience soon.

use std::fmt::Debug;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use vmroot_model::{Descriptor, Digest, MediaType, Reference};
use vmroot_registry::{Chain, Client, ClientOptions, Credential, Error, Explicit};
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::registry::{Fault, Registry, Request, Rule};

/// The repository that tests pull from.
pub(crate) const NAME: &str = "some/name";

/// A manifest, as far as the client cares.
pub(crate) const MANIFEST: &[u8] = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#;

/// Its type.
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// So long that a test that waits for it is stuck.
pub(crate) const FOREVER: Duration = Duration::from_secs(3600);

/// Part of the path of all requests for blobs.
pub(crate) const BLOBS: &str = "/blobs/";

/// Part of the path of all requests for manifests.
pub(crate) const MANIFESTS: &str = "/manifests/";

/// A registry with one blob and one manifest, `latest`.
pub(crate) struct Fixture {
    pub(crate) registry: Registry,
    pub(crate) bytes: Vec<u8>,
    pub(crate) layer: Descriptor,
    pub(crate) manifest: Digest,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with_blob(100_000)
    }

    /// The same with a blob of another size.
    pub(crate) fn with_blob(size: usize) -> Self {
        Self::of(Registry::start(), size)
    }

    pub(crate) fn of(registry: Registry, size: usize) -> Self {
        let bytes = pattern(size);
        let digest = registry.put_blob(bytes.clone());
        let layer = Descriptor::new(MediaType::from("application/vnd.oci.image.layer.v1.tar"), digest, size as u64);
        let manifest = registry.put_manifest(NAME, Some("latest"), MANIFEST_TYPE, MANIFEST);
        Self { registry, bytes, layer, manifest }
    }

    /// Misbehaves this often with blobs.
    pub(crate) fn blobs(self, times: usize, fault: Fault) -> Self {
        self.registry.misbehave(Rule::on(BLOBS).times(times).fault(fault));
        self
    }

    /// Misbehaves this often with manifests.
    pub(crate) fn manifests(self, times: usize, fault: Fault) -> Self {
        self.registry.misbehave(Rule::on(MANIFESTS).times(times).fault(fault));
        self
    }

    pub(crate) fn reference(&self) -> Reference {
        Reference::parse(&format!("{}/{NAME}", self.registry.host())).unwrap()
    }

    /// Reads the blob to its end with a fresh client, over as many connections as it takes.
    pub(crate) fn pull(&self) -> Result<Vec<u8>, Error> {
        self.pull_with(&client(), 0)
    }

    pub(crate) fn pull_with(&self, client: &Client, offset: u64) -> Result<Vec<u8>, Error> {
        read(client.resuming_blob(&self.reference(), &self.layer, offset))
    }

    /// Pulls and checks what came.
    #[track_caller]
    pub(crate) fn pulls(&self) {
        assert!(self.pull().unwrap() == self.bytes);
    }

    /// The `Range` headers of the requests for blobs.
    pub(crate) fn ranges(&self) -> Vec<Option<String>> {
        self.requests(BLOBS).iter().map(|request| request.header("range").map(str::to_owned)).collect()
    }

    /// The requests with `part` in their path.
    pub(crate) fn requests(&self, part: &str) -> Vec<Request> {
        self.registry.requests().into_iter().filter(|request| request.path.contains(part)).collect()
    }
}

/// Bytes of which no two neighbourhoods are alike.
pub(crate) fn pattern(size: usize) -> Vec<u8> {
    (0..size as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// Three retries, pauses of milliseconds, and patience enough for a busy machine.
pub(crate) fn options() -> ClientOptions {
    ClientOptions {
        retries: 3,
        backoff: Duration::from_millis(2),
        backoff_limit: Duration::from_millis(10),
        inactivity_timeout: Duration::from_secs(15),
        connect_timeout: Duration::from_secs(15),
        ..ClientOptions::default()
    }
}

pub(crate) fn client() -> Client {
    Client::new(options()).unwrap()
}

/// A client that takes half a second without a byte for a stall.
pub(crate) fn impatient() -> Client {
    Client::new(ClientOptions { inactivity_timeout: Duration::from_millis(500), ..options() }).unwrap()
}

pub(crate) fn password(user: &str, password: &str) -> Credential {
    Credential::Password { user: user.to_owned(), password: password.to_owned() }
}

/// A client with one credential.
pub(crate) fn client_with(credential: Credential) -> Client {
    Client::new(options_with(credential)).unwrap()
}

/// The usual options with one credential.
pub(crate) fn options_with(credential: Credential) -> ClientOptions {
    ClientOptions { credentials: Arc::new(Chain(vec![Arc::new(Explicit(credential))])), ..options() }
}

/// Reads to the end; the client's error is unwrapped from its `io::Error`.
pub(crate) fn read(mut reader: impl Read) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    match reader.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(inner(error)),
    }
}

pub(crate) fn inner(error: io::Error) -> Error {
    *error.into_inner().expect("readers give their own errors on").downcast().expect("and no others")
}

/// A range header for the rest of a blob.
pub(crate) fn from(offset: u64) -> Option<String> {
    Some(format!("bytes={offset}-"))
}

/// Asserts that an error is of a variant, and that its message has all of these texts.
#[track_caller]
pub(crate) fn says<T: Debug>(result: Result<T, Error>, texts: &[&str]) -> Error {
    let error = result.unwrap_err();
    let message = error.full_message();
    for text in texts {
        assert!(message.contains(text), "{message:?} lacks {text:?}");
    }
    error
}
