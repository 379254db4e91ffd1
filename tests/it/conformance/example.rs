//! The worked example of `docs/participants.md`: each spot is a key of the settings.

use super::participant::{Settings, SettingsKind};
use planbox::conformance::{Spot, Subject, Tried, View};
use planbox::sandbox::{Kind, Resource};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug)]
struct Keys {
    home: PathBuf,
}

/// A settings file with a neighbour.
pub(crate) fn settings(home: &Path) -> Tried<Box<dyn Subject>> {
    let subject = Keys {
        home: home.to_owned(),
    };
    fs::create_dir(home.join("real"))?;
    File::create(home.join("real/neighbour"))?;
    write(&subject.file(), &BTreeMap::new())?;
    for spot in Spot::ALL {
        put(&subject.file(), spot, 0)?;
    }
    Ok(Box::new(subject))
}

fn read(file: &Path) -> Tried<BTreeMap<String, String>> {
    Ok(serde_json::from_str(&fs::read_to_string(file)?)?)
}

fn write(file: &Path, keys: &BTreeMap<String, String>) -> Tried<()> {
    Ok(File::create(file)?.write_all(serde_json::to_string(keys)?.as_bytes())?)
}

fn put(file: &Path, spot: Spot, version: u32) -> Tried<()> {
    let mut keys = read(file).unwrap_or_default();
    keys.insert(spot.word().to_owned(), format!("version {version}"));
    write(file, &keys)
}

impl Keys {
    fn file(&self) -> PathBuf {
        self.home.join("real/settings.json")
    }
}

impl Subject for Keys {
    fn resource(&self) -> Box<dyn Resource> {
        Box::new(Settings::at(self.file()))
    }

    fn kind(&self) -> Option<Arc<dyn Kind>> {
        Some(Arc::new(SettingsKind))
    }

    fn name_of(&self, spot: Spot) -> String {
        spot.word().to_owned()
    }

    fn change(&self, view: View<'_>, spot: Spot, version: u32) -> Tried<()> {
        put(view.path.ok_or("settings have a path")?, spot, version)
    }

    /// As an editor does it: a new file under the old name would do as well.
    fn meddle(&self, spot: Spot, version: u32) -> Tried<()> {
        put(&self.file(), spot, version)
    }

    fn manifest(&self) -> Tried<String> {
        Ok(format!("{:#?}", read(&self.file())?))
    }

    fn seen(&self, view: View<'_>) -> Tried<String> {
        let file = view.path.ok_or("settings have a path")?;
        Ok(format!("{:#?}", read(file)?))
    }

    fn surroundings(&self) -> Tried<String> {
        let stat = fs::metadata(self.home.join("real/neighbour"))?;
        Ok(format!("{:?} {:?}", stat.len(), stat.modified()?))
    }

    fn leftovers(&self) -> Tried<String> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.home.join("real"))? {
            names.push(entry?.file_name());
        }
        names.sort_unstable();
        Ok(format!("{names:?}"))
    }
}

planbox::conformance_tests!(settings);
