//! Files that registries' users have: registries.conf, certs.d, and files with credentials.
