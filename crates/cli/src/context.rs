//! The options of the library, made from those of the command line, and the images and roots that commands work on.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use rustix::fs::Access;
use vmroot::cache::Cache;
use vmroot::encryption::DecryptionKeys;
use vmroot::model::chain_ids;
use vmroot::output::Omissions;
use vmroot::{
    BuildOptions, Cancel, Client, ClientOptions, ContainerFs, Digest, ErrorKind, ExtendedRoot, Fallback, Image,
    ImageConfig, Limits, Platform, Prebaked, Progress, PullOptions, PullPolicy, RegistryOptions, RuntimeConfig, Top,
    TopFiles, is_id,
};

use crate::args::{Global, Pull, RegistryArguments, RetryArguments, uses_policy};
use crate::display::Action;
use crate::exit::Advised;
use crate::paths::check_access;
use crate::progress::{Requests, StoreProgress};
use crate::registry_access::RegistryAccess;
use crate::short_names::ChosenName;
use crate::transports::Transports;
use crate::{encryption, environment, output, policy, signals};

/// The hint for a directory without a cache.
pub(crate) const NO_CACHE: &str =
    "--cache and VMROOT_CACHE name its directory; `vmroot pull` and `vmroot load` make a new cache";

/// The options of the command line and of the library.
#[derive(Clone)]
pub(crate) struct Context {
    global: Global,
    options: ClientOptions,
}

impl Context {
    pub(crate) fn new(global: &Global) -> anyhow::Result<Self> {
        let directory = global.cache.clone().map_or_else(environment::cache_directory, Ok)?;
        let mut options = ClientOptions::new(std::path::absolute(&directory)?);
        let shared = match global.shared_cache.is_empty() {
            true => environment::shared_caches(),
            false => global.shared_cache.clone(),
        };
        options.store.shared = shared.iter().map(std::path::absolute).collect::<std::io::Result<_>>()?;
        options.platform = global.requested_platform().cloned();
        options.store.limits = limits(global);
        options.store.build = build_options(global);
        options.store.parallel = usize::from(global.resources.parallel);
        options.store.max_size = global.max_cache_size;
        options.store.decryption_keys = encryption::decryption_keys(&global.decryption.decryption_key)?;
        options.registry.connections = usize::from(global.resources.parallel);
        for file in &global.registry.ca_file {
            std::fs::metadata(file).with_context(|| format!("--ca-file {}", file.display()))?;
        }
        options.registry.plain_http = global.registry.plain_http;
        options.registry.ca_files.clone_from(&global.registry.ca_file);
        options.registry.proxies = environment::proxies();
        options.registry.retries = global.registry.retries;
        if let Some(path) = &global.registry.tls_details {
            options.registry.tls = vmroot::config_files::read_tls_details(path).context("--tls-details")?;
        }
        if let Some(prefix) = &global.registry.user_agent_prefix {
            options.registry.user_agent = format!("{prefix} {}", options.registry.user_agent);
        }
        options.registry.observer = Some(Arc::new(Requests));
        options.registry.inactivity_timeout = global.registry.inactivity_timeout;
        let access = RegistryAccess::of(&global.registry);
        options.configuration = Some(access.apply(&global.registry, &mut options.registry)?);
        options.transports = Transports::default().options();
        options.temporary_dir = global.resources.tmpdir.as_deref().map(std::path::absolute).transpose()?;
        if let Some(directory) = &options.temporary_dir {
            std::fs::read_dir(directory).with_context(|| format!("--tmpdir {}", directory.display()))?;
        }
        if options.temporary_dir.is_none() && is_read_only(&options.store.directory) {
            options.temporary_dir = Some(environment::temporary_directory());
        }
        Ok(Self { global: global.clone(), options })
    }

    /// Returns the directory of the cache.
    pub(crate) fn cache(&self) -> &Path {
        &self.options.store.directory
    }

    /// Returns the directories of the shared caches.
    pub(crate) fn shared_caches(&self) -> &[std::path::PathBuf] {
        &self.options.store.shared
    }

    /// Returns the directory for files of running work: the cache, or another one if the cache cannot be written.
    pub(crate) fn scratch(&self) -> &Path {
        match &self.options.temporary_dir {
            Some(directory) if is_read_only(self.cache()) => directory,
            _ => self.cache(),
        }
    }

