//! EROFS images: one file, and metadata over contents files.

mod compressed;
mod extremes;
mod fixture;
mod joined;
mod same_as_model;
mod same_bytes;
mod targets;
mod tools;
