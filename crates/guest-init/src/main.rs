//! `vmroot-init`: what a guest's kernel starts.

fn main() -> ! {
    vmroot_guest_init::start(std::env::args_os().collect())
}