    /// Returns this context with what the command does, for other users of the cache.
    pub(crate) fn with_purpose(&self, purpose: &str) -> Self {
        let mut other = self.clone();
        purpose.clone_into(&mut other.options.store.purpose);
        other
    }

    /// Returns this context for a command that reads the cache, and needs none: a mistyped directory is not created.
    pub(crate) fn without_new_cache(&self) -> Self {
        let mut other = self.clone();
        other.options.store.create = false;
        if other.options.temporary_dir.is_none() && !self.has_cache() {
            other.options.temporary_dir = Some(environment::temporary_directory());
        }
        other
    }

    /// Returns whether there is a cache.
    pub(crate) fn has_cache(&self) -> bool {
        Cache::exists(self.cache())
    }

    /// Prints a note if there is no cache, for a command whose result is then empty.
    pub(crate) fn note_missing_cache(&self) {
        if !self.has_cache() {
            output::print_note(&format!("there is no cache in {}", self.cache().display()));
        }
    }

    /// Returns this context with the policy on signatures, if the command uses images. Other commands work with a policy that
    /// is invalid, too.
    ///
    /// # Errors
    /// The policy cannot be read, or is invalid.
    pub(crate) fn with_policy_of(mut self, verb: &str) -> anyhow::Result<Self> {
        if uses_policy(verb) {
            self.options.policy = policy::admission(&self.global)?;
        }
        Ok(self)
    }

    /// Returns the files in which a policy is looked for.
    pub(crate) fn policy_files(&self) -> Vec<std::path::PathBuf> {
        policy::files(&self.global)
    }

    /// Returns this context with a platform to use if the user has named none.
    pub(crate) fn with_default_platform(&self, platform: Platform) -> Self {
        let mut other = self.clone();
        if other.requested_platform().is_none() {
            other.options.platform = Some(platform.clone());
            other.global.platform.platform = Some(platform);
        }
        other
    }

    /// Returns this context with another platform than that of the options.
    pub(crate) fn with_platform(&self, platform: Platform) -> Self {
        let mut other = Self { global: self.global.clone(), options: self.options.clone() };
        other.options.platform = Some(platform.clone());
        (other.global.platform.platform, other.global.platform.arch) = (Some(platform), None);
        other
    }

    /// Returns this context for a guest, whose machine may be of any architecture: the only image of a name is accepted if
    /// the user has named no platform.
    pub(crate) fn for_guest(&self) -> Self {
        let mut other = self.clone();
        other.options.fallback = Fallback::Only;
        other
    }

    /// Returns this context with the retries of a command.
    pub(crate) fn with_retries(&self, retries: &RetryArguments) -> Self {
        let mut other = self.clone();
        if let Some(times) = retries.retry_times {
            other.options.registry.retries = times;
        }
        if let Some(delay) = retries.retry_delay.filter(|delay| !delay.is_zero()) {
            other.options.registry.retry_delay = Some(delay);
        }
        other
    }

    pub(crate) fn verbose(&self) -> bool {
        self.global.verbose > 0
    }

    pub(crate) fn json(&self) -> bool {
        self.global.json
    }

    pub(crate) fn quiet(&self) -> bool {
        self.global.quiet
    }

    /// Returns the platform of `--platform` or `--arch`.
    pub(crate) fn requested_platform(&self) -> Option<&Platform> {
        self.global.requested_platform()
    }

    /// Returns whether the platform is that of skopeo's options, such as `--override-arch`.
    pub(crate) fn overrides_platform(&self) -> bool {
        self.global.platform.overrides.is_given()
    }

    /// Makes signals cancel the work, for work without a client.
    pub(crate) fn cancel_on_interrupt(&self) -> anyhow::Result<()> {
        signals::cancel_on_interrupt(self.options.cancel())
    }

