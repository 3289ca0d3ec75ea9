//! The layer index from tars of all kinds to merged roots, against independent judges.

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
