//! Image configs, tidy and untidy.

use vmroot_model::{CONFIG_LIMIT, Digest, Error, ImageConfig, Platform, chain_ids};

use crate::samples;

fn parse(json: &str) -> ImageConfig {
    ImageConfig::parse(json.as_bytes().to_vec()).unwrap_or_else(|error| panic!("{json}: {error}"))
}

#[test]
fn configs_are_read() {
    let image = parse(samples::CONFIG);
    assert_eq!(image.raw(), samples::CONFIG.as_bytes());
    assert_eq!(image.digest(), &Digest::of(samples::CONFIG.as_bytes()));
    assert_eq!((image.architecture(), image.os(), image.variant()), ("arm", "linux", Some("v7")));
    assert_eq!(image.platform(), &Platform::parse("linux/arm/v7").unwrap());
    assert_eq!(image.created(), Some("2015-10-31T22:22:56.015925234Z"));
    assert_eq!(image.author(), Some("Alyssa P. Hacker <alyspdev@example.com>"));
    assert_eq!(image.diff_ids().len(), 2);
    assert_eq!(image.history().len(), 2);
    assert!(!image.history()[0].empty_layer && image.history()[1].empty_layer);
    assert_eq!(image.history()[1].comment.as_deref(), Some("x"));

    let config = image.config();
    assert_eq!(config.user, "alice");
    assert_eq!(config.env, ["PATH=/usr/local/sbin:/usr/local/bin", "FOO=oci_is_a"]);
    assert_eq!(config.entrypoint, ["/bin/my-app-binary"]);
    assert_eq!(config.cmd, ["--foreground", "--config", "/etc/my-app.d/default.cfg"]);
    assert_eq!(config.working_dir, "/home/alice");
    assert_eq!(config.exposed_ports, ["8080/tcp"]);
    assert_eq!(config.volumes, ["/var/job-result-data", "/var/log/my-app-logs"]);
    assert_eq!(config.labels["com.example.project.git.url"], "https://example.com/project.git");
    assert_eq!(config.stop_signal, "SIGINT");
    assert_eq!(config.shell, ["/bin/bash", "-c"]);
    assert_eq!(config.on_build, ["RUN true"]);
    let healthcheck = config.healthcheck.as_ref().unwrap();
    assert_eq!((healthcheck.test.len(), healthcheck.interval, healthcheck.retries), (2, 30_000_000_000, 3));
}

#[test]
fn container_configs_are_written_as_read() {
    let document: serde_json::Value = serde_json::from_str(samples::CONFIG).unwrap();
    let mut expected = document["config"].clone();
    expected.as_object_mut().unwrap().remove("ArgsEscaped"); // for Windows, and not kept
    assert_eq!(serde_json::to_value(parse(samples::CONFIG).config()).unwrap(), expected);
    assert_eq!(serde_json::to_string(parse("{}").config()).unwrap(), "{}");
}

