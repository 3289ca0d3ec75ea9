//! Files that podman and skopeo write are read, and they read ours.

use std::path::Path;
use std::process::{Command, Output};

use vmroot_config_files::Locations;
use vmroot_registry::{Cancel, Credential};

use crate::home::{Home, configuration};
use crate::tls::{DockerRegistry, is_missing_one_of};

fn run(program: &str, home: &Home, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.env("HOME", home.path("home")).env("XDG_RUNTIME_DIR", home.path("runtime")).output().unwrap()
}

fn run_ok(program: &str, home: &Home, arguments: &[&str]) -> String {
    let output = run(program, home, arguments);
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn find(locations: &Locations, domain: &str, repository: &str) -> Option<Credential> {
    let found = configuration(locations.clone()).find_credential(domain, repository, &Cancel::new()).unwrap();
    found.map(|found| found.credential)
}

#[test]
fn credentials_go_both_ways() {
    if is_missing_one_of(&["docker-registry", "htpasswd", "skopeo", "podman"]) {
        return;
    }
    let registry = DockerRegistry::with_password();
    let (host, home) = (registry.host.as_str(), Home::new());
    std::fs::create_dir_all(home.path("runtime")).unwrap();
    std::fs::create_dir_all(home.path("home")).unwrap();
    let locations = Locations { root: None, runtime_dir: Some(home.path("runtime")), ..home.with_conf("") };
    let expected = Credential::Password { user: "ann".to_owned(), password: "pass:word".to_owned() };
    for program in ["skopeo", "podman"] {
        let login = ["login", "--tls-verify=false", "-u", "ann", "-p", "pass:word"];
        let key = if program == "podman" { format!("{host}/team/app") } else { host.to_owned() };
        run_ok(program, &home, &[&login[..], &[&key]].concat());
        assert_eq!(find(&locations, host, "team/app"), Some(expected.clone()), "{program}");
        configuration(locations.clone()).erase_credential(&key, &Cancel::new()).unwrap();
        assert!(!run(program, &home, &["login", "--get-login", &key]).status.success(), "{program}");

        configuration(locations.clone()).store_credential(&key, "ann", "pass:word", &Cancel::new()).unwrap();
        assert_eq!(run_ok(program, &home, &["login", "--get-login", &key]).trim(), "ann", "{program}");
        run_ok(program, &home, &["logout", &key]);
        assert_eq!(find(&locations, host, "team/app"), None, "{program}");
    }

    // A file of Docker's, which both programs read as well.
    let file = home.path("home/.docker/config.json");
    let docker = Locations { compat_auth_file: Some(file.clone()), ..locations };
    configuration(docker).store_credential(host, "ann", "pass:word", &Cancel::new()).unwrap();
    assert!(Path::new(&file).is_file());
    for program in ["skopeo", "podman"] {
        assert_eq!(run_ok(program, &home, &["login", "--get-login", host]).trim(), "ann", "{program}");
    }
}
