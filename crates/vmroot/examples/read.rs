//! Reads files of an image in place: nothing is unpacked.

#![allow(clippy::print_stdout)] // for the reader of an example

use std::error;
use std::io::{BufRead, BufReader, Seek, SeekFrom};

use vmroot::{Client, ClientOptions, Platform};

fn main() -> Result<(), Box<dyn error::Error>> {
    let client = Client::new(ClientOptions::new("try/cache"))?;
    let root = client.root(&client.pull_for("oci:testdata/demo:demo", &Platform::linux("amd64")?)?)?;

    // A whole file. Symbolic links are followed, and never leave the image.
    print!("{}", String::from_utf8(root.read("/home/demo/hello")?)?);

    // A file that may be large: it has a position, and `read_at` for several threads.
    let mut file = root.open("/etc/passwd")?;
    for line in BufReader::new(&mut file).lines() {
        println!("{}", line?);
    }
    file.seek(SeekFrom::Start(0))?;

    // A directory.
    let home = root.resolve_path(b"/home")?;
    for entry in root.readdir(home.ino, 0)? {
        println!("{} has mode {:o}", entry.name.escape_ascii(), root.stat(entry.ino).mode & 0o7777);
    }
    Ok(())
}
