//! The commands, one module for each group.

mod archives;
pub(crate) mod boot;
mod commit;
mod copy;
mod cp;
mod df;
mod diff;
mod disk;
mod export;
mod files;
mod gc;
mod history;
mod images;
mod inspect;
mod layer;
mod lease;
mod login;
pub(crate) mod mount;
mod mounts;
mod policy;
mod provenance;
mod pull;
mod registries;
mod remove;
mod repository;
mod shell;
mod sign;
mod signers;
mod standalone;
mod sync;
mod umount;
mod verify;
mod verity;
mod virtiofs;
mod why;

use std::path::Path;

use vmroot::ImageName;
use vmroot::cache::Cache;

use crate::args::{Command, DiskCommand, Format, LeaseCommand};
use crate::context::Context;
use crate::exit::UsageError;
use crate::{paths, signals};

/// Runs a command. `name` is its name on the command line. A failed command leaves no new cache without files.
pub(crate) fn run(context: &Context, name: &str, command: Command) -> anyhow::Result<()> {
    let is_new = !context.cache().exists();
    let result = run_command(context, name, command);
    if result.is_err() && is_new && context.has_cache() {
        // The error is ignored: it is not that of the command, and an empty cache does no harm.
        let _ = Cache::remove_empty(context.cache());
    }
    result
}

