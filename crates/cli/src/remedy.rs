//! Hints that say what to do about an error, found by the types of its causes.

mod files;
mod guests;
mod images;
mod names;
mod registries;

use std::error::Error as StdError;
use std::io;

use vmroot::ErrorKind;

use crate::commands::boot::NoKernel;
use crate::context::Context;

/// The hint for a missing kernel.
pub(crate) const KERNEL: &str = "this machine's kernel is a file such as /boot/vmlinuz-VERSION; Debian's package \
                                 linux-image-cloud-amd64 has one that starts faster, and docs/boot.md names others";

/// The hint for an architecture that is not known.
pub(crate) const ARCHITECTURES: &str =
    "architectures are named as in OCI images: amd64, arm64, arm, riscv64, ppc64le, s390x, 386 and others";

/// An error's cause.
type Cause<'e> = &'e (dyn StdError + 'static);

/// The command that failed.
pub(crate) struct Failed<'a> {
    /// Its name, such as `pull`.
    pub(crate) verb: &'a str,
    /// Its context, unless the options are wrong.
    pub(crate) context: Option<&'a Context>,
}

impl Failed<'_> {
    /// Returns whether the command does nothing but fetch or copy images. Others may have been cancelled while they did
    /// work that begins again.
    fn only_fetches(&self) -> bool {
        ["copy", "pull", "sync"].contains(&self.verb)
    }

    /// Returns whether the command fetches or copies images, so that it continues when it is run again.
    fn resumes(&self) -> bool {
        const OTHERS: [&str; 12] = [
            "rm",
            "untag",
            "gc",
            "lease",
            "df",
            "images",
            "login",
            "logout",
            "umount",
            "delete",
            "registries",
            "verify",
        ];
        !OTHERS.contains(&self.verb)
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
        return failed.only_fetches().then(|| "what was fetched is kept: running the command again resumes".to_owned());
    }
    let of_cause = |cause: &Cause<'_>| {
        let cause = *cause;
        None.or_else(|| registries::remedy(cause.downcast_ref()?, failed))
            .or_else(|| images::of_store(cause.downcast_ref()?, failed))
            .or_else(|| images::of_encryption(cause.downcast_ref()?))
            .or_else(|| images::of_transport(cause.downcast_ref()?))
            .or_else(|| names::remedy(cause.downcast_ref()?))
            .or_else(|| files::of_cache(cause.downcast_ref()?))
            .or_else(|| files::of_squashfs(cause.downcast_ref()?, failed))
            .or_else(|| guests::remedy(cause.downcast_ref()?))
            .or_else(|| cause.is::<NoKernel>().then(|| KERNEL.to_owned()))
            .or_else(|| files::of_layer(cause.downcast_ref()?))
            .or_else(|| files::of_fuse(cause.downcast_ref()?, failed))
            .or_else(|| files::of_kernel_mount(cause.downcast_ref()?))
    };
    let of_system = |cause: &Cause<'_>| files::of_system(cause.downcast_ref()?, failed);
    let found = causes.iter().find_map(of_cause).or_else(|| causes.iter().find_map(of_system));
    found.or_else(|| files::of_kind(kind, failed))
}
