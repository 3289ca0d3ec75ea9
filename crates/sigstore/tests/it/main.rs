//! Tests of signatures, with OpenSSL as an independent judge.

mod attachments;
mod authority;
mod bundles;
mod cosign;
mod keys;
mod mutations;
mod openssl;
