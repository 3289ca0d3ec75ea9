//! Tests of the client against a test registry with faults, and against Debian's `docker-registry`.

mod cancelling;
mod certificates;
mod challenges;
mod connections;
mod credentials;
mod debian;
mod debian_push;
mod encodings;
mod endpoints;
mod expiry;
mod fixture;
mod foreign;
mod interruptions;
mod manifests;
mod parts;
mod proxies;
mod redirects;
mod retries;
mod secrets;
mod tls;
mod tokens;
mod uploaded;
mod uploads;
mod wrong_responses;
