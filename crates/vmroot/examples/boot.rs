//! Boots a guest on an image, with the kernel of the first argument, and exits with the code of its command.

use std::path::PathBuf;
use std::sync::Arc;
use std::{env, error, fs, io, process};

use vmroot::boot::{Console, Guest, GuestOptions, InitMessages, Kernel, ModuleTree, Via, Vmm};
use vmroot::{Client, ClientOptions, Platform, RuntimeConfig, Top, guest};

fn main() -> Result<(), Box<dyn error::Error>> {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let kernel = Kernel::open(&arguments.next().ok_or("usage: boot KERNEL [MODULES]")?)?;
    let modules = arguments.next().map(|tree| ModuleTree::open(&tree, kernel.version.as_deref())).transpose()?;
    let architecture = kernel.architecture.image_name();

    let client = Client::new(ClientOptions::new("try/cache"))?;
    let image = client.pull_for("oci:testdata/demo:demo", &Platform::linux(architecture)?)?;

    // The init runs the image's command, and reads how from a file beside it.
    let init = guest::init_for(architecture)?;
    let config = guest::Config::new(RuntimeConfig::unresolved(image.config()));
    let top = Top { additions: guest::additions(init, &config).into(), ..Top::default() };
    let root = client.put_on_top(client.root(&image)?, &top)?.into_root();

    let directory = env::temp_dir().join(format!("guest-{}", process::id()));
    fs::create_dir(&directory)?;
    let options = GuestOptions {
        modules: modules.as_ref(),
        init: Some(guest::INIT),
        init_messages: InitMessages::ExitCode,
        stage_one: Some(init),
        ..GuestOptions::new(Via::Cpio, &kernel, Vmm::Qemu)
    };
    let prepared = Guest::prepare(&Arc::new(root), &directory, &options);
    let ended = prepared.and_then(|guest| {
        let mut stdout = io::stdout();
        guest.run(Console { input: None, interactive: false, output: &mut stdout })
    });
    fs::remove_dir_all(&directory)?;
    process::exit(ended?.code.unwrap_or(0).into())
}
