//! `vmroot-init`, the first program that a guest's kernel starts.

fn main() -> ! {
    vmroot_guest_init::start(std::env::args_os().collect())
}