fn run_command(context: &Context, name: &str, command: Command) -> anyhow::Result<()> {
    let context = context.with_purpose(&purpose(name, &command));
    let context = &match &command {
        // Without an image, an invalid policy does not matter.
        Command::Verity(verity) if verity::image_of(verity).is_none() => context,
        _ => context.with_policy_of(name)?,
    };
    let context = &match creates_cache(context, &command) {
        true => context.clone(),
        false => context.without_new_cache(),
    };
    signals::set_verb(name);
    if !handles_signals(&command) {
        context.cancel_on_interrupt()?;
        signals::exit_after_grace_period()?;
    }
    refuse_prebaked(name, &command)?;
    if image_names(&command).iter().any(|name| reads_standard_input(name)) {
        paths::refuse_terminal_input("archive")?;
    }
    match command {
        Command::Pull { references, platform } => pull::pull(context, &references, &platform),
        Command::Load { files, input, image, platform, all_platforms } => {
            let files: Vec<_> = files.into_iter().chain(input).collect();
            archives::load(context, &files, image.as_deref(), platform, all_platforms)
        }
        Command::Save { images, output, format, platform } => {
            archives::save(context, &images, output.as_deref(), format, platform)
        }
        Command::Commit { image, layer, options } => commit::commit(context, &image, layer.as_deref(), &options),
        Command::Copy { source, destination, options } => copy::copy(context, &source, &destination, &options),
        Command::Sync { source, destination, options } => sync::sync(context, &source, &destination, &options),
        Command::Images(arguments) => images::images(context, &arguments),
        Command::Inspect { image, options } => {
            inspect::inspect(&context.with_retries(&options.retries), &image, &options)
        }
        Command::Tags(argument) => repository::tags(context, &argument.repository),
        Command::ListTags { name, retries } => repository::list_tags(&context.with_retries(&retries), &name),
        Command::ManifestDigest { file } => repository::manifest_digest(context, &file),
        Command::Repos { registry } => repository::repos(context, &registry),
        Command::Instances(argument) => repository::instances(context, &argument.repository),
        Command::Digest(argument) => repository::digest(&context.with_retries(&argument.retries), &argument.image),
        Command::Referrers { image, artifact_type } => {
            repository::referrers(&context.with_retries(&image.retries), &image.image, artifact_type.as_deref())
        }
        Command::Tag(arguments) => repository::tag(context, &arguments),
        Command::Untag { names } => images::untag(context, &names),
        Command::Delete(argument) => repository::delete(&context.with_retries(&argument.retries), &argument),
        Command::Config { image, raw } => images::config(context, &image, raw),
        Command::Rm { images, force } => remove::remove(context, &images, force),
        Command::Gc(options) => gc::collect(context, &options),
        Command::Lease(command) => lease::lease(context, command),
        Command::Df { images, all } => df::df(context, &images, all),
        Command::Verify { options } => verify::verify(context, &options),
        Command::Ls(arguments) => files::list(context, &arguments),
        Command::Cp(arguments) => cp::copy(context, &arguments),
        Command::Stat { image, path, dereference } => files::stat(context, &image, &path, dereference),
        Command::Cat { image, paths } => files::cat(context, &image, &paths),
        Command::Readlink { image, path } => files::readlink(context, &image, &path),
        Command::Resolve { image, path } => files::resolve(context, &image, &path),
        Command::Diff { old, new, options } => diff::diff(context, &old, &new, &options),
        Command::Why { image, path } => why::why(context, &image, &path),
        Command::History { image, options } => history::history(context, &image, &options),
        Command::Mount { image, directory, options } => mount::mount(context, &image, &directory, &options),
        Command::Umount(options) => umount::unmount(context, &options),
        Command::Mounts => mounts::mounts(context),
        Command::Virtiofs { image, options } => virtiofs::serve(context, &image, &options),
        Command::Boot { image, options } => boot::boot(context, &image, &options),
        Command::Export { image, out, options } => export::export(context, &image, out.as_deref(), &options),
        Command::Disk(command) => disk::disk(context, command),
        Command::Layer(command) => layer::layer(context, command),
        Command::Verity(command) => verity::verity(context, command),
        Command::Login { options } => login::login(context, &options),
        Command::Logout { options } => login::logout(context, &options),
        Command::Registries(command) => registries::registries(context, command),
        Command::Policy(command) => policy::policy(context, command),
        Command::Provenance { image, options } => provenance::provenance(context, &image, &options),
        Command::Sign { image, options } => sign::sign(&context.with_retries(&options.retries), &image, &options),
        Command::VerifySignature { image, options } => {
            sign::verify(&context.with_retries(&options.retries), &image, &options)
        }
        Command::Attest { image, options } => sign::attest(&context.with_retries(&options.retries), &image, &options),
        Command::Attestations { image, options } => {
            sign::attestations(&context.with_retries(&options.retries), &image, &options)
        }
        Command::StandaloneSign(arguments) => standalone::sign(context, &arguments),
        Command::StandaloneVerify(arguments) => standalone::verify(context, &arguments),
        Command::GenerateSigstoreKey(arguments) => standalone::generate_key(context, &arguments),
        Command::Completions { shell } => shell::completions(shell),
        Command::Man { directory } => shell::man(&directory),
    }
}

/// Returns whether a command creates a missing cache. Reading an image that may be pulled does.
fn creates_cache(context: &Context, command: &Command) -> bool {
    match command {
        Command::Pull { .. }
        | Command::Load { .. }
        | Command::Commit { .. }
        | Command::Copy { .. }
        | Command::Sync { .. } => true,
        // These give images of shared caches a name or a lease in this one, or say that the image is in another one.
        Command::Tag(_) | Command::Lease(LeaseCommand::Create { .. }) | Command::Rm { .. } | Command::Untag { .. } => {
            !context.shared_caches().is_empty()
        }
        // An archive is loaded first.
        Command::Config { image, .. } => ImageName::is_archive(image) && context.may_ask_registry(image),
        Command::Inspect { .. }
        | Command::Save { .. }
        | Command::Df { .. }
        | Command::Tags(_)
        | Command::Digest(_)
        | Command::Referrers { .. }
        | Command::Delete(_) => false,
        command => {
            let may_pull = |name: &String| !name.starts_with("prebaked:") && context.may_ask_registry(name);
            let names = image_names(command);
            // A damaged layer of a shared cache is built again in this one.
            names.iter().any(may_pull) || !names.is_empty() && !context.shared_caches().is_empty()
        }
    }
}

