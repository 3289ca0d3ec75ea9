//! Names of images in containers-storage: `containers-storage:[STORE]IMAGE`.

use std::fmt;
use std::path::PathBuf;

use vmroot_model::{Digest, Reference};

/// The least number of digits of an id that may be shortened. Fewer would match by accident.
const SHORTEST_ID: usize = 3;

/// The number of digits of a whole id.
const WHOLE_ID: usize = 64;

/// The name of an image in containers-storage, the store of podman, buildah and CRI-O:
/// `[STORE]{ID|REF[@ID]}`, with STORE in literal brackets and optional.
///
/// Only the store can tell whether a word is the beginning of an id or the name of a repository: see
/// [`word`](Self::word).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageName {
    /// The store, or `None` for the default store of the user.
    pub store: Option<StoreLocation>,
    /// A word of hex digits that is the beginning of an id, if the store has an image with such an id. Otherwise it is a
    /// repository, and [`reference`](Self::reference) has it, or the name is invalid. At least 3 digits.
    pub word: Option<String>,
    /// The reference. It has a tag, a digest, or both. The default tag is `latest`.
    pub reference: Option<Reference>,
    /// The id, or the first digits of it: 3 to 64 lower-case hex digits.
    pub id: Option<String>,
}

/// The location of a store: `[DRIVER@]ROOT[+RUNROOT][:OPTIONS]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreLocation {
    /// The driver, such as `overlay`.
    pub driver: Option<String>,
    /// The directory of the images, an absolute path.
    pub root: Option<PathBuf>,
    /// The directory of the state of mounts, an absolute path.
    pub run_root: Option<PathBuf>,
    /// The options of the driver, such as `overlay.imagestore=/path`.
    pub options: Vec<String>,
}

impl StorageName {
    /// Parses the part of a name after `containers-storage:`. Returns the reason if it is invalid.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (store, image) = match text.strip_prefix('[') {
            None => (None, text),
            Some(rest) => {
                let (store, image) = rest.split_once(']').ok_or("the store has no closing bracket")?;
                (Some(StoreLocation::parse(store)?), image)
            }
        };
        if image.is_empty() {
            return Err("the image is missing".to_owned());
        }
        let (named, id) = split_id(image)?;
        let word = (id.is_none() && is_id(named)).then(|| named.to_owned());
        if named.is_empty() {
            return Ok(Self { store, word, reference: None, id });
        }
        let reference = match Reference::parse(named) {
            Ok(reference) => Some(with_default_tag(reference)),
            Err(_) if word.is_some() => None,
            Err(error) => return Err(error.to_string()),
        };
        Ok(Self { store, word, reference, id })
    }
}

/// Splits an id off the end of `REF@ID` or `@ID`. Ids and digests have the same separator.
fn split_id(image: &str) -> Result<(&str, Option<String>), String> {
    let Some((named, last)) = image.rsplit_once('@') else { return Ok((image, None)) };
    if Digest::parse(last).is_ok() {
        return Ok((image, None));
    }
    if is_id(last) {
        return Ok((named, Some(last.to_owned())));
    }
    Err(format!("{last:?} is neither a digest nor an id: an id has {SHORTEST_ID} to {WHOLE_ID} hex digits"))
}

