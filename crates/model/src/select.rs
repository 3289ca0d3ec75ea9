//! Selecting the entry of an index for a platform: the best match, not the first.
//!
//! Entries rank by their variant: the wanted one, then older ones, then none. Among entries of one variant, those
//! without an `os.version` rank before those with one, and then those with more of the wanted features before those
//! with fewer. Entries with a feature or a version that is not wanted do not match. An entry without a platform may be
//! for any platform, so it ranks last. Attestations never match. Of entries of equal rank, the first is selected.

use std::cmp::Reverse;
use std::fmt::Write as _;

use crate::{Descriptor, Error, Index, Platform, Result};

/// The variants of arm, newest first. Each also runs images for the variants after it.
const ARM_VARIANTS: [&str; 4] = ["v8", "v7", "v6", "v5"];
/// The variants of amd64, newest first. `v1` is missing, since normalising removes it.
const AMD64_VARIANTS: [&str; 3] = ["v4", "v3", "v2"];
/// The rank of entries without a platform, after all others.
pub(crate) const UNKNOWN_RANK: Rank = (usize::MAX, usize::MAX, Reverse(0));
/// The rank of an entry, the lowest being the best: the rank of its variant, the rank of its version, and the number of
/// wanted features that it has.
pub(crate) type Rank = (usize, usize, Reverse<usize>);

/// The largest number of platforms in an error message.
const LISTED_PLATFORMS: usize = 32;

impl Index {
    /// Returns the entries that may be or may contain the image for `wanted`, the best first.
    ///
    /// A nested index is a candidate if its platform matches or is missing. [`Search`] searches nested indexes.
    pub fn candidates(&self, wanted: &Platform) -> Vec<&Descriptor> {
        let wanted = wanted.normalised();
        let ranked = self.manifests().iter().filter_map(|entry| Some((entry_rank(&wanted, entry)?, entry)));
        let mut ranked: Vec<(Rank, &Descriptor)> = ranked.collect();
        ranked.sort_by_key(|(rank, _)| *rank); // stable, so the first of equal entries remains first
        ranked.into_iter().map(|(_, entry)| entry).collect()
    }

    /// Returns the best entry for `wanted`, which may be a nested index.
    ///
    /// # Errors
    /// [`Error::ArchitectureMismatch`], with the platforms of the index, if no entry matches.
    pub fn select(&self, wanted: &Platform) -> Result<&Descriptor> {
        let best = self.candidates(wanted).into_iter().next();
        best.ok_or_else(|| architecture_mismatch(wanted, self.platforms()))
    }

    /// Returns the platforms of the index's images, normalised, in the order of the index, without duplicates.
    pub fn platforms(&self) -> Vec<Platform> {
        let mut platforms = Vec::new();
        for entry in self.manifests().iter().filter(|it| !it.is_attestation()) {
            if let Some(platform) = known_platform(entry) {
                push_new(&mut platforms, platform.normalised());
            }
        }
        platforms
    }
}

/// A search for the image of a platform in an index and its nested indexes, in order of rank.
///
/// The caller fetches the documents:
///
/// ```
/// # use vmroot_model::{Descriptor, Document, Error, ImageConfig, Manifest, Platform, Search};
/// # fn fetch(_: &Descriptor) -> Result<Document, Error> { unimplemented!() }
/// # fn fetch_config(_: &Manifest) -> Result<ImageConfig, Error> { unimplemented!() }
/// fn find(top: Document, wanted: &Platform) -> Result<(Manifest, ImageConfig), Error> {
///     let mut search = Search::new(wanted);
///     let mut document = top;
///     loop {
///         match document {
///             Document::Index(index) => search.enter(&index),
///             Document::Manifest(manifest) => {
///                 let config = fetch_config(&manifest)?;
///                 if config.check_platform(wanted).is_ok() {
///                     return Ok((manifest, config));
///                 }
///                 search.reject(config.platform());
///             }
///         }
///         document = fetch(&search.next_candidate()?)?;
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Search {
    wanted: Platform,
    /// The remaining candidates, the next one last.
    pending: Vec<Descriptor>,
    /// The platforms found so far, for the error.
    available: Vec<Platform>,
    /// The number of candidates returned so far.
    requested: usize,
}

