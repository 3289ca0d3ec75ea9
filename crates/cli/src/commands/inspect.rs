//! `inspect` as skopeo prints it, and `config` of images that are not in the cache.

mod output_type;
mod report;
mod schema1;

use serde_json::Value;
use vmroot::go_template::{JsonStyle, Report, Type, is_json, to_json};
use vmroot::model::Algorithm;
use vmroot::registry::Error as RegistryError;
use vmroot::transport::{DaemonName, Format};
use vmroot::{Client, ErrorKind, ImageDocuments, ImageName, ImageSelector, Reference, is_tag_list_refused};

use crate::args::{DigestAlgorithm, InspectArguments};
use crate::commands::images;
use crate::context::Context;
use crate::docker_format::invalid_template;
use crate::exit::Advised;
use crate::output;
use crate::transports::Transports;

/// The name of the template in messages.
const TEMPLATE_NAME: &str = "vmroot inspect";

/// Prints a description of an image: skopeo's for a name with a transport and with skopeo's options, else vmroot's.
pub(crate) fn inspect(context: &Context, name: &str, arguments: &InspectArguments) -> anyhow::Result<()> {
    if arguments.raw && arguments.format.is_some() {
        let hint = "without --raw, --format prints parts of the description, and with --config those of the config";
        return Err(Advised::usage("--raw prints bytes as they are, so it does not go with --format", hint).into());
    }
    if context.json() && arguments.format.is_some() {
        let hint = "--format json prints all fields; --format with a template prints text";
        return Err(Advised::usage("--json does not go with --format", hint).into());
    }
    if arguments.is_of_skopeo() || ImageName::has_transport(name) && !context.json() {
        return inspect_like_skopeo(context, name, arguments);
    }
    images::inspect(context, name, arguments.remote)
}

fn inspect_like_skopeo(context: &Context, name: &str, arguments: &InspectArguments) -> anyhow::Result<()> {
    let client = context.client()?.with_transports(transports(context, arguments).options());
    let (name, place) = place(context, &client, name, arguments.remote)?;
    if arguments.raw && !arguments.config {
        return print_bytes(&client.raw_manifest(&name)?);
    }
    let documents = match client.documents(&name, context.requested_platform()) {
        Err(error) if error.is_schema1() => return inspect_schema1(context, &client, &name, place, arguments),
        documents => documents?,
    };
    context.note_platform(&name, documents.config.platform());
    if arguments.config {
        return match arguments.raw {
            true => print_bytes(documents.config.raw()),
            false => print(&config_value(&documents)?, &output_type::config(), arguments),
        };
    }
    let tags = listed_tags(&client, &place, &documents.references, arguments)?;
    let algorithm = match arguments.manifest_digest {
        Some(DigestAlgorithm::Sha256) => Algorithm::Sha256,
        Some(DigestAlgorithm::Sha512) => Algorithm::Sha512,
        None => documents.manifest.config().digest.algorithm(),
    };
    let value = report::report(&documents, docker_name(place, &documents.references), tags, algorithm)?;
    print(&value, &output_type::output(), arguments)
}

/// Prints a description of an image in Docker's schema 1, whose config is a part of its manifest.
fn inspect_schema1(
    context: &Context,
    client: &Client,
    name: &str,
    place: Place,
    arguments: &InspectArguments,
) -> anyhow::Result<()> {
    let (image, references) = client.schema1(name)?;
    let config = image.config().map_err(vmroot::Error::from)?;
    context.note_platform(name, config.platform());
    if arguments.config && arguments.raw {
        // As skopeo: it prints nothing, because there is no such blob.
        output::print_note(&format!("note: {name} is of Docker's schema 1, whose images have no config blob"));
        return Ok(());
    }
    if arguments.config {
        return print(&schema1::config(&image)?, &output_type::config(), arguments);
    }
    if arguments.manifest_digest == Some(DigestAlgorithm::Sha512) {
        let message = "--manifest-digest: manifests of Docker's schema 1 have SHA-256 digests only";
        return Err(Advised::usage(message, "leave out --manifest-digest").into());
    }
    let tags = listed_tags(client, &place, &references, arguments)?;
    let value = schema1::report(&image, docker_name(place, &references), tags)?;
    print(&value, &output_type::output(), arguments)
}

