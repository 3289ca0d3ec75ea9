//! Walking a path from the root, through symbolic links.

use std::borrow::Cow;
use std::cell::Cell;

use super::tree::ROOT;
use crate::error::Reason;

/// The largest number of symbolic links in a path, as in Linux (`MAXSYMLINKS`).
const MAX_LINKS: u32 = 40;

/// The largest depth of nested directories. Readers of an index keep a path for each directory of a walk. Linux has no
/// such limit, but a path (`PATH_MAX`) has at most half as many names.
const MAX_DEPTH: usize = 4096;

/// The largest total size in bytes of the symbolic link targets that all paths of a layer lead through. Without a
/// limit, a small tar could keep a machine busy for hours. Real layers stay under a hundredth of it.
const MAX_FOLLOWED: u64 = 1 << 28;

/// The state of a walk along a path.
pub(super) struct Walk<'a> {
    /// The directories from the root to the current one. `..` returns to the one before the last.
    trail: Vec<u32>,
    /// The remaining names, the next one last.
    remaining: Vec<Cow<'a, [u8]>>,
    /// The number of symbolic links so far.
    links: u32,
}

impl<'a> Walk<'a> {
    pub(super) fn new(path: &[&'a [u8]]) -> Self {
        let remaining = path.iter().rev().map(|&name| Cow::Borrowed(name)).collect();
        Self { trail: vec![ROOT], remaining, links: 0 }
    }

    /// Returns the current directory.
    pub(super) fn current(&self) -> u32 {
        *self.trail.last().expect("the trail contains the root")
    }

    /// Returns the number of directories from the root to the current one, without the root.
    pub(super) fn depth(&self) -> usize {
        self.trail.len() - 1
    }

    /// Returns whether the walk has followed more links than allowed, as in a circle of links.
    pub(super) fn exceeds_link_limit(&self) -> bool {
        self.links > MAX_LINKS
    }

    /// Returns the next name. Handles `.` and `..` itself; `..` in the root stays in the root.
    pub(super) fn next(&mut self) -> Option<Cow<'a, [u8]>> {
        loop {
            let name = self.remaining.pop()?;
            match &*name {
                b"" | b"." => {}
                b".." if self.trail.len() > 1 => drop(self.trail.pop()),
                b".." => {}
                _ => return Some(name),
            }
        }
    }

    /// Moves into a directory of the current one. Fails if it is nested too deep.
    pub(super) fn enter(&mut self, directory: u32) -> Result<(), Reason> {
        if self.trail.len() > MAX_DEPTH {
            return Err(Reason::limit("MAX_DEPTH", format!("more than {MAX_DEPTH} nested directories")));
        }
        self.trail.push(directory);
        Ok(())
    }

    /// Continues the walk along the target of a symbolic link.
    ///
    /// `followed` is the total size of the targets in all walks of a layer. Fails if it or the number of links exceeds
    /// its limit.
    pub(super) fn follow(&mut self, target: &[u8], followed: &Cell<u64>) -> Result<(), Reason> {
        followed.set(followed.get() + target.len() as u64);
        if followed.get() > MAX_FOLLOWED {
            let reason =
                format!("the paths of the layer lead through more than {MAX_FOLLOWED} bytes of symbolic links");
            return Err(Reason::limit("MAX_FOLLOWED", reason));
        }
        self.links += 1;
        if self.links > MAX_LINKS {
            let reason = format!("its path leads through more than {MAX_LINKS} symbolic links");
            return Err(Reason::limit("MAX_LINKS", reason));
        }
        if target.starts_with(b"/") {
            self.trail.truncate(1);
        }
        self.remaining.extend(target.split(|&byte| byte == b'/').rev().map(|name| Cow::Owned(name.to_vec())));
        Ok(())
    }
}
