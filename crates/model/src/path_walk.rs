//! Walking a path of an image through symbolic links.

use std::borrow::Cow;

/// The largest number of symbolic links in a path, as in Linux (`MAXSYMLINKS`).
pub const MAX_LINKS: u32 = 40;

/// A path leads through more than [`MAX_LINKS`] symbolic links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {MAX_LINKS} symbolic links on the way")]
pub struct TooManyLinks;

/// A walk along a path from the root, as in a process with this root directory (path_resolution(7)).
///
/// The walk does not read a tree. Its caller looks up the name of each [`Step`] in the step's directory. It calls
/// [`PathWalk::enter`] for a directory and [`PathWalk::follow`] for a symbolic link. `D` identifies a directory.
///
/// Absolute targets start at the root, and `..` in the root stays in the root, so no path leaves the image. A relative
/// path starts at the root as well.
///
/// The walk allocates memory for directories and links, not for names.
///
/// # Examples
/// ```
/// use vmroot_model::PathWalk;
///
/// let mut walk = PathWalk::new(String::new(), &b"lib/../run/./user"[..]);
/// while let Some(step) = walk.next() {
///     let directory = format!("{}/{}", step.directory, String::from_utf8_lossy(step.name));
///     walk.enter(directory);
/// }
/// assert_eq!(walk.current(), "/run/user");
/// ```
#[derive(Debug, Clone)]
pub struct PathWalk<'a, D> {
    /// The directories from the root to the current one. `..` returns to the one before the last.
    trail: Vec<D>,
    /// The path and the targets of links that are not walked completely, the innermost last.
    remaining: Vec<Remaining<'a>>,
    /// The number of symbolic links so far.
    links: u32,
    /// Whether the walk ends at a `..` in the root.
    stops_outside_root: bool,
    /// Whether the walk ended at a `..` in the root.
    left_root: bool,
}

/// A name to look up.
#[derive(Debug)]
pub struct Step<'w, D> {
    /// The directory to look in.
    pub directory: &'w D,
    /// The name. It is not empty, `.` or `..`.
    pub name: &'w [u8],
    remaining: &'w [Remaining<'w>],
}

/// A path whose first names may be walked.
#[derive(Debug, Clone)]
struct Remaining<'a> {
    path: Cow<'a, [u8]>,
    /// The position of the next name, one past the end of the path if there is none.
    position: usize,
}

impl<'a, D> PathWalk<'a, D> {
    /// Starts at the root.
    pub fn new(root: D, path: impl Into<Cow<'a, [u8]>>) -> Self {
        let remaining = vec![Remaining::new(path.into())];
        Self { trail: vec![root], remaining, links: 0, stops_outside_root: false, left_root: false }
    }

    /// Makes the walk end at a `..` in the root, which otherwise has no effect.
    #[must_use]
    pub fn stop_outside_root(self) -> Self {
        Self { stops_outside_root: true, ..self }
    }

    /// Returns the current directory.
    pub fn current(&self) -> &D {
        self.trail.last().expect("the trail contains the root")
    }

    /// Returns the number of directories from the root to the current one, without the root.
    pub fn depth(&self) -> usize {
        self.trail.len() - 1
    }

    /// Returns whether the walk ended at a `..` in the root, after [`Self::stop_outside_root`].
    pub fn has_left_root(&self) -> bool {
        self.left_root
    }

    /// Returns whether the walk has met more than [`MAX_LINKS`] links, as in a circle of links.
    pub fn exceeds_link_limit(&self) -> bool {
        self.links > MAX_LINKS
    }

    /// Returns the next name to look up, or `None` at the end. Handles empty names, `.` and `..` itself.
    #[expect(clippy::should_implement_trait, reason = "a step borrows the walk")]
    pub fn next(&mut self) -> Option<Step<'_, D>> {
        let name = loop {
            let last = self.remaining.last_mut()?;
            let Some(name) = last.next() else {
                self.remaining.pop();
                continue;
            };
            match &last.path[name.clone()] {
                b"" | b"." => {}
                b".." if self.trail.len() > 1 => drop(self.trail.pop()),
                b".." if self.stops_outside_root => {
                    self.left_root = true;
                    self.remaining.clear();
                    return None;
                }
                b".." => {}
                _ => break name,
            }
        };
        let last = self.remaining.last()?;
        Some(Step { directory: self.trail.last()?, name: &last.path[name], remaining: &self.remaining })
    }

    /// Moves into a directory of the current one.
    pub fn enter(&mut self, directory: D) {
        self.trail.push(directory);
    }

    /// Continues along the target of a symbolic link in the current directory.
    ///
    /// # Errors
    /// [`TooManyLinks`] for the 41st link of the walk.
    pub fn follow(&mut self, target: impl Into<Cow<'a, [u8]>>) -> Result<(), TooManyLinks> {
        let target = target.into();
        if target.starts_with(b"/") {
            return self.follow_from_root(target);
        }
        self.add_link(target)
    }

    /// Continues along a path that starts at the root, with or without a slash. It counts as a link.
    ///
    /// # Errors
    /// [`TooManyLinks`] for the 41st link of the walk.
    pub fn follow_from_root(&mut self, target: impl Into<Cow<'a, [u8]>>) -> Result<(), TooManyLinks> {
        self.trail.truncate(1);
        self.add_link(target.into())
    }

    fn add_link(&mut self, target: Cow<'a, [u8]>) -> Result<(), TooManyLinks> {
        self.links += 1;
        if self.exceeds_link_limit() {
            return Err(TooManyLinks);
        }
        if self.remaining.last().is_some_and(Remaining::is_empty) {
            self.remaining.pop();
        }
        self.remaining.push(Remaining::new(target));
        Ok(())
    }
}

