//! From nothing to the spec, and from one spec to the next.

use std::time::Instant;

use anyhow::Context;
use boma_agent::plan::access;
use boma_instance::Access::{ReadOnly, ReadWrite};
use boma_postgres::sql::{AccessStep, SeenDatabase};

use crate::server::{Server, on_each_version, on_oldest_and_newest, verifier};

async fn refused(client: &tokio_postgres::Client, statement: &str) -> anyhow::Result<String> {
    match client.batch_execute(statement).await {
        Ok(()) => anyhow::bail!("{statement} was done"),
        Err(error) => Ok(error
            .code()
            .context("not an answer of the server")?
            .code()
            .to_owned()),
    }
}

#[tokio::test]
async fn applications_migrate_and_read() -> anyhow::Result<()> {
    on_each_version(async |server| {
        server.grant("auth_api_1", ReadWrite);
        server.grant("billing_1", ReadWrite);
        server.grant("reports_1", ReadOnly);
        server.want.spec.extensions.insert("hstore".into());
        let begin = Instant::now();
        server.converge().await?;
        println!("converged in {:?}", begin.elapsed());
        assert_eq!(server.bring_access().await?, []);

        let auth = server.connect("auth_api_1").await?;
        auth.batch_execute(
            "CREATE TABLE accounts (id bigserial PRIMARY KEY, tags hstore);
             INSERT INTO accounts DEFAULT VALUES;
             CREATE SCHEMA own;
             CREATE TABLE own.things (id int);
             CREATE VIEW own.view AS SELECT * FROM own.things;
             CREATE EXTENSION pgcrypto",
        )
        .await?;
        // Another application changes what the first one made.
        let billing = server.connect("billing_1").await?;
        billing
            .batch_execute("ALTER TABLE accounts ADD email text; ALTER SCHEMA own RENAME TO shared")
            .await?;
        let reports = server.connect("reports_1").await?;
        reports
            .batch_execute("SELECT email FROM accounts; SELECT * FROM shared.view")
            .await?;
        assert_eq!(
            server.bring_access().await?,
            [],
            "what migrations make is as it should be"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn who_only_reads_can_write_nothing() -> anyhow::Result<()> {
    on_each_version(async |server| {
        server.grant("auth_api_1", ReadWrite);
        server.grant("reports_1", ReadOnly);
        server.converge().await?;
        let auth = server.connect("auth_api_1").await?;
        auth.batch_execute("CREATE TABLE accounts (id bigserial PRIMARY KEY)")
            .await?;

        let reports = server.connect("reports_1").await?;
        assert_eq!(
            refused(&reports, "INSERT INTO accounts DEFAULT VALUES").await?,
            "25006"
        );
        reports
            .batch_execute("SET default_transaction_read_only = off")
            .await?;
        for statement in [
            "INSERT INTO accounts DEFAULT VALUES",
            "UPDATE accounts SET id = 1",
            "DELETE FROM accounts",
            "TRUNCATE accounts",
            "SELECT nextval('accounts_id_seq')",
            "SELECT * FROM accounts FOR UPDATE",
            "CREATE TABLE mine (id int)",
            "CREATE TEMPORARY TABLE mine (id int)",
            "CREATE SCHEMA mine",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "ALTER TABLE accounts ADD x int",
            "DROP TABLE accounts",
            "SELECT lo_create(0)",
            "SELECT lo_creat(-1)",
            "SELECT lo_from_bytea(0, '')",
            "SET ROLE accounts_db_owner",
            "SET ROLE accounts_db_writer",
            "SET ROLE auth_api_1",
            "SET ROLE postgres",
            "SET SESSION AUTHORIZATION auth_api_1",
            "GRANT accounts_db_owner TO reports_1",
            "CREATE ROLE mine",
            "CREATE DATABASE mine",
            "CREATE EXTENSION hstore",
            "ALTER DATABASE accounts_db SET role = 'accounts_db_owner'",
            "COPY accounts TO PROGRAM 'true'",
            "SELECT pg_read_file('PG_VERSION')",
        ] {
            assert_eq!(refused(&reports, statement).await?, "42501", "{statement}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn nobody_gets_in_without_a_grant() -> anyhow::Result<()> {
    on_oldest_and_newest(async |server| {
        server.grant("auth_api_1", ReadWrite);
        server.converge().await?;
        let by_hand = server.by_hand("postgres").await?;
        by_hand
            .batch_execute("CREATE ROLE stranger SUPERUSER LOGIN PASSWORD 'stranger'")
            .await?;
        for (database, role) in [
            ("accounts_db", "stranger"),
            ("postgres", "stranger"),
            ("postgres", "auth_api_1"),
            ("template1", "auth_api_1"),
            ("accounts_db", "postgres"),
            ("accounts_db", "accounts_db_owner"),
        ] {
            let error = server
                .connect_to(database, role)
                .await
                .err()
                .context("it got in")?;
            let error = format!("{error:#}");
            assert!(
                error.contains("pg_hba.conf rejects connection"),
                "{database} {role}: {error}"
            );
        }
        // It is reported and left alone.
        assert_eq!(
            server.observe().await?.foreign_logins().collect::<Vec<_>>(),
            ["stranger"]
        );
        assert_eq!(server.bring_access().await?, []);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_grant_taken_away_ends_connections_and_keeps_data() -> anyhow::Result<()> {
    on_each_version(async |server| {
        server.grant("auth_api_1", ReadWrite);
        server.grant("billing_1", ReadWrite);
        server.converge().await?;
        let auth = server.connect("auth_api_1").await?;
        // A pool's reset drops the role; what is made then is the login's own.
        auth.batch_execute("DISCARD ALL").await?;
        auth.batch_execute(
            "CREATE TABLE kept (id int); INSERT INTO kept VALUES (7);
             CREATE SCHEMA own; CREATE TYPE own.mood AS ENUM ('well'); SELECT lo_create(4711)",
        )
        .await?;
        let billing = server.connect("billing_1").await?;
        billing.batch_execute("INSERT INTO kept VALUES (8)").await?;

        server.withdraw("auth_api_1");
        server.configure().await?;
        let steps = server.bring_access().await?;
        assert!(
            matches!(steps[..], [AccessStep::DropLogin { .. }]),
            "{steps:?}"
        );
        assert!(
            auth.batch_execute("SELECT 1").await.is_err(),
            "its connection has ended"
        );
        assert!(server.connect("auth_api_1").await.is_err());
        let sum: i64 = billing
            .query_one("SELECT sum(id) FROM kept", &[])
            .await?
            .get(0);
        assert_eq!(sum, 15);
        billing
            .batch_execute("DROP TABLE kept; DROP SCHEMA own CASCADE; SELECT lo_unlink(4711)")
            .await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn read_only_flipped_holds_at_once() -> anyhow::Result<()> {
    on_each_version(async |server| {
        server.grant("auth_api_1", ReadWrite);
        server.converge().await?;
        let before = server.connect("auth_api_1").await?;
        before.batch_execute("CREATE TABLE t (id int)").await?;
        before.batch_execute("DISCARD ALL").await?;
        before.batch_execute("CREATE TABLE own (id int)").await?;

        server.grant("auth_api_1", ReadOnly);
        server.converge().await?;
        assert!(
            before
                .batch_execute("INSERT INTO t VALUES (1)")
                .await
                .is_err()
        );
        assert!(
            before.is_closed(),
            "what it could do before, it cannot do on"
        );
        let after = server.connect("auth_api_1").await?;
        after
            .batch_execute("SELECT * FROM t; SET default_transaction_read_only = off")
            .await?;
        assert_eq!(refused(&after, "INSERT INTO t VALUES (1)").await?, "42501");

        server.grant("auth_api_1", ReadWrite);
        server.converge().await?;
        assert!(
            after.batch_execute("SELECT 1").await.is_err(),
            "it is to begin anew"
        );
        let again = server.connect("auth_api_1").await?;
        again
            .batch_execute("INSERT INTO t VALUES (1); ALTER TABLE t ADD x int")
            .await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_password_changes_without_ending_connections_and_a_lock_ends_them() -> anyhow::Result<()>
{
    on_oldest_and_newest(async |server| {
        server.grant("auth_api_1", ReadWrite);
        server.converge().await?;
        let client = server.connect("auth_api_1").await?;
        server.want.spec.logins[0].verifier = Some(boma_instance::Secret::new(verifier("another")));
        server.converge().await?;
        client.batch_execute("SELECT 1").await?;
        assert!(
            server.connect("auth_api_1").await.is_err(),
            "the old password is void"
        );

        server.want.spec.logins[0].verifier = None;
        // The files still admit it: the role alone is locked.
        server.bring_access().await?;
        assert!(client.batch_execute("SELECT 1").await.is_err());
        assert!(server.connect("auth_api_1").await.is_err());
        assert_eq!(server.bring_access().await?, []);
        Ok(())
    })
    .await
}

/// Dies after each step of a plan in turn; what is left is finished by the next pass.
async fn die_after_each_step(
    server: &mut Server,
    change: impl Fn(&mut Server),
    back: impl Fn(&mut Server),
) -> anyhow::Result<()> {
    for survived in 0.. {
        change(server);
        server.configure().await?;
        let mut controls = server.controls();
        let steps = access::plan(
            &server.want.spec,
            &controls.look(&server.want.spec).await?.1,
        );
        for step in steps.iter().take(survived) {
            controls.act(step).await?;
            // The acknowledgement is lost, so the step is done once more.
            controls.act(step).await?;
        }
        drop(controls);
        server.bring_access().await?;
        assert_eq!(server.bring_access().await?, []);
        if survived >= steps.len() {
            return Ok(());
        }
        back(server);
        server.converge().await?;
    }
    Ok(())
}

#[tokio::test]
async fn it_converges_wherever_it_dies() -> anyhow::Result<()> {
    on_oldest_and_newest(async |server| {
        server.grant("auth_api_1", ReadWrite);
        server.grant("reports_1", ReadOnly);
        server.converge().await?;
        let by_hand = server.by_hand("postgres").await?;
        by_hand.batch_execute("DROP DATABASE accounts_db").await?;
        // The first plan, from a new cluster on, and back to one.
        for survived in 0..30 {
            let mut controls = server.controls();
            let steps = access::plan(
                &server.want.spec,
                &controls.look(&server.want.spec).await?.1,
            );
            for step in steps.iter().take(survived) {
                controls.act(step).await?;
                controls.act(step).await?;
            }
            drop(controls);
            server.bring_access().await?;
            assert_eq!(server.bring_access().await?, []);
            server.connect("auth_api_1").await?;
            by_hand
                .batch_execute("DROP DATABASE accounts_db WITH (FORCE)")
                .await?;
            for role in [
                "auth_api_1",
                "reports_1",
                "accounts_db_owner",
                "accounts_db_reader",
                "accounts_db_writer",
            ] {
                by_hand.batch_execute(&format!("DROP ROLE {role}")).await?;
            }
            if survived >= steps.len() {
                break;
            }
        }
        // A grant flipped and another one taken away.
        server.converge().await?;
        die_after_each_step(
            server,
            |server| {
                server.grant("auth_api_1", ReadOnly);
                server.withdraw("reports_1");
            },
            |server| {
                server.grant("auth_api_1", ReadWrite);
                server.grant("reports_1", ReadOnly);
            },
        )
        .await
    })
    .await
}

#[tokio::test]
async fn a_spare_database_is_renamed() -> anyhow::Result<()> {
    on_oldest_and_newest(async |server| {
        let by_hand = server.by_hand("postgres").await?;
        by_hand
            .batch_execute("CREATE DATABASE boma_spare TEMPLATE template0")
            .await?;
        server.grant("auth_api_1", ReadWrite);
        server.configure().await?;
        let begin = Instant::now();
        let steps = server.bring_access().await?;
        println!("converged in {:?}", begin.elapsed());
        let as_planned_unseen = access::plan(&server.want.spec, &SeenDatabase::default());
        assert_eq!(
            steps, as_planned_unseen,
            "a new cluster needs no look before its plan, and no second plan"
        );
        let spares = "SELECT FROM pg_database WHERE datname = 'boma_spare'";
        assert!(by_hand.query(spares, &[]).await?.is_empty());
        server
            .connect("auth_api_1")
            .await?
            .batch_execute("CREATE TABLE t (id int)")
            .await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_step_that_fails_is_named_and_the_others_are_done() -> anyhow::Result<()> {
    on_oldest_and_newest(async |server| {
        server.grant("auth_api_1", ReadWrite);
        server.converge().await?;
        let by_hand = server.by_hand(&server.want.spec.database).await?;
        by_hand
            .batch_execute("ALTER SCHEMA public OWNER TO postgres")
            .await?;
        let maker = "nobody_1".to_owned();
        let steps = [
            AccessStep::OwnPublic,
            AccessStep::SetDefaultPrivileges { maker },
            AccessStep::CloseLargeObjects,
        ];
        let error = server.controls().act_all(&steps).await.unwrap_err();
        let text = boma_problem::IntoProblem::problem(&error).to_string();
        assert!(
            text.contains("set privileges of what nobody_1 will make"),
            "{text}"
        );
        let seen = server.observe().await?;
        let owner = seen.objects.and_then(|objects| objects.public_owner);
        assert_eq!(owner.as_deref(), Some("pg_database_owner"));
        Ok(())
    })
    .await
}
