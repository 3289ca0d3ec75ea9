//! Tests of descriptors: reading and writing.

use vmroot_model::{Descriptor, MediaType};

#[test]
fn descriptors_are_written_as_read() {
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    for json in [
        format!(r#"{{"digest":"{digest}","size":0}}"#),
        format!(r#"{{"mediaType":"x/y;z=1","digest":"{digest}","size":9223372036854775807}}"#),
        format!(
            r#"{{"mediaType":"a/b","digest":"{digest}","size":1,"urls":["https://example.com/x"],"annotations":{{"k":"v"}},"data":"e30=","platform":{{"architecture":"arm","os":"linux","variant":"v7"}},"artifactType":"c/d"}}"#
        ),
    ] {
        let descriptor: Descriptor = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&descriptor).unwrap(), json);
    }
}

#[test]
fn nulls_are_ignored() {
    let json = r#"{"mediaType":null,"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0,"urls":null,"annotations":null,"platform":null,"artifactType":null,"data":null}"#;
    let descriptor: Descriptor = serde_json::from_str(json).unwrap();
    assert_eq!(descriptor, Descriptor::of(MediaType::default(), b""));
}
