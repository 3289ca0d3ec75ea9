//! The store against a registry that is in this process and does as it is told.

mod fixture;

mod cancelling;
mod damage;
mod limits;
mod platforms;
mod policies;
mod races;
mod records;
