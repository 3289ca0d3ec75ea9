//! Encrypts the layers of an image for the owner of a key.

#![allow(clippy::print_stdout)] // for the reader of an example

use std::sync::Arc;

use vmroot::copy::Encryption;
use vmroot::encryption::Recipients;
use vmroot::{Client, ClientOptions, CopyOptions};

const PUBLIC_KEY: &[u8] = b"-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE3cvSAKMUCF4J4667bnBB2Bt1bp/6
tiRCXJP5ivluHuMwp+39+xSykk62glqMl71buobnDOWtBYtpGtxMKSvrFg==
-----END PUBLIC KEY-----
";

fn main() -> vmroot::Result<()> {
    let client = Client::new(ClientOptions::new("try/cache"))?;
    let mut recipients = Recipients::new();
    recipients.add_jwe(PUBLIC_KEY)?;
    let mut options = CopyOptions::default();
    options.encryption = Some(Encryption { recipients: Arc::new(recipients), layers: Vec::new() });
    client.copy("oci:testdata/demo:demo", "oci:try/encrypted:demo", &options)?;
    let error = client.pull("oci:try/encrypted:demo").expect_err("the private key is needed");
    println!("{}", vmroot::with_causes(&error));
    Ok(())
}
