//! What people break by hand is mended; what they made is left alone.

use anyhow::Context;
use boma_instance::Access::{ReadOnly, ReadWrite};

use crate::server::on_oldest_and_newest;

/// Things broken by hand, each by the superuser in the instance's database.
const BROKEN: &[&str] = &[
    "REVOKE accounts_db_owner FROM auth_api_1",
    "REVOKE accounts_db_reader FROM reports_1",
    "GRANT accounts_db_owner TO reports_1",
    "GRANT accounts_db_owner TO auth_api_1 WITH ADMIN OPTION",
    "GRANT pg_write_all_data TO reports_1",
    "GRANT pg_read_server_files TO accounts_db_owner",
    "GRANT accounts_db_owner TO accounts_db_reader",
    "GRANT accounts_db_owner TO stranger",
    "ALTER ROLE auth_api_1 SUPERUSER",
    "ALTER ROLE auth_api_1 NOINHERIT",
    "ALTER ROLE auth_api_1 NOLOGIN",
    "ALTER ROLE auth_api_1 CONNECTION LIMIT 0",
    "ALTER ROLE auth_api_1 VALID UNTIL '2000-01-01'",
    "ALTER ROLE auth_api_1 PASSWORD NULL",
    "ALTER ROLE auth_api_1 IN DATABASE accounts_db RESET role",
    "ALTER ROLE auth_api_1 IN DATABASE accounts_db SET role = 'accounts_db_reader'",
    "ALTER ROLE reports_1 IN DATABASE accounts_db SET role = 'accounts_db_owner'",
    "ALTER ROLE reports_1 IN DATABASE accounts_db RESET ALL",
    "ALTER ROLE accounts_db_owner LOGIN SUPERUSER PASSWORD 'x'",
    "COMMENT ON ROLE auth_api_1 IS NULL",
    "COMMENT ON ROLE accounts_db_reader IS 'mine'",
    "ALTER DATABASE accounts_db OWNER TO postgres",
    "ALTER DATABASE accounts_db OWNER TO stranger",
    "GRANT ALL ON DATABASE accounts_db TO PUBLIC",
    "GRANT CREATE ON DATABASE accounts_db TO reports_1",
    "GRANT CREATE ON DATABASE accounts_db TO accounts_db_reader WITH GRANT OPTION",
    "REVOKE CONNECT ON DATABASE accounts_db FROM accounts_db_reader",
    "ALTER DATABASE accounts_db CONNECTION LIMIT 3",
    "ALTER SCHEMA public OWNER TO postgres",
    "ALTER SCHEMA public OWNER TO auth_api_1",
    "GRANT ALL ON SCHEMA public TO PUBLIC",
    "GRANT USAGE ON SCHEMA public TO PUBLIC",
    "GRANT CREATE ON SCHEMA public TO reports_1",
    "GRANT CREATE ON SCHEMA own TO PUBLIC",
    "REVOKE USAGE ON SCHEMA own FROM accounts_db_reader",
    "ALTER SCHEMA own OWNER TO postgres",
    "ALTER TABLE accounts OWNER TO postgres",
    "ALTER TABLE accounts OWNER TO auth_api_1",
    "ALTER TABLE accounts OWNER TO accounts_db_writer",
    "ALTER TYPE mood OWNER TO postgres",
    "ALTER SEQUENCE free OWNER TO postgres",
    "ALTER MATERIALIZED VIEW own.kept OWNER TO postgres",
    "GRANT INSERT ON accounts TO PUBLIC",
    "GRANT UPDATE (id) ON accounts TO reports_1",
    "GRANT INSERT (id) ON accounts TO PUBLIC",
    "GRANT ALL ON own.view TO accounts_db_reader",
    "GRANT SELECT ON accounts TO accounts_db_reader WITH GRANT OPTION",
    "GRANT USAGE ON SEQUENCE free TO reports_1",
    "REVOKE ALL ON accounts FROM accounts_db_reader",
    "REVOKE ALL ON accounts FROM accounts_db_writer",
    "REVOKE SELECT ON SEQUENCE accounts_id_seq FROM accounts_db_reader",
    "GRANT EXECUTE ON FUNCTION lo_create(oid) TO PUBLIC",
    "ALTER DEFAULT PRIVILEGES FOR ROLE accounts_db_owner REVOKE ALL ON TABLES FROM accounts_db_reader",
    "ALTER DEFAULT PRIVILEGES FOR ROLE accounts_db_owner GRANT INSERT ON TABLES TO PUBLIC",
    "ALTER DEFAULT PRIVILEGES FOR ROLE accounts_db_owner GRANT ALL ON SEQUENCES TO accounts_db_reader",
    "ALTER DEFAULT PRIVILEGES FOR ROLE auth_api_1 REVOKE ALL ON SCHEMAS FROM accounts_db_reader",
    "DROP EXTENSION hstore",
    "CREATE TABLE by_hand (id int)",
    "CREATE SCHEMA by_hand CREATE TABLE inside (id int)",
    "SET ROLE auth_api_1; CREATE TABLE despite (id int); RESET ROLE",
    "DROP SCHEMA own CASCADE",
];

/// What the application made, to be broken.
const MADE: &str = "
    CREATE TABLE accounts (id bigserial PRIMARY KEY);
    CREATE SEQUENCE free;
    CREATE TYPE mood AS ENUM ('well');
    CREATE SCHEMA own;
    CREATE VIEW own.view AS SELECT * FROM accounts;
    CREATE MATERIALIZED VIEW own.kept AS SELECT * FROM accounts";

