//! The tree of a layer laid over the merged one.

use super::tree::{InodeId, ROOT, Tree};

impl Tree {
    /// Lays the layer whose tree begins at `upper` over the merged tree.
    pub(super) fn lay_over(&mut self, upper: InodeId) {
        let mut pairs = vec![(ROOT, upper)];
        while let Some((lower, upper)) = pairs.pop() {
            let layer = self.directory(upper).expect("pairs are of directories").clone();
            if !layer.implicit {
                self.inodes[lower].attributes = self.inodes[upper].attributes.clone();
            }
            let merged = self.directory_mut(lower);
            if layer.opaque {
                merged.children.clear();
            }
            for hidden in &layer.whiteouts {
                merged.children.remove(hidden);
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
}
