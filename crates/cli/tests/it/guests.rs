//! `--init`: an init and its config on top of an image, in every format.

use std::fs;
use std::path::{Path, PathBuf};

use vmroot_testkit::guest::{Guest, Initramfs};
use vmroot_testkit::image::ImageBuilder;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::registry::Registry;

use crate::program::Program;
use crate::samples::{image, serve};

/// Writes the first bytes of a program for arm64; only these are checked.
fn program_for_arm64(program: &Program) -> PathBuf {
    let mut bytes = [0; 64];
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
    (bytes[16], bytes[18]) = (2, 183);
    program.file("init", bytes)
}

/// Reads the init and its config in an exported directory.
fn init_and_config(directory: &Path) -> (Vec<u8>, serde_json::Value) {
    let config = fs::read(directory.join("etc/vmroot/config.json")).unwrap();
    (fs::read(directory.join("sbin/vmroot-init")).unwrap(), serde_json::from_slice(&config).unwrap())
}

#[test]
fn init_and_config_are_put_on_top() {
    let registry = Registry::start();
    let image = serve(&registry, &image("amd64"), "v1");
    let program = Program::new();
    let out = program.path("dir");
    program.ok(["export", &image, out.to_str().unwrap(), "--arch=amd64", "--format=dir", "--rootless", "--init"]);
    let (init, config) = init_and_config(&out);
    assert!(init.starts_with(b"\x7fELF"));
    assert_eq!(config["entrypoint"][0], "/usr/bin/tool");
    assert_eq!(config["workingDir"], "/etc");
    // The name only: the guest resolves it in its own /etc/passwd.
    assert_eq!((&config["user"], config.get("uid")), (&"app:staff".into(), None));
    let prebaked = program.path("prebaked");
    program.ok(["export", &image, prebaked.to_str().unwrap(), "--arch=amd64", "--format=prebaked", "--init"]);
    let again = program.run(["cat", &format!("prebaked:{}", prebaked.display()), "/etc/vmroot/config.json"]).stdout;
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&again).unwrap(), config);
    let mode = program.ok(["stat", &format!("prebaked:{}", prebaked.display()), "/sbin/vmroot-init"]);
    assert!(mode.contains("mode   0755\nowner  0:0\n"), "{mode}");
}

#[test]
fn init_must_match_the_architecture_of_the_image() {
    let registry = Registry::start();
    let amd64 = serve(&registry, &image("amd64"), "v1");
    let arm64 = serve(&registry, &image("arm64"), "v2");
    let riscv64 = serve(&registry, &image("riscv64"), "v3");
    let program = Program::new();
    let file = program_for_arm64(&program);
    let (out, config) = (program.path("out"), program.file("config.json", "{\"env\": []}"));
    let init = format!("--init={}", file.display());
    let export = |image: &str, arch: &str, options: &[&str]| {
        let mut arguments = vec!["export", image, out.to_str().unwrap(), arch, "--format=dir", "--rootless"];
        arguments.extend(options);
        program.run(arguments)
    };
    let message = export(&amd64, "--arch=amd64", &[&init]).fails(1);
    assert!(message.contains("a program for arm64, and the image is for amd64"), "{message}");
    let message = export(&riscv64, "--arch=riscv64", &["--init"]).fails(1);
    assert!(message.contains("no init for riscv64: it is not an architecture of guests"), "{message}");
    let message = export(&amd64, "--arch=amd64", &["--init=/none"]).fails(3);
    assert!(message.contains("--init=/none: No such file"), "{message}");
    assert!(!out.exists());
    // An addition of the user replaces the config.
    let add = format!("{}:/etc/vmroot/config.json", config.display());
    export(&arm64, "--arch=arm64", &[&init, "--add", &add]).ok();
    let (init, config) = init_and_config(&out);
    assert_eq!(init, fs::read(file).unwrap());
    assert_eq!(config, serde_json::json!({"env": []}));
}

/// From a reference to the exit code of its command, through an initramfs that every VMM can boot.
#[test]
fn guest_runs_the_command_of_the_image() {
    let Some(guest) = Guest::of("amd64") else { return };
    let root = Layer::new([
        Entry::file("etc/passwd", "app:x:1000:1001::/home/app:/bin/sh\n"),
        Entry::file("usr/bin/busybox", fs::read(guest.busybox()).unwrap()).mode(0o755),
        Entry::symlink("usr/bin/sh", "busybox"),
        Entry::symlink("bin", "usr/bin"),
        Entry::directory("usr/sbin"),
        Entry::symlink("sbin", "usr/sbin"),
    ]);
    let image = ImageBuilder::new()
        .platform("linux/amd64")
        .setting("Env", vec!["GREETING=hello from an image"])
        .setting("Entrypoint", vec!["sh", "-c"])
        .setting(
            "Cmd",
            vec!["echo \"said: $GREETING, $(id -u):$(id -g), $(ls -l /sbin/vmroot-init | cut -c 1-10)\"; exit 9"],
        )
        .setting("User", "app")
        .layer(&root)
        .build();
    let registry = Registry::start();
    let image = serve(&registry, &image, "v1");
    let program = Program::new();
    let archive = program.run(["export", &image, "-", "--arch=amd64", "--format=cpio", "--init"]);
    assert!(archive.status.success(), "{archive}");
    let console = guest.boot(Initramfs::of(archive.stdout), "rdinit=/sbin/vmroot-init").finish();
    assert!(console.contains("said: hello from an image, 1000:1001, -rwxr-xr-x\n"), "{console}");
    assert!(console.contains("[vmroot-init] exit code 9\n"), "{console}");
}
