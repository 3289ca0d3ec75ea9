//! The messages that an engine sends while it loads an image: JSON objects, one after another.

use std::io::{BufReader, Read};

use serde::Deserialize;

use crate::{Error, Result};

/// The maximum length in bytes of all messages.
const MESSAGES_LIMIT: u64 = 64 << 20;

/// The maximum number of characters of an error in a message.
const SHOWN: usize = 1000;

/// A message. Only errors matter.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    error: Option<String>,
    #[serde(default, rename = "errorDetail")]
    detail: Option<Detail>,
}

#[derive(Deserialize)]
struct Detail {
    #[serde(default)]
    message: Option<String>,
}

/// Reads messages to their end. Returns the reason of the first error, if there is one.
pub(super) fn read(body: impl Read) -> Result<Option<String>> {
    let messages = serde_json::Deserializer::from_reader(BufReader::new(body.take(MESSAGES_LIMIT)));
    for message in messages.into_iter::<Message>() {
        let message = match message {
            Ok(message) => message,
            Err(error) if error.is_io() => return Err(from_io(error.into())),
            Err(error) => return Ok(Some(format!("the engine's answer is not JSON: {error}"))),
        };
        if let Some(detail) = message.detail {
            return Ok(Some(printable(&detail.message.or(message.error).unwrap_or_default())));
        }
        if let Some(error) = message.error {
            return Ok(Some(printable(&error)));
        }
    }
    Ok(None)
}

/// Returns the error of this crate that a reader's error contains.
fn from_io(error: std::io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(source) => Error::Io { action: "read", path: "the engine's answer".into(), source },
    }
}

/// Returns the text of an engine, shortened and without control characters.
pub(super) fn printable(text: &str) -> String {
    text.chars().take(SHOWN).map(|char| if char.is_control() { ' ' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_counts() {
        for (body, wanted) in [
            ("", None),
            (r#"{"stream":"Loaded image: a:1\n"}"#, None),
            ("{\"stream\":\"a\"}\n{\"stream\":\"b\"}\r\n", None),
            (r#"{"status":"x"}{"errorDetail":{"message":"no space"},"error":"other"}"#, Some("no space")),
            (r#"{"error":"bad\u001b[31m"}"#, Some("bad [31m")),
            (r#"{"errorDetail":{}}"#, Some("")),
        ] {
            assert_eq!(read(body.as_bytes()).unwrap().as_deref(), wanted, "{body}");
        }
        for body in ["Loaded", "[1]", r#"{"stream":"a"}{"#] {
            assert!(read(body.as_bytes()).unwrap().unwrap().contains("not JSON"), "{body}");
        }
    }
}
