//! Hints for malformed names of images.

use std::path::Path;

use vmroot::model::Error;

use super::{Failed, paths};
use crate::similar::similar;
use crate::transports;

pub(super) fn remedy(error: &Error, failed: &Failed<'_>) -> Option<String> {
    match error {
        Error::UppercaseRepository { reference, repository } => Some(match reference.find(&**repository) {
            Some(at) => {
                let (before, rest) = reference.split_at(at);
                let (name, after) = rest.split_at(repository.len());
                format!("did you mean {before}{}{after}?", name.to_lowercase())
            }
            None => "names of repositories are lowercase".to_owned(),
        }),
        Error::InvalidReference { reference, .. } => of_reference(reference),
        Error::UnsupportedArchitecture { .. } => Some(super::ARCHITECTURES.to_owned()),
        Error::ArchitectureMismatch { available, .. } if !available.is_empty() => {
            let first = available.first()?;
            Some(format!("--platform {first} takes the image for that platform"))
        }
        Error::ArchitectureMismatch { .. } if failed.context.is_some_and(|it| it.requested_platform().is_some()) => {
            Some("without --platform and --arch, the image is taken for the platform that it has".to_owned())
        }
        _ => None,
    }
}

fn of_reference(reference: &str) -> Option<String> {
    if let Some((scheme, name)) = reference.split_once("://") {
        return Some(match scheme {
            "http" | "https" if !name.is_empty() => format!("omit the scheme: {name}"),
            "docker" if !name.is_empty() => format!("omit the transport: {name}"),
            _ => transport(scheme),
        });
    }
    if reference.starts_with(['/', '.', '~']) || Path::new(reference).exists() {
        return Some(paths::of_path(Path::new(reference)));
    }
    let (word, rest) = reference.split_once(':')?;
    let is_word = word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_word
        && rest.starts_with('/')
        && !transports::NAMES.contains(&word)
        && similar(word, transports::NAMES.map(str::to_owned)).is_empty()
    {
        return Some(format!("the path is an argument of its own: {word} {rest}"));
    }
    let is_transport = rest.starts_with(['/', '.']) || word.contains('-') && !word.contains(['.', '/']);
    is_transport.then(|| transport(word))
}

/// Returns the hint for an unknown transport.
pub(super) fn transport(word: &str) -> String {
    let near = similar(word, transports::NAMES.map(str::to_owned));
    let list = transports::NAMES.map(transports::prefix).join(" ");
    match near.first() {
        Some(near) => format!("did you mean {}? The transports are {list}", transports::prefix(near)),
        None => format!("the transports are {list}"),
    }
}
