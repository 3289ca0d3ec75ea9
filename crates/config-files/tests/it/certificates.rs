//! The search for certificates.

use std::fs;

use vmroot_config_files::{HostCertificates, Locations};
use vmroot_testkit::FullMessage as _;

use crate::home::Home;

#[test]
fn the_first_directory_counts() {
    let home = Home::new();
    let locations = home.locations();
    let find = |domain: &str| HostCertificates::find(&locations, domain).unwrap();
    assert_eq!(find("a.test:5000"), HostCertificates::default());
    home.file("root/etc/docker/certs.d/a.test:5000/ca.crt", "");
    assert_eq!(find("a.test:5000").directory, Some(home.path("root/etc/docker/certs.d/a.test:5000")));
    assert_eq!(find("a.test"), HostCertificates::default());
    home.file("root/etc/containers/certs.d/a.test:5000/ca.crt", "");
    assert_eq!(find("a.test:5000").directory, Some(home.path("root/etc/containers/certs.d/a.test:5000")));
    // An empty directory hides those after it.
    fs::create_dir_all(home.path("home/.config/containers/certs.d/a.test:5000")).unwrap();
    let found = find("a.test:5000");
    assert_eq!(found.directory, Some(home.path("home/.config/containers/certs.d/a.test:5000")));
    assert!(found.authorities.is_empty());
    let other = Locations { cert_dir: Some(home.path("certs")), ..locations.clone() };
    home.file("certs/x.crt", "");
    for domain in ["a.test:5000", "docker.io"] {
        let found = HostCertificates::find(&other, domain).unwrap();
        assert_eq!(found.authorities, [home.path("certs/x.crt")]);
    }
}

#[test]
fn files_have_their_roles_by_their_names() {
    let home = Home::new();
    for name in
        ["ca-1.crt", "ca-2.crt", "client-1.cert", "client-1.key", "b.cert", "b.key", "x.pem", "crt", "y.crt.bak"]
    {
        home.file(&format!("certs/{name}"), "");
    }
    // An authority may be gone, but not the certificate of a client.
    for link in ["gone.crt", "a.cert", "a.key"] {
        std::os::unix::fs::symlink("/missing", home.path("certs").join(link)).unwrap();
    }
    let locations = Locations { cert_dir: Some(home.path("certs")), ..home.locations() };
    let found = HostCertificates::find(&locations, "a.test").unwrap();
    let path = |name: &str| home.path("certs").join(name);
    assert_eq!(found.authorities, [path("ca-1.crt"), path("ca-2.crt")]);
    let pair = |name: &str| (path(&format!("{name}.cert")), path(&format!("{name}.key")));
    assert_eq!(found.identities, [pair("a"), pair("b"), pair("client-1")]);
}

#[test]
fn a_certificate_without_its_key_is_an_error() {
    for (file, missing) in [("client-1.cert", "client-1.key"), ("client-1.key", "client-1.cert")] {
        let home = Home::new();
        home.file(&format!("certs/{file}"), "");
        let locations = Locations { cert_dir: Some(home.path("certs")), ..home.locations() };
        let message = HostCertificates::find(&locations, "a.test").unwrap_err().full_message();
        assert!(message.contains(file) && message.contains(missing) && message.contains("certs"), "{message}");
    }
}
