//! Progress of copies.

use std::fmt;

use vmroot_model::Descriptor;

/// Receives the progress of a copy. The methods are called often and from several threads at once. All of them do
/// nothing by default, and further ones may be added.
pub trait CopyProgress: Send + Sync {
    /// The blobs of an image are copied next. Some of them may turn out to be at the destination already, or to have been
    /// announced before.
    fn planned(&self, _blobs: &[Descriptor]) {}

    /// A blob of the source changed its state.
    fn blob(&self, _blob: &Descriptor, _state: BlobState) {}

    /// A message for the user: for example, that an instance of a list is copied.
    fn message(&self, _message: &str) {}
}

/// The state of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlobState {
    /// Its transfer begins, or begins again after a failure.
    Started,
    /// This many bytes of the source were read.
    Read(u64),
    /// It was written.
    Written,
    /// The destination has it already, or got it from another repository.
    Reused,
}

/// Ignores all events.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCopyProgress;

impl CopyProgress for NoCopyProgress {}

impl fmt::Debug for dyn CopyProgress + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CopyProgress")
    }
}
