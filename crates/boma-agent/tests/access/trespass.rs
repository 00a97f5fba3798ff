//! What applications and people may try: names that look like SQL, objects and settings that would
//! take control sessions over, logs that could hold a verifier.

use boma_instance::Access::{ReadOnly, ReadWrite};
use boma_instance::Secret;
use boma_postgres::sql::quote;

use crate::server::{on_each_version, on_oldest_and_newest, verifier};

#[tokio::test]
async fn names_are_only_names() -> anyhow::Result<()> {
    on_oldest_and_newest(async |server| {
        let odd = r#"a"b'c\d;--$x$ é"#;
        server.want.spec.database = odd.to_owned();
        server.grant(r#"x"y'z\ w, all"#, ReadWrite);
        server.grant("reader'; DROP ROLE postgres; --", ReadOnly);
        server.want.spec.logins[0].comment = r"it's \ a 'comment'".to_owned();
        server.want.spec.logins[1].comment = "$$; DROP DATABASE postgres; $$".to_owned();
        server.converge().await?;
        let writer = server.connect(r#"x"y'z\ w, all"#).await?;
        writer
            .batch_execute(
                r#"CREATE SCHEMA "s""s'\"; CREATE TABLE "s""s'\"."t""t'\" (id int);
                   CREATE TYPE "s""s'\"."e""'\" AS ENUM ('a')"#,
            )
            .await?;
        let by_hand = server.by_hand(odd).await?;
        by_hand
            .batch_execute(
                r#"ALTER TABLE "s""s'\"."t""t'\" OWNER TO postgres;
                   ALTER TYPE "s""s'\"."e""'\" OWNER TO postgres;
                   ALTER SCHEMA "s""s'\" OWNER TO postgres"#,
            )
            .await?;
        server.bring_access().await?;
        writer
            .batch_execute(r#"ALTER TABLE "s""s'\"."t""t'\" ADD x int"#)
            .await?;
        let reader = server.connect("reader'; DROP ROLE postgres; --").await?;
        reader
            .batch_execute(r#"SELECT x FROM "s""s'\"."t""t'\""#)
            .await?;
        server.withdraw(r#"x"y'z\ w, all"#);
        server.converge().await?;
        Ok(())
    })
    .await
}

/// The server reads back exactly what was quoted, whatever `standard_conforming_strings` says.
#[tokio::test]
async fn the_server_reads_what_was_quoted() -> anyhow::Result<()> {
    on_oldest_and_newest(async |server| {
        let by_hand = server.by_hand("postgres").await?;
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let texts = proptest::string::string_regex("[\"'\\\\$;\\-/* \n\tE]{0,12}|\\PC{1,12}")?;
        for round in 0..300 {
            let tree = proptest::strategy::Strategy::new_tree(&texts, &mut runner)
                .map_err(anyhow::Error::msg)?;
            let text = proptest::strategy::ValueTree::current(&tree);
            let conforming = if round % 2 == 0 { "on" } else { "off" };
            by_hand
                .batch_execute(&format!("SET standard_conforming_strings = {conforming}"))
                .await?;
            let name = if text.is_empty() { "x" } else { &text };
            let query = format!(
                "SELECT {} AS {}",
                quote::literal(&text),
                quote::identifier(name)
            );
            let rows = by_hand.query(&query, &[]).await?;
            assert_eq!(rows[0].get::<_, String>(0), text);
            // Names are cut to 63 bytes.
            assert!(name.starts_with(rows[0].columns()[0].name()), "{name:?}");
        }
        Ok(())
    })
    .await
}

/// Objects in `public` and in temporary schemas that shadow what control sessions use.
const SHADOWS: &str = "
    CREATE TABLE public.trap (what text);
    CREATE FUNCTION public.spring(what text) RETURNS int LANGUAGE plpgsql AS
        'BEGIN
            IF session_user = ''postgres'' THEN
                ALTER ROLE auth_api_1 SUPERUSER;
            END IF;
            RETURN 1;
         END';
    CREATE FUNCTION public.aclexplode(acl aclitem[], OUT grantor oid, OUT grantee oid,
            OUT privilege_type text, OUT is_grantable boolean) RETURNS SETOF record
        LANGUAGE plpgsql AS 'BEGIN PERFORM public.spring(''aclexplode''); RETURN; END';
    CREATE FUNCTION public.starts_with(text, text) RETURNS bool LANGUAGE plpgsql AS
        'BEGIN PERFORM public.spring(''starts_with''); RETURN true; END';
    CREATE FUNCTION public.starts_with(name, name) RETURNS bool LANGUAGE plpgsql AS
        'BEGIN PERFORM public.spring(''starts_with''); RETURN true; END';
    CREATE FUNCTION public.current_database() RETURNS name LANGUAGE plpgsql AS
        'BEGIN PERFORM public.spring(''current_database''); RETURN ''x''; END';
    CREATE FUNCTION public.same(name, text) RETURNS bool LANGUAGE plpgsql AS
        'BEGIN PERFORM public.spring(''=''); RETURN true; END';
    CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = text, FUNCTION = public.same);
    CREATE FUNCTION public.same(\"char\", text) RETURNS bool LANGUAGE plpgsql AS
        'BEGIN PERFORM public.spring(''=''); RETURN true; END';
    CREATE OPERATOR public.= (LEFTARG = \"char\", RIGHTARG = text, FUNCTION = public.same);
    CREATE VIEW public.pg_authid AS SELECT public.spring('pg_authid')::text;
    CREATE VIEW public.pg_class AS SELECT public.spring('pg_class')::text;
    CREATE DOMAIN public.regclass AS text;
    CREATE TYPE public.text AS ENUM ('x');
    CREATE TEMPORARY TABLE pg_database (datname text);
    CREATE TEMPORARY TABLE pg_roles (rolname text);
    ALTER DATABASE accounts_db SET search_path = public, pg_catalog;
    SET ROLE NONE;
    ALTER ROLE auth_api_1 SET search_path = public, pg_catalog";

#[tokio::test]
async fn objects_of_an_application_do_not_reach_control_sessions() -> anyhow::Result<()> {
    on_each_version(async |server| {
        server.grant("auth_api_1", ReadWrite);
        server.converge().await?;
        let auth = server.connect("auth_api_1").await?;
        auth.batch_execute(SHADOWS).await?;
        // Every step that works inside of the database.
        let by_hand = server.by_hand("accounts_db").await?;
        by_hand
            .batch_execute(
                "SET search_path = pg_catalog; CREATE TABLE public.by_hand (id int);
                 ALTER SCHEMA public OWNER TO postgres; GRANT CREATE ON SCHEMA public TO PUBLIC;
                 ALTER DEFAULT PRIVILEGES FOR ROLE accounts_db_owner
                    REVOKE ALL ON TABLES FROM accounts_db_reader",
            )
            .await?;
        auth.batch_execute("DISCARD ALL").await?;
        auth.batch_execute("CREATE TABLE public.mine (id int)")
            .await?;
        server.want.spec.extensions.insert("hstore".into());
        server.grant("reports_1", ReadOnly);
        server.converge().await?;
        let seen = server.observe().await?;
        assert_eq!(seen.roles["auth_api_1"].powers, [""; 0]);
        assert!(!seen.roles.contains_key("trap"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn settings_of_an_owner_do_not_reach_control_sessions() -> anyhow::Result<()> {
    on_each_version(async |server| {
        server.grant("auth_api_1", ReadWrite);
        server.converge().await?;
        let auth = server.connect("auth_api_1").await?;
        for setting in [
            "role = 'accounts_db_owner'",
            "default_transaction_read_only = on",
            "default_transaction_isolation = serializable",
            "statement_timeout = 1",
            "lock_timeout = 1",
            "idle_session_timeout = 1",
            "idle_in_transaction_session_timeout = 1",
            "standard_conforming_strings = off",
            "synchronous_commit = off",
            "search_path = public",
            "client_min_messages = debug5",
            "bytea_output = escape",
            "array_nulls = off",
            "transform_null_equals = on",
            "quote_all_identifiers = on",
            "password_encryption = md5",
        ] {
            auth.batch_execute(&format!("ALTER DATABASE accounts_db SET {setting}")).await?;
        }
        if server.want.spec.version >= boma_instance::MajorVersion::V17 {
            auth.batch_execute("ALTER DATABASE accounts_db SET transaction_timeout = 1").await?;
        }
        server.grant("reports_1", ReadOnly);
        server.want.spec.extensions.insert("hstore".into());
        server.converge().await?;
        assert_eq!(server.bring_access().await?, []);
        // The database closed to everybody by its owner is opened again.
        auth.batch_execute("SELECT set_config('statement_timeout', '0', false)").await?;
        let by_hand = server.by_hand("postgres").await?;
        by_hand
            .batch_execute(
                "ALTER DATABASE accounts_db ALLOW_CONNECTIONS false CONNECTION LIMIT 0 IS_TEMPLATE true",
            )
            .await?;
        server.bring_access().await?;
        assert!(server.observe().await?.database.is_some_and(|database| database.is_open));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_login_that_changes_itself_is_set_right() -> anyhow::Result<()> {
    on_oldest_and_newest(async |server| {
        server.grant("auth_api_1", ReadWrite);
        server.grant("reports_1", ReadOnly);
        server.converge().await?;
        let reports = server.connect("reports_1").await?;
        reports.batch_execute("SET default_transaction_read_only = off").await?;
        reports
            .batch_execute(
                "ALTER ROLE reports_1 IN DATABASE accounts_db SET default_transaction_read_only = off;
                 ALTER ROLE reports_1 PASSWORD 'changed'",
            )
            .await?;
        assert!(server.connect("reports_1").await.is_err());
        server.bring_access().await?;
        let reports = server.connect("reports_1").await?;
        let row = reports.query_one("SHOW transaction_read_only", &[]).await?;
        assert_eq!(row.get::<_, String>(0), "on");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn no_verifier_reaches_the_log_or_the_statistics() -> anyhow::Result<()> {
    on_each_version(async |server| {
        server
            .want
            .spec
            .extensions
            .insert("pg_stat_statements".into());
        for (name, value) in [
            ("shared_preload_libraries", "auto_explain"),
            ("log_statement", "all"),
            ("log_duration", "on"),
            ("log_min_duration_statement", "0"),
            ("log_min_error_statement", "debug5"),
            ("log_min_messages", "debug1"),
            ("log_parameter_max_length", "-1"),
            ("log_parameter_max_length_on_error", "-1"),
            ("log_transaction_sample_rate", "1"),
            ("log_replication_commands", "on"),
            ("log_error_verbosity", "verbose"),
            ("debug_print_parse", "on"),
            ("debug_print_plan", "on"),
            ("auto_explain.log_min_duration", "0"),
            ("pg_stat_statements.track", "all"),
            ("pg_stat_statements.track_utility", "on"),
        ] {
            server
                .want
                .spec
                .parameters
                .insert(name.into(), value.into());
        }
        server.configure().await?;
        server.restart(&server.installation()?).await?;
        server.grant("auth_api_1", ReadWrite);
        server.converge().await?;
        server.want.spec.logins[0].verifier = Some(Secret::new(verifier("second")));
        server.converge().await?;
        // Failures tell of their statements, most of all.
        let by_hand = server.by_hand("accounts_db").await?;
        by_hand
            .batch_execute("BEGIN; LOCK TABLE pg_authid IN ACCESS EXCLUSIVE MODE; ROLLBACK")
            .await?;
        let mut bad = server.want.spec.logins[0].clone();
        bad.role = "pg_forbidden".into();
        let step = boma_postgres::sql::AccessStep::SetLogin(bad);
        let error = server
            .controls()
            .act(&step)
            .await
            .expect_err("the name should be refused");
        assert!(
            !format!("{error:?}").contains("SCRAM-SHA-256$"),
            "{error:?}"
        );

        assert!(
            server.log()?.contains("LOCK TABLE pg_authid"),
            "the log should be loud"
        );
        assert!(!server.log()?.contains("SCRAM-SHA-256$"));
        let row = by_hand
            .query_one(
                "SELECT count(*) FILTER (WHERE query LIKE '%SCRAM-SHA%'),
                        count(*) FILTER (WHERE query LIKE 'LOCK TABLE pg_authid%')
                 FROM pg_stat_statements",
                &[],
            )
            .await?;
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (0, 1));
        Ok(())
    })
    .await
}
