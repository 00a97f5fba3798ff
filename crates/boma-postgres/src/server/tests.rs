use boma_instance::InstanceId;
use boma_testkit::{ScratchDir, become_unprivileged, free_loopback_address};

use super::*;
use crate::cluster::{NewCluster, make};
use crate::programs::Installation;
use crate::testing::installations;

const LONG: Duration = Duration::from_mins(1);

/// A cluster that can be started, in a scratch directory.
struct Host {
    scratch: ScratchDir,
    installation: Installation,
    listen: std::net::SocketAddr,
}

impl Host {
    fn new(installation: &Installation) -> anyhow::Result<Self> {
        let host = Self {
            scratch: ScratchDir::new()?,
            installation: installation.clone(),
            listen: free_loopback_address()?,
        };
        let new = NewCluster {
            installation,
            directory: &host.data(),
            instance: InstanceId(uuid::Uuid::new_v4()),
        };
        make(&new, None, &mut |_| {})?;
        host.configure(host.listen)?;
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid())?;
        let name = user.map(|user| user.name).unwrap_or_default();
        std::fs::write(
            host.data().join("pg_hba.conf"),
            "local all all peer map=me\n",
        )?;
        std::fs::write(
            host.data().join("pg_ident.conf"),
            format!("me {name} postgres\n"),
        )?;
        Ok(host)
    }

    fn configure(&self, listen: std::net::SocketAddr) -> anyhow::Result<()> {
        let text = format!(
            "listen_addresses = '{}'\nport = {}\nunix_socket_directories = '{}'\n",
            listen.ip(),
            listen.port(),
            self.scratch.path().display()
        );
        Ok(std::fs::write(
            self.data().join("postgresql.auto.conf"),
            text,
        )?)
    }

    fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.scratch.path().join("postgres.log")
    }

    async fn start(&self) -> Result<Running, StartError> {
        start(
            &Launch {
                installation: &self.installation,
                data: &self.data(),
                log: &self.log(),
                socket_directory: self.scratch.path(),
                listen: self.listen,
            },
            LONG,
        )
        .await
    }

    async fn connect(&self) -> anyhow::Result<tokio_postgres::Client> {
        let (client, connection) = tokio_postgres::Config::new()
            .host_path(self.scratch.path())
            .port(self.listen.port())
            .user("postgres")
            .dbname("postgres")
            .connect(tokio_postgres::NoTls)
            .await?;
        tokio::spawn(connection);
        Ok(client)
    }
}

#[tokio::test]
async fn each_version_starts_answers_is_adopted_and_stops() -> anyhow::Result<()> {
    become_unprivileged()?;
    for installation in installations()? {
        let host = Host::new(&installation)?;
        assert!(adopt(&host.data())?.is_none());
        let begin = std::time::Instant::now();
        let running = host.start().await?;
        println!("{}: started in {:?}", installation.version, begin.elapsed());
        let client = host.connect().await?;
        let row = client.query_one("SHOW server_version", &[]).await?;
        assert!(
            row.get::<_, String>(0)
                .starts_with(&installation.version.to_string())
        );
        let state = running.state()?.unwrap();
        assert_eq!(state.state, ServerState::Ready);
        assert_eq!(state.port, Some(host.listen.port()));

        let adopted = adopt(&host.data())?.expect("it runs");
        assert_eq!(adopted.pid(), running.pid());
        assert!(adopted.ready(LONG).await?);
        let problem = host.start().await.unwrap_err().problem();
        assert_eq!(problem.code, "server-runs-already");

        let exit = adopted.stop(StopMode::Fast, LONG).await?;
        assert_eq!(exit.status, None);
        let exit = running.exited().await;
        assert_eq!(exit.status.and_then(|status| status.code()), Some(0));
        assert!(adopt(&host.data())?.is_none());
        assert!(running.state()?.is_none());
    }
    Ok(())
}
