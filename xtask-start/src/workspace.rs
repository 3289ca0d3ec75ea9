//! Paths of the checkout.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The arguments by which cargo finds this package, which is a workspace of its own. `.cargo/config.toml` has the same.
pub const START: [&str; 4] = ["--manifest-path", "xtask-start/Cargo.toml", "--target-dir", "target/start"];

/// Returns the top directory of the checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is a directory of the checkout")
}

/// Returns cargo's target directory.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |named| root().join(named))
}

/// Returns a command for the cargo that runs this program, in the environment of the caller.
///
/// Cargo sets variables about the running package. They are removed, because build scripts such as ring's depend on
/// them, and would run again whenever a package is built alternately by this program and by hand.
pub fn cargo() -> std::process::Command {
    let mut cargo = std::process::Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    let own = |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|own| name.starts_with(own));
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(own)) {
        cargo.env_remove(name);
    }
    cargo
}

/// Returns a path as a command shows it: relative if it is below the working directory of the caller.
pub fn shown(path: &Path) -> PathBuf {
    let relative = env::current_dir().ok().and_then(|here| path.strip_prefix(here).map(Path::to_owned).ok());
    relative.filter(|path| !path.as_os_str().is_empty()).unwrap_or_else(|| path.to_owned())
}
