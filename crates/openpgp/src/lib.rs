//! OpenPGP signed messages.
