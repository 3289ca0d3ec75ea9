//! Choosing a certificate by the words of a user, as `gpg --local-user` does.

use crate::certificate::Certificate;
use crate::{Error, Result};

pub(super) fn certificate(certificates: Vec<Certificate>, user: Option<&str>) -> Result<Certificate> {
    let error = |reason: String| Err(Error::SecretKey(reason));
    let mut merged: Vec<Certificate> = Vec::new();
    for certificate in certificates {
        match merged.iter_mut().find(|it| it.fingerprint() == certificate.fingerprint()) {
            Some(known) => known.merge(certificate),
            None => merged.push(certificate),
        }
    }
    let mut matching: Vec<_> =
        merged.into_iter().filter(|certificate| user.is_none_or(|user| certificate.is_of(user))).collect();
    match (matching.pop(), matching.len(), user) {
        (Some(certificate), 0, _) => Ok(certificate),
        (None, _, Some(user)) => error(format!("no key belongs to {user:?}")),
        (None, _, None) => error("there is no key".to_owned()),
        (Some(_), others, Some(user)) => error(format!("{} keys belong to {user:?}; name a fingerprint", others + 1)),
        (Some(_), others, None) => error(format!("there are {} keys; name a fingerprint", others + 1)),
    }
}
