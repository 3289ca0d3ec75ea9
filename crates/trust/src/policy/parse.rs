//! Reading a policy.

mod identity;
mod source;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;

use serde_json::Value;
use vmroot_signatures::{AttachmentSigners, BundleSigners, DataSource, KeyType, Requirement, check_scope};
use vmroot_sigstore::strict_json::{self, Object};

use crate::{Error, Policy, Result};

use super::POLICY_LIMIT;
use identity::{optional_identity, signed_identity};
use source::{Form, one_source, source};

/// The reason of an error, with the place in the document.
struct Reason(String);

type Parsed<T> = std::result::Result<T, Reason>;

impl From<strict_json::Error> for Reason {
    fn from(error: strict_json::Error) -> Self {
        Self(error.to_string())
    }
}

/// Returns an error at an object.
fn at<T>(object: &Object, reason: impl Display) -> Parsed<T> {
    Err(Reason(format!("{} {reason}", object.place())))
}

pub(super) fn policy(bytes: &[u8], path: Option<PathBuf>) -> Result<Policy> {
    if bytes.len() > POLICY_LIMIT {
        return Err(Error::PolicyTooLarge { path, limit: POLICY_LIMIT });
    }
    match document(bytes) {
        Ok((default, transports)) => Ok(Policy { default, transports, path, overlay: None }),
        Err(Reason(reason)) => Err(Error::Policy { path, reason }),
    }
}

type Transports = BTreeMap<String, BTreeMap<String, Vec<Requirement>>>;

fn document(bytes: &[u8]) -> Parsed<(Option<Vec<Requirement>>, Transports)> {
    let mut document = strict_json::parse_object(bytes, "policy", POLICY_LIMIT)?;
    let default = match document.take("default") {
        Some(value) => Some(requirements(value, &document.place_of("default"))?),
        None => None,
    };
    let transports = document.optional_object("transports")?.map(transports).transpose()?;
    document.finish()?;
    Ok((default, transports.unwrap_or_default()))
}

fn transports(mut document: Object) -> Parsed<Transports> {
    let names: Vec<_> = document.names().map(str::to_owned).collect();
    let mut transports = Transports::new();
    for transport in names {
        let object = document.object(&transport)?;
        let place = object.place().to_owned();
        let mut scopes = BTreeMap::new();
        for (scope, value) in object.into_members() {
            let place = format!("{place}[{scope:?}]");
            if !scope.is_empty() {
                check_scope(&transport, &scope).map_err(|reason| Reason(format!("{place}: the scope {reason}")))?;
            }
            scopes.insert(scope, requirements(value, &place)?);
        }
        transports.insert(transport, scopes);
    }
    Ok(transports)
}

fn requirements(value: Value, place: &str) -> Parsed<Vec<Requirement>> {
    let Value::Array(elements) = value else { return Err(Reason(format!("{place} is not an array"))) };
    if elements.is_empty() {
        return Err(Reason(format!("{place} is empty; it needs at least one requirement")));
    }
    let numbered = elements.into_iter().enumerate();
    numbered.map(|(number, value)| requirement(Object::of(value, &format!("{place}[{number}]"))?)).collect()
}

fn requirement(mut object: Object) -> Parsed<Requirement> {
    let requirement = match object.string("type")?.as_str() {
        "insecureAcceptAnything" => Requirement::InsecureAcceptAnything,
        "reject" => Requirement::Reject,
        "signedBy" => signed_by(&mut object)?,
        "signedBaseLayer" => {
            let base_layer_identity = signed_identity(object.object("baseLayerIdentity")?)?;
            Requirement::SignedBaseLayer { base_layer_identity }
        }
        "sigstoreSigned" => sigstore_signed(&mut object)?,
        "vmrootBundleSigned" => Requirement::BundleSigned(bundle_signed(&mut object)?),
        other => return at(&object, format_args!("has the unknown type {other:?}")),
    };
    object.finish()?;
    Ok(requirement)
}

fn signed_by(object: &mut Object) -> Parsed<Requirement> {
    let key_type = object.string("keyType")?;
    let Some(key_type) = KeyType::named(&key_type) else {
        return at(object, format_args!("has the unknown keyType {key_type:?}"));
    };
    let keys = one_source(object, &[Form::Path("keyPath"), Form::Paths("keyPaths"), Form::Data("keyData")])?;
    Ok(Requirement::SignedBy { key_type, keys, signed_identity: optional_identity(object)? })
}

