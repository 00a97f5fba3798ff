//! What can be typed about people and tokens.

use boma_web::{Assignment, PersonName};
use clap::{Args, Subcommand};

use super::OneFormat;

/// What can be done about people.
#[derive(Debug, Subcommand)]
pub(crate) enum PeopleCommand {
    /// List who may sign in
    List {
        /// How to print
        #[arg(long, short, value_enum, default_value_t = OneFormat::Text)]
        output: OneFormat,
    },
    /// Print a link by which somebody chooses a password; for who has one, it ends that one
    Invite(InviteArgs),
    /// Say what somebody may do, in place of what they may now
    Assign(AssignArgs),
    /// Let somebody in no more
    Remove {
        /// Who
        name: PersonName,
    },
}

/// Arguments of `people invite`.
#[derive(Debug, Args)]
pub(crate) struct InviteArgs {
    /// What they sign in with
    pub(crate) name: PersonName,
    /// What they may do: `viewer`, `developer` or `admin`, with `:organization/unit/environment/project` or a beginning
    /// of that behind it; may be repeated; only for somebody new
    #[arg(long = "role", value_name = "ROLE[:SCOPE]")]
    pub(crate) roles: Vec<Assignment>,
    /// Their address, for commits
    #[arg(long, value_name = "ADDRESS", default_value = "")]
    pub(crate) email: String,
}

/// Arguments of `people assign`.
#[derive(Debug, Args)]
pub(crate) struct AssignArgs {
    /// Who
    pub(crate) name: PersonName,
    /// What they may do, such as `developer:fincorp/retail-banking`
    #[arg(value_name = "ROLE[:SCOPE]", required = true)]
    pub(crate) roles: Vec<Assignment>,
}

/// What can be done about tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// List the tokens of programs
    List {
        /// How to print
        #[arg(long, short, value_enum, default_value_t = OneFormat::Text)]
        output: OneFormat,
    },
    /// Make a token and print it, once
    Create(TokenArgs),
    /// Let a program in no more
    Remove {
        /// Which
        name: PersonName,
    },
}

/// Arguments of `token create`.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// What people call it
    pub(crate) name: PersonName,
    /// What the program may do, as in `boma people invite`; may be repeated
    #[arg(long = "role", value_name = "ROLE[:SCOPE]", required = true)]
    pub(crate) roles: Vec<Assignment>,
    /// Days that it is good for
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(i64).range(1..=3650))]
    pub(crate) days: i64,
}
