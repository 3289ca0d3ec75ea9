//! From what was typed to what the library needs.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use vmroot::output::Omissions;
use vmroot::{
    AuthFiles, BuildOptions, Cancel, Chain, Client, ClientOptions, ContainerFs, Credential, Credentials, Digest,
    ErrorKind, Explicit, ExtendedRoot, Image, ImageConfig, ImageName, Limits, Platform, Progress, PullOptions,
    PullPolicy, RuntimeConfig, Top, TopFiles, is_id,
};

use crate::args::{Global, Pull};
use crate::bars::Bars;
use crate::exit::Usage;
use crate::{environment, output, signals};

/// What every command works with.
pub(crate) struct Context {
    global: Global,
    options: ClientOptions,
}

impl Context {
    pub(crate) fn new(global: &Global) -> anyhow::Result<Self> {
        let directory = global.cache.clone().map_or_else(environment::cache_directory, Ok)?;
        let mut options = ClientOptions::new(std::path::absolute(&directory)?);
        options.platform = global.wanted().cloned().unwrap_or(options.platform);
        options.store.limits = limits(global);
        options.store.build = build_options(global);
        options.store.parallel = usize::from(global.registry.parallel);
        options.registry.connections = usize::from(global.registry.parallel);
        for file in &global.registry.ca_file {
            std::fs::metadata(file).with_context(|| format!("--ca-file {}", file.display()))?;
        }
        options.registry.plain_http = global.registry.plain_http;
        options.registry.ca_files.clone_from(&global.registry.ca_file);
        options.registry.proxies = environment::proxies();
        options.registry.retries = global.registry.retries;
        options.registry.inactivity_timeout = global.registry.inactivity_timeout;
        options.registry.credentials = credentials(global, options.cancel())?;
        Ok(Self { global: global.clone(), options })
    }

    /// The directory of the cache.
    pub(crate) fn cache(&self) -> &Path {
        &self.options.store.directory
    }

    /// The same for a platform, unless the user has named one.
    pub(crate) fn for_platform(&self, platform: Platform) -> Self {
        let mut other = Self { global: self.global.clone(), options: self.options.clone() };
        if other.wanted().is_none() {
            other.options.platform = platform.clone();
            other.global.platform.platform = Some(platform);
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

    /// The platform that was asked for, if any was.
    pub(crate) fn wanted(&self) -> Option<&Platform> {
        self.global.wanted()
    }

    /// Has Ctrl-C end the work: for work without a client.
    pub(crate) fn cancel_on_interrupt(&self) -> anyhow::Result<()> {
        signals::cancel_on_interrupt(self.options.cancel())
    }

    /// A client whose work Ctrl-C ends.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        self.cancel_on_interrupt()?;
        Ok(Client::new(self.options.clone())?)
    }

    /// What Ctrl-C sets, once there is a client.
    pub(crate) fn cancel(&self) -> Cancel {
        self.options.cancel()
    }

    pub(crate) fn limits(&self) -> Limits {
        self.options.store.limits
    }

    pub(crate) fn build_options(&self) -> BuildOptions {
        self.options.store.build.clone()
    }

    /// Where progress is shown: nowhere unless a person looks.
    pub(crate) fn progress(&self) -> Arc<dyn Progress> {
        Bars::progress(self.quiet())
    }

    pub(crate) fn pull_options(&self, default: Pull) -> PullOptions {
        let policy: PullPolicy = self.global.pull.unwrap_or(default).into();
        PullOptions { platform: self.wanted().cloned(), policy, progress: self.progress() }
    }

    /// Whether a registry may be asked what a name means: not under `--pull never`, and not for ids.
    pub(crate) fn may_ask_registry(&self, name: &str) -> bool {
        !matches!(self.global.pull, Some(Pull::Never)) && !is_id(name)
    }

    /// The image that a command works on: one that is here, or one that is pulled now, as `--pull` has it.
    pub(crate) fn image(&self, client: &Client, name: &str) -> anyhow::Result<Image> {
        let image = self.found_or_pulled(client, name)?;
        self.note_platform(name, &image.record().platform);
        Ok(image)
    }

    fn found_or_pulled(&self, client: &Client, name: &str) -> anyhow::Result<Image> {
        let options = self.pull_options(Pull::Missing);
        // A file is always read: another may have taken its place.
        if is_archive(name) && options.policy != PullPolicy::Never {
            return Ok(client.pull_with(name, &options)?);
        }
        let here = match (client.find(name, self.wanted()), options.policy) {
            (Ok(image), PullPolicy::Missing | PullPolicy::Never) => return Ok(image),
            // An id, or the beginning of one, is no name that a registry knows.
            (Ok(image), PullPolicy::Always) if !is_name_of(&image, name) => return Ok(image),
            (Ok(_), PullPolicy::Always) => None,
            (Err(error), PullPolicy::Never) => return Err(error.into()),
            (Err(error), _) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Integrity) => {
                return Err(error.into());
            }
            (Err(error), _) if is_id(name) || begins_an_id(client, name)? => return Err(error.into()),
            (Err(error), _) => Some(error),
        };
        client.pull_with(name, &options).map_err(|error| neither(here, error))
    }