const PUBLIC_KEYS: [Form; 4] =
    [Form::Path("keyPath"), Form::Paths("keyPaths"), Form::Data("keyData"), Form::Datas("keyDatas")];

const REKOR_KEYS: [Form; 4] = [
    Form::Path("rekorPublicKeyPath"),
    Form::Paths("rekorPublicKeyPaths"),
    Form::Data("rekorPublicKeyData"),
    Form::Datas("rekorPublicKeyDatas"),
];

fn sigstore_signed(object: &mut Object) -> Parsed<Requirement> {
    let keys = source(object, &PUBLIC_KEYS)?;
    let rekor = source(object, &REKOR_KEYS)?;
    let fulcio = object.optional_object("fulcio")?;
    let pki = object.optional_object("pki")?;
    let signed_identity = optional_identity(object)?;
    let signers = match (keys, fulcio, pki) {
        (Some(keys), None, None) => AttachmentSigners::Keys { keys, rekor },
        (None, Some(fulcio), None) => match rekor {
            Some(rekor) => fulcio_signers(fulcio, rekor)?,
            None => return at(object, "has \"fulcio\", which needs one of the members rekorPublicKey..."),
        },
        (None, None, Some(pki)) => match rekor {
            Some(_) => return at(object, "has \"pki\", which excludes the members rekorPublicKey..."),
            None => pki_signers(pki)?,
        },
        _ => return at(object, "needs exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio, pki"),
    };
    Ok(Requirement::SigstoreSigned { signers, signed_identity })
}

fn fulcio_signers(mut object: Object, rekor: DataSource) -> Parsed<AttachmentSigners> {
    let authority = one_source(&mut object, &[Form::Path("caPath"), Form::Data("caData")])?;
    let oidc_issuer = filled_text(&mut object, "oidcIssuer")?;
    let subject_email = filled_text(&mut object, "subjectEmail")?;
    object.finish()?;
    Ok(AttachmentSigners::Fulcio { authority, oidc_issuer, subject_email, rekor })
}

fn pki_signers(mut object: Object) -> Parsed<AttachmentSigners> {
    let roots = one_source(&mut object, &[Form::Path("caRootsPath"), Form::Data("caRootsData")])?;
    let intermediates = source(&mut object, &[Form::Path("caIntermediatesPath"), Form::Data("caIntermediatesData")])?;
    let subject_email = optional_text(&mut object, "subjectEmail")?;
    let subject_hostname = optional_text(&mut object, "subjectHostname")?;
    if subject_email.is_none() && subject_hostname.is_none() {
        return at(&object, "needs subjectEmail or subjectHostname");
    }
    object.finish()?;
    Ok(AttachmentSigners::Pki { roots, intermediates, subject_email, subject_hostname })
}

fn bundle_signed(object: &mut Object) -> Parsed<BundleSigners> {
    let keys = source(object, &PUBLIC_KEYS)?;
    let root = source(object, &[Form::Path("trustedRootPath"), Form::Data("trustedRootData")])?;
    let identity = optional_text(object, "certificateIdentity")?;
    let oidc_issuer = optional_text(object, "certificateOidcIssuer")?;
    match (keys, root, identity, oidc_issuer) {
        (Some(keys), trusted_root, None, None) => Ok(BundleSigners::Keys { keys, trusted_root }),
        (None, Some(trusted_root), Some(identity), Some(oidc_issuer)) => {
            Ok(BundleSigners::Certificates { trusted_root, identity, oidc_issuer })
        }
        _ => at(
            object,
            "needs either one of keyPath, keyPaths, keyData, keyDatas, or one of trustedRootPath, trustedRootData with \
             certificateIdentity and certificateOidcIssuer",
        ),
    }
}

/// Takes a text that is not empty, if there is one.
fn optional_text(object: &mut Object, name: &str) -> Parsed<Option<String>> {
    let text = object.optional_string(name)?;
    if text.as_deref() == Some("") { at(object, format_args!("has an empty {name}")) } else { Ok(text) }
}

/// Takes a text that is not empty.
fn filled_text(object: &mut Object, name: &str) -> Parsed<String> {
    match optional_text(object, name)? {
        Some(text) => Ok(text),
        None => at(object, format_args!("has no member {name:?}")),
    }
}
