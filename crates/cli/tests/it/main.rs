//! Tests of the program through its command line: arguments, output and exit codes.

mod docker_registry;
mod nobody;
mod program;
mod samples;
mod saving;

mod booting;
mod changes;
mod copying;
mod describing;
mod devices;
mod erofs;
mod exit_codes;
mod explaining;
mod exporting;
mod files;
mod foreign;
mod guests;
mod housekeeping;
mod inspecting;
mod interrupting;
mod layers;
mod loading;
mod mirrors;
mod mounting;
mod names;
mod odd_layers;
mod omitted;
mod on_top;
mod one_disk;
mod pages;
mod pipes;
mod platforms;
mod pulling;
mod refusals;
mod repositories;
mod serving;
mod shell;
mod skopeo_options;
mod syncing;
mod terminal;
mod unmounting;
mod userxattr;
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
