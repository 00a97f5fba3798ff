//! Applications, their environments and processes.

use std::collections::BTreeMap;

use boma_engine::keys::{ApplicationKey, SecretKey};
use boma_engine::observed::{DeliveredEnvironment, PreDeployRun};
use boma_engine::platform::Environment;
use boma_engine::printed::ApplicationSecrets;
use boma_instance::Secret;
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};

use super::{Access, StoreError};

/// A registered application.
#[derive(Clone, Debug)]
pub(crate) struct ApplicationRow {
    pub(crate) key: ApplicationKey,
    pub(crate) held: bool,
    pub(crate) delivered: Option<DeliveredEnvironment>,
    pub(crate) pre_deploy: Option<PreDeployRun>,
}

/// What a process is to its application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Its `command`.
    Main,
    /// Its `preDeploy`.
    PreDeploy,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::PreDeploy => "pre-deploy",
        }
    }
}

/// A process that was started for an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcessRow {
    pub(crate) deployment: String,
    pub(crate) pid: u32,
    /// Tells this process from a later one with the same id.
    pub(crate) birth: String,
    pub(crate) since: Timestamp,
    /// When it was seen to have ended.
    pub(crate) exited_at: Option<Timestamp>,
    /// How often in a row it ended soon after its start.
    pub(crate) failures: u32,
}

impl Access<'_> {
    /// All registered applications.
    pub(crate) fn applications(&self) -> Result<Vec<ApplicationRow>, StoreError> {
        let sql = StoreError::sql("read the applications");
        let mut query = self
            .db
            .prepare_cached(
                "SELECT key, held, fingerprint, serial, pre_deploy FROM applications ORDER BY key",
            )
            .map_err(&sql)?;
        let mut rows = query.query([]).map_err(&sql)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(&sql)? {
            found.push(application_row(row)?);
        }
        Ok(found)
    }

    /// Registers an application; one that is known stays as it is.
    pub(crate) fn register_application(&self, key: &ApplicationKey) -> Result<(), StoreError> {
        self.run(
            "register an application",
            "INSERT INTO applications (key) VALUES (?1) ON CONFLICT DO NOTHING",
            params![key.to_string()],
        )
    }

    /// Stores an environment. The serial grows only when the fingerprint is another one, so that
    /// a repeated delivery after a crash is the same delivery.
    pub(crate) fn deliver(
        &self,
        key: &ApplicationKey,
        environment: &Environment,
    ) -> Result<(), StoreError> {
        let doing = "store an environment";
        self.register_application(key)?;
        let named = self.named_secrets_of(key, environment)?;
        let mut variables: BTreeMap<&str, &str> = environment
            .plain
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let secrets = named.iter();
        variables.extend(secrets.map(|(name, value)| (*name, value.expose().as_str())));
        variables.extend(
            environment
                .bindings
                .iter()
                .map(|binding| (binding.env_var.as_str(), binding.uri.expose().as_str())),
        );
        let plain = serde_json::to_vec(&variables).map_err(StoreError::form(doing))?;
        let row = environment_row(key, &environment.fingerprint);
        let sealed = self.sealer.seal(&row, &plain)?;
        self.run(
            doing,
            "UPDATE applications SET serial = serial + (fingerprint IS NOT ?2), fingerprint = ?2, environment = ?3 \
             WHERE key = ?1",
            params![key.to_string(), environment.fingerprint, sealed],
        )
    }

    /// The values of the variables that name a secret of the project.
    fn named_secrets_of<'e>(
        &self,
        key: &ApplicationKey,
        environment: &'e Environment,
    ) -> Result<Vec<(&'e str, Secret<String>)>, StoreError> {
        let secrets = environment.secrets.iter().map(|(variable, name)| {
            let secret = SecretKey::new(key.project.clone(), name.as_str()).to_string();
            let value = self.named_secret(&secret)?;
            let value = value.ok_or(StoreError::NoSecret { secret })?;
            Ok((variable.as_str(), value))
        });
        secrets.collect()
    }

    /// The delivered environment; none: nothing was delivered.
    pub(crate) fn environment(
        &self,
        key: &ApplicationKey,
    ) -> Result<Option<ApplicationSecrets>, StoreError> {
        let doing = "read an environment";
        let row = self
            .db
            .prepare_cached(
                "SELECT fingerprint, environment FROM applications WHERE key = ?1 AND environment IS NOT NULL",
            )
            .and_then(|mut query| {
                query
                    .query_row([key.to_string()], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)))
                    .optional()
            })
            .map_err(StoreError::sql(doing))?;
        let Some((fingerprint, sealed)) = row else {
            return Ok(None);
        };
        let plain = self
            .sealer
            .open(&environment_row(key, &fingerprint), &sealed)?;
        serde_json::from_slice(&plain)
            .map(Some)
            .map_err(StoreError::form(doing))
    }

    /// Records the outcome of a `preDeploy` run.
    pub(crate) fn set_pre_deploy(
        &self,
        key: &ApplicationKey,
        run: &PreDeployRun,
    ) -> Result<(), StoreError> {
        let doing = "record a preDeploy run";
        let run = serde_json::to_string(run).map_err(StoreError::form(doing))?;
        self.run(
            doing,
            "UPDATE applications SET pre_deploy = ?2 WHERE key = ?1",
            params![key.to_string(), run],
        )
    }

    /// Remembers that a person stopped it, or started it again.
    pub(crate) fn set_application_held(
        &self,
        key: &ApplicationKey,
        held: bool,
    ) -> Result<bool, StoreError> {
        self.changed(
            "record that an application is stopped",
            "UPDATE applications SET held = ?2 WHERE key = ?1",
            params![key.to_string(), held],
        )
    }

    /// Forgets an application.
    pub(crate) fn forget_application(&self, key: &ApplicationKey) -> Result<(), StoreError> {
        self.run(
            "forget an application",
            "DELETE FROM applications WHERE key = ?1",
            params![key.to_string()],
        )
    }

    /// All processes of a role.
    pub(crate) fn processes(
        &self,
        role: Role,
    ) -> Result<BTreeMap<ApplicationKey, ProcessRow>, StoreError> {
        let doing = "read the processes";
        let sql = StoreError::sql(doing);
        let mut query = self
            .db
            .prepare_cached(
                "SELECT application, deployment, pid, birth, since, exited_at, failures \
                 FROM processes WHERE role = ?1",
            )
            .map_err(&sql)?;
        let mut rows = query.query([role.word()]).map_err(&sql)?;
        let mut found = BTreeMap::new();
        while let Some(row) = rows.next().map_err(&sql)? {
            let key: String = row.get(0).map_err(&sql)?;
            found.insert(
                key.parse().map_err(StoreError::form(doing))?,
                process_row(row)?,
            );
        }
        Ok(found)
    }

    /// The process of one application.
    pub(crate) fn process(
        &self,
        key: &ApplicationKey,
        role: Role,
    ) -> Result<Option<ProcessRow>, StoreError> {
        let sql = StoreError::sql("read a process");
        let mut query = self
            .db
            .prepare_cached(
                "SELECT application, deployment, pid, birth, since, exited_at, failures \
                 FROM processes WHERE application = ?1 AND role = ?2",
            )
            .map_err(&sql)?;
        let mut rows = query
            .query(params![key.to_string(), role.word()])
            .map_err(&sql)?;
        rows.next().map_err(&sql)?.map(process_row).transpose()
    }

    /// Records a process that was started.
    pub(crate) fn set_process(
        &self,
        key: &ApplicationKey,
        role: Role,
        row: &ProcessRow,
    ) -> Result<(), StoreError> {
        self.register_application(key)?;
        self.run(
            "record a process",
            "INSERT OR REPLACE INTO processes \
             (application, role, deployment, pid, birth, since, exited_at, failures) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                key.to_string(),
                role.word(),
                row.deployment,
                row.pid,
                row.birth,
                row.since.to_string(),
                row.exited_at.map(|at| at.to_string()),
                row.failures
            ],
        )
    }

    /// Records that a process was seen to have ended; tells whether this was news.
    pub(crate) fn set_exited(
        &self,
        key: &ApplicationKey,
        row: &ProcessRow,
        at: Timestamp,
        failures: u32,
    ) -> Result<bool, StoreError> {
        self.changed(
            "record the end of a process",
            "UPDATE processes SET exited_at = ?4, failures = ?5 \
             WHERE application = ?1 AND role = 'main' AND pid = ?2 AND birth = ?3 AND exited_at IS NULL",
            params![key.to_string(), row.pid, row.birth, at.to_string(), failures],
        )
    }

    /// Forgets a process that was stopped.
    pub(crate) fn forget_process(
        &self,
        key: &ApplicationKey,
        role: Role,
    ) -> Result<(), StoreError> {
        self.run(
            "forget a process",
            "DELETE FROM processes WHERE application = ?1 AND role = ?2",
            params![key.to_string(), role.word()],
        )
    }
}

