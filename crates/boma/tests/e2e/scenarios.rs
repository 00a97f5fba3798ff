//! The scenarios that hold on every platform, with processes on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use boma_testkit::Ran;
use boma_testkit::scenario::{Stage, play};

use crate::each::each_scenario;
use crate::installation::{Installation, client};

each_scenario! { [] on_this_machine }

fn on_this_machine(file: &Path) -> Result<()> {
    // Where the files are in memory they count as the server's, and the databases are small.
    play(file, &mut Local(Installation::on_disk()?))
}

struct Local(Installation);

impl Local {
    /// Boma, ready to run where the manifests are.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.0.command();
        command.args(arguments).current_dir(self.0.manifests());
        command
    }

    /// What Boma has written down: what was done and seen, and when it has told an agent something.
    fn written(&self) -> Result<(Vec<String>, Vec<SystemTime>)> {
        let told = [&["audit"][..], &["events", "--json"]];
        let told = told.map(|told| self.boma(told, "")?.ok());
        let instances = fs::read_dir(self.0.state().join("instances"))?;
        let mut assigned = Vec::new();
        for instance in instances {
            let assignment = instance?.path().join("assignment.json");
            assigned.push(fs::metadata(assignment)?.modified()?);
        }
        Ok((told.into_iter().collect::<Result<_>>()?, assigned))
    }

    /// The environment that an application is given now.
    fn environment(&self, application: &str) -> Result<serde_json::Value> {
        let asked = ["env", application, "--reveal", "--output", "json"];
        let told = Ran::from(&self.command(&asked).output()?).ok()?;
        Ok(serde_json::from_str(&told)?)
    }
}

impl Stage for Local {
    fn manifests(&self) -> PathBuf {
        self.0.manifests()
    }

    fn given(&self) -> Vec<(&'static str, String)> {
        let source = "{command: [tail, -f, /dev/null]}";
        vec![("PROJECT", "shop".into()), ("SOURCE", source.into())]
    }

    fn patience(&self) -> Duration {
        Duration::from_mins(2)
    }

    fn boma(&self, arguments: &[&str], input: &str) -> Result<Ran> {
        let file = self.0.path("input");
        fs::write(&file, input)?;
        let mut command = self.command(arguments);
        let output = command.stdin(fs::File::open(file)?).output()?;
        self.0.has_told(&output.stdout)?;
        self.0.has_told(&output.stderr)?;
        Ok(Ran::from(&output))
    }

    fn apply_again(&self) -> Result<Ran> {
        let before = self.written()?;
        let ran = self.boma(&["apply", "."], "")?;
        let after = self.written()?;
        ensure!(before == after, "something was written: {ran}");
        Ok(ran)
    }

    fn start(&self, application: &str, _: usize) -> Result<String> {
        let environment = self.environment(application)?;
        let url = environment["DATABASE_URL"].as_str();
        Ok(url.context("it is given no database")?.to_owned())
    }

    fn psql(&self, started: &str) -> Result<Command> {
        Ok(client(started))
    }

    fn variable(&self, application: &str, name: &str) -> Result<String> {
        let asked = ["get", &format!("application/{application}"), "-o", "json"];
        let told = self.boma(&asked, "")?.ok()?;
        let told: serde_json::Value = serde_json::from_str(&told)?;
        let pid = told[0]["computed"]["process"]["pid"].as_u64();
        let pid = pid.with_context(|| format!("it does not run: {told}"))?;
        let environment = fs::read(format!("/proc/{pid}/environ"))?;
        let environment = String::from_utf8(environment)?;
        let prefix = format!("{name}=");
        let mut variables = environment.split('\0');
        let value = variables.find_map(|line| line.strip_prefix(&prefix));
        Ok(value.context("it runs without that")?.to_owned())
    }

    fn repository(&mut self, name: &str) -> Result<()> {
        let file = self.0.state().join("config.toml");
        let (text, place) = (fs::read_to_string(&file)?, self.0.path(name));
        let place = place.display();
        let section = format!("[repositories.{name}]\ntype = \"directory\"\npath = \"{place}\"\n");
        Ok(fs::write(&file, format!("{text}\n{section}"))?)
    }
}
