//! Configuration as the program finds it: `registries explain` with the environment and the options, and the forms of
//! options that scripts for skopeo and crane have.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::program::{CommandOutput, Program};

/// Writes a file below the home directory, with its directories.
fn write(program: &Program, name: &str, text: &str) -> String {
    let path = program.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Returns a credential file with one user for `depot.test`.
fn auths(user: &str) -> String {
    let auth = match user {
        "runtime" => "cnVudGltZTpw",
        "config" => "Y29uZmlnOnA=",
        "docker" => "ZG9ja2VyOnA=",
        "named" => "bmFtZWQ6cA==",
        "sysroot" => "c3lzcm9vdDpw",
        other => panic!("{other}"),
    };
    json!({ "auths": { "depot.test": { "auth": auth } } }).to_string()
}

/// Explains a name with some variables, in the home directory.
fn explain(program: &Program, variables: &[(&str, &str)], arguments: &[&str]) -> Value {
    let all = ["registries", "explain", "--json"].iter().chain(arguments);
    let output = program.command(all).envs(variables.iter().copied()).current_dir(program.path("")).output().unwrap();
    serde_json::from_str(&CommandOutput::from(output).ok()).unwrap()
}

fn user(explained: &Value) -> Option<&str> {
    explained["credential"]["user"].as_str()
}

#[test]
fn files_with_credentials_have_an_order() {
    let program = Program::new();
    let name = "depot.test/team/app";
    let runtime = program.path("run");
    let variables = [("XDG_RUNTIME_DIR", runtime.to_str().unwrap())];
    fs::create_dir(&runtime).unwrap();
    assert_eq!(explain(&program, &variables, &[name])["credential"], Value::Null);
    for (file, found) in [
        (".docker/config.json", "docker"),
        (".config/containers/auth.json", "config"),
        ("run/containers/auth.json", "runtime"),
    ] {
        let path = write(&program, file, &auths(found));
        let explained = explain(&program, &variables, &[name]);
        assert_eq!(explained["credential"]["source"], path);
        assert_eq!((user(&explained), &explained["credential"]["key"]), (Some(found), &json!("depot.test")));
    }
    // Without its variable, the first file is that of the user's id.
    assert_eq!(user(&explain(&program, &[("XDG_RUNTIME_DIR", "")], &[name])), Some("config"));
    assert_eq!(user(&explain(&program, &[("XDG_RUNTIME_DIR", "/missing")], &[name])), Some("config"));

    let named = write(&program, "named.json", &auths("named"));
    let variable = |file| [variables[0], ("REGISTRY_AUTH_FILE", file)];
    assert_eq!(user(&explain(&program, &variable(&named), &[name])), Some("named"));
    // It is the only file, even if it is missing.
    assert_eq!(explain(&program, &variable("/missing.json"), &[name])["credential"], Value::Null);
    let other = program.path(".docker/config.json");
    let option = format!("--authfile={}", other.display());
    assert_eq!(user(&explain(&program, &variable(&named), &[&option, name])), Some("docker"));

    fs::remove_dir_all(program.path(".config")).unwrap();
    // Docker accepts a relative directory. Kubernetes makes a directory of a secret's file that does not exist.
    for (directory, expected) in [("dc", Some("named")), ("./dc", Some("named")), ("secret", None), ("none", None)] {
        write(&program, "dc/config.json", &auths("named"));
        fs::create_dir_all(program.path("secret/config.json")).unwrap();
        assert_eq!(user(&explain(&program, &[("DOCKER_CONFIG", directory)], &[name])), expected, "{directory}");
    }
}

#[test]
fn a_token_of_a_file_keeps_its_user() {
    let program = Program::new();
    for (entry, found) in [
        (json!({"auth": "YWxpY2U6", "identitytoken": "t"}), json!("alice")),
        (json!({"username": "alice", "identitytoken": "t"}), json!("alice")),
        (json!({"auth": "PHRva2VuPjp0"}), Value::Null),
        (json!({"identitytoken": "t"}), Value::Null),
    ] {
        write(&program, ".docker/config.json", &json!({"auths": {"depot.test": entry}}).to_string());
        let credential = &explain(&program, &[], &["docker://depot.test/x"])["credential"];
        assert_eq!((&credential["kind"], &credential["user"]), (&json!("identity-token"), &found), "{entry}");
        let login = program.ok(["login", "--get-login", "depot.test"]);
        assert_eq!(login.trim(), found.as_str().unwrap_or("<token>"));
    }
}

#[test]
fn credentials_of_the_command_line() {
    let program = Program::new();
    let file = write(&program, "auth.json", &auths("named"));
    let file = format!("--authfile={file}");
    let credential = |arguments: &[&str]| {
        let all = [arguments, &["docker://depot.test/x"]].concat();
        explain(&program, &[], &all)["credential"].clone()
    };
    for (arguments, kind, user, source) in [
        (&["--creds=bob:secret"][..], json!("password"), json!("bob"), "--creds"),
        (&["--creds", "bob:a:b"], json!("password"), json!("bob"), "--creds"),
        // As skopeo: the password is empty.
        (&["--creds=bob"], json!("password"), json!("bob"), "--creds"),
        (&["--username=bob", "--password=secret"], json!("password"), json!("bob"), "--username"),
        (&["--registry-token=secret"], json!("registry-token"), Value::Null, "--registry-token"),
        (&["--creds=bob:secret", "--registry-token=secret"], json!("registry-token"), Value::Null, "--registry-token"),
        (&["--no-creds", "--registry-token=secret"], json!("registry-token"), Value::Null, "--registry-token"),
        (&["--creds=bob:secret", &file], json!("password"), json!("bob"), "--creds"),
        (&["--creds=ann:x", "--creds=bob:y"], json!("password"), json!("bob"), "--creds"),
    ] {
        let found = credential(arguments);
        assert_eq!((&found["kind"], &found["user"]), (&kind, &user), "{arguments:?}");
        assert_eq!(found["source"], source, "{arguments:?}");
        assert!(!found.to_string().contains("secret"), "{found}");
    }
    assert_eq!(credential(&[&file, "--no-creds"]), Value::Null);
    for arguments in [
        &["--creds="][..],
        &["--creds=:secret"],
        &["--username=bob"],
        &["--password=secret"],
        &["--creds=bob:secret", "--no-creds"],
        &["--username=bob", "--password=x", "--no-creds"],
        &["--creds=bob:secret", "--username=bob", "--password=x"],
    ] {
        let all = [&["registries", "explain"], arguments, &["depot.test/x"]].concat();
        let message = program.fails(2, all);
        assert!(!message.contains("secret"), "{message}");
    }
}

/// Each side of a copy has the same forms.
#[test]
fn credentials_of_one_side() {
    let program = Program::new();
    let (source, destination) = demo(&program);
    let copy = |arguments: &[String]| {
        let all = ["copy", "--dry-run", &source, &destination].map(str::to_owned);
        program.run(all.iter().chain(arguments))
    };
    for side in ["src", "dest"] {
        let options = |names: &[&str]| names.iter().map(|name| format!("--{side}-{name}")).collect::<Vec<_>>();
        for accepted in [
            &["creds=bob"][..],
            &["creds=bob:x"],
            &["creds=bob:x", "registry-token=t"],
            &["username=bob", "password=x"],
            &["username=bob", "password="],
            &["no-creds"],
            &["tls-verify=0"],
            &["tls-verify=False", "tls-verify=t"],
        ] {
            copy(&options(accepted)).ok();
        }
        for refused in [
            &["creds="][..],
            &["creds=:x"],
            &["username=bob"],
            &["password=x"],
            &["creds=bob:x", "username=bob", "password=x"],
            &["creds=bob:x", "no-creds"],
            &["username=bob", "password=x", "no-creds"],
            &["tls-verify=maybe"],
        ] {
            copy(&options(refused)).fails(2);
        }
    }
}

/// Returns an image, and a destination that does not exist.
fn demo(program: &Program) -> (String, String) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/demo");
    (format!("oci:{}", source.display()), format!("dir:{}", program.path("copy").display()))
}

