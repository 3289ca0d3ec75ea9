//! Runs the code blocks of the README and of the pages in `docs/`, and compares their output.
//!
//! One shell runs the blocks of a page in order, in one directory. The words after a block's backquotes are its kind
//! (`page::Kind`). Output below a command of a `console` block is compared (`pattern`). A block that cannot run gives a
//! reason, which the test prints.

mod options;
mod page;
mod pattern;
mod shell;

use vmroot_testkit::registry::{Auth, PlainAnswer, Registry};

use page::{Block, Kind, checkout};

pub(crate) use shell::print_line;

/// The pages whose blocks run, and the least number of their steps.
const PAGES: [(&str, usize); 9] = [
    ("docs/boot.md", 7),
    ("docs/coming-from-skopeo.md", 8),
    ("docs/disks.md", 26),
    ("docs/hypervisors/cloud-hypervisor.md", 5),
    ("docs/hypervisors/firecracker.md", 4),
    ("docs/hypervisors/libkrun.md", 5),
    ("docs/hypervisors/qemu.md", 11),
    ("docs/trust.md", 4),
    ("docs/verity.md", 6),
];

#[test]
fn examples_of_the_readme_work() {
    let plain = Registry::start();
    let private = Registry::start_tls(PlainAnswer::BadRequest);
    private.require(Auth::basic("demo", "secret"));
    for registry in [&plain, &private] {
        registry.put_layout(&checkout().join("testdata/demo"), "demo").unwrap();
    }
    let port = |registry: &Registry| registry.host().rsplit_once(':').unwrap().1.to_owned();
    let readme = page::read("README.md").replace("localhost:5000", &format!("localhost:{}", port(&plain)));
    let readme = readme.replace("localhost:5443", &format!("localhost:{}", port(&private)));
    assert!(shell::run_page("README.md", &readme) >= 30);
}

#[test]
fn examples_of_the_pages_work() {
    for (name, least) in PAGES {
        assert!(shell::run_page(name, &page::read(name)) >= least, "{name}");
    }
}

/// Fails for a block that should run, but is on a page that no test runs.
#[test]
fn every_block_runs_or_gives_a_reason() {
    let mut documents = 0;
    for name in page::all() {
        let runs = name == "README.md" || PAGES.iter().any(|(page, _)| *page == name);
        for block in Block::all(&page::read(&name)) {
            let place = format!("{name}:{}", block.line);
            match &block.kind {
                Kind::Console(_) | Kind::StandIn(_) => assert!(runs, "{place}: no test runs this page"),
                Kind::NotRun(reason) => {
                    assert!(reason.len() > 10, "{place}: that is no reason");
                    shell::print_line(&format!("{place}: not run: {reason}"));
                }
                Kind::Json => {
                    documents += 1;
                    let parsed = serde_json::from_str::<serde_json::Value>(&block.lines.join("\n"));
                    assert!(parsed.is_ok(), "{place}: {parsed:?}");
                }
                Kind::Rust => {
                    assert!(["README.md", "docs/library.md"].contains(&&*name), "{place}: no test compiles it");
                }
                Kind::Text => {}
            }
        }
    }
    assert!(documents > 0);
}