impl<D> Step<'_, D> {
    /// Returns whether nothing follows the name, not even a slash.
    ///
    /// A system call follows a symbolic link at such a name only if it follows links at all.
    pub fn is_last(&self) -> bool {
        self.remaining.iter().all(Remaining::is_empty)
    }

    /// Returns whether no other name and no `..` follows the name. Slashes and `.` may follow.
    pub fn is_last_name(&self) -> bool {
        self.remaining.iter().all(Remaining::has_no_names)
    }
}

impl<'a> Remaining<'a> {
    fn new(path: Cow<'a, [u8]>) -> Self {
        Self { path, position: 0 }
    }

    /// Returns the range of the next name.
    fn next(&mut self) -> Option<std::ops::Range<usize>> {
        let start = self.position;
        let bytes = self.path.get(start..)?;
        let end = start + bytes.iter().position(|&byte| byte == b'/').unwrap_or(bytes.len());
        self.position = end + 1;
        Some(start..end)
    }

    fn is_empty(&self) -> bool {
        self.position > self.path.len()
    }

    fn has_no_names(&self) -> bool {
        let bytes = self.path.get(self.position..).unwrap_or_default();
        bytes.split(|&byte| byte == b'/').all(|name| matches!(name, b"" | b"."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks a path in a tree in which every name is a directory, except links.
    fn walk(path: &[u8]) -> Result<PathWalk<'_, String>, TooManyLinks> {
        let mut walk = PathWalk::new(String::new(), path);
        while let Some(step) = walk.next() {
            match step.name {
                b"up" => walk.follow(&b"../x"[..])?,
                b"top" => walk.follow(b"/y/.".to_vec())?,
                b"loop" => walk.follow(&b"loop"[..])?,
                b"empty" => walk.follow(&b""[..])?,
                b"hard" => walk.follow_from_root(&b"z"[..])?,
                name => {
                    let directory = format!("{}/{}", step.directory, name.escape_ascii());
                    walk.enter(directory);
                }
            }
        }
        Ok(walk)
    }

    #[test]
    fn dots_and_links_are_resolved_within_the_root() {
        for (path, expected) in [
            ("", ""),
            ("/", ""),
            ("/a//./b/", "/a/b"),
            ("a/../../b", "/b"),
            ("a/b/up/c", "/a/x/c"),
            ("up", "/x"),
            ("a/top/b", "/y/b"),
            ("a/empty/b", "/a/b"),
            ("a/hard/b", "/z/b"),
        ] {
            let walk = walk(path.as_bytes()).unwrap();
            assert_eq!(walk.current(), expected, "{path}");
            assert_eq!(walk.depth(), expected.matches('/').count(), "{path}");
            assert!(!walk.has_left_root());
        }
    }

    #[test]
    fn a_walk_can_stop_outside_the_root() {
        for (path, names, left_root) in [("a/..", 1, false), ("a/../../b", 1, true), ("../a", 0, true)] {
            let mut walk = PathWalk::new((), path.as_bytes()).stop_outside_root();
            let mut count = 0;
            while walk.next().is_some() {
                count += 1;
                walk.enter(());
            }
            assert_eq!((count, walk.has_left_root()), (names, left_root), "{path}");
        }
    }

    #[test]
    fn the_limit_is_forty_links() {
        let path = |count| ["top"; 41][..count].join("/");
        assert!(walk(path(40).as_bytes()).is_ok());
        assert_eq!(walk(path(41).as_bytes()).unwrap_err(), TooManyLinks);
        assert_eq!(walk(b"loop").unwrap_err(), TooManyLinks);
    }

    #[test]
    fn a_step_knows_whether_it_is_the_last() {
        for (path, is_last, is_last_name) in [
            ("a", true, true),
            ("/a", true, true),
            ("a/", false, true),
            ("a//.", false, true),
            ("a/..", false, false),
            ("a/./b", false, false),
        ] {
            let mut walk = PathWalk::new((), path.as_bytes());
            let step = walk.next().unwrap();
            assert_eq!((step.is_last(), step.is_last_name()), (is_last, is_last_name), "{path}");
        }
    }

    #[test]
    fn a_path_continues_after_the_target_of_a_link() {
        for (path, target, is_last, is_last_name) in [
            ("link", "x", true, true),
            ("link", "x/", false, true),
            ("link/", "x", false, true),
            ("link/y", "x", false, false),
        ] {
            let mut walk = PathWalk::new((), path.as_bytes());
            walk.next().unwrap();
            walk.follow(target.as_bytes()).unwrap();
            let step = walk.next().unwrap();
            assert_eq!(step.name, b"x");
            assert_eq!((step.is_last(), step.is_last_name()), (is_last, is_last_name), "{path} {target}");
        }
    }
}
