//! Selection of the one image for a platform from the images of a source.

use std::sync::Arc;

use vmroot_model::{CONFIG_LIMIT, Descriptor, Document, DocumentKind, ImageConfig, Index, Manifest, Platform, Search};
use vmroot_transport::ImageSource;

use crate::{Error, Result};

/// The depth of indexes in indexes up to which those on the way to an image are kept. Others are only searched.
const KEPT_DEPTH: usize = 8;

/// The image selected by [`choose`].
#[derive(Debug, Clone)]
pub struct ChosenImage {
    /// The document that the image's name resolves to: an index, or the manifest itself.
    pub top: Arc<Document>,
    /// The indexes between that index and the manifest, the upper one first.
    pub indexes: Vec<Arc<Index>>,
    /// The manifest of the image for the platform.
    pub manifest: Manifest,
    /// The image's config. Its digest is the image's id.
    pub config: ImageConfig,
    /// The requested platform, or the image's own platform if [`Fallback`] selected an image for another one.
    pub platform: Platform,
}

/// The image to select if the source has none for the requested platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fallback {
    /// No image: the selection fails.
    #[default]
    Refuse,
    /// An image that its name resolves to directly, without an index, as `docker pull` and `podman pull` do.
    Single,
    /// The only image of the source, in an index or not. Meant for archives, which seldom hold more than one.
    Only,
}

/// Selects the image for `platform` and checks its config against its manifest and the platform.
///
/// Nested indexes are searched.
///
/// # Errors
/// - [`Error::Image`] with an [`ArchitectureMismatch`](vmroot_model::Error::ArchitectureMismatch), which lists the
///   available platforms, if there is no image for `platform`.
/// - [`Error::Image`] if a document is malformed, too large, or contradicts another one.
/// - [`Error::NotAnImage`] if the name resolves to another kind of artifact.
/// - [`Error::Blob`] if a document has another size or digest than its descriptor.
/// - [`Error::Source`] or [`Error::Cancelled`] if the source cannot be read.
pub fn choose(source: &dyn ImageSource, platform: &Platform, fallback: Fallback) -> Result<ChosenImage> {
    let raw = source.manifest(None)?;
    let top = Document::parse(raw.bytes, raw.media_type.as_deref())
        .map_err(|error| Error::Image { image: source.name(), source: Box::new(error) })?;
    let (platform, chosen) = match (search(source, &top, platform), fallback, &top) {
        (Err(error), Fallback::Only, _) | (Err(error), Fallback::Single, Document::Manifest(_)) => {
            let Some(only) = only_platform(&error, platform) else { return Err(error) };
            let chosen = search(source, &top, &only).map_err(|_| error)?;
            (only, chosen)
        }
        (chosen, ..) => (platform.clone(), chosen?),
    };
    let Selected { indexes, manifest, config } = chosen;
    Ok(ChosenImage { top: Arc::new(top), indexes, manifest, config, platform })
}

/// Returns the platform of the only image that a search has found.
///
/// Images with `os.features` count only if there are no others: an index with such a variant beside the ordinary image
/// has one image.
fn only_platform(error: &Error, wanted: &Platform) -> Option<Platform> {
    let Error::Image { source, .. } = error else { return None };
    let vmroot_model::Error::ArchitectureMismatch { available, .. } = &**source else { return None };
    let ordinary: Vec<&Platform> = available.iter().filter(|platform| platform.os_features.is_empty()).collect();
    let only = match (&ordinary[..], &available[..]) {
        ([only], _) => only,
        ([], [only]) => only,
        _ => return None,
    };
    let os = if only.os.is_empty() { wanted.os.clone() } else { only.os.clone() };
    Some(Platform { os, os_features: Vec::new(), os_version: None, ..only.clone() }.normalised())
}

/// The image that a search has found.
struct Selected {
    indexes: Vec<Arc<Index>>,
    manifest: Manifest,
    config: ImageConfig,
}

fn search(source: &dyn ImageSource, top: &Document, platform: &Platform) -> Result<Selected> {
    let wrong = |error| Error::Image { image: source.name(), source: Box::new(error) };
    let mut search = Search::new(platform);
    let mut document = top.clone();
    // The platform in an index overrides the config's: configs more often claim "amd64" for other architectures than
    // indexes do.
    let mut platform_known = false;
    // The indexes above the document.
    let mut path: Vec<Arc<Index>> = Vec::new();
    loop {
        match document {
            Document::Index(index) => {
                search.enter(&index);
                if path.len() <= KEPT_DEPTH {
                    path.push(Arc::new(index));
                }
            }
            Document::Manifest(manifest) => {
                if !manifest.is_image() {
                    let what = manifest.artifact_type().unwrap_or(&manifest.config().media_type).to_string();
                    return Err(Error::NotAnImage { image: source.name(), what });
                }
                let config = fetch_config(source, manifest.config())?;
                let alone = matches!(top, Document::Manifest(_));
                let believed =
                    |error| if platform_known || alone && fits(&config, platform) { Ok(()) } else { Err(error) };
                match config.check_platform(platform).or_else(believed) {
                    Ok(()) => {
                        config.check_layers(&manifest).map_err(wrong)?;
                        let indexes = path.into_iter().skip(1).collect();
                        return Ok(Selected { indexes, manifest, config });
                    }
                    Err(error) if alone => return Err(wrong(error)),
                    Err(_) => search.reject(config.platform()),
                }
            }
        }
        let next = search.next_candidate().map_err(wrong)?;
        // The candidates of an index come before those of the enclosing one.
        let has_next = |index: &Arc<Index>| index.manifests().iter().any(|entry| entry.digest == next.digest);
        while path.last().is_some_and(|index| !has_next(index)) {
            path.pop();
        }
        let raw = source.read_manifest(&next).map_err(|error| Error::of_source(source.name(), error))?;
        document = Document::parse(raw.bytes, raw.media_type.as_deref()).map_err(wrong)?;
        platform_known = next.platform.is_some();
    }
}

/// Returns whether the image fits `platform` apart from `os.features` and `os.version`.
///
/// These do not refuse the only image there is: its layers can usually be read all the same.
fn fits(config: &ImageConfig, platform: &Platform) -> bool {
    let Platform { os_features, os_version, .. } = config.platform().clone();
    config.check_platform(&Platform { os_features, os_version, ..platform.clone() }).is_ok()
}

/// Reads a config, checks it against its descriptor, and parses it.
pub(crate) fn fetch_config(source: &dyn ImageSource, descriptor: &Descriptor) -> Result<ImageConfig> {
    let wrong = |error| Error::Image { image: source.name(), source: Box::new(error) };
    let bytes = source.read_blob(descriptor, CONFIG_LIMIT).map_err(|error| match error {
        vmroot_transport::Error::BlobTooLarge { size, limit, .. } => {
            wrong(vmroot_model::Error::DocumentTooLarge { document: DocumentKind::Config, size, limit })
        }
        error => Error::of_source(source.name(), error),
    })?;
    ImageConfig::parse(bytes).map_err(wrong)
}
