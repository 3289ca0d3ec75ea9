//! Hints for errors of the images in the cache, and of archives and layouts.

use std::path::Path;

use tracing::subscriber::{NoSubscriber, with_default};
use vmroot::{ImageName, encryption, image_store, openpgp, sigstore, transport};

use super::{Failed, names, paths};
use crate::context::NO_CACHE;
use crate::similar::similar;
use crate::transports;

/// The number of similar names that a hint lists.
const MAX_SIMILAR: usize = 3;

/// Returns the hint for an error of the store.
pub(super) fn of_store(error: &image_store::Error, failed: &Failed<'_>) -> Option<String> {
    use image_store::Error;
    Some(match error {
        Error::NoSuchImage(_) | Error::NoSuchLease(_) if has_no_cache(failed) => {
            let directory = failed.context.map(|context| context.cache().display().to_string()).unwrap_or_default();
            format!("there is no cache in {directory}: {NO_CACHE}")
        }
        Error::NoSuchImage(name) => {
            // With a platform, the name is followed by ` for OS/ARCH`.
            let name = name.split(' ').next().unwrap_or_default();
            match similar_images(name, failed) {
                near if !near.is_empty() => {
                    format!("did you mean {}? `vmroot images` lists the images of the cache", near.join(" or "))
                }
                _ if failed.context.is_some_and(|context| context.never_pulls()) && !vmroot::is_id(name) => {
                    "without --pull=never, it is fetched; `vmroot images` lists the images of the cache".to_owned()
                }
                _ => "`vmroot images` lists the images of the cache".to_owned(),
            }
        }
        Error::OtherPlatforms { name, available, .. } if failed.verb == "load" || ImageName::is_archive(name) => {
            let first = available.split(", ").next().unwrap_or_default();
            match available.contains(", ") {
                true => format!("--platform {first} takes that one, and --all-platforms of `vmroot load` all of them"),
                false => format!("--platform {first} takes it"),
            }
        }
        Error::OtherPlatforms { name, wanted, available } => {
            let first = available.split(", ").next().unwrap_or_default();
            // An archive has what it has, and an image that is removed need not be fetched.
            let stays = ["load", "rm", "untag", "df", "lease"].contains(&failed.verb) || is_of_file(name);
            match stays {
                true => format!("--platform {first} takes that one"),
                false => {
                    format!("--platform {first} takes that one; `vmroot pull --platform {wanted} {name}` fetches the other")
                }
            }
        }
        Error::Ambiguous { .. } => "give one of these, or more digits of the id".to_owned(),
        Error::LeaseExists(id) => format!("`vmroot lease release {id}` ends it; --id names the new one otherwise"),
        Error::Damaged { again, .. } => again.clone(),
        Error::Blob { reason, .. } if reason.starts_with("is damaged in") => {
            "`vmroot verify --repair` fetches damaged blobs again; without --shared-cache, an image is pulled here".to_owned()
        }
        Error::Shared { directory, .. } => {
            format!("its owner can change it with `vmroot --cache {}`", directory.display())
        }
        Error::InUse { .. } => "run the command again when that has ended".to_owned(),
        Error::NoLayer { .. } => "pull or load an image that has the layer".to_owned(),
        Error::NoSuchLease(_) => "`vmroot lease list` lists the leases".to_owned(),
        Error::InvalidFilter { .. } => {
            "filters are reference=PATTERN, label=NAME[=VALUE], label!=NAME[=VALUE], platform=OS/ARCH, dangling=true|false, \
             before=IMAGE, since=IMAGE, until=TIME|AGE"
                .to_owned()
        }
        Error::NotAnImage { .. } => "`vmroot copy` copies artifacts, which have no root".to_owned(),
        Error::SaveEncrypted { .. } => "--format oci-archive saves the encrypted layers as they are".to_owned(),
        Error::Budget { .. } => "`vmroot rm` and `vmroot gc` free space".to_owned(),
        Error::BrokenChain { image, .. } => format!("`vmroot pull {image}` writes the record again"),
        Error::Record { .. } => "`vmroot verify --repair` repairs the cache".to_owned(),
        _ => return None,
    })
}

