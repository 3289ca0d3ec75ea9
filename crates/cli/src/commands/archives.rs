//! `save` and `load`.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vmroot::output::{Error as FileError, OutputFile};
use vmroot::{
    Client, ImageName, ImageSelector, LoadOptions, LoadedImage, Platform, Reference, SaveFormat, SaveOptions,
};

use crate::context::Context;
use crate::display::Action;
use crate::exit::{Advised, UsageError};
use crate::progress::StoreProgress;
use crate::{output, paths};

/// Saves images to a file or to standard output.
pub(crate) fn save(
    context: &Context,
    images: &[String],
    out: Option<&Path>,
    format: SaveFormat,
    platforms: Vec<Platform>,
) -> anyhow::Result<()> {
    let options = SaveOptions { format, platforms: requested_platforms(context, platforms) };
    let out = out.filter(|out| *out != Path::new("-"));
    if out.is_none() {
        output::refuse_terminal("an archive", "use -o FILE, or pipe it to another program")?;
    }
    out.map_or(Ok(()), paths::refuse_terminal)?;
    let name = out.map_or("standard output".into(), file_name);
    let client = context.client()?.with_progress(StoreProgress::of_work(Action::Fetch, &name));
    note_zstd(context, &client, images, format);
    match out {
        Some(out) => {
            client.save_to(images, out, &options)?;
            if let Some(ending) = compressed_ending(out) {
                let (out, program) = (out.display(), if ending == ".zst" { "zstd" } else { "gzip" });
                output::print_note(&format!(
                    "note: {out} is a plain tar in spite of its name: `vmroot save ... | {program} > {out}` compresses"
                ));
            }
            if context.json() {
                let bytes = out.metadata().map(|metadata| metadata.len()).ok();
                output::print_json(&json!({
                    "output": out.display().to_string(),
                    "format": format.to_string(),
                    "images": images,
                    "bytes": bytes,
                }))?;
            }
        }
        None => {
            let name = Path::new("standard output");
            let stdout = io::stdout().as_fd().try_clone_to_owned().map_err(FileError::on("write", name));
            let output = OutputFile::over(stdout.map_err(vmroot::Error::from)?.into(), name);
            output.write_with(|writer| client.save(images, writer, &options))?;
        }
    }
    Ok(())
}

/// Returns the ending of a file's name that stands for a compression. As with docker and podman, archives are plain.
fn compressed_ending(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    [".gz", ".tgz", ".zst"].into_iter().find(|ending| name.ends_with(ending))
}

/// Returns the last part of the path of an archive, or the name of standard input, for progress.
fn name_for_progress(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { file_name(path) }
}

/// Returns the last part of a path, for progress.
fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Notes that older versions of Docker cannot read an image's layers. An image that is not found is an error of `save`.
fn note_zstd(context: &Context, client: &Client, images: &[String], format: SaveFormat) {
    if format != SaveFormat::DockerArchive {
        return;
    }
    for name in images {
        let found = client.find(name, context.requested_platform());
        let Ok(image) = found else { continue };
        if image.record().layers.iter().any(|layer| layer.media_type.to_string().ends_with("zstd")) {
            output::print_note(&format!(
                "{name}: has layers in zstd, which Docker 20.10 does not load; --format docker-archive-v24 writes them \
                 uncompressed"
            ));
        }
    }
}

