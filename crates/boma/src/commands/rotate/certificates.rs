//! `boma rotate --tls` and `--authority`: other certificates, and another authority that signs them.

use std::time::{Duration, Instant};

use boma_engine::plan::Asked;

use crate::cli::{AuthorityChange, Global, RotateArgs};
use crate::commands::apply::converge;
use crate::commands::stop::last_applied;
use crate::commands::validate::counted;
use crate::session::{Need, Session, actor};
use crate::terminal::{Exit, Result, Terminal};

use super::LOOK_AGAIN;

/// Gives every server another certificate.
pub(super) async fn renew(args: &RotateArgs, global: &Global, terminal: Terminal) -> Result {
    let session = Session::open(global, Need::Builds).await?;
    let renewal = session
        .platform
        .renew_certificates(&actor("rotate --tls"))
        .await?;
    if renewal.other_authority {
        terminal.status(
            "The new authority signs from now on. Once no program needs the former one, \
             `boma rotate --authority forget` ends trust in it.",
        );
    }
    let until = Instant::now() + Duration::from_secs(args.patience);
    loop {
        let is_served = session.platform.is_served()?;
        if !is_served {
            let exit = act(&session, until, terminal).await?;
            if exit != Exit::Ok {
                return Ok(exit);
            }
        }
        let due = session.platform.certificates_due().await?;
        if due.is_empty() {
            let count = counted(renewal.certificates, "server");
            terminal.status(&format!("Another certificate: {count}."));
            return Ok(Exit::Ok);
        }
        if is_served && !args.wait {
            terminal.status("`boma serve` exchanges them; `boma events` shows when it has.");
            return Ok(Exit::Ok);
        }
        if Instant::now() >= until || !args.wait {
            let names: Vec<&str> = due.iter().map(|key| &*key.name).collect();
            let names = names.join(", ");
            terminal.status(&format!(
                "Not exchanged yet: {names}. `boma plan` says why."
            ));
            return Ok(Exit::NotConverged);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Takes all steps that can be taken now.
async fn act(session: &Session, until: Instant, terminal: Terminal) -> Result {
    let loaded = last_applied(session).await?;
    if loaded.has_errors() {
        terminal.problems(&loaded.problems);
        return Ok(Exit::Problem);
    }
    let patience = until.saturating_duration_since(Instant::now());
    let asked = Asked::default();
    converge(session, &loaded, asked, patience, "rotate --tls", terminal).await
}

/// Makes another authority, or ends trust in the former one.
pub(super) async fn authority(
    change: AuthorityChange,
    global: &Global,
    terminal: Terminal,
) -> Result {
    let session = Session::open(global, Need::NoBuilds).await?;
    let platform = &session.platform;
    let path = platform.layout().authority();
    let path = path.display();
    match change {
        AuthorityChange::New => {
            platform.new_authority(&actor("rotate --authority")).await?;
            terminal.status(&format!(
                "Another authority is trusted, too: both are in `{path}`. Copy the file to where it was \
                 copied to, and restart programs that verify servers; then `boma rotate --tls` lets it \
                 sign."
            ));
        }
        AuthorityChange::Forget => {
            platform
                .forget_authority(&actor("rotate --authority"))
                .await?;
            terminal.status(&format!(
                "The former authority is no longer in `{path}`. Copy the file to where it was copied to."
            ));
        }
    }
    Ok(Exit::Ok)
}