/// That it works for the application, and for the one that only reads.
async fn works(server: &crate::server::Server) -> anyhow::Result<()> {
    let auth = server.connect("auth_api_1").await?;
    auth.batch_execute(
        "INSERT INTO accounts DEFAULT VALUES; ALTER TABLE accounts ADD x int; ALTER TABLE accounts DROP x;
         CREATE TABLE fresh (id int)",
    )
    .await?;
    let reports = server.connect("reports_1").await?;
    reports
        .batch_execute("SELECT * FROM accounts, fresh, free")
        .await?;
    reports
        .batch_execute("SET default_transaction_read_only = off")
        .await?;
    anyhow::ensure!(
        reports
            .batch_execute("INSERT INTO fresh VALUES (1)")
            .await
            .is_err()
    );
    anyhow::ensure!(
        reports
            .batch_execute("CREATE TABLE fresh2 (id int)")
            .await
            .is_err()
    );
    auth.batch_execute("DROP TABLE fresh").await?;
    Ok(())
}

#[tokio::test]
async fn what_is_broken_by_hand_is_mended() -> anyhow::Result<()> {
    on_oldest_and_newest(async |server| {
        server.grant("auth_api_1", ReadWrite);
        server.grant("reports_1", ReadOnly);
        server.want.spec.extensions.insert("hstore".into());
        server.converge().await?;
        server
            .connect("auth_api_1")
            .await?
            .batch_execute(MADE)
            .await?;
        let by_hand = server.by_hand("accounts_db").await?;
        by_hand.batch_execute("CREATE ROLE stranger LOGIN").await?;
        assert_eq!(server.bring_access().await?, []);
        for (number, broken) in BROKEN.iter().enumerate() {
            by_hand.batch_execute(broken).await?;
            let steps = server.bring_access().await.context(*broken)?;
            anyhow::ensure!(
                !steps.is_empty() || broken.starts_with("DROP SCHEMA"),
                "{broken}"
            );
            if number % 8 == 7 {
                works(server).await.context(*broken)?;
            }
        }
        works(server).await
    })
    .await
}

#[tokio::test]
async fn what_was_made_by_others_is_left_alone() -> anyhow::Result<()> {
    on_oldest_and_newest(async |server| {
        server.grant("auth_api_1", ReadWrite);
        server.grant("reports_1", ReadOnly);
        server.converge().await?;
        let by_hand = server.by_hand("accounts_db").await?;
        by_hand
            .batch_execute(
                "CREATE ROLE monitor LOGIN IN ROLE pg_monitor;
                 CREATE ROLE team NOLOGIN;
                 GRANT team TO monitor;
                 GRANT CONNECT ON DATABASE accounts_db TO monitor;
                 CREATE EXTENSION pg_stat_statements;
                 CREATE EXTENSION pg_buffercache;
                 CREATE SCHEMA watched AUTHORIZATION monitor;
                 CREATE TABLE watched.seen (id int);
                 ALTER TABLE watched.seen OWNER TO monitor;
                 CREATE FUNCTION audit() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
                 CREATE EVENT TRIGGER audit ON ddl_command_end EXECUTE FUNCTION audit();
                 ALTER ROLE monitor SET work_mem = '1MB'",
            )
            .await?;
        by_hand.batch_execute("CREATE DATABASE another").await?;
        let auth = server.connect("auth_api_1").await?;
        auth.batch_execute("SET ROLE NONE; ALTER ROLE auth_api_1 SET statement_timeout = '5s'; CREATE TABLE t (id int)").await?;
        server.bring_access().await?;
        assert_eq!(server.bring_access().await?, []);
        let row = by_hand
            .query_one(
                "SELECT pg_get_userbyid(relowner)::text,
                        (SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member
                         WHERE r.rolname = 'monitor'),
                        (SELECT pg_get_userbyid(proowner)::text FROM pg_proc WHERE proname = 'audit'),
                        (SELECT pg_get_userbyid(relowner)::text FROM pg_class
                         WHERE relname = 'pg_stat_statements'),
                        has_database_privilege('monitor', 'accounts_db', 'CONNECT')
                 FROM pg_class WHERE relname = 'seen'",
                &[],
            )
            .await?;
        assert_eq!(row.get::<_, &str>(0), "monitor");
        assert_eq!(row.get::<_, i64>(1), 2);
        // A function that a superuser's session runs must not come into an application's hands.
        assert_eq!(row.get::<_, &str>(2), "postgres");
        assert_eq!(row.get::<_, &str>(3), "postgres");
        assert!(row.get::<_, bool>(4));
        // Every table is to be read, whoever owns it.
        let reports = server.connect("reports_1").await?;
        reports.batch_execute("SELECT * FROM watched.seen").await?;
        let limit = server.connect("auth_api_1").await?.query_one("SHOW statement_timeout", &[]).await?;
        assert_eq!(limit.get::<_, String>(0), "5s");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn thousands_of_objects_are_mended_in_several_passes() -> anyhow::Result<()> {
    on_oldest_and_newest(async |server| {
        server.grant("auth_api_1", ReadWrite);
        server.grant("reports_1", ReadOnly);
        server.converge().await?;
        let by_hand = server.by_hand("accounts_db").await?;
        // As a dump leaves them that was restored by the superuser.
        by_hand
            .batch_execute(
                "DO 'BEGIN FOR i IN 1..1200 LOOP
                     EXECUTE format(''CREATE TABLE restored_%s (id serial)'', i);
                 END LOOP; END'",
            )
            .await?;
        server.bring_access().await?;
        let auth = server.connect("auth_api_1").await?;
        auth.batch_execute("ALTER TABLE restored_1200 ADD x int")
            .await?;
        let reports = server.connect("reports_1").await?;
        reports
            .batch_execute("SELECT * FROM restored_1, restored_1_id_seq")
            .await?;
        Ok(())
    })
    .await
}
