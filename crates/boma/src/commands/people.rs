//! `boma people` and `boma token`.

use std::path::PathBuf;
use std::sync::Arc;

use boma_engine::words::second;
use boma_problem::IntoProblem as _;
use boma_web::{
    ListedPerson, ListedToken, People, PeopleChange, PeopleError, Person, Register, Rights,
    SigningKey, Token,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::people::{AssignArgs, InviteArgs, PeopleCommand, TokenArgs, TokenCommand};
use crate::cli::{Global, OneFormat, PlatformName};
use crate::commands::dashboard::{self, Served, no_random_bytes};
use crate::configuration::Configuration;
use crate::people::PlatformRegister;
use crate::session::{ClusterSession, Need, Session, actor, state_dir};
use crate::table::Table;
use crate::terminal::{Exit, Result, Terminal};

/// Where a dashboard is when it was never told and none runs.
const USUAL: &str = "http://127.0.0.1:9480";

/// Where people are kept, and what their invitations are made with.
struct Office {
    register: Arc<dyn Register>,
    place: Place,
}

/// Where the dashboard's key is.
enum Place {
    /// In the state directory.
    Machine(PathBuf),
    /// In the cluster.
    Cluster(Box<ClusterSession>),
}

impl Office {
    async fn open(global: &Global) -> Result<Self> {
        if global.platform == PlatformName::Kubernetes {
            let session = ClusterSession::open(global).await?;
            return Ok(Self {
                register: Arc::new(PlatformRegister(session.platform.clone())),
                place: Place::Cluster(Box::new(session)),
            });
        }
        let session = Session::open(global, Need::NoBuilds).await?;
        Ok(Self {
            register: Arc::new(PlatformRegister(session.platform)),
            place: Place::Machine(state_dir(global)?),
        })
    }

    async fn key(&self) -> Result<SigningKey> {
        match &self.place {
            Place::Machine(state) => dashboard::key(state),
            Place::Cluster(session) => session.dashboard_key().await,
        }
    }

    /// Where people reach the dashboard.
    fn origin(&self) -> Result<String> {
        let (section, served) = match &self.place {
            Place::Machine(state) => {
                let configuration = Configuration::read(state).map_err(|error| error.problem())?;
                (configuration.dashboard().clone(), Served::read(state))
            }
            Place::Cluster(session) => (session.dashboard(), None),
        };
        if let Some(url) = section.url()? {
            return Ok(url.origin().to_owned());
        }
        let served = served.map(|served| served.origin());
        Ok(served.unwrap_or_else(|| USUAL.to_owned()))
    }
}

/// Whoever can open the state may do everything.
async fn change(register: &dyn Register, change: PeopleChange, by: &str) -> Result<People> {
    let owner = Rights::of_owner();
    let changed = register.change_people(change, &owner, &actor(by)).await;
    Ok(changed?)
}

/// Runs `boma people`.
pub(crate) async fn people(command: PeopleCommand, global: &Global, terminal: Terminal) -> Result {
    let office = Office::open(global).await?;
    let register = &*office.register;
    match command {
        PeopleCommand::List { output } => {
            let people = register.people().await?;
            let all: Vec<_> = people.people.iter().map(ListedPerson::from).collect();
            list(&all, output, terminal)?;
        }
        PeopleCommand::Invite(args) => show_link(&invite(&office, args).await?, terminal)?,
        PeopleCommand::Assign(args) => {
            let said = assigned(&args);
            let assign = PeopleChange::Assign {
                name: args.name,
                roles: args.roles,
            };
            change(register, assign, "people assign").await?;
            terminal.status(&said);
        }
        PeopleCommand::Remove { name } => {
            let said = format!("{name} is let in no more.");
            change(register, PeopleChange::Remove { name }, "people remove").await?;
            terminal.status(&said);
        }
    }
    Ok(Exit::Ok)
}

/// What is said when somebody may do other things.
pub(super) fn assigned(args: &AssignArgs) -> String {
    let roles: Vec<String> = args.roles.iter().map(ToString::to_string).collect();
    format!("{} is {} now.", args.name, roles.join(", "))
}

/// Prints the link of an invitation.
pub(super) fn show_link(link: &str, terminal: Terminal) -> Result<()> {
    terminal.status("This link is good for three days, until a password is chosen:");
    terminal.result(&format!("{link}\n"))?;
    Ok(())
}

/// Prints what a program sends.
pub(super) fn show_token(sent: &str, until: &str, terminal: Terminal) -> Result<()> {
    terminal.status(&format!("Good until {until}; it is not shown again:"));
    terminal.result(&format!("{sent}\n"))?;
    Ok(())
}

/// The link by which somebody chooses a password.
async fn invite(office: &Office, args: InviteArgs) -> Result<String> {
    let register = &*office.register;
    let name = args.name.clone();
    let is_known = register.people().await?.person(&name).is_some();
    let wish = if is_known && args.roles.is_empty() {
        PeopleChange::InviteAgain { name: args.name }
    } else {
        PeopleChange::Invite {
            name: args.name,
            email: args.email,
            roles: args.roles,
        }
    };
    let people = change(register, wish, "people invite").await?;
    let person = people.person(&name);
    let person: &Person =
        person.ok_or_else(|| PeopleError::NoSuchPerson(name.clone()).problem())?;
    let (key, origin) = (office.key().await?, office.origin()?);
    let link = key.invitation(person, &origin, Timestamp::now());
    Ok(link.ok_or_else(no_random_bytes)?)
}

/// Prints who may sign in.
pub(super) fn list(all: &[ListedPerson], output: OneFormat, terminal: Terminal) -> Result<()> {
    let mut table = Table::new(&["NAME", "SIGNS IN", "IS", "MAIL"]);
    for one in all {
        table.row([
            one.name.clone(),
            one.signs_in.words().to_owned(),
            one.roles.join(", "),
            one.email.clone(),
        ]);
    }
    print(&table, &json!(all), output, terminal)
}

/// Prints what lets programs in.
pub(super) fn list_tokens(
    all: &[ListedToken],
    output: OneFormat,
    terminal: Terminal,
) -> Result<()> {
    let mut table = Table::new(&["NAME", "IS", "UNTIL", "MADE BY"]);
    for one in all {
        let until = one.until.map_or_else(String::new, second);
        table.row([
            one.name.clone(),
            one.roles.join(", "),
            until,
            one.made_by.clone(),
        ]);
    }
    print(&table, &json!(all), output, terminal)
}

fn print(table: &Table, values: &Value, output: OneFormat, terminal: Terminal) -> Result<()> {
    match output {
        OneFormat::Text => terminal.result(&table.render())?,
        OneFormat::Json | OneFormat::Yaml => terminal.json(values)?,
    }
    Ok(())
}

/// Runs `boma token`.
pub(crate) async fn token(command: TokenCommand, global: &Global, terminal: Terminal) -> Result {
    let office = Office::open(global).await?;
    let register = &*office.register;
    match command {
        TokenCommand::List { output } => {
            let people = register.people().await?;
            let all: Vec<_> = people.tokens.iter().map(ListedToken::from).collect();
            list_tokens(&all, output, terminal)?;
        }
        TokenCommand::Create(args) => create(register, args, terminal).await?,
        TokenCommand::Remove { name } => {
            let said = format!("Token {name} lets nobody in any more.");
            change(register, PeopleChange::RemoveToken { name }, "token remove").await?;
            terminal.status(&said);
        }
    }
    Ok(Exit::Ok)
}

async fn create(register: &dyn Register, args: TokenArgs, terminal: Terminal) -> Result<()> {
    let asked = (args.roles, args.days);
    let made_by = actor("token create");
    let made = Token::generate(args.name, asked, made_by, Timestamp::now());
    let (token, sent) = made.ok_or_else(no_random_bytes)?;
    let until = token.until.map_or_else(String::new, second);
    change(register, PeopleChange::AddToken(token), "token create").await?;
    show_token(sent.expose(), &until, terminal)
}
