//! Walking a path of a layer within limits.

use std::cell::Cell;

use vmroot_model::{MAX_LINKS, PathWalk, Step};

use super::tree::ROOT;
use crate::error::Reason;

/// The largest depth of nested directories. Readers of an index keep a path for each directory of a walk. Linux has no
/// such limit, but a path (`PATH_MAX`) has at most half as many names.
const MAX_DEPTH: usize = 4096;

/// The largest total size in bytes of the symbolic link targets that all paths of a layer lead through. Without a
/// limit, a small tar could keep a machine busy for hours. Real layers stay under a hundredth of it.
const MAX_FOLLOWED: u64 = 1 << 28;

/// A [`PathWalk`] with the limits of a layer.
pub(super) struct Walk(PathWalk<'static, u32>);

impl Walk {
    pub(super) fn new(path: &[&[u8]]) -> Self {
        Self(PathWalk::new(ROOT, path.join(&b'/')))
    }

    pub(super) fn current(&self) -> u32 {
        *self.0.current()
    }

    pub(super) fn depth(&self) -> usize {
        self.0.depth()
    }

    pub(super) fn exceeds_link_limit(&self) -> bool {
        self.0.exceeds_link_limit()
    }

    pub(super) fn next(&mut self) -> Option<Step<'_, u32>> {
        self.0.next()
    }

    /// Moves into a directory of the current one. Fails if it is nested too deep.
    pub(super) fn enter(&mut self, directory: u32) -> Result<(), Reason> {
        if self.depth() >= MAX_DEPTH {
            return Err(Reason::limit("MAX_DEPTH", format!("more than {MAX_DEPTH} nested directories")));
        }
        self.0.enter(directory);
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
        self.0.follow(target.to_vec()).map_err(|_| {
            let reason = format!("its path leads through more than {MAX_LINKS} symbolic links");
            Reason::limit("MAX_LINKS", reason)
        })
    }
}
