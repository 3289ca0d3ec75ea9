//! Whether a version satisfies one condition.

use super::{Condition, Open, Operator, Version};

impl Condition {
    /// Returns whether a version satisfies the condition. The caller decides about pre-releases.
    pub(super) fn matches(&self, version: &Version) -> bool {
        match self.operator {
            Operator::Equal if self.open == Open::Nothing => version.precedence(&self.version).is_eq(),
            Operator::Equal | Operator::Tilde => self.matches_tilde(version),
            Operator::NotEqual => self.matches_not_equal(version),
            Operator::Greater => self.matches_greater(version),
            Operator::Less => version.precedence(&self.version).is_lt(),
            Operator::GreaterOrEqual => version.precedence(&self.version).is_ge(),
            Operator::LessOrEqual => self.matches_less_or_equal(version),
            Operator::Caret => self.matches_caret(version),
        }
    }

    fn matches_not_equal(&self, version: &Version) -> bool {
        let own = &self.version;
        match self.open {
            Open::Nothing => version.precedence(own).is_ne(),
            _ if own.major != version.major => true,
            // A wildcard in place of the major version has the minor version 0 here.
            Open::Major => own.minor != version.minor || own.patch != version.patch || version.precedence(own).is_ne(),
            Open::Minor => false,
            Open::Patch if own.minor != version.minor => true,
            Open::Patch => own.compare_pre_release(version).is_ne(),
        }
    }

    fn matches_greater(&self, version: &Version) -> bool {
        let own = &self.version;
        match self.open {
            Open::Nothing => version.precedence(own).is_gt(),
            _ if version.major != own.major => version.major > own.major,
            Open::Minor => false,
            Open::Patch => version.minor > own.minor,
            Open::Major => version.precedence(own).is_gt(),
        }
    }

    fn matches_less_or_equal(&self, version: &Version) -> bool {
        let own = &self.version;
        match self.open {
            Open::Nothing => version.precedence(own).is_le(),
            _ if version.major != own.major => version.major < own.major,
            Open::Minor => true,
            Open::Patch | Open::Major => version.minor <= own.minor,
        }
    }

    fn matches_tilde(&self, version: &Version) -> bool {
        let own = &self.version;
        if version.precedence(own).is_lt() {
            return false;
        }
        // `~0.0.0` and `~*` accept all versions.
        let is_zero = (own.major, own.minor, own.patch) == (0, 0, 0);
        if is_zero && !matches!(self.open, Open::Minor | Open::Patch) {
            return true;
        }
        version.major == own.major && (version.minor == own.minor || self.open == Open::Minor)
    }

    fn matches_caret(&self, version: &Version) -> bool {
        let own = &self.version;
        if version.precedence(own).is_lt() {
            return false;
        }
        if own.major > 0 || self.open == Open::Minor {
            return version.major == own.major;
        }
        if version.major > 0 {
            return false;
        }
        if own.minor > 0 || self.open == Open::Patch {
            return version.minor == own.minor;
        }
        version.minor == 0 && version.patch == own.patch
    }
}
