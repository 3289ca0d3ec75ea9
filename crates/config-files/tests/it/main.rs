//! Tests of the files that registries' users have, with the cases of containers/image's own tests.

mod certificates;
mod credentials;
mod explaining;
mod home;
mod login;
mod other_programs;
mod registries;
mod short_names;
mod tls;
