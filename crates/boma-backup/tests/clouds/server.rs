//! A server of objects, started for one test.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use boma_testkit::{eventually, free_loopback_address};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Python and Node take seconds to start on a busy machine.
const LONG: Duration = Duration::from_mins(1);

/// A running server; ends with the test.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: SocketAddr,
}

/// Where the servers are installed; the script has the same rule.
pub(crate) fn installed(program: &str) -> anyhow::Result<PathBuf> {
    let place = std::env::var_os("BOMA_TEST_STORES_DIR")
        .map_or_else(|| PathBuf::from("/var/cache/boma/stores"), PathBuf::from);
    let program = place.join(program);
    anyhow::ensure!(
        program.is_file(),
        "`{}` is not there: run scripts/install-test-stores.sh",
        program.display()
    );
    Ok(program)
}

impl Server {
    /// Starts a program and waits until it answers.
    pub(crate) async fn start(
        program: &str,
        arguments: impl FnOnce(SocketAddr) -> Vec<String>,
    ) -> anyhow::Result<Self> {
        let address = free_loopback_address()?;
        let process = Command::new(installed(program)?)
            .args(arguments(address))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("start {program}"))?;
        let server = Self { process, address };
        eventually(LONG, async || {
            TcpStream::connect(address)
                .await
                .map(drop)
                .map_err(|error| error.to_string())
        })
        .await?;
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends a request without a body, and returns the status line.
    pub(crate) async fn ask(&self, what: &str, headers: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(self.address).await?;
        let request = format!(
            "{what} HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\nconnection: close\r\n{headers}\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer);
        Ok(answer.lines().next().unwrap_or_default().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
