//! The program as its users meet it: what is typed, what comes out, and the exit code.

mod program;
mod samples;

mod booting;
mod changes;
mod describing;
mod erofs;
mod exporting;
mod files;
mod guests;
mod housekeeping;
mod layers;
mod loading;
mod mounting;
mod odd_layers;
mod on_top;
mod pulling;
mod readme;
mod refusals;
mod serving;
mod shell;
mod writable;

mod bombs;
mod damage;
mod full_disk;
mod hostile;
mod killed;
mod resuming;
mod together;

mod same_bytes;
mod same_tree;
mod tools;
