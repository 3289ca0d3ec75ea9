//! Tests of signatures, with OpenSSL as an independent judge.

mod attachments;
mod authority;
mod bundles;
mod keys;
mod mutations;
mod openssl;
