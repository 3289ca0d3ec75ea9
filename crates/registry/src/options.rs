//! Options of a client.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use vmroot_output::Cancel;

use crate::tls::TlsDetails;
use crate::{CredentialChain, Credentials, FixedHostSettings, HostSettings, Proxies, RequestObserver};

/// Options for connections to registries.
#[derive(Clone)]
pub struct ClientOptions {
    /// Whether to use plain HTTP for every registry. By default, it is used only for registries on loopback that speak
    /// it.
    pub plain_http: bool,
    /// PEM files with certificates to trust besides the system's: of authorities, or of single servers.
    pub ca_files: Vec<PathBuf>,
    /// The versions, cipher suites and key exchanges of TLS to use. The default has all that rustls considers secure.
    pub tls: TlsDetails,
    /// The proxies to use. The default is none. Loopback addresses are never reached through a proxy.
    pub proxies: Proxies,
    /// The `User-Agent` header. The default is `vmroot/VERSION`.
    pub user_agent: String,
    /// The maximum time for making a connection, TLS handshake included. The default is 20 seconds.
    pub connect_timeout: Duration,
    /// The maximum time without data from a registry while a response is outstanding. The default is 30 seconds.
    pub inactivity_timeout: Duration,
    /// The number of retries of a failed request, and of consecutive retries of a blob without progress. The default is
    /// 5.
    pub retries: u32,
    /// The number of connections for all blobs together. Each open blob has one. A large blob that arrives slowly is
    /// fetched in parts over the free ones. The default is 4.
    pub connections: usize,
    /// The size in bytes above which a blob may be fetched in parts. The default is 64 MiB.
    pub split_above: u64,
    /// The number of sent bytes of each upload that are kept in memory, so that it continues after an interruption. The
    /// default is 16 MiB.
    pub upload_window: u64,
    /// The pause before each retry, to which up to a tenth is added. `None`, the default, stands for a pause that grows
    /// from [`Self::backoff`].
    pub retry_delay: Option<Duration>,
    /// The pause before the first retry. Each further pause is twice as long. The default is 250 milliseconds.
    pub backoff: Duration,
    /// The maximum pause between retries. The default is 20 seconds.
    pub backoff_limit: Duration,
    /// The maximum `Retry-After` that is waited for. A longer one is an error at once. The default is 120 seconds.
    pub retry_after_limit: Duration,
    /// The source of passwords and tokens. The default has none: all access is anonymous.
    pub credentials: Arc<dyn Credentials>,
    /// The source of settings of single registries. By default, all registries have [`HostOptions::default`].
    ///
    /// [`HostOptions::default`]: crate::HostOptions
    pub hosts: Arc<dyn HostSettings>,
    /// Receives the events of requests: waits, retries and changes of the place. The default is none.
    pub observer: Option<Arc<dyn RequestObserver>>,
    /// Cancels every running request of the client.
    pub cancel: Cancel,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            plain_http: false,
            ca_files: Vec::new(),
            tls: TlsDetails::default(),
            proxies: Proxies::default(),
            user_agent: concat!("vmroot/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(20),
            inactivity_timeout: Duration::from_secs(30),
            retries: 5,
            connections: 4,
            split_above: 64 << 20,
            upload_window: 16 << 20,
            retry_delay: None,
            backoff: Duration::from_millis(250),
            backoff_limit: Duration::from_secs(20),
            retry_after_limit: Duration::from_secs(120),
            credentials: Arc::new(CredentialChain::default()),
            hosts: Arc::new(FixedHostSettings::default()),
            observer: None,
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
            .field("upload_window", &self.upload_window)
            .finish_non_exhaustive()
    }
}
