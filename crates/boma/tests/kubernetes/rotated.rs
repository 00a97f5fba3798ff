//! Passwords that are exchanged on request.

use anyhow::{Result, ensure};
use boma_testkit::eventually;

use crate::cluster::{Cluster, PATIENCE};

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_password_is_exchanged_and_the_former_user_is_locked_once_nobody_needs_it() -> Result<()>
{
    let cluster = Cluster::new()?;
    cluster.database("accounts", "")?;
    cluster.application("api", "accounts")?;
    cluster.apply()?;
    cluster.client("api", "accounts")?;
    assert_eq!(cluster.query("api", "select session_user")?, "api_1");
    cluster.boma(&["rotate", "api"])?.code(4)?;
    let again = cluster.boma(&["rotate", "api"])?.code(4)?;
    ensure!(again.contains("is being exchanged already"), "{again}");
    let nobody = cluster.boma(&["rotate", "nobody"])?;
    ensure!(nobody.code == 1, "{nobody:?}");

    // The application runs elsewhere: it has both until it uses the new one.
    let waiting = cluster.boma(&["apply", "--patience", "60", "."])?;
    ensure!(
        waiting.stderr.contains("pick up its new environment"),
        "{waiting:?}"
    );
    assert_eq!(cluster.query("api", "select session_user")?, "api_1");
    cluster.kubectl(&["delete", "pod", "api", "--now"])?;
    cluster.client("api", "accounts")?;
    assert_eq!(cluster.query("api", "select session_user")?, "api_2");
    // A session that lasts until an agent looks by itself, once a minute.
    let session = "psql \"$DATABASE_URL\" -c 'select pg_sleep(170)' >/dev/null 2>&1 &";
    cluster.kubectl(&["exec", "api", "--", "sh", "-c", session])?;
    eventually(PATIENCE, async || {
        let said = |error: anyhow::Error| error.to_string();
        let applied = cluster
            .boma(&["apply", "--patience", "20", "."])
            .map_err(said)?;
        let open = "select rolcanlogin from pg_roles where rolname = 'api_1'";
        match cluster.query("api", open).map_err(said)?.as_str() {
            "f" => Ok(()),
            _ => Err(format!("the former user may connect: {applied:?}")),
        }
    })
    .await?;
    cluster.boma(&["rotate", "api", "--tls"])?.code(2)?;
    let key = cluster.boma(&["rotate", "--key"])?.code(1)?;
    ensure!(key.contains("on this machine only"), "{key}");
    cluster.apply_again()
}
