//! Copying matches, many symbols at a time.

use std::cell::Cell;

use super::symbol::Symbol;

/// The number of symbols copied at once. Few matches are longer.
const STRIDE: usize = 32;

/// There is always space for a stride: [`MARGIN`](crate::chunk::MARGIN) is the longest match plus more than a stride.
const ROOM: &str = "the window has a margin";

/// Copies `length` symbols (up to 258) from `distance` before `to`. It may also overwrite up to [`STRIDE`] symbols
/// after them.
///
/// `distance` is from 1 to `to`.
#[inline(always)]
pub(super) fn copy_match<T: Symbol>(out: &mut [T], to: usize, distance: usize, length: usize) {
    // Cells allow source and target to overlap.
    let out = Cell::from_mut(out).as_slice_of_cells();
    let end = to + length;
    if distance >= WORD {
        let mut to = to;
        loop {
            copy_stride(&out[to - distance..], &out[to..]);
            to += STRIDE;
            if to >= end {
                break;
            }
        }
    } else if distance == 1 {
        fill(out, to, end);
    } else {
        copy_near(out, to, distance, end);
    }
}

/// The number of symbols in a word. All of them are read before they are written.
const WORD: usize = 8;

#[inline(always)]
fn copy_stride<T: Symbol>(source: &[Cell<T>], target: &[Cell<T>]) {
    let source = source.first_chunk::<STRIDE>().expect(ROOM);
    let target = target.first_chunk::<STRIDE>().expect(ROOM);
    for at in [0, 8, 16, 24] {
        copy_word(&source[at..], &target[at..]);
    }
}

#[inline(always)]
fn copy_word<T: Symbol>(source: &[Cell<T>], target: &[Cell<T>]) {
    let source = source.first_chunk::<WORD>().expect(ROOM);
    let target = target.first_chunk::<WORD>().expect(ROOM);
    let word = source.each_ref().map(Cell::get);
    for (cell, symbol) in target.iter().zip(word) {
        cell.set(symbol);
    }
}

/// Repeats the symbol before `to`. This is how runs are compressed.
#[inline(never)]
fn fill<T: Symbol>(out: &[Cell<T>], mut to: usize, end: usize) {
    let symbol = out[to - 1].get();
    while to < end {
        for cell in out[to..].first_chunk::<STRIDE>().expect(ROOM) {
            cell.set(symbol);
        }
        to += STRIDE;
    }
}

/// Copies a match whose distance is less than a word.
#[inline(never)]
fn copy_near<T: Symbol>(out: &[Cell<T>], mut to: usize, distance: usize, end: usize) {
    while to < end {
        copy_word(&out[to - distance..], &out[to..]);
        // Only the first `distance` symbols of the word were final when it was read.
        to += distance;
    }
}
