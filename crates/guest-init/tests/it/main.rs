//! Tests of the init in real guests, whose shell prints its observations to the console.

mod command;
mod faults;
mod root;
mod signals;
mod stage;
mod verity;

use root::{exit_code, line, lines};
