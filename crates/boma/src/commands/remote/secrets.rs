//! Secrets under names, as a server keeps them.

use reqwest::Method;
use serde_json::{Value, json};

use super::Items;
use crate::cli::SecretCommand;
use crate::commands::secret::{list, read, say_forgotten, say_stored};
use crate::remote::Remote;
use crate::terminal::{Exit, Result, Terminal};

/// Runs `boma secret`.
pub(super) async fn secret(command: SecretCommand, server: &Remote, terminal: Terminal) -> Result {
    match command {
        SecretCommand::Set(args) => {
            let value = read()?;
            let at = format!("secrets/{}", args.name);
            // A line end behind it is none of it, there as here.
            let wish = json!({ "value": format!("{}\n", value.expose()) });
            server.send((Method::PUT, &at), None, &wish).await?;
            say_stored(&args.name, terminal);
        }
        SecretCommand::List => {
            let found: Items<Value> = server.read("secrets").await?;
            let names = found.items.iter().filter_map(|one| one["name"].as_str());
            let names: Vec<String> = names.map(str::to_owned).collect();
            list(&names, terminal)?;
        }
        SecretCommand::Remove(args) => {
            let at = format!("secrets/{}", args.name);
            server.send((Method::DELETE, &at), None, &json!({})).await?;
            say_forgotten(&args.name, terminal);
        }
    }
    Ok(Exit::Ok)
}
