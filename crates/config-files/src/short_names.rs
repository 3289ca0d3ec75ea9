//! Short names: names of images without a registry.

use std::path::PathBuf;

use vmroot_model::Reference;

use crate::{Aliases, Error, Registries, Result, ShortNameMode};

/// The meanings of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedName {
    /// The references that the name may stand for, in order. Each has a tag or a digest. There is at least one.
    pub candidates: Vec<Reference>,
    /// The reason for these candidates.
    pub origin: NameOrigin,
    /// Whether the user should choose a candidate. The choice is then recorded with [`Aliases::record`].
    pub should_choose: bool,
}

/// The reason for the meaning of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameOrigin {
    /// The name has a registry.
    FullName,
    /// This file has an alias for the name.
    Alias(PathBuf),
    /// This file lists the registries to search.
    SearchRegistries(PathBuf),
    /// No file says anything about the name, so it is one of Docker Hub.
    DockerHub,
}

impl ResolvedName {
    /// Returns the candidates for a program that cannot ask the user.
    ///
    /// # Errors
    /// [`Error::Ambiguous`] if the mode is enforcing and there are several.
    pub fn without_choice(self, mode: ShortNameMode) -> Result<Vec<Reference>> {
        if self.should_choose && mode == ShortNameMode::Enforcing {
            let name = self.candidates.first().map_or(String::new(), |first| first.path().to_owned());
            let candidates = self.candidates.iter().map(ToString::to_string).collect();
            return Err(Error::Ambiguous { name, candidates });
        }
        Ok(self.candidates)
    }
}

/// Returns the meanings of a name.
pub(crate) fn resolve(name: &str, registries: &Registries, aliases: Option<&Aliases>) -> Result<ResolvedName> {
    let parsed = Reference::parse(name)?;
    let resolved = |candidates, origin| ResolvedName { candidates, origin, should_choose: false };
    if !is_short(name) {
        return Ok(resolved(vec![with_default_tag(parsed)], NameOrigin::FullName));
    }
    let (repository, suffix) = split(name);
    let recorded = aliases.map(Aliases::read).transpose()?.unwrap_or_default();
    let alias = recorded.get(repository).or_else(|| registries.aliases().get(repository));
    if let Some(alias) = alias
        && let Some(value) = &alias.value
    {
        let reference = Reference::parse(&format!("{value}{suffix}"))?;
        return Ok(resolved(vec![with_default_tag(reference)], NameOrigin::Alias(alias.file.clone())));
    }
    let (search, Some(file)) = registries.search_registries() else {
        return Ok(resolved(vec![with_default_tag(parsed)], NameOrigin::DockerHub));
    };
    if search.is_empty() {
        return Ok(resolved(vec![with_default_tag(parsed)], NameOrigin::DockerHub));
    }
    let candidates = search
        .iter()
        .map(|registry| Reference::parse(&format!("{registry}/{name}")).map(with_default_tag).map_err(Error::from));
    let candidates = candidates.collect::<Result<Vec<_>>>()?;
    let should_choose = candidates.len() > 1 && registries.short_name_mode() != ShortNameMode::Disabled;
    Ok(ResolvedName { candidates, origin: NameOrigin::SearchRegistries(file.to_owned()), should_choose })
}

/// Returns whether a name has no registry: its first part is not a host.
pub fn is_short(name: &str) -> bool {
    !name.split_once('/').is_some_and(|(first, _)| first.contains(['.', ':', '[']) || first == "localhost")
}

/// Splits a name without a registry into its repository, and its tag and digest with their separators.
fn split(name: &str) -> (&str, &str) {
    name.split_at(name.find([':', '@']).unwrap_or(name.len()))
}

fn with_default_tag(reference: Reference) -> Reference {
    match reference.tag_or_default() {
        Some(tag) if reference.tag().is_none() => reference.with_tag(tag).expect("the default is a tag"),
        _ => reference,
    }
}

/// Checks the name of an alias: it has no registry, tag or digest.
pub(crate) fn check_short_name(name: &str) -> Result<(), String> {
    let reference = Reference::parse(name).map_err(|error| error.to_string())?;
    match () {
        () if reference.digest().is_some() => Err("the short name has a digest".to_owned()),
        () if !is_short(name) => Err("the short name has a registry".to_owned()),
        () if reference.tag().is_some() => Err("the short name has a tag".to_owned()),
        () => Ok(()),
    }
}

/// Parses the value of an alias: it has a registry, and no tag or digest.
pub(crate) fn parse_alias(value: &str) -> Result<Reference, String> {
    let reference = Reference::parse(value).map_err(|error| error.to_string())?;
    match () {
        () if reference.digest().is_some() => Err(format!("{value:?} has a digest")),
        () if is_short(value) => Err(format!("{value:?} has no registry")),
        () if reference.tag().is_some() => Err(format!("{value:?} has a tag")),
        () => Ok(reference),
    }
}
