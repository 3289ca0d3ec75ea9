//! Choosing the instance of a list that a copy takes for one platform.
//!
//! Copies choose as `skopeo copy` does, so that both copy the same image. Pulls choose by [`Search`](crate::Search)
//! instead: they know that the image has to run.

use crate::convert::{IndexFormat, is_marked};
use crate::select::{self, architecture_mismatch};
use crate::{Descriptor, Index, Platform, Result};

/// The variants of an architecture, newest first. Each also runs images for the variants after it.
const KNOWN_VARIANTS: [(&str, &[&str]); 2] = [("arm", &["v8", "v7", "v6", "v5"]), ("arm64", &["v8"])];

/// The rank of an entry, the lowest being the best: its class, its rank within the class, and whether its compression
/// is the less wanted one.
type Rank = (Class, select::Rank, bool);

/// The ways in which an entry matches, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// The platform is the wanted one, in the same spelling.
    Exact,
    /// The entry of an OCI index has no platform, so it may be for any.
    Unstated,
    /// The platform is the wanted one in another spelling, such as `x86_64`, or an older variant.
    Normalised,
    /// The platform is empty, or the entry of a manifest list has none.
    Empty,
    /// The entry of an OCI index is an artifact without a platform.
    Artifact,
}

impl Index {
    /// Returns the entry that a copy for `wanted` takes. It may be a nested index.
    ///
    /// - An entry with the operating system, the architecture and the variant of `wanted` is best. For a variant of arm
    ///   or arm64, older variants follow, and then entries without a variant. If `wanted` has no variant, entries
    ///   without one come first, and then all known variants, the newest first.
    /// - Entries of an OCI index without a platform follow. Attestations are no candidates.
    /// - Entries that match only by another name of the same platform come last, and then those with an empty platform.
    ///   skopeo takes neither. Artifacts without a platform are after all images.
    /// - Of equal entries, one with zstd is best, or without it if `prefer_gzip`. Then the first is best.
    ///
    /// As in skopeo, versions and features of operating systems do not count, unless `wanted` has a version.
    /// [`Platform::parse`] removes the variant `v8` of arm64. To prefer entries with it, set
    /// [`variant`](Platform::variant).
    ///
    /// # Errors [`Error::ArchitectureMismatch`](crate::Error::ArchitectureMismatch), with the platforms of the index,
    /// if no entry matches.
    pub fn choose_instance(&self, wanted: &Platform, prefer_gzip: bool) -> Result<&Descriptor> {
        let ranked = self.manifests().iter().filter_map(|entry| Some((rank(self, wanted, entry, prefer_gzip)?, entry)));
        // Of equal ranks, the first is the minimum.
        let best = ranked.min_by_key(|(rank, _)| *rank);
        best.map(|(_, entry)| entry).ok_or_else(|| architecture_mismatch(wanted, self.platforms()))
    }

    /// Returns the positions of all entries with the operating system and the architecture of `wanted`, and with its
    /// variant and its version if it has them. Used to copy some platforms of a list.
    ///
    /// The platforms are compared as [normalised](Platform::normalised).
    pub fn instances_for(&self, wanted: &Platform) -> Vec<usize> {
        let wanted = wanted.normalised();
        let is_wanted = |entry: &Descriptor| {
            let platform = entry.platform.as_ref().map(Platform::normalised);
            platform.is_some_and(|it| {
                it.os == wanted.os
                    && it.architecture == wanted.architecture
                    && (wanted.variant.is_none() || it.variant == wanted.variant)
                    && wanted_version_rank(&wanted, &it).is_some()
            })
        };
        let positions = self.manifests().iter().enumerate().filter(|(_, entry)| is_wanted(entry));
        positions.map(|(position, _)| position).collect()
    }
}

fn rank(index: &Index, wanted: &Platform, entry: &Descriptor, prefer_gzip: bool) -> Option<Rank> {
    let less_wanted = is_marked(entry) == prefer_gzip;
    let Some(platform) = entry.platform.as_ref().filter(|it| !it.architecture.is_empty()) else {
        let is_unstated = entry.platform.is_none() && index.format() == IndexFormat::Oci;
        let class = if is_unstated { Class::Unstated } else { Class::Empty };
        return match select::entry_rank(&wanted.normalised(), entry) {
            Some(rank) => Some((class, rank, less_wanted)),
            None if is_unstated && !entry.is_attestation() => {
                Some((Class::Artifact, select::UNKNOWN_RANK, less_wanted))
            }
            None => None,
        };
    };
    let (class, rank) = match exact_rank(wanted, platform) {
        Some(rank) => (Class::Exact, rank),
        None => (Class::Normalised, normalised_rank(wanted, platform)?),
    };
    Some((class, rank, less_wanted))
}

/// Returns the rank of an image for `offered` by the rules of skopeo.
fn exact_rank(wanted: &Platform, offered: &Platform) -> Option<select::Rank> {
    if wanted.os != offered.os || wanted.architecture != offered.architecture {
        return None;
    }
    let offered_variant = offered.variant.as_deref().unwrap_or_default();
    let variant = variants(wanted).iter().position(|it| *it == offered_variant)?;
    Some((variant, wanted_version_rank(wanted, offered)?, std::cmp::Reverse(0)))
}

/// Returns the rank by the rules of pulls, without regard to features.
fn normalised_rank(wanted: &Platform, offered: &Platform) -> Option<select::Rank> {
    let version = wanted_version_rank(wanted, offered)?;
    let without_version = |it: &Platform| Platform { os_version: None, os_features: Vec::new(), ..it.normalised() };
    let (variant, _, features) = select::rank(&without_version(wanted), &without_version(offered))?;
    Some((variant, version, features))
}

/// Returns the rank of the version, or 0 if `wanted` has none.
fn wanted_version_rank(wanted: &Platform, offered: &Platform) -> Option<usize> {
    if wanted.os_version.as_deref().unwrap_or_default().is_empty() {
        Some(0)
    } else {
        select::version_rank(wanted, offered)
    }
}

/// Returns the variants that skopeo accepts for a platform, the best first. An empty text stands for no variant.
fn variants(wanted: &Platform) -> Vec<&str> {
    let known = KNOWN_VARIANTS.iter().find(|(name, _)| *name == wanted.architecture);
    let known = known.map_or(&[][..], |(_, variants)| variants);
    match wanted.variant.as_deref().unwrap_or_default() {
        "" => [&[""], known].concat(),
        variant => match known.iter().position(|it| *it == variant) {
            Some(position) => [&known[position..], &[""]].concat(),
            None => vec![variant, ""],
        },
    }
}
