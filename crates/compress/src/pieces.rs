//! Parts of a stream that are decoded before it is their turn.

use crate::Result;
use crate::budget::Room;
use crate::inflate::{Inflate, Piece};
use crate::input::Input;

/// How to go on with a stream.
pub(crate) enum Next {
    /// Decode to the first block that begins at this bit or later.
    Decode(u64),
    /// Take the next piece: it begins here.
    Take,
}

/// Where pieces of a gzip stream come from, if from anywhere.
pub(crate) trait Pieces<R> {
    /// Allows pieces of up to so many bytes: no limit is met within them.
    fn allow(&mut self, bytes: u64);

    /// How to go on from the place where `inflate` is.
    fn next(&mut self, input: &mut Input<R>, inflate: &mut Inflate) -> Result<Next>;

    /// The piece that is to be taken.
    fn take(&mut self) -> Option<Piece>;

    /// Goes on in the input at byte `at` of the stream, which is in the piece just taken or follows it.
    fn skip_to(&mut self, input: &mut Input<R>, at: u64);

    /// Takes back the memory of a piece.
    fn reuse(&mut self, room: Room);
}

/// No pieces: everything is decoded in its order.
#[derive(Debug)]
pub(crate) struct InOrder;

impl<R> Pieces<R> for InOrder {
    fn allow(&mut self, _: u64) {}

    fn next(&mut self, _: &mut Input<R>, _: &mut Inflate) -> Result<Next> {
        Ok(Next::Decode(u64::MAX))
    }

    fn take(&mut self) -> Option<Piece> {
        None
    }

    fn skip_to(&mut self, _: &mut Input<R>, _: u64) {}

    fn reuse(&mut self, _: Room) {}
}
