//! The comparison of an image's name with the name that was signed (`signedIdentity` of a policy).

use vmroot_model::Reference;

/// The rule by which the name in a signature is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignedIdentity {
    /// `matchExact`: both names are equal and have a tag or digest.
    MatchExact,
    /// `matchRepoDigestOrExact`: as `matchExact`, but the repositories are enough for an image that is named by digest.
    MatchRepoDigestOrExact,
    /// `matchRepository`: the repositories are equal.
    MatchRepository,
    /// `exactReference`: the signed name is this one.
    ExactReference(Reference),
    /// `exactRepository`: the repository of the signed name is this one.
    ExactRepository(Reference),
    /// `remapIdentity`: the prefix of the image's name is replaced, and the result compared like
    /// `matchRepoDigestOrExact`.
    RemapIdentity {
        /// The prefix that is replaced: a host, or a host and whole components of a path.
        prefix: String,
        /// The prefix in signatures.
        signed_prefix: String,
    },
}

impl SignedIdentity {
    /// Returns the name of the rule in a policy.
    pub fn name(&self) -> &'static str {
        match self {
            Self::MatchExact => "matchExact",
            Self::MatchRepoDigestOrExact => "matchRepoDigestOrExact",
            Self::MatchRepository => "matchRepository",
            Self::ExactReference(_) => "exactReference",
            Self::ExactRepository(_) => "exactRepository",
            Self::RemapIdentity { .. } => "remapIdentity",
        }
    }

    /// Checks the name of a signature. `image` is the name of the image, if it has one.
    ///
    /// # Errors
    /// The reason of a refusal.
    pub fn check(&self, image: Option<&Reference>, signed: &str) -> Result<(), String> {
        let parsed = Reference::parse(signed).map_err(|error| format!("the signed name is invalid: {error}"))?;
        let image = || image.ok_or_else(|| format!("{} needs an image with a name", self.name()));
        let (accepted, wanted) = match self {
            Self::MatchExact => (exact(image()?, &parsed), image()?.to_string()),
            Self::MatchRepoDigestOrExact => (repo_digest_or_exact(image()?, &parsed), image()?.to_string()),
            Self::MatchRepository => (image()?.name() == parsed.name(), image()?.name()),
            Self::ExactReference(reference) => (exact(reference, &parsed), reference.to_string()),
            Self::ExactRepository(repository) => (repository.name() == parsed.name(), repository.name()),
            Self::RemapIdentity { prefix, signed_prefix } => {
                let remapped = remap(image()?, prefix, signed_prefix)?;
                (repo_digest_or_exact(&remapped, &parsed), remapped.to_string())
            }
        };
        if accepted { Ok(()) } else { Err(format!("it is for {signed}, but {} needs {wanted}", self.name())) }
    }
}

fn is_name_only(reference: &Reference) -> bool {
    reference.tag().is_none() && reference.digest().is_none()
}

fn exact(wanted: &Reference, signed: &Reference) -> bool {
    !is_name_only(wanted) && wanted == signed
}

fn repo_digest_or_exact(image: &Reference, signed: &Reference) -> bool {
    if is_name_only(image) || is_name_only(signed) {
        return false;
    }
    // The digest itself was compared with the manifest, perhaps by another algorithm than that of the image's name.
    if image.tag().is_none() { image.name() == signed.name() } else { image == signed }
}

fn remap(image: &Reference, prefix: &str, signed_prefix: &str) -> Result<Reference, String> {
    let text = image.to_string();
    let rest = image.name().strip_prefix(prefix).map(str::to_owned);
    match rest {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let remapped = format!("{signed_prefix}{}", &text[prefix.len()..]);
            let parsed = Reference::parse(&remapped).map_err(|error| error.to_string())?;
            // A prefix without a host would be completed to another name.
            if parsed.to_string() == remapped { Ok(parsed) } else { Err(format!("{remapped:?} is not a full name")) }
        }
        _ => Ok(image.clone()),
    }
}

