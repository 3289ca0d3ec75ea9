//! The identity of a certificate that a verification accepts.

use regex::{Regex, RegexBuilder};

use crate::certificate::Certificate;
use crate::error::{Error, Result};

/// The largest size of a compiled pattern in bytes.
const PATTERN_SIZE_LIMIT: usize = 1 << 20;

/// The subject and the OIDC issuer of a certificate. Both are mandatory: a subject means nothing without its issuer.
#[derive(Debug, Clone)]
pub struct CertificateIdentity {
    /// The alternative name: an email address, a URI, a host name or a user name.
    pub subject: Matcher,
    /// The OIDC issuer.
    pub issuer: Matcher,
}

/// A text or a pattern.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Matcher {
    /// Exactly this text.
    Exact(String),
    /// A regular expression that matches the whole text.
    Pattern(Regex),
}

impl Matcher {
    /// Returns a matcher for a regular expression. It is anchored at both ends, unlike those of cosign.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`]: the expression is invalid or too large.
    pub fn pattern(expression: &str) -> Result<Self> {
        let compile = |expression: &str| {
            let pattern = RegexBuilder::new(expression).size_limit(PATTERN_SIZE_LIMIT).build();
            pattern.map_err(|error| Error::malformed("pattern", error))
        };
        // `a)|(b` is valid only after the group is added, and would escape from it.
        compile(expression)?;
        compile(&format!(r"\A(?:{expression})\z")).map(Self::Pattern)
    }

    /// Returns whether the text matches.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(expected) => expected == text,
            Self::Pattern(pattern) => pattern.is_match(text),
        }
    }
}

impl CertificateIdentity {
    pub(super) fn expect(&self, certificate: &Certificate) -> Result<()> {
        let issuer = certificate.oidc_issuer()?;
        if !self.issuer.matches(issuer) {
            return Err(Error::Identity(format!("its OIDC issuer is {issuer:.200?}")));
        }
        let names = certificate.alternative_names();
        if names.iter().any(|name| !name.text().is_empty() && self.subject.matches(name.text())) {
            return Ok(());
        }
        let names: Vec<_> = names.iter().take(5).map(|name| name.text()).collect();
        Err(Error::Identity(format!("its subject is {names:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::Matcher;

    #[test]
    fn patterns_match_the_whole_text() {
        let pattern = Matcher::pattern(r"https://github\.com/org/.*|b").unwrap();
        assert!(pattern.matches("https://github.com/org/x"));
        assert!(pattern.matches("b"));
        for text in ["https://evil.com/https://github.com/org/x", "bb", "b\n", "\nb", "https://github.com/org/\nx"] {
            assert!(!pattern.matches(text), "{text:?}");
        }
        assert!(Matcher::pattern("a)|(b").is_err());
        assert!(Matcher::pattern("(a{1000}){1000}").is_err());
        assert!(!Matcher::Exact(String::from("a.c")).matches("abc"));
    }
}
