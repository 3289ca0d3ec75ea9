//! Conditions on the images of a listing, with the meanings of `docker images --filter`.

mod pattern;
mod time;

use std::sync::Arc;
use std::time::SystemTime;

use vmroot_errors::with_causes;
use vmroot_model::{ImageConfig, Platform};

use self::pattern::Pattern;
use self::time::{Instant, parse_until};
use crate::catalogue::Snapshot;
use crate::lookup::find_record;
use crate::{Error, Fallback, Record, Result, Store};

/// The keys that [`ImageFilter::condition`] knows.
const KEYS: &str = "reference, dangling, platform, before, since, label, label! and until";

/// Conditions on the images of a listing. The default is met by every image, but leaves out images without a name from
/// which another one was made.
///
/// One of several references and one of several platforms suffices. All other conditions must be met.
#[derive(Debug, Clone, Default)]
pub struct ImageFilter {
    all: bool,
    references: Vec<Pattern>,
    dangling: Option<bool>,
    platforms: Vec<Platform>,
    before: Vec<String>,
    since: Vec<String>,
    until: Vec<SystemTime>,
    labels: Vec<Label>,
}

/// A condition on a label.
#[derive(Debug, Clone)]
struct Label {
    name: String,
    /// `None` for any value.
    value: Option<String>,
    /// Whether an image with the label is left out.
    negated: bool,
}

impl ImageFilter {
    /// Returns the conditions without any.
    pub fn new() -> Self {
        Self::default()
    }

    /// Also lists images without a name from which another one was made.
    #[must_use]
    pub fn all(mut self) -> Self {
        self.all = true;
        self
    }

    /// Adds a condition in the form `KEY=VALUE`.
    ///
    /// | key | value |
    /// |---|---|
    /// | `reference` | as for [`Self::reference`] |
    /// | `dangling` | `true` for images without a name, except those from which another one was made; `false` for the others |
    /// | `platform` | as for [`Self::platform`]: `OS/ARCH[/VARIANT]`, or an architecture of Linux |
    /// | `before`, `since` | a name, an id or a prefix of one: images built before or after this one |
    /// | `until` | a time such as `2026-11-29T10:00:00Z`, `2026-11-29` (UTC) or seconds since 1970, or an age such as `24h`, `90m` or `7d`: images built before |
    /// | `label` | `NAME` or `NAME=VALUE`: images with this label; `label!` or `NAME!=VALUE`: those without |
    ///
    /// # Errors
    /// [`Error::InvalidFilter`] if the key is unknown or the value is malformed.
    pub fn condition(self, condition: &str) -> Result<Self> {
        let invalid = |reason: String| Error::InvalidFilter { filter: condition.to_owned(), reason };
        let Some((key, value)) = condition.split_once('=') else {
            return Err(invalid("expected KEY=VALUE".to_owned()));
        };
        self.add_pair(key.trim().to_ascii_lowercase().as_str(), value.trim()).map_err(invalid)
    }

    fn add_pair(mut self, key: &str, value: &str) -> std::result::Result<Self, String> {
        match key {
            "reference" => self.references.push(Pattern::parse(value)?),
            "dangling" => self.dangling = Some(parse_bool(value)?),
            "platform" => self.platforms.push(parse_platform(value)?),
            "before" | "since" if value.is_empty() => return Err("expected an image".to_owned()),
            "before" => self.before.push(value.to_owned()),
            "since" => self.since.push(value.to_owned()),
            "until" => self.until.push(parse_until(value, SystemTime::now())?),
            "label" | "label!" => self.labels.push(Label::parse(value, key.ends_with('!'))?),
            _ => return Err(format!("the key is none of {KEYS}")),
        }
        Ok(self)
    }

    /// Adds a pattern of names: `NAME` for all its tags, or `NAME:TAG`.
    ///
    /// In names, `*` stands for any characters but `/`, `?` for one of them, and `[a-z]` and `[^a-z]` for one of a set.
    /// `\` takes the meaning of the next character. A pattern must match a whole name in its short form (`alpine:3.20`), or
    /// in its full one if it begins with `docker.io/`.
    ///
    /// # Errors
    /// [`Error::InvalidFilter`] if the pattern is malformed.
    pub fn reference(mut self, pattern: &str) -> Result<Self> {
        let parsed = Pattern::parse(pattern);
        self.references
            .push(parsed.map_err(|reason| Error::InvalidFilter { filter: format!("reference={pattern}"), reason })?);
        Ok(self)
    }

