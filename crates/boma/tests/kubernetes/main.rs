//! Databases on a real Kubernetes: `make test-kubernetes` runs these against the cluster that
//! KUBECONFIG names. They are ignored otherwise, since there is none to run them against.
//!
//! What they need besides: BOMA_TEST_KUBERNETES_IMAGE, an image with this very program;
//! BOMA_TEST_KUBERNETES_POSTGRES, one of PostgreSQL 15; BOMA_TEST_KUBERNETES_STORE, one of the S3
//! server moto; a default StorageClass; `kubectl`. Nodes
//! must have the images, or be able to pull them.

mod applications;
mod backups;
mod chaos;
mod cluster;
mod dashboard;
mod disruption;
#[path = "../scenarios/each.rs"]
mod each;
mod faults;
mod in_place;
mod installed;
mod killed;
mod lease;
mod life;
mod proxy;
mod repaired;
mod resources;
mod scenarios;
mod store;
mod trouble;