impl Search {
    /// The largest number of candidates of a search. It ends the search in endlessly nested indexes.
    pub const LIMIT: usize = 64;

    /// Creates a search for the image for `wanted`.
    pub fn new(wanted: &Platform) -> Self {
        Self { wanted: wanted.clone(), pending: Vec::new(), available: Vec::new(), requested: 0 }
    }

    /// Adds the entries of an index. They come before the remaining entries of the enclosing index.
    pub fn enter(&mut self, index: &Index) {
        self.pending.extend(index.candidates(&self.wanted).into_iter().rev().cloned());
        for platform in index.platforms() {
            push_new(&mut self.available, platform);
        }
    }

    /// Adds the platform of a candidate that is not for the wanted platform to the list of a later error.
    pub fn reject(&mut self, platform: &Platform) {
        push_new(&mut self.available, platform.normalised());
    }

    /// Returns the descriptor of the next document to fetch.
    ///
    /// # Errors
    /// - [`Error::ArchitectureMismatch`], with all platforms found, when no candidates remain.
    /// - [`Error::SearchTooLong`] after [`Self::LIMIT`] documents.
    pub fn next_candidate(&mut self) -> Result<Descriptor> {
        if self.pending.is_empty() {
            return Err(architecture_mismatch(&self.wanted, std::mem::take(&mut self.available)));
        }
        if self.requested == Self::LIMIT {
            return Err(Error::SearchTooLong { limit: Self::LIMIT });
        }
        self.requested += 1;
        Ok(self.pending.pop().expect("not empty, as checked above"))
    }
}

/// Returns the rank of an entry, or `None` if it is not a candidate. `wanted` must be normalised.
pub(crate) fn entry_rank(wanted: &Platform, entry: &Descriptor) -> Option<Rank> {
    if entry.is_attestation() {
        return None;
    }
    match known_platform(entry) {
        Some(platform) => rank(wanted, &platform.normalised()),
        // Signatures and similar artifacts have no platform either, but have an artifact type.
        None => entry.artifact_type.as_ref().is_none_or(|it| it.is_empty() || it.is_config()).then_some(UNKNOWN_RANK),
    }
}

/// Returns the platform of an entry, unless it has no architecture.
fn known_platform(entry: &Descriptor) -> Option<&Platform> {
    entry.platform.as_ref().filter(|it| !it.architecture.is_empty())
}

/// Returns the rank of an image for `offered` on `wanted`, or `None` if it does not match. Both must be normalised.
pub(crate) fn rank(wanted: &Platform, offered: &Platform) -> Option<Rank> {
    let same_os = wanted.os == offered.os || offered.os.is_empty();
    if !same_os || wanted.architecture != offered.architecture {
        return None;
    }
    let variant = offered.variant.as_deref().unwrap_or_default();
    let variant_rank = wanted_variants(wanted).iter().position(|it| *it == variant)?;
    let features: Vec<&String> = offered.os_features.iter().filter(|it| !it.is_empty()).collect();
    // Most Windows images have the feature `win32k`, which does not affect their layers.
    let any_features = wanted.os == "windows" && wanted.os_features.is_empty();
    if !any_features && !features.iter().all(|it| wanted.os_features.contains(it)) {
        return None;
    }
    Some((variant_rank, version_rank(wanted, offered)?, Reverse(features.len())))
}

