//! Pages, rendered whole on the server; they are readable without scripts.

mod activity;
mod application;
mod change;
mod chart;
mod create;
mod database;
mod deploys;
mod graph;
mod layout;
mod log;
mod overview;
mod parts;
mod people;
mod queries;
mod removal;
mod session;
mod stream;

pub(crate) use activity::{audit, events, plan};
pub(crate) use application::{application, attach, deploy, detach, reveal, rotate};
pub(crate) use change::{edit, write};
pub(crate) use create::{
    new, new_application, new_database, propose_application, propose_database,
};
pub(crate) use database::{back_up, charts, database, hold, restore};
pub(crate) use layout::{Place, alone, nothing, page};
pub(crate) use log::{application_log, database_log};
pub(crate) use overview::overview;
pub(crate) use parts::problem_card;
pub(crate) use people::{change_people, people};
pub(crate) use queries::queries;
pub(crate) use removal::{remove, unprotect};
pub(crate) use session::{
    back_from_provider, change_password, choose_password, invitation, sign_in, sign_in_by_password,
    sign_out, with_provider,
};
pub(crate) use stream::stream;
