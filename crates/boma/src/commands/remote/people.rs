//! Who may do what, as a server keeps it.

use boma_engine::words::second;
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Items;
use crate::cli::people::{InviteArgs, PeopleCommand, TokenCommand};
use crate::commands::people::{assigned, list, list_tokens, show_link, show_token};
use crate::remote::Remote;
use crate::terminal::{Exit, Result, Terminal};

async fn all<T: DeserializeOwned>(server: &Remote, kind: &str) -> Result<Vec<T>> {
    let all: Items<T> = server.read(kind).await?;
    Ok(all.items)
}

/// Runs `boma people`.
pub(super) async fn people(command: PeopleCommand, server: &Remote, terminal: Terminal) -> Result {
    match command {
        PeopleCommand::List { output } => list(&all(server, "people").await?, output, terminal)?,
        PeopleCommand::Invite(args) => show_link(&invite(&args, server).await?, terminal)?,
        PeopleCommand::Assign(args) => {
            let roles: Vec<String> = args.roles.iter().map(ToString::to_string).collect();
            let at = format!("people/{}/roles", args.name);
            server
                .send((Method::PUT, &at), None, &json!({ "roles": roles }))
                .await?;
            terminal.status(&assigned(&args));
        }
        PeopleCommand::Remove { name } => {
            let at = format!("people/{name}");
            server.send((Method::DELETE, &at), None, &json!({})).await?;
            terminal.status(&format!("{name} is let in no more."));
        }
    }
    Ok(Exit::Ok)
}

/// The link by which somebody chooses a password. Who is known and gets no other role is invited again.
async fn invite(args: &InviteArgs, server: &Remote) -> Result<String> {
    let answer = if args.roles.is_empty() {
        let at = format!("people/{}/invitations", args.name);
        server.send((Method::POST, &at), None, &json!({})).await?
    } else {
        let roles: Vec<String> = args.roles.iter().map(ToString::to_string).collect();
        let body = json!({"name": args.name, "email": args.email, "roles": roles});
        server.send((Method::POST, "people"), None, &body).await?
    };
    Ok(text(&answer, "link"))
}

fn text(answer: &Value, field: &str) -> String {
    answer[field].as_str().unwrap_or_default().to_owned()
}

/// Runs `boma token`.
pub(super) async fn token(command: TokenCommand, server: &Remote, terminal: Terminal) -> Result {
    match command {
        TokenCommand::List { output } => {
            list_tokens(&all(server, "tokens").await?, output, terminal)?;
        }
        TokenCommand::Create(args) => {
            let roles: Vec<String> = args.roles.iter().map(ToString::to_string).collect();
            let body = json!({"name": args.name, "roles": roles, "days": args.days});
            let made = server.send((Method::POST, "tokens"), None, &body).await?;
            let until = text(&made, "until");
            let until = until.parse().map_or(until, second);
            show_token(&text(&made, "token"), &until, terminal)?;
        }
        TokenCommand::Remove { name } => {
            let at = format!("tokens/{name}");
            server.send((Method::DELETE, &at), None, &json!({})).await?;
            terminal.status(&format!("Token {name} lets nobody in any more."));
        }
    }
    Ok(Exit::Ok)
}
