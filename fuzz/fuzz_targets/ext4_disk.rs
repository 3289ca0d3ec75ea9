//! A changed ext4 disk whose journal was not replayed, or any bytes: errors, or entries that can be read.

#![no_main]

use std::collections::HashSet;
use std::io::Read;
use std::sync::LazyLock;

use flate2::read::GzDecoder;
use libfuzzer_sys::fuzz_target;
use vmroot_ext4::{Ext4Reader, ReadAt, ReadOptions, ReadResult, open_replayed};

/// A disk of 3 MiB that was copied while Linux had it mounted: inline data, xattrs in inodes, links and a journal.
static DISK: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = Vec::new();
    let mut decoder = GzDecoder::new(&include_bytes!("../seeds/disk.ext4.gz")[..]);
    decoder.read_to_end(&mut bytes).expect("the seed is a gzip file");
    bytes
});

/// The offsets of all bytes in parts that are not zeros. Changes of the others do nothing.
static USED: LazyLock<Vec<usize>> = LazyLock::new(|| {
    let parts = DISK.chunks(64).enumerate().filter(|(_, part)| part.iter().any(|&byte| byte != 0));
    parts.flat_map(|(number, part)| (0..part.len()).map(move |at| 64 * number + at)).collect()
});

/// The most entries that are read of one input.
const MOST: usize = 500;

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let disk = match kind % 8 {
        0 => data.to_vec(),
        _ => {
            let mut disk = DISK.clone();
            for change in data.as_chunks::<3>().0 {
                let place = usize::from(u16::from_le_bytes([change[0], change[1]]));
                disk[USED[place % USED.len()]] = change[2];
            }
            disk
        }
    };
    let options = ReadOptions { checksums: false };
    if let Ok(reader) = open_replayed(&disk, &options) {
        let _ = read_all(&reader);
    }
});

fn read_all<R: ReadAt>(reader: &Ext4Reader<R>) -> ReadResult<()> {
    let mut directories = vec![reader.root()?];
    let (mut entered, mut count) = (HashSet::new(), 0);
    while let Some(directory) = directories.pop().filter(|_| count < MOST) {
        if !entered.insert(directory.number()) {
            continue;
        }
        for entry in reader.read_directory(&directory).into_iter().flatten().take(MOST) {
            count += 1;
            let Ok(inode) = reader.inode(entry.inode) else { continue };
            let _ = (reader.xattrs(&inode), reader.link_target(&inode), inode.device(), inode.mtime());
            let mut buffer = [0; 5000];
            if let Ok(mut file) = reader.open_file(&inode) {
                let length = buffer.len().min(file.size() as usize);
                let _ = file.next_data(0..length as u64);
                let _ = file.read_exact_at(&mut buffer[..length], 0);
                let _ = file.read_exact_at(&mut buffer[..length], file.size() - length as u64);
            }
            directories.push(inode);
        }
    }
    Ok(())
}