/// The row that an environment belongs to; the fingerprint is part of it, so that an older
/// environment cannot be put in the place of a newer one.
fn environment_row(key: &ApplicationKey, fingerprint: &str) -> String {
    format!("environment/{key}/{fingerprint}")
}

fn application_row(row: &Row<'_>) -> Result<ApplicationRow, StoreError> {
    let doing = "read an application";
    let sql = StoreError::sql(doing);
    let key: String = row.get(0).map_err(&sql)?;
    let fingerprint: Option<String> = row.get(2).map_err(&sql)?;
    let serial: i64 = row.get(3).map_err(&sql)?;
    let pre_deploy: Option<String> = row.get(4).map_err(&sql)?;
    Ok(ApplicationRow {
        key: key.parse().map_err(StoreError::form(doing))?,
        held: row.get(1).map_err(&sql)?,
        delivered: fingerprint.map(|fingerprint| DeliveredEnvironment {
            fingerprint,
            serial: serial.cast_unsigned(),
        }),
        pre_deploy: pre_deploy
            .map(|text| serde_json::from_str(&text).map_err(StoreError::form(doing)))
            .transpose()?,
    })
}

fn process_row(row: &Row<'_>) -> Result<ProcessRow, StoreError> {
    let doing = "read a process";
    let sql = StoreError::sql(doing);
    let time = |text: String| text.parse::<Timestamp>().map_err(StoreError::form(doing));
    let exited_at: Option<String> = row.get(5).map_err(&sql)?;
    Ok(ProcessRow {
        deployment: row.get(1).map_err(&sql)?,
        pid: row.get(2).map_err(&sql)?,
        birth: row.get(3).map_err(&sql)?,
        since: time(row.get(4).map_err(&sql)?)?,
        exited_at: exited_at.map(time).transpose()?,
        failures: row.get(6).map_err(&sql)?,
    })
}
