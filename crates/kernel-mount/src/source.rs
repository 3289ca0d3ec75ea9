//! The sources that mount tables show for the mounts of vmroot.

use std::path::{Component, Path, PathBuf};

/// The start of the source of every mount of vmroot.
pub(crate) const PREFIX: &str = "vmroot:";
/// The most bytes of a source: fsconfig(2) takes 255.
const MAX_SOURCE: usize = 255;

/// Returns the source of a mount by the kernel: a relative path that begins with [`PREFIX`].
///
/// The kernel opens the source of EROFS as a path, so the result has no component that leads elsewhere, and no slash at
/// its end. A source that is too long loses its end.
pub(crate) fn kernel_source(source: &str) -> PathBuf {
    let named = source.strip_prefix(PREFIX).unwrap_or(source);
    let mut text = format!("{PREFIX}{named}");
    while text.len() > MAX_SOURCE {
        text.pop();
    }
    let mut path = PathBuf::new();
    for component in Path::new(&text).components() {
        match component {
            Component::Normal(name) => path.push(name),
            _ => path.push("_"),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_relative_path_below_its_directory() {
        for (source, expected) in [
            ("vmroot", "vmroot:vmroot"),
            ("vmroot:demo", "vmroot:demo"),
            ("vmroot:quay.io/x/y@sha256:00", "vmroot:quay.io/x/y@sha256:00"),
            ("vmroot:oci:/a/../../b/", "vmroot:oci:/a/_/_/b"),
            ("vmroot:prebaked:..", "vmroot:prebaked:.."),
            ("vmroot:/a//b", "vmroot:/a/b"),
            ("", "vmroot:"),
            ("..", "vmroot:.."),
        ] {
            assert_eq!(kernel_source(source), Path::new(expected), "{source}");
        }
        let long = kernel_source(&"ä/".repeat(200));
        assert!(long.as_os_str().len() <= MAX_SOURCE && long.as_os_str().len() > MAX_SOURCE - 4);
    }
}
