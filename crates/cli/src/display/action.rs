//! What a task does, in the words of the output.

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Fetch,
    Load,
    Unpack,
    Verify,
    Save,
    Export,
    Copy,
    Remove,
    Commit,
    Prepare,
}

impl Action {
    /// All actions, in the order of the page about progress.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 10] = [
        Self::Fetch,
        Self::Load,
        Self::Unpack,
        Self::Verify,
        Self::Save,
        Self::Export,
        Self::Copy,
        Self::Remove,
        Self::Commit,
        Self::Prepare,
    ];

    /// Returns the name in events.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Load => "load",
            Self::Unpack => "unpack",
            Self::Verify => "verify",
            Self::Save => "save",
            Self::Export => "export",
            Self::Copy => "copy",
            Self::Remove => "remove",
            Self::Commit => "commit",
            Self::Prepare => "prepare",
        }
    }

    /// Returns the word while it lasts.
    pub(crate) const fn present(self) -> &'static str {
        match self {
            Self::Fetch => "fetching",
            Self::Load => "loading",
            Self::Unpack => "unpacking",
            Self::Verify => "verifying",
            Self::Save => "saving",
            Self::Export => "exporting",
            Self::Copy => "copying",
            Self::Remove => "removing",
            Self::Commit => "committing",
            Self::Prepare => "preparing",
        }
    }

    /// Returns the word at its end.
    pub(crate) const fn past(self) -> &'static str {
        match self {
            Self::Fetch => "fetched",
            Self::Load => "loaded",
            Self::Unpack => "unpacked",
            Self::Verify => "verified",
            Self::Save => "saved",
            Self::Export => "exported",
            Self::Copy => "copied",
            Self::Remove => "removed",
            Self::Commit => "committed",
            Self::Prepare => "prepared",
        }
    }
}

/// The unit of a task's amounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    Files,
}

impl Unit {
    /// Returns the name in events.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Files => "files",
        }
    }

    /// Formats an amount.
    pub(crate) fn format(self, amount: u64) -> String {
        match self {
            Self::Bytes => crate::human::format_bytes(amount),
            Self::Files if amount == 1 => "1 file".to_owned(),
            Self::Files => format!("{amount} files"),
        }
    }
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is complete.
    Done,
    /// The result was there already.
    Reused,
    /// It failed or was cancelled.
    Stopped,
}

impl Outcome {
    /// Returns the name in events.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Reused => "reused",
            Self::Stopped => "stopped",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_lists_every_action() {
        let page = include_str!("../../../../docs/progress.md");
        let row = page.lines().find(|line| line.starts_with("| action |")).unwrap();
        let listed: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        assert_eq!(listed, Action::ALL.map(Action::name));
    }
}