    /// Says that an image is for another platform than this machine's, unless the user has asked for it.
    pub(crate) fn note_platform(&self, name: &str, platform: &Platform) {
        let (host, own) = (Platform::host(), platform.normalised());
        let is_host = |own: &str, host: &str| own.is_empty() || own == host;
        let same = is_host(&own.os, &host.os) && is_host(&own.architecture, &host.architecture);
        if !same && self.wanted().is_none() {
            // Both may be an archive's own words.
            let note = format!("{name} is for {own}, not for {host} as this machine is");
            output::note(&note.escape_debug().to_string());
        }
    }

    fn may_pull(&self, image: &Image, name: &str) -> bool {
        self.may_ask_registry(name) && is_name_of(image, name) && image.record().loaded_from.is_none()
    }

    /// The merged root that a command works on: an image's, or that of `prebaked:DIR`, with what goes on top of it.
    pub(crate) fn root(&self, name: &str, top: &Top) -> anyhow::Result<Opened> {
        self.put_on_top(self.open(name)?, top)
    }

    /// The same, with something on top that depends on how the image wants to be run.
    pub(crate) fn root_with(
        &self,
        name: &str,
        top: impl FnOnce(&RuntimeConfig) -> anyhow::Result<Top>,
    ) -> anyhow::Result<Opened> {
        let opened = self.open(name)?;
        let top = top(&opened.unresolved_config())?;
        self.put_on_top(opened, &top)
    }

    /// The same with nothing on top.
    pub(crate) fn open(&self, name: &str) -> anyhow::Result<Opened> {
        let mut client = None;
        let (root, config) = match name.strip_prefix("prebaked:") {
            Some(directory) => self.root_of_prebaked(directory.as_ref())?,
            None => self.root_of_image(client.insert(self.client()?), name)?,
        };
        Ok(Opened { root, config, on_top: Vec::new(), omitted: Omissions::default(), _files: None, _client: client })
    }

    /// Puts something on top of a root that has nothing there.
    pub(crate) fn put_on_top(&self, mut opened: Opened, top: &Top) -> anyhow::Result<Opened> {
        if top.is_empty() {
            return Ok(opened);
        }
        let client = opened._client.take().map_or_else(|| self.client(), Ok)?;
        let on_top = client.put_on_top(opened.root, top)?;
        note(&on_top);
        let omitted = on_top.omitted().clone();
        let layers = on_top.layers().iter().map(|layer| layer.diff_id).collect();
        let (root, files) = on_top.into_parts();
        Ok(Opened { root, on_top: layers, omitted, _files: Some(files), _client: Some(client), ..opened })
    }

    fn root_of_prebaked(&self, directory: &Path) -> anyhow::Result<(ContainerFs, OpenedConfig)> {
        if directory.as_os_str().is_empty() {
            return Err(Usage("prebaked: wants the path of a directory".to_owned()).into());
        }
        let prebaked = match self.wanted() {
            Some(platform) => vmroot::load_from_dir_for_arch(directory, &platform.architecture)?,
            None => vmroot::load_from_dir(directory)?,
        };
        let config = prebaked.config().clone();
        if let Ok(platform) = Platform::linux(&config.architecture) {
            self.note_platform(&format!("prebaked:{}", directory.display()), &platform);
        }
        Ok((prebaked.into_root(), OpenedConfig::Prebaked(config)))
    }

    fn root_of_image(&self, client: &Client, name: &str) -> anyhow::Result<(ContainerFs, OpenedConfig)> {
        let mut image = self.image(client, name)?;
        let root = match client.root(&image) {
            // What it is made from is damaged as well, so it counts as not here.
            Err(error) if error.kind() == ErrorKind::Integrity && self.may_pull(&image, name) => {
                output::note(&format!("{name} is damaged and cannot be mended from the cache: pulling it again"));
                image = client.pull_with(name, &self.pull_options(Pull::Missing))?;
                client.root(&image)?
            }
            root => root?,
        };
        Ok((root, OpenedConfig::Image(Box::new(image.config().clone()))))
    }
}

