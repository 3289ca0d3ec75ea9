//! Hints for errors of registries.

use vmroot::ImageName;
use vmroot::registry::{CertificateFault, ConnectFailure, Error};

use super::Failed;

pub(super) fn remedy(error: &Error, failed: &Failed<'_>) -> Option<String> {
    Some(match error {
        Error::Unauthorized { has_credentials: false, url, .. } => {
            format!(
                "`vmroot login {}` stores a user and password, {} gives them once; a name that does not exist may be \
                 refused too",
                host_of_images(url),
                credential_options(failed, url)
            )
        }
        Error::Unauthorized { status: 403, url, .. } => format!(
            "the user of the stored credentials may not do this; `vmroot login {}` stores those of another one",
            host_of_images(url)
        ),
        Error::Unauthorized { url, .. } => format!(
            "check the user and password, in the options or as `vmroot login {}` has stored them; `vmroot registries \
             explain` says where they come from",
            host_of_images(url)
        ),
        Error::Challenge { url, .. } | Error::Token { realm: url, .. } => {
            format!(
                "`vmroot login REGISTRY` stores a user and password, {} gives them once",
                credential_options(failed, url)
            )
        }
        Error::Certificate { fault: CertificateFault::UnknownAuthority, url, .. } => format!(
            "--ca-file FILE trusts the authority of that certificate, and so does FILE as \
             /etc/containers/certs.d/{}/ca.crt; --tls-verify=false skips the check",
            host(url)
        ),
        Error::Certificate { fault: CertificateFault::NotYetValid, .. } => {
            "set the clock of this machine; --tls-verify=false skips the check".to_owned()
        }
        Error::Certificate { fault: CertificateFault::OtherHost, .. } => {
            "use the name that the certificate is for; --tls-verify=false skips the check".to_owned()
        }
        Error::Certificate { .. } => {
            "the owner of the registry can renew the certificate; --tls-verify=false skips the check".to_owned()
        }
        Error::NoAuthorities => {
            "install the package ca-certificates, or name the certificate of the registry's authority with --ca-file"
                .to_owned()
        }
        Error::Unreachable { cause: ConnectFailure::Refused, url, .. } => {
            format!("check that the registry runs, and that {} is its port", port(url))
        }
        Error::Unreachable { cause: ConnectFailure::NotTls, .. } => {
            "--plain-http reaches a registry without TLS".to_owned()
        }
        Error::Unreachable { url, reason, .. } if url.starts_with("https:") && reason.contains("tls handshake eof") => {
            "a server without TLS breaks such connections: --plain-http reaches it".to_owned()
        }
        Error::Unreachable { cause: ConnectFailure::UnknownHost, url, .. } if host(url) == "registry-1.docker.io" => {
            "check the network; HTTPS_PROXY names a proxy. A name without a registry stands for one of docker.io"
                .to_owned()
        }
        Error::Unreachable { cause: ConnectFailure::UnknownHost, .. } => {
            "check the spelling of the registry, and the network; HTTPS_PROXY names a proxy".to_owned()
        }
        Error::Unreachable { .. } => "check the network; HTTPS_PROXY names a proxy".to_owned(),
        Error::Broken { url, .. } if url.starts_with("http:") && has_plain_http(failed) => {
            "a server that speaks TLS breaks such connections: run the command without --plain-http".to_owned()
        }
        Error::Broken { .. } | Error::Stalled { .. } | Error::Interrupted { .. } if failed.copies() => {
            format!("{}; --retry-times raises the number of tries", super::COPIES_AGAIN)
        }
        Error::Broken { .. } | Error::Stalled { .. } | Error::Interrupted { .. } if failed.resumes() => {
            "what was fetched is kept: running the command again resumes; --retries raises the number of tries"
                .to_owned()
        }
        Error::Certificates { path: Some(_), .. } => {
            "a certificate in PEM format begins with -----BEGIN CERTIFICATE-----".to_owned()
        }
        Error::RateLimited { url, .. } => format!(
            "wait and run it again; after `vmroot login {}`, most registries allow more requests",
            host_of_images(url)
        ),
        Error::NotFound { url, message } if message.starts_with("MANIFEST_UNKNOWN") => match repository(url) {
            Some(repository) => format!("`vmroot tags {repository}` lists the tags of the repository"),
            None => return None,
        },
        Error::NotFound { url, message } if message.starts_with("NAME_UNKNOWN") => {
            format!("check the spelling of the repository; `vmroot repos {}` lists those there are", host(url))
        }
        // The answer to a request of only the headers has no message.
        Error::NotFound { url, .. } if url.contains("/manifests/") => match repository(url) {
            Some(repository) => {
                format!("check the spelling; `vmroot tags {repository}` lists the tags of the repository")
            }
            None => return None,
        },
        Error::Status { status: 400, message, .. } if has_plain_http(failed) && is_plain_http_refused(message) => {
            "the registry speaks TLS: run the command without --plain-http".to_owned()
        }
        Error::ReferrersConflict { .. } => "run the command again".to_owned(),
        Error::DeleteUnsupported { .. } => {
            "the registry must be configured to allow deletions (REGISTRY_STORAGE_DELETE_ENABLED=true)".to_owned()
        }
        _ => return None,
    })
}