    /// Returns a client whose work signals cancel.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        self.cancel_on_interrupt()?;
        RegistryAccess::of(&self.global.registry).check()?;
        Ok(Client::new(self.options.clone())?)
    }

    /// Returns a client of a cache that must exist.
    pub(crate) fn client_of_cache(&self) -> anyhow::Result<Client> {
        let client = self.client()?;
        match self.has_cache() {
            true => Ok(client),
            false => {
                let message = format!("there is no cache in {}", self.cache().display());
                Err(Advised::not_found(message, NO_CACHE).into())
            }
        }
    }

    /// Returns the options of the command line for registries.
    pub(crate) fn registry_arguments(&self) -> &RegistryArguments {
        &self.global.registry
    }

    /// Returns the options for a client for registries.
    pub(crate) fn registry_options(&self) -> RegistryOptions {
        RegistryOptions { cancel: self.cancel(), ..self.options.registry.clone() }
    }

    /// Returns the cancellation of the work, which signals set after [`Self::cancel_on_interrupt`].
    pub(crate) fn cancel(&self) -> Cancel {
        self.options.cancel()
    }

    pub(crate) fn limits(&self) -> Limits {
        self.options.store.limits
    }

    /// Returns the keys of `--decryption-key`, if there are any.
    pub(crate) fn decryption_keys(&self) -> Option<Arc<DecryptionKeys>> {
        let keys = &self.options.store.decryption_keys;
        (!keys.is_empty()).then(|| Arc::clone(keys))
    }

    pub(crate) fn build_options(&self) -> BuildOptions {
        self.options.store.build.clone()
    }

    /// Returns a receiver of the progress of a pull.
    pub(crate) fn progress(&self) -> Arc<dyn Progress> {
        StoreProgress::of_pull()
    }

    pub(crate) fn pull_options(&self, default: Pull) -> PullOptions {
        let policy: PullPolicy = self.global.pull.when.unwrap_or(default).into();
        PullOptions { platform: self.requested_platform().cloned(), policy }
    }

    /// Returns whether a registry may resolve a name: not with `--pull never`, and not for ids.
    pub(crate) fn may_ask_registry(&self, name: &str) -> bool {
        !matches!(self.global.pull.when, Some(Pull::Never)) && !is_id(name)
    }

    /// Returns whether `--pull never` is set.
    pub(crate) fn never_pulls(&self) -> bool {
        matches!(self.global.pull.when, Some(Pull::Never))
    }

    /// Returns whether `--pull always` is set.
    pub(crate) fn always_pulls(&self) -> bool {
        matches!(self.global.pull.when, Some(Pull::Always))
    }

    /// Returns the image that a command works on, from the cache or pulled, according to `--pull`.
    pub(crate) fn image(&self, client: &Client, name: &str) -> anyhow::Result<Image> {
        let options = self.pull_options(Pull::Missing);
        let is_present = || client.find(name, options.platform.as_ref()).is_ok();
        let chosen = match self.may_ask_registry(name) && !is_present() {
            true => Some(ChosenName::ask(client, name, &self.cancel())?),
            false => None,
        };
        let asked_name = chosen.as_ref().map_or(name, |chosen| &chosen.name);
        let image = client.with_progress(self.progress()).image(asked_name, &options)?;
        if let Some(chosen) = chosen {
            chosen.record(client);
        }
        self.note_platform(name, &image.record().platform);
        Ok(image)
    }

    /// Prints a note if an image is for another platform than this machine's and the user has named no platform.
    pub(crate) fn note_platform(&self, name: &str, platform: &Platform) {
        let (host, own) = (Platform::host(), platform.normalised());
        let is_host = |own: &str, host: &str| own.is_empty() || own == host;
        let same = is_host(&own.os, &host.os) && is_host(&own.architecture, &host.architecture);
        if !same && self.requested_platform().is_none() {
            // Escaped, because an archive can choose both texts.
            let (name, own) = (name.escape_debug(), own.to_string());
            output::print_note(&format!(
                "{name} is for {}, not for {host}, this machine's platform",
                own.escape_debug()
            ));
        }
    }

    /// Opens the merged root of an image or of `prebaked:DIR`, with `top` on top of it.
    pub(crate) fn root(&self, name: &str, top: &Top) -> anyhow::Result<OpenedRoot> {
        self.put_on_top(self.open(name)?, top)
    }

    /// Opens the merged root of an image or of `prebaked:DIR`, with a top that depends on the image's config.
    pub(crate) fn root_with(
        &self,
        name: &str,
        top: impl FnOnce(&RuntimeConfig) -> anyhow::Result<Top>,
    ) -> anyhow::Result<OpenedRoot> {
        let opened = self.open(name)?;
        let top = top(&opened.unresolved_config())?;
        self.put_on_top(opened, &top)
    }

    /// Opens the merged root of an image or of `prebaked:DIR`, with nothing on top.
    pub(crate) fn open(&self, name: &str) -> anyhow::Result<OpenedRoot> {
        let (root, config, image) = match name.strip_prefix("prebaked:") {
            Some(directory) => {
                let (root, config) = self.root_of_prebaked(directory.as_ref())?;
                (root, config, None)
            }
            None => {
                let client = self.client()?;
                let (image, root) = self.read_image(&client, name, |image| client.root(image))?;
                (root, RootConfig::Image(Box::new(image.config().clone())), Some(Box::new(UsedImage { client, image })))
            }
        };
        Ok(OpenedRoot { root, config, on_top: Vec::new(), omitted: Omissions::default(), _files: None, image })
    }

    /// Puts `top` on top of a root, and shows the progress.
    pub(crate) fn put_top(client: &Client, root: ContainerFs, top: &Top) -> anyhow::Result<ExtendedRoot> {
        let progress = StoreProgress::of_work(Action::Prepare, "the layers on top");
        Ok(client.with_progress(progress).put_on_top(root, top)?)
    }

    /// Puts `top` on top of a root from [`Self::open`].
    pub(crate) fn put_on_top(&self, opened: OpenedRoot, top: &Top) -> anyhow::Result<OpenedRoot> {
        if top.is_empty() {
            return Ok(opened);
        }
        let client = opened.image.as_ref().map_or_else(|| self.client(), |used| Ok(used.client.clone()))?;
        let on_top = Self::put_top(&client, opened.root, top)?;
        print_notes(&on_top);
        let omitted = on_top.omitted().clone();
        let layers = on_top.layers().iter().map(|layer| layer.diff_id).collect();
        let (root, files) = on_top.into_parts();
        Ok(OpenedRoot { root, on_top: layers, omitted, _files: Some(files), ..opened })
    }

    fn root_of_prebaked(&self, directory: &Path) -> anyhow::Result<(ContainerFs, RootConfig)> {
        if directory.as_os_str().is_empty() {
            let hint = "write prebaked:DIR; `vmroot export IMAGE DIR --format prebaked` makes such a directory";
            return Err(Advised::usage("prebaked: expected the path of a directory", hint).into());
        }
        if self.options.policy.as_ref().is_some_and(|admission| admission.require_signed) {
            let hint = "--require-signed is for images; a prebaked directory has no signatures";
            return Err(Advised::refused(format!("prebaked:{}: it is not signed", directory.display()), hint).into());
        }
        let prebaked = match self.requested_platform() {
            Some(platform) => Prebaked::open_for(directory, platform),
            None => Prebaked::open(directory),
        };
        let prebaked = match prebaked {
            Err(error) if !directory.join("config.json").is_file() => {
                let text = format!("{} was not made by `vmroot export --format prebaked`", directory.display());
                return Err(anyhow::Error::from(error).context(text));
            }
            prebaked => prebaked.with_context(|| format!("prebaked:{}", directory.display()))?,
        };
        let config = prebaked.config().clone();
        if let Ok(platform) = Platform::linux(&config.architecture) {
            self.note_platform(&format!("prebaked:{}", directory.display()), &platform);
        }
        Ok((prebaked.into_root(), RootConfig::Prebaked(config)))
    }

    /// Returns the image that a command works on, and the result of `read` for it. An image that is too damaged to be
    /// read is pulled again, according to `--pull`.
    pub(crate) fn read_image<T>(
        &self,
        client: &Client,
        name: &str,
        read: impl Fn(&Image) -> vmroot::Result<T>,
    ) -> anyhow::Result<(Image, T)> {
        let options = self.pull_options(Pull::Missing);
        let image = self.image(client, name)?;
        match read(&image) {
            // The blobs are damaged too, so the image counts as missing.
            Err(error) if error.kind() == ErrorKind::Integrity && client.can_pull_again(&image, name, &options) => {
                output::print_note(&format!("{name} cannot be repaired from the cache: pulling it again"));
                let image = client.with_progress(self.progress()).pull_with(name, &options)?;
                let result = read(&image)?;
                Ok((image, result))
            }
            result => Ok((image, result?)),
        }
    }
}

