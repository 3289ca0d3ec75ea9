//! Tests of signatures, with OpenSSL as an independent judge.

mod keys;
mod openssl;