#[test]
fn switches_have_values_and_the_last_option_counts() {
    let program = Program::new();
    let (source, destination) = demo(&program);
    let run = |arguments: &[&str]| {
        let all = [&["copy", "--dry-run"], arguments, &[&source, &destination]].concat();
        program.run(all)
    };
    for name in [
        "all",
        "debug",
        "dest-compress",
        "dest-decompress",
        "dest-force-compress-format",
        "dest-no-creds",
        "dest-oci-accept-uncompressed-layers",
        "dest-precompute-digests",
        "dest-tls-verify",
        "insecure-policy",
        "preserve-digests",
        "remove-signatures",
        "src-no-creds",
        "src-tls-verify",
        "tls-verify",
    ] {
        for value in ["true", "false", "1", "0", "T", "f", "True", "FALSE"] {
            run(&[&format!("--{name}={value}")]).ok();
        }
        run(&[&format!("--{name}=yes")]).fails(2);
    }
    run(&["--require-signed=false"]).ok();
    // A removed switch excludes no other option.
    run(&["--all=false", "--multi-arch=system"]).ok();
    run(&["--all", "--multi-arch=system"]).fails(2);
    run(&["--format=v2s1", "--format=oci"]).ok();
    run(&["--override-arch=sparc", "--override-arch=x86_64"]).ok();
    // Short options together, and with their value.
    for short in ["-qa", "-aq", "-foci", "-qfoci"] {
        run(&[short]).ok();
    }
    for wrong in ["--frmat=oci", "-Z", "--format=tar", "--multi-arch=none"] {
        run(&[wrong]).fails(2);
    }
    let quiet = run(&["--quiet=true"]);
    assert_eq!((quiet.status.success(), quiet.stderr.as_str()), (true, ""));
    assert!(run(&["--quiet=false"]).stderr.contains("would copy"));
}

