//! What a user notices: every test here drives the binary, in a directory of its
//! own, with an environment that has nothing in it but what the harness puts there.

mod backup;
mod cat;
mod check;
mod completion;
mod create;
mod diag;
mod format;
mod full;
mod harness;
mod help;
mod info;
mod interrupt;
mod key;
mod kill;
mod ls;
mod metadata;
mod mounted;
mod output;
mod over;
mod pkg;
mod process;
mod restore;
mod rm;
mod seen;
mod stream;
mod tag;
mod terminal;
mod usage;
mod user;
mod walk;
