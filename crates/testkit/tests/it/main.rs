//! The test kit judged: the model against the rules, the builders against other programs, all against the kernel.

mod gnu_tar;
mod hostile;
mod images;
mod kernel;
mod merge_rules;
