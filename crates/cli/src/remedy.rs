//! Hints that say what to do about an error, found by the types of its causes.

mod changes;
mod copies;
mod files;
mod guests;
mod images;
mod names;
mod paths;
mod registries;
mod verity;

use std::error::Error as StdError;
use std::io;

use vmroot::{ErrorKind, ImageName};

use crate::args::fetches_images;
use crate::commands::boot::NoKernel;
use crate::commands::mount::place::NoMountpoint;
use crate::context::Context;
use crate::output::StdoutFailed;
pub(crate) use guests::of_report;

/// The hint for a missing kernel.
pub(crate) const KERNEL: &str = "this machine's kernel is a file such as /boot/vmlinuz-VERSION; Debian's package \
                                 linux-image-cloud-amd64 has one that starts faster, and docs/boot.md names others";

/// The hint for an architecture that is not known.
pub(crate) const ARCHITECTURES: &str =
    "architectures are named as in OCI images: amd64, arm64, arm, riscv64, ppc64le, s390x, 386 and others";

/// The hint for a copy that ended early.
const COPIES_AGAIN: &str =
    "running the command again copies what is missing: docker:// and oci: keep whole blobs, other places begin again";

/// An error's cause.
type Cause<'e> = &'e (dyn StdError + 'static);

/// The command that failed.
pub(crate) struct Failed<'a> {
    /// Its name, such as `pull`.
    pub(crate) verb: &'a str,
    /// Its context, unless the options are wrong.
    pub(crate) context: Option<&'a Context>,
    /// The names of images on its command line.
    pub(crate) images: &'a [String],
}

impl Failed<'_> {
    /// Returns whether the command copies images to other places than the cache, which keep whole blobs at most.
    fn copies(&self) -> bool {
        ["copy", "sync"].contains(&self.verb)
    }

    /// Returns whether the command fetches images into the cache, so that it continues when it is run again.
    fn resumes(&self) -> bool {
        fetches_images(self.verb) && !self.copies()
    }
}

/// Returns an error and all its causes, outermost first, with those that show as another error.
pub(crate) fn causes(error: &anyhow::Error) -> Vec<Cause<'_>> {
    let mut all = Vec::new();
    for cause in error.chain() {
        all.push(cause);
        if let Some(error) = cause.downcast_ref::<vmroot::Error>() {
            all.extend(error.causes().into_iter().skip(1));
            break;
        }
        if let Some(inner) = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            all.push(inner);
        }
    }
    all
}

/// Returns what to do about an error, if something can be done. `kind` is its kind.
pub(crate) fn remedy(causes: &[Cause<'_>], kind: ErrorKind, failed: &Failed<'_>) -> Option<String> {
    if kind == ErrorKind::Cancelled {
        return match failed.verb {
            // Other verbs may have been cancelled while they did work that begins again.
            "pull" if failed.images.iter().any(|name| ImageName::is_archive(name)) => None,
            "pull" => Some("what was fetched is kept: running the command again resumes".to_owned()),
            _ if failed.copies() => Some(COPIES_AGAIN.to_owned()),
            _ => None,
        };
    }
    let of_cause = |cause: &Cause<'_>| {
        let cause = *cause;
        None.or_else(|| registries::remedy(cause.downcast_ref()?, failed))
            .or_else(|| images::of_store(cause.downcast_ref()?, failed))
            .or_else(|| images::of_encryption(cause.downcast_ref()?))
            .or_else(|| images::of_sigstore_key(cause.downcast_ref()?, failed))
            .or_else(|| images::of_openpgp_key(cause.downcast_ref()?, failed))
            .or_else(|| images::of_transport(cause.downcast_ref()?, failed))
            .or_else(|| names::remedy(cause.downcast_ref()?, failed))
            .or_else(|| files::of_cache(cause.downcast_ref()?))
            .or_else(|| files::of_squashfs(cause.downcast_ref()?, failed))
            .or_else(|| copies::of_copy(cause.downcast_ref()?))
            .or_else(|| copies::of_compression(cause.downcast_ref()?))
            .or_else(|| changes::remedy(cause.downcast_ref()?))
            .or_else(|| files::of_configuration(cause.downcast_ref()?))
            .or_else(|| files::of_root(cause.downcast_ref()?, failed))
            .or_else(|| files::of_ext4(cause.downcast_ref()?, failed))
            .or_else(|| files::of_disk(cause.downcast_ref()?))
            .or_else(|| guests::remedy(cause.downcast_ref()?))
            .or_else(|| guests::of_init(cause.downcast_ref()?))
            .or_else(|| verity::remedy(cause.downcast_ref()?))
            .or_else(|| cause.is::<NoKernel>().then(|| KERNEL.to_owned()))
            .or_else(|| cause.is::<NoMountpoint>().then(|| "--mkdir creates the directory".to_owned()))
            .or_else(|| files::of_layer(cause.downcast_ref()?))
            .or_else(|| files::of_fuse(cause.downcast_ref()?, failed))
            .or_else(|| files::of_kernel_mount(cause.downcast_ref()?))
    };
    if causes.iter().any(|cause| cause.is::<StdoutFailed>()) {
        return None;
    }
    if let Some(hint) = paths::of_operand(causes, failed) {
        return Some(hint);
    }
    if causes.iter().any(|cause| cause.is::<vmroot::registry::Error>())
        && let Some(hint) = images::of_short_name(failed)
    {
        return Some(hint);
    }
    let of_system = |cause: &Cause<'_>| files::of_system(cause.downcast_ref()?, failed);
    let found = causes.iter().find_map(of_cause).or_else(|| causes.iter().find_map(of_system));
    found.or_else(|| files::of_kind(kind, failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pull_promises_to_resume() {
        let hint = |verb| remedy(&[], ErrorKind::Cancelled, &Failed { verb, context: None, images: &[] });
        assert!(hint("pull").unwrap().contains("resumes"));
        for verb in ["copy", "sync"] {
            assert!(hint(verb).unwrap().contains("keep whole blobs"), "{verb}");
            assert!(!hint(verb).unwrap().contains("resumes"), "{verb}");
        }
        assert_eq!(hint("export"), None);
    }
}
