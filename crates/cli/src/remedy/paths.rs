//! Hints for files and directories that are named as if they were images, and for files of other kinds.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use vmroot::{ImageName, describe_content, image_store, registry};

use super::{Cause, Failed};

/// The number of bytes at the start of a file that show its kind.
const START: u64 = 2048;

/// The files by which directories with an image are recognised, and the transports of such directories.
const DIRECTORIES: [(&str, &str); 3] = [("index.json", "oci"), ("manifest.json", "dir"), ("config.json", "prebaked")];

/// The hint for the image of a file system. Texts of errors name it as [`describe_content`] does.
const FILE_SYSTEM: &str = "a disk image is for guests, and no archive: `mount -o loop,ro FILE DIR` as root shows its files, \
                           and `tar -C DIR -cf root.tar .` makes a tar of them for `vmroot pull tarball:root.tar`";

/// The hint for the image of a disk.
const DISK: &str = "a disk image is for guests, and no archive: `docker save`, `podman save` and `skopeo copy` make archives of images";

/// Returns the hint for an operand that names a file or a directory instead of an image, if no image of this name was
/// found.
pub(super) fn of_operand(causes: &[Cause<'_>], failed: &Failed<'_>) -> Option<String> {
    let is_of_lookup = |cause: &Cause<'_>| {
        cause.is::<registry::Error>() || matches!(cause.downcast_ref(), Some(image_store::Error::NoSuchImage(_)))
    };
    if !causes.iter().any(is_of_lookup) {
        return None;
    }
    let path = failed.images.iter().find(|name| !ImageName::has_transport(name) && is_named_place(Path::new(name)))?;
    let kind = if Path::new(path).is_dir() { "directory" } else { "file" };
    Some(format!("{path} is also a {kind} here: {}", of_path(Path::new(path))))
}

/// Returns whether a path is a file, or a directory that can be named as an image.
fn is_named_place(path: &Path) -> bool {
    path.is_file() || DIRECTORIES.iter().any(|(file, _)| path.join(file).exists())
}

/// Returns how to name a file or a directory as an image.
pub(super) fn of_path(path: &Path) -> String {
    let shown = path.display();
    if path.is_dir() {
        return match DIRECTORIES.iter().find(|(file, _)| path.join(file).exists()) {
            Some((_, transport)) => format!("it is named {transport}:{shown}"),
            None => {
                "it is no directory with an image: oci:DIR names an OCI layout, dir:DIR a directory of `skopeo copy`, \
                     prebaked:DIR one of `vmroot export`"
                    .to_owned()
            }
        };
    }
    match content(path) {
        Some(content) if is_image(content) => of_content(content).unwrap_or_default().to_owned(),
        _ if !path.exists() => "there is no such file; a file is named docker-archive:FILE, oci-archive:FILE or \
                                tarball:FILE, a directory oci:DIR"
            .to_owned(),
        _ => format!(
            "an archive is named docker-archive:{shown} or oci-archive:{shown}, a tar of a root tarball:{shown}; \
             `vmroot load {shown}` loads archives"
        ),
    }
}

/// Returns the hint for a file with such content in place of an archive or a layer.
pub(super) fn of_content(content: &str) -> Option<&'static str> {
    match content {
        "an EROFS image" | "an ext4 image" | "a squashfs image" => Some(FILE_SYSTEM),
        "a qcow2 disk image" | "a VMDK disk image" | "a VHDX disk image" => Some(DISK),
        _ => None,
    }
}

/// Returns the hint for a file that is not an archive.
pub(super) fn of_archive(path: &Path) -> Option<&'static str> {
    of_content(content(path)?)
}

fn is_image(content: &str) -> bool {
    of_content(content).is_some()
}

/// Returns the content that a file seems to have.
fn content(path: &Path) -> Option<&'static str> {
    // Opening a pipe would wait for its writer.
    let file = path.metadata().ok().filter(std::fs::Metadata::is_file).and_then(|_| File::open(path).ok())?;
    let mut start = Vec::new();
    file.take(START).read_to_end(&mut start).ok()?;
    describe_content(&start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_a_path_has_its_own_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for (file, transport) in [("index.json", "oci:"), ("manifest.json", "dir:"), ("config.json", "prebaked:")] {
            let place = path(transport.trim_end_matches(':'));
            std::fs::create_dir(&place).unwrap();
            std::fs::write(place.join(file), "").unwrap();
            assert!(of_path(&place).ends_with(&format!("{transport}{}", place.display())), "{}", of_path(&place));
        }
        std::fs::write(path("squashfs"), b"hsqs").unwrap();
        assert_eq!(of_path(&path("squashfs")), FILE_SYSTEM);
        assert!(of_path(&path("missing")).starts_with("there is no such file"));
        std::fs::write(path("tar"), b"").unwrap();
        assert!(of_path(&path("tar")).contains("docker-archive:"));
    }
}
