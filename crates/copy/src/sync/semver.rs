//! Constraints on semantic versions, as the Go library Masterminds/semver v3 reads them.
//!
//! Its syntax is wider than that of Cargo and npm, and its rules for pre-releases differ. skopeo's sync files use it.

mod check;
mod parse;
mod version;

use std::fmt;
use std::str::FromStr;

pub use self::version::Version;

/// A constraint on versions, such as `>=1.2, <2 || ~3.1`.
///
/// - Alternatives are separated by `||`. Conditions of one alternative are separated by commas or spaces.
/// - The operators are `=`, `!=`, `>`, `<`, `>=` (`=>`), `<=` (`=<`), `~` (`~>`) and `^`.
/// - `1.2 - 2` is `>=1.2, <=2`. `1.x`, `1.*` and `1` stand for all versions `1.…`.
/// - Pre-releases satisfy only alternatives that name a pre-release.
///
/// ```
/// use vmroot_copy::sync::{Constraint, Version};
///
/// let constraint: Constraint = ">=3.18, <4 || ^1.2".parse().unwrap();
/// assert!(constraint.matches(&Version::parse("v3.20").unwrap()));
/// assert!(!constraint.matches(&Version::parse("4.0.0").unwrap()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    text: String,
    alternatives: Vec<Vec<Condition>>,
}

/// A comparison with a version.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    operator: Operator,
    version: Version,
    /// The parts of the version that the condition leaves open.
    open: Open,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    Tilde,
    Caret,
}

/// The first part of a version that is missing or a wildcard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Nothing,
    Patch,
    Minor,
    Major,
}

/// A constraint that is malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a constraint on versions: {reason}")]
pub struct InvalidConstraint {
    /// The constraint.
    pub text: String,
    /// The reason.
    pub reason: String,
}

impl Constraint {
    /// Returns whether a version satisfies the constraint.
    pub fn matches(&self, version: &Version) -> bool {
        self.alternatives.iter().any(|conditions| {
            let names_pre_release = conditions.iter().any(|condition| condition.version.is_pre_release());
            let is_considered = names_pre_release || !version.is_pre_release();
            is_considered && conditions.iter().all(|condition| condition.matches(version))
        })
    }
}