/// Returns the rank of the operating system's version, or `None` if an image for it may not run on the wanted version.
pub(crate) fn version_rank(wanted: &Platform, offered: &Platform) -> Option<usize> {
    let wanted_version = wanted.os_version.as_deref().unwrap_or_default();
    let offered_version = offered.os_version.as_deref().unwrap_or_default();
    if wanted_version == offered_version {
        return Some(0);
    }
    if wanted_version.is_empty() {
        // The version that will run the image is unknown, so an entry for any version ranks first. Windows images
        // always have a version.
        return Some(if wanted.os == "windows" { 0 } else { 1 });
    }
    if offered_version.is_empty() {
        return Some(2);
    }
    // A Windows image runs on all revisions (the fourth number) of its build.
    let build = |version: &str| version.split('.').take(3).map(str::to_owned).collect::<Vec<_>>();
    (wanted.os == "windows" && build(wanted_version) == build(offered_version)).then_some(1)
}

/// Returns the variants that run on a platform, the best first. An empty text stands for no variant.
fn wanted_variants(wanted: &Platform) -> Vec<&str> {
    let order: &[&str] = match wanted.architecture.as_str() {
        "arm" => &ARM_VARIANTS,
        "amd64" => &AMD64_VARIANTS,
        _ => &[],
    };
    match wanted.variant.as_deref() {
        // Plain `arm` may be any variant, so all match. Plain `amd64` is v1, and plain `arm64` is v8.
        None if wanted.architecture == "arm" => [&[""], order].concat(),
        None => vec![""],
        Some(variant) => match order.iter().position(|it| *it == variant) {
            Some(position) => [&order[position..], &[""]].concat(),
            None => vec![variant, ""],
        },
    }
}

/// Checks that an image runs on `wanted`. `image` is the platform of its config.
///
/// The variant in a config is unreliable. It only counts if it is newer than the wanted one.
///
/// # Errors
/// [`Error::ArchitectureMismatch`] if the image does not run on `wanted`.
pub(crate) fn check_platform(wanted: &Platform, image: &Platform) -> Result<()> {
    let (wanted, image) = (wanted.normalised(), image.normalised());
    let any_variant = wanted.variant.is_none() || image.variant.is_none();
    let offered =
        Platform { variant: if any_variant { wanted.variant.clone() } else { image.variant.clone() }, ..image };
    if offered.architecture.is_empty() || rank(&wanted, &offered).is_some() {
        return Ok(());
    }
    Err(architecture_mismatch(&wanted, vec![Platform { variant: image.variant, ..offered }]))
}

fn push_new(platforms: &mut Vec<Platform>, platform: Platform) {
    if !platforms.contains(&platform) {
        platforms.push(platform);
    }
}

/// Formats a platform for an error, with the version and features that may be the reason of the mismatch.
fn describe(platform: &Platform, without_os: bool) -> String {
    let mut name = if without_os { platform.architecture_and_variant() } else { platform.to_string() };
    if let Some(version) = platform.os_version.as_ref().filter(|it| !it.is_empty()) {
        let _ = write!(name, " (os.version {version})");
    }
    if !platform.os_features.is_empty() {
        let _ = write!(name, " (os.features {})", platform.os_features.join(", "));
    }
    name
}

/// Returns the error for an image that is available for other platforms than `wanted`.
pub(crate) fn architecture_mismatch(wanted: &Platform, available: Vec<Platform>) -> Error {
    let wanted = wanted.normalised();
    let is_linux = |it: &Platform| it.os == "linux" || it.os.is_empty();
    let all_linux = is_linux(&wanted) && available.iter().all(is_linux);
    let name = |it: &Platform| describe(it, all_linux);
    let mut actual = available.iter().take(LISTED_PLATFORMS).map(name).collect::<Vec<_>>().join(", ");
    if available.is_empty() {
        actual.push_str("no known platform");
    } else if available.len() > LISTED_PLATFORMS {
        // Writing to a String cannot fail.
        let _ = write!(actual, " and {} more", available.len() - LISTED_PLATFORMS);
    }
    Error::ArchitectureMismatch { expected: name(&wanted), actual, available }
}
