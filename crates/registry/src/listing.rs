//! Lists of tags and repositories (OCI distribution-spec 1.1, "Content Discovery"; Google's extension of tag lists).

mod pages;

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use vmroot_model::{Digest, MediaType, Reference};

use crate::endpoint::Registry;
use crate::http::{Access, Failure, HttpRequest};
use crate::{Client, Error, Result};
pub(crate) use pages::Pages;
use pages::ReadPage;

/// The maximum length of a list of [`Client::tags_within`], in bytes. Reading a longer one may take more time than it
/// saves.
const SHORT_LIST_LIMIT: u64 = 1 << 20;

/// The tags of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TagList {
    /// The tags, in the order of the registry, each once.
    pub tags: Vec<String>,
    /// The manifests and indexes of the repository, untagged ones included. Only Google's registries list them.
    pub instances: BTreeMap<Digest, ListedInstance>,
}

/// A manifest or index in Google's list of tags. A missing or malformed field is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListedInstance {
    /// The size of the image in bytes.
    pub size: Option<u64>,
    /// The tags.
    pub tags: Vec<String>,
    /// The time at which the image was created, by its config.
    pub created: Option<SystemTime>,
    /// The time at which it was uploaded.
    pub uploaded: Option<SystemTime>,
    /// The media type of the manifest or index.
    pub media_type: Option<MediaType>,
    /// The identifier of the layer, which old registries state.
    pub layer_id: Option<String>,
}

impl Client {
    /// Returns the tags of the reference's repository. Names that are not tags are omitted: some registries list digests.
    ///
    /// # Errors
    /// - [`Error::NotFound`](crate::Error::NotFound): the repository does not exist.
    /// - [`Error::Unauthorized`](crate::Error::Unauthorized): the credentials, or the lack of them, do not give access.
    /// - [`Error::Paging`](crate::Error::Paging), [`Error::TooLarge`](crate::Error::TooLarge): the list has too many
    ///   pages or bytes, or its pages form a loop.
    /// - Any other variant for a failure of the connection, the registry, its token server, or the credentials.
    pub fn tags(&self, reference: &Reference) -> Result<TagList> {
        let request = self.request(reference, Method::GET, "tags/list")?;
        let mut pages = Pages::new(request, "a list of tags");
        let (mut list, mut seen) = (TagList::default(), HashSet::new());
        while let Some(page) = pages.next(|request, read| self.send(reference, request, read))? {
            list.add_page(pages.parse(&page)?, reference, &mut seen, &mut pages);
        }
        Ok(list)
    }

    /// Returns the tags of the reference's repository if the registry lists them in at most `page_limit` pages and 1 MiB,
    /// and `None` if the list is longer. A repository that the registry does not know has no tags. A failure is not
    /// retried: this is for callers that save requests if they know the tags.
    ///
    /// # Errors
    /// As for [`Self::tags`].
    pub fn tags_within(&self, reference: &Reference, page_limit: usize) -> Result<Option<HashSet<String>>> {
        let request = self.request(reference, Method::GET, "tags/list")?;
        let mut pages = Pages::new(request, "a list of tags").within(SHORT_LIST_LIMIT);
        let (mut list, mut seen) = (TagList::default(), HashSet::new());
        let send = |request: &HttpRequest, read: ReadPage<'_>| {
            self.try_send(reference, request, read).map_err(Failure::into_error)
        };
        for _ in 0..page_limit {
            match pages.next(send) {
                Ok(Some(page)) => list.add_page(pages.parse(&page)?, reference, &mut seen, &mut pages),
                Err(error) if error.is_unknown_repository() => return Ok(Some(HashSet::new())),
                Err(Error::TooLarge { .. }) => return Ok(None),
                Ok(None) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(pages.is_at_end().then_some(seen))
    }

    /// Returns the repositories of the registry at `host`, such as `localhost:5000`. Many registries refuse this. Names
    /// that are not repositories are omitted.
    ///
    /// # Errors
    /// As for [`Self::tags`].
    pub fn repositories(&self, host: &str) -> Result<Vec<String>> {
        let registry = Registry::new(host);
        let request = self.registry_request(&registry, Access::Catalog, "/v2/_catalog")?;
        let mut pages = Pages::new(request, "a list of repositories");
        let (mut repositories, mut seen) = (Vec::new(), HashSet::new());
        while let Some(page) = pages.next(|request, read| self.send_to_registry(&registry, request, read))? {
            let page: RepositoryPage = pages.parse(&page)?;
            let before = repositories.len();
            for name in page.repositories.unwrap_or_default().into_iter().flatten() {
                let reference = Reference::parse(&format!("{}/{name}", registry.domain()));
                if !reference.is_ok_and(|reference| reference.tag().is_none() && reference.digest().is_none()) {
                    tracing::debug!(name, registry = registry.domain(), "ignoring a name that is not a repository");
                } else if seen.insert(name.clone()) {
                    repositories.push(name);
                }
            }
            pages.note_news(repositories.len() > before);
        }
        Ok(repositories)
    }
}

/// A page of tags. Nexus writes `null` for no tags.
#[derive(Deserialize)]
struct TagPage {
    tags: Option<Vec<Option<String>>>,
    manifest: Option<Value>,
}

impl TagList {
    /// Adds the tags and instances of a page. `seen` has the tags of the pages before.
    fn add_page(&mut self, page: TagPage, reference: &Reference, seen: &mut HashSet<String>, pages: &mut Pages) {
        let before = self.tags.len() + self.instances.len();
        for tag in page.tags.unwrap_or_default().into_iter().flatten() {
            if reference.with_tag(&tag).is_err() {
                tracing::debug!(tag, repository = reference.path(), "ignoring a name that is not a tag");
            } else if seen.insert(tag.clone()) {
                self.tags.push(tag);
            }
        }
        let entries = page.manifest.as_ref().and_then(Value::as_object).into_iter().flatten();
        self.instances.extend(
            entries.filter_map(|(digest, entry)| Some((Digest::parse(digest).ok()?, ListedInstance::from_json(entry)))),
        );
        pages.note_news(self.tags.len() + self.instances.len() > before);
    }
}

#[derive(Deserialize)]
struct RepositoryPage {
    repositories: Option<Vec<Option<String>>>,
}

impl ListedInstance {
    /// Reads the fields one by one, so that a malformed one does not affect the others.
    fn from_json(entry: &Value) -> Self {
        let text = |name: &str| entry[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let tags = entry["tag"].as_array().into_iter().flatten();
        Self {
            size: number(&entry["imageSizeBytes"]),
            tags: tags.filter_map(|tag| tag.as_str().map(str::to_owned)).collect(),
            created: time(&entry["timeCreatedMs"]),
            uploaded: time(&entry["timeUploadedMs"]),
            media_type: text("mediaType").map(MediaType::new),
            layer_id: text("layerId"),
        }
    }
}

/// Returns a number, which Google writes as a string.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// Returns a time in milliseconds since 1970. Earlier times stand for no time.
fn time(value: &Value) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(number(value)?))
}
