//! The examples of each exposure run.

use std::path::Path;

use vmroot_testkit::skip;

const IMAGE: &str = "oci:../../testdata/demo:demo";

/// Declares a module with the code of an example, and a test that calls its function.
macro_rules! example {
    ($name:ident, $file:literal, $run:expr) => {
        mod $name {
            #![allow(dead_code)] // main has another path of the image

            use super::*;

            include!($file);

            #[test]
            fn runs() {
                let directory = tempfile::tempdir().unwrap();
                let run: fn(&Path) = $run;
                run(directory.path());
            }
        }
    };
}

example!(exporting, "../../examples/export.rs", |directory| export(IMAGE, directory).unwrap());
example!(erofs, "../../examples/erofs.rs", |directory| export(IMAGE, directory).unwrap());
example!(ext4, "../../examples/ext4.rs", |directory| export(IMAGE, directory).unwrap());
example!(virtiofs, "../../examples/virtiofs.rs", |directory| serve(IMAGE, directory).unwrap());
example!(fuse, "../../examples/fuse.rs", |directory| {
    if !Path::new("/dev/fuse").exists() && skip::because("there is no /dev/fuse") {
        return;
    }
    mount(IMAGE, directory).unwrap();
});
example!(kernel_mount, "../../examples/kernel_mount.rs", |directory| {
    if skip::needs_root() {
        return;
    }
    match mount(IMAGE, directory) {
        // The kernel, or the file system of the directory, cannot do it.
        Err(error) if error.downcast_ref().is_some_and(vmroot::kernel_mount::Error::allows_fallback) => {
            skip::because(&error.to_string());
        }
        mounted => mounted.unwrap(),
    }
});
example!(registry, "../../examples/registry.rs", |directory| {
    let registry = vmroot_testkit::registry::Registry::start();
    let layout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/demo");
    registry.put_layout(&layout, "demo").unwrap();
    pull(&format!("{}/demo", registry.host()), directory).unwrap();
});
