//! The kernel of a guest and its modules.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use tempfile::TempDir;
use vmroot::boot::{ImageKernel, Kernel, ModuleTree};

use super::NoKernel;
use crate::args::{BootArguments, Form};
use crate::context::{Context, UsedImage};
use crate::output;

/// The value of `--kernel` for the kernel that the image carries.
const OF_IMAGE: &str = "image";

/// A kernel with its modules.
pub(super) struct GuestKernel {
    pub(super) kernel: Kernel,
    pub(super) modules: Option<ModuleTree>,
    /// The directory of a kernel that was taken from the image.
    pub(super) directory: Option<TempDir>,
    /// Keeps the modules in the cache.
    _image: Option<Box<UsedImage>>,
}

impl GuestKernel {
    /// Opens the kernel of the options and its modules. For that of the image, this fetches the image.
    pub(super) fn open(context: &Context, image: &str, options: &BootArguments) -> anyhow::Result<Self> {
        if options.kernel == Path::new(OF_IMAGE) {
            return Self::of_image(context, image, options);
        }
        let kernel = open_kernel(&options.kernel)?;
        let modules = find_modules(options, &kernel)?;
        Ok(Self { kernel, modules, directory: None, _image: None })
    }

    fn of_image(context: &Context, image: &str, options: &BootArguments) -> anyhow::Result<Self> {
        let opened = context.open(image)?;
        let root = Arc::new(opened.root);
        let found = ImageKernel::find(&root).map_err(vmroot::Error::from)?;
        tracing::info!("the kernel is {} of the image", found.path);
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("vmlinuz");
        let mut file = File::create_new(&path).with_context(|| path.display().to_string())?;
        found.write(&root, &mut file, &path).map_err(vmroot::Error::from)?;
        let kernel = Kernel::open(&path).map_err(vmroot::Error::from);
        let kernel = kernel.with_context(|| format!("{} in the image", found.path))?;
        let version = kernel.version.as_deref();
        let own = || version.and_then(|version| ModuleTree::of_image(&root, version).ok());
        let modules = match options.modules.is_none().then(own).flatten() {
            Some(modules) => Some(modules),
            None => find_modules(options, &kernel)?,
        };
        Ok(Self { kernel, modules, directory: Some(directory), _image: opened.image })
    }
}

/// Opens the kernel. The hint of a missing one says where to get one.
fn open_kernel(path: &Path) -> anyhow::Result<Kernel> {
    if matches!(path.try_exists(), Ok(false)) {
        return Err(io::Error::new(io::ErrorKind::NotFound, NoKernel(path.to_owned())).into());
    }
    Ok(Kernel::open(path).map_err(vmroot::Error::from)?)
}

/// Opens the modules of `--modules`, or those of the kernel's version beside the kernel or on this machine. Without
/// any, a note says what that means.
fn find_modules(options: &BootArguments, kernel: &Kernel) -> anyhow::Result<Option<ModuleTree>> {
    let version = kernel.version.as_deref();
    match options.modules.as_deref() {
        Some(none) if none == Path::new("none") => return Ok(None),
        Some(directory) => return Ok(Some(ModuleTree::open(directory, version).map_err(vmroot::Error::from)?)),
        None => {}
    }
    let beside = fs::canonicalize(&kernel.path).ok().and_then(|path| Some(path.parent()?.parent()?.to_owned()));
    let roots: Vec<PathBuf> =
        beside.into_iter().chain([PathBuf::from("/")]).map(|root| root.join("lib/modules")).collect();
    let trees = version.into_iter().flat_map(|version| roots.iter().map(move |root| root.join(version)));
    let mut trees = trees.filter(|tree| tree.is_dir()).filter_map(|tree| ModuleTree::open(&tree, version).ok());
    if let Some(tree) = trees.next() {
        tracing::info!("modules of {}", tree.directory().display());
        return Ok(Some(tree));
    }
    // The kernel itself unpacks an archive.
    if options.via != Some(Form::Cpio) {
        let kernel = version.map_or_else(|| kernel.path.display().to_string(), |version| format!("Linux {version}"));
        let mut searched: Vec<String> = roots.iter().map(|root| root.display().to_string()).collect();
        searched.dedup();
        output::print_note(&format!(
            "no modules of {kernel} in {}: it must have the drivers of its disk and root built in; --modules DIR names \
             its modules, --modules none omits this note",
            searched.join(" or ")
        ));
    }
    Ok(None)
}
