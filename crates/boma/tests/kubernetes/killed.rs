//! Boma dies before each of its writes in turn; the next one finishes what it began.

use anyhow::{Result, ensure};

use crate::cluster::Cluster;

/// More writes than one database and its application take.
const MOST_WRITES: usize = 20;

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn dying_before_any_write_is_repaired_by_the_next_apply() -> Result<()> {
    let mut walked = 0;
    let cluster = Cluster::new()?;
    for write in 0..MOST_WRITES {
        // A database of its own each time: what is there already is not written.
        let (database, application) = (format!("db-{write}"), format!("api-{write}"));
        cluster.database(&database, "")?;
        cluster.application(&application, &database)?;
        let at = write.to_string();
        let dying = [("BOMA_TEST_DIE_AT_WRITE", at.as_str())];
        let died = cluster.boma_with(&["apply", "--patience", "120", "."], &dying)?;
        let survived = died.code == 0;
        cluster.apply()?;
        // One pod is a client of each in turn: starting another takes longer than all the rest.
        if write == 0 {
            cluster.client(&application, &database)?;
        }
        let said = cluster.query_in("api-0", &application, &database, "select session_user")?;
        assert_eq!(said, format!("api_{write}_1"));
        cluster.apply_again()?;
        // Room for the next one.
        cluster.database(&database, ", suspended: true")?;
        if survived {
            walked = write;
            break;
        }
    }
    ensure!(walked > 8, "only {walked} writes were walked over");
    Ok(())
}
