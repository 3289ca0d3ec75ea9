//! Copies images from a source to a destination: lists, conversions, compression, reuse of blobs.
