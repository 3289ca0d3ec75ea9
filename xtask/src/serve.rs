//! `cargo xtask serve`: registries on loopback for experiments.

use std::{thread, time::Duration};

use anyhow::{Context, Result};
use vmroot_testkit::registry::{Auth, PlainAnswer, Registry};

use crate::testdata;

/// The port of the open registry. README.md mentions both ports.
const PLAIN_PORT: u16 = 5000;
/// The port of the registry with TLS and a password.
const PRIVATE_PORT: u16 = 5443;

/// The certificate of the authority that signed the private registry's certificate.
const AUTHORITY: &str = "crates/testkit/src/registry/tls/ca.pem";

/// Serves the image of `testdata/` until the process is killed.
pub fn run() -> Result<()> {
    let plain = Registry::at(PLAIN_PORT).with_context(|| format!("port {PLAIN_PORT}"))?;
    let private =
        Registry::tls_at(PRIVATE_PORT, PlainAnswer::BadRequest).with_context(|| format!("port {PRIVATE_PORT}"))?;
    private.require(Auth::basic("demo", "secret"));
    for registry in [&plain, &private] {
        registry.put_layout(&testdata::demo_layout(), "demo").context("cannot serve testdata/")?;
    }
    println!("localhost:{PLAIN_PORT}/demo    plain HTTP, open to all");
    println!("localhost:{PRIVATE_PORT}/demo    TLS by {AUTHORITY}; user demo, password secret");
    println!("Ctrl-C ends it");
    loop {
        thread::sleep(Duration::MAX);
    }
}
