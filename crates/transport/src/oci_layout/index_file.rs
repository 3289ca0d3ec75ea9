//! Edits of a layout's `index.json` that keep everything else in it, as the bytes of its writer.

use std::collections::BTreeMap;

use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use vmroot_model::{Descriptor, Digest, MediaType};

use super::REF_NAME;

/// The order of an index's fields (image-index.md). Fields that are not listed follow.
const INDEX_ORDER: [&str; 6] = ["schemaVersion", "mediaType", "artifactType", "manifests", "subject", "annotations"];

/// The order of an entry's fields (descriptor.md).
const ENTRY_ORDER: [&str; 8] =
    ["mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType"];

const MANIFESTS: &str = "manifests";
const ANNOTATIONS: &str = "annotations";

type Fields = BTreeMap<String, Box<RawValue>>;

/// The contents of `index.json`.
#[derive(Debug)]
pub(crate) struct IndexFile {
    fields: Fields,
    entries: Vec<Box<RawValue>>,
}

/// The fields of an entry that decide which entry an image replaces.
#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    digest: Option<String>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, Option<String>>>,
}

impl Entry {
    fn name(&self) -> Option<&str> {
        let name = self.annotations.as_ref()?.get(REF_NAME)?.as_deref();
        name.filter(|name| !name.is_empty())
    }
}

impl IndexFile {
    /// Creates an index without entries.
    pub(crate) fn empty() -> Self {
        let raw = |text: String| RawValue::from_string(text).expect("numbers and quoted media types are JSON");
        let fields =
            [("schemaVersion", raw("2".to_owned())), ("mediaType", raw(format!("\"{}\"", MediaType::OCI_INDEX)))];
        Self { fields: fields.map(|(key, value)| (key.to_owned(), value)).into(), entries: Vec::new() }
    }

    /// Parses `index.json`.
    pub(crate) fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        let mut fields: Fields = serde_json::from_slice(bytes)?;
        let entries: Option<Vec<Box<RawValue>>> = match fields.remove(MANIFESTS) {
            Some(entries) => serde_json::from_str(entries.get())?,
            None => None,
        };
        let mut index = Self { fields, entries: entries.unwrap_or_default() };
        // Readers skip these, so they have no number.
        index.entries.retain(|entry| entry.get() != "null");
        for entry in &index.entries {
            serde_json::from_str::<Entry>(entry.get())?;
        }
        Ok(index)
    }

    /// Returns the digest of the image with this name. `None` stands for the image without a name, if there is only one.
    pub(crate) fn find(&self, name: Option<&str>) -> Option<Digest> {
        let entries = self.entries.iter().filter_map(|entry| serde_json::from_str::<Entry>(entry.get()).ok());
        let mut named = entries.filter(|entry| entry.name() == name);
        let digest = named.next()?.digest?;
        if name.is_none() && named.next().is_some() {
            return None;
        }
        Digest::parse(&digest).ok()
    }

    /// Adds an image under a name, or without one, by the rules of containers/image.
    ///
    /// An older image with the name loses it and stays. An entry with the same digest and no name is replaced.
    pub(crate) fn set(&mut self, image: &Descriptor, name: Option<&str>) -> serde_json::Result<()> {
        let mut image = image.clone();
        if let Some(name) = name {
            image.annotations.insert(REF_NAME.to_owned(), name.to_owned());
            for entry in &mut self.entries {
                if serde_json::from_str::<Entry>(entry.get())?.name() == Some(name) {
                    *entry = without_name(entry)?;
                }
            }
        }
        let digest = image.digest.to_string();
        let image = to_raw_value(&image)?;
        for entry in &mut self.entries {
            let parsed: Entry = serde_json::from_str(entry.get())?;
            if parsed.digest.as_deref() == Some(&*digest) && parsed.name().is_none() {
                *entry = image;
                return Ok(());
            }
        }
        self.entries.push(image);
        Ok(())
    }

    /// Puts a document under a name, in place of the one that has it.
    pub(super) fn replace(&mut self, document: &Descriptor, name: &str) -> serde_json::Result<()> {
        let mut document = document.clone();
        document.annotations.insert(REF_NAME.to_owned(), name.to_owned());
        let document = to_raw_value(&document)?;
        let is_old =
            |entry: &RawValue| serde_json::from_str::<Entry>(entry.get()).is_ok_and(|entry| entry.name() == Some(name));
        self.entries.retain(|entry| !is_old(entry));
        self.entries.push(document);
        Ok(())
    }

    /// Adds a document without a name, unless the index has it.
    pub(crate) fn add_unnamed(&mut self, document: &Descriptor) -> serde_json::Result<()> {
        let digest = document.digest.to_string();
        for entry in &self.entries {
            if serde_json::from_str::<Entry>(entry.get())?.digest.as_deref() == Some(&*digest) {
                return Ok(());
            }
        }
        self.entries.push(to_raw_value(document)?);
        Ok(())
    }

    /// Removes the entries with these numbers.
    pub(super) fn remove(&mut self, entries: &[usize]) {
        let mut number = 0..;
        self.entries.retain(|_| number.next().is_some_and(|number| !entries.contains(&number)));
    }

    /// Returns the bytes of the file.
    pub(crate) fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        let mut fields = self.fields.clone();
        fields.insert(MANIFESTS.to_owned(), to_raw_value(&self.entries)?);
        serde_json::to_vec(&Ordered { fields: &fields, order: &INDEX_ORDER })
    }
}

