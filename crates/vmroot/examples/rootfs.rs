//! Reads files of an image for arm64, and writes it as a prebaked directory. README.md contains this code.

use std::path::Path;

use vmroot::{Client, ClientOptions, Platform, Prebaked, RuntimeConfig};

fn main() -> vmroot::Result<()> {
    let client = Client::new(ClientOptions::new("try/cache"))?;
    let arm64 = Platform::linux("arm64")?;
    // From a registry it is: client.pull_for("alpine:3.20", &arm64)?
    let image = client.load_from_tar(Path::new("testdata/demo"), &arm64)?;

    let root = client.root(&image)?;
    let hello = root.resolve_path(b"/home/demo/hello")?;
    let mut text = vec![0; root.stat(hello.ino).size as usize];
    root.read_at(hello.ino, 0, &mut text)?;
    assert_eq!(text, b"hello from vmroot\n");

    let config = RuntimeConfig::new(image.config(), &root)?;
    assert_eq!(config.command(), ["/bin/sh", "-c", "echo $GREETING"]);
    assert_eq!((config.process.uid, config.process.gid), (Some(1000), Some(50)));

    client.export_prebaked(&image, Path::new("try/web"))?;
    let prebaked = Prebaked::open_for(Path::new("try/web"), &arm64)?;
    assert_eq!(prebaked.config(), &config);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    /// Changes the working directory of the process, so this is the only test here.
    #[test]
    fn readme_contains_this_code_and_it_runs() {
        let checkout = super::Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let readme = std::fs::read_to_string(checkout.join("README.md")).unwrap();
        let (code, _) = include_str!("rootfs.rs").split_once("\n#[cfg(test)]").unwrap();
        let (_, code) = code.split_once("\n\n").unwrap();
        assert!(readme.contains(&format!("```rust\n{code}```\n")), "README.md has other code than\n{code}");

        let directory = tempfile::tempdir().unwrap();
        symlink(checkout.join("testdata"), directory.path().join("testdata")).unwrap();
        std::env::set_current_dir(directory.path()).unwrap();
        super::main().unwrap();
    }
}
