//! Makes bundles with a key.

use serde_json::json;

use super::BUNDLE_MEDIA_TYPE;
use crate::encoding::to_standard;
use crate::error::Result;
use crate::keys::PrivateKey;
use crate::statement::{STATEMENT_MEDIA_TYPE, Statement, pre_authentication_encoding};

pub(super) fn statement(key: &PrivateKey, statement: &[u8]) -> Result<Vec<u8>> {
    Statement::parse(statement)?;
    let signature = key.sign_bundle(&pre_authentication_encoding(STATEMENT_MEDIA_TYPE, statement));
    // cosign refuses a `keyid`.
    let envelope = json!({
        "payload": to_standard(statement),
        "payloadType": STATEMENT_MEDIA_TYPE,
        "signatures": [{"sig": to_standard(&signature)}],
    });
    let material = json!({"publicKey": {"hint": key.public().hint()}});
    let bundle = json!({"mediaType": BUNDLE_MEDIA_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope});
    Ok(bundle.to_string().into_bytes())
}
