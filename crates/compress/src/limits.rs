//! How far a hostile stream may go.

/// Limits on what one stream may decode to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes that may come out.
    pub max_output: u64,
    /// Most bytes that may come out for each byte that went in; looked at once [`Limits::RATIO_FREE_OUTPUT`] bytes are out.
    pub max_ratio: u64,
    /// Largest zstd window, as a power of two: a frame's header can ask for far more memory than this. From 10 to 31.
    pub zstd_window_log: u32,
}

impl Limits {
    /// Output up to which [`Limits::max_ratio`] is not looked at: an honest layer may be a few files of zeros.
    pub const RATIO_FREE_OUTPUT: u64 = 256 << 20;
}

impl Default for Limits {
    /// 64 GiB out, 400 times the input, windows of 128 MiB.
    fn default() -> Self {
        Self { max_output: 64 << 30, max_ratio: 400, zstd_window_log: 27 }
    }
}
