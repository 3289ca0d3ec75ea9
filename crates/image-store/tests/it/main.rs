//! Tests of the store against a registry in this process.

mod fixture;

mod admission;
mod archives;
mod cancelling;
mod damage;
mod encrypted;
mod leaves;
mod limits;
mod platforms;
mod policies;
mod races;
mod records;
mod verifying;
