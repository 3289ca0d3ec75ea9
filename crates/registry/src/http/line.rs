//! A reqwest client with a runtime of its own.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::pin::pin;
use std::thread;
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::{Client, Response};
use rustls::ClientConfig;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::timeout;
use vmroot_output::{CANCEL_LATENCY, Cancel};

use super::reach::Guard;
use super::{Call, Failure, Http, Reach, failure, shown};
use crate::{Error, Result, tls};

/// How long an unused connection is kept; servers close theirs after a minute or so, and we should be first.
const KEEP_IDLE: Duration = Duration::from_secs(15);

/// A body of a redirect or an error that is read to keep its connection; a longer one is dropped with it.
const DRAIN_LIMIT: u64 = 16 * 1024;

pub(crate) struct Line {
    /// Always there, but for the moment of dropping.
    runtime: Option<Runtime>,
    /// By whether they speak TLS, and how far they may go.
    clients: HashMap<(bool, Option<Reach>), Client>,
}

impl Line {
    pub(crate) fn new() -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
        Ok(Self { runtime: Some(runtime), clients: HashMap::new() })
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) fn send(&mut self, http: &Http, call: &Call) -> Result<Response, Failure> {
        let client = self.client(http, call)?;
        let mut request = client.request(call.method.clone(), call.url.clone()).headers(call.headers.clone());
        if let Some(form) = &call.form {
            request = request.body(form.clone());
        }
        let sent = self.wait(http, http.cancel_of(call), request.send());
        failure::of(&call.url, sent)
    }

    /// The next piece of a body; `None` at its end.
    pub(crate) fn chunk(&self, http: &Http, call: &Call, response: &mut Response) -> Result<Option<bytes::Bytes>> {
        let chunk = self.wait(http, http.cancel_of(call), response.chunk());
        failure::of(&call.url, chunk).map_err(Failure::into_error)
    }

    /// Reads what is left of a body if it is short, so that its connection can be used again; true if it can.
    pub(crate) fn drain(&self, http: &Http, call: &Call, mut response: Response) -> bool {
        if response.content_length().is_none_or(|length| length > DRAIN_LIMIT) {
            return false;
        }
        loop {
            match self.chunk(http, call, &mut response) {
                Ok(Some(_)) => {}
                end => return end.is_ok(),
            }
        }
    }

    /// Lets the runtime notice which connections were closed while nobody waited.
    pub(crate) fn settle(&mut self) {
        // One turn looks at the sockets, the next ones run the tasks that wait for them.
        const TURNS: usize = 3;
        self.block_on(async {
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
        });
    }

    /// Waits for `future`, for as long as the inactivity timeout, and looks for cancellation meanwhile.
    fn wait<T: Send>(&self, http: &Http, cancel: &Cancel, future: impl Future<Output = T> + Send) -> Result<T, Wait> {
        let patience = http.options.inactivity_timeout;
        self.block_on(async {
            let mut future = pin!(future);
            let started = Instant::now();
            loop {
                if cancel.is_cancelled() {
                    return Err(Wait::Cancelled);
                }
                let left = patience.saturating_sub(started.elapsed());
                if let Ok(output) = timeout(left.min(CANCEL_LATENCY), future.as_mut()).await {
                    return Ok(output);
                }
                if started.elapsed() >= patience {
                    return Err(Wait::Stalled(patience));
                }
            }
        })
    }

    /// Runs the runtime until `future` has its output.
    ///
    /// A thread that runs a task of another runtime may not run this one: tokio panics. There, a thread is started for it.
    /// That is dear for many small pieces, but those are read by threads of a pull, which run no task.
    fn block_on<T: Send>(&self, future: impl Future<Output = T> + Send) -> T {
        let runtime = self.runtime.as_ref().expect("only dropping takes the runtime away");
        if Handle::try_current().is_err() {
            return runtime.block_on(future);
        }
        thread::scope(|scope| scope.spawn(|| runtime.block_on(future)).join())
            .unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn client(&mut self, http: &Http, call: &Call) -> Result<Client> {
        let secure = call.url.scheme() == "https";
        if let Some(client) = self.clients.get(&(secure, call.reach)) {
            return Ok(client.clone());
        }
        let config = if secure { http.tls()? } else { tls::trusting_nobody()? };
        let client = build(http, config, call.reach)?;
        self.clients.insert((secure, call.reach), client.clone());
        Ok(client)
    }
}

fn build(http: &Http, tls: ClientConfig, reach: Option<Reach>) -> Result<Client> {
    let options = &http.options;
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(&options.user_agent)
        // Digests are of the registry's own bytes, so nothing may be compressed on the way (RFC 9110, section 12.5.3).
        .default_headers(HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]))
        .connect_timeout(options.connect_timeout)
        .pool_idle_timeout(KEEP_IDLE)
        .http1_only()
        .referer(false)
        // Ours are followed in `redirect`, retries are counted in `client`.
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        // Not the environment's: the caller says which.
        .no_proxy();
    if let Some(reach) = reach {
        builder = builder.dns_resolver(Guard::new(reach, &options.proxies));
    }
    for proxy in options.proxies.to_reqwest()? {
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(|error| Error::Option { option: "user_agent", reason: failure::reason(&error) })
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A name that is still being looked up would be waited for otherwise.
            runtime.shutdown_background();
        }
    }
}

/// Why waiting ended before its time.
#[derive(Debug)]
pub(crate) enum Wait {
    Cancelled,
    Stalled(Duration),
}

impl Wait {
    pub(crate) fn into_error(self, url: &reqwest::Url) -> Error {
        match self {
            Self::Cancelled => Error::Cancelled,
            Self::Stalled(after) => Error::Stalled { url: shown(url), after },
        }
    }
}
