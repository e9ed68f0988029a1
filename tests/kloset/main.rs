//! Tests a kloset under adverse conditions: damage, crashes, malicious data, files that change
//! while they are read. The assertions concern what a user would notice: restored bytes, errors
//! that name lost data, and snapshots that are not affected by damage to others.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod archive;
mod artificial;
mod changes;
mod collect;
mod compare;
mod contents;
mod crash;
mod damage;
mod dup;
mod forge;
mod harness;
mod heal;
mod hooked;
mod incremental;
mod inspect;
mod interleaved;
mod keys;
mod lies;
mod locate;
mod poison;
mod remote;
mod repair;
mod review_backup;
mod review_check;
mod review_restore;
mod revised;
mod scene;
mod strict;
mod sync;
mod wrapped;
