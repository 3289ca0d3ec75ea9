//! Runs this test program as a guest's command, to list the guest's root on the console.
//!
//! The program already contains the code for listings. It is added to the root together with the libraries that it has
//! mapped.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::listing::Listing;

/// Set in the guest.
const LISTING: &str = "VMROOT_LIST_GUEST";
/// The path of the program in the guest.
const PLACE: &str = ".lister";
/// Lines before and after the listing. They separate it from the output of the test harness.
const BEGIN: &str = "---- begin of listing";
const END: &str = "---- end of listing";

/// Returns the layer with the program and its libraries.
pub(crate) fn layer() -> Layer {
    let program = std::env::current_exe().unwrap();
    let files = libraries().into_iter().chain([program]);
    let entry = |path: PathBuf| {
        let name = format!("{PLACE}/{}", path.file_name().unwrap().to_str().unwrap());
        Entry::file(name, stripped(&path)).mode(0o755)
    };
    Layer::new([Entry::directory(PLACE)].into_iter().chain(files.map(entry)))
}

/// Returns the program without debug information, if it can be stripped: an emulated guest hashes all of it.
fn stripped(path: &Path) -> Vec<u8> {
    let out = tempfile::NamedTempFile::new().unwrap();
    let strip = Command::new("strip").arg("-o").arg(out.path()).arg(path).output();
    let is_stripped = strip.is_ok_and(|output| output.status.success());
    fs::read(if is_stripped { out.path() } else { path }).unwrap()
}

/// Returns the init's config, which runs the program.
pub(crate) fn config() -> Value {
    let place = |path: &Path| format!("/{PLACE}/{}", path.file_name().unwrap().to_str().unwrap());
    let loader = libraries().into_iter().find(|path| place(path).contains("/ld-")).expect("it is linked dynamically");
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", "lister::list_root_in_guest", "--nocapture"];
    let start = [place(&loader), "--library-path".into(), format!("/{PLACE}"), place(&program)];
    json!({
        "entrypoint": start,
        "cmd": arguments,
        "env": [format!("{LISTING}=/dev/shm/root")],
        "tty": false,
    })
}

/// Extracts the listing from a guest's output.
pub(crate) fn listing_in(output: &str) -> String {
    let (_, rest) = output.split_once(BEGIN).unwrap_or_else(|| panic!("no listing in {output}"));
    let (listing, _) = rest.split_once(END).unwrap_or_else(|| panic!("the listing has no end: {output}"));
    listing.trim_start().to_owned()
}

/// Returns all files that the dynamic linker has mapped, including itself.
fn libraries() -> BTreeSet<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let paths = maps.lines().filter_map(|line| line.split_once('/').map(|(_, path)| PathBuf::from(format!("/{path}"))));
    paths.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(".so"))).collect()
}

/// Lists the root in a guest. Outside of one, this test does nothing.
#[test]
fn list_root_in_guest() {
    let Some(place) = std::env::var_os(LISTING) else { return };
    // A bind mount of the root excludes the mounts of the init.
    fs::create_dir(&place).unwrap();
    rustix::mount::mount_bind("/", Path::new(&place)).unwrap();
    let listing = Listing::of_directory(&place).unwrap();
    let mut out = io::stdout().lock();
    write!(out, "{BEGIN}\n{listing}{END}\n").unwrap();
    out.flush().unwrap();
}