/// Returns the tags of the image's repository, if there is one and the options do not omit them.
fn listed_tags(
    client: &Client,
    place: &Place,
    references: &[Reference],
    arguments: &InspectArguments,
) -> anyhow::Result<Vec<String>> {
    match (place, references.first()) {
        (Place::Registry, Some(reference)) if !arguments.no_tags => tags(client, reference),
        _ => Ok(Vec::new()),
    }
}

/// Returns the options for images in other places than registries.
fn transports(context: &Context, arguments: &InspectArguments) -> Transports {
    Transports {
        daemon_host: arguments.daemon_host.clone(),
        shared_blob_dir: arguments.shared_blob_dir.clone(),
        cert_dir: context.registry_arguments().cert_dir.clone(),
        tls_verify: context.registry_arguments().tls_verify,
    }
}

/// The place of an image.
enum Place {
    Registry,
    Cache,
    /// A file, a directory or an engine, and the repository that its name contains.
    Other(Option<String>),
}

/// Returns the name for the library and the place of an image. One without a transport is in the cache, or else in its
/// registry. With `--pull never`, all images are in the cache.
fn place(context: &Context, client: &Client, name: &str, remote: bool) -> anyhow::Result<(String, Place)> {
    let is_offline = !context.may_ask_registry(name);
    if ImageName::has_transport(name) && !is_offline {
        let place = match ImageName::parse(name).map_err(vmroot::Error::from)? {
            ImageName::Docker(_) => Place::Registry,
            ImageName::Cache(_) => Place::Cache,
            other => Place::Other(repository_of(&other)),
        };
        return Ok((name.to_owned(), place));
    }
    if !remote || is_offline {
        match client.find(name, context.requested_platform()) {
            // By its name: the digest is then that which the name resolved to.
            Ok(_) if !ImageName::has_transport(name) => return Ok((format!("vmroot:{name}"), Place::Cache)),
            Ok(image) => return Ok((format!("vmroot:{}", image.id()), Place::Cache)),
            Err(error) if error.kind() != ErrorKind::NotFound || is_offline => return Err(error.into()),
            Err(_) => {}
        }
    }
    Ok((name.to_owned(), Place::Registry))
}

/// Returns the name of the repository, for places whose images have one.
fn docker_name(place: Place, references: &[Reference]) -> Option<String> {
    match place {
        Place::Registry | Place::Cache => references.first().map(Reference::name),
        Place::Other(repository) => repository,
    }
}

/// Returns the repository in a name of an image outside registries, if it has one, as skopeo prints it.
fn repository_of(name: &ImageName) -> Option<String> {
    match name {
        ImageName::Daemon(DaemonName::Reference(reference)) => Some(reference.name()),
        ImageName::Storage(storage) => storage.reference.as_ref().map(Reference::name),
        ImageName::Archive { format: Format::DockerArchive, selector: ImageSelector::Name(name), .. } => {
            Reference::parse(name).ok().map(|reference| reference.name())
        }
        _ => None,
    }
}

/// Returns the tags of a repository. A registry that refuses to list them is no error.
fn tags(client: &Client, reference: &Reference) -> anyhow::Result<Vec<String>> {
    match client.registry().tags(reference) {
        Ok(list) => Ok(list.tags),
        Err(error) if is_tag_list_refused(&error) => {
            output::print_note(&format!("note: {} does not list its tags", reference.domain()));
            Ok(Vec::new())
        }
        Err(error) => Err(tag_list_error(error)),
    }
}

fn tag_list_error(error: RegistryError) -> anyhow::Error {
    anyhow::Error::from(vmroot::Error::from(error))
        .context("cannot list the tags of the repository (--no-tags omits them)")
}

fn config_value(documents: &ImageDocuments) -> anyhow::Result<Value> {
    Ok(serde_json::from_slice(documents.config.raw())?)
}

/// Prints a value as indented JSON, or with the template of `--format`.
fn print(value: &Value, of: &Type, arguments: &InspectArguments) -> anyhow::Result<()> {
    let template = arguments.format.as_deref().filter(|format| !format.is_empty() && !is_json(format));
    let Some(template) = template else {
        let json = to_json(value, of, JsonStyle { indent: Some(4), escape_html: true });
        return Ok(output::print_json_text(&json)?);
    };
    let report = Report::parse(TEMPLATE_NAME, template).map_err(invalid_template)?;
    let text = report.execute(&Value::Array(vec![value.clone()]), of).map_err(invalid_template)?;
    Ok(output::print_text(&text)?)
}

/// Prints the exact bytes of a document.
fn print_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    Ok(output::print_text(bytes)?)
}
