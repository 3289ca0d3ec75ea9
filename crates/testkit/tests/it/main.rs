//! Tests of the test kit: the model against the rules, the builders against other programs, and all against the kernel.

mod gnu_tar;
mod hostile;
mod images;
mod kernel;
mod merge_rules;
