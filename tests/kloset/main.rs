//! A kloset against everything that goes wrong: damage, crashes, poison, files that change
//! while they are read. What a user would notice is asserted: bytes that come back, errors
//! that say what is lost, and snapshots that somebody else's bad luck leaves alone.

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