/// Returns whether `--plain-http` is given.
fn has_plain_http(failed: &Failed<'_>) -> bool {
    failed.context.is_some_and(|context| context.registry_arguments().plain_http)
}

/// Returns whether the answer to a request without TLS says that the server expects it: Go names an HTTPS server, nginx an
/// HTTPS port, and Apache an SSL-enabled server port.
fn is_plain_http_refused(message: &str) -> bool {
    ["HTTPS", "https", "SSL", "TLS"].iter().any(|word| message.contains(word))
}

/// Returns the options that give credentials for a URL once.
fn credential_options(failed: &Failed<'_>, url: &str) -> &'static str {
    let is_there = |name: &String| match ImageName::parse(name) {
        Ok(ImageName::Docker(reference) | ImageName::Untagged(reference)) => reference.domain() == host_of_images(url),
        _ => false,
    };
    match (failed.verb, failed.images) {
        ("copy", [source, destination]) => match (is_there(source), is_there(destination)) {
            (true, false) => "--src-creds USER:PASSWORD",
            (false, true) => "--dest-creds USER:PASSWORD",
            _ => "--src-creds or --dest-creds USER:PASSWORD",
        },
        ("copy" | "sync", _) => "--src-creds or --dest-creds USER:PASSWORD",
        _ => "--creds USER:PASSWORD",
    }
}

/// Returns the host of a URL, with its port if it has one.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default()
}

fn port(url: &str) -> String {
    match host(url).rsplit_once(':') {
        Some((_, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => port.to_owned(),
        _ => if url.starts_with("http:") { "80" } else { "443" }.to_owned(),
    }
}

/// Returns the registry as it is in the names of images. The host of a token server is none.
fn host_of_images(url: &str) -> &str {
    match host(url) {
        "registry-1.docker.io" | "auth.docker.io" => "docker.io",
        host if url.contains("/v2/") => host,
        _ => "REGISTRY",
    }
}

/// Returns the repository of a URL of the distribution specification.
fn repository(url: &str) -> Option<String> {
    let path = url.split_once("/v2/")?.1;
    let (name, _) = path.split_once("/manifests/").or_else(|| path.split_once("/blobs/"))?;
    Some(format!("{}/{name}", host_of_images(url)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_url() {
        let url = "https://registry-1.docker.io/v2/library/alpine/manifests/nope";
        assert_eq!(host_of_images(url), "docker.io");
        assert_eq!(repository(url).unwrap(), "docker.io/library/alpine");
        assert_eq!(
            (host("http://localhost:5000"), port("http://localhost:5000")),
            ("localhost:5000", "5000".to_owned())
        );
        assert_eq!((port("https://a.test/x"), port("http://[::1]/x")), ("443".to_owned(), "80".to_owned()));
        assert_eq!(host_of_images("https://auth.example/token?scope=x"), "REGISTRY");
    }
}
