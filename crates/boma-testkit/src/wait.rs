//! Waiting for what will come, and finding a place to listen.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::Context;

/// How often a condition is looked at. Short enough not to slow a test down, long enough to leave
/// the CPU to what is waited for.
const INTERVAL: Duration = Duration::from_millis(10);

/// Waits until a condition holds: `Ok` is its result, `Err` says how things stand meanwhile.
///
/// Gives up after `max` with an error that says how things stood last.
pub async fn eventually<T>(
    max: Duration,
    mut condition: impl AsyncFnMut() -> Result<T, String>,
) -> anyhow::Result<T> {
    let begin = Instant::now();
    loop {
        match condition().await {
            Ok(value) => return Ok(value),
            Err(status) if begin.elapsed() >= max => {
                anyhow::bail!(
                    "waited {:.1} s in vain; at last: {status}",
                    max.as_secs_f32()
                )
            }
            Err(_) => tokio::time::sleep(INTERVAL).await,
        }
    }
}

/// A loopback address and port that nothing listens on.
///
/// Another process could take it before it is used; the address is a random one of 16 million
/// where the system has them, so that tests side by side do not.
pub fn free_loopback_address() -> anyhow::Result<SocketAddr> {
    let mut bytes = [0_u8; 3];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .context("get random bytes")?;
    let [a, b, c] = bytes;
    let random = IpAddr::V4(Ipv4Addr::new(127, a.clamp(1, 254), b, c.clamp(1, 254)));
    let listener = TcpListener::bind((random, 0))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .context("find a free port on a loopback address")?;
    listener
        .local_addr()
        .context("read the address that was found")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_status_is_reported() {
        let mut tries = 0;
        let error = eventually::<()>(Duration::ZERO, async || {
            tries += 1;
            Err(format!("try {tries}"))
        })
        .await
        .unwrap_err();
        assert_eq!(error.to_string(), "waited 0.0 s in vain; at last: try 1");
    }

    #[tokio::test]
    async fn it_waits_until_the_condition_holds() -> anyhow::Result<()> {
        let mut tries = 0;
        let value = eventually(Duration::from_secs(10), async || {
            tries += 1;
            if tries == 3 {
                Ok(tries)
            } else {
                Err(format!("try {tries}"))
            }
        })
        .await?;
        assert_eq!(value, 3);
        Ok(())
    }

    #[test]
    fn a_free_address_can_be_bound() -> anyhow::Result<()> {
        let address = free_loopback_address()?;
        assert!(address.ip().is_loopback());
        drop(TcpListener::bind(address)?);
        Ok(())
    }
}
