//! Names of users and groups. Stub.
