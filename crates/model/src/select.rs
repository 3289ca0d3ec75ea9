//! Which entry of an index is the image for a platform: the best match rather than the first.
//!
//! Entries rank by their variant: the wanted one, then older ones, then none. Among those of one variant, one without an
//! `os.version` comes before one with it, and one that makes use of more of the wanted features before one of fewer. Entries
//! with a feature or a version that is not wanted are none. An entry without a platform may be anything, so it comes last.
//! Statements about other entries are never candidates. Where two rank alike, the first wins.

use std::cmp::Reverse;
use std::fmt::Write as _;

use crate::{Descriptor, Error, Index, Platform, Result};

/// Variants of arm, newest first; each runs what was built for the later ones in the list.
const ARM_VARIANTS: [&str; 4] = ["v8", "v7", "v6", "v5"];
/// Variants of amd64, newest first; normalised, `v1` is no variant at all.
const AMD64_VARIANTS: [&str; 3] = ["v4", "v3", "v2"];
/// The rank of entries with no platform, after all others.
const UNKNOWN_RANK: Rank = (usize::MAX, usize::MAX, Reverse(0));
/// How well an entry does, the least being best: the place of its variant, that of its version, and how many of the wanted
/// features it has.
type Rank = (usize, usize, Reverse<usize>);

/// How many platforms an error lists before it stops.
const LISTED_PLATFORMS: usize = 32;

impl Index {
    /// The entries that may be or may hold the image for `wanted`, the best first.
    ///
    /// An entry that is itself an index is a candidate if it has a fitting platform or none; [`Search`] looks inside.
    pub fn candidates(&self, wanted: &Platform) -> Vec<&Descriptor> {
        let wanted = wanted.normalised();
        let ranked = self.manifests().iter().filter_map(|entry| Some((entry_rank(&wanted, entry)?, entry)));
        let mut ranked: Vec<(Rank, &Descriptor)> = ranked.collect();
        ranked.sort_by_key(|(rank, _)| *rank); // stable: the first of equals stays first
        ranked.into_iter().map(|(_, entry)| entry).collect()
    }

    /// The best entry for `wanted`, which may be another index.
    ///
    /// # Errors
    /// [`Error::ArchitectureMismatch`], with a list of what the index has, if there is none.
    pub fn select(&self, wanted: &Platform) -> Result<&Descriptor> {
        let best = self.candidates(wanted).into_iter().next();
        best.ok_or_else(|| architecture_mismatch(wanted, self.platforms()))
    }

    /// The platforms that the index has images for, normalised, in its order, each once.
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

/// A walk through an index and the indexes in it, in order of rank, that the caller drives by fetching documents.
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
    /// Candidates not looked at yet, the next one last.
    pending: Vec<Descriptor>,
    /// What was found instead.
    available: Vec<Platform>,
    looked_at: usize,
}

impl Search {
    /// The most documents that a search will ask for: an index of indexes of indexes is no reason to fetch for ever.
    pub const LIMIT: usize = 64;

    /// A search for the image for `wanted`.
    pub fn new(wanted: &Platform) -> Self {
        Self { wanted: wanted.clone(), pending: Vec::new(), available: Vec::new(), looked_at: 0 }
    }

    /// Takes in the entries of an index; they come before those of the index around it.
    pub fn enter(&mut self, index: &Index) {
        self.pending.extend(index.candidates(&self.wanted).into_iter().rev().cloned());
        for platform in index.platforms() {
            push_new(&mut self.available, platform);
        }
    }

    /// Notes that a candidate turned out to be an image for another platform, for the error to come.
    pub fn reject(&mut self, platform: &Platform) {
        push_new(&mut self.available, platform.normalised());
    }

    /// The descriptor of the document to look at next.
    ///
    /// # Errors
    /// [`Error::ArchitectureMismatch`] when there are no more, with a list of everything that was found;
    /// [`Error::SearchTooLong`] after [`Self::LIMIT`] documents.
    pub fn next_candidate(&mut self) -> Result<Descriptor> {
        if self.pending.is_empty() {
            return Err(architecture_mismatch(&self.wanted, std::mem::take(&mut self.available)));
        }
        if self.looked_at == Self::LIMIT {
            return Err(Error::SearchTooLong { limit: Self::LIMIT });
        }
        self.looked_at += 1;
        Ok(self.pending.pop().expect("not empty, as checked above"))
    }
}

