//! Any bytes as registries.conf, storage.conf, the list of `sync`, or the file of `--tls-details`.

#![no_main]

use std::io::Write;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use vmroot_config_files::{Configuration, Locations, read_tls_details};
use vmroot_copy::sync::SyncList;
use vmroot_model::Reference;
use vmroot_transport::StorageConfig;

fuzz_target!(|data: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().expect("there is room for a file");
    file.write_all(data).expect("there is room for its bytes");
    registries(file.path());
    let _ = read_tls_details(file.path());
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = StorageConfig::parse(text, Path::new("storage.conf"));
    let Ok(list) = SyncList::parse(text) else { return };
    for registry in &list.registries {
        for repository in registry.images.keys() {
            let _ = registry.reference(repository);
        }
        for (_, filter) in registry.filters() {
            filter.select(&["1.2.3".to_owned(), "latest".to_owned()]);
        }
    }
});

fn registries(path: &Path) {
    // No other file of this machine counts.
    let root = Some(Path::new("/nonexistent").to_owned());
    let locations = Locations { root, registries_conf: Some(path.to_owned()), ..Locations::default() };
    let configuration = Configuration::new(locations);
    for name in ["docker.io/library/alpine:3", "a.example.com/x/y", "localhost:5000/z"] {
        let reference = Reference::parse(name).expect("it is a name");
        let _ = configuration.resolve(&reference);
        let _ = configuration.resolve_name(name);
    }
    let _ = configuration.resolve_name("alpine");
}
