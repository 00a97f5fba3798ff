//! The dashboard: pages for people, on a running engine.
//!
//! ```text
//!   browser ─► guard (host, session, origin) ─► page ◄── EngineState, measured, never asked for twice
//!                                          └─► form ─► Proposal ─► difference and plan, shown
//!                                       └─ confirmed ─► file, or commit, of the source ─► engine
//! ```
//!
//! There are no rules of business here: what is wrong with a change, and what it would do, the engine
//! says, in the words in which the command line says it. Nothing is changed but manifests and what a
//! person asks the platform for ([`Operations`]); no secret is in a page, except where somebody asked
//! for that one secret, which is recorded.

mod access;
mod api;
mod assets;
mod backups;
mod change;
mod checks;
mod endings;
mod failure;
mod fields;
mod insight;
mod letting_in;
mod metrics;
mod operations;
mod pages;
mod people;
mod plans;
mod provider;
mod secrets;
mod serve;
mod sight;
mod site;
mod traced;
mod world;
mod writing;

pub use access::{Keys, LinkKey, Permit, SigningKey};
pub use backups::{
    BackupOperations, Finding, Gap, Holding, OneBackup, Verification, VerifiedCluster,
};
pub use checks::{Check, CheckKind};
pub use endings::{
    EndOperations, GoingOn, KeptDatabase, Moment, Purgeable, ReplacementStanding, Said, Undone,
};
pub use insight::{Insight, LogOf};
pub use operations::Operations;
pub use people::{
    Assignment, ListedPerson, ListedToken, NotAName, NotAScope, NotAnAssignment, PasswordHash,
    People, PeopleChange, PeopleError, Person, PersonName, ProviderIdentity, Register, Rights,
    Role, Scope, SignsIn, Somebody, Token, UnfitPassword,
};
pub use provider::{ProviderError, ProviderSettings};
pub use secrets::{
    LARGEST_SECRET, NotASecretName, SecretName, SecretOperations, UnfitSecret, secret_of,
};
pub use site::{NotASiteUrl, Parts, Site, SiteUrl};
pub use writing::{Repository, ResourceWriter, Target, Writer, Writing};
