//! Settings that servers are asked about before they are put in force.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::PoisonError;

use boma_engine::observed::{Capabilities, Judgement, Judgements, SettingValue};
use boma_engine::platform::PlatformError;
use boma_instance::MajorVersion;

use super::LocalPlatform;
use super::error::boxed;
use crate::config::JudgeSettings;
use crate::store::StoreError;

impl LocalPlatform {
    /// What this platform can do, with what servers have said so far.
    pub(super) fn capable(&self) -> Capabilities {
        let mut capabilities = self.inner.capabilities.clone();
        if let Some(judged) = &mut capabilities.judged {
            let known = self.inner.judged.lock();
            judged.clone_from(&known.unwrap_or_else(PoisonError::into_inner));
        }
        capabilities
    }

    /// Asks one server of each version, which takes some milliseconds.
    pub(super) async fn ask_servers(
        &self,
        settings: &BTreeSet<SettingValue>,
    ) -> Result<(), PlatformError> {
        let Some(judge) = self.inner.config.judge_settings else {
            return Ok(());
        };
        for major in MajorVersion::ALL {
            let of_major = settings.iter().filter(|setting| setting.major == major);
            let of_major: Vec<SettingValue> = of_major.cloned().collect();
            let Some(programs) = self.bin_dir(major).filter(|_| !of_major.is_empty()) else {
                continue;
            };
            let asking = tokio::task::spawn_blocking(move || ask(judge, &programs, of_major));
            let judged = asking.await;
            let judged = judged.unwrap_or_else(|_ended| Err(boxed(StoreError::Closed)))?;
            let known = self.inner.judged.lock();
            known.unwrap_or_else(PoisonError::into_inner).extend(judged);
        }
        Ok(())
    }
}

/// A program takes one value of each setting, so several values of one take several rounds.
fn ask(
    judge: JudgeSettings,
    programs: &Path,
    mut settings: Vec<SettingValue>,
) -> Result<Judgements, PlatformError> {
    let mut judged = Judgements::new();
    while !settings.is_empty() {
        let mut round = BTreeMap::new();
        let mut next = Vec::new();
        for setting in settings {
            if round.contains_key(&setting.name) {
                next.push(setting);
            } else {
                round.insert(setting.name.clone(), setting);
            }
        }
        let asked = round.iter();
        let asked = asked.map(|(name, setting)| (name.clone(), setting.value.clone()));
        let mut refused = judge(programs, &asked.collect())?;
        judged.extend(round.into_iter().map(|(name, setting)| {
            let reason = refused.remove(&name);
            (setting, reason.map_or(Judgement::Taken, Judgement::Refused))
        }));
        settings = next;
    }
    Ok(judged)
}
