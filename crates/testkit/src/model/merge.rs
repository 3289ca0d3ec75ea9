//! Merges a layer into the merged tree: applies its markers first, then its entries.

use super::draft::Marker;
use super::tree::{InodeId, ROOT, Tree};

impl Tree {
    /// Merges a layer with this root and these markers into the merged tree.
    pub(super) fn lay_over(&mut self, upper: InodeId, markers: &[Marker]) {
        for marker in markers {
            self.take_away(marker);
        }
        self.put_over(upper);
        for marker in markers.iter().filter(|marker| !marker.linked) {
            self.make_directories(upper, marker, markers);
        }
    }

    /// Removes the entries of lower layers that a marker hides.
    fn take_away(&mut self, marker: &Marker) {
        let Some(directory) = self.real_directory(ROOT, &marker.directory) else { return };
        let children = &mut self.directory_mut(directory).children;
        match &marker.hidden {
            Some(hidden) => drop(children.remove(hidden)),
            None => children.clear(),
        }
    }

    fn put_over(&mut self, upper: InodeId) {
        let mut pairs = vec![(ROOT, upper)];
        while let Some((lower, upper)) = pairs.pop() {
            let layer = self.directory(upper).expect("pairs are of directories").clone();
            if !layer.implicit {
                self.inodes[lower].attributes = self.inodes[upper].attributes.clone();
            }
            for (name, child) in layer.children {
                let below = self.directory(lower).and_then(|directory| directory.children.get(&name).copied());
                match below {
                    Some(below) if self.directory(below).is_some() && self.directory(child).is_some() => {
                        pairs.push((below, child));
                    }
                    _ => drop(self.directory_mut(lower).children.insert(name, child)),
                }
            }
        }
    }

    /// Creates the directory of a marker and its parents, unless the layer has another entry there or a marker hides
    /// it.
    fn make_directories(&mut self, upper: InodeId, marker: &Marker, markers: &[Marker]) {
        for end in 1..=marker.directory.len() {
            let path = &marker.directory[..end];
            if self.real_directory(ROOT, path).is_some() {
                continue;
            }
            let of_this_layer = self.find(upper, path).is_some();
            if of_this_layer || markers.iter().any(|other| other.hides(path)) {
                return;
            }
            let parent = self.real_directory(ROOT, &path[..end - 1]).expect("it was made before");
            let made = self.add_implicit();
            self.directory_mut(parent).children.insert(path[end - 1].clone(), made);
        }
    }

    /// Returns the directory at a path without links.
    fn real_directory(&self, root: InodeId, path: &[Vec<u8>]) -> Option<InodeId> {
        path.iter().try_fold(root, |directory, name| {
            let child = *self.directory(directory)?.children.get(name)?;
            self.directory(child).map(|_| child)
        })
    }
}

impl Marker {
    /// Returns whether the marker hides a path of the lower layers completely.
    fn hides(&self, path: &[Vec<u8>]) -> bool {
        let Some(below) = path.strip_prefix(self.directory.as_slice()) else { return false };
        match &self.hidden {
            Some(hidden) => below.first() == Some(hidden),
            None => !below.is_empty(),
        }
    }
}
