//! What people read when a server refuses.

use boma_instance::Access::ReadWrite;
use boma_postgres::sql::{AccessStep, Controls, Socket, SqlError};
use boma_problem::{Class, IntoProblem};

use crate::server::on_oldest_and_newest;

fn text(error: &SqlError) -> String {
    let problem = error.problem();
    format!("{}: {problem}. {}", problem.code, problem.hints.join(" "))
}

#[tokio::test]
async fn each_refusal_says_what_to_do() -> anyhow::Result<()> {
    on_oldest_and_newest(async |server| {
        server.grant("auth_api_1", ReadWrite);
        server.converge().await?;
        let mut controls = server.controls();

        let step = AccessStep::CreateExtension {
            name: "of_nobody".into(),
        };
        let error = controls.act(&step).await.expect_err("there is none");
        let found = text(&error);
        assert!(
            found.starts_with(
                "postgres-lacks-a-feature: create extension of_nobody: extension \"of_nobody\" is \
                 not available"
            ),
            "{found}"
        );
        assert!(
            found.ends_with("Install the packages that it needs beside PostgreSQL."),
            "{found}"
        );

        let step = AccessStep::Reassign {
            role: "nobody".into(),
        };
        let error = controls.act(&step).await.expect_err("there is none");
        assert_eq!(error.problem().class, Class::Transient);
        let found = text(&error);
        assert!(
            found.starts_with(
                "changed-meanwhile: give what nobody owns to the owner group: role \"nobody\" does \
                 not exist. "
            ),
            "{found}"
        );

        // A session that holds what a step needs is not waited for long.
        let holder = server.by_hand("accounts_db").await?;
        holder.batch_execute("CREATE TABLE held (id int)").await?;
        holder.batch_execute("BEGIN; LOCK TABLE held").await?;
        let error = server.bring_access().await.expect_err("the table is held");
        let error = error
            .downcast_ref::<SqlError>()
            .map(text)
            .unwrap_or_default();
        assert_eq!(
            error,
            "server-busy: give 1 object to the owner group: canceling statement due to lock \
             timeout. It is tried again by itself."
        );
        holder.batch_execute("ROLLBACK").await?;
        server.bring_access().await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_of() -> anyhow::Result<()> {
    let scratch = boma_testkit::ScratchDir::new()?;
    let socket = Socket {
        directory: scratch.path().to_owned(),
        port: 5432,
    };
    let error = Controls::open(socket, "db")
        .observe_server()
        .await
        .expect_err("nobody listens");
    let place = scratch.path().display();
    assert_eq!(
        text(&error),
        format!(
            "server-not-reachable: connect to database \"db\" through `{place}`: error connecting \
             to server: No such file or directory (os error 2). The server may be starting or \
             stopping; it is tried again."
        )
    );
    assert!(!error.is_starting());
    Ok(())
}