/// Prints the omissions of the layers on top, and warnings about their effects.
pub(crate) fn print_notes(on_top: &ExtendedRoot) {
    output::print_omissions(on_top.omitted());
    on_top.warnings().iter().for_each(|warning| output::print_note(&format!("warning: {warning}")));
}

/// A merged root with the handles that keep its files in place.
pub(crate) struct OpenedRoot {
    pub(crate) root: ContainerFs,
    config: RootConfig,
    /// The diff ids of the layers on top, lowest first.
    pub(crate) on_top: Vec<Digest>,
    /// The files that the layers on top omit.
    pub(crate) omitted: Omissions,
    /// Keeps the temporary files of the layers on top.
    pub(crate) _files: Option<TopFiles>,
    /// The image of the root. It is in use as long as this exists.
    pub(crate) image: Option<Box<UsedImage>>,
}

/// An image in use, with its client.
pub(crate) struct UsedImage {
    pub(crate) client: Client,
    pub(crate) image: Image,
}

impl UsedImage {
    /// Keeps the image in use as long as what is mounted at a directory, without this process.
    pub(crate) fn hold_while_mounted(&self, mountpoint: &Path) {
        // The kernel has the files open, so the mount can be read in any case.
        if let Err(error) = self.client.hold_while_mounted(&self.image, mountpoint) {
            output::print_note(&format!("`vmroot gc` will not see this mount: {}", vmroot::with_causes(&error)));
        }
    }
}

