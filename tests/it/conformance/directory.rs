//! The kind `dir`: each spot is a file, one of them below a directory of its own.

use crate::support::manifest::contents;
use planbox::Directory;
use planbox::conformance::{Spot, Subject, Tried, View};
use planbox::sandbox::directory::DirectoryKind;
use planbox::sandbox::{Kind, Resource};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug)]
struct Files {
    home: PathBuf,
    inside: bool,
}

/// A directory whose staging is where it chooses.
pub(crate) fn directory(home: &Path) -> Tried<Box<dyn Subject>> {
    lay_out(home, false)
}

/// A directory whose staging is inside of it.
pub(crate) fn staged_inside(home: &Path) -> Tried<Box<dyn Subject>> {
    lay_out(home, true)
}

fn lay_out(home: &Path, inside: bool) -> Tried<Box<dyn Subject>> {
    let subject = Files {
        home: home.to_owned(),
        inside,
    };
    std::fs::create_dir_all(subject.real().join("below"))?;
    std::fs::create_dir(home.join("neighbour"))?;
    put(&home.join("neighbour/file"), 0)?;
    put(&subject.real().join("still"), 0)?;
    for spot in Spot::ALL {
        put(&subject.real().join(name(spot)), 0)?;
    }
    std::os::unix::fs::symlink("../neighbour/file", subject.real().join("out"))?;
    Ok(Box::new(subject))
}

fn name(spot: Spot) -> &'static str {
    match spot {
        Spot::A => "a",
        Spot::B => "below/b",
        Spot::C => "c",
    }
}

fn put(path: &Path, version: u32) -> Tried<()> {
    Ok(writeln!(File::create(path)?, "version {version}")?)
}

fn told(root: &Path) -> String {
    let lines = contents(root).into_iter();
    // The times of files are taken along, but a foreign writer has others.
    let lines = lines.filter(|(path, _)| !path.starts_with(".planbox"));
    let lines = lines.map(|(path, line)| {
        let line = line.split(" mtime").next().unwrap_or_default();
        format!("{} {line}", path.display())
    });
    lines.collect::<Vec<_>>().join("\n")
}

impl Files {
    fn real(&self) -> PathBuf {
        self.home.join("real")
    }
}

impl Subject for Files {
    fn resource(&self) -> Box<dyn Resource> {
        let directory = Directory::at(self.real());
        Box::new(if self.inside {
            directory.staging_inside()
        } else {
            directory
        })
    }

    fn kind(&self) -> Option<Arc<dyn Kind>> {
        Some(Arc::new(DirectoryKind))
    }

    fn name_of(&self, spot: Spot) -> String {
        name(spot).to_owned()
    }

    fn change(&self, view: View<'_>, spot: Spot, version: u32) -> Tried<()> {
        let root = view.path.ok_or("a view of a directory has a path")?;
        put(&root.join(name(spot)), version)
    }

    fn meddle(&self, spot: Spot, version: u32) -> Tried<()> {
        put(&self.real().join(name(spot)), version)
    }

    fn manifest(&self) -> Tried<String> {
        Ok(told(&self.real()))
    }

    fn seen(&self, view: View<'_>) -> Tried<String> {
        let root = view.path.ok_or("a view of a directory has a path")?;
        // The mode of the view's own root is the place's business.
        Ok(told(root))
    }

    fn surroundings(&self) -> Tried<String> {
        Ok(format!(
            "{:?}",
            crate::support::manifest::manifest(&self.home.join("neighbour"))
        ))
    }

    fn leftovers(&self) -> Tried<String> {
        let staging = self.real().join(".planbox");
        Ok(format!("{}", staging.exists()))
    }
}

mod chosen {
    planbox::conformance_tests!(super::directory);
}

mod inside {
    planbox::conformance_tests!(super::staged_inside);
}
