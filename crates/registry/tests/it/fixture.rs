//! A test registry with one repository, and clients with short timeouts.

use std::fmt::Debug;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use vmroot_model::{Descriptor, Digest, MediaType, Reference};
use vmroot_registry::{Client, ClientOptions, Credential, CredentialChain, Error, FixedCredential};
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::registry::{Fault, Registry, Request, Rule};

/// The repository that tests pull from.
pub(crate) const NAME: &str = "some/name";

/// A manifest. The client does not parse it.
pub(crate) const MANIFEST: &[u8] = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#;

/// The media type of [`MANIFEST`].
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// A time that no test waits for.
pub(crate) const FOREVER: Duration = Duration::from_secs(3600);

/// A part of the path of every request for a blob.
pub(crate) const BLOBS: &str = "/blobs/";

/// A part of the path of every request for a manifest.
pub(crate) const MANIFESTS: &str = "/manifests/";

/// A registry with one blob and one manifest, tagged `latest`.
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

    /// A fixture with a blob of `size` bytes.
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

    /// Adds a fault to the next `times` requests for blobs.
    pub(crate) fn blobs(self, times: usize, fault: Fault) -> Self {
        self.registry.misbehave(Rule::on(BLOBS).times(times).fault(fault));
        self
    }

    /// Adds a fault to the next `times` requests for manifests.
    pub(crate) fn manifests(self, times: usize, fault: Fault) -> Self {
        self.registry.misbehave(Rule::on(MANIFESTS).times(times).fault(fault));
        self
    }

    pub(crate) fn reference(&self) -> Reference {
        Reference::parse(&format!("{}/{NAME}", self.registry.host())).unwrap()
    }

    /// Reads the whole blob with a new client.
    pub(crate) fn pull(&self) -> Result<Vec<u8>, Error> {
        self.pull_with(&client(), 0)
    }

    pub(crate) fn pull_with(&self, client: &Client, offset: u64) -> Result<Vec<u8>, Error> {
        read(client.resuming_blob(&self.reference(), &self.layer, offset))
    }

    /// Reads the blob with a new client and checks its bytes.
    #[track_caller]
    pub(crate) fn assert_pulls(&self) {
        assert!(self.pull().unwrap() == self.bytes);
    }

    /// Returns the `Range` headers of the requests for blobs.
    pub(crate) fn ranges(&self) -> Vec<Option<String>> {
        self.requests(BLOBS).iter().map(|request| request.header("range").map(str::to_owned)).collect()
    }

    /// Returns the requests with `part` in their path.
    pub(crate) fn requests(&self, part: &str) -> Vec<Request> {
        self.registry.requests().into_iter().filter(|request| request.path.contains(part)).collect()
    }
}

/// Returns pseudo-random bytes.
pub(crate) fn pattern(size: usize) -> Vec<u8> {
    (0..size as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// Options with three retries and pauses of milliseconds. The timeouts suffice on a busy machine.
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

/// A client with an inactivity timeout of half a second.
pub(crate) fn client_with_short_timeout() -> Client {
    Client::new(ClientOptions { inactivity_timeout: Duration::from_millis(500), ..options() }).unwrap()
}

pub(crate) fn password(user: &str, password: &str) -> Credential {
    Credential::Password { user: user.to_owned(), password: password.to_owned() }
}

/// A client with one credential.
pub(crate) fn client_with(credential: Credential) -> Client {
    Client::new(options_with(credential)).unwrap()
}

/// The options of [`options`] with one credential.
pub(crate) fn options_with(credential: Credential) -> ClientOptions {
    ClientOptions { credentials: Arc::new(CredentialChain(vec![Arc::new(FixedCredential(credential))])), ..options() }
}

/// Reads to the end. Unwraps the client's error from its `io::Error`.
pub(crate) fn read(mut reader: impl Read) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    match reader.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(inner_error(error)),
    }
}

/// Returns the client's error in an `io::Error`.
pub(crate) fn inner_error(error: io::Error) -> Error {
    *error.into_inner().expect("readers return the client's errors").downcast().expect("no other type of error")
}

/// The `Range` header for the rest of a blob.
pub(crate) fn range_from(offset: u64) -> Option<String> {
    Some(format!("bytes={offset}-"))
}

/// Asserts that the result is an error whose message contains all texts. Returns the error.
#[track_caller]
pub(crate) fn assert_message<T: Debug>(result: Result<T, Error>, texts: &[&str]) -> Error {
    let error = result.unwrap_err();
    let message = error.full_message();
    for text in texts {
        assert!(message.contains(text), "{message:?} lacks {text:?}");
    }
    error
}
