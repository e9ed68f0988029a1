//! Common code of the test programs: prerequisites, and an ordinary user.

pub(crate) mod prerequisite;
// Only a few of the test programs run as root and as another user.
#[allow(dead_code)]
pub(crate) mod user;
