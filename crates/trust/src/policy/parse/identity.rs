//! Reading `signedIdentity`.

use vmroot_model::Reference;
use vmroot_signatures::{SignedIdentity, check_prefix};
use vmroot_sigstore::strict_json::Object;

use super::{Parsed, at, filled_text};

pub(super) fn optional_identity(object: &mut Object) -> Parsed<SignedIdentity> {
    match object.optional_object("signedIdentity")? {
        Some(identity) => signed_identity(identity),
        None => Ok(SignedIdentity::MatchRepoDigestOrExact),
    }
}

pub(super) fn signed_identity(mut object: Object) -> Parsed<SignedIdentity> {
    let identity = match object.string("type")?.as_str() {
        "matchExact" => SignedIdentity::MatchExact,
        "matchRepoDigestOrExact" => SignedIdentity::MatchRepoDigestOrExact,
        "matchRepository" => SignedIdentity::MatchRepository,
        "exactReference" => {
            let reference = reference(&mut object, "dockerReference")?;
            if reference.tag().is_none() && reference.digest().is_none() {
                return at(&object, "has a dockerReference with neither a tag nor a digest");
            }
            SignedIdentity::ExactReference(reference)
        }
        "exactRepository" => SignedIdentity::ExactRepository(reference(&mut object, "dockerRepository")?),
        "remapIdentity" => SignedIdentity::RemapIdentity {
            prefix: prefix(&mut object, "prefix")?,
            signed_prefix: prefix(&mut object, "signedPrefix")?,
        },
        other => return at(&object, format_args!("has the unknown type {other:?}")),
    };
    object.finish()?;
    Ok(identity)
}

fn reference(object: &mut Object, name: &str) -> Parsed<Reference> {
    let text = filled_text(object, name)?;
    Reference::parse(&text).or_else(|error| at(object, format_args!("has an invalid {name}: {error}")))
}

fn prefix(object: &mut Object, name: &str) -> Parsed<String> {
    let text = filled_text(object, name)?;
    match check_prefix(&text) {
        Ok(()) => Ok(text),
        Err(reason) => at(object, format_args!("has an invalid {name}: {reason}")),
    }
}
