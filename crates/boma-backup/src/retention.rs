//! What can be restored, what to restore, what may go, and when the next backup is due. Pure:
//! catalogs and moments come in, decisions go out.

pub mod choose;
pub mod expiry;
pub mod kind;
pub mod schedule;
pub mod window;

#[cfg(test)]
pub(crate) mod worlds;
