//! Lists in several pages.

use std::collections::HashSet;

use reqwest::Url;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::http::{HttpRequest, HttpResponse, location, redacted};
use crate::{Error, Result, link};

/// The maximum number of pages of a list.
const PAGE_LIMIT: usize = 10_000;

/// The maximum number of pages in a row without a new entry. Registries that filter their lists send empty pages.
const STALE_PAGE_LIMIT: usize = 100;

/// The maximum length of all pages of a list together, in bytes.
const LIST_LIMIT: u64 = 64 << 20;

/// The pages of a list: each one names the next, in a `Link` header or, at Google's registries, in a field.
pub(crate) struct Pages {
    /// The request for the next page, or `None` at the end.
    next: Option<HttpRequest>,
    /// The URL of the first page, for messages.
    url: String,
    /// The expected document, for messages.
    expected: &'static str,
    seen: HashSet<Url>,
    /// The maximum length of all pages together, in bytes.
    limit: u64,
    /// The number of bytes of the pages so far.
    length: u64,
    /// The number of the last pages without a new entry.
    stale: usize,
}

/// A page with its headers that matter.
pub(crate) struct Page {
    pub(crate) bytes: Vec<u8>,
    /// The URL of the page, for links that are relative to it.
    url: Url,
    link: Option<String>,
    /// The `Content-Type`.
    pub(crate) media_type: Option<String>,
}

/// Reads a response.
pub(crate) type ReadPage<'a> = &'a dyn Fn(HttpResponse) -> Result<Page>;

impl Pages {
    /// Returns the pages from the one of `request` on.
    pub(crate) fn new(request: HttpRequest, expected: &'static str) -> Self {
        let url = redacted(&request.url);
        Self { next: Some(request), url, expected, seen: HashSet::new(), limit: LIST_LIMIT, length: 0, stale: 0 }
    }

    /// Returns the pages with another limit on their length together, in bytes.
    pub(crate) fn within(self, limit: u64) -> Self {
        Self { limit, ..self }
    }

    /// Returns whether the last page was read.
    pub(crate) fn is_at_end(&self) -> bool {
        self.next.is_none()
    }

    /// Requests the next page with `send`. Returns `None` after the last one.
    pub(crate) fn next(&mut self, send: impl Fn(&HttpRequest, ReadPage<'_>) -> Result<Page>) -> Result<Option<Page>> {
        let Some(request) = self.next.take() else { return Ok(None) };
        let failed = |reason: String| Error::Paging { url: self.url.clone(), reason };
        if !self.seen.insert(request.url.clone()) {
            return Err(failed("a page that was read already follows".to_owned()));
        }
        if self.seen.len() > PAGE_LIMIT {
            return Err(failed(format!("it has more than {PAGE_LIMIT} pages (PAGE_LIMIT)")));
        }
        if self.stale >= STALE_PAGE_LIMIT {
            return Err(failed(format!("{STALE_PAGE_LIMIT} pages in a row have nothing new (STALE_PAGE_LIMIT)")));
        }
        let left = self.limit - self.length;
        let page = send(&request, &|response| Page::read(response, left))?;
        self.length += page.bytes.len() as u64;
        if let Some(target) = page.next() {
            let base = request.base.clone().unwrap_or_else(|| request.url.clone());
            let url = location::resolve(&base, &page.url, &target)?;
            self.next = Some(HttpRequest { url, ..request });
        }
        Ok(Some(page))
    }

    /// Notes whether the last page had an entry that no page before had.
    pub(crate) fn note_news(&mut self, has_news: bool) {
        self.stale = if has_news { 0 } else { self.stale + 1 };
    }

    /// Parses a page.
    pub(crate) fn parse<T: DeserializeOwned>(&self, page: &Page) -> Result<T> {
        serde_json::from_slice(&page.bytes).map_err(|error| Error::Malformed {
            url: redacted(&page.url),
            expected: self.expected,
            reason: error.to_string(),
        })
    }
}

impl Page {
    fn read(response: HttpResponse, limit: u64) -> Result<Self> {
        let url = response.url().clone();
        let link = link::next(response.headers());
        let media_type = response.header(CONTENT_TYPE).map(str::to_owned);
        Ok(Self { bytes: response.read_all(limit)?, url, link, media_type })
    }

    /// Returns the URL of the page, for messages.
    pub(crate) fn redacted_url(&self) -> String {
        redacted(&self.url)
    }

    /// Returns the URL of the next page.
    fn next(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Next {
            next: Option<String>,
        }
        let field = || serde_json::from_slice::<Next>(&self.bytes).ok()?.next.filter(|next| !next.is_empty());
        self.link.clone().or_else(field)
    }
}
