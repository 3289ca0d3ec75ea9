//! The part of a policy that applies to an image.

use std::fmt;
use std::path::Path;

use crate::Requirement;

/// The section of a policy that applies to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Section {
    /// `default`.
    Default,
    /// A scope of a transport.
    Scope {
        /// The transport.
        transport: String,
        /// The scope; empty for the default of the transport.
        scope: String,
    },
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Scope { transport, scope } => write!(f, "transports.{transport}[{scope:?}]"),
        }
    }
}

/// The requirements that apply to an image, with their place.
#[derive(Debug, Clone, Copy)]
pub struct Applicable<'a> {
    /// The transport, and the scope in it. `None` for the default of all transports.
    pub scope: Option<(&'a str, &'a str)>,
    /// The file with the section, if it is in a file.
    pub file: Option<&'a Path>,
    /// The requirements, at least one. An image must meet all of them.
    pub requirements: &'a [Requirement],
}

impl Applicable<'_> {
    /// Returns the section of the policy.
    pub fn section(&self) -> Section {
        match self.scope {
            None => Section::Default,
            Some((transport, scope)) => Section::Scope { transport: transport.to_owned(), scope: scope.to_owned() },
        }
    }

    /// Returns whether every image meets the requirements. An empty list is met by none.
    pub fn accepts_anything(&self) -> bool {
        let is_open = |requirement: &Requirement| *requirement == Requirement::InsecureAcceptAnything;
        !self.requirements.is_empty() && self.requirements.iter().all(is_open)
    }
}