    /// Adds a platform. One without a variant is met by all variants.
    #[must_use]
    pub fn platform(mut self, platform: Platform) -> Self {
        self.platforms.push(platform);
        self
    }

    /// Returns whether a record meets the conditions that need no other image and no config.
    fn fits(&self, record: &Record) -> bool {
        let has_reference = || match &record.reference {
            Some(reference) => self.references.iter().any(|pattern| pattern.fits(reference)),
            None => false,
        };
        (self.references.is_empty() || has_reference())
            && (self.platforms.is_empty() || self.platforms.iter().any(|it| is_for(&record.platform, it)))
    }

    fn fits_dangling(&self, snapshot: &Snapshot, record: &Record) -> bool {
        let is_nameless = || snapshot.by_id[record.id()].iter().all(|record| record.reference.is_none());
        let is_parent = || !snapshot.children(record.id()).is_empty();
        match self.dangling {
            Some(true) => record.reference.is_none() && is_nameless() && !is_parent(),
            Some(false) => record.reference.is_some(),
            None => record.reference.is_some() || self.all || !is_parent(),
        }
    }
}

impl Label {
    fn parse(text: &str, is_negated: bool) -> std::result::Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let (name, negated) = match name.strip_suffix('!') {
            Some(name) => (name, !is_negated),
            None => (name, is_negated),
        };
        if name.is_empty() {
            return Err("expected a label: NAME or NAME=VALUE".to_owned());
        }
        Ok(Self { name: name.to_owned(), value, negated })
    }

    fn fits(&self, config: &ImageConfig) -> bool {
        let value = config.config().labels.get(&self.name);
        let is_there = match &self.value {
            Some(wanted) => value == Some(wanted),
            None => value.is_some(),
        };
        is_there != self.negated
    }
}

impl Store {
    /// Returns the records that meet the conditions, ordered by name. Those without a name are last.
    ///
    /// Configs are read only for conditions on labels. An image whose config is damaged does not meet these, and a
    /// warning names it.
    ///
    /// # Errors
    /// - [`Error::NoSuchImage`], [`Error::OtherPlatforms`] or [`Error::Ambiguous`] for the image of `before` or `since`.
    /// - [`Error::Cache`] if the records cannot be listed or read.
    /// - [`Error::Cancelled`] if the work was cancelled.
    pub fn list_images(&self, filter: &ImageFilter) -> Result<Vec<Arc<Record>>> {
        let snapshot = self.visible()?;
        let built = |names: &[String]| -> Result<Vec<Option<Instant>>> {
            names.iter().map(|name| Ok(Instant::of(find_record(&snapshot, name, None, Fallback::Only)?))).collect()
        };
        let (before, since) = (built(&filter.before)?, built(&filter.since)?);
        let until: Vec<Option<Instant>> = filter.until.iter().map(|time| Some(Instant::of_time(*time))).collect();
        let needs_time = !(before.is_empty() && since.is_empty() && until.is_empty());
        let mut fitting = Vec::new();
        for record in &snapshot.records {
            if !filter.fits(record) || !filter.fits_dangling(&snapshot, record) {
                continue;
            }
            // An image without a time counts as older than all others, as in Docker.
            let own = if needs_time { Instant::of(record) } else { None };
            if before.iter().chain(&until).any(|limit| own >= *limit) || since.iter().any(|limit| own <= *limit) {
                continue;
            }
            if filter.labels.is_empty() || self.has_labels(record, &filter.labels)? {
                fitting.push(Arc::clone(record));
            }
        }
        Ok(fitting)
    }

    fn has_labels(&self, record: &Record, labels: &[Label]) -> Result<bool> {
        self.check_cancelled()?;
        match self.config(record) {
            Ok(config) => Ok(labels.iter().all(|label| label.fits(&config))),
            Err(error @ Error::Damaged { .. }) => {
                tracing::warn!("{}", with_causes(&error));
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// Returns whether `platform` is the wanted one. A wanted platform without a variant stands for all variants.
fn is_for(platform: &Platform, wanted: &Platform) -> bool {
    let (wanted, platform) = (wanted.normalised(), platform.normalised());
    let same_system = wanted.os == platform.os && wanted.architecture == platform.architecture;
    same_system && (wanted.variant.is_none() || wanted.variant == platform.variant)
}

fn parse_platform(text: &str) -> std::result::Result<Platform, String> {
    let parsed = if text.contains('/') { Platform::parse(text) } else { Platform::linux(text) };
    parsed.map_err(|error| error.to_string())
}

/// Parses a boolean as Docker's filters do.
fn parse_bool(text: &str) -> std::result::Result<bool, String> {
    match text {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}
