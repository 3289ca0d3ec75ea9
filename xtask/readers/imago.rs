//! Reads the disk of a VMDK descriptor with imago, and writes its bytes to the standard output.

use std::io::{self, Write};

use imago::file::File;
use imago::vmdk::Vmdk;
use imago::{FormatAccess, FormatDriverBuilder, PermissiveImplicitOpenGate};

fn main() -> io::Result<()> {
    let path = std::env::args_os().nth(1).expect("the descriptor");
    let disk = FormatAccess::new(Vmdk::<File>::builder_path(path).open(PermissiveImplicitOpenGate::default())?);
    let mut output = io::stdout().lock();
    let mut buffer = vec![0; 1 << 20];
    let mut position = 0;
    while position < disk.size() {
        let length = buffer.len().min((disk.size() - position) as usize);
        disk.read(&mut buffer[..length], position)?;
        output.write_all(&buffer[..length])?;
        position += length as u64;
    }
    output.flush()
}
