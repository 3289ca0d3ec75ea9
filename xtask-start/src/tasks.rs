//! The tasks, for the help and for the first line of each.

/// The names of the tasks, and what each does.
pub const TASKS: [(&str, &str); 13] = [
    ("demo", "Pull, mount, read, export and boot an image for two architectures, with every command shown"),
    ("test", "Install what is needed, and run all checks and tests"),
    ("check", "Run the fast checks: format, crate graph, pages and lints"),
    ("guests", "Install QEMU, and fetch kernels and shells of guests, as `test` does"),
    ("dist", "Build a static vmroot, and make a tarball and a Debian package with man pages and completions"),
    ("serve", "Serve the image of testdata/ from two registries on loopback"),
    ("fresh", "Run `.ci/run` for HEAD on a new minimal Debian in target/fresh; needs root"),
    ("bench", "Measure vmroot and its rivals, and print a table of ratios and targets"),
    ("fuzz", "Run each fuzz target for a while"),
    (
        "features",
        "Build a program outside the workspace with each feature of vmroot alone, and run it where this machine can",
    ),
    ("release-check", "Check licences, manifests, packages and the public API before a release"),
    ("init", "Write crates/guest/init, from which `vmroot-guest` builds the init"),
    ("testdata", "Rebuild testdata/"),
];

/// Returns what a task does.
pub fn about(name: &str) -> Option<&'static str> {
    TASKS.iter().find(|(task, _)| *task == name).map(|(_, about)| *about)
}

/// Returns the help of `cargo xtask`.
pub fn help() -> String {
    let rows: Vec<_> = TASKS.iter().map(|(name, about)| format!("  {name:<14} {about}\n")).collect();
    format!(
        "The project's development tasks\n\nUsage: cargo xtask <TASK> [OPTIONS]\n\nTasks:\n{}\n\
         `cargo xtask <TASK> --help` prints the options of a task.\n",
        rows.concat()
    )
}