impl FromStr for Constraint {
    type Err = InvalidConstraint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let alternatives = text.split("||").map(parse::conditions).collect::<Result<_, _>>();
        match alternatives {
            Ok(alternatives) => Ok(Self { text: text.to_owned(), alternatives }),
            Err(reason) => Err(InvalidConstraint { text: text.to_owned(), reason }),
        }
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_satisfy_constraints() {
        for (constraint, matching, other) in [
            ("=2.0", "2.0.0 2.0.1 v2.0 2.0.5+meta", "1.2.3 2.1.0 2.0.1-rc1"),
            ("2.0.0", "2.0.0 v2 2+x", "2.0.1 2.0.0-rc1"),
            ("!=4.1.0", "4.1.1 5", "4.1.0 5.1.0-alpha.1"),
            ("!=4.1", "5.1.0 4.2.0", "4.1.0 4.1.1 5.1.0-alpha.1"),
            ("!=4.x", "5.1.0", "4.1.0"),
            ("!=4.1-alpha", "4.1.0", "4.1.0-alpha 4.1.1-alpha"),
            ("<11", "0.1.0 10.9.9", "11.0.0 11.1.0 10.0.0-rc1"),
            ("<1.1", "0.1.0", "1.1.0 1.1.1"),
            ("<=11", "1.2.3 11.2.3", "12.2.3"),
            ("<=1.1", "0.1.0 1.1.0 1.1.1", "1.2.3 0.1.0-alpha"),
            ("<=1.1-a", "0.1.0-alpha", "1.2.0"),
            (">11", "12.0.0", "11.0.0 11.1.0 11.9.9"),
            (">11.1", "11.2.1", "11.1.0 11.1.1"),
            (">0", "1", "0 0.0.1-alpha"),
            (">1.2.3-alpha.1", "1.2.3-alpha.2 1.3.3-alpha.2", "1.2.3-alpha.1 1.2.3-alpha"),
            (">=11.1", "11.1.2", "11.0.2"),
            (">=0-0", "0.0.1-alpha 0.0.0-alpha 3.4.5-beta.1", ""),
            ("<0-z", "0.0.0-alpha", "0.0.0"),
            ("*", "1 4.5.6", "1.2.3-alpha.1 latest"),
            ("*-0", "1.2.3-alpha.1", ""),
            ("2.*", "2.1.1 2.0.0", "1 3.4.5"),
            ("2.1.X", "2.1.1", "2.2.1"),
            ("0.x.x", "0.1.0", "1.2.3"),
            ("~1.2.3", "1.2.3 1.2.4", "1.2.2 1.3.4 2.2.5"),
            ("~1.2", "1.2.0 1.2.4", "1.3.4"),
            ("~1", "1.2.4 1.4", "2.3.4 0.9"),
            ("~*", "2.1.1", ""),
            ("~0.0.0", "1.2.3", ""),
            ("~>1.2.3-beta.2", "1.2.3-beta.4 1.2.4-beta.2 1.2.3", "1.3.4-beta.2 1.2.3-beta.1"),
            ("^1.2.3", "1.8.9 1.2.3", "2.8.9 1.2.1 1.9.0-rc1"),
            ("^1.2", "1.8.9", "2.8.9"),
            ("^1", "1.0.0 1.8.9", "2.8.9"),
            ("^0.2.3", "0.2.5", "0.5.6 0.2.2"),
            ("^0.2", "0.2.5", "0.5.6"),
            ("^0.0.3", "0.0.3", "0.0.4 0.1.3"),
            ("^0.0", "0.0.3", "0.1.4 1.0.4"),
            ("^0", "0.2.3", "1.1.4"),
            ("^0.2.3-beta.2", "0.2.3-beta.2 0.2.3-beta.4 0.2.4-beta.2", "0.3.4-beta.2"),
            (">1.1, <2", "1.2.1", "1.1.1 2.0.0"),
            (">1.1    <3", "2", "4.3.2"),
            (">=1.1, <2, !=1.2.3 || > 3", "4.1.2 1.2.4", "3.1.2 3.0.0 1.2.3"),
            ("> 1.1, <     2", "1.2.1", "1.1.1"),
            ("=> 3.0 =< 4", "3.5", "5"),
            (">= 1.0.0  <= 2.0.0-beta", "1.0.1-beta 1.0.1", "3.0.0"),
            (">= 1.0.0  <= 2.0.0-beta || > 3", "1.0.1-beta 4.0.0", "3.0.1-beta"),
            ("1.1 - 2", "1.1.1 2.0.0 2.5.0", "1.0.9 3.0.0"),
            ("1.5.0 - 4.5", "3.7.0 4.5.9", "4.6.0 1.4.9"),
            ("1.0.0 - 2.0.0 <=1.9.0", "1.5.0", "1.9.1"),
            ("1.0.0 - 2.0.0, <=1.9.0 || 7", "1.5.0 7.1.0", "1.9.1"),
            ("1.1-3", "1.1.0", "4.3.2 1.2.0"),
            ("12.3.34 ~12.3.3", "12.3.34", "12.3.35"),
            ("v1.2.3", "1.2.3", "1.2.4"),
        ] {
            let parsed: Constraint = constraint.parse().unwrap_or_else(|error| panic!("{error}"));
            let matches = |text: &str| Version::parse(text).is_some_and(|version| parsed.matches(&version));
            for version in matching.split_whitespace() {
                assert!(matches(version), "{version} satisfies {constraint}");
            }
            for version in other.split_whitespace() {
                assert!(!matches(version), "{version} does not satisfy {constraint}");
            }
        }
    }

    #[test]
    fn malformed_constraints() {
        for text in [
            "",
            " ",
            ">= bar",
            "BAR >= 1.2.3",
            "12.3.4.1234",
            "12.3.34~ 1.2.3",
            "1.2.3-beta.01",
            ">=",
            "1,,2",
            "1 ||",
            "|| 1",
            "1.2,",
            "1 - ",
            "1 - x.y",
            "> 1 - 2",
            "1.2.3.4",
            "1..2",
            "=>=1",
            "1x",
            "-1",
            "18446744073709551616",
        ] {
            assert!(text.parse::<Constraint>().is_err(), "{text:?}");
        }
        let error = ">= bar".parse::<Constraint>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\">= bar\" is not a constraint on versions: \"bar\" does not begin with a version"
        );
    }

    #[test]
    fn versions_are_read_leniently_and_ordered() {
        for text in
            ["", "v", "1.2.3.4", "a", "1.a", "1.2-", "1.2-a..b", "1-01", "1+", "1+a_b", "1.2.3 ", "latest", "-1"]
        {
            assert_eq!(Version::parse(text), None, "{text:?}");
        }
        let order = [
            "0.9",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "v1",
            "1.0.1",
            "01.2",
            "2.0.0-0",
            "2",
        ];
        let versions = order.map(|text| Version::parse(text).unwrap());
        for (index, one) in versions.iter().enumerate() {
            for (other_index, other) in versions.iter().enumerate() {
                assert_eq!(one.precedence(other), index.cmp(&other_index), "{one:?} {other:?}");
            }
        }
    }
}
