//! Random streams, whole and damaged, with random sizes and limits.
