//! The smallest database that there can be, under limits that are enforced.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use boma_instance::MajorVersion;

use crate::installation::Installation;
use crate::manifests::database;

/// Most memory that an agent may ever have had of its own. Pages of its program are not counted: the
/// kernel takes them away when memory is short, and those of a build for tests are many.
const AGENT_MIB: u64 = 96;

/// How often the kernel has killed something for memory in each control group of an instance.
fn killed(short: &str) -> Vec<u64> {
    let files = [
        format!("/sys/fs/cgroup/memory/boma/{short}/memory.oom_control"),
        format!("/sys/fs/cgroup/boma/{short}/memory.events"),
    ];
    let texts = files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok());
    let counts = texts.filter_map(|text| {
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count?.trim().parse().ok()
    });
    counts.collect()
}

/// Most memory that the agent of an installation ever had of its own, in MiB.
fn agent_memory(boma: &Installation) -> Result<u64> {
    for pid in boma.processes() {
        let process = Path::new("/proc").join(pid.to_string());
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        if !String::from_utf8_lossy(&line).contains("\0agent\0--dir\0") {
            continue;
        }
        let status = fs::read_to_string(process.join("status"))?;
        let kib = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|text| text.trim().strip_suffix(" kB"));
            Ok(number.context(name.to_owned())?.parse()?)
        };
        return Ok(kib("VmHWM:")?.saturating_sub(kib("RssFile:")?) / 1024);
    }
    anyhow::bail!("no agent runs")
}

#[test]
fn the_smallest_database_is_backed_up_and_proved_within_its_memory() -> Result<()> {
    let boma = Installation::on_disk()?.only(MajorVersion::V17);
    let small = database("orders", "deletionProtection: false")
        .replace("memory: 256Mi", "memory: 128Mi")
        .replace("size: 1Gi", "size: 4Gi")
        .replace(
            "backupConfig: {enabled: false}",
            "backupConfig: {archiveIntervalSeconds: 1}",
        );
    boma.write("db.yaml", &small)?;
    boma.apply()?;
    let fill = "create table n as select i, md5(i::text) as text from generate_series(1, 1500000) i; \
                create index on n(text)";
    boma.boma(["psql", "orders", "--", "-Atqc", fill])?.ok()?;
    boma.boma(["backup", "create", "orders"])?.ok()?;
    let proved = boma.boma(["backup", "drill", "orders"])?.ok()?;
    ensure!(proved.contains("1500000 rows"), "{proved}");
    let most = agent_memory(&boma)?;
    ensure!(most <= AGENT_MIB, "the agent had {most} MiB");
    // Where limits are enforced: nothing was killed for them.
    let instances = fs::read_dir(boma.state().join("instances"))?;
    for instance in instances {
        let name = instance?.file_name().to_string_lossy().into_owned();
        let counts = killed(&name[..8]);
        ensure!(counts.iter().all(|count| *count == 0), "{name}: {counts:?}");
    }
    Ok(())
}