/// Says what of the layers on top is not there, and what they do that may not be meant.
pub(crate) fn note(on_top: &ExtendedRoot) {
    output::omissions(on_top.omitted());
    on_top.warnings().iter().for_each(|warning| output::note(&format!("warning: {warning}")));
}

/// A root with what keeps its files where they are.
pub(crate) struct Opened {
    pub(crate) root: ContainerFs,
    config: OpenedConfig,
    /// The layers on top.
    pub(crate) on_top: Vec<Digest>,
    /// What could not be put there.
    pub(crate) omitted: Omissions,
    /// While they are here, the contents of layers on top have names.
    pub(crate) _files: Option<TopFiles>,
    /// While it lives, nobody removes anything from the cache.
    pub(crate) _client: Option<Client>,
}

enum OpenedConfig {
    Image(Box<ImageConfig>),
    Prebaked(RuntimeConfig),
}

impl Opened {
    /// How to run what the root holds. An image may name a user that it has not; that is an error only to those who ask.
    pub(crate) fn config(&self) -> anyhow::Result<RuntimeConfig> {
        let mut config = match &self.config {
            OpenedConfig::Image(config) => RuntimeConfig::new(config, &self.root)?,
            OpenedConfig::Prebaked(config) => config.clone(),
        };
        config.layers.extend(&self.on_top);
        Ok(config)
    }

    /// The same with the user by name alone, whom a guest looks up in what its root is with everything on top.
    pub(crate) fn unresolved_config(&self) -> RuntimeConfig {
        match &self.config {
            OpenedConfig::Image(config) => RuntimeConfig::unresolved(config),
            OpenedConfig::Prebaked(config) if config.user.is_empty() => config.clone(),
            OpenedConfig::Prebaked(config) => RuntimeConfig { uid: None, gid: None, ..config.clone() },
        }
    }
}

impl Global {
    fn wanted(&self) -> Option<&Platform> {
        self.platform.platform.as_ref().or(self.platform.arch.as_ref())
    }
}

/// The error of an image that could not be got. Where it is here for other platforms, that is the more useful half.
pub(crate) fn neither(here: Option<vmroot::Error>, elsewhere: vmroot::Error) -> anyhow::Error {
    match here {
        Some(here) if here.is_for_other_platforms() && elsewhere.kind() != ErrorKind::Cancelled => {
            anyhow::Error::from(here).context(format!("cannot get it from elsewhere: {elsewhere}"))
        }
        _ => elsewhere.into(),
    }
}

/// Whether a name is of an image in a file or a directory.
pub(crate) fn is_archive(name: &str) -> bool {
    ImageName::has_transport(name) && !name.starts_with("docker:")
}

/// Whether the id of an image that is here begins so.
fn begins_an_id(client: &Client, name: &str) -> anyhow::Result<bool> {
    Ok(!name.is_empty() && client.images()?.iter().any(|record| record.id().hex().starts_with(name)))
}

fn is_name_of(image: &Image, name: &str) -> bool {
    image.record().reference.is_some() && !is_id(name) && !image.id().hex().starts_with(name)
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

fn credentials(global: &Global, cancel: Cancel) -> anyhow::Result<Arc<dyn Credentials>> {
    if let Some(creds) = &global.registry.creds {
        let (user, password) =
            creds.split_once(':').ok_or_else(|| anyhow!(Usage("--creds: wants USER:PASSWORD".into())))?;
        return Ok(Arc::new(Explicit(Credential::Password { user: user.to_owned(), password: password.to_owned() })));
    }
    if let Some(file) = &global.registry.authfile {
        // A file that was asked for by name must be there; those of the environment need not.
        std::fs::metadata(file).with_context(|| format!("--authfile {}", file.display()))?;
        return Ok(Arc::new(AuthFiles { cancel, ..AuthFiles::new(vec![file.clone()]) }));
    }
    Ok(Arc::new(Chain(vec![Arc::new(AuthFiles { cancel, ..AuthFiles::new(environment::auth_files()) })])))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Arguments;

    #[test]
    fn the_program_s_limits_are_the_library_s() {
        let global = Arguments::parse_from(["vmroot", "images"]).global;
        assert_eq!(limits(&global), Limits::default());
        assert_eq!(format!("{:?}", build_options(&global)), format!("{:?}", BuildOptions::default()));
        let (options, library) = (&global.registry, vmroot::RegistryOptions::default());
        assert_eq!((options.retries, options.inactivity_timeout), (library.retries, library.inactivity_timeout));
        assert_eq!(usize::from(options.parallel), ClientOptions::new("/").store.parallel);
        assert_eq!(usize::from(options.parallel), library.connections);
    }
}
