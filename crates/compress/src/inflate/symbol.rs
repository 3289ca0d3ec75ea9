//! The output of the decoder: bytes, or bytes and marks.

use std::io::Read;

use crate::Result;
use crate::input::Input;

/// A byte, or a wider type that includes bytes.
pub(super) trait Symbol: Copy + From<u8> {
    /// Reads bytes of a stored block into `out`. Returns 0 at the end of the input.
    fn read<R: Read>(input: &mut Input<R>, out: &mut [Self]) -> Result<usize>;
}

impl Symbol for u8 {
    fn read<R: Read>(input: &mut Input<R>, out: &mut [Self]) -> Result<usize> {
        input.read(out)
    }
}

impl Symbol for u16 {
    fn read<R: Read>(input: &mut Input<R>, out: &mut [Self]) -> Result<usize> {
        let bytes = input.fill()?;
        let n = bytes.len().min(out.len());
        for (symbol, byte) in out.iter_mut().zip(bytes) {
            *symbol = Self::from(*byte);
        }
        input.consume(n);
        Ok(n)
    }
}
