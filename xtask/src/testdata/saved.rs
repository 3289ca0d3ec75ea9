//! A small archive of `docker save` in the layout of Docker 25 and later, compressed with gzip.

use vmroot_testkit::image::{
    Compression, ImageBuilder,
    docker_archive::{self, Layout},
};

use super::layers;

/// Returns the bytes of the archive: an image for linux/amd64 with the name `saved:1`, without programs.
pub fn archive() -> Vec<u8> {
    let layers = [layers::base(), layers::changes(), layers::links()];
    let image = ImageBuilder::new().layers(&layers).setting("User", "demo").setting("WorkingDir", "/home/demo").build();
    Compression::Gzip.compress(&docker_archive::write(&[(&image, &["saved:1"])], Layout::Docker25))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_in_testdata_is_this_one() {
        let path = crate::workspace::root().join("testdata/saved.tar.gz");
        assert!(std::fs::read(path).unwrap() == archive(), "run cargo xtask testdata");
    }
}
