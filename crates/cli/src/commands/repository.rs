//! Commands that work on registries, without the cache.

mod delete;
mod digest;
mod instances;
mod list_tags;
mod manifest_digest;
mod referrers;
mod repos;
mod tag;

pub(crate) use delete::delete;
pub(crate) use digest::digest;
pub(crate) use instances::instances;
pub(crate) use list_tags::{list_tags, tags};
pub(crate) use manifest_digest::manifest_digest;
pub(crate) use referrers::referrers;
pub(crate) use repos::repos;
pub(crate) use tag::tag;

use vmroot::{ImageName, Reference};

use crate::exit::Advised;

/// Parses the name of an image in a registry, with or without `docker://`.
fn parse_image(name: &str) -> anyhow::Result<Reference> {
    let has_scheme = name.starts_with("http://") || name.starts_with("https://");
    // The error for a scheme is that of a reference, which says what to omit.
    if !ImageName::has_transport(name) && (has_scheme || !name.contains("://")) {
        return Ok(Reference::parse(name).map_err(vmroot::Error::from)?);
    }
    match ImageName::parse(name).map_err(vmroot::Error::from)? {
        ImageName::Docker(reference) => Ok(reference),
        ImageName::Cache(image) => {
            let message = format!("{name} is in the cache, and this command asks a registry");
            Err(Advised::usage(message, format!("name the image without `vmroot:`, as in `{image}`")).into())
        }
        _ => {
            let message = format!("{name} is not in a registry, and this command asks one");
            Err(Advised::usage(message, "name an image of a registry: NAME, or docker://NAME").into())
        }
    }
}

/// Fails for the host and port of a registry where a repository belongs. They have the form of a name and a tag.
pub(crate) fn refuse_registry(name: &str) -> anyhow::Result<()> {
    let bare = name.strip_prefix("docker://").unwrap_or(name);
    let is_port = |text: &str| (2..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_host = |text: &str| text == "localhost" || text.contains('.');
    match bare.split_once(':') {
        Some((host, port)) if is_host(host) && is_port(port) => Err(Advised::usage(
            format!("{name} is a registry, not a repository"),
            format!("`vmroot repos {bare}` lists its repositories"),
        )
        .into()),
        _ => Ok(()),
    }
}

/// Parses the name of a repository, which has neither a tag nor a digest.
fn parse_repository(name: &str) -> anyhow::Result<Reference> {
    refuse_registry(name)?;
    let reference = parse_image(name)?;
    if reference.tag().is_some() || reference.digest().is_some() {
        let message = format!("{name}: expected a repository, which has no tag and no digest");
        return Err(Advised::usage(message, format!("the repository is {}", reference.name())).into());
    }
    Ok(reference)
}
