//! `commit`.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vmroot::changes::Marks;
use vmroot::model::Error as ModelError;
use vmroot::{CommitLayer, CommitOptions, ConfigChange, NewLayer, Reference, Target};

use crate::args::{CommitArguments, LayerCompression};
use crate::context::Context;
use crate::display::Action;
use crate::exit::{Advised, UsageError};
use crate::paths;
use crate::progress::StoreProgress;

use super::pull::print_image;

/// Makes an image of another one, and prints its id.
pub(crate) fn commit(
    context: &Context,
    name: &str,
    layer: Option<&Path>,
    options: &CommitArguments,
) -> anyhow::Result<()> {
    let commit = commit_options(options)?;
    let layer = match (layer, &options.from_upper) {
        (Some(path), _) if path == Path::new("-") => {
            paths::refuse_terminal_input("layer")?;
            CommitLayer::Reader(NewLayer { name: "standard input".to_owned(), reader: Box::new(std::io::stdin()) })
        }
        (Some(path), _) if is_forgotten_tag(path) => {
            let name = path.display();
            let hint = format!("-t {name} gives the new image this name");
            return Err(Advised::not_found(format!("{name}: no such tar"), hint).into());
        }
        (Some(path), _) => CommitLayer::Tar(path.to_owned()),
        (None, Some(directory)) if options.userxattr => CommitLayer::Upper(directory.clone(), Marks::UserXattr),
        (None, Some(directory)) => CommitLayer::Upper(directory.clone(), Marks::Upper),
        (None, None) if commit.changes.is_empty() => {
            let hint = "name a LAYER, or add --from-upper DIR or --change INSTRUCTION";
            return Err(Advised::usage("nothing to commit", hint).into());
        }
        (None, None) => CommitLayer::Empty,
    };
    let client = context.client()?;
    let parent = context.image(&client, name)?;
    context.note_platform(name, &parent.record().platform);
    let progress = StoreProgress::of_work(Action::Unpack, "a layer");
    let committed = client.with_progress(progress).commit(&parent, layer, &commit);
    let image = committed.map_err(|error| {
        // Of a value that depends on the config of the parent.
        let invalid = error.causes().into_iter().find_map(|cause| cause.downcast_ref().and_then(of_change));
        invalid.map_or_else(|| anyhow::Error::from(error), anyhow::Error::from)
    })?;
    print_image(context, &image)
}

/// Returns whether the second operand is a name, as `docker commit` takes it, and not a file.
fn is_forgotten_tag(path: &Path) -> bool {
    let is_name = path.to_str().is_some_and(|text| Reference::parse(text).is_ok());
    // `layer.tar.gz` can be a name as well.
    is_name && path.to_str().is_some_and(|text| text.contains(':') || !text.contains('.')) && !path.exists()
}

/// Returns the error of usage for a change of the config that is not possible.
fn of_change(error: &ModelError) -> Option<Advised> {
    let ModelError::InvalidChange { reason, .. } = error else { return None };
    let hint = match reason {
        reason if reason.ends_with("is not a valid change") => {
            format!("the changes are {}", ConfigChange::INSTRUCTIONS.join(", "))
        }
        reason if reason.starts_with("${") && reason.ends_with("is not supported") => {
            "the forms are ${NAME}, ${NAME:-TEXT}, ${NAME:+TEXT} and ${NAME:?TEXT}".to_owned()
        }
        _ => "changes are written as in a Dockerfile, such as 'EXPOSE 80/tcp', 'ENV NAME=value' or 'USER 1000'"
            .to_owned(),
    };
    Some(Advised::usage(format!("--change: {error}"), hint))
}

fn commit_options(options: &CommitArguments) -> anyhow::Result<CommitOptions> {
    let usage = |option: &str, error: String| UsageError(format!("{option}: {error}"));
    let mut changes = Vec::new();
    for text in &options.change {
        let parsed = ConfigChange::parse(text);
        changes.extend(parsed.map_err(|error| match of_change(&error) {
            Some(advised) => anyhow::Error::from(advised),
            None => usage("--change", error.to_string()).into(),
        })?);
    }
    let mut names = Vec::new();
    for text in &options.tag {
        let name = Reference::parse(text).map_err(|error| usage("--tag", error.to_string()))?;
        if name.digest().is_some() {
            return Err(UsageError(format!("--tag {text}: a new image cannot have a digest in its name")).into());
        }
        names.push(match name.tag() {
            Some(_) => name,
            None => name.with_tag("latest").map_err(|error| usage("--tag", error.to_string()))?,
        });
    }
    Ok(CommitOptions {
        names,
        changes,
        author: options.author.clone(),
        message: options.message.clone(),
        created_by: options.created_by.clone(),
        created: options.timestamp.map_or_else(SystemTime::now, |seconds| UNIX_EPOCH + Duration::from_secs(seconds)),
        compression: options.compression.map(target),
    })
}

fn target(compression: LayerCompression) -> Target {
    match compression {
        LayerCompression::Gzip => Target::Gzip { level: None },
        LayerCompression::Zstd => Target::Zstd { level: None },
        LayerCompression::None => Target::Plain,
    }
}
