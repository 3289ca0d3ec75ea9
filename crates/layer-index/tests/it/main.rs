//! Tests of building and merging indexes, by comparison with independent implementations.

mod damage;
mod dialects;
mod document;
mod exercise;
mod gnu_tar;
mod hostile;
mod merging;
mod million;
mod model;
mod publish;
mod stack;
mod umoci;