/// The entry's place among the candidates, lowest first; `None` if it is none. `wanted` is normalised.
fn entry_rank(wanted: &Platform, entry: &Descriptor) -> Option<Rank> {
    if entry.is_attestation() {
        return None;
    }
    match known_platform(entry) {
        Some(platform) => rank(wanted, &platform.normalised()),
        // Signatures and the like have no platform either, but say what they are.
        None => entry.artifact_type.as_ref().is_none_or(|it| it.is_empty() || it.is_config()).then_some(UNKNOWN_RANK),
    }
}

/// The entry's platform, unless it says nothing.
fn known_platform(entry: &Descriptor) -> Option<&Platform> {
    entry.platform.as_ref().filter(|it| !it.architecture.is_empty())
}

/// How well `offered` does for `wanted`; `None` if it does not. Both are normalised.
fn rank(wanted: &Platform, offered: &Platform) -> Option<Rank> {
    let same_os = wanted.os == offered.os || offered.os.is_empty();
    if !same_os || wanted.architecture != offered.architecture {
        return None;
    }
    let variant = offered.variant.as_deref().unwrap_or_default();
    let place = wanted_variants(wanted).iter().position(|it| *it == variant)?;
    let features: Vec<&String> = offered.os_features.iter().filter(|it| !it.is_empty()).collect();
    // Most Windows images name one, `win32k`, and what is in their layers does not depend on it.
    let any_features = wanted.os == "windows" && wanted.os_features.is_empty();
    if !any_features && !features.iter().all(|it| wanted.os_features.contains(it)) {
        return None;
    }
    Some((place, version_rank(wanted, offered)?, Reverse(features.len())))
}

/// How well the version of a system does: an image that runs on one version of it may not run on another.
fn version_rank(wanted: &Platform, offered: &Platform) -> Option<usize> {
    let wanted_version = wanted.os_version.as_deref().unwrap_or_default();
    let offered_version = offered.os_version.as_deref().unwrap_or_default();
    if wanted_version == offered_version {
        return Some(0);
    }
    if wanted_version.is_empty() {
        // The version that will run it is unknown. An entry for all versions is the safest; Windows has none.
        return Some(if wanted.os == "windows" { 0 } else { 1 });
    }
    if offered_version.is_empty() {
        return Some(2);
    }
    // A Windows image runs on its own build, whatever the revision, which is the fourth number.
    let build = |version: &str| version.split('.').take(3).map(str::to_owned).collect::<Vec<_>>();
    (wanted.os == "windows" && build(wanted_version) == build(offered_version)).then_some(1)
}

/// The variants that do for a platform, the best first, the empty text standing for none.
fn wanted_variants(wanted: &Platform) -> Vec<&str> {
    let order: &[&str] = match wanted.architecture.as_str() {
        "arm" => &ARM_VARIANTS,
        "amd64" => &AMD64_VARIANTS,
        _ => &[],
    };
    match wanted.variant.as_deref() {
        // Plain `arm` names no machine; the best there is will do. Plain `amd64` is v1 and `arm64` v8.
        None if wanted.architecture == "arm" => [&[""], order].concat(),
        None => vec![""],
        Some(variant) => match order.iter().position(|it| *it == variant) {
            Some(position) => [&order[position..], &[""]].concat(),
            None => vec![variant, ""],
        },
    }
}

/// Checks an image that is for one platform only, by what its config says.
///
/// Configs are careless about variants: one is held against the image only if it is newer than the wanted one.
///
/// # Errors
/// [`Error::ArchitectureMismatch`].
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

/// A platform with its features, without which an error would say that the image is for what was asked for.
fn described(platform: &Platform, without_os: bool) -> String {
    let mut name = if without_os { platform.architecture_and_variant() } else { platform.to_string() };
    if let Some(version) = platform.os_version.as_ref().filter(|it| !it.is_empty()) {
        let _ = write!(name, " (os.version {version})");
    }
    if !platform.os_features.is_empty() {
        let _ = write!(name, " (os.features {})", platform.os_features.join(", "));
    }
    name
}

/// The error for an image that has `available` but not `wanted`.
fn architecture_mismatch(wanted: &Platform, available: Vec<Platform>) -> Error {
    let wanted = wanted.normalised();
    let is_linux = |it: &Platform| it.os == "linux" || it.os.is_empty();
    let all_linux = is_linux(&wanted) && available.iter().all(is_linux);
    let name = |it: &Platform| described(it, all_linux);
    let mut actual = available.iter().take(LISTED_PLATFORMS).map(name).collect::<Vec<_>>().join(", ");
    if available.is_empty() {
        actual.push_str("no known platform");
    } else if available.len() > LISTED_PLATFORMS {
        // Writing to a String cannot fail.
        let _ = write!(actual, " and {} more", available.len() - LISTED_PLATFORMS);
    }
    Error::ArchitectureMismatch { expected: name(&wanted), actual, available }
}
