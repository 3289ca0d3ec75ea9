//! Reproducible exports: the same bytes for every user, at every time, on any number of processors.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use vmroot_testkit::image::{ImageBuilder, oci_layout};
use vmroot_testkit::layer::{Encoding, Entry, Layer};
use vmroot_testkit::skip;

use crate::nobody::Nobody;
use crate::program::{CommandOutput, Program};
use crate::same_tree::layers_of_every_kind;

const IMAGE: &str = "example.org/image:v1";

/// Every format that is a file, with the options that change its bytes.
const FORMS: [&[&str]; 14] = [
    &["tar"],
    &["tar.gz"],
    &["tar.zst"],
    &["cpio"],
    &["cpio.gz"],
    &["cpio.zst"],
    &["erofs"],
    &["erofs", "--compress=lz4"],
    &["erofs", "--compress=zstd"],
    &["erofs-meta"],
    &["ext4"],
    &["ext4", "--journal", "--free=8M"],
    &["squashfs"],
    &["squashfs", "--compress=lz4"],
];

#[test]
fn exports_do_not_depend_on_user_time_and_processors() {
    if ["setpriv", "taskset", "faketime", "sqfstar"].into_iter().any(skip::needs_program) || skip::needs_root() {
        return;
    }
    let ours = Program::new();
    let layout = ours.path("layout");
    write_layout(&layout);
    load(ours.command(["load"]), &layout);
    let theirs = Nobody::new();
    load(other_environment(&theirs, ["load"]), &layout);
    for form in FORMS {
        let (first, second) = (ours.path("first"), theirs.program.path("second"));
        export(ours.command(["export", IMAGE]), &first, form);
        export(other_environment(&theirs, ["export", IMAGE]), &second, form);
        assert!(fs::read(&first).unwrap() == fs::read(&second).unwrap(), "{form:?}");
        fs::remove_file(first).unwrap();
        fs::remove_file(second).unwrap();
    }
}

/// Writes an image that is large enough for several threads.
fn write_layout(layout: &Path) {
    let text: String = (0..400_000).map(|number| format!("{number}\n")).collect();
    let files = (0..200).map(|number| Entry::file(format!("many/{number}"), &text[number..number * 100]));
    let bulk = Layer::new([Entry::directory("many"), Entry::file("large", text.as_bytes())].into_iter().chain(files));
    let layers = layers_of_every_kind().into_iter().chain([bulk]);
    let image = layers.fold(ImageBuilder::new(), |image, layer| image.layer_tar(layer.to_tar(&Encoding::default())));
    fs::create_dir(layout).unwrap();
    oci_layout::write(layout, &[(oci_layout::Item::Image(&image.build()), Some(IMAGE))]).unwrap();
    fs::set_permissions(layout.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
}

fn load(mut command: Command, layout: &Path) {
    CommandOutput::from(command.arg(layout).arg("--arch=amd64").output().unwrap()).ok();
}

fn export(mut command: Command, out: &Path, form: &[&str]) {
    command.arg(out).arg("--arch=amd64").arg("--format").args(form);
    CommandOutput::from(command.output().unwrap()).ok();
}

/// Returns a command that runs the program as another user, on one processor, in another year.
fn other_environment<const N: usize>(nobody: &Nobody, arguments: [&str; N]) -> Command {
    let mut command = nobody.command();
    command.args(["taskset", "--cpu-list", "0", "faketime", "2031-04-05 06:07:08"]);
    command.arg(&nobody.executable).args(arguments);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    // Waits keep their real duration.
    command.env("DONT_FAKE_MONOTONIC", "1").env("TZ", "Pacific/Auckland");
    command.env("VMROOT_CACHE", nobody.program.cache()).current_dir("/").stdin(Stdio::null());
    command
}