#[test]
fn quirks_are_tolerated() {
    let config = |field: &str| parse(&format!(r#"{{"config":{{{field}}}}}"#)).config().clone();
    let nothing: [&str; 0] = [];
    assert_eq!(config(r#""Entrypoint":"/bin/sh -c""#).entrypoint, ["/bin/sh -c"]);
    assert_eq!(config(r#""Cmd":"x""#).cmd, ["x"]);
    assert_eq!(config(r#""Entrypoint":[""]"#).entrypoint, [""]);
    assert_eq!(config(r#""Entrypoint":null,"Cmd":null,"Env":null"#).entrypoint, nothing);
    assert_eq!(config(r#""Volumes":["/a","/b"]"#).volumes, ["/a", "/b"]);
    assert_eq!(config(r#""ExposedPorts":{"b":null,"a":{"x":1}}"#).exposed_ports, ["a", "b"]);
    assert_eq!(config(r#""ExposedPorts":{}"#).exposed_ports, nothing);
    let nulls = r#""User":null,"Labels":null,"Volumes":null,"ExposedPorts":null,"WorkingDir":null,"StopSignal":null,"OnBuild":null,"Shell":null,"Healthcheck":null,"Hostname":"x","Tty":false"#;
    assert_eq!(config(nulls), *parse("{}").config());

    for json in [
        "{}",
        r#"{"config":null,"rootfs":null,"history":null,"created":null,"os":null,"architecture":null,"variant":null}"#,
        r#"{"rootfs":{"diff_ids":null},"history":[{}],"author":null,"os.features":null}"#,
        r#"{"config":{},"history":[{"created":null,"empty_layer":null}],"variant":""}"#,
    ] {
        let image = parse(json);
        assert!(image.diff_ids().is_empty() && image.platform().is_empty() && image.variant().is_none());
    }
}

/// Documents from templates and scripts have `null` where a value was empty. skopeo and buildah read them; a null is as
/// good as nothing at all.
#[test]
fn nulls_are_absent_at_any_depth() {
    let config = |fields: &str| parse(&format!(r#"{{"config":{{{fields}}}}}"#)).config().clone();
    for (with, without) in [
        (r#""Env":["A=1",null]"#, r#""Env":["A=1"]"#),
        (r#""Env":[null,null]"#, ""),
        (r#""Labels":{"a":null,"b":"c"}"#, r#""Labels":{"b":"c"}"#),
        (r#""Labels":{"a":null}"#, ""),
        (r#""Cmd":["a",null,"b"]"#, r#""Cmd":["a","b"]"#),
        (r#""Entrypoint":[null]"#, ""),
        (r#""Shell":[null,"sh"],"OnBuild":[null]"#, r#""Shell":["sh"]"#),
        (r#""Volumes":{"/v":null}"#, r#""Volumes":{"/v":{}}"#),
        (r#""Volumes":[null,"/v"]"#, r#""Volumes":{"/v":{}}"#),
        (r#""ExposedPorts":{"80/tcp":null}"#, r#""ExposedPorts":{"80/tcp":{}}"#),
        (r#""Healthcheck":null"#, ""),
        (r#""Healthcheck":{"Test":["CMD",null],"Retries":3}"#, r#""Healthcheck":{"Test":["CMD"],"Retries":3}"#),
        (
            r#""Healthcheck":{"Test":null,"Interval":null,"Timeout":null,"StartPeriod":null,"StartInterval":null,"Retries":null}"#,
            r#""Healthcheck":{}"#,
        ),
    ] {
        assert_eq!(config(with), config(without), "{with}");
    }
    let digest = Digest::of(b"layer");
    let image = parse(&format!(
        r#"{{"os.features":[null,"x",null],"os.version":null,"variant":null,"created":null,
            "history":[null,{{"created_by":null,"author":null,"comment":null,"empty_layer":null}},null],
            "rootfs":{{"type":null,"diff_ids":["{digest}"]}}}}"#
    ));
    assert_eq!((image.platform().os_features.len(), image.history().len()), (1, 1));
    assert_eq!(image.diff_ids(), [digest]);
}

/// A null diff id leaves a layer without a name, so it is an error.
#[test]
fn a_null_diff_id_is_refused() {
    let error = ImageConfig::parse(br#"{"rootfs":{"diff_ids":[null]}}"#.to_vec()).unwrap_err();
    assert!(matches!(error, Error::InvalidDocument { .. }), "{error}");
}

#[test]
fn errors_say_what_is_wrong() {
    for (json, reason) in [
        ("null", "not a JSON object"),
        (r#"{"config":{"Entrypoint":{}}}"#, "expected a string or a list of strings"),
        (r#"{"config":{"Volumes":3}}"#, "expected an object or a list of strings"),
        (r#"{"config":{"Env":"A=b"}}"#, "expected a sequence"),
        (r#"{"rootfs":{"diff_ids":["x"]}}"#, "no colon"),
        (r#"{"architecture":1}"#, "expected a string"),
    ] {
        let error = ImageConfig::parse(json.as_bytes().to_vec()).unwrap_err().to_string();
        assert!(error.starts_with("invalid image config sha256:") && error.contains(reason), "{json}: {error}");
    }
    let history = format!(r#"{{"history":[{{}}{}]}}"#, ",{}".repeat(16_384));
    let error = ImageConfig::parse(history.into_bytes()).unwrap_err().to_string();
    assert!(error.contains("a list of more than 16384 entries"), "{error}");
    let deep = format!(r#"{{"config":{{"Entrypoint":{}"#, "[".repeat(100_000));
    let error = ImageConfig::parse(deep.into_bytes()).unwrap_err().to_string();
    assert!(error.contains("more than 128 objects and lists in each other"), "{error}");
    let long = vec![b' '; usize::try_from(CONFIG_LIMIT).unwrap() + 1];
    let error = ImageConfig::parse(long).unwrap_err().to_string();
    assert_eq!(error, "image config is 4194305 bytes long; 4194304 is the limit");
}

#[test]
fn layers_are_counted() {
    let manifest = samples::manifest(samples::OCI_MANIFEST);
    parse(samples::CONFIG).check_layers(&manifest).unwrap();
    let empty = parse("{}");
    let error = empty.check_layers(&manifest).unwrap_err();
    assert!(matches!(error, Error::LayerCountMismatch { diff_ids: 0, layers: 2, .. }));
    let expected = format!("config {} has 0 diff ids but manifest {} has 2 layers", empty.digest(), manifest.digest());
    assert_eq!(error.to_string(), expected);
    // An image may have no layers at all.
    empty.check_layers(&samples::manifest(samples::ARTIFACT)).unwrap();
}

#[test]
fn chains_are_as_the_specification_has_them() {
    let diff_ids = parse(samples::CONFIG).diff_ids().to_vec();
    let chain = chain_ids(&diff_ids);
    assert_eq!(chain[0], diff_ids[0]);
    assert_eq!(chain[1], Digest::of(format!("{} {}", diff_ids[0], diff_ids[1]).as_bytes()));
    let third = chain_ids(&[diff_ids[0], diff_ids[1], diff_ids[0]])[2];
    assert_eq!(third, Digest::of(format!("{} {}", chain[1], diff_ids[0]).as_bytes()));
    assert_eq!(chain_ids(&[]), []);
}

#[test]
fn platforms_are_checked() {
    let check = |image: &str, wanted: &str| parse(image).check_platform(&Platform::parse(wanted).unwrap());
    let image = |os: &str, architecture: &str, variant: &str| {
        format!(r#"{{"os":"{os}","architecture":"{architecture}","variant":"{variant}"}}"#)
    };
    for (image, wanted) in [
        (image("linux", "amd64", ""), "linux/amd64"),
        (image("linux", "x86_64", ""), "linux/amd64"),
        (image("", "amd64", ""), "linux/amd64"),
        (image("linux", "", ""), "linux/arm64"),
        ("{}".to_owned(), "linux/riscv64"),
        (image("linux", "arm64", "v8"), "linux/arm64"),
        (image("linux", "arm64", "v9"), "linux/arm64"),
        (image("linux", "amd64", "v3"), "linux/amd64"),
        (image("linux", "arm", ""), "linux/arm/v6"),
        (image("linux", "arm", "v6"), "linux/arm/v7"),
        (image("linux", "arm", "v7"), "linux/arm"),
        (image("linux", "ppc64le", "power9"), "linux/ppc64le"),
    ] {
        check(&image, wanted).unwrap_or_else(|error| panic!("{image} for {wanted}: {error}"));
    }
    for (image, wanted, message) in [
        (image("linux", "arm64", ""), "linux/amd64", "image is for arm64 but expected amd64"),
        (image("linux", "arm64", "v8"), "linux/arm/v7", "image is for arm64 but expected arm/v7"),
        (image("linux", "arm", "v7"), "linux/arm/v6", "image is for arm/v7 but expected arm/v6"),
        (image("linux", "amd64", "v3"), "linux/amd64/v2", "image is for amd64/v3 but expected amd64/v2"),
        (image("windows", "amd64", ""), "linux/amd64", "image is for windows/amd64 but expected linux/amd64"),
        (image("", "386", ""), "linux/amd64", "image is for 386 but expected amd64"),
    ] {
        let error = check(&image, wanted).unwrap_err().to_string();
        assert_eq!(error, format!("image architecture mismatch: {message}"));
    }
}
