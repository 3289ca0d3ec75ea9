//! Roots, and guests that boot from them.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use vmroot_boot::{
    Acceleration, Console, Guest, GuestExit, GuestOptions, InitMessages, Kernel, KvmRecord, ModuleTree, Result, Via,
    Vmm,
};
use vmroot_container_fs::ContainerFs;
use vmroot_layer_index::{BuildOptions, Index, build, merge};
use vmroot_model::chain_ids;
use vmroot_testkit::guest::Guest as Debian;
use vmroot_testkit::layer::{Encoding, Entry, Layer};

/// The time limit of a guest. TCG is slow on a busy host.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Returns whether a test must be skipped because guests cannot be booted.
#[track_caller]
pub(crate) fn needs_guests() -> bool {
    Debian::of("amd64").is_none()
}

/// A root, with its files in memory if possible.
pub(crate) struct Root {
    pub(crate) fs: Arc<ContainerFs>,
    _files: TempDir,
}

impl Root {
    /// Returns the root of these layers, lowest first.
    pub(crate) fn of(layers: &[Layer]) -> Self {
        let files = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let index = |layer: &Layer| {
            let tar = layer.to_tar(&Encoding::default());
            let built = build(&tar[..], files.path(), &BuildOptions::default()).unwrap();
            Index::open(&built.publish().unwrap()).unwrap()
        };
        let indexes: Vec<Index> = layers.iter().map(index).collect();
        let digests: Vec<_> = indexes.iter().map(|index| *index.identity()).collect();
        let root = File::create(files.path().join("root.idx")).unwrap();
        merge(None, &indexes.iter().collect::<Vec<_>>(), &chain_ids(&digests).pop().unwrap(), root).unwrap();
        let contents = |digest: &_| files.path().join(format!("{}.contents", vmroot_model::Digest::hex(digest)));
        let fs = ContainerFs::open_files(&files.path().join("root.idx"), &contents).unwrap();
        Self { fs: Arc::new(fs), _files: files }
    }
}

/// Returns the layer that makes a root bootable: the init and its config, mount points, and busybox.
pub(crate) fn guest_layer(config: &Value) -> Layer {
    guest_layer_for("amd64", init(), config)
}

/// Returns the same layer for an architecture.
pub(crate) fn guest_layer_for(architecture: &str, init: &[u8], config: &Value) -> Layer {
    let mut entries: Vec<Entry> =
        ["bin", "dev", "etc", "etc/vmroot", "proc", "run", "sbin", "sys", "tmp"].map(Entry::directory).into();
    // The kernel creates these in the root of an archive if the image lacks them.
    entries.push(Entry::directory("root").mode(0o700));
    entries.push(Entry::char_device("dev/console", 5, 1).mode(0o600));
    entries.push(Entry::file("sbin/vmroot-init", init).mode(0o755));
    entries
        .push(Entry::file("bin/busybox", fs::read(Debian::of(architecture).unwrap().busybox()).unwrap()).mode(0o755));
    entries.push(Entry::symlink("bin/sh", "busybox"));
    entries.push(Entry::file("etc/vmroot/config.json", config.to_string()));
    Layer::new(entries)
}

pub(crate) fn init() -> &'static [u8] {
    vmroot_guest::init_for("amd64").unwrap()
}

/// Returns a root whose command is a script.
pub(crate) fn script(text: &str) -> Root {
    Root::of(&[guest_layer(&json!({ "entrypoint": ["/bin/sh", "-c"], "cmd": [text], "tty": false }))])
}

/// Options of a test's guest.
#[derive(Clone)]
pub(crate) struct Boot {
    pub(crate) via: Via,
    pub(crate) architecture: &'static str,
    pub(crate) stage_one: Option<&'static [u8]>,
    pub(crate) overlay: bool,
    pub(crate) append: &'static str,
    pub(crate) init: Option<&'static str>,
    pub(crate) input: Option<PathBuf>,
    pub(crate) timeout: Duration,
    pub(crate) acceleration: Acceleration,
    pub(crate) kvm_record: Option<PathBuf>,
    pub(crate) has_modules: bool,
    pub(crate) init_messages: InitMessages,
}

impl Boot {
    pub(crate) fn via(via: Via) -> Self {
        Self {
            via,
            architecture: "amd64",
            stage_one: Some(init()),
            overlay: false,
            append: "",
            init: Some("/sbin/vmroot-init"),
            input: None,
            timeout: TIME_LIMIT,
            acceleration: Acceleration::Tcg,
            kvm_record: None,
            has_modules: true,
            init_messages: InitMessages::Everything,
        }
    }

    /// Prepares the guest and passes it to `then`.
    pub(crate) fn prepare<T>(&self, root: &Root, then: impl FnOnce(Result<Guest>) -> T) -> T {
        let debian = Debian::of(self.architecture).unwrap();
        let kernel = Kernel::open(&debian.kernel()).unwrap();
        let modules = ModuleTree::open(&debian.modules(), kernel.version.as_deref()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let options = GuestOptions {
            modules: self.has_modules.then_some(&modules),
            acceleration: self.acceleration,
            // Any unchanging file can stand for the VMM's program.
            kvm_record: self.kvm_record.as_deref().map(|file| KvmRecord { program: &kernel.path, file }),
            append: self.append,
            init: self.init,
            init_messages: self.init_messages,
            stage_one: self.stage_one,
            overlay: self.overlay,
            free: 16 << 20,
            timeout: Some(self.timeout),
            ..GuestOptions::new(self.via, &kernel, Vmm::Qemu)
        };
        then(Guest::prepare(&root.fs, directory.path(), &options))
    }

    /// Boots the guest. Returns its result and its output.
    pub(crate) fn run(&self, root: &Root) -> (Result<GuestExit>, Vec<u8>) {
        let input = self.input.as_ref().map(|path| File::open(path).unwrap());
        let mut output = Vec::new();
        let console = Console { input: input.as_ref().map(AsFd::as_fd), interactive: false, output: &mut output };
        let ended = self.prepare(root, |guest| guest.unwrap().run(console));
        (ended, output)
    }

    /// Boots a guest that must succeed. Returns its output.
    #[track_caller]
    pub(crate) fn output(&self, root: &Root) -> String {
        let (ended, output) = self.run(root);
        let text = String::from_utf8_lossy(&output).into_owned();
        assert_eq!(ended.unwrap_or_else(|error| panic!("{error}\n{text}")).code, Some(0), "{text}");
        text
    }
}
