//! A disk that is full, and has space again.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::installation::{Installation, wait};
use crate::manifests::{application, database, reads, writes};

/// A small disk of its own below a directory; only root can make one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf) -> Result<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=160m,mode=755", "boma-test"])
            .arg(&at)
            .status()?;
        ensure!(mounted.success(), "mount {}: {mounted}", at.display());
        Ok(Self(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: servers that are being killed still have files open on it.
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

#[test]
fn a_full_disk_is_told_of_and_with_space_everything_goes_on() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        // Nobody else can make a small disk; continuous integration runs as root.
        return Ok(());
    }
    let boma = Installation::new()?;
    let configuration = fs::read(boma.state().join("config.toml"))?;
    let _disk = SmallDisk::mount(boma.state())?;
    fs::write(boma.state().join("config.toml"), configuration)?;
    boma.write("db.yaml", &database("orders", ""))?;
    boma.write("web.yaml", &application("web", &[writes("orders")], ""))?;
    boma.apply()?;
    boma.sql("web", "create table t as select 42 as x")?.ok()?;

    let filler = boma.state().join("filler");
    let mut file = File::create(&filler)?;
    let block = vec![7; 1 << 16];
    while file.write_all(&block).is_ok() {}
    boma.write(
        "report.yaml",
        &application("report", &[reads("orders")], ""),
    )?;
    let ran = boma.boma(["apply", "m", "--patience", "5"])?;
    ensure!(ran.code != 0, "with no space left nothing new can be made");
    ensure!(
        ran.stderr.contains("No space") || ran.stderr.contains("full"),
        "{}",
        ran.stderr
    );

    drop(file);
    fs::remove_file(&filler)?;
    wait(|| boma.apply())?;
    assert_eq!(boma.sql("report", "select x from t")?.ok()?, "42\n");
    assert_eq!(boma.boma(["plan", "m"])?.code, 0);
    Ok(())
}
