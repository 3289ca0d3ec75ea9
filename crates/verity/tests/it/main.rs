//! Tests of trees, with `veritysetup` as the judge.

mod damage;
mod leaves;
mod same_as_veritysetup;
mod superblock;
mod tools;
mod vectors;
