//! Refuses an image that its owner has not signed, and says why.

#![allow(clippy::print_stdout)] // for the reader of an example

use std::sync::Arc;

use vmroot::sigstore::PrivateKey;
use vmroot::trust::Policy;
use vmroot::{Admission, Client, ClientOptions, ErrorKind};

fn main() -> vmroot::Result<()> {
    let directory = std::path::Path::new("try");
    std::fs::create_dir_all(directory).expect("the directory can be made");
    let key = directory.canonicalize().expect("it exists").join("owner.pub");
    std::fs::write(&key, PrivateKey::generate().public().to_pem()).expect("the key can be written");
    let policy = format!(r#"{{"default": [{{"type": "vmrootBundleSigned", "keyPath": {key:?}}}]}}"#);
    let policy = Policy::parse(policy.as_bytes())?;

    let mut options = ClientOptions::new(directory.join("cache"));
    options.policy = Some(Admission { policy: Arc::new(policy), require_signed: true });
    let client = Client::new(options)?;
    let error = client.pull("oci:testdata/demo:demo").expect_err("the image is not signed");
    assert_eq!(error.kind(), ErrorKind::Policy);
    println!("{error}");
    Ok(())
}