/// Checks a prefix of `remapIdentity`: a host, or a host with whole components of a path.
///
/// # Errors
/// The text is neither of them.
pub fn check_prefix(prefix: &str) -> Result<(), String> {
    let invalid = || format!("{prefix:?} is not a registry, or a registry with the start of a repository");
    if prefix.contains('/') {
        // A name that is completed has no host of its own. It is accepted and does not match, as in other tools.
        let parsed = Reference::parse(prefix).map_err(|_| invalid())?;
        return if is_name_only(&parsed) { Ok(()) } else { Err(invalid()) };
    }
    // A first part without dot and colon is a host as well, if nothing says otherwise.
    let host = if prefix.contains(['.', ':', '[']) { prefix.to_owned() } else { format!("{prefix}.x") };
    let parsed = Reference::parse(&format!("{host}/x")).map_err(|_| invalid())?;
    if parsed.domain() == host || host == "index.docker.io" { Ok(()) } else { Err(invalid()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn accepts(rule: &SignedIdentity, image: &str, signed: &str) -> bool {
        let image = Reference::parse(&image.replace("@D", DIGEST)).unwrap();
        rule.check(Some(&image), &signed.replace("@D", DIGEST)).is_ok()
    }

    #[test]
    fn the_rules_on_the_image_s_name() {
        use SignedIdentity::{MatchExact, MatchRepoDigestOrExact, MatchRepository};
        for (image, signed, exact, digest, repository) in [
            ("a/b:1", "docker.io/a/b:1", true, true, true),
            ("a/b:1", "a/b:2", false, false, true),
            ("a/b:1", "a/b", false, false, true),
            ("a/b@D", "a/b:1", false, true, true),
            ("a/b@D", "a/b@D", true, true, true),
            ("a/b@D", "a/b", false, false, true),
            ("a/b:1@D", "a/b:1", false, false, true),
            ("a/b", "a/b", false, false, true),
            ("a/b:1", "a/c:1", false, false, false),
            ("a/b:1", "a/B:1", false, false, false),
            ("a/b:1", "", false, false, false),
        ] {
            assert_eq!(accepts(&MatchExact, image, signed), exact, "{image} {signed}");
            assert_eq!(accepts(&MatchRepoDigestOrExact, image, signed), digest, "{image} {signed}");
            assert_eq!(accepts(&MatchRepository, image, signed), repository, "{image} {signed}");
        }
        assert!(MatchExact.check(None, "a/b:1").unwrap_err().contains("needs an image with a name"));
    }

    #[test]
    fn the_rules_on_a_fixed_name_need_no_name_of_the_image() {
        let reference = SignedIdentity::ExactReference(Reference::parse("a/b:1").unwrap());
        assert!(reference.check(None, "a/b:1").is_ok());
        assert!(reference.check(None, "a/b:2").unwrap_err().contains("exactReference needs docker.io/a/b:1"));
        let repository = SignedIdentity::ExactRepository(Reference::parse("a/b").unwrap());
        assert!(repository.check(None, "a/b:2").is_ok() && repository.check(None, "a/c").is_err());
    }

    #[test]
    fn a_remapped_prefix_ends_at_a_component() {
        let rule = |prefix: &str, signed: &str| SignedIdentity::RemapIdentity {
            prefix: prefix.to_owned(),
            signed_prefix: signed.to_owned(),
        };
        let mirror = rule("mirror.example.com/vendor", "vendor.example.com");
        assert!(accepts(&mirror, "mirror.example.com/vendor/x:1", "vendor.example.com/x:1"));
        assert!(!accepts(&mirror, "mirror.example.com/vendors/x:1", "vendor.example.coms/x:1"));
        assert!(accepts(&mirror, "other.example.com/x:1", "other.example.com/x:1"), "the prefix does not match");
        assert!(!accepts(&rule("mirror.example.com", "short"), "mirror.example.com/x:1", "docker.io/short/x:1"));
    }

    #[test]
    fn prefixes_are_hosts_or_names() {
        for good in ["example.com", "localhost", "localhost:5000", "example.com/a/b", "docker.io/library"] {
            check_prefix(good).unwrap();
        }
        for bad in ["", "/", "example.com/", "example.com/a:1", "example.com/A", "UP PER", "a@b", "http://x"] {
            assert!(check_prefix(bad).is_err(), "{bad}");
        }
    }
}