fn has_no_cache(failed: &Failed<'_>) -> bool {
    failed.context.is_some_and(|context| !context.has_cache() && context.shared_caches().is_empty())
}

/// Returns the hint for an error of encrypted layers and their keys.
pub(super) fn of_encryption(error: &encryption::Error) -> Option<String> {
    use encryption::Error;
    Some(match error {
        Error::NoKey { .. } => {
            "--decryption-key FILE[:PASSWORD] gives one; `vmroot copy` to another place than vmroot: needs none, and \
             keeps the layers encrypted"
        }
        Error::NotDecryptable { .. } => {
            "give the private key of one of the recipients; a key with a password is FILE:PASSWORD, and pkcs7 needs the \
             key's own certificate, or none"
        }
        Error::PasswordMissing | Error::PasswordWrong => {
            "--decryption-key FILE:PASSWORD or FILE:file=PASSWORD_FILE gives the password"
        }
        _ => return None,
    }
    .to_owned())
}

/// Returns the hint for an error of a private key of sigstore.
pub(super) fn of_sigstore_key(error: &sigstore::Error, failed: &Failed<'_>) -> Option<String> {
    matches!(error, sigstore::Error::PassphraseMissing | sigstore::Error::PassphraseWrong).then(|| match failed.copies() {
        true => "--sign-passphrase-file FILE has the passphrase, or privateKeyPassphraseFile in the file of --sign-by-sigstore; \
                 without them, it is asked for on a terminal"
            .to_owned(),
        false => "COSIGN_PASSWORD has the passphrase; without it, it is asked for on a terminal".to_owned(),
    })
}

/// Returns the hint for an error of an OpenPGP key.
pub(super) fn of_openpgp_key(error: &openpgp::Error, failed: &Failed<'_>) -> Option<String> {
    let option = if failed.copies() { "--sign-passphrase-file" } else { "--passphrase-file" };
    matches!(error, openpgp::Error::Passphrase(_)).then(|| format!("{option} FILE has the passphrase"))
}

/// Returns the names of images in the cache that are nearly the same. Errors are ignored: the hint is not the failure.
fn similar_images(name: &str, failed: &Failed<'_>) -> Vec<String> {
    // Without a log: the command has written its warnings of the caches already.
    let images =
        with_default(NoSubscriber::default(), || failed.context?.without_new_cache().client().ok()?.images().ok());
    let names = images.unwrap_or_default().into_iter().filter_map(|record| record.reference);
    let mut candidates = Vec::new();
    for reference in names {
        let familiar = reference.familiar();
        // `alpin` stands for `alpin:latest`.
        let repository = familiar.strip_suffix(":latest").map(str::to_owned);
        candidates.extend(repository.into_iter().chain([familiar]));
    }
    // podman names the images of its archives so.
    let local = of_localhost(name, &candidates);
    if !local.is_empty() {
        return local;
    }
    let mut near = similar(name, candidates.iter().cloned());
    if near.is_empty() {
        // The same repository with other tags.
        let repository = name.split(':').next().unwrap_or_default();
        let is_same = |candidate: &String| candidate.strip_prefix(repository).is_some_and(|rest| rest.starts_with(':'));
        near = candidates.into_iter().filter(is_same).collect();
        near.sort();
        near.dedup();
    }
    near.truncate(MAX_SIMILAR);
    near
}

/// Returns those of the names that are `name` with `localhost/` before it.
fn of_localhost(name: &str, candidates: &[String]) -> Vec<String> {
    let whole = format!("localhost/{name}");
    candidates.iter().find(|candidate| **candidate == whole).cloned().into_iter().collect()
}

/// Returns the hint for a pull of a name that is that of an image in the cache but for `localhost/`.
pub(super) fn of_short_name(failed: &Failed<'_>) -> Option<String> {
    let is_short = |name: &&String| !name.contains('/') && !ImageName::has_transport(name) && !vmroot::is_id(name);
    let named = failed.images.iter().filter(is_short);
    let near = named.flat_map(|name| similar_images(name, failed)).find(|near| near.starts_with("localhost/"))?;
    Some(format!("the cache has {near}, which needs no pull: the other commands find it by its short name"))
}

