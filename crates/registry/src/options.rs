//! What a client is told when it is made.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use vmroot_output::Cancel;

use crate::{Chain, Credentials, Proxies};

/// How to reach registries.
#[derive(Clone)]
pub struct ClientOptions {
    /// Speak plain HTTP to every registry, not to those on loopback only.
    pub plain_http: bool,
    /// Files with certificates (PEM) of authorities to trust besides the system's.
    pub ca_files: Vec<PathBuf>,
    /// The proxies to use; none by default, and never for loopback.
    pub proxies: Proxies,
    /// The `User-Agent`.
    pub user_agent: String,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// How long a registry may send nothing while it owes us something.
    pub inactivity_timeout: Duration,
    /// How often a failed request is repeated, and how often in a row a broken blob is taken up again.
    pub retries: u32,
    /// How many connections blobs have at once. Each blob that is read has one; a large one that comes slowly is fetched
    /// in parts over those that are free.
    pub connections: usize,
    /// How long a blob is at least that is fetched in parts, in bytes.
    pub split_above: u64,
    /// The pause before the first retry; each further one is twice as long.
    pub backoff: Duration,
    /// The longest pause that the doubling leads to.
    pub backoff_limit: Duration,
    /// The longest wait that a registry may ask for with `Retry-After`; more is an error at once.
    pub retry_after_limit: Duration,
    /// Where users, passwords and tokens come from.
    pub credentials: Arc<dyn Credentials>,
    /// Ends everything that goes on.
    pub cancel: Cancel,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            plain_http: false,
            ca_files: Vec::new(),
            proxies: Proxies::default(),
            user_agent: concat!("vmroot/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(20),
            inactivity_timeout: Duration::from_secs(30),
            retries: 5,
            connections: 4,
            split_above: 64 << 20,
            backoff: Duration::from_millis(250),
            backoff_limit: Duration::from_secs(20),
            retry_after_limit: Duration::from_secs(120),
            credentials: Arc::new(Chain::default()),
            cancel: Cancel::new(),
        }
    }
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("plain_http", &self.plain_http)
            .field("ca_files", &self.ca_files)
            .field("connect_timeout", &self.connect_timeout)
            .field("inactivity_timeout", &self.inactivity_timeout)
            .field("retries", &self.retries)
            .field("connections", &self.connections)
            .field("split_above", &self.split_above)
            .finish_non_exhaustive()
    }
}
