//! What a user notices: every test here drives the binary, in a directory of its
//! own, with an environment that has nothing in it but what the harness puts there.

mod harness;
mod help;
mod terminal;
mod usage;