/// Returns whether the text can be an id or the beginning of one.
fn is_id(text: &str) -> bool {
    (SHORTEST_ID..=WHOLE_ID).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn with_default_tag(reference: Reference) -> Reference {
    match (reference.digest(), reference.tag_or_default()) {
        (None, Some(tag)) => reference.with_tag(tag).unwrap_or_else(|_| reference.clone()),
        _ => reference,
    }
}

impl StoreLocation {
    fn parse(text: &str) -> Result<Self, String> {
        let (driver, rest) = match text.split_once('@') {
            Some(("", _)) => return Err("the driver of the store is empty".to_owned()),
            Some((driver, rest)) => (Some(driver.to_owned()), rest),
            None => (None, text),
        };
        if rest.is_empty() {
            return Err("the store is empty".to_owned());
        }
        let (paths, options) = match rest.split_once(':') {
            Some((paths, options)) => (paths, options.split(',').map(str::to_owned).collect()),
            None => (rest, Vec::new()),
        };
        let (root, run_root) = paths.split_once('+').unwrap_or((paths, ""));
        Ok(Self { driver, root: absolute(root)?, run_root: absolute(run_root)?, options })
    }
}

/// Returns an absolute path, or `None` for an empty text.
fn absolute(path: &str) -> Result<Option<PathBuf>, String> {
    match path {
        "" => Ok(None),
        _ if path.starts_with('/') => Ok(Some(PathBuf::from(path))),
        _ => Err(format!("the path {path:?} of the store is not absolute")),
    }
}

impl fmt::Display for StorageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(store) = &self.store {
            write!(f, "[{store}]")?;
        }
        match (&self.word, &self.reference) {
            (Some(word), _) => f.write_str(word)?,
            (None, Some(reference)) => write!(f, "{reference}")?,
            (None, None) => {}
        }
        match &self.id {
            Some(id) => write!(f, "@{id}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(driver) = &self.driver {
            write!(f, "{driver}@")?;
        }
        if let Some(root) = &self.root {
            write!(f, "{}", root.display())?;
        }
        if let Some(run_root) = &self.run_root {
            write!(f, "+{}", run_root.display())?;
        }
        if !self.options.is_empty() {
            write!(f, ":{}", self.options.join(","))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const OTHER: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn references_and_ids() {
        for (text, reference, id) in [
            (format!("sha256:{HEX}"), format!("docker.io/library/sha256:{HEX}"), ""),
            (format!("@{HEX}"), String::new(), HEX),
            ("@abcd".to_owned(), String::new(), "abcd"),
            ("sha256:ab".to_owned(), "docker.io/library/sha256:ab".to_owned(), ""),
            ("busybox".to_owned(), "docker.io/library/busybox:latest".to_owned(), ""),
            ("busybox:notlatest".to_owned(), "docker.io/library/busybox:notlatest".to_owned(), ""),
            (format!("busybox@sha256:{HEX}"), format!("docker.io/library/busybox@sha256:{HEX}"), ""),
            (format!("busybox@{HEX}"), "docker.io/library/busybox:latest".to_owned(), HEX),
            (format!("busybox:notlatest@{HEX}"), "docker.io/library/busybox:notlatest".to_owned(), HEX),
            (format!("busybox:notlatest@{OTHER}"), format!("docker.io/library/busybox:notlatest@{OTHER}"), ""),
            (format!("busybox@{OTHER}@{HEX}"), format!("docker.io/library/busybox@{OTHER}"), HEX),
            (format!("a.b/c:d@sha256:{HEX}@{HEX}"), format!("a.b/c:d@sha256:{HEX}"), HEX),
            ("localhost/x:1".to_owned(), "localhost/x:1".to_owned(), ""),
        ] {
            let name = StorageName::parse(&text).unwrap_or_else(|reason| panic!("{text}: {reason}"));
            assert_eq!(name.reference.as_ref().map(ToString::to_string).unwrap_or_default(), reference, "{text}");
            assert_eq!(name.id.clone().unwrap_or_default(), id, "{text}");
            assert_eq!((&name.word, &name.store), (&None, &None), "{text}");
            assert_eq!(StorageName::parse(&name.to_string()).unwrap(), name, "{text}");
        }
    }

    #[test]
    fn a_word_of_hex_digits_may_be_an_id() {
        let name = StorageName::parse("cafe").unwrap();
        assert_eq!(name.word.as_deref(), Some("cafe"));
        assert_eq!(name.reference, Some(Reference::parse("cafe:latest").unwrap()));
        let name = StorageName::parse(HEX).unwrap();
        assert_eq!((name.word.as_deref(), &name.reference), (Some(HEX), &None));
        assert_eq!(StorageName::parse("ab").unwrap().word, None);
    }

    #[test]
    fn invalid_images_are_refused() {
        for text in [
            String::new(),
            "[unterminated".to_owned(),
            "[/root]".to_owned(),
            "UPPERCASEISINVALID".to_owned(),
            format!("UPPERCASEISINVALID@{HEX}"),
            format!("@sha256:{HEX}"),
            "busybox@ab".to_owned(),
            "busybox@".to_owned(),
            "busybox@sha256:ab".to_owned(),
            format!("busybox@sha256:{HEX}@ab"),
            format!("busybox@ab@{HEX}"),
            format!("busybox@@{HEX}"),
            format!("busybox:notlatest@{OTHER}@{OTHER}@{HEX}"),
        ] {
            assert!(StorageName::parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn stores() {
        let path = |path: &str| Some(PathBuf::from(path));
        let location = |driver: Option<&str>, root, run_root, options: &[&str]| StoreLocation {
            driver: driver.map(str::to_owned),
            root,
            run_root,
            options: options.iter().map(|&it| it.to_owned()).collect(),
        };
        for (store, wanted) in [
            ("/root", location(None, path("/root"), None, &[])),
            ("overlay@/root", location(Some("overlay"), path("/root"), None, &[])),
            ("overlay@/root+/run", location(Some("overlay"), path("/root"), path("/run"), &[])),
            ("vfs@/root+/run:a,b=c,d", location(Some("vfs"), path("/root"), path("/run"), &["a", "b=c", "d"])),
            ("overlay@+/run", location(Some("overlay"), None, path("/run"), &[])),
        ] {
            let text = format!("[{store}]busybox");
            let name = StorageName::parse(&text).unwrap();
            assert_eq!(name.store.as_ref(), Some(&wanted), "{text}");
            assert_eq!(name.reference, Some(Reference::parse("busybox:latest").unwrap()), "{text}");
            assert_eq!(StorageName::parse(&name.to_string()).unwrap(), name, "{text}");
        }
        for store in ["", "relative/path", "overlay@relative", "@/root", "overlay@", "overlay@/root+relative"] {
            assert!(StorageName::parse(&format!("[{store}]busybox")).is_err(), "{store}");
        }
    }
}
