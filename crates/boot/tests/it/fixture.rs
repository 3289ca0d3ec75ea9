//! Roots to boot, and what boots them.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use vmroot_boot::{
    Acceleration, Console, Ended, Guest, GuestOptions, Kernel, KvmRecord, ModuleTree, Result, Says, Stopper, Via, Vmm,
};
use vmroot_container_fs::ContainerFs;
use vmroot_layer_index::{BuildOptions, Index, build, merge};
use vmroot_model::chain_ids;
use vmroot_testkit::guest::Guest as Debian;
use vmroot_testkit::layer::{Encoding, Entry, Layer};

/// The longest a guest may run: a loaded machine translates slowly.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether a test has to be skipped because it cannot boot a guest.
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
    /// The root of these layers, lowest first.
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
        let fs = ContainerFs::open(&files.path().join("root.idx"), &contents).unwrap();
        Self { fs: Arc::new(fs), _files: files }
    }
}

/// What makes a guest of a root: the init and its config, places to mount on, and a busybox.
pub(crate) fn guest_layer(config: &Value) -> Layer {
    guest_layer_for("amd64", init(), config)
}

/// The same for an architecture.
pub(crate) fn guest_layer_for(architecture: &str, init: &[u8], config: &Value) -> Layer {
    let mut entries: Vec<Entry> =
        ["bin", "dev", "etc", "etc/vmroot", "proc", "run", "sbin", "sys", "tmp"].map(Entry::directory).into();
    // An archive's root has these from the kernel, where the image has none.
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

/// A root whose command is a script.
pub(crate) fn script(text: &str) -> Root {
    Root::of(&[guest_layer(&json!({ "entrypoint": ["/bin/sh", "-c"], "cmd": [text], "tty": false }))])
}

/// How a test's guest is booted.
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
    pub(crate) says: Says,
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
            timeout: PATIENCE,
            acceleration: Acceleration::Tcg,
            kvm_record: None,
            has_modules: true,
            says: Says::Everything,
        }
    }

    /// Gets everything ready for it, and calls a function with that.
    pub(crate) fn prepare<T>(&self, root: &Root, then: impl FnOnce(Result<Guest>) -> T) -> T {
        let debian = Debian::of(self.architecture).unwrap();
        let kernel = Kernel::open(&debian.kernel()).unwrap();
        let modules = ModuleTree::open(&debian.modules(), kernel.version.as_deref()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let options = GuestOptions {
            via: self.via,
            kernel: &kernel,
            modules: self.has_modules.then_some(&modules),
            vmm: Vmm::Qemu,
            acceleration: self.acceleration,
            // Any file that stays as it is will do for the monitor's program.
            kvm_record: self.kvm_record.as_deref().map(|file| KvmRecord { program: &kernel.path, file }),
            memory: None,
            cpus: 1,
            append: self.append,
            init: self.init,
            says: self.says,
            stage_one: self.stage_one,
            overlay: self.overlay,
            free: 16 << 20,
            verbose: false,
            timeout: Some(self.timeout),
            hook: None,
        };
        then(Guest::prepare(&root.fs, directory.path(), &options))
    }

    /// Boots it, and gives what its command wrote.
    pub(crate) fn run(&self, root: &Root) -> (Result<Ended>, Vec<u8>) {
        let input = self.input.as_ref().map(|path| File::open(path).unwrap());
        let mut output = Vec::new();
        let console = Console { input: input.as_ref().map(AsFd::as_fd), interactive: false, output: &mut output };
        let ended = self.prepare(root, |guest| guest.unwrap().run(console, &Stopper::new().unwrap()));
        (ended, output)
    }

    /// The same of one that ends as it should.
    #[track_caller]
    pub(crate) fn output(&self, root: &Root) -> String {
        let (ended, output) = self.run(root);
        let text = String::from_utf8_lossy(&output).into_owned();
        assert_eq!(ended.unwrap_or_else(|error| panic!("{error}\n{text}")).code, Some(0), "{text}");
        text
    }
}
