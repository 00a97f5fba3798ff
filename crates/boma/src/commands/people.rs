//! `boma people` and `boma token`.

use std::path::PathBuf;
use std::sync::Arc;

use boma_problem::IntoProblem as _;
use boma_web::{
    Assignment, People, PeopleChange, PeopleError, Person, Register, Rights, SigningKey, Token,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::cli::people::{InviteArgs, PeopleCommand, TokenArgs, TokenCommand};
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
        PeopleCommand::List { output } => list(&register.people().await?, output, terminal)?,
        PeopleCommand::Invite(args) => {
            let link = invite(&office, args).await?;
            terminal.status("This link is good for three days, until a password is chosen:");
            terminal.result(&format!("{link}\n"))?;
        }
        PeopleCommand::Assign(args) => {
            let said = format!("{} is {} now.", args.name, words(&args.roles));
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

fn words(roles: &[Assignment]) -> String {
    let roles: Vec<String> = roles.iter().map(ToString::to_string).collect();
    roles.join(", ")
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
    let token = office.key().await?.invitation(person, Timestamp::now());
    let token = token.ok_or_else(no_random_bytes)?;
    Ok(format!("{}/invitation?token={token}", office.origin()?))
}

fn list(people: &People, output: OneFormat, terminal: Terminal) -> Result<()> {
    let mut table = Table::new(&["NAME", "SIGNS IN", "IS", "MAIL"]);
    for one in &people.people {
        let way = match (&one.provider, &one.password) {
            (Some(_), _) => "with the provider",
            (None, Some(_)) => "with a password",
            (None, None) => "is invited",
        };
        table.row([
            one.name.to_string(),
            way.to_owned(),
            words(&one.roles),
            one.email.clone(),
        ]);
    }
    let values = people
        .people
        .iter()
        .map(|one| serde_json::json!({"name": one.name, "email": one.email, "roles": one.roles}));
    print(&table, &values.collect(), output, terminal)
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
            let mut table = Table::new(&["NAME", "IS", "UNTIL", "MADE BY"]);
            for one in &people.tokens {
                let until = one
                    .until
                    .map_or_else(String::new, boma_engine::words::second);
                table.row([
                    one.name.to_string(),
                    words(&one.roles),
                    until,
                    one.made_by.clone(),
                ]);
            }
            let values = people.tokens.iter().map(|one| {
                serde_json::json!({"name": one.name, "roles": one.roles, "until": one.until, "madeBy": one.made_by})
            });
            print(&table, &values.collect(), output, terminal)?;
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
    let sent = Token::generate().ok_or_else(no_random_bytes)?;
    let now = Timestamp::now();
    let until = now + SignedDuration::from_hours(24 * args.days);
    let by = actor("token create");
    let token = Token {
        name: args.name,
        digest: Token::digest_of(sent.expose()),
        roles: args.roles,
        until: Some(until),
        made_by: by,
        made_at: now,
    };
    change(register, PeopleChange::AddToken(token), "token create").await?;
    let until = boma_engine::words::second(until);
    terminal.status(&format!("Good until {until}; it is not shown again:"));
    terminal.result(&format!("{}\n", sent.expose()))?;
    Ok(())
}
