//! The init in real guests, whose shell says over the console what it finds.

mod command;
mod faults;
mod root;
mod signals;
mod stage;

use root::{exit_code, line, lines};
