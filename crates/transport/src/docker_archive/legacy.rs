//! The parts of an archive for readers from before Docker 1.10: a directory for each layer, and `repositories`.
//!
//! A layer's id is a digest of its description, computed as containers/image does. So the same image has the same ids in
//! the archives of both.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::value::RawValue;
use vmroot_model::{Digest, chain_ids};

/// The fields of the config that the description of the top layer has.
const CONFIG_FIELDS: [&str; 7] =
    ["architecture", "config", "container", "container_config", "created", "docker_version", "os"];

/// The content of each layer's `VERSION`.
pub const VERSION: &str = "1.0";

/// The description of a layer, for its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyLayer {
    /// The id, 64 hex digits: the name of the directory.
    pub id: String,
    /// The content of `json`.
    pub json: String,
    /// The layer's digest.
    pub digest: Digest,
}

/// Describes the layers of an image, the base layer first.
///
/// # Errors
/// The config is not a JSON object.
pub fn describe(layers: &[Digest], config: &[u8]) -> serde_json::Result<Vec<LegacyLayer>> {
    let mut described: Vec<LegacyLayer> = Vec::new();
    for (index, (digest, chain)) in layers.iter().zip(chain_ids(layers)).enumerate() {
        // Sorted by key, as Go serialises a map.
        let mut fields: BTreeMap<&str, String> = BTreeMap::new();
        if let Some(parent) = described.last() {
            fields.insert("parent", format!("\"{}\"", parent.id));
        }
        if index + 1 == layers.len() {
            let config: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(config)?;
            for field in CONFIG_FIELDS {
                let value = config.get(field).map_or_else(|| "null".to_owned(), |value| compact(value.get()));
                fields.insert(field, value);
            }
        }
        // The chain id makes the id unique. It is not part of the description.
        fields.insert("layer_id", format!("\"{chain}\""));
        let id = Digest::of(object(&fields).as_bytes()).hex();
        fields.remove("layer_id");
        fields.insert("id", format!("\"{id}\""));
        described.push(LegacyLayer { id, json: object(&fields), digest: *digest });
    }
    Ok(described)
}

/// Returns an object of serialised values. The keys need no escapes.
fn object(fields: &BTreeMap<&str, String>) -> String {
    let fields: Vec<String> = fields.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// Removes the white space of valid JSON, and escapes the characters that Go escapes for HTML.
fn compact(json: &str) -> String {
    let mut compacted = String::with_capacity(json.len());
    let mut in_string = false;
    let mut escaped = false;
    for character in json.chars() {
        match character {
            ' ' | '\t' | '\n' | '\r' if !in_string => continue,
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                write!(compacted, "\\u{:04x}", u32::from(character)).expect("a string can be written to");
                escaped = false;
                continue;
            }
            '"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = character == '\\' && !escaped;
        compacted.push(character);
    }
    compacted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compacts_as_go_does() {
        let json = "{ \"a b\" : [ 1.0 , \"<\\\" &\\\\\" ] ,\n\t\"c\": \"\u{2028}é\" }";
        assert_eq!(compact(json), r#"{"a b":[1.0,"\u003c\" \u0026\\"],"c":"\u2028é"}"#);
    }

    /// Computed by hand: the base layer has its chain id only.
    #[test]
    fn an_id_is_the_digest_of_the_description() {
        let layers = [Digest::of(b"base"), Digest::of(b"top")];
        let described = describe(&layers, br#"{"os": "linux", "rootfs": {}, "config": {"Env": ["A=<b>"]}}"#).unwrap();
        let base = Digest::of(format!(r#"{{"layer_id":"{}"}}"#, layers[0]).as_bytes()).hex();
        assert_eq!(described[0].json, format!(r#"{{"id":"{base}"}}"#));
        let config = r#""config":{"Env":["A=\u003cb\u003e"]},"container":null,"container_config":null,"created":null,"docker_version":null"#;
        let chain = Digest::of(format!("{} {}", layers[0], layers[1]).as_bytes());
        let text = format!(r#"{{"architecture":null,{config},"layer_id":"{chain}","os":"linux","parent":"{base}"}}"#);
        let top = Digest::of(text.as_bytes()).hex();
        assert_eq!(described[1].id, top);
        assert_eq!(
            described[1].json,
            format!(r#"{{"architecture":null,{config},"id":"{top}","os":"linux","parent":"{base}"}}"#)
        );
        assert!(describe(&layers, b"[]").is_err() && describe(&[], b"").unwrap().is_empty());
    }
}
