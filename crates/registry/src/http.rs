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
mod redirect;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Response, Url};
use rustls::ClientConfig;

pub(crate) use exchange::Exchange;
pub(crate) use failure::Failure;
use line::Line;

use crate::{ClientOptions, Error, Result, tls};

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
}

impl Call {
    /// A request without headers or body.
    pub(crate) fn new(method: reqwest::Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), form: None }
    }
}

/// All lines of a client, and what is needed to make more.
pub(crate) struct Http {
    pub(crate) options: ClientOptions,
    idle: Mutex<Vec<Line>>,
    /// Servers that answered: those may be away for a moment, others may not be there at all.
    answered: Mutex<HashSet<String>>,
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
                return Ok(Exchange::new(self, line, response, call.url, moved));
            };
            line.drain(self, response);
            if next.origin() != call.url.origin() {
                // Never to come back in this request, even if a further redirect leads home: the way was not ours.
                call.headers.remove(AUTHORIZATION);
            }
            call.url = next;
        }
        Err(Failure::Final(Error::TooManyRedirects { url: shown(&first), limit: redirect::LIMIT }))
    }

    /// Sends a request once, and remembers who answers.
    fn ask(&self, line: &mut Line, call: &Call) -> Result<Response, Failure> {
        let origin = call.url.origin().ascii_serialization();
        let answered = || self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        match line.send(self, call) {
            Ok(response) => {
                answered().insert(origin);
                Ok(response)
            }
            Err(Failure::Refused(error)) if answered().contains(&origin) => Err(Failure::Transient(error)),
            Err(failure) => Err(failure),
        }
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