/// Returns the hint for an error of an archive, a layout or a directory.
pub(super) fn of_transport(error: &transport::Error, failed: &Failed<'_>) -> Option<String> {
    use transport::Error;
    Some(match error {
        Error::InvalidName { reason, .. } if reason.starts_with("the scheme ") => {
            "the address of an engine begins with unix://, tcp://, https:// or http://".to_owned()
        }
        Error::InvalidName { name, .. } => match name.split_once(':') {
            Some(("docker", details)) if !details.starts_with("//") => format!("did you mean docker://{details}?"),
            Some((word, _)) if !transports::NAMES.contains(&word) => names::transport(word),
            None if name.is_empty() => {
                "write docker://NAME for an image of a registry, and vmroot:NAME for that of the cache".to_owned()
            }
            None => {
                format!("did you mean docker://{name}, the image of a registry, or vmroot:{name}, that of the cache?")
            }
            _ => return None,
        },
        Error::NotAnArchive { path, .. } | Error::NoManifestJson { path } if path.is_dir() => layouts().to_owned(),
        Error::NotAnArchive { path, .. } if paths::of_archive(path).is_some() => paths::of_archive(path)?.to_owned(),
        Error::NotAnArchive { .. } => {
            "images are in archives of `docker save`, `podman save` or `skopeo copy`, compressed or not".to_owned()
        }
        Error::NoManifestJson { path } | Error::NoManifestInTar { path }
            if path.metadata().is_ok_and(|metadata| metadata.len() == 0) =>
        {
            "the file is empty".to_owned()
        }
        Error::NoManifestJson { path } | Error::NoManifestInTar { path } => format!(
            "it is no archive of images; `vmroot pull tarball:{}` takes a tar of a root file system",
            path.display()
        ),
        Error::Missing { role, path, .. } if *role == "layout version" || *role == "manifest" => match path.is_dir() {
            true => layouts().to_owned(),
            false => archives(path),
        },
        Error::Io { path, .. } if path == Path::new("-") => {
            "/dev/stdin in place of - reads standard input, and so does `vmroot load -`".to_owned()
        }
        Error::Io { path, source, .. } if source.kind() == std::io::ErrorKind::NotADirectory => {
            archives(path.parent().unwrap_or(path))
        }
        Error::NoSuchImage { .. } | Error::SeveralImages { .. } if failed.verb == "load" => {
            "--image NAME takes the image with a name, --image @N the one at a position, counting from 0".to_owned()
        }
        Error::NoSuchImage { .. } | Error::SeveralImages { .. } => {
            "append :NAME, or :@N for the image at a position, counting from 0".to_owned()
        }
        Error::WrongBlob { place, .. } if place.starts_with("vmroot:") => {
            "`vmroot verify --repair` repairs the cache".to_owned()
        }
        Error::Member { reason, .. } if reason.contains("may not be read by this user") => {
            "run vmroot in `podman unshare`, which has the ids of the store's files".to_owned()
        }
        Error::NoStoredImage { .. } | Error::EmptyStore { .. } => {
            "`podman images` or `buildah images` lists the images of the user's store; [overlay@DIR] before the name names \
             another one"
                .to_owned()
        }
        Error::DaemonUnreachable { .. } => {
            "check that the Docker engine runs; DOCKER_HOST or --daemon-host names its address".to_owned()
        }
        Error::RefusedByPolicy(_) if failed.verb == "policy" => {
            "signatures are fetched when an image is pulled; registries.d names their places".to_owned()
        }
        Error::RefusedByPolicy(_) => {
            "`vmroot policy explain IMAGE` prints the requirements and what was found; registries.d names the places of \
             signatures"
                .to_owned()
        }
        Error::CannotHoldSignatures { .. } => "--remove-signatures copies without signatures".to_owned(),
        Error::Occupied { .. } => "choose another place, or remove what is there".to_owned(),
        _ => return None,
    })
}

/// Returns whether an image is that of an archive, a layout or a directory.
fn is_of_file(name: &str) -> bool {
    ImageName::is_archive(name)
}

fn layouts() -> &'static str {
    "oci:DIR is an OCI layout with index.json, dir:DIR a directory of `skopeo copy` with manifest.json"
}

fn archives(path: &Path) -> String {
    let path = path.display();
    format!("the transports of files are oci-archive:{path} and docker-archive:{path}")
}
