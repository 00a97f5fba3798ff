use std::path::PathBuf;
use std::time::Instant;

use boma_instance::InstanceId;
use boma_testkit::{ScratchDir, become_unprivileged};

use super::*;
use crate::programs::Installation;
use crate::testing::installations;

fn instance() -> InstanceId {
    InstanceId(uuid::Uuid::new_v4())
}

/// What is in a directory, sorted.
fn names(directory: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = std::fs::read_dir(directory)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<std::io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

struct Place {
    installation: Installation,
    directory: PathBuf,
    instance: InstanceId,
    milestones: Vec<Milestone>,
}

impl Place {
    fn new(installation: &Installation, parent: &Path) -> anyhow::Result<Self> {
        let instance = instance();
        let parent = parent.join(instance.short());
        std::fs::create_dir(&parent)?;
        Ok(Self {
            installation: installation.clone(),
            directory: parent.join("data"),
            instance,
            milestones: Vec::new(),
        })
    }

    fn make(&mut self, store: Option<&Store>) -> Result<Made, MakeError> {
        let new = NewCluster {
            installation: &self.installation,
            directory: &self.directory,
            instance: self.instance,
        };
        let milestones = &mut self.milestones;
        make(&new, store, &mut |milestone| milestones.push(milestone))
    }

    fn ours(&self) -> anyhow::Result<Ours> {
        let found = inspect(&self.directory)?;
        let DataDirectory::Ours(ours) = found else {
            anyhow::bail!("{found:?}");
        };
        Ok(ours)
    }
}

#[test]
fn each_version_is_made_by_initdb_then_from_a_spare_then_from_the_template() -> anyhow::Result<()> {
    become_unprivileged()?;
    let scratch = ScratchDir::new()?;
    let store = Store::new(scratch.path().join("store"));
    for installation in installations()? {
        assert_eq!(
            store.stock(&installation),
            Stock {
                template: false,
                spares: 0
            }
        );
        let mut first = Place::new(&installation, scratch.path())?;
        assert_eq!(inspect(&first.directory)?, DataDirectory::Missing);
        let made = first.make(Some(&store))?;
        assert_eq!(made.marker.made_from, MadeFrom::Initdb);
        assert!(first.milestones.contains(&Milestone::Initialised));

        assert_eq!(store.replenish(&installation, 1)?, Replenished::Made(1));
        assert_eq!(store.replenish(&installation, 1)?, Replenished::Made(0));
        assert_eq!(
            store.stock(&installation),
            Stock {
                template: true,
                spares: 1
            }
        );

        let mut second = Place::new(&installation, scratch.path())?;
        let begin = Instant::now();
        assert_eq!(second.make(Some(&store))?.marker.made_from, MadeFrom::Spare);
        let spare = begin.elapsed();

        let mut third = Place::new(&installation, scratch.path())?;
        let begin = Instant::now();
        assert_eq!(
            third.make(Some(&store))?.marker.made_from,
            MadeFrom::Template
        );
        let template = begin.elapsed();
        println!(
            "{}: spare {spare:?}, template {template:?}",
            installation.version
        );

        let mut identifiers = Vec::new();
        for place in [&first, &second, &third] {
            let ours = place.ours()?;
            assert_eq!(ours.marker.instance, Some(place.instance));
            assert_eq!(ours.major, installation.major());
            assert!(ours.control.data_checksums);
            assert!(ours.control.state.is_clean());
            identifiers.push(ours.control.system_identifier);
            assert_eq!(names(place.directory.parent().unwrap())?, ["data"]);
        }
        identifiers.dedup();
        assert_eq!(identifiers.len(), 3);
    }
    Ok(())
}