#[test]
fn tls_verify_before_and_after_the_command() {
    let program = Program::new();
    for (before, after, insecure) in [
        (None, None, false),
        (Some("false"), None, true),
        (None, Some("0"), true),
        (Some("false"), Some("1"), false),
        (Some("true"), Some("F"), true),
    ] {
        let option = |value: Option<&str>| value.map(|value| format!("--tls-verify={value}"));
        let arguments: Vec<_> = option(before)
            .into_iter()
            .chain(["registries", "explain", "--json", "depot.test/x"].map(str::to_owned))
            .chain(option(after))
            .collect();
        assert_eq!(program.json(&arguments)["insecure"], insecure, "{arguments:?}");
    }
}

/// skopeo writes an image without a tag to such a name. It cannot be read.
#[test]
fn names_without_a_tag() {
    let program = Program::new();
    let name = "docker://depot.test/team/app@@unknown-digest@@";
    let explained = explain(&program, &[], &[name]);
    assert_eq!(explained["reference"], "depot.test/team/app");
    for command in [&["inspect", name][..], &["copy", name, "dir:x"], &["pull", name]] {
        let message = program.fails(2, command);
        assert!(message.contains("unknown-digest"), "{message}");
    }
    for wrong in ["docker://depot.test/x:1@@unknown-digest@@", "docker://@@unknown-digest@@"] {
        program.fails(2, ["registries", "explain", wrong]);
    }
}

/// The platforms of the demonstration image are amd64 and arm64.
#[test]
fn platforms_of_a_copy() {
    let program = Program::new();
    let (source, destination) = demo(&program);
    for (option, found) in [
        ("--platform=linux/amd64", true),
        ("--platform=linux/x86_64", true),
        ("--platform=aarch64", true),
        ("--platform=linux/arm64/v8", true),
        // A version is wanted, and an image without one is for any.
        ("--platform=linux/amd64:5.4", true),
        ("--platform=linux/arm/v7", false),
        ("--platform=windows/amd64:10.0.20348.1", false),
        ("--override-arch=aarch64", true),
        ("--override-arch=s390x", false),
        ("--override-os=windows", false),
    ] {
        let run = program.run(["copy", "--dry-run", option, &source, &destination]);
        if found { drop(run.ok()) } else { drop(run.fails(3)) }
    }
    for wrong in ["linux", "linux/amd64/v1/x", "linux/", "linux/amd64:", "linux/a b"] {
        program.fails(2, ["copy", "--dry-run", "--platform", wrong, &source, &destination]);
    }
}