enum RootConfig {
    Image(Box<ImageConfig>),
    Prebaked(RuntimeConfig),
}

impl OpenedRoot {
    /// Returns how to run the image, with its user resolved in the root.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the root has no such user. Only this method resolves it, for not every command needs
    /// it.
    pub(crate) fn config(&self) -> anyhow::Result<RuntimeConfig> {
        let mut config = match &self.config {
            RootConfig::Image(config) => RuntimeConfig::new(config, &self.root)?,
            RootConfig::Prebaked(config) => config.clone(),
        };
        config.layers.extend(&self.on_top);
        Ok(config)
    }

    /// Returns the id of the image, without the layers on top: the digest of its config, or the chain id of a prebaked
    /// directory's layers.
    pub(crate) fn base_id(&self) -> String {
        match (&self.image, &self.config) {
            (Some(used), _) => used.image.record().config.digest.to_string(),
            (None, RootConfig::Prebaked(config)) => {
                chain_ids(&config.layers).last().map_or_else(String::new, ToString::to_string)
            }
            (None, RootConfig::Image(_)) => self.root.chain_id().to_string(),
        }
    }

    /// Returns how to run the image, without ids for its user. A guest resolves the name itself, in its root with
    /// everything on top.
    pub(crate) fn unresolved_config(&self) -> RuntimeConfig {
        match &self.config {
            RootConfig::Image(config) => RuntimeConfig::unresolved(config),
            RootConfig::Prebaked(config) if config.process.user.is_empty() => config.clone(),
            RootConfig::Prebaked(config) => {
                let mut config = config.clone();
                (config.process.uid, config.process.gid) = (None, None);
                config
            }
        }
    }
}

impl Global {
    fn requested_platform(&self) -> Option<&Platform> {
        self.platform.platform.as_ref().or(self.platform.arch.as_ref())
    }
}

/// Returns whether a directory exists that this process may not write to.
fn is_read_only(directory: &Path) -> bool {
    directory.is_dir() && check_access(directory, Access::WRITE_OK | Access::EXEC_OK).is_err()
}

fn limits(global: &Global) -> Limits {
    Limits {
        max_output: global.limits.max_layer_size,
        max_data: global.limits.max_data,
        max_ratio: global.limits.max_ratio,
        zstd_window_log: global.limits.zstd_window_log,
    }
}

fn build_options(global: &Global) -> BuildOptions {
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    BuildOptions {
        expected: None,
        max_entries: global.limits.max_entries,
        max_expanded: global.limits.max_layer_size,
        max_contents: global.limits.max_contents,
        max_metadata: bytes(global.limits.max_metadata),
        max_names: bytes(global.limits.max_names),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Arguments;

    #[test]
    fn default_limits_are_those_of_the_library() {
        let global = Arguments::parse_from(["vmroot", "images"]).global;
        assert_eq!(limits(&global), Limits::default());
        assert_eq!(format!("{:?}", build_options(&global)), format!("{:?}", BuildOptions::default()));
        let (options, library) = (&global.registry, vmroot::RegistryOptions::default());
        assert_eq!((options.retries, options.inactivity_timeout), (library.retries, library.inactivity_timeout));
        assert_eq!(usize::from(global.resources.parallel), ClientOptions::new("/").store.parallel);
        assert_eq!(usize::from(global.resources.parallel), library.connections);
    }
}