/// Returns the names of images on the command line of a command.
pub(crate) fn image_names(command: &Command) -> Vec<String> {
    match command {
        Command::Pull { references: names, .. }
        | Command::Save { images: names, .. }
        | Command::Rm { images: names, .. } => names.clone(),
        Command::Df { images, .. } => images.clone(),
        Command::Copy { source, destination, .. } => vec![source.clone(), destination.clone()],
        Command::Commit { image, .. }
        | Command::Inspect { image, .. }
        | Command::Config { image, .. }
        | Command::Stat { image, .. }
        | Command::Cat { image, .. }
        | Command::Readlink { image, .. }
        | Command::Resolve { image, .. }
        | Command::Why { image, .. }
        | Command::History { image, .. }
        | Command::Mount { image, .. }
        | Command::Virtiofs { image, .. }
        | Command::Provenance { image, .. }
        | Command::Disk(DiskCommand::Serve { image, .. })
        | Command::Boot { image, .. } => vec![image.clone()],
        Command::Ls(arguments) => vec![arguments.image.clone()],
        Command::Cp(arguments) => cp::image_name(arguments).into_iter().collect(),
        Command::Verity(command) => verity::image_of(command).into_iter().collect(),
        Command::Diff { old, new, .. } => vec![old.clone(), new.clone()],
        Command::Disk(DiskCommand::Create(arguments)) => arguments.from.iter().cloned().collect(),
        // Without an image, the first argument is the output.
        Command::Export { image, out: Some(_), .. } => image.to_str().map(str::to_owned).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Returns whether the name of an image is that of standard input.
fn reads_standard_input(name: &str) -> bool {
    match ImageName::parse(name) {
        Ok(ImageName::Tarball(files)) => files.to_string().split(':').any(|file| ["-", "/dev/stdin"].contains(&file)),
        Ok(ImageName::Archive { path, .. }) => path == Path::new("/dev/stdin"),
        _ => false,
    }
}

/// Fails for a prebaked directory in place of an image, for commands that need more than a root and its config.
fn refuse_prebaked(verb: &str, command: &Command) -> anyhow::Result<()> {
    let images: &[String] = match command {
        Command::Pull { references, .. } => references,
        Command::Save { images, .. } => images,
        Command::Inspect { image, .. }
        | Command::History { image, .. }
        | Command::Why { image, .. }
        | Command::Provenance { image, .. }
        | Command::Commit { image, .. } => std::slice::from_ref(image),
        _ => return Ok(()),
    };
    let Some(name) = images.iter().find(|name| name.starts_with("prebaked:")) else { return Ok(()) };
    let text = format!(
        "{name}: {verb} needs an image; a prebaked directory has a root and its config, which ls, cat, cp, stat, config, \
         export, mount, virtiofs, disk serve and boot read"
    );
    Err(UsageError(text).into())
}

/// Returns what a command does, as other users of the cache see it. Arguments are left out: they may contain passwords.
fn purpose(name: &str, command: &Command) -> String {
    match command {
        Command::Mount { directory, .. } => format!("vmroot mount {}", directory.display()),
        Command::Virtiofs { options, .. } => format!("vmroot virtiofs {}", options.socket.display()),
        Command::Disk(DiskCommand::Serve { options, .. }) => format!("vmroot disk serve {}", options.place().display()),
        _ => format!("vmroot {name}"),
    }
}

/// Returns whether a command ends by itself after a signal, from its beginning. It may take long to remove an incomplete
/// tree. Other commands declare that later, with [`signals::end_by_itself`], or never.
fn handles_signals(command: &Command) -> bool {
    match command {
        Command::Umount(_) => true,
        // A tar may go to a pipe that is not read.
        Command::Cp(arguments) => arguments.operands.last().is_none_or(|destination| destination != "-"),
        Command::Export { options, .. } => matches!(options.format, Some(Format::Dir | Format::Prebaked)),
        _ => false,
    }
}
