//! Parts of a stream that are decoded ahead.

use crate::Result;
use crate::budget::PieceBuffers;
use crate::inflate::{Inflate, Piece};
use crate::input::Input;

/// The next step of decoding a stream.
pub(crate) enum NextStep {
    /// Decode up to the first block that begins at this bit or later.
    Decode(u64),
    /// Take the next piece, which begins at the current position.
    Take,
}

/// A source of decoded pieces of a gzip stream.
pub(crate) trait Pieces<R> {
    /// Sets the largest size of pieces in bytes. No limit of the stream is exceeded within them.
    fn set_max_size(&mut self, bytes: u64);

    /// Returns the next step from the current position of `inflate`.
    fn next_step(&mut self, input: &mut Input<R>, inflate: &mut Inflate) -> Result<NextStep>;

    /// Returns the piece to take.
    fn take(&mut self) -> Option<Piece>;

    /// Moves the input to byte `at` of the stream, which is in the piece just taken or behind it.
    fn skip_to(&mut self, input: &mut Input<R>, at: u64);

    /// Reclaims the memory of a piece.
    fn reuse(&mut self, buffers: PieceBuffers);
}

/// No pieces. The whole stream is decoded in order.
#[derive(Debug)]
pub(crate) struct InOrder;

impl<R> Pieces<R> for InOrder {
    fn set_max_size(&mut self, _: u64) {}

    fn next_step(&mut self, _: &mut Input<R>, _: &mut Inflate) -> Result<NextStep> {
        Ok(NextStep::Decode(u64::MAX))
    }

    fn take(&mut self) -> Option<Piece> {
        None
    }

    fn skip_to(&mut self, _: &mut Input<R>, _: u64) {}

    fn reuse(&mut self, _: PieceBuffers) {}
}
