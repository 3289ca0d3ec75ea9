//! Shortened documents of real tools.

use vmroot_model::{Document, Index, Manifest};

/// An OCI manifest of an old tool, without a media type.
pub(crate) const OCI_MANIFEST: &str = r#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:b5b2b2c507a0944348e0303114d8d93aaaa081732b86451d9bce1f432a537bc7","size":7023},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:9834876dcfb05cb167a5c24953eba58c4ac89b1adf57f28f2f9d09af107ee8f0","size":32654},{"mediaType":"application/vnd.oci.image.layer.v1.tar+zstd","digest":"sha256:3c3a4604a545cdc127456d94e421cd355bca5b528f4a9c1905b15da2eb4a4c6b","size":16724,"annotations":{"a":"b"}}],"annotations":{"com.example.key1":"value1"}}"#;

/// A Docker schema 2 manifest, with the indentation of registries.
pub(crate) const DOCKER_MANIFEST: &str = r#"{
   "schemaVersion": 2,
   "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
   "config": {
      "mediaType": "application/vnd.docker.container.image.v1+json",
      "size": 1469,
      "digest": "sha256:feb5d9fea6a5e9606aa995e879d862b825965ba48de054caab5ef356dc6b3412"
   },
   "layers": [
      {
         "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
         "size": 2479,
         "digest": "sha256:2db29710123e3e53a794f2694094b9b4338aa9ee5c40b930cb8063a1be392c54"
      }
   ]
}"#;

/// The manifest of an artifact that is not an image.
pub(crate) const ARTIFACT: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.example+type","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"data":"e30="},"layers":null,"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:5b0bcabd1ed22e9fb1310cf6c2dec7cdef19f0ad69efa1f392e94a4333501270","size":7682}}"#;

/// An index of BuildKit, with an attestation.
pub(crate) const OCI_INDEX: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:1111111111111111111111111111111111111111111111111111111111111111","size":1022,"platform":{"architecture":"unknown","os":"unknown"},"annotations":{"vnd.docker.reference.digest":"sha256:2222222222222222222222222222222222222222222222222222222222222222","vnd.docker.reference.type":"attestation-manifest"}},{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:2222222222222222222222222222222222222222222222222222222222222222","size":1024,"platform":{"architecture":"amd64","os":"linux"}},{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:3333333333333333333333333333333333333333333333333333333333333333","size":1025,"platform":{"architecture":"arm64","os":"linux","variant":"v8"}}]}"#;

/// A Docker manifest list with a Windows image.
pub(crate) const DOCKER_LIST: &str = r#"{"manifests":[{"digest":"sha256:4444444444444444444444444444444444444444444444444444444444444444","mediaType":"application/vnd.docker.distribution.manifest.v2+json","platform":{"architecture":"amd64","os":"windows","os.version":"10.0.20348.2322","os.features":["win32k"]},"size":1125},{"digest":"sha256:5555555555555555555555555555555555555555555555555555555555555555","mediaType":"application/vnd.docker.distribution.manifest.v2+json","platform":{"architecture":"arm","os":"linux","variant":"v5"},"size":525}],"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","schemaVersion":2}"#;

/// The example config of the specification, with the extensions of Docker.
pub(crate) const CONFIG: &str = r#"{"created":"2015-10-31T22:22:56.015925234Z","author":"Alyssa P. Hacker <alyspdev@example.com>","architecture":"arm","os":"linux","variant":"v7","config":{"User":"alice","ExposedPorts":{"8080/tcp":{}},"Env":["PATH=/usr/local/sbin:/usr/local/bin","FOO=oci_is_a"],"Entrypoint":["/bin/my-app-binary"],"Cmd":["--foreground","--config","/etc/my-app.d/default.cfg"],"Volumes":{"/var/job-result-data":{},"/var/log/my-app-logs":{}},"WorkingDir":"/home/alice","Labels":{"com.example.project.git.url":"https://example.com/project.git"},"StopSignal":"SIGINT","Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":30000000000,"Retries":3},"Shell":["/bin/bash","-c"],"OnBuild":["RUN true"],"ArgsEscaped":true},"rootfs":{"type":"layers","diff_ids":["sha256:c6f988f4874bb0add23a778f753c65efe992244e148a1d2ec2a8b664fb66bbd1","sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"]},"history":[{"created":"2015-10-31T22:22:54.690851953Z","created_by":"/bin/sh -c #(nop) ADD file:a3bc1e in /"},{"created":"2015-10-31T22:22:55.613815829Z","created_by":"/bin/sh -c #(nop) CMD [\"sh\"]","comment":"x","empty_layer":true}]}"#;

/// A manifest of Docker's schema 1 with a signature, which is not valid.
pub(crate) const SCHEMA1: &str = r#"{"name":"library/x","tag":"t","architecture":"amd64","fsLayers":[{"blobSum":"sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"},{"blobSum":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}],"history":[{"v1Compatibility":"{\"architecture\":\"amd64\",\"config\":{\"Cmd\":[\"sh\"]},\"created\":\"2020-01-02T00:00:00Z\",\"id\":\"2222222222222222222222222222222222222222222222222222222222222222\",\"os\":\"linux\",\"parent\":\"1111111111111111111111111111111111111111111111111111111111111111\"}"},{"v1Compatibility":"{\"id\":\"1111111111111111111111111111111111111111111111111111111111111111\",\"created\":\"2020-01-01T00:00:00Z\",\"container_config\":{\"Cmd\":[\"ADD x\"]}}"}],"schemaVersion":1,"signatures":[{"header":{"alg":"ES256"},"signature":"AA","protected":"eyJmb3JtYXRMZW5ndGgiOjczOCwiZm9ybWF0VGFpbCI6ImZRIn0"}]}"#;

pub(crate) const DOCUMENTS: [&str; 5] = [OCI_MANIFEST, DOCKER_MANIFEST, ARTIFACT, OCI_INDEX, DOCKER_LIST];

pub(crate) fn manifest(json: &str) -> Manifest {
    match Document::parse(json.as_bytes().to_vec(), None).unwrap() {
        Document::Manifest(manifest) => manifest,
        Document::Index(_) => panic!("an index: {json}"),
    }
}

pub(crate) fn index(json: &str) -> Index {
    match Document::parse(json.as_bytes().to_vec(), None).unwrap() {
        Document::Index(index) => index,
        Document::Manifest(_) => panic!("a manifest: {json}"),
    }
}

/// Creates an index of entries with these platforms: `os/architecture[/variant]`, or empty for none. The size of entry
/// n is n.
pub(crate) fn index_of(platforms: &[&str]) -> Index {
    let entries: Vec<String> = platforms.iter().enumerate().map(|(n, it)| entry(n, it, "")).collect();
    index(&format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(",")))
}

/// Creates an entry of an index. `more` is JSON for further members, starting with a comma.
pub(crate) fn entry(size: usize, platform: &str, more: &str) -> String {
    let mut parts = platform.split('/');
    let platform = match (parts.next(), parts.next(), parts.next()) {
        (Some(os), Some(architecture), None) => {
            format!(r#","platform":{{"os":"{os}","architecture":"{architecture}"}}"#)
        }
        (Some(os), Some(architecture), Some(variant)) => {
            format!(r#","platform":{{"os":"{os}","architecture":"{architecture}","variant":"{variant}"}}"#)
        }
        _ => String::new(),
    };
    let digest = vmroot_model::Digest::of(&size.to_le_bytes());
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}{platform}{more}}}"#)
}
