//! Names of hosts in a statically linked program.

/// Makes a program that is statically linked with glibc resolve host names by `/etc/hosts` and DNS alone.
///
/// Such a program has these two services built in. Others of `/etc/nsswitch.conf`, such as `mdns4_minimal`, are shared
/// libraries for the C library of the host. Loading them into another C library fails or crashes.
///
/// Other programs are not changed: a dynamically linked one uses the services of its host, and musl has no others.
/// Call this once, before the first name is resolved.
pub fn resolve_with_built_in_services() {
    #[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
    configure();
}

#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
fn configure() {
    use std::ffi::{c_char, c_int};

    unsafe extern "C" {
        /// Declared in `<nss.h>`.
        fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
    }
    // JUSTIFICATION: neither std, libc nor rustix has this function, and an empty root has no file to configure it.
    // SAFETY: both are strings that end with a zero byte and live as long as the program.
    // A failure leaves the configuration of the host, so the result is not needed.
    unsafe { __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr()) };
}
