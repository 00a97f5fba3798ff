//! Repositories in object stores, against real servers: S3 against moto, Azure against Azurite.
//! `scripts/install-test-stores.sh` installs both.

mod azure;
mod contract;
mod s3;
mod server;
