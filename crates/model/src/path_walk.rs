//! A walk along a path of an image, by way of symbolic links.

use std::borrow::Cow;

/// Symbolic links that one path may lead through, as in Linux (`MAXSYMLINKS`).
pub const MAX_LINKS: u32 = 40;

/// A path leads through more than [`MAX_LINKS`] symbolic links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {MAX_LINKS} symbolic links on the way")]
pub struct TooManyLinks;

/// A walk from an image's root along a path, as a process with this root resolves it (path_resolution(7)).
///
/// The walk knows no tree. Its caller looks up each name of [`PathWalk::next`] in the directory of [`PathWalk::here`], and
/// calls [`PathWalk::enter`] for a directory, or [`PathWalk::follow`] for a symbolic link. `D` is the caller's directory.
/// `..` at the root stays there and absolute targets begin there, so no path leads out of the image.
#[derive(Debug, Clone)]
pub struct PathWalk<'a, D> {
    /// The directories from the root to here.
    trail: Vec<D>,
    /// Names still to walk, the next one last.
    ahead: Vec<Cow<'a, [u8]>>,
    links: u32,
}

impl<'a, D> PathWalk<'a, D> {
    /// Begins at the root.
    pub fn new(root: D, path: &'a [u8]) -> Self {
        Self::along(root, path.split(|&byte| byte == b'/'))
    }

    /// Begins at the root, along names.
    pub fn along(root: D, names: impl DoubleEndedIterator<Item = &'a [u8]>) -> Self {
        Self { trail: vec![root], ahead: names.rev().map(Cow::Borrowed).collect(), links: 0 }
    }

    /// Returns the directory that the walk has come to.
    pub fn here(&self) -> &D {
        self.trail.last().expect("the root is never left")
    }

    /// Returns the number of directories between the root and here.
    pub fn depth(&self) -> usize {
        self.trail.len() - 1
    }

    /// Returns whether the path goes on, if only by a slash or a `.`: then the last name must be a directory.
    pub fn goes_on(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Returns whether the walk has come through more links than a path may.
    pub fn is_lost(&self) -> bool {
        self.links > MAX_LINKS
    }

    /// Returns the next name. `.`, `..` and empty names are done on the way.
    #[expect(clippy::should_implement_trait, reason = "a caller changes the walk between two names")]
    pub fn next(&mut self) -> Option<Cow<'a, [u8]>> {
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

    /// Goes into a directory.
    pub fn enter(&mut self, directory: D) {
        self.trail.push(directory);
    }

    /// Goes on along the target of a symbolic link that is here.
    ///
    /// # Errors
    /// [`TooManyLinks`] for the 41st link of the walk.
    pub fn follow(&mut self, target: &[u8]) -> Result<(), TooManyLinks> {
        self.links += 1;
        if self.is_lost() {
            return Err(TooManyLinks);
        }
        if target.starts_with(b"/") {
            self.trail.truncate(1);
        }
        self.ahead.extend(target.split(|&byte| byte == b'/').rev().map(|name| Cow::Owned(name.to_vec())));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks a path in a tree where every name is a directory, but `up` and `top`, which are links.
    fn walked(path: &[u8]) -> Result<Vec<String>, TooManyLinks> {
        let mut walk = PathWalk::new(String::new(), path);
        while let Some(name) = walk.next() {
            match &*name {
                b"up" => walk.follow(b"../x")?,
                b"top" => walk.follow(b"/y/.")?,
                b"loop" => walk.follow(b"loop")?,
                name => walk.enter(String::from_utf8_lossy(name).into_owned()),
            }
        }
        Ok(walk.trail.split_off(1))
    }

    #[test]
    fn dots_and_links_are_resolved_within_the_root() {
        for (path, expected) in [
            (&b""[..], &[][..]),
            (b"/a//./b/", &["a", "b"]),
            (b"a/../../b", &["b"]),
            (b"a/b/up/c", &["a", "x", "c"]),
            (b"up", &["x"]),
            (b"a/top/b", &["y", "b"]),
        ] {
            assert_eq!(walked(path).unwrap(), expected, "{}", path.escape_ascii());
        }
    }

    #[test]
    fn forty_links_and_no_more() {
        assert_eq!(walked(b"loop"), Err(TooManyLinks));
        let path = |count| vec![&b"top"[..]; count].join(&b'/');
        assert!(walked(&path(40)).is_ok());
        assert_eq!(walked(&path(41)), Err(TooManyLinks));
    }

    #[test]
    fn a_slash_at_the_end_is_known() {
        let mut walk = PathWalk::new((), b"a/");
        assert!(walk.next().is_some() && walk.goes_on());
        let mut walk = PathWalk::new((), b"/a");
        assert!(walk.next().is_some() && !walk.goes_on());
    }
}
