//! The progress of a decoder.

/// The result of a decoding step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The chunk is full, and more output may follow.
    Full,
    /// The compressed stream and the input have ended.
    Ended,
}