/// Loads images from archives, prints messages as `docker load` does, and then the ids.
pub(crate) fn load(
    context: &Context,
    files: &[PathBuf],
    picked: Option<&str>,
    platforms: Vec<Platform>,
    all_platforms: bool,
) -> anyhow::Result<()> {
    files.iter().try_for_each(|file| check_is_path(file))?;
    if files.iter().any(|file| file == Path::new("-") || file == Path::new("/dev/stdin")) {
        paths::refuse_terminal_input("archive")?;
    }
    let names: Vec<_> = files.iter().map(|file| name_for_progress(file)).collect();
    let client = context.client()?.with_progress(StoreProgress::of_work(Action::Load, &names.join(", ")));
    let path = |file: &PathBuf| if file == Path::new("-") { PathBuf::from("/dev/stdin") } else { file.clone() };
    let paths: Vec<PathBuf> = files.iter().map(path).collect();
    let platforms = requested_platforms(context, platforms);
    let options =
        LoadOptions { platforms, all_platforms, selector: picked.map(parse_pick).transpose()?, admission: None };
    let report = client.load_archives(&paths, &options)?;
    // The progress ends before the results.
    drop(client);
    for note in &report.notes {
        output::print_note(note);
    }
    if report.images.is_empty() {
        let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        output::print_note(&format!("{}: contains no images", names.join(", ")));
    }
    if !context.json() {
        report.messages().iter().for_each(|message| output::print_note(message));
    }
    if context.json() {
        let loaded: Vec<Value> = report.images.iter().map(loaded_json).collect();
        let count = loaded.len();
        output::print_one_or_list(loaded, count)?;
        return Ok(());
    }
    for loaded in &report.images {
        let has_host = |other: &LoadedImage| {
            other.archive == loaded.archive && other.image.record().platform.normalised() == Platform::host()
        };
        if !loaded.is_further_platform && !report.images.iter().any(has_host) {
            context.note_platform(&loaded.archive.display().to_string(), &loaded.image.record().platform);
        }
        output::print_line(loaded.image.id().to_string())?;
    }
    Ok(())
}

/// Fails for the name of an image with a transport: a file of that name is missing, and `pull` takes such names.
fn check_is_path(file: &Path) -> anyhow::Result<()> {
    let name = file.to_str().filter(|name| ImageName::has_transport(name) && !file.exists());
    let Some((name, (transport, details))) = name.and_then(|name| Some((name, name.split_once(':')?))) else {
        return Ok(());
    };
    let hint = match transport {
        "oci" | "oci-archive" | "docker-archive" => {
            let path = details.split(':').next().unwrap_or_default();
            if path == "-" {
                let message = format!("{name}: there is no such file");
                return Err(Advised::not_found(message, "`vmroot load -` reads standard input").into());
            }
            format!("load takes paths: `vmroot load {path}`; `vmroot pull {name}` takes names with a transport")
        }
        _ => format!("load takes paths of archives; `vmroot pull {name}` takes names with a transport"),
    };
    Err(Advised::not_found(format!("{name}: there is no such file"), hint).into())
}

/// Returns the platforms of the command's own `--platform`, or the one of `--arch`.
fn requested_platforms(context: &Context, platforms: Vec<Platform>) -> Vec<Platform> {
    if platforms.is_empty() { context.requested_platform().cloned().into_iter().collect() } else { platforms }
}

fn loaded_json(loaded: &LoadedImage) -> Value {
    let record = loaded.image.record();
    let references: Vec<_> = loaded.references.iter().map(ToString::to_string).collect();
    let moved: Vec<_> =
        loaded.moved.iter().map(|it| json!({"reference": it.reference.to_string(), "from": it.from})).collect();
    json!({
        "id": loaded.image.id(),
        "reference": references.first(),
        "digest": record.digest,
        "references": references,
        "platform": record.platform.to_string(),
        "moved": moved,
    })
}

/// Parses `@N` or a name.
fn parse_pick(text: &str) -> anyhow::Result<ImageSelector> {
    if let Some(index) = text.strip_prefix('@') {
        let index = index
            .parse()
            .map_err(|_| UsageError(format!("--image {text}: expected a reference, or @ and a number")))?;
        return Ok(ImageSelector::Index(index));
    }
    if let Err(error) = Reference::parse(text)
        && ImageName::parse(&format!("oci:layout:{text}")).is_err()
    {
        return Err(UsageError(format!("--image: {error}")).into());
    }
    Ok(ImageSelector::Name(text.to_owned()))
}
