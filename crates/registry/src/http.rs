//! HTTP requests: one at a time on each line, redirects followed with care, everything cancellable.
//!
//! A [`Line`] is a reqwest client on a private single-threaded runtime that only runs while somebody waits for it. So
//! the bytes of a body are read from the socket, deciphered and consumed by one thread, and bodies that are read in
//! parallel do not share a thread. Measured on loopback, that costs half the processor time of `reqwest::blocking`,
//! which hands every piece from its own thread to ours. HTTP/1.1 only: blobs get a connection each, with windows of
//! their own.

mod exchange;
mod failure;
mod line;
mod reach;
mod redirect;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Response, Url};
use rustls::ClientConfig;

pub(crate) use exchange::Exchange;
pub(crate) use failure::Failure;
use line::Line;
pub(crate) use reach::Reach;

use crate::{ClientOptions, Error, Result, endpoint, tls};
use vmroot_output::Cancel;

/// How many unused lines are kept for their open connections.
const IDLE_LIMIT: usize = 8;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: reqwest::Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    /// The body of a POST, a form.
    pub(crate) form: Option<String>,
    /// How far it may go, redirects included, if a stranger chose where to.
    pub(crate) reach: Option<Reach>,
    /// The flag that ends it; the client's own flag if there is none here.
    pub(crate) cancel: Option<Cancel>,
}

impl Call {
    /// A request without headers or body.
    pub(crate) fn new(method: reqwest::Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), form: None, reach: None, cancel: None }
    }
}

/// All lines of a client, and what is needed to make more.
pub(crate) struct Http {
    pub(crate) options: ClientOptions,
    idle: Mutex<Vec<Line>>,
    /// Servers that answered, and from which address: those may be away for a moment, others may not be there at all.
    answered: Mutex<HashMap<String, Option<IpAddr>>>,
    /// Loaded at the first use: reading the system's certificates takes time, and plain HTTP needs none.
    tls: OnceLock<ClientConfig>,
}

impl Http {
    /// Checks what can be checked without using the network.
    pub(crate) fn new(options: ClientOptions) -> Result<Arc<Self>> {
        options.proxies.to_reqwest()?;
        let http = Self { options, idle: Mutex::default(), answered: Mutex::default(), tls: OnceLock::new() };
        if !http.options.ca_files.is_empty() {
            http.tls()?;
        }
        Ok(Arc::new(http))
    }

    /// Sends a request, follows redirects, and gives the first answer that is none.
    ///
    /// What the status means is the caller's to say.
    pub(crate) fn send(self: &Arc<Self>, call: &Call) -> Result<Exchange, Failure> {
        let mut line = self.line()?;
        let mut call = call.clone();
        let first = call.url.clone();
        for _ in 0..=redirect::LIMIT {
            let response = self.ask(&mut line, &call)?;
            let Some(next) = redirect::target(&call, &response)? else {
                let moved = call.url.origin() != first.origin();
                return Ok(Exchange::new(self, line, response, call, moved));
            };
            line.drain(self, &call, response);
            if next.origin() != call.url.origin() {
                // Never to come back in this request, even if a further redirect leads home: the way was not ours.
                call.headers.remove(AUTHORIZATION);
            }
            call.url = next;
            if call.reach.is_some() {
                // Would be sent as credentials; a stranger's server is not ours to log in at.
                let _ = (call.url.set_username(""), call.url.set_password(None));
            }
        }
        Err(Failure::Final(Error::TooManyRedirects { url: shown(&first), limit: redirect::LIMIT }))
    }

    /// Sends a request once, and remembers who answers.
    fn ask(&self, line: &mut Line, call: &Call) -> Result<Response, Failure> {
        if let Some(reach) = call.reach {
            reach.check(&call.url)?;
        }
        let origin = call.url.origin().ascii_serialization();
        match line.send(self, call) {
            Ok(response) => {
                self.answered().insert(origin, response.remote_addr().map(|address| address.ip()));
                Ok(response)
            }
            Err(Failure::Refused(error)) if self.answered().contains_key(&origin) => Err(Failure::Transient(error)),
            Err(failure) => Err(failure),
        }
    }

    /// How far away the server at `url` is, going by the address that answered: its name servers may be lying.
    pub(crate) fn reach_of(&self, url: &Url) -> Reach {
        let origin = url.origin().ascii_serialization();
        match self.answered().get(&origin) {
            // The address may be the proxy's. Loopback is never reached through one.
            _ if self.options.proxies.is_some() && !endpoint::is_loopback(url) => Reach::Public,
            Some(Some(address)) => Reach::of(*address),
            _ => Reach::Public,
        }
    }

    /// The flag that ends a request.
    pub(crate) fn cancel_of<'a>(&'a self, call: &'a Call) -> &'a Cancel {
        call.cancel.as_ref().unwrap_or(&self.options.cancel)
    }

    fn answered(&self) -> MutexGuard<'_, HashMap<String, Option<IpAddr>>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self) -> Result<Line> {
        self.options.cancel.check()?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(mut line) => {
                line.settle();
                Ok(line)
            }
            None => Line::new(),
        }
    }

    fn give_back(&self, line: Line) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_LIMIT {
            idle.push(line);
        }
    }

    fn tls(&self) -> Result<ClientConfig> {
        if let Some(config) = self.tls.get() {
            return Ok(config.clone());
        }
        let config = tls::config(&self.options.ca_files)?;
        // Two threads may both have made one; they are equal.
        Ok(self.tls.get_or_init(|| config).clone())
    }
}

/// A URL for messages: without query and user, which may be secrets.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // These fail for URLs without a host, which have no user either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}
