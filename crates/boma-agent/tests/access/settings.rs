//! Settings on real servers: they start with all that is derived, and say themselves what waits.

use boma_instance::Resources;
use boma_instance::settings::effective;
use boma_postgres::sql::{Override, UndoneBy};

use crate::server::on_each_version;

const GIB: u64 = 1 << 30;

#[tokio::test]
async fn servers_start_with_what_is_derived_for_any_size() -> anyhow::Result<()> {
    on_each_version(async |server| {
        for (cpu_millis, memory_bytes, storage_bytes) in
            [(1, GIB / 8, GIB), (8000, 4 * GIB, 500 * GIB)]
        {
            server.want.spec.resources = Resources {
                cpu_millis,
                memory_bytes,
                storage_bytes,
            };
            server.configure().await?;
            server.restart(&server.installation()?).await?;
            let seen = server.controls().observe_server().await?;
            assert_eq!(seen.refused, []);
            assert_eq!(seen.pending_restart, [""; 0]);
            let by_hand = server.by_hand("postgres").await?;
            for (name, value) in effective(&server.want.spec) {
                // What the server makes of the value, with its unit, against what is in force.
                let row = by_hand
                    .query_one(
                        "SELECT set_config('boma.value', current_setting($1), false),
                                (SELECT setting FROM pg_file_settings
                                 WHERE name = $1 AND applied ORDER BY seqno DESC LIMIT 1)",
                        &[&name],
                    )
                    .await?;
                assert_eq!(row.get::<_, Option<String>>(1), Some(value), "{name}");
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_server_says_what_waits_and_what_is_wrong() -> anyhow::Result<()> {
    on_each_version(async |server| {
        let parameters = &mut server.want.spec.parameters;
        parameters.insert("max_connections".into(), "33".into());
        parameters.insert("work_mem".into(), "5MB".into());
        let seen = server.configure().await?;
        assert_eq!(seen.pending_restart, ["max_connections"]);
        assert_eq!(seen.refused, []);
        assert!(
            seen.version
                .starts_with(&server.want.spec.version.to_string())
        );
        assert!(seen.system_identifier > 0 && !seen.in_recovery);
        let by_hand = server.by_hand("postgres").await?;
        let row = by_hand.query_one("SHOW work_mem", &[]).await?;
        assert_eq!(row.get::<_, String>(0), "5MB");

        server.restart(&server.installation()?).await?;
        assert_eq!(
            server.controls().observe_server().await?.pending_restart,
            [""; 0]
        );

        // Taken back: waits again. Wrong: is told of with its name.
        server.want.spec.parameters.clear();
        server
            .want
            .spec
            .parameters
            .insert("work_mem".into(), "1".into());
        let seen = server.configure().await?;
        assert_eq!(seen.pending_restart, ["max_connections"]);
        assert_eq!(seen.refused.len(), 1, "{:?}", seen.refused);
        assert_eq!(seen.refused[0].0, "work_mem");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_alter_system_left_is_seen() -> anyhow::Result<()> {
    on_each_version(async |server| {
        server.configure().await?;
        assert_eq!(server.controls().observe_server().await?.overridden, []);
        let by_hand = server.by_hand("postgres").await?;
        let done = by_hand
            .batch_execute("ALTER SYSTEM SET work_mem = '9MB'")
            .await;
        if server.want.spec.version >= boma_instance::MajorVersion::V17 {
            assert!(done.is_err(), "newer servers refuse it");
            return Ok(());
        }
        done?;
        let seen = server.configure().await?;
        assert_eq!(seen.overridden, [over("work_mem", UndoneBy::Reset)]);

        // What waits for a restart can be taken back without one; what came with one cannot.
        by_hand
            .batch_execute("ALTER SYSTEM SET max_connections = 30")
            .await?;
        let waiting = over("max_connections", UndoneBy::Reset);
        let seen = server.controls().observe_server().await?;
        assert_eq!(seen.pending_restart, ["max_connections"]);
        assert_eq!(
            seen.overridden,
            [waiting, over("work_mem", UndoneBy::Reset)]
        );
        drop(by_hand);
        server.restart(&server.installation()?).await?;
        let in_force = over("max_connections", UndoneBy::Restart);
        let seen = server.controls().observe_server().await?;
        assert_eq!(
            seen.overridden,
            [in_force.clone(), over("work_mem", UndoneBy::Reset)]
        );
        server
            .controls()
            .reset_settings(&["work_mem".to_owned()])
            .await?;
        let seen = server.controls().observe_server().await?;
        assert_eq!(seen.overridden, [in_force]);
        Ok(())
    })
    .await
}

fn over(name: &str, undone_by: UndoneBy) -> Override {
    Override {
        name: name.to_owned(),
        undone_by,
    }
}
