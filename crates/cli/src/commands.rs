//! The commands, one module for each group.

mod archives;
pub(crate) mod boot;
mod commit;
mod copy;
mod cp;
mod df;
mod diff;
mod export;
mod files;
mod gc;
mod history;
mod images;
mod inspect;
mod layer;
mod lease;
mod login;
mod mount;
mod mounts;
mod policy;
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
mod virtiofs;
mod why;

use crate::args::{Command, Format};
use crate::context::Context;
use crate::signals;

/// Runs a command. `name` is its name on the command line.
pub(crate) fn run(context: &Context, name: &str, command: Command) -> anyhow::Result<()> {
    let context = &context.with_purpose(&purpose(name, &command)).with_policy_of(name)?;
    signals::set_verb(name);
    if !handles_signals(&command) {
        context.cancel_on_interrupt()?;
        signals::exit_after_grace_period()?;
    }
    match command {
        Command::Pull { references } => pull::pull(context, &references),
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
        Command::Layer(command) => layer::layer(context, command),
        Command::Login { options } => login::login(context, &options),
        Command::Logout { options } => login::logout(context, &options),
        Command::Registries(command) => registries::registries(context, command),
        Command::Policy(command) => policy::policy(context, command),
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

/// Returns what a command does, as other users of the cache see it. Arguments are left out: they may contain passwords.
fn purpose(name: &str, command: &Command) -> String {
    match command {
        Command::Mount { directory, .. } => format!("vmroot mount {}", directory.display()),
        Command::Virtiofs { options, .. } => format!("vmroot virtiofs {}", options.socket.display()),
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