/// Returns an entry without the annotation of its name.
fn without_name(entry: &RawValue) -> serde_json::Result<Box<RawValue>> {
    let mut fields: Fields = serde_json::from_str(entry.get())?;
    let Some(annotations) = fields.remove(ANNOTATIONS) else { return Ok(entry.to_owned()) };
    let mut annotations: Fields = serde_json::from_str(annotations.get())?;
    annotations.remove(REF_NAME);
    if !annotations.is_empty() {
        fields.insert(ANNOTATIONS.to_owned(), to_raw_value(&annotations)?);
    }
    to_raw_value(&Ordered { fields: &fields, order: &ENTRY_ORDER })
}

/// Fields in a given order, and the others after them.
struct Ordered<'a> {
    fields: &'a Fields,
    order: &'a [&'static str],
}

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len()))?;
        for key in self.order {
            if let Some(value) = self.fields.get(*key) {
                map.serialize_entry(key, value)?;
            }
        }
        for (key, value) in self.fields.iter().filter(|(key, _)| !self.order.contains(&key.as_str())) {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(content: &str) -> Descriptor {
        Descriptor::of(MediaType::OCI_MANIFEST, content.as_bytes())
    }

    fn text(index: &IndexFile) -> String {
        String::from_utf8(index.to_bytes().unwrap()).unwrap()
    }

    fn entry(content: &str, name: Option<&str>) -> String {
        let Descriptor { media_type, digest, size, .. } = image(content);
        let annotations = name.map(|name| format!(r#","annotations":{{"{REF_NAME}":"{name}"}}"#)).unwrap_or_default();
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}{annotations}}}"#)
    }

    fn wanted(entries: &[String]) -> String {
        let media_type = MediaType::OCI_INDEX;
        format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[{}]}}"#, entries.join(","))
    }

    #[test]
    fn a_name_moves_and_the_old_image_stays() {
        let mut index = IndexFile::empty();
        index.set(&image("one"), Some("a")).unwrap();
        index.set(&image("two"), Some("b")).unwrap();
        assert_eq!(text(&index), wanted(&[entry("one", Some("a")), entry("two", Some("b"))]));
        index.set(&image("three"), Some("a")).unwrap();
        assert_eq!(text(&index), wanted(&[entry("one", None), entry("two", Some("b")), entry("three", Some("a"))]));
        // The old image gets a name again, in its place.
        index.set(&image("one"), Some("c")).unwrap();
        assert_eq!(
            text(&index),
            wanted(&[entry("one", Some("c")), entry("two", Some("b")), entry("three", Some("a"))])
        );
        // The same image under the same name changes nothing.
        let before = text(&index);
        index.set(&image("two"), Some("b")).unwrap();
        assert_eq!(text(&index), before);
        assert_eq!(index.find(Some("b")), Some(image("two").digest));
        assert_eq!(index.find(Some("d")), None);
        assert_eq!(index.find(None), None);
    }

    #[test]
    fn an_image_without_a_name_replaces_only_itself() {
        let mut index = IndexFile::empty();
        index.set(&image("one"), None).unwrap();
        index.set(&image("one"), None).unwrap();
        assert_eq!(text(&index), wanted(&[entry("one", None)]));
        assert_eq!(index.find(None), Some(image("one").digest));
        index.set(&image("two"), None).unwrap();
        assert_eq!(text(&index), wanted(&[entry("one", None), entry("two", None)]));
        assert_eq!(index.find(None), None);
        index.set(&image("one"), Some("a")).unwrap();
        index.set(&image("one"), None).unwrap();
        assert_eq!(text(&index), wanted(&[entry("one", Some("a")), entry("two", None), entry("one", None)]));
    }

    #[test]
    fn a_replaced_document_does_not_stay() {
        let mut index = IndexFile::empty();
        index.set(&image("one"), Some("a")).unwrap();
        index.replace(&image("two"), "b").unwrap();
        index.replace(&image("three"), "b").unwrap();
        assert_eq!(text(&index), wanted(&[entry("one", Some("a")), entry("three", Some("b"))]));
    }

    #[test]
    fn everything_else_is_kept() {
        let digest = image("one").digest;
        let before = format!(
            r#"{{"annotations":{{"x": "y"}}, "unknown":[1.0, null], "schemaVersion":2, "manifests":[
                {{"size":3,"digest":"{digest}","extra":1e2,"platform":{{"os":"linux","architecture":"arm64"}},
                "annotations":{{"{REF_NAME}":"a","z":"1"}}, "mediaType":"m"}},
                {{"digest":"other", "size":0,"annotations":null}}]}}"#
        );
        let mut index = IndexFile::parse(before.as_bytes()).unwrap();
        index.set(&image("two"), Some("a")).unwrap();
        let one = format!(
            r#"{{"mediaType":"m","digest":"{digest}","size":3,"annotations":{{"z":"1"}},"platform":{{"os":"linux","architecture":"arm64"}},"extra":1e2}}"#
        );
        let other = r#"{"digest":"other", "size":0,"annotations":null}"#;
        let entries = [one, other.to_owned(), entry("two", Some("a"))].join(",");
        let wanted = format!(
            r#"{{"schemaVersion":2,"manifests":[{entries}],"annotations":{{"x": "y"}},"unknown":[1.0, null]}}"#
        );
        assert_eq!(text(&index), wanted);
    }

    #[test]
    fn entries_can_be_removed() {
        let entries = ["one", "two", "three"].map(|content| entry(content, None));
        let [one, two, three] = &entries;
        let text_before = format!(r#"{{"schemaVersion":2,"manifests":[null,{one},{two},null,{three}]}}"#);
        let mut index = IndexFile::parse(text_before.as_bytes()).unwrap();
        index.remove(&[0, 2]);
        assert_eq!(text(&index), format!(r#"{{"schemaVersion":2,"manifests":[{two}]}}"#));
    }

    #[test]
    fn other_documents_are_refused() {
        for text in ["", "[]", r#"{"manifests":{}}"#, r#"{"manifests":[1]}"#, r#"{"manifests":[{"digest":1}]}"#] {
            assert!(IndexFile::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(IndexFile::parse(b"{}").unwrap().find(None), None);
    }
}
