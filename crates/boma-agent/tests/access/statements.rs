//! What a database spends its time with, and what is not told of it.

use boma_instance::Access;
use boma_instance::statements::{EXTENSION, Statements};

use crate::server::on_each_version;

#[tokio::test]
async fn statements_are_counted_where_a_manifest_asks_for_it() -> anyhow::Result<()> {
    on_each_version(async |server| {
        server.grant("rita", Access::ReadWrite);
        server.converge().await?;
        let none = server.controls().statements().await?;
        assert_eq!(none, Statements::NotCounted);

        // The library is not loaded until the server is restarted.
        server.want.spec.extensions.insert(EXTENSION.to_owned());
        server.converge().await?;
        let none = server.controls().statements().await?;
        assert_eq!(none, Statements::NotCounted);
        server.restart(&server.installation()?).await?;

        let rita = server.connect("rita").await?;
        for number in 1..=5 {
            let query = format!("SELECT count(*) FROM pg_class WHERE relname = 's3cret-{number}'");
            rita.simple_query(&query).await?;
        }
        let by_hand = server.by_hand("accounts_db").await?;
        let statement = "ALTER ROLE rita PASSWORD 's3cret-6'";
        by_hand.batch_execute(statement).await?;
        let seen = server.controls().statements().await?;
        let Statements::Counted { since, all_ms, top } = &seen else {
            anyhow::bail!("{seen:?}");
        };
        assert!(since.is_some() && *all_ms > 0.0, "{seen:?}");
        let found = top.iter().find(|one| one.text.contains("relname = $1"));
        let found = found.ok_or_else(|| anyhow::anyhow!("{seen:?}"))?;
        assert_eq!((found.calls, found.rows), (5, 5));
        // Its sessions work with the rights of the group.
        assert!(
            ["rita", "accounts_db_owner"].contains(&&*found.role),
            "{found:?}"
        );
        let told = format!("{seen:?}");
        assert!(
            !told.contains("s3cret") && !told.contains("ALTER"),
            "{told}"
        );

        // Should somebody count such statements, their words stay where they are.
        by_hand
            .batch_execute("SET pg_stat_statements.track_utility = on")
            .await?;
        by_hand.batch_execute(statement).await?;
        let told = format!("{:?}", server.controls().statements().await?);
        assert!(told.contains("\"ALTER …\""), "{told}");
        assert!(!told.contains("s3cret"), "{told}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_only_looks_like_the_extension_is_not_called() -> anyhow::Result<()> {
    on_each_version(async |server| {
        server.grant("mallory", Access::ReadWrite);
        server.converge().await?;
        let mallory = server.connect("mallory").await?;
        mallory
            .batch_execute(
                "CREATE FUNCTION public.pg_stat_statements(boolean) RETURNS SETOF integer
                 LANGUAGE plpgsql AS $$ BEGIN CREATE ROLE intruder SUPERUSER; END $$",
            )
            .await?;
        let none = server.controls().statements().await?;
        assert_eq!(none, Statements::NotCounted);
        let seen = server.observe().await?;
        assert!(!seen.roles.contains_key("intruder"));
        Ok(())
    })
    .await
}
