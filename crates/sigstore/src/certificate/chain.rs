//! The search of a chain from a certificate to a trusted one.

use der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::KeyUsages;

use super::Certificate;
use crate::error::{Error, Result};

/// The largest length of a chain, with its first and its last certificate.
pub const CHAIN_LIMIT: usize = 8;
/// The largest number of signatures that the search of one chain checks.
pub const SIGNATURE_CHECKS_LIMIT: usize = 100;

const ANY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

/// A purpose that a chain must allow (RFC 5280, 4.2.1.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usage {
    CodeSigning,
    TimeStamping,
}

impl Usage {
    pub(crate) fn oid(self) -> ObjectIdentifier {
        match self {
            Self::CodeSigning => ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3"),
            Self::TimeStamping => ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8"),
        }
    }

    fn is_allowed_by(self, certificate: &Certificate) -> bool {
        let Some((usages, _)) = &certificate.extensions.usages else { return true };
        usages.iter().any(|usage| *usage == self.oid() || *usage == ANY_USAGE)
    }
}

/// Certificates that a chain can consist of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidates<'a> {
    /// Trusted certificates, which end a chain whether or not they are self-signed.
    pub(crate) anchors: &'a [Certificate],
    /// Other certificates, which are trusted only as part of a chain.
    pub(crate) intermediates: &'a [Certificate],
}

impl Candidates<'_> {
    /// Returns a chain from `leaf` to an anchor, in which each certificate is valid at `time`, in seconds since 1970.
    ///
    /// Extended key usages nest: each certificate that has some must allow `usage`. The first certificate must name it.
    ///
    /// # Errors
    ///
    /// [`Error::Certificate`]: there is no such chain, or its search takes more than [`SIGNATURE_CHECKS_LIMIT`] checks.
    pub(crate) fn chain(&self, leaf: &Certificate, time: i64, usage: Usage) -> Result<Vec<Certificate>> {
        let mut search = Search { candidates: *self, time, usage, checks: 0, reason: None };
        search.check(leaf).map_err(Error::Certificate)?;
        let mut chain = vec![leaf.clone()];
        if search.extend(&mut chain) {
            return Ok(chain);
        }
        let reason = search.reason.unwrap_or_else(|| "its issuer is not among the trusted ones".to_owned());
        Err(Error::Certificate(reason))
    }
}

struct Search<'a> {
    candidates: Candidates<'a>,
    time: i64,
    usage: Usage,
    checks: usize,
    /// Why the last candidate with the right name was not taken.
    reason: Option<String>,
}

impl Search<'_> {
    /// Lengthens a chain until it ends with an anchor, and returns whether it does.
    fn extend(&mut self, chain: &mut Vec<Certificate>) -> bool {
        if chain.len() >= CHAIN_LIMIT {
            self.reason = Some(format!("its chain is longer than {CHAIN_LIMIT} certificates"));
            return false;
        }
        let candidates = self.candidates;
        for anchor in candidates.anchors {
            if self.is_issuer(chain, anchor) {
                chain.push(anchor.clone());
                return true;
            }
        }
        for intermediate in candidates.intermediates {
            if !chain.contains(intermediate) && self.is_issuer(chain, intermediate) {
                chain.push(intermediate.clone());
                if self.extend(chain) {
                    return true;
                }
                chain.pop();
            }
        }
        false
    }

    /// Returns whether `issuer` issued the last certificate of the chain, and may do so.
    fn is_issuer(&mut self, chain: &[Certificate], issuer: &Certificate) -> bool {
        let Some(last) = chain.last() else { return false };
        if last.issuer != issuer.subject {
            return false;
        }
        let checked = self.check(issuer).and_then(|()| may_issue(chain, issuer)).and_then(|()| {
            self.checks += 1;
            if self.checks > SIGNATURE_CHECKS_LIMIT {
                return Err(format!("its chain takes more than {SIGNATURE_CHECKS_LIMIT} checks of signatures"));
            }
            if last.is_signed_by(issuer) { Ok(()) } else { Err("a signature of its chain does not verify".to_owned()) }
        });
        match checked {
            Ok(()) => true,
            Err(reason) => {
                self.reason = Some(reason);
                false
            }
        }
    }

    /// Checks the rules for each certificate of a chain.
    fn check(&self, certificate: &Certificate) -> std::result::Result<(), String> {
        if let Some(extension) = certificate.extensions.unsupported {
            return Err(format!("the extension {extension} is not supported"));
        }
        if !certificate.is_valid_at(self.time) {
            return Err(format!("a certificate of its chain is not valid at {} s after 1970", self.time));
        }
        if !self.usage.is_allowed_by(certificate) {
            return Err(format!("its chain is not for {:?}", self.usage));
        }
        Ok(())
    }
}

/// Checks that a certificate may issue the last one of a chain (RFC 5280, 6.1.4).
fn may_issue(chain: &[Certificate], issuer: &Certificate) -> std::result::Result<(), String> {
    let Some((true, below)) = issuer.extensions.basic else {
        return Err("a certificate of its chain is not one of an authority".to_owned());
    };
    // The first certificate does not count, and neither do those that were issued by themselves.
    let intermediates = chain.iter().skip(1).filter(|certificate| certificate.issuer != certificate.subject).count();
    if below.is_some_and(|below| intermediates > usize::from(below)) {
        return Err("its chain is longer than an authority allows".to_owned());
    }
    match issuer.extensions.key_usage {
        Some(usage) if !usage.0.contains(KeyUsages::KeyCertSign) => {
            Err("a certificate of its chain may not sign certificates".to_owned())
        }
        _ => Ok(()),
    }
}
