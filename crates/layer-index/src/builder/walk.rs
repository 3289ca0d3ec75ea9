//! A walk from the root along names, some of which come from symbolic links.

use std::borrow::Cow;
use std::cell::Cell;

use super::tree::ROOT;
use crate::error::Reason;

/// How many symbolic links a path may lead through, as in Linux (`MAXSYMLINKS`).
const MAX_LINKS: u32 = 40;

/// How many directories may lie in each other. Linux has no such limit, but a path (`PATH_MAX`) cannot name more than
/// half as many, and readers of an index keep a path for each directory that they walk.
const MAX_DEPTH: usize = 4096;

/// How many bytes of link targets all paths of a layer may lead through. Real layers stay under a hundredth; without a
/// limit a small tar could keep a machine busy for hours.
const MAX_FOLLOWED: u64 = 1 << 28;

/// Where a walk is, and what is ahead of it.
pub(super) struct Walk<'a> {
    /// The directories from the root to here, so that `..` has somewhere to go.
    trail: Vec<u32>,
    /// Names still to walk, the next one last.
    ahead: Vec<Cow<'a, [u8]>>,
    links: u32,
}

impl<'a> Walk<'a> {
    pub(super) fn new(path: &[&'a [u8]]) -> Self {
        let ahead = path.iter().rev().map(|&name| Cow::Borrowed(name)).collect();
        Self { trail: vec![ROOT], ahead, links: 0 }
    }

    pub(super) fn here(&self) -> u32 {
        *self.trail.last().expect("the root is never left")
    }

    /// How many directories lie between the root and here.
    pub(super) fn depth(&self) -> usize {
        self.trail.len() - 1
    }

    /// Whether it came through more links than a path may, as one that leads back to itself does.
    pub(super) fn is_lost(&self) -> bool {
        self.links > MAX_LINKS
    }

    /// The next name; `.` and `..` are done here, and `..` at the root stays there.
    pub(super) fn next(&mut self) -> Option<Cow<'a, [u8]>> {
        loop {
            let name = self.ahead.pop()?;
            match &*name {
                b"" | b"." => {}
                b".." if self.trail.len() > 1 => drop(self.trail.pop()),
                b".." => {}
                _ => return Some(name),
            }
        }
    }

    pub(super) fn enter(&mut self, directory: u32) -> Result<(), Reason> {
        if self.trail.len() > MAX_DEPTH {
            return Err(Reason::limit("MAX_DEPTH", format!("more than {MAX_DEPTH} directories in each other")));
        }
        self.trail.push(directory);
        Ok(())
    }

    /// Goes on along a link's target; `followed` counts for all walks of a layer.
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
        self.ahead.extend(target.split(|&byte| byte == b'/').rev().map(|name| Cow::Owned(name.to_vec())));
        Ok(())
    }
}
